//! The value that a channel retains: the newest message published to be kept, for who subscribes later. Owns the values
//! of the channels this hub is home of, their bounds, and the walk over them for one session.
//!
//! A walk goes on page by page, each asked for when the session has a place, so that a filter that matches very many channels
//! costs memory for one page. Since the session is subscribed before the walk begins, a value may come by both ways; what
//! it got live meanwhile is left out of the walk. It must not know how a session gets what it is given: that is
//! `exchange`'s business.

use crate::command::Receipt;
use crate::effect::{Effect, Effects, Refusal};
use crate::filter::{filter_matches, is_filter};
use crate::flight::{Parcel, Source};
use crate::hub::Hub;
use crate::hub_mail::{HubMail, Walk};
use crate::ids::{ChannelName, Millis, SessionKey, ShardId};
use crate::interest::shards_in;
use crate::limits::Limits;
use crate::message::{Grade, Message, MessageId, Quality};
use crate::pact::Pact;
use crate::record::Record;
use crate::session::{Session, State};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// Values in one page.
const PAGE: usize = 32;

/// Channels looked at for one page, so that a filter that matches few of very many does not hold up the shard.
const LOOKS: usize = 2_048;

/// Live values remembered while a session walks; of older ones than these the client may get one twice.
const SEEN_MAX: usize = 1_024;

/// All values of one hub's channels.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    values: BTreeMap<ChannelName, Value>,
    /// When values with an end go.
    expiries: BTreeSet<(Millis, ChannelName)>,
    /// Of bodies.
    bytes: u64,
}

/// What a channel retains.
#[derive(Debug)]
struct Value {
    message: Arc<Message>,
    /// Number of the record that keeps it, in the log of the channel's partition; 0 = none.
    record: u64,
    /// It may be published once more after a crash, when another value is newer.
    may_repeat: bool,
}

impl Retained {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Whether a message can be kept as its channel's value.
    ///
    /// # Errors
    /// `OverLimit` when a value more, or so many bytes more, cannot be kept; the old value stays.
    pub(crate) fn check(&self, message: &Message, limits: &Limits) -> Result<(), Refusal> {
        if !message.traits.retain || message.body.len_bytes() == 0 {
            return Ok(());
        }
        let old = self.values.get(&message.channel).map(|old| old.message.len_bytes());
        let over = self.bytes - old.unwrap_or(0) + message.len_bytes() > limits.retained_bytes_max
            || (old.is_none() && self.values.len() >= limits.retained_max as usize);
        if over { Err(Refusal::OverLimit) } else { Ok(()) }
    }

    /// Keeps a message that was checked as its channel's value, which has none.
    fn insert(&mut self, value: Value) {
        let message = &value.message;
        self.bytes += message.len_bytes();
        if let Some(at) = message.traits.expires {
            self.expiries.insert((at, message.channel.clone()));
        }
        self.values.insert(message.channel.clone(), value);
    }

    /// Takes a value away, if there is one.
    fn take(&mut self, channel: &ChannelName) -> Option<Value> {
        let value = self.values.remove(channel)?;
        self.bytes -= value.message.len_bytes();
        if let Some(at) = value.message.traits.expires {
            self.expiries.remove(&(at, channel.clone()));
        }
        Some(value)
    }

    pub(crate) fn value(&self, channel: &ChannelName, now: Millis) -> Option<&Arc<Message>> {
        let value = self.values.get(channel).map(|value| &value.message);
        value.filter(|message| !message.is_late(now))
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Of the values.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All of them that no record keeps, in order of channels.
    pub(crate) fn unkept(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.values.values().filter(|value| value.record == 0).map(|value| &value.message)
    }

    /// Values of the channels that a filter matches, after one channel; and where to go on, if there may be more.
    fn page(&self, walk: &Walk, now: Millis) -> (Vec<Arc<Message>>, Option<ChannelName>) {
        let filter = walk.filter.as_str();
        if !is_filter(filter) {
            return (self.value(&walk.filter, now).cloned().into_iter().collect(), None);
        }
        let literal = literal_prefix(filter);
        let first = match &walk.after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Included(ChannelName(Arc::from(literal))),
        };
        let (mut found, mut last) = (Vec::new(), None);
        let range = self.values.range((first, Bound::Unbounded));
        let within = range.take_while(|(channel, _)| channel.as_str().starts_with(literal));
        for (looks, (channel, Value { message, .. })) in within.enumerate() {
            if looks >= LOOKS || found.len() >= PAGE {
                return (found, last);
            }
            last = Some(channel.clone());
            if filter_matches(filter, channel.as_str()) && !message.is_late(now) {
                found.push(Arc::clone(message));
            }
        }
        (found, None)
    }
}

