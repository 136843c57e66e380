//! The log of each partition as hubs write it, of which a part is durable. Refuses what a log would: a record out of order,
//! and the removal of one that is not there.

use bytes::Bytes;
use hub::queue::{self, Sent};
use hub::{Entry, Partition, Place, Record, ShardId};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
enum Write {
    Keep(u64, Bytes),
    Drop(u64),
}

#[derive(Default)]
pub struct Disk {
    parts: BTreeMap<Partition, Part>,
    /// What each hub has written and is not known to be durable, in order: the partition, and which of its writes.
    orders: BTreeMap<ShardId, VecDeque<(Partition, u64)>>,
    /// How many writes of each hub are durable, without a hole.
    safe: BTreeMap<ShardId, u64>,
}

#[derive(Default)]
struct Part {
    durable: BTreeMap<u64, Bytes>,
    /// Durable and not durable yet.
    live: BTreeMap<u64, Bytes>,
    /// Of the last record that is durable, removed or not.
    durable_end: u64,
    end: u64,
    pending: VecDeque<Write>,
    written: u64,
}

impl Part {
    fn done(&self) -> u64 {
        self.written - self.pending.len() as u64
    }

    fn flush_one(&mut self) {
        match self.pending.pop_front() {
            Some(Write::Keep(number, bytes)) => {
                self.durable_end = number;
                self.durable.insert(number, bytes);
            }
            Some(Write::Drop(number)) => _ = self.durable.remove(&number),
            None => {}
        }
    }
}

fn read(bytes: &Bytes) -> queue::Record {
    queue::Record::decode(bytes).expect("a record")
}

impl Disk {
    pub fn write(&mut self, shard: ShardId, entry: Entry) {
        let partition = match &entry {
            Entry::Keep { place, .. } | Entry::Drop(place) => place.partition,
        };
        let part = self.parts.entry(partition).or_default();
        part.written += 1;
        self.orders.entry(shard).or_default().push_back((partition, part.written));
        match entry {
            Entry::Keep { place, record: Record::Queue(record) } => {
                assert_eq!(
                    place.number,
                    part.end + 1,
                    "a record that does not follow the last one: {record:?}"
                );
                let bytes = Bytes::from(record.encode());
                assert_eq!(queue::Record::decode(&bytes), Ok(record), "a record is read as it was written");
                part.end = place.number;
                part.live.insert(place.number, bytes.clone());
                part.pending.push_back(Write::Keep(place.number, bytes));
            }
            Entry::Keep { place, record } => panic!("not of queues: {place:?} {record:?}"),
            Entry::Drop(place) => {
                let dropped = part.live.remove(&place.number);
                assert!(dropped.is_some(), "{place:?}: there is no such record to drop");
                part.pending.push_back(Write::Drop(place.number));
            }
        }
    }

    /// How many writes of a hub are durable; `None` if that is known to it.
    pub fn newly_safe(&mut self, shard: ShardId) -> Option<u64> {
        let order = self.orders.entry(shard).or_default();
        let safe = self.safe.entry(shard).or_default();
        let before = *safe;
        while let Some((partition, write)) = order.front() {
            if self.parts.get(partition).is_some_and(|part| part.done() < *write) {
                break;
            }
            order.pop_front();
            *safe += 1;
        }
        (*safe > before).then_some(*safe)
    }

    pub fn partitions(&self) -> Vec<Partition> {
        self.parts.keys().copied().collect()
    }

    pub fn pending(&self, partition: Partition) -> usize {
        self.parts.get(&partition).map_or(0, |part| part.pending.len())
    }

    /// Makes the next writes of a partition durable.
    pub fn flush(&mut self, partition: Partition, count: usize) {
        let part = self.parts.entry(partition).or_default();
        (0..count).for_each(|_| part.flush_one());
    }

    /// What was not durable never was.
    pub fn crash(&mut self) {
        for part in self.parts.values_mut() {
            part.written = 0;
            part.pending.clear();
            part.live = part.durable.clone();
            part.end = part.durable_end;
        }
        self.orders.clear();
        self.safe.clear();
    }

    /// A message that is durable, as the store reads it.
    pub fn sent(&self, place: Place) -> Option<Sent> {
        match self.parts.get(&place.partition)?.durable.get(&place.number).map(read)? {
            queue::Record::Sent(sent) => Some(*sent),
            other => panic!("not a message: {other:?}"),
        }
    }

    /// Whether a record is durable, or was.
    pub fn is_written(&self, place: Place) -> bool {
        self.parts.get(&place.partition).is_some_and(|part| part.durable_end >= place.number)
    }

    /// All records, durable or not.
    pub fn live(&self) -> impl Iterator<Item = (Place, queue::Record)> {
        self.parts.iter().flat_map(|(partition, part)| {
            let place = |number: &u64| Place { partition: *partition, number: *number };
            part.live.iter().map(move |(number, bytes)| (place(number), read(bytes)))
        })
    }

    /// All records without the content of messages, as a start reads them.
    pub fn recalled(&self) -> impl Iterator<Item = (Place, Record)> {
        self.parts.iter().flat_map(|(partition, part)| {
            let place = |number: &u64| Place { partition: *partition, number: *number };
            let recall = |bytes: &Bytes| queue::Record::recall(bytes).expect("a record");
            part.live.iter().map(move |(number, bytes)| (place(number), Record::Queue(recall(bytes))))
        })
    }

    pub fn ends(&self) -> Vec<(Partition, u64)> {
        self.parts.iter().map(|(partition, part)| (*partition, part.end)).collect()
    }
}
