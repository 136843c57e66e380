//! The keys of bridges: other brokers that messages are exchanged with, and which ones.
//!
//! Must not know how a bridge connects (`back/bridge`). Start at [`Bridge`].

use std::fmt;
use std::path::PathBuf;

use super::mqtt::{Password, Text};
use super::names::ChannelFilter;
use super::raw::Raw;
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// Another MQTT broker with which messages are exchanged, as its client: of MQTT 5, with No Local and Retain As Published. What
    /// goes there waits in a session of this server, as for any client, and survives a crash with `store.dir`; what comes
    /// from there is acknowledged once this server has it safe. So nothing of QoS 1 or 2 is lost while they are apart, within
    /// the limits here. A bridge is not bound by the rules for clients (`[[mqtt.acl]]`, rates, bans, switches of `[mqtt]`).
    ///
    /// Messages carry the servers that they came by (user property `trunkline-path`), and none is sent where it has been.
    /// Servers of this kind that bridge to each other learn of it by messages below `$bridge/`, which the bridge's user has to be
    /// allowed to subscribe to; a rule that takes in what the other one sends by itself rests then.
    pub(super) struct BridgeEntry at Many "bridge" {
        /// What it is called in logs, metrics and `GET /v1/bridges`: 1 to 64 of `A-Za-z0-9_-`. The session here belongs to it, as
        /// `$bridge/<name>`.
        name: BridgeName = required, example "plant";
        /// The broker: `mqtt://host[:port]`, or `mqtts://` with TLS. Ports are 1883 and 8883 unless given.
        url: BridgeUrl = required, example "mqtts://broker.example.com:8883";
        /// The protocol that the broker speaks.
        version: BridgeVersion = "5";
        /// The client id there. Without it one is made of the identity of this server, which is kept in the store, and `name`.
        client_id: Option<Text> = none, example "trunkline-plant";
        /// The user name there.
        user: Option<Text> = none, example "trunkline";
        /// The password there.
        password: Option<Password> = none, example "replace-me";
        /// File with the password, read at each connect; a last line break is not part of it. Either this or `password`.
        password_file: Option<PathBuf> = none, example "/etc/trunkline/plant.password";
        /// PEM file with the authorities that the broker's certificate has to come from, read at each connect. Without it those
        /// of the system.
        ca_file: Option<PathBuf> = none, example "/etc/trunkline/plant-ca.pem";
        /// Whether the broker forgets the bridge's session at each connect, so that what it has kept since is not sent here.
        clean_start: bool = false;
        /// How long the sessions, here and there, are kept while they are apart. 4294967295 is for ever. Here
        /// `mqtt.session_expiry_seconds_max` is the limit; version 3.1.1 cannot tell the broker.
        session_expiry_seconds: u32 = 4_294_967_295, 1..=4_294_967_295 "seconds";
        /// A sign of life is asked for after this time without one, and the connection is given up after half as long again.
        keep_alive_seconds: u16 = 60, 1..=65_535 "seconds";
        /// How long it may take until the broker has let the bridge in.
        connect_timeout_ms: u64 = 10_000, 100..=600_000 "milliseconds";
        /// How long to wait before connecting again, the first time; twice as long each further time. Each wait is up to a
        /// quarter shorter by chance.
        backoff_min_ms: u64 = 500, 10..=3_600_000 "milliseconds";
        /// The longest such wait. After a connection that lasted longer (not the way to it) they start anew with the shortest.
        backoff_max_ms: u64 = 60_000, 10..=3_600_000 "milliseconds";
        /// Messages of QoS 1 and 2 that are under way at once, in each direction.
        receive_maximum: u16 = 100, 1..=65_535 "messages";
        /// Messages that wait for the broker, in the place of `limits.outbox_messages_max`. Beyond it the rule of the channel
        /// says what goes (`when_full`), which counts as `overflow` in `GET /v1/bridges`. It can be lowered at a restart only; what waits by then stays.
        queue_messages_max: u32 = 50_000, 1..=65_000 "messages";
        /// Bytes of those messages, in the place of `limits.outbox_bytes_max`; the same happens.
        queue_bytes_max: u64 = 67_108_864, 1024..=1_099_511_627_776 "bytes";
        /// Whether a message that is to be retained, or was, is retained by the other side, too.
        retain: bool = true;
        /// When the values that channels retain already are passed on.
        retained_values: RetainedValues = "new";
    }
}

