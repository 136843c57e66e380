//! Client ids that connect again and again.
//!
//! Owns the counts, and their bound: with too many client ids in one window the further ones are not counted. Must not know
//! what happens to whoever flaps. Start at [`Flapping::connects`].

use std::collections::HashMap;
use std::sync::Arc;

use hub::Millis;

/// Client ids counted at once, per shard; 64 bytes each and the id's own, which its session holds too.
const NAMES_MAX: usize = 65_536;

/// How often a connect is counted as one too many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    pub(super) connects_max: u32,
    pub(super) window_ms: u64,
}

/// Connects of each client id.
#[derive(Debug, Default)]
pub(super) struct Flapping {
    counts: HashMap<Arc<str>, Count>,
    swept: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Millis,
    connects: u32,
}

impl Flapping {
    /// Counts a connect; whether that is one too many, which makes the client id begin anew.
    pub(super) fn connects(&mut self, now: Millis, name: &Arc<str>, measure: Measure) -> bool {
        let is_old = |count: &Count| now.0.saturating_sub(count.since.0) >= measure.window_ms;
        if let Some(count) = self.counts.get_mut(name) {
            if is_old(count) {
                *count = Count { since: now, connects: 0 };
            }
            count.connects += 1;
            let is_too_many = count.connects > measure.connects_max;
            if is_too_many {
                self.counts.remove(name);
            }
            return is_too_many;
        }
        // A sweep looks at all of them, so there is one per window at most.
        if self.counts.len() >= NAMES_MAX && now.0.saturating_sub(self.swept.0) >= measure.window_ms {
            self.counts.retain(|_, count| !is_old(count));
            self.swept = now;
        }
        if self.counts.len() < NAMES_MAX {
            self.counts.insert(Arc::clone(name), Count { since: now, connects: 1 });
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURE: Measure = Measure { connects_max: 3, window_ms: 1000 };

    #[test]
    fn one_connect_too_many_within_the_window() {
        let mut flapping = Flapping::default();
        let (one, other): (Arc<str>, Arc<str>) = (Arc::from("a"), Arc::from("b"));
        for at in [0, 10, 20] {
            assert!(!flapping.connects(Millis(at), &one, MEASURE));
        }
        assert!(!flapping.connects(Millis(20), &other, MEASURE));
        assert!(flapping.connects(Millis(999), &one, MEASURE));
        assert!(!flapping.connects(Millis(999), &one, MEASURE), "it begins anew");
    }

    #[test]
    fn a_window_that_is_over_counts_no_more() {
        let mut flapping = Flapping::default();
        let name: Arc<str> = Arc::from("a");
        assert!((0..20).all(|n| !flapping.connects(Millis(n * 400), &name, MEASURE)));
    }

    #[test]
    fn there_is_a_bound_and_what_is_old_makes_place() {
        let mut flapping = Flapping::default();
        for n in 0..NAMES_MAX + 5 {
            flapping.connects(Millis(2000), &Arc::from(n.to_string()), MEASURE);
        }
        assert_eq!(flapping.counts.len(), NAMES_MAX);
        flapping.connects(Millis(3000), &Arc::from("late"), MEASURE);
        assert_eq!(flapping.counts.len(), 1);
    }
}
