//! What the product may cost: one constant for each figure, and what to do about it.
//!
//! A figure above its bound is a regression until somebody says that it is worth its price: then the bound is raised to
//! the new figure and the usual headroom, in the commit that makes it necessary, whose message gives the reason and both
//! figures. A figure far below its bound fails as well: the bound has to follow an improvement down, or the next
//! regression hides in the gap. `cargo xtask test counts` prints the figures.
//!
//! Headroom: instructions repeat to three parts in a thousand on one machine, but compilers and the C library's choice
//! of routines for a processor differ, so 5 %. Resident bytes carry what allocator and kernel happen to leave: the median
//! of three varied by an eighth around its middle for WebSocket sessions, so 25 %, and by a fiftieth for polling ones, so
//! 12 %. Write calls are exact but for the odd heartbeat.

/// A count below this part of its bound has improved so much that the bound must follow.
const COUNTS_FROM: f64 = 0.7;

/// The same for resident memory, which varies more.
const RESIDENT_FROM: f64 = 0.6;

/// One figure and the most it may be.
pub(super) struct Bound {
    /// What is counted, unit first.
    pub(super) figure: &'static str,
    pub(super) at_most: f64,
    /// The part of it that must be reached.
    from: f64,
}

/// The path of a message that comes alone: read, routed, encoded once, staged, one write for each subscriber.
pub(super) const INSTRUCTIONS_ONE: Bound =
    Bound { figure: "instructions per delivery, one message", at_most: 690.0, from: COUNTS_FROM };

/// One system call for each connection.
pub(super) const WRITES_ONE: Bound =
    Bound { figure: "writes per delivery, one message", at_most: 1.001, from: COUNTS_FROM };

/// The path of messages that come together and leave together, so the system calls hardly count.
pub(super) const INSTRUCTIONS_BATCH: Bound =
    Bound { figure: "instructions per delivery, 32 messages together", at_most: 262.0, from: COUNTS_FROM };

/// One system call for each connection and 32 messages.
pub(super) const WRITES_BATCH: Bound =
    Bound { figure: "writes per delivery, 32 messages together", at_most: 1.001 / 32.0, from: COUNTS_FROM };

/// A WebSocket session in one room besides its namespace. What the product promises is 800 at 15,000 sessions; this
/// bound is about what it needs.
pub(super) const BYTES_WEBSOCKET: Bound =
    Bound { figure: "resident bytes per idle session, WebSocket", at_most: 540.0, from: RESIDENT_FROM };

/// The same for a session that polls, between two polls.
pub(super) const BYTES_POLLING: Bound =
    Bound { figure: "resident bytes per idle session, polling", at_most: 660.0, from: RESIDENT_FROM };

impl Bound {
    /// What is wrong with a measured figure.
    pub(super) fn judge(&self, measured: f64) -> Result<(), String> {
        let lowest = self.at_most * self.from;
        if (lowest..=self.at_most).contains(&measured) {
            return Ok(());
        }
        if measured < lowest {
            return Err(format!("better than {lowest:.3}: lower the bound, see budgets/bounds.rs"));
        }
        Err("a regression, or a price to be agreed on: see budgets/bounds.rs".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_fails_above_itself_far_below_itself_and_without_a_figure() {
        let bound = Bound { figure: "instructions", at_most: 100.0, from: 0.7 };
        for good in [70.0, 99.0, 100.0] {
            assert_eq!(bound.judge(good), Ok(()), "{good}");
        }
        assert!(bound.judge(100.1).unwrap_err().contains("regression"));
        assert!(bound.judge(69.9).unwrap_err().contains("lower the bound"));
        assert!(bound.judge(f64::NAN).is_err());
    }
}
