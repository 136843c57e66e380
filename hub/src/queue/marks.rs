//! What one FIFO queue was sent lately, by deduplication id. Owns the window of five minutes and the look-up; an id costs about
//! 80 bytes and its own length. Knows nothing of whether the messages are stored still, but where an id is recorded.

use super::ids::Wall;
use super::limits::DEDUPLICATION_MS;
use super::record::{Id, IdValue};
use super::run::{Numbered, Run};
use crate::message::MessageId;
use foldhash::fast::FixedState;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

/// A message that was taken.
#[derive(Debug)]
pub(crate) struct Marked {
    /// Of the message.
    pub(crate) offset: u64,
    pub(crate) key: Box<[u8]>,
    /// The message's public name in two halves, which need no padding.
    id: [u64; 2],
    /// A message of the same key is a duplicate before this time.
    pub(crate) until: Wall,
    /// Place of the id's own record; 0 = the message's record has it.
    pub(crate) record: u64,
}

impl Marked {
    pub(crate) fn new((offset, key): (u64, Box<[u8]>), id: MessageId, until: Wall) -> Self {
        Self { offset, key, id: [(id.0 >> 64) as u64, id.0 as u64], until, record: 0 }
    }

    pub(crate) fn id(&self) -> MessageId {
        let [high, low] = self.id;
        MessageId(u128::from(high) << 64 | u128::from(low))
    }
}

impl Numbered for Marked {
    fn number(&self) -> u64 {
        self.offset
    }
}

/// The ids of one queue.
#[derive(Debug)]
pub(crate) struct Marks {
    list: Run<Marked>,
    /// Hash of the key, and offset.
    index: BTreeSet<(u64, u64)>,
    hasher: FixedState,
}

impl Marks {
    /// `seed` makes hashes unguessable to those who choose ids.
    pub(crate) fn new(seed: u64) -> Self {
        Self { list: Run::default(), index: BTreeSet::new(), hasher: FixedState::with_seed(seed) }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The message of the same key that was taken within the window; the newest, if a clock that went back made it two.
    pub(crate) fn find(&self, key: &[u8], now: Wall) -> Option<&Marked> {
        let hash = self.hasher.hash_one(key);
        let same = self.index.range((hash, 0)..=(hash, u64::MAX));
        let mut same = same.rev().filter_map(|(_, offset)| self.list.find(*offset));
        same.find(|marked| *marked.key == *key && marked.until > now)
    }

    /// The id of a message, if it is remembered.
    pub(crate) fn of(&mut self, offset: u64) -> Option<&mut Marked> {
        self.list.find_mut(offset)
    }

    pub(crate) fn insert(&mut self, marked: Marked) {
        self.index.insert((self.hasher.hash_one(&*marked.key), marked.offset));
        self.list.insert(marked);
    }

    /// Forgets the oldest id, if its window is over.
    pub(crate) fn expire(&mut self, now: Wall) -> Option<Marked> {
        self.list.first().filter(|first| first.until <= now)?;
        self.pop()
    }

    /// Forgets the oldest id.
    pub(crate) fn pop(&mut self) -> Option<Marked> {
        let marked = self.list.pop_first()?;
        self.index.remove(&(self.hasher.hash_one(&*marked.key), marked.offset));
        Some(marked)
    }

    /// Forgets an id whose message stood below a place.
    pub(crate) fn pop_below(&mut self, floor: u64) -> Option<Marked> {
        self.list.first().filter(|first| first.offset < floor)?;
        self.pop()
    }

    /// When to forget. A second late, so that many go at once.
    pub(crate) fn next_deadline(&self) -> Option<Wall> {
        self.list.first().map(|first| first.until.plus(1000))
    }
}

/// The end of the window of a message sent at a time; not later than if it were sent now.
pub(crate) fn window_end(sent: Wall, now: Wall) -> Wall {
    sent.min(now).plus(DEDUPLICATION_MS)
}

/// What messages are compared by: unique over queue and group ids, texts and hashes.
pub(crate) fn key(id: &Id, group: Option<&str>) -> Box<[u8]> {
    let (form, value): (u8, &[u8]) = match &id.value {
        IdValue::Text(text) => (0, text.as_bytes()),
        IdValue::Hash(hash) => (1, hash),
    };
    let group = group.filter(|_| id.in_group).unwrap_or_default();
    let mut key = Vec::with_capacity(group.len() + value.len() + 2);
    key.push(form | u8::from(id.in_group) << 1);
    if id.in_group {
        key.extend_from_slice(group.as_bytes());
        // No byte of any text.
        key.push(0xff);
    }
    key.extend_from_slice(value);
    key.into_boxed_slice()
}
