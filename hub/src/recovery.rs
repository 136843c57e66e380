//! The recovery log of a hub and what a session that comes back has missed.
//!
//! One bounded log per hub, in the order of delivery, holds what was delivered while sessions that may be resumed were
//! there. A session keeps only where it began and when its subscriptions changed; nothing is written per session and
//! delivery (docs/decisions/0003). It must not know how what was missed is handed over: `lifecycle` does that; what is kept
//! of it beyond the process: `ledger` does; nor when a hub ends and the next begins, which is `snapshot`'s business.

use crate::deliver::{Delivery, Reach};
use crate::filter::filter_matches;
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, Offset, SessionId, SessionKey};
use crate::limits::RecoveryLimits;
use crate::message::{Grade, Message, Outgoing, Quality};
use crate::record::{DeliveredRecord, LogRecord, Record};
use crate::roster::{Roster, RosterKey};
use crate::saved::leaving;
use crate::session::Session;
use crate::snapshot::{SavedEntry, SavedRecovery, SavedSpan};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// Deliveries, numbered from 1. There are holes only where a log goes on after a crash.
#[derive(Debug)]
pub(crate) struct Log {
    epoch: u64,
    entries: VecDeque<Entry>,
    last: u64,
    /// Sequence of the newest entry that is here no more.
    purged: u64,
    /// Entries up to here may be missing although nothing says for whom they were.
    blind: u64,
    bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    /// Of its record; 0 = none.
    pub(crate) record: u64,
    message: Arc<Message>,
    scope: Scope,
    /// When it is too old to be kept.
    until: Millis,
}

/// Whom a delivery concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Subscribers of the message's channel.
    Channel,
    /// Subscribers of any of these, and the sessions among the names.
    Union(Arc<[ChannelName]>),
    /// One session.
    Session(SessionId),
}

/// What a session that may be resumed remembers.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// It needs nothing up to here.
    start: u64,
    /// Subscriptions without a span began here.
    admitted: u64,
    /// Entries up to here that it needed are no longer known.
    lost: u64,
    /// While detached: the end of the window.
    pub(crate) until: Millis,
    /// Subscriptions that began after the admission, or have ended.
    pub(crate) spans: Vec<Span>,
    /// Present when the session is kept in the journal.
    pub(crate) records: Option<Box<ResumableRecords>>,
}

/// Numbers of the records that keep a session, in the log of its partition; 0 = none.
#[derive(Debug, Default)]
pub(crate) struct ResumableRecords {
    pub(crate) session: u64,
    /// One for each of the session's subscriptions, in their order.
    pub(crate) spans: SmallVec<[u64; 2]>,
}

/// The deliveries `from + 1 ..= to` reached the session by this name or filter.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: ChannelName,
    pub(crate) from: u64,
    /// `u64::MAX` while subscribed.
    pub(crate) to: u64,
    /// Of one that is over: of its record; 0 = none.
    pub(crate) record: u64,
}

impl Span {
    /// Of a subscription that began after `from`, and has no record.
    pub(crate) fn open(name: ChannelName, from: u64) -> Self {
        Self { name, from, to: u64::MAX, record: 0 }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.to == u64::MAX
    }

    pub(crate) fn kept(&self, session: SessionId) -> Record {
        let to = (!self.is_open()).then_some(self.to);
        Record::Span { session, name: Arc::clone(&self.name.0), from: self.from, to }
    }

    fn holds(&self, sequence: u64) -> bool {
        self.from < sequence && sequence <= self.to
    }
}

