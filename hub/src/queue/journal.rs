//! What is written down: numbers records and hands them on in order. Owns the end of each partition's log; knows nothing
//! of what records mean.

use super::answer::QueueEffect;
use super::record::Record;
use crate::ids::Partition;
use std::collections::BTreeMap;

/// The logs of a hub's partitions, as far as queues write them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Place of the last record there ever was.
    ends: BTreeMap<Partition, u64>,
    /// By the command being applied.
    pub(crate) writes: Vec<QueueEffect>,
}

impl Journal {
    /// Writes a record; gives its place.
    pub(crate) fn keep(&mut self, partition: Partition, record: Record) -> u64 {
        let end = self.ends.entry(partition).or_default();
        *end += 1;
        let offset = *end;
        self.writes.push(QueueEffect::Keep { partition, offset, record });
        offset
    }

    /// What a record says is over.
    pub(crate) fn remove(&mut self, partition: Partition, offset: u64) {
        self.writes.push(QueueEffect::Remove { partition, offset });
    }

    /// The place of the last record.
    pub(crate) fn end(&self, partition: Partition) -> u64 {
        self.ends.get(&partition).copied().unwrap_or_default()
    }

    /// The log goes on behind this place.
    pub(crate) fn go_on(&mut self, partition: Partition, end: u64) {
        let known = self.ends.entry(partition).or_default();
        *known = end.max(*known);
    }
}
