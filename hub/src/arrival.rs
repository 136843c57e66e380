//! Users at their homes and their sessions elsewhere: what a session is subscribed to from its start, and what becomes of the
//! sessions when that changes.
//!
//! ```text
//!  session's hub                 home of the user
//!  Admit, Claim --- Arrives -----> looks the user up
//!  joins, then  <-- Welcome ------
//!  Admitted, Agreed                ChangeUsers: a record, then
//!  joins, leaves <- UserChanged -- to each shard with sessions of the user
//!       \---------- InterestKnown -> the answer, when the record is safe
//! ```
//!
//! A pair of hubs keeps the order of its mail, and a session is among the user's before it asks: whatever changes after the
//! answer, it hears of, and it takes nothing that was sent before. What is stored is `stored`'s business. Start at [`Hub::arrive`] and [`Hub::change_users`].

use crate::command::{Options, Origin, Part};
use crate::effect::{Effect, Effects, Refusal, Report};
use crate::hub::Hub;
use crate::hub_mail::{HolderChange, HubMail};
use crate::ids::{ChannelName, Partition, SessionId, SessionKey, ShardId, Token};
use crate::interest::{Waiter, shards_in};
use crate::limits::StoredLimits;
use crate::message::Quality;
use crate::reason::Reason;
use crate::record::{Place, Record};
use crate::session::ARRIVING;
use crate::stored::UserChange;
use crate::stored::{StoredChange, StoredList};
use crate::watch::SubscriptionChange;
use std::sync::Arc;

impl Hub {
    /// How much may be stored of users, before anything else. Without it the limits are the defaults.
    pub fn limit_stored(&mut self, limits: StoredLimits) {
        self.stored_limits = limits;
    }

    /// The session of a user begins, or goes on: what is stored of the user is asked for, and its admission waits for that.
    pub(crate) fn arrive(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known(key);
        let wants = session.part != Part::NamedReader || self.has_quotas();
        let (id, Some(user)) = (session.id, session.user().filter(|_| wants)) else { return };
        let partition = ChannelName::user(&user).partition(&self.config.topology);
        let home = self.config.topology.owner(partition);
        if home == self.config.shard && !self.has_quotas() {
            let list = self.stored.list(partition, &user);
            return self.join_stored(key, &list, effects);
        }
        self.sessions.known_mut(key).held |= ARRIVING;
        self.post(home, HubMail::Arrives { user, session: id, number: 0 }, effects);
    }

    /// At the user's home.
    pub(crate) fn arrives(
        &mut self,
        from: ShardId,
        user: Arc<str>,
        (session, number): (SessionId, u64),
        effects: &mut Effects,
    ) {
        if self.has_quotas() {
            return self.quota_arrives(from, user, (session, number), effects);
        }
        let list = self.stored_of(&user);
        let mail = HubMail::Welcome { user, session, number, list };
        effects.list.push(Effect::Mail { to: from, mail });
    }

    /// What a user is subscribed to from the start, whose home this is.
    pub(crate) fn stored_of(&self, user: &str) -> StoredList {
        self.stored.list(ChannelName::user(user).partition(&self.config.topology), user)
    }

    /// From the user's home. What comes after the session has become another user's lets its client in, and no more.
    pub(crate) fn welcome(&mut self, user: &str, id: SessionId, list: &StoredList, effects: &mut Effects) {
        let Some(key) = self.sessions.key_of(&id) else { return };
        let session = self.sessions.known(key);
        let (is_of, part, is_connected) =
            (session.user().as_deref() == Some(user), session.part, session.is_connected());
        if is_of && part != Part::NamedReader {
            self.join_stored(key, list, effects);
        }
        if is_of && !is_connected {
            // It had no place to lose when it lost its connection.
            self.tell_quota(key, HolderChange::LosesConnection, effects);
        }
        self.has_arrived(key, id, effects);
    }

    /// Nothing of its user's home holds back any more what its client is told.
    pub(crate) fn has_arrived(&mut self, key: SessionKey, id: SessionId, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        if session.held & ARRIVING > 0 {
            // As one of what is counted.
            session.held = (session.held & !ARRIVING) + 1;
            self.release(key, id, effects);
        }
    }

    /// What there is no place for is left out, and counted. The session's admission waits until every home knows.
    fn join_stored(&mut self, key: SessionKey, list: &StoredList, effects: &mut Effects) {
        for (name, quality) in list.iter() {
            if self.join_one(key, name, quality, effects) {
                let session = self.sessions.known_mut(key);
                let (waiter, roster) = (Waiter::Session(key, session.id), self.rosters.find(name));
                let roster = roster.map(|roster| self.rosters.known(roster));
                session.held += u32::from(roster.is_some_and(|roster| self.interests.hold(roster, waiter)));
            }
        }
    }

    /// Subscribes a session, or raises the quality of its subscription; `false`: it has no place for it.
    pub(crate) fn join_one(
        &mut self,
        key: SessionKey,
        name: &str,
        quality: Quality,
        effects: &mut Effects,
    ) -> bool {
        let roster = self.rosters.find(name);
        if !self.can_join(key, roster) || (roster.is_none() && self.is_full_of_channels()) {
            self.sessions.unjoined += 1;
            return false;
        }
        let roster = self.rosters.find_or_insert(name);
        let is_new = self.join(key, roster, effects);
        let known = self.options_of(key, roster);
        let options = match known {
            Some(known) if !is_new => {
                Options { quality: known.quality.max(quality), origin: known.origin.and_given(), ..known }
            }
            _ => Options { quality, origin: Origin::Given, ..Options::default() },
        };
        if is_new {
            self.tell_joined(key, roster, SubscriptionChange::Given, effects);
        }
        if is_new || known.is_some_and(|known| known != options) {
            self.set_options(key, roster, options);
            self.keep_subscription(key, roster);
        }
        true
    }

