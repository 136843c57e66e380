//! Properties: one table that both decoding and encoding follow (MQTT 5.0, 2.2.2).
//!
//! Owns which property has which type and values, where it may stand and how often. Must not know what a property
//! makes a server do. Start at [`Properties`]; what is written is built in a [`PropertyBuf`].
//!
//! Properties are validated once, when their packet is decoded, and kept as they came: reading one walks over the
//! bytes, which are few, and nothing is stored for those nobody asks for.

use super::ReasonCode;
use super::error::{Fault, fault};
use super::reader::Reader;
use super::topic;

mod build;
mod typed;

pub use build::PropertyBuf;

/// Where properties stand, as one bit each. The acknowledgements, SUBACK and UNSUBACK included, take the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Place {
    Connect = 1,
    Will = 1 << 1,
    ConnAck = 1 << 2,
    ClientPublish = 1 << 3,
    ServerPublish = 1 << 4,
    Ack = 1 << 5,
    Subscribe = 1 << 6,
    Unsubscribe = 1 << 7,
    ClientDisconnect = 1 << 8,
    ServerDisconnect = 1 << 9,
    Auth = 1 << 10,
}

/// How a value looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Byte,
    U16,
    U32,
    Varint,
    Text,
    Binary,
    Pair,
}

/// Which values of the kind are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Any,
    ZeroOrOne,
    NotZero,
    /// Not zero either, but that fault has its own code.
    Alias,
    TopicName,
}

