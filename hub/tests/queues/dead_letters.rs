//! Messages that were received too often: they go to another queue, once, whatever crashes; and what happens when they cannot.

use crate::node::{Node, START, fifo, receive, standard, waiting};
use hub::queue::{
    Allow, Answer, DeadLetters, Kind, QueueCommand, QueueName, QueueRefusal, Settings, Stage, Wall,
};

fn to(target: &str, receives_max: u32) -> Option<DeadLetters> {
    Some(DeadLetters { target: QueueName::new(target), receives_max })
}

/// Two queues of that kind, on different shards where there are several.
fn pair(node: &mut Node, kind: Kind, receives_max: u32) {
    if node.topology.shards > 1 {
        assert_ne!(QueueName::new("q").home(&node.topology), QueueName::new("dead").home(&node.topology));
    }
    node.create("dead", Settings { kind, ..standard() });
    node.create(
        "q",
        Settings { kind, dead_letters: to("dead", receives_max), visibility_ms: 1000, ..standard() },
    );
}

#[test]
fn a_message_goes_at_the_receive_after_the_last_one_it_may_have() {
    for kind in [Kind::Standard, Kind::Fifo] {
        let mut node = Node::new(2);
        pair(&mut node, kind, 2);
        node.post_to("q", "g", "a");
        node.post_to("q", "h", "b");
        for _ in 0..2 {
            assert_eq!(node.bodies("q", 1), ["a"]);
            node.pass(1000);
        }
        assert_eq!(node.counts("dead"), (0, 0, 0), "not before somebody wants it");
        assert_eq!(node.bodies("q", 10), ["b"], "others are received in its place");
        assert_eq!((node.counts("q"), node.counts("dead")), ((0, 1, 0), (1, 0, 0)));
        assert_eq!(node.bodies("dead", 10), ["a"]);
    }
}

#[test]
fn a_dead_letter_stays_the_message_it_was() {
    let mut node = Node::new(2);
    pair(&mut node, Kind::Standard, 1);
    let first = node.post_to("q", "g", "a");
    node.pass(500);
    node.receive("q", 1);
    node.pass(5000);
    node.receive("q", 1);
    let got = node.receive("dead", 1).remove(0);
    assert_eq!(got.receives, 1, "in this queue");
    assert_eq!((got.sent.id, got.sent.group.as_deref()), (first.id, Some("g")));
    assert_eq!(got.sent.sent, Wall(START), "its age counts from the first send");
    let origin = got.sent.origin.expect("moved");
    assert_eq!(origin.source, Some(QueueName::new("q")));
    assert_eq!((origin.receives, origin.first_received), (1, Wall(START + 500)));
}

#[test]
fn the_age_of_a_dead_letter_counts_from_the_first_send_or_starts_again() {
    for (kind, left) in [(Kind::Standard, 0), (Kind::Fifo, 1)] {
        let mut node = Node::new(1);
        pair(&mut node, kind, 1);
        node.configure("dead", Settings { kind, retention_ms: 60_000, ..standard() }).expect("configured");
        node.post_to("q", "g", "a");
        node.receive("q", 1);
        node.pass(59_999);
        node.receive("q", 1);
        assert_eq!(node.counts("dead"), (1, 0, 0));
        node.pass(1);
        assert_eq!(node.counts("dead"), (left, 0, 0));
    }
}

#[test]
fn a_group_waits_for_its_dead_letter_and_then_goes_on() {
    let mut node = Node::new(1);
    pair(&mut node, Kind::Fifo, 1);
    node.post_to("q", "g", "a");
    node.post_to("q", "g", "b");
    assert_eq!(node.bodies("q", 1), ["a"]);
    node.pass(1000);
    node.auto = false;
    let token = node.start_receive(waiting("q", 20_000));
    assert!(node.received(token).is_none(), "a is on its way");
    node.auto = true;
    node.tick();
    assert_eq!(node.received(token).expect("woken").expect("messages")[0].body, "b");
    assert_eq!(node.bodies("dead", 10), ["a"]);
}

#[test]
fn the_same_content_in_the_target_is_no_reason_to_drop_a_dead_letter() {
    let mut node = Node::new(1);
    let content = Settings { deduplicate_content: true, ..fifo() };
    node.create("dead", content.clone());
    node.create("q", Settings { dead_letters: to("dead", 1), visibility_ms: 0, ..content });
    for _ in 0..2 {
        let message = hub::queue::Message {
            group: Some("g".into()),
            content_hash: Some([1; 32]),
            ..node.message("same")
        };
        node.send("q", message);
        node.receive("q", 1);
        node.receive("q", 1);
        node.pass(300_000);
    }
    assert_eq!(node.bodies("dead", 10), ["same", "same"]);
}

