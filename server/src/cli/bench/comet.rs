//! `trunkline bench comet`. Start at [`CometArgs`].

use std::time::Duration;

use clap::Args;
use load::{Comet, Confirm, Destination, Journal, JournalTo, Protocol, Target, Traffic};

use super::args::{ClientArgs, ONE_DOOR, PublishArgs, RoomArgs, ServerArgs, SpeakArgs, door, duration};
use crate::cli::Failure;

/// Messages to clients picked at random, for a long time: does memory stay flat?
#[derive(Debug, Args)]
#[command(
    after_help = "Told while it runs: Stats: {Active,Closed,Chunks}, and a line of date, Unix time, resident KB of \
the server and connections, with tabs between them; to standard error with --json.

Examples:
  trunkline bench comet --server-pid 4711
  trunkline bench comet --connections 1000 --rate 100 --duration 2m --server-pid 4711
  trunkline bench comet --room-event join --room 'room-%{i}' --channel 'room-%{i}' --user ''
  trunkline bench comet --protocol sse --server-pid 4711
  trunkline bench comet --protocol mqtt --qos 1 --target mqtt://127.0.0.1:1883",
    mut_arg("channel", |arg| arg.help("Channel that reaches one client [default: $user/u%{i}, of mqtt and streams comet/%{i}]"))
)]
pub(super) struct CometArgs {
    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    speak: SpeakArgs,
    /// User that each client connects as, in auth.user or by the user name of mqtt; %{i} is the number of the client; '' = none
    /// [default: u%{i}, of mqtt and streams none]
    #[arg(long)]
    user: Option<String>,
    /// Messages a second in all, at times fixed beforehand
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = duration)]
    duration: Duration,
    /// Connections to publish over
    #[arg(long, value_name = "N", default_value_t = 4)]
    producers: u32,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 50)]
    payload_bytes: usize,
    /// Clients are picked by it
    #[arg(long, value_name = "N", default_value_t = 2008)]
    seed: u64,
    /// How long nothing may arrive before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    patience: Duration,
    /// How often Stats are told and memory is sampled
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    stats_every: Duration,
    /// How often the line with memory is told
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    line_every: Duration,
    /// Percent of the samples, at the beginning, that say nothing about growth
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u8).range(0..=90))]
    warm_up_percent: u8,
    /// Private port of the server; with a path if it is not /v1/messages. Or mqtt://HOST:PORT to publish as a client, which is
    /// what happens if clients speak mqtt [default: http://127.0.0.1:9000, or the target]
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

impl CometArgs {
    pub(super) fn scenario(&self) -> Result<Comet, Failure> {
        let protocol = self.speak.protocol()?;
        let clients = self.clients.of_one_server((self.connections, protocol), ONE_DOOR)?;
        let (channel, user) = match protocol {
            Protocol::Mqtt(_) | Protocol::Sse | Protocol::Ndjson | Protocol::CloudEvents => {
                ("comet/%{i}", "")
            }
            _ => ("$user/u%{i}", "u%{i}"),
        };
        let channel = self.publish.channel_or(channel);
        let urls: Vec<Target> = self.publish_url.iter().cloned().collect();
        let door = door(&urls, protocol, &clients);
        let user = self.user.as_deref().unwrap_or(user);
        Ok(Comet {
            clients,
            protocol,
            join: self.room.join(protocol, channel)?,
            user: (!user.is_empty()).then(|| user.to_owned()),
            destination: Destination {
                channel: channel.to_owned(),
                ..self.publish.destination(&door, (Confirm::No, protocol))
            },
            traffic: self.traffic(),
            server: self.measured.pids(),
            journal: self.journal(),
        })
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            per_second: self.rate,
            duration: self.duration,
            producers: self.producers,
            payload_bytes: self.payload_bytes,
            seed: self.seed,
            patience: self.patience,
        }
    }

    fn journal(&self) -> Journal {
        let json = self.clients.output.json;
        Journal {
            stats_every: self.stats_every,
            line_every: self.line_every,
            warm_up_share: f64::from(self.warm_up_percent) / 100.0,
            to: if json { JournalTo::StandardError } else { JournalTo::StandardOutput },
        }
    }
}
