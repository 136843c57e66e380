//! `avalanche`: the server is restarted under very many clients, and all of them want back in.
//!
//! Owns the order of events and the verdict; `server` restarts, `timeline` is what was seen meanwhile. Messages go on
//! being published, and one that is not acknowledged is repeated. Start at [`Avalanche::run`].

mod server;
mod timeline;

use std::time::{Duration, Instant};

use crate::comeback::{Comeback, Promise, Recovery, Span};
use crate::console::Console;
use crate::error::Error;
use crate::latency::Latencies;
use crate::pool::{Counts, Findings, Pool};
use crate::process::Pids;
use crate::publish::Destination;
use crate::report::{Historic, Report};
use crate::session::{Join, Protocol, Script};
use crate::settle::settle;
use crate::steady::{Published, Steady};
use crate::still::Still;
use crate::target::Clients;
use crate::verdict::{void_if_early, void_if_nothing, void_if_stopped_alike};
pub use server::{OwnServer, Restart, Restarted, ServerCommand, ShellRestart, Stop, free_addresses};
use timeline::Timeline;

/// What nodejs-websocket-bench published of its test "avalanche".
const HISTORIC: [Historic<&str>; 3] = [
    Historic {
        who: "socket.io 4, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "5,000 clients: all dropped; p50 4.97 s, p95 5.99 s; 6.8 s down",
        measures: "return after a restart; stopped waiting when 95 % were back",
    },
    Historic {
        who: "socketioxide 0.18.4, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "5,000 clients: 2.9 s; 10,000: 96 % in 67 s; 20,000: 0 %",
        measures: "return after a restart; stopped waiting when 95 % were back",
    },
    Historic {
        who: "anycable-go, by nodejs-websocket-bench",
        date: "README 849e89f",
        machine: "not stated for this test",
        figures: "5,000 clients: none dropped",
        measures: "a restart of the application; the server with the connections is another process and stayed",
    },
];

/// How often the clients are counted.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How long nobody may be lost after the restart before we believe that all losses are known.
const QUIET_AFTER: Duration = Duration::from_secs(1);

/// How long after its start the server's processor time is read.
const CPU_WINDOW: Duration = Duration::from_secs(10);

/// Messages that must be acknowledged before the restart, and again when everybody is back.
const MESSAGES_AROUND: u32 = 2;

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Avalanche {
    /// Who is connected.
    pub clients: Clients,
    /// What they speak.
    pub protocol: Protocol,
    /// What each client joins whenever it was not recovered; without it they hear the namespace.
    pub join: Option<Join>,
    /// Where messages are published.
    pub destination: Destination,
    /// From one message to the next.
    pub interval: Duration,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// Whether clients ask for what they missed.
    pub recovery: Recovery,
    /// How long a client stays away after the loss, and after each refusal.
    pub away: Span,
    /// Where random times begin.
    pub seed: u64,
    /// How long after the restart we wait for the last client, and at the end for the last message.
    pub patience: Duration,
    /// Percent of those that came back that must have been given the session they had. With 100 no message may be lost.
    pub expect_recovered: Option<f64>,
}

/// What a run showed.
struct Outcome {
    clients: u64,
    restarted: Restarted,
    timeline: Timeline,
    counts: Counts,
    findings: Findings,
    published: Published,
    latencies: Latencies,
    /// Processor time of the new process, and how long it was watched.
    cpu: Option<(Duration, Duration)>,
    by_loop: Vec<Counts>,
    failure: Option<String>,
}

impl Avalanche {
    /// Connects everybody, restarts the server, waits until all are back, judges.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected or the server did not start again.
    pub fn run(&self, server: &mut dyn Restart, console: Console) -> Result<Report, Error> {
        self.protocol.check_returning()?;
        if self.away.is_nothing() {
            return Err(Error::new("clients must stay away for more than 0 ms"));
        }
        let comeback = Some(Comeback { recovery: self.recovery, away: self.away, seed: self.seed });
        let script = Script { comeback, ..Script::new(self.protocol, self.join.clone()) };
        let pool = Pool::start(&self.clients, script)?;
        pool.wait_ready(console)?;
        let steady = Steady::start(&self.destination, self.interval, self.payload_bytes)?;
        steady.wait_more(MESSAGES_AROUND, self.patience);

        let clients = pool.counts().ready;
        let mut timeline = Timeline::new(clients);
        let restarted = watch_restart(&pool, server, &mut timeline)?;
        let cpu = self.watch_return(&pool, &restarted, &mut timeline, console);
        steady.wait_more(MESSAGES_AROUND, self.patience);
        let published = steady.finish();
        // At most that many: who waits for a number that was never published is stopped by the quiet.
        settle(&pool, clients * u64::from(published.end), self.settle_within(), console);
        let findings = pool.find(&published.question())?;
        let outcome = Outcome {
            clients,
            restarted,
            timeline,
            counts: pool.counts(),
            findings,
            published,
            latencies: pool.latencies()?,
            cpu,
            by_loop: pool.by_loop(),
            failure: pool.first_failure(),
        };
        pool.check()?;
        pool.leave(console);

        let mut report = self.report();
        outcome.report(&mut report);
        self.judge(&outcome, &mut report);
        report.historic(&HISTORIC);
        Ok(report)
    }

    /// How long nothing may arrive at the end.
    fn settle_within(&self) -> Duration {
        self.patience.min(Duration::from_secs(5))
    }

