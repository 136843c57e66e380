//! Everything that can happen to a hub. Data only; the transitions are in the modules named by each variant.

use crate::hub_mail::HubMail;
use crate::ids::{AskId, ChannelName, Offset, Position, SessionId, SessionKey, ShardId, Tag, Token};
use crate::message::{Body, Except, MessageId, Quality, Traits};
pub use crate::question::{Order, Query, Span};
use crate::queue::{QueueCommand, QueueCopy};
use crate::reason::Reason;
use crate::record::Place;
use crate::stored::UserChange;
use bytes::Bytes;
use std::sync::Arc;

/// One thing that happened, to be applied at one time.
#[derive(Debug)]
pub enum Command {
    /// A client asks for a session. Answered by `Effect::Opened` or `Effect::OpenRefused` at once.
    Open(Open),
    /// The back end said yes: subscribes it, queues `Outgoing::Admitted` first, and lets what waited follow.
    /// The front then sends `Resume`; what that delivers may come a little later, when every home knows of the
    /// subscriptions, so that a publish in answer to the client's first words finds it. Over a limit the session ends
    /// with `Effect::Ended` and `Reason::OverLimit`. Not for a session that was admitted before.
    Admit(Admit),
    /// A session that was opened to be resumed is not to be, if that is known before it is admitted; later it is still resumed, but by
    /// no process after this one.
    Forgo(SessionKey),
    /// A client wants the session that bears its own name, or a new one under that name. Needs no admission: the caller has
    /// authenticated it. Answered by `Effect::Claimed` or `Effect::OpenRefused` at once; the front then sends `Resume`.
    Claim(Box<Claim>),
    /// Changes what was agreed on when the session was claimed.
    Amend {
        /// The session.
        session: SessionKey,
        /// How long it outlives its connection; not for one that ends with it. Milliseconds.
        keep_ms: Option<u64>,
        /// The client said goodbye: its will is void.
        drop_will: bool,
    },
    /// A claimed session subscribes, or changes the options of a subscription. Answered by `Effect::Done` when every home
    /// knows; retained values may follow.
    Join(Join),
    /// A claimed session ends a subscription. Answered by `Effect::Done`.
    Leave {
        /// The session.
        session: SessionKey,
        /// As it was subscribed.
        filter: String,
        /// Of a share group of that name.
        group: Option<Box<str>>,
        /// Echoed.
        request: u64,
    },
    /// A claimed session publishes. Answered by `Effect::Done` once the message is where it is needed, if its quality is
    /// higher than `AtMostOnce`; not when the session is on another connection by then.
    Offer(Box<Offer>),
    /// The publisher knows that a message of quality `ExactlyOnce` was taken: its number is free. Answered by `Effect::Done`;
    /// `Refusal::NotFound` says that it was free already.
    Forget {
        /// The session.
        session: SessionKey,
        /// The publisher's number of the exchange.
        exchange: u16,
        /// Echoed.
        request: u64,
    },
    /// A client says how far an exchange that `Grade::number` names has come. May be followed by `Effect::Taken`,
    /// `Effect::Misstep` and by what waited for the place.
    Settle {
        /// The session.
        session: SessionKey,
        /// From `Grade::number`.
        number: u16,
        /// How far.
        step: Step,
    },
    /// A session reads what a channel keeps. Answered by `Effect::Page`, unless the session is gone by then. To a session that was
    /// subscribed and admitted before, what is published after the page was made comes behind it, and what of it came before is
    /// told by its position: so nothing is missing between the two.
    Read(Box<Read>),
    /// The connection cannot take more now: what comes waits in the outbox.
    Pause(SessionKey),
    /// The connection can take more: up to `budget` waiting things are delivered, each as `Effect::Send`; the session is
    /// ready when none wait. Ignored once `Effect::CloseConnection` was given.
    Resume {
        /// The session.
        session: SessionKey,
        /// Most things to deliver now, at least 1; a message counts once more for each of its KiB.
        budget: u32,
    },
    /// The connection is gone. Ends the session, or keeps it for the recovery window where it has one and the
    /// reason allows it. Answered by `Effect::Detached` or `Effect::Ended`. What waited is dropped: messages are recovered
    /// from the log, answers to requests belong to the connection. Must not be sent for a tag that was displaced by
    /// `Effect::Attached`: the session is on another connection then.
    Detach {
        /// The session.
        session: SessionKey,
        /// Why.
        reason: Reason,
    },
    /// A client wants a session back (see `Attach`). Answered by `Effect::Attached` or `Effect::AttachRefused`.
    Attach(Attach),
    /// The session is over, whatever its window. Answered by `Effect::Ended`.
    End {
        /// The session.
        session: SessionKey,
        /// Why.
        reason: Reason,
    },
    /// The back end ends sessions of this hub. Answered by `Report::Count`.
    EndMembers {
        /// Which.
        of: Members,
        /// `Kicked`, like every reason that is not `recoverable`, ends the session; `Disconnected` and the others close
        /// the connection under it (a detached session is then not concerned).
        reason: Reason,
        /// Echoed.
        token: Token,
    },
    /// Subscribes sessions of this hub to a channel or filter. Answered by `Report::Count` when every home involved
    /// knows (a publish that is sent after the answer reaches them), or `Report::Refused`, and then none was subscribed.
    /// Sessions not yet admitted are not concerned.
    Subscribe {
        /// Who.
        of: Members,
        /// Channel name, or filter with `+` and `#`.
        filter: String,
        /// Echoed.
        token: Token,
    },
    /// A session of this hub is another user's from now on, or nobody's: what is stored of the former one and was not asked for
    /// by its client ends, and what is stored of the new one is there. Answered by `Report::Count` when every home knows, or by
    /// `Report::Refused`, and then nothing has changed: `NotFound`, also if the session ended meanwhile; `Busy` while it is being
    /// let in or changed; `OverLimit` if the user has as many sessions as it may. `Effect::Reassigned` says when it is done. No
    /// later process resumes such a session, unless it bears its client's own name.
    Reassign {
        /// The session.
        session: SessionId,
        /// The user.
        user: Option<Arc<str>>,
        /// Echoed.
        token: Token,
    },
    /// Ends subscriptions. Answered by `Report::Count`.
    Unsubscribe {
        /// Who.
        of: Members,
        /// As it was subscribed.
        filter: String,
        /// Echoed.
        token: Token,
    },
    /// Ends the subscriptions of all but some sessions of this hub to a channel, by its name. Answered by `Report::Left`.
    Vacate {
        /// As it was subscribed.
        channel: ChannelName,
        /// Who stays.
        except: Members,
        /// Echoed.
        token: Token,
    },
    /// A publish to one channel, at its home; a union of several, sent to every shard's hub; or one to a session, at its
    /// home. The first is answered by `Report::Routed` and a `Report::Delivered` of each shard it names, the others by
    /// `Report::Delivered` of each hub that got it, all of them possibly by `Report::Refused` instead.
    Publish(Box<Publish>),
    /// A publish to one channel, at its home, that is refused with `Refusal::Outdated` unless its version is higher than the last one
    /// of that channel and of the key, if it has one.
    PublishNewer {
        /// The publisher's own count.
        version: u64,
        /// What.
        publish: Box<Publish>,
    },
    /// The back end takes away the value that a channel retains, and nobody is told; this hub is the channel's home. Answered
    /// by `Report::Count`: 1, or 0 if there was none.
    DropRetained {
        /// The channel.
        channel: ChannelName,
        /// Echoed.
        token: Token,
    },
    /// The back end takes away what a channel keeps for those who come later; this hub is the channel's home. Answered by
    /// `Report::Count` of messages, or `Refusal::PositionLost`.
    DropHistory {
        /// The channel.
        channel: ChannelName,
        /// Only what is older than this place, which must be known; `None` = everything, and positions get a new epoch.
        before: Option<Position>,
        /// Echoed.
        token: Token,
    },
    /// A client answered an ask. Ignored when it is late, repeated or not asked of this session.
    Reply {
        /// The session.
        session: SessionKey,
        /// What it answers.
        ask: AskId,
        /// Its answer.
        body: Body,
    },
    /// The back end answers a request of a client; queued behind what waits for that session. A session that is gone
    /// is ignored.
    Answer {
        /// Whose request.
        session: SessionId,
        /// The client's own number of it.
        request: u64,
        /// The answer.
        body: Body,
    },
    /// The back end changes what users are subscribed to from the start of every session; this hub is the home of each, the
    /// owner of the partition of [`ChannelName::user`]. Connected sessions follow at once. Answered by `Report::UsersChanged`
    /// when it is safe and every home knows.
    ChangeUsers {
        /// In order; names were checked by the caller.
        changes: Vec<UserChange>,
        /// Echoed.
        token: Token,
    },
    /// From another shard's hub.
    Mail {
        /// That shard.
        from: ShardId,
        /// What it says.
        mail: HubMail,
    },
    /// The back end asks about what is here. Answered by one `Report`.
    Query {
        /// Echoed.
        token: Token,
        /// The question.
        query: Query,
    },
    /// Something happened to queues.
    Queue(QueueCommand),
    /// A message was made into one of a queue, whose home is wherever it is: as `Effect::Copy` asks, or for a session's event.
    Copy(Box<QueueCopy>),
    /// So many of the changes in [`Effects::entries`](crate::Effects::entries), counted from the first one, are safe: what was
    /// promised and rests on them follows. Only for a hub that keeps a journal.
    Kept {
        /// How many.
        safe: u64,
    },
    /// Time has reached `Hub::next_deadline`.
    Tick,
}

