//! The messages that one queue has stored: what each is at, when that changes, and how many there are of each kind. Owns
//! their states (drawn at [`Stage`]), deadlines and ages; knows nothing of records, receivers or other queues.
//!
//! A message that was never received costs an entry of 24 bytes and its offset in the list of its group. What was received
//! also has its count and times (about 100 bytes); what is in flight or delayed, a deadline (about 30).

use super::answer::{QueueCounts, Stage};
use super::ids::Wall;
use super::lane::{LaneKey, Lanes};
use super::limits::STEP_MAX;
use super::run::{Numbered, Run};
use super::settings::Kind;
use std::collections::{BTreeMap, BTreeSet};

/// A stored message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) sent: Wall,
    pub(crate) lane: LaneKey,
    pub(crate) stage: Stage,
    /// An older message is newer: its age is noted separately.
    is_aged: bool,
}

impl Numbered for Entry {
    fn number(&self) -> u64 {
        self.offset
    }
}

/// What is remembered of a message that was received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracked {
    /// In this queue.
    pub(crate) receives: u32,
    pub(crate) first_received: Wall,
    /// The last time.
    pub(crate) received: Wall,
    /// While in flight: when it is visible again.
    pub(crate) until: Wall,
    /// Of the last receive; 0 = none in this life of the hub.
    pub(crate) number: u64,
    /// Place of the record of `receives`; 0 = none.
    pub(crate) tally: u64,
}

/// A message that has left its queue, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    pub(crate) entry: Entry,
    pub(crate) tracked: Option<Tracked>,
}

/// A message that is new here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving<'a> {
    pub(crate) offset: u64,
    pub(crate) sent: Wall,
    /// Not visible before; 0 = at once.
    pub(crate) due: Wall,
    /// Empty for none.
    pub(crate) group: &'a str,
}

/// A receive's hold on a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) number: u64,
    pub(crate) until: Wall,
}

/// The messages of one queue.
#[derive(Debug)]
pub(crate) struct Stock {
    is_fifo: bool,
    line: Run<Entry>,
    tracked: BTreeMap<u64, Tracked>,
    /// When those in flight and delayed become visible. One whose delay was cut short, by its end or otherwise, stays in here
    /// until then.
    due: BTreeSet<(Wall, u64)>,
    /// Those of `line` whose time of sending is not in order.
    aged: BTreeSet<(Wall, u64)>,
    /// The newest time of sending there was.
    newest: Wall,
    /// FIFO: no message becomes visible before one that came earlier.
    last_due: Wall,
    pub(crate) lanes: Lanes,
    visible: u64,
    in_flight: u64,
    delayed: u64,
    moving: u64,
}

