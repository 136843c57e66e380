//! `hostile`: whether clients that mean no good can fill the server's memory or keep it from serving others.
//!
//! Owns the order of the attacks and the verdict. Start at [`Hostile::run`].

mod attacker;
mod visitor;

use std::time::{Duration, Instant};

pub use attacker::Attack;
pub(crate) use attacker::Attacker;

use crate::console::Console;
use crate::error::Error;
use crate::message::Batch;
use crate::pool::{Counts, Pool};
use crate::process::Pids;
use crate::publish::{Destination, Publisher};
use crate::report::{Report, Series};
use crate::session::{Join, Protocol, Script};
use crate::target::Clients;
use visitor::{Testimony, Witnesses};

/// How long memory may take to become steady between two attacks.
const SETTLE_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at the server's memory.
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// Messages published while nobody reads: one per look, of this size.
const FLOOD_PAYLOAD_BYTES: usize = 64 << 10;

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// Where to; the number of connections is that of the attackers, 0 = what fits the attack.
    pub clients: Clients,
    /// The attacks, one after the other.
    pub attacks: Vec<Attack>,
    /// How a client enters a room, for the attacks that do; also what never-reading clients ask for.
    pub join: Option<Join>,
    /// An event the server acknowledges, for the canary; without it the canary sends WebSocket pings.
    pub canary_event: Option<String>,
    /// Where messages for those who never read are published.
    pub destination: Option<Destination>,
    /// The measured processes.
    pub server: Pids,
    /// How long each attack lasts.
    pub duration: Duration,
    /// What an attack must meet.
    pub bounds: Bounds,
}

/// Beyond these an attack succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Growth of the server's resident memory during an attack.
    pub growth_bytes_max: u64,
    /// Longest wait of the canary for one answer.
    pub canary_ms_max: u64,
}

/// What one attack did.
struct Outcome {
    attack: Attack,
    attackers: u32,
    before_bytes: u64,
    /// Seconds since the attack began, and bytes.
    memory: Vec<(f64, f64)>,
    after_bytes: u64,
    counts: Counts,
    canary: Testimony,
    newcomers: Testimony,
}

