//! Helpers: this very program once more, where one process has not enough open files or is not to be disturbed.
//!
//! Owns how a helper is started, what it is told and how it ends. A helper reads its task as the first line of its
//! standard input and its orders as the lines behind it; it answers by lines on its standard output. When its input
//! ends it ends too, so none is left behind by a parent that was killed. Must not know what a task does.
//! Start at [`Helper`], and at [`serve_helper`] for the other side.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::floor::{WriterSettings, serve_writer};
use crate::pool::{Share, serve_share};

/// How long a helper whose input has ended may take to end; then it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks whether a helper has ended.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Characters of a line that an error shows.
const SHOWN_CHARACTERS: usize = 80;

/// How a helper is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// The program, as a rule the one that runs.
    pub program: PathBuf,
    /// Arguments that make it call [`serve_helper`].
    pub arguments: Vec<String>,
}

/// What a helper is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    /// To write the floor's frames.
    WriteFloor(WriterSettings),
    /// To be a share of the clients.
    HoldClients(Box<Share>),
}

/// Lines of the parent; the end of them is the end of the helper.
pub(crate) type Orders = Receiver<String>;

/// What a helper says.
#[derive(Debug)]
pub(crate) struct Answers(BufReader<ChildStdout>);

/// A running helper. Ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
}

impl Helper {
    /// Starts one and gives it its task.
    pub(crate) fn start(&self, task: &Task) -> Result<(Process, Answers), Error> {
        let failed = |error| Error::io(format!("starting {}", self.program.display()), &error);
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut process = Process { child, input };
        let output = output.ok_or_else(|| Error::new("a helper has no standard output"))?;
        // Where it has ended already, whoever reads its answers learns how.
        let _ = process.say(&line(task));
        Ok((process, Answers(BufReader::new(output))))
    }
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes an order, with its line end.
    pub(crate) fn say(&mut self, order: &str) -> std::io::Result<()> {
        let input = self.input.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
        input.write_all(order.as_bytes())
    }

    /// Tells it to end, without waiting for that.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Ends it without asking.
    pub(crate) fn kill(&mut self) {
        // It fails only where the process has ended already.
        let _ = self.child.kill();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Answers {
    /// The next line; none when the helper has ended, or is about to.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(bytes) if bytes > 0 => Some(line),
            _ => None,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.close();
        let until = Instant::now() + ENDS_WITHIN;
        while self.ended().is_none() && Instant::now() < until {
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill();
        let _ = self.child.wait();
    }
}

/// The process of a helper: does what the first line of `input` says, until `input` ends. What goes wrong is told to
/// the parent, which tells the user.
///
/// # Errors
/// [`Error`] if it cannot even be told.
pub fn serve_helper(input: impl BufRead + Send + 'static, mut out: impl Write) -> Result<(), Error> {
    let outcome = serve(input, &mut out);
    outcome.or_else(|error| say(&mut out, &line(&Trouble { failed: error.to_string() })))
}

fn serve(input: impl BufRead + Send + 'static, out: &mut impl Write) -> Result<(), Error> {
    rlimit::increase_nofile_limit(u64::MAX).map_err(|error| Error::io("open files", &error))?;
    let orders = read_orders(input)?;
    // A parent that is gone before it said anything wants nothing.
    let Ok(first) = orders.recv() else { return Ok(()) };
    match parse(&first)? {
        Task::WriteFloor(settings) => serve_writer(settings, &orders, out),
        Task::HoldClients(share) => serve_share(*share, &orders, out),
    }
}

/// Reads in a thread of its own, so that a task learns of the parent's end whatever it waits for. The serving thread
/// is unparked for every order.
fn read_orders(input: impl BufRead + Send + 'static) -> Result<Orders, Error> {
    let (sender, orders) = mpsc::channel();
    let server = std::thread::current();
    let read = move || {
        for order in input.lines() {
            let Ok(order) = order else { break };
            if sender.send(order).is_err() {
                break;
            }
            server.unpark();
        }
        drop(sender);
        server.unpark();
    };
    let thread = std::thread::Builder::new().name("orders".into());
    thread.spawn(read).map_err(|error| Error::io("reading orders", &error))?;
    Ok(orders)
}

/// The last line of a helper that cannot go on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trouble {
    /// Why.
    pub(crate) failed: String,
}

/// A value as a line.
pub(crate) fn line(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string(value).expect("lines hold no maps with odd keys");
    text.push('\n');
    text
}

/// Writes a line.
pub(crate) fn say(out: &mut impl Write, line: &str) -> Result<(), Error> {
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Error::io("answering the parent process", &error))
}

/// The value of a line. The error shows where it is wrong, and its beginning.
pub(crate) fn parse<T: DeserializeOwned>(line: &str) -> Result<T, Error> {
    serde_json::from_str(line).map_err(|error| {
        let shown: String = line.trim_end().chars().take(SHOWN_CHARACTERS).collect();
        Error::new(format!("a line that cannot be understood: {error}: {shown:?}"))
    })
}

/// Waits for the status of a helper whose output has ended.
pub(crate) fn wait_ended(mut look: impl FnMut() -> Option<ExitStatus>) -> Option<ExitStatus> {
    let until = Instant::now() + ENDS_WITHIN;
    loop {
        match look() {
            None if Instant::now() < until => std::thread::sleep(LOOK_EVERY),
            status => return status,
        }
    }
}
