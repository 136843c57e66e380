//! How a session comes into being, is admitted, loses and regains its connection, and ends.
//! Its subscriptions are handled in `subscription`, what it missed in `recovery`.

use crate::command::{Admit, Attach, Members, Open};
use crate::effect::{Effect, Effects, Refusal, Report};
use crate::hub::Hub;
use crate::hub_mail::HolderChange;
use crate::ids::{ChannelName, Millis, Partition, SessionId, SessionKey, Token};
use crate::message::{Body, Outgoing};
use crate::outbox::Outbox;
use crate::reason::Reason;
use crate::recovery::Recovery;
use crate::session::{ARRIVING, Identity, Session, State};
use std::sync::Arc;

/// Bytes that count as much as a message does in the budget of a `Resume`.
const BUDGET_BYTES: u64 = 1024;

/// What something takes of the budget of a `Resume`: a large message as much as many small ones.
pub(crate) fn cost(item: &Outgoing) -> u32 {
    let bytes = match item {
        Outgoing::Message { message, .. } => message.len_bytes(),
        Outgoing::Answer { body, .. } => body.len_bytes() as u64,
        Outgoing::Admitted { .. } => 0,
    };
    u32::try_from(1 + bytes / BUDGET_BYTES).unwrap_or(u32::MAX)
}

impl Hub {
    pub(crate) fn open(&mut self, open: &Open, effects: &mut Effects) {
        if self.sessions.len() >= self.config.limits.sessions_max as usize {
            effects.list.push(Effect::OpenRefused { tag: open.tag });
            return;
        }
        let id = SessionId::new(self.take_partition(), self.sessions.next_slot(), open.random);
        let session = self.sessions.insert(Session {
            tag: open.tag,
            part: open.part,
            recovery: open.recover.then(|| Box::new(Recovery::starting_at(self.log.last()))),
            ..Session::new(id, State::Pending, self.now)
        });
        effects.list.push(Effect::Opened { tag: open.tag, session, id });
    }

    /// The partitions of this shard in turn.
    fn take_partition(&mut self) -> Partition {
        let topology = self.config.topology;
        let taken = self.next_partition;
        let next = taken.checked_add(u16::from(topology.shards)).filter(|next| *next < topology.partitions);
        self.next_partition = next.unwrap_or(u16::from(self.config.shard.0));
        Partition(taken)
    }

    pub(crate) fn admit(&mut self, admit: Admit, effects: &mut Effects) {
        let (last, key) = (self.log.last(), admit.session);
        let Some(session) = self.sessions.find(key) else { return };
        if session.state != State::Pending {
            return;
        }
        session.state = State::Paused;
        if let Some(recovery) = &mut session.recovery {
            recovery.admitted(last);
        }
        let mut names = admit.subscriptions;
        names.extend(admit.user.as_deref().map(|user| ChannelName::user(user).as_str().to_owned()));
        session.identity = Identity::of(admit.user, admit.info);
        session.outbox.get_or_insert_default().push_first(Outgoing::Admitted { recovered: false });
        self.sessions.pending -= 1;
        self.sessions.queued += 1;
        self.user_comes(key, effects);
        self.keep_resumable(key, admit.keepsake);
        if self.subscribe_at_start(key, &names, effects).is_err() {
            return self.end(key, Reason::OverLimit, effects);
        }
        self.arrive(key, effects);
        self.hold_until_safe(key);
    }

    pub(crate) fn forgo_recovery(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.find(key) else { return };
        if session.state != State::Pending {
            return self.drop_resumable(key);
        }
        if session.recovery.take().is_some() {
            self.sessions.recovering -= 1;
            self.forget_log_if_unused();
        }
    }

    pub(crate) fn pause(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.find(key) else { return };
        if session.state == State::Ready {
            session.state = State::Paused;
        }
        if let Some(outbox) = &mut session.outbox {
            outbox.resume = 0;
        }
    }

    pub(crate) fn resume(&mut self, key: SessionKey, budget: u32, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        if session.state != State::Paused || session.closing {
            return;
        }
        let to = session.recipient(key);
        let mut budget = budget.max(1);
        if let Some(outbox) = &mut session.outbox {
            if session.held > 0 {
                outbox.resume = budget;
                return;
            }
            let (before, mut given) = (outbox.len(), 0);
            while budget > 0
                && let Some(item) = outbox.pop(self.now)
            {
                budget = budget.saturating_sub(cost(&item));
                given += 1;
                effects.list.push(Effect::Send { to, item });
            }
            let left = (before - outbox.len()) as u64;
            self.sessions.queued -= left;
            self.sessions.expired += left - given;
        }
        self.resume_exchanges(key, budget, effects);
    }

    /// What is left of a budget goes to messages of higher quality. The session is ready unless the budget is all used while
    /// there is more.
    fn resume_exchanges(&mut self, key: SessionKey, budget: u32, effects: &mut Effects) {
        self.pump(key, budget, effects);
        let limits = &self.config.limits;
        let session = self.sessions.known_mut(key);
        session.outbox.take_if(|outbox| outbox.len() == 0);
        if session.outbox.is_some() || session.pact.as_ref().is_some_and(|pact| pact.is_due(limits)) {
            effects.list.push(Effect::More { to: session.recipient(key) });
        } else {
            session.state = State::Ready;
            self.go_on_walking(key, effects);
        }
    }

