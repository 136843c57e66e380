//! The bytes of a state file.
//!
//! ```text
//! 8 bytes `TRNKSTAT` | format, 4 bytes | length of the content, 8 bytes | content | SHA-256 of all before, 32 bytes
//! ```
//!
//! Numbers are little endian; the content is [`NodeRecord`] in postcard, whose fields have no names: any change of a record
//! is a new [`VERSION`]. Owns the records and what they become. Must not know files.

use std::sync::Arc;

use bytes::Bytes;
use hub::{
    SavedDelayed, SavedEntry, SavedRecovery, SavedRoster, SavedSession, SavedSpan, SessionId, ShardId,
    Snapshot, Topology,
};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::bans::BanRecord;
use super::claims::ClaimRecord;
use super::record::{MessageRecord, ScopeRecord};
use super::{NodeState, SavedClient, ShardState, Unusable, sound};
use crate::front::PidProof;

/// The format that is written and read.
pub(super) const VERSION: u32 = 4;

/// How every state file begins.
pub(super) const MAGIC: [u8; 8] = *b"TRNKSTAT";
const HEAD_BYTES: usize = 20;
const SUM_BYTES: usize = 32;

#[derive(Serialize, Deserialize)]
struct NodeRecord<'a> {
    saved_at_ms: u64,
    shards: u8,
    partitions: u16,
    #[serde(borrow)]
    states: Vec<ShardRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct ShardRecord<'a> {
    shard: u8,
    epoch: u64,
    last: u64,
    asks_last: u64,
    #[serde(borrow)]
    sessions: Vec<SessionRecord<'a>>,
    entries: Vec<EntryRecord<'a>>,
    rosters: Vec<RosterRecord<'a>>,
    claims: Vec<ClaimRecord<'a>>,
    messages: Vec<MessageRecord<'a>>,
    retained: Vec<u32>,
    /// Message, and what is left of its delay.
    delayed: Vec<(u32, u64)>,
    bans: Vec<BanRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SessionRecord<'a> {
    id: [u8; 15],
    namespace: &'a str,
    channel: &'a str,
    proof: [u8; 16],
    #[serde(borrow)]
    user: Option<&'a str>,
    info: Option<&'a [u8]>,
    subscriptions: Vec<&'a str>,
    age_ms: u64,
    left_ms: u64,
    start: u64,
    admitted: u64,
    lost: u64,
    spans: Vec<SpanRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct SpanRecord<'a> {
    name: &'a str,
    from: u64,
    to: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct RosterRecord<'a> {
    name: &'a str,
    logged: u64,
    purged: u64,
}

#[derive(Serialize, Deserialize)]
struct EntryRecord<'a> {
    left_ms: u64,
    #[serde(borrow)]
    scope: ScopeRecord<'a>,
    message: MessageRecord<'a>,
}

/// The whole file.
///
/// # Errors
/// None that could happen with memory enough.
pub(super) fn encode(state: &NodeState) -> Result<Vec<u8>, postcard::Error> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&[0; 8]);
    let mut bytes = postcard::to_extend(&NodeRecord::of(state), head)?;
    let length = (bytes.len() - HEAD_BYTES) as u64;
    if let Some(place) = bytes.get_mut(HEAD_BYTES - 8..HEAD_BYTES) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let sum = digest(&SHA256, &bytes);
    bytes.extend_from_slice(sum.as_ref());
    Ok(bytes)
}

/// What [`encode`] wrote.
///
/// # Errors
/// [`Unusable`], but for the topology.
pub(super) fn decode(bytes: &[u8]) -> Result<NodeState, Unusable> {
    let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(Unusable::Foreign)?;
    if *magic != MAGIC {
        return Err(Unusable::Foreign);
    }
    let (version, rest) = rest.split_first_chunk::<4>().ok_or(Unusable::Damaged)?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(Unusable::Version(version));
    }
    let (length, rest) = rest.split_first_chunk::<8>().ok_or(Unusable::Damaged)?;
    let (content, sum) = rest.split_last_chunk::<SUM_BYTES>().ok_or(Unusable::Damaged)?;
    let summed = bytes.get(..bytes.len() - SUM_BYTES).ok_or(Unusable::Damaged)?;
    let whole = u64::from_le_bytes(*length) == content.len() as u64;
    if !whole || digest(&SHA256, summed).as_ref() != sum {
        return Err(Unusable::Damaged);
    }
    match postcard::take_from_bytes::<NodeRecord<'_>>(content) {
        Ok((record, [])) => record.state().filter(sound::makes_sense).ok_or(Unusable::Damaged),
        Ok(_) | Err(_) => Err(Unusable::Damaged),
    }
}

impl<'a> NodeRecord<'a> {
    fn of(state: &'a NodeState) -> Self {
        Self {
            saved_at_ms: state.saved_at_ms,
            shards: state.topology.shards,
            partitions: state.topology.partitions,
            states: state.shards.iter().map(ShardRecord::of).collect(),
        }
    }

