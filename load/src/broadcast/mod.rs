//! `broadcast`: how long one message takes to very many clients, as hotwheels' flashbot asked in 2009.
//!
//! Owns the order of connecting and publishing, and the comparison with the floor. Start at [`Broadcast::run`].

mod shot;

use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Error;
use crate::fanout::Sender;
use crate::floor::Floor;
use crate::latency::{Latencies, now_ns};
use crate::message::{Batch, NUMBERS_MAX};
use crate::pool::{Attribution, Counts, Pool};
use crate::process::Pids;
use crate::publish::{Destination, Publisher};
use crate::report::{Historic, Report};
use crate::session::{Join, Protocol, Script};
use crate::target::Clients;
use crate::verdict::{Evidence, median};
use shot::Shot;
pub use shot::Volley;

/// Rounds of a run that is compared with the floor.
const ROUNDS_WITH_FLOOR: usize = 3;

/// What was published of Janus, one message each. Where machines differ from the server's, two clocks were compared.
const HISTORIC: [Historic<&str>; 7] = [
    Historic {
        who: "Janus (Xie Hongfeng)",
        date: "2012",
        machine: "virtual machine, LAN",
        figures: "10,000: min 140, max 3249 ms; 36.48, 41.44, 10.01 % in the first three steps",
        measures: "one message; arrival against the time in it, two clocks",
    },
    Historic {
        who: "Janus",
        date: "2009",
        machine: "MacBook 2.93 GHz",
        figures: "10,000: min 1.9, max 1270 ms; 21.25, 50.10, 28.65 % in the first three steps",
        measures: "one message; arrival against the time in it",
    },
    Historic {
        who: "Janus",
        date: "2009",
        machine: "MacBook 2.93 GHz",
        figures: "20,000: min 2.5, max 3277 ms; best of several ways to send: max 714, 725, 743 ms",
        measures: "one message; arrival against the time in it",
    },
    Historic {
        who: "Janus",
        date: "2009",
        machine: "EC2 small, 1 bot machine",
        figures: "20,000: max 2964 to 3075 ms; one run lost 91",
        measures: "one message; arrival against the time in it, two clocks",
    },
    Historic {
        who: "Janus",
        date: "2009",
        machine: "EC2 small, 3 bot machines",
        figures: "20,000: max 2577 to 2609 ms",
        measures: "one message; arrival against the time in it, two clocks",
    },
    Historic {
        who: "Janus",
        date: "2009",
        machine: "EC2 small, 5 bot machines",
        figures: "20,000: max 1497, 1515, 1622 ms, one run 3892",
        measures: "one message; arrival against the time in it, two clocks",
    },
    Historic {
        who: "Janus' bounty",
        date: "2009",
        machine: "one small instance each side",
        figures: "20,000: max under 1 s (1,000 dollars) or 2 s (500)",
        measures: "a goal",
    },
];

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Broadcast {
    /// Who subscribes; several servers are taken in turn.
    pub clients: Clients,
    /// What they speak.
    pub protocol: Protocol,
    /// What each client joins; without it they hear the namespace.
    pub join: Option<Join>,
    /// Where each message is published: at every server that has clients of its own.
    pub doors: Vec<Destination>,
    /// The messages.
    pub volley: Volley,
    /// The measured processes.
    pub server: Pids,
    /// The floor to compare with, measured in turns; three rounds then instead of one.
    pub floor: Option<Floor>,
}

/// Clients that came, heard messages and left.
struct Round {
    setup: Duration,
    run: Duration,
    /// From the first message until the last arrival.
    firing: Duration,
    clients: u64,
    shots: Vec<Shot>,
    counts: Counts,
    by_loop: Vec<Counts>,
    failure: Option<String>,
}

/// Every server's door, over connections of their own for each message.
struct Doors<'a> {
    destinations: &'a [Destination],
    open: Vec<Publisher>,
}

impl Sender for Doors<'_> {
    fn prepare(&mut self) -> Result<(), Error> {
        self.open = self.destinations.iter().map(Publisher::connect).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        self.open.iter_mut().try_for_each(|publisher| publisher.publish(batch))
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.open.iter().try_for_each(Publisher::wait_answered)
    }
}

