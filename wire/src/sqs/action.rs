//! The actions: one table of names, parameters and whether an answer has content.
//!
//! Owns what there is to be asked for. Must not know how a parameter is checked; see `decode`. Start at [`Action`].
//!
//! Source: the service model of API version 2012-11-05.

use super::member::{self, Member};

/// A parameter of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its names.
    pub member: Member,
    /// Whether a request without it is refused.
    pub need: Need,
}

/// Whether a parameter has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Refused with `MissingParameter` without it.
    Required,
    /// May be left out.
    Optional,
}

macro_rules! need {
    (!) => {
        Need::Required
    };
    (?) => {
        Need::Optional
    };
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $action:ident $output:ident [$($member:ident $need:tt)*];)*) => {
        /// What a client asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[doc = $doc])+ $action,)*
        }

        impl Action {
            /// Every action, by name.
            pub const ALL: &'static [Self] = &[$(Self::$action),*];

            /// The name in both protocols.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$action => stringify!($action),)*
                }
            }

            /// The action of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($action) => Some(Self::$action),)*
                    _ => None,
                }
            }

            /// Its parameters in the order of the reference page.
            pub const fn parameters(self) -> &'static [Parameter] {
                match self {
                    $(Self::$action => {
                        &[$(Parameter { member: member::$member, need: need!($need) }),*]
                    })*
                }
            }

            /// What an answer brings.
            pub const fn output(self) -> Output {
                match self {
                    $(Self::$action => Output::$output,)*
                }
            }

            /// What it does, for the reference page.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$action => concat!($($doc),+),)*
                }
            }
        }
    };
}

/// What an answer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing but that it was done.
    Nothing,
    /// A result.
    Result,
}

actions! {
    /// Adds a statement to the policy of a queue.
    AddPermission Nothing [QUEUE_URL! LABEL! AWS_ACCOUNT_IDS! ACTIONS!];
    /// Ends a running move task. What is moved stays moved.
    CancelMessageMoveTask Result [TASK_HANDLE!];
    /// Sets the time for which a message in flight stays invisible, from now.
    ChangeMessageVisibility Nothing [QUEUE_URL! RECEIPT_HANDLE! VISIBILITY_TIMEOUT!];
    /// The same for up to ten messages.
    ChangeMessageVisibilityBatch Result [QUEUE_URL! CHANGE_ENTRIES!];
    /// Creates a queue, or finds the one that has the same attributes.
    CreateQueue Result [QUEUE_NAME! ATTRIBUTES? TAGS_OF_CREATE?];
    /// Deletes a message by the handle of its receive.
    DeleteMessage Nothing [QUEUE_URL! RECEIPT_HANDLE!];
    /// The same for up to ten messages.
    DeleteMessageBatch Result [QUEUE_URL! DELETE_ENTRIES!];
    /// Deletes a queue and everything in it.
    DeleteQueue Nothing [QUEUE_URL!];
    /// Tells attributes of a queue.
    GetQueueAttributes Result [QUEUE_URL! ATTRIBUTE_NAMES?];
    /// Tells the URL of a queue.
    GetQueueUrl Result [QUEUE_NAME! QUEUE_OWNER_AWS_ACCOUNT_ID?];
    /// Lists the queues whose dead letters come to this queue.
    ListDeadLetterSourceQueues Result [QUEUE_URL! NEXT_TOKEN? MAX_RESULTS?];
    /// Lists the move tasks of a queue, the newest first.
    ListMessageMoveTasks Result [SOURCE_ARN! MAX_RESULTS?];
    /// Tells the tags of a queue.
    ListQueueTags Result [QUEUE_URL!];
    /// Lists queues by the beginning of their names.
    ListQueues Result [QUEUE_NAME_PREFIX? NEXT_TOKEN? MAX_RESULTS?];
    /// Deletes every message of a queue.
    PurgeQueue Nothing [QUEUE_URL!];
    /// Takes up to ten messages out for a while, and waits for them if there are none.
    ReceiveMessage Result [
        QUEUE_URL! ATTRIBUTE_NAMES? MESSAGE_SYSTEM_ATTRIBUTE_NAMES? MESSAGE_ATTRIBUTE_NAMES?
        MAX_NUMBER_OF_MESSAGES? VISIBILITY_TIMEOUT? WAIT_TIME_SECONDS? RECEIVE_REQUEST_ATTEMPT_ID?
    ];
    /// Removes a statement from the policy of a queue.
    RemovePermission Nothing [QUEUE_URL! LABEL!];
    /// Sends a message.
    SendMessage Result [
        QUEUE_URL! MESSAGE_BODY! DELAY_SECONDS? MESSAGE_ATTRIBUTES? MESSAGE_SYSTEM_ATTRIBUTES?
        MESSAGE_DEDUPLICATION_ID? MESSAGE_GROUP_ID?
    ];
    /// Sends up to ten messages.
    SendMessageBatch Result [QUEUE_URL! SEND_ENTRIES!];
    /// Sets attributes of a queue.
    SetQueueAttributes Nothing [QUEUE_URL! ATTRIBUTES!];
    /// Moves the messages of a dead-letter queue back to where they came from, or to another queue.
    StartMessageMoveTask Result [SOURCE_ARN! DESTINATION_ARN? MAX_NUMBER_OF_MESSAGES_PER_SECOND?];
    /// Sets tags of a queue.
    TagQueue Nothing [QUEUE_URL! TAGS!];
    /// Removes tags of a queue.
    UntagQueue Nothing [QUEUE_URL! TAG_KEYS!];
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
