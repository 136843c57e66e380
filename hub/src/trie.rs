//! All filters of a hub as a tree of levels, so that the filters matching a name are found without trying each, at a cost
//! that does not grow with them. Knows only texts and roster keys; what a filter's roster holds is not its business.

use crate::roster::RosterKey;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;
use std::hash::BuildHasher;

/// The tree. Costs nothing to ask while it is empty, which is the usual case.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    root: Option<NodeKey>,
    /// Every node but the root and those of wildcards, by its parent and level: one table for the whole tree, so that a
    /// node needs none of its own.
    levels: HashTable<NodeKey>,
    hasher: FixedState,
}

type NodeKey = u32;

#[derive(Debug)]
struct Node {
    parent: NodeKey,
    level: Box<str>,
    /// Below it, those of wildcards included.
    children: u32,
    /// The child `+`.
    any: Option<NodeKey>,
    /// The child `#`.
    all: Option<NodeKey>,
    /// The filter that ends here.
    here: Option<RosterKey>,
}

impl Node {
    fn new(parent: NodeKey, level: &str) -> Self {
        Self { parent, level: level.into(), children: 0, any: None, all: None, here: None }
    }

    fn is_unused(&self) -> bool {
        self.children == 0 && self.here.is_none()
    }
}

impl Trie {
    /// `seed` makes the order unguessable to those who choose filters.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self { nodes: Slab::new(), root: None, levels: HashTable::new(), hasher }
    }

    /// Adds a valid filter that is not in the tree.
    pub(crate) fn insert(&mut self, filter: &str, roster: RosterKey) {
        let mut at = match self.root {
            Some(root) => root,
            None => {
                let root = self.add(Node::new(NodeKey::MAX, ""));
                *self.root.insert(root)
            }
        };
        for level in filter.split('/') {
            at = self.child(at, level).unwrap_or_else(|| self.add_child(at, level));
        }
        self.node_mut(at).here = Some(roster);
    }

    /// Removes a filter that is in the tree, and the branch that only it used.
    pub(crate) fn remove(&mut self, filter: &str) {
        let Some(mut at) = self.root else { return };
        for level in filter.split('/') {
            let Some(child) = self.child(at, level) else { return };
            at = child;
        }
        self.node_mut(at).here = None;
        while self.node(at).is_unused() {
            let parent = self.node(at).parent;
            if parent == NodeKey::MAX {
                let hasher = self.hasher.clone();
                *self = Self { nodes: Slab::new(), root: None, levels: HashTable::new(), hasher };
                return;
            }
            self.remove_child(parent, at);
            at = parent;
        }
    }

    /// Appends the rosters of all filters that match a channel name, each once.
    pub(crate) fn matches(&self, name: &str, found: &mut Vec<RosterKey>) {
        let Some(root) = self.root else { return };
        let reserved = name.starts_with('$');
        let mut open: SmallVec<[(NodeKey, Option<&str>); 16]> = SmallVec::new();
        open.push((root, Some(name)));
        while let Some((at, rest)) = open.pop() {
            let node = self.node(at);
            let wildcards = !(reserved && at == root);
            if let Some(all) = node.all.filter(|_| wildcards) {
                found.extend(self.node(all).here);
            }
            let Some(rest) = rest else {
                found.extend(node.here);
                continue;
            };
            let (level, below) = match rest.split_once('/') {
                Some((level, below)) => (level, Some(below)),
                None => (rest, None),
            };
            open.extend(self.literal(at, level).map(|child| (child, below)));
            open.extend(node.any.filter(|_| wildcards).map(|child| (child, below)));
        }
    }

    /// Whether there is no filter, and no memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    fn child(&self, at: NodeKey, level: &str) -> Option<NodeKey> {
        match level {
            "+" => self.node(at).any,
            "#" => self.node(at).all,
            level => self.literal(at, level),
        }
    }

    fn literal(&self, parent: NodeKey, level: &str) -> Option<NodeKey> {
        let is_it = |child: &NodeKey| {
            let child = self.node(*child);
            child.parent == parent && *child.level == *level
        };
        self.levels.find(self.hasher.hash_one((parent, level)), is_it).copied()
    }

    fn add(&mut self, node: Node) -> NodeKey {
        NodeKey::try_from(self.nodes.insert(node)).expect("fewer levels than 2^32 fit into memory")
    }

    fn add_child(&mut self, parent: NodeKey, level: &str) -> NodeKey {
        let child = self.add(Node::new(parent, level));
        let node = self.node_mut(parent);
        node.children += 1;
        match level {
            "+" => node.any = Some(child),
            "#" => node.all = Some(child),
            level => {
                let (nodes, hasher) = (&self.nodes, &self.hasher);
                let rehash = |child: &NodeKey| {
                    let node = nodes.get(*child as usize).expect("the table names nodes that are there");
                    hasher.hash_one((node.parent, &*node.level))
                };
                self.levels.insert_unique(hasher.hash_one((parent, level)), child, rehash);
            }
        }
        child
    }

    fn remove_child(&mut self, parent: NodeKey, child: NodeKey) {
        let removed = self.nodes.remove(child as usize);
        let hash = self.hasher.hash_one((parent, &*removed.level));
        let node = self.node_mut(parent);
        node.children -= 1;
        match &*removed.level {
            "+" => node.any = None,
            "#" => node.all = None,
            _ => {
                if let Ok(entry) = self.levels.find_entry(hash, |found| *found == child) {
                    entry.remove();
                }
            }
        }
    }

    fn node(&self, at: NodeKey) -> &Node {
        self.nodes.get(at as usize).expect("nodes are named only by their parents")
    }

    fn node_mut(&mut self, at: NodeKey) -> &mut Node {
        self.nodes.get_mut(at as usize).expect("nodes are named only by their parents")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::CASES;

    #[test]
    fn agrees_with_the_plain_matcher() {
        for (filter, name, expected) in CASES {
            let mut trie = Trie::new(1);
            trie.insert(filter, RosterKey(7));
            let mut found = Vec::new();
            trie.matches(name, &mut found);
            assert_eq!(found, if *expected { vec![RosterKey(7)] } else { vec![] }, "{filter} on {name}");
            trie.remove(filter);
            assert!(trie.is_empty());
        }
    }

    #[test]
    fn all_cases_in_one_tree() {
        let mut filters: Vec<&str> = CASES.iter().map(|case| case.0).collect();
        filters.sort_unstable();
        filters.dedup();
        let mut trie = Trie::new(1);
        for (n, filter) in filters.iter().enumerate() {
            trie.insert(filter, RosterKey(n as u32));
        }
        for (_, name, _) in CASES {
            let mut found = Vec::new();
            trie.matches(name, &mut found);
            found.sort_unstable();
            let expected: Vec<RosterKey> = (0..filters.len())
                .filter(|n| crate::filter::filter_matches(filters[*n], name))
                .map(|n| RosterKey(n as u32))
                .collect();
            assert_eq!(found, expected, "{name}");
        }
        for filter in filters {
            trie.remove(filter);
        }
        assert!(trie.is_empty());
    }
}