impl Log {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, entries: VecDeque::new(), last: 0, purged: 0, blind: 0, bytes: 0 }
    }

    /// The log of an earlier hub goes on: its numbers and its epoch, so that the offsets that clients hold stay good.
    pub(crate) fn restored(epoch: u64, last: u64, entries: impl ExactSizeIterator<Item = Entry>) -> Self {
        let before = last.saturating_sub(entries.len() as u64);
        let mut log = Self { last: before, purged: before, ..Self::new(epoch) };
        entries.for_each(|entry| log.push(Entry { sequence: log.last + 1, ..entry }));
        log
    }

    /// The log of a hub that may have ended without a word, of which these entries were kept, in order; it goes on after
    /// `last`.
    pub(crate) fn recalled(log: &LogRecord, last: u64, entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(|entry| entry.message.len_bytes()).sum();
        let LogRecord { epoch, shards: _, purged, skipped, last: _ } = *log;
        Self { epoch, entries: entries.into(), last, purged, blind: skipped, bytes }
    }

    /// What is kept, oldest first.
    pub(crate) fn saved(&self, now: Millis) -> Vec<SavedEntry> {
        let saved = |entry: &Entry| SavedEntry {
            message: leaving(&entry.message, now),
            scope: entry.scope.clone(),
            left_ms: entry.until.0.saturating_sub(now.0),
        };
        self.entries.iter().map(saved).collect()
    }

    /// Sequence of the newest entry there ever was.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Sequence of the newest entry that is gone.
    pub(crate) fn purged(&self) -> u64 {
        self.purged
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.iter_mut()
    }

    /// The newest entry's offset, or that of the `ahead`-th after it.
    pub(crate) fn offset(&self, ahead: u64) -> Offset {
        Offset { epoch: self.epoch, sequence: self.last + ahead }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// For when no session needs it any more. Numbers go on.
    pub(crate) fn clear(&mut self) -> VecDeque<Entry> {
        (self.bytes, self.purged) = (0, self.last);
        std::mem::take(&mut self.entries)
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.entries.front().map(|entry| entry.until)
    }

    /// Takes in the next entry, which has its number.
    fn push(&mut self, entry: Entry) {
        self.last = entry.sequence;
        self.bytes += entry.message.len_bytes();
        self.entries.push_back(entry);
    }

    /// Takes out the oldest entry if it is over a limit.
    fn pop_over(&mut self, limits: &RecoveryLimits, now: Millis) -> Option<Entry> {
        let over = self.entries.len() > limits.messages_max as usize
            || self.bytes > limits.bytes_max
            || self.next_deadline().is_some_and(|deadline| deadline <= now);
        if over { self.pop() } else { None }
    }

    /// Takes out the oldest entry if it is one of those that are gone.
    pub(crate) fn pop_gone(&mut self) -> Option<Entry> {
        let is_gone = self.entries.front().is_some_and(|entry| entry.sequence <= self.purged);
        if is_gone { self.pop() } else { None }
    }

    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.purged = self.purged.max(entry.sequence);
        self.bytes -= entry.message.len_bytes();
        if self.entries.capacity() > 64 && self.entries.len() < self.entries.capacity() / 8 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        Some(entry)
    }

    /// Entries after a sequence, oldest first.
    fn after(&self, sequence: u64) -> impl Iterator<Item = &Entry> {
        let skip = self.entries.partition_point(|entry| entry.sequence <= sequence);
        self.entries.iter().skip(skip)
    }
}

impl Entry {
    pub(crate) fn restored(saved: SavedEntry, until: Millis) -> Self {
        Self { sequence: 0, record: 0, message: saved.message, scope: saved.scope, until }
    }

    pub(crate) fn recalled(delivered: DeliveredRecord, record: u64) -> Self {
        let DeliveredRecord { sequence, message, scope, until } = delivered;
        Self { sequence, record, message, scope, until }
    }

    pub(crate) fn kept(&self) -> DeliveredRecord {
        let (message, scope) = (Arc::clone(&self.message), self.scope.clone());
        DeliveredRecord { sequence: self.sequence, message, scope, until: self.until }
    }

    pub(crate) fn quality(&self) -> Quality {
        self.message.traits.quality
    }

    pub(crate) fn channels(&self) -> &[ChannelName] {
        match &self.scope {
            Scope::Channel => std::slice::from_ref(&self.message.channel),
            Scope::Union(channels) => channels,
            Scope::Session(_) => &[],
        }
    }

    /// Sessions it was for by name.
    pub(crate) fn sessions(&self) -> Vec<SessionId> {
        match &self.scope {
            Scope::Session(id) => vec![*id],
            Scope::Union(names) => names.iter().filter_map(ChannelName::session).collect(),
            Scope::Channel => Vec::new(),
        }
    }

