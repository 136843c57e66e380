//! What a long run tells while it runs, and the memory it saw.
//!
//! Owns the lines of the journal and the samples. Must not know what is published. Start at [`Watch::look`].

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::trend::Trend;
use crate::error::Error;
use crate::pool::Counts;
use crate::process::Pids;
use crate::report::{Report, Series, rfc3339};

/// Fewer samples behind the warm-up say nothing about a trend.
const SAMPLES_MIN: usize = 10;

/// How often what is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Journal {
    /// `Stats: {Active,Closed,Chunks}`; also how often memory is sampled.
    pub stats_every: Duration,
    /// The line with date and memory.
    pub line_every: Duration,
    /// Share of the run's samples that are left out of the trend, at its beginning.
    pub warm_up_share: f64,
    /// Where it is told.
    pub to: JournalTo,
}

/// See [`Journal::to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalTo {
    /// Where there is no report in JSON.
    StandardOutput,
    /// Where there is one.
    StandardError,
}

/// Watches one run.
pub(super) struct Watch<'a> {
    journal: &'a Journal,
    server: &'a Pids,
    begun: Instant,
    stats_due: Duration,
    line_due: Duration,
    chunks_told: u64,
    /// Minutes since the start, and the server's resident bytes.
    samples: Vec<(f64, f64)>,
}

impl<'a> Watch<'a> {
    pub(super) fn start(journal: &'a Journal, server: &'a Pids) -> Self {
        let (stats_due, line_due) = (journal.stats_every, journal.line_every);
        let (begun, samples) = (Instant::now(), Vec::new());
        Self { journal, server, begun, stats_due, line_due, chunks_told: 0, samples }
    }

    /// Tells and samples what is due.
    pub(super) fn look(&mut self, counts: &Counts) -> Result<(), Error> {
        let now = self.begun.elapsed();
        if now >= self.stats_due {
            self.stats_due = next(self.stats_due, self.journal.stats_every, now);
            self.sample(now)?;
            let (active, closed) = (counts.present(), counts.failed + counts.cut + counts.left);
            let chunks = counts.messages - std::mem::replace(&mut self.chunks_told, counts.messages);
            self.tell(&format!("Stats: {{{active},{closed},{chunks}}}"));
        }
        if now >= self.line_due {
            self.line_due = next(self.line_due, self.journal.line_every, now);
            let rss_kb = self.server.rss()? / 1024;
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.tell(&format!("{}\t{unix}\t{rss_kb}\t{}", rfc3339(unix), counts.present()));
        }
        Ok(())
    }

    fn sample(&mut self, now: Duration) -> Result<(), Error> {
        if !self.server.is_empty() {
            self.samples.push((now.as_secs_f64() / 60.0, self.server.rss()? as f64));
        }
        Ok(())
    }

    /// Nobody listening is no reason to end the run.
    fn tell(&self, line: &str) {
        let _ = match self.journal.to {
            JournalTo::StandardOutput => writeln!(std::io::stdout().lock(), "{line}"),
            JournalTo::StandardError => writeln!(std::io::stderr().lock(), "{line}"),
        };
    }

    /// Adds the memory over time, and whether it grew.
    pub(super) fn report(&self, report: &mut Report) {
        let (name, unit, x_unit) = ("memory of the server".into(), "bytes".into(), "min".into());
        report.series(Series { name, unit, x_unit, points: self.samples.clone() });
        let warm_up = (self.samples.len() as f64 * self.journal.warm_up_share) as usize;
        let measured = self.samples.get(warm_up..).unwrap_or_default();
        let largest = self.samples.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max);
        report.count("rss_max_bytes", largest as u64);
        report.count("rss_end_bytes", self.samples.last().map_or(0, |(_, bytes)| *bytes as u64));
        report.count("memory_samples", measured.len() as u64);
        let trend = Trend::of(measured).filter(|_| measured.len() >= SAMPLES_MIN);
        let Some(trend) = trend else {
            report.note(format!("no verdict on memory: fewer than {SAMPLES_MIN} samples behind the warm-up"));
            return;
        };
        report.number("rss_mean_bytes", trend.mean);
        report.number("rss_slope_bytes_per_minute", trend.slope);
        report.number("rss_slope_standard_error", trend.standard_error);
        report.number("rss_growth_percent_per_minute", trend.percent_of_mean());
        report.count("memory_growth_significant", trend.is_significant().into());
        report.count("memory_flat", trend.is_flat().into());
        report.note(format!("memory is flat if {}", Trend::RULE));
        if !trend.is_flat() {
            report.failure(format!("memory grows by {:.0} bytes a minute", trend.slope));
        }
    }
}

/// When something is due again; what was missed is not made up for.
fn next(due: Duration, every: Duration, now: Duration) -> Duration {
    let every = every.max(Duration::from_millis(1));
    due + every * (((now - due).as_nanos() / every.as_nanos()) as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_not_made_up_for() {
        let ms = Duration::from_millis;
        assert_eq!(next(ms(10), ms(10), ms(10)), ms(20));
        assert_eq!(next(ms(10), ms(10), ms(47)), ms(50));
    }

    fn watched(samples: impl Iterator<Item = f64>, warm_up_share: f64) -> Report {
        let every = Duration::from_secs(10);
        let to = JournalTo::StandardError;
        let journal = Journal { stats_every: every, line_every: every, warm_up_share, to };
        let server = Pids::default();
        let mut watch = Watch::start(&journal, &server);
        watch.samples = samples.enumerate().map(|(minute, bytes)| (minute as f64, bytes)).collect();
        let mut report = Report::new("comet");
        watch.report(&mut report);
        report
    }

    #[test]
    fn growth_fails_and_growth_of_the_warm_up_does_not() {
        let grown = watched((0..40).map(|minute| 1e6 + 5e4 * f64::from(minute)), 0.25);
        assert_eq!(grown.failures(), ["memory grows by 50000 bytes a minute"]);
        let level = watched((0..40).map(|minute| 1e6 * f64::from(minute.min(9))), 0.25);
        assert_eq!((level.figure("memory_flat"), level.passed()), (Some(1.0), true), "{level}");
        assert_eq!(level.figure("memory_samples"), Some(30.0));
        let short = watched((0..9).map(f64::from), 0.0);
        assert_eq!((short.figure("memory_flat"), short.passed()), (None, true), "{short}");
    }
}