macro_rules! properties {
    ($($(#[$doc:meta])* $id:literal $variant:ident $kind:ident $rule:ident [$($place:ident)*];)*) => {
        /// The properties of MQTT 5.0 (table 2-4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Property {
            $($(#[$doc])* $variant = $id,)*
        }

        impl Property {
            /// Every property, in the order of the ids.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The property of this identifier.
            pub const fn from_id(id: u8) -> Option<Self> {
                match id {
                    $($id => Some(Self::$variant),)*
                    _ => None,
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                }
            }

            const fn rule(self) -> Rule {
                match self {
                    $(Self::$variant => Rule::$rule,)*
                }
            }

            const fn places(self) -> u16 {
                match self {
                    $(Self::$variant => 0 $(| Place::$place as u16)*,)*
                }
            }
        }
    };
}

properties! {
    /// 1: the payload is UTF-8 text.
    0x01 PayloadFormatIndicator Byte ZeroOrOne [ClientPublish ServerPublish Will];
    /// Seconds until the message is worthless.
    0x02 MessageExpiryInterval U32 Any [ClientPublish ServerPublish Will];
    /// What the payload is, a MIME type by custom.
    0x03 ContentType Text Any [ClientPublish ServerPublish Will];
    /// Where an answer is expected.
    0x08 ResponseTopic Text TopicName [ClientPublish ServerPublish Will];
    /// Which request an answer is for.
    0x09 CorrelationData Binary Any [ClientPublish ServerPublish Will];
    /// Which subscription a message comes by.
    0x0B SubscriptionIdentifier Varint NotZero [Subscribe ServerPublish];
    /// Seconds a session outlives its connection; 0xFFFFFFFF: for ever.
    0x11 SessionExpiryInterval U32 Any [Connect ConnAck ClientDisconnect];
    /// The id the server gave a client that had none.
    0x12 AssignedClientIdentifier Text Any [ConnAck];
    /// The keep alive in force instead of the client's, in seconds.
    0x13 ServerKeepAlive U16 Any [ConnAck];
    /// How the parties authenticate.
    0x15 AuthenticationMethod Text Any [Connect ConnAck Auth];
    /// What the method exchanges.
    0x16 AuthenticationData Binary Any [Connect ConnAck Auth];
    /// 0: no reason strings and user properties where they can be left out.
    0x17 RequestProblemInformation Byte ZeroOrOne [Connect];
    /// Seconds between the end of the connection and the will.
    0x18 WillDelayInterval U32 Any [Will];
    /// 1: the client asks for [`Property::ResponseInformation`].
    0x19 RequestResponseInformation Byte ZeroOrOne [Connect];
    /// The beginning of response topics the client may use.
    0x1A ResponseInformation Text Any [ConnAck];
    /// Which other server to use. From a client it means nothing and is taken.
    0x1C ServerReference Text Any [ConnAck ClientDisconnect ServerDisconnect];
    /// What happened, for a human.
    0x1F ReasonString Text Any [ConnAck Ack ClientDisconnect ServerDisconnect Auth];
    /// How many QoS 1 and 2 messages may be unacknowledged.
    0x21 ReceiveMaximum U16 NotZero [Connect ConnAck];
    /// The highest topic alias the sender takes.
    0x22 TopicAliasMaximum U16 Any [Connect ConnAck];
    /// A number instead of the topic.
    0x23 TopicAlias U16 Alias [ClientPublish ServerPublish];
    /// The highest QoS the server takes: 0 or 1.
    0x24 MaximumQos Byte ZeroOrOne [ConnAck];
    /// 0: the server keeps no retained messages.
    0x25 RetainAvailable Byte ZeroOrOne [ConnAck];
    /// A name and a value of the sender's choice; as often as it likes, in an order that counts.
    0x26 UserProperty Pair Any [
        Connect Will ConnAck ClientPublish ServerPublish Ack Subscribe Unsubscribe ClientDisconnect
        ServerDisconnect Auth
    ];
    /// The largest packet the sender takes, in bytes.
    0x27 MaximumPacketSize U32 NotZero [Connect ConnAck];
    /// 0: the server takes no filters with wildcards.
    0x28 WildcardSubscriptionAvailable Byte ZeroOrOne [ConnAck];
    /// 0: the server takes no subscription identifiers.
    0x29 SubscriptionIdentifierAvailable Byte ZeroOrOne [ConnAck];
    /// 0: the server takes no shared subscriptions.
    0x2A SharedSubscriptionAvailable Byte ZeroOrOne [ConnAck];
}

/// What a property says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One byte.
    Byte(u8),
    /// A two byte integer.
    U16(u16),
    /// A four byte integer.
    U32(u32),
    /// A variable byte integer, at most [`super::VARINT_MAX`].
    Varint(u32),
    /// A UTF-8 string of at most 65,535 bytes.
    Text(&'a str),
    /// Binary data of at most 65,535 bytes.
    Binary(&'a [u8]),
    /// A name and a value.
    Pair(&'a str, &'a str),
}

/// The properties of one packet or will, validated and as they came. In version 3, none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    raw: &'a [u8],
}

impl Property {
    const fn may_stand_in(self, place: Place) -> bool {
        self.places() & place as u16 != 0
    }

    const fn may_repeat_in(self, place: Place) -> bool {
        matches!(
            (self, place),
            (Self::UserProperty, _) | (Self::SubscriptionIdentifier, Place::ServerPublish)
        )
    }

    /// Takes a value off the reader and checks it.
    fn validate(self, reader: &mut Reader<'_>) -> Result<(), &'static Fault> {
        match self.kind() {
            Kind::Byte => self.check_number(u32::from(reader.byte()?)),
            Kind::U16 => self.check_number(u32::from(reader.u16()?)),
            Kind::U32 => self.check_number(reader.u32()?),
            Kind::Varint => self.check_number(reader.varint()?),
            Kind::Text => self.check_text(reader.text()?),
            Kind::Binary => reader.binary().map(drop),
            Kind::Pair => reader.text().and_then(|_| reader.text()).map(drop),
        }
    }

    fn check_number(self, value: u32) -> Result<(), &'static Fault> {
        match self.rule() {
            Rule::ZeroOrOne if value > 1 => Err(fault!(protocol("property is neither 0 nor 1"))),
            Rule::NotZero if value == 0 => Err(fault!(protocol("property is 0"))),
            Rule::Alias if value == 0 => Err(fault!(with(ReasonCode::TopicAliasInvalid, "topic alias is 0"))),
            Rule::Any | Rule::ZeroOrOne | Rule::NotZero | Rule::Alias | Rule::TopicName => Ok(()),
        }
    }

    fn check_text(self, text: &str) -> Result<(), &'static Fault> {
        if self.rule() == Rule::TopicName && (text.is_empty() || topic::has_wildcard(text)) {
            return Err(fault!(protocol("response topic is no topic name")));
        }
        Ok(())
    }

    /// The value of an entry that was validated before, identifier included.
    fn value_of(self, entry: &[u8]) -> Option<Value<'_>> {
        self.read(&mut Reader::new(entry.get(1..)?))
    }

    /// Takes a value off a reader that was validated before.
    fn read<'a>(self, reader: &mut Reader<'a>) -> Option<Value<'a>> {
        Some(match self.kind() {
            Kind::Byte => Value::Byte(reader.byte().ok()?),
            Kind::U16 => Value::U16(reader.u16().ok()?),
            Kind::U32 => Value::U32(reader.u32().ok()?),
            Kind::Varint => Value::Varint(reader.varint().ok()?),
            Kind::Text => Value::Text(reader.checked_text()?),
            Kind::Binary => Value::Binary(reader.binary().ok()?),
            Kind::Pair => Value::Pair(reader.checked_text()?, reader.checked_text()?),
        })
    }

    /// Takes a value off the reader without looking at it.
    fn skip(self, reader: &mut Reader<'_>) -> Result<(), &'static Fault> {
        match self.kind() {
            Kind::Byte => reader.take(1).map(drop),
            Kind::U16 => reader.take(2).map(drop),
            Kind::U32 => reader.take(4).map(drop),
            Kind::Varint => reader.varint().map(drop),
            Kind::Text | Kind::Binary => reader.binary().map(drop),
            Kind::Pair => reader.binary().and_then(|_| reader.binary()).map(drop),
        }
    }
}