    /// Whether it was for a session that was subscribed as `spans` tell.
    fn concerns(&self, id: &SessionId, spans: &[Span]) -> bool {
        let then = || spans.iter().filter(|span| span.holds(self.sequence));
        let matches =
            |channel: &ChannelName| then().any(|span| filter_matches(span.name.as_str(), channel.as_str()));
        let included = match &self.scope {
            Scope::Session(session) => session == id,
            Scope::Channel => self.channels().iter().any(matches),
            Scope::Union(names) => names.iter().any(|name| name.session() == Some(*id) || matches(name)),
        };
        let in_channel = |channel: &ChannelName| then().any(|span| span.name == *channel);
        included
            && !self
                .message
                .except
                .as_ref()
                .is_some_and(|except| except.sessions.contains(id) || except.channels.iter().any(in_channel))
    }
}

impl Recovery {
    pub(crate) fn restored(saved: SavedRecovery, until: Millis) -> Self {
        let SavedRecovery { start, admitted, lost, spans } = saved;
        let span = |span: SavedSpan| Span {
            name: ChannelName(span.name),
            from: span.from,
            to: span.to.unwrap_or(u64::MAX),
            record: 0,
        };
        let spans = spans.into_iter().map(span).collect();
        Self { start, admitted, lost, until, spans, records: None }
    }

    pub(crate) fn saved(&self) -> SavedRecovery {
        let span = |span: &Span| SavedSpan {
            name: Arc::clone(&span.name.0),
            from: span.from,
            to: (!span.is_open()).then_some(span.to),
        };
        let spans = self.spans.iter().map(span).collect();
        SavedRecovery { start: self.start, admitted: self.admitted, lost: self.lost, spans }
    }

    pub(crate) fn starting_at(sequence: u64) -> Self {
        let (start, admitted) = (sequence, sequence);
        Self { start, admitted, lost: 0, until: Millis(0), spans: Vec::new(), records: None }
    }

    /// Since when it needs the log, when it was admitted, and up to where it lacks something.
    pub(crate) fn bounds(&self) -> (u64, u64, u64) {
        (self.start, self.admitted, self.lost)
    }

    /// Something that it needed is gone.
    pub(crate) fn lacks(&mut self, sequence: u64) {
        self.lost = self.lost.max(sequence);
    }

    pub(crate) fn admitted(&mut self, sequence: u64) {
        self.admitted = sequence;
    }

    /// A subscription begins after `last`.
    pub(crate) fn joined(&mut self, name: &ChannelName, last: u64) {
        if last > self.admitted {
            self.spans.push(Span::open(name.clone(), last));
        }
    }

    /// A subscription ends. Gives its span, which is to be added again if something was delivered in it.
    pub(crate) fn left(&mut self, roster: &Roster) -> Option<Span> {
        let open = self.spans.iter().position(|span| span.is_open() && span.name == roster.name);
        let from = open.map_or(self.admitted, |at| self.spans.swap_remove(at).from);
        (roster.logged > from).then(|| Span { to: roster.logged, ..Span::open(roster.name.clone(), from) })
    }

    /// Spans of which every entry is gone become one number. Gives their records.
    pub(crate) fn fold(&mut self, purged: u64) -> SmallVec<[u64; 2]> {
        let (mut records, lost) = (SmallVec::new(), &mut self.lost);
        self.spans.retain(|span| {
            let is_gone = span.to <= purged;
            if is_gone {
                *lost = (*lost).max(span.to);
                records.push(span.record);
            }
            !is_gone
        });
        records
    }

    pub(crate) fn since(&self, roster: &Roster) -> u64 {
        let open = self.spans.iter().find(|span| span.is_open() && span.name == roster.name);
        open.map_or(self.admitted, |span| span.from)
    }
}

impl Hub {
    pub(crate) fn append_to_log(&mut self, delivery: &Delivery<'_>, reach: Reach<'_>) {
        let until = Millis(self.now.0.saturating_add(self.config.limits.recovery.window_ms));
        let (message, scope) = (Arc::clone(delivery.message), delivery.scope.clone());
        let mut entry = Entry { sequence: self.log.last() + 1, record: 0, message, scope, until };
        entry.record = self.keep_entry(&entry);
        self.log.push(entry);
        for roster in reach.rosters() {
            self.rosters.known_mut(*roster).logged = self.log.last();
        }
        self.trim_log();
    }

