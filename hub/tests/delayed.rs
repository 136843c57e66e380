//! Messages that are published later: when, in which order, for whom, and what happens at the bounds.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use bytes::Bytes;
use trunkline_hub::{
    Body, CatchUp, ChannelName, ChannelRule, Claim, Command, Config, Effect, Effects, HistoryRule, Hub,
    HubMail, Join, Limits, MessageId, Millis, Offer, Options, Outcome, Publish, Quality, Query,
    RecoveryLimits, Refusal, Report, SessionKey, ShardId, Span, Tag, Target, Token, Topology, Traits,
    WhenFull,
};

const LIMITS: Limits = Limits {
    sessions_max: 10,
    channels_max: 10,
    subscriptions_per_session_max: 5,
    channel_name_bytes_max: 20,
    outbox_messages_max: 1000,
    outbox_bytes_max: 10_000,
    asks_per_session_max: 2,
    asks_max: 3,
    history_bytes_max: 1000,
    retained_max: 10,
    retained_bytes_max: 1000,
    delayed_max: 3,
    delayed_bytes_max: 30,
    recovery: RecoveryLimits { messages_max: 4, bytes_max: 1000, window_ms: 100 },
};

struct Bench {
    hub: Hub,
    now: u64,
}

impl Bench {
    fn new(limits: Limits, shards: u8) -> Self {
        let topology = Topology { shards, partitions: 8 };
        let history = Some(HistoryRule { messages_max: 5, age_ms_max: u64::MAX, durable: true });
        let rules = vec![ChannelRule {
            filter: "kept".into(),
            history,
            presence: trunkline_hub::Presence::Off,
            when_full: WhenFull::Newest,
        }];
        let hub = Hub::new(Config { shard: ShardId(0), topology, epoch: 5, limits, rules });
        Self { hub, now: 0 }
    }

    fn apply(&mut self, command: Command) -> Vec<Effect> {
        let mut effects = Effects::default();
        self.hub.apply(Millis(self.now), command, &mut effects);
        effects.list
    }

    /// A session that is subscribed to everything.
    fn session(&mut self) -> SessionKey {
        let claim = Claim {
            tag: Tag(1),
            name: "a".into(),
            fresh: true,
            keep_ms: 0,
            window: 10,
            will: None,
            user: None,
            info: None,
            random: [1; 9],
        };
        let effects = self.apply(Command::Claim(Box::new(claim)));
        let Some(Effect::Claimed { session, .. }) = effects.first() else { panic!("{effects:?}") };
        let session = *session;
        self.apply(Command::Join(Join {
            session,
            filter: "#".into(),
            group: None,
            options: Options::default(),
            catch_up: CatchUp::Never,
            request: 1,
        }));
        self.apply(Command::Resume { session, budget: 10 });
        session
    }

    fn publish(&mut self, channel: &str, body: &'static str, delay_ms: u64) -> Vec<Effect> {
        self.apply(Command::Publish(Box::new(publish(channel, body, delay_ms))))
    }

    /// How many messages a channel has kept.
    fn history(&mut self, channel: &str) -> usize {
        let channel = ChannelName::parse(channel, 20).expect("a valid name");
        let query = Query::History { channel, span: Span::after(None, 10) };
        let effects = self.apply(Command::Query { token: Token(7), query });
        match effects.as_slice() {
            [Effect::Report { report: Report::History(page, _), .. }] => page.items.len(),
            [Effect::Report { report: Report::Refused(Refusal::NotFound), .. }] => 0,
            other => panic!("{other:?}"),
        }
    }

    /// What is delivered when time has come this far, each as `time channel body`, with ticks when they are due.
    fn until(&mut self, end: u64) -> Vec<String> {
        let mut delivered = Vec::new();
        while let Some(at) = self.hub.next_deadline().filter(|at| at.0 <= end) {
            self.now = self.now.max(at.0);
            let now = self.now;
            for effect in self.apply(Command::Tick) {
                if let Effect::Deliver { message, .. } = effect {
                    let Body::Raw(body) = &message.body else { panic!("{message:?}") };
                    let body = String::from_utf8_lossy(body);
                    delivered.push(format!("{now} {} {body}", message.channel.as_str()));
                }
            }
        }
        self.now = end;
        delivered
    }
}

fn publish(channel: &str, body: &'static str, delay_ms: u64) -> Publish {
    Publish {
        id: MessageId(1),
        target: Target::Channel(ChannelName::parse(channel, 20).expect("a valid name")),
        event: None,
        body: Body::Raw(Bytes::from_static(body.as_bytes())),
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: Some(Token(7)),
        traits: Traits { delay_ms, ..Traits::default() },
        receipt: None,
    }
}

