//! Streams for plain HTTP clients on a whole server: what is published by anybody comes in each form, and nothing is missing between
//! what a channel keeps and what comes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod ending;
mod forms;
mod polling;
mod presence;
mod publishing;
mod recovering;
mod refused;
mod sockets;
mod tokens;

use std::net::SocketAddr;

use serde_json::Value;
use support::client::Http;
use support::whole::settings;
use trunkline::{Config, Server};

/// Channels below `log/` keep a hundred messages, those below `few/` three; below `hall/` it is told who comes and goes.
const RULES: &str = "[[channel]]\nfilter = \"log/#\"\nhistory_messages_max = 100\n\
    [[channel]]\nfilter = \"few/#\"\nhistory_messages_max = 3\n\
    [[channel]]\nfilter = \"hall/#\"\nhistory_messages_max = 100\npresence = true\npresence_events = true\n";

fn config(settings: &[(&str, &str)]) -> Config {
    settings::config(RULES, &[("auth.mode", "anonymous"), ("server.shards", "1")], settings)
}

async fn start(settings: &[(&str, &str)]) -> Server {
    Server::start(config(settings)).await.unwrap()
}

/// Publishes and gives the position of the message.
fn publish(address: SocketAddr, channel: &str, body: &str) -> Option<String> {
    let answer = Http::connect(address).post(&format!("/publish?channel={channel}"), body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["id"].as_str().map(str::len), Some(26));
    told["position"].as_str().map(str::to_owned)
}

/// Asks the private port.
fn back_end(server: &Server, method: &str, target: &str, body: Option<&Value>) -> (u16, Value) {
    let mut http = Http::connect(server.private_addr());
    let body = body.map(Value::to_string);
    let headers = [("content-type", "application/json")];
    http.send(method, target, &headers, Some(body.unwrap_or_default().as_bytes()));
    let answer = http.answer();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// The offset in a position.
fn offset(position: &str) -> u64 {
    position.split_once('-').unwrap().1.parse().unwrap()
}
