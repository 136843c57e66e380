//! What hub and client have agreed on for a session that bears the client's own name: how long it is kept, how much may
//! be on its way, its will, and how each subscription is to be served. Owns that record and the look-up by name; what
//! happens to it is decided in `claim`, `exchange` and `deliver`.

use crate::command::{Options, Origin, Will};
use crate::flight::Flight;
use crate::ids::{Millis, SessionId, SessionKey};
use crate::limits::{Allowance, Limits};
use crate::message::{Grade, Labels, Message, Quality};
use crate::retained::Walks;
use crate::roster::RosterKey;
use crate::session::{Session, Sessions};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// The record; 104 bytes beside the session's own, for sessions of this kind only.
#[derive(Debug)]
pub(crate) struct Pact {
    /// The client's own.
    pub(crate) name: Arc<str>,
    /// How long the session outlives its connection; `u64::MAX` = for ever.
    pub(crate) keep_ms: u64,
    /// While detached: when it ends.
    pub(crate) until: Millis,
    /// Most exchanges at once.
    pub(crate) window: u16,
    /// The number given last.
    pub(crate) last: u16,
    /// Which of the session's connections it is on: answers are for the one that asked.
    pub(crate) connection: u32,
    pub(crate) will: Option<Box<Will>>,
    /// While detached: when the will is due.
    pub(crate) will_at: Millis,
    /// One for each of the session's subscriptions, in their order.
    pub(crate) options: SmallVec<[Options; 1]>,
    pub(crate) flight: Option<Box<Flight>>,
    pub(crate) rare: Option<Box<Rare>>,
    /// Present when the session is kept in the journal.
    pub(crate) records: Option<Box<Records>>,
}

/// Numbers of the records that keep a session, in the log of its partition; 0 = none.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// What was agreed on.
    pub(crate) session: u64,
    /// One for each of the session's subscriptions, in their order.
    pub(crate) subscriptions: SmallVec<[u64; 1]>,
    /// One for each of its share groups, in their order.
    pub(crate) shares: Vec<u64>,
}

/// What few sessions have at any time.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Numbers under which the client has published `ExactlyOnce` and which it has not forgotten.
    pub(crate) taken: BTreeMap<u16, Offered>,
    /// Share groups it is a member of, `name/filter`, with its options.
    pub(crate) shares: Vec<(Arc<str>, Options)>,
    /// Walks over retained values.
    pub(crate) walks: Option<Box<Walks>>,
    /// How much may wait for it, if that is its own.
    pub(crate) own: Option<Own>,
}

/// Of a session whose queue has a measure of its own.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) allowance: Allowance,
    /// Messages that it did not get because too much waited, since the start of this hub.
    pub(crate) dropped: u64,
}

/// A message that a client publishes under a number.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Of the record that keeps it, in the log of the session's partition; 0 = none.
    pub(crate) record: u64,
    pub(crate) state: OfferedState,
}

/// What has become of it.
#[derive(Debug)]
pub(crate) enum OfferedState {
    /// Its channel's home has not answered. Who offered it again since: connection and request.
    Open(Vec<(u32, u64)>),
    /// It is where it is needed.
    Taken,
}

impl Offered {
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.state, OfferedState::Taken)
    }
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.shares.is_empty() && self.walks.is_none() && self.own.is_none()
    }
}

impl Pact {
    /// `allowance` is how much may wait for the session, if that is its own.
    pub(crate) fn new(name: Arc<str>, allowance: Option<Allowance>) -> Self {
        Self {
            name,
            keep_ms: 0,
            until: Millis(0),
            window: 1,
            last: 0,
            connection: 0,
            will: None,
            will_at: Millis(0),
            options: SmallVec::new(),
            flight: None,
            rare: allowance.map(|allowance| {
                Box::new(Rare { own: Some(Own { allowance, dropped: 0 }), ..Rare::default() })
            }),
            records: None,
        }
    }

    /// Things that wait for a place with the client.
    pub(crate) fn waiting(&self) -> u64 {
        self.flight.as_ref().map_or(0, |flight| flight.len_waiting() as u64)
    }

    /// How much may wait.
    pub(crate) fn allowance(&self, limits: &Limits) -> Allowance {
        let own = self.rare.as_ref().and_then(|rare| rare.own.as_ref());
        own.map(|own| own.allowance).unwrap_or_else(|| limits.allowance())
    }

    /// Most exchanges at once: as agreed on, but no more while the client has not acknowledged as many bytes as may wait.
    pub(crate) fn places(&self, limits: &Limits) -> u16 {
        match &self.flight {
            Some(flight) if flight.bytes_here() >= self.allowance(limits).bytes_max => {
                u16::try_from(flight.len_here()).unwrap_or(u16::MAX).min(self.window)
            }
            Some(_) | None => self.window,
        }
    }

