//! A client that keeps to the rules, and what it knows of its session. It checks numbers and windows; what a message is worth is
//! the ledger's business.

use hub::{Grade, Quality, SessionId, SessionKey, Step, Tag};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

#[derive(Debug)]
pub struct Person {
    pub name: String,
    pub shard: usize,
    pub session: Option<Held>,
    /// On this connection; `None` without one.
    pub line: Option<Line>,
    /// Its session was to end and is there after a crash: it wants another.
    pub is_fresh_only: bool,
}

/// A session, connected or not.
#[derive(Debug)]
pub struct Held {
    pub id: SessionId,
    pub key: SessionKey,
    pub user: Option<&'static str>,
    pub keep_ms: u64,
    pub window: u16,
    /// While it has no connection.
    pub until: u64,
    /// Message and delay.
    pub will: Option<(usize, u64)>,
    pub will_at: u64,
    /// Exchanges that are not over.
    pub open: BTreeMap<u16, Open>,
    /// Own messages that are published exactly once.
    pub exchanges: BTreeMap<u16, Exchange>,
    /// Own messages that the hub has not acknowledged.
    pub unsure: BTreeSet<usize>,
    /// How long it is kept, as the client was told.
    pub agreed: Option<u64>,
    /// Something of that has changed, and the client was not told.
    pub is_changed: bool,
    /// Something of it was kept when it was claimed last.
    pub is_kept: bool,
    /// It has seen a crash: what the client said last may be lost.
    pub is_restored: bool,
}

#[derive(Debug)]
pub struct Exchange {
    pub message: usize,
    /// The hub has it.
    pub is_done: bool,
    /// The hub was told that the number may be forgotten.
    pub is_released: bool,
    pub offers: u32,
}

#[derive(Debug)]
pub struct Open {
    pub message: usize,
    pub quality: Quality,
    pub group: Option<String>,
    /// The client has it, and only the number is in use.
    pub is_taken: bool,
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    pub tag: Tag,
    /// The client was told of its session.
    pub is_agreed: bool,
    pub is_paused: bool,
    pub is_closing: bool,
    /// Numbers that were sent on it and are not over.
    pub here: BTreeSet<u16>,
    pub requests: BTreeMap<u64, Asked>,
    /// Steps to be told.
    pub steps: VecDeque<(u16, Step)>,
}

#[derive(Debug)]
pub enum Asked {
    Join(u32),
    /// The records that end.
    Leave(Vec<u32>),
    Offer(usize),
    /// Its number, and whether the hub has it.
    Exchange(u16, bool),
    Forget(u16),
}

impl Line {
    pub fn new(tag: Tag) -> Self {
        let (here, requests, steps) = (BTreeSet::new(), BTreeMap::new(), VecDeque::new());
        Self { tag, is_agreed: false, is_paused: true, is_closing: false, here, requests, steps }
    }
}

impl Held {
    pub fn new(id: SessionId, key: SessionKey) -> Self {
        Self {
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
            unsure: BTreeSet::new(),
            agreed: None,
            is_changed: false,
            is_kept: false,
            is_restored: false,
        }
    }

    /// The hub may have forgotten what the client said last.
    pub fn outlive_crash(&mut self) {
        self.is_restored = true;
        self.open.retain(|_, open| open.quality == Quality::ExactlyOnce);
    }
}

impl Person {
    pub fn held(&mut self) -> &mut Held {
        self.session.as_mut().expect("it has a session")
    }

    /// Whether the client has the message under that number.
    pub fn knows(&self, message: usize, grade: Grade) -> bool {
        let held = self.session.as_ref().expect("it has a session");
        let open = held.open.get(&grade.number).filter(|_| grade.again);
        let is_known = open.is_some_and(|open| open.message == message);
        assert!(!grade.again || is_known || held.is_restored, "sent again what was not sent: {grade:?}");
        is_known
    }

    /// A message of higher quality has come.
    pub fn took(&mut self, message: usize, grade: Grade, group: Option<String>) {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        let (number, quality) = (grade.number, grade.quality);
        assert!(number > 0);
        match held.open.get(&number) {
            Some(open) => {
                assert_eq!((open.message, open.quality), (message, quality), "number {number} is in use");
                assert!(grade.again && (!open.is_taken || held.is_restored));
            }
            None => {
                held.open.insert(number, Open { message, quality, group, is_taken: false });
            }
        }
        assert!(line.here.insert(number), "twice on one connection");
        assert!(line.here.len() <= usize::from(held.window), "over the window");
        let step = if quality == Quality::AtLeastOnce { Step::Done } else { Step::Received };
        line.steps.push_back((number, step));
    }

    /// The hub says that a number may be forgotten: in answer to `Received`, or again on a new connection. Whether it is not
    /// the answer, and whether the client knew the number.
    pub fn may_forget(&mut self, number: u16) -> (bool, bool) {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        let open = held.open.get(&number);
        let is_right = |open: &Open| open.is_taken && open.quality == Quality::ExactlyOnce;
        assert!(open.map_or(held.is_restored, is_right), "number {number}: {open:?}");
        let is_anew = line.here.insert(number);
        assert!(line.here.len() <= usize::from(held.window), "over the window");
        line.steps.push_back((number, Step::Forgotten));
        (is_anew, open.is_some())
    }

    /// Before a step is told.
    pub fn steps(&mut self, number: u16, step: Step) {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        if step == Step::Received {
            held.open.get_mut(&number).expect("open").is_taken = true;
        } else {
            assert!(held.open.remove(&number).is_some() || held.is_restored, "open");
            line.here.remove(&number);
        }
    }

    /// What others of its groups may get when it is gone.
    pub fn unsettled(&self) -> Vec<(String, usize)> {
        let open = self.session.iter().flat_map(|held| held.open.values());
        let open = open.filter(|open| open.quality == Quality::AtLeastOnce);
        open.filter_map(|open| Some((open.group.clone()?, open.message))).collect()
    }
}
