//! How long a message is with its receiver, and what its receipt is worth meanwhile and afterwards.

use crate::node::{Node, fifo, receive, standard};
use hub::queue::{QueueRefusal, Receipt, Receive, Settings};

#[test]
fn a_message_is_visible_again_in_its_place_when_its_time_is_over() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..standard() });
    ["a", "b", "c"].iter().for_each(|body| _ = node.post("q", body));
    assert_eq!(node.bodies("q", 1), ["a"]);
    let own = node.try_receive(Receive { max: 1, visibility_ms: Some(500), ..receive("q") }).expect("one");
    assert_eq!(own[0].body, "b");
    node.pass(500);
    assert_eq!(node.bodies("q", 1), ["b"]);
    node.pass(500);
    assert_eq!(node.bodies("q", 10), ["a", "c"]);
}

#[test]
fn a_change_counts_from_now_and_holds_for_this_receive_only() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 10_000, ..standard() });
    node.post("q", "a");
    let first = node.receive("q", 1).remove(0).receipt;
    node.pass(9000);
    assert_eq!(node.hold("q", first, 5000), Ok(()));
    node.pass(4999);
    assert_eq!(node.counts("q"), (0, 1, 0));
    node.pass(1);
    let second = node.receive("q", 1).remove(0).receipt;
    assert_eq!(node.hold("q", first, 1), Err(QueueRefusal::NotInFlight));
    node.pass(9999);
    assert_eq!(node.counts("q"), (0, 1, 0));
    assert_eq!(node.hold("q", second, 0), Ok(()));
    assert_eq!(node.hold("q", second, 1), Err(QueueRefusal::NotInFlight));
    assert_eq!(node.bodies("q", 1), ["a"]);
}

#[test]
fn all_changes_together_are_bounded_from_the_receive_on() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    assert_eq!(node.hold("q", receipt, 43_200_001), Err(QueueRefusal::VisibilityTooLong));
    node.pass(1000);
    assert_eq!(node.hold("q", receipt, 43_200_000), Err(QueueRefusal::VisibilityTooLong));
    assert_eq!(node.hold("q", receipt, 43_199_000), Ok(()));
    node.pass(43_198_999);
    assert_eq!(node.hold("q", receipt, 2), Err(QueueRefusal::VisibilityTooLong));
    assert_eq!(node.counts("q"), (0, 1, 0));
    node.pass(1);
    assert_eq!(node.counts("q"), (1, 0, 0));
}

#[test]
fn a_message_that_is_gone_has_no_visibility_to_change() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.settle("q", receipt).expect("settled");
    assert_eq!(node.hold("q", receipt, 1), Err(QueueRefusal::Gone));
}

#[test]
fn any_receipt_ends_a_stored_message_of_a_standard_queue_and_twice_is_fine() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..standard() });
    ["a", "b"].iter().for_each(|body| _ = node.post("q", body));
    let old: Vec<_> = node.receive("q", 2).iter().map(|got| got.receipt).collect();
    node.pass(1000);
    assert_eq!(node.settle("q", old[0]), Ok(()), "visible");
    assert_eq!(node.bodies("q", 10), ["b"]);
    assert_eq!(node.settle("q", old[1]), Ok(()), "with another receiver");
    assert_eq!(node.settle("q", old[1]), Ok(()), "gone");
    assert_eq!(node.counts("q"), (0, 0, 0));
    node.pass(1000);
    assert_eq!(node.bodies("q", 10), [""; 0]);
}

#[test]
fn only_the_receipt_of_who_has_it_ends_a_message_of_a_fifo_queue() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..fifo() });
    node.post_to("q", "g", "a");
    let first = node.receive("q", 1).remove(0).receipt;
    node.pass(1000);
    assert_eq!(node.settle("q", first), Err(QueueRefusal::ReceiptOver), "visible again");
    let second = node.receive("q", 1).remove(0).receipt;
    assert_eq!(node.settle("q", first), Err(QueueRefusal::ReceiptOver), "with another receiver");
    assert_eq!(node.settle("q", second), Ok(()));
    assert_eq!(node.settle("q", second), Ok(()), "gone");
}

#[test]
fn a_deadline_counts_although_no_tick_has_come() {
    let mut node = Node::new(1);
    node.create("q", Settings { visibility_ms: 1000, ..fifo() });
    node.post_to("q", "g", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.now += 1000;
    assert_eq!(node.settle("q", receipt), Err(QueueRefusal::ReceiptOver));
    assert_eq!(node.hold("q", receipt, 10), Err(QueueRefusal::NotInFlight));
}

#[test]
fn receipts_of_other_queues_and_earlier_incarnations_are_none() {
    let mut node = Node::new(1);
    node.create("q", standard());
    node.create("r", standard());
    node.post("q", "a");
    node.post("r", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    assert_eq!(node.settle("r", receipt), Err(QueueRefusal::BadReceipt));
    let other = Receipt { partition: hub::Partition(receipt.partition.0 + 1), ..receipt };
    assert_eq!(node.settle("q", other), Err(QueueRefusal::BadReceipt));
    node.delete("q");
    node.create("q", standard());
    assert_eq!(node.settle("q", receipt), Err(QueueRefusal::BadReceipt));
    assert_eq!(node.hold("q", receipt, 1), Err(QueueRefusal::BadReceipt));
}

#[test]
fn a_batch_is_answered_one_by_one() {
    use hub::queue::{Answer, QueueCommand};
    let mut node = Node::new(1);
    node.create("q", standard());
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    let bad = Receipt { incarnation: 99, ..receipt };
    let command = |queue, token| QueueCommand::Settle { queue, receipts: vec![bad, receipt], token };
    let Answer::Settled(all) = node.ask("q", command) else { panic!() };
    assert_eq!(all, [Err(QueueRefusal::BadReceipt), Ok(())]);
}
