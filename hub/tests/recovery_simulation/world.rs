//! A node, its store, its clients and its back office, driven by a seed. Ends and beginnings are in `lives`.

mod lives;

use crate::rng::Rng;
use crate::store::Store;
use bytes::Bytes;
use hub::{
    Admit, Attach, Body, ChannelName, ChannelRule, Command, Config, Effect, Effects, HistoryRule, Hub,
    HubMail, Limits, Members, MessageId, Millis, Offset, Open, Outgoing, Part, Position, Publish, Quality,
    Reason, RecoveryLimits, Report, SessionId, SessionKey, ShardId, Tag, Target, Token, Topology, Traits,
    WhenFull,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a run of many seeds must meet, or it proves little.
pub const SITUATIONS: &[&str] = &[
    "crashed",
    "crashed with an admission held",
    "crashed with a publish not acknowledged",
    "restarted",
    "recovered after a crash with messages",
    "recovered after two crashes",
    "recovered by an offset that was lost",
    "refused for lost messages",
    "refused after a crash",
    "joined and acknowledged",
    "left and acknowledged",
    "a history went on after a crash",
    "acknowledged",
];

const CHANNELS: &[&str] = &["a", "b", "c/x", "c/y"];
const FILTERS: &[&str] = &["a", "b", "c/x", "c/#", "+"];
/// The one that keeps a history, of so many messages.
const WITH_HISTORY: &str = "a";
const HISTORY: u32 = 5;

/// Something on its way to a client.
enum Item {
    Admitted { recovered: bool },
    Message { number: usize, offset: Option<Offset> },
}

/// A client, who has at most one session.
#[derive(Default)]
struct Person {
    session: Option<Held>,
    /// Of the connection that it has.
    tag: Option<Tag>,
    /// What was sent and has not arrived.
    wire: VecDeque<Item>,
}

/// What a client has of its session.
struct Held {
    id: SessionId,
    key: SessionKey,
    /// It knows by which name to come back.
    is_told: bool,
    /// What it is in from the start.
    first: &'static str,
    offset: Option<Offset>,
    got: BTreeSet<usize>,
    /// What it must get in the end.
    owed: BTreeSet<usize>,
    /// By filter: it was said that it is subscribed.
    known: BTreeSet<&'static str>,
    /// Crashes since it was connected.
    crashes: u32,
}

/// A message that was published.
struct Sent {
    channel: &'static str,
    /// Sessions that must get it, if it is acknowledged: they were subscribed when it was published, and still are.
    needed: BTreeSet<usize>,
    /// Shards that have not reported, once it was routed.
    shards: Option<u64>,
    reported: u64,
    is_acknowledged: bool,
    quality: Quality,
}

/// What the back office has asked for.
enum Wish {
    Publish(usize),
    Join(usize, SessionId, &'static str),
    Leave,
}

pub struct World {
    rng: Rng,
    now: Millis,
    topology: Topology,
    limits: Limits,
    /// Nothing is ever purged, so that nobody may be refused.
    is_roomy: bool,
    hubs: Vec<Hub>,
    store: Store,
    mail: BTreeMap<(usize, usize), VecDeque<HubMail>>,
    people: Vec<Person>,
    sent: Vec<Sent>,
    wishes: BTreeMap<Token, Wish>,
    /// Positions that somebody was told.
    positions: BTreeMap<(&'static str, Position), usize>,
    lives: u64,
    next: u64,
    seen: BTreeMap<&'static str, u64>,
}

fn limits(rng: &mut Rng, is_roomy: bool) -> Limits {
    let messages_max = if is_roomy { 1_000_000 } else { rng.range(2, 90) as u32 };
    Limits {
        sessions_max: 1000,
        channels_max: 1000,
        subscriptions_per_session_max: 20,
        channel_name_bytes_max: 40,
        outbox_messages_max: 100_000,
        outbox_bytes_max: 100_000_000,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 100_000,
        retained_max: 0,
        retained_bytes_max: 0,
        delayed_max: 0,
        delayed_bytes_max: 0,
        recovery: RecoveryLimits { messages_max, bytes_max: 100_000_000, window_ms: 1 << 40 },
    }
}

fn hubs(topology: Topology, limits: &Limits, life: u64) -> Vec<Hub> {
    let history = Some(HistoryRule { messages_max: HISTORY, age_ms_max: u64::MAX, durable: true });
    let (filter, when_full) = (WITH_HISTORY.to_owned(), WhenFull::Newest);
    let rule = ChannelRule { filter, history, presence: trunkline_hub::Presence::Off, when_full };
    let config = |shard| Config {
        shard: ShardId(shard),
        topology,
        epoch: 1000 + life,
        limits: limits.clone(),
        rules: vec![rule.clone()],
    };
    (0..topology.shards).map(|shard| Hub::new(config(shard))).collect()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let topology = Topology { shards: rng.range(1, 3) as u8, partitions: 8 };
        let is_roomy = rng.chance(50);
        let limits = limits(&mut rng, is_roomy);
        let mut world = Self {
            now: Millis(1000),
            topology,
            is_roomy,
            hubs: Vec::new(),
            store: Store::new(topology),
            mail: BTreeMap::new(),
            people: (0..rng.range(2, 6)).map(|_| Person::default()).collect(),
            sent: Vec::new(),
            wishes: BTreeMap::new(),
            positions: BTreeMap::new(),
            lives: 0,
            next: 0,
            seen: BTreeMap::new(),
            rng,
            limits,
        };
        world.go_on();
        world
    }

    pub fn run(mut self, steps: u32) -> BTreeMap<&'static str, u64> {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.check();
        self.leave_nothing();
        self.seen
    }

    fn meet(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn step(&mut self) {
        let who = self.rng.below(self.people.len() as u64) as usize;
        match self.rng.below(100) {
            0..25 => self.publish(),
            25..45 => self.deliver_mail(),
            45..65 => self.keep(),
            65..75 => self.read(who),
            75..87 => self.move_client(who),
            87..93 => self.join_or_leave(who),
            93..98 => self.now.0 += self.rng.below(400),
            _ => match self.rng.below(10) {
                0..5 => self.crash(),
                5 => self.restart(),
                _ => {}
            },
        }
        self.tick();
    }

    fn apply(&mut self, shard: usize, command: Command) {
        let mut effects = Effects::default();
        self.hubs[shard].apply(self.now, command, &mut effects);
        self.perform(shard, effects);
    }

    fn perform(&mut self, shard: usize, effects: Effects) {
        let Effects { list, recipients, entries } = effects;
        self.store.take(shard, entries);
        for effect in list {
            match effect {
                Effect::Mail { to, mail } => {
                    self.mail.entry((shard, usize::from(to.0))).or_default().push_back(mail);
                }
                Effect::Report { token, report } => self.reported(token, report),
                Effect::Deliver { message, offset, to, .. } => {
                    for recipient in &recipients[to] {
                        let item = Item::Message { number: message.id.0 as usize, offset };
                        self.person(recipient.tag).wire.push_back(item);
                    }
                }
                Effect::Send { to, item } => {
                    let item = match item {
                        Outgoing::Admitted { recovered } => Item::Admitted { recovered },
                        Outgoing::Message { message, offset, .. } => {
                            Item::Message { number: message.id.0 as usize, offset }
                        }
                        Outgoing::Answer { .. } => panic!("nobody asked"),
                    };
                    self.person(to.tag).wire.push_back(item);
                }
                Effect::More { to } => {
                    self.apply(shard, Command::Resume { session: to.session, budget: 100 })
                }
                Effect::Opened { .. } | Effect::Attached { .. } | Effect::AttachRefused { .. } => {
                    panic!("who asked looks itself")
                }
                Effect::Detached { .. } | Effect::Ended { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn person(&mut self, tag: Tag) -> &mut Person {
        self.people.iter_mut().find(|person| person.tag == Some(tag)).expect("a connection")
    }

    fn reported(&mut self, token: Token, report: Report) {
        // What was asked before a crash nobody waits for.
        match (self.wishes.get(&token), report) {
            (Some(Wish::Publish(number)), Report::Routed { shards, position }) => {
                let number = *number;
                self.sent[number].shards = Some(shards);
                if let Some(position) = position {
                    self.tell_position(number, position);
                }
                self.acknowledge(number);
            }
            (Some(Wish::Publish(number)), Report::Delivered { shard, .. }) => {
                let number = *number;
                self.sent[number].reported |= 1 << shard.0;
                self.acknowledge(number);
            }
            (Some(Wish::Join(who, id, filter)), Report::Count(1)) => {
                let (who, id, filter) = (*who, *id, *filter);
                if let Some(held) = self.people[who].session.as_mut().filter(|held| held.id == id) {
                    held.known.insert(filter);
                    self.meet("joined and acknowledged");
                }
            }
            (Some(Wish::Leave), Report::Count(1)) => self.meet("left and acknowledged"),
            (Some(Wish::Join(..) | Wish::Leave), Report::Count(0)) | (None, _) => {}
            (_, other) => panic!("{other:?}"),
        }
    }

    fn tell_position(&mut self, number: usize, position: Position) {
        let known = self.positions.insert((self.sent[number].channel, position), number);
        assert!(known.is_none_or(|known| known == number), "{position:?} names two messages");
    }

    fn acknowledge(&mut self, number: usize) {
        let sent = &mut self.sent[number];
        if sent.shards != Some(sent.reported) || sent.is_acknowledged {
            return;
        }
        sent.is_acknowledged = true;
        if sent.quality > Quality::AtMostOnce {
            for who in std::mem::take(&mut self.sent[number].needed) {
                if let Some(held) = &mut self.people[who].session {
                    held.owed.insert(number);
                }
            }
            self.meet("acknowledged");
        }
    }

    fn token(&mut self, wish: Wish) -> Token {
        self.next += 1;
        let token = Token(self.next);
        self.wishes.insert(token, wish);
        token
    }

    fn publish(&mut self) {
        let channel = *self.rng.pick(CHANNELS).expect("not empty");
        let quality = if self.rng.chance(75) { Quality::AtLeastOnce } else { Quality::AtMostOnce };
        let is_in = |held: &Held| held.known.iter().any(|filter| hub::filter_matches(filter, channel));
        let people = self.people.iter().enumerate();
        let needed = people.filter(|(_, person)| person.session.as_ref().is_some_and(is_in));
        let needed = needed.map(|(who, _)| who).collect();
        let number = self.sent.len();
        let (shards, reported, is_acknowledged) = (None, 0, false);
        self.sent.push(Sent { channel, needed, shards, reported, is_acknowledged, quality });
        let token = self.token(Wish::Publish(number));
        let name = ChannelName::parse(channel, 40).unwrap();
        let home = usize::from(name.home(&self.topology).0);
        let publish = Publish {
            id: MessageId(number as u128),
            target: Target::Channel(name),
            event: None,
            body: Body::Raw(Bytes::from_static(b"m")),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: Some(token),
            traits: Traits { quality, ..Traits::default() },
            receipt: None,
        };
        self.apply(home, Command::Publish(Box::new(publish)));
    }

    fn deliver_mail(&mut self) {
        let filled = self.mail.iter().filter(|(_, mails)| !mails.is_empty());
        let filled: Vec<(usize, usize)> = filled.map(|(link, _)| *link).collect();
        let Some((from, to)) = self.rng.pick(&filled).copied() else { return };
        let mail = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("filled");
        self.apply(to, Command::Mail { from: ShardId(from as u8), mail });
    }

    /// The store writes a little, and says so.
    fn keep(&mut self) {
        let shard = self.rng.below(self.hubs.len() as u64) as usize;
        let waiting = self.store.waiting(shard);
        let count = if self.rng.chance(50) { waiting } else { self.rng.below(waiting as u64 + 1) as usize };
        self.store.write(shard, count);
        if self.rng.chance(80) {
            self.tell(shard);
        }
    }

    fn tell(&mut self, shard: usize) {
        if let Some(safe) = self.store.news(shard) {
            self.apply(shard, Command::Kept { safe });
        }
    }

    fn tick(&mut self) {
        for shard in 0..self.hubs.len() {
            if self.hubs[shard].next_deadline().is_some_and(|at| at <= self.now) {
                self.apply(shard, Command::Tick);
            }
        }
    }

    fn read(&mut self, who: usize) {
        let count = self.rng.below(self.people[who].wire.len() as u64 + 1);
        (0..count).for_each(|_| self.read_one(who));
    }

    fn read_one(&mut self, who: usize) {
        let Some(item) = self.people[who].wire.pop_front() else { return };
        let held = self.people[who].session.as_mut().expect("a connection has a session");
        match item {
            Item::Admitted { recovered } => {
                assert_eq!(recovered, held.is_told);
                if !std::mem::replace(&mut held.is_told, true) {
                    held.known.insert(held.first);
                }
            }
            Item::Message { number, offset } => {
                assert!(held.got.insert(number), "{number} comes twice");
                let offset = offset.expect("a session that may be resumed gets offsets");
                let before = held.offset.replace(offset);
                assert!(before.is_none_or(|before| before < offset), "{offset:?} after {before:?}");
            }
        }
    }

    fn home(&self, id: &SessionId) -> usize {
        usize::from(self.topology.owner(id.partition()).0)
    }

    fn move_client(&mut self, who: usize) {
        match (&self.people[who].session, self.people[who].tag) {
            (None, _) => self.connect(who),
            (Some(_), Some(_)) => self.lose(who),
            (Some(_), None) => self.come_back(who),
        }
    }

    fn connect(&mut self, who: usize) {
        let shard = self.rng.below(self.hubs.len() as u64) as usize;
        self.next += 1;
        let tag = Tag(self.next as u32);
        let mut random = [0; 9];
        random[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let mut effects = Effects::default();
        let open = Open { tag, random, recover: true, part: Part::Client };
        self.hubs[shard].apply(self.now, Command::Open(open), &mut effects);
        let [Effect::Opened { session: key, id, .. }] = effects.list.as_slice() else {
            panic!("{effects:?}")
        };
        let (key, id) = (*key, *id);
        let filter = *self.rng.pick(FILTERS).expect("not empty");
        let known = BTreeSet::new();
        let (got, owed) = (BTreeSet::new(), BTreeSet::new());
        let (is_told, offset, crashes, first) = (false, None, 0, filter);
        let held = Held { id, key, is_told, first, offset, got, owed, known, crashes };
        self.forget(who);
        self.people[who] = Person { session: Some(held), tag: Some(tag), wire: VecDeque::new() };
        let admit = Admit {
            session: key,
            user: self.rng.chance(30).then(|| "bob".into()),
            info: None,
            subscriptions: vec![filter.to_owned()],
            keepsake: Bytes::from(vec![who as u8]),
        };
        self.apply(shard, Command::Admit(admit));
        self.apply(shard, Command::Resume { session: key, budget: 100 });
    }

    /// The connection is lost with what was on its way.
    fn cut(&mut self, who: usize) {
        self.read(who);
        let person = &mut self.people[who];
        person.wire.clear();
        person.tag = None;
        if person.session.take_if(|held| !held.is_told).is_some() {
            self.forget(who);
        }
    }

    /// The client has no session any more.
    fn forget(&mut self, who: usize) {
        for sent in &mut self.sent {
            sent.needed.remove(&who);
        }
    }

    fn lose(&mut self, who: usize) {
        let held = self.people[who].session.as_ref().expect("it has one");
        let (shard, session) = (self.home(&held.id), held.key);
        self.cut(who);
        self.apply(shard, Command::Detach { session, reason: Reason::ConnectionClosed });
    }

    fn come_back(&mut self, who: usize) {
        self.next += 1;
        let tag = Tag(self.next as u32);
        let held = self.people[who].session.as_ref().expect("it has one");
        let (shard, session, after) = (self.home(&held.id), held.id, held.offset);
        let mut effects = Effects::default();
        self.hubs[shard].apply(self.now, Command::Attach(Attach { session, tag, after }), &mut effects);
        let crashes = held.crashes;
        if let Effect::AttachRefused { .. } = &effects.list[0] {
            assert!(!self.is_roomy, "nothing is missing, yet {session:?} is refused");
            effects.list.remove(0);
            self.perform(shard, effects);
            self.people[who].session = None;
            self.forget(who);
            self.meet(if crashes > 0 { "refused after a crash" } else { "refused for lost messages" });
            return;
        }
        let [Effect::Attached { session: key, .. }] = effects.list.as_slice() else { panic!("{effects:?}") };
        let key = *key;
        self.store.take(shard, effects.entries);
        self.people[who].tag = Some(tag);
        self.apply(shard, Command::Resume { session: key, budget: 1000 });
        let is_message = |item: &Item| matches!(item, Item::Message { .. });
        let has_messages = self.people[who].wire.iter().any(is_message);
        let held = self.people[who].session.as_mut().expect("it has one");
        held.key = key;
        held.crashes = 0;
        if crashes > 0 && has_messages {
            self.meet("recovered after a crash with messages");
        }
        if crashes > 1 {
            self.meet("recovered after two crashes");
        }
    }

    fn join_or_leave(&mut self, who: usize) {
        let Some(held) = self.people[who].session.as_mut().filter(|held| held.is_told) else { return };
        let (id, filter) = (held.id, *self.rng.pick(FILTERS).expect("not empty"));
        let (shard, of) = (usize::from(self.topology.owner(id.partition()).0), Members::Session(id));
        if self.rng.chance(60) {
            let token = self.token(Wish::Join(who, id, filter));
            return self.apply(shard, Command::Subscribe { of, filter: filter.to_owned(), token });
        }
        held.known.remove(filter);
        let still_in = held.known.clone();
        for sent in &mut self.sent {
            if !still_in.iter().any(|filter| hub::filter_matches(filter, sent.channel)) {
                sent.needed.remove(&who);
            }
        }
        // A join that is not answered yet is not to be believed any more.
        self.wishes.retain(|_, wish| !matches!(wish, Wish::Join(other, ..) if *other == who));
        let token = self.token(Wish::Leave);
        self.apply(shard, Command::Unsubscribe { of, filter: filter.to_owned(), token });
    }
}
