//! The keys of MQTT: the protocol, its static users and the rules for topics.
//!
//! Must not know how a rule is applied (`front/mqtt/access.rs`). Start at [`Mqtt`].

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use subtle::ConstantTimeEq as _;

use super::names::{ChannelFilter, HttpPath};
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// MQTT 3.1.1 and 5.0. Topics are channels, so MQTT clients, Socket.IO rooms and the back end meet there. Of MQTT clients
    /// only the session itself gets what is published to `reply/<session>/..`, the topics that a client of version 5 is told as
    /// Response Information when it asks for it; everybody may publish there. What is published to `$delayed/<seconds>/<topic>`
    /// is published to the topic so much later, and its expiry begins then (`limits.delayed_max`).
    ///
    /// With `auth.mode = "back_end"` the back end is asked about each client that gives no name of an `[[mqtt.user]]`, and with a
    /// `[[webhook]]` it is told of their coming and going; `/v1/sessions` shows who is there, and `GET /v1/tail` what they publish.
    pub struct Mqtt at Once "mqtt" {
        /// Whether MQTT is served: on the public port, where the first byte tells it from HTTP, over TCP or over TLS with
        /// `[tls]`; inside WebSockets at `path`; and on ports of its own.
        enabled: bool = true;
        /// A further address on which MQTT alone is spoken, without TLS: most clients look for a server at port 1883. Port 0
        /// lets the kernel choose; `--ready-file` tells which.
        listen: Option<SocketAddr> = none, example "0.0.0.0:1883";
        /// The same with the certificate of `[tls]`; clients look for it at port 8883.
        tls_listen: Option<SocketAddr> = none, example "0.0.0.0:8883";
        /// PEM file with the authorities that certificates of clients on `tls_listen` have to come from. Without it no certificate
        /// is asked for. It is read again at SIGHUP, too. Lists of revoked certificates are not looked at, and certificates of
        /// version 1 of X.509 not taken.
        tls_client_ca: Option<PathBuf> = none, example "/etc/trunkline/tls/clients.pem";
        /// Whether a client on `tls_listen` needs one, where `tls_client_ca` is set. One that cannot be verified is refused in any case.
        tls_client_certificate: ClientCertificate = "required";
        /// Which name in its certificate is a client's user. Such a client is not asked for a password, and what it gives as user
        /// name counts for nothing; one whose certificate has no such name is refused with 0x86, or 4 in version 3.
        tls_client_user: ClientUser = "none";
        /// Path of the WebSocket; clients offer the subprotocol `mqtt`, or `mqttv3.1`.
        path: HttpPath = "/mqtt";
        /// Largest packet from a client. Clients of version 5 are told; beyond it they are cut off with 0x95, before the
        /// packet is read.
        packet_bytes_max: u32 = 2_000_000, 1024..=268_435_455 "bytes";
        /// Largest CONNECT: will, user name and password have to fit. Beyond it a client of version 5 is refused with 0x95, one of
        /// version 3 is closed, before the packet is read. So what has not said who it is makes the server hold at most this, and
        /// 16 KiB while it proves who it is, times `limits.half_open_max`.
        connect_bytes_max: u32 = 65_536, 1024..=16_777_216 "bytes";
        /// How long a client waits for the back end to say whether it may come in; then it is closed, and comes back. At most
        /// `limits.unjoined_max` clients of a shard wait, and further ones are closed at once.
        connect_timeout_ms: u64 = 45_000, 100..=600_000 "milliseconds";
        /// Messages of QoS 1 and 2 that a client of version 5 may have under way. It is told, and cut off with 0x93 beyond.
        receive_maximum: u16 = 20, 1..=65_535 "messages";
        /// Messages of QoS 1 and 2 that are under way to a client of version 3, which cannot say what it takes.
        v3_receive_maximum: u16 = 100, 1..=65_535 "messages";
        /// Topic aliases that a client may set; it is told, and cut off with 0x94 beyond. 0 allows none.
        topic_alias_maximum: u16 = 10, 0..=65_535 "aliases per connection";
        /// Longest keep alive of a client of version 5; one that wants a longer one, or none, is told this. 0 leaves it to the
        /// clients. Version 3 cannot be told, so its clients keep theirs.
        server_keep_alive_seconds: u16 = 0, 0..=65_535 "seconds";
        /// Longest time that a session outlives its connection; clients of version 5 are told. 4294967295 is for ever.
        session_expiry_seconds_max: u32 = 4_294_967_295, 0..=4_294_967_295 "seconds";
        /// How often the figures below `$SYS/broker/` are published, as retained messages of QoS 0, and the same ones below
        /// `$sys/`. 0 publishes none.
        sys_interval_seconds: u32 = 10, 0..=86_400 "seconds";
        /// A client that is over `limits.events_per_second` or `limits.bytes_per_second` is not read from for a while. One
        /// that has kept to them for no second of this time is cut off, in version 5 with 0x96. 0 cuts nobody off.
        rate_breach_seconds: u32 = 30, 0..=86_400 "seconds";
        /// Connects under one client id within `flapping_window_seconds`. One more, and the client id is banned for
        /// `flapping_ban_seconds`: refused with 0x8A, or 5 in version 3. 0 bans nobody.
        flapping_connects_max: u32 = 0, 0..=1_000_000 "connects per client id";
        /// The time in which connects are counted.
        flapping_window_seconds: u32 = 60, 1..=86_400 "seconds";
        /// How long a client id is banned for it.
        flapping_ban_seconds: u32 = 300, 1..=31_536_000 "seconds";
        /// Longest client id. Beyond it the connection is refused with 0x85.
        client_id_bytes_max: usize = 1024, 23..=65_535 "bytes";
        /// What holds for a topic that no `[[mqtt.acl]]` rule is about.
        acl_default: Permission = "allow";
        /// Highest QoS of messages from clients, and of subscriptions. A client of version 5 is told, and cut off with 0x9B
        /// when it publishes with more; one of version 3 is cut off. A will with more is refused at CONNECT. A subscription
        /// that asks for more is granted this.
        maximum_qos: u16 = 2, 0..=2 "";
        /// Whether clients may publish retained messages, and get them. Off, a client of version 5 is told, and cut off with
        /// 0x9A when it publishes one; one of version 3 is cut off.
        retain_available: bool = true;
        /// Whether filters may have wildcards. Off, a client of version 5 is told, and cut off with 0xA2 when it asks for one;
        /// one of version 3 hears 0x80.
        wildcard_subscriptions: bool = true;
        /// Whether there are shared subscriptions (`$share/group/filter`). Off, as for wildcards, with 0x9E.
        shared_subscriptions: bool = true;
        /// Whether subscriptions may have identifiers, which only version 5 knows. Off, as for wildcards, with 0xA1.
        subscription_identifiers: bool = true;
        /// Other servers, as `host[:port]` separated by spaces, IPv6 addresses in brackets. While this one stops, clients of
        /// version 5 are told to use one of them (0x9C), those who connect then, too. Without it connected ones are told that
        /// the server stops (0x8B), and others are closed.
        server_reference: Option<ServerReference> = none, example "mqtt2.example.com:1883";
        /// Whether a client's id is its user: who has a user name must have the same client id, or none, and gets that; nobody
        /// else may have the id of an `[[mqtt.user]]`. So no user can take another's session. Others are refused with 0x85.
        client_id_is_user: bool = false;
        /// Whether clients of version 5 may prove that they are an `[[mqtt.user]]` by SCRAM-SHA-256 (Authentication Method)
        /// instead of sending the password, and may do so again while they are connected. Each user makes the start some
        /// milliseconds longer. Names and passwords count after SASLprep (RFC 4013), and as they are written where that does not
        /// allow them. Channel binding is not offered.
        scram: bool = true;
    }
}

