//! All filters of a hub as a tree of levels, so that the filters matching a name are found without trying each.
//! Knows only texts and roster keys; what a filter's roster holds is not its business.

use crate::roster::RosterKey;
use slab::Slab;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// The tree. Costs nothing to ask while it is empty, which is the usual case.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    nodes: Slab<Node>,
    root: Option<usize>,
}

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, usize>,
    /// The filter that ends here.
    here: Option<RosterKey>,
}

impl Node {
    fn is_unused(&self) -> bool {
        self.children.is_empty() && self.here.is_none()
    }
}

impl Trie {
    /// Adds a valid filter that is not in the tree.
    pub(crate) fn insert(&mut self, filter: &str, roster: RosterKey) {
        let mut at = match self.root {
            Some(root) => root,
            None => *self.root.insert(self.nodes.insert(Node::default())),
        };
        for level in filter.split('/') {
            let child = self.node(at).children.get(level).copied();
            at = child.unwrap_or_else(|| self.add_child(at, level));
        }
        self.node_mut(at).here = Some(roster);
    }

    /// Removes a filter that is in the tree, and the branch that only it used.
    pub(crate) fn remove(&mut self, filter: &str) {
        let mut path: SmallVec<[(usize, &str); 8]> = SmallVec::new();
        let Some(mut at) = self.root else { return };
        for level in filter.split('/') {
            let Some(child) = self.node(at).children.get(level).copied() else { return };
            path.push((at, level));
            at = child;
        }
        self.node_mut(at).here = None;
        while self.node(at).is_unused() {
            self.nodes.remove(at);
            let Some((parent, level)) = path.pop() else {
                *self = Self::default();
                return;
            };
            self.node_mut(parent).children.remove(level);
            at = parent;
        }
    }

    /// Appends the rosters of all filters that match a channel name, each once.
    pub(crate) fn matches(&self, name: &str, found: &mut Vec<RosterKey>) {
        let Some(root) = self.root else { return };
        let reserved = name.starts_with('$');
        let mut open: SmallVec<[(usize, Option<&str>); 16]> = SmallVec::new();
        open.push((root, Some(name)));
        while let Some((at, rest)) = open.pop() {
            let node = self.node(at);
            let wildcards = !(reserved && at == root);
            if wildcards && let Some(all) = node.children.get("#") {
                found.extend(self.node(*all).here);
            }
            let Some(rest) = rest else {
                found.extend(node.here);
                continue;
            };
            let (level, below) = match rest.split_once('/') {
                Some((level, below)) => (level, Some(below)),
                None => (rest, None),
            };
            if let Some(child) = node.children.get(level) {
                open.push((*child, below));
            }
            if wildcards && let Some(child) = node.children.get("+") {
                open.push((*child, below));
            }
        }
    }

    /// Whether there is no filter, and no memory.
    pub(crate) fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    fn add_child(&mut self, at: usize, level: &str) -> usize {
        let child = self.nodes.insert(Node::default());
        self.node_mut(at).children.insert(level.into(), child);
        child
    }

    fn node(&self, at: usize) -> &Node {
        self.nodes.get(at).expect("nodes are named only by their parents")
    }

    fn node_mut(&mut self, at: usize) -> &mut Node {
        self.nodes.get_mut(at).expect("nodes are named only by their parents")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::tests::CASES;

    #[test]
    fn agrees_with_the_plain_matcher() {
        for (filter, name, expected) in CASES {
            let mut trie = Trie::default();
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
        let mut trie = Trie::default();
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
