//! The dispatcher: takes a command, calls the module that owns the transition, and knows when time matters next.
//! No rule is decided here.

use crate::ask::Asks;
use crate::attendance::Attendances;
use crate::binding::Binding;
use crate::command::Command;
use crate::delayed::Delayed;
use crate::effect::{Effect, Effects, Refusal, Report};
use crate::history::Histories;
use crate::hub_mail::{HubMail, Walk};
use crate::ids::{Millis, SessionId, SessionKey, Token};
use crate::interest::Interests;
use crate::journal::Journal;
use crate::ledger::Ledger;
use crate::limits::{Allowance, Config, StoredLimits};
use crate::pact::Names;
use crate::queue::{QueueConfig, Queues};
use crate::quota::Quotas;
use crate::reassign::Moves;
use crate::recovery::Log;
use crate::retained::Retained;
use crate::roster::{RosterKey, Rosters};
use crate::session::Sessions;
use crate::share::Shares;
use crate::stored::StoredUsers;
use crate::version::Versions;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The state machine of one shard; see the crate's documentation.
#[derive(Debug)]
pub struct Hub {
    pub(crate) config: Config,
    /// Of the command being applied.
    pub(crate) now: Millis,
    /// When it took in what an earlier one left.
    pub(crate) started: Millis,
    pub(crate) sessions: Sessions,
    pub(crate) rosters: Rosters,
    pub(crate) interests: Interests,
    pub(crate) asks: Asks,
    pub(crate) histories: Histories,
    pub(crate) log: Log,
    pub(crate) ledger: Ledger,
    /// Of sessions of earlier hubs, until they are asked for.
    pub(crate) keepsakes: Vec<(SessionId, Bytes)>,
    /// When the window of each detached session closes.
    pub(crate) windows: BTreeSet<(Millis, SessionKey)>,
    /// When the will of each detached session is due.
    pub(crate) wills: BTreeSet<(Millis, SessionKey)>,
    pub(crate) names: Names,
    /// By the names of the few clients that have one of their own.
    pub(crate) allowances: Vec<(Box<str>, Allowance)>,
    pub(crate) retained: Retained,
    pub(crate) delayed: Delayed,
    pub(crate) shares: Shares,
    pub(crate) queues: Queues,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) versions: Versions,
    pub(crate) attendances: Attendances,
    pub(crate) quotas: Quotas,
    pub(crate) moves: Moves,
    /// What subscriptions are watched, as filters.
    pub(crate) told: Vec<String>,
    /// Connected sessions of each user, if users are watched.
    pub(crate) present: Option<BTreeMap<Arc<str>, u32>>,
    pub(crate) stored: StoredUsers,
    pub(crate) stored_limits: StoredLimits,
    pub(crate) journal: Journal,
    /// What this hub says to itself.
    pub(crate) inbox: VecDeque<HubMail>,
    /// Walks of sessions here over values here, to go on at the next `Tick`.
    pub(crate) walking: Vec<Walk>,
    /// Owned partition that the next session is named after.
    pub(crate) next_partition: u16,
    /// Number of the last delivery; marks sessions that it has seen.
    pub(crate) stamp: u32,
    /// Reused by deliveries.
    pub(crate) concerned: Vec<RosterKey>,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let epoch = own_epoch(&config);
        Self {
            sessions: Sessions::default(),
            rosters: Rosters::new(config.rules.clone(), config.epoch),
            interests: Interests::default(),
            // Not from 1: a reply to an ask of an earlier life, which a crash ended, must not be taken for another's.
            asks: Asks::restored(config.epoch & u64::from(u32::MAX)),
            histories: Histories::new(epoch, config.topology),
            log: Log::new(epoch),
            ledger: Ledger::default(),
            keepsakes: Vec::new(),
            windows: BTreeSet::new(),
            wills: BTreeSet::new(),
            names: Names::new(config.epoch),
            allowances: Vec::new(),
            retained: Retained::default(),
            delayed: Delayed::default(),
            shares: Shares::default(),
            queues: Queues::new(config.shard, config.topology, epoch),
            bindings: Vec::new(),
            attendances: Attendances::default(),
            versions: Versions::default(),
            quotas: Quotas::default(),
            moves: Moves::default(),
            told: Vec::new(),
            present: None,
            stored: StoredUsers::new(config.topology, config.epoch),
            stored_limits: StoredLimits::default(),
            journal: Journal::default(),
            inbox: VecDeque::new(),
            walking: Vec::new(),
            next_partition: u16::from(config.shard.0),
            stamp: 0,
            concerned: Vec::new(),
            now: Millis(0),
            started: Millis(0),
            config,
        }
    }

    /// Applies one command. `now` never goes back. Appends to `effects`, which the caller performs in order and clears.
    pub fn apply(&mut self, now: Millis, command: Command, effects: &mut Effects) {
        self.now = now;
        self.decide(command, effects);
        self.empty_inbox(effects);
        self.journal.hand_over(effects);
    }

    fn decide(&mut self, command: Command, effects: &mut Effects) {
        match command {
            Command::Open(open) => self.open(&open, effects),
            Command::Admit(admit) => self.admit(admit, effects),
            Command::Forgo(session) => self.forgo_recovery(session),
            Command::Claim(claim) => self.claim(*claim, effects),
            Command::Amend { session, keep_ms, drop_will } => {
                self.amend(session, keep_ms);
                if drop_will {
                    self.drop_will(session);
                }
            }
            Command::Join(join) => self.join_with(join, effects),
            Command::Leave { session, filter, group, request } => {
                self.leave_by_name(session, (&filter, group.as_deref()), request, effects);
            }
            Command::Offer(offer) => self.offer(*offer, effects),
            Command::Forget { session, exchange, request } => {
                self.forget(session, exchange, request, effects);
            }
            Command::Settle { session, number, step } => {
                self.settle((session, number), step, effects);
            }
            Command::Read(read) => self.read(*read, effects),
            Command::Pause(session) => self.pause(session),
            Command::Resume { session, budget } => self.resume(session, budget, effects),
            Command::Detach { session, reason } => self.detach(session, reason, effects),
            Command::Attach(attach) => self.attach(&attach, effects),
            Command::End { session, reason } => self.end(session, reason, effects),
            Command::EndMembers { of, reason, token } => self.end_members(&of, reason, token, effects),
            Command::Subscribe { of, filter, token } => self.subscribe(&of, &filter, token, effects),
            Command::Reassign { session, user, token } => self.reassign(session, user, token, effects),
            Command::Unsubscribe { of, filter, token } => self.unsubscribe(&of, &filter, token, effects),
            Command::Vacate { channel, except, token } => self.vacate(&channel, &except, token, effects),
            Command::Publish(publish) => self.publish(*publish, effects),
            Command::PublishNewer { version, publish } => self.publish_newer(version, *publish, effects),
            Command::DropRetained { channel, token } => {
                let report = Report::Count(u64::from(self.drop_retained(&channel)));
                self.promise_report(token, report, effects);
            }
            Command::DropHistory { channel, before, token } => match self.drop_history(&channel, before) {
                Ok(count) => self.promise_report(token, Report::Count(count), effects),
                Err(refusal) => effects.refuse(token, refusal),
            },
            Command::ChangeUsers { changes, token } => self.change_users(&changes, token, effects),
            Command::Reply { session, ask, body } => self.reply(session, ask, body, effects),
            Command::Answer { session, request, body } => self.answer(&session, request, body, effects),
            Command::Mail { from, mail } => self.mail(from, mail, effects),
            Command::Query { token, query } => self.query(token, &query, effects),
            Command::Queue(command) => self.queue(command, effects),
            Command::Copy(copy) => self.send_copy(copy, effects),
            Command::Kept { safe } => self.kept(safe, effects),
            Command::Tick => self.tick(effects),
        }
    }

    /// How queues are made, before anything else. Without it they have the default limits, and time begins in 1970.
    pub fn configure_queues(&mut self, config: QueueConfig) {
        self.queues.configure(config);
    }

    /// The user that a session here belongs to.
    #[must_use]
    pub fn user_of(&self, session: &SessionId) -> Option<Arc<str>> {
        self.sessions.known(self.sessions.key_of(session)?).user()
    }

    /// Whether a message of this session has come under a number of an exchange that is not forgotten: what comes under it now
    /// is the same message.
    pub fn has_taken(&mut self, session: SessionKey, exchange: u16) -> bool {
        let pact = self.sessions.find(session).and_then(|session| session.pact.as_ref());
        pact.and_then(|pact| pact.rare.as_ref()).is_some_and(|rare| rare.taken.contains_key(&exchange))
    }

    /// How much may wait for the session of the client with this name, before anything else: sessions that are restored keep
    /// to it, too.
    pub fn allow(&mut self, name: &str, allowance: Allowance) {
        self.allowances.push((name.into(), allowance));
    }

    /// What a client with this name is allowed, if that is its own.
    pub(crate) fn allowance_of(&self, name: &str) -> Option<Allowance> {
        self.allowances.iter().find(|(own, _)| **own == *name).map(|(_, allowance)| *allowance)
    }

    /// When `Command::Tick` is to be applied, at the latest; `None` while nothing depends on time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        let window = self.windows.first().map(|(until, _)| *until);
        let log = [self.log.next_deadline(), self.ledger.next_deadline()].into_iter().flatten().min();
        let will = self.wills.first().map(|(at, _)| *at);
        let walk = (!self.walking.is_empty()).then_some(Millis(0));
        let kept = [log, self.histories.next_deadline(), self.retained.next_deadline()];
        let (delayed, queues) = (self.delayed.next_deadline(), self.queues.next_deadline());
        let (asks, journal) = (self.asks.next_deadline(), self.journal.next_deadline());
        [window, will, walk, delayed, queues, asks, journal].into_iter().chain(kept).flatten().min()
    }

    /// Sessions, attached or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.len() == 0
    }

    /// Whether nothing at all is left here: no session, channel, filter, ask, log entry or mail to be acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_empty()
            && self.rosters.len() == 0
            && self.interests.is_empty()
            && self.asks.is_empty()
            && self.histories.is_empty()
            && self.log.is_empty()
            && self.ledger.is_empty()
            && self.windows.is_empty()
            && self.wills.is_empty()
            && self.walking.is_empty()
            && self.retained.is_empty()
            && self.delayed.is_empty()
            && self.shares.is_empty()
            && self.queues.is_empty()
            && self.attendances.is_empty()
            && self.quotas.is_empty()
            && self.moves.is_empty()
            && self.inbox.is_empty()
            && self.stored.is_empty()
            && self.present.as_ref().is_none_or(BTreeMap::is_empty)
            && self.journal.is_idle()
    }

    /// Slots for sessions and channels that memory is held for; 0 once everything has left.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.sessions.capacity() + self.rosters.capacity() + self.names.capacity()
    }

    fn tick(&mut self, effects: &mut Effects) {
        self.close_late_asks(effects);
        self.publish_due_wills(effects);
        self.return_recalled(effects);
        self.publish_due(effects);
        self.end_expired(effects);
        self.trim_log();
        self.drop_gone_if_due();
        self.trim_histories();
        self.expire_retained();
        self.journal.expire(self.now);
        self.walk_on(effects);
        self.tick_queues(effects);
    }
}

/// Shards may be made with the same epoch, but an offset of one must mean nothing to another.
fn own_epoch(config: &Config) -> u64 {
    config.epoch.wrapping_add(u64::from(config.shard.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Effects {
    pub(crate) fn report(&mut self, token: Token, report: Report) {
        self.list.push(Effect::Report { token, report });
    }

    pub(crate) fn refuse(&mut self, token: Token, refusal: Refusal) {
        self.report(token, Report::Refused(refusal));
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.list.clear();
        self.recipients.clear();
        self.entries.clear();
    }
}
