//! Queues as those see them that send and receive: what comes, in which order, when, and what is left after a restart. One
//! test per rule and per bug that somebody had; `node` plays the server and the disk.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests and their helpers"
)]

extern crate trunkline_hub as hub;

mod alone;
mod bound;
mod dead_letters;
mod deduplication;
mod disk;
mod fairness;
mod groups;
mod limits;
mod managing;
mod node;
mod receiving;
mod restarts;
mod sending;
mod tasks;
mod visibility;
mod waiting;
