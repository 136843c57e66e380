//! What connections hold in memory, by protocol: measured while somebody asks.
//!
//! Owns the sum over shards. Must not know what is behind a connection. Start at [`Desk::memory`].

use super::Desk;
use super::problem::Problem;
use crate::mail::{Mail, Weight, Weights};
use futures_util::future::try_join_all;
use hub::ShardId;
use serde::Serialize;
use utoipa::ToSchema;

/// What the connections of a protocol hold in the memory of the process.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProtocolMemory {
    /// `socketio`, `mqtt`, `sse`, `ndjson`, `poll` or `websocket`; absent for connections without a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    connections: u64,
    /// Their places in tables, and what stands behind those: read and write buffers, sessions, subscriptions, names, messages that
    /// wait (each with every session that it waits for).
    bytes: u64,
    /// The same for one of them.
    bytes_each: u64,
}

impl Desk {
    /// Of all connections, by name of the protocol; `None`: a shard gave no answer.
    pub(super) async fn memory(&self) -> Option<Vec<ProtocolMemory>> {
        let shards = try_join_all(self.office.shards().map(|shard| self.memory_of(shard))).await.ok()?;
        let mut sum = Weights::default();
        shards.into_iter().flatten().for_each(|weight| sum.add(weight));
        sum.all.sort_unstable_by_key(|weight| weight.protocol);
        let item = |Weight { protocol, connections, bytes }| ProtocolMemory {
            protocol,
            connections,
            bytes,
            bytes_each: bytes / u64::max(connections, 1),
        };
        Some(sum.all.into_iter().map(item).collect())
    }

    /// Part by part, between which the shard does what else there is.
    async fn memory_of(&self, shard: ShardId) -> Result<Vec<Weight>, Problem> {
        let (mut sum, mut after) = (Weights::default(), None);
        loop {
            let part = self.settle(shard, |reply| Mail::Weigh { after, reply }).await?;
            part.all.into_iter().for_each(|weight| sum.add(weight));
            match part.next {
                Some(next) => after = Some(next),
                None => return Ok(sum.all),
            }
        }
    }
}
