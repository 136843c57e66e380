//! A hub that keeps queues and nothing else: without a disk there are queues, and all the rest is as it was.

use hub::queue::{Answer, Message, QueueCommand, QueueName, Settings};
use hub::{
    Body, ChannelName, Command, Effect, Effects, Hub, MessageId, Millis, Publish, Quality, Report, Target,
    Token, Traits,
};
use std::sync::Arc;

use crate::node::Node;

fn apply(hub: &mut Hub, command: Command) -> Effects {
    let mut effects = Effects::default();
    hub.apply(Millis(1), command, &mut effects);
    effects
}

fn reports(effects: &Effects) -> usize {
    effects.list.iter().filter(|effect| matches!(effect, Effect::Report { .. })).count()
}

#[test]
fn only_queues_are_kept_and_only_they_wait() {
    let mut hub = Hub::new(Node::new(1).hub_config());
    hub.keep_queues();
    let (queue, settings) = (QueueName::new("q"), Arc::new(Settings::default()));
    let create = QueueCommand::Create { queue: queue.clone(), settings, token: Token(1) };
    let created = apply(&mut hub, Command::Queue(create));
    assert_eq!((created.entries.len(), reports(&created)), (1, 0), "it waits until it is safe");
    let publish = Publish {
        id: MessageId(1),
        target: Target::Channel(ChannelName::parse("c", 20).unwrap()),
        event: None,
        body: Body::Values { json: "[1]".into(), attachments: Vec::new() },
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: Some(Token(2)),
        traits: Traits { retain: true, quality: Quality::AtLeastOnce, ..Traits::default() },
        receipt: None,
    };
    let published = apply(&mut hub, Command::Publish(Box::new(publish)));
    assert_eq!(published.entries.len(), 0, "a retained value is kept nowhere");
    assert!(reports(&published) > 0, "and nobody waits for a record of queues");
    let safe = apply(&mut hub, Command::Kept { safe: 1 });
    let is_created = |effect: &Effect| match effect {
        Effect::Report { token: Token(1), report: Report::Queue(answer) } => {
            matches!(**answer, Answer::Created(_))
        }
        _ => false,
    };
    assert!(safe.list.iter().any(is_created), "{:?}", safe.list);
    let message = Message {
        id: MessageId(2),
        content: "m".into(),
        size_bytes: 1,
        group: None,
        deduplication: None,
        content_hash: None,
        delay_ms: None,
    };
    let sent = apply(
        &mut hub,
        Command::Queue(QueueCommand::Send { queue, messages: vec![message], token: Token(3) }),
    );
    assert_eq!((sent.entries.len(), reports(&sent)), (1, 0));
}
