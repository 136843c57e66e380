//! `trunkline queue send`. Start at [`Send::run`].

use std::io::{BufRead as _, Read as _};

use load::{Bar, Console};
use serde_json::{Map, Value, json};

use super::{Client, Name, Place, list, pair, text};
use crate::cli::{Failure, print};

/// Entries of a batch.
const BATCH_MAX: usize = 10;

/// Bytes of bodies in a batch: below the limit of the API, with room for attributes and ids.
const BATCH_BYTES_MAX: usize = 900_000;

/// Failures that are told one by one.
const TOLD_MAX: usize = 10;

/// Send messages
#[derive(Debug, clap::Args)]
#[command(
    after_help = "One message prints its id, several how many were taken. Several go in batches of ten.

Examples:
  trunkline queue send orders 'hello'
  trunkline queue send orders one two three --delay 60
  trunkline queue send orders.fifo 'first' --group customer-7 --deduplication-id 7-1
  trunkline queue send orders '{\"id\":7}' --attribute kind=order
  trunkline queue send orders --lines < orders.jsonl
  trunkline queue send orders 'x' --count 1000"
)]
pub(super) struct Send {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    /// Bodies; - is all of standard input
    #[arg(value_name = "BODY", required_unless_present = "lines", conflicts_with = "lines")]
    bodies: Vec<String>,
    /// Each line of standard input is a message
    #[arg(long)]
    lines: bool,
    /// Send the bodies so many times
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "lines")]
    count: u64,
    /// Group: needed for a FIFO queue, whose messages it keeps in order; else for fairness
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// A second message of the same id within five minutes is not taken; for one message to a FIFO queue
    #[arg(long, value_name = "ID", conflicts_with_all = ["lines", "count"])]
    deduplication_id: Option<String>,
    /// Seconds until they can be received, up to 900
    #[arg(long, value_name = "SECONDS")]
    delay: Option<u32>,
    /// An attribute of type String; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    attribute: Vec<(String, String)>,
    #[command(flatten)]
    place: Place,
}

impl Send {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.deduplication_id.is_some() && self.bodies.len() > 1 {
            return Err("--deduplication-id is for one message: the others would be taken for it".into());
        }
        let mut client = self.place.connect()?;
        match self.bodies.as_slice() {
            [one] if self.count == 1 => self.one(&mut client, &body(one)?),
            _ => self.several(&mut client),
        }
    }

    fn one(&self, client: &mut Client, body: &str) -> Result<(), Failure> {
        let mut input = self.message(body);
        input.insert("QueueUrl".into(), json!(self.queue.url()));
        let answer = client.call("SendMessage", &Value::Object(input))?;
        let number = text(&answer, "SequenceNumber");
        let space = if number.is_empty() { "" } else { " " };
        print(&format!("{}{space}{number}\n", text(&answer, "MessageId")))
    }

    fn several(&self, client: &mut Client) -> Result<(), Failure> {
        let mut sending = Sending { send: self, client, batch: Vec::new(), bytes: 0, done: Done::default() };
        let bar = Console::detect().bar("sent");
        if self.lines {
            for line in std::io::stdin().lock().lines() {
                sending.push(line?, None, &bar)?;
            }
        } else {
            let bodies = self.bodies.iter().map(|text| body(text)).collect::<Result<Vec<_>, _>>()?;
            let total = self.count.saturating_mul(bodies.len() as u64);
            for _ in 0..self.count {
                for body in &bodies {
                    sending.push(body.clone(), Some(total), &bar)?;
                }
            }
        }
        sending.flush()?;
        let done = sending.done;
        drop(bar);
        done.tell(&self.queue.name)
    }

    /// What a message counts against the bound of a batch: its body, and names, types and values of its attributes.
    pub(super) fn bytes_of(&self, body: &str) -> usize {
        let attributes = self.attribute.iter().map(|(name, text)| name.len() + "String".len() + text.len());
        body.len() + attributes.sum::<usize>()
    }

    /// A message as an entry of a batch and a request of its own have it.
    pub(super) fn message(&self, body: &str) -> Map<String, Value> {
        let mut message = Map::new();
        message.insert("MessageBody".into(), json!(body));
        message.extend(self.delay.map(|delay| ("DelaySeconds".into(), json!(delay))));
        message.extend(self.group.as_ref().map(|group| ("MessageGroupId".into(), json!(group))));
        let id = self.deduplication_id.as_ref();
        message.extend(id.map(|id| ("MessageDeduplicationId".into(), json!(id))));
        if !self.attribute.is_empty() {
            let value = |value: &String| json!({ "DataType": "String", "StringValue": value });
            let attributes: Map<_, _> =
                self.attribute.iter().map(|(name, text)| (name.clone(), value(text))).collect();
            message.insert("MessageAttributes".into(), Value::Object(attributes));
        }
        message
    }
}

/// Batches on their way.
struct Sending<'a> {
    send: &'a Send,
    client: &'a mut Client,
    batch: Vec<Value>,
    bytes: usize,
    done: Done,
}

/// What became of messages.
#[derive(Debug, Default)]
struct Done {
    read: u64,
    taken: u64,
    failed: u64,
    failures: Vec<String>,
}

impl Sending<'_> {
    fn push(&mut self, body: String, total: Option<u64>, bar: &Bar) -> Result<(), Failure> {
        let bytes = self.send.bytes_of(&body);
        if self.batch.len() == BATCH_MAX || self.bytes + bytes > BATCH_BYTES_MAX {
            self.flush()?;
        }
        self.bytes += bytes;
        self.done.read += 1;
        let mut entry = self.send.message(&body);
        entry.insert("Id".into(), json!(self.batch.len().to_string()));
        self.batch.push(Value::Object(entry));
        bar.at(self.done.taken + self.done.failed, total.unwrap_or(self.done.read));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.batch);
        self.bytes = 0;
        let input = json!({ "QueueUrl": self.send.queue.url(), "Entries": entries });
        let sent = self.client.call("SendMessageBatch", &input);
        let taken = self.done.taken;
        let answer =
            sent.map_err(|Failure(text)| Failure(format!("{text}\n{taken} messages were sent before")))?;
        self.done.taken += list(&answer, "Successful").len() as u64;
        for failed in list(&answer, "Failed") {
            self.done.failed += 1;
            if self.done.failures.len() < TOLD_MAX {
                self.done.failures.push(format!("{}: {}", text(failed, "Code"), text(failed, "Message")));
            }
        }
        Ok(())
    }
}

impl Done {
    fn tell(self, queue: &str) -> Result<(), Failure> {
        let Self { taken, failed, failures, .. } = self;
        print(&format!("{taken} messages sent to {queue}\n"))?;
        match failed {
            0 => Ok(()),
            failed => Err(Failure(format!("{failed} were refused:\n{}", failures.join("\n")))),
        }
    }
}

/// What was typed, or standard input.
fn body(typed: &str) -> Result<String, Failure> {
    if typed != "-" {
        return Ok(typed.to_owned());
    }
    let mut all = String::new();
    std::io::stdin().lock().read_to_string(&mut all)?;
    Ok(all)
}
