//! Queues: a message is sent to one, received by somebody, and settled. Owns order, visibility, groups, deduplication, dead
//! letters and moves of the queues whose home this hub is, as a deterministic state machine of its own.
//!
//! What must outlive the process is written into the hub's journal as records ([`Record`]), one for each piece of state,
//! dropped when the state is over, and what is said waits until the records it rests on are safe. The content of messages is
//! not kept here: a receiver gets the place of the record that has it.
//!
//! It must not know: what a message says, who waits behind a token, how records are stored. Time comes with each command.
//!
//! Start at [`QueueCommand`] (everything that can happen), [`Answer`] (everything that is said) and [`QueueLimits`]; then `stock` (what becomes of one message), `lane` (whose message is next) and `mail` (two queues).

mod answer;
mod attempts;
mod codec;
mod command;
mod copies;
mod desk;
mod ids;
mod lane;
mod leaving;
mod limits;
mod mail;
mod manage;
mod marks;
mod moves;
mod receive;
mod record;
mod replay;
mod rubbish;
mod run;
mod send;
mod settings;
mod settle;
mod stock;
mod tasks;
mod waiters;

pub use answer::{Answer, Delivery, Peeked, QueueCounts, QueueFlow, QueueRefusal, QueueView, Stage, Taken};
pub use codec::Malformed;
pub use command::{Message, QueueCommand, Receive, StartTask};
pub use ids::{MoveId, QueueName, Receipt, TaskId, Wall};
pub use limits::{QueueConfig, QueueLimits};
pub use mail::{Check, Copied, Parcel, Pending, Purpose, QueueCopy, QueueMail, Waiter};
pub use record::{
    Id, IdValue, Intent, Mark, MoveRefusal, Origin, QueueRecord, Record, Sent, Tally, TaskRecord, TaskStatus,
};
pub use settings::{Allow, DeadLetters, Kind, Scope, Settings};

pub(crate) use leaving::Leaving;

use crate::ids::{Millis, ShardId, Token, Topology};
use desk::{Desk, Queue};
use leaving::Gate;
use limits::{QUEUES_PER_TICK, STEP_MAX};
use moves::Moves;
use receive::Numbers;
use replay::Replay;
use rubbish::Rubbish;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};
use waiters::{QueueKey, Waiters};

/// All queues of one hub.
#[derive(Debug)]
pub(crate) struct Queues {
    config: QueueConfig,
    shard: ShardId,
    topology: Topology,
    /// Makes places in memory unguessable.
    seed: u64,
    desk: Desk,
    all: Slab<Queue>,
    names: BTreeMap<QueueName, QueueKey>,
    /// Target and source of dead letters.
    sources: BTreeSet<(QueueName, QueueName)>,
    waiters: Waiters,
    moves: Moves,
    timers: BTreeSet<(Wall, QueueKey)>,
    rubbish: Rubbish,
    numbers: Numbers,
    /// Names of deleted queues, and until when they cannot be used.
    deleted: BTreeMap<QueueName, Wall>,
    /// While records are read.
    replay: Replay,
}

impl Queues {
    pub(crate) fn new(shard: ShardId, topology: Topology, epoch: u64) -> Self {
        Self {
            config: QueueConfig::default(),
            shard,
            topology,
            seed: epoch,
            desk: Desk::default(),
            all: Slab::new(),
            names: BTreeMap::new(),
            sources: BTreeSet::new(),
            waiters: Waiters::default(),
            moves: Moves::default(),
            timers: BTreeSet::new(),
            rubbish: Rubbish::default(),
            numbers: Numbers::new(epoch),
            deleted: BTreeMap::new(),
            replay: Replay::default(),
        }
    }

    /// Before anything else.
    pub(crate) fn configure(&mut self, config: QueueConfig) {
        self.desk.now = config.start;
        self.config = config;
    }

