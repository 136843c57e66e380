//! What the rules need of an implementation, and sinks that wait for results without sleeping.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use crate::{
    Append, Bus, Completion, Completions, Done, Frame, Inbound, Log, Member, NodeId, Position, Question, Rev,
    RowChange, RowOp, StoreError, Table, Token, Watcher, Write,
};

/// A store to test, fresh for each rule.
pub trait Rig {
    /// What is tested.
    type Store: Log + Table;
    /// The store.
    fn store(&self) -> &Self::Store;
    /// Lets that much time pass for what expires.
    fn advance(&self, by: Duration);
    /// Lets go of what the store holds back, when it holds anything back on purpose.
    fn settle(&self) {}
    /// Bytes of bodies after which the log must be full, when the store has such a bound and it can be reached in a
    /// test.
    fn log_bytes_max(&self) -> Option<usize> {
        None
    }
}

/// A place that keeps what was stored in it, fresh for each rule.
pub trait Home {
    /// What lives there, one at a time.
    type Store: Log + Table;
    /// Opens what is there. The one opened before is gone: ended in order, or not.
    fn open(&self) -> Self::Store;
}

/// A bus to test, fresh for each rule.
pub trait BusRig {
    /// Connects a node.
    fn join(&self, member: Member, inbound: Arc<dyn Inbound>) -> Box<dyn Bus>;
    /// Lets that much time pass for questions.
    fn advance(&self, by: Duration);
}

/// Longer than any implementation takes; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps results and whatever else is pushed, until somebody asks.
pub struct Sink<T> {
    kept: Mutex<T>,
    news: Condvar,
}

impl<T: Default> Sink<T> {
    /// With nothing in it.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), news: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.kept.lock().expect("no holder of this lock panics")
    }

    /// Changes what is kept and wakes who waits.
    pub fn push(&self, change: impl FnOnce(&mut T)) {
        change(&mut self.lock());
        self.news.notify_all();
    }

    /// Waits until `take` finds what it looks for.
    ///
    /// # Panics
    /// When it never does.
    pub fn wait<R>(&self, what: &str, mut take: impl FnMut(&mut T) -> Option<R>) -> R {
        let mut found = None;
        let searched = |kept: &mut T| {
            found = take(kept);
            found.is_none()
        };
        let waited = self.news.wait_timeout_while(self.lock(), PATIENCE, searched);
        drop(waited.expect("no holder of this lock panics"));
        assert!(found.is_some(), "{what} never came");
        found.expect("it was just seen")
    }
}

/// Results by token.
type Results = HashMap<Token, Completion>;

impl Completions for Sink<Results> {
    fn complete(&self, token: Token, completion: Completion) {
        self.push(|results| {
            let earlier = results.insert(token, completion);
            assert!(earlier.is_none(), "{token:?} was completed twice");
        });
    }
}

impl Watcher for Sink<Vec<RowChange>> {
    fn changed(&self, change: RowChange) {
        self.push(|changes| changes.push(change));
    }
}

static NEWEST: AtomicU64 = AtomicU64::new(0);

fn token() -> Token {
    Token(NEWEST.fetch_add(1, Ordering::Relaxed))
}

/// A result that somebody will wait for.
pub(super) struct Pending {
    sink: Arc<Sink<Results>>,
    token: Token,
}

impl Pending {
    pub(super) fn new() -> (Self, Done) {
        let (sink, token) = (Sink::<Results>::new(), token());
        let done = Done::new(sink.clone(), token);
        (Self { sink, token }, done)
    }

    pub(super) fn completion(self) -> Completion {
        self.sink.wait("a completion", |results| results.remove(&self.token))
    }
}

/// Results of one write, in the order of its records.
pub(super) type Outcomes<T> = Vec<Result<T, StoreError>>;

/// Writes without waiting.
pub(super) fn start_write(store: &impl Log, batch: Vec<Write>) -> Pending {
    let (pending, done) = Pending::new();
    store.write(batch, done);
    pending
}

/// The results of a write.
pub(super) fn written(pending: Pending) -> Outcomes<Position> {
    match pending.completion() {
        Completion::Written(results) => results,
        other => unreachable!("a write was completed with {other:?}"),
    }
}

/// Writes and waits.
pub(super) fn write(rig: &impl Rig, batch: Vec<Write>) -> Outcomes<Position> {
    let pending = start_write(rig.store(), batch);
    rig.settle();
    written(pending)
}

/// Appends and waits.
pub(super) fn append(rig: &impl Rig, batch: Vec<Append>) -> Outcomes<Position> {
    write(rig, batch.into_iter().map(Write::from).collect())
}

/// Changes rows and waits.
pub(super) fn change(rig: &impl Rig, ops: Vec<RowOp>) -> Outcomes<Rev> {
    let (pending, done) = Pending::new();
    rig.store().change(ops, done);
    rig.settle();
    changed(pending)
}

/// The results of a change of rows.
pub(super) fn changed(pending: Pending) -> Outcomes<Rev> {
    match pending.completion() {
        Completion::Changed(results) => results,
        other => unreachable!("a change was completed with {other:?}"),
    }
}

/// What a node heard.
#[derive(Default)]
pub struct Heard {
    /// Frames in their order.
    pub frames: Vec<Frame>,
    /// Who asked what.
    pub questions: Vec<(NodeId, bytes::Bytes)>,
    /// Answers the next questions, the last one first; a question without one is left unanswered.
    pub answers: Vec<bytes::Bytes>,
}

impl Inbound for Sink<Heard> {
    fn frames(&self, batch: Vec<Frame>) {
        self.push(|heard| heard.frames.extend(batch));
    }

    fn question(&self, question: Question) {
        let mut answer = None;
        self.push(|heard| {
            heard.questions.push((question.from, question.request));
            answer = heard.answers.pop();
        });
        if let Some(answer) = answer {
            question.reply.send(answer);
        }
    }
}
