//! How much a client may send: events and bytes per second, when the configuration limits them.
//!
//! Beyond the limit nothing is lost and nobody is thrown out: reading pauses. On a WebSocket what follows stays in
//! the socket; while polling the answer to the POST waits, and a client sends one POST at a time.
//! Start at [`SocketIo::charge`].

use hub::Millis;
use wire::engineio::HandshakeError;

use super::engine::{Carrier, Post};
use super::{SocketIo, owner};
use crate::front::rate::Rate;
use crate::shard::{ConnKey, Cx};

impl SocketIo {
    /// Counts a message of a client; pauses reading from it when that was too much.
    pub(super) fn charge(&mut self, cx: &mut Cx<'_>, slot: u32, bytes: usize) {
        let now = cx.io.now();
        let Some(fresh) = Rate::new(now, &self.config.limits) else { return };
        let Some(engine) = self.engine_mut(slot) else { return };
        let rate = engine.rate.get_or_insert_with(|| Box::new(fresh));
        if rate.take(now, (1, bytes)).is_some() {
            if let Some(conn) = engine.websocket() {
                cx.io.pause_reading(conn);
            }
            self.arm(cx, slot);
        }
    }

    /// Whether the answer to a POST has to wait; it is held then.
    pub(super) fn hold_post(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        conn: ConnKey,
        origin: Option<&str>,
    ) -> bool {
        let Some(engine) = self.engine_mut(slot) else { return false };
        let paused = engine.is_paused();
        let Some(polling) = engine.polling().filter(|_| paused) else { return false };
        polling.post = Some(Post { conn, origin: origin.map(Box::from) });
        cx.io.hold(conn, owner(slot));
        true
    }

    /// Reads again when the time has come.
    pub(super) fn end_pause(&mut self, cx: &mut Cx<'_>, slot: u32, now: Millis) {
        let Some(engine) = self.engine_mut(slot) else { return };
        if !engine.rate.as_mut().is_some_and(|rate| rate.end_pause(now)) {
            return;
        }
        self.read_again(cx, slot);
    }

    /// The back end is behind with a socket's events: nothing is read from its client until it has caught up.
    pub(super) fn hold(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.socket_mut(tag).filter(|socket| !socket.held) else { return };
        socket.held = true;
        let slot = socket.engine;
        let Some(engine) = self.engine_mut(slot) else { return };
        engine.holds += 1;
        if let Some(conn) = engine.websocket() {
            cx.io.pause_reading(conn);
        }
    }

    /// The back end has caught up with a socket, or the socket is gone.
    pub(super) fn let_go(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.socket_mut(tag).filter(|socket| socket.held) else { return };
        socket.held = false;
        let slot = socket.engine;
        if let Some(engine) = self.engine_mut(slot) {
            engine.holds = engine.holds.saturating_sub(1);
            self.read_again(cx, slot);
        }
    }

    /// Reads from the client, unless there is another reason not to.
    pub(super) fn read_again(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let until = Millis(cx.io.now().0 + self.times.timeout_ms);
        let Some(engine) = self.engine_mut(slot).filter(|engine| !engine.is_paused()) else { return };
        engine.beat.excuse(until);
        match &mut engine.carrier {
            Carrier::WebSocket(conn) => cx.io.resume_reading(*conn),
            Carrier::Polling(polling) => {
                if let Some(post) = polling.post.take() {
                    self.answer_post(cx, post, Ok(()));
                }
            }
            Carrier::Moved(_) | Carrier::Over(_) => {}
        }
    }

    /// Answers a POST that was held.
    pub(super) fn answer_post(&self, cx: &mut Cx<'_>, post: Post, outcome: Result<(), HandshakeError>) {
        let origin = post.origin.as_deref();
        let response = match outcome {
            Ok(()) => self.site.ok(origin),
            Err(error) => self.site.error(error, origin),
        };
        cx.io.respond(post.conn, response);
    }
}
