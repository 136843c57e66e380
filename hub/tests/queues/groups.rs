//! FIFO queues: order within groups, independence of groups, what a group is held up by, repeated attempts.

use crate::node::{Got, Node, fifo, receive};
use hub::queue::{QueueRefusal, Receive, Settings};

fn of(node: &mut Node, all: &[(&str, &str)]) {
    all.iter().for_each(|(group, body)| _ = node.post_to("q", group, body));
}

fn texts(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.body.as_str()).collect()
}

#[test]
fn a_receive_takes_what_it_can_of_one_group_and_then_of_others() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1"), ("h", "h1"), ("g", "g2"), ("h", "h2"), ("g", "g3")]);
    assert_eq!(node.bodies("q", 4), ["g1", "g2", "g3", "h1"]);
    assert_eq!(node.bodies("q", 10), [""; 0], "both groups are held up");
}

#[test]
fn a_group_goes_on_when_the_last_message_in_flight_is_settled() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1"), ("g", "g2"), ("g", "g3")]);
    let got = node.receive("q", 2);
    for got in &got {
        assert_eq!(node.bodies("q", 10), [""; 0]);
        node.settle("q", got.receipt).expect("settled");
    }
    assert_eq!(node.bodies("q", 10), ["g3"]);
}

#[test]
fn a_group_goes_on_in_order_when_a_deadline_has_come() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..fifo() });
    of(&mut node, &[("g", "g1"), ("g", "g2"), ("g", "g3")]);
    assert_eq!(node.bodies("q", 2), ["g1", "g2"]);
    node.pass(1000);
    assert_eq!(node.bodies("q", 10), ["g1", "g2", "g3"]);
}

#[test]
fn what_comes_back_early_is_received_again_at_once_if_nothing_older_is_in_flight() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1"), ("g", "g2"), ("g", "g3"), ("g", "g4")]);
    let got = node.receive("q", 3);
    node.hold("q", got[1].receipt, 0).expect("visible");
    assert_eq!(node.bodies("q", 10), [""; 0], "g1 is older and in flight");
    node.hold("q", got[0].receipt, 0).expect("visible");
    let again = node.receive("q", 10);
    assert_eq!(texts(&again), ["g1", "g2"], "not g4, since g3 is in flight");
    node.settle("q", again[0].receipt).expect("settled");
    node.hold("q", again[1].receipt, 0).expect("visible");
    assert_eq!(node.bodies("q", 10), ["g2"]);
}

#[test]
fn groups_are_independent_and_the_one_with_the_oldest_message_is_first() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1"), ("h", "h1"), ("i", "i1"), ("g", "g2")]);
    let first = node.receive("q", 1);
    assert_eq!(texts(&first), ["g1"]);
    let second = node.receive("q", 1);
    assert_eq!(texts(&second), ["h1"]);
    node.settle("q", first[0].receipt).expect("settled");
    assert_eq!(node.bodies("q", 10), ["i1", "g2"]);
}

#[test]
fn messages_in_a_held_up_group_count_as_visible() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1"), ("g", "g2"), ("g", "g3")]);
    node.receive("q", 1);
    assert_eq!(node.counts("q"), (2, 1, 0));
}

#[test]
fn an_attempt_again_gives_the_same_messages_and_receipts_for_a_new_time() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..fifo() });
    of(&mut node, &[("g", "g1"), ("g", "g2"), ("h", "h1")]);
    let attempt = || Receive { max: 2, attempt: Some("x".into()), ..receive("q") };
    let first = node.try_receive(attempt()).expect("messages");
    node.pass(900);
    let again = node.try_receive(attempt()).expect("messages");
    assert_eq!(texts(&again), ["g1", "g2"]);
    assert!(first.iter().zip(&again).all(|(a, b)| a.receipt == b.receipt && b.receives == 1));
    node.pass(999);
    assert_eq!(node.counts("q"), (1, 2, 0));
    let other = Receive { attempt: Some("y".into()), ..receive("q") };
    assert_eq!(texts(&node.try_receive(other).expect("messages")), ["h1"]);
    node.pass(1);
    assert_eq!(texts(&node.try_receive(attempt()).expect("messages")), ["g1", "g2"], "a receive like any");
}

