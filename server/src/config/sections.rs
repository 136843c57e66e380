//! The table of keys, all sections but the limits. One declaration here is the checked struct, the parser's rule, the
//! default, the reference and the example.
//!
//! Must not know how values are read or compared with each other (`check.rs`). Start at [`Server`].

use std::net::SocketAddr;
use std::path::PathBuf;

use super::auth::Who;
use super::names::{
    ChannelFilter, ChannelName, CookieName, HeaderName, HttpPath, LogFilter, NamespaceName, NamespacePattern,
    Origins, Secret,
};
use super::network::Network;
use super::sqs::QueueText;
use super::table::{Flaw, Kind, Setting, Value, section, words};

section! {
    /// The process: its threads, its two listeners, and how it stops.
    pub struct Server at Once "server" {
        /// Threads that hold connections, each with its own event loop; 0 takes one per core, 64 at most. The checked
        /// configuration holds the resolved number.
        shards: u16 = 0, 0..=64 "threads";
        /// Number of this node. It becomes part of session ids, so it has to differ between nodes that serve the same
        /// clients.
        node_id: u16 = 0, 0..=65535 "";
        /// Where clients connect. Port 0 lets the kernel choose; `--ready-file` tells which.
        public_listen: SocketAddr = "0.0.0.0:8000";
        /// Where the back end, the command line and monitoring connect. Beyond loopback it needs `private.keys`.
        private_listen: SocketAddr = "127.0.0.1:9000";
        /// Proxies, by address or block, that speak the PROXY protocol (version 1 or 2) to all ports of clients: each connection
        /// from there begins with a header that names the client, before TLS, and is closed without one. All other
        /// connections are taken as they are, so list every proxy and nobody else: whoever is listed can claim any
        /// address. Empty switches it off.
        proxy_protocol_from: Vec<Network> = [], example ["10.0.0.0/8", "2001:db8::7"];
        /// At SIGTERM or SIGINT connections are closed in random order over this time, so that the clients do not all
        /// come back to the other nodes in the same moment. Streams take at most 10 ms each. New handshakes hear 503 meanwhile, so the port is free for a next
        /// server only when this one has ended. A second signal ends the process at once.
        drain_window_ms: u64 = 10_000, 0..=3_600_000 "milliseconds";
        /// File in which the server, when it has ended in order, leaves the sessions that may be recovered and what they
        /// missed, so that clients recover from a restart as from a lost connection (`recovery` of their namespace); sessions of
        /// MQTT, the values that channels retain, messages that are to be published later and bans are in it, too. The next
        /// start reads and removes it; one that cannot be used, for instance because `server.shards` is another number, is
        /// kept with `.bad` behind its name, and the server starts without those sessions. It holds users and messages, so
        /// only its owner may read it; a file at this path that is not a server's, that belongs to another user or that
        /// others may read or write is left alone, and nothing is saved there. Every server needs its own: one with
        /// `.lock` behind its name says whose it is, and stays. At most 16 GiB; it takes about what `recovery.bytes_max`
        /// allows per shard, and some hundred bytes per session. A crash, or a second signal, leaves none. Histories of
        /// channels are not in it. What is in a store (`store.dir`) is not in the file.
        state_file: Option<PathBuf> = none, example "/var/lib/trunkline/state";
    }
}

section! {
    /// What is kept on disk: sessions that outlive their connection with what waits for them, subscriptions, exchanges of
    /// quality of service 1 and 2, retained values and messages that are put off. What clients and back ends were told is
    /// done is there after a crash.
    pub struct Store at Once "store" {
        /// Directory in which it is kept, made if it is missing; nobody else may use it meanwhile. Without one all of it is in
        /// memory and ends with the process. `trunkline serve` takes `trunkline-data` in its working directory unless told
        /// otherwise (`--memory` keeps everything in memory), `trunkline dev` none.
        dir: Option<PathBuf> = none, example "/var/lib/trunkline/store";
        /// When what is written is forced to the disk.
        fsync: FsyncPolicy = "always";
        /// How often, with `fsync = "interval"`.
        fsync_interval_ms: u64 = 1_000, 10..=60_000 "milliseconds";
        /// Size of the database, without its log of at most some 64 MiB. What does not fit is not acknowledged, and tried again
        /// until there is room. 0 takes what the disk has.
        bytes_max: u64 = 0, 0..=1_152_921_504_606_846_976 "bytes";
        /// Directory of the copies that are made while the server runs (`trunkline store backup --to NAME`), made if it is
        /// missing; who may use the private port says only how a copy is called. Without one it is `backups` in `dir`.
        backup_dir: Option<PathBuf> = none, example "/var/backups/trunkline";
        /// Memory for pages of the database.
        cache_bytes: u64 = 16_777_216, 1_048_576..=68_719_476_736 "bytes";
    }
}

