//! Sessions that read what channels keep: nothing is missing between what was and what comes.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::VecDeque;

use bytes::Bytes;
use trunkline_hub as hub;
use trunkline_hub::{
    Admit, Body, ChannelName, ChannelRule, Command, Config, Effect, HistoryPage, HistoryRule, Hub, HubMail,
    Limits, MessageId, Millis, Open, Outcome, Outgoing, Part, Position, Publish, Read, ReadFrom, Receipt,
    RecoveryLimits, Refusal, SessionKey, ShardId, Tag, Target, Topology, Traits,
};

const TOPOLOGY: Topology = Topology { shards: 2, partitions: 8 };

/// Two shards whose mail travels when it is told to.
struct Node {
    hubs: Vec<Hub>,
    now: u64,
    mail: VecDeque<(ShardId, ShardId, HubMail)>,
    seen: Vec<Seen>,
}

#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Admitted,
    Message(String, Option<u64>),
    Page { offsets: Vec<u64>, more: bool, is_lost: bool, newest: Option<u64>, earliest: Option<u64> },
    Placed(u64, Result<Option<u64>, Refusal>),
}

fn limits() -> Limits {
    Limits {
        sessions_max: 10,
        channels_max: 10,
        subscriptions_per_session_max: 10,
        channel_name_bytes_max: 100,
        outbox_messages_max: 10,
        outbox_bytes_max: 1000,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 10_000,
        retained_max: 10,
        retained_bytes_max: 1000,
        delayed_max: 10,
        delayed_bytes_max: 1000,
        recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
    }
}

/// A channel of this shard that keeps five messages for ten minutes.
fn kept(shard: ShardId) -> ChannelName {
    let names = (0..).map(|n| ChannelName::parse(&format!("kept/{n}"), 100).unwrap());
    names.into_iter().find(|name| name.home(&TOPOLOGY) == shard).unwrap()
}

impl Node {
    fn new() -> Self {
        let history = Some(HistoryRule { messages_max: 5, age_ms_max: 600_000, durable: false });
        let rule = ChannelRule {
            filter: "kept/#".into(),
            history,
            presence: trunkline_hub::Presence::Off,
            when_full: hub::WhenFull::Newest,
        };
        let hub = |shard| {
            let rules = vec![rule.clone()];
            Hub::new(Config { shard: ShardId(shard), topology: TOPOLOGY, epoch: 7, limits: limits(), rules })
        };
        Self { hubs: vec![hub(0), hub(1)], now: 1000, mail: VecDeque::new(), seen: Vec::new() }
    }

