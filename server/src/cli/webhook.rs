//! `trunkline webhook`: how a running server's webhooks are doing, what they send, and sending it again.
//!
//! Must not know how events are sent. Start at [`Webhook::run`].

use std::time::Duration;

use serde_json::{Value, json};

use super::door::{self, Door, Patience};
use super::status::ANSWER_WITHIN;
use super::{Failure, print};

/// Look at what goes to the back end by webhooks, and send it again
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline webhook list
  trunkline webhook test app
  trunkline webhook deliveries app --dead
  trunkline webhook redeliver 01KAPVMT3ZWZ4X2S8V4A9J5E7C")]
pub(super) struct Webhook {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    List(List),
    Deliveries(Deliveries),
    Redeliver(Redeliver),
    Test(Test),
}

/// Show each webhook: whether its back end answers, what waits, and what was given up
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline webhook list
  trunkline webhook list --json | jq '.items[].dead'")]
struct List {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Show the latest attempts and what was answered, newest first; or dead letters, oldest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Of what the back end is only told. With --json dead letters come with their events.

Examples:
  trunkline webhook deliveries
  trunkline webhook deliveries app --dead --json | jq '.items[0].event'")]
struct Deliveries {
    /// Name of the webhook, where there are several
    webhook: Option<String>,
    /// Dead letters instead
    #[arg(long)]
    dead: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    max: u32,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Send a dead letter again, or all of a webhook
#[derive(Debug, clap::Args)]
#[command(after_help = "Each goes behind what waits of its session.

Examples:
  trunkline webhook redeliver 01KAPVMT3ZWZ4X2S8V4A9J5E7C
  trunkline webhook redeliver --all app")]
struct Redeliver {
    /// Id of the event
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// All dead letters of this webhook
    #[arg(long, value_name = "WEBHOOK", conflicts_with = "id")]
    all: Option<String>,
    #[command(flatten)]
    door: Door,
}

/// Send an event of type `test`, and show what is answered
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 when the answer has status 200 to 299, 1 otherwise.

Examples:
  trunkline webhook test app")]
struct Test {
    /// Name of the webhook
    webhook: String,
    #[command(flatten)]
    door: Door,
}

/// The longest that a back end may take to answer a test.
const TEST_WITHIN: Duration = Duration::from_secs(70);

impl Webhook {
    /// Asks, and prints what is answered.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Deliveries(deliveries) => deliveries.run(),
            What::Redeliver(redeliver) => redeliver.run(),
            What::Test(test) => test.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<(), Failure> {
        let answer = door::json(self.door.read("/v1/webhooks", &[], Patience::Within(ANSWER_WITHIN))?)?;
        if self.json {
            return print(&format!("{answer}\n"));
        }
        let columns = ["name", "open", "enabled", "waiting", "queued", "dead", "delivered", "retried", "url"];
        print(&rows(&answer, &columns))
    }
}

impl Deliveries {
    fn run(self) -> Result<(), Failure> {
        let max = self.max.to_string();
        let mut query = vec![("limit", max.as_str())];
        query.extend(self.webhook.as_deref().map(|webhook| ("webhook", webhook)));
        query.extend(self.dead.then_some(("status", "dead")));
        let answer =
            door::json(self.door.read("/v1/deliveries", &query, Patience::Within(ANSWER_WITHIN))?)?;
        if self.json {
            return print(&format!("{answer}\n"));
        }
        print(&rows(&answer, &["id", "type", "session", "attempts", "outcome", "said"]))
    }
}

impl Redeliver {
    fn run(self) -> Result<(), Failure> {
        let path = match (&self.id, &self.all) {
            (Some(id), _) => format!("/v1/deliveries/{}/attempts", encoded(id)),
            (None, Some(webhook)) => format!("/v1/deliveries/attempts?webhook={}", encoded(webhook)),
            (None, None) => return Err(Failure("an id, or --all, is missing".into())),
        };
        let mut answer = self.door.post(&path, &json!({}), Patience::Within(TEST_WITHIN))?;
        let text = answer.body_mut().read_to_string()?;
        let told: Value = serde_json::from_str(&text).unwrap_or_default();
        let count = told.get("count").and_then(Value::as_u64).unwrap_or(1);
        print(&format!("{count} {} sent again\n", if count == 1 { "event is" } else { "events are" }))
    }
}

impl Test {
    fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/webhooks/{}/tests", encoded(&self.webhook));
        let answer = door::json(self.door.post(&path, &json!({}), Patience::Within(TEST_WITHIN))?)?;
        let said = answer.get("said").and_then(Value::as_str).unwrap_or_default().to_owned();
        match answer.get("outcome").and_then(Value::as_str) {
            Some("done") => print(&format!("{said}\n")),
            _ => Err(Failure(said)),
        }
    }
}

/// As a part of a path or query.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// A line for each item under a line of names.
fn rows(answer: &Value, columns: &[&str]) -> String {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let cell = |item: &Value, column: &str| match item.get(column) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    let mut lines: Vec<Vec<String>> = vec![columns.iter().map(|&column| column.to_owned()).collect()];
    lines.extend(items.iter().map(|item| columns.iter().map(|column| cell(item, column)).collect()));
    let width =
        |at: usize| lines.iter().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns.len()).map(|at| width(at).unwrap_or(0)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_lines_under_their_names() {
        let answer = json!({ "items": [{ "a": "x", "b": 10 }, { "a": "longer" }] });
        assert_eq!(rows(&answer, &["a", "b"]), "a       b\nx       10\nlonger  -\n");
        assert_eq!(rows(&json!({}), &["a"]), "a\n");
        assert_eq!(encoded("a/b c"), "a%2Fb%20c");
    }
}
