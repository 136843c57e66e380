//! Users and channels that are watched: what is noticed is what plain looking finds, whatever sessions do.

#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests and their helpers")]

#[path = "simulation/rng.rs"]
#[expect(dead_code, unreachable_pub, reason = "a module of simulations, which need more of it")]
mod rng;

use std::collections::BTreeSet;
use std::sync::Arc;

use trunkline_hub::{
    Admit, Attach, CatchUp, Claim, Command, Config, Effect, Effects, Hub, Join, Limits, Members, Millis,
    Open, Options, Part, Query, Reason, RecoveryLimits, Report, SessionId, SessionKey, SessionView, ShardId,
    Subject, SubscriptionChange, Tag, Token, Topology, Watch,
};

use rng::Rng;

const TOKEN: Token = Token(7);
const USERS: [&str; 3] = ["ann", "bob", "eve"];
const CHANNELS: [&str; 4] = ["w/1", "w/2", "w/+", "other"];
const WINDOW_MS: u64 = 50;

struct World {
    rng: Rng,
    hub: Hub,
    now: u64,
    next_tag: u32,
    /// What was opened, with its first name; it may be gone.
    known: Vec<(SessionKey, SessionId)>,
    /// They are of no user.
    observers: BTreeSet<SessionId>,
    sighted: BTreeSet<Subject>,
    /// Session, group and filter.
    subscribed: BTreeSet<(String, Option<Box<str>>, Box<str>)>,
}

fn config() -> Config {
    let limits = Limits {
        sessions_max: 12,
        channels_max: 100,
        subscriptions_per_session_max: 4,
        channel_name_bytes_max: 20,
        outbox_messages_max: 10,
        outbox_bytes_max: 1000,
        asks_per_session_max: 2,
        asks_max: 3,
        history_bytes_max: 1000,
        retained_max: 10,
        retained_bytes_max: 1000,
        delayed_max: 10,
        delayed_bytes_max: 1000,
        recovery: RecoveryLimits { messages_max: 10, bytes_max: 1000, window_ms: WINDOW_MS },
    };
    let topology = Topology { shards: 1, partitions: 8 };
    Config { shard: ShardId(0), topology, epoch: 5, limits, rules: Vec::new() }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut hub = Hub::new(config());
        let subscriptions = vec!["w/#".into(), "$user/#".into()];
        hub.watch(Watch { users: true, channels: vec!["w/#".into()], subscriptions });
        Self {
            rng: Rng::new(seed),
            hub,
            now: 0,
            next_tag: 0,
            known: Vec::new(),
            observers: BTreeSet::new(),
            sighted: BTreeSet::new(),
            subscribed: BTreeSet::new(),
        }
    }

    fn apply(&mut self, command: Command) -> Vec<Report> {
        let is_observer = matches!(&command, Command::Open(open) if open.part == Part::Observer);
        let mut effects = Effects::default();
        self.hub.apply(Millis(self.now), command, &mut effects);
        let mut reports = Vec::new();
        for effect in effects.list {
            match effect {
                Effect::Sighted(notice) if notice.is_here => drop(self.sighted.insert(notice.subject)),
                Effect::Sighted(notice) => drop(self.sighted.remove(&notice.subject)),
                Effect::Subscribed(news) => {
                    let key = (news.session.to_string(), news.group, news.filter);
                    let ends = matches!(news.change, SubscriptionChange::Ended(_));
                    let is_right =
                        if ends { self.subscribed.remove(&key) } else { self.subscribed.insert(key) };
                    assert!(is_right, "nothing is told twice");
                }
                Effect::Opened { session, id, .. } | Effect::Claimed { session, id, .. } => {
                    self.known.push((session, id));
                    self.observers.extend(is_observer.then_some(id));
                }
                Effect::Report { report, .. } => reports.push(report),
                _ => {}
            }
        }
        reports
    }

    /// By looking at every session.
    fn looked(&mut self) -> BTreeSet<Subject> {
        let found = self.looked_at_all();
        let subscriptions = found.iter().flat_map(|view| {
            let own = view.subscriptions.iter().map(|name| (None, name.as_str()));
            let shared = view.shares.iter().map(|share| share.split_once('/').unwrap());
            let all = own.chain(shared.map(|(group, filter)| (Some(Box::from(group)), filter)));
            let watched = all.filter(|(_, filter)| filter.starts_with("w/") || filter.starts_with("$user/"));
            watched.map(|(group, filter)| (view.id.to_string(), group, Box::from(filter))).collect::<Vec<_>>()
        });
        assert_eq!(self.subscribed, subscriptions.collect());
        Self::found_in(&found)
    }

    fn looked_at_all(&mut self) -> Vec<SessionView> {
        let query = Query::Sessions { of: None, after: None, limit: 1000 };
        let reports = self.apply(Command::Query { token: TOKEN, query });
        let Some(Report::Sessions(page)) = reports.into_iter().next() else { panic!("a page") };
        page.items
    }

    fn found_in(items: &[SessionView]) -> BTreeSet<Subject> {
        let is_watched = |name: &&str| name.starts_with("w/") && !name.contains('+');
        let names = |view: &SessionView| -> Vec<String> {
            let shared = view.shares.iter().map(|share| share.split_once('/').unwrap().1.to_owned());
            view.subscriptions.iter().cloned().chain(shared).collect()
        };
        let channels = items.iter().flat_map(|view| {
            let names = names(view).into_iter().filter(|name| is_watched(&name.as_str()));
            names.map(|name| Subject::Channel(trunkline_hub::ChannelName::parse(&name, 100).unwrap()))
        });
        let online = items.iter().filter(|view| view.tag.is_some());
        let users = online.filter_map(|view| view.user.clone()).map(Subject::User);
        channels.chain(users).collect()
    }

    fn some_session(&mut self) -> Option<(SessionKey, SessionId)> {
        let at = self.rng.below(self.known.len().max(1) as u64) as usize;
        // A key is used only while it is of that session, as by fronts.
        let (key, id) = *self.known.get(at)?;
        let view = Query::Sessions { of: Some(Members::Session(id)), after: None, limit: 1 };
        let mut effects = Effects::default();
        self.hub.apply(Millis(self.now), Command::Query { token: TOKEN, query: view }, &mut effects);
        let is_there = effects.list.iter().any(
            |effect| matches!(effect, Effect::Report { report: Report::Sessions(page), .. } if !page.items.is_empty()),
        );
        is_there.then_some((key, id))
    }

    fn tag(&mut self) -> Tag {
        self.next_tag += 1;
        Tag(self.next_tag)
    }

    fn random(&mut self) -> [u8; 9] {
        std::array::from_fn(|_| self.rng.below(256) as u8)
    }

    fn step(&mut self) {
        self.now += self.rng.below(20);
        let deed = self.rng.below(12);
        let command = match deed {
            0 => {
                let (tag, random) = (self.tag(), self.random());
                let recover = self.rng.below(2) == 0;
                let part = if self.rng.below(8) == 0 { Part::Observer } else { Part::Client };
                Command::Open(Open { tag, random, recover, part })
            }
            1 => self.claim(),
            2 => Command::Tick,
            _ => match self.some_session() {
                Some(of) => self.deed(deed, of),
                None => return,
            },
        };
        self.apply(command);
    }

    fn claim(&mut self) -> Command {
        let name = *self.rng.pick(&["n1", "n2", "n3"]).unwrap();
        let user = (self.rng.below(4) > 0).then(|| Arc::from(*self.rng.pick(&USERS).unwrap()));
        Command::Claim(Box::new(Claim {
            tag: self.tag(),
            name: name.into(),
            fresh: self.rng.below(3) == 0,
            keep_ms: self.rng.below(2) * 100,
            window: 2,
            will: None,
            user,
            info: None,
            random: self.random(),
        }))
    }

    fn deed(&mut self, deed: u64, (session, id): (SessionKey, SessionId)) -> Command {
        let filter = (*self.rng.pick(&CHANNELS).unwrap()).to_owned();
        let of = Members::Session(id);
        let group = (self.rng.below(3) == 0).then(|| "g".into());
        let has_user = self.rng.below(4) > 0 && !self.observers.contains(&id);
        match deed {
            3 | 4 => Command::Admit(Admit {
                session,
                user: has_user.then(|| Arc::from(*self.rng.pick(&USERS).unwrap())),
                info: None,
                subscriptions: vec![filter],
                keepsake: bytes::Bytes::new(),
            }),
            5 => Command::Detach { session, reason: Reason::ConnectionClosed },
            6 => Command::Attach(Attach { tag: self.tag(), session: id, after: None }),
            7 => Command::End { session, reason: Reason::Kicked },
            8 => Command::Subscribe { of, filter, token: TOKEN },
            9 => Command::Unsubscribe { of, filter, token: TOKEN },
            11 => {
                let user = has_user.then(|| Arc::from(*self.rng.pick(&USERS).unwrap()));
                Command::Reassign { session: id, user, token: TOKEN }
            }
            _ if self.rng.below(2) == 0 => Command::Leave { session, filter, group, request: 1 },
            _ => Command::Join(Join {
                session,
                filter,
                group,
                options: Options::default(),
                catch_up: CatchUp::Never,
                request: 1,
            }),
        }
    }
}