words! {
    /// A protocol that a bridge speaks.
    pub enum BridgeVersion {
        /// MQTT 5
        V5 = "5",
        /// MQTT 3.1.1, marked as a bridge for No Local and Retain As Published, which mosquitto and others understand. There are
        /// no user properties, so loops over several servers are not found
        V311 = "3.1.1",
    }
}

words! {
    /// When the values that channels retain already are passed on.
    pub enum RetainedValues {
        /// when the session is new on the side that has them; in version 3.1.1 the broker sends them at each connect
        New = "new",
        /// at each connect
        Always = "always",
        /// never
        Never = "never",
    }
}

section! {
    /// Which messages a bridge exchanges, and under which names. A filter stands for the same topics on both sides; what is put
    /// before them differs. Rules of one bridge and direction must not match the same topics.
    pub(super) struct RuleEntry at Many "bridge.rule" {
        /// Which way messages go.
        direction: BridgeDirection = required, example "both";
        /// Which topics, without the prefixes: `+` is one level, a last `#` is all levels below.
        filter: ChannelFilter = required, example "sensors/#";
        /// What stands before them here. It is put there as it is, so it usually ends in `/`.
        local_prefix: Option<TopicPrefix> = none, example "plant/";
        /// What stands before them at the broker.
        remote_prefix: Option<TopicPrefix> = none, example "hq/";
        /// Highest QoS of what goes this way.
        qos: u16 = 1, 0..=2 "";
    }
}

words! {
    /// Which way messages go.
    pub enum BridgeDirection {
        /// from the broker to this server
        In = "in",
        /// from this server to the broker
        Out = "out",
        /// both ways; what came from one side is not sent back there
        Both = "both",
    }
}

/// A bridge with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Unique.
    pub name: BridgeName,
    /// Where the broker is.
    pub url: BridgeUrl,
    /// What it speaks.
    pub version: BridgeVersion,
    /// The client id there; `None`: made up.
    pub client_id: Option<Text>,
    /// Who the bridge is there.
    pub user: Option<Text>,
    /// How it proves that.
    pub password: Option<BridgePassword>,
    /// Authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// No session there.
    pub clean_start: bool,
    /// Of both sessions.
    pub session_expiry_seconds: u32,
    /// At least 1.
    pub keep_alive_seconds: u16,
    /// Until CONNACK.
    pub connect_timeout_ms: u64,
    /// Not above the next.
    pub backoff_min_ms: u64,
    /// Longest wait.
    pub backoff_max_ms: u64,
    /// In each direction.
    pub receive_maximum: u16,
    /// Of what waits for the broker.
    pub queue_messages_max: u32,
    /// The same in bytes.
    pub queue_bytes_max: u64,
    /// Whether RETAIN travels.
    pub retain: bool,
    /// What is there already.
    pub retained_values: RetainedValues,
    /// At least one.
    pub rules: Vec<BridgeRule>,
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgePassword {
    /// Itself.
    Text(Password),
    /// A file to be read.
    File(PathBuf),
}

/// Which messages go which way. The prefixes with the filter behind them are filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeRule {
    /// Which way.
    pub direction: BridgeDirection,
    /// What topics here begin with, perhaps nothing.
    pub local_prefix: String,
    /// What topics there begin with, perhaps nothing.
    pub remote_prefix: String,
    /// Topics here.
    pub local: ChannelFilter,
    /// Topics there.
    pub remote: ChannelFilter,
    /// 0 to 2.
    pub qos: u8,
}

impl BridgeRule {
    /// Whether messages go from this server to the broker.
    pub fn goes_out(&self) -> bool {
        self.direction != BridgeDirection::In
    }

    /// Whether messages come from the broker.
    pub fn goes_in(&self) -> bool {
        self.direction != BridgeDirection::Out
    }
}

/// 1 to 64 of `A-Za-z0-9_-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeName(String);

