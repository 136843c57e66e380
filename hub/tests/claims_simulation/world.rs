//! A node of hubs with mail of random delay, clients and a back end, driven by a seed.

use crate::ledger::{Ledger, Record, Sent};
use crate::person::{Asked, Held, Line, Person};
use crate::rng::Rng;
use bytes::Bytes;
use hub::{
    Body, CatchUp, ChannelName, Claim, Command, Config, Effect, Effects, Grade, Hub, HubMail, Join, Limits,
    Members, Message, MessageId, Millis, Offer, Options, Outcome, Outgoing, Publish, Quality, Query, Reason,
    Recipient, RecoveryLimits, Report, SessionId, ShardId, Step, Tag, Target, Token, Topology, Traits, Will,
    claim_home,
};
use std::collections::{BTreeMap, VecDeque};

const CHANNELS: &[&str] = &["a", "b", "a/x", "a/y", "b/x", "c/x/y"];
const FILTERS: &[&str] = &["a", "a/x", "b", "#", "+", "a/+", "a/#", "+/x", "c/+/y"];
const SHARED: &[(&str, &str)] = &[("g", "a/#"), ("g", "b"), ("h", "+/x"), ("h", "a/x")];
const NAMES: &[&str] = &["p0", "p1", "p2", "p3", "p4"];
const QUALITIES: [Quality; 3] = [Quality::AtMostOnce, Quality::AtLeastOnce, Quality::ExactlyOnce];

pub struct World {
    rng: Rng,
    now: u64,
    topology: Topology,
    limits: Limits,
    hubs: Vec<Hub>,
    mail: BTreeMap<(usize, usize), VecDeque<HubMail>>,
    people: Vec<Person>,
    ledger: Ledger,
    next: u64,
    /// Values that came to whom, while it is asked for.
    probe: Option<(usize, Vec<usize>)>,
    /// Who is being resumed.
    resumed: Option<usize>,
}

fn limits(rng: &mut Rng, is_ample: bool) -> Limits {
    let (messages, bytes) = if is_ample { (100_000, 1_000_000) } else { (rng.range(1, 6), rng.range(2, 30)) };
    Limits {
        sessions_max: 100,
        channels_max: 1000,
        subscriptions_per_session_max: 100,
        channel_name_bytes_max: 40,
        outbox_messages_max: messages as u32,
        outbox_bytes_max: bytes,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 0,
        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 10,
        delayed_bytes_max: 1000,
        recovery: RecoveryLimits { messages_max: 1, bytes_max: 1, window_ms: 1 },
    }
}

