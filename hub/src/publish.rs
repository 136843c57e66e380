//! Where a publish goes: history at the channel's home, then every shard with subscribers, this one included.
//! The delivery on one shard is `deliver`'s business.

use crate::binding::Copies;
use crate::command::{Publish, Receipt, Target};
use crate::deliver::{Delivery, Reach, Union};
use crate::effect::{Counts, Effect, Effects, Outcome, Refusal, Report};
use crate::hub::Hub;
use crate::hub_mail::HubMail;
use crate::ids::{ChannelName, Millis, Position, SessionId, SessionKey, Token};
use crate::interest::shards_in;
use crate::journal::{Promise, Then};
use crate::limits::HistoryRule;
use crate::message::{Message, Quality};
use crate::recovery::Scope;
use crate::roster::RosterKey;
use std::sync::Arc;

impl Hub {
    pub(crate) fn publish(&mut self, mut publish: Publish, effects: &mut Effects) {
        match std::mem::replace(&mut publish.target, Target::Union(Vec::new())) {
            Target::Channel(channel) => {
                self.publish_to_channel(channel, publish, effects);
            }
            Target::Union(channels) => self.publish_to_union(channels, publish, effects),
            Target::Session(session) => self.publish_to_session(session, publish, effects),
        }
    }

    /// `false`: it was refused.
    pub(crate) fn publish_to_channel(
        &mut self,
        channel: ChannelName,
        publish: Publish,
        effects: &mut Effects,
    ) -> bool {
        if publish.traits.delay_ms > 0 {
            self.put_off(channel, publish, effects);
            return true;
        }
        let (token, receipt, before) = (publish.token, publish.receipt, self.journal.made());
        let reply_until = reply_until(self.now, &publish);
        if reply_until.is_some() && self.asks.len() >= self.config.limits.asks_max as usize {
            refuse(token, effects);
            return false;
        }
        let mut message = message(publish, channel, self.now);
        message.traits.gives_way = self.gives_way(&message.channel);
        let checked = self.check_retained(&message);
        let history = checked.and_then(|()| self.history_for(&message.channel, &message));
        let history = match history {
            Ok(history) => history,
            Err(refusal) => {
                self.decline(receipt, refusal, effects);
                refuse(token, effects);
                return false;
            }
        };
        let position = history.map(|(roster, _)| self.next_position(roster));
        message.position = position;
        let message = Arc::new(message);
        self.retain(&message, receipt);
        if let Some((roster, rule)) = history {
            self.keep(roster, rule, Arc::clone(&message));
        }
        let mut rosters = self.take_concerned([&message.channel]);
        let shards = self.shards_concerned(&rosters);
        let copies = self.copies_of(&message, receipt.as_ref());
        let routed = self.report_routed(token, (shards, position), (before, &copies), effects);
        let outcome = Outcome::Published { matched: shards != 0 || !copies.is_empty(), position };
        let watch = self.watch_publish(&message, (receipt, outcome), &copies);
        self.copy(&copies, &message, watch.or(routed), effects);
        // In two steps the publisher hears before it gets its own message, in one step after it: as clients know it.
        let early = message.traits.quality == Quality::ExactlyOnce;
        if early && watch.is_none() {
            self.acknowledge(receipt, outcome, effects);
        }
        if shards & self.own_bit() != 0 {
            let (message, scope, copies) = (&message, Scope::Channel, Copies::new());
            let delivery = Delivery { message, scope, reply_until, token, watch, before, copies };
            self.deliver(&delivery, Reach::Members(&rosters), effects);
        }
        for to in shards_in(shards & !self.own_bit()) {
            watch.into_iter().for_each(|watch| self.journal.watch_more(watch));
            let mail = HubMail::Forward { message: Arc::clone(&message), reply_until, token, watch };
            effects.list.push(Effect::Mail { to, mail });
        }
        if watch.is_none() && !early {
            self.acknowledge(receipt, outcome, effects);
        }
        for watch in watch.into_iter().chain(routed) {
            self.promise_after(before, Promise::Watched(watch), effects);
        }
        rosters.clear();
        self.concerned = rosters;
        true
    }

