//! `trunkline bench cuts`. Start at [`CutsArgs`].

use std::time::Duration;

use clap::Args;
use load::{Cut, Cuts, Recovery, Span};

use super::args::{
    ClientArgs, DoorArgs, ONE_DOOR, RoomArgs, ServerArgs, SpeakArgs, duration, recovery, span,
};
use crate::cli::Failure;

/// Deliveries to clients whose connections are cut at random
#[derive(Debug, Args)]
#[command(
    after_help = "The namespace needs recovery = \"opt_in\" or \"always\" in the server's configuration. Exit status 1 if, \
                        with recovery, anything is lost; or if anything comes twice or out of order. Clients of mqtt have sessions that last; at QoS 0 \
                        the server owes them nothing, at QoS 1 a message may come twice. At QoS 1 and 2 the publisher is cut as \
                        well, and sends again what was not acknowledged.

Examples:
  trunkline bench cuts --connections 1000
  trunkline bench cuts --recovery off --offline-min 1s
  trunkline bench cuts --cut silent
  trunkline bench cuts --connections 100 --interval 20ms --cut-first 100ms..400ms --cut-every 200ms..400ms --offline-min 50ms
  trunkline bench cuts --connections 1000 --protocol mqtt --mqtt-version 5 --qos 2 --target mqtt://127.0.0.1:1883",
    mut_arg("protocol", |arg| arg.help("What clients speak: socketio or mqtt"))
)]
pub(super) struct CutsArgs {
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
    /// How many numbered messages are published
    #[arg(long, value_name = "N", default_value_t = 120)]
    messages: u32,
    /// Time from one message to the next
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = duration)]
    interval: Duration,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 200)]
    payload_bytes: usize,
    /// Whether clients ask for what they missed, or of mqtt for the session they had: on or off
    #[arg(long, value_name = "WORD", default_value = "on", value_parser = recovery)]
    recovery: Recovery,
    /// How: close, reset, mixed, or silent, where the server does not see the end before the client is back
    #[arg(long, value_name = "WORD", default_value = "mixed", value_parser = cut)]
    cut: Cut,
    /// Time until a client is cut for the first time
    #[arg(long, value_name = "TIME..TIME", default_value = "5s..20s", value_parser = span)]
    cut_first: Span,
    /// Time from one cut of a client to its next
    #[arg(long, value_name = "TIME..TIME", default_value = "15s..20s", value_parser = span)]
    cut_every: Span,
    /// How long a client stays away at least; at most it is half as long again
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    offline_min: Duration,
    /// Where random times begin; the same seed gives the same times
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long nothing may arrive at the end before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    patience: Duration,
    #[command(flatten)]
    door: DoorArgs,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl CutsArgs {
    pub(super) fn scenario(&self) -> Result<Cuts, Failure> {
        let away = Span::new(self.offline_min, self.offline_min * 3 / 2);
        let protocol = self.speak.protocol()?;
        let clients = self.clients.of_one_server((self.connections, protocol), ONE_DOOR)?;
        Ok(Cuts {
            destination: self.door.destination(protocol, &clients),
            clients,
            protocol,
            join: self.room.join(protocol, self.door.channel())?,
            messages: self.messages,
            interval: self.interval,
            payload_bytes: self.payload_bytes,
            recovery: self.recovery,
            cut: self.cut,
            first: self.cut_first,
            every: self.cut_every,
            away: away.ok_or("--offline-min is too long")?,
            seed: self.seed,
            patience: self.patience,
            server: self.measured.pids(),
        })
    }
}

fn cut(text: &str) -> Result<Cut, String> {
    let all = [Cut::Close, Cut::Reset, Cut::Mixed, Cut::Silent];
    let known = all.into_iter().find(|cut| cut.name() == text);
    known.ok_or_else(|| "known are close, reset, mixed and silent".into())
}
