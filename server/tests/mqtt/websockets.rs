//! MQTT inside WebSockets (MQTT 5.0, section 6).

use super::rig::{Client, Opening, Post, Site, config, subscribe};
use wire::mqtt::Version;
use wire::websocket::{Opcode, masked_frame};

fn opening(site: &Site, shard: u8, id: &str) -> Client {
    let mut client = site.websocket(shard);
    assert_eq!(client.connect(&Opening::v5(id)), "CONNACK new 00");
    client
}

#[test]
fn the_subprotocol_is_offered_and_returned() {
    let site = Site::new(1);
    let cases = [
        (Some("mqtt"), 101, Some("mqtt")),
        (Some("mqttv3.1"), 101, Some("mqttv3.1")),
        (Some("other, mqtt"), 101, Some("mqtt")),
        (Some("mqttv3.1, mqtt"), 101, None),
        (Some("other"), 400, None),
        (Some("MQTT"), 400, None),
        (None, 400, None),
    ];
    for (offered, expected, returned) in cases {
        let headers: Vec<_> =
            offered.map(|offered| ("sec-websocket-protocol", offered)).into_iter().collect();
        let (_, status, protocol) = site.upgrade(0, "/mqtt", &headers);
        assert_eq!(status, expected, "{offered:?}");
        if let Some(returned) = returned {
            assert_eq!(protocol.as_deref(), Some(returned));
        }
    }
    let headers = [("sec-websocket-protocol", "mqtt")];
    assert_eq!(site.upgrade(0, "/other", &headers).1, 404);
    assert_eq!(Site::with(1, &["mqtt.enabled=false"]).upgrade(0, "/mqtt", &headers).1, 404);
}

#[test]
fn pages_of_other_origins_need_to_be_listed() {
    let site = Site::with(1, &["socketio.cors_origins=[\"https://app.example\"]"]);
    let from = |origin| {
        let headers = [("sec-websocket-protocol", "mqtt"), ("origin", origin)];
        site.upgrade(0, "/mqtt", &headers).1
    };
    assert_eq!((from("https://app.example"), from("https://evil.example")), (101, 403));
    assert_eq!(site.upgrade(0, "/mqtt", &[("sec-websocket-protocol", "mqtt")]).1, 101, "no page");
}

#[test]
fn packets_and_frames_are_not_aligned() {
    for shards in [1, 3] {
        let site = Site::new(shards);
        let id = site.client_at(shards - 1, "s");
        let bytes = [
            Opening::v5(&id).bytes(),
            subscribe(Version::V5, 1, &[("a", 1)], None),
            Post::new("a", "x").q1(2).bytes(Version::V5),
            vec![0xc0, 0],
        ]
        .concat();
        let sorted = |client: &mut Client| {
            let mut all = client.all();
            all.sort();
            all
        };
        let expected =
            ["CONNACK new 00", "PINGRESP", "PUBACK #2 00", "PUBLISH a \"x\" q1 #1", "SUBACK #1 [01]"];
        for cut in 0..=bytes.len() {
            let mut client = site.websocket(0);
            client.write(&bytes[..cut]);
            client.write(&[]);
            client.send(&bytes[cut..]);
            assert_eq!(sorted(&mut client), expected, "{cut}");
            client.cut();
        }
        // Every split of the frame itself, too.
        let mut framed = Vec::new();
        masked_frame(Opcode::Binary, &bytes, [9, 8, 7, 6], &mut framed);
        for cut in 0..framed.len() {
            let mut client = site.websocket(0);
            client.write_raw(&framed[..cut]);
            site.run();
            client.write_raw(&framed[cut..]);
            site.run();
            assert_eq!(sorted(&mut client), expected, "{cut}");
            client.cut();
        }
        // One frame per byte.
        let mut client = site.websocket(0);
        for byte in &bytes {
            client.write(&[*byte]);
        }
        site.run();
        assert_eq!(sorted(&mut client), expected);
    }
}

#[test]
fn a_message_in_fragments_with_a_ping_between_them_is_one_stream() {
    let site = Site::new(1);
    let mut client = site.websocket(0);
    let bytes = [Opening::v5("s").bytes(), vec![0xc0, 0]].concat();
    let fragment = |first: u8, data: &[u8]| {
        let mut out = vec![first, 0x80 | data.len() as u8, 0, 0, 0, 0];
        out.extend_from_slice(data);
        out
    };
    let (a, b) = bytes.split_at(7);
    let frames = [fragment(0x02, a), fragment(0x89, b"p"), fragment(0x00, &[]), fragment(0x80, b)];
    client.write_raw(&frames.concat());
    site.run();
    client.expect(&["CONNACK new 00", "PINGRESP"]);
}

#[test]
fn a_text_frame_ends_the_connection_and_leaves_the_will() {
    let site = Site::new(2);
    let mut watcher = site.v5("watcher");
    watcher.subscribe(1, &[("will", 0)]);
    for opcode in [Opcode::Text, Opcode::Close] {
        let mut client = site.websocket(0);
        client.connect(&Opening::v5("s").will(Post::new("will", "w")));
        client.frame(opcode, if opcode == Opcode::Text { b"x" } else { &[3, 232] });
        assert!(client.has_ended());
        watcher.expect(&["PUBLISH will \"w\""]);
    }
    let mut client = site.websocket(0);
    client.frame(Opcode::Text, b"x");
    assert!(client.has_ended());
    assert_eq!(site.sessions(), 1);
}

#[test]
fn messages_of_all_sizes_come_in_frames_of_their_own() {
    let site = Site::start(config(2, &["limits.write_buffer_bytes_max=4000000"]));
    let mut bare = site.v5("bare");
    bare.subscribe(1, &[("#", 1)]);
    let mut framed = opening(&site, 1, "framed");
    framed.subscribe(1, &[("#", 1)]);
    let mut zero = opening(&site, 0, "zero");
    zero.subscribe(1, &[("#", 0)]);
    let mut other = site.v3("other");
    for (n, bytes) in
        (1..).zip([0, 1, 50, 110, 125, 126, 127, 511, 512, 513, 65_000, 65_535, 65_536, 1_000_000])
    {
        let payload = "x".repeat(bytes);
        other.publish(&Post::new("a", &payload).q1(n));
        let (a, b, c) = (bare.next(), framed.next(), zero.next());
        assert_eq!(a, b);
        assert_eq!(format!("{c} q1 #{n}"), a);
    }
}

#[test]
fn goodbyes_and_endings_work_as_on_a_bare_connection() {
    let site = Site::new(2);
    let mut client = opening(&site, 0, "s");
    client.send(&[0x30, 0]);
    assert_eq!(client.next(), "DISCONNECT 81");
    assert!(client.has_ended());
    let mut old = opening(&site, 0, "t");
    let mut new = opening(&site, 1, "t");
    assert_eq!(old.next(), "DISCONNECT 8E");
    assert!(old.has_ended() && new.is_alive());
    new.disconnect(0, None);
    assert!(new.has_ended());
    assert_eq!(site.sessions(), 0);
}
