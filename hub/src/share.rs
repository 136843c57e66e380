//! Share groups: of all members, one gets each message. Owns the groups whose home is this hub, and what members' hubs tell
//! that home; a group is subscribed at its home only, so that a message comes to it once.
//!
//! A member that is connected is preferred, in turn; without one, a member that is away gets what may wait. What a member
//! did not acknowledge before its session ended goes to another one. Start at [`Hub::deal`].

use crate::command::Options;
use crate::effect::{Effect, Effects, HubMail, ShareChange, ShareMail};
use crate::flight::Parcel;
use crate::hub::Hub;
use crate::ids::{SessionId, SessionKey, ShardId};
use crate::interest::Waiter;
use crate::message::{Message, Quality};
use crate::names::home_partition;
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
}

#[derive(Debug)]
struct Member {
    id: SessionId,
    options: Options,
    is_connected: bool,
}

impl Group {
    /// The next member in turn that is connected; if none is, one that a message of higher quality may wait for.
    fn choose(&mut self, message: &Message) -> Option<(SessionId, Options)> {
        let origin = message.traits.origin;
        let wants = |member: &Member| !(member.options.skip_own && origin == Some(member.id));
        let waits =
            |member: &Member| message.traits.quality.min(member.options.quality) > Quality::AtMostOnce;
        let turn = self.next % self.members.len().max(1);
        let in_turn =
            || (turn..self.members.len()).chain(0..turn).filter_map(|at| Some((at, self.members.get(at)?)));
        let connected = in_turn().find(|(_, member)| member.is_connected && wants(member));
        let (at, member) =
            connected.or_else(|| in_turn().find(|(_, member)| wants(member) && waits(member)))?;
        let chosen = (member.id, member.options);
        self.next = at + 1;
        Some(chosen)
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

    /// A session that ends leaves what others of its groups may get.
    pub(crate) fn return_shared(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let member = session.id;
        let Some(flight) = session.pact.as_mut().and_then(|pact| pact.flight.take()) else { return };
        self.sessions.queued -= flight.len_waiting() as u64;
        for (group, message) in flight.returning() {
            let mail = ShareMail { group, member, change: ShareChange::Returns(message) };
            self.tell_share(mail, effects);
        }
    }

    /// At a group's home.
    pub(crate) fn share_changed(&mut self, from: ShardId, mail: ShareMail, effects: &mut Effects) {
        let ShareMail { group, member, change } = mail;
        match change {
            ShareChange::Joins(options, token) => {
                let roster = self.share_joins(&group, member, options, effects);
                self.when_known(roster, Waiter::Tell(from, token), effects);
            }
            ShareChange::Leaves => self.share_leaves(&group, member, effects),
            ShareChange::Away => self.share_is_connected(&group, member, false),
            ShareChange::Back => self.share_is_connected(&group, member, true),
            ShareChange::Returns(message) => self.deal_to(&group, &message, effects),
        }
    }

    fn share_joins(
        &mut self,
        group: &Arc<str>,
        id: SessionId,
        options: Options,
        effects: &mut Effects,
    ) -> RosterKey {
        let filter = group.split_once('/').map_or("", |(_, filter)| filter);
        let roster = self.rosters.find_or_insert(filter);
        let known = self.shares.groups.entry(Arc::clone(group));
        let entry = known.or_insert_with(|| Group { roster, members: Vec::new(), next: 0 });
        match entry.member(id) {
            Some(member) => member.options = options,
            None => entry.members.push(Member { id, options, is_connected: true }),
        }
        let place = self.rosters.known_mut(roster);
        let is_first = place.is_unwanted_here();
        if !place.groups.iter().flatten().any(|known| known == group) {
            let groups = place.groups.iter().flatten().chain([group]);
            place.groups = Some(groups.cloned().collect());
        }
        if is_first {
            self.announce(roster, effects);
        }
        roster
    }

    fn share_leaves(&mut self, key: &Arc<str>, id: SessionId, effects: &mut Effects) {
        let Some(group) = self.shares.groups.get_mut(key) else { return };
        group.members.retain(|member| member.id != id);
        if !group.members.is_empty() {
            return;
        }
        let roster = group.roster;
        self.shares.groups.remove(key);
        let place = self.rosters.known_mut(roster);
        let left: Vec<_> = place.groups.iter().flatten().filter(|group| *group != key).cloned().collect();
        place.groups = (!left.is_empty()).then(|| left.into());
        if place.is_unwanted_here() {
            self.retract(roster, effects);
            self.drop_empty_history(roster);
            self.rosters.remove_if_unused(roster);
        }
    }

    fn share_is_connected(&mut self, group: &Arc<str>, id: SessionId, is_connected: bool) {
        let group = self.shares.groups.get_mut(group);
        if let Some(member) = group.and_then(|group| group.member(id)) {
            member.is_connected = is_connected;
        }
    }

    /// Gives a message that came by these rosters to one member of each group; how many got it.
    pub(crate) fn deal(
        &mut self,
        message: &Arc<Message>,
        rosters: &[RosterKey],
        effects: &mut Effects,
    ) -> u32 {
        let mut dealt = 0;
        for roster in rosters {
            let Some(groups) = self.rosters.known(*roster).groups.clone() else { continue };
            for group in groups.iter() {
                self.deal_to(group, message, effects);
                dealt += 1;
            }
        }
        dealt
    }

    fn deal_to(&mut self, key: &Arc<str>, message: &Arc<Message>, effects: &mut Effects) {
        let Some(group) = self.shares.groups.get_mut(key) else { return };
        let Some((member, options)) = group.choose(message) else { return };
        let home = self.config.topology.owner(member.partition());
        if home == self.config.shard {
            self.dealt(member, message, (options, Arc::clone(key)), effects);
        } else {
            let (message, group) = (Arc::clone(message), Arc::clone(key));
            let mail = HubMail::Dealt { member, message, options, group };
            effects.list.push(Effect::Mail { to: home, mail });
        }
    }

    /// At a member's home. A member that has gone meanwhile gives the message back.
    pub(crate) fn dealt(
        &mut self,
        member: SessionId,
        message: &Arc<Message>,
        (options, group): (Options, Arc<str>),
        effects: &mut Effects,
    ) {
        let message = Arc::clone(message);
        let Some(key) = self.sessions.key_of(&member) else {
            let change = ShareChange::Returns(message);
            return self.tell_share(ShareMail { group, member, change }, effects);
        };
        let (grade, labels) = options.grade(&message);
        self.hand_one(key, Parcel { message, grade, labels, group: Some(group) }, effects);
    }
}
