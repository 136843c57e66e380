//! Receives that wait for a message, over all queues of a hub. Owns their order and their time; knows nothing of messages.

use super::command::Receive;
use super::ids::Wall;
use crate::ids::Token;
use std::collections::{BTreeMap, BTreeSet};

/// The place of a queue in its hub.
pub(crate) type QueueKey = u32;

/// All that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Per queue in the order they came.
    list: BTreeMap<(QueueKey, u64), Waiter>,
    times: BTreeSet<(Wall, QueueKey, u64)>,
    tokens: BTreeMap<Token, (QueueKey, u64)>,
    came: u64,
}

/// A receive that waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) receive: Box<Receive>,
    until: Wall,
}

impl Waiters {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Those of one queue. Counts them.
    pub(crate) fn count(&self, queue: QueueKey) -> usize {
        self.list.range((queue, 0)..=(queue, u64::MAX)).count()
    }

    pub(crate) fn insert(&mut self, queue: QueueKey, receive: Box<Receive>, until: Wall) {
        self.came += 1;
        let place = (queue, self.came);
        self.tokens.insert(receive.token, place);
        self.times.insert((until, queue, self.came));
        self.list.insert(place, Waiter { receive, until });
    }

    /// Who is next in a queue.
    pub(crate) fn first(&self, queue: QueueKey) -> Option<&Receive> {
        let (_, waiter) = self.list.range((queue, 0)..=(queue, u64::MAX)).next()?;
        Some(&waiter.receive)
    }

    pub(crate) fn pop_first(&mut self, queue: QueueKey) -> Option<Box<Receive>> {
        let (place, _) = self.list.range((queue, 0)..=(queue, u64::MAX)).next()?;
        let place = *place;
        self.remove(place)
    }

    /// Gives the queue that it waited for.
    pub(crate) fn cancel(&mut self, token: Token) -> Option<QueueKey> {
        let place = self.tokens.get(&token).copied()?;
        self.remove(place);
        Some(place.0)
    }

    /// One whose time is over, and its queue.
    pub(crate) fn pop_late(&mut self, now: Wall) -> Option<(QueueKey, Box<Receive>)> {
        let (_, queue, came) = self.times.first().copied().filter(|(until, ..)| *until <= now)?;
        self.remove((queue, came)).map(|receive| (queue, receive))
    }

    pub(crate) fn next_deadline(&self) -> Option<Wall> {
        self.times.first().map(|(until, ..)| *until)
    }

    fn remove(&mut self, place: (QueueKey, u64)) -> Option<Box<Receive>> {
        let waiter = self.list.remove(&place)?;
        self.times.remove(&(waiter.until, place.0, place.1));
        self.tokens.remove(&waiter.receive.token);
        Some(waiter.receive)
    }
}
