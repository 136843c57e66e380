//! The store that is lost with the process: bounded, ordered, exact about gaps.
//!
//! Owns its data behind one lock per kind, since it serves a single process and tests, not the disk's throughput.
//! Results are delivered after the lock is released. Start at [`Memory`]; the bus is [`Exchange`].

mod bus;
mod log;
mod table;

use std::sync::{Arc, Mutex};

use crate::Clock;

pub use bus::{Exchange, MemoryBus};

/// What a [`Memory`] may hold. At a bound writes are refused as `Full` or `TooLarge` and reads go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Largest body of a record or row.
    pub record_bytes_max: usize,
    /// Bodies, names and 96 bytes for each record of all logs together.
    pub log_bytes_max: usize,
    /// Keys, bodies and 96 bytes for each row of all tables together.
    pub table_bytes_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { record_bytes_max: 2 << 20, log_bytes_max: 256 << 20, table_bytes_max: 64 << 20 }
    }
}

/// Beside a body: places in maps, ids, times.
const OVERHEAD_BYTES: usize = 96;

/// Logs and tables in memory.
pub struct Memory {
    limits: MemoryLimits,
    clock: Arc<dyn Clock>,
    log: Mutex<log::Logs>,
    tables: Mutex<table::Tables>,
}

impl Memory {
    /// `epoch` must differ from that of every earlier life whose positions may still be held by a client; the time of
    /// the start in milliseconds does.
    #[must_use]
    pub fn new(epoch: u64, limits: MemoryLimits, clock: Arc<dyn Clock>) -> Self {
        Self { limits, clock, log: Mutex::new(log::Logs::new(epoch)), tables: Mutex::default() }
    }
}
