//! What clients ask of queues and what they are answered, in neither encoding.
//!
//! Owns the types of requests and answers. Must not know how they look on the wire: see `decode` and `encode`. Start
//! at [`Request`] and [`Response`].
//!
//! A decoded request is checked as far as that needs no state: ranges, characters, sizes, batches. What depends on
//! the queue is checked by [`NewMessage::check`], [`SendMessageBatch::check`] and [`ReceiveMessage::check`], once the
//! queue is known. Texts borrow from the request where it holds them as they are.

use std::borrow::Cow;

use super::action::Action;
use super::address::{QueueAddress, QueueArn, QueueKind};
use super::attribute::{QueueAttribute, QueueAttributeSet, SystemAttributeSet};
use super::handle::TaskHandle;
use super::limits::PAGE_MAX;
use super::message::{AttributeFilter, Md5, NewMessage, QueueRules, ReceivedMessage, SequenceNumber, Uuid};
use super::settings::Settings;
use super::{Error, ErrorKind};

macro_rules! requests {
    ($($(#[$doc:meta])* $action:ident($content:ty) $queue:expr;)*) => {
        /// A request, checked as far as that needs no state.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request<'a> {
            $($(#[$doc])* $action($content),)*
        }

        impl<'a> Request<'a> {
            /// Its action.
            pub const fn action(&self) -> Action {
                match self {
                    $(Self::$action(_) => Action::$action,)*
                }
            }

            /// The queue it is about; `None` for lists of queues and move tasks, which name none or several.
            pub fn queue(&self) -> Option<&QueueAddress<'a>> {
                match self {
                    $(Self::$action(request) => {
                        let queue: for<'r> fn(&'r $content) -> Option<&'r QueueAddress<'a>> = $queue;
                        queue(request)
                    })*
                }
            }
        }
    };
}

requests! {
    /// Add a statement to the queue's policy; see [`super::policy`].
    AddPermission(AddPermission<'a>) |request| Some(&request.queue);
    /// End a move task.
    CancelMessageMoveTask(TaskHandle) |_| None;
    /// Change the visibility of one message.
    ChangeMessageVisibility(ChangeMessageVisibility<'a>) |request| Some(&request.queue);
    /// Change the visibility of up to ten.
    ChangeMessageVisibilityBatch(ChangeMessageVisibilityBatch<'a>) |request| Some(&request.queue);
    /// Create a queue.
    CreateQueue(CreateQueue<'a>) |request| Some(&request.queue);
    /// Delete one message.
    DeleteMessage(DeleteMessage<'a>) |request| Some(&request.queue);
    /// Delete up to ten.
    DeleteMessageBatch(DeleteMessageBatch<'a>) |request| Some(&request.queue);
    /// Delete this queue.
    DeleteQueue(QueueAddress<'a>) |queue| Some(queue);
    /// Tell attributes of a queue.
    GetQueueAttributes(GetQueueAttributes<'a>) |request| Some(&request.queue);
    /// Tell a queue's URL. The account of the address is the owner's, if the client gave one.
    GetQueueUrl(QueueAddress<'a>) |queue| Some(queue);
    /// List who sends dead letters to a queue.
    ListDeadLetterSourceQueues(ListDeadLetterSourceQueues<'a>) |request| Some(&request.queue);
    /// List move tasks.
    ListMessageMoveTasks(ListMessageMoveTasks) |_| None;
    /// Tell the tags of this queue.
    ListQueueTags(QueueAddress<'a>) |queue| Some(queue);
    /// List queues.
    ListQueues(ListQueues<'a>) |_| None;
    /// Delete every message of this queue.
    PurgeQueue(QueueAddress<'a>) |queue| Some(queue);
    /// Receive messages.
    ReceiveMessage(ReceiveMessage<'a>) |request| Some(&request.queue);
    /// Remove a statement from the queue's policy; see [`super::policy`].
    RemovePermission(RemovePermission<'a>) |request| Some(&request.queue);
    /// Send a message.
    SendMessage(SendMessage<'a>) |request| Some(&request.queue);
    /// Send up to ten.
    SendMessageBatch(SendMessageBatch<'a>) |request| Some(&request.queue);
    /// Set attributes of a queue.
    SetQueueAttributes(SetQueueAttributes<'a>) |request| Some(&request.queue);
    /// Start to move messages.
    StartMessageMoveTask(StartMessageMoveTask) |_| None;
    /// Set tags of a queue.
    TagQueue(TagQueue<'a>) |request| Some(&request.queue);
    /// Remove tags of a queue.
    UntagQueue(UntagQueue<'a>) |request| Some(&request.queue);
}

/// A statement to add to a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPermission<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// The name of the statement.
    pub label: Cow<'a, str>,
    /// Accounts it is for: at least one, 12 digits each.
    pub accounts: Vec<Cow<'a, str>>,
    /// Names of actions without `SQS:`, or `*`: one to seven.
    pub actions: Vec<Cow<'a, str>>,
}

/// A change of the visibility of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMessageVisibility<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// What to change.
    pub change: VisibilityChange<'a>,
}

/// One message's new visibility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibilityChange<'a> {
    /// The handle of the receive; see [`super::ReceiptKey::open`].
    pub receipt_handle: Cow<'a, str>,
    /// Seconds from now, 0 to 43,200.
    pub timeout_s: u32,
}

/// Changes of visibility, each on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeMessageVisibilityBatch<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// What to change.
    pub entries: Vec<Entry<'a, VisibilityChange<'a>>>,
}

/// One entry of a batch: what is asked, or what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a, T> {
    /// The client's name for it, unique in the batch.
    pub id: Cow<'a, str>,
    /// In a request: what to do, or why it cannot be done whatever the queue. In an answer: how it ended.
    pub content: Result<T, Error>,
}

/// A queue to create, or to find if it has the same attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateQueue<'a> {
    /// Its name, which tells its kind.
    pub queue: QueueAddress<'a>,
    /// What was set; see [`Settings::first_difference`] and [`Settings::changed`].
    pub settings: Settings,
    /// Its first tags.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// A message to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMessage<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// The handle of its receive; see [`super::ReceiptKey::open`].
    pub receipt_handle: Cow<'a, str>,
}

/// Messages to delete, each on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMessageBatch<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// The handles of their receives.
    pub entries: Vec<Entry<'a, Cow<'a, str>>>,
}

/// A question for attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetQueueAttributes<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// Which attributes; see [`Settings::describe`].
    pub wanted: QueueAttributeSet,
}

/// A question for the queues that have this one as their dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListDeadLetterSourceQueues<'a> {
    /// Which dead-letter queue.
    pub queue: QueueAddress<'a>,
    /// Which part of the list.
    pub page: Page,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The name of the last queue the client has, by its token.
    pub after: Option<String>,
    /// At most so many, 1 to 1,000. Without it the answer has up to 1,000 and no token.
    pub max: Option<u16>,
}

impl Page {
    /// At most so many, whatever the client said. Only if it said something, the answer has a token for more.
    pub fn limit(&self) -> usize {
        usize::from(self.max.unwrap_or(PAGE_MAX))
    }
}

/// A question for move tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListMessageMoveTasks {
    /// The dead-letter queue they move from.
    pub source: QueueArn,
    /// At most so many, 1 to 10.
    pub max: u8,
}

/// A question for queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQueues<'a> {
    /// What their names begin with; may be empty.
    pub name_prefix: Cow<'a, str>,
    /// Which part of the list.
    pub page: Page,
}

/// A receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveMessage<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// At most so many, 1 to 10.
    pub max: u8,
    /// Seconds the messages become invisible, 0 to 43,200, instead of the queue's.
    pub visibility_timeout_s: Option<u32>,
    /// Seconds to wait for a message, 0 to 20, instead of the queue's.
    pub wait_s: Option<u8>,
    /// Which system attributes to tell.
    pub system_attributes: SystemAttributeSet,
    /// Which user attributes to bring.
    pub attributes: AttributeFilter<'a>,
    /// The name of the attempt, by which a repetition gets the same messages. FIFO queues only.
    pub attempt_id: Option<Cow<'a, str>>,
}

impl ReceiveMessage<'_> {
    /// Checks it against its queue.
    ///
    /// # Errors
    /// `InvalidParameterValue` for an attempt id on a standard queue.
    pub fn check(&self, kind: QueueKind) -> Result<(), Error> {
        match &self.attempt_id {
            Some(id) if kind == QueueKind::Standard => {
                Err(Error::wrong_queue_type(id, "ReceiveRequestAttemptId"))
            }
            _ => Ok(()),
        }
    }
}

/// A statement to remove from a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovePermission<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// The name of the statement.
    pub label: Cow<'a, str>,
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessage<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// What.
    pub message: NewMessage<'a>,
}

/// Messages to send, in this order, each on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendMessageBatch<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// What.
    pub entries: Vec<Entry<'a, NewMessage<'a>>>,
}

impl SendMessageBatch<'_> {
    /// Checks the messages against their queue. What only one of them does wrong becomes that entry's error.
    ///
    /// # Errors
    /// `InvalidParameterValue` if any of them lacks an id that a FIFO queue asks for.
    pub fn check(&mut self, rules: &QueueRules) -> Result<(), Error> {
        for entry in &self.entries {
            if let Ok(message) = &entry.content {
                message.check_fifo_ids(rules, ErrorKind::InvalidParameterValueException)?;
            }
        }
        for entry in &mut self.entries {
            if let Ok(message) = &entry.content
                && let Err(error) = message.check(rules)
            {
                entry.content = Err(error);
            }
        }
        Ok(())
    }
}

/// Attributes to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetQueueAttributes<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// What to change; see [`Settings::changed`].
    pub settings: Settings,
}

/// A move of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartMessageMoveTask {
    /// The dead-letter queue they are in.
    pub source: QueueArn,
    /// Where to; `None`: each back to its own source.
    pub destination: Option<QueueArn>,
    /// At most so many a second, 1 to 500.
    pub per_second_max: Option<u16>,
}

/// Tags to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagQueue<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// Keys and values, each key once.
    pub tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Tags to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntagQueue<'a> {
    /// Which queue.
    pub queue: QueueAddress<'a>,
    /// Their keys.
    pub keys: Vec<Cow<'a, str>>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response<'a> {
    /// Done.
    AddPermission,
    /// The task ends.
    CancelMessageMoveTask {
        /// Messages it has moved.
        moved: u64,
    },
    /// Done.
    ChangeMessageVisibility,
    /// What became of each.
    ChangeMessageVisibilityBatch(Vec<Entry<'a, ()>>),
    /// The queue is there.
    CreateQueue {
        /// Its URL.
        queue_url: Cow<'a, str>,
    },
    /// Done, or the message was not there any more.
    DeleteMessage,
    /// What became of each.
    DeleteMessageBatch(Vec<Entry<'a, ()>>),
    /// Done.
    DeleteQueue,
    /// Attributes; see [`Settings::describe`].
    GetQueueAttributes(Vec<(QueueAttribute, Cow<'a, str>)>),
    /// The queue is known.
    GetQueueUrl {
        /// Its URL.
        queue_url: Cow<'a, str>,
    },
    /// Who sends dead letters to the queue.
    ListDeadLetterSourceQueues(UrlPage<'a>),
    /// Move tasks, the newest first.
    ListMessageMoveTasks(Vec<MoveTask>),
    /// Keys and values.
    ListQueueTags(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// Queues.
    ListQueues(UrlPage<'a>),
    /// Done.
    PurgeQueue,
    /// Messages; none if there was none in time.
    ReceiveMessage(Vec<ReceivedMessage<'a>>),
    /// Done.
    RemovePermission,
    /// The message is stored, or was before.
    SendMessage(SentMessage),
    /// What became of each.
    SendMessageBatch(Vec<Entry<'a, SentMessage>>),
    /// Done.
    SetQueueAttributes,
    /// The task has started.
    StartMessageMoveTask(TaskHandle),
    /// Done.
    TagQueue,
    /// Done.
    UntagQueue,
}

impl Response<'_> {
    /// The action it answers.
    pub const fn action(&self) -> Action {
        match self {
            Self::AddPermission => Action::AddPermission,
            Self::CancelMessageMoveTask { .. } => Action::CancelMessageMoveTask,
            Self::ChangeMessageVisibility => Action::ChangeMessageVisibility,
            Self::ChangeMessageVisibilityBatch(_) => Action::ChangeMessageVisibilityBatch,
            Self::CreateQueue { .. } => Action::CreateQueue,
            Self::DeleteMessage => Action::DeleteMessage,
            Self::DeleteMessageBatch(_) => Action::DeleteMessageBatch,
            Self::DeleteQueue => Action::DeleteQueue,
            Self::GetQueueAttributes(_) => Action::GetQueueAttributes,
            Self::GetQueueUrl { .. } => Action::GetQueueUrl,
            Self::ListDeadLetterSourceQueues(_) => Action::ListDeadLetterSourceQueues,
            Self::ListMessageMoveTasks(_) => Action::ListMessageMoveTasks,
            Self::ListQueueTags(_) => Action::ListQueueTags,
            Self::ListQueues(_) => Action::ListQueues,
            Self::PurgeQueue => Action::PurgeQueue,
            Self::ReceiveMessage(_) => Action::ReceiveMessage,
            Self::RemovePermission => Action::RemovePermission,
            Self::SendMessage(_) => Action::SendMessage,
            Self::SendMessageBatch(_) => Action::SendMessageBatch,
            Self::SetQueueAttributes => Action::SetQueueAttributes,
            Self::StartMessageMoveTask(_) => Action::StartMessageMoveTask,
            Self::TagQueue => Action::TagQueue,
            Self::UntagQueue => Action::UntagQueue,
        }
    }
}

/// Part of a list of queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlPage<'a> {
    /// URLs of queues.
    pub queue_urls: Vec<Cow<'a, str>>,
    /// The name of the last of them, if there are more and the request had a maximum. It becomes the token.
    pub more_after: Option<Cow<'a, str>>,
}

/// A message that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentMessage {
    /// Its id; of a duplicate, that of the first.
    pub id: Uuid,
    /// [`NewMessage::body_md5`].
    pub body_md5: Md5,
    /// [`super::MessageAttributes::md5`].
    pub attributes_md5: Option<Md5>,
    /// [`NewMessage::system_attributes_md5`].
    pub system_attributes_md5: Option<Md5>,
    /// Its place in a FIFO queue; of a duplicate, that of the first.
    pub sequence_number: Option<SequenceNumber>,
}

/// What is known of a move task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveTask {
    /// Its handle, which is told only while it is running.
    pub handle: TaskHandle,
    /// What it does.
    pub status: MoveStatus,
    /// Where to, if not back to the sources.
    pub destination: Option<QueueArn>,
    /// At most so many a second.
    pub per_second_max: Option<u16>,
    /// Messages moved so far.
    pub moved: u64,
    /// Messages there were when it started.
    pub to_move: u64,
    /// When it started, in milliseconds since 1970.
    pub started_ms: u64,
}

/// What a move task does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveStatus {
    /// It moves.
    Running,
    /// Everything is moved.
    Completed,
    /// It will stop.
    Cancelling,
    /// It has stopped because it was cancelled.
    Cancelled,
    /// It has stopped because of this.
    Failed(ErrorKind),
}

impl MoveStatus {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Completed => "COMPLETED",
            Self::Cancelling => "CANCELLING",
            Self::Cancelled => "CANCELLED",
            Self::Failed(_) => "FAILED",
        }
    }
}
