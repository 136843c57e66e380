//! Random nodes with a journal, whose clients come back after lost connections, restarts and crashes that lose what was not
//! safe. Whoever was told by which name to come back finds the session; what was acknowledged has come to everybody who was
//! subscribed, once; histories have what was acknowledged. A failure names its seed; `TRUNKLINE_SEED=n` runs that one only.
//! `store` has what is kept, `world` what happens.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "modules of one test"
)]

extern crate trunkline_hub as hub;

mod alone;
#[path = "../simulation/rng.rs"]
mod rng;
mod store;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

fn run(seed: u64, steps: u32, seen: &mut BTreeMap<&'static str, u64>) {
    let result = catch_unwind(AssertUnwindSafe(|| world::World::new(seed).run(steps)));
    match result {
        Ok(met) => met.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times),
        Err(panic) => {
            eprintln!("TRUNKLINE_SEED={seed} fails with {steps} steps");
            std::panic::resume_unwind(panic);
        }
    }
}

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    let mut seen = BTreeMap::new();
    if let Some(seed) = std::env::var("TRUNKLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, steps, &mut seen);
    }
    seeds.for_each(|seed| run(seed, steps, &mut seen));
    for what in world::SITUATIONS {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= 50, "{what}: met {times} times only; all: {seen:?}");
    }
}

#[test]
fn short_runs() {
    run_many(0..1500, 400);
}

#[test]
fn long_runs() {
    run_many(1_000_000..1_000_150, 4000);
}