impl Stock {
    pub(crate) fn new(kind: Kind, seed: u64) -> Self {
        let mut lanes = Lanes::new(seed);
        lanes.set_kind(kind);
        Self {
            is_fifo: kind == Kind::Fifo,
            line: Run::default(),
            tracked: BTreeMap::new(),
            due: BTreeSet::new(),
            aged: BTreeSet::new(),
            newest: Wall(0),
            last_due: Wall(0),
            lanes,
            visible: 0,
            in_flight: 0,
            delayed: 0,
            moving: 0,
        }
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let in_flight = self.in_flight + self.moving;
        QueueCounts { visible: self.visible, in_flight, delayed: self.delayed }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(crate) fn find(&self, offset: u64) -> Option<Entry> {
        self.line.find(offset).copied()
    }

    pub(crate) fn tracked(&self, offset: u64) -> Option<Tracked> {
        self.tracked.get(&offset).copied()
    }

    /// Notes where the count of receives is recorded; gives the place of the record before.
    pub(crate) fn note_tally(&mut self, offset: u64, tally: u64) -> u64 {
        self.tracked.get_mut(&offset).map_or(0, |tracked| std::mem::replace(&mut tracked.tally, tally))
    }

    /// In the order they came.
    pub(crate) fn iter_after(&self, offset: u64) -> impl Iterator<Item = &Entry> {
        self.line.iter_after(offset)
    }

    /// The one that came first.
    pub(crate) fn first(&self) -> Option<u64> {
        self.line.first().map(|first| first.offset)
    }

    /// When the oldest was sent.
    pub(crate) fn oldest(&self) -> Option<Wall> {
        let aged = self.aged.first().map(|(sent, _)| *sent);
        self.line.first().map(|first| first.sent).into_iter().chain(aged).min()
    }

    /// A message is stored from now on.
    pub(crate) fn insert(&mut self, new: &Arriving<'_>, now: Wall) {
        let due = if self.is_fifo { self.in_order(new.due, now) } else { new.due };
        let stage = if due > now { Stage::Delayed } else { Stage::Visible };
        let lane = self.note(new, stage, now);
        if stage == Stage::Delayed {
            self.delayed += 1;
            self.due.insert((due, new.offset));
        } else {
            self.visible += 1;
            self.lanes.show(lane, new.offset);
        }
    }

    fn in_order(&mut self, due: Wall, now: Wall) -> Wall {
        if due > now || self.last_due > now {
            self.last_due = self.last_due.max(due);
            return self.last_due;
        }
        due
    }

    fn note(&mut self, new: &Arriving<'_>, stage: Stage, now: Wall) -> LaneKey {
        let lane = self.lanes.join(new.group, now);
        let is_aged = new.sent < self.newest;
        if is_aged {
            self.aged.insert((new.sent, new.offset));
        }
        self.newest = self.newest.max(new.sent);
        self.line.insert(Entry { offset: new.offset, sent: new.sent, lane, stage, is_aged });
        lane
    }

    /// The message at the head of a lane goes to a receiver.
    pub(crate) fn take(&mut self, (lane, offset): (LaneKey, u64), hold: Hold, now: Wall) -> Option<Tracked> {
        let entry = self.line.find_mut(offset).filter(|entry| entry.stage == Stage::Visible)?;
        entry.stage = Stage::InFlight;
        self.visible -= 1;
        self.in_flight += 1;
        self.lanes.hide(lane, offset);
        self.lanes.fly(lane, offset, now);
        let tracked = self.tracked.entry(offset).or_default();
        if tracked.receives == 0 {
            tracked.first_received = now;
        }
        tracked.receives = tracked.receives.saturating_add(1);
        (tracked.received, tracked.until, tracked.number) = (now, hold.until, hold.number);
        self.due.insert((hold.until, offset));
        Some(*tracked)
    }

    /// Another deadline for a message in flight.
    pub(crate) fn hold_until(&mut self, offset: u64, until: Wall) {
        let Some(tracked) = self.tracked.get_mut(&offset) else { return };
        if self.due.remove(&(tracked.until, offset)) {
            self.due.insert((until, offset));
        }
        tracked.until = until;
    }

    /// A message in flight is visible again.
    pub(crate) fn give_back(&mut self, offset: u64, now: Wall) {
        let Some(entry) = self.line.find_mut(offset).filter(|entry| entry.stage == Stage::InFlight) else {
            return;
        };
        entry.stage = Stage::Visible;
        let lane = entry.lane;
        self.land(offset, lane, now);
        self.visible += 1;
        self.lanes.show(lane, offset);
    }

    fn land(&mut self, offset: u64, lane: LaneKey, now: Wall) {
        let tracked = self.tracked.get(&offset).copied().unwrap_or_default();
        self.due.remove(&(tracked.until, offset));
        self.in_flight -= 1;
        self.lanes.land(lane, offset, (now.since(tracked.received), now));
    }

    /// A message has ended.
    pub(crate) fn remove(&mut self, offset: u64, now: Wall) -> Option<Out> {
        let entry = *self.line.find(offset)?;
        match entry.stage {
            Stage::InFlight => self.land(offset, entry.lane, now),
            Stage::Visible | Stage::Delayed => self.hide(&entry),
        }
        let out = self.strike(entry);
        self.lanes.leave(entry.lane);
        Some(out)
    }

    fn hide(&mut self, entry: &Entry) {
        if entry.stage == Stage::Delayed {
            self.delayed -= 1;
        } else {
            self.visible -= 1;
            self.lanes.hide(entry.lane, entry.offset);
        }
    }

    fn strike(&mut self, entry: Entry) -> Out {
        self.line.remove(entry.offset);
        if entry.is_aged {
            self.aged.remove(&(entry.sent, entry.offset));
        }
        Out { entry, tracked: self.tracked.remove(&entry.offset) }
    }

    /// A message that is not in flight is on its way to another queue; its group waits for it.
    pub(crate) fn take_out(&mut self, offset: u64) -> Option<Out> {
        let entry = *self.line.find(offset).filter(|entry| entry.stage != Stage::InFlight)?;
        self.hide(&entry);
        self.lanes.hold(entry.lane, offset);
        self.moving += 1;
        Some(self.strike(entry))
    }

    /// It was not moved: it is visible again.
    pub(crate) fn put_back(&mut self, out: Out) {
        let Out { entry, tracked } = out;
        self.moving -= 1;
        self.lanes.release(entry.lane, entry.offset);
        if entry.is_aged {
            self.aged.insert((entry.sent, entry.offset));
        }
        self.line.insert(Entry { stage: Stage::Visible, ..entry });
        if let Some(tracked) = tracked {
            self.tracked.insert(entry.offset, tracked);
        }
        self.visible += 1;
        self.lanes.show(entry.lane, entry.offset);
    }

    /// It was moved.
    pub(crate) fn moved(&mut self, out: &Out) {
        self.moving -= 1;
        self.lanes.release(out.entry.lane, out.entry.offset);
        self.lanes.leave(out.entry.lane);
    }

    /// The next message that is too old.
    pub(crate) fn expired(&self, retention_ms: u64, now: Wall) -> Option<u64> {
        let is_over = |sent: Wall| sent.plus(retention_ms) <= now;
        let aged = self.aged.first().filter(|(sent, _)| is_over(*sent)).map(|(_, offset)| *offset);
        let first = self.line.first().filter(|first| is_over(first.sent)).map(|first| first.offset);
        first.or(aged)
    }

    /// Messages whose deadline has come become visible; at most a step of them.
    pub(crate) fn become_due(&mut self, now: Wall) {
        for _ in 0..STEP_MAX {
            let Some((at, offset)) = self.due.first().copied().filter(|(at, _)| *at <= now) else { return };
            self.due.remove(&(at, offset));
            let Some(entry) = self.line.find_mut(offset) else { continue };
            match entry.stage {
                Stage::Delayed => {
                    entry.stage = Stage::Visible;
                    let lane = entry.lane;
                    self.delayed -= 1;
                    self.visible += 1;
                    self.lanes.show(lane, offset);
                }
                // A deadline may be of a delay that somebody cut short.
                Stage::InFlight if self.tracked.get(&offset).is_some_and(|of| of.until <= now) => {
                    self.give_back(offset, now);
                }
                Stage::InFlight | Stage::Visible => {}
            }
        }
    }

    pub(crate) fn next_deadline(&self, retention_ms: u64) -> Option<Wall> {
        let due = self.due.first().map(|(at, _)| *at);
        let age = self.oldest().map(|sent| sent.plus(retention_ms));
        [due, age, self.lanes.next_deadline()].into_iter().flatten().min()
    }

    /// A message from a record. Nothing is visible before [`open`](Self::open).
    pub(crate) fn read(&mut self, new: &Arriving<'_>) {
        self.note(new, Stage::Delayed, Wall(0));
        if new.due > Wall(0) {
            self.due.insert((new.due, new.offset));
        }
    }

    /// The count of receives of a message from a record; gives the place of a record that is of no use.
    pub(crate) fn read_tally(&mut self, offset: u64, read: Tracked) -> u64 {
        if self.line.find(offset).is_none() {
            return read.tally;
        }
        self.tracked.insert(offset, read).map_or(0, |before| before.tally)
    }

    /// All records are read: messages are delayed or visible from now on. `delay_ms` is that of a FIFO queue; nothing is
    /// delayed for longer than `delay_ms_max`.
    pub(crate) fn open(&mut self, kind: Kind, (delay_ms, delay_ms_max): (u64, u64), now: Wall) {
        let is_fifo = kind == Kind::Fifo;
        self.is_fifo = is_fifo;
        self.lanes.set_kind(kind);
        let dues = std::mem::take(&mut self.due);
        let dues: BTreeMap<u64, Wall> = dues.into_iter().map(|(at, offset)| (offset, at)).collect();
        for entry in self.line.iter_mut() {
            let was_received = self.tracked.contains_key(&entry.offset);
            let mut due = dues.get(&entry.offset).copied().unwrap_or_default();
            if is_fifo {
                due = if was_received { Wall(0) } else { entry.sent.plus(delay_ms) };
            }
            due = due.min(now.plus(delay_ms_max));
            if is_fifo && !was_received && (due > now || self.last_due > now) {
                self.last_due = self.last_due.max(due);
                due = self.last_due;
            }
            if due > now {
                self.delayed += 1;
                self.due.insert((due, entry.offset));
            } else {
                entry.stage = Stage::Visible;
                self.visible += 1;
                self.lanes.show(entry.lane, entry.offset);
            }
        }
    }

    /// FIFO: another delay, for stored messages that were never received, too. Looks at every message.
    pub(crate) fn set_delay(&mut self, delay_ms: u64, now: Wall) {
        self.last_due = Wall(0);
        let mut moved = Vec::new();
        let mut latest = Wall(0);
        for entry in self.line.iter() {
            if entry.stage == Stage::InFlight || self.tracked.contains_key(&entry.offset) {
                continue;
            }
            latest = latest.max(entry.sent.plus(delay_ms));
            moved.push((entry.offset, latest));
        }
        self.due.retain(|(_, offset)| self.tracked.contains_key(offset));
        for (offset, due) in moved {
            self.set_due(offset, due, now);
        }
    }

    fn set_due(&mut self, offset: u64, due: Wall, now: Wall) {
        let Some(entry) = self.line.find_mut(offset) else { return };
        let (before, lane) = (entry.stage, entry.lane);
        let stage = if due > now { Stage::Delayed } else { Stage::Visible };
        entry.stage = stage;
        if stage == Stage::Delayed {
            self.due.insert((due, offset));
            self.last_due = self.last_due.max(due);
        }
        match (before, stage) {
            (Stage::Visible, Stage::Delayed) => {
                self.visible -= 1;
                self.delayed += 1;
                self.lanes.hide(lane, offset);
            }
            (Stage::Delayed, Stage::Visible) => {
                self.delayed -= 1;
                self.visible += 1;
                self.lanes.show(lane, offset);
            }
            _ => {}
        }
    }
}
