//! Everything a store can answer but success, by what the caller has to do about it.

use std::time::Duration;

use crate::{Position, Rev};

/// Why an operation was not done, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Away or electing; nothing was written. Try again after the time given.
    #[error("the store is away for the moment")]
    Unavailable {
        /// A good time to wait.
        retry_after: Duration,
    },
    /// It may have been written or not. Repeat it with the same [`RecordId`](crate::RecordId): the hub ignores an id
    /// it has applied.
    #[error("nobody knows whether it was written")]
    Unknown,
    /// Another owner wrote to the partition: drop its state, do not repeat.
    #[error("another owner holds the partition")]
    Fenced,
    /// A compare-and-set lost; the revision that stands there, `None` when there is no row.
    #[error("the row is not as expected")]
    Conflict(Option<Rev>),
    /// The position asked for is older than what is kept, or of another epoch. Everything up to `upto` is gone, reading
    /// after it works.
    #[error("trimmed up to {upto:?}")]
    Trimmed {
        /// The last position that is gone.
        upto: Position,
    },
    /// Nothing was written; it will never fit.
    #[error("larger than {bytes_max} bytes")]
    TooLarge {
        /// The largest body.
        bytes_max: usize,
    },
    /// Nothing was written; reads go on. Trimming or deleting makes room.
    #[error("the store is full")]
    Full,
    /// The journal or its sync failed: no further write will succeed in this process. Never repeated, since a second
    /// sync that succeeds proves nothing about the first. What it was answered to may be there after a restart.
    #[error("the store failed and takes no further writes")]
    Failed,
    /// What is stored is not what was written. Nothing is repaired and nothing is left out in silence.
    #[error("the store is damaged: {0}")]
    Damaged(
        /// The place: partition and offset of a record, a range of them, or a page of the file.
        Box<str>,
    ),
}
