//! Everything that ends a session, a socket or the whole front.
//!
//! Owns the order: the client is told, the transport goes, then the hub and through it the back end hear of each
//! socket. Must not know why; the reason comes with the call. Start at [`SocketIo::close_engine`].

use std::sync::Arc;

use hub::{Command, Millis, Reason, SessionId, SessionKey};
use slab::Slab;
use wire::engineio::{HandshakeError, Packet};
use wire::socketio::Refusal;

use super::engine::{Carrier, Engine, NONE, Polling, ProbeState, Queued};
use super::migrate::Migration;
use super::reasons::{self, Farewell};
use super::socket::{Socket, Stage};
use super::upgrade::{close_websocket, close_with_words};
use super::{SocketIo, owner};
use crate::mail::{PeerMail, Speaks, Upcall};
use crate::shard::Cx;

/// What a client is told when its engine session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: there is nobody left to tell.
    Nothing,
    /// A waiting GET ends with `6`: the client closed the session itself.
    Noop,
    /// A WebSocket ends with a close frame; a waiting GET with `1` or, when the client is to come back, with 400:
    /// python-socketio takes `1` for its own wish and stays away.
    Close,
}

/// A shutdown in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    start: Millis,
    window_ms: u64,
}

impl Drain {
    /// When this session is closed. The secret is random, so it serves as the session's place in the window and
    /// costs no memory. What is over already ends as it would have.
    pub(super) fn at(&self, engine: &Engine) -> Millis {
        if matches!(engine.carrier, Carrier::Over(_)) {
            return engine.deadline();
        }
        Millis(self.start.0 + engine.secret.spread() % self.window_ms.max(1))
    }
}

impl SocketIo {
    /// Ends an engine session and with it all its sockets. Does nothing for one that is gone.
    pub(super) fn close_engine(&mut self, cx: &mut Cx<'_>, slot: u32, reason: Reason, told: Told) {
        let tags = self.tags_of_engine(slot);
        let Some(engine) = self.take_engine(cx, slot) else { return };
        if let Some((shard, slot)) = engine.origin {
            self.adopted.remove(&(shard.0, slot));
            let migration = Box::new(Migration::Ended { slot, secret: engine.secret });
            cx.io.post(shard, PeerMail::Engine { migration, connection: None });
        }
        self.part(cx, engine.carrier, told, reason);
        for tag in tags {
            let Some(socket) = self.socket_mut(tag) else { continue };
            socket.engine = NONE;
            socket.next = NONE;
            socket.conn = None;
            if socket.stage != Stage::Opening {
                let session = socket.session;
                self.apply(cx, Command::Detach { session, reason });
            }
        }
    }

    /// Takes an engine session away, or leaves its remains.
    fn take_engine(&mut self, cx: &mut Cx<'_>, slot: u32) -> Option<Engine> {
        let engine = self.engines.get_mut(slot as usize)?;
        self.unjoined -= usize::from(engine.is_unjoined());
        if let Some(remains) = engine.remains() {
            let engine = std::mem::replace(engine, remains);
            self.arm(cx, slot);
            return Some(engine);
        }
        let engine = self.engines.try_remove(slot as usize);
        if self.engines.is_empty() {
            self.engines = Slab::new();
        }
        cx.io.disarm(owner(slot));
        engine
    }

    fn part(&mut self, cx: &mut Cx<'_>, carrier: Carrier, told: Told, reason: Reason) {
        match (carrier, told) {
            (Carrier::Moved(_), _) | (Carrier::WebSocket(_) | Carrier::Over(_), Told::Nothing) => {}
            // Whoever does not read what it was sent will not read the goodbye either; what waits for it is freed.
            (Carrier::WebSocket(conn), _) if reason == Reason::SlowConsumer => cx.io.close(conn),
            (Carrier::WebSocket(conn) | Carrier::Over(conn), Told::Noop | Told::Close) => {
                let words = cx.hub.words.clone().filter(|_| reason == Reason::Disconnected);
                close_with_words(cx, conn, words.as_deref());
            }
            (Carrier::Polling(polling), told) => self.part_polling(cx, *polling, told, reason),
        }
    }

    fn part_polling(&mut self, cx: &mut Cx<'_>, mut polling: Polling, told: Told, reason: Reason) {
        if let Some(probe) = polling.probe.filter(|probe| probe.state == ProbeState::Silent) {
            close_websocket(cx, probe.conn, None);
        }
        if let Some(post) = polling.post.take() {
            self.answer_post(cx, post, Ok(()));
        }
        match (polling.get.take(), told) {
            (None, _) | (_, Told::Nothing) => {}
            (Some(get), Told::Noop) => self.answer_with(cx, get, &Packet::Noop),
            (Some(get), Told::Close) if !reasons::may_come_back(reason) => {
                self.answer_with(cx, get, &Packet::Close)
            }
            // What was said before the end is not lost: the 400 is the answer to the next GET then.
            (Some(get), Told::Close) if !get.payload.is_empty() => self.respond_to(cx, get),
            (Some(get), Told::Close) => {
                let refusal = self.site.error(HandshakeError::UnknownSid, get.origin.as_deref());
                cx.io.respond(get.conn, refusal);
            }
        }
    }

