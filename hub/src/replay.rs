//! How a hub goes on from the records that were kept. Owns which of them count: of several of one thing the newest, and
//! nothing of a session that there is no record of. The others are dropped.
//!
//! Whether an exchange had begun, no record says: all that is owed counts as sent, under its number. What was on its way to
//! be published is published again; a session that was given it before the crash does not get it twice, since it is
//! known by the message's id. It must not know how records are written. Start at [`Hub::recall`].

use crate::binding::publisher;
use crate::command::{Options, Receipt, SessionReceipt, Will};
use crate::effect::Effects;
use crate::exchange::owed;
use crate::flight::{Flight, Parcel, Sent, Source};
use crate::had::Had;
use crate::hub::Hub;
use crate::hub_mail::{ShareChange, ShareMail};
use crate::ids::{ChannelName, Millis, SessionId, SessionKey};
use crate::message::{Grade, Message, MessageId, Quality};
use crate::pact::{Offered, OfferedState, Records};
use crate::recall::PastLog;
use crate::record::{OwedRecord, Place, Record, SessionRecord, WillRecord};
use crate::saved::{SavedClaim, SavedSubscription, unpublished};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The records that count, by what they are about.
#[derive(Debug, Default)]
pub(crate) struct Past {
    sessions: BTreeMap<SessionId, PastSession>,
    retained: BTreeMap<ChannelName, (Place, Arc<Message>)>,
    /// Values that are not the newest.
    replaced: Vec<(Place, Arc<Message>)>,
    seen: Vec<(Place, MessageId)>,
    due: Vec<(Place, Millis, Arc<Message>)>,
    /// One for all sessions that are owed it.
    messages: BTreeMap<MessageId, Arc<Message>>,
    /// Who has been given what.
    had: Had,
    /// Members of share groups that have what they were dealt.
    dealt: Vec<(SessionId, Arc<str>, MessageId)>,
    /// What members had that are gone.
    returning: Vec<(Place, Box<OwedRecord>)>,
    /// Records that do not count.
    void: Vec<Place>,
    pub(crate) log: PastLog,
    histories: Vec<(Place, Millis, Arc<Message>)>,
}

#[derive(Debug)]
struct PastSession {
    record: SessionRecord,
    number: u64,
    /// Another session is in its place, so that it has another id than its records say.
    has_moved: bool,
    subscriptions: BTreeMap<Arc<str>, (u64, Options)>,
    shares: BTreeMap<Arc<str>, (u64, Options)>,
    /// By the session's number, each with the number of its record.
    exchanges: BTreeMap<u16, (u64, Option<Box<OwedRecord>>)>,
    /// By the client's number; with the message, if it was not where it is needed.
    offers: BTreeMap<u16, (u64, Option<Arc<Message>>)>,
}

impl Past {
    /// Records in the order of their partitions.
    pub(crate) fn of(mut records: Vec<(Place, Record)>, now: Millis) -> Self {
        let mut past = Self { had: Had::new(now), ..Self::default() };
        past.find_sessions(&mut records);
        for (place, record) in records {
            past.add(place, record);
        }
        past
    }

    /// A record of a session may stand behind those of what belongs to it, since it is renewed.
    fn find_sessions(&mut self, records: &mut Vec<(Place, Record)>) {
        let mut by_name: BTreeMap<Arc<str>, (Place, SessionId)> = BTreeMap::new();
        let is_other = |(place, record): &mut (Place, Record)| {
            let Record::Session(session) = record else { return true };
            let known = by_name.insert(Arc::clone(&session.name), (*place, session.id));
            if let Some((older, id)) = known {
                self.void.push(older);
                self.sessions.remove(&id);
            }
            self.sessions.insert(session.id, PastSession::new((**session).clone(), place.number));
            false
        };
        records.retain_mut(is_other);
    }

