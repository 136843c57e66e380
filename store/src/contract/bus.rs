//! The rules of [`Bus`](crate::Bus). Each function is one rule and panics when it is broken.
//!
//! That nothing came is shown by a last frame that did.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use super::rig::{BusRig, Heard, Pending, Sink};
use crate::{Answers, Bus, Completion, Frame, Interest, Member, NodeId, Position, To};

/// Every node of these tests listens here; its frame says that all earlier ones have come.
const LAST: &str = "last";
const WAIT: Duration = Duration::from_secs(5);

struct Node {
    bus: Box<dyn Bus>,
    heard: Arc<Sink<Heard>>,
}

fn join(rig: &impl BusRig, node: u64) -> Node {
    let heard = Sink::<Heard>::new();
    let bus = rig.join(Member { node: NodeId(node), epoch: 1 }, heard.clone());
    bus.interest(vec![Interest::Add(LAST.into())]);
    Node { bus, heard }
}

fn frame(origin: u64, channel: &str, id: u128) -> Frame {
    Frame {
        channel: channel.into(),
        position: None,
        id,
        origin: NodeId(origin),
        body: Bytes::from_static(b"body"),
    }
}

fn listen(node: &Node, filter: &str) {
    node.bus.interest(vec![Interest::Add(filter.into())]);
}

/// Publishes these ids on these channels, then the last frame.
fn publish(node: &Node, origin: u64, frames: &[(&str, u128)]) {
    let frames = frames.iter().map(|(channel, id)| frame(origin, channel, *id));
    node.bus.publish(frames.chain([frame(origin, LAST, 0)]).collect());
}

/// Ids of the frames that came before the last one.
fn heard(node: &Node) -> Vec<u128> {
    node.heard.wait("the last frame", |heard| {
        let complete = heard.frames.iter().any(|frame| &*frame.channel == LAST);
        complete.then(|| heard.frames.iter().map(|frame| frame.id).filter(|id| *id != 0).collect())
    })
}

fn asked(rig: &impl BusRig, node: &Node, to: To, pass: Duration) -> Answers {
    let (pending, done) = Pending::new();
    node.bus.ask(to, Bytes::from_static(b"who?"), WAIT, done);
    rig.advance(pass);
    match pending.completion() {
        Completion::Answered(answers) => answers,
        other => unreachable!("a question was completed with {other:?}"),
    }
}

fn will_answer(node: &Node, answer: &'static str) {
    node.heard.push(|heard| heard.answers.push(Bytes::from_static(answer.as_bytes())));
}

/// Whole: position, id, origin and body.
pub fn frames_reach_nodes_with_interest_only(rig: &impl BusRig) {
    let (a, b, c) = (join(rig, 1), join(rig, 2), join(rig, 3));
    listen(&b, "x/y");
    let sent = Frame { position: Some(Position { epoch: 4, offset: 5 }), ..frame(1, "x/y", 6) };
    a.bus.publish(vec![sent.clone(), frame(1, "x/z", 7), frame(1, LAST, 0)]);
    assert_eq!(heard(&b), [6]);
    assert_eq!(heard(&c), [0_u128; 0]);
    let first = b.heard.wait("a frame", |heard| heard.frames.first().cloned());
    assert_eq!(first, sent);
}

/// Its own sessions were served before.
pub fn a_node_never_hears_itself(rig: &impl BusRig) {
    let (a, b) = (join(rig, 1), join(rig, 2));
    listen(&a, "x");
    publish(&a, 1, &[("x", 1)]);
    publish(&b, 2, &[("x", 2)]);
    assert_eq!(heard(&a), [2]);
}

/// On one channel and over calls.
pub fn frames_of_one_publisher_keep_their_order(rig: &impl BusRig) {
    let (a, b) = (join(rig, 1), join(rig, 2));
    listen(&b, "x");
    for id in 1..100 {
        a.bus.publish(vec![frame(1, "x", id), frame(1, "x", id + 1000)]);
    }
    publish(&a, 1, &[]);
    assert_eq!(heard(&b), (1..100).flat_map(|id| [id, id + 1000]).collect::<Vec<u128>>());
}

