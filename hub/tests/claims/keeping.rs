//! Which session a client gets: new, kept, taken over; and when one is over.

use crate::node::Node;
use crate::script::{Rule, check, run};
use hub::{ChannelName, claim_home};

const RULES: &[Rule] = &[
    (
        "a session without a time to be kept ends with its connection",
        "a claims
         > a claimed new
         a lost
         > a ended ConnectionFailed
         a claims keep=10
         > a claimed new",
    ),
    (
        "a kept session is resumed with its subscriptions until its time is over, and not a moment longer",
        "a claims keep=10
         > a claimed new
         a joins x/+ q1
         > a joined new
         a lost
         time 9
         a claims keep=10
         > a claimed resumed
         office publishes x/1 hi q1
         > a x/1 hi q1 #1
         a done 1
         a lost
         time 10
         > a ended Expired while away
         office publishes x/1 hi q1
         a claims keep=10
         > a claimed new",
    ),
    (
        "for ever is for ever",
        "a claims keep=ever
         > a claimed new
         a lost
         time 4000000000000
         a claims keep=ever
         > a claimed resumed",
    ),
    (
        "a fresh claim ends what there was, connected or not",
        "a claims keep=10
         > a claimed new
         a joins x q1
         > a joined new
         a lost
         a claims fresh keep=10
         > a ended TakenOver while away
         > a claimed new
         a claims fresh
         > a ended TakenOver
         > a claimed new
         office publishes x hi q1",
    ),
    (
        "who takes a kept session over displaces its connection, one that is not kept ends",
        "a claims keep=10
         > a claimed new
         a claims
         > a claimed resumed taken over
         a claims
         > a ended TakenOver
         > a claimed new",
    ),
    (
        "the time is what was amended last",
        "a claims keep=10
         > a claimed new
         a amends keep=100
         a lost
         time 99
         a claims keep=10
         > a claimed resumed
         a amends keep=0
         a lost
         > a ended ConnectionFailed",
    ),
    (
        "a session amended to end with its connection is not taken over",
        "a claims keep=10
         > a claimed new
         a amends keep=0
         a claims keep=10
         > a ended TakenOver
         > a claimed new",
    ),
    (
        "a session goes on for its own user only, and messages to the user find it",
        "a claims keep=10 user=bob
         > a claimed new
         office publishes $user/bob hi q2
         > a $user/bob hi q2 #1
         a received 1
         > a taken #1
         a lost
         a claims keep=10 user=bob
         > a claimed resumed
         > a taken #1
         a forgot 1
         a lost
         a claims keep=10 user=eve
         > a ended TakenOver while away
         > a claimed new
         office publishes $user/bob hi q2
         office publishes $user/eve hi q1
         > a $user/eve hi q1 #1",
    ),
    (
        "names are of one session each",
        "a claims keep=10
         > a claimed new
         b claims keep=10
         > b claimed new
         b lost
         a claims keep=10
         > a claimed resumed taken over
         b claims
         > b claimed resumed",
    ),
    (
        "the back end ends sessions and closes connections",
        "a claims keep=10
         > a claimed new
         office disconnects a
         > a close Disconnected
         > office 1 sessions
         a joins x q1
         > a joined new
         office publishes x waits q1
         office publishes x lost
         a lost
         a claims keep=10
         > a claimed resumed
         > a x waits q1 #1
         office kicks a
         > a ended Kicked
         > office 1 sessions
         a claims keep=10
         > a claimed new",
    ),
];

#[test]
fn sessions_are_kept_and_taken_over() {
    check(RULES);
}

/// The answer comes from another shard, so it can come late.
#[test]
fn a_request_of_an_earlier_connection_is_not_answered_on_the_next_one() {
    let mut node = Node::new(2);
    let home = usize::from(claim_home("a", &node.topology).0);
    let is_far = |name: &String| ChannelName::parse(name, 9).unwrap().home(&node.topology).0 as usize != home;
    let far = (0..99).map(|n| format!("x{n}")).find(is_far).unwrap();
    let script = format!(
        "a claims keep=10
         > a claimed new
         hold
         a joins {far} q1
         a offers {far} one q1
         a offers {far} two q2 as=7
         a claims keep=10
         > a claimed resumed taken over
         a offers {far} two q2 as=7
         a offers {far} three q1
         flow
         > a {far} one q1 #1
         > a repeated
         > a {far} two q1 #2
         > a {far} three q1 #3
         > a published"
    );
    run(&mut node, "late answers", &script);
    node.close();
}