#[test]
fn what_is_noticed_is_what_looking_finds() {
    let mut most = 0;
    for seed in 0..200 {
        let mut world = World::new(seed);
        for step in 0..200 {
            world.step();
            let looked = world.looked();
            assert_eq!(world.sighted, looked, "seed {seed} step {step}");
            most = most.max(looked.len());
        }
        for (session, _) in world.known.clone() {
            world.apply(Command::End { session, reason: Reason::Kicked });
        }
        assert_eq!(world.sighted, BTreeSet::new());
        world.now += 10_000;
        world.apply(Command::Tick);
        assert!(world.hub.is_idle());
    }
    assert_eq!(most, 5, "all users and watched channels were there at once");
}

#[test]
fn channels_of_restored_sessions_are_found() {
    let mut world = World::new(1);
    let random = world.random();
    world.apply(Command::Open(Open { tag: Tag(1), random, recover: true, part: Part::Client }));
    let (session, _) = world.known[0];
    let admit = Admit {
        session,
        user: Some("ann".into()),
        info: None,
        subscriptions: vec!["w/1".into(), "other".into()],
        keepsake: bytes::Bytes::new(),
    };
    world.apply(Command::Admit(admit));
    world.apply(Command::Detach { session, reason: Reason::ConnectionClosed });
    let snapshot = world.hub.snapshot(Millis(world.now));
    let mut next = World::new(2);
    let mut effects = Effects::default();
    next.hub.restore(Millis(0), 0, snapshot, &mut effects);
    let query = Query::Watched { after: None, limit: 10 };
    let reports = next.apply(Command::Query { token: TOKEN, query });
    let [Report::Channels(page)] = &reports[..] else { panic!("one page") };
    let names: Vec<&str> = page.items.iter().map(|view| view.channel.as_str()).collect();
    assert_eq!((names, page.more), (vec!["w/1"], false));
}
