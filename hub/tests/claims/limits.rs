//! What happens at the limits. Those of `node::limits`.

use crate::script::{Rule, check};

const RULES: &[Rule] = &[
    (
        "a client with an allowance of its own has that instead",
        "wide claims keep=10 window=1
         > wide claimed new
         wide joins x q1
         > wide joined new
         wide lost
         office publishes x 1 q1
         office publishes x 2 q1
         office publishes x 3 q1
         office publishes x 4 q1
         office publishes x 5 q1
         office publishes x 6 q1
         office publishes x 7 q1 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         office publishes x 8 q1 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }",
    ),
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
        "a message of a key takes the place of those of its channel and key that wait, whatever their quality",
        "a claims keep=10 window=1
         > a claimed new
         a joins # q1
         > a joined new
         office publishes x 1 q1 key=tea
         > a x 1 q1 #1
         office publishes x 2 q1 key=tea
         office publishes x 3 q1 key=milk
         office publishes y 4 q1 key=tea
         office publishes x 5 q1
         office publishes x 6 q1 key=tea tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         a done 1
         > a x 3 q1 #3
         a done 3
         > a y 4 q1 #4
         a done 4
         > a x 5 q1 #5
         a done 5
         > a x 6 q1 #6
         a done 6
         a pauses
         office publishes x 7 key=tea
         office publishes x 8 key=tea
         office publishes x 9
         a resumes 9
         > a x 8
         > a x 9",
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
        "a channel's rule may have the oldest go; what others wait for stays, and what is with the client",
        "a claims keep=10 window=1
         > a claimed new
         a joins # q1
         > a joined new
         office publishes last/x 1 q1
         > a last/x 1 q1 #1
         office publishes last/x 2 q1
         office publishes x 3 q1
         office publishes last/x 4 q1
         office publishes last/y 5 q1
         office publishes x 6 q1
         office publishes last/x 7 q1 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         office publishes x 8 q1 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }
         office publishes last/z 9 q1
         a done 1
         > a x 3 q1 #3
         a done 3
         > a last/y 5 q1 #5
         a done 5
         > a x 6 q1 #6
         a done 6
         > a last/x 7 q1 #7
         a done 7
         > a last/z 9 q1 #8",
    ),
    (
        "the oldest goes also where it need not be repeated, but never for what need not be",
        "a claims keep=10 window=1
         > a claimed new
         a joins # q1
         > a joined new
         a pauses
         office publishes last/x 1 q1
         office publishes last/x z1
         office publishes x z2
         office publishes last/x z3
         office publishes last/x z4
         office publishes last/x z5 tell
         > office Counts { delivered: 0, queued: 1, dropped: 0 }
         office publishes last/x 2 q1
         office publishes last/x 3 q1
         a resumes 9
         > a last/x z4
         > a last/x z5
         > a last/x 1 q1 #1",
    ),
    (
        "nothing goes for what does not fit all the same",
        "a claims keep=10
         > a claimed new
         a joins # q1
         > a joined new
         a lost
         office publishes x 12345678901234567890123456789012345678901234567890 q1
         office publishes last/x 1 q1
         office publishes last/x LARGE q1 tell
         > office Counts { delivered: 0, queued: 0, dropped: 1 }
         a claims keep=10
         > a claimed resumed
         > a x 12345678901234567890123456789012345678901234567890 q1 #1
         > a last/x 1 q1 #2",
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
