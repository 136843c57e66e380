//! The sessions of a hub and their look-up. Owns the layout of a session, since it decides the memory per client;
//! knows nothing of what changes a session (see `lifecycle`, `subscription`, `deliver`).

use crate::command::{Origin, Part};
use crate::effect::{PresenceMember, Recipient};
use crate::exchange::Handed;
use crate::ids::{Millis, SessionId, SessionKey, Tag};
use crate::message::Grade;
use crate::outbox::Outbox;
use crate::pact::Pact;
use crate::recovery::Recovery;
use crate::roster::RosterKey;
use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;
use std::sync::Arc;

/// What a session can be.
///
/// ```text
///  Open            Admit             Resume, nothing waits
/// ------> Pending ------> Paused -------------------------> Ready
///            |             ^ ^ \ <------------------------- /
///            |      Attach | |  \          Pause           /
///            |             | +---\------- Attach ---------+
///            |             |      \ Detach, may come back |
///            |            Detached <----------------------+
///            |             | window over
///            v             v
///          gone          gone   (any state: End, or Detach of a session that may not come back)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not admitted; what is sent to it waits.
    Pending,
    /// Its connection takes what comes.
    Ready,
    /// Its connection is busy; what comes waits.
    Paused,
    /// No connection; the recovery log keeps what it misses.
    Detached,
}

/// One session: 96 bytes, however it connects; the rare parts are boxed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) state: State,
    /// The front's name; void while detached.
    pub(crate) tag: Tag,
    /// The last delivery that saw this session, so that each delivery takes it once.
    pub(crate) stamp: u32,
    /// Homes or filters of which it is not yet known that every home heard; `Admitted` waits for them. And [`ARRIVING`], [`OWED`].
    pub(crate) held: u32,
    /// Open asks it has not answered.
    pub(crate) asks: u16,
    /// The front was told to close the connection; nothing is handed to it any more.
    pub(crate) closing: bool,
    pub(crate) part: Part,
    /// Two fit without an allocation: the usual client has its own channel and one more.
    pub(crate) subscriptions: SmallVec<[Subscription; 2]>,
    pub(crate) since: Millis,
    pub(crate) identity: Option<Box<Identity>>,
    /// Present only while something waits, or may.
    pub(crate) outbox: Option<Box<Outbox>>,
    /// Present when the session may be resumed.
    pub(crate) recovery: Option<Box<Recovery>>,
    /// Present when the session bears the client's own name.
    pub(crate) pact: Option<Box<Pact>>,
}

/// Among what holds a session: it does not know yet what is stored of its user. What that becomes meanwhile comes with the answer.
pub(crate) const ARRIVING: u32 = 1 << 31;

/// Among it: its client has not been told yet that what was agreed on is there.
pub(crate) const OWED: u32 = 1 << 30;

/// A subscription record, from the session's side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) roster: RosterKey,
    /// Where the session stands in the roster's members, so that leaving does not search them; and [`ASKED`].
    place: u32,
}

/// The client has asked for it itself. Of sessions with a client's own name that is in the options, which are kept.
const ASKED: u32 = 1 << 31;

impl Subscription {
    pub(crate) fn new(roster: RosterKey, index: u32) -> Self {
        Self { roster, place: index }
    }

    pub(crate) fn index(&self) -> usize {
        (self.place & !ASKED) as usize
    }

    /// It takes the place of one that is gone.
    pub(crate) fn move_to(&mut self, gone: Self) {
        self.place = self.place & ASKED | gone.place & !ASKED;
    }

    fn is_asked(&self) -> bool {
        self.place & ASKED > 0
    }
}

/// Who a session belongs to.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) user: Option<Arc<str>>,
    pub(crate) info: Option<Bytes>,
}

impl Identity {
    /// `None` for a session that belongs to nobody.
    pub(crate) fn of(user: Option<Arc<str>>, info: Option<Bytes>) -> Option<Box<Self>> {
        (user.is_some() || info.is_some()).then(|| Box::new(Self { user, info }))
    }
}

