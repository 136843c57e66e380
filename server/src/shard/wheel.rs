//! A hierarchical timer wheel: one deadline per key, 1 ms resolution, 16 bytes per key.
//!
//! Owns deadlines and their order; must not know what a key stands for, nor the clock: time is handed in.
//! Start at [`Wheel::arm`] and [`Wheel::expire`].
//!
//! Six levels of 64 slots; a slot of level `n` covers `64^n` ms. A key sits in the slot of its deadline, at the lowest
//! level whose window holds both the deadline and the present; when a slot of a higher level begins, its keys move
//! down. Moving a deadline to a later time is one store: the key stays where it is and is moved when that slot comes.

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Further ahead than this a key is parked in the last slot and placed again when that comes. One slot of the highest
/// level less than all of them, so that the parking slot is never the current one.
const AHEAD_MS_MAX: u64 = (1 << (SLOT_BITS * LEVELS as u32)) - (1 << (SLOT_BITS * (LEVELS as u32 - 1)));
/// End of a list.
const NONE: u32 = u32::MAX;
/// In no list.
const NOWHERE: u16 = u16::MAX;
/// In the list of keys that are due.
const DUE: u16 = u16::MAX - 1;
/// Slots of nodes that may stay allocated without any armed key.
const NODES_KEPT: usize = 1024;

/// Deadlines by key. Keys are small indexes: memory is that of the highest key ever armed.
#[derive(Debug)]
pub(super) struct Wheel {
    /// Everything up to here has fired, but for the keys in `due`.
    elapsed: u64,
    levels: [Level; LEVELS],
    nodes: Vec<Node>,
    due: u32,
    armed: usize,
}

#[derive(Clone, Debug)]
struct Level {
    /// One bit per slot that has keys.
    occupied: u64,
    heads: [u32; SLOTS],
}

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = size_of::<Node>();

/// The state of one key. The deadline has 48 bits, 8,900 years.
#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    deadline_low: u32,
    deadline_high: u16,
    /// `level * SLOTS + slot`, [`DUE`] or [`NOWHERE`].
    place: u16,
}

impl Node {
    const IDLE: Self = Self { next: NONE, previous: NONE, deadline_low: 0, deadline_high: 0, place: NOWHERE };

    fn deadline(self) -> u64 {
        u64::from(self.deadline_high) << 32 | u64::from(self.deadline_low)
    }

    fn set_deadline(&mut self, at: u64) {
        self.deadline_low = at as u32;
        self.deadline_high = (at >> 32).min(u64::from(u16::MAX)) as u16;
    }
}

impl Wheel {
    /// An empty wheel at time `now`, in milliseconds.
    pub(super) fn new(now: u64) -> Self {
        let level = Level { occupied: 0, heads: [NONE; SLOTS] };
        Self {
            elapsed: now,
            levels: std::array::from_fn(|_| level.clone()),
            nodes: Vec::new(),
            due: NONE,
            armed: 0,
        }
    }

