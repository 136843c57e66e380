//! Times: when a message was due, and how long after that it arrived.
//!
//! Owns the clock and the histogram. One clock, one machine. A message counts from the moment it was *planned*, not from
//! the moment it was really sent, so that a generator or server that stalls shows the stall in every message it delayed
//! ("coordinated omission"). Start at [`Latencies`].

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::report::Report;

/// Longest latency that is told apart: an hour. Longer ones are counted as an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// The clock of every latency: nanoseconds since the machine started, the same for all its processes.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
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

    /// A message that was due at `due_ns` and arrived at `now_ns`, both of [`now_ns`].
    pub(crate) fn arrived(&mut self, due_ns: u64, now_ns: u64) {
        match now_ns.checked_sub(due_ns) {
            _ if due_ns == 0 => {}
            Some(ns) => self.us.saturating_record(ns / 1000),
            None => self.negative += 1,
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

    /// Adds the percentiles to a report, as `<name>_p50_ms` and so on.
    pub(crate) fn report(&self, name: &str, report: &mut Report) {
        if self.us.is_empty() {
            return;
        }
        for (label, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)] {
            report.number(&format!("{name}_{label}_ms"), self.ms(quantile));
        }
        report.number(&format!("{name}_min_ms"), self.us.min() as f64 / 1000.0);
        report.number(&format!("{name}_max_ms"), self.us.max() as f64 / 1000.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_planned_time() {
        let mut latencies = Latencies::new();
        latencies.arrived(10_000_000, 15_000_000);
        assert_eq!(latencies.len(), 1);
        assert!((latencies.ms(0.5) - 5.0).abs() < 0.01);
        latencies.arrived(30_000_000, 29_000_000);
        assert_eq!((latencies.len(), latencies.negative()), (1, 1));
        latencies.arrived(0, 1);
        assert_eq!((latencies.len(), latencies.negative()), (1, 1), "what is not to be measured is not");
    }

    #[test]
    fn the_clock_is_that_of_instants() {
        let (before, started) = (now_ns(), std::time::Instant::now());
        while started.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        assert!((2_000_000..2_000_000_000).contains(&(now_ns() - before)));
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
