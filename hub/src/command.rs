//! Everything that can happen to a hub. Data only; the transitions are in the modules named by each variant.

use crate::effect::HubMail;
use crate::ids::{AskId, ChannelName, Offset, SessionId, SessionKey, ShardId, Tag, Token};
use crate::message::{Body, Except, MessageId};
use crate::reason::Reason;
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
    /// The connection cannot take more now: what comes waits in the outbox.
    Pause(SessionKey),
    /// The connection can take more: up to `budget` waiting things are delivered, each as `Effect::Send`; the session is
    /// ready when none wait. Ignored once `Effect::CloseConnection` was given.
    Resume {
        /// The session.
        session: SessionKey,
        /// Most things to deliver now, at least 1.
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
    /// Ends subscriptions. Answered by `Report::Count`.
    Unsubscribe {
        /// Who.
        of: Members,
        /// As it was subscribed.
        filter: String,
        /// Echoed.
        token: Token,
    },
    /// A publish to one channel, at its home; a union of several, sent to every shard's hub; or one to a session, at its
    /// home. The first is answered by `Report::Routed` and a `Report::Delivered` of each shard it names, the others by
    /// `Report::Delivered` of each hub that got it, all of them possibly by `Report::Refused` instead.
    Publish(Publish),
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
    /// It watches for the back end: gets what is published, and is neither counted, listed nor asked.
    pub observer: bool,
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
}

/// Marker for documentation: the sessions a delivery goes to are a range of `Effects::recipients`.
pub type Recipients = std::ops::Range<usize>;

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
        /// Continue after this position; `None` = from the oldest kept.
        after: Option<crate::Position>,
        /// At most.
        limit: u32,
    },
    /// Totals of this hub; answered by `Report::Totals`.
    Totals,
}
