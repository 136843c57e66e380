//! What users are subscribed to from the start of every session, kept at each user's home: the hub of the partition of
//! `$user/<id>`.
//!
//! Owns the form in memory, since it decides the memory per user: one allocation of the user's name and its list, and 24 bytes
//! in a table per partition, so that no table is so large that its growth is felt. One record per user in the log. Must not
//! know sessions: what a change means to them is `arrival`'s business. Start at [`StoredUsers`].

use crate::effect::Refusal;
use crate::ids::{Partition, Topology};
use crate::limits::StoredLimits;
use crate::message::Quality;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;
use std::sync::Arc;

/// A change of what a user is subscribed to from the start of every session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserChange {
    /// Whose.
    pub user: Arc<str>,
    /// What is done.
    pub deed: UserDeed,
    /// Channel names and filters; when they are removed the quality means nothing.
    pub subscriptions: Vec<(Box<str>, Quality)>,
}

/// What is done with the subscriptions of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserDeed {
    /// They are there from now on, with this quality.
    Add,
    /// They are not.
    Remove,
    /// There are no others.
    Replace,
    /// There are no others but those of the same import, whose number this is; not 0.
    Import(u32),
}

/// Channels and filters with the quality of each, as bytes: per item the length of the name, times four, plus the quality, as
/// a LEB128 number; then the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredList(Box<[u8]>);

impl StoredList {
    /// Of items whose names are all different.
    #[must_use]
    pub fn of<'a>(items: impl Iterator<Item = (&'a str, Quality)>) -> Self {
        let mut bytes = Vec::new();
        items.for_each(|(name, quality)| put_item(&mut bytes, name, quality));
        Self(bytes.into_boxed_slice())
    }

    /// As it was written; what does not read well ends it.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Box::from(bytes))
    }

    /// To be written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quality)> {
        items(&self.0)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What changed for a user's sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredChange {
    /// They are subscribed to these.
    pub joined: StoredList,
    /// And to these no longer.
    pub left: StoredList,
}

/// All users of a hub.
#[derive(Debug)]
pub(crate) struct StoredUsers {
    /// By partition, those of this hub in their order.
    tables: Vec<HashTable<Entry>>,
    hasher: FixedState,
    topology: Topology,
    users: u32,
    subscriptions: u64,
    bytes: u64,
}

/// A user: the length of the name and the last import, each as a LEB128 number, the name, then the list.
#[derive(Debug)]
struct Entry {
    blob: Box<[u8]>,
    /// Of its record; 0 = none.
    record: u64,
}

/// What follows from a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The number of the record that is void, and what stands in its place; `None` if nothing differs.
    pub(crate) rewritten: Option<(u64, StoredList)>,
    /// For the sessions: all that the change names, also if it is so already. What an earlier one did not reach is mended.
    pub(crate) change: StoredChange,
    /// Subscriptions that are new, different or gone.
    pub(crate) count: u64,
}

impl Entry {
    fn of(user: &str, import: u32, list: &[u8]) -> Self {
        let mut blob = Vec::with_capacity(user.len() + list.len() + 6);
        put_number(&mut blob, user.len());
        put_number(&mut blob, import as usize);
        blob.extend_from_slice(user.as_bytes());
        blob.extend_from_slice(list);
        Self { blob: blob.into_boxed_slice(), record: 0 }
    }

    fn parts(&self) -> (&[u8], u32, &[u8]) {
        let read = || {
            let (len, rest) = take_number(&self.blob)?;
            let (import, rest) = take_number(rest)?;
            let (user, list) = rest.split_at_checked(len)?;
            Some((user, u32::try_from(import).ok()?, list))
        };
        read().expect("made by `Entry::of`")
    }

    fn user(&self) -> &[u8] {
        self.parts().0
    }

    fn list(&self) -> &[u8] {
        self.parts().2
    }
}

impl StoredUsers {
    /// `seed` makes the order in the tables unguessable to those who choose names.
    pub(crate) fn new(topology: Topology, seed: u64) -> Self {
        let count = topology.partitions.div_ceil(u16::from(topology.shards.max(1)));
        let tables = (0..count).map(|_| HashTable::new()).collect();
        let hasher = FixedState::with_seed(seed);
        Self { tables, hasher, topology, users: 0, subscriptions: 0, bytes: 0 }
    }

