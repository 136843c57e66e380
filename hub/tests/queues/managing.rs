//! Queues themselves: created, configured, listed, purged, deleted, and created again.

use crate::node::{Node, START, fifo, standard};
use hub::queue::{Answer, QueueCommand, QueueFlow, QueueName, QueueRefusal, Settings, Wall};
use std::sync::Arc;

fn refused(answer: Answer) -> QueueRefusal {
    match answer {
        Answer::Refused(why) => why,
        other => panic!("{other:?}"),
    }
}

fn create(node: &mut Node, queue: &str, settings: Settings) -> Answer {
    let settings = Arc::new(settings);
    node.ask(queue, |queue, token| QueueCommand::Create { queue, settings, token })
}

#[test]
fn a_name_that_is_taken_is_answered_with_the_queue_that_has_it() {
    let mut node = Node::new(1);
    let first = node.create("q", Settings { delay_ms: 5, ..standard() });
    let Answer::Exists(view) = create(&mut node, "q", standard()) else { panic!() };
    assert_eq!((view.incarnation, view.settings.delay_ms), (first.incarnation, 5));
}

#[test]
fn settings_are_kept_as_they_are_also_over_a_restart() {
    use hub::queue::{Allow, DeadLetters, Kind, Scope};
    let mut node = Node::new(1);
    node.create("dead", fifo());
    let settings = Settings {
        kind: Kind::Fifo,
        visibility_ms: 1,
        delay_ms: 2,
        wait_ms: 3,
        retention_ms: 4_000_000,
        message_bytes_max: 5,
        deduplicate_content: true,
        scope: Scope::Group,
        dead_letters: Some(DeadLetters { target: QueueName::new("dead"), receives_max: 6 }),
        allow: Allow::Only(vec![QueueName::new("a"), QueueName::new("b")]),
        extra: b"anything".to_vec().into(),
    };
    let created = node.create("q", settings.clone());
    assert_eq!((created.created, created.modified), (Wall(START), Wall(START)));
    node.pass(7000);
    let changed = node.configure("q", Settings { delay_ms: 9, ..settings.clone() }).expect("configured");
    assert_eq!((changed.created, changed.modified), (Wall(START), Wall(START + 7000)));
    node.restart(1000);
    let view = node.view("q");
    assert_eq!(*view.settings, Settings { delay_ms: 9, ..settings });
    assert_eq!((view.revision, view.incarnation), (changed.revision, created.incarnation));
    assert_eq!((view.created, view.modified), (Wall(START), Wall(START + 7000)));
}

#[test]
fn a_change_made_from_an_old_view_is_refused() {
    let mut node = Node::new(1);
    let view = node.create("q", standard());
    let mut configure = |revision, delay_ms| {
        let settings = Arc::new(Settings { delay_ms, ..standard() });
        node.ask("q", |queue, token| QueueCommand::Configure { queue, settings, revision, token })
    };
    let Answer::Configured(second) = configure(Some(view.revision), 1) else { panic!() };
    assert_eq!(refused(configure(Some(view.revision), 2)), QueueRefusal::Conflict);
    assert!(matches!(configure(Some(second.revision), 3), Answer::Configured(_)));
    assert!(matches!(configure(None, 4), Answer::Configured(_)));
}

#[test]
fn what_makes_no_sense_is_refused_and_harms_nothing() {
    let mut node = Node::new(1);
    let long = "x".repeat(513);
    for (name, settings) in [
        ("", standard()),
        (long.as_str(), standard()),
        ("q", Settings { extra: vec![0; 65_537].into(), ..standard() }),
        ("q", Settings { allow: hub::queue::Allow::Only(vec![QueueName::new("a"); 11]), ..standard() }),
    ] {
        assert_eq!(refused(create(&mut node, name, settings)), QueueRefusal::BadSettings);
    }
    node.create("q", standard());
    assert_eq!(node.configure("q", fifo()).map(|_| ()), Err(QueueRefusal::BadSettings));
    node.post("q", "a");
    assert_eq!(node.bodies("q", 1), ["a"]);
}

#[test]
fn every_command_says_when_there_is_no_such_queue() {
    let mut node = Node::new(1);
    let settings = Arc::new(standard());
    let configure = |queue, token| QueueCommand::Configure { queue, settings, revision: None, token };
    assert_eq!(refused(node.ask("q", configure)), QueueRefusal::NotFound);
    assert_eq!(refused(node.delete("q")), QueueRefusal::NotFound);
    assert_eq!(refused(node.purge("q")), QueueRefusal::NotFound);
    let describe = |queue, token| QueueCommand::Describe { queue, token };
    assert_eq!(refused(node.ask("q", describe)), QueueRefusal::NotFound);
    let message = node.message("a");
    assert_eq!(node.try_send("q", message), Err(QueueRefusal::NotFound));
    let waiting = crate::node::waiting("q", 1000);
    assert!(matches!(node.try_receive(waiting), Err(QueueRefusal::NotFound)));
}

