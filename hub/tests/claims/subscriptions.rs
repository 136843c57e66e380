//! Subscriptions with options, several at once, and those that the back end makes.

use crate::script::{Rule, check};

const RULES: &[Rule] = &[
    (
        "by several subscriptions one copy comes, at the best of them, with the labels of all",
        "a claims
         > a claimed new
         a joins x/1 label=1
         > a joined new
         a joins x/# q2 label=2
         > a joined new
         a joins +/1 q1 label=2
         > a joined new
         office publishes x/1 hi q1
         > a x/1 hi q1 #1 =1 =2 =2",
    ),
    (
        "the same filter again replaces the options and loses nothing",
        "a claims
         > a claimed new
         a joins x q1 label=1
         > a joined new
         a joins x q2 label=3
         > a joined
         office publishes x hi q2
         > a x hi q2 #1 =3
         a parts x
         > a left
         a parts x
         > a left nothing
         office publishes x hi q2",
    ),
    (
        "a subscription is left by the very text it was made with",
        "a claims
         > a claimed new
         a joins x/+ q1
         > a joined new
         a parts x/#
         > a left nothing
         a parts x/+ group=g
         > a left nothing
         office publishes x/1 hi
         > a x/1 hi
         a parts x/+
         > a left",
    ),
    (
        "leaving one keeps the options of the others",
        "a claims
         > a claimed new
         a joins x q1 label=1
         > a joined new
         a joins y q2 label=2
         > a joined new
         a joins z label=3
         > a joined new
         a parts x
         > a left
         office publishes y hi q2
         > a y hi q2 #1 =2
         office publishes z hi q2
         > a z hi =3",
    ),
    (
        "not its own, if so asked, unless another subscription wants it",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         a joins x/# q1 skip_own label=1
         > a joined new
         a offers x/1 own q1
         > a published
         b offers x/1 other q1
         > a x/1 other q1 #1 =1
         > b published
         a joins x/1 label=2
         > a joined new
         a offers x/1 own q1
         > a x/1 own =2
         > a published",
    ),
    (
        "what is published to be retained is told as such to who wants to know",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         a joins r keep_retain
         > a joined new
         a joins #
         > a joined new
         b joins r
         > b joined new
         office publishes r v retain
         > a r v retained
         > b r v
         office publishes r w
         > a r w
         > b r w",
    ),
    (
        "messages on their way are not taken back when the subscription ends",
        "a claims keep=10
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x hi q1
         > a x hi q1 #1
         a parts x
         > a left
         a claims
         > a claimed resumed taken over
         > a x hi q1 #1 again",
    ),
    (
        "wildcards at the front do not match names that begin with $",
        "a claims
         > a claimed new
         a joins #
         > a joined new
         a joins $r/#
         > a joined new
         office publishes $r/1 hi
         > a $r/1 hi
         office publishes $x/1 hi",
    ),
    (
        "filters that are none, or nobody's to have",
        "a claims
         > a claimed new
         a joins x/#/y
         > a refused InvalidFilter
         a joins $user/bob
         > a refused ReservedChannel
         a joins $client/x group=g
         > a refused ReservedChannel
         a joins 0123456789012345678901234567890123456789x
         > a refused InvalidChannel",
    ),
    (
        "the back end subscribes claimed sessions for every quality, and leaves the client's own options",
        "a claims keep=10
         > a claimed new
         a joins y q1 label=1
         > a joined new
         office subscribes a x
         > office 1 sessions
         office subscribes a y
         > office 1 sessions
         office publishes x hi q2
         > a x hi q2 #1
         office publishes y hi q2
         > a y hi q1 #2 =1
         a lost
         office unsubscribes a y
         > office 1 sessions
         office publishes y hi q2
         office publishes x hi q1
         a claims
         > a claimed resumed
         > a x hi q2 #1 again
         > a y hi q1 #2 again =1
         > a x hi q1 #3
         a parts x
         > a left",
    ),
];

#[test]
fn subscriptions_serve_as_their_options_say() {
    check(RULES);
}