#[test]
fn messages_go_at_their_time_and_then_in_the_order_they_came() {
    let mut bench = Bench::new(LIMITS, 1);
    bench.session();
    for (channel, body, delay_ms) in [("b", "2", 50), ("a", "1", 20), ("b", "3", 50)] {
        let effects = bench.publish(channel, body, delay_ms);
        assert!(
            matches!(
                effects[..],
                [Effect::Report { token: Token(7), report: Report::Routed { shards: 0, .. } }]
            ),
            "{effects:?}"
        );
    }
    assert_eq!(bench.until(19), [""; 0]);
    assert_eq!(bench.until(49), ["20 a 1"]);
    assert_eq!(bench.until(1000), ["50 b 2", "50 b 3"]);
    assert_eq!(bench.hub.next_deadline(), None);
}

#[test]
fn a_message_that_waits_is_nowhere_else() {
    let mut bench = Bench::new(LIMITS, 1);
    let mut later = publish("kept", "x", 10);
    later.traits.retain = true;
    bench.apply(Command::Publish(Box::new(later)));
    assert!(!bench.hub.is_idle());
    assert_eq!(bench.history("kept"), 0);
    bench.until(10);
    assert_eq!(bench.history("kept"), 1);
}

#[test]
fn the_publisher_is_told_at_once_and_once() {
    let mut bench = Bench::new(LIMITS, 1);
    let session = bench.session();
    let mut offer = |delay_ms, exchange| {
        let mut publish = publish("a", "0123456789", delay_ms);
        publish.token = None;
        publish.traits.quality = Quality::ExactlyOnce;
        let offer = Offer { session, exchange: Some(exchange), publish, request: 9 };
        let effects = bench.apply(Command::Offer(Box::new(offer)));
        let [Effect::Done { request: 9, outcome, .. }] = effects[..] else { panic!("{effects:?}") };
        outcome
    };
    assert_eq!(offer(10, 1), Outcome::Published { matched: true, position: None });
    assert_eq!(offer(10, 1), Outcome::Repeated);
    assert_eq!(offer(10, 2), Outcome::Published { matched: true, position: None });
    assert_eq!(offer(10, 3), Outcome::Refused(Refusal::OverLimit), "33 bytes with names are over 30");
    assert_eq!(bench.until(10), ["10 a 0123456789", "10 a 0123456789"]);
}

#[test]
fn what_is_over_a_bound_is_refused_until_something_went() {
    let mut bench = Bench::new(LIMITS, 1);
    bench.session();
    let is_refused = |effects: &[Effect]| {
        matches!(effects, [Effect::Report { report: Report::Refused(Refusal::OverLimit), .. }])
    };
    for _ in 0..2 {
        let start = bench.now;
        for _ in 0..3 {
            assert!(!is_refused(&bench.publish("a", "x", 10)));
        }
        assert!(is_refused(&bench.publish("a", "x", 10)), "three may wait");
        assert_eq!(bench.until(start + 10).len(), 3);
        assert!(is_refused(&bench.publish("a", "0123456789012345678901234567890", 10)), "30 bytes may wait");
    }
    let mut none = Bench::new(Limits { delayed_max: 0, ..LIMITS }, 1);
    assert!(is_refused(&none.publish("a", "x", 10)));
    assert!(none.hub.is_idle());
}

#[test]
fn very_many_of_one_time_go_in_several_ticks() {
    let limits = Limits { delayed_max: 1000, delayed_bytes_max: 10_000, ..LIMITS };
    let mut bench = Bench::new(limits, 1);
    bench.session();
    for _ in 0..600 {
        bench.publish("a", "x", 10);
    }
    bench.now = 10;
    let first = bench.apply(Command::Tick).len();
    assert!((1..600).contains(&first), "{first}");
    assert_eq!(first + bench.until(10).len(), 600);
}

#[test]
fn a_message_waits_at_the_home_of_its_channel() {
    let mut bench = Bench::new(LIMITS, 4);
    let session = bench.session();
    let elsewhere = ["a", "b", "c", "d", "e"].into_iter().find_map(|channel| {
        let mut publish = publish(channel, "x", 10);
        publish.token = None;
        let offer = Offer { session, exchange: None, publish, request: 0 };
        let effects = bench.apply(Command::Offer(Box::new(offer)));
        effects.into_iter().find_map(|effect| match effect {
            Effect::Mail { mail: HubMail::Publish(publish), .. } => Some(publish.traits.delay_ms),
            _ => None,
        })
    });
    assert_eq!(elsewhere, Some(10));
}

#[test]
fn what_waits_goes_on_in_the_next_hub_with_what_is_left_of_its_time() {
    let mut bench = Bench::new(LIMITS, 1);
    for (body, delay_ms) in [("2", 50), ("1", 20), ("3", 50)] {
        bench.publish("a", body, delay_ms);
    }
    bench.now = 10;
    let snapshot = bench.hub.snapshot(Millis(bench.now));
    // Less is allowed now; what was taken stays.
    let mut next = Bench::new(Limits { delayed_max: 1, ..LIMITS }, 1);
    next.now = 1000;
    let mut effects = Effects::default();
    next.hub.restore(Millis(next.now), 15, snapshot, &mut effects);
    next.session();
    assert_eq!(next.until(1024), ["1000 a 1"], "5 ms overdue");
    assert_eq!(next.until(2000), ["1025 a 2", "1025 a 3"]);
}