    /// Sessions of two shards that have become one may have had the same place.
    fn find_places(&mut self) {
        let mut taken: BTreeSet<u32> = BTreeSet::new();
        let mut moving = Vec::new();
        for (id, session) in &mut self.sessions {
            if !taken.insert(id.slot()) {
                moving.push((*id, session));
            }
        }
        let mut free = 0..;
        for (id, session) in moving {
            let slot = free.by_ref().find(|slot| !taken.contains(slot)).unwrap_or(u32::MAX);
            session.record.id = id.at_slot(slot);
            session.has_moved = true;
            self.had.note_renamed(id, session.record.id);
        }
    }

    fn add(&mut self, place: Place, record: Record) {
        let Some(record) = self.log.take(place, record) else { return };
        let record = match record {
            Record::Owed(mut owed) => {
                let shared = self.messages.entry(owed.message.id);
                owed.message = Arc::clone(shared.or_insert_with(|| Arc::clone(&owed.message)));
                if owed.number == 0 {
                    return self.add_returning(place, owed);
                }
                Record::Owed(owed)
            }
            Record::Retained(message) => {
                self.had.note_value(message.id);
                return self.replaced.extend(self.retained.insert(message.channel.clone(), (place, message)));
            }
            Record::Seen(message) => return self.seen.push((place, message)),
            Record::Due { at, message } => return self.due.push((place, at, message)),
            Record::History { until, message } => return self.histories.push((place, until, message)),
            record => record,
        };
        match &record {
            Record::Owed(owed) => self.note_had(owed.session, owed.message.id, owed.group.as_ref()),
            Record::Used { session, message, group, .. } => {
                self.note_had(*session, *message, group.as_ref());
            }
            _ => {}
        }
        let partition = place.partition;
        let id = session_of(&record).filter(|id| id.partition() == partition);
        match id.and_then(|id| self.sessions.get_mut(&id)) {
            Some(session) => {
                let older = session.add(place.number, record);
                self.void.extend(older.map(|number| Place { partition, number }));
            }
            None => self.void.push(place),
        }
    }

    fn note_had(&mut self, session: SessionId, message: MessageId, group: Option<&Arc<str>>) {
        match group {
            Some(group) if self.sessions.contains_key(&session) => {
                self.dealt.push((session, Arc::clone(group), message));
            }
            Some(_) => {}
            None => self.had.note_session(session, message),
        }
    }

    /// Of a session that is there the message itself counts.
    fn add_returning(&mut self, place: Place, owed: Box<OwedRecord>) {
        if self.sessions.contains_key(&owed.session) {
            self.void.push(place);
        } else {
            self.returning.push((place, owed));
        }
    }
}

fn session_of(record: &Record) -> Option<SessionId> {
    match record {
        Record::Session(record) => Some(record.id),
        Record::Owed(owed) => Some(owed.session),
        Record::Subscription { session, .. }
        | Record::Share { session, .. }
        | Record::Used { session, .. }
        | Record::Offer { session, .. }
        | Record::Taken { session, .. } => Some(*session),
        Record::Due { .. } | Record::Retained(_) | Record::Queue(_) | Record::Seen(_) => None,
        Record::History { .. } | Record::Log(_) | Record::Resumable(_) => None,
        Record::Span { .. } | Record::Delivered(_) | Record::Mark { .. } | Record::User { .. } => None,
    }
}

impl PastSession {
    fn new(record: SessionRecord, number: u64) -> Self {
        Self {
            record,
            number,
            has_moved: false,
            subscriptions: BTreeMap::new(),
            shares: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            offers: BTreeMap::new(),
        }
    }

    /// The number of the record that this one takes the place of.
    fn add(&mut self, number: u64, record: Record) -> Option<u64> {
        match record {
            Record::Subscription { name, options, .. } => {
                self.subscriptions.insert(name, (number, options)).map(|(older, _)| older)
            }
            Record::Share { group, options, .. } => {
                self.shares.insert(group, (number, options)).map(|(older, _)| older)
            }
            Record::Owed(owed) => {
                self.exchanges.insert(owed.number, (number, Some(owed))).map(|(older, _)| older)
            }
            Record::Used { number: exchange, .. } => {
                self.exchanges.insert(exchange, (number, None)).map(|(older, _)| older)
            }
            Record::Offer { exchange, message, .. } => {
                self.offers.insert(exchange, (number, Some(message))).map(|(older, _)| older)
            }
            Record::Taken { exchange, .. } => {
                self.offers.insert(exchange, (number, None)).map(|(older, _)| older)
            }
            Record::Session(_) | Record::Due { .. } => None,
            Record::Retained(_) | Record::Queue(_) | Record::Seen(_) => None,
            Record::History { .. } | Record::Log(_) | Record::Resumable(_) => None,
            Record::Span { .. } | Record::Delivered(_) | Record::Mark { .. } | Record::User { .. } => None,
        }
    }

