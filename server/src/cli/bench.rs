//! `trunkline bench`: measures a server, ours or another one, with very many clients.
//!
//! Owns the arguments. The scenarios are the crate `load`'s, which knows nothing of this server. Start at [`Bench`].

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use load::{
    Attack, Bounds, Clients, Confirm, Console, Destination, Fanout, Floor, Hostile, Idle, Join, Pids,
    Protocol, Report, Stream, Target, WriterCommand, WriterSettings,
};

use super::{Failure, print};

/// Measure a server with very many clients
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Build with --release, and raise the limit of open files (ulimit -n) above the connections.

Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench fanout --channel main --messages 100 --server-pid 4711 --with-floor"
)]
pub(super) struct Bench {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    Idle(IdleArgs),
    Fanout(FanoutArgs),
    Floor(FloorArgs),
    Hostile(HostileArgs),
    #[command(hide = true)]
    FloorWriter(FloorWriterArgs),
}

/// Who connects
#[derive(Debug, Args)]
struct ClientArgs {
    /// Public port of the server; several are used in turn
    #[arg(long, value_name = "URL", value_delimiter = ',', default_value = "http://127.0.0.1:8000")]
    target: Vec<Target>,
    /// Addresses to connect from; on loopback we choose some of 127.0.0.0/8
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    source: Vec<IpAddr>,
    /// Connections that may be in their handshake at the same time
    #[arg(long, value_name = "N", default_value_t = 256)]
    opening_max: u32,
    /// Event loops of the generator; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Event that each client emits to get into a room, acknowledged by the server
    #[arg(long, value_name = "EVENT")]
    room_event: Option<String>,
    /// Argument of that event; %{i} is the number of the client, %{i%100} its remainder
    #[arg(long, value_name = "ROOM", default_value = "room-%{i%100}")]
    room: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Process of the server, on this machine; several are added up
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Memory of idle clients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench idle --connections 15000 --room-event join --server-pid 4711
  trunkline bench idle --protocol socketio-poll --connections 5000 --server-pid 4711 --json")]
struct IdleArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    /// socketio or socketio-poll
    #[arg(long, default_value = "socketio")]
    protocol: Protocol,
    /// How long all are idle before memory is read
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    hold: Duration,
    /// Clients that connect and leave before, so that code and buffers of threads are in memory
    #[arg(long, value_name = "N", default_value_t = 200)]
    warmup_connections: u32,
    #[command(flatten)]
    clients: ClientArgs,
}

/// Deliveries of one message to all
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench fanout --connections 10000 --messages 100 --batch 1 --server-pid 4711
  trunkline bench fanout --messages 3200 --batch 32 --server-pid 4711 --with-floor
  trunkline bench fanout --connections 1000 --messages 1000 --rate 50")]
struct FanoutArgs {
    /// How many subscribers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    stream: StreamArgs,
    /// Messages that are published at the same moment
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u32,
    /// Private port of the server; with a path if it is not /v1/messages
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9000")]
    publish_url: Target,
    /// One of the server's private.keys, if it has any
    #[arg(long, value_name = "KEY", env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Channel to publish to; main is the namespace /
    #[arg(long, default_value = "main")]
    channel: String,
    /// Let the server count deliveries before it answers a publish
    #[arg(long)]
    confirm: bool,
    /// Measure the floor too, in turns, three rounds each, and print the ratio of CPU per delivery
    #[arg(long)]
    with_floor: bool,
    /// Threads of the floor's writer, as many as the server has shards; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    floor_writers: u32,
    /// Counter of write calls in the server's /metrics
    #[arg(long, value_name = "NAME", default_value = "trunkline_writes_total")]
    writes_metric: String,
    #[command(flatten)]
    clients: ClientArgs,
}

/// What is sent
#[derive(Debug, Args)]
struct StreamArgs {
    /// How many messages, besides one batch of warm-up
    #[arg(long, value_name = "N", default_value_t = 100)]
    messages: u32,
    /// Messages per second, at times fixed beforehand; without it a batch follows when the last one arrived
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 200)]
    payload_bytes: usize,
    /// How long nothing may arrive before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    patience: Duration,
}

/// What the kernel alone costs: bare writes of the same frames to as many sockets
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  trunkline bench floor --connections 10000 --messages 100
  trunkline bench floor --connections 10000 --messages 3200 --frames-per-write 32")]
struct FloorArgs {
    /// How many sockets
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    stream: StreamArgs,
    /// Frames in one write
    #[arg(long, value_name = "N", default_value_t = 1)]
    frames_per_write: u32,
    /// Threads that write; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    writers: u32,
    /// Event loops of the receivers; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[command(flatten)]
    output: OutputArgs,
}

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
  trunkline bench hostile --kind many-rooms --room-event join --server-pid 4711"
)]
struct HostileArgs {
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
    #[arg(long, value_name = "URL")]
    publish_url: Option<Target>,
    /// One of the server's private.keys, if it has any
    #[arg(long, value_name = "KEY", env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Channel to publish to
    #[arg(long, default_value = "main")]
    channel: String,
    #[command(flatten)]
    clients: ClientArgs,
}

