//! MQTT sessions on a node in virtual time: whatever packets several clients send, in whatever pieces and times, the rules hold, and
//! nothing is left of them.
//!
//! What a script may say and what must hold is the same as in the ordinary tests of the server, which run it from seeds.

#[path = "../../server/tests/support/mqtt_session/mod.rs"]
mod session;

/// The target. Two bytes choose the node and its limits, four a step.
pub fn mqtt_session(data: &[u8]) {
    session::run(data);
}
