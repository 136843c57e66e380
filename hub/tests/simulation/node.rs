//! A node of hubs with mailboxes of random delay, its front and its back office, driven by a seed.

use crate::model::{Item, Model, State};
use crate::rng::Rng;
use crate::site::Site;
use bytes::Bytes;
use hub::{
    Admit, Attach, Body, ChannelName, ChannelRule, Config, Except, HistoryRule, HubMail, Limits, Members,
    MessageId, Millis, Offset, Open, Part, Publish, Reason, RecoveryLimits, Refusal, Report, SessionId,
    SessionKey, ShardId, Tag, Target, Token, Topology, WhenFull,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const CHANNELS: &[&str] = &["a", "b", "a/x", "a/y", "b/x", "c/x/y", "/"];
const FILTERS: &[&str] = &["#", "+", "a/+", "a/#", "+/x", "c/+/y", "/+"];
const USERS: &[&str] = &["u1", "u2", "u3"];
const EPOCH: u64 = 0xe0;

/// What the back office has on its way to a shard.
enum Errand {
    Publish(Box<Publish>),
    Subscribe(Members, String, Token),
    Unsubscribe(Members, String, Token),
    EndMembers(Members, Reason, Token),
}

/// What became of one publish.
#[derive(Debug, Default)]
struct Tracking {
    /// Shards that will report, once known.
    shards: Option<u64>,
    delivered: u64,
    total: u32,
    /// Shards of which replies are awaited, and how many replies are still possible.
    expecting: BTreeMap<ShardId, u32>,
    is_done: bool,
}

pub struct Node {
    rng: Rng,
    now: Millis,
    sites: Vec<Site>,
    /// From shard, to shard.
    mailboxes: BTreeMap<(u8, u8), VecDeque<HubMail>>,
    errands: Vec<VecDeque<Errand>>,
    tracking: BTreeMap<Token, Tracking>,
    /// Ids of sessions that have ended, and of sessions of other shards: all must miss.
    ids: Vec<SessionId>,
    next: u64,
}

fn config(rng: &mut Rng, shard: u8, topology: Topology, limits: &Limits) -> Config {
    let history = |messages_max, age_ms_max| Some(HistoryRule { messages_max, age_ms_max, durable: true });
    let rule = |filter: &str, history| ChannelRule {
        filter: filter.to_owned(),
        history,
        presence: trunkline_hub::Presence::Off,
        when_full: WhenFull::Newest,
    };
    let rules = vec![
        rule("a/y", None),
        rule("a/#", history(4, 300)),
        rule("b", history(100, 1000)),
        rule("/", history(0, 50)),
    ];
    let _ = rng;
    Config { shard: ShardId(shard), topology, epoch: EPOCH, limits: limits.clone(), rules }
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        sessions_max: rng.range(4, 12) as u32,
        channels_max: 1000,
        subscriptions_per_session_max: rng.range(2, 6) as u32,
        channel_name_bytes_max: 40,
        outbox_messages_max: rng.range(1, 8) as u32,
        outbox_bytes_max: rng.range(20, 200),
        asks_per_session_max: rng.range(1, 4) as u16,
        asks_max: rng.range(2, 10) as u32,
        history_bytes_max: rng.range(50, 400),

        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 1000,
        delayed_bytes_max: 100_000,
        recovery: RecoveryLimits {
            messages_max: rng.range(2, 60) as u32,
            bytes_max: rng.range(50, 3000),
            window_ms: rng.range(50, 800),
        },
    }
}

