//! Subscription records: who joins and leaves which roster, and when the answer to that may be given.
//! Telling other shards is `interest`'s business.

use crate::attendance::Attends;
use crate::command::{CatchUp, Join, Members, Options, Origin};
use crate::effect::{Effect, Effects, Outcome, Refusal, Report};
use crate::filter::{check_client_filter, check_filter, is_channel_name};
use crate::hub::Hub;
use crate::hub_mail::{ShareChange, ShareMail, Walk};
use crate::ids::{ChannelName, SessionKey, Token};
use crate::interest::{Joined, Waiter};
use crate::reason::Reason;
use crate::record::Record;
use crate::recovery::Span;
use crate::roster::RosterKey;
use crate::session::{State, Subscription};
use crate::share::group_key;
use crate::watch::SubscriptionChange;
use std::sync::Arc;

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
            if self.join(*member, roster, effects) {
                self.tell_joined(*member, roster, SubscriptionChange::Given, effects);
            } else if let Some(options) = self.options_of(*member, roster) {
                self.set_options(*member, roster, Options { origin: options.origin.and_given(), ..options });
            }
            self.keep_subscription(*member, roster);
        }
        self.when_known(roster, Waiter::Report(token, members.len() as u64), effects);
    }

    /// One claimed session subscribes, with options.
    pub(crate) fn join_with(&mut self, join: Join, effects: &mut Effects) {
        let Join { session: key, filter, group, options, catch_up, request } = join;
        let Some(session) = self.sessions.find(key) else { return };
        let (to, id) = (session.recipient(key), session.id);
        let connection = session.pact.as_ref().map_or(0, |pact| pact.connection);
        let refuse = |refusal, effects: &mut Effects| {
            let outcome = Outcome::Refused(refusal);
            effects.list.push(Effect::Done { to, request, outcome });
        };
        if let Err(refusal) = check_client_filter(&filter, self.config.limits.channel_name_bytes_max) {
            return refuse(refusal, effects);
        }
        if let Some(group) = group {
            let joined = Joined { session: key, id, connection, request, is_new: true, walk: None };
            if let Err(refusal) = self.join_group(joined, group_key(&group, &filter), options, effects) {
                refuse(refusal, effects);
            }
            return;
        }
        let roster = self.rosters.find(&filter);
        if !self.can_join(key, roster) || (roster.is_none() && self.is_full_of_channels()) {
            return refuse(Refusal::OverLimit, effects);
        }
        let roster = self.rosters.find_or_insert(&filter);
        let is_new = self.join(key, roster, effects);
        if is_new {
            self.tell_joined(key, roster, SubscriptionChange::Asked(options.quality), effects);
        }
        let known = self.options_of(key, roster).filter(|_| !is_new);
        let origin = known.map_or(Origin::Asked, |known| known.origin.and_asked());
        self.set_options(key, roster, Options { origin, ..options });
        self.sessions.known_mut(key).note_asked(roster);
        self.keep_subscription(key, roster);
        let wanted = match catch_up {
            CatchUp::Always => true,
            CatchUp::IfNew => is_new,
            CatchUp::Never => false,
        };
        let filter = self.rosters.known(roster).name.clone();
        let pact = self.sessions.known_mut(key).pact.as_mut().filter(|_| wanted);
        let since = pact.map(|pact| pact.expect_walk());
        let walk = since.map(|since| Walk { session: id, filter, options, after: None, since });
        let joined = Joined { session: key, id, connection, request, is_new, walk };
        self.when_known(roster, Waiter::Join(Box::new(joined)), effects);
    }

    /// The session remembers its groups, their homes remember their members.
    fn join_group(
        &mut self,
        mut joined: Joined,
        group: Arc<str>,
        options: Options,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let has_place = self.may_have_one_more(joined.session);
        let session = self.sessions.known_mut(joined.session);
        let member = session.id;
        let window = session.pact.as_ref().map_or(0, |pact| pact.window);
        let Some(rare) = session.rare() else { return Err(Refusal::NotFound) };
        let existing = rare.shares.iter().position(|(known, _)| *known == group);
        joined.is_new = existing.is_none();
        if joined.is_new && !has_place {
            return Err(Refusal::OverLimit);
        }
        let is_new = joined.is_new;
        match existing.and_then(|at| rare.shares.get_mut(at)) {
            Some((_, known)) => *known = options,
            None => rare.shares.push((Arc::clone(&group), options)),
        }
        self.keep_share(joined.session, existing, &group, options);
        if is_new {
            self.tell_shared(joined.session, &group, SubscriptionChange::Asked(options.quality), effects);
        }
        let token = self.interests.expect(Waiter::Join(Box::new(joined)));
        let change = ShareChange::Joins { options, window, token };
        self.tell_share(ShareMail { group, member, change }, effects);
        Ok(())
    }

    /// One claimed session ends a subscription, by the very text it was made with.
    pub(crate) fn leave_by_name(
        &mut self,
        key: SessionKey,
        (filter, group): (&str, Option<&str>),
        request: u64,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.find(key) else { return };
        let (to, member) = (session.recipient(key), session.id);
        let existed = match group {
            Some(group) => {
                let group = group_key(group, filter);
                let has_left = SubscriptionChange::Ended(Reason::ClientLeft);
                let shares = session.rare().map(|rare| &mut rare.shares);
                let at =
                    shares.as_ref().and_then(|shares| shares.iter().position(|(known, _)| *known == group));
                if let (Some(shares), Some(at)) = (shares, at) {
                    shares.swap_remove(at);
                    if let Some(records) = session.pact.as_mut().and_then(|pact| pact.records.as_mut()) {
                        self.journal.drop_record(member.partition(), records.shares.swap_remove(at));
                    }
                    session.pact.as_mut().into_iter().for_each(|pact| pact.tidy());
                    self.tell_shared(key, &group, has_left, effects);
                    self.tell_share(ShareMail { group, member, change: ShareChange::Leaves }, effects);
                }
                at.is_some()
            }
            None => {
                let roster = self.rosters.find(filter);
                let roster = roster.filter(|roster| self.sessions.known(key).is_subscribed(*roster));
                if let Some(roster) = roster {
                    self.tell_left(key, roster, Reason::ClientLeft, effects);
                    self.leave(key, roster, effects);
                }
                roster.is_some()
            }
        };
        self.promise_to(key, Effect::Done { to, request, outcome: Outcome::Left { existed } }, effects);
    }

    /// Of a subscription that exists, if its session has options.
    pub(crate) fn options_of(&self, key: SessionKey, roster: RosterKey) -> Option<Options> {
        let session = self.sessions.known(key);
        let at = session.subscriptions.iter().position(|record| record.roster == roster)?;
        session.pact.as_ref()?.options.get(at).copied()
    }

    /// Of a subscription that exists.
    pub(crate) fn set_options(&mut self, key: SessionKey, roster: RosterKey, options: Options) {
        let session = self.sessions.known_mut(key);
        let at = session.subscriptions.iter().position(|record| record.roster == roster);
        let Some(pact) = &mut session.pact else { return };
        if let Some(place) = at.and_then(|at| pact.options.get_mut(at)) {
            *place = options;
        }
    }

    /// Keeps a subscription that exists as it is now, in the place of what it was.
    pub(crate) fn keep_subscription(&mut self, key: SessionKey, roster: RosterKey) {
        let session = self.sessions.known_mut(key);
        let at = session.subscriptions.iter().position(|record| record.roster == roster);
        let (id, Some(pact), Some(at)) = (session.id, &mut session.pact, at) else { return };
        let (Some(options), Some(records)) = (pact.options.get(at).copied(), &mut pact.records) else {
            return;
        };
        let Some(place) = records.subscriptions.get_mut(at) else { return };
        let name = Arc::clone(&self.rosters.known(roster).name.0);
        let record = Record::Subscription { session: id, name, options };
        let old = std::mem::replace(place, self.journal.keep(id.partition(), record));
        self.journal.drop_record(id.partition(), old);
    }

    /// The same for a share group that is the session's at this place, or its newest.
    fn keep_share(&mut self, key: SessionKey, at: Option<usize>, group: &Arc<str>, options: Options) {
        let session = self.sessions.known_mut(key);
        let id = session.id;
        let Some(records) = session.pact.as_mut().and_then(|pact| pact.records.as_mut()) else { return };
        let record = Record::Share { session: id, group: Arc::clone(group), options };
        let number = self.journal.keep(id.partition(), record);
        match at.and_then(|at| records.shares.get_mut(at)) {
            Some(place) => self.journal.drop_record(id.partition(), std::mem::replace(place, number)),
            None => records.shares.push(number),
        }
    }

    pub(crate) fn unsubscribe(&mut self, of: &Members, filter: &str, token: Token, effects: &mut Effects) {
        if let Err(refusal) = check_filter(filter, self.config.limits.channel_name_bytes_max) {
            return effects.refuse(token, refusal);
        }
        let mut count = 0;
        if let Some(roster) = self.rosters.find(filter) {
            for member in self.members(of) {
                if self.sessions.known(member).is_subscribed(roster) {
                    self.tell_left(member, roster, Reason::Kicked, effects);
                    self.leave(member, roster, effects);
                    count += 1;
                }
            }
        }
        self.promise_report(token, Report::Count(count), effects);
    }

    /// Everybody but some leaves a channel.
    pub(crate) fn vacate(
        &mut self,
        channel: &ChannelName,
        except: &Members,
        token: Token,
        effects: &mut Effects,
    ) {
        let staying = self.members(except);
        let mut left = Vec::new();
        if let Some(roster) = self.rosters.find(channel.as_str()) {
            let leaving = self.members(&Members::Channel(channel.clone())).into_iter();
            for key in leaving.filter(|key| staying.binary_search(key).is_err()) {
                left.push(self.sessions.known(key).id);
                self.tell_left(key, roster, Reason::Kicked, effects);
                self.leave(key, roster, effects);
            }
        }
        self.promise_report(token, Report::Left(left), effects);
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
            self.tell_joined(key, roster, SubscriptionChange::Given, effects);
            if self
                .interests
                .hold(self.rosters.known(roster), Waiter::Session(key, self.sessions.known(key).id))
            {
                self.sessions.known_mut(key).held += 1;
            }
        }
        Ok(())
    }

    pub(crate) fn can_join(&self, key: SessionKey, roster: Option<RosterKey>) -> bool {
        let is_subscribed = |roster| self.sessions.known(key).is_subscribed(roster);
        self.may_have_one_more(key) || roster.is_some_and(is_subscribed)
    }

    fn may_have_one_more(&self, key: SessionKey) -> bool {
        let session = self.sessions.known(key);
        let rare = session.pact.as_ref().and_then(|pact| pact.rare.as_ref());
        let shared = rare.map_or(0, |rare| rare.shares.len());
        session.subscriptions.len() + shared < self.config.limits.subscriptions_per_session_max as usize
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
        session.subscriptions.push(Subscription::new(roster, index));
        if let Some(pact) = &mut session.pact {
            pact.options.push(Options::granted());
            pact.records.iter_mut().for_each(|records| records.subscriptions.push(0));
        }
        if let Some(recovery) = &mut session.recovery {
            let last = self.log.last();
            recovery.joined(&entry.name, last);
            if let Some(records) = &mut recovery.records {
                let span = Span::open(entry.name.clone(), last).kept(session.id);
                records.spans.push(self.journal.keep(session.id.partition(), span));
            }
        }
        self.sessions.subscriptions += 1;
        if index == 0 {
            let (is_new, is_shared) = (entry.is_listed() && entry.history.is_none(), entry.groups.is_some());
            self.rosters.listed += u32::from(is_new);
            if !is_shared {
                self.announce(roster, effects);
            }
        }
        self.tell_attendance(key, roster, Attends::Joins, effects);
        if self.rosters.known(roster).is_watched {
            self.channel_has(key, roster, effects);
        }
        true
    }

    /// Removes a record that exists, in the time of one look at the session's records.
    pub(crate) fn leave(&mut self, key: SessionKey, roster: RosterKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let at = session.subscriptions.iter().position(|subscription| subscription.roster == roster);
        let at = at.expect("the caller looked");
        let subscription = session.subscriptions.swap_remove(at);
        if let Some(pact) = &mut session.pact {
            pact.options.swap_remove(at);
            if let Some(records) = &mut pact.records {
                let number = records.subscriptions.swap_remove(at);
                self.journal.drop_record(session.id.partition(), number);
            }
            pact.end_walks_of(&self.rosters.known(roster).name);
            pact.tidy();
        }
        self.end_span((key, at), roster);
        self.tell_attendance(key, roster, Attends::Leaves, effects);
        self.remove_member(subscription, effects);
    }

    pub(crate) fn leave_all(&mut self, key: SessionKey, effects: &mut Effects) {
        let subscriptions = std::mem::take(&mut self.sessions.known_mut(key).subscriptions);
        for subscription in subscriptions {
            self.tell_attendance(key, subscription.roster, Attends::Leaves, effects);
            self.remove_member(subscription, effects);
        }
    }

    /// The last member takes the place of the one that leaves.
    fn remove_member(&mut self, left: Subscription, effects: &mut Effects) {
        let members = &mut self.rosters.known_mut(left.roster).members;
        members.swap_remove(left.index());
        self.sessions.subscriptions -= 1;
        if members.capacity() > 16 && members.len() < members.capacity() / 4 {
            members.shrink_to(members.len() * 2);
        }
        if let Some(moved) = members.get(left.index()).copied() {
            let mut records = self.sessions.known_mut(moved).subscriptions.iter_mut();
            let record = records.find(|record| record.roster == left.roster);
            record.expect("a member has a record").move_to(left);
        }
        if self.rosters.known(left.roster).is_watched {
            self.channel_lost(left.roster, effects);
        }
        if self.rosters.known(left.roster).members.is_empty() {
            let roster = self.rosters.known_mut(left.roster);
            roster.members = Vec::new();
            let is_gone = !roster.is_filter() && roster.history.is_none();
            let is_shared = roster.groups.is_some();
            self.rosters.listed -= u32::from(is_gone);
            if !is_shared {
                self.retract(left.roster, effects);
            }
            self.drop_empty_history(left.roster);
            self.rosters.remove_if_unused(left.roster);
        }
    }

    /// Sessions of this hub in order of slots.
    pub(crate) fn members(&self, of: &Members) -> Vec<SessionKey> {
        let channel = match of {
            Members::Session(id) => return self.sessions.key_of(id).into_iter().collect(),
            Members::Name(name) => return self.names.find(&self.sessions, name).into_iter().collect(),
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
