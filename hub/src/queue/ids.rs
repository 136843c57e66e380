//! Names and numbers of queues: what callers name a queue, a receive, a move and a task by. Knows nothing of what they name.

use crate::ids::{Partition, ShardId, Topology};
use crate::names::home_partition;
use std::fmt;
use std::sync::Arc;

/// A queue's name, chosen by its creator; opaque here, 1 to `QueueLimits::name_bytes_max` bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// Any text; its length is checked where the queue is created.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition of the queue's home.
    #[must_use]
    pub fn partition(&self, topology: &Topology) -> Partition {
        home_partition(&self.0, topology)
    }

    /// The shard whose hub has the queue, and takes every command that names it.
    #[must_use]
    pub fn home(&self, topology: &Topology) -> ShardId {
        topology.owner(self.partition(topology))
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Milliseconds since 1970 (UTC). What records hold, since they are read by later processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// So many milliseconds later.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this; 0 when it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a receiver settles a message by. Made and read by the hub; whoever hands it out protects it against forging. Any
/// shard finds the queue's home by the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt {
    /// Of the queue's home.
    pub partition: Partition,
    /// Which queue of that name: a queue that is created again is another one.
    pub incarnation: u64,
    /// Place of the message's record.
    pub offset: u64,
    /// Which receive; unique in one life of the hub.
    pub number: u64,
}

/// A message on its way from one queue to another: where its intent is recorded. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MoveId {
    /// Of the queue it leaves.
    pub partition: Partition,
    /// Place of the intent's record.
    pub intent: u64,
}

/// A move task, named by whoever starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u128);
