//! Messages on their way from a queue here to another, and those that arrive. Owns the order of what is written on both
//! sides (drawn in `mail`), so that no crash loses or doubles one; who wants a move is `receive`'s and `tasks`' business.
//!
//! ```text
//!  start           record read         Moved
//! -------> Loading -----------> Sent --------> gone from here
//!             |                  | NotMoved
//!             +------------------+-----------> visible again
//! ```

use super::Queues;
use super::desk::Queue;
use super::ids::{MoveId, QueueName, TaskId, Wall};
use super::leaving::{Gate, Leaving};
use super::limits::REDRIVE_RETRY_MS;
use super::mail::{Parcel, Purpose, QueueMail};
use super::record::{Intent, MoveRefusal, Origin, Record, Sent};
use super::settings::Kind;
use super::stock::Out;
use super::waiters::QueueKey;
use crate::ids::{Partition, ShardId};
use crate::message::MessageId;
use crate::record::Place;
use std::collections::{BTreeMap, BTreeSet};

/// All messages on their way from here.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    open: BTreeMap<MoveId, Move>,
    /// Queues with a message to move for which there was no place.
    starved: BTreeSet<QueueKey>,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Move {
    /// Incarnation of its queue, which may be gone by now.
    pub(crate) queue: u64,
    pub(crate) source: QueueName,
    pub(crate) kind: Kind,
    /// `None` = where the message came from.
    pub(crate) target: Option<QueueName>,
    pub(crate) task: Option<TaskId>,
    pub(crate) out: Out,
}

impl Moves {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(crate) fn insert(&mut self, id: MoveId, moving: Move) {
        self.open.insert(id, moving);
    }

    /// Of a task.
    pub(crate) fn count(&self, task: TaskId) -> u32 {
        let all = self.open.values().filter(|moving| moving.task == Some(task));
        u32::try_from(all.count()).unwrap_or(u32::MAX)
    }
}

impl Queues {
    /// A message was received too often. False if it has to wait where it is.
    pub(super) fn start_dead_letter(&mut self, key: QueueKey, offset: u64) -> bool {
        let Some(queue) = self.all.get(key as usize) else { return false };
        let target = queue.settings.dead_letters.as_ref().map(|dead| dead.target.clone());
        self.start_move((key, offset), target, None)
    }

    /// A message that is not in flight is to go to another queue. False if it has to wait where it is.
    pub(super) fn start_move(
        &mut self,
        (key, offset): (QueueKey, u64),
        target: Option<QueueName>,
        task: Option<TaskId>,
    ) -> bool {
        if self.moves.open.len() >= self.config.limits.moves_max as usize {
            self.moves.starved.insert(key);
            return false;
        }
        let Some(queue) = self.all.get_mut(key as usize) else { return false };
        let Some(out) = queue.stock.take_out(offset) else { return false };
        let tracked = out.tracked.unwrap_or_default();
        let (source, kind) = (queue.name.clone(), queue.settings.kind);
        let intent = Intent {
            queue: queue.incarnation,
            name: source.clone(),
            kind,
            offset,
            target: target.clone(),
            task,
            receives: tracked.receives,
            first_received: tracked.first_received,
        };
        let (partition, queue) = (queue.partition, queue.incarnation);
        let place = self.desk.keep(partition, Record::Intent(Box::new(intent)));
        let id = MoveId { partition, intent: place };
        self.moves.insert(id, Move { queue, source, kind, target, task, out });
        self.load(id, Gate::Record(partition, place));
        true
    }

    /// The message is read where it is stored.
    pub(super) fn load(&mut self, id: MoveId, gate: Gate) {
        let Some(moving) = self.moves.open.get(&id) else { return };
        let offset = moving.out.entry.offset;
        let place = Place { partition: id.partition, number: offset };
        self.desk.out.push((gate, Leaving::Load(id, place)));
    }

    /// It was read.
    pub(super) fn loaded(&mut self, id: MoveId, record: Option<Box<Sent>>, message: MessageId) {
        let Some(moving) = self.moves.open.get(&id) else { return };
        // Its record is gone, so the message is.
        let Some(record) = record else { return self.moved(self.shard, id) };
        let came_from = record.origin.as_ref().and_then(|origin| origin.source.clone());
        let Some(target) = moving.target.clone().or(came_from) else {
            return self.not_moved(id, MoveRefusal::NoSource);
        };
        let parcel = Parcel {
            id,
            source: moving.source.clone(),
            kind: moving.kind,
            purpose: if moving.task.is_none() { Purpose::DeadLetter } else { Purpose::Task },
            message: moving.message(id, *record, message),
            target,
        };
        let to = parcel.target.home(&self.topology);
        self.desk.mail(to, QueueMail::Move(Box::new(parcel)), Gate::Open);
    }

    /// A message for a queue here.
    pub(super) fn arrive(&mut self, from: ShardId, parcel: Parcel) {
        let id = parcel.id;
        if self.desk.arrivals.has(id) {
            return self.desk.mail(from, QueueMail::Moved(id), Gate::All);
        }
        let mut verdict = self.check((&parcel.target, &parcel.source), parcel.kind, parcel.purpose);
        if self.desk.stored >= self.config.limits.messages_max {
            verdict = verdict.and(Err(MoveRefusal::OverLimit));
        }
        let key = self.names.get(&parcel.target).copied();
        let (Ok(()), Some(key)) = (verdict, key) else {
            let why = verdict.err().unwrap_or(MoveRefusal::NoTarget);
            return self.desk.mail(from, QueueMail::NotMoved(id, why), Gate::Open);
        };
        self.advance(key);
        if let Some((queue, desk)) = self.parts(key) {
            let offset = queue.take_moved(parcel.message, desk);
            desk.arrivals.insert(id, queue.partition, offset);
            desk.mail(from, QueueMail::Moved(id), Gate::All);
        }
        self.leave(key);
    }

