//! Requests: however they are cut, in order, one answer each.

use super::rig::{Client, Rig, Seen};
use crate::shard::{Closed, Response};
use std::io::Write;
use std::net::Shutdown;

#[test]
fn pipelined_requests_are_answered_in_order_and_the_connection_stays() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.send("GET /a HTTP/1.1\r\nhost: x\r\n\r\nPOST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.answer().body, "a on 0");
    assert_eq!(client.answer().body, "abc");
    assert_eq!(client.answer().body, "b on 0");
    client.get("/c");
    assert_eq!(client.answer().body, "c on 0");
    let stats = rig.stats(0);
    assert_eq!((stats.requests, stats.accepted, stats.connections), (4, 1, 1));
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let rig = Rig::one();
    let mut client = rig.client();
    for byte in b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello" {
        client.send([*byte]);
    }
    assert_eq!(client.answer().body, "hello");
}

#[test]
fn chunked_bodies_come_in_any_pieces() {
    let rig = Rig::one();
    let mut client = rig.client();
    let request = "POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n8;x=y\r\ndefghijk\r\n0\r\n\r\n";
    for size in [1, 2, 7, 1000] {
        for piece in request.as_bytes().chunks(size) {
            client.send(piece);
        }
        assert_eq!(client.answer().body, "abcdefghijk");
    }
}

#[test]
fn a_large_body_arrives_whole_and_the_next_request_behind_it_too() {
    let rig = Rig::one();
    let mut client = rig.client();
    let body = "0123456789".repeat(100_000);
    let mut writer = client.stream.try_clone().unwrap();
    let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let sending = std::thread::spawn(move || {
        writer.write_all(request.as_bytes()).unwrap();
        writer.write_all(b"GET /next HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    });
    assert_eq!(client.answer().body, body);
    assert_eq!(client.answer().body, "next on 0");
    sending.join().unwrap();
}

#[test]
fn a_client_that_waits_for_100_gets_it() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("ok");
    assert_eq!(client.answer().body, "ok");
}

#[test]
fn head_has_a_length_and_no_body_and_old_clients_get_a_close() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.send("HEAD /abc HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(client.head().contains("content-length: 8\r\n"));
    client.send("GET /old HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, "old on 0");
    assert!(client.is_ended());
    let mut client = rig.client();
    client.send("GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
    assert!(client.answer().head.contains("connection: keep-alive\r\n"));
    client.send("GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(client.answer().head.contains("connection: close\r\n"));
    assert!(client.is_ended());
}

#[test]
fn what_cannot_be_read_is_answered_and_ends_the_connection() {
    let rig = Rig::one();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nhost: x\r\nlong: {}\r\n\r\n", "y".repeat(20_000)), 431),
        (format!("GET /?{} HTTP/1.1\r\nhost: x\r\n\r\n", "y".repeat(5_000)), 414),
        ("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n".to_owned(), 413),
        ("POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n".to_owned(), 404),
        ("POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n".to_owned(), 400),
        ("GET /silence HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 500),
    ] {
        let mut client = rig.client();
        client.send(&request);
        assert_eq!(client.answer().status, status, "{request:.60}");
        assert!(client.is_ended());
    }
    let mut client = rig.client();
    client.get("/nowhere");
    assert_eq!(client.answer().status, 404);
    client.get("/here");
    assert_eq!(client.answer().body, "here on 0");
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4000000\r\n\r\n");
    let mut writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        // The server ends its side early; how much it still takes is its own affair.
        let _ = writer.write_all(&vec![b'x'; 4_000_000]);
        let _ = writer.shutdown(Shutdown::Write);
    });
    assert_eq!(client.answer().status, 413);
    sending.join().unwrap();
}

#[test]
fn a_held_request_is_answered_later_and_what_is_pipelined_behind_it_waits() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.send("GET /hold HTTP/1.1\r\nhost: x\r\n\r\nGET /behind HTTP/1.1\r\nhost: x\r\n\r\n");
    let (conn, _) =
        rig.wait(|seen| if let Seen::Held(conn, owner) = seen { Some((conn, owner)) } else { None });
    let stats = rig.stats(0);
    assert_eq!((stats.requests, stats.held), (1, 1));
    rig.order(0, move |_, cx| cx.io.respond(conn, Response::new(200).body("late")));
    assert_eq!(client.answer().body, "late");
    assert_eq!(client.answer().body, "behind on 0");
    client.get("/again");
    assert_eq!(client.answer().body, "again on 0");
    assert_eq!(rig.stats(0).held, 0);
}

#[test]
fn whoever_leaves_while_held_is_known_at_once_and_an_answer_to_it_is_harmless() {
    let rig = Rig::one();
    for end in [Shutdown::Write, Shutdown::Both] {
        let mut client = rig.client();
        client.get("/hold");
        let (conn, owner) =
            rig.wait(|seen| if let Seen::Held(conn, owner) = seen { Some((conn, owner)) } else { None });
        client.stream.shutdown(end).unwrap();
        assert_eq!(rig.next(), Seen::Closed(owner, Closed::Peer));
        rig.order(0, move |_, cx| {
            cx.io.respond(conn, Response::new(200));
            cx.io.close_after_flush(conn);
            assert_eq!(cx.io.peer_addr(conn), None);
        });
    }
    assert_eq!(rig.stats_when(0, |stats| stats.connections == 0).closed_peer, 2);
}

#[test]
fn a_poll_whose_fin_came_with_it_is_gone_and_any_other_request_is_still_answered() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.get("/a");
    client.get("/b");
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer().body, "a on 0");
    assert_eq!(client.answer().body, "b on 0");
    assert!(client.is_ended());
    let mut client = rig.client();
    client.get("/hold");
    client.stream.shutdown(Shutdown::Write).unwrap();
    rig.wait(|seen| matches!(seen, Seen::Closed(_, Closed::Peer)).then_some(()));
    assert!(client.is_ended());
}

#[test]
fn a_client_that_asks_and_does_not_read_is_not_read_either() {
    let rig = Rig::one();
    let mut client = rig.client();
    let request =
        format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n{}", "z".repeat(1_000_000));
    let mut writer = client.stream.try_clone().unwrap();
    let sending =
        std::thread::spawn(move || (0..40).for_each(|_| writer.write_all(request.as_bytes()).unwrap()));
    let stats = rig.stats_when(0, |stats| stats.blocked == 1);
    assert!(stats.write_buffer_bytes < 2_000_000, "{stats:?}");
    for _ in 0..40 {
        assert_eq!(client.answer().body.len(), 1_000_000);
    }
    sending.join().unwrap();
    let stats = rig.stats(0);
    assert_eq!((stats.blocked, stats.write_buffer_bytes, stats.requests), (0, 0, 40));
}

#[test]
fn the_end_of_a_shard_closes_idle_connections_and_frees_their_seats() {
    let rig = Rig::one();
    let mut idle: Client<_> = rig.client();
    idle.get("/a");
    idle.answer();
    let seats = rig.seats.clone();
    assert_eq!(seats.taken(), 1);
    let reading = std::thread::spawn(move || assert!(idle.is_ended()));
    rig.end();
    reading.join().unwrap();
    assert_eq!(seats.taken(), 0);
}
