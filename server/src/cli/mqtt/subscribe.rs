//! `trunkline sub --topic`. Start at [`MqttSubscribe`].

use std::str::FromStr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use load::mqtt::{Connection, Properties, Received, Retained, Version};
use serde_json::{Map, Value, json};

use super::{ANSWER_WITHIN, ClientArgs};
use crate::cli::bench::duration;
use crate::cli::{Failure, legible, print_bytes};

/// What is received by MQTT
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of MQTT, with --topic")]
pub(in crate::cli) struct MqttSubscribe {
    /// Subscribe as a client of MQTT, to this filter; repeatable
    #[arg(long, short, value_name = "FILTER")]
    topic: Vec<String>,
    /// End after so many messages
    #[arg(long, value_name = "N", conflicts_with = "place")]
    count: Option<u64>,
    /// End after this time; a failure if there were fewer messages than --count by then
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "place")]
    timeout: Option<Duration>,
    /// Leave out what the server retained; version 5 only
    #[arg(long, conflicts_with = "place")]
    no_retained: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Format {
    /// A line for people.
    Text,
    /// A line of JSON.
    Json,
    /// The bytes, and a line feed.
    Payload,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "payload" => Ok(Self::Payload),
            _ => Err("known are text, json and payload".into()),
        }
    }
}

impl MqttSubscribe {
    /// Prints until there were enough, the time is over or the connection is.
    pub(in crate::cli) fn run(&self, url: Option<&str>, format: Format) -> Result<(), Failure> {
        if self.no_retained && self.client.mqtt_version == Version::V311 {
            return Err("--no-retained needs --mqtt-version 5".into());
        }
        let until = self.timeout.map(|time| Instant::now() + time);
        let mut connection = self.client.open(url)?;
        let retained = if self.no_retained { Retained::Unwanted } else { Retained::Wanted };
        let granted = connection.subscribe(&self.topic, (self.client.qos, retained), ANSWER_WITHIN)?;
        for (filter, qos) in self.topic.iter().zip(granted).filter(|(_, qos)| *qos < self.client.qos) {
            eprintln!("{filter}: only QoS {} was granted", qos.number());
        }
        self.receive(&mut connection, until, format)?;
        Ok(connection.close()?)
    }

    fn receive(
        &self,
        connection: &mut Connection,
        until: Option<Instant>,
        format: Format,
    ) -> Result<(), Failure> {
        let mut messages = 0;
        while self.count.is_none_or(|count| messages < count) {
            match (connection.receive(until)?, self.count) {
                (Some(received), _) => print_bytes(&format.line(&received))?,
                (None, Some(count)) => {
                    return Err(Failure(format!("the time is over: {messages} of {count} messages came")));
                }
                (None, None) => return Ok(()),
            }
            messages += 1;
        }
        Ok(())
    }
}

impl Format {
    pub(super) fn line(self, received: &Received) -> Vec<u8> {
        let message = &received.message;
        let mut line = match self {
            Self::Text => [legible(&message.topic).as_bytes(), b" ", &message.payload].concat(),
            Self::Json => json_of(received).to_string().into_bytes(),
            Self::Payload => message.payload.clone(),
        };
        line.push(b'\n');
        line
    }
}

/// Bytes that are no text are in base64, in a member of another name.
fn json_of(received: &Received) -> Value {
    let message = &received.message;
    let mut members = Map::new();
    members.insert("topic".into(), json!(message.topic));
    put_bytes("payload", &message.payload, &mut members);
    members.insert("qos".into(), json!(message.qos.number()));
    members.insert("retain".into(), json!(message.retain));
    members.insert("dup".into(), json!(received.dup));
    if !received.subscription_ids.is_empty() {
        members.insert("subscription_ids".into(), json!(received.subscription_ids));
    }
    if !message.properties.is_empty() {
        members.insert("properties".into(), Value::Object(properties(&message.properties)));
    }
    Value::Object(members)
}

fn properties(of: &Properties) -> Map<String, Value> {
    let mut members = Map::new();
    if of.is_text {
        members.insert("text".into(), json!(true));
    }
    let texts = [("content_type", &of.content_type), ("response_topic", &of.response_topic)];
    for (name, text) in texts {
        members.extend(text.iter().map(|text| (name.to_owned(), json!(text))));
    }
    members.extend(of.expiry_seconds.map(|seconds| ("expiry_seconds".to_owned(), json!(seconds))));
    if let Some(bytes) = &of.correlation_data {
        put_bytes("correlation_data", bytes, &mut members);
    }
    if !of.user.is_empty() {
        // A name may stand twice, so that they are no object.
        members.insert("user".into(), of.user.iter().map(|(name, value)| json!([name, value])).collect());
    }
    members
}

fn put_bytes(name: &str, bytes: &[u8], members: &mut Map<String, Value>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => members.insert(name.into(), json!(text)),
        Err(_) => members.insert(format!("{name}_base64"), json!(STANDARD.encode(bytes))),
    };
}
