//! How connections that the server ends, splits or slows look to clients, byte for byte over real shards.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use hub::SessionId;
use support::client::{Http, Said, WebSocket, field, get, post};
use support::whole::until::until_so;
use support::{Node, args};
use trunkline::config::Config;
use trunkline::mail::{Hello, Mail, Upcall};
use wire::values::Values;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);

/// Admits everybody but those who say `wait`.
fn start(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::loopback();
    config.ask_always = true;
    change(&mut config);
    Node::start(config, |office, upcall| {
        if let Upcall::Connect { session, hello: Hello::SocketIo { auth, .. }, .. } = upcall
            && auth.is_none()
        {
            office.admit(session, &["news"]);
        }
    })
}

fn open(node: &Node) -> String {
    format!("{POLL}&sid={}", field(get(node.address, POLL).text(), "sid").unwrap())
}

/// A polling session in `/`.
fn joined(node: &Node) -> (String, SessionId) {
    let target = open(node);
    assert_eq!(post(node.address, &target, "40").text(), "ok");
    let reply = get(node.address, &target).text().to_owned();
    (target, field(&reply, "sid").unwrap_or_else(|| panic!("{reply}")).parse().unwrap())
}

fn waiting_get(node: &Node, target: &str) -> Http {
    let mut http = Http::connect(node.address);
    http.send("GET", target, &[], None);
    http
}

fn seen(http: &mut Http) -> (u16, String) {
    let answer = http.answer();
    (answer.status, answer.text().to_owned())
}

