//! Bursts that grow from round to round, as spray-socketio's driver sent them.
//!
//! Owns the rounds and their lines. Start at [`Rounds::run`].

use std::time::Duration;

use super::Echo;
use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::message::NUMBERS_MAX;
use crate::pool::{Pool, Say};
use crate::report::{Historic, Report, Series};
use crate::schedule::Schedule;
use crate::verdict::Evidence;

/// The percentiles of a round's line.
const PERCENTS: [u32; 9] = [50, 66, 75, 80, 90, 95, 98, 99, 100];

/// What was published of 2014. Client and server were one laptop (i7-2630QM, 4 cores, 2.0 GHz), the clock's step was 1 ms.
const HISTORIC: [Historic<&str>; 6] = [
    Historic {
        who: "spray-socketio",
        date: "2014-03-06",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "5,000 connections, 120,000 a burst: begins to lose messages, mean 1.3 s",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
    Historic {
        who: "spray-socketio",
        date: "2014-03-06",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "2,000 connections, 200,000 a burst: holds, mean 3 s",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
    Historic {
        who: "spray-socketio",
        date: "2014-03-07",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "20,000 connections, 90,000 a burst: about 1 s",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
    Historic {
        who: "spray-socketio",
        date: "2014-03-07",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "20,000 connections, 230,000 in 100 ms: not all back in 5 s, mean 2.8 s",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
    Historic {
        who: "spray-socketio",
        date: "2014-03-10",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "50,000 connections, 90,000 a burst; 5 s exceeded at 200,000",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
    Historic {
        who: "spray-socketio README",
        date: "2014",
        machine: "laptop i7-2630QM, 4 cores 2.0 GHz, client and server",
        figures: "50,000 connections, about 80,000 messages/s",
        measures: "a burst without pace; rates are num / mean round trip; clock of 1 ms",
    },
];

/// How bursts grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rounds {
    /// Messages of the first burst.
    pub first: u32,
    /// By how many the next one is larger.
    pub step: u32,
    /// Messages of the largest burst.
    pub last: u32,
    /// Between two rounds.
    pub pause: Duration,
    /// How long a burst may take; one that takes longer is the last.
    pub limit: Duration,
}

/// One burst.
struct Round {
    messages: u32,
    back: u64,
    elapsed: Duration,
    latencies: Latencies,
}

impl Rounds {
    /// Burst by burst, until one takes too long.
    pub(super) fn run(&self, echo: &Echo, console: Console, report: &mut Report) -> Result<(), Error> {
        self.check()?;
        self.settings(report);
        let pool = echo.open(console)?;
        report.row(columns());
        let mut number = echo.clients.connections;
        self.warm_up(echo, &pool)?;
        let (mut held, mut last, mut latencies) = (None, None, Latencies::new());
        let mut means = Vec::new();
        let sizes = (self.first..=self.last).step_by(self.step as usize);
        let bar = console.progress("rounds", sizes.clone().count() as u64);
        for messages in sizes {
            let end = number.saturating_add(messages);
            if end >= NUMBERS_MAX {
                report.note(format!("ended before the burst of {messages}: no more numbers"));
                break;
            }
            let round = self.burst(echo, &pool, number..end)?;
            latencies.add(&round.latencies);
            number = end;
            bar.inc(1);
            let cut = pool.counts().cut;
            if cut > 0 {
                report.note(format!("ended with the burst of {messages}: {cut} connections were lost"));
            }
            if round.back < u64::from(messages) {
                last = Some(round);
                break;
            }
            report.row(round.cells());
            means.push((f64::from(messages), round.latencies.mean_ms()));
            held = Some(round);
            if cut > 0 {
                break;
            }
            std::thread::sleep(self.pause);
        }
        bar.finish_and_clear();
        let (name, unit, x_unit) = ("mean round trip".into(), "ms".into(), "messages in a burst".into());
        report.series(Series { name, unit, x_unit, points: means });
        Self::conclude((held, last), report);
        // What is only late still comes; what never does is lost.
        pool.wait_messages(u64::from(number), echo.patience);
        pool.check()?;
        latencies.add(&pool.latencies()?);
        judge(&pool, u64::from(number), &latencies, report);
        pool.leave(console);
        Ok(())
    }

    /// A message of each client, without which nothing can be measured.
    fn warm_up(&self, echo: &Echo, pool: &Pool) -> Result<(), Error> {
        let clients = 0..echo.clients.connections;
        let (numbers, all) = (clients.clone(), u64::from(clients.end));
        pool.say(&Say { clients, schedule: Schedule::burst(0), numbers });
        if !pool.wait_messages(all, echo.patience) {
            pool.check()?;
            let (back, why) = (pool.counts().messages, pool.first_failure().unwrap_or("no answer".into()));
            return Err(Error::new(format!("{back} of {all} messages of the warm-up came back: {why}")));
        }
        pool.latencies().map(drop)
    }

    /// Waits at most `limit`, and no longer when a connection is lost.
    fn burst(&self, echo: &Echo, pool: &Pool, numbers: std::ops::Range<u32>) -> Result<Round, Error> {
        let (clients, counted) = (0..echo.clients.connections, pool.counts());
        let (messages, schedule) = (numbers.end - numbers.start, Schedule::burst(numbers.start));
        pool.say(&Say { clients, schedule, numbers });
        let passed = || Duration::from_nanos(now_ns() - schedule.start_ns);
        let complete = pool.wait_messages_while(counted.messages + u64::from(messages), |counts| {
            if counts.cut > counted.cut { Duration::ZERO } else { self.limit.saturating_sub(passed()) }
        });
        let counts = pool.counts();
        let elapsed = if complete { counts.active_since(schedule.start_ns) } else { passed() };
        let back = counts.messages - counted.messages;
        Ok(Round { messages, back, elapsed, latencies: pool.latencies()? })
    }

    fn conclude((held, last): (Option<Round>, Option<Round>), report: &mut Report) {
        if let Some(round) = held {
            report.count("burst_messages", round.messages.into());
            report.number("burst_seconds", round.elapsed.as_secs_f64());
            report.number("burst_per_second", round.per_second());
            report.number("burst_mean_ms", round.latencies.mean_ms());
            report.number("burst_p99_ms", round.latencies.ms(0.99));
            report.note(
                "rate is num / mean, as it was printed in 2014: a burst and its mean round trip, not a sustained rate; \
                 per_second is num / time until the last one was back",
            );
        } else {
            report.failure("not even the first burst was back in time");
        }
        if let Some(Round { messages, back, elapsed, .. }) = last {
            let seconds = elapsed.as_secs_f64();
            report.note(format!("burst of {messages}: Failed - not all messages received in {seconds:.0}s"));
            report.note(format!("Expected: {messages}, got: {back}"));
        }
        report.historic(&HISTORIC);
    }

    fn check(&self) -> Result<(), Error> {
        if self.first == 0 || self.step == 0 || self.last < self.first {
            return Err(Error::new("bursts begin at 1 or more, grow by 1 or more and end at --last"));
        }
        Ok(())
    }

    fn settings(&self, report: &mut Report) {
        report.setting("first", self.first);
        report.setting("step", self.step);
        report.setting("last", self.last);
        report.setting("limit_seconds", self.limit.as_secs_f64());
    }
}

fn columns() -> Vec<String> {
    let names = ["num", "min", "mean", "max", "stdev", "rate", "per_second"].map(str::to_owned);
    names.into_iter().chain(PERCENTS.map(|percent| format!("{percent}%"))).collect()
}

/// Over all bursts.
fn judge(pool: &Pool, expected: u64, latencies: &Latencies, report: &mut Report) {
    let failure = pool.first_failure();
    let evidence = Evidence {
        clients: pool.counts().ready,
        expected,
        counts: &pool.counts(),
        by_loop: &pool.by_loop(),
        latencies,
        failure: failure.as_deref(),
        elapsed: Duration::ZERO,
        planned: None,
    };
    evidence.judge(report);
}

impl Round {
    fn per_second(&self) -> f64 {
        self.back as f64 / self.elapsed.as_secs_f64()
    }

    /// Times in milliseconds.
    fn cells(&self) -> Vec<String> {
        let Self { messages, latencies, .. } = self;
        let rate = f64::from(*messages) / (latencies.mean_ms() / 1000.0);
        let times = [latencies.min_ms(), latencies.mean_ms(), latencies.max_ms(), latencies.stdev_ms()];
        let percents = PERCENTS.map(|percent| latencies.ms(f64::from(percent) / 100.0));
        let cell = |ms: &f64| format!("{ms:.1}");
        let mut cells = vec![messages.to_string()];
        cells.extend(times.iter().map(cell));
        cells.extend([format!("{rate:.0}"), format!("{:.0}", self.per_second())]);
        cells.extend(percents.iter().map(cell));
        cells
    }
}
