//! Receives that wait: woken by whatever makes a message visible, first come first served; whoever left gets nothing.

use crate::node::{Node, Sending, fifo, receive, standard, waiting};
use hub::Token;
use hub::queue::{Answer, DeadLetters, QueueCommand, QueueName, QueueRefusal, Receive, Settings};

fn body(node: &mut Node, token: Token) -> Option<String> {
    let got = node.received(token)?.expect("not refused");
    Some(got.into_iter().map(|got| got.body).collect::<Vec<_>>().join(","))
}

#[test]
fn a_receive_without_messages_waits_as_long_as_it_says_or_as_the_queue_says() {
    let mut node = Node::new(1);
    node.create("q", Settings { wait_ms: 1000, ..standard() });
    let (own, queues) = (node.start_receive(waiting("q", 2000)), node.start_receive(receive("q")));
    let short = node.start_receive(waiting("q", 0));
    assert_eq!(body(&mut node, short).as_deref(), Some(""));
    node.pass(999);
    assert_eq!(body(&mut node, queues), None);
    node.pass(1);
    assert_eq!(body(&mut node, queues).as_deref(), Some(""));
    node.pass(999);
    assert_eq!(body(&mut node, own), None);
    node.pass(1);
    assert_eq!(body(&mut node, own).as_deref(), Some(""));
}

#[test]
fn those_that_wait_are_served_in_the_order_they_came() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let tokens: Vec<_> = (0..3).map(|_| node.start_receive(waiting("q", 20_000))).collect();
    for (token, text) in tokens.iter().zip(["a", "b", "c"]) {
        node.post("q", text);
        assert_eq!(body(&mut node, *token).as_deref(), Some(text));
    }
}

#[test]
fn a_batch_is_for_one_that_takes_it_and_the_rest_for_the_next() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let first = node.start_receive(Receive { max: 2, ..waiting("q", 20_000) });
    let second = node.start_receive(waiting("q", 20_000));
    let messages = ["a", "b", "c"].map(|body| node.message(body)).to_vec();
    node.send_all("q", messages);
    assert_eq!(body(&mut node, first).as_deref(), Some("a,b"));
    assert_eq!(body(&mut node, second).as_deref(), Some("c"));
}

#[test]
fn whoever_left_gets_nothing() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let (gone, stays) = (node.start_receive(waiting("q", 1000)), node.start_receive(waiting("q", 1000)));
    node.tell("q", QueueCommand::Cancel { token: gone });
    node.tell("q", QueueCommand::Cancel { token: Token(999) });
    node.post("q", "a");
    assert_eq!(body(&mut node, stays).as_deref(), Some("a"));
    node.pass(2000);
    assert!(node.answers.is_empty());
    assert_eq!(node.counts("q"), (0, 1, 0));
}

#[test]
fn woken_when_a_delay_is_over() {
    for settings in [standard(), Settings { delay_ms: 700, ..fifo() }] {
        let mut node = Node::new(1);
        node.create("q", settings.clone());
        let message = node.message("a").of("g").known_as("a");
        node.send("q", if settings.delay_ms == 0 { message.after(700) } else { message });
        let token = node.start_receive(waiting("q", 20_000));
        node.pass(699);
        assert_eq!(body(&mut node, token), None);
        node.pass(1);
        assert_eq!(body(&mut node, token).as_deref(), Some("a"));
    }
}

#[test]
fn woken_when_a_visibility_is_over_or_set_to_zero() {
    for (settings, zero) in [(standard(), false), (fifo(), false), (standard(), true), (fifo(), true)] {
        let mut node = Node::new(1);
        node.create("q", settings);
        node.post_to("q", "g", "a");
        let receipt = node.receive("q", 1).remove(0).receipt;
        let token = node.start_receive(waiting("q", 40_000));
        if zero {
            node.hold("q", receipt, 0).expect("visible");
        } else {
            node.pass(29_999);
            assert_eq!(body(&mut node, token), None);
            node.pass(1);
        }
        assert_eq!(body(&mut node, token).as_deref(), Some("a"));
    }
}

#[test]
fn woken_when_a_visibility_is_shortened() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    let token = node.start_receive(waiting("q", 20_000));
    node.hold("q", receipt, 10).expect("changed");
    node.pass(10);
    assert_eq!(body(&mut node, token).as_deref(), Some("a"));
}

#[test]
fn woken_by_the_first_message_of_a_fifo_queue_and_by_a_group_that_goes_on() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let first = node.start_receive(Receive { max: 1, ..waiting("q", 20_000) });
    node.post_to("q", "g", "a");
    let got = node.received(first).expect("woken").expect("messages");
    node.post_to("q", "g", "b");
    let second = node.start_receive(waiting("q", 20_000));
    assert_eq!(body(&mut node, second), None);
    node.settle("q", got[0].receipt).expect("settled");
    assert_eq!(body(&mut node, second).as_deref(), Some("b"));
}

#[test]
fn woken_by_a_dead_letter() {
    let mut node = Node::new(2);
    node.create("dead", standard());
    let dead = DeadLetters { target: QueueName::new("dead"), receives_max: 1 };
    node.create("q", Settings { dead_letters: Some(dead), ..standard() });
    let token = node.start_receive(waiting("dead", 20_000));
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.hold("q", receipt, 0).expect("visible");
    assert_eq!(node.bodies("q", 1), [""; 0]);
    assert_eq!(body(&mut node, token).as_deref(), Some("a"));
}

#[test]
fn a_deleted_queue_lets_go_those_that_wait() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let token = node.start_receive(waiting("q", 20_000));
    assert!(matches!(node.delete("q"), Answer::Done));
    assert!(matches!(node.received(token), Some(Err(QueueRefusal::NotFound))));
    node.create("q", standard());
    node.post("q", "a");
    assert_eq!(node.bodies("q", 1), ["a"]);
}

#[test]
fn those_that_wait_have_a_limit() {
    let mut node = Node::new(1);
    node.config.limits.waiters_max = 1;
    node.restart(0);
    node.create("q", standard());
    let first = node.start_receive(waiting("q", 1000));
    assert!(matches!(node.try_receive(waiting("q", 1000)), Err(QueueRefusal::OverLimit)));
    node.pass(1000);
    assert_eq!(body(&mut node, first).as_deref(), Some(""));
    let second = node.start_receive(waiting("q", 1000));
    assert!(node.received(second).is_none());
}

#[test]
fn many_that_wait_cost_nothing_until_something_comes() {
    let mut node = Node::new(1);
    node.create("q", standard());
    (0..10_000).for_each(|_| _ = node.start_receive(waiting("q", 20_000)));
    assert_eq!(node.next_deadline(), Some(node.now + 20_000), "no tick before the first one's time");
    assert_eq!(node.view("q").waiting, 10_000);
}
