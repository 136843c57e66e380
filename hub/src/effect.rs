//! Everything that can follow from a command. Data only. The caller performs the list in order, then clears it.

use crate::hub_mail::{HistoryPage, HubMail};
use crate::ids::{AskId, ChannelName, Millis, Offset, Position, SessionId, SessionKey, ShardId, Tag, Token};
use crate::message::{Body, Grade, Message, Outgoing};
use crate::queue::{Answer, Copied, MoveId, Waiter};
use crate::reason::Reason;
use crate::record::{Entry, Place};
use crate::stored::StoredList;
use crate::watch::{Sighting, Subscribed};
use bytes::Bytes;
use std::sync::Arc;

/// A session that gets something now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The hub's name.
    pub session: SessionKey,
    /// The front's name.
    pub tag: Tag,
    /// How it gets a message.
    pub grade: Grade,
}

/// What one command leads to. Reused between commands, so that a delivery allocates nothing.
#[derive(Debug, Default)]
pub struct Effects {
    /// In order.
    pub list: Vec<Effect>,
    /// Sessions named by the ranges in `Effect::Deliver`.
    pub recipients: Vec<Recipient>,
    /// Changes of what is kept beyond the life of the process, to be written in order; empty for a hub without a journal.
    pub entries: Vec<Entry>,
}

/// One thing for the caller to do.
#[derive(Debug)]
pub enum Effect {
    /// The session exists, not yet admitted; what is sent to it waits.
    Opened {
        /// The front's name.
        tag: Tag,
        /// The hub's name.
        session: SessionKey,
        /// The public name.
        id: SessionId,
    },
    /// No session: a limit.
    OpenRefused {
        /// The front's name.
        tag: Tag,
    },
    /// Encode `item` once per variant and stage it for each recipient.
    Deliver {
        /// A shared message.
        message: Arc<Message>,
        /// Replies are awaited under this id.
        ask: Option<AskId>,
        /// For clients that may recover.
        offset: Option<Offset>,
        /// A range of `Effects::recipients`.
        to: std::ops::Range<usize>,
    },
    /// Something for one session only (from its outbox, or an answer), in order with its deliveries.
    Send {
        /// Who.
        to: Recipient,
        /// What.
        item: Outgoing,
    },
    /// The session is attached to the new tag; recovered messages and `Outgoing::Admitted` come by `Resume`.
    /// `displaced` names the connection it was taken from, which is to be closed.
    Attached {
        /// The front's new name.
        tag: Tag,
        /// The hub's name.
        session: SessionKey,
        /// The old tag, when its connection had not been known to be dead.
        displaced: Option<Tag>,
    },
    /// The session of the client's own name: an earlier one, or a new one.
    Claimed {
        /// The front's name.
        tag: Tag,
        /// The hub's name.
        session: SessionKey,
        /// The public name.
        id: SessionId,
        /// It goes on; what waited comes by `Resume`.
        resumed: bool,
        /// The connection it was taken from, which is to be closed.
        displaced: Option<Tag>,
        /// What was agreed on is safe. If not, `Agreed` follows, and the client is told nothing before.
        is_safe: bool,
    },
    /// What was agreed on when the session was claimed is safe now.
    Agreed {
        /// Who.
        to: Recipient,
    },
    /// What a session asked for is done, or refused.
    Done {
        /// Who.
        to: Recipient,
        /// From the command.
        request: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The answer to a `Read`.
    Page {
        /// Who.
        to: Recipient,
        /// From the command.
        request: u64,
        /// What there is.
        page: Box<HistoryPage>,
    },
    /// A message that came with [`Receipt::Front`] is where it is needed, or refused.
    Placed {
        /// From the receipt.
        request: u64,
        /// What became of it.
        outcome: Outcome,
    },
    /// The budget of a `Resume` is used up and more waits: another one is due when the connection can take more.
    More {
        /// Who.
        to: Recipient,
    },
    /// The client may forget the number of an exchange.
    Taken {
        /// Who.
        to: Recipient,
        /// From `Grade::number`.
        number: u16,
    },
    /// The client's step does not fit the exchange it names.
    Misstep {
        /// Who.
        to: Recipient,
    },
    /// No such session, or messages are missing: the client gets a new session. In the second case the old one ends by
    /// the next effect, unless a connection still holds it.
    AttachRefused {
        /// The front's name.
        tag: Tag,
        /// What it asked for.
        session: SessionId,
    },
    /// The session is another user's from now on, or nobody's.
    Reassigned {
        /// The front's name; `None` while detached.
        tag: Option<Tag>,
        /// The public name.
        id: SessionId,
        /// Whose it was.
        former: Option<Arc<str>>,
        /// Whose it is.
        user: Option<Arc<str>>,
    },
    /// The session waits for its client to come back.
    Detached {
        /// The front's name, now void.
        tag: Tag,
        /// The public name.
        id: SessionId,
        /// The client's own, of a session that bears one.
        name: Option<Arc<str>>,
        /// How long it waits, in milliseconds; `u64::MAX` = for ever.
        left_ms: u64,
        /// Why.
        reason: Reason,
    },
    /// The session is gone; `SessionKey` and tag are void after this. When `tag` is set the front tells the client:
    /// `Kicked` says goodbye on this session only, `SlowConsumer`, `Disconnected` and the rest close the connection.
    Ended {
        /// The front's name; `None` when it was detached.
        tag: Option<Tag>,
        /// The hub's name.
        session: SessionKey,
        /// The public name.
        id: SessionId,
        /// The client's own, of a session that bears one.
        name: Option<Arc<str>>,
        /// Why.
        reason: Reason,
    },
    /// The session is to lose its connection, as if it had failed: the front closes it and then sends `Detach`.
    CloseConnection {
        /// Who.
        to: Recipient,
        /// Why; to be passed to `Detach`.
        reason: Reason,
    },
    /// For another shard's hub; order per pair of shards is kept by the caller.
    Mail {
        /// That shard.
        to: ShardId,
        /// What to say.
        mail: HubMail,
    },
    /// For the back office.
    Report {
        /// From the command.
        token: Token,
        /// What to say.
        report: Report,
    },
    /// Read a record of a message in a queue, and give it back by [`QueueCommand::Loaded`](crate::queue::QueueCommand::Loaded),
    /// whatever comes of it.
    Load {
        /// Echoed.
        id: MoveId,
        /// Where it stands.
        place: Place,
    },
    /// Make a message for the queue of a binding out of one that was published, and send it to the queue's home by
    /// [`QueueMail::Copy`] from this hub.
    Copy {
        /// The place of the binding in the list ([`Hub::bind`](crate::Hub::bind)).
        binding: u32,
        /// The channel by which it matches.
        channel: ChannelName,
        /// What was published.
        message: Arc<Message>,
        /// To be put into the copy.
        waiter: Waiter,
    },
    /// What became of a copy, for whoever counts.
    Copied(Box<Copied>),
    /// Somebody came to a channel, or left it, whose home this hub is: to be published there.
    Attendance {
        /// The channel.
        channel: ChannelName,
        /// What is told.
        attendance: Box<Attendance>,
    },
    /// A subscription that is watched has begun or ended.
    Subscribed(Box<Subscribed>),
    /// A user or channel that is watched has come or gone on this hub.
    Sighted(Sighting),
}

/// What became of a request of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Subscribed.
    Joined {
        /// There was none of that filter before.
        is_new: bool,
    },
    /// No longer subscribed.
    Left {
        /// There was one.
        existed: bool,
    },
    /// The message is where it is needed.
    Published {
        /// It is needed somewhere.
        matched: bool,
        /// Its place in the history, when one is kept.
        position: Option<Position>,
    },
    /// A message under this number was taken before and is not forgotten.
    Repeated,
    /// The number is free.
    Forgotten,
    /// No.
    Refused(Refusal),
}

