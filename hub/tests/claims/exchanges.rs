//! Messages of higher quality, both ways.

use crate::script::{Rule, check};

const TO_CLIENTS: &[Rule] = &[
    (
        "a message comes at the lower of what was published and what is granted",
        "a claims
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x zero
         > a x zero
         office publishes x one q1
         > a x one q1 #1
         office publishes x two q2
         > a x two q1 #2
         a joins x
         > a joined
         office publishes x two q2
         > a x two",
    ),
    (
        "the window holds back what comes later, in order; messages without acknowledgement pass",
        "a claims window=2
         > a claimed new
         a joins x q2
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q2
         > a x 2 q2 #2
         office publishes x 3 q1
         office publishes x 4 q2
         office publishes x 5
         > a x 5
         a received 2
         > a taken #2
         a forgot 2
         > a x 3 q1 #3
         a done 1
         > a x 4 q2 #4",
    ),
    (
        "after a lost connection all that is open comes again, under its number and in its order",
        "a claims keep=10
         > a claimed new
         a joins x q2
         > a joined new
         office publishes x 1 q2
         > a x 1 q2 #1
         office publishes x 2 q1
         > a x 2 q1 #2
         office publishes x 3 q2
         > a x 3 q2 #3
         a received 3
         > a taken #3
         a lost
         office publishes x 4 q1
         office publishes x zero
         a claims keep=10
         > a claimed resumed
         > a x 1 q2 #1 again
         > a x 2 q1 #2 again
         > a taken #3
         > a x 4 q1 #4
         a received 1
         > a taken #1
         a received 1
         > a taken #1
         a forgot 1
         a forgot 3
         a done 2
         a done 4
         a lost
         a claims
         > a claimed resumed",
    ),
    (
        "a smaller window after it holds back what comes again, too",
        "a claims keep=10
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q1
         > a x 2 q1 #2
         office publishes x 3 q1
         > a x 3 q1 #3
         a claims keep=10 window=1
         > a claimed resumed taken over
         > a x 1 q1 #1 again
         a done 1
         > a x 2 q1 #2 again
         a done 2
         > a x 3 q1 #3 again",
    ),
    (
        "a step that does not fit its exchange is told, one of no exchange is not",
        "a claims
         > a claimed new
         a joins x q2
         > a joined new
         office publishes x 1 q1
         > a x 1 q1 #1
         office publishes x 2 q2
         > a x 2 q2 #2
         a received 1
         > a misstep
         a forgot 2
         > a misstep
         a done 2
         > a misstep
         a done 9
         a forgot 9
         a received 9
         > a taken #9
         a declines 2
         a received 2
         > a taken #2",
    ),
    (
        "numbers are given anew when the exchange is over, and not before",
        "a claims
         > a claimed new
         a joins x q2
         > a joined new
         office publishes x 1 q2
         > a x 1 q2 #1
         a received 1
         > a taken #1
         office publishes x 2 q2
         > a x 2 q2 #2
         a forgot 1
         office publishes x 3 q2
         > a x 3 q2 #3",
    ),
    (
        "a connection that is busy gets nothing, then as much as it can take",
        "a claims window=2
         > a claimed new
         a joins x q1
         > a joined new
         a pauses
         office publishes x 1
         office publishes x 2 q1
         office publishes x 3 q1
         a resumes 2
         > a x 1
         > a x 2 q1 #1
         > a more
         a done 1
         a resumes 2
         > a x 3 q1 #2
         office publishes x 4 q1
         > a x 4 q1 #3",
    ),
    (
        "what is too old is not begun, but what was begun is finished",
        "a claims keep=100 window=1
         > a claimed new
         a joins x q2
         > a joined new
         office publishes x 1 q1 life=5
         > a x 1 q1 #1
         office publishes x 2 q2 life=5
         office publishes x 3 q1 life=50
         office publishes x now q1 life=0
         a pauses
         office publishes x zero life=5
         time 5
         a resumes 9
         a lost
         a claims keep=100 window=1
         > a claimed resumed
         > a x 1 q1 #1 again
         a done 1
         > a x 3 q1 #3",
    ),
    (
        "a message whose life is over at once still comes to who can take it",
        "a claims
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x now q1 life=0
         > a x now q1 #1",
    ),
    (
        "messages that name a session come at the quality they have, also beside channels it is not in",
        "a claims keep=10
         > a claimed new
         b claims
         > b claimed new
         b joins y
         > b joined new
         office publishes $client/a hi q2
         > a $client hi q2 #1
         office publishes y,$client/a hi q1
         > a $client hi q1 #2
         > b y hi
         office publishes y,x hi q1
         > b y hi
         a lost
         office publishes $client/a later q1
         a claims
         > a claimed resumed
         > a $client hi q2 #1 again
         > a $client hi q1 #2 again
         > a $client later q1 #3",
    ),
    (
        "a volatile message does not wait",
        "a claims keep=10 window=1
         > a claimed new
         a joins x q1
         > a joined new
         office publishes x 1 q1 volatile
         > a x 1 q1 #1
         office publishes x 2 q1 volatile
         a done 1
         a pauses
         office publishes x 3 volatile
         a resumes 1",
    ),
];

const FROM_CLIENTS: &[Rule] = &[
    (
        "the publisher hears when the message is where it is needed: behind what it gets of it, in two steps before",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         a joins # q2
         > a joined new
         b joins x/1 q1
         > b joined new
         a offers x/1 hi q1
         > a x/1 hi q1 #1
         > a published
         > b x/1 hi q1 #1
         a offers x/2 zero
         > a x/2 zero
         b offers x/1 two q2 as=7
         > a x/1 two q2 #2
         > b published
         > b x/1 two q1 #2",
    ),
    (
        "it hears when nobody needs it",
        "a claims
         > a claimed new
         a offers x hi q1
         > a published to nobody
         a offers kept/x hi q1
         > a published to nobody
         a offers r hi q2 as=1 retain
         > a published to nobody",
    ),
    (
        "under a number a message is taken once, until the number is forgotten, also over connections",
        "a claims keep=10
         > a claimed new
         b claims
         > b claimed new
         b joins x q1
         > b joined new
         a offers x one q2 as=5
         > a published
         > b x one q1 #1
         a offers x one q2 as=5
         > a repeated
         a lost
         a claims keep=10
         > a claimed resumed
         a offers x one q2 as=5
         > a repeated
         a forgets 5
         > a forgotten
         a forgets 5
         > a refused NotFound
         a offers x two q2 as=5
         > a published
         > b x two q1 #2",
    ),
    (
        "a message that is refused frees its number",
        "a claims
         > a claimed new
         b claims
         > b claimed new
         b joins r/1 q1
         > b joined new
         a offers r/1 big q2 as=5 retain
         > a published
         > b r/1 big q1 #1
         a offers r/1 LARGE q2 as=6 retain
         > a refused OverLimit
         a offers x small q2 as=6
         > a published to nobody",
    ),
];

#[test]
fn clients_get_messages_by_their_quality() {
    check(TO_CLIENTS);
}

#[test]
fn clients_publish_by_their_quality() {
    check(FROM_CLIENTS);
}
