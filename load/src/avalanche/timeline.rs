//! How many clients were there, from the first loss to the last return.
//!
//! Must not know clients or servers: it is told counts. Start at [`Timeline::look`].

use std::time::{Duration, Instant};

use crate::pool::Counts;
use crate::report::{Report, Series};

/// From one point of the series to the next.
const POINT_EVERY: Duration = Duration::from_millis(100);

/// Points that make the second over which the peak is taken.
const POINTS_PER_PEAK: usize = 10;

/// Shares whose return is timed, in percent.
const SHARES: [u64; 3] = [50, 95, 100];

/// What was seen.
#[derive(Debug)]
pub(super) struct Timeline {
    clients: u64,
    /// When the first client was seen to be disconnected: the zero of all times here.
    first_loss: Option<Instant>,
    /// For each of [`SHARES`], since when so many are there.
    there_since: [Option<Duration>; SHARES.len()],
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    at: Duration,
    present: u64,
    returned: u64,
}

impl Timeline {
    /// Of so many clients, all there.
    pub(super) fn new(clients: u64) -> Self {
        Self { clients, first_loss: None, there_since: [None; SHARES.len()], points: Vec::new() }
    }

    /// The clients were counted now.
    pub(super) fn look(&mut self, counts: &Counts) {
        if counts.lost > 0 {
            let first_loss = *self.first_loss.get_or_insert_with(Instant::now);
            self.note(first_loss.elapsed(), counts.present(), counts.returned);
        }
    }

    fn note(&mut self, at: Duration, present: u64, returned: u64) {
        for (share, since) in SHARES.iter().zip(&mut self.there_since) {
            let there = present * 100 >= share * self.clients;
            *since = since.filter(|_| there).or(there.then_some(at));
        }
        let last = self.points.last().map(|point| point.at);
        if last.is_none_or(|last| at >= last + POINT_EVERY) {
            self.points.push(Point { at, present, returned });
        }
    }

    /// Adds times, the peak and the chart.
    pub(super) fn report(&self, report: &mut Report) {
        for (share, since) in SHARES.iter().zip(self.there_since) {
            if let Some(since) = since {
                report.number(&format!("back_{share}_percent_seconds"), since.as_secs_f64());
            }
        }
        report.number("returns_per_second_peak", self.peak_per_second());
        let (name, unit, x_unit) = ("clients there".into(), "clients".into(), "s".into());
        report.series(Series { name, unit, x_unit, points: self.back_over_time() });
    }

    /// Seconds since the first loss, clients that are there.
    fn back_over_time(&self) -> Vec<(f64, f64)> {
        self.points.iter().map(|point| (point.at.as_secs_f64(), point.present as f64)).collect()
    }

    /// Most returns within a second, or on the average of a shorter time if it was shorter.
    fn peak_per_second(&self) -> f64 {
        let windows = self.points.windows(self.points.len().clamp(2, POINTS_PER_PEAK + 1));
        let rate = |window: &[Point]| {
            let (first, last) = (window.first()?, window.last()?);
            let seconds = (last.at - first.at).as_secs_f64();
            (seconds > 0.0).then(|| (last.returned - first.returned) as f64 / seconds)
        };
        windows.filter_map(rate).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One hundred clients that lose everything at once, are away for 1 s and then come back, ten every 100 ms.
    fn seen() -> Timeline {
        let mut timeline = Timeline::new(100);
        timeline.note(Duration::ZERO, 99, 0);
        for step in 1..=25_u32 {
            let back = u64::from(step.saturating_sub(10) * 10).min(100);
            timeline.note(Duration::from_millis(u64::from(step) * 100), back, back);
        }
        timeline
    }

    #[test]
    fn shares_are_timed_by_the_last_time_they_were_reached() {
        let mut report = Report::new("avalanche");
        let mut timeline = seen();
        timeline.report(&mut report);
        assert_eq!(report.figure("back_50_percent_seconds"), Some(1.5));
        assert_eq!(report.figure("back_95_percent_seconds"), Some(2.0));
        assert_eq!(report.figure("back_100_percent_seconds"), Some(2.0));
        assert_eq!(report.figure("returns_per_second_peak"), Some(100.0));
        assert_eq!(
            report.json()["series"][0]["points"].as_array().unwrap().last().unwrap()[1],
            100.0,
            "{report}"
        );
        // One is lost again and does not come back.
        timeline.note(Duration::from_secs(3), 99, 100);
        let mut report = Report::new("avalanche");
        timeline.report(&mut report);
        assert_eq!(report.figure("back_95_percent_seconds"), Some(2.0));
        assert_eq!(report.figure("back_100_percent_seconds"), None);
    }

    #[test]
    fn time_begins_with_the_first_loss() {
        let mut timeline = Timeline::new(2);
        timeline.look(&Counts { ready: 2, ..Counts::default() });
        assert_eq!(timeline.first_loss, None);
        timeline.look(&Counts { ready: 2, lost: 1, ..Counts::default() });
        assert!(timeline.first_loss.is_some());
        assert_eq!(timeline.points.len(), 1);
        assert_eq!(timeline.points[0].present, 1);
    }
}
