//! Share groups: of all members, one gets each message. Owns the groups whose home is this hub, and what members' hubs tell
//! that home; a group is subscribed at its home only, so that a message comes to it once.
//!
//! Preferred are members that are connected and have a place, in turn; but while a member has messages of a publisher on their
//! way, it gets the next ones of that publisher, too, so that their order holds. Without a connected member, one that is
//! away gets what may wait. What a member did not acknowledge before its session ended goes to another one. Start at
//! [`Hub::deal`].

use crate::command::{Options, Receipt};
use crate::effect::{Counts, Effect, Effects, Outcome};
use crate::exchange::owed;
use crate::flight::{Parcel, Source};
use crate::hub::Hub;
use crate::hub_mail::{HubMail, ShareChange, ShareMail};
use crate::ids::{SessionId, SessionKey, ShardId};
use crate::interest::Waiter;
use crate::journal::{Promise, Then};
use crate::message::{Message, Quality};
use crate::names::home_partition;
use crate::record::{OwedRecord, Place};
use crate::roster::RosterKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The groups of one hub, by name and filter.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    groups: BTreeMap<Arc<str>, Group>,
}

/// Never without members.
#[derive(Debug)]
struct Group {
    roster: RosterKey,
    members: Vec<Member>,
    /// Where the search for the next member begins.
    next: usize,
    /// Publishers whose messages are on their way to a member: which one, and how many.
    bound: BTreeMap<SessionId, (SessionId, u32)>,
}

#[derive(Debug)]
struct Member {
    id: SessionId,
    options: Options,
    is_connected: bool,
    /// Most messages of higher quality at once.
    window: u16,
    /// Those of this group that it has not settled.
    on_way: u32,
}

impl Member {
    fn gets(&self, message: &Message) -> Quality {
        message.traits.quality.min(self.options.quality)
    }

    fn has_place(&self) -> bool {
        self.on_way < u32::from(self.window)
    }
}

/// What a session leaves that has ended.
#[derive(Default)]
pub(crate) struct Left {
    /// Of what it was owed.
    pub(crate) records: Vec<u64>,
    /// For when it is safe that the session is gone.
    pub(crate) mail: Vec<ShareMail>,
}

/// Who gets a message.
struct Choice {
    member: SessionId,
    options: Options,
    is_connected: bool,
}

impl Group {
    /// The member to which a publisher is bound, or the next in turn; see the head of this file.
    fn choose(&mut self, message: &Message) -> Option<Choice> {
        let at = self.best(message)?;
        let member = self.members.get_mut(at)?;
        let choice = Choice { member: member.id, options: member.options, is_connected: member.is_connected };
        self.next = at + 1;
        if member.gets(message) > Quality::AtMostOnce {
            member.on_way += 1;
            if let Some(publisher) = message.traits.origin {
                let bound = self.bound.entry(publisher).or_insert((choice.member, 0));
                let count = if bound.0 == choice.member { bound.1 } else { 0 };
                *bound = (choice.member, count + 1);
            }
        }
        Some(choice)
    }

    fn best(&self, message: &Message) -> Option<usize> {
        let origin = message.traits.origin;
        let wants = |member: &Member| !(member.options.skip_own && origin == Some(member.id));
        let turn = self.next % self.members.len().max(1);
        let in_turn = || (turn..self.members.len()).chain(0..turn);
        let bound = origin.and_then(|origin| self.bound.get(&origin));
        let bound = bound.and_then(|(id, _)| self.members.iter().position(|member| member.id == *id));
        let first = |fits: &dyn Fn(&Member) -> bool| {
            let fits = |at: &usize| self.members.get(*at).is_some_and(|member| wants(member) && fits(member));
            bound.into_iter().chain(in_turn()).find(fits)
        };
        first(&|member| member.is_connected && member.has_place())
            .or_else(|| first(&|member| member.is_connected))
            .or_else(|| first(&|member| member.gets(message) > Quality::AtMostOnce))
    }

