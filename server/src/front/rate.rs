//! How much a connection may send: events and bytes per second, when the configuration limits them. The same for every
//! protocol.
//!
//! Owns the arithmetic of it. Beyond the limit nothing is lost: whoever has a [`Rate`] stops reading until the debt is paid.
//! Must not know connections. Start at [`Rate`].

use hub::Millis;

use crate::config::Limits;

/// What a connection may still send. 72 bytes, so it is boxed, and only there when a limit is configured.
#[derive(Debug)]
pub(super) struct Rate {
    /// When it was last refilled.
    at: Millis,
    events: Bucket,
    bytes: Bucket,
    /// Reading pauses until then.
    paused_until: Option<Millis>,
    /// Since when it has not been full.
    busy_since: Millis,
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

    /// Milliseconds until it has so much, in thousandths.
    fn wait_ms(&self, level: i64) -> u64 {
        if self.per_second == 0 || self.level >= level {
            return 0;
        }
        self.level.abs_diff(level).div_ceil(self.per_second)
    }

    fn fill_ms(&self) -> u64 {
        self.wait_ms(Self::capacity(self.per_second))
    }
}

impl Rate {
    /// A full one; `None` when nothing is limited.
    pub(super) fn new(now: Millis, limits: &Limits) -> Option<Self> {
        Self::limited(now, u64::from(limits.events_per_second), limits.bytes_per_second)
    }

    fn limited(now: Millis, events_per_second: u64, bytes_per_second: u64) -> Option<Self> {
        let (events, bytes) = (Bucket::full(events_per_second), Bucket::full(bytes_per_second));
        let is_limited = events_per_second > 0 || bytes_per_second > 0;
        is_limited.then_some(Self { at: now, events, bytes, paused_until: None, busy_since: now })
    }

    /// Takes so many events and bytes; the time until the next may be read, if that is not now.
    pub(super) fn take(&mut self, now: Millis, (events, bytes): (u64, usize)) -> Option<Millis> {
        self.refill(now);
        if self.full_at() <= now {
            self.busy_since = now;
        }
        self.events.take(events);
        self.bytes.take(bytes as u64);
        let wait_ms = self.events.wait_ms(0).max(self.bytes.wait_ms(0));
        self.paused_until = (wait_ms > 0).then_some(Millis(now.0 + wait_ms));
        self.paused_until
    }

    fn refill(&mut self, now: Millis) {
        let elapsed_ms = now.0.saturating_sub(self.at.0);
        self.at = now;
        self.events.refill(elapsed_ms);
        self.bytes.refill(elapsed_ms);
    }

    pub(super) fn paused_until(&self) -> Option<Millis> {
        self.paused_until
    }

    /// Whether a pause is over now.
    pub(super) fn end_pause(&mut self, now: Millis) -> bool {
        self.paused_until.take_if(|until| *until <= now).is_some()
    }

    /// How long the connection has sent without a pause of its own that would have made it whole again.
    pub(super) fn busy_ms(&self, now: Millis) -> u64 {
        now.0.saturating_sub(self.busy_since.0)
    }

    /// When it is as good as new, if nothing comes until then.
    pub(super) fn full_at(&self) -> Millis {
        Millis(self.at.0 + self.events.fill_ms().max(self.bytes.fill_ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(events_per_second: u64, bytes_per_second: u64) -> Rate {
        Rate::limited(Millis(0), events_per_second, bytes_per_second).unwrap()
    }

    #[test]
    fn a_burst_of_one_second_is_free_and_debt_is_waited_for() {
        let mut rate = rate(10, 0);
        for _ in 0..10 {
            assert_eq!(rate.take(Millis(0), (1, 5)), None);
        }
        assert_eq!(rate.take(Millis(0), (1, 5)), Some(Millis(100)));
        assert_eq!(rate.take(Millis(1100), (1, 5)), None);
    }

    #[test]
    fn bytes_count_too() {
        let mut rate = rate(0, 1000);
        assert_eq!(rate.take(Millis(0), (1, 1000)), None);
        assert_eq!(rate.take(Millis(500), (1, 1000)), Some(Millis(1000)));
    }

    #[test]
    fn who_rests_until_it_is_full_begins_anew() {
        let mut rate = rate(10, 0);
        rate.take(Millis(0), (10, 0));
        assert_eq!(rate.full_at(), Millis(1000));
        rate.take(Millis(900), (1, 0));
        assert_eq!((rate.busy_ms(Millis(900)), rate.full_at()), (900, Millis(1100)));
        rate.take(Millis(1100), (1, 0));
        assert_eq!(rate.busy_ms(Millis(1500)), 400);
    }

    #[test]
    fn nothing_is_kept_where_nothing_is_limited() {
        assert!(Rate::limited(Millis(0), 0, 0).is_none());
    }
}