    /// Whether something could be sent now.
    pub(crate) fn is_due(&self, limits: &Limits) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is_due(self.places(limits)))
    }

    /// Frees what is empty.
    pub(crate) fn tidy(&mut self) {
        if self.flight.as_ref().is_some_and(|flight| flight.is_empty()) {
            self.flight = None;
        }
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }
}

/// How a session gets a message that came by these rosters: once, at the best that any of its subscriptions grants, with
/// the labels of all of them. `None` when it does not want it. `named` is what it is granted already, because the message
/// names it.
pub(crate) fn grade(
    session: &Session,
    pact: &Pact,
    message: &Message,
    (rosters, named): (&[RosterKey], Option<Quality>),
) -> Option<(Grade, Labels)> {
    let traits = &message.traits;
    let own = traits.origin == Some(session.id);
    let (mut granted, mut retained, mut labels) = (named, false, SmallVec::<[u32; 4]>::new());
    for roster in rosters {
        let at = session.subscriptions.iter().position(|record| record.roster == *roster);
        let Some(options) = at.and_then(|at| pact.options.get(at)) else { continue };
        if options.skip_own && own {
            continue;
        }
        granted = granted.max(Some(options.quality));
        retained |= options.keep_retain && traits.retain;
        labels.extend((options.label > 0).then_some(options.label));
    }
    let grade = Grade { quality: traits.quality.min(granted?), retained, ..Grade::default() };
    Some((grade, (!labels.is_empty()).then(|| labels.as_slice().into())))
}

impl Options {
    /// Of a subscription that the back end or the hub made.
    pub(crate) fn granted() -> Self {
        Self { quality: Quality::ExactlyOnce, origin: Origin::Given, ..Self::default() }
    }

    /// How a message that came by this subscription alone is handed over.
    pub(crate) fn grade(self, message: &Message) -> (Grade, Labels) {
        let quality = message.traits.quality.min(self.quality);
        let retained = self.keep_retain && message.traits.retain;
        let labels = (self.label > 0).then(|| Box::from([self.label]));
        (Grade { quality, retained, ..Grade::default() }, labels)
    }
}

/// Sessions by the names of their clients.
#[derive(Debug)]
pub(crate) struct Names {
    table: HashTable<SessionKey>,
    hasher: FixedState,
}

impl Names {
    /// `seed` makes the order unguessable to those who choose names.
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), hasher: FixedState::with_seed(seed) }
    }

    pub(crate) fn find(&self, sessions: &Sessions, name: &str) -> Option<SessionKey> {
        let is_it = |key: &SessionKey| name_of(sessions, *key) == Some(name);
        self.table.find(self.hasher.hash_one(name), is_it).copied()
    }

    /// For a session that is in `sessions` and whose name is new.
    pub(crate) fn insert(&mut self, sessions: &Sessions, key: SessionKey) {
        let hasher = &self.hasher;
        let rehash = |key: &SessionKey| hasher.hash_one(name_of(sessions, *key).unwrap_or_default());
        self.table.insert_unique(rehash(&key), key, rehash);
    }

    /// For a session that is in `sessions` still.
    pub(crate) fn remove(&mut self, sessions: &Sessions, key: SessionKey) {
        let Some(name) = name_of(sessions, key) else { return };
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(name), |found| *found == key) {
            entry.remove();
        }
        if self.table.is_empty() {
            self.table = HashTable::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Slots that memory is held for.
    pub(crate) fn capacity(&self) -> usize {
        self.table.capacity()
    }
}

fn name_of(sessions: &Sessions, key: SessionKey) -> Option<&str> {
    sessions.known(key).pact.as_ref().map(|pact| &*pact.name)
}

impl Session {
    /// The rare parts, made at the first use; `None` for a session without a pact.
    pub(crate) fn rare(&mut self) -> Option<&mut Rare> {
        self.pact.as_mut().map(|pact| &mut **pact.rare.get_or_insert_default())
    }

    /// Whether it is kept in the journal.
    pub(crate) fn is_kept(&self) -> bool {
        self.pact.as_ref().is_some_and(|pact| pact.records.is_some())
    }

    /// Whether `id` is this session's; for mail that took its time.
    pub(crate) fn is(&self, id: &SessionId) -> bool {
        self.id == *id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pact_stays_small() {
        assert!(size_of::<Pact>() <= 104, "{}", size_of::<Pact>());
    }
}
