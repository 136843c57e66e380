//! Streams: found by their first byte, offered however they are cut, owned, paused, moved, closed.

use super::rig::{Client, HELLO, PACKET_BYTES_MAX, Plan, Rig, Seen, packet};
use crate::shard::{Closed, ConnKey, Owner};
use std::io::Write;
use std::net::TcpStream;
use wire::websocket::CloseCode;

fn owned(rig: &Rig) -> (ConnKey, Owner) {
    rig.wait(|seen| if let Seen::Owned(_, conn, owner) = seen { Some((conn, owner)) } else { None })
}

fn hello(text: &str) -> Vec<u8> {
    packet(HELLO, text)
}

fn say(text: &str) -> Vec<u8> {
    packet(0x30, text)
}

/// A client whose stream is owned, and by whom.
fn streaming(rig: &Rig) -> (Client<TcpStream>, ConnKey, Owner) {
    let mut client = rig.client();
    client.send(hello("own"));
    let (conn, owner) = owned(rig);
    (client, conn, owner)
}

#[test]
fn the_first_byte_tells_a_stream_from_a_request() {
    let rig = Rig::one();
    let mut stream = rig.client();
    stream.send([hello("own"), say("one"), say("two")].concat());
    assert_eq!((stream.receive_packet(), stream.receive_packet()), ("one".into(), "two".into()));
    let mut http = rig.client();
    http.get("/a");
    assert_eq!(http.answer().status, 200);
    let mut empty_line_first = rig.client();
    empty_line_first.send("\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(empty_line_first.answer().status, 200);
    let stats = rig.stats(0);
    assert_eq!((stats.streams, stats.half_open, stats.connections), (1, 0, 3));
}

#[test]
fn a_first_byte_that_begins_nothing_is_closed_without_a_word() {
    let rig = Rig::one();
    for first in [0x00, 0x0f, 0x11, 0x16, 0x20, b'0', b'[', 0x80, 0xff] {
        let mut client = rig.client();
        client.send([first, 1, 2, 3]);
        assert!(client.is_ended(), "{first:#x}");
    }
    let stats = rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.closed_unknown, stats.half_open, stats.requests_refused), (9, 0, 0));
}

#[test]
fn any_split_of_the_bytes_gives_the_same_packets() {
    let rig = Rig::one();
    let bytes = [hello("own"), say("first"), say(""), say("third")].concat();
    for cut in 1..bytes.len() {
        let mut client = rig.client();
        client.send(&bytes[..cut]);
        rig.stats(0);
        client.send(&bytes[cut..]);
        assert_eq!(client.receive_packet(), "first", "{cut}");
        assert_eq!((client.receive_packet(), client.receive_packet()), (String::new(), "third".into()));
    }
    let mut client = rig.client();
    for byte in bytes {
        client.send([byte]);
    }
    assert_eq!((client.receive_packet(), client.receive_packet()), ("first".into(), String::new()));
}

#[test]
fn a_packet_that_comes_in_many_reads_is_offered_once_per_read_and_kept_as_it_is() {
    let rig = Rig::one();
    let (mut client, _, _) = streaming(&rig);
    let text = "x".repeat(PACKET_BYTES_MAX - 5);
    let bytes = say(&text);
    let before = rig.stats(0);
    for piece in bytes.chunks(10_000) {
        client.send(piece);
        rig.stats(0);
    }
    assert_eq!(client.receive_packet(), text);
    let reads = rig.stats(0).reads - before.reads;
    rig.order(0, |double, _| double.see(Seen::Text(9, double.offers.to_string())));
    let offers = rig.wait(|seen| if let Seen::Text(9, offers) = seen { offers.parse().ok() } else { None });
    // One of them was the first packet.
    assert!((3..=reads + 1).contains(&offers), "{offers} of {reads}");
    client.send(say("next"));
    assert_eq!(client.receive_packet(), "next");
}

