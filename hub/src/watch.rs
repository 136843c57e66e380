//! Who is there: users and channels that somebody wants to hear of, as they come to this hub and go.
//!
//! Owns the count of connected sessions of each user, which is kept only where users are watched. What is true of all hubs together,
//! and how long one has to be gone before that is worth telling, is for the caller to find out. Start at [`Hub::watch`].

use crate::effect::{Effect, Effects};
use crate::filter::filter_matches;
use crate::hub::Hub;
use crate::ids::{ChannelName, SessionId, SessionKey};
use crate::message::Quality;
use crate::reason::Reason;
use crate::roster::{Roster, RosterKey};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is watched. Nothing costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// All users.
    pub users: bool,
    /// The channels that match one of these filters.
    pub channels: Vec<String>,
    /// Each subscription to what matches one of these filters, whose text may be a filter, too.
    pub subscriptions: Vec<String>,
}

/// What became of a subscription that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribed {
    /// Whose it is.
    pub session: SessionId,
    /// Its user.
    pub user: Option<Arc<str>>,
    /// The channel or filter.
    pub filter: Box<str>,
    /// Of a share group of that name.
    pub group: Option<Box<str>>,
    /// What.
    pub change: SubscriptionChange,
}

/// How a subscription begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// By its client, who gets messages up to this quality.
    Asked(Quality),
    /// By the back end.
    Given,
    /// `ClientLeft`: by its client. `Kicked`: by the back end. Or with its session, for any reason.
    Ended(Reason),
}

/// Somebody who comes and goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user, who is there while one of its sessions has a connection.
    User(Arc<str>),
    /// A channel, which is there while a session is subscribed to it by its name, also one that may come back.
    Channel(ChannelName),
}

/// Whether a subject is on this hub. The same may be said twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who.
    pub subject: Subject,
    /// Its first session has come; or its last one has gone.
    pub is_here: bool,
}

impl Hub {
    /// Has users and channels noticed ([`Effect::Sighted`]), before anything else. Sessions that are restored after it are found by
    /// [`Query::Watched`](crate::Query::Watched).
    pub fn watch(&mut self, watch: Watch) {
        self.present = watch.users.then(BTreeMap::new);
        self.rosters.watch(watch.channels);
        self.told = watch.subscriptions;
    }

    /// A session is subscribed, and was not.
    pub(crate) fn tell_joined(
        &self,
        key: SessionKey,
        roster: RosterKey,
        change: SubscriptionChange,
        effects: &mut Effects,
    ) {
        if !self.told.is_empty() {
            self.tell_subscription(key, (self.rosters.known(roster).name.as_str(), None), change, effects);
        }
    }

    /// A session is about to leave.
    pub(crate) fn tell_left(&self, key: SessionKey, roster: RosterKey, why: Reason, effects: &mut Effects) {
        self.tell_joined(key, roster, SubscriptionChange::Ended(why), effects);
    }

    /// A session is about to leave everything.
    pub(crate) fn tell_all_left(&self, key: SessionKey, why: Reason, effects: &mut Effects) {
        if self.told.is_empty() {
            return;
        }
        let session = self.sessions.known(key);
        for subscription in &session.subscriptions {
            self.tell_left(key, subscription.roster, why, effects);
        }
        let rare = session.pact.as_ref().and_then(|pact| pact.rare.as_ref());
        for (share, _) in rare.into_iter().flat_map(|rare| &rare.shares) {
            self.tell_shared(key, share, SubscriptionChange::Ended(why), effects);
        }
    }

    /// The same of a share group, named `group/filter`.
    pub(crate) fn tell_shared(
        &self,
        key: SessionKey,
        share: &str,
        change: SubscriptionChange,
        effects: &mut Effects,
    ) {
        if let Some((group, filter)) = share.split_once('/').filter(|_| !self.told.is_empty()) {
            self.tell_subscription(key, (filter, Some(group)), change, effects);
        }
    }

    fn tell_subscription(
        &self,
        key: SessionKey,
        (filter, group): (&str, Option<&str>),
        change: SubscriptionChange,
        effects: &mut Effects,
    ) {
        let session = self.sessions.known(key);
        if session.is_observer() || !self.told.iter().any(|told| filter_matches(told, filter)) {
            return;
        }
        let (session, user) = (session.id, session.user());
        let (filter, group) = (filter.into(), group.map(Box::from));
        let subscribed = Subscribed { session, user, filter, group, change };
        effects.list.push(Effect::Subscribed(Box::new(subscribed)));
    }

    /// A session of a user has got a connection.
    pub(crate) fn user_comes(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(present) = &mut self.present else { return };
        let Some(user) = self.sessions.known(key).user() else { return };
        let count = present.entry(Arc::clone(&user)).or_default();
        *count += 1;
        if *count == 1 {
            Sighting { subject: Subject::User(user), is_here: true }.give(effects);
        }
    }

    /// It has lost it.
    pub(crate) fn user_goes(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(present) = &mut self.present else { return };
        let Some(user) = self.sessions.known(key).user() else { return };
        let Some(count) = present.get_mut(&user) else { return };
        *count -= 1;
        if *count == 0 {
            present.remove(&user);
            Sighting { subject: Subject::User(user), is_here: false }.give(effects);
        }
    }

    /// A watched channel has this member now: only the first one matters.
    pub(crate) fn channel_has(&mut self, member: SessionKey, key: RosterKey, effects: &mut Effects) {
        let roster = self.rosters.known(key);
        let is_first = roster.groups.is_none() && self.clients(roster).nth(1).is_none();
        if is_first && !self.sessions.known(member).is_observer() {
            Sighting { subject: Subject::Channel(roster.name.clone()), is_here: true }.give(effects);
        }
    }

    /// A watched channel has members that share it.
    pub(crate) fn channel_is_shared(&mut self, key: RosterKey, effects: &mut Effects) {
        let subject = Subject::Channel(self.rosters.known(key).name.clone());
        Sighting { subject, is_here: true }.give(effects);
    }

    /// A watched channel has lost somebody.
    pub(crate) fn channel_lost(&mut self, key: RosterKey, effects: &mut Effects) {
        let roster = self.rosters.known(key);
        if !self.is_occupied(roster) {
            Sighting { subject: Subject::Channel(roster.name.clone()), is_here: false }.give(effects);
        }
    }

    /// Whether clients here want what is published there.
    pub(crate) fn is_occupied(&self, roster: &Roster) -> bool {
        roster.groups.is_some() || self.clients(roster).next().is_some()
    }
}

impl Sighting {
    fn give(self, effects: &mut Effects) {
        effects.list.push(Effect::Sighted(self));
    }
}
