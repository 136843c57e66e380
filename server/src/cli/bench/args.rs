//! Arguments that several scenarios share, and what they become.
//!
//! Must not know scenarios. Start at [`ClientArgs`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use load::mqtt::{Options, Qos, Version};
use load::{
    Clients, Confirm, Destination, Helper, Join, Pids, Protocol, PublishBody, Recovery, Report, Span, Stream,
    Target,
};

use crate::cli::{Failure, print};

/// Who connects
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// Public port of the server; several are used in turn. Clients of mqtt: mqtt://HOST:PORT, or over WebSocket
    /// ws://HOST:PORT/PATH. With TLS: https://, wss:// or mqtts://, where no certificate is checked [default:
    /// http://127.0.0.1:8000, or mqtt://127.0.0.1:8000]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(super) target: Vec<Target>,
    /// Addresses to connect from; on loopback we choose some of 127.0.0.0/8
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) source: Vec<IpAddr>,
    /// Connections that may be in their handshake at the same time
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(super) opening_max: u32,
    /// Event loops of the generator, of all its processes together; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) threads: usize,
    /// Processes of the generator; 0 = as many as it takes to have enough open files
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) processes: u32,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// What clients speak
#[derive(Debug, Args)]
pub(super) struct SpeakArgs {
    /// What clients speak: socketio, websocket, sse, ndjson, cloudevents (streams at /ws) or mqtt
    #[arg(long, default_value = "socketio")]
    protocol: Protocol,
    /// Quality of service of clients of mqtt, of their subscriptions and of what is published: 0, 1 or 2 [default: 0]
    #[arg(long, value_name = "N")]
    qos: Option<Qos>,
    /// Version that clients of mqtt speak: 3.1.1 or 5 [default: 3.1.1]
    #[arg(long, value_name = "VERSION")]
    mqtt_version: Option<Version>,
}

/// What each client joins
#[derive(Debug, Args)]
pub(super) struct RoomArgs {
    /// Event that each client emits to get into a room, acknowledged by the server
    #[arg(long, value_name = "EVENT")]
    room_event: Option<String>,
    /// Argument of that event; %{i} is the number of the client, %{i%100} its remainder.
    /// Several --target are taken in turn by the same number: of two, one has the rooms with even remainders
    #[arg(long, value_name = "ROOM", default_value = ROOM, requires = "room_event")]
    room: String,
    /// Filter to which each client of mqtt subscribes, or that each stream is for, with the same placeholders and %{i+50%100}
    /// [default: the channel, if there is one]
    #[arg(long, value_name = "FILTER", conflicts_with = "room_event")]
    topic: Option<String>,
}

/// One of a hundred, for each client.
pub(super) const ROOM: &str = "room-%{i%100}";

/// What is measured
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Process of the server, on this machine; several are added up
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
}

/// What clients say
#[derive(Debug, Args)]
pub(super) struct TalkArgs {
    #[command(flatten)]
    pub(super) speak: SpeakArgs,
    /// Event that comes back to its sender; mqtt has none, there each client hears what it publishes itself
    #[arg(long, default_value = "echo")]
    pub(super) event: String,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(super) payload_bytes: usize,
    /// How long nothing may arrive before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) patience: Duration,
}

#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Print the report as one JSON object, with every histogram and series
    #[arg(long)]
    pub(super) json: bool,
    /// Write a page with charts to this folder: index.html, one SVG file for each chart, report.json
    #[arg(long, value_name = "DIR", value_parser = folder)]
    report: Option<PathBuf>,
}

/// What is sent
#[derive(Debug, Args)]
pub(super) struct StreamArgs {
    /// How many messages, besides one batch of warm-up
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) messages: u32,
    /// Batches that are on their way at the same time; without --rate
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "rate")]
    pub(super) in_flight: u32,
    /// Messages per second, at times fixed beforehand; without it a batch follows when one has arrived
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<f64>,
    /// Characters of the data of each message
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(super) payload_bytes: usize,
    /// How long nothing may arrive before the rest counts as lost
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(super) patience: Duration,
}

/// Where messages are published: at one server
#[derive(Debug, Args)]
pub(super) struct DoorArgs {
    /// Private port of the server; with a path if it is not /v1/messages. Or mqtt://HOST:PORT to publish as a client, which is
    /// what happens if clients speak mqtt [default: http://127.0.0.1:9000, or the target]
    #[arg(long, value_name = "URL", value_parser = Target::of_back_end)]
    publish_url: Option<Target>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    publish: PublishArgs,
}

