//! `floor`: what the kernel alone costs, as the measure for `fanout`.
//!
//! Owns the receivers and the bare writer in a process of its own, so that processor time is read in the same way
//! as a server's, and the limit of open files counts for each side. Start at [`Floor::run`].

mod writer;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::console::Console;
use crate::error::Error;
use crate::fanout::{Measurement, Round, Sender, Stream};
use crate::message::Batch;
use crate::pool::Pool;
use crate::process::Pids;
use crate::report::{Report, cores};
use crate::session::{Protocol, Script};
use crate::target::{Clients, Target};
pub use writer::{WriterSettings, serve_writer};

/// The scenario's arguments.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Receivers.
    pub connections: u32,
    /// Event loops of the receivers; 0 = one per core.
    pub threads: usize,
    /// Threads that write, each for its share of the sockets; 0 = one per core, as a server has shards.
    pub writers: u32,
    /// What is written; the batch is the number of frames in one write.
    pub stream: Stream,
    /// The program that runs [`serve_writer`] on its standard input and output.
    pub writer: WriterCommand,
}

/// How the writer's process is started.
#[derive(Clone, Debug)]
pub struct WriterCommand {
    /// The program.
    pub program: PathBuf,
    /// Arguments before `--connections` and `--writers`.
    pub arguments: Vec<String>,
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
        report.setting("writers", self.writers);
        self.stream.settings(&mut report);
        round.judge(&self.stream, &mut report);
        round.report(&mut report);
        round.latencies.report("latency", &mut report);
        round.usage.report_threads(&mut report);
        report
            .note("write_calls counts write and writev only; the floor calls send once per socket and batch");
        Ok(report)
    }

    /// One round with a writer of its own.
    pub(crate) fn round(&self, console: Console) -> Result<Round, Error> {
        let mut writer = Writer::start(self)?;
        let clients = Clients {
            targets: vec![writer.target.clone()],
            sources: Vec::new(),
            connections: self.connections,
            opening_max: 256,
            threads: self.threads,
        };
        let script = Script { protocol: Protocol::Frames, join: None, attack: None, comeback: None };
        let pool = Pool::start(&clients, script)?;
        pool.wait_ready(console)?;
        writer.expect("ready")?;
        let pids = Pids(vec![writer.child.id()]);
        let (stream, server) = (&self.stream, &pids);
        Measurement { pool: &pool, stream, server, console }.run(&mut writer)
    }
}

/// The other process. Ends with this value.
struct Writer {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    target: Target,
    ordered: u32,
}

impl Writer {
    fn start(floor: &Floor) -> Result<Self, Error> {
        let WriterCommand { program, arguments } = &floor.writer;
        let mut command = Command::new(program);
        command.args(arguments).arg("--connections").arg(floor.connections.to_string());
        let writers = if floor.writers == 0 { cores() } else { floor.writers as usize };
        command.arg("--writers").arg(writers.to_string());
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            started.map_err(|error| Error::io(format!("starting {}", program.display()), &error))?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::new("the writer has no standard streams"));
        };
        let target = "http://127.0.0.1:1".parse().map_err(Error::new)?;
        let mut writer = Self { child, orders, answers: BufReader::new(answers), target, ordered: 0 };
        let port = writer.expect("port")?;
        writer.target = format!("http://127.0.0.1:{port}").parse().map_err(Error::new)?;
        Ok(writer)
    }

    /// Reads a line that begins with `word`; returns what follows.
    fn expect(&mut self, word: &str) -> Result<String, Error> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| Error::io("the floor's writer", &error))?;
        let rest = line.trim().strip_prefix(word).map(|rest| rest.trim().to_owned());
        rest.ok_or_else(|| Error::new(format!("the floor's writer said {line:?} instead of {word}")))
    }
}

impl Sender for Writer {
    fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        self.ordered += 1;
        let Batch { numbers, due_ns, payload_bytes } = batch;
        writeln!(self.orders, "{} {} {due_ns} {payload_bytes}", numbers.start, numbers.end)
            .and_then(|()| self.orders.flush())
            .map_err(|error| Error::io("the floor's writer", &error))
    }

    fn finish(&mut self) -> Result<(), Error> {
        while self.ordered > 0 {
            self.expect("done")?;
            self.ordered -= 1;
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
