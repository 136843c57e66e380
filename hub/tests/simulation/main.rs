//! Random nodes against a naive model. A failure names its seed; `TRUNKLINE_SEED=n` runs that one only.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "modules of one test"
)]

extern crate trunkline_hub as hub;

mod model;
mod node;
mod rng;
mod site;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often each situation worth testing was met.
type Seen = BTreeMap<&'static str, u64>;

fn run(seed: u64, steps: u32, seen: &mut Seen) {
    let result = catch_unwind(AssertUnwindSafe(|| node::Node::new(seed).run(steps)));
    match result {
        Ok(met) => met.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times),
        Err(panic) => {
            eprintln!("TRUNKLINE_SEED={seed} fails with {steps} steps");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    let mut seen = Seen::new();
    if let Some(seed) = std::env::var("TRUNKLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, steps, &mut seen);
    }
    seeds.for_each(|seed| run(seed, steps, &mut seen));
    for what in site::SITUATIONS {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= 50, "{what}: met {times} times only; all: {seen:?}");
    }
}

/// Many short lives: starts, ends and leaks.
#[test]
fn short_runs() {
    run_many(0..5000, 400);
}

/// Long lives: limits, trimmed logs, many recoveries.
#[test]
fn long_runs() {
    run_many(1_000_000..1_000_600, 5000);
}
