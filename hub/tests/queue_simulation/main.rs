//! Random nodes with queues against a naive model: who gets which message when, what is a duplicate, what moves where, and
//! what is left after crashes that lose a random part of what was not durable. A failure names its seed;
//! `TRUNKLINE_SEED=n` runs that one only. `model` has the rules, `ledger` what was promised, `world` what happens.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "modules of one test"
)]

extern crate trunkline_hub as hub;

#[path = "../queues/disk.rs"]
mod disk;
mod ledger;
mod model;
#[path = "../queues/node.rs"]
mod node;
mod recall;
#[path = "../simulation/rng.rs"]
mod rng;
mod tenants;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often each situation worth testing was met.
type Seen = BTreeMap<&'static str, u64>;

fn run(seed: u64, steps: u32, seen: &mut Seen) {
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
    let mut seen = Seen::new();
    if let Some(seed) = std::env::var("TRUNKLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, steps, &mut seen);
    }
    seeds.for_each(|seed| run(seed, steps, &mut seen));
    for what in world::SITUATIONS {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= 50, "{what}: met {times} times only; all: {seen:?}");
    }
}

/// Many short lives: beginnings, ends and leaks.
#[test]
fn short_runs() {
    run_many(60000..61500, 300);
}

/// Long lives: backlogs, noise, many crashes of one store.
#[test]
fn long_runs() {
    run_many(2_000_300..2_004_500, 4000);
}
