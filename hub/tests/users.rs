//! Stored subscriptions of users, how many sessions each may have, whose a session is, and who is in a channel, against a naive model: random
//! logins, changes, crashes, with mail and the disk in any order that they may have.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "simulation/rng.rs"]
#[expect(dead_code, unreachable_pub, reason = "a module of simulations, which need more of it")]
mod rng;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trunkline_hub::{
    Admit, Attendance, CatchUp, ChannelName, ChannelRule, Claim, Command, Config, Effect, Effects, Entry,
    Hub, HubMail, Join, Limits, Members, Millis, Open, Options, Outgoing, Part, Partition, Place, Presence,
    Quality, Query, Reason, Record, RecoveryLimits, Refusal, Report, SessionId, SessionKey, ShardId, Tag,
    Token, Topology, UserChange, UserDeed, UserFull, UserLimits, WhenFull, claim_home,
};

use rng::Rng;

const SHARDS: u8 = 3;
const PARTITIONS: u16 = 8;
const TOPOLOGY: Topology = Topology { shards: SHARDS, partitions: PARTITIONS };
const USERS: [&str; 5] = ["ann", "bob", "eve", "joe", "zoe"];
const NAMES: [&str; 6] = ["a", "b/1", "b/+", "c", "d/#", "e"];
const NAMES_PER_USER: u32 = 4;
/// Whose a session is that is nobody's.
const NOBODY: usize = USERS.len();

fn user_of(user: usize) -> Option<std::sync::Arc<str>> {
    USERS.get(user).map(|name| (*name).into())
}

type List = BTreeMap<String, Quality>;

/// What is stored, to a session that has named what it wants.
static NOTHING: BTreeSet<String> = BTreeSet::new();

struct Client {
    user: usize,
    shard: ShardId,
    key: SessionKey,
    id: SessionId,
    name: Option<String>,
    is_admitted: bool,
    /// Nothing that is stored is for it.
    named_only: bool,
    /// What it has to have when it is admitted.
    due: BTreeSet<String>,
    /// What it has asked for itself, and nobody has taken away.
    asked: BTreeSet<String>,
}

/// A session is to be another user's, and nobody has said yet that it is.
struct Move {
    id: SessionId,
    to: usize,
}

/// A change that is not acknowledged yet.
struct UnderWay {
    user: usize,
    /// Which state of the user it made.
    state: usize,
}

struct World {
    rng: Rng,
    hubs: Vec<Hub>,
    now: u64,
    mail: BTreeMap<(u8, u8), VecDeque<HubMail>>,
    /// Per shard: not written yet, and how many are.
    entries: Vec<VecDeque<Entry>>,
    safe: Vec<u64>,
    log: BTreeMap<Place, Record>,
    last: BTreeMap<Partition, u64>,
    clients: BTreeMap<u32, Client>,
    tags: u32,
    /// Every state of each user, the last one of now.
    states: Vec<Vec<List>>,
    /// The newest that is acknowledged.
    acked: Vec<usize>,
    changes: BTreeMap<u64, UnderWay>,
    moves: BTreeMap<u64, Move>,
    /// How many moves were done, and how many refused for want of a place.
    moved: [u32; 2],
    /// Sessions that were there once.
    known: Vec<(u8, SessionId)>,
    /// Whatever a session of a client with a name of its own, or any other, has ever asked for.
    wishes: BTreeMap<String, BTreeSet<String>>,
    /// Users of whom a change was under way at a crash: sessions that are kept may have more than is stored, until the change
    /// is repeated.
    doubtful: BTreeSet<usize>,
    tokens: u64,
    lives: u64,
    quota: UserLimits,
    /// As it was told.
    present: BTreeMap<String, BTreeSet<SessionId>>,
}

