//! What shards tell each other about their subscribers, and what waits until the others know.
//!
//! A channel's first and last member is told to its home, a filter's to every other hub, since any may be the home of
//! a channel that matches. Order per pair of shards is kept, so a late acknowledgement can only be of an older
//! announcement, and numbers tell them apart.

use crate::binding::Copies;
use crate::deliver::Delivery;
use crate::effect::{Effect, Effects, Outcome, Report};
use crate::hub::Hub;
use crate::hub_mail::{HubMail, Walk};
use crate::ids::{SessionId, SessionKey, ShardId, Token};
use crate::journal::{Promise, Then};
use crate::names::home_partition;
use crate::recovery::Scope;
use crate::roster::{Roster, RosterKey};
use crate::session::{ARRIVING, OWED};
use std::collections::BTreeMap;

/// Announcements on their way.
#[derive(Debug, Default)]
pub(crate) struct Interests {
    last: u64,
    open: BTreeMap<u64, Announcement>,
}

#[derive(Debug)]
struct Announcement {
    /// Acknowledgements to come.
    missing: u32,
    waiters: Vec<Waiter>,
}

/// What is to happen once every home knows.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// The answer to a `Subscribe`.
    Report(Token, u64),
    /// A session that is being admitted.
    Session(SessionKey, SessionId),
    /// The answer to a `Join`, and then the walk over retained values that it asks for.
    Join(Box<Joined>),
    /// The answer to a `ChangeUsers`.
    Users(Token, Box<Report>),
    /// Another shard, which waits for this number.
    Tell(ShardId, u64),
    /// The same, when what has changed here is safe, too.
    Follow(ShardId, u64),
}

/// A `Join` that is done as soon as every home knows.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) session: SessionKey,
    pub(crate) id: SessionId,
    /// Which of its connections asked.
    pub(crate) connection: u32,
    pub(crate) request: u64,
    pub(crate) is_new: bool,
    pub(crate) walk: Option<Walk>,
}

impl Interests {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether the waiter has to wait; if so, it was added.
    pub(crate) fn hold(&mut self, roster: &Roster, waiter: Waiter) -> bool {
        let Some(announcement) = self.open.get_mut(&roster.announcement) else { return false };
        announcement.waiters.push(waiter);
        true
    }

    /// One acknowledgement more to come under a number.
    pub(crate) fn expect_more(&mut self, number: u64) {
        self.open.get_mut(&number).into_iter().for_each(|announcement| announcement.missing += 1);
    }

    /// A number that one other shard will acknowledge.
    pub(crate) fn expect(&mut self, waiter: Waiter) -> u64 {
        self.last += 1;
        self.open.insert(self.last, Announcement { missing: 1, waiters: vec![waiter] });
        self.last
    }
}

impl Hub {
    /// The roster got its first member.
    pub(crate) fn announce(&mut self, key: RosterKey, effects: &mut Effects) {
        let to = self.homes(key);
        if to == 0 {
            return;
        }
        self.interests.last += 1;
        let token = self.interests.last;
        self.rosters.known_mut(key).announcement = token;
        self.interests.open.insert(token, Announcement { missing: to.count_ones(), waiters: Vec::new() });
        self.send_interest(key, to, Some(token), effects);
    }

    /// Goes on with the waiter now, or when the roster's announcement is acknowledged.
    pub(crate) fn when_known(&mut self, key: RosterKey, waiter: Waiter, effects: &mut Effects) {
        match self.interests.open.get_mut(&self.rosters.known(key).announcement) {
            Some(announcement) => announcement.waiters.push(waiter),
            None => self.go_on(waiter, effects),
        }
    }

    fn go_on(&mut self, waiter: Waiter, effects: &mut Effects) {
        match waiter {
            Waiter::Report(token, count) => self.promise_report(token, Report::Count(count), effects),
            Waiter::Users(token, report) => self.promise_report(token, *report, effects),
            Waiter::Session(key, id) => self.release(key, id, effects),
            Waiter::Follow(to, token) => self.promise(Promise::Known(to, token), effects),
            Waiter::Join(joined) => self.joined(*joined, effects),
            Waiter::Tell(to, token) if to == self.config.shard => self.acknowledged(token, effects),
            Waiter::Tell(to, token) => {
                effects.list.push(Effect::Mail { to, mail: HubMail::InterestKnown { token } });
            }
        }
    }

    fn joined(&mut self, joined: Joined, effects: &mut Effects) {
        let Joined { session: key, id, connection, request, is_new, walk } = joined;
        let Some(session) = self.sessions.find(key).filter(|session| session.is(&id)) else { return };
        let to = session.recipient(key);
        let is_on = |connection| session.pact.as_ref().is_none_or(|pact| pact.connection == connection);
        if session.is_connected() && is_on(connection) {
            let done = Effect::Done { to, request, outcome: Outcome::Joined { is_new } };
            self.promise_to(key, done, effects);
        }
        if let Some(walk) = walk {
            self.start_walk(&walk, effects);
        }
    }

    /// The roster lost its last member. Who still waits for the announcement is answered when that is acknowledged.
    pub(crate) fn retract(&mut self, key: RosterKey, effects: &mut Effects) {
        self.rosters.known_mut(key).announcement = 0;
        self.send_interest(key, self.homes(key), None, effects);
    }

    fn send_interest(&self, key: RosterKey, to: u64, token: Option<u64>, effects: &mut Effects) {
        let name = &self.rosters.known(key).name;
        for shard in shards_in(to) {
            let mail = HubMail::Interest { filter: name.as_str().to_owned(), wanted: token.is_some(), token };
            effects.list.push(Effect::Mail { to: shard, mail });
        }
    }

