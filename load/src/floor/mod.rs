//! `floor`: what the kernel alone costs, as the measure for `fanout`.
//!
//! Owns the receivers and the bare writers in processes of their own, so that processor time is read in the same way
//! as a server's, and the limit of open files counts for each process. Start at [`Floor::run`].

mod writer;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::console::Console;
use crate::error::Error;
use crate::fanout::{Measurement, Round, Sender, Stream};
use crate::helper::{Answers, Helper, Process, Task, Trouble, parse, wait_ended};
use crate::message::Batch;
use crate::pool::{Attribution, Pool};
use crate::process::{Pids, cores};
use crate::report::Report;
use crate::session::{Protocol, Script};
use crate::target::{Clients, Target, processes};
pub(crate) use writer::{WriterSettings, serve_writer};

/// How long a writer may take to answer; an order of many bytes for many sockets takes its time.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Receivers.
    pub connections: u32,
    /// Event loops of the receivers; 0 = one per core.
    pub threads: usize,
    /// Processes of the receivers, as in [`Clients::processes`].
    pub client_processes: u32,
    /// Threads that write in each process, each for its share of the sockets; 0 = one per core, as a server has shards.
    pub writers: u32,
    /// Processes that write, each to its share of the sockets; 0 = as many as it takes to have enough open files.
    pub processes: u32,
    /// What is written; the batch is the number of frames in one write.
    pub stream: Stream,
    /// How other processes are started.
    pub helper: Helper,
}

impl Floor {
    /// Runs one round.
    ///
    /// # Errors
    /// [`Error`] if the writer cannot be started or not everybody connects.
    pub fn run(&self, console: Console) -> Result<Report, Error> {
        self.stream.check()?;
        let round = self.round(console)?;
        let mut report = Report::new("floor");
        report.setting("connections", self.connections);
        report.setting("writer_processes", self.writer_processes()?);
        report.setting("writers", self.writers);
        self.stream.settings(&mut report);
        round.judge(&self.stream, &mut report);
        round.report(&mut report);
        report.latencies("latency", &round.latencies);
        round.usage.report_threads(&mut report);
        report.note(
            "proc_io_writes_per_delivery counts write and writev only; the floor calls send once per socket and batch",
        );
        Ok(report)
    }

    /// One round with writers of its own.
    pub(crate) fn round(&self, console: Console) -> Result<Round, Error> {
        let (mut writers, pool) = self.open(1, Attribution::Together, console)?;
        let pids = Pids(writers.0.iter().map(|writer| writer.process.id()).collect());
        let (stream, server) = (&self.stream, &pids);
        Measurement { pool: &pool, stream, server, console }.run(&mut writers)
    }

    /// Connects the receivers to the writers' processes, of which there are at least as many as `servers` to compare with.
    pub(crate) fn open(
        &self,
        servers: u32,
        attribution: Attribution,
        console: Console,
    ) -> Result<(Writers, Pool), Error> {
        let mut writers = Writers::start(self, self.writer_processes()?.max(servers))?;
        let clients = Clients {
            targets: writers.0.iter().map(|writer| writer.target.clone()).collect(),
            sources: Vec::new(),
            connections: self.connections,
            opening_max: 256,
            threads: self.threads,
            processes: self.client_processes,
            helper: Some(self.helper.clone()),
        };
        let script = Script { attribution, ..Script::new(Protocol::Frames, None) };
        let pool = Pool::start(&clients, script)?;
        pool.wait_ready(console)?;
        let failed = pool.counts().failed;
        if failed > 0 {
            // The writers would wait for them for ever.
            let why = pool.first_failure().unwrap_or_default();
            return Err(Error::new(format!("{failed} receivers of the floor did not connect: {why}")));
        }
        writers.0.iter_mut().try_for_each(|writer| writer.expect("ready").map(drop))?;
        Ok((writers, pool))
    }

    fn writer_processes(&self) -> Result<u32, Error> {
        Ok(processes(self.connections, self.processes)?.min(self.connections.max(1)))
    }
}

/// All processes that write.
pub(crate) struct Writers(Vec<Writer>);

/// One of them. Ends with this value.
struct Writer {
    process: Process,
    answers: Receiver<String>,
    target: Target,
    ordered: u32,
}

impl Writers {
    fn start(floor: &Floor, total: u32) -> Result<Self, Error> {
        let writers = if floor.writers == 0 { cores() as u32 } else { floor.writers };
        let settings = |number: u32| {
            // Clients take targets in turn, so the first ones have one more where it does not come out even.
            let extra = u32::from(number < floor.connections % total);
            WriterSettings { connections: floor.connections / total + extra, writers }
        };
        (0..total)
            .map(|number| Writer::start(&floor.helper, settings(number)))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Writer {
    fn start(helper: &Helper, settings: WriterSettings) -> Result<Self, Error> {
        let (process, answers) = helper.start(&Task::WriteFloor(settings))?;
        let target = "http://127.0.0.1:1".parse().map_err(Error::new)?;
        let mut writer = Self { process, answers: lines(answers)?, target, ordered: 0 };
        let port = writer.expect("port")?;
        writer.target = format!("http://127.0.0.1:{port}").parse().map_err(Error::new)?;
        Ok(writer)
    }

    /// Reads a line that begins with `word`; returns what follows.
    fn expect(&mut self, word: &str) -> Result<String, Error> {
        let pid = self.process.id();
        let line = self.answers.recv_timeout(ANSWERS_WITHIN);
        if line == Err(RecvTimeoutError::Timeout) {
            let within = ANSWERS_WITHIN.as_secs();
            return Err(Error::new(format!(
                "the floor's writer (pid {pid}) did not say {word} within {within} s"
            )));
        }
        let Ok(line) = line else {
            let ending = wait_ended(|| self.process.ended());
            let ending =
                ending.map_or_else(|| "stopped to answer".into(), |status| format!("ended with {status}"));
            return Err(Error::new(format!("the floor's writer (pid {pid}) {ending}")));
        };
        if let Some(rest) = line.trim().strip_prefix(word) {
            return Ok(rest.trim().to_owned());
        }
        let said =
            parse::<Trouble>(&line).map_or_else(|_| format!("{line:?} instead of {word}"), |it| it.failed);
        Err(Error::new(format!("the floor's writer (pid {pid}) said: {said}")))
    }
}

/// Reads in a thread of its own, which ends with the helper, so that waiting for a line can end before that.
fn lines(mut answers: Answers) -> Result<Receiver<String>, Error> {
    let (sender, lines) = mpsc::channel();
    let read = move || {
        while let Some(line) = answers.next_line() {
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("floor-answers".into()).spawn(read);
    thread.map(|_| lines).map_err(|error| Error::io("reading from the floor's writer", &error))
}

impl Sender for Writers {
    fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        let Batch { numbers, due_ns, payload_bytes } = batch;
        let order = format!("{} {} {due_ns} {payload_bytes}\n", numbers.start, numbers.end);
        self.0.iter_mut().try_for_each(|writer| {
            writer.ordered += 1;
            writer.process.say(&order).map_err(|error| Error::io("the floor's writer", &error))
        })
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|writer| {
            while writer.ordered > 0 {
                writer.expect("done")?;
                writer.ordered -= 1;
            }
            Ok(())
        })
    }
}
