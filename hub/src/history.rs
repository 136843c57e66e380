//! What channels keep for those who come later: bounded by number, age and bytes of all together.
//! Owns positions; knows nothing of who reads. Where the rule says so a message is kept in the journal, too, as long as it is
//! here; then nobody reads it before that is safe, since a crash could give its position to another one.

use crate::command::{Order, ReadFrom, Span};
use crate::effect::{Effects, Page, Refusal, Report};
use crate::hub::Hub;
use crate::hub_mail::HistoryPage;
use crate::ids::{ChannelName, Millis, Partition, Position, Token, Topology};
use crate::journal::Journal;
use crate::limits::HistoryRule;
use crate::message::{Message, Quality};
use crate::record::{Place, Record};
use crate::roster::RosterKey;
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

/// How long an empty history that somebody asked about is kept without subscribers, so that a client that was cut off finds what
/// was published meanwhile. Milliseconds.
const AWAITED_MS: u64 = 120_000;

/// Places that are remembered of histories that ran empty and went, in one hub: some 1 MB. Beyond it the oldest is forgotten, and
/// whoever comes back to that channel is told of a gap, although nothing need be missing.
const ENDED_MAX: usize = 16_384;

/// One channel's history. No position names two messages: its epoch ends with the process, and with the history, unless that goes
/// on from where it ran empty.
#[derive(Debug)]
pub(crate) struct History {
    /// Of its channel.
    partition: Partition,
    epoch: u64,
    /// Offset of the newest message there ever was.
    newest: u64,
    kept: VecDeque<Kept>,
    /// Whether `Histories::expiries` holds a time at which to look at it.
    is_scheduled: bool,
}

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    /// When it is too old.
    until: Millis,
    /// Of its record, in the log of the channel's partition; 0 = none, as of all of a history that is not kept there.
    record: u64,
}

/// What all histories of a hub share.
#[derive(Debug)]
pub(crate) struct Histories {
    /// Of the history made last; the first is the hub's.
    epoch: u64,
    bytes: u64,
    expiries: BTreeSet<(Millis, RosterKey)>,
    ended: Ended,
    topology: Topology,
}

/// Where histories stood that ran empty and went, so that their positions stay good: whoever has seen the last message misses
/// nothing. The name of a channel is a hash here. Should two have the same, one of them begins a new epoch, which is never wrong.
#[derive(Debug)]
struct Ended {
    hasher: FixedState,
    /// With when it went.
    places: BTreeMap<u64, (Position, u64)>,
    /// In the order in which they went.
    order: BTreeMap<u64, u64>,
}

impl Ended {
    fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed), places: BTreeMap::new(), order: BTreeMap::new() }
    }

    fn find(&self, channel: &ChannelName) -> Option<Position> {
        self.places.get(&self.hasher.hash_one(channel.as_str())).map(|(place, _)| *place)
    }

    fn take(&mut self, channel: &ChannelName) -> Option<Position> {
        let (place, at) = self.places.remove(&self.hasher.hash_one(channel.as_str()))?;
        self.order.remove(&at);
        Some(place)
    }

    fn put(&mut self, channel: &ChannelName, place: Position) {
        self.take(channel);
        let (hash, at) = (self.hasher.hash_one(channel.as_str()), self.order.last_key_value());
        let at = at.map_or(0, |(last, _)| last + 1);
        self.places.insert(hash, (place, at));
        self.order.insert(at, hash);
        if self.order.len() > ENDED_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.places.remove(&oldest);
        }
    }
}

impl History {
    /// Offset of the newest message that may be read.
    fn readable(&self, journal: &Journal) -> u64 {
        let is_doubtful = |kept: &&Kept| !journal.is_safe(self.partition, kept.record);
        self.newest - self.kept.iter().rev().take_while(is_doubtful).count() as u64
    }

    fn newest_position(&self, journal: &Journal) -> Option<Position> {
        let offset = self.readable(journal);
        (offset > 0).then_some(Position { epoch: self.epoch, offset })
    }

    fn pop(&mut self, histories: &mut Histories, journal: &mut Journal) -> bool {
        let Some(oldest) = self.kept.pop_front() else { return false };
        histories.bytes -= oldest.message.len_bytes();
        journal.drop_record(self.partition, oldest.record);
        if self.kept.capacity() > 16 && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
        true
    }

    /// Offset of the oldest message kept; one more than `newest` when there is none.
    fn oldest(&self) -> u64 {
        self.newest + 1 - self.kept.len() as u64
    }

    /// Of the message of an offset, if it is here.
    fn epoch_at(&self, offset: u64) -> Option<u64> {
        let at = usize::try_from(offset.checked_sub(self.oldest())?).ok()?;
        self.kept.get(at)?.message.position.map(|position| position.epoch)
    }

