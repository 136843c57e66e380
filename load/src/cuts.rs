//! `cuts`: what reaches clients whose connections are cut at random while messages flow.
//!
//! Owns publishing and the verdict; when a client is cut and comes back is the pool's. Every client's numbers are judged
//! by themselves: what it never received is lost, what it received again came twice. A publisher of MQTT is cut as well, and
//! sends again what was not acknowledged. Start at [`Cuts::run`].

use std::time::Duration;

use crate::comeback::{Comeback, Cut, CutPlan, Promise, Recovery, Span};
use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::message::{Batch, NUMBERS_MAX};
use crate::pool::{Counts, Findings, Pool, Question};
use crate::process::{Pids, Usage};
use crate::publish::{Destination, Publisher};
use crate::report::{Historic, Report};
use crate::session::{Join, Protocol, Script};
use crate::settle::settle;
use crate::target::Clients;
use crate::verdict::{void_if_early, void_if_nothing, void_if_overtime, void_if_stopped_alike};

/// What nodejs-websocket-bench published of its test "jitter".
const HISTORIC: [Historic<&str>; 5] = [
    Historic {
        who: "socket.io 4, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "84.55 % delivered, 184,449 lost; arrival p50 106 ms, p99 1.07 s, max 1.75 s",
        measures: "deliveries of 120 messages to 10,000 clients over WebSocket, cut at random, offline at least 2 s",
    },
    Historic {
        who: "socket.io 4 with recovery in memory, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "100 % delivered, 99.7 % resumed; arrival p50 148 ms, p99 4.58 s, max 9.71 s",
        measures: "deliveries of 120 messages to 10,000 clients over WebSocket, cut at random, offline at least 2 s",
    },
    Historic {
        who: "uWebSockets.js, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "87.03 % delivered, 153,805 lost; arrival p50 92 ms, p99 1.72 s, max 2.95 s",
        measures: "deliveries of 120 messages to 10,000 clients over WebSocket, cut at random, offline at least 2 s",
    },
    Historic {
        who: "anycable-go OSS, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "100 % delivered; arrival p50 250 ms, p99 6.14 s, max 9.23 s",
        measures: "deliveries of 120 messages to 10,000 clients over WebSocket, cut at random, offline at least 2 s",
    },
    Historic {
        who: "socketioxide 0.18.4, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "40.6 and 32.7 % delivered in two runs; 89.4 % with 1,000 clients",
        measures: "deliveries of 120 messages to 10,000 clients over WebSocket, cut at random, offline at least 2 s",
    },
];

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Cuts {
    /// Who subscribes.
    pub clients: Clients,
    /// What they speak.
    pub protocol: Protocol,
    /// What each client joins whenever it was not recovered; without it they hear the namespace.
    pub join: Option<Join>,
    /// Where messages are published.
    pub destination: Destination,
    /// How many.
    pub messages: u32,
    /// From one message to the next.
    pub interval: Duration,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// Whether clients ask for what they missed.
    pub recovery: Recovery,
    /// How connections are cut.
    pub cut: Cut,
    /// From the first message to the first cut of a client.
    pub first: Span,
    /// From one cut of a client to its next.
    pub every: Span,
    /// How long a client stays away. The lower bound is the offline floor, on which the share delivered depends.
    pub away: Span,
    /// Where random times begin.
    pub seed: u64,
    /// How long nothing may arrive at the end before the rest counts as lost.
    pub patience: Duration,
    /// The measured processes.
    pub server: Pids,
}

/// What a run showed.
#[derive(Clone, Debug)]
struct Outcome {
    clients: u64,
    expected: u64,
    counts: Counts,
    findings: Findings,
    latencies: Latencies,
    usage: Usage,
    publishing: Duration,
    /// Of a publisher that is cut as well.
    publisher: Option<Counts>,
    by_loop: Vec<Counts>,
    failure: Option<String>,
}

impl Cuts {
    /// Connects everybody, publishes while clients are cut, waits until all are back, judges.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, a publish was refused or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_returning()?;
        self.server.check()?;
        if self.messages == 0 || self.messages >= NUMBERS_MAX {
            return Err(Error::new("messages must be at least 1 and below 100,000,000"));
        }
        if [self.every, self.away].iter().any(Span::is_nothing) {
            return Err(Error::new("the time between two cuts and the time offline must be more than 0 ms"));
        }
        let script =
            Script { comeback: Some(self.comeback()), ..Script::new(self.protocol, self.join.clone()) };
        let pool = Pool::start(&self.clients, script)?;
        pool.wait_ready(console)?;
        let clients = pool.counts().ready;
        let expected = clients * u64::from(self.messages);
        let used = self.server.usage()?;

        pool.cut(Some(self.plan()));
        let (publishing, publisher) = self.publish(console)?;
        pool.cut(None);
        settle(&pool, expected, self.patience, console);
        let findings = pool.find(&Question { end: self.messages, excepted: Vec::new() })?;
        let (latencies, usage) = (pool.latencies()?, self.server.usage()?.since(&used));
        pool.check()?;
        let (counts, by_loop, failure) = (pool.counts(), pool.by_loop(), pool.first_failure());
        pool.leave(console);

