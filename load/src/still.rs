//! For how long something has been the same: what every wait with patience asks.
//!
//! Must not know what is waited for. Start at [`Still::look`].

use std::time::{Duration, Instant};

/// A value, and since when it has been that.
#[derive(Debug)]
pub(crate) struct Still<T> {
    last: T,
    since: Instant,
}

impl<T: PartialEq> Still<T> {
    /// From now on.
    pub(crate) fn new(first: T) -> Self {
        Self { last: first, since: Instant::now() }
    }

    /// How long it has been what it is now.
    pub(crate) fn look(&mut self, now: T) -> Duration {
        if now != self.last {
            *self = Self::new(now);
        }
        self.since.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_begins_anew() {
        let mut still = Still::new(1);
        still.since = Instant::now() - Duration::from_secs(60);
        assert!(still.look(1) >= Duration::from_secs(60));
        assert!(still.look(2) < Duration::from_secs(60));
        assert!(still.look(1) < Duration::from_secs(60), "back to what it was is a change, too");
    }
}
