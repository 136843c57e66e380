//! Decoding what a client sends: the server's role.
//!
//! Owns every check of a single packet. Must not know what came before it: aliases that are set, ids in flight and
//! the state of a session are the caller's. Start at [`decode_client`].

use super::common::{ack, expect_flags, publish};
use super::error::{Fault, fault};
use super::frame::{Varint, varint};
use super::property::Place;
use super::reader::Reader;
use super::reason::Carrier;
use super::{
    Answer, Auth, ClientPacket, Connect, Disconnect, Error, Filters, Frame, Level, PacketId, Properties, Qos,
    ReasonCode, Subscribe, Subscriptions, Unsubscribe, Version, Will, topic,
};

/// Decodes a packet of a client. `version` is what its CONNECT said, `None` before that: then CONNECT is the only
/// packet accepted, later it is the only one that is not.
///
/// ```
/// use trunkline_wire::mqtt::{ClientPacket, Qos, Version, decode_client, frame};
///
/// let bytes = [0x32, 0x09, 0x00, 0x03, b'a', b'/', b'b', 0x00, 0x07, b'h', b'i'];
/// let frame = frame(&bytes, 100)?.expect("a whole packet");
/// let packet = decode_client(Some(Version::V3), &frame)?;
/// let ClientPacket::Publish(publish) = packet else { panic!("PUBLISH comes as such") };
/// assert_eq!((publish.topic, publish.qos, publish.payload), ("a/b", Qos::AtLeastOnce, &b"hi"[..]));
/// # Ok::<(), trunkline_wire::mqtt::Error>(())
/// ```
///
/// # Errors
/// What is wrong and how to answer it before closing (MQTT 5.0, 4.13).
pub fn decode_client<'a>(version: Option<Version>, frame: &Frame<'a>) -> Result<ClientPacket<'a>, Error> {
    let packet_type = frame.first >> 4;
    let mut reader = Reader::new(frame.body);
    let Some(version) = version else {
        if frame.first != 0x10 {
            return Err(fault!(silent("first packet is not CONNECT")).into());
        }
        return connect(&mut reader).map(ClientPacket::Connect);
    };
    match packet_type {
        1 => Err(fault!(protocol("second CONNECT")).into()),
        3 => Ok(ClientPacket::Publish(publish(version, frame, Place::ClientPublish)?)),
        4 => Ok(ClientPacket::PubAck(ack(version, frame)?)),
        5 => Ok(ClientPacket::PubRec(ack(version, frame)?)),
        6 => Ok(ClientPacket::PubRel(ack(version, frame)?)),
        7 => Ok(ClientPacket::PubComp(ack(version, frame)?)),
        8 => Ok(ClientPacket::Subscribe(subscribe(version, frame)?)),
        10 => Ok(ClientPacket::Unsubscribe(unsubscribe(version, frame)?)),
        12 => {
            expect_flags(frame, 0)?;
            reader.end()?;
            Ok(ClientPacket::PingReq)
        }
        14 => Ok(ClientPacket::Disconnect(disconnect(version, frame)?)),
        15 => Ok(ClientPacket::Auth(auth(version, frame)?)),
        _ => Err(fault!(protocol("packet type is not a client's")).into()),
    }
}

/// How a CONNECT is to be answered that is larger than is taken, by the part of it that has come; `None`: by that the client's
/// version cannot be told, but with at most 14 bytes it can.
pub fn oversized_connect(bytes: &[u8]) -> Option<Error> {
    const NAME_BYTES: [u16; 2] = [4, 6];
    let (_, rest) = bytes.split_first()?;
    let Varint::Whole(_, length_bytes) = varint(rest) else { return None };
    let mut reader = Reader::new(rest.get(length_bytes..)?);
    let name_bytes = reader.u16().ok()?;
    if !NAME_BYTES.contains(&name_bytes) {
        return Some(fault!(silent("protocol name is unknown")).into());
    }
    let name = reader.take(usize::from(name_bytes)).ok()?;
    let too_large = fault!(with(ReasonCode::PacketTooLarge, "CONNECT is larger than the maximum"));
    match level(name, reader.byte().ok()?) {
        Ok((level, _)) => Some(Error::from(too_large).in_connect(level.version())),
        Err(error) => Some(error),
    }
}

fn connect<'a>(reader: &mut Reader<'a>) -> Result<Connect<'a>, Error> {
    let name = reader.binary().map_err(|_| fault!(silent("protocol name is cut off")))?;
    let byte = reader.byte().map_err(|_| fault!(silent("protocol level is cut off")))?;
    let (level, is_bridge) = level(name, byte)?;
    let flags = ConnectFlags(reader.byte().map_err(|_| fault!(silent("connect flags are cut off")))?);
    flags.check(level.version())?;
    let head = Connect {
        level,
        is_bridge,
        clean_start: flags.has(ConnectFlags::CLEAN_START),
        keep_alive_seconds: 0,
        client_id: "",
        will: None,
        user_name: None,
        password: None,
        properties: Properties::NONE,
    };
    connect_rest(head, flags, reader).map_err(|fault| Error::from(fault).in_connect(level.version()))
}

