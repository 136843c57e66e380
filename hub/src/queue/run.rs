//! A list of things in the order of their numbers, such as the offsets of waiting messages: cheap for the one that is
//! appended at the end and taken from the front, and still logarithmic for any other.
//!
//! A few things are kept in place, more of them in chunks that are full where things only come at the end: a thing costs
//! its own size and little more. It knows nothing of what its things mean.

use smallvec::SmallVec;
use std::collections::BTreeMap;

/// Things in one chunk at most.
const CHUNK: usize = 64;

/// Has a number that is unique within its list and never changes.
pub(crate) trait Numbered {
    fn number(&self) -> u64;
}

impl Numbered for u64 {
    fn number(&self) -> u64 {
        *self
    }
}

/// Things in the order of their numbers.
#[derive(Debug)]
pub(crate) enum Run<T> {
    Few(SmallVec<[T; 2]>),
    Many(Box<Chunks<T>>),
}

/// Each chunk under a number that is not above those of its things and above those of the chunk before it.
#[derive(Debug)]
pub(crate) struct Chunks<T> {
    map: BTreeMap<u64, Vec<T>>,
    len: usize,
}

impl<T> Default for Run<T> {
    fn default() -> Self {
        Self::Few(SmallVec::new())
    }
}

impl<T: Numbered> Run<T> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len,
        }
    }

    pub(crate) fn first(&self) -> Option<&T> {
        match self {
            Self::Few(few) => few.first(),
            Self::Many(many) => many.map.first_key_value()?.1.first(),
        }
    }

    pub(crate) fn find(&self, number: u64) -> Option<&T> {
        match self {
            Self::Few(few) => few.get(place(few, number).ok()?),
            Self::Many(many) => {
                let (_, chunk) = many.map.range(..=number).next_back()?;
                chunk.get(place(chunk, number).ok()?)
            }
        }
    }

    pub(crate) fn find_mut(&mut self, number: u64) -> Option<&mut T> {
        match self {
            Self::Few(few) => {
                let at = place(few, number).ok()?;
                few.get_mut(at)
            }
            Self::Many(many) => {
                let (_, chunk) = many.map.range_mut(..=number).next_back()?;
                let at = place(chunk, number).ok()?;
                chunk.get_mut(at)
            }
        }
    }

    /// A thing of that number replaces an earlier one.
    pub(crate) fn insert(&mut self, thing: T) {
        match self {
            Self::Few(few) => match place(few, thing.number()) {
                Ok(at) => replace(few, at, thing),
                Err(at) => {
                    few.insert(at, thing);
                    self.spread();
                }
            },
            Self::Many(many) => many.insert(thing),
        }
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        match self {
            Self::Few(few) => {
                let at = place(few, number).ok()?;
                let thing = few.remove(at);
                if few.is_empty() && few.spilled() {
                    *few = SmallVec::new();
                }
                Some(thing)
            }
            Self::Many(many) => {
                let thing = many.remove(number)?;
                if many.len <= CHUNK / 4 {
                    let few = std::mem::take(&mut many.map).into_values().flatten().collect();
                    *self = Self::Few(few);
                }
                Some(thing)
            }
        }
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let number = self.first()?.number();
        self.remove(number)
    }

    /// In order, those with a number above `after`.
    pub(crate) fn iter_after(&self, after: u64) -> impl Iterator<Item = &T> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter()), None),
            Self::Many(many) => {
                let from = many.map.range(..=after).next_back().map_or(after, |(key, _)| *key);
                (None, Some(many.map.range(from..).flat_map(|(_, chunk)| chunk.iter())))
            }
        };
        let all = few.into_iter().flatten().chain(many.into_iter().flatten());
        all.skip_while(move |thing| thing.number() <= after)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter()), None),
            Self::Many(many) => (None, Some(many.map.values().flatten())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let (few, many) = match self {
            Self::Few(few) => (Some(few.iter_mut()), None),
            Self::Many(many) => (None, Some(many.map.values_mut().flatten())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }

    /// From one list in place to chunks.
    fn spread(&mut self) {
        let Self::Few(few) = self else { return };
        if few.len() <= CHUNK {
            return;
        }
        let mut many = Chunks { map: BTreeMap::new(), len: 0 };
        few.drain(..).for_each(|thing| many.insert(thing));
        *self = Self::Many(Box::new(many));
    }
}

/// Where a number stands in an ordered slice, or where it would.
fn place<T: Numbered>(things: &[T], number: u64) -> Result<usize, usize> {
    match things.last() {
        Some(last) if last.number() < number => Err(things.len()),
        _ => things.binary_search_by_key(&number, Numbered::number),
    }
}

fn replace<T>(things: &mut [T], at: usize, thing: T) {
    if let Some(old) = things.get_mut(at) {
        *old = thing;
    }
}

impl<T: Numbered> Chunks<T> {
    fn insert(&mut self, thing: T) {
        let number = thing.number();
        let Some((key, chunk)) = self.map.range_mut(..=number).next_back() else {
            return self.insert_first(thing);
        };
        match place(chunk, number) {
            Ok(at) => replace(chunk, at, thing),
            Err(at) if chunk.len() < CHUNK => {
                chunk.insert(at, thing);
                self.len += 1;
            }
            Err(CHUNK) => {
                let key = *key;
                self.append_behind(key, thing);
            }
            Err(_) => {
                let upper = chunk.split_off(CHUNK / 2);
                if let Some(first) = upper.first().map(Numbered::number) {
                    self.map.insert(first, upper);
                }
                self.insert(thing);
            }
        }
    }

    /// A number below all: into the first chunk, unless that is full.
    fn insert_first(&mut self, thing: T) {
        self.len += 1;
        let number = thing.number();
        let mut chunk = match self.map.first_entry() {
            Some(first) if first.get().len() < CHUNK => first.remove(),
            Some(_) | None => Vec::new(),
        };
        chunk.insert(0, thing);
        self.map.insert(number, chunk);
    }

    /// Behind the last thing of a full chunk: into the next one where that has place, so that chunks stay full.
    fn append_behind(&mut self, key: u64, thing: T) {
        self.len += 1;
        let number = thing.number();
        let next = self.map.range(key + 1..).next().map(|(key, chunk)| (*key, chunk.len()));
        let mut chunk = match next {
            Some((key, len)) if len < CHUNK => self.map.remove(&key).unwrap_or_default(),
            // The last one will be filled.
            None => Vec::with_capacity(CHUNK),
            Some(_) => Vec::new(),
        };
        chunk.insert(0, thing);
        self.map.insert(number, chunk);
    }

    fn remove(&mut self, number: u64) -> Option<T> {
        let (key, chunk) = self.map.range_mut(..=number).next_back()?;
        let key = *key;
        let thing = chunk.remove(place(chunk, number).ok()?);
        self.len -= 1;
        if chunk.len() * 4 <= CHUNK {
            self.merge(key);
        }
        Some(thing)
    }

    /// A chunk that has become small takes in its successor or makes its memory fit.
    fn merge(&mut self, key: u64) {
        let next = self.map.range(key + 1..).next().map(|(key, chunk)| (*key, chunk.len()));
        let Some(chunk) = self.map.get_mut(&key) else { return };
        if chunk.is_empty() {
            self.map.remove(&key);
            return;
        }
        if let Some((next, _)) = next.filter(|(_, len)| len + chunk.len() <= CHUNK) {
            let upper = self.map.remove(&next).unwrap_or_default();
            if let Some(chunk) = self.map.get_mut(&key) {
                chunk.extend(upper);
            }
            return;
        }
        // Behind the last chunk things are appended.
        if next.is_some() && chunk.capacity() > chunk.len() * 4 {
            chunk.shrink_to(chunk.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from a fixed generator, inserted and removed, against the standard library's set.
    #[test]
    fn agrees_with_a_set() {
        let (mut run, mut set) = (Run::default(), std::collections::BTreeSet::new());
        let mut state = 1_u64;
        for step in 0..200_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = (state >> 33) % 3000;
            // Grows, shrinks to nothing, and grows again.
            let grows = (step / 20_000) % 2 == 0;
            if (state >> 60) % 8 < if grows { 5 } else { 2 } {
                run.insert(number);
                set.insert(number);
            } else if (state >> 60) % 2 == 0 {
                assert_eq!(run.pop_first(), set.pop_first());
            } else {
                assert_eq!(run.remove(number).is_some(), set.remove(&number));
            }
            assert_eq!((run.len(), run.first()), (set.len(), set.first()));
            assert_eq!(run.find(number).is_some(), set.contains(&number));
            if step % 500 == 0 {
                assert!(run.iter().eq(set.iter()));
                assert!(run.iter_after(number).eq(set.range(number + 1..)));
            }
        }
    }

    #[test]
    fn what_comes_at_the_end_fills_chunks() {
        let mut run = Run::default();
        (0..64_000_u64).for_each(|number| run.insert(number));
        let Run::Many(many) = &run else { panic!("{run:?}") };
        assert_eq!(many.map.len(), 1000);
        assert!(many.map.values().all(|chunk| chunk.capacity() == CHUNK));
    }

    #[test]
    fn every_tenth_thing_that_stays_holds_no_memory_for_the_others() {
        let mut run = Run::default();
        (0..64_000_u64).for_each(|number| run.insert(number));
        (0..64_000_u64).filter(|number| number % 10 != 0).for_each(|number| _ = run.remove(number));
        let Run::Many(many) = &run else { panic!("{run:?}") };
        let held: usize = many.map.values().map(Vec::capacity).sum();
        assert!(held <= 4 * run.len(), "{held} places for {} things", run.len());
    }
}
