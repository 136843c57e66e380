//! What a shard tells the protocol layer: the callbacks, and the types in them.
//!
//! Must not know connections or the loop. Start at [`Handler`].

use super::io::{ConnKey, Io};
use super::response::Response;
use crate::mail::{Mail, PeerMail};
use crate::state::End;
use hub::{Effects, Millis, ShardId};
use wire::http::Head;
use wire::websocket::Event;

/// What a connection belongs to: an index of the handler's own, dense, as each has a timer (16 bytes up to the highest
/// index in use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// The hub of a shard and the list its effects go to.
#[derive(Debug)]
pub struct HubPort {
    /// Decides.
    pub hub: hub::Hub,
    /// Empty between two commands.
    pub effects: Effects,
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
    /// The peer broke the WebSocket protocol; it was told this close code.
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

    /// The connection is gone and `conn` void; not called for closes the handler asked for.
    fn closed(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, why: Closed);

    /// What was staged did not fit into the socket and waits in the write buffer.
    fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner);

    /// The write buffer is empty again.
    fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner);

    /// The owner's deadline has come (see [`Io::arm`]); it is disarmed.
    fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner);

    /// From the back office: everything but `Stats` and `Tls`.
    fn mail(&mut self, cx: &mut Cx<'_>, mail: Mail);

    /// From another shard: `Hub` and `Engine`.
    fn peer(&mut self, cx: &mut Cx<'_>, from: ShardId, mail: PeerMail);

    /// When [`Handler::tick_hub`] is due.
    fn hub_deadline(&self, cx: &Cx<'_>) -> Option<Millis>;

    /// The hub's deadline has come.
    fn tick_hub(&mut self, cx: &mut Cx<'_>);

    /// The turn ends: what was gathered for polls is answered, before connections are flushed.
    fn flush(&mut self, cx: &mut Cx<'_>);

    /// The process stops: close everything in random order within the window. Connections left after it are closed.
    fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64);

    /// The last call: there are no connections, and nothing comes from anybody any more.
    fn ended(&mut self, cx: &mut Cx<'_>, end: End) {
        let _ = (cx, end);
    }
}
