//! Attributes of queues and of messages in the queue: one table each.
//!
//! Owns names, ranges, defaults, and who may set what. Must not know values in use; see `settings`. Start at
//! [`QueueAttribute`] and [`SystemAttribute`].
//!
//! Sources: the service model, and the pages SetQueueAttributes, CreateQueue and ReceiveMessage.

use super::address::QueueKind;
use super::limits::{
    DELAY_S_MAX, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX_MIN, VISIBILITY_TIMEOUT_S_MAX, WAIT_S_MAX,
};

/// Which values an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A whole number, both ends included.
    Number {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// An access policy as JSON.
    Policy,
    /// A redrive policy as JSON.
    RedrivePolicy,
    /// A redrive allow policy as JSON.
    RedriveAllowPolicy,
    /// Any text.
    Text,
    /// None: the server says what it is.
    ReadOnly,
}

/// Which queues have an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Queues of both kinds.
    Any,
    /// FIFO queues only.
    Fifo,
}

impl Place {
    /// Whether queues of this kind have it.
    pub fn includes(self, kind: QueueKind) -> bool {
        self == Self::Any || kind == QueueKind::Fifo
    }
}

macro_rules! queue_attributes {
    ($($(#[doc = $doc:literal])+ $attribute:ident $place:ident $default:expr, $rule:expr;)*) => {
        /// The attributes of a queue.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum QueueAttribute {
            $($(#[doc = $doc])+ $attribute,)*
        }

        impl QueueAttribute {
            /// Every attribute, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$attribute),*];

            /// Its name in both protocols.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => stringify!($attribute),)*
                }
            }

            /// The attribute of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($attribute) => Some(Self::$attribute),)*
                    _ => None,
                }
            }

            /// Which values it takes.
            pub const fn rule(self) -> Rule {
                match self {
                    $(Self::$attribute => $rule,)*
                }
            }

            /// What holds unless it is set; `None`: it is not there.
            pub const fn default(self) -> Option<&'static str> {
                match self {
                    $(Self::$attribute => $default,)*
                }
            }

            /// Which queues have it.
            pub const fn place(self) -> Place {
                match self {
                    $(Self::$attribute => Place::$place,)*
                }
            }

            /// What it is, for the reference page.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$attribute => concat!($($doc),+),)*
                }
            }
        }
    };
}

queue_attributes! {
    /// Seconds a received message stays invisible, unless the receive says otherwise.
    VisibilityTimeout Any Some("30"), Rule::Number { min: 0, max: VISIBILITY_TIMEOUT_S_MAX };
    /// Seconds a new message waits before it can be received. On a standard queue a message may have its own; on a
    /// FIFO queue a change also reaches stored messages.
    DelaySeconds Any Some("0"), Rule::Number { min: 0, max: DELAY_S_MAX as u32 };
    /// Seconds a receive waits that does not say so itself.
    ReceiveMessageWaitTimeSeconds Any Some("0"), Rule::Number { min: 0, max: WAIT_S_MAX as u32 };
    /// Seconds a message is kept. A shorter time also ends stored messages.
    MessageRetentionPeriod Any Some("345600"), Rule::Number { min: 60, max: 1_209_600 };
    /// Bytes of a message at most, attributes included.
    MaximumMessageSize Any Some("1048576"),
        Rule::Number { min: MESSAGE_BYTES_MAX_MIN, max: MESSAGE_BYTES_MAX };
    /// An access policy. It is kept and returned, not evaluated: keys and their patterns rule. Empty removes it.
    Policy Any None, Rule::Policy;
    /// Where messages go that were received too often. Empty removes it.
    RedrivePolicy Any None, Rule::RedrivePolicy;
    /// Which queues may send their dead letters here. Empty removes it.
    RedriveAllowPolicy Any None, Rule::RedriveAllowPolicy;
    /// A key of a key service. It is kept and returned only. Empty removes it.
    KmsMasterKeyId Any None, Rule::Text;
    /// Seconds a data key is used again. It is kept and returned only; 300 removes it.
    KmsDataKeyReusePeriodSeconds Any None, Rule::Number { min: 60, max: 86_400 };
    /// Whether the service encrypts by its own keys. It is kept and returned only, and excludes `KmsMasterKeyId`.
    SqsManagedSseEnabled Any Some("true"), Rule::Flag;
    /// Whether the queue is FIFO; only when it is created.
    FifoQueue Fifo Some("true"), Rule::Flag;
    /// Whether a message without a deduplication id gets the hash of its body.
    ContentBasedDeduplication Fifo Some("false"), Rule::Flag;
    /// What a deduplication id is unique in.
    DeduplicationScope Fifo Some("queue"), Rule::Word(&["queue", "messageGroup"]);
    /// What the throughput is limited by. It is kept and returned, not enforced; the second value needs
    /// `DeduplicationScope` `messageGroup`.
    FifoThroughputLimit Fifo Some("perQueue"), Rule::Word(&["perQueue", "perMessageGroupId"]);
    /// The ARN of the queue.
    QueueArn Any None, Rule::ReadOnly;
    /// When the queue was created, in seconds since 1970.
    CreatedTimestamp Any None, Rule::ReadOnly;
    /// When its attributes were changed last, in seconds since 1970.
    LastModifiedTimestamp Any None, Rule::ReadOnly;
    /// Messages that can be received, those of locked groups included. Exact.
    ApproximateNumberOfMessages Any None, Rule::ReadOnly;
    /// Messages in flight. Exact.
    ApproximateNumberOfMessagesNotVisible Any None, Rule::ReadOnly;
    /// Messages that wait for their delay. Exact.
    ApproximateNumberOfMessagesDelayed Any None, Rule::ReadOnly;
}

