//! The figures below `$SYS/broker/`, under the names that dashboards for mosquitto read, and the same below `$sys/`.
//!
//! Owns the names and what each says. They are gathered from all shards at an interval and published through the channels'
//! homes like any other message, as retained values of quality `AtMostOnce`, each only when it has changed. Must not know
//! how shards count. Start at [`publish_for_ever`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub::{Body, ChannelName, Target, Traits};

use super::gather::Outline;
use super::metrics::{self, Snapshot};
use super::office::{Office, OfficeError};
use crate::front::Figures;

/// Below which the figures stand: where mosquitto has them, and the product's own name.
const PLACES: [&str; 2] = ["$SYS/broker/", "$sys/"];

/// The averages of a rate: name and minutes.
const SPANS: [(&str, f64); 3] = [("1min", 1.0), ("5min", 5.0), ("15min", 15.0)];

/// What the figures are made from.
struct Sample {
    snapshot: Snapshot,
    mqtt: Figures,
    uptime_seconds: u64,
    /// Most clients connected, of all samples.
    clients_max: u64,
}

/// A figure: its name, what it is, and its text.
type Row = (&'static str, &'static str, fn(&Sample) -> String);

/// All figures but rates.
const ROWS: &[Row] = &[
    ("version", "Name and version of the server.", |_| {
        concat!("trunkline ", env!("CARGO_PKG_VERSION")).into()
    }),
    ("uptime", "Since the start, as in `60 seconds`.", |sample| format!("{} seconds", sample.uptime_seconds)),
    ("clients/connected", "MQTT clients that are connected.", |sample| sample.connected().to_string()),
    ("clients/disconnected", "MQTT sessions that wait for their clients.", |sample| {
        sample.away().to_string()
    }),
    ("clients/total", "Both together.", |sample| (sample.connected() + sample.away()).to_string()),
    ("clients/maximum", "Most clients connected at a time at which this was published.", |sample| {
        sample.clients_max.to_string()
    }),
    ("messages/received", "Packets of all types from MQTT clients.", |sample| {
        packets(&sample.mqtt.packets_in).to_string()
    }),
    ("messages/sent", "Packets of all types to MQTT clients.", |sample| {
        packets(&sample.mqtt.packets_out).to_string()
    }),
    ("publish/messages/received", "Messages from MQTT clients.", |sample| {
        packets(&sample.mqtt.messages_in).to_string()
    }),
    ("publish/messages/sent", "Messages to MQTT clients.", |sample| {
        packets(&sample.mqtt.messages_out).to_string()
    }),
    (
        "publish/messages/dropped",
        "Messages for which an outbox was full, or that a client does not take.",
        |sample| (sample.snapshot.totals.dropped + sample.mqtt.too_large).to_string(),
    ),
    ("publish/bytes/received", "Bytes of PUBLISH from MQTT clients.", |sample| {
        sample.mqtt.message_bytes_in.to_string()
    }),
    ("publish/bytes/sent", "Bytes of PUBLISH to MQTT clients.", |sample| {
        sample.mqtt.message_bytes_out.to_string()
    }),
    ("bytes/received", "Bytes of packets from MQTT clients.", |sample| sample.mqtt.bytes_in.to_string()),
    ("bytes/sent", "Bytes of packets to MQTT clients.", |sample| sample.mqtt.bytes_out.to_string()),
    ("subscriptions/count", "Subscriptions of all protocols.", |sample| {
        sample.snapshot.totals.subscriptions.to_string()
    }),
    ("retained messages/count", "Values that channels retain, these here included.", |sample| {
        sample.snapshot.totals.retained.to_string()
    }),
    ("retained messages/bytes", "Bytes of those values.", |sample| {
        sample.snapshot.totals.retained_bytes.to_string()
    }),
    ("store/messages/count", "Messages that wait for sessions.", |sample| {
        sample.snapshot.totals.queued.to_string()
    }),
    ("messages/inflight", "Messages of QoS 1 and 2 to MQTT clients that are not acknowledged.", |sample| {
        sample.snapshot.totals.in_flight.to_string()
    }),
    ("heap/current", "Resident memory of the process in bytes.", |_| {
        metrics::resident_bytes().unwrap_or_default().to_string()
    }),
];

/// A rate: its name below `load/`, what it counts, and the counter.
type Rate = (&'static str, &'static str, fn(&Sample) -> u64);

/// Per minute, each as three averages.
const RATES: &[Rate] = &[
    ("messages/received", "Packets from MQTT clients.", |sample| packets(&sample.mqtt.packets_in)),
    ("messages/sent", "Packets to MQTT clients.", |sample| packets(&sample.mqtt.packets_out)),
    ("publish/received", "Messages from MQTT clients.", |sample| packets(&sample.mqtt.messages_in)),
    ("publish/sent", "Messages to MQTT clients.", |sample| packets(&sample.mqtt.messages_out)),
    ("bytes/received", "Bytes of packets from MQTT clients.", |sample| sample.mqtt.bytes_in),
    ("bytes/sent", "Bytes of packets to MQTT clients.", |sample| sample.mqtt.bytes_out),
    ("connections", "CONNECT packets.", |sample| sample.mqtt.packets_in.get(1).copied().unwrap_or_default()),
    ("sockets", "Connections accepted, of all protocols.", |sample| {
        sample.snapshot.shards.iter().map(|(_, stats)| stats.accepted).sum()
    }),
];

fn packets(counters: &[u64]) -> u64 {
    counters.iter().sum()
}

impl Sample {
    fn connected(&self) -> u64 {
        packets(&self.mqtt.connections)
    }

    fn away(&self) -> u64 {
        self.snapshot.totals.named.saturating_sub(self.connected())
    }
}

