//! Events leave the outbox: each to the back end until it has heard it, one after the other within a session.
//!
//! Owns what is under way. An event is received from its queue, where its session's later ones then wait, and deleted once it is
//! done; what fails comes back to it after a while. So nothing here has to outlive the process. Must not know what events say.
//! Start at [`Deliverer::run`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hub::SessionId;
use serde::Deserialize;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::actions::Actions;
use super::connection::Answer;
use super::endpoint::{Endpoint, Event, Urgency};
use super::failure::Failure;
use super::fate::{Fate, fate};
use super::history::{Attempt, History};
use super::lives::{Life, Lives};
use super::outbox::Outbox;
use super::reply;
use crate::auth::unix_now;
use crate::back::rest::Desk;
use crate::back::sqs::{QueueMessage, ReceivedMessage};
use crate::config::WebhookType;

/// How long one look for events waits for some.
const LOOK: Duration = Duration::from_secs(20);

/// Before a queue that cannot be read is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// Events of one look.
const LOOK_MAX: u32 = 200;

/// Sends what is in the outbox of a webhook.
pub(super) struct Deliverer {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) history: History,
    lives: Arc<Lives>,
    desk: Desk,
    /// Whether events leave.
    is_enabled: AtomicBool,
    enabled: Notify,
    /// Sent, sent again, and given up.
    counts: [AtomicU64; 3],
    tries: Tries,
}

/// How often events were sent that are sent again. A receive is no try: what waits behind a failing event of its session is
/// received with it. One for each session that is held up, as its later events are not sent; after a restart they begin anew.
#[derive(Debug, Default)]
struct Tries(Mutex<HashMap<String, u32>>);

impl Tries {
    /// The number of this try, from 1.
    fn next(&self, event: &str) -> u32 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = all.entry(event.to_owned()).or_default();
        *tries = tries.saturating_add(1);
        *tries
    }

    /// An event is not sent again.
    fn forget(&self, event: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(event);
    }
}

/// What becomes of events that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// They leave.
    Leaves,
    /// They stay until somebody says otherwise.
    Stays,
}

/// What of an event is looked at.
#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(rename = "sessionid")]
    session: Option<String>,
    generation: Option<u32>,
}

impl Head {
    fn session(&self) -> Option<SessionId> {
        self.session.as_ref()?.parse().ok()
    }
}

