//! Packets that break a rule: the code that is told, how the version tells it, and that the connection ends.

use super::rig::{Opening, Site, subscribe};
use wire::mqtt::Version;

/// A packet of this first byte.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

/// PUBLISH of version 5 at QoS 0 to `a` with these properties.
fn publish(properties: &[u8]) -> Vec<u8> {
    packet(0x30, &[&[0, 1, b'a', properties.len() as u8], properties, b"x"].concat())
}

/// SUBSCRIBE of version 5 to one filter.
fn subscribe_raw(properties: &[u8], filter: &[u8], options: u8) -> Vec<u8> {
    packet(
        0x82,
        &[&[0, 1, properties.len() as u8], properties, &[0, filter.len() as u8], filter, &[options]].concat(),
    )
}

/// CONNECT of version 5 with these flags and properties; the payload is an id and what follows.
fn connect(flags: u8, properties: &[u8], rest: &[u8]) -> Vec<u8> {
    packet(
        0x10,
        &[
            &[0, 4, b'M', b'Q', b'T', b'T', 5, flags, 0, 0, properties.len() as u8],
            properties,
            &[0, 1, b's'],
            rest,
        ]
        .concat(),
    )
}

/// A name, the bytes, and the code.
type Case = (&'static str, Vec<u8>, u8);

/// Faults of fields and properties.
fn bad_fields() -> Vec<Case> {
    vec![
        ("unknown property", publish(&[0x7f, 0]), 0x81),
        ("unknown property in two bytes", publish(&[0x81, 0x01, 0]), 0x81),
        ("property of another packet", publish(&[0x21, 0, 1]), 0x81),
        ("property length past the packet", packet(0x30, &[0, 1, b'a', 9, 1, 1]), 0x81),
        ("property cut off", publish(&[2, 0, 0]), 0x81),
        ("field cut off", packet(0x30, &[0, 9, b'a']), 0x81),
        ("trailing bytes", packet(0xc0, &[0]), 0x81),
        ("trailing bytes of an ack", packet(0x40, &[0, 1, 0, 0, 0]), 0x81),
        ("remaining length not minimal", vec![0xc0, 0x80, 0x00], 0x81),
        ("property length not minimal", packet(0x30, &[0, 1, b'a', 0x80, 0, b'x']), 0x81),
        ("ill-formed topic", packet(0x30, &[0, 1, 0xff, 0]), 0x81),
        ("surrogate", packet(0x30, &[0, 3, 0xed, 0xa0, 0x80, 0]), 0x81),
        ("U+0000", packet(0x30, &[0, 1, 0, 0]), 0x81),
        ("control character", packet(0x30, &[0, 1, 7, 0]), 0x81),
        ("property twice", publish(&[1, 1, 1, 1]), 0x82),
        ("property neither 0 nor 1", publish(&[1, 2]), 0x82),
        ("subscription id 0", subscribe_raw(&[0x0b, 0], b"a", 0), 0x82),
        ("subscription id of five bytes", subscribe_raw(&[0x0b, 0x80, 0x80, 0x80, 0x80, 1], b"a", 0), 0x81),
        ("expiry raised from nothing", packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]), 0x82),
        ("empty response topic", publish(&[8, 0, 0]), 0x82),
        ("response topic with a wildcard", publish(&[8, 0, 1, b'#']), 0x82),
        ("subscription id in PUBLISH", publish(&[0x0b, 1]), 0x82),
        ("AUTH without a method", packet(0xf0, &[0x18, 0]), 0x82),
        ("AUTH unannounced", packet(0xf0, &[0x18, 4, 0x15, 0, 1, b'x']), 0x82),
        ("alias 0", publish(&[0x23, 0, 0]), 0x94),
        ("alias over the maximum", publish(&[0x23, 0, 11]), 0x94),
        ("no topic and no alias", packet(0x30, &[0, 0, 0]), 0x82),
        ("alias not set", packet(0x30, &[0, 0, 3, 0x23, 0, 1]), 0x82),
    ]
}

