//! `trunkline bench pairs`. Start at [`PairsArgs`].

use std::time::Duration;

use clap::Args;
use load::{Pairs, Protocol, Tempo};

use super::args::{ClientArgs, duration};

/// Messages from one client to one other, each pair with a room of its own
#[derive(Debug, Args)]
#[command(
    after_help = "Rooms are pair-0, pair-1 and so on; --room is not used. The server's back end gets the data of \
--event ROOM DATA to the other members of the room, as the one of `trunkline dev` does.

Examples:
  trunkline bench pairs --pairs 1000 --rate 10000 --duration 10s
  trunkline bench pairs --pairs 1000 --outstanding 1 --server-pid 4711"
)]
pub(super) struct PairsArgs {
    /// How many pairs, of two clients each
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pairs: u32,
    /// What clients speak: socketio
    #[arg(long, default_value = "socketio")]
    protocol: Protocol,
    /// Event that says something to a room
    #[arg(long, default_value = "say")]
    event: String,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 50)]
    payload_bytes: usize,
    /// Messages a second from the first halves to the second, at times fixed beforehand
    #[arg(long, value_name = "N", default_value_t = 1_000.0, conflicts_with = "outstanding")]
    rate: f64,
    /// Instead: messages on their way for each pair; both halves answer each other
    #[arg(long, value_name = "N")]
    outstanding: Option<u32>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// How long nothing may arrive before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl PairsArgs {
    pub(super) fn scenario(&self) -> Pairs {
        Pairs {
            clients: self.clients.clients(self.pairs.saturating_mul(2)),
            protocol: self.protocol,
            join_event: self.clients.room_event.clone().unwrap_or_else(|| "join".into()),
            say_event: self.event.clone(),
            payload_bytes: self.payload_bytes,
            tempo: self.outstanding.map_or(Tempo::Rate(self.rate), Tempo::Outstanding),
            duration: self.duration,
            patience: self.patience,
            server: self.clients.common.server(),
        }
    }
}
