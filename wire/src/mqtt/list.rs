//! The lists inside SUBSCRIBE, UNSUBSCRIBE and their answers, validated and as they came.
//!
//! Owns subscription options. Must not know what a subscription does. Start at [`Subscriptions`].

use super::error::{Fault, fault};
use super::reader::Reader;
use super::reason::Carrier;
use super::{Qos, ReasonCode, Version, topic};

/// What a client wants of one subscription (MQTT 5.0, 3.8.3.1). In version 3 only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscribeOptions {
    /// The highest QoS to deliver with.
    pub qos: Qos,
    /// Not the client's own messages.
    pub no_local: bool,
    /// RETAIN as the publisher set it.
    pub retain_as_published: bool,
    /// What to do with retained messages now.
    pub retain_handling: RetainHandling,
}

/// When a SUBSCRIBE brings the retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Always.
    #[default]
    Send = 0,
    /// Unless the subscription existed.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl SubscribeOptions {
    fn decode(version: Version, byte: u8) -> Result<Self, &'static Fault> {
        let reserved = match version {
            Version::V3 => 0xfc,
            Version::V5 => 0xc0,
        };
        if byte & reserved != 0 {
            return Err(fault!(malformed("reserved bits of subscription options are set")));
        }
        let qos = Qos::from_bits(byte & 3).ok_or(fault!(protocol("subscription has QoS 3")))?;
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::Send,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(fault!(protocol("subscription has retain handling 3"))),
        };
        Ok(Self { qos, no_local: byte & 4 != 0, retain_as_published: byte & 8 != 0, retain_handling })
    }

    /// The options byte.
    pub(super) const fn byte(self, version: Version) -> u8 {
        match version {
            Version::V3 => self.qos.bits(),
            Version::V5 => {
                (self.retain_handling as u8) << 4
                    | (self.retain_as_published as u8) << 3
                    | (self.no_local as u8) << 2
                    | self.qos.bits()
            }
        }
    }
}

/// The filters of a SUBSCRIBE with their options: at least one, in a decoded packet.
#[derive(Clone, Copy)]
pub struct Subscriptions<'a>(List<'a, (&'a str, SubscribeOptions)>);

/// The filters of an UNSUBSCRIBE: at least one, in a decoded packet.
#[derive(Clone, Copy)]
pub struct Filters<'a>(List<'a, &'a str>);

/// The codes of a SUBACK or UNSUBACK.
#[derive(Clone, Copy)]
pub struct ReasonCodes<'a>(List<'a, ReasonCode>);

/// Items as they came, or as the sender has them.
#[derive(Clone, Copy)]
enum List<'a, T> {
    Raw { bytes: &'a [u8], len: usize },
    Items(&'a [T]),
}

impl<'a, T: Copy> List<'a, T> {
    const fn len(&self) -> usize {
        match self {
            Self::Raw { len, .. } => *len,
            Self::Items(items) => items.len(),
        }
    }

    /// `read` takes an item off bytes that were validated; `None` cannot happen there.
    fn iter(&self, read: fn(&mut Reader<'a>) -> Option<T>) -> impl Iterator<Item = T> + use<'a, T> {
        let (mut raw, items) = match *self {
            Self::Raw { bytes, .. } => (Reader::new(bytes), &[][..]),
            Self::Items(items) => (Reader::new(&[]), items),
        };
        items.iter().copied().chain(std::iter::from_fn(move || read(&mut raw)))
    }
}

macro_rules! list {
    ($list:ident of $item:ty) => {
        impl<'a> $list<'a> {
            /// A list to be sent.
            pub const fn new(items: &'a [$item]) -> Self {
                Self(List::Items(items))
            }

            /// How many there are.
            pub const fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there is none.
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// In the order of the packet.
            pub fn iter(&self) -> impl Iterator<Item = $item> + use<'a> {
                self.0.iter(Self::item)
            }
        }

        impl PartialEq for $list<'_> {
            fn eq(&self, other: &Self) -> bool {
                self.iter().eq(other.iter())
            }
        }

        impl Eq for $list<'_> {}

        impl std::fmt::Debug for $list<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_list().entries(self.iter()).finish()
            }
        }
    };
}

list!(Subscriptions of (&'a str, SubscribeOptions));
list!(Filters of &'a str);
list!(ReasonCodes of ReasonCode);

impl<'a> Subscriptions<'a> {
    /// Validates the rest of a SUBSCRIBE.
    pub(super) fn read(version: Version, reader: &Reader<'a>) -> Result<Self, &'static Fault> {
        let bytes = reader.rest();
        let mut reader = *reader;
        let mut len = 0;
        while !reader.is_empty() {
            let filter = reader.text()?;
            topic::check_filter(filter)?;
            let options = SubscribeOptions::decode(version, reader.byte()?)?;
            if options.no_local && topic::parse_share(filter).is_some() {
                return Err(fault!(protocol("shared subscription has No Local")));
            }
            len += 1;
        }
        if len == 0 {
            return Err(fault!(protocol("SUBSCRIBE has no filter")));
        }
        Ok(Self(List::Raw { bytes, len }))
    }

    fn item(reader: &mut Reader<'a>) -> Option<(&'a str, SubscribeOptions)> {
        let filter = reader.checked_text()?;
        // The bits of version 3 mean the same in version 5.
        let options = SubscribeOptions::decode(Version::V5, reader.byte().ok()?).ok()?;
        Some((filter, options))
    }
}

impl<'a> Filters<'a> {
    /// Validates the rest of an UNSUBSCRIBE.
    pub(super) fn read(reader: &Reader<'a>) -> Result<Self, &'static Fault> {
        let bytes = reader.rest();
        let mut reader = *reader;
        let mut len = 0;
        while !reader.is_empty() {
            topic::check_filter(reader.text()?)?;
            len += 1;
        }
        if len == 0 {
            return Err(fault!(protocol("UNSUBSCRIBE has no filter")));
        }
        Ok(Self(List::Raw { bytes, len }))
    }

    fn item(reader: &mut Reader<'a>) -> Option<&'a str> {
        reader.checked_text()
    }
}

impl<'a> ReasonCodes<'a> {
    /// Validates the rest of a SUBACK or UNSUBACK.
    pub(super) fn read(reader: &Reader<'a>, carrier: Carrier) -> Result<Self, &'static Fault> {
        let bytes = reader.rest();
        let allowed = |byte: &u8| ReasonCode::from_byte(*byte).is_some_and(|code| code.may_stand_in(carrier));
        if bytes.is_empty() || !bytes.iter().all(allowed) {
            return Err(fault!(protocol("reason code does not belong there")));
        }
        Ok(Self(List::Raw { bytes, len: bytes.len() }))
    }

    fn item(reader: &mut Reader<'a>) -> Option<ReasonCode> {
        ReasonCode::from_byte(reader.byte().ok()?)
    }
}
