//! Queues themselves: listed, created, deleted, emptied, and their figures.
//!
//! Must not know messages. Start at [`List::run`].

use load::sqs::{stored_in, stored_query};
use serde_json::{Map, Value, json};

use super::{Name, Place, count, list, pair, read, text};
use crate::cli::door::Door;
use crate::cli::status::table;
use crate::cli::{Failure, print};

/// Show all queues with what is in them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline queue list
  trunkline queue list --prefix orders --json | jq .[].visible
  TRUNKLINE_KEY=$(cat key) trunkline queue list --url http://10.0.0.5:9000")]
pub(super) struct List {
    /// Only names that begin so, in sqs.account and sqs.region
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Print them as one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Make a queue, or leave it as it is if there is one with these attributes
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A name that ends in .fifo makes a FIFO queue. Attributes are those of the API: VisibilityTimeout,
DelaySeconds, MessageRetentionPeriod, ReceiveMessageWaitTimeSeconds, ContentBasedDeduplication ..

Examples:
  trunkline queue create orders
  trunkline queue create orders.fifo --attribute ContentBasedDeduplication=true
  trunkline queue create orders --dead-letter-queue dead --receives-max 5 --tag team=tea"
)]
pub(super) struct Create {
    /// Its name: 1 to 80 of A-Z, a-z, 0-9, - and _
    #[arg(value_name = "NAME")]
    name: String,
    /// An attribute; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    attribute: Vec<(String, String)>,
    /// A tag; repeatable
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    tag: Vec<(String, String)>,
    /// Where messages go that were received too often; that queue must be there
    #[arg(long, value_name = "QUEUE")]
    dead_letter_queue: Option<Name>,
    /// How often they may be received
    #[arg(long, value_name = "N", default_value_t = 10, requires = "dead_letter_queue")]
    receives_max: u32,
    #[command(flatten)]
    place: Place,
}

/// Delete a queue with everything in it
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline queue delete orders")]
pub(super) struct Delete {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    #[command(flatten)]
    place: Place,
}

/// Delete all messages of a queue
#[derive(Debug, clap::Args)]
#[command(after_help = "Also those that are with receivers; deduplication ids are forgotten.

Examples:
  trunkline queue purge orders")]
pub(super) struct Purge {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    #[command(flatten)]
    place: Place,
}

/// Show the figures of a queue
#[derive(Debug, clap::Args)]
#[command(after_help = "Counts are exact; sent, received and deleted begin with the server's process.

Examples:
  trunkline queue stats orders
  trunkline queue stats orders --json | jq .visible
  trunkline queue stats 123456789012/eu-west-1/orders")]
pub(super) struct Stats {
    /// The queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let items = self.items()?;
        print(&if self.json { format!("{}\n", Value::Array(items)) } else { lines(&items) })
    }

    /// Page by page.
    fn items(&self) -> Result<Vec<Value>, Failure> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("limit", "1000")];
            query.extend(self.prefix.as_deref().map(|prefix| ("prefix", prefix)));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = read(&self.door, "/v1/queues", &query)?;
            items.extend_from_slice(list(&page, "items"));
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(items),
            }
        }
    }
}

/// A table. Account and region stand before names where they are not all the same.
pub(super) fn lines(items: &[Value]) -> String {
    let place = |item: &Value| (text(item, "account").to_owned(), text(item, "region").to_owned());
    let are_same = items.windows(2).all(|pair| pair.first().map(place) == pair.last().map(place));
    let head = ["queue", "visible", "in flight", "delayed", "sent", "received", "deleted", "oldest"];
    let mut rows = vec![head.map(str::to_owned)];
    for item in items {
        let (account, region) = place(item);
        let name = text(item, "name");
        let is_plain = are_same || account.is_empty();
        let name = if is_plain { name.to_owned() } else { format!("{account}/{region}/{name}") };
        let oldest = item.get("oldest_seconds").and_then(Value::as_u64);
        let oldest = oldest.map_or("-".to_owned(), |seconds| format!("{seconds} s"));
        let [visible, flying, delayed, sent, received, deleted] =
            ["visible", "in_flight", "delayed", "sent", "received", "deleted"]
                .map(|name| count(item, name).to_string());
        rows.push([name, visible, flying, delayed, sent, received, deleted, oldest]);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &[String; 8]| {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        cells.collect::<Vec<_>>().join("  ") + "\n"
    };
    rows.iter().map(line).collect()
}

impl Create {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut client = self.place.connect()?;
        let target = self.dead_letter_queue.as_ref().map(|queue| client.arn(queue)).transpose()?;
        let answer = client.call("CreateQueue", &self.input(target.as_deref()))?;
        print(&format!("{}\n", text(&answer, "QueueUrl")))
    }

    pub(super) fn input(&self, dead_letter_arn: Option<&str>) -> Value {
        let mut attributes = Map::new();
        if self.name.ends_with(".fifo") {
            attributes.insert("FifoQueue".into(), json!("true"));
        }
        if let Some(arn) = dead_letter_arn {
            let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": self.receives_max });
            attributes.insert("RedrivePolicy".into(), json!(policy.to_string()));
        }
        attributes.extend(self.attribute.iter().map(|(name, value)| (name.clone(), json!(value))));
        let tags: Map<_, _> = self.tag.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        json!({ "QueueName": self.name, "Attributes": attributes, "tags": tags })
    }
}

impl Delete {
    pub(super) fn run(self) -> Result<(), Failure> {
        self.place.connect()?.call("DeleteQueue", &json!({ "QueueUrl": self.queue.url() }))?;
        print(&format!("{} is deleted\n", self.queue.name))
    }
}

impl Purge {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut client, url) = (self.place.connect()?, self.queue.url());
        let had = stored_in(&client.call("GetQueueAttributes", &stored_query(&url))?);
        client.call("PurgeQueue", &json!({ "QueueUrl": url }))?;
        print(&format!("{} had {had} messages and is empty now\n", self.queue.name))
    }
}

impl Stats {
    pub(super) fn run(self) -> Result<(), Failure> {
        let answer = read(&self.door, &self.queue.path(), &self.queue.query())?;
        print(&if self.json { format!("{answer}\n") } else { table(&answer) })
    }
}
