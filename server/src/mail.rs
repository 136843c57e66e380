//! What shards and the back office say to each other. Data only, so that either side can be read without the other.
//!
//! Back office to shard: [`Mail`]. Shard to back office: [`Upcall`] (client events, bounded, back pressure stops
//! reading from clients) and [`hub::Report`]s (answers to what the back office asked, bounded by what it asked).

use crate::auth::{Grant, UnixMs};
use crate::config::BindingGroup;
use crate::front::{Ban, Banned};
use crate::shard::{ConnKey, Ends, Facts};
use bytes::Bytes;
use hub::{Command, Reason, SessionId, ShardId, Sighting};
use serde_json::value::RawValue;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::values::Values;

mod hello;
mod weights;

pub use crate::front::{Deed, Draft, Question, Rewrite, Ruling, SessionChange, Terms};
pub use hello::{Certified, Handshake, Hello, Hidden, Known, MqttHello, StreamHello};
pub use weights::{Weight, Weights};

/// As many as a WebSocket has a place for when it is closed (RFC 6455 section 5.5.1).
pub const WORDS_BYTES_MAX: usize = 123;

/// From the back office to one shard.
#[derive(Debug)]
pub enum Mail {
    /// For the shard's hub.
    Hub(Command),
    /// Several, in order, done in one turn: few enough that its clients do not wait for long.
    Commands(Vec<Command>),
    /// A command that ends sessions, and what their clients are told with it, as far as their protocols have a place for that.
    Saying(Arc<str>, Command),
    /// The back end accepts a session that asked to connect.
    Admit {
        /// Who, as [`Upcall::Connect`] has it.
        session: SessionId,
        /// What it begins with.
        admission: Box<Admission>,
    },
    /// The client of an [`Upcall::Claimed`] that was to wait may be told of its session.
    Greet {
        /// Who.
        session: SessionId,
        /// Of the event: on another connection since it waits for another one.
        number: u64,
        /// Dropped once the client has been told and has what it was granted, or is gone.
        until_told: tokio::sync::oneshot::Sender<()>,
    },
    /// The back end refuses it, for good (the client should stop).
    Refuse {
        /// Who.
        session: SessionId,
        /// As what.
        denial: Denial,
        /// Shown to the client.
        message: Box<str>,
        /// JSON, optional.
        data: Option<Bytes>,
    },
    /// What the back end says to an [`Upcall::Ask`].
    Answer {
        /// Whose question it is.
        session: SessionId,
        /// Which.
        number: u64,
        /// What follows.
        ruling: Box<Ruling>,
    },
    /// The back end is behind with a session's events: its connection is not read from until [`Mail::LetGo`].
    Hold {
        /// Who.
        session: SessionId,
    },
    /// The back end has caught up.
    LetGo {
        /// Who.
        session: SessionId,
    },
    /// The back end closes the connection under a session; the client may come back.
    Disconnect {
        /// Who.
        session: SessionId,
    },
    /// What the front knows of sessions (protocol, namespace, transport, remote address); answered through `reply`.
    Inspect {
        /// Which.
        sessions: Vec<SessionId>,
        /// In the order asked; `None` = not here.
        reply: tokio::sync::oneshot::Sender<Vec<Option<Inspection>>>,
    },
    /// A live view of what is published on a filter; ends when nobody reads the sink.
    Tail {
        /// Checked.
        filter: String,
        /// Where messages go.
        sink: crate::back::TailSink,
    },
    /// A reader of a tail went away: tails that nobody reads end.
    TailClosed,
    /// Counters of the shard.
    Stats {
        /// A snapshot.
        reply: tokio::sync::oneshot::Sender<crate::shard::Stats>,
    },
    /// What was counted of clients of MQTT and of streams.
    Figures {
        /// A snapshot.
        reply: tokio::sync::oneshot::Sender<(crate::front::Figures, crate::front::StreamFigures)>,
    },
    /// Refuses MQTT clients from now on.
    Ban {
        /// Whom, and how long.
        ban: Ban,
        /// `false`: `limits.bans_max`.
        reply: tokio::sync::oneshot::Sender<bool>,
    },
    /// Refuses them no longer.
    Unban {
        /// Whom.
        of: Banned,
        /// Whether they were.
        reply: tokio::sync::oneshot::Sender<bool>,
    },
    /// What is known of one who is refused.
    BanOf {
        /// Whom.
        of: Banned,
        /// `None`: it is not.
        reply: tokio::sync::oneshot::Sender<Option<Ban>>,
    },
    /// Who is refused, in an order that stays.
    Bans {
        /// Continue after this one.
        after: Option<Banned>,
        /// At most.
        limit: usize,
        /// And whether there are more.
        reply: tokio::sync::oneshot::Sender<hub::Page<Ban>>,
    },
    /// Changes what the client of a session may do, and until when.
    Change {
        /// Who.
        session: SessionId,
        /// What.
        change: Box<SessionChange>,
        /// `false`: it has no connection here.
        reply: tokio::sync::oneshot::Sender<bool>,
    },
    /// Ends the sessions that a token let in.
    Revoke {
        /// `jti`.
        token_id: Arc<str>,
        /// How many there were.
        reply: tokio::sync::oneshot::Sender<u64>,
    },
    /// New certificates for connections accepted from now on.
    Tls(crate::tls::TlsConfigs),
    /// Connections are closed within so many milliseconds and nobody is let in; `None`: everybody is welcome again.
    Drain {
        /// The window.
        window_ms: Option<u64>,
    },
    /// The bindings that were made while the server runs, all of them; answered once what is published is copied so.
    Bind {
        /// In an order that stays.
        bound: Arc<[Bound]>,
        /// Done.
        reply: tokio::sync::oneshot::Sender<()>,
    },
    /// What is known of connections; answered through `reply`.
    Lines {
        /// Which.
        of: Lines,
        /// And whether there are more.
        reply: tokio::sync::oneshot::Sender<hub::Page<Line>>,
    },
    /// Adds up what some connections hold in memory; answered through `reply`.
    Weigh {
        /// Those behind this one.
        after: Option<ConnKey>,
        /// And where it goes on.
        reply: tokio::sync::oneshot::Sender<Weights>,
    },
    /// Ends a connection, whose client may come back.
    EndLine {
        /// Which.
        conn: ConnKey,
        /// Whether it was there.
        reply: tokio::sync::oneshot::Sender<bool>,
    },
    /// A stream socket whose other end is in this process. Its client is trusted: it is let in by its client id alone, and
    /// neither rules nor rates hold for it.
    Own(std::net::TcpStream),
}