#[test]
fn without_a_target_the_message_stays_and_is_received() {
    let mut node = Node::new(2);
    pair(&mut node, Kind::Standard, 1);
    node.delete("dead");
    node.post("q", "a");
    node.receive("q", 1);
    node.pass(1000);
    let token = node.start_receive(waiting("q", 20_000));
    let got = node.received(token).expect("at once").expect("messages");
    assert_eq!((got[0].body.as_str(), got[0].receives), ("a", 2));
    node.create("dead", standard());
    node.pass(20_000);
    assert_eq!(node.bodies("q", 1), [""; 0], "tried again after a while");
    assert_eq!(node.bodies("dead", 1), ["a"]);
}

#[test]
fn a_target_that_does_not_allow_it_any_more_gets_nothing() {
    let mut node = Node::new(2);
    pair(&mut node, Kind::Standard, 1);
    node.configure("dead", Settings { allow: Allow::Nobody, ..standard() }).expect("configured");
    node.post("q", "a");
    node.receive("q", 1);
    node.pass(1000);
    node.receive("q", 1);
    assert_eq!((node.counts("dead"), node.bodies("q", 1)), ((0, 0, 0), vec!["a".to_owned()]));
}

#[test]
fn what_cannot_be_a_target_is_refused() {
    let mut node = Node::new(2);
    node.create("f", fifo());
    node.create("s", standard());
    node.create("no", Settings { allow: Allow::Nobody, ..standard() });
    node.create("some", Settings { allow: Allow::Only(vec![QueueName::new("q")]), ..standard() });
    let with = |target: &str| Settings { dead_letters: to(target, 3), ..standard() };
    let mut create = |queue: &str, target: &str| {
        let settings = std::sync::Arc::new(with(target));
        match node.ask(queue, |queue, token| QueueCommand::Create { queue, settings, token }) {
            Answer::Created(_) => Ok(()),
            Answer::Refused(why) => Err(why),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(create("r", "none"), Err(QueueRefusal::NoTarget));
    assert_eq!(create("r", "f"), Err(QueueRefusal::WrongTarget));
    assert_eq!(create("r", "no"), Err(QueueRefusal::TargetNotAllowed));
    assert_eq!(create("r", "some"), Err(QueueRefusal::TargetNotAllowed));
    assert_eq!(create("q", "some"), Ok(()));
    let refused = |node: &mut Node, target: &str| node.configure("q", with(target)).map(|_| ());
    assert_eq!(refused(&mut node, "none"), Err(QueueRefusal::NoTarget));
    assert_eq!(refused(&mut node, "q"), Err(QueueRefusal::WrongTarget));
    assert_eq!(refused(&mut node, "s"), Ok(()));
    let zero = Settings { dead_letters: to("s", 0), ..standard() };
    assert_eq!(node.configure("q", zero).map(|_| ()), Err(QueueRefusal::BadSettings));
    node.post("q", "a");
    assert_eq!(node.bodies("q", 1), ["a"], "what was refused has done nothing");
}

#[test]
fn the_sources_of_a_dead_letter_queue_are_listed() {
    let mut node = Node::new(1);
    node.create("dead", standard());
    ["c", "a", "b"].iter().for_each(|queue| {
        node.create(queue, Settings { dead_letters: to("dead", 1), ..standard() });
    });
    let mut names = |after: Option<&str>, limit| {
        let (target, after) = (QueueName::new("dead"), after.map(QueueName::new));
        let command = |_, token| QueueCommand::Sources { target, after, limit, token };
        let Answer::Names(page) = node.ask("dead", command) else { panic!() };
        (page.items.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(names(None, 2), (vec!["a".into(), "b".into()], true));
    assert_eq!(names(Some("b"), 2), (vec!["c".into()], false));
    node.delete("a");
    node.configure("b", standard()).expect("configured");
    let (target, after) = (QueueName::new("dead"), None);
    let command = |_, token| QueueCommand::Sources { target, after, limit: 9, token };
    let Answer::Names(page) = node.ask("dead", command) else { panic!() };
    assert_eq!(page.items, [QueueName::new("c")]);
}

#[test]
fn counts_that_decide_survive_a_restart() {
    let mut node = Node::new(1);
    pair(&mut node, Kind::Standard, 3);
    node.post("q", "a");
    for _ in 0..3 {
        assert_eq!(node.bodies("q", 1), ["a"]);
        node.pass(1000);
    }
    node.restart(0);
    assert_eq!(node.bodies("q", 1), [""; 0]);
    assert_eq!(node.bodies("dead", 1), ["a"]);
}

#[test]
fn a_move_is_neither_lost_nor_doubled_wherever_it_is_cut() {
    // Letters are: load, move, moved, forget. Of what each writes, everything or nothing is durable.
    for kind in [Kind::Standard, Kind::Fifo] {
        for cut in 0..5 {
            for durable in [true, false] {
                let mut node = Node::new(2);
                pair(&mut node, kind, 1);
                node.post_to("q", "g", "a");
                node.receive("q", 1);
                node.pass(1000);
                node.auto = false;
                _ = node.start_receive(receive("q"));
                for _ in 0..cut {
                    node.flush();
                    let letter = node.letters.remove(0);
                    node.deliver(letter);
                }
                if durable {
                    node.flush();
                }
                node.auto = true;
                node.crash(START + 5000);
                node.receive("q", 1);
                assert_eq!(node.counts("q"), (0, 0, 0), "{kind:?} cut {cut} durable {durable}");
                assert_eq!(node.bodies("dead", 10), ["a"], "{kind:?} cut {cut} durable {durable}");
                node.pass(40_000);
                let got = node.receive("dead", 10).remove(0);
                node.settle("dead", got.receipt).expect("settled");
                node.pass(400_000);
                assert_eq!(node.records(), 2, "the queues' own: {kind:?} cut {cut} durable {durable}");
            }
        }
    }
}

#[test]
fn a_dead_letter_that_was_settled_before_its_move_was_over_does_not_come_back() {
    let mut node = Node::new(2);
    pair(&mut node, Kind::Standard, 1);
    node.post("q", "a");
    node.receive("q", 1);
    node.pass(1000);
    node.auto = false;
    _ = node.start_receive(receive("q"));
    for _ in 0..2 {
        node.flush();
        let letter = node.letters.remove(0);
        node.deliver(letter);
    }
    // It is in the target; the answer to the source is on its way and gets lost.
    node.flush();
    node.letters.clear();
    let token = node.start_receive(receive("dead"));
    let got = node.received(token).expect("at once").expect("messages");
    let (token, receipts) = (node.token(), vec![got[0].receipt]);
    node.tell("dead", QueueCommand::Settle { queue: QueueName::new("dead"), receipts, token });
    node.flush();
    node.letters.clear();
    node.auto = true;
    node.crash(START + 5000);
    assert_eq!((node.bodies("dead", 10), node.bodies("q", 10)), (vec![], vec![]));
    assert_eq!(node.records(), 2, "the queues' own");
}

#[test]
fn a_purge_or_deletion_meanwhile_doubles_nothing() {
    for deletes in [false, true] {
        let mut node = Node::new(2);
        pair(&mut node, Kind::Standard, 1);
        node.post("q", "a");
        node.receive("q", 1);
        node.pass(1000);
        node.auto = false;
        _ = node.start_receive(receive("q"));
        node.flush();
        let token = node.token();
        let queue = QueueName::new("q");
        node.tell(
            "q",
            if deletes {
                QueueCommand::Delete { queue, token }
            } else {
                QueueCommand::Purge { queue, token }
            },
        );
        node.flush();
        node.auto = true;
        node.crash(START + 5000);
        node.pass(1000);
        assert_eq!(node.bodies("dead", 10), ["a"], "it had left");
        assert_eq!(node.records(), if deletes { 2 } else { 3 });
    }
}

#[test]
fn moves_have_a_limit_and_what_is_over_it_waits() {
    let mut node = Node::new(1);
    node.config.limits.moves_max = 1;
    node.restart(0);
    pair(&mut node, Kind::Standard, 1);
    (0..5).for_each(|_| _ = node.post("q", "a"));
    node.receive("q", 10);
    node.pass(1000);
    node.auto = false;
    let token = node.start_receive(waiting("q", 20_000));
    let (token_view, queue) = (node.token(), QueueName::new("q"));
    node.tell("q", QueueCommand::Describe { queue, token: token_view });
    let Some(Answer::View(view)) = node.answers.remove(&token_view) else { panic!() };
    assert_eq!((view.counts.visible, view.counts.in_flight), (4, 1));
    node.auto = true;
    node.tick();
    node.pass(20_000);
    assert_eq!(node.received(token).map(|got| got.expect("none").len()), Some(0));
    assert_eq!((node.counts("q"), node.counts("dead")), ((0, 0, 0), (5, 0, 0)));
}

#[test]
fn a_message_on_its_way_is_counted_and_its_receipt_does_nothing() {
    let mut node = Node::new(1);
    pair(&mut node, Kind::Standard, 1);
    node.post("q", "a");
    let receipt = node.receive("q", 1).remove(0).receipt;
    node.pass(1000);
    node.auto = false;
    _ = node.start_receive(receive("q"));
    let peek = |queue, token| QueueCommand::Peek { queue, after: 0, limit: 9, token };
    node.auto = true;
    assert_eq!(node.settle("q", receipt), Ok(()));
    let Answer::Peeked(page) = node.ask("dead", peek) else { panic!() };
    assert_eq!(page.items.iter().map(|peeked| peeked.stage).collect::<Vec<_>>(), [Stage::Visible]);
}
