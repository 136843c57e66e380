//! What the hubs of two queues say to each other: a message on its way, and questions about a queue elsewhere. Data only.
//!
//! ```text
//!  source                                    target
//!    intent recorded, message read
//!    Move ------------------------------------> appended once, whoever asks how often
//!    removed <------------------------------- Moved
//!    Forget ----------------------------------> the move's name is forgotten
//! ```
//!
//! Each arrow leaves when what stands before it is durable, so a crash at any point repeats an arrow or two, and the name of
//! the move makes that harmless. Questions carry what they are asked for, so nobody has to remember it.

use super::answer::QueueRefusal;
use super::command::{Message, StartTask};
use super::ids::{MoveId, QueueName};
use super::record::{MoveRefusal, Sent};
use super::settings::{Kind, Settings};
use crate::ids::{Partition, SessionId, ShardId, Token};
use crate::message::MessageId;
use std::sync::Arc;

/// From one hub to another, or to itself.
#[derive(Debug)]
pub enum QueueMail {
    /// A message for a queue here.
    Move(Box<Parcel>),
    /// It is the target's.
    Moved(MoveId),
    /// It is not, and never was.
    NotMoved(MoveId, MoveRefusal),
    /// The source has forgotten the message: the target may forget the name of the move.
    Forget(MoveId),
    /// A target that has just read its records asks which moves from a partition are open still.
    AskOpen(Partition),
    /// Those, in order, and the place up to which moves are meant.
    Open {
        /// Whose moves.
        partition: Partition,
        /// Places of their intents.
        open: Vec<u64>,
        /// Of moves with an intent up to here.
        upto: u64,
    },
    /// Is a queue here one that `pending` can name?
    CheckTarget(Box<Check>),
    /// The answer.
    Checked {
        /// From the question.
        pending: Pending,
        /// What came of it.
        verdict: Result<(), MoveRefusal>,
    },
    /// Does a queue here send its dead letters to the queue that the task is to move from? If not, the next shard is asked.
    FindSource {
        /// Who wants to know.
        home: ShardId,
        /// What for.
        task: Box<StartTask>,
    },
    /// The answer.
    SourceFound {
        /// From the question.
        task: Box<StartTask>,
        /// Some queue does.
        found: bool,
    },
    /// A copy of what was published, for a queue here. Answered by `Copied` when it is safe.
    Copy(Box<QueueCopy>),
    /// What became of it.
    Copied(Box<Copied>),
}

/// A copy of a message that was published, on its way to a queue.
#[derive(Debug)]
pub struct QueueCopy {
    /// The queue.
    pub queue: QueueName,
    /// The copy. Its id is that of the message, so that a FIFO queue takes it once if it is known by that.
    pub message: Message,
    /// Who waits for it, at the hub it comes from.
    pub waiter: Waiter,
}

/// What became of a copy.
#[derive(Debug)]
pub struct Copied {
    /// From the copy.
    pub queue: QueueName,
    /// From the copy.
    pub message: MessageId,
    /// From the copy.
    pub waiter: Waiter,
    /// It is safe in the queue, or was there before; or why it is not.
    pub result: Result<(), QueueRefusal>,
}

/// Who waits until a copy is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiter {
    /// Nobody.
    Nobody,
    /// A publisher: the number is the hub's own.
    Watch(u64),
    /// A client, whose request is then answered with no values. Without a copy it is not answered.
    Request {
        /// Whose request.
        session: SessionId,
        /// The client's own number of it.
        request: u64,
    },
}

/// A message between two queues.
#[derive(Debug)]
pub struct Parcel {
    /// The move.
    pub id: MoveId,
    /// The queue it leaves.
    pub source: QueueName,
    /// Of that queue.
    pub kind: Kind,
    /// The queue it goes to.
    pub target: QueueName,
    /// Why.
    pub purpose: Purpose,
    /// As it was, but with the id, the receives and the origin that it has from now on. Its queue is the target's to fill in,
    /// and of a task its time, too.
    pub message: Sent,
}

/// A question about a queue.
#[derive(Debug)]
pub struct Check {
    /// That queue.
    pub target: QueueName,
    /// The queue that wants to name it.
    pub source: QueueName,
    /// Of that queue.
    pub kind: Kind,
    /// What for.
    pub pending: Pending,
}

/// Why a message goes to another queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It was received too often.
    DeadLetter,
    /// A task moves it.
    Task,
}

/// What waits for the answer to a question.
#[derive(Debug)]
pub enum Pending {
    /// A new queue, whose dead letters go there.
    Create {
        /// From the command.
        queue: QueueName,
        /// From the command.
        settings: Arc<Settings>,
        /// From the command.
        token: Token,
    },
    /// New settings.
    Configure {
        /// From the command.
        queue: QueueName,
        /// From the command.
        settings: Arc<Settings>,
        /// From the command.
        revision: Option<u64>,
        /// From the command.
        token: Token,
    },
    /// A move task.
    Task(Box<StartTask>),
}