    /// The position that leads to the message of an offset, or to the next one.
    fn before(&self, offset: u64) -> Position {
        Position { epoch: self.epoch_at(offset).unwrap_or(self.epoch), offset: offset - 1 }
    }

    /// Whether everything behind a position is here. After a crash the epoch is another one from some message on: a position is
    /// good if it is that message's, or leads to the next.
    fn reaches(&self, after: Position) -> bool {
        let own = self.epoch_at(after.offset);
        if after.offset >= self.newest {
            return after.offset == self.newest && (after.epoch == self.epoch || own == Some(after.epoch));
        }
        let next = self.epoch_at(after.offset + 1);
        next.is_some() && (next == Some(after.epoch) || own == Some(after.epoch))
    }

    /// Whether a position is one that a message had, or had in this epoch or that of the oldest.
    fn knows(&self, place: Position) -> bool {
        let own = self.epoch_at(place.offset).or_else(|| self.epoch_at(self.oldest()));
        place.offset <= self.newest && (place.epoch == self.epoch || own == Some(place.epoch))
    }

    /// At most so many of the messages between two places, both of them left out, up to `readable`.
    fn page(&self, span: &Span, readable: u64) -> Result<Page<Arc<Message>>, Refusal> {
        let oldest = self.oldest();
        let from = match span.after {
            None => oldest,
            Some(after) if self.reaches(after) => after.offset + 1,
            Some(_) => return Err(Refusal::PositionLost),
        };
        let end = match span.before {
            None => readable + 1,
            Some(before) if !self.knows(before) => return Err(Refusal::PositionLost),
            Some(before) => before.offset.min(readable + 1),
        };
        let skip = usize::try_from(from - oldest).unwrap_or(usize::MAX);
        let count = usize::try_from(end.saturating_sub(from)).unwrap_or(usize::MAX);
        let between = self.kept.iter().skip(skip).take(count).map(|kept| Arc::clone(&kept.message));
        let limit = span.limit as usize;
        let items: Vec<Arc<Message>> = match span.order {
            Order::OldestFirst => between.take(limit).collect(),
            Order::NewestFirst => between.rev().take(limit).collect(),
        };
        let is_there = self.kept.len().saturating_sub(skip).min(count);
        Ok(Page { more: is_there > items.len(), items })
    }
}

impl Histories {
    pub(crate) fn new(epoch: u64, topology: Topology) -> Self {
        Self { epoch, bytes: 0, expiries: BTreeSet::new(), ended: Ended::new(epoch), topology }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.expiries.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Without messages; it goes on where the one before ran empty, if that is known.
    fn new_history(&mut self, channel: &ChannelName) -> Box<History> {
        let place = self.ended.take(channel).unwrap_or_else(|| {
            self.epoch = self.epoch.wrapping_add(1);
            Position { epoch: self.epoch, offset: 0 }
        });
        Box::new(self.empty(channel, place))
    }

    fn empty(&self, channel: &ChannelName, Position { epoch, offset: newest }: Position) -> History {
        let partition = channel.partition(&self.topology);
        History { partition, epoch, newest, kept: VecDeque::new(), is_scheduled: false }
    }

    /// Of a channel that has no history: the empty one that it would have, if where that stood is known.
    fn ended_history(&self, channel: &ChannelName) -> Option<History> {
        self.ended.find(channel).map(|place| self.empty(channel, place))
    }

    /// Something is published on a channel that has no history, and is not kept: whoever comes back misses it.
    pub(crate) fn forget_ended(&mut self, channel: &ChannelName) {
        self.ended.take(channel);
    }
}

impl Hub {
    /// The position of the message that is kept next.
    pub(crate) fn next_position(&mut self, key: RosterKey) -> Position {
        let (roster, histories) = (self.rosters.known_mut(key), &mut self.histories);
        let was_listed = roster.is_listed();
        let history = roster.history.get_or_insert_with(|| histories.new_history(&roster.name));
        let position = Position { offset: history.newest + 1, epoch: history.epoch };
        self.rosters.listed += u32::from(!was_listed);
        position
    }

    /// Keeps the message that `next_position` was for.
    pub(crate) fn keep(&mut self, key: RosterKey, rule: HistoryRule, message: Arc<Message>) {
        let until = Millis(self.now.0.saturating_add(rule.age_ms_max));
        let Some(history) = &mut self.rosters.known_mut(key).history else { return };
        let mut record = 0;
        if rule.durable {
            let kept = Record::History { until, message: Arc::clone(&message) };
            record = self.journal.keep(history.partition, kept);
        }
        history.newest += 1;
        self.histories.bytes += message.len_bytes();
        history.kept.push_back(Kept { message, until, record });
        self.bound_history(key, rule);
    }

