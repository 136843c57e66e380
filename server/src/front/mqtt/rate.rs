//! How much a client may send: `limits.events_per_second` and `limits.bytes_per_second`, as for every protocol.
//!
//! Owns what becomes of a client that sends more: reading pauses, which costs nobody a packet, and who goes on like that
//! for a long time is cut off. What is kept for it is there while a client sends, and for a second after. Must not know the
//! arithmetic. Start at [`Mqtt::charge`].

use hub::{Millis, Reason};
use wire::mqtt::{Frame, ReasonCode};

use super::Mqtt;
use crate::front::rate::Rate;
use crate::shard::Cx;

impl Mqtt {
    /// Counts a packet of a client, and pauses reading when that was too much; whether the client stays. Everything counts as
    /// bytes; what makes the server work for others counts as events, acknowledgements do not.
    pub(super) fn charge(&mut self, cx: &mut Cx<'_>, index: u32, frame: &Frame<'_>) -> bool {
        let now = cx.io.now();
        let Some(fresh) = Rate::new(now, &self.config.limits) else { return true };
        let breach_ms = u64::from(self.config.mqtt.rate_breach_seconds) * 1000;
        let events = u64::from(matches!(frame.first >> 4, 3 | 8 | 10));
        let Some(client) = self.client_mut(index) else { return false };
        if client.kind.own {
            return true;
        }
        let conn = client.conn;
        let is_new = client.rare.as_ref().is_none_or(|rare| rare.rate.is_none());
        let rate = client.rare().rate.get_or_insert_with(|| Box::new(fresh));
        let pauses = rate.take(now, (events, frame.packet_bytes)).is_some();
        if pauses && breach_ms > 0 && rate.busy_ms(now) >= breach_ms {
            self.figures.rate_cut += 1;
            self.part(cx, index, ReasonCode::MessageRateTooHigh, Reason::OverLimit);
            return false;
        }
        if pauses {
            self.figures.paused += 1;
            cx.io.pause_reading(conn);
        }
        if pauses || is_new {
            self.arm(cx, index);
        }
        true
    }

    /// Reads again when a pause is over, and forgets a rate that is as good as new.
    pub(super) fn rest(&mut self, cx: &mut Cx<'_>, index: u32, now: Millis) {
        let Some(client) = self.client_mut(index) else { return };
        let conn = client.conn;
        let Some(rare) = client.rare.as_mut() else { return };
        let is_over = rare.rate.as_mut().is_some_and(|rate| rate.end_pause(now));
        rare.rate.take_if(|rate| rate.full_at() <= now);
        client.tidy();
        if is_over && !client.is_paused() {
            // What it said meanwhile waits in the socket.
            client.heard = now;
            cx.io.resume_reading(conn);
        }
    }
}
