//! What may be asked about a hub, and which part of a history. Data only; the answers are made in `query`. Start at [`Query`].

use crate::command::Members;
use crate::ids::{ChannelName, Position, SessionId};
use std::sync::Arc;

/// Which part of a history, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Only what is newer than this place, which must be known; `None` = from the oldest kept.
    pub after: Option<Position>,
    /// Only what is older than this place, which must be known; `None` = up to the newest.
    pub before: Option<Position>,
    /// Which of the messages there come first, and are taken where there are more than `limit`.
    pub order: Order,
    /// At most.
    pub limit: u32,
}

impl Span {
    /// What is newer than a place, as it was published.
    #[must_use]
    pub fn after(after: Option<Position>, limit: u32) -> Self {
        Self { after, before: None, order: Order::OldestFirst, limit }
    }
}

/// Of the messages of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they were published.
    #[default]
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// A question about this hub.
#[derive(Clone, Debug)]
pub enum Query {
    /// Sessions, optionally of one user or in one channel; answered by `Report::Sessions`.
    Sessions {
        /// Only these.
        of: Option<Members>,
        /// Continue after this one.
        after: Option<SessionId>,
        /// At most.
        limit: u32,
    },
    /// Channels with subscribers or history here, in order of name; answered by `Report::Channels`.
    Channels {
        /// Only those matching.
        filter: Option<String>,
        /// Continue after this one.
        after: Option<ChannelName>,
        /// At most.
        limit: u32,
    },
    /// Channels with subscribers here that are watched ([`Hub::watch`](crate::Hub::watch)), in order of name; answered by
    /// `Report::Channels`.
    Watched {
        /// Continue after this one.
        after: Option<ChannelName>,
        /// At most.
        limit: u32,
    },
    /// Members of a channel on this shard; answered by `Report::Presence`, or `Refusal::NotFound` when no rule allows
    /// presence there.
    Presence {
        /// The channel.
        channel: ChannelName,
        /// Continue after this one.
        after: Option<SessionId>,
        /// At most.
        limit: u32,
    },
    /// A page of a channel's history; this hub is its home. Answered by `Report::History` or `Report::Refused`.
    History {
        /// The channel.
        channel: ChannelName,
        /// Which part.
        span: Span,
    },
    /// The value that a channel retains; this hub is its home. Answered by `Report::Retained`.
    Retained {
        /// The channel.
        channel: ChannelName,
    },
    /// What a user is subscribed to from the start of every session; this hub is the user's home. Answered by `Report::Stored`.
    Stored {
        /// Whose.
        user: Arc<str>,
    },
    /// The sessions with the oldest messages that wait or are not acknowledged, oldest first; answered by `Report::Sessions`.
    /// Looks at every session.
    Slowest {
        /// Only those with a connection.
        connected: bool,
        /// At most.
        limit: u32,
    },
    /// Totals of this hub; answered by `Report::Totals`.
    Totals,
}
