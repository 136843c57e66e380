//! What the back end may ask about a hub: pages of sessions, channels and members, and totals. Changes nothing.
//!
//! Pages of sessions are in order of slots, of channels in order of names; a cursor is the last item's name. Of the slowest
//! sessions there is one page, which is where to look first and no more. What comes
//! or goes between two pages may be missed or seen; what stays is seen once.

use crate::command::{Members, Origin, Query};
use crate::effect::{ChannelView, Effects, Page, PresenceMember, Refusal, Report, SessionView};
use crate::filter::filter_matches;
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, SessionId, SessionKey, Token};
use crate::limits::Presence;
use crate::roster::{Roster, RosterKey};
use crate::session::Session;
use std::sync::Arc;

impl Hub {
    pub(crate) fn query(&mut self, token: Token, query: &Query, effects: &mut Effects) {
        self.trim_histories();
        match query {
            Query::Sessions { of, after, limit } => {
                let page = self.page_of_sessions(of.as_ref(), *after, *limit as usize);
                effects.report(token, Report::Sessions(page));
            }
            Query::Channels { filter, after, limit } => {
                let page = self.page_of_channels(filter.as_deref(), after.as_ref(), *limit as usize);
                effects.report(token, Report::Channels(page));
            }
            Query::Watched { after, limit } => {
                let page = self.page_of_watched(after.as_ref(), *limit as usize);
                effects.report(token, Report::Channels(page));
            }
            Query::Presence { channel, after, limit } => {
                match self.presence(channel, *after, *limit as usize) {
                    Ok((page, count)) => effects.report(token, Report::Presence(page, count)),
                    Err(refusal) => effects.refuse(token, refusal),
                }
            }
            Query::History { channel, span } => self.query_history(token, channel, span, effects),
            Query::Retained { channel } => {
                effects.report(token, Report::Retained(self.retained.value(channel, self.now).cloned()));
            }
            Query::Slowest { connected, limit } => {
                let page =
                    self.page_of_slowest(*limit as usize, |session| session.is_connected() || !*connected);
                effects.report(token, Report::Sessions(page));
            }
            Query::Stored { user } => self.query_stored(token, user, effects),
            Query::Totals => effects.report(token, self.totals()),
        }
    }

    fn page_of_sessions(
        &self,
        of: Option<&Members>,
        after: Option<SessionId>,
        limit: usize,
    ) -> Page<SessionView> {
        let page = match of {
            Some(of) => page_of_members(self.members(of), after, limit),
            None => self.page_of_all(after, limit),
        };
        let view = |key: &SessionKey| self.session_view(self.sessions.known(*key));
        Page { items: page.items.iter().map(view).collect(), more: page.more }
    }

    fn page_of_all(&self, after: Option<SessionId>, limit: usize) -> Page<SessionKey> {
        let start = after.map_or(0, |after| after.slot().saturating_add(1));
        let clients = self.sessions.iter_from(start).filter(|(_, session)| !session.is_observer());
        let mut keys = clients.map(|(key, _)| key);
        let items = keys.by_ref().take(limit).collect();
        Page { items, more: keys.next().is_some() }
    }

