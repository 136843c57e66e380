//! `trunkline bench idle`. Start at [`IdleArgs`].

use std::time::Duration;

use clap::Args;
use load::Idle;

use super::args::{ClientArgs, ROOM, RoomArgs, ServerArgs, SpeakArgs, duration};
use crate::cli::Failure;

/// Memory of idle clients
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench idle --connections 60000 --target http://127.0.0.1:8001,http://127.0.0.1:8002 --server-pid 4711,4712
  trunkline bench idle --protocol socketio-poll --connections 5000 --server-pid 4711 --json
  trunkline bench idle --protocol mqtt --qos 1 --connections 15000 --target mqtt://127.0.0.1:1883 --server-pid 4711",
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio, socketio-poll, websocket, sse, ndjson, cloudevents or mqtt")),
    mut_arg("topic", |arg| arg.help("Filter to which each client of mqtt subscribes, with the same placeholders [default: room-%{i%100}]"))
)]
pub(super) struct IdleArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
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
    pub(super) fn scenario(&self) -> Result<Idle, Failure> {
        let protocol = self.speak.protocol()?;
        Ok(Idle {
            clients: self.clients.clients(self.connections, protocol),
            protocol,
            join: self.room.join(protocol, ROOM)?,
            server: self.measured.pids(),
            hold: self.hold,
            warmup_connections: self.warmup_connections,
        })
    }
}
