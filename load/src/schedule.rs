//! Send times that are fixed beforehand: they follow from the rate, never from what came back.
//!
//! Owns which number is due when. Must not know what is sent. Plain data, so that whoever is told a schedule comes to the
//! same times. Start at [`Schedule::run`].

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::latency::now_ns;
use crate::message::NUMBERS_MAX;

/// When the numbers from `first` on are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Schedule {
    /// Due at the start.
    pub(crate) first: u32,
    /// See [`now_ns`].
    pub(crate) start_ns: u64,
    /// Between two numbers; 0 = all at once.
    pub(crate) interval_ns: f64,
}

impl Schedule {
    /// Everything now.
    pub(crate) fn burst(first: u32) -> Self {
        Self { first, start_ns: now_ns(), interval_ns: 0.0 }
    }

    /// `per_second` numbers a second from now on.
    pub(crate) fn paced(first: u32, per_second: f64) -> Self {
        Self { first, start_ns: now_ns(), interval_ns: 1e9 / per_second }
    }

    /// When `number` is due.
    pub(crate) fn due_ns(&self, number: u32) -> u64 {
        self.start_ns + (f64::from(number.saturating_sub(self.first)) * self.interval_ns) as u64
    }

    /// The end of the numbers that are due at `now_ns`.
    fn reached(&self, now_ns: u64) -> u32 {
        let passed_ns = now_ns.saturating_sub(self.start_ns) as f64;
        self.first.saturating_add((passed_ns / self.interval_ns) as u32).saturating_add(1)
    }

    /// Calls `each` with the numbers that have become due, as soon as the first of them is, until `end`.
    pub(crate) fn run(
        &self,
        end: u32,
        mut each: impl FnMut(Range<u32>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = self.first;
        while next < end {
            let reached = self.reached(now_ns()).min(end);
            if reached > next {
                each(next..reached)?;
                next = reached;
            }
            // What becomes due while others are sent is sent with the next ones.
            let wait_ns = self.due_ns(next).saturating_sub(now_ns());
            if next < end && wait_ns > 0 {
                std::thread::sleep(Duration::from_nanos(wait_ns));
            }
        }
        Ok(())
    }
}

/// Most messages of one plan: what is left of the numbers when every client has said one before.
const MESSAGES_MAX: u32 = NUMBERS_MAX - 2_000_000;

/// How many messages that is; an error for rates that cannot be sent or numbered.
pub(crate) fn planned(per_second: f64, duration: Duration) -> Result<u32, Error> {
    let count = per_second * duration.as_secs_f64();
    if per_second.is_finite() && per_second > 0.0 && count >= 1.0 && count < f64::from(MESSAGES_MAX) {
        return Ok(count as u32);
    }
    Err(Error::new("rate and duration must give at least one message, and fewer than 98,000,000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_not_before_its_time() {
        let schedule = Schedule::paced(10, 2000.0);
        let (mut next, mut early) = (10, 0);
        let sent = schedule.run(50, |numbers| {
            assert_eq!(numbers.start, next);
            next = numbers.end;
            early += numbers.filter(|number| schedule.due_ns(*number) > now_ns()).count();
            Ok(())
        });
        assert_eq!((sent.is_ok(), next, early), (true, 50, 0));
        assert_eq!(schedule.due_ns(30) - schedule.start_ns, 10_000_000);
    }

    #[test]
    fn a_burst_is_due_at_once() {
        let schedule = Schedule::burst(5);
        assert_eq!((schedule.due_ns(5), schedule.due_ns(1000)), (schedule.start_ns, schedule.start_ns));
        let mut sent = Vec::new();
        let outcome = schedule.run(1005, |numbers| {
            sent.push((numbers.start, numbers.end));
            Ok(())
        });
        assert_eq!((outcome.is_ok(), sent), (true, vec![(5, 1005)]));
    }

    #[test]
    fn what_cannot_be_numbered_is_refused() {
        assert_eq!(planned(100.0, Duration::from_millis(500)).unwrap(), 50);
        for (rate, seconds) in [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (1.0, 0), (1e6, 3600)] {
            assert!(planned(rate, Duration::from_secs(seconds)).is_err(), "{rate}");
        }
    }
}