    /// The back end changes what is stored of users whose home this is. Each is changed or refused by itself.
    pub(crate) fn change_users(&mut self, changes: &[UserChange], token: Token, effects: &mut Effects) {
        let (mut count, mut refused, mut told) = (0, Vec::new(), Vec::new());
        for (at, change) in changes.iter().enumerate() {
            let channel = ChannelName::user(&change.user);
            let partition = channel.partition(&self.config.topology);
            let changed = if self.config.topology.owner(partition) == self.config.shard {
                self.stored.change(partition, change, &self.stored_limits)
            } else {
                Err(Refusal::NotFound)
            };
            match changed {
                Ok(changed) => {
                    count += changed.count;
                    changed
                        .rewritten
                        .into_iter()
                        .for_each(|new| self.keep_stored(partition, &change.user, new));
                    if changed.change != StoredChange::default() {
                        told.push((Arc::clone(&change.user), changed.change));
                    }
                }
                Err(refusal) => refused.push((at, refusal)),
            }
        }
        let report = Box::new(Report::UsersChanged { count, refused });
        let last = self.interests.expect(Waiter::Users(token, report));
        for (user, change) in told {
            self.tell_sessions(&user, change, last, effects);
        }
        self.acknowledged(last, effects);
    }

    /// One record per user, in the place of the older one.
    fn keep_stored(&mut self, partition: Partition, user: &Arc<str>, (old, list): (u64, StoredList)) {
        if !list.is_empty() {
            let number = self.journal.keep(partition, Record::User { user: Arc::clone(user), list });
            self.stored.note_record(partition, user, number);
        }
        self.journal.drop_record(partition, old);
    }

    /// Those of this hub at once, those of others by mail, which `last` waits for.
    fn tell_sessions(&mut self, user: &Arc<str>, change: StoredChange, last: u64, effects: &mut Effects) {
        let channel = ChannelName::user(user);
        let wanted = self.rosters.find(channel.as_str()).map(|roster| self.rosters.known(roster).wanted);
        for to in shards_in(wanted.unwrap_or_default()) {
            self.interests.expect_more(last);
            let (user, change) = (Arc::clone(user), Box::new(change.clone()));
            effects.list.push(Effect::Mail { to, mail: HubMail::UserChanged { user, change, token: last } });
        }
        self.change_sessions(user, &change, last, effects);
    }

    /// From the user's home.
    pub(crate) fn user_changed(
        &mut self,
        (from, token): (ShardId, u64),
        user: &str,
        change: &StoredChange,
        effects: &mut Effects,
    ) {
        let last = self.interests.expect(Waiter::Follow(from, token));
        self.change_sessions(user, change, last, effects);
        self.acknowledged(last, effects);
    }

    /// Subscribes and unsubscribes the sessions here; `last` waits until every home knows.
    fn change_sessions(&mut self, user: &str, change: &StoredChange, last: u64, effects: &mut Effects) {
        let sessions = self.rosters.find(ChannelName::user(user).as_str());
        let mut sessions =
            sessions.map(|roster| self.rosters.known(roster).members.clone()).unwrap_or_default();
        sessions.retain(|key| self.sessions.known(*key).part != Part::NamedReader);
        // It is not the user's yet, and gets all of it at once.
        sessions.retain(|key| !self.moves.follows(*key, user, change));
        for (name, _) in change.left.iter() {
            let Some(roster) = self.rosters.find(name) else { continue };
            for key in &sessions {
                if self.sessions.known(*key).is_subscribed(roster) {
                    self.tell_left(*key, roster, Reason::Kicked, effects);
                    self.leave(*key, roster, effects);
                }
            }
        }
        for (name, quality) in change.joined.iter() {
            for key in &sessions {
                // A change of before it came, whose end it would not hear of.
                if self.sessions.known(*key).held & ARRIVING == 0 {
                    self.join_one(*key, name, quality, effects);
                }
            }
            if let Some(roster) = self.rosters.find(name) {
                self.interests.expect_more(last);
                self.when_known(roster, Waiter::Tell(self.config.shard, last), effects);
            }
        }
    }

    /// A session that bears a client's own name has all that is stored of its user.
    pub(crate) fn arrived(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known(key);
        if !session.is_connected() || session.closing {
            return;
        }
        let agreed = Effect::Agreed { to: session.recipient(key) };
        let is_ending = session.pact.as_ref().is_some_and(|pact| self.journal.is_ending(&pact.name));
        if self.journal.is_behind() && (session.is_kept() || is_ending) {
            self.journal.hold_for(session, agreed);
        } else {
            effects.list.push(agreed);
        }
    }

    /// A record of an earlier hub; of several of one user the newest counts.
    pub(crate) fn recall_user(&mut self, place: Place, user: &str, list: &StoredList) {
        let old = self.stored.recall((place.partition, place.number), user, list);
        self.journal.drop_record(place.partition, old);
    }

    /// See [`Query::Stored`](crate::Query).
    pub(crate) fn query_stored(&self, token: Token, user: &str, effects: &mut Effects) {
        effects.report(token, Report::Stored(self.stored_of(user)));
    }
}
