//! Times: when a message was due, and how long after that it arrived.
//!
//! Owns the histogram and the plan of send times. One clock, one process. A message counts from the moment it was
//! *planned*, not from the moment it was really sent, so that a generator or server that stalls shows the stall in
//! every message it delayed ("coordinated omission"). Start at [`Plan`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longest latency that is told apart: an hour. Longer ones are counted as an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// When each message is due, by its number. Shared between the publisher, who writes it, and the receivers.
#[derive(Debug)]
pub(crate) struct Plan {
    epoch: Instant,
    due_ns: Box<[AtomicU64]>,
}

/// Marks a message that is not measured: warm-up, or a number nobody planned.
const NOT_MEASURED: u64 = u64::MAX;

impl Plan {
    /// A plan of messages 0 to `messages` - 1, none of them measured yet.
    pub(crate) fn new(messages: usize) -> Self {
        let due_ns = std::iter::repeat_with(|| AtomicU64::new(NOT_MEASURED)).take(messages).collect();
        Self { epoch: Instant::now(), due_ns }
    }

    /// Plans one message; call it before the message is sent.
    pub(crate) fn set(&self, number: u32, due: Instant) {
        let due_ns = due.saturating_duration_since(self.epoch).as_nanos() as u64;
        if let Some(slot) = self.due_ns.get(number as usize) {
            slot.store(due_ns, Ordering::Release);
        }
    }

    /// Time now, in the plan's measure.
    pub(crate) fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn due_ns(&self, number: u32) -> Option<u64> {
        let due_ns = self.due_ns.get(number as usize)?.load(Ordering::Acquire);
        (due_ns != NOT_MEASURED).then_some(due_ns)
    }
}

/// Latencies of one event loop; those of several are added up, never averaged.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    us: Histogram<u64>,
    negative: u64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        let us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are constants");
        Self { us, negative: 0 }
    }

    /// A message that arrived at `now_ns`.
    pub(crate) fn arrived(&mut self, plan: &Plan, number: u32, now_ns: u64) {
        match plan.due_ns(number).map(|due_ns| now_ns.checked_sub(due_ns)) {
            Some(Some(ns)) => self.us.saturating_record(ns / 1000),
            Some(None) => self.negative += 1,
            None => {}
        }
    }

    /// A duration measured by other means.
    pub(crate) fn record(&mut self, time: Duration) {
        self.us.saturating_record(time.as_micros() as u64);
    }

    /// Adds those of another loop.
    pub(crate) fn add(&mut self, other: &Self) {
        self.us.add(&other.us).expect("both have the same bounds");
        self.negative += other.negative;
    }

    /// How many were measured.
    pub(crate) fn len(&self) -> u64 {
        self.us.len()
    }

    /// Messages that arrived before they were due: the clock is wrong, or numbers were mixed up.
    pub(crate) fn negative(&self) -> u64 {
        self.negative
    }

    /// In milliseconds; `quantile` is between 0 and 1.
    pub(crate) fn ms(&self, quantile: f64) -> f64 {
        self.us.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Upper end of each bucket that holds something, ascending, with how many it holds.
    pub(crate) fn buckets_us(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let upper_us = |value: u64| self.us.highest_equivalent(value);
        self.us
            .iter_recorded()
            .map(move |bucket| (upper_us(bucket.value_iterated_to()), bucket.count_at_value()))
    }

    /// The smallest; 0 if there are none.
    pub(crate) fn min_us(&self) -> u64 {
        self.us.min()
    }

    /// The mean; 0 if there are none.
    pub(crate) fn mean_us(&self) -> f64 {
        self.us.mean()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_planned_time() {
        let plan = Plan::new(3);
        plan.set(0, plan.epoch + Duration::from_millis(10));
        plan.set(1, plan.epoch + Duration::from_millis(30));
        let mut latencies = Latencies::new();
        latencies.arrived(&plan, 0, 15_000_000);
        assert_eq!(latencies.len(), 1);
        assert!((latencies.ms(0.5) - 5.0).abs() < 0.01);
        latencies.arrived(&plan, 1, 29_000_000);
        assert_eq!((latencies.len(), latencies.negative()), (1, 1));
        latencies.arrived(&plan, 2, 1);
        latencies.arrived(&plan, 99, 1);
        assert_eq!((latencies.len(), latencies.negative()), (1, 1), "unplanned messages are not measured");
    }

    #[test]
    fn loops_are_added_up() {
        let (mut a, mut b) = (Latencies::new(), Latencies::new());
        (0..99).for_each(|_| a.record(Duration::from_millis(1)));
        b.record(Duration::from_millis(1000));
        a.add(&b);
        assert_eq!(a.len(), 100);
        assert!(a.ms(0.5) < 1.1 && a.ms(1.0) > 999.0);
    }
}
