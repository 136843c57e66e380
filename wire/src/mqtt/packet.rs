//! The packet model of both versions and both roles.
//!
//! Owns what a packet says. Must not know its bytes (see `client`, `server`, `encode`). Start at [`ClientPacket`] and
//! [`ServerPacket`].
//!
//! Everything is borrowed from the bytes it was decoded from. Version 3 is the same model without properties: its
//! packets have none when decoded, and they are left out when encoded.

use std::fmt;
use std::num::NonZeroU16;

use super::{Filters, Properties, ReasonCode, ReasonCodes, Subscriptions, Version};

/// What a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPacket<'a> {
    /// Opens the connection; always the first packet and never a later one.
    Connect(Connect<'a>),
    /// A message.
    Publish(Publish<'a>),
    /// Ends a QoS 1 exchange the server began.
    PubAck(Ack<'a>),
    /// First answer to a QoS 2 message of the server.
    PubRec(Ack<'a>),
    /// Releases the packet id of a QoS 2 message of the client.
    PubRel(Ack<'a>),
    /// Ends a QoS 2 exchange the server began.
    PubComp(Ack<'a>),
    /// Asks for subscriptions.
    Subscribe(Subscribe<'a>),
    /// Gives subscriptions up.
    Unsubscribe(Unsubscribe<'a>),
    /// Asks for a sign of life.
    PingReq,
    /// Ends the connection.
    Disconnect(Disconnect<'a>),
    /// A step of authentication; version 5 only.
    Auth(Auth<'a>),
}

/// What a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerPacket<'a> {
    /// Accepts or refuses the connection.
    ConnAck(ConnAck<'a>),
    /// A message.
    Publish(Publish<'a>),
    /// Ends a QoS 1 exchange the client began.
    PubAck(Ack<'a>),
    /// First answer to a QoS 2 message of the client.
    PubRec(Ack<'a>),
    /// Releases the packet id of a QoS 2 message of the server.
    PubRel(Ack<'a>),
    /// Ends a QoS 2 exchange the client began.
    PubComp(Ack<'a>),
    /// Answers SUBSCRIBE, a code per filter.
    SubAck(SubAck<'a>),
    /// Answers UNSUBSCRIBE; a code per filter in version 5.
    UnsubAck(SubAck<'a>),
    /// The sign of life.
    PingResp,
    /// Ends the connection; version 5 only.
    Disconnect(Disconnect<'a>),
    /// A step of authentication; version 5 only.
    Auth(Auth<'a>),
}

/// The protocol a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// `MQIsdp` 3, MQTT 3.1: as 3.1.1, but flags of fixed headers count for nothing
    /// ([`super::Frame::with_flags_of_v311`]) and a client must name itself.
    V31,
    /// `MQTT` 4, MQTT 3.1.1.
    V311,
    /// `MQTT` 5, MQTT 5.0.
    V5,
}

impl Level {
    /// The encoding that follows from it.
    pub const fn version(self) -> Version {
        match self {
            Self::V31 | Self::V311 => Version::V3,
            Self::V5 => Version::V5,
        }
    }
}

/// Pairs a packet with its acknowledgements; each direction of a connection has ids of its own (MQTT 5.0, 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PacketId(pub NonZeroU16);

impl PacketId {
    /// The id to begin with.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// The id of this value; 0 is none.
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// Its value.
    pub const fn value(self) -> u16 {
        self.0.get()
    }

    /// The id after it; after 65,535 comes [`PacketId::FIRST`].
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Quality of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Qos {
    /// QoS 0.
    #[default]
    AtMostOnce = 0,
    /// QoS 1.
    AtLeastOnce = 1,
    /// QoS 2.
    ExactlyOnce = 2,
}

impl Qos {
    /// The QoS of these two bits; 3 is none.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// 0, 1 or 2.
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// The code that grants it in SUBACK.
    pub const fn granted(self) -> ReasonCode {
        match self {
            Self::AtMostOnce => ReasonCode::Success,
            Self::AtLeastOnce => ReasonCode::GrantedQos1,
            Self::ExactlyOnce => ReasonCode::GrantedQos2,
        }
    }
}

/// CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect<'a> {
    /// The protocol.
    pub level: Level,
    /// The client is a mosquitto bridge (bit 0x80 of the level): No Local and Retain As Published hold for all its
    /// subscriptions.
    pub is_bridge: bool,
    /// Clean Start; in version 3 Clean Session.
    pub clean_start: bool,
    /// 0: off.
    pub keep_alive_seconds: u16,
    /// May be empty, then [`Connect::may_be_given_an_id`] counts.
    pub client_id: &'a str,
    /// The message to publish when the client is gone.
    pub will: Option<Will<'a>>,
    /// Who the client claims to be.
    pub user_name: Option<&'a str>,
    /// Bytes of any meaning.
    pub password: Option<&'a [u8]>,
    /// What the client can take and wants.
    pub properties: Properties<'a>,
}

impl Connect<'_> {
    /// Whether a client with an empty id gets one: always in version 5, with Clean Session in 3.1.1, never in 3.1
    /// (MQTT 3.1.1, 3.1.3.1). Otherwise the answer is 0x85.
    pub const fn may_be_given_an_id(&self) -> bool {
        match self.level {
            Level::V31 => false,
            Level::V311 => self.clean_start,
            Level::V5 => true,
        }
    }
}

/// A message a client leaves with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// A topic name.
    pub topic: &'a str,
    /// At most 65,535 bytes.
    pub payload: &'a [u8],
    /// QoS to publish it with.
    pub qos: Qos,
    /// Whether it becomes the retained message.
    pub retain: bool,
    /// Delay, and what travels with it.
    pub properties: Properties<'a>,
}

/// PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Sent before. Never at QoS 0.
    pub dup: bool,
    /// QoS of this hop.
    pub qos: Qos,
    /// From a client: keep the message. From a server: it was kept.
    pub retain: bool,
    /// A topic name, or empty with a topic alias among the properties.
    pub topic: &'a str,
    /// There is one at QoS 1 and 2 and only there.
    pub packet_id: Option<PacketId>,
    /// Alias, expiry, what travels with the message; from a server the subscription identifiers.
    pub properties: Properties<'a>,
    /// The message.
    pub payload: &'a [u8],
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack<'a> {
    /// The exchange.
    pub packet_id: PacketId,
    /// What came of it; in version 3 always a success.
    pub reason: ReasonCode,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
}

impl Ack<'static> {
    /// Without properties.
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Self {
        Self { packet_id, reason, properties: Properties::NONE }
    }
}

/// SUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// SUBACK repeats it.
    pub packet_id: PacketId,
    /// The identifier of all these subscriptions, user properties.
    pub properties: Properties<'a>,
    /// At least one.
    pub subscriptions: Subscriptions<'a>,
}

/// UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsubscribe<'a> {
    /// UNSUBACK repeats it.
    pub packet_id: PacketId,
    /// User properties.
    pub properties: Properties<'a>,
    /// At least one.
    pub filters: Filters<'a>,
}

/// CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnAck<'a> {
    /// The server goes on with a session it had; never with a refusal [MQTT-3.2.2-6].
    pub session_present: bool,
    /// Success or why not.
    pub reason: ReasonCode,
    /// What the server can take and has decided.
    pub properties: Properties<'a>,
}

/// SUBACK or UNSUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubAck<'a> {
    /// Repeats the id of the question.
    pub packet_id: PacketId,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
    /// One per filter, in the order of the question; none in an UNSUBACK of version 3.
    pub codes: ReasonCodes<'a>,
}

/// DISCONNECT. In version 3 the client's leave, which says nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disconnect<'a> {
    /// Why.
    pub reason: ReasonCode,
    /// From a client the session expiry, from a server another server; reason string and user properties.
    pub properties: Properties<'a>,
}

impl Disconnect<'static> {
    /// Without properties.
    pub const fn new(reason: ReasonCode) -> Self {
        Self { reason, properties: Properties::NONE }
    }
}

/// AUTH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth<'a> {
    /// Whether it begins, goes on or is done.
    pub reason: ReasonCode,
    /// Always with the method.
    pub properties: Properties<'a>,
}
