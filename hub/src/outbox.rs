//! What waits for one session, and its bounds. Knows nothing of sessions or of why something waits.

use crate::exchange::{Waiting, make_way};
use crate::ids::Millis;
use crate::limits::Allowance;
use crate::message::{Message, Outgoing};
use std::collections::VecDeque;

/// First in, first out; bounded by what its session is allowed.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: VecDeque<Outgoing>,
    /// So many of the first items are not counted against the limits: the hub itself put them there.
    exempt: usize,
    /// Of the counted items.
    bytes: u64,
    /// The budget of a `Resume` that came while `Admitted` was held back; 0 = none.
    pub(crate) resume: u32,
}

/// The outbox cannot take it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Outbox {
    /// Adds at the end.
    ///
    /// # Errors
    /// `Full` when a limit would be exceeded; one item may exceed the bytes alone.
    pub(crate) fn push(&mut self, item: Outgoing, allowance: Allowance) -> Result<(), Full> {
        let size = size_of_item(&item);
        let counted = self.items.len() - self.exempt;
        let over_bytes = counted > 0 && self.bytes + size > allowance.bytes_max;
        if counted >= allowance.messages_max as usize || over_bytes {
            return Err(Full);
        }
        self.bytes += size;
        self.items.push_back(item);
        Ok(())
    }

    /// Adds in front of everything, outside the limits.
    pub(crate) fn push_first(&mut self, item: Outgoing) {
        self.items.push_front(item);
        self.exempt += 1;
    }

    /// An outbox that starts with `items`, outside the limits.
    pub(crate) fn starting_with(items: VecDeque<Outgoing>) -> Self {
        Self { exempt: items.len(), items, bytes: 0, resume: 0 }
    }

    /// The next thing; messages that are too old by now are dropped.
    pub(crate) fn pop(&mut self, now: Millis) -> Option<Outgoing> {
        loop {
            match self.take_first()? {
                Outgoing::Message { message, .. } if message.is_late(now) => {}
                item => return Some(item),
            }
        }
    }

    /// Makes place for something that matters more; false if there is no message that could go.
    pub(crate) fn drop_oldest(&mut self) -> bool {
        let may_go = matches!(self.items.front(), Some(Outgoing::Message { .. }));
        may_go && self.take_first().is_some()
    }

    /// Takes away as many of the oldest messages as are `enough`, of those that give way; how many.
    pub(crate) fn make_way(&mut self, enough: impl Fn(Waiting) -> bool) -> u32 {
        // What does not count is not in the way.
        let mut counted = self.items.split_off(self.exempt);
        let bytes = |item: &Outgoing| match item {
            Outgoing::Message { message, .. } if message.traits.gives_way => Some(message.len_bytes()),
            _ => None,
        };
        let gone = make_way(&mut counted, bytes, enough);
        self.items.append(&mut counted);
        self.bytes -= gone.bytes;
        u32::try_from(gone.count).unwrap_or(u32::MAX)
    }

    /// Takes away what waits and says less than this later message; how many. What the hub itself put there stays, and so does
    /// what is asked.
    pub(crate) fn drop_outdated(&mut self, later: &Message) -> u32 {
        let (mut place, exempt) = (0, self.exempt);
        let (mut count, mut bytes) = (0, 0);
        self.items.retain(|item| {
            place += 1;
            let is_outdated = match item {
                Outgoing::Message { message, ask: None, .. } => place > exempt && message.gives_way_to(later),
                _ => false,
            };
            if is_outdated {
                (count, bytes) = (count + 1, bytes + size_of_item(item));
            }
            !is_outdated
        });
        self.bytes -= bytes;
        count
    }

    fn take_first(&mut self) -> Option<Outgoing> {
        let item = self.items.pop_front()?;
        if self.exempt > 0 {
            self.exempt -= 1;
        } else {
            self.bytes -= size_of_item(&item);
        }
        Some(item)
    }

    /// Of the items that count.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the oldest message was published.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let published = |item: &Outgoing| match item {
            Outgoing::Message { message, grade, .. } if !grade.retained => Some(message.published),
            _ => None,
        };
        self.items.iter().find_map(published)
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Items that it holds without another allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.items.capacity()
    }
}

fn size_of_item(item: &Outgoing) -> u64 {
    match item {
        Outgoing::Admitted { .. } => 0,
        Outgoing::Message { message, .. } => message.len_bytes(),
        Outgoing::Answer { body, .. } => body.len_bytes() as u64,
    }
}