impl BridgeName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for BridgeName {
    const KIND: Kind = Kind::Text("1 to 64 of `A-Za-z0-9_-`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_word && (1..=64).contains(&text.len()) {
            return Ok(Self(text.into()));
        }
        Err(value.flaw(format!("must be 1 to 64 of `A-Za-z0-9_-`, got \"{text}\"")))
    }
}

/// What topics begin with on one side: no wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicPrefix(String);

impl Setting for TopicPrefix {
    const KIND: Kind = Kind::Text("beginning of topics");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        if text.contains(['+', '#']) {
            return Err(value.flaw(format!("must have no wildcard, got \"{text}\"")));
        }
        Ok(Self(text.into()))
    }
}

/// Where a broker is.
#[derive(Clone, PartialEq, Eq)]
pub struct BridgeUrl {
    text: String,
    /// Whether there is TLS.
    pub is_secure: bool,
    /// Without brackets.
    pub host: String,
    /// Not 0.
    pub port: u16,
}

impl fmt::Debug for BridgeUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "BridgeUrl({})", self.text)
    }
}

impl fmt::Display for BridgeUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl BridgeUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let (rest, is_secure, usual) = match text.split_once("://") {
            Some(("mqtt", rest)) => (rest, false, 1883),
            Some(("mqtts", rest)) => (rest, true, 8883),
            _ => return Err(format!("must begin with mqtt:// or mqtts://, got \"{text}\"")),
        };
        if rest.contains('@') {
            return Err("must not hold user and password: they are `user` and `password`".into());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(format!("must have no path, got \"{text}\""));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().unwrap_or(0)),
            _ => (rest, usual),
        };
        if port == 0 {
            return Err(format!("must have a port from 1 to 65535, got \"{text}\""));
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if bare.is_none() && host.contains(':') {
            return Err(format!("must have IPv6 addresses in brackets, got \"{text}\""));
        }
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(format!("must name a host, got \"{text}\""));
        }
        Ok(Self { text: text.into(), is_secure, host: host.into(), port })
    }
}

impl Setting for BridgeUrl {
    const KIND: Kind = Kind::Text("`mqtt://host[:port]` or `mqtts://host[:port]`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        Self::parse(value.text()?).map_err(|text| value.flaw(text))
    }
}

/// All bridges whose keys are right, each with its rules. What is wrong is noted.
pub(super) fn read(raw: &mut Raw) -> Vec<Bridge> {
    let count = raw.element_count(&BridgeEntry::SECTION);
    (0..count).filter_map(|index| read_one(raw, index)).collect()
}

fn read_one(raw: &mut Raw, index: usize) -> Option<Bridge> {
    let path = format!("bridge[{index}]");
    let entry = BridgeEntry::read(&mut raw.element(&BridgeEntry::SECTION, index));
    let rules = rules(raw, &path);
    let entry = entry?;
    let place = raw.element_place(&BridgeEntry::SECTION, index);
    let before = raw.problems.len();
    if rules.is_empty() && raw.element_count_at(&format!("{path}.rule")) == 0 {
        raw.problem(place.clone(), &path, "must have a `[[bridge.rule]]`");
    }
    if entry.backoff_min_ms > entry.backoff_max_ms {
        let text = format!("must not be above backoff_max_ms {}", entry.backoff_max_ms);
        raw.problem(place.clone(), &format!("{path}.backoff_min_ms"), text);
    }
    if entry.ca_file.is_some() && !entry.url.is_secure {
        raw.problem(place.clone(), &format!("{path}.ca_file"), "needs a url with mqtts://");
    }
    let password = match (entry.password, entry.password_file) {
        (Some(_), Some(_)) => {
            raw.problem(place, &path, "must have either `password` or `password_file`, not both");
            None
        }
        (text, file) => text.map(BridgePassword::Text).or(file.map(BridgePassword::File)),
    };
    (raw.problems.len() == before).then_some(Bridge {
        name: entry.name,
        url: entry.url,
        version: entry.version,
        client_id: entry.client_id,
        user: entry.user,
        password,
        ca_file: entry.ca_file,
        clean_start: entry.clean_start,
        session_expiry_seconds: entry.session_expiry_seconds,
        keep_alive_seconds: entry.keep_alive_seconds,
        connect_timeout_ms: entry.connect_timeout_ms,
        backoff_min_ms: entry.backoff_min_ms,
        backoff_max_ms: entry.backoff_max_ms,
        receive_maximum: entry.receive_maximum,
        queue_messages_max: entry.queue_messages_max,
        queue_bytes_max: entry.queue_bytes_max,
        retain: entry.retain,
        retained_values: entry.retained_values,
        rules,
    })
}

