//! One queue as its hub keeps it, and what all queues of a hub write to: the journal, what leaves, and the names of moves
//! that brought messages here. Owns that the records of a message end together and in the right order.

use super::answer::{Answer, QueueFlow, QueueRefusal, QueueView};
use super::attempts::Attempts;
use super::ids::{MoveId, QueueName, Wall};
use super::leaving::{Gate, Leaving};
use super::mail::QueueMail;
use super::marks::Marks;
use super::record::{Mark, QueueRecord, Record};
use super::settings::Settings;
use super::stock::{Out, Stock};
use super::tasks::Tasks;
use crate::ids::{Partition, ShardId, Token};
use crate::journal::Journal;
use crate::record::Record as Kept;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) partition: Partition,
    pub(crate) incarnation: u64,
    /// Place of its record.
    pub(crate) revision: u64,
    pub(crate) settings: Arc<Settings>,
    pub(crate) created: Wall,
    pub(crate) modified: Wall,
    /// Messages below this place were purged.
    pub(crate) floor: u64,
    pub(crate) stock: Stock,
    pub(crate) flow: QueueFlow,
    pub(crate) marks: Marks,
    pub(crate) attempts: Attempts,
    /// The target of dead letters refused: before this time they are received.
    pub(crate) redrive_after: Wall,
    /// When it was purged in this life of the hub.
    pub(crate) purged: Option<Wall>,
    pub(crate) tasks: Tasks,
    /// Its entry among the timers.
    pub(crate) armed: Option<Wall>,
}

impl Queue {
    pub(crate) fn record(&self) -> Record {
        Record::Queue(Box::new(QueueRecord {
            name: self.name.clone(),
            incarnation: self.incarnation,
            settings: Arc::clone(&self.settings),
            created: self.created,
            modified: self.modified,
            floor: self.floor,
        }))
    }

    pub(crate) fn view(&self, waiting: usize) -> QueueView {
        QueueView {
            name: self.name.clone(),
            partition: self.partition,
            incarnation: self.incarnation,
            revision: self.revision,
            settings: Arc::clone(&self.settings),
            created: self.created,
            modified: self.modified,
            counts: self.stock.counts(),
            flow: self.flow,
            oldest: self.stock.oldest(),
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
            groups: u32::try_from(self.stock.lanes.len()).unwrap_or(u32::MAX),
        }
    }

    /// The newest state of its record, in place of the one before.
    pub(crate) fn rewrite(&mut self, desk: &mut Desk) {
        let before = self.revision;
        self.revision = desk.keep(self.partition, self.record());
        desk.remove(self.partition, before);
    }

    /// A stored message has ended.
    pub(crate) fn end(&mut self, offset: u64, desk: &mut Desk) {
        if let Some(out) = self.stock.remove(offset, desk.now) {
            self.write_off(&out, desk);
        }
    }

    /// The records of a message that has ended. Its deduplication id lives on.
    pub(crate) fn write_off(&mut self, out: &Out, desk: &mut Desk) {
        let (queue, offset) = (self.incarnation, out.entry.offset);
        let marked = self.marks.of(offset);
        if let Some(marked) = marked.filter(|marked| marked.record == 0 && marked.until > desk.now) {
            let mark = Mark { queue, offset, id: marked.id(), key: marked.key.clone(), until: marked.until };
            marked.record = desk.keep(self.partition, Record::Mark(Box::new(mark)));
        }
        desk.write_off(self.partition, offset, out.tracked.map_or(0, |tracked| tracked.tally));
    }
}

/// What all queues of a hub write to.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) now: Wall,
    /// Lent by the hub.
    pub(crate) journal: Journal,
    pub(crate) arrivals: Arrivals,
    /// What the command being applied leads to, besides records.
    pub(crate) out: Vec<(Gate, Leaving)>,
    /// Messages with a record.
    pub(crate) stored: u64,
}

