//! `trunkline bench fanout`. Start at [`FanoutArgs`].

use clap::Args;
use load::{Fanout, Floor, Target};

use super::args::{ClientArgs, DoorArgs, ONE_DOOR, RoomArgs, ServerArgs, SpeakArgs, StreamArgs, helper};
use crate::cli::Failure;

/// Deliveries of one message to all
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench fanout --connections 10000 --messages 100 --batch 1 --server-pid 4711
  trunkline bench fanout --messages 3200 --batch 32 --server-pid 4711 --with-floor
  trunkline bench fanout --connections 1000 --messages 1000 --rate 50
  trunkline bench fanout --protocol mqtt --connections 1000 --messages 1600 --batch 32 --target mqtt://127.0.0.1:1883")]
pub(super) struct FanoutArgs {
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
    #[command(flatten)]
    stream: StreamArgs,
    /// Messages that are published at the same moment
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,
    #[command(flatten)]
    door: DoorArgs,
    /// Measure the floor too, in turns, three rounds each, and print the ratio of CPU per delivery
    #[arg(long)]
    with_floor: bool,
    /// Threads of each process of the floor's writer, as many as the server has shards; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0, requires = "with_floor")]
    floor_writers: u32,
    /// Processes of the floor's writer, as many as the server has; 0 = as many as it takes to have enough open files
    #[arg(long, value_name = "N", default_value_t = 0, requires = "with_floor")]
    floor_processes: u32,
    /// Where the server's /metrics are [default: where messages are published, over HTTP]
    #[arg(long, value_name = "URL", value_parser = Target::of_back_end)]
    metrics_url: Option<Target>,
    /// Counter of write calls there
    #[arg(long, value_name = "NAME", default_value = "trunkline_writes_total")]
    writes_metric: String,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl FanoutArgs {
    pub(super) fn scenario(&self) -> Result<Fanout, Failure> {
        let (stream, protocol) = (self.stream.stream(self.batch), self.speak.protocol()?);
        let clients = self.clients.of_one_server((self.connections, protocol), ONE_DOOR)?;
        let floor = || -> Result<Floor, Failure> {
            Ok(Floor {
                connections: self.connections,
                threads: self.clients.threads,
                client_processes: self.clients.processes,
                writers: self.floor_writers,
                processes: self.floor_processes,
                stream,
                helper: helper()?,
            })
        };
        Ok(Fanout {
            destination: self.door.destination(protocol, &clients),
            clients,
            protocol,
            join: self.room.join(protocol, self.door.channel())?,
            stream,
            server: self.measured.pids(),
            metrics_url: self.metrics_url.clone().or_else(|| self.door.private(protocol)),
            writes_metric: self.writes_metric.clone(),
            floor: self.with_floor.then(floor).transpose()?,
        })
    }
}
