//! Long polling: the GET that waits, the POST that brings packets, and what goes into an answer.
//!
//! Owns when a GET is answered: at the end of the turn in which the first packet came, or at once when the payload
//! is full. While no GET waits the sessions are paused in the hub, so messages wait there and not here; only what was
//! on its way when the payload became full waits here. So while a GET waits, nothing else does.
//! Start at [`SocketIo::poll`].

use bytes::Bytes;
use hub::{Command, Reason};
use wire::engineio::{
    HandshakeError, Packet, Packets, PayloadError, PayloadForm, PayloadWriter, Transport, Version,
};
use wire::http::Head;
use wire::socketio::Encoded;

use super::ending::Told;
use super::engine::{Carrier, Get, Post, Queued};
use super::query::Query;
use super::{SocketIo, owner};
use crate::shard::{ConnKey, Cx, Owner, Request};

/// Packets of one POST. A client that means well sends fewer; each costs the work of an event.
const PACKETS_MAX: usize = 65_536;

/// Packets of one answer. python-engineio takes more for an attack (its `max_decode_packets`) and gives the connection
/// up, and it says so to nobody.
const ANSWER_PACKETS_MAX: usize = 16;

/// Packets of the front's own that wait for a GET. More means that the client makes us answer without ever polling.
const QUEUE_MAX: usize = 256;

/// Packets asked of the hub at a time while a payload is filled; what comes beyond a full payload is at most this.
pub(super) const BUDGET: u32 = 16;

