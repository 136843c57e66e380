//! The log of a partition: append and remove in batches, read by position, trim by entity.
//!
//! It can be kept in two ways. As a history: records follow each other, are read by entity, and old ones are trimmed or
//! expire; who reads behind one of those learns of the gap. As *live records*: each stands for a piece of state and is
//! removed when that is over, so what is in the log is the state, and a replay reads what is there.

use bytes::Bytes;
use hub::Partition;
use std::time::Duration;

use crate::{Done, StoreError};

/// Place of a record in the log of its partition. Comparable within one epoch only; the epoch changes when nobody can
/// prove that the log continues (a memory store was restarted, a backup was restored).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The life of the log.
    pub epoch: u64,
    /// Grows with every record of the partition, from 1; 0 is the place before the first.
    pub offset: u64,
}

/// Chosen by the hub, unique in the product. Makes the repeat of an append harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u128);

/// The channel, session or queue a record belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entity {
    /// Its home.
    pub partition: Partition,
    /// Opaque, at most 65,535 bytes, unique in the partition. Empty for a record of nobody, which only [`Log::replay`] and
    /// [`Log::fetch`] give: finding records by entity costs an entry of an index for each.
    pub name: Bytes,
}

/// A record on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Whose record.
    pub entity: Entity,
    /// Its id.
    pub id: RecordId,
    /// The newest position of the partition as its owner knows it. When the log ends elsewhere somebody else wrote, and
    /// the record is refused as [`StoreError::Fenced`]. `None` follows what stands before it in the batch.
    pub expect: Option<Position>,
    /// After this time it is gone.
    pub ttl: Option<Duration>,
    /// One whole state change, at most [`Caps::record_bytes_max`].
    pub body: Bytes,
}

/// One entry of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A record to append.
    Append(Append),
    /// A record whose state is over. Unlike one that was trimmed or has expired it leaves no gap: nobody misses it.
    /// Removing what is not there succeeds.
    Remove {
        /// Whose log.
        partition: Partition,
        /// Its place there.
        offset: u64,
    },
}

impl Write {
    /// Whose log it changes.
    #[must_use]
    pub fn partition(&self) -> Partition {
        match self {
            Self::Append(append) => append.entity.partition,
            Self::Remove { partition, .. } => *partition,
        }
    }
}

impl From<Append> for Write {
    fn from(append: Append) -> Self {
        Self::Append(append)
    }
}

/// A record in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub position: Position,
    /// Name of its [`Entity`].
    pub entity: Bytes,
    /// The id it was appended with.
    pub id: RecordId,
    /// As appended.
    pub body: Bytes,
}

/// The state of a partition up to a position, in the hub's encoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record it includes.
    pub upto: Position,
    /// Opaque.
    pub state: Bytes,
}

/// How much a page may hold. One record is given even when it alone is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Max {
    /// Records.
    pub records: usize,
    /// Sum of their bodies.
    pub bytes: usize,
}

/// Part of a log. A reader that has lost something learns it by [`StoreError::Trimmed`], never by silence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Where a replay begins; only in its first page.
    pub snapshot: Option<Snapshot>,
    /// In the order of their positions.
    pub records: Vec<Record>,
    /// Read on after this; `None` at the end.
    pub next: Option<Position>,
    /// The newest position of the whole partition when the page was made.
    pub end: Position,
}

/// What `Ok` of a write promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Lost with the process.
    Memory,
    /// Survives the process (and power loss as far as the disk keeps its promise).
    Disk,
    /// Survives the loss of a minority of servers.
    Quorum,
}

/// What an implementation can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of an acknowledged write.
    pub durability: Durability,
    /// Other nodes see the same store.
    pub cluster: bool,
    /// Largest body of a record or row.
    pub record_bytes_max: usize,
}

/// One log per partition.
pub trait Log: Send + Sync {
    /// What this log can do.
    fn caps(&self) -> Caps;

    /// Appends and removes records of any mix of partitions and completes `done` with [`Completion::Written`]: the position
    /// of each entry, also of one that is removed.
    ///
    /// Order within a partition is the order given, over calls too. Once an entry is refused, the later entries of its
    /// partition in the same batch are refused with the same error: nothing ever stands behind a hole.
    ///
    /// The records of a partition get consecutive offsets, and none is ever used again, whatever was removed and however
    /// often the store was opened since. So the only writer of a partition knows the places of its records beforehand.
    /// Who does not wait for the results sets `expect`: when a write was refused, those behind it are refused as
    /// [`StoreError::Fenced`] and take no places they were not meant for. It then repeats, in their order, all that it
    /// wrote to the partition since, removals too: one that passed the append of its record has removed nothing.
    ///
    /// [`Completion::Written`]: crate::Completion::Written
    fn write(&self, batch: Vec<Write>, done: Done);

    /// The snapshot of a partition (when `after` is `None`) and the records behind it, or the records behind `after`.
    /// Removed, trimmed and expired records are left out.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] when `after` lies before the snapshot or is no position of this log,
    /// [`StoreError::Damaged`] when a record that should be there is not, or not as it was written,
    /// [`StoreError::Unavailable`].
    fn replay(&self, partition: Partition, after: Option<Position>, max: Max) -> Result<Page, StoreError>;

    /// The records at these places, in the order asked; `None` where none is (any more).
    fn fetch(&self, places: &[(Partition, u64)]) -> Vec<Result<Option<Record>, StoreError>>;

    /// The records of one entity behind `after`, from the oldest kept when it is `None`.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] when a record of the entity behind `after` may have been trimmed or have expired, or it is
    /// no position of this log; [`StoreError::Damaged`], [`StoreError::Unavailable`].
    fn read(&self, entity: &Entity, after: Option<Position>, max: Max) -> Result<Page, StoreError>;

    /// The newest record of each entity, in the order asked.
    fn last(&self, entities: &[Entity]) -> Vec<Result<Option<Record>, StoreError>>;

    /// Keeps the state of a partition; replay starts behind it. An older one than is kept is ignored. Records stay until
    /// they are trimmed.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when `upto` is no position of this log, [`StoreError::Unavailable`],
    /// [`StoreError::TooLarge`], [`StoreError::Full`], [`StoreError::Failed`].
    fn snapshot(&self, partition: Partition, snapshot: Snapshot) -> Result<(), StoreError>;

    /// Drops the records of an entity before a position. A position of another epoch drops nothing.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Failed`].
    fn trim(&self, entity: &Entity, before: Position) -> Result<(), StoreError>;
}
