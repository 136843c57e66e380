//! `trunkline sub`: prints messages as they are published.
//!
//! Must not know connections. Start at [`Subscribe::run`].

use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::door::{Door, Patience};
use super::{Failure, print};

/// Print the messages that are published on the channels of a filter
#[derive(Debug, clap::Args)]
#[command(
    after_help = "In a filter `+` is one level and a last `#` is all levels below. Nothing that was published before is shown.

Examples:
  trunkline sub '#'                       everything
  trunkline sub 'chat/+'                  the rooms of the namespace /chat
  trunkline sub 'chat/#' --json | jq .data"
)]
pub(super) struct Subscribe {
    /// The filter, in quotes because of the shell
    filter: String,
    /// Print each message as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

impl Subscribe {
    /// Prints until the server ends the stream.
    pub(super) fn run(self) -> Result<(), Failure> {
        let response = self.door.read("/v1/tail", &[("filter", &self.filter)], Patience::Endless)?;
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|error| Failure(format!("the stream broke: {error}")))?;
            let message: Value = serde_json::from_str(&line).unwrap_or_default();
            if is_heartbeat(&message) {
                continue;
            }
            print(&if self.json { format!("{line}\n") } else { for_people(&message, &line) })?;
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
    format!("{channel} {event} {data}\n")
}