    pub(crate) fn detach(&mut self, key: SessionKey, reason: Reason, effects: &mut Effects) {
        let Some(session) = self.sessions.find(key) else { return };
        let admitted = matches!(session.state, State::Ready | State::Paused);
        if let Some(pact) = session.pact.as_ref().filter(|pact| admitted && pact.keep_ms > 0) {
            let (name, left_ms) = (Some(Arc::clone(&pact.name)), pact.keep_ms);
            session.state = State::Detached;
            session.closing = false;
            effects.list.push(Effect::Detached { tag: session.tag, id: session.id, name, left_ms, reason });
            self.sessions.detached += 1;
            self.tell_quota(key, HolderChange::LosesConnection, effects);
            self.user_goes(key, effects);
            return self.leave_behind(key, effects);
        }
        let Some(recovery) = session.recovery.as_mut().filter(|_| admitted && reason.recoverable()) else {
            if session.is_connected() {
                self.end(key, reason, effects);
            }
            return;
        };
        let left_ms = self.config.limits.recovery.window_ms;
        recovery.until = Millis(self.now.0.saturating_add(left_ms));
        self.windows.insert((recovery.until, key));
        session.state = State::Detached;
        session.closing = false;
        session.held &= ARRIVING;
        effects.list.push(Effect::Detached { tag: session.tag, id: session.id, name: None, left_ms, reason });
        let waited = session.waiting();
        session.outbox = None;
        self.sessions.queued -= waited;
        self.sessions.detached += 1;
        self.tell_quota(key, HolderChange::LosesConnection, effects);
        self.user_goes(key, effects);
    }

    pub(crate) fn attach(&mut self, attach: &Attach, effects: &mut Effects) {
        let refused = Effect::AttachRefused { tag: attach.tag, session: attach.session };
        let Some(key) = self.resumable(&attach.session) else {
            effects.list.push(refused);
            return;
        };
        let Some(missed) = self.missed(key, attach.after) else {
            effects.list.push(refused);
            if !self.sessions.known(key).is_connected() {
                self.end(key, Reason::Expired, effects);
            }
            return;
        };
        self.close_window(key);
        let session = self.sessions.known_mut(key);
        let displaced = session.is_connected().then_some(session.tag);
        let waited = session.waiting();
        session.tag = attach.tag;
        session.state = State::Paused;
        session.closing = false;
        self.sessions.queued += missed.len() as u64;
        self.sessions.known_mut(key).outbox = Some(Box::new(Outbox::starting_with(missed)));
        self.sessions.queued -= waited;
        self.sessions.detached -= u32::from(displaced.is_none());
        self.hold_until_based(key);
        if displaced.is_none() {
            self.tell_quota(key, HolderChange::Returns, effects);
            self.user_comes(key, effects);
        }
        effects.list.push(Effect::Attached { tag: attach.tag, session: key, displaced });
    }

    fn resumable(&self, id: &SessionId) -> Option<SessionKey> {
        let key = self.sessions.key_of(id)?;
        let session = self.sessions.known(key);
        (session.recovery.is_some() && session.state != State::Pending).then_some(key)
    }

    pub(crate) fn close_window(&mut self, key: SessionKey) {
        let session = self.sessions.known(key);
        if let (State::Detached, Some(until)) = (session.state, session.until()) {
            self.windows.remove(&(until, key));
        }
        self.forget_will_time(key);
    }

    pub(crate) fn end_expired(&mut self, effects: &mut Effects) {
        while let Some((_, key)) = self.windows.first().copied().filter(|(until, _)| *until <= self.now) {
            self.end(key, Reason::Expired, effects);
        }
    }

    pub(crate) fn end(&mut self, key: SessionKey, reason: Reason, effects: &mut Effects) {
        if self.sessions.find(key).is_none() {
            return;
        }
        self.abandon_move(key, Refusal::NotFound, effects);
        self.close_window(key);
        self.drop_resumable(key);
        let name = self.sessions.known(key).pact.as_ref().map(|pact| Arc::clone(&pact.name));
        self.tell_all_left(key, reason, effects);
        let will = self.end_pact(key, effects);
        self.leave_all(key, effects);
        self.tell_quota(key, HolderChange::Departs, effects);
        let session = self.sessions.known(key);
        let tag = session.is_connected().then_some(session.tag);
        let id = session.id;
        if tag.is_some() {
            self.user_goes(key, effects);
        }
        effects.list.push(Effect::Ended { tag, session: key, id, name, reason });
        self.forget_asked(key, effects);
        self.sessions.remove(key);
        self.forget_log_if_unused();
        // Behind everything else: the session's own subscriptions do not get it.
        if let Some(will) = will {
            self.route(will, effects);
        }
    }

    pub(crate) fn end_members(&mut self, of: &Members, reason: Reason, token: Token, effects: &mut Effects) {
        let mut count = 0;
        for key in self.members(of) {
            if !reason.recoverable() {
                self.end(key, reason, effects);
                count += 1;
            } else if self.sessions.known(key).is_connected() {
                self.close_connection(key, reason, effects);
                count += 1;
            }
        }
        self.promise_report(token, Report::Count(count), effects);
    }

    /// Once per connection; nothing is handed to it after this.
    fn close_connection(&mut self, key: SessionKey, reason: Reason, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        if !session.closing {
            session.closing = true;
            let to = session.recipient(key);
            effects.list.push(Effect::CloseConnection { to, reason });
        }
    }

    pub(crate) fn answer(&mut self, id: &SessionId, request: u64, body: Body, effects: &mut Effects) {
        let Some(key) = self.sessions.key_of(id) else { return };
        let session = self.sessions.known_mut(key);
        if session.closing || !session.is_connected() {
            return;
        }
        let item = Outgoing::Answer { request, body };
        if session.state == State::Ready {
            effects.list.push(Effect::Send { to: session.recipient(key), item });
        } else if session.outbox.get_or_insert_default().push(item, self.config.limits.allowance()).is_ok() {
            self.sessions.queued += 1;
        } else {
            self.close_connection(key, Reason::SlowConsumer, effects);
        }
    }
}
