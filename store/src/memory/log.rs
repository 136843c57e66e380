//! Logs in memory: a map of records per partition and, per entity, the offsets of its records.

use bytes::Bytes;
use hub::Partition;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::MutexGuard;

use super::{Memory, OVERHEAD_BYTES};
use crate::{
    Append, Caps, Completion, Done, Durability, Entity, Log, Max, Page, Position, Record, RecordId, Snapshot,
    StoreError, Timestamp, Write,
};

pub(super) struct Logs {
    epoch: u64,
    bytes: usize,
    partitions: HashMap<Partition, One>,
    /// What expires when, so that expiry touches nothing else.
    expiries: BTreeSet<(Timestamp, Partition, u64)>,
}

/// The log of one partition.
#[derive(Default)]
struct One {
    end: u64,
    records: BTreeMap<u64, Stored>,
    entities: HashMap<Bytes, Of>,
    snapshot: Option<Snapshot>,
    /// Newest offset dropped from an entity that has no records left; stands for all of those, so that an entity which
    /// comes and goes costs nothing. Readers of unknown entities see a gap below it.
    dropped: u64,
}

/// The records of one entity.
struct Of {
    offsets: BTreeSet<u64>,
    /// Newest offset dropped.
    trimmed: u64,
}

struct Stored {
    entity: Bytes,
    id: RecordId,
    body: Bytes,
    expires: Option<Timestamp>,
}

/// Why a record goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// Its state is over.
    Removed,
    /// Trimmed or expired: its readers learn of it.
    Dropped,
}

impl Stored {
    fn cost(&self) -> usize {
        self.entity.len() + self.body.len() + OVERHEAD_BYTES
    }
}

impl One {
    fn insert(&mut self, offset: u64, stored: Stored) {
        if !stored.entity.is_empty() {
            let of = self.entities.entry(stored.entity.clone());
            let trimmed = self.dropped;
            of.or_insert_with(|| Of { offsets: BTreeSet::new(), trimmed }).offsets.insert(offset);
        }
        self.records.insert(offset, stored);
    }

    fn take(&mut self, offset: u64, loss: Loss) -> Option<Stored> {
        let stored = self.records.remove(&offset)?;
        if let Some(of) = self.entities.get_mut(&stored.entity) {
            of.offsets.remove(&offset);
            if loss == Loss::Dropped {
                of.trimmed = of.trimmed.max(offset);
            }
            if of.offsets.is_empty() {
                self.dropped = self.dropped.max(of.trimmed);
                self.entities.remove(&stored.entity);
            }
        }
        Some(stored)
    }
}

impl Logs {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, bytes: 0, partitions: HashMap::new(), expiries: BTreeSet::new() }
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    fn write(&mut self, entry: Write, bounds: &Bounds) -> Result<Position, StoreError> {
        match entry {
            Write::Append(append) => self.push(append, bounds),
            Write::Remove { partition, offset } => {
                self.take(partition, offset, Loss::Removed);
                Ok(self.position(offset))
            }
        }
    }

    /// Writes one record when it fits behind what is there.
    fn push(&mut self, append: Append, bounds: &Bounds) -> Result<Position, StoreError> {
        let partition = append.entity.partition;
        let end = self.partitions.get(&partition).map_or(0, |one| one.end);
        if append.expect.is_some_and(|expect| expect != self.position(end)) {
            return Err(StoreError::Fenced);
        }
        if append.body.len() > bounds.record_bytes_max {
            return Err(StoreError::TooLarge { bytes_max: bounds.record_bytes_max });
        }
        let expires = append.ttl.map(|ttl| bounds.now.after(ttl));
        let stored = Stored { entity: append.entity.name, id: append.id, body: append.body, expires };
        if self.bytes + stored.cost() > bounds.log_bytes_max {
            return Err(StoreError::Full);
        }
        self.bytes += stored.cost();
        let one = self.partitions.entry(partition).or_default();
        one.end = end + 1;
        one.insert(end + 1, stored);
        self.expiries.extend(expires.map(|expires| (expires, partition, end + 1)));
        Ok(self.position(end + 1))
    }

    fn take(&mut self, partition: Partition, offset: u64, loss: Loss) {
        let one = self.partitions.get_mut(&partition);
        let Some(stored) = one.and_then(|one| one.take(offset, loss)) else { return };
        self.bytes -= stored.cost();
        if let Some(expires) = stored.expires {
            self.expiries.remove(&(expires, partition, offset));
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some(&(expires, partition, offset)) = self.expiries.first()
            && expires <= now
        {
            self.expiries.pop_first();
            self.take(partition, offset, Loss::Dropped);
        }
    }

    /// Drops the records of an entity before an offset.
    fn trim(&mut self, entity: &Entity, before: u64) {
        let one = self.partitions.get(&entity.partition);
        let Some(of) = one.and_then(|one| one.entities.get(&entity.name)) else { return };
        let offsets: Vec<u64> = of.offsets.range(..before).copied().collect();
        for offset in offsets {
            self.take(entity.partition, offset, Loss::Dropped);
        }
    }

    /// Where reading starts: behind `after`, when nothing between it and `gone` can have been lost.
    fn start(&self, after: Option<Position>, gone: u64, end: u64) -> Result<u64, StoreError> {
        match after {
            None => Ok(0),
            Some(after) if after.epoch == self.epoch && (gone..=end).contains(&after.offset) => {
                Ok(after.offset)
            }
            Some(_) => Err(StoreError::Trimmed { upto: self.position(gone) }),
        }
    }
}

