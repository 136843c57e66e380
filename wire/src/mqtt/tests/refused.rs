//! Every kind of fault with the answer to it, and the tables of properties and codes spelled out a second time.

use super::*;
use Version::{V3, V5};

const SILENCE: Answer = Answer::Silence;
const MALFORMED: Answer = Answer::Code(ReasonCode::MalformedPacket);
const PROTOCOL: Answer = Answer::Code(ReasonCode::ProtocolError);
const ALIAS: Answer = Answer::Code(ReasonCode::TopicAliasInvalid);
/// A CONNECT of version 5 that is answered.
const CONNACK_81: Answer = Answer::ConnAck(V5, ReasonCode::MalformedPacket);
const CONNACK_82: Answer = Answer::ConnAck(V5, ReasonCode::ProtocolError);
const VERSION_V3: Answer = Answer::ConnAck(V3, ReasonCode::UnsupportedProtocolVersion);
const VERSION_V5: Answer = Answer::ConnAck(V5, ReasonCode::UnsupportedProtocolVersion);

/// First byte, body, answer. The remaining length is put between.
type Case = (u8, &'static str, Answer);

fn check(version: Option<Version>, cases: &[Case]) {
    for (first, body, answer) in cases {
        let bytes = packet(*first, &hex(body));
        match decode_client(version, &framed(&bytes)) {
            Err(error) => assert_eq!(error.answer, *answer, "{version:?} {first:02x} {body}: {error}"),
            Ok(taken) => panic!("{version:?} {first:02x} {body} is taken: {taken:?}"),
        }
    }
}

#[test]
fn remaining_lengths() {
    for (bytes, answer) in [
        ("10 ffffffff", SILENCE),
        ("10 ffffff80", SILENCE),
        ("10 80808080", SILENCE),
        ("10 ffffffff01", SILENCE),
        ("30 8000", MALFORMED),
        ("30 ff8000", MALFORMED),
        ("30 80808000", MALFORMED),
    ] {
        let bytes = hex(bytes);
        assert_eq!(frame(&bytes, 100).map_err(|error| error.answer), Err(answer), "{}", text(&bytes));
    }
}

#[test]
fn before_connect() {
    for version in [V3, V5] {
        check(Some(version), &[(0x10, "0004'MQTT' 04 02 0000 0000", PROTOCOL)]);
    }
    check(
        None,
        &[
            (0xc0, "", SILENCE),
            (0x30, "0001't'", SILENCE),
            (0xf0, "18 04 15 0001'm'", SILENCE),
            (0x20, "0000", SILENCE),
            (0x00, "00", SILENCE),
            // Flags of the fixed header.
            (0x11, "0004'MQTT' 04 02 0000 0000", SILENCE),
            (0x12, "0004'MQTT' 05 02 0000 00 0000", SILENCE),
            // Name, cut or another.
            (0x10, "", SILENCE),
            (0x10, "0006'MQ'", SILENCE),
            (0x10, "0006'AAAAAA' 03 00 000a 0004'test'", SILENCE),
            (0x10, "0004'mqtt' 04 02 0000 0000", SILENCE),
            (0x10, "0000 04 02 0000 0000", SILENCE),
            (0x10, "0004'MQTT'", SILENCE),
            (0x10, "0004'MQTT' 04", SILENCE),
            (0x10, "0006'MQIsdp'", SILENCE),
            // Level.
            (0x10, "0004'MQTT' 06 02 0000 00 0000", VERSION_V5),
            (0x10, "0004'MQTT' 00", VERSION_V5),
            (0x10, "0004'MQTT' 02 02 0000 0000", VERSION_V5),
            (0x10, "0004'MQTT' 85 02 0000 00 0000", VERSION_V5),
            (0x10, "0004'MQTT' ff", VERSION_V5),
            (0x10, "0004'MQTT' 03 02 001e 0000", VERSION_V3),
            (0x10, "0004'MQTT' 83 02 001e 0000", VERSION_V3),
            (0x10, "0006'MQIsdp' 04 02 001e 0000", VERSION_V3),
            (0x10, "0006'MQIsdp' 05 02 001e 0000", VERSION_V3),
            (0x10, "0006'MQIsdp' 84 00 001e 0004'test'", VERSION_V3),
            (0x10, "0006'MQIsdp' 01", VERSION_V3),
        ],
    );
}

#[test]
fn a_connect_that_is_too_large_is_answered_as_its_beginning_says() {
    let answer = |bytes: &[u8]| oversized_connect(bytes).map(|error| error.answer);
    let too_large = Answer::ConnAck(Version::V5, ReasonCode::PacketTooLarge);
    let unknown = |version| Answer::ConnAck(version, ReasonCode::UnsupportedProtocolVersion);
    let cases = [
        ("10 ffff03 0004'MQTT' 05", too_large),
        ("10 ffffff7f 0004'MQTT' 05 02", too_large),
        // Version 3 has no word for it.
        ("10 ffff03 0004'MQTT' 04", Answer::Silence),
        ("10 ffff03 0006'MQIsdp' 03", Answer::Silence),
        ("10 ffff03 0004'MQTT' 06", unknown(Version::V5)),
        ("10 ffff03 0006'MQIsdp' 04", unknown(Version::V3)),
        ("10 ffff03 0004'HTTP' 05", Answer::Silence),
        ("10 ffff03 ffff", Answer::Silence),
    ];
    for (text, expected) in cases {
        let bytes = hex(text);
        assert_eq!(answer(&bytes), Some(expected), "{text}");
        assert!((0..bytes.len() - 2).all(|len| answer(&bytes[..len]).is_none_or(|other| other == expected)));
    }
    let bytes = hex(cases[0].0);
    assert!((0..bytes.len()).all(|len| answer(&bytes[..len]).is_none()));
}

#[test]
fn connect_of_version_3() {
    check(
        None,
        &[
            // Flags.
            (0x10, "0004'MQTT' 04 03 001e 0000", SILENCE),
            (0x10, "0004'MQTT' 04 22 001e 0000", SILENCE),
            (0x10, "0004'MQTT' 04 0a 001e 0000", SILENCE),
            (0x10, "0004'MQTT' 04 12 001e 0000", SILENCE),
            (0x10, "0004'MQTT' 04 1e 001e 0000 0001't' 0000", SILENCE),
            (0x10, "0004'MQTT' 04 42 001e 0000 0001'p'", SILENCE),
            // Cut off: version 3 has no code for that.
            (0x10, "0006'MQIsdp' 03", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6 001e", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6 001e 0002 0000", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6 001e 0005'topic' 0002 0000", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6 001e 0005'topic' 0007'payload' 0002 0000", SILENCE),
            (0x10, "0006'MQIsdp' 03 f6 001e 0005'topic' 0007'payload' 0008'username' 0002 0000", SILENCE),
            // Text, a will's topic, bytes too many.
            (0x10, "0004'MQTT' 04 02 001e 0001 ff", SILENCE),
            (0x10, "0004'MQTT' 04 02 001e 0001 00", SILENCE),
            (0x10, "0004'MQTT' 04 06 001e 0000 0001'#' 0000", SILENCE),
            (0x10, "0004'MQTT' 04 06 001e 0000 0000 0000", SILENCE),
            (0x10, "0004'MQTT' 04 02 001e 0000 00", SILENCE),
        ],
    );
}

#[test]
fn connect_of_version_5() {
    check(
        None,
        &[
            // Flags.
            (0x10, "0004'MQTT' 05 03 001e 00 0000", SILENCE),
            (0x10, "0004'MQTT' 05 22 001e 00 0000", SILENCE),
            (0x10, "0004'MQTT' 05 0a 001e 00 0000", SILENCE),
            (0x10, "0004'MQTT' 05 1e 001e 00 0000 00 0001't' 0000", SILENCE),
            // User name and password.
            (0x10, "0004'MQTT' 05 82 001e 00 0000", SILENCE),
            (0x10, "0004'MQTT' 05 82 001e 00 0000 0002'u'", SILENCE),
            (0x10, "0004'MQTT' 05 82 001e 00 0000 0001 ff", SILENCE),
            (0x10, "0004'MQTT' 05 42 001e 00 0000", SILENCE),
            (0x10, "0004'MQTT' 05 42 001e 00 0000 0001", SILENCE),
            // Cut off, or bytes too many.
            (0x10, "0004'MQTT' 05 02", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 00", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 00", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 00 0001", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 01 0000", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 0000 00 0000 00", CONNACK_81),
            (0x10, "0004'MQTT' 05 06 001e 00 0000", CONNACK_81),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 00 0001't'", CONNACK_81),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 00 0001't' 0001", CONNACK_81),
            // Text.
            (0x10, "0004'MQTT' 05 02 001e 00 0001 ff", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 00 0001 00", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 00 0001 01", CONNACK_81),
            // A will's topic.
            (0x10, "0004'MQTT' 05 06 001e 00 0000 00 0000 0000", CONNACK_81),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 00 0001'+' 0000", CONNACK_81),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 00 0003'a/#' 0000", CONNACK_81),
            // Properties.
            (0x10, "0004'MQTT' 05 02 001e 05 16 0002 0102 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 03 210000 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 05 2700000000 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 02 1702 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 02 19ff 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 04 1701 1701 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 02 001e 06 210001 210002 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 04 0100 0100 0001't' 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 03 080000 0001't' 0000", CONNACK_82),
            (0x10, "0004'MQTT' 05 06 001e 00 0000 05 1100000001 0001't' 0000", CONNACK_81),
            (0x10, "0004'MQTT' 05 02 001e 05 1800000001 0000", CONNACK_81),
        ],
    );
}

