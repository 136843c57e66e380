//! A session becomes another user's.
//!
//! ```text
//!  hub of the session                  home of the new user       home of the former user
//!  Reassign
//!    Place  --- Arrives ------------------> a place (quota)           where sessions are counted
//!      |    <-- MakesWay: refused, Welcome -'
//!    New, among the sessions of both
//!      |    --- WantStored ---------------> what is stored
//!      |    <-- StoredOf ------------------'
//!    Old    --- WantStored -------------------------------------> what is stored
//!      |    <-- StoredOf -----------------------------------------'
//!    all at once: leaves, is the other user's, joins ---> Effect::Reassigned, and the answer when every home knows
//! ```
//!
//! It is among the sessions of both users while it asks, and a pair of hubs keeps the order of its mail: so it hears of every change of
//! either list that is not in the answer. Until all is known nothing of it changes, and a crash leaves it as it was, or as it is to
//! be with less than is stored, which its client has when it comes back. Owns the moves that are under way, nothing per session
//! else. What is stored and who has a place is `stored`'s and `quota`'s business. Start at [`Hub::reassign`].

use crate::attendance::Attends;
use crate::command::Part;
use crate::effect::{Effect, Effects, Refusal, Report};
use crate::hub::Hub;
use crate::hub_mail::{HolderChange, HolderMail, HubMail};
use crate::ids::{ChannelName, SessionId, SessionKey, Token};
use crate::interest::Waiter;
use crate::message::Quality;
use crate::reason::Reason;
use crate::roster::RosterKey;
use crate::session::{ARRIVING, Identity, OWED, State};
use crate::stored::{StoredChange, StoredList};
use crate::watch::SubscriptionChange;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sessions on their way from one user to another.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    last: u64,
    open: BTreeMap<SessionKey, Move>,
}

#[derive(Debug)]
struct Move {
    /// Names it in mail.
    number: u64,
    to: Option<Arc<str>>,
    token: Token,
    stage: Stage,
}

/// What it waits for.
#[derive(Debug)]
enum Stage {
    /// A place among the sessions of the new user.
    Place,
    /// What is stored of the new user.
    New,
    /// What is stored of the former one; this is what is stored of the new one by now.
    Old(BTreeMap<Box<str>, Quality>),
}

/// What the word of a user's home means to a session, if that is about a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is about no move that is under way.
    Stays,
    /// The move waits for a place.
    Waits,
    /// The move has had its place.
    Goes,
}

impl Moves {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// What a number means to a session.
    pub(crate) fn standing(&self, key: SessionKey, number: u64) -> Standing {
        match self.open.get(&key).filter(|known| known.number == number) {
            Some(Move { stage: Stage::Place, .. }) => Standing::Waits,
            Some(_) => Standing::Goes,
            None => Standing::Stays,
        }
    }

    /// Whether a session is on its way to this user; then it notes what changes of what is stored.
    pub(crate) fn follows(&mut self, key: SessionKey, user: &str, change: &StoredChange) -> bool {
        let Some(known) = self.open.get_mut(&key).filter(|known| known.to.as_deref() == Some(user)) else {
            return false;
        };
        // What is asked for is answered behind this.
        if let Stage::Old(list) = &mut known.stage {
            list.retain(|known, _| change.left.iter().all(|(name, _)| *name != **known));
            list.extend(change.joined.iter().map(|(name, quality)| (Box::from(name), quality)));
        }
        true
    }
}

