//! Very many clients in a few threads.
//!
//! Owns what is known of all clients together. They are split into shares: one in this process, or several in
//! processes of their own where one has not enough open files; a share is event loops, one thread each. Must not know
//! what a scenario wants of clients. Start at [`Pool::start`].

mod arrivals;
mod away;
mod gaps;
mod goal;
mod link;
mod local;
mod news;
mod orders;
mod remote;
mod returning;
mod share;
mod socket;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::comeback::CutPlan;
use crate::console::Console;
use crate::error::Error;
use crate::latency::{Latencies, now_ns};
use crate::session::Script;
use crate::still::Still;
use crate::target::Clients;
pub(crate) use arrivals::Attribution;
use goal::Goal;
use local::{Local, Watcher};
pub(crate) use news::serve_share;
pub(crate) use orders::{Channel, Converse, Publish, Say, Visit};
use remote::Remote;
pub(crate) use share::Share;

/// How long nothing at all may change while we wait for clients.
const STANDSTILL: Duration = Duration::from_secs(30);

/// How often waiting looks. Whoever waits for messages is woken besides.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// How often waiting for messages looks whether anything is wrong.
const LOOK_BESIDES_EVERY: Duration = Duration::from_millis(20);

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
    /// Numbers that a client received more than once, summed over clients that come back.
    pub(crate) again: u64,
    /// Visits for which no client was free.
    pub(crate) nobody_free: u64,
    /// When the last message came that had not come before, or the last visit ended; see [`now_ns`]. 0 = never.
    pub(crate) last_arrival_ns: u64,
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
    /// Acknowledgements of joins and signs of life.
    pub(crate) acks: u64,
    /// Messages that clients said and the server acknowledged, where it does.
    pub(crate) confirmed: u64,
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
            again: self.again + other.again,
            nobody_free: self.nobody_free + other.nobody_free,
            last_arrival_ns: self.last_arrival_ns.max(other.last_arrival_ns),
            cuts: self.cuts + other.cuts,
            lost: self.lost + other.lost,
            refused: self.refused + other.refused,
            unavailable: self.unavailable + other.unavailable,
            returned: self.returned + other.returned,
            recovered: self.recovered + other.recovered,
            acks: self.acks + other.acks,
            confirmed: self.confirmed + other.confirmed,
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

    /// From then until the last arrival: what rates are over, as waiting in vain for what is lost belongs to none. Without
    /// any arrival all the time that has passed.
    pub(crate) fn active_since(&self, begun_ns: u64) -> Duration {
        let end_ns = Some(self.last_arrival_ns).filter(|last_ns| *last_ns > begun_ns).unwrap_or_else(now_ns);
        Duration::from_nanos(end_ns.saturating_sub(begun_ns))
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

    /// Messages that had come before, each time they came.
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
    Publish(Publish),
    /// Every client that has pings sends one.
    Ping,
    Converse(Converse),
    Visit(Visit),
}

/// A command on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Answers name it, so that one that comes too late is not taken for another. 0 = this is no question.
    question: u64,
    command: Command,
}

impl Order {
    /// A command that nobody answers.
    fn new(command: Command) -> Self {
        Self { question: 0, command }
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
    /// Until that message arrived; see [`Attribution::ByNumber`].
    Message(u32),
    /// Until the client of a visit was ready.
    Connects,
    /// Until a visit was over.
    Visits,
}

/// Who has a share of the clients: this process or another one.
trait Holder: Send + Sync {
    /// Passes a command on, with the number of its question if it is one. Does not wait until it is obeyed.
    fn tell(&self, order: &Order);
    /// Everything so far, for each event loop.
    fn by_loop(&self) -> Vec<Counts>;
    /// Why the first client failed, if one did.
    fn first_failure(&self) -> Option<String>;
    /// Why the whole share is gone, if it is.
    fn trouble(&self) -> Option<String>;
    /// Waits for what each event loop answers to the question of that number; an error if one of them does not.
    fn answers(&self, question: u64) -> Result<Vec<Answer>, Error>;
    /// Begins to close all connections; dropping it waits for the end.
    fn close(&mut self);
}

/// Clients in event loops of their own. Dropping it closes their connections.
pub(crate) struct Pool {
    shares: Vec<Box<dyn Holder>>,
    clients: u64,
    /// The number of the last question.
    questions: AtomicU64,
    /// Messages that are waited for.
    goal: Arc<Goal>,
}

impl Pool {
    /// Starts to open all clients.
    pub(crate) fn start(clients: &Clients, script: Script) -> Result<Self, Error> {
        script.protocol.check_targets(&clients.targets)?;
        let processes = clients.reserve_files()?;
        let mut shares = Share::split(clients, &script, processes)?;
        let total = shares.len();
        let helper = clients.helper.as_ref().filter(|_| total > 1);
        let goal = Arc::new(Goal::of_this_thread());
        let start = |(number, share)| -> Result<Box<dyn Holder>, Error> {
            Ok(match helper {
                Some(helper) => Box::new(Remote::start(helper, share, (number, total), Arc::clone(&goal))?),
                None => Box::new(Local::start(share, &Watcher::Goal(Arc::clone(&goal)))?),
            })
        };
        let shares = shares.drain(..).enumerate().map(start).collect::<Result<_, _>>()?;
        Ok(Self { shares, clients: u64::from(clients.connections), questions: AtomicU64::new(0), goal })
    }

