//! What is left after a crash, by the plain reading of `hub::Record`: of several of one thing the newest counts, and nothing of
//! a session that there is no record of.

use crate::store::Store;
use hub::{Entry, Millis, OwedRecord, Partition, Place, Quality, Record, SessionId, SessionRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is left after a crash.
#[derive(Default)]
pub struct Remains {
    pub sessions: BTreeMap<SessionId, RemainingSession>,
    /// The newest value of each channel, if it is not empty, and all that are there.
    pub retained: BTreeMap<String, usize>,
    pub values: BTreeSet<usize>,
    /// Messages that are to be published, when, and in which partition they are kept.
    pub due: Vec<(usize, Millis, Partition)>,
    /// Messages that groups are to get anew, since the member that had them is gone.
    pub returned: BTreeSet<(String, usize)>,
}

#[derive(Default)]
pub struct RemainingSession {
    pub record: Option<SessionRecord>,
    /// Of subscriptions and groups.
    pub labels: BTreeSet<u32>,
    pub owed: Vec<Owing>,
    /// Numbers of messages that the client has.
    pub used: BTreeSet<u16>,
    /// Messages under the client's numbers that are on their way, in the order of their records.
    pub offers: Vec<(u16, usize)>,
}

pub struct Owing {
    pub message: usize,
    pub quality: Quality,
    pub group: Option<String>,
}

/// The place of a message in the ledger; each time it is offered it has another id.
pub fn name_of(id: hub::MessageId) -> usize {
    (id.0 & 0xffff_ffff) as usize
}

/// The messages to be published that are safe once this is written.
pub fn due_in(written: &[Entry]) -> Vec<usize> {
    let due = |entry: &Entry| match entry {
        Entry::Keep { record: Record::Due { message, .. }, .. } => Some(name_of(message.id)),
        _ => None,
    };
    written.iter().filter_map(due).collect()
}

impl Store {
    /// Nothing but values is left.
    pub fn has_values_only(&self) -> bool {
        self.safe.values().all(|record| matches!(record, Record::Retained(_)))
    }

    pub fn is_empty(&self) -> bool {
        self.safe.is_empty()
    }

    /// All times are so much later, or earlier, on the next clock.
    pub fn move_times(&mut self, moved: impl Fn(Millis) -> Millis) {
        for record in self.safe.values_mut() {
            match record {
                Record::Session(session) => {
                    session.since = moved(session.since);
                    session.until = session.until.map(&moved);
                    if let Some(will) = &mut session.will {
                        will.at = will.at.map(&moved);
                    }
                }
                Record::Owed(owed) => move_end(&mut owed.message, &moved),
                Record::Offer { message, .. } | Record::Retained(message) => move_end(message, &moved),
                Record::Due { at, message } => {
                    *at = moved(*at);
                    move_end(message, &moved);
                }
                Record::Subscription { .. } | Record::Share { .. } => {}
                Record::Used { .. } | Record::Taken { .. } | Record::Seen(_) => {}
                Record::User { .. } => {}
                Record::Queue(_) => unreachable!("there are no queues here"),
                Record::History { .. } => unreachable!("no channel has a history here"),
                Record::Log(_)
                | Record::Resumable(_)
                | Record::Span { .. }
                | Record::Delivered(_)
                | Record::Mark { .. } => unreachable!("every session bears a name of its own here"),
            }
        }
    }

    pub fn remains(&self) -> Remains {
        let mut remains = Remains::default();
        for record in self.safe.values() {
            if let Record::Session(session) = record {
                let others = remains.sessions.values().filter_map(|other| other.record.as_ref());
                let is_only =
                    others.clone().all(|other| other.id == session.id || other.name != session.name);
                assert!(is_only, "two sessions of one name");
                remains.sessions.entry(session.id).or_default().record = Some((**session).clone());
            }
        }
        let mut newest = Newest::default();
        for record in self.safe.iter() {
            newest.take(record);
        }
        newest.fill(&mut remains);
        remains
    }
}

fn move_end(message: &mut Arc<hub::Message>, moved: &impl Fn(Millis) -> Millis) {
    if let Some(expires) = message.traits.expires {
        Arc::make_mut(message).traits.expires = Some(moved(expires));
    }
}

/// The records that count, by what they are about.
#[derive(Default)]
struct Newest<'a> {
    labels: BTreeMap<(SessionId, bool, &'a str), u32>,
    /// Exchanges, and the owed messages among them.
    numbers: BTreeMap<(SessionId, u16), Option<&'a OwedRecord>>,
    offers: BTreeMap<(SessionId, u16), (u64, Option<usize>)>,
    values: BTreeMap<&'a str, &'a hub::Message>,
    all_values: BTreeSet<usize>,
    due: Vec<(usize, Millis, Partition)>,
    returned: Vec<&'a OwedRecord>,
}

impl<'a> Newest<'a> {
    fn take(&mut self, (place, record): (&Place, &'a Record)) {
        match record {
            Record::Session(_) | Record::Queue(_) | Record::History { .. } => {}
            Record::Log(_) | Record::Resumable(_) | Record::Span { .. } => {}
            Record::Delivered(_) | Record::Mark { .. } | Record::User { .. } => {}
            Record::Subscription { session, name, options } => {
                self.labels.insert((*session, false, name), options.label);
            }
            Record::Share { session, group, options } => {
                self.labels.insert((*session, true, group), options.label);
            }
            Record::Owed(owed) if owed.number == 0 => self.returned.push(owed),
            Record::Owed(owed) => {
                self.numbers.insert((owed.session, owed.number), Some(owed));
            }
            Record::Used { session, number, .. } => {
                self.numbers.insert((*session, *number), None);
            }
            Record::Offer { session, exchange, message } => {
                let offer = (place.number, Some(name_of(message.id)));
                self.offers.insert((*session, *exchange), offer);
            }
            Record::Taken { session, exchange } => {
                self.offers.insert((*session, *exchange), (place.number, None));
            }
            Record::Due { at, message } => self.due.push((name_of(message.id), *at, place.partition)),
            Record::Retained(message) => {
                self.values.insert(message.channel.as_str(), message);
                self.all_values.insert(name_of(message.id));
            }
            Record::Seen(message) => {
                self.all_values.insert(name_of(*message));
            }
        }
    }

    fn fill(self, remains: &mut Remains) {
        for ((id, _, _), label) in self.labels {
            if let Some(session) = remains.sessions.get_mut(&id) {
                session.labels.insert(label);
            }
        }
        for ((id, number), owed) in self.numbers {
            let Some(session) = remains.sessions.get_mut(&id) else { continue };
            match owed {
                Some(owed) => session.owed.push(Owing {
                    message: name_of(owed.message.id),
                    quality: owed.quality,
                    group: owed.group.as_deref().map(str::to_owned),
                }),
                None => {
                    session.used.insert(number);
                }
            }
        }
        let mut offers: Vec<_> = self.offers.into_iter().collect();
        offers.sort_unstable_by_key(|((id, _), (place, _))| (*id, *place));
        for ((id, exchange), (_, message)) in offers {
            if let (Some(session), Some(message)) = (remains.sessions.get_mut(&id), message) {
                session.offers.push((exchange, message));
            }
        }
        let values = self.values.into_iter().filter(|(_, message)| message.len_bytes() > 0);
        remains.retained =
            values.map(|(channel, message)| (channel.to_owned(), name_of(message.id))).collect();
        remains.values = self.all_values;
        remains.due = self.due;
        for owed in self.returned {
            let group = owed.group.as_deref().unwrap().to_owned();
            if !remains.sessions.contains_key(&owed.session) {
                remains.returned.insert((group, name_of(owed.message.id)));
            }
        }
    }
}
