//! Sessions that bear the client's own name: claiming, taking over, changing what was agreed on, and wills.
//! How such a session loses its connection and ends is `lifecycle`'s business, which asks here about the rest.

use crate::binding::publisher;
use crate::command::{Claim, Publish};
use crate::effect::{Effect, Effects};
use crate::hub::Hub;
use crate::hub_mail::ShareChange;
use crate::ids::{ChannelName, Millis, SessionId, SessionKey, ShardId, Topology};
use crate::journal::Promise;
use crate::names::home_partition;
use crate::pact::{Pact, Records};
use crate::reason::Reason;
use crate::record::{Record, SessionRecord, WillRecord};
use crate::saved::unpublished_message;
use crate::session::{Identity, OWED, Session, State};
use crate::watch::SubscriptionChange;
use smallvec::SmallVec;
use std::sync::Arc;

/// The shard whose hub a client's own name belongs to.
#[must_use]
pub fn claim_home(name: &str, topology: &Topology) -> ShardId {
    topology.owner(home_partition(name, topology))
}

impl Hub {
    /// What is due by now comes first: a session that is over does not come back, nor a will that was to be published.
    pub(crate) fn claim(&mut self, claim: Claim, effects: &mut Effects) {
        self.publish_due_wills(effects);
        self.end_expired(effects);
        let found = self.names.find(&self.sessions, &claim.name);
        let goes_on = found.filter(|key| !claim.fresh && self.may_go_on(*key, claim.user.as_deref()));
        if let (Some(key), None) = (found, goes_on) {
            self.end(key, Reason::TakenOver, effects);
        }
        match goes_on {
            Some(key) => self.take_over(key, claim, effects),
            None => self.open_claimed(claim, effects),
        }
    }

