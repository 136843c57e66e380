//! A histogram of latencies as it is kept, shown and saved.
//!
//! Owns quantiles, the steps in which a person sees it, and the table that flashbot printed in 2009. Microseconds
//! inside, milliseconds outside. Must not know terminals or pages. Start at [`Histogram`].

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::unit;
use crate::latency::Latencies;

/// What is told of every histogram, with the names of figures.
pub(super) const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999)];

/// Steps a person takes in at a glance.
const STEPS_MAX: usize = 16;

/// Up to this ratio of the largest to the smallest value steps are equal, above they grow.
const EQUAL_STEPS_RATIO_MAX: u64 = 8;

/// Edges within a decade, in tenths, from fine to coarse.
const MANTISSAS: [&[u64]; 3] = [&[10, 15, 20, 30, 50, 70], &[10, 20, 50], &[10]];

/// The width of flashbot's steps and its last edge.
const FLASHBOT_STEP_US: u64 = 500_000;
const FLASHBOT_EDGE_US_MAX: u64 = 5_000_000;

/// All latencies of one kind, to three digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    pub(super) name: String,
    pub(super) count: u64,
    pub(super) min_us: u64,
    pub(super) max_us: u64,
    pub(super) mean_us: f64,
    /// Upper end of each bucket that holds something, ascending, and how many it holds.
    pub(super) buckets: Vec<(u64, u64)>,
}

/// How many took longer than `from_us` and at most `to_us`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) count: u64,
}

impl Histogram {
    /// Keeps everything; none if nothing was measured.
    pub(super) fn of(name: &str, latencies: &Latencies) -> Option<Self> {
        let buckets: Vec<_> = latencies.buckets_us().collect();
        let max_us = buckets.last()?.0;
        Some(Self {
            name: name.into(),
            count: latencies.len(),
            min_us: (latencies.min_ms() * 1000.0).round() as u64,
            max_us,
            mean_us: (latencies.mean_ms() * 10_000.0).round() / 10.0,
            buckets,
        })
    }

    /// In milliseconds; `quantile` is between 0 and 1.
    pub fn ms(&self, quantile: f64) -> f64 {
        let rank = ((quantile * self.count as f64).ceil() as u64).max(1);
        let mut below = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map_or(self.max_us, |(upper_us, _)| *upper_us) as f64 / 1e3
    }

    /// The share of all that `count` is, in percent.
    pub(super) fn percent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.count.max(1) as f64
    }

    /// At most 16 steps without a gap from the smallest to the largest value, equal or growing, whichever fits.
    pub(super) fn steps(&self) -> Vec<Step> {
        let edges = if self.max_us <= self.min_us.max(1).saturating_mul(EQUAL_STEPS_RATIO_MAX) {
            equal_edges(self.min_us, self.max_us)
        } else {
            growing_edges(self.min_us, self.max_us)
        };
        edges.iter().zip(edges.iter().skip(1)).map(|(from_us, to_us)| self.step(*from_us, *to_us)).collect()
    }

    /// The table as flashbot printed it: `min`, steps of 500 ms up to 5 s with count and percent, `max`.
    ///
    /// As there, steps end with the one that holds the largest value, and what took over 5 s stands in a step that
    /// ends at the largest value.
    pub fn flashbot(&self) -> String {
        let mut text = String::new();
        let mut row = |us: u64, rest: &str| {
            let _infallible = writeln!(text, "{:>10.4}ms | {rest}", us as f64 / 1e3);
        };
        row(self.min_us, "min");
        let mut from_us = None;
        let edges = (FLASHBOT_STEP_US..=FLASHBOT_EDGE_US_MAX).step_by(FLASHBOT_STEP_US as usize);
        for to_us in edges.chain([self.max_us]) {
            if from_us.is_some_and(|from_us| from_us >= self.max_us) {
                break;
            }
            let within = |us: u64| from_us.is_none_or(|from_us| us > from_us) && us <= to_us;
            let count = self.buckets.iter().filter(|(us, _)| within(*us)).map(|(_, count)| count).sum();
            row(to_us, &format!("{count:<7}-{:>7.2}%", self.percent(count)));
            from_us = Some(to_us);
        }
        row(self.max_us, "max");
        text
    }

    /// Whether a histogram that was read can be drawn.
    pub(super) fn is_sound(&self) -> bool {
        let ascending = self.buckets.is_sorted_by(|(a, _), (b, _)| a < b);
        let sum = self.buckets.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count));
        let last = self.buckets.last().is_some_and(|(us, _)| *us == self.max_us);
        ascending && last && self.count > 0 && sum == Some(self.count) && self.min_us <= self.max_us
    }

    fn step(&self, from_us: u64, to_us: u64) -> Step {
        let inside = self.buckets.iter().filter(|(us, _)| (from_us + 1..=to_us).contains(us));
        // A latency below a microsecond belongs to the first step, which then begins at 0.
        let zero = self.buckets.first().filter(|(us, _)| *us == 0 && from_us == 0);
        Step { from_us, to_us, count: inside.chain(zero).map(|(_, count)| count).sum() }
    }
}