#[test]
fn publish() {
    for (version, none) in [(V3, ""), (V5, "00")] {
        let body = |topic: &str, rest: &str| format!("{topic} {rest}");
        let cases = [
            (0x36, body("0001't' 0001", none), MALFORMED),
            (0x37, body("0001't' 0001", none), MALFORMED),
            (0x38, body("0001't'", none), MALFORMED),
            (0x39, body("0001't'", none), MALFORMED),
            (0x30, body("0001'+'", none), MALFORMED),
            (0x30, body("0001'#'", none), MALFORMED),
            (0x30, body("000a'abcdefghi#'", none), MALFORMED),
            (0x30, body("000b'abcdefghij+'", none), MALFORMED),
            (0x30, body("0000", none), PROTOCOL),
            (0x32, body("0001't' 0000", none), PROTOCOL),
            (0x34, body("0001't' 0000", none), PROTOCOL),
            (0x30, "".to_owned(), MALFORMED),
            (0x30, "00".to_owned(), MALFORMED),
            (0x30, "0002'a'".to_owned(), MALFORMED),
            (0x32, "0001't'".to_owned(), MALFORMED),
            (0x32, "0001't' 00".to_owned(), MALFORMED),
        ];
        for (first, body, answer) in cases {
            let bytes = packet(first, &hex(&body));
            let error = decode_client(Some(version), &framed(&bytes)).unwrap_err();
            assert_eq!(error.answer, answer, "{version:?} {first:02x} {body}");
        }
    }
    check(
        Some(V5),
        &[
            (0x30, "0001't'", MALFORMED),
            (0x30, "0001't' 01", MALFORMED),
            (0x30, "0001't' 8000", MALFORMED),
            (0x30, "0001't' ffffffff", MALFORMED),
            (0x30, "0001't' 03 230000", ALIAS),
            (0x30, "0000 03 230000", ALIAS),
            (0x30, "0000 02 0100", PROTOCOL),
            (0x30, "0001't' 02 0b01", PROTOCOL),
            (0x30, "0001't' 06 230001 230001", PROTOCOL),
            (0x30, "0001't' 02 0102", PROTOCOL),
            (0x30, "0001't' 03 080000", PROTOCOL),
            (0x30, "0001't' 04 08 0001'#'", PROTOCOL),
            (0x30, "0001't' 06 08 0003'a/+'", PROTOCOL),
            (0x30, "0001't' 04 08 0001 ff", MALFORMED),
            (0x30, "0001't' 05 1100000000", MALFORMED),
            (0x30, "0001't' 02 7e00", MALFORMED),
            (0x30, "0001't' 03 81 00 00", MALFORMED),
            (0x30, "0001't' 02 0000", MALFORMED),
            (0x30, "0001't' 04 02000000", MALFORMED),
        ],
    );
}

