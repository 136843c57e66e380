//! `trunkline bench queue`. Start at [`QueueArgs`].

use std::time::Duration;

use clap::Args;
use load::sqs::{Access, Endpoint};
use load::{Cargo, Queue, Stage, Target};

use super::args::{OutputArgs, PRIVATE, ServerArgs, duration};
use crate::cli::Failure;

/// Queues through the API of SQS: sends, receives and deletes, one by one and in batches, and long polls
#[derive(Debug, Args)]
#[command(after_help = "Stages, in the order they are named:
  send         one message in a request
  send-batch   ten messages in a request
  cycle        receive one message, delete it
  cycle-batch  receive up to ten messages, delete them with one request
  wakeup       send to an empty queue at which a receive waits

The queue is made for the run and deleted after it. Messages are numbered: what comes twice or, in a
FIFO queue, after a later message of its group, is found. The server is this one or any other that
speaks AWS JSON 1.0, such as ElasticMQ.

Examples:
  trunkline bench queue --messages 100000 --server-pid 4711
  trunkline bench queue --backlog 1000000 --stages send,cycle,cycle-batch
  trunkline bench queue --groups 10000 --json > fifo.json
  trunkline bench queue --stages wakeup --wakeups 2000
  trunkline bench queue --endpoint http://127.0.0.1:9324 --messages 20000")]
pub(super) struct QueueArgs {
    /// Where SQS is spoken [default: http://127.0.0.1:9000]
    #[arg(long, value_name = "URL", value_parser = Target::of_back_end)]
    endpoint: Option<Target>,
    /// One of the server's private.keys, if it has any
    #[arg(long, value_name = "KEY", env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<String>,
    #[command(flatten)]
    signing: SigningArgs,
    /// Connections, each with one request on its way
    #[arg(long, value_name = "N", default_value_t = 16)]
    connections: u32,
    /// Event loops of the generator
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Messages of each stage
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    messages: u64,
    /// Messages that are stored beforehand and stay
    #[arg(long, value_name = "N", default_value_t = 0)]
    backlog: u64,
    /// Messages of the stage wakeup
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    wakeups: u32,
    /// Characters of the body of each message
    #[arg(long, value_name = "N", default_value_t = 100)]
    body_bytes: usize,
    /// Groups of a FIFO queue; 0 = a standard queue
    #[arg(long, value_name = "N", default_value_t = 0)]
    groups: u32,
    /// What is measured, in this order
    #[arg(long, value_name = "STAGE", value_delimiter = ',', default_value = STAGES)]
    stages: Vec<Stage>,
    /// How long nothing may go on before the run is given up
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const STAGES: &str = "send,send-batch,cycle,cycle-batch,wakeup";

/// By which access key requests are signed
#[derive(Debug, Args)]
pub(in crate::cli) struct SigningArgs {
    /// Id of an access key by which requests are signed, where there is no key
    #[arg(long, value_name = "ID", env = "TRUNKLINE_ACCESS_KEY_ID", requires = "access_key_secret")]
    access_key_id: Option<String>,
    /// Its secret; better given by the variable, since arguments can be seen
    #[arg(long, value_name = "SECRET", env = "TRUNKLINE_ACCESS_KEY_SECRET", hide_env_values = true)]
    access_key_secret: Option<String>,
    /// The region that is signed for
    #[arg(long, value_name = "REGION", default_value = "us-east-1")]
    region: String,
}

impl SigningArgs {
    /// A bearer key comes before an access key.
    pub(in crate::cli) fn access(&self, key: Option<&str>) -> Access {
        match (key, &self.access_key_id, &self.access_key_secret) {
            (Some(key), ..) => Access::Key(key.to_owned()),
            (None, Some(id), Some(secret)) => {
                Access::Signed { id: id.clone(), secret: secret.clone(), region: self.region.clone() }
            }
            (None, ..) => Access::Open,
        }
    }
}

impl QueueArgs {
    pub(super) fn scenario(&self) -> Result<Queue, Failure> {
        let target = match &self.endpoint {
            Some(target) => target.clone(),
            None => PRIVATE.parse().map_err(Failure)?,
        };
        Ok(Queue {
            endpoint: Endpoint { target, access: self.signing.access(self.key.as_deref()) },
            connections: self.connections,
            threads: self.threads,
            cargo: Cargo {
                messages: self.messages,
                backlog: self.backlog,
                wakeups: self.wakeups,
                body_bytes: self.body_bytes,
                groups: self.groups,
            },
            stages: self.stages.clone(),
            patience: self.patience,
            server: self.measured.pids(),
        })
    }
}
