//! What a client leaves to be published.

use crate::script::{Rule, check};

const RULES: &[Rule] = &[
    (
        "a will is published when the connection ends without a goodbye, once",
        "w claims
         > w claimed new
         w joins will q1
         > w joined new
         a claims keep=10 will=will:gone q1
         > a claimed new
         a lost
         > w will gone q1 #1
         time 10
         > a ended Expired while away",
    ),
    (
        "not after a goodbye",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims will=will:gone
         > a claimed new
         a bye
         > a ended ClientLeft
         a claims keep=10 will=will:gone
         > a claimed new
         a bye
         time 10
         > a ended Expired while away",
    ),
    (
        "with every other end, kicked or not kept",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims will=will:gone
         > a claimed new
         a lost
         > a ended ConnectionFailed
         > w will gone
         a claims keep=10 will=will:kicked delay=5
         > a claimed new
         office kicks a
         > a ended Kicked
         > office 1 sessions
         > w will kicked",
    ),
    (
        "after its delay, to the millisecond, unless the client is back by then",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims keep=100 will=will:late delay=30
         > a claimed new
         a lost
         time 29
         a claims keep=100 will=will:later delay=30
         > a claimed resumed
         time 50
         a lost
         time 29
         time 1
         > w will later
         a claims keep=100
         > a claimed resumed
         a lost
         time 100
         > a ended Expired while away",
    ),
    (
        "no later than the session ends",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims keep=20 will=will:late delay=30
         > a claimed new
         a lost
         time 19
         time 1
         > a ended Expired while away
         > w will late
         time 100",
    ),
    (
        "of a session that is amended not to be kept: at once",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims keep=20 will=will:now delay=30
         > a claimed new
         a amends keep=0
         a lost
         > a ended ConnectionFailed
         > w will now",
    ),
    (
        "a take-over publishes it, unless the session goes on and the will waits",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims keep=10 will=will:one
         > a claimed new
         a claims keep=10 will=will:two delay=5
         > a claimed resumed taken over
         > w will one
         a claims keep=10 will=will:three delay=5
         > a claimed resumed taken over
         a claims fresh keep=10 will=will:four delay=5
         > a ended TakenOver
         > a claimed new
         > w will three
         a amends keep=0
         a claims keep=10
         > a ended TakenOver
         > a claimed new
         > w will four
         time 100",
    ),
    (
        "a fresh claim does not wait for the delay",
        "w claims
         > w claimed new
         w joins will
         > w joined new
         a claims keep=100 will=will:gone delay=50
         > a claimed new
         a lost
         a claims fresh
         > a ended TakenOver while away
         > a claimed new
         > w will gone
         time 100",
    ),
    (
        "the session that is kept gets its own will, one that ends does not",
        "a claims keep=10 will=will:kept q1
         > a claimed new
         a joins will q1
         > a joined new
         a lost
         a claims keep=10 will=will:ends q1
         > a claimed resumed
         > a will kept q1 #1
         office kicks a
         > a ended Kicked
         > office 1 sessions
         a claims keep=10 will=will:over q1
         > a claimed new
         a joins will q1
         > a joined new
         a claims keep=10
         > a claimed resumed taken over
         > a will over q1 #1",
    ),
    (
        "its life begins when it is published, and it may be retained",
        "a claims keep=1000 will=will:gone delay=100 life=50 retain
         > a claimed new
         a lost
         time 100
         time 49
         w claims
         > w claimed new
         w joins will
         > w joined new
         > w will gone retained
         time 1
         w joins will
         > w joined",
    ),
];

#[test]
fn wills_are_published_once_and_in_time() {
    check(RULES);
}
