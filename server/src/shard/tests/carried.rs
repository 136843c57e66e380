//! Streams inside a WebSocket: the same to the handler, however packets and frames lie to each other.

use super::rig::{Client, HELLO, PACKET_BYTES_MAX, Plan, Rig, Seen, masked, packet};
use crate::shard::{Closed, ConnKey, Owner};
use std::io::{Read, Write};
use wire::websocket::CloseCode;

const BINARY: u8 = 0x82;

fn hello(text: &str) -> Vec<u8> {
    packet(HELLO, text)
}

fn say(text: &str) -> Vec<u8> {
    packet(0x30, text)
}

fn owned(rig: &Rig) -> (ConnKey, Owner) {
    rig.wait(|seen| if let Seen::Owned(_, conn, owner) = seen { Some((conn, owner)) } else { None })
}

/// The text of the next packet, which has a frame of its own.
fn receive<S: Read + Write>(client: &mut Client<S>) -> String {
    let (first, payload) = client.receive();
    assert_eq!((first, &payload[..1]), (BINARY, &[0x30][..]));
    String::from_utf8(payload[5..].to_vec()).unwrap()
}

#[test]
fn packets_and_frames_need_not_be_aligned() {
    let rig = Rig::one();
    let packets = [hello("own"), say("first"), say(""), say("third")].concat();
    for size in [1, 2, 3, 7, packets.len()] {
        let mut client = rig.client();
        client.upgrade("/stream");
        // Each chunk in a frame of its own, in fragments of one message, and some of the frames cut by the network.
        for chunk in packets.chunks(size) {
            client.frame(BINARY, chunk);
        }
        assert_eq!(
            (receive(&mut client), receive(&mut client), receive(&mut client)),
            strings(["first", "", "third"])
        );
        client.frame(0x02, &say("in fra")[..5]);
        for byte in b"in fra" {
            client.frame(0x00, &[*byte]);
        }
        client.frame(0x89, b"ping");
        client.frame(0x80, &[]);
        assert_eq!(receive(&mut client), "in fra");
        assert_eq!(client.receive(), (0x8a, b"ping".to_vec()));
        for byte in [masked(BINARY, &say("byte")), masked(BINARY, &say("by byte"))].concat() {
            client.send([byte]);
        }
        assert_eq!((receive(&mut client), receive(&mut client)), ("byte".into(), "by byte".into()));
    }
    let stats = rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.upgrades, stats.streams, stats.half_open, stats.websockets), (5, 0, 0, 0));
}

fn strings(texts: [&str; 3]) -> (String, String, String) {
    let [a, b, c] = texts.map(String::from);
    (a, b, c)
}

#[test]
fn a_frame_of_any_length_is_offered_as_it_comes() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/stream");
    client.frame(BINARY, &hello("own"));
    let text = "x".repeat(50_000);
    let many: Vec<u8> = (0..20).flat_map(|_| say(&text)).collect();
    assert!(many.len() > 4 * PACKET_BYTES_MAX);
    let frame = masked(BINARY, &many);
    let half = frame.len() / 2;
    client.send(&frame[..half]);
    (0..9).for_each(|_| assert_eq!(receive(&mut client), text));
    client.send(&frame[half..]);
    (0..11).for_each(|_| assert_eq!(receive(&mut client), text));
}

#[test]
fn a_text_frame_and_other_violations_close_and_are_told() {
    let rig = Rig::one();
    for (bytes, code) in
        [(masked(0x81, b"text"), 1003), (vec![BINARY, 1, b'x'], 1002), (masked(0x80, b"x"), 1002)]
    {
        let mut client = rig.client();
        client.upgrade("/stream");
        client.frame(BINARY, &hello("own"));
        let (_, owner) = owned(&rig);
        client.send(bytes);
        let (first, payload) = client.receive();
        assert_eq!((first, u16::from_be_bytes([payload[0], payload[1]])), (0x88, code));
        assert!(client.is_ended());
        assert_eq!(rig.next(), Seen::Closed(owner, Closed::Violation(CloseCode(code))));
    }
}

