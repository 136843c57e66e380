//! The product as a library: shards, listeners, the back end's door, configuration.

pub mod config;
pub mod front;
pub mod mail;
pub mod shard;