    /// Sets the deadline of `key`, in place of the one it has. A time that has passed fires at the next millisecond.
    pub(super) fn arm(&mut self, key: u32, at: u64) {
        let at = at.max(self.elapsed + 1);
        let index = key as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::IDLE);
        }
        let node = self.node(key);
        match node.place {
            NOWHERE => self.armed += 1,
            DUE => self.unlink(key),
            place if at >= self.slot_start(place) => {
                self.node_mut(key).set_deadline(at);
                return;
            }
            _ => self.unlink(key),
        }
        self.node_mut(key).set_deadline(at);
        self.place(key);
    }

    /// Unsets the deadline of `key`.
    pub(super) fn disarm(&mut self, key: u32) {
        if self.nodes.get(key as usize).is_none_or(|node| node.place == NOWHERE) {
            return;
        }
        self.unlink(key);
        self.settle();
    }

    /// The next key whose deadline is at or before `now`; it is then disarmed. Call it until `None`.
    pub(super) fn expire(&mut self, now: u64) -> Option<u32> {
        loop {
            if self.due != NONE {
                let key = self.due;
                self.unlink(key);
                self.settle();
                return Some(key);
            }
            match self.next_slot() {
                Some((place, start)) if start <= now => {
                    self.elapsed = self.elapsed.max(start);
                    self.open_slot(place);
                }
                _ => {
                    self.elapsed = self.elapsed.max(now);
                    return None;
                }
            }
        }
    }

    /// When [`Wheel::expire`] has something to do; at or before the earliest deadline.
    pub(super) fn next(&self) -> Option<u64> {
        if self.due != NONE { Some(self.elapsed) } else { self.next_slot().map(|(_, start)| start) }
    }

    /// A lower level always comes before a higher one, as its keys lie within one slot of the higher.
    fn next_slot(&self) -> Option<(u16, u64)> {
        self.levels.iter().enumerate().find(|(_, level)| level.occupied != 0).map(|(level, slots)| {
            let shift = SLOT_BITS * level as u32;
            let current = (self.elapsed >> shift) as u32 % SLOTS as u32;
            let ahead = slots.occupied.rotate_right(current).trailing_zeros();
            let slot = (current + ahead) % SLOTS as u32;
            let place = (level * SLOTS) as u16 + slot as u16;
            (place, self.slot_start(place))
        })
    }

    /// The first millisecond of a slot, seen from the present; for the current slot it may have passed.
    fn slot_start(&self, place: u16) -> u64 {
        let shift = SLOT_BITS * (u32::from(place) >> SLOT_BITS);
        let slot = u64::from(place) % SLOTS as u64;
        let tick = self.elapsed >> shift;
        let ahead = slot.wrapping_sub(tick) % SLOTS as u64;
        (tick + ahead) << shift
    }

    /// Moves the keys of a slot to where they belong now.
    fn open_slot(&mut self, place: u16) {
        let mut key = std::mem::replace(self.head_mut(place), NONE);
        self.level_mut(place).occupied &= !(1 << (place as usize % SLOTS));
        while key != NONE {
            let next = self.node(key).next;
            self.place(key);
            key = next;
        }
    }

    /// Links a key by its deadline.
    fn place(&mut self, key: u32) {
        let deadline = self.node(key).deadline();
        if deadline <= self.elapsed {
            return self.link(key, DUE);
        }
        let at = deadline.min(self.elapsed + AHEAD_MS_MAX);
        let differing = (self.elapsed ^ at) | (SLOTS as u64 - 1);
        let level = ((63 - differing.leading_zeros()) / SLOT_BITS).min(LEVELS as u32 - 1);
        let slot = (at >> (SLOT_BITS * level)) % SLOTS as u64;
        self.link(key, (level as usize * SLOTS) as u16 + slot as u16);
    }

    fn link(&mut self, key: u32, place: u16) {
        let head = if place == DUE {
            std::mem::replace(&mut self.due, key)
        } else {
            self.level_mut(place).occupied |= 1 << (place as usize % SLOTS);
            std::mem::replace(self.head_mut(place), key)
        };
        if head != NONE {
            self.node_mut(head).previous = key;
        }
        let node = self.node_mut(key);
        node.next = head;
        node.previous = NONE;
        node.place = place;
    }

    /// Takes a key out of its list. `armed` is left to the caller that does not link it again.
    fn unlink(&mut self, key: u32) {
        let Node { next, previous, place, .. } = self.node(key);
        if next != NONE {
            self.node_mut(next).previous = previous;
        }
        match (previous, place) {
            (NONE, DUE) => self.due = next,
            (NONE, _) => {
                *self.head_mut(place) = next;
                if next == NONE {
                    self.level_mut(place).occupied &= !(1 << (place as usize % SLOTS));
                }
            }
            (previous, _) => self.node_mut(previous).next = next,
        }
        self.node_mut(key).place = NOWHERE;
    }

    /// One armed key less. An unarmed node holds nothing, so with the last one all may go.
    fn settle(&mut self) {
        self.armed -= 1;
        if self.armed == 0 && self.nodes.len() > NODES_KEPT {
            self.nodes = Vec::new();
        }
    }

    fn node(&self, key: u32) -> Node {
        *self.nodes.get(key as usize).expect("keys in lists and armed keys have nodes")
    }

    fn node_mut(&mut self, key: u32) -> &mut Node {
        self.nodes.get_mut(key as usize).expect("keys in lists and armed keys have nodes")
    }

    fn level_mut(&mut self, place: u16) -> &mut Level {
        self.levels.get_mut(place as usize / SLOTS).expect("a place is made of level and slot")
    }

    fn head_mut(&mut self, place: u16) -> &mut u32 {
        let slot = place as usize % SLOTS;
        self.level_mut(place).heads.get_mut(slot).expect("a place is made of level and slot")
    }
}

#[cfg(test)]
mod tests;