impl SocketIo {
    /// A GET: answered at once with `6` during an upgrade, else held until there is something to say.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>, slot: u32, conn: ConnKey, origin: Option<&str>) {
        let bytes_max = self.config.socketio.max_payload_bytes;
        let Some(engine) = self.engines.get_mut(slot as usize) else { return };
        let version = engine.version;
        let Some(polling) = engine.polling() else { return };
        let binary = polling.binary;
        if polling.get.is_some() {
            self.close_engine(cx, slot, Reason::ConnectionFailed, Told::Close);
            let refusal = self.site.error(HandshakeError::BadRequest, origin);
            return cx.io.respond(conn, refusal);
        }
        if polling.is_upgrading() {
            let mut payload = PayloadWriter::new(version, binary);
            payload.push(&Packet::Noop);
            return cx.io.respond(conn, self.site.packets(payload.finish(), origin, None));
        }
        cx.io.hold(conn, owner(slot));
        let payload = PayloadWriter::new(version, binary);
        let mut get = Get { conn, payload, packets: 0, origin: origin.map(Box::from), listed: false };
        while !get.is_full(bytes_max) && !polling.queue.is_empty() {
            let rest = get.take(polling.queue.remove(0));
            polling.queue.insert_many(0, rest);
        }
        if get.is_full(bytes_max) {
            return self.respond_to(cx, get);
        }
        get.listed = get.packets > 0;
        if get.listed {
            self.answers.push(slot);
        }
        polling.get = Some(get);
        self.resume_engine(cx, slot);
    }

    /// The head of a POST has come, its content has not. A second one ends the session here; that its own answer is a
    /// 400 follows when it is complete.
    pub(in crate::front) fn begins(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        head: &Head<'_>,
    ) -> Option<Owner> {
        let query = Query::read(head.query);
        if head.method != "POST" || head.websocket || query.transport() != Ok(Transport::Polling) {
            return None;
        }
        let sid = query.sid().ok().flatten()?;
        let slot = self.slot_of(cx, &sid)?;
        let polling = self.engine_mut(slot)?.polling()?;
        if polling.has_other_post(conn) {
            self.close_engine(cx, slot, Reason::ConnectionFailed, Told::Close);
            return None;
        }
        polling.reading = Some(conn);
        Some(owner(slot))
    }

    /// A POST: every packet in order, then `ok`.
    pub(super) fn post(&mut self, cx: &mut Cx<'_>, slot: u32, conn: ConnKey, request: &Request<'_>) {
        let origin = request.head.header("origin");
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        polling.reading.take_if(|reading| *reading == conn);
        let outcome = if polling.has_other_post(conn) {
            self.close_engine(cx, slot, Reason::ConnectionFailed, Told::Close);
            Err(HandshakeError::BadRequest)
        } else if self.post_packets(cx, slot, request).is_err() {
            self.close_engine(cx, slot, Reason::Malformed, Told::Close);
            Err(HandshakeError::BadRequest)
        } else if self.hold_post(cx, slot, conn, origin) {
            return;
        } else {
            Ok(())
        };
        self.answer_post(cx, Post { conn, origin: origin.map(Box::from) }, outcome);
    }

    /// Ends early, without an error, when a packet ends the session or moves it.
    fn post_packets(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        request: &Request<'_>,
    ) -> Result<(), PayloadError> {
        let Some(engine) = self.engine(slot) else { return Ok(()) };
        let version = engine.version;
        let form = payload_form(version, &request.head).ok_or(PayloadError::NotUtf8)?;
        let mut packets = Packets::new(form, request.body, PACKETS_MAX)?;
        while let Some(packet) = packets.next() {
            let packet = packet?;
            self.engine_packet(cx, slot, &packet);
            match self.engine(slot).map(|engine| &engine.carrier) {
                Some(Carrier::Polling(_)) => {}
                Some(Carrier::Moved(to)) => {
                    let to = *to;
                    self.forward_rest(cx, slot, to, packets);
                    break;
                }
                Some(Carrier::WebSocket(_) | Carrier::Over(_)) | None => break,
            }
        }
        Ok(())
    }

    /// Sends a packet: at once on a WebSocket, else with the waiting or the next GET. The waiting GET is answered at the
    /// end of the turn, or now when its payload has what a client takes at once.
    pub(super) fn send_own(&mut self, cx: &mut Cx<'_>, slot: u32, packet: Queued) {
        let bytes_max = self.config.socketio.max_payload_bytes;
        let Some(engine) = self.engines.get_mut(slot as usize) else { return };
        let version = engine.version;
        let upgrading = engine.polling().is_some_and(|polling| polling.is_upgrading());
        match &mut engine.carrier {
            Carrier::WebSocket(conn) => {
                let conn = *conn;
                cx.io.stage(conn, &packet.frames(version));
            }
            Carrier::Polling(polling) => match &mut polling.get {
                Some(get) if !upgrading => {
                    polling.queue.extend(get.take(packet));
                    if get.is_full(bytes_max) {
                        self.answer(cx, slot);
                    } else if !std::mem::replace(&mut get.listed, true) {
                        self.answers.push(slot);
                    }
                }
                _ if polling.queue.len() < QUEUE_MAX => polling.queue.push(packet),
                _ => self.close_engine(cx, slot, Reason::SlowConsumer, Told::Close),
            },
            Carrier::Moved(_) | Carrier::Over(_) => {}
        }
    }

    /// Answers every GET that has something to say; called once at the end of a turn.
    pub(in crate::front) fn answer_polls(&mut self, cx: &mut Cx<'_>) {
        while let Some(slot) = self.answers.pop() {
            self.answer(cx, slot);
        }
    }

    /// Answers the waiting GET with what is in its payload, if anything is.
    pub(super) fn answer(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        let Some(get) = polling.get.take_if(|get| !get.payload.is_empty()) else { return };
        self.respond_to(cx, get);
        self.pause_engine(cx, slot);
    }

    /// Ends the waiting GET with one more packet.
    pub(super) fn answer_with(&mut self, cx: &mut Cx<'_>, mut get: Get, packet: &Packet<'_>) {
        get.payload.push(packet);
        self.respond_to(cx, get);
    }

    /// Ends the waiting GET with what is in its payload.
    pub(super) fn respond_to(&self, cx: &mut Cx<'_>, get: Get) {
        let response = self.site.packets(get.payload.finish(), get.origin.as_deref(), None);
        cx.io.respond(get.conn, response);
    }

    /// The transport can take more: what waits in the hub follows, until the payload or the socket is full.
    pub(super) fn resume_engine(&mut self, cx: &mut Cx<'_>, slot: u32) {
        for tag in self.tags_of_engine(slot) {
            self.resume(cx, tag);
        }
    }

    /// As [`Self::resume_engine`], for one socket.
    pub(super) fn resume(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.socket(tag) else { return };
        let (slot, session) = (socket.engine, socket.session);
        if self.can_take(cx, slot) && socket.stage != super::socket::Stage::Opening {
            self.apply(cx, Command::Resume { session, budget: BUDGET });
        }
    }

    /// The transport can take nothing now.
    pub(super) fn pause_engine(&mut self, cx: &mut Cx<'_>, slot: u32) {
        for tag in self.tags_of_engine(slot) {
            let Some(socket) = self.socket(tag) else { continue };
            if socket.stage != super::socket::Stage::Opening {
                self.apply(cx, Command::Pause(socket.session));
            }
        }
    }

    /// Whether the transport can take a message.
    fn can_take(&self, cx: &Cx<'_>, slot: u32) -> bool {
        match self.engine(slot).map(|engine| &engine.carrier) {
            Some(Carrier::WebSocket(conn)) => cx.io.is_writable(*conn),
            Some(Carrier::Polling(polling)) => {
                let bytes_max = self.config.socketio.max_payload_bytes;
                !polling.is_upgrading() && polling.get.as_ref().is_some_and(|get| !get.is_full(bytes_max))
            }
            Some(Carrier::Moved(_) | Carrier::Over(_)) | None => false,
        }
    }
}

