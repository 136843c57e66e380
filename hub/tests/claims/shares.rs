//! Share groups: which of its members gets a message, and what becomes of it when that one goes.

use crate::script::{Rule, check};

const RULES: &[Rule] = &[
    (
        "each message goes to one member, in turn, beside those that subscribed for themselves",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         c claims
         > c claimed new
         a joins x/+ q1 group=g
         > a joined new
         b joins x/+ q1 group=g
         > b joined new
         c joins x/1
         > c joined new
         office publishes x/1 1
         > a x/1 1
         > c x/1 1
         office publishes x/1 2
         > b x/1 2
         > c x/1 2
         office publishes x/1 3
         > a x/1 3
         > c x/1 3",
    ),
    (
        "groups are told apart by name and filter, and one session may be in a group and beside it",
        "a claims
         > a claimed new
         a joins x group=g label=1
         > a joined new
         a joins x group=h label=2
         > a joined new
         a joins # group=g label=3
         > a joined new
         a joins x label=4
         > a joined new
         a parts x group=h
         > a left
         office publishes x hi
         >~ a x hi =4
         >~ a x hi =1
         >~ a x hi =3",
    ),
    (
        "each member has its own quality",
        "a claims
         > a claimed new
         a joins x q1 group=g
         > a joined new
         a joins x q2 group=g
         > a joined
         office publishes x hi q2
         > a x hi q2 #1
         office publishes x hi q1
         > a x hi q1 #2",
    ),
    (
        "a member that is away gets what may wait only when no other can",
        "a claims keep=100
         > a claimed new
         b claims keep=100
         > b claimed new
         a joins x q1 group=g
         > a joined new
         b joins x q1 group=g
         > b joined new
         a lost
         office publishes x 1 q1
         > b x 1 q1 #1
         office publishes x 2 q1
         > b x 2 q1 #2
         b lost
         office publishes x 3 q1
         office publishes x zero
         a claims keep=100
         > a claimed resumed
         > a x 3 q1 #1",
    ),
    (
        "a member with a full window is passed over",
        "a claims window=1
         > a claimed new
         b claims window=2
         > b claimed new
         a joins x q1 group=g
         > a joined new
         b joins x q1 group=g
         > b joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q1
         > b x 2 q1 #1
         office publishes x 3 q1
         > b x 3 q1 #2
         office publishes x 4 q1
         b done 1
         office publishes x 5 q1
         > b x 5 q1 #3
         a done 1
         > a x 4 q1 #2",
    ),
    (
        "a publisher keeps to the member that has its messages",
        "p claims
         > p claimed new
         a claims
         > a claimed new
         b claims
         > b claimed new
         a joins x q2 group=g
         > a joined new
         b joins x q2 group=g
         > b joined new
         p offers x 1 q1
         > a x 1 q1 #1
         > p published
         p offers x 2 q2 as=1
         > a x 2 q2 #2
         > p published
         a done 1
         p offers x 3
         > a x 3
         a received 2
         > a taken #2
         p offers x 4 q1
         > b x 4 q1 #1
         > p published",
    ),
    (
        "what a member did not acknowledge goes to another one when its session ends, unless it was begun exactly once",
        "a claims window=2
         > a claimed new
         a joins x q2 group=g
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q2
         > a x 2 q2 #2
         office publishes x 3 q2
         b claims
         > b claimed new
         b joins x q2 group=g
         > b joined new
         a lost
         > a ended ConnectionFailed
         > b x 1 q1 #1
         > b x 3 q2 #2",
    ),
    (
        "what a member declines goes to nobody",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         a joins x q2 group=g
         > a joined new
         b joins x q2 group=g
         > b joined new
         office publishes x 1 q2
         > a x 1 q2 #1
         a declines 1
         a lost
         > a ended ConnectionFailed",
    ),
    (
        "what is too old is not dealt again",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         a joins x q1 group=g
         > a joined new
         b joins x q1 group=g
         > b joined new
         office publishes x 1 q1 life=10
         > a x 1 q1 #1
         time 10
         a lost
         > a ended ConnectionFailed",
    ),
    (
        "with its last member a group is gone, and what waited with it",
        "a claims keep=10
         > a claimed new
         a joins x q1 group=g
         > a joined new
         a lost
         office publishes x 1 q1
         time 10
         > a ended Expired while away
         b claims
         > b claimed new
         b offers x 2 q1
         > b published to nobody
         b joins x q1 group=g
         > b joined new
         b parts x group=g
         > b left
         b parts x group=g
         > b left nothing
         b offers x 3 q1
         > b published to nobody",
    ),
    (
        "a member that leaves the group finishes what it has",
        "a claims keep=10
         > a claimed new
         a joins x q1 group=g
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         a parts x group=g
         > a left
         office publishes x 2 q1
         a claims
         > a claimed resumed taken over
         > a x 1 q1 #1 again",
    ),
    (
        "a publisher of the group's own may be its member",
        "a claims
         > a claimed new
         a joins x q1 group=g
         > a joined new
         a offers x own q1
         > a x own q1 #1
         > a published",
    ),
];

#[test]
fn a_group_shares_messages() {
    check(RULES);
}
