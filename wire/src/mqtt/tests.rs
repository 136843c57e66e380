//! Golden vectors, a table per kind of fault, forms of what is sent, and properties.
//!
//! [`hex`] and [`described`] make vectors readable: bytes on one side, what they mean in one line on the other.

mod forms;
mod properties;
mod publishing;
mod refused;
mod vectors;

use std::fmt::Write as _;

use super::*;

/// Bytes of hexadecimal digits and of text between apostrophes; spaces mean nothing.
fn hex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, part) in text.split('\'').enumerate() {
        if at % 2 == 1 {
            out.extend_from_slice(part.as_bytes());
            continue;
        }
        let digits: Vec<u32> =
            part.chars().filter(|c| *c != ' ').map(|c| c.to_digit(16).expect("a digit")).collect();
        let (pairs, rest) = digits.as_chunks::<2>();
        assert!(rest.is_empty(), "half a byte in {text}");
        out.extend(pairs.iter().map(|[high, low]| (high * 16 + low) as u8));
    }
    out
}

/// A packet with this first byte and body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    encode::put_varint(body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

/// Reads one whole packet.
fn framed(bytes: &[u8]) -> Frame<'_> {
    let frame = frame(bytes, u32::MAX).expect("a header").expect("a whole packet");
    assert_eq!(frame.packet_bytes, bytes.len(), "one packet");
    frame
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Properties as `id=value`, in their order.
fn properties(properties: Properties<'_>) -> String {
    let mut out = String::new();
    for (property, value) in properties.iter() {
        let value = match value {
            Value::Byte(value) => value.to_string(),
            Value::U16(value) => value.to_string(),
            Value::U32(value) | Value::Varint(value) => value.to_string(),
            Value::Text(value) => value.to_owned(),
            Value::Binary(value) => text(value),
            Value::Pair(name, value) => format!("{name}:{value}"),
        };
        write!(out, " {:02x}={value}", property as u8).unwrap();
    }
    out
}

fn described_connect(connect: &Connect<'_>) -> String {
    let mut out = format!("connect {:?}", connect.level);
    for (word, set) in [("bridge", connect.is_bridge), ("clean", connect.clean_start)] {
        if set {
            write!(out, " {word}").unwrap();
        }
    }
    write!(out, " keep {} id '{}'", connect.keep_alive_seconds, connect.client_id).unwrap();
    if let Some(name) = connect.user_name {
        write!(out, " user '{name}'").unwrap();
    }
    if let Some(password) = connect.password {
        write!(out, " password '{}'", text(password)).unwrap();
    }
    out += &properties(connect.properties);
    if let Some(will) = &connect.will {
        let retain = if will.retain { " retain" } else { "" };
        let (topic, payload) = (will.topic, text(will.payload));
        write!(out, "; will '{topic}' '{payload}' qos {}{retain}", will.qos.bits()).unwrap();
        out += &properties(will.properties);
    }
    out
}

fn described_publish(publish: &Publish<'_>) -> String {
    let mut out = format!("publish '{}' qos {}", publish.topic, publish.qos.bits());
    for (word, set) in [("dup", publish.dup), ("retain", publish.retain)] {
        if set {
            write!(out, " {word}").unwrap();
        }
    }
    if let Some(packet_id) = publish.packet_id {
        write!(out, " id {packet_id}").unwrap();
    }
    write!(out, "{}: '{}'", properties(publish.properties), text(publish.payload)).unwrap();
    out
}

fn described_ack(name: &str, ack: &Ack<'_>) -> String {
    format!("{name} id {} {:02x}{}", ack.packet_id, ack.reason.byte(), properties(ack.properties))
}

fn described_suback(name: &str, suback: &SubAck<'_>) -> String {
    let codes: String = suback.codes.iter().map(|code| format!(" {:02x}", code.byte())).collect();
    format!("{name} id {}{}:{codes}", suback.packet_id, properties(suback.properties))
}

/// A client's packet in one line.
fn described_client(packet: &ClientPacket<'_>) -> String {
    match packet {
        ClientPacket::Connect(connect) => described_connect(connect),
        ClientPacket::Publish(publish) => described_publish(publish),
        ClientPacket::PubAck(ack) => described_ack("puback", ack),
        ClientPacket::PubRec(ack) => described_ack("pubrec", ack),
        ClientPacket::PubRel(ack) => described_ack("pubrel", ack),
        ClientPacket::PubComp(ack) => described_ack("pubcomp", ack),
        ClientPacket::Subscribe(subscribe) => {
            let mut out =
                format!("subscribe id {}{}:", subscribe.packet_id, properties(subscribe.properties));
            assert_eq!(subscribe.subscriptions.iter().count(), subscribe.subscriptions.len());
            for (filter, options) in subscribe.subscriptions.iter() {
                write!(out, " '{filter}' {}", options.qos.bits()).unwrap();
                for (word, set) in [("nl", options.no_local), ("rap", options.retain_as_published)] {
                    if set {
                        write!(out, " {word}").unwrap();
                    }
                }
                if options.retain_handling != RetainHandling::Send {
                    write!(out, " rh{}", options.retain_handling as u8).unwrap();
                }
            }
            out
        }
        ClientPacket::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.filters.iter().count(), unsubscribe.filters.len());
            let filters: String = unsubscribe.filters.iter().map(|filter| format!(" '{filter}'")).collect();
            format!(
                "unsubscribe id {}{}:{filters}",
                unsubscribe.packet_id,
                properties(unsubscribe.properties)
            )
        }
        ClientPacket::PingReq => "pingreq".to_owned(),
        ClientPacket::Disconnect(disconnect) => {
            format!("disconnect {:02x}{}", disconnect.reason.byte(), properties(disconnect.properties))
        }
        ClientPacket::Auth(auth) => format!("auth {:02x}{}", auth.reason.byte(), properties(auth.properties)),
    }
}

/// A server's packet in one line.
fn described_server(packet: &ServerPacket<'_>) -> String {
    match packet {
        ServerPacket::ConnAck(connack) => {
            let present = if connack.session_present { " present" } else { "" };
            format!("connack {:02x}{present}{}", connack.reason.byte(), properties(connack.properties))
        }
        ServerPacket::Publish(publish) => described_publish(publish),
        ServerPacket::PubAck(ack) => described_ack("puback", ack),
        ServerPacket::PubRec(ack) => described_ack("pubrec", ack),
        ServerPacket::PubRel(ack) => described_ack("pubrel", ack),
        ServerPacket::PubComp(ack) => described_ack("pubcomp", ack),
        ServerPacket::SubAck(suback) => described_suback("suback", suback),
        ServerPacket::UnsubAck(unsuback) => described_suback("unsuback", unsuback),
        ServerPacket::PingResp => "pingresp".to_owned(),
        ServerPacket::Disconnect(disconnect) => {
            format!("disconnect {:02x}{}", disconnect.reason.byte(), properties(disconnect.properties))
        }
        ServerPacket::Auth(auth) => format!("auth {:02x}{}", auth.reason.byte(), properties(auth.properties)),
    }
}

/// The version a packet of a client is decoded with: none for CONNECT.
fn after(version: Version, first: u8) -> Option<Version> {
    (first >> 4 != 1).then_some(version)
}
