//! What must hold after a crash: all that was acknowledged. Of the rest, what is there is there.

use super::{Ledger, Record, Value};
use crate::remains::{Remains, name_of};
use hub::{Quality, SessionId};
use std::collections::BTreeSet;

impl Ledger {
    /// All hubs have ended without a word; of what they had, this is left.
    pub fn crashed(&mut self, left: &Remains) {
        self.restarted_at = self.now;
        for sent in &mut self.sent {
            sent.is_in_doubt |= !sent.is_acknowledged;
            sent.crashes += 1;
        }
        let owed = left.sessions.values().flat_map(|session| &session.owed).map(|owed| owed.message);
        for name in left.due.iter().map(|(name, ..)| *name).chain(owed) {
            let sent = &mut self.sent[name];
            (sent.is_begun, sent.is_void) = (true, false);
        }
        let records = left.sessions.values().filter_map(|session| session.record.as_ref());
        for will in records.filter_map(|record| record.will.as_ref()) {
            self.sent[name_of(will.message.id)].is_void = false;
        }
        self.lose_sessions(left);
        self.review_subscriptions(left);
        let sessions: Vec<SessionId> = self.accounts.keys().copied().collect();
        sessions.into_iter().for_each(|session| self.review(session));
        self.review_owed(left);
        self.review_retained(left);
        // A walk over values is not kept.
        self.accounts.values_mut().for_each(|account| account.values.clear());
    }

    /// The client has asked for a session that ends with its connection, and has the old one: what came meanwhile is lost.
    pub fn forgive(&mut self, session: SessionId) {
        self.accounts.get_mut(&session).unwrap().must.clear();
        for record in self.records.values().filter(|record| record.session == session) {
            self.group_must.retain(|(group, _)| record.group.as_ref() != Some(group));
        }
    }

    /// Sessions that are not kept take with them what their groups gave them.
    fn lose_sessions(&mut self, left: &Remains) {
        let is_lost = |id: &&SessionId| !left.sessions.contains_key(id);
        let lost: BTreeSet<SessionId> = self.accounts.keys().filter(is_lost).copied().collect();
        self.accounts.retain(|id, _| !lost.contains(id));
        let loose = std::mem::take(&mut self.group_loose);
        self.group_must.retain(|of| !loose.contains(of));
        // What a member had that is gone, another one may get, if its publisher is not sure of it.
        self.group_begun.retain(|_, member| left.sessions.contains_key(member));
        for record in self.records.values_mut().filter(|record| lost.contains(&record.session)) {
            record.left.get_or_insert(self.now);
            if let Some(group) = &record.group {
                self.group_must.retain(|(other, _)| other != group);
            }
        }
    }

    /// Of each session's subscriptions those are there whose records are; they must be if it was said.
    fn review_subscriptions(&mut self, left: &Remains) {
        let mut gone = 0;
        // A session that was to end is there for groups only.
        let is_known = |record: &&mut Record| self.accounts.contains_key(&record.session);
        for (label, record) in self.records.iter_mut().filter(|(_, record)| is_known(record)) {
            let Some(session) = left.sessions.get(&record.session) else { continue };
            match (session.labels.contains(label), record.left) {
                (true, None) => {
                    record.since.get_or_insert(self.now);
                    record.subscribed.get_or_insert(self.now);
                }
                (true, Some(_)) => {
                    assert!(!record.is_left, "it was said that it is gone: {record:?}");
                    record.left = None;
                    (record.since, record.subscribed) = (Some(self.now), Some(self.now));
                }
                (false, None) => {
                    assert!(record.since.is_none(), "it was said that it is there: {record:?}");
                    record.left = Some(self.now);
                    gone += 1;
                }
                (false, Some(_)) => {}
            }
        }
        for _ in 0..gone {
            self.meet("was not safe and is gone");
        }
    }

    /// Whatever was acknowledged and has not come is owed, or will be.
    fn review_owed(&mut self, left: &Remains) {
        let due: BTreeSet<usize> = left.due.iter().map(|(name, ..)| *name).collect();
        let is_certain = |name: &usize| self.sent[*name].is_acknowledged && !due.contains(name);
        for (id, account) in self.accounts.iter().filter(|_| self.is_ample) {
            let owed = &left.sessions[id].owed;
            for name in account.must.iter().filter(|name| is_certain(name)) {
                let is_there = owed.iter().any(|owed| owed.message == *name && owed.group.is_none());
                assert!(is_there, "acknowledged, but not owed to {id:?}: {name} {:?}", self.sent[*name]);
            }
        }
        let owed =
            left.sessions.iter().flat_map(|(id, session)| session.owed.iter().map(move |one| (id, one)));
        let dealt = owed.filter_map(|(id, owed)| Some((id, owed, owed.group.clone()?)));
        let mut with_members = left.returned.clone();
        for (id, owed, group) in dealt {
            with_members.insert((group.clone(), owed.message));
            if owed.quality == Quality::ExactlyOnce {
                let before = self.group_begun.insert((group, owed.message), *id);
                assert!(before.is_none_or(|before| before == *id), "two members have it");
            }
        }
        for (group, name) in self.group_must.iter().filter(|(_, name)| self.is_ample && is_certain(name)) {
            let is_there = with_members.contains(&(group.clone(), *name));
            assert!(is_there, "acknowledged, but with no member of {group}: {name} {:?}", self.sent[*name]);
        }
    }

    /// No channel's value is older than the last one that was acknowledged.
    fn review_retained(&mut self, left: &Remains) {
        for (channel, mut values) in std::mem::take(&mut self.values) {
            let is_safe = |value: &Value| {
                value.is_safe || value.message.is_some_and(|name| self.sent[name].is_acknowledged)
            };
            let safe = values.iter().rposition(is_safe);
            values.drain(..safe.unwrap_or(0));
            let there = left.retained.get(&channel);
            let is_it = |value: &Value| match there {
                Some(_) => value.message.as_ref() == there,
                None => value.is_empty,
            };
            let is_as_before = safe.is_none() && there.is_none();
            let of = |value: &Value| value.message.map(|name| &self.sent[name]);
            let sent: Vec<_> = values.iter().map(of).collect();
            let there = there.map(|name| &self.sent[*name]);
            assert!(is_as_before || values.iter().any(is_it), "{channel} retains {there:?}, not of {sent:?}");
        }
        let channels = self.sent.iter().filter(|sent| sent.retain).map(|sent| sent.channel.clone());
        for channel in channels.collect::<BTreeSet<_>>() {
            let message = left.retained.get(&channel).copied();
            let value = Value { message, is_empty: message.is_none(), is_safe: true };
            self.values.insert(channel, vec![value]);
        }
        self.retained.clone_from(&left.retained);
        self.known_values.clone_from(&left.values);
    }
}