    /// As a snapshot has it, without messages.
    fn claim(&self, now: Millis) -> SavedClaim {
        let record = &self.record;
        let until = record.until.unwrap_or(Millis(now.0.saturating_add(record.keep_ms)));
        let left_ms = if until.0 == u64::MAX { u64::MAX } else { until.0.saturating_sub(now.0) };
        let saved = |(name, (_, options)): (&Arc<str>, &(u64, Options))| SavedSubscription {
            name: Arc::clone(name),
            options: *options,
        };
        let user = record
            .user
            .as_ref()
            .map(|user| SavedSubscription { name: ChannelName::user(user).0, options: Options::granted() });
        SavedClaim {
            id: record.id,
            name: Arc::clone(&record.name),
            user: record.user.clone(),
            age_ms: now.0.saturating_sub(record.since.0),
            keep_ms: record.keep_ms,
            left_ms,
            window: record.window,
            last: 0,
            will: None,
            subscriptions: self.subscriptions.iter().map(saved).chain(user).collect(),
            shares: self.shares.iter().map(saved).collect(),
            sent: Vec::new(),
            waiting: Vec::new(),
            taken: Vec::new(),
            walks: Vec::new(),
        }
    }

    /// What is owed, in the order in which it was kept; and records of what is too old by now.
    fn flight(&mut self, now: Millis) -> (Flight, Vec<u64>) {
        let mut late = Vec::new();
        let mut kept: Vec<_> = std::mem::take(&mut self.exchanges).into_iter().collect();
        kept.sort_unstable_by_key(|(_, (record, _))| *record);
        let mut sent = Vec::with_capacity(kept.len());
        for (number, (record, owed)) in kept {
            match owed {
                // It may have begun: of quality `ExactlyOnce` it is finished.
                Some(owed) if owed.quality < Quality::ExactlyOnce && owed.message.is_late(now) => {
                    late.push(record);
                }
                Some(owed) => sent.push(Sent {
                    number,
                    quality: owed.quality,
                    parcel: Some(parcel(*owed, record)),
                    record: 0,
                    has_left: true,
                }),
                None => {
                    let quality = Quality::ExactlyOnce;
                    sent.push(Sent { number, quality, parcel: None, record, has_left: true });
                }
            }
        }
        (Flight::restored(sent.into_iter(), std::iter::empty(), &mut 0), late)
    }
}

fn parcel(owed: OwedRecord, record: u64) -> Parcel {
    let OwedRecord { session: _, number, message, quality, retained, labels, group } = owed;
    let grade = Grade { quality, retained, number, ..Grade::default() };
    let source = group.map_or(Source::Live, Source::Group);
    Parcel { message, grade, labels, source, record }
}

impl Hub {
    /// Sessions of the records, as a snapshot has them.
    pub(crate) fn recalled(&mut self) -> (Past, Vec<SavedClaim>) {
        let mut records = std::mem::take(&mut self.journal.recalled);
        for (_, record) in &mut records {
            if let Record::Owed(owed) = record {
                owed.message = self.ruled(Arc::clone(&owed.message));
            }
        }
        let mut past = Past::of(records, self.now);
        past.find_places();
        let claims = past.sessions.values().map(|session| session.claim(self.now)).collect();
        (past, claims)
    }