    /// Users of whom something is stored, their subscriptions, and the bytes of both.
    pub(crate) fn totals(&self) -> (u32, u64, u64) {
        (self.users, self.subscriptions, self.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.users == 0
    }

    fn table(&self, partition: Partition) -> usize {
        usize::from(partition.0 / u16::from(self.topology.shards.max(1)))
    }

    fn find(&self, partition: Partition, user: &str) -> Option<&Entry> {
        let table = self.tables.get(self.table(partition))?;
        table.find(self.hasher.hash_one(user.as_bytes()), |entry| entry.user() == user.as_bytes())
    }

    /// What a user whose home is in this partition is subscribed to.
    pub(crate) fn list(&self, partition: Partition, user: &str) -> StoredList {
        self.find(partition, user)
            .map_or_else(StoredList::default, |entry| StoredList::of_bytes(entry.list()))
    }

    /// Makes a change. The number of the new record follows by [`StoredUsers::note_record`].
    pub(crate) fn change(
        &mut self,
        partition: Partition,
        change: &UserChange,
        limits: &StoredLimits,
    ) -> Result<Changed, Refusal> {
        let (before, old, import) = match self.find(partition, &change.user) {
            Some(entry) => (StoredList::of_bytes(entry.list()), entry.record, entry.parts().1),
            None => (StoredList::default(), 0, 0),
        };
        let (after, import) = changed(&before, import, change);
        if after.len() > limits.per_user_max as usize {
            return Err(Refusal::OverLimit);
        }
        let is_full = old == 0 && before.is_empty() && self.users >= limits.users_max;
        let list = StoredList::of(after.iter().copied());
        let grows = list.0.len() > before.0.len();
        let bytes = self.bytes + (list.0.len() + change.user.len()) as u64;
        if !list.is_empty() && (is_full || (grows && bytes > limits.bytes_max)) {
            return Err(Refusal::OverLimit);
        }
        let Difference { mut left, count } = Difference::between(&before, &after);
        let named = change.subscriptions.iter().map(|(name, quality)| (&**name, *quality));
        let mut names: Vec<&str> = named.clone().map(|(name, _)| name).collect();
        names.sort_unstable();
        let is_named = |item: &(&str, Quality)| names.binary_search(&item.0).is_ok();
        let mut joined = StoredList::of(after.iter().copied().filter(is_named));
        if change.deed == UserDeed::Remove {
            (joined, left) = (StoredList::default(), StoredList::of(named));
        }
        if count > 0 || import > 0 {
            self.put(partition, &change.user, import, &list);
        }
        let rewritten = (count > 0).then_some((old, list));
        Ok(Changed { rewritten, change: StoredChange { joined, left }, count })
    }

    /// Of a user that has a list.
    pub(crate) fn note_record(&mut self, partition: Partition, user: &str, record: u64) {
        let hash = self.hasher.hash_one(user.as_bytes());
        let at = self.table(partition);
        let table = self.tables.get_mut(at);
        let entry = table.and_then(|table| table.find_mut(hash, |entry| entry.user() == user.as_bytes()));
        entry.into_iter().for_each(|entry| entry.record = record);
    }

    /// Takes in a record of an earlier hub; gives the number of the one that it takes the place of.
    pub(crate) fn recall(
        &mut self,
        (partition, number): (Partition, u64),
        user: &str,
        list: &StoredList,
    ) -> u64 {
        let old = self.find(partition, user).map_or(0, |entry| entry.record);
        self.put(partition, user, 0, list);
        self.note_record(partition, user, number);
        old
    }

    /// Puts a list in the place of what was there; an empty one is none.
    fn put(&mut self, partition: Partition, user: &str, import: u32, list: &StoredList) {
        let (at, hash) = (self.table(partition), self.hasher.hash_one(user.as_bytes()));
        let Some(table) = self.tables.get_mut(at) else { return };
        let (mut users, mut subscriptions, mut bytes) = (self.users, self.subscriptions, self.bytes);
        let mut record = 0;
        if let Ok(found) = table.find_entry(hash, |entry| entry.user() == user.as_bytes()) {
            let (entry, _) = found.remove();
            record = entry.record;
            users -= 1;
            subscriptions -= items(entry.list()).count() as u64;
            bytes -= entry.blob.len() as u64;
        }
        if !list.is_empty() {
            let entry = Entry { record, ..Entry::of(user, import, &list.0) };
            users += 1;
            subscriptions += items(&list.0).count() as u64;
            bytes += entry.blob.len() as u64;
            let hasher = &self.hasher;
            table.insert_unique(hash, entry, |entry| hasher.hash_one(entry.user()));
        } else if table.capacity() > 64 && table.len() < table.capacity() / 8 {
            let (len, hasher) = (table.len() * 2, &self.hasher);
            table.shrink_to(len, |entry| hasher.hash_one(entry.user()));
        }
        (self.users, self.subscriptions, self.bytes) = (users, subscriptions, bytes);
    }
}

/// The list after a change, and the import that it is of.
fn changed<'a>(
    before: &'a StoredList,
    import: u32,
    change: &'a UserChange,
) -> (Vec<(&'a str, Quality)>, u32) {
    let mut list: Vec<(&str, Quality)> = match change.deed {
        UserDeed::Add | UserDeed::Remove => before.iter().collect(),
        UserDeed::Replace => Vec::new(),
        UserDeed::Import(number) if number == import => before.iter().collect(),
        UserDeed::Import(_) => Vec::new(),
    };
    for (name, quality) in &change.subscriptions {
        let at = list.iter().position(|(known, _)| *known == &**name);
        match (at, change.deed) {
            (Some(at), UserDeed::Remove) => drop(list.remove(at)),
            (None, UserDeed::Remove) => {}
            (Some(at), _) => list.iter_mut().skip(at).take(1).for_each(|item| item.1 = *quality),
            (None, _) => list.push((name, *quality)),
        }
    }
    let import = match change.deed {
        UserDeed::Import(number) => number,
        _ => import,
    };
    (list, import)
}

/// What one list has and the other has not: what is gone, and how many in all.
struct Difference {
    left: StoredList,
    count: u64,
}

impl Difference {
    fn between(before: &StoredList, after: &[(&str, Quality)]) -> Self {
        let old: Vec<(&str, Quality)> = before.iter().collect();
        let mut by_name = old.clone();
        by_name.sort_unstable();
        let is_old = |item: &(&str, Quality)| by_name.binary_search(item).is_ok();
        let mut new_names: Vec<&str> = after.iter().map(|(name, _)| *name).collect();
        new_names.sort_unstable();
        let is_gone = |item: &&(&str, Quality)| new_names.binary_search(&item.0).is_err();
        let joined = after.iter().filter(|item| !is_old(item)).count();
        let left: Vec<_> = old.iter().filter(is_gone).copied().collect();
        let count = (joined + left.len()) as u64;
        Self { left: StoredList::of(left.into_iter()), count }
    }
}

fn put_item(out: &mut Vec<u8>, name: &str, quality: Quality) {
    put_number(out, name.len() << 2 | quality as usize);
    out.extend_from_slice(name.as_bytes());
}

/// Ends where something does not read well.
fn items(mut bytes: &[u8]) -> impl Iterator<Item = (&str, Quality)> {
    std::iter::from_fn(move || {
        let (head, rest) = take_number(bytes)?;
        let (name, rest) = rest.split_at_checked(head >> 2)?;
        let quality = match head & 3 {
            0 => Quality::AtMostOnce,
            1 => Quality::AtLeastOnce,
            2 => Quality::ExactlyOnce,
            _ => return None,
        };
        bytes = rest;
        Some((str::from_utf8(name).ok()?, quality))
    })
}

/// LEB128.
fn put_number(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use Quality::{AtLeastOnce, AtMostOnce, ExactlyOnce};

    const P: Partition = Partition(0);

    fn limits() -> StoredLimits {
        StoredLimits { per_user_max: 3, users_max: 2, bytes_max: 100 }
    }

    fn change(user: &str, deed: UserDeed, names: &[(&str, Quality)]) -> UserChange {
        let subscriptions = names.iter().map(|(name, quality)| (Box::from(*name), *quality)).collect();
        UserChange { user: user.into(), deed, subscriptions }
    }

    fn list(users: &StoredUsers, user: &str) -> Vec<(String, Quality)> {
        users.list(P, user).iter().map(|(name, quality)| (name.to_owned(), quality)).collect()
    }

    #[test]
    fn a_list_reads_as_it_was_written_and_damage_ends_it() {
        let long = "x".repeat(2048);
        let items = [("a", AtMostOnce), (long.as_str(), ExactlyOnce), ("", AtLeastOnce)];
        let made = StoredList::of(items.into_iter());
        assert_eq!(made.iter().collect::<Vec<_>>(), items);
        let cut = StoredList::of_bytes(&made.as_bytes()[..20]);
        assert_eq!(cut.iter().collect::<Vec<_>>(), items[..1]);
        for bad in [&[0x80_u8][..], &[0xff; 9], &[7, b'a'], &[4, 0xff]] {
            assert_eq!(StoredList::of_bytes(bad).iter().count(), 0, "{bad:?}");
        }
    }

    #[test]
    fn changes_say_what_differs() {
        let mut users = StoredUsers::new(Topology { shards: 1, partitions: 2 }, 1);
        let limits = limits();
        let add = change("bob", UserDeed::Add, &[("a", AtLeastOnce), ("b", AtMostOnce)]);
        let made = users.change(P, &add, &limits).unwrap();
        let (old, list) = made.rewritten.unwrap();
        assert_eq!((old, made.count, list.iter().count()), (0, 2, 2));
        users.note_record(P, "bob", 7);
        let again = users.change(P, &add, &limits).unwrap();
        assert_eq!((again.rewritten, again.count, again.change.left.is_empty()), (None, 0, true));
        assert_eq!(again.change.joined.iter().count(), 2, "for whoever missed it");
        let raise = change("bob", UserDeed::Add, &[("b", AtLeastOnce)]);
        let made = users.change(P, &raise, &limits).unwrap();
        assert_eq!((made.rewritten.unwrap().0, made.count, made.change.left.is_empty()), (7, 1, true));
        let replace = change("bob", UserDeed::Replace, &[("c", AtMostOnce), ("a", AtLeastOnce)]);
        let made = users.change(P, &replace, &limits).unwrap();
        assert_eq!(made.change.joined.iter().collect::<Vec<_>>(), [("c", AtMostOnce), ("a", AtLeastOnce)]);
        assert_eq!(made.change.left.iter().collect::<Vec<_>>(), [("b", AtLeastOnce)]);
        assert_eq!(users.totals().1, 2);
        let remove =
            change("bob", UserDeed::Remove, &[("c", AtMostOnce), ("a", AtMostOnce), ("z", AtMostOnce)]);
        let made = users.change(P, &remove, &limits).unwrap();
        assert!(made.count == 2 && made.rewritten.unwrap().1.is_empty());
        assert_eq!(made.change.left.iter().count(), 3);
        assert!(users.is_empty() && users.totals() == (0, 0, 0));
    }

    #[test]
    fn an_import_replaces_what_was_before_it_only() {
        let mut users = StoredUsers::new(Topology { shards: 1, partitions: 1 }, 1);
        let limits = limits();
        users.change(P, &change("bob", UserDeed::Add, &[("old", AtMostOnce)]), &limits).unwrap();
        users.change(P, &change("bob", UserDeed::Import(300), &[("a", AtMostOnce)]), &limits).unwrap();
        users.change(P, &change("bob", UserDeed::Import(300), &[("b", AtMostOnce)]), &limits).unwrap();
        assert_eq!(list(&users, "bob"), [("a".to_owned(), AtMostOnce), ("b".to_owned(), AtMostOnce)]);
        users.change(P, &change("bob", UserDeed::Import(301), &[("a", AtMostOnce)]), &limits).unwrap();
        assert_eq!(list(&users, "bob"), [("a".to_owned(), AtMostOnce)]);
    }

    #[test]
    fn limits_refuse_and_leave_what_was() {
        let mut users = StoredUsers::new(Topology { shards: 1, partitions: 1 }, 1);
        let limits = limits();
        let names = [("a", AtMostOnce), ("b", AtMostOnce), ("c", AtMostOnce), ("d", AtMostOnce)];
        assert_eq!(users.change(P, &change("bob", UserDeed::Add, &names), &limits), Err(Refusal::OverLimit));
        for user in ["bob", "eve"] {
            users.change(P, &change(user, UserDeed::Add, &names[..3]), &limits).unwrap();
        }
        assert_eq!(
            users.change(P, &change("joe", UserDeed::Add, &names[..1]), &limits),
            Err(Refusal::OverLimit)
        );
        let long = "x".repeat(100);
        let large = change("bob", UserDeed::Replace, &[(&long, AtMostOnce)]);
        assert_eq!(users.change(P, &large, &limits), Err(Refusal::OverLimit));
        assert_eq!(list(&users, "bob").len(), 3);
        users.change(P, &change("bob", UserDeed::Replace, &[]), &limits).unwrap();
        assert!(users.change(P, &change("joe", UserDeed::Add, &names[..1]), &limits).unwrap().count == 1);
    }

    #[test]
    fn an_entry_is_three_words() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}
