//! Clients that say messages which come back to clients: at fixed times, or each when another one arrived.
//!
//! Owns the measurement that `echo` and `pairs` share. Must not know to whom a message comes. Start at [`Talk::run`].

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::pool::{Converse, Counts, Pool, Say};
use crate::process::{Pids, Usage};
use crate::report::Report;
use crate::schedule::{Schedule, planned};
use crate::verdict::Evidence;

/// Share of a conversation that is not measured, at its beginning.
const WARM_UP_SHARE: f64 = 0.2;

/// After this time every event loop has made a turn and shown its counts.
const TURN: Duration = Duration::from_millis(100);

/// How clients talk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tempo {
    /// So many messages a second in all, at times fixed beforehand.
    Rate(f64),
    /// So many messages on their way for each client that begins; the next one when one arrived.
    Outstanding(u32),
}

impl Tempo {
    pub(crate) fn settings(self, duration: Duration, report: &mut Report) {
        match self {
            Self::Rate(per_second) => report.setting("rate_per_second", per_second),
            Self::Outstanding(outstanding) => report.setting("outstanding", outstanding),
        }
        report.setting("duration_seconds", duration.as_secs_f64());
    }
}

/// A pool whose clients talk.
pub(crate) struct Talk<'a> {
    pub(crate) pool: &'a Pool,
    /// Who begins.
    pub(crate) speakers: Range<u32>,
    pub(crate) server: &'a Pids,
    /// How long nothing may arrive before the rest counts as lost.
    pub(crate) patience: Duration,
    pub(crate) console: Console,
}

/// What a talk showed.
pub(crate) struct Outcome {
    pub(crate) clients: u64,
    /// Messages that should have arrived.
    pub(crate) expected: u64,
    /// Messages and their time, to the last of them, from which rates come.
    pub(crate) counts: Counts,
    pub(crate) elapsed: Duration,
    /// Everything that arrived, also outside of the measured time.
    pub(crate) arrived: Counts,
    pub(crate) by_loop: Vec<Counts>,
    pub(crate) usage: Usage,
    pub(crate) latencies: Latencies,
    pub(crate) failure: Option<String>,
    planned: Option<Duration>,
}