#[test]
fn a_purge_ends_everything_and_old_receipts_do_nothing() {
    for settings in [standard(), fifo()] {
        let mut node = Node::new(1);
        node.create("q", settings);
        ["a", "b", "c"].iter().for_each(|body| _ = node.post_to("q", body, body));
        let receipt = node.receive("q", 1).remove(0).receipt;
        assert!(matches!(node.purge("q"), Answer::Done));
        assert_eq!(node.counts("q"), (0, 0, 0));
        assert_eq!(node.settle("q", receipt), Ok(()));
        assert_eq!(node.hold("q", receipt, 5), Err(QueueRefusal::Gone));
        node.post_to("q", "a", "d");
        assert_eq!(node.bodies("q", 10), ["d"]);
        node.restart(1);
        assert_eq!(node.bodies("q", 10), ["d"]);
    }
}

#[test]
fn purged_and_deleted_messages_are_cleared_away_step_by_step_also_over_crashes() {
    for deletes in [false, true] {
        let mut node = Node::new(1);
        node.create("q", fifo());
        node.post_to("q", "g", "0");
        let receipt = node.receive("q", 1).remove(0).receipt;
        node.settle("q", receipt).expect("settled");
        (1..3000).for_each(|n: u32| _ = node.post_to("q", "g", &n.to_string()));
        if deletes {
            node.delete("q")
        } else {
            node.purge("q")
        };
        node.tick();
        let left = node.records();
        assert!((1..3000).contains(&left), "{left}");
        node.restart(0);
        if !deletes {
            assert_eq!(node.counts("q"), (0, 0, 0));
        }
        node.pass(1);
        assert_eq!(node.records(), usize::from(!deletes));
        assert_eq!(node.next_deadline(), None);
    }
}

#[test]
fn a_queue_that_is_created_again_is_another_one() {
    let mut node = Node::new(1);
    let first = node.create("q", fifo());
    node.post_to("q", "g", "a");
    node.delete("q");
    let second = node.create("q", fifo());
    assert_ne!(first.incarnation, second.incarnation);
    assert!(!node.post_to("q", "g", "a").duplicate);
    assert_eq!(node.counts("q"), (1, 0, 0));
    node.restart(1);
    assert_eq!(node.bodies("q", 10), ["a"]);
}

#[test]
fn pauses_after_a_deletion_and_a_purge_hold_where_they_are_wanted() {
    let mut node = Node::new(1);
    node.config.pause_ms = 60_000;
    node.restart(0);
    node.create("q", standard());
    assert!(matches!(node.purge("q"), Answer::Done));
    node.pass(59_999);
    assert_eq!(refused(node.purge("q")), QueueRefusal::JustPurged);
    node.pass(1);
    assert!(matches!(node.purge("q"), Answer::Done));
    node.delete("q");
    node.pass(59_999);
    assert_eq!(refused(create(&mut node, "q", standard())), QueueRefusal::JustDeleted);
    node.pass(1);
    node.create("q", standard());
}

#[test]
fn queues_are_listed_in_order_by_prefix_and_page() {
    let mut node = Node::new(1);
    ["b2", "a", "b1", "b3", "c"].iter().for_each(|queue| _ = node.create(queue, standard()));
    let mut names = |prefix: &str, after: Option<&str>, limit| {
        let (prefix, after) = (prefix.to_owned(), after.map(QueueName::new));
        let command = |_, token| QueueCommand::List { prefix, after, limit, token };
        let Answer::Page(page) = node.ask("a", command) else { panic!() };
        let names: Vec<_> = page.items.iter().map(|view| view.name.as_str().to_owned()).collect();
        (names.join(" "), page.more)
    };
    assert_eq!(names("", None, 100), ("a b1 b2 b3 c".into(), false));
    assert_eq!(names("b", None, 2), ("b1 b2".into(), true));
    assert_eq!(names("b", Some("b2"), 2), ("b3".into(), false));
    assert_eq!(names("b", Some("a"), 1), ("b1".into(), true));
    assert_eq!(names("x", None, 2), (String::new(), false));
}

#[test]
fn an_empty_hub_is_idle_again() {
    let mut node = Node::new(2);
    for queue in ["q", "r", "s"] {
        node.create(queue, standard());
        node.post(queue, "a");
        node.delete(queue);
    }
    node.pass(1);
    assert!(node.hubs.iter().all(|hub| hub.is_idle()));
    assert_eq!(node.records(), 0);
}

#[test]
fn what_has_gone_through_a_queue_is_counted_once_and_never_less() {
    let mut node = Node::new(1);
    node.create("q", fifo());
    for body in ["a", "a", "b"] {
        node.post_to("q", "g", body);
    }
    let got = node.receive("q", 10);
    for _ in 0..2 {
        node.settle("q", got[0].receipt).expect("settled");
    }
    let flow = QueueFlow { sent: 2, received: 2, settled: 1 };
    assert_eq!(node.view("q").flow, flow);
    node.purge("q");
    assert_eq!(node.view("q").flow, flow);
}
