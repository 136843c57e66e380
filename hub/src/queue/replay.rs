//! From records back to queues. Owns what is made of records in any order that a crash can leave; each other module owns
//! what its own state becomes.
//!
//! A queue's newest record may stand behind its messages, so messages are gathered by incarnation first. What has no
//! queue, is purged, or was replaced, is void and cleared away. Nothing is in flight: who had a message has to be quick, or it is
//! received again.

use super::Queues;
use super::ids::MoveId;
use super::leaving::Gate;
use super::limits::DEDUPLICATION_MS;
use super::mail::QueueMail;
use super::marks::{Marked, Marks, key, window_end};
use super::moves::Move;
use super::record::{Intent, Mark, QueueRecord, Record, Sent, Tally, TaskRecord};
use super::rubbish::Heap;
use super::settings::Kind;
use super::stock::{Arriving, Out, Stock, Tracked};
use super::tasks::Tasks;
use crate::ids::Partition;
use crate::record::Place;
use std::collections::BTreeMap;

/// What is gathered while records are read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    found: BTreeMap<(Partition, u64), Found>,
    intents: Vec<(MoveId, Intent)>,
    /// Records that a newer one has taken the place of. They go before anything else happens: they would come to life
    /// again if the newer one went first.
    replaced: Vec<Place>,
}

/// What belongs to one incarnation of a queue.
#[derive(Debug)]
struct Found {
    /// With its place.
    record: Option<(u64, QueueRecord)>,
    stock: Stock,
    marks: Marks,
    tasks: BTreeMap<u128, (u64, TaskRecord)>,
}

impl Found {
    /// A message that is on its way; if it was purged meanwhile, it is the queue's no more.
    fn take_out(&mut self, offset: u64) -> Option<Out> {
        let out = self.stock.take_out(offset)?;
        if self.record.as_ref().is_some_and(|(_, queue)| offset < queue.floor) {
            self.stock.moved(&out);
        }
        Some(out)
    }
}

impl Queues {
    /// A record of a partition of this hub, in the order of places.
    pub(crate) fn replay(&mut self, place: Place, record: Record) {
        let Place { partition, number: offset } = place;
        match record {
            Record::Queue(queue) => self.read_queue(partition, offset, *queue),
            Record::Sent(sent) => self.read_sent(partition, offset, &sent),
            Record::Mark(mark) => self.read_mark(partition, offset, *mark),
            Record::Tally(tally) => self.read_tally(partition, offset, &tally),
            Record::Intent(intent) => {
                self.replay.intents.push((MoveId { partition, intent: offset }, *intent));
            }
            Record::Arrived(id) => self.desk.arrivals.insert_record(id, partition, offset),
            Record::Task(task) => self.read_task(partition, offset, *task),
        }
    }

    /// A record is of no use any more; 0 is none.
    fn replace(&mut self, partition: Partition, number: u64) {
        if number != 0 {
            self.replay.replaced.push(Place { partition, number });
        }
    }

    fn found(&mut self, partition: Partition, incarnation: u64) -> &mut Found {
        let seed = self.seed;
        self.replay.found.entry((partition, incarnation)).or_insert_with(|| Found {
            record: None,
            stock: Stock::new(Kind::Standard, seed),
            marks: Marks::new(seed),
            tasks: BTreeMap::new(),
        })
    }

    fn read_queue(&mut self, partition: Partition, offset: u64, mut queue: QueueRecord) {
        if queue.incarnation == 0 {
            queue.incarnation = offset;
        }
        let found = self.found(partition, queue.incarnation);
        let before = found.record.replace((offset, queue));
        self.replace(partition, before.map_or(0, |(before, _)| before));
    }

    fn read_sent(&mut self, partition: Partition, offset: u64, sent: &Sent) {
        let now = self.desk.now;
        self.desk.stored += 1;
        if let Some(origin) = &sent.origin {
            self.desk.arrivals.insert(origin.moved, partition, offset);
        }
        let found = self.found(partition, sent.queue);
        // A clock that was wrong must not make a message live for ever.
        let at = sent.sent.min(now);
        let group = sent.group.as_deref().unwrap_or_default();
        found.stock.read(&Arriving { offset, sent: at, due: sent.due, group });
        let until = window_end(at, now);
        if let Some(id) = sent.deduplication.as_ref().filter(|_| until > now) {
            let key = key(id, sent.group.as_deref());
            found.marks.insert(Marked::new((offset, key), sent.id, until));
        }
    }

    /// It may stand beside its message, if the message was about to end.
    fn read_mark(&mut self, partition: Partition, offset: u64, mark: Mark) {
        let now = self.desk.now;
        let until = mark.until.min(now.plus(DEDUPLICATION_MS));
        if until <= now {
            return self.rubbish.drop_record(partition, offset);
        }
        let found = self.found(partition, mark.queue);
        let before = found.marks.of(mark.offset).map_or(0, |marked| std::mem::replace(&mut marked.record, 0));
        let mut marked = Marked::new((mark.offset, mark.key), mark.id, until);
        marked.record = offset;
        found.marks.insert(marked);
        self.replace(partition, before);
    }

