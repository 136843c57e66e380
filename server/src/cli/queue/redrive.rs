//! `trunkline queue redrive`. Start at [`Redrive::run`].

use std::time::Duration;

use load::Console;
use serde_json::{Value, json};

use super::{Client, Name, Place, count, list, text};
use crate::cli::{Failure, print};

/// How often it is looked how far the task is.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Move what a dead-letter queue has back to where it came from
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The server moves them by itself, oldest first and each once, also when this command is interrupted
or the server is restarted meanwhile.

Examples:
  trunkline queue redrive dead
  trunkline queue redrive dead --to orders --rate 50
  trunkline queue redrive dead --no-wait"
)]
pub(super) struct Redrive {
    /// The dead-letter queue
    #[arg(value_name = "QUEUE")]
    queue: Name,
    /// Where to [default: each message to the queue it came from]
    #[arg(long, value_name = "QUEUE")]
    to: Option<Name>,
    /// Messages a second, up to 500 [default: as fast as it goes]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Only start it
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    place: Place,
}

impl Redrive {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut client = self.place.connect()?;
        let source = client.arn(&self.queue)?;
        let mut input = json!({ "SourceArn": source });
        let members = input.as_object_mut().expect("was made as an object");
        if let Some(target) = &self.to {
            members.insert("DestinationArn".into(), json!(client.arn(target)?));
        }
        members.extend(self.rate.map(|rate| ("MaxNumberOfMessagesPerSecond".into(), json!(rate))));
        let started = client.call("StartMessageMoveTask", &input)?;
        if self.no_wait {
            return print(&format!("{}\n", text(&started, "TaskHandle")));
        }
        let task = wait(&mut client, &source)?;
        outcome(&self.queue.name, &task)
    }
}

/// The task when it is over. It is the newest of its queue.
fn wait(client: &mut Client, source: &str) -> Result<Value, Failure> {
    let bar = Console::detect().bar("moved");
    loop {
        let answer = client.call("ListMessageMoveTasks", &json!({ "SourceArn": source, "MaxResults": 1 }))?;
        let task = list(&answer, "Results").first().ok_or("the server does not know the task any more")?;
        let moved = count(task, "ApproximateNumberOfMessagesMoved");
        bar.at(moved, count(task, "ApproximateNumberOfMessagesToMove").max(moved));
        if !matches!(text(task, "Status"), "RUNNING" | "CANCELLING") {
            return Ok(task.clone());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What is told of a task that is over.
pub(super) fn outcome(queue: &str, task: &Value) -> Result<(), Failure> {
    let moved = count(task, "ApproximateNumberOfMessagesMoved");
    match text(task, "Status") {
        "COMPLETED" => print(&format!("{moved} messages moved out of {queue}\n")),
        status => {
            let (status, why) = (status.to_lowercase(), text(task, "FailureReason"));
            let told = format!("the task ended {status} after {moved} messages {why}");
            Err(Failure(told.trim_end().to_owned()))
        }
    }
}
