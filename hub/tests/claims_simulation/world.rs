//! A node of hubs with mail of random delay, clients and a back end, driven by a seed.

use crate::ledger::{Ledger, Record, Sent};
use crate::person::{Asked, Held, Person};
use crate::remains::name_of;
use crate::rng::Rng;
use crate::store::Store;
use hub::{
    CatchUp, ChannelName, Command, Config, Effect, Effects, Grade, Hub, HubMail, Join, Limits, Message,
    Millis, Options, Outcome, Outgoing, Quality, Query, Reason, Recipient, RecoveryLimits, Report, SessionId,
    ShardId, Tag, Token, Topology, claim_home,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod acts;
mod keeping;

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
    /// What the hubs keep, if they keep a journal.
    store: Option<Store>,
    /// Until then it writes nothing of a hub.
    slow_until: Vec<u64>,
    /// Messages that a hub lets go when so many of its changes are safe.
    going: Vec<VecDeque<(u64, usize)>>,
    /// Messages that a new hub will publish again by its first tick.
    again: Vec<Vec<usize>>,
    /// When a hub will publish what was put off, and which.
    put_off: Vec<BTreeSet<(u64, usize)>>,
    /// Sessions that were to end and are there after a crash.
    ghosts: BTreeSet<SessionId>,
    /// Sessions of which the back end was told that they are gone.
    gone: BTreeSet<SessionId>,
    /// What the back end waits to hear of.
    waits: BTreeMap<Token, Waits>,
}