impl Hub {
    pub(crate) fn reassign(
        &mut self,
        id: SessionId,
        user: Option<Arc<str>>,
        token: Token,
        effects: &mut Effects,
    ) {
        let key = self.sessions.key_of(&id).filter(|key| !self.sessions.known(*key).is_observer());
        let Some(key) = key else { return effects.refuse(token, Refusal::NotFound) };
        let session = self.sessions.known(key);
        let is_new = session.state == State::Pending || session.held & (ARRIVING | OWED) > 0;
        if is_new || self.moves.open.contains_key(&key) {
            return effects.refuse(token, Refusal::Busy);
        }
        if session.user() == user {
            return self.promise_report(token, Report::Count(1), effects);
        }
        self.moves.last += 1;
        let number = self.moves.last;
        self.moves.open.insert(key, Move { number, to: user.clone(), token, stage: Stage::Place });
        match user.filter(|_| self.has_quotas()) {
            Some(user) => {
                let home = ChannelName::user(&user).home(&self.config.topology);
                self.post(home, HubMail::Arrives { user, session: id, number }, effects);
            }
            None => self.ask_new(key, effects),
        }
    }

    /// From the new user's home: there is a place.
    pub(crate) fn has_place(&mut self, (id, number): (SessionId, u64), effects: &mut Effects) {
        let key = self.sessions.key_of(&id);
        if let Some(key) = key.filter(|key| self.moves.standing(*key, number) == Standing::Waits) {
            self.ask_new(key, effects);
        }
    }

    /// It is sure now that it goes, if it lives so long. A later process would not know what it was subscribed to by whom.
    fn ask_new(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(known) = self.moves.open.get_mut(&key) else { return };
        let Some(user) = known.to.clone() else { return self.ask_old(key, BTreeMap::new(), effects) };
        let (number, channel) = (known.number, ChannelName::user(&user));
        let roster = self.rosters.find(channel.as_str());
        if !self.can_join(key, roster) || (roster.is_none() && self.is_full_of_channels()) {
            return self.abandon_move(key, Refusal::OverLimit, effects);
        }
        let Some(known) = self.moves.open.get_mut(&key) else { return };
        known.stage = Stage::New;
        self.drop_resumable(key);
        let roster = self.rosters.find_or_insert(channel.as_str());
        self.join(key, roster, effects);
        let session = self.sessions.known(key);
        if session.part == Part::NamedReader {
            return self.ask_old(key, BTreeMap::new(), effects);
        }
        let (session, home) = (session.id, channel.home(&self.config.topology));
        self.post(home, HubMail::WantStored { user, session, number }, effects);
    }

    fn ask_old(&mut self, key: SessionKey, new: BTreeMap<Box<str>, Quality>, effects: &mut Effects) {
        let Some(known) = self.moves.open.get_mut(&key) else { return };
        known.stage = Stage::Old(new);
        let (number, session) = (known.number, self.sessions.known(key));
        match session.user().filter(|_| session.part != Part::NamedReader) {
            Some(user) => {
                let (session, home) = (session.id, ChannelName::user(&user).home(&self.config.topology));
                self.post(home, HubMail::WantStored { user, session, number }, effects);
            }
            None => self.finish_move(key, &StoredList::default(), effects),
        }
    }

    /// What is stored of one of the two.
    pub(crate) fn take_stored(
        &mut self,
        (id, number): (SessionId, u64),
        list: &StoredList,
        effects: &mut Effects,
    ) {
        let Some(key) = self.sessions.key_of(&id) else { return };
        let known = self.moves.open.get(&key).filter(|known| known.number == number);
        match known.map(|known| &known.stage) {
            Some(Stage::New) => {
                let new = list.iter().map(|(name, quality)| (Box::from(name), quality)).collect();
                self.ask_old(key, new, effects);
            }
            Some(Stage::Old(_)) => self.finish_move(key, list, effects),
            Some(Stage::Place) | None => {}
        }
    }