    /// Asks all clients to do something.
    fn tell(&self, command: Command) {
        let order = Order::new(command);
        self.shares.iter().for_each(|share| share.tell(&order));
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
        let mut still = Still::new(self.counts().messages);
        self.wait_messages_while(messages, |counts| patience.saturating_sub(still.look(counts.messages)))
    }

    /// Waits until `messages` numbered messages have arrived in all, or the time that `rest` gives is over. Event loops
    /// wake this thread when it is so far, if it is the one that started the pool.
    pub(crate) fn wait_messages_while(
        &self,
        messages: u64,
        mut rest: impl FnMut(&Counts) -> Duration,
    ) -> bool {
        let _goal = self.goal.set(messages);
        loop {
            let counts = self.counts();
            let rest = rest(&counts);
            if counts.messages >= messages || rest.is_zero() || self.check().is_err() {
                return counts.messages >= messages;
            }
            std::thread::park_timeout(rest.min(LOOK_BESIDES_EVERY));
        }
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

    /// Waits until every client is ready or has failed; at least one must be ready.
    pub(crate) fn wait_ready(&self, console: Console) -> Result<(), Error> {
        let all = self.clients;
        let _ = self.wait(&console.progress("connecting", all), all, STANDSTILL, |counts| {
            counts.ready + counts.failed
        });
        self.check()?;
        let counts = self.counts();
        if counts.ready > 0 && counts.ready + counts.failed >= all {
            return Ok(());
        }
        let failure = self.first_failure().unwrap_or_else(|| "no answer".into());
        Err(Error::new(format!(
            "{} of {all} clients became ready, {} failed: {failure}",
            counts.ready, counts.failed
        )))
    }

    /// Waits until `measure` of the counts reaches `goal`, or does not change for as long as `patience`, or a process
    /// with clients is gone; says whether the goal was reached. Other counts are no sign that something goes on: pings are
    /// answered and pollers come back for ever.
    pub(crate) fn wait(
        &self,
        bar: &indicatif::ProgressBar,
        goal: u64,
        patience: Duration,
        measure: impl Fn(&Counts) -> u64,
    ) -> bool {
        let mut still = Still::new(measure(&self.counts()));
        loop {
            let reached = measure(&self.counts());
            bar.set_position(reached);
            if reached >= goal || still.look(reached) > patience || self.check().is_err() {
                bar.finish_and_clear();
                return reached >= goal;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends every client in the way of its protocol and waits for that.
    pub(crate) fn leave(&self, console: Console) {
        self.tell(Command::Leave);
        let gone = |counts: &Counts| counts.failed + counts.cut + counts.left;
        let _ = self.wait(&console.progress("leaving", self.clients), self.clients, STANDSTILL, gone);
    }

    /// Lets clients say numbered messages. Clients that are not ready say nothing.
    pub(crate) fn say(&self, say: &Say) {
        self.tell(Command::Say(say.clone()));
    }

    /// Lets clients publish numbered messages.
    pub(crate) fn publish(&self, publish: &Publish) {
        self.tell(Command::Publish(publish.clone()));
    }

    /// Lets clients ask the server for a sign of life.
    pub(crate) fn ping(&self) {
        self.tell(Command::Ping);
    }

    /// Lets clients answer each other.
    pub(crate) fn converse(&self, converse: &Converse) {
        self.tell(Command::Converse(converse.clone()));
    }

    /// Lets clients come for a visit. A visit whose client is still busy with an earlier one fails.
    pub(crate) fn visit(&self, visit: &Visit) {
        self.tell(Command::Visit(visit.clone()));
    }

    /// Cuts clients from now on, or no longer. Only clients with a comeback are cut.
    pub(crate) fn cut(&self, cuts: Option<CutPlan>) {
        self.tell(Command::Cut(cuts));
    }

    /// What the clients have not received.
    pub(crate) fn find(&self, question: &Question) -> Result<Findings, Error> {
        let answers = self.ask(Command::Find(question.clone()))?.into_iter();
        let findings = answers.filter_map(|answer| match answer {
            Answer::Findings(findings) => Some(findings),
            Answer::Latencies(_) => None,
        });
        Ok(findings.fold(Findings::default(), Findings::add))
    }

    /// Latencies of messages, all loops, since the last call.
    pub(crate) fn latencies(&self) -> Result<Latencies, Error> {
        self.latencies_of(Measured::Messages)
    }

    /// Latencies of all loops since the last call.
    pub(crate) fn latencies_of(&self, measured: Measured) -> Result<Latencies, Error> {
        let answers = self.ask(Command::Latencies(measured))?.into_iter();
        let latencies = answers.filter_map(|answer| match answer {
            Answer::Latencies(latencies) => Some(latencies),
            Answer::Findings(_) => None,
        });
        Ok(latencies.fold(Latencies::new(), Latencies::merged))
    }

    /// Tells a command that is a question; one answer from each event loop, or an error.
    fn ask(&self, command: Command) -> Result<Vec<Answer>, Error> {
        let order = Order { question: self.questions.fetch_add(1, Ordering::Relaxed) + 1, command };
        self.shares.iter().for_each(|share| share.tell(&order));
        let mut answers = Vec::new();
        for share in &self.shares {
            answers.extend(share.answers(order.question)?);
        }
        Ok(answers)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // All at once; each share is then waited for as it is dropped.
        self.shares.iter_mut().for_each(|share| share.close());
    }
}