/// A value of `--kind`.
#[derive(Clone, Copy, Debug)]
enum Kind {
    All,
    One(Attack),
}

/// The other process of the floor
#[derive(Debug, Args)]
struct FloorWriterArgs {
    #[arg(long)]
    connections: u32,
    #[arg(long)]
    writers: u32,
}

impl Bench {
    /// Runs the scenario and prints its report; fails if the server did not do what it must, or the run is void.
    pub(super) fn run(self) -> Result<(), Failure> {
        let console = Console::detect();
        let (report, output) = match self.scenario {
            Scenario::Idle(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::Fanout(args) => (args.scenario()?.run(console)?, args.clients.common.output),
            Scenario::Floor(args) => (args.scenario()?.run(console)?, args.output),
            Scenario::Hostile(args) => (args.scenario().run(console)?, args.clients.common.output),
            Scenario::FloorWriter(args) => return args.run(),
        };
        output.print(&report)
    }
}

impl OutputArgs {
    fn print(&self, report: &Report) -> Result<(), Failure> {
        print(&if self.json { format!("{}\n", report.json()) } else { report.to_string() })?;
        match report.passed() {
            true => Ok(()),
            false => Err(Failure("the run is void or a condition was not met".into())),
        }
    }
}

impl ClientArgs {
    fn clients(&self, connections: u32) -> Clients {
        Clients {
            targets: self.target.clone(),
            sources: self.source.clone(),
            connections,
            opening_max: self.opening_max,
            threads: self.threads,
        }
    }

    fn join(&self) -> Option<Join> {
        let event = self.room_event.clone()?;
        Some(Join { event, room: self.room.clone() })
    }
}

impl CommonArgs {
    fn server(&self) -> Pids {
        Pids(self.server_pid.clone())
    }
}

impl IdleArgs {
    fn scenario(&self) -> Idle {
        Idle {
            clients: self.clients.clients(self.connections),
            protocol: self.protocol,
            join: self.clients.join(),
            server: self.clients.common.server(),
            hold: self.hold,
            warmup_connections: self.warmup_connections,
        }
    }
}

impl StreamArgs {
    fn stream(&self, batch: u32) -> Stream {
        let Self { messages, rate, payload_bytes, patience } = *self;
        Stream { messages, batch, rate, payload_bytes, patience }
    }
}

impl FanoutArgs {
    fn scenario(&self) -> Result<Fanout, Failure> {
        let stream = self.stream.stream(self.batch);
        let floor = || -> Result<Floor, Failure> {
            Ok(Floor {
                connections: self.connections,
                threads: self.clients.threads,
                writers: self.floor_writers,
                stream,
                writer: floor_writer()?,
            })
        };
        let destination = Destination {
            url: self.publish_url.clone(),
            channel: self.channel.clone(),
            key: self.key.clone(),
            confirm: if self.confirm { Confirm::Yes } else { Confirm::No },
        };
        Ok(Fanout {
            clients: self.clients.clients(self.connections),
            join: self.clients.join(),
            destination,
            stream,
            server: self.clients.common.server(),
            writes_metric: self.writes_metric.clone(),
            floor: self.with_floor.then(floor).transpose()?,
        })
    }
}

impl FloorArgs {
    fn scenario(&self) -> Result<Floor, Failure> {
        Ok(Floor {
            connections: self.connections,
            threads: self.threads,
            writers: self.writers,
            stream: self.stream.stream(self.frames_per_write),
            writer: floor_writer()?,
        })
    }
}

impl HostileArgs {
    fn scenario(&self) -> Hostile {
        let attacks = self.kind.iter().flat_map(|kind| match kind {
            Kind::All => Attack::ALL.to_vec(),
            Kind::One(attack) => vec![*attack],
        });
        let destination = |url: &Target| Destination {
            url: url.clone(),
            channel: self.channel.clone(),
            key: self.key.clone(),
            confirm: Confirm::No,
        };
        Hostile {
            clients: self.clients.clients(self.connections),
            attacks: attacks.collect(),
            join: self.clients.join(),
            canary_event: self.canary_event.clone(),
            destination: self.publish_url.as_ref().map(destination),
            server: self.clients.common.server(),
            duration: self.duration,
            bounds: Bounds { growth_bytes_max: self.allow_bytes, canary_ms_max: self.canary_ms_max },
        }
    }
}

impl FloorWriterArgs {
    fn run(self) -> Result<(), Failure> {
        let settings = WriterSettings { connections: self.connections, writers: self.writers };
        Ok(load::serve_writer(settings, std::io::stdin().lock(), std::io::stdout().lock())?)
    }
}

/// This program once more.
fn floor_writer() -> Result<WriterCommand, Failure> {
    let arguments = vec!["bench".into(), "floor-writer".into()];
    Ok(WriterCommand { program: std::env::current_exe()?, arguments })
}

fn kind(text: &str) -> Result<Kind, String> {
    if text == "all" {
        return Ok(Kind::All);
    }
    text.parse().map(Kind::One).map_err(|error| format!("{error}, all"))
}

/// `5s`, `500ms`, `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 5s, 500ms or 2m");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let ms_each = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(ms_each).map(Duration::from_millis).ok_or_else(wrong)
}
