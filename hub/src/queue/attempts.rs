//! Receives of one FIFO queue that may be repeated: the same attempt id gives the same messages. In memory only; knows
//! which messages and holds, not what became of them.

use super::ids::Wall;
use super::limits::ATTEMPT_MS;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What one receive gave.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    id: Arc<str>,
    over: Wall,
    /// When its messages become visible again, all at one time.
    pub(crate) until: Wall,
    /// Offset and number of each.
    pub(crate) messages: Vec<(u64, u64)>,
}

/// The attempts of one queue.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// In the order they were made.
    list: VecDeque<Attempt>,
    /// How many went from the front of `list`.
    gone: u64,
    /// The newest of each id: its place in the order of all.
    index: BTreeMap<Arc<str>, u64>,
}

impl Attempts {
    pub(crate) fn find(&self, id: &str, now: Wall) -> Option<&Attempt> {
        let place = self.index.get(id)? - self.gone;
        self.list.get(usize::try_from(place).ok()?).filter(|attempt| attempt.over > now)
    }

    /// Its messages have another deadline.
    pub(crate) fn prolong(&mut self, id: &str, until: Wall) {
        let Some(place) = self.index.get(id).map(|place| place - self.gone) else { return };
        let attempt = usize::try_from(place).ok().and_then(|place| self.list.get_mut(place));
        attempt.into_iter().for_each(|attempt| attempt.until = until);
    }

    /// Remembers a receive; the oldest goes when there are more than `max`.
    pub(crate) fn insert(&mut self, id: &str, given: (Wall, Vec<(u64, u64)>), (now, max): (Wall, u32)) {
        let id: Arc<str> = id.into();
        let (until, messages) = given;
        self.index.insert(Arc::clone(&id), self.gone + self.list.len() as u64);
        self.list.push_back(Attempt { id, over: now.plus(ATTEMPT_MS), until, messages });
        while self.list.len() > max as usize {
            self.pop();
        }
        self.forget(now);
    }

    /// When to forget.
    pub(crate) fn next_deadline(&self) -> Option<Wall> {
        self.list.front().map(|first| first.over)
    }

    pub(crate) fn forget(&mut self, now: Wall) {
        while self.list.front().is_some_and(|first| first.over <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some(first) = self.list.pop_front() else { return };
        if self.index.get(&first.id) == Some(&self.gone) {
            self.index.remove(&first.id);
        }
        self.gone += 1;
    }
}
