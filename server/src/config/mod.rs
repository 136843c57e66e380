//! The configuration, in two steps: what was typed ([`Sources`]) becomes what the program needs ([`Config`]).
//!
//! Every key is declared once, in `sections.rs` or `limits.rs`; the parser, the defaults, the reference page and the
//! example file come from those declarations. `check.rs` looks at what keys mean together.
//!
//! Must not know listeners, shards or the command line. Start at [`Config::load`].

mod auth;
mod bridge;
mod check;
mod limits;
mod mqtt;
mod names;
mod network;
mod problem;
mod raw;
mod reference;
mod sections;
mod sqs;
mod table;
mod webhook;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use auth::{JwksUrl, Jwt, JwtAlgorithm, JwtSecret, KeyHash, PrivateKey, Scope, Who};
pub use bridge::{
    Bridge, BridgeDirection, BridgeName, BridgePassword, BridgeRule, BridgeUrl, BridgeVersion, RetainedValues,
};
pub(crate) use check::BINDINGS_MAX;
pub use limits::Limits;
pub(crate) use mqtt::prepared;
pub use mqtt::{
    AclAction, AclRule, AutoSubscribe, ClientCertificate, ClientUser, Mqtt, MqttUser, Password, Permission,
    ServerReference, Text,
};
pub use names::{
    ChannelFilter, ChannelName, CookieName, HeaderName, HttpPath, LogFilter, NamespaceName, NamespacePattern,
    Origin, Origins, Secret,
};
pub use network::Network;
pub use problem::{Place, Problem, Problems};
pub use reference::{config_reference, example, limits_reference};
pub use sections::{
    Auth, AuthMode, ChannelRule, EventRoute, FsyncPolicy, Log, LogFormat, Private, Recovery, RecoveryMode,
    Server, SocketIo, Store, Streams, Transport, Transports, Users, WhenFull, WhenUserFull,
};
pub use sqs::{
    AccessSecret, Binding, BindingGroup, DeclaredQueue, QueuePattern, QueueText, QueueUrlTemplate, ScopeName,
    Sqs, SqsAction, SqsCredential,
};
pub(crate) use webhook::is_near;
pub use webhook::{
    ChannelWithoutAnswer, ConnectWithoutAnswer, EventErrors, EventWithoutAnswer, SendPasswords, TypePrefix,
    Webhook, WebhookName, WebhookProtocol, WebhookSecret, WebhookType, WebhookUrl,
};

/// The checked configuration: every default filled in, every value in range, nothing contradictory.
///
/// Fields carry the names of the keys: `socketio.ping_interval_ms` is `config.socketio.ping_interval_ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[server]`; `shards` is resolved and at least 1.
    pub server: Server,
    /// `[store]`.
    pub store: Store,
    /// `[log]`.
    pub log: Log,
    /// `[tls]`; both files, or none for plain TCP.
    pub tls: Option<Tls>,
    /// `[auth]`.
    pub auth: Auth,
    /// `[auth.jwt]`; with `auth.mode = "jwt"` it has a key, or where to get some.
    pub jwt: Jwt,
    /// `[users]`.
    pub users: Users,
    /// `[private]`; keys are present here or below whenever the private port is reachable from other machines.
    pub private: Private,
    /// `[[private.key]]`.
    pub private_keys: Vec<PrivateKey>,
    /// `[socketio]`.
    pub socketio: SocketIo,
    /// `[[socketio.namespace]]`; never empty. Look one up with [`Config::namespace`].
    pub namespaces: Vec<NamespaceRule>,
    /// `[streams]`.
    pub streams: Streams,
    /// `[mqtt]`.
    pub mqtt: Mqtt,
    /// `[[mqtt.user]]`.
    pub mqtt_users: Vec<MqttUser>,
    /// `[[mqtt.auto_subscribe]]`.
    pub mqtt_auto_subscribe: Vec<AutoSubscribe>,
    /// `[[mqtt.acl]]`, in the order in which they are tried.
    pub mqtt_acl: Vec<AclRule>,
    /// `[[bridge]]`, each with its `[[bridge.rule]]`.
    pub bridges: Vec<Bridge>,
    /// `[[webhook]]`, in the order in which they are asked.
    pub webhooks: Vec<Webhook>,
    /// `[sqs]`.
    pub sqs: Sqs,
    /// `[[sqs.credential]]`.
    pub sqs_credentials: Vec<SqsCredential>,
    /// `[[queue]]`.
    pub queues: Vec<DeclaredQueue>,
    /// `[[binding]]`; their queues are declared.
    pub bindings: Vec<Binding>,
    /// `[recovery]`.
    pub recovery: Recovery,
    /// `[[channel]]`, in the order in which they are tried.
    pub channels: Vec<ChannelRule>,
    /// `[limits]`; `connections_max` is resolved and at least 1.
    pub limits: Limits,
    /// Somebody consumes the events, so every connect is asked about even when `auth.mode` is `anonymous`: a program that says
    /// so, or webhooks.
    pub ask_always: bool,
    /// Only from Rust: a path with an Engine.IO echo behind it, for the conformance suites of that protocol.
    pub engine_echo_path: Option<HttpPath>,
}

/// The files of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// What holds for a Socket.IO namespace or a family of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRule {
    /// Which namespaces.
    pub names: NamespaceMatch,
    /// What happens to the events that clients send.
    pub events: EventRoute,
    /// The queue for [`EventRoute::Queue`], which is declared.
    pub queue: Option<QueueText>,
    /// When clients are sent what they missed.
    pub recovery: RecoveryMode,
}

