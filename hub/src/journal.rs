//! What is kept beyond the life of the process, and what has to wait for it. Owns the numbers of records, the promises that
//! may not leave before the records they rest on are safe, and the count of those who have yet to say so.
//!
//! ```text
//!  a command --> records, numbered --> the caller, which writes them in order
//!            \-> promises, held            |
//!                      ^                   v
//!                      +------ Command::Kept: safe up to here
//! ```
//!
//! A promise waits for every record of this hub that came before it, its own among them: records are written in one order,
//! so that waiting for exactly those it rests on would save nothing. A hub without a journal keeps nothing and holds
//! nothing, and one that keeps queues only nothing else. It must not know what a record is good for. Start at
//! [`Journal::keep`] and [`Hub::promise`].

use crate::command::{Publish, Receipt};
use crate::effect::{Counts, Effect, Effects, Outcome, Refusal, Report};
use crate::had::Had;
use crate::hub::Hub;
use crate::hub_mail::{HubMail, ShareMail};
use crate::ids::{Millis, Partition, Position, SessionId, SessionKey, ShardId, Token, Topology};
use crate::message::{Message, MessageId, Outgoing};
use crate::queue::Leaving;
use crate::record::{Entry, OwedRecord, Place, Record};
use crate::session::Session;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// How long the number of a message of quality `ExactlyOnce` is kept after its client forgot it, so that a publisher's
/// record of it is gone by then. Milliseconds.
const GRAVE_MS: u64 = 10_000;

/// Changes, and bytes of messages in them, that may wait to be safe. Beyond either what is of quality `AtMostOnce` is not
/// kept any more until less waits: nobody waits for it, so that nothing else would hold its publishers back.
const BEHIND_MAX: u64 = 65_536;
const BEHIND_BYTES_MAX: u64 = 64 << 20;

/// What is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    Nothing,
    /// Queues, which cannot be without records; nothing else.
    Queues,
    Everything,
}

/// The records of one hub.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    scope: Scope,
    /// Number of the newest record of each partition that this hub owns, in their order.
    last: Vec<u64>,
    shards: u16,
    /// What the command being applied changes.
    entries: Vec<Entry>,
    /// Changes there ever were, and those that are safe.
    made: u64,
    safe: u64,
    /// Records that are not safe, each with the changes up to it.
    unsafe_records: VecDeque<(u64, Place)>,
    /// Bytes of messages in them: each with the changes up to it, and of all.
    unsafe_messages: VecDeque<(u64, u64)>,
    unsafe_bytes: u64,
    /// Number of the newest safe record of each partition, as `last`.
    last_safe: Vec<u64>,
    /// Names of sessions of which nothing is kept any more, and the changes up to then, while those are not safe.
    ending: BTreeMap<Arc<str>, u64>,
    endings: VecDeque<(u64, Arc<str>)>,
    /// Promises, each with the changes that come before it.
    held: VecDeque<(u64, Promise)>,
    watches: BTreeMap<u64, Watch>,
    last_watch: u64,
    /// Records to be dropped later.
    graves: VecDeque<(Millis, Place)>,
    /// From before the start: not yet taken in.
    pub(crate) recalled: Vec<(Place, Record)>,
    /// What the hubs before this one had.
    pub(crate) had: Option<Box<Had>>,
    /// Messages of share groups whose members had ended before the start: to go back at the next `Tick`.
    pub(crate) returning: Vec<(Place, Box<OwedRecord>)>,
}

/// What must not be said before it is true after a crash, too.
#[derive(Debug)]
pub(crate) enum Promise {
    /// To a session, on the connection that it had then.
    Effect(Box<SessionPromise>),
    /// To the back office.
    Report(Token, Box<Report>),
    /// One of those that a watch waits for.
    Watched(u64),
    /// Where a message goes on its way.
    Route(Box<Publish>),
    /// Of queues, to another hub or to the store.
    Queue(Leaving),
    /// To the home of a share group.
    Share(Box<ShareMail>),
    /// To another hub, which waits for this number.
    Known(ShardId, u64),
    /// One thing less that a session's admission waits for.
    Admission(SessionKey, SessionId),
}

/// See [`Promise::Effect`].
#[derive(Debug)]
pub(crate) struct SessionPromise {
    id: SessionId,
    connection: u32,
    effect: Effect,
}

/// Who waits until a message is kept wherever it is needed.
#[derive(Debug)]
struct Watch {
    /// How many have not said so.
    open: u32,
    then: Then,
}

