//! Streams: connections whose bytes the handler cuts by itself, bare or inside the frames of a WebSocket.
//!
//! Owns when a connection becomes a stream, what is offered to the handler and what is kept of it, and whose it is. Must not
//! know what the bytes mean. Start at [`super::Handler::stream`], then [`Io::own`].

use super::Shard;
use super::connection::{Connection, Flags, NONE, Phase, rest_of};
use super::handler::{Closed, Handler, Owner};
use super::handover::Leaving;
use super::io::{ConnKey, Io, Notice};
use bytes::Bytes;
use hub::ShardId;
use socket2::{SockRef, TcpKeepalive};
use std::net::TcpStream;
use std::time::Duration;
use wire::websocket::{CloseCode, Decoder, Role, Violation};

/// A peer of which nothing is heard is asked after this time whether it is still there. Mobile clients vanish without a FIN, and
/// many of their protocols allow them to be silent for hours, or for ever.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Time between two of those questions. A radio that changes cells is away for some seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// Questions without an answer that end a connection.
const PROBES_MAX: u32 = 4;
/// What is written has to be acknowledged by the peer's kernel in this time; by default Linux tries for a quarter of an hour.
/// It replaces the count of questions too, so it is the time that those take.
const UNACKNOWLEDGED_MAX: Duration = SILENCE_MAX.saturating_add(PROBE_INTERVAL.saturating_mul(PROBES_MAX));

/// What the first byte of a connection says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    Http,
    Stream,
    Unknown,
}

impl Io {
    /// Makes a stream somebody's, or somebody else's: it is no longer half open, so it has no deadline, and what happens to
    /// it is told with this owner. When the connection is gone already, or about to close, the owner is told that at once;
    /// when something waits in its write buffer, that.
    pub fn own(&mut self, conn: ConnKey, owner: Owner) {
        let here = self.connections.get_mut(conn).filter(|connection| connection.phase == Phase::Stream);
        let Some(connection) = here else {
            self.notices.push_back(Notice::Closed(conn, owner, Closed::Peer));
            return;
        };
        connection.owner = owner.0;
        if connection.unsent.is_some() {
            connection.flags.set(Flags::BLOCKED_TOLD);
            self.notices.push_back(Notice::Blocked(conn, owner));
        }
        self.no_longer_half_open(conn);
        self.no_deadline(conn);
    }

    /// Gives a stream to another shard, with all that is read and not used and all that waits to be written; `conn` is void
    /// afterwards. There [`super::Handler::stream`] is called with those bytes, if there are any, and without an owner. It
    /// arrives behind what is posted to that shard before, and within [`super::Handler::stream`] behind all that this
    /// callback posts. The owner so far, if any, is not told anything.
    pub fn hand_over_stream(&mut self, conn: ConnKey, to: ShardId) {
        let here = self.connections.get_mut(conn).filter(|connection| connection.phase == Phase::Stream);
        let Some(connection) = here else { return };
        connection.owner = NONE;
        let kept = connection.partial.as_mut().map(|partial| std::mem::take(&mut partial.bytes));
        self.enter(conn, Phase::Moving);
        let leaving = Leaving { conn, to, place: None };
        if self.feeding == Some(conn) {
            self.leaving = Some(leaving);
        } else {
            self.leave(leaving, kept.unwrap_or_default());
        }
    }

    /// Answers a request with 101 and makes a stream of the payloads of the binary frames that follow; a text frame closes
    /// the connection (1003). `answer` is the complete head, from [`wire::websocket::Accept::respond`]. Like a bare stream
    /// it is half open until [`Io::own`].
    pub fn upgrade_stream(&mut self, conn: ConnKey, answer: Vec<u8>) {
        let asked = self.connections.get_mut(conn).filter(|connection| connection.phase == Phase::Asked);
        let Some(connection) = asked else { return };
        connection.decoder = Some(Decoder::of_pieces(Role::Server));
        self.stats.upgrades += 1;
        self.become_stream(conn);
        self.half_open(conn);
        self.write(conn, &Bytes::from(answer));
    }

    /// Whether the connection is a stream of which further bytes may be used: it is here, and neither paused nor closing.
    /// For whoever uses several packets in one [`super::Handler::stream`], after each of them.
    pub fn is_streaming(&self, conn: ConnKey) -> bool {
        let streams = |c: &Connection| c.phase == Phase::Stream && !c.flags.has(Flags::PAUSED);
        self.connections.get(conn).is_some_and(streams)
    }

    /// Whether what is written to the connection has to be framed.
    pub fn is_websocket(&self, conn: ConnKey) -> bool {
        self.connections.get(conn).is_some_and(|connection| connection.decoder.is_some())
    }

