//! What tests of whole servers share, be they in this process or in one of their own. Knows nothing of shards: `support` does.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, each of which needs some"
)]

pub mod faults;
pub mod folder;
pub mod program;
pub mod publisher;
pub mod rest;
pub mod settings;
pub mod until;