words! {
    /// Whether a client needs a certificate.
    pub enum ClientCertificate {
        /// the handshake of TLS fails without one
        Required = "required",
        /// without one a client proves who it is as on other ports
        Optional = "optional",
    }
}

words! {
    /// Which name in a certificate is a user.
    pub enum ClientUser {
        /// none: a certificate lets a client connect, and says nothing of its user
        None = "none",
        /// the common name (CN) of the subject
        CommonName = "common_name",
        /// the first DNS name, e-mail address or URI among the alternative names (SAN)
        AlternativeName = "alternative_name",
    }
}

section! {
    /// A user of MQTT. With users configured, whoever gives a user name must be one of them and know the password; without a
    /// user name `auth.mode` decides.
    pub struct MqttUser at Many "mqtt.user" {
        /// As in CONNECT.
        name: Text = required, example "sensor";
        /// As in CONNECT.
        password: Password = required, example "replace-me";
    }
}

section! {
    /// A subscription that each new session of a client begins with, whatever the rules for topics say. A session that goes
    /// on keeps what it has. Clients may end it by UNSUBSCRIBE.
    pub struct AutoSubscribe at Many "mqtt.auto_subscribe" {
        /// Which topics: `+` is one level, a last `#` is all levels below, `%c` the client id and `%u` the user name. A client
        /// is left out if one that is written here is more than one plain level, or unknown. `$share/group/filter` is shared.
        filter: ChannelFilter = required, example "devices/%c/commands";
        /// Highest QoS of what it brings.
        qos: u16 = 0, 0..=2 "";
    }
}

