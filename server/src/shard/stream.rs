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
use wire::websocket::{CloseCode, Decoder, Role, Violation};

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
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.flags.set(Flags::STREAM);
            connection.flags.unset(Flags::IDLE);
        }
    }

    /// What is kept of a stream may be of use to the handler now.
    pub(super) fn stream_may_go_on(&mut self, conn: ConnKey) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.flags.unset(Flags::OFFERED);
        }
    }
}

impl<H: Handler> Shard<H> {
    /// What a new connection speaks, by its first byte.
    pub(super) fn speech(&self, first: u8) -> Speech {
        match first {
            // A request may have an empty line before it (RFC 9112 section 2.2).
            b'A'..=b'Z' | b'a'..=b'z' | b'\r' | b'\n' => Speech::Http,
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
