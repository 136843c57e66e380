//! Requests: which shard they belong to, and what they are.
//!
//! Owns the order of the checks, which decides the error a client gets. Must not know how a call is carried out.
//! Start at [`SocketIo::request`].

use hub::ShardId;
use wire::engineio::{HandshakeError, Transport};
use wire::http::{BodyLength, Head};

use super::SocketIo;
use super::engine::{Carrier, Due, Engine};
use super::handshake::Opening;
use super::query::Query;
use super::sid::Sid;
use crate::shard::{ConnKey, Cx, Request, Response};

/// What a request asks for.
enum Call {
    /// A new session.
    Open(Opening),
    /// Packets, of this engine session.
    Poll(u32),
    /// It brings packets.
    Post(u32),
    /// A WebSocket that may become the transport.
    Probe(u32),
    /// A WebSocket for a session that has one. It is opened and closed at once, as clients expect it.
    SecondWebSocket,
}

impl SocketIo {
    /// The shard a request belongs to: the one that made its sid, or the one the session moved to.
    pub(in crate::front) fn route(&self, head: &Head<'_>) -> ShardId {
        if !self.serves(head.path) {
            return self.shard;
        }
        let Ok(Some(sid)) = Query::read(head.query).sid() else { return self.shard };
        if sid.node != self.config.server.node_id || self.adopted.contains_key(&(sid.shard.0, sid.slot)) {
            return self.shard;
        }
        if sid.shard != self.shard {
            return if sid.shard.0 < self.topology.shards { sid.shard } else { self.shard };
        }
        match self.engine(sid.slot) {
            Some(engine) if engine.secret.matches(&sid.secret) => match engine.carrier {
                Carrier::Moved(to) => to,
                Carrier::WebSocket(_) | Carrier::Polling(_) | Carrier::Over(_) => self.shard,
            },
            _ => self.shard,
        }
    }

    /// Most bytes of a request's body; beyond it 413. Only a session that has joined may send much. A small body is
    /// read whatever the request is, so that the connection can stay.
    ///
    /// # Errors
    /// The answer to a request that is refused, before a larger body is read.
    pub(in crate::front) fn body_bytes_max(&self, head: &Head<'_>) -> Result<usize, Box<Response>> {
        let small = self.connect_bytes_max();
        if matches!(head.body, BodyLength::None)
            || matches!(head.body, BodyLength::Length(bytes) if bytes <= small as u64)
            || head.method == "OPTIONS"
        {
            return Ok(small);
        }
        match self.posting(head) {
            Ok(engine) if engine.has_to_join() => Ok(small),
            Ok(_) => Ok(self.config.socketio.max_payload_bytes),
            Err(error) => Err(Box::new(self.site.error(error, head.header("origin")))),
        }
    }

    /// The session that a request with a body brings packets for.
    fn posting(&self, head: &Head<'_>) -> Result<&Engine, HandshakeError> {
        let query = Query::read(head.query);
        let transport = self.transport(&query, head)?;
        let sid = query.sid()?.ok_or(HandshakeError::BadHandshakeMethod)?;
        let slot = self.slot_here(&sid).ok_or(HandshakeError::UnknownSid)?;
        let polls = |engine: &&Engine| matches!(engine.carrier, Carrier::Polling(_));
        let posts = head.method == "POST" && transport == Transport::Polling && !head.websocket;
        self.engine(slot).filter(polls).filter(|_| posts).ok_or(HandshakeError::BadRequest)
    }

    /// The transport asked for, if this listener serves it to this origin.
    fn transport(&self, query: &Query<'_>, head: &Head<'_>) -> Result<Transport, HandshakeError> {
        let transport = query.transport()?;
        if !self.allows(transport) {
            return Err(HandshakeError::UnknownTransport);
        }
        if head.websocket && !self.site.allows_origin(head.header("origin")) {
            return Err(HandshakeError::BadRequest);
        }
        Ok(transport)
    }

    /// Carries out a request.
    pub(in crate::front) fn request(&mut self, cx: &mut Cx<'_>, conn: ConnKey, request: &Request<'_>) {
        let head = &request.head;
        let origin = head.header("origin");
        if let Some(response) = self.site.preflight(head) {
            return cx.io.respond(conn, response);
        }
        match self.call(cx, conn, head) {
            Ok(Call::Open(opening)) => self.open(cx, head, opening),
            Ok(Call::Poll(slot)) => self.poll(cx, slot, conn, origin),
            Ok(Call::Post(slot)) => self.post(cx, slot, conn, request),
            Ok(Call::Probe(slot)) => self.probe(cx, slot, conn, head),
            Ok(Call::SecondWebSocket) => self.second_websocket(cx, conn, head),
            Err(error) => {
                let response = self.site.error(error, origin);
                let response = if head.websocket { response.closing() } else { response };
                cx.io.respond(conn, response);
            }
        }
    }

    fn call(&mut self, cx: &mut Cx<'_>, conn: ConnKey, head: &Head<'_>) -> Result<Call, HandshakeError> {
        let query = Query::read(head.query);
        let transport = self.transport(&query, head)?;
        match query.sid()? {
            Some(sid) => self.call_of_session(cx, head, transport, &sid),
            None if head.method != "GET" => Err(HandshakeError::BadHandshakeMethod),
            None if head.websocket != (transport == Transport::WebSocket) => Err(HandshakeError::BadRequest),
            None => {
                let version = query.version(&self.config.socketio)?;
                Ok(Call::Open(Opening { conn, transport, version, binary: query.binary_as(version) }))
            }
        }
    }

    fn call_of_session(
        &mut self,
        cx: &mut Cx<'_>,
        head: &Head<'_>,
        transport: Transport,
        sid: &Sid,
    ) -> Result<Call, HandshakeError> {
        let slot = self.slot_of(cx, sid).ok_or(HandshakeError::UnknownSid)?;
        let polling = self.engine_mut(slot).and_then(|engine| engine.polling());
        let probing = polling.as_ref().is_some_and(|polling| polling.probe.is_some());
        match (head.websocket, transport, polling.is_some()) {
            (true, Transport::WebSocket, true) if !probing => Ok(Call::Probe(slot)),
            (true, Transport::WebSocket, _) => Ok(Call::SecondWebSocket),
            (false, Transport::Polling, true) if head.method == "GET" => Ok(Call::Poll(slot)),
            (false, Transport::Polling, true) if head.method == "POST" => Ok(Call::Post(slot)),
            _ => Err(HandshakeError::BadRequest),
        }
    }

    /// The live session of a sid. One whose heartbeat is overdue ends here, even if its timer has not fired.
    pub(super) fn slot_of(&mut self, cx: &mut Cx<'_>, sid: &Sid) -> Option<u32> {
        let slot = self.slot_here(sid)?;
        (self.beat(cx, slot) != Due::Dead).then_some(slot)
    }

    /// The session of a sid, if it lives here.
    fn slot_here(&self, sid: &Sid) -> Option<u32> {
        if sid.node != self.config.server.node_id {
            return None;
        }
        let slot = match self.adopted.get(&(sid.shard.0, sid.slot)) {
            Some(&slot) => slot,
            None if sid.shard == self.shard => sid.slot,
            None => return None,
        };
        let known = |engine: &&Engine| engine.secret.matches(&sid.secret) && engine.is_here();
        self.engine(slot).filter(known).map(|_| slot)
    }

    pub(super) fn allows(&self, transport: Transport) -> bool {
        let transport = match transport {
            Transport::Polling => crate::config::Transport::Polling,
            Transport::WebSocket => crate::config::Transport::WebSocket,
        };
        self.config.socketio.transports.allow(transport)
    }
}