fn rules(raw: &mut Raw, bridge: &str) -> Vec<BridgeRule> {
    let list = format!("{bridge}.rule");
    let mut rules: Vec<BridgeRule> = Vec::new();
    for index in 0..raw.element_count_at(&list) {
        let Some(entry) = RuleEntry::read(&mut raw.element_at(&RuleEntry::SECTION, &list, index)) else {
            continue;
        };
        let path = format!("{list}[{index}]");
        let checked = rule(entry).and_then(|rule| match rules.iter().position(|other| meet(&rule, other)) {
            Some(other) => {
                Err(format!("must not match topics that rule {} matches in the same direction", other + 1))
            }
            None => Ok(rule),
        });
        match checked {
            Ok(rule) => rules.push(rule),
            Err(text) => raw.problem(raw.place(&format!("{path}.filter")), &path, text),
        }
    }
    rules
}

/// The filters of both sides.
fn rule(entry: RuleEntry) -> Result<BridgeRule, String> {
    let prefix = |prefix: Option<TopicPrefix>| prefix.map(|TopicPrefix(text)| text).unwrap_or_default();
    let (local_prefix, remote_prefix) = (prefix(entry.local_prefix), prefix(entry.remote_prefix));
    let with = |prefix: &str| {
        let text = format!("{prefix}{}", entry.filter);
        if text.starts_with("$share/") {
            return Err("must not be a shared subscription".to_owned());
        }
        ChannelFilter::parse(&text).map_err(|wrong| format!("with its prefix {wrong}"))
    };
    let rule = BridgeRule {
        direction: entry.direction,
        local: with(&local_prefix)?,
        remote: with(&remote_prefix)?,
        local_prefix,
        remote_prefix,
        qos: u8::try_from(entry.qos).unwrap_or(2),
    };
    if rule.goes_in() && rule.local.as_str().starts_with('$') {
        return Err("must have a local_prefix: nobody publishes to names with `$` here".into());
    }
    Ok(rule)
}

/// Whether a message could go by both.
fn meet(one: &BridgeRule, other: &BridgeRule) -> bool {
    let out = one.goes_out() && other.goes_out() && overlap(one.local.as_str(), other.local.as_str());
    out || one.goes_in() && other.goes_in() && overlap(one.remote.as_str(), other.remote.as_str())
}

/// Whether there is a topic that both filters match.
fn overlap(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            // `a/#` matches `a`, too.
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_meet_where_a_topic_matches_both() {
        for (one, other, expected) in [
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/+", "a/b", true),
            ("+/b", "a/+", true),
            ("a/+", "a/b/c", false),
            ("a/b", "a/c", false),
            ("a", "a/b", false),
            ("#", "x", true),
        ] {
            assert_eq!(overlap(one, other), expected, "{one} {other}");
            assert_eq!(overlap(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_url_is_a_scheme_a_host_and_perhaps_a_port() {
        let parts = |text: &str| BridgeUrl::parse(text).map(|url| (url.is_secure, url.host, url.port));
        assert_eq!(parts("mqtt://a"), Ok((false, "a".into(), 1883)));
        assert_eq!(parts("mqtts://a.b:99/"), Ok((true, "a.b".into(), 99)));
        assert_eq!(parts("mqtts://[::1]"), Ok((true, "::1".into(), 8883)));
        assert_eq!(parts("mqtt://[::1]:5"), Ok((false, "::1".into(), 5)));
        for bad in [
            "a",
            "ws://a",
            "mqtt://",
            "mqtt://:1",
            "mqtt://a:x",
            "mqtt://a:0",
            "mqtt://u:p@a",
            "mqtt://a/b",
            "mqtt://::1",
        ] {
            assert!(parts(bad).is_err(), "{bad}");
        }
    }
}