    /// Takes in what the records say, for sessions that were restored; those that were not keep theirs.
    pub(crate) fn recall(&mut self, past: Past, effects: &mut Effects) {
        let Past { sessions, retained, replaced, seen, due, mut had, dealt, returning, void, .. } = past;
        self.recall_histories(past.histories);
        self.recall_log(past.log);
        for (place, message) in retained.into_values() {
            self.restore_retained(&message, place.number);
        }
        for (place, message) in replaced {
            self.journal.keep_seen(self.now, place.partition, message.id);
            self.journal.drop_record(place.partition, place.number);
        }
        for (place, message) in seen {
            had.note_value(message);
            had.note_later(message);
            self.journal.bury(self.now, place.partition, place.number);
        }
        let mut later = BTreeSet::new();
        for (place, at, message) in due {
            had.note_later(message.id);
            later.insert(message.id);
            let mut publish = unpublished(&message);
            let seen = (message.traits.quality == Quality::ExactlyOnce).then_some(message.id);
            publish.receipt = Some(Receipt::Record { shard: self.config.shard, place, seen });
            self.delayed.insert(at, publish);
        }
        self.journal.had = (!had.is_empty()).then(|| Box::new(had));
        self.tell_dealt(dealt, &returning, effects);
        self.journal.returning = returning;
        for mut session in sessions.into_values() {
            // It is published already, if it is to be published by itself.
            let is_out = |will: &WillRecord| later.contains(&will.message.id);
            let is_out = session.record.will.take_if(|will| is_out(will)).is_some();
            if let Some(key) = self.sessions.key_of(&session.record.id) {
                let has_moved = session.has_moved;
                self.recall_session(key, session);
                if has_moved {
                    self.renew_records(key);
                } else if is_out {
                    self.keep_session(key);
                }
            }
        }
        for place in void {
            self.journal.drop_record(place.partition, place.number);
        }
        self.start_queues(effects);
        self.journal.hand_over(effects);
    }

    /// The homes of share groups learn what members have, so that nobody else gets it.
    fn tell_dealt(
        &mut self,
        dealt: Vec<(SessionId, Arc<str>, MessageId)>,
        returning: &[(Place, Box<OwedRecord>)],
        effects: &mut Effects,
    ) {
        for (member, group, message) in dealt {
            self.tell_share(ShareMail { group, member, change: ShareChange::Had(message) }, effects);
        }
        for (_, owed) in returning {
            let (member, change) = (owed.session, ShareChange::WillReturn(owed.message.id));
            let mail = owed.group.clone().map(|group| ShareMail { group, member, change });
            mail.into_iter().for_each(|mail| self.tell_share(mail, effects));
        }
    }

    /// A session of a hub that kept no journal is kept from now on.
    pub(crate) fn keep_restored(&mut self, key: SessionKey) {
        let Some(pact) = &mut self.sessions.known_mut(key).pact else { return };
        let shares = pact.rare.as_ref().map_or(0, |rare| rare.shares.len());
        pact.records = Some(Box::new(Records {
            session: 0,
            subscriptions: SmallVec::from_elem(0, pact.options.len()),
            shares: vec![0; shares],
        }));
        self.renew_records(key);
    }