/// What the answer to a publish says
#[derive(Debug, Args)]
pub(super) struct ConfirmArgs {
    /// Let the server count deliveries before it answers a publish
    #[arg(long)]
    confirm: bool,
}

/// How messages are published
#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// One of the server's private.keys, if it has any
    #[arg(long, value_name = "KEY", env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Channel to publish to; main is the namespace / [default: main]
    #[arg(long)]
    channel: Option<String>,
    /// json, or raw for other servers: the bare data to exactly the URL, any 2xx is success
    #[arg(long, value_name = "KIND", default_value = "json")]
    publish_body: PublishBody,
}

impl OutputArgs {
    /// Writes the folder, prints the report, and fails if the run did not pass. Files come first: a reader of the text
    /// who goes away ends the program.
    pub(super) fn print(&self, report: &Report) -> Result<(), Failure> {
        let page = self.report.as_deref().map(|folder| report.write_to(folder));
        print(&if self.json { report.json_text() + "\n" } else { report.to_string() })?;
        if let (Some(page), false) = (page.transpose()?, self.json) {
            print(&format!("report: {}\n", page.display()))?;
        }
        match report.passed() {
            true => Ok(()),
            false => Err(Failure("the run is void or a condition was not met".into())),
        }
    }
}

impl SpeakArgs {
    pub(super) fn protocol(&self) -> Result<Protocol, Failure> {
        let Self { protocol, qos, mqtt_version } = *self;
        match (protocol, qos.is_some(), mqtt_version.is_some()) {
            (Protocol::Mqtt(default), ..) => Ok(Protocol::Mqtt(Options {
                version: mqtt_version.unwrap_or(default.version),
                qos: qos.unwrap_or(default.qos),
            })),
            (_, false, false) => Ok(protocol),
            (_, true, _) => Err("--qos is for --protocol mqtt".into()),
            (..) => Err("--mqtt-version is for --protocol mqtt".into()),
        }
    }
}

/// How clients speak MQTT, if they do.
fn mqtt(protocol: Protocol) -> Option<Options> {
    match protocol {
        Protocol::Mqtt(options) => Some(options),
        _ => None,
    }
}

impl ClientArgs {
    pub(super) fn clients(&self, connections: u32, protocol: Protocol) -> Clients {
        let default = if mqtt(protocol).is_some() { MQTT_TARGET } else { TARGET };
        let default = || default.parse().expect("the address is written out");
        Clients {
            targets: if self.target.is_empty() { vec![default()] } else { self.target.clone() },
            sources: self.source.clone(),
            connections,
            opening_max: self.opening_max,
            threads: self.threads,
            processes: self.processes,
            helper: helper().ok(),
        }
    }

    /// The clients of a scenario that reaches one server alone; `why` follows the refusal of several.
    pub(super) fn of_one_server(
        &self,
        (connections, protocol): (u32, Protocol),
        why: &str,
    ) -> Result<Clients, Failure> {
        match self.target.as_slice() {
            [] | [_] => Ok(self.clients(connections, protocol)),
            several => Err(Failure(format!("{} of --target, but only one can be: {why}", several.len()))),
        }
    }
}

/// Ports of `trunkline dev`.
const TARGET: &str = "http://127.0.0.1:8000";
const MQTT_TARGET: &str = "mqtt://127.0.0.1:8000";
pub(super) const PRIVATE: &str = "http://127.0.0.1:9000";

impl RoomArgs {
    /// Clients of MQTT subscribe to `topic` if nothing else was asked for.
    pub(super) fn join(&self, protocol: Protocol, topic: &str) -> Result<Option<Join>, Failure> {
        let is_mqtt = mqtt(protocol).is_some();
        if matches!(protocol, Protocol::Sse | Protocol::Ndjson | Protocol::CloudEvents) {
            return match (&self.room_event, &self.topic) {
                (Some(_), _) => Err("--room-event is not for streams, which have --topic".into()),
                (None, other) => Ok(Some(Join::to_filter(other.as_deref().unwrap_or(topic)))),
            };
        }
        match (&self.room_event, &self.topic) {
            (Some(_), _) if is_mqtt => Err("--room-event is not for mqtt, which has --topic".into()),
            (_, Some(_)) if !is_mqtt => {
                Err("--topic is for --protocol mqtt, sse, ndjson and cloudevents".into())
            }
            (_, other) if is_mqtt => Ok(Some(Join::to_filter(other.as_deref().unwrap_or(topic)))),
            (event, _) => Ok(event.clone().map(|event| Join { event, room: self.room.clone() })),
        }
    }
}