macro_rules! system_attributes {
    ($($(#[doc = $doc:literal])+ $attribute:ident;)*) => {
        /// What the server says about a received message.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum SystemAttribute {
            $($(#[doc = $doc])+ $attribute,)*
        }

        impl SystemAttribute {
            /// Every attribute, in the order of the reference page.
            pub const ALL: &'static [Self] = &[$(Self::$attribute),*];

            /// Its name in both protocols.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$attribute => stringify!($attribute),)*
                }
            }

            /// The attribute of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $(stringify!($attribute) => Some(Self::$attribute),)*
                    _ => None,
                }
            }

            /// What it is, for the reference page.
            pub const fn doc(self) -> &'static str {
                match self {
                    $(Self::$attribute => concat!($($doc),+),)*
                }
            }
        }
    };
}

system_attributes! {
    /// The account or access key of the sender.
    SenderId;
    /// When it was sent, in milliseconds since 1970.
    SentTimestamp;
    /// How often it was received, this time included, in all queues it was in.
    ApproximateReceiveCount;
    /// When it was received first, in milliseconds since 1970.
    ApproximateFirstReceiveTimestamp;
    /// Its place in a FIFO queue: 20 digits, rising with gaps.
    SequenceNumber;
    /// Its deduplication id, given or made of the body.
    MessageDeduplicationId;
    /// Its group.
    MessageGroupId;
    /// The trace header it was sent with. The only one that can be sent.
    AWSTraceHeader;
    /// The queue it was in before it came to this dead-letter queue.
    DeadLetterQueueSourceArn;
}

macro_rules! set_of {
    ($(#[doc = $doc:literal])+ $set:ident of $item:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $set(u32);

        impl $set {
            /// All there are.
            pub const ALL: Self = Self((1 << $item::ALL.len()) - 1);

            /// Whether there is none.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// Whether this one is among them.
            pub const fn contains(self, item: $item) -> bool {
                self.0 & (1 << item as u8) != 0
            }

            /// With this one.
            #[must_use]
            pub const fn with(self, item: $item) -> Self {
                Self(self.0 | 1 << item as u8)
            }

            /// All of them, in the order of the table.
            pub fn iter(self) -> impl Iterator<Item = $item> {
                $item::ALL.iter().copied().filter(move |item| self.contains(*item))
            }
        }

        impl FromIterator<$item> for $set {
            fn from_iter<I: IntoIterator<Item = $item>>(items: I) -> Self {
                items.into_iter().fold(Self::default(), Self::with)
            }
        }
    };
}

set_of! {
    /// Which attributes of a queue are wanted.
    QueueAttributeSet of QueueAttribute
}

set_of! {
    /// Which system attributes of received messages are wanted.
    SystemAttributeSet of SystemAttribute
}
