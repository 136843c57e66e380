//! What of a state makes sense, whatever its checksum says: hubs take as given what they once wrote themselves.
//!
//! Must not know bytes, nor hubs beyond their [`Snapshot`]. Start at [`makes_sense`].

use std::collections::HashSet;

use hub::{
    Quality, SavedClaim, SavedParcel, SavedRecovery, SavedSession, Snapshot, Topology, check_filter,
    claim_home,
};

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
    let Snapshot { last, asks_last, sessions, entries, rosters, claims, messages, retained, delayed, .. } =
        &state.snapshot;
    // Numbers go on from these.
    let counts = *last <= u64::MAX / 2 && *asks_last <= u64::MAX / 2;
    let (mut slots, mut names) = (HashSet::new(), HashSet::new());
    let (mut clients, mut values) = (HashSet::new(), HashSet::new());
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
        && claims.iter().all(|claim| {
            claim_home(&claim.name, &topology) == state.shard
                && topology.owner(claim.id.partition()) == state.shard
                && slots.insert(claim.id.slot())
                && clients.insert(&*claim.name)
                && claim_makes_sense(claim, messages.len(), topology)
        })
        && retained.iter().all(|place| {
            let value = messages.get(*place as usize);
            value.is_some_and(|message| values.insert(&message.channel))
        })
        && delayed.iter().all(|saved| (saved.message as usize) < messages.len())
}

fn claim_makes_sense(claim: &SavedClaim, messages: usize, topology: Topology) -> bool {
    let (mut names, mut shares, mut numbers) = (HashSet::new(), HashSet::new(), HashSet::new());
    let is_there = |message: u32| (message as usize) < messages;
    let parcel_makes_sense = |parcel: &SavedParcel| {
        let group = parcel.group.as_deref();
        parcel.quality > Quality::AtMostOnce && is_there(parcel.message) && group.is_none_or(is_share)
    };
    claim.subscriptions.iter().all(|one| is_name(&one.name) && names.insert(&*one.name))
        && claim.shares.iter().all(|one| is_share(&one.name) && shares.insert(&*one.name))
        && claim.will.as_ref().is_none_or(|will| is_there(will.message))
        && claim.sent.iter().all(|exchange| {
            let is_parcel_sound = match &exchange.parcel {
                Some(parcel) => parcel.quality == exchange.quality && parcel_makes_sense(parcel),
                None => exchange.quality == Quality::ExactlyOnce,
            };
            exchange.number > 0 && numbers.insert(exchange.number) && is_parcel_sound
        })
        && claim.waiting.iter().all(parcel_makes_sense)
        && claim.walks.iter().all(|walk| walk.home.0 < topology.shards && is_name(&walk.filter))
}

/// A group's name, which has no `/`, and a filter.
fn is_share(name: &str) -> bool {
    name.split_once('/').is_some_and(|(group, filter)| !group.is_empty() && is_name(filter))
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
