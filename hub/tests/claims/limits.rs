//! What happens at the limits. Those of `node::limits`.

use crate::script::{Rule, check};

const RULES: &[Rule] = &[
    (
        "a full outbox takes nothing more; what was counted is told",
        "a claims keep=10 window=1
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q1
         office publishes x 3 q1
         office publishes x 4 q1
         office publishes x 5 q1
         office publishes x 6 q1 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         office publishes x 7 q1 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }
         a done 1
         > a x 2 q1 #2
         office publishes x 8 q1 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }",
    ),
    (
        "what need not be repeated goes first",
        "a claims keep=10 window=1
         > a claimed new
         a joins x q1
         > a joined new
         a pauses
         office publishes x z1
         office publishes x z2
         office publishes x 1 q1
         office publishes x z3
         office publishes x z4
         office publishes x z5 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }
         office publishes x 2 q1
         office publishes x 3 q1
         a resumes 9
         > a x z3
         > a x z4
         > a x 1 q1 #1",
    ),
    (
        "bytes are bounded, too, but one message may be larger alone",
        "a claims keep=10
         > a claimed new
         a joins x q1
         > a joined new
         a lost
         office publishes x LARGE q1 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         office publishes x 1 q1 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }",
    ),
    (
        "subscriptions are bounded, shared ones among them",
        "a claims
         > a claimed new
         a joins 1
         > a joined new
         a joins 2
         > a joined new
         a joins 3 group=g
         > a joined new
         a joins 4 group=g
         > a joined new
         a joins 5
         > a joined new
         a joins 6 group=g
         > a joined new
         a joins 7
         > a refused OverLimit
         a joins 7 group=g
         > a refused OverLimit
         a joins 3 group=g
         > a joined
         a joins 5
         > a joined
         office subscribes a 7
         > office Refused(OverLimit)",
    ),
    (
        "a value too much is refused and not delivered, the old one stays",
        "a claims
         > a claimed new
         a joins r
         > a joined new
         office publishes r v retain
         > a r v
         office publishes r LARGE retain tell
         > office Refused(OverLimit)
         a joins r
         > a joined
         > a r v retained
         office publishes kept/r LARGE retain tell
         > office Refused(OverLimit)",
    ),
];

#[test]
fn limits_hold() {
    check(RULES);
}
