//! Time and deadlines of a shard: the clock that callbacks see, one deadline per connection that needs one, and one per
//! owner.
//!
//! Must not know what a deadline means: that follows from the connection's phase, or is the owner's business. Start at
//! [`Clock`], [`Deadlines`] and [`OwnerTimers`].

use super::connection::NONE;
use super::handler::{Door, Owner};
use super::io::ConnKey;
use super::wheel::Wheel;
use hub::Millis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a shard whose time is told waits for whoever moves it to wake it.
const TOLD_SLEEP: Duration = Duration::from_secs(3600);

/// What the milliseconds of all shards of a node are counted by.
#[derive(Clone, Debug)]
pub enum Time {
    /// The operating system, since this zero.
    Since(Instant),
    /// Whoever moves this number, and then turns the shards: a simulation.
    Told(Arc<AtomicU64>),
}

impl Time {
    /// Milliseconds by now.
    pub fn now(&self) -> Millis {
        Millis(match self {
            Self::Since(zero) => zero.elapsed().as_millis() as u64,
            Self::Told(ms) => ms.load(Ordering::Relaxed),
        })
    }
}

/// Milliseconds that all shards of the process share.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    time: Time,
    now: Millis,
}

impl Clock {
    pub(super) fn new(time: Time) -> Self {
        let mut clock = Self { time, now: Millis(0) };
        clock.read();
        clock
    }

    /// The time of the last [`Clock::read`].
    pub(super) fn now(&self) -> Millis {
        self.now
    }

    /// Asks whoever knows.
    pub(super) fn read(&mut self) {
        self.now = self.time.now();
    }

    /// A time of the process as callbacks see it.
    pub(super) fn at(&self, instant: Instant) -> Millis {
        Millis(match &self.time {
            Time::Since(zero) => instant.saturating_duration_since(*zero).as_millis() as u64,
            Time::Told(_) => {
                self.now.0 + instant.saturating_duration_since(Instant::now()).as_millis() as u64
            }
        })
    }

    /// How long to sleep until `at`; zero when it has come. Exact, since the poll rounds up by itself.
    pub(super) fn until(&self, at: Millis) -> Duration {
        match &self.time {
            Time::Since(zero) => Duration::from_millis(at.0).saturating_sub(zero.elapsed()),
            Time::Told(_) if at <= self.now => Duration::ZERO,
            Time::Told(_) => TOLD_SLEEP,
        }
    }
}

/// The timers of owners: a table per door, as each grows with its own highest index.
#[derive(Debug)]
pub(super) struct OwnerTimers {
    http: Wheel,
    stream: Wheel,
    feed: Wheel,
}

impl OwnerTimers {
    pub(super) fn new(now: Millis) -> Self {
        Self { http: Wheel::new(now.0), stream: Wheel::new(now.0), feed: Wheel::new(now.0) }
    }

    pub(super) fn arm(&mut self, owner: Owner, at: Millis) {
        if owner != Owner::NOBODY {
            self.behind(owner.door()).arm(owner.index(), at.0);
        }
    }

    pub(super) fn disarm(&mut self, owner: Owner) {
        self.behind(owner.door()).disarm(owner.index());
    }

    /// The next owner whose deadline has come; it is disarmed.
    pub(super) fn expire(&mut self, now: Millis) -> Option<Owner> {
        let owner = |door| move |index| Owner::new(door, index);
        let http = self.http.expire(now.0).map(owner(Door::Http));
        let stream = || self.stream.expire(now.0).map(owner(Door::Stream));
        http.or_else(stream).or_else(|| self.feed.expire(now.0).map(owner(Door::Feed)))
    }

    /// When [`OwnerTimers::expire`] is due.
    pub(super) fn next(&self) -> Option<Millis> {
        [self.http.next(), self.stream.next(), self.feed.next()].into_iter().flatten().min().map(Millis)
    }

    fn behind(&mut self, door: Door) -> &mut Wheel {
        match door {
            Door::Http => &mut self.http,
            Door::Stream => &mut self.stream,
            Door::Feed => &mut self.feed,
        }
    }
}

/// Deadlines of connections. An index is given to a connection only while it has one, so that an idle WebSocket, whose
/// heartbeat is its owner's timer, costs nothing here.
#[derive(Debug)]
pub(super) struct Deadlines {
    wheel: Wheel,
    keys: Vec<ConnKey>,
    free: Vec<u32>,
}

impl Deadlines {
    pub(super) fn new(now: Millis) -> Self {
        Self { wheel: Wheel::new(now.0), keys: Vec::new(), free: Vec::new() }
    }

    /// Sets the deadline of a connection whose index so far is `timer`; returns its index from now on.
    pub(super) fn arm(&mut self, conn: ConnKey, timer: u32, at: Millis) -> u32 {
        let timer = if timer == NONE { self.allot(conn) } else { timer };
        self.wheel.arm(timer, at.0);
        timer
    }

    /// Takes an index back.
    pub(super) fn release(&mut self, timer: u32) {
        if timer == NONE {
            return;
        }
        self.wheel.disarm(timer);
        self.free.push(timer);
        if self.free.len() == self.keys.len() {
            (self.keys, self.free) = (Vec::new(), Vec::new());
        }
    }

    /// The next connection whose deadline has come. It keeps its index.
    pub(super) fn expire(&mut self, now: Millis) -> Option<ConnKey> {
        self.wheel.expire(now.0).and_then(|timer| self.keys.get(timer as usize).copied())
    }

    /// When [`Deadlines::expire`] is due.
    pub(super) fn next(&self) -> Option<Millis> {
        self.wheel.next().map(Millis)
    }

    fn allot(&mut self, conn: ConnKey) -> u32 {
        match self.free.pop() {
            Some(timer) => {
                if let Some(key) = self.keys.get_mut(timer as usize) {
                    *key = conn;
                }
                timer
            }
            None => {
                self.keys.push(conn);
                self.keys.len() as u32 - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_each_door_have_timers_of_their_own() {
        let mut timers = OwnerTimers::new(Millis(0));
        let (http, stream) = (Owner::new(Door::Http, 5), Owner::new(Door::Stream, 5));
        assert_eq!((http.door(), http.index()), (Door::Http, 5));
        assert_eq!((stream.door(), stream.index()), (Door::Stream, 5));
        let feed = Owner::new(Door::Feed, 5);
        assert_eq!((feed.door(), feed.index()), (Door::Feed, 5));
        timers.arm(feed, Millis(5));
        assert_eq!((timers.expire(Millis(5)), timers.expire(Millis(5))), (Some(feed), None));
        timers.arm(http, Millis(20));
        timers.arm(stream, Millis(10));
        timers.arm(Owner::NOBODY, Millis(1));
        assert!(timers.next() <= Some(Millis(10)));
        assert_eq!((timers.expire(Millis(10)), timers.expire(Millis(10))), (Some(stream), None));
        timers.arm(stream, Millis(20));
        timers.disarm(http);
        assert_eq!((timers.expire(Millis(20)), timers.expire(Millis(20))), (Some(stream), None));
    }
}
