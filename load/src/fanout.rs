//! `fanout`: how much a server spends to deliver one message to very many clients.
//!
//! Owns counting and the comparison with the floor. Start at [`Fanout::run`].
//!
//! Without a rate a bounded number of batches is on its way: by default one, so that a batch is published when the one
//! before has reached everybody and nothing but the server's own work is between two; more of them keep a server busy all
//! the time. With a rate the times are fixed beforehand and latency counts from them.

use std::ops::Range;
use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::floor::Floor;
use crate::latency::{Latencies, now_ns};
use crate::message::{Batch, NUMBERS_MAX};
use crate::pool::{Counts, Pool};
use crate::process::{Pids, Usage};
use crate::publish::{Destination, Publisher, metric};
use crate::report::{Bars, Report};
use crate::session::{Join, Protocol, Script};
use crate::target::{Clients, Target};
use crate::verdict::{Evidence, median};

/// Rounds of a run that is compared with the floor.
const ROUNDS_WITH_FLOOR: usize = 3;

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// Who subscribes.
    pub clients: Clients,
    /// What they speak.
    pub protocol: Protocol,
    /// What each client joins; without it they hear the namespace.
    pub join: Option<Join>,
    /// Where messages are published.
    pub destination: Destination,
    /// What is published, and how.
    pub stream: Stream,
    /// The measured processes.
    pub server: Pids,
    /// Where the server's `/metrics` are, if it has any.
    pub metrics_url: Option<Target>,
    /// A counter of system calls that write there.
    pub writes_metric: String,
    /// The floor to compare with, measured in turns; three rounds then instead of one.
    pub floor: Option<Floor>,
}

/// The messages of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stream {
    /// Measured messages of one round; a batch more is sent before them as warm-up.
    pub messages: u32,
    /// Messages that are published at the same moment.
    pub batch: u32,
    /// Batches that are on their way at the same time, without a rate.
    pub in_flight: u32,
    /// Messages per second; none = as fast as they are delivered.
    pub rate: Option<f64>,
    /// Characters of the data of a message.
    pub payload_bytes: usize,
    /// How long nothing may arrive before the rest counts as lost.
    pub patience: Duration,
}

/// What one round showed.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    pub(crate) clients: u64,
    /// Measured messages that were sent.
    pub(crate) sent: u32,
    pub(crate) expected: u64,
    pub(crate) counts: Counts,
    pub(crate) by_loop: Vec<Counts>,
    /// Until the last arrival.
    pub(crate) elapsed: Duration,
    pub(crate) usage: Usage,
    pub(crate) latencies: Latencies,
    /// Calls that write, as the server itself counts them.
    pub(crate) own_writes: Option<u64>,
    pub(crate) failure: Option<String>,
}

/// What sends messages to everybody: a server through its back end's door, or the floor.
pub(crate) trait Sender {
    /// Gets ready for the next batch, before its time is read.
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }
    /// Sends the messages of a batch.
    fn send(&mut self, batch: &Batch) -> Result<(), Error>;
    /// Whether all of it was taken; an error if something was refused.
    fn finish(&mut self) -> Result<(), Error>;
    /// How often the sender's process has called write so far, if it says so.
    fn writes(&self) -> Option<u64> {
        None
    }
}

/// A server, seen through its private port.
struct Door<'a> {
    publisher: Publisher,
    scenario: &'a Fanout,
}

impl Sender for Door<'_> {
    fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        self.publisher.publish(batch)
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.publisher.wait_answered()
    }

    fn writes(&self) -> Option<u64> {
        metric(self.scenario.metrics_url.as_ref()?, &self.scenario.writes_metric)
    }
}