    /// What nobody waits for is not kept while very much waits for the disk. It has no position then: one that is in no
    /// record would be a hole after a crash, and what lies before a hole is lost.
    pub(crate) fn skips(&self, rule: HistoryRule, message: &Message) -> bool {
        let may_skip = rule.durable && message.traits.quality == Quality::AtMostOnce;
        may_skip && self.journal.is_on() && self.journal.is_overloaded()
    }

    fn bound_history(&mut self, key: RosterKey, rule: HistoryRule) {
        let (histories, limits) = (&mut self.histories, &self.config.limits);
        let Some(history) = &mut self.rosters.known_mut(key).history else { return };
        while history.kept.len() > rule.messages_max as usize || histories.bytes > limits.history_bytes_max {
            if !history.pop(histories, &mut self.journal) {
                break;
            }
        }
        schedule(histories, history, key);
        self.drop_empty_history(key);
        self.rosters.remove_if_unused(key);
    }

    /// Histories of earlier hubs go on, under the rules of this one, and with another epoch: what a crash took had positions, too,
    /// and who has seen those must not take what comes now for it. Of a channel whose records have a hole, the newest part counts.
    pub(crate) fn recall_histories(&mut self, records: Vec<(Place, Millis, Arc<Message>)>) {
        let mut channels: BTreeMap<ChannelName, Vec<(Place, Millis, Arc<Message>)>> = BTreeMap::new();
        for record in records {
            channels.entry(record.2.channel.clone()).or_default().push(record);
        }
        for (channel, records) in channels {
            let rule = self.rosters.rule(channel.as_str()).and_then(|rule| rule.history);
            match rule.filter(|rule| rule.durable) {
                Some(rule) => self.recall_history(&channel, rule, records),
                None => records.iter().for_each(|(place, ..)| {
                    self.journal.drop_record(place.partition, place.number);
                }),
            }
        }
    }

    fn recall_history(
        &mut self,
        channel: &ChannelName,
        rule: HistoryRule,
        records: Vec<(Place, Millis, Arc<Message>)>,
    ) {
        let Some((Place { partition, .. }, _, newest)) = records.last() else { return };
        let (partition, Some(newest)) = (*partition, newest.position) else { return };
        let key = self.rosters.find_or_insert(channel.as_str());
        let roster = self.rosters.known_mut(key);
        let was_listed = roster.is_listed();
        let mut kept = VecDeque::new();
        let mut next = newest.offset;
        for (place, until, message) in records.into_iter().rev() {
            if message.position.is_some_and(|position| position.offset == next) {
                next = next.saturating_sub(1);
                self.histories.bytes += message.len_bytes();
                kept.push_front(Kept { message, until, record: place.number });
            } else {
                self.journal.drop_record(place.partition, place.number);
            }
        }
        self.histories.epoch = self.histories.epoch.wrapping_add(1);
        let (epoch, newest) = (self.histories.epoch, newest.offset);
        roster.history = Some(Box::new(History { partition, epoch, newest, kept, is_scheduled: false }));
        self.rosters.listed += u32::from(!was_listed);
        self.bound_history(key, rule);
    }

    pub(crate) fn trim_histories(&mut self) {
        while let Some((at, key)) = self.histories.expiries.first().copied().filter(|(at, _)| *at <= self.now)
        {
            self.histories.expiries.remove(&(at, key));
            self.trim_history(key);
            self.drop_empty_history(key);
            self.rosters.remove_if_unused(key);
        }
    }

    fn trim_history(&mut self, key: RosterKey) {
        let Some(history) = &mut self.rosters.known_mut(key).history else { return };
        history.is_scheduled = false;
        while history.kept.front().is_some_and(|oldest| oldest.until <= self.now) {
            history.pop(&mut self.histories, &mut self.journal);
        }
        schedule(&mut self.histories, history, key);
    }

    /// A history without messages lives on while somebody is subscribed. Then only where it stood is remembered, so that positions
    /// that are known stay good.
    pub(crate) fn drop_empty_history(&mut self, key: RosterKey) {
        let roster = self.rosters.known_mut(key);
        let is_empty = |history: &mut Box<History>| history.kept.is_empty() && !history.is_scheduled;
        if roster.is_unwanted_here()
            && roster.wanted == 0
            && let Some(history) = roster.history.take_if(is_empty)
        {
            let place = Position { epoch: history.epoch, offset: history.newest };
            self.histories.ended.put(&roster.name, place);
            self.rosters.listed -= 1;
        }
    }

    /// Of the newest message that may be read.
    pub(crate) fn newest_position(&self, key: RosterKey) -> Option<Position> {
        self.rosters.known(key).history.as_deref()?.newest_position(&self.journal)
    }