section! {
    /// Users: whom the back end, a token or MQTT's user name and password name. A user may have many sessions at once.
    pub struct Users at Once "users" {
        /// Sessions of one user at once, whatever their protocols; 0 means any number. Sessions count from their start until
        /// they cannot be come back to any more, and each Socket.IO namespace of a client is one. A session without a connection
        /// (`recovery` of a namespace, Session Expiry of MQTT) makes room for a new one, with what waits for it.
        max_sessions: u32 = 0, 0..=1_000_000 "sessions";
        /// What happens when a user has them all and connects once more.
        when_full: WhenUserFull = "refuse";
    }
}

words! {
    /// What happens when a user with `users.max_sessions` connects once more.
    pub enum WhenUserFull {
        /// the new one is refused: CONNECT_ERROR (Socket.IO), CONNACK 0x97 or 5 (MQTT), 403 (streams)
        Refuse = "refuse",
        /// the oldest session ends before the new one is let in: DISCONNECT (Socket.IO, whose clients then stay away), DISCONNECT
        /// 0x98 (MQTT 5), the end of a stream. Clients that come back by themselves after that, as MQTT's and `EventSource` do,
        /// end the other in their turn, unless their programs look at the reason
        EndOldest = "end_oldest",
    }
}

words! {
    /// When what is written is forced to the disk.
    pub enum FsyncPolicy {
        /// before it is acknowledged: nothing acknowledged is lost with the power
        Always = "always",
        /// every `fsync_interval_ms`: nothing is lost with the process, that much with the machine
        Interval = "interval",
        /// when the system likes: nothing is lost with the process; a crash of the machine may leave the store damaged
        Never = "never",
    }
}

section! {
    /// What is logged, always to standard error. Session ids, query strings and keys are never logged.
    pub struct Log at Once "log" {
        /// A level (`error`, `warn`, `info`, `debug`, `trace`) or directives per module.
        filter: LogFilter = "info";
        /// The form of a line.
        format: LogFormat = "text";
    }
}

words! {
    /// The form of a log line.
    pub enum LogFormat {
        /// for people
        Text = "text",
        /// one JSON object per line, for collectors
        Json = "json",
    }
}

section! {
    /// TLS on the public port. Without it put a proxy in front. The files are read again at SIGHUP; when they cannot be
    /// read then, the old ones stay and the log says so.
    pub(super) struct TlsFiles at Once "tls" {
        /// PEM file with the certificate and its chain.
        certificate: Option<PathBuf> = none, example "/etc/trunkline/tls/fullchain.pem";
        /// PEM file with the private key.
        key: Option<PathBuf> = none, example "/etc/trunkline/tls/key.pem";
    }
}

section! {
    /// Who may connect to the public port.
    pub struct Auth at Once "auth" {
        /// How a connection is admitted. There is no default: `trunkline serve` starts only when this choice was made,
        /// on loopback too. `trunkline dev` takes `anonymous`.
        mode: AuthMode = required, example "anonymous";
        /// So long before a connection ends with its token, or its `expires_at`, the back end is asked whether it may stay, by a
        /// `[[webhook]]` that takes `session.refresh`; never before half of the time is over.
        refresh_ahead_seconds: u32 = 30, 1..=86_400 "seconds";
    }
}

words! {
    /// How a connection is admitted.
    pub enum AuthMode {
        /// anybody who reaches the public port is let in, without a user
        Anonymous = "anonymous",
        /// the back end is asked at every connect and may refuse: by a `[[webhook]]` that takes `session.connect`, or as a Rust
        /// program with Trunkline inside
        BackEnd = "back_end",
        /// a token is asked for, which says who the client is and what it may do (`[auth.jwt]`)
        Jwt = "jwt",
    }
}

