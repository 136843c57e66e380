//! Very many clients in a few threads.
//!
//! Owns the threads and what is known of all clients together. Must not know what a scenario wants of them.
//! Start at [`Pool::start`].

mod away;
mod gaps;
mod link;
mod returning;
mod worker;

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::comeback::CutPlan;
use crate::console::Console;
use crate::error::Error;
use crate::latency::Latencies;
use crate::report::cores;
use crate::session::Script;
use crate::target::{Clients, Route};
use worker::{Setup, Worker};

/// How long nothing at all may change while we wait for clients.
const STANDSTILL: Duration = Duration::from_secs(30);

/// How often waiting looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What happened to clients since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Clients this loop has.
    pub(crate) clients: u64,
    /// Connections established.
    pub(crate) connected: u64,
    /// Clients whose handshake is over.
    pub(crate) ready: u64,
    /// Clients that were refused, cut off or broke the rules before they were ready.
    pub(crate) failed: u64,
    /// Clients that were ready and were then cut off by the server.
    pub(crate) cut: u64,
    /// Clients that are gone because we wanted it.
    pub(crate) left: u64,
    /// Messages with a number.
    pub(crate) messages: u64,
    /// Other events.
    pub(crate) foreign: u64,
    /// Messages whose number was not above the one before: duplicates and errors of order.
    pub(crate) repeated: u64,
    /// Those of them whose number had not come before; counted only for clients that come back.
    pub(crate) late: u64,
    /// Connections that we cut.
    pub(crate) cuts: u64,
    /// Connections of ready clients that the server ended and whose clients mean to come back.
    pub(crate) lost: u64,
    /// Attempts to come back that failed.
    pub(crate) refused: u64,
    /// Those of them that were answered with 503.
    pub(crate) unavailable: u64,
    /// Attempts to come back that succeeded.
    pub(crate) returned: u64,
    /// Those of them that were given the session they had.
    pub(crate) recovered: u64,
    /// Acknowledgements.
    pub(crate) acks: u64,
    /// Bytes read.
    pub(crate) bytes: u64,
    /// Calls of read.
    pub(crate) reads: u64,
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            connected: self.connected + other.connected,
            ready: self.ready + other.ready,
            failed: self.failed + other.failed,
            cut: self.cut + other.cut,
            left: self.left + other.left,
            messages: self.messages + other.messages,
            foreign: self.foreign + other.foreign,
            repeated: self.repeated + other.repeated,
            late: self.late + other.late,
            cuts: self.cuts + other.cuts,
            lost: self.lost + other.lost,
            refused: self.refused + other.refused,
            unavailable: self.unavailable + other.unavailable,
            returned: self.returned + other.returned,
            recovered: self.recovered + other.recovered,
            acks: self.acks + other.acks,
            bytes: self.bytes + other.bytes,
            reads: self.reads + other.reads,
        }
    }

    /// Clients that are ready and still there.
    pub(crate) fn present(&self) -> u64 {
        self.ready.saturating_sub(self.cut + self.left + self.away())
    }

    /// Clients that lost their connection and are not back yet.
    pub(crate) fn away(&self) -> u64 {
        (self.cuts + self.lost).saturating_sub(self.returned)
    }

    /// Different numbers received, summed over clients.
    pub(crate) fn distinct(&self) -> u64 {
        self.messages + self.late
    }

    /// Messages that had come before.
    pub(crate) fn twice(&self) -> u64 {
        self.repeated - self.late
    }
}

/// Which numbers every client should have received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// All below this,
    pub(crate) end: u32,
    /// but for these, of which nobody knows whether they were published.
    pub(crate) excepted: Vec<u32>,
}

/// What is missing of them, summed over clients that come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Numbers below the highest that the client received.
    pub(crate) skipped: u64,
    /// Numbers above it.
    pub(crate) behind: u64,
    /// Clients that miss any.
    pub(crate) clients_incomplete: u64,
}

impl Findings {
    fn add(self, other: Self) -> Self {
        Self {
            skipped: self.skipped + other.skipped,
            behind: self.behind + other.behind,
            clients_incomplete: self.clients_incomplete + other.clients_incomplete,
        }
    }
}

/// What a loop is asked to do.
enum Command {
    /// Close every client.
    Leave,
    /// Begin to cut clients, or stop it.
    Cut(Option<CutPlan>),
    /// Say what clients are missing.
    Find(Question, Sender<Findings>),
    /// Hand over the latencies since the last time.
    Latencies(Sender<Latencies>),
}

/// What a loop shows while it works.
#[derive(Debug, Default)]
struct Shown {
    counts: Mutex<Counts>,
    first_failure: Mutex<Option<String>>,
}

/// Clients in event loops of their own. Dropping it closes their connections.
pub(crate) struct Pool {
    loops: Vec<Loop>,
    clients: u64,
}

struct Loop {
    commands: Option<Sender<Command>>,
    waker: Arc<mio::Waker>,
    shown: Arc<Shown>,
    thread: Option<JoinHandle<()>>,
}

