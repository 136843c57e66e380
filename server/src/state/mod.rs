//! What a node leaves to the process after it: sessions that may be resumed and what they missed, in one file.
//!
//! Owns what is in it. `place` owns the file on the disk, `format` its bytes with `bans`, `claims` and `record`, `sound` what of them
//! makes sense. Must not know
//! when a node ends, nor who takes the sessions in. Start at [`NodeState`], then at [`Place::open`].

mod bans;
mod claims;
mod format;
mod place;
pub(crate) mod record;
mod sound;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hub::{ShardId, Snapshot, Topology};

use crate::front::{Banned, PidProof};

pub use place::{Place, Taken};

/// What one shard leaves.
#[derive(Debug)]
pub struct ShardState {
    /// Which.
    pub shard: ShardId,
    /// What its hub leaves.
    pub snapshot: Snapshot,
    /// What the protocol knows of each of the snapshot's sessions, in their order.
    pub clients: Vec<SavedClient>,
    /// Who is refused for a while.
    pub bans: Vec<SavedBan>,
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedBan {
    /// Whom it is about.
    pub of: Banned,
    /// How much longer it holds; `None` = until it is lifted. Milliseconds.
    pub left_ms: Option<u64>,
    /// For people.
    pub reason: Option<Arc<str>>,
}

/// What the protocol knows of a session.
#[derive(Clone, Debug)]
pub struct SavedClient {
    /// The Socket.IO namespace.
    pub namespace: Arc<str>,
    /// The channel of that namespace: with another one the session is of no use.
    pub channel: Arc<str>,
    /// By which the pid that its client holds will be known.
    pub proof: PidProof,
}

impl SavedClient {
    /// For the hub, which keeps it with the session where there is a store.
    #[must_use]
    pub fn keepsake(&self) -> Bytes {
        let form = (&*self.namespace, &*self.channel, self.proof.0);
        Bytes::from(postcard::to_allocvec(&form).expect("texts and bytes have a form in postcard"))
    }

    /// What [`SavedClient::keepsake`] made; `None` for anything else.
    #[must_use]
    pub fn of_keepsake(keepsake: &[u8]) -> Option<Self> {
        let read = postcard::from_bytes::<(&str, &str, [u8; 16])>(keepsake);
        let (namespace, channel, proof) = read.ok()?;
        Some(Self { namespace: Arc::from(namespace), channel: Arc::from(channel), proof: PidProof(proof) })
    }
}

/// How a shard ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All others had said that they were done.
    InOrder,
    /// Some had not: mail of theirs, of messages that were acknowledged, may have been under way.
    Cut,
}

/// What a node leaves.
#[derive(Debug)]
pub struct NodeState {
    /// When, as milliseconds of Unix time.
    pub saved_at_ms: u64,
    /// How its sessions were spread. They fit no other topology: a session's id names its place.
    pub topology: Topology,
    /// Of its shards, in any order; one that did not end in time is missing.
    pub shards: Vec<ShardState>,
}

/// Why a state file is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It does not begin as one.
    #[error("it does not begin like a state file")]
    Foreign,
    /// Written by another version.
    #[error("its format is {0}, this version reads format {known} only", known = format::VERSION)]
    Version(u32),
    /// Its length, checksum or content is not what was written, or makes no sense.
    #[error("it is cut off or damaged")]
    Damaged,
    /// Written by a node of another size.
    #[error("it is of a node with {} shards and {} partitions, this one has {} and {}",
        .saved.shards, .saved.partitions, .own.shards, .own.partitions)]
    Topology {
        /// Of the file.
        saved: Topology,
        /// Of this node.
        own: Topology,
    },
}

impl NodeState {
    /// Sessions of all shards.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.snapshots().map(|snapshot| snapshot.sessions.len() + snapshot.claims.len()).sum()
    }

    /// Whether there is nothing to go on with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let kept = |snapshot: &Snapshot| snapshot.retained.len() + snapshot.delayed.len();
        let is_nothing_kept = self.snapshots().all(|snapshot| kept(snapshot) == 0);
        self.session_count() == 0 && is_nothing_kept && self.shards.iter().all(|state| state.bans.is_empty())
    }

    /// How long ago it was saved; 0 when the clock was set back since. Milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.saved_at_ms)
    }

    /// How long ago the oldest session was opened. Milliseconds.
    #[must_use]
    pub fn age_ms_max(&self) -> u64 {
        let ages_ms = self.snapshots().flat_map(|Snapshot { sessions, claims, .. }| {
            let sessions = sessions.iter().map(|session| session.age_ms);
            sessions.chain(claims.iter().map(|claim| claim.age_ms))
        });
        let age_ms = ages_ms.max().unwrap_or(0);
        age_ms.saturating_add(self.elapsed_ms())
    }

    /// Something may be missing that was acknowledged: no session is to be resumed as if nothing were. The offset of a
    /// client that has all there was lies before the entry which stands for what nobody has. Claimed sessions go on: there is
    /// no telling their clients, and to end them would lose what is there.
    pub fn doubt(&mut self) {
        for Snapshot { last, sessions, entries, .. } in
            self.shards.iter_mut().map(|shard| &mut shard.snapshot)
        {
            *last = last.saturating_add(1);
            entries.clear();
            sessions.iter_mut().for_each(|session| session.recovery.lost = *last);
        }
    }

    fn snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.shards.iter().map(|shard| &shard.snapshot)
    }

    fn fitting(self, own: Topology) -> Result<Self, Unusable> {
        if self.topology == own { Ok(self) } else { Err(Unusable::Topology { saved: self.topology, own }) }
    }
}

/// Milliseconds of Unix time, now.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