fn limits() -> Limits {
    Limits {
        sessions_max: 1000,
        channels_max: 1000,
        subscriptions_per_session_max: 100,
        channel_name_bytes_max: 100,
        outbox_messages_max: 100,
        outbox_bytes_max: 10_000,
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

fn hub(shard: u8, life: u64, quota: UserLimits) -> Hub {
    let rule = |filter: &str| ChannelRule {
        filter: filter.to_owned(),
        history: None,
        presence: Presence::Told,
        when_full: WhenFull::Newest,
    };
    let rules = vec![rule("c"), rule("b/#")];
    let mut hub =
        Hub::new(Config { shard: ShardId(shard), topology: TOPOLOGY, epoch: life, limits: limits(), rules });
    hub.limit_stored(trunkline_hub::StoredLimits { per_user_max: NAMES_PER_USER, ..Default::default() });
    hub.limit_users(quota);
    hub
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            hubs: Vec::new(),
            now: 0,
            mail: BTreeMap::new(),
            entries: Vec::new(),
            safe: Vec::new(),
            log: BTreeMap::new(),
            last: BTreeMap::new(),
            clients: BTreeMap::new(),
            tags: 0,
            states: vec![vec![List::new()]; USERS.len() + 1],
            acked: vec![0; USERS.len() + 1],
            changes: BTreeMap::new(),
            moves: BTreeMap::new(),
            moved: [0; 2],
            known: Vec::new(),
            wishes: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            tokens: 0,
            lives: 0,
            quota: quota_of(seed),
            present: BTreeMap::new(),
        };
        world.begin();
        world
    }

    /// Hubs that go on from what is written.
    fn begin(&mut self) {
        self.lives += 1;
        (self.hubs, self.entries, self.safe) = (Vec::new(), Vec::new(), Vec::new());
        self.mail.clear();
        self.present.clear();
        for shard in 0..SHARDS {
            let mut hub = hub(shard, self.lives, self.quota);
            let is_own = |partition: Partition| TOPOLOGY.owner(partition) == ShardId(shard);
            let last: Vec<_> = self.last.iter().map(|(partition, number)| (*partition, *number)).collect();
            let last: Vec<_> = last.into_iter().filter(|(partition, _)| is_own(*partition)).collect();
            let records = self.log.iter().filter(|(place, _)| is_own(place.partition));
            let records = records.map(|(place, record)| (*place, record.clone())).collect();
            hub.keep_journal(&last, records);
            self.hubs.push(hub);
            self.entries.push(VecDeque::new());
            self.safe.push(0);
        }
        for shard in 0..SHARDS {
            let snapshot = self.hubs[usize::from(shard)].snapshot(Millis(self.now));
            let mut effects = Effects::default();
            let refused = self.hubs[usize::from(shard)].restore(Millis(self.now), 0, snapshot, &mut effects);
            assert!(refused.is_empty());
            self.follow(shard, effects);
        }
        // As a node does before it lets anybody in.
        while self.deliver() {}
    }

    fn crash(&mut self) {
        self.clients.clear();
        self.changes.clear();
        self.moves.clear();
        self.begin();
        for (user, name) in USERS.iter().enumerate() {
            let found = self.stored(user);
            let since = self.acked[user];
            let is_known = self.states[user][since..].contains(&found);
            assert!(is_known, "{name}: {found:?} is not of {:?}", &self.states[user][since..]);
            if since + 1 < self.states[user].len() {
                self.doubtful.insert(user);
            }
            self.states[user] = vec![found];
            self.acked[user] = 0;
        }
    }

    fn home(user: usize) -> u8 {
        ChannelName::user(USERS[user]).home(&TOPOLOGY).0
    }

    fn apply(&mut self, shard: u8, command: Command) {
        let mut effects = Effects::default();
        self.hubs[usize::from(shard)].apply(Millis(self.now), command, &mut effects);
        self.follow(shard, effects);
    }

    fn follow(&mut self, shard: u8, effects: Effects) {
        self.entries[usize::from(shard)].extend(effects.entries);
        for effect in effects.list {
            match effect {
                Effect::Mail { to, mail } => self.mail.entry((shard, to.0)).or_default().push_back(mail),
                Effect::Report { token: Token(0), .. } => {}
                Effect::Report { token, report: Report::UsersChanged { refused, .. } } => {
                    self.acknowledged(token.0, refused.is_empty());
                }
                Effect::Report { token, report } if self.moves.contains_key(&token.0) => {
                    self.move_answered(shard, token.0, &report);
                }
                Effect::Reassigned { tag, id, user, .. } => self.reassigned(tag, id, user.as_deref()),
                Effect::Done { .. } => {}
                Effect::Send { to, item: Outgoing::Admitted { .. } } => self.admitted(to.tag.0),
                Effect::Agreed { to } => self.admitted(to.tag.0),
                Effect::Opened { tag, session, id } => self.placed(tag.0, session, id),
                Effect::Claimed { tag, session, id, is_safe, displaced, .. } => {
                    displaced.map(|displaced| self.clients.remove(&displaced.0));
                    self.placed(tag.0, session, id);
                    if is_safe {
                        self.admitted(tag.0);
                    }
                }
                Effect::Ended { tag, reason, .. } => self.ended(tag, reason),
                Effect::Detached { .. } => {}
                Effect::Attendance { channel, attendance } => self.attended(channel.as_str(), &attendance),
                other => panic!("{other:?}"),
            }
        }
    }

    fn ended(&mut self, tag: Option<Tag>, reason: Reason) {
        let Some(client) = tag.and_then(|tag| self.clients.remove(&tag.0)) else { return };
        if reason == Reason::UserFull {
            assert!(!client.is_admitted && self.quota.when_full == UserFull::Refuse);
        }
        assert!(reason != Reason::Superseded || self.quota.sessions_max > 0);
    }

    fn attended(&mut self, channel: &str, attendance: &Attendance) {
        let present = self.present.entry(channel.to_owned()).or_default();
        match attendance {
            Attendance::Joined(member) => assert!(present.insert(member.session), "twice in {channel}"),
            Attendance::Left(member) => assert!(present.remove(&member.session), "not in {channel}"),
            Attendance::Count(_) => panic!("there are few"),
        }
    }

    /// Who is there, and who was told of, are the same.
    fn compare_presence(&mut self) {
        for (name, told) in [("c", true), ("b/1", true), ("a", false), ("b/+", false)] {
            let present = self.present.get(name).cloned().unwrap_or_default();
            let mut there = BTreeSet::new();
            if told {
                there.extend(self.sessions_of(&Members::Channel(ChannelName::parse(name, 100).unwrap())));
            }
            assert_eq!(present, there, "in {name}");
        }
    }

    /// However mail goes, no more clients know of a session than may have one.
    fn count_admitted(&self, user: usize) {
        let count = self.clients.values().filter(|client| client.user == user && client.is_admitted).count();
        let most = if user == NOBODY { 0 } else { self.quota.sessions_max as usize };
        assert!(most == 0 || count <= most, "{:?} has {count} sessions, not {most}", user_of(user));
    }

    /// All sessions of a user, with a connection or without.
    fn count_sessions(&mut self, user: usize) -> usize {
        self.sessions_of(&Members::User(USERS[user].into())).len()
    }

    fn sessions_of(&mut self, of: &Members) -> Vec<SessionId> {
        let mut found = Vec::new();
        for hub in &mut self.hubs {
            let of = Some(of.clone());
            let query = Query::Sessions { of, after: None, limit: 1000 };
            let mut effects = Effects::default();
            hub.apply(Millis(self.now), Command::Query { token: Token(0), query }, &mut effects);
            let Some(Effect::Report { report: Report::Sessions(page), .. }) = effects.list.pop() else {
                panic!()
            };
            found.extend(page.items.iter().map(|view| view.id));
        }
        found
    }

    fn placed(&mut self, tag: u32, key: SessionKey, id: SessionId) {
        let client = self.clients.get_mut(&tag).unwrap();
        (client.key, client.id) = (key, id);
        self.known.push((client.shard.0, id));
    }

    /// The subscriptions of a session, its user's own channel left out.
    fn subscriptions(&mut self, shard: u8, id: SessionId) -> BTreeSet<String> {
        let of = Some(Members::Session(id));
        let query = Query::Sessions { of, after: None, limit: 1 };
        let mut effects = Effects::default();
        let command = Command::Query { token: Token(0), query };
        self.hubs[usize::from(shard)].apply(Millis(self.now), command, &mut effects);
        let Some(Effect::Report { report: Report::Sessions(page), .. }) = effects.list.pop() else {
            panic!()
        };
        let names = page.items.into_iter().flat_map(|view| view.subscriptions);
        names.filter(|name| !name.starts_with('$')).collect()
    }

    fn stored(&mut self, user: usize) -> List {
        let query = Query::Stored { user: USERS[user].into() };
        let mut effects = Effects::default();
        let command = Command::Query { token: Token(0), query };
        self.hubs[usize::from(Self::home(user))].apply(Millis(self.now), command, &mut effects);
        let Some(Effect::Report { report: Report::Stored(list), .. }) = effects.list.pop() else { panic!() };
        list.iter().map(|(name, quality)| (name.to_owned(), quality)).collect()
    }

    fn admitted(&mut self, tag: u32) {
        let Some(client) = self.clients.get_mut(&tag) else { return };
        client.is_admitted = true;
        let user = client.user;
        self.count_admitted(user);
        let client = self.clients.get_mut(&tag).unwrap();
        let (user, shard, id) = (client.user, client.shard.0, client.id);
        let due = std::mem::take(&mut client.due);
        let now = self.states[user].last().unwrap().clone();
        let has = self.subscriptions(shard, id);
        for name in due.iter().filter(|name| now.contains_key(*name)) {
            assert!(has.contains(name), "{:?} was admitted without {name}: {has:?}", user_of(user));
        }
    }

    fn acknowledged(&mut self, token: u64, is_done: bool) {
        let Some(change) = self.changes.remove(&token) else { return };
        if !is_done {
            return;
        }
        let user = change.user;
        self.acked[user] = self.acked[user].max(change.state);
        let is_under_way = self.changes.values().any(|change| change.user == user);
        if change.state + 1 < self.states[user].len() || is_under_way {
            return;
        }
        let wanted: BTreeSet<String> = self.states[user][change.state].keys().cloned().collect();
        let goes = |id: SessionId| self.moves.values().any(|known| known.id == id);
        let tags = self.clients.iter().filter(|(_, c)| c.user == user && c.is_admitted && !goes(c.id));
        let tags: Vec<u32> = tags.map(|(tag, _)| *tag).collect();
        for tag in tags {
            self.compare(tag, &wanted);
        }
    }

    /// What a session has is what is stored of its user, and what its client has asked for.
    fn compare(&mut self, tag: u32, wanted: &BTreeSet<String>) {
        let client = &self.clients[&tag];
        let (user, shard, id) = (client.user, client.shard.0, client.id);
        let (asked, name, named_only) =
            (client.asked.clone(), wish_of(client.name.as_deref(), tag), client.named_only);
        let has = self.subscriptions(shard, id);
        let wanted = if named_only { &NOTHING } else { wanted };
        let who = user_of(user);
        assert!(has.is_superset(wanted), "a session of {who:?}: {has:?}, not {wanted:?}");
        assert!(has.is_superset(&asked), "a session of {who:?}: {has:?}, and has asked for {asked:?}");
        let wishes = self.wishes.get(&name).unwrap_or(&NOTHING);
        let more: Vec<_> = has.difference(wanted).filter(|name| !wishes.contains(*name)).collect();
        let is_doubtful = !self.doubtful.is_empty();
        assert!(more.is_empty() || is_doubtful, "a session of {who:?} has {more:?} beyond {wanted:?}");
    }

    /// A session is to be somebody else's; one of those that are there, or were.
    fn reassign(&mut self) {
        let live: Vec<_> = self.clients.values().map(|client| (client.shard.0, client.id)).collect();
        let of = if self.rng.below(3) == 0 { &self.known } else { &live };
        let Some((shard, id)) = self.rng.pick(of).copied() else { return };
        let to = self.rng.below(USERS.len() as u64 + 1) as usize;
        self.tokens += 1;
        let token = self.tokens;
        self.moves.insert(token, Move { id, to });
        self.apply(shard, Command::Reassign { session: id, user: user_of(to), token: Token(token) });
    }

    fn reassigned(&mut self, tag: Option<Tag>, id: SessionId, user: Option<&str>) {
        let to = USERS.iter().position(|name| Some(*name) == user).unwrap_or(NOBODY);
        assert!(self.moves.values().any(|known| known.id == id && known.to == to), "nobody wanted that");
        let Some(client) = tag.and_then(|tag| self.clients.get_mut(&tag.0)) else { return };
        assert_eq!(client.id, id);
        client.user = to;
        client.due.clear();
        self.count_admitted(to);
    }

    fn move_answered(&mut self, shard: u8, token: u64, report: &Report) {
        let Move { id, to } = self.moves.remove(&token).unwrap();
        match report {
            Report::Count(1) => {}
            Report::Refused(Refusal::NotFound | Refusal::Busy) => return,
            Report::Refused(Refusal::OverLimit) if self.quota.sessions_max > 0 => {
                self.moved[1] += 1;
                return;
            }
            other => panic!("{other:?}"),
        }
        self.moved[0] += 1;
        let is_there = self.hubs[usize::from(shard)].user_of(&id).is_some() || to == NOBODY;
        let others = self.moves.values().any(|known| known.id == id)
            || self.changes.values().any(|change| change.user == to);
        let Some(client) = self.clients.values().find(|client| client.id == id) else { return };
        // The answer to a later one may come before that to an earlier one.
        if !is_there || others || !client.is_admitted || client.user != to {
            return;
        }
        let (asked, named_only) = (client.asked.clone(), client.named_only);
        let states = &self.states[to][self.acked[to]..];
        let due = states[0].keys().filter(|name| states.iter().all(|state| state.contains_key(*name)));
        let due: Vec<String> = due.filter(|_| !named_only).cloned().chain(asked).collect();
        let has = self.subscriptions(shard, id);
        for name in due {
            assert!(has.contains(&name), "{:?} got a session without {name}: {has:?}", user_of(to));
        }
    }

    /// A client asks for something itself.
    fn ask(&mut self) {
        let tags: Vec<u32> = self.clients.keys().copied().collect();
        let Some(tag) = self.rng.pick(&tags).copied() else { return };
        let name = *self.rng.pick(&NAMES).unwrap();
        let client = self.clients.get_mut(&tag).unwrap();
        if !client.is_admitted {
            return;
        }
        // What is on its way may take away what is asked for now.
        if self.changes.is_empty() {
            client.asked.insert(name.to_owned());
        }
        let (shard, session) = (client.shard.0, client.key);
        let wish = wish_of(client.name.as_deref(), tag);
        self.wishes.entry(wish).or_default().insert(name.to_owned());
        let join = Join {
            session,
            filter: name.to_owned(),
            group: None,
            options: Options::default(),
            catch_up: CatchUp::Never,
            request: 1,
        };
        self.apply(shard, Command::Join(join));
    }

    fn client(&mut self, user: usize, shard: u8, name: Option<String>) -> u32 {
        self.tags += 1;
        // Acknowledged, and not taken away by anything that is on its way.
        let states = &self.states[user][self.acked[user]..];
        let is_due = |name: &&String| states.iter().all(|state| state.contains_key(*name));
        let due = states[0].keys().filter(is_due).cloned().collect();
        let client = Client {
            user,
            shard: ShardId(shard),
            key: SessionKey(0),
            id: SessionId([0; 15]),
            name,
            is_admitted: false,
            named_only: false,
            due,
            asked: BTreeSet::new(),
        };
        self.clients.insert(self.tags, client);
        self.tags
    }

    fn login(&mut self) {
        let user = self.rng.below(USERS.len() as u64) as usize;
        let shard = self.rng.below(u64::from(SHARDS)) as u8;
        let tag = self.client(user, shard, None);
        let named_only = self.rng.below(6) == 0;
        let part = if named_only { Part::NamedReader } else { Part::Client };
        self.apply(shard, Command::Open(Open { tag: Tag(tag), random: random(tag), recover: false, part }));
        let client = self.clients.get_mut(&tag).unwrap();
        client.named_only = named_only;
        client.due.retain(|_| !named_only);
        let session = client.key;
        let admit = Admit {
            session,
            user: Some(USERS[user].into()),
            info: None,
            subscriptions: Vec::new(),
            keepsake: bytes::Bytes::new(),
        };
        self.apply(shard, Command::Admit(admit));
        self.apply(shard, Command::Resume { session, budget: 100 });
    }

    /// The same name is always the same user's.
    fn claim(&mut self) {
        let number = self.rng.below(8) as usize;
        let (user, name) = (number % USERS.len(), format!("client{number}"));
        let shard = claim_home(&name, &TOPOLOGY).0;
        let tag = self.client(user, shard, Some(name.clone()));
        let claim = Claim {
            tag: Tag(tag),
            name: name.as_str().into(),
            fresh: self.rng.below(4) == 0,
            keep_ms: *self.rng.pick(&[0, u64::MAX]).unwrap(),
            window: 10,
            will: None,
            user: Some(USERS[user].into()),
            info: None,
            random: random(tag),
        };
        let before: Vec<u32> = self.clients.keys().copied().filter(|known| *known != tag).collect();
        self.apply(shard, Command::Claim(Box::new(claim)));
        // Whoever had the name has lost it.
        for other in before {
            if self.clients.get(&other).is_some_and(|client| client.name.as_ref() == Some(&name)) {
                self.clients.remove(&other);
            }
        }
    }

    fn logout(&mut self) {
        let tags: Vec<u32> = self.clients.keys().copied().collect();
        if tags.is_empty() {
            return;
        }
        let tag = *self.rng.pick(&tags).unwrap();
        let Some(client) = self.clients.remove(&tag) else { return };
        let (session, reason) = (client.key, Reason::ConnectionClosed);
        let command = match self.rng.below(3) {
            0 => Command::End { session, reason: Reason::Kicked },
            _ => Command::Detach { session, reason },
        };
        self.apply(client.shard.0, command);
    }

    fn change(&mut self) {
        let user = self.rng.below(USERS.len() as u64) as usize;
        let deed = match self.rng.below(8) {
            0 => UserDeed::Replace,
            1 => UserDeed::Import(1 + self.rng.below(2) as u32 + 10 * self.lives as u32),
            2 | 3 => UserDeed::Remove,
            _ => UserDeed::Add,
        };
        let mut names: Vec<&str> = NAMES.into_iter().filter(|_| self.rng.below(3) == 0).collect();
        names.dedup();
        let quality =
            *self.rng.pick(&[Quality::AtMostOnce, Quality::AtLeastOnce, Quality::ExactlyOnce]).unwrap();
        let subscriptions = names.iter().map(|name| (Box::from(*name), quality)).collect();
        let change = UserChange { user: USERS[user].into(), deed, subscriptions };
        self.tokens += 1;
        let token = self.tokens;
        let state = self.states[user].len();
        // As the hub says, since what an import replaces is checked where it is decided.
        self.changes.insert(token, UnderWay { user, state });
        let before = self.stored(user);
        let home = Self::home(user);
        // The state has to be known before anything follows from it.
        let expected = expected(&before, &change);
        self.states[user].push(expected.clone().unwrap_or(before));
        let names: BTreeSet<&str> = change.subscriptions.iter().map(|(name, _)| &**name).collect();
        // To take away what is stored takes away what was asked for, too, and whose a session is may be open.
        let keeps = |name: &String| match change.deed {
            UserDeed::Add => true,
            UserDeed::Remove => !names.contains(name.as_str()),
            UserDeed::Replace | UserDeed::Import(_) => false,
        };
        self.clients.values_mut().for_each(|client| client.asked.retain(keeps));
        for client in self.clients.values_mut().filter(|client| client.user == user) {
            // What comes and goes meanwhile may be on its way.
            match change.deed {
                UserDeed::Add => {}
                UserDeed::Remove => client.due.retain(|name| !names.contains(name.as_str())),
                UserDeed::Replace | UserDeed::Import(_) => {
                    client.due.retain(|name| names.contains(name.as_str()))
                }
            }
        }
        self.apply(home, Command::ChangeUsers { changes: vec![change.clone()], token: Token(token) });
        if let Some(expected) = expected {
            assert_eq!(self.stored(user), expected);
        } else {
            self.states[user][state] = self.stored(user);
        }
    }

    fn deliver(&mut self) -> bool {
        let pairs: Vec<(u8, u8)> =
            self.mail.iter().filter(|(_, mail)| !mail.is_empty()).map(|(p, _)| *p).collect();
        if pairs.is_empty() {
            return false;
        }
        let (from, to) = *self.rng.pick(&pairs).unwrap();
        let mail = self.mail.get_mut(&(from, to)).unwrap().pop_front().unwrap();
        self.apply(to, Command::Mail { from: ShardId(from), mail });
        true
    }

    /// Some changes of a shard reach the disk, in their order.
    fn write(&mut self, most: usize) -> bool {
        let shard = self.rng.below(u64::from(SHARDS)) as usize;
        let count = self.entries[shard].len().min(most);
        for entry in self.entries[shard].drain(..count).collect::<Vec<_>>() {
            match entry {
                Entry::Keep { place, record } => {
                    self.last.insert(place.partition, place.number);
                    self.log.insert(place, record);
                }
                Entry::Drop(place) => drop(self.log.remove(&place)),
            }
        }
        self.safe[shard] += count as u64;
        let safe = self.safe[shard];
        self.apply(shard as u8, Command::Kept { safe });
        count > 0
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            let moved = self.deliver();
            let wrote = self.write(1000);
            let waits = self.entries.iter().any(|entries| !entries.is_empty());
            if !moved && !wrote && !waits && self.mail.values().all(VecDeque::is_empty) {
                break;
            }
        }
        assert!(self.changes.is_empty() && self.moves.is_empty(), "everything is acknowledged in the end");
        let clients: Vec<_> = self.clients.iter().map(|(tag, c)| (*tag, c.user, c.is_admitted)).collect();
        for (tag, user, is_admitted) in clients {
            assert!(is_admitted, "everybody is admitted in the end");
            let client = &self.clients[&tag];
            assert_eq!(self.hubs[usize::from(client.shard.0)].user_of(&client.id), user_of(user));
            let wanted: BTreeSet<String> = self.states[user].last().unwrap().keys().cloned().collect();
            self.compare(tag, &wanted);
        }
        for (user, name) in USERS.iter().enumerate() {
            assert_eq!(self.stored(user), *self.states[user].last().unwrap());
            let (count, most) = (self.count_sessions(user), self.quota.sessions_max as usize);
            // What a crash brings back makes way only when somebody comes.
            assert!(most == 0 || count <= most || self.lives > 1, "{name} has {count} sessions");
        }
        self.compare_presence();
        let users = self.log.values().filter(|record| matches!(record, Record::User { .. })).count();
        let wanted = self.states.iter().filter(|states| !states.last().unwrap().is_empty()).count();
        assert_eq!(users, wanted, "one record per user of whom something is stored");
    }

    fn run(&mut self, steps: u32) {
        for _ in 0..steps {
            self.now += 1;
            match self.rng.below(36) {
                30..=32 => self.reassign(),
                33..=35 => self.ask(),
                0..=3 => self.login(),
                4..=6 => self.claim(),
                7..=9 => self.logout(),
                10..=14 => self.change(),
                15..=23 => drop(self.deliver()),
                24..=28 => {
                    let most = 1 + self.rng.below(5) as usize;
                    self.write(most);
                }
                _ => match self.rng.below(6) {
                    0 => self.crash(),
                    1 => self.settle(),
                    _ => {}
                },
            }
        }
        self.settle();
        self.leave_nothing();
    }

    /// Nothing is remembered of whom nothing is left.
    fn leave_nothing(&mut self) {
        for user in USERS {
            let change = UserChange { user: user.into(), deed: UserDeed::Replace, subscriptions: Vec::new() };
            let home = ChannelName::user(user).home(&TOPOLOGY).0;
            self.apply(home, Command::ChangeUsers { changes: vec![change], token: Token(0) });
            for shard in 0..SHARDS {
                let (of, reason) = (Members::User(user.into()), Reason::Kicked);
                self.apply(shard, Command::EndMembers { of, reason, token: Token(0) });
            }
        }
        // And who is nobody's.
        for (shard, id) in self.known.clone() {
            let (of, reason) = (Members::Session(id), Reason::Kicked);
            self.apply(shard, Command::EndMembers { of, reason, token: Token(0) });
        }
        for _ in 0..10_000 {
            self.deliver();
            self.write(1000);
        }
        assert!(self.hubs.iter().all(Hub::is_idle));
    }
}