impl Session {
    /// A record without subscriptions and memory.
    pub(crate) fn new(id: SessionId, state: State, since: Millis) -> Self {
        Self {
            id,
            state,
            tag: Tag(0),
            stamp: 0,
            held: 0,
            asks: 0,
            closing: false,
            part: Part::Client,
            subscriptions: SmallVec::new(),
            since,
            identity: None,
            outbox: None,
            recovery: None,
            pact: None,
        }
    }

    pub(crate) fn user(&self) -> Option<Arc<str>> {
        self.identity.as_ref()?.user.clone()
    }

    pub(crate) fn info(&self) -> Option<Bytes> {
        self.identity.as_ref()?.info.clone()
    }

    /// The session as one of the members of a channel.
    pub(crate) fn member(&self) -> PresenceMember {
        PresenceMember { session: self.id, user: self.user(), info: self.info(), since: self.since }
    }

    pub(crate) fn is_subscribed(&self, roster: RosterKey) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.roster == roster)
    }

    /// Its client has asked for a subscription that exists.
    pub(crate) fn note_asked(&mut self, roster: RosterKey) {
        let mut records = self.subscriptions.iter_mut();
        records.find(|record| record.roster == roster).into_iter().for_each(|record| record.place |= ASKED);
    }

    /// Whether its client has asked for a subscription itself.
    pub(crate) fn has_asked(&self, roster: RosterKey) -> bool {
        let at = self.subscriptions.iter().position(|record| record.roster == roster);
        at.and_then(|at| self.origin_at(at)).is_some_and(|origin| origin != Origin::Given)
    }

    /// Who made the subscription at this place. What a reader has named as it came it has asked for.
    pub(crate) fn origin_at(&self, at: usize) -> Option<Origin> {
        let record = self.subscriptions.get(at)?;
        Some(match &self.pact {
            Some(pact) => pact.options.get(at)?.origin,
            None if record.is_asked() || self.part == Part::NamedReader => Origin::Asked,
            None => Origin::Given,
        })
    }

    /// Things in its outbox.
    pub(crate) fn waiting(&self) -> u64 {
        let outbox = self.outbox.as_ref().map_or(0, |outbox| outbox.len() as u64);
        outbox + self.pact.as_ref().map_or(0, |pact| pact.waiting())
    }

    /// When the oldest message was published that waits for the client, or that it has not acknowledged.
    pub(crate) fn oldest(&self) -> Option<Millis> {
        let flight = self.pact.as_ref().and_then(|pact| pact.flight.as_ref());
        let oldest = [
            self.outbox.as_ref().and_then(|outbox| outbox.oldest()),
            flight.and_then(|flight| flight.oldest()),
        ];
        oldest.into_iter().flatten().min()
    }

    /// When a detached session ends; `None` = never.
    pub(crate) fn until(&self) -> Option<Millis> {
        let until = match (&self.pact, &self.recovery) {
            (Some(pact), _) => pact.until,
            (None, Some(recovery)) => recovery.until,
            (None, None) => return None,
        };
        (until.0 < u64::MAX).then_some(until)
    }

    /// The session as one to hand something to.
    pub(crate) fn recipient(&self, key: SessionKey) -> Recipient {
        Recipient { session: key, tag: self.tag, grade: Grade::default() }
    }

    pub(crate) fn is_observer(&self) -> bool {
        self.part == Part::Observer
    }

    /// Whether it is told the channels of messages.
    pub(crate) fn is_reader(&self) -> bool {
        self.pact.is_some() || matches!(self.part, Part::Reader | Part::NamedReader)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.state != State::Detached
    }
}