/// A binding that was made while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Its own.
    pub name: String,
    /// `+` one level, `#` the rest.
    pub filter: String,
    /// The queue, in the account and region of the configuration.
    pub queue: String,
    /// Only messages with an event of one of these names; without any, all messages.
    pub events: Vec<String>,
    /// Whose messages stay in order in a FIFO queue.
    pub group: BindingGroup,
}

/// Which connections.
#[derive(Clone, Debug)]
pub enum Lines {
    /// This one, if it is there.
    One(ConnKey),
    /// So many behind this one, in an order that stays.
    After(Option<ConnKey>, usize),
    /// Those of sessions, each once.
    Under(Vec<SessionId>),
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which.
    pub conn: ConnKey,
    /// As [`Inspection::protocol`]; `None` while it has no session.
    pub protocol: Option<&'static str>,
    /// As [`Inspection::transport`].
    pub transport: &'static str,
    /// What the shard knows.
    pub facts: Facts,
    /// Those of its client.
    pub sessions: Vec<LineSession>,
    /// Where this one was asked for: its ends, for the kernel.
    pub ends: Option<Ends>,
}

/// A session on a connection.
#[derive(Clone, Debug)]
pub struct LineSession {
    /// Its public id.
    pub id: SessionId,
    /// The Socket.IO namespace.
    pub namespace: Option<Arc<str>>,
    /// Whose it is.
    pub user: Option<Arc<str>>,
}

