//! Whether requests may leave now: after failures in a row one at a time tries whether the back end is there again.
//!
//! ```text
//!            failures_max in a row              its time has come
//! [Closed] ------------------------> [Open] ----------------------> [Trying]
//!    ^ ^-------- a success ------------'  ^------- a failure ----------' |
//!    '------------------------------------------ a success --------------'
//! ```
//!
//! From anywhere it is `Held` where the back end asks to be left alone: like `Open`, but a success of a request that left before
//! changes nothing.
//!
//! Must not know requests. Start at [`Breaker::permit`].

use std::time::Duration;

use tokio::time::Instant;

/// A breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    /// In a row.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    Held { until: Instant },
    Trying,
}

/// Whether a request may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// It may.
    Go,
    /// None before then.
    NotBefore(Instant),
    /// One is on its way that will tell.
    Wait,
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, failures: 0, state: State::Closed }
    }

    /// Whether it lets everybody through.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Asked for each request that is about to leave; whoever may go has to tell what came of it.
    pub(super) fn permit(&mut self, now: Instant) -> Permit {
        match self.state {
            State::Closed => Permit::Go,
            State::Open { until } | State::Held { until } if now < until => Permit::NotBefore(until),
            State::Open { .. } | State::Held { .. } => {
                self.state = State::Trying;
                Permit::Go
            }
            State::Trying => Permit::Wait,
        }
    }

    /// The back end answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        if !matches!(self.state, State::Held { .. }) {
            self.state = State::Closed;
        }
    }

    /// It did not, or that it is in trouble.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let is_over = match self.state {
            State::Closed => self.failures >= self.failures_max,
            State::Trying => true,
            // Requests that left before.
            State::Open { .. } | State::Held { .. } => false,
        };
        if is_over {
            self.state = State::Open { until: now + self.pause };
        }
    }

    /// Nobody waits any more for what was on its way: that tells nothing.
    pub(super) fn abandoned(&mut self, now: Instant) {
        if self.state == State::Trying {
            self.state = State::Open { until: now };
        }
    }

    /// The back end wants to be left alone until then.
    pub(super) fn hold_until(&mut self, until: Instant) {
        let until = match self.state {
            State::Open { until: other } | State::Held { until: other } => until.max(other),
            State::Closed | State::Trying => until,
        };
        self.state = State::Held { until };
    }

    /// Somebody knows better: the next request tries.
    pub(super) fn release(&mut self, now: Instant) {
        if let State::Open { until } | State::Held { until } = &mut self.state {
            *until = now.min(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(1);

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_at_a_time_try() {
        let (mut breaker, start) = (Breaker::new(3, PAUSE), Instant::now());
        breaker.failed(start);
        breaker.failed(start);
        breaker.succeeded();
        breaker.failed(start);
        breaker.failed(start);
        assert_eq!(breaker.permit(start), Permit::Go);
        breaker.failed(start);
        assert_eq!(breaker.permit(start), Permit::NotBefore(start + PAUSE));
        breaker.failed(start + PAUSE / 2);
        assert_eq!(breaker.permit(start + PAUSE), Permit::Go, "those that left before do not prolong it");
        assert_eq!(breaker.permit(start + PAUSE), Permit::Wait);
        breaker.failed(start + PAUSE);
        assert_eq!(breaker.permit(start + PAUSE), Permit::NotBefore(start + PAUSE * 2));
        assert_eq!(breaker.permit(start + PAUSE * 2), Permit::Go);
        breaker.abandoned(start + PAUSE * 2);
        assert_eq!(breaker.permit(start + PAUSE * 2), Permit::Go, "another one tries");
        breaker.succeeded();
        assert!(breaker.is_closed());
        breaker.failed(start);
        assert!(breaker.is_closed(), "counting starts anew");
    }

    #[test]
    fn who_asks_to_be_left_alone_is() {
        let (mut breaker, start) = (Breaker::new(3, PAUSE), Instant::now());
        breaker.hold_until(start + PAUSE * 9);
        breaker.hold_until(start + PAUSE);
        assert_eq!(breaker.permit(start + PAUSE * 5), Permit::NotBefore(start + PAUSE * 9));
        breaker.release(start + PAUSE * 5);
        assert_eq!(breaker.permit(start + PAUSE * 5), Permit::Go, "an operator knows better");
        breaker.release(start + PAUSE * 5);
        assert_eq!(breaker.permit(start + PAUSE * 5), Permit::Wait, "one at a time");
    }

    #[test]
    fn a_request_that_left_before_does_not_end_what_the_back_end_asked_for() {
        let (mut breaker, start) = (Breaker::new(1, PAUSE), Instant::now());
        breaker.failed(start);
        breaker.hold_until(start + PAUSE / 2);
        breaker.succeeded();
        assert_eq!(breaker.permit(start), Permit::NotBefore(start + PAUSE));
        breaker.hold_until(start + PAUSE * 9);
        breaker.succeeded();
        assert_eq!(breaker.permit(start + PAUSE * 5), Permit::NotBefore(start + PAUSE * 9));
        assert_eq!(breaker.permit(start + PAUSE * 9), Permit::Go);
        breaker.succeeded();
        assert!(breaker.is_closed(), "it was asked after that time");
    }
}
