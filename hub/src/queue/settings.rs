//! What a queue is configured with, and the rules between the settings of two queues. Knows no queue's state.

use super::ids::QueueName;
use super::limits::QueueLimits;
use bytes::Bytes;

/// What a queue promises about order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// By and large first in, first out; groups only share it fairly.
    #[default]
    Standard,
    /// First in, first out within each group; no message twice within the deduplication window.
    Fifo,
}

/// Within what a deduplication id is unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The queue.
    #[default]
    Queue,
    /// The message's group.
    Group,
}

/// Where a message goes that was received too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// A queue of the same kind.
    pub target: QueueName,
    /// It goes at the receive after so many, at least 1.
    pub receives_max: u32,
}

/// Which queues may name this one as the target of their dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Any.
    #[default]
    Everyone,
    /// None.
    Nobody,
    /// These.
    Only(Vec<QueueName>),
}

/// How a queue behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Of its creation; never changes.
    pub kind: Kind,
    /// How long a received message stays in flight, where the receive does not say. Milliseconds.
    pub visibility_ms: u64,
    /// How long a sent message waits before it can be received. Standard: where the send does not say, and for later
    /// sends only. FIFO: for all, also those that are stored. Milliseconds.
    pub delay_ms: u64,
    /// How long a receive waits for a message, where it does not say. Milliseconds.
    pub wait_ms: u64,
    /// How long after its send a message is gone. Milliseconds.
    pub retention_ms: u64,
    /// Largest message, in bytes as the sender counts them.
    pub message_bytes_max: u32,
    /// FIFO: a message without a deduplication id is known by its content.
    pub deduplicate_content: bool,
    /// FIFO: within what ids are unique, for later sends.
    pub scope: Scope,
    /// Where what was received too often goes.
    pub dead_letters: Option<DeadLetters>,
    /// Who may send dead letters here.
    pub allow: Allow,
    /// What else belongs to the queue; kept and handed back as it is.
    pub extra: Bytes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: Kind::Standard,
            visibility_ms: 30_000,
            delay_ms: 0,
            wait_ms: 0,
            retention_ms: 4 * 86_400_000,
            message_bytes_max: 1_048_576,
            deduplicate_content: false,
            scope: Scope::Queue,
            dead_letters: None,
            allow: Allow::Everyone,
            extra: Bytes::new(),
        }
    }
}

impl Settings {
    pub(crate) fn is_fifo(&self) -> bool {
        self.kind == Kind::Fifo
    }

    /// Whether `source` may send its dead letters to the queue of these settings.
    #[must_use]
    pub fn allows(&self, source: &QueueName) -> bool {
        match &self.allow {
            Allow::Everyone => true,
            Allow::Nobody => false,
            Allow::Only(sources) => sources.contains(source),
        }
    }

    /// Whether the hub takes them. Ranges of times are the caller's business.
    pub(crate) fn fit(&self, limits: &QueueLimits) -> bool {
        let allow = match &self.allow {
            Allow::Only(sources) => sources.len() <= limits.allowed_sources_max as usize,
            Allow::Everyone | Allow::Nobody => true,
        };
        let dead = self.dead_letters.as_ref().is_none_or(|dead| dead.receives_max > 0);
        allow && dead && self.extra.len() <= limits.extra_bytes_max as usize
    }
}