    fn state(self) -> Option<NodeState> {
        Some(NodeState {
            saved_at_ms: self.saved_at_ms,
            topology: Topology { shards: self.shards, partitions: self.partitions },
            shards: self.states.into_iter().map(ShardRecord::state).collect::<Option<_>>()?,
        })
    }
}

impl<'a> ShardRecord<'a> {
    fn of(state: &'a ShardState) -> Self {
        let ShardState { shard, snapshot, clients, bans } = state;
        let sessions = snapshot.sessions.iter().zip(clients);
        let roster = |saved: &'a SavedRoster| RosterRecord {
            name: &saved.name,
            logged: saved.logged,
            purged: saved.purged,
        };
        Self {
            shard: shard.0,
            epoch: snapshot.epoch,
            last: snapshot.last,
            asks_last: snapshot.asks_last,
            sessions: sessions.map(|(session, client)| SessionRecord::of(session, client)).collect(),
            entries: snapshot.entries.iter().map(EntryRecord::of).collect(),
            rosters: snapshot.rosters.iter().map(roster).collect(),
            claims: snapshot.claims.iter().map(ClaimRecord::of).collect(),
            messages: snapshot.messages.iter().map(|message| MessageRecord::of(message)).collect(),
            retained: snapshot.retained.clone(),
            delayed: snapshot.delayed.iter().map(|saved| (saved.message, saved.left_ms)).collect(),
            bans: bans.iter().map(BanRecord::of).collect(),
        }
    }

    fn state(self) -> Option<ShardState> {
        let client = |session: &SessionRecord<'_>| SavedClient {
            namespace: Arc::from(session.namespace),
            channel: Arc::from(session.channel),
            proof: PidProof(session.proof),
        };
        let clients = self.sessions.iter().map(client).collect();
        let roster = |record: RosterRecord<'_>| SavedRoster {
            name: Arc::from(record.name),
            logged: record.logged,
            purged: record.purged,
        };
        let snapshot = Snapshot {
            epoch: self.epoch,
            last: self.last,
            asks_last: self.asks_last,
            sessions: self.sessions.into_iter().map(SessionRecord::saved).collect(),
            entries: self.entries.into_iter().map(EntryRecord::saved).collect::<Option<_>>()?,
            rosters: self.rosters.into_iter().map(roster).collect(),
            claims: self.claims.into_iter().map(ClaimRecord::saved).collect::<Option<_>>()?,
            messages: self.messages.into_iter().map(MessageRecord::message).collect::<Option<_>>()?,
            retained: self.retained,
            delayed: self
                .delayed
                .into_iter()
                .map(|(message, left_ms)| SavedDelayed { message, left_ms })
                .collect(),
        };
        let bans = self.bans.into_iter().map(BanRecord::saved).collect();
        Some(ShardState { shard: ShardId(self.shard), snapshot, clients, bans })
    }
}

impl<'a> SessionRecord<'a> {
    fn of(saved: &'a SavedSession, client: &'a SavedClient) -> Self {
        let span = |span: &'a SavedSpan| SpanRecord { name: &span.name, from: span.from, to: span.to };
        Self {
            id: saved.id.0,
            namespace: &client.namespace,
            channel: &client.channel,
            proof: client.proof.0,
            user: saved.user.as_deref(),
            info: saved.info.as_deref(),
            subscriptions: saved.subscriptions.iter().map(|name| &**name).collect(),
            age_ms: saved.age_ms,
            left_ms: saved.left_ms,
            start: saved.recovery.start,
            admitted: saved.recovery.admitted,
            lost: saved.recovery.lost,
            spans: saved.recovery.spans.iter().map(span).collect(),
        }
    }

    fn saved(self) -> SavedSession {
        let span = |span: SpanRecord<'_>| SavedSpan { name: span.name.into(), from: span.from, to: span.to };
        SavedSession {
            id: SessionId(self.id),
            user: self.user.map(Arc::from),
            info: self.info.map(Bytes::copy_from_slice),
            subscriptions: self.subscriptions.into_iter().map(Arc::from).collect(),
            age_ms: self.age_ms,
            left_ms: self.left_ms,
            recovery: SavedRecovery {
                start: self.start,
                admitted: self.admitted,
                lost: self.lost,
                spans: self.spans.into_iter().map(span).collect(),
            },
            keepsake: Bytes::new(),
        }
    }
}

impl<'a> EntryRecord<'a> {
    fn of(saved: &'a SavedEntry) -> Self {
        let SavedEntry { message, scope, left_ms } = saved;
        Self { left_ms: *left_ms, scope: ScopeRecord::of(scope), message: MessageRecord::of(message) }
    }

    fn saved(self) -> Option<SavedEntry> {
        let (message, scope) = (self.message.message()?, self.scope.scope()?);
        Some(SavedEntry { message, scope, left_ms: self.left_ms })
    }
}
