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

mod ask;
mod command;
mod deliver;
mod effect;
mod filter;
mod history;
mod hub;
mod ids;
mod interest;
mod lifecycle;
mod limits;
mod message;
mod names;
mod outbox;
mod publish;
mod query;
mod reason;
mod recovery;
mod roster;
mod session;
mod snapshot;
mod subscription;
mod trie;

pub use command::{Admit, Attach, Command, Members, Open, Publish, Query, Recipients, Target};
pub use effect::{
    ChannelView, Counts, Effect, Effects, HubMail, Page, PresenceMember, Recipient, Refusal, Report,
    SessionView,
};
pub use filter::{check_filter, filter_matches};
pub use hub::Hub;
pub use ids::{
    AskId, ChannelName, Millis, Offset, Partition, Position, SessionId, SessionKey, ShardId, Tag, Token,
    Topology,
};
pub use limits::{ChannelRule, Config, HistoryRule, Limits, RecoveryLimits};
pub use message::{Body, Except, Message, MessageId, Outgoing};
pub use names::{InvalidText, name_hash};
pub use reason::Reason;
pub use recovery::Scope;
pub use snapshot::{SavedEntry, SavedRecovery, SavedRoster, SavedSession, SavedSpan, Snapshot};