#[test]
fn acknowledgements() {
    for first in [0x40, 0x50, 0x62, 0x70] {
        for version in [V3, V5] {
            check(
                Some(version),
                &[
                    (first, "", MALFORMED),
                    (first, "00", MALFORMED),
                    (first, "0000", PROTOCOL),
                    (first | 1, "0001", MALFORMED),
                    (first ^ 2, "0001", MALFORMED),
                    (first | 8, "0001", MALFORMED),
                ],
            );
        }
        check(Some(V3), &[(first, "0001 00", MALFORMED), (first, "0001 00 00", MALFORMED)]);
        check(
            Some(V5),
            &[
                (first, "0001 01", PROTOCOL),
                (first, "0001 00 01", MALFORMED),
                (first, "0001 00 00 00", MALFORMED),
                (first, "0001 00 02 0100", MALFORMED),
                (first, "0001 00 08 1f 0001'a' 1f 0001'a'", PROTOCOL),
            ],
        );
    }
}

#[test]
fn subscribe() {
    for (version, none) in [(V3, ""), (V5, "00")] {
        for (first, after) in [(0x82, "00"), (0xa2, "")] {
            let cases = [
                (first, format!("0000 {none} 0001't' {after}"), MALFORMED),
                (first & 0xf0, format!("0001 {none} 0001't' {after}"), MALFORMED),
                (first | 1, format!("0001 {none} 0001't' {after}"), MALFORMED),
                (first | 8, format!("0001 {none} 0001't' {after}"), MALFORMED),
                (first, format!("0001 {none}"), PROTOCOL),
                (first, "".to_owned(), MALFORMED),
                (first, "00".to_owned(), MALFORMED),
                (first, format!("0001 {none} 00"), MALFORMED),
                (first, format!("0001 {none} 0002'a'"), MALFORMED),
                (first, format!("0001 {none} 0001't' {after} 00"), MALFORMED),
                (first, format!("0001 {none} 0001 ff {after}"), MALFORMED),
                (first, format!("0001 {none} 0001 00 {after}"), MALFORMED),
            ];
            for (first, body, answer) in cases {
                let bytes = packet(first, &hex(&body));
                let error = decode_client(Some(version), &framed(&bytes)).unwrap_err();
                assert_eq!(error.answer, answer, "{version:?} {first:02x} {body}");
            }
        }
    }
    check(
        Some(V3),
        &[
            (0x82, "0001 0001't'", MALFORMED),
            (0x82, "0001 0001't' 03", PROTOCOL),
            (0x82, "0001 0001't' 04", MALFORMED),
            (0x82, "0001 0001't' 08", MALFORMED),
            (0x82, "0001 0001't' 10", MALFORMED),
            (0x82, "0001 0001't' 80", MALFORMED),
        ],
    );
    check(
        Some(V5),
        &[
            (0x82, "0001", MALFORMED),
            (0x82, "0001 00 0001't'", MALFORMED),
            (0x82, "0001 00 0001't' 03", PROTOCOL),
            (0x82, "0001 00 0001't' 30", PROTOCOL),
            (0x82, "0001 00 0001't' 40", MALFORMED),
            (0x82, "0001 00 0001't' 80", MALFORMED),
            (0x82, "0001 00 000a'$share/g/f' 04", PROTOCOL),
            (0x82, "0001 02 0b00 0001't' 00", PROTOCOL),
            (0x82, "0001 04 0b01 0b02 0001't' 00", PROTOCOL),
            (0x82, "0001 03 0b8000 0001't' 00", MALFORMED),
            (0x82, "0001 06 0bffffffff01 0001't' 00", MALFORMED),
            (0xa2, "0001 02 0b01 0001't'", MALFORMED),
            (0xa2, "0001 04 1f 0001'a' 0001't'", MALFORMED),
        ],
    );
}

