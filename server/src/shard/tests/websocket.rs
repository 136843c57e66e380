//! WebSockets: frames in and out, the end of a connection, back pressure, and the cost of a flush.

use super::rig::{Plan, Rig, Seen, masked};
use crate::shard::{Closed, ConnKey, Owner};
use bytes::Bytes;
use wire::websocket::{CloseCode, text_frame};

fn upgraded(rig: &Rig) -> (ConnKey, Owner) {
    rig.wait(|seen| if let Seen::Upgraded(conn, owner) = seen { Some((conn, owner)) } else { None })
}

#[test]
fn messages_of_all_sizes_are_echoed_however_they_are_cut() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    for size in [0, 1, 125, 126, 65_535, 65_536, 200_000, 1 << 20] {
        let mut writer = client.stream.try_clone().unwrap();
        let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let frame = masked(0x82, &payload);
        let sending = std::thread::spawn(move || {
            for piece in frame.chunks(40_001) {
                std::io::Write::write_all(&mut writer, piece).unwrap();
            }
        });
        assert_eq!(client.receive(), (0x82, payload));
        sending.join().unwrap();
    }
    for byte in masked(0x81, b"byte by byte") {
        client.send([byte]);
    }
    assert_eq!(client.receive_text(), "byte by byte");
}

#[test]
fn many_frames_in_one_read_are_echoed_in_order() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let frames: Vec<u8> = (0..2000).flat_map(|n: u32| masked(0x81, n.to_string().as_bytes())).collect();
    client.send(frames);
    for n in 0..2000 {
        assert_eq!(client.receive_text(), n.to_string());
    }
}

#[test]
fn a_ping_gets_its_pong_between_fragments_and_the_handler_sees_the_whole_message() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    client.frame(0x01, b"frag");
    client.frame(0x89, b"are you there");
    client.frame(0x80, b"ments");
    assert_eq!(client.receive(), (0x8a, b"are you there".to_vec()));
    assert_eq!(client.receive_text(), "fragments");
}

#[test]
fn a_close_is_echoed_and_told() {
    let rig = Rig::one();
    for (payload, echo) in [(&b""[..], &b""[..]), (&[0x03, 0xe8, b'b', b'y', b'e'], &[0x03, 0xe8])] {
        let mut client = rig.client();
        client.upgrade("/ws");
        let (_, owner) = upgraded(&rig);
        client.frame(0x88, payload);
        assert_eq!(client.receive(), (0x88, echo.to_vec()));
        assert!(client.is_ended());
        assert_eq!(rig.next(), Seen::Closed(owner, Closed::Peer));
        drop(client);
        rig.stats_when(0, |stats| stats.connections == 0 && stats.websockets == 0);
    }
}

#[test]
fn violations_are_answered_with_their_code() {
    let rig = Rig::one();
    let too_big = [0x82, 0xff, 0, 0, 0, 0, 0x10, 0, 0, 0, 1, 2, 3, 4];
    for (bytes, code) in
        [(&[0x81, 0x01, b'x'][..], 1002), (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007), (&too_big, 1009)]
    {
        let mut client = rig.client();
        client.upgrade("/ws");
        let (_, owner) = upgraded(&rig);
        client.send(bytes);
        let (first, payload) = client.receive();
        assert_eq!((first, u16::from_be_bytes([payload[0], payload[1]])), (0x88, code));
        assert!(client.is_ended());
        assert_eq!(rig.next(), Seen::Closed(owner, Closed::Violation(CloseCode(code))));
    }
}

#[test]
fn a_client_that_vanishes_is_told_to_the_handler() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let (_, owner) = upgraded(&rig);
    client.text("last words");
    drop(client);
    let why = rig.wait(|seen| if let Seen::Closed(closed, why) = seen { Some((closed, why)) } else { None });
    assert_eq!(why.0, owner);
    assert!(matches!(why.1, Closed::Peer | Closed::Error), "{why:?}");
}

#[test]
fn what_the_handler_says_last_is_delivered_and_its_own_close_is_not_told() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    upgraded(&rig);
    client.text("bye");
    assert_eq!(client.receive_text(), "goodbye");
    assert!(client.is_ended());
    drop(client);
    let stats = rig.stats_when(0, |stats| stats.connections == 0);
    assert_eq!((stats.closed_handler, stats.closed_peer), (1, 0));
    assert!(rig.seen.try_recv().is_err());
}

#[test]
fn a_turn_writes_each_connection_once() {
    let rig = Rig::one();
    let mut clients: Vec<_> = (0..3).map(|_| rig.client()).collect();
    clients.iter_mut().for_each(|client| client.upgrade("/ws"));
    let conns: Vec<ConnKey> = (0..3).map(|_| upgraded(&rig).0).collect();
    let before = rig.stats(0);
    rig.order(0, move |_, cx| {
        for n in 0..50 {
            let frame = text_frame(&[format!("frame {n}").as_bytes()]);
            conns.iter().for_each(|conn| cx.io.stage(*conn, &frame));
        }
    });
    for client in &mut clients {
        (0..50).for_each(|n| assert_eq!(client.receive_text(), format!("frame {n}")));
    }
    let after = rig.stats(0);
    assert_eq!((after.pieces_out - before.pieces_out, after.writes - before.writes), (150, 3));
    assert_eq!(after.reads, before.reads);
}