#[test]
fn a_close_frame_is_echoed_and_told() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/stream");
    client.frame(BINARY, &hello("own"));
    let (_, owner) = owned(&rig);
    client.send([masked(BINARY, &say("last")), masked(0x88, &[0x03, 0xe8])].concat());
    assert_eq!(receive(&mut client), "last");
    assert_eq!(client.receive(), (0x88, vec![0x03, 0xe8]));
    assert!(client.is_ended());
    rig.wait(|seen| (seen == Seen::Closed(owner, Closed::Peer)).then_some(()));
}

#[test]
fn a_packet_that_never_ends_is_bounded() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/stream");
    client.frame(BINARY, &hello("own"));
    let (_, owner) = owned(&rig);
    let mut endless = say("");
    endless[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    endless.extend(vec![0; PACKET_BYTES_MAX + (256 << 10)]);
    let frame = masked(BINARY, &endless);
    let _ = client.stream.write_all(&frame);
    assert_eq!(client.receive(), (0x88, [&1009_u16.to_be_bytes()[..], b"packet too big"].concat()));
    assert_eq!(rig.next(), Seen::Closed(owner, Closed::Violation(CloseCode::TOO_BIG)));
}

#[test]
fn who_does_not_say_who_it_is_in_time_is_closed() {
    let mut plan = Plan::default();
    plan.config.limits.head_timeout_ms = 60;
    let rig = Rig::start(plan);
    let mut client = rig.client();
    client.upgrade("/stream");
    assert!(client.is_ended());
    let stats = rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.half_open, stats.streams, stats.closed_timeout), (0, 0, 1));
}

#[test]
fn what_is_left_of_a_frame_waits_while_the_stream_is_paused() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/stream");
    client.frame(BINARY, &hello("own"));
    let (conn, _) = owned(&rig);
    let cut = say("cut");
    let first = [say("pause"), say("in the frame"), cut[..6].to_vec()].concat();
    client.send(
        [masked(BINARY, &first), masked(BINARY, &[&cut[6..], &say("in another")[..]].concat())].concat(),
    );
    client.frame(BINARY, &say("in the socket"));
    rig.stats(0);
    rig.order(0, move |_, cx| {
        assert!(!cx.io.is_streaming(conn) && cx.io.is_websocket(conn));
        cx.io.resume_reading(conn);
    });
    for text in ["in the frame", "cut", "in another", "in the socket"] {
        assert_eq!(receive(&mut client), text);
    }
}

#[test]
fn it_moves_with_the_state_of_its_frames() {
    let rig = Rig::start(Plan { shards: 4, ..Plan::default() });
    let mut client = rig.client();
    client.upgrade("/on/0/stream");
    let (kept, cut) = (say("kept in part"), say("cut in a frame"));
    // The frame that makes it move holds the beginning of a packet, and half of the next frame comes with it.
    let first = [hello("on 2"), say("behind"), kept[..8].to_vec()].concat();
    let next = masked(BINARY, &[&kept[8..], &cut[..]].concat());
    client.send([masked(BINARY, &first), next[..12].to_vec()].concat());
    assert_eq!(receive(&mut client), "behind");
    client.send(&next[12..]);
    assert_eq!(
        (receive(&mut client), receive(&mut client)),
        ("kept in part".into(), "cut in a frame".into())
    );
    let (conn, _) = owned(&rig);
    // And outside of the callback, in the middle of a frame.
    let frame = masked(BINARY, &[say("split frame"), say("own")].concat());
    client.send(&frame[..15]);
    rig.stats(2);
    rig.order(2, move |_, cx| cx.io.hand_over_stream(conn, hub::ShardId(1)));
    rig.stats_when(1, |stats| stats.streams == 1);
    client.send(&frame[15..]);
    assert_eq!(receive(&mut client), "split frame");
    rig.wait(|seen| matches!(seen, Seen::Owned(1, ..)).then_some(()));
    let stats: Vec<_> = (0..4).map(|shard| (rig.stats(shard).streams, rig.stats(shard).half_open)).collect();
    assert_eq!((stats, rig.seats.taken()), (vec![(0, 0), (1, 0), (0, 0), (0, 0)], 1));
}
