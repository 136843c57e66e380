//! The packet model: what both parsers decode to, and why bytes are refused.
//!
//! Owns no bytes of the wire. Start at [`Packet`].

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::values::{JsonText, Values, ValuesError};

/// One packet of either revision and parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The namespace it belongs to.
    pub namespace: Namespace,
    /// What it says.
    pub kind: Kind,
}

/// The packet types with what each carries. BINARY_EVENT and BINARY_ACK are [`Kind::Event`] and [`Kind::Ack`] whose
/// values have attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `0`: from a client, asks for the namespace with an object of credentials; from a server, grants it (see
    /// [`ConnectReply`]). In revision 4 the object holds the parameters of the namespace's query.
    Connect(Option<JsonText>),
    /// `1`: leaves the namespace.
    Disconnect,
    /// `2` and `5`: an event, name first; the name is a string that is not reserved, or a number.
    Event {
        /// Set if the sender wants an acknowledgement.
        id: Option<AckId>,
        /// Name and arguments.
        values: Values,
    },
    /// `3` and `6`: the answer to an event with this id.
    Ack {
        /// The id of the event.
        id: AckId,
        /// The answer's arguments.
        values: Values,
    },
    /// `4`: the namespace is refused. An object with `message` and perhaps `data`, or, in revision 4, usually a
    /// string. Only a [`super::Role::Client`] decodes it.
    ConnectError(JsonText),
}

/// Pairs an event with its acknowledgement. Chosen by the sender of the event, per namespace. JavaScript clients hold
/// it as a double: stay below 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AckId(pub u64);

impl fmt::Display for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A namespace's name, with its leading `/`. The main namespace, by far the commonest, needs no memory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Option<Box<str>>);

impl Namespace {
    /// `/`.
    pub const MAIN: Self = Self(None);

    /// Takes a name as it is; `/` and the empty name are the main namespace.
    pub fn new(name: &str) -> Self {
        match name {
            "" | "/" => Self::MAIN,
            name => Self(Some(name.into())),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// Whether this is `/`.
    pub const fn is_main(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Event names that the reference implementation uses itself; on the wire they are a violation.
const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether an event may not be called so: a client ends its connection at one, and the decoder takes none. The empty
/// name is like any other, in the reference implementation too.
pub fn is_reserved_event(name: &str) -> bool {
    RESERVED_EVENTS.contains(&name)
}

/// Why a message is refused. Every one ends the whole connection with the reason "forced close", and the decoder is
/// of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// The first character is no packet type.
    UnknownType,
    /// The number of attachments is missing or no number.
    BadAttachmentCount,
    /// More attachments than the limit, announced or referred to.
    TooManyAttachments,
    /// A namespace with a control character or comma, or one that does not begin with `/`.
    BadNamespace,
    /// A namespace longer than the limit.
    NamespaceTooLong,
    /// An id that is no whole number of 64 bits, or an acknowledgement without one.
    BadAckId,
    /// A payload that is not JSON, or not of the kind the packet type asks for.
    BadPayload,
    /// An event with a reserved name.
    ReservedEvent,
    /// JSON nested deeper than the limit.
    TooDeep,
    /// Header and attachments together larger than the limit.
    TooLarge,
    /// A placeholder whose number names no attachment.
    BadPlaceholder,
    /// A text message while attachments are missing.
    AttachmentsMissing,
    /// A binary message that no header announced.
    UnexpectedBinary,
    /// CONNECT_ERROR from a client.
    ConnectErrorFromClient,
    /// A binary message that is no msgpack packet.
    BadMsgPack,
    /// A text message on a connection that began with msgpack.
    TextAfterMsgPack,
}

impl Violation {
    /// A sentence fragment for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownType => "unknown packet type",
            Self::BadAttachmentCount => "invalid number of attachments",
            Self::TooManyAttachments => "too many attachments",
            Self::BadNamespace => "invalid namespace",
            Self::NamespaceTooLong => "namespace too long",
            Self::BadAckId => "invalid or missing acknowledgement id",
            Self::BadPayload => "invalid payload",
            Self::ReservedEvent => "reserved event name",
            Self::TooDeep => "payload nested too deep",
            Self::TooLarge => "packet too large",
            Self::BadPlaceholder => "placeholder without attachment",
            Self::AttachmentsMissing => "text while attachments are missing",
            Self::UnexpectedBinary => "binary message without header",
            Self::ConnectErrorFromClient => "CONNECT_ERROR from a client",
            Self::BadMsgPack => "invalid msgpack packet",
            Self::TextAfterMsgPack => "text on a msgpack connection",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Violation {}

impl From<ValuesError> for Violation {
    fn from(error: ValuesError) -> Self {
        match error {
            ValuesError::NotJson | ValuesError::WrongKind => Self::BadPayload,
            ValuesError::TooDeep => Self::TooDeep,
            ValuesError::TooLarge => Self::TooLarge,
            ValuesError::TooManyAttachments => Self::TooManyAttachments,
            ValuesError::BadPlaceholder => Self::BadPlaceholder,
        }
    }
}

/// The payload of a granted CONNECT, as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConnectReply<'a> {
    /// The public socket id.
    #[serde(borrow)]
    pub sid: Cow<'a, str>,
    /// The secret name of the session, with connection state recovery only.
    #[serde(borrow)]
    pub pid: Option<Cow<'a, str>>,
}

impl<'a> ConnectReply<'a> {
    /// `None` if there is no `sid`, which is how a server of revision 4 answers.
    pub fn parse(payload: &'a JsonText) -> Option<Self> {
        serde_json::from_str(payload.as_str()).ok()
    }
}

/// What a client that lost its connection puts among its credentials.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RecoveryRequest<'a> {
    /// The session it wants back.
    #[serde(borrow)]
    pub pid: Cow<'a, str>,
    /// The last string it saw as last argument of an event; absent if it saw none.
    #[serde(borrow)]
    pub offset: Option<Cow<'a, str>>,
}

impl<'a> RecoveryRequest<'a> {
    /// `None` if there is no `pid`, or one of both is no string: then it is a new session.
    pub fn parse(auth: &'a JsonText) -> Option<Self> {
        serde_json::from_str(auth.as_str()).ok()
    }
}
