//! CONNECT and the life of a session: who is let in, which session it is, and when either ends.

use super::rig::{Opening, Post, Site, config, config_of};
use trunkline::config::Config;
use wire::mqtt::{Level, Property, ServerPacket, Value, Version, decode_server, frame};

/// A value of CONNACK.
fn told(site: &Site, opening: &Opening<'_>) -> Vec<(Property, String)> {
    let mut client = site.open(0);
    client.send(&opening.bytes());
    let bytes = client.next_bytes().unwrap();
    let found = frame(&bytes, u32::MAX).unwrap().unwrap();
    let ServerPacket::ConnAck(connack) = decode_server(Version::V5, &found).unwrap() else {
        panic!("{bytes:x?}")
    };
    connack.properties.iter().map(|(property, value)| (property, format!("{value:?}"))).collect()
}

fn value(told: &[(Property, String)], property: Property) -> Option<&str> {
    told.iter().find(|(known, _)| *known == property).map(|(_, value)| &**value)
}

#[test]
fn what_does_not_begin_with_connect_is_closed_without_a_word() {
    let site = Site::new(1);
    for first in [&[0xc0, 0][..], &[0x11, 0], &[0x20, 2, 0, 0], &[0x30, 5, 0, 1, b'a', b'x', b'y']] {
        let mut client = site.open(0);
        client.send(first);
        client.expect(&["END"]);
    }
    for second in
        [&[0x10, 0][..], &[0x10, 0x80, 0x80, 0x80, 0x80, 1], &[0x10, 6, 0, 4, b'M', b'Q', b'X', b'X']]
    {
        let mut client = site.open(0);
        client.send(second);
        client.expect(&["END"]);
    }
}

#[test]
fn who_sends_no_whole_connect_in_time_is_closed() {
    let site = Site::new(1);
    let bytes = Opening::v5("slow").bytes();
    let (mut silent, mut slow) = (site.open(0), site.open(0));
    slow.send(&bytes[..bytes.len() - 1]);
    site.pass(9_900);
    assert!(silent.all().is_empty() && slow.all().is_empty());
    site.pass(200);
    silent.expect(&["END"]);
    slow.expect(&["END"]);
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    let site = Site::new(1);
    let mut client = site.v5("twice");
    client.send(&Opening::v5("twice").bytes());
    client.expect(&["DISCONNECT 82", "END"]);
    let mut client = site.v3("twice");
    client.send(&Opening::v3("twice").bytes());
    client.expect(&["END"]);
}

#[test]
fn levels_and_names_are_told_apart() {
    let site = Site::new(1);
    let connect = |name: &str, level: u8| {
        let mut body = vec![0, name.len() as u8];
        body.extend(name.as_bytes());
        body.extend([level, 2, 0, 0]);
        body.extend(if level == 5 { &[0, 0, 1, b'x'][..] } else { &[0, 1, b'x'] });
        [&[0x10, body.len() as u8][..], &body].concat()
    };
    let answer = |name, level| {
        let mut client = site.open(0);
        client.send(&connect(name, level));
        client.next_bytes().unwrap()
    };
    assert_eq!(answer("MQTT", 4), [0x20, 2, 0, 0]);
    assert_eq!(answer("MQIsdp", 3), [0x20, 2, 0, 0]);
    assert_eq!(answer("MQTT", 0x84), [0x20, 2, 0, 0], "a bridge");
    assert_eq!(answer("MQTT", 3), [0x20, 2, 0, 1]);
    assert_eq!(answer("MQIsdp", 4), [0x20, 2, 0, 1]);
    assert_eq!(answer("MQTT", 5)[2..4], [0, 0]);
    for level in [0, 1, 2, 6, 127] {
        let bytes = answer("MQTT", level);
        assert_eq!((bytes[0], bytes[2], bytes[3]), (0x20, 0, 0x84), "in the form of version 5");
        assert_eq!(usize::from(bytes[1]), bytes.len() - 2);
    }
}

#[test]
fn a_client_of_3_1_may_set_flags_and_must_name_itself() {
    let site = Site::new(1);
    let mut client = site.open(0);
    let old = Opening { level: Level::V31, ..Opening::v3("old") };
    assert_eq!(client.connect(&old), "CONNACK new 00");
    // SUBSCRIBE with DUP, which 3.1 allowed.
    client.send(&[0x8a, 6, 0, 1, 0, 1, b'a', 1]);
    assert_eq!(client.next(), "SUBACK #1 [01]");
    let mut client = site.open(0);
    client.version = Version::V3;
    client.send(&Opening { level: Level::V31, ..Opening::v3("") }.bytes());
    client.expect(&["CONNACK new 85", "END"]);
}

