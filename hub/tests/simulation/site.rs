//! One hub beside its model: applies a command to both and compares everything that comes out.

use crate::model::{Ask, Item, Model, Session, State, Waiting};
use hub::{
    Attach, Command, Config, Counts, Effect, Effects, Hub, HubMail, Members, Message, Millis, Outgoing,
    Publish, Query, Reason, Recipient, Refusal, Report, SessionId, SessionKey, ShardId, Span, Tag, Target,
    Token,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a run of many seeds must meet, or it proves little.
pub const SITUATIONS: &[&str] = &[
    "recovered with messages",
    "recovered with an ask",
    "recovered although its offset's entry was purged",
    "recovered after an unsubscribe",
    "refused for lost messages",
    "displaced",
    "expired",
    "admitted late",
    "subscribed late",
    "over the limit of subscriptions",
    "outbox full",
    "too many asks",
    "asks full",
    "asked",
    "all replied",
    "closed by the end of a session",
    "closed in time",
    "excepted",
    "matched twice",
    "volatile dropped",
    "reached by a filter",
    "forwarded",
    "history trimmed",
    "position kept after trimming",
    "restarted with sessions",
    "recovered after a restart",
];

pub struct Site {
    pub hub: Hub,
    pub config: Config,
    pub model: Model,
    pub effects: Effects,
    /// Connections the hub wants closed, and why.
    pub to_close: Vec<(SessionKey, Tag, Reason)>,
    /// Mail the last command sent.
    pub mail: Vec<(ShardId, HubMail)>,
    /// Reports of the last command.
    pub reports: Vec<(Token, Report)>,
    pub seen: BTreeMap<&'static str, u64>,
}

/// What a delivery should do to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    Queued,
    Overflow { queued: bool },
    Dropped,
    TooManyAsks,
}

/// A message that reaches this shard.
struct Arrival<'a> {
    now: Millis,
    message: &'a Message,
    /// The channels it was published to; none when it is for `one`.
    names: &'a [&'a str],
    one: Option<SessionKey>,
    until: Option<u64>,
    token: Token,
}

pub fn size_of(message: &Message) -> u64 {
    match &message.body {
        hub::Body::Raw(bytes) => bytes.len() as u64,
        hub::Body::Values { json, attachments } => {
            (json.len() + attachments.iter().map(|a| a.len()).sum::<usize>()) as u64
        }
    }
}