/// What every channel that the filter matches begins with: the levels before the first wildcard, without the last `/`, as
/// `a/#` matches `a`.
fn literal_prefix(filter: &str) -> &str {
    let end = filter.find(['+', '#']).unwrap_or(filter.len());
    let prefix = filter.get(..end).unwrap_or_default();
    prefix.strip_suffix('/').filter(|_| filter.ends_with('#') && end + 1 == filter.len()).unwrap_or(prefix)
}

/// The walks of one session. Exists only while there is one.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    /// Pages to ask for when there is a place, in order.
    pages: VecDeque<(ShardId, Walk)>,
    /// Most values that the pages asked for will bring.
    coming: usize,
    /// Walks that have not ended, one per home; or that have not begun.
    open: usize,
    /// Values that the session got live meanwhile; the last ones of so many.
    seen: VecDeque<MessageId>,
    seen_count: u64,
}

impl Walks {
    /// The next page to ask for, if there is a place for it beside so many things that wait.
    fn next(&mut self, waiting: usize) -> Option<(ShardId, Walk)> {
        let most = values_max(&self.pages.front()?.1);
        let taken = waiting + self.coming;
        if taken > 0 && taken + most > PAGE {
            return None;
        }
        self.coming += most;
        self.pages.pop_front()
    }

    /// Those that are not wanted any more end, but for pages on their way.
    fn retain(&mut self, is_wanted: impl Fn(&Walk) -> bool) {
        let before = self.pages.len();
        self.pages.retain(|(_, walk)| is_wanted(walk));
        self.open -= before - self.pages.len();
    }

    fn saw(&mut self, id: MessageId) {
        self.seen_count += 1;
        self.seen.push_back(id);
        if self.seen.len() > SEEN_MAX {
            self.seen.pop_front();
        }
    }

    fn has_seen(&self, id: MessageId, walk: &Walk) -> bool {
        let forgotten = self.seen_count - self.seen.len() as u64;
        let skip = usize::try_from(walk.since.saturating_sub(forgotten)).unwrap_or(usize::MAX);
        self.seen.iter().skip(skip).any(|seen| *seen == id)
    }
}

/// Most values in a page of a walk.
fn values_max(walk: &Walk) -> usize {
    if is_filter(walk.filter.as_str()) { PAGE } else { 1 }
}

impl Pact {
    /// A walk is to begin, when every home knows of the subscription; how many values the session has got live before.
    pub(crate) fn expect_walk(&mut self) -> u64 {
        let walks = self.rare.get_or_insert_default().walks.get_or_insert_default();
        walks.open += 1;
        walks.seen_count
    }

    /// Pages that are still to be asked for.
    pub(crate) fn pages_to_come(&self) -> impl Iterator<Item = (ShardId, &Walk)> {
        let walks = self.rare.as_ref().and_then(|rare| rare.walks.as_ref());
        walks.into_iter().flat_map(|walks| &walks.pages).map(|(home, walk)| (*home, walk))
    }

    /// As an earlier hub left them.
    pub(crate) fn expect_pages(&mut self, pages: impl Iterator<Item = (ShardId, Walk)>) {
        let pages: VecDeque<_> = pages.collect();
        if !pages.is_empty() {
            let open = pages.len();
            let walks = Walks { pages, open, ..Walks::default() };
            self.rare.get_or_insert_default().walks = Some(Box::new(walks));
        }
    }

    /// The connection is gone: values that may be lost with it are not asked for.
    pub(crate) fn leave_walks(&mut self) {
        self.change_walks(|walks| walks.retain(|walk| walk.options.quality > Quality::AtMostOnce));
    }

    /// The subscription is gone.
    pub(crate) fn end_walks_of(&mut self, filter: &ChannelName) {
        self.change_walks(|walks| walks.retain(|walk| walk.filter != *filter));
    }