/// A new session.
#[derive(Debug)]
pub struct Open {
    /// The front's name for it.
    pub tag: Tag,
    /// From the caller's random source: the unguessable part of the session id.
    pub random: [u8; 9],
    /// Whether it may be resumed after its connection is lost (window in `Limits::recovery`).
    pub recover: bool,
    /// What it is there for.
    pub part: Part,
}

/// What a session is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A client that is not told the channels of messages.
    Client,
    /// A client that is told them: what was published to several channels comes as a message of the first that it is in.
    Reader,
    /// The same, of a client that has named all that it wants: what is stored of its user is not for it.
    NamedReader,
    /// Watches for the back end: gets what is published, and is neither counted, listed nor asked.
    Observer,
}

/// The back end's yes to a session.
#[derive(Debug)]
pub struct Admit {
    /// The session.
    pub session: SessionKey,
    /// The user the back end knows it by; also subscribes it to `$user/<id>`.
    pub user: Option<Arc<str>>,
    /// JSON shown with the session in presence.
    pub info: Option<Bytes>,
    /// Channels and filters it is in from the start; names were checked by the caller.
    pub subscriptions: Vec<String>,
    /// Kept with a session that may be resumed, for its front after a restart ([`Hub::take_keepsakes`](crate::Hub)); only
    /// fronts know its form. Empty where nothing is kept.
    pub keepsake: Bytes,
}

