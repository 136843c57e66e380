//! Everything the hub bounds, and the configuration it is made with. Each field's doc says what happens at the limit.

use crate::ids::{ShardId, Topology};

/// Versions that a hub remembers ([`crate::Command::PublishNewer`]). At the limit what would need one more is refused.
pub(crate) const VERSIONS_MAX: usize = 100_000;

/// How long a version is remembered after its message was published. Milliseconds: a day.
pub(crate) const VERSION_MS_KEPT: u64 = 24 * 3_600_000;

/// What a hub is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// This hub's shard.
    pub shard: ShardId,
    /// All shards of the node.
    pub topology: Topology,
    /// Names this life of the hub; random, chosen by the caller at start. Epochs of positions and offsets are derived from
    /// it, and its lower 32 bits are where the ids of asks begin; shards may share it. What is restored goes on with its own.
    pub epoch: u64,
    /// Bounds.
    pub limits: Limits,
    /// Rules by filter, the first match wins; none = no history, no presence.
    pub rules: Vec<ChannelRule>,
}

/// The configuration of the channels that match a filter.
#[derive(Clone, Debug)]
pub struct ChannelRule {
    /// `+` one level, `#` the rest.
    pub filter: String,
    /// What is kept for those who come later.
    pub history: Option<HistoryRule>,
    /// What is said of who is there.
    pub presence: Presence,
    /// What goes when too much waits for a claimed session.
    pub when_full: WhenFull,
}

/// What is said of the members of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    #[default]
    Off,
    /// They may be listed with their info.
    Listed,
    /// Besides, `Effect::Attendance` tells of who comes and goes.
    Told,
}

/// Which message goes when too much waits for a claimed session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// The one that comes: what waits, stays.
    #[default]
    Newest,
    /// Of those that wait and are of such channels, the oldest.
    Oldest,
}

/// Bounds of one channel's history; the oldest go first.
#[derive(Clone, Copy, Debug)]
pub struct HistoryRule {
    /// Messages kept.
    pub messages_max: u32,
    /// Milliseconds kept.
    pub age_ms_max: u64,
    /// Whether the journal keeps it, too, if the hub has one.
    pub durable: bool,
}

/// Bounds of the shard's recovery log; the oldest go first, and who needs them is then not recovered.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryLimits {
    /// Messages kept per shard.
    pub messages_max: u32,
    /// Bytes of bodies kept per shard.
    pub bytes_max: u64,
    /// How long a detached session waits to be resumed, and the age at which log entries go. Milliseconds.
    pub window_ms: u64,
}

/// Bounds of one hub.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Sessions in this hub. `Open` is refused with `over-limit`; a session of an earlier hub with a slot beyond it is not
    /// restored.
    pub sessions_max: u32,
    /// Channels and filters in this hub. `Subscribe` and history-keeping publishes are refused with `over-limit`, `Admit`
    /// ends the session so; a union is delivered but not kept; what other shards want and
    /// what restored sessions are in is always noted.
    pub channels_max: u32,
    /// Subscriptions of one session, `$user/..` included. `Subscribe` is refused with `over-limit` and the session lives
    /// on; `Admit` ends it so.
    pub subscriptions_per_session_max: u32,
    /// Bytes of a channel name or filter. Refused with `invalid-channel`.
    pub channel_name_bytes_max: u32,
    /// Messages waiting for one session. Volatile ones are dropped first; then the session's connection ends
    /// with `SlowConsumer`. A claimed session lives on: what waits of quality `AtMostOnce` makes place for what is of a higher
    /// one, then the rule of its channel says what goes (`WhenFull`); all are counted. Retained values that it asked for come
    /// page by page and are exempt.
    pub outbox_messages_max: u32,
    /// Bytes of bodies waiting for one session; one message may exceed it alone. As `outbox_messages_max`. Of a claimed session
    /// also of those that its client has not acknowledged: beyond it more of them wait.
    pub outbox_bytes_max: u64,
    /// Unanswered asks of one session. A further ask is not delivered to it, and counts it as dropped and missing at once.
    pub asks_per_session_max: u16,
    /// Open asks of one hub. A further ask is refused with `over-limit`; one that another shard forwards, or a union, is
    /// counted as dropped here.
    pub asks_max: u32,
    /// Bytes of all histories in this hub. The oldest messages of the channel published to go first.
    pub history_bytes_max: u64,
    /// Values that the channels of this hub retain. A publish to be retained by a channel more is refused with `over-limit`.
    pub retained_max: u32,
    /// Bytes of their bodies; refused likewise.
    pub retained_bytes_max: u64,
    /// Messages that wait in this hub to be published later. A further one is refused with `over-limit`; 0 allows none.
    pub delayed_max: u32,
    /// Bytes of their bodies and attributes; refused likewise.
    pub delayed_bytes_max: u64,
    /// The recovery log.
    pub recovery: RecoveryLimits,
}

/// Bounds of what is stored of the users of one hub ([`Hub::limit_stored`](crate::Hub::limit_stored)). A change beyond one is
/// refused with `over-limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredLimits {
    /// Subscriptions of a user.
    pub per_user_max: u32,
    /// Users.
    pub users_max: u32,
    /// Bytes of their names and subscriptions.
    pub bytes_max: u64,
}

impl Default for StoredLimits {
    fn default() -> Self {
        Self { per_user_max: 1000, users_max: u32::MAX, bytes_max: u64::MAX }
    }
}

/// How many sessions a user may have at once, detached ones included ([`Hub::limit_users`](crate::Hub::limit_users)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// 0 = any number.
    pub sessions_max: u32,
    /// What happens when there is one more. One without a connection makes way in any case, the oldest first.
    pub when_full: UserFull,
}

/// What happens when a user has one session more than it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserFull {
    /// It ends with `UserFull` before its client is told of it.
    #[default]
    Refuse,
    /// The oldest ends with `Superseded`, and then the client of the new one is told.
    EndOldest,
}

impl Limits {
    /// How much may wait for a session of which nothing else is said.
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance { messages_max: self.outbox_messages_max, bytes_max: self.outbox_bytes_max }
    }
}

/// How much may wait for one claimed session in the place of [`Limits::outbox_messages_max`] and
/// [`Limits::outbox_bytes_max`]; what happens there is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Messages.
    pub messages_max: u32,
    /// Bytes of their bodies.
    pub bytes_max: u64,
}
