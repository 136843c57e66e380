//! Publishers, whose messages are copied into queues by bindings: which copies there are to be, and when a publisher hears. Who
//! was not told before a crash may publish again, under the same id.

use crate::node::{Letter, Sending, Wanted};
use crate::world::World;
use bytes::Bytes;
use hub::queue::{Message, QueueCopy, QueueMail, QueueName, QueueRefusal, Taken};
use hub::{
    Binding, Body, ChannelName, Command, MessageId, Place, Publish, Quality, Refusal, Report, Target, Token,
    Traits,
};
use std::collections::BTreeMap;

/// Which channels, of which event if any, and the queue.
const BINDINGS: [(&str, Option<&str>, &str); 3] =
    [("a/#", None, "s"), ("a/1", None, "g"), ("+", Some("say"), "p")];
const CHANNELS: [&str; 5] = ["a/1", "a/1", "a/2", "b", "c/1"];

/// The naive reading of those filters.
fn is_bound(binding: usize, channel: &str, event: Option<&str>) -> bool {
    match binding {
        0 => channel.starts_with("a/"),
        1 => channel == "a/1",
        _ => channel == "b" && event == Some("say"),
    }
}

pub fn bindings() -> Vec<Binding> {
    let binding = |(filter, event, _): &(&str, Option<&str>, &str)| Binding {
        filter: (*filter).to_owned(),
        events: event.iter().map(|event| (*event).to_owned()).collect(),
        publishers: hub::Publishers::All,
    };
    BINDINGS.iter().map(binding).collect()
}

/// What was published, for whom it would be published again.
#[derive(Clone, Copy)]
struct Published {
    id: MessageId,
    channel: &'static str,
    event: Option<&'static str>,
}

/// A copy: its number, its place, and what became of it.
type Copied = (u64, Place, Result<Taken, QueueRefusal>);

/// Somebody waits to be told that a message was taken.
struct Waiting {
    what: Published,
    /// By queue what became of the copy, once it has arrived.
    copies: BTreeMap<&'static str, Option<Copied>>,
}

#[derive(Default)]
pub struct Publishers {
    waiting: BTreeMap<Token, Waiting>,
    /// Not told before a crash.
    unheard: Vec<Published>,
    /// Which copy has a place.
    placed: BTreeMap<Place, u64>,
}

impl Publishers {
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn crash(&mut self) -> bool {
        let lost = std::mem::take(&mut self.waiting);
        let has_lost = lost.values().any(|waiting| !waiting.copies.is_empty());
        self.unheard.extend(lost.into_values().map(|waiting| waiting.what));
        has_lost
    }
}

impl World {
    pub fn publish(&mut self) {
        let again = self.publishers.unheard.pop().filter(|_| self.rng.chance(95));
        let what = again.unwrap_or_else(|| Published {
            id: self.node.message("").id,
            channel: self.rng.pick(&CHANNELS).unwrap(),
            event: *self.rng.pick(&[None, Some("say"), Some("cry")]).unwrap(),
        });
        let channel = ChannelName::parse(what.channel, 20).unwrap();
        let token = self.node.token();
        let bound = (0..BINDINGS.len()).filter(|place| is_bound(*place, what.channel, what.event));
        let copies = bound.map(|place| (BINDINGS[place].2, None)).collect();
        self.publishers.waiting.insert(token, Waiting { what, copies });
        let publish = Publish {
            id: what.id,
            target: Target::Channel(channel.clone()),
            event: what.event.map(Box::from),
            body: Body::Raw(Bytes::from_static(b"m")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: Some(token),
            traits: Traits { quality: Quality::AtLeastOnce, ..Traits::default() },
            receipt: None,
        };
        let home = channel.home(&self.node.topology);
        self.apply(home, Command::Publish(Box::new(publish)), |_| {});
        let wanted = std::mem::take(&mut self.node.wanted);
        let queues: Vec<_> = wanted.iter().map(|wanted| BINDINGS[wanted.binding as usize].2).collect();
        if let Some(waiting) = self.publishers.waiting.get(&token) {
            let mut expected: Vec<_> = waiting.copies.keys().copied().collect();
            expected.sort_by_key(|queue| BINDINGS.iter().position(|binding| binding.2 == *queue));
            assert_eq!(queues, expected, "copies of {:?}", what.channel);
        } else {
            assert_eq!(queues, [""; 0], "it was told before its copies were made");
        }
        wanted.into_iter().for_each(|wanted| self.make_copy(wanted));
    }

    /// As the fronts do.
    fn make_copy(&mut self, wanted: Wanted) {
        let Wanted { by, binding, channel, message: id, waiter } = wanted;
        let queue = BINDINGS[binding as usize].2;
        self.bodies += 1;
        let mut message = Message { id, ..self.node.message(&self.bodies.to_string()) };
        if queue == "g" {
            message = message.of(channel.as_str()).known_as(&format!("copy {}", id.0));
        }
        let copy = Box::new(QueueCopy { queue: QueueName::new(queue), message, waiter });
        self.node.letters.push(Letter::Copy { to: by, copy });
    }

    /// The copy that arrives at its queue by a letter, if one does.
    pub fn arriving(&self, letter: &Letter) -> Option<(QueueName, Message)> {
        let (at, copy) = match letter {
            Letter::Copy { to, copy } => (*to, copy),
            Letter::Mail { to, mail, .. } => match &**mail {
                QueueMail::Copy(copy) => (*to, copy),
                _ => return None,
            },
            Letter::Load { .. } => return None,
        };
        (copy.queue.home(&self.node.topology) == at).then(|| (copy.queue.clone(), copy.message.clone()))
    }

    pub fn copied(
        &mut self,
        queue: &QueueName,
        id: MessageId,
        (body, result): (u64, Result<Taken, QueueRefusal>),
    ) {
        let number = result.map_or(0, |taken| taken.offset);
        let place = Place { partition: queue.partition(&self.node.topology), number };
        let mut body = body;
        if let Ok(taken) = result {
            if taken.duplicate {
                self.model.met("a copy known by its message");
                body = self.publishers.placed[&place];
            } else {
                self.publishers.placed.insert(place, body);
            }
        }
        let of = |waiting: &&mut Waiting| waiting.what.id == id;
        let waiting = self.publishers.waiting.values_mut().find(of).expect("its publisher waits for it");
        let (_, copy) = waiting.copies.iter_mut().find(|(name, _)| **name == queue.as_str()).expect("wanted");
        assert!(copy.replace((body, place, result)).is_none(), "it arrives twice");
    }

    /// A publisher hears of all copies when they are safe, or of one that there is no queue for.
    pub fn told_publishers(&mut self) {
        for (token, report) in std::mem::take(&mut self.node.reports) {
            let waiting = self.publishers.waiting.remove(&token).expect("it is told once");
            let copies: Vec<_> = waiting.copies.values().map(|copy| copy.expect("it has arrived")).collect();
            let is_refused = copies.iter().any(|(_, _, result)| result.is_err());
            match report {
                Report::Routed { shards: 0, position: None } => assert!(!is_refused),
                Report::Refused(Refusal::OverLimit) => {
                    assert!(is_refused);
                    self.model.met("a publisher refused for a copy");
                }
                other => panic!("{other:?}"),
            }
            for (body, place, result) in &copies {
                assert!(result.is_err() || self.node.disk.is_written(*place), "told before a copy is safe");
                if !is_refused {
                    self.ledger.acknowledged(*body);
                }
            }
            if !is_refused && !copies.is_empty() {
                self.model.met("copied and acknowledged");
            }
        }
    }
}
