//! `trunkline bench broadcast`. Start at [`BroadcastArgs`].

use std::time::Duration;

use clap::Args;
use load::{Broadcast, Clients, Destination, Floor, Protocol, Stream, Target, Volley};

use super::args::{
    ClientArgs, ConfirmArgs, PublishArgs, RoomArgs, ServerArgs, SpeakArgs, door, duration, helper,
};
use crate::cli::Failure;

/// Between two messages of a series.
const SERIES_INTERVAL: Duration = Duration::from_millis(500);

/// One message to very many clients: how long until the last one has it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench broadcast --connections 10000 --repeat 5 --with-floor
  trunkline bench broadcast --connections 1000 --series 100
  trunkline bench broadcast --connections 20000 --protocol mqtt --target mqtt://127.0.0.1:1883
  trunkline bench broadcast --connections 20000 --with-floor \\
    --target http://127.0.0.1:8000,http://127.0.0.1:8001 \\
    --publish-url http://127.0.0.1:9000,http://127.0.0.1:9001")]
pub(super) struct BroadcastArgs {
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
    /// How many messages, each when the one before has arrived
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: u32,
    /// How many messages at fixed times, instead of --repeat
    #[arg(long, value_name = "N", conflicts_with = "repeat")]
    series: Option<u32>,
    /// Time between two messages of a series [default: 500ms]
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "series")]
    interval: Option<Duration>,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 200)]
    payload_bytes: usize,
    /// What arrives later is bad
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    patience: Duration,
    /// Private port of each server that has clients of its own; of a cluster one is enough. Or mqtt://HOST:PORT to publish as a
    /// client, which is what happens if clients speak mqtt [default: http://127.0.0.1:9000, or each target]
    #[arg(long, value_name = "URL", value_delimiter = ',', value_parser = Target::of_back_end)]
    publish_url: Vec<Target>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    publish: PublishArgs,
    /// Measure the floor too, in turns, three rounds each, and print the ratio of the last deliveries
    #[arg(long)]
    with_floor: bool,
    /// Threads of the floor for each --publish-url, as many as the server has shards; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0, requires = "with_floor")]
    floor_writers: u32,
    #[command(flatten)]
    room: RoomArgs,
    #[command(flatten)]
    measured: ServerArgs,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
}

impl BroadcastArgs {
    pub(super) fn scenario(&self) -> Result<Broadcast, Failure> {
        let protocol = self.speak.protocol()?;
        let clients = self.clients.clients(self.connections, protocol);
        Ok(Broadcast {
            doors: self.doors(protocol, &clients),
            clients,
            protocol,
            join: self.room.join(protocol, self.publish.channel())?,
            volley: self.volley(),
            server: self.measured.pids(),
            floor: self.with_floor.then(|| self.floor()).transpose()?,
        })
    }

    fn doors(&self, protocol: Protocol, clients: &Clients) -> Vec<Destination> {
        let how = (self.confirm.confirm(), protocol);
        let each = |urls: &[Target], clients: &Clients| {
            self.publish.destination(&door(urls, protocol, clients), how)
        };
        match (self.publish_url.as_slice(), protocol) {
            ([], Protocol::Mqtt(_)) => {
                let of = |target: &Target| Clients { targets: vec![target.clone()], ..clients.clone() };
                clients.targets.iter().map(|target| each(&[], &of(target))).collect()
            }
            ([], _) => vec![each(&[], clients)],
            (urls, _) => urls.iter().map(|url| each(std::slice::from_ref(url), clients)).collect(),
        }
    }

    fn volley(&self) -> Volley {
        let interval = self.series.map(|_| self.interval.unwrap_or(SERIES_INTERVAL));
        let messages = self.series.unwrap_or(self.repeat);
        Volley { messages, interval, payload_bytes: self.payload_bytes, patience: self.patience }
    }

    fn floor(&self) -> Result<Floor, Failure> {
        let Self { payload_bytes, patience, .. } = *self;
        Ok(Floor {
            connections: self.connections,
            threads: self.clients.threads,
            writers: self.floor_writers,
            stream: Stream { messages: 1, batch: 1, in_flight: 1, rate: None, payload_bytes, patience },
            client_processes: self.clients.processes,
            processes: 0,
            helper: helper()?,
        })
    }
}