#[test]
fn a_bridge_does_not_get_its_own_messages_and_sees_retain_as_published() {
    let site = Site::new(1);
    let mut bridge = site.open(0);
    let opening = Opening { is_bridge: true, ..Opening::v3("bridge") };
    // The encoder writes the plain level.
    let mut bytes = opening.bytes();
    bytes[8] |= 0x80;
    bridge.version = Version::V3;
    bridge.send(&bytes);
    assert_eq!(bridge.next(), "CONNACK new 00");
    assert_eq!(bridge.subscribe(1, &[("#", 0)]), "SUBACK #1 [00]");
    bridge.publish(&Post::new("a", "own"));
    let mut other = site.v5("other");
    other.publish(&Post::new("a", "kept").retain());
    bridge.expect(&["PUBLISH a \"kept\" retain"]);
}

#[test]
fn session_present_says_whether_there_was_one() {
    let site = Site::new(1);
    let clean = |client: &mut super::rig::Client, opening: &Opening<'_>| {
        let answer = client.connect(opening);
        client.cut();
        answer
    };
    let lasting = || Opening::v5("s").lasting(100);
    assert_eq!(clean(&mut site.open(0), &lasting()), "CONNACK new 00");
    assert_eq!(clean(&mut site.open(0), &lasting()), "CONNACK present 00");
    let fresh = Opening { clean: true, ..lasting() };
    assert_eq!(clean(&mut site.open(0), &fresh), "CONNACK new 00");
    assert_eq!(clean(&mut site.open(0), &lasting()), "CONNACK present 00");
    // Not a clean start, but one that ends with its connection.
    assert_eq!(clean(&mut site.open(0), &Opening::v5("s").lasting(0)), "CONNACK present 00");
    assert_eq!(clean(&mut site.open(0), &lasting()), "CONNACK new 00");
    // The session is the same whatever version the client speaks.
    let v3 = || Opening::v3("s").lasting(0);
    assert_eq!(clean(&mut site.open(0), &v3()), "CONNACK present 00");
    assert_eq!(clean(&mut site.open(0), &Opening::v3("s")), "CONNACK new 00");
    assert_eq!(clean(&mut site.open(0), &v3()), "CONNACK new 00");
    assert_eq!(clean(&mut site.open(0), &v3()), "CONNACK present 00");
}

#[test]
fn an_empty_id_is_replaced_where_the_version_allows_it() {
    let site = Site::new(2);
    for clean in [true, false] {
        let told = told(&site, &Opening { clean, ..Opening::v5("") });
        assert!(value(&told, Property::AssignedClientIdentifier).is_some_and(|id| id.len() > 10), "{told:?}");
    }
    assert_eq!(value(&told(&site, &Opening::v5("own")), Property::AssignedClientIdentifier), None);
    let mut client = site.open(0);
    assert_eq!(client.connect(&Opening::v3("")), "CONNACK new 00");
    let mut client = site.open(0);
    client.version = Version::V3;
    client.send(&Opening::v3("").lasting(0).bytes());
    client.expect(&["CONNACK new 85", "END"]);
}

#[test]
fn any_text_may_be_an_id_up_to_the_limit() {
    let site = Site::new(3);
    let long = "x".repeat(1024);
    for id in [" ", "a b", "/", "+", "#", "a/+/#", "%25", "$SYS", "ä\u{1f600}", "a.b*c>", &long] {
        let mut client = site.open(0);
        assert_eq!(client.connect(&Opening::v5(id).lasting(9)), "CONNACK new 00", "{id}");
        client.cut();
        assert_eq!(site.open(0).connect(&Opening::v5(id).lasting(9)), "CONNACK present 00", "{id}");
    }
    let longer = "x".repeat(1025);
    let mut client = site.open(0);
    client.send(&Opening::v5(&longer).bytes());
    client.expect(&["CONNACK new 85", "END"]);
    let mut client = site.open(0);
    client.version = Version::V3;
    client.send(&Opening::v3(&longer).bytes());
    client.expect(&["CONNACK new 85", "END"]);
}

