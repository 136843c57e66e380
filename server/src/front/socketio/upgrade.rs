//! WebSockets: the upgrade from polling, frames of an established one, and its back pressure.
//!
//! Owns the steps between a probe and the switch. Must not know what messages say. Start at [`SocketIo::probe`].

use bytes::Bytes;
use hub::{Millis, Reason};
use wire::engineio::{HandshakeError, Packet, Version};
use wire::http::Head;
use wire::socketio::{Encoded, Frame};
use wire::websocket::{CloseCode, Event, Opcode, frame, frame_header, text_frame};

use super::ending::Told;
use super::engine::{Carrier, Engine, Probe, ProbeState, Queued};
use super::{SocketIo, owner};
use crate::shard::{Closed, ConnKey, Cx, Owner};

/// Complete frames of single packets.
const PING_FRAME: &[u8] = &[0x81, 1, b'2'];
const PONG_FRAME: &[u8] = &[0x81, 1, b'3'];
/// A close frame without a code, as the reference sends it.
const CLOSE_FRAME: &[u8] = &[0x88, 0];

impl SocketIo {
    /// A WebSocket for a polling session: it becomes the transport when the client has probed it.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>, slot: u32, conn: ConnKey, head: &Head<'_>) {
        let Ok(accept) = wire::websocket::accept(head) else {
            let refusal = self.site.error(HandshakeError::BadRequest, head.header("origin"));
            return cx.io.respond(conn, refusal.closing());
        };
        let by = Millis(cx.io.now().0 + self.config.socketio.upgrade_timeout_ms);
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        polling.probe = Some(Probe { conn, state: ProbeState::Silent, by });
        let mut answer = Vec::new();
        accept.respond(None, &mut answer);
        // What a probe says is short, and the session may end before the WebSocket is its transport.
        let bytes_max = self.message_bytes_max(super::engine::NONE);
        cx.io.upgrade_websocket(conn, owner(slot), answer, bytes_max);
        self.arm(cx, slot);
    }

    /// Opens a WebSocket only to close it: clients wait for `close`, which an HTTP refusal would not give them.
    pub(super) fn second_websocket(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) {
        let Ok(accept) = wire::websocket::accept(head) else {
            let refusal = self.site.error(HandshakeError::BadRequest, head.header("origin"));
            return cx.io.respond(conn, refusal.closing());
        };
        let mut answer = Vec::new();
        accept.respond(None, &mut answer);
        let bytes_max = self.message_bytes_max(super::engine::NONE);
        cx.io.upgrade_websocket(conn, Owner::NOBODY, answer, bytes_max);
        close_websocket(cx, conn, None);
    }

    /// A message on a WebSocket.
    pub(in crate::front) fn message(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnKey,
        owner: Owner,
        event: Event<'_>,
    ) {
        let slot = owner.index();
        let Some(engine) = self.engine(slot) else { return };
        let version = engine.version;
        let packet = match &event {
            Event::Text(text) => Packet::from_text(version, text).map(Some),
            Event::Binary(data) => Ok(Packet::from_binary_frame(version, data)),
            Event::Ping(_) | Event::Pong(_) | Event::Close { .. } => return,
        };
        match (&engine.carrier, packet) {
            (Carrier::WebSocket(own), Ok(Some(packet))) if *own == conn => {
                self.engine_packet(cx, slot, &packet)
            }
            (Carrier::WebSocket(own), Err(_)) if *own == conn => {
                self.close_engine(cx, slot, Reason::Malformed, Told::Close);
            }
            (Carrier::Polling(polling), packet) => {
                if let Some(probe) = polling.probe.filter(|probe| probe.conn == conn) {
                    self.probe_packet(cx, slot, probe, packet.ok().flatten());
                }
            }
            // The client has switched: now it notices.
            (Carrier::Over(own), _) if *own == conn => {
                self.close_engine(cx, slot, Reason::ConnectionClosed, Told::Close)
            }
            _ => {}
        }
    }

    /// `2probe`, then `5`; anything else ends the probe and polling goes on.
    fn probe_packet(&mut self, cx: &mut Cx<'_>, slot: u32, probe: Probe, packet: Option<Packet<'_>>) {
        match (probe.state, packet) {
            (ProbeState::Silent, Some(Packet::Ping("probe"))) => self.probe_answered(cx, slot, probe),
            (ProbeState::Answered, Some(Packet::Upgrade)) => self.upgraded(cx, slot, probe.conn),
            _ => {
                close_websocket(cx, probe.conn, None);
                self.probe_over(cx, slot);
            }
        }
    }

    /// From here to `5` messages stay queued; a waiting GET goes home at once.
    fn probe_answered(&mut self, cx: &mut Cx<'_>, slot: u32, probe: Probe) {
        cx.io.stage(probe.conn, &text_frame(&[b"3probe"]));
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        polling.probe = Some(Probe { state: ProbeState::Answered, ..probe });
        match polling.get.take() {
            Some(get) if get.payload.is_empty() => self.answer_with(cx, get, &Packet::Noop),
            Some(get) => self.respond_to(cx, get),
            None => {}
        }
        self.pause_engine(cx, slot);
    }

    /// The WebSocket is the transport now.
    fn upgraded(&mut self, cx: &mut Cx<'_>, slot: u32, conn: ConnKey) {
        let Some(engine) = self.engine_mut(slot) else { return };
        let old = std::mem::replace(&mut engine.carrier, Carrier::WebSocket(conn));
        let version = engine.version;
        if let Carrier::Polling(polling) = old {
            if let Some(post) = polling.post {
                self.answer_post(cx, post, Ok(()));
            }
            for queued in polling.queue {
                cx.io.stage(conn, &queued.frames(version));
            }
        }
        cx.io.limit_messages(conn, self.message_bytes_max(slot));
        for tag in self.tags_of_engine(slot) {
            if let Some(socket) = self.socket_mut(tag) {
                socket.conn = Some(conn);
            }
        }
        if self.engine(slot).is_some_and(Engine::is_paused) {
            cx.io.pause_reading(conn);
        }
        self.arm(cx, slot);
        self.resume_engine(cx, slot);
    }

    /// The probe failed; polling goes on.
    pub(super) fn probe_over(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        polling.probe = None;
        self.arm(cx, slot);
        self.resume_engine(cx, slot);
    }

    /// A connection of an engine session is gone.
    pub(in crate::front) fn closed(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner, why: Closed) {
        let slot = owner.index();
        match self.engine(slot).map(|engine| &engine.carrier) {
            Some(Carrier::WebSocket(own) | Carrier::Over(own)) if *own == conn => {
                self.close_engine(cx, slot, reason_of(why), Told::Nothing);
            }
            Some(Carrier::Polling(polling)) => {
                if polling.get.as_ref().is_some_and(|get| get.conn == conn) {
                    self.close_engine(cx, slot, Reason::ConnectionFailed, Told::Nothing);
                } else if polling.probe.is_some_and(|probe| probe.conn == conn) {
                    self.probe_over(cx, slot);
                } else if let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) {
                    // A held POST stays the one that is under way even if nobody waits for its answer: else a
                    // client that gives its POSTs up could send as many as it likes.
                    polling.reading.take_if(|reading| *reading == conn);
                }
            }
            Some(Carrier::WebSocket(_) | Carrier::Moved(_) | Carrier::Over(_)) | None => {}
        }
    }

    /// The socket takes no more: messages wait in the hub.
    pub(in crate::front) fn blocked(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        if self.engine(owner.index()).and_then(|engine| engine.websocket()) == Some(conn) {
            self.pause_engine(cx, owner.index());
        }
    }

    /// The socket takes more.
    pub(in crate::front) fn writable(&mut self, cx: &mut Cx<'_>, conn: ConnKey, owner: Owner) {
        if self.engine(owner.index()).and_then(|engine| engine.websocket()) == Some(conn) {
            self.resume_engine(cx, owner.index());
        }
    }
}

