//! `trunkline bench churn`. Start at [`ChurnArgs`].

use std::time::Duration;

use clap::Args;
use load::{Churn, Join, Protocol, Target};

use super::args::{ClientArgs, ROOM, ServerArgs, TalkArgs, duration};
use crate::cli::Failure;

/// Clients that come, join a room, hear one message and leave, at a steady rate
#[derive(Debug, Args)]
#[command(after_help = "Exit status 1 if a visit did not end well or a session was left on the server.

Examples:
  trunkline bench churn --rate 200 --duration 60s --server-pid 4711
  trunkline bench churn --rate 50 --target http://127.0.0.1:3000 --metrics-url http://127.0.0.1:3000
  trunkline bench churn --protocol mqtt --rate 500 --target mqtt://127.0.0.1:1883",
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio or mqtt, where each subscribes to a topic of its own and hears itself")),
    mut_arg("patience", |arg| arg.help("How long nothing may happen before the rest counts as stuck, and how long sessions may take to go"))
)]
pub(super) struct ChurnArgs {
    /// Visits a second, at times fixed beforehand
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    rate: f64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    duration: Duration,
    /// Clients that may be there at the same time
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    slots: u32,
    /// Where the server's /metrics are
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000", value_parser = Target::of_back_end)]
    metrics_url: Target,
    /// The gauge of its sessions there
    #[arg(long, value_name = "NAME", default_value = "trunkline_sessions")]
    sessions_metric: String,
    /// Event that each client emits to get into a room, acknowledged by the server
    #[arg(long, value_name = "EVENT", default_value = "join")]
    room_event: String,
    /// Argument of that event; %{i} is the number of the client, %{i%100} its remainder
    #[arg(long, value_name = "ROOM", default_value = ROOM)]
    room: String,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl ChurnArgs {
    pub(super) fn scenario(&self) -> Result<Churn, Failure> {
        let protocol = self.talk.speak.protocol()?;
        let join = match protocol {
            // Each hears what it says itself, so that a room of several would be another run.
            Protocol::Mqtt(_) => None,
            _ => Some(Join { event: self.room_event.clone(), room: self.room.clone() }),
        };
        Ok(Churn {
            clients: self.clients.clients(self.slots, protocol),
            protocol,
            join,
            echo_event: self.talk.event.clone(),
            payload_bytes: self.talk.payload_bytes,
            per_second: self.rate,
            duration: self.duration,
            patience: self.talk.patience,
            server: self.measured.pids(),
            metrics_url: Some(self.metrics_url.clone()),
            sessions_metric: self.sessions_metric.clone(),
        })
    }
}
