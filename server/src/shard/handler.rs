//! What a shard tells the protocol layer: the callbacks, and the types in them.
//!
//! Must not know connections or the loop. Start at [`Handler`].

use super::connection::NONE;
use super::io::{ConnKey, Io};
use super::response::Response;
use crate::front::{Ban, Bans};
use crate::mail::{Bound, Mail, PeerMail};
use crate::state::End;
use hub::{Command, Effect, Effects, Millis, Recipient, ShardId};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::http::Head;
use wire::websocket::Event;

/// What a connection belongs to: an index of the handler's own behind one of its doors. Dense per door, as each has a timer
/// there (16 bytes up to the highest index in use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub(super) u32);

/// How a protocol of the handler is reached. Owners of each have indexes and timers of their own, so that none pays for
/// the others'; the door tells whose a callback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// Requests and messages of WebSockets.
    Http,
    /// [`Handler::stream`].
    Stream,
    /// Requests whose answer goes on or comes later, and messages of WebSockets of the same clients.
    Feed,
}

/// The bits of an owner that are its door: none of them, the first or the second.
const STREAM_DOOR: u32 = 1 << 31;
const FEED_DOOR: u32 = 1 << 30;

impl Owner {
    /// For a connection that its handler closes at once: nothing about it is told to anybody, and it has no timer.
    pub const NOBODY: Self = Self(NONE);

    /// The owner of this index, which is below 2^30.
    #[must_use]
    pub const fn new(door: Door, index: u32) -> Self {
        debug_assert!(index < FEED_DOOR, "no handler has that many sessions");
        match door {
            Door::Http => Self(index),
            Door::Stream => Self(index | STREAM_DOOR),
            Door::Feed => Self(index | FEED_DOOR),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn door(self) -> Door {
        match (self.0 & STREAM_DOOR, self.0 & FEED_DOOR) {
            (0, 0) => Door::Http,
            (0, _) => Door::Feed,
            _ => Door::Stream,
        }
    }

    /// As given to [`Owner::new`].
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0 & !(STREAM_DOOR | FEED_DOOR)
    }
}

/// The hub of a shard, and what is under way to it and from it. The handler says in which order; see
/// [`crate::front`].
#[derive(Debug)]
pub struct HubPort {
    /// Decides.
    pub hub: hub::Hub,
    /// Empty between two commands.
    pub effects: Effects,
    /// Wait for what is being performed.
    pub commands: VecDeque<Command>,
    /// Something is being performed: what comes meanwhile waits.
    pub is_performing: bool,
    /// Wait for the protocol whose they are; empty between two callbacks.
    pub deferred: VecDeque<Deferred>,
    /// What the back end says to the clients whose sessions it ends, while that is done.
    pub words: Option<Arc<str>>,
    /// Who is kept out, which every door asks.
    pub bans: Bans,
    /// Bindings beside those of the configuration, in the order of their places in the hub.
    pub bound: Arc<[Bound]>,
}

/// An effect of a command that another protocol gave.
#[derive(Debug)]
pub struct Deferred {
    /// What to do.
    pub effect: Effect,
    /// Sessions named by the range in a delivery.
    pub to: Vec<Recipient>,
}

impl HubPort {
    /// A hub that nothing is under way to.
    #[must_use]
    pub fn new(hub: hub::Hub) -> Self {
        Self {
            hub,
            effects: Effects::default(),
            commands: VecDeque::new(),
            is_performing: false,
            deferred: VecDeque::new(),
            words: None,
            bans: Bans::default(),
            bound: Arc::default(),
        }
    }

    /// These bindings are the hub's already.
    #[must_use]
    pub fn with_bound(self, bound: Arc<[Bound]>) -> Self {
        Self { bound, ..self }
    }

    /// Those whom an earlier process refused are refused by this one, too, whatever the limit is now.
    #[must_use]
    pub fn with_bans(mut self, bans: Vec<Ban>) -> Self {
        for ban in bans {
            self.bans.add(Millis(0), ban, usize::MAX);
        }
        self
    }
}

/// What a callback may use.
#[derive(Debug)]
pub struct Cx<'a> {
    /// Connections, timers, mailboxes.
    pub io: &'a mut Io,
    /// Decisions.
    pub hub: &'a mut HubPort,
}

/// A complete HTTP request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Request line and fields.
    pub head: Head<'a>,
    /// Decoded content.
    pub body: &'a [u8],
}

/// Why an owned connection ended, other than by the handler's own wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer ended it: a FIN, or a WebSocket close frame (which was echoed).
    Peer,
    /// The socket or TLS failed, a reset for instance.
    Error,
    /// The peer broke the WebSocket protocol; it was told this close code. Also a stream of which too much waits to be
    /// used by the handler ([`wire::websocket::CloseCode::TOO_BIG`], and a bare one is told nothing).
    Violation(wire::websocket::CloseCode),
    /// More than `limits.write_buffer_bytes_max` waits to be written.
    TooLong,
    /// A time-out of the shard's: the peer does not take what is written.
    Idle,
}

