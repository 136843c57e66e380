//! `trunkline bench churn`. Start at [`ChurnArgs`].

use std::time::Duration;

use clap::Args;
use load::{Churn, Join, Protocol, Target};

use super::args::{ClientArgs, duration};

/// Clients that come, join a room, hear one message and leave, at a steady rate
#[derive(Debug, Args)]
#[command(after_help = "Exit status 1 if a visit did not end well or a session was left on the server.

Examples:
  trunkline bench churn --rate 200 --duration 60s --server-pid 4711
  trunkline bench churn --rate 50 --target http://127.0.0.1:3000 --metrics-url http://127.0.0.1:3000")]
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
    /// What clients speak: socketio
    #[arg(long, default_value = "socketio")]
    protocol: Protocol,
    /// Event that comes back to its sender: the message of a visit
    #[arg(long, default_value = "echo")]
    event: String,
    /// Characters of its data
    #[arg(long, value_name = "N", default_value_t = 50)]
    payload_bytes: usize,
    /// How long nothing may happen before the rest counts as stuck, and how long sessions may take to go
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    patience: Duration,
    /// Where the server's /metrics are
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    metrics_url: Target,
    /// The gauge of its sessions there
    #[arg(long, value_name = "NAME", default_value = "trunkline_sessions")]
    sessions_metric: String,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl ChurnArgs {
    pub(super) fn scenario(&self) -> Churn {
        let event = self.clients.room_event.clone().unwrap_or_else(|| "join".into());
        Churn {
            clients: self.clients.clients(self.slots),
            protocol: self.protocol,
            join: Some(Join { event, room: self.clients.room.clone() }),
            echo_event: self.event.clone(),
            payload_bytes: self.payload_bytes,
            per_second: self.rate,
            duration: self.duration,
            patience: self.patience,
            server: self.clients.common.server(),
            metrics_url: self.metrics_url.clone(),
            sessions_metric: self.sessions_metric.clone(),
        }
    }
}