/// How a POST carries its packets; `None` for raw bytes in revision 4, which has no such form.
fn payload_form(version: Version, head: &Head<'_>) -> Option<PayloadForm> {
    let raw = head.header("content-type").is_some_and(|kind| kind.starts_with("application/octet-stream"));
    match (version, raw) {
        (Version::V4, false) => Some(PayloadForm::V4),
        (Version::V4, true) => None,
        (Version::V3, false) => Some(PayloadForm::V3Text),
        (Version::V3, true) => Some(PayloadForm::V3Binary),
    }
}

impl Get {
    /// Whether it is to be answered now.
    fn is_full(&self, bytes_max: usize) -> bool {
        self.packets >= ANSWER_PACKETS_MAX || self.payload.len() >= bytes_max
    }

    /// Appends what the answer has room for and gives back the rest.
    fn take(&mut self, packet: Queued) -> Option<Queued> {
        let (now, rest) = packet.split(ANSWER_PACKETS_MAX.saturating_sub(self.packets));
        self.packets += now.packets();
        match &now {
            Queued::Ping => self.payload.push(&Packet::Ping("")),
            Queued::Pong => self.payload.push(&Packet::Pong("")),
            Queued::Message(encoded) => encoded.write_payload(&mut self.payload),
        }
        rest
    }
}

impl Queued {
    /// How many Engine.IO packets it is.
    fn packets(&self) -> usize {
        match self {
            Self::Ping | Self::Pong => 1,
            Self::Message(encoded) => encoded.frames().count(),
        }
    }

    /// Its first packets, at most `room`, which is not 0; and the others: the attachments that have no room.
    fn split(self, room: usize) -> (Self, Option<Self>) {
        let over = self.packets().saturating_sub(room);
        match self {
            Self::Message(mut encoded) if over > 0 => {
                let attachments = encoded.attachments.split_off(encoded.attachments.len() - over);
                let rest = Self::Message(Encoded { text: Bytes::new(), attachments });
                (Self::Message(encoded), Some(rest))
            }
            whole => (whole, None),
        }
    }
}