#[test]
fn what_comes_behind_a_refused_connect_is_not_looked_at() {
    let site = Site::new(1);
    let longer = "x".repeat(1025);
    let mut client = site.open(0);
    let post = Post::new("a", "never").retain().bytes(Version::V5);
    client.send(&[Opening::v5(&longer).bytes(), post].concat());
    client.expect(&["CONNACK new 85", "END"]);
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 0)]);
    reader.expect(&[]);
}

fn with_users() -> Config {
    let text = r#"
        [[mqtt.user]]
        name = "bob"
        password = "secret"
        [[mqtt.user]]
        name = "eve"
        password = "evil"
    "#;
    config_of(1, text)
}

#[test]
fn who_is_not_let_in_takes_nothing_over() {
    let site = Site::start(with_users());
    let bob = || Opening { user: Some("bob"), password: Some(b"secret"), ..Opening::v5("s").lasting(100) };
    let mut first = site.open(0);
    assert_eq!(first.connect(&bob()), "CONNACK new 00");
    for password in [None, Some(&b"Secret"[..]), Some(b""), Some(b"secret1")] {
        let mut other = site.open(0);
        other.send(&Opening { password, ..bob() }.bytes());
        other.expect(&["CONNACK new 86", "END"]);
    }
    assert!(first.is_alive());
    let mut v3 = site.open(0);
    v3.version = Version::V3;
    let wrong = Opening { user: Some("bob"), password: Some(b"x"), ..Opening::v3("s") };
    v3.send(&wrong.bytes());
    v3.expect(&["CONNACK new 86", "END"]);
    // Another user under the same name gets a session of its own.
    first.subscribe(1, &[("a", 1)]);
    let mut eve = site.open(0);
    let opening = Opening { user: Some("eve"), password: Some(b"evil"), ..bob() };
    assert_eq!(eve.connect(&opening), "CONNACK new 00");
    first.expect(&["DISCONNECT 8E", "END"]);
}

#[test]
fn the_old_connection_is_told_that_its_session_is_taken_over() {
    let site = Site::new(1);
    for fresh in [true, false] {
        let mut first = site.lasting("s");
        let mut second = site.open(0);
        second.connect(&Opening { clean: fresh, ..Opening::v5("s").lasting(3600) });
        first.expect(&["DISCONNECT 8E", "END"]);
        assert!(second.is_alive());
    }
    let mut old = site.open(0);
    old.connect(&Opening::v3("t"));
    let mut new = site.v3("t");
    old.expect(&["END"]);
    assert!(new.is_alive());
    assert_eq!(site.sessions(), 2);
}

#[test]
fn a_session_ends_when_its_expiry_is_over_and_not_before() {
    let site = Site::new(2);
    for (seconds, after_ms, answer) in [
        (0, 0, "CONNACK new 00"),
        (10, 9_999, "CONNACK present 00"),
        (10, 10_000, "CONNACK new 00"),
        (u32::MAX, 400 * 365 * 86_400_000, "CONNACK present 00"),
        (u32::MAX - 1, (u64::from(u32::MAX) - 1) * 1000 - 1, "CONNACK present 00"),
        (u32::MAX - 1, (u64::from(u32::MAX) - 1) * 1000, "CONNACK new 00"),
    ] {
        let id = format!("{seconds}-{after_ms}");
        let mut client = site.open(0);
        client.connect(&Opening::v5(&id).lasting(seconds));
        // As long as it is connected nothing runs out.
        site.pass(20_000);
        assert!(client.is_alive());
        client.cut();
        site.pass(after_ms);
        assert_eq!(site.open(0).connect(&Opening::v5(&id).lasting(5)), answer, "{id}");
    }
    let mut client = site.open(0);
    client.connect(&Opening::v3("v3").lasting(0));
    client.cut();
    site.pass(50 * 365 * 86_400_000);
    assert_eq!(site.open(0).connect(&Opening::v3("v3").lasting(0)), "CONNACK present 00");
}