#[test]
fn who_says_nothing_or_not_enough_is_closed_and_who_is_owned_is_not() {
    let mut plan = Plan::default();
    plan.config.limits.head_timeout_ms = 60;
    let rig = Rig::start(plan);
    let (mut client, _, _) = streaming(&rig);
    let (mut silent, mut slow) = (rig.client(), rig.client());
    slow.send(&hello("own")[..3]);
    assert!(silent.is_ended() && slow.is_ended());
    let stats = rig.stats_when(0, |stats| stats.connections == 1);
    assert_eq!((stats.half_open, stats.streams, stats.closed_timeout), (0, 1, 2));
    client.send(say("still here"));
    assert_eq!(client.receive_packet(), "still here");
}

#[test]
fn a_stream_without_an_owner_is_half_open() {
    let mut plan = Plan::default();
    plan.config.limits.half_open_max = 1;
    let rig = Rig::start(plan);
    let (mut client, _, _) = streaming(&rig);
    let mut oldest = rig.client();
    oldest.send(hello("pause"));
    rig.wait(|seen| matches!(seen, Seen::Offered(..)).then_some(()));
    assert_eq!(rig.stats(0).half_open, 1);
    let _newer = rig.client();
    assert!(oldest.is_ended());
    assert_eq!(rig.stats_when(0, |stats| stats.connections == 2).closed_half_open, 1);
    client.send(say("still here"));
    assert_eq!(client.receive_packet(), "still here");
}

#[test]
fn the_end_of_a_stream_is_told_to_its_owner_and_to_one_that_comes_too_late() {
    let rig = Rig::one();
    let (client, _, owner) = streaming(&rig);
    drop(client);
    assert_eq!(rig.next(), Seen::Closed(owner, Closed::Peer));
    let mut client = rig.client();
    client.send(hello("echo"));
    let conn = rig.wait(|seen| if let Seen::Offered(conn, _) = seen { Some(conn) } else { None });
    assert_eq!(rig.next(), Seen::Text(0, "echo".into()));
    assert_eq!(client.receive_packet(), "echo");
    drop(client);
    rig.stats_when(0, |stats| stats.connections == 0);
    rig.order(0, move |_, cx| cx.io.own(conn, Owner(7)));
    assert_eq!(rig.next(), Seen::Closed(Owner(7), Closed::Peer));
}

#[test]
fn a_paused_stream_keeps_its_packets_until_it_is_read_again() {
    let rig = Rig::one();
    let (mut client, conn, _) = streaming(&rig);
    client.send([say("pause"), say("kept"), say("cut")[..6].to_vec()].concat());
    client.send(&say("cut")[6..]);
    client.send(say("in the socket"));
    rig.order(0, move |double, cx| {
        assert!(!cx.io.is_streaming(conn));
        double.see(Seen::Text(9, "resumed".into()));
        cx.io.resume_reading(conn);
    });
    for text in ["kept", "cut", "in the socket"] {
        assert_eq!(client.receive_packet(), text);
    }
    assert_eq!(rig.next(), Seen::Text(9, "resumed".into()));
}

#[test]
fn a_client_that_does_not_read_blocks_and_is_writable_again_when_it_does() {
    let mut plan = Plan::default();
    plan.config.limits.write_buffer_bytes_max = 64 << 20;
    let rig = Rig::start(plan);
    let (mut client, _, owner) = streaming(&rig);
    client.send(say("flood 400 50000"));
    assert_eq!(rig.next(), Seen::Blocked(owner));
    (0..400).for_each(|_| assert_eq!(client.receive_packet().len(), 50_000));
    assert_eq!(rig.next(), Seen::Writable(owner));
    let stats = rig.stats(0);
    assert_eq!((stats.blocked, stats.write_buffer_bytes), (0, 0));
}

