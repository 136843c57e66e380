//! What of a hub goes on in the next process, as plain data: out by [`Hub::snapshot`], in by [`Hub::restore`].
//!
//! Owns the choice. Kept are the sessions that may be resumed, the recovery log with the marks that decide what they
//! missed, claimed sessions (see `saved`), the values that channels retain, and messages that are to be published later; of all
//! that what records keep already is left out. Not kept: sessions that end with their connection, open asks (whoever waits for
//! the replies is gone), answers, histories, and what hubs know of each other, which is told anew. Times are relative, since
//! clocks differ between processes. It must not know how a snapshot is written down, nor when one is made.

use crate::ask::Asks;
use crate::effect::Effects;
use crate::hub::Hub;
use crate::ids::{Millis, SessionId};
use crate::message::Message;
use crate::names::home_partition;
use crate::recovery::{Entry, Log, Recovery, Scope};
use crate::saved::{Messages, SavedClaim, SavedDelayed, arriving};
use crate::session::{Identity, Session, Sessions, State};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

/// One hub's part of what goes on.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of the recovery log: the offsets that clients hold are of this epoch.
    pub epoch: u64,
    /// Sequence of the newest entry there ever was.
    pub last: u64,
    /// Id of the newest ask there ever was.
    pub asks_last: u64,
    /// Sessions that may be resumed.
    pub sessions: Vec<SavedSession>,
    /// The recovery log, oldest first, the last one numbered `last`; empty without sessions.
    pub entries: Vec<SavedEntry>,
    /// What the log has to do with channels and filters that have members.
    pub rosters: Vec<SavedRoster>,
    /// Sessions under their clients' own names.
    pub claims: Vec<SavedClaim>,
    /// What `claims`, `retained` and `delayed` name by place. The end of a message, `traits.expires`, counts from the snapshot on, in
    /// `entries`, too.
    pub messages: Vec<Arc<Message>>,
    /// The values that channels retain, but for those that are told anew.
    pub retained: Vec<u32>,
    /// What is to be published later, in order.
    pub delayed: Vec<SavedDelayed>,
}

/// A session that may be resumed.
#[derive(Clone, Debug)]
pub struct SavedSession {
    /// The public name.
    pub id: SessionId,
    /// The back end's user.
    pub user: Option<Arc<str>>,
    /// Presence info.
    pub info: Option<Bytes>,
    /// Channels and filters.
    pub subscriptions: Vec<Arc<str>>,
    /// How long ago it was opened. Milliseconds.
    pub age_ms: u64,
    /// How much longer it waits to be resumed. Milliseconds.
    pub left_ms: u64,
    /// What decides what it missed.
    pub recovery: SavedRecovery,
    /// As in [`Admit`](crate::Admit), to be given by whoever hands it to a hub with a journal; hubs leave it empty.
    pub keepsake: Bytes,
}

/// What a session remembers of the recovery log, in sequences of its entries.
#[derive(Clone, Debug)]
pub struct SavedRecovery {
    /// It needs nothing up to here.
    pub start: u64,
    /// Subscriptions without a span began here.
    pub admitted: u64,
    /// Entries up to here that it needed are no longer known.
    pub lost: u64,
    /// Subscriptions that began later, or have ended.
    pub spans: Vec<SavedSpan>,
}

/// The deliveries after `from` up to `to` reached a session by this name or filter.
#[derive(Clone, Debug)]
pub struct SavedSpan {
    /// Channel name or filter.
    pub name: Arc<str>,
    /// Sequence before the first.
    pub from: u64,
    /// Sequence of the last; `None` while subscribed.
    pub to: Option<u64>,
}

/// An entry of the recovery log.
#[derive(Clone, Debug)]
pub struct SavedEntry {
    /// What was delivered.
    pub message: Arc<Message>,
    /// To whom.
    pub scope: Scope,
    /// How much longer it is kept. Milliseconds.
    pub left_ms: u64,
}

/// What the recovery log has to do with a channel or filter.
#[derive(Clone, Debug)]
pub struct SavedRoster {
    /// Channel name or filter.
    pub name: Arc<str>,
    /// Sequence of the newest entry that was delivered by it.
    pub logged: u64,
    /// Sequence of the newest such entry that the log no longer has.
    pub purged: u64,
}

