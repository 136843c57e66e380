//! The groups of one queue, and whose message is next. Owns for each group which of its messages are visible and which hold
//! it up, and the order between groups; knows nothing of deadlines, receipts or records.
//!
//! Messages without a group share the first lane. Between lanes the oldest visible message is next. In a FIFO queue a lane
//! gives nothing while a message older than its first visible one is in flight. In a standard queue a group that takes more
//! than its share becomes noisy and comes after all others, until its visible messages are gone or it has sent nothing for
//! some minutes; among noisy ones the one with the fewest messages in flight is next.

use super::ids::Wall;
use super::limits::{
    NOISY_IN_FLIGHT_MIN, NOISY_QUIET_MS, NOISY_SHARE, NOISY_WORK_MS_MIN, STEP_MAX, WORK_HALF_MS,
};
use super::run::{Numbered, Run};
use super::settings::Kind;
use foldhash::fast::FixedState;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::hash::BuildHasher;

/// The place of a lane.
pub(crate) type LaneKey = u32;

/// One group, about 100 bytes and its name; gone with its last message.
#[derive(Debug)]
struct Lane {
    /// Empty for the lane of those without a group.
    name: Box<str>,
    /// Offsets of its visible messages.
    ready: Run<u64>,
    /// FIFO: offsets of those in flight and on their way out, in order.
    held: SmallVec<[u64; 1]>,
    /// Its first visible message as it stands in `Lanes::heads`; 0 = it does not.
    listed: u64,
    /// Messages in any state.
    stored: u32,
    /// Of a group of a standard queue that has had messages in flight.
    tenant: Option<Box<Tenant>>,
}

/// What decides whether a group is noisy.
#[derive(Debug, Default)]
struct Tenant {
    in_flight: u32,
    work: Work,
    sent: Wall,
    is_noisy: bool,
    /// As it stands in `Lanes::noisy`.
    listed: Option<(u32, u64)>,
}

/// Milliseconds in flight, half of it forgotten every minute.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    ms: u64,
    at: Wall,
}

impl Work {
    fn add(&mut self, ms: u64, now: Wall) {
        *self = self.aged(now);
        self.ms += ms;
    }

    fn aged(self, now: Wall) -> Self {
        let halvings = now.since(self.at) / WORK_HALF_MS;
        let ms = if halvings < 64 { self.ms >> halvings } else { 0 };
        Self { ms, at: self.at.plus(halvings * WORK_HALF_MS) }
    }
}

/// The first visible message of a lane.
#[derive(Debug)]
struct Head {
    offset: u64,
    lane: LaneKey,
}

impl Numbered for Head {
    fn number(&self) -> u64 {
        self.offset
    }
}

/// The lanes of one queue.
#[derive(Debug)]
pub(crate) struct Lanes {
    is_fifo: bool,
    slab: Slab<Lane>,
    /// By the hash of the name.
    names: BTreeSet<(u64, LaneKey)>,
    hasher: FixedState,
    /// Lanes that can give, but for noisy ones.
    heads: Run<Head>,
    /// Fewest in flight first.
    noisy: BTreeSet<(u32, u64, LaneKey)>,
    /// When a noisy lane may be quiet again.
    quiet_at: BTreeSet<(Wall, LaneKey)>,
    /// Of all groups.
    work: Work,
}