#[test]
fn an_owner_of_a_blocked_stream_is_told_so() {
    let mut plan = Plan::default();
    plan.config.limits.write_buffer_bytes_max = 64 << 20;
    let rig = Rig::start(plan);
    let mut client = rig.client();
    client.send([hello("flood 400 50000"), say("x")].concat());
    let conn = rig.wait(|seen| if let Seen::Offered(conn, _) = seen { Some(conn) } else { None });
    rig.stats_when(0, |stats| stats.blocked == 1);
    rig.order(0, move |_, cx| cx.io.own(conn, Owner(3)));
    rig.wait(|seen| (seen == Seen::Blocked(Owner(3))).then_some(()));
    (0..400).for_each(|_| assert_eq!(client.receive_packet().len(), 50_000));
    assert_eq!(rig.next(), Seen::Writable(Owner(3)));
}

#[test]
fn a_client_that_does_not_read_is_given_up_at_the_bound_of_its_write_buffer() {
    let mut plan = Plan::default();
    plan.config.limits.write_buffer_bytes_max = 1 << 20;
    let rig = Rig::start(plan);
    let (mut client, _, owner) = streaming(&rig);
    client.send(say("flood 100000 1000"));
    rig.wait(|seen| (seen == Seen::Closed(owner, Closed::TooLong)).then_some(()));
    assert_eq!(rig.stats(0).connections, 0);
}

#[test]
fn the_last_words_arrive_although_the_client_goes_on_sending() {
    let rig = Rig::one();
    let (mut client, _, _) = streaming(&rig);
    let mut writer = client.stream.try_clone().unwrap();
    // More than the buffers of both sockets hold: unread, it would make the kernel reset the connection.
    let flood = vec![0; 4 << 20];
    client.send(say("bye"));
    let sending = std::thread::spawn(move || writer.write_all(&flood).is_ok());
    assert_eq!(client.receive_packet(), "goodbye");
    assert!(client.is_ended());
    sending.join().unwrap();
    // The client does not end its side: the server does not wait for it for long.
    let stats = rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.closed_handler, stats.streams), (1, 0));
    assert!(rig.seen.try_recv().is_err());
}

#[test]
fn a_stream_may_be_closed_from_outside_with_last_words_or_at_once() {
    let rig = Rig::one();
    let (mut told, conn, _) = streaming(&rig);
    rig.order(0, move |double, cx| {
        double.say(cx, conn, "taken over");
        cx.io.close_after_flush(conn);
    });
    assert_eq!(told.receive_packet(), "taken over");
    assert!(told.is_ended());
    drop(told);
    let (mut dropped, conn, _) = streaming(&rig);
    rig.order(0, move |double, cx| {
        double.say(cx, conn, "never sent");
        cx.io.close(conn);
    });
    assert!(dropped.is_ended());
    rig.stats_when(0, |stats| stats.connections == 0 && stats.streams == 0);
    assert!(rig.seen.try_recv().is_err());
}

