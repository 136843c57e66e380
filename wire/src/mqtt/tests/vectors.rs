//! Packets that are taken, and what they mean. Where the bytes are the shortest form, encoding gives them back.
//!
//! Many of the situations are those of the vectors of mqtt-packet 9.

use super::*;
use Version::{V3, V5};

/// What encoding the packet again gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The same bytes.
    Same,
    /// A shorter form of the same packet.
    Shorter,
}
use Again::{Same, Shorter};

const CLIENT: &[(Version, Again, &str, &str)] = &[
    // CONNECT of version 3.
    (V3, Same, "1010 0004'MQTT' 04 02 0000 0004'test'", "connect V311 clean keep 0 id 'test'"),
    (V3, Same, "1012 0006'MQIsdp' 03 00 001e 0004'test'", "connect V31 keep 30 id 'test'"),
    (V3, Same, "1012 0006'MQIsdp' 83 00 001e 0004'test'", "connect V31 bridge keep 30 id 'test'"),
    (V3, Same, "1010 0004'MQTT' 84 00 001e 0004'test'", "connect V311 bridge keep 30 id 'test'"),
    (V3, Same, "100c 0004'MQTT' 04 02 001e 0000", "connect V311 clean keep 30 id ''"),
    (V3, Same, "100c 0004'MQTT' 04 00 ffff 0000", "connect V311 keep 65535 id ''"),
    (
        V3,
        Same,
        "1017 0004'MQTT' 04 02 001e 000b c5a6 c497 c59b 74 f09f9c84",
        "connect V311 clean keep 30 id '\u{166}\u{117}\u{15b}t\u{1f704}'",
    ),
    (
        V3,
        Same,
        "1036 0006'MQIsdp' 03 f6 001e 0004'test' 0005'topic' 0007'payload' 0008'username' 0008'password'",
        "connect V31 clean keep 30 id 'test' user 'username' password 'password'; \
         will 'topic' 'payload' qos 2 retain",
    ),
    (
        V3,
        Same,
        "102f 0006'MQIsdp' 03 f6 001e 0004'test' 0005'topic' 0000 0008'username' 0008'password'",
        "connect V31 clean keep 30 id 'test' user 'username' password 'password'; will 'topic' '' qos 2 retain",
    ),
    (V3, Same, "1014 0006'MQIsdp' 03 82 001e 0004'test' 0000", "connect V31 clean keep 30 id 'test' user ''"),
    (
        V3,
        Same,
        "1016 0006'MQIsdp' 03 c2 001e 0004'test' 0000 0000",
        "connect V31 clean keep 30 id 'test' user '' password ''",
    ),
    (
        V3,
        Same,
        "1012 0004'MQTT' 04 04 0000 0000 0001't' 0001'w'",
        "connect V311 keep 0 id ''; will 't' 'w' qos 0",
    ),
    // A client id as clients choose them, and a byte order mark, which is text as any other.
    (V3, Same, "1013 0004'MQTT' 04 00 0000 0007'a /+#.>'", "connect V311 keep 0 id 'a /+#.>'"),
    (V3, Same, "1010 0004'MQTT' 04 00 0000 0004 efbbbf 61", "connect V311 keep 0 id '\u{feff}a'"),
    // CONNECT of version 5.
    (V5, Same, "100d 0004'MQTT' 05 02 003c 00 0000", "connect V5 clean keep 60 id ''"),
    (V5, Same, "1010 0004'MQTT' 05 02 003c 03 210014 0000", "connect V5 clean keep 60 id '' 21=20"),
    (
        V5,
        Same,
        "1012 0004'MQTT' 05 40 0000 00 0000 0003 00 ff 80",
        "connect V5 keep 0 id '' password '\\x00\\xff\\x80'",
    ),
    (
        V5,
        Same,
        "107d 0004'MQTT' 05 36 001e \
         2f 11000004d2 2101b0 2700000064 2201c8 1901 1701 26 0004'test' 0004'test' \
         15 0004'test' 16 0004 01020304 \
         0004'test' \
         2f 18000004d2 0100 02000010e1 03 0004'test' 08 0005'topic' 09 0004 01020304 26 0004'test' 0004'test' \
         0005'topic' 0004 04030201",
        "connect V5 clean keep 30 id 'test' 11=1234 21=432 27=100 22=456 19=1 17=1 26=test:test 15=test \
         16=\\x01\\x02\\x03\\x04; will 'topic' '\\x04\\x03\\x02\\x01' qos 2 retain 18=1234 01=0 02=4321 03=test \
         08=topic 09=\\x01\\x02\\x03\\x04 26=test:test",
    ),
    (
        V5,
        Same,
        "1019 0004'MQTT' 05 04 0000 00 0001'c' 00 0001't' 0005 01 02 00 fe ff",
        "connect V5 keep 0 id 'c'; will 't' '\\x01\\x02\\x00\\xfe\\xff' qos 0",
    ),
    // PUBLISH.
    (V3, Same, "300a 0004'test' 'test'", "publish 'test' qos 0: 'test'"),
    (V3, Same, "3006 0004'test'", "publish 'test' qos 0: ''"),
    (V3, Same, "3d0c 0004'test' 000a 'test'", "publish 'test' qos 2 dup retain id 10: 'test'"),
    (V3, Same, "3207 0001'/' ffff 00ff", "publish '/' qos 1 id 65535: '\\x00\\xff'"),
    (V3, Same, "300b 0009'$a//b/ .>'", "publish '$a//b/ .>' qos 0: ''"),
    (V5, Same, "3009 0003'a/b' 00 'abc'", "publish 'a/b' qos 0: 'abc'"),
    (V5, Same, "3107 0000 03 230001 'x'", "publish '' qos 0 retain 23=1: 'x'"),
    (V5, Same, "3108 0001't' 03 23ffff 'x'", "publish 't' qos 0 retain 23=65535: 'x'"),
    (V5, Same, "300a 0001't' 05 0200000000 'x'", "publish 't' qos 0 02=0: 'x'"),
    (
        V5,
        Same,
        "3438 0001't' 000a 32 0101 02000010e1 230064 08 0005'topic' 09 0004 01020304 26 0004'test' 0004'test' \
         26 0004'test' 0003'two'",
        "publish 't' qos 2 id 10 01=1 02=4321 23=100 08=topic 09=\\x01\\x02\\x03\\x04 26=test:test 26=test:two: ''",
    ),
    (
        V5,
        Same,
        "3014 0001't' 10 03 0000 09 0000 26 0000 0000 26 0000 0000",
        "publish 't' qos 0 03= 09= 26=: 26=:: ''",
    ),
    // Acknowledgements.
    (V3, Same, "4002 0002", "puback id 2 00"),
    (V3, Same, "5002 0002", "pubrec id 2 00"),
    (V3, Same, "6202 0002", "pubrel id 2 00"),
    (V3, Same, "7002 0002", "pubcomp id 2 00"),
    (V5, Same, "4002 002a", "puback id 42 00"),
    (V5, Shorter, "4003 002a 00", "puback id 42 00"),
    (V5, Shorter, "4004 002a 00 00", "puback id 42 00"),
    (V5, Same, "4003 0002 10", "puback id 2 10"),
    (V5, Shorter, "4004 0002 10 00", "puback id 2 10"),
    (
        V5,
        Same,
        "4018 0002 10 14 1f 0004'test' 26 0004'test' 0004'test'",
        "puback id 2 10 1f=test 26=test:test",
    ),
    (
        V5,
        Same,
        "5018 0002 10 14 1f 0004'test' 26 0004'test' 0004'test'",
        "pubrec id 2 10 1f=test 26=test:test",
    ),
    (
        V5,
        Same,
        "6218 0002 92 14 1f 0004'test' 26 0004'test' 0004'test'",
        "pubrel id 2 92 1f=test 26=test:test",
    ),
    (
        V5,
        Same,
        "7018 0002 92 14 1f 0004'test' 26 0004'test' 0004'test'",
        "pubcomp id 2 92 1f=test 26=test:test",
    ),
    (V5, Same, "4009 0001 00 05 26 0000 0000", "puback id 1 00 26=:"),
    // SUBSCRIBE and UNSUBSCRIBE.
    (V3, Same, "8209 0006 0004'test' 00", "subscribe id 6: 'test' 0"),
    (
        V3,
        Same,
        "8217 0006 0004'test' 00 0004'uest' 01 0004'tfst' 02",
        "subscribe id 6: 'test' 0 'uest' 1 'tfst' 2",
    ),
    (
        V5,
        Same,
        "821a 0006 10 0b9101 26 0004'test' 0004'test' 0004'test' 18",
        "subscribe id 6 0b=145 26=test:test: 'test' 0 rap rh1",
    ),
    (
        V5,
        Same,
        "8228 0006 10 0b9101 26 0004'test' 0004'test' 0004'test' 18 0004'uest' 01 0004'tfst' 06",
        "subscribe id 6 0b=145 26=test:test: 'test' 0 rap rh1 'uest' 1 'tfst' 2 nl",
    ),
    (V5, Same, "8207 0001 00 0001'#' 2e", "subscribe id 1: '#' 2 nl rap rh2"),
    (V5, Same, "820c 0001 05 0bffffff7f 0001'+' 00", "subscribe id 1 0b=268435455: '+' 0"),
    (V5, Same, "8214 0001 00 000e'$share/g/f/+/#' 0a", "subscribe id 1: '$share/g/f/+/#' 2 rap"),
    (V3, Same, "a20e 0007 0004'tfst' 0004'test'", "unsubscribe id 7: 'tfst' 'test'"),
    (
        V5,
        Same,
        "a21c 0007 0d 26 0004'test' 0004'test' 0004'tfst' 0004'test'",
        "unsubscribe id 7 26=test:test: 'tfst' 'test'",
    ),
    // The rest.
    (V3, Same, "c000", "pingreq"),
    (V5, Same, "c000", "pingreq"),
    (V3, Same, "e000", "disconnect 00"),
    (V5, Same, "e000", "disconnect 00"),
    (V5, Shorter, "e001 00", "disconnect 00"),
    (V5, Shorter, "e002 00 00", "disconnect 00"),
    (V5, Same, "e001 04", "disconnect 04"),
    (V5, Same, "e007 00 05 11 00000000", "disconnect 00 11=0"),
    (
        V5,
        Same,
        "e022 00 20 11 00000091 1f 0004'test' 26 0004'test' 0004'test' 1c 0004'test'",
        "disconnect 00 11=145 1f=test 26=test:test 1c=test",
    ),
    (V5, Same, "f006 18 04 15 0001'm'", "auth 18 15=m"),
    (
        V5,
        Same,
        "f024 19 22 15 0004'test' 16 0004 00010203 1f 0004'test' 26 0004'test' 0004'test'",
        "auth 19 15=test 16=\\x00\\x01\\x02\\x03 1f=test 26=test:test",
    ),
];

