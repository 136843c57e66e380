//! Subscription records: who joins and leaves which roster, and when the answer to that may be given.
//! Telling other shards is `interest`'s business.

use crate::command::Members;
use crate::effect::{Effects, Refusal, Report};
use crate::filter::{check_filter, is_channel_name};
use crate::hub::Hub;
use crate::ids::{ChannelName, SessionKey, Token};
use crate::interest::Waiter;
use crate::roster::RosterKey;
use crate::session::{State, Subscription};

impl Hub {
    pub(crate) fn subscribe(&mut self, of: &Members, filter: &str, token: Token, effects: &mut Effects) {
        if let Err(refusal) = check_filter(filter, self.config.limits.channel_name_bytes_max) {
            return effects.refuse(token, refusal);
        }
        let members = self.admitted_members(of);
        if members.is_empty() {
            return effects.report(token, Report::Count(0));
        }
        let roster = self.rosters.find(filter);
        let full = members.iter().any(|member| !self.can_join(*member, roster));
        if full || (roster.is_none() && self.is_full_of_channels()) {
            return effects.refuse(token, Refusal::OverLimit);
        }
        let roster = self.rosters.find_or_insert(filter);
        for member in &members {
            self.join(*member, roster, effects);
        }
        self.interests.when_known(
            self.rosters.known(roster),
            Waiter::Report(token, members.len() as u64),
            effects,
        );
    }

    pub(crate) fn unsubscribe(&mut self, of: &Members, filter: &str, token: Token, effects: &mut Effects) {
        if let Err(refusal) = check_filter(filter, self.config.limits.channel_name_bytes_max) {
            return effects.refuse(token, refusal);
        }
        let mut count = 0;
        if let Some(roster) = self.rosters.find(filter) {
            for member in self.members(of) {
                if self.sessions.known(member).is_subscribed(roster) {
                    self.leave(member, roster, effects);
                    count += 1;
                }
            }
        }
        effects.report(token, Report::Count(count));
    }

    /// All or nothing; `Admitted` waits until every home knows.
    pub(crate) fn subscribe_at_start(
        &mut self,
        key: SessionKey,
        names: &[String],
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let bytes_max = self.config.limits.channel_name_bytes_max;
        for name in names {
            if !is_channel_name(name, u32::MAX) {
                check_filter(name, bytes_max)?;
            }
            let roster = self.rosters.find(name);
            if !self.can_join(key, roster) || (roster.is_none() && self.is_full_of_channels()) {
                return Err(Refusal::OverLimit);
            }
            let roster = self.rosters.find_or_insert(name);
            if !self.join(key, roster, effects) {
                continue;
            }
            if self
                .interests
                .hold(self.rosters.known(roster), Waiter::Session(key, self.sessions.known(key).id))
            {
                self.sessions.known_mut(key).held += 1;
            }
        }
        Ok(())
    }

    fn can_join(&self, key: SessionKey, roster: Option<RosterKey>) -> bool {
        let session = self.sessions.known(key);
        session.subscriptions.len() < self.config.limits.subscriptions_per_session_max as usize
            || roster.is_some_and(|roster| session.is_subscribed(roster))
    }

    pub(crate) fn is_full_of_channels(&self) -> bool {
        self.rosters.len() >= self.config.limits.channels_max as usize
    }

    /// Adds a record unless there is one; false if there was.
    pub(crate) fn join(&mut self, key: SessionKey, roster: RosterKey, effects: &mut Effects) -> bool {
        let session = self.sessions.known_mut(key);
        if session.is_subscribed(roster) {
            return false;
        }
        let entry = self.rosters.known_mut(roster);
        let index = u32::try_from(entry.members.len()).expect("no more members than sessions");
        entry.members.push(key);
        session.subscriptions.push(Subscription { roster, index });
        if let Some(recovery) = &mut session.recovery {
            recovery.joined(&entry.name, self.log.last());
        }
        self.sessions.subscriptions += 1;
        if index == 0 {
            let is_new = entry.is_listed() && entry.history.is_none();
            self.rosters.listed += u32::from(is_new);
            self.announce(roster, effects);
        }
        true
    }

    /// Removes a record that exists, in the time of one look at the session's records.
    fn leave(&mut self, key: SessionKey, roster: RosterKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let at = session.subscriptions.iter().position(|subscription| subscription.roster == roster);
        let subscription = session.subscriptions.swap_remove(at.expect("the caller looked"));
        if let Some(recovery) = &mut session.recovery {
            recovery.left(self.rosters.known(roster), self.log.first());
        }
        self.remove_member(subscription, effects);
    }

    pub(crate) fn leave_all(&mut self, key: SessionKey, effects: &mut Effects) {
        let subscriptions = std::mem::take(&mut self.sessions.known_mut(key).subscriptions);
        for subscription in subscriptions {
            self.remove_member(subscription, effects);
        }
    }

    /// The last member takes the place of the one that leaves.
    fn remove_member(&mut self, left: Subscription, effects: &mut Effects) {
        let members = &mut self.rosters.known_mut(left.roster).members;
        members.swap_remove(left.index as usize);
        self.sessions.subscriptions -= 1;
        if members.capacity() > 16 && members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        if let Some(moved) = members.get(left.index as usize).copied() {
            let mut records = self.sessions.known_mut(moved).subscriptions.iter_mut();
            let record = records.find(|record| record.roster == left.roster);
            record.expect("a member has a record").index = left.index;
        }
        if self.rosters.known(left.roster).members.is_empty() {
            let roster = self.rosters.known_mut(left.roster);
            roster.members = Vec::new();
            let is_gone = !roster.is_filter() && roster.history.is_none();
            self.rosters.listed -= u32::from(is_gone);
            self.retract(left.roster, effects);
            self.drop_empty_history(left.roster);
            self.rosters.remove_if_unused(left.roster);
        }
    }

    /// Sessions of this hub in order of slots.
    pub(crate) fn members(&self, of: &Members) -> Vec<SessionKey> {
        let channel = match of {
            Members::Session(id) => return self.sessions.key_of(id).into_iter().collect(),
            Members::User(user) => &ChannelName::user(user),
            Members::Channel(channel) => channel,
        };
        let Some(roster) = self.rosters.find(channel.as_str()) else { return Vec::new() };
        let mut members: Vec<SessionKey> = self.clients(self.rosters.known(roster)).collect();
        members.sort_unstable();
        members
    }

    fn admitted_members(&self, of: &Members) -> Vec<SessionKey> {
        let mut members = self.members(of);
        members.retain(|member| self.sessions.known(*member).state != State::Pending);
        members
    }
}