    /// Ends one session; its connection stays.
    pub(super) fn end_session(&mut self, cx: &mut Cx<'_>, tag: u32, reason: Reason) {
        if let Some(session) = self.socket(tag).map(|socket| socket.session) {
            self.apply(cx, Command::End { session, reason });
        }
    }

    /// The hub keeps the session for a client that may come back.
    pub(super) fn session_detached(&mut self, cx: &mut Cx<'_>, tag: u32, (reason, left_ms): (Reason, u64)) {
        self.let_go(cx, tag);
        self.forget_asked(cx, tag);
        if let Some(session) = self.socket(tag).map(|socket| socket.session) {
            self.bind_detached(tag, session);
        }
        let Some(socket) = self.remove_socket_kept(tag) else { return };
        let namespace = socket.variant.namespace;
        self.detached.insert(socket.session, (socket.id, namespace));
        let name = Arc::clone(&self.namespaces.known(namespace).name);
        cx.io.upcall(Upcall::Disconnected {
            session: socket.id,
            speaks: Speaks::SocketIo(name),
            reason,
            text: reasons::text(reason),
            resumable_ms: Some(left_ms),
        });
    }

    /// The session is gone. The client is told as the reason asks.
    pub(super) fn session_ended(&mut self, cx: &mut Cx<'_>, tag: u32, reason: Reason) {
        self.let_go(cx, tag);
        self.forget_asked(cx, tag);
        let Some(socket) = self.socket(tag) else { return };
        let (slot, key, session, variant) = (socket.engine, socket.session, socket.id, socket.variant);
        let is_joined = socket.stage == Stage::Joined;
        let namespace = Arc::clone(&self.namespaces.known(variant.namespace).name);
        self.old_pids.remove(&key);
        self.remove_socket(tag);
        if reason != Reason::Refused {
            cx.io.upcall(Upcall::Disconnected {
                session,
                speaks: Speaks::SocketIo(Arc::clone(&namespace)),
                reason,
                text: reasons::text(reason),
                resumable_ms: None,
            });
        }
        match reasons::farewell(reason) {
            Farewell::Nothing => self.joining_over(slot),
            Farewell::Goodbye(message) if !is_joined => {
                let words = cx.hub.words.clone().filter(|_| reason == Reason::Kicked);
                let message = words.as_deref().unwrap_or(message);
                self.refuse(cx, slot, &namespace, &Refusal::Denied { message, data: None });
                self.joining_over(slot);
            }
            Farewell::Goodbye(_) => {
                self.send_own(cx, slot, Queued::Message(variant.codec.disconnected(&namespace)));
                self.joining_over(slot);
            }
            Farewell::CloseTransport => self.close_engine(cx, slot, reason, Told::Close),
        }
    }

    /// A session that waited to be resumed is gone: its time is over, or somebody has ended it.
    pub(super) fn session_lapsed(
        &mut self,
        cx: &mut Cx<'_>,
        (key, session): (SessionKey, SessionId),
        reason: Reason,
    ) {
        self.old_pids.remove(&key);
        self.bound.remove(&key);
        let Some((_, namespace)) = self.detached.remove(&key) else { return };
        let name = Arc::clone(&self.namespaces.known(namespace).name);
        self.namespaces.leave(namespace);
        let (speaks, text) = (Speaks::SocketIo(name), reasons::text(reason));
        cx.io.upcall(Upcall::Expired { session, speaks, reason, text });
    }

    /// Takes a socket away: off its engine's list, out of its namespace.
    pub(super) fn remove_socket(&mut self, tag: u32) -> Option<Socket> {
        let socket = self.remove_socket_kept(tag)?;
        self.namespaces.leave(socket.variant.namespace);
        Some(socket)
    }

    /// As [`Self::remove_socket`], but still counted as a user of its namespace.
    fn remove_socket_kept(&mut self, tag: u32) -> Option<Socket> {
        let socket = self.sockets.try_remove(tag as usize)?;
        if self.sockets.is_empty() {
            self.sockets = Slab::new();
        }
        self.connecting.remove(&tag);
        if !self.asked.is_empty() {
            self.asked.remove(&tag);
        }
        if !self.held.is_empty() {
            self.held.remove(&tag);
        }
        self.unlink(&socket, tag);
        if let Some(entry) = self.tags.get_mut(socket.id.slot() as usize).filter(|entry| **entry == tag) {
            *entry = NONE;
        }
        if self.sockets.is_empty() {
            self.tags = Vec::new();
        }
        Some(socket)
    }

    fn unlink(&mut self, socket: &Socket, tag: u32) {
        let Some(engine) = self.engines.get_mut(socket.engine as usize) else { return };
        engine.socket_count -= 1;
        if engine.first_socket == tag {
            engine.first_socket = socket.next;
            return;
        }
        let mut at = engine.first_socket;
        while let Some(one) = self.sockets.get_mut(at as usize) {
            if one.next == tag {
                one.next = socket.next;
                return;
            }
            at = one.next;
        }
    }

    /// Nobody is sent away any more.
    pub(in crate::front) fn stay(&mut self) {
        self.drain = None;
    }

    /// No more handshakes; every session is closed at a random time within the window.
    pub(in crate::front) fn drain(&mut self, cx: &mut Cx<'_>, window_ms: u64) {
        self.drain = Some(Drain { start: cx.io.now(), window_ms });
        let slots: Vec<usize> = self.engines.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.arm(cx, u32::try_from(slot).expect("slots are 32 bits"));
        }
    }
}
