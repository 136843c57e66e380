//! Socket.IO over real shards, byte for byte: packets, namespaces, acknowledgements, rooms, what ends a connection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};

use hub::{ChannelName, Command, Except, Members, Reason, Report, SessionId, Target, Token};
use support::client::{Http, Said, WebSocket, field, get, post};
use support::{Node, Office, args, message};
use trunkline::config::{Config, EventRoute, HeaderName, NamespaceMatch, NamespaceName, NamespacePattern};
use trunkline::mail::{Hello, Mail, Upcall};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// What the back end saw.
#[derive(Debug, PartialEq)]
enum Seen {
    Connect(SessionId, String, Option<String>),
    Event(String, String),
    Disconnected(SessionId, &'static str, bool),
}

struct Bench {
    node: Node,
    seen: Receiver<Seen>,
    reports: VecDeque<(Token, Report)>,
}

fn config() -> Config {
    let mut config = Config::loopback();
    config.ask_always = true;
    let root = config.namespaces[0].clone();
    let mut add = |names, events| {
        let mut rule = root.clone();
        rule.names = names;
        rule.events = events;
        config.namespaces.push(rule);
    };
    let exact = |name| NamespaceMatch::Exact(NamespaceName::parse(name).unwrap());
    add(exact("/chat"), EventRoute::BackEnd);
    add(exact("/relay"), EventRoute::Relay);
    add(exact("/drop"), EventRoute::Drop);
    add(exact("/slow"), EventRoute::BackEnd);
    add(NamespaceMatch::Pattern(NamespacePattern::parse("/team-*").unwrap()), EventRoute::BackEnd);
    config
}

/// Admits everybody with `{"deny":..}` refused and `/slow` unanswered; echoes events, answers acks.
fn start(config: Config) -> Bench {
    let (tell, seen) = channel();
    let node = Node::start(config, move |office, upcall| back_end(office, &tell, upcall));
    Bench { node, seen, reports: VecDeque::new() }
}

fn back_end(office: &Office, tell: &Sender<Seen>, upcall: Upcall) {
    let seen = match upcall {
        Upcall::Connect { session, hello: Hello::SocketIo { namespace, auth }, .. } => {
            let auth = auth.map(|auth| String::from_utf8(auth.to_vec()).unwrap());
            match auth.as_deref() {
                Some(r#"{"deny":1}"#) => office.refuse(session, "no entry", None),
                Some(r#"{"deny":2}"#) => office.refuse(session, "no entry", Some(r#"{"why":"late"}"#)),
                _ if &*namespace == "/slow" => {}
                Some(text) if text.contains("rooms") => office.admit(session, &["r1", "r2"]),
                _ => office.admit(session, &[]),
            }
            Seen::Connect(session, namespace.to_string(), auth)
        }
        Upcall::Event { session, namespace, values, request } => {
            let event = values.as_event().unwrap();
            match request {
                Some(request) => {
                    office.answer(session, request, &event.args());
                    // A second answer must not reach the client.
                    office.answer(session, request, &args(r#"["again"]"#));
                }
                None => office.emit(session, "back", &event.args()),
            }
            Seen::Event(namespace.to_string(), values.json().to_owned())
        }
        Upcall::Disconnected { session, text, resumable_ms, .. } => {
            Seen::Disconnected(session, text, resumable_ms.is_some())
        }
        _ => return,
    };
    // The test may be over.
    let _ = tell.send(seen);
}

impl Bench {
    fn socket(&self) -> WebSocket {
        let mut socket = WebSocket::connect(self.node.address, SOCKET);
        assert!(socket.next_text().starts_with("0{"));
        socket
    }

    /// A socket in `/`, and its id.
    fn joined(&self) -> (WebSocket, SessionId) {
        self.joined_with("40")
    }

    fn joined_with(&self, connect: &str) -> (WebSocket, SessionId) {
        let mut socket = self.socket();
        socket.text(connect);
        let reply = socket.next_text();
        assert!(reply.starts_with("40"), "{reply}");
        let id = field(&reply, "sid").unwrap().parse().unwrap();
        while !matches!(self.seen(), Seen::Connect(..)) {}
        (socket, id)
    }

    fn seen(&self) -> Seen {
        self.seen.recv_timeout(support::client::PATIENCE).expect("the back end is told")
    }

    fn report(&mut self, token: Token) -> Report {
        loop {
            while let Some((one, report)) = self.reports.pop_front() {
                if one == token {
                    return report;
                }
            }
            self.reports.extend(self.node.reports.blocking_recv().unwrap());
        }
    }

    fn count(&mut self, command: impl FnOnce(Token) -> Command, session: SessionId) -> u64 {
        let token = Token(900_000);
        self.node.office.to_session(session, Mail::Hub(command(token)));
        match self.report(token) {
            Report::Count(count) => count,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn connect_with_and_without_payload_and_namespace() {
    let bench = start(config());
    for (connect, namespace, auth) in [
        ("40", "/", None),
        ("40{\"token\":\"1\"}", "/", Some("{\"token\":\"1\"}")),
        ("40/chat", "/chat", None),
        ("40/chat,", "/chat", None),
        ("40/chat,{\"a\":[1]}", "/chat", Some("{\"a\":[1]}")),
        ("40/team-red,", "/team-red", None),
    ] {
        let mut socket = bench.socket();
        socket.text(connect);
        let reply = socket.next_text();
        let id = field(&reply, "sid").unwrap();
        let prefix = if namespace == "/" { "40".to_owned() } else { format!("40{namespace},") };
        assert_eq!(reply, format!("{prefix}{{\"sid\":\"{id}\"}}"), "exactly one key without recovery");
        assert_eq!(id.len(), 20);
        let session = id.parse().unwrap();
        assert_eq!(bench.seen(), Seen::Connect(session, namespace.into(), auth.map(str::to_owned)));
        drop(socket);
        assert_eq!(bench.seen(), Seen::Disconnected(session, "transport close", false));
    }
    bench.node.stop();
}

#[test]
fn refusals_are_connect_errors_and_the_connection_stays() {
    let bench = start(config());
    let mut socket = bench.socket();
    socket.text("40/random");
    assert_eq!(socket.next_text(), r#"44/random,{"message":"Invalid namespace"}"#);
    socket.text("40/chat?x=1,");
    assert_eq!(socket.next_text(), r#"44/chat?x=1,{"message":"Invalid namespace"}"#);
    socket.text("40/team-,");
    assert_eq!(socket.next_text(), r#"44/team-,{"message":"Invalid namespace"}"#);
    socket.text(r#"40{"deny":1}"#);
    assert_eq!(socket.next_text(), r#"44{"message":"no entry"}"#);
    socket.text(r#"40/chat,{"deny":2}"#);
    assert_eq!(socket.next_text(), r#"44/chat,{"message":"no entry","data":{"why":"late"}}"#);
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"), "a refused namespace may be asked for again");
    bench.node.stop();
}

#[test]
fn violations_close_every_namespace() {
    let bench = start(config());
    let bad = [
        "4abc",
        "42{}",
        "42[]",
        "42[null]",
        r#"42["connect"]"#,
        r#"42["disconnecting",1]"#,
        r#"42abc["a"]"#,
        r#"421.5["a"]"#,
        "40[1]",
        "40",
        "41{}",
        "43{}",
        "430",
        r#"44{"message":"x"}"#,
        r#"42/chat,["not connected"]"#,
        "41/chat",
        r#"4511-["a",{"_placeholder":true,"num":0}]"#,
        r#"45-["a"]"#,
    ];
    for packet in bad {
        let (mut socket, id) = bench.joined();
        socket.text(packet);
        assert_eq!(socket.until_closed(), None, "{packet}");
        assert_eq!(bench.seen(), Seen::Disconnected(id, "forced close", false), "{packet}");
    }
    let (mut socket, _) = bench.joined();
    socket.text(r#"451-["a",{"_placeholder":true,"num":0}]"#);
    socket.text("42[\"text while attachments are missing\"]");
    socket.until_closed();
    let (mut socket, _) = bench.joined();
    socket.binary(&[1]);
    socket.until_closed();
    let (mut socket, _) = bench.joined();
    socket.text(r#"451-["a",{"_placeholder":true,"num":1}]"#);
    socket.binary(&[1]);
    socket.until_closed();
    bench.node.stop();
}

#[test]
fn packets_before_the_answer_to_connect_close() {
    let bench = start(config());
    let mut socket = bench.socket();
    socket.texts(&["40/slow,", "42/slow,[\"early\"]"]);
    assert_eq!(socket.until_closed(), None);
    bench.node.stop();
}

#[test]
fn nobody_joins_in_time() {
    let mut config = config();
    config.socketio.connect_timeout_ms = 150;
    let bench = start(config);
    let mut silent = bench.socket();
    let mut waiting = bench.socket();
    waiting.text("40/slow,");
    assert_eq!(silent.until_closed(), None);
    assert_eq!(waiting.until_closed(), None, "no answer of the back end");
    let (mut stays, _) = bench.joined();
    stays.texts(&["41", "40"]);
    assert!(stays.next_text().starts_with("40{"), "leaving and joining in one read");
    stays.text("41");
    std::thread::park_timeout(std::time::Duration::from_millis(250));
    stays.text("40/chat");
    assert!(stays.next_text().starts_with("40/chat,{"), "after the first join the connection stays");
    bench.node.stop();
}

#[test]
fn events_keep_their_arguments_and_binary() {
    let bench = start(config());
    let (mut socket, _) = bench.joined();
    socket.text(r#"42["ev",1,"2",{"3":[true,null]}]"#);
    assert_eq!(socket.next_text(), r#"42["back",1,"2",{"3":[true,null]}]"#);
    assert_eq!(bench.seen(), Seen::Event("/".into(), r#"["ev",1,"2",{"3":[true,null]}]"#.into()));
    socket.text("42[7,1]");
    assert_eq!(socket.next_text(), r#"42["back",1]"#, "a number may be the name");
    socket.text(r#"452-["ev",{"a":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1}]]"#);
    socket.binary(&[1, 2, 3]);
    socket.binary(&[]);
    let expected = r#"452-["back",{"a":{"_placeholder":true,"num":0}},[{"_placeholder":true,"num":1}]]"#;
    assert_eq!(socket.next_text(), expected);
    assert_eq!(socket.next(), Said::Binary(vec![1, 2, 3]));
    assert_eq!(socket.next(), Said::Binary(vec![]));
    bench.node.stop();
}

#[test]
fn acks_are_answered_once() {
    let bench = start(config());
    let (mut socket, _) = bench.joined_with("40/chat,");
    socket.text(r#"42/chat,0["ev",1]"#);
    assert_eq!(socket.next_text(), "43/chat,0[1]");
    socket.text(r#"42/chat,456["ev"]"#);
    assert_eq!(socket.next_text(), "43/chat,456[]");
    socket.text(r#"451-/chat,7["ev",{"_placeholder":true,"num":0}]"#);
    socket.binary(&[9]);
    assert_eq!(socket.next_text(), r#"461-/chat,7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(socket.next(), Said::Binary(vec![9]));
    socket.text("43/chat,99[\"unknown ids are ignored\"]");
    socket.text(r#"42/chat,1["still there"]"#);
    assert_eq!(socket.next_text(), "43/chat,1[]");
    bench.node.stop();
}

#[test]
fn a_server_ask_is_answered_by_the_clients_ack() {
    let mut bench = start(config());
    let (mut socket, id) = bench.joined();
    let target = Target::Session(id);
    let token = Token(77);
    let ask = hub::Publish {
        reply_within_ms: Some(5_000),
        token: Some(token),
        ..message(1, target.clone(), "question", &args("[1]"))
    };
    bench.node.office.publish_as(&target, ask);
    let question = socket.next_text();
    let number = question.strip_prefix("42").unwrap().strip_suffix(r#"["question",1]"#).unwrap();
    assert!(number.parse::<u64>().is_ok(), "{question}");
    socket.text(&format!("43{number}[\"yes\"]"));
    let reply = loop {
        match bench.report(token) {
            Report::Reply { session, body } => break (session, body),
            Report::RepliesClosed { .. } => panic!("closed without the reply"),
            _ => {}
        }
    };
    assert_eq!(reply, (id, support::body(&args(r#"["yes"]"#))));
    bench.node.stop();
}

#[test]
fn broadcasts_rooms_and_except() {
    let bench = start(config());
    let office = bench.node.office.clone();
    let (mut one, id) = bench.joined_with(r#"40{"rooms":1}"#);
    let (mut two, _) = bench.joined();
    office.broadcast("main", "all", &args("[1]"));
    assert_eq!(one.next_text(), r#"42["all",1]"#);
    assert_eq!(two.next_text(), r#"42["all",1]"#);
    let union = ["r1", "r2"].map(|name| ChannelName::parse(name, 100).unwrap()).to_vec();
    let target = Target::Union(union);
    office.publish_as(&target, message(5, target.clone(), "union", &args("[]")));
    assert_eq!(one.next_text(), r#"42["union"]"#, "once, though in both rooms");
    let target = Target::Channel(ChannelName::parse("main", 100).unwrap());
    let except = Some(Box::new(Except { sessions: vec![id], channels: Vec::new() }));
    let publish = hub::Publish { except, ..message(6, target.clone(), "others", &args("[]")) };
    office.publish_as(&target, publish);
    assert_eq!(two.next_text(), r#"42["others"]"#);
    office.broadcast("main", "end", &args("[]"));
    assert_eq!(
        one.next_text(),
        r#"42["end"]"#,
        "neither the union a second time nor what it was left out of"
    );
    assert_eq!(two.next_text(), r#"42["end"]"#);
    bench.node.stop();
}

#[test]
fn relay_republishes_to_the_others_and_drop_does_nothing() {
    let mut config = config();
    config.server.shards = 2;
    let bench = start(config);
    let (mut one, _) = bench.joined_with("40/relay,");
    let (mut two, _) = bench.joined_with("40/relay,");
    one.text(r#"42/relay,5["say","hi"]"#);
    assert_eq!(one.next_text(), "43/relay,5[]", "and no copy of its own event");
    assert_eq!(two.next_text(), r#"42/relay,["say","hi"]"#);
    two.text(r#"451-/relay,["bin",{"_placeholder":true,"num":0}]"#);
    two.binary(&[1, 2]);
    assert_eq!(one.next_text(), r#"451-/relay,["bin",{"_placeholder":true,"num":0}]"#);
    assert_eq!(one.next(), Said::Binary(vec![1, 2]));
    let (mut dropped, _) = bench.joined_with("40/drop,");
    dropped.text(r#"42/drop,1["gone"]"#);
    dropped.text("40");
    assert!(dropped.next_text().starts_with("40{"), "no acknowledgement came before it");
    bench.node.stop();
}

#[test]
fn the_back_end_ends_sessions_and_connections() {
    let mut bench = start(config());
    let (mut socket, id) = bench.joined_with("40/chat,");
    socket.text("40");
    socket.next_text();
    assert!(matches!(bench.seen(), Seen::Connect(..)));
    let of = Members::Session(id);
    let kick = |token| Command::EndMembers { of: of.clone(), reason: Reason::Kicked, token };
    assert_eq!(bench.count(kick, id), 1);
    assert_eq!(socket.next_text(), "41/chat,");
    assert_eq!(bench.seen(), Seen::Disconnected(id, "server namespace disconnect", false));
    socket.text(r#"42["ev","still connected"]"#);
    assert_eq!(socket.next_text(), r#"42["back","still connected"]"#);
    let (mut socket, id) = bench.joined();
    bench.node.office.to_session(id, Mail::Disconnect { session: id });
    assert_eq!(socket.until_closed(), None);
    while bench.seen() != Seen::Disconnected(id, "forced server close", false) {}
    bench.node.stop();
}

#[test]
fn reasons_of_clients() {
    let mut config = config();
    config.socketio.max_payload_bytes = 10_000;
    let bench = start(config);
    let (mut socket, id) = bench.joined();
    socket.text("41");
    assert_eq!(bench.seen(), Seen::Disconnected(id, "client namespace disconnect", false));
    let (mut socket, id) = bench.joined();
    socket.text("x");
    assert_eq!(bench.seen(), Seen::Disconnected(id, "parse error", false));
    let (mut socket, id) = bench.joined();
    socket.text(&"4".repeat(10_001));
    assert_eq!(bench.seen(), Seen::Disconnected(id, "transport error", false));
    let (mut socket, id) = bench.joined();
    socket.text("2");
    assert_eq!(bench.seen(), Seen::Disconnected(id, "transport error", false));
    let (mut socket, id) = bench.joined();
    socket.text("1");
    assert_eq!(bench.seen(), Seen::Disconnected(id, "transport close", false));
    bench.node.stop();
}

#[test]
fn polling_carries_everything() {
    let bench = start(config());
    let sid = field(get(bench.node.address, POLL).text(), "sid").unwrap();
    let target = format!("{POLL}&sid={sid}");
    post(bench.node.address, &target, "40");
    let mut poll = Http::connect(bench.node.address);
    let reply = poll.get(&target).text().to_owned();
    let id: SessionId = field(&reply, "sid").unwrap().parse().unwrap();
    let office = &bench.node.office;
    let both = "452-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    post(bench.node.address, &target, &format!("{both}\u{1e}bAQ==\u{1e}bAgM="));
    assert_eq!(
        poll.get(&target).text(),
        format!("{}\u{1e}bAQ==\u{1e}bAgM=", both.replace("\"a\"", "\"back\""))
    );
    for number in 0..40 {
        office.emit(id, "many", &args(&format!("[{number}]")));
    }
    let mut packets = Vec::new();
    while packets.len() < 40 {
        packets.extend(poll.get(&target).text().split('\u{1e}').map(str::to_owned));
    }
    let expected: Vec<_> = (0..40).map(|number| format!("42[\"many\",{number}]")).collect();
    assert_eq!(packets, expected, "in order, whatever the number of polls");
    bench.node.stop();
}

#[test]
fn a_slow_poller_ends_when_its_outbox_is_full() {
    let mut config = config();
    config.limits.outbox_messages_max = 5;
    let bench = start(config);
    let sid = field(get(bench.node.address, POLL).text(), "sid").unwrap();
    let target = format!("{POLL}&sid={sid}");
    post(bench.node.address, &target, "40");
    let id: SessionId = field(get(bench.node.address, &target).text(), "sid").unwrap().parse().unwrap();
    (0..10).for_each(|_| bench.node.office.emit(id, "many", &args("[]")));
    assert!(matches!(bench.seen(), Seen::Connect(..)));
    assert_eq!(bench.seen(), Seen::Disconnected(id, "slow consumer", false));
    assert_eq!(get(bench.node.address, &target).status, 400);
    bench.node.stop();
}

#[test]
fn msgpack_is_recognised_by_the_first_message() {
    let bench = start(config());
    let mut socket = bench.socket();
    // {type:0, data:undefined→absent, nsp:"/"}
    socket.binary(b"\x82\xa4type\x00\xa3nsp\xa1/");
    let Said::Binary(reply) = socket.next() else { panic!("a msgpack reply") };
    assert_eq!(reply.first().map(|byte| byte & 0xf0), Some(0x80), "{reply:?}");
    // {type:2, data:["ev", <bin 1 2>], nsp:"/", id:3}
    socket.binary(b"\x84\xa4type\x02\xa4data\x92\xa2ev\xc4\x02\x01\x02\xa3nsp\xa1/\xa2id\x03");
    let Said::Binary(reply) = socket.next() else { panic!("a msgpack ack") };
    assert!(reply.windows(4).any(|window| window == b"\xc4\x02\x01\x02"), "{reply:?}");
    socket.text("42[\"text\"]");
    assert_eq!(socket.until_closed(), None);
    bench.node.stop();
}

#[test]
fn a_connection_joins_so_many_namespaces() {
    let mut config = config();
    config.limits.namespaces_per_connection_max = 2;
    let bench = start(config);
    let (mut socket, _) = bench.joined();
    socket.text("40/chat,");
    assert!(socket.next_text().starts_with("40/chat,"));
    socket.text("40/team-a,");
    assert_eq!(socket.next_text(), r#"44/team-a,{"message":"Too many namespaces"}"#);
    bench.node.stop();
}

#[test]
fn revision_3_clients_are_in_the_root_at_once() {
    let mut config = config();
    config.socketio.eio3 = true;
    let bench = start(config);
    let mut socket = WebSocket::connect(bench.node.address, "/socket.io/?EIO=3&transport=websocket");
    socket.next_text();
    assert_eq!(socket.next_text(), "40");
    socket.text("40/chat?token=1,");
    assert_eq!(socket.next_text(), "40/chat,", "without payload");
    assert!(matches!(bench.seen(), Seen::Connect(_, name, None) if name == "/"));
    let connect = bench.seen();
    assert!(
        matches!(&connect, Seen::Connect(_, name, Some(auth)) if name == "/chat" && auth == r#"{"token":"1"}"#),
        "{connect:?}"
    );
    socket.text(r#"42["ev",1]"#);
    assert_eq!(socket.next_text(), r#"42["back",1]"#);
    socket.text(r#"451-["ev",{"_placeholder":true,"num":0}]"#);
    socket.binary(&[4, 1, 2]);
    assert_eq!(socket.next_text(), r#"451-["back",{"_placeholder":true,"num":0}]"#);
    assert_eq!(socket.next(), Said::Binary(vec![4, 1, 2]), "with the type byte");
    socket.text("40/random,");
    assert_eq!(socket.next_text(), r#"44/random,{"message":"Invalid namespace"}"#);
    socket.text("2");
    assert_eq!(socket.next_text(), "3");
    bench.node.stop();
}

#[test]
fn anonymous_clients_are_let_in_without_asking() {
    let mut config = config();
    config.auth.mode = trunkline::config::AuthMode::Anonymous;
    config.ask_always = false;
    let bench = start(config);
    let mut socket = bench.socket();
    socket.text("40/slow,");
    assert!(socket.next_text().starts_with("40/slow,{"));
    bench.node.stop();
}

#[test]
fn inspection_names_protocol_transport_and_namespace() {
    let bench = start(config());
    let (_socket, id) = bench.joined_with("40/chat,");
    let (reply, answer) = tokio::sync::oneshot::channel();
    let unknown = SessionId([0; 15]);
    bench.node.office.to_session(id, Mail::Inspect { sessions: vec![id, unknown], reply });
    let found = answer.blocking_recv().unwrap();
    let inspection = found[0].as_ref().unwrap();
    assert_eq!((inspection.protocol, inspection.transport), ("socketio/5", "websocket"));
    assert_eq!(inspection.namespace.as_deref(), Some("/chat"));
    assert!(inspection.remote.unwrap().ip().is_loopback());
    assert!(found[1].is_none());
    bench.node.stop();
}

#[test]
fn the_handshake_holds_application_parameters_only() {
    let (tell, seen) = channel();
    let mut config = config();
    config.ask_always = true;
    let node = Node::start(config, move |_, upcall| {
        if let Upcall::Connect { handshake, .. } = upcall {
            tell.send(handshake).unwrap();
        }
    });
    let target = "/socket.io/?EIO=4&transport=websocket&t=1&room=a%20b&b64=1";
    let headers = [("authorization", "Bearer x"), ("x-other", "1")];
    let mut socket = WebSocket::try_connect(node.address, target, &headers).ok().unwrap();
    socket.text("40");
    let handshake = seen.recv_timeout(support::client::PATIENCE).unwrap();
    assert_eq!(handshake.query, [("room".into(), "a b".into())]);
    assert_eq!(handshake.headers, [("authorization".into(), "Bearer x".into())]);
    assert!(handshake.remote.unwrap().ip().is_loopback() && !handshake.secure);
    node.stop();
}

#[test]
fn the_configuration_says_which_headers_the_back_end_is_shown() {
    let (tell, seen) = channel();
    let mut config = config();
    config.ask_always = true;
    config.socketio.handshake_headers = vec![HeaderName::parse("X-Other").unwrap()];
    let node = Node::start(config, move |_, upcall| {
        if let Upcall::Connect { handshake, .. } = upcall {
            tell.send(handshake).unwrap();
        }
    });
    let headers = [("authorization", "Bearer x"), ("x-other", "1")];
    let mut socket = WebSocket::try_connect(node.address, SOCKET, &headers).ok().unwrap();
    socket.text("40");
    let handshake = seen.recv_timeout(support::client::PATIENCE).unwrap();
    assert_eq!(handshake.headers, [("x-other".into(), "1".into())]);
    node.stop();
}

#[test]
fn a_volatile_message_is_dropped_without_a_waiting_poll() {
    let mut bench = start(config());
    let sid = field(get(bench.node.address, POLL).text(), "sid").unwrap();
    let target = format!("{POLL}&sid={sid}");
    post(bench.node.address, &target, "40");
    let id: SessionId = field(get(bench.node.address, &target).text(), "sid").unwrap().parse().unwrap();
    let to = Target::Session(id);
    let token = Some(Token(3));
    let volatile = hub::Publish { volatile: true, token, ..message(1, to.clone(), "volatile", &args("[]")) };
    bench.node.office.publish_as(&to, volatile);
    let dropped = loop {
        if let Report::Delivered { counts, .. } = bench.report(Token(3)) {
            break counts.dropped;
        }
    };
    assert_eq!(dropped, 1);
    bench.node.office.emit(id, "kept", &args("[]"));
    assert_eq!(get(bench.node.address, &target).text(), r#"42["kept"]"#);
    bench.node.stop();
}

#[test]
fn raw_bodies_become_one_argument() {
    use bytes::Bytes;
    let bench = start(config());
    let (mut socket, id) = bench.joined();
    let to = Target::Session(id);
    for (number, raw) in [&b"{\"a\":1}"[..], b"plain", b"\xff\x00"].into_iter().enumerate() {
        let body = hub::Body::Raw(Bytes::from_static(raw));
        let publish =
            hub::Publish { event: None, body, ..message(number as u64, to.clone(), "", &args("[]")) };
        bench.node.office.publish_as(&to, publish);
    }
    assert_eq!(socket.next_text(), r#"42["message",{"a":1}]"#);
    assert_eq!(socket.next_text(), r#"42["message","plain"]"#);
    assert_eq!(socket.next_text(), r#"451-["message",{"_placeholder":true,"num":0}]"#);
    assert_eq!(socket.next(), Said::Binary(vec![0xff, 0]));
    bench.node.stop();
}