/// Why a session ends whose WebSocket is gone.
fn reason_of(why: Closed) -> Reason {
    match why {
        Closed::Peer => Reason::ConnectionClosed,
        Closed::Error | Closed::Violation(_) | Closed::Idle => Reason::ConnectionFailed,
        Closed::TooLong => Reason::SlowConsumer,
    }
}

/// Closes a WebSocket with what the back end says to its client, if it says something.
pub(super) fn close_with_words(cx: &mut Cx<'_>, conn: ConnKey, words: Option<&str>) {
    let Some(words) = words else { return close_websocket(cx, conn, None) };
    let mut bytes = Vec::new();
    wire::websocket::close_frame(CloseCode::NORMAL, words, &mut bytes);
    cx.io.stage(conn, &Bytes::from(bytes));
    cx.io.close_after_flush(conn);
}

/// Says goodbye on a WebSocket and closes it.
pub(super) fn close_websocket(cx: &mut Cx<'_>, conn: ConnKey, code: Option<CloseCode>) {
    let bytes = match code {
        None => Bytes::from_static(CLOSE_FRAME),
        Some(code) => {
            let mut bytes = Vec::new();
            wire::websocket::close_frame(code, "", &mut bytes);
            Bytes::from(bytes)
        }
    };
    cx.io.stage(conn, &bytes);
    cx.io.close_after_flush(conn);
}

/// An encoded packet as WebSocket frames in one piece, header and attachments contiguous, so that nothing can come
/// between them.
pub(super) fn frames(encoded: &Encoded, version: Version) -> Bytes {
    if encoded.attachments.is_empty() {
        return text_frame(&[&encoded.text]);
    }
    let prefix = version.websocket_binary_prefix();
    let mut bytes = Vec::with_capacity(encoded.len_bytes() + 16 * (encoded.attachments.len() + 1));
    for part in encoded.frames() {
        match part {
            Frame::Text(text) => frame(Opcode::Text, text, &mut bytes),
            Frame::Binary(data) => {
                bytes.extend_from_slice(frame_header(Opcode::Binary, prefix.len() + data.len()).as_ref());
                bytes.extend_from_slice(prefix);
                bytes.extend_from_slice(data);
            }
        }
    }
    Bytes::from(bytes)
}

impl Queued {
    /// Its WebSocket frames.
    pub(super) fn frames(&self, version: Version) -> Bytes {
        match self {
            Self::Ping => Bytes::from_static(PING_FRAME),
            Self::Pong => Bytes::from_static(PONG_FRAME),
            Self::Message(encoded) => frames(encoded, version),
        }
    }
}