    fn finish_move(&mut self, key: SessionKey, old: &StoredList, effects: &mut Effects) {
        let Some(Move { to, token, stage: Stage::Old(new), .. }) = self.moves.open.remove(&key) else {
            return;
        };
        self.drop_resumable(key);
        let former = self.sessions.known(key).user();
        self.leave_former(key, old, &new, effects);
        self.hand_over_to(key, to.clone(), effects);
        let session = self.sessions.known(key);
        let (id, tag) = (session.id, session.is_connected().then_some(session.tag));
        effects.list.push(Effect::Reassigned { tag, id, former, user: to.clone() });
        let last = self.interests.expect(Waiter::Users(token, Box::new(Report::Count(1))));
        let own = to.map(|user| ChannelName::user(&user).as_str().into());
        for (name, quality) in &new {
            self.join_one(key, name, *quality, effects);
        }
        for name in own.iter().chain(new.keys()) {
            let name: &str = name;
            if let Some(roster) = self.rosters.find(name) {
                self.interests.expect_more(last);
                self.when_known(roster, Waiter::Tell(self.config.shard, last), effects);
            }
        }
        self.acknowledged(last, effects);
        // Its client may have come back meanwhile, and the former user's home be asked what it has.
        self.has_arrived(key, id, effects);
    }

    /// What it has by the former user, and neither by the new one nor by its client's own wish.
    fn leave_former(
        &mut self,
        key: SessionKey,
        old: &StoredList,
        new: &BTreeMap<Box<str>, Quality>,
        effects: &mut Effects,
    ) {
        let own = self.sessions.known(key).user().map(|user| ChannelName::user(&user));
        let stored = old.iter().map(|(name, _)| name).filter(|name| !new.contains_key(*name));
        let session = self.sessions.known(key);
        let given = stored.filter_map(|name| self.rosters.find(name));
        let given = given.filter(|roster| !session.has_asked(*roster));
        let own = own.and_then(|own| self.rosters.find(own.as_str()));
        let rosters: Vec<RosterKey> = given.chain(own).collect();
        for roster in rosters {
            if self.sessions.known(key).is_subscribed(roster) {
                self.tell_left(key, roster, Reason::Kicked, effects);
                self.leave(key, roster, effects);
            }
        }
    }

    /// Everybody who knows it as the one's is told that it is the other's.
    fn hand_over_to(&mut self, key: SessionKey, user: Option<Arc<str>>, effects: &mut Effects) {
        let session = self.sessions.known(key);
        let (is_connected, info) = (session.is_connected(), session.info());
        let rosters: Vec<RosterKey> = session.subscriptions.iter().map(|record| record.roster).collect();
        let own = user.as_deref().map(ChannelName::user);
        self.tell_quota(key, HolderChange::Departs, effects);
        if is_connected {
            self.user_goes(key, effects);
        }
        for roster in &rosters {
            self.tell_attendance(key, *roster, Attends::Leaves, effects);
        }
        self.sessions.known_mut(key).identity = Identity::of(user, info);
        for roster in &rosters {
            self.tell_attendance(key, *roster, Attends::Joins, effects);
        }
        if is_connected {
            self.user_comes(key, effects);
        } else {
            self.tell_quota(key, HolderChange::LosesConnection, effects);
        }
        if let Some(roster) = own.and_then(|own| self.rosters.find(own.as_str())) {
            self.tell_joined(key, roster, SubscriptionChange::Given, effects);
        }
        self.keep_session(key);
    }

    /// It stays whose it is, or ends.
    pub(crate) fn abandon_move(&mut self, key: SessionKey, refusal: Refusal, effects: &mut Effects) {
        let Some(Move { to, token, stage, .. }) = self.moves.open.remove(&key) else { return };
        effects.refuse(token, refusal);
        let Some(user) = to else { return };
        let channel = ChannelName::user(&user);
        let session = self.sessions.known(key);
        let id = session.id;
        let roster = self.rosters.find(channel.as_str()).filter(|roster| session.is_subscribed(*roster));
        if let Some(roster) = roster.filter(|_| !matches!(stage, Stage::Place)) {
            self.leave(key, roster, effects);
        }
        if self.has_quotas() {
            let home = channel.home(&self.config.topology);
            let mail = HolderMail { user, session: id, change: HolderChange::Departs };
            self.post(home, HubMail::Holder(Box::new(mail)), effects);
        }
    }
}
