//! Deadlines of engine sessions.
//!
//! Owns what happens when one comes. Must not know how time is measured. Start at [`SocketIo::timer`].

use hub::{Millis, Reason};
use wire::engineio::Version;

use super::SocketIo;
use super::ending::Told;
use super::engine::{Due, Queued};
use super::upgrade::close_websocket;
use crate::shard::{Cx, Owner};

/// How long an upgrade is put off while the client waits for the answer to a POST that we hold. Milliseconds.
const PUT_OFF_MS: u64 = 1000;

impl SocketIo {
    /// The earliest deadline of an engine session has come.
    pub(in crate::front) fn timer(&mut self, cx: &mut Cx<'_>, owner: Owner) {
        let (slot, now) = (owner.index(), cx.io.now());
        let Some(engine) = self.engine(slot) else { return };
        if self.drain.as_ref().is_some_and(|drain| drain.at(engine) <= now) {
            return self.close_engine(cx, slot, Reason::Draining, Told::Close);
        }
        if engine.join_by.is_some_and(|by| by <= now) {
            return self.close_engine(cx, slot, Reason::NeverAdmitted, Told::Close);
        }
        if self.rights_are_over(slot, now) {
            // The client comes back with another token.
            return self.close_engine(cx, slot, Reason::CredentialsExpired, Told::Close);
        }
        self.expire_questions(cx, slot, now);
        self.ask_ahead(cx, slot);
        self.expire_probe(cx, slot, now);
        self.end_pause(cx, slot, now);
        if self.beat(cx, slot) != Due::Dead {
            self.arm(cx, slot);
        }
    }

    fn expire_probe(&mut self, cx: &mut Cx<'_>, slot: u32, now: Millis) {
        let Some(polling) = self.engine_mut(slot).and_then(|engine| engine.polling()) else { return };
        let held = polling.post.is_some();
        let Some(probe) = polling.probe.as_mut().filter(|probe| probe.by <= now) else { return };
        if held {
            // Clients finish what they are sending before they switch.
            probe.by = Millis(now.0 + PUT_OFF_MS);
            return;
        }
        close_websocket(cx, probe.conn, None);
        self.probe_over(cx, slot);
    }

    /// Does what the heartbeat asks for now; `Dead` when that was the end of the session.
    pub(super) fn beat(&mut self, cx: &mut Cx<'_>, slot: u32) -> Due {
        let (now, times) = (cx.io.now(), self.times);
        // While polling, the connection of the waiting GET tells as much: what the client sends comes by others.
        let unread =
            cx.io.is_stalled() || self.connection_of(slot).is_some_and(|conn| !cx.io.is_reading(conn));
        let Some(engine) = self.engine_mut(slot) else { return Due::Dead };
        let due = engine.beat.check(now, &times);
        match due {
            Due::Nothing => {}
            Due::Ping => self.send_own(cx, slot, Queued::Ping),
            // A POST that is held, or a connection that is not read from, keeps the client's answer from us.
            Due::Dead if unread || engine.is_paused() => {
                engine.beat.excuse(Millis(now.0 + times.timeout_ms));
                if engine.version == Version::V4 {
                    // It has to hear from us all the same.
                    self.send_own(cx, slot, Queued::Ping);
                }
                return Due::Nothing;
            }
            Due::Dead => self.close_engine(cx, slot, Reason::Silent, Told::Close),
        }
        due
    }
}