const SERVER: &[(Version, Again, &str, &str)] = &[
    (V3, Same, "2002 00 00", "connack 00"),
    (V3, Same, "2002 01 00", "connack 00 present"),
    (V3, Same, "2002 00 01", "connack 84"),
    (V3, Same, "2002 00 02", "connack 85"),
    (V3, Same, "2002 00 03", "connack 88"),
    (V3, Same, "2002 00 04", "connack 86"),
    (V3, Same, "2002 00 05", "connack 87"),
    (V5, Same, "2003 00 8c 00", "connack 8c"),
    (V5, Same, "2003 01 00 00", "connack 00 present"),
    (
        V5,
        Same,
        "2057 00 00 54 11000004d2 2101b0 2401 2501 2700000064 12 0004'test' 2201c8 1f 0004'test' \
         26 0004'test' 0004'test' 2801 2901 2a00 1304d2 1a 0004'test' 1c 0004'test' 15 0004'test' 16 0004 01020304",
        "connack 00 11=1234 21=432 24=1 25=1 27=100 12=test 22=456 1f=test 26=test:test 28=1 29=1 2a=0 13=1234 \
         1a=test 1c=test 15=test 16=\\x01\\x02\\x03\\x04",
    ),
    (V5, Same, "200d 00 00 0a 26 0000 0000 26 0000 0000", "connack 00 26=: 26=:"),
    (
        V5,
        Same,
        "3d19 0004'test' 000a 0c 0100 0b01 0b8001 0bffffff7f 'test'",
        "publish 'test' qos 2 dup retain id 10 01=0 0b=1 0b=128 0b=268435455: 'test'",
    ),
    (V5, Same, "300b 0001't' 06 0b05 0b05 0b78 'x'", "publish 't' qos 0 0b=5 0b=5 0b=120: 'x'"),
    (V3, Same, "4002 0002", "puback id 2 00"),
    (V5, Same, "5003 0002 97", "pubrec id 2 97"),
    (V5, Same, "6202 0002", "pubrel id 2 00"),
    (V5, Same, "7002 0002", "pubcomp id 2 00"),
    (V3, Same, "9005 0006 00 01 02", "suback id 6: 00 01 02"),
    (V3, Same, "9003 0006 80", "suback id 6: 80"),
    (V5, Same, "9007 0006 00 00 01 02 80", "suback id 6: 00 01 02 80"),
    (
        V5,
        Same,
        "901b 0006 14 1f 0004'test' 26 0004'test' 0004'test' 00 01 02 80",
        "suback id 6 1f=test 26=test:test: 00 01 02 80",
    ),
    (V5, Same, "900a 0006 00 83 87 8f 91 97 9e a2", "suback id 6: 83 87 8f 91 97 9e a2"),
    (V3, Same, "b002 0008", "unsuback id 8:"),
    (
        V5,
        Same,
        "b019 0008 14 1f 0004'test' 26 0004'test' 0004'test' 00 80",
        "unsuback id 8 1f=test 26=test:test: 00 80",
    ),
    (V5, Same, "b005 0008 00 11 87", "unsuback id 8: 11 87"),
    (V3, Same, "d000", "pingresp"),
    (V5, Same, "d000", "pingresp"),
    (V5, Same, "e001 8e", "disconnect 8e"),
    (V5, Same, "e000", "disconnect 00"),
    (V5, Same, "e00c 9c 0a 1c 0007'[::1]:1'", "disconnect 9c 1c=[::1]:1"),
    (
        V5,
        Same,
        "f014 00 12 15 0001'm' 16 0002 0001 1f 0001'r' 26 0000 0000",
        "auth 00 15=m 16=\\x00\\x01 1f=r 26=:",
    ),
];