impl ServerArgs {
    pub(super) fn pids(&self) -> Pids {
        Pids(self.server_pid.clone())
    }
}

impl StreamArgs {
    pub(super) fn stream(&self, batch: u32) -> Stream {
        let Self { messages, in_flight, rate, payload_bytes, patience } = *self;
        Stream { messages, batch, in_flight, rate, payload_bytes, patience }
    }
}

impl DoorArgs {
    pub(super) fn destination(&self, protocol: Protocol, clients: &Clients) -> Destination {
        let urls: Vec<Target> = self.publish_url.iter().cloned().collect();
        self.publish.destination(&door(&urls, protocol, clients), (self.confirm.confirm(), protocol))
    }

    /// Where messages are published over HTTP, since there are metrics, too.
    pub(super) fn private(&self, protocol: Protocol) -> Option<Target> {
        let default = || PRIVATE.parse().ok().filter(|_| mqtt(protocol).is_none());
        self.publish_url.clone().map_or_else(default, |url| (!url.is_mqtt()).then_some(url))
    }

    pub(super) fn channel(&self) -> &str {
        self.publish.channel()
    }
}

/// Where messages are published: the first of `urls`, or what is usual.
pub(super) fn door(urls: &[Target], protocol: Protocol, clients: &Clients) -> Door {
    let target = clients.targets.first().filter(|_| mqtt(protocol).is_some());
    match (urls.first(), target) {
        (Some(url), _) if url.is_mqtt() => Door::Mqtt(url.clone()),
        (Some(url), _) => Door::Http(url.clone()),
        (None, Some(target)) => Door::Mqtt(target.clone()),
        (None, None) => Door::Http(PRIVATE.parse().expect("the address is written out")),
    }
}

/// How messages are published.
pub(super) enum Door {
    Http(Target),
    Mqtt(Target),
}

impl PublishArgs {
    pub(super) fn destination(&self, door: &Door, (confirm, protocol): (Confirm, Protocol)) -> Destination {
        let (channel, key) = (self.channel().to_owned(), self.key.clone());
        let (url, body) = match door {
            Door::Http(url) => (url, self.publish_body),
            Door::Mqtt(url) => (url, PublishBody::Mqtt(mqtt(protocol).unwrap_or_default())),
        };
        Destination { url: url.clone(), channel, key, confirm, body }
    }

    pub(super) fn channel(&self) -> &str {
        self.channel_or("main")
    }

    pub(super) fn channel_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.channel.as_deref().unwrap_or(default)
    }
}

/// Why scenarios that publish at one door have clients at one server.
pub(super) const ONE_DOOR: &str =
    "messages are published at one server and reach its clients; broadcast publishes at several";

impl ConfirmArgs {
    pub(super) fn confirm(&self) -> Confirm {
        if self.confirm { Confirm::Yes } else { Confirm::No }
    }
}

/// This program once more.
pub(super) fn helper() -> Result<Helper, Failure> {
    Ok(Helper { program: std::env::current_exe()?, arguments: vec!["bench".into(), "helper".into()] })
}

/// A folder that is there or can be made; a mistake is told before the run, not after it.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let nearest = path.ancestors().find(|part| part.exists());
    match nearest {
        Some(part) if !part.is_dir() => Err(format!("{} is no folder", part.display())),
        _ => Ok(path),
    }
}

/// `5s..20s`: both bounds included.
pub(super) fn span(text: &str) -> Result<Span, String> {
    let (min, max) = text.split_once("..").ok_or_else(|| format!("{text:?} is no span such as 5s..20s"))?;
    let span = Span::new(duration(min)?, duration(max)?);
    span.ok_or_else(|| format!("{text:?}: the second time is before the first"))
}

/// `on` or `off`.
pub(super) fn recovery(text: &str) -> Result<Recovery, String> {
    match text {
        "on" => Ok(Recovery::On),
        "off" => Ok(Recovery::Off),
        _ => Err("known are on and off".into()),
    }
}

/// `5s`, `500ms`, `2m`.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
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
