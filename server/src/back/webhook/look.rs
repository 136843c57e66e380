//! Webhooks as operators see and steer them: how each is doing, what was tried lately, what was given up, and trying that again.
//!
//! Must not know REST. Start at [`Webhooks::views`].

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::Instant;
use wire::cloudevent::{CloudEvent, Data};

use super::Webhooks;
use super::deliver::{Deliverer, Flow, Head};
use super::endpoint::{Event, Standing, Urgency};
use super::fate::Fate;
use super::history::Attempt;
use super::telling::new_id;
use crate::back::gather::message_id;
use crate::back::queues::{self, QueueTrouble};
use crate::back::sqs::{QueueError, QueueMessage, QueueValue, ReceivedMessage};
use crate::config::Webhook;

/// Dead letters that are received at once, to find one among them.
const BATCH: u32 = 1000;

/// How long others do not see them meanwhile.
const HOLD: Duration = Duration::from_secs(30);

/// How a webhook is doing.
pub(crate) struct View {
    /// As configured.
    pub(crate) config: Webhook,
    /// Whether what it is only told leaves.
    pub(crate) is_enabled: bool,
    /// Its requests.
    pub(crate) standing: Standing,
    /// Events that were only told: done, sent again, given up.
    pub(crate) told: [u64; 3],
    /// Events that wait to be told, if that is known.
    pub(crate) queued: Option<u64>,
    /// Dead letters, if that is known.
    pub(crate) dead: Option<u64>,
}

/// An event on its way, or at the end of it.
pub(crate) struct Delivery {
    /// Of the event.
    pub(crate) id: String,
    /// The webhook's name.
    pub(crate) webhook: String,
    /// Its type.
    pub(crate) kind: String,
    /// Its session.
    pub(crate) session: String,
    /// When it was tried last. Milliseconds since 1970; unknown of dead letters.
    pub(crate) at_ms: Option<u64>,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// How long the last time took.
    pub(crate) took: Option<Duration>,
    /// What was said to that.
    pub(crate) said: String,
    /// `done`, `retry`, `dead` or `disabled`.
    pub(crate) outcome: &'static str,
    /// The event, of dead letters.
    pub(crate) event: Option<Box<RawValue>>,
}

/// Why events could not be looked at, or sent again.
#[derive(Debug)]
pub(crate) enum LookTrouble {
    /// There is no such webhook, or event.
    NotFound,
    /// Queues say no.
    Queue(QueueTrouble),
    /// Likewise.
    Sending(QueueError),
}

impl From<QueueTrouble> for LookTrouble {
    fn from(trouble: QueueTrouble) -> Self {
        Self::Queue(trouble)
    }
}

impl From<QueueError> for LookTrouble {
    fn from(error: QueueError) -> Self {
        Self::Sending(error)
    }
}

impl Webhooks {
    /// Each of them, in the order of the configuration.
    pub(crate) async fn views(&self) -> Vec<View> {
        let mut views = Vec::with_capacity(self.teller.webhooks.len());
        for webhook in &self.teller.webhooks {
            views.push(View {
                config: webhook.endpoint.config.clone(),
                is_enabled: webhook.is_enabled(),
                standing: webhook.endpoint.standing(),
                told: webhook.counts(),
                queued: self.count(&webhook.outbox.queue.full_name()).await,
                dead: self.count(&webhook.outbox.dead.full_name()).await,
            });
        }
        views
    }

    /// Has events leave, or stay where they are.
    ///
    /// # Errors
    /// [`LookTrouble::NotFound`].
    pub(crate) fn set(&self, name: &str, flow: Flow) -> Result<(), LookTrouble> {
        self.of(name)?.set(flow);
        Ok(())
    }

    /// What was tried lately, the newest first.
    ///
    /// # Errors
    /// [`LookTrouble::NotFound`].
    pub(crate) fn attempts(&self, name: &str, limit: usize) -> Result<Vec<Delivery>, LookTrouble> {
        let webhook = self.of(name)?;
        Ok(webhook.history.latest(limit).into_iter().map(|attempt| delivery(name, attempt)).collect())
    }

    /// Dead letters behind a place, oldest first, and where to go on.
    ///
    /// # Errors
    /// [`LookTrouble`].
    pub(crate) async fn dead(
        &self,
        name: &str,
        after: u64,
        limit: u32,
    ) -> Result<(Vec<Delivery>, Option<u64>), LookTrouble> {
        let webhook = self.of(name)?;
        let page = webhook.outbox.door.look(&webhook.outbox.dead.full_name(), after, limit).await?;
        let letter = |looked: &crate::back::sqs::Looked| {
            let content = looked.content()?;
            let head: Head = serde_json::from_str(&content.body).ok()?;
            let attribute = |wanted: &str| {
                content.attributes.iter().find_map(|attribute| match &attribute.value {
                    QueueValue::Text(text) if attribute.name == wanted => Some(text.clone()),
                    _ => None,
                })
            };
            Some(Delivery {
                id: head.id,
                webhook: name.to_owned(),
                kind: head.kind,
                session: looked.group().unwrap_or_default(),
                at_ms: None,
                attempts: attribute("attempts").and_then(|text| text.parse().ok()).unwrap_or_default(),
                took: None,
                said: attribute("reason").unwrap_or_default(),
                outcome: "dead",
                event: RawValue::from_string(content.body.clone()).ok(),
            })
        };
        Ok((page.items.iter().filter_map(letter).collect(), page.next))
    }

