//! A store or bus that misbehaves as real ones do, decided by a seed.
//!
//! Wraps any implementation. With all [`Odds`] at zero it is transparent, which the contract checks; otherwise a test
//! sees the same faults again for the same seed and calls. Delay has no clock: what is held comes out at
//! [`Faulty::release`], in order.

use bytes::Bytes;
use hub::Partition;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::{
    Bus, Caps, Completion, Completions, Done, Entity, Frame, Interest, Log, Max, Member, Page, Position,
    Record, Row, RowOp, Snapshot, StoreError, Tab, Table, To, Token, Watcher, Write,
};

/// How often each fault happens, in thousandths of calls (of frames, for the last two).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odds {
    /// A write waits for [`Faulty::release`], and all later ones behind it.
    pub delay: u16,
    /// A call is refused as [`StoreError::Unavailable`].
    pub unavailable: u16,
    /// Nothing is written, the answer is [`StoreError::Unknown`].
    pub unknown_lost: u16,
    /// All is written, the answer is [`StoreError::Unknown`].
    pub unknown_written: u16,
    /// From some entry of the batch on, its partition is [`StoreError::Fenced`].
    pub fenced: u16,
    /// A write is refused as [`StoreError::Full`].
    pub full: u16,
    /// This and every later write is [`StoreError::Failed`].
    pub failed: u16,
    /// A frame is dropped.
    pub frame_lost: u16,
    /// A frame comes twice.
    pub frame_doubled: u16,
}

/// Anything, with faults.
pub struct Faulty<T> {
    inner: T,
    state: Mutex<State>,
}

struct State {
    odds: Odds,
    random: u64,
    failed: bool,
    held: VecDeque<Held>,
}

enum Held {
    Write(Vec<Write>, Done, Fate),
    Change(Vec<RowOp>, Done, Fate),
}

#[derive(Clone, Copy)]
enum Fate {
    Pass,
    Unavailable,
    Full,
    UnknownLost,
    UnknownWritten,
    /// From the entry with this index on.
    Fenced(usize),
    Failed,
}

impl State {
    /// Splitmix64: small, and any seed is as good as any other.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn happens(&mut self, odds: u16) -> bool {
        self.next() % 1000 < u64::from(odds)
    }

    fn fate(&mut self, entries: usize) -> Fate {
        let odds = self.odds;
        self.failed = self.failed || self.happens(odds.failed);
        if self.failed {
            Fate::Failed
        } else if self.happens(odds.unavailable) {
            Fate::Unavailable
        } else if self.happens(odds.full) {
            Fate::Full
        } else if self.happens(odds.unknown_lost) {
            Fate::UnknownLost
        } else if self.happens(odds.unknown_written) {
            Fate::UnknownWritten
        } else if entries > 0 && self.happens(odds.fenced) {
            let at = self.next() % u64::try_from(entries).unwrap_or(u64::MAX);
            Fate::Fenced(usize::try_from(at).unwrap_or(0))
        } else {
            Fate::Pass
        }
    }

    fn waits(&mut self) -> bool {
        let odds = self.odds.delay;
        self.happens(odds) || !self.held.is_empty()
    }
}

const AWAY: StoreError = StoreError::Unavailable { retry_after: Duration::from_millis(100) };

impl<T> Faulty<T> {
    /// The same seed, odds and calls give the same faults.
    #[must_use]
    pub fn new(inner: T, odds: Odds, seed: u64) -> Self {
        let state = State { odds, random: seed, failed: false, held: VecDeque::new() };
        Self { inner, state: Mutex::new(state) }
    }

    /// What is wrapped.
    pub fn inner(&self) -> &T {
        &self.inner
    }

    /// Changes what may happen from now on.
    pub fn set_odds(&self, odds: Odds) {
        self.state().odds = odds;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn reading(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let odds = state.odds.unavailable;
        if state.happens(odds) { Err(AWAY) } else { Ok(()) }
    }
}

impl<T: Log + Table> Faulty<T> {
    /// Lets go of what was delayed, in its order.
    pub fn release(&self) {
        let mut state = self.state();
        while let Some(held) = state.held.pop_front() {
            self.perform(held);
        }
    }

    fn submit(&self, held: impl FnOnce(Fate) -> Held, entries: usize) {
        let mut state = self.state();
        let held = held(state.fate(entries));
        if state.waits() {
            state.held.push_back(held);
        } else {
            // Under the lock: two callers' writes reach the store in the order they were decided.
            self.perform(held);
        }
    }

