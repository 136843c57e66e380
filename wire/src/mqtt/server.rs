//! Decoding what a server sends: the client's role.
//!
//! Owns the checks of CONNACK, SUBACK, UNSUBACK, PINGRESP and a server's DISCONNECT. Must not know what the client asked
//! for. Start at [`decode_server`].

use super::common::{ack, auth, exchange_id, expect_flags, publish};
use super::error::{Fault, fault};
use super::property::Place;
use super::reader::Reader;
use super::reason::Carrier;
use super::{
    ConnAck, Disconnect, Error, Frame, Properties, ReasonCode, ReasonCodes, ServerPacket, SubAck, Version,
};

/// Decodes a packet of a server for a client that speaks `version`.
///
/// # Errors
/// What is wrong, with the code a client may put into its DISCONNECT.
pub fn decode_server<'a>(version: Version, frame: &Frame<'a>) -> Result<ServerPacket<'a>, Error> {
    match frame.first >> 4 {
        2 => Ok(ServerPacket::ConnAck(connack(version, frame)?)),
        3 => Ok(ServerPacket::Publish(publish(version, frame, Place::ServerPublish)?)),
        4 => Ok(ServerPacket::PubAck(ack(version, frame)?)),
        5 => Ok(ServerPacket::PubRec(ack(version, frame)?)),
        6 => Ok(ServerPacket::PubRel(ack(version, frame)?)),
        7 => Ok(ServerPacket::PubComp(ack(version, frame)?)),
        9 => Ok(ServerPacket::SubAck(suback(version, frame, Carrier::SUBACK)?)),
        11 => Ok(ServerPacket::UnsubAck(suback(version, frame, Carrier::UNSUBACK)?)),
        13 => {
            expect_flags(frame, 0)?;
            Reader::new(frame.body).end()?;
            Ok(ServerPacket::PingResp)
        }
        14 => Ok(ServerPacket::Disconnect(disconnect(version, frame)?)),
        15 => Ok(ServerPacket::Auth(auth(version, frame, Carrier::SERVER_AUTH)?)),
        _ => Err(fault!(protocol("packet type is not a server's")).into()),
    }
}

fn connack<'a>(version: Version, frame: &Frame<'a>) -> Result<ConnAck<'a>, &'static Fault> {
    expect_flags(frame, 0)?;
    let mut reader = Reader::new(frame.body);
    let flags = reader.byte()?;
    if flags > 1 {
        return Err(fault!(malformed("reserved flags of CONNACK are set")));
    }
    let reason = match version {
        Version::V3 => ReasonCode::from_v3_return_code(reader.byte()?)
            .ok_or(fault!(protocol("return code is unknown")))?,
        Version::V5 => reader.reason(Carrier::CONNACK)?,
    };
    let properties = Properties::read_in(version, &mut reader, Place::ConnAck)?;
    reader.end()?;
    let session_present = flags == 1;
    if session_present && reason.is_failure() {
        return Err(fault!(protocol("session present with a refusal")));
    }
    Ok(ConnAck { session_present, reason, properties })
}

fn suback<'a>(version: Version, frame: &Frame<'a>, carrier: Carrier) -> Result<SubAck<'a>, &'static Fault> {
    expect_flags(frame, 0)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = exchange_id(&mut reader)?;
    let properties = Properties::read_in(version, &mut reader, Place::Ack)?;
    let codes = if version == Version::V3 && carrier == Carrier::UNSUBACK {
        reader.end()?;
        ReasonCodes::new(&[])
    } else {
        ReasonCodes::read(&reader, carrier)?
    };
    if version == Version::V3 && codes.iter().any(|code| code.byte() != code.v3_suback_code()) {
        return Err(fault!(protocol("SUBACK has a code of another version")));
    }
    Ok(SubAck { packet_id, properties, codes })
}

fn disconnect<'a>(version: Version, frame: &Frame<'a>) -> Result<Disconnect<'a>, &'static Fault> {
    if version == Version::V3 {
        return Err(fault!(protocol("DISCONNECT of a server in version 3")));
    }
    expect_flags(frame, 0)?;
    let (reason, properties) =
        Reader::new(frame.body).reason_and_properties(Carrier::SERVER_DISCONNECT, Place::ServerDisconnect)?;
    Ok(Disconnect { reason, properties })
}