/// All sessions of a hub.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    slab: Slab<Session>,
    /// Pending, live or detached sessions that may be resumed.
    pub(crate) recovering: u32,
    pub(crate) detached: u32,
    /// Not admitted yet.
    pub(crate) pending: u32,
    pub(crate) observers: u32,
    /// Subscription records of all sessions.
    pub(crate) subscriptions: u64,
    /// Things waiting in all outboxes.
    pub(crate) queued: u64,
    /// Messages that claimed sessions did not get because too much waited for them, since the start.
    pub(crate) dropped: u64,
    /// Messages that were too old when their turn came, since the start.
    pub(crate) expired: u64,
    /// Stored subscriptions that sessions did not get because of a limit, since the start.
    pub(crate) unjoined: u64,
    /// Exchanges of all sessions that have begun and are not over.
    pub(crate) in_flight: u64,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Detached sessions of an earlier hub, each in the slot that its id names, no two in the same. What they remember and
    /// are subscribed to follows.
    pub(crate) fn restored(sessions: Vec<Session>) -> Self {
        let detached = u32::try_from(sessions.len()).expect("fewer sessions than `sessions_max`, a u32");
        let slab = sessions.into_iter().map(|session| (session.id.slot() as usize, session)).collect();
        Self { slab, detached, ..Self::default() }
    }

    /// Keeps the counts after something was handed to a session.
    pub(crate) fn note(&mut self, handed: Handed) {
        match handed {
            Handed::Now(number) => self.in_flight += u64::from(number > 0),
            Handed::Missed => {}
            Handed::Waits(instead) => {
                self.queued = self.queued + 1 - u64::from(instead);
                self.dropped += u64::from(instead);
            }
            Handed::Dropped(outdated) => {
                self.queued -= u64::from(outdated);
                self.dropped += 1 + u64::from(outdated);
            }
        }
    }

    /// The slot the next session gets.
    pub(crate) fn next_slot(&self) -> u32 {
        u32::try_from(self.slab.vacant_key()).expect("fewer sessions than `sessions_max`, a u32")
    }

    /// Adds a session whose id names `next_slot`.
    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        self.recovering += u32::from(session.recovery.is_some());
        self.observers += u32::from(session.is_observer());
        self.pending += u32::from(session.state == State::Pending);
        SessionKey(u32::try_from(self.slab.insert(session)).expect("slots are checked by `next_slot`"))
    }

    /// Removes a session that has no subscriptions any more; gives all memory back when it was the last.
    pub(crate) fn remove(&mut self, key: SessionKey) -> Session {
        let session = self.slab.remove(key.0 as usize);
        self.recovering -= u32::from(session.recovery.is_some());
        self.observers -= u32::from(session.is_observer());
        self.detached -= u32::from(session.state == State::Detached);
        self.pending -= u32::from(session.state == State::Pending);
        self.queued -= session.waiting();
        if self.slab.is_empty() {
            self.slab = Slab::new();
        }
        session
    }

    /// A key from outside, which may be void.
    pub(crate) fn find(&mut self, key: SessionKey) -> Option<&mut Session> {
        self.slab.get_mut(key.0 as usize)
    }

    /// The session of a public name: an index and a comparison.
    pub(crate) fn key_of(&self, id: &SessionId) -> Option<SessionKey> {
        let session = self.slab.get(id.slot() as usize)?;
        (session.id == *id).then_some(SessionKey(id.slot()))
    }

    /// A key from one of the hub's own records.
    pub(crate) fn known(&self, key: SessionKey) -> &Session {
        self.slab.get(key.0 as usize).expect("records name only live sessions")
    }

    /// A key from one of the hub's own records.
    pub(crate) fn known_mut(&mut self, key: SessionKey) -> &mut Session {
        self.slab.get_mut(key.0 as usize).expect("records name only live sessions")
    }

    /// In order of slots, from `slot` on, without touching those before.
    pub(crate) fn iter_from(&self, slot: u32) -> impl Iterator<Item = (SessionKey, &Session)> {
        let slots = slot as usize..self.slab.capacity();
        slots.filter_map(|slot| Some((SessionKey(slot as u32), self.slab.get(slot)?)))
    }

    /// Forgets which delivery saw which session, when the stamps start over.
    pub(crate) fn clear_stamps(&mut self) {
        for (_, session) in &mut self.slab {
            session.stamp = 0;
        }
    }

    /// Slots that memory is held for.
    pub(crate) fn capacity(&self) -> usize {
        self.slab.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_small() {
        assert!(size_of::<Session>() <= 96, "{}", size_of::<Session>());
        assert!(size_of::<Option<Session>>() <= 96, "the slab adds no word");
    }
}