section! {
    /// A rule for topics. The first one that covers all of what a client asks for and names the action decides. A filter that
    /// asks for more than a rule covers is not refused by it, but what a rule forbids to subscribe to is not delivered either.
    pub struct AclRule at Many "mqtt.acl" {
        /// Which topics: `+` is one level, a last `#` is all levels below, `%c` the client id and `%u` the user name.
        filter: ChannelFilter = required, example "devices/%c/#";
        /// What is allowed: `subscribe`, `publish`.
        allow: Vec<AclAction> = [];
        /// What is forbidden.
        deny: Vec<AclAction> = [];
        /// Reason code of the refusal, for clients of version 5; version 3 has 0x80 for SUBSCRIBE, and none for PUBLISH.
        code: u16 = 135, 128..=162 "";
    }
}

words! {
    /// What a rule is about.
    pub enum AclAction {
        /// getting messages
        Subscribe = "subscribe",
        /// sending messages
        Publish = "publish",
    }
}

words! {
    /// What holds without a rule.
    pub enum Permission {
        /// everything that is not forbidden may be done
        Allow = "allow",
        /// nothing that is not allowed may be done
        Deny = "deny",
    }
}

impl Setting for Vec<AclAction> {
    const KIND: Kind = Kind::List("`subscribe` or `publish`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        value.list()?.iter().map(AclAction::read).collect()
    }
}

/// Any text that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(String);

impl Setting for Text {
    const KIND: Kind = Kind::Text("text");

    fn read(value: &Value) -> Result<Self, Flaw> {
        match value.text()? {
            "" => Err(value.flaw("must not be empty")),
            text => Ok(Self(text.into())),
        }
    }
}

impl Setting for Vec<Text> {
    const KIND: Kind = Kind::List("text");

    fn read(value: &Value) -> Result<Self, Flaw> {
        value.list()?.iter().map(Text::read).collect()
    }
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where clients find another server (MQTT 5.0, 4.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerReference(Box<str>);

/// So that it fits into the packets of nearly every client.
const REFERENCE_BYTES_MAX: usize = 1024;

impl ServerReference {
    /// As clients are told.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for ServerReference {
    const KIND: Kind = Kind::Text("`host[:port]`, separated by spaces");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let text = value.text()?;
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(
                value.flaw(format!("must be at most {REFERENCE_BYTES_MAX} bytes, got {}", text.len()))
            );
        }
        if let Some(bad) = text.split(' ').find(|server| !is_server(server)) {
            return Err(value.flaw(format!("must be `host[:port]`, separated by spaces, got \"{bad}\"")));
        }
        Ok(Self(text.into()))
    }
}

/// Whether it is a name or IPv4 address, or an IPv6 address in brackets, each with a port or without.
fn is_server(text: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0) && !text.starts_with('+');
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let is_rest = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return is_rest && address.parse::<Ipv6Addr>().is_ok();
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_host = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && host.chars().all(is_host) && port.is_none_or(is_port)
}

/// A password. Its text appears in no log and no message.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

impl Password {
    /// Whether it is this one, in a time that tells nothing but the length.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }

    /// The text, for methods that prove to know it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Password(..)")
    }
}

impl Setting for Password {
    const KIND: Kind = Kind::Text("secret text");

    fn read(value: &Value) -> Result<Self, Flaw> {
        match value.text()? {
            "" => Err(value.flaw("must not be empty")),
            text => Ok(Self(text.into())),
        }
    }
}

/// A name or password as SCRAM compares it: after SASLprep (RFC 4013), by which what is typed in two ways is the same; as it is
/// written where that does not allow it.
pub(crate) fn prepared(written: &str) -> Cow<'_, str> {
    stringprep::saslprep(written).unwrap_or(Cow::Borrowed(written))
}

#[cfg(test)]
mod tests {
    use super::is_server;

    #[test]
    fn a_server_is_a_host_and_perhaps_a_port() {
        for good in ["a", "mqtt-2.example.com", "10.0.0.7:1883", "a:1", "[::1]", "[2001:db8::7]:8883"] {
            assert!(is_server(good), "{good}");
        }
        for bad in
            ["", ":1883", "a:", "a:0", "a:65536", "a:+1", "::1", "[::1", "[a]:1", "[::1]1", "a b", "a\u{7}"]
        {
            assert!(!is_server(bad), "{bad}");
        }
    }
}
