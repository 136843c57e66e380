//! What the hubs of one node say to each other: publishes on their way, interest, users' subscriptions, shares, histories.
//!
//! Owns the form alone; what is done about it is in the file that is named after it. Start at [`HubMail`].

use crate::attendance::Attends;
use crate::command::{Options, Publish, ReadFrom, Receipt};
use crate::effect::{Outcome, PresenceMember};
use crate::ids::{ChannelName, Millis, Position, SessionId, ShardId, Token};
use crate::message::{Message, MessageId};
use crate::queue::QueueMail;
use crate::reason::Reason;
use crate::stored::{StoredChange, StoredList};
use std::sync::Arc;

/// What hubs tell each other. The receiving side is `Command::Mail`.
#[derive(Debug)]
pub enum HubMail {
    /// This shard has its first, or lost its last, subscriber of a channel (to its home) or filter (to every home).
    /// Acknowledged by `InterestKnown` when `token` is set.
    Interest {
        /// Channel name or filter.
        filter: String,
        /// First (true) or last gone.
        wanted: bool,
        /// Echoed.
        token: Option<u64>,
    },
    /// The home knows.
    InterestKnown {
        /// From `Interest`.
        token: u64,
    },
    /// From a channel's home: deliver to your subscribers.
    Forward {
        /// The message, position assigned.
        message: Arc<Message>,
        /// Wait for replies until this time on the shared clock.
        reply_until: Option<Millis>,
        /// Whom to report to.
        token: Option<Token>,
        /// The home wants to hear under this number when it is kept here.
        watch: Option<u64>,
    },
    /// A message that was sent under this number is kept, or need not be.
    Stored {
        /// The number.
        watch: u64,
    },
    /// To a channel's home: publish there.
    Publish(Box<Publish>),
    /// From a channel's home: the message is where it is needed.
    Published {
        /// From the publish.
        receipt: Receipt,
        /// What became of it.
        outcome: Outcome,
    },
    /// Asks for the values that channels retain.
    WantRetained(Walk),
    /// Some of them.
    Retained {
        /// The question.
        walk: Walk,
        /// In order of channels.
        messages: Vec<Arc<Message>>,
        /// There may be more after this channel.
        more: Option<ChannelName>,
    },
    /// To a channel's home: a session reads.
    WantPage(Box<PageAsk>),
    /// From a channel's home: what it reads.
    Page {
        /// Who.
        session: SessionId,
        /// From the question.
        request: u64,
        /// What there is.
        page: Box<HistoryPage>,
    },
    /// To a share group's home.
    Share(Box<ShareMail>),
    /// From a share group's home: for this member.
    Dealt {
        /// The member.
        member: SessionId,
        /// The message.
        message: Arc<Message>,
        /// Of the member's subscription.
        options: Options,
        /// The group's name and filter, `name/filter`.
        group: Arc<str>,
        /// Which hub wants to hear when it is kept, and under which number.
        watch: Option<(ShardId, u64)>,
    },
    /// From the hub of another queue.
    Queue(Box<QueueMail>),
    /// To a user's home: a session of the user begins here, or goes on.
    Arrives {
        /// The user.
        user: Arc<str>,
        /// The session.
        session: SessionId,
        /// Of the move to this user, echoed; 0 = it is the user's already.
        number: u64,
    },
    /// From there: it has a place, and what it is subscribed to.
    Welcome {
        /// The user.
        user: Arc<str>,
        /// The session.
        session: SessionId,
        /// From `Arrives`.
        number: u64,
        /// What.
        list: StoredList,
    },
    /// To a user's home: what is stored of the user?
    WantStored {
        /// The user.
        user: Arc<str>,
        /// Which session wants to know.
        session: SessionId,
        /// Of its move, echoed.
        number: u64,
    },
    /// From there.
    StoredOf {
        /// The session.
        session: SessionId,
        /// From `WantStored`.
        number: u64,
        /// What.
        list: StoredList,
    },
    /// To a channel's home: a session joins or leaves.
    Attends(Box<AttendMail>),
    /// To a user's home, where sessions are counted: something happened to one of them.
    Holder(Box<HolderMail>),
    /// From there: this session ends, or does not become the user's.
    MakesWay {
        /// The user.
        user: Arc<str>,
        /// The session.
        session: SessionId,
        /// From the `Arrives` by which it came.
        number: u64,
        /// Why.
        reason: Reason,
    },
    /// From a user's home: what is stored has changed. Acknowledged by `InterestKnown` when the sessions here have followed.
    UserChanged {
        /// The user.
        user: Arc<str>,
        /// How.
        change: Box<StoredChange>,
        /// Echoed.
        token: u64,
    },
}