impl Hub {
    /// What goes on. To be the last thing this hub does: what it delivers later is not in there, although it has an
    /// offset. Sessions that are attached count as detached now.
    #[must_use]
    pub fn snapshot(&self, now: Millis) -> Snapshot {
        let all = self.sessions.iter_from(0);
        let sessions: Vec<_> = all.filter_map(|(_, session)| self.saved_session(now, session)).collect();
        let mut messages = Messages::new(now);
        let all = self.sessions.iter_from(0);
        let claims = all.filter_map(|(_, session)| self.saved_claim(session, &mut messages)).collect();
        let retained = self.retained.unkept().filter(|message| !message.traits.told_anew);
        let retained = retained.map(|message| messages.place(message)).collect();
        let delayed =
            self.delayed.unkept().filter_map(|(at, publish)| SavedDelayed::of(at, publish, &mut messages));
        let delayed = delayed.collect();
        let mut snapshot = Snapshot {
            epoch: self.log.offset(0).epoch,
            last: self.log.last(),
            asks_last: self.asks.last(),
            sessions,
            entries: Vec::new(),
            rosters: Vec::new(),
            claims,
            messages: messages.list,
            retained,
            delayed,
        };
        if !snapshot.sessions.is_empty() {
            snapshot.entries = self.log.saved(now);
            let rosters = self.rosters.iter().filter(|(_, roster)| !roster.members.is_empty());
            let saved = rosters.map(|(_, roster)| SavedRoster {
                name: Arc::clone(&roster.name.0),
                logged: roster.logged,
                purged: roster.purged,
            });
            snapshot.rosters = saved.filter(|saved| saved.logged > 0 || saved.purged > 0).collect();
        }
        snapshot
    }

    fn saved_session(&self, now: Millis, session: &Session) -> Option<SavedSession> {
        let recovery = session.recovery.as_ref().filter(|_| session.state != State::Pending)?;
        if recovery.records.is_some() {
            return None;
        }
        let left_ms = match session.state {
            State::Detached => recovery.until.0.saturating_sub(now.0),
            State::Pending | State::Ready | State::Paused => self.config.limits.recovery.window_ms,
        };
        let rosters = session.subscriptions.iter().map(|record| self.rosters.known(record.roster));
        Some(SavedSession {
            id: session.id,
            user: session.user(),
            info: session.info(),
            subscriptions: rosters.map(|roster| Arc::clone(&roster.name.0)).collect(),
            age_ms: now.0.saturating_sub(session.since.0),
            left_ms,
            recovery: recovery.saved(),
            keepsake: Bytes::new(),
        })
    }

    /// Goes on where an earlier hub of the same shard ended, `elapsed_ms` ago. For a hub that was just made. The effects are
    /// mail that tells other hubs of the subscriptions: until all of it, and the answers to it, have been applied, a publish
    /// may miss the sessions. A session whose window is over ends by the next `Tick`, so that everybody hears of it. What is
    /// left of a window is at most `RecoveryLimits::window_ms`, whatever it was before.
    ///
    /// Returns the sessions that have no place here: of another shard, or beyond `Limits::sessions_max`.
    pub fn restore(
        &mut self,
        now: Millis,
        elapsed_ms: u64,
        snapshot: Snapshot,
        effects: &mut Effects,
    ) -> Vec<SessionId> {
        (self.now, self.started) = (now, now);
        let Snapshot {
            epoch,
            last,
            asks_last,
            sessions,
            entries,
            rosters,
            claims,
            messages,
            retained,
            delayed,
        } = snapshot;
        let messages = messages.iter().map(|message| arriving(message, now, elapsed_ms));
        let messages: Vec<_> = messages.map(|message| self.ruled(message)).collect();
        // What was taken stays so, whatever the limits are now.
        for saved in &delayed {
            let due = saved.restored(&messages, now, elapsed_ms);
            due.into_iter().for_each(|(at, publish)| self.wait_until(at, publish));
        }
        for message in retained.iter().filter_map(|place| messages.get(*place as usize)) {
            self.restore_retained(message, 0);
        }
        let window_ms = self.config.limits.recovery.window_ms;
        let left = |left_ms: u64| left_ms.saturating_sub(elapsed_ms).min(window_ms);
        let until = |left_ms: u64| Millis(now.0.saturating_add(left(left_ms)));
        let entries = entries.into_iter().map(|saved| {
            let until = until(saved.left_ms);
            let message = arriving(&saved.message, now, elapsed_ms);
            Entry::restored(SavedEntry { message, ..saved }, until)
        });
        self.log = Log::restored(epoch, last, entries);
        self.asks = Asks::restored(asks_last);
        let (mut past, recalled) = self.recalled();
        let (resumed, gone) = self.recalled_log(&mut past.log, (&sessions, elapsed_ms));
        let is_new = |saved: &SavedSession| (saved.id, saved.keepsake.clone());
        let unkept: Vec<_> = sessions.iter().filter(|_| self.journal.is_on()).map(is_new).collect();
        let sessions = if resumed.is_empty() { sessions } else { resumed };
        let recalled_ids: HashSet<SessionId> = recalled.iter().map(|claim| claim.id).collect();
        let claims = recalled.into_iter().chain(claims).collect();
        let (sessions, claims, mut refused) = self.fitting(sessions, claims);
        refused.extend(gone);
        let since = |age_ms: u64| Millis(now.0.saturating_sub(age_ms.saturating_add(elapsed_ms)));
        let opened = sessions.iter().map(|saved| restored(saved, since(saved.age_ms)));
        let claimed = claims.iter().map(|saved| saved.session(since(saved.age_ms)));
        self.sessions = Sessions::restored(opened.chain(claimed).collect());
        for saved in sessions {
            let until = until(saved.left_ms);
            self.restore_subscriptions(saved, until, effects);
        }
        self.restore_claims((claims, &recalled_ids), &messages, elapsed_ms, effects);
        self.recall(past, effects);
        self.restore_marks(rosters, unkept);
        self.restore_quotas(effects);
        self.empty_inbox(effects);
        self.trim_log();
        self.forget_log_if_unused();
        self.journal.hand_over(effects);
        refused
    }

