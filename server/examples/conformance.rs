//! The server under test of the official protocol suites.
//!
//! `cargo run --example conformance -- protocol [port] [shards]`: an Engine.IO echo at `/engine.io/` and, at
//! `/socket.io/`, the handlers that the Socket.IO protocol suite expects in the namespaces `/` and `/custom`.
//! `.. -- client [port] [shards]`: the handlers that the tests of the JavaScript client expect, recovery always on.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a program of one purpose")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::HashMap;

use bytes::Bytes;
use hub::SessionId;
use support::{Node, Office, args};
use trunkline::config::{Config, HttpPath, NamespaceMatch, NamespaceName, RecoveryMode};
use trunkline::mail::{Handshake, Upcall};
use wire::values::{Event, JsonText, Single, Values};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let suite = arguments.next();
    let mut config = Config::loopback();
    config.server.public_listen =
        format!("127.0.0.1:{}", arguments.next().unwrap_or("0".into())).parse().unwrap();
    config.server.shards = arguments.next().map_or(1, |shards| shards.parse().unwrap());
    config.ask_always = true;
    let node = match suite.as_deref() {
        Some("client") => client(config),
        _ => protocol(config),
    };
    println!("http://{}", node.address);
    std::thread::park();
}

fn protocol(mut config: Config) -> Node {
    config.engine_echo_path = Some(HttpPath::parse("/engine.io/").unwrap());
    config.socketio.eio3 = true;
    config.socketio.ping_interval_ms = 300;
    config.socketio.ping_timeout_ms = 200;
    config.socketio.connect_timeout_ms = 1000;
    add_namespaces(&mut config, &["/custom"]);
    Node::start(config, |office, upcall| match upcall {
        Upcall::Connect { session, auth, .. } => {
            office.admit(session, &[]);
            let text = auth.as_deref().map_or("{}", |auth| std::str::from_utf8(auth).unwrap());
            office.emit(session, "auth", &args(&format!("[{text}]")));
        }
        Upcall::Event { session, values, request, .. } => {
            let event = values.as_event().unwrap();
            match (event.name.as_str(), request) {
                ("message", None) => office.emit(session, "message-back", &event.args()),
                ("message-with-ack", Some(request)) => office.answer(session, request, &event.args()),
                _ => {}
            }
        }
        Upcall::Recovered { .. } | Upcall::Disconnected { .. } | Upcall::Expired { .. } => {}
    })
}

fn add_namespaces(config: &mut Config, names: &[&str]) {
    for name in names {
        let mut rule = config.namespaces[0].clone();
        rule.names = NamespaceMatch::Exact(NamespaceName::parse(name).unwrap());
        config.namespaces.push(rule);
    }
}

fn client(mut config: Config) -> Node {
    config.socketio.ping_interval_ms = 2000;
    config.namespaces[0].recovery = RecoveryMode::Always;
    add_namespaces(&mut config, &["/foo", "/timeout_socket", "/valid", "/asd", "/abc", "/no"]);
    let mut handshakes: HashMap<SessionId, Values> = HashMap::new();
    Node::start(config, move |office, upcall| match upcall {
        Upcall::Connect { session, namespace, handshake, auth } => {
            let fails = handshake.query.iter().any(|(key, _)| &**key == "fail");
            match &*namespace {
                "/no" => return office.refuse(session, "Auth failed (custom namespace)", None),
                "/" if fails => return office.refuse(session, "Auth failed (main namespace)", None),
                _ => office.admit(session, &[]),
            }
            if &*namespace == "/abc" {
                office.emit(session, "handshake", &handshake_values(&handshake, auth.as_ref()));
            }
            handshakes.insert(session, handshake_values(&handshake, auth.as_ref()));
        }
        Upcall::Event { session, values, request, .. } => {
            let event = values.as_event().unwrap();
            match request {
                Some(request) if event.name.as_str() == "getHandshake" => {
                    office.answer(session, request, &handshakes[&session]);
                }
                Some(request) => asked(office, session, request, &event),
                None => told(office, session, &event),
            }
        }
        Upcall::Recovered { .. } | Upcall::Disconnected { .. } | Upcall::Expired { .. } => {}
    })
}

fn handshake_values(handshake: &Handshake, auth: Option<&Bytes>) -> Values {
    let strings = |pairs: &[(Box<str>, Box<str>)]| {
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(key, value)| (key.clone().into_string().into(), value.clone().into_string().into()))
            .collect();
        JsonText::string_object(pairs)
    };
    let auth = auth.map_or("{}", |auth| std::str::from_utf8(auth).unwrap());
    let (query, headers) = (strings(&handshake.query), strings(&handshake.headers));
    args(&format!(r#"[{{"query":{},"headers":{},"auth":{auth}}}]"#, query.as_str(), headers.as_str()))
}

/// Events that want an answer.
fn asked(office: &Office, session: SessionId, request: u64, event: &Event<'_>) {
    let values = match event.name.as_str() {
        "echo" => event.args(),
        "getAckDate" => args(r#"["2026-01-01T00:00:00.000Z"]"#),
        "getId" => args(&format!("[\"{session}\"]")),
        "ack" => return ask(office, session),
        _ => return,
    };
    office.answer(session, request, &values);
}

/// Events that want none.
fn told(office: &Office, session: SessionId, event: &Event<'_>) {
    let doge = || Values::builder().binary(Bytes::from_static(b"asdfasdf")).build().unwrap();
    let emit = |name: &str, json: &str| office.emit(session, name, &args(json));
    let is_binary = matches!(event.single(), Some(Single::Binary(_)));
    match event.name.as_str() {
        "hi" => emit("hi", "[]"),
        "ack" => ask(office, session),
        "getDate" => emit("takeDate", r#"["2026-01-01T00:00:00.000Z"]"#),
        "getDateObj" => emit("takeDateObj", r#"[{"date":"2026-01-01T00:00:00.000Z"}]"#),
        "getUtf8" => {
            for text in ["てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"]
            {
                emit("takeUtf8", &format!("[\"{text}\"]"));
            }
        }
        "false" => emit("false", "[false]"),
        "doge" => office.emit(session, "doge", &doge()),
        "getbin" => office.emit(session, "takebin", &doge()),
        "buffa" if is_binary => emit("buffack", "[]"),
        "blob" if is_binary => emit("back", "[]"),
        "jsonbuff" => emit("jsonbuff-ack", "[]"),
        "abuff2" => emit("abuff2-ack", "[]"),
        "jsonblob" => emit("jsonblob-ack", "[]"),
        "blob3" => emit("blob3-ack", "[]"),
        _ => {}
    }
}

/// Asks the client; what it answers is not looked at.
fn ask(office: &Office, session: SessionId) {
    let target = hub::Target::Session(session);
    let publish = hub::Publish {
        reply_within_ms: Some(10_000),
        token: Some(hub::Token(1)),
        ..support::message(1, target.clone(), "ack", &args("[]"))
    };
    office.publish_as(&target, publish);
    office.emit(session, "got it", &args("[]"));
}
