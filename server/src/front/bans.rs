//! Who is refused for a while, whatever else would let them in, and whatever they speak.
//!
//! Owns the list, in the order of who it is about; each shard has its own, at its hub. Must not know who puts somebody on it, nor what a refusal looks like.
//! Start at [`Bans`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use hub::{Millis, Page};

use crate::state::SavedBan;

/// Whom a ban is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Banned {
    /// The client of this name; known to the home of its session.
    Client(Arc<str>),
    /// Every client of this user; known to all shards, as are addresses.
    User(Arc<str>),
    /// Every client that connects from there.
    Address(IpAddr),
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom.
    pub of: Banned,
    /// `None` = until it is lifted.
    pub until: Option<Millis>,
    /// For people.
    pub reason: Option<Arc<str>>,
}

/// The bans that one shard knows.
#[derive(Debug, Default)]
pub struct Bans {
    list: BTreeMap<Banned, Terms>,
}

#[derive(Debug)]
struct Terms {
    until: Option<Millis>,
    reason: Option<Arc<str>>,
}

impl Terms {
    fn hold(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl Bans {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Adds or changes one; `false`: there are too many.
    pub(crate) fn add(&mut self, now: Millis, ban: Ban, most: usize) -> bool {
        if self.list.len() >= most {
            self.list.retain(|_, terms| terms.hold(now));
        }
        if self.list.len() >= most && !self.list.contains_key(&ban.of) {
            return false;
        }
        self.list.insert(ban.of, Terms { until: ban.until, reason: ban.reason });
        true
    }

    /// Whether there was one.
    pub(crate) fn lift(&mut self, now: Millis, of: &Banned) -> bool {
        self.list.remove(of).is_some_and(|terms| terms.hold(now))
    }

    /// Whether somebody is banned. A ban that is over goes.
    pub(crate) fn bar(&mut self, now: Millis, of: &Banned) -> bool {
        let Some(terms) = self.list.get(of) else { return false };
        let holds = terms.hold(now);
        if !holds {
            self.list.remove(of);
        }
        holds
    }

    /// Whether a user is kept out.
    pub(crate) fn bar_user(&mut self, now: Millis, user: Option<&Arc<str>>) -> bool {
        !self.is_empty() && user.is_some_and(|user| self.bar(now, &Banned::User(Arc::clone(user))))
    }

    /// One that holds.
    pub(crate) fn find(&self, now: Millis, of: Banned) -> Option<Ban> {
        let terms = self.list.get(&of).filter(|terms| terms.hold(now))?;
        Some(Ban { until: terms.until, reason: terms.reason.clone(), of })
    }

    pub(crate) fn page(&self, now: Millis, after: Option<&Banned>, limit: usize) -> Page<Ban> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut holding = self.list.range((start, Bound::Unbounded)).filter(|(_, terms)| terms.hold(now));
        let ban = |(of, terms): (&Banned, &Terms)| Ban {
            of: of.clone(),
            until: terms.until,
            reason: terms.reason.clone(),
        };
        let items = holding.by_ref().take(limit).map(ban).collect();
        Page { items, more: holding.next().is_some() }
    }

    /// All that hold, as the next process goes on with them.
    pub(crate) fn saved(&self, now: Millis) -> Vec<SavedBan> {
        let left_ms = |until: Millis| until.0.saturating_sub(now.0);
        let saved = |ban: Ban| SavedBan { of: ban.of, left_ms: ban.until.map(left_ms), reason: ban.reason };
        self.page(now, None, usize::MAX).items.into_iter().map(saved).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Banned {
        Banned::Client(Arc::from(name))
    }

    fn ban(of: Banned, until: Option<u64>) -> Ban {
        Ban { of, until: until.map(Millis), reason: None }
    }

    #[test]
    fn a_ban_holds_until_it_is_over_or_lifted() {
        let mut bans = Bans::default();
        assert!(bans.add(Millis(0), ban(client("a"), Some(10)), 9));
        assert!(bans.add(Millis(0), ban(Banned::User(Arc::from("a")), None), 9));
        assert!(bans.bar(Millis(9), &client("a")) && !bans.bar(Millis(9), &client("b")));
        assert!(!bans.bar(Millis(10), &client("a")));
        assert!(bans.lift(Millis(10), &Banned::User(Arc::from("a"))));
        assert!(!bans.lift(Millis(10), &Banned::User(Arc::from("a"))) && bans.is_empty());
    }

    #[test]
    fn when_it_is_full_what_is_over_makes_place() {
        let mut bans = Bans::default();
        assert!(bans.add(Millis(0), ban(client("a"), Some(10)), 1));
        assert!(!bans.add(Millis(9), ban(client("b"), None), 1));
        assert!(bans.add(Millis(9), ban(client("a"), Some(11)), 1), "a change needs no place");
        assert!(bans.add(Millis(11), ban(client("b"), None), 1));
    }

    #[test]
    fn pages_go_on_behind_the_last_one() {
        let mut bans = Bans::default();
        for name in ["c", "a", "b"] {
            bans.add(Millis(0), ban(client(name), None), 9);
        }
        bans.add(Millis(0), ban(client("gone"), Some(1)), 9);
        let page = bans.page(Millis(1), None, 2);
        assert_eq!((page.items.len(), page.more), (2, true));
        let last = page.items.last().map(|ban| ban.of.clone());
        let page = bans.page(Millis(1), last.as_ref(), 2);
        assert_eq!((page.items, page.more), (vec![ban(client("c"), None)], false));
    }
}
