//! Move tasks: from a dead-letter queue back or elsewhere, oldest first, each message once, at a pace, over restarts.

use crate::node::{Node, START, fifo, receive, standard};
use hub::queue::{
    Answer, DeadLetters, MoveRefusal, QueueCommand, QueueName, QueueRefusal, Settings, TaskId, TaskRecord,
    TaskStatus, Wall,
};

fn tasks(node: &mut Node, queue: &str) -> Vec<TaskRecord> {
    let command = |queue, token| QueueCommand::Tasks { queue, limit: 100, token };
    let Answer::Tasks(all) = node.ask(queue, command) else { panic!() };
    all
}

fn statuses(node: &mut Node, queue: &str) -> Vec<(TaskStatus, u64)> {
    tasks(node, queue).iter().map(|task| (task.status, task.moved)).collect()
}

fn cancel(node: &mut Node, queue: &str, task: TaskId) -> Result<u64, QueueRefusal> {
    match node.ask(queue, |queue, token| QueueCommand::CancelTask { queue, task, token }) {
        Answer::TaskCancelled { moved } => Ok(moved),
        Answer::Refused(why) => Err(why),
        other => panic!("{other:?}"),
    }
}

/// `dead` with what was in `q`, of that kind.
fn dead_letters(node: &mut Node, settings: Settings, bodies: &[&str]) {
    node.create("dead", settings.clone());
    let dead = DeadLetters { target: QueueName::new("dead"), receives_max: 1 };
    node.create("q", Settings { dead_letters: Some(dead), visibility_ms: 0, ..settings });
    bodies.iter().for_each(|body| _ = node.post_to("q", "g", body));
    while node.counts("q").0 > 0 {
        node.receive("q", 10);
    }
    assert_eq!(node.counts("dead").0, bodies.len() as u64);
}

#[test]
fn messages_go_back_to_where_they_came_from_oldest_first_as_new_ones() {
    for settings in [standard(), fifo()] {
        let mut node = Node::new(3);
        dead_letters(&mut node, settings, &["a", "b", "c"]);
        let old = node.receive("dead", 1).remove(0);
        node.hold("dead", old.receipt, 0).expect("visible");
        node.pass(10_000);
        let task = node.start_task("dead", None, 0).expect("started");
        assert_eq!((node.counts("q"), node.counts("dead")), ((3, 0, 0), (0, 0, 0)));
        let all = tasks(&mut node, "dead");
        assert_eq!((all.len(), all[0].task, all[0].status), (1, task, TaskStatus::Completed));
        assert_eq!((all[0].moved, all[0].total, all[0].started), (3, 3, Wall(START + 10_000)));
        let got = node.receive("q", 10);
        assert_eq!(got.iter().map(|got| got.body.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_ne!(got[0].sent.id, old.sent.id);
        assert_eq!((got[0].sent.sent, got[0].receives), (Wall(START + 10_000), 1));
        assert_eq!(got[0].sent.origin.as_ref().expect("moved").source, None);
    }
}

#[test]
fn messages_can_go_elsewhere() {
    let mut node = Node::new(3);
    dead_letters(&mut node, standard(), &["a", "b"]);
    node.post("dead", "never moved before");
    node.create("r", standard());
    node.start_task("dead", Some("r"), 0).expect("started");
    assert_eq!(node.bodies("r", 10), ["a", "b", "never moved before"]);
}

#[test]
fn only_a_dead_letter_queue_of_some_queue_is_a_source() {
    let mut node = Node::new(3);
    dead_letters(&mut node, standard(), &["a"]);
    node.create("f", fifo());
    assert_eq!(node.start_task("q", None, 0), Err(QueueRefusal::NoDeadLetters));
    assert_eq!(node.start_task("none", None, 0), Err(QueueRefusal::NotFound));
    assert_eq!(node.start_task("dead", Some("none"), 0), Err(QueueRefusal::NoTarget));
    assert_eq!(node.start_task("dead", Some("f"), 0), Err(QueueRefusal::WrongTarget));
    assert_eq!(node.start_task("dead", Some("dead"), 0), Err(QueueRefusal::WrongTarget));
    assert_eq!(node.counts("dead"), (1, 0, 0));
}

#[test]
fn a_task_keeps_its_pace_and_there_is_one_at_a_time() {
    let mut node = Node::new(1);
    let bodies: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    dead_letters(&mut node, standard(), &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    node.start_task("dead", None, 10).expect("started");
    assert_eq!(node.start_task("dead", None, 10), Err(QueueRefusal::TaskRunning));
    assert_eq!(node.counts("q"), (1, 0, 0));
    node.pass(950);
    assert_eq!(node.counts("q"), (10, 0, 0));
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Running, 10)]);
    node.pass(1000);
    assert_eq!(node.counts("q"), (20, 0, 0));
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Completed, 20)]);
    node.start_task("dead", None, 10).expect("started");
}

#[test]
fn a_cancelled_task_moves_no_further_message_and_keeps_what_it_moved() {
    let mut node = Node::new(1);
    dead_letters(&mut node, standard(), &["a", "b", "c"]);
    let task = node.start_task("dead", None, 1).expect("started");
    node.pass(1000);
    assert_eq!(cancel(&mut node, "dead", TaskId(7777)), Err(QueueRefusal::NoTask));
    assert_eq!(cancel(&mut node, "dead", task), Ok(2));
    assert_eq!(cancel(&mut node, "dead", task), Err(QueueRefusal::NoTask));
    node.pass(100_000);
    assert_eq!((node.counts("q").0, node.counts("dead").0), (2, 1));
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Cancelled, 2)]);
}