#[test]
fn the_rest() {
    for version in [V3, V5] {
        check(
            Some(version),
            &[
                (0x00, "", PROTOCOL),
                (0xc1, "", MALFORMED),
                (0xc0, "00", MALFORMED),
                (0xe1, "", MALFORMED),
                (0xe2, "", MALFORMED),
                (0x20, "0000", PROTOCOL),
                (0x90, "0001 00", PROTOCOL),
                (0xb0, "0001", PROTOCOL),
                (0xd0, "", PROTOCOL),
            ],
        );
    }
    check(Some(V3), &[(0xe0, "00", MALFORMED), (0xf0, "", PROTOCOL), (0xf0, "18 04 15 0001'm'", PROTOCOL)]);
    check(
        Some(V5),
        &[
            (0xe0, "05", PROTOCOL),
            (0xe0, "8e", PROTOCOL),
            (0xe0, "00 01", MALFORMED),
            (0xe0, "00 00 00", MALFORMED),
            (0xe0, "00 0a 1100000000 1100000000", PROTOCOL),
            (0xe0, "00 02 0100", MALFORMED),
            (0xf1, "18 04 15 0001'm'", MALFORMED),
            (0xf0, "", PROTOCOL),
            (0xf0, "18", PROTOCOL),
            (0xf0, "18 00", PROTOCOL),
            (0xf0, "17 04 15 0001'm'", PROTOCOL),
            // A client never says that its authentication is done.
            (0xf0, "00 04 15 0001'm'", PROTOCOL),
            (0xf0, "18 04 16 0001'd'", PROTOCOL),
            (0xf0, "18 08 15 0001'm' 15 0001'm'", PROTOCOL),
            (0xf0, "18 04 15 0001'm' 00", MALFORMED),
        ],
    );
}

