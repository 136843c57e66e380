//! `trunkline bench hostile`. Start at [`HostileArgs`].

use std::time::Duration;

use clap::Args;
use load::{Attack, Bounds, Confirm, Hostile, Protocol, Target};

use super::args::{ClientArgs, Door, PublishArgs, RoomArgs, ServerArgs, duration};
use crate::cli::Failure;

/// Clients that mean no good: does memory stay bounded, are others still served?
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status 1 if memory grew beyond --allow-bytes or the canary was not served in time.

Kinds:
  never-reads      asks and never reads, while messages are published if --publish-url is given
  byte-per-second  sends the head of its request so slowly
  half-open        10,000 handshakes that are never finished
  huge-frame       announces a frame of 1 GiB and begins to send it
  deep-json        events of JSON with 200,000 levels
  many-rooms       100,000 joins by one client; needs --room-event
  all

Examples:
  trunkline bench hostile --server-pid 4711
  trunkline bench hostile --kind never-reads --publish-url http://127.0.0.1:9000 --server-pid 4711
  trunkline bench hostile --kind many-rooms --room-event join --server-pid 4711",
    mut_arg("channel", |arg| arg.requires("publish_url")),
    mut_arg("publish_body", |arg| arg.requires("publish_url"))
)]
pub(super) struct HostileArgs {
    /// Which attacks
    #[arg(long, value_delimiter = ',', default_value = "all", value_parser = kind)]
    kind: Vec<Kind>,
    /// How many attackers; 0 = what fits the attack
    #[arg(long, value_name = "N", default_value_t = 0)]
    connections: u32,
    /// How long each attack lasts
    #[arg(long, value_name = "TIME", default_value = "12s", value_parser = duration)]
    duration: Duration,
    /// By how much the server's resident memory may grow during an attack
    /// 50 clients that never read may each hold limits.outbox_bytes_max and limits.write_buffer_bytes_max
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 20)]
    allow_bytes: u64,
    /// How long the canary may wait for an answer
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    canary_ms_max: u64,
    /// Event that the server acknowledges, for the canary; without it the canary sends WebSocket pings
    #[arg(long, value_name = "EVENT")]
    canary_event: Option<String>,
    /// Private port of the server, to publish to clients that never read
    #[arg(long, value_name = "URL", value_parser = Target::of_back_end)]
    publish_url: Option<Target>,
    #[command(flatten)]
    publish: PublishArgs,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

/// A value of `--kind`.
#[derive(Clone, Copy, Debug)]
enum Kind {
    All,
    One(Attack),
}

impl HostileArgs {
    pub(super) fn scenario(&self) -> Result<Hostile, Failure> {
        let attacks = self.kind.iter().flat_map(|kind| match kind {
            Kind::All => Attack::ALL.to_vec(),
            Kind::One(attack) => vec![*attack],
        });
        let destination = |url: &Target| {
            self.publish.destination(&Door::Http(url.clone()), (Confirm::No, Protocol::SocketIo))
        };
        Ok(Hostile {
            clients: self.clients.clients(self.connections, Protocol::SocketIo),
            attacks: attacks.collect(),
            join: self.room.join(Protocol::SocketIo, "")?,
            canary_event: self.canary_event.clone(),
            destination: self.publish_url.as_ref().map(destination),
            server: self.measured.pids(),
            duration: self.duration,
            bounds: Bounds { growth_bytes_max: self.allow_bytes, canary_ms_max: self.canary_ms_max },
        })
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    if text == "all" {
        return Ok(Kind::All);
    }
    text.parse().map(Kind::One).map_err(|error| format!("{error}, all"))
}