    /// Sends the dead letter of this event again, behind what waits of its session.
    ///
    /// # Errors
    /// [`LookTrouble`].
    pub(crate) async fn redeliver(&self, event: &str) -> Result<(), LookTrouble> {
        for webhook in &self.teller.webhooks {
            if redeliver(webhook, |head| head.id == event).await? > 0 {
                return Ok(());
            }
        }
        Err(LookTrouble::NotFound)
    }

    /// Sends an event that says nothing, once, and tells what is answered.
    ///
    /// # Errors
    /// [`LookTrouble::NotFound`].
    pub(crate) async fn test(&self, name: &str) -> Result<Delivery, LookTrouble> {
        let endpoint = &self.of(name)?.endpoint;
        let (id, time_ms) = new_id();
        let kind = format!("{}.test", endpoint.config.type_prefix.as_str());
        let event = CloudEvent {
            id: &id,
            source: "/webhooks",
            kind: &kind,
            subject: name,
            time_ms,
            extensions: &[],
            data: Data::Json("{}"),
        };
        let (begun, wait) = (Instant::now(), Duration::from_millis(endpoint.config.delivery_timeout_ms));
        let said = Event { kind: None, id: &id, body: event.to_json().into() };
        let result = endpoint.call(said, wait, Urgency::Blocking).await;
        let is_heard = matches!(&result, Ok(answer) if (200..300).contains(&answer.status));
        let (took, fate) = (begun.elapsed(), if is_heard { Fate::Done } else { Fate::Dead });
        let attempt =
            Attempt { id, kind, session: String::new(), at_ms: time_ms, number: 1, took, result, fate };
        Ok(delivery(name, attempt))
    }

    /// Sends all dead letters of a webhook again; gives how many.
    ///
    /// # Errors
    /// [`LookTrouble`].
    pub(crate) async fn redeliver_all(&self, name: &str) -> Result<u64, LookTrouble> {
        redeliver(self.of(name)?, |_| true).await
    }

    fn of(&self, name: &str) -> Result<&Arc<Deliverer>, LookTrouble> {
        let is_it = |webhook: &&Arc<Deliverer>| webhook.endpoint.config.name.as_str() == name;
        self.teller.webhooks.iter().find(is_it).ok_or(LookTrouble::NotFound)
    }

    async fn count(&self, queue: &hub::queue::QueueName) -> Option<u64> {
        let counts = queues::view(self.teller.desk.office(), queue).await.ok()?.counts;
        Some(counts.visible + counts.in_flight + counts.delayed)
    }
}

/// An attempt as it is shown.
fn delivery(webhook: &str, attempt: Attempt) -> Delivery {
    Delivery {
        said: attempt.said(),
        id: attempt.id,
        webhook: webhook.to_owned(),
        kind: attempt.kind,
        session: attempt.session,
        at_ms: Some(attempt.at_ms),
        attempts: attempt.number,
        took: Some(attempt.took),
        outcome: match attempt.fate {
            Fate::Done => "done",
            Fate::Later(_) => "retry",
            Fate::Dead => "dead",
            Fate::Disabled => "disabled",
        },
        event: None,
    }
}

/// Goes once through the dead letters and sends those again that are wanted. The others are as before.
async fn redeliver(webhook: &Deliverer, is_wanted: impl Fn(&Head) -> bool) -> Result<u64, LookTrouble> {
    let dead = &webhook.outbox.dead;
    let (mut sent, mut others) = (0, Vec::new());
    loop {
        let letters = dead.receive_for(BATCH, Duration::ZERO, HOLD).await?;
        if letters.is_empty() {
            break;
        }
        for letter in letters {
            let head = serde_json::from_str::<Head>(&letter.body).ok();
            if head.is_some_and(|head| is_wanted(&head)) {
                again(webhook, letter).await?;
                sent += 1;
            } else {
                others.push(letter.receipt);
            }
        }
    }
    for receipt in others {
        // What fails here is seen again by itself.
        let _ = dead.change_visibility(receipt, Duration::ZERO).await;
    }
    Ok(sent)
}

async fn again(webhook: &Deliverer, letter: ReceivedMessage) -> Result<(), LookTrouble> {
    // It was sent before under its id, perhaps a moment ago.
    let name = format!("{}-{}", letter.id, ulid::Ulid(message_id().0));
    let mut message = QueueMessage::new(letter.body).deduplication(name);
    if let Some(group) = letter.group {
        message = message.group(group);
    }
    webhook.outbox.queue.send(message).await?;
    webhook.outbox.dead.delete(letter.receipt).await?;
    Ok(())
}