/// What follows when a message is kept wherever it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// Its publisher hears of it.
    Acknowledge(Receipt, Outcome),
    /// The hub that sent it hears of it.
    Tell(ShardId, u64),
    /// The back office hears what has become of it here.
    Report(Token, Counts),
    /// The back office hears where it goes: to these shards, and to this place in the history.
    Routed(Token, u64, Option<Position>),
    /// The back office hears that a limit was in the way.
    Refuse(Token),
}

impl Journal {
    /// Begins: `last` are the numbers of the newest records there ever were.
    fn begin(&mut self, scope: Scope, topology: Topology, last: &[(Partition, u64)]) {
        let Topology { shards, partitions } = topology;
        self.scope = scope;
        self.shards = u16::from(shards);
        self.last = vec![0; usize::from(partitions.div_ceil(self.shards))];
        for (partition, number) in last {
            if let Some(place) = self.last.get_mut(usize::from(partition.0 / self.shards)) {
                *place = *number;
            }
        }
        self.last_safe.clone_from(&self.last);
    }

    /// Whether more is kept than queues.
    pub(crate) fn is_on(&self) -> bool {
        self.scope == Scope::Everything
    }

    pub(crate) fn has_queues(&self) -> bool {
        self.scope != Scope::Nothing
    }

    /// Number of the newest record of a partition; 0 = there was none.
    pub(crate) fn last(&self, partition: Partition) -> u64 {
        let last = self.last.get(usize::from(partition.0 / self.shards.max(1)));
        last.copied().unwrap_or_default()
    }

    /// Nothing waits here.
    pub(crate) fn is_idle(&self) -> bool {
        let is_over = self.graves.is_empty() && self.returning.is_empty() && self.endings.is_empty();
        is_over && self.held.is_empty() && self.watches.is_empty()
    }

    /// So many changes were made; see [`Hub::promise_after`].
    pub(crate) fn made(&self) -> u64 {
        self.made
    }

    /// Keeps a record in a partition of this hub. Its number; 0 when such records are not kept.
    pub(crate) fn keep(&mut self, partition: Partition, record: Record) -> u64 {
        if !self.is_on() && !matches!(record, Record::Queue(_)) {
            return 0;
        }
        let Some(last) = self.last.get_mut(usize::from(partition.0 / self.shards.max(1))) else { return 0 };
        *last += 1;
        let place = Place { partition, number: *last };
        self.made += 1;
        self.unsafe_records.push_back((self.made, place));
        let bytes = match &record {
            Record::Delivered(delivered) => delivered.message.len_bytes(),
            Record::History { message, .. } => message.len_bytes(),
            _ => 0,
        };
        if bytes > 0 {
            self.unsafe_bytes += bytes;
            self.unsafe_messages.push_back((self.made, bytes));
        }
        self.entries.push(Entry::Keep { place, record });
        place.number
    }

    /// Drops a record; number 0 is none.
    pub(crate) fn drop_record(&mut self, partition: Partition, number: u64) {
        if number > 0 {
            self.made += 1;
            self.entries.push(Entry::Drop(Place { partition, number }));
        }
    }

    /// Drops a record when it is old enough; see [`GRAVE_MS`].
    pub(crate) fn bury(&mut self, now: Millis, partition: Partition, number: u64) {
        if number > 0 {
            self.graves.push_back((Millis(now.0.saturating_add(GRAVE_MS)), Place { partition, number }));
        }
    }