    /// A message is no longer on its way to a member.
    fn settled(&mut self, id: SessionId, publisher: Option<SessionId>) {
        if let Some(member) = self.member(id) {
            member.on_way = member.on_way.saturating_sub(1);
        }
        let Some(publisher) = publisher else { return };
        let Some((member, count)) = self.bound.get_mut(&publisher) else { return };
        if *member == id {
            *count -= 1;
            if *count == 0 {
                self.bound.remove(&publisher);
            }
        }
    }

    fn member(&mut self, id: SessionId) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }
}

impl Shares {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

/// A group's name and filter as one text; a group's own name has no `/`.
pub(crate) fn group_key(group: &str, filter: &str) -> Arc<str> {
    Arc::from(format!("{group}/{filter}"))
}

impl Hub {
    /// Tells the home of each group that a session is a member of.
    pub(crate) fn tell_shares(
        &mut self,
        key: SessionKey,
        change: impl Fn(Options) -> ShareChange,
        effects: &mut Effects,
    ) {
        let session = self.sessions.known(key);
        let Some(rare) = session.pact.as_ref().and_then(|pact| pact.rare.as_ref()) else { return };
        let member = session.id;
        let mail = |(group, options): &(Arc<str>, Options)| ShareMail {
            group: Arc::clone(group),
            member,
            change: change(*options),
        };
        for mail in rare.shares.iter().map(mail).collect::<Vec<_>>() {
            self.tell_share(mail, effects);
        }
    }

    pub(crate) fn tell_share(&mut self, mail: ShareMail, effects: &mut Effects) {
        let home = self.config.topology.owner(home_partition(&mail.group, &self.config.topology));
        if home == self.config.shard {
            self.share_changed(home, mail, effects);
        } else {
            effects.list.push(Effect::Mail { to: home, mail: HubMail::Share(Box::new(mail)) });
        }
    }

    /// A session that ends leaves what others of its groups may get. What is kept of it goes back when it is safe that the
    /// session is gone, and is kept until another member has it.
    pub(crate) fn return_shared(&mut self, key: SessionKey, effects: &mut Effects) -> Left {
        let session = self.sessions.known_mut(key);
        let (member, is_kept) = (session.id, session.is_kept());
        let mut left = Left::default();
        let Some(flight) = session.pact.as_mut().and_then(|pact| pact.flight.take()) else { return left };
        left.records = flight.records().collect();
        self.sessions.queued -= flight.len_waiting() as u64;
        self.sessions.in_flight -= flight.len_sent() as u64;
        for parcel in flight.returning() {
            let Some(group) = parcel.group().cloned() else { continue };
            if is_kept {
                let partition = member.partition();
                let record = owed(member, &parcel.clone().numbered(0));
                let number = self.journal.keep(partition, record);
                let watch = Some(self.watch_return(Place { partition, number }));
                let change = ShareChange::Returns { message: parcel.message, watch, again: false };
                left.mail.push(ShareMail { group, member, change });
            } else {
                let change = ShareChange::Returns { message: parcel.message, watch: None, again: false };
                self.tell_share(ShareMail { group, member, change }, effects);
            }
        }
        left
    }

    /// What earlier hubs had to return.
    pub(crate) fn return_recalled(&mut self, effects: &mut Effects) {
        for (place, owed) in std::mem::take(&mut self.journal.returning) {
            let OwedRecord { session: member, message, group, .. } = *owed;
            let Some(group) = group else { continue };
            let watch = Some(self.watch_return(place));
            let change = ShareChange::Returns { message, watch, again: true };
            self.tell_share(ShareMail { group, member, change }, effects);
        }
    }

    /// The record is dropped when another member has the message, or there is none.
    fn watch_return(&mut self, place: Place) -> (ShardId, u64) {
        let shard = self.config.shard;
        let receipt = Receipt::Record { shard, place, seen: None };
        let then = Then::Acknowledge(receipt, Outcome::Published { matched: true, position: None });
        (shard, self.journal.watch(then))
    }

