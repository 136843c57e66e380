//! `comet`: messages to clients picked at random, for a long time: does memory stay flat?
//!
//! Owns who gets which message. The rates and the log line are those of the Mochiweb C10K test of 2008.
//! Start at [`Comet::run`].

mod trend;
mod watch;

use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::pool::Pool;
use crate::process::Pids;
use crate::publish::{Destination, Publisher};
use crate::report::{Historic, Report};
use crate::schedule::{Schedule, planned};
use crate::session::{Join, Protocol, Script};
use crate::target::Clients;
use crate::verdict::Evidence;
use watch::Watch;
pub use watch::{Journal, JournalTo};

/// What was published of Mochiweb in 2008. Memory is the server's resident size; the kernel's part is not in it.
const HISTORIC: [Historic<&str>; 4] = [
    Historic {
        who: "Mochiweb, part 1",
        date: "2008",
        machine: "4 x 2 GHz, 16 GB",
        figures: "10,000 connections, one chunk each in 10 s: 450 MB = 45 KB each",
        measures: "resident size / 10,000, the kernel left out",
    },
    Historic {
        who: "Mochiweb, part 2",
        date: "2008",
        machine: "4 x 2 GHz, 16 GB",
        figures: "10,000 connections, 1,000/s, 10 min: 125 MB; 24 h: level near 250 MB",
        measures: "resident size / 10,000, the kernel left out",
    },
    Historic {
        who: "Mochiweb, part 2, hibernating",
        date: "2008",
        machine: "4 x 2 GHz, 16 GB",
        figures: "10,000 connections, 1,000/s, 24 h: 78 MB = 8 KB each",
        measures: "resident size / 10,000, the kernel left out, 40 MB of the server itself included",
    },
    Historic {
        who: "Mochiweb, part 2",
        date: "2008",
        machine: "4 x 2 GHz, 16 GB",
        figures: "9,584 to 9,649 chunks in 10 s at nominal 1,000/s",
        measures: "messages delivered",
    },
];

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Comet {
    /// Who connects.
    pub clients: Clients,
    /// How.
    pub protocol: Protocol,
    /// What each client joins.
    pub join: Option<Join>,
    /// The user each client connects as, a template like [`Join::room`].
    pub user: Option<String>,
    /// Where messages are published; the channel is a template that reaches one client.
    pub destination: Destination,
    /// What is published.
    pub traffic: Traffic,
    /// The measured processes.
    pub server: Pids,
    /// What is told while it runs.
    pub journal: Journal,
}

/// See [`Comet::traffic`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Messages a second, at times fixed beforehand.
    pub per_second: f64,
    /// For how long.
    pub duration: Duration,
    /// Connections to publish over. All messages of a client take the same one, so that they keep their order.
    pub producers: u32,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// The same seed picks the same clients.
    pub seed: u64,
    /// How long nothing may arrive before the rest counts as lost.
    pub patience: Duration,
}

impl Comet {
    /// Connects everybody and publishes.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, a publish was refused or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_live()?;
        self.server.check()?;
        let traffic = &self.traffic;
        let end = planned(traffic.per_second, traffic.duration)?;
        if traffic.producers == 0 || self.clients.connections == 0 {
            return Err(Error::new("at least one producer and one client are needed"));
        }
        let rss_before = self.server.rss()?;
        let script = Script { user: self.user.clone(), ..Script::new(self.protocol, self.join.clone()) };
        let pool = Pool::start(&self.clients, script)?;
        pool.wait_ready(console)?;
        let mut watch = Watch::start(&self.journal, &self.server);
        let begun_ns = now_ns();
        self.publish(end, &pool, &mut watch, console)?;
        pool.wait_messages(end.into(), traffic.patience);
        pool.check()?;
        let mut report = self.report();
        self.conclude(&pool, (end.into(), begun_ns), pool.latencies()?, &mut report);
        if !self.server.is_empty() {
            report.count("rss_before_bytes", rss_before);
            watch.report(&mut report);
        }
        report.historic(&HISTORIC);
        pool.leave(console);
        Ok(report)
    }

    fn publish(&self, end: u32, pool: &Pool, watch: &mut Watch<'_>, console: Console) -> Result<(), Error> {
        let mut producers = Publisher::connect_several(&self.destination, self.traffic.producers)?;
        let picked = (self.traffic.seed, self.clients.connections);
        let schedule = Schedule::paced(0, self.traffic.per_second);
        let bar = console.progress("publishing", end.into());
        schedule.run(end, |numbers| {
            bar.set_position(numbers.end.into());
            producers.publish_picked(numbers, schedule, self.traffic.payload_bytes, picked)?;
            bar.suspend(|| watch.look(&pool.counts()))
        })?;
        bar.finish_and_clear();
        producers.wait_answered()
    }

    fn conclude(
        &self,
        pool: &Pool,
        (expected, begun_ns): (u64, u64),
        latencies: Latencies,
        report: &mut Report,
    ) {
        let (counts, failure) = (pool.counts(), pool.first_failure());
        let elapsed = counts.active_since(begun_ns);
        report.count("clients", counts.present());
        report.count("published", expected);
        report.count("delivered", counts.messages);
        report.number("delivered_percent", 100.0 * counts.messages as f64 / expected as f64);
        report.number("elapsed_seconds", elapsed.as_secs_f64());
        report.number("deliveries_per_second", counts.messages as f64 / elapsed.as_secs_f64());
        report.latencies("latency", &latencies);
        let evidence = Evidence {
            clients: counts.ready,
            expected,
            counts: &counts,
            by_loop: &pool.by_loop(),
            latencies: &latencies,
            failure: failure.as_deref(),
            elapsed,
            planned: Some(self.traffic.duration),
        };
        evidence.judge(report);
    }

    fn report(&self) -> Report {
        let mut report = Report::new("comet");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("channel", self.destination.channel.as_str());
        report.setting("rate_per_second", self.traffic.per_second);
        report.setting("duration_seconds", self.traffic.duration.as_secs_f64());
        report.setting("producers", self.traffic.producers);
        report.setting("payload_bytes", self.traffic.payload_bytes);
        report.setting("seed", self.traffic.seed);
        report
    }
}
