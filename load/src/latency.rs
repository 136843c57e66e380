//! Times: when a message was due, and how long after that it arrived.
//!
//! Owns the clock and the histogram. One clock, one machine. A message counts from the moment it was *planned*, not from
//! the moment it was really sent, so that a generator or server that stalls shows the stall in every message it delayed
//! ("coordinated omission"). Start at [`Latencies`].

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longest latency that is told apart: an hour. Longer ones are counted as an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// The clock of every latency: nanoseconds since the machine started, the same for all its processes.
pub(crate) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Latencies of one event loop; those of several are added up, never averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Recorded", try_from = "Recorded")]
pub(crate) struct Latencies {
    us: Histogram<u64>,
    negative: u64,
}

/// The same as it is sent to another process, without any loss.
#[derive(Serialize, Deserialize)]
struct Recorded {
    /// Microseconds and how often, for each bucket that is not empty.
    us: Vec<(u64, u64)>,
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

    /// Both together.
    pub(crate) fn merged(mut self, other: Self) -> Self {
        self.add(&other);
        self
    }

    /// Those that are not above `longest`, as exactly as they are told apart.
    pub(crate) fn within(&self, longest: Duration) -> Self {
        let longest_us = longest.as_micros() as u64;
        let mut within = Self { negative: self.negative, ..Self::new() };
        let buckets = self.us.iter_recorded().map(|it| (it.value_iterated_to(), it.count_at_value()));
        for (us, count) in buckets.filter(|(us, _)| self.us.lowest_equivalent(*us) <= longest_us) {
            within.us.saturating_record_n(us, count);
        }
        within
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

    /// The shortest, in milliseconds; 0 if there are none.
    pub(crate) fn min_ms(&self) -> f64 {
        self.us.min() as f64 / 1000.0
    }

    /// The longest, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.us.max() as f64 / 1000.0
    }

    /// The mean, in milliseconds; 0 if there are none.
    pub(crate) fn mean_ms(&self) -> f64 {
        self.us.mean() / 1000.0
    }

    /// The standard deviation, in milliseconds.
    pub(crate) fn stdev_ms(&self) -> f64 {
        self.us.stdev() / 1000.0
    }
}

impl From<Latencies> for Recorded {
    fn from(latencies: Latencies) -> Self {
        let Latencies { us, negative } = latencies;
        let us = us.iter_recorded().map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()));
        Self { us: us.collect(), negative }
    }
}

impl TryFrom<Recorded> for Latencies {
    type Error = String;

    fn try_from(recorded: Recorded) -> Result<Self, String> {
        let mut latencies = Self { negative: recorded.negative, ..Self::new() };
        for (us, count) in recorded.us {
            latencies.us.record_n(us, count).map_err(|error| format!("{count} times {us} us: {error}"))?;
        }
        Ok(latencies)
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
    fn what_is_above_a_bound_can_be_left_out() {
        let mut latencies = Latencies::new();
        [1, 200, 700, 701, 5000].iter().for_each(|ms| latencies.record(Duration::from_millis(*ms)));
        assert_eq!(latencies.within(Duration::from_millis(700)).len(), 3);
        assert_eq!(latencies.within(Duration::from_secs(5)), latencies);
    }

    #[test]
    fn the_clock_is_that_of_instants() {
        let (around, before) = (std::time::Instant::now(), now_ns());
        let within = std::time::Instant::now();
        while within.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
        let passed = Duration::from_nanos(now_ns() - before);
        assert!(passed >= Duration::from_millis(2) && passed <= around.elapsed());
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

    #[test]
    fn another_process_is_told_exactly_what_was_measured() {
        let (mut here, mut there) = (Latencies::new(), Latencies::new());
        for n in 0..20_000_u64 {
            there.record(Duration::from_micros(n * n * 7));
            here.record(Duration::from_micros(n));
        }
        there.arrived(2, 1);
        let told = serde_json::to_string(&there).unwrap();
        let received: Latencies = serde_json::from_str(&told).unwrap();
        assert_eq!(received, there);
        assert_eq!(here.clone().merged(received), here.merged(there));
        let error =
            serde_json::from_str::<Latencies>("{\"us\":[[9000000000,1]],\"negative\":0}").unwrap_err();
        assert!(error.to_string().starts_with("1 times 9000000000 us: "), "{error}");
    }
}
