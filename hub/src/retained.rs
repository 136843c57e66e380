//! The value that a channel retains: the newest message published to be kept, for who subscribes later. Owns the values
//! of the channels this hub is home of, their bounds, and the walk over them for one session.
//!
//! A walk goes on page by page, each asked for when the session has room, so that a filter that matches very many channels
//! costs memory for one page. It must not know how a session gets what it is given: that is `exchange`'s business.

use crate::effect::{Effect, Effects, HubMail, Refusal, Walk};
use crate::filter::{filter_matches, is_filter};
use crate::flight::Parcel;
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, SessionKey, ShardId};
use crate::interest::shards_in;
use crate::limits::Limits;
use crate::message::{Grade, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Values in one page.
const PAGE: usize = 32;

/// Channels looked at for one page, so that a filter that matches few of very many does not hold up the shard.
const LOOKS: usize = 2_048;

/// All values of one hub's channels.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    values: BTreeMap<ChannelName, Arc<Message>>,
    /// When values with an end go.
    expiries: BTreeSet<(Millis, ChannelName)>,
    /// Of bodies.
    bytes: u64,
}

impl Retained {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// Keeps a message as its channel's value; an empty body takes the value away.
    ///
    /// # Errors
    /// `OverLimit` when a value more, or so many bytes more, cannot be kept; the old value stays.
    pub(crate) fn keep(&mut self, message: &Arc<Message>, limits: &Limits) -> Result<(), Refusal> {
        let size = size(message);
        let old = self.values.get(&message.channel).map(|old| self::size(old));
        let over = self.bytes - old.unwrap_or(0) + size > limits.retained_bytes_max
            || (old.is_none() && self.values.len() >= limits.retained_max as usize);
        if size > 0 && over {
            return Err(Refusal::OverLimit);
        }
        self.remove(&message.channel);
        if size > 0 {
            self.bytes += size;
            if let Some(at) = message.traits.expires {
                self.expiries.insert((at, message.channel.clone()));
            }
            self.values.insert(message.channel.clone(), Arc::clone(message));
        }
        Ok(())
    }

    fn remove(&mut self, channel: &ChannelName) {
        let Some(old) = self.values.remove(channel) else { return };
        self.bytes -= size(&old);
        if let Some(at) = old.traits.expires {
            self.expiries.remove(&(at, channel.clone()));
        }
    }

    pub(crate) fn expire(&mut self, now: Millis) {
        while let Some((at, channel)) = self.expiries.first().cloned().filter(|(at, _)| *at <= now) {
            self.expiries.remove(&(at, channel.clone()));
            self.remove(&channel);
        }
    }

    /// Values of the channels that a filter matches, after one channel; and where to go on, if there may be more.
    fn page(&self, walk: &Walk, now: Millis) -> (Vec<Arc<Message>>, Option<ChannelName>) {
        let filter = walk.filter.as_str();
        let alive = |message: &&Arc<Message>| message.traits.expires.is_none_or(|expires| expires > now);
        if !is_filter(filter) {
            return (self.values.get(&walk.filter).filter(alive).cloned().into_iter().collect(), None);
        }
        let literal = literal_prefix(filter);
        let first = match &walk.after {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Included(ChannelName(Arc::from(literal))),
        };
        let (mut found, mut last) = (Vec::new(), None);
        let range = self.values.range((first, Bound::Unbounded));
        let within = range.take_while(|(channel, _)| channel.as_str().starts_with(literal));
        for (looks, (channel, message)) in within.enumerate() {
            if looks >= LOOKS || found.len() >= PAGE {
                return (found, last);
            }
            last = Some(channel.clone());
            if filter_matches(filter, channel.as_str()) && alive(&message) {
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

fn size(message: &Message) -> u64 {
    message.body.len_bytes() as u64
}

impl Hub {
    /// Every home of a channel that the filter may match is asked, this hub among them.
    pub(crate) fn start_walks(&mut self, walk: &Walk, effects: &mut Effects) {
        let homes = if is_filter(walk.filter.as_str()) {
            u64::MAX >> (64 - u32::from(self.config.topology.shards))
        } else {
            1 << walk.filter.home(&self.config.topology).0
        };
        for home in shards_in(homes & !self.own_bit()) {
            let mail = HubMail::WantRetained(walk.clone());
            effects.list.push(Effect::Mail { to: home, mail });
        }
        if homes & self.own_bit() != 0 {
            let own = self.config.shard;
            let (messages, more) = self.retained.page(walk, self.now);
            self.take_retained((own, walk.clone()), messages, more, effects);
        }
    }

    /// Another hub's session wants values of channels whose home is here.
    pub(crate) fn give_retained(&mut self, to: ShardId, walk: Walk, effects: &mut Effects) {
        let (messages, more) = self.retained.page(&walk, self.now);
        if messages.is_empty() && more.is_none() {
            return;
        }
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
        for message in messages {
            let (grade, labels) = walk.options.grade(&message);
            let grade = Grade { retained: true, ..grade };
            self.hand_one(key, Parcel { message, grade, labels, group: None }, effects);
        }
        let Some(after) = more else { return };
        if let Some(rare) = self.sessions.known_mut(key).rare() {
            rare.walks.push((from, Walk { after: Some(after), ..walk }));
        }
        self.go_on_walking(key, effects);
    }

    /// Asks for the next pages when little waits for the session.
    pub(crate) fn go_on_walking(&mut self, key: SessionKey, effects: &mut Effects) {
        let session = self.sessions.known_mut(key);
        if session.waiting() >= PAGE as u64 {
            return;
        }
        let Some(rare) = session.pact.as_mut().and_then(|pact| pact.rare.as_mut()) else { return };
        for (to, walk) in std::mem::take(&mut rare.walks) {
            if to == self.config.shard {
                self.walking.push(walk);
            } else {
                effects.list.push(Effect::Mail { to, mail: HubMail::WantRetained(walk) });
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