    fn read_tally(&mut self, partition: Partition, offset: u64, tally: &Tally) {
        let read = Tracked {
            receives: tally.receives,
            first_received: tally.first_received,
            tally: offset,
            ..Tracked::default()
        };
        let useless = self.found(partition, tally.queue).stock.read_tally(tally.offset, read);
        self.replace(partition, useless);
    }

    fn read_task(&mut self, partition: Partition, offset: u64, task: TaskRecord) {
        let found = self.found(partition, task.queue);
        let before = found.tasks.insert(task.task.0, (offset, task));
        self.replace(partition, before.map_or(0, |(before, _)| before));
    }

    /// All records were read. Queues take commands from now on. Mail must not be delivered before each hub of the node has
    /// done this.
    pub(crate) fn start(&mut self) {
        let Replay { mut found, intents, replaced } = std::mem::take(&mut self.replay);
        replaced.iter().for_each(|place| self.desk.remove(place.partition, place.number));
        let (now, delay_ms_max) = (self.desk.now, self.config.limits.delay_ms_max);
        for found in found.values_mut() {
            let settings = found.record.as_ref().map(|(_, record)| &record.settings);
            let (kind, delay_ms) = settings.map_or((Kind::Standard, 0), |of| (of.kind, of.delay_ms));
            found.stock.open(kind, (delay_ms, delay_ms_max), now);
        }
        let moves = intents.into_iter().filter_map(|(id, intent)| self.resume(id, intent, &mut found));
        let moves: Vec<_> = moves.collect();
        for ((partition, _), found) in found {
            self.open_found(partition, found);
        }
        moves.into_iter().for_each(|id| self.load(id, Gate::Open));
        self.start_queues();
    }

    /// A move that was intended goes on, also when its queue is gone.
    fn resume(
        &mut self,
        id: MoveId,
        intent: Intent,
        found: &mut BTreeMap<(Partition, u64), Found>,
    ) -> Option<MoveId> {
        let found = found.get_mut(&(id.partition, intent.queue));
        let Some(mut out) = found.and_then(|found| found.take_out(intent.offset)) else {
            // Its message had been removed already.
            self.rubbish.drop_record(id.partition, id.intent);
            return None;
        };
        let known = out.tracked.unwrap_or_default();
        let (receives, first_received) = (intent.receives, intent.first_received);
        out.tracked = Some(Tracked { receives, first_received, ..known });
        let moving = Move {
            queue: intent.queue,
            source: intent.name,
            kind: intent.kind,
            target: intent.target,
            task: intent.task,
            out,
        };
        self.moves.insert(id, moving);
        Some(id)
    }

    fn open_found(&mut self, partition: Partition, found: Found) {
        let Found { record, mut stock, mut marks, tasks } = found;
        let Some((revision, record)) = record else {
            tasks.into_values().for_each(|(place, _)| self.rubbish.drop_record(partition, place));
            return self.rubbish.drop_heap(Heap { partition, stock, marks, places: Vec::new() });
        };
        self.drop_purged(partition, record.floor, (&mut stock, &mut marks));
        let mut queue = self.new_queue(partition, record, revision);
        (queue.stock, queue.marks) = (stock, marks);
        let mut list = Tasks::default();
        tasks.into_values().for_each(|(place, task)| list.read(place, task));
        if let Some(task) = list.running() {
            list.set_open(self.moves.count(task));
        }
        queue.tasks = list;
        self.add_queue(queue);
    }

    fn drop_purged(&mut self, partition: Partition, floor: u64, of: (&mut Stock, &mut Marks)) {
        let (stock, marks) = of;
        let (mut places, mut purged) = (Vec::new(), Marks::new(self.seed));
        while let Some(offset) = stock.first() {
            if offset >= floor {
                break;
            }
            let out = stock.remove(offset, self.desk.now);
            places.push((offset, out.and_then(|out| out.tracked).map_or(0, |tracked| tracked.tally)));
        }
        while let Some(marked) = marks.pop_below(floor) {
            purged.insert(marked);
        }
        let stock = Stock::new(Kind::Standard, self.seed);
        self.rubbish.drop_heap(Heap { partition, stock, places, marks: purged });
    }

    fn start_queues(&mut self) {
        let keys: Vec<_> = self.names.values().copied().collect();
        for key in keys {
            self.advance(key);
            self.leave(key);
        }
        for partition in self.desk.arrivals.sources() {
            let to = self.topology.owner(partition);
            self.desk.mail(to, QueueMail::AskOpen(partition), Gate::Open);
        }
    }
}
