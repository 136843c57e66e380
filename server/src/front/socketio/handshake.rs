//! New engine sessions.
//!
//! Owns the open packet, the first deadlines and who is turned away before there is a session.
//! Start at [`SocketIo::open`].

use std::sync::Arc;

use hub::Millis;
use wire::engineio::{
    BinaryAs, Handshake, HandshakeError, Packet, PayloadWriter, Transport, Upgrades, Version,
};
use wire::http::Head;
use wire::websocket::text_frame;

use super::engine::{Beat, Carrier, Consumer, Engine, Polling};
use super::sid::{Secret, Sid};
use super::{SocketIo, owner, query};
use crate::shard::{ConnKey, Cx, Response};

/// A handshake whose parameters were checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) conn: ConnKey,
    pub(super) transport: Transport,
    pub(super) version: Version,
    pub(super) binary: BinaryAs,
}

impl SocketIo {
    /// Makes a session and answers with its open packet, or says why there is none.
    pub(super) fn open(&mut self, cx: &mut Cx<'_>, head: &Head<'_>, opening: Opening) {
        if let Some(response) = self.turned_away(cx, opening.conn, head) {
            let response = if head.websocket { response.closing() } else { response };
            return cx.io.respond(opening.conn, response);
        }
        match opening.transport {
            Transport::Polling => self.open_polling(cx, head, opening),
            Transport::WebSocket => self.open_websocket(cx, head, opening),
        }
    }

    fn turned_away(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Option<Response> {
        let origin = head.header("origin");
        let limits = &self.config.limits;
        let full = self.sockets.len().max(self.engines.len()) >= limits.sessions_max as usize
            || self.unjoined >= limits.unjoined_max;
        if self.drain.is_some() || full {
            return Some(self.site.unavailable(origin));
        }
        if !cx.io.allow_handshake(conn) {
            return Some(self.site.too_many(origin));
        }
        let too_long = query::kept_bytes(head.query) > limits.handshake_bytes_max;
        too_long.then(|| self.site.query_too_long(origin))
    }

    fn open_polling(&mut self, cx: &mut Cx<'_>, head: &Head<'_>, opening: Opening) {
        let carrier = Carrier::Polling(Box::new(Polling::new(opening.binary)));
        let slot = self.add_engine(cx, head, opening, carrier);
        let sid = self.sid_of(slot);
        let upgrades = if self.config.socketio.transports.allow_upgrade() {
            Upgrades::WebSocket
        } else {
            Upgrades::None
        };
        let mut payload = PayloadWriter::new(opening.version, opening.binary);
        payload.push(&Packet::Open(&self.open_data(&sid, upgrades)));
        let response = self.site.packets(payload.finish(), head.header("origin"), Some(&sid));
        cx.io.respond(opening.conn, response);
        self.begin(cx, slot);
    }

    fn open_websocket(&mut self, cx: &mut Cx<'_>, head: &Head<'_>, opening: Opening) {
        let conn = opening.conn;
        let Ok(accept) = wire::websocket::accept(head) else {
            let refusal = self.site.error(HandshakeError::BadRequest, head.header("origin"));
            return cx.io.respond(conn, refusal.closing());
        };
        let slot = self.add_engine(cx, head, opening, Carrier::WebSocket(conn));
        let mut answer = Vec::new();
        accept.respond(None, &mut answer);
        cx.io.upgrade_websocket(conn, owner(slot), answer, self.message_bytes_max(slot));
        let data = self.open_data(&self.sid_of(slot), Upgrades::None);
        cx.io.stage(conn, &text_frame(&[b"0", data.as_bytes()]));
        self.begin(cx, slot);
    }

    fn add_engine(&mut self, cx: &mut Cx<'_>, head: &Head<'_>, opening: Opening, carrier: Carrier) -> u32 {
        let now = cx.io.now();
        let beat = Beat::start(opening.version, now, &self.times);
        let mut engine = Engine::new(Secret(cx.io.random()), carrier, opening.version, beat);
        if self.echoes(head.path) {
            engine.consumer = Consumer::Echo;
        } else {
            engine.join_by = Some(Millis(now.0 + self.config.socketio.connect_timeout_ms));
            let mut facts = query::facts(head, &self.config);
            if !facts.query.is_empty() || !facts.headers.is_empty() {
                facts.remote = cx.io.peer_addr(opening.conn);
                facts.secure = cx.io.is_secure(opening.conn);
                engine.handshake = Some(Arc::new(facts));
            }
        }
        self.unjoined += usize::from(engine.is_unjoined());
        u32::try_from(self.engines.insert(engine)).expect("fewer sessions than 32 bits count")
    }

    /// Sets the timer; a client of revision 3 is in `/` without asking.
    fn begin(&mut self, cx: &mut Cx<'_>, slot: u32) {
        self.arm(cx, slot);
        let Some(engine) = self.engine(slot) else { return };
        if engine.version == Version::V3 && engine.consumer == Consumer::SocketIo {
            self.connect(cx, slot, "/", None);
        }
    }

    /// The text of a sid of this shard. A session that moved here keeps the sid the client knows, which is not this.
    fn sid_of(&self, slot: u32) -> String {
        let secret = self.engine(slot).map_or(Secret([0; 16]), |engine| engine.secret);
        Sid { node: self.config.server.node_id, shard: self.shard, slot, secret }.text()
    }

    fn open_data(&self, sid: &str, upgrades: Upgrades) -> String {
        let handshake = Handshake {
            sid: sid.into(),
            upgrades,
            ping_interval_ms: self.times.interval_ms,
            ping_timeout_ms: self.times.timeout_ms,
            max_payload_bytes: Some(self.config.socketio.max_payload_bytes as u64),
        };
        let mut data = String::new();
        handshake.write_json(&mut data);
        data
    }

    /// Largest WebSocket message of a session; beyond it close code 1009.
    pub(super) fn message_bytes_max(&self, slot: u32) -> u32 {
        let bytes = match self.engine(slot) {
            Some(engine) if !engine.has_to_join() => self.config.socketio.max_payload_bytes,
            _ => self.connect_bytes_max(),
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// Most bytes that a client may send at once before it has joined.
    pub(super) fn connect_bytes_max(&self) -> usize {
        self.config.limits.connect_bytes_max.min(self.config.socketio.max_payload_bytes)
    }
}