        let mut report = self.report();
        let outcome = Outcome {
            clients,
            expected,
            counts,
            findings,
            latencies,
            usage,
            publishing,
            publisher,
            by_loop,
            failure,
        };
        outcome.report(&mut report);
        self.judge(&outcome, &mut report);
        report.historic(&HISTORIC);
        Ok(report)
    }

    fn comeback(&self) -> Comeback {
        Comeback { recovery: self.recovery, away: self.away, seed: self.seed }
    }

    fn plan(&self) -> CutPlan {
        CutPlan { first: self.first, every: self.every, how: self.cut }
    }

    /// Publishes at fixed times; returns how long it took until all was acknowledged, and what became of the publisher.
    fn publish(&self, console: Console) -> Result<(Duration, Option<Counts>), Error> {
        let mut publisher = match self.recovery {
            Recovery::On => Publisher::connect_to_last(&self.destination, self.comeback())?,
            Recovery::Off => Publisher::connect(&self.destination)?,
        };
        publisher.cut(Some(self.plan()));
        let bar = console.progress("publishing", self.messages.into());
        let (begun_ns, payload_bytes) = (now_ns(), self.payload_bytes);
        for number in 0..self.messages {
            let due_ns = begun_ns + u64::from(number) * self.interval.as_nanos() as u64;
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            publisher.publish(&Batch { numbers: number..number + 1, due_ns, payload_bytes })?;
            bar.set_position(u64::from(number) + 1);
        }
        publisher.cut(None);
        publisher.wait_answered()?;
        bar.finish_and_clear();
        Ok((Duration::from_nanos(now_ns() - begun_ns), publisher.counts()))
    }

    fn report(&self) -> Report {
        let mut report = Report::new("cuts");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("channel", self.destination.channel.as_str());
        report.setting("messages", self.messages);
        report.setting("interval_ms", self.interval.as_millis() as u64);
        report.setting("payload_bytes", self.payload_bytes);
        report.setting("recovery", self.recovery.name());
        report.setting("cut", self.cut.name());
        report.setting("cut_first", self.first.to_string());
        report.setting("cut_every", self.every.to_string());
        report.setting("offline", self.away.to_string());
        report.setting("seed", self.seed);
        report
    }

    fn judge(&self, outcome: &Outcome, report: &mut Report) {
        let Outcome { counts, findings, expected, .. } = outcome;
        void_if_nothing(outcome.clients, counts.distinct(), report);
        if counts.cuts == 0 {
            report.void("nobody was cut: the run was too short");
        }
        void_if_early(&outcome.latencies, report);
        void_if_overtime(outcome.publishing, self.interval * self.messages, report);
        void_if_stopped_alike(&outcome.by_loop, report);
        let away = self.clients_missing(outcome);
        if away > 0 {
            let why = outcome.failure.as_deref().unwrap_or("no answer");
            report.failure(format!("{away} clients did not come (back): {why}"));
        }
        if outcome.publisher.is_some_and(|publisher| publisher.cuts == 0) {
            report.note("the publisher was never cut: nothing is proven of what it sends again");
        }
        let promise = self.protocol.promise(self.recovery);
        promise.judge(counts, (*expected, findings), report);
        if promise != Promise::Nothing && counts.returned > 0 && counts.recovered == 0 {
            report.failure("nobody was given the session it had");
        }
    }

    fn clients_missing(&self, outcome: &Outcome) -> u64 {
        u64::from(self.clients.connections).saturating_sub(outcome.counts.present())
    }
}

impl Outcome {
    fn report(&self, report: &mut Report) {
        let Self { counts, findings, expected, .. } = self;
        let percent = |part: u64, of: u64| 100.0 * part as f64 / of.max(1) as f64;
        report.count("subscribers", self.clients);
        report.count("deliveries_expected", *expected);
        report.count("deliveries", counts.distinct());
        report.number("delivered_percent", percent(counts.distinct(), *expected));
        let once = counts.distinct().saturating_sub(counts.again);
        report.number("delivered_exactly_once_percent", percent(once, *expected));
        report.count("lost", findings.skipped + findings.behind);
        report.count("lost_below_the_highest_number_seen", findings.skipped);
        report.count("clients_with_loss", findings.clients_incomplete);
        report.count("twice", counts.twice());
        report.count("out_of_order", counts.late);
        report.count("cuts", counts.cuts);
        report.number("cuts_per_client", counts.cuts as f64 / self.clients.max(1) as f64);
        report.count("dropped_by_the_server", counts.lost);
        report.count("returned", counts.returned);
        report.count("recovered", counts.recovered);
        report.number("recovered_percent", percent(counts.recovered, counts.returned));
        report.count("handshakes_refused", counts.refused);
        if let Some(publisher) = &self.publisher {
            report.count("publisher_cuts", publisher.cuts);
            report.count("publisher_returned", publisher.returned);
            report.count("publisher_recovered", publisher.recovered);
        }
        report.number("publishing_seconds", self.publishing.as_secs_f64());
        if self.usage != Usage::default() {
            report.number("cpu_seconds", self.usage.cpu_ns as f64 / 1e9);
        }
        // Of each number the first arrival; what was replayed is the tail.
        report.latencies("latency", &self.latencies);
    }
}
