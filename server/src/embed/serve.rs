//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Owns what waits between the stream and the handlers. A session costs nothing here while no event of it is handled.
//! Start at [`Events::serve`].

use super::events::{ClientEvent, Events};
use super::handle::Session;
use hub::SessionId;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use tokio::task::{Id, JoinError, JoinSet};

impl Events {
    /// Runs `handler` for every event until the server stops. Events of one session are handled in their order, each
    /// after the one before is done; different sessions do not wait for each other. A handler that waits long should
    /// spawn that part.
    ///
    /// While `limits.inbox_events_max` events of a session wait for its handler, its connection is not read from: the
    /// client feels it as a slow network, and other clients do not feel it. A handler that panics ends its own event
    /// only.
    pub async fn serve<H, F>(mut self, handler: H)
    where
        H: Fn(ClientEvent) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut desk = Desk {
            handler,
            waiting_max: self.inbox_events_max().max(1),
            running: JoinSet::new(),
            sessions: HashMap::new(),
            busy: HashMap::new(),
        };
        loop {
            tokio::select! {
                Some(done) = desk.running.join_next_with_id() => desk.go_on(done).await,
                event = self.next() => match event {
                    Some(event) => desk.take(event).await,
                    None => break,
                },
            }
        }
        while let Some(done) = desk.running.join_next_with_id().await {
            desk.go_on(done).await;
        }
    }
}

/// Hands events to handlers.
struct Desk<H> {
    handler: H,
    waiting_max: usize,
    /// One task per busy session.
    running: JoinSet<()>,
    /// Whose the tasks are.
    sessions: HashMap<Id, Session>,
    busy: HashMap<SessionId, Waiting>,
}

/// Events of a session that is busy with an earlier one. What was read before the connection was held comes on top of
/// the limit, and is bounded by what the shards may hand over.
#[derive(Default)]
struct Waiting {
    events: VecDeque<ClientEvent>,
    held: bool,
}

impl<H, F> Desk<H>
where
    H: Fn(ClientEvent) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    async fn take(&mut self, event: ClientEvent) {
        let session = event.session().clone();
        let Some(waiting) = self.busy.get_mut(&session.id()) else {
            self.busy.insert(session.id(), Waiting::default());
            return self.start(session, event);
        };
        // The client is on a new connection, which nobody holds yet.
        waiting.held &= !matches!(event, ClientEvent::Recovered(_));
        waiting.events.push_back(event);
        if !waiting.held && waiting.events.len() >= self.waiting_max {
            waiting.held = true;
            told(session.hold().await);
        }
    }

    /// A handler is done: its session's next event, or none.
    async fn go_on(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = match &done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(session) = self.sessions.remove(&id) else { return };
        let Some(waiting) = self.busy.get_mut(&session.id()) else { return };
        if waiting.held && waiting.events.len() <= self.waiting_max / 2 {
            waiting.held = false;
            told(session.let_go().await);
        }
        match waiting.events.pop_front() {
            Some(event) => self.start(session, event),
            None => drop(self.busy.remove(&session.id())),
        }
    }

    fn start(&mut self, session: Session, event: ClientEvent) {
        let task = self.running.spawn((self.handler)(event));
        self.sessions.insert(task.id(), session);
    }
}

fn told(result: Result<(), crate::back::OfficeError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a connection could not be held or let go");
    }
}

impl ClientEvent {
    /// Whose it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        match self {
            Self::Connect(connect) => &connect.session,
            Self::Event(event) => &event.session,
            Self::Disconnect(gone) => &gone.session,
            Self::Recovered(session) | Self::Expired(session) => session,
        }
    }
}
