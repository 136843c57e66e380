//! What clients do when their connection is lost: whether they come back, when, and who cuts them.
//!
//! Plain data that scenarios fill in and event loops follow. Random times follow from the seed, the client and how often
//! it has drawn before, so a run can be repeated on any number of loops. Start at [`Comeback`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pool::{Counts, Findings};
use crate::report::Report;

/// Clients come back after each loss, for as long as the run lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Comeback {
    /// Whether they ask for what they missed.
    pub(crate) recovery: Recovery,
    /// How long they stay away after a loss, and after each attempt that was refused.
    pub(crate) away: Span,
    /// Where random times begin.
    pub(crate) seed: u64,
}

/// Whether clients ask for connection state recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recovery {
    /// They begin anew after every loss.
    Off,
    /// They name the session they had and the last offset they saw.
    On,
}

impl Recovery {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
        }
    }
}

/// What a server owes clients that were away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Nothing of what was published meanwhile.
    Nothing,
    /// All of it, and no matter how often.
    Everything,
    /// All of it, once.
    EverythingOnce,
}

impl Promise {
    /// Says in a report where it was broken: of `expected` deliveries so many are missing, of so many clients.
    pub(crate) fn judge(self, counts: &Counts, (expected, findings): (u64, &Findings), report: &mut Report) {
        let (lost, clients) = (findings.skipped + findings.behind, findings.clients_incomplete);
        match (self, lost, counts.twice()) {
            (Self::Nothing, 1.., _) => {
                report.note("a client misses what is published while it is away: at most once");
            }
            (_, 1.., _) => {
                report.failure(format!("{lost} of {expected} deliveries are missing, of {clients} clients"));
            }
            (Self::Everything, _, 1..) => report.note("QoS 1 may deliver a message again: at least once"),
            _ => {}
        }
        if counts.twice() > 0 && self != Self::Everything {
            report.failure(format!("{} messages were delivered twice", counts.twice()));
        }
        if counts.late > 0 {
            report.failure(format!("{} messages were out of order", counts.late));
        }
    }
}

/// When and how the generator cuts its own clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CutPlan {
    /// From the beginning to the first cut of a client.
    pub(crate) first: Span,
    /// From one cut of a client to its next.
    pub(crate) every: Span,
    /// How.
    pub(crate) how: Cut,
}

/// How a connection is destroyed. In none of them the client says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// The socket is closed: a FIN in the middle of whatever was under way.
    Close,
    /// A RST; what was not sent yet is thrown away.
    Reset,
    /// By turns at random one of the two above.
    Mixed,
    /// The client falls silent and comes back over a new connection, while for the server the old one is still there.
    Silent,
}

impl Cut {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Reset => "reset",
            Self::Mixed => "mixed",
            Self::Silent => "silent",
        }
    }
}

/// A time between two bounds, each included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    min_ms: u64,
    max_ms: u64,
}

impl Span {
    /// `None` if the second is below the first.
    pub fn new(min: Duration, max: Duration) -> Option<Self> {
        let (min_ms, max_ms) = (min.as_millis() as u64, max.as_millis() as u64);
        (min_ms <= max_ms).then_some(Self { min_ms, max_ms })
    }

    /// Whether it is always 0 ms: what happens again after that would happen all the time.
    pub(crate) fn is_nothing(&self) -> bool {
        self.max_ms == 0
    }

    /// Whichever of its milliseconds `draw` says.
    pub(crate) fn pick_ms(self, mut draw: fastrand::Rng) -> u64 {
        draw.u64(self.min_ms..=self.max_ms)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ms..{}ms", self.min_ms, self.max_ms)
    }
}

/// The `draw`th random source of client `index`.
pub(crate) fn draw(seed: u64, index: u32, draw: u32) -> fastrand::Rng {
    let mut of_run = fastrand::Rng::with_seed(seed);
    fastrand::Rng::with_seed(of_run.u64(..) ^ (u64::from(index) << 32 | u64::from(draw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_within_their_bounds_and_repeat_with_the_seed() {
        let span = Span::new(Duration::from_secs(5), Duration::from_secs(20)).unwrap();
        let times = |seed| -> Vec<u64> { (0..1000).map(|n| span.pick_ms(draw(seed, n, 3))).collect() };
        let (ours, other) = (times(1), times(2));
        assert_eq!(ours, times(1));
        assert_ne!(ours, other);
        assert!(ours.iter().all(|ms| (5000..=20_000).contains(ms)));
        let mean = ours.iter().sum::<u64>() / 1000;
        assert!((11_500..13_500).contains(&mean), "clients next to each other are not cut together: {mean}");
        assert_eq!(Span::new(Duration::from_secs(2), Duration::from_secs(1)), None);
    }
}