impl Pool {
    /// Starts to open all clients.
    pub(crate) fn start(clients: &Clients, script: Script) -> Result<Self, Error> {
        clients.reserve_files()?;
        let wanted = if clients.threads == 0 { cores() } else { clients.threads };
        let threads = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(1, clients.connections.max(1));
        let (route, script) = (Arc::new(Route::new(clients)?), Arc::new(script));
        let start_one = |number: u32| {
            let setup = Setup {
                route: Arc::clone(&route),
                script: Arc::clone(&script),
                indexes: (number..clients.connections).step_by(threads as usize).collect(),
                opening_max: (clients.opening_max / threads).max(1),
            };
            Loop::start(number, setup).map_err(|error| Error::io("event loop", &error))
        };
        let loops = (0..threads).map(start_one).collect::<Result<_, _>>()?;
        Ok(Self { loops, clients: u64::from(clients.connections) })
    }

    /// Waits until `messages` numbered messages have arrived in all, or none has for as long as `patience`.
    pub(crate) fn wait_messages(&self, messages: u64, patience: Duration) -> bool {
        self.wait(&indicatif::ProgressBar::hidden(), messages, patience, |counts| counts.messages)
    }

    /// Everything so far.
    pub(crate) fn counts(&self) -> Counts {
        self.by_loop().into_iter().fold(Counts::default(), Counts::add)
    }

    /// The same for each loop.
    pub(crate) fn by_loop(&self) -> Vec<Counts> {
        let counts = |each: &Loop| *each.shown.counts.lock().expect("nothing panics while it holds the lock");
        self.loops.iter().map(counts).collect()
    }

    /// Why the first client failed, if one did.
    pub(crate) fn first_failure(&self) -> Option<String> {
        let failure = |each: &Loop| each.shown.first_failure.lock().ok()?.clone();
        self.loops.iter().find_map(failure)
    }

    /// Waits until every client is ready or has failed; at least one must be ready. Returns how long it took from now.
    pub(crate) fn wait_ready(&self, console: Console) -> Result<Duration, Error> {
        let begun = Instant::now();
        let all = self.clients;
        let _ = self.wait(&console.progress("connecting", all), all, STANDSTILL, |counts| {
            counts.ready + counts.failed
        });
        let counts = self.counts();
        if counts.ready > 0 && counts.ready + counts.failed >= all {
            return Ok(begun.elapsed());
        }
        let failure = self.first_failure().unwrap_or_else(|| "no answer".into());
        Err(Error::new(format!(
            "{} of {all} clients became ready, {} failed: {failure}",
            counts.ready, counts.failed
        )))
    }

    /// Waits until `measure` of the counts reaches `goal`, or nothing changes for as long as `patience`; says which.
    pub(crate) fn wait(
        &self,
        bar: &indicatif::ProgressBar,
        goal: u64,
        patience: Duration,
        measure: impl Fn(&Counts) -> u64,
    ) -> bool {
        let mut last = (self.counts(), Instant::now());
        loop {
            let counts = self.counts();
            let reached = measure(&counts);
            bar.set_position(reached);
            if reached >= goal || last.1.elapsed() > patience {
                bar.finish_and_clear();
                return reached >= goal;
            }
            if counts != last.0 {
                last = (counts, Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends every client in the way of its protocol and waits for that.
    pub(crate) fn leave(&self, console: Console) {
        self.loops.iter().for_each(|each| each.tell(Command::Leave));
        let gone = |counts: &Counts| counts.failed + counts.cut + counts.left;
        let _ = self.wait(&console.progress("leaving", self.clients), self.clients, STANDSTILL, gone);
    }

    /// Cuts clients from now on, or no longer. Only clients with a comeback are cut.
    pub(crate) fn cut(&self, cuts: Option<CutPlan>) {
        self.loops.iter().for_each(|each| each.tell(Command::Cut(cuts)));
    }

    /// What the clients have not received.
    pub(crate) fn find(&self, question: &Question) -> Findings {
        let (sender, receiver) = mpsc::channel();
        self.loops.iter().for_each(|each| each.tell(Command::Find(question.clone(), sender.clone())));
        drop(sender);
        receiver.iter().fold(Findings::default(), Findings::add)
    }

    /// Latencies of all loops since the last call.
    pub(crate) fn latencies(&self) -> Latencies {
        let (sender, receiver) = mpsc::channel();
        self.loops.iter().for_each(|each| each.tell(Command::Latencies(sender.clone())));
        drop(sender);
        receiver.iter().fold(Latencies::new(), |mut all, one| {
            all.add(&one);
            all
        })
    }
}

impl Loop {
    fn start(number: u32, setup: Setup) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let shown = Arc::new(Shown::default());
        let (worker, waker) = Worker::new(setup, receiver, Arc::clone(&shown))?;
        let builder = std::thread::Builder::new().name(format!("clients-{number}"));
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self { commands: Some(sender), waker: Arc::new(waker), shown, thread })
    }

    /// A loop that has ended needs no telling.
    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
        let _ = self.waker.wake();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for each in &mut self.loops {
            each.commands = None;
            let _ = each.waker.wake();
        }
        for thread in self.loops.iter_mut().filter_map(|each| each.thread.take()) {
            let _ = thread.join();
        }
    }
}
