//! What one hub should hold, in the most naive form: whole names, full scans, everything a session was ever owed.

use hub::{ChannelName, Except, Millis, Outgoing, SessionId, SessionKey, Tag, Token};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Admitted(bool),
    Message { id: u128, ask: Option<u64>, offset: Option<u64> },
    Answer(u64),
}

impl Item {
    pub fn of(outgoing: &Outgoing) -> Self {
        match outgoing {
            Outgoing::Admitted { recovered } => Self::Admitted(*recovered),
            Outgoing::Message { message, ask, offset, .. } => Self::Message {
                id: message.id.0,
                ask: ask.map(|ask| ask.0),
                offset: offset.map(|offset| offset.sequence),
            },
            Outgoing::Answer { request, .. } => Self::Answer(*request),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Ready,
    Paused,
    Detached,
}

#[derive(Debug)]
pub struct Waiting {
    pub item: Item,
    pub size: u64,
    pub exempt: bool,
}

#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    pub tag: Tag,
    pub recover: bool,
    pub state: State,
    pub closing: bool,
    pub subs: BTreeSet<String>,
    /// Subscriptions that were reported (or whose admission went out): publishes after that must arrive.
    pub known: BTreeSet<String>,
    /// Subscriptions that become known when `Admitted` goes out.
    pub admitted: BTreeSet<String>,
    pub user: Option<String>,
    /// Announcements that hold `Admitted` back.
    pub held: BTreeSet<u64>,
    pub resume: u32,
    pub outbox: VecDeque<Waiting>,
    /// All non-volatile messages, asks excluded, that were for it, with their log sequence.
    pub owed: Vec<(u64, u128)>,
    /// Sequences it was excepted from although subscribed.
    pub excepted: Vec<u64>,
    pub unsubscribed: bool,
    /// It was restored by a later hub.
    pub restarted: bool,
    pub start: u64,
    /// What went out on the present connection.
    pub wire: Vec<Item>,
    /// Ids the client saw, non-volatile and no asks.
    pub got: BTreeSet<u128>,
    /// The last offset the client saw.
    pub after: Option<u64>,
    /// Newest position seen of each channel on this connection.
    pub positions: BTreeMap<String, (u64, u64)>,
    pub asks: u16,
    pub until: u64,
}

impl Session {
    pub fn is_in(&self, channel: &str) -> bool {
        self.subs.iter().any(|sub| hub::filter_matches(sub, channel))
    }

    pub fn is_excepted(&self, except: &Except) -> bool {
        except.sessions.contains(&self.id) || except.channels.iter().any(|c| self.subs.contains(c.as_str()))
    }

    pub fn counted(&self) -> (u64, u64) {
        let counted = self.outbox.iter().filter(|waiting| !waiting.exempt);
        counted.fold((0, 0), |(n, bytes), waiting| (n + 1, bytes + waiting.size))
    }

    /// The client saw the first `seen` things of the connection's.
    pub fn cut(&mut self, seen: usize) {
        for item in self.wire.drain(..).take(seen) {
            let Item::Message { id, ask: None, offset } = item else { continue };
            self.after = offset.or(self.after);
            if self.owed.iter().any(|owed| owed.1 == id) {
                assert!(self.got.insert(id), "message {id} twice to {:?}", self.id);
            }
        }
        self.wire.clear();
        self.positions.clear();
    }
}

#[derive(Debug)]
pub struct Ask {
    pub token: Token,
    pub until: u64,
    pub message: u128,
    pub sequence: u64,
    pub waiting: BTreeSet<SessionKey>,
    pub missing: BTreeSet<SessionId>,
}

#[derive(Debug, Default)]
pub struct History {
    pub epoch: u64,
    pub newest: u64,
    /// Time, size, message.
    pub kept: VecDeque<(u64, u64, u128)>,
}

impl History {
    /// The newest message has this position, as told by the hub. Positions go on, or start over in a new epoch when
    /// nothing is kept.
    pub fn check_position(&mut self, position: hub::Position) {
        if position.epoch == self.epoch {
            assert_eq!(position.offset, self.newest);
        } else {
            assert!(
                position.offset == 1 && self.kept.len() <= 1,
                "a history was lost: {self:?}, {position:?}"
            );
            self.epoch = position.epoch;
            self.newest = 1;
        }
    }
}

#[derive(Debug, Default)]
pub struct Model {
    pub sessions: BTreeMap<SessionKey, Session>,
    pub asks: BTreeMap<u64, Ask>,
    pub asks_last: u64,
    /// The recovery log: sequence, time, size.
    pub log: VecDeque<(u64, u64, u64)>,
    pub last: u64,
    /// Announcements to be acknowledged: name and how often.
    pub pending: BTreeMap<u64, (String, u32)>,
    pub announced: BTreeMap<String, u64>,
    pub reports: Vec<(u64, Token, u64, Vec<SessionKey>, String)>,
    pub histories: BTreeMap<String, History>,
}

impl Model {
    pub fn key_of(&self, id: &SessionId) -> Option<SessionKey> {
        self.sessions.iter().find(|(_, session)| session.id == *id).map(|(key, _)| *key)
    }

    pub fn recovering(&self) -> bool {
        self.sessions.values().any(|session| session.recover)
    }

    pub fn members(&self, name: &str) -> Vec<SessionKey> {
        let members = self.sessions.iter().filter(|(_, session)| session.subs.contains(name));
        members.map(|(key, _)| *key).collect()
    }

    pub fn trim_log(&mut self, now: Millis, limits: &hub::RecoveryLimits) {
        while let Some((_, at, _)) = self.log.front() {
            let bytes: u64 = self.log.iter().map(|entry| entry.2).sum();
            let over = self.log.len() > limits.messages_max as usize || bytes > limits.bytes_max;
            if !over && at + limits.window_ms > now.0 {
                break;
            }
            self.log.pop_front();
        }
    }

    pub fn history_bytes(&self) -> u64 {
        self.histories.values().flat_map(|history| &history.kept).map(|kept| kept.1).sum()
    }

    pub fn name(text: &str) -> ChannelName {
        ChannelName::parse(text, 200).expect("a valid name")
    }
}
