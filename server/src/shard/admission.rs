//! How many connections there may be: on the node, and of those that have not finished their handshake, on the shard.
//!
//! Must not know what a connection does. Start at [`Seats`].

use super::io::ConnKey;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The connections of the node, counted over all shards: `limits.connections_max`.
#[derive(Debug)]
pub struct Seats {
    taken: AtomicUsize,
    connections_max: usize,
}

impl Seats {
    /// All free.
    #[must_use]
    pub fn new(connections_max: usize) -> Self {
        Self { taken: AtomicUsize::new(0), connections_max }
    }

    /// Takes a seat unless all are taken. Whoever gets one owes a [`Seats::leave`].
    pub fn try_take(&self) -> bool {
        let free = self.taken.fetch_add(1, Ordering::Relaxed) < self.connections_max;
        if !free {
            self.leave();
        }
        free
    }

    /// Gives a seat back.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    /// Seats taken on the whole node.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// The seat of a connection that no shard has: it is given back if no shard takes the connection.
#[derive(Debug)]
pub(super) struct Seat(Option<Arc<Seats>>);

impl Seat {
    pub(super) fn of(seats: &Arc<Seats>) -> Self {
        Self(Some(seats.clone()))
    }

    /// A shard has taken the connection and owes the [`Seats::leave`].
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(seats) = &self.0 {
            seats.leave();
        }
    }
}

/// Connections without a complete head, oldest first: `limits.half_open_max`.
#[derive(Debug, Default)]
pub(super) struct HalfOpen {
    /// May hold connections that are no longer half open; they are dropped when they outnumber the others.
    order: VecDeque<ConnKey>,
}

impl HalfOpen {
    /// Adds the newest.
    pub(super) fn push(&mut self, conn: ConnKey) {
        self.order.push_back(conn);
    }

    /// The oldest that still is half open.
    pub(super) fn pop_oldest(&mut self, still: impl Fn(ConnKey) -> bool) -> Option<ConnKey> {
        std::iter::from_fn(|| self.order.pop_front()).find(|conn| still(*conn))
    }

    /// Forgets what is not half open any more, now and then; `half_open` of them are.
    pub(super) fn tidy(&mut self, half_open: usize, still: impl Fn(ConnKey) -> bool) {
        if self.order.len() > 2 * half_open + 64 {
            self.order.retain(|conn| still(*conn));
            self.order.shrink_to(2 * half_open + 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_that_is_dropped_on_the_way_is_free_again() {
        let seats = Arc::new(Seats::new(1));
        assert!(seats.try_take() && !seats.try_take());
        drop(Seat::of(&seats));
        assert!(seats.try_take());
        Seat::of(&seats).keep();
        assert_eq!((seats.taken(), seats.try_take()), (1, false));
    }
}