#[test]
fn packets_of_clients_are_taken() {
    for (version, again, bytes, meaning) in CLIENT {
        let bytes = hex(bytes);
        let decoded = decode_client(after(*version, bytes[0]), &framed(&bytes));
        let decoded = decoded.unwrap_or_else(|error| panic!("{meaning}: {error}"));
        assert_eq!(described_client(&decoded), *meaning);
        let mut out = Vec::new();
        Encoder::new(*version).client_packet(&decoded, &mut out).unwrap();
        check_again(*again, &out, &bytes, meaning);
        let decoded_again = decode_client(after(*version, out[0]), &framed(&out));
        assert_eq!(decoded_again, Ok(decoded), "{meaning}");
    }
}

#[test]
fn packets_of_servers_are_taken() {
    for (version, again, bytes, meaning) in SERVER {
        let bytes = hex(bytes);
        let decoded = decode_server(*version, &framed(&bytes));
        let decoded = decoded.unwrap_or_else(|error| panic!("{meaning}: {error}"));
        assert_eq!(described_server(&decoded), *meaning);
        let mut out = Vec::new();
        Encoder::new(*version).server_packet(&decoded, &mut out).unwrap();
        check_again(*again, &out, &bytes, meaning);
        assert_eq!(decode_server(*version, &framed(&out)), Ok(decoded), "{meaning}");
    }
}

