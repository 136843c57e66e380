//! What the back end is to be told and is not asked about waits here until it has heard it: in a FIFO queue of the server, where
//! each session is a group, and each user and channel that comes and goes. What could not be told in the end is in a second one, its dead letters.
//!
//! Owns the names of both queues and the way in. Must not know how events leave (`deliver`), nor what they say. Start at
//! [`Outbox::put`].

use std::sync::Arc;
use std::time::Duration;

use hub::SessionId;
use tokio::sync::{mpsc, oneshot, watch};
use wire::sqs::legal_json;

use super::telling::Told;
use crate::back::office::Office;
use crate::back::sqs::{Door, Queue, QueueError, QueueMessage, QueueReceipt};

/// Events that wait to be stored; more make whoever tells them wait.
const WAITING_MAX: usize = 4096;

/// Events that are stored, or deleted, at once.
const BATCH: usize = 500;

/// Before what the store did not take is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long events, and dead letters, are kept at most: what queues allow.
const RETENTION_SECONDS: &str = "1209600";

/// The outbox of one webhook.
pub(super) struct Outbox {
    entries: mpsc::Sender<Entry>,
    /// How many are not stored yet.
    unstored: watch::Sender<usize>,
    heard: mpsc::Sender<Heard>,
    /// What waits.
    pub(super) queue: Queue,
    /// What is given up.
    pub(super) dead: Queue,
    /// To look at them.
    pub(super) door: Door,
}

struct Entry {
    message: QueueMessage,
    done: Option<oneshot::Sender<bool>>,
}

/// An event that was told.
struct Heard {
    receipt: QueueReceipt,
    done: oneshot::Sender<()>,
}

impl Outbox {
    /// Of the webhook of this name. Makes the queues, unless they are there.
    ///
    /// # Errors
    /// Why they cannot be.
    pub(super) async fn open(door: &Door, office: &Office, name: &str) -> Result<Arc<Self>, QueueError> {
        let queue = Queue::of_server(door.clone(), &format!("{name}.fifo"));
        let dead = Queue::new(door.clone(), &format!("webhook-{name}-dead.fifo"))?;
        let kept = [("FifoQueue", "true"), ("MessageRetentionPeriod", RETENTION_SECONDS)];
        made(&dead, &kept).await?;
        made(&queue, &kept).await?;
        let (entries, waiting) = mpsc::channel(WAITING_MAX);
        let unstored = watch::Sender::new(0);
        tokio::spawn(store((queue.clone(), office.clone()), waiting, unstored.clone()));
        let (heard, told) = mpsc::channel(WAITING_MAX);
        tokio::spawn(delete(queue.clone(), told));
        Ok(Arc::new(Self { entries, unstored, heard, queue, dead, door: door.clone() }))
    }

    /// An event of a session, behind those before it; done when it is stored. `false`: it is not.
    pub(super) async fn put(&self, session: SessionId, told: &Told) -> bool {
        self.put_of(session.to_string(), told).await
    }

    /// An event behind those before it with the same key.
    pub(super) async fn put_of(&self, key: String, told: &Told) -> bool {
        let (done, stored) = oneshot::channel();
        self.enter(key, told, Some(done)).await && stored.await.unwrap_or(false)
    }

    /// The same without waiting until it is stored.
    pub(super) async fn hand_in(&self, session: SessionId, told: &Told) {
        self.enter(session.to_string(), told, None).await;
    }

    /// An event need not be told any more; done when that is stored. Should it fail, the event comes back by itself.
    pub(super) async fn delete(&self, receipt: QueueReceipt) {
        let (done, deleted) = oneshot::channel();
        if self.heard.send(Heard { receipt, done }).await.is_ok() {
            // The process ends if nobody answers.
            let _ = deleted.await;
        }
    }

    /// Comes when nothing waits to be stored.
    pub(super) async fn is_stored(&self) {
        // An error would say that the outbox is gone.
        let _ = self.unstored.subscribe().wait_for(|unstored| *unstored == 0).await;
    }

    async fn enter(&self, key: String, told: &Told, done: Option<oneshot::Sender<bool>>) -> bool {
        let Ok(json) = str::from_utf8(&told.body) else { return false };
        let message = QueueMessage::new(legal_json(json)).group(key).deduplication(told.id.as_str());
        let Ok(place) = self.entries.reserve().await else { return false };
        self.unstored.send_modify(|unstored| *unstored += 1);
        place.send(Entry { message, done });
        true
    }
}

async fn made(queue: &Queue, attributes: &[(&str, &str)]) -> Result<(), QueueError> {
    match queue.create_with(attributes).await {
        Err(error) if error.code() == "QueueNameExists" => Ok(()),
        made => made,
    }
}

/// Stores events in the order in which they come, as many at once as there are, until nobody is there to bring one.
async fn store(
    (queue, office): (Queue, Office),
    mut waiting: mpsc::Receiver<Entry>,
    unstored: watch::Sender<usize>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let events = batch.len();
        let results = stored(&queue, &office, &batch).await;
        let mut lost = 0_usize;
        for (entry, is_stored) in batch.drain(..).zip(results) {
            lost += usize::from(!is_stored);
            if let Some(done) = entry.done {
                // Whoever waited may be gone.
                let _ = done.send(is_stored);
            }
        }
        unstored.send_modify(|unstored| *unstored -= events);
        if lost > 0 {
            let queue = queue.name();
            tracing::warn!(queue, events = lost, "events for the back end could not be stored");
        }
    }
}

/// Deletes what was told, as much at once as there is: what many lanes have told while one commit went on needs one more, not a way to
/// the queue's shard and back for each.
async fn delete(queue: Queue, mut waiting: mpsc::Receiver<Heard>) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        let results = queue.delete_batch(batch.iter().map(|heard: &Heard| heard.receipt)).await;
        let errors = results.iter().flatten().filter_map(|result| result.as_ref().err());
        for error in errors.chain(results.as_ref().err()) {
            tracing::debug!(%error, "an event for the back end is not settled");
        }
        for heard in batch.drain(..) {
            // Whoever waited may be gone.
            let _ = heard.done.send(());
        }
    }
}

/// Which are there. What is tried again is known by its id, so nothing is stored twice.
async fn stored(queue: &Queue, office: &Office, batch: &[Entry]) -> Vec<bool> {
    loop {
        match queue.send_batch(batch.iter().map(|entry| entry.message.clone())).await {
            Ok(results) => {
                let refused = |result: &Result<_, QueueError>| {
                    let error = result.as_ref().err()?;
                    tracing::debug!(%error, "an event for the back end is refused by its queue");
                    Some(())
                };
                return results.iter().map(|result| refused(result).is_none()).collect();
            }
            Err(error) if error.is_temporary() && !office.is_closing() => {
                tracing::warn!(%error, "events for the back end wait until they can be stored");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::error!(%error, "events for the back end cannot be stored");
                return vec![false; batch.len()];
            }
        }
    }
}
