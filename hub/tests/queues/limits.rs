//! What happens at each bound that no other test has reached.

use crate::node::{Node, standard};
use hub::Partition;
use hub::queue::{Answer, QueueCommand, QueueRefusal, Receipt};
use std::sync::Arc;

#[test]
fn queues_have_a_limit() {
    let mut node = Node::new(1);
    node.config.limits.queues_max = 1;
    node.restart(0);
    node.create("q", standard());
    let settings = Arc::new(standard());
    let answer = node.ask("r", |queue, token| QueueCommand::Create { queue, settings, token });
    assert!(matches!(answer, Answer::Refused(QueueRefusal::OverLimit)));
}

#[test]
fn stored_messages_have_a_limit_over_all_queues() {
    let mut node = Node::new(1);
    node.config.limits.messages_max = 2;
    node.restart(0);
    node.create("q", standard());
    node.create("r", standard());
    node.post("q", "a");
    node.post("r", "b");
    let third = node.message("c");
    assert_eq!(node.try_send("q", third.clone()), Err(QueueRefusal::OverLimit));
    let receipt = node.receive("r", 1).remove(0).receipt;
    node.settle("r", receipt).expect("settled");
    assert!(node.try_send("q", third).is_ok());
}

#[test]
fn batches_and_pages_have_a_limit() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let messages = vec![node.message("a"); 11];
    assert_eq!(node.send_all("q", messages), [Err(QueueRefusal::OverLimit)]);
    let receipt = Receipt { partition: Partition(0), incarnation: 1, offset: 1, number: 1 };
    let settle = |queue, token| QueueCommand::Settle { queue, receipts: vec![receipt; 11], token };
    assert!(matches!(node.ask("q", settle), Answer::Refused(QueueRefusal::OverLimit)));
    let hold = |queue, token| QueueCommand::SetVisibility { queue, changes: vec![(receipt, 1); 11], token };
    assert!(matches!(node.ask("q", hold), Answer::Refused(QueueRefusal::OverLimit)));
    (0..15).for_each(|_| _ = node.post("q", "a"));
    assert_eq!(node.receive("q", 1000).len(), 10);
    assert_eq!(node.receive("q", 0).len(), 1, "at least one is meant");
}

#[test]
fn attempts_have_a_limit_and_the_oldest_is_forgotten() {
    use crate::node::{fifo, receive};
    use hub::queue::Receive;
    let mut node = Node::new(1);
    node.config.limits.attempts_max = 1;
    node.restart(0);
    node.create("q", fifo());
    ["a", "b"].iter().for_each(|body| _ = node.post_to("q", body, body));
    for attempt in ["x", "y"] {
        let receive = Receive { max: 1, attempt: Some(attempt.into()), ..receive("q") };
        assert_eq!(node.try_receive(receive).expect("a message").len(), 1);
    }
    let again = |attempt: &str| Receive { max: 1, attempt: Some(attempt.into()), ..receive("q") };
    assert_eq!(node.try_receive(again("y")).expect("again").len(), 1);
    assert_eq!(node.try_receive(again("x")).expect("a new one").len(), 0);
}

#[test]
fn without_a_journal_there_is_no_queue() {
    use hub::{Command, Effect, Effects, Hub, Millis, Report, Token};
    let with = Node::new(1);
    let mut hub = Hub::new(with.hub_config());
    let (queue, settings, token) = (hub::queue::QueueName::new("q"), Arc::new(standard()), Token(7));
    let mut effects = Effects::default();
    hub.apply(Millis(0), Command::Queue(QueueCommand::Create { queue, settings, token }), &mut effects);
    let Some(Effect::Report { token: Token(7), report: Report::Queue(answer) }) = effects.list.pop() else {
        panic!("{effects:?}")
    };
    assert!(matches!(*answer, Answer::Refused(QueueRefusal::NoJournal)));
}
