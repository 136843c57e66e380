//! Sessions that bear the client's own name: claiming, taking over, changing what was agreed on, and wills.
//! How such a session loses its connection and ends is `lifecycle`'s business, which asks here about the rest.

use crate::command::{Claim, Options, Will};
use crate::effect::{Effect, Effects, ShareChange};
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, SessionId, SessionKey, ShardId, Topology};
use crate::message::Quality;
use crate::names::home_partition;
use crate::pact::Pact;
use crate::reason::Reason;
use crate::session::{Identity, Session, State};

/// The shard whose hub a client's own name belongs to.
#[must_use]
pub fn claim_home(name: &str, topology: &Topology) -> ShardId {
    topology.owner(home_partition(name, topology))
}

impl Hub {
    pub(crate) fn claim(&mut self, claim: Claim, effects: &mut Effects) {
        let found = self.names.find(&self.sessions, &claim.name);
        let goes_on = found.filter(|key| !claim.fresh && self.is_kept(*key));
        if let (Some(key), None) = (found, goes_on) {
            self.end(key, Reason::TakenOver, effects);
        }
        match goes_on {
            Some(key) => self.take_over(key, claim, effects),
            None => self.open_claimed(claim, effects),
        }
    }

    /// A session without a time to be kept ends with its connection, also when that is taken over.
    fn is_kept(&self, key: SessionKey) -> bool {
        self.sessions.known(key).pact.as_ref().is_some_and(|pact| pact.keep_ms > 0)
    }

    fn open_claimed(&mut self, claim: Claim, effects: &mut Effects) {
        if self.sessions.len() >= self.config.limits.sessions_max as usize {
            effects.list.push(Effect::OpenRefused { tag: claim.tag });
            return;
        }
        let partition = home_partition(&claim.name, &self.config.topology);
        let id = SessionId::new(partition, self.sessions.next_slot(), claim.random);
        let mut session = Session {
            tag: claim.tag,
            identity: Identity::of(claim.user.clone(), None),
            pact: Some(Box::new(Pact::new(claim.name.clone()))),
            ..Session::new(id, State::Paused, self.now)
        };
        let (tag, user) = (claim.tag, claim.user.clone());
        agree(&mut session, claim);
        let key = self.sessions.insert(session);
        self.names.insert(&self.sessions, key);
        if let Some(user) = &user {
            let roster = self.rosters.find_or_insert(ChannelName::user(user).as_str());
            self.join(key, roster, effects);
            let options = Options { quality: Quality::ExactlyOnce, ..Options::default() };
            self.set_options(key, roster, options);
        }
        let (resumed, displaced) = (false, None);
        effects.list.push(Effect::Claimed { tag, session: key, id, resumed, displaced });
    }

    /// What the old connection was to get and did not acknowledge, the new one gets.
    fn take_over(&mut self, key: SessionKey, claim: Claim, effects: &mut Effects) {
        self.close_window(key);
        let session = self.sessions.known(key);
        let displaced = session.is_connected().then_some(session.tag);
        let waits = |will: &Will| will.delay_ms > 0;
        let is_due = session.pact.as_ref().and_then(|pact| pact.will.as_deref()).is_some_and(|w| !waits(w));
        if displaced.is_some() && is_due {
            self.publish_will(key, effects);
        }
        let session = self.sessions.known_mut(key);
        let waited = session.outbox.take().map_or(0, |outbox| outbox.len() as u64);
        session.state = State::Paused;
        session.closing = false;
        session.tag = claim.tag;
        session.identity = Identity::of(claim.user.clone(), None);
        let (tag, id) = (claim.tag, session.id);
        agree(session, claim);
        if let Some(flight) = session.pact.as_mut().and_then(|pact| pact.flight.as_mut()) {
            flight.restart();
        }
        self.sessions.queued -= waited;
        self.sessions.detached -= u32::from(displaced.is_none());
        self.tell_shares(key, |_| ShareChange::Back, effects);
        effects.list.push(Effect::Claimed { tag, session: key, id, resumed: true, displaced });
    }

    pub(crate) fn amend(&mut self, key: SessionKey, keep_ms: Option<u64>, drop_will: bool) {
        let Some(pact) = self.sessions.find(key).and_then(|session| session.pact.as_mut()) else { return };
        pact.keep_ms = keep_ms.unwrap_or(pact.keep_ms);
        if drop_will {
            pact.will = None;
        }
    }

    /// A session with a pact has lost its connection and is kept: when its time is over, when its will is due, and what
    /// becomes of it meanwhile.
    pub(crate) fn leave_behind(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let waited = session.outbox.take().map_or(0, |outbox| outbox.len() as u64);
        self.sessions.queued -= waited;
        let Some(pact) = self.sessions.known_mut(key).pact.as_mut() else { return };
        pact.until = Millis(self.now.0.saturating_add(pact.keep_ms));
        pact.will_at = pact.until;
        if let Some(will) = &pact.will {
            pact.will_at = pact.until.min(Millis(self.now.0.saturating_add(will.delay_ms)));
        }
        let (until, will_at, has_will) = (pact.until, pact.will_at, pact.will.is_some());
        pact.tidy();
        if until.0 < u64::MAX {
            self.windows.insert((until, key));
        }
        if has_will && will_at <= self.now {
            self.publish_will(key, effects);
        } else if has_will && will_at.0 < u64::MAX {
            self.wills.insert((will_at, key));
        }
        self.tell_shares(key, |_| ShareChange::Away, effects);
    }

    /// The session is back or gone: its will is no longer waited for.
    pub(crate) fn forget_will_time(&mut self, key: SessionKey) {
        if let Some(pact) = &self.sessions.known(key).pact {
            self.wills.remove(&(pact.will_at, key));
        }
    }

    pub(crate) fn publish_due_wills(&mut self, effects: &mut Effects) {
        while let Some((at, key)) = self.wills.first().copied().filter(|(at, _)| *at <= self.now) {
            self.wills.remove(&(at, key));
            self.publish_will(key, effects);
        }
    }

    /// Once: the will is gone after it.
    pub(crate) fn publish_will(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let Some(will) = session.pact.as_mut().and_then(|pact| pact.will.take()) else { return };
        let mut publish = will.publish;
        publish.traits.origin = Some(session.id);
        publish.traits.expires = will.lifetime_ms.map(|ms| Millis(self.now.0.saturating_add(ms)));
        self.route(publish, effects);
    }

    /// Removes what only a session with a pact has, as it ends.
    pub(crate) fn end_pact(&mut self, key: SessionKey, effects: &mut Effects) {
        if self.sessions.known(key).pact.is_none() {
            return;
        }
        self.forget_will_time(key);
        self.publish_will(key, effects);
        self.tell_shares(key, |_| ShareChange::Leaves, effects);
        self.return_shared(key, effects);
        self.names.remove(&self.sessions, key);
    }
}

fn agree(session: &mut Session, claim: Claim) {
    if let Some(pact) = &mut session.pact {
        pact.keep_ms = claim.keep_ms;
        pact.window = claim.window.max(1);
        pact.will = claim.will;
    }
}