#[test]
fn an_attempt_is_over_when_one_of_its_messages_was_settled_or_changed() {
    for settles in [true, false] {
        let mut node = Node::new(1);
        node.create("q", fifo());
        of(&mut node, &[("g", "g1"), ("g", "g2")]);
        let attempt = || Receive { attempt: Some("x".into()), ..receive("q") };
        let got = node.try_receive(attempt()).expect("messages");
        if settles {
            node.settle("q", got[0].receipt).expect("settled");
        } else {
            node.hold("q", got[1].receipt, 5000).expect("changed");
        }
        let again = node.try_receive(attempt()).map(|got| got.len());
        assert_eq!(again, Err(QueueRefusal::AttemptOver));
    }
}

#[test]
fn an_attempt_is_forgotten_after_five_minutes() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1_000_000, ..fifo() });
    of(&mut node, &[("g", "g1"), ("h", "h1")]);
    let attempt = || Receive { max: 1, attempt: Some("x".into()), ..receive("q") };
    assert_eq!(texts(&node.try_receive(attempt()).expect("messages")), ["g1"]);
    node.pass(299_999);
    assert_eq!(texts(&node.try_receive(attempt()).expect("messages")), ["g1"]);
    node.pass(1);
    assert_eq!(texts(&node.try_receive(attempt()).expect("messages")), ["h1"]);
}

#[test]
fn a_waiting_attempt_can_be_repeated_too() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let attempt = Receive { attempt: Some("x".into()), wait_ms: Some(20_000), ..receive("q") };
    let token = node.start_receive(attempt.clone());
    of(&mut node, &[("g", "g1")]);
    let first = node.received(token).expect("answered").expect("messages");
    let again = node.try_receive(attempt).expect("messages");
    assert_eq!(first[0].receipt, again[0].receipt);
}

#[test]
fn an_attempt_again_with_visibility_zero_leaves_its_messages_visible() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    of(&mut node, &[("g", "g1")]);
    let attempt = || Receive { attempt: Some("x".into()), ..receive("q") };
    node.try_receive(attempt()).expect("messages");
    let again = Receive { visibility_ms: Some(0), ..attempt() };
    assert_eq!(texts(&node.try_receive(again).expect("messages")), ["g1"]);
    assert_eq!(node.counts("q"), (1, 0, 0));
    assert_eq!(node.bodies("q", 1), ["g1"]);
}

#[test]
fn whoever_waits_behind_one_that_left_hears_that_its_attempt_is_over() {
    for cancels in [true, false] {
        let mut node = Node::new(1);
        node.create("q", fifo());
        of(&mut node, &[("g", "g1")]);
        let attempt = |wait_ms| Receive { attempt: Some("x".into()), wait_ms: Some(wait_ms), ..receive("q") };
        let got = node.try_receive(Receive { visibility_ms: Some(100), ..attempt(0) }).expect("messages");
        node.pass(100);
        assert_eq!(node.bodies("q", 1), ["g1"], "with another now");
        let first = node.start_receive(crate::node::waiting("q", 1000));
        let second = node.start_receive(attempt(5000));
        assert!(matches!(node.received(second), Some(Err(QueueRefusal::AttemptOver))), "{got:?}");
        let second = node.start_receive(crate::node::waiting("q", 5000));
        if cancels {
            node.tell("q", hub::queue::QueueCommand::Cancel { token: first });
        } else {
            node.pass(1000);
            assert_eq!(node.received(first).map(|got| got.expect("none").len()), Some(0));
        }
        assert!(node.received(second).is_none());
        node.post_to("q", "h", "h1");
        assert_eq!(texts(&node.received(second).expect("woken").expect("messages")), ["h1"]);
    }
}
