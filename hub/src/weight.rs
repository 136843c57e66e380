//! What a session holds in memory, counted when somebody asks and never kept.
//!
//! Owns the sum. What is shared by many is counted in part (a roster by its members) or with each that holds it (a message that
//! waits). What the allocator adds is not known here. Start at [`Hub::bytes_of`].

use crate::command::{Publish, Will};
use crate::hub::Hub;
use crate::ids::{SessionId, SessionKey};
use crate::message::Outgoing;
use crate::outbox::Outbox;
use crate::pact::{Pact, Rare, Records};
use crate::recovery::{Recovery, ResumableRecords, Span};
use crate::roster::{Roster, RosterKey, Rosters};
use crate::session::{Identity, Session, Subscription};
use smallvec::SmallVec;
use std::sync::Arc;

/// The two counts of an `Arc`.
const COUNTS: usize = 2 * size_of::<usize>();

/// An entry of an index by name: the key and a byte of its hash, at seven eighths of the load on average three quarters of it.
const INDEX: usize = (size_of::<u32>() + 1) * 4 / 3;

impl Hub {
    /// Bytes that a session holds here: its record, what stands behind that, and its part of the channels it is subscribed to.
    /// `None`: it is not here.
    #[must_use]
    pub fn bytes_of(&self, id: &SessionId) -> Option<usize> {
        let session = self.sessions.known(self.sessions.key_of(id)?);
        let rosters =
            session.subscriptions.iter().map(|subscription| self.rosters.part_of(subscription.roster));
        Some(size_of::<Session>() + session.heap_bytes() + rosters.sum::<usize>())
    }
}

impl Session {
    fn heap_bytes(&self) -> usize {
        let identity = self.identity.as_ref().map_or(0, |identity| {
            let user = identity.user.as_ref().map_or(0, arc_bytes);
            size_of::<Identity>() + user + identity.info.as_ref().map_or(0, |info| info.len())
        });
        let outbox = self.outbox.as_ref().map_or(0, |outbox| size_of::<Outbox>() + outbox.heap_bytes());
        let recovery = self.recovery.as_ref().map_or(0, |recovery| recovery_bytes(recovery));
        let pact = self.pact.as_ref().map_or(0, |pact| size_of::<Pact>() + pact.heap_bytes());
        spilled::<Subscription, 2>(&self.subscriptions) + identity + outbox + recovery + pact
    }
}

impl Pact {
    fn heap_bytes(&self) -> usize {
        let will = self.will.as_ref().map_or(0, |will| size_of::<Will>() + content_of(&will.publish));
        let rare = self.rare.as_ref().map_or(0, |rare| {
            let shares = rare.shares.iter().map(|share| size_of_val(share) + arc_bytes(&share.0));
            size_of::<Rare>() + shares.sum::<usize>() + rare.taken.len() * 2 * size_of::<u64>()
        });
        let records = self.records.as_ref().map_or(0, |records| {
            let shares = records.shares.capacity() * size_of::<u64>();
            size_of::<Records>() + spilled::<u64, 1>(&records.subscriptions) + shares
        });
        let flight = self.flight.as_ref().map_or(0, |flight| flight.memory_bytes());
        arc_bytes(&self.name) + INDEX + will + spilled(&self.options) + flight + rare + records
    }
}

impl Rosters {
    /// What one member costs: its entry, and an equal part of the rest.
    fn part_of(&self, key: RosterKey) -> usize {
        let roster = self.known(key);
        let rest = size_of::<Roster>() + COUNTS + roster.name.as_str().len() + INDEX;
        size_of::<SessionKey>() + rest / roster.members.len().max(1)
    }
}

fn recovery_bytes(recovery: &Recovery) -> usize {
    let records = recovery
        .records
        .as_ref()
        .map_or(0, |records| size_of::<ResumableRecords>() + spilled::<u64, 2>(&records.spans));
    size_of::<Recovery>() + recovery.spans.capacity() * size_of::<Span>() + records
}

impl Outbox {
    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<Outgoing>() + usize::try_from(self.bytes()).unwrap_or(usize::MAX)
    }
}

fn content_of(publish: &Publish) -> usize {
    publish.body.len_bytes() + publish.traits.attributes.len()
}

fn arc_bytes(text: &Arc<str>) -> usize {
    COUNTS + text.len()
}

/// What a list has outside of itself.
fn spilled<T, const N: usize>(list: &SmallVec<[T; N]>) -> usize
where
    [T; N]: smallvec::Array<Item = T>,
{
    if list.spilled() { list.capacity() * size_of::<T>() } else { 0 }
}