    /// A message from here is another queue's.
    pub(super) fn moved(&mut self, to: ShardId, id: MoveId) {
        let partition = id.partition;
        if let Some(moving) = self.moves.open.remove(&id) {
            let key = self.key_of(&moving);
            match key.and_then(|key| self.all.get_mut(key as usize)) {
                Some(queue) => {
                    queue.write_off(&moving.out, &mut self.desk);
                    if moving.out.entry.offset >= queue.floor {
                        queue.stock.moved(&moving.out);
                    }
                }
                None => self.write_off(partition, &moving),
            }
            self.desk.remove(partition, id.intent);
            if let (Some(key), Some(task)) = (key, moving.task) {
                self.task_moved(key, task);
            }
            self.after_move(key);
        }
        self.desk.mail(to, QueueMail::Forget(id), Gate::All);
    }

    /// A message from here cannot be another queue's.
    pub(super) fn not_moved(&mut self, id: MoveId, why: MoveRefusal) {
        let Some(moving) = self.moves.open.remove(&id) else { return };
        let key = self.key_of(&moving);
        let now = self.desk.now;
        let queue = key.and_then(|key| self.all.get_mut(key as usize));
        match queue.filter(|queue| moving.out.entry.offset >= queue.floor) {
            Some(queue) => {
                queue.stock.put_back(moving.out);
                if moving.task.is_none() {
                    queue.redrive_after = now.plus(REDRIVE_RETRY_MS);
                }
            }
            // Purged, or deleted with its queue, while it was on its way.
            None => self.write_off(id.partition, &moving),
        }
        self.desk.remove(id.partition, id.intent);
        if let (Some(key), Some(task)) = (key, moving.task) {
            self.task_refused(key, task, why);
        }
        self.after_move(key);
    }

    fn write_off(&mut self, partition: Partition, moving: &Move) {
        let tally = moving.out.tracked.map_or(0, |tracked| tracked.tally);
        self.desk.write_off(partition, moving.out.entry.offset, tally);
    }

    /// The queue that a message leaves, if it is still there.
    fn key_of(&self, moving: &Move) -> Option<QueueKey> {
        let key = self.names.get(&moving.source).copied()?;
        let queue = self.all.get(key as usize)?;
        (queue.incarnation == moving.queue).then_some(key)
    }

    /// There is a place for another move.
    fn after_move(&mut self, key: Option<QueueKey>) {
        key.into_iter().for_each(|key| self.leave(key));
        while self.moves.open.len() < self.config.limits.moves_max as usize {
            let Some(key) = self.moves.starved.pop_first() else { return };
            self.leave(key);
        }
    }

    /// A hub that has just read its records asks.
    pub(super) fn tell_open(&mut self, to: ShardId, partition: Partition) {
        let from = MoveId { partition, intent: 0 };
        let until = MoveId { partition, intent: u64::MAX };
        let open = self.moves.open.range(from..=until).map(|(id, _)| id.intent).collect();
        let upto = self.desk.journal.last(partition);
        self.desk.mail(to, QueueMail::Open { partition, open, upto }, Gate::Open);
    }

    /// The answer.
    pub(super) fn forget_closed(&mut self, partition: Partition, open: &[u64], upto: u64) {
        for id in self.desk.arrivals.closed(partition, open, upto) {
            self.desk.forget(id);
        }
    }
}

impl Move {
    /// A dead letter stays the message it was; of a standard queue also as old as it was. What a task moves begins anew.
    fn message(&self, id: MoveId, record: Sent, fresh: MessageId) -> Sent {
        let before = record.origin.as_deref();
        let tracked = self.out.tracked.unwrap_or_default();
        let first = before.map(|origin| origin.first_received).filter(|first| *first > Wall(0));
        let is_dead = self.task.is_none();
        let origin = Origin {
            moved: id,
            source: is_dead.then(|| self.source.clone()),
            receives: if is_dead { before.map_or(0, |origin| origin.receives) + tracked.receives } else { 0 },
            first_received: if is_dead { first.unwrap_or(tracked.first_received) } else { Wall(0) },
        };
        Sent {
            queue: 0,
            id: if is_dead { record.id } else { fresh },
            // As the queue has it: the record may be of a clock that was wrong.
            sent: if is_dead && self.kind == Kind::Standard { self.out.entry.sent } else { Wall(0) },
            due: Wall(0),
            group: record.group,
            deduplication: None,
            origin: Some(Box::new(origin)),
            content: record.content,
        }
    }
}

impl Queue {
    /// A message that came by a move; gives the place of its record.
    fn take_moved(&mut self, message: Sent, desk: &mut super::Desk) -> u64 {
        let sent = if message.sent == Wall(0) { desk.now } else { message.sent };
        let due = if self.settings.is_fifo() { desk.now.plus(self.settings.delay_ms) } else { Wall(0) };
        self.store(Sent { queue: self.incarnation, sent, ..message }, due, desk)
    }
}