    pub(crate) fn trim_log(&mut self) {
        while let Some(entry) = self.log.pop_over(&self.config.limits.recovery, self.now) {
            self.note_purged(&entry);
        }
    }

    /// Leaves a mark where the entry was delivered, so that who needs it can be told from who does not.
    pub(crate) fn note_purged(&mut self, entry: &Entry) {
        for id in entry.sessions() {
            let session = self.sessions.key_of(&id).map(|key| self.sessions.known_mut(key));
            if let Some(recovery) = session.and_then(|session| session.recovery.as_mut()) {
                recovery.lacks(entry.sequence);
            }
        }
        let rosters = self.rosters_of(entry);
        for roster in &rosters {
            let roster = self.rosters.known_mut(*roster);
            roster.purged = roster.purged.max(entry.sequence);
        }
        self.note_gone(entry, &rosters);
    }

    /// The channels and filters by which it came, as far as they are known here.
    pub(crate) fn rosters_of(&self, entry: &Entry) -> Vec<RosterKey> {
        let mut rosters = Vec::new();
        for channel in entry.channels() {
            self.rosters.concerned(channel.as_str(), &mut rosters);
        }
        rosters
    }

    /// What a session has not seen, `Admitted` last; `None` when the log no longer has all of it, which is never
    /// wrong, but may be too cautious about what it was excepted from and about channels it has left.
    pub(crate) fn missed(&self, key: SessionKey, after: Option<Offset>) -> Option<VecDeque<Outgoing>> {
        let session = self.sessions.known(key);
        let recovery = session.recovery.as_deref()?;
        let seen = after.filter(|offset| offset.epoch == self.log.epoch && offset.sequence <= self.log.last);
        let seen = seen.map_or(recovery.start, |offset| offset.sequence.max(recovery.start));
        if self.is_lost(session, recovery, seen) {
            return None;
        }
        let spans = self.all_spans(session, recovery);
        let concerns =
            |entry: &&Entry| !entry.message.is_late(self.now) && entry.concerns(&session.id, &spans);
        let missed = self.log.after(seen).filter(concerns);
        let messages = missed.map(|entry| (entry.sequence, Arc::clone(&entry.message), None));
        let mut items: Vec<_> = messages.chain(self.asks.unanswered(key, session.asks)).collect();
        items.sort_by_key(|(sequence, _, ask)| (*sequence, *ask));
        let outgoing = |(sequence, message, ask)| {
            let offset = Some(Offset { epoch: self.log.epoch, sequence });
            Outgoing::Message { message, ask, offset, grade: Grade::default(), labels: None }
        };
        let mut missed: VecDeque<_> = items.into_iter().map(outgoing).collect();
        missed.push_back(Outgoing::Admitted { recovered: true });
        Some(missed)
    }

    /// Whether an entry after `seen` that the session needs has been purged. Arithmetic on sequences: an offset whose
    /// own entry is gone is as good as any while nothing after it is missing.
    fn is_lost(&self, session: &Session, recovery: &Recovery, seen: u64) -> bool {
        let purged_of_current = |roster: &Roster| roster.purged > seen.max(recovery.since(roster));
        let mut current = session.subscriptions.iter().map(|record| self.rosters.known(record.roster));
        let purged_of_past = |span: &Span| {
            let needed_from = seen.max(span.from);
            !span.is_open() && span.to > needed_from && self.log.purged > needed_from
        };
        recovery.lost.max(self.log.blind) > seen
            || current.any(purged_of_current)
            || recovery.spans.iter().any(purged_of_past)
    }

    fn all_spans(&self, session: &Session, recovery: &Recovery) -> Vec<Span> {
        let current = session.subscriptions.iter().map(|record| {
            let roster = self.rosters.known(record.roster);
            Span::open(roster.name.clone(), recovery.since(roster))
        });
        current.chain(recovery.spans.iter().filter(|span| !span.is_open()).cloned()).collect()
    }
}
