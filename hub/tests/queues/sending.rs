//! Sending: order, batches, delays, sizes.

use crate::node::{Node, Sending, fifo, standard};
use hub::queue::{Answer, QueueRefusal, Settings};

#[test]
fn messages_come_in_the_order_they_were_sent() {
    let mut node = Node::new(1);
    node.create("q", standard());
    ["a", "b", "c", "d"].iter().for_each(|body| _ = node.post("q", body));
    assert_eq!(node.bodies("q", 1), ["a"]);
    assert_eq!(node.bodies("q", 2), ["b", "c"]);
    assert_eq!(node.bodies("q", 10), ["d"]);
    assert_eq!(node.bodies("q", 10), [""; 0]);
}

#[test]
fn a_batch_keeps_its_order_in_a_fifo_queue_though_some_of_it_are_refused() {
    let mut node = Node::new(1);
    node.create("q", Settings { message_bytes_max: 3, ..fifo() });
    let bodies = ["a", "long", "b", "a", "c"];
    let messages = bodies.iter().map(|body| node.message(body).of("g").known_as(body)).collect();
    let sent = node.send_all("q", messages);
    let first = sent[0].expect("taken");
    assert_eq!(sent[1], Err(QueueRefusal::TooLarge { bytes_max: 3 }));
    assert_eq!(sent[3].map(|taken| (taken.id, taken.duplicate)), Ok((first.id, true)));
    assert!(first.offset < sent[2].expect("taken").offset);
    assert!(sent[2].expect("taken").offset < sent[4].expect("taken").offset);
    assert_eq!(node.bodies("q", 10), ["a", "b", "c"]);
}

#[test]
fn a_fifo_batch_is_refused_as_a_whole_without_what_it_needs() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let good = node.message("a").of("g").known_as("a");
    let (no_group, no_id) = (node.message("b").known_as("b"), node.message("c").of("g").hashed(1));
    assert_eq!(node.send_all("q", vec![good.clone(), no_group]), [Err(QueueRefusal::NoGroup)]);
    assert_eq!(node.send_all("q", vec![good, no_id]), [Err(QueueRefusal::NoDeduplication)]);
    assert_eq!(node.counts("q"), (0, 0, 0));
}

#[test]
fn a_delay_hides_a_message_until_its_time_and_then_it_has_its_place() {
    let mut node = Node::new(1);
    node.create("q", Settings { delay_ms: 1000, ..standard() });
    let (slow, now, own) = (node.message("queue's"), node.message("none"), node.message("own"));
    node.send("q", slow);
    node.send("q", own.after(500));
    node.send("q", now.after(0));
    assert_eq!(node.counts("q"), (1, 0, 2));
    node.pass(499);
    assert_eq!(node.counts("q"), (1, 0, 2));
    node.pass(1);
    assert_eq!(node.bodies("q", 1), ["own"]);
    node.pass(500);
    assert_eq!(node.bodies("q", 10), ["queue's", "none"]);
}

#[test]
fn a_changed_delay_is_for_later_sends_of_a_standard_queue() {
    let mut node = Node::new(1);
    node.create("q", Settings { delay_ms: 1000, ..standard() });
    node.post("q", "a");
    node.configure("q", standard()).expect("configured");
    node.post("q", "b");
    assert_eq!(node.counts("q"), (1, 0, 1));
    node.pass(1000);
    assert_eq!(node.bodies("q", 10), ["a", "b"]);
}

#[test]
fn a_changed_delay_is_for_all_messages_of_a_fifo_queue() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    node.post_to("q", "g", "a");
    node.pass(300);
    node.post_to("q", "g", "b");
    node.post_to("q", "h", "c");
    assert_eq!(node.bodies("q", 1), ["a"]);
    node.configure("q", Settings { delay_ms: 1000, ..fifo() }).expect("configured");
    assert_eq!(node.counts("q"), (0, 1, 2));
    node.pass(999);
    assert_eq!(node.counts("q"), (0, 1, 2));
    node.pass(1);
    assert_eq!(node.bodies("q", 10), ["c"]);
    node.post_to("q", "i", "d");
    assert_eq!(node.counts("q"), (1, 2, 1));
    node.configure("q", fifo()).expect("configured");
    assert_eq!(node.bodies("q", 10), ["d"]);
}

#[test]
fn a_fifo_message_has_no_delay_of_its_own_but_may_say_so() {
    let mut node = Node::new(1);
    node.create("q", Settings { delay_ms: 1000, ..fifo() });
    let late = node.message("a").of("g").known_as("a").after(1);
    assert_eq!(node.try_send("q", late), Err(QueueRefusal::DelayNotAllowed));
    let zero = node.message("b").of("g").known_as("b").after(0);
    node.send("q", zero);
    assert_eq!(node.counts("q"), (0, 0, 1));
}

#[test]
fn ids_have_at_least_one_byte_and_at_most_as_many_as_allowed() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let long = "x".repeat(128);
    let message = node.message("a");
    for bad in ["", &format!("{long}x")] {
        let (group, id) = (message.clone().of(bad).known_as("i"), message.clone().of("g").known_as(bad));
        assert_eq!(node.try_send("q", group), Err(QueueRefusal::BadId));
        assert_eq!(node.try_send("q", id), Err(QueueRefusal::BadId));
    }
    assert!(node.try_send("q", message.of(&long).known_as(&long)).is_ok());
}

#[test]
fn a_send_is_answered_when_it_is_durable_and_a_duplicate_when_the_first_is() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    node.auto = false;
    let messages: Vec<_> = ["a", "a"].iter().map(|body| node.message(body).of("g").known_as("a")).collect();
    let queue = hub::queue::QueueName::new("q");
    let mut tokens = Vec::new();
    for message in messages {
        let (token, queue) = (node.token(), queue.clone());
        tokens.push(token);
        node.tell("q", hub::queue::QueueCommand::Send { queue, messages: vec![message], token });
    }
    assert!(node.answers.is_empty());
    node.flush();
    for token in tokens {
        assert!(matches!(node.answers.remove(&token), Some(Answer::Sent(all)) if all[0].is_ok()));
    }
}