section! {
    /// The private port.
    pub struct Private at Once "private" {
        /// Bearer keys that the back end presents as `Authorization: Bearer KEY`, each at least 16 bytes. Several let
        /// a new key be added before the old one is removed. They may do everything; keys for a part of it are
        /// `[[private.key]]`. None of either means that no key is asked for, which is allowed on loopback only.
        keys: Vec<Secret> = [], example ["replace-by-the-output-of-openssl-rand-hex-32"];
    }
}

section! {
    /// Engine.IO and Socket.IO on the public port.
    pub struct SocketIo at Once "socketio" {
        /// Paths that are served, each with and without the last `/`. A path is compared as a whole: below it there is
        /// nothing.
        paths: Vec<HttpPath> = ["/socket.io/"];
        /// Transports that clients may use; with one of the two there is no upgrade.
        transports: Transports = ["polling", "websocket"];
        /// Engine.IO 3 (`EIO=3`), the protocol of Socket.IO clients 1.x and 2.x.
        eio3: bool = false;
        /// Time between two pings; an answer starts it anew. Clients are told at the handshake.
        ping_interval_ms: u64 = 25_000, 100..=3_600_000 "milliseconds";
        /// A connection ends when a ping is not answered in this time. Clients are told at the handshake.
        ping_timeout_ms: u64 = 20_000, 100..=3_600_000 "milliseconds";
        /// An upgrade from polling to websocket that takes longer is given up; polling goes on.
        upgrade_timeout_ms: u64 = 10_000, 100..=600_000 "milliseconds";
        /// A connection that joined no namespace in this time is closed. A slow answer of the back end counts.
        connect_timeout_ms: u64 = 45_000, 100..=600_000 "milliseconds";
        /// Largest body of a polling request and largest websocket message from a client. Clients are told at the
        /// handshake. Beyond it: 413, or close code 1009. Before a client has joined a namespace
        /// `limits.connect_bytes_max` is its limit.
        max_payload_bytes: usize = 1_000_000, 64..=1_073_741_824 "bytes";
        /// Web pages of other origins that may connect, as `scheme://host[:port]`, or `["*"]` for all. With a list a
        /// websocket of another origin is refused too; without one no CORS headers are sent.
        cors_origins: Origins = [], example ["https://app.example.com"];
        /// Whether those pages may send cookies (`Access-Control-Allow-Credentials`); not possible with `*`.
        cors_credentials: bool = false;
        /// Name of a cookie that carries the session id, for balancers that stick by cookie. Trunkline does not need
        /// it.
        cookie: Option<CookieName> = none, example "io";
        /// Headers of a connection's first request that the back end is shown. They are kept as long as the connection,
        /// so each costs memory; one of more than 4096 bytes is left out, and so is one that has no room in
        /// `limits.handshake_bytes_max`.
        handshake_headers: Vec<HeaderName> = ["authorization", "cookie", "origin", "user-agent", "x-forwarded-for"];
        /// Channel of a broadcast to the whole namespace `/`. A room of `/` with this name is refused.
        root_channel: ChannelName = "main";
    }
}