    /// The back office hears where a message goes, if it wants to; when the copies are safe, if there are any: then that is
    /// watched for.
    fn report_routed(
        &mut self,
        token: Option<Token>,
        (shards, position): (u64, Option<Position>),
        (before, copies): (u64, &Copies),
        effects: &mut Effects,
    ) -> Option<u64> {
        let token = token?;
        if !copies.is_empty() {
            return Some(self.journal.watch(Then::Routed(token, shards, position)));
        }
        let report = Report::Routed { shards, position };
        self.promise_after(before, Promise::Report(token, Box::new(report)), effects);
        None
    }

    /// With a journal, the publisher hears of a message of higher quality when it is kept wherever it is needed; of one that
    /// is copied when the copies are.
    fn watch_publish(
        &mut self,
        message: &Message,
        (receipt, outcome): (Option<Receipt>, Outcome),
        copies: &Copies,
    ) -> Option<u64> {
        let receipt = receipt.filter(|_| self.journal.is_on() || !copies.is_empty())?;
        let is_certain = message.traits.quality > Quality::AtMostOnce;
        is_certain.then(|| self.journal.watch(Then::Acknowledge(receipt, outcome)))
    }

    /// Every hub gets the command, so nothing is forwarded; each hub keeps the history of the channels it is home of.
    fn publish_to_union(&mut self, channels: Vec<ChannelName>, publish: Publish, effects: &mut Effects) {
        let (token, before) = (publish.token, self.journal.made());
        let Some(first) = channels.first().cloned() else {
            return self.report_delivered(token, Counts::default(), 0, effects);
        };
        let reply_until = reply_until(self.now, &publish);
        let mut message = message(publish, first, self.now);
        message.traits.gives_way = self.gives_way(&message.channel);
        let message = Arc::new(message);
        for channel in channels.iter().filter(|channel| channel.session().is_none()) {
            self.keep_copy(channel, &message);
        }
        let copies = self.copies_of_union(&channels, &message);
        let channels: Arc<[ChannelName]> = channels.into();
        let union = self.concerned_by(&channels);
        let delivery = Delivery {
            message: &message,
            scope: Scope::Union(Arc::clone(&channels)),
            reply_until,
            token,
            watch: None,
            before,
            copies,
        };
        self.deliver(&delivery, Reach::Union(&union), effects);
    }

