//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Owns what waits between the stream and the handlers. A session costs nothing here while no event of it is handled.
//! Start at [`Events::serve`].

use super::events::{ClientEvent, Events};
use super::handle::Session;
use crate::back::office::Office;
use crate::mail::Mail;
use futures_util::FutureExt as _;
use hub::SessionId;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::task::{Id, JoinError, JoinSet, coop};

impl Events {
    /// Runs `handler` for every event until the server stops. Events of one session are handled in their order, each
    /// after the one before is done; different sessions do not wait for each other's answers. Handlers run one after the
    /// other up to their first wait as long as they compute little, in tasks beside each other where they do not; one that
    /// computes for long should spawn that part (`tokio::task::spawn_blocking`).
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
            ration: Ration::default(),
            office: self.office().clone(),
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
    ration: Ration,
    office: Office,
    waiting_max: usize,
    /// One task per busy session.
    running: JoinSet<()>,
    /// Whose the tasks are.
    sessions: HashMap<Id, SessionId>,
    busy: HashMap<SessionId, Waiting>,
}

/// Events of a session that is busy with an earlier one. What was read before the connection was held comes on top of
/// the limit, and is bounded by what the shards may hand over.
#[derive(Default)]
struct Waiting {
    events: VecDeque<ClientEvent>,
    held: bool,
}

/// How long handlers may compute while the events of everybody wait for them: [`EACH`] for an event, saved up to
/// [`SAVED_MAX`]. A program whose handlers need more has them run beside each other in tasks, as far as they need more.
struct Ration {
    left_ns: i64,
}

/// Of the ration, for each event.
const EACH: Duration = Duration::from_micros(20);

/// Of the ration, at most.
const SAVED_MAX: Duration = Duration::from_millis(20);

impl Default for Ration {
    fn default() -> Self {
        Self { left_ns: nanoseconds(SAVED_MAX) }
    }
}

impl Ration {
    /// For one more event.
    fn is_left(&mut self) -> bool {
        self.left_ns = self.left_ns.saturating_add(nanoseconds(EACH)).min(nanoseconds(SAVED_MAX));
        self.left_ns > 0
    }

    fn spend(&mut self, time: Duration) {
        self.left_ns = self.left_ns.saturating_sub(nanoseconds(time));
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl<H, F> Desk<H>
where
    H: Fn(ClientEvent) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    async fn take(&mut self, event: ClientEvent) {
        let session = event.session().id();
        let Some(waiting) = self.busy.get_mut(&session) else {
            if let Some(unfinished) = self.begin(event) {
                self.busy.insert(session, Waiting::default());
                self.leave_running(session, unfinished);
            }
            return;
        };
        // The client is on a new connection, which nobody holds yet.
        waiting.held &= !matches!(event, ClientEvent::Recovered(_));
        waiting.events.push_back(event);
        if !waiting.held && waiting.events.len() >= self.waiting_max {
            waiting.held = true;
            self.tell_home(session, Mail::Hold { session }).await;
        }
    }

    /// A handler is done: its session's next event, or none.
    async fn go_on(&mut self, done: Result<(Id, ()), JoinError>) {
        let id = match &done {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let Some(session) = self.sessions.remove(&id) else { return };
        while let Some(event) = self.next_of(session).await {
            if let Some(unfinished) = self.begin(event) {
                return self.leave_running(session, unfinished);
            }
        }
    }

    /// The next event that waits for a busy session; without one it is busy no more.
    async fn next_of(&mut self, session: SessionId) -> Option<ClientEvent> {
        let waiting = self.busy.get_mut(&session)?;
        let let_go = waiting.held && waiting.events.len() <= self.waiting_max / 2;
        waiting.held &= !let_go;
        let next = waiting.events.pop_front();
        if next.is_none() {
            self.busy.remove(&session);
        }
        if let_go {
            self.tell_home(session, Mail::LetGo { session }).await;
        }
        next
    }

    /// Runs the handler up to its first wait, in this task: most handlers never wait, and a task of its own would cost
    /// more than they do. Gives what is left of it; all of it where handlers have computed for longer than is their due.
    fn begin(&mut self, event: ClientEvent) -> Option<Pin<Box<F>>> {
        let mut handling = Box::pin((self.handler)(event));
        if !self.ration.is_left() {
            return Some(handling);
        }
        let begun = Instant::now();
        let first =
            || coop::unconstrained(handling.as_mut()).poll_unpin(&mut Context::from_waker(Waker::noop()));
        let outcome = catch_unwind(AssertUnwindSafe(first));
        self.ration.spend(begun.elapsed());
        match outcome {
            // What it waits for is asked again by its own task, whose waker then counts.
            Ok(Poll::Pending) => Some(handling),
            Ok(Poll::Ready(())) => None,
            // The hook has told where; the event is over.
            Err(_) => None,
        }
    }

    async fn tell_home(&self, session: SessionId, mail: Mail) {
        if let Err(error) = self.office.tell_home(session, mail).await {
            tracing::warn!(%error, "a connection could not be held or let go");
        }
    }

    fn leave_running(&mut self, session: SessionId, unfinished: Pin<Box<F>>) {
        let task = self.running.spawn(unfinished);
        self.sessions.insert(task.id(), session);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_that_computes_for_long_holds_the_others_up_only_once() {
        let mut ration = Ration::default();
        for _ in 0..100_000 {
            assert!(ration.is_left(), "handlers of 20 us on average never run out of it");
            ration.spend(Duration::from_micros(20));
        }
        ration.spend(Duration::from_secs(1));
        let waits = (0..).take_while(|_| !ration.is_left()).count();
        assert!((48_000..50_000).contains(&waits), "{waits}");
        (0..10_000).for_each(|_| assert!(ration.is_left()));
        assert_eq!(ration.left_ns, nanoseconds(SAVED_MAX), "and it is not saved up without end");
    }
}
