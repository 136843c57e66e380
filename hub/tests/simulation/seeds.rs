//! Many runs of a simulation, each from a seed. A failure names its seed; `TRUNKLINE_SEED=n` runs that one only.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often each situation worth testing was met.
pub type Seen = BTreeMap<&'static str, u64>;

/// Fewer, and the runs prove little.
const MET_MIN: u64 = 50;

/// Runs of so many steps, which have to meet each of the situations.
pub fn run_many(seeds: Range<u64>, steps: u32, situations: &[&'static str], run: impl Fn(u64, u32) -> Seen) {
    let mut seen = Seen::new();
    let mut run = |seed: u64| match catch_unwind(AssertUnwindSafe(|| run(seed, steps))) {
        Ok(met) => met.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times),
        Err(panic) => {
            eprintln!("TRUNKLINE_SEED={seed} fails with {steps} steps");
            std::panic::resume_unwind(panic);
        }
    };
    if let Ok(seed) = std::env::var("TRUNKLINE_SEED") {
        return run(seed.parse().expect("TRUNKLINE_SEED is a number"));
    }
    seeds.for_each(run);
    for what in situations {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= MET_MIN, "{what}: met {times} times only; all: {seen:?}");
    }
}
