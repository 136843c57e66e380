//! How a hub goes on from the records of a recovery log and of sessions that may be resumed. Owns which of them count and what
//! they amount to; the others are dropped. Which records there are is `ledger`'s business.
//!
//! What was not safe when the hub before this one ended is gone, and clients may have offsets of it. So the log goes on far
//! behind what is known, and nobody comes back before it is safe how far: no number is given twice, and whoever names one that
//! is lost has seen all that was before it.
//! Start at [`Hub::recalled_log`].

use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, SessionId, SessionKey};
use crate::ledger::KeptMark;
use crate::record::{DeliveredRecord, LogRecord, Place, Record, ResumableRecord};
use crate::recovery::{Entry, Log, ResumableRecords};
use crate::snapshot::{SavedRecovery, SavedSession, SavedSpan};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far behind what is known a log goes on: more than can be delivered while nothing becomes safe.
const GAP: u64 = 1 << 32;

/// The records of a log, those that count.
#[derive(Debug, Default)]
pub(crate) struct PastLog {
    /// In the order of their partitions; with another number of shards there may be several.
    heads: Vec<(Place, LogRecord)>,
    sessions: BTreeMap<SessionId, PastResumable>,
    delivered: Vec<(Place, DeliveredRecord)>,
    marks: BTreeMap<Arc<str>, (Place, u64)>,
    /// Records that do not count.
    void: Vec<Place>,
}

#[derive(Debug)]
struct PastResumable {
    place: Place,
    record: ResumableRecord,
    /// Since when, by name, each with the number of its record.
    open: BTreeMap<Arc<str>, (u64, u64)>,
    closed: Vec<(u64, SavedSpan)>,
}

impl PastLog {
    /// One record more, in the order of its partition. Gives back one that is none of a log.
    pub(crate) fn take(&mut self, place: Place, record: Record) -> Option<Record> {
        match record {
            Record::Log(log) => self.heads.push((place, log)),
            Record::Resumable(record) => {
                let (open, closed) = (BTreeMap::new(), Vec::new());
                let session = PastResumable { place, record: *record, open, closed };
                let older = self.sessions.insert(session.record.id, session);
                self.void.extend(older.into_iter().flat_map(|older| older.places()));
            }
            Record::Span { session, name, from, to } => {
                let span = SavedSpan { name, from, to };
                match self.sessions.get_mut(&session) {
                    Some(session) => self.void.extend(session.take(place, span)),
                    None => self.void.push(place),
                }
            }
            Record::Delivered(delivered) => self.delivered.push((place, *delivered)),
            Record::Mark { name, sequence } => {
                let older = self.marks.insert(name, (place, sequence));
                self.void.extend(older.map(|(place, _)| place));
            }
            other => return Some(other),
        }
        None
    }

    /// The head that counts, if there is one of a hub like this.
    fn head(&mut self, hub: &Hub) -> Option<(Place, LogRecord)> {
        let (partition, shards) = (hub.log_partition(), hub.config.topology.shards);
        let at = self
            .heads
            .iter()
            .rposition(|(place, log)| place.partition == partition && log.shards == shards)?;
        Some(self.heads.swap_remove(at))
    }

    /// The newest sequence that anything here knows of.
    fn last(&self) -> u64 {
        let sessions = self.sessions.values().flat_map(|session| {
            let open = session.open.values().map(|(_, from)| *from);
            let closed = session.closed.iter().map(|(_, span)| span.to.unwrap_or(span.from));
            open.chain(closed).chain([session.record.start, session.record.admitted])
        });
        let delivered = self.delivered.iter().map(|(_, delivered)| delivered.sequence);
        let marks = self.marks.values().map(|(_, sequence)| *sequence);
        sessions.chain(delivered).chain(marks).max().unwrap_or_default()
    }

    /// None of it counts. Gives the sessions.
    fn give_up(&mut self) -> Vec<(SessionId, Bytes)> {
        let heads = std::mem::take(&mut self.heads).into_iter().map(|(place, _)| place);
        let delivered = std::mem::take(&mut self.delivered).into_iter().map(|(place, _)| place);
        let marks = std::mem::take(&mut self.marks).into_values().map(|(place, _)| place);
        self.void.extend(heads.chain(delivered).chain(marks));
        let sessions = std::mem::take(&mut self.sessions);
        self.void.extend(sessions.values().flat_map(PastResumable::places));
        sessions.into_values().map(|session| (session.record.id, session.record.keepsake)).collect()
    }
}

impl PastResumable {
    /// Gives the record whose place this one takes.
    fn take(&mut self, place: Place, span: SavedSpan) -> Option<Place> {
        let partition = place.partition;
        let older = match span.to {
            None => self.open.insert(span.name, (place.number, span.from)),
            Some(_) => {
                let is_of = |open: &(u64, u64)| open.1 == span.from;
                let open = self.open.get(&span.name).copied().filter(is_of);
                if open.is_some() {
                    self.open.remove(&span.name);
                }
                self.closed.push((place.number, span));
                open
            }
        };
        older.map(|(number, _)| Place { partition, number })
    }

    fn places(&self) -> Vec<Place> {
        let partition = self.place.partition;
        let open = self.open.values().map(|(number, _)| *number);
        let closed = self.closed.iter().map(|(number, _)| *number);
        // What says that there is one goes first.
        let numbers = [self.place.number].into_iter().chain(open).chain(closed);
        numbers.map(|number| Place { partition, number }).collect()
    }

