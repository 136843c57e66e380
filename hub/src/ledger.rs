//! What of the recovery log, and of the sessions that may be resumed, is kept beyond the life of the process: which records
//! there are, and when they are dropped.
//!
//! ```text
//!  admitted       --> a record of the session, one of each subscription    until the session ends
//!  delivered      --> the entry                                            until it is purged, and a little longer
//!  purged entries --> marks: up to where something is gone, and for whom   until nobody asks
//! ```
//!
//! An entry is kept when it is appended, and only who waits for its message waits for that. Entries that are purged lose their
//! records a little later, many at a time, so that the marks are few; a mark is safe before the records go that it stands for.
//! Losing and regaining a connection changes nothing. How a hub goes on from the records is `recall`'s business. Start at
//! [`Hub::keep_resumable`] and [`Hub::keep_entry`].

use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, Partition, SessionKey};
use crate::journal::Promise;
use crate::message::Quality;
use crate::record::{LogRecord, Record, ResumableRecord};
use crate::recovery::{Entry, ResumableRecords, Span};
use crate::roster::RosterKey;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Records of purged entries that wait to be dropped; at that many they are.
const GONE_MAX: usize = 64;

/// How long they wait at most. Milliseconds.
const GONE_MS: u64 = 1_000;

/// Marks that are looked through for those that nobody needs; at twice as many as were left they are again.
const MARKS_MIN: usize = 64;

/// The records of a recovery log, in a partition that its hub owns whatever sessions there are. 0 = none.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) head: u64,
    /// The head with which a log of earlier hubs went on.
    pub(crate) base: u64,
    /// Sequence of the newest entry that was not kept, and what the head says of it.
    pub(crate) skipped: u64,
    pub(crate) skipped_kept: u64,
    /// Records of purged entries.
    gone: Vec<u64>,
    gone_until: Option<Millis>,
    /// What marks are to say before those are dropped.
    due: BTreeMap<ChannelName, u64>,
    pub(crate) marks: BTreeMap<ChannelName, KeptMark>,
    sweep_at: usize,
}

/// What is kept of up to where something is gone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptMark {
    /// Of the record.
    pub(crate) number: u64,
    pub(crate) sequence: u64,
}

impl Ledger {
    pub(crate) fn is_empty(&self) -> bool {
        self.head == 0 && self.gone.is_empty() && self.marks.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.gone_until
    }
}

impl Hub {
    pub(crate) fn log_partition(&self) -> Partition {
        Partition(u16::from(self.config.shard.0))
    }

    /// Keeps an entry that is about to be appended; the number of its record.
    pub(crate) fn keep_entry(&mut self, entry: &Entry) -> u64 {
        if !self.journal.is_on() {
            return 0;
        }
        if entry.quality() == Quality::AtMostOnce && self.journal.is_overloaded() {
            self.ledger.skipped = entry.sequence;
            return 0;
        }
        self.keep_head_if_due();
        self.journal.keep(self.log_partition(), Record::Delivered(Box::new(entry.kept())))
    }

    /// Before anything that counts on it.
    fn keep_head_if_due(&mut self) {
        if self.ledger.head == 0 || self.ledger.skipped > self.ledger.skipped_kept {
            self.keep_head();
        }
    }

    pub(crate) fn keep_head(&mut self) {
        let (partition, skipped) = (self.log_partition(), self.ledger.skipped);
        let (epoch, purged) = (self.log.offset(0).epoch, self.log.purged());
        let (shards, last) = (self.config.topology.shards, self.log.last());
        let log = LogRecord { epoch, shards, purged, skipped, last };
        let old = std::mem::replace(&mut self.ledger.head, self.journal.keep(partition, Record::Log(log)));
        self.journal.drop_record(partition, old);
        self.ledger.skipped_kept = skipped;
    }

