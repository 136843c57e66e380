//! What clients are asked to do besides being there, as plain data that fits on a line.
//!
//! Owns which client a number belongs to. Must not know how it is done. Start at [`Say`].

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::message::Marker;
use crate::schedule::Schedule;
use crate::session::filled;

/// Each of `numbers` is said by one of `clients`, in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Say {
    pub(crate) clients: Range<u32>,
    pub(crate) numbers: Range<u32>,
    /// When each of them is, or was, due.
    pub(crate) schedule: Schedule,
}

/// Each of `numbers` is published by one of `clients`; those of one channel by the same one, so that they keep their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Publish {
    pub(crate) clients: Range<u32>,
    pub(crate) numbers: Range<u32>,
    /// When each of them is, or was, due.
    pub(crate) schedule: Schedule,
    /// Characters of the data of each, at least the marker's.
    pub(crate) payload_bytes: usize,
    pub(crate) channel: Channel,
}

/// To where messages are published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Channel {
    /// All to this one.
    One(String),
    /// Each to one that is picked at random.
    Picked {
        /// Filled with what was picked, like [`crate::session::Join::room`].
        template: String,
        /// The same seed picks the same ones.
        seed: u64,
        /// How many there are to pick from.
        among: u32,
    },
}

/// A conversation without a schedule: each of `starters` says `outstanding` messages at once, and every client that hears
/// one says one more, until the time is over. Numbers are each client's own, from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Converse {
    pub(crate) starters: Range<u32>,
    pub(crate) outstanding: u32,
    /// See [`crate::latency::now_ns`].
    pub(crate) until_ns: u64,
}

/// Each of `numbers` is a visit of one of the first `slots` clients, in turn: it connects, says the number when it is
/// ready, and leaves when it hears it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Visit {
    pub(crate) slots: u32,
    pub(crate) numbers: Range<u32>,
    /// When each visit is, or was, due.
    pub(crate) schedule: Schedule,
}

impl Say {
    /// Who says `number`.
    pub(super) fn client(&self, number: u32) -> u32 {
        self.clients.start + number % (self.clients.end - self.clients.start).max(1)
    }
}

impl Publish {
    /// What `number` says of itself.
    pub(crate) fn marker(&self, number: u32) -> Marker {
        Marker { number, due_ns: self.schedule.due_ns(number) }
    }

    /// Who publishes `number`, and to which channel.
    pub(crate) fn client(&self, number: u32) -> (u32, Cow<'_, str>) {
        let publishers = (self.clients.end - self.clients.start).max(1);
        match &self.channel {
            Channel::One(channel) => (self.clients.start, Cow::Borrowed(channel)),
            Channel::Picked { template, seed, among } => {
                let picked = pick(*seed, number, *among);
                (self.clients.start + picked % publishers, Cow::Owned(filled(template, picked)))
            }
        }
    }
}

/// Any number below `among`, as likely as any other (SplitMix64).
fn pick(seed: u64, number: u32, among: u32) -> u32 {
    let mut z = seed.wrapping_add(u64::from(number).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) % u64::from(among.max(1))) as u32
}

impl Visit {
    /// Whose visit `number` is.
    pub(super) fn client(&self, number: u32) -> u32 {
        number % self.slots.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_picked_evenly_and_by_the_seed() {
        let mut counts = [0; 10];
        (0..10_000).for_each(|number| counts[pick(1, number, 10) as usize] += 1);
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
        let picked = |seed| (0..20).map(|number| pick(seed, number, 1000)).collect::<Vec<_>>();
        assert_eq!(picked(1), picked(1));
        assert_ne!(picked(1), picked(2));
    }

    #[test]
    fn a_channel_is_always_published_to_by_the_same_client() {
        let channel = Channel::Picked { template: "c-%{i}".into(), seed: 1, among: 50 };
        let schedule = Schedule { first: 0, start_ns: 0, interval_ns: 1.0 };
        let publish = Publish { clients: 2..5, numbers: 0..1000, schedule, payload_bytes: 0, channel };
        let mut by_channel = std::collections::BTreeMap::new();
        for number in publish.numbers.clone() {
            let (client, channel) = publish.client(number);
            assert!(publish.clients.contains(&client));
            assert_eq!(*by_channel.entry(channel.into_owned()).or_insert(client), client);
        }
        assert_eq!(by_channel.len(), 50);
    }
}
