//! Messages that are stored: received, or only looked at. Start at [`Receive::run`] and [`Peek::run`].

use std::io::IsTerminal as _;
use std::time::Duration;

use load::Console;
use serde_json::{Map, Value, json};

use super::{ANSWER_WITHIN, Client, Name, Place, count, list, read, text};
use crate::cli::bench::duration;
use crate::cli::door::Door;
use crate::cli::{Failure, print};

/// Messages of one receive, and of one page of a look.
const RECEIVE_MAX: u64 = 10;
const PEEK_MAX: u64 = 100;

/// The longest wait of one receive.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Receive messages
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints bodies, or with --json all that is told of each message in a line. Without --delete messages
come again when their visibility timeout is over. With it they are deleted once they are printed.

Examples:
  trunkline queue receive orders
  trunkline queue receive orders --max 1000 --delete > orders.txt
  trunkline queue receive orders --wait 20s --visibility 5m --json | jq .Body"
)]
pub(super) struct Receive {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    /// At most so many; it ends earlier when none is left
    #[arg(long, value_name = "N", default_value_t = 1)]
    max: u64,
    /// How long to wait for the first one and each further one, up to 20s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    wait: Duration,
    /// How long nobody else gets them [default: as the queue says]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    visibility: Option<Duration>,
    /// Delete them once they are printed
    #[arg(long)]
    delete: bool,
    /// Print each message as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Look at messages without receiving them
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Oldest first, also those that are delayed or with a receiver. Nothing changes: they stay as visible
as they are and are not counted as received.

Examples:
  trunkline queue peek orders
  trunkline queue peek orders --max 1000 --json | jq .body"
)]
pub(super) struct Peek {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 10)]
    max: u64,
    /// Print each message as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// The API knows no parts of a second.
pub(super) fn whole_seconds(option: &str, time: Duration) -> Result<(), Failure> {
    match time.subsec_nanos() {
        0 => Ok(()),
        _ => Err(Failure(format!("{option} has whole seconds, got {time:?}"))),
    }
}

impl Receive {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.wait > WAIT_MAX {
            return Err("--wait is at most 20s".into());
        }
        whole_seconds("--wait", self.wait)?;
        self.visibility.map_or(Ok(()), |time| whole_seconds("--visibility", time))?;
        let mut client = self.place.connect()?;
        // Lines on the same terminal would tear the bar.
        let console = if std::io::stdout().is_terminal() { Console::Silent } else { Console::detect() };
        let bar = console.bar("received");
        let mut got = 0;
        while got < self.max {
            let messages = self.some(&mut client, self.max - got)?;
            if messages.is_empty() {
                break;
            }
            print(&messages.iter().map(|message| self.line(message)).collect::<String>())?;
            if self.delete {
                self.delete(&mut client, &messages)?;
            }
            got += messages.len() as u64;
            bar.at(got, self.max);
        }
        drop(bar);
        match got {
            0 => Err(Failure(format!("{} has no message now", self.queue.name))),
            _ => Ok(()),
        }
    }

    fn some(&self, client: &mut Client, wanted: u64) -> Result<Vec<Value>, Failure> {
        let mut input = Map::new();
        input.insert("QueueUrl".into(), json!(self.queue.url()));
        input.insert("MaxNumberOfMessages".into(), json!(wanted.min(RECEIVE_MAX)));
        input.insert("WaitTimeSeconds".into(), json!(self.wait.as_secs()));
        input.insert("MessageSystemAttributeNames".into(), json!(["All"]));
        input.insert("MessageAttributeNames".into(), json!(["All"]));
        let visibility = self.visibility.map(|time| ("VisibilityTimeout".into(), json!(time.as_secs())));
        input.extend(visibility);
        let answer =
            client.call_within("ReceiveMessage", &Value::Object(input), self.wait + ANSWER_WITHIN)?;
        Ok(list(&answer, "Messages").to_vec())
    }

    fn line(&self, message: &Value) -> String {
        if self.json { format!("{message}\n") } else { format!("{}\n", text(message, "Body")) }
    }

    fn delete(&self, client: &mut Client, messages: &[Value]) -> Result<(), Failure> {
        let entry = |(at, message): (usize, &Value)| json!({ "Id": at.to_string(), "ReceiptHandle": text(message, "ReceiptHandle") });
        let entries: Vec<Value> = messages.iter().enumerate().map(entry).collect();
        let input = json!({ "QueueUrl": self.queue.url(), "Entries": entries });
        let answer = client.call("DeleteMessageBatch", &input)?;
        match list(&answer, "Failed").first() {
            None => Ok(()),
            Some(failed) => {
                let (code, why) = (text(failed, "Code"), text(failed, "Message"));
                Err(Failure(format!("a message that was printed is not deleted: {code}: {why}")))
            }
        }
    }
}

impl Peek {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut left, mut cursor) = (self.max, None::<String>);
        while left > 0 {
            let limit = left.min(PEEK_MAX).to_string();
            let mut query = self.queue.query();
            query.push(("limit", &limit));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = read(&self.door, &format!("{}/peek", self.queue.path()), &query)?;
            let items = list(&page, "items");
            print(&items.iter().map(|message| self.line(message)).collect::<String>())?;
            left = left.saturating_sub(items.len() as u64);
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => break,
            }
        }
        Ok(())
    }

    fn line(&self, message: &Value) -> String {
        if self.json { format!("{message}\n") } else { for_people(message) }
    }
}

/// Where it is, how old, how often received, its group, and its body.
pub(super) fn for_people(message: &Value) -> String {
    let (age, receives) = (count(message, "age_seconds"), count(message, "receives"));
    let group = message.get("group").and_then(Value::as_str);
    let group = group.map_or(String::new(), |group| format!(" [{group}]"));
    let body = message.get("body").and_then(Value::as_str).unwrap_or("(not a message of this API)");
    format!("{} {age} s, received {receives} times{group}: {body}\n", text(message, "stage"))
}
