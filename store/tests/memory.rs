//! The contract on the store in memory.

use std::sync::Arc;
use std::time::Duration;

use trunkline_store::contract::{BusRig, Rig};
use trunkline_store::memory::{Exchange, Memory, MemoryLimits};
use trunkline_store::{Bus, Inbound, ManualClock, Member};

struct InMemory {
    store: Memory,
    clock: Arc<ManualClock>,
}

const LOG_BYTES_MAX: usize = 4 << 20;

fn rig() -> InMemory {
    let clock = Arc::new(ManualClock::default());
    let limits =
        MemoryLimits { record_bytes_max: 1 << 20, log_bytes_max: LOG_BYTES_MAX, table_bytes_max: 4 << 20 };
    InMemory { store: Memory::new(11, limits, clock.clone()), clock }
}

impl Rig for InMemory {
    type Store = Memory;

    fn store(&self) -> &Memory {
        &self.store
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.store.expire();
    }

    fn log_bytes_max(&self) -> Option<usize> {
        Some(LOG_BYTES_MAX)
    }
}

struct InProcess {
    exchange: Arc<Exchange>,
    clock: Arc<ManualClock>,
}

fn bus_rig() -> InProcess {
    let clock = Arc::new(ManualClock::default());
    InProcess { exchange: Exchange::new(clock.clone()), clock }
}

impl BusRig for InProcess {
    fn join(&self, member: Member, inbound: Arc<dyn Inbound>) -> Box<dyn Bus> {
        Box::new(self.exchange.join(member, inbound))
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.exchange.expire();
    }
}

mod log {
    trunkline_store::log_contract!(super::rig());
}

mod table {
    trunkline_store::table_contract!(super::rig());
}

mod bus {
    trunkline_store::bus_contract!(super::bus_rig());
}
