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
    /// Own messages that are published exactly once, and whether the hub has them.
    pub exchanges: BTreeMap<u16, (usize, bool)>,
    /// Own messages that the hub has not acknowledged.
    pub unsure: BTreeSet<usize>,
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
    Leave,
    Offer(usize),
    Exchange(u16),
    Forget(u16),
}

impl Line {
    pub fn new(tag: Tag) -> Self {
        let (here, requests, steps) = (BTreeSet::new(), BTreeMap::new(), VecDeque::new());
        Self { tag, is_paused: true, is_closing: false, here, requests, steps }
    }
}

impl Person {
    pub fn held(&mut self) -> &mut Held {
        self.session.as_mut().expect("it has a session")
    }

    /// A message of higher quality has come.
    pub fn took(&mut self, message: usize, grade: Grade, group: Option<String>) {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        let (number, quality) = (grade.number, grade.quality);
        assert!(number > 0);
        if grade.again {
            let open = held.open.get(&number).expect("sent again what was sent");
            assert_eq!((open.message, open.quality, open.is_taken), (message, quality, false));
        } else {
            let open = Open { message, quality, group, is_taken: false };
            assert!(held.open.insert(number, open).is_none(), "number {number} is in use");
        }
        assert!(line.here.insert(number), "twice on one connection");
        assert!(line.here.len() <= usize::from(held.window), "over the window");
        let step = if quality == Quality::AtLeastOnce { Step::Done } else { Step::Received };
        line.steps.push_back((number, step));
    }

    /// The hub says that a number may be forgotten: in answer to `Received`, or again on a new connection.
    pub fn may_forget(&mut self, number: u16) -> bool {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        let open = held.open.get(&number).expect("known");
        assert!(open.is_taken && open.quality == Quality::ExactlyOnce);
        let is_anew = line.here.insert(number);
        assert!(line.here.len() <= usize::from(held.window), "over the window");
        line.steps.push_back((number, Step::Forgotten));
        is_anew
    }

    /// Before a step is told.
    pub fn steps(&mut self, number: u16, step: Step) {
        let (Some(held), Some(line)) = (&mut self.session, &mut self.line) else { panic!("no connection") };
        if step == Step::Received {
            held.open.get_mut(&number).expect("open").is_taken = true;
        } else {
            held.open.remove(&number).expect("open");
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
