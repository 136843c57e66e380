//! What is kept beyond the life of the process, piece by piece: data only. A record stands for one piece of state, from when it
//! is kept until it is dropped, so that the records that are there are the state. Each makes sense by itself; only the order
//! of those of one partition means anything. How records are written is the caller's business, what is kept when is
//! `journal`'s, and how a hub goes on from them is `replay`'s.

use crate::command::Options;
use crate::ids::{Millis, Partition, SessionId};
use crate::message::{MessageId, Quality};
use crate::queue;
use crate::{Labels, Message};
use std::sync::Arc;

/// Where a record stands: in the log of a partition, under a number that is given once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The log.
    pub partition: Partition,
    /// From 1 on, without holes, in the order in which they are kept.
    pub number: u64,
}

/// One change of what is kept.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A record more.
    Keep {
        /// The next place of its log.
        place: Place,
        /// What stands there.
        record: Record,
    },
    /// A record less.
    Drop(Place),
}

/// One piece of state. Times are on the hub's clock, those within messages too.
#[derive(Clone, Debug)]
pub enum Record {
    /// A session under its client's own name. Of several of one name the newest counts.
    Session(Box<SessionRecord>),
    /// What a session is subscribed to. Of several of one session and name the newest counts.
    Subscription {
        /// Whose.
        session: SessionId,
        /// Channel name or filter.
        name: Arc<str>,
        /// How it is served.
        options: Options,
    },
    /// Which share group a session is a member of, `group/filter`. Of several the newest counts.
    Share {
        /// Whose.
        session: SessionId,
        /// The group.
        group: Arc<str>,
        /// How it is served.
        options: Options,
    },
    /// A message that a session is to get, under its number.
    Owed(Box<OwedRecord>),
    /// A number that a client knows still, of a message that it has.
    Used {
        /// Whose.
        session: SessionId,
        /// The number.
        number: u16,
        /// The message.
        message: MessageId,
        /// The share group that it was dealt from.
        group: Option<Arc<str>>,
    },
    /// A message that a client publishes under a number, on its way to where it is needed.
    Offer {
        /// Whose.
        session: SessionId,
        /// The client's number.
        exchange: u16,
        /// The message.
        message: Arc<Message>,
    },
    /// The number of a message that was published and is where it is needed.
    Taken {
        /// Whose.
        session: SessionId,
        /// The client's number.
        exchange: u16,
    },
    /// A message that is to be published at a time.
    Due {
        /// When.
        at: Millis,
        /// The message.
        message: Arc<Message>,
    },
    /// The value that its channel retains. Of several of one channel the newest counts.
    Retained(Arc<Message>),
    /// Of queues, whose times are on the wall clock.
    Queue(queue::Record),
    /// A message that its channel has retained and does not any more, or that was put off and has been published. It may be
    /// published once more after a crash, and is neither retained nor put off again.
    Seen(MessageId),
}

/// What was agreed on with a client.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The public name.
    pub id: SessionId,
    /// The client's own name.
    pub name: Arc<str>,
    /// The back end's user.
    pub user: Option<Arc<str>>,
    /// When it was opened.
    pub since: Millis,
    /// How long it outlives its connection. Milliseconds; `u64::MAX` = for ever.
    pub keep_ms: u64,
    /// Most exchanges at once.
    pub window: u16,
    /// When it ends; `None` while it is connected.
    pub until: Option<Millis>,
    /// What is published when its time has come.
    pub will: Option<WillRecord>,
}

/// A will that was not published.
#[derive(Clone, Debug)]
pub struct WillRecord {
    /// Its message, which does not age yet.
    pub message: Arc<Message>,
    /// As in [`Will`](crate::Will).
    pub expires_after_ms: Option<u64>,
    /// How long it waits once the connection is gone. Milliseconds.
    pub delay_ms: u64,
    /// When it is due; `None` while the session is connected.
    pub at: Option<Millis>,
}

/// A message for one session, or for a share group whose member the session was.
#[derive(Clone, Debug)]
pub struct OwedRecord {
    /// Whose.
    pub session: SessionId,
    /// Names the exchange; 0 = the session ends, and when it is gone the message goes back to the group.
    pub number: u16,
    /// The message.
    pub message: Arc<Message>,
    /// `AtLeastOnce` or `ExactlyOnce`.
    pub quality: Quality,
    /// The client is told that it is a retained value.
    pub retained: bool,
    /// Of the subscriptions that it came by.
    pub labels: Labels,
    /// The share group that it was dealt from.
    pub group: Option<Arc<str>>,
}