    /// All records of a session are kept once more, under the id it has now, and the old ones dropped.
    fn renew_records(&mut self, key: SessionKey) {
        let session = self.sessions.known_mut(key);
        let records = session.pact.as_ref().and_then(|pact| pact.records.as_ref());
        let is_new = records.is_some_and(|records| records.session == 0);
        self.keep_session(key);
        let session = self.sessions.known_mut(key);
        let (id, partition) = (session.id, session.id.partition());
        let own = session.user().map(|user| ChannelName::user(&user));
        let is_own = |name: &str| own.as_ref().is_some_and(|own| own.as_str() == name);
        let names: Vec<Arc<str>> = session
            .subscriptions
            .iter()
            .map(|record| Arc::clone(&self.rosters.known(record.roster).name.0))
            .collect();
        let journal = &mut self.journal;
        let mut renew = |old: u64, record: Record| {
            if old == 0 && !is_new {
                return 0;
            }
            let number = journal.keep(partition, record);
            journal.drop_record(partition, old);
            number
        };
        let Some(pact) = &mut session.pact else { return };
        let Some(records) = &mut pact.records else { return };
        for ((number, options), name) in records.subscriptions.iter_mut().zip(&pact.options).zip(names) {
            if !is_own(&name) {
                *number = renew(*number, Record::Subscription { session: id, name, options: *options });
            }
        }
        if let Some(rare) = &mut pact.rare {
            for (number, (group, options)) in records.shares.iter_mut().zip(&rare.shares) {
                let group = Arc::clone(group);
                *number = renew(*number, Record::Share { session: id, group, options: *options });
            }
            for (exchange, offered) in &mut rare.taken {
                // One that is open was renewed with its message.
                if offered.is_taken() {
                    let taken = Record::Taken { session: id, exchange: *exchange };
                    offered.record = renew(offered.record, taken);
                }
            }
        }
        if let Some(flight) = &mut pact.flight {
            flight.renew_records(|number, parcel, old| match parcel {
                Some(parcel) => renew(old, owed(id, parcel)),
                None => {
                    let (message, group) = (MessageId(0), None);
                    renew(old, Record::Used { session: id, number, message, group })
                }
            });
        }
    }

    fn recall_session(&mut self, key: SessionKey, mut past: PastSession) {
        let (mut flight, late) = past.flight(self.now);
        let session = self.sessions.known_mut(key);
        let (id, names) = (session.id, session.subscriptions.iter().map(|record| record.roster));
        let names = names.map(|roster| Arc::clone(&self.rosters.known(roster).name.0));
        let numbers = names.map(|name| past.subscriptions.get(&name).map_or(0, |(number, _)| *number));
        let records = Records {
            session: past.number,
            subscriptions: numbers.collect(),
            shares: past.shares.values().map(|(number, _)| *number).collect(),
        };
        let Some(pact) = &mut session.pact else { return };
        pact.records = Some(Box::new(records));
        if let Some(will) = past.record.will.take() {
            let publish = unpublished(&will.message);
            let at = will.at.unwrap_or(Millis(self.now.0.saturating_add(will.delay_ms)));
            pact.will_at = at.min(pact.until);
            let (expires_after_ms, delay_ms) = (will.expires_after_ms, will.delay_ms);
            pact.will = Some(Box::new(Will { publish, expires_after_ms, delay_ms }));
            if pact.will_at.0 < u64::MAX {
                self.wills.insert((pact.will_at, key));
            }
        }
        pact.last = flight.exchanges().last().map_or(0, |sent| sent.number);
        self.sessions.in_flight += flight.len_sent() as u64;
        flight.restart();
        let session = self.sessions.known_mut(key);
        let user = publisher(&self.bindings, session);
        let Some(pact) = &mut session.pact else { return };
        pact.flight = Some(Box::new(flight));
        let mut offers: Vec<_> = past.offers.into_iter().collect();
        offers.sort_unstable_by_key(|(_, (record, _))| *record);
        for (exchange, (mut record, message)) in offers {
            if let Some(message) = message.as_ref().filter(|_| past.has_moved) {
                let offer = Record::Offer { session: id, exchange, message: Arc::clone(message) };
                let old = std::mem::replace(&mut record, self.journal.keep(id.partition(), offer));
                self.journal.drop_record(id.partition(), old);
            }
            let state = match &message {
                Some(_) => OfferedState::Open(Vec::new()),
                None => OfferedState::Taken,
            };
            pact.rare.get_or_insert_default().taken.insert(exchange, Offered { record, state });
            if let Some(message) = message {
                let mut publish = unpublished(&message);
                publish.traits.user.clone_from(&user);
                let receipt = SessionReceipt {
                    shard: self.config.shard,
                    session: key,
                    id,
                    connection: u32::MAX,
                    exchange: Some(exchange),
                    request: 0,
                };
                publish.receipt = Some(Receipt::Session(receipt));
                self.delayed.insert(Millis(0), publish);
            }
        }
        pact.tidy();
        for number in late {
            self.journal.drop_record(id.partition(), number);
        }
    }
}
