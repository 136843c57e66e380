//! `churn`: clients that come, join a room, hear one message and leave, at a steady rate.
//!
//! Owns the comparison of before and after: nothing of them may be left on the server. A client is a slot that comes again
//! when its last visit is over. Start at [`Churn::run`].

use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::pool::{Counts, Measured, Pool, Visit};
use crate::process::Pids;
use crate::publish::metric;
use crate::report::Report;
use crate::schedule::{Schedule, planned};
use crate::session::{Emission, Join, Opening, Protocol, Script};
use crate::target::{Clients, Target};
use crate::verdict::Evidence;

/// How often the server is asked whether its sessions are gone.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The topic of each client of MQTT.
const OWN_TOPIC: &str = "churn/%{i}";

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Churn {
    /// The slots: more than are ever there at the same time.
    pub clients: Clients,
    /// How they connect.
    pub protocol: Protocol,
    /// What each one joins. Of MQTT the topic to which each is subscribed and says what it hears.
    pub join: Option<Join>,
    /// Event that the back end returns to its sender, with its argument. MQTT has none.
    pub echo_event: String,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// Visits a second, at times fixed beforehand.
    pub per_second: f64,
    /// For how long.
    pub duration: Duration,
    /// How long nothing may happen before the rest counts as stuck, and how long sessions may take to go.
    pub patience: Duration,
    /// The measured processes.
    pub server: Pids,
    /// Where the server's `/metrics` are, if it has any.
    pub metrics_url: Option<Target>,
    /// The gauge of its sessions.
    pub sessions_metric: String,
}

/// What is left when everybody has gone.
struct Remains {
    sessions_before: Option<u64>,
    sessions_after: Option<u64>,
    rss_before: u64,
    rss_after: u64,
}

impl Churn {
    /// Lets them come and go.
    ///
    /// # Errors
    /// [`Error`] if arguments cannot be or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_speaking()?;
        self.server.check()?;
        let end = planned(self.per_second, self.duration)?;
        let pool = Pool::start(&self.clients, self.script())?;
        let (sessions_before, rss_before) = (self.sessions(), self.server.rss()?);
        let begun_ns = now_ns();
        let schedule = Schedule::paced(0, self.per_second);
        let bar = console.progress("visits", end.into());
        schedule.run(end, |numbers| {
            bar.set_position(numbers.end.into());
            pool.visit(&Visit { slots: self.clients.connections, numbers, schedule });
            Ok(())
        })?;
        bar.finish_and_clear();
        pool.wait(&console.progress("leaving", end.into()), end.into(), self.patience, over);
        pool.check()?;
        let elapsed = pool.counts().active_since(begun_ns);
        let sessions_after = self.sessions_gone(sessions_before);
        let rss_after = self.server.rss()?;
        let remains = Remains { sessions_before, sessions_after, rss_before, rss_after };
        let mut report = self.report();
        self.conclude(&pool, (end, elapsed), &mut report)?;
        self.compare(&remains, &mut report);
        Ok(report)
    }

    fn script(&self) -> Script {
        if let Protocol::Mqtt(_) = self.protocol {
            let topic = self.join.as_ref().map_or(OWN_TOPIC, |join| &join.room);
            let script = Script::own_topic(self.protocol, topic, self.payload_bytes);
            return Script { opening: Opening::WhenAsked, ..script };
        }
        Script {
            emission: Some(Emission::new(&self.echo_event, None, self.payload_bytes)),
            opening: Opening::WhenAsked,
            ..Script::new(self.protocol, self.join.clone())
        }
    }

    fn sessions(&self) -> Option<u64> {
        metric(self.metrics_url.as_ref()?, &self.sessions_metric)
    }

    /// Gives the server time to notice that they are gone.
    fn sessions_gone(&self, before: Option<u64>) -> Option<u64> {
        let until = Instant::now() + self.patience;
        let before = before?;
        loop {
            let after = self.sessions();
            if after.is_none_or(|after| after <= before) || Instant::now() > until {
                return after;
            }
            std::thread::sleep(ASK_EVERY);
        }
    }

    fn conclude(
        &self,
        pool: &Pool,
        (visits, elapsed): (u32, Duration),
        report: &mut Report,
    ) -> Result<(), Error> {
        let (counts, visits) = (pool.counts(), u64::from(visits));
        report.count("visits", visits);
        report.count("completed", counts.left);
        report.count("refused_or_lost", counts.failed + counts.cut);
        report.count("no_client_free", counts.nobody_free);
        report.count("stuck", visits.saturating_sub(over(&counts)));
        report.number("elapsed_seconds", elapsed.as_secs_f64());
        report.number("visits_per_second", counts.left as f64 / elapsed.as_secs_f64());
        let messages = pool.latencies()?;
        report.latencies("cycle", &pool.latencies_of(Measured::Visits)?);
        report.latencies("connect", &pool.latencies_of(Measured::Connects)?);
        report.latencies("message", &messages);
        self.judge(pool, (visits, elapsed), &messages, report);
        let begun = visits.saturating_sub(counts.nobody_free);
        if counts.left < begun {
            report.failure(format!("{} of {begun} visits did not end well", begun - counts.left));
        }
        if counts.nobody_free > 0 {
            report.void(format!(
                "no client is free for {} visits: more of them are needed for this rate",
                counts.nobody_free
            ));
        }
        Ok(())
    }

    fn judge(&self, pool: &Pool, run: (u64, Duration), messages: &Latencies, report: &mut Report) {
        let failure = pool.first_failure();
        let evidence = Evidence {
            clients: pool.counts().ready,
            expected: run.0.saturating_sub(pool.counts().nobody_free),
            counts: &pool.counts(),
            // Clients of a loop are slots here, and how many came is no ceiling.
            by_loop: &[],
            latencies: messages,
            failure: failure.as_deref(),
            elapsed: run.1,
            planned: Some(self.duration),
        };
        evidence.judge(report);
    }

    fn compare(&self, remains: &Remains, report: &mut Report) {
        if let (Some(before), Some(after)) = (remains.sessions_before, remains.sessions_after) {
            let left = after.saturating_sub(before);
            report.count("sessions_left", left);
            if left > 0 {
                report.failure(format!("{left} sessions were left on the server"));
            }
        } else {
            report.note(format!("the server has no metric {}: sessions not counted", self.sessions_metric));
        }
        if !self.server.is_empty() {
            report.count("rss_before_bytes", remains.rss_before);
            report.count("rss_after_bytes", remains.rss_after);
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::new("churn");
        self.protocol.settings(&mut report);
        report.setting("rate_per_second", self.per_second);
        report.setting("duration_seconds", self.duration.as_secs_f64());
        report.setting("slots", self.clients.connections);
        report
    }
}

/// Visits that are over, in whatever way.
fn over(counts: &Counts) -> u64 {
    counts.left + counts.failed + counts.cut + counts.nobody_free
}
