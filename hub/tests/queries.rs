//! What the back end may ask about sessions that bear their clients' own names, about retained values, and about who is slow.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests and their helpers")]

use bytes::Bytes;
use trunkline_hub::{
    Body, CatchUp, ChannelName, Claim, Command, Config, Effect, Effects, Hub, Join, Limits, Members,
    MessageId, Millis, Options, Publish, Quality, Query, Reason, RecoveryLimits, Report, SessionKey,
    SessionView, ShardId, Step, Tag, Target, Token, Topology, Traits,
};

const TOKEN: Token = Token(7);

struct Bench {
    hub: Hub,
    now: u64,
    next_tag: u32,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits {
            sessions_max: 10,
            channels_max: 10,
            subscriptions_per_session_max: 5,
            channel_name_bytes_max: 20,
            outbox_messages_max: 3,
            outbox_bytes_max: 100,
            asks_per_session_max: 2,
            asks_max: 3,
            history_bytes_max: 1000,
            retained_max: 10,
            retained_bytes_max: 1000,
            delayed_max: 10,
            delayed_bytes_max: 1000,
            recovery: RecoveryLimits { messages_max: 4, bytes_max: 1000, window_ms: 100 },
        };
        let topology = Topology { shards: 1, partitions: 8 };
        let config = Config { shard: ShardId(0), topology, epoch: 5, limits, rules: Vec::new() };
        Self { hub: Hub::new(config), now: 0, next_tag: 0 }
    }

    fn apply(&mut self, command: Command) -> Effects {
        let mut effects = Effects::default();
        self.hub.apply(Millis(self.now), command, &mut effects);
        effects
    }

    fn ask(&mut self, query: Query) -> Report {
        let effects = self.apply(Command::Query { token: TOKEN, query });
        report(effects)
    }

    /// A ready session that gets `a` in the quality given, one message at a time.
    fn claim(&mut self, name: &str, quality: Quality) -> SessionKey {
        self.next_tag += 1;
        let claim = Claim {
            tag: Tag(self.next_tag),
            name: name.into(),
            fresh: false,
            keep_ms: 1000,
            window: 1,
            will: None,
            user: None,
            info: None,
            random: [1; 9],
        };
        let effects = self.apply(Command::Claim(Box::new(claim)));
        let [Effect::Claimed { session, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
        let session = *session;
        self.apply(Command::Resume { session, budget: 100 });
        let options = Options { quality, ..Options::default() };
        let (filter, catch_up) = ("a".to_owned(), CatchUp::Never);
        self.apply(Command::Join(Join { session, filter, group: None, options, catch_up, request: 1 }));
        session
    }

    fn publish(&mut self, change: impl FnOnce(&mut Publish)) {
        let mut publish = Publish {
            id: MessageId(u128::from(self.now)),
            target: Target::Channel(name("a")),
            event: None,
            body: Body::Raw(Bytes::from_static(b"0123456789")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { quality: Quality::AtLeastOnce, ..Traits::default() },
            receipt: None,
        };
        change(&mut publish);
        self.apply(Command::Publish(Box::new(publish)));
    }

    fn sessions(&mut self, query: Query) -> Vec<SessionView> {
        let Report::Sessions(page) = self.ask(query) else { panic!("sessions were asked for") };
        page.items
    }

    fn named(&mut self, name: &str) -> Option<SessionView> {
        let of = Some(Members::Name(name.into()));
        self.sessions(Query::Sessions { of, after: None, limit: 9 }).pop()
    }

    /// In flight, waiting, dropped, expired.
    fn totals(&mut self) -> (u64, u64, u64, u64) {
        let Report::Totals { in_flight, queued, dropped, expired, .. } = self.ask(Query::Totals) else {
            panic!("totals were asked for")
        };
        (in_flight, queued, dropped, expired)
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text, 20).unwrap()
}

fn report(mut effects: Effects) -> Report {
    match effects.list.pop() {
        Some(Effect::Report { token: TOKEN, report }) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_is_found_by_its_clients_name_wherever_its_client_is() {
    let mut bench = Bench::new();
    let session = bench.claim("one", Quality::AtLeastOnce);
    let view = bench.named("one").expect("it is there");
    assert_eq!((view.name.as_deref(), view.tag.is_some(), view.until), (Some("one"), true, None));
    assert!(bench.named("two").is_none());
    bench.now = 50;
    bench.apply(Command::Detach { session, reason: Reason::ConnectionClosed });
    let view = bench.named("one").expect("it is kept");
    assert_eq!((view.tag, view.until), (None, Some(Millis(1050))));
    let end = Command::EndMembers { of: Members::Name("one".into()), reason: Reason::Kicked, token: TOKEN };
    assert!(matches!(report(bench.apply(end)), Report::Count(1)));
    assert!(bench.named("one").is_none());
}

#[test]
fn what_is_on_its_way_is_counted_until_it_is_the_clients() {
    let mut bench = Bench::new();
    let session = bench.claim("one", Quality::AtLeastOnce);
    bench.publish(|_| {});
    bench.publish(|_| {});
    assert_eq!(bench.totals(), (1, 1, 0, 0));
    let view = bench.named("one").expect("it is there");
    assert_eq!((view.in_flight, view.queued), (1, 1));
    bench.apply(Command::Settle { session, number: 1, step: Step::Done });
    assert_eq!(bench.totals(), (1, 0, 0, 0));
    bench.apply(Command::Settle { session, number: 2, step: Step::Done });
    assert_eq!(bench.totals(), (0, 0, 0, 0));
    bench.publish(|publish| publish.traits.quality = Quality::AtMostOnce);
    assert_eq!(bench.totals(), (0, 0, 0, 0), "nobody waits for an acknowledgement of this");
    bench.publish(|_| {});
    bench.apply(Command::End { session, reason: Reason::Kicked });
    assert_eq!(bench.totals(), (0, 0, 0, 0), "what was on its way is gone with the session");
}

#[test]
fn what_comes_back_on_a_new_connection_is_not_counted_twice() {
    let mut bench = Bench::new();
    let session = bench.claim("one", Quality::ExactlyOnce);
    bench.publish(|publish| publish.traits.quality = Quality::ExactlyOnce);
    bench.apply(Command::Detach { session, reason: Reason::ConnectionClosed });
    let session = bench.claim("one", Quality::ExactlyOnce);
    assert_eq!(bench.totals(), (1, 0, 0, 0));
    bench.apply(Command::Settle { session, number: 1, step: Step::Received });
    assert_eq!(bench.totals(), (1, 0, 0, 0), "the number is in use");
    bench.apply(Command::Settle { session, number: 1, step: Step::Forgotten });
    assert_eq!(bench.totals(), (0, 0, 0, 0));
}

#[test]
fn what_is_too_old_or_too_much_is_counted() {
    let mut bench = Bench::new();
    let session = bench.claim("one", Quality::AtLeastOnce);
    bench.apply(Command::Detach { session, reason: Reason::ConnectionClosed });
    bench.publish(|publish| publish.traits.expires = Some(Millis(10)));
    for _ in 0..3 {
        bench.publish(|_| {});
    }
    assert_eq!(bench.totals(), (0, 3, 1, 0), "three wait, there is no place for the fourth");
    bench.now = 10;
    bench.claim("one", Quality::AtLeastOnce);
    assert_eq!(bench.totals(), (1, 1, 1, 1));
}

#[test]
fn a_retained_value_is_shown_until_it_is_taken_away_or_too_old() {
    let mut bench = Bench::new();
    let shown = |bench: &mut Bench| match bench.ask(Query::Retained { channel: name("a") }) {
        Report::Retained(message) => message.map(|message| message.body.len_bytes()),
        other => panic!("{other:?}"),
    };
    let take = |bench: &mut Bench| {
        let effects = bench.apply(Command::DropRetained { channel: name("a"), token: TOKEN });
        assert_eq!(effects.list.len(), 1, "nobody else is told");
        matches!(report(effects), Report::Count(1))
    };
    assert_eq!(shown(&mut bench), None);
    bench.publish(|publish| publish.traits.retain = true);
    assert_eq!(shown(&mut bench), Some(10));
    assert!(matches!(bench.ask(Query::Totals), Report::Totals { retained: 1, retained_bytes: 10, .. }));
    assert!(take(&mut bench) && !take(&mut bench));
    assert_eq!(shown(&mut bench), None);
    bench.publish(|publish| {
        (publish.traits.retain, publish.traits.expires) = (true, Some(Millis(5)));
    });
    bench.now = 5;
    assert_eq!(shown(&mut bench), None);
    bench.apply(Command::Tick);
    assert!(bench.hub.is_idle());
}

#[test]
fn who_is_furthest_behind_comes_first_and_who_is_not_behind_does_not_come() {
    let mut bench = Bench::new();
    for name in ["quick", "slow", "slower"] {
        bench.claim(name, Quality::AtLeastOnce);
    }
    let done = |bench: &mut Bench, name: &str, numbers: &[u16]| {
        let key = SessionKey(bench.named(name).expect("it is there").id.slot());
        for number in numbers {
            bench.apply(Command::Settle { session: key, number: *number, step: Step::Done });
        }
    };
    let slowest = |bench: &mut Bench, connected, limit| -> Vec<(String, u64)> {
        let found = bench.sessions(Query::Slowest { connected, limit });
        let shown = |view: SessionView| (view.name.unwrap().to_string(), view.oldest.unwrap().0);
        found.into_iter().map(shown).collect()
    };
    assert_eq!(slowest(&mut bench, false, 9), []);
    for now in [10, 20, 30] {
        bench.now = now;
        bench.publish(|_| {});
    }
    done(&mut bench, "quick", &[1, 2, 3]);
    // What counts is how old the oldest is, not how many there are.
    done(&mut bench, "slow", &[1, 2]);
    done(&mut bench, "slower", &[1]);
    let all = [("slower".to_owned(), 20), ("slow".to_owned(), 30)];
    assert_eq!(slowest(&mut bench, false, 9), all);
    assert_eq!(slowest(&mut bench, true, 1), all[..1]);
    // What a client asks for is not late, however old it is.
    bench.publish(|publish| publish.traits.retain = true);
    done(&mut bench, "quick", &[4]);
    bench.now = 99;
    let session = bench.claim("new", Quality::AtLeastOnce);
    let options = Options { quality: Quality::AtLeastOnce, ..Options::default() };
    let (filter, catch_up) = ("a".to_owned(), CatchUp::Always);
    bench.apply(Command::Join(Join { session, filter, group: None, options, catch_up, request: 2 }));
    assert_eq!(bench.named("new").map(|view| (view.in_flight, view.oldest)), Some((1, None)));
    assert_eq!(slowest(&mut bench, false, 9).len(), 2);
    // Who is away is behind, too, but not slow.
    let away = SessionKey(bench.named("slower").expect("it is there").id.slot());
    bench.apply(Command::Detach { session: away, reason: Reason::ConnectionClosed });
    assert_eq!(slowest(&mut bench, true, 9), all[1..]);
    assert_eq!(slowest(&mut bench, false, 9), all);
}