    /// What the log has to do with channels and filters; and what a snapshot brought is kept from now on.
    fn restore_marks(&mut self, rosters: Vec<SavedRoster>, unkept: Vec<(SessionId, Bytes)>) {
        for saved in rosters {
            if let Some(key) = self.rosters.find(&saved.name) {
                let roster = self.rosters.known_mut(key);
                (roster.logged, roster.purged) = (saved.logged, saved.purged);
            }
        }
        let is_unkept = !unkept.is_empty();
        for (id, keepsake) in unkept {
            if let Some(key) = self.sessions.key_of(&id) {
                self.keep_resumed(key, keepsake);
            }
        }
        if is_unkept {
            self.keep_log();
        }
    }

    /// What records say is of now; what they do not is kept from now on.
    fn restore_claims(
        &mut self,
        (claims, recalled): (Vec<SavedClaim>, &HashSet<SessionId>),
        messages: &[Arc<Message>],
        elapsed_ms: u64,
        effects: &mut Effects,
    ) {
        let mut unkept = Vec::new();
        for saved in claims {
            let is_recalled = recalled.contains(&saved.id);
            unkept.extend(self.sessions.key_of(&saved.id).filter(|_| !is_recalled && self.journal.is_on()));
            let elapsed_ms = if is_recalled { 0 } else { elapsed_ms };
            self.restore_claim(saved, messages, elapsed_ms, effects);
        }
        unkept.into_iter().for_each(|key| self.keep_restored(key));
    }

    /// Those that have a place here, one per slot and name, and the names of the others.
    fn fitting(
        &self,
        mut sessions: Vec<SavedSession>,
        mut claims: Vec<SavedClaim>,
    ) -> (Vec<SavedSession>, Vec<SavedClaim>, Vec<SessionId>) {
        let (mut slots, mut names, mut refused) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut fits = |id: &SessionId| {
            let is_ours = self.config.topology.owner(id.partition()) == self.config.shard;
            let fits = is_ours && id.slot() < self.config.limits.sessions_max && slots.insert(id.slot());
            refused.extend((!fits).then_some(*id));
            fits
        };
        sessions.retain(|session| fits(&session.id));
        // Two of one name, or one under another's, are the work of nobody.
        claims.retain(|claim| {
            let home = home_partition(&claim.name, &self.config.topology);
            home == claim.id.partition() && names.insert(Arc::clone(&claim.name)) && fits(&claim.id)
        });
        (sessions, claims, refused)
    }

    /// The memory of the log comes after the subscriptions, which would otherwise count as new.
    fn restore_subscriptions(&mut self, saved: SavedSession, until: Millis, effects: &mut Effects) {
        let Some(key) = self.sessions.key_of(&saved.id) else { return };
        for name in &saved.subscriptions {
            let roster = self.rosters.find_or_insert(name);
            self.join(key, roster, effects);
        }
        let recovery = Box::new(Recovery::restored(saved.recovery, until));
        self.sessions.known_mut(key).recovery = Some(recovery);
        self.sessions.recovering += 1;
        self.windows.insert((until, key));
    }
}

/// The record of a session, without what it remembers and is subscribed to.
fn restored(saved: &SavedSession, since: Millis) -> Session {
    let identity = Identity::of(saved.user.clone(), saved.info.clone());
    Session { identity, ..Session::new(saved.id, State::Detached, since) }
}
