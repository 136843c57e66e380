//! What the simulation does not meet, with one hub.

use bytes::Bytes;
use hub::{
    Admit, Attach, Body, ChannelName, ChannelRule, Command, Config, Effect, Effects, Entry, HistoryRule, Hub,
    Limits, MessageId, Millis, Offset, Open, Outgoing, Part, Place, Position, Publish, Quality, Query,
    Reason, Receipt, Record, RecoveryLimits, Report, SessionId, SessionKey, ShardId, Snapshot, Span, Tag,
    Target, Token, Topology, Traits, WhenFull,
};
use std::collections::BTreeMap;

fn hub(shards: u8) -> Hub {
    Hub::new(config(shards))
}

/// Of a log that is always full.
fn hub_of_a_short_log() -> Hub {
    let mut config = config(1);
    config.limits.recovery.messages_max = 1;
    Hub::new(config)
}

/// Each channel has a history in the journal.
fn hub_with_histories() -> Hub {
    let mut config = config(1);
    config.limits.history_bytes_max = 1 << 30;
    let history = Some(HistoryRule { messages_max: 100_000, age_ms_max: 1 << 40, durable: true });
    let (filter, when_full) = ("#".to_owned(), WhenFull::Newest);
    let rule = ChannelRule { filter, history, presence: trunkline_hub::Presence::Off, when_full };
    config.rules.push(rule);
    Hub::new(config)
}

fn config(shards: u8) -> Config {
    let limits = Limits {
        sessions_max: 10,
        channels_max: 10,
        subscriptions_per_session_max: 10,
        channel_name_bytes_max: 10,
        outbox_messages_max: 1_000_000,
        outbox_bytes_max: 1 << 30,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 0,
        retained_max: 0,
        retained_bytes_max: 0,
        delayed_max: 0,
        delayed_bytes_max: 0,
        recovery: RecoveryLimits { messages_max: 1_000_000, bytes_max: 1 << 30, window_ms: 1 << 40 },
    };
    let topology = Topology { shards, partitions: 4 };
    Config { shard: ShardId(0), topology, epoch: 7, limits, rules: Vec::new() }
}

fn in_channel(name: &str) -> Target {
    Target::Channel(ChannelName::parse(name, 10).unwrap())
}

#[derive(Default)]
struct Bench {
    hub: Option<Hub>,
    safe: BTreeMap<Place, Record>,
    /// Changes of this hub.
    made: u64,
    effects: Effects,
}

impl Bench {
    fn new() -> Self {
        Self::of(hub(1))
    }

    fn of(mut hub: Hub) -> Self {
        hub.keep_journal(&[], Vec::new());
        Self { hub: Some(hub), ..Self::default() }
    }

    fn apply(&mut self, command: Command) -> &[Effect] {
        self.apply_at(5, command)
    }

    fn apply_at(&mut self, ms: u64, command: Command) -> &[Effect] {
        self.effects.clear();
        self.hub.as_mut().unwrap().apply(Millis(ms), command, &mut self.effects);
        self.take_entries();
        &self.effects.list
    }

    fn take_entries(&mut self) {
        for entry in self.effects.entries.drain(..) {
            self.made += 1;
            match entry {
                Entry::Keep { place, record } => drop(self.safe.insert(place, record)),
                Entry::Drop(place) => assert!(self.safe.remove(&place).is_some()),
            }
        }
    }

    /// The hub hears that all is written.
    fn keep(&mut self) -> &[Effect] {
        let safe = self.made;
        self.apply(Command::Kept { safe })
    }

    /// A session that is in `a` and `b`, and is not told yet.
    fn session(&mut self) -> (SessionKey, SessionId) {
        let open = Open { tag: Tag(1), random: [3; 9], recover: true, part: Part::Client };
        let [Effect::Opened { session, id, .. }] = self.apply(Command::Open(open)) else { panic!() };
        let (session, id) = (*session, *id);
        let (subscriptions, keepsake) = (vec!["a".to_owned(), "b".to_owned()], Bytes::from_static(b"k"));
        self.apply(Command::Admit(Admit { session, user: None, info: None, subscriptions, keepsake }));
        (session, id)
    }

    fn publish(&mut self, number: u128, quality: Quality) {
        self.publish_for(None, number, quality);
    }

    fn publish_for(&mut self, receipt: Option<Receipt>, number: u128, quality: Quality) {
        self.publish_to(in_channel("a"), (receipt, number, quality));
    }

