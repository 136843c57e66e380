//! What is kept beyond the life of the process, piece by piece: data only. A record stands for one piece of state, from when it
//! is kept until it is dropped, so that the records that are there are the state. Each makes sense by itself; only the order
//! of those of one partition means anything. How records are written is the caller's business, what is kept when is
//! `journal`'s, and how a hub goes on from them is `replay`'s.

use crate::command::Options;
use crate::ids::{Millis, Partition, SessionId};
use crate::message::{MessageId, Quality};
use crate::queue;
use crate::recovery::Scope;
use crate::stored::StoredList;
use crate::{Labels, Message};
use bytes::Bytes;
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
    /// A message that its channel keeps for those who come later; its position is its place there.
    History {
        /// When it is too old.
        until: Millis,
        /// The message.
        message: Arc<Message>,
    },
    /// The recovery log of a hub. Of several the newest counts.
    Log(LogRecord),
    /// A session that may be resumed. It is not renewed: the window in which its client may come back begins anew with each
    /// hub.
    Resumable(Box<ResumableRecord>),
    /// What such a session is, or was, subscribed to. Of one that is over a record of the same name and `from` does not
    /// count any more.
    Span {
        /// Whose.
        session: SessionId,
        /// Channel name or filter.
        name: Arc<str>,
        /// Sequence before the first delivery that reached it so.
        from: u64,
        /// Sequence of the last; `None` while subscribed.
        to: Option<u64>,
    },
    /// What a user is subscribed to from the start of every session. Of several of one user the newest counts.
    User {
        /// Whose.
        user: Arc<str>,
        /// What.
        list: StoredList,
    },
    /// An entry of the recovery log.
    Delivered(Box<DeliveredRecord>),
    /// Up to which entry of the recovery log something is gone that was for a channel, filter or session. Of several of one
    /// name the newest counts.
    Mark {
        /// Which.
        name: Arc<str>,
        /// Sequence of the newest such entry.
        sequence: u64,
    },
}

/// What is to be known of a recovery log besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord {
    /// Of the offsets that clients have.
    pub epoch: u64,
    /// How many shards share the partitions: with another number of them the log is of no use.
    pub shards: u8,
    /// Sequence of the newest entry that is gone: entries up to it may be there still, and do not count.
    pub purged: u64,
    /// Sequence of the newest entry that was never kept; 0 = none.
    pub skipped: u64,
    /// Up to here numbers may have been given, and not far behind.
    pub last: u64,
}

/// A session that may be resumed, as it was admitted.
#[derive(Clone, Debug)]
pub struct ResumableRecord {
    /// The public name.
    pub id: SessionId,
    /// The back end's user.
    pub user: Option<Arc<str>>,
    /// Presence info.
    pub info: Option<Bytes>,
    /// When it was opened.
    pub since: Millis,
    /// It needs nothing of the recovery log up to here.
    pub start: u64,
    /// When it was admitted, as a sequence.
    pub admitted: u64,
    /// What only its front can read.
    pub keepsake: Bytes,
}

/// What was delivered, to whom, and how long it is kept.
#[derive(Clone, Debug)]
pub struct DeliveredRecord {
    /// Its number in the recovery log.
    pub sequence: u64,
    /// The message.
    pub message: Arc<Message>,
    /// Whom it concerned.
    pub scope: Scope,
    /// When it is too old to be kept.
    pub until: Millis,
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
