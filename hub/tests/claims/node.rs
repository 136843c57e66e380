//! A node of hubs under test: commands in, what each client gets out, mail in order between them.

use bytes::Bytes;
use hub::{
    Allowance, Body, ChannelName, ChannelRule, Command, Config, Effect, Effects, Grade, HistoryRule, Hub,
    HubMail, Labels, Limits, Message, MessageId, Millis, Outcome, Outgoing, Publish, Quality, Recipient,
    RecoveryLimits, Report, SessionId, SessionKey, ShardId, Tag, Target, Token, Topology, Traits, WhenFull,
};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A client and the session it has, or had.
#[derive(Clone, Copy)]
pub struct Client {
    pub shard: usize,
    pub key: SessionKey,
    pub id: SessionId,
    pub tag: Tag,
}

pub struct Node {
    pub topology: Topology,
    pub now: u64,
    pub hubs: Vec<Hub>,
    pub clients: BTreeMap<String, Client>,
    /// What clients got, by name, since it was last taken.
    pub got: BTreeMap<String, Vec<String>>,
    /// Of the tags that were given out.
    names: HashMap<Tag, String>,
    mail: BTreeMap<(usize, usize), VecDeque<HubMail>>,
    /// Mail stays where it is.
    pub is_held: bool,
    next: u64,
}

/// Of a body over every limit; shown as `LARGE`.
pub const LARGE_BYTES: usize = 2000;

/// Of the client `wide`.
const ALLOWANCE: Allowance = Allowance { messages_max: 7, bytes_max: 3 * LARGE_BYTES as u64 };

pub fn limits() -> Limits {
    Limits {
        sessions_max: 10,
        channels_max: 500,
        subscriptions_per_session_max: 6,
        channel_name_bytes_max: 40,
        outbox_messages_max: 5,
        outbox_bytes_max: 200,
        asks_per_session_max: 2,
        asks_max: 3,
        history_bytes_max: 1000,
        retained_max: 400,
        retained_bytes_max: 1500,
        delayed_max: 10,
        delayed_bytes_max: 1000,
        recovery: RecoveryLimits { messages_max: 4, bytes_max: 1000, window_ms: 100 },
    }
}

impl Node {
    pub fn new(shards: u8) -> Self {
        let topology = Topology { shards, partitions: 16 };
        let history = Some(HistoryRule { messages_max: 2, age_ms_max: 50, durable: true });
        let rule = |filter: &str, history, when_full| {
            let filter = filter.to_owned();
            ChannelRule { filter, history, presence: trunkline_hub::Presence::Off, when_full }
        };
        let rules = vec![rule("kept/#", history, WhenFull::Newest), rule("last/#", None, WhenFull::Oldest)];
        let hub = |shard| {
            let (shard, rules) = (ShardId(shard), rules.clone());
            let mut hub = Hub::new(Config { shard, topology, epoch: 5, limits: limits(), rules });
            hub.allow("wide", ALLOWANCE);
            hub
        };
        Self {
            topology,
            now: 1000,
            hubs: (0..shards).map(hub).collect(),
            clients: BTreeMap::new(),
            got: BTreeMap::new(),
            names: HashMap::new(),
            mail: BTreeMap::new(),
            is_held: false,
            next: 0,
        }
    }