fn check_again(again: Again, out: &[u8], bytes: &[u8], meaning: &str) {
    match again {
        Same => assert_eq!(out.escape_ascii().to_string(), bytes.escape_ascii().to_string(), "{meaning}"),
        Shorter => assert!(out.len() < bytes.len(), "{meaning}"),
    }
}

#[test]
fn what_a_client_sends_is_taken_only_from_a_client() {
    for (version, _, bytes, meaning) in CLIENT {
        let bytes = hex(bytes);
        if matches!(bytes[0] >> 4, 1 | 8 | 10 | 12) {
            let error = decode_server(*version, &framed(&bytes)).unwrap_err();
            assert_eq!(error.code(), Some(ReasonCode::ProtocolError), "{meaning}");
        }
    }
    for (version, _, bytes, meaning) in SERVER {
        let bytes = hex(bytes);
        if matches!(bytes[0] >> 4, 2 | 9 | 11 | 13) {
            let error = decode_client(Some(*version), &framed(&bytes)).unwrap_err();
            assert_eq!(error.answer, Answer::Code(ReasonCode::ProtocolError), "{meaning}");
        }
    }
}

#[test]
fn an_empty_id_is_given_where_the_version_allows() {
    for (bytes, expected) in [
        ("100d 0004'MQTT' 05 00 003c 00 0000", true),
        ("100c 0004'MQTT' 04 02 001e 0000", true),
        ("100c 0004'MQTT' 04 00 001e 0000", false),
        ("100e 0006'MQIsdp' 03 02 001e 0000", false),
    ] {
        let bytes = hex(bytes);
        let ClientPacket::Connect(connect) = decode_client(None, &framed(&bytes)).unwrap() else {
            panic!("CONNECT")
        };
        assert_eq!(connect.may_be_given_an_id(), expected);
    }
}

