//! `fanout`: how much a server spends to deliver one message to very many clients.
//!
//! Owns publishing, counting and the comparison with the floor. Start at [`Fanout::run`].
//!
//! Without a rate a batch is published when the one before has reached everybody, so that nothing but the server's own
//! work is between two batches and no bound on queues is met. With a rate the times are fixed beforehand and latency
//! counts from them.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Error;
use crate::floor::Floor;
use crate::latency::{Latencies, now_ns};
use crate::message::{Batch, NUMBERS_MAX};
use crate::pool::{Counts, Pool};
use crate::process::{Pids, Usage};
use crate::publish::{Destination, Publisher, metric};
use crate::report::Report;
use crate::session::{Join, Protocol, Script};
use crate::target::Clients;

/// A paced run that takes this many times its plan shows that the generator or the server could not keep up.
const OVERTIME_MAX: f64 = 1.5;

/// Rounds of a run that is compared with the floor.
const ROUNDS_WITH_FLOOR: usize = 3;

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Fanout {
    /// Who subscribes.
    pub clients: Clients,
    /// What each client joins; without it they hear the namespace.
    pub join: Option<Join>,
    /// Where messages are published.
    pub destination: Destination,
    /// What is published, and how.
    pub stream: Stream,
    /// The measured processes.
    pub server: Pids,
    /// A counter of system calls that write, in the server's `/metrics` beside `destination`.
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
    pub(crate) expected: u64,
    pub(crate) counts: Counts,
    pub(crate) by_loop: Vec<Counts>,
    pub(crate) elapsed: Duration,
    pub(crate) usage: Usage,
    pub(crate) latencies: Latencies,
    /// Calls that write, as the server itself counts them.
    pub(crate) own_writes: Option<u64>,
    pub(crate) failure: Option<String>,
}

/// What sends messages to everybody: a server through its back end's door, or the floor.
pub(crate) trait Sender {
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
        metric(&self.scenario.destination.url, &self.scenario.writes_metric)
    }
}

impl Fanout {
    /// Runs one round, or three in turns with the floor.
    ///
    /// # Errors
    /// [`Error`] if nobody could be connected, a publish was refused or the measured process is not there.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.server.check()?;
        self.stream.check()?;
        let mut report = self.report();
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
        latencies.report("latency", &mut report);
        if !self.server.is_empty() {
            median.usage.report_threads(&mut report);
        }
        Ok(report)
    }

    fn round(&self, console: Console) -> Result<Round, Error> {
        let script =
            Script { protocol: Protocol::SocketIo, join: self.join.clone(), attack: None, comeback: None };
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
        report.setting("protocol", Protocol::SocketIo.name());
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
        if self.messages == 0 || self.batch == 0 || self.total() >= NUMBERS_MAX {
            return Err(Error::new("messages and batch must be at least 1, together below 100,000,000"));
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
        let clients = pool.counts().ready;
        let delivered = |numbers: u32| clients * u64::from(numbers);
        sender.send(&stream.batch(0..stream.batch, 0))?;
        if !pool.wait_messages(delivered(stream.batch), stream.patience) {
            sender.finish()?;
        }
        let writes = sender.writes();
        let (used, counted, start) = (server.usage()?, pool.counts(), Instant::now());
        self.send(clients, now_ns(), sender)?;
        sender.finish()?;
        if stream.rate.is_some() {
            pool.wait_messages(delivered(stream.total()), stream.patience);
        }
        let (elapsed, usage) = (start.elapsed(), server.usage()?.since(&used));
        Ok(Round {
            clients,
            expected: delivered(stream.total()) - counted.messages,
            counts: pool.counts().since(&counted),
            by_loop: pool.by_loop(),
            elapsed,
            usage,
            latencies: pool.latencies(),
            own_writes: sender.writes().zip(writes).map(|(now, before)| now.saturating_sub(before)),
            failure: pool.first_failure(),
        })
    }

    /// Sends what is measured. Without a rate it stops where a message does not arrive.
    fn send(&self, clients: u64, start_ns: u64, sender: &mut impl Sender) -> Result<(), Error> {
        let Self { pool, stream, .. } = self;
        let bar = self.console.progress("publishing", u64::from(stream.messages));
        let mut number = stream.batch;
        while number < stream.total() {
            let end = number.saturating_add(stream.batch).min(stream.total());
            let due_ns = stream.due_ns(number).map_or_else(now_ns, |after_ns| start_ns + after_ns);
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            sender.send(&stream.batch(number..end, due_ns))?;
            if stream.rate.is_none() && !pool.wait_messages(clients * u64::from(end), stream.patience) {
                break;
            }
            bar.set_position(u64::from(end - stream.batch));
            number = end;
        }
        bar.finish_and_clear();
        Ok(())
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
        let Self { counts, expected, .. } = self;
        if self.clients == 0 {
            report.void("nothing connected");
        }
        if counts.messages == 0 {
            report.void("nothing delivered");
        }
        if counts.messages > *expected || counts.repeated > 0 {
            let text = format!(
                "more received than expected: {} of {expected}, {} twice or out of order",
                counts.messages, counts.repeated
            );
            report.void(text);
        }
        if counts.messages < *expected {
            report.failure(format!("{} of {expected} deliveries are missing", expected - counts.messages));
        }
        if self.latencies.negative() > 0 {
            report.void(format!("{} messages arrived before they were sent", self.latencies.negative()));
        }
        if let Some(failure) = &self.failure {
            report.failure(format!("clients were lost, the first one: {failure}"));
        }
        if let Some(rate) = stream.rate {
            let planned = f64::from(stream.messages) / rate;
            if self.elapsed.as_secs_f64() > planned.max(1.0) * OVERTIME_MAX {
                let elapsed = self.elapsed.as_secs_f64();
                report.void(format!(
                    "took {elapsed:.1} s, planned were {planned:.1} s: something is saturated"
                ));
            }
        }
        if stopped_alike(&self.by_loop) {
            report
                .void("every event loop stopped at the same number of clients: the generator's own ceiling");
        }
    }
}

impl Counts {
    /// What was counted after `earlier`, as far as it is a matter of messages.
    fn since(&self, earlier: &Self) -> Self {
        Self {
            messages: self.messages - earlier.messages,
            foreign: self.foreign - earlier.foreign,
            repeated: self.repeated - earlier.repeated,
            bytes: self.bytes - earlier.bytes,
            reads: self.reads - earlier.reads,
            ..*self
        }
    }
}

/// Whether several loops all failed to connect their clients after exactly the same number.
fn stopped_alike(by_loop: &[Counts]) -> bool {
    let first = by_loop.first().copied().unwrap_or_default();
    let alike = |counts: &Counts| counts.ready == first.ready && counts.ready < counts.clients;
    by_loop.len() > 1 && by_loop.iter().all(alike)
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
    report.number("floor_cpu_us_per_delivery", median(&mut floor_us));
    report.number("ratio_to_floor", median(&mut ratios));
    for floor in floors.iter().filter(|floor| floor.counts.messages != floor.expected) {
        report.void(format!("the floor delivered {} of {}", floor.counts.messages, floor.expected));
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