impl Broadcast {
    /// Runs one round, or three in turns with the floor.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, a publish was refused or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.check()?;
        let (mut rounds, mut floors) = (vec![self.round(console)?], Vec::new());
        if let Some(floor) = &self.floor {
            floors.push(self.floor_round(floor, console)?);
            while rounds.len() < ROUNDS_WITH_FLOOR {
                rounds.push(self.round(console)?);
                floors.push(self.floor_round(floor, console)?);
            }
        }
        let mut report = self.report();
        self.conclude(&rounds, &mut report);
        if !floors.is_empty() {
            compare(&rounds, &floors, &mut report);
        }
        report.historic(&HISTORIC);
        Ok(report)
    }

    fn check(&self) -> Result<(), Error> {
        self.protocol.check_live()?;
        self.server.check()?;
        if self.doors.is_empty() {
            return Err(Error::new("nowhere to publish"));
        }
        if self.volley.messages == 0 || self.volley.messages >= NUMBERS_MAX {
            return Err(Error::new("at least 1 message is needed, and fewer than 100,000,000"));
        }
        Ok(())
    }

    fn round(&self, console: Console) -> Result<Round, Error> {
        let begun = Instant::now();
        let attribution = Attribution::ByNumber;
        let script = Script { attribution, ..Script::new(self.protocol, self.join.clone()) };
        let pool = Pool::start(&self.clients, script)?;
        pool.wait_ready(console)?;
        let (setup, fired_ns) = (begun.elapsed(), now_ns());
        let mut doors = Doors { destinations: &self.doors, open: Vec::new() };
        let shots = self.volley.fire(&pool, &mut doors, console)?;
        let round = Round::new((setup, begun.elapsed(), fired_ns), &pool, shots);
        pool.check()?;
        pool.leave(console);
        Ok(round)
    }

    fn floor_round(&self, floor: &Floor, console: Console) -> Result<Round, Error> {
        let begun = Instant::now();
        let (mut writers, pool) = floor.open(self.doors.len() as u32, Attribution::ByNumber, console)?;
        let (setup, fired_ns) = (begun.elapsed(), now_ns());
        let shots = self.volley.fire(&pool, &mut writers, console)?;
        pool.check()?;
        Ok(Round::new((setup, begun.elapsed(), fired_ns), &pool, shots))
    }

    fn report(&self) -> Report {
        let mut report = Report::new("broadcast");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("servers", self.doors.len());
        if let Some(door) = self.doors.first() {
            report.setting("channel", door.channel.as_str());
        }
        self.volley.settings(&mut report);
        report
    }

    /// The figures of all rounds together.
    fn conclude(&self, rounds: &[Round], report: &mut Report) {
        let mut latencies = Latencies::new();
        for round in rounds {
            round.shots.iter().for_each(|shot| latencies.add(&shot.latencies));
            report.note(round.line());
            round.judge(&self.volley, report);
        }
        if let Some(first) = rounds.first() {
            report.count("subscribers", first.clients);
            report.number("setup_ms", first.setup.as_secs_f64() * 1000.0);
            report.number("run_ms", first.run.as_secs_f64() * 1000.0);
        }
        let (expected, good) = (rounds.iter().map(Round::expected).sum::<u64>(), latencies.len());
        report.count("good", good);
        report.count("bad", expected.saturating_sub(good));
        report.number("delivered_percent", 100.0 * good as f64 / expected.max(1) as f64);
        report.latencies("latency", &latencies);
        let mut last = last_deliveries(rounds);
        report.note(format!("last_delivery_ms of each message: {}", listed(&last)));
        report.number("last_delivery_ms", median(&mut last));
        report.number("last_delivery_min_ms", last.first().copied().unwrap_or(f64::NAN));
        report.number("last_delivery_max_ms", last.last().copied().unwrap_or(f64::NAN));
        let spreads = rounds.iter().flat_map(|round| round.shots.iter().map(Shot::spread_ms));
        report.number("spread_ms", median(&mut spreads.collect::<Vec<_>>()));
        report.flashbot("latency");
    }
}

impl Round {
    /// Of clients that are still there; `times` is how long they took to come, and everything, and when firing began.
    fn new(times: (Duration, Duration, u64), pool: &Pool, shots: Vec<Shot>) -> Self {
        let (setup, run, fired_ns) = times;
        let counts = pool.counts();
        let firing = counts.active_since(fired_ns);
        let (by_loop, failure) = (pool.by_loop(), pool.first_failure());
        Self { setup, run, firing, clients: counts.ready, shots, counts, by_loop, failure }
    }

    fn expected(&self) -> u64 {
        self.shots.iter().map(|shot| shot.clients).sum()
    }

    fn good(&self) -> u64 {
        self.shots.iter().map(|shot| shot.latencies.len()).sum()
    }

    /// As flashbot printed it.
    fn line(&self) -> String {
        let (good, bad) = (self.good(), self.expected().saturating_sub(self.good()));
        let (setup, run) = (self.setup.as_millis(), self.run.as_millis());
        format!("setup: {setup} ms, good: {good}, bad: {bad}, run: {run} ms")
    }

    fn judge(&self, volley: &Volley, report: &mut Report) {
        let mut latencies = Latencies::new();
        self.shots.iter().for_each(|shot| latencies.add(&shot.latencies));
        let evidence = Evidence {
            clients: self.clients,
            expected: self.expected(),
            counts: &self.counts,
            by_loop: &self.by_loop,
            latencies: &latencies,
            failure: self.failure.as_deref(),
            elapsed: self.firing,
            planned: volley.planned(),
        };
        evidence.judge(report);
        let late = self.counts.messages.saturating_sub(latencies.len() + latencies.negative());
        if late > 0 {
            let patience = volley.patience.as_secs_f64();
            report.failure(format!("{late} deliveries came later than {patience:.1} s"));
        }
    }
}

fn last_deliveries(rounds: &[Round]) -> Vec<f64> {
    rounds.iter().flat_map(|round| round.shots.iter().map(|shot| shot.latencies.max_ms())).collect()
}

fn listed(values: &[f64]) -> String {
    values.iter().map(|value| format!("{value:.1}")).collect::<Vec<_>>().join(", ")
}

/// Adds the ratio to the floor: the medians over all messages.
fn compare(rounds: &[Round], floors: &[Round], report: &mut Report) {
    let (mut server_ms, mut floor_ms) = (last_deliveries(rounds), last_deliveries(floors));
    report.note(format!("floor_last_delivery_ms of each message: {}", listed(&floor_ms)));
    let (server_ms, floor_ms) = (median(&mut server_ms), median(&mut floor_ms));
    report.number("floor_last_delivery_ms", floor_ms);
    report.number("ratio_last_delivery", server_ms / floor_ms);
    for floor in floors.iter().filter(|floor| floor.good() != floor.expected()) {
        report.void(format!("the floor delivered {} of {}", floor.good(), floor.expected()));
    }
}