    fn apply(&mut self, shard: ShardId, command: Command) {
        let mut effects = hub::Effects::default();
        self.hubs[usize::from(shard.0)].apply(Millis(self.now), command, &mut effects);
        for effect in effects.list {
            match effect {
                Effect::Mail { to, mail } => self.mail.push_back((shard, to, mail)),
                Effect::Deliver { message, to, .. } => to.for_each(|_| self.see(&message)),
                Effect::Send { item: Outgoing::Message { message, .. }, .. } => self.see(&message),
                Effect::Send { item: Outgoing::Admitted { .. }, .. } => self.seen.push(Seen::Admitted),
                Effect::Page { page, request: 3, .. } => self.seen.push(page_seen(&page)),
                Effect::Placed { request, outcome } => self.seen.push(Seen::Placed(
                    request,
                    match outcome {
                        Outcome::Published { position, .. } => Ok(position.map(|position| position.offset)),
                        Outcome::Refused(refusal) => Err(refusal),
                        other => panic!("{other:?}"),
                    },
                )),
                Effect::Opened { .. } | Effect::Ended { .. } | Effect::More { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn see(&mut self, message: &hub::Message) {
        let Body::Raw(body) = &message.body else { panic!("only these are published") };
        let offset = message.position.map(|position| position.offset);
        self.seen.push(Seen::Message(String::from_utf8(body.to_vec()).unwrap(), offset));
    }

    /// The oldest mail, if there is any.
    fn deliver_one(&mut self) {
        if let Some((from, to, mail)) = self.mail.pop_front() {
            self.apply(to, Command::Mail { from, mail });
        }
    }

    /// Until no mail is left.
    fn settle(&mut self) -> Vec<Seen> {
        while let Some((from, to, mail)) = self.mail.pop_front() {
            self.apply(to, Command::Mail { from, mail });
        }
        std::mem::take(&mut self.seen)
    }

    /// A session of the first shard that is subscribed.
    fn open(&mut self, channel: &ChannelName) -> SessionKey {
        self.apply(
            ShardId(0),
            Command::Open(Open { tag: Tag(0), random: [1; 9], recover: false, part: Part::Client }),
        );
        let session = SessionKey(self.hubs[0].len() as u32 - 1);
        let subscriptions = vec![channel.as_str().to_owned()];
        let admit = Admit { session, user: None, info: None, subscriptions, keepsake: Bytes::new() };
        self.apply(ShardId(0), Command::Admit(admit));
        session
    }

    fn publish(&mut self, channel: &ChannelName, text: &str) {
        self.publish_with(channel, text, Traits::default());
    }

    fn retain(&mut self, channel: &ChannelName, text: &str) {
        self.publish_with(channel, text, Traits { retain: true, ..Traits::default() });
    }

    fn publish_with(&mut self, channel: &ChannelName, text: &str, traits: Traits) {
        let publish = Publish {
            id: MessageId(1),
            target: Target::Channel(channel.clone()),
            event: None,
            body: Body::Raw(Bytes::copy_from_slice(text.as_bytes())),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits,
            receipt: Some(Receipt::Front { shard: ShardId(0), request: 9 }),
        };
        self.apply(channel.home(&TOPOLOGY), Command::Publish(Box::new(publish)));
    }

    fn read(&mut self, session: SessionKey, channel: &ChannelName, from: ReadFrom, limit: u32) {
        let read = Read { session, channel: channel.clone(), from, limit, request: 3 };
        self.apply(ShardId(0), Command::Read(Box::new(read)));
    }

    /// What a session of its own reads, all at once.
    fn page(&mut self, channel: &ChannelName, from: ReadFrom, limit: u32) -> Seen {
        let other = ChannelName::parse("elsewhere", 100).unwrap();
        let session = self.open(&other);
        self.settle();
        self.read(session, channel, from, limit);
        let page = self.settle().into_iter().next().unwrap();
        self.apply(ShardId(0), Command::End { session, reason: hub::Reason::ClientLeft });
        self.settle();
        page
    }

    fn newest(&mut self, channel: &ChannelName) -> Position {
        let before = self.hubs[0].len();
        let session = self.open(channel);
        self.settle();
        let mut effects = hub::Effects::default();
        let read = Read { session, channel: channel.clone(), from: ReadFrom::Last(0), limit: 0, request: 4 };
        self.hubs[0].apply(Millis(self.now), Command::Read(Box::new(read)), &mut effects);
        let position = match effects.list.pop() {
            Some(Effect::Page { page, .. }) => page.newest,
            other => panic!("the channel is this shard's: {other:?}"),
        };
        self.apply(ShardId(0), Command::End { session, reason: hub::Reason::ClientLeft });
        self.settle();
        assert_eq!(self.hubs[0].len(), before);
        position.unwrap()
    }
}

fn page_seen(page: &HistoryPage) -> Seen {
    let offset = |position: Position| position.offset;
    Seen::Page {
        offsets: page.messages.iter().map(|message| message.position.unwrap().offset).collect(),
        more: page.more,
        is_lost: page.is_lost,
        newest: page.newest.map(offset),
        earliest: page.earliest.map(offset),
    }
}

fn page(offsets: &[u64], newest: u64, earliest: u64) -> Seen {
    let (newest, earliest) = (Some(newest), Some(earliest));
    Seen::Page { offsets: offsets.to_vec(), more: false, is_lost: false, newest, earliest }
}

#[test]
fn a_page_comes_in_order_with_what_the_home_forwards() {
    for home in [ShardId(0), ShardId(1)] {
        let (mut node, channel) = (Node::new(), kept(home));
        node.publish(&channel, "a");
        node.publish(&channel, "b");
        node.settle();
        let session = node.open(&channel);
        node.apply(ShardId(0), Command::Resume { session, budget: 1 });
        assert_eq!(node.settle(), [Seen::Admitted]);
        // What comes meanwhile waits, and is told by its position.
        node.apply(ShardId(0), Command::Pause(session));
        node.read(session, &channel, ReadFrom::Last(1), 10);
        node.deliver_one();
        node.publish(&channel, "c");
        let placed = Seen::Placed(9, Ok(Some(3)));
        let seen: Vec<Seen> = node.settle().into_iter().filter(|seen| *seen != placed).collect();
        assert_eq!(seen, [page(&[2], 2, 0)], "{home:?}");
        node.apply(ShardId(0), Command::Resume { session, budget: 10 });
        assert_eq!(node.settle(), [Seen::Message("c".into(), Some(3))], "{home:?}");
    }
}

#[test]
fn pages_have_a_limit_and_say_whether_there_is_more() {
    let (mut node, channel) = (Node::new(), kept(ShardId(1)));
    (0..7).for_each(|n| node.publish(&channel, &n.to_string()));
    node.settle();
    assert_eq!(node.page(&channel, ReadFrom::Last(9), 10), page(&[3, 4, 5, 6, 7], 7, 2));
    assert_eq!(node.page(&channel, ReadFrom::Last(0), 10), page(&[], 7, 2));
    let first =
        Seen::Page { offsets: vec![5, 6], more: true, is_lost: false, newest: Some(7), earliest: Some(2) };
    assert_eq!(node.page(&channel, ReadFrom::Last(3), 2), first);
}

#[test]
fn a_position_that_is_trimmed_or_of_another_epoch_is_lost() {
    let (mut node, channel) = (Node::new(), kept(ShardId(0)));
    (0..7).for_each(|n| node.publish(&channel, &n.to_string()));
    node.settle();
    let newest = node.newest(&channel);
    let lost = Seen::Page { offsets: vec![], more: false, is_lost: true, newest: Some(7), earliest: Some(2) };
    for after in [
        Position { offset: 1, ..newest },
        Position { offset: 8, ..newest },
        Position { epoch: newest.epoch + 1, offset: 3 },
    ] {
        assert_eq!(node.page(&channel, ReadFrom::After(after), 9), lost, "{after:?}");
    }
    let after = Position { offset: 2, ..newest };
    assert_eq!(node.page(&channel, ReadFrom::After(after), 9), page(&[3, 4, 5, 6, 7], 7, 2));
}

#[test]
fn a_reader_of_an_empty_channel_that_is_cut_off_finds_the_first_message() {
    let (mut node, channel) = (Node::new(), kept(ShardId(0)));
    let start = node.newest(&channel);
    assert_eq!(start.offset, 0);
    node.now += 60_000;
    node.publish(&channel, "first");
    node.settle();
    assert_eq!(node.page(&channel, ReadFrom::After(start), 9), page(&[1], 1, 0));
}

#[test]
fn a_reader_that_has_seen_all_misses_nothing_when_the_history_runs_empty() {
    let (mut node, channel) = (Node::new(), kept(ShardId(0)));
    (0..2).for_each(|n| node.publish(&channel, &n.to_string()));
    node.settle();
    let newest = node.newest(&channel);
    let run_empty = |node: &mut Node| {
        node.now += 600_000;
        node.apply(ShardId(0), Command::Tick);
        assert!(node.hubs[0].is_idle());
    };
    run_empty(&mut node);
    assert_eq!(node.page(&channel, ReadFrom::After(newest), 9), page(&[], 2, 2));
    run_empty(&mut node);
    node.publish(&channel, "third");
    node.settle();
    assert_eq!(node.page(&channel, ReadFrom::After(newest), 9), page(&[3], 3, 2));
    let lost = Seen::Page { offsets: vec![], more: false, is_lost: true, newest: Some(3), earliest: Some(2) };
    let before = Position { offset: 1, ..newest };
    assert_eq!(node.page(&channel, ReadFrom::After(before), 9), lost, "the second is gone");
}

#[test]
fn the_value_that_a_channel_retains_is_read_wherever_its_home_is() {
    for shard in [ShardId(0), ShardId(1)] {
        let (mut node, channel) = (Node::new(), kept(shard));
        let with =
            |offsets| Seen::Page { offsets, more: false, is_lost: false, newest: None, earliest: None };
        node.publish(&channel, "fleeting");
        node.settle();
        assert_eq!(node.page(&channel, ReadFrom::Retained, 9), with(vec![]));
        node.retain(&channel, "kept");
        node.settle();
        assert_eq!(node.page(&channel, ReadFrom::Retained, 9), with(vec![2]));
    }
}

#[test]
fn nothing_is_left_of_readers_that_do_not_come_back() {
    let (mut node, channel) = (Node::new(), kept(ShardId(0)));
    node.newest(&channel);
    assert!(!node.hubs[0].is_idle());
    assert_eq!(node.hubs[0].next_deadline(), Some(Millis(node.now + 120_000)));
    node.now += 120_000;
    node.apply(ShardId(0), Command::Tick);
    assert!(node.hubs[0].is_idle());
}

#[test]
fn a_channel_that_keeps_nothing_has_no_positions() {
    let mut node = Node::new();
    let channel = ChannelName::parse("fleeting", 100).unwrap();
    let nothing = Seen::Page { offsets: vec![], more: false, is_lost: false, newest: None, earliest: None };
    assert_eq!(node.page(&channel, ReadFrom::Last(5), 9), nothing);
    assert_eq!(node.page(&channel, ReadFrom::After(Position { epoch: 1, offset: 1 }), 9), nothing);
    node.publish(&channel, "x");
    assert_eq!(node.settle(), [Seen::Placed(9, Ok(None))]);
    assert!(node.hubs.iter().all(Hub::is_idle));
}

/// What a hub is asked to keep, and what of it a crash leaves.
#[test]
fn who_has_seen_what_a_crash_took_does_not_take_what_comes_for_it() {
    let channel = ChannelName::parse("kept/x", 100).unwrap();
    let topology = Topology { shards: 1, partitions: 1 };
    let history = Some(HistoryRule { messages_max: 5, age_ms_max: u64::MAX, durable: true });
    let hub = |epoch, records: Vec<(hub::Place, hub::Record)>| {
        let rules = vec![ChannelRule {
            filter: "kept/#".into(),
            history,
            presence: trunkline_hub::Presence::Off,
            when_full: hub::WhenFull::Newest,
        }];
        let mut hub = Hub::new(Config { shard: ShardId(0), topology, epoch, limits: limits(), rules });
        let last: Vec<_> = records.iter().map(|(place, _)| (place.partition, place.number)).collect();
        hub.keep_journal(&last, records);
        hub.restore(Millis(1), 0, hub::Snapshot::default(), &mut hub::Effects::default());
        hub
    };
    let publish = |hub: &mut Hub, text: &str| {
        let mut effects = hub::Effects::default();
        let publish = Publish {
            id: MessageId(1),
            target: Target::Channel(channel.clone()),
            event: None,
            body: Body::Raw(Bytes::copy_from_slice(text.as_bytes())),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits::default(),
            receipt: None,
        };
        hub.apply(Millis(1), Command::Publish(Box::new(publish)), &mut effects);
        let record = effects.entries.into_iter().find_map(|entry| match entry {
            hub::Entry::Keep { place, record } => Some((place, record)),
            hub::Entry::Drop(_) => None,
        });
        let record = record.unwrap();
        let hub::Record::History { message, .. } = &record.1 else { panic!("it is kept in the history") };
        (message.position.unwrap(), record)
    };
    let read = |hub: &mut Hub, after| {
        let mut effects = hub::Effects::default();
        let open = Open { tag: Tag(0), random: [1; 9], recover: false, part: Part::Client };
        hub.apply(Millis(1), Command::Open(open), &mut effects);
        let Some(Effect::Opened { session, .. }) = effects.list.pop() else { panic!("it has room") };
        let from = ReadFrom::After(after);
        let read = Read { session, channel: channel.clone(), from, limit: 9, request: 0 };
        hub.apply(Millis(1), Command::Read(Box::new(read)), &mut effects);
        let Some(Effect::Page { page, .. }) = effects.list.pop() else { panic!("it is this hub's") };
        hub.apply(Millis(1), Command::End { session, reason: hub::Reason::ClientLeft }, &mut effects);
        (!page.is_lost).then(|| page.messages.iter().map(|m| m.position.unwrap()).collect::<Vec<_>>())
    };
    let mut first = hub(7, Vec::new());
    let (one, safe) = publish(&mut first, "1");
    let (two, lost) = publish(&mut first, "2");
    drop((first, lost));
    let mut second = hub(8, vec![safe.clone()]);
    assert_eq!((read(&mut second, one), read(&mut second, two)), (Some(vec![]), None));
    let (other, again) = publish(&mut second, "another 2");
    assert_eq!((other.offset, other.epoch == two.epoch), (2, false));
    assert_eq!((read(&mut second, one), read(&mut second, two)), (Some(vec![other]), None));
    let (three, last) = publish(&mut second, "3");
    drop(second);
    // What two lives wrote is one history.
    let mut third = hub(9, vec![safe, again, last]);
    assert_eq!(read(&mut third, one), Some(vec![other, three]));
    assert_eq!((read(&mut third, two), read(&mut third, other)), (None, Some(vec![three])));
    let (four, _) = publish(&mut third, "4");
    assert_eq!((read(&mut third, three), read(&mut third, four)), (Some(vec![four]), Some(vec![])));
}