/// The protocol layer of a shard. Called on the shard's thread only; must not block.
pub trait Handler {
    /// The first call.
    fn started(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// Which shard a request belongs to; called as soon as its head has come. For another shard the connection is
    /// handed over with all that was read.
    fn route(&self, head: &Head<'_>) -> ShardId;

    /// Most bytes of content this request may have; called before any is read.
    ///
    /// # Errors
    /// The answer for a request that is refused by its head alone. The connection is closed after it when a body was
    /// announced.
    fn body_limit(&self, head: &Head<'_>) -> Result<usize, Box<Response>>;

    /// The head of a request whose content has not come with it. Not called when the whole request came at once. With
    /// an owner, [`Handler::closed`] is called if the connection ends before the request is complete.
    fn begins(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Option<Owner> {
        let _ = (cx, conn, head);
        None
    }

    /// A complete request. Exactly one of [`Io::respond`], [`Io::hold`], [`Io::upgrade_websocket`] or a close is owed.
    fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>);

    /// A WebSocket message: `Text` or `Binary`, never a control frame.
    fn message(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, event: Event<'_>);

    /// Whether a connection whose first byte is this one speaks the handler's byte protocol, and then goes to
    /// [`Handler::stream`]. Asked once per connection, and never for a letter where HTTP is served too.
    fn begins_stream(&self, first: u8) -> bool {
        let _ = first;
        false
    }

    /// Bytes of a stream: all that are at hand, which are those that this callback did not use before and what has come
    /// since. Returns how many it used, from the front; the rest is kept and offered again together with more bytes, or
    /// after [`Io::resume_reading`], so whatever can be used has to be used now.
    ///
    /// Without an owner the stream is half open: it counts for `limits.half_open_max`, and `limits.head_timeout_ms` after
    /// it began it is closed without a word. [`Io::own`] ends that; from then on [`Handler::closed`],
    /// [`Handler::blocked`] and [`Handler::writable`] come as for a WebSocket. Nobody hears of the end of a stream that
    /// has no owner, but [`Io::own`] tells of it. Whoever has to wait before the bytes can be used calls
    /// [`Io::pause_reading`], else more of them pile up.
    ///
    /// The handler bounds what waits: it closes the connection when the beginning of a packet announces one over its
    /// limit. The shard closes it only far beyond that ([`super::ShardSetup::packet_bytes_max`]).
    ///
    /// Within the callback the connection may be owned, paused, written to ([`Io::stage`]), given to another shard
    /// ([`Io::hand_over_stream`]: what is not used travels) or closed ([`Io::close_after_flush`] writes what is staged,
    /// sends FIN, and discards what comes until the peer's FIN or for a second; [`Io::close`] drops everything).
    ///
    /// A stream in a WebSocket looks the same: its bytes are the payloads of binary frames, whose limits mean nothing.
    /// What is written to it has to be framed by the handler ([`Io::is_websocket`]).
    fn stream(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Option<Owner>, bytes: &[u8]) -> usize;

    /// The connection is gone and `conn` void; not called for closes the handler asked for.
    fn closed(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, why: Closed);

    /// What was staged did not fit into the socket and waits in the write buffer.
    fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner);

    /// The write buffer is empty again.
    fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner);

    /// The owner's deadline has come (see [`Io::arm`]); it is disarmed.
    fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner);

    /// From the back office: everything but `Stats`, `Tls`, `Own` and `Drain`.
    fn mail(&mut self, cx: &mut Cx<'_>, mail: Mail);

    /// From another shard: `Hub` and `Engine`.
    fn peer(&mut self, cx: &mut Cx<'_>, from: ShardId, mail: PeerMail);

    /// When [`Handler::tick_hub`] is due.
    fn hub_deadline(&self, cx: &Cx<'_>) -> Option<Millis>;

    /// The hub's deadline has come.
    fn tick_hub(&mut self, cx: &mut Cx<'_>);

    /// So many of the changes given to [`Io::keep`] are safe.
    fn kept(&mut self, cx: &mut Cx<'_>, safe: u64) {
        let _ = (cx, safe);
    }

    /// The turn ends: what was gathered for polls is answered, before connections are flushed.
    fn flush(&mut self, cx: &mut Cx<'_>);

    /// Close everything in random order within the window, and let nobody in. When the process stops, connections left after it
    /// are closed.
    fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64);

    /// [`Handler::drain`] is over: everybody may come and stay again.
    fn stay(&mut self, cx: &mut Cx<'_>) {
        let _ = cx;
    }

    /// The last call: there are no connections, and nothing comes from anybody any more.
    fn ended(&mut self, cx: &mut Cx<'_>, end: End) {
        let _ = (cx, end);
    }
}
