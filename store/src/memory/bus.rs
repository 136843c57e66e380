//! The bus inside one process: every node is a handle on the same [`Exchange`].

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::filter::matches;
use crate::{
    Answers, Bus, Clock, Completion, Done, Frame, Inbound, Interest, Member, NodeId, Question, Reply,
    Timestamp, To,
};

/// Where the nodes of one process meet.
pub struct Exchange {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Node>,
    asked: u64,
    asks: BTreeMap<u64, Ask>,
}

struct Node {
    epoch: u64,
    interest: BTreeSet<Arc<str>>,
    inbound: Arc<dyn Inbound>,
}

/// A question that waits for answers.
struct Ask {
    until: Timestamp,
    answers: Answers,
    done: Done,
}

impl Exchange {
    /// An exchange without nodes.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    /// A place for one node. A node that joins again replaces its earlier life.
    #[must_use]
    pub fn join(self: &Arc<Self>, member: Member, inbound: Arc<dyn Inbound>) -> MemoryBus {
        let node = Node { epoch: member.epoch, interest: BTreeSet::new(), inbound };
        self.state().nodes.insert(member.node, node);
        MemoryBus { exchange: self.clone(), member }
    }

    /// Completes the questions whose time is over.
    pub fn expire(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        let over: Vec<u64> =
            state.asks.iter().filter(|(_, ask)| ask.until <= now).map(|(id, _)| *id).collect();
        let asks: Vec<Ask> = over.iter().filter_map(|id| state.asks.remove(id)).collect();
        drop(state);
        for ask in asks {
            ask.done.complete(Completion::Answered(ask.answers));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn answered(&self, id: u64, node: NodeId, body: Bytes) {
        let mut state = self.state();
        let Some(ask) = state.asks.get_mut(&id) else { return };
        ask.answers.missing.retain(|missing| *missing != node);
        ask.answers.replies.push((node, body));
        let complete = ask.answers.missing.is_empty();
        let ask = if complete { state.asks.remove(&id) } else { None };
        drop(state);
        if let Some(ask) = ask {
            ask.done.complete(Completion::Answered(ask.answers));
        }
    }
}

/// One node on an [`Exchange`]. Leaves when it is dropped.
pub struct MemoryBus {
    exchange: Arc<Exchange>,
    member: Member,
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        let mut state = self.exchange.state();
        if state.nodes.get(&self.member.node).is_some_and(|node| node.epoch == self.member.epoch) {
            state.nodes.remove(&self.member.node);
        }
    }
}

impl Bus for MemoryBus {
    fn interest(&self, changes: Vec<Interest>) {
        let mut state = self.exchange.state();
        let Some(node) = state.nodes.get_mut(&self.member.node) else { return };
        for change in changes {
            match change {
                Interest::Add(filter) => node.interest.insert(filter),
                Interest::Remove(filter) => node.interest.remove(&filter),
            };
        }
    }

    fn publish(&self, frames: Vec<Frame>) {
        let state = self.exchange.state();
        let wanted = |node: &Node| -> Vec<Frame> {
            let hears = |frame: &&Frame| node.interest.iter().any(|filter| matches(filter, &frame.channel));
            frames.iter().filter(hears).cloned().collect()
        };
        let others = state.nodes.iter().filter(|(id, _)| **id != self.member.node);
        let batches: Vec<_> = others.map(|(_, node)| (node.inbound.clone(), wanted(node))).collect();
        // The order of two publishers' frames is decided by the lock, so it is kept until they are handed over.
        for (inbound, batch) in batches.into_iter().filter(|(_, batch)| !batch.is_empty()) {
            inbound.frames(batch);
        }
    }

    fn ask(&self, to: To, request: Bytes, wait: Duration, done: Done) {
        let mut state = self.exchange.state();
        let missing: Vec<NodeId> = match to {
            To::Others => state.nodes.keys().copied().filter(|node| *node != self.member.node).collect(),
            To::Node(node) => vec![node],
        };
        let targets: Vec<_> =
            missing.iter().filter_map(|id| Some((*id, state.nodes.get(id)?.inbound.clone()))).collect();
        if targets.is_empty() {
            drop(state);
            return done.complete(Completion::Answered(Answers { replies: Vec::new(), missing }));
        }
        state.asked += 1;
        let id = state.asked;
        let until = self.exchange.clock.now().after(wait);
        state.asks.insert(id, Ask { until, answers: Answers { replies: Vec::new(), missing }, done });
        drop(state);
        for (node, inbound) in targets {
            let exchange = self.exchange.clone();
            let reply = Reply::new(move |body| exchange.answered(id, node, body));
            inbound.question(Question { from: self.member.node, request: request.clone(), reply });
        }
    }

    fn members(&self) -> Vec<Member> {
        let state = self.exchange.state();
        state.nodes.iter().map(|(node, state)| Member { node: *node, epoch: state.epoch }).collect()
    }
}