impl<'a> Properties<'a> {
    /// No properties.
    pub const NONE: Properties<'static> = Properties { raw: &[] };

    /// Takes the length and the properties off the reader and validates them for this place.
    pub(super) fn read(reader: &mut Reader<'a>, place: Place) -> Result<Self, &'static Fault> {
        let len = reader.varint()?;
        Self::validated(reader.take(len as usize)?, place)
    }

    /// Properties without their length.
    pub(super) fn validated(raw: &'a [u8], place: Place) -> Result<Self, &'static Fault> {
        let mut reader = Reader::new(raw);
        let mut seen = 0_u64;
        while !reader.is_empty() {
            let property = read_id(&mut reader)?;
            if !property.may_stand_in(place) {
                return Err(misplaced(property, place));
            }
            property.validate(&mut reader)?;
            let bit = 1 << property as u8;
            if seen & bit != 0 && !property.may_repeat_in(place) {
                return Err(fault!(protocol("property stands twice")));
            }
            seen |= bit;
        }
        let has = |property| seen & 1 << property as u8 != 0;
        if has(Property::AuthenticationData) && !has(Property::AuthenticationMethod) {
            return Err(fault!(protocol("authentication data without a method")));
        }
        Ok(Self { raw })
    }

    /// Bytes that were validated before, or that this module wrote.
    pub(super) const fn from_checked(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The properties in the encoding of MQTT 5.0 without the length before them.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Property, Value<'a>)> + use<'a> {
        self.entries().filter_map(|(property, entry)| Some((property, property.value_of(entry)?)))
    }

    /// All of them as they stand, identifiers included.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Property, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.raw);
        std::iter::from_fn(move || {
            let before = reader.rest();
            let property = read_id(&mut reader).ok()?;
            property.skip(&mut reader).ok()?;
            before.get(..before.len() - reader.rest().len()).map(|entry| (property, entry))
        })
    }

    /// The value of a property, the first one if it may stand several times.
    pub fn find(&self, property: Property) -> Option<Value<'a>> {
        let mut value = self.value(property)?;
        property.read(&mut value)
    }

    /// A reader that stands at the value.
    fn value(&self, wanted: Property) -> Option<Reader<'a>> {
        let mut reader = Reader::new(self.raw);
        while !reader.is_empty() {
            let property = read_id(&mut reader).ok()?;
            if property == wanted {
                return Some(reader);
            }
            property.skip(&mut reader).ok()?;
        }
        None
    }

    fn flag(&self, property: Property) -> Option<bool> {
        self.value(property)?.byte().ok().map(|value| value != 0)
    }

    fn u16(&self, property: Property) -> Option<u16> {
        self.value(property)?.u16().ok()
    }

    fn u32(&self, property: Property) -> Option<u32> {
        self.value(property)?.u32().ok()
    }

    fn text(&self, property: Property) -> Option<&'a str> {
        self.value(property)?.checked_text()
    }

    fn binary(&self, property: Property) -> Option<&'a [u8]> {
        self.value(property)?.binary().ok()
    }
}

/// Identifiers are variable byte integers, but all of them fit one byte, so a longer one is unknown.
fn read_id(reader: &mut Reader<'_>) -> Result<Property, &'static Fault> {
    Property::from_id(reader.byte()?).ok_or(fault!(malformed("property is unknown")))
}

fn misplaced(property: Property, place: Place) -> &'static Fault {
    match (property, place) {
        (Property::SubscriptionIdentifier, Place::ClientPublish) => {
            fault!(protocol("PUBLISH of a client has a subscription identifier"))
        }
        _ => fault!(malformed("property belongs to another packet")),
    }
}