    /// The other shards that have to know of members here, one bit each.
    fn homes(&self, key: RosterKey) -> u64 {
        let roster = self.rosters.known(key);
        let topology = &self.config.topology;
        let shards = if roster.is_filter() {
            u64::MAX >> (64 - u32::from(topology.shards))
        } else {
            1 << topology.owner(home_partition(roster.name.as_str(), topology)).0
        };
        shards & !self.own_bit()
    }

    pub(crate) fn own_bit(&self) -> u64 {
        1 << self.config.shard.0
    }

    pub(crate) fn mail(&mut self, from: ShardId, mail: HubMail, effects: &mut Effects) {
        match mail {
            HubMail::Interest { filter, wanted, token } => {
                self.note_interest(from, &filter, wanted);
                if let Some(token) = token {
                    effects.list.push(Effect::Mail { to: from, mail: HubMail::InterestKnown { token } });
                }
            }
            HubMail::InterestKnown { token } => self.acknowledged(token, effects),
            HubMail::Forward { message, reply_until, token, watch } => {
                let watch = watch.map(|watch| self.journal.watch(Then::Tell(from, watch)));
                let (scope, before) = (Scope::Channel, self.journal.made());
                // The home copies it.
                let copies = Copies::new();
                let delivery =
                    Delivery { message: &message, scope, reply_until, token, watch, before, copies };
                self.forwarded(&delivery, effects);
            }
            HubMail::Stored { watch } => self.watched(watch, effects),
            HubMail::Publish(publish) => self.publish(*publish, effects),
            HubMail::Published { receipt, outcome } => self.published(receipt, outcome, effects),
            HubMail::WantPage(ask) => self.give_page(from, &ask, effects),
            HubMail::Page { session, request, page } => self.take_history(&session, request, page, effects),
            HubMail::WantRetained(walk) => self.give_retained(from, walk, effects),
            HubMail::Retained { walk, messages, more } => {
                self.take_retained((from, walk), messages, more, effects);
            }
            HubMail::Share(mail) => self.share_changed(from, *mail, effects),
            HubMail::Dealt { member, message, options, group, watch } => {
                self.dealt(member, (&message, watch), (options, group), effects);
            }
            HubMail::Queue(mail) => self.queue_mail(from, *mail, effects),
            HubMail::Arrives { user, session, number } => {
                self.arrives(from, user, (session, number), effects);
            }
            HubMail::Attends(mail) => self.attended(*mail, effects),
            HubMail::Holder(mail) => self.quota_changes(from, *mail, effects),
            HubMail::MakesWay { user, session, number, reason } => {
                self.make_way((&user, number), session, reason, effects);
            }
            HubMail::Welcome { user, session, number: 0, list } => {
                self.welcome(&user, session, &list, effects)
            }
            HubMail::Welcome { session, number, .. } => self.has_place((session, number), effects),
            HubMail::WantStored { user, session, number } => {
                let list = self.stored_of(&user);
                self.post(from, HubMail::StoredOf { session, number, list }, effects);
            }
            HubMail::StoredOf { session, number, list } => {
                self.take_stored((session, number), &list, effects);
            }
            HubMail::UserChanged { user, change, token } => {
                self.user_changed((from, token), &user, &change, effects);
            }
        }
    }

    /// To a hub, which may be this one: then it comes after the command that it follows from, as with others.
    pub(crate) fn post(&mut self, to: ShardId, mail: HubMail, effects: &mut Effects) {
        if to == self.config.shard {
            self.inbox.push_back(mail);
        } else {
            effects.list.push(Effect::Mail { to, mail });
        }
    }

    /// What this hub has said to itself.
    pub(crate) fn empty_inbox(&mut self, effects: &mut Effects) {
        while let Some(mail) = self.inbox.pop_front() {
            self.mail(self.config.shard, mail, effects);
        }
    }

    fn note_interest(&mut self, from: ShardId, name: &str, wanted: bool) {
        let bit = 1 << from.0;
        if wanted {
            let key = self.rosters.find_or_insert(name);
            self.rosters.known_mut(key).wanted |= bit;
        } else if let Some(key) = self.rosters.find(name) {
            self.rosters.known_mut(key).wanted &= !bit;
            self.drop_empty_history(key);
            self.rosters.remove_if_unused(key);
        }
    }

    pub(crate) fn acknowledged(&mut self, token: u64, effects: &mut Effects) {
        let Some(announcement) = self.interests.open.get_mut(&token) else { return };
        announcement.missing -= 1;
        if announcement.missing > 0 {
            return;
        }
        let Some(announcement) = self.interests.open.remove(&token) else { return };
        for waiter in announcement.waiters {
            self.go_on(waiter, effects);
        }
    }

    /// One thing less that holds `Admitted` or `Agreed` back; does what a `Resume` asked for meanwhile.
    pub(crate) fn release(&mut self, key: SessionKey, id: SessionId, effects: &mut Effects) {
        let Some(session) = self
            .sessions
            .find(key)
            .filter(|session| session.id == id && session.held & !(ARRIVING | OWED) > 0)
        else {
            return;
        };
        session.held -= 1;
        if session.held == OWED {
            session.held = 0;
            return self.arrived(key, effects);
        }
        let budget = session.outbox.as_ref().map_or(0, |outbox| outbox.resume);
        if session.held == 0 && budget > 0 {
            self.resume(key, budget, effects);
        }
    }
}

/// The shards of a set of bits.
pub(crate) fn shards_in(bits: u64) -> impl Iterator<Item = ShardId> {
    (0..64).filter(move |shard| bits & (1 << shard) != 0).map(ShardId)
}
