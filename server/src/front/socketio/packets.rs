//! Packets from clients: Engine.IO's, then Socket.IO's inside them.
//!
//! Owns what each packet leads to and which ones are against the rules. Must not know how bytes were framed.
//! Start at [`SocketIo::engine_packet`].

use bytes::Bytes;
use hub::{AskId, Body, Command, Except, Publish, Quality, Reason, Receipt, Target, Traits};
use wire::engineio::{Packet, Version};
use wire::socketio::{AckId, Encoded, Kind, Violation};
use wire::values::Values;

use super::SocketIo;
use super::ending::Told;
use super::engine::{Consumer, Queued};
use super::socket::Stage;
use crate::auth::May;
use crate::config::EventRoute;
use crate::front::copies::{self, ClientEvent, Way};
use crate::front::message_id;
use crate::mail::{PeerMail, Upcall};
use crate::shard::Cx;

impl SocketIo {
    /// One Engine.IO packet of an established session, whichever transport brought it.
    pub(super) fn engine_packet(&mut self, cx: &mut Cx<'_>, slot: u32, packet: &Packet<'_>) {
        let Some(engine) = self.engine(slot) else { return };
        match (packet, engine.version) {
            (Packet::Text(text), _) => self.text_message(cx, slot, text),
            (Packet::Binary(data), _) => self.binary_message(cx, slot, data),
            (Packet::Pong(_), Version::V4) => self.heard(cx, slot),
            (Packet::Ping(_), Version::V3) => {
                self.heard(cx, slot);
                self.send_own(cx, slot, Queued::Pong);
            }
            // A heartbeat of the wrong direction.
            (Packet::Ping(_), Version::V4) | (Packet::Pong(_), Version::V3) => {
                self.close_engine(cx, slot, Reason::ConnectionFailed, Told::Close);
            }
            (Packet::Close, _) => self.close_engine(cx, slot, Reason::ConnectionClosed, Told::Noop),
            (Packet::Open(_) | Packet::Upgrade | Packet::Noop, _) => {}
        }
    }

    fn heard(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let (now, times) = (cx.io.now(), self.times);
        if let Some(engine) = self.engine_mut(slot) {
            engine.beat.heard(now, &times);
        }
        self.arm(cx, slot);
    }

    fn text_message(&mut self, cx: &mut Cx<'_>, slot: u32, text: &str) {
        self.charge(cx, slot, text.len());
        let Some(engine) = self.engines.get_mut(slot as usize) else { return };
        if engine.consumer == Consumer::Echo {
            let text = Bytes::from(format!("4{text}"));
            return self.send_own(cx, slot, Queued::Message(Encoded { text, attachments: Vec::new() }));
        }
        let packet = engine.decoder.text(text, &self.limits);
        self.decoded(cx, slot, packet);
    }

    fn binary_message(&mut self, cx: &mut Cx<'_>, slot: u32, data: &[u8]) {
        self.charge(cx, slot, data.len());
        let Some(engine) = self.engines.get_mut(slot as usize) else { return };
        if engine.consumer == Consumer::Echo {
            let attachments = vec![Bytes::copy_from_slice(data)];
            return self.send_own(cx, slot, Queued::Message(Encoded { text: Bytes::new(), attachments }));
        }
        let packet = engine.decoder.binary(data, &self.limits);
        self.decoded(cx, slot, packet);
    }

    /// A violation ends the whole connection.
    fn decoded(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        packet: Result<Option<wire::socketio::Packet>, Violation>,
    ) {
        match packet {
            Ok(Some(packet)) => self.packet(cx, slot, packet),
            Ok(None) => {}
            Err(violation) => {
                tracing::debug!(%violation, "packet refused");
                self.close_engine(cx, slot, Reason::Misbehaved, Told::Close);
            }
        }
    }

    fn packet(&mut self, cx: &mut Cx<'_>, slot: u32, packet: wire::socketio::Packet) {
        let namespace = packet.namespace.as_str();
        let kind = match packet.kind {
            Kind::Connect(auth) => return self.connect(cx, slot, namespace, auth),
            kind => kind,
        };
        let joined = self.socket_in(slot, namespace).filter(|&tag| self.stage_of(tag) == Some(Stage::Joined));
        match (joined, kind) {
            (Some(tag), Kind::Event { id, values }) => self.event(cx, tag, id, values),
            (Some(tag), Kind::Ack { id, values }) => self.reply(cx, tag, id, values),
            (Some(tag), Kind::Disconnect) => self.end_session(cx, tag, Reason::ClientLeft),
            // Not connected to it, or not answered yet; CONNECT_ERROR never gets here from a client.
            (None, _) | (_, Kind::Connect(_) | Kind::ConnectError(_)) => {
                self.close_engine(cx, slot, Reason::Misbehaved, Told::Close);
            }
        }
    }

