//! `trunkline bench idle`. Start at [`IdleArgs`].

use std::time::Duration;

use clap::Args;
use load::{Idle, Protocol};

use super::args::{ClientArgs, RoomArgs, ServerArgs, duration};

/// Memory of idle clients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench idle --connections 60000 --target http://127.0.0.1:8001,http://127.0.0.1:8002 --server-pid 4711,4712
  trunkline bench idle --protocol socketio-poll --connections 5000 --server-pid 4711 --json")]
pub(super) struct IdleArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    /// socketio, socketio-poll or websocket
    #[arg(long, default_value = "socketio")]
    protocol: Protocol,
    /// How long all are idle before memory is read
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    hold: Duration,
    /// Clients that connect and leave before, so that code and buffers of threads are in memory
    #[arg(long, value_name = "N", default_value_t = 200)]
    warmup_connections: u32,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl IdleArgs {
    pub(super) fn scenario(&self) -> Idle {
        Idle {
            clients: self.clients.clients(self.connections),
            protocol: self.protocol,
            join: self.room.join(),
            server: self.measured.pids(),
            hold: self.hold,
            warmup_connections: self.warmup_connections,
        }
    }
}
