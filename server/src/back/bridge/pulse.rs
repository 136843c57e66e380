//! Signs of life between a bridge and its two servers.
//!
//! Owns when a side is given up: the broker after one and a half times the keep alive without a word, though the bridge was
//! listening; either side when it takes nothing of what waits for it for so long. What the bridge itself does not read
//! is nobody's silence. Must not know sockets. Start at [`Pulse::look`].

use std::time::{Duration, Instant};

use super::local::PATIENCE;
use super::topics::Side;

/// The times of one link.
#[derive(Debug)]
pub(super) struct Pulse {
    keep_alive: Duration,
    /// From the broker.
    heard: Instant,
    /// To the broker.
    sent: Instant,
    /// A sign of life was asked for.
    asked: Instant,
    /// When each side last took something, or nothing waited for it: this server, the broker.
    took: [Instant; 2],
}

/// How the link is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// What comes from the broker is read.
    pub(super) is_listening: bool,
    /// Something waits for this server; for the broker.
    pub(super) waits: [bool; 2],
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Nothing,
    /// The broker is to be asked for a sign of life.
    Ask,
    /// A side is gone.
    Late(Side),
}

impl Pulse {
    pub(super) fn new(keep_alive: Duration, now: Instant) -> Self {
        Self { keep_alive, heard: now, sent: now, asked: now, took: [now; 2] }
    }

    /// Something came from the broker.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// A side took some of what waited for it.
    pub(super) fn took(&mut self, side: Side, now: Instant) {
        let [local, remote] = &mut self.took;
        match side {
            Side::Local => *local = now,
            Side::Remote => {
                *remote = now;
                self.sent = now;
            }
        }
    }

    /// From time to time, more often than every keep alive.
    pub(super) fn look(&mut self, look: Look, now: Instant) -> Beat {
        let since = |then: Instant| now.saturating_duration_since(then);
        let patience = self.keep_alive + self.keep_alive / 2;
        for ((side, took), waits) in
            [Side::Local, Side::Remote].into_iter().zip(&mut self.took).zip(look.waits)
        {
            // This server may wait for its disk.
            let longest = if side == Side::Local { patience.max(PATIENCE) } else { patience };
            if !waits {
                *took = now;
            } else if since(*took) >= longest {
                return Beat::Late(side);
            }
        }
        if !look.is_listening {
            self.heard = now;
        }
        if since(self.heard) >= patience {
            return Beat::Late(Side::Remote);
        }
        let is_due = since(self.heard.min(self.sent)) >= self.keep_alive;
        if is_due && since(self.asked) >= self.keep_alive / 2 {
            self.asked = now;
            return Beat::Ask;
        }
        Beat::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Look = Look { is_listening: true, waits: [false; 2] };

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_broker_that_says_nothing_is_asked_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Duration::from_secs(10), start);
        assert_eq!(pulse.look(QUIET, at(start, 9)), Beat::Nothing);
        assert_eq!(pulse.look(QUIET, at(start, 10)), Beat::Ask);
        assert_eq!(pulse.look(QUIET, at(start, 11)), Beat::Nothing, "it was asked");
        assert_eq!(pulse.look(QUIET, at(start, 15)), Beat::Late(Side::Remote));
        pulse.heard(at(start, 15));
        assert_eq!(pulse.look(QUIET, at(start, 15)), Beat::Ask, "nothing was sent for so long");
    }

    #[test]
    fn what_the_bridge_does_not_read_is_not_the_brokers_silence() {
        let start = Instant::now();
        let mut pulse = Pulse::new(Duration::from_secs(10), start);
        let deaf = Look { is_listening: false, waits: [false; 2] };
        assert_eq!(pulse.look(deaf, at(start, 14)), Beat::Ask);
        assert_eq!(pulse.look(deaf, at(start, 16)), Beat::Nothing);
        assert_eq!(pulse.look(QUIET, at(start, 30)), Beat::Ask);
        assert_eq!(
            pulse.look(QUIET, at(start, 31)),
            Beat::Late(Side::Remote),
            "now it was heard for 15 seconds"
        );
    }

    #[test]
    fn a_side_that_takes_nothing_is_given_up() {
        let start = Instant::now();
        for (side, waits, seconds) in [(Side::Local, [true, false], 30), (Side::Remote, [false, true], 15)] {
            let mut pulse = Pulse::new(Duration::from_secs(10), start);
            let look = Look { waits, ..QUIET };
            pulse.heard(at(start, seconds));
            assert_ne!(pulse.look(look, at(start, seconds - 1)), Beat::Late(side));
            assert_eq!(pulse.look(look, at(start, seconds)), Beat::Late(side));
            pulse.took(side, at(start, seconds));
            assert_ne!(pulse.look(look, at(start, seconds)), Beat::Late(side));
        }
    }
}