#[test]
fn disconnect_may_change_the_expiry_but_not_from_nothing() {
    let site = Site::new(1);
    for (first, last, after_ms, answer) in [
        (10, Some(100), 99_000, "CONNACK present 00"),
        (10, Some(100), 100_000, "CONNACK new 00"),
        (10, Some(0), 0, "CONNACK new 00"),
        (10, None, 9_000, "CONNACK present 00"),
        (0, Some(0), 0, "CONNACK new 00"),
    ] {
        let mut client = site.open(0);
        client.connect(&Opening { clean: true, ..Opening::v5("s").lasting(first) });
        client.disconnect(0, last);
        client.expect(&["END"]);
        site.pass(after_ms);
        let again = site.open(0).connect(&Opening::v5("s").lasting(5));
        assert_eq!(again, answer, "{first} {last:?} {after_ms}");
    }
    let mut watcher = site.v5("watcher");
    watcher.subscribe(1, &[("will", 0)]);
    let mut client = site.open(0);
    client.connect(&Opening::v5("t").will(Post::new("will", "w")));
    client.disconnect(0, Some(5));
    client.expect(&["DISCONNECT 82", "END"]);
    watcher.expect(&["PUBLISH will \"w\""]);
    assert_eq!(site.open(0).connect(&Opening::v5("t").lasting(5)), "CONNACK new 00");
}

#[test]
fn a_cap_on_the_expiry_is_told_to_version_5_only() {
    let site = Site::with(1, &["mqtt.session_expiry_seconds_max=60"]);
    let expiry = |seconds| {
        let told = told(&site, &Opening::v5("s").lasting(seconds));
        value(&told, Property::SessionExpiryInterval).map(str::to_owned)
    };
    assert_eq!((expiry(60), expiry(61).as_deref()), (None, Some("U32(60)")));
    assert_eq!(expiry(u32::MAX).as_deref(), Some("U32(60)"));
    for opening in [Opening::v3("v3").lasting(0), Opening::v5("v5").lasting(1000)] {
        let mut client = site.open(0);
        client.connect(&opening);
        client.cut();
        site.pass(59_999);
        let mut client = site.open(0);
        assert_eq!(client.connect(&opening), "CONNACK present 00");
        // A longer time on leaving is capped as well.
        if opening.level == Level::V5 {
            client.disconnect(0, Some(500));
        } else {
            client.cut();
        }
        site.pass(60_000);
        assert_eq!(site.open(0).connect(&opening), "CONNACK new 00");
    }
}

#[test]
fn silence_of_one_and_a_half_times_the_keep_alive_ends_the_connection() {
    let site = Site::new(1);
    let mut watcher = site.v5("watcher");
    watcher.subscribe(1, &[("will", 0)]);
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").keep_alive(10).will(Post::new("will", "w")));
    let mut v3 = site.open(0);
    v3.connect(&Opening::v3("t").keep_alive(10));
    site.pass(14_900);
    assert!(client.is_alive());
    site.pass(90);
    v3.expect(&[]);
    site.pass(20);
    v3.expect(&["END"]);
    site.pass(14_870);
    client.expect(&[]);
    watcher.expect(&[]);
    site.pass(40);
    client.expect(&["DISCONNECT 8D", "END"]);
    watcher.expect(&["PUBLISH will \"w\""]);
    // Zero is off.
    site.pass(1_000_000_000);
    assert!(watcher.is_alive());
}

#[test]
fn any_packet_counts_as_a_sign_of_life_and_a_part_of_one_does_not() {
    let site = Site::new(1);
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").keep_alive(2));
    for id in 1..20 {
        site.pass(2_900);
        client.publish(&Post::new("a", "x").q1(id));
        assert_eq!(client.next(), format!("PUBACK #{id} 10"));
    }
    site.pass(2_900);
    client.send(&[0x30, 5, 0]);
    client.expect(&[]);
    site.pass(110);
    client.expect(&["DISCONNECT 8D", "END"]);
}

#[test]
fn the_server_may_replace_the_keep_alive_of_version_5_only() {
    let site = Site::with(1, &["mqtt.server_keep_alive_seconds=60"]);
    let keep_alive = |seconds| {
        let told = told(&site, &Opening::v5("s").keep_alive(seconds));
        value(&told, Property::ServerKeepAlive).map(str::to_owned)
    };
    assert_eq!((keep_alive(0).as_deref(), keep_alive(61).as_deref()), (Some("U16(60)"), Some("U16(60)")));
    assert_eq!((keep_alive(60), keep_alive(5)), (None, None));
    let (mut v5, mut v3) = (site.open(0), site.open(0));
    v5.connect(&Opening::v5("a"));
    v3.connect(&Opening::v3("b"));
    site.pass(90_100);
    v5.expect(&["DISCONNECT 8D", "END"]);
    assert!(v3.is_alive());
}