/// What became of a publish on one shard. Sessions, not connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to a connection that could take it.
    pub delivered: u32,
    /// Waiting: the connection is busy, or the session will come back.
    pub queued: u32,
    /// Volatile and not deliverable at once, or over a limit.
    pub dropped: u32,
}

/// Why the hub said no. Text and code come from the back end's table of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No session of that id here; or the channel has no presence; or no exchange has that number.
    NotFound,
    /// The name breaks the rules for channel names.
    InvalidChannel,
    /// The filter breaks the rules for filters.
    InvalidFilter,
    /// The name starts with `$` and is not for this use.
    ReservedChannel,
    /// A limit.
    OverLimit,
    /// History no longer reaches back so far, or belongs to another epoch.
    PositionLost,
    /// Something newer was published.
    Outdated,
    /// The session is being let in, or changed.
    Busy,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page<T> {
    /// In the query's order.
    pub items: Vec<T>,
    /// There is more after the last item.
    pub more: bool,
}

/// What the back office is told.
#[derive(Debug)]
pub enum Report {
    /// From a channel's home: the shards that will each send `Delivered`.
    Routed {
        /// One bit per shard.
        shards: u64,
        /// Its place in the history, when one is kept.
        position: Option<Position>,
    },
    /// From each of those shards.
    Delivered {
        /// The shard.
        shard: ShardId,
        /// What became of it there.
        counts: Counts,
        /// Sessions asked on this shard: a `Reply` of each may come, then `RepliesClosed`; 0 = neither will come.
        expecting: u32,
    },
    /// One session's reply.
    Reply {
        /// Who.
        session: SessionId,
        /// What.
        body: Body,
    },
    /// All replies of a shard are in, or time is up.
    RepliesClosed {
        /// The shard.
        shard: ShardId,
        /// Who did not answer, sessions that ended or had too many open asks among them.
        missing: Vec<SessionId>,
    },
    /// So many sessions were concerned.
    Count(u64),
    /// These sessions are not subscribed any more.
    Left(Vec<SessionId>),
    /// No.
    Refused(Refusal),
    /// Answer to `Query::Sessions`.
    Sessions(Page<SessionView>),
    /// Answer to `Query::Channels`.
    Channels(Page<ChannelView>),
    /// Answer to `Query::Presence`; the second field is how many there are here.
    Presence(Page<PresenceMember>, u32),
    /// Answer to `Query::History`; the second field is the newest position.
    History(Page<Arc<Message>>, Option<Position>),
    /// Answer to `Query::Totals`.
    Totals {
        /// Attached or detached.
        sessions: u32,
        /// Waiting to be resumed.
        detached: u32,
        /// With subscribers or history here.
        channels: u32,
        /// Subscription records.
        subscriptions: u64,
        /// Messages waiting in outboxes.
        queued: u64,
        /// Sessions that bear a client's own name, attached or detached.
        named: u32,
        /// Messages of higher quality that were sent and whose exchange is not over.
        in_flight: u64,
        /// Values that channels retain here.
        retained: u64,
        /// Bytes of those values.
        retained_bytes: u64,
        /// Messages that sessions which are not closed for a full outbox did not get for that reason, since the start.
        dropped: u64,
        /// Messages that were too old when their turn came, since the start.
        expired: u64,
        /// Queues that are at home here.
        queues: u32,
        /// Users at home here of whom subscriptions are stored.
        stored_users: u32,
        /// Those subscriptions.
        stored_subscriptions: u64,
        /// Bytes of both in memory.
        stored_bytes: u64,
        /// Stored subscriptions that sessions here did not get because of a limit, since the start.
        unjoined: u64,
    },
    /// Answer to `Query::Retained`.
    Retained(Option<Arc<Message>>),
    /// Answer to `Command::Queue`.
    Queue(Box<Answer>),
    /// Answer to `Command::ChangeUsers`.
    UsersChanged {
        /// Subscriptions that are new, different or gone.
        count: u64,
        /// Changes that were not made, by their place.
        refused: Vec<(usize, Refusal)>,
    },
    /// Answer to `Query::Stored`.
    Stored(StoredList),
}

