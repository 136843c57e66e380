//! The store, and how hubs end: in order, or without a word. New ones go on with what is left.

use super::{NAMES, World, new_hubs};
use crate::person::Held;
use crate::remains::{Remains, due_in, name_of};
use crate::store::Store;
use hub::{Command, Effects, Entry, Millis, Reason, Record, SessionKey, SessionRecord, Snapshot};
use std::collections::VecDeque;

impl World {
    /// What a hub has changed goes to the store, in time.
    pub(super) fn take_entries(&mut self, shard: usize, entries: Vec<Entry>) {
        let Some(store) = &mut self.store else { return assert!(entries.is_empty(), "{entries:?}") };
        let mut made = store.made(shard);
        let mut wills = Vec::new();
        for entry in &entries {
            made += 1;
            let Entry::Keep { record, .. } = entry else { continue };
            match record {
                Record::Offer { message, .. } => self.going[shard].push_back((made, name_of(message.id))),
                Record::Due { at, message } => {
                    let name = name_of(message.id);
                    if self.ledger.sent[name].is_will {
                        wills.push(name);
                    } else {
                        self.put_off[shard].insert((at.0, name));
                    }
                }
                _ => {}
            }
        }
        store.take(shard, entries);
        for name in wills {
            self.ledger.sent[name].is_begun = true;
            self.ledger.promise(name);
        }
    }

    /// The store writes a little, or nothing of a hub for a while; hubs are told at once, or later.
    pub(super) fn keep(&mut self) {
        if self.store.is_none() {
            return;
        }
        for shard in 0..self.hubs.len() {
            if self.now < self.slow_until[shard] {
                continue;
            }
            if self.rng.chance(1) {
                self.slow_until[shard] = self.now + self.rng.below(80);
            }
            if self.rng.chance(40) {
                let waiting = self.store.as_ref().map_or(0, |store| store.waiting(shard));
                let count = self.rng.below(waiting as u64 + 1) as usize;
                let count = if self.rng.chance(50) { waiting } else { count };
                self.write(shard, count);
            }
            if self.rng.chance(60) {
                self.tell(shard);
            }
        }
    }

    fn write(&mut self, shard: usize, count: usize) {
        let written = self.store.as_mut().map(|store| store.write(shard, count)).unwrap_or_default();
        let due = due_in(&written);
        due.into_iter().for_each(|name| self.ledger.acknowledge(name));
    }

    fn tell(&mut self, shard: usize) {
        let Some(safe) = self.store.as_mut().and_then(|store| store.news(shard)) else { return };
        while let Some((_, name)) = self.going[shard].front().copied().filter(|(made, _)| *made <= safe) {
            self.going[shard].pop_front();
            if self.home(name) == shard {
                self.note_order(name);
            }
        }
        self.apply(shard, Command::Kept { safe });
    }

