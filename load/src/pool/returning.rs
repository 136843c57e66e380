//! What a client that comes back needs besides, and the alarms of its loop.
//!
//! Owns when clients are cut and when they return. Must not know sockets' events. Start at [`Alarms`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::gaps::Gaps;
use super::socket::Socket;

/// Beside a [`super::link::Link`], boxed: 64 bytes, only for clients that come back.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// What it has not received.
    pub(super) gaps: Gaps,
    /// Random times drawn so far.
    pub(super) draws: u32,
    /// Numbers that came more than once, in rising order.
    again: Vec<u32>,
    /// The connection of which the server does not know that it is dead.
    pub(super) silent: Option<Socket>,
}

/// What is to happen to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// It is cut, if it is there.
    Cut,
    /// It connects.
    Return,
}

impl Returning {
    /// The number has come once more; whether that is the first time.
    pub(super) fn came_again(&mut self, number: u32) -> bool {
        let place = self.again.binary_search(&number);
        if let Err(place) = place {
            self.again.insert(place, number);
        }
        place.is_err()
    }
}

/// Alarms in the order of their times, milliseconds of the loop.
#[derive(Debug, Default)]
pub(super) struct Alarms(BinaryHeap<Reverse<(u64, usize, What)>>);

impl Alarms {
    /// Link `at` is due then.
    pub(super) fn set(&mut self, due_ms: u64, at: usize, what: What) {
        self.0.push(Reverse((due_ms, at, what)));
    }

    /// The next one whose time has come.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<(usize, What)> {
        let Reverse((due_ms, at, what)) = *self.0.peek()?;
        (due_ms <= now_ms).then(|| {
            self.0.pop();
            (at, what)
        })
    }

    /// Milliseconds until the next one.
    pub(super) fn wait_ms(&self, now_ms: u64) -> Option<u64> {
        self.0.peek().map(|Reverse((due_ms, ..))| due_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_the_order_of_their_times() {
        let mut alarms = Alarms::default();
        alarms.set(30, 1, What::Cut);
        alarms.set(10, 2, What::Cut);
        alarms.set(20, 3, What::Return);
        assert_eq!((alarms.due(9), alarms.wait_ms(9)), (None, Some(1)));
        assert_eq!(alarms.due(25), Some((2, What::Cut)));
        assert_eq!(alarms.due(25), Some((3, What::Return)));
        assert_eq!((alarms.due(25), alarms.wait_ms(40)), (None, Some(0)));
    }

    #[test]
    fn a_number_that_comes_three_times_is_one_that_came_again() {
        let mut returning = Returning::default();
        assert_eq!(
            [7, 3, 7, 7, 3].map(|number| returning.came_again(number)),
            [true, true, false, false, false]
        );
    }

    #[test]
    fn what_comes_back_costs_little() {
        // A stream of mio is larger where debug assertions are on.
        assert!(size_of::<Returning>() <= 80, "{}", size_of::<Returning>());
    }
}
