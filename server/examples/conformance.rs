//! The server under test of the official protocol suites: an Engine.IO echo at `/engine.io/` and, at `/socket.io/`,
//! the handlers that the Socket.IO suite expects, in the namespaces `/` and `/custom`.
//!
//! `cargo run --example conformance -- [port] [connect_timeout_ms]`

#[path = "../tests/support/mod.rs"]
mod support;

use support::{Node, Office, args};
use trunkline::config::{Config, HttpPath, NamespaceMatch, NamespaceName};
use trunkline::mail::Upcall;

fn main() {
    let port = std::env::args().nth(1).unwrap_or_else(|| "0".into());
    let mut config = Config::loopback();
    config.server.public_listen = format!("127.0.0.1:{port}").parse().unwrap();
    config.server.shards = std::env::args().nth(2).map_or(1, |shards| shards.parse().unwrap());
    config.engine_echo_path = Some(HttpPath::parse("/engine.io/").unwrap());
    config.ask_always = true;
    config.socketio.eio3 = true;
    config.socketio.ping_interval_ms = 300;
    config.socketio.ping_timeout_ms = 200;
    config.socketio.connect_timeout_ms = 1000;
    let mut custom = config.namespaces[0].clone();
    custom.names = NamespaceMatch::Exact(NamespaceName::parse("/custom").unwrap());
    config.namespaces.push(custom);
    let node = Node::start(config, back_end);
    println!("http://{}", node.address);
    std::thread::park();
}

fn back_end(office: &Office, upcall: Upcall) {
    match upcall {
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
    }
}