/// What version the client speaks, or in which one it is to be told that nobody here does [MQTT-3.1.2-2].
fn level(name: &[u8], byte: u8) -> Result<(Level, bool), Error> {
    const BRIDGE: u8 = 0x80;
    let unsupported = |version| Error {
        answer: Answer::ConnAck(version, ReasonCode::UnsupportedProtocolVersion),
        text: "protocol level is unknown",
    };
    match (name, byte) {
        (b"MQTT", 5) => Ok((Level::V5, false)),
        (b"MQTT", 4) => Ok((Level::V311, false)),
        (b"MQIsdp", 3) => Ok((Level::V31, false)),
        (b"MQTT", byte) if byte == BRIDGE | 4 => Ok((Level::V311, true)),
        (b"MQIsdp", byte) if byte == BRIDGE | 3 => Ok((Level::V31, true)),
        // Name and level at odds: a client of version 3 that would not understand the longer form.
        (b"MQIsdp", _) => Err(unsupported(Version::V3)),
        (b"MQTT", byte) if byte & !BRIDGE == 3 => Err(unsupported(Version::V3)),
        (b"MQTT", _) => Err(unsupported(Version::V5)),
        _ => Err(fault!(silent("protocol name is unknown")).into()),
    }
}

#[derive(Clone, Copy)]
struct ConnectFlags(u8);

impl ConnectFlags {
    const RESERVED: u8 = 0x01;
    const CLEAN_START: u8 = 0x02;
    const WILL: u8 = 0x04;
    const WILL_RETAIN: u8 = 0x20;
    const PASSWORD: u8 = 0x40;
    const USER_NAME: u8 = 0x80;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    const fn will_qos_bits(self) -> u8 {
        self.0 >> 3 & 3
    }

    fn check(self, version: Version) -> Result<(), &'static Fault> {
        if self.has(Self::RESERVED) {
            return Err(fault!(silent("reserved connect flag is set")));
        }
        if !self.has(Self::WILL) && (self.will_qos_bits() != 0 || self.has(Self::WILL_RETAIN)) {
            return Err(fault!(silent("will flags without a will")));
        }
        if version == Version::V3 && self.has(Self::PASSWORD) && !self.has(Self::USER_NAME) {
            return Err(fault!(silent("password without user name")));
        }
        Ok(())
    }
}

fn connect_rest<'a>(
    head: Connect<'a>,
    flags: ConnectFlags,
    reader: &mut Reader<'a>,
) -> Result<Connect<'a>, &'static Fault> {
    let version = head.level.version();
    let keep_alive_seconds = reader.u16()?;
    let properties = Properties::read_in(version, reader, Place::Connect)?;
    let client_id = reader.text()?;
    let will = if flags.has(ConnectFlags::WILL) { Some(will(version, flags, reader)?) } else { None };
    let user_name = if flags.has(ConnectFlags::USER_NAME) {
        Some(reader.text().map_err(|_| fault!(silent("user name is missing or ill-formed")))?)
    } else {
        None
    };
    let password = if flags.has(ConnectFlags::PASSWORD) {
        Some(reader.binary().map_err(|_| fault!(silent("password is missing")))?)
    } else {
        None
    };
    reader.end()?;
    Ok(Connect { keep_alive_seconds, client_id, will, user_name, password, properties, ..head })
}

fn will<'a>(
    version: Version,
    flags: ConnectFlags,
    reader: &mut Reader<'a>,
) -> Result<Will<'a>, &'static Fault> {
    let qos = Qos::from_bits(flags.will_qos_bits()).ok_or(fault!(silent("will has QoS 3")))?;
    let properties = Properties::read_in(version, reader, Place::Will)?;
    let topic = reader.text()?;
    topic::check_name(topic)?;
    let payload = reader.binary()?;
    Ok(Will { topic, payload, qos, retain: flags.has(ConnectFlags::WILL_RETAIN), properties })
}

/// The packet id of SUBSCRIBE and UNSUBSCRIBE.
fn request_id(reader: &mut Reader<'_>) -> Result<PacketId, &'static Fault> {
    PacketId::new(reader.u16()?).ok_or(fault!(malformed("packet id is 0")))
}

fn subscribe<'a>(version: Version, frame: &Frame<'a>) -> Result<Subscribe<'a>, &'static Fault> {
    expect_flags(frame, 2)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = request_id(&mut reader)?;
    let properties = Properties::read_in(version, &mut reader, Place::Subscribe)?;
    let subscriptions = Subscriptions::read(version, &reader)?;
    Ok(Subscribe { packet_id, properties, subscriptions })
}

fn unsubscribe<'a>(version: Version, frame: &Frame<'a>) -> Result<Unsubscribe<'a>, &'static Fault> {
    expect_flags(frame, 2)?;
    let mut reader = Reader::new(frame.body);
    let packet_id = request_id(&mut reader)?;
    let properties = Properties::read_in(version, &mut reader, Place::Unsubscribe)?;
    let filters = Filters::read(&reader)?;
    Ok(Unsubscribe { packet_id, properties, filters })
}

fn disconnect<'a>(version: Version, frame: &Frame<'a>) -> Result<Disconnect<'a>, &'static Fault> {
    expect_flags(frame, 0)?;
    let mut reader = Reader::new(frame.body);
    match version {
        Version::V3 => {
            reader.end()?;
            Ok(Disconnect::new(ReasonCode::Success))
        }
        Version::V5 => {
            let (reason, properties) =
                reader.reason_and_properties(Carrier::CLIENT_DISCONNECT, Place::ClientDisconnect)?;
            Ok(Disconnect { reason, properties })
        }
    }
}

fn auth<'a>(version: Version, frame: &Frame<'a>) -> Result<Auth<'a>, &'static Fault> {
    super::common::auth(version, frame, Carrier::CLIENT_AUTH)
}
