//! What a node of hubs has written: records that are safe, and for each hub the changes that are on their way to them. It
//! says what is left after a crash by the plain reading of `hub::Record`: of several of one thing the newest counts, and
//! nothing of a session that there is no record of.

use crate::rng::Rng;
use hub::{Entry, Millis, OwedRecord, Partition, Place, Quality, Record, SessionId, SessionRecord, Topology};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

pub struct Store {
    topology: Topology,
    safe: BTreeMap<Place, Record>,
    /// Number of the newest record there ever was.
    last: BTreeMap<Partition, u64>,
    queues: Vec<Queue>,
}

/// Changes of one hub, counted since it was made.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Entry>,
    written: u64,
    told: u64,
}

/// Numbers of the newest records there ever were, and what is there.
pub type Kept = (Vec<(Partition, u64)>, Vec<(Place, Record)>);

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

impl Store {
    pub fn new(topology: Topology) -> Self {
        let queues = (0..topology.shards).map(|_| Queue::default()).collect();
        Self { topology, safe: BTreeMap::new(), last: BTreeMap::new(), queues }
    }

    /// A hub has changed something.
    pub fn take(&mut self, shard: usize, entries: Vec<Entry>) {
        self.queues[shard].waiting.extend(entries);
    }

    pub fn waiting(&self, shard: usize) -> usize {
        self.queues[shard].waiting.len()
    }

    pub fn made(&self, shard: usize) -> u64 {
        let queue = &self.queues[shard];
        queue.written + queue.waiting.len() as u64
    }

    pub fn is_quiet(&self) -> bool {
        self.queues.iter().all(|queue| queue.waiting.is_empty() && queue.told == queue.written)
    }

    /// Nothing but values is left.
    pub fn has_values_only(&self) -> bool {
        self.safe.values().all(|record| matches!(record, Record::Retained(_)))
    }

    pub fn is_empty(&self) -> bool {
        self.safe.is_empty()
    }

    /// Writes so many of the oldest changes of a hub. Returns the messages to be published that are safe by that.
    pub fn write(&mut self, shard: usize, count: usize) -> Vec<usize> {
        let mut due = Vec::new();
        for entry in self.queues[shard].waiting.drain(..count).collect::<Vec<_>>() {
            self.queues[shard].written += 1;
            match entry {
                Entry::Keep { place, record } => {
                    assert_eq!(usize::from(self.topology.owner(place.partition).0), shard, "another's log");
                    let last = self.last.entry(place.partition).or_default();
                    assert_eq!(place.number, *last + 1, "a hole, or a number twice");
                    *last = place.number;
                    if let Record::Due { message, .. } = &record {
                        due.push(name_of(message.id));
                    }
                    self.safe.insert(place, record);
                }
                Entry::Drop(place) => {
                    assert!(self.safe.remove(&place).is_some(), "{place:?} is dropped twice");
                }
            }
        }
        due
    }

    /// How much is safe, to be told to a hub; `None` if it was told.
    pub fn news(&mut self, shard: usize) -> Option<u64> {
        let queue = &mut self.queues[shard];
        let is_news = queue.told < queue.written;
        queue.told = queue.written;
        is_news.then_some(queue.written)
    }

    /// Of each hub's changes a part has arrived, the rest is lost.
    pub fn crash(&mut self, rng: &mut Rng) -> Vec<usize> {
        let mut due = Vec::new();
        for shard in 0..self.queues.len() {
            let arrived = rng.below(self.waiting(shard) as u64 + 1) as usize;
            due.extend(self.write(shard, arrived));
            self.queues[shard] = Queue::default();
        }
        due
    }

    /// New hubs count from the start.
    pub fn begin(&mut self) {
        assert!(self.is_quiet(), "something was not written");
        self.queues.iter_mut().for_each(|queue| *queue = Queue::default());
    }

    /// What a new hub is made with.
    pub fn records_of(&self, shard: usize) -> Kept {
        let is_own = |partition: Partition| usize::from(self.topology.owner(partition).0) == shard;
        let last = self.last.iter().filter(|(partition, _)| is_own(**partition));
        let records = self.safe.iter().filter(|(place, _)| is_own(place.partition));
        let last = last.map(|(partition, number)| (*partition, *number)).collect();
        (last, records.map(|(place, record)| (*place, record.clone())).collect())
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
            Record::Delivered(_) | Record::Mark { .. } => {}
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
