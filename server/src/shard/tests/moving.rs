//! Connections between shards, and the order in which a shard sees what clients did.

use super::rig::{PASS_ON, PATIENCE, Plan, Rig, Seen, luggage, masked};
use crate::mail::{Mail, PeerMail};
use crate::shard::{Closed, Unsent};
use crate::state::End;

fn four() -> Rig {
    Rig::start(Plan { shards: 4, ..Plan::default() })
}

#[test]
fn a_connection_goes_where_each_of_its_requests_belongs() {
    let rig = four();
    let mut client = rig.client();
    for shard in [3, 0, 0, 2, 1, 3] {
        client.get(&format!("/on/{shard}/get"));
        assert_eq!(client.answer().body, format!("get on {shard}"));
    }
    let stats: Vec<_> = (0..4).map(|shard| rig.stats(shard)).collect();
    let total = |pick: fn(&crate::shard::Stats) -> u64| stats.iter().map(pick).sum::<u64>();
    assert_eq!(total(|stats| stats.connections), 1);
    assert_eq!(total(|stats| stats.handovers_out), total(|stats| stats.handovers_in));
    assert!((4..=5).contains(&total(|stats| stats.handovers_out)));
    assert_eq!((total(|stats| stats.accepted), rig.seats.taken()), (1, 1));
}

#[test]
fn pipelined_requests_are_answered_in_order_by_different_shards() {
    let rig = four();
    let mut client = rig.client();
    let request = |n: usize| format!("GET /on/{}/get HTTP/1.1\r\nhost: x\r\n\r\n", n % 4);
    client.send((0..40).map(request).collect::<String>());
    for n in 0..40 {
        assert_eq!(client.answer().body, format!("get on {}", n % 4));
    }
}

#[test]
fn a_body_that_is_still_coming_follows_its_head() {
    let rig = four();
    let mut client = rig.client();
    for shard in 0..4 {
        client.send(format!("POST /on/{shard}/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf"));
        client.send("and h");
        assert_eq!(client.answer().body, "halfand h");
    }
}

#[test]
fn a_websocket_is_opened_where_it_belongs() {
    let rig = four();
    for shard in 0..4 {
        let mut client = rig.client();
        client.upgrade(&format!("/on/{shard}/ws"));
        client.text("hello");
        assert_eq!(client.receive_text(), "hello");
        assert_eq!(rig.stats(shard).websockets, 1);
    }
}

#[test]
fn a_websocket_moves_with_all_that_was_read_and_staged() {
    let rig = four();
    let mut client = rig.client();
    client.upgrade("/on/0/ws");
    let mut bytes = masked(0x81, b"first");
    bytes.extend(masked(0x81, b"move 2"));
    bytes.extend(masked(0x81, b"behind the move"));
    let cut = masked(0x81, b"cut in the middle");
    bytes.extend(&cut[..9]);
    client.send(bytes);
    assert_eq!(client.receive_text(), "first");
    assert_eq!(client.receive_text(), "staged before the move");
    assert_eq!(client.receive_text(), "moved");
    assert_eq!(client.receive_text(), "behind the move");
    client.send(&cut[9..]);
    assert_eq!(client.receive_text(), "cut in the middle");
    client.text("move 1");
    assert_eq!(client.receive_text(), "staged before the move");
    assert_eq!(client.receive_text(), "moved");
    client.text("there");
    assert_eq!(client.receive_text(), "there");
    let texts: Vec<_> = std::iter::from_fn(|| rig.seen.try_recv().ok())
        .filter_map(|seen| if let Seen::Text(shard, text) = seen { Some((shard, text)) } else { None })
        .collect();
    let expected = [(0, "first"), (2, "behind the move"), (2, "cut in the middle"), (1, "there")];
    assert_eq!(texts, expected.map(|(shard, text)| (shard, text.to_owned())));
    assert_eq!((rig.stats(0).websockets, rig.stats(1).websockets, rig.stats(2).websockets), (0, 1, 0));
    assert_eq!(rig.seats.taken(), 1);
}

#[test]
fn a_session_migrates_outside_of_a_message_too() {
    let rig = four();
    let mut client = rig.client();
    client.upgrade("/on/0/ws");
    let conn = rig.wait(|seen| if let Seen::Upgraded(conn, _) = seen { Some(conn) } else { None });
    rig.order(0, move |_, cx| cx.io.migrate(conn, hub::ShardId(3), luggage()));
    assert_eq!(client.receive_text(), "moved");
    client.text("hello");
    assert_eq!(client.receive_text(), "hello");
    rig.wait(|seen| (seen == Seen::Text(3, "hello".into())).then_some(()));
}

