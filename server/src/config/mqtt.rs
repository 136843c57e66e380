//! The keys of MQTT: the protocol, its static users and the rules for topics.
//!
//! Must not know how a rule is applied (`front/mqtt/access.rs`). Start at [`Mqtt`].

use std::fmt;

use subtle::ConstantTimeEq as _;

use super::names::{ChannelFilter, HttpPath};
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// MQTT 3.1.1 and 5.0. Topics are channels, so MQTT clients, Socket.IO rooms and the back end meet there. The back end is not
    /// asked about MQTT clients, nor told of their coming and going: users and rules are configured, `/v1/sessions` shows who is
    /// there, and `GET /v1/tail` what they publish.
    pub struct Mqtt at Once "mqtt" {
        /// Whether MQTT is served: on the public port, where the first byte tells it from HTTP, and inside WebSockets at
        /// `path`.
        enabled: bool = true;
        /// Path of the WebSocket; clients offer the subprotocol `mqtt`.
        path: HttpPath = "/mqtt";
        /// Largest packet from a client. Clients of version 5 are told; beyond it they are cut off with 0x95, before the
        /// packet is read.
        packet_bytes_max: u32 = 2_000_000, 1024..=268_435_455 "bytes";
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
    /// A rule for topics. The first one that covers all of what a client asks for and names the action decides. A filter that
    /// asks for more than a rule covers is not stopped by it, so forbid by `acl_default = "deny"` and allow what is needed.
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

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
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