impl Talk<'_> {
    /// Talks for as long as `duration`.
    pub(crate) fn run(&self, tempo: Tempo, duration: Duration) -> Result<Outcome, Error> {
        match tempo {
            Tempo::Rate(per_second) => self.paced(per_second, duration),
            Tempo::Outstanding(outstanding) => self.closed(outstanding, duration),
        }
    }

    /// Messages at fixed times, behind one unmeasured message of each speaker.
    pub(crate) fn paced(&self, per_second: f64, duration: Duration) -> Result<Outcome, Error> {
        let first = self.speakers.len() as u32;
        let end = first.saturating_add(planned(per_second, duration)?);
        self.warm_up()?;
        let (counted, used) = (self.pool.counts(), self.server.usage()?);
        let schedule = Schedule::paced(first, per_second);
        let bar = self.console.progress("talking", u64::from(end - first));
        schedule.run(end, |numbers| {
            bar.set_position(u64::from(numbers.end - first));
            self.pool.say(&Say { clients: self.speakers.clone(), numbers, schedule });
            Ok(())
        })?;
        bar.finish_and_clear();
        let expected = u64::from(end - first);
        self.pool.wait_messages(counted.messages + expected, self.patience);
        let (now, usage) = (self.pool.counts(), self.server.usage()?.since(&used));
        let (counts, elapsed) = (now.since(&counted), now.active_since(schedule.start_ns));
        Ok(Outcome { planned: Some(duration), ..self.outcome(expected, (counts, counts), elapsed, usage)? })
    }

    /// The next message when one arrived.
    fn closed(&self, outstanding: u32, duration: Duration) -> Result<Outcome, Error> {
        if outstanding == 0 {
            return Err(Error::new("at least 1 message must be outstanding"));
        }
        let warm_up = duration.mul_f64(WARM_UP_SHARE);
        let until_ns = now_ns() + (warm_up + duration).as_nanos() as u64;
        self.pool.converse(&Converse { starters: self.speakers.clone(), outstanding, until_ns });
        std::thread::sleep(warm_up);
        self.pool.latencies()?;
        let (counted, used, begun) = (self.pool.counts(), self.server.usage()?, Instant::now());
        std::thread::sleep(Duration::from_nanos(until_ns.saturating_sub(now_ns())));
        let (counts, elapsed) = (self.pool.counts().since(&counted), begun.elapsed());
        let usage = self.server.usage()?.since(&used);
        std::thread::sleep(TURN);
        let said = self.wait_said();
        self.outcome(said, (counts, self.pool.counts()), elapsed, usage)
    }

    /// Waits for everything that was said; returns how much that is. Whoever was told of the end late says more meanwhile.
    fn wait_said(&self) -> u64 {
        loop {
            let said = self.pool.counts().said;
            let all_arrived = self.pool.wait_messages(said, self.patience);
            let said_now = self.pool.counts().said;
            if said_now == said || !all_arrived {
                return said_now;
            }
        }
    }

    fn warm_up(&self) -> Result<(), Error> {
        let numbers = 0..self.speakers.len() as u32;
        let schedule = Schedule::burst(0);
        self.pool.say(&Say { clients: self.speakers.clone(), numbers: numbers.clone(), schedule });
        self.pool.wait_messages(u64::from(numbers.end), self.patience);
        self.pool.latencies().map(drop)
    }

    fn outcome(
        &self,
        expected: u64,
        counts: (Counts, Counts),
        elapsed: Duration,
        usage: Usage,
    ) -> Result<Outcome, Error> {
        self.pool.check()?;
        Ok(Outcome {
            clients: self.pool.counts().ready,
            expected,
            counts: counts.0,
            elapsed,
            arrived: counts.1,
            by_loop: self.pool.by_loop(),
            usage,
            latencies: self.pool.latencies()?,
            failure: self.pool.first_failure(),
            planned: None,
        })
    }
}

impl Outcome {
    /// Messages that arrived each second of the measured time.
    pub(crate) fn per_second(&self) -> f64 {
        self.counts.messages as f64 / self.elapsed.as_secs_f64()
    }

    /// Messages that did not arrive.
    pub(crate) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.arrived.messages)
    }

    /// Adds the figures; `noun` is the plural of what arrives.
    pub(crate) fn report(&self, noun: &str, report: &mut Report) {
        report.count("clients", self.clients);
        report.count(&format!("{noun}_expected"), self.expected);
        report.count(noun, self.arrived.messages);
        report.number("delivered_percent", self.percent());
        report.count("lost", self.lost());
        report.count("twice_or_out_of_order", self.arrived.repeated);
        report.number("elapsed_seconds", self.elapsed.as_secs_f64());
        report.number(&format!("{noun}_per_second"), self.per_second());
        report.latencies("latency", &self.latencies);
        if self.usage != Usage::default() {
            let cpu_ns = self.usage.cpu_ns as f64;
            report.number("cpu_seconds", cpu_ns / 1e9);
            report.number("cpu_us_per_message", cpu_ns / 1e3 / self.counts.messages.max(1) as f64);
            report.number("cpu_cores_used", cpu_ns / 1e9 / self.elapsed.as_secs_f64());
            self.usage.report_threads(report);
        }
    }

    /// Share of the messages that arrived.
    pub(crate) fn percent(&self) -> f64 {
        100.0 * self.arrived.messages as f64 / self.expected.max(1) as f64
    }

    /// Says why the talk proves nothing, or what is missing.
    pub(crate) fn judge(&self, report: &mut Report) {
        let evidence = Evidence {
            clients: self.clients,
            expected: self.expected,
            counts: &self.arrived,
            by_loop: &self.by_loop,
            latencies: &self.latencies,
            failure: self.failure.as_deref(),
            elapsed: self.elapsed,
            planned: self.planned,
        };
        evidence.judge(report);
    }
}
