//! What a node of hubs has written: records that are safe, and for each hub the changes that are on their way to them.

#![allow(dead_code, reason = "each simulation needs some of it")]

use crate::rng::Rng;
use hub::{Entry, Partition, Place, Record, Topology};
use std::collections::{BTreeMap, VecDeque};

pub struct Store {
    topology: Topology,
    pub safe: BTreeMap<Place, Record>,
    /// Number of the newest record there ever was.
    last: BTreeMap<Partition, u64>,
    queues: Vec<Queue>,
}

/// Changes of one hub, counted since it was made.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    written: u64,
    told: u64,
}

/// Numbers of the newest records there ever were, and what is there.
pub type Kept = (Vec<(Partition, u64)>, Vec<(Place, Record)>);

impl Store {
    pub fn new(topology: Topology) -> Self {
        let queues = (0..topology.shards).map(|_| Queue::default()).collect();
        Self { topology, safe: BTreeMap::new(), last: BTreeMap::new(), queues }
    }

    /// A hub has changed something.
    pub fn take(&mut self, shard: usize, entries: Vec<Entry>) {
        self.queues[shard].waiting.extend(entries);
    }

    pub fn waiting(&self, shard: usize) -> usize {
        self.queues[shard].waiting.len()
    }

    /// Changes of a hub since it was made, written or not.
    pub fn made(&self, shard: usize) -> u64 {
        let queue = &self.queues[shard];
        queue.written + queue.waiting.len() as u64
    }

    /// Everything is written, and every hub knows.
    pub fn is_quiet(&self) -> bool {
        self.queues.iter().all(|queue| queue.waiting.is_empty() && queue.told == queue.written)
    }

    /// Writes so many of the oldest changes of a hub. Gives them.
    pub fn write(&mut self, shard: usize, count: usize) -> Vec<Entry> {
        let written: Vec<_> = self.queues[shard].waiting.drain(..count).collect();
        self.queues[shard].written += count as u64;
        for entry in written.iter().cloned() {
            match entry {
                Entry::Keep { place, record } => {
                    assert_eq!(usize::from(self.topology.owner(place.partition).0), shard, "another's log");
                    let last = self.last.entry(place.partition).or_default();
                    assert_eq!(place.number, *last + 1, "a hole, or a number twice");
                    *last = place.number;
                    self.safe.insert(place, record);
                }
                Entry::Drop(place) => {
                    assert!(self.safe.remove(&place).is_some(), "{place:?} is dropped twice");
                }
            }
        }
        written
    }

    /// How much is safe, to be told to a hub; `None` if it was told.
    pub fn news(&mut self, shard: usize) -> Option<u64> {
        let queue = &mut self.queues[shard];
        let is_news = queue.told < queue.written;
        queue.told = queue.written;
        is_news.then_some(queue.written)
    }

    /// Of each hub's changes a part has arrived, the rest is lost. Gives what has.
    pub fn crash(&mut self, rng: &mut Rng) -> Vec<Entry> {
        let mut written = Vec::new();
        for shard in 0..self.queues.len() {
            let arrived = rng.below(self.waiting(shard) as u64 + 1) as usize;
            written.extend(self.write(shard, arrived));
            self.queues[shard] = Queue::default();
        }
        written
    }

    /// New hubs count from the start.
    pub fn begin(&mut self) {
        assert!(self.is_quiet(), "something was not written");
        self.queues.iter_mut().for_each(|queue| *queue = Queue::default());
    }

    /// What a new hub is made with.
    pub fn records_of(&self, shard: usize) -> Kept {
        let is_own = |partition: Partition| usize::from(self.topology.owner(partition).0) == shard;
        let last = self.last.iter().filter(|(partition, _)| is_own(**partition));
        let records = self.safe.iter().filter(|(place, _)| is_own(place.partition));
        let last = last.map(|(partition, number)| (*partition, *number)).collect();
        (last, records.map(|(place, record)| (*place, record.clone())).collect())
    }
}