    /// Waits until everybody is back, or patience ends; and until the new process can be judged by its first seconds, if
    /// it takes so long. Returns its processor time.
    fn watch_return(
        &self,
        pool: &Pool,
        restarted: &Restarted,
        timeline: &mut Timeline,
        console: Console,
    ) -> Option<(Duration, Duration)> {
        let bar = console.progress("returning", pool.counts().ready);
        let begun = Instant::now();
        let (mut lost, mut cpu) = (Still::new(pool.counts().lost), None);
        loop {
            let counts = pool.counts();
            timeline.look(&counts);
            bar.set_position(counts.present());
            if cpu.is_none() && restarted.since_start() >= CPU_WINDOW {
                cpu = restarted.cpu();
            }
            let quiet = lost.look(counts.lost) > QUIET_AFTER;
            let complete = quiet && counts.away() == 0;
            if complete || begun.elapsed() > self.patience || pool.check().is_err() {
                bar.finish_and_clear();
                return cpu.or_else(|| restarted.cpu());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::new("avalanche");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("channel", self.destination.channel.as_str());
        report.setting("messages_per_second", 1.0 / self.interval.as_secs_f64());
        report.setting("payload_bytes", self.payload_bytes);
        report.setting("recovery", self.recovery.name());
        report.setting("return_after", self.away.to_string());
        report.setting("seed", self.seed);
        report
    }

    fn judge(&self, outcome: &Outcome, report: &mut Report) {
        let Outcome { counts, findings, published, .. } = outcome;
        let never = u64::from(self.clients.connections).saturating_sub(counts.present());
        if never > 0 {
            let why = outcome.failure.as_deref().unwrap_or("no answer");
            report.failure(format!("{never} clients never came back: {why}"));
        }
        if counts.lost == 0 {
            report.note("nobody was disconnected: the restart was not seen by clients");
        }
        if published.acknowledged == 0 {
            report.void("nothing was published");
        }
        void_if_nothing(outcome.clients, counts.distinct(), report);
        void_if_early(&outcome.latencies, report);
        void_if_stopped_alike(&outcome.by_loop, report);
        let (recovered, lost) = (outcome.recovered_percent(), findings.skipped + findings.behind);
        if let Some(expected) = self.expect_recovered {
            if recovered < expected {
                report.failure(format!("{recovered:.3} % of the sessions were recovered, not {expected} %"));
            }
            if expected >= 100.0 && lost > 0 {
                let clients = findings.clients_incomplete;
                report.failure(format!("{lost} deliveries are missing, of {clients} clients"));
            }
        }
        // At QoS 1 a message may come again.
        if counts.twice() > 0 && self.protocol.promise(self.recovery) != Promise::Everything {
            report.failure(format!("{} messages were delivered twice", counts.twice()));
        }
        if counts.late > 0 {
            report.failure(format!("{} messages were out of order", counts.late));
        }
    }
}

/// Restarts the server and counts meanwhile.
fn watch_restart(pool: &Pool, server: &mut dyn Restart, timeline: &mut Timeline) -> Result<Restarted, Error> {
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| server.restart());
        while !restart.is_finished() {
            timeline.look(&pool.counts());
            std::thread::sleep(LOOK_EVERY);
        }
        restart.join().unwrap_or_else(|_| Err(Error::new("the restart failed")))
    })
}

impl Restarted {
    /// Processor time of the new process so far, and how long it has run.
    fn cpu(&self) -> Option<(Duration, Duration)> {
        let usage = Pids(vec![self.pid?]).usage().ok()?;
        Some((Duration::from_nanos(usage.cpu_ns), self.since_start()))
    }
}

impl Outcome {
    fn recovered_percent(&self) -> f64 {
        100.0 * self.counts.recovered as f64 / self.counts.returned.max(1) as f64
    }

    fn report(&self, report: &mut Report) {
        let Self { counts, findings, published, restarted, .. } = self;
        report.count("clients", self.clients);
        report.count("disconnected", counts.lost);
        report.number("server_down_seconds", restarted.down.as_secs_f64());
        for (name, time) in
            [("server_stop_seconds", restarted.stop), ("server_start_seconds", restarted.start)]
        {
            if let Some(time) = time {
                report.number(name, time.as_secs_f64());
            }
        }
        self.timeline.report(report);
        report.count("never_back", self.clients.saturating_sub(counts.present()));
        report.count("handshakes_refused", counts.refused);
        report.count("handshakes_answered_with_503", counts.unavailable);
        report.count("returned", counts.returned);
        report.count("sessions_recovered", counts.recovered);
        report.number("recovered_percent", self.recovered_percent());
        report.count("published", published.acknowledged.into());
        report.count("publishes_repeated", published.failures);
        report.count("deliveries", counts.distinct());
        report.count("lost", findings.skipped + findings.behind);
        report.count("clients_with_loss", findings.clients_incomplete);
        report.count("twice", counts.twice());
        report.count("out_of_order", counts.late);
        if let Some((cpu, watched)) = self.cpu {
            report.number("server_cpu_seconds_after_restart", cpu.as_secs_f64());
            report.number("server_cpu_watched_seconds", watched.as_secs_f64());
        }
        // From when a message was due: one that was due while the server was down includes that.
        report.latencies("latency", &self.latencies);
    }
}