    /// The back end takes away what a channel keeps: everything, so that a later message begins a new epoch, or what is older
    /// than a place.
    pub(crate) fn drop_history(
        &mut self,
        channel: &ChannelName,
        before: Option<Position>,
    ) -> Result<u64, Refusal> {
        let key = self.rosters.find(channel.as_str());
        let has_one = |key: &RosterKey| self.rosters.known(*key).history.is_some();
        let Some(key) = key.filter(has_one) else {
            if before.is_some() {
                return Err(Refusal::PositionLost);
            }
            self.histories.forget_ended(channel);
            return Ok(0);
        };
        let roster = self.rosters.known_mut(key);
        let was_listed = roster.is_listed();
        let Some(history) = roster.history.as_deref_mut() else { return Ok(0) };
        let end = match before {
            Some(before) if !history.knows(before) => return Err(Refusal::PositionLost),
            Some(before) => before.offset,
            None => history.newest + 1,
        };
        let mut dropped = 0;
        while history.oldest() < end && history.pop(&mut self.histories, &mut self.journal) {
            dropped += 1;
        }
        if before.is_none() {
            roster.history = None;
            self.rosters.listed -= u32::from(was_listed && !self.rosters.known(key).is_listed());
            self.histories.expiries.retain(|(_, scheduled)| *scheduled != key);
            self.rosters.remove_if_unused(key);
        }
        Ok(dropped)
    }

    /// A part of a history that exists, for a session: what is not safe yet too, as it gets that live. An empty history is kept for a
    /// while, so that a reader that comes back soon finds its position good.
    pub(crate) fn read_history(
        &mut self,
        key: RosterKey,
        rule: HistoryRule,
        read: (ReadFrom, u32),
    ) -> HistoryPage {
        let (from, limit) = read;
        let Some(history) = &mut self.rosters.known_mut(key).history else { return HistoryPage::default() };
        if history.kept.is_empty() && !history.is_scheduled {
            let until = self.now.0.saturating_add(AWAITED_MS.min(rule.age_ms_max));
            history.is_scheduled = self.histories.expiries.insert((Millis(until), key));
        }
        let newest = Position { epoch: history.epoch, offset: history.newest };
        let after = match from {
            ReadFrom::After(after) => after,
            ReadFrom::Retained => return HistoryPage::default(),
            ReadFrom::Last(count) => {
                history.before(newest.offset + 1 - u64::from(count).min(history.kept.len() as u64))
            }
        };
        let earliest = Some(history.before(history.oldest()));
        let known = HistoryPage { newest: Some(newest), earliest, ..HistoryPage::default() };
        match history.page(&Span::after(Some(after), limit), newest.offset) {
            Ok(page) => HistoryPage { messages: page.items, more: page.more, ..known },
            Err(_) => HistoryPage { is_lost: true, ..known },
        }
    }

    pub(crate) fn query_history(
        &self,
        token: Token,
        channel: &ChannelName,
        span: &Span,
        effects: &mut Effects,
    ) {
        let key = self.rosters.find(channel.as_str());
        let history = key.and_then(|key| self.rosters.known(key).history.as_deref());
        let ended = if history.is_none() { self.histories.ended_history(channel) } else { None };
        let history = history.or(ended.as_ref());
        let page = match history {
            Some(history) => history.page(span, history.readable(&self.journal)),
            None if span.after.or(span.before).is_none() => Ok(Page { items: Vec::new(), more: false }),
            None => Err(Refusal::PositionLost),
        };
        let newest = history.and_then(|history| history.newest_position(&self.journal));
        match page {
            Ok(page) => effects.report(token, Report::History(page, newest)),
            Err(refusal) => effects.refuse(token, refusal),
        }
    }
}

/// At most one time per history, when its oldest message gets too old or earlier.
fn schedule(histories: &mut Histories, history: &mut History, key: RosterKey) {
    let Some(oldest) = history.kept.front().filter(|_| !history.is_scheduled) else { return };
    if oldest.until.0 < u64::MAX {
        history.is_scheduled = histories.expiries.insert((oldest.until, key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(number: usize) -> ChannelName {
        ChannelName::parse(&format!("kept/{number}"), 100).unwrap()
    }

    #[test]
    fn of_very_many_that_ended_the_oldest_is_forgotten() {
        let mut ended = Ended::new(7);
        let place = |offset: usize| Position { epoch: 1, offset: offset as u64 };
        (0..ENDED_MAX).for_each(|n| ended.put(&channel(n), place(n)));
        // It ends anew: another one is the oldest now.
        ended.put(&channel(0), place(9));
        assert_eq!(ended.find(&channel(1)), Some(place(1)));
        ended.put(&channel(ENDED_MAX), place(ENDED_MAX));
        assert_eq!((ended.find(&channel(1)), ended.find(&channel(0))), (None, Some(place(9))));
        assert_eq!(ended.take(&channel(ENDED_MAX)), Some(place(ENDED_MAX)));
        assert_eq!((ended.places.len(), ended.order.len()), (ENDED_MAX - 1, ENDED_MAX - 1));
    }
}