#[test]
fn a_client_of_3_1_may_set_flags() {
    for (first, body) in [
        (0x6a, "0001"),
        (0x60, "0001"),
        (0x8a, "0001 0001't' 00"),
        (0xaa, "0001 0001't'"),
        (0x48, "0001"),
        (0xc1, ""),
    ] {
        let bytes = packet(first, &hex(body));
        let frame = framed(&bytes);
        assert!(decode_client(Some(V3), &frame).is_err(), "{first:02x}");
        assert!(decode_client(Some(V3), &frame.with_flags_of_v311()).is_ok(), "{first:02x}");
    }
    // Those of PUBLISH mean something, but DUP at QoS 0.
    let bytes = packet(0x39, &hex("0001't'"));
    let frame = framed(&bytes).with_flags_of_v311();
    let ClientPacket::Publish(publish) = decode_client(Some(V3), &frame).unwrap() else { panic!("PUBLISH") };
    assert!(publish.retain && !publish.dup);
    let bytes = packet(0x36, &hex("0001't' 0001"));
    assert!(decode_client(Some(V3), &framed(&bytes).with_flags_of_v311()).is_err());
}

#[test]
fn servers() {
    for (version, first, body, answer) in [
        (V3, 0x21, "0005", MALFORMED),
        (V3, 0x20, "0205", MALFORMED),
        (V3, 0x20, "00", MALFORMED),
        (V3, 0x20, "0000 00", MALFORMED),
        (V3, 0x20, "0006", PROTOCOL),
        (V3, 0x20, "0105", PROTOCOL),
        (V5, 0x20, "0000", MALFORMED),
        (V5, 0x20, "0001 00", PROTOCOL),
        (V5, 0x20, "0180 00", PROTOCOL),
        (V5, 0x20, "0000 02 1701", MALFORMED),
        (V5, 0x20, "0000 02 2402", PROTOCOL),
        (V5, 0x90, "", MALFORMED),
        (V5, 0x90, "0001 00", PROTOCOL),
        (V5, 0x90, "0001 00 11", PROTOCOL),
        (V3, 0x90, "0001 03", PROTOCOL),
        (V3, 0x90, "0001 87", PROTOCOL),
        (V3, 0x90, "0001", PROTOCOL),
        (V5, 0x90, "0006 00 0102 79", PROTOCOL),
        (V3, 0xb0, "01", MALFORMED),
        (V3, 0xb0, "0001 00", MALFORMED),
        (V5, 0xb0, "0008 00 84", PROTOCOL),
        (V5, 0xb0, "0008 00", PROTOCOL),
        (V3, 0xb1, "0008", MALFORMED),
        (V3, 0xd1, "", MALFORMED),
        (V3, 0xd0, "00", MALFORMED),
        (V3, 0xe0, "", PROTOCOL),
        (V5, 0xe0, "04", PROTOCOL),
        (V5, 0xe0, "00 05 1100000000", MALFORMED),
        (V5, 0xf0, "19 04 15 0001'm'", PROTOCOL),
        (V5, 0x10, "0004'MQTT' 05 02 0000 00 0000", PROTOCOL),
        (V5, 0x00, "", PROTOCOL),
        (V5, 0x30, "0001't' 02 0b00", PROTOCOL),
    ] {
        let bytes = packet(first, &hex(body));
        let error = decode_server(version, &framed(&bytes)).unwrap_err();
        assert_eq!(error.answer, answer, "{version:?} {first:02x} {body}");
    }
}

