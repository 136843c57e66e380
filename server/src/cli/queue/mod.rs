//! `trunkline queue`: queues of a running server, from the command line.
//!
//! Owns the arguments all of its commands have, and how a queue is named. What changes a queue goes through the API of SQS with
//! the crate `load`'s client, what only looks through REST; both are on the private port. Start at [`Queue::run`].

mod manage;
mod messages;
mod redrive;
mod send;

#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::Subcommand;
use load::sqs::{Connection, Endpoint};
use serde_json::{Value, json};

use super::Failure;
use super::bench::SigningArgs;
use super::door::{self, Door, Patience};

/// List, make, fill, empty and look at queues
#[derive(Debug, clap::Args)]
#[command(
    after_help = "QUEUE is a name, ACCOUNT/NAME, or ACCOUNT/REGION/NAME; what is left out is sqs.account and
sqs.region.

Examples:
  trunkline queue list
  trunkline queue create orders --dead-letter-queue dead --receives-max 5
  trunkline queue send orders 'hello'
  trunkline queue receive orders --max 10 --delete
  trunkline queue peek orders --max 100 --json
  trunkline queue stats orders
  trunkline queue redrive dead
  trunkline queue purge orders"
)]
pub(super) struct Queue {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(manage::List),
    Create(manage::Create),
    Delete(manage::Delete),
    Stats(manage::Stats),
    Send(send::Send),
    Receive(messages::Receive),
    Peek(messages::Peek),
    Purge(manage::Purge),
    Redrive(redrive::Redrive),
}

impl Queue {
    /// Does what is asked and prints what came of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::List(list) => list.run(),
            What::Create(create) => create.run(),
            What::Delete(delete) => delete.run(),
            What::Stats(stats) => stats.run(),
            What::Send(send) => send.run(),
            What::Receive(receive) => receive.run(),
            What::Peek(peek) => peek.run(),
            What::Purge(purge) => purge.run(),
            What::Redrive(redrive) => redrive.run(),
        }
    }
}

/// The server, and what lets us in
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    door: Door,
    #[command(flatten)]
    signing: SigningArgs,
}

/// How long an answer may take, besides the wait of a receive.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

impl Place {
    fn connect(&self) -> Result<Client, Failure> {
        let target = self.door.address("")?.parse().map_err(Failure)?;
        let endpoint = Endpoint { target, access: self.signing.access(self.door.key()) };
        Ok(Client(Connection::open(&endpoint)?))
    }
}

/// What REST says, as JSON.
fn read(door: &Door, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
    door::json(door.read(path, query, Patience::Within(ANSWER_WITHIN))?)
}

/// A connection, with hints to its errors.
struct Client(Connection);

impl Client {
    fn call(&mut self, action: &str, input: &Value) -> Result<Value, Failure> {
        self.call_within(action, input, ANSWER_WITHIN)
    }

    fn call_within(&mut self, action: &str, input: &Value, within: Duration) -> Result<Value, Failure> {
        self.0.call(action, input, within).map_err(|error| {
            let text = error.to_string();
            let is_locked = ["MissingAuthenticationToken", "InvalidClientTokenId"].iter().any(|name| text.starts_with(name));
            let hint = "\nSet TRUNKLINE_KEY to one of the server's private.keys, or TRUNKLINE_ACCESS_KEY_ID and \
                        TRUNKLINE_ACCESS_KEY_SECRET to those of an sqs.credential.";
            Failure(if is_locked { text + hint } else { text })
        })
    }

    /// The ARN of a queue.
    fn arn(&mut self, queue: &Name) -> Result<String, Failure> {
        let input = json!({ "QueueUrl": queue.url(), "AttributeNames": ["QueueArn"] });
        let answer = self.call("GetQueueAttributes", &input)?;
        let arn = answer.pointer("/Attributes/QueueArn").and_then(Value::as_str);
        Ok(arn.ok_or("GetQueueAttributes was answered without a QueueArn")?.to_owned())
    }
}

/// A queue as it is typed: `NAME`, `ACCOUNT/NAME`, or `ACCOUNT/REGION/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    account: Option<String>,
    region: Option<String>,
    name: String,
}

impl std::str::FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (account, region, name) = match parts.as_slice() {
            [name] => (None, None, *name),
            [account, name] => (Some(*account), None, *name),
            [account, region, name] => (Some(*account), Some(*region), *name),
            _ => return Err("must be NAME, ACCOUNT/NAME or ACCOUNT/REGION/NAME".into()),
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err("a part of the name is empty".into());
        }
        let word =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !parts.iter().all(|part| word(part)) {
            return Err("names are of A-Z, a-z, 0-9, - and _, and may end in .fifo".into());
        }
        let owned = |part: Option<&str>| part.map(str::to_owned);
        Ok(Self { account: owned(account), region: owned(region), name: name.to_owned() })
    }
}

impl Name {
    /// What the API takes for a `QueueUrl`: the server decides who is meant by what is left out.
    fn url(&self) -> String {
        let name = &self.name;
        match (&self.account, &self.region) {
            (Some(account), Some(region)) => format!("/queue/{region}/{account}/{name}"),
            (Some(account), None) => format!("/{account}/{name}"),
            (None, _) => name.clone(),
        }
    }

    /// Its path below the private port's `/v1`.
    fn path(&self) -> String {
        format!("/v1/queues/{}", self.name)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        let given = [("account", &self.account), ("region", &self.region)];
        given.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?))).collect()
    }
}

/// Splits `name=value`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A count of an answer.
fn count(answer: &Value, name: &str) -> u64 {
    answer.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// A text of an answer.
fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A list of an answer, which is absent when it is empty.
fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
