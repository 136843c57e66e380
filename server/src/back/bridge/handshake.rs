//! How a bridge is let in by a server, and the questions that it asks before messages flow.
//!
//! Owns CONNECT and what its answer says. Must not know which of the two servers it is. Start at [`greet`].

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wire::mqtt::{
    Connect, Encoder, Level, PacketId, Property, PropertyBuf, Qos, ReasonCode, ServerPacket, Value, Version,
    decode_server, frame,
};

use super::failure::{Failure, told};
use super::topics::Side;
use crate::back::dial::Stream;

/// Larger than any CONNACK or SUBACK that makes sense.
const ANSWER_BYTES_MAX: u32 = 1 << 20;

/// What CONNECT says.
#[derive(Debug)]
pub(super) struct Hello<'a> {
    pub(super) version: Version,
    /// In version 3 No Local and Retain As Published hold for all its subscriptions.
    pub(super) is_bridge: bool,
    pub(super) clean_start: bool,
    pub(super) keep_alive_seconds: u16,
    pub(super) client_id: &'a str,
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a [u8]>,
    pub(super) session_expiry_seconds: u32,
    /// Of QoS 1 and 2, from the server.
    pub(super) receive_maximum: u16,
    /// From the server.
    pub(super) packet_bytes_max: u32,
}

/// What CONNACK says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Welcome {
    pub(super) version: Version,
    pub(super) session_present: bool,
    pub(super) qos_max: Qos,
    pub(super) retains: bool,
    /// Of QoS 1 and 2, to the server.
    pub(super) receive_maximum: u16,
    /// To the server.
    pub(super) packet_bytes_max: u32,
    /// The keep alive in force instead of the client's.
    pub(super) keep_alive_seconds: Option<u16>,
}

/// Says CONNECT and waits to be let in; gives what came behind the answer, too.
///
/// # Errors
/// Why not.
pub(super) async fn greet(
    stream: &mut dyn Stream,
    side: Side,
    hello: &Hello<'_>,
) -> Result<(Welcome, Vec<u8>), Failure> {
    let packet = connect(hello)?;
    let failed = |error| Failure::Socket(side, error);
    stream.write_all(&packet).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut bytes = Vec::new();
    let closed = Failure::Unanswered(side, hint(hello.version));
    let (welcome, used) = loop {
        if let Some(found) = frame(&bytes, ANSWER_BYTES_MAX).map_err(|error| Failure::Fault(side, error))? {
            // A server of version 3 says in its own form that it knows no other.
            if hello.version == Version::V5 && (found.first, found.body) == (0x20, &[0, 1][..]) {
                return Err(Failure::OldVersion);
            }
            let packet = decode_server(hello.version, &found).map_err(|error| Failure::Fault(side, error))?;
            break (agreed(side, hello.version, packet)?, found.packet_bytes);
        }
        if stream.read_buf(&mut bytes).await.map_err(failed)? == 0 {
            return Err(closed);
        }
    };
    bytes.drain(..used);
    Ok((welcome, bytes))
}

/// What may be the matter with a server that says nothing.
const fn hint(version: Version) -> &'static str {
    match version {
        Version::V3 => "",
        Version::V5 => "; one that does not speak MQTT 5 needs version = \"3.1.1\"",
    }
}

fn connect(hello: &Hello<'_>) -> Result<Vec<u8>, Failure> {
    let mut properties = PropertyBuf::new();
    let values = [
        (Property::SessionExpiryInterval, Value::U32(hello.session_expiry_seconds)),
        (Property::ReceiveMaximum, Value::U16(hello.receive_maximum.max(1))),
        (Property::MaximumPacketSize, Value::U32(hello.packet_bytes_max.max(1))),
    ];
    for (property, value) in values {
        properties.push(property, value).expect("numbers that are not 0 have a form");
    }
    let level = match hello.version {
        Version::V3 => Level::V311,
        Version::V5 => Level::V5,
    };
    let connect = Connect {
        level,
        is_bridge: hello.is_bridge && hello.version == Version::V3,
        clean_start: hello.clean_start,
        keep_alive_seconds: hello.keep_alive_seconds,
        client_id: hello.client_id,
        will: None,
        user_name: hello.user,
        password: hello.password,
        properties: properties.as_properties(),
    };
    let mut out = Vec::new();
    let put = Encoder::new(hello.version).connect(&connect, &mut out);
    put.map_err(|_| Failure::TooLong("CONNECT"))?;
    Ok(out)
}

fn agreed(side: Side, version: Version, packet: ServerPacket<'_>) -> Result<Welcome, Failure> {
    match packet {
        ServerPacket::ConnAck(ack) if ack.reason.is_failure() => {
            let text = told(ack.properties.reason_string());
            match (version, ack.reason) {
                (Version::V5, ReasonCode::UnsupportedProtocolVersion) => Err(Failure::OldVersion),
                (_, reason) => Err(Failure::Refused(side, reason, text)),
            }
        }
        ServerPacket::ConnAck(ack) => Ok(Welcome {
            version,
            session_present: ack.session_present,
            qos_max: ack.properties.maximum_qos().unwrap_or(Qos::ExactlyOnce),
            retains: ack.properties.retain_available().unwrap_or(true),
            receive_maximum: ack.properties.receive_maximum().unwrap_or(u16::MAX),
            packet_bytes_max: ack.properties.maximum_packet_size_bytes().unwrap_or(u32::MAX),
            keep_alive_seconds: ack.properties.server_keep_alive_seconds(),
        }),
        _ => Err(Failure::Misplaced(side, "a packet before CONNACK")),
    }
}

/// Waits for the answers to questions of these ids; messages that come meanwhile are left to come again.
///
/// # Errors
/// The connection fails.
pub(super) async fn answers(
    stream: &mut dyn Stream,
    (side, version): (Side, Version),
    mut bytes: Vec<u8>,
    mut open: Vec<PacketId>,
) -> Result<(), Failure> {
    loop {
        while let Some(found) = frame(&bytes, u32::MAX).map_err(|error| Failure::Fault(side, error))? {
            let used = found.packet_bytes;
            match decode_server(version, &found).map_err(|error| Failure::Fault(side, error))? {
                ServerPacket::SubAck(ack) | ServerPacket::UnsubAck(ack) => {
                    open.retain(|packet_id| *packet_id != ack.packet_id);
                }
                ServerPacket::Disconnect(disconnect) => {
                    let text = told(disconnect.properties.reason_string());
                    return Err(Failure::Disconnected(side, disconnect.reason, text));
                }
                _ => {}
            }
            bytes.drain(..used);
        }
        if open.is_empty() {
            return Ok(());
        }
        if stream.read_buf(&mut bytes).await.map_err(|error| Failure::Socket(side, error))? == 0 {
            return Err(Failure::Closed(side));
        }
    }
}
