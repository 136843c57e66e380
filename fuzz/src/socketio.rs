//! Socket.IO packets in both parsers: limits hold, and what is accepted survives every encoding.

use wire::socketio::{
    Codec, Decoder, Encoded, Frame, Kind, Limits, Packet, Parser, Revision, Role, Violation,
};
use wire::values::{Bounds, Values};

const TIGHT: Limits =
    Limits { values: Bounds { bytes_max: 512, attachments_max: 3, depth_max: 8 }, namespace_bytes_max: 24 };

/// Encoding may lengthen what was accepted: `1e9` becomes `1000000000.0` through msgpack.
const WIDE: Limits =
    Limits { values: Bounds { bytes_max: 100_000, ..TIGHT.values }, namespace_bytes_max: 24 };

const TEXT: Codec = Codec { revision: Revision::V5, parser: Parser::Default };
const PACK: Codec = Codec { revision: Revision::V5, parser: Parser::MsgPack };

/// The target `socketio_packet`. One byte chooses role and revision, the rest are messages, one on each line: binary
/// ones begin with `!`.
pub fn socketio_packet(data: &[u8]) {
    let Some((&choice, messages)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let revision = if choice & 2 == 0 { Revision::V5 } else { Revision::V4 };
    let mut decoder = Decoder::new(role, revision);
    for message in messages.split(|&byte| byte == b'\n') {
        let result = match (message, std::str::from_utf8(message)) {
            ([b'!', data @ ..], _) => decoder.binary(data, &TIGHT),
            (_, Ok(text)) => decoder.text(text, &TIGHT),
            (_, Err(_)) => return,
        };
        assert!(decoder.pending_bytes() <= TIGHT.values.bytes_max);
        match result {
            Ok(Some(packet)) => {
                assert_eq!(decoder.pending_bytes(), 0);
                check(&packet, role);
                through_text(&packet);
                through_msgpack(&packet);
            }
            Ok(None) => assert!(decoder.pending_bytes() > 0),
            Err(_) => return,
        }
    }
}

/// The target `msgpack`. One byte chooses the role, the rest is one message.
pub fn msgpack(data: &[u8]) {
    let Some((&choice, message)) = data.split_first() else { return };
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    let Ok(packet) = Decoder::with_codec(role, PACK).binary(message, &TIGHT) else { return };
    let packet = packet.expect("a msgpack message is a whole packet");
    check(&packet, role);
    through_text(&packet);
    assert_eq!(decode(PACK, &PACK.packet(&packet)), Ok(packet), "its JSON is already in our own form");
}

fn check(packet: &Packet, role: Role) {
    let name = packet.namespace.as_str();
    assert!(name.starts_with('/') && name.len() <= TIGHT.namespace_bytes_max);
    match &packet.kind {
        Kind::Event { values, .. } => {
            check_values(values);
            let event = values.as_event().expect("an event has a name");
            assert_ne!(event.name.as_str(), "disconnect");
            let rebuilt = match event.name {
                wire::values::EventName::Text(name) => Values::event(&name, &event_args(values)),
                wire::values::EventName::Number(_) => return,
            };
            assert_eq!(
                rebuilt.as_event().map(|event| event.args_json()),
                Some(event_args(values).json().to_owned())
            );
        }
        Kind::Ack { values, .. } => check_values(values),
        Kind::ConnectError(_) => assert_eq!(role, Role::Client),
        Kind::Connect(payload) => assert!(payload.as_ref().is_none_or(|payload| payload.is_object())),
        Kind::Disconnect => {}
    }
}

fn event_args(values: &Values) -> Values {
    values.as_event().expect("an event has a name").args()
}

fn check_values(values: &Values) {
    assert!(values.len_bytes() <= TIGHT.values.bytes_max);
    assert!(values.attachments().len() <= TIGHT.values.attachments_max);
    let again = Values::parse(values.json(), values.attachments().to_vec(), &TIGHT.values);
    assert_eq!(again.as_ref(), Ok(values), "placeholders are in order");
    assert!(
        serde_json::from_str::<Vec<serde_json::Value>>(values.json()).is_ok(),
        "any strict parser takes it"
    );
}

/// The default parser keeps the text as it is. Refusals that are neither object nor string exist in revision 4 only.
fn through_text(packet: &Packet) {
    let codec = if is_of_revision_4(packet) { Codec { revision: Revision::V4, ..TEXT } } else { TEXT };
    assert_eq!(decode(codec, &codec.packet(packet)).as_ref(), Ok(packet));
}

fn is_of_revision_4(packet: &Packet) -> bool {
    matches!(&packet.kind, Kind::ConnectError(json) if !json.is_object() && !json.is_string())
}

/// msgpack loses white space and the spelling of numbers, but only once. It does not exist in revision 4.
fn through_msgpack(packet: &Packet) {
    if is_of_revision_4(packet) {
        return;
    }
    let encoded = PACK.packet(packet);
    let again = decode(PACK, &encoded).expect("what we write can be read");
    assert_eq!(again.namespace, packet.namespace);
    assert_eq!(PACK.packet(&again), encoded);
}

fn decode(codec: Codec, encoded: &Encoded) -> Result<Packet, Violation> {
    let mut decoder = Decoder::with_codec(Role::Client, codec);
    let mut got = None;
    for frame in encoded.frames() {
        assert_eq!(got, None, "complete before the last frame");
        got = match frame {
            Frame::Text(text) => {
                let text = std::str::from_utf8(text).expect("text frames are UTF-8");
                decoder.text(text.strip_prefix('4').expect("an Engine.IO message"), &WIDE)
            }
            Frame::Binary(data) => decoder.binary(data, &WIDE),
        }?;
    }
    Ok(got.expect("complete after the last frame"))
}
