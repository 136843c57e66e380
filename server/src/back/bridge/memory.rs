//! What a bridge knows for longer than a connection.
//!
//! Must not know connections. Start at [`Memory`].

use std::sync::Arc;

use super::facing::Facing;
use super::pairing::Pairing;
use super::topics::{Side, from};
use crate::config::Bridge;

/// Of one bridge.
#[derive(Debug)]
pub(super) struct Memory {
    /// The other server, and what it has said.
    pub(super) facing: Facing,
    /// Rules that take in and rest, by their place among those.
    pub(super) resting: Vec<bool>,
    /// What is true of both sessions.
    pub(super) pairing: Pairing,
    /// The same as it is kept.
    pub(super) kept: Pairing,
}

impl Memory {
    /// Of a process that has just begun; `kept` is what one before it has left, `new_here` the filters that the session here did not have.
    pub(super) fn new(own: Arc<str>, config: &Bridge, (kept, new_here): (Pairing, &[String])) -> Self {
        let mut pairing = kept.clone();
        pairing.keep_to(&config.rules, new_here);
        let resting = from(&config.rules, Side::Remote).map(|_| false).collect();
        Self { facing: Facing::new(own, config), resting, pairing, kept }
    }
}
