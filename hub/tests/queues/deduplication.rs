//! A message that was sent before is not stored again: for five minutes, after its end, after a restart, within its scope.

use crate::node::{Node, Sending, fifo};
use hub::queue::{QueueRefusal, Scope, Settings};

#[test]
fn a_duplicate_is_answered_with_the_first_and_not_stored() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let first = node.post_to("q", "g", "a");
    node.pass(299_999);
    let second = node.post_to("q", "h", "a");
    assert_eq!((second.id, second.offset, second.duplicate), (first.id, first.offset, true));
    assert_eq!(node.counts("q"), (1, 0, 0));
    node.pass(1);
    assert!(!node.post_to("q", "g", "a").duplicate);
    assert_eq!(node.bodies("q", 10), ["a", "a"]);
}

#[test]
fn an_id_lives_on_when_its_message_has_ended_and_over_restarts() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    let first = node.post_to("q", "g", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.settle("q", receipt).expect("settled");
    assert!(node.post_to("q", "g", "a").duplicate);
    node.pass(100_000);
    node.restart(100_000);
    let again = node.post_to("q", "g", "a");
    assert_eq!((again.id, again.offset, again.duplicate), (first.id, first.offset, true));
    assert_eq!(node.bodies("q", 10), [""; 0]);
    node.pass(99_999);
    assert!(node.post_to("q", "g", "a").duplicate);
    node.pass(1);
    assert!(!node.post_to("q", "g", "a").duplicate);
}

#[test]
fn an_id_of_a_stored_message_is_known_after_a_restart() {
    let mut node = Node::new(1);
    node.create("q", Settings { scope: Scope::Group, ..fifo() });
    let first = node.post_to("q", "g", "a");
    node.restart(10_000);
    assert_eq!(node.post_to("q", "g", "a").id, first.id);
    assert!(!node.post_to("q", "h", "a").duplicate);
}

#[test]
fn ids_leave_no_records_when_their_time_is_over() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    for body in ["a", "b", "c"] {
        node.post_to("q", "g", body);
        let receipt = node.receive("q", 1).remove(0).receipt;
        node.settle("q", receipt).expect("settled");
    }
    assert_eq!(node.records(), 4);
    node.pass(302_000);
    assert_eq!(node.records(), 1, "the queue's own");
    assert_eq!(node.next_deadline(), None);
}

#[test]
fn the_scope_decides_who_shares_ids() {
    let mut node = Node::new(1);
    node.create("q", Settings { scope: Scope::Group, ..fifo() });
    node.post_to("q", "g", "a");
    assert!(!node.post_to("q", "h", "a").duplicate);
    assert!(node.post_to("q", "g", "a").duplicate);
    node.configure("q", fifo()).expect("configured");
    assert!(!node.post_to("q", "g", "a").duplicate, "for later sends");
    assert!(node.post_to("q", "h", "a").duplicate);
}

#[test]
fn ids_and_contents_are_different_things() {
    let mut node = Node::new(1);
    node.create("q", Settings { deduplicate_content: true, ..fifo() });
    let messages = [
        node.message("a").of("g").hashed(1),
        node.message("a").of("g").hashed(1).known_as("x"),
        node.message("b").of("h").hashed(1),
        node.message("c").of("g").hashed(2).known_as("x"),
        node.message("d").of("g").hashed(3),
    ];
    let duplicates: Vec<_> = messages.into_iter().map(|message| node.send("q", message).duplicate).collect();
    assert_eq!(duplicates, [false, false, true, true, false]);
}

#[test]
fn groups_and_ids_are_not_run_together() {
    let mut node = Node::new(1);
    node.create("q", Settings { scope: Scope::Group, ..fifo() });
    for (group, id) in [("ab", "c"), ("a", "bc"), ("abc", "d")] {
        let message = node.message("x").of(group).known_as(id);
        assert!(!node.send("q", message).duplicate, "{group} {id}");
    }
}

#[test]
fn ids_have_a_limit() {
    let mut node = Node::new(1);
    node.config.limits.deduplication_max = 2;
    node.restart(0);
    node.create("q", fifo());
    node.post_to("q", "g", "a");
    node.post_to("q", "g", "b");
    let third = node.message("c").of("g").known_as("c");
    assert_eq!(node.try_send("q", third.clone()), Err(QueueRefusal::OverLimit));
    assert!(node.post_to("q", "g", "a").duplicate);
    node.pass(301_000);
    assert!(node.try_send("q", third).is_ok());
}

#[test]
fn a_purge_forgets_ids_also_after_a_restart() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    node.post_to("q", "g", "a");
    node.post_to("q", "g", "b");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.settle("q", receipt).expect("settled");
    node.purge("q");
    node.restart(0);
    assert!(!node.post_to("q", "g", "a").duplicate);
    assert!(!node.post_to("q", "g", "b").duplicate);
}