/// Publishes the figures at once and then at each interval, until the node ends.
pub(crate) async fn publish_for_ever(office: Office, interval: Duration) {
    let mut board = Board::new(interval);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let snapshot = metrics::gather(&office).await;
        for (name, text) in board.changes(snapshot) {
            match publish(&office, &name, text).await {
                Ok(()) => {}
                Err(OfficeError::Stopped) => return,
                Err(error) => {
                    tracing::debug!(name, %error, "a figure was not published");
                    board.known.remove(&name);
                }
            }
        }
    }
}

async fn publish(office: &Office, name: &str, text: String) -> Result<(), OfficeError> {
    for place in PLACES {
        let name = format!("{place}{name}");
        let channel = ChannelName::parse(&name, u32::MAX).map_err(OfficeError::Refused)?;
        let outline = Outline {
            version: None,
            target: Target::Channel(channel),
            event: None,
            body: Body::Raw(Bytes::from(text.clone())),
            volatile: false,
            except: None,
            reply_within: None,
            traits: Traits { retain: true, told_anew: true, ..Traits::default() },
        };
        office.publish_only(outline).await?;
    }
    Ok(())
}

/// What was published last, and the averages.
struct Board {
    started: Instant,
    interval_minutes: f64,
    known: HashMap<String, String>,
    clients_max: u64,
    /// The counter behind each rate at the last sample, and its averages.
    rates: Vec<(u64, [f64; SPANS.len()])>,
}

impl Board {
    fn new(interval: Duration) -> Self {
        Self {
            started: Instant::now(),
            interval_minutes: interval.as_secs_f64() / 60.0,
            known: HashMap::new(),
            clients_max: 0,
            rates: vec![(0, [0.0; SPANS.len()]); RATES.len()],
        }
    }

    /// Names and texts of the figures that are not as they were published last.
    fn changes(&mut self, snapshot: Snapshot) -> Vec<(String, String)> {
        let mqtt = snapshot.mqtt();
        self.clients_max = self.clients_max.max(packets(&mqtt.connections));
        let uptime_seconds = self.started.elapsed().as_secs();
        let sample = Sample { snapshot, mqtt, uptime_seconds, clients_max: self.clients_max };
        let mut all: Vec<(String, String)> =
            ROWS.iter().map(|(name, _, text)| ((*name).to_owned(), text(&sample))).collect();
        for ((name, _, count), (before, averages)) in RATES.iter().zip(&mut self.rates) {
            let now = count(&sample);
            let per_minute =
                now.saturating_sub(std::mem::replace(before, now)) as f64 / self.interval_minutes;
            for ((span, minutes), average) in SPANS.iter().zip(averages) {
                let old = (-self.interval_minutes / minutes).exp();
                *average = *average * old + per_minute * (1.0 - old);
                all.push((format!("load/{name}/{span}"), format!("{average:.2}")));
            }
        }
        all.retain(|(name, text)| self.known.get(name) != Some(text));
        self.known.extend(all.iter().cloned());
        all
    }
}

/// The part of `docs/metrics.md` about these figures, in Markdown.
pub(super) fn reference() -> String {
    let mut page = "\n## Topics\n\nPublished every `mqtt.sys_interval_seconds` below `$SYS/broker/`, under the names that \
                    mosquitto uses, and below `$sys/`, as retained messages of QoS 0, each when it has changed. Nobody but \
                    the server publishes there, and `#` does not match there.\n\n| topic | what it is |\n|---|---|\n"
        .to_owned();
    for (name, doc, _) in ROWS {
        let _ = writeln!(page, "| `{name}` | {doc} |");
    }
    for (name, doc, _) in RATES {
        let _ =
            writeln!(page, "| `load/{name}/1min`, `5min`, `15min` | {doc} Per minute, moving averages. |");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub::ShardId;

    fn snapshot(packets: u64) -> Snapshot {
        let mut figures = Figures { bytes_in: 10 * packets, connections: [0, 0, 2], ..Figures::default() };
        figures.packets_in[3] = packets;
        let mut snapshot = Snapshot { figures: vec![(ShardId(0), figures)], ..Snapshot::default() };
        snapshot.totals.named = 5;
        snapshot
    }

    fn text<'a>(changes: &'a [(String, String)], name: &str) -> Option<&'a str> {
        changes.iter().find(|(own, _)| own == name).map(|(_, text)| text.as_str())
    }

    #[test]
    fn figures_are_told_when_they_change() {
        let mut board = Board::new(Duration::from_secs(60));
        let first = board.changes(snapshot(7));
        assert_eq!(text(&first, "messages/received"), Some("7"));
        assert_eq!(text(&first, "clients/connected"), Some("2"));
        assert_eq!(text(&first, "clients/disconnected"), Some("3"));
        assert_eq!(text(&first, "clients/total"), Some("5"));
        let second = board.changes(snapshot(8));
        assert_eq!(text(&second, "messages/received"), Some("8"));
        assert_eq!(text(&second, "clients/total"), None, "as before");
    }

    #[test]
    fn rates_approach_what_happens_and_fall_again() {
        let mut board = Board::new(Duration::from_secs(60));
        let one =
            |changes: &[(String, String)]| text(changes, "load/messages/received/1min").unwrap().to_owned();
        assert_eq!(one(&board.changes(snapshot(100))), "63.21");
        assert_eq!(one(&board.changes(snapshot(200))), "86.47");
        assert_eq!(one(&board.changes(snapshot(200))), "31.81");
    }

    #[test]
    fn names_are_channels_and_each_is_there_once() {
        let mut names: Vec<String> = ROWS.iter().map(|(name, ..)| (*name).to_owned()).collect();
        names.extend(RATES.iter().map(|(name, ..)| format!("load/{name}")));
        assert!(names.iter().all(|name| ChannelName::parse(name, 100).is_ok()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
