//! Everything that ends a stream, and its signs of life.
//!
//! Owns the order: the answer ends, the connection goes, then the hub hears of it. To an `EventSource` an end means to come back,
//! whatever its reason. Must not know why; the reason comes with the call. Start at [`Streams::finish`].

use bytes::Bytes;
use hub::{Command, Millis, Reason, SessionId};
use wire::http::write_last_chunk;
use wire::websocket::{Opcode, frame};

use super::answer::{Later, Refusal};
use super::caller::{Caller, Framing, Kind, Reader, Stage};
use super::deliver::framed;
use super::effects::is_told;
use super::socket::{close, close_code};
use super::{Streams, owner};
use crate::auth;
use crate::front::rights::Rights;
use crate::shard::{Closed, ConnKey, Cx, Owner};

/// So far apart streams are ended at a shutdown, on average: nobody waits seconds for the end of a server with a single one.
const DRAIN_MS_EACH: u64 = 10;

/// A shutdown in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    start: Millis,
    window_ms: u64,
}

impl Drain {
    /// When this session's connection is closed: the random part of its id is its place in the window.
    fn at(&self, id: SessionId) -> Millis {
        let [.., a, b, c, d] = id.0;
        let place = u64::from(u32::from_be_bytes([a, b, c, d]));
        Millis(self.start.0 + place % self.window_ms.max(1))
    }
}

impl Streams {
    /// Ends a reader's answer and session. Does nothing for one that is gone.
    pub(super) fn finish(&mut self, cx: &mut Cx<'_>, index: u32, reason: Reason) {
        let Some(reader) = self.take_reader(cx, index) else { return };
        self.part(cx, &reader, reason);
        self.end_session(cx, &reader, reason);
    }

    /// The hub hears of the end.
    pub(super) fn end_session(&mut self, cx: &mut Cx<'_>, reader: &Reader, reason: Reason) {
        self.tell_end(cx, reader, reason);
        self.apply(cx, Command::End { session: reader.session, reason });
    }

    /// The hub has ended the session: nobody has to be told but the client.
    pub(super) fn session_ended(&mut self, cx: &mut Cx<'_>, id: SessionId, reason: Reason) {
        let Some(index) = self.index_of(id) else { return };
        let Some(reader) = self.take_reader(cx, index) else { return };
        self.tell_end(cx, &reader, reason);
        self.part(cx, &reader, reason);
    }

    /// The end of an answer, or an answer that there will be none.
    fn part(&mut self, cx: &mut Cx<'_>, reader: &Reader, reason: Reason) {
        let Reader { conn, kind, framing, stage, .. } = *reader;
        if let (Reason::Superseded | Reason::UserFull, Stage::Opening) = (reason, stage) {
            let refusal = Refusal::new(403, "over-limit", "the user has as many sessions as it may");
            return cx.io.respond(conn, self.site.refuse(&refusal, reader.origin()));
        }
        if matches!(reason, Reason::Kicked) && (kind == Kind::Poll || stage == Stage::Opening) {
            let words = cx.hub.words.clone();
            let refusal = Refusal::forbidden(words.as_deref().unwrap_or("ended by the back end"));
            return cx.io.respond(conn, self.site.refuse(&refusal, reader.origin()));
        }
        if reason == Reason::Revoked && (kind == Kind::Poll || stage == Stage::Opening) {
            let refusal = Refusal::bad_token(auth::Refusal::Revoked.text());
            return cx.io.respond(conn, self.site.refuse(&refusal, reader.origin()));
        }
        if kind == Kind::Poll || stage == Stage::Opening {
            let later = match reason {
                Reason::Draining => Later::Draining,
                Reason::CredentialsExpired | Reason::NeverAdmitted | Reason::Disconnected => Later::Unknown,
                _ => Later::Full,
            };
            return cx.io.respond(conn, self.site.put_off(later, Some(kind), reader.origin()));
        }
        if !is_told(reason) {
            return cx.io.close(conn);
        }
        if kind == Kind::WebSocket {
            let (code, text) = close_code(reason);
            let words = cx.hub.words.clone().filter(|_| is_wanted(reason));
            return close(cx, conn, (code, words.as_deref().unwrap_or(text)));
        }
        if framing == Framing::Chunked {
            let mut last = Vec::new();
            write_last_chunk(&mut last);
            cx.io.stage(conn, &Bytes::from(last));
        }
        cx.io.close_after_flush(conn);
    }

    /// The connection is gone.
    pub(in crate::front) fn closed(&mut self, cx: &mut Cx<'_>, owner: Owner, why: Closed) {
        let Some(Caller::Reader(reader)) = self.remove(cx, owner.index()) else { return };
        let reason = match why {
            Closed::Peer => Reason::ConnectionClosed,
            Closed::Error => Reason::ConnectionFailed,
            Closed::Violation(_) => Reason::Malformed,
            Closed::TooLong | Closed::Idle => Reason::SlowConsumer,
        };
        self.end_session(cx, &reader, reason);
    }

    pub(in crate::front) fn blocked(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        self.wait(cx, owner.index());
    }

