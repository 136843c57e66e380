//! Messages that are to be published later. Owns what waits for its time at the home of its channel, in which order it
//! goes, and the bounds of all that waits.
//!
//! A message that waits is nowhere else: it has no position and no subscriber yet. Its publisher is told at once that it is
//! taken. It must not know where a message goes when its time has come: that is `publish`'s
//! business.

use crate::command::{Publish, Receipt, Target};
use crate::effect::{Effects, Outcome, Refusal, Report};
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis, Partition};
use crate::journal::{Promise, Then};
use crate::limits::Limits;
use crate::message::Quality;
use crate::record::{Place, Record};
use crate::saved::unpublished_message;
use std::collections::BTreeMap;

/// Published in one tick at most, so that very many of one time do not hold up the shard.
const PER_TICK: usize = 256;

/// What one hub puts off.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    /// By time, and among those of one time in the order they came.
    waiting: BTreeMap<(Millis, u64), Publish>,
    came: u64,
    bytes: u64,
}

impl Delayed {
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    fn is_full(&self, bytes: u64, limits: &Limits) -> bool {
        self.waiting.len() >= limits.delayed_max as usize || self.bytes + bytes > limits.delayed_bytes_max
    }

    pub(crate) fn insert(&mut self, at: Millis, publish: Publish) {
        self.bytes += len_bytes(&publish);
        self.came += 1;
        self.waiting.insert((at, self.came), publish);
    }

    /// What waits and is kept by no record, and when it is due.
    pub(crate) fn unkept(&self) -> impl Iterator<Item = (Millis, &Publish)> {
        let unkept = self.waiting.iter().filter(|(_, publish)| publish.receipt.is_none());
        unkept.map(|((at, _), publish)| (*at, publish))
    }

    fn take_due(&mut self, now: Millis) -> Option<Publish> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let publish = first.remove();
        self.bytes -= len_bytes(&publish);
        Some(publish)
    }
}

/// What a limit of bytes counts.
fn len_bytes(publish: &Publish) -> u64 {
    let name = match &publish.target {
        Target::Channel(channel) => channel.as_str().len(),
        Target::Union(_) | Target::Session(_) => 0,
    };
    (name + publish.body.len_bytes() + publish.traits.attributes.len()) as u64
}

impl Hub {
    /// A message for a channel of which this hub is the home is published when its time has come.
    pub(crate) fn put_off(&mut self, channel: ChannelName, mut publish: Publish, effects: &mut Effects) {
        let (token, receipt) = (publish.token.take(), publish.receipt.take());
        let delay_ms = std::mem::take(&mut publish.traits.delay_ms);
        publish.target = Target::Channel(channel);
        // Who will be subscribed by then is not known.
        let outcome = Outcome::Published { matched: true, position: None };
        if self.journal.had.as_ref().is_some_and(|had| had.has_later(publish.id)) {
            return self.acknowledge(receipt, outcome, effects);
        }
        if self.delayed.is_full(len_bytes(&publish), &self.config.limits) {
            self.decline(receipt, Refusal::OverLimit, effects);
            if let Some(token) = token {
                effects.refuse(token, Refusal::OverLimit);
            }
            return;
        }
        let (at, before) = (Millis(self.now.0.saturating_add(delay_ms)), self.journal.made());
        self.wait_until(at, publish);
        if let Some(token) = token {
            let report = Report::Routed { shards: 0, position: None };
            self.promise_after(before, Promise::Report(token, Box::new(report)), effects);
        }
        match receipt {
            Some(receipt) if self.journal.is_on() => {
                let watch = self.journal.watch(Then::Acknowledge(receipt, outcome));
                self.promise_after(before, Promise::Watched(watch), effects);
            }
            receipt => self.acknowledge(receipt, outcome, effects),
        }
    }

    /// Puts a message for one channel to those that wait.
    pub(crate) fn wait_until(&mut self, at: Millis, mut publish: Publish) {
        if let Target::Channel(channel) = &publish.target {
            self.keep_due(channel.partition(&self.config.topology), at, &mut publish);
        }
        if let Some(Receipt::Record { seen, .. }) = &mut publish.receipt {
            *seen = (publish.traits.quality == Quality::ExactlyOnce).then_some(publish.id);
        }
        self.delayed.insert(at, publish);
    }

    /// A message of higher quality that is published yet to be is kept, in a partition of this hub, until it is where it is
    /// needed.
    pub(crate) fn keep_due(&mut self, partition: Partition, at: Millis, publish: &mut Publish) {
        if !self.journal.is_on() || publish.traits.quality == Quality::AtMostOnce {
            return;
        }
        if let Some(message) = unpublished_message(publish) {
            let number = self.journal.keep(partition, Record::Due { at, message });
            let place = Place { partition, number };
            publish.receipt = Some(Receipt::Record { shard: self.config.shard, place, seen: None });
        }
    }

    pub(crate) fn publish_due(&mut self, effects: &mut Effects) {
        for _ in 0..PER_TICK {
            let Some(publish) = self.delayed.take_due(self.now) else { return };
            self.route(publish, effects);
        }
    }
}
