//! The highest rate at which every message comes back in time for as long as it is held.
//!
//! Owns the search: the rate grows by a factor until it is not held, the gap is halved a few times in short trials, and
//! what remains is held for the whole time. Each trial has new clients. Start at [`Sustained::run`].

use std::time::Duration;

use super::Echo;
use crate::console::Console;
use crate::error::Error;
use crate::report::Report;
use crate::talk::{Outcome, Tempo};

/// The rate grows by this factor while it is held.
const GROWTH: f64 = 2.0;

/// How often the gap between held and not held is halved.
const HALVINGS: u32 = 4;

/// How long a trial lasts, if the rate is held for longer in the end.
const TRIAL: Duration = Duration::from_secs(5);

/// Where the rate found by trials is not held for the whole time, it is lowered to this share, so many times.
const RETREAT: f64 = 0.9;
const RETREATS: u32 = 5;

/// What counts as held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sustained {
    /// The first rate, messages a second.
    pub first_per_second: f64,
    /// Rates end here; none = where they are no longer held.
    pub last_per_second: Option<f64>,
    /// For how long.
    pub hold: Duration,
    /// Above this the rate is not held.
    pub p99_ms_max: f64,
}

impl Sustained {
    /// Searches, and adds the rate with its figures.
    pub(super) fn run(&self, echo: &Echo, console: Console, report: &mut Report) -> Result<(), Error> {
        report.setting("hold_seconds", self.hold.as_secs_f64());
        let mut search = Search { sustained: self, echo, console, report };
        let Some(mut rate) = search.by_trials()? else {
            let first = self.first_per_second;
            report.failure(format!("not even {first} messages/s came back in time"));
            return Ok(());
        };
        for _ in 0..=RETREATS {
            let (outcome, is_held) = search.attempt(rate, self.hold)?;
            if is_held {
                search.conclude(rate, &outcome);
                return Ok(());
            }
            rate *= RETREAT;
        }
        report.failure(format!("no rate down to {rate:.0} messages/s was held for the whole time"));
        Ok(())
    }

    fn holds(&self, outcome: &Outcome) -> bool {
        outcome.lost() == 0 && outcome.arrived.repeated == 0 && outcome.latencies.ms(0.99) <= self.p99_ms_max
    }
}

struct Search<'a> {
    sustained: &'a Sustained,
    echo: &'a Echo,
    console: Console,
    report: &'a mut Report,
}

impl Search<'_> {
    /// The highest rate that was held for a short time.
    fn by_trials(&mut self) -> Result<Option<f64>, Error> {
        let (trial, last) = (self.sustained.hold.min(TRIAL), self.sustained.last_per_second);
        let (mut held, mut next) = (None, self.sustained.first_per_second);
        let mut refused = loop {
            if !self.attempt(next, trial)?.1 {
                break next;
            }
            held = Some(next);
            match last {
                Some(last) if next >= last => return Ok(held),
                _ => next = (next * GROWTH).min(last.unwrap_or(f64::INFINITY)),
            }
        };
        let Some(mut low) = held else { return Ok(None) };
        for _ in 0..HALVINGS {
            let middle = (low * refused).sqrt();
            if self.attempt(middle, trial)?.1 {
                low = middle;
            } else {
                refused = middle;
            }
        }
        Ok(Some(low))
    }

    fn attempt(&mut self, rate: f64, duration: Duration) -> Result<(Outcome, bool), Error> {
        let outcome = self.echo.talk(Tempo::Rate(rate), duration, self.console)?;
        let is_held = self.sustained.holds(&outcome);
        // Only the run that is reported can void the report: a trial that fails is what trials are for.
        let disorder = match outcome.arrived.repeated {
            0 => String::new(),
            repeated => format!(", {repeated} twice or out of order"),
        };
        self.report.note(format!(
            "{rate:.0}/s for {:.1} s: {:.2} % back{}, p50 {:.1} ms, p99 {:.1} ms: {}",
            duration.as_secs_f64(),
            outcome.percent(),
            disorder,
            outcome.latencies.ms(0.5),
            outcome.latencies.ms(0.99),
            if is_held { "held" } else { "not held" }
        ));
        Ok((outcome, is_held))
    }

    fn conclude(&mut self, rate: f64, outcome: &Outcome) {
        self.report.number("sustained_rate", rate);
        outcome.report("echoes", self.report);
        outcome.judge(self.report);
    }
}