/// Under which the wishes of a client are noted.
fn wish_of(name: Option<&str>, tag: u32) -> String {
    name.map_or_else(|| tag.to_string(), str::to_owned)
}

/// One run in three without a limit.
fn quota_of(seed: u64) -> UserLimits {
    let when_full = if seed % 3 == 1 { UserFull::Refuse } else { UserFull::EndOldest };
    let sessions_max = if seed.is_multiple_of(3) { 0 } else { 1 + (seed / 3 % 3) as u32 };
    UserLimits { sessions_max, when_full }
}

/// No two sessions have the same, though they have the same place.
fn random(tag: u32) -> [u8; 9] {
    let [a, b, c, d] = tag.to_be_bytes();
    [a, b, c, d, 0, 0, 0, 0, 0]
}

/// What a change makes of a list; `None` where it depends on an import before it. One that is refused makes nothing.
fn expected(before: &List, change: &UserChange) -> Option<List> {
    let mut list = match change.deed {
        UserDeed::Replace => List::new(),
        UserDeed::Import(_) => return None,
        UserDeed::Add | UserDeed::Remove => before.clone(),
    };
    for (name, quality) in &change.subscriptions {
        match change.deed {
            UserDeed::Remove => drop(list.remove(&**name)),
            _ => drop(list.insert(name.to_string(), *quality)),
        }
    }
    Some(if list.len() > NAMES_PER_USER as usize { before.clone() } else { list })
}

#[test]
fn short_runs() {
    for seed in 0..1000 {
        eprintln!("seed {seed}");
        World::new(seed).run(60);
    }
}

#[test]
fn long_runs() {
    let mut moved = [0; 2];
    for seed in 1000..1060 {
        eprintln!("seed {seed}");
        let mut world = World::new(seed);
        world.run(1500);
        moved = [moved[0] + world.moved[0], moved[1] + world.moved[1]];
    }
    assert!(moved.iter().all(|count| *count > 50), "{moved:?}");
}