impl Hostile {
    /// Runs the attacks. The report has a row for each and fails where a bound was not kept.
    ///
    /// # Errors
    /// [`Error`] if the server cannot be reached before an attack, or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.server.check()?;
        let mut report = self.report();
        let mut memory = Vec::new();
        for attack in &self.attacks {
            if *attack == Attack::ManyRooms && self.join.is_none() {
                report.note("many-rooms is left out: it needs --room-event");
                continue;
            }
            match self.attack(*attack, console) {
                Ok(outcome) => {
                    outcome.report(&self.bounds, &mut report);
                    memory.push(outcome.into_series());
                }
                Err(error) => {
                    report.failure(format!("{}: {error}", attack.name()));
                    break;
                }
            }
        }
        if !self.server.is_empty() {
            report.chart("memory of the server during each attack", memory);
        }
        Ok(report)
    }

    fn attack(&self, attack: Attack, console: Console) -> Result<Outcome, Error> {
        self.server.settle(SETTLE_WITHIN)?;
        let target = self.clients.targets.first().ok_or_else(|| Error::new("no target"))?;
        if target.is_secure {
            return Err(Error::new("attacks are without TLS"));
        }
        let witnesses = Witnesses::start(target, self.canary_event.as_deref())?;
        let before_bytes = self.server.rss()?;
        let attackers = match self.clients.connections {
            0 => attack.attackers(),
            asked => asked,
        };
        let clients = Clients { connections: attackers, ..self.clients.clone() };
        let script = Script { attack: Some(attack), ..Script::new(Protocol::SocketIo, self.join.clone()) };
        let pool = Pool::start(&clients, script)?;
        let memory = self.watch(attack, console);
        let counts = pool.counts();
        let [canary, newcomers] = witnesses.finish();
        pool.check()?;
        pool.leave(Console::Silent);
        drop(pool);
        let memory = memory?;
        self.server.settle(SETTLE_WITHIN)?;
        let after_bytes = self.server.rss()?;
        Ok(Outcome { attack, attackers, before_bytes, memory, after_bytes, counts, canary, newcomers })
    }

    /// Watches memory until the attack is over, and publishes meanwhile where that belongs to it.
    fn watch(&self, attack: Attack, console: Console) -> Result<Vec<(f64, f64)>, Error> {
        let destination = self.destination.as_ref().filter(|_| attack == Attack::NeverReads);
        let mut publisher = destination.map(Publisher::connect).transpose()?;
        let samples = (self.duration.as_secs_f64() / SAMPLE_EVERY.as_secs_f64()).ceil() as u32;
        let bar = console.progress(attack.name(), u64::from(samples));
        let (begun, mut memory) = (Instant::now(), Vec::new());
        for sample in 0..samples {
            if let Some(publisher) = &mut publisher {
                publisher.publish(&Batch {
                    numbers: sample..sample + 1,
                    due_ns: 0,
                    payload_bytes: FLOOD_PAYLOAD_BYTES,
                })?;
            }
            memory.push((begun.elapsed().as_secs_f64(), self.server.rss()? as f64));
            bar.set_position(u64::from(sample));
            std::thread::sleep(
                (begun + SAMPLE_EVERY * (sample + 1)).saturating_duration_since(Instant::now()),
            );
        }
        bar.finish_and_clear();
        Ok(memory)
    }

    fn report(&self) -> Report {
        let mut report = Report::new("hostile");
        report.setting("seconds_each", self.duration.as_secs_f64());
        report.setting("growth_bytes_max", self.bounds.growth_bytes_max);
        report.setting("canary_ms_max", self.bounds.canary_ms_max);
        report.setting("canary", self.canary_event.as_deref().unwrap_or("websocket ping"));
        if self.server.is_empty() {
            report.note("without --server-pid only the canary is judged");
        }
        let columns = [
            "kind",
            "attackers",
            "connected",
            "ended_by_server",
            "rss_before_mb",
            "growth_mb",
            "after_mb",
            "canary_p50_ms",
            "canary_p99_ms",
            "canary_max_ms",
            "canary_answered",
            "newcomers_max_ms",
            "newcomers_served",
            "attackers_acks",
        ];
        report.row(columns.map(str::to_owned));
        report
    }
}

impl Outcome {
    fn report(&self, bounds: &Bounds, report: &mut Report) {
        let Self { canary, newcomers, counts, .. } = self;
        let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        let peak_bytes = self.memory.iter().map(|(_, bytes)| *bytes as u64).max().unwrap_or(0);
        let growth_bytes = peak_bytes.saturating_sub(self.before_bytes);
        let ms = |testimony: &Testimony, quantile: f64| format!("{:.1}", testimony.latencies.ms(quantile));
        report.row([
            self.attack.name().to_owned(),
            self.attackers.to_string(),
            counts.connected.to_string(),
            (counts.cut + counts.failed).to_string(),
            mb(self.before_bytes),
            mb(growth_bytes),
            mb(self.after_bytes),
            ms(canary, 0.5),
            ms(canary, 0.99),
            ms(canary, 1.0),
            format!("{}/{}", canary.answered, canary.asked),
            ms(newcomers, 1.0),
            format!("{}/{}", newcomers.answered, newcomers.asked),
            counts.acks.to_string(),
        ]);
        let name = self.attack.name();
        if growth_bytes > bounds.growth_bytes_max {
            report.failure(format!("{name}: memory grew by {} MB", mb(growth_bytes)));
        }
        for (who, testimony) in [("the canary", canary), ("newcomers", newcomers)] {
            if let Some(trouble) = &testimony.trouble {
                report.failure(format!("{name}: {who}: {trouble}"));
            }
        }
        if canary.latencies.len() == 0 || canary.latencies.ms(1.0) > bounds.canary_ms_max as f64 {
            report.failure(format!("{name}: the canary waited up to {} ms", ms(canary, 1.0)));
        }
        if counts.connected == 0 {
            report.void(format!("{name}: no attacker was connected"));
        }
    }

    fn into_series(self) -> Series {
        let (unit, x_unit) = ("bytes".into(), "s".into());
        Series { name: self.attack.name().into(), unit, x_unit, points: self.memory }
    }
}
