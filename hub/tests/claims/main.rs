//! The rules of claimed sessions as data: scripts of what clients, back end and time do, with all that clients get for it.
//! Each is run on one shard and on several, with mail in order, and must read the same. `script` has the language.

#![allow(
    unreachable_pub,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "modules of one test"
)]

extern crate trunkline_hub as hub;

mod exchanges;
mod keeping;
mod limits;
mod node;
mod retained;
mod script;
mod shares;
mod subscriptions;
mod wills;