    /// From now on bytes are the handler's.
    pub(super) fn become_stream(&mut self, conn: ConnKey) {
        self.enter(conn, Phase::Stream);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.flags.unset(Flags::IDLE);
        // One that came from another shard has been given them there.
        if !connection.flags.has(Flags::STREAM) {
            connection.flags.set(Flags::STREAM);
            notice_half_dead(&connection.stream);
        }
    }

    /// What is kept of a stream may be of use to the handler now.
    pub(super) fn stream_may_go_on(&mut self, conn: ConnKey) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.flags.unset(Flags::OFFERED);
        }
    }
}

/// Has the kernel end a connection whose peer is gone without a word.
pub(super) fn notice_half_dead(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(PROBE_INTERVAL);
    let set = socket
        .set_tcp_keepalive(&keepalive.with_retries(PROBES_MAX))
        .and_then(|()| socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX)));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection that breaks will not be noticed early");
    }
}

impl<H: Handler> Shard<H> {
    /// What a new connection speaks, by its first byte and the listener it came by.
    pub(super) fn speech(&self, conn: ConnKey, first: u8) -> Speech {
        let stream_only = |connection: &Connection| connection.flags.has(Flags::STREAM_ONLY);
        let stream_only = self.io.connections.get(conn).is_some_and(stream_only);
        match first {
            // A request may have an empty line before it (RFC 9112 section 2.2).
            b'A'..=b'Z' | b'a'..=b'z' | b'\r' | b'\n' if !stream_only => Speech::Http,
            first if self.handler.begins_stream(first) => Speech::Stream,
            _ => Speech::Unknown,
        }
    }

    /// Takes a stream that came from another shard; `bytes` were read there.
    pub(super) fn go_on_with_stream(&mut self, conn: ConnKey, bytes: Vec<u8>) {
        self.io.half_open(conn);
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        connection.keep_growing(bytes, 0);
        // TLS may hold more than its socket, which will not say so here.
        if connection.tls.is_some() {
            connection.flags.set(Flags::READABLE);
            self.io.queue(conn);
        }
        self.feed_kept(conn);
    }

    /// Offers bytes to the handler; how many of them are done with.
    pub(super) fn offer(&mut self, conn: ConnKey, bytes: &[u8]) -> usize {
        let Some(connection) = self.io.connections.get(conn) else { return bytes.len() };
        let owner = connection.owner();
        let mut used = 0;
        self.call(|handler, cx| used = handler.stream(cx, conn, owner, bytes));
        let Some(connection) = self.io.connections.get_mut(conn) else { return bytes.len() };
        match connection.phase {
            Phase::Stream | Phase::Moving => {}
            _ => return bytes.len(),
        }
        let left = bytes.len().saturating_sub(used);
        if left > self.io.stream_bytes_max {
            self.give_up_stream(conn);
            return bytes.len();
        }
        if left > 0 && !connection.flags.has(Flags::PAUSED) {
            connection.flags.set(Flags::OFFERED);
        }
        bytes.len() - left
    }

    /// Offers what came out of a frame behind what was kept of earlier ones.
    pub(super) fn offer_inner(&mut self, conn: ConnKey, payload: &[u8]) {
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        let kept = connection.partial.as_mut().map(|partial| std::mem::take(&mut partial.inner));
        let rest = match kept.filter(|kept| !kept.is_empty()) {
            Some(mut all) => {
                all.extend_from_slice(payload);
                let used = self.offer(conn, &all);
                rest_of(all, used)
            }
            None => {
                let used = self.offer(conn, payload);
                payload.get(used..).filter(|rest| !rest.is_empty()).map(<[u8]>::to_vec)
            }
        };
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        match rest {
            Some(rest) => connection.partial.get_or_insert_default().inner = rest,
            None => connection.tidy(),
        }
    }

    /// Offers what was kept of frames, unless it is known to be too little.
    pub(super) fn offer_kept_inner(&mut self, conn: ConnKey) {
        let Some(connection) = self.io.connections.get(conn) else { return };
        let waits = connection.partial.as_ref().is_some_and(|partial| !partial.inner.is_empty());
        if waits && connection.wants_bytes() && !connection.flags.has(Flags::OFFERED) {
            self.offer_inner(conn, &[]);
        }
    }

    /// More waits than any packet has: the handler does not bound it.
    fn give_up_stream(&mut self, conn: ConnKey) {
        if self.io.is_websocket(conn) {
            return self.violation(conn, Violation { code: CloseCode::TOO_BIG, text: "packet too big" });
        }
        self.io.fail(conn, Closed::Violation(CloseCode::TOO_BIG));
        self.tell();
    }
}