/// Faults of packets as a whole.
fn bad_packets() -> Vec<Case> {
    vec![
        ("flags of PUBREL", packet(0x60, &[0, 1]), 0x81),
        ("flags of SUBSCRIBE", packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]), 0x81),
        ("flags of UNSUBSCRIBE", packet(0xa0, &[0, 1, 0, 0, 1, b'a']), 0x81),
        ("flags of PINGREQ", packet(0xc1, &[]), 0x81),
        ("flags of DISCONNECT", packet(0xe1, &[]), 0x81),
        ("flags of PUBACK", packet(0x41, &[0, 1]), 0x81),
        ("QoS 3", packet(0x36, &[0, 1, b'a', 0, 1, 0]), 0x81),
        ("DUP at QoS 0", packet(0x38, &[0, 1, b'a', 0]), 0x81),
        ("reserved option bits", subscribe_raw(&[], b"a", 0x40), 0x81),
        ("option QoS 3", subscribe_raw(&[], b"a", 3), 0x82),
        ("retain handling 3", subscribe_raw(&[], b"a", 0x30), 0x82),
        ("wildcard in a topic", packet(0x30, &[0, 1, b'+', 0]), 0x81),
        ("wildcard inside a level", subscribe_raw(&[], b"a/+b", 0), 0x81),
        ("# inside a level", subscribe_raw(&[], b"a#", 0), 0x81),
        ("# not last", subscribe_raw(&[], b"#/a", 0), 0x81),
        ("empty filter", subscribe_raw(&[], b"", 0), 0x81),
        ("$share alone", subscribe_raw(&[], b"$share", 0), 0x81),
        ("$share without a filter", subscribe_raw(&[], b"$share/g", 0), 0x81),
        ("$share with an empty filter", subscribe_raw(&[], b"$share/g/", 0), 0x81),
        ("$share without a group", subscribe_raw(&[], b"$share//a", 0), 0x81),
        ("$share with a wildcard for a group", subscribe_raw(&[], b"$share/+/a", 0), 0x81),
        ("no local on a shared one", subscribe_raw(&[], b"$share/g/a", 4), 0x82),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1, 0]), 0x82),
        ("UNSUBSCRIBE without filters", packet(0xa2, &[0, 1, 0]), 0x82),
        ("packet id 0 in SUBSCRIBE", packet(0x82, &[0, 0, 0, 0, 1, b'a', 0]), 0x81),
        ("packet id 0 in UNSUBSCRIBE", packet(0xa2, &[0, 0, 0, 0, 1, b'a']), 0x81),
        ("packet id 0 in PUBLISH", packet(0x32, &[0, 1, b'a', 0, 0, 0]), 0x82),
        ("packet id 0 in PUBACK", packet(0x40, &[0, 0]), 0x82),
        ("type 0", packet(0x00, &[]), 0x82),
        ("CONNACK", packet(0x20, &[0, 0, 0]), 0x82),
        ("SUBACK", packet(0x90, &[0, 1, 0, 0]), 0x82),
        ("UNSUBACK", packet(0xb0, &[0, 1, 0, 0]), 0x82),
        ("PINGRESP", packet(0xd0, &[]), 0x82),
        ("a code that no client sends", packet(0xe0, &[0x8b]), 0x82),
        ("a code of another packet", packet(0x40, &[0, 1, 0x92]), 0x82),
        ("too large", vec![0x30, 0xff, 0xff, 0xff, 0x7f], 0x95),
    ]
}

#[test]
fn of_version_5_each_is_told_by_its_code() {
    let site = Site::new(1);
    for (name, bytes, code) in bad_fields().into_iter().chain(bad_packets()) {
        let mut client = site.v5("s");
        // What stands behind it is not looked at.
        client.send(&[bytes.clone(), vec![0xc0, 0]].concat());
        assert_eq!(client.all(), [format!("DISCONNECT {code:02X}"), "END".into()], "{name}");
        assert_eq!(site.sessions(), 0, "{name}");
    }
}

#[test]
fn a_remaining_length_over_four_bytes_is_closed_without_a_word() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    client.send(&[0x30, 0xff, 0xff, 0xff, 0xff, 1]);
    client.expect(&["END"]);
}

