//! Everything that can happen to queues. Data only.

use super::ids::{MoveId, QueueName, Receipt, TaskId};
use super::record::Sent;
use super::settings::Settings;
use crate::ids::Token;
use crate::message::MessageId;
use bytes::Bytes;
use std::sync::Arc;

/// One thing that happened to queues. Each names a queue of which this hub is the home ([`QueueName::home`]), where it
/// does not say otherwise, and is answered by one [`Answer`](super::Answer) in a `Report::Queue` with its token, when what it
/// says is safe: `Refused` of `NotFound` when there is no such queue, of `NoJournal` by a hub without a journal.
#[derive(Debug)]
pub enum QueueCommand {
    /// A new queue. Answered by `Created`, or `Exists` with the queue that has the name.
    Create {
        /// Its name.
        queue: QueueName,
        /// How it behaves. The target of its dead letters must exist, be of the same kind and allow it.
        settings: Arc<Settings>,
        /// Echoed.
        token: Token,
    },
    /// Other settings, all of them. Answered by `Configured`.
    Configure {
        /// The queue.
        queue: QueueName,
        /// How it behaves from now on; `kind` as it is. A shorter retention applies to stored messages. Of a FIFO queue
        /// a changed delay does, too, which looks at every message.
        settings: Arc<Settings>,
        /// Refused with `Conflict` when the queue's revision is another one.
        revision: Option<u64>,
        /// Echoed.
        token: Token,
    },
    /// Ends a queue with everything in it; receives that wait there are refused with `NotFound`. Answered by `Done`.
    Delete {
        /// The queue.
        queue: QueueName,
        /// Echoed.
        token: Token,
    },
    /// Ends all messages of a queue and forgets their deduplication ids. Answered by `Done`.
    Purge {
        /// The queue.
        queue: QueueName,
        /// Echoed.
        token: Token,
    },
    /// Answered by `View`.
    Describe {
        /// The queue.
        queue: QueueName,
        /// Echoed.
        token: Token,
    },
    /// Queues of this hub in order of name. Answered by `Page`.
    List {
        /// Only names that start so.
        prefix: String,
        /// Continue after this one.
        after: Option<QueueName>,
        /// At most.
        limit: u32,
        /// Echoed.
        token: Token,
    },
    /// Queues of this hub whose dead letters go to `target`, in order of name. Answered by `Names`.
    Sources {
        /// A queue of any hub.
        target: QueueName,
        /// Continue after this one.
        after: Option<QueueName>,
        /// At most.
        limit: u32,
        /// Echoed.
        token: Token,
    },
    /// Stored messages in the order they came, whatever becomes of them. Answered by `Peeked`.
    Peek {
        /// The queue.
        queue: QueueName,
        /// Continue after the message at this offset; 0 = from the oldest.
        after: u64,
        /// At most.
        limit: u32,
        /// Echoed.
        token: Token,
    },
    /// Messages for a queue, in order. Answered by `Sent`, one result for each, when those that were taken are durable.
    /// A FIFO queue refuses all of them with `NoGroup` or `NoDeduplication` when one lacks what it needs.
    Send {
        /// The queue.
        queue: QueueName,
        /// At most `QueueLimits::batch_max`.
        messages: Vec<Message>,
        /// Echoed.
        token: Token,
    },
    /// A receiver wants messages. Answered by `Received`, at once or when its time is over or there is one; not at all
    /// once it was cancelled.
    Receive(Box<Receive>),
    /// Whoever waits for the receive of this token is gone: it gets nothing. Not answered.
    Cancel {
        /// Of the receive.
        token: Token,
    },
    /// Received messages are done with. Answered by `Settled`, one result for each, when that is durable.
    Settle {
        /// The queue.
        queue: QueueName,
        /// From `Received`; at most `QueueLimits::batch_max`.
        receipts: Vec<Receipt>,
        /// Echoed.
        token: Token,
    },
    /// Received messages become visible after another time from now; at once with 0. Answered by `Settled`, one result
    /// for each.
    SetVisibility {
        /// The queue.
        queue: QueueName,
        /// Receipt and milliseconds; at most `QueueLimits::batch_max`.
        changes: Vec<(Receipt, u64)>,
        /// Echoed.
        token: Token,
    },
    /// Moves what a dead-letter queue has to another queue, or each message to the queue it came from. Answered by
    /// `TaskStarted`.
    StartTask(Box<StartTask>),
    /// Answered by `TaskCancelled`, or refused with `NoTask`. What was moved stays so.
    CancelTask {
        /// The queue it moves from.
        queue: QueueName,
        /// Which.
        task: TaskId,
        /// Echoed.
        token: Token,
    },
    /// Newest first. Answered by `Tasks`.
    Tasks {
        /// The queue they move from.
        queue: QueueName,
        /// At most.
        limit: u32,
        /// Echoed.
        token: Token,
    },
    /// What [`Effect::Load`](crate::Effect::Load) asked for. Not answered.
    Loaded {
        /// Echoed.
        id: MoveId,
        /// The record; `None` when it is not there any more.
        record: Option<Box<Sent>>,
        /// For the message in its new queue, where it gets a new one.
        message: MessageId,
    },
}