/// The places of every property, written down from the specification, with a value that is right.
const PROPERTIES: &[(u8, &str, &str)] = &[
    (0x01, "00", "publish will"),
    (0x02, "00000000", "publish will"),
    (0x03, "0000", "publish will"),
    (0x08, "0001'r'", "publish will"),
    (0x09, "0000", "publish will"),
    (0x0b, "01", "subscribe server-publish"),
    (0x11, "00000000", "connect connack client-disconnect"),
    (0x12, "0001'i'", "connack"),
    (0x13, "0000", "connack"),
    (0x15, "0001'm'", "connect connack auth"),
    (0x17, "01", "connect"),
    (0x18, "00000000", "will"),
    (0x19, "01", "connect"),
    (0x1a, "0000", "connack"),
    (0x1c, "0000", "connack client-disconnect server-disconnect"),
    (0x1f, "0000", "connack ack auth client-disconnect server-disconnect"),
    (0x21, "0001", "connect connack"),
    (0x22, "0000", "connect connack"),
    (0x23, "0001", "publish"),
    (0x24, "00", "connack"),
    (0x25, "00", "connack"),
    (
        0x26,
        "0000 0000",
        "connect connack publish will ack subscribe unsubscribe auth client-disconnect server-disconnect",
    ),
    (0x27, "00000001", "connect connack"),
    (0x28, "00", "connack"),
    (0x29, "00", "connack"),
    (0x2a, "00", "connack"),
];

