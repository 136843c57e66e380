//! MQTT against the front and the hub, on shards that are turned by hand: each rule and each pitfall as a conversation.
//!
//! A file is a subject. What clients of others see is the acceptance tests' business; what the bytes of one packet may be
//! is `wire`'s. Start at `../support/mqtt.rs`, which says how a conversation is read.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod asked;
mod connecting;
mod delivering;
mod exactly_once;
mod floods;
mod malformed;
mod moving;
mod publishing;
mod quotas;
mod restarting;
mod retained;
#[path = "../support/mqtt.rs"]
mod rig;
mod ruled;
mod shared;
mod subscribing;
mod together;
#[path = "../support/token.rs"]
mod token;
mod tokens;
mod told;
mod websockets;
mod wills;
