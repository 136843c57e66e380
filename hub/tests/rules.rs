//! One test per rule that a reader of the types would ask about. The simulation covers their combinations.

#![allow(clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

use bytes::Bytes;
use trunkline_hub::{
    Admit, Attach, Body, ChannelName, ChannelRule, Command, Config, Counts, Effect, Effects, HistoryRule,
    Hub, HubMail, Limits, Members, MessageId, Millis, Offset, Open, Outgoing, Part, Publish, Query, Reason,
    RecoveryLimits, Refusal, Report, SessionId, SessionKey, ShardId, Span, Tag, Target, Token, Topology,
    WhenFull,
};

const TOKEN: Token = Token(7);

fn limits() -> Limits {
    Limits {
        sessions_max: 10,
        channels_max: 10,
        subscriptions_per_session_max: 5,
        channel_name_bytes_max: 20,
        outbox_messages_max: 3,
        outbox_bytes_max: 100,
        asks_per_session_max: 2,
        asks_max: 3,
        history_bytes_max: 1000,

        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 1000,
        delayed_bytes_max: 100_000,
        recovery: RecoveryLimits { messages_max: 4, bytes_max: 1000, window_ms: 100 },
    }
}

/// A hub under test with its clock.
struct Bench {
    hub: Hub,
    now: u64,
    next_tag: u32,
}

impl Bench {
    fn with(limits: Limits, rules: Vec<ChannelRule>, shards: u8) -> Self {
        let topology = Topology { shards, partitions: 8 };
        let hub = Hub::new(Config { shard: ShardId(0), topology, epoch: 5, limits, rules });
        Self { hub, now: 0, next_tag: 0 }
    }

    fn new() -> Self {
        Self::with(limits(), Vec::new(), 1)
    }

    /// The hub of the next process, whose clock starts anew, `away_ms` later.
    fn restart(&mut self, away_ms: u64, limits: Limits) -> Vec<SessionId> {
        let snapshot = self.hub.snapshot(Millis(self.now));
        let mut effects = Effects::default();
        *self = Self { next_tag: self.next_tag, ..Self::with(limits, Vec::new(), 1) };
        let refused = self.hub.restore(Millis(self.now), away_ms, snapshot, &mut effects);
        assert!(effects.list.is_empty(), "there is no other hub to tell");
        refused
    }

    fn apply(&mut self, command: Command) -> Effects {
        let mut effects = Effects::default();
        self.hub.apply(Millis(self.now), command, &mut effects);
        effects
    }

    fn open(&mut self, recover: bool) -> (SessionKey, SessionId) {
        self.open_as(recover, Part::Client)
    }

