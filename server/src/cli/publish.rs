//! `trunkline pub`: publishes a message, as a back end does and told whom it reached, or as a client of MQTT.
//!
//! Must not know connections; the client's side is in `mqtt/`. Start at [`Publish::run`].

use std::time::Duration;

use serde_json::{Value, json};

use super::door::{self, Door, Patience};
use super::mqtt::MqttPublish;
use super::{Failure, print};

/// Publish a message to a channel
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --topic it publishes as a back end does, at the private port. DATA is JSON, and a string
if it is no valid JSON; several become the arguments of the event. With --topic it is a client of
MQTT, of this server or any other; it ends when the server has acknowledged everything.

Examples:
  trunkline pub main hello                            everybody in the namespace /
  trunkline pub chat/r1 --event say '{\"text\":\"hi\"}'   room r1 of the namespace /chat
  trunkline pub main --event move 3 4                 an event with two arguments
  trunkline pub main --event who --wait-replies 2000  ask, and print the acknowledgements
  trunkline pub --topic a/b --message hello --qos 1   by MQTT, to mqtt://127.0.0.1:8000
  trunkline pub --url mqtts://example.org --topic a/b --file picture.png --retain
  trunkline pub --url ws://127.0.0.1:8000/mqtt --topic a/b --lines --qos 2
  trunkline pub --topic a/b --message 21.5 --user-property unit=C --expiry 60",
    mut_arg("url", |arg| arg.help(URL_HELP))
)]
pub(super) struct Publish {
    /// The channel: `main` is the namespace /, `chat` the namespace /chat, `chat/r1` its room r1
    #[arg(id = "place", value_name = "CHANNEL", required_unless_present = "topic", conflicts_with = "topic")]
    channel: Option<String>,
    /// What to send
    #[arg(value_name = "DATA")]
    data: Vec<String>,
    /// Name of the event [default: message]
    #[arg(long, conflicts_with = "topic")]
    event: Option<String>,
    /// Wait this long for acknowledgements of the clients and print them
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "topic")]
    wait_replies: Option<u64>,
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    mqtt: MqttPublish,
}

/// Of `--url`, for commands that can be clients as well.
pub(super) const URL_HELP: &str = "The private port of the server; with --topic mqtt://HOST:PORT, mqtts:// with TLS, or ws:// and \
                                   wss:// over WebSocket [default: http://127.0.0.1:9000, or mqtt://127.0.0.1:8000]";

/// Time for an answer besides the wait for replies.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Publish {
    /// Publishes and prints the counts.
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.channel.is_none() {
            return self.mqtt.run(self.door.url());
        }
        let within = ANSWER_WITHIN + Duration::from_millis(self.wait_replies.unwrap_or(0));
        let response = self.door.post("/v1/messages", &self.body(), Patience::Within(within))?;
        print(&report(&door::json(response)?))
    }

    /// The request of `POST /v1/messages`.
    pub(super) fn body(&self) -> Value {
        let mut body = json!({ "channel": self.channel });
        let members = body.as_object_mut().expect("was made as an object");
        if let Some(event) = &self.event {
            members.insert("event".into(), json!(event));
        }
        match self.data.as_slice() {
            [one] => members.insert("data".into(), json_or_text(one)),
            several => members.insert("args".into(), several.iter().map(|text| json_or_text(text)).collect()),
        };
        if let Some(wait_ms) = self.wait_replies {
            members.insert("reply".into(), json!({ "wait_ms": wait_ms }));
        }
        body
    }
}

fn json_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// One line per channel, then one per reply, then those that did not reply.
pub(super) fn report(answer: &Value) -> String {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut lines = Vec::new();
    for result in list("results") {
        let count = |name: &str| result.get(name).and_then(Value::as_u64).unwrap_or(0);
        let channel = result.get("channel").and_then(Value::as_str).unwrap_or_default();
        let counts = format!(
            "delivered {}, queued {}, dropped {}",
            count("delivered"),
            count("queued"),
            count("dropped")
        );
        lines.push(format!("{channel}: {counts}"));
    }
    for reply in list("replies") {
        let session = reply.get("session").and_then(Value::as_str).unwrap_or_default();
        lines.push(format!("{session} replied {}", reply.get("args").unwrap_or(&Value::Null)));
    }
    for session in list("missing") {
        lines.push(format!("{} did not reply", session.as_str().unwrap_or_default()));
    }
    lines.push(String::new());
    lines.join("\n")
}