/// Also for names that mean something to an engine.
pub fn filters_match_by_level(rig: &impl BusRig) {
    let (a, b) = (join(rig, 1), join(rig, 2));
    for filter in ["one/+/c", "all/#", "dots.and spaces/*", "gr\u{fc}n/>"] {
        listen(&b, filter);
    }
    let sent = [
        ("one/b/c", 1),
        ("one/b/d", 2),
        ("one/b/c/d", 3),
        ("all", 4),
        ("all/a/b", 5),
        ("alles", 6),
        ("dots.and spaces/*", 7),
        ("dots.and spaces/x", 8),
        ("gr\u{fc}n/>", 9),
        ("gr\u{fc}n/x", 10),
    ];
    publish(&a, 1, &sent);
    assert_eq!(heard(&b), [1, 4, 5, 7, 9]);
}

/// Added twice it is heard once, removed once it is gone; filters that overlap give one copy.
pub fn interest_is_a_set(rig: &impl BusRig) {
    let (a, b) = (join(rig, 1), join(rig, 2));
    for filter in ["x", "x", "+", "y"] {
        listen(&b, filter);
    }
    b.bus.interest(vec![
        Interest::Remove("+".into()),
        Interest::Remove("y".into()),
        Interest::Add("x/#".into()),
    ]);
    publish(&a, 1, &[("x", 1), ("y", 2)]);
    assert_eq!(heard(&b), [1]);
}

/// And is complete at once, without waiting for its time.
pub fn a_question_is_answered_by_all(rig: &impl BusRig) {
    let (a, b, c) = (join(rig, 1), join(rig, 2), join(rig, 3));
    will_answer(&b, "b");
    will_answer(&c, "c");
    let mut answers = asked(rig, &a, To::Others, Duration::ZERO);
    answers.replies.sort();
    assert_eq!(answers.missing, []);
    assert_eq!(
        answers.replies,
        [(NodeId(2), Bytes::from_static(b"b")), (NodeId(3), Bytes::from_static(b"c"))]
    );
    let question = b.heard.wait("the question", |heard| heard.questions.first().cloned());
    assert_eq!(question, (NodeId(1), Bytes::from_static(b"who?")));
}

/// Whoever did not answer in time is missing, the others' answers count.
pub fn a_silent_node_is_named(rig: &impl BusRig) {
    let (a, b, _c) = (join(rig, 1), join(rig, 2), join(rig, 3));
    will_answer(&b, "b");
    let answers = asked(rig, &a, To::Others, WAIT);
    assert_eq!(answers.replies, [(NodeId(2), Bytes::from_static(b"b"))]);
    assert_eq!(answers.missing, [NodeId(3)]);
}

/// A question to nobody is complete.
pub fn a_node_that_is_not_there_is_named(rig: &impl BusRig) {
    let a = join(rig, 1);
    assert_eq!(asked(rig, &a, To::Node(NodeId(9)), WAIT).missing, [NodeId(9)]);
    assert_eq!(asked(rig, &a, To::Others, Duration::ZERO), Answers::default());
}

/// A node that left is no member; one that came back is a new one.
pub fn members_come_and_go(rig: &impl BusRig) {
    let a = join(rig, 1);
    let b = join(rig, 2);
    let member = |node, epoch| Member { node: NodeId(node), epoch };
    assert_eq!(a.bus.members(), [member(1, 1), member(2, 1)]);
    drop(b);
    assert_eq!(a.bus.members(), [member(1, 1)]);
    let _again = rig.join(member(2, 2), Sink::<Heard>::new());
    assert_eq!(a.bus.members(), [member(1, 1), member(2, 2)]);
}
