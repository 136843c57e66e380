//! The log of each partition as the hub writes it, of which a part is durable. Refuses what a log would: a record out of
//! order, and the removal of one that is not there.

use bytes::Bytes;
use hub::Partition;
use hub::queue::{QueueEffect, Record};
use std::collections::{BTreeMap, VecDeque};

#[derive(Clone, Debug)]
enum Write {
    Keep(u64, Bytes),
    Remove(u64),
}

#[derive(Default)]
pub struct Disk {
    parts: BTreeMap<Partition, Part>,
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
    emitted: u64,
}

impl Part {
    fn done(&self) -> u64 {
        self.emitted - self.pending.len() as u64
    }

    fn flush_one(&mut self) {
        match self.pending.pop_front() {
            Some(Write::Keep(offset, bytes)) => {
                self.durable_end = offset;
                self.durable.insert(offset, bytes);
            }
            Some(Write::Remove(offset)) => _ = self.durable.remove(&offset),
            None => {}
        }
    }
}

impl Disk {
    /// Takes a write; gives other effects back.
    pub fn write(&mut self, effect: QueueEffect) -> Option<QueueEffect> {
        match effect {
            QueueEffect::Keep { partition, offset, record } => {
                let part = self.parts.entry(partition).or_default();
                assert_eq!(offset, part.end + 1, "a record that does not follow the last one: {record:?}");
                let bytes = Bytes::from(record.encode());
                assert_eq!(Record::decode(&bytes), Ok(record), "a record is read as it was written");
                part.end = offset;
                part.emitted += 1;
                part.live.insert(offset, bytes.clone());
                part.pending.push_back(Write::Keep(offset, bytes));
                None
            }
            QueueEffect::Remove { partition, offset } => {
                let part = self.parts.entry(partition).or_default();
                let removed = part.live.remove(&offset);
                assert!(removed.is_some(), "{partition:?} {offset}: there is no such record to remove");
                part.emitted += 1;
                part.pending.push_back(Write::Remove(offset));
                None
            }
            other => Some(other),
        }
    }

    /// How many writes of a partition were emitted so far.
    pub fn emitted(&self, partition: Partition) -> u64 {
        self.parts.get(&partition).map_or(0, |part| part.emitted)
    }

    /// Up to which of the writes of a partition a record is durable.
    pub fn place(&self, partition: Partition, offset: u64) -> u64 {
        let Some(part) = self.parts.get(&partition) else { return 0 };
        let is_it = |write: &Write| matches!(write, Write::Keep(kept, _) if *kept == offset);
        part.pending.iter().position(is_it).map_or(0, |at| part.done() + at as u64 + 1)
    }

    pub fn is_durable(&self, partition: Partition, place: u64) -> bool {
        self.parts.get(&partition).is_none_or(|part| part.done() >= place)
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
            part.emitted -= part.pending.len() as u64;
            part.pending.clear();
            part.live = part.durable.clone();
            part.end = part.durable_end;
        }
    }

    /// A record that is durable, as the store reads it.
    pub fn load(&self, partition: Partition, offset: u64) -> Option<Record> {
        self.parts.get(&partition)?.durable.get(&offset).map(|bytes| Record::decode(bytes).expect("a record"))
    }

    /// All records, durable or not.
    pub fn live(&self) -> impl Iterator<Item = (Partition, u64, Record)> {
        self.parts.iter().flat_map(|(partition, part)| {
            let all = part.live.iter();
            all.map(|(offset, bytes)| (*partition, *offset, Record::decode(bytes).expect("a record")))
        })
    }

    pub fn ends(&self) -> Vec<(Partition, u64)> {
        self.parts.iter().map(|(partition, part)| (*partition, part.end)).collect()
    }
}