/// A session as the back end sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Public name.
    pub id: SessionId,
    /// The front's name, for details only the front knows; `None` while detached.
    pub tag: Option<Tag>,
    /// The client's own name, of a session that bears one.
    pub name: Option<Arc<str>>,
    /// The back end's user.
    pub user: Option<Arc<str>>,
    /// Presence info.
    pub info: Option<Bytes>,
    /// Opened at.
    pub since: Millis,
    /// While detached: when it ends; `None` = never.
    pub until: Option<Millis>,
    /// Channels and filters.
    pub subscriptions: Vec<String>,
    /// Share groups it is a member of, `group/filter`.
    pub shares: Vec<Arc<str>>,
    /// When the oldest message was published that waits or is not acknowledged; not before the start of this hub.
    pub oldest: Option<Millis>,
    /// Things waiting.
    pub queued: u32,
    /// Messages of higher quality that were sent and whose exchange is not over.
    pub in_flight: u32,
    /// Values that channels retain are still to come for one of its subscriptions.
    pub catches_up: bool,
    /// Where its queue has a measure of its own ([`crate::Allowance`]): messages that it did not get because too much waited, since
    /// the start of this hub.
    pub dropped: u64,
}

/// A channel as the back end sees it; the same channel may be reported by several shards.
#[derive(Clone, Debug)]
pub struct ChannelView {
    /// Name.
    pub channel: ChannelName,
    /// Sessions of this shard subscribed to it by name.
    pub sessions: u32,
    /// Newest position; only from the home, when it keeps history.
    pub position: Option<Position>,
}

/// Who comes to a channel and leaves it.
#[derive(Clone, Debug)]
pub enum Attendance {
    /// It is a member now.
    Joined(PresenceMember),
    /// It was one.
    Left(PresenceMember),
    /// There are so many members, more than each would be told of; or as many as that again, who can be listed.
    Count(u32),
}

/// A member of a channel.
#[derive(Clone, Debug)]
pub struct PresenceMember {
    /// Public name of the session.
    pub session: SessionId,
    /// The user.
    pub user: Option<Arc<str>>,
    /// JSON given at admission.
    pub info: Option<Bytes>,
    /// When the session was opened.
    pub since: Millis,
}