    pub(in crate::front) fn writable(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        self.go_on(cx, owner.index());
    }

    /// Sets the timer of a reader: its next sign of life, the end of a poll or of its wait for the back end, or its turn in a
    /// shutdown.
    pub(super) fn arm(&mut self, cx: &mut Cx<'_>, index: u32) {
        let now = cx.io.now();
        let beat = Millis(now.0 + self.config.streams.heartbeat_ms);
        let (drain, rights_due) = (self.drain, self.rights(index).and_then(Rights::due_at));
        let Some(reader) = self.reader_mut(index) else { return };
        let id = reader.id;
        // A poll that has not read what is kept is answered as soon as it has.
        let at = reader.poll().map_or(beat, |poll| if poll.until > now { poll.until } else { beat });
        let at = drain.map_or(at, |drain| at.min(drain.at(id)));
        let at = rights_due.map_or(at, |due| at.min(due));
        let at = reader.waits_until().map_or(at, |until| at.min(until));
        let at = reader.held_until().map_or(at, |until| at.min(until));
        let rate = reader.rare.as_ref().and_then(|rare| rare.rate.as_ref());
        let at = rate.map_or(at, |rate| at.min(rate.paused_until().unwrap_or(rate.full_at())));
        cx.io.arm(owner(index), at);
    }

    pub(in crate::front) fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let (index, now, drain) = (owner.index(), cx.io.now(), self.drain);
        let Some(reader) = self.reader_mut(index) else { return self.post_unanswered(cx, index) };
        let (conn, id, stage) = (reader.conn, reader.id, reader.stage);
        let (kind, framing) = (reader.kind, reader.framing);
        if stage == Stage::Opening && reader.waits_until().is_some_and(|until| until <= now) {
            return self.finish(cx, index, Reason::NeverAdmitted);
        }
        if reader.held_until().is_some_and(|until| until <= now) {
            return self.finish(cx, index, Reason::Disconnected);
        }
        let is_over = reader.poll().is_some_and(|poll| poll.until <= now);
        if is_over && stage == Stage::Live {
            return self.answer_poll(cx, index);
        }
        let is_drained = drain.is_some_and(|drain| drain.at(id) <= now);
        if is_drained || self.rights(index).is_some_and(|rights| rights.are_over(now)) {
            let reason = if is_drained { Reason::Draining } else { Reason::CredentialsExpired };
            return match kind {
                // It has been answered as if its time were over.
                Kind::Poll if stage == Stage::Live => self.answer_poll(cx, index),
                Kind::Poll | Kind::Sse | Kind::SseEnvelope | Kind::Ndjson | Kind::WebSocket => {
                    self.finish(cx, index, reason);
                }
            };
        }
        if let Some(rights) = self.held.get_mut(&index) {
            rights.ask(cx, id);
        }
        // Who sends so much that its rate is kept is there.
        let was_heard = self.rest(cx, index, now);
        if stage != Stage::Opening && kind != Kind::Poll && !was_heard {
            self.beat(cx, (conn, kind, framing));
        }
        self.arm(cx, index);
    }

    /// A sign of life, unless the client has enough to read.
    fn beat(&mut self, cx: &mut Cx<'_>, (conn, kind, framing): (ConnKey, Kind, Framing)) {
        if !cx.io.is_writable(conn) {
            return;
        }
        let known = self.heartbeats.iter().find(|(variant, _)| *variant == (kind, framing));
        if let Some((_, bytes)) = known {
            return cx.io.stage(conn, bytes);
        }
        let bytes = match framing {
            Framing::Frame => ping(),
            Framing::Chunked | Framing::Plain => framed(framing, kind.form().heartbeat().to_vec()),
        };
        cx.io.stage(conn, &bytes);
        self.heartbeats.push(((kind, framing), bytes));
    }

    /// Nobody is sent away any more.
    pub(in crate::front) fn stay(&mut self) {
        self.drain = None;
    }

    /// No more streams; each is ended at a random time within the window, which is short for few.
    pub(in crate::front) fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64) {
        let window_ms = window_ms.min(DRAIN_MS_EACH.saturating_mul(self.callers.len() as u64));
        self.drain = Some(Drain { start: cx.io.now(), window_ms });
        let indexes: Vec<usize> = self.callers.iter().map(|(index, _)| index).collect();
        for index in indexes {
            self.arm(cx, u32::try_from(index).expect("indexes are 32 bits"));
        }
    }

    /// The back end closes the connection under a session.
    pub(in crate::front) fn disconnect(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        if let Some(index) = self.index_of(id) {
            self.finish(cx, index, Reason::Disconnected);
        }
    }
}

/// Whether the back end wants it so, and may have said why.
fn is_wanted(reason: Reason) -> bool {
    matches!(reason, Reason::Kicked | Reason::Disconnected)
}

/// To which every WebSocket answers (RFC 6455 section 5.5.2).
fn ping() -> Bytes {
    let mut bytes = Vec::new();
    frame(Opcode::Ping, b"", &mut bytes);
    Bytes::from(bytes)
}
