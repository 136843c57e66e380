//! `idle`: what a connected client that says nothing costs the server in memory.
//!
//! Owns the order of measurements. Figures are differences to the server before the first client, and to the server
//! after a small warm-up, so that pages of code and buffers per thread are not charged to the clients.
//! Start at [`Idle::run`].

use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Error;
use crate::pool::Pool;
use crate::process::{Memory, Pids, Resident};
use crate::report::{Bars, Report};
use crate::session::{Join, Protocol, Script};
use crate::target::Clients;

/// How long memory may take to become steady.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Who connects.
    pub clients: Clients,
    /// How.
    pub protocol: Protocol,
    /// What each client joins.
    pub join: Option<Join>,
    /// The measured processes; without them only times are reported.
    pub server: Pids,
    /// How long everybody is idle before memory is read, after it became steady.
    pub hold: Duration,
    /// Clients of the warm-up; 0 leaves it out.
    pub warmup_connections: u32,
}

/// Memory at each stage.
struct Stages {
    cold: Memory,
    warm: Memory,
    held: Memory,
    drained: Memory,
}

impl Idle {
    /// Connects everybody, holds, measures, disconnects.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        let mut report = self.report();
        self.server.check()?;
        report.setting("client_processes", self.clients.reserve_files()?);
        let cold = self.server.memory()?;
        let warm = self.warm_up(console)?;
        let each_warm = self.server.resident()?;

        let begun = Instant::now();
        let pool = self.open(&self.clients)?;
        pool.wait_ready(console)?;
        let (ramp, opened) = (begun.elapsed(), pool.counts());
        self.server.settle(SETTLE_WITHIN)?;
        let before_hold = self.server.usage()?;
        pool.hold(self.hold)?;
        let held = self.server.memory()?;
        let each_held = self.server.resident()?;
        let cpu = self.server.usage()?.since(&before_hold);
        let counts = pool.counts();
        if let Some(failure) = pool.first_failure() {
            report.void(format!("{} failed, {} cut off: {failure}", counts.failed, counts.cut));
        }
        pool.leave(console);
        self.server.settle(SETTLE_WITHIN)?;
        let stages = Stages { cold, warm, held, drained: self.server.memory()? };

        report.count("sessions", counts.present());
        report.number("ramp_seconds", ramp.as_secs_f64());
        report.number("sessions_per_second", opened.ready as f64 / ramp.as_secs_f64());
        // Of the ramp: pollers come back all the time after it.
        report.count("connections_accepted", opened.connected);
        report.number("accepts_per_second", opened.connected as f64 / ramp.as_secs_f64());
        if !self.server.is_empty() {
            report.number("cpu_hold_percent", cpu.cpu_ns as f64 / 1e7 / self.hold.as_secs_f64().max(0.001));
            stages.report(counts.present(), &mut report);
            by_process(&each_warm, &each_held, &mut report);
        }
        Ok(report)
    }

    fn warm_up(&self, console: Console) -> Result<Memory, Error> {
        if self.warmup_connections > 0 {
            let clients = Clients { connections: self.warmup_connections, ..self.clients.clone() };
            let pool = self.open(&clients)?;
            pool.wait_ready(console)?;
            pool.leave(console);
        }
        self.server.settle(SETTLE_WITHIN)?;
        self.server.memory()
    }

    fn open(&self, clients: &Clients) -> Result<Pool, Error> {
        let script = Script::new(self.protocol, self.join.clone());
        Pool::start(clients, script)
    }

    fn report(&self) -> Report {
        let mut report = Report::new("idle");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("warmup_connections", self.warmup_connections);
        report.setting("hold_seconds", self.hold.as_secs_f64());
        if let Some(join) = &self.join {
            report.setting("join", format!("{} {}", join.event, join.room));
        }
        report
    }
}

/// A row for each process of a server that has several: whether they cost the same.
fn by_process(warm: &[Resident], held: &[Resident], report: &mut Report) {
    if held.len() < 2 {
        return;
    }
    let columns = ["server_pid", "rss_warm_bytes", "rss_held_bytes", "rss_growth_bytes", "pss_growth_bytes"];
    report.row(columns.map(str::to_owned));
    let growth = |held: u64, warm: u64| (i128::from(held) - i128::from(warm)).to_string();
    for (warm, held) in warm.iter().zip(held) {
        let (rss, pss) = (growth(held.rss, warm.rss), growth(held.pss, warm.pss));
        report.row([held.pid.to_string(), warm.rss.to_string(), held.rss.to_string(), rss, pss]);
    }
}

impl Stages {
    fn report(&self, sessions: u64, report: &mut Report) {
        let Self { cold, warm, held, drained } = self;
        for (name, memory) in [("cold", cold), ("warm", warm), ("held", held), ("drained", drained)] {
            report.count(&format!("rss_{name}_bytes"), memory.rss);
            report.count(&format!("pss_{name}_bytes"), memory.pss);
        }
        let mut each = |name: &str, after: u64, before: u64| {
            report.number(name, (after as f64 - before as f64) / sessions.max(1) as f64);
        };
        each("rss_per_session_bytes", held.rss, warm.rss);
        each("pss_per_session_bytes", held.pss, warm.pss);
        each("rss_per_session_without_warmup_bytes", held.rss, cold.rss);
        each("pss_per_session_without_warmup_bytes", held.pss, cold.pss);
        each("rss_slack_per_session_after_drain_bytes", drained.rss, warm.rss);
        each("pss_slack_per_session_after_drain_bytes", drained.pss, warm.pss);
        each("kernel_slab_per_session_bytes", held.slab, warm.slab);
        each("kernel_tcp_buffers_per_session_bytes", held.tcp_buffers, warm.tcp_buffers);
        each("kernel_tcp_sockets_per_session", held.tcp_sockets, warm.tcp_sockets);
        let each = |label: &str, held: u64, warm: u64| {
            (label.to_owned(), (held as f64 - warm as f64) / sessions.max(1) as f64)
        };
        report.bars(Bars {
            name: "memory per session".into(),
            unit: "bytes".into(),
            bars: vec![
                each("server, resident", held.rss, warm.rss),
                each("server, proportional", held.pss, warm.pss),
                each("kernel, slab", held.slab, warm.slab),
                each("kernel, TCP buffers", held.tcp_buffers, warm.tcp_buffers),
            ],
        });
        report.note(
            "kernel figures are of the whole machine: with the generator on it they hold both ends of each \
             connection, and whatever else ran",
        );
        if held.pss == 0 {
            report.note("smaps_rollup of the server cannot be read: run as the same user for the PSS");
        }
    }
}
