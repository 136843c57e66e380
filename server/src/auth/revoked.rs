//! Tokens that are good no more, by their `jti`.
//!
//! Owns the list, which every door looks at without a lock and the back office changes. It is cut into parts by a sum over the
//! id, so that a change copies one of them and not all. Must not know who revokes, nor what becomes of sessions. Start at [`Revoked`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::UnixMs;

/// Parts of the list.
const PARTS: usize = 64;

type Part = BTreeMap<Arc<str>, Option<UnixMs>>;

/// The tokens of a node that are revoked.
#[derive(Debug)]
pub struct Revoked {
    parts: Vec<ArcSwap<Part>>,
    /// One change at a time.
    changing: Mutex<()>,
}

/// One that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// `jti`.
    pub id: Arc<str>,
    /// `None` = until it is lifted.
    pub until: Option<UnixMs>,
}

impl Revocation {
    fn holds(until: Option<UnixMs>, now: UnixMs) -> bool {
        until.is_none_or(|until| until > now)
    }
}

impl Default for Revoked {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| ArcSwap::default()).collect(), changing: Mutex::default() }
    }
}

impl Revoked {
    /// Whether a token is.
    pub(super) fn has(&self, id: &str, now: UnixMs) -> bool {
        self.part(id).is_some_and(|part| {
            let part = part.load();
            part.get(id).is_some_and(|until| Revocation::holds(*until, now))
        })
    }

    /// Adds or changes one; `false`: there are `most` already.
    pub(crate) fn add(&self, now: UnixMs, revocation: Revocation, most: usize) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Revocation { id, until } = revocation;
        let is_new = |own: &ArcSwap<Part>| !own.load().contains_key(&id);
        if self.count() >= most && self.part(&id).is_some_and(is_new) {
            self.parts.iter().for_each(|part| without_what_is_over(part, now));
            if self.count() >= most {
                return false;
            }
        }
        self.change(&id, |part| part.insert(Arc::clone(&id), until));
        true
    }

    /// Whether there was one.
    pub(crate) fn lift(&self, now: UnixMs, id: &str) -> bool {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(id, |part| part.remove(id)).flatten().is_some_and(|until| Revocation::holds(until, now))
    }

    /// One that holds.
    pub(crate) fn find(&self, now: UnixMs, id: &str) -> Option<Revocation> {
        let part = self.part(id)?.load();
        let (id, until) = part.get_key_value(id).filter(|(_, until)| Revocation::holds(**until, now))?;
        Some(Revocation { id: Arc::clone(id), until: *until })
    }

    /// Those behind this one, at most so many, in an order that stays; and whether there are more.
    pub(crate) fn page(&self, now: UnixMs, after: Option<&str>, limit: usize) -> (Vec<Revocation>, bool) {
        let mut found = Vec::new();
        let first = after.map_or(0, place);
        for (at, part) in self.parts.iter().enumerate().skip(first) {
            let part = part.load();
            let start = after.filter(|_| at == first).map_or(Bound::Unbounded, Bound::Excluded);
            let behind = part.range::<str, _>((start, Bound::Unbounded));
            for (id, until) in behind.filter(|(_, until)| Revocation::holds(**until, now)) {
                if found.len() == limit {
                    return (found, true);
                }
                found.push(Revocation { id: Arc::clone(id), until: *until });
            }
        }
        (found, false)
    }

    fn part(&self, id: &str) -> Option<&ArcSwap<Part>> {
        self.parts.get(place(id))
    }

    fn count(&self) -> usize {
        self.parts.iter().map(|part| part.load().len()).sum()
    }

    /// `None` never comes: there is a part for every id.
    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Part) -> T) -> Option<T> {
        let own = self.part(id)?;
        let mut part = Part::clone(&own.load());
        let changed = change(&mut part);
        own.store(Arc::new(part));
        Some(changed)
    }
}

fn without_what_is_over(own: &ArcSwap<Part>, now: UnixMs) {
    let part = own.load();
    if part.values().any(|until| !Revocation::holds(*until, now)) {
        let holding = part.iter().filter(|(_, until)| Revocation::holds(**until, now));
        own.store(Arc::new(holding.map(|(id, until)| (Arc::clone(id), *until)).collect()));
    }
}

/// The part of an id: FNV-1a, which is the same in every process, so that lists go on where they were.
fn place(id: &str) -> usize {
    let sum = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (sum % PARTS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, until: Option<u64>) -> Revocation {
        Revocation { id: id.into(), until: until.map(UnixMs) }
    }

    #[test]
    fn a_revocation_holds_until_it_is_over_or_lifted() {
        let revoked = Revoked::default();
        assert!(revoked.add(UnixMs(0), of("a", Some(10)), 9) && revoked.add(UnixMs(0), of("b", None), 9));
        assert!(revoked.has("a", UnixMs(9)) && !revoked.has("a", UnixMs(10)) && !revoked.has("c", UnixMs(0)));
        assert_eq!(revoked.find(UnixMs(9), "a"), Some(of("a", Some(10))));
        assert_eq!(revoked.find(UnixMs(10), "a"), None);
        assert!(revoked.lift(UnixMs(10), "b") && !revoked.lift(UnixMs(10), "b"));
        assert!(!revoked.lift(UnixMs(10), "a") && !revoked.has("b", UnixMs(0)));
    }

    #[test]
    fn when_it_is_full_what_is_over_makes_place() {
        let revoked = Revoked::default();
        assert!(revoked.add(UnixMs(0), of("a", Some(10)), 1));
        assert!(!revoked.add(UnixMs(9), of("b", None), 1));
        assert!(revoked.add(UnixMs(9), of("a", Some(11)), 1), "a change needs no place");
        assert!(revoked.add(UnixMs(11), of("b", None), 1) && revoked.has("b", UnixMs(11)));
    }

    #[test]
    fn pages_have_each_one_once() {
        let revoked = Revoked::default();
        for number in 0..300 {
            assert!(revoked.add(UnixMs(0), of(&format!("t{number}"), (number % 3 == 0).then_some(1)), 300));
        }
        let (mut all, mut after) = (Vec::new(), None::<Arc<str>>);
        loop {
            let (items, more) = revoked.page(UnixMs(1), after.as_deref(), 7);
            after = items.last().map(|last| Arc::clone(&last.id));
            all.extend(items.into_iter().map(|item| item.id));
            if !more {
                break;
            }
        }
        assert_eq!(all.len(), 200);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 200);
    }
}