impl Fanout {
    /// Runs one round, or three in turns with the floor.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, a publish was refused or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.protocol.check_live()?;
        self.server.check()?;
        self.stream.check()?;
        let mut report = self.report();
        report.setting("client_processes", self.clients.reserve_files()?);
        let mut rounds = vec![self.round(console)?];
        if let Some(floor) = &self.floor {
            let mut floors = vec![floor.round(console)?];
            while rounds.len() < ROUNDS_WITH_FLOOR {
                rounds.push(self.round(console)?);
                floors.push(floor.round(console)?);
            }
            compare(&rounds, &floors, &mut report);
        }
        let mut latencies = Latencies::new();
        rounds.iter().for_each(|round| latencies.add(&round.latencies));
        // The round in the middle of what it cost stands for all.
        rounds.sort_by(|a, b| a.cpu_us_per_delivery().total_cmp(&b.cpu_us_per_delivery()));
        rounds.iter().for_each(|round| round.judge(&self.stream, &mut report));
        let median = rounds.get(rounds.len() / 2).expect("there is at least one round");
        median.report(&mut report);
        report.latencies("latency", &latencies);
        if !self.server.is_empty() {
            median.usage.report_threads(&mut report);
        }
        Ok(report)
    }

    fn round(&self, console: Console) -> Result<Round, Error> {
        let script = Script::new(self.protocol, self.join.clone());
        let pool = Pool::start(&self.clients, script)?;
        pool.wait_ready(console)?;
        let mut door = Door { publisher: Publisher::connect(&self.destination)?, scenario: self };
        let (stream, server) = (&self.stream, &self.server);
        let measurement = Measurement { pool: &pool, stream, server, console };
        let round = measurement.run(&mut door)?;
        pool.leave(console);
        Ok(round)
    }

    fn report(&self) -> Report {
        let mut report = Report::new("fanout");
        self.protocol.settings(&mut report);
        report.setting("connections", self.clients.connections);
        report.setting("channel", self.destination.channel.as_str());
        self.stream.settings(&mut report);
        report
    }
}

impl Stream {
    /// Numbers that are used: the warm-up comes first.
    pub(crate) fn total(&self) -> u32 {
        self.messages.saturating_add(self.batch)
    }

    /// Refuses what cannot be numbered or counted.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.messages == 0 || self.batch == 0 || self.in_flight == 0 || self.total() >= NUMBERS_MAX {
            return Err(Error::new("messages, batch and in-flight must be at least 1, below 100,000,000"));
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(Error::new("the rate must be above 0"));
        }
        Ok(())
    }

    pub(crate) fn settings(&self, report: &mut Report) {
        report.setting("messages", self.messages);
        report.setting("batch", self.batch);
        report.setting("payload_bytes", self.payload_bytes);
        if let Some(rate) = self.rate {
            report.setting("rate_per_second", rate);
        } else {
            report.setting("in_flight", self.in_flight);
        }
    }

    /// When the batch that begins with measured message `number` is due, after the start.
    fn due_ns(&self, number: u32) -> Option<u64> {
        self.rate.map(|rate| (f64::from(number - self.batch) / rate * 1e9) as u64)
    }

    fn batch(&self, numbers: Range<u32>, due_ns: u64) -> Batch {
        Batch { numbers, due_ns, payload_bytes: self.payload_bytes }
    }
}

/// A round while it runs.
pub(crate) struct Measurement<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) stream: &'a Stream,
    pub(crate) server: &'a Pids,
    pub(crate) console: Console,
}

impl Measurement<'_> {
    /// Sends the whole stream to the clients of the pool and counts.
    pub(crate) fn run(&self, sender: &mut impl Sender) -> Result<Round, Error> {
        let Self { pool, stream, server, .. } = self;
        let clients = pool.counts().present();
        let delivered = |numbers: u32| clients * u64::from(numbers);
        sender.send(&stream.batch(0..stream.batch, 0))?;
        if !pool.wait_messages(delivered(stream.batch), stream.patience) {
            sender.finish()?;
        }
        let writes = sender.writes();
        let (used, counted, begun_ns) = (server.usage()?, pool.counts(), now_ns());
        let end = self.send(clients, begun_ns, sender)?;
        sender.finish()?;
        pool.wait_messages(delivered(end), stream.patience);
        pool.check()?;
        let (counts, usage) = (pool.counts(), server.usage()?.since(&used));
        Ok(Round {
            clients,
            sent: end - stream.batch,
            expected: delivered(end).saturating_sub(counted.messages),
            counts: counts.since(&counted),
            by_loop: pool.by_loop(),
            elapsed: counts.active_since(begun_ns),
            usage,
            latencies: pool.latencies()?,
            own_writes: sender.writes().zip(writes).map(|(now, before)| now.saturating_sub(before)),
            failure: pool.first_failure(),
        })
    }

    /// Sends what is measured; returns the end of the numbers that were sent. Without a rate a batch is sent when the one
    /// `in_flight` before it has arrived; it stops where a message does not arrive.
    fn send(&self, clients: u64, start_ns: u64, sender: &mut impl Sender) -> Result<u32, Error> {
        let Self { pool, stream, .. } = self;
        let bar = self.console.progress("publishing", u64::from(stream.messages));
        let mut number = stream.batch;
        while number < stream.total() {
            let end = number.saturating_add(stream.batch).min(stream.total());
            let due_ns = stream.due_ns(number).map_or_else(now_ns, |after_ns| start_ns + after_ns);
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            sender.send(&stream.batch(number..end, due_ns))?;
            number = end;
            bar.set_position(u64::from(end - stream.batch));
            let awaited = end.saturating_sub((stream.in_flight - 1).saturating_mul(stream.batch));
            if stream.rate.is_none() && !pool.wait_messages(clients * u64::from(awaited), stream.patience) {
                break;
            }
        }
        bar.finish_and_clear();
        Ok(number)
    }
}

