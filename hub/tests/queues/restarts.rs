//! What a crash leaves: everything acknowledged, nothing that had ended, whatever the clock did meanwhile.

use crate::node::{Node, START, Sending, fifo, receive, standard};
use hub::queue::{QueueCommand, QueueName, QueueRefusal, Receive, Settings};

#[test]
fn messages_come_back_in_order_and_settled_ones_do_not() {
    let mut node = Node::new(2);
    node.create("q", standard());
    ["a", "b", "c", "d"].iter().for_each(|body| _ = node.post("q", body));
    let got = node.receive("q", 2);
    node.settle("q", got[1].receipt).expect("settled");
    node.restart(1000);
    assert_eq!(node.counts("q"), (3, 0, 0), "nothing is in flight");
    assert_eq!(node.bodies("q", 10), ["a", "c", "d"]);
}

#[test]
fn a_receipt_from_before_ends_its_message_unless_a_fifo_queue_gave_it_to_another() {
    let mut node = Node::new(1);
    node.create("s", standard());
    node.create("f", fifo());
    ["a", "b"].iter().for_each(|body| {
        node.post_to("s", body, body);
        node.post_to("f", body, body);
    });
    let old_s: Vec<_> = node.receive("s", 2).iter().map(|got| got.receipt).collect();
    let old_f: Vec<_> = node.receive("f", 2).iter().map(|got| got.receipt).collect();
    node.restart(1000);
    assert_eq!(node.hold("f", old_f[0], 10), Err(QueueRefusal::NotInFlight));
    assert_eq!((node.settle("s", old_s[0]), node.settle("f", old_f[0])), (Ok(()), Ok(())));
    assert_eq!((node.bodies("s", 10), node.bodies("f", 10)), (vec!["b".into()], vec!["b".to_owned()]));
    assert_eq!(node.settle("s", old_s[1]), Ok(()));
    assert_eq!(node.settle("f", old_f[1]), Err(QueueRefusal::ReceiptOver));
}

#[test]
fn delays_and_ages_go_on_over_a_restart() {
    let mut node = Node::new(1);
    node.create("q", Settings { retention_ms: 60_000, ..standard() });
    node.create("f", Settings { delay_ms: 10_000, ..fifo() });
    let late = node.message("a").after(10_000);
    node.send("q", late);
    node.post_to("f", "g", "a");
    node.restart(9000);
    assert_eq!((node.counts("q"), node.counts("f")), ((0, 0, 1), (0, 0, 1)));
    node.pass(999);
    assert_eq!((node.counts("q"), node.counts("f")), ((0, 0, 1), (0, 0, 1)));
    node.pass(1);
    assert_eq!((node.counts("q"), node.counts("f")), ((1, 0, 0), (1, 0, 0)));
    node.restart(50_000);
    assert_eq!((node.counts("q"), node.counts("f")), ((0, 0, 0), (1, 0, 0)));
}

#[test]
fn a_clock_that_went_back_makes_nothing_wait_longer_than_it_may() {
    let mut node = Node::new(1);
    node.create("q", Settings { retention_ms: 3_600_000, ..standard() });
    node.create("f", Settings { delay_ms: 10_000, ..fifo() });
    let late = node.message("a").after(900_000);
    node.send("q", late);
    node.post_to("f", "g", "a");
    node.post_to("f", "g", "b");
    node.flush();
    node.crash(START - 86_400_000);
    assert_eq!((node.counts("q"), node.counts("f")), ((0, 0, 1), (0, 0, 2)));
    assert!(node.post_to("f", "g", "a").duplicate);
    node.pass(10_000);
    assert_eq!(node.counts("f"), (2, 0, 0));
    node.pass(290_000);
    assert!(!node.post_to("f", "g", "a").duplicate, "five minutes from the start");
    node.pass(600_000);
    assert_eq!(node.counts("q"), (1, 0, 0));
    node.post("q", "new");
    assert_eq!(node.bodies("q", 10), ["a", "new"]);
    node.pass(2_700_000);
    assert_eq!(node.counts("q"), (1, 0, 0), "an hour from the start: only the newer one is left");
}

#[test]
fn offsets_rise_over_restarts_also_when_the_newest_record_is_gone() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let mut last = 0;
    for _ in 0..3 {
        let taken = node.post("q", "a");
        assert!(taken.offset > last);
        last = taken.offset;
        let receipt = node.receive("q", 1).remove(0).receipt;
        node.settle("q", receipt).expect("settled");
        node.restart(1);
    }
}

#[test]
fn what_was_not_durable_never_was() {
    let mut node = Node::new(1);
    node.create("q", standard());
    let kept = node.post("q", "a");
    node.auto = false;
    let (queue, messages, token) = (QueueName::new("q"), vec![node.message("b")], node.token());
    node.tell("q", QueueCommand::Send { queue, messages, token });
    node.auto = true;
    node.crash(START + 1);
    assert_eq!(node.bodies("q", 10), ["a"]);
    assert_eq!(node.post("q", "c").offset, kept.offset + 1);
}

#[test]
fn changed_settings_are_the_ones_that_hold_wherever_the_change_is_cut() {
    for flushed in 0..3 {
        let mut node = Node::new(1);
        let view = node.create("q", standard());
        node.post("q", "a");
        node.auto = false;
        let settings = std::sync::Arc::new(Settings { delay_ms: 7, ..standard() });
        let (queue, token) = (QueueName::new("q"), node.token());
        node.tell("q", QueueCommand::Configure { queue, settings, revision: None, token });
        node.disk.flush(view.partition, flushed);
        node.auto = true;
        node.crash(START + 1);
        assert_eq!(node.view("q").settings.delay_ms, if flushed == 0 { 0 } else { 7 });
        assert_eq!(node.bodies("q", 10), ["a"]);
        node.pass(1);
        assert_eq!(node.records(), 2, "an old record is not left");
    }
}

#[test]
fn an_answer_to_a_receive_needs_nothing_durable_but_the_messages() {
    let mut node = Node::new(1);
    let dead = hub::queue::DeadLetters { target: QueueName::new("dead"), receives_max: 9 };
    node.create("dead", standard());
    node.create("q", Settings { visibility_ms: 0, dead_letters: Some(dead), ..standard() });
    node.post("q", "a");
    node.receive("q", 1);
    node.auto = false;
    let token = node.start_receive(Receive { max: 1, ..receive("q") });
    assert_eq!(node.received(token).expect("at once").expect("messages")[0].receives, 2);
}

#[test]
fn a_deleted_queue_does_not_come_back_by_an_old_record_that_a_crash_had_left() {
    let mut node = Node::new(1);
    let view = node.create("q", standard());
    node.auto = false;
    let settings = std::sync::Arc::new(Settings { delay_ms: 7, ..standard() });
    let (queue, token) = (QueueName::new("q"), node.token());
    node.tell("q", QueueCommand::Configure { queue, settings, revision: None, token });
    // The new record is durable, that the old one is gone is not.
    node.disk.flush(view.partition, 1);
    node.auto = true;
    node.crash(START + 1);
    assert!(matches!(node.delete("q"), hub::queue::Answer::Done));
    node.crash(START + 2);
    assert_eq!(node.records(), 0);
}
