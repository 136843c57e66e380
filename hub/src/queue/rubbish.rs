//! Records of purged messages and deleted queues, which are removed little by little. They are void from the moment of the
//! purge or deletion, in memory and by what is recorded of that, so nobody waits for this.

use super::desk::Desk;
use super::limits::STEP_MAX;
use super::marks::Marks;
use super::stock::Stock;
use crate::ids::Partition;
use std::collections::VecDeque;

/// What is to be removed.
#[derive(Debug, Default)]
pub(crate) struct Rubbish {
    /// Records that are no messages.
    loose: VecDeque<(Partition, u64)>,
    heaps: VecDeque<Heap>,
}

/// Messages of one queue.
#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) partition: Partition,
    pub(crate) stock: Stock,
    /// Message and record of its receives, if there is one, besides those in `stock`.
    pub(crate) places: Vec<(u64, u64)>,
    pub(crate) marks: Marks,
}

impl Rubbish {
    pub(crate) fn is_empty(&self) -> bool {
        self.loose.is_empty() && self.heaps.is_empty()
    }

    /// A record; 0 is none.
    pub(crate) fn drop_record(&mut self, partition: Partition, offset: u64) {
        if offset != 0 {
            self.loose.push_back((partition, offset));
        }
    }

    pub(crate) fn drop_heap(&mut self, heap: Heap) {
        self.heaps.push_back(heap);
    }

    /// Some of it.
    pub(crate) fn clear_some(&mut self, desk: &mut Desk) {
        for _ in 0..STEP_MAX {
            if let Some((partition, offset)) = self.loose.pop_front() {
                desk.remove(partition, offset);
            } else if let Some(heap) = self.heaps.front_mut() {
                if !heap.clear_one(desk) {
                    self.heaps.pop_front();
                }
            } else {
                return;
            }
        }
    }
}

impl Heap {
    /// False when nothing is left.
    fn clear_one(&mut self, desk: &mut Desk) -> bool {
        if let Some((offset, tally)) = self.places.pop() {
            desk.write_off(self.partition, offset, tally);
        } else if let Some(offset) = self.stock.first() {
            let out = self.stock.remove(offset, desk.now);
            let tally = out.and_then(|out| out.tracked).map_or(0, |tracked| tracked.tally);
            desk.write_off(self.partition, offset, tally);
        } else if let Some(marked) = self.marks.pop() {
            desk.remove(self.partition, marked.record);
        } else {
            return false;
        }
        true
    }
}
