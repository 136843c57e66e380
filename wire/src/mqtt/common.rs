//! Decoding what both roles send alike: PUBLISH, its acknowledgements and AUTH.
//!
//! Owns the checks that need no role. Must not know which end decodes, but by the place and carrier it is given.
//! Start at [`publish`].

use super::error::{Fault, fault};
use super::property::Place;
use super::reader::Reader;
use super::reason::Carrier;
use super::{Ack, Auth, Frame, PacketId, Properties, Property, Publish, Qos, ReasonCode, Version, topic};

/// The flags of a packet that leaves no choice.
pub(super) fn expect_flags(frame: &Frame<'_>, flags: u8) -> Result<(), &'static Fault> {
    if frame.first & 0x0f == flags {
        Ok(())
    } else {
        Err(fault!(malformed("flags of the fixed header are wrong")))
    }
}

/// The packet id of a message or of an acknowledgement.
pub(super) fn exchange_id(reader: &mut Reader<'_>) -> Result<PacketId, &'static Fault> {
    PacketId::new(reader.u16()?).ok_or(fault!(protocol("packet id is 0")))
}

#[inline]
pub(super) fn publish<'a>(
    version: Version,
    frame: &Frame<'a>,
    place: Place,
) -> Result<Publish<'a>, &'static Fault> {
    let dup = frame.first & 8 != 0;
    let qos = Qos::from_bits(frame.first >> 1 & 3).ok_or(fault!(malformed("PUBLISH has QoS 3")))?;
    if dup && qos == Qos::AtMostOnce {
        return Err(fault!(malformed("PUBLISH has DUP at QoS 0")));
    }
    let mut reader = Reader::new(frame.body);
    let topic = reader.text()?;
    if topic::has_wildcard(topic) {
        return Err(fault!(malformed("topic has a wildcard")));
    }
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Some(exchange_id(&mut reader)?),
    };
    let properties = Properties::read_in(version, &mut reader, place)?;
    if topic.is_empty() && properties.topic_alias().is_none() {
        return Err(fault!(protocol("topic is empty without a topic alias")));
    }
    let payload = reader.rest();
    Ok(Publish { dup, qos, retain: frame.first & 1 != 0, topic, packet_id, properties, payload })
}

/// PUBACK, PUBREC, PUBREL and PUBCOMP; the type of the frame tells which flags and codes belong there.
pub(super) fn ack<'a>(version: Version, frame: &Frame<'a>) -> Result<Ack<'a>, &'static Fault> {
    let (flags, carrier) = match frame.first >> 4 {
        6 => (2, Carrier::PUBREL),
        7 => (0, Carrier::PUBREL),
        _ => (0, Carrier::PUBACK),
    };
    expect_flags(frame, flags)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = exchange_id(&mut reader)?;
    match version {
        Version::V3 => {
            reader.end()?;
            Ok(Ack::new(packet_id, ReasonCode::Success))
        }
        Version::V5 => {
            let (reason, properties) = reader.reason_and_properties(carrier, Place::Ack)?;
            Ok(Ack { packet_id, reason, properties })
        }
    }
}

pub(super) fn auth<'a>(
    version: Version,
    frame: &Frame<'a>,
    carrier: Carrier,
) -> Result<Auth<'a>, &'static Fault> {
    if version == Version::V3 {
        return Err(fault!(protocol("AUTH in version 3")));
    }
    expect_flags(frame, 0)?;
    let mut reader = Reader::new(frame.body);
    let (reason, properties) = reader.reason_and_properties(carrier, Place::Auth)?;
    if properties.find(Property::AuthenticationMethod).is_none() {
        return Err(fault!(protocol("AUTH without a method")));
    }
    Ok(Auth { reason, properties })
}

impl<'a> Properties<'a> {
    /// The properties of a packet; in version 3 there is not even their length.
    #[inline]
    pub(super) fn read_in(
        version: Version,
        reader: &mut Reader<'a>,
        place: Place,
    ) -> Result<Self, &'static Fault> {
        match version {
            Version::V3 => Ok(Properties::NONE),
            Version::V5 if reader.skip_zero() => Ok(Properties::NONE),
            Version::V5 => Self::read(reader, place),
        }
    }
}

impl<'a> Reader<'a> {
    /// The end of a packet of version 5 that may leave out its properties, and the code, too, if that is a success
    /// (MQTT 5.0, 3.4.2.1, 3.14.2.1, 3.15.2.1).
    pub(super) fn reason_and_properties(
        &mut self,
        carrier: Carrier,
        place: Place,
    ) -> Result<(ReasonCode, Properties<'a>), &'static Fault> {
        if self.is_empty() {
            return Ok((ReasonCode::Success, Properties::NONE));
        }
        let reason = self.reason(carrier)?;
        let properties = if self.is_empty() { Properties::NONE } else { Properties::read(self, place)? };
        self.end()?;
        Ok((reason, properties))
    }

    pub(super) fn reason(&mut self, carrier: Carrier) -> Result<ReasonCode, &'static Fault> {
        ReasonCode::from_byte(self.byte()?)
            .filter(|code| code.may_stand_in(carrier))
            .ok_or(fault!(protocol("reason code does not belong there")))
    }
}
