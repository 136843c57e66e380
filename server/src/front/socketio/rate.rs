//! How much a client may send: events and bytes per second, when the configuration limits them.
//!
//! Beyond the limit nothing is lost and nobody is thrown out: reading pauses. On a WebSocket what follows stays in
//! the socket; while polling the answer to the POST waits, and a client sends one POST at a time.
//! Start at [`SocketIo::charge`].

use hub::Millis;
use wire::engineio::HandshakeError;

use super::engine::{Carrier, Post};
use super::{SocketIo, owner};
use crate::shard::{ConnKey, Cx};

/// What a connection may still send; boxed and only there when a limit is configured.
#[derive(Debug)]
pub(super) struct Rate {
    /// When it was last refilled.
    at: Millis,
    events: Bucket,
    bytes: Bucket,
    /// Reading pauses until then.
    paused_until: Option<Millis>,
}

/// A bucket that holds what one second allows. May be overdrawn by the last message; the debt is waited for.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// 0 is no limit.
    per_second: u64,
    /// Thousandths.
    level: i64,
}

impl Bucket {
    fn full(per_second: u64) -> Self {
        Self { per_second, level: Self::capacity(per_second) }
    }

    fn capacity(per_second: u64) -> i64 {
        i64::try_from(per_second.saturating_mul(1000)).unwrap_or(i64::MAX)
    }

    fn refill(&mut self, elapsed_ms: u64) {
        let gain = i64::try_from(self.per_second.saturating_mul(elapsed_ms)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gain).min(Self::capacity(self.per_second));
    }

    fn take(&mut self, amount: u64) {
        self.level = self.level.saturating_sub_unsigned(amount.saturating_mul(1000));
    }

    /// Milliseconds until it is not overdrawn.
    fn wait_ms(&self) -> u64 {
        if self.per_second == 0 || self.level >= 0 {
            return 0;
        }
        self.level.unsigned_abs().div_ceil(self.per_second)
    }
}

impl Rate {
    fn new(now: Millis, events_per_second: u64, bytes_per_second: u64) -> Self {
        let (events, bytes) = (Bucket::full(events_per_second), Bucket::full(bytes_per_second));
        Self { at: now, events, bytes, paused_until: None }
    }

    /// Takes one message; the time until the next may be read, if that is not now.
    fn take(&mut self, now: Millis, bytes: usize) -> Option<Millis> {
        let elapsed_ms = now.0.saturating_sub(self.at.0);
        self.at = now;
        self.events.refill(elapsed_ms);
        self.bytes.refill(elapsed_ms);
        self.events.take(1);
        self.bytes.take(bytes as u64);
        let wait_ms = self.events.wait_ms().max(self.bytes.wait_ms());
        self.paused_until = (wait_ms > 0).then_some(Millis(now.0 + wait_ms));
        self.paused_until
    }

    pub(super) fn paused_until(&self) -> Option<Millis> {
        self.paused_until
    }
}

impl SocketIo {
    /// Counts a message of a client; pauses reading from it when that was too much.
    pub(super) fn charge(&mut self, cx: &mut Cx<'_>, slot: u32, bytes: usize) {
        let limits = &self.config.limits;
        let (events_per_second, bytes_per_second) =
            (u64::from(limits.events_per_second), limits.bytes_per_second);
        if events_per_second == 0 && bytes_per_second == 0 {
            return;
        }
        let now = cx.io.now();
        let Some(engine) = self.engine_mut(slot) else { return };
        let rate =
            engine.rate.get_or_insert_with(|| Box::new(Rate::new(now, events_per_second, bytes_per_second)));
        if rate.take(now, bytes).is_some() {
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
        let over = |until: &mut Millis| *until <= now;
        if engine.rate.as_mut().and_then(|rate| rate.paused_until.take_if(over)).is_none() {
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
    fn read_again(&mut self, cx: &mut Cx<'_>, slot: u32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_is_free_and_debt_is_waited_for() {
        let mut rate = Rate::new(Millis(0), 10, 0);
        for _ in 0..10 {
            assert_eq!(rate.take(Millis(0), 5), None);
        }
        assert_eq!(rate.take(Millis(0), 5), Some(Millis(100)));
        assert_eq!(rate.take(Millis(1100), 5), None);
    }

    #[test]
    fn bytes_count_too() {
        let mut rate = Rate::new(Millis(0), 0, 1000);
        assert_eq!(rate.take(Millis(0), 1000), None);
        assert_eq!(rate.take(Millis(500), 1000), Some(Millis(1000)));
    }
}