    pub fn client(&self, name: &str) -> Client {
        *self.clients.get(name).unwrap_or_else(|| panic!("{name} has no session"))
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn tag(&mut self, name: &str) -> Tag {
        let tag = Tag(self.number() as u32);
        self.names.insert(tag, name.to_owned());
        tag
    }

    /// With all that follows, unless mail is held.
    pub fn apply(&mut self, shard: usize, command: Command) {
        self.apply_one(shard, command);
        self.flow();
    }

    /// Mail is delivered and what is due is done until nothing follows.
    pub fn flow(&mut self) {
        loop {
            let link = self.mail.iter().find(|(_, mails)| !mails.is_empty()).map(|(link, _)| *link);
            let link = link.filter(|_| !self.is_held);
            if let Some((from, to)) = link {
                let mail = self.mail.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("found");
                self.apply_one(to, Command::Mail { from: ShardId(from as u8), mail });
                continue;
            }
            let due = |hub: &Hub| hub.next_deadline().is_some_and(|at| at <= Millis(self.now));
            match self.hubs.iter().position(due) {
                Some(shard) => self.apply_one(shard, Command::Tick),
                None => return,
            }
        }
    }

    fn apply_one(&mut self, shard: usize, command: Command) {
        let mut effects = Effects::default();
        self.hubs[shard].apply(Millis(self.now), command, &mut effects);
        for effect in std::mem::take(&mut effects.list) {
            self.perform(shard, effect, &effects.recipients);
        }
    }

    fn perform(&mut self, shard: usize, effect: Effect, recipients: &[Recipient]) {
        match effect {
            Effect::Mail { to, mail } => {
                self.mail.entry((shard, usize::from(to.0))).or_default().push_back(mail);
            }
            Effect::Claimed { tag, session: key, id, resumed, displaced, .. } => {
                let name = self.names[&tag].clone();
                self.clients.insert(name, Client { shard, key, id, tag });
                let how = if resumed { "resumed" } else { "new" };
                let from = if displaced.is_some() { " taken over" } else { "" };
                self.tell(tag, format!("claimed {how}{from}"));
            }
            Effect::OpenRefused { tag } => self.tell(tag, "not claimed".to_owned()),
            Effect::Deliver { message, ask: None, to, .. } => {
                for to in &recipients[to] {
                    self.tell_to(to, text(&message, to.grade, &None));
                }
            }
            Effect::Send { to, item: Outgoing::Message { message, grade, labels, ask: None, .. } } => {
                self.tell_to(&to, text(&message, grade, &labels));
            }
            Effect::Send { to, item: Outgoing::Answer { request, .. } } => {
                self.tell_to(&to, format!("answer {request}"));
            }
            Effect::Done { to, outcome, request: _ } => self.tell_to(&to, done(outcome)),
            Effect::Taken { to, number } => self.tell_to(&to, format!("taken #{number}")),
            Effect::Misstep { to } => self.tell_to(&to, "misstep".to_owned()),
            Effect::More { to } => self.tell_to(&to, "more".to_owned()),
            Effect::CloseConnection { to, reason } => self.tell_to(&to, format!("close {reason:?}")),
            // The client hears of its session then, once it knows what is stored of its user.
            Effect::Agreed { .. } | Effect::Detached { .. } => {}
            Effect::Ended { tag, id, reason, .. } => {
                let is_it = |client: &Client| client.id == id;
                let name =
                    self.clients.iter().find(|(_, client)| is_it(client)).map(|(name, _)| name.clone());
                let state = if tag.is_some() { "" } else { " while away" };
                let name = name.expect("it had a client");
                self.got.entry(name).or_default().push(format!("ended {reason:?}{state}"));
            }
            Effect::Report { report, .. } => {
                let text = match report {
                    Report::Routed { .. } => return,
                    Report::Delivered { counts, .. } => format!("{counts:?}"),
                    Report::Count(count) => format!("{count} sessions"),
                    other => format!("{other:?}"),
                };
                self.got.entry("office".to_owned()).or_default().push(text);
            }
            other => panic!("{other:?}"),
        }
    }

    fn tell(&mut self, tag: Tag, text: String) {
        let name = self.names[&tag].clone();
        self.got.entry(name).or_default().push(text);
    }

    /// To the connection that the session is on, and to no other.
    fn tell_to(&mut self, to: &Recipient, text: String) {
        let name = &self.names[&to.tag];
        let client = self.client(name);
        assert_eq!(
            (client.tag, client.key),
            (to.tag, to.session),
            "{name} gets {text} on the wrong connection"
        );
        self.tell(to.tag, text);
    }

    pub fn publish(&mut self, target: Target, body: &str, traits: Traits) -> Box<Publish> {
        Box::new(Publish {
            id: MessageId(u128::from(self.number())),
            target,
            event: None,
            body: Body::Raw(Bytes::copy_from_slice(body.as_bytes())),
            volatile: false,
            except: None,
            reply_within_ms: None,
            token: None,
            traits,
            receipt: None,
        })
    }

    pub fn home(&self, channel: &ChannelName) -> usize {
        usize::from(channel.home(&self.topology).0)
    }

    /// All sessions end, time passes, and nothing is left.
    pub fn close(&mut self) {
        self.is_held = false;
        self.flow();
        for client in self.clients.values().copied().collect::<Vec<_>>() {
            self.apply(client.shard, Command::End { session: client.key, reason: hub::Reason::Draining });
        }
        for channel in self.retained() {
            let target = Target::Channel(channel.clone());
            let traits = Traits { retain: true, ..Traits::default() };
            let publish = self.publish(target, "", traits);
            self.apply(self.home(&channel), Command::Publish(publish));
        }
        self.now += 1_000_000;
        self.flow();
        for hub in &self.hubs {
            assert!(hub.is_idle(), "something is left: {hub:?}");
            assert_eq!(hub.capacity(), 0, "memory is held");
        }
    }

    /// Channels that scripts use for retained values.
    fn retained(&self) -> Vec<ChannelName> {
        let many = (0..200).map(|n| format!("many/{n}"));
        let few = ["r", "r/1", "r/2", "r/3", "$r/1", "will"].map(str::to_owned);
        many.chain(few).map(|name| ChannelName::parse(&name, 40).expect("valid")).collect()
    }
}

/// A token that nobody else has.
pub fn token(node: &mut Node) -> Token {
    Token(node.number())
}

fn text(message: &Message, grade: Grade, labels: &Labels) -> String {
    let Body::Raw(body) = &message.body else { panic!("{message:?}") };
    let body = std::str::from_utf8(body).expect("text");
    let body = if body.len() == LARGE_BYTES { "LARGE" } else { body };
    let channel = if message.channel.session().is_some() { "$client" } else { message.channel.as_str() };
    let mut text = format!("{channel} {body}").trim_end().to_owned();
    match grade.quality {
        Quality::AtMostOnce => assert_eq!(grade.number, 0),
        Quality::AtLeastOnce => text.push_str(&format!(" q1 #{}", grade.number)),
        Quality::ExactlyOnce => text.push_str(&format!(" q2 #{}", grade.number)),
    }
    if grade.again {
        text.push_str(" again");
    }
    if grade.retained {
        text.push_str(" retained");
    }
    for label in labels.iter().flatten() {
        text.push_str(&format!(" ={label}"));
    }
    text
}

fn done(outcome: Outcome) -> String {
    match outcome {
        Outcome::Joined { is_new: true } => "joined new".to_owned(),
        Outcome::Joined { is_new: false } => "joined".to_owned(),
        Outcome::Left { existed: true } => "left".to_owned(),
        Outcome::Left { existed: false } => "left nothing".to_owned(),
        Outcome::Published { matched: true, .. } => "published".to_owned(),
        Outcome::Published { matched: false, .. } => "published to nobody".to_owned(),
        Outcome::Repeated => "repeated".to_owned(),
        Outcome::Forgotten => "forgotten".to_owned(),
        Outcome::Refused(refusal) => format!("refused {refusal:?}"),
    }
}
