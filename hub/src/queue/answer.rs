//! What queues say to whoever asked. Data only.

use super::ids::{QueueName, Receipt, TaskId, Wall};
use super::record::TaskRecord;
use super::settings::Settings;
use crate::effect::Page;
use crate::ids::Partition;
use crate::message::MessageId;
use std::sync::Arc;

/// What whoever asked is told.
#[derive(Debug)]
pub enum Answer {
    /// There is a new queue.
    Created(Box<QueueView>),
    /// A queue has the name; whether it is what the caller wants is for the caller to see.
    Exists(Box<QueueView>),
    /// The settings hold.
    Configured(Box<QueueView>),
    /// Done.
    Done,
    /// A queue.
    View(Box<QueueView>),
    /// Queues.
    Page(Page<QueueView>),
    /// Names of queues.
    Names(Page<QueueName>),
    /// Stored messages.
    Peeked(Page<Peeked>),
    /// What became of each message.
    Sent(Vec<Result<Taken, QueueRefusal>>),
    /// Messages; none when there were none in time.
    Received(Vec<Delivery>),
    /// What became of each receipt.
    Settled(Vec<Result<(), QueueRefusal>>),
    /// The task runs.
    TaskStarted(TaskId),
    /// The task moves no further message.
    TaskCancelled {
        /// Messages moved so far.
        moved: u64,
    },
    /// Move tasks.
    Tasks(Vec<TaskRecord>),
    /// No.
    Refused(QueueRefusal),
}

/// A message that a queue has taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its public name; of a duplicate that of the first.
    pub id: MessageId,
    /// Place of its record, which rises with every message of the partition and never starts again; of a duplicate that
    /// of the first.
    pub offset: u64,
    /// It was sent before and is not stored again.
    pub duplicate: bool,
}

/// A message that a receiver gets. What it says is in the record at `receipt.offset` of `receipt.partition`; if that is
/// gone, the message has ended meanwhile and is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To settle it by.
    pub receipt: Receipt,
    /// How often it was received in this queue, this time included; [`Origin`](super::Origin) has what was before.
    pub receives: u32,
    /// When it was received first in this queue.
    pub first_received: Wall,
}

/// A queue as others see it.
#[derive(Clone, Debug)]
pub struct QueueView {
    /// Its name.
    pub name: QueueName,
    /// Of its home.
    pub partition: Partition,
    /// Which queue of that name.
    pub incarnation: u64,
    /// Changes with the settings and with a purge.
    pub revision: u64,
    /// How it behaves.
    pub settings: Arc<Settings>,
    /// When it was created.
    pub created: Wall,
    /// When its settings were changed.
    pub modified: Wall,
    /// What is stored.
    pub counts: QueueCounts,
    /// What has gone through it.
    pub flow: QueueFlow,
    /// When the oldest stored message was sent.
    pub oldest: Option<Wall>,
    /// Receives that wait.
    pub waiting: u32,
    /// Groups with stored messages.
    pub groups: u32,
}

/// Messages stored in a queue, exactly; what is due or too old by now counts as it was until the next tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Can be received, or could if their group were not held up.
    pub visible: u64,
    /// Received and not settled, or on their way to another queue.
    pub in_flight: u64,
    /// Wait for their time.
    pub delayed: u64,
}

/// What has gone through a queue since it was created or this hub began, whichever was later. It only grows, a purge included.
/// Messages that came or left by a move, or became too old, are in none of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueFlow {
    /// Messages taken, without duplicates.
    pub sent: u64,
    /// Messages given to receivers, each time that it happened.
    pub received: u64,
    /// Messages settled while they were stored.
    pub settled: u64,
}

/// A stored message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// Place of its record.
    pub offset: u64,
    /// When it was sent.
    pub sent: Wall,
    /// What it is at.
    pub stage: Stage,
    /// How often it was received in this queue.
    pub receives: u32,
}

/// What a stored message is at.
///
/// ```text
///  sent           its time has come            receive             settle
/// ------> Delayed -----------------> Visible ----------> InFlight --------> gone
///    \---------------------------> /     ^  <---------- /
///                                         deadline, visibility 0
/// ```
///
/// In any of them it is gone when it is too old, with a purge, or with the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waits for its time.
    Delayed,
    /// Can be received.
    Visible,
    /// With a receiver.
    InFlight,
}

/// Why queues say no. One variant each, mapped by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueRefusal {
    /// The hub keeps no journal.
    NoJournal,
    /// No queue of that name.
    NotFound,
    /// The queue has another revision.
    Conflict,
    /// The settings, or the name, are over a limit or contradict each other.
    BadSettings,
    /// A queue of that name was deleted a moment ago.
    JustDeleted,
    /// The queue was purged a moment ago.
    JustPurged,
    /// There is no queue of the target's name.
    NoTarget,
    /// The target is of the other kind, or is the queue itself.
    WrongTarget,
    /// The target does not take dead letters of this queue.
    TargetNotAllowed,
    /// A limit of the hub.
    OverLimit,
    /// The message is larger than the queue takes.
    TooLarge {
        /// The queue's limit.
        bytes_max: u32,
    },
    /// An id is empty or too long.
    BadId,
    /// A message of a FIFO queue needs a group.
    NoGroup,
    /// A message of a FIFO queue needs a deduplication id, or the queue must know messages by their content.
    NoDeduplication,
    /// A message of a FIFO queue has no delay of its own.
    DelayNotAllowed,
    /// Too many messages of the queue are in flight.
    InFlightLimit,
    /// Not a receipt of this queue.
    BadReceipt,
    /// The message was given to others since, or could have been.
    ReceiptOver,
    /// The message is visible, or in flight with another receiver.
    NotInFlight,
    /// The message is no longer stored.
    Gone,
    /// The message would be in flight for too long.
    VisibilityTooLong,
    /// One of the messages of the attempt was settled, or its visibility changed.
    AttemptOver,
    /// No queue sends its dead letters there.
    NoDeadLetters,
    /// Another task of the queue is running.
    TaskRunning,
    /// No such task, or it is over.
    NoTask,
}