    /// A session without a time to be kept ends with its connection, also when that is taken over. A session is of one user:
    /// another one under the same name does not get what waits in it.
    fn may_go_on(&self, key: SessionKey, user: Option<&str>) -> bool {
        let session = self.sessions.known(key);
        session.user().as_deref() == user && session.pact.as_ref().is_some_and(|pact| pact.keep_ms > 0)
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
            identity: Identity::of(claim.user.clone(), claim.info.clone()),
            pact: Some(Box::new(Pact::new(claim.name.clone(), self.allowance_of(&claim.name)))),
            ..Session::new(id, State::Paused, self.now)
        };
        let (tag, user) = (claim.tag, claim.user.clone());
        agree(&mut session, claim);
        let key = self.sessions.insert(session);
        self.names.insert(&self.sessions, key);
        self.user_comes(key, effects);
        if let Some(user) = &user {
            let roster = self.rosters.find_or_insert(ChannelName::user(user).as_str());
            self.join(key, roster, effects);
            self.tell_joined(key, roster, SubscriptionChange::Given, effects);
        }
        self.keep_session(key);
        self.arrive(key, effects);
        let (resumed, displaced) = (false, None);
        self.claimed(Effect::Claimed { tag, session: key, id, resumed, displaced, is_safe: true }, effects);
    }

    /// The client is told of its session when what was agreed on is safe, and that an earlier one of its name is gone, and when
    /// it has what is stored of its user.
    fn claimed(&mut self, mut claimed: Effect, effects: &mut Effects) {
        let Effect::Claimed { session: key, is_safe, .. } = &mut claimed else { return };
        let session = self.sessions.known_mut(*key);
        let is_ending = session.pact.as_ref().is_some_and(|pact| self.journal.is_ending(&pact.name));
        let is_complete = session.held == 0;
        session.held |= if is_complete { 0 } else { OWED };
        *is_safe = is_complete && (!self.journal.is_behind() || !(session.is_kept() || is_ending));
        let agreed = (is_complete && !*is_safe).then(|| Effect::Agreed { to: session.recipient(*key) });
        agreed.into_iter().for_each(|agreed| self.journal.hold_for(session, agreed));
        effects.list.push(claimed);
    }

    /// What the old connection was to get and did not acknowledge, the new one gets.
    fn take_over(&mut self, key: SessionKey, claim: Claim, effects: &mut Effects) {
        self.close_window(key);
        let will = self.will_of_displaced(key);
        let session = self.sessions.known_mut(key);
        let displaced = session.is_connected().then_some(session.tag);
        let waited = session.outbox.take().map_or(0, |outbox| outbox.len() as u64);
        session.state = State::Paused;
        session.closing = false;
        session.tag = claim.tag;
        session.identity = Identity::of(claim.user.clone(), claim.info.clone());
        let (tag, id, window) = (claim.tag, session.id, claim.window);
        agree(session, claim);
        if let Some(pact) = session.pact.as_mut() {
            pact.connection = pact.connection.wrapping_add(1);
            pact.flight.as_mut().into_iter().for_each(|flight| flight.restart());
        }
        self.sessions.queued -= waited;
        self.sessions.detached -= u32::from(displaced.is_none());
        if displaced.is_none() {
            self.user_comes(key, effects);
        }
        self.tell_shares(key, |_| ShareChange::Back { window }, effects);
        self.keep_session(key);
        self.arrive(key, effects);
        let claimed = Effect::Claimed { tag, session: key, id, resumed: true, displaced, is_safe: true };
        self.claimed(claimed, effects);
        if let Some(will) = will {
            self.route(will, effects);
        }
    }

    /// A connection that is taken over has ended without a goodbye: a will that does not wait is due.
    fn will_of_displaced(&mut self, key: SessionKey) -> Option<Publish> {
        let session = self.sessions.known(key);
        let will = session.pact.as_ref().and_then(|pact| pact.will.as_ref());
        if session.is_connected() && will.is_some_and(|will| will.delay_ms == 0) {
            self.take_will(key)
        } else {
            None
        }
    }

    /// The records follow when the connection is gone. A session that ends with its connection stays so, as nothing of it was
    /// kept until now.
    pub(crate) fn amend(&mut self, key: SessionKey, keep_ms: Option<u64>) {
        let Some(pact) = self.sessions.find(key).and_then(|session| session.pact.as_mut()) else { return };
        if pact.keep_ms > 0 {
            pact.keep_ms = keep_ms.unwrap_or(pact.keep_ms);
        }
    }

    pub(crate) fn drop_will(&mut self, key: SessionKey) {
        if let Some(pact) = self.sessions.find(key).and_then(|session| session.pact.as_mut()) {
            pact.will = None;
        }
    }

    /// Keeps what is agreed on now in the place of what was, or nothing of a session that ends with its connection.
    pub(crate) fn keep_session(&mut self, key: SessionKey) {
        let session = self.sessions.known_mut(key);
        let (id, is_detached) = (session.id, !session.is_connected());
        let (user, since) = (session.user(), session.since);
        let Some(pact) = session.pact.as_mut().filter(|_| self.journal.is_on()) else { return };
        if pact.keep_ms == 0 {
            return self.drop_records(key);
        }
        let will = pact.will.as_ref().and_then(|will| {
            Some(WillRecord {
                message: unpublished_message(&will.publish)?,
                expires_after_ms: will.expires_after_ms,
                delay_ms: will.delay_ms,
                at: is_detached.then_some(pact.will_at),
            })
        });
        let record = SessionRecord {
            id,
            name: Arc::clone(&pact.name),
            user,
            since,
            keep_ms: pact.keep_ms,
            window: pact.window,
            until: is_detached.then_some(pact.until),
            will,
        };
        let number = self.journal.keep(id.partition(), Record::Session(Box::new(record)));
        let subscriptions = pact.options.len();
        let records = pact.records.get_or_insert_with(|| {
            let subscriptions = SmallVec::from_elem(0, subscriptions);
            Box::new(Records { subscriptions, ..Records::default() })
        });
        let old = std::mem::replace(&mut records.session, number);
        self.journal.drop_record(id.partition(), old);
    }

    /// Nothing of a session is kept any more: what says that there is one goes first.
    pub(crate) fn drop_records(&mut self, key: SessionKey) {
        let session = self.sessions.known_mut(key);
        let partition = session.id.partition();
        let Some(pact) = &mut session.pact else { return };
        let Some(records) = pact.records.take() else { return };
        let journal = &mut self.journal;
        let mut drop_record = |number| journal.drop_record(partition, number);
        drop_record(records.session);
        records.subscriptions.iter().chain(&records.shares).for_each(|number| drop_record(*number));
        if let Some(flight) = &mut pact.flight {
            flight.records().for_each(&mut drop_record);
            flight.forget_records();
        }
        for offered in pact.rare.iter_mut().flat_map(|rare| rare.taken.values_mut()) {
            drop_record(std::mem::take(&mut offered.record));
        }
        self.journal.note_end(&pact.name);
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
        pact.leave_walks();
        pact.tidy();
        if until.0 < u64::MAX {
            self.windows.insert((until, key));
        }
        self.keep_session(key);
        self.tell_shares(key, |_| ShareChange::Away, effects);
        if has_will && will_at <= self.now {
            self.publish_will(key, effects);
        } else if has_will && will_at.0 < u64::MAX {
            self.wills.insert((will_at, key));
        }
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

    fn publish_will(&mut self, key: SessionKey, effects: &mut Effects) {
        if let Some(will) = self.take_will(key) {
            self.keep_session(key);
            self.route(will, effects);
        }
    }

    /// Once: the will is gone after it. Its message begins to age now, and is kept by itself until it is where it is needed.
    fn take_will(&mut self, key: SessionKey) -> Option<Publish> {
        let session = self.sessions.known_mut(key);
        let kept_in = session.is_kept().then(|| session.id.partition());
        let will = session.pact.as_mut()?.will.take()?;
        let mut publish = will.publish;
        publish.traits.origin = Some(session.id);
        publish.traits.user = publisher(&self.bindings, session);
        let expires = |after_ms| Millis(self.now.0.saturating_add(after_ms));
        publish.traits.expires = will.expires_after_ms.map(expires);
        if let Some(partition) = kept_in {
            self.keep_due(partition, self.now, &mut publish);
        }
        Some(publish)
    }

    /// Removes what only a session with a pact has, as it ends; gives its will, to be published when the session is gone.
    pub(crate) fn end_pact(&mut self, key: SessionKey, effects: &mut Effects) -> Option<Publish> {
        self.sessions.known(key).pact.as_ref()?;
        self.tell_shares(key, |_| ShareChange::Leaves, effects);
        self.names.remove(&self.sessions, key);
        let will = self.take_will(key);
        let left = self.return_shared(key, effects);
        let partition = self.sessions.known(key).id.partition();
        self.drop_records(key);
        left.records.into_iter().for_each(|number| self.journal.drop_record(partition, number));
        for mail in left.mail {
            self.promise(Promise::Share(Box::new(mail)), effects);
        }
        will
    }
}

fn agree(session: &mut Session, claim: Claim) {
    if let Some(pact) = &mut session.pact {
        pact.keep_ms = claim.keep_ms;
        pact.window = claim.window.max(1);
        pact.will = claim.will;
    }
}