#[test]
fn what_a_client_is_told_at_first() {
    let site = Site::new(1);
    let told = told(&site, &Opening::v5("s").with(Property::RequestResponseInformation, Value::Byte(1)));
    let names: Vec<_> = told.iter().map(|(property, _)| *property).collect();
    use Property::{MaximumPacketSize, ReceiveMaximum, ResponseInformation, TopicAliasMaximum};
    assert_eq!(names, [TopicAliasMaximum, MaximumPacketSize, ReceiveMaximum, ResponseInformation]);
    let figures: Vec<_> = told.iter().take(3).map(|(_, value)| &**value).collect();
    assert_eq!(figures, ["U16(10)", "U32(2000000)", "U16(20)"]);
}

#[test]
fn who_finds_no_place_is_closed_without_connack() {
    let site = Site::with(1, &["limits.sessions_max=1"]);
    let _first = site.v5("first");
    let mut second = site.open(0);
    second.send(&Opening::v5("second").bytes());
    second.expect(&["END"]);
}

#[test]
fn nothing_is_left_of_clients_that_left() {
    let site = Site::new(3);
    let mut clients: Vec<_> = (0..9).map(|n| site.lasting(&format!("c{n}"))).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send_subscribe(1, &[("a/+", 2), (&format!("b/{n}"), 1), ("$share/g/c", 1)], Some(7));
        client.publish(&Post::new("a/1", "x").q2(1));
        client.publish(&Post::new("c", "x").q1(2));
        client.publish(&Post::new("d", "x").retain());
    }
    for client in &mut clients[..5] {
        client.cut();
    }
    clients[0] = site.lasting("c0");
    clients[8].publish(&Post::new("d", "").retain());
    clients[5..8].iter_mut().for_each(|client| client.disconnect(0, Some(0)));
    site.pass(4_000_000);
    for at in [0, 8] {
        clients[at].all();
        clients[at].disconnect(4, Some(0));
    }
    site.pass(10);
    assert_eq!(site.sessions(), 0);
    assert!(site.is_idle());
    let stats = site.stats();
    assert_eq!((stats.streams, stats.half_open, stats.write_buffer_bytes), (0, 0, 0));
}

#[test]
fn a_drain_tells_everybody_and_lets_nobody_in() {
    let site = Site::start(config(2, &[]));
    let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
    site.drain(1000);
    let mut late = site.open(0);
    late.send(&Opening::v5("late").bytes());
    late.expect(&["END"]);
    site.pass(1100);
    v5.expect(&["DISCONNECT 8B", "END"]);
    v3.expect(&["END"]);
}

#[test]
fn a_connect_that_is_too_large_is_refused_before_it_is_there() {
    let site = Site::new(2);
    // Announced only; the version tells how it is said.
    let announced: [&[u8]; 3] = [
        b"\x10\xfe\xff\x03\x00\x04MQTT\x05",
        b"\x10\xff\xff\xff\x7f\x00\x04MQTT\x04",
        b"\x10\xfe\xff\x03\x00\x04HTTP\x05",
    ];
    let expected: [&[&str]; 3] = [&["CONNACK new 95", "END"], &["END"], &["END"]];
    for (bytes, expected) in announced.into_iter().zip(expected) {
        for cut in [bytes.len(), 1, 4, 7, 9] {
            let mut client = site.open(0);
            client.send(&bytes[..cut]);
            client.send(&bytes[cut..]);
            client.expect(expected);
        }
    }
    // So much may be sent, and no byte more.
    let connect = |payload: &[u8]| {
        let opening = Opening::v5("c").will(Post { topic: "t", payload, ..Post::default() });
        opening.bytes()
    };
    let room = 65_536 - connect(&[0; 65_000]).len() + 65_000;
    for (bytes, told) in [(room, "CONNACK new 00"), (room + 1, "CONNACK new 95")] {
        let mut client = site.open(1);
        client.send(&connect(&vec![0; bytes]));
        assert_eq!(client.next(), told, "{bytes}");
    }
    let site = Site::with(1, &["mqtt.connect_bytes_max=200000"]);
    let mut client = site.open(0);
    client.send(&connect(&[0; 65_535]));
    assert_eq!(client.next(), "CONNACK new 00");
    // A smaller limit of all packets holds for this one, too.
    let site = Site::with(1, &["mqtt.packet_bytes_max=1024"]);
    let mut client = site.open(0);
    client.send(&connect(&[0; 1024]));
    client.expect(&["CONNACK new 95", "END"]);
}
