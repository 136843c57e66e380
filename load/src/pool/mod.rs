//! Very many clients in a few threads.
//!
//! Owns what is known of all clients together. They are split into shares: one in this process, or several in
//! processes of their own where one has not enough open files; a share is event loops, one thread each. Must not know
//! what a scenario wants of clients. Start at [`Pool::start`].

mod away;
mod gaps;
mod link;
mod local;
mod news;
mod orders;
mod remote;
mod returning;
mod share;
mod worker;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::comeback::CutPlan;
use crate::console::Console;
use crate::error::Error;
use crate::latency::Latencies;
use crate::session::Script;
use crate::target::Clients;
use local::Local;
pub(crate) use news::serve_share;
pub(crate) use orders::{Converse, Say, Visit};
use remote::Remote;
pub(crate) use share::Share;

/// How long nothing at all may change while we wait for clients.
const STANDSTILL: Duration = Duration::from_secs(30);

/// How often waiting looks.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often it is looked, while nothing else is waited for, whether all processes are there.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// What happened to clients since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Numbered messages that clients said.
    pub(crate) said: u64,
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
            said: self.said + other.said,
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

    /// The process with these clients is gone: nobody is ready any more or will ever be.
    fn lose_all(&mut self) {
        self.failed += self.clients.saturating_sub(self.ready + self.failed);
        self.cut += self.present();
    }

    /// What was counted after `earlier`, as far as it is a matter of messages.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            said: self.said - earlier.said,
            messages: self.messages - earlier.messages,
            foreign: self.foreign - earlier.foreign,
            repeated: self.repeated - earlier.repeated,
            bytes: self.bytes - earlier.bytes,
            reads: self.reads - earlier.reads,
            ..*self
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// All below this,
    pub(crate) end: u32,
    /// but for these, of which nobody knows whether they were published.
    pub(crate) excepted: Vec<u32>,
}

/// What is missing of them, summed over clients that come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What clients are asked to do. Every event loop of every share gets it and obeys as far as its clients go, in whichever
/// process it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Close every client.
    Leave,
    /// Tell the latencies since the last time.
    Latencies(Measured),
    /// Tell what clients are missing.
    Find(Question),
    /// Begin to cut clients, or stop it.
    Cut(Option<CutPlan>),
    Say(Say),
    Converse(Converse),
    Visit(Visit),
}

impl Command {
    /// Whether every event loop answers it.
    fn is_question(&self) -> bool {
        match self {
            Self::Latencies(_) | Self::Find(_) => true,
            Self::Leave | Self::Cut(_) | Self::Say(_) | Self::Converse(_) | Self::Visit(_) => false,
        }
    }
}

/// What an event loop answers to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To [`Command::Latencies`].
    Latencies(Latencies),
    /// To [`Command::Find`].
    Findings(Findings),
}

/// What latencies are of. They count from the planned time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measured {
    /// Until a message arrived.
    Messages,
    /// Until the client of a visit was ready.
    Connects,
    /// Until a visit was over.
    Visits,
}

/// Who has a share of the clients: this process or another one.
trait Holder: Send + Sync {
    /// Passes a command on. Does not wait until it is obeyed.
    fn tell(&self, command: &Command);
    /// Everything so far, for each event loop.
    fn by_loop(&self) -> Vec<Counts>;
    /// Why the first client failed, if one did.
    fn first_failure(&self) -> Option<String>;
    /// Why the whole share is gone, if it is.
    fn trouble(&self) -> Option<String>;
    /// Waits for what each event loop answers to a question.
    fn answers(&self) -> Vec<Answer>;
    /// Begins to close all connections; dropping it waits for the end.
    fn close(&mut self);
}

/// Clients in event loops of their own. Dropping it closes their connections.
pub(crate) struct Pool {
    shares: Vec<Box<dyn Holder>>,
    clients: u64,
}

impl Pool {
    /// Starts to open all clients.
    pub(crate) fn start(clients: &Clients, script: Script) -> Result<Self, Error> {
        let processes = clients.reserve_files()?;
        let mut shares = Share::split(clients, &script, processes)?;
        let total = shares.len();
        let helper = clients.helper.as_ref().filter(|_| total > 1);
        let start = |(number, share)| -> Result<Box<dyn Holder>, Error> {
            Ok(match helper {
                Some(helper) => Box::new(Remote::start(helper, share, (number, total))?),
                None => Box::new(Local::start(share, None)?),
            })
        };
        let shares = shares.drain(..).enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(Self { shares, clients: u64::from(clients.connections) })
    }