#[test]
fn a_thousand_small_pieces_arrive_in_order_by_one_call() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let (conn, _) = upgraded(&rig);
    let before = rig.stats(0).writes;
    rig.order(0, move |_, cx| {
        (0..1000).for_each(|n| cx.io.stage(conn, &text_frame(&[format!("{n:04}").as_bytes()])));
    });
    (0..1000).for_each(|n| assert_eq!(client.receive_text(), format!("{n:04}")));
    assert_eq!(rig.stats(0).writes - before, 1);
}

#[test]
fn a_client_that_does_not_read_blocks_and_is_writable_again_when_it_does() {
    let mut plan = Plan::default();
    plan.config.limits.write_buffer_bytes_max = 64 << 20;
    let rig = Rig::start(plan);
    let mut client = rig.client();
    client.upgrade("/ws");
    let (_, owner) = upgraded(&rig);
    client.text("flood 400 50000");
    assert_eq!(rig.next(), Seen::Blocked(owner));
    let stats = rig.stats(0);
    assert!(stats.blocked == 1 && stats.write_buffer_bytes > 1 << 20, "{stats:?}");
    (0..400).for_each(|_| assert_eq!(client.receive_text().len(), 50_000));
    assert_eq!(rig.next(), Seen::Writable(owner));
    let stats = rig.stats(0);
    assert_eq!((stats.blocked, stats.write_buffer_bytes), (0, 0));
    client.text("still in order");
    assert_eq!(client.receive_text(), "still in order");
}

#[test]
fn a_client_that_does_not_read_is_given_up_at_the_bound_of_its_write_buffer() {
    let mut plan = Plan::default();
    plan.config.limits.write_buffer_bytes_max = 1 << 20;
    let rig = Rig::start(plan);
    let mut client = rig.client();
    client.upgrade("/ws");
    let (_, owner) = upgraded(&rig);
    client.text("flood 100000 1000");
    rig.wait(|seen| (seen == Seen::Closed(owner, Closed::TooLong)).then_some(()));
    let stats = rig.stats(0);
    assert_eq!((stats.connections, stats.blocked, stats.write_buffer_bytes), (0, 0, 0));
    assert_eq!(stats.closed_too_long, 1);
}

#[test]
fn a_paused_connection_keeps_its_messages_until_it_is_read_again() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let (conn, _) = upgraded(&rig);
    let both: Vec<u8> = [masked(0x81, b"pause"), masked(0x81, b"kept")].concat();
    client.send(both);
    client.text("in the socket");
    rig.stats_when(0, |stats| stats.messages_in == 1);
    rig.order(0, move |double, cx| {
        assert!(!cx.io.is_reading(conn));
        double.see(Seen::Text(9, "resumed".into()));
        cx.io.resume_reading(conn);
    });
    assert_eq!(rig.next(), Seen::Text(9, "resumed".into()));
    assert_eq!(rig.next(), Seen::Text(0, "kept".into()));
    assert_eq!(rig.next(), Seen::Text(0, "in the socket".into()));
    assert_eq!((client.receive_text(), client.receive_text()), ("kept".into(), "in the socket".into()));
}

#[test]
fn one_client_that_sends_without_end_does_not_starve_another() {
    let rig = Rig::one();
    let mut greedy = rig.client();
    greedy.upgrade("/ws");
    let payload = vec![b'g'; 1000];
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let mut writer = greedy.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // Pongs are not answered, so the greedy one may go on for ever.
        let burst: Vec<u8> = (0..500).flat_map(|_| masked(0x8a, &[b'p'; 100])).collect();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            std::io::Write::write_all(&mut writer, &burst).unwrap();
        }
    });
    let mut modest = rig.client();
    modest.upgrade("/ws");
    for _ in 0..100 {
        modest.frame(0x82, &payload);
        assert_eq!(modest.receive().1, payload);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sending.join().unwrap();
}

#[test]
fn nothing_is_staged_for_a_stale_key() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let (conn, owner) = upgraded(&rig);
    rig.order(0, move |_, cx| {
        cx.io.stage(conn, &Bytes::from_static(b"never sent"));
        cx.io.close(conn);
        cx.io.stage(conn, &Bytes::from_static(b"never sent"));
        cx.io.arm(owner, cx.io.now());
        cx.io.disarm(owner);
    });
    assert!(client.is_ended());
    let stats = rig.stats(0);
    assert_eq!((stats.connections, stats.websockets), (0, 0));
    assert!(rig.seen.try_recv().is_err());
}