impl QueueCommand {
    /// Whom to answer, if anybody waits.
    pub(crate) fn token(&self) -> Option<Token> {
        match self {
            Self::Create { token, .. }
            | Self::Configure { token, .. }
            | Self::Delete { token, .. }
            | Self::Purge { token, .. }
            | Self::Describe { token, .. }
            | Self::List { token, .. }
            | Self::Sources { token, .. }
            | Self::Peek { token, .. }
            | Self::Send { token, .. }
            | Self::Settle { token, .. }
            | Self::SetVisibility { token, .. }
            | Self::CancelTask { token, .. }
            | Self::Tasks { token, .. } => Some(*token),
            Self::Receive(receive) => Some(receive.token),
            Self::StartTask(task) => Some(task.token),
            Self::Cancel { .. } | Self::Loaded { .. } => None,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Message {
    /// Chosen by the caller.
    pub id: MessageId,
    /// Opaque here: body and attributes in the caller's encoding.
    pub content: Bytes,
    /// What the queue's limit of a message's size counts, in bytes.
    pub size_bytes: u32,
    /// FIFO: messages of a group are received in order, needed. Standard: whose message it is, for fairness.
    pub group: Option<Box<str>>,
    /// FIFO: a second message of the same id within five minutes is the first one.
    pub deduplication: Option<Box<str>>,
    /// FIFO: stands for the content, where the queue knows messages without an id by that.
    pub content_hash: Option<[u8; 32]>,
    /// Instead of the queue's delay; a FIFO queue takes none but 0 and uses its own. Milliseconds.
    pub delay_ms: Option<u64>,
}

/// A receiver that wants messages.
#[derive(Clone, Debug)]
pub struct Receive {
    /// The queue.
    pub queue: QueueName,
    /// At most so many.
    pub max: u32,
    /// How long they stay in flight; `None` = as the queue says. With 0 they stay visible. Milliseconds.
    pub visibility_ms: Option<u64>,
    /// How long to wait for one; `None` = as the queue says. Milliseconds.
    pub wait_ms: Option<u64>,
    /// FIFO: the same id again gives the same messages again, for five minutes.
    pub attempt: Option<Box<str>>,
    /// Echoed; unique among the receives that wait.
    pub token: Token,
}

/// A move task to start.
#[derive(Clone, Debug)]
pub struct StartTask {
    /// The queue it moves from, which must be the dead-letter queue of some queue.
    pub queue: QueueName,
    /// Its name, unique.
    pub task: TaskId,
    /// Where to; `None` = each message to the queue it came from.
    pub target: Option<QueueName>,
    /// Messages per second; 0 = as fast as it goes.
    pub rate: u32,
    /// Echoed.
    pub token: Token,
}
