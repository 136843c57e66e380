//! What queues write down: one record for each piece of state that must outlive the process, removed when that state is
//! over. Replaying a log is reading what is there.
//!
//! A record makes sense alone; of order only that within a partition counts. A message is its `Sent` record: what the hub
//! keeps in memory is the record's place. Start at [`Record`]; `codec` has the bytes.

use super::ids::{MoveId, QueueName, TaskId, Wall};
use super::settings::{Kind, Settings};
use crate::message::MessageId;
use bytes::Bytes;
use std::sync::Arc;

/// A piece of state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A queue.
    Queue(Box<QueueRecord>),
    /// A message.
    Sent(Box<Sent>),
    /// A deduplication id whose message is gone.
    Mark(Box<Mark>),
    /// How often a message was received.
    Tally(Tally),
    /// A message is to leave its queue.
    Intent(Box<Intent>),
    /// A message came by a move and is gone, before its old queue was known to have forgotten it.
    Arrived(MoveId),
    /// A move task.
    Task(Box<TaskRecord>),
}

/// A queue as it is configured. A second one of the same incarnation replaces the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRecord {
    /// Its name.
    pub name: QueueName,
    /// The offset of its first record; 0 in that record itself.
    pub incarnation: u64,
    /// How it behaves.
    pub settings: Arc<Settings>,
    /// When it was created.
    pub created: Wall,
    /// When its settings were changed.
    pub modified: Wall,
    /// Messages below this offset were purged.
    pub floor: u64,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Incarnation of its queue.
    pub queue: u64,
    /// Its public name.
    pub id: MessageId,
    /// When it was sent. From here its age counts.
    pub sent: Wall,
    /// Standard: not visible before; 0 = at once.
    pub due: Wall,
    /// As it was sent.
    pub group: Option<Box<str>>,
    /// The id of its deduplication, where it has one; of a message that came by a move `None`.
    pub deduplication: Option<Id>,
    /// How it came here, if not by a send.
    pub origin: Option<Box<Origin>>,
    /// As it was sent.
    pub content: Bytes,
}

/// What a FIFO queue knows a message by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// Unique within the group; else within the queue.
    pub in_group: bool,
    /// The id.
    pub value: IdValue,
}

/// A deduplication id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdValue {
    /// Given by the sender.
    Text(Box<str>),
    /// Stands for the content.
    Hash([u8; 32]),
}

/// Where a message was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The move that brought it.
    pub moved: MoveId,
    /// The queue whose dead letter it is; `None` once it was moved back.
    pub source: Option<QueueName>,
    /// How often it was received before it came here.
    pub receives: u32,
    /// When it was received first; 0 = never.
    pub first_received: Wall,
}

/// A deduplication id whose message is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Incarnation of its queue.
    pub queue: u64,
    /// The offset the message had.
    pub offset: u64,
    /// The message's public name.
    pub id: MessageId,
    /// A message of this key is a duplicate ...
    pub key: Box<[u8]>,
    /// ... before this time.
    pub until: Wall,
}

/// How often a message was received. A later one replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Incarnation of its queue.
    pub queue: u64,
    /// The message.
    pub offset: u64,
    /// So often, in this queue.
    pub receives: u32,
    /// When first.
    pub first_received: Wall,
}

/// A message is to leave its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Incarnation of its queue.
    pub queue: u64,
    /// The queue's name.
    pub name: QueueName,
    /// The queue's kind.
    pub kind: Kind,
    /// The message.
    pub offset: u64,
    /// Where to; `None` = to the queue that it came from.
    pub target: Option<QueueName>,
    /// By this move task; `None` = it was received too often.
    pub task: Option<TaskId>,
    /// How often it was received in the queue it leaves.
    pub receives: u32,
    /// When first; 0 = never.
    pub first_received: Wall,
}

/// A move task as far as it is. A later one of the same id replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    /// Incarnation of the queue it moves from.
    pub queue: u64,
    /// Its name.
    pub task: TaskId,
    /// Where to; `None` = each message to the queue it came from.
    pub target: Option<QueueName>,
    /// Messages per second; 0 = as fast as it goes.
    pub rate: u32,
    /// When it was started.
    pub started: Wall,
    /// It moves messages below this offset.
    pub upto: u64,
    /// Messages that were to be moved when it was started.
    pub total: u64,
    /// Messages moved; what a crash made of it may be a little less.
    pub moved: u64,
    /// What it does.
    pub status: TaskStatus,
}

/// What a move task does.
///
/// ```text
///  StartTask             nothing left to move
/// ----------> Running ------------------------> Completed
///              |   \ a message cannot be moved
///   CancelTask |    +-------------------------> Failed
///              v        the last move is over
///          Cancelling ------------------------> Cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// It moves messages.
    Running,
    /// It moves no further message and waits for those on their way.
    Cancelling,
    /// It was cancelled.
    Cancelled,
    /// It has moved what there was.
    Completed,
    /// It came upon a message that cannot be moved.
    Failed(MoveRefusal),
}

/// Why a message cannot be moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveRefusal {
    /// There is no queue of the target's name.
    NoTarget,
    /// The target is of the other kind, or is the queue itself.
    WrongKind,
    /// The target does not take dead letters of this queue.
    NotAllowed,
    /// A limit at the target.
    OverLimit,
    /// It did not come from another queue, so that it cannot go back.
    NoSource,
}
