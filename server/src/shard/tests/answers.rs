//! Answers that go on.

use super::rig::{Client, PATIENCE, Rig, Seen};
use crate::shard::{Closed, ConnKey, Owner};
use bytes::Bytes;
use std::io::Read;
use std::net::{Shutdown, TcpStream};

/// Asks for one that goes on; its beginning was read.
fn ask(rig: &Rig, version: &str) -> (Client<TcpStream>, ConnKey, Owner, String) {
    let mut client = rig.client();
    client.send(format!("GET /answer HTTP/{version}\r\nhost: x\r\n\r\n"));
    let (conn, owner) =
        rig.wait(|seen| if let Seen::Held(conn, owner) = seen { Some((conn, owner)) } else { None });
    let mut text = String::new();
    while !text.ends_with("one") && !text.ends_with("one\r\n") {
        text.push_str(&String::from_utf8(some(&mut client)).unwrap());
    }
    (client, conn, owner, text)
}

fn some(client: &mut Client<TcpStream>) -> Vec<u8> {
    client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = vec![0; 65_536];
    let read = client.stream.read(&mut bytes).unwrap();
    assert!(read > 0, "it goes on");
    bytes.truncate(read);
    bytes
}

#[test]
fn pieces_follow_the_head_and_what_the_client_says_is_discarded() {
    let rig = Rig::one();
    let (mut client, conn, owner, text) = ask(&rig, "1.1");
    assert!(
        text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("transfer-encoding: chunked\r\n"),
        "{text}"
    );
    assert!(text.contains("x-first: 1\r\n") && text.ends_with("\r\n\r\n3\r\none\r\n"), "{text}");
    assert_eq!(rig.stats(0).answers, 1);
    client.send("GET /behind HTTP/1.1\r\nhost: x\r\n\r\n");
    rig.order(0, move |_, cx| cx.io.stage(conn, &Bytes::from_static(b"3\r\ntwo\r\n")));
    assert_eq!(some(&mut client), b"3\r\ntwo\r\n");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.next(), Seen::Closed(owner, Closed::Peer));
    let stats = rig.stats(0);
    assert_eq!((stats.answers, stats.connections, stats.requests), (0, 0, 1));
}

#[test]
fn a_client_of_http_1_0_gets_pieces_up_to_the_end_of_the_connection() {
    let rig = Rig::one();
    let (mut client, conn, _, text) = ask(&rig, "1.0");
    assert!(!text.contains("chunked") && text.ends_with("\r\n\r\none"), "{text}");
    rig.order(0, move |_, cx| {
        cx.io.stage(conn, &Bytes::from_static(b"two"));
        cx.io.close_after_flush(conn);
    });
    assert_eq!(some(&mut client), b"two");
    assert!(client.is_ended());
}

#[test]
fn a_held_request_may_be_answered_like_that_later() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.get("/hold");
    let (conn, owner) =
        rig.wait(|seen| if let Seen::Held(conn, owner) = seen { Some((conn, owner)) } else { None });
    rig.order(0, move |_, cx| {
        let form = cx.io.begin_answer(conn, owner, &crate::shard::Response::new(200));
        assert_eq!(form, Some(wire::http::BodyForm::Chunked));
        let again = cx.io.begin_answer(conn, owner, &crate::shard::Response::new(200));
        assert_eq!(again, None, "it has begun");
        cx.io.stage(conn, &Bytes::from_static(b"0\r\n\r\n"));
        cx.io.close_after_flush(conn);
    });
    assert!(String::from_utf8(some(&mut client)).unwrap().ends_with("\r\n\r\n0\r\n\r\n"));
    assert!(client.is_ended());
}

#[test]
fn whoever_does_not_read_blocks_and_is_cut_off_at_the_bound() {
    let rig = Rig::one();
    let (mut client, conn, owner, _) = ask(&rig, "1.1");
    let piece = Bytes::from(vec![b'x'; 60_000]);
    let flood = move |pieces: usize| {
        let piece = piece.clone();
        move |_: &mut super::rig::Double, cx: &mut crate::shard::Cx<'_>| {
            (0..pieces).for_each(|_| cx.io.stage(conn, &piece));
        }
    };
    let mut pieces = 0;
    while rig.stats(0).blocked == 0 {
        rig.order(0, flood(8));
        pieces += 8;
        assert!(pieces < 10_000, "the socket takes it all");
    }
    assert_eq!(rig.next(), Seen::Blocked(owner));
    let mut left = pieces * 60_000;
    while left > 0 {
        left -= some(&mut client).len();
    }
    assert_eq!(rig.next(), Seen::Writable(owner));
    rig.order(0, flood(1000));
    let why = rig.wait(|seen| if let Seen::Closed(_, why) = seen { Some(why) } else { None });
    assert_eq!(why, Closed::TooLong);
}