/// Places of properties with a packet around them: who sends it, first byte, what stands before and behind.
const PLACES: &[(&str, Role, u8, &str, &str)] = &[
    ("connect", Role::Client, 0x10, "0004'MQTT' 05 02 0000", "0000"),
    ("will", Role::Client, 0x10, "0004'MQTT' 05 06 0000 00 0000", "0001't' 0000"),
    ("publish", Role::Client, 0x30, "0001't'", ""),
    ("publish", Role::Server, 0x30, "0001't'", ""),
    ("server-publish", Role::Server, 0x30, "0001't'", ""),
    ("ack", Role::Client, 0x40, "0001 00", ""),
    ("ack", Role::Client, 0x50, "0001 00", ""),
    ("ack", Role::Client, 0x62, "0001 00", ""),
    ("ack", Role::Client, 0x70, "0001 00", ""),
    ("ack", Role::Server, 0x40, "0001 00", ""),
    ("subscribe", Role::Client, 0x82, "0001", "0001't' 00"),
    ("unsubscribe", Role::Client, 0xa2, "0001", "0001't'"),
    ("ack", Role::Server, 0x90, "0001", "00"),
    ("ack", Role::Server, 0xb0, "0001", "00"),
    ("connack", Role::Server, 0x20, "0000", ""),
    ("client-disconnect", Role::Client, 0xe0, "00", ""),
    ("server-disconnect", Role::Server, 0xe0, "00", ""),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

fn decoded_properties(role: Role, first: u8, before: &str, raw: &[u8], behind: &str) -> Result<(), Error> {
    let mut body = hex(before);
    encode::put_varint(raw.len(), &mut body);
    body.extend_from_slice(raw);
    body.extend(hex(behind));
    let bytes = packet(first, &body);
    match role {
        Role::Client => decode_client(after(V5, first), &framed(&bytes)).map(drop),
        Role::Server => decode_server(V5, &framed(&bytes)).map(drop),
    }
}

#[test]
fn every_property_stands_where_it_belongs_and_nowhere_else() {
    for id in 0..=u8::MAX {
        let row = PROPERTIES.iter().find(|row| row.0 == id);
        // 0x16 needs 0x15 beside it and has its own test.
        if id == 0x16 {
            continue;
        }
        assert_eq!(Property::from_id(id).is_some(), row.is_some(), "{id:02x}");
        for (place, role, first, before, behind) in PLACES {
            let value = row.map_or_else(|| vec![0; 4], |row| hex(row.1));
            let raw = [&[id][..], &value].concat();
            let result = decoded_properties(*role, *first, before, &raw, behind);
            let fits = |name: &&str| {
                name == place
                    || (*name == "publish" && *place == "server-publish")
                    || (*name == "server-publish" && *place == "publish" && *role == Role::Server)
            };
            let belongs = row.is_some_and(|row| row.2.split(' ').any(|name| fits(&name)));
            let expected = match (id, role, *place) {
                _ if belongs => None,
                (0x0b, Role::Client, "publish") => Some(ReasonCode::ProtocolError),
                _ => Some(ReasonCode::MalformedPacket),
            };
            assert_eq!(result.err().and_then(|error| error.code()), expected, "{id:02x} in {place}");
            if belongs {
                // A second time, and every cut.
                let twice = [&raw[..], &raw].concat();
                let repeats = id == 0x26 || (id == 0x0b && *role == Role::Server);
                let result = decoded_properties(*role, *first, before, &twice, behind);
                let expected = (!repeats).then_some(ReasonCode::ProtocolError);
                assert_eq!(
                    result.err().and_then(|error| error.code()),
                    expected,
                    "{id:02x} twice in {place}"
                );
                for cut in 1..raw.len() {
                    let result = decoded_properties(*role, *first, before, &raw[..cut], behind);
                    let code = result.err().and_then(|error| error.code());
                    assert_eq!(code, Some(ReasonCode::MalformedPacket), "{id:02x} cut in {place}");
                }
            }
        }
    }
}

#[test]
fn authentication_data_needs_a_method() {
    for (raw, expected) in [
        ("16 0000", Some(ReasonCode::ProtocolError)),
        ("15 0001'm' 16 0000", None),
        ("16 0000 15 0001'm'", None),
        ("16 0000 15 0001'm' 16 0000", Some(ReasonCode::ProtocolError)),
    ] {
        for (role, first, before, behind) in [
            (Role::Client, 0x10, "0004'MQTT' 05 02 0000", "0000"),
            (Role::Server, 0x20, "0000", ""),
            (Role::Client, 0xf0, "18", ""),
            (Role::Server, 0xf0, "18", ""),
        ] {
            let result = decoded_properties(role, first, before, &hex(raw), behind);
            assert_eq!(result.err().and_then(|error| error.code()), expected, "{raw} in {first:02x}");
        }
    }
    let result = decoded_properties(Role::Client, 0x30, "0001't'", &hex("16 0000"), "");
    assert_eq!(result.err().and_then(|error| error.code()), Some(ReasonCode::MalformedPacket));
}

/// The codes each packet may carry, written down from the specification.
#[test]
fn every_code_stands_where_it_belongs_and_nowhere_else() {
    let connack = "00 8081828384858687 88898a 8c 90 95 97 999a9b9c9d 9f";
    let puback = "00 10 80 83 87 90 91 97 99";
    let suback = "00 01 02 80 83 87 8f 91 97 9e a1 a2";
    let unsuback = "00 11 80 83 87 8f 91";
    let client_disconnect = "00 04 80818283 90 93949596979899";
    let server_disconnect = "00 80818283 87 89 8b 8d 8e 8f 90 93949596979899 9a9b9c9d9e9f a0a1a2";
    let cases = [
        (Role::Server, 0x20, "00", "00", connack),
        (Role::Client, 0x40, "0001", "", puback),
        (Role::Client, 0x50, "0001", "", puback),
        (Role::Client, 0x62, "0001", "", "00 92"),
        (Role::Client, 0x70, "0001", "", "00 92"),
        (Role::Server, 0x40, "0001", "", puback),
        (Role::Server, 0x90, "0001 00", "", suback),
        (Role::Server, 0xb0, "0001 00", "", unsuback),
        (Role::Client, 0xe0, "", "", client_disconnect),
        (Role::Server, 0xe0, "", "", server_disconnect),
        (Role::Client, 0xf0, "", "04 15 0001'm'", "18 19"),
        (Role::Server, 0xf0, "", "04 15 0001'm'", "00 18"),
    ];
    for (role, first, before, behind, codes) in cases {
        let codes = hex(codes);
        for code in 0..=u8::MAX {
            let body = [&hex(before)[..], &[code], &hex(behind)].concat();
            let bytes = packet(first, &body);
            let error = match role {
                Role::Client => decode_client(Some(V5), &framed(&bytes)).err(),
                Role::Server => decode_server(V5, &framed(&bytes)).err(),
            };
            let expected = (!codes.contains(&code)).then_some(ReasonCode::ProtocolError);
            assert_eq!(
                error.and_then(|error| error.code()),
                expected,
                "{code:02x} in {first:02x} of {role:?}"
            );
        }
    }
    for code in ReasonCode::ALL {
        assert_eq!(ReasonCode::from_byte(code.byte()), Some(*code));
        assert!(!code.name().is_empty());
    }
    assert_eq!(ReasonCode::ALL.len(), (0..=u8::MAX).filter_map(ReasonCode::from_byte).count());
}

const WELL_FORMED: &[&str] = &[
    "a",
    "/",
    "//",
    "+",
    "#",
    "/#",
    "+/+",
    "a/+/b/#",
    "+/a",
    "/+",
    "a b",
    " ",
    "$",
    "$SYS/#",
    "$share/g/f",
    "$share/g/#",
    "$share/g/+",
    "$share/g//",
    "$share/g//f",
    "$share/g/$SYS/a",
    "$share/g/$share/h",
    "$shared",
    "$shared/+/a",
    "$SHARE/x",
    "share//",
    "a/$share",
    "\u{feff}x",
    "\u{e9}/\u{1f980}",
];

const ILL_FORMED: &[&str] = &[
    "",
    "a+",
    "+a",
    "a/+b",
    "a/b+/c",
    "a#",
    "#/a",
    "a/#/b",
    "##",
    "++",
    "#+",
    "+#",
    "a/b#",
    "/#/",
    "$share",
    "$share/",
    "$share/g",
    "$share/g/",
    "$share//f",
    "$share/+/f",
    "$share/#/f",
    "$share/g+/f",
    "$share/g#/f",
    "$share/g/a+",
    "$share/g/#/a",
    "$share//",
    "abcdefghijk+",
    "abcdefghi/jk#",
];

#[test]
fn filters() {
    let subscribed = |filter: &[u8], options: u8| {
        let mut body = hex("0001 00");
        encode::put_field(filter, &mut body);
        body.push(options);
        let bytes = packet(0x82, &body);
        decode_client(Some(V5), &framed(&bytes)).err().and_then(|error| error.code())
    };
    for filter in WELL_FORMED {
        assert_eq!(subscribed(filter.as_bytes(), 0), None, "{filter}");
    }
    for filter in ILL_FORMED {
        assert_eq!(subscribed(filter.as_bytes(), 0), Some(ReasonCode::MalformedPacket), "{filter}");
    }
    assert_eq!(subscribed(b"$share/g/f", 4), Some(ReasonCode::ProtocolError));
    assert_eq!(subscribed(b"$shared/g/f", 4), None);
    let longest = vec![b'a'; 65_535];
    assert_eq!(subscribed(&longest, 0), None);

    assert_eq!(parse_share("$share/g/a/+"), Some(("g", "a/+")));
    assert_eq!(parse_share("$share/g//"), Some(("g", "/")));
    assert_eq!(parse_share("$shared/g/a"), None);
    assert_eq!(parse_share("a/b"), None);
}

#[test]
fn characters() {
    let published = |topic: &[u8]| {
        let mut body = Vec::new();
        encode::put_field(topic, &mut body);
        let bytes = packet(0x30, &body);
        decode_client(Some(V3), &framed(&bytes)).err().and_then(|error| error.code())
    };
    // At every place of the words that are looked at together.
    for before in 0..18 {
        let at = |bytes: &[u8]| [&vec![b'a'; before][..], bytes, b"bcd"].concat();
        for character in char::from(0)..=char::from_u32(0x200).unwrap() {
            let code = character as u32;
            let mut utf8 = [0; 4];
            let topic = at(character.encode_utf8(&mut utf8).as_bytes());
            let refused = code < 0x20 || (0x7f..=0x9f).contains(&code) || "+#".contains(character);
            let expected = refused.then_some(ReasonCode::MalformedPacket);
            assert_eq!(published(&topic), expected, "U+{code:04x} at {before}");
        }
        for ill_formed in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc3", b"\x80"]
        {
            assert_eq!(published(&at(ill_formed)), Some(ReasonCode::MalformedPacket), "{ill_formed:?}");
        }
    }
    for (code, refused) in [
        (0xfdcf, false),
        (0xfdd0, true),
        (0xfdef, true),
        (0xfdf0, false),
        (0xfeff, false),
        (0xfffd, false),
        (0xfffe, true),
        (0xffff, true),
        (0x1_fffe, true),
        (0x10_ffff, true),
        (0x10_fffd, false),
    ] {
        let topic = char::from_u32(code).unwrap().to_string();
        let expected = refused.then_some(ReasonCode::MalformedPacket);
        assert_eq!(published(topic.as_bytes()), expected, "U+{code:04x}");
    }
}