    /// Those with the oldest messages that wait or are not acknowledged, oldest first. One look at each session.
    fn page_of_slowest(&self, limit: usize, wanted: impl Fn(&Session) -> bool) -> Page<SessionView> {
        // Often nothing waits for anybody.
        let is_any = self.sessions.queued > 0 || self.sessions.in_flight > 0;
        let sessions = is_any.then(|| self.sessions.iter_from(0)).into_iter().flatten();
        let wanted = sessions.filter(|(_, session)| !session.is_observer() && wanted(session));
        let with_age = wanted.filter_map(|(key, session)| Some((session.oldest()?, session.waiting(), key)));
        let mut found: Vec<(Millis, u64, SessionKey)> = with_age.collect();
        let more =
            keep_smallest_by(&mut found, limit, |a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(&b.2)));
        let view = |(_, _, key): &(Millis, u64, SessionKey)| self.session_view(self.sessions.known(*key));
        Page { items: found.iter().map(view).collect(), more }
    }

    /// What a session here is subscribed to: the share group, if there is one, and the filter.
    #[must_use]
    pub fn subscriptions_of(&self, session: &SessionId) -> Vec<(Option<Box<str>>, String)> {
        self.subscriptions_if(session, |_| true)
    }

    /// The same, without what was given to it: what its client asked for itself.
    #[must_use]
    pub fn wishes_of(&self, session: &SessionId) -> Vec<(Option<Box<str>>, String)> {
        self.subscriptions_if(session, |origin| origin == Origin::Asked)
    }

    fn subscriptions_if(
        &self,
        session: &SessionId,
        wanted: impl Fn(Origin) -> bool,
    ) -> Vec<(Option<Box<str>>, String)> {
        let Some(key) = self.sessions.key_of(session) else { return Vec::new() };
        let session = self.sessions.known(key);
        let name = |key: RosterKey| self.rosters.known(key).name.as_str().to_owned();
        let own = session.subscriptions.iter().enumerate();
        let own = own.filter(|(at, _)| wanted(session.origin_at(*at).unwrap_or_default()));
        let own = own.map(|(_, record)| (None, name(record.roster)));
        let rare = session.pact.as_ref().and_then(|pact| pact.rare.as_ref());
        let shares = rare.into_iter().flat_map(|rare| &rare.shares);
        let shared = shares.filter_map(|(share, _)| share.split_once('/'));
        own.chain(shared.map(|(group, filter)| (Some(group.into()), filter.to_owned()))).collect()
    }

    fn session_view(&self, session: &Session) -> SessionView {
        let name = |key: RosterKey| self.rosters.known(key).name.as_str().to_owned();
        let mut subscriptions: Vec<String> =
            session.subscriptions.iter().map(|record| name(record.roster)).collect();
        subscriptions.sort_unstable();
        let pact = session.pact.as_ref();
        let rare = pact.and_then(|pact| pact.rare.as_ref());
        let shares = rare.map(|rare| &rare.shares);
        let in_flight = pact.and_then(|pact| pact.flight.as_ref()).map_or(0, |flight| flight.len_sent());
        SessionView {
            id: session.id,
            tag: session.is_connected().then_some(session.tag),
            name: pact.map(|pact| Arc::clone(&pact.name)),
            user: session.user(),
            info: session.info(),
            since: session.since,
            until: session.until().filter(|_| !session.is_connected()),
            subscriptions,
            shares: shares.into_iter().flatten().map(|(group, _)| Arc::clone(group)).collect(),
            oldest: session.oldest().map(|oldest| oldest.max(self.started)),
            queued: u32::try_from(session.waiting()).unwrap_or(u32::MAX),
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            catches_up: rare.is_some_and(|rare| rare.walks.is_some()),
            dropped: rare.and_then(|rare| rare.own.as_ref()).map_or(0, |own| own.dropped),
        }
    }

    fn page_of_channels(
        &self,
        filter: Option<&str>,
        after: Option<&ChannelName>,
        limit: usize,
    ) -> Page<ChannelView> {
        let listed = |roster: &Roster| {
            roster.is_listed()
                && after.is_none_or(|after| roster.name > *after)
                && filter.is_none_or(|filter| filter_matches(filter, roster.name.as_str()))
        };
        self.page_of_rosters(listed, limit)
    }

    fn page_of_watched(&self, after: Option<&ChannelName>, limit: usize) -> Page<ChannelView> {
        let is_behind = |roster: &Roster| after.is_none_or(|after| roster.name > *after);
        self.page_of_rosters(
            |roster| roster.is_watched && is_behind(roster) && self.is_occupied(roster),
            limit,
        )
    }

    fn page_of_rosters(&self, wanted: impl Fn(&Roster) -> bool, limit: usize) -> Page<ChannelView> {
        let mut found: Vec<_> = self.rosters.iter().filter(|(_, roster)| wanted(roster)).collect();
        let more = keep_smallest_by(&mut found, limit, |a, b| a.1.name.cmp(&b.1.name));
        let view = |(key, roster): (RosterKey, &Roster)| ChannelView {
            channel: roster.name.clone(),
            sessions: u32::try_from(self.clients(roster).count()).expect("no more than sessions"),
            position: self.newest_position(key),
        };
        Page { items: found.into_iter().map(view).collect(), more }
    }

    /// The members of a roster that are clients.
    pub(crate) fn clients<'a>(&'a self, roster: &'a Roster) -> impl Iterator<Item = SessionKey> + 'a {
        roster.members.iter().copied().filter(|key| !self.sessions.known(*key).is_observer())
    }

    fn presence(
        &self,
        channel: &ChannelName,
        after: Option<SessionId>,
        limit: usize,
    ) -> Result<(Page<PresenceMember>, u32), Refusal> {
        let rule = self.rosters.rule(channel.as_str());
        if rule.is_none_or(|rule| rule.presence == Presence::Off) {
            return Err(Refusal::NotFound);
        }
        let members = self.members(&Members::Channel(channel.clone()));
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let page = page_of_members(members, after, limit);
        let items = page.items.iter().map(|key| self.sessions.known(*key).member()).collect();
        Ok((Page { items, more: page.more }, count))
    }

    fn totals(&self) -> Report {
        let sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        let (stored_users, stored_subscriptions, stored_bytes) = self.stored.totals();
        Report::Totals {
            // One that is not admitted yet is subtracted twice, for the moment until it is.
            sessions: sessions.saturating_sub(self.sessions.pending + self.sessions.observers),
            detached: self.sessions.detached,
            channels: self.rosters.listed,
            subscriptions: self.sessions.subscriptions,
            queued: self.sessions.queued,
            named: u32::try_from(self.names.len()).unwrap_or(u32::MAX),
            in_flight: self.sessions.in_flight,
            retained: self.retained.len() as u64,
            retained_bytes: self.retained.bytes(),
            dropped: self.sessions.dropped,
            expired: self.sessions.expired,
            queues: u32::try_from(self.queues.len()).unwrap_or(u32::MAX),
            stored_users,
            stored_subscriptions,
            stored_bytes,
            unjoined: self.sessions.unjoined,
        }
    }
}

fn page_of_members(mut members: Vec<SessionKey>, after: Option<SessionId>, limit: usize) -> Page<SessionKey> {
    members.retain(|key| after.is_none_or(|after| key.0 > after.slot()));
    let more = keep_smallest_by(&mut members, limit, Ord::cmp);
    Page { items: members, more }
}

/// Leaves the `limit` smallest in order; true if there were more. Sorts only what is left.
fn keep_smallest_by<T>(
    items: &mut Vec<T>,
    limit: usize,
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> bool {
    let more = items.len() > limit;
    if more {
        items.select_nth_unstable_by(limit, &compare);
        items.truncate(limit);
    }
    items.sort_unstable_by(compare);
    more
}