/// What a report acknowledges.
enum Waits {
    /// A message is with all its shards; those that have not said so, once they are known.
    Publish(usize, Option<u64>, u64),
    End(SessionId),
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
        delayed_max: rng.range(1, 10) as u32,
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
        let store = rng.chance(50).then(|| Store::new(topology));
        let person = |name: &&str| {
            let shard = usize::from(claim_home(name, &topology).0);
            let name = (*name).to_owned();
            Person { name, shard, session: None, line: None, is_fresh_only: false }
        };
        let mut hubs = new_hubs(topology, &limits);
        if store.is_some() {
            hubs.iter_mut().for_each(|hub| hub.keep_journal(&[], Vec::new()));
        }
        let shards = usize::from(topology.shards);
        Self {
            now: 1000,
            hubs,
            limits,
            people: NAMES.iter().map(person).collect(),
            ledger: Ledger::new(is_ample),
            topology,
            rng,
            mail: BTreeMap::new(),
            next: 0,
            probe: None,
            resumed: None,
            store,
            slow_until: vec![0; shards],
            going: vec![VecDeque::new(); shards],
            again: vec![Vec::new(); shards],
            put_off: vec![BTreeSet::new(); shards],
            ghosts: BTreeSet::new(),
            gone: BTreeSet::new(),
            waits: BTreeMap::new(),
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
            self.keep();
            if self.rng.chance(80) {
                self.tick();
            }
            if self.rng.chance(5) {
                self.check_counts();
            }
            self.interrupt();
        }
        self.settle();
        // What was put off comes, too.
        self.now += 100;
        self.settle();
        self.ledger.close();
        self.probe();
        self.end();
        self.ledger.seen
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
            self.note_order(name_of(publish.id));
        }
        self.apply(to, Command::Mail { from: ShardId(from as u8), mail });
    }

    fn tick(&mut self) {
        for shard in 0..self.hubs.len() {
            if self.hubs[shard].next_deadline().is_some_and(|at| at.0 <= self.now) {
                self.note_due(shard);
                self.apply(shard, Command::Tick);
            }
        }
    }

    /// The channel's home is about to take it.
    fn note_order(&mut self, name: usize) {
        let sent = &self.ledger.sent[name];
        if !sent.is_will && sent.delay_ms == 0 {
            self.ledger.ordered(name, self.is_empty(name));
        }
    }

    /// A message that takes away what its channel retains.
    fn is_empty(&self, name: usize) -> bool {
        self.ledger.sent[name].retain && name.is_multiple_of(5)
    }

    fn home(&self, name: usize) -> usize {
        let channel = &self.ledger.sent[name].channel;
        usize::from(ChannelName::parse(channel, 40).expect("valid").home(&self.topology).0)
    }

    fn apply(&mut self, shard: usize, command: Command) {
        let mut effects = Effects::default();
        self.hubs[shard].apply(Millis(self.now), command, &mut effects);
        self.perform_all(shard, effects);
    }

    fn perform_all(&mut self, shard: usize, effects: Effects) {
        let Effects { list, recipients, entries } = effects;
        // A session gives back what others get, then it ends: the ledger hears it the other way around.
        let (ended, rest): (Vec<Effect>, Vec<Effect>) =
            list.into_iter().partition(|effect| matches!(effect, Effect::Ended { .. }));
        ended.into_iter().for_each(|effect| self.perform(shard, effect, &recipients));
        self.take_entries(shard, entries);
        rest.into_iter().for_each(|effect| self.perform(shard, effect, &recipients));
    }

    fn perform(&mut self, shard: usize, effect: Effect, recipients: &[Recipient]) {
        match effect {
            Effect::Mail { to, mail } => {
                self.mail.entry((shard, usize::from(to.0))).or_default().push_back(mail);
            }
            Effect::Ended { id, reason, .. } => self.ended(id, reason),
            Effect::Claimed { tag, session: key, id, resumed, displaced, is_safe } => {
                let who = self.by_tag(tag);
                let person = &mut self.people[who];
                assert_eq!(resumed, person.session.is_some(), "{}", person.name);
                let held = person.session.get_or_insert_with(|| Held::new(id, key));
                assert_eq!((held.id, held.key), (id, key));
                person.line.as_mut().unwrap().is_agreed = is_safe;
                self.ledger.accounts.entry(id).or_default();
                let what = if displaced.is_some() { "taken over" } else { "resumed" };
                if resumed {
                    self.ledger.meet(what);
                }
            }
            Effect::Agreed { to } => {
                let who = self.by_tag(to.tag);
                let line = self.people[who].line.as_mut().unwrap();
                assert!(!std::mem::replace(&mut line.is_agreed, true), "agreed twice");
                self.agreed(who);
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
                let who = self.by_agreed(to.tag);
                let (is_anew, is_known) = self.people[who].may_forget(number);
                if is_anew {
                    self.ledger.meet("number forgotten again");
                }
                if is_anew && is_known && self.people[who].held().is_restored {
                    self.ledger.meet("number kept after a crash");
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
            Effect::Report { token, report } => self.report(token, &report),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing comes on a connection that was displaced or has failed.
    fn by_tag(&self, tag: Tag) -> usize {
        let is_it = |person: &Person| person.line.as_ref().is_some_and(|line| line.tag == tag);
        self.people.iter().position(is_it).expect("a connection that there is")
    }

    /// Nothing is said before the client was told of its session.
    fn by_agreed(&self, tag: Tag) -> usize {
        let who = self.by_tag(tag);
        assert!(self.people[who].line.as_ref().unwrap().is_agreed, "its session is not safe");
        who
    }

    fn deliver(&mut self, to: &Recipient, message: &Message, grade: Grade, labels: &[u32]) {
        let who = self.by_agreed(to.tag);
        let (name, person) = (name_of(message.id), &self.people[who]);
        let line = person.line.as_ref().unwrap();
        assert!(!line.is_closing, "the connection is closing");
        // What was held until it was safe comes when it is.
        let may_be_late = self.store.is_some() && grade.quality == Quality::ExactlyOnce;
        assert!(!line.is_paused || self.resumed == Some(who) || may_be_late, "the connection is busy");
        assert_eq!(self.ledger.sent[name].channel, message.channel.as_str());
        let id = person.session.as_ref().unwrap().id;
        let probe = self.probe.as_mut().filter(|(prober, _)| *prober == who && grade.retained);
        if let Some((_, values)) = probe {
            values.push(name);
        }
        let is_new = grade.number == 0 || !self.people[who].knows(name, grade);
        let group = self.ledger.deliver(id, name, (grade, is_new), labels);
        if grade.quality > Quality::AtMostOnce {
            self.people[who].took(name, grade, group);
        }
    }

    fn done(&mut self, to: &Recipient, request: u64, outcome: Outcome) {
        let who = self.by_agreed(to.tag);
        let person = &mut self.people[who];
        let asked =
            person.line.as_mut().unwrap().requests.remove(&request).expect("asked on this connection");
        let held = person.held();
        match (asked, outcome) {
            (Asked::Join(label), Outcome::Joined { .. }) => self.ledger.joined(label),
            (Asked::Leave(labels), Outcome::Left { .. }) => self.ledger.left(&labels),
            (Asked::Offer(name), Outcome::Published { .. }) => {
                held.unsure.remove(&name);
                self.ledger.acknowledge(name);
            }
            (Asked::Offer(name), Outcome::Refused(_)) => {
                held.unsure.remove(&name);
            }
            (Asked::Exchange(number, was_done), Outcome::Published { .. } | Outcome::Repeated) => {
                let is_repeated = outcome == Outcome::Repeated;
                let exchange = held.exchanges.get_mut(&number).expect("offered");
                assert!(!was_done || is_repeated, "taken twice under number {number}");
                assert!(!is_repeated || exchange.offers > 1, "number {number} is another's");
                exchange.is_done = true;
                let name = exchange.message;
                self.ledger.acknowledge(name);
                if is_repeated {
                    self.ledger.meet("repeated");
                }
            }
            (Asked::Exchange(number, false), Outcome::Refused(_)) => {
                let exchange = held.exchanges.remove(&number).expect("offered");
                self.ledger.sent[exchange.message].is_refused = true;
            }
            (Asked::Forget(number), Outcome::Forgotten) => {
                held.exchanges.remove(&number);
            }
            // The first answer was lost with its connection.
            (Asked::Forget(number), Outcome::Refused(_)) if self.store.is_some() => {
                held.exchanges.remove(&number);
            }
            other => panic!("{other:?}"),
        }
    }

    /// The back end hears.
    fn report(&mut self, token: Token, report: &Report) {
        let waits = self.waits.remove(&token);
        match (waits, report) {
            (Some(Waits::Publish(name, expected, got)), report) => {
                let (expected, got) = match report {
                    Report::Routed { shards, .. } => (Some(*shards), got),
                    Report::Delivered { shard, .. } => (expected, got | 1 << shard.0),
                    other => panic!("{other:?}"),
                };
                if expected == Some(got) {
                    return self.ledger.acknowledge(name);
                }
                self.waits.insert(token, Waits::Publish(name, expected, got));
            }
            (Some(Waits::End(id)), Report::Count(count)) => {
                self.gone.extend((*count > 0).then_some(id));
            }
            (None, Report::Count(_)) => {}
            other => panic!("{:?}", other.1),
        }
    }

    fn ended(&mut self, id: SessionId, reason: Reason) {
        if self.ghosts.remove(&id) {
            return self.ledger.ended(id, &[]);
        }
        let is_it = |person: &&mut Person| person.session.as_ref().is_some_and(|held| held.id == id);
        let person = self.people.iter_mut().find(is_it).expect("somebody's");
        let unsettled = person.unsettled();
        let is_kept = person.session.take().is_some_and(|held| held.is_kept);
        if reason == Reason::Expired {
            self.ledger.meet("expired");
        } else if reason != Reason::TakenOver {
            person.line = None;
        }
        if !unsettled.is_empty() {
            self.ledger.meet("dealt to another");
        }
        self.ledger.ended(id, &unsettled);
        if !is_kept {
            self.ledger.loosen(id);
        }
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
            // What is held until it is safe, a client does not know of.
            let is_exact = self.store.is_none();
            assert!(!is_exact || views.1 == open as u64, "exchanges that are not over: {views:?}, {open}");
        }
    }

    /// All come back and keep to their promises, until nothing more happens.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            self.ledger.now += 1;
            let mut is_quiet = true;
            self.deliver_mail();
            self.keep_all();
            self.tick();
            for who in 0..self.people.len() {
                let Some(line) = &self.people[who].line else {
                    self.claim(who);
                    is_quiet = false;
                    continue;
                };
                if line.is_closing {
                    self.lose(who, Reason::Disconnected);
                } else if !line.is_agreed {
                    // Until it is safe.
                } else if line.is_paused {
                    self.pause_or_resume(who);
                } else if !line.steps.is_empty() {
                    self.step(who);
                } else {
                    continue;
                }
                is_quiet = false;
            }
            is_quiet &= self.mail.values().all(VecDeque::is_empty) && self.is_kept();
            if is_quiet && self.hubs.iter().all(|hub| hub.next_deadline().is_none_or(|at| at.0 > self.now)) {
                return self.check_lines();
            }
        }
        panic!("it never ends");
    }

    fn check_lines(&self) {
        for person in &self.people {
            let (line, held) = (person.line.as_ref().unwrap(), person.session.as_ref().unwrap());
            assert!(line.is_agreed, "{} never heard of its session", person.name);
            assert!(line.requests.is_empty(), "never answered: {:?}", line.requests);
            assert!(line.here.is_empty() && held.open.is_empty(), "never over: {:?}", held.open);
            assert!(held.exchanges.values().all(|exchange| exchange.is_done), "never taken: {held:?}");
        }
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
            is_left: false,
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
        // What was put off comes, then what is remembered for a while goes.
        for ms in [0, 1_000, 20_000] {
            self.now += ms;
            self.calm();
        }
        if let Some(store) = &self.store {
            assert!(store.has_values_only(), "records are left: {:?}", store.records_of(0));
        }
        for channel in CHANNELS {
            let sent = Sent::new(channel, Quality::AtMostOnce, None, self.ledger.now);
            let name = self.ledger.publish(Sent { retain: true, ..sent });
            let mut publish = self.command(name);
            publish.body = hub::Body::Raw(bytes::Bytes::new());
            self.apply(self.home(name), Command::Publish(publish));
        }
        self.calm();
        self.now += 1_000_000;
        self.calm();
        for hub in &self.hubs {
            assert!(hub.is_idle(), "something is left: {hub:?}");
            assert_eq!(hub.capacity(), 0, "memory is held");
            assert_eq!(hub.next_deadline(), None);
        }
        assert!(self.store.as_ref().is_none_or(Store::is_empty), "records are left");
    }
}
