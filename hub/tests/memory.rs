//! What a session and a delivery cost in memory, counted at the allocator: the budgets of the design as tests.

#![allow(clippy::panic, reason = "helpers of tests")]

use bytes::Bytes;
use trunkline_hub::{
    Admit, Body, CatchUp, ChannelName, Claim, Command, Config, Effect, Effects, Hub, Join, Limits, MessageId,
    Millis, Open, Options, Part, Publish, Quality, Reason, RecoveryLimits, SessionKey, ShardId, Tag, Target,
    Topology,
};

/// Most of a power of two: what a vector doubled beyond is not touched, so it is address space and not memory.
const SESSIONS: u32 = 30_000;

fn hub() -> Hub {
    Hub::new(Config {
        shard: ShardId(0),
        topology: Topology { shards: 1, partitions: 64 },
        epoch: 1,
        limits: Limits {
            sessions_max: SESSIONS,
            channels_max: 100_000,
            subscriptions_per_session_max: 100,
            channel_name_bytes_max: 200,
            outbox_messages_max: 100,
            outbox_bytes_max: 10_000,
            asks_per_session_max: 10,
            asks_max: 10,
            history_bytes_max: 0,
            recovery: RecoveryLimits { messages_max: 100, bytes_max: 10_000, window_ms: 1000 },
            retained_max: 1000,
            retained_bytes_max: 100_000,
            delayed_max: 1000,
            delayed_bytes_max: 100_000,
        },
        rules: Vec::new(),
    })
}

fn apply(hub: &mut Hub, command: Command) -> Effects {
    let mut effects = Effects::default();
    hub.apply(Millis(0), command, &mut effects);
    effects
}

/// A ready session in one channel for all and one for ten.
fn connect(hub: &mut Hub, n: u32) {
    let opened =
        apply(hub, Command::Open(Open { tag: Tag(n), random: [7; 9], recover: false, part: Part::Client }));
    let [Effect::Opened { session, .. }] = opened.list.as_slice() else { panic!("{opened:?}") };
    let subscriptions = vec!["all".to_owned(), format!("ten/{}", n / 10)];
    apply(
        hub,
        Command::Admit(Admit {
            session: *session,
            user: None,
            info: None,
            subscriptions,
            keepsake: bytes::Bytes::new(),
        }),
    );
    apply(hub, Command::Resume { session: *session, budget: 1 });
}

/// A ready claimed session, to be kept, in one channel.
fn claim(hub: &mut Hub, n: u32, filter: String) {
    let claim = Claim {
        tag: Tag(n),
        name: format!("device-{n:05}").into(),
        fresh: false,
        keep_ms: 60_000,
        window: 20,
        will: None,
        user: None,
        info: None,
        random: [7; 9],
    };
    let claimed = apply(hub, Command::Claim(Box::new(claim)));
    let [Effect::Claimed { session, .. }] = claimed.list.as_slice() else { panic!("{claimed:?}") };
    apply(hub, Command::Resume { session: *session, budget: 1 });
    let options = Options { quality: Quality::AtLeastOnce, ..Options::default() };
    let (session, catch_up) = (*session, CatchUp::Always);
    apply(hub, Command::Join(Join { session, filter, group: None, options, catch_up, request: 0 }));
}

fn publish(channel: &ChannelName) -> Command {
    Command::Publish(Box::new(Publish {
        id: MessageId(1),
        target: Target::Channel(channel.clone()),
        event: None,
        body: Body::Raw(Bytes::from_static(b"hello")),
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: None,
        traits: trunkline_hub::Traits::default(),
        receipt: None,
    }))
}

#[test]
fn an_idle_session_keeps_to_its_budget_and_leaves_nothing() {
    let mut hub = hub();
    let connected = allocation_counter::measure(|| (0..SESSIONS).for_each(|n| connect(&mut hub, n)));
    let each = connected.bytes_current / i64::from(SESSIONS);
    // 96 for the session, 2 times 4 for its records, and its part of a channel of ten.
    assert!(each <= 150, "{each} bytes per session");
    let gone = allocation_counter::measure(|| {
        for n in 0..SESSIONS {
            apply(&mut hub, Command::End { session: SessionKey(n), reason: Reason::ConnectionClosed });
        }
    });
    assert!(hub.is_idle());
    assert_eq!(hub.capacity(), 0);
    let left = connected.bytes_current + gone.bytes_current;
    assert!(left < 1024, "{left} bytes left");
}

#[test]
fn a_delivery_allocates_nothing_per_session() {
    let mut hub = hub();
    (0..SESSIONS).for_each(|n| connect(&mut hub, n));
    let all = ChannelName::parse("all", 200).expect("valid");
    let mut effects = Effects::default();
    hub.apply(Millis(0), publish(&all), &mut effects);
    effects.clear();
    let command = publish(&all);
    let delivered = allocation_counter::measure(|| hub.apply(Millis(0), command, &mut effects));
    assert!(matches!(effects.list.as_slice(), [Effect::Deliver { to, .. }] if to.len() == SESSIONS as usize));
    assert_eq!(delivered.count_total, 1, "the message itself, and nothing else");
}

#[test]
fn an_idle_claimed_session_keeps_to_its_budget_and_leaves_nothing() {
    let mut hub = hub();
    let claim_all = |hub: &mut Hub| (0..SESSIONS).for_each(|n| claim(hub, n, format!("ten/{}", n / 10)));
    let connected = allocation_counter::measure(|| claim_all(&mut hub));
    let each = connected.bytes_current / i64::from(SESSIONS);
    // 96 for the session, 96 for what was agreed on, its name of 12 bytes with 16 for its count, two places of an index, and
    // its part of a channel of ten.
    assert!(each <= 280, "{each} bytes per session");
    // On another connection and without one it is what it was.
    let moved = allocation_counter::measure(|| {
        for n in 0..SESSIONS {
            apply(&mut hub, Command::Detach { session: SessionKey(n), reason: Reason::ConnectionClosed });
        }
        claim_all(&mut hub);
    });
    let more = moved.bytes_current / i64::from(SESSIONS);
    assert!(more <= 0, "{more} bytes more per session");
    let gone = allocation_counter::measure(|| {
        for n in 0..SESSIONS {
            apply(&mut hub, Command::End { session: SessionKey(n), reason: Reason::ConnectionClosed });
        }
    });
    assert!(hub.is_idle());
    assert_eq!(hub.capacity(), 0);
    let left = connected.bytes_current + moved.bytes_current + gone.bytes_current;
    assert!(left < 1024, "{left} bytes left");
}

#[test]
fn a_delivery_to_claimed_sessions_allocates_nothing_per_session() {
    let mut hub = hub();
    (0..SESSIONS).for_each(|n| claim(&mut hub, n, "all".to_owned()));
    let all = ChannelName::parse("all", 200).expect("valid");
    let mut effects = Effects::default();
    hub.apply(Millis(0), publish(&all), &mut effects);
    effects.clear();
    let command = publish(&all);
    let delivered = allocation_counter::measure(|| hub.apply(Millis(0), command, &mut effects));
    assert!(matches!(effects.list.as_slice(), [Effect::Deliver { to, .. }] if to.len() == SESSIONS as usize));
    assert_eq!(delivered.count_total, 1, "the message itself, and nothing else");
}
