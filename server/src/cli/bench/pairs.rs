//! `trunkline bench pairs`. Start at [`PairsArgs`].

use std::time::Duration;

use clap::Args;
use load::{Pairs, Tempo};

use super::args::{ClientArgs, ServerArgs, TalkArgs, duration};
use crate::cli::Failure;

/// Messages from one client to one other, each pair with a room of its own
#[derive(Debug, Args)]
#[command(
    after_help = "Rooms are pair-0, pair-1 and so on. The server's back end gets the data of --event ROOM DATA to the
other members of the room, as the one of `trunkline dev` does. Of mqtt every client has a topic of
its own, pairs/0, pairs/1 and so on, and publishes to that of its partner.

Examples:
  trunkline bench pairs --pairs 1000 --rate 10000 --duration 10s
  trunkline bench pairs --pairs 1000 --outstanding 1 --server-pid 4711
  trunkline bench pairs --protocol mqtt --qos 1 --outstanding 1 --target mqtt://127.0.0.1:1883",
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio or mqtt")),
    mut_arg("event", |arg| arg.default_value("say").help("Event that says something to a room"))
)]
pub(super) struct PairsArgs {
    /// How many pairs, of two clients each
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pairs: u32,
    /// Messages a second from the first halves to the second, at times fixed beforehand
    #[arg(long, value_name = "N", default_value_t = 1_000.0, conflicts_with = "outstanding")]
    rate: f64,
    /// Instead: messages on their way for each pair; both halves answer each other
    #[arg(long, value_name = "N")]
    outstanding: Option<u32>,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Event with which each client gets into the room of its pair, acknowledged by the server
    #[arg(long, value_name = "EVENT", default_value = "join")]
    room_event: String,
    #[command(flatten)]
    talk: TalkArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl PairsArgs {
    pub(super) fn scenario(&self) -> Result<Pairs, Failure> {
        let (why, protocol) =
            ("the two of a pair would be at different servers", self.talk.speak.protocol()?);
        Ok(Pairs {
            clients: self.clients.of_one_server((self.pairs.saturating_mul(2), protocol), why)?,
            protocol,
            join_event: self.room_event.clone(),
            say_event: self.talk.event.clone(),
            payload_bytes: self.talk.payload_bytes,
            tempo: self.outstanding.map_or(Tempo::Rate(self.rate), Tempo::Outstanding),
            duration: self.duration,
            patience: self.talk.patience,
            server: self.measured.pids(),
        })
    }
}
