//! The contract on the store on the disk, in one life and over several.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::Folder;
use trunkline_store::contract::{Home, Rig};
use trunkline_store::disk::{Disk, DiskOptions};
use trunkline_store::{Faulty, ManualClock, Odds};

const DATABASE_BYTES_MAX: u64 = 512 << 10;

struct OnDisk {
    // Ends before its folder goes.
    store: Disk,
    clock: Arc<ManualClock>,
    _folder: Folder,
}

fn rig() -> OnDisk {
    let folder = Folder::new();
    let clock = Arc::new(ManualClock::default());
    let options = DiskOptions {
        record_bytes_max: 64 << 10,
        database_bytes_max: Some(DATABASE_BYTES_MAX),
        ..DiskOptions::default()
    };
    let store = Disk::open(folder.path(), options, clock.clone()).expect("it is new");
    OnDisk { store, clock, _folder: folder }
}

impl Rig for OnDisk {
    type Store = Disk;

    fn store(&self) -> &Disk {
        &self.store
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn log_bytes_max(&self) -> Option<usize> {
        usize::try_from(DATABASE_BYTES_MAX).ok()
    }
}

/// The same behind a wrapper without faults: what passes through it is not changed.
struct Wrapped {
    store: Faulty<Disk>,
    clock: Arc<ManualClock>,
    _folder: Folder,
}

fn wrapped() -> Wrapped {
    let OnDisk { store, clock, _folder } = rig();
    let odds = Odds { delay: 500, ..Odds::default() };
    Wrapped { store: Faulty::new(store, odds, 3), clock, _folder }
}

impl Rig for Wrapped {
    type Store = Faulty<Disk>;

    fn store(&self) -> &Faulty<Disk> {
        &self.store
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    fn settle(&self) {
        self.store.release();
    }
}

impl Home for Folder {
    type Store = Disk;

    fn open(&self) -> Disk {
        support::open(self)
    }
}

mod log {
    trunkline_store::log_contract!(super::rig());
}

mod table {
    trunkline_store::table_contract!(super::rig());
}

mod delayed {
    trunkline_store::log_contract!(super::wrapped());
    mod table {
        trunkline_store::table_contract!(super::super::wrapped());
    }
}

mod durable {
    trunkline_store::durable_contract!(super::support::Folder::new());
}
