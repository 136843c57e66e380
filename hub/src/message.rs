//! What is published and what waits for a session. Bodies are opaque to the hub: only their size counts.

use crate::ids::{AskId, ChannelName, Millis, Offset, Position, SessionId};
use bytes::Bytes;
use std::sync::Arc;

/// Sorts by time of publication; unique in the product. Text form is made by the server (26 characters, ULID).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub u128);

/// The content of a message, in one of the two shapes that every protocol can be translated from and to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A list of values: JSON text of an array, in which `{"_placeholder":true,"num":n}` stands for attachment n.
    Values {
        /// UTF-8 JSON text of an array, event name not included.
        json: Bytes,
        /// Binary values in order of their placeholders.
        attachments: Vec<Bytes>,
    },
    /// Uninterpreted bytes.
    Raw(Bytes),
}

impl Body {
    /// A list without values.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Values { json: Bytes::from_static(b"[]"), attachments: Vec::new() }
    }

    /// Bytes of the content, attachments included.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        match self {
            Self::Values { json, attachments } => {
                json.len() + attachments.iter().map(Bytes::len).sum::<usize>()
            }
            Self::Raw(bytes) => bytes.len(),
        }
    }
}

/// Who is left out of a publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Except {
    /// Sessions left out.
    pub sessions: Vec<SessionId>,
    /// Channels whose members are left out.
    pub channels: Vec<ChannelName>,
}

/// How hard delivery is tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// Not repeated: lost with the connection.
    #[default]
    AtMostOnce,
    /// Repeated until the client acknowledges it.
    AtLeastOnce,
    /// In two steps, so that it is taken once.
    ExactlyOnce,
}

/// What a publisher wants of a message besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// The most that any subscriber gets.
    pub quality: Quality,
    /// It becomes the channel's retained value; with an empty body the value is removed.
    pub retain: bool,
    /// The session that published it, for subscribers that do not want their own.
    pub origin: Option<SessionId>,
    /// The user whom that session belongs to, for bindings only: without any it is not set, and no record has it.
    pub user: Option<Arc<str>>,
    /// Handed on as it is; only the fronts know its form. Empty for most.
    pub attributes: Bytes,
    /// Not delivered from then on.
    pub expires: Option<Millis>,
    /// Published to its channel so much later; until then nobody sees it, but a snapshot has it. Milliseconds; 0 = at once, as
    /// for targets other than one channel.
    pub delay_ms: u64,
    /// Whoever published it tells it anew after a restart: as a retained value it is in no snapshot.
    pub told_anew: bool,
    /// What it is about: while it waits for a session, a later one of its channel about the same takes its place. No record has
    /// it, so what waits since before a restart stays.
    pub key: Option<Arc<str>>,
    /// While it waits for a claimed session it makes place for a later one, by the rule of its channel; set by hubs only.
    pub gives_way: bool,
    /// By which way its publisher came, in a number of the fronts, for bindings only: no record has it. 0 = it was not said.
    pub way: u8,
}

/// How one session gets a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grade {
    /// The lower of what was published and what is granted.
    pub quality: Quality,
    /// The client is told that it is a retained value.
    pub retained: bool,
    /// It was sent before, on this connection or an earlier one.
    pub again: bool,
    /// Names the exchange of a message of higher quality, 1 and up; 0 for others.
    pub number: u16,
}

/// The labels of the subscriptions that a message came by; rarely any.
pub type Labels = Option<Box<[u32]>>;

/// Data with an id. Shared by reference count between all sessions and shards it goes to.
#[derive(Clone, Debug)]
pub struct Message {
    /// Unique and sortable.
    pub id: MessageId,
    /// Where it was published; the first of several for a union.
    pub channel: ChannelName,
    /// The event's name, where the publisher gave one.
    pub event: Option<Box<str>>,
    /// The content.
    pub body: Body,
    /// Dropped for sessions that cannot take it at once.
    pub volatile: bool,
    /// Left out of the delivery.
    pub except: Option<Box<Except>>,
    /// What the publisher wants of it.
    pub traits: Traits,
    /// Its place in the channel's history, when the channel keeps one. `None` for unions and before it is assigned.
    pub position: Option<Position>,
    /// When it was; 0 for what is from before the start. Only for who asks how long it takes to reach its readers.
    pub published: Millis,
}

impl Message {
    /// Bytes it holds: content and attributes. What a limit of bytes counts.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        (self.body.len_bytes() + self.traits.attributes.len()) as u64
    }

    /// Whether this later one says all that it says.
    pub(crate) fn gives_way_to(&self, later: &Self) -> bool {
        later.traits.key.is_some() && self.traits.key == later.traits.key && self.channel == later.channel
    }

    /// Whether it is too old to be delivered.
    pub(crate) fn is_late(&self, now: Millis) -> bool {
        self.traits.expires.is_some_and(|expires| expires <= now)
    }
}

/// One thing on its way to one session, in the order the session gets it.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// The session was admitted (or came back); everything after this belongs to the new connection.
    Admitted {
        /// The session continued with nothing missing.
        recovered: bool,
    },
    /// A message.
    Message {
        /// The content.
        message: Arc<Message>,
        /// Set when replies are awaited: the client's reply must name it.
        ask: Option<AskId>,
        /// Where a client that comes back later may say it got to; only for hubs with recovering sessions.
        offset: Option<Offset>,
        /// How this session gets it.
        grade: Grade,
        /// Of the subscriptions that it came by.
        labels: Labels,
    },
    /// The answer to a request this client made.
    Answer {
        /// The client's own number of the request.
        request: u64,
        /// The answer's values.
        body: Body,
    },
}
