//! Groups of a standard queue: one that takes more than its share comes after the others, until it is quiet again.

use crate::node::{Node, Sending, standard};
use hub::queue::Receipt;
use std::collections::BTreeMap;

/// Sends `count` messages of a group with the group as body.
fn post(node: &mut Node, group: &str, count: usize) {
    for _ in 0..count {
        let message = node.message(group).of(group);
        node.send("q", message);
    }
}

fn take(node: &mut Node, count: usize) -> Vec<(String, Receipt)> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.extend(node.receive("q", 1).into_iter().map(|got| (got.body, got.receipt)));
    }
    all
}

fn groups(all: &[(String, Receipt)]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    all.iter().for_each(|(group, _)| *counts.entry(group.as_str()).or_default() += 1);
    counts
}

#[test]
fn without_noise_messages_come_in_the_order_they_were_sent() {
    let mut node = Node::new(1);
    node.create("q", standard());
    for (group, body) in [(Some("g"), "1"), (None, "2"), (Some("h"), "3"), (Some("g"), "4"), (None, "5")] {
        let message = node.message(body);
        node.send(
            "q",
            match group {
                Some(group) => message.of(group),
                None => message,
            },
        );
    }
    assert_eq!(node.bodies("q", 10), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_group_with_many_in_flight_comes_after_the_others() {
    let mut node = Node::new(1);
    node.create("q", standard());
    post(&mut node, "noisy", 100);
    post(&mut node, "quiet", 2);
    let alone = node.message("alone");
    node.send("q", alone);
    let first = take(&mut node, 35);
    assert_eq!(groups(&first), BTreeMap::from([("noisy", 32), ("quiet", 2), ("alone", 1)]));
    assert!(first[..30].iter().all(|(group, _)| group == "noisy"), "up to the threshold in order");
    let next: Vec<_> = first[30..33].iter().map(|(group, _)| group.as_str()).collect();
    assert_eq!(next, ["quiet", "quiet", "alone"]);
}

#[test]
fn a_share_below_one_in_ten_is_not_noisy() {
    let mut node = Node::new(1);
    node.create("q", standard());
    (0..10).for_each(|n| post(&mut node, &format!("g{n}"), 30));
    take(&mut node, 300);
    // Each has 30 in flight and a tenth of all, which is not more than a tenth.
    post(&mut node, "g0", 1);
    post(&mut node, "g1", 1);
    assert_eq!(node.bodies("q", 1), ["g0"]);
}

#[test]
fn among_noisy_groups_the_one_with_the_fewest_in_flight_is_next() {
    let mut node = Node::new(1);
    node.create("q", standard());
    post(&mut node, "a", 60);
    post(&mut node, "b", 60);
    // 30 of a, then b is quiet until it has 30, too; from then on they take turns.
    let all = take(&mut node, 80);
    assert_eq!(groups(&all), BTreeMap::from([("a", 40), ("b", 40)]));
    for (_, receipt) in all.iter().filter(|(group, _)| group == "b").take(5) {
        node.settle("q", *receipt).expect("settled");
    }
    let next: Vec<_> = take(&mut node, 5).into_iter().map(|(group, _)| group).collect();
    assert_eq!(next, ["b"; 5]);
}

#[test]
fn noise_ends_with_the_backlog() {
    let mut node = Node::new(1);
    node.create("q", standard());
    post(&mut node, "noisy", 40);
    let all = take(&mut node, 40);
    assert_eq!(all.len(), 40);
    for (_, receipt) in &all[..39] {
        node.settle("q", *receipt).expect("settled");
    }
    post(&mut node, "noisy", 1);
    post(&mut node, "quiet", 1);
    assert_eq!(node.bodies("q", 1), ["noisy"]);
}

#[test]
fn noise_ends_when_the_group_has_sent_nothing_for_five_minutes() {
    let mut node = Node::new(1);
    node.create("q", hub::queue::Settings { visibility_ms: 1_000_000, ..standard() });
    post(&mut node, "noisy", 40);
    take(&mut node, 31);
    node.pass(299_999);
    post(&mut node, "quiet", 2);
    assert_eq!(node.bodies("q", 1), ["quiet"]);
    node.pass(1);
    assert_eq!(node.bodies("q", 1), ["noisy"]);
}

#[test]
fn a_group_that_takes_most_of_the_time_is_noisy_too() {
    let mut node = Node::new(1);
    node.create("q", standard());
    post(&mut node, "slow", 10);
    let slow = take(&mut node, 2);
    node.pass(20_000);
    slow.iter().for_each(|(_, receipt)| node.settle("q", *receipt).expect("settled"));
    post(&mut node, "fast", 1);
    assert_eq!(node.bodies("q", 1), ["fast"], "40 s of work of 40 s");
    node.pass(120_000);
    post(&mut node, "fast", 1);
    assert_eq!(node.bodies("q", 1), ["fast"], "noise lasts while there is a backlog and it sends");
}
