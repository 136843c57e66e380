//! Clients of MQTT that do what a script says, against a node in a time of its own, and what must hold whatever that is.
//!
//! The clients speak both versions, keep to the rules or break them, share names, lose connections, take sessions over, read
//! slowly and send parts of packets, while time passes and the node is restarted. Every packet that is written is read as a
//! server would (`tap`), which says what is owed then; every packet that comes is compared with it (`hearing`). Must not know
//! how a message finds its subscribers. Start at [`run`]; what a script may say is in `script`.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "modules of one test"
)]

mod hearing;
mod line;
mod memory;
mod message;
mod saying;
mod script;
mod tap;
mod world;

use std::collections::BTreeMap;

/// How often each situation that is worth it was met.
pub type Met = BTreeMap<&'static str, u64>;

/// Steps of one run at most, so that no script takes long.
const STEPS_MAX: usize = 400;

/// Runs a script, any bytes. At its end everybody leaves, and nothing of them may be left.
///
/// # Panics
/// Something happened that must not.
pub fn run(data: &[u8]) -> Met {
    let Some((kind, script)) = script::Script::new(data) else { return Met::new() };
    let mut world = world::World::new(kind);
    for step in script.take(STEPS_MAX) {
        world.step(step);
    }
    world.leave()
}