    /// Queues.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
            && self.waiters.len() == 0
            && self.moves.is_empty()
            && self.rubbish.is_empty()
            && self.desk.arrivals.is_empty()
    }

    /// Applies one command.
    fn apply(&mut self, command: QueueCommand) {
        match command {
            QueueCommand::Create { queue, settings, token } => self.create(queue, settings, token),
            QueueCommand::Configure { queue, settings, revision, token } => {
                self.configure_queue(queue, settings, revision, token);
            }
            QueueCommand::Delete { queue, token } => self.delete(&queue, token),
            QueueCommand::Purge { queue, token } => self.purge(&queue, token),
            QueueCommand::Describe { queue, token } => self.describe(&queue, token),
            QueueCommand::List { prefix, after, limit, token } => {
                self.list(&prefix, after.as_ref(), limit, token);
            }
            QueueCommand::Sources { target, after, limit, token } => {
                self.list_sources(&target, after.as_ref(), limit, token);
            }
            QueueCommand::Peek { queue, after, limit, token } => self.peek(&queue, after, limit, token),
            QueueCommand::Send { queue, messages, token } => self.send(&queue, messages, token),
            QueueCommand::Receive(receive) => self.receive(receive),
            QueueCommand::Cancel { token } => self.cancel(token),
            QueueCommand::Settle { queue, receipts, token } => self.settle(&queue, &receipts, token),
            QueueCommand::SetVisibility { queue, changes, token } => {
                self.set_visibility(&queue, &changes, token);
            }
            QueueCommand::StartTask(task) => self.start_task(task),
            QueueCommand::CancelTask { queue, task, token } => self.cancel_task(&queue, task, token),
            QueueCommand::Tasks { queue, limit, token } => self.list_tasks(&queue, limit, token),
            QueueCommand::Loaded { id, record, message } => self.loaded(id, record, message),
        }
    }

    /// From another hub, or this one.
    fn mail(&mut self, from: ShardId, mail: QueueMail) {
        match mail {
            QueueMail::Move(parcel) => self.arrive(from, *parcel),
            QueueMail::Moved(id) => self.moved(from, id),
            QueueMail::NotMoved(id, why) => self.not_moved(id, why),
            QueueMail::Forget(id) => self.desk.forget(id),
            QueueMail::AskOpen(partition) => self.tell_open(from, partition),
            QueueMail::Open { partition, open, upto } => self.forget_closed(partition, &open, upto),
            QueueMail::CheckTarget(check) => self.check_target(from, *check),
            QueueMail::Checked { pending, verdict } => self.checked(pending, verdict),
            QueueMail::FindSource { home, task } => self.find_source(home, task),
            QueueMail::SourceFound { task, found: true } => self.source_found(task),
            QueueMail::SourceFound { task, found: false } => {
                self.desk.refuse(task.token, QueueRefusal::NoDeadLetters);
            }
            QueueMail::Copy(copy) => self.take_copy(from, *copy),
            // No queue asks for one: it is for the hub.
            QueueMail::Copied(_) => {}
        }
    }

    /// What is due by now.
    fn tick(&mut self) {
        for _ in 0..QUEUES_PER_TICK {
            let due = self.timers.first().copied().filter(|(at, _)| *at <= self.desk.now);
            let Some((_, key)) = due else { break };
            self.advance(key);
            self.leave(key);
        }
        while let Some((key, receive)) = self.waiters.pop_late(self.desk.now) {
            self.desk.answer(receive.token, Answer::Received(Vec::new()), Gate::Open);
            self.leave(key);
        }
        self.rubbish.clear_some(&mut self.desk);
    }

    /// When `tick` is to be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let clearing = (!self.rubbish.is_empty()).then_some(Wall(0));
        let next = [timer, self.waiters.next_deadline(), clearing].into_iter().flatten().min()?;
        Some(Millis(next.since(self.config.start)))
    }

    fn advance_to(&mut self, now: Millis) {
        self.desk.now = self.config.start.plus(now.0);
    }

    /// The queue of a name, with everything done that is due by now.
    fn named(&mut self, queue: &QueueName) -> Option<QueueKey> {
        let key = self.names.get(queue).copied()?;
        self.advance(key);
        Some(key)
    }

    /// The queue that a command names; refuses when there is none.
    fn enter(&mut self, queue: &QueueName, token: Token) -> Option<QueueKey> {
        let key = self.named(queue);
        if key.is_none() {
            self.desk.refuse(token, QueueRefusal::NotFound);
        }
        key
    }

    /// After every change of a queue: what waits for that goes on.
    fn leave(&mut self, key: QueueKey) {
        self.pump_task(key);
        self.serve(key);
        self.rearm(key);
    }

    /// What is due by now in one queue; at most a step of each kind.
    fn advance(&mut self, key: QueueKey) {
        let now = self.desk.now;
        let Some((queue, desk)) = self.parts(key) else { return };
        queue.stock.become_due(now);
        for _ in 0..STEP_MAX {
            let Some(offset) = queue.stock.expired(queue.settings.retention_ms, now) else { break };
            queue.end(offset, desk);
        }
        for _ in 0..STEP_MAX {
            let Some(marked) = queue.marks.expire(now) else { break };
            desk.remove(queue.partition, marked.record);
        }
        queue.stock.lanes.calm(now);
        queue.attempts.forget(now);
    }

    fn rearm(&mut self, key: QueueKey) {
        let Some(queue) = self.all.get_mut(key as usize) else { return };
        let stock = queue.stock.next_deadline(queue.settings.retention_ms);
        let other =
            [queue.marks.next_deadline(), queue.attempts.next_deadline(), queue.tasks.next_deadline()];
        let next = stock.into_iter().chain(other.into_iter().flatten()).min();
        if queue.armed != next {
            let before = std::mem::replace(&mut queue.armed, next);
            before.into_iter().for_each(|at| _ = self.timers.remove(&(at, key)));
            next.into_iter().for_each(|at| _ = self.timers.insert((at, key)));
        }
    }

    fn parts(&mut self, key: QueueKey) -> Option<(&mut Queue, &mut Desk)> {
        Some((self.all.get_mut(key as usize)?, &mut self.desk))
    }
}