#[test]
fn the_largest_remaining_length_is_counted() {
    let mut header = vec![0x30];
    encode::put_varint(VARINT_MAX as usize, &mut header);
    assert_eq!(header, hex("30 ffffff7f"));
    assert_eq!(frame(&header, u32::MAX), Ok(None));
    assert_eq!(
        frame(&header, VARINT_MAX + 4).map_err(|error| error.code()),
        Err(Some(ReasonCode::PacketTooLarge))
    );
    assert_eq!(frame(&header, VARINT_MAX + 5), Ok(None));
}

#[test]
fn a_size_is_judged_from_the_header_alone() {
    let announced = hex("3080 8001");
    assert_eq!(frame(&announced, 16_388), Ok(None));
    let error = frame(&announced, 16_387).unwrap_err();
    assert_eq!(error.answer, Answer::Code(ReasonCode::PacketTooLarge));
    // Not before the length is whole.
    assert_eq!(frame(&announced[..3], 2), Ok(None));
    assert_eq!(frame(&[], 0), Ok(None));
    assert_eq!(frame(&hex("c000"), 2).unwrap().unwrap().packet_bytes, 2);
}

/// The bytes of every packet of a client of this version.
pub(super) fn of_clients(version: Version) -> impl Iterator<Item = Vec<u8>> {
    CLIENT.iter().filter(move |row| row.0 == version).map(|row| hex(row.2))
}