/// A client with a name of its own.
#[derive(Debug)]
pub struct Claim {
    /// The front's name for it.
    pub tag: Tag,
    /// The client's own, which this hub is the home of ([`claim_home`](crate::claim_home)).
    pub name: Arc<str>,
    /// An earlier session of the name ends.
    pub fresh: bool,
    /// How long the session outlives its connection, in milliseconds; 0 = it ends with it, `u64::MAX` = for ever.
    pub keep_ms: u64,
    /// Most messages of higher quality that are on their way at once, at least 1.
    pub window: u16,
    /// Published when the connection ends without a goodbye.
    pub will: Option<Box<Will>>,
    /// The user the session belongs to.
    pub user: Option<Arc<str>>,
    /// JSON shown with the session in presence, from now on.
    pub info: Option<Bytes>,
    /// From the caller's random source: the unguessable part of the session id.
    pub random: [u8; 9],
}

/// What a client leaves to be published.
#[derive(Debug)]
pub struct Will {
    /// To one channel. `traits.expires` is not used.
    pub publish: Publish,
    /// How long the message lives from the time it is published. Milliseconds; `None` = for ever.
    pub expires_after_ms: Option<u64>,
    /// Waits so long for the client to come back, but not longer than its session. Milliseconds.
    pub delay_ms: u64,
}

/// How a session wants what a subscription brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// At most.
    pub quality: Quality,
    /// Not what the session itself published.
    pub skip_own: bool,
    /// What was published to be retained is told as such.
    pub keep_retain: bool,
    /// Told with each message; 0 = none. At most 28 bits.
    pub label: u32,
    /// Who made it.
    pub origin: Origin,
}

/// Who made a subscription. What the back end gave is nobody's to take away but its; what a client asked for stays when the
/// back end takes away what it gave to the user that the session was of before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The client.
    #[default]
    Asked,
    /// The back end, or the server itself.
    Given,
    /// Both.
    Both,
}

impl Origin {
    /// Of what the client has asked for, too.
    pub(crate) fn and_asked(self) -> Self {
        if self == Self::Given { Self::Both } else { self }
    }

    /// Of what the back end has given, too.
    pub(crate) fn and_given(self) -> Self {
        if self == Self::Asked { Self::Both } else { self }
    }
}

/// Whether a new subscription brings the values that channels retain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// Always.
    Always,
    /// Unless it only changes the options of one that existed.
    IfNew,
    /// No.
    Never,
}

/// A subscription of a claimed session.
#[derive(Debug)]
pub struct Join {
    /// The session.
    pub session: SessionKey,
    /// Channel name or filter.
    pub filter: String,
    /// Shared with the other members of this group: each message goes to one of them.
    pub group: Option<Box<str>>,
    /// How it wants messages.
    pub options: Options,
    /// Retained values; never for shared ones.
    pub catch_up: CatchUp,
    /// Echoed.
    pub request: u64,
}

/// A message that a claimed session publishes to one channel.
#[derive(Debug)]
pub struct Offer {
    /// The session.
    pub session: SessionKey,
    /// The publisher's number of an exchange of quality `ExactlyOnce`: until it is forgotten, more under the same number is
    /// the same message. A message that is refused frees its number.
    pub exchange: Option<u16>,
    /// The message; `token` and `receipt` are not used.
    pub publish: Publish,
    /// Echoed.
    pub request: u64,
}

