//! `trunkline status`: what a running server tells about itself.
//!
//! Must not know what that is: whatever the server answers is laid out as a table. Start at [`Status::run`].

use std::time::Duration;

use serde_json::Value;

use super::door::{self, Door, Patience};
use super::{Failure, print};

/// Show version, uptime, and counts of a running server
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline status
  trunkline status --json | jq .connections
  TRUNKLINE_KEY=$(cat key) trunkline status --url http://10.0.0.5:9000")]
pub(super) struct Status {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Time for an answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Status {
    /// Asks and prints.
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer = door::json(self.door.read("/v1/server", &[], Patience::Within(ANSWER_WITHIN))?)?;
        print(&if self.json { format!("{answer}\n") } else { table(&answer) })
    }
}

/// Two columns: the path of every value, and the value.
pub(super) fn table(answer: &Value) -> String {
    let mut rows = Vec::new();
    flatten(String::new(), answer, &mut rows);
    let width = rows.iter().map(|(path, _)| path.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(path, value)| format!("{path:width$}  {value}\n")).collect()
}

/// Lists are counted from 0 in paths. Recursion ends with the JSON, whose depth the parser bounds at 128.
fn flatten(path: String, value: &Value, rows: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| flatten(below(name), value, rows)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| flatten(below(&index.to_string()), value, rows));
        }
        Value::String(text) => rows.push((path, text.clone())),
        other => rows.push((path, other.to_string())),
    }
}