    /// As a snapshot of now has it; the window begins anew.
    fn saved(&self, now: Millis, window_ms: u64, lost: u64) -> SavedSession {
        let ResumableRecord { id, user, info, since, start, admitted, keepsake } = &self.record;
        let later = self.open.iter().filter(|(_, (_, from))| from > admitted);
        let later =
            later.map(|(name, (_, from))| SavedSpan { name: Arc::clone(name), from: *from, to: None });
        let closed = self.closed.iter().map(|(_, span)| span.clone());
        let spans = closed.chain(later).collect();
        SavedSession {
            id: *id,
            user: user.clone(),
            info: info.clone(),
            subscriptions: self.open.keys().cloned().collect(),
            age_ms: now.0.saturating_sub(since.0),
            left_ms: window_ms,
            recovery: SavedRecovery { start: *start, admitted: *admitted, lost, spans },
            keepsake: keepsake.clone(),
        }
    }
}

impl Hub {
    /// The log of the records becomes that of this hub. Gives its sessions, and those that cannot go on: what a snapshot has
    /// is newer, and with another number of shards nobody can tell what they missed.
    pub(crate) fn recalled_log(
        &mut self,
        past: &mut PastLog,
        (newer, elapsed_ms): (&[SavedSession], u64),
    ) -> (Vec<SavedSession>, Vec<SessionId>) {
        let head = if newer.is_empty() { past.head(self) } else { None };
        let Some((place, log)) = head else {
            let gone = past.give_up();
            let ids = gone.iter().map(|(id, _)| *id).collect();
            self.keepsakes.extend(gone);
            return (Vec::new(), ids);
        };
        let last = past.last().max(log.purged).max(log.skipped).max(log.last);
        let delivered = std::mem::take(&mut past.delivered).into_iter();
        let entries = delivered.map(|(place, delivered)| Entry::recalled(delivered, place.number)).collect();
        self.log = Log::recalled(&log, last + GAP, entries);
        self.ledger.head = place.number;
        self.ledger.skipped = log.skipped;
        self.keep_head();
        self.ledger.base = self.ledger.head;
        let window_ms = self.config.limits.recovery.window_ms;
        let saved = past.sessions.values().map(|session| {
            let own = ChannelName::client(session.record.id);
            let lost = past.marks.get(own.as_str()).map_or(0, |(_, sequence)| *sequence);
            let mut saved = session.saved(self.now, window_ms, lost);
            // Nothing has passed for it since a snapshot was made.
            saved.left_ms = saved.left_ms.saturating_add(elapsed_ms);
            saved.age_ms = saved.age_ms.saturating_sub(elapsed_ms);
            saved
        });
        let saved: Vec<_> = saved.collect();
        self.keepsakes.extend(saved.iter().map(|saved| (saved.id, saved.keepsake.clone())));
        (saved, Vec::new())
    }

    /// Records find those that they are of, once these are there and subscribed; what is of nobody is dropped.
    pub(crate) fn recall_log(&mut self, past: PastLog) {
        if !self.journal.is_on() {
            return;
        }
        let PastLog { heads, sessions, delivered: _, marks, mut void } = past;
        void.extend(heads.into_iter().map(|(place, _)| place));
        for session in sessions.into_values() {
            match self.sessions.key_of(&session.record.id) {
                Some(key) => self.recall_resumable(key, &session),
                None => void.extend(session.places()),
            }
        }
        for (name, (place, sequence)) in marks {
            if let Some(roster) = self.rosters.find(&name) {
                // Entries that the head does not call gone are there.
                let gone = sequence.min(self.log.purged());
                let roster = self.rosters.known_mut(roster);
                (roster.purged, roster.logged) = (gone, gone);
            }
            self.ledger.marks.insert(ChannelName(name), KeptMark { number: place.number, sequence });
        }
        let delivered: Vec<_> =
            self.log.entries().map(|entry| (entry.sequence, self.rosters_of(entry))).collect();
        for (sequence, rosters) in delivered {
            rosters.into_iter().for_each(|roster| self.rosters.known_mut(roster).logged = sequence);
        }
        while let Some(entry) = self.log.pop_gone() {
            self.note_purged(&entry);
        }
        for place in void {
            self.journal.drop_record(place.partition, place.number);
        }
    }

    fn recall_resumable(&mut self, key: SessionKey, past: &PastResumable) {
        let rosters = &self.rosters;
        let session = self.sessions.known_mut(key);
        let number = |roster| past.open.get(&rosters.known(roster).name.0).map_or(0, |(number, _)| *number);
        let spans = session.subscriptions.iter().map(|record| number(record.roster)).collect();
        let Some(recovery) = &mut session.recovery else { return };
        recovery.records = Some(Box::new(ResumableRecords { session: past.place.number, spans }));
        let mut closed = past.closed.iter();
        for span in recovery.spans.iter_mut().filter(|span| !span.is_open()) {
            span.record = closed.next().map_or(0, |(number, _)| *number);
        }
    }

    /// What was kept of sessions for their fronts, once: of those that [`Hub::restore`] took in from records, and of those
    /// that it refused.
    pub fn take_keepsakes(&mut self) -> Vec<(SessionId, Bytes)> {
        std::mem::take(&mut self.keepsakes)
    }
}