    /// After this there are none if none is open.
    fn change_walks(&mut self, change: impl FnOnce(&mut Walks)) {
        let Some(rare) = &mut self.rare else { return };
        if let Some(walks) = &mut rare.walks {
            change(walks);
        }
        rare.walks.take_if(|walks| walks.open == 0);
    }
}

impl Session {
    /// A value came live.
    pub(crate) fn saw(&mut self, id: MessageId) {
        let rare = self.pact.as_mut().and_then(|pact| pact.rare.as_mut());
        if let Some(walks) = rare.and_then(|rare| rare.walks.as_mut()) {
            walks.saw(id);
        }
    }
}

impl Hub {
    /// Whether a message can be kept as its channel's value, if it is to be.
    pub(crate) fn check_retained(&self, message: &Message) -> Result<(), Refusal> {
        if self.was_retained(message) { Ok(()) } else { self.retained.check(message, &self.config.limits) }
    }

    /// It is published once more, after a crash: what its channel retains is newer, or itself.
    fn was_retained(&self, message: &Message) -> bool {
        self.journal.had.as_ref().is_some_and(|had| had.has_value(message))
    }

    /// Keeps a message that was checked as its channel's value, if it is to be; an empty body takes the value away.
    pub(crate) fn retain(&mut self, message: &Arc<Message>, receipt: Option<Receipt>) {
        if !message.traits.retain || self.was_retained(message) {
            return;
        }
        let partition = message.channel.partition(&self.config.topology);
        let may_repeat = self.journal.is_on() && receipt.is_some_and(|receipt| receipt.may_repeat());
        if message.body.len_bytes() > 0 {
            let is_kept = !message.traits.told_anew;
            let mut keep = || self.journal.keep(partition, Record::Retained(Arc::clone(message)));
            let record = if is_kept { keep() } else { 0 };
            self.drop_retained(&message.channel);
            self.retained.insert(Value { message: Arc::clone(message), record, may_repeat });
        } else {
            self.drop_retained(&message.channel);
            if may_repeat {
                self.journal.keep_seen(self.now, partition, message.id);
            }
        }
    }

    /// As it was before the start. One that a record keeps has a place whatever the limits are now; another is kept from now
    /// on.
    pub(crate) fn restore_retained(&mut self, message: &Arc<Message>, record: u64) {
        let is_ours = message.channel.home(&self.config.topology) == self.config.shard;
        let fits = record > 0 || self.retained.check(message, &self.config.limits).is_ok();
        if is_ours && fits {
            let may_repeat = record > 0 && message.traits.quality > Quality::AtMostOnce;
            let partition = message.channel.partition(&self.config.topology);
            let record = match record {
                0 => self.journal.keep(partition, Record::Retained(Arc::clone(message))),
                record => record,
            };
            self.drop_retained(&message.channel);
            self.retained.insert(Value { message: Arc::clone(message), record, may_repeat });
        }
    }

    /// Takes a value away; whether there was one.
    pub(crate) fn drop_retained(&mut self, channel: &ChannelName) -> bool {
        let Some(Value { message, record, may_repeat }) = self.retained.take(channel) else { return false };
        let partition = channel.partition(&self.config.topology);
        if may_repeat {
            self.journal.keep_seen(self.now, partition, message.id);
        }
        self.journal.drop_record(partition, record);
        true
    }

    pub(crate) fn expire_retained(&mut self) {
        let now = self.now;
        while let Some((at, channel)) = self.retained.expiries.first().cloned().filter(|(at, _)| *at <= now) {
            self.retained.expiries.remove(&(at, channel.clone()));
            self.drop_retained(&channel);
        }
    }

    /// Every home of a channel that the filter may match is to be asked, this hub among them.
    pub(crate) fn start_walk(&mut self, walk: &Walk, effects: &mut Effects) {
        let Some(key) = self.sessions.key_of(&walk.session) else { return };
        let homes = if is_filter(walk.filter.as_str()) {
            u64::MAX >> (64 - u32::from(self.config.topology.shards))
        } else {
            1 << walk.filter.home(&self.config.topology).0
        };
        let is_wanted = self.is_subscribed_to(key, &walk.filter);
        let Some(pact) = &mut self.sessions.known_mut(key).pact else { return };
        pact.change_walks(|walks| {
            walks.open -= 1;
            if is_wanted {
                let pages = shards_in(homes).map(|home| (home, walk.clone()));
                let before = walks.pages.len();
                walks.pages.extend(pages);
                walks.open += walks.pages.len() - before;
            }
        });
        self.go_on_walking(key, effects);
    }

