//! What shards and the back office say to each other. Data only, so that either side can be read without the other.
//!
//! Back office to shard: [`Mail`]. Shard to back office: [`Upcall`] (client events, bounded, back pressure stops
//! reading from clients) and [`hub::Report`]s (answers to what the back office asked, bounded by what it asked).

use crate::front::{Ban, Banned};
use bytes::Bytes;
use hub::{Command, Reason, SessionId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use wire::values::Values;

/// From the back office to one shard.
#[derive(Debug)]
pub enum Mail {
    /// For the shard's hub.
    Hub(Command),
    /// Several, in order, done in one turn: few enough that its clients do not wait for long.
    Commands(Vec<Command>),
    /// The back end accepts a session that asked to connect.
    Admit {
        /// Who.
        session: SessionId,
        /// The user it belongs to.
        user: Option<Arc<str>>,
        /// JSON for presence.
        info: Option<Bytes>,
        /// Channels and filters it is in from the start.
        subscriptions: Vec<String>,
    },
    /// The back end refuses it, for good (the client should stop).
    Refuse {
        /// Who.
        session: SessionId,
        /// Shown to the client.
        message: Box<str>,
        /// JSON, optional.
        data: Option<Bytes>,
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
    /// New certificates for connections accepted from now on.
    Tls(crate::tls::TlsConfigs),
    /// A stream socket whose other end is in this process. Its client is trusted: it is let in by its client id alone, and
    /// neither rules nor rates hold for it.
    Own(std::net::TcpStream),
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
}

/// A client event, from a shard to the back office.
#[derive(Debug)]
pub enum Upcall {
    /// A session asks to connect. Answered by [`Mail::Admit`] or [`Mail::Refuse`].
    Connect {
        /// Its public id.
        session: SessionId,
        /// Socket.IO namespace.
        namespace: Arc<str>,
        /// The client's CONNECT payload: JSON text of an object.
        auth: Option<Bytes>,
        /// Of the connection's first request.
        handshake: Arc<Handshake>,
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
    },
    /// A session lost its connection or ended.
    Disconnected {
        /// Who.
        session: SessionId,
        /// Its namespace.
        namespace: Arc<str>,
        /// Why.
        reason: Reason,
        /// The protocol's own words, such as `transport close`.
        text: &'static str,
        /// It may come back within the recovery window; `false` = it is gone for good.
        resumable: bool,
    },
    /// A session that could have come back did not.
    Expired {
        /// Who.
        session: SessionId,
        /// Its namespace.
        namespace: Arc<str>,
    },
}

impl Upcall {
    /// What it keeps in memory, about.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        let content = match self {
            Self::Connect { namespace, auth, .. } => namespace.len() + auth.as_ref().map_or(0, Bytes::len),
            Self::Event { values, .. } => values.len_bytes(),
            Self::Recovered { .. } | Self::Disconnected { .. } | Self::Expired { .. } => 0,
        };
        size_of::<Self>() + content
    }
}

/// Events of one turn of a shard, in order. Counts for as long as it exists against what its shard may have under way.
#[derive(Debug)]
pub struct Upcalls {
    events: Vec<Upcall>,
    bytes: usize,
    under_way_bytes: Arc<AtomicUsize>,
}

impl Upcalls {
    /// Adds these events, of so many bytes, to what is under way.
    #[must_use]
    pub fn new(events: Vec<Upcall>, bytes: usize, under_way_bytes: &Arc<AtomicUsize>) -> Self {
        under_way_bytes.fetch_add(bytes, Ordering::Relaxed);
        Self { events, bytes, under_way_bytes: Arc::clone(under_way_bytes) }
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

/// Facts of a connection's first request that the application may see. Kept as long as the connection, so it holds
/// only the application's own query parameters and the allow-listed headers.
#[derive(Debug, Default)]
pub struct Handshake {
    /// Percent-decoded, engine parameters (`EIO`, `transport`, `sid`, `t`, `b64`, `j`) left out.
    pub query: Vec<(Box<str>, Box<str>)>,
    /// Lower-case names.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The peer.
    pub remote: Option<SocketAddr>,
    /// TLS on this connection.
    pub secure: bool,
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
