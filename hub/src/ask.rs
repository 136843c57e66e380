//! Asks: messages whose publisher waits for replies. Owns who has been asked, who answered and until when.
//! Each ask is closed exactly once, by the last reply or at its time.

use crate::effect::{Effects, Report};
use crate::hub::Hub;
use crate::ids::{AskId, Millis, SessionId, SessionKey, Token};
use crate::message::{Body, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All open asks of a hub.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    last: u64,
    open: BTreeMap<AskId, Ask>,
    deadlines: BTreeSet<(Millis, AskId)>,
}

#[derive(Debug)]
struct Ask {
    token: Token,
    until: Millis,
    message: Arc<Message>,
    /// Newest entry of the recovery log when it was asked: its place among what is recovered.
    sequence: u64,
    /// In order of sessions; 8 bytes each.
    asked: Vec<Asked>,
    /// How many of them have not answered.
    waiting: u32,
    /// Sessions that cannot answer any more.
    missing: Vec<SessionId>,
}

#[derive(Debug)]
struct Asked {
    session: SessionKey,
    is_waiting: bool,
}

impl Ask {
    /// Notes that the session will not be waited for any longer; false if it was not.
    fn settle(&mut self, session: SessionKey) -> bool {
        let found = self.asked.binary_search_by_key(&session, |asked| asked.session);
        let asked = found.ok().and_then(|at| self.asked.get_mut(at));
        let Some(asked) = asked.filter(|asked| asked.is_waiting) else { return false };
        asked.is_waiting = false;
        self.waiting -= 1;
        true
    }

    fn is_waiting_for(&self, session: SessionKey) -> bool {
        let found = self.asked.binary_search_by_key(&session, |asked| asked.session);
        found.ok().and_then(|at| self.asked.get(at)).is_some_and(|asked| asked.is_waiting)
    }
}

impl Asks {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// No ask is open, and ids go on after `last`: a reply to an ask of an earlier hub must not be taken for another's.
    pub(crate) fn restored(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    /// Of the newest ask there ever was.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn next_id(&self) -> AskId {
        AskId(self.last + 1)
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.deadlines.first().map(|(until, _)| *until)
    }

    /// The `count` asks that a session has not answered, with their places in the recovery log.
    pub(crate) fn unanswered(
        &self,
        session: SessionKey,
        count: u16,
    ) -> impl Iterator<Item = (u64, Arc<Message>, Option<AskId>)> {
        let waiting = self.open.iter().filter(move |(_, ask)| ask.is_waiting_for(session));
        waiting.take(usize::from(count)).map(|(id, ask)| (ask.sequence, Arc::clone(&ask.message), Some(*id)))
    }

    fn remove(&mut self, id: AskId) -> Option<Ask> {
        let ask = self.open.remove(&id)?;
        self.deadlines.remove(&(ask.until, id));
        Some(ask)
    }
}

impl Hub {
    /// Opens the ask `next_id`; `reached` are the sessions asked (at least one), and those that cannot be.
    pub(crate) fn open_ask(
        &mut self,
        token: Token,
        until: Millis,
        message: Arc<Message>,
        reached: (Vec<SessionKey>, Vec<SessionId>),
    ) {
        let (mut asked, missing) = reached;
        asked.sort_unstable();
        let asked: Vec<Asked> =
            asked.into_iter().map(|session| Asked { session, is_waiting: true }).collect();
        let id = self.asks.next_id();
        self.asks.last = id.0;
        self.asks.deadlines.insert((until, id));
        let waiting = u32::try_from(asked.len()).expect("no more than sessions");
        let sequence = self.log.last();
        self.asks.open.insert(id, Ask { token, until, message, sequence, asked, waiting, missing });
    }

    pub(crate) fn reply(&mut self, key: SessionKey, id: AskId, body: Body, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let Some(ask) = self.asks.open.get_mut(&id) else { return };
        if !ask.settle(key) {
            return;
        }
        session.asks -= 1;
        effects.report(ask.token, Report::Reply { session: session.id, body });
        if ask.waiting == 0 {
            self.close_ask(id, effects);
        }
    }

    /// A session ends: it is missing in what it was asked.
    pub(crate) fn forget_asked(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        let mut left = std::mem::take(&mut session.asks);
        let mut settled = Vec::new();
        for (id, ask) in &mut self.asks.open {
            if left == 0 {
                break;
            }
            if ask.settle(key) {
                ask.missing.push(session.id);
                left -= 1;
                settled.extend((ask.waiting == 0).then_some(*id));
            }
        }
        for id in settled {
            self.close_ask(id, effects);
        }
    }

    pub(crate) fn close_late_asks(&mut self, effects: &mut Effects) {
        while let Some((_, id)) = self.asks.deadlines.first().copied().filter(|(until, _)| *until <= self.now)
        {
            self.close_ask(id, effects);
        }
    }

    fn close_ask(&mut self, id: AskId, effects: &mut Effects) {
        let Some(ask) = self.asks.remove(id) else { return };
        let mut missing = ask.missing;
        for asked in ask.asked.iter().filter(|asked| asked.is_waiting) {
            let session = self.sessions.known_mut(asked.session);
            session.asks -= 1;
            missing.push(session.id);
        }
        missing.sort_unstable();
        effects.report(ask.token, Report::RepliesClosed { shard: self.config.shard, missing });
    }
}