    /// Another hub's session wants values of channels whose home is here.
    pub(crate) fn give_retained(&mut self, to: ShardId, walk: Walk, effects: &mut Effects) {
        let (messages, more) = self.retained.page(&walk, self.now);
        effects.list.push(Effect::Mail { to, mail: HubMail::Retained { walk, messages, more } });
    }

    /// A page for a session here.
    pub(crate) fn take_retained(
        &mut self,
        (from, walk): (ShardId, Walk),
        messages: Vec<Arc<Message>>,
        more: Option<ChannelName>,
        effects: &mut Effects,
    ) {
        let Some(key) = self.sessions.key_of(&walk.session) else { return };
        self.take_page(key, (from, walk), (messages, more), effects);
        self.go_on_walking(key, effects);
    }

    fn take_page(
        &mut self,
        key: SessionKey,
        (from, walk): (ShardId, Walk),
        (mut messages, more): (Vec<Arc<Message>>, Option<ChannelName>),
        effects: &mut Effects,
    ) {
        let is_wanted = self.is_subscribed_to(key, &walk.filter);
        let session = self.sessions.known_mut(key);
        let may_go_on = is_wanted && (session.is_connected() || walk.options.quality > Quality::AtMostOnce);
        let (options, most, id) = (walk.options, values_max(&walk), session.id);
        let is_own = |message: &Message| options.skip_own && message.traits.origin == Some(id);
        let Some(pact) = &mut session.pact else { return };
        pact.change_walks(|walks| {
            walks.coming -= most;
            messages.retain(|message| is_wanted && !is_own(message) && !walks.has_seen(message.id, &walk));
            match more.filter(|_| may_go_on) {
                Some(after) => walks.pages.push_back((from, Walk { after: Some(after), ..walk })),
                None => walks.open -= 1,
            }
        });
        for message in messages {
            let (grade, labels) = options.grade(&message);
            let grade = Grade { retained: true, ..grade };
            let parcel = Parcel { message, grade, labels, source: Source::Retained, record: 0 };
            self.hand_one(key, parcel, effects);
        }
        if let Some(pact) = &mut self.sessions.known_mut(key).pact {
            pact.tidy();
        }
    }

    fn is_subscribed_to(&self, key: SessionKey, filter: &ChannelName) -> bool {
        let roster = self.rosters.find(filter.as_str());
        roster.is_some_and(|roster| self.sessions.known(key).is_subscribed(roster))
    }

    /// Asks for the next pages while little waits for a session that is connected.
    pub(crate) fn go_on_walking(&mut self, key: SessionKey, effects: &mut Effects) {
        let own = self.config.shard;
        loop {
            let session = self.sessions.known_mut(key);
            let waiting = usize::try_from(session.waiting()).unwrap_or(usize::MAX);
            let rare = session.pact.as_mut().and_then(|pact| pact.rare.as_mut());
            let walks = rare.and_then(|rare| rare.walks.as_mut());
            let page = walks.filter(|_| session.state != State::Detached);
            let Some((to, walk)) = page.and_then(|walks| walks.next(waiting)) else { return };
            if to != own {
                effects.list.push(Effect::Mail { to, mail: HubMail::WantRetained(walk) });
            } else if walk.after.is_none() {
                let page = self.retained.page(&walk, self.now);
                self.take_page(key, (own, walk), page, effects);
            } else {
                self.walking.push(walk);
            }
        }
    }

    /// The next page of each walk over values that are here, for sessions that are here: with time, not at once, so that the
    /// connection can say meanwhile that it is full.
    pub(crate) fn walk_on(&mut self, effects: &mut Effects) {
        for walk in std::mem::take(&mut self.walking) {
            let (messages, more) = self.retained.page(&walk, self.now);
            self.take_retained((self.config.shard, walk), messages, more, effects);
        }
    }
}