impl Lanes {
    /// `seed` makes places in memory unguessable to those who choose names.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            is_fifo: false,
            slab: Slab::new(),
            names: BTreeSet::new(),
            hasher: FixedState::with_seed(seed),
            heads: Run::default(),
            noisy: BTreeSet::new(),
            quiet_at: BTreeSet::new(),
            work: Work::default(),
        }
    }

    /// To be said before a message is shown.
    pub(crate) fn set_kind(&mut self, kind: Kind) {
        self.is_fifo = kind == Kind::Fifo;
    }

    /// Groups with messages.
    pub(crate) fn len(&self) -> usize {
        self.slab.len() - usize::from(self.find("").is_some())
    }

    /// A message of the group is stored from now on.
    pub(crate) fn join(&mut self, group: &str, now: Wall) -> LaneKey {
        let key = self.find(group).unwrap_or_else(|| self.add(group));
        if let Some(lane) = self.slab.get_mut(key as usize) {
            lane.stored += 1;
            lane.tenant.iter_mut().for_each(|tenant| tenant.sent = now);
        }
        key
    }

    fn find(&self, group: &str) -> Option<LaneKey> {
        let hash = self.hasher.hash_one(group);
        let same = self.names.range((hash, 0)..=(hash, LaneKey::MAX)).map(|(_, key)| *key);
        same.into_iter().find(|key| self.lane(*key).is_some_and(|lane| &*lane.name == group))
    }

    fn add(&mut self, group: &str) -> LaneKey {
        let lane = Lane {
            name: group.into(),
            ready: Run::default(),
            held: SmallVec::new(),
            listed: 0,
            stored: 0,
            tenant: None,
        };
        let key = LaneKey::try_from(self.slab.insert(lane)).expect("fewer groups than 2^32");
        self.names.insert((self.hasher.hash_one(group), key));
        key
    }

    /// A message of the lane is not stored any more.
    pub(crate) fn leave(&mut self, key: LaneKey) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        lane.stored -= 1;
        if lane.stored == 0 {
            self.relist(key);
            let lane = self.slab.remove(key as usize);
            self.names.remove(&(self.hasher.hash_one(&*lane.name), key));
            // It cannot move its entries, so it gives its memory back only when it is empty.
            if self.slab.is_empty() {
                self.slab = Slab::new();
            }
        }
    }

    /// A message can be seen.
    pub(crate) fn show(&mut self, key: LaneKey, offset: u64) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        lane.ready.insert(offset);
        self.relist(key);
    }

    /// A message cannot be seen any more.
    pub(crate) fn hide(&mut self, key: LaneKey, offset: u64) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        lane.ready.remove(offset);
        self.relist(key);
    }

    /// A message that was hidden is in flight.
    pub(crate) fn fly(&mut self, key: LaneKey, offset: u64, now: Wall) {
        self.hold(key, offset);
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        if !self.is_fifo && !lane.name.is_empty() {
            let tenant =
                lane.tenant.get_or_insert_with(|| Box::new(Tenant { sent: now, ..Tenant::default() }));
            tenant.in_flight += 1;
            self.relist(key);
        }
    }

    /// A message is not in flight any more, after so many milliseconds.
    pub(crate) fn land(&mut self, key: LaneKey, offset: u64, (after_ms, now): (u64, Wall)) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        if let Some(tenant) = &mut lane.tenant {
            tenant.in_flight = tenant.in_flight.saturating_sub(1);
            tenant.work.add(after_ms, now);
        }
        if !self.is_fifo {
            self.work.add(after_ms, now);
        }
        self.release(key, offset);
    }

    /// FIFO: a message that was hidden holds up those behind it.
    pub(crate) fn hold(&mut self, key: LaneKey, offset: u64) {
        let Some(lane) = self.slab.get_mut(key as usize).filter(|_| self.is_fifo) else { return };
        if let Err(at) = lane.held.binary_search(&offset) {
            lane.held.insert(at, offset);
        }
        self.relist(key);
    }

    /// FIFO: no more.
    pub(crate) fn release(&mut self, key: LaneKey, offset: u64) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        lane.held.retain(|held| *held != offset);
        self.relist(key);
    }

    /// The lane whose turn it is, and its first visible message.
    pub(crate) fn next(&mut self, in_flight: u64, now: Wall) -> Option<(LaneKey, u64)> {
        while let Some(head) = self.heads.first() {
            let (key, offset) = (head.lane, head.offset);
            if !self.has_become_noisy(key, in_flight, now) {
                return Some((key, offset));
            }
        }
        self.noisy.first().map(|(_, offset, key)| (*key, *offset))
    }

    /// Of the lanes that can give, the one with the oldest visible message, noisy or not.
    pub(crate) fn oldest(&self) -> Option<(LaneKey, u64)> {
        let quiet = self.heads.first().map(|head| (head.offset, head.lane));
        let noisy = self.noisy.iter().map(|(_, offset, key)| (*offset, *key)).min();
        quiet.into_iter().chain(noisy).min().map(|(offset, key)| (key, offset))
    }

    /// The first visible message of a lane, whatever holds it up.
    pub(crate) fn first_of(&self, key: LaneKey) -> Option<u64> {
        self.lane(key)?.ready.first().copied()
    }

    /// A receive that takes from this lane may take messages below this offset.
    pub(crate) fn bound(&self, key: LaneKey) -> u64 {
        self.lane(key).and_then(|lane| lane.held.first().copied()).unwrap_or(u64::MAX)
    }

    pub(crate) fn next_deadline(&self) -> Option<Wall> {
        self.quiet_at.first().map(|(at, _)| *at)
    }

    /// Noisy lanes that have sent nothing for long are quiet again.
    pub(crate) fn calm(&mut self, now: Wall) {
        for _ in 0..STEP_MAX {
            let Some((at, key)) = self.quiet_at.first().copied().filter(|(at, _)| *at <= now) else { return };
            self.quiet_at.remove(&(at, key));
            let tenant = self.slab.get_mut(key as usize).and_then(|lane| lane.tenant.as_mut());
            let Some(tenant) = tenant.filter(|tenant| tenant.is_noisy) else { continue };
            let again = tenant.sent.plus(NOISY_QUIET_MS);
            if again > now {
                self.quiet_at.insert((again, key));
            } else {
                tenant.is_noisy = false;
                self.relist(key);
            }
        }
    }

    fn lane(&self, key: LaneKey) -> Option<&Lane> {
        self.slab.get(key as usize)
    }

    fn has_become_noisy(&mut self, key: LaneKey, in_flight: u64, now: Wall) -> bool {
        let all = self.work.aged(now).ms;
        let tenant = self.slab.get_mut(key as usize).and_then(|lane| lane.tenant.as_mut());
        let Some(tenant) = tenant else { return false };
        let own = tenant.work.aged(now).ms;
        let many =
            tenant.in_flight >= NOISY_IN_FLIGHT_MIN && u64::from(tenant.in_flight) * NOISY_SHARE > in_flight;
        let long = own >= NOISY_WORK_MS_MIN && own * NOISY_SHARE > all;
        let is_recent = tenant.sent.plus(NOISY_QUIET_MS) > now;
        if !is_recent || !(many || long) {
            return false;
        }
        tenant.is_noisy = true;
        self.quiet_at.insert((tenant.sent.plus(NOISY_QUIET_MS), key));
        self.relist(key);
        true
    }

    /// Puts the lane where it belongs after any change.
    fn relist(&mut self, key: LaneKey) {
        let Some(lane) = self.slab.get_mut(key as usize) else { return };
        let first = lane.ready.first().copied();
        let open = first.filter(|first| lane.held.first().is_none_or(|held| first < held));
        let mut noisy = None;
        if let Some(tenant) = &mut lane.tenant {
            tenant.is_noisy &= first.is_some();
            noisy = open.filter(|_| tenant.is_noisy).map(|first| (tenant.in_flight, first));
            if tenant.listed != noisy {
                let before = std::mem::replace(&mut tenant.listed, noisy);
                before.into_iter().for_each(|(flying, first)| _ = self.noisy.remove(&(flying, first, key)));
                noisy.into_iter().for_each(|(flying, first)| _ = self.noisy.insert((flying, first, key)));
            }
        }
        let quiet = open.filter(|_| noisy.is_none()).unwrap_or(0);
        if lane.listed != quiet {
            if lane.listed != 0 {
                self.heads.remove(lane.listed);
            }
            if quiet != 0 {
                self.heads.insert(Head { offset: quiet, lane: key });
            }
            lane.listed = quiet;
        }
    }
}