/// python-socketio takes `1` for its own wish and stays away; an unknown session makes every client come back.
#[test]
fn a_poll_whose_client_is_to_come_back_is_told_that_the_session_is_unknown() {
    let node = start(|config| config.socketio.connect_timeout_ms = 200);
    let (target, session) = joined(&node);
    let mut poll = waiting_get(&node, &target);
    // The answer to another request shows that the GET is there.
    assert_eq!(post(node.address, &target, "3").text(), "ok");
    node.office.to_session(session, Mail::Disconnect { session });
    let (status, body) = UNKNOWN_SID;
    assert_eq!(seen(&mut poll), (status, body.to_owned()));
    // The back end does not answer a CONNECT.
    let target = open(&node);
    assert_eq!(post(node.address, &target, r#"40{"wait":1}"#).text(), "ok");
    assert_eq!(seen(&mut waiting_get(&node, &target)), (status, body.to_owned()));
    // A drain.
    let (target, _) = joined(&node);
    let mut poll = waiting_get(&node, &target);
    assert_eq!(post(node.address, &target, "3").text(), "ok");
    node.stop();
    assert_eq!(seen(&mut poll), (status, body.to_owned()));
}

/// What the client did wrong is final.
#[test]
fn a_poll_whose_client_broke_the_rules_ends_with_a_close_packet() {
    let node = start(|_| {});
    let (target, _) = joined(&node);
    let mut poll = waiting_get(&node, &target);
    assert_eq!(post(node.address, &target, "40").text(), "ok");
    assert_eq!(seen(&mut poll), (200, "1".to_owned()));
    node.stop();
}

/// python-engineio gives up a connection whose poll answer has more than 16 packets.
#[test]
fn a_poll_answer_has_at_most_16_packets() {
    let node = start(|_| {});
    let (target, session) = joined(&node);
    let mut binary = Values::builder();
    for byte in 0..10 {
        binary = binary.binary(vec![byte].into());
    }
    let binary = binary.build().unwrap();
    let numbers = 0..60;
    for number in numbers.clone() {
        node.office.emit(session, "n", &args(&format!("[{number}]")));
        if number % 7 == 0 {
            node.office.emit(session, "b", &binary);
        }
    }
    let mut expected = Vec::new();
    for number in numbers {
        expected.push(format!(r#"42["n",{number}]"#));
        if number % 7 == 0 {
            expected.push("451".to_owned());
            expected.extend(["bAA==", "bAQ==", "bAg==", "bAw==", "bBA=="].map(str::to_owned));
            expected.extend(["bBQ==", "bBg==", "bBw==", "bCA==", "bCQ=="].map(str::to_owned));
        }
    }
    let (mut packets, mut largest) = (Vec::new(), 0);
    while packets.len() < expected.len() {
        let answer = get(node.address, &target);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let some: Vec<_> = answer.text().split('\u{1e}').map(str::to_owned).collect();
        assert!(some.len() <= 16, "{some:?}");
        largest = largest.max(some.len());
        packets.extend(some);
    }
    assert_eq!(largest, 16);
    let packets: Vec<_> =
        packets.iter().map(|one| if one.starts_with("451") { "451" } else { &**one }).collect();
    assert_eq!(packets, expected);
    node.stop();
}

/// A polling session whose client was answered `3probe` and has not switched yet.
fn between_probe_and_switch(node: &Node) -> (String, SessionId, WebSocket) {
    let (target, session) = joined(node);
    let mut socket = WebSocket::connect(node.address, &target.replace("polling", "websocket"));
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    assert_eq!(get(node.address, &target).text(), "6");
    (target, session, socket)
}

/// Until the session is gone.
fn until_unknown(node: &Node, target: &str) {
    until_so("the session is gone", || post(node.address, target, "3").status != 200);
    let answer = get(node.address, target);
    assert_eq!((answer.status, answer.text()), UNKNOWN_SID);
}

/// socket.io-client would not notice a close there, and wait for a ping that cannot come.
#[test]
fn a_session_that_ends_in_the_middle_of_an_upgrade_lets_the_client_switch_first() {
    let node = start(|_| {});
    let (target, session, mut socket) = between_probe_and_switch(&node);
    node.office.to_session(session, Mail::Disconnect { session });
    until_unknown(&node, &target);
    assert!(socket.is_silent());
    socket.text("5");
    assert_eq!(socket.next(), Said::Closed(None));
    // A client that never switches holds it for the time of an upgrade, and goes when it goes.
    let (target, session, socket) = between_probe_and_switch(&node);
    node.office.to_session(session, Mail::Disconnect { session });
    until_unknown(&node, &target);
    drop(socket);
    // A drain lets it switch, too.
    let (_, _, mut socket) = between_probe_and_switch(&node);
    let mut other = WebSocket::connect(node.address, &POLL.replace("polling", "websocket"));
    node.office.end();
    other.until_closed();
    assert!(socket.is_silent());
    socket.text("5");
    assert_eq!(socket.next(), Said::Closed(None));
}

#[test]
fn a_client_that_never_switches_is_closed_when_the_upgrade_takes_too_long() {
    let node = start(|config| config.socketio.upgrade_timeout_ms = 300);
    let start = Instant::now();
    let (target, session, mut socket) = between_probe_and_switch(&node);
    node.office.to_session(session, Mail::Disconnect { session });
    until_unknown(&node, &target);
    assert_eq!(socket.next(), Said::Closed(None));
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    node.stop();
}

/// The head of a POST, and the first byte of its content.
fn begin_post(http: &mut Http, target: &str) {
    let head = format!("POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\n3");
    http.write(head.as_bytes());
}

/// An answer on this connection, so that the server knows it.
fn greeted(node: &Node) -> Http {
    let mut http = Http::connect(node.address);
    assert_eq!(http.get("/nothing").status, 404);
    http
}

#[test]
fn a_second_post_while_one_is_read_ends_the_session() {
    let node = start(|_| {});
    for whole in [true, false] {
        let (target, _) = joined(&node);
        let (mut first, mut second) = (greeted(&node), greeted(&node));
        let mut poll = waiting_get(&node, &target);
        assert_eq!(greeted(&node).post(&target, "3").text(), "ok");
        begin_post(&mut first, &target);
        if whole {
            assert_eq!(second.post(&target, "3").status, 400);
        } else {
            begin_post(&mut second, &target);
        }
        assert_eq!(seen(&mut poll), (200, "1".to_owned()));
        first.write(b"\x1e3");
        assert_eq!(seen(&mut first).0, 400);
        let answer = get(node.address, &target);
        assert_eq!((answer.status, answer.text()), UNKNOWN_SID);
    }
    node.stop();
}

#[test]
fn a_post_in_two_pieces_is_one_and_may_be_given_up() {
    let node = start(|_| {});
    let (target, _) = joined(&node);
    let mut first = greeted(&node);
    for _ in 0..2 {
        begin_post(&mut first, &target);
        assert_eq!(get(node.address, "/nothing").status, 404);
        first.write(b"\x1e3");
        assert_eq!(seen(&mut first), (200, "ok".to_owned()));
    }
    begin_post(&mut first, &target);
    assert_eq!(get(node.address, "/nothing").status, 404);
    drop(first);
    assert_eq!(post(node.address, &target, "3").text(), "ok");
    node.stop();
}