#[test]
fn of_version_3_each_ends_the_connection_without_a_word() {
    let cases: &[(&str, Vec<u8>)] = &[
        ("field cut off", packet(0x30, &[0, 9, b'a'])),
        ("wildcard in a topic", packet(0x30, &[0, 1, b'#'])),
        ("empty topic", packet(0x30, &[0, 0])),
        ("QoS 3", packet(0x36, &[0, 1, b'a', 0, 1])),
        ("DUP at QoS 0", packet(0x38, &[0, 1, b'a'])),
        ("packet id 0", packet(0x32, &[0, 1, b'a', 0, 0])),
        ("ack with a code", packet(0x40, &[0, 1, 0])),
        ("SUBSCRIBE without filters", packet(0x82, &[0, 1])),
        ("options of version 5", packet(0x82, &[0, 1, 0, 1, b'a', 4])),
        ("flags of SUBSCRIBE", packet(0x80, &[0, 1, 0, 1, b'a', 0])),
        ("AUTH", packet(0xf0, &[])),
        ("DISCONNECT with a code", packet(0xe0, &[0])),
        ("trailing bytes", packet(0xc0, &[0])),
        ("CONNACK", packet(0x20, &[0, 0])),
        ("too large", vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        ("remaining length over four bytes", vec![0x30, 0xff, 0xff, 0xff, 0xff, 1]),
    ];
    let site = Site::new(1);
    for (name, bytes) in cases {
        let mut client = site.v3("s");
        client.send(&[bytes.clone(), vec![0xc0, 0]].concat());
        assert_eq!(client.all(), ["END"], "{name}");
        assert_eq!(site.sessions(), 0, "{name}");
    }
}

#[test]
fn faults_of_connect_are_told_in_connack() {
    let cases: &[(&str, Vec<u8>, Option<u8>)] = &[
        ("property twice", connect(2, &[0x21, 0, 1, 0x21, 0, 1], &[]), Some(0x82)),
        ("receive maximum 0", connect(2, &[0x21, 0, 0], &[]), Some(0x82)),
        ("maximum packet size 0", connect(2, &[0x27, 0, 0, 0, 0], &[]), Some(0x82)),
        ("flag neither 0 nor 1", connect(2, &[0x17, 2], &[]), Some(0x82)),
        ("data without a method", connect(2, &[0x16, 0, 0], &[]), Some(0x82)),
        ("unknown property", connect(2, &[0x7f], &[]), Some(0x81)),
        ("property of another packet", connect(2, &[0x23, 0, 1], &[]), Some(0x81)),
        ("trailing bytes", connect(2, &[], &[0]), Some(0x81)),
        ("unknown method", connect(2, &[0x15, 0, 1, b'x'], &[]), Some(0x8c)),
        ("will topic with a wildcard", connect(6, &[], &[0, 0, 1, b'#', 0, 0]), Some(0x81)),
        ("will property twice", connect(6, &[], &[4, 1, 1, 1, 1, 0, 1, b'a', 0, 0]), Some(0x82)),
        ("reserved flag", connect(3, &[], &[]), None),
        ("will QoS 3", connect(0x1e, &[], &[0, 0, 1, b'a', 0, 0]), None),
        ("will QoS without a will", connect(0x0a, &[], &[]), None),
        ("will retain without a will", connect(0x22, &[], &[]), None),
    ];
    let site = Site::new(1);
    for (name, bytes, code) in cases {
        let mut client = site.open(0);
        client.send(bytes);
        let all = client.all();
        let expected = code.map(|code| format!("CONNACK new {code:02X}"));
        let expected: Vec<String> = expected.into_iter().chain(["END".into()]).collect();
        assert_eq!(all, expected, "{name}");
    }
    // A user name that is announced and missing may be told or not.
    let mut client = site.open(0);
    client.send(&connect(0x82, &[], &[]));
    assert_eq!(client.all().last().unwrap(), "END");
    assert_eq!(site.sessions(), 0);
}

#[test]
fn a_fault_of_one_client_is_nothing_to_others() {
    let site = Site::new(1);
    let mut good = site.v5("good");
    good.subscribe(1, &[("#", 0)]);
    for n in 0..50_u8 {
        let mut bad = site.open(0);
        let bytes = [
            Opening::v5("bad").bytes(),
            subscribe(Version::V5, 1, &[("a", 1)], None),
            vec![n << 4 | n >> 2, n, n, n],
        ];
        bad.send(&bytes.concat());
        bad.cut();
    }
    assert!(good.is_alive());
    assert_eq!(site.sessions(), 1);
}
