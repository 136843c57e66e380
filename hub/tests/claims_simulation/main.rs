//! Random nodes with claimed sessions, their clients and mail of any delay, against what was promised to the clients. A
//! failure names its seed; `TRUNKLINE_SEED=n` runs that one only. `ledger` has the promises, `world` what happens.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "modules of one test"
)]

extern crate trunkline_hub as hub;

mod ledger;
mod person;
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
    for what in ledger::SITUATIONS {
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
    run_many(1_000_000..1_000_150, 5000);
}
