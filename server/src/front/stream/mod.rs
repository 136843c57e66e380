//! Streams for clients that speak plain HTTP: from requests to hub commands, from hub effects to server-sent events, lines of JSON,
//! answers to long polls and events in WebSockets.
//!
//! One `Streams` per shard owns its callers (`caller`): readers, which are connections with a session of the hub, and publishers,
//! which wait for an answer. The code is split by what happens: `request` (a request comes, and who is turned away, in the form of
//! `answer`), `access` and `asking` (who a client is), `ruling` (of which channels the back end says it), `open` and `reading` (a session begins: first what channels keep, then what comes), `publish`, `effects` and `deliver`
//! (from the hub), `poll`, `socket` (in WebSockets clients speak, too), `ending`, `office` (what the back office asks).
//!
//! It must not know sockets or the framing of HTTP beyond chunks, and it decides nothing the hub decides. Every hub command goes
//! through [`Streams::apply`].
//!
//! ```text
//!  request -> Opening --admitted, channels keep something--> Reading --all read--> Live
//!                \------------admitted, nothing is kept--------------------------/
//! ```

mod access;
mod answer;
mod asking;
mod caller;
mod deliver;
mod effects;
mod ending;
mod office;
mod open;
mod poll;
mod publish;
mod reading;
mod request;
mod ruling;
mod socket;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use hub::{Command, SessionId, ShardId, Topology};
use slab::Slab;

use self::answer::Site;
use self::caller::{Caller, Publisher, Reader};
pub use self::office::{FAMILIES, Family, Figures};
use super::apply::apply;
use super::rights::Rights;
use crate::auth::Gate;
use crate::config::Config;
use crate::shard::{Cx, Door, Owner};

/// No caller.
const NONE: u32 = u32::MAX;

/// What waited for a session is handed over in pieces of so many: in between its connection may say that it is full.
const BUDGET: u32 = 64;

/// The callers of one shard.
#[derive(Debug)]
pub(super) struct Streams {
    gate: Gate,
    config: Arc<Config>,
    shard: ShardId,
    topology: Topology,
    site: Site,
    /// `Owner` and the hub's `Tag` are the index.
    callers: Slab<Caller>,
    /// Index: slot of a session id. Four bytes per session instead of a map.
    indexes: Vec<u32>,
    /// Told apart from those before it at the same index.
    publishers: u32,
    /// Polls that are answered at the end of the turn.
    due: Vec<u32>,
    /// Signs of life, made once: every stream of a form stages the same.
    heartbeats: Vec<((caller::Kind, caller::Framing), Bytes)>,
    /// What tokens of readers say, by index: readers without one pay nothing for it.
    held: HashMap<u32, Rights>,
    /// Readers that wait for the back end.
    waiting: usize,
    drain: Option<ending::Drain>,
    figures: Figures,
}

impl Streams {
    pub(super) fn new(config: Arc<Config>, (shard, topology): (ShardId, Topology), gate: Gate) -> Self {
        Self {
            gate,
            site: Site::new(&config),
            config,
            shard,
            topology,
            callers: Slab::new(),
            indexes: Vec::new(),
            publishers: 0,
            due: Vec::new(),
            heartbeats: Vec::new(),
            held: HashMap::new(),
            waiting: 0,
            drain: None,
            figures: Figures::default(),
        }
    }

    /// Whether nothing is kept of any client.
    pub(super) fn is_idle(&self) -> bool {
        let is_empty = self.callers.is_empty() && self.indexes.is_empty();
        is_empty && self.due.is_empty() && self.held.is_empty()
    }

    /// Applies a command and performs what follows. Called while effects are performed it only queues.
    pub(super) fn apply(&mut self, cx: &mut Cx<'_>, command: Command) {
        apply(self, cx, command);
    }

    fn reader(&self, index: u32) -> Option<&Reader> {
        match self.callers.get(index as usize)? {
            Caller::Reader(reader) => Some(reader),
            Caller::Publisher(_) => None,
        }
    }

    fn reader_mut(&mut self, index: u32) -> Option<&mut Reader> {
        self.callers.get_mut(index as usize)?.reader()
    }

    fn publisher(&self, index: u32) -> Option<&Publisher> {
        match self.callers.get(index as usize)? {
            Caller::Reader(_) => None,
            Caller::Publisher(publisher) => Some(publisher),
        }
    }

    /// The reader of a session.
    fn index_of(&self, id: SessionId) -> Option<u32> {
        let index = *self.indexes.get(id.slot() as usize)?;
        self.reader(index).filter(|reader| reader.id == id).map(|_| index)
    }

    fn note_index(&mut self, id: SessionId, index: u32) {
        let slot = id.slot() as usize;
        if self.indexes.len() <= slot {
            self.indexes.resize(slot + 1, NONE);
        }
        if let Some(place) = self.indexes.get_mut(slot) {
            *place = index;
        }
    }

    fn insert(&mut self, caller: Caller) -> u32 {
        self.figures.came(&caller);
        u32::try_from(self.callers.insert(caller)).expect("fewer callers than 32 bits count")
    }

    /// Takes a caller away; its connection is somebody else's business.
    fn remove(&mut self, cx: &mut Cx<'_>, index: u32) -> Option<Caller> {
        let caller = self.callers.try_remove(index as usize)?;
        cx.io.disarm(owner(index));
        self.figures.left(&caller);
        self.held.remove(&index);
        if let Caller::Reader(reader) = &caller {
            self.waiting -= usize::from(reader.waits_until().is_some());
            let place = self.indexes.get_mut(reader.id.slot() as usize);
            if let Some(place) = place.filter(|place| **place == index) {
                *place = NONE;
            }
        }
        if self.callers.is_empty() {
            self.callers = Slab::new();
            self.indexes = Vec::new();
            self.held = HashMap::new();
        }
        Some(caller)
    }
}

/// What the shard knows a caller by.
fn owner(index: u32) -> Owner {
    Owner::new(Door::Feed, index)
}