#[test]
fn a_handler_that_keeps_everything_is_bounded() {
    let rig = Rig::one();
    let (mut client, _, owner) = streaming(&rig);
    let mut packet = say("");
    packet[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    packet.extend(vec![0; PACKET_BYTES_MAX + (256 << 10)]);
    let _ = client.stream.write_all(&packet);
    assert_eq!(rig.next(), Seen::Closed(owner, Closed::Violation(CloseCode::TOO_BIG)));
    assert!(client.is_ended());
}

#[test]
fn a_stream_goes_where_its_first_packet_says_with_all_that_came_with_it() {
    let rig = Rig::start(Plan { shards: 4, ..Plan::default() });
    let mut clients: Vec<_> = (0..4).map(|_| rig.client()).collect();
    for (shard, client) in (0..4_u8).zip(&mut clients) {
        let cut = say("cut");
        let first = [hello(&format!("on {shard}")), say("behind"), cut[..7].to_vec()].concat();
        client.send(first);
        let at = rig.wait(|seen| if let Seen::Owned(at, ..) = seen { Some(at) } else { None });
        assert_eq!((at, client.receive_packet()), (shard, "behind".into()));
        client.send(&cut[7..]);
        assert_eq!(client.receive_packet(), "cut");
        assert_eq!(rig.stats(usize::from(shard)).streams, 1);
    }
    assert_eq!((rig.seats.taken(), (0..4).map(|shard| rig.stats(shard).half_open).sum::<u64>()), (4, 0));
}

#[test]
fn an_owned_stream_moves_with_all_that_was_read_and_staged() {
    let rig = Rig::start(Plan { shards: 4, ..Plan::default() });
    let mut client = rig.client();
    client.send(hello("on 0"));
    client.send([say("first"), say("move 2"), say("own"), say("behind the move")].concat());
    for text in ["first", "staged before the move", "behind the move"] {
        assert_eq!(client.receive_packet(), text);
    }
    let conn = rig.wait(|seen| if let Seen::Owned(2, conn, _) = seen { Some(conn) } else { None });
    // And outside of the callback, with a part of a packet kept.
    let cut = say("cut");
    client.send(&cut[..7]);
    rig.stats(2);
    rig.order(2, move |_, cx| cx.io.hand_over_stream(conn, hub::ShardId(1)));
    rig.stats_when(1, |stats| stats.streams == 1);
    client.send([&cut[7..], &say("own")[..]].concat());
    assert_eq!(client.receive_packet(), "cut");
    rig.wait(|seen| matches!(seen, Seen::Owned(1, ..)).then_some(()));
    let stats: Vec<_> = (0..4).map(|shard| rig.stats(shard).streams).collect();
    assert_eq!((stats, rig.seats.taken()), (vec![0, 1, 0, 0], 1));
}

#[test]
fn a_stream_moves_with_what_its_client_has_not_read() {
    let mut plan = Plan { shards: 2, ..Plan::default() };
    plan.config.limits.write_buffer_bytes_max = 64 << 20;
    let rig = Rig::start(plan);
    let mut client = rig.client();
    client.send(hello("on 0"));
    client.send([say("flood 400 50000"), say("move 1"), say("own"), say("end")].concat());
    rig.wait(|seen| (matches!(seen, Seen::Owned(1, ..))).then_some(()));
    (0..400).for_each(|_| assert_eq!(client.receive_packet().len(), 50_000));
    assert_eq!(
        (client.receive_packet(), client.receive_packet()),
        ("staged before the move".into(), "end".into())
    );
}

#[test]
fn a_listener_for_streams_takes_nothing_else() {
    let rig = Rig::one();
    let mut stream = Rig::client_of(rig.stream_address);
    stream.send([hello("own"), say("one")].concat());
    assert_eq!(stream.receive_packet(), "one");
    for first in ["GET /a HTTP/1.1\r\n\r\n", "\r\n", "\u{16}\u{3}\u{1}"] {
        let mut client = Rig::client_of(rig.stream_address);
        client.send(first);
        assert!(client.is_ended());
    }
    let stats = rig.stats_when(0, |stats| stats.connections == 1);
    assert_eq!((stats.closed_unknown, stats.requests, stats.requests_refused), (3, 0, 0));
}

#[test]
fn a_listener_that_needs_a_certificate_takes_nobody_without_one() {
    let rig = Rig::one();
    assert!(Rig::client_of(rig.secure_stream_address).is_ended());
    assert_eq!((rig.stats(0).accepted, rig.seats.taken()), (0, 0));
}

#[test]
fn the_kernel_asks_silent_peers_of_streams_whether_they_are_there() {
    let rig = Rig::one();
    let (_client, conn, _) = streaming(&rig);
    let mut http = rig.client();
    http.upgrade("/stream");
    http.frame(0x82, &hello("own"));
    let (carried, _) = owned(&rig);
    rig.order(0, move |double, cx| {
        for conn in [conn, carried] {
            let socket = socket2::SockRef::from(&cx.io.connections.get(conn).unwrap().stream);
            let asks = (socket.keepalive().unwrap(), socket.tcp_keepalive_retries().unwrap());
            let first = socket.tcp_keepalive_time().unwrap();
            let whole = first + socket.tcp_keepalive_interval().unwrap() * asks.1;
            assert_eq!((asks, first.as_secs()), ((true, 4), 60));
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(whole));
        }
        double.see(Seen::Text(9, "checked".into()));
    });
    rig.wait(|seen| (seen == Seen::Text(9, "checked".into())).then_some(()));
}