section! {
    /// Streams for clients that speak plain HTTP, on the public port: server-sent events at `/sse`, lines of JSON at `/ndjson`, long
    /// polls at `/poll`, CloudEvents both ways in WebSockets at `/ws`, and messages from clients by `POST /publish`.
    pub struct Streams at Once "streams" {
        /// Whether these paths are served. Tokens (`auth.mode = "jwt"`) and the rules of `[[channel]]` say who may read and write what;
        /// with `auth.mode = "anonymous"` and no rules everybody who reaches the public port may read and write all channels by them,
        /// but for those that begin with `$`. Where `[[mqtt.acl]]` or `mqtt.acl_default` say something for clients of MQTT, nobody may.
        enabled: bool = true;
        /// Web pages of other origins that may read and publish, as `scheme://host[:port]`, or `["*"]` for all. Without a list
        /// no CORS headers are sent, and what a page of another site publishes is refused, as are its WebSockets.
        cors_origins: Origins = [], example ["https://app.example.com"];
        /// Whether those pages may send cookies (`Access-Control-Allow-Credentials`); not possible with `*`.
        cors_credentials: bool = false;
        /// Time between two signs of life on a stream: an empty comment, the line `{}`, or a ping.
        heartbeat_ms: u64 = 15_000, 100..=3_600_000 "milliseconds";
        /// How soon an `EventSource` is told to come back when its stream has ended.
        retry_ms: u64 = 2_000, 0..=3_600_000 "milliseconds";
        /// How long a client waits for the back end to say whether it may come in (`auth.mode = "back_end"`); then it is put off, and
        /// comes back. At most `limits.unjoined_max` clients of a shard wait.
        connect_timeout_ms: u64 = 45_000, 100..=600_000 "milliseconds";
        /// How long a poll waits for a message unless it asks for less (`wait`); then it is answered without any.
        poll_wait_ms: u64 = 25_000, 100..=600_000 "milliseconds";
    }
}

words! {
    /// A transport of Engine.IO.
    pub enum Transport {
        /// HTTP requests that wait for packets
        Polling = "polling",
        /// RFC 6455
        WebSocket = "websocket",
    }
}

section! {
    /// A Socket.IO namespace, or a family of them. A client that connects to any other namespace is told
    /// `Invalid namespace`. Exact names are looked up first, then patterns in the order of the file. Without any
    /// `[[socketio.namespace]]` there is `/` alone, with the defaults below. Namespace `/chat` owns the channels `chat` and
    /// `chat/<room>`. Rooms of `/` have no prefix, so a room of `/` named `chat` or `chat/r1` would be a channel of `/chat`:
    /// to join or address such a room is refused. Back ends use the names of channels, which have no such rule.
    pub(super) struct NamespaceEntry at Many "socketio.namespace" {
        /// Exact name: `/` or for example `/chat`. Either this or `pattern`.
        name: Option<NamespaceName> = none, example "/";
        /// Pattern of names in which `*` stands for one or more characters other than `/`.
        pattern: Option<NamespacePattern> = none, example "/team-*";
        /// What happens to the events that clients send.
        events: EventRoute = "back_end";
        /// The queue for `events = "queue"`, which a `[[queue]]` has to declare. In a FIFO queue each session is a group.
        queue: Option<QueueText> = none, example "events";
        /// Whether missed events are replayed to a client that comes back in time (connection state recovery).
        recovery: RecoveryMode = "off";
    }
}

words! {
    /// What happens to the events that clients send.
    pub enum EventRoute {
        /// they go to the back end, whose answer is the acknowledgement
        BackEnd = "back_end",
        /// they are published to the other clients of the namespace, and acknowledged once that is done; MQTT subscribers get
        /// those that ask for an acknowledgement with QoS 1 at most, the others with QoS 0. With a store (`store.dir`) the
        /// acknowledgement leaves when the event is written wherever it is to be kept; one that a limit refuses is not
        /// acknowledged
        Relay = "relay",
        /// they go into a queue (`queue`) as CloudEvents of type `trunkline.session.event`, whose `data` is the list of arguments,
        /// and are acknowledged, without a value, once they are stored there; one that cannot be stored is not
        Queue = "queue",
        /// they are counted and dropped, and never acknowledged
        Drop = "drop",
    }
}

words! {
    /// When events carry an offset and a reconnecting client is sent what it missed.
    pub enum RecoveryMode {
        /// never
        Off = "off",
        /// when the client asks for it by `auth.csr` or the query parameter `csr=1`
        OptIn = "opt_in",
        /// for every client; handlers get the offset as one more argument
        Always = "always",
    }
}

section! {
    /// How long and how much is kept for clients that come back.
    pub struct Recovery at Once "recovery" {
        /// A session whose connection broke is kept this long. With a store (`store.dir`) such sessions, and what they missed,
        /// survive a crash; the time begins anew with each start. For another number of `server.shards` they are of no use, and
        /// end. Of what nobody waits for, as an event without acknowledgement, the last moment before a crash may be lost.
        window_ms: u64 = 120_000, 100..=86_400_000 "milliseconds";
        /// Messages that a shard keeps for recovery; beyond it the oldest go, and a client that needs them is told
        /// that it was not recovered.
        messages_max: u32 = 100_000, 0..=1_000_000_000 "messages per shard";
        /// Bytes of those messages; the same happens.
        bytes_max: u64 = 67_108_864, 0..=1_099_511_627_776 "bytes per shard";
    }
}

