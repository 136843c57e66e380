//! Whether a run proves anything, and whether the server did what it must: the same rules for every scenario.
//!
//! Owns the rules. Must not know scenarios. Start at [`Evidence::judge`]; scenarios whose clients come back judge deliveries
//! themselves and take the rules one by one.

use std::time::Duration;

use crate::latency::Latencies;
use crate::pool::Counts;
use crate::report::Report;

/// A paced run that takes this many times its plan shows that the generator or the server could not keep up.
const OVERTIME_MAX: f64 = 1.5;

/// What is known after a run.
pub(crate) struct Evidence<'a> {
    /// Clients that were there.
    pub(crate) clients: u64,
    /// Messages that should have arrived.
    pub(crate) expected: u64,
    /// What arrived during the run.
    pub(crate) counts: &'a Counts,
    /// Everything since the start, for each event loop.
    pub(crate) by_loop: &'a [Counts],
    pub(crate) latencies: &'a Latencies,
    /// Why the first client failed, if one did.
    pub(crate) failure: Option<&'a str>,
    /// Until the last arrival.
    pub(crate) elapsed: Duration,
    /// How long it should have taken, if that was fixed beforehand.
    pub(crate) planned: Option<Duration>,
}

impl Evidence<'_> {
    /// Adds what makes the run void, then what the server did not do.
    pub(crate) fn judge(&self, report: &mut Report) {
        let Self { counts, expected, .. } = self;
        void_if_nothing(self.clients, counts.messages, report);
        if counts.messages > *expected || counts.repeated > 0 {
            let text = format!(
                "more received than expected: {} of {expected}, {} twice or out of order",
                counts.messages, counts.repeated
            );
            report.void(text);
        }
        if counts.messages < *expected {
            report.failure(format!("{} of {expected} deliveries are missing", expected - counts.messages));
        }
        void_if_early(self.latencies, report);
        if let Some(failure) = self.failure {
            report.failure(format!("clients were lost, the first one: {failure}"));
        }
        if let Some(planned) = self.planned {
            void_if_overtime(self.elapsed, planned, report);
        }
        void_if_stopped_alike(self.by_loop, report);
    }
}

/// A run without clients or without deliveries shows nothing.
pub(crate) fn void_if_nothing(clients: u64, delivered: u64, report: &mut Report) {
    if clients == 0 {
        report.void("nothing connected");
    }
    if delivered == 0 {
        report.void("nothing delivered");
    }
}

/// What arrives before it was sent shows that the clock is wrong, or that numbers were mixed up.
pub(crate) fn void_if_early(latencies: &Latencies, report: &mut Report) {
    if latencies.negative() > 0 {
        report.void(format!("{} messages arrived before they were sent", latencies.negative()));
    }
}

/// A paced run that takes too long was not the run that was asked for.
pub(crate) fn void_if_overtime(elapsed: Duration, planned: Duration, report: &mut Report) {
    let (elapsed, planned) = (elapsed.as_secs_f64(), planned.as_secs_f64());
    if elapsed > planned.max(1.0) * OVERTIME_MAX {
        report.void(format!("took {elapsed:.1} s, planned were {planned:.1} s: something is saturated"));
    }
}

/// Loops that all stop at the same number of clients met a limit of the generator.
pub(crate) fn void_if_stopped_alike(by_loop: &[Counts], report: &mut Report) {
    if stopped_alike(by_loop) {
        report.void("every event loop stopped at the same number of clients: the generator's own ceiling");
    }
}

/// Whether several loops all failed to connect their clients after exactly the same number.
fn stopped_alike(by_loop: &[Counts]) -> bool {
    let first = by_loop.first().copied().unwrap_or_default();
    let alike = |counts: &Counts| counts.ready == first.ready && counts.ready < counts.clients;
    by_loop.len() > 1 && by_loop.iter().all(alike)
}

/// The one in the middle, the upper one of two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn judged(change: impl Fn(&mut Evidence<'_>)) -> String {
        let counts = Counts { messages: 10, clients: 5, ready: 5, ..Counts::default() };
        let (by_loop, latencies) = ([counts, counts], Latencies::new());
        let mut evidence = Evidence {
            clients: 10,
            expected: 10,
            counts: &counts,
            by_loop: &by_loop,
            latencies: &latencies,
            failure: None,
            elapsed: Duration::from_secs(2),
            planned: Some(Duration::from_secs(2)),
        };
        change(&mut evidence);
        let mut report = Report::new("test");
        evidence.judge(&mut report);
        [report.void_reasons(), report.failures()].concat().join("; ")
    }

    #[test]
    fn each_rule_finds_its_case_and_a_good_run_has_none() {
        assert_eq!(judged(|_| {}), "");
        assert_eq!(judged(|run| run.clients = 0), "nothing connected");
        assert_eq!(judged(|run| run.expected = 12), "2 of 12 deliveries are missing");
        assert!(judged(|run| run.expected = 9).contains("10 of 9, 0 twice"));
        assert!(judged(|run| run.elapsed = Duration::from_secs(4)).contains("planned were 2.0 s"));
        assert!(judged(|run| run.failure = Some("gone")).contains("the first one: gone"));
        static STOPPED: LazyLock<[Counts; 2]> =
            LazyLock::new(|| [Counts { clients: 5, ready: 3, ..Counts::default() }; 2]);
        assert!(judged(|run| run.by_loop = &*STOPPED).contains("own ceiling"));
        static EMPTY: LazyLock<Counts> = LazyLock::new(Counts::default);
        assert!(judged(|run| run.counts = &EMPTY).contains("nothing delivered"));
    }
}