/// What the front knows of a session.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The protocol and its revision, as in `"socketio/5"` or `"mqtt/3.1.1"`; `"sse"`, `"ndjson"`, `"poll"`, `"websocket"`.
    pub protocol: &'static str,
    /// The Socket.IO namespace.
    pub namespace: Option<Arc<str>>,
    /// `polling`, `websocket`, `tcp` or `http`.
    pub transport: &'static str,
    /// The peer's address; `None` between polls.
    pub remote: Option<SocketAddr>,
    /// When its connection is closed unless that is put off; `None` = never.
    pub expires: Option<UnixMs>,
}

/// What a session begins with that the back end accepts.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    /// User, what it may do, channels from the start, and when it is over.
    pub grant: Grant,
    /// Whether its client may come back to it (connection state recovery), if it asked for that.
    pub recovery: Wanted,
    /// MQTT 5: shown to the client with the answer.
    pub user_properties: Vec<(Box<str>, Box<str>)>,
    /// Comes back with [`Upcall::Claimed`].
    pub luggage: Option<Box<Luggage>>,
}

/// Whether something that a client asked for is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// As it asked.
    #[default]
    AsAsked,
    /// Not.
    Never,
}

/// What the back end said with its yes, for when there is a session.
#[derive(Clone, Debug, Default)]
pub struct Luggage {
    /// What it keeps with the session from now on, if it said something of that.
    pub state: Option<Option<Box<str>>>,
    /// To be done behind the answer to the client.
    pub actions: Vec<Box<RawValue>>,
}

/// As what a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It has not shown who it is (401).
    Unknown,
    /// It may not (403).
    Forbidden,
}

/// What the client of a session speaks, and under which name it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Socket.IO, in a namespace.
    SocketIo(Arc<str>),
    /// MQTT, under a client id.
    Mqtt(Arc<str>),
    /// A stream: `sse`, `ndjson`, `poll` or `websocket`.
    Stream(&'static str),
}

/// A client event, from a shard to the back office.
#[derive(Debug)]
pub enum Upcall {
    /// A session asks to connect. Answered by [`Mail::Admit`], [`Mail::Refuse`] or [`Mail::Disconnect`].
    Connect {
        /// Its public id. A client of MQTT has a session only once it is let in: this is the name of the question, and of the
        /// answer to it; the session is [`Upcall::Claimed`] then.
        session: SessionId,
        /// What it says.
        hello: Hello,
        /// What its token says, where there are some.
        known: Known,
        /// Of the connection's first request.
        handshake: Arc<Handshake>,
    },
    /// A client that was let in under a name of its own has a session. If there are webhooks it waits for [`Mail::Greet`], or
    /// [`Mail::Disconnect`].
    Claimed {
        /// The session.
        session: SessionId,
        /// Of this event, for [`Mail::Greet`].
        number: u64,
        /// The client's name.
        client_id: Arc<str>,
        /// Whether it is an earlier one that goes on.
        resumed: bool,
        /// What is known of it.
        known: Known,
        /// As it came with [`Mail::Admit`].
        luggage: Option<Box<Luggage>>,
        /// The peer.
        remote: Option<SocketAddr>,
    },
    /// A client wants to do something with a channel that the back end is asked about. Answered by [`Mail::Answer`], or by
    /// [`Mail::Disconnect`]; until then nothing more is read from it.
    Ask {
        /// Who.
        session: SessionId,
        /// Of this question, for the answer.
        number: u64,
        /// What.
        question: Box<Question>,
    },
    /// A client sent an event.
    Event {
        /// Who.
        session: SessionId,
        /// Its namespace.
        namespace: Arc<str>,
        /// Event name first, as it came.
        values: Values,
        /// Set when the client wants an answer: [`hub::Command::Answer`] with this number, at most once.
        request: Option<u64>,
    },
    /// A session came back with nothing missing; the back end is told, not asked.
    Recovered {
        /// Who.
        session: SessionId,
        /// Its namespace.
        namespace: Arc<str>,
        /// Whose it is.
        user: Option<Arc<str>>,
    },
    /// A session is another user's from now on.
    Reassigned {
        /// Which.
        session: SessionId,
        /// Whose.
        user: Option<Arc<str>>,
        /// It has a connection.
        is_connected: bool,
    },
    /// The time of a connected client is nearly over. Perhaps answered by [`Mail::Change`].
    Refresh {
        /// Who.
        session: SessionId,
        /// When it is over.
        expires: UnixMs,
        /// `jti` of its token, if that has let it in.
        token_id: Option<Box<str>>,
    },
    /// A session lost its connection or ended.
    Disconnected {
        /// Who.
        session: SessionId,
        /// As what.
        speaks: Speaks,
        /// Why.
        reason: Reason,
        /// The protocol's own words, such as `transport close`.
        text: &'static str,
        /// How long it may come back, in milliseconds, `u64::MAX` = for ever; `None` = it is gone for good.
        resumable_ms: Option<u64>,
    },
    /// A session that could have come back did not, or cannot any more.
    Expired {
        /// Who.
        session: SessionId,
        /// As what.
        speaks: Speaks,
        /// Why.
        reason: Reason,
        /// The protocol's own words.
        text: &'static str,
    },
}

