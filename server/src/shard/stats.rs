//! Counters and gauges of a shard, declared once with their documentation.

/// A snapshot of a shard's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {}
