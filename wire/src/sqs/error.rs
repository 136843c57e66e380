//! Errors: one table of names, codes and statuses for both encodings, and the texts that programs match on.
//!
//! Owns what an error looks like to a client and which text belongs to which fault. Must not know when a queue is in
//! a state that refuses; whoever knows calls the constructor. Start at [`ErrorKind`].
//!
//! Sources: the service model (names, statuses), the page CommonErrors, and answers of the service as recorded by
//! others (texts).

use std::borrow::Cow;
use std::fmt;

use super::limits::ECHO_BYTES_MAX;

mod texts;

macro_rules! namespace {
    (Model) => {
        "com.amazonaws.sqs#"
    };
    (Common) => {
        "com.amazon.coral.service#"
    };
}

macro_rules! fault {
    (Sender) => {
        ";Sender"
    };
    (Receiver) => {
        ";Receiver"
    };
}

macro_rules! error_kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident $namespace:ident $code:literal $status:literal $fault:ident;)*) => {
        /// Every error a client can get. The variants are the names of the JSON protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $kind,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The name in the JSON protocol without its namespace.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// The `__type` of the JSON protocol.
            pub const fn json_type(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!(namespace!($namespace), stringify!($kind)),)*
                }
            }

            /// The code of the Query protocol, which entries of batches carry in both.
            pub const fn query_code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)*
                }
            }

            /// The value of the field `x-amzn-query-error`: code and blame.
            pub const fn query_error(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!($code, fault!($fault)),)*
                }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$kind => $status,)*
                }
            }

            /// Whose fault it is.
            pub const fn fault(self) -> Fault {
                match self {
                    $(Self::$kind => Fault::$fault,)*
                }
            }

            /// When it is given, for the reference page.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!($($doc),+),)*
                }
            }
        }
    };
}

error_kinds! {
    /// No queue has this URL or name.
    QueueDoesNotExist Model "AWS.SimpleQueueService.NonExistentQueue" 400 Sender;
    /// A queue of this name has other attributes.
    QueueNameExists Model "QueueAlreadyExists" 400 Sender;
    /// A queue of this name was deleted less than 60 s ago, with `strict_timing`.
    QueueDeletedRecently Model "AWS.SimpleQueueService.QueueDeletedRecently" 400 Sender;
    /// The queue was purged less than 60 s ago, with `strict_timing`.
    PurgeQueueInProgress Model "AWS.SimpleQueueService.PurgeQueueInProgress" 403 Sender;
    /// Too many messages are in flight, or a permission or policy has too many parts.
    OverLimit Model "OverLimit" 403 Sender;
    /// The handle is none of this queue.
    ReceiptHandleIsInvalid Model "ReceiptHandleIsInvalid" 404 Sender;
    /// The message is visible, so there is no visibility to change.
    MessageNotInflight Model "AWS.SimpleQueueService.MessageNotInflight" 400 Sender;
    /// No attribute has this name, or it may not be set or not be set here.
    InvalidAttributeName Model "InvalidAttributeName" 400 Sender;
    /// The value of a queue attribute is out of its range.
    InvalidAttributeValue Model "InvalidAttributeValue" 400 Sender;
    /// A body has a character outside the set.
    InvalidMessageContents Model "InvalidMessageContents" 400 Sender;
    /// The handle is of a version this server does not know.
    InvalidIdFormat Model "InvalidIdFormat" 400 Sender;
    /// The batch has no entry.
    EmptyBatchRequest Model "AWS.SimpleQueueService.EmptyBatchRequest" 400 Sender;
    /// The messages of the batch are too long together.
    BatchRequestTooLong Model "AWS.SimpleQueueService.BatchRequestTooLong" 400 Sender;
    /// The id of an entry has other characters or too many.
    InvalidBatchEntryId Model "AWS.SimpleQueueService.InvalidBatchEntryId" 400 Sender;
    /// The batch has more than ten entries.
    TooManyEntriesInBatchRequest Model "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" 400 Sender;
    /// Two entries have the same id.
    BatchEntryIdsNotDistinct Model "AWS.SimpleQueueService.BatchEntryIdsNotDistinct" 400 Sender;
    /// The operation is not possible on this queue.
    UnsupportedOperation Model "AWS.SimpleQueueService.UnsupportedOperation" 400 Sender;
    /// A move task names a queue or a task that does not exist.
    ResourceNotFoundException Model "ResourceNotFoundException" 404 Sender;
    /// A limit of this server is reached; trying again later may help.
    RequestThrottled Model "RequestThrottled" 403 Sender;
    /// The queue URL is none.
    InvalidAddress Model "InvalidAddress" 404 Sender;
    /// The request came over a connection that is not secure enough.
    InvalidSecurity Model "InvalidSecurity" 403 Sender;
    /// A parameter is out of its range.
    InvalidParameterValueException Common "InvalidParameterValue" 400 Sender;
    /// A parameter is missing.
    MissingRequiredParameterException Common "MissingParameter" 400 Sender;
    /// The body is no JSON, or a value has the wrong type.
    SerializationException Common "SerializationException" 400 Sender;
    /// There is no such action, or not at this address.
    UnknownOperationException Common "InvalidAction" 400 Sender;
    /// The body is longer than this server reads.
    RequestEntityTooLarge Common "RequestEntityTooLarge" 413 Sender;
    /// The key may not do this.
    AccessDeniedException Common "AccessDenied" 403 Sender;
    /// The signature lacks a part or has a form that is not understood.
    IncompleteSignature Common "IncompleteSignature" 400 Sender;
    /// The URL was signed for a time that has passed.
    RequestExpired Common "RequestExpired" 400 Sender;
    /// The request is not signed.
    MissingAuthenticationToken Common "MissingAuthenticationToken" 403 Sender;
    /// The access key is unknown.
    InvalidClientTokenId Common "InvalidClientTokenId" 403 Sender;
    /// The signature is wrong, or its time is too far from ours.
    SignatureDoesNotMatch Common "SignatureDoesNotMatch" 403 Sender;
    /// Too many requests at once.
    ThrottlingException Common "ThrottlingException" 400 Sender;
    /// The server failed. SDKs try again.
    InternalFailure Common "InternalFailure" 500 Receiver;
    /// The server or its store cannot answer now. SDKs try again.
    ServiceUnavailable Common "ServiceUnavailable" 503 Receiver;
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The client: trying again does not help.
    Sender,
    /// The server: SDKs try again.
    Receiver,
}

impl Fault {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sender => "Sender",
            Self::Receiver => "Receiver",
        }
    }
}

/// What a client is told instead of an answer, or for one entry of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Its row of the table.
    pub kind: ErrorKind,
    /// One sentence or two. It may repeat what came, cut to [`ECHO_BYTES_MAX`] bytes a value.
    pub message: Cow<'static, str>,
}

impl Error {
    /// An error with a text of one's own.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.query_code(), self.message)
    }
}

impl std::error::Error for Error {}

/// What came, as far as an error repeats it.
pub(super) fn echo(value: &str) -> &str {
    let mut end = value.len().min(ECHO_BYTES_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}