    /// The socket of an engine session in a namespace: a walk over its few sockets.
    pub(super) fn socket_in(&self, slot: u32, namespace: &str) -> Option<u32> {
        self.tags_of_engine(slot).into_iter().find(|&tag| {
            let socket = self.socket(tag);
            socket.is_some_and(|socket| *self.namespaces.known(socket.variant.namespace).name == *namespace)
        })
    }

    fn stage_of(&self, tag: u32) -> Option<Stage> {
        self.socket(tag).map(|socket| socket.stage)
    }

    fn event(&mut self, cx: &mut Cx<'_>, tag: u32, request: Option<AckId>, values: Values) {
        let pending_max = self.config.limits.pending_acks_in_max;
        let Some(socket) = self.sockets.get_mut(tag as usize) else { return };
        let namespace = self.namespaces.known(socket.variant.namespace);
        let (session, route) = (socket.id, namespace.events);
        let name = std::sync::Arc::clone(&namespace.name);
        let request = request.map(|id| id.0);
        if let Some(number) = request
            && route != EventRoute::Drop
        {
            socket.open_request(number, pending_max);
        }
        match route {
            EventRoute::BackEnd => cx.io.upcall(Upcall::Event { session, namespace: name, values, request }),
            EventRoute::Relay if self.is_asked(tag) => self.wait_behind(tag, values, request),
            EventRoute::Relay => self.relay(cx, tag, &values, request),
            EventRoute::Queue => self.put_into_queue(cx, tag, &values, request),
            EventRoute::Drop => {}
        }
    }

    /// Puts an event into the queue of its namespace, and acknowledges it when it is safe there.
    fn put_into_queue(&mut self, cx: &mut Cx<'_>, tag: u32, values: &Values, request: Option<u64>) {
        let Some(socket) = self.socket(tag) else { return };
        let Some(event) = values.as_event() else { return };
        let namespace = self.namespaces.known(socket.variant.namespace);
        let Some(queue) = &namespace.queue else { return };
        let (json, attachments) = event.args().into_parts();
        let id = message_id(cx);
        let event = ClientEvent {
            session: socket.id,
            protocol: "socketio",
            namespace: &namespace.name,
            channel: &namespace.channel,
            name: event.name.as_str(),
            args: Body::Values { json, attachments },
            request,
        };
        copies::of_event(cx, id, queue, &event);
    }

    /// Publishes an event to the others of its namespace. It is acknowledged by the channel's home, once it is kept wherever
    /// it is to be kept; one that is refused there is not.
    pub(super) fn relay(&mut self, cx: &mut Cx<'_>, tag: u32, values: &Values, request: Option<u64>) {
        let Some(socket) = self.socket(tag) else { return };
        let Some(event) = values.as_event() else { return };
        let (session, channel) = (socket.id, &self.namespaces.known(socket.variant.namespace).channel);
        let may = self.may_publish(cx, tag, channel.as_str());
        if may == May::No {
            return self.drop_event(tag, request);
        }
        let (json, attachments) = event.args().into_parts();
        // Who sent it, for whoever takes it out of a queue.
        let is_bound = copies::may_be(cx);
        let user = is_bound.then(|| cx.hub.hub.user_of(&session)).flatten();
        let origin = is_bound.then_some(session);
        // An acknowledgement means that it is kept for whoever can be sent it again.
        let quality = if request.is_some() { Quality::AtLeastOnce } else { Quality::AtMostOnce };
        let publish = Box::new(Publish {
            id: message_id(cx),
            target: Target::Channel(channel.clone()),
            event: Some(event.name.as_str().into()),
            body: Body::Values { json, attachments },
            volatile: false,
            except: Some(Box::new(Except { sessions: vec![session], channels: Vec::new() })),
            reply_within_ms: None,
            token: None,
            traits: Traits { quality, origin, user, way: Way::SocketIo as u8, ..Traits::default() },
            receipt: request.map(|request| Receipt::Request { shard: self.shard, session, request }),
        });
        match may {
            May::Ask => self.ask_about_event(cx, tag, publish),
            May::Yes | May::No => self.send_off(cx, publish),
        }
    }

    /// There is no word for a refusal but the silence that a client's time-out is for.
    pub(super) fn drop_event(&mut self, tag: u32, request: Option<u64>) {
        tracing::debug!("an event was dropped: its client may not publish");
        if let (Some(request), Some(socket)) = (request, self.socket_mut(tag)) {
            socket.close_request(request);
        }
    }

    /// To the home of its channel.
    pub(super) fn send_off(&mut self, cx: &mut Cx<'_>, publish: Box<Publish>) {
        let Target::Channel(channel) = &publish.target else { return };
        let home = channel.home(&self.topology);
        if home == self.shard {
            self.apply(cx, Command::Publish(publish));
        } else {
            cx.io.post(home, PeerMail::Publish(publish));
        }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, tag: u32, id: AckId, values: Values) {
        let Some(socket) = self.socket(tag) else { return };
        let (json, attachments) = values.into_parts();
        let body = Body::Values { json, attachments };
        self.apply(cx, Command::Reply { session: socket.session, ask: AskId(id.0), body });
    }
}
