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
#[path = "../simulation/seeds.rs"]
mod seeds;
#[path = "../simulation/store.rs"]
mod store;
mod world;

fn run_many(seeds: std::ops::Range<u64>, steps: u32) {
    seeds::run_many(seeds, steps, world::SITUATIONS, |seed, steps| world::World::new(seed).run(steps));
}

#[test]
fn short_runs() {
    run_many(0..1500, 400);
}

#[test]
fn long_runs() {
    run_many(1_000_000..1_000_150, 4000);
}
