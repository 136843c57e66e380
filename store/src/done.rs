//! How the result of a write comes back: pushed into a sink of the caller, never waited for.

use std::fmt;
use std::sync::Arc;

use crate::{Answers, Position, Rev, StoreError};

/// The caller's name for what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Of [`Log::write`](crate::Log::write): one result per entry, in the order given.
    Written(Vec<Result<Position, StoreError>>),
    /// Of [`Table::change`](crate::Table::change): one result per operation, in the order given.
    Changed(Vec<Result<Rev, StoreError>>),
    /// Of [`Bus::ask`](crate::Bus::ask).
    Answered(Answers),
}

/// Takes results, from any thread. A shard's mailbox.
pub trait Completions: Send + Sync {
    /// Called exactly once per [`Done`]. Must not block and must not call the store.
    fn complete(&self, token: Token, completion: Completion);
}

/// The address of one result. Consumed by its completion, so there is at most one.
pub struct Done {
    sink: Arc<dyn Completions>,
    token: Token,
}

impl Done {
    /// The result goes to `sink` under `token`.
    #[must_use]
    pub fn new(sink: Arc<dyn Completions>, token: Token) -> Self {
        Self { sink, token }
    }

    /// Delivers the result.
    pub fn complete(self, completion: Completion) {
        self.sink.complete(self.token, completion);
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Done").field(&self.token).finish()
    }
}