    /// A message that may be published once more has been taken: that is remembered, and is not forgotten sooner than its
    /// publisher's record.
    pub(crate) fn keep_seen(&mut self, now: Millis, partition: Partition, message: MessageId) {
        let number = self.keep(partition, Record::Seen(message));
        self.bury(now, partition, number);
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let grave = self.graves.front().map(|(at, _)| *at);
        let had = self.had.as_ref().map(|had| had.until());
        let returning = (!self.returning.is_empty()).then_some(Millis(0));
        [grave, had, returning].into_iter().flatten().min()
    }

    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some((_, place)) = pop_if(&mut self.graves, |(at, _)| *at <= now) {
            self.drop_record(place.partition, place.number);
        }
        self.had.take_if(|had| had.until() <= now);
    }

    /// What the command changed, for the caller to write.
    pub(crate) fn hand_over(&mut self, effects: &mut Effects) {
        effects.entries.append(&mut self.entries);
    }

    /// Whether something that was promised now would have to wait.
    pub(crate) fn is_behind(&self) -> bool {
        self.made > self.safe
    }

    /// Whether so much waits to be safe that what nobody waits for is not kept.
    pub(crate) fn is_overloaded(&self) -> bool {
        self.made.saturating_sub(self.safe) > BEHIND_MAX || self.unsafe_bytes > BEHIND_BYTES_MAX
    }

    /// Whether a record of this hub is safe.
    pub(crate) fn is_safe(&self, partition: Partition, number: u64) -> bool {
        let safe = self.last_safe.get(usize::from(partition.0 / self.shards.max(1)));
        safe.is_none_or(|safe| number <= *safe)
    }

    /// So many changes are safe, since the hub was made.
    fn note_safe(&mut self, safe: u64) {
        self.safe = self.safe.max(safe);
        while let Some((_, place)) = pop_if(&mut self.unsafe_records, |(made, _)| *made <= self.safe) {
            if let Some(last) = self.last_safe.get_mut(usize::from(place.partition.0 / self.shards.max(1))) {
                *last = place.number;
            }
        }
        while let Some((_, bytes)) = pop_if(&mut self.unsafe_messages, |(made, _)| *made <= self.safe) {
            self.unsafe_bytes -= bytes;
        }
        while let Some((made, name)) = pop_if(&mut self.endings, |(made, _)| *made <= self.safe) {
            if self.ending.get(&name) == Some(&made) {
                self.ending.remove(&name);
            }
        }
    }

    /// Nothing is kept any more of the session of this name.
    pub(crate) fn note_end(&mut self, name: &Arc<str>) {
        self.ending.insert(Arc::clone(name), self.made);
        self.endings.push_back((self.made, Arc::clone(name)));
    }

    /// Whether a session of this name may be there again after a crash, although it has ended.
    pub(crate) fn is_ending(&self, name: &str) -> bool {
        self.ending.contains_key(name)
    }

    /// What is remembered of the hubs before this one.
    pub(crate) fn had(&mut self, now: Millis) -> &mut Had {
        self.had.get_or_insert_with(|| Box::new(Had::new(now)))
    }

    /// Whether a session was given this message before the start.
    pub(crate) fn has_had(&self, session: &SessionId, message: &Message) -> bool {
        self.had.as_ref().is_some_and(|had| had.has_session(session, message))
    }

    /// Waits for those that are added by [`Journal::watch_more`], and for the caller's own [`Promise::Watched`].
    pub(crate) fn watch(&mut self, then: Then) -> u64 {
        self.last_watch += 1;
        self.watches.insert(self.last_watch, Watch { open: 1, then });
        self.last_watch
    }

    /// What follows is known only now.
    pub(crate) fn watch_for(&mut self, watch: u64, then: Then) {
        if let Some(watch) = self.watches.get_mut(&watch) {
            watch.then = then;
        }
    }

    /// It cannot be kept everywhere: whoever waits hears that a limit was in the way.
    pub(crate) fn fail_watch(&mut self, watch: u64) {
        let Some(watch) = self.watches.get_mut(&watch) else { return };
        watch.then = match watch.then {
            Then::Acknowledge(receipt, _) => Then::Acknowledge(receipt, Outcome::Refused(Refusal::OverLimit)),
            Then::Report(token, _) | Then::Routed(token, ..) => Then::Refuse(token),
            then @ (Then::Tell(..) | Then::Refuse(_)) => then,
        };
    }

    /// One more that will say so.
    pub(crate) fn watch_more(&mut self, watch: u64) {
        if let Some(watch) = self.watches.get_mut(&watch) {
            watch.open += 1;
        }
    }

    /// See [`Hub::promise_to`].
    pub(crate) fn promise_to(&mut self, session: &Session, effect: Effect, list: &mut Vec<Effect>) {
        if !self.is_behind() || !session.is_kept() {
            return list.push(effect);
        }
        self.hold_for(session, effect);
    }

    /// Something that follows when all that was changed is safe.
    pub(crate) fn hold(&mut self, promise: Promise) {
        self.held.push_back((self.made, promise));
    }

    /// Says something to a session on its connection of now when all that was changed is safe.
    pub(crate) fn hold_for(&mut self, session: &Session, effect: Effect) {
        let connection = session.pact.as_ref().map_or(0, |pact| pact.connection);
        let promise = SessionPromise { id: session.id, connection, effect };
        self.hold(Promise::Effect(Box::new(promise)));
    }
}

/// The first, if it is one of those.
fn pop_if<T>(queue: &mut VecDeque<T>, is_it: impl FnOnce(&T) -> bool) -> Option<T> {
    queue.front().is_some_and(is_it).then(|| queue.pop_front()).flatten()
}