    /// An entry was purged that these channels and filters brought.
    pub(crate) fn note_gone(&mut self, entry: &Entry, rosters: &[RosterKey]) {
        if entry.record == 0 {
            return;
        }
        let members = |roster: &&RosterKey| !self.rosters.known(**roster).members.is_empty();
        for roster in rosters.iter().filter(members) {
            self.ledger.due.insert(self.rosters.known(*roster).name.clone(), entry.sequence);
        }
        for id in entry.sessions().into_iter().filter(|id| self.sessions.key_of(id).is_some()) {
            self.ledger.due.insert(ChannelName::client(id), entry.sequence);
        }
        self.ledger.gone.push(entry.record);
        self.ledger.gone_until.get_or_insert(Millis(self.now.0.saturating_add(GONE_MS)));
        if self.ledger.gone.len() >= GONE_MAX {
            self.drop_gone();
        }
    }

    pub(crate) fn drop_gone_if_due(&mut self) {
        if self.ledger.gone_until.is_some_and(|until| until <= self.now) {
            self.drop_gone();
        }
    }

    fn drop_gone(&mut self) {
        self.ledger.gone_until = None;
        for (name, sequence) in std::mem::take(&mut self.ledger.due) {
            self.keep_mark(name, sequence);
        }
        self.keep_head();
        let partition = self.log_partition();
        for record in std::mem::take(&mut self.ledger.gone) {
            self.journal.drop_record(partition, record);
        }
        self.sweep_marks();
    }

    /// A mark never goes back: what is due may be older than what was folded since.
    pub(crate) fn keep_mark(&mut self, name: ChannelName, sequence: u64) {
        let old = self.ledger.marks.get(&name).copied().unwrap_or_default();
        if sequence <= old.sequence {
            return;
        }
        let partition = self.log_partition();
        let number = self.journal.keep(partition, Record::Mark { name: Arc::clone(&name.0), sequence });
        self.ledger.marks.insert(name, KeptMark { number, sequence });
        self.journal.drop_record(partition, old.number);
    }

    /// Whoever joins a channel later needs nothing that was before.
    fn sweep_marks(&mut self) {
        if self.ledger.marks.len() < self.ledger.sweep_at.max(MARKS_MIN) {
            return;
        }
        let (rosters, sessions) = (&self.rosters, &self.sessions);
        let has_members =
            |name: &str| rosters.find(name).is_some_and(|roster| !rosters.known(roster).members.is_empty());
        let is_needed = |name: &ChannelName| match name.session() {
            Some(id) => sessions.key_of(&id).is_some(),
            None => has_members(name.as_str()),
        };
        let (partition, journal) = (self.log_partition(), &mut self.journal);
        self.ledger.marks.retain(|name, mark| {
            let is_needed = is_needed(name);
            if !is_needed {
                journal.drop_record(partition, mark.number);
            }
            is_needed
        });
        self.ledger.sweep_at = self.ledger.marks.len() * 2;
    }

    /// Keeps a session that may be resumed, before it is subscribed to anything.
    pub(crate) fn keep_resumable(&mut self, key: SessionKey, keepsake: Bytes) {
        let session = self.sessions.known(key);
        let Some(recovery) = session.recovery.as_ref().filter(|_| self.journal.is_on()) else { return };
        let (start, admitted, _) = recovery.bounds();
        let (id, user, info, since) = (session.id, session.user(), session.info(), session.since);
        let record = ResumableRecord { id, user, info, since, start, admitted, keepsake };
        self.keep_head_if_due();
        let number = self.journal.keep(id.partition(), Record::Resumable(Box::new(record)));
        if let Some(recovery) = &mut self.sessions.known_mut(key).recovery {
            let records = ResumableRecords { session: number, spans: SmallVec::new() };
            recovery.records = Some(Box::new(records));
        }
    }

    /// No client gets an offset of this hub before it is sure that none after a crash is the same.
    pub(crate) fn hold_until_based(&mut self, key: SessionKey) {
        if !self.journal.is_safe(self.log_partition(), self.ledger.base) {
            self.hold_until_safe(key);
        }
    }

    /// A client is not told by which name it may come back before that is true after a crash.
    pub(crate) fn hold_until_safe(&mut self, key: SessionKey) {
        let session = self.sessions.known_mut(key);
        let is_kept = session.recovery.as_ref().is_some_and(|recovery| recovery.records.is_some());
        if is_kept && self.journal.is_behind() {
            session.held += 1;
            self.journal.hold(Promise::Admission(key, session.id));
        }
    }