    fn concerned_by<'a>(&self, channels: &'a [ChannelName]) -> Union<'a> {
        let (mut found, mut places) = (Vec::new(), Vec::new());
        for (place, channel) in channels.iter().enumerate() {
            self.rosters.concerned(channel.as_str(), &mut found);
            places.resize(found.len(), place);
        }
        let mut first: Vec<(RosterKey, usize)> = found.into_iter().zip(places).collect();
        first.sort_unstable();
        first.dedup_by_key(|(roster, _)| *roster);
        first.sort_unstable_by_key(|(_, place)| *place);
        let session = |name: &'a ChannelName| Some((self.sessions.key_of(&name.session()?)?, name));
        let (sessions, own): (Vec<SessionKey>, Vec<_>) = channels.iter().filter_map(session).unzip();
        let by = first.iter().filter_map(|(_, place)| channels.get(*place));
        Union {
            names: by.chain(own).collect(),
            rosters: first.iter().map(|(roster, _)| *roster).collect(),
            sessions,
        }
    }

    fn publish_to_session(&mut self, id: SessionId, publish: Publish, effects: &mut Effects) {
        let (token, before) = (publish.token, self.journal.made());
        let Some(key) = self.sessions.key_of(&id) else {
            if let Some(token) = token {
                effects.refuse(token, Refusal::NotFound);
            }
            return;
        };
        let reply_until = reply_until(self.now, &publish);
        if reply_until.is_some() && self.asks.len() >= self.config.limits.asks_max as usize {
            return refuse(token, effects);
        }
        let message = Arc::new(message(publish, ChannelName::client(id), self.now));
        let delivery = Delivery {
            message: &message,
            scope: Scope::Session(id),
            reply_until,
            token,
            watch: None,
            before,
            copies: Copies::new(),
        };
        self.deliver(&delivery, Reach::One(key), effects);
    }

    /// From the channel's home.
    pub(crate) fn forwarded(&mut self, delivery: &Delivery<'_>, effects: &mut Effects) {
        let before = delivery.before;
        let mut rosters = self.take_concerned([&delivery.message.channel]);
        self.deliver(delivery, Reach::Members(&rosters), effects);
        rosters.clear();
        self.concerned = rosters;
        if let Some(watch) = delivery.watch {
            self.promise_after(before, Promise::Watched(watch), effects);
        }
    }

    /// The rosters of the channels and of the filters that match them, in a list that is handed back after use.
    fn take_concerned<'a>(&mut self, channels: impl IntoIterator<Item = &'a ChannelName>) -> Vec<RosterKey> {
        let mut rosters = std::mem::take(&mut self.concerned);
        for channel in channels {
            self.rosters.concerned(channel.as_str(), &mut rosters);
        }
        rosters
    }

    fn shards_concerned(&self, rosters: &[RosterKey]) -> u64 {
        let shards_of = |key: &RosterKey| {
            let roster = self.rosters.known(*key);
            roster.wanted | if roster.is_unwanted_here() { 0 } else { self.own_bit() }
        };
        rosters.iter().map(shards_of).fold(0, |all, shards| all | shards)
    }

    /// The roster and rule of a channel that keeps messages.
    pub(crate) fn history_of(
        &mut self,
        channel: &ChannelName,
    ) -> Result<Option<(RosterKey, HistoryRule)>, Refusal> {
        self.history_if(channel, |_, _| true)
    }

    /// The roster and rule of a channel that keeps a message of this kind.
    fn history_for(
        &mut self,
        channel: &ChannelName,
        message: &Message,
    ) -> Result<Option<(RosterKey, HistoryRule)>, Refusal> {
        self.history_if(channel, |hub, rule| !message.volatile && !hub.skips(rule, message))
    }

    fn history_if(
        &mut self,
        channel: &ChannelName,
        keeps: impl FnOnce(&Self, HistoryRule) -> bool,
    ) -> Result<Option<(RosterKey, HistoryRule)>, Refusal> {
        let roster = self.rosters.find(channel.as_str());
        let rule = match roster {
            Some(roster) => self.rosters.rule_of(roster),
            None => self.rosters.rule(channel.as_str()),
        };
        let Some(history) = rule.and_then(|rule| rule.history).filter(|rule| keeps(self, *rule)) else {
            return Ok(None);
        };
        match roster {
            Some(roster) => Ok(Some((roster, history))),
            None if self.is_full_of_channels() => Err(Refusal::OverLimit),
            None => Ok(Some((self.rosters.insert(channel.clone()), history))),
        }
    }

    /// A union's message as one of its channels keeps it. Over a limit it is not kept.
    fn keep_copy(&mut self, channel: &ChannelName, message: &Message) {
        if channel.home(&self.config.topology) != self.config.shard {
            return;
        }
        match self.history_for(channel, message) {
            Ok(Some((roster, rule))) => {
                let position = Some(self.next_position(roster));
                let copy = Message { channel: channel.clone(), position, ..message.clone() };
                self.keep(roster, rule, Arc::new(copy));
            }
            Ok(None) => {}
            Err(_) => self.histories.forget_ended(channel),
        }
        if message.traits.retain {
            let value = Arc::new(Message { channel: channel.clone(), ..message.clone() });
            if self.retained.check(&value, &self.config.limits).is_ok() {
                self.retain(&value, None);
            }
        }
    }
}

fn refuse(token: Option<Token>, effects: &mut Effects) {
    if let Some(token) = token {
        effects.refuse(token, Refusal::OverLimit);
    }
}

/// Until when replies are awaited; only if somebody waits for them.
fn reply_until(now: Millis, publish: &Publish) -> Option<Millis> {
    publish.token?;
    Some(Millis(now.0.saturating_add(publish.reply_within_ms?)))
}

fn message(publish: Publish, channel: ChannelName, published: Millis) -> Message {
    Message {
        id: publish.id,
        channel,
        event: publish.event,
        body: publish.body,
        volatile: publish.volatile,
        except: publish.except,
        traits: publish.traits,
        position: None,
        published,
    }
}
