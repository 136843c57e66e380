//! What a client can make the server hold before it has joined a namespace.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::sync::mpsc::channel;

use support::Node;
use support::client::{Answer, Http, WebSocket, field, get, post};
use trunkline::config::Config;
use trunkline::mail::Upcall;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

fn node(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::loopback();
    change(&mut config);
    config.ask_always = true;
    Node::start(config, |office, upcall| {
        if let Upcall::Connect { session, .. } = upcall {
            office.admit(session, &[]);
        }
    })
}

fn target_of(answer: &Answer) -> String {
    format!("{POLL}&sid={}", field(answer.text(), "sid").unwrap())
}

/// Joins `/` by polling.
fn join(node: &Node, target: &str) {
    assert_eq!(post(node.address, target, "40").text(), "ok");
    let joined = get(node.address, target);
    assert!(joined.text().starts_with("40"), "{joined:?}");
}

/// The head of a POST alone: its body does not come.
fn post_head(http: &mut Http, target: &str, bytes: usize) {
    http.write(
        format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {bytes}\r\n\r\n").as_bytes(),
    );
}

#[test]
fn handshakes_that_join_nothing_filled_the_memory() {
    let node = node(|config| config.limits.unjoined_max = 2);
    let mut http = Http::connect(node.address);
    let (first, second) = (http.get(POLL), http.get(POLL));
    let refused = http.get(POLL);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    // One joins, the other leaves: both have made room.
    join(&node, &target_of(&first));
    assert_eq!(post(node.address, &target_of(&second), "1").text(), "ok");
    let (third, fourth) = (http.get(POLL), http.get(POLL));
    assert_eq!((third.status, fourth.status, http.get(POLL).status), (200, 200, 503));
    // That one which has joined ends does not make more.
    assert_eq!(post(node.address, &target_of(&first), "1").text(), "ok");
    assert_eq!(http.get(POLL).status, 503);
    node.stop();
}

#[test]
fn transports_without_a_namespace_were_not_counted_as_sessions() {
    let node = node(|config| config.limits.sessions_max = 1);
    let mut http = Http::connect(node.address);
    assert_eq!((http.get(POLL).status, http.get(POLL).status), (200, 503));
    node.stop();
}

#[test]
fn a_handshake_kept_sixteen_kib() {
    let (tell, seen) = channel();
    let mut config = Config::loopback();
    config.ask_always = true;
    config.limits.handshake_bytes_max = 256;
    let node = Node::start(config, move |office, upcall| {
        if let Upcall::Connect { session, handshake, .. } = upcall {
            office.admit(session, &[]);
            let _ = tell.send(handshake);
        }
    });
    let mut http = Http::connect(node.address);
    assert_eq!(http.get(&format!("{POLL}&a&b&c&d")).status, 414, "many small ones cost too");
    // Of 256, 64 + 2 are the parameter: 64 + 13 + 140 have no room then, 64 + 6 + 10 have.
    let (long, short) = ("a".repeat(140), "c".repeat(10));
    http.send("GET", &format!("{POLL}&k=v"), &[("authorization", &*long), ("cookie", &*short)], None);
    assert_eq!(post(node.address, &target_of(&http.answer()), "40").text(), "ok");
    let handshake = seen.recv().unwrap();
    assert_eq!(handshake.query, [("k".into(), "v".into())]);
    assert_eq!(handshake.headers, [("cookie".into(), short.into())]);
    node.stop();
}

#[test]
fn a_body_that_belongs_to_no_session_was_read() {
    let node = node(|_| {});
    for (target, error) in [
        (POLL.to_owned(), r#"{"code":2,"message":"Bad handshake method"}"#),
        (format!("{POLL}&sid=nonsense"), r#"{"code":1,"message":"Session ID unknown"}"#),
    ] {
        let mut http = Http::connect(node.address);
        post_head(&mut http, &target, 100_000);
        let answer = http.answer();
        assert_eq!((answer.status, answer.text(), answer.header("connection")), (400, error, Some("close")));
    }
    node.stop();
}

#[test]
fn a_body_before_a_namespace_was_joined_was_read() {
    let node = node(|_| {});
    let target = target_of(&get(node.address, POLL));
    let mut http = Http::connect(node.address);
    post_head(&mut http, &target, 16_385);
    assert_eq!(http.answer().status, 413);
    join(&node, &target);
    let large = format!(r#"42["a","{}"]"#, "x".repeat(100_000));
    assert_eq!(post(node.address, &target, &large).text(), "ok");
    node.stop();
}

#[test]
fn a_websocket_took_large_messages_before_a_namespace_was_joined() {
    let node = node(|config| config.limits.connect_bytes_max = 1000);
    let large = format!(r#"42["a","{}"]"#, "x".repeat(100_000));
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    socket.text(&large);
    assert_eq!(socket.until_closed(), Some(1009));

    let mut joined = WebSocket::connect(node.address, SOCKET);
    joined.next_text();
    joined.text("40");
    joined.next_text();
    joined.text(&large);
    joined.text("40/nowhere,");
    assert!(joined.next_text().starts_with("44/nowhere,"));

    // Joined while polling, or only after the switch.
    for before in [true, false] {
        let target = target_of(&get(node.address, POLL));
        if before {
            join(&node, &target);
        }
        let mut switched = WebSocket::connect(node.address, &target.replace("polling", "websocket"));
        switched.text("2probe");
        assert_eq!(switched.next_text(), "3probe");
        switched.text("5");
        if !before {
            switched.text("40");
            switched.next_text();
        }
        switched.text(&large);
        switched.text("40/nowhere,");
        assert!(switched.next_text().starts_with("44/nowhere,"));
    }
    node.stop();
}
