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

mod bound;
#[path = "../queues/disk.rs"]
mod disk;
mod ledger;
mod model;
#[path = "../queues/node.rs"]
mod node;
mod recall;
#[path = "../simulation/rng.rs"]
mod rng;
#[path = "../simulation/seeds.rs"]
mod seeds;
mod tenants;
mod world;

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    seeds::run_many(seeds, steps, &world::SITUATIONS, |seed, steps| world::World::new(seed).run(steps));
}

/// Many short lives: beginnings, ends and leaks.
#[test]
fn short_runs() {
    run_many(0..1500, 300);
}

/// Long lives: backlogs, noise, many crashes of one store.
#[test]
fn long_runs() {
    run_many(1_000_000..1_000_150, 4000);
}