    fn open_as(&mut self, recover: bool, part: Part) -> (SessionKey, SessionId) {
        self.next_tag += 1;
        let (tag, random) = (Tag(self.next_tag), [1; 9]);
        let effects = self.apply(Command::Open(Open { tag, random, recover, part }));
        let [Effect::Opened { session, id, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
        (*session, *id)
    }

    /// A ready session.
    fn join(&mut self, recover: bool, subscriptions: &[&str]) -> (SessionKey, SessionId) {
        let (session, id) = self.open(recover);
        self.admit(session, subscriptions);
        self.resume(session);
        (session, id)
    }

    fn admit(&mut self, session: SessionKey, subscriptions: &[&str]) -> Effects {
        let subscriptions = subscriptions.iter().map(|name| (*name).to_owned()).collect();
        self.apply(Command::Admit(Admit {
            session,
            user: Some("bob".into()),
            info: None,
            subscriptions,
            keepsake: bytes::Bytes::new(),
        }))
    }

    fn resume(&mut self, session: SessionKey) -> Vec<Outgoing> {
        let effects = self.apply(Command::Resume { session, budget: 100 });
        let item = |effect| match effect {
            Effect::Send { item, .. } => item,
            other => panic!("{other:?}"),
        };
        effects.list.into_iter().map(item).collect()
    }

    fn publish_to(&mut self, target: Target, change: impl FnOnce(&mut Publish)) -> Effects {
        let mut publish = Publish {
            id: MessageId(u128::from(self.now)),
            target,
            event: None,
            body: Body::Raw(Bytes::from_static(b"0123456789")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: Some(TOKEN),
            traits: trunkline_hub::Traits::default(),
            receipt: None,
        };
        change(&mut publish);
        self.apply(Command::Publish(Box::new(publish)))
    }

    fn publish(&mut self, channel: &str) -> Effects {
        self.publish_to(Target::Channel(name(channel)), |_| {})
    }

    fn subscribe(&mut self, id: SessionId, filter: &str) -> Effects {
        let of = Members::Session(id);
        self.apply(Command::Subscribe { of, filter: filter.to_owned(), token: TOKEN })
    }

    fn history(&mut self, channel: &str, after: Option<trunkline_hub::Position>) -> Report {
        let query = Query::History { channel: name(channel), span: Span::after(after, 10) };
        report(self.apply(Command::Query { token: TOKEN, query }))
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text, 20).expect("a valid name")
}

/// The last report.
fn report(mut effects: Effects) -> Report {
    match effects.list.pop() {
        Some(Effect::Report { token: TOKEN, report }) => report,
        other => panic!("{other:?}"),
    }
}

fn counts(effects: Effects) -> (Counts, u32) {
    match report(effects) {
        Report::Delivered { counts, expecting, .. } => (counts, expecting),
        other => panic!("{other:?}"),
    }
}

fn kept(messages_max: u32, age_ms_max: u64) -> Vec<ChannelRule> {
    let history = Some(HistoryRule { messages_max, age_ms_max, durable: true });
    vec![ChannelRule {
        filter: "kept/#".to_owned(),
        history,
        presence: trunkline_hub::Presence::Listed,
        when_full: WhenFull::Newest,
    }]
}

#[test]
fn what_is_sent_before_the_admission_follows_it() {
    let mut bench = Bench::new();
    let (session, id) = bench.open(false);
    let (counts, _) = counts(bench.publish_to(Target::Session(id), |_| {}));
    assert_eq!(counts, Counts { queued: 1, ..Counts::default() });
    assert!(bench.resume(session).is_empty(), "not admitted");
    bench.admit(session, &[]);
    let items = bench.resume(session);
    assert!(matches!(items.as_slice(), [Outgoing::Admitted { recovered: false }, Outgoing::Message { .. }]));
}

#[test]
fn volatile_messages_never_wait() {
    let mut bench = Bench::new();
    let (session, _) = bench.join(true, &["a"]);
    bench.apply(Command::Pause(session));
    let effects = bench.publish_to(Target::Channel(name("a")), |publish| publish.volatile = true);
    assert_eq!(counts(effects).0, Counts { dropped: 1, ..Counts::default() });
    assert!(bench.resume(session).is_empty());
}

#[test]
fn a_full_outbox_closes_the_connection_once_and_stops() {
    let mut bench = Bench::new();
    let (session, _) = bench.join(false, &["a"]);
    bench.apply(Command::Pause(session));
    (0..3).for_each(|_| assert_eq!(counts(bench.publish("a")).0.queued, 1));
    let effects = bench.publish("a");
    let close =
        |effect: &Effect| matches!(effect, Effect::CloseConnection { reason: Reason::SlowConsumer, .. });
    assert_eq!(effects.list.iter().filter(|effect| close(effect)).count(), 1);
    let effects = bench.publish("a");
    assert!(!effects.list.iter().any(close), "said once");
    assert_eq!(counts(effects).0.dropped, 1);
    assert!(bench.resume(session).is_empty(), "a gap must not be bridged");
    let effects = bench.apply(Command::Detach { session, reason: Reason::SlowConsumer });
    assert!(matches!(effects.list.as_slice(), [Effect::Ended { reason: Reason::SlowConsumer, .. }]));
    assert!(bench.hub.is_idle());
}

#[test]
fn a_message_of_a_key_takes_the_place_of_the_one_that_waits() {
    let mut bench = Bench::new();
    let (session, id) = bench.join(true, &["a", "b"]);
    bench.apply(Command::Pause(session));
    let mut publish = |channel: &str, text: &'static str, key: &str| {
        bench.publish_to(Target::Channel(name(channel)), |publish| {
            publish.body = Body::Raw(Bytes::from_static(text.as_bytes()));
            publish.traits.key = Some(key.into());
        });
    };
    // There is a place for three.
    for (channel, text, key) in
        [("a", "1", "k"), ("a", "2", "k"), ("b", "3", "k"), ("a", "4", "l"), ("a", "5", "k"), ("a", "6", "l")]
    {
        publish(channel, text, key);
    }
    let of = Some(Members::Session(id));
    let query = Query::Sessions { of, after: None, limit: 1 };
    let Report::Sessions(page) = report(bench.apply(Command::Query { token: TOKEN, query })) else {
        panic!()
    };
    assert_eq!(page.items[0].queued, 3);
    let texts: Vec<_> = bench.resume(session).into_iter().map(|item| body_of(&item)).collect();
    assert_eq!(texts, ["3", "5", "6"]);
    let Report::Totals { queued, dropped, .. } =
        report(bench.apply(Command::Query { token: TOKEN, query: Query::Totals }))
    else {
        panic!()
    };
    assert_eq!((queued, dropped), (0, 3));
}

#[test]
fn a_message_of_a_key_takes_its_place_for_readers_by_their_own_name_too() {
    let mut bench = Bench::new();
    let (reader, _) = bench.open_as(false, Part::Reader);
    bench.admit(reader, &["b"]);
    bench.resume(reader);
    bench.apply(Command::Pause(reader));
    // To the reader each is one of `b`, whatever it is to others.
    for text in ["1", "2"] {
        bench.publish_to(Target::Union(vec![name("a"), name("b")]), |publish| {
            publish.body = Body::Raw(Bytes::from_static(text.as_bytes()));
            publish.traits.key = Some("k".into());
        });
    }
    let texts: Vec<_> = bench.resume(reader).into_iter().map(|item| body_of(&item)).collect();
    assert_eq!(texts, ["2"]);
}

fn body_of(item: &Outgoing) -> String {
    match item {
        Outgoing::Message { message, .. } => match &message.body {
            Body::Raw(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_newer_than_the_last_version_of_its_channel_or_key_is_refused() {
    let mut bench = Bench::with(limits(), kept(9, u64::MAX), 1);
    let publish = |bench: &mut Bench, version: u64, channel: &str, key: Option<&str>| {
        let publish = Publish {
            id: MessageId(1),
            target: Target::Channel(name(channel)),
            event: None,
            body: Body::nothing(),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: Some(TOKEN),
            traits: trunkline_hub::Traits { key: key.map(Into::into), ..Default::default() },
            receipt: None,
        };
        let effects = bench.apply(Command::PublishNewer { version, publish: Box::new(publish) });
        let report = effects.list.into_iter().find_map(|effect| match effect {
            Effect::Report { report, .. } => Some(report),
            _ => None,
        });
        !matches!(report.expect("it is told"), Report::Refused(Refusal::Outdated))
    };
    for (version, channel, key, is_taken) in [
        (5, "kept/a", None, true),
        (5, "kept/a", None, false),
        (4, "kept/a", None, false),
        (1, "kept/b", None, true),
        (2, "kept/a", Some("tea"), true),
        (3, "kept/a", Some("milk"), true),
        (2, "kept/a", Some("tea"), false),
        (6, "kept/a", None, true),
    ] {
        assert_eq!(publish(&mut bench, version, channel, key), is_taken, "{version} {channel} {key:?}");
    }
    assert!(matches!(bench.history("kept/a", None), Report::History(page, ..) if page.items.len() == 4));
    bench.now += 24 * 3_600_000;
    assert!(publish(&mut bench, 1, "kept/a", None), "after a day nobody knows");
}

#[test]
fn one_message_may_exceed_the_bytes_of_an_outbox_alone() {
    let mut bench = Bench::new();
    let (session, id) = bench.join(false, &[]);
    bench.apply(Command::Pause(session));
    let large = |publish: &mut Publish| publish.body = Body::Raw(Bytes::from(vec![0; 1000]));
    assert_eq!(counts(bench.publish_to(Target::Session(id), large)).0.queued, 1);
    assert_eq!(counts(bench.publish_to(Target::Session(id), |_| {})).0.dropped, 1);
}

#[test]
fn limits_refuse() {
    let mut bench = Bench::new();
    let (_, id) = bench.join(false, &["a", "b", "c"]);
    assert!(matches!(report(bench.subscribe(id, "d")), Report::Count(1)));
    assert!(matches!(report(bench.subscribe(id, "e")), Report::Refused(Refusal::OverLimit)));
    assert!(matches!(report(bench.subscribe(id, "d")), Report::Count(1)), "had already");
    let (_, id) = bench.join(false, &["f", "g", "h", "i"]);
    bench.join(false, &["j"]);
    let (session, _) = bench.open(false);
    let effects = bench.admit(session, &["k"]);
    assert!(
        matches!(effects.list.as_slice(), [Effect::Ended { reason: Reason::OverLimit, .. }]),
        "channels_max"
    );
    assert!(matches!(report(bench.subscribe(id, "k")), Report::Refused(Refusal::OverLimit)));
    for _ in 0..7 {
        bench.open(false);
    }
    let effects =
        bench.apply(Command::Open(Open { tag: Tag(99), random: [0; 9], recover: false, part: Part::Client }));
    assert!(matches!(effects.list.as_slice(), [Effect::OpenRefused { tag: Tag(99) }]), "sessions_max");
}

#[test]
fn asks_are_limited_per_session_and_per_hub() {
    let mut bench = Bench::new();
    let ask = |publish: &mut Publish| publish.reply_within_ms = Some(50);
    let (_, one) = bench.join(false, &["a"]);
    assert_eq!(counts(bench.publish_to(Target::Channel(name("a")), ask)).1, 1);
    assert_eq!(counts(bench.publish_to(Target::Channel(name("a")), ask)).1, 1);
    let (two, _) = bench.join(false, &["a"]);
    let (found, expecting) = counts(bench.publish_to(Target::Channel(name("a")), ask));
    assert_eq!((found.delivered, found.dropped, expecting), (1, 1, 1), "the first has two open asks");
    let refused = report(bench.publish_to(Target::Channel(name("a")), ask));
    assert!(matches!(refused, Report::Refused(Refusal::OverLimit)), "the hub has three");
    let body = Body::Raw(Bytes::new());
    let effects = bench.apply(Command::Reply { session: two, ask: trunkline_hub::AskId(5 + 3), body });
    let Report::RepliesClosed { missing, .. } = report(effects) else { panic!() };
    assert_eq!(missing, [one], "it was never asked");
    bench.now = 50;
    assert_eq!(bench.hub.next_deadline(), Some(Millis(50)));
    assert_eq!(bench.apply(Command::Tick).list.len(), 2);
    assert_eq!(bench.hub.next_deadline(), None);
}

#[test]
fn positions_survive_an_empty_history_also_when_nobody_is_subscribed() {
    let mut bench = Bench::with(limits(), kept(2, 100), 1);
    let (session, _) = bench.join(false, &["kept/a"]);
    (0..3).for_each(|_| drop(bench.publish("kept/a")));
    let Report::History(page, Some(newest)) = bench.history("kept/a", None) else { panic!() };
    assert_eq!((page.items.len(), newest.offset), (2, 3));
    let older = trunkline_hub::Position { offset: 0, ..newest };
    assert!(matches!(bench.history("kept/a", Some(older)), Report::Refused(Refusal::PositionLost)));
    bench.now = 100;
    bench.apply(Command::Tick);
    let Report::History(page, Some(still)) = bench.history("kept/a", Some(newest)) else { panic!() };
    assert_eq!((page.items.len(), still), (0, newest));
    bench.apply(Command::End { session, reason: Reason::ClientLeft });
    assert!(bench.hub.is_idle());
    let Report::History(page, Some(still)) = bench.history("kept/a", Some(newest)) else { panic!() };
    assert_eq!((page.items.len(), still), (0, newest));
    let before = trunkline_hub::Position { offset: 2, ..newest };
    assert!(matches!(bench.history("kept/a", Some(before)), Report::Refused(Refusal::PositionLost)));
    bench.publish("kept/a");
    let Report::History(page, Some(next)) = bench.history("kept/a", Some(newest)) else { panic!() };
    assert_eq!(next, trunkline_hub::Position { offset: 4, ..newest }, "no position is used twice");
    assert_eq!(page.items.len(), 1);
    // What the back end takes away is gone, also where nothing was left.
    bench.now = 200;
    bench.apply(Command::Tick);
    assert!(bench.hub.is_idle());
    assert!(matches!(forget(&mut bench, "kept/a", None), Report::Count(0)));
    bench.publish("kept/a");
    let Report::History(_, Some(anew)) = bench.history("kept/a", None) else { panic!() };
    assert!(anew.epoch != newest.epoch && anew.offset == 1, "{anew:?}");
    assert!(matches!(bench.history("kept/a", Some(next)), Report::Refused(Refusal::PositionLost)));
}

#[test]
fn what_is_published_and_not_kept_is_missed_by_who_comes_back() {
    let one = Limits { channels_max: 1, ..limits() };
    let mut bench = Bench::with(one, kept(2, 100), 1);
    bench.publish("kept/a");
    let Report::History(_, Some(newest)) = bench.history("kept/a", None) else { panic!() };
    bench.now = 100;
    bench.apply(Command::Tick);
    bench.publish("kept/b");
    // There is no place for a history more, and nobody is told.
    bench.publish_to(Target::Union(vec![name("kept/a"), name("kept/b")]), |_| {});
    bench.now = 200;
    bench.apply(Command::Tick);
    bench.publish("kept/a");
    assert!(matches!(bench.history("kept/a", Some(newest)), Report::Refused(Refusal::PositionLost)));
}

#[test]
fn presence_needs_a_rule() {
    let mut bench = Bench::with(limits(), kept(1, 1), 1);
    let (_, id) = bench.join(false, &["kept/a", "other"]);
    let ask = |channel| Query::Presence { channel: name(channel), after: None, limit: 5 };
    let Report::Presence(page, 1..) =
        report(bench.apply(Command::Query { token: TOKEN, query: ask("kept/a") }))
    else {
        panic!()
    };
    assert_eq!(page.items.iter().map(|member| member.session).collect::<Vec<_>>(), [id]);
    let other = report(bench.apply(Command::Query { token: TOKEN, query: ask("other") }));
    assert!(matches!(other, Report::Refused(Refusal::NotFound)));
}

/// Detaches, comes back after `after`, and returns what follows, or nothing if refused.
fn come_back(
    bench: &mut Bench,
    (session, id): (SessionKey, SessionId),
    after: Option<Offset>,
) -> Option<Vec<Outgoing>> {
    bench.apply(Command::Detach { session, reason: Reason::ConnectionFailed });
    let effects = bench.apply(Command::Attach(Attach { session: id, tag: Tag(50), after }));
    match effects.list.first() {
        Some(Effect::Attached { tag: Tag(50), displaced: None, .. }) => Some(bench.resume(session)),
        Some(Effect::AttachRefused { .. }) => {
            assert!(matches!(effects.list[1], Effect::Ended { tag: None, reason: Reason::Expired, .. }));
            None
        }
        other => panic!("{other:?}"),
    }
}

/// The reference implementation refuses this: the client was idle until its offset's own entry was purged.
#[test]
fn an_idle_client_recovers_although_its_offset_was_purged() {
    let mut bench = Bench::new();
    let quiet = bench.join(true, &["quiet"]);
    bench.join(true, &["busy"]);
    bench.publish("quiet");
    (0..20).for_each(|_| drop(bench.publish("busy")));
    let items =
        come_back(&mut bench, quiet, Some(Offset { epoch: 5, sequence: 1 })).expect("nothing is missing");
    assert!(matches!(items.as_slice(), [Outgoing::Admitted { recovered: true }]));
    assert!(come_back(&mut bench, quiet, None).is_none(), "its first message is gone");
}

#[test]
fn an_offset_of_another_life_means_from_the_start() {
    let mut bench = Bench::new();
    let session = bench.join(true, &["a"]);
    bench.publish("a");
    for after in [None, Some(Offset { epoch: 4, sequence: 1 }), Some(Offset { epoch: 5, sequence: 9 })] {
        assert_eq!(come_back(&mut bench, session, after).expect("all is there").len(), 2, "{after:?}");
    }
    let seen = Some(Offset { epoch: 5, sequence: 1 });
    assert_eq!(come_back(&mut bench, session, seen).expect("all is there").len(), 1);
}

#[test]
fn what_was_delivered_before_leaving_a_channel_is_recovered_and_nothing_after() {
    let mut bench = Bench::new();
    let (session, id) = bench.join(true, &["a"]);
    bench.publish("a");
    bench.apply(Command::Unsubscribe { of: Members::Session(id), filter: "a".to_owned(), token: TOKEN });
    bench.join(true, &["a", "b"]);
    bench.publish("a");
    bench.publish("b");
    bench.subscribe(id, "b");
    bench.publish("b");
    let items = come_back(&mut bench, (session, id), None).expect("all is there");
    let sequences: Vec<u64> = items
        .iter()
        .filter_map(|item| match item {
            Outgoing::Message { offset, .. } => offset.map(|offset| offset.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(sequences, [1, 4]);
}

#[test]
fn a_session_that_is_thought_alive_is_taken_over() {
    let mut bench = Bench::new();
    let (session, id) = bench.join(true, &["a"]);
    let effects = bench.apply(Command::Attach(Attach { session: id, tag: Tag(9), after: None }));
    let [Effect::Attached { tag: Tag(9), session: again, displaced: Some(Tag(1)) }] = effects.list.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!(*again, session);
}

#[test]
fn goodbye_is_for_ever_and_the_window_ends() {
    let mut bench = Bench::new();
    let (session, id) = bench.join(true, &["a"]);
    bench.apply(Command::Detach { session, reason: Reason::ClientLeft });
    let effects = bench.apply(Command::Attach(Attach { session: id, tag: Tag(9), after: None }));
    assert!(matches!(effects.list.as_slice(), [Effect::AttachRefused { .. }]));
    let (session, _) = bench.join(true, &["a"]);
    bench.publish("a");
    bench.apply(Command::Detach { session, reason: Reason::Silent });
    bench.now = 100;
    assert_eq!(bench.hub.next_deadline(), Some(Millis(100)));
    let effects = bench.apply(Command::Tick);
    assert!(matches!(effects.list.as_slice(), [Effect::Ended { tag: None, reason: Reason::Expired, .. }]));
    assert!(bench.hub.is_idle());
}

#[test]
fn the_log_goes_with_the_last_session_that_may_need_it() {
    let mut bench = Bench::new();
    let (session, _) = bench.join(true, &["a"]);
    bench.publish("a");
    assert!(bench.hub.next_deadline().is_some(), "an entry ages");
    bench.apply(Command::End { session, reason: Reason::Kicked });
    assert!(bench.hub.is_idle());
}

#[test]
fn nobody_pays_for_recovery_who_does_not_use_it() {
    let mut bench = Bench::new();
    bench.join(false, &["a"]);
    let effects = bench.publish("a");
    assert!(effects.list.iter().any(|effect| matches!(effect, Effect::Deliver { offset: None, .. })));
    assert_eq!(bench.hub.next_deadline(), None);
}

/// The first member is announced to a foreign home; the answer and the admission wait for it.
#[test]
fn subscribers_of_a_foreign_channel_wait_for_its_home() {
    let mut bench = Bench::with(limits(), Vec::new(), 2);
    let topology = Topology { shards: 2, partitions: 8 };
    let foreign = |name: &ChannelName| name.home(&topology) == ShardId(1);
    let there = (0..).map(|n| name(&format!("c{n}"))).find(foreign).expect("half of them");
    let (first, id) = bench.open(false);
    let effects = bench.apply(Command::Admit(Admit {
        session: first,
        user: None,
        info: None,
        subscriptions: vec![there.to_string()],
        keepsake: bytes::Bytes::new(),
    }));
    let [Effect::Mail { to: ShardId(1), mail: HubMail::Interest { wanted: true, token: Some(token), .. } }] =
        effects.list.as_slice()
    else {
        panic!("{effects:?}")
    };
    let known = Command::Mail { from: ShardId(1), mail: HubMail::InterestKnown { token: *token } };
    assert!(bench.resume(first).is_empty(), "the home does not know yet");
    assert!(bench.subscribe(id, there.as_str()).list.is_empty(), "neither may this be reported");
    let effects = bench.apply(known);
    assert!(matches!(
        effects.list.as_slice(),
        [
            Effect::Send { item: Outgoing::Admitted { .. }, .. },
            Effect::Report { report: Report::Count(1), .. }
        ]
    ));
    let effects = bench.apply(Command::End { session: first, reason: Reason::ClientLeft });
    let retracted = |effect: &Effect| {
        matches!(effect, Effect::Mail { mail: HubMail::Interest { wanted: false, token: None, .. }, .. })
    };
    assert!(effects.list.iter().any(retracted));
    assert!(bench.hub.is_idle());
}

#[test]
fn an_observer_sees_without_being_seen() {
    let mut bench = Bench::with(limits(), kept(10, u64::MAX), 1);
    let open = Open { tag: Tag(77), random: [2; 9], recover: false, part: Part::Observer };
    let effects = bench.apply(Command::Open(open));
    let [Effect::Opened { session, id, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
    bench.apply(Command::Admit(Admit {
        session: *session,
        user: None,
        info: None,
        subscriptions: vec!["#".into()],
        keepsake: bytes::Bytes::new(),
    }));
    bench.resume(*session);
    bench.subscribe(*id, "a");
    let (client, _) = bench.join(false, &["a"]);
    let effects = bench.publish_to(Target::Channel(name("a")), |publish| publish.reply_within_ms = Some(5));
    let seen: Vec<_> = effects.recipients.iter().map(|recipient| recipient.session).collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(session) && seen.contains(&client), "once each, although it is subscribed twice");
    assert_eq!(counts(effects), (Counts { delivered: 1, queued: 0, dropped: 0 }, 1), "one client is asked");
    let query = Query::Sessions { of: None, after: None, limit: 10 };
    let Report::Sessions(page) = report(bench.apply(Command::Query { token: TOKEN, query })) else {
        panic!()
    };
    assert_eq!(page.items.len(), 1);
    let query = Query::Channels { filter: None, after: None, limit: 10 };
    let Report::Channels(page) = report(bench.apply(Command::Query { token: TOKEN, query })) else {
        panic!()
    };
    assert!(page.items.iter().all(|channel| channel.sessions == 1), "{:?}", page.items);
    let Report::Totals { sessions, .. } =
        report(bench.apply(Command::Query { token: TOKEN, query: Query::Totals }))
    else {
        panic!()
    };
    assert_eq!(sessions, 1);
}

#[test]
fn a_union_reaches_the_sessions_among_its_names_once_and_they_recover_it() {
    let mut bench = Bench::new();
    let (_, by_channel) = bench.join(true, &["r"]);
    let other = bench.join(true, &["s"]);
    bench.join(true, &["t"]);
    let names = [name("r"), ChannelName::client(by_channel), ChannelName::client(other.1)];
    let union = Target::Union(names.to_vec());
    let effects = bench.publish_to(union.clone(), |_| {});
    assert_eq!(counts(effects).0, Counts { delivered: 2, ..Counts::default() });
    let missed = come_back(&mut bench, other, None).expect("all of it is still known");
    assert!(matches!(missed.as_slice(), [Outgoing::Message { .. }, Outgoing::Admitted { recovered: true }]));
    for _ in 0..5 {
        bench.publish_to(union.clone(), |_| {});
    }
    assert!(come_back(&mut bench, other, None).is_none(), "the log holds four");
}

#[test]
fn a_union_comes_to_readers_by_the_first_name_that_they_are_subscribed_to() {
    let mut bench = Bench::new();
    let mut reader = |subscriptions: &[&str]| {
        let (session, id) = bench.open_as(false, Part::Reader);
        bench.admit(session, subscriptions);
        bench.resume(session);
        (session, id)
    };
    let (first, second, both) = (reader(&["r"]), reader(&["s/+"]), reader(&["s/1", "r"]));
    let by_name = reader(&[]);
    let client = bench.join(false, &["s/1"]);
    let names = [name("r"), name("s/1"), ChannelName::client(by_name.1)];
    let effects = bench.publish_to(Target::Union(names.to_vec()), |_| {});
    let mut came = Vec::new();
    for effect in &effects.list {
        match effect {
            Effect::Deliver { message, to, .. } => {
                let to = &effects.recipients[to.clone()];
                came.extend(to.iter().map(|to| (to.session, message.channel.clone())));
            }
            Effect::Send { to, item: Outgoing::Message { message, .. } } => {
                came.push((to.session, message.channel.clone()));
            }
            _ => {}
        }
    }
    came.sort_by_key(|(session, _)| session.0);
    let mut expected = vec![
        (first.0, name("r")),
        (second.0, name("s/1")),
        (both.0, name("r")),
        (by_name.0, ChannelName::client(by_name.1)),
        // Whoever is not told the channel shares what the others get.
        (client.0, name("r")),
    ];
    expected.sort_by_key(|(session, _)| session.0);
    assert_eq!(came, expected);
    assert_eq!(counts(effects).0, Counts { delivered: 5, ..Counts::default() });
}

#[test]
fn windows_go_on_by_what_is_left_of_them_although_clocks_start_anew() {
    let mut bench = Bench::new();
    bench.now = 5_000;
    let (away, id) = bench.join(true, &["a"]);
    let (_, other) = bench.join(true, &["a"]);
    bench.apply(Command::Detach { session: away, reason: Reason::Silent });
    bench.now = 5_060;
    bench.publish("a");
    // 40 ms are left of the first window, the second begins now: its connection goes with the process.
    assert!(bench.restart(30, limits()).is_empty());
    bench.now = 10;
    let effects = bench.apply(Command::Tick);
    assert!(
        matches!(effects.list.as_slice(), [Effect::Ended { id: ended, reason: Reason::Expired, .. }] if *ended == id)
    );
    bench.now = 69;
    assert!(bench.apply(Command::Tick).list.is_empty());
    let attach = Attach { session: other, tag: Tag(9), after: None };
    let effects = bench.apply(Command::Attach(attach));
    let [Effect::Attached { session, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
    assert_eq!(bench.resume(*session).len(), 2, "the message and its admission");
    bench.now = 71;
    bench.apply(Command::Tick);
    assert_eq!(bench.hub.len(), 1, "an attached session has no window");
}

#[test]
fn a_restored_window_is_no_longer_than_a_new_one() {
    let mut bench = Bench::new();
    bench.join(true, &["a"]);
    let mut shorter = limits();
    shorter.recovery.window_ms = 20;
    bench.restart(0, shorter);
    bench.now = 19;
    assert!(bench.apply(Command::Tick).list.is_empty());
    bench.now = 20;
    assert_eq!((bench.apply(Command::Tick).list.len(), bench.hub.len()), (1, 0));
}

#[test]
fn who_has_no_place_in_a_smaller_hub_is_named() {
    let mut bench = Bench::new();
    let ids: Vec<SessionId> = (0..3).map(|_| bench.join(true, &["a"]).1).collect();
    let refused = bench.restart(0, Limits { sessions_max: 2, ..limits() });
    assert_eq!(refused, [ids[2]]);
    assert_eq!(bench.hub.len(), 2);
    let effects = bench.publish("a");
    let queued = |effect: &Effect| matches!(effect, Effect::Report { report: Report::Delivered { counts, .. }, .. } if counts.queued == 2);
    assert!(effects.list.iter().any(queued), "{effects:?}");
}

#[test]
fn ids_of_asks_go_on_so_that_no_late_reply_is_taken_for_another() {
    let mut bench = Bench::new();
    let (_, id) = bench.join(true, &[]);
    let ask = |bench: &mut Bench| {
        let effects = bench.publish_to(Target::Session(id), |publish| publish.reply_within_ms = Some(50));
        let asks = effects.list.iter().find_map(|effect| match effect {
            Effect::Deliver { ask, .. } => *ask,
            _ => None,
        });
        asks.expect("it is ready")
    };
    let before = ask(&mut bench);
    bench.restart(0, limits());
    let effects = bench.apply(Command::Attach(Attach { session: id, tag: Tag(9), after: None }));
    let [Effect::Attached { session, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
    bench.resume(*session);
    assert!(ask(&mut bench) > before);
}

fn forget(bench: &mut Bench, channel: &str, before: Option<trunkline_hub::Position>) -> Report {
    report(bench.apply(Command::DropHistory { channel: name(channel), before, token: TOKEN }))
}

fn positions(report: &Report) -> Vec<u64> {
    let Report::History(page, _) = report else { panic!("{report:?}") };
    page.items.iter().map(|message| message.position.expect("it is kept").offset).collect()
}

fn newest(report: &Report) -> Option<trunkline_hub::Position> {
    let Report::History(_, newest) = report else { panic!("{report:?}") };
    *newest
}

#[test]
fn a_history_that_is_deleted_goes_on_under_another_epoch() {
    let mut bench = Bench::with(limits(), kept(10, 1000), 1);
    bench.join(false, &["kept/a"]);
    (0..3).for_each(|_| drop(bench.publish("kept/a")));
    let before = newest(&bench.history("kept/a", None)).expect("three are kept");
    assert!(matches!(forget(&mut bench, "kept/a", None), Report::Count(3)));
    assert_eq!(newest(&bench.history("kept/a", None)), None);
    assert!(matches!(bench.history("kept/a", Some(before)), Report::Refused(Refusal::PositionLost)));
    bench.publish("kept/a");
    let after = newest(&bench.history("kept/a", None)).expect("one is kept");
    assert!(after.epoch != before.epoch && after.offset == 1, "{after:?}");
    assert!(matches!(forget(&mut bench, "kept/none", None), Report::Count(0)));
    // Nothing is left that time would come back to.
    forget(&mut bench, "kept/a", None);
    bench.now += 10_000;
    bench.apply(Command::Tick);
    assert_eq!(bench.hub.next_deadline(), None);
}

#[test]
fn what_is_older_than_a_place_is_deleted_and_the_epoch_stays() {
    let mut bench = Bench::with(limits(), kept(10, 1000), 1);
    (0..5).for_each(|_| drop(bench.publish("kept/a")));
    let newest_one = newest(&bench.history("kept/a", None)).expect("five are kept");
    let third = trunkline_hub::Position { offset: 3, ..newest_one };
    assert!(matches!(forget(&mut bench, "kept/a", Some(third)), Report::Count(2)));
    let left = bench.history("kept/a", None);
    assert_eq!((positions(&left), newest(&left)), (vec![3, 4, 5], Some(newest_one)));
    assert!(matches!(forget(&mut bench, "kept/a", Some(third)), Report::Count(0)));
    let unknown = trunkline_hub::Position { offset: 9, ..newest_one };
    assert!(matches!(forget(&mut bench, "kept/a", Some(unknown)), Report::Refused(Refusal::PositionLost)));
    assert!(matches!(forget(&mut bench, "kept/b", Some(third)), Report::Refused(Refusal::PositionLost)));
}

#[test]
fn a_history_is_read_in_both_directions_between_two_places() {
    let mut bench = Bench::with(limits(), kept(10, 1000), 1);
    (0..5).for_each(|_| drop(bench.publish("kept/a")));
    let newest_one = newest(&bench.history("kept/a", None)).expect("five are kept");
    let at = |offset| Some(trunkline_hub::Position { offset, ..newest_one });
    let mut read =
        |after, before, order, limit| {
            let span = trunkline_hub::Span { after, before, order, limit };
            report(bench.apply(Command::Query {
                token: TOKEN,
                query: Query::History { channel: name("kept/a"), span },
            }))
        };
    use trunkline_hub::Order::{NewestFirst, OldestFirst};
    let more = |report: &Report| matches!(report, Report::History(page, _) if page.more);
    let page = read(None, None, NewestFirst, 2);
    assert_eq!((positions(&page), more(&page)), (vec![5, 4], true));
    let page = read(None, at(4), NewestFirst, 9);
    assert_eq!((positions(&page), more(&page)), (vec![3, 2, 1], false));
    let page = read(at(1), at(4), OldestFirst, 1);
    assert_eq!((positions(&page), more(&page)), (vec![2], true));
    let page = read(at(3), at(3), OldestFirst, 9);
    assert_eq!((positions(&page), more(&page)), (vec![], false));
    assert!(matches!(read(None, at(9), NewestFirst, 9), Report::Refused(Refusal::PositionLost)));
}
