//! Sessions, channels, filters, outboxes, presence, history and limits, as one deterministic state machine per shard.
//!
//! A [`Hub`] is the part of a shard that decides. The caller owns bytes, sockets and time: it hands in a [`Command`]
//! and the current time, and performs the [`Effect`]s that come out, in their order, before the next command.
//! The same commands at the same times give the same effects, so a whole node can be simulated from a seed.
//!
//! It must not know: any wire protocol, any socket, any clock, any storage. A client's protocol shows here only
//! as a [`Tag`] that the front chose and gets back.
//!
//! Start at [`Command`] (everything that can happen), [`Effect`] (everything that can follow) and [`Limits`].

mod arrival;
mod ask;
mod attendance;
mod binding;
mod claim;
mod command;
mod delayed;
mod deliver;
mod effect;
mod exchange;
mod filter;
mod flight;
mod had;
mod history;
mod hub;
mod hub_mail;
mod ids;
mod interest;
mod journal;
mod ledger;
mod lifecycle;
mod limits;
mod message;
mod names;
mod outbox;
mod pact;
mod publish;
mod query;
mod question;
pub mod queue;
mod quota;
mod reading;
mod reason;
mod reassign;
mod recall;
mod record;
mod recovery;
mod replay;
mod retained;
mod roster;
mod saved;
mod session;
mod share;
mod snapshot;
mod stored;
mod subscription;
mod trie;
mod version;
mod watch;
mod weight;

pub use attendance::Attends;
pub use binding::{Binding, Publishers};
pub use claim::claim_home;
pub use command::{
    Admit, Attach, CatchUp, Claim, Command, Join, Members, Offer, Open, Options, Order, Origin, Part,
    Publish, Query, Read, ReadFrom, Receipt, SessionReceipt, Span, Step, Target, Will,
};
pub use effect::{
    Attendance, ChannelView, Counts, Effect, Effects, Outcome, Page, PresenceMember, Recipient, Refusal,
    Report, SessionView,
};
pub use filter::{check_filter, filter_matches};
pub use hub::Hub;
pub use hub_mail::{
    AttendMail, HistoryPage, HolderChange, HolderMail, HubMail, PageAsk, ShareChange, ShareMail, Walk,
};
pub use ids::{
    AskId, ChannelName, Millis, Offset, Partition, Position, SessionId, SessionKey, ShardId, Tag, Token,
    Topology,
};
pub use limits::{
    Allowance, ChannelRule, Config, HistoryRule, Limits, Presence, RecoveryLimits, StoredLimits, UserFull,
    UserLimits, WhenFull,
};
pub use message::{Body, Except, Grade, Labels, Message, MessageId, Outgoing, Quality, Traits};
pub use names::{InvalidText, home_partition, name_hash};
pub use reason::Reason;
pub use record::{
    DeliveredRecord, Entry, LogRecord, OwedRecord, Place, Record, ResumableRecord, SessionRecord, WillRecord,
};
pub use recovery::Scope;
pub use saved::{
    SavedClaim, SavedDelayed, SavedExchange, SavedParcel, SavedSubscription, SavedWalk, SavedWill,
};
pub use snapshot::{SavedEntry, SavedRecovery, SavedRoster, SavedSession, SavedSpan, Snapshot};
pub use stored::{StoredChange, StoredList};
pub use stored::{UserChange, UserDeed};
pub use watch::{Sighting, Subject, Subscribed, SubscriptionChange, Watch};
