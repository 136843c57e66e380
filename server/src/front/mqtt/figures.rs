//! What the MQTT clients of a shard send and get, counted. Owns the declaration of each figure with its documentation:
//! metrics, reference pages and `$SYS` come from here.
//!
//! Per packet it is an addition or three to memory that is used all the time. Must not know how figures are shown. Start at
//! [`Figures`].

use std::collections::BTreeMap;

use wire::mqtt::{Level, ReasonCode};

use crate::shard::{Stat, StatKind};

/// Types of packets have four bits.
const TYPES: usize = 16;

/// PUBLISH.
const PUBLISH: usize = 3;

/// A snapshot of what was counted since the shard started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connected now, by protocol: MQTT 3.1, 3.1.1, 5.0.
    pub connections: [u64; 3],
    /// By packet type.
    pub packets_in: [u64; TYPES],
    /// By packet type.
    pub packets_out: [u64; TYPES],
    /// By QoS.
    pub messages_in: [u64; 3],
    /// By QoS.
    pub messages_out: [u64; 3],
    /// Of packets.
    pub bytes_in: u64,
    /// Of packets.
    pub bytes_out: u64,
    /// Of PUBLISH.
    pub message_bytes_in: u64,
    /// Of PUBLISH.
    pub message_bytes_out: u64,
    /// Messages larger than their receiver takes.
    pub too_large: u64,
    /// Times that reading from a client paused for its rate.
    pub paused: u64,
    /// Clients cut off for a lasting breach of their rate.
    pub rate_cut: u64,
    /// Refused with CONNACK, by reason code.
    pub refused: BTreeMap<u8, u64>,
}

/// A figure, or several that differ in a label.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name, kind and documentation.
    pub stat: Stat,
    /// The label's name, and what it says; `None` for a single figure.
    pub label: Option<(&'static str, &'static str)>,
    /// Value of the label and figure.
    pub values: fn(&Figures) -> Vec<(&'static str, u64)>,
}

/// All families, in the order in which they are shown.
pub const FAMILIES: &[Family] = &[
    Family {
        stat: gauge("mqtt_connections", "MQTT clients that are connected."),
        label: Some(("protocol", "`3.1`, `3.1.1` or `5.0`")),
        values: |figures| labelled(&["3.1", "3.1.1", "5.0"], &figures.connections),
    },
    Family {
        stat: counter("mqtt_packets_in", "Packets from MQTT clients."),
        label: Some(("type", "as in the specification, in small letters")),
        values: |figures| by_type(&figures.packets_in, FROM_CLIENTS),
    },
    Family {
        stat: counter("mqtt_packets_out", "Packets to MQTT clients."),
        label: Some(("type", "as in the specification, in small letters")),
        values: |figures| by_type(&figures.packets_out, TO_CLIENTS),
    },
    Family {
        stat: counter("mqtt_messages_in", "Messages from MQTT clients."),
        label: Some(("qos", "`0`, `1` or `2`")),
        values: |figures| labelled(QOS, &figures.messages_in),
    },
    Family {
        stat: counter("mqtt_messages_out", "Messages to MQTT clients, repeated ones included."),
        label: Some(("qos", "`0`, `1` or `2`")),
        values: |figures| labelled(QOS, &figures.messages_out),
    },
    Family {
        stat: counter("mqtt_bytes_in", "Bytes of packets from MQTT clients."),
        label: None,
        values: |figures| vec![("", figures.bytes_in)],
    },
    Family {
        stat: counter("mqtt_bytes_out", "Bytes of packets to MQTT clients."),
        label: None,
        values: |figures| vec![("", figures.bytes_out)],
    },
    Family {
        stat: counter("mqtt_too_large", "Messages not sent as they are larger than the MQTT client takes."),
        label: None,
        values: |figures| vec![("", figures.too_large)],
    },
    Family {
        stat: counter(
            "mqtt_paused",
            "Times that reading from an MQTT client paused: limits.events_per_second, limits.bytes_per_second.",
        ),
        label: None,
        values: |figures| vec![("", figures.paused)],
    },
    Family {
        stat: counter("mqtt_rate_cut", "MQTT clients cut off with 0x96: mqtt.rate_breach_seconds."),
        label: None,
        values: |figures| vec![("", figures.rate_cut)],
    },
    Family {
        stat: counter(
            "mqtt_refused",
            "MQTT connections refused with CONNACK. Until one is, there is no row.",
        ),
        label: Some(("reason", "the code's name in MQTT 5.0, also for clients of version 3")),
        values: |figures| {
            let name = |code: u8| ReasonCode::from_byte(code).map_or("", ReasonCode::name);
            figures.refused.iter().map(|(code, count)| (name(*code), *count)).collect()
        },
    },
];

const QOS: &[&str] = &["0", "1", "2"];