/// Which namespaces a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceMatch {
    /// One.
    Exact(NamespaceName),
    /// Those that match; each is made when its first client connects.
    Pattern(NamespacePattern),
}

impl NamespaceMatch {
    /// Whether it is about this namespace.
    pub fn matches(&self, namespace: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == namespace,
            Self::Pattern(pattern) => pattern.matches(namespace),
        }
    }
}

impl std::fmt::Display for NamespaceMatch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(out),
            Self::Pattern(pattern) => pattern.fmt(out),
        }
    }
}

impl Config {
    /// Reads, merges and checks the sources.
    ///
    /// # Errors
    /// All problems of all sources, in the order of the text.
    pub fn load(sources: &Sources, machine: Machine) -> Result<Loaded, Problems> {
        check::load(sources, machine)
    }

    /// A configuration for a program that embeds the server: both ports on 127.0.0.1 and chosen by the kernel, a shard
    /// per core, anonymous clients, all other keys at their defaults.
    pub fn embedded() -> Self {
        Self::on_loopback(Machine::detect())
    }

    /// As [`Config::embedded`], with settings as on the command line: `"server.public_listen=0.0.0.0:8000"`.
    ///
    /// # Errors
    /// [`Problems`], in the words of the command line.
    pub fn embedded_with(settings: &[&str]) -> Result<Self, Problems> {
        let mut sources = Self::loopback_sources();
        sources.arguments.extend(settings.iter().map(|setting| {
            let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
            Argument { shown: key.to_owned(), key: key.to_owned(), value: value.to_owned() }
        }));
        Self::load(&sources, Machine::detect()).map(|loaded| loaded.config)
    }

    /// As [`Config::embedded`] with one shard and no other number of this machine: for tests.
    pub fn loopback() -> Self {
        Self::on_loopback(Machine { cores: 1, open_files_max: 1_000_000 })
    }

    /// For a test that wants a server of its own: as [`Config::loopback`], with anonymous clients, and no time to end.
    pub fn ephemeral() -> Self {
        let mut sources = Self::loopback_sources();
        sources.presets.push(("auth.mode", "anonymous".into()));
        sources.presets.push(("server.drain_window_ms", "0".into()));
        let machine = Machine { cores: 1, open_files_max: 1_000_000 };
        Self::load(&sources, machine).expect("these are valid, which a test shows").config
    }

    fn on_loopback(machine: Machine) -> Self {
        Self::load(&Self::loopback_sources(), machine)
            .expect("the defaults are valid, which a test shows")
            .config
    }

    /// The program is the back end, and both ports are on loopback and chosen by the kernel.
    fn loopback_sources() -> Sources {
        Sources {
            presets: vec![
                ("auth.mode", "back_end".into()),
                ("server.public_listen", "127.0.0.1:0".into()),
                ("server.private_listen", "127.0.0.1:0".into()),
            ],
            ..Sources::default()
        }
    }

    /// Whether the private port asks for a key.
    pub fn has_private_keys(&self) -> bool {
        !self.private.keys.is_empty() || !self.private_keys.is_empty()
    }

    /// The webhooks that are told of what clients publish, each with a filter, behind [`Config::bindings`] in the order of places
    /// that hubs know.
    pub fn published_to(&self) -> impl Iterator<Item = (&Webhook, &ChannelFilter)> {
        let telling = self.webhooks.iter().filter(|webhook| webhook.takes_publishes());
        telling.flat_map(|webhook| webhook.filters.iter().map(move |filter| (webhook, filter)))
    }

    /// Whether what clients publish may be copied somewhere.
    pub fn copies_publishes(&self) -> bool {
        !self.bindings.is_empty() || self.published_to().next().is_some()
    }

    /// The rule for a namespace: exact names first, then patterns in their order; `None` is `Invalid namespace`.
    /// A scan of the rules, done once per CONNECT.
    pub fn namespace(&self, name: &str) -> Option<&NamespaceRule> {
        let exact =
            |rule: &&NamespaceRule| matches!(&rule.names, NamespaceMatch::Exact(one) if one.as_str() == name);
        let pattern = |rule: &&NamespaceRule| match &rule.names {
            NamespaceMatch::Exact(_) => false,
            NamespaceMatch::Pattern(pattern) => pattern.matches(name),
        };
        self.namespaces.iter().find(exact).or_else(|| self.namespaces.iter().find(pattern))
    }
}

/// What the machine offers; a parameter so that tests do not depend on where they run.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Threads that can run at once.
    pub cores: usize,
    /// Files the process may open once it has raised its limit.
    pub open_files_max: u64,
}

impl Machine {
    /// Asks the operating system. What it does not tell is taken to be small.
    pub fn detect() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let open_files_max = rlimit::Resource::NOFILE.get_hard().unwrap_or(1024);
        Self { cores, open_files_max }
    }
}

/// Where a configuration comes from; later fields win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Keys that a command sets before everything else.
    pub presets: Vec<(&'static str, String)>,
    /// At most one file.
    pub file: Option<SourceFile>,
    /// The variables of the environment; those that do not begin with `TRUNKLINE_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Arguments of the command line.
    pub arguments: Vec<Argument>,
}

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// The name for messages.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// A key that was set on the command line.
#[derive(Clone, Debug)]
pub struct Argument {
    /// How messages name it, without the value, which may be secret: `--set private.keys`.
    pub shown: String,
    /// Path of the key.
    pub key: String,
    /// The value: as in TOML, but strings without quotes; lists also as `a,b`.
    pub value: String,
}

/// A configuration that can be used, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What the operator should know.
    pub warnings: Vec<Problem>,
}

/// Whether only this machine can reach an address.
pub fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