impl Deliverer {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        outbox: Arc<Outbox>,
        lives: &Arc<Lives>,
        desk: Desk,
    ) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            outbox,
            lives: Arc::clone(lives),
            history: History::default(),
            desk,
            is_enabled: AtomicBool::new(true),
            enabled: Notify::new(),
            counts: Default::default(),
            tries: Tries::default(),
        })
    }

    /// Until the node ends.
    pub(super) async fn run(self: Arc<Self>) {
        let lanes = (u32::from(self.endpoint.config.concurrency) / 2).max(1);
        let permits = Arc::new(Semaphore::new(lanes as usize));
        while !self.desk.office().is_draining() {
            if !self.is_enabled() {
                tokio::select! {
                    () = self.enabled.notified() => {}
                    () = self.desk.office().drain_begins() => {}
                }
                continue;
            }
            // While the back end is not there one at a time finds out whether it is.
            let (needed, is_open) = if self.endpoint.is_open() { (1, true) } else { (lanes, false) };
            let Ok(first) = Arc::clone(&permits).acquire_many_owned(needed).await else { return };
            let room = u32::try_from(permits.available_permits()).unwrap_or(lanes) + 1;
            let max = if is_open { room.min(LOOK_MAX) } else { 1 };
            let visibility = self.visibility();
            match self.outbox.queue.receive_for(max, LOOK, visibility).await {
                Ok(messages) => self.begin(messages, first, &permits),
                Err(error) => {
                    if !self.desk.office().is_draining() {
                        tracing::warn!(%error, "events for the back end cannot be read");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Whether events leave.
    pub(super) fn is_enabled(&self) -> bool {
        self.is_enabled.load(Ordering::Relaxed)
    }

    /// Has events leave, or stay where they are.
    pub(super) fn set(&self, flow: Flow) {
        self.is_enabled.store(flow == Flow::Leaves, Ordering::Relaxed);
        self.enabled.notify_one();
        if flow == Flow::Leaves {
            self.endpoint.try_again();
        }
    }

    /// Events done, sent again, and given up.
    pub(super) fn counts(&self) -> [u64; 3] {
        self.counts.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// How long an event is with us: as long as it takes to send a few of its session, and some more.
    fn visibility(&self) -> Duration {
        Duration::from_millis(self.endpoint.config.delivery_timeout_ms) * 4 + Duration::from_secs(10)
    }

    /// A task for each session among them.
    fn begin(
        self: &Arc<Self>,
        messages: Vec<ReceivedMessage>,
        first: OwnedSemaphorePermit,
        permits: &Arc<Semaphore>,
    ) {
        let until = Instant::now() + self.visibility();
        let mut groups: Vec<VecDeque<ReceivedMessage>> = Vec::new();
        for message in messages {
            let of_group = |group: &&mut VecDeque<ReceivedMessage>| {
                group.front().is_some_and(|one| one.group == message.group)
            };
            match groups.iter_mut().find(of_group) {
                Some(group) => group.push_back(message),
                None => groups.push(VecDeque::from([message])),
            }
        }
        let mut first = Some(first);
        for group in groups {
            // There are no more of them than there was room for.
            let permit = first.take().or_else(|| Arc::clone(permits).try_acquire_owned().ok());
            let deliverer = Arc::clone(self);
            tokio::spawn(async move {
                deliverer.deliver(group, until).await;
                drop(permit);
            });
        }
    }

    /// The events of one session, until one is not done. The others come back behind it.
    async fn deliver(&self, mut group: VecDeque<ReceivedMessage>, until: Instant) {
        let wait = Duration::from_millis(self.endpoint.config.delivery_timeout_ms);
        while let Some(message) = group.pop_front() {
            let is_late = Instant::now() + wait > until;
            let (fate, tries) = if is_late || !self.is_enabled() {
                (Fate::Later(Duration::ZERO), 0)
            } else {
                self.attempt(&message, wait).await
            };
            let done = match fate {
                Fate::Done => {
                    self.outbox.delete(message.receipt).await;
                    Ok(())
                }
                Fate::Dead => self.bury(&message, tries).await,
                Fate::Later(pause) => self.outbox.queue.change_visibility(message.receipt, pause).await,
                Fate::Disabled => {
                    self.set(Flow::Stays);
                    let webhook = self.endpoint.config.name.as_str();
                    tracing::error!(
                        webhook,
                        "the back end answered 410: it gets no events until that is changed"
                    );
                    self.outbox.queue.change_visibility(message.receipt, Duration::ZERO).await
                }
            };
            if let Err(error) = done {
                // It comes back by itself.
                tracing::debug!(%error, "an event for the back end is not settled");
            }
            if !matches!(fate, Fate::Done | Fate::Dead) {
                break;
            }
        }
        for message in group {
            // What fails here comes back by itself, too.
            let _ = self.outbox.queue.change_visibility(message.receipt, Duration::ZERO).await;
        }
    }

    /// Sends an event; what becomes of it, and which try this was.
    async fn attempt(&self, message: &ReceivedMessage, wait: Duration) -> (Fate, u32) {
        let Ok(head) = serde_json::from_str::<Head>(&message.body) else { return (Fate::Dead, 0) };
        let number = self.tries.next(&head.id);
        let begun = Instant::now();
        let body = self.completed(&head, &message.body);
        let event = Event { kind: self.kind_of(&head), id: &head.id, body };
        let result = self.endpoint.call(event, wait, Urgency::Patient).await;
        let age = unix_now().0.saturating_sub(message.sent_ms);
        let about = (number, Duration::from_millis(age));
        let fate = fate(&self.endpoint.config, about, &result, chance());
        if let (Fate::Done, Ok(answer)) = (fate, &result) {
            self.act(answer, &head).await;
        }
        self.count(fate);
        if matches!(fate, Fate::Done | Fate::Dead) {
            self.tries.forget(&head.id);
        }
        self.note(head, (message, number), (&result, fate, begun.elapsed()));
        (fate, number)
    }

    /// What its type is without the prefix, which may have been another one when it was put here.
    fn kind_of(&self, head: &Head) -> Option<WebhookType> {
        let prefix = self.endpoint.config.type_prefix.as_str();
        let name = head.kind.strip_prefix(prefix)?.strip_prefix('.')?;
        WebhookType::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }

    /// A shard that put an event here knew neither the state of its session nor which connection it was on: it gets what holds now.
    fn completed(&self, head: &Head, body: &str) -> Bytes {
        let session = head.session().filter(|_| head.generation.is_none());
        let life = session.and_then(|session| self.lives.get(session));
        match (life, body.strip_prefix('{')) {
            (Some(life), Some(rest)) => with_life(&life, rest).into(),
            _ => Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    /// What the back end wants done, before the next event of the session leaves. An answer that says nothing of that, or cannot
    /// be understood, is one all the same. Only what it is asked about changes a session's state.
    async fn act(&self, answer: &Answer, head: &Head) {
        // The event says of which session it is. What it waits behind may be a name that a client chose.
        let Some(own) = head.session() else { return };
        let Ok(reply) = reply::read(answer) else { return };
        match Actions::check(&reply.actions, own, &self.desk) {
            Ok(actions) => drop(actions.run(&self.desk).await),
            Err(wrong) => {
                let webhook = self.endpoint.config.name.as_str();
                tracing::warn!(webhook, wrong, "actions of the back end are not done");
            }
        }
    }

    fn note(
        &self,
        head: Head,
        (message, number): (&ReceivedMessage, u32),
        (result, fate, took): (&Result<Answer, Failure>, Fate, Duration),
    ) {
        if let Err(failure) = result {
            self.endpoint.failing(failure);
        }
        self.history.add(Attempt {
            id: head.id,
            kind: head.kind,
            session: message.group.clone().unwrap_or_default(),
            at_ms: unix_now().0,
            number,
            took,
            result: result.clone(),
            fate,
        });
    }

    /// A dead letter is in its queue before it goes here.
    async fn bury(&self, message: &ReceivedMessage, tries: u32) -> Result<(), crate::back::sqs::QueueError> {
        let reason = self.history.last_of(&message.body).unwrap_or_else(|| "it cannot be read".to_owned());
        let mut letter = QueueMessage::new(message.body.clone())
            .attribute("webhook", self.endpoint.config.name.as_str())
            .attribute("attempts", tries.to_string())
            .attribute("reason", reason)
            .deduplication(message.id.clone());
        if let Some(group) = &message.group {
            letter = letter.group(group.clone());
        }
        self.outbox.dead.send(letter).await?;
        self.outbox.queue.delete(message.receipt).await
    }

    fn count(&self, fate: Fate) {
        let at = match fate {
            Fate::Done => 0,
            Fate::Later(_) | Fate::Disabled => 1,
            Fate::Dead => 2,
        };
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An event without its first brace, and what goes with it of a session.
fn with_life(life: &Life, rest: &str) -> String {
    let state = life.state.as_deref().map(|state| format!("\"state\":{},", serde_json::Value::from(state)));
    format!("{{\"generation\":{},{}{rest}", life.generation, state.unwrap_or_default())
}

/// Between 0 and 1.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness, what failed together comes back together.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
