//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Owns what waits between a stream of things that sessions did and the handlers. A session costs nothing here while nothing of
//! it is handled. Must not know what was done. Start at [`Turns::run`].

use super::office::Office;
use crate::mail::{Mail, Upcall, Upcalls};
use futures_core::Stream;
use futures_util::{FutureExt as _, StreamExt as _};
use hub::{SessionId, ShardId, Sighting};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet, coop};

/// Something that a session did.
pub(crate) trait Doing {
    /// Which.
    fn session(&self) -> SessionId;

    /// Whether it is on a new connection since, which nobody holds yet.
    fn is_return(&self) -> bool;
}

impl Doing for Upcall {
    fn session(&self) -> SessionId {
        match self {
            Self::Connect { session, .. }
            | Self::Claimed { session, .. }
            | Self::Event { session, .. }
            | Self::Ask { session, .. }
            | Self::Recovered { session, .. }
            | Self::Reassigned { session, .. }
            | Self::Refresh { session, .. }
            | Self::Disconnected { session, .. }
            | Self::Expired { session, .. } => *session,
        }
    }

    fn is_return(&self) -> bool {
        matches!(self, Self::Recovered { .. } | Self::Claimed { .. })
    }
}

/// What shards tell, one by one.
pub(crate) struct UpcallStream {
    batches: mpsc::Receiver<Upcalls>,
    ready: VecDeque<Upcall>,
    watching: Option<Watching>,
    /// Dropped when shards have nothing more to tell that somebody waits for.
    open: Option<oneshot::Receiver<()>>,
}

/// Who is told of users and channels that shards see coming and going; must not wait for anything.
pub(crate) type Watching = Box<dyn Fn(ShardId, Vec<Sighting>) + Send>;

impl UpcallStream {
    pub(crate) fn new(batches: mpsc::Receiver<Upcalls>) -> Self {
        Self { batches, ready: VecDeque::new(), watching: None, open: None }
    }

    /// Sightings go there on the way. Without this they go nowhere.
    pub(crate) fn watching(self, watching: Watching) -> Self {
        Self { watching: Some(watching), ..self }
    }

    /// Ends behind what was told when the sender of this is dropped, else with the shards.
    pub(crate) fn while_open(self, open: oneshot::Receiver<()>) -> Self {
        Self { open: Some(open), ..self }
    }
}

impl Stream for UpcallStream {
    type Item = Upcall;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Upcall>> {
        loop {
            if let Some(upcall) = self.ready.pop_front() {
                return Poll::Ready(Some(upcall));
            }
            if self.open.as_mut().is_some_and(|open| open.poll_unpin(cx).is_ready()) {
                self.open = None;
                self.batches.close();
            }
            match self.batches.poll_recv(cx) {
                Poll::Ready(Some(mut batch)) => {
                    let (shard, sightings) = batch.take_sightings();
                    if let Some(watching) = self.watching.as_ref().filter(|_| !sightings.is_empty()) {
                        watching(shard, sightings);
                    }
                    self.ready.extend(batch);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Hands what sessions did to handlers.
pub(crate) struct Turns<E, H> {
    handler: H,
    ration: Ration,
    office: Office,
    waiting_max: usize,
    /// One task per busy session.
    running: JoinSet<()>,
    /// Whose the tasks are.
    sessions: HashMap<Id, SessionId>,
    busy: HashMap<SessionId, Waiting<E>>,
}

/// What waits for a session that is busy with something earlier. What was read before the connection was held comes on top of
/// the limit, and is bounded by what the shards may hand over.
struct Waiting<E> {
    events: VecDeque<E>,
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

impl<E, H, F> Turns<E, H>
where
    E: Doing,
    H: Fn(E) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    /// While `waiting_max` of a session wait for its handler, its connection is not read from.
    pub(crate) fn new(office: Office, waiting_max: usize, handler: H) -> Self {
        Self {
            handler,
            ration: Ration::default(),
            office,
            waiting_max: waiting_max.max(1),
            running: JoinSet::new(),
            sessions: HashMap::new(),
            busy: HashMap::new(),
        }
    }

    /// Runs the handler for each until the stream ends, and every handler to its end.
    pub(crate) async fn run(mut self, mut events: impl Stream<Item = E> + Unpin) {
        loop {
            tokio::select! {
                Some(done) = self.running.join_next_with_id() => self.go_on(done).await,
                event = events.next() => match event {
                    Some(event) => self.take(event).await,
                    None => break,
                },
            }
        }
        while let Some(done) = self.running.join_next_with_id().await {
            self.go_on(done).await;
        }
    }

    async fn take(&mut self, event: E) {
        let session = event.session();
        let Some(waiting) = self.busy.get_mut(&session) else {
            if let Some(unfinished) = self.begin(event) {
                self.busy.insert(session, Waiting { events: VecDeque::new(), held: false });
                self.leave_running(session, unfinished);
            }
            return;
        };
        // The client is on a new connection, which nobody holds yet.
        waiting.held &= !event.is_return();
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
    async fn next_of(&mut self, session: SessionId) -> Option<E> {
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
    fn begin(&mut self, event: E) -> Option<Pin<Box<F>>> {
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