    /// A message that a group dealt to a session is the client's, or lost to it: the group's home hears of it.
    pub(crate) fn tell_settled(&mut self, key: SessionKey, parcel: Option<Parcel>, effects: &mut Effects) {
        let Some(parcel) = parcel else { return };
        let Some(group) = parcel.group() else { return };
        let (member, group) = (self.sessions.known(key).id, Arc::clone(group));
        let change = ShareChange::Settled(parcel.message.traits.origin);
        self.tell_share(ShareMail { group, member, change }, effects);
    }

    /// At a group's home.
    pub(crate) fn share_changed(&mut self, from: ShardId, mail: ShareMail, effects: &mut Effects) {
        let ShareMail { group: key, member, change } = mail;
        match change {
            ShareChange::Joins { options, window, token } => {
                let roster = self.share_joins(&key, member, (options, window), effects);
                self.when_known(roster, Waiter::Tell(from, token), effects);
            }
            ShareChange::Leaves => self.share_leaves(&key, member, effects),
            ShareChange::Away => self.change_member(&key, member, |member| member.is_connected = false),
            ShareChange::Back { window } => self.change_member(&key, member, |member| {
                (member.is_connected, member.window) = (true, window);
            }),
            ShareChange::Settled(publisher) => {
                if let Some(group) = self.shares.groups.get_mut(&key) {
                    group.settled(member, publisher);
                }
            }
            ShareChange::Returns { message, watch, again } => {
                let is_over = again && self.has_member(&key, &message);
                let is_over = is_over || message.is_late(self.now);
                if is_over || self.deal_to(&key, &message, watch, effects).is_none() {
                    self.stored(watch, effects);
                }
            }
            ShareChange::Had(message) => self.journal.had(self.now).note_group(key, message),
            ShareChange::WillReturn(message) => self.journal.had(self.now).note_returning(key, message),
        }
    }

    fn share_joins(
        &mut self,
        key: &Arc<str>,
        id: SessionId,
        (options, window): (Options, u16),
        effects: &mut Effects,
    ) -> RosterKey {
        let filter = key.split_once('/').map_or("", |(_, filter)| filter);
        let roster = self.rosters.find_or_insert(filter);
        let known = self.shares.groups.entry(Arc::clone(key));
        let none = || Group { roster, members: Vec::new(), next: 0, bound: BTreeMap::new() };
        let group = known.or_insert_with(none);
        match group.member(id) {
            Some(member) => member.options = options,
            None => group.members.push(Member { id, options, is_connected: true, window, on_way: 0 }),
        }
        let place = self.rosters.known_mut(roster);
        let is_first = place.is_unwanted_here();
        if !place.groups.iter().flatten().any(|known| known == key) {
            let groups = place.groups.iter().flatten().chain([key]);
            place.groups = Some(groups.cloned().collect());
        }
        if is_first {
            self.announce(roster, effects);
        }
        if self.rosters.known(roster).is_watched {
            self.channel_is_shared(roster, effects);
        }
        roster
    }

    fn share_leaves(&mut self, key: &Arc<str>, id: SessionId, effects: &mut Effects) {
        let Some(group) = self.shares.groups.get_mut(key) else { return };
        group.members.retain(|member| member.id != id);
        group.bound.retain(|_, (member, _)| *member != id);
        if !group.members.is_empty() {
            return;
        }
        let roster = group.roster;
        self.shares.groups.remove(key);
        let place = self.rosters.known_mut(roster);
        let left: Vec<_> = place.groups.iter().flatten().filter(|group| *group != key).cloned().collect();
        place.groups = (!left.is_empty()).then(|| left.into());
        let (is_watched, is_unwanted) = (place.is_watched, place.is_unwanted_here());
        if is_watched {
            self.channel_lost(roster, effects);
        }
        if is_unwanted {
            self.retract(roster, effects);
            self.drop_empty_history(roster);
            self.rosters.remove_if_unused(roster);
        }
    }

    fn change_member(&mut self, group: &Arc<str>, id: SessionId, change: impl FnOnce(&mut Member)) {
        let group = self.shares.groups.get_mut(group);
        if let Some(member) = group.and_then(|group| group.member(id)) {
            change(member);
        }
    }

