//! What of a state makes sense, whatever its checksum says: hubs take as given what they once wrote themselves.
//!
//! Must not know bytes, nor hubs beyond their [`Snapshot`]. Start at [`makes_sense`].

use std::collections::HashSet;

use hub::{SavedRecovery, SavedSession, Snapshot, Topology, check_filter};

use super::{NodeState, ShardState};

/// Whether a node could have written it.
pub(super) fn makes_sense(state: &NodeState) -> bool {
    let Topology { shards, partitions } = state.topology;
    let mut seen = HashSet::new();
    (1..=64).contains(&shards)
        && partitions > 0
        && state.shards.iter().all(|one| {
            one.shard.0 < shards && seen.insert(one.shard.0) && shard_makes_sense(one, state.topology)
        })
}

fn shard_makes_sense(state: &ShardState, topology: Topology) -> bool {
    let Snapshot { last, asks_last, sessions, entries, rosters, .. } = &state.snapshot;
    // Numbers go on from these.
    let counts = *last <= u64::MAX / 2 && *asks_last <= u64::MAX / 2;
    let (mut slots, mut names) = (HashSet::new(), HashSet::new());
    counts
        && entries.len() as u64 <= *last
        && sessions.len() == state.clients.len()
        && sessions.iter().all(|session| {
            topology.owner(session.id.partition()) == state.shard
                && slots.insert(session.id.slot())
                && session_makes_sense(session, *last)
        })
        && rosters.iter().all(|roster| {
            is_name(&roster.name)
                && names.insert(&*roster.name)
                && roster.logged <= *last
                && roster.purged <= *last
        })
}

fn session_makes_sense(session: &SavedSession, last: u64) -> bool {
    let SavedRecovery { start, admitted, lost, spans } = &session.recovery;
    let mut names = HashSet::new();
    session.subscriptions.iter().all(|name| is_name(name) && names.insert(name))
        && [start, admitted, lost].into_iter().all(|sequence| *sequence <= last)
        && spans.iter().all(|span| {
            let to = span.to.unwrap_or(last);
            is_name(&span.name) && span.from <= to && to <= last
        })
}

/// Of a channel or a filter, of every length: which are too long now is no question of what was subscribed.
fn is_name(name: &str) -> bool {
    match name.strip_prefix('$') {
        Some(reserved) => !reserved.is_empty() && !reserved.contains('\0'),
        None => check_filter(name, u32::MAX).is_ok(),
    }
}
