//! Small rows with compare-and-set: sessions, stored subscriptions, configuration of queues, leases.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use crate::{Done, StoreError};

/// Which rows. A table is a room of its own: keys of two tables never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tab {
    /// Where a session lives.
    Sessions,
    /// What a user is subscribed to at login.
    Subscriptions,
    /// How a queue is configured.
    Queues,
    /// Who owns a partition, which node lives. Small enough to be watched.
    Leases,
}

/// Revision of one row: changes with each write to it and never returns. Only equality means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rev(pub(crate) u64);

/// What must stand there for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever.
    Any,
    /// No row.
    Absent,
    /// The row as it was read.
    Rev(Rev),
}

/// What to do to a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Write it.
    Put {
        /// At most [`Caps::record_bytes_max`](crate::Caps::record_bytes_max).
        body: Bytes,
        /// After this time it is gone.
        ttl: Option<Duration>,
    },
    /// Remove it; removing what is not there succeeds.
    Delete,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOp {
    /// The table.
    pub tab: Tab,
    /// 1 to 4,096 bytes.
    pub key: Bytes,
    /// The condition.
    pub expect: Expect,
    /// The deed.
    pub change: Change,
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Bytes,
    /// As written.
    pub body: Bytes,
    /// For compare-and-set.
    pub rev: Rev,
}

/// A row that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Its key.
    pub key: Bytes,
    /// What stands there now; `None` after a delete or an expiry.
    pub row: Option<Row>,
}

/// Takes changes of one table, from any thread.
pub trait Watcher: Send + Sync {
    /// Changes of one row come in their order. Must not block and must not call the store.
    fn changed(&self, change: RowChange);
}

/// Tables of rows.
pub trait Table: Send + Sync {
    /// The rows of these keys, in the order asked.
    fn rows(&self, tab: Tab, keys: &[Bytes]) -> Vec<Result<Option<Row>, StoreError>>;

    /// Does the operations in their order, each on its own, and completes `done` with [`Completion::Changed`]. A
    /// condition that does not hold is [`StoreError::Conflict`] and stops no other operation.
    ///
    /// [`Completion::Changed`]: crate::Completion::Changed
    fn change(&self, ops: Vec<RowOp>, done: Done);

    /// At most `max` rows whose key begins with `prefix` and lies behind `after`, sorted by key.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    fn scan(&self, tab: Tab, prefix: &[u8], after: Option<&[u8]>, max: usize)
    -> Result<Vec<Row>, StoreError>;

    /// Tells `watcher` of every change from now on; a scan afterwards completes the picture. For small tables, once per
    /// node and table.
    fn watch(&self, tab: Tab, watcher: Arc<dyn Watcher>);
}
