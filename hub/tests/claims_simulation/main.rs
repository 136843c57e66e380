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
mod remains;
#[path = "../simulation/rng.rs"]
mod rng;
#[path = "../simulation/seeds.rs"]
mod seeds;
#[path = "../simulation/store.rs"]
mod store;
mod world;

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    seeds::run_many(seeds, steps, ledger::SITUATIONS, |seed, steps| world::World::new(seed).run(steps));
}

#[test]
fn short_runs() {
    run_many(0..1500, 400);
}

#[test]
fn long_runs() {
    run_many(1_000_000..1_000_150, 5000);
}