impl Round {
    /// Microseconds of processor time for one delivery.
    pub(crate) fn cpu_us_per_delivery(&self) -> f64 {
        self.usage.cpu_ns as f64 / 1e3 / self.counts.messages.max(1) as f64
    }

    /// Adds the figures.
    pub(crate) fn report(&self, report: &mut Report) {
        let seconds = self.elapsed.as_secs_f64();
        let delivered = self.counts.messages;
        report.count("subscribers", self.clients);
        report.count("messages_sent", self.sent.into());
        report.count("deliveries_expected", self.expected);
        report.count("deliveries", delivered);
        report.number("delivered_percent", 100.0 * delivered as f64 / self.expected.max(1) as f64);
        report.number("elapsed_seconds", seconds);
        report.number("deliveries_per_second", delivered as f64 / seconds);
        report.number("megabytes_per_second", self.counts.bytes as f64 / 1e6 / seconds);
        report.number("reads_per_delivery", self.counts.reads as f64 / delivered.max(1) as f64);
        if self.usage != Usage::default() {
            report.number("cpu_seconds", self.usage.cpu_ns as f64 / 1e9);
            report.number("cpu_us_per_delivery", self.cpu_us_per_delivery());
            report.number("cpu_cores_used", self.usage.cpu_ns as f64 / 1e9 / seconds);
            let writes = self.usage.write_calls as f64;
            report.number("proc_io_writes_per_delivery", writes / delivered.max(1) as f64);
        }
        if let Some(writes) = self.own_writes {
            report.number("writes_per_delivery", writes as f64 / delivered.max(1) as f64);
        }
    }

    /// Says why the round proves nothing, where that is so.
    pub(crate) fn judge(&self, stream: &Stream, report: &mut Report) {
        let planned = |rate| Duration::from_secs_f64(f64::from(stream.messages) / rate);
        let evidence = Evidence {
            clients: self.clients,
            expected: self.expected,
            counts: &self.counts,
            by_loop: &self.by_loop,
            latencies: &self.latencies,
            failure: self.failure.as_deref(),
            elapsed: self.elapsed,
            planned: stream.rate.map(planned),
        };
        evidence.judge(report);
        if self.sent < stream.messages {
            let (sent, messages) = (self.sent, stream.messages);
            report
                .failure(format!("ended after {sent} of {messages} messages: what was sent did not arrive"));
        }
    }
}

/// Adds the ratio to the floor: for each pair of neighbouring rounds, then the median.
fn compare(rounds: &[Round], floors: &[Round], report: &mut Report) {
    let mut ratios: Vec<f64> = rounds
        .iter()
        .zip(floors)
        .map(|(server, floor)| server.cpu_us_per_delivery() / floor.cpu_us_per_delivery())
        .collect();
    let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    report.note(format!("ratio of each round: {}", shown.join(", ")));
    let figures = |rounds: &[Round]| {
        let each = rounds.iter().map(|round| format!("{:.3}", round.cpu_us_per_delivery()));
        each.collect::<Vec<_>>().join(", ")
    };
    report.note(format!("CPU us per delivery, server: {}; floor: {}", figures(rounds), figures(floors)));
    let mut floor_us: Vec<f64> = floors.iter().map(Round::cpu_us_per_delivery).collect();
    let mut server_us: Vec<f64> = rounds.iter().map(Round::cpu_us_per_delivery).collect();
    let (server_us, floor_us) = (median(&mut server_us), median(&mut floor_us));
    report.number("floor_cpu_us_per_delivery", floor_us);
    report.bars(Bars {
        name: "CPU per delivery".into(),
        unit: "µs".into(),
        bars: vec![("server".into(), server_us), ("floor".into(), floor_us)],
    });
    report.number("ratio_to_floor", median(&mut ratios));
    for floor in floors.iter().filter(|floor| floor.counts.messages != floor.expected) {
        report.void(format!("the floor delivered {} of {}", floor.counts.messages, floor.expected));
    }
}
