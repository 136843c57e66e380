//! Rosters: for each channel or filter known to this hub, who is subscribed here and which shards want it.
//! Owns the index by name and the memory of both; knows nothing of sessions' state, of mail or of messages.

use crate::filter::{filter_matches, is_filter};
use crate::history::History;
use crate::ids::{ChannelName, SessionKey};
use crate::limits::ChannelRule;
use crate::trie::Trie;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Index of a roster; valid until the roster has no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RosterKey(pub(crate) u32);

/// What is known of one channel or filter.
#[derive(Debug)]
pub(crate) struct Roster {
    /// The only copy of the name: the index holds keys.
    pub(crate) name: ChannelName,
    /// Sessions of this hub; their order means nothing, leaving swaps the last one in.
    pub(crate) members: Vec<SessionKey>,
    /// Other shards with members, one bit each; kept only at the channel's home, for filters at every hub.
    pub(crate) wanted: u64,
    /// The announcement of the first member that is not yet acknowledged by all homes; 0 = none.
    pub(crate) announcement: u64,
    /// Sequence of the newest entry of the recovery log that was delivered by this roster.
    pub(crate) logged: u64,
    /// Sequence of the newest such entry that the log no longer has.
    pub(crate) purged: u64,
    pub(crate) history: Option<Box<History>>,
    /// Share groups of this filter whose home is this hub.
    pub(crate) groups: Option<Box<[Arc<str>]>>,
    /// Index of the first rule that matches the channel.
    pub(crate) rule: Option<u16>,
    /// Somebody wants to hear whether there is anybody.
    pub(crate) is_watched: bool,
}

impl Roster {
    pub(crate) fn is_filter(&self) -> bool {
        is_filter(self.name.as_str())
    }

    /// Whether it is a channel that the back end is shown.
    pub(crate) fn is_listed(&self) -> bool {
        !self.is_filter() && (!self.members.is_empty() || self.history.is_some())
    }

    /// Nobody on this shard wants what comes by it.
    pub(crate) fn is_unwanted_here(&self) -> bool {
        self.members.is_empty() && self.groups.is_none()
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.is_unwanted_here() && self.wanted == 0 && self.history.is_none()
    }
}

/// All rosters of a hub.
#[derive(Debug)]
pub(crate) struct Rosters {
    slab: Slab<Roster>,
    /// By hash of the name.
    index: HashTable<RosterKey>,
    /// The rosters of filters.
    trie: Trie,
    hasher: FixedState,
    rules: Vec<ChannelRule>,
    /// Channels that match one of these filters are watched.
    watched: Vec<String>,
    /// Rosters that `is_listed`; those who change members or history keep it.
    pub(crate) listed: u32,
}