struct Bounds {
    now: Timestamp,
    record_bytes_max: usize,
    log_bytes_max: usize,
}

/// A page of the records that `offsets` names, in that order.
fn page<'a>(logs: &Logs, one: &'a One, offsets: impl Iterator<Item = (u64, &'a Stored)>, max: Max) -> Page {
    let mut page = Page { snapshot: None, records: Vec::new(), next: None, end: logs.position(one.end) };
    let mut bytes = 0;
    for (offset, stored) in offsets {
        bytes += stored.body.len();
        let full = page.records.len() >= max.records || bytes > max.bytes;
        if full && let Some(last) = page.records.last() {
            page.next = Some(last.position);
            break;
        }
        page.records.push(record(logs.position(offset), stored));
    }
    page
}

fn record(position: Position, stored: &Stored) -> Record {
    Record { position, entity: stored.entity.clone(), id: stored.id, body: stored.body.clone() }
}

impl Memory {
    /// Without what has expired.
    pub(super) fn logs(&self) -> MutexGuard<'_, Logs> {
        let mut logs = self.log.lock().expect("no holder of this lock panics");
        logs.expire(self.clock.now());
        logs
    }
}

impl Log for Memory {
    fn caps(&self) -> Caps {
        Caps {
            durability: Durability::Memory,
            cluster: false,
            record_bytes_max: self.limits.record_bytes_max,
        }
    }

    fn write(&self, batch: Vec<Write>, done: Done) {
        let bounds = Bounds {
            now: self.clock.now(),
            record_bytes_max: self.limits.record_bytes_max,
            log_bytes_max: self.limits.log_bytes_max,
        };
        let mut refused: HashMap<Partition, StoreError> = HashMap::new();
        let mut logs = self.logs();
        let mut results = Vec::with_capacity(batch.len());
        for entry in batch {
            let partition = entry.partition();
            let result = match refused.get(&partition) {
                Some(error) => Err(error.clone()),
                None => logs.write(entry, &bounds),
            };
            if let Err(error) = &result {
                refused.insert(partition, error.clone());
            }
            results.push(result);
        }
        drop(logs);
        done.complete(Completion::Written(results));
    }

    fn replay(&self, partition: Partition, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        let logs = self.logs();
        let empty = One::default();
        let one = logs.partitions.get(&partition).unwrap_or(&empty);
        let included = one.snapshot.as_ref().map_or(0, |snapshot| snapshot.upto.offset);
        let start = logs.start(after, included, one.end)?.max(included);
        let behind = one.records.range((Bound::Excluded(start), Bound::Unbounded));
        let mut page = page(&logs, one, behind.map(|(offset, stored)| (*offset, stored)), max);
        page.snapshot = one.snapshot.clone().filter(|_| after.is_none());
        Ok(page)
    }

    fn fetch(&self, places: &[(Partition, u64)]) -> Vec<Result<Option<Record>, StoreError>> {
        let logs = self.logs();
        let found = |(partition, offset): &(Partition, u64)| {
            let stored = logs.partitions.get(partition)?.records.get(offset)?;
            Some(record(logs.position(*offset), stored))
        };
        places.iter().map(|place| Ok(found(place))).collect()
    }

    fn read(&self, entity: &Entity, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        let logs = self.logs();
        let empty = One::default();
        let one = logs.partitions.get(&entity.partition).unwrap_or(&empty);
        let of = one.entities.get(&entity.name);
        let start = logs.start(after, of.map_or(one.dropped, |of| of.trimmed), one.end)?;
        let offsets =
            of.into_iter().flat_map(|of| of.offsets.range((Bound::Excluded(start), Bound::Unbounded)));
        let records = offsets.filter_map(|offset| Some((*offset, one.records.get(offset)?)));
        Ok(page(&logs, one, records, max))
    }

    fn last(&self, entities: &[Entity]) -> Vec<Result<Option<Record>, StoreError>> {
        let logs = self.logs();
        let newest = |entity: &Entity| {
            let one = logs.partitions.get(&entity.partition)?;
            let offset = one.entities.get(&entity.name)?.offsets.last()?;
            Some(record(logs.position(*offset), one.records.get(offset)?))
        };
        entities.iter().map(|entity| Ok(newest(entity))).collect()
    }

    fn snapshot(&self, partition: Partition, snapshot: Snapshot) -> Result<(), StoreError> {
        let mut logs = self.logs();
        let epoch = logs.epoch;
        let one = logs.partitions.entry(partition).or_default();
        if snapshot.upto.epoch != epoch || snapshot.upto.offset > one.end {
            return Err(StoreError::Fenced);
        }
        if one.snapshot.as_ref().is_none_or(|kept| kept.upto <= snapshot.upto) {
            one.snapshot = Some(snapshot);
        }
        Ok(())
    }

    fn trim(&self, entity: &Entity, before: Position) -> Result<(), StoreError> {
        let mut logs = self.logs();
        if before.epoch == logs.epoch {
            logs.trim(entity, before.offset);
        }
        Ok(())
    }
}