/// Edges at equal distance; the first is below `min`, the last at least `max`.
fn equal_edges(min: u64, max: u64) -> Vec<u64> {
    let step = unit::nice_step((max - min) as f64 / 12.0).max(1.0) as u64;
    let first = min.saturating_sub(1) / step * step;
    let mut edges = vec![first];
    let mut edge = first;
    while edge < max || edges.len() < 2 {
        edge += step;
        edges.push(edge);
    }
    edges
}

/// Edges whose distance grows; the finest that are few enough.
fn growing_edges(min: u64, max: u64) -> Vec<u64> {
    let edges = |mantissas: &[u64]| {
        let decades = std::iter::successors(Some(1u64), |decade| decade.checked_mul(10));
        let mut all: Vec<u64> = vec![0];
        all.extend(
            decades
                .flat_map(|decade| mantissas.iter().map(move |tenths| decade.saturating_mul(*tenths) / 10)),
        );
        all.dedup();
        let below = all.iter().filter(|edge| **edge < min).count().saturating_sub(1);
        let until = all.iter().filter(|edge| **edge < max).count();
        all.drain(until + 1..);
        all.drain(..below);
        all
    };
    let mut fine_first = MANTISSAS.iter().map(|mantissas| edges(mantissas));
    let few = fine_first.by_ref().find(|edges| edges.len() <= STEPS_MAX + 1);
    few.unwrap_or_else(|| edges(&[10]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of_us(values: impl IntoIterator<Item = (u64, u64)>) -> Histogram {
        let mut latencies = Latencies::new();
        for (us, times) in values {
            (0..times).for_each(|_| latencies.record(Duration::from_micros(us)));
        }
        Histogram::of("latency", &latencies).unwrap()
    }

    #[test]
    fn quantiles_are_those_of_all_values() {
        let histogram = of_us((1..=1000).map(|us| (us, 1)));
        let quantiles = [0.0, 0.5, 0.9, 0.99, 0.999, 1.0].map(|quantile| histogram.ms(quantile));
        assert_eq!(quantiles, [0.001, 0.5, 0.9, 0.99, 0.999, 1.0]);
        assert_eq!((histogram.count, histogram.min_us, histogram.mean_us), (1000, 1, 500.5));
        assert_eq!(Histogram::of("none", &Latencies::new()), None);
    }

    #[test]
    fn steps_are_few_and_hold_everything() {
        for (min, max) in
            [(0, 0), (1, 1), (500, 500), (1, 3_600_000_000), (900, 1100), (100, 1000), (999, 9000)]
        {
            let histogram = of_us([(min, 3), ((min + max) / 2, 2), (max, 1)]);
            let steps = histogram.steps();
            assert!((1..=STEPS_MAX).contains(&steps.len()), "{min} {max}: {steps:?}");
            assert_eq!(steps.iter().map(|step| step.count).sum::<u64>(), 6, "{min} {max}: {steps:?}");
            assert!(steps.windows(2).all(|pair| pair[0].to_us == pair[1].from_us));
            assert!(steps[0].count > 0 && steps[steps.len() - 1].count > 0, "{min} {max}: {steps:?}");
        }
    }

    #[test]
    fn flashbot_is_printed_as_in_2009() {
        let histogram = of_us([(1869, 2125), (700_000, 5010), (1_269_000, 2865)]);
        let expected = "    1.8690ms | min
  500.0000ms | 2125   -  21.25%
 1000.0000ms | 5010   -  50.10%
 1500.0000ms | 2865   -  28.65%
 1269.7590ms | max
";
        assert_eq!(histogram.flashbot(), expected);
    }

    #[test]
    fn flashbot_ends_with_a_step_for_all_that_took_longer() {
        let text = of_us([(400_000, 1), (7_000_000, 3)]).flashbot();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 13, "{text}");
        assert_eq!(lines[10], " 5000.0000ms | 0      -   0.00%");
        assert!(lines[11].ends_with("ms | 3      -  75.00%") && lines[11].starts_with(" 700"), "{text}");
    }
}
