//! Names and numbers that identify things. Newtypes, so that none can be taken for another.
//! Owns their text forms; knows nothing of what they name.

use std::fmt;
use std::sync::Arc;

/// Milliseconds on the caller's monotonic clock; only differences mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

/// Index of a shard within its node, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

/// A fixed slice of all homes; the unit of ownership (DESIGN: 64 by default, chosen at the first start).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// Where a session sits in the hub of its shard. Valid until the [`Effect::Ended`](crate::Effect::Ended) that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u32);

/// What the front calls a session on its side (an index of its own); the hub only hands it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag(pub u32);

/// Chosen by whoever asked; comes back in every [`Report`](crate::Report) about that command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A question to sessions that waits for replies; unique within one hub's life, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Place in the recovery log of one hub's life (`epoch` names the life).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset {
    /// The hub's life; offsets of another epoch mean nothing here.
    pub epoch: u64,
    /// Place in the log, from 1, without holes.
    pub sequence: u64,
}

/// Place of a message in its channel's history. Comparable within one epoch only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Changes when history is lost or deleted.
    pub epoch: u64,
    /// Per channel, from 1, without holes.
    pub offset: u64,
}

/// A session's public name: 15 bytes (partition 2, slot 4, random 9), 20 characters of base64url as text.
///
/// The partition leads any shard to the session's home; the slot makes the look-up there an index instead of a map
/// (no bytes per session); the random part makes a stale or guessed name miss.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 15]);

/// A channel's name: UTF-8 of 1 to `Limits::channel_name_bytes_max` bytes, levels split by `/`, no wildcard, no NUL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(pub(crate) Arc<str>);

/// How partitions are spread over shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// Shards of this node, at least 1.
    pub shards: u8,
    /// Partitions, at least as many as shards.
    pub partitions: u16,
}

impl Topology {
    /// The shard that owns a partition.
    #[must_use]
    pub fn owner(&self, partition: Partition) -> ShardId {
        ShardId((partition.0 % u16::from(self.shards)) as u8)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:02x?})", self.0)
    }
}