    fn perform(&self, held: Held) {
        match held {
            Held::Write(batch, done, fate) => match refusal(fate) {
                Some(error) => done.complete(Completion::Written(vec![Err(error); batch.len()])),
                None => {
                    let refused = fenced(&batch, fate);
                    let mut marks = refused.iter();
                    let batch =
                        batch.into_iter().filter(|_| marks.next().is_some_and(Option::is_none)).collect();
                    self.inner.write(batch, rewritten(done, refused, fate));
                }
            },
            Held::Change(ops, done, fate) => match refusal(fate) {
                Some(error) => done.complete(Completion::Changed(vec![Err(error); ops.len()])),
                None => {
                    let refused = vec![None; ops.len()];
                    self.inner.change(ops, rewritten(done, refused, fate));
                }
            },
        }
    }
}

/// The error of a fate that writes nothing.
fn refusal(fate: Fate) -> Option<StoreError> {
    match fate {
        Fate::Pass | Fate::UnknownWritten | Fate::Fenced(_) => None,
        Fate::Unavailable => Some(AWAY),
        Fate::Full => Some(StoreError::Full),
        Fate::UnknownLost => Some(StoreError::Unknown),
        Fate::Failed => Some(StoreError::Failed),
    }
}

/// Which entries of a batch are fenced.
fn fenced(batch: &[Write], fate: Fate) -> Vec<Option<StoreError>> {
    let Fate::Fenced(from) = fate else { return vec![None; batch.len()] };
    let partition: Option<Partition> = batch.get(from).map(Write::partition);
    let is_fenced = |(index, entry): (usize, &Write)| index >= from && Some(entry.partition()) == partition;
    batch.iter().enumerate().map(|place| is_fenced(place).then_some(StoreError::Fenced)).collect()
}

/// Puts refusals back between the results of what was let through.
struct Rewrite {
    done: Mutex<Option<Done>>,
    refused: Vec<Option<StoreError>>,
    unknown: bool,
}

fn rewritten(done: Done, refused: Vec<Option<StoreError>>, fate: Fate) -> Done {
    let unknown = matches!(fate, Fate::UnknownWritten);
    Done::new(Arc::new(Rewrite { done: Mutex::new(Some(done)), refused, unknown }), Token(0))
}

impl Rewrite {
    fn merge<R>(&self, results: Vec<Result<R, StoreError>>) -> Vec<Result<R, StoreError>> {
        let mut results = results.into_iter();
        let one = |refused: &Option<StoreError>| match refused {
            Some(error) => Err(error.clone()),
            None => match results.next() {
                Some(_) if self.unknown => Err(StoreError::Unknown),
                Some(result) => result,
                None => Err(StoreError::Unknown),
            },
        };
        self.refused.iter().map(one).collect()
    }
}

impl Completions for Rewrite {
    fn complete(&self, _: Token, completion: Completion) {
        let Some(done) = self.done.lock().expect("no holder of this lock panics").take() else { return };
        done.complete(match completion {
            Completion::Written(results) => Completion::Written(self.merge(results)),
            Completion::Changed(results) => Completion::Changed(self.merge(results)),
            answered @ Completion::Answered(_) => answered,
        });
    }
}

impl<T: Log + Table> Log for Faulty<T> {
    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn write(&self, batch: Vec<Write>, done: Done) {
        let entries = batch.len();
        self.submit(|fate| Held::Write(batch, done, fate), entries);
    }

    fn replay(&self, partition: Partition, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        self.reading()?;
        self.inner.replay(partition, after, max)
    }

    fn fetch(&self, places: &[(Partition, u64)]) -> Vec<Result<Option<Record>, StoreError>> {
        let answers = self.inner.fetch(places);
        answers.into_iter().map(|answer| self.reading().and(answer)).collect()
    }

    fn read(&self, entity: &Entity, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        self.reading()?;
        self.inner.read(entity, after, max)
    }

    fn last(&self, entities: &[Entity]) -> Vec<Result<Option<Record>, StoreError>> {
        let answers = self.inner.last(entities);
        answers.into_iter().map(|answer| self.reading().and(answer)).collect()
    }

    fn snapshot(&self, partition: Partition, snapshot: Snapshot) -> Result<(), StoreError> {
        self.reading()?;
        self.inner.snapshot(partition, snapshot)
    }

    fn trim(&self, entity: &Entity, before: Position) -> Result<(), StoreError> {
        self.reading()?;
        self.inner.trim(entity, before)
    }
}

impl<T: Log + Table> Table for Faulty<T> {
    fn rows(&self, tab: Tab, keys: &[Bytes]) -> Vec<Result<Option<Row>, StoreError>> {
        let answers = self.inner.rows(tab, keys);
        answers.into_iter().map(|answer| self.reading().and(answer)).collect()
    }

    fn change(&self, ops: Vec<RowOp>, done: Done) {
        self.submit(|fate| Held::Change(ops, done, fate), 0);
    }

    fn scan(
        &self,
        tab: Tab,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.reading()?;
        self.inner.scan(tab, prefix, after, max)
    }

    fn watch(&self, tab: Tab, watcher: Arc<dyn Watcher>) {
        self.inner.watch(tab, watcher);
    }
}

impl<T: Bus> Bus for Faulty<T> {
    fn interest(&self, changes: Vec<Interest>) {
        self.inner.interest(changes);
    }

    fn publish(&self, frames: Vec<Frame>) {
        let mut state = self.state();
        let (lost, doubled) = (state.odds.frame_lost, state.odds.frame_doubled);
        let mut sent = Vec::with_capacity(frames.len());
        for frame in frames {
            if state.happens(lost) {
                continue;
            }
            if state.happens(doubled) {
                sent.push(frame.clone());
            }
            sent.push(frame);
        }
        self.inner.publish(sent);
    }

    fn ask(&self, to: To, request: Bytes, wait: Duration, done: Done) {
        self.inner.ask(to, request, wait, done);
    }

    fn members(&self) -> Vec<Member> {
        self.inner.members()
    }
}
