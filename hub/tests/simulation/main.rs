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
mod seeds;
mod site;

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    seeds::run_many(seeds, steps, site::SITUATIONS, |seed, steps| node::Node::new(seed).run(steps));
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