impl Desk {
    /// Writes a record; gives its place.
    pub(crate) fn keep(&mut self, partition: Partition, record: Record) -> u64 {
        self.journal.keep(partition, Kept::Queue(record))
    }

    /// What a record says is over; 0 is none.
    pub(crate) fn remove(&mut self, partition: Partition, offset: u64) {
        self.journal.drop_record(partition, offset);
    }

    pub(crate) fn answer(&mut self, token: Token, answer: Answer, gate: Gate) {
        self.out.push((gate, Leaving::Answer(token, Box::new(answer))));
    }

    pub(crate) fn refuse(&mut self, token: Token, refusal: QueueRefusal) {
        self.answer(token, Answer::Refused(refusal), Gate::Open);
    }

    pub(crate) fn mail(&mut self, to: ShardId, mail: QueueMail, gate: Gate) {
        self.out.push((gate, Leaving::Mail(to, Box::new(mail))));
    }

    /// The records of a message that has ended. The name of the move that brought it lives on while it is needed.
    pub(crate) fn write_off(&mut self, partition: Partition, offset: u64, tally: u64) {
        if let Some((id, arrival)) = self.arrivals.leave(partition, offset)
            && arrival.record == 0
        {
            arrival.record = self.journal.keep(partition, Kept::Queue(Record::Arrived(id)));
        }
        self.remove(partition, offset);
        self.remove(partition, tally);
        self.stored = self.stored.saturating_sub(1);
    }

    /// The source of a move has forgotten it.
    pub(crate) fn forget(&mut self, id: MoveId) {
        if let Some(arrival) = self.arrivals.forget(id) {
            self.remove(arrival.partition, arrival.record);
        }
    }
}

/// Moves that brought messages here and may be repeated.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    moves: BTreeMap<MoveId, Arrival>,
    places: BTreeMap<(Partition, u64), MoveId>,
}

/// What one move brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) partition: Partition,
    /// Of the message; 0 = it is gone.
    offset: u64,
    /// Of the move's own record; 0 = the message's record names it.
    pub(crate) record: u64,
}

impl Arrivals {
    pub(crate) fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    pub(crate) fn has(&self, id: MoveId) -> bool {
        self.moves.contains_key(&id)
    }

    /// A message came by a move.
    pub(crate) fn insert(&mut self, id: MoveId, partition: Partition, offset: u64) {
        let arrival = self.moves.entry(id).or_insert(Arrival { partition, offset: 0, record: 0 });
        arrival.offset = offset;
        self.places.insert((partition, offset), id);
    }

    /// A move has a record of its own.
    pub(crate) fn insert_record(&mut self, id: MoveId, partition: Partition, record: u64) {
        let arrival = self.moves.entry(id).or_insert(Arrival { partition, offset: 0, record: 0 });
        arrival.record = record;
    }

    /// A message is gone; if a move brought it, that.
    fn leave(&mut self, partition: Partition, offset: u64) -> Option<(MoveId, &mut Arrival)> {
        let id = self.places.remove(&(partition, offset))?;
        let arrival = self.moves.get_mut(&id)?;
        arrival.offset = 0;
        Some((id, arrival))
    }

    fn forget(&mut self, id: MoveId) -> Option<Arrival> {
        let arrival = self.moves.remove(&id)?;
        self.places.remove(&(arrival.partition, arrival.offset));
        Some(arrival)
    }

    /// Partitions that moves came from.
    pub(crate) fn sources(&self) -> Vec<Partition> {
        let mut all: Vec<_> = self.moves.keys().map(|id| id.partition).collect();
        all.dedup();
        all
    }

    /// Moves from a partition with an intent up to a place, but for those listed, which is in order.
    pub(crate) fn closed(&self, partition: Partition, open: &[u64], upto: u64) -> Vec<MoveId> {
        let all = self.moves.range(MoveId { partition, intent: 0 }..=MoveId { partition, intent: upto });
        all.map(|(id, _)| *id).filter(|id| open.binary_search(&id.intent).is_err()).collect()
    }
}
