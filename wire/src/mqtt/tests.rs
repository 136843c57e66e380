//! Golden vectors and properties of the codec.

use super::*;

#[test]
fn a_first_round_trip() {
    let properties = ConnAckProperties { topic_alias_maximum: 10, ..Default::default() }.to_buf();
    let connack = ConnAck {
        session_present: true,
        reason: ReasonCode::Success,
        properties: properties.as_properties(),
    };
    let mut out = Vec::new();
    Encoder::new(Version::V5).connack(&connack, &mut out).unwrap();
    assert_eq!(out, [0x20, 6, 1, 0, 3, 0x22, 0, 10]);
    let frame = frame(&out, 100).unwrap().unwrap();
    assert_eq!(decode_server(Version::V5, &frame), Ok(ServerPacket::ConnAck(connack)));
}