fn new_hubs(topology: Topology, limits: &Limits) -> Vec<Hub> {
    let hub = |shard| {
        let (shard, rules, limits) = (ShardId(shard), Vec::new(), limits.clone());
        Hub::new(Config { shard, topology, epoch: 7, limits, rules })
    };
    (0..topology.shards).map(hub).collect()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let topology = Topology { shards: rng.range(1, 3) as u8, partitions: 8 };
        let is_ample = rng.chance(70);
        let limits = limits(&mut rng, is_ample);
        let person = |name: &&str| {
            let shard = usize::from(claim_home(name, &topology).0);
            Person { name: (*name).to_owned(), shard, session: None, line: None }
        };
        Self {
            now: 1000,
            hubs: new_hubs(topology, &limits),
            limits,
            people: NAMES.iter().map(person).collect(),
            ledger: Ledger::new(is_ample),
            topology,
            rng,
            mail: BTreeMap::new(),
            next: 0,
            probe: None,
            resumed: None,
        }
    }

    /// Returns how often each situation was met.
    pub fn run(mut self, steps: u32) -> BTreeMap<&'static str, u64> {
        for _ in 0..steps {
            self.ledger.now += 1;
            match self.rng.below(100) {
                0..35 => self.deliver_mail(),
                35..88 => {
                    let who = self.rng.below(NAMES.len() as u64) as usize;
                    self.act(who);
                }
                88..93 => self.office(),
                _ => {
                    let most = if self.rng.chance(10) { 300 } else { 20 };
                    self.now += self.rng.below(most);
                }
            }
            if self.rng.chance(80) {
                self.tick();
            }
            if self.rng.chance(5) {
                self.check_counts();
            }
            if self.rng.below(400) == 0 {
                self.restart();
            }
        }
        self.settle();
        self.ledger.close();
        self.probe();
        self.end();
        self.ledger.seen
    }

    /// All shards end in order, and the next ones go on, with clocks of their own.
    fn restart(&mut self) {
        for who in 0..self.people.len() {
            let ends = self.people[who].line.is_some() && self.people[who].held().keep_ms == 0;
            if ends {
                self.lose(who, Reason::Draining);
            }
        }
        self.deliver_all_mail();
        let (now, elapsed_ms) = (self.now, self.rng.below(100));
        self.now = self.rng.range(2000, 9000);
        for who in 0..self.people.len() {
            if self.people[who].line.is_some() {
                self.hang_up(who, now);
            }
            if let Some(held) = &mut self.people[who].session {
                let moved = |at: u64| (at + self.now).saturating_sub(now + elapsed_ms);
                let moved = |at: u64| if at == u64::MAX { at } else { moved(at) };
                (held.until, held.will_at) = (moved(held.until), moved(held.will_at));
            }
        }
        let next = new_hubs(self.topology, &self.limits);
        for (shard, old) in std::mem::replace(&mut self.hubs, next).into_iter().enumerate() {
            let mut effects = Effects::default();
            let snapshot = old.snapshot(Millis(now));
            let refused = self.hubs[shard].restore(Millis(self.now), elapsed_ms, snapshot, &mut effects);
            assert_eq!(refused, []);
            for effect in effects.list {
                self.perform(shard, effect, &[]);
            }
        }
        self.deliver_all_mail();
        self.ledger.restarted();
    }

    fn deliver_all_mail(&mut self) {
        while !self.mail.values().all(VecDeque::is_empty) {
            self.deliver_mail();
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn deliver_mail(&mut self) {
        let links: Vec<(usize, usize)> =
            self.mail.iter().filter(|(_, mails)| !mails.is_empty()).map(|(link, _)| *link).collect();
        let Some((from, to)) = self.rng.pick(&links).copied() else { return };
        let mail = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("found");
        if let HubMail::Publish(publish) = &mail {
            self.note_order(publish);
        }
        self.apply(to, Command::Mail { from: ShardId(from as u8), mail });
    }

    fn tick(&mut self) {
        for shard in 0..self.hubs.len() {
            if self.hubs[shard].next_deadline().is_some_and(|at| at.0 <= self.now) {
                self.apply(shard, Command::Tick);
            }
        }
    }

    /// The channel's home is about to take it.
    fn note_order(&mut self, publish: &Publish) {
        let name = publish.id.0 as usize;
        if !self.ledger.sent[name].is_will {
            self.ledger.ordered(name, publish.body.len_bytes() == 0);
        }
    }

    fn apply(&mut self, shard: usize, command: Command) {
        let mut effects = Effects::default();
        self.hubs[shard].apply(Millis(self.now), command, &mut effects);
        let Effects { list, recipients, .. } = effects;
        // A session gives back what others get, then it ends: the ledger hears it the other way around.
        let (ended, rest): (Vec<Effect>, Vec<Effect>) =
            list.into_iter().partition(|effect| matches!(effect, Effect::Ended { .. }));
        for effect in ended.into_iter().chain(rest) {
            self.perform(shard, effect, &recipients);
        }
    }

    fn perform(&mut self, shard: usize, effect: Effect, recipients: &[Recipient]) {
        match effect {
            Effect::Mail { to, mail } => {
                self.mail.entry((shard, usize::from(to.0))).or_default().push_back(mail);
            }
            Effect::Ended { id, reason, .. } => self.ended(id, reason),
            Effect::Claimed { tag, session: key, id, resumed, displaced, .. } => {
                let who = self.by_tag(tag);
                let person = &mut self.people[who];
                assert_eq!(resumed, person.session.is_some(), "{}", person.name);
                let held = person.session.get_or_insert_with(|| Held {
                    id,
                    key,
                    user: None,
                    keep_ms: 0,
                    window: 0,
                    until: 0,
                    will: None,
                    will_at: 0,
                    open: BTreeMap::new(),
                    exchanges: BTreeMap::new(),
                    unsure: std::collections::BTreeSet::new(),
                });
                assert_eq!((held.id, held.key), (id, key));
                self.ledger.accounts.entry(id).or_default();
                let what = if displaced.is_some() { "taken over" } else { "resumed" };
                if resumed {
                    self.ledger.meet(what);
                }
            }
            Effect::Deliver { message, to, .. } => {
                for to in &recipients[to] {
                    self.deliver(to, &message, to.grade, &[]);
                }
            }
            Effect::Send { to, item: Outgoing::Message { message, grade, labels, .. } } => {
                self.deliver(&to, &message, grade, labels.as_deref().unwrap_or_default());
            }
            Effect::Taken { to, number } => {
                let who = self.by_tag(to.tag);
                if self.people[who].may_forget(number) {
                    self.ledger.meet("number forgotten again");
                }
            }
            Effect::Done { to, request, outcome } => self.done(&to, request, outcome),
            Effect::More { to } => {
                let who = self.by_tag(to.tag);
                assert_eq!(self.resumed, Some(who));
                self.people[who].line.as_mut().unwrap().is_paused = true;
            }
            Effect::CloseConnection { to, .. } => {
                let who = self.by_tag(to.tag);
                self.people[who].line.as_mut().unwrap().is_closing = true;
            }
            Effect::Detached { .. } => {}
            Effect::Report {
                report: Report::Count(_) | Report::Delivered { .. } | Report::Routed { .. },
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }

    /// Nothing comes on a connection that was displaced or has failed.
    fn by_tag(&self, tag: Tag) -> usize {
        let is_it = |person: &Person| person.line.as_ref().is_some_and(|line| line.tag == tag);
        self.people.iter().position(is_it).expect("a connection that there is")
    }

    fn deliver(&mut self, to: &Recipient, message: &Message, grade: Grade, labels: &[u32]) {
        let who = self.by_tag(to.tag);
        let (name, person) = (message.id.0 as usize, &self.people[who]);
        let line = person.line.as_ref().unwrap();
        assert!(!line.is_closing, "the connection is closing");
        assert!(!line.is_paused || self.resumed == Some(who), "the connection is busy");
        assert_eq!(self.ledger.sent[name].channel, message.channel.as_str());
        let id = person.session.as_ref().unwrap().id;
        let probe = self.probe.as_mut().filter(|(prober, _)| *prober == who && grade.retained);
        if let Some((_, values)) = probe {
            values.push(name);
        }
        let group = self.ledger.deliver(id, name, grade, labels);
        if grade.quality > Quality::AtMostOnce {
            self.people[who].took(name, grade, group);
        }
    }

    fn done(&mut self, to: &Recipient, request: u64, outcome: Outcome) {
        let who = self.by_tag(to.tag);
        let person = &mut self.people[who];
        let asked =
            person.line.as_mut().unwrap().requests.remove(&request).expect("asked on this connection");
        let held = person.held();
        match (asked, outcome) {
            (Asked::Join(label), Outcome::Joined { .. }) => self.ledger.joined(label),
            (Asked::Leave, Outcome::Left { .. }) => {}
            (Asked::Offer(name), Outcome::Published { .. }) => {
                held.unsure.remove(&name);
            }
            (Asked::Exchange(number), Outcome::Published { .. } | Outcome::Repeated) => {
                held.exchanges.get_mut(&number).expect("offered").1 = true;
                if outcome == Outcome::Repeated {
                    self.ledger.meet("repeated");
                }
            }
            (Asked::Forget(number), Outcome::Forgotten) => {
                held.exchanges.remove(&number);
            }
            other => panic!("{other:?}"),
        }
    }

    fn ended(&mut self, id: SessionId, reason: Reason) {
        let is_it = |person: &&mut Person| person.session.as_ref().is_some_and(|held| held.id == id);
        let person = self.people.iter_mut().find(is_it).expect("somebody's");
        let unsettled = person.unsettled();
        person.session = None;
        if reason == Reason::Expired {
            self.ledger.meet("expired");
        } else if reason != Reason::TakenOver {
            person.line = None;
        }
        if !unsettled.is_empty() {
            self.ledger.meet("dealt to another");
        }
        self.ledger.ended(id, &unsettled);
    }

    fn act(&mut self, who: usize) {
        let Some(line) = &self.people[who].line else { return self.claim(who) };
        if line.is_closing {
            return self.lose(who, Reason::Disconnected);
        }
        match self.rng.below(100) {
            0..14 => self.join(who),
            14..19 => self.leave(who),
            19..45 => self.offer(who),
            45..72 => self.step(who),
            72..78 => self.forget(who),
            78..90 => self.pause_or_resume(who),
            90..94 => self.lose(who, Reason::ConnectionFailed),
            94..96 => self.goodbye(who),
            96..98 => self.claim(who),
            _ => self.change_keep(who),
        }
    }

    fn claim(&mut self, who: usize) {
        let tag = Tag(self.number() as u32);
        let user = if self.rng.chance(95) { None } else { Some("eve") };
        let (is_fresh, window) = (self.rng.chance(10), self.rng.range(1, 5) as u16);
        let keep_ms = *self.rng.pick(&[0, 30, 200, 200, u64::MAX, u64::MAX]).unwrap();
        let delay_ms = *self.rng.pick(&[0, 0, 20, 100]).unwrap();
        let will = self.rng.chance(30).then(|| self.will());
        let person = &mut self.people[who];
        let was_connected = person.line.replace(Line::new(tag)).is_some();
        if let Some(held) = &mut person.session {
            let is_over = !was_connected && held.until <= self.now;
            let goes_on = !is_fresh && !is_over && held.keep_ms > 0 && held.user == user;
            let will_waits = if was_connected {
                held.will.is_some_and(|(_, delay_ms)| delay_ms > 0)
            } else {
                held.will_at > self.now
            };
            if let Some((name, _)) = held.will.take().filter(|_| goes_on && will_waits) {
                self.ledger.sent[name].is_void = true;
            }
        }
        let publish = will.map(|name| self.command(name, false));
        let will_of = |publish: Box<Publish>| Will { publish: *publish, expires_after_ms: None, delay_ms };
        let mut random = [0; 9];
        random[..8].copy_from_slice(&self.rng.next().to_be_bytes());
        let claim = Claim {
            tag,
            name: self.people[who].name.as_str().into(),
            fresh: is_fresh,
            keep_ms,
            window,
            will: publish.map(|publish| Box::new(will_of(publish))),
            user: user.map(Into::into),
            random,
        };
        let shard = self.people[who].shard;
        self.people[who].line.as_mut().unwrap().tag = tag;
        self.apply(shard, Command::Claim(Box::new(claim)));
        let held = self.people[who].held();
        (held.keep_ms, held.window, held.user) = (keep_ms, window, user);
        held.will = will.map(|name| (name, delay_ms));
        self.offer_again(who);
    }

    /// What the hub did not acknowledge on the last connection.
    fn offer_again(&mut self, who: usize) {
        let held = self.people[who].held();
        let exchanges: Vec<(u16, usize)> = held
            .exchanges
            .iter()
            .filter(|(_, (_, is_done))| !is_done)
            .map(|(n, (name, _))| (*n, *name))
            .collect();
        let unsure = std::mem::take(&mut held.unsure);
        for (number, name) in exchanges {
            self.ledger.meet("offered again");
            self.send_offer(who, name, Some(number));
        }
        for name in unsure {
            if self.ledger.sent[name].retain {
                continue;
            }
            self.ledger.sent[name].copies += 1;
            self.people[who].held().unsure.insert(name);
            self.send_offer(who, name, None);
        }
    }

    fn will(&mut self) -> usize {
        let (channel, quality) = (*self.rng.pick(CHANNELS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        let sent = Sent { is_will: true, at: 0, ..self.sent(channel, quality, None) };
        self.ledger.publish(sent)
    }

    fn sent(&self, channel: &str, quality: Quality, origin: Option<SessionId>) -> Sent {
        Sent {
            channel: channel.to_owned(),
            quality,
            retain: false,
            ages: false,
            is_will: false,
            is_void: false,
            to: None,
            origin,
            at: self.ledger.now,
            copies: 1,
            order: None,
            ordered_at: 0,
        }
    }

    fn command(&mut self, name: usize, is_empty: bool) -> Box<Publish> {
        let sent = &self.ledger.sent[name];
        let body = if is_empty { String::new() } else { name.to_string() };
        let expires = sent.ages.then_some(Millis(self.now + 15));
        let target = match sent.to {
            Some(id) => Target::Session(id),
            None => Target::Channel(ChannelName::parse(&sent.channel, 40).expect("valid")),
        };
        Box::new(Publish {
            id: MessageId(name as u128),
            target,
            event: None,
            body: Body::Raw(Bytes::from(body)),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits: Traits { quality: sent.quality, retain: sent.retain, expires, ..Traits::default() },
            receipt: None,
        })
    }

    fn join(&mut self, who: usize) {
        let (label, request) = (self.number() as u32, self.number());
        let mut quality = *self.rng.pick(&QUALITIES).unwrap();
        let (mut filter, mut group) = (*self.rng.pick(FILTERS).unwrap(), None);
        if self.rng.chance(25) {
            let (name, shared) = *self.rng.pick(SHARED).unwrap();
            (filter, group) = (shared, Some(name));
            quality = quality.max(Quality::AtLeastOnce);
        }
        let skip_own = group.is_none() && self.rng.chance(20);
        let options = Options { quality, skip_own, keep_retain: false, label };
        let catches_up = group.is_none() && self.rng.chance(40);
        let catch_up = if catches_up { CatchUp::Always } else { CatchUp::Never };
        let person = &mut self.people[who];
        let (shard, held) = (person.shard, person.session.as_ref().unwrap());
        let record = Record {
            session: held.id,
            filter: filter.to_owned(),
            group: group.map(|group| format!("{group}/{filter}")),
            quality,
            skip_own,
            since: None,
            subscribed: None,
            left: None,
            at: self.ledger.now,
            values: BTreeMap::new(),
        };
        let (session, filter, group) = (held.key, filter.to_owned(), group.map(Into::into));
        person.line.as_mut().unwrap().requests.insert(request, Asked::Join(label));
        self.ledger.join(label, record, catches_up);
        self.apply(shard, Command::Join(Join { session, filter, group, options, catch_up, request }));
    }

    fn leave(&mut self, who: usize) {
        let request = self.number();
        let (filter, group) = if self.rng.chance(30) {
            let (group, filter) = *self.rng.pick(SHARED).unwrap();
            (filter, Some(group))
        } else {
            (*self.rng.pick(FILTERS).unwrap(), None)
        };
        let person = &mut self.people[who];
        let (shard, session, id) = (person.shard, person.held().key, person.held().id);
        person.line.as_mut().unwrap().requests.insert(request, Asked::Leave);
        let key = group.map(|group| format!("{group}/{filter}"));
        self.ledger.leave(id, filter, key.as_deref());
        let (filter, group) = (filter.to_owned(), group.map(Into::into));
        self.apply(shard, Command::Leave { session, filter, group, request });
    }

    fn offer(&mut self, who: usize) {
        let (channel, quality) = (*self.rng.pick(CHANNELS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        let origin = Some(self.people[who].held().id);
        let (retain, ages) = (self.rng.chance(20), self.rng.chance(10));
        let sent = Sent { retain, ages: ages && !retain, ..self.sent(channel, quality, origin) };
        let name = self.ledger.publish(sent);
        let held = self.people[who].held();
        let exchange = (quality == Quality::ExactlyOnce)
            .then(|| (1..).find(|number| !held.exchanges.contains_key(number)).expect("one is free"));
        if let Some(number) = exchange {
            held.exchanges.insert(number, (name, false));
        } else if quality > Quality::AtMostOnce {
            held.unsure.insert(name);
        }
        self.send_offer(who, name, exchange);
    }

    fn send_offer(&mut self, who: usize, name: usize, exchange: Option<u16>) {
        let request = self.number();
        let is_empty = self.ledger.sent[name].retain && name.is_multiple_of(5);
        let publish = self.command(name, is_empty);
        let (person, sent) = (&mut self.people[who], &self.ledger.sent[name]);
        let (shard, session) = (person.shard, person.held().key);
        let home = ChannelName::parse(&sent.channel, 40).unwrap().home(&self.topology);
        let asked = match exchange {
            Some(number) => Asked::Exchange(number),
            None => Asked::Offer(name),
        };
        if sent.quality > Quality::AtMostOnce {
            person.line.as_mut().unwrap().requests.insert(request, asked);
        }
        // Under its number it came before, if it has its order.
        if usize::from(home.0) == shard && (exchange.is_none() || sent.order.is_none()) {
            self.note_order(&publish);
        }
        self.apply(shard, Command::Offer(Box::new(Offer { session, exchange, publish: *publish, request })));
    }

    /// Tells the next step, or one out of turn.
    fn step(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let line = person.line.as_mut().unwrap();
        let at = if self.rng.chance(80) { 0 } else { self.rng.below(line.steps.len().max(1) as u64) };
        let Some((number, mut step)) = line.steps.remove(at as usize) else { return };
        if step == Step::Received && self.rng.chance(5) {
            step = Step::Declined;
            self.ledger.meet("declined");
        }
        person.steps(number, step);
        self.apply(shard, Command::Settle { session, number, step });
    }

    fn forget(&mut self, who: usize) {
        let request = self.number();
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let asked =
            |number: u16| move |asked: &Asked| matches!(asked, Asked::Forget(other) if *other == number);
        let line = person.line.as_ref().unwrap();
        let is_new = |number: u16| !line.requests.values().any(asked(number));
        let exchanges = &person.session.as_ref().unwrap().exchanges;
        let done = exchanges.iter().find(|(number, (_, is_done))| *is_done && is_new(**number));
        let Some(exchange) = done.map(|(number, _)| *number) else { return };
        person.line.as_mut().unwrap().requests.insert(request, Asked::Forget(exchange));
        self.apply(shard, Command::Forget { session, exchange, request });
    }

    fn pause_or_resume(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        let line = person.line.as_mut().unwrap();
        if !line.is_paused {
            line.is_paused = true;
            return self.apply(shard, Command::Pause(session));
        }
        line.is_paused = false;
        self.resumed = Some(who);
        let budget = self.rng.range(1, 6) as u32;
        self.apply(shard, Command::Resume { session, budget });
        self.resumed = None;
    }

    fn lose(&mut self, who: usize, reason: Reason) {
        self.hang_up(who, self.now);
        let person = &mut self.people[who];
        let (shard, session) = (person.shard, person.held().key);
        self.apply(shard, Command::Detach { session, reason });
    }

    fn hang_up(&mut self, who: usize, now: u64) {
        let person = &mut self.people[who];
        let line = person.line.take().expect("connected");
        if !line.requests.is_empty() {
            self.ledger.meet("late answer");
        }
        let held = person.held();
        held.until = now.saturating_add(held.keep_ms);
        held.will_at = held.until;
        if let Some((_, delay_ms)) = held.will {
            held.will_at = held.until.min(now + delay_ms);
        }
    }

    fn goodbye(&mut self, who: usize) {
        let person = &mut self.people[who];
        let (shard, held) = (person.shard, person.held());
        if let Some((name, _)) = held.will.take() {
            self.ledger.sent[name].is_void = true;
        }
        let session = held.key;
        self.apply(shard, Command::Amend { session, keep_ms: None, drop_will: true });
        self.lose(who, Reason::ClientLeft);
    }

    fn change_keep(&mut self, who: usize) {
        let keep_ms = *self.rng.pick(&[0, 50, 500, 500]).unwrap();
        let person = &mut self.people[who];
        person.held().keep_ms = keep_ms;
        let (shard, session) = (person.shard, person.held().key);
        self.apply(shard, Command::Amend { session, keep_ms: Some(keep_ms), drop_will: false });
    }

    fn office(&mut self) {
        let who = self.rng.below(NAMES.len() as u64) as usize;
        let (token, kind) = (Token(self.number()), self.rng.below(10));
        let (filter, quality) = (*self.rng.pick(FILTERS).unwrap(), *self.rng.pick(&QUALITIES).unwrap());
        if kind < 5 {
            let channel = *self.rng.pick(CHANNELS).unwrap();
            let name = self.ledger.publish(self.sent(channel, quality, None));
            let publish = self.command(name, false);
            self.note_order(&publish);
            let home = ChannelName::parse(channel, 40).unwrap().home(&self.topology);
            return self.apply(usize::from(home.0), Command::Publish(publish));
        }
        let (shard, Some(held)) = (self.people[who].shard, &self.people[who].session) else { return };
        let (id, of, filter) = (held.id, Members::Session(held.id), filter.to_owned());
        let command = match kind {
            5..7 => {
                let channel = ChannelName::client(id);
                let sent = Sent { to: Some(id), ..self.sent(channel.as_str(), quality, None) };
                let name = self.ledger.publish(sent);
                let mut publish = self.command(name, false);
                publish.token = Some(token);
                Command::Publish(publish)
            }
            7 => {
                self.ledger.meet("by the office");
                self.ledger.office(id, &filter);
                Command::Subscribe { of, filter, token }
            }
            8 => {
                self.ledger.leave(id, &filter, None);
                Command::Unsubscribe { of, filter, token }
            }
            _ if self.rng.chance(30) => Command::EndMembers { of, reason: Reason::Kicked, token },
            _ => Command::EndMembers { of, reason: Reason::Disconnected, token },
        };
        self.apply(shard, command);
    }

    /// What all sessions say that waits for them and is on its way is what the hub counts, and what clients know of.
    fn check_counts(&mut self) {
        for shard in 0..self.hubs.len() {
            let (mut views, mut total) = ((0, 0), None);
            for query in [Query::Sessions { of: None, after: None, limit: 1000 }, Query::Totals] {
                let mut effects = Effects::default();
                self.hubs[shard].apply(
                    Millis(self.now),
                    Command::Query { token: Token(0), query },
                    &mut effects,
                );
                for effect in effects.list {
                    match effect {
                        Effect::Report { report: Report::Sessions(page), .. } => {
                            for view in &page.items {
                                views.0 += u64::from(view.queued);
                                views.1 += u64::from(view.in_flight);
                            }
                        }
                        Effect::Report {
                            report: Report::Totals { queued, in_flight, dropped, .. }, ..
                        } => {
                            total = Some((queued, in_flight));
                            if dropped > 0 {
                                self.ledger.meet("full outbox");
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!(Some(views), total);
            let here = self.people.iter().filter(|person| person.shard == shard);
            let open: usize = here.filter_map(|person| Some(person.session.as_ref()?.open.len())).sum();
            assert_eq!(views.1, open as u64, "exchanges that are not over");
        }
    }

    /// All come back and keep to their promises, until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.ledger.now += 1;
            let mut is_quiet = self.mail.values().all(VecDeque::is_empty);
            self.deliver_mail();
            self.tick();
            for who in 0..self.people.len() {
                let Some(line) = &self.people[who].line else {
                    self.claim(who);
                    is_quiet = false;
                    continue;
                };
                if line.is_closing {
                    self.lose(who, Reason::Disconnected);
                } else if line.is_paused {
                    self.pause_or_resume(who);
                } else if !line.steps.is_empty() {
                    self.step(who);
                } else {
                    continue;
                }
                is_quiet = false;
            }
            if is_quiet && self.hubs.iter().all(|hub| hub.next_deadline().is_none_or(|at| at.0 > self.now)) {
                let open = self.people.iter().map(|person| person.line.as_ref().unwrap());
                for line in open {
                    assert!(line.requests.is_empty(), "never answered: {:?}", line.requests);
                    assert!(line.here.is_empty(), "never over: {:?}", line.here);
                }
                return;
            }
        }
        panic!("it never ends");
    }

    /// Who subscribes to everything gets the values that there are.
    fn probe(&mut self) {
        self.probe = Some((0, Vec::new()));
        let (shard, session, request) = (self.people[0].shard, self.people[0].held().key, self.number());
        let id = self.people[0].held().id;
        self.ledger.leave(id, "#", None);
        let record = Record {
            session: id,
            filter: "#".to_owned(),
            group: None,
            quality: Quality::ExactlyOnce,
            skip_own: false,
            since: None,
            subscribed: None,
            left: None,
            at: self.ledger.now,
            values: BTreeMap::new(),
        };
        let label = self.number() as u32;
        self.ledger.join(label, record, true);
        self.people[0].line.as_mut().unwrap().requests.insert(request, Asked::Join(label));
        let options = Options { quality: Quality::ExactlyOnce, label, ..Options::default() };
        let (filter, catch_up) = ("#".to_owned(), CatchUp::Always);
        self.apply(shard, Command::Join(Join { session, filter, group: None, options, catch_up, request }));
        self.settle();
        let (_, mut values) = self.probe.take().expect("set");
        values.sort_unstable();
        let mut expected: Vec<usize> = self.ledger.retained.values().copied().collect();
        expected.sort_unstable();
        assert_eq!(values, expected, "values retained");
        self.check_counts();
    }

    /// Nothing is left when all have gone.
    fn end(&mut self) {
        for who in 0..self.people.len() {
            let (shard, session) = (self.people[who].shard, self.people[who].held().key);
            self.apply(shard, Command::End { session, reason: Reason::Draining });
        }
        self.deliver_all_mail();
        for channel in CHANNELS {
            let name =
                self.ledger.publish(Sent { retain: true, ..self.sent(channel, Quality::AtMostOnce, None) });
            let publish = self.command(name, true);
            let home = ChannelName::parse(channel, 40).unwrap().home(&self.topology);
            self.apply(usize::from(home.0), Command::Publish(publish));
        }
        self.now += 1_000_000;
        self.tick();
        for hub in &self.hubs {
            assert!(hub.is_idle(), "something is left: {hub:?}");
            assert_eq!(hub.capacity(), 0, "memory is held");
        }
    }
}