    /// Asks all clients to do something.
    pub(crate) fn tell(&self, command: &Command) {
        self.shares.iter().for_each(|share| share.tell(command));
    }

    /// An error as soon as a process with clients is gone: what is measured then is nothing.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.shares.iter().find_map(|share| share.trouble()).map_or(Ok(()), |text| Err(Error::new(text)))
    }

    /// Lets time pass, as long as all processes are there.
    pub(crate) fn hold(&self, time: Duration) -> Result<(), Error> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(CHECK_EVERY));
        }
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
        self.shares.iter().flat_map(|share| share.by_loop()).collect()
    }

    /// Why the first client failed, if one did.
    pub(crate) fn first_failure(&self) -> Option<String> {
        self.shares.iter().find_map(|share| share.first_failure())
    }

    /// Waits until every client is ready or has failed; at least one must be ready. Returns how long it took from now.
    pub(crate) fn wait_ready(&self, console: Console) -> Result<Duration, Error> {
        let begun = Instant::now();
        let all = self.clients;
        let _ = self.wait(&console.progress("connecting", all), all, STANDSTILL, |counts| {
            counts.ready + counts.failed
        });
        self.check()?;
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

    /// Waits until `measure` of the counts reaches `goal`, or nothing changes for as long as `patience`, or a process
    /// with clients is gone; says whether the goal was reached.
    pub(crate) fn wait(
        &self,
        bar: &indicatif::ProgressBar,
        goal: u64,
        patience: Duration,
        measure: impl Fn(&Counts) -> u64,
    ) -> bool {
        // Pings are answered for ever, so bytes are no sign that something goes on.
        let moving = |counts: &Counts| Counts { bytes: 0, reads: 0, ..*counts };
        let mut last = (moving(&self.counts()), Instant::now());
        loop {
            let counts = self.counts();
            let reached = measure(&counts);
            bar.set_position(reached);
            if reached >= goal || last.1.elapsed() > patience || self.check().is_err() {
                bar.finish_and_clear();
                return reached >= goal;
            }
            if moving(&counts) != last.0 {
                last = (moving(&counts), Instant::now());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends every client in the way of its protocol and waits for that.
    pub(crate) fn leave(&self, console: Console) {
        self.tell(&Command::Leave);
        let gone = |counts: &Counts| counts.failed + counts.cut + counts.left;
        let _ = self.wait(&console.progress("leaving", self.clients), self.clients, STANDSTILL, gone);
    }

    /// Lets clients say numbered messages. Clients that are not ready say nothing.
    pub(crate) fn say(&self, say: &Say) {
        self.tell(&Command::Say(say.clone()));
    }

    /// Lets clients answer each other.
    pub(crate) fn converse(&self, converse: &Converse) {
        self.tell(&Command::Converse(converse.clone()));
    }

    /// Lets clients come for a visit. A visit whose client is still busy with an earlier one fails.
    pub(crate) fn visit(&self, visit: &Visit) {
        self.tell(&Command::Visit(visit.clone()));
    }

    /// Cuts clients from now on, or no longer. Only clients with a comeback are cut.
    pub(crate) fn cut(&self, cuts: Option<CutPlan>) {
        self.tell(&Command::Cut(cuts));
    }

    /// What the clients have not received.
    pub(crate) fn find(&self, question: &Question) -> Findings {
        let answers = self.ask(&Command::Find(question.clone())).into_iter();
        let findings = answers.filter_map(|answer| match answer {
            Answer::Findings(findings) => Some(findings),
            Answer::Latencies(_) => None,
        });
        findings.fold(Findings::default(), Findings::add)
    }

    /// Latencies of messages, all loops, since the last call.
    pub(crate) fn latencies(&self) -> Latencies {
        self.latencies_of(Measured::Messages)
    }

    /// Latencies of all loops since the last call.
    pub(crate) fn latencies_of(&self, measured: Measured) -> Latencies {
        let answers = self.ask(&Command::Latencies(measured)).into_iter();
        let latencies = answers.filter_map(|answer| match answer {
            Answer::Latencies(latencies) => Some(latencies),
            Answer::Findings(_) => None,
        });
        latencies.fold(Latencies::new(), Latencies::merged)
    }

    /// Tells a command that is a question; one answer from each event loop that is still there.
    fn ask(&self, question: &Command) -> Vec<Answer> {
        self.tell(question);
        self.shares.iter().flat_map(|share| share.answers()).collect()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // All at once; each share is then waited for as it is dropped.
        self.shares.iter_mut().for_each(|share| share.close());
    }
}