impl Rosters {
    /// `seed` makes the order in the index unguessable to those who choose names.
    pub(crate) fn new(rules: Vec<ChannelRule>, seed: u64) -> Self {
        Self {
            slab: Slab::new(),
            index: HashTable::new(),
            trie: Trie::new(seed),
            hasher: FixedState::with_seed(seed),
            rules,
            watched: Vec::new(),
            listed: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    pub(crate) fn find(&self, name: &str) -> Option<RosterKey> {
        let found = self.index.find(self.hash(name), |key| self.known(*key).name.as_str() == name);
        found.copied()
    }

    pub(crate) fn find_or_insert(&mut self, name: &str) -> RosterKey {
        self.find(name).unwrap_or_else(|| self.insert(ChannelName(Arc::from(name))))
    }

    /// Adds a roster for a name that has none.
    pub(crate) fn insert(&mut self, name: ChannelName) -> RosterKey {
        let hash = self.hash(name.as_str());
        let (rule, is_watched) = (self.rule_index(name.as_str()), self.watches(name.as_str()));
        let key = RosterKey(u32::try_from(self.slab.vacant_key()).expect("fewer rosters than 2^32"));
        if is_filter(name.as_str()) {
            self.trie.insert(name.as_str(), key);
        }
        self.slab.insert(Roster {
            name,
            members: Vec::new(),
            wanted: 0,
            announcement: 0,
            logged: 0,
            purged: 0,
            history: None,
            groups: None,
            rule,
            is_watched,
        });
        let (slab, hasher) = (&self.slab, &self.hasher);
        let rehash = |key: &RosterKey| hasher.hash_one(name_in(slab, *key));
        self.index.insert_unique(hash, key, rehash);
        key
    }

    /// Removes a roster that has no more use, and gives memory back.
    pub(crate) fn remove_if_unused(&mut self, key: RosterKey) {
        if !self.known(key).is_unused() {
            return;
        }
        let hash = self.hash(self.known(key).name.as_str());
        if let Ok(entry) = self.index.find_entry(hash, |found| *found == key) {
            entry.remove();
        }
        let roster = self.slab.remove(key.0 as usize);
        if roster.is_filter() {
            self.trie.remove(roster.name.as_str());
        }
        self.shrink();
    }

    /// The slab cannot move its entries, so it shrinks only when empty; the index can.
    fn shrink(&mut self) {
        if self.slab.is_empty() {
            self.slab = Slab::new();
            self.index = HashTable::new();
        } else if self.index.capacity() > 64 && self.index.len() < self.index.capacity() / 8 {
            let (slab, hasher) = (&self.slab, &self.hasher);
            let len = self.index.len() * 2;
            self.index.shrink_to(len, |key| hasher.hash_one(name_in(slab, *key)));
        }
    }

    /// Appends the rosters of the filters that match a channel name.
    pub(crate) fn matching_filters(&self, name: &str, found: &mut Vec<RosterKey>) {
        self.trie.matches(name, found);
    }

    /// Appends the channel's own roster, if any, and those of the filters that match it.
    pub(crate) fn concerned(&self, name: &str, found: &mut Vec<RosterKey>) {
        found.extend(self.find(name));
        self.matching_filters(name, found);
    }

    /// The first rule that matches a channel.
    pub(crate) fn rule(&self, name: &str) -> Option<&ChannelRule> {
        self.rules.iter().find(|rule| filter_matches(&rule.filter, name))
    }

    fn rule_index(&self, name: &str) -> Option<u16> {
        let index = self.rules.iter().position(|rule| filter_matches(&rule.filter, name))?;
        u16::try_from(index).ok()
    }

    /// The rule of a roster's channel.
    pub(crate) fn rule_of(&self, key: RosterKey) -> Option<&ChannelRule> {
        self.rules.get(usize::from(self.known(key).rule?))
    }

    /// Watches the channels that match one of these filters.
    pub(crate) fn watch(&mut self, filters: Vec<String>) {
        self.watched = filters;
        let watched = &self.watched;
        self.slab
            .iter_mut()
            .for_each(|(_, roster)| roster.is_watched = is_among(watched, roster.name.as_str()));
    }

    fn watches(&self, name: &str) -> bool {
        is_among(&self.watched, name)
    }

    /// A key from one of the hub's own records.
    pub(crate) fn known(&self, key: RosterKey) -> &Roster {
        self.slab.get(key.0 as usize).expect("records name only rosters in use")
    }

    /// A key from one of the hub's own records.
    pub(crate) fn known_mut(&mut self, key: RosterKey) -> &mut Roster {
        self.slab.get_mut(key.0 as usize).expect("records name only rosters in use")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RosterKey, &Roster)> {
        self.slab.iter().map(|(key, roster)| (RosterKey(key as u32), roster))
    }

    /// Rosters that memory is held for.
    pub(crate) fn capacity(&self) -> usize {
        self.slab.capacity() + self.index.capacity() + usize::from(!self.trie.is_empty())
    }
}

/// Whether a roster of this name is one of a channel that matches a filter.
fn is_among(filters: &[String], name: &str) -> bool {
    filters.iter().any(|filter| filter_matches(filter, name)) && !is_filter(name)
}

fn name_in(slab: &Slab<Roster>, key: RosterKey) -> &str {
    slab.get(key.0 as usize).expect("the index names only rosters in use").name.as_str()
}
