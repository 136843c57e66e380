//! Which numbers a client has not received, though it received higher ones.
//!
//! Must not know messages. Empty, and without memory, while everything comes in order. Start at [`Gaps`].

use std::ops::Range;

/// Ranges in rising order, none empty, none touching another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps(Vec<Range<u32>>);

impl Gaps {
    /// The numbers were left out; they lie above all that were left out before.
    pub(super) fn skip(&mut self, numbers: Range<u32>) {
        if !numbers.is_empty() {
            self.0.push(numbers);
        }
    }

    /// The number has come after all; false if it was not missing.
    pub(super) fn fill(&mut self, number: u32) -> bool {
        let at = self.0.partition_point(|gap| gap.end <= number);
        let Some(gap) = self.0.get_mut(at).filter(|gap| gap.contains(&number)) else { return false };
        let above = number + 1..gap.end;
        gap.end = number;
        if !above.is_empty() {
            self.0.insert(at + 1, above);
        }
        self.0.retain(|gap| !gap.is_empty());
        true
    }

    /// Whether the number is missing.
    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.iter().any(|gap| gap.contains(&number))
    }

    /// How many are missing.
    pub(super) fn len(&self) -> u64 {
        self.0.iter().map(|gap| gap.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn gaps_agree_with_a_set() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut gaps, mut set, mut next) = (Gaps::default(), BTreeSet::new(), 0);
            for _ in 0..100 {
                if rng.bool() {
                    let skipped = next..next + rng.u32(0..5);
                    next = skipped.end + 1;
                    set.extend(skipped.clone());
                    gaps.skip(skipped);
                } else {
                    let number = rng.u32(0..next + 2);
                    assert_eq!(gaps.contains(number), set.contains(&number));
                    assert_eq!(gaps.fill(number), set.remove(&number), "seed {seed}");
                }
                assert_eq!(gaps.len(), set.len() as u64, "seed {seed}");
            }
            set.iter().for_each(|number| assert!(gaps.fill(*number)));
            assert_eq!(gaps, Gaps::default());
        }
    }
}
