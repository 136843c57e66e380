//! Random nodes against a naive model. A failure names its seed; `TRUNKLINE_SEED=n` runs that one only.

#![allow(unreachable_pub, reason = "modules of one test")]

extern crate trunkline_hub as hub;

mod model;
mod node;
mod rng;
mod site;

use std::panic::{AssertUnwindSafe, catch_unwind};

fn run(seed: u64, steps: u32) {
    let result = catch_unwind(AssertUnwindSafe(|| node::Node::new(seed).run(steps)));
    if let Err(panic) = result {
        eprintln!("TRUNKLINE_SEED={seed} fails with {steps} steps");
        std::panic::resume_unwind(panic);
    }
}

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    match std::env::var("TRUNKLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => run(seed, steps),
        None => seeds.for_each(|seed| run(seed, steps)),
    }
}

/// Many short lives: starts, ends and leaks.
#[test]
fn short_runs() {
    run_many(0..3000, 200);
}

/// Long lives: limits, trimmed logs, many recoveries.
#[test]
fn long_runs() {
    run_many(1_000_000..1_000_200, 5000);
}