impl Node {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let shards = rng.range(1, 4) as u8;
        let topology = Topology { shards, partitions: 8 };
        let limits = limits(&mut rng);
        let sites = (0..shards).map(|shard| Site::new(config(&mut rng, shard, topology, &limits))).collect();
        Self {
            now: Millis(rng.below(1000)),
            rng,
            sites,
            mailboxes: BTreeMap::new(),
            errands: (0..shards).map(|_| VecDeque::new()).collect(),
            tracking: BTreeMap::new(),
            ids: Vec::new(),
            next: 0,
        }
    }

    /// Returns how often each situation was met.
    pub fn run(mut self, steps: u32) -> BTreeMap<&'static str, u64> {
        for _ in 0..steps {
            self.step();
        }
        self.settle();
        self.probe();
        self.end_all();
        let mut seen = BTreeMap::new();
        for (what, times) in self.sites.iter().flat_map(|site| &site.seen) {
            *seen.entry(*what).or_default() += times;
        }
        seen
    }

    fn step(&mut self) {
        if self.rng.below(400) == 0 {
            self.restart();
        }
        let shard = self.rng.below(self.sites.len() as u64) as usize;
        match self.rng.below(100) {
            0..20 => self.deliver_mail(),
            20..38 => self.run_errand(shard),
            38..60 => self.back_office(),
            60..95 => self.front(shard),
            _ => {
                let jump = if self.rng.chance(10) { 1000 } else { 40 };
                self.now.0 += self.rng.below(jump);
                if self.rng.chance(20) {
                    self.check(shard);
                }
            }
        }
        if self.rng.chance(70) {
            self.tick_due();
        }
    }

    /// All shards end, with nothing on its way between them, and the next ones go on. What the back office has not yet said
    /// it says to those; replies to open asks never come.
    fn restart(&mut self) {
        self.deliver_all_mail();
        let (now, elapsed_ms) = (self.now, self.rng.below(200));
        for shard in 0..self.sites.len() {
            let rng = &mut self.rng;
            self.sites[shard].restart(now, elapsed_ms, |wire| rng.below(wire as u64 + 1) as usize);
            self.collect(shard);
        }
        self.now.0 += elapsed_ms;
        self.deliver_all_mail();
        for tracking in self.tracking.values_mut() {
            tracking.expecting.clear();
            tracking.is_done |= tracking.shards == Some(tracking.delivered);
        }
        self.tick_due();
    }

    fn deliver_all_mail(&mut self) {
        while !self.mailboxes.values().all(VecDeque::is_empty) {
            self.deliver_mail();
        }
    }

    fn check(&mut self, shard: usize) {
        let site = &mut self.sites[shard];
        site.check_queries(self.now);
        for channel in CHANNELS.iter().map(|name| Model::name(name)) {
            if channel.home(&site.config.topology) == site.config.shard
                && site.rule(channel.as_str()).is_some()
            {
                site.check_history(self.now, channel.as_str());
            }
        }
    }

    fn tick_due(&mut self) {
        for shard in 0..self.sites.len() {
            if self.sites[shard].hub.next_deadline().is_some_and(|deadline| deadline <= self.now) {
                self.sites[shard].tick(self.now);
                self.collect(shard);
            }
        }
    }

    /// Puts the mail of the last command into mailboxes and reads its reports.
    fn collect(&mut self, shard: usize) {
        let from = shard as u8;
        for (to, mail) in std::mem::take(&mut self.sites[shard].mail) {
            self.mailboxes.entry((from, to.0)).or_default().push_back(mail);
        }
        for (token, report) in std::mem::take(&mut self.sites[shard].reports) {
            self.read_report(shard, token, &report);
        }
    }

    fn read_report(&mut self, shard: usize, token: Token, report: &Report) {
        let tracking = self.tracking.get_mut(&token).unwrap_or_else(|| panic!("nobody asked for {report:?}"));
        let here = ShardId(shard as u8);
        match report {
            Report::Routed { shards, .. } => {
                assert!(tracking.shards.replace(*shards).is_none(), "routed twice");
            }
            Report::Delivered { shard, counts, expecting } => {
                assert_eq!(*shard, here);
                assert!(
                    tracking.shards.is_some_and(|shards| shards & (1 << shard.0) != 0),
                    "not routed to {shard:?}"
                );
                assert_eq!(tracking.delivered & (1 << shard.0), 0, "delivered twice");
                tracking.delivered |= 1 << shard.0;
                tracking.total += counts.delivered + counts.queued;
                if *expecting > 0 {
                    tracking.expecting.insert(*shard, *expecting);
                }
            }
            Report::Reply { .. } => {
                let left = tracking.expecting.get_mut(&here).expect("replies are awaited");
                assert!(*left > 0, "more replies than asked");
                *left -= 1;
            }
            Report::RepliesClosed { shard, .. } => {
                assert_eq!(*shard, here);
                assert!(tracking.expecting.remove(shard).is_some(), "closed twice");
            }
            Report::Refused(_) => {
                tracking.is_done = true;
                return;
            }
            other => panic!("{other:?}"),
        }
        let complete = tracking.shards == Some(tracking.delivered);
        tracking.is_done = complete && tracking.expecting.is_empty();
    }

    fn deliver_mail(&mut self) {
        let filled: Vec<(u8, u8)> =
            self.mailboxes.iter().filter(|(_, mails)| !mails.is_empty()).map(|(link, _)| *link).collect();
        let Some(link) = self.rng.pick(&filled).copied() else { return };
        for _ in 0..self.rng.range(1, 3) {
            let Some(mail) = self.mailboxes.get_mut(&link).and_then(VecDeque::pop_front) else { break };
            self.sites[usize::from(link.1)].mail(self.now, ShardId(link.0), mail);
            self.collect(usize::from(link.1));
        }
    }

    fn run_errand(&mut self, shard: usize) {
        let Some(errand) = self.errands[shard].pop_front() else { return };
        let now = self.now;
        match errand {
            Errand::Publish(publish) => self.run_publish(shard, *publish),
            Errand::Subscribe(of, filter, token) => self.sites[shard].subscribe(now, of, &filter, token),
            Errand::Unsubscribe(of, filter, token) => self.sites[shard].unsubscribe(now, of, &filter, token),
            Errand::EndMembers(of, reason, token) => self.sites[shard].end_members(now, of, reason, token),
        }
        self.collect(shard);
    }

    fn run_publish(&mut self, shard: usize, publish: Publish) {
        let now = self.now;
        match &publish.target {
            Target::Channel(channel) => {
                let known = |site: &Site| {
                    let mut sessions = site.model.sessions.values();
                    let knows = |sub: &String| hub::filter_matches(sub, channel.as_str());
                    sessions.any(|session| session.known.iter().any(knows))
                };
                let must =
                    (0..self.sites.len()).filter(|n| known(&self.sites[*n])).fold(0, |all, n| all | 1 << n);
                self.sites[shard].publish_channel(now, publish, must);
            }
            Target::Union(_) => self.sites[shard].publish_union(now, publish),
            Target::Session(_) => self.sites[shard].publish_session(now, publish),
        }
    }

    fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    fn name(&mut self) -> String {
        let names = if self.rng.chance(30) { FILTERS } else { CHANNELS };
        self.rng.pick(names).expect("not empty").to_string()
    }

    fn channel(&mut self) -> ChannelName {
        if self.rng.chance(10) {
            return ChannelName::user(self.rng.pick(USERS).expect("not empty"));
        }
        Model::name(self.rng.pick(CHANNELS).expect("not empty"))
    }

    fn any_id(&mut self) -> Option<SessionId> {
        let from = self.ids.len().saturating_sub(20);
        self.rng.pick(&self.ids[from..]).copied()
    }

    fn members(&mut self) -> Option<Members> {
        match self.rng.below(4) {
            0 => Some(Members::User((*self.rng.pick(USERS).expect("not empty")).into())),
            1 => Some(Members::Channel(self.channel())),
            _ => self.any_id().map(Members::Session),
        }
    }

    fn back_office(&mut self) {
        match self.rng.below(100) {
            0..65 => self.issue_publish(),
            65..98 => {
                let Some(of) = self.members() else { return };
                let name = self.name();
                let kind = self.rng.below(20);
                for shard in 0..self.errands.len() {
                    let (of, token) = (of.clone(), self.token());
                    let errand = match kind {
                        0..10 => Errand::Subscribe(of, name.clone(), token),
                        10..18 => Errand::Unsubscribe(of, name.clone(), token),
                        18 => Errand::EndMembers(of, Reason::Kicked, token),
                        _ => Errand::EndMembers(of, Reason::Disconnected, token),
                    };
                    self.errands[shard].push_back(errand);
                }
            }
            _ => {
                let Some(of) = self.members() else { return };
                let cases = [
                    ("$user/u1", Refusal::ReservedChannel),
                    ("a/#/b", Refusal::InvalidFilter),
                    ("", Refusal::InvalidChannel),
                ];
                let (filter, refusal) = *self.rng.pick(&cases).expect("not empty");
                let shard = self.rng.below(self.sites.len() as u64) as usize;
                self.sites[shard].refused_filter(self.now, of, filter, refusal);
            }
        }
    }

    fn issue_publish(&mut self) {
        let token = self.token();
        let all = u64::MAX >> (64 - self.sites.len());
        let (target, shards) = match self.rng.below(10) {
            0..6 => (Target::Channel(self.channel()), None),
            6..8 => {
                let mut channels: Vec<ChannelName> = Vec::new();
                for _ in 0..self.rng.range(1, 3) {
                    let channel = self.channel();
                    if !channels.contains(&channel) {
                        channels.push(channel);
                    }
                }
                (Target::Union(channels), Some(all))
            }
            _ => {
                let Some(id) = self.any_id() else { return };
                (Target::Session(id), Some(1 << self.owner(&id)))
            }
        };
        let publish = self.publish(target, token);
        self.tracking.insert(token, Tracking { shards, ..Tracking::default() });
        match &publish.target {
            Target::Channel(channel) => {
                let home = channel.home(&self.sites[0].config.topology);
                self.errands[usize::from(home.0)].push_back(Errand::Publish(Box::new(publish)));
            }
            Target::Session(id) => {
                let owner = self.owner(id);
                self.errands[owner].push_back(Errand::Publish(Box::new(publish)));
            }
            Target::Union(_) => {
                for shard in 0..self.errands.len() {
                    self.errands[shard].push_back(Errand::Publish(Box::new(copy(&publish))));
                }
            }
        }
    }

    fn owner(&self, id: &SessionId) -> usize {
        usize::from(self.sites[0].config.topology.owner(id.partition()).0)
    }

    fn publish(&mut self, target: Target, token: Token) -> Publish {
        self.next += 1;
        let mut except = Except::default();
        if self.rng.chance(20) {
            except.sessions.extend(self.any_id());
        }
        if self.rng.chance(20) {
            except.channels.push(self.channel());
        }
        let size = self.rng.below(30) as usize;
        Publish {
            id: MessageId(u128::from(self.next)),
            target,
            event: None,
            body: Body::Raw(Bytes::from(vec![0; size])),
            volatile: self.rng.chance(15),
            except: (except != Except::default()).then(|| Box::new(except)),
            reply_within_ms: self.rng.chance(20).then(|| self.rng.range(1, 300)),
            token: Some(token),
            traits: hub::Traits::default(),
            receipt: None,
        }
    }

    fn front(&mut self, shard: usize) {
        let keys: Vec<SessionKey> = self.sites[shard].model.sessions.keys().copied().collect();
        let key = self.rng.pick(&keys).copied();
        match (self.rng.below(100), key) {
            (0..12, _) | (_, None) => self.open(shard),
            (12..20, _) => self.close_one(shard),
            (20..30, Some(key)) => self.attach(shard, key),
            (30..40, Some(key)) => self.reply(shard, key),
            (40..44, Some(_)) => {
                if let Some(id) = self.any_id() {
                    self.next += 1;
                    let owner = self.owner(&id);
                    self.sites[owner].answer(self.now, id, self.next);
                    self.collect(owner);
                }
            }
            (_, Some(key)) => self.move_session(shard, key),
        }
        self.collect(shard);
    }

    fn open(&mut self, shard: usize) {
        let mut random = [0; 9];
        random[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        self.next += 1;
        let open =
            Open { tag: Tag(self.next as u32), random, recover: self.rng.chance(60), part: Part::Client };
        if let Some((_, id)) = self.sites[shard].open(self.now, open) {
            self.ids.push(id);
        }
    }

    fn close_one(&mut self, shard: usize) {
        let Some((key, tag, reason)) = self.sites[shard].to_close.pop() else { return };
        assert_eq!(self.sites[shard].model.sessions[&key].tag, tag, "the front knows better");
        self.detach(shard, key, reason);
    }

    fn detach(&mut self, shard: usize, key: SessionKey, reason: Reason) {
        let wire = self.sites[shard].model.sessions[&key].wire.len();
        let seen = self.rng.below(wire as u64 + 1) as usize;
        self.sites[shard].to_close.retain(|(k, _, _)| *k != key);
        self.sites[shard].detach(self.now, key, reason, seen);
    }

    fn attach(&mut self, shard: usize, key: SessionKey) {
        let session = &mut self.sites[shard].model.sessions.get_mut(&key).expect("listed");
        let is_detached = session.state == State::Detached;
        if !is_detached && !self.rng.chance(20) {
            return;
        }
        let seen = if is_detached { 0 } else { self.rng.below(session.wire.len() as u64 + 1) as usize };
        let mut shown = session.wire.iter().take(seen).filter_map(|item| match item {
            Item::Message { ask: None, offset, .. } => *offset,
            _ => None,
        });
        let honest = shown.next_back().or(session.after).unwrap_or(0);
        let epoch = EPOCH.wrapping_add((shard as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let after = match self.rng.below(10) {
            0 => Some(Offset { epoch, sequence: self.rng.below(honest + 3) }),
            1 => Some(Offset { epoch: epoch + 1, sequence: honest }),
            2 => None,
            _ => Some(Offset { epoch, sequence: honest }),
        };
        let id = if self.rng.chance(95) { session.id } else { *self.ids.first().expect("one is open") };
        if self.owner(&id) != shard
            || (id != self.sites[shard].model.sessions[&key].id
                && self.sites[shard].model.key_of(&id).is_some())
        {
            return;
        }
        self.next += 1;
        let attach = Attach { session: id, tag: Tag(self.next as u32), after };
        self.sites[shard].attach(self.now, attach, seen, epoch);
    }

    fn reply(&mut self, shard: usize, key: SessionKey) {
        let asks: Vec<u64> = self.sites[shard].model.asks.keys().copied().collect();
        let ask = match self.rng.pick(&asks).copied() {
            Some(ask) if self.rng.chance(90) => ask,
            _ => self.rng.below(10),
        };
        self.sites[shard].reply(self.now, key, ask);
    }

    fn move_session(&mut self, shard: usize, key: SessionKey) {
        let now = self.now;
        let state = self.sites[shard].model.sessions[&key].state;
        match (state, self.rng.below(100)) {
            (State::Pending, 0..70) => {
                let admit = self.admit(key);
                self.sites[shard].admit(now, admit);
            }
            (State::Ready, 0..40) => self.sites[shard].pause(now, key),
            (State::Paused, 0..70) => {
                let budget = self.rng.range(1, 5) as u32;
                self.sites[shard].resume(now, key, budget);
            }
            (State::Paused, 70..75) => self.sites[shard].pause(now, key),
            (State::Pending | State::Ready | State::Paused, 75..90) => {
                let reasons =
                    [Reason::ConnectionClosed, Reason::Silent, Reason::ClientLeft, Reason::Malformed];
                let reason = *self.rng.pick(&reasons).expect("not empty");
                self.detach(shard, key, reason);
            }
            (_, 90..94) => self.sites[shard].end(now, key, Reason::CredentialsExpired),
            _ => {}
        }
    }

    fn admit(&mut self, key: SessionKey) -> Admit {
        let user = self.rng.chance(40).then(|| (*self.rng.pick(USERS).expect("not empty")).into());
        let subscriptions = (0..self.rng.below(4)).map(|_| self.name()).collect();
        Admit { session: key, user, info: None, subscriptions, keepsake: bytes::Bytes::new() }
    }

    /// Everything on its way arrives.
    fn settle(&mut self) {
        loop {
            for shard in 0..self.sites.len() {
                while !self.errands[shard].is_empty() {
                    self.run_errand(shard);
                }
            }
            if self.mailboxes.values().all(VecDeque::is_empty) {
                break;
            }
            self.deliver_mail();
        }
    }

    /// With no mail on its way every publish reaches exactly the members there are.
    fn probe(&mut self) {
        for name in CHANNELS {
            let token = self.token();
            self.next += 1;
            self.tracking.insert(token, Tracking::default());
            let channel = Model::name(name);
            let home = usize::from(channel.home(&self.sites[0].config.topology).0);
            let here = |site: &Site| site.model.sessions.values().any(|session| session.is_in(name));
            let expected =
                (0..self.sites.len()).filter(|n| here(&self.sites[*n])).fold(0, |all, n| all | 1 << n);
            let publish = Publish {
                id: MessageId(u128::from(self.next)),
                target: Target::Channel(channel),
                event: None,
                body: Body::Raw(Bytes::new()),
                volatile: false,
                except: None,
                reply_within_ms: None,
                token: Some(token),
                traits: hub::Traits::default(),
                receipt: None,
            };
            self.errands[home].push_back(Errand::Publish(Box::new(publish)));
            self.settle();
            assert_eq!(self.tracking[&token].shards, Some(expected), "{name}");
        }
        for shard in 0..self.sites.len() {
            self.check(shard);
        }
    }

    /// Nothing is left when all have gone and the windows are over.
    fn end_all(&mut self) {
        for shard in 0..self.sites.len() {
            let keys: Vec<SessionKey> = self.sites[shard].model.sessions.keys().copied().collect();
            for key in keys {
                self.sites[shard].end(self.now, key, Reason::Draining);
                self.collect(shard);
            }
        }
        self.settle();
        while let Some(deadline) = self.sites.iter().filter_map(|site| site.hub.next_deadline()).min() {
            self.now = self.now.max(deadline);
            self.tick_due();
        }
        for site in &self.sites {
            assert!(site.hub.is_idle(), "something is left: {:?}", site.hub);
            assert_eq!(site.hub.capacity(), 0, "memory is held");
            assert!(
                site.model.pending.is_empty() && site.model.asks.is_empty() && site.model.reports.is_empty()
            );
        }
        let undone: BTreeSet<_> =
            self.tracking.iter().filter(|(_, tracking)| !tracking.is_done).collect_tokens();
        assert!(undone.is_empty(), "never completed: {undone:?}");
    }
}

trait CollectTokens {
    fn collect_tokens(self) -> BTreeSet<Token>;
}

impl<'a, I: Iterator<Item = (&'a Token, &'a Tracking)>> CollectTokens for I {
    fn collect_tokens(self) -> BTreeSet<Token> {
        self.map(|(token, _)| *token).collect()
    }
}

fn copy(publish: &Publish) -> Publish {
    Publish {
        id: publish.id,
        target: publish.target.clone(),
        event: publish.event.clone(),
        body: publish.body.clone(),
        volatile: publish.volatile,
        except: publish.except.clone(),
        reply_within_ms: publish.reply_within_ms,
        token: publish.token,
        traits: hub::Traits::default(),
        receipt: None,
    }
}