    /// Gives a message that came by this roster to one member of each group, and adds to the counts.
    pub(crate) fn deal(
        &mut self,
        (message, watch): (&Arc<Message>, Option<u64>),
        roster: RosterKey,
        mut counts: Counts,
        effects: &mut Effects,
    ) -> Counts {
        let groups = self.rosters.known(roster).groups.clone();
        for group in groups.iter().flat_map(|groups| groups.iter()) {
            if self.journal.had.as_ref().is_some_and(|had| had.has_group(group, message)) {
                counts.queued += 1;
                continue;
            }
            // A member elsewhere, or one that has left, says so itself.
            watch.into_iter().for_each(|watch| self.journal.watch_more(watch));
            let watch = watch.map(|watch| (self.config.shard, watch));
            let choice = self.deal_to(group, message, watch, effects);
            if choice.is_none() {
                self.stored(watch, effects);
            }
            match choice {
                Some(Choice { is_connected: true, .. }) => counts.delivered += 1,
                Some(_) => counts.queued += 1,
                None => counts.dropped += 1,
            }
        }
        counts
    }

    /// Whoever gets it says when it is kept, if anybody waits for that.
    fn deal_to(
        &mut self,
        key: &Arc<str>,
        message: &Arc<Message>,
        watch: Option<(ShardId, u64)>,
        effects: &mut Effects,
    ) -> Option<Choice> {
        let choice = self.shares.groups.get_mut(key)?.choose(message)?;
        let Choice { member, options, .. } = choice;
        let home = self.config.topology.owner(member.partition());
        if home == self.config.shard {
            self.dealt(member, (message, watch), (options, Arc::clone(key)), effects);
        } else {
            let (message, group) = (Arc::clone(message), Arc::clone(key));
            let mail = HubMail::Dealt { member, message, options, group, watch };
            effects.list.push(Effect::Mail { to: home, mail });
        }
        Some(choice)
    }

    /// At a member's home. A member that has gone or left meanwhile gives the message back.
    pub(crate) fn dealt(
        &mut self,
        member: SessionId,
        (message, watch): (&Arc<Message>, Option<(ShardId, u64)>),
        (options, group): (Options, Arc<str>),
        effects: &mut Effects,
    ) {
        let (message, before) = (Arc::clone(message), self.journal.made());
        let Some(key) = self.sessions.key_of(&member).filter(|key| self.is_member(*key, &group)) else {
            let change = ShareChange::Returns { message, watch, again: false };
            return self.tell_share(ShareMail { group, member, change }, effects);
        };
        let (grade, labels) = options.grade(&message);
        let parcel = Parcel { message, grade, labels, source: Source::Group(group), record: 0 };
        if !self.hand_one(key, parcel.clone(), effects) && grade.quality > Quality::AtMostOnce {
            self.tell_settled(key, Some(parcel), effects);
        }
        if let Some((to, number)) = watch {
            let own = self.journal.watch(Then::Tell(to, number));
            self.promise_after(before, Promise::Watched(own), effects);
        }
    }

    /// Whether another member had the message before the start; from now on one has.
    fn has_member(&mut self, group: &Arc<str>, message: &Message) -> bool {
        let had = self.journal.had(self.now);
        let has_member = had.has_member(group, message);
        had.note_group(Arc::clone(group), message.id);
        has_member
    }

    /// Nobody keeps a message of a group: who waits for that need not.
    fn stored(&mut self, watch: Option<(ShardId, u64)>, effects: &mut Effects) {
        match watch {
            Some((to, watch)) if to == self.config.shard => self.watched(watch, effects),
            Some((to, watch)) => effects.list.push(Effect::Mail { to, mail: HubMail::Stored { watch } }),
            None => {}
        }
    }

    fn is_member(&self, key: SessionKey, group: &Arc<str>) -> bool {
        let rare = self.sessions.known(key).pact.as_ref().and_then(|pact| pact.rare.as_ref());
        rare.is_some_and(|rare| rare.shares.iter().any(|(known, _)| known == group))
    }
}