    /// All that there is to write is written.
    pub(super) fn keep_all(&mut self) {
        for shard in 0..self.hubs.len() {
            let waiting = self.store.as_ref().map_or(0, |store| store.waiting(shard));
            self.write(shard, waiting);
            self.tell(shard);
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        self.store.as_ref().is_none_or(Store::is_quiet)
    }

    /// Until nothing more follows.
    pub(super) fn calm(&mut self) {
        loop {
            self.deliver_all_mail();
            self.keep_all();
            self.tick();
            let is_due = self.hubs.iter().any(|hub| hub.next_deadline().is_some_and(|at| at.0 <= self.now));
            if !is_due && self.is_kept() && self.mail.values().all(VecDeque::is_empty) {
                return;
            }
        }
    }

    /// A hub is about to look at the time.
    pub(super) fn note_due(&mut self, shard: usize) {
        for name in std::mem::take(&mut self.again[shard]) {
            self.ledger.meet("offer published again after a crash");
            if self.home(name) == shard {
                self.note_order(name);
            }
        }
        while let Some((at, name)) = self.put_off[shard].first().copied().filter(|(at, _)| *at <= self.now) {
            self.put_off[shard].remove(&(at, name));
            if self.ledger.has_seen_crash(name) {
                self.ledger.meet("put-off after a crash");
            }
            self.ledger.promise(name);
        }
    }

    pub(super) fn interrupt(&mut self) {
        if self.rng.below(400) == 0 {
            return self.restart();
        }
        if self.store.is_none() {
            return;
        }
        if self.rng.below(120) == 0 {
            self.crash();
            while self.rng.chance(20) {
                (0..self.rng.below(4)).for_each(|_| self.keep());
                if self.rng.chance(50) {
                    self.tick();
                }
                self.crash();
            }
        } else if self.rng.below(400) == 0 {
            // What is remembered for a while only is forgotten.
            self.calm();
            self.now += self.rng.range(9_000, 70_000);
        }
    }

    /// All shards end in order, and the next ones go on, with clocks of their own; they may keep a journal from then on.
    fn restart(&mut self) {
        for who in 0..self.people.len() {
            let ends = self.people[who].line.is_some() && self.people[who].held().keep_ms == 0;
            if ends {
                self.lose(who, Reason::Draining);
            }
        }
        if self.store.is_some() {
            self.calm();
        }
        self.deliver_all_mail();
        let (now, elapsed_ms) = (self.now, self.rng.below(100));
        self.now = self.rng.range(2000, 9000);
        let next = self.now;
        let moved = |at: u64| (at + next).saturating_sub(now + elapsed_ms);
        let moved = |at: u64| if at == u64::MAX { at } else { moved(at) };
        if let Some(store) = &mut self.store {
            store.move_times(|at| Millis(moved(at.0)));
            store.begin();
        } else {
            (0..NAMES.len()).for_each(|who| self.hang_up_if_connected(who, now));
            self.ledger.restarted();
        }
        for held in self.people.iter_mut().filter_map(|person| person.session.as_mut()) {
            (held.until, held.will_at) = (moved(held.until), moved(held.will_at));
        }
        self.slow_until.fill(0);
        let snapshots = self.hubs.iter().map(|hub| hub.snapshot(Millis(now))).collect();
        self.ledger.meet("restarted");
        if self.store.is_some() {
            return self.outlive(snapshots, elapsed_ms);
        }
        if self.rng.chance(30) {
            // The next ones keep a journal.
            self.store = Some(Store::new(self.topology));
            for held in self.people.iter_mut().filter_map(|person| person.session.as_mut()) {
                held.is_kept = true;
            }
        }
        self.go_on(snapshots, elapsed_ms);
        self.keep_all();
    }

    fn hang_up_if_connected(&mut self, who: usize, now: u64) {
        if self.people[who].line.is_some() {
            self.hang_up(who, now);
        }
    }

    /// All shards end without a word. Of what they had not written, a part has arrived.
    fn crash(&mut self) {
        self.ledger.meet("crashed");
        let is_waiting = |person: &crate::person::Person| {
            person.line.as_ref().is_some_and(|line| !line.is_agreed || !line.requests.is_empty())
        };
        if !self.is_kept() && self.people.iter().any(is_waiting) {
            self.ledger.meet("crashed with promises held");
        }
        self.mail.clear();
        let store = self.store.as_mut().expect("a journal");
        let due = due_in(&store.crash(&mut self.rng));
        due.into_iter().for_each(|name| self.ledger.acknowledge(name));
        if self.rng.chance(30) {
            self.now += self.rng.below(400);
        }
        let nothing = (0..self.hubs.len()).map(|_| Snapshot::default()).collect();
        self.outlive(nothing, 0);
    }

    /// New hubs have what is left.
    fn outlive(&mut self, snapshots: Vec<Snapshot>, elapsed_ms: u64) {
        let remains = self.store.as_ref().expect("a journal").remains();
        assert!(self.gone.iter().all(|id| !remains.sessions.contains_key(id)), "it was said that it is gone");
        self.ghosts.clear();
        for who in 0..NAMES.len() {
            self.survive(who, &remains);
        }
        self.ledger.crashed(&remains);
        self.waits.clear();
        self.going.iter_mut().for_each(VecDeque::clear);
        let owner = |partition| usize::from(self.topology.owner(partition).0);
        for shard in 0..self.hubs.len() {
            let here = remains.sessions.iter().filter(|(id, _)| owner(id.partition()) == shard);
            let offers = here.flat_map(|(_, session)| &session.offers).map(|(_, name)| *name);
            self.again[shard] = offers.collect();
            let due = remains.due.iter().filter(|(_, _, partition)| owner(*partition) == shard);
            let due = due.filter(|(name, ..)| !self.ledger.sent[*name].is_will);
            self.put_off[shard] = due.map(|(name, at, _)| (at.0, *name)).collect();
        }
        self.go_on(snapshots, elapsed_ms);
    }

    fn go_on(&mut self, snapshots: Vec<Snapshot>, elapsed_ms: u64) {
        self.hubs = new_hubs(self.topology, &self.limits);
        for (shard, snapshot) in snapshots.into_iter().enumerate() {
            if let Some(store) = &self.store {
                let (last, records) = store.records_of(shard);
                self.hubs[shard].keep_journal(&last, records);
            }
            let mut effects = Effects::default();
            let refused = self.hubs[shard].restore(Millis(self.now), elapsed_ms, snapshot, &mut effects);
            assert_eq!(refused, []);
            self.perform_all(shard, effects);
        }
        self.deliver_all_mail();
    }

    /// What a client finds.
    fn survive(&mut self, who: usize, remains: &Remains) {
        let name = &*self.people[who].name;
        let mut records = remains.sessions.values().filter_map(|session| session.record.as_ref());
        let record = records.find(|record| *record.name == *name);
        let person = &mut self.people[who];
        let was_away = person.line.take().is_none();
        let (held, record) = match (person.session.take(), record) {
            (Some(held), Some(record)) if held.id == record.id => (held, record),
            (held, record) => {
                let agreed = held.as_ref().and_then(|held| held.agreed.filter(|_| !held.is_changed));
                if let Some(record) = record {
                    // An earlier one, which was to end.
                    assert!(agreed.is_none(), "it was said that there is another: {record:?}, {held:?}");
                    self.ghosts.insert(record.id);
                    person.is_fresh_only = true;
                }
                assert!(agreed.is_none_or(|keep_ms| keep_ms == 0), "it was said that it is kept: {held:?}");
                if held.is_some_and(|held| held.keep_ms > 0) {
                    self.ledger.meet("was not safe and is gone");
                }
                return;
            }
        };
        assert!(held.agreed != Some(0) || held.is_changed, "it was said that it is not kept: {held:?}");
        if held.keep_ms == 0 {
            self.ledger.forgive(held.id);
        }
        let is_due = |name: &usize| remains.due.iter().any(|(due, ..)| due == name);
        let will = record.will.as_ref();
        let will_name = will.map(|will| name_of(will.message.id)).filter(|name| !is_due(name));
        if held.agreed.is_some() && !held.is_changed {
            assert_eq!((record.keep_ms, record.window), (held.keep_ms, held.window));
            let is_over = will_name.is_none() && was_away && held.will_at <= self.now;
            let expected = held.will.map(|(name, _)| name).filter(|_| !is_over);
            assert_eq!(will_name, expected, "the will that was agreed on");
        }
        self.people[who].session = Some(restored(held, record, will_name, self.now));
    }
}

/// As the record says.
fn restored(mut held: Held, record: &SessionRecord, will: Option<usize>, now: u64) -> Held {
    held.outlive_crash();
    held.is_kept = true;
    held.key = SessionKey(record.id.slot());
    held.user = record.user.as_deref().map(|_| "eve");
    (held.keep_ms, held.window) = (record.keep_ms, record.window);
    held.until = record.until.map_or(now.saturating_add(record.keep_ms), |until| until.0.max(now));
    held.will_at = held.until;
    held.will = None;
    if let (Some(name), Some(will)) = (will, &record.will) {
        held.will = Some((name, will.delay_ms));
        held.will_at = held.until.min(will.at.map_or(now.saturating_add(will.delay_ms), |at| at.0));
    }
    held
}
