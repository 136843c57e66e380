//! What was promised about messages, over all crashes: one that was acknowledged is somewhere, once, until somebody wants it
//! gone; one whose end was acknowledged is nowhere.

use crate::model::Model;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Its send was answered.
    is_acknowledged: bool,
    /// Somebody, or its age, wants it gone.
    is_over: bool,
    /// That was answered.
    is_gone: bool,
}

#[derive(Default)]
pub struct Ledger {
    fates: BTreeMap<u64, Fate>,
}

impl Ledger {
    pub fn acknowledged(&mut self, body: u64) {
        self.fates.entry(body).or_default().is_acknowledged = true;
    }

    pub fn over(&mut self, body: u64) {
        self.fates.entry(body).or_default().is_over = true;
    }

    pub fn gone(&mut self, body: u64) {
        self.fates.entry(body).or_default().is_gone = true;
    }

    /// After a crash, against what is left.
    pub fn check(&self, model: &Model) {
        let mut places: BTreeMap<u64, u32> = BTreeMap::new();
        let stored = model.queues.values().flat_map(|queue| queue.messages.values());
        // One that has arrived is counted where it is now, if it is not over.
        let leaving = model.moving.iter().filter(|(id, _)| !model.arrived.contains(id));
        let leaving = leaving.map(|(_, moving)| &moving.msg);
        for msg in stored.chain(leaving) {
            *places.entry(msg.body).or_default() += 1;
        }
        for (body, count) in &places {
            assert_eq!(*count, 1, "message {body} is there {count} times");
        }
        for (body, fate) in &self.fates {
            let is_there = places.contains_key(body);
            assert!(is_there || !fate.is_acknowledged || fate.is_over, "message {body} is lost");
            assert!(!is_there || !fate.is_gone, "message {body} has come back");
        }
    }
}