section! {
    /// A rule for the channels that match a filter; the first match in the order of the file holds. Channels without a
    /// rule keep no history and have no presence.
    ///
    /// Who may subscribe and publish: what the rule says, else what `auth.mode` says, which is `token` with `jwt` and `anyone`
    /// otherwise. A subscription by a filter has to be allowed by every rule that it has channels of, up to the first rule that
    /// covers it; and what a token grants has to cover all of it. Names that begin with `$` are the server's own.
    pub struct ChannelRule at Many "channel" {
        /// Which channels: `+` is one level, a last `#` is all levels below. `{user}` and `{client}` are one level, too: whose id
        /// that has to be `own` says.
        filter: ChannelFilter = required, example "chat/#";
        /// Which clients may subscribe, and be shown presence and history. Members of Socket.IO rooms are not asked about: the
        /// back end puts them there.
        subscribe: Option<Who> = none, example "token";
        /// Which clients may publish.
        publish: Option<Who> = none, example "nobody";
        /// Messages that each channel keeps; beyond it the oldest go. 0 keeps none.
        history_messages_max: u32 = 0, 0..=1_000_000 "messages per channel";
        /// Messages older than this go. 0 is no limit of age.
        history_age_seconds_max: u64 = 0, 0..=31_536_000 "seconds";
        /// Whether the messages that a channel keeps are in the store, too, if there is one (`store.dir`), and survive a crash:
        /// each is written once when it comes and once more when it goes. A publish with QoS 1 or 2, and the answer to one
        /// through REST, waits for that; what has QoS 0 does not, and may be lost with the process in the moment before.
        history_durable: bool = true;
        /// Whether the members of the channel can be asked for.
        presence: bool = false;
        /// Whether besides a message of event `presence` on the channel tells who comes and goes: `{"action":"join"|"leave",
        /// "session","user","info","since"}`, or only `{"action":"count","count"}` above `limits.presence_members_max`. With a
        /// history, `GET /v1/presence` says behind which message its list is true. It needs `presence`.
        presence_events: bool = false;
        /// Whether the payload of an MQTT message that is said to be text (Payload Format Indicator 1) must be UTF-8. One that
        /// is not is refused with 0x99, at QoS 0 without a word; a will with one at CONNECT.
        payload_format_check: bool = false;
        /// Which message goes when too many, or too many bytes, wait for an MQTT session (`limits.outbox_messages_max`,
        /// `limits.outbox_bytes_max`). What waits at QoS 0 goes first for what comes at QoS 1 or 2.
        when_full: WhenFull = "newest";
    }
}

words! {
    /// Which message goes when too many wait for an MQTT session.
    pub enum WhenFull {
        /// the one that comes: what waits, stays
        Newest = "newest",
        /// the oldest that waits and is of a channel with this rule; if there is none, the one that comes
        Oldest = "oldest",
    }
}

/// The transports that clients may use: one or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    polling: bool,
    websocket: bool,
}

impl Transports {
    /// Whether a client may use it.
    pub fn allow(self, transport: Transport) -> bool {
        match transport {
            Transport::Polling => self.polling,
            Transport::WebSocket => self.websocket,
        }
    }

    /// Whether a polling client may change to websocket.
    pub fn allow_upgrade(self) -> bool {
        self.polling && self.websocket
    }
}

impl Setting for Transports {
    const KIND: Kind = Kind::List("`polling` or `websocket`");

    fn read(value: &Value) -> Result<Self, Flaw> {
        let mut both = Self { polling: false, websocket: false };
        for item in value.list()? {
            match Transport::read(item)? {
                Transport::Polling => both.polling = true,
                Transport::WebSocket => both.websocket = true,
            }
        }
        if both.polling || both.websocket {
            Ok(both)
        } else {
            Err(value.flaw("must name at least one transport"))
        }
    }
}
