//! Receiving: what one receive gives, counts, what it costs.

use crate::node::{Node, fifo, receive, standard};
use hub::queue::{QueueCommand, QueueName, QueueRefusal, Receive, Settings, Stage, Wall};

#[test]
fn each_receive_gives_a_fresh_receipt_and_counts() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    let first = node.receive("q", 1).remove(0);
    assert_eq!(first.receives, 1);
    node.pass(30_000);
    let second = node.receive("q", 1).remove(0);
    assert_eq!(second.receives, 2);
    assert_ne!(first.receipt, second.receipt);
}

#[test]
fn a_receive_with_visibility_zero_leaves_the_message_visible() {
    for settings in [standard(), fifo()] {
        let mut node = Node::new(1);
        node.create("q", settings);
        node.post_to("q", "g", "a");
        node.post_to("q", "g", "b");
        for count in 1..4 {
            let got = node.try_receive(Receive { visibility_ms: Some(0), ..receive("q") }).expect("messages");
            assert_eq!(got.len(), 2, "each once");
            assert!(got.iter().all(|got| got.receives == count));
            assert_eq!(node.counts("q"), (2, 0, 0));
        }
    }
}

#[test]
fn counts_add_up_to_what_is_stored() {
    let mut node = Node::new(1);
    node.create("q", standard());
    for body in ["a", "b", "c", "d"] {
        node.post("q", body);
    }
    let got = node.receive("q", 2);
    assert_eq!(node.counts("q"), (2, 2, 0));
    node.settle("q", got[0].receipt).expect("settled");
    assert_eq!(node.counts("q"), (2, 1, 0));
    node.pass(30_000);
    assert_eq!(node.counts("q"), (3, 0, 0));
}

#[test]
fn messages_are_gone_when_they_are_too_old_whatever_they_are_at() {
    let mut node = Node::new(1);
    node.create("q", Settings { retention_ms: 60_000, visibility_ms: 1_000_000, ..standard() });
    node.post("q", "a");
    let late = hub::queue::Message { delay_ms: Some(900_000), ..node.message("b") };
    node.send("q", late);
    let got = node.receive("q", 1).remove(0);
    node.pass(1);
    node.post("q", "c");
    node.pass(59_998);
    assert_eq!(node.counts("q"), (1, 1, 1));
    node.pass(1);
    assert_eq!(node.counts("q"), (1, 0, 0));
    assert_eq!(node.settle("q", got.receipt), Ok(()));
    node.pass(1);
    assert_eq!(node.counts("q"), (0, 0, 0));
    assert_eq!(node.bodies("q", 10), [""; 0]);
    assert_eq!(node.records(), 1, "the queue's own");
}

#[test]
fn a_shorter_retention_is_for_stored_messages_too() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    node.pass(61_000);
    node.post("q", "b");
    node.configure("q", Settings { retention_ms: 60_000, ..standard() }).expect("configured");
    assert_eq!(node.bodies("q", 10), ["b"]);
}

#[test]
fn very_many_that_are_too_old_go_step_by_step_and_are_not_received() {
    let mut node = Node::new(1);
    node.create("q", Settings { retention_ms: 60_000, ..standard() });
    (0..5000).for_each(|_| _ = node.post("q", "a"));
    node.now += 60_000;
    node.post("q", "b");
    let mut got = node.bodies("q", 10);
    for _ in 0..10 {
        node.tick();
        got.extend(node.bodies("q", 10));
    }
    assert_eq!(got, ["b"]);
    assert_eq!(node.counts("q"), (0, 1, 0));
}

#[test]
fn in_flight_messages_have_a_limit_of_which_only_a_short_receive_of_a_standard_queue_hears() {
    for (settings, is_fifo) in [(standard(), false), (fifo(), true)] {
        let mut node = Node::new(1);
        node.config.limits.in_flight_standard_max = 2;
        node.config.limits.in_flight_fifo_max = 2;
        node.restart(0);
        node.create("q", settings);
        ["a", "b", "c"].iter().for_each(|body| _ = node.post_to("q", body, body));
        let got = node.receive("q", 10);
        assert_eq!(got.len(), 2);
        let short = node.try_receive(receive("q")).map(|got| got.len());
        assert_eq!(short, if is_fifo { Ok(0) } else { Err(QueueRefusal::InFlightLimit) });
        let long = node.start_receive(Receive { wait_ms: Some(20_000), ..receive("q") });
        assert!(node.received(long).is_none());
        node.settle("q", got[0].receipt).expect("settled");
        let bodies = node.received(long).expect("answered").expect("messages");
        assert_eq!(bodies.len(), 1);
        assert_eq!(bodies[0].body, "c");
    }
}

#[test]
fn a_message_is_not_received_before_it_is_durable() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "old");
    node.auto = false;
    let (token, queue) = (node.token(), QueueName::new("q"));
    let messages = vec![node.message("new")];
    node.tell("q", QueueCommand::Send { queue, messages, token });
    let old = node.start_receive(Receive { max: 1, ..receive("q") });
    assert_eq!(node.received(old).expect("at once").expect("messages")[0].body, "old");
    let new = node.start_receive(receive("q"));
    assert!(node.received(new).is_none());
    node.flush();
    assert_eq!(node.received(new).expect("now").expect("messages")[0].body, "new");
}

#[test]
fn messages_can_be_looked_at_whatever_they_are_at() {
    let mut node = Node::new(1);
    node.create("q", standard());
    ["a", "b"].iter().for_each(|body| _ = node.post("q", body));
    let late = hub::queue::Message { delay_ms: Some(1000), ..node.message("c") };
    node.send("q", late);
    node.receive("q", 1);
    let peek = |after, limit| move |queue, token| QueueCommand::Peek { queue, after, limit, token };
    let hub::queue::Answer::Peeked(page) = node.ask("q", peek(0, 2)) else { panic!() };
    let seen: Vec<_> = page.items.iter().map(|peeked| (peeked.stage, peeked.receives)).collect();
    assert_eq!((seen, page.more), (vec![(Stage::InFlight, 1), (Stage::Visible, 0)], true));
    let hub::queue::Answer::Peeked(page) = node.ask("q", peek(page.items[1].offset, 2)) else { panic!() };
    assert_eq!(page.items.len(), 1);
    assert_eq!((page.items[0].stage, page.items[0].sent), (Stage::Delayed, Wall(node.wall())));
}