impl Site {
    pub fn new(config: Config) -> Self {
        Self {
            hub: Hub::new(config.clone()),
            model: Model { asks_last: config.epoch, ..Model::default() },
            config,
            effects: Effects::default(),
            to_close: Vec::new(),
            mail: Vec::new(),
            reports: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// Applies a command and sorts what comes out; what concerns sessions stays in order in the result.
    fn run(&mut self, now: Millis, command: Command) -> Vec<Effect> {
        assert!(self.mail.is_empty() && self.reports.is_empty(), "the node takes them");
        self.effects.clear();
        self.hub.apply(now, command, &mut self.effects);
        self.sort_effects()
    }

    fn sort_effects(&mut self) -> Vec<Effect> {
        let mut rest = Vec::new();
        for effect in self.effects.list.drain(..) {
            match effect {
                Effect::Mail { to, mail } => {
                    assert!(to != self.config.shard && to.0 < self.config.topology.shards, "mail to {to:?}");
                    if let HubMail::Interest { filter, wanted, token } = &mail {
                        assert_eq!(*wanted, token.is_some());
                        note_announcement(&mut self.model, filter, *token);
                    }
                    self.mail.push((to, mail));
                }
                Effect::Report { token, report } => self.reports.push((token, report)),
                other => rest.push(other),
            }
        }
        rest
    }

    /// The hub ends, and the next one begins from what it left. For the model every connection fails, what cannot be
    /// resumed is gone, and nothing else happens to the rest. `seen`: how much of so many things had reached a client.
    pub fn restart(&mut self, now: Millis, elapsed_ms: u64, mut seen: impl FnMut(usize) -> usize) {
        let snapshot = self.hub.snapshot(now);
        // The same once more is the same: a snapshot changes nothing.
        assert_eq!(format!("{snapshot:?}"), format!("{:?}", self.hub.snapshot(now)));
        self.config.epoch += 1;
        self.hub = Hub::new(self.config.clone());
        let (later, window_ms) = (Millis(now.0 + elapsed_ms), self.config.limits.recovery.window_ms);
        let model = &mut self.model;
        assert!(model.reports.is_empty() && model.pending.is_empty(), "all mail has arrived");
        model.sessions.retain(|_, session| session.recover && session.state != State::Pending);
        for session in model.sessions.values_mut() {
            if session.state != State::Detached {
                session.cut(seen(session.wire.len()));
                session.until = now.0 + window_ms;
            }
            session.state = State::Detached;
            session.until = session.until.max(later.0);
            (session.closing, session.resume, session.asks) = (false, 0, 0);
            session.held.clear();
            session.outbox.clear();
            session.restarted = true;
        }
        model.asks.clear();
        model.announced.clear();
        model.histories.clear();
        model.trim_log(later, &self.config.limits.recovery);
        if !model.recovering() {
            model.log.clear();
        }
        let met = !model.sessions.is_empty();
        self.to_close.clear();
        self.effects.clear();
        let refused = self.hub.restore(later, elapsed_ms, snapshot, &mut self.effects);
        assert!(refused.is_empty(), "{refused:?}");
        let rest = self.sort_effects();
        assert!(rest.is_empty() && self.reports.is_empty(), "only mail: {rest:?}");
        if met {
            self.saw("restarted with sessions");
        }
    }

    pub fn open(&mut self, now: Millis, open: hub::Open) -> Option<(SessionKey, SessionId)> {
        let (tag, recover) = (open.tag, open.recover);
        let full = self.model.sessions.len() >= self.config.limits.sessions_max as usize;
        let effects = self.run(now, Command::Open(open));
        let [effect] = effects.as_slice() else { panic!("{effects:?}") };
        if full {
            assert!(matches!(effect, Effect::OpenRefused { tag: t } if *t == tag));
            return None;
        }
        let Effect::Opened { tag: t, session, id } = effect else { panic!("{effect:?}") };
        assert_eq!((*t, session.0), (tag, id.slot()));
        assert_eq!(self.config.topology.owner(id.partition()), self.config.shard);
        let start = self.model.last;
        let added = Session {
            id: *id,
            tag,
            recover,
            state: State::Pending,
            closing: false,
            subs: BTreeSet::new(),
            known: BTreeSet::new(),
            admitted: BTreeSet::new(),
            user: None,
            held: BTreeSet::new(),
            resume: 0,
            outbox: VecDeque::new(),
            owed: Vec::new(),
            excepted: Vec::new(),
            unsubscribed: false,
            start,
            restarted: false,
            wire: Vec::new(),
            got: BTreeSet::new(),
            after: None,
            positions: BTreeMap::new(),
            asks: 0,
            until: 0,
        };
        assert!(self.model.sessions.insert(*session, added).is_none(), "a slot in use");
        Some((*session, *id))
    }

    pub fn admit(&mut self, now: Millis, admit: hub::Admit) {
        let key = admit.session;
        let mut names: BTreeSet<String> = admit.subscriptions.iter().cloned().collect();
        names.extend(admit.user.as_ref().map(|user| format!("$user/{user}")));
        let user = admit.user.as_ref().map(|user| user.to_string());
        let session = self.model.sessions.get_mut(&key).expect("the node knows");
        assert_eq!(session.state, State::Pending);
        let too_many = names.len() > self.config.limits.subscriptions_per_session_max as usize;
        session.state = State::Paused;
        session.user = user;
        session.outbox.push_front(Waiting { item: Item::Admitted(false), size: 0, exempt: true });
        let effects = self.run(now, Command::Admit(admit));
        if too_many {
            self.saw("over the limit of subscriptions");
            return self.expect_ended(effects, &[(key, Reason::OverLimit)]);
        }
        assert!(effects.is_empty(), "{effects:?}");
        // What is stored of a user comes from its home, and nothing is.
        let asks = self.mail.iter().any(|(_, mail)| matches!(mail, HubMail::Arrives { .. }));
        let arrival = asks.then_some(arrival_of(key));
        let held: BTreeSet<u64> =
            names.iter().filter_map(|name| self.model.announced.get(name).copied()).collect();
        let session = self.model.sessions.get_mut(&key).expect("just seen");
        session.subs = names.clone();
        session.admitted = names;
        session.held = held.into_iter().filter(|token| self.model.pending.contains_key(token)).collect();
        session.held.extend(arrival);
        if !session.held.is_empty() {
            self.saw("admitted late");
        }
    }

    pub fn pause(&mut self, now: Millis, key: SessionKey) {
        let session = self.model.sessions.get_mut(&key).expect("the node knows");
        session.resume = 0;
        if session.state == State::Ready {
            session.state = State::Paused;
        }
        assert!(self.run(now, Command::Pause(key)).is_empty());
    }

    pub fn resume(&mut self, now: Millis, key: SessionKey, budget: u32) {
        let effects = self.run(now, Command::Resume { session: key, budget });
        let session = self.model.sessions.get_mut(&key).expect("the node knows");
        if session.state != State::Paused || session.closing {
            assert!(effects.is_empty(), "{effects:?}");
        } else if session.held.is_empty() {
            resumed(key, session, budget, &effects);
        } else {
            session.resume = budget;
            assert!(effects.is_empty(), "{effects:?}");
        }
    }

    /// `seen`: how much of what was written had reached the client.
    pub fn detach(&mut self, now: Millis, key: SessionKey, reason: Reason, seen: usize) {
        let effects = self.run(now, Command::Detach { session: key, reason });
        let window_ms = self.config.limits.recovery.window_ms;
        let session = self.model.sessions.get_mut(&key).expect("the node knows");
        if !session.recover || !reason.recoverable() || session.state == State::Pending {
            return self.expect_ended(effects, &[(key, reason)]);
        }
        let [Effect::Detached { tag, id, reason: r, .. }] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!((*tag, *id, *r), (session.tag, session.id, reason));
        session.cut(seen);
        session.state = State::Detached;
        session.closing = false;
        session.held.retain(|token| *token == arrival_of(key));
        session.resume = 0;
        session.outbox.clear();
        session.until = now.0 + window_ms;
    }

    /// `seen` as for `detach`, for a connection that is still thought to be alive.
    pub fn attach(&mut self, now: Millis, attach: Attach, seen: usize, epoch: u64) {
        let (tag, id, after) = (attach.tag, attach.session, attach.after);
        let effects = self.run(now, Command::Attach(attach));
        let resumable = |s: &&mut Session| s.recover && s.state != State::Pending;
        let key = self.model.key_of(&id);
        let Some(session) = key.and_then(|key| self.model.sessions.get_mut(&key)).filter(resumable) else {
            assert!(
                matches!(effects.as_slice(), [Effect::AttachRefused { tag: t, session: s }] if (*t, *s) == (tag, id))
            );
            return;
        };
        let key = key.expect("found by it");
        let last = self.model.last;
        let valid = after.filter(|offset| offset.epoch == epoch && offset.sequence <= last);
        let need = valid.map_or(session.start, |offset| offset.sequence.max(session.start));
        let first = self.model.log.front().map_or(last + 1, |entry| entry.0);
        let lost = session.owed.iter().any(|(sequence, _)| *sequence > need && *sequence < first);
        if let Effect::AttachRefused { tag: t, session: s } = &effects[0] {
            assert_eq!((*t, *s), (tag, id));
            let cautious = session.unsubscribed
                || session.excepted.iter().any(|sequence| *sequence > need && *sequence < first);
            assert!(lost || cautious, "nothing is missing for {id:?} after {need}");
            *self
                .seen
                .entry(if lost { "refused for lost messages" } else { "refused out of caution" })
                .or_default() += 1;
            let gone = if session.state == State::Detached { vec![(key, Reason::Expired)] } else { vec![] };
            return self.expect_ended(effects.into_iter().skip(1).collect(), &gone);
        }
        assert!(!lost, "messages are missing, yet {id:?} was recovered");
        let displaced = (session.state != State::Detached).then_some(session.tag);
        let [Effect::Attached { tag: t, session: k, displaced: d }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!((*t, *k, *d), (tag, key, displaced));
        if displaced.is_some() {
            session.cut(seen);
        }
        let honest = session.after.unwrap_or(0).max(session.start) == need;
        if !honest {
            session.got =
                session.owed.iter().filter(|(sequence, _)| *sequence <= need).map(|(_, id)| *id).collect();
        }
        let items = missed(key, session, need, &self.model.asks).into_iter().chain([Item::Admitted(true)]);
        session.outbox = items.map(|item| Waiting { item, size: 0, exempt: true }).collect();
        session.after = Some(need);
        session.tag = tag;
        session.closing = false;
        session.resume = 0;
        session.state = State::Paused;
        let holds = |asked: bool| {
            let is = |w: &Waiting| matches!(w.item, Item::Message { ask, .. } if ask.is_some() == asked);
            session.outbox.iter().any(is)
        };
        let met = [
            ("recovered with messages", holds(false)),
            ("recovered with an ask", holds(true)),
            ("recovered although its offset's entry was purged", need > 0 && need < first),
            ("recovered after an unsubscribe", session.unsubscribed),
            ("displaced", displaced.is_some()),
            ("recovered after a restart", session.restarted && holds(false)),
        ];
        self.to_close.retain(|(k, _, _)| *k != key);
        met.into_iter().filter(|(_, met)| *met).for_each(|(what, _)| self.saw(what));
    }

    pub fn end(&mut self, now: Millis, key: SessionKey, reason: Reason) {
        let effects = self.run(now, Command::End { session: key, reason });
        self.expect_ended(effects, &[(key, reason)]);
    }

    pub fn end_members(&mut self, now: Millis, of: Members, reason: Reason, token: Token) {
        let keys = self.resolve(&of);
        let effects = self.run(now, Command::EndMembers { of, reason, token });
        let mut expected = Vec::new();
        let mut count = 0;
        for key in keys {
            let session = self.model.sessions.get_mut(&key).expect("resolved");
            if reason == Reason::Kicked {
                expected.push((key, reason));
                count += 1;
            } else if session.state != State::Detached {
                count += 1;
                if !session.closing {
                    session.closing = true;
                    self.to_close.push((key, session.tag, reason));
                    expected.push((key, reason));
                }
            }
        }
        self.expect_count(token, count);
        if reason == Reason::Kicked {
            return self.expect_ended(effects, &expected);
        }
        assert_eq!(effects.len(), expected.len(), "{effects:?}");
        for (effect, (key, reason)) in effects.iter().zip(expected) {
            let Effect::CloseConnection { to, reason: r } = effect else { panic!("{effect:?}") };
            assert_eq!((*to, *r), (self.recipient(key), reason));
        }
    }

    pub fn subscribe(&mut self, now: Millis, of: Members, filter: &str, token: Token) {
        let mut keys = self.resolve(&of);
        keys.retain(|key| self.model.sessions[key].state != State::Pending);
        let max = self.config.limits.subscriptions_per_session_max as usize;
        let full = keys.iter().any(|key| {
            let session = &self.model.sessions[key];
            session.subs.len() >= max && !session.subs.contains(filter)
        });
        let effects = self.run(now, Command::Subscribe { of, filter: filter.to_owned(), token });
        assert!(effects.is_empty(), "{effects:?}");
        if full {
            assert!(matches!(self.take_report(token), Some(Report::Refused(Refusal::OverLimit))));
            return;
        }
        for key in &keys {
            self.model.sessions.get_mut(key).expect("resolved").subs.insert(filter.to_owned());
        }
        let announced = self.model.announced.get(filter).copied().unwrap_or(0);
        if !keys.is_empty() && self.model.pending.contains_key(&announced) {
            let count = keys.len() as u64;
            self.saw("subscribed late");
            self.model.reports.push((announced, token, count, keys, filter.to_owned()));
        } else {
            self.expect_count(token, keys.len() as u64);
            self.known(&keys, filter);
        }
    }

    pub fn unsubscribe(&mut self, now: Millis, of: Members, filter: &str, token: Token) {
        let keys = self.resolve(&of);
        let effects = self.run(now, Command::Unsubscribe { of, filter: filter.to_owned(), token });
        assert!(effects.is_empty(), "{effects:?}");
        let mut count = 0;
        for key in keys {
            let session = self.model.sessions.get_mut(&key).expect("resolved");
            if session.subs.remove(filter) {
                session.known.remove(filter);
                session.admitted.remove(filter);
                for waiting in self.model.reports.iter_mut().filter(|waiting| waiting.4 == filter) {
                    waiting.3.retain(|k| *k != key);
                }
                session.unsubscribed = true;
                count += 1;
            }
        }
        self.expect_count(token, count);
    }

    /// A refused subscribe or unsubscribe changes nothing.
    pub fn refused_filter(&mut self, now: Millis, of: Members, filter: &str, refusal: Refusal) {
        let token = Token(u64::MAX);
        let effects = self.run(now, Command::Subscribe { of: of.clone(), filter: filter.to_owned(), token });
        assert!(effects.is_empty() && self.mail.is_empty());
        assert!(matches!(self.take_report(token), Some(Report::Refused(r)) if r == refusal));
        let effects = self.run(now, Command::Unsubscribe { of, filter: filter.to_owned(), token });
        assert!(effects.is_empty() && self.mail.is_empty());
        assert!(matches!(self.take_report(token), Some(Report::Refused(r)) if r == refusal));
    }

    /// At a channel's home: history, routing, and the delivery here. Returns the message as it is forwarded.
    pub fn publish_channel(&mut self, now: Millis, publish: Publish, must_reach: u64) {
        let Target::Channel(channel) = publish.target.clone() else { panic!("not to a channel") };
        let token = publish.token.expect("the simulation counts");
        let until = publish.reply_within_ms.map(|ms| now.0 + ms);
        let full = until.is_some() && self.model.asks.len() >= self.config.limits.asks_max as usize;
        let (id, volatile, except) = (publish.id.0, publish.volatile, publish.except.clone());
        let size = match &publish.body {
            hub::Body::Raw(bytes) => bytes.len() as u64,
            hub::Body::Values { json, .. } => json.len() as u64,
        };
        let effects = self.run(now, Command::Publish(Box::new(publish)));
        if full {
            assert!(effects.is_empty());
            assert!(
                matches!(self.reports.as_slice(), [(t, Report::Refused(Refusal::OverLimit))] if *t == token)
            );
            return;
        }
        let (shards, position) = match self.reports.first() {
            Some((t, Report::Routed { shards, position })) if *t == token => (*shards, *position),
            other => panic!("{other:?}"),
        };
        assert_eq!(must_reach & !shards, 0, "a subscriber that knows it is one is missed");
        let rule = self.rule(channel.as_str()).filter(|_| !volatile);
        assert_eq!(position.is_some(), rule.is_some());
        if let (Some(position), Some(rule)) = (position, rule) {
            self.kept(channel.as_str(), Some(position), rule, (now.0, size, id));
        }
        let forwards: u64 = self
            .mail
            .iter()
            .map(|(to, mail)| {
                let HubMail::Forward { message, .. } = mail else { panic!("{mail:?}") };
                assert_eq!((message.id.0, &message.channel, message.position), (id, &channel, position));
                1 << to.0
            })
            .fold(0, |all, bit| {
                assert_eq!(all & bit, 0);
                all | bit
            });
        let own = 1 << self.config.shard.0;
        let members_here = self.model.sessions.values().any(|session| session.is_in(channel.as_str()));
        assert_eq!(forwards, shards & !own);
        assert_eq!(shards & own != 0, members_here);
        let message = Message {
            id: hub::MessageId(id),
            channel: channel.clone(),
            event: None,
            body: hub::Body::Raw(vec![0; size as usize].into()),
            volatile,
            except,
            position,
            traits: hub::Traits::default(),
            published: Millis(0),
        };
        if members_here {
            let names = &[channel.as_str()];
            self.delivered(&Arrival { now, message: &message, names, one: None, until, token }, effects);
        } else {
            assert!(effects.is_empty());
        }
    }

    pub fn publish_union(&mut self, now: Millis, publish: Publish) {
        let Target::Union(channels) = publish.target.clone() else { panic!("not a union") };
        let token = publish.token.expect("the simulation counts");
        let until = publish.reply_within_ms.map(|ms| now.0 + ms);
        let message = Message {
            id: publish.id,
            channel: channels[0].clone(),
            event: None,
            body: publish.body.clone(),
            volatile: publish.volatile,
            except: publish.except.clone(),
            position: None,
            published: Millis(0),
            traits: hub::Traits::default(),
        };
        let effects = self.run(now, Command::Publish(Box::new(publish)));
        let mut keeping = Vec::new();
        let (topology, shard) = (self.config.topology, self.config.shard);
        for channel in channels.iter().filter(|c| c.home(&topology) == shard) {
            if let Some(rule) = self.rule(channel.as_str()).filter(|_| !message.volatile) {
                self.kept(channel.as_str(), None, rule, (now.0, size_of(&message), message.id.0));
                keeping.push(channel.as_str());
            }
        }
        for channel in keeping {
            self.check_history(now, channel);
        }
        let names: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
        self.delivered(&Arrival { now, message: &message, names: &names, one: None, until, token }, effects);
    }

    pub fn publish_session(&mut self, now: Millis, publish: Publish) {
        let Target::Session(id) = publish.target.clone() else { panic!("not to a session") };
        let token = publish.token.expect("the simulation counts");
        let until = publish.reply_within_ms.map(|ms| now.0 + ms);
        let full = until.is_some() && self.model.asks.len() >= self.config.limits.asks_max as usize;
        let message = Message {
            id: publish.id,
            channel: hub::ChannelName::client(id),
            event: None,
            body: publish.body.clone(),
            volatile: publish.volatile,
            except: publish.except.clone(),
            position: None,
            published: Millis(0),
            traits: hub::Traits::default(),
        };
        let effects = self.run(now, Command::Publish(Box::new(publish)));
        let Some(key) = self.model.key_of(&id) else {
            assert!(effects.is_empty());
            assert!(
                matches!(self.reports.as_slice(), [(t, Report::Refused(Refusal::NotFound))] if *t == token)
            );
            return;
        };
        if full {
            assert!(effects.is_empty());
            assert!(
                matches!(self.reports.as_slice(), [(t, Report::Refused(Refusal::OverLimit))] if *t == token)
            );
            return;
        }
        self.delivered(
            &Arrival { now, message: &message, names: &[], one: Some(key), until, token },
            effects,
        );
    }

    pub fn mail(&mut self, now: Millis, from: ShardId, mail: HubMail) {
        match &mail {
            HubMail::Interest { token, .. } => {
                let token = *token;
                let effects = self.run(now, Command::Mail { from, mail });
                assert!(effects.is_empty());
                let answers: Vec<_> = self.mail.iter().collect();
                match (token, answers.as_slice()) {
                    (None, []) => {}
                    (Some(t), [(to, HubMail::InterestKnown { token })]) => {
                        assert_eq!((t, from), (*token, *to))
                    }
                    other => panic!("{other:?}"),
                }
            }
            HubMail::InterestKnown { token } => {
                let token = *token;
                let effects = self.run(now, Command::Mail { from, mail });
                self.acknowledged(token, effects);
            }
            HubMail::Arrives { session, .. } => {
                let session = *session;
                let effects = self.run(now, Command::Mail { from, mail });
                assert!(effects.is_empty());
                let answers: Vec<_> = self.mail.iter().collect();
                let [(to, HubMail::Welcome { session: told, list, .. })] = answers.as_slice() else {
                    panic!()
                };
                assert!((*to, *told) == (from, session) && list.is_empty());
            }
            HubMail::Welcome { session, .. } => {
                let id = *session;
                let effects = self.run(now, Command::Mail { from, mail });
                self.welcomed(id, effects);
            }
            HubMail::UserChanged { .. } => panic!("nothing is stored"),
            HubMail::Holder(_) | HubMail::MakesWay { .. } => panic!("no user has a limit"),
            HubMail::WantStored { .. } | HubMail::StoredOf { .. } => panic!("no session gets another user"),
            HubMail::Attends(_) => panic!("no rule asks who comes and goes"),
            HubMail::Publish(_)
            | HubMail::Published { .. }
            | HubMail::Stored { .. }
            | HubMail::Queue(_)
            | HubMail::WantRetained(_)
            | HubMail::WantPage(_)
            | HubMail::Page { .. }
            | HubMail::Retained { .. }
            | HubMail::Share(_)
            | HubMail::Dealt { .. } => panic!("no session here bears a name of its own"),
            HubMail::Forward { message, reply_until, token, .. } => {
                let (message, token) = (Arc::clone(message), token.expect("the simulation counts"));
                let until = reply_until.map(|until| until.0);
                self.saw("forwarded");
                let effects = self.run(now, Command::Mail { from, mail });
                let name = message.channel.clone();
                let names = &[name.as_str()];
                self.delivered(&Arrival { now, message: &message, names, one: None, until, token }, effects);
            }
        }
    }

    /// One that is not there any more, or on another connection, is not concerned.
    fn welcomed(&mut self, id: SessionId, effects: Vec<Effect>) {
        let found = self.model.sessions.iter_mut().find(|(_, session)| session.id == id);
        let Some((key, session)) = found else { return assert!(effects.is_empty(), "{effects:?}") };
        if session.held.remove(&arrival_of(*key)) && session.held.is_empty() && session.resume > 0 {
            let budget = std::mem::take(&mut session.resume);
            if !session.closing {
                return resumed(*key, session, budget, &effects);
            }
        }
        assert!(effects.is_empty(), "{effects:?}");
    }

    fn acknowledged(&mut self, token: u64, effects: Vec<Effect>) {
        let (name, missing) = self.model.pending.get_mut(&token).expect("announced");
        *missing -= 1;
        if *missing > 0 {
            assert!(effects.is_empty() && self.reports.is_empty());
            return;
        }
        let name = name.clone();
        self.model.pending.remove(&token);
        let waiting = std::mem::take(&mut self.model.reports);
        let (due, later) = waiting.into_iter().partition(|waiting| waiting.0 == token);
        self.model.reports = later;
        for (_, report, count, keys, filter) in due {
            self.expect_count(report, count);
            self.known(&keys, &filter);
        }
        // Sessions are released in order of their admission, which the model does not keep.
        let mut effects = effects;
        for (key, session) in &mut self.model.sessions {
            if session.held.remove(&token) && session.held.is_empty() && session.resume > 0 {
                let budget = std::mem::take(&mut session.resume) as usize;
                if session.closing {
                    continue;
                }
                let is_to = |effect: &Effect| matches!(effect, Effect::Send { to, .. } | Effect::More { to } if to.session == *key);
                let (sent, rest): (Vec<Effect>, Vec<Effect>) = effects.into_iter().partition(is_to);
                effects = rest;
                resumed(*key, session, budget as u32, &sent);
            }
        }
        assert!(effects.is_empty(), "after {name}: {effects:?}");
    }

    /// Compares a delivery on this shard with what each session of the model should get.
    fn delivered(&mut self, arrival: &Arrival<'_>, effects: Vec<Effect>) {
        let Arrival { message, until, token, .. } = *arrival;
        if until.is_some() && self.model.asks.len() >= self.config.limits.asks_max as usize {
            self.saw("asks full");
            assert!(effects.is_empty());
            let Some((t, Report::Delivered { counts, expecting: 0, .. })) = self.reports.last() else {
                panic!()
            };
            assert_eq!((*t, counts.delivered, counts.queued), (token, 0, 0));
            return;
        }
        let ask = until.map(|_| self.model.asks_last + 1);
        let (fates, excepted) = self.fates(arrival);
        let concerns = |(key, fate): (&SessionKey, &Fate)| {
            *fate != Fate::TooManyAsks && self.model.sessions[key].recover
        };
        let appended = until.is_none() && !message.volatile && fates.iter().any(concerns);
        let sequence = self.model.last + u64::from(appended);
        let offset = self.model.recovering().then_some(sequence);
        for (key, fate) in &fates {
            let session = self.model.sessions.get_mut(key).expect("listed");
            take_in(session, *fate, message, (ask, offset));
        }
        if appended {
            for key in excepted {
                self.model.sessions.get_mut(&key).expect("listed").excepted.push(sequence);
            }
            self.model.last = sequence;
            self.model.log.push_back((sequence, arrival.now.0, size_of(message)));
            self.model.trim_log(arrival.now, &self.config.limits.recovery);
        }
        self.compare_delivery(message, &fates, (ask, offset), effects);
        let asked = self.note_ask(&fates, (ask, until, token), message.id.0);
        self.expect_delivered(token, &fates, asked);
    }

    /// What becomes of it at each session it is for, and who is excepted.
    fn fates(&mut self, arrival: &Arrival<'_>) -> (BTreeMap<SessionKey, Fate>, Vec<SessionKey>) {
        let Arrival { message, names, one, until, .. } = *arrival;
        let mut fates: BTreeMap<SessionKey, Fate> = BTreeMap::new();
        let mut excepted = Vec::new();
        for (key, session) in &self.model.sessions {
            let reached = one == Some(*key) || names.iter().any(|name| session.is_in(name));
            if !reached {
                continue;
            }
            if message.except.as_ref().is_some_and(|except| session.is_excepted(except)) {
                excepted.push(*key);
                continue;
            }
            fates.insert(*key, fate(session, message, until.is_some(), &self.config.limits));
        }
        let twice = |s: &Session| {
            s.subs.iter().filter(|sub| names.iter().any(|n| hub::filter_matches(sub, n))).count() > 1
        };
        let by_name = |s: &Session| names.iter().any(|n| s.subs.contains(*n));
        let reached = || fates.keys().map(|key| &self.model.sessions[key]);
        let met = [
            ("excepted", !excepted.is_empty()),
            ("matched twice", reached().any(twice)),
            ("reached by a filter", one.is_none() && reached().any(|s| !by_name(s))),
            ("outbox full", fates.values().any(|fate| matches!(fate, Fate::Overflow { .. }))),
            ("too many asks", fates.values().any(|fate| *fate == Fate::TooManyAsks)),
            ("volatile dropped", message.volatile && fates.values().any(|fate| *fate == Fate::Dropped)),
        ];
        met.into_iter().filter(|(_, met)| *met).for_each(|(what, _)| self.saw(what));
        (fates, excepted)
    }

    fn compare_delivery(
        &mut self,
        message: &Message,
        fates: &BTreeMap<SessionKey, Fate>,
        (ask, offset): (Option<u64>, Option<u64>),
        effects: Vec<Effect>,
    ) {
        let ready: Vec<Recipient> =
            fates.iter().filter(|(_, f)| **f == Fate::Delivered).map(|(k, _)| self.recipient(*k)).collect();
        let mut slow: Vec<SessionKey> =
            fates.iter().filter(|(_, f)| matches!(f, Fate::Overflow { .. })).map(|(k, _)| *k).collect();
        let mut deliveries = 0;
        for effect in effects {
            match effect {
                Effect::Deliver { message: m, ask: a, offset: o, to } => {
                    deliveries += 1;
                    let mut recipients = self.effects.recipients[to].to_vec();
                    recipients.sort_by_key(|recipient| recipient.session);
                    assert_eq!(recipients, ready);
                    assert_eq!(
                        (m.id, &m.channel, m.position, m.volatile),
                        (message.id, &message.channel, message.position, message.volatile)
                    );
                    assert_eq!((a.map(|a| a.0), o.map(|o| o.sequence)), (ask, offset));
                }
                Effect::CloseConnection { to, reason } => {
                    assert_eq!((to, reason), (self.recipient(to.session), Reason::SlowConsumer));
                    let at = slow.iter().position(|key| *key == to.session).expect("its outbox is full");
                    slow.remove(at);
                    self.to_close.push((to.session, to.tag, reason));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(deliveries, usize::from(!ready.is_empty()));
        assert!(slow.is_empty(), "not closed: {slow:?}");
    }

    fn note_ask(
        &mut self,
        fates: &BTreeMap<SessionKey, Fate>,
        (ask, until, token): (Option<u64>, Option<u64>, Token),
        message: u128,
    ) -> u32 {
        let (Some(ask), Some(until)) = (ask, until) else { return 0 };
        let gets =
            |fate: &Fate| matches!(fate, Fate::Delivered | Fate::Queued | Fate::Overflow { queued: true });
        let waiting: BTreeSet<SessionKey> =
            fates.iter().filter(|(_, fate)| gets(fate)).map(|(key, _)| *key).collect();
        if waiting.is_empty() {
            return 0;
        }
        for key in &waiting {
            self.model.sessions.get_mut(key).expect("listed").asks += 1;
        }
        let missing = fates
            .iter()
            .filter(|(_, fate)| **fate == Fate::TooManyAsks)
            .map(|(key, _)| self.model.sessions[key].id)
            .collect();
        self.saw("asked");
        let count = waiting.len() as u32;
        self.model.asks_last = ask;
        self.model
            .asks
            .insert(ask, Ask { token, until, message, sequence: self.model.last, waiting, missing });
        count
    }

    fn expect_delivered(&mut self, token: Token, fates: &BTreeMap<SessionKey, Fate>, asked: u32) {
        let mut expected = Counts::default();
        for fate in fates.values() {
            match fate {
                Fate::Delivered => expected.delivered += 1,
                Fate::Queued | Fate::Overflow { queued: true } => expected.queued += 1,
                _ => expected.dropped += 1,
            }
        }
        let here = self.config.shard;
        let at = self
            .reports
            .iter()
            .position(|(t, report)| *t == token && matches!(report, Report::Delivered { .. }));
        let (_, Report::Delivered { shard, counts, expecting }) = &self.reports[at.expect("a report")] else {
            panic!()
        };
        assert_eq!((*shard, *counts, *expecting), (here, expected, asked));
    }

    pub fn rule(&self, channel: &str) -> Option<hub::HistoryRule> {
        let rule = self.config.rules.iter().find(|rule| hub::filter_matches(&rule.filter, channel));
        rule.and_then(|rule| rule.history)
    }

    fn kept(
        &mut self,
        channel: &str,
        position: Option<hub::Position>,
        rule: hub::HistoryRule,
        entry: (u64, u64, u128),
    ) {
        let budget = self.config.limits.history_bytes_max;
        let mut total = self.model.history_bytes() + entry.1;
        let history = self.model.histories.entry(channel.to_owned()).or_default();
        history.newest += 1;
        if let Some(position) = position {
            history.check_position(position);
        }
        history.kept.push_back(entry);
        while history.kept.len() > rule.messages_max as usize || total > budget {
            let Some(oldest) = history.kept.pop_front() else { break };
            total -= oldest.1;
        }
    }

    pub fn trim_histories(&mut self, now: Millis) {
        let rules = &self.config.rules;
        for (channel, history) in &mut self.model.histories {
            let rule = rules.iter().find(|rule| hub::filter_matches(&rule.filter, channel));
            let age = rule.and_then(|rule| rule.history).expect("it has a history").age_ms_max;
            history.kept.retain(|(at, _, _)| at + age > now.0);
        }
    }

    /// Asks the hub for all of a channel's history, and compares it; also pages through it.
    pub fn check_history(&mut self, now: Millis, channel: &str) {
        let name = Model::name(channel);
        let whole = self.peek(now, Query::History { channel: name.clone(), span: Span::after(None, 1000) });
        self.trim_histories(now);
        let history = self.model.histories.entry(channel.to_owned()).or_default();
        let Report::History(page, newest) = whole else { panic!("{whole:?}") };
        let ids: Vec<u128> = page.items.iter().map(|message| message.id.0).collect();
        assert_eq!(ids, history.kept.iter().map(|kept| kept.2).collect::<Vec<_>>());
        assert!(!page.more);
        let Some(newest) = newest else {
            *history = crate::model::History::default();
            return;
        };
        history.check_position(newest);
        for (n, message) in page.items.iter().enumerate() {
            let offset = newest.offset + 1 + n as u64 - ids.len() as u64;
            assert_eq!(message.position, Some(hub::Position { offset, ..newest }));
            assert_eq!(message.channel, name);
        }
        let oldest = newest.offset + 1 - ids.len() as u64;
        if oldest > 1 {
            *self.seen.entry("history trimmed").or_default() += 1;
        }
        if ids.is_empty() {
            *self.seen.entry("position kept after trimming").or_default() += 1;
        }
        for offset in 0..=newest.offset + 1 {
            let after = Some(hub::Position { offset, ..newest });
            match self.peek(now, Query::History { channel: name.clone(), span: Span::after(after, 2) }) {
                Report::Refused(Refusal::PositionLost) => {
                    assert!(offset + 1 < oldest || offset > newest.offset)
                }
                Report::History(page, Some(_)) => {
                    assert!(offset + 1 >= oldest && offset <= newest.offset);
                    let skip = (offset + 1 - oldest) as usize;
                    let got: Vec<u128> = page.items.iter().map(|message| message.id.0).collect();
                    assert_eq!(got, ids.iter().skip(skip).take(2).copied().collect::<Vec<_>>());
                    assert_eq!(page.more, ids.len() > skip + 2);
                }
                other => panic!("{other:?}"),
            }
        }
        let after = Some(hub::Position { epoch: newest.epoch ^ 1, offset: oldest });
        let other = self.peek(now, Query::History { channel: name, span: Span::after(after, 2) });
        assert!(matches!(other, Report::Refused(Refusal::PositionLost)));
    }

    /// A query between the lines.
    fn peek(&mut self, now: Millis, query: Query) -> Report {
        let mut effects = Effects::default();
        self.hub.apply(now, Command::Query { token: Token(0), query }, &mut effects);
        match effects.list.pop() {
            Some(Effect::Report { token: Token(0), report }) if effects.list.is_empty() => report,
            other => panic!("{other:?}"),
        }
    }

    fn resolve(&self, of: &Members) -> Vec<SessionKey> {
        match of {
            Members::Session(id) => self.model.key_of(id).into_iter().collect(),
            Members::Name(_) => unreachable!("not asked for here"),
            Members::User(user) => {
                let is_of = |s: &Session| s.user.as_deref() == Some(&**user) && s.state != State::Pending;
                self.model.sessions.iter().filter(|(_, s)| is_of(s)).map(|(key, _)| *key).collect()
            }
            Members::Channel(channel) => self.model.members(channel.as_str()),
        }
    }

    fn recipient(&self, key: SessionKey) -> Recipient {
        Recipient { session: key, tag: self.model.sessions[&key].tag, grade: hub::Grade::default() }
    }

    fn known(&mut self, keys: &[SessionKey], filter: &str) {
        for key in keys {
            if let Some(session) = self.model.sessions.get_mut(key).filter(|s| s.subs.contains(filter)) {
                session.known.insert(filter.to_owned());
            }
        }
    }

    fn take_report(&mut self, token: Token) -> Option<Report> {
        let at = self.reports.iter().position(|(t, _)| *t == token)?;
        Some(self.reports.remove(at).1)
    }

    fn expect_count(&mut self, token: Token, count: u64) {
        match self.take_report(token) {
            Some(Report::Count(c)) => assert_eq!(c, count),
            other => panic!("{other:?} instead of {count}"),
        }
    }

    /// Takes the ended sessions out of the model; checks what they got, and the asks that end with them.
    pub fn expect_ended(&mut self, effects: Vec<Effect>, expected: &[(SessionKey, Reason)]) {
        assert_eq!(effects.len(), expected.len(), "{effects:?}, not {expected:?}");
        let mut closed = Vec::new();
        for (effect, (key, reason)) in effects.iter().zip(expected) {
            let Effect::Ended { tag, session, id, reason: r, .. } = effect else { panic!("{effect:?}") };
            let mut gone = self.model.sessions.remove(key).expect("the node knows");
            let shown = (gone.state != State::Detached).then_some(gone.tag);
            assert_eq!((*tag, *session, *id, *r), (shown, *key, gone.id, *reason));
            let ready = gone.state == State::Ready && !gone.closing;
            gone.cut(usize::MAX);
            if ready {
                let owed: BTreeSet<u128> = gone.owed.iter().map(|owed| owed.1).collect();
                assert_eq!(owed, gone.got, "{id:?} has not got all it was owed");
            }
            self.to_close.retain(|(k, _, _)| k != key);
            self.model.reports.iter_mut().for_each(|waiting| waiting.3.retain(|k| k != key));
            for (ask, entry) in &mut self.model.asks {
                if entry.waiting.remove(key) {
                    entry.missing.insert(gone.id);
                    if entry.waiting.is_empty() {
                        closed.push(*ask);
                    }
                }
            }
        }
        if !self.model.recovering() {
            self.model.log.clear();
        }
        for ask in closed {
            self.saw("closed by the end of a session");
            self.expect_closed(ask);
        }
    }

    pub fn expect_closed(&mut self, ask: u64) {
        let ask = self.model.asks.remove(&ask).expect("open");
        let mut expected = ask.missing;
        for key in &ask.waiting {
            let session = self.model.sessions.get_mut(key).expect("waited for");
            session.asks -= 1;
            expected.insert(session.id);
        }
        let at = self
            .reports
            .iter()
            .position(|(t, report)| *t == ask.token && matches!(report, Report::RepliesClosed { .. }));
        let (_, Report::RepliesClosed { shard, missing }) = &self.reports[at.expect("closed")] else {
            panic!()
        };
        assert_eq!(*shard, self.config.shard);
        assert_eq!(missing.iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(missing.len(), expected.len());
    }

    pub fn reply(&mut self, now: Millis, key: SessionKey, ask: u64) {
        let body = hub::Body::Raw(bytes::Bytes::from_static(b"r"));
        let effects = self.run(now, Command::Reply { session: key, ask: hub::AskId(ask), body });
        assert!(effects.is_empty());
        let open = self.model.asks.get_mut(&ask).filter(|open| open.waiting.contains(&key));
        let Some(open) = open else {
            assert!(self.reports.is_empty(), "{:?}", self.reports);
            return;
        };
        open.waiting.remove(&key);
        let (token, done) = (open.token, open.waiting.is_empty());
        let session = self.model.sessions.get_mut(&key).expect("waited for");
        session.asks -= 1;
        assert!(
            matches!(self.reports.first(), Some((t, Report::Reply { session: s, .. })) if (*t, *s) == (token, session.id))
        );
        if done {
            self.saw("all replied");
            self.expect_closed(ask);
        }
        assert_eq!(self.reports.len(), 1 + usize::from(done));
    }

    pub fn answer(&mut self, now: Millis, id: SessionId, request: u64) {
        let body = hub::Body::Raw(bytes::Bytes::from_static(b"answer"));
        let effects = self.run(now, Command::Answer { session: id, request, body });
        let limits = self.config.limits.clone();
        let key = self.model.key_of(&id);
        let session = key.and_then(|key| self.model.sessions.get_mut(&key));
        let Some(session) = session.filter(|s| s.state != State::Detached && !s.closing) else {
            assert!(effects.is_empty());
            return;
        };
        let to = Recipient { session: key.expect("found"), tag: session.tag, grade: hub::Grade::default() };
        if session.state == State::Ready {
            assert!(
                matches!(effects.as_slice(), [Effect::Send { to: t, item: Outgoing::Answer { request: r, .. } }] if (*t, *r) == (to, request))
            );
            session.wire.push(Item::Answer(request));
        } else if fits(session, 6, &limits) {
            assert!(effects.is_empty());
            session.outbox.push_back(Waiting { item: Item::Answer(request), size: 6, exempt: false });
        } else {
            assert!(
                matches!(effects.as_slice(), [Effect::CloseConnection { to: t, reason: Reason::SlowConsumer }] if *t == to)
            );
            session.closing = true;
            self.to_close.push((to.session, to.tag, Reason::SlowConsumer));
        }
    }

    pub fn tick(&mut self, now: Millis) {
        let effects = self.run(now, Command::Tick);
        let late: Vec<u64> =
            self.model.asks.iter().filter(|(_, ask)| ask.until <= now.0).map(|(id, _)| *id).collect();
        for ask in late {
            self.saw("closed in time");
            self.expect_closed(ask);
        }
        let is_late = |s: &Session| s.state == State::Detached && s.until <= now.0;
        let mut expired: Vec<_> =
            self.model.sessions.iter().filter(|(_, s)| is_late(s)).map(|(k, s)| (s.until, *k)).collect();
        expired.sort_unstable();
        let expired: Vec<_> = expired.into_iter().map(|(_, key)| (key, Reason::Expired)).collect();
        if !expired.is_empty() {
            self.saw("expired");
        }
        self.expect_ended(effects, &expired);
        self.model.trim_log(now, &self.config.limits.recovery);
        self.trim_histories(now);
        assert!(self.hub.next_deadline().is_none_or(|deadline| deadline > now), "a tick leaves nothing due");
    }

    /// Pages of sessions, channels and members, and totals, against full scans.
    pub fn check_queries(&mut self, now: Millis) {
        self.check_sessions(now);
        let listed = self.check_channels(now);
        let Report::Totals { sessions, detached, subscriptions, queued, channels, .. } =
            self.peek(now, Query::Totals)
        else {
            panic!()
        };
        assert_eq!(channels, listed);
        let admitted = || self.model.sessions.values().filter(|s| s.state != State::Pending);
        assert_eq!(sessions as usize, admitted().count());
        assert_eq!(detached as usize, admitted().filter(|s| s.state == State::Detached).count());
        assert_eq!(subscriptions as usize, admitted().map(|s| s.subs.len()).sum::<usize>());
        assert_eq!(queued as usize, self.model.sessions.values().map(|s| s.outbox.len()).sum::<usize>());
        self.trim_histories(now);
    }

    fn check_sessions(&mut self, now: Millis) {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let report = self.peek(now, Query::Sessions { of: None, after, limit: 3 });
            let Report::Sessions(page) = report else { panic!("{report:?}") };
            after = page.items.last().map(|view| view.id);
            seen.extend(
                page.items
                    .into_iter()
                    .map(|view| (view.id, view.tag, view.subscriptions, view.queued as usize)),
            );
            if !page.more {
                break;
            }
        }
        let tag = |s: &Session| (s.state != State::Detached).then_some(s.tag);
        let view = |s: &Session| (s.id, tag(s), s.subs.iter().cloned().collect::<Vec<_>>(), s.outbox.len());
        assert_eq!(seen, self.model.sessions.values().map(view).collect::<Vec<_>>());
    }

    fn check_channels(&mut self, now: Millis) -> u32 {
        let mut listed = 0;
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let report = self.peek(now, Query::Channels { filter: None, after: after.clone(), limit: 2 });
            let Report::Channels(page) = report else { panic!("{report:?}") };
            listed += page.items.len() as u32;
            after = page.items.last().map(|view| view.channel.clone());
            seen.extend(
                page.items
                    .into_iter()
                    .filter(|view| view.sessions > 0)
                    .map(|view| (view.channel.to_string(), view.sessions as usize)),
            );
            if !page.more {
                break;
            }
        }
        let mut expected = BTreeMap::new();
        for sub in self.model.sessions.values().flat_map(|s| &s.subs).filter(|sub| !sub.contains(['+', '#']))
        {
            *expected.entry(sub.clone()).or_default() += 1;
        }
        assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
        listed
    }
}

fn note_announcement(model: &mut Model, filter: &str, token: Option<u64>) {
    match token {
        Some(token) => {
            model.announced.insert(filter.to_owned(), token);
            model.pending.entry(token).or_insert_with(|| (filter.to_owned(), 0)).1 += 1;
        }
        None => {
            model.announced.remove(filter);
        }
    }
}

fn fits(session: &Session, size: u64, limits: &hub::Limits) -> bool {
    let (count, bytes) = session.counted();
    count < u64::from(limits.outbox_messages_max) && (count == 0 || bytes + size <= limits.outbox_bytes_max)
}

fn fate(session: &Session, message: &Message, asks: bool, limits: &hub::Limits) -> Fate {
    if asks && session.asks >= limits.asks_per_session_max {
        return Fate::TooManyAsks;
    }
    let comes_back = session.recover;
    match session.state {
        State::Ready if !session.closing => Fate::Delivered,
        _ if message.volatile => Fate::Dropped,
        State::Detached => Fate::Queued,
        _ if session.closing => {
            if comes_back {
                Fate::Queued
            } else {
                Fate::Dropped
            }
        }
        _ if fits(session, size_of(message), limits) => Fate::Queued,
        _ => Fate::Overflow { queued: comes_back },
    }
}

/// The effects are the first `budget` waiting things.
fn resumed(key: SessionKey, session: &mut Session, budget: u32, effects: &[Effect]) {
    let count = session.outbox.len().min(budget.max(1) as usize);
    let effects = match effects {
        [sends @ .., Effect::More { to }] if session.outbox.len() > count => {
            assert_eq!((to.session, to.tag), (key, session.tag));
            sends
        }
        all => all,
    };
    assert_eq!(effects.len(), count, "{effects:?}");
    for (effect, waiting) in effects.iter().zip(session.outbox.drain(..count)) {
        let Effect::Send { to, item } = effect else { panic!("{effect:?}") };
        assert_eq!((to.session, to.tag), (key, session.tag));
        assert_eq!(Item::of(item), waiting.item);
        if waiting.item == Item::Admitted(false) {
            session.known.append(&mut session.admitted);
        }
        session.wire.push(waiting.item);
    }
    if session.outbox.is_empty() {
        session.state = State::Ready;
    }
}

/// What a fate does to a session.
fn take_in(session: &mut Session, fate: Fate, message: &Message, (ask, offset): (Option<u64>, Option<u64>)) {
    let id = message.id.0;
    match fate {
        Fate::Delivered => session.wire.push(Item::Message { id, ask, offset }),
        Fate::Queued if session.state != State::Detached && !session.closing => {
            let item = Item::Message { id, ask, offset: offset.filter(|_| session.recover) };
            session.outbox.push_back(Waiting { item, size: size_of(message), exempt: false });
        }
        Fate::Overflow { .. } => session.closing = true,
        _ => {}
    }
    let gets = matches!(fate, Fate::Delivered | Fate::Queued | Fate::Overflow { queued: true });
    if !gets || ask.is_some() || message.volatile {
        return;
    }
    session.owed.push((offset.unwrap_or(0), id));
    if let (Some(position), Fate::Delivered) = (message.position, fate) {
        let place = (position.epoch, position.offset);
        let seen = session.positions.insert(message.channel.as_str().to_owned(), place);
        let in_order = seen.is_none_or(|(epoch, offset)| epoch != position.epoch || offset < position.offset);
        assert!(in_order, "{place:?} after {seen:?}");
    }
}

/// What is to come again after `need`, asks in their places.
fn missed(key: SessionKey, session: &Session, need: u64, asks: &BTreeMap<u64, Ask>) -> Vec<Item> {
    let owed = session.owed.iter().filter(|(sequence, _)| *sequence > need);
    let mut missed: Vec<(u64, Option<u64>, u128)> =
        owed.map(|(sequence, id)| (*sequence, None, *id)).collect();
    let asks = asks.iter().filter(|(_, ask)| ask.waiting.contains(&key));
    missed.extend(asks.map(|(id, ask)| (ask.sequence, Some(*id), ask.message)));
    missed.sort_unstable();
    missed.into_iter().map(|(sequence, ask, id)| Item::Message { id, ask, offset: Some(sequence) }).collect()
}

/// What a session's admission waits for besides announcements, which have small numbers.
fn arrival_of(key: SessionKey) -> u64 {
    u64::MAX - u64::from(key.0)
}
