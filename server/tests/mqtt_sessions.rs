//! Random scripts of clients of MQTT against the whole of a node but its threads. A failure names its seed; `TRUNKLINE_SEED=n` runs
//! that one only, `TRUNKLINE_TRACE=1` says what happens in it, `TRUNKLINE_RUNS=n` runs more. The same as a fuzz target is `mqtt_session`
//! in `fuzz/`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "support/mqtt_session/mod.rs"]
mod session;

use std::panic::{AssertUnwindSafe, catch_unwind};

use session::Met;

/// Runs, and bytes of each script.
const RUNS: u64 = 300;
const BYTES: usize = 1200;

/// What the runs together have to meet, or they show nothing.
const SITUATIONS: [&str; 22] = [
    "QoS 0",
    "QoS 1",
    "QoS 2",
    "alias",
    "client sends again",
    "declined",
    "full window",
    "keep alive",
    "lost and sent again",
    "malformed",
    "new exchange",
    "new session",
    "over the window",
    "protocol error",
    "raw",
    "refused",
    "released again",
    "resumed",
    "rude",
    "sent again",
    "sent away",
    "taken over",
];

/// splitmix64: the same script for a seed for ever.
fn script(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u8
    };
    (0..BYTES).map(|_| next()).collect()
}

fn run(seed: u64, seen: &mut Met) {
    match catch_unwind(AssertUnwindSafe(|| session::run(&script(seed)))) {
        Ok(met) => met.into_iter().for_each(|(what, times)| *seen.entry(what).or_default() += times),
        Err(panic) => {
            eprintln!("TRUNKLINE_SEED={seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn whatever_clients_do_the_rules_hold_and_nothing_is_left() {
    let mut seen = Met::new();
    if let Some(seed) = std::env::var("TRUNKLINE_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, &mut seen);
    }
    let runs = std::env::var("TRUNKLINE_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS);
    (0..runs).for_each(|seed| run(seed, &mut seen));
    for what in SITUATIONS {
        let times = seen.get(what).copied().unwrap_or(0);
        assert!(times >= 20, "{what}: met {times} times only; all: {seen:?}");
    }
}