/// What a session wants of the history of a channel. Whoever asks has checked that it may.
#[derive(Clone, Debug)]
pub struct Read {
    /// The session.
    pub session: SessionKey,
    /// The channel.
    pub channel: ChannelName,
    /// Where it begins.
    pub from: ReadFrom,
    /// Most messages.
    pub limit: u32,
    /// Echoed.
    pub request: u64,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// Behind this message.
    After(Position),
    /// So many messages before the end; 0 = only where that is.
    Last(u32),
    /// Not in the history: the page is the value that the channel retains, if there is one.
    Retained,
}

/// How far the exchange of a message has come on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An `AtLeastOnce` message is the client's.
    Done,
    /// An `ExactlyOnce` message is the client's; it knows the number still.
    Received,
    /// The client has forgotten the number.
    Forgotten,
    /// The client does not want an `ExactlyOnce` message.
    Declined,
}

/// A client that comes back.
#[derive(Debug)]
pub struct Attach {
    /// The session it names; the caller has checked that it may.
    pub session: SessionId,
    /// The front's new name for it.
    pub tag: Tag,
    /// The last offset it saw. `None`, one that is unknown or of another life, or one older than the session: everything
    /// since the session's start.
    pub after: Option<Offset>,
}

/// Sessions of this hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Members {
    /// One session.
    Session(SessionId),
    /// The session of a client's own name; its home is [`claim_home`](crate::claim_home).
    Name(Arc<str>),
    /// All sessions of a user.
    User(Arc<str>),
    /// All sessions subscribed to this channel by name.
    Channel(ChannelName),
}

/// Where a publish goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One channel; this hub is its home.
    Channel(ChannelName),
    /// The members of any of these channels, and the sessions named as `$client/<id>` among them, each session once;
    /// every shard's hub gets the command.
    Union(Vec<ChannelName>),
    /// One session of this hub.
    Session(SessionId),
}

/// A message to publish.
#[derive(Debug)]
pub struct Publish {
    /// Chosen by the caller.
    pub id: MessageId,
    /// Where.
    pub target: Target,
    /// The event's name, if any.
    pub event: Option<Box<str>>,
    /// The content.
    pub body: Body,
    /// Dropped for sessions that cannot take it at once; never kept.
    pub volatile: bool,
    /// Left out.
    pub except: Option<Box<Except>>,
    /// Wait so many milliseconds for replies of the sessions it reaches; without a `token` it is no ask. An ask is never
    /// in the recovery log: it is delivered again to a session that comes back while it is open and not answered.
    pub reply_within_ms: Option<u64>,
    /// Whom to report to; `None` = nobody counts.
    pub token: Option<Token>,
    /// What the publisher wants besides.
    pub traits: Traits,
    /// Who waits to hear that it is where it is needed; but for [`Receipt::Request`] and [`Receipt::Front`] set by hubs only.
    pub receipt: Option<Receipt>,
}

/// Who waits to hear that a message is where it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// A session that published it.
    Session(SessionReceipt),
    /// A session whose request led to it: it gets an empty answer to that, unless the message is refused.
    Request {
        /// Its home.
        shard: ShardId,
        /// Which.
        session: SessionId,
        /// The client's own number of the request.
        request: u64,
    },
    /// The front of a shard, for a client without a session: `Effect::Placed` follows there.
    Front {
        /// That shard.
        shard: ShardId,
        /// Echoed.
        request: u64,
    },
    /// A hub that has kept it until then.
    Record {
        /// That hub.
        shard: ShardId,
        /// What it drops then.
        place: Place,
        /// What it remembers for a while: this message was taken, though its publisher may not know.
        seen: Option<MessageId>,
    },
}

impl Receipt {
    /// The hub to tell.
    pub(crate) fn shard(&self) -> ShardId {
        match self {
            Self::Session(receipt) => receipt.shard,
            Self::Request { shard, .. } | Self::Front { shard, .. } | Self::Record { shard, .. } => *shard,
        }
    }

    /// Whether its message may be published once more after a crash, because a hub keeps it.
    pub(crate) fn may_repeat(&self) -> bool {
        match self {
            Self::Session(receipt) => receipt.exchange.is_some(),
            Self::Request { .. } | Self::Front { .. } => false,
            Self::Record { .. } => true,
        }
    }
}

/// A session that waits to hear that its message is where it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionReceipt {
    /// Its home.
    pub shard: ShardId,
    /// Its place there.
    pub session: SessionKey,
    /// Its public name, in case the place is another's by then.
    pub id: SessionId,
    /// Which of its connections asked.
    pub connection: u32,
    /// From `Offer`.
    pub exchange: Option<u16>,
    /// Echoed.
    pub request: u64,
}
