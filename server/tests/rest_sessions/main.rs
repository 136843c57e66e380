//! Sessions that the back end changes and ends over REST, in the words of each protocol.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod endings;
mod keys;
mod patches;
mod revocations;
mod users;

use std::net::SocketAddr;
use std::time::Instant;

use load::mqtt::Connection;
use serde_json::Value;
use support::client::WebSocket;
use support::token::SECRET;
use support::whole::publisher::{connect, login};
use support::whole::settings::config;
use support::whole::until::PATIENCE;
use trunkline::Server;

const RULES: &str = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\n";

/// A server that lets in who has a token of this secret.
async fn with_tokens(settings: &[(&str, &str)]) -> Server {
    start(&[&[("auth.mode", "jwt"), ("auth.jwt.secret", SECRET)], settings].concat()).await
}

async fn start(settings: &[(&str, &str)]) -> Server {
    Server::start(config(RULES, &[("server.shards", "2")], settings)).await.unwrap()
}

/// A client of Socket.IO, and what it was told when it joined `/`.
fn socket(address: SocketAddr, token: &str) -> (WebSocket, String) {
    let mut socket = WebSocket::connect(address, "/socket.io/?EIO=4&transport=websocket");
    socket.next_text();
    socket.text(&format!("40{{\"token\":\"{token}\"}}"));
    let said = socket.next_text();
    (socket, said)
}

/// A client of `/ws` whose stream has begun.
fn stream_socket(address: SocketAddr, token: &str) -> WebSocket {
    let headers =
        [("sec-websocket-protocol", "cloudevents.json"), ("authorization", &*format!("Bearer {token}"))];
    let mut socket =
        WebSocket::try_connect(address, "/ws", &headers).unwrap_or_else(|answer| panic!("{answer:?}"));
    loop {
        let event: Value = serde_json::from_str(&socket.next_text()).unwrap();
        if event["type"] == "trunkline.stream.opened" {
            return socket;
        }
    }
}

fn mqtt(server: &Server, id: &str, token: &str) -> Connection {
    let (user, password) = (Some("any".to_owned()), Some(token.to_owned()));
    connect(server, load::mqtt::Login { user, password, ..login(id) })
}

/// How the server says goodbye to a client of MQTT.
fn goodbye(mut client: Connection) -> String {
    let said = client.receive(Some(Instant::now() + PATIENCE)).unwrap_err().to_string();
    let (_, said) = said.split_once(": ").unwrap();
    said.to_owned()
}