    fn publish_to(&mut self, target: Target, (receipt, number, quality): (Option<Receipt>, u128, Quality)) {
        let publish = Publish {
            id: MessageId(number),
            target,
            event: None,
            body: Body::Raw(Bytes::from_static(b"m")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { quality, ..Traits::default() },
            receipt,
        };
        self.apply(Command::Publish(Box::new(publish)));
    }

    /// Another hub goes on with what is written.
    fn crash(&mut self, shards: u8) -> Vec<SessionId> {
        self.crash_into(hub(shards))
    }

    fn crash_into(&mut self, mut next: Hub) -> Vec<SessionId> {
        let last: BTreeMap<_, _> = self.safe.keys().map(|place| (place.partition, place.number)).collect();
        let last: Vec<_> = last.into_iter().collect();
        let records = self.safe.iter().map(|(place, record)| (*place, record.clone())).collect();
        next.keep_journal(&last, records);
        self.effects.clear();
        let refused = next.restore(Millis(5), 0, Snapshot::default(), &mut self.effects);
        self.hub = Some(next);
        self.made = 0;
        self.take_entries();
        self.keep();
        refused
    }

    /// Numbers of the messages that a client gets who comes back, if it may.
    fn attach(&mut self, session: SessionId, after: Option<Offset>) -> Option<Vec<u128>> {
        let attach = Attach { session, tag: Tag(2), after };
        let [Effect::Attached { session, .. }] = self.apply(Command::Attach(attach)) else { return None };
        let session = *session;
        let list = self.apply(Command::Resume { session, budget: u32::MAX });
        let number = |effect: &Effect| match effect {
            Effect::Send { item: Outgoing::Message { message, .. }, .. } => Some(message.id.0),
            _ => None,
        };
        Some(list.iter().filter_map(number).collect())
    }
}

#[test]
fn an_admission_waits_until_it_is_safe_and_messages_behind_it_too() {
    let mut bench = Bench::new();
    let (session, _) = bench.session();
    assert!(bench.apply(Command::Resume { session, budget: 9 }).is_empty());
    bench.publish(1, Quality::AtMostOnce);
    assert!(bench.effects.list.is_empty());
    let effects = bench.keep();
    let is_told = matches!(
        effects,
        [Effect::Send { item: Outgoing::Admitted { recovered: false }, .. }, Effect::Send { .. }]
    );
    assert!(is_told, "{effects:?}");
}

#[test]
fn a_request_is_answered_when_what_it_led_to_is_safe() {
    let mut bench = Bench::new();
    let (session, id) = bench.session();
    bench.keep();
    bench.apply(Command::Resume { session, budget: 9 });
    let receipt = Some(Receipt::Request { shard: ShardId(0), session: id, request: 5 });
    let is_answer = |effect: &Effect| matches!(effect, Effect::Send { item: Outgoing::Answer { request: 5, body }, .. } if *body == Body::nothing());
    bench.publish_for(receipt, 1, Quality::AtLeastOnce);
    let effects = &bench.effects.list;
    assert!(matches!(effects.as_slice(), [Effect::Deliver { .. }]), "{effects:?}");
    let effects = bench.keep();
    assert!(effects.len() == 1 && effects.iter().all(is_answer), "{effects:?}");
    // What nobody keeps is answered at once.
    bench.apply(Command::End { session, reason: Reason::ClientLeft });
    let (_, id) = bench.session();
    bench.keep();
    bench.apply(Command::Resume { session, budget: 9 });
    let receipt = Some(Receipt::Request { shard: ShardId(0), session: id, request: 5 });
    bench.publish_for(receipt, 2, Quality::AtMostOnce);
    assert!(bench.effects.list.iter().any(is_answer), "{:?}", bench.effects);
}

/// At most once waits for nothing, so a disk that stands still must not fill the memory with it.
#[test]
fn what_was_not_kept_while_too_much_waited_makes_a_client_that_needs_it_begin_anew() {
    let mut bench = Bench::new();
    let (session, id) = bench.session();
    bench.keep();
    bench.apply(Command::Resume { session, budget: 9 });
    let count = 70_000_u128;
    (0..count).for_each(|number| bench.publish(number, Quality::AtMostOnce));
    let kept = bench.safe.values().filter(|record| matches!(record, Record::Delivered(_))).count();
    assert!((60_000..66_000).contains(&kept), "{kept} are kept");
    bench.keep();
    bench.publish(count, Quality::AtMostOnce);
    assert_eq!(bench.attach(id, None).map(|all| all.len() as u128), Some(count + 1), "all are here still");

    assert!(bench.crash(1).is_empty());
    assert_eq!(bench.hub.as_mut().unwrap().take_keepsakes(), [(id, Bytes::from_static(b"k"))]);
    let newest = count as u64 + 1;
    assert_eq!(bench.attach(id, seen(newest - 1)), Some(vec![count]), "nothing is missing behind that");
    assert_eq!(bench.attach(id, seen(10)), None);
}

/// A message for the session alone is gone first, then one of a channel that it leaves.
fn leave_with_both_gone(bench: &mut Bench, session: SessionKey, id: SessionId) {
    bench.apply(Command::Resume { session, budget: 9 });
    for (number, target) in [(1, Target::Session(id)), (2, in_channel("a")), (3, in_channel("b"))] {
        bench.publish_to(target, (None, number, Quality::AtLeastOnce));
    }
    bench.apply(Command::Leave { session, filter: "a".to_owned(), group: None, request: 1 });
}

fn seen(sequence: u64) -> Option<Offset> {
    Some(Offset { epoch: 7, sequence })
}

/// The mark of what was for the session alone was written behind the newer one of what it left, and took its place.
#[test]
fn what_is_gone_for_a_session_stays_gone_when_an_older_mark_is_due() {
    let mut bench = Bench::of(hub_of_a_short_log());
    let (session, id) = bench.session();
    leave_with_both_gone(&mut bench, session, id);
    bench.apply_at(5_000, Command::Tick);
    assert!(bench.crash_into(hub_of_a_short_log()).is_empty());
    assert_eq!(bench.attach(id, seen(2)), Some(vec![3]));
    assert!(bench.crash_into(hub_of_a_short_log()).is_empty());
    assert_eq!(bench.attach(id, seen(1)), None, "message 2 cannot be recovered");
}

/// The same when the records of what is gone were not dropped before the crash.
#[test]
fn what_is_gone_for_a_session_stays_gone_when_older_entries_are_purged_after_a_crash() {
    let mut bench = Bench::of(hub_of_a_short_log());
    let (session, id) = bench.session();
    leave_with_both_gone(&mut bench, session, id);
    let entry = |(place, record): (&Place, &Record)| match record {
        Record::Delivered(delivered) if delivered.sequence == 1 => Some((*place, record.clone())),
        _ => None,
    };
    let first = bench.safe.iter().find_map(entry).expect("it waits to be dropped");
    bench.apply_at(5_000, Command::Tick);
    bench.safe.insert(first.0, first.1);
    assert!(bench.crash_into(hub_of_a_short_log()).is_empty());
    bench.apply_at(10_000, Command::Tick);
    assert!(bench.crash_into(hub_of_a_short_log()).is_empty());
    assert_eq!(bench.attach(id, seen(2)), Some(vec![3]));
    assert!(bench.crash_into(hub_of_a_short_log()).is_empty());
    assert_eq!(bench.attach(id, seen(1)), None, "message 2 cannot be recovered");
}

/// Numbers of the messages that can be read in `a`, after a position.
fn history(bench: &mut Bench, after: Option<Position>) -> (Vec<u128>, Option<Position>) {
    let channel = ChannelName::parse("a", 10).unwrap();
    let query = Query::History { channel, span: Span::after(after, u32::MAX) };
    let effects = bench.apply(Command::Query { token: Token(1), query });
    let [Effect::Report { report: Report::History(page, newest), .. }] = effects else {
        panic!("{effects:?}")
    };
    (page.items.iter().map(|message| message.id.0).collect(), *newest)
}

/// It took a position, and after a crash everything before that was given up.
#[test]
fn what_was_not_kept_while_too_much_waited_leaves_no_hole_in_a_history() {
    let mut bench = Bench::of(hub_with_histories());
    let count = 70_000_u128;
    (0..count).for_each(|number| bench.publish(number, Quality::AtMostOnce));
    bench.publish(count, Quality::AtLeastOnce);
    bench.keep();
    bench.publish(count + 1, Quality::AtMostOnce);
    bench.keep();
    let (all, newest) = history(&mut bench, None);
    assert!((60_000..66_000).contains(&all.len()), "{} are kept", all.len());
    assert_eq!(all[all.len() - 2..], [count, count + 1]);
    assert_eq!(newest.map(|newest| newest.offset), Some(all.len() as u64), "each has a place");

    assert!(bench.crash_into(hub_with_histories()).is_empty());
    assert_eq!(history(&mut bench, None), (all, newest));
}

#[test]
fn with_another_number_of_shards_nobody_is_recovered_and_nothing_is_left() {
    let mut bench = Bench::new();
    let (_, id) = bench.session();
    bench.keep();
    bench.publish(1, Quality::AtLeastOnce);
    assert!(bench.safe.len() >= 4, "{:?}", bench.safe);
    assert_eq!(bench.crash(2), [id]);
    assert_eq!(bench.hub.as_mut().unwrap().take_keepsakes().len(), 1);
    assert_eq!(bench.attach(id, None), None);
    assert!(bench.safe.is_empty(), "{:?}", bench.safe);
}

#[test]
fn a_session_of_a_hub_without_a_journal_is_kept_from_then_on() {
    let mut bench = Bench { hub: Some(hub(1)), ..Bench::default() };
    let (session, id) = bench.session();
    bench.apply(Command::Resume { session, budget: 9 });
    (0..3).for_each(|number| bench.publish(number, Quality::AtLeastOnce));
    let mut snapshot = bench.hub.as_ref().unwrap().snapshot(Millis(5));
    snapshot.sessions[0].keepsake = Bytes::from_static(b"later");
    let mut next = hub(1);
    next.keep_journal(&[], Vec::new());
    bench.effects.clear();
    assert_eq!(next.restore(Millis(5), 0, snapshot, &mut bench.effects), []);
    bench.hub = Some(next);
    bench.take_entries();
    bench.publish(3, Quality::AtLeastOnce);
    assert!(bench.crash(1).is_empty());
    assert_eq!(bench.hub.as_mut().unwrap().take_keepsakes(), [(id, Bytes::from_static(b"later"))]);
    assert_eq!(bench.attach(id, seen(2)), Some(vec![2, 3]));
    bench.apply(Command::End { session, reason: Reason::ClientLeft });
    assert!(bench.safe.is_empty(), "{:?}", bench.safe);
}
