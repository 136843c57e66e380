//! `trunkline sub`: prints messages as they are published, as a back end sees them or as a client of MQTT.
//!
//! Must not know connections; the client's side is in `mqtt/`. Start at [`Subscribe::run`].

use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::door::{Door, Patience};
use super::mqtt::{Format, MqttSubscribe};
use super::publish::URL_HELP;
use super::{Failure, legible, print};

/// Print the messages that are published on the channels of a filter
#[derive(Debug, clap::Args)]
#[command(
    after_help = "In a filter `+` is one level and a last `#` is all levels below. Without --topic it shows what is
published from now on, as the private port has it. With --topic it is a client of MQTT, of this
server or any other; then what the server retained comes first.

Examples:
  trunkline sub '#'                       everything
  trunkline sub 'chat/+'                  the rooms of the namespace /chat
  trunkline sub 'chat/#' --json | jq .data
  trunkline sub --topic 'a/#' --qos 1     by MQTT, from mqtt://127.0.0.1:8000
  trunkline sub --url mqtts://example.org --user me --topic 'a/+' --topic b --format json
  trunkline sub --topic a/b --count 1 --timeout 5s --format payload
  trunkline sub --topic 'jobs/#' --qos 2 --id worker-1 --session 3600",
    mut_arg("url", |arg| arg.help(URL_HELP))
)]
pub(super) struct Subscribe {
    /// The filter, in quotes because of the shell
    #[arg(id = "place", value_name = "FILTER", required_unless_present = "topic", conflicts_with = "topic")]
    filter: Option<String>,
    /// Print each message as one line of JSON; the same as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// How messages are printed: text, json, or payload, which is nothing but that
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    mqtt: MqttSubscribe,
}

impl Subscribe {
    /// Prints until the server ends the stream.
    pub(super) fn run(self) -> Result<(), Failure> {
        let format = if self.json { Format::Json } else { self.format };
        let Some(filter) = &self.filter else { return self.mqtt.run(self.door.url(), format) };
        if format == Format::Payload {
            return Err("--format payload is for --topic: here a message has an event and arguments".into());
        }
        let response = self.door.read("/v1/tail", &[("filter", filter)], Patience::Endless)?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|error| Failure(format!("the stream broke: {error}")))?;
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if is_heartbeat(&message) {
                continue;
            }
            print(&if format == Format::Json { format!("{line}\n") } else { for_people(&message, &line) })?;
        }
        Err(Failure("the server ended the stream".into()))
    }
}

/// The server sends `{}` now and then, so that a dead stream is noticed.
fn is_heartbeat(message: &Value) -> bool {
    message.as_object().is_none_or(serde_json::Map::is_empty)
}

/// `channel event data`; a line of another form is printed as it came.
pub(super) fn for_people(message: &Value, line: &str) -> String {
    let Some(channel) = message.get("channel").and_then(Value::as_str) else { return format!("{line}\n") };
    let event = message.get("event").and_then(Value::as_str).unwrap_or("message");
    let data = match (message.get("args"), message.get("data"), message.get("data_base64")) {
        (Some(Value::Array(args)), ..) => args.iter().map(Value::to_string).collect::<Vec<_>>().join(" "),
        (_, Some(data), _) => data.to_string(),
        (.., Some(bytes)) => format!("base64:{}", bytes.as_str().unwrap_or_default()),
        _ => String::new(),
    };
    format!("{}\n", legible(&format!("{channel} {event} {data}")))
}
