//! Bindings: what is published is copied into a queue, and whoever published it hears of it when the copy is safe.

use hub::queue::{
    Copied, Message, QueueCommand, QueueConfig, QueueCopy, QueueLimits, QueueName, QueueRefusal, Settings,
    Waiter,
};
use hub::{
    Binding, Body, ChannelName, Command, Effect, Effects, Except, Hub, MessageId, Millis, Publish,
    Publishers, Quality, Refusal, Report, Target, Token, Traits,
};
use std::sync::Arc;

use crate::node::Node;

const TOKEN: Token = Token(9);

/// A hub whose caller makes copies into the queue `q`, or another one.
struct Rig {
    hub: Hub,
    made: u64,
}

impl Rig {
    fn new(messages_max: u64) -> Self {
        let mut hub = Hub::new(Node::new(1).hub_config());
        let limits = QueueLimits { messages_max, ..QueueLimits::default() };
        hub.configure_queues(QueueConfig { limits, ..QueueConfig::default() });
        let binding = |filter: &str, events: &[&str]| Binding {
            filter: filter.to_owned(),
            events: events.iter().map(|name| (*name).to_owned()).collect(),
            publishers: Publishers::All,
        };
        hub.bind(vec![binding("c/#", &[]), binding("+/1", &["say", "cry"])]);
        hub.keep_queues();
        let mut rig = Self { hub, made: 0 };
        let (queue, settings) = (QueueName::new("q"), Arc::new(Settings::default()));
        rig.apply(Command::Queue(QueueCommand::Create { queue, settings, token: Token(1) }));
        rig.safe();
        rig
    }

    fn apply(&mut self, command: Command) -> Vec<Effect> {
        let mut effects = Effects::default();
        self.hub.apply(Millis(1), command, &mut effects);
        self.made += effects.entries.len() as u64;
        effects.list
    }

    fn safe(&mut self) -> Vec<Effect> {
        self.apply(Command::Kept { safe: self.made })
    }

    fn publish(&mut self, target: Target, event: Option<&str>) -> Vec<Effect> {
        self.apply(Command::Publish(Box::new(Publish {
            id: MessageId(7),
            target,
            event: event.map(Box::from),
            body: Body::Raw("m".into()),
            volatile: false,
            except: None::<Box<Except>>,
            reply_within_ms: None,
            token: Some(TOKEN),
            traits: Traits { quality: Quality::AtLeastOnce, ..Traits::default() },
            receipt: None,
        })))
    }

    fn copy(&mut self, queue: &str, waiter: Waiter) -> Vec<Effect> {
        let message = Message {
            id: MessageId(7),
            content: "copy".into(),
            size_bytes: 4,
            group: None,
            deduplication: None,
            content_hash: None,
            delay_ms: None,
        };
        let copy = Box::new(QueueCopy { queue: QueueName::new(queue), message, waiter });
        self.apply(Command::Copy(copy))
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text, 20).unwrap()
}

fn to(text: &str) -> Target {
    Target::Channel(name(text))
}

/// By which binding, for which channel, and who waits.
fn copies(effects: &[Effect]) -> Vec<(u32, String, Waiter)> {
    let copy = |effect: &Effect| match effect {
        Effect::Copy { binding, channel, waiter, .. } => {
            Some((*binding, channel.as_str().to_owned(), *waiter))
        }
        _ => None,
    };
    effects.iter().filter_map(copy).collect()
}

fn reports(effects: &[Effect]) -> Vec<&Report> {
    let all = effects.iter().filter_map(|effect| match effect {
        Effect::Report { token: TOKEN, report } => Some(report),
        _ => None,
    });
    all.collect()
}

fn results(effects: &[Effect]) -> Vec<Result<(), QueueRefusal>> {
    let result = |effect: &Effect| match effect {
        Effect::Copied(copied) => {
            let Copied { message: MessageId(7), result, .. } = **copied else { return None };
            Some(result)
        }
        _ => None,
    };
    effects.iter().filter_map(result).collect()
}

#[test]
fn a_publish_is_confirmed_when_its_copy_is_safe() {
    let mut rig = Rig::new(100);
    let published = rig.publish(to("c/2"), None);
    assert!(reports(&published).is_empty());
    let [(0, channel, waiter)] = &copies(&published)[..] else { panic!("{published:?}") };
    assert_eq!(channel, "c/2");
    let taken = rig.copy("q", *waiter);
    assert!(reports(&taken).is_empty() && results(&taken).is_empty(), "{taken:?}");
    let safe = rig.safe();
    assert!(matches!(reports(&safe)[..], [Report::Routed { shards: 0, .. }]), "{safe:?}");
    assert_eq!(results(&safe), [Ok(())]);
    let elsewhere = rig.publish(to("d/2"), None);
    assert!(copies(&elsewhere).is_empty() && !reports(&elsewhere).is_empty());
}

#[test]
fn every_binding_copies_a_message_once_and_the_publisher_waits_for_all() {
    let mut rig = Rig::new(100);
    assert_eq!(copies(&rig.publish(to("d/1"), Some("whisper"))), []);
    let published = rig.publish(to("c/1"), Some("say"));
    let [(0, _, waiter), (1, _, also)] = &copies(&published)[..] else { panic!("{published:?}") };
    assert_eq!(waiter, also);
    rig.copy("q", *waiter);
    assert!(reports(&rig.safe()).is_empty(), "one is missing");
    rig.copy("q", *waiter);
    assert_eq!(reports(&rig.safe()).len(), 1);
    let union = Target::Union(vec![name("d/1"), name("c/1"), name("c/2")]);
    let published = rig.publish(union, Some("cry"));
    let found: Vec<_> =
        copies(&published).into_iter().map(|(binding, channel, _)| (binding, channel)).collect();
    assert_eq!(found, [(0, "c/1".to_owned()), (1, "d/1".to_owned())]);
    assert!(reports(&published).is_empty());
    let (_, _, waiter) = copies(&published)[0].clone();
    rig.copy("q", waiter);
    rig.copy("q", waiter);
    assert!(matches!(reports(&rig.safe())[..], [Report::Delivered { .. }]));
}

#[test]
fn without_a_place_the_publisher_is_refused_and_what_never_fits_holds_nobody_up() {
    let mut rig = Rig::new(1);
    let settings = Arc::new(Settings { message_bytes_max: 3, ..Settings::default() });
    let queue = QueueName::new("small");
    rig.apply(Command::Queue(QueueCommand::Create { queue, settings, token: Token(1) }));
    rig.safe();
    let mut copied = |queue: &str| {
        let published = rig.publish(to("c/2"), None);
        let (_, _, waiter) = copies(&published)[0].clone();
        let mut effects = rig.copy(queue, waiter);
        effects.extend(rig.safe());
        effects
    };
    let lost = copied("small");
    assert_eq!(results(&lost), [Err(QueueRefusal::TooLarge { bytes_max: 3 })]);
    assert!(matches!(reports(&lost)[..], [Report::Routed { .. }]), "{lost:?}");
    assert_eq!(results(&copied("q")), [Ok(())]);
    for (queue, why) in [("gone", QueueRefusal::NotFound), ("q", QueueRefusal::OverLimit)] {
        let refused = copied(queue);
        assert_eq!(results(&refused), [Err(why)]);
        assert!(matches!(reports(&refused)[..], [Report::Refused(Refusal::OverLimit)]), "{refused:?}");
    }
}
