//! What shards ask about single channels, and what the back end says of it.
//!
//! Data only. Start at [`Question`] and [`Ruling`].

use std::sync::Arc;

use bytes::Bytes;
use hub::Body;

use crate::mail::{Denial, Handshake, Speaks, Wanted};

/// What a client wants to do with a channel that the back end is asked about.
#[derive(Debug)]
pub struct Question {
    /// As what.
    pub speaks: Speaks,
    /// Whose client it is.
    pub user: Option<Arc<str>>,
    /// The channel or, of a subscription, perhaps a filter.
    pub channel: Box<str>,
    /// What.
    pub deed: Deed,
}

/// What a client wants to do with a channel.
#[derive(Debug)]
pub enum Deed {
    /// Get its messages.
    Subscribe {
        /// The most that it wants of MQTT's qualities of service.
        qos: Option<u8>,
        /// Of a shared subscription.
        group: Option<Box<str>>,
        /// So many of the last messages first, and those that it missed.
        history: u32,
    },
    /// Send this to it.
    Publish(Box<Draft>),
}

/// A message that is not published yet.
#[derive(Debug)]
pub struct Draft {
    /// The event's name, if any.
    pub event: Option<Box<str>>,
    /// The content.
    pub body: Body,
    /// What travels with it besides.
    pub attributes: Bytes,
    /// Of MQTT.
    pub qos: Option<u8>,
    /// The channel is to keep it.
    pub retain: bool,
    /// When the client is gone without a word.
    pub is_will: bool,
    /// The request that it came by, if its client has no session.
    pub request: Option<Arc<Handshake>>,
}

/// What becomes of it.
#[derive(Debug)]
pub enum Ruling {
    /// It may. Of a message: changed so.
    Yes(Terms),
    /// The client is told that its message was taken, and nobody gets it.
    Drop,
    /// It may not.
    No {
        /// As what it is refused.
        denial: Denial,
        /// Shown where the protocol can.
        message: Box<str>,
    },
    /// Nobody can say: the client comes back and asks again.
    Unknown,
}

/// As what something may be done.
#[derive(Debug, Default)]
pub struct Terms {
    /// Of a subscription: at most this quality of service.
    pub qos_max: Option<u8>,
    /// Of a subscription: whether what the channel keeps from before is given, if the client asked for it.
    pub recovery: Wanted,
    /// Of a message: its content instead.
    pub body: Option<Body>,
    /// Of a message: the event's name instead.
    pub event: Option<Box<str>>,
}

impl Question {
    pub(crate) fn len_bytes(&self) -> usize {
        let content = match &self.deed {
            Deed::Subscribe { group, .. } => group.as_ref().map_or(0, |group| group.len()),
            Deed::Publish(draft) => size_of::<Draft>() + draft.body.len_bytes() + draft.attributes.len(),
        };
        size_of::<Self>() + self.channel.len() + content
    }
}