impl Hub {
    /// From now on what is of quality above `AtMostOnce`, and what channels retain, is kept: [`Effects::entries`] says what
    /// to write, and [`Command::Kept`](crate::Command::Kept) how much of it is safe. `last` are the numbers of the newest
    /// records there ever were, per partition, and `records` what is there, in order per partition; it is taken in by
    /// [`Hub::restore`]. For a hub that was just made.
    pub fn keep_journal(&mut self, last: &[(Partition, u64)], records: Vec<(Place, Record)>) {
        self.journal.begin(Scope::Everything, self.config.topology, last);
        for (place, record) in records {
            match record {
                Record::Queue(record) => self.queues.replay(place, record),
                Record::User { user, list } => self.recall_user(place, &user, &list),
                record => self.journal.recalled.push((place, record)),
            }
        }
    }

    /// The same of queues alone, of which there is none yet: the rest is as without a journal.
    pub fn keep_queues(&mut self) {
        self.journal.begin(Scope::Queues, self.config.topology, &[]);
    }

    /// So many changes are safe, since the hub was made.
    pub(crate) fn kept(&mut self, safe: u64, effects: &mut Effects) {
        self.journal.note_safe(safe);
        let safe = self.journal.safe;
        while let Some((_, promise)) = pop_if(&mut self.journal.held, |(after, _)| *after <= safe) {
            self.fulfil(promise, effects);
        }
    }

    /// Says something as soon as everything that was changed before is safe.
    pub(crate) fn promise(&mut self, promise: Promise, effects: &mut Effects) {
        let is_kept = self.journal.is_on() || matches!(promise, Promise::Queue(_));
        if is_kept && self.journal.is_behind() {
            self.journal.hold(promise);
        } else {
            self.fulfil(promise, effects);
        }
    }

    /// The same, unless nothing has changed since there were so many changes: then it is said at once.
    pub(crate) fn promise_after(&mut self, before: u64, promise: Promise, effects: &mut Effects) {
        if self.journal.made > before {
            self.promise(promise, effects);
        } else {
            self.fulfil(promise, effects);
        }
    }

    /// A promise to a session on its connection of now.
    pub(crate) fn promise_to(&mut self, key: SessionKey, effect: Effect, effects: &mut Effects) {
        self.journal.promise_to(self.sessions.known(key), effect, &mut effects.list);
    }

    /// Tells the back office.
    pub(crate) fn promise_report(&mut self, token: Token, report: Report, effects: &mut Effects) {
        self.promise(Promise::Report(token, Box::new(report)), effects);
    }

    fn fulfil(&mut self, promise: Promise, effects: &mut Effects) {
        match promise {
            Promise::Effect(promise) => self.fulfil_to(*promise, effects),
            Promise::Report(token, report) => effects.report(token, *report),
            Promise::Watched(watch) => self.watched(watch, effects),
            Promise::Route(publish) => self.route(*publish, effects),
            Promise::Queue(leaving) => self.let_go(leaving, effects),
            Promise::Share(mail) => self.tell_share(*mail, effects),
            Promise::Known(to, token) => {
                effects.list.push(Effect::Mail { to, mail: HubMail::InterestKnown { token } });
            }
            Promise::Admission(key, id) => self.release(key, id, effects),
        }
    }

    /// Nothing is said on another connection than the one it was for.
    fn fulfil_to(&mut self, promise: SessionPromise, effects: &mut Effects) {
        let SessionPromise { id, connection, effect } = promise;
        let Some(session) = self.sessions.key_of(&id).map(|key| self.sessions.known_mut(key)) else { return };
        if !session.is_connected() || session.closing {
            return;
        }
        let Some(pact) = session.pact.as_mut().filter(|pact| pact.connection == connection) else { return };
        if let (Effect::Send { item: Outgoing::Message { grade, .. }, .. }, Some(flight)) =
            (&effect, &mut pact.flight)
        {
            flight.left_late(grade.number);
        }
        effects.list.push(effect);
    }

    /// One of those that a watch waits for has said that the message is kept.
    pub(crate) fn watched(&mut self, number: u64, effects: &mut Effects) {
        let Some(watch) = self.journal.watches.get_mut(&number) else { return };
        watch.open -= 1;
        if watch.open > 0 {
            return;
        }
        let then = watch.then;
        self.journal.watches.remove(&number);
        match then {
            Then::Acknowledge(receipt, outcome) => self.acknowledge(Some(receipt), outcome, effects),
            Then::Tell(to, watch) if to == self.config.shard => self.watched(watch, effects),
            Then::Tell(to, watch) => {
                effects.list.push(Effect::Mail { to, mail: HubMail::Stored { watch } });
            }
            Then::Report(token, counts) => self.report_delivered(Some(token), counts, 0, effects),
            Then::Routed(token, shards, position) => {
                effects.report(token, Report::Routed { shards, position });
            }
            Then::Refuse(token) => effects.refuse(token, Refusal::OverLimit),
        }
    }
}