const TYPE_NAMES: [&str; TYPES] = [
    "",
    "connect",
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "suback",
    "unsubscribe",
    "unsuback",
    "pingreq",
    "pingresp",
    "disconnect",
    "auth",
];

/// Types that clients send.
const FROM_CLIENTS: &[usize] = &[1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15];

/// Types that clients get.
const TO_CLIENTS: &[usize] = &[2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15];

const fn gauge(name: &'static str, doc: &'static str) -> Stat {
    Stat { name, kind: StatKind::Gauge, doc }
}

const fn counter(name: &'static str, doc: &'static str) -> Stat {
    Stat { name, kind: StatKind::Counter, doc }
}

fn labelled(names: &[&'static str], values: &[u64]) -> Vec<(&'static str, u64)> {
    names.iter().copied().zip(values.iter().copied()).collect()
}

fn by_type(values: &[u64; TYPES], types: &[usize]) -> Vec<(&'static str, u64)> {
    types.iter().filter_map(|at| Some((*TYPE_NAMES.get(*at)?, *values.get(*at)?))).collect()
}

impl Figures {
    /// A packet of so many bytes came; `first` is its first byte.
    pub(super) fn came(&mut self, first: u8, bytes: usize) {
        add(&mut self.packets_in, usize::from(first >> 4), 1);
        self.bytes_in += bytes as u64;
        if usize::from(first >> 4) == PUBLISH {
            add(&mut self.messages_in, qos(first), 1);
            self.message_bytes_in += bytes as u64;
        }
    }

    /// The same packet of so many bytes was staged for so many clients.
    pub(super) fn left(&mut self, first: u8, bytes: usize, count: u64) {
        add(&mut self.packets_out, usize::from(first >> 4), count);
        self.bytes_out += bytes as u64 * count;
        if usize::from(first >> 4) == PUBLISH {
            add(&mut self.messages_out, qos(first), count);
            self.message_bytes_out += bytes as u64 * count;
        }
    }

    pub(super) fn connected(&mut self, level: Level) {
        add(&mut self.connections, place(level), 1);
    }

    pub(super) fn disconnected(&mut self, level: Level) {
        if let Some(count) = self.connections.get_mut(place(level)) {
            *count -= 1;
        }
    }

    pub(super) fn refused(&mut self, reason: ReasonCode) {
        *self.refused.entry(reason.byte()).or_default() += 1;
    }

    /// Adds another shard's figures to these.
    pub fn add(&mut self, other: &Self) {
        let sum = |own: &mut [u64], other: &[u64]| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        };
        sum(&mut self.connections, &other.connections);
        sum(&mut self.packets_in, &other.packets_in);
        sum(&mut self.packets_out, &other.packets_out);
        sum(&mut self.messages_in, &other.messages_in);
        sum(&mut self.messages_out, &other.messages_out);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.message_bytes_in += other.message_bytes_in;
        self.message_bytes_out += other.message_bytes_out;
        self.too_large += other.too_large;
        self.paused += other.paused;
        self.rate_cut += other.rate_cut;
        for (code, count) in &other.refused {
            *self.refused.entry(*code).or_default() += count;
        }
    }
}

fn qos(first: u8) -> usize {
    usize::from(first >> 1 & 3)
}

fn place(level: Level) -> usize {
    match level {
        Level::V31 => 0,
        Level::V311 => 1,
        Level::V5 => 2,
    }
}

fn add(figures: &mut [u64], at: usize, count: u64) {
    if let Some(figure) = figures.get_mut(at) {
        *figure += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_count_by_type_and_messages_by_qos_too() {
        let mut figures = Figures::default();
        figures.came(0x32, 10);
        figures.came(0xc0, 2);
        figures.left(0x34, 20, 3);
        figures.refused(ReasonCode::Banned);
        let mut sum = figures.clone();
        sum.add(&figures);
        assert_eq!((sum.bytes_in, sum.message_bytes_in, sum.bytes_out), (24, 20, 120));
        assert_eq!((sum.messages_in, sum.messages_out), ([0, 2, 0], [0, 0, 6]));
        let shown = |name: &str, label: &str| {
            let family = FAMILIES.iter().find(|family| family.stat.name == name).unwrap();
            (family.values)(&sum).into_iter().find(|(value, _)| *value == label).map(|(_, count)| count)
        };
        assert_eq!(shown("mqtt_packets_in", "pingreq"), Some(2));
        assert_eq!(shown("mqtt_packets_in", "pingresp"), None, "clients do not send it");
        assert_eq!(shown("mqtt_packets_out", "publish"), Some(6));
        assert_eq!(shown("mqtt_refused", "Banned"), Some(2));
    }

    #[test]
    fn every_family_is_documented_and_has_a_name_of_its_own() {
        let mut names: Vec<_> = FAMILIES.iter().map(|family| family.stat.name).collect();
        assert!(FAMILIES.iter().all(|family| family.stat.doc.ends_with('.')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }
}