/// A session joins or leaves a channel.
#[derive(Clone, Debug)]
pub struct AttendMail {
    /// Which.
    pub channel: ChannelName,
    /// Who.
    pub member: PresenceMember,
    /// What it does.
    pub attends: Attends,
}

/// What a user's home hears of a session of the user, where it counts them.
#[derive(Clone, Debug)]
pub struct HolderMail {
    /// The user.
    pub user: Arc<str>,
    /// The session.
    pub session: SessionId,
    /// What happened.
    pub change: HolderChange,
}

/// What happened to a session of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderChange {
    /// It is gone.
    Departs,
    /// It has no connection.
    LosesConnection,
    /// It has one again.
    Returns,
    /// It is of an earlier hub, and has no connection yet.
    Remains,
}

/// What a session wants of the history of a channel, as its home is asked.
#[derive(Clone, Debug)]
pub struct PageAsk {
    /// Who.
    pub session: SessionId,
    /// As in [`Read`](crate::Read).
    pub request: u64,
    /// The channel.
    pub channel: ChannelName,
    /// Where it begins.
    pub from: ReadFrom,
    /// Most messages.
    pub limit: u32,
}

/// A part of a channel's history, as a session reads it.
#[derive(Clone, Debug, Default)]
pub struct HistoryPage {
    /// Without a hole, from where it was asked for.
    pub messages: Vec<Arc<Message>>,
    /// There were more when the page was made.
    pub more: bool,
    /// Nothing is kept from where it was asked for: some of it is gone, or it is of another epoch.
    pub is_lost: bool,
    /// Of the newest message there ever was; nothing for a channel that keeps no history.
    pub newest: Option<Position>,
    /// Behind which everything is there.
    pub earliest: Option<Position>,
}

/// A session walks over the values that channels retain.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Which session.
    pub session: SessionId,
    /// Which channels.
    pub filter: ChannelName,
    /// How the session wants them.
    pub options: Options,
    /// Only channels after this one.
    pub after: Option<ChannelName>,
    /// How many values the session had got live when it began; later ones need not come again.
    pub since: u64,
}

/// What a member's hub tells the home of a share group.
#[derive(Clone, Debug)]
pub struct ShareMail {
    /// The group's name and filter, `name/filter`.
    pub group: Arc<str>,
    /// The member.
    pub member: SessionId,
    /// What happened.
    pub change: ShareChange,
}

/// What happened to a member of a share group.
#[derive(Clone, Debug)]
pub enum ShareChange {
    /// It joins, or changes its options; acknowledged by `HubMail::InterestKnown` with the number.
    Joins {
        /// How it wants messages.
        options: Options,
        /// Most messages of higher quality that are on their way to it at once.
        window: u16,
        /// Echoed.
        token: u64,
    },
    /// It leaves.
    Leaves,
    /// It has lost its connection.
    Away,
    /// It is connected again.
    Back {
        /// As in `Joins`.
        window: u16,
    },
    /// A message of higher quality that this session published is the member's, or lost to it.
    Settled(Option<SessionId>),
    /// It ended, or left the group, before it acknowledged this message of the group.
    Returns {
        /// The message.
        message: Arc<Message>,
        /// Which hub waits to hear that it is kept, and under which number.
        watch: Option<(ShardId, u64)>,
        /// An earlier hub may have returned it before.
        again: bool,
    },
    /// It has had this message of the group, from earlier hubs, which ended without a word: it needs no other member.
    Had(MessageId),
    /// It had ended before the start, and this message of the group will return.
    WillReturn(MessageId),
}
