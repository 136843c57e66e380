//! Delivery over real shards: back pressure, order, and one broadcast to clients of every kind.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::sync::mpsc::{Receiver, channel};

use hub::SessionId;
use support::client::{Http, Said, WebSocket, field, get, post};
use support::{Node, args};
use trunkline::config::{Config, RecoveryMode};
use trunkline::mail::Upcall;
use wire::values::Values;

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// Sessions that ended, with the reason.
type Ended = Receiver<(SessionId, &'static str)>;

fn start(mut config: Config) -> (Node, Ended) {
    config.ask_always = true;
    let (tell, ended) = channel();
    let node = Node::start(config, move |office, upcall| match upcall {
        Upcall::Connect { session, .. } => office.admit(session, &["all"]),
        // The test may be over.
        Upcall::Disconnected { session, text, .. } => drop(tell.send((session, text))),
        _ => {}
    });
    (node, ended)
}

fn join(node: &Node) -> (WebSocket, SessionId) {
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    socket.text("40");
    let id = field(&socket.next_text(), "sid").unwrap().parse().unwrap();
    (socket, id)
}

#[test]
fn a_client_that_reads_late_gets_everything_in_order() {
    let mut config = Config::loopback();
    config.limits.outbox_bytes_max = 64 << 20;
    let (node, _ended) = start(config);
    let (mut socket, id) = join(&node);
    let padding = "x".repeat(40_000);
    for number in 0..400 {
        node.office.emit(id, "big", &args(&format!("[{number},\"{padding}\"]")));
    }
    for number in 0..400 {
        let packet = socket.next_text();
        assert!(packet.starts_with(&format!("42[\"big\",{number},\"x")), "{number}: {}", &packet[..30]);
        assert_eq!(packet.len(), padding.len() + 13 + number.to_string().len());
    }
    node.office.emit(id, "end", &args("[]"));
    assert_eq!(socket.next_text(), r#"42["end"]"#, "deliveries go straight through again");
    node.stop();
}

#[test]
fn a_client_that_never_reads_ends_as_a_slow_consumer() {
    let mut config = Config::loopback();
    config.limits.outbox_messages_max = 20;
    let (node, ended) = start(config);
    let (_socket, id) = join(&node);
    let (mut other, _) = join(&node);
    let padding = "x".repeat(500_000);
    for number in 0..100 {
        node.office.emit(id, "big", &args(&format!("[{number},\"{padding}\"]")));
    }
    assert_eq!(ended.recv_timeout(support::client::PATIENCE).unwrap(), (id, "slow consumer"));
    node.office.broadcast("all", "still", &args("[]"));
    assert_eq!(other.next_text(), r#"42["still"]"#);
    node.stop();
}

#[test]
fn one_broadcast_reaches_clients_of_every_kind() {
    let mut config = Config::loopback();
    config.server.shards = 2;
    config.socketio.eio3 = true;
    config.namespaces[0].recovery = RecoveryMode::OptIn;
    let (node, _ended) = start(config);
    let mut plain: Vec<_> = (0..10).map(|_| join(&node).0).collect();
    let mut recovering = WebSocket::connect(node.address, SOCKET);
    recovering.next_text();
    recovering.text(r#"40{"csr":true}"#);
    recovering.next_text();
    let mut msgpack = WebSocket::connect(node.address, SOCKET);
    msgpack.next_text();
    msgpack.binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
    assert!(matches!(msgpack.next(), Said::Binary(_)));
    let mut old = WebSocket::connect(node.address, "/socket.io/?EIO=3&transport=websocket");
    old.next_text();
    assert_eq!(old.next_text(), "40");
    let target = format!("{POLL}&sid={}", field(get(node.address, POLL).text(), "sid").unwrap());
    post(node.address, &target, "40");
    let mut poll = Http::connect(node.address);
    assert!(poll.get(&target).text().starts_with("40"));
    poll.send("GET", &target, &[], None);

    let binary = Values::builder().string("a").binary(vec![1, 2].into()).build().unwrap();
    node.office.broadcast("all", "news", &binary);
    let header = r#"451-["news","a",{"_placeholder":true,"num":0}]"#;
    for socket in &mut plain {
        assert_eq!(socket.next_text(), header);
        assert_eq!(socket.next(), Said::Binary(vec![1, 2]));
    }
    let with_offset = recovering.next_text();
    let prefix = header.strip_suffix(']').unwrap();
    assert!(with_offset.starts_with(prefix) && with_offset.ends_with("\"]"), "{with_offset}");
    assert_eq!(recovering.next(), Said::Binary(vec![1, 2]));
    let Said::Binary(packet) = msgpack.next() else { panic!("one binary message") };
    assert!(packet.windows(4).any(|window| window == b"\xc4\x02\x01\x02"), "{packet:?}");
    assert_eq!(old.next_text(), header);
    assert_eq!(old.next(), Said::Binary(vec![4, 1, 2]));
    assert_eq!(poll.answer().text(), format!("{header}\u{1e}bAQI="));
    node.stop();
}

#[test]
fn an_upgrade_under_load_loses_and_reorders_nothing() {
    let (node, _ended) = start(Config::loopback());
    let target = format!("{POLL}&sid={}", field(get(node.address, POLL).text(), "sid").unwrap());
    post(node.address, &target, "40");
    let id = field(get(node.address, &target).text(), "sid").unwrap().parse().unwrap();
    let emit = |number: u32| node.office.emit(id, "n", &args(&format!("[{number}]")));
    let mut packets = Vec::new();
    (0..50).for_each(emit);
    let mut poll = Http::connect(node.address);
    packets.extend(poll.get(&target).text().split('\u{1e}').map(str::to_owned));
    let mut socket = WebSocket::connect(node.address, &target.replace("polling", "websocket"));
    (50..100).for_each(emit);
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    (100..150).for_each(emit);
    let body = poll.get(&target).text().to_owned();
    assert_eq!(body, "6", "between probe and upgrade polling gets only noops");
    socket.text("5");
    (150..200).for_each(emit);
    while packets.len() < 200 {
        packets.push(socket.next_text());
    }
    let expected: Vec<_> = (0..200).map(|number| format!("42[\"n\",{number}]")).collect();
    assert_eq!(packets, expected);
    node.stop();
}