    /// A subscription ends, the one at this place among the session's.
    pub(crate) fn end_span(&mut self, (key, at): (SessionKey, usize), roster: RosterKey) {
        let (purged, roster) = (self.log.purged(), self.rosters.known(roster));
        let session = self.sessions.known_mut(key);
        let (id, partition) = (session.id, session.id.partition());
        let Some(recovery) = &mut session.recovery else { return };
        let open = recovery.records.as_mut().map(|records| records.spans.swap_remove(at));
        let mut closed = recovery.left(roster);
        if let (Some(span), Some(_)) = (&mut closed, open) {
            span.record = self.journal.keep(partition, span.kept(id));
        }
        recovery.spans.extend(closed);
        let (_, _, before) = recovery.bounds();
        let folded = recovery.fold(purged);
        let (_, _, lost) = recovery.bounds();
        let Some(open) = open else { return };
        if lost > before {
            self.keep_mark(ChannelName::client(id), lost);
        }
        folded.into_iter().chain([open]).for_each(|record| self.journal.drop_record(partition, record));
    }

    /// Nothing is kept any more of a session that ends.
    pub(crate) fn drop_resumable(&mut self, key: SessionKey) {
        let session = self.sessions.known_mut(key);
        let (id, partition) = (session.id, session.id.partition());
        let Some(recovery) = &mut session.recovery else { return };
        let Some(records) = recovery.records.take() else { return };
        self.journal.drop_record(partition, records.session);
        let closed = recovery.spans.iter().map(|span| span.record);
        records
            .spans
            .into_iter()
            .chain(closed)
            .for_each(|record| self.journal.drop_record(partition, record));
        let own = ChannelName::client(id);
        self.ledger.due.remove(&own);
        if let Some(mark) = self.ledger.marks.remove(&own) {
            self.journal.drop_record(self.log_partition(), mark.number);
        }
    }

    /// When the last session that may be resumed has gone.
    pub(crate) fn forget_log_if_unused(&mut self) {
        if self.sessions.recovering > 0 {
            return;
        }
        let (partition, entries) = (self.log_partition(), self.log.clear());
        let Ledger { head, gone, marks, skipped, skipped_kept, .. } = std::mem::take(&mut self.ledger);
        let entries = entries.iter().map(|entry| entry.record);
        let marks = marks.into_values().map(|mark| mark.number);
        let records = entries.chain(gone).chain(marks).chain([head]);
        records.for_each(|record| self.journal.drop_record(partition, record));
        (self.ledger.skipped, self.ledger.skipped_kept) = (skipped, skipped_kept);
    }

    /// A session of a hub that kept no journal is kept from now on, with the log that it may need.
    pub(crate) fn keep_resumed(&mut self, key: SessionKey, keepsake: Bytes) {
        self.keep_resumable(key, keepsake);
        let session = self.sessions.known_mut(key);
        let (id, partition) = (session.id, session.id.partition());
        let Some(recovery) = &mut session.recovery else { return };
        let Some(mut records) = recovery.records.take() else { return };
        for subscription in &session.subscriptions {
            let roster = self.rosters.known(subscription.roster);
            let span = Span::open(roster.name.clone(), recovery.since(roster));
            records.spans.push(self.journal.keep(partition, span.kept(id)));
        }
        recovery.records = Some(records);
        for span in recovery.spans.iter_mut().filter(|span| !span.is_open()) {
            span.record = self.journal.keep(partition, span.kept(id));
        }
        let (_, _, lost) = recovery.bounds();
        if lost > 0 {
            self.keep_mark(ChannelName::client(id), lost);
        }
    }

    /// The log of such a hub.
    pub(crate) fn keep_log(&mut self) {
        let partition = self.log_partition();
        self.keep_head_if_due();
        for entry in self.log.entries_mut() {
            entry.record = self.journal.keep(partition, Record::Delivered(Box::new(entry.kept())));
        }
        let marked =
            self.rosters.iter().filter(|(_, roster)| roster.purged > 0 && !roster.members.is_empty());
        let marked: Vec<_> = marked.map(|(_, roster)| (roster.name.clone(), roster.purged)).collect();
        marked.into_iter().for_each(|(name, sequence)| self.keep_mark(name, sequence));
    }
}