impl Upcall {
    /// What it keeps in memory, about.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        let content = match self {
            Self::Connect { hello, .. } => hello.len_bytes(),
            Self::Event { values, .. } => values.len_bytes(),
            Self::Ask { question, .. } => question.len_bytes(),
            Self::Claimed { luggage, .. } => luggage.as_ref().map_or(0, |luggage| luggage.len_bytes()),
            Self::Refresh { token_id, .. } => token_id.as_ref().map_or(0, |id| id.len()),
            Self::Recovered { .. } | Self::Reassigned { .. } => 0,
            Self::Disconnected { .. } | Self::Expired { .. } => 0,
        };
        size_of::<Self>() + content
    }
}

impl Luggage {
    fn len_bytes(&self) -> usize {
        let state = self.state.as_ref().and_then(|state| state.as_ref()).map_or(0, |state| state.len());
        state + self.actions.iter().map(|action| action.get().len()).sum::<usize>()
    }
}

/// Events of one turn of a shard, in order. Counts for as long as it exists against what its shard may have under way.
#[derive(Debug)]
pub struct Upcalls {
    events: Vec<Upcall>,
    shard: ShardId,
    sightings: Vec<Sighting>,
    bytes: usize,
    under_way_bytes: Arc<AtomicUsize>,
}

impl Upcalls {
    /// Adds these events, of so many bytes, to what is under way.
    #[must_use]
    pub fn new(events: Vec<Upcall>, bytes: usize, under_way_bytes: &Arc<AtomicUsize>) -> Self {
        under_way_bytes.fetch_add(bytes, Ordering::Relaxed);
        let under_way_bytes = Arc::clone(under_way_bytes);
        Self { events, shard: ShardId(0), sightings: Vec::new(), bytes, under_way_bytes }
    }

    /// And what was noticed on this shard, in order; between it and the events there is none.
    #[must_use]
    pub fn with_sightings(mut self, shard: ShardId, sightings: Vec<Sighting>) -> Self {
        (self.shard, self.sightings) = (shard, sightings);
        self
    }

    /// What was noticed, and where.
    pub fn take_sightings(&mut self) -> (ShardId, Vec<Sighting>) {
        (self.shard, std::mem::take(&mut self.sightings))
    }
}

impl IntoIterator for Upcalls {
    type Item = Upcall;
    type IntoIter = std::vec::IntoIter<Upcall>;

    fn into_iter(mut self) -> Self::IntoIter {
        std::mem::take(&mut self.events).into_iter()
    }
}

impl Drop for Upcalls {
    fn drop(&mut self) {
        self.under_way_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// From one shard to another, in batches, in order.
#[derive(Debug)]
pub enum PeerMail {
    /// For the hub.
    Hub(hub::HubMail),
    /// A client's publish to a channel whose home is the receiver.
    Publish(Box<hub::Publish>),
    /// A connection whose next request (already read, unprocessed, in `bytes`) belongs to the receiving shard.
    Connection(crate::shard::Handover),
    /// An engine session that moves, with its WebSocket if it has one.
    Engine {
        /// The session.
        migration: Box<crate::front::Migration>,
        /// Its connection, for [`crate::shard::Io::adopt`].
        connection: Option<crate::shard::Handover>,
    },
    /// At the end of the node: the sender begins nothing any more; the second time, nothing more comes from it at all.
    Quiet,
}
