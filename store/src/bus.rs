//! Live frames between nodes: at most once, and no publisher ever waits for a slow node.
//!
//! What must not be lost goes through the [`Log`](crate::Log) first; its frame then carries the position, so that a
//! receiver that missed one reads it there.

use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

use crate::{Done, Position};

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

/// A node that is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Its life: everything known of an earlier one is void.
    pub epoch: u64,
}

/// One message on its way to other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The channel's name.
    pub channel: Arc<str>,
    /// Its place in the channel's log, when it is stored.
    pub position: Option<Position>,
    /// Id of the message.
    pub id: u128,
    /// Where it was published.
    pub origin: NodeId,
    /// Opaque.
    pub body: Bytes,
}

/// A change of what a node wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Frames of channels that match the filter.
    Add(Arc<str>),
    /// No longer. May lag: frames may still come.
    Remove(Arc<str>),
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other member.
    Others,
    /// One node.
    Node(NodeId),
}

/// What came back within the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// In the order they came.
    pub replies: Vec<(NodeId, Bytes)>,
    /// Who was asked and did not answer, sorted.
    pub missing: Vec<NodeId>,
}

/// Where the answer to a question goes. Dropping it leaves the asker waiting for its time.
pub struct Reply(Box<dyn FnOnce(Bytes) + Send>);

impl Reply {
    /// Made by an implementation of [`Bus`].
    #[must_use]
    pub fn new(send: impl FnOnce(Bytes) + Send + 'static) -> Self {
        Self(Box::new(send))
    }

    /// Answers; too late is without effect.
    pub fn send(self, body: Bytes) {
        (self.0)(body);
    }
}

/// A question of another node.
pub struct Question {
    /// Who asks.
    pub from: NodeId,
    /// Opaque.
    pub request: Bytes,
    /// Where the answer goes.
    pub reply: Reply,
}

/// What a node takes from the bus, from any thread. Must not block or publish; what does not fit is dropped by the taker.
pub trait Inbound: Send + Sync {
    /// Frames of other nodes, in the order each of them published on a channel; never the node's own.
    fn frames(&self, batch: Vec<Frame>);
    /// A question to this node.
    fn question(&self, question: Question);
}

/// One node's place on the bus.
pub trait Bus: Send + Sync {
    /// Changes what this node hears. Interest is a set: adding twice is adding once.
    fn interest(&self, changes: Vec<Interest>);

    /// To every other node with matching interest, at most once each.
    fn publish(&self, frames: Vec<Frame>);

    /// Asks nodes and completes `done` with [`Completion::Answered`] when all have answered or `wait` is over.
    ///
    /// [`Completion::Answered`]: crate::Completion::Answered
    fn ask(&self, to: To, request: Bytes, wait: Duration, done: Done);

    /// Who is there, this node included, sorted.
    fn members(&self) -> Vec<Member>;
}