#[test]
fn a_poll_that_was_given_up_is_known_before_the_request_that_follows_on_another_connection() {
    let rig = four();
    for round in 0..200 {
        let mut poll = rig.client();
        poll.get("/on/1/hold");
        let owner = rig.wait(|seen| if let Seen::Held(_, owner) = seen { Some(owner) } else { None });
        drop(poll);
        let mut next = rig.client();
        next.get("/on/1/next");
        assert_eq!(next.answer().body, "next on 1");
        assert_eq!(rig.next(), Seen::Closed(owner, Closed::Peer), "round {round}");
        assert!(matches!(rig.next(), Seen::Request(1, path) if path.ends_with("next")));
    }
}

#[test]
fn a_message_on_a_websocket_is_known_before_the_request_that_follows_it() {
    let rig = four();
    let mut socket = rig.client();
    socket.upgrade("/on/2/ws");
    for round in 0..200 {
        socket.text("5");
        let mut next = rig.client();
        next.get("/on/2/next");
        assert_eq!(next.answer().body, "next on 2");
        let texts = rig.wait(|seen| match seen {
            Seen::Text(2, _) => Some(true),
            Seen::Request(2, path) if path.ends_with("next") => Some(false),
            _ => None,
        });
        assert!(texts, "round {round}");
        rig.wait(|seen| matches!(seen, Seen::Request(2, _)).then_some(()));
        assert_eq!(socket.receive_text(), "5");
    }
}

#[test]
fn a_connection_that_nobody_takes_frees_its_seat() {
    let rig = four();
    let mut client = rig.client();
    client.get("/on/9/nobody");
    assert!(client.is_ended());
    let taken = || (0..4).map(|shard| rig.stats(shard).connections).sum::<u64>();
    assert_eq!((taken(), rig.seats.taken()), (0, 0));
}

#[test]
fn a_shard_that_is_done_still_does_what_the_others_ask_until_all_are_done() {
    let rig = four();
    let end = std::time::Instant::now() + PATIENCE;
    for shard in [0, 1] {
        rig.sender(shard).end_at(end);
        assert_eq!(rig.next(), Seen::Draining(u8::try_from(shard).unwrap()));
        // Nothing begins here any more, and whoever asks hears of it.
        while !matches!(rig.sender(shard).try_send(Mail::TailClosed), Err(Unsent::Closed)) {}
    }
    rig.order(2, |_, cx| {
        let mail = PeerMail::Hub(hub::HubMail::InterestKnown { token: PASS_ON + 1 });
        cx.io.post(hub::ShardId(0), mail);
    });
    assert_eq!(rig.next(), Seen::Peer(0, PASS_ON + 1));
    assert_eq!(rig.next(), Seen::Peer(1, 1));
    rig.end();
}

#[test]
fn shards_that_end_together_end_in_order() {
    let rig = four();
    (0..4).for_each(|shard| rig.sender(shard).end_at(std::time::Instant::now()));
    for _ in 0..4 {
        let end = rig.wait(|seen| if let Seen::Ended(_, end) = seen { Some(end) } else { None });
        assert_eq!(end, End::InOrder);
    }
    rig.end();
}

#[test]
fn a_shard_that_is_needed_does_what_the_back_office_says_until_it_is_not() {
    let rig = four();
    for shard in 0..4 {
        rig.sender(shard).needed();
        rig.sender(shard).end_at(std::time::Instant::now());
    }
    while !(0..4).all(|shard| rig.sender(shard).is_over()) {
        std::thread::yield_now();
    }
    assert_eq!((0..4).map(|shard| rig.stats(shard).connections).sum::<u64>(), 0);
    (0..4).for_each(|shard| rig.sender(shard).not_needed());
    for _ in 0..4 {
        let end = rig.wait(|seen| if let Seen::Ended(_, end) = seen { Some(end) } else { None });
        assert_eq!(end, End::InOrder);
    }
    rig.end();
}

#[test]
fn a_shard_that_waits_in_vain_for_another_says_that_it_was_cut() {
    let rig = Rig::start(Plan { shards: 2, ..Plan::default() });
    rig.sender(0).end_at(std::time::Instant::now());
    let cut = |shard| move |seen| (seen == Seen::Ended(shard, End::Cut)).then_some(());
    rig.wait(cut(0));
    rig.sender(1).end_at(std::time::Instant::now());
    rig.wait(cut(1));
    rig.end();
}