#[test]
fn a_message_that_cannot_go_ends_the_task() {
    let mut node = Node::new(2);
    dead_letters(&mut node, standard(), &["a"]);
    node.post("dead", "from nowhere");
    node.start_task("dead", None, 0).expect("started");
    let failed = TaskStatus::Failed(MoveRefusal::NoSource);
    assert_eq!(statuses(&mut node, "dead"), [(failed, 1)]);
    assert_eq!(node.bodies("dead", 10), ["from nowhere"]);
}

#[test]
fn a_task_whose_target_is_deleted_fails() {
    let mut node = Node::new(2);
    dead_letters(&mut node, standard(), &["a", "b"]);
    node.create("r", standard());
    node.start_task("dead", Some("r"), 1).expect("started");
    node.delete("r");
    node.pass(5000);
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Failed(MoveRefusal::NoTarget), 1)]);
    assert_eq!(node.bodies("dead", 10), ["b"]);
}

#[test]
fn a_task_goes_on_after_a_restart_and_moves_each_message_once() {
    for cut in 0..12 {
        let mut node = Node::new(3);
        node.config.limits.task_moves_max = 2;
        node.restart(0);
        dead_letters(&mut node, standard(), &["a", "b", "c", "d"]);
        node.auto = false;
        let mut task = Some(node.start_unanswered("dead"));
        for _ in 0..cut {
            node.flush();
            if !node.letters.is_empty() {
                let letter = node.letters.remove(0);
                node.deliver(letter);
            }
            task = task.filter(|token| node.answers.remove(token).is_none());
        }
        node.auto = true;
        node.crash(START + 1000);
        node.pass(10);
        if task.is_some() {
            // It was never told that the task runs, which may or may not be so.
            _ = node.start_task("dead", None, 0);
        }
        let mut bodies = node.bodies("q", 10);
        bodies.sort();
        assert_eq!(bodies, ["a", "b", "c", "d"], "cut {cut}");
        assert_eq!(node.counts("dead"), (0, 0, 0));
    }
}

#[test]
fn dead_letters_of_dead_letters_go_back_one_step() {
    let mut node = Node::new(3);
    let to = |target: &str| Some(DeadLetters { target: QueueName::new(target), receives_max: 1 });
    node.create("c", standard());
    node.create("b", Settings { dead_letters: to("c"), visibility_ms: 0, ..standard() });
    node.create("a", Settings { dead_letters: to("b"), visibility_ms: 0, ..standard() });
    node.post("a", "x");
    for queue in ["a", "a", "b", "b"] {
        node.receive(queue, 1);
    }
    assert_eq!((node.counts("a").0, node.counts("b").0, node.counts("c").0), (0, 0, 1));
    node.start_task("c", None, 0).expect("started");
    assert_eq!((node.counts("a").0, node.counts("b").0, node.counts("c").0), (0, 1, 0));
}

#[test]
fn messages_with_a_receiver_and_later_ones_stay() {
    let mut node = Node::new(1);
    dead_letters(&mut node, standard(), &["a", "b", "c"]);
    let got = node.receive("dead", 1);
    node.start_task("dead", None, 1).expect("started");
    node.post("dead", "later");
    node.pass(10_000);
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Completed, 2)]);
    assert_eq!(node.bodies("dead", 10), ["later"]);
    node.settle("dead", got[0].receipt).expect("settled");
}

#[test]
fn finished_tasks_are_listed_newest_first_and_the_oldest_is_forgotten() {
    let mut node = Node::new(1);
    dead_letters(&mut node, standard(), &["a"]);
    let started: Vec<_> = (0..12)
        .map(|_| {
            node.pass(1000);
            node.start_task("dead", None, 0).expect("started")
        })
        .collect();
    let expected: Vec<_> = started.iter().rev().take(10).copied().collect();
    assert_eq!(tasks(&mut node, "dead").iter().map(|task| task.task).collect::<Vec<_>>(), expected);
    node.restart(0);
    assert_eq!(tasks(&mut node, "dead").iter().map(|task| task.task).collect::<Vec<_>>(), expected);
    node.delete("dead");
    node.delete("q");
    node.pass(1);
    assert_eq!(node.records(), 0);
}

#[test]
fn a_fifo_task_keeps_the_order_of_groups_and_leaves_one_that_is_held_up() {
    let mut node = Node::new(2);
    dead_letters(&mut node, fifo(), &["a1", "a2", "a3"]);
    let held = node.message("h1");
    let held = crate::node::Sending::known_as(crate::node::Sending::of(held, "h"), "h1");
    node.send("q", held);
    node.receive("q", 1);
    node.receive("q", 1);
    let got = node.receive("dead", 10);
    got.iter()
        .filter(|got| got.body != "h1")
        .for_each(|got| node.hold("dead", got.receipt, 0).expect("visible"));
    node.start_task("dead", None, 0).expect("started");
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Completed, 3)]);
    assert_eq!(node.bodies("q", 10), ["a1", "a2", "a3"]);
    assert_eq!(node.counts("dead"), (0, 1, 0));
    let rest = node.try_receive(receive("dead")).expect("none");
    assert!(rest.is_empty());
}

#[test]
fn a_message_that_is_too_old_gets_no_new_life() {
    let mut node = Node::new(1);
    dead_letters(&mut node, Settings { retention_ms: 60_000, ..standard() }, &["a", "b"]);
    node.start_task("dead", None, 1).expect("started");
    assert_eq!(node.counts("q"), (1, 0, 0));
    // Nobody looks in time.
    node.now += 60_000;
    node.tick();
    assert_eq!((node.counts("q"), node.counts("dead")), ((0, 0, 0), (0, 0, 0)));
    assert_eq!(statuses(&mut node, "dead"), [(TaskStatus::Completed, 1)]);
}
