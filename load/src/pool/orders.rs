//! What clients are asked to do besides being there, as plain data that fits on a line.
//!
//! Owns which client a number belongs to. Must not know how it is done. Start at [`Say`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// Each of `numbers` is said by one of `clients`, in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) clients: Range<u32>,
    pub(crate) numbers: Range<u32>,
    /// When each of them is, or was, due.
    pub(crate) schedule: Schedule,
}

/// A conversation without a schedule: each of `starters` says `outstanding` messages at once, and every client that hears
/// one says one more, until the time is over. Numbers are each client's own, from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Converse {
    pub(crate) starters: Range<u32>,
    pub(crate) outstanding: u32,
    /// See [`crate::latency::now_ns`].
    pub(crate) until_ns: u64,
}

/// Each of `numbers` is a visit of one of the first `slots` clients, in turn: it connects, says the number when it is
/// ready, and leaves when it hears it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) slots: u32,
    pub(crate) numbers: Range<u32>,
    /// When each visit is, or was, due.
    pub(crate) schedule: Schedule,
}

impl Say {
    /// Who says `number`.
    pub(super) fn client(&self, number: u32) -> u32 {
        self.clients.start + number % (self.clients.end - self.clients.start).max(1)
    }
}

impl Visit {
    /// Whose visit `number` is.
    pub(super) fn client(&self, number: u32) -> u32 {
        number % self.slots.max(1)
    }
}
