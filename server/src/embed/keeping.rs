//! The store of a node: opened and read at the start, written to by the journal, closed at the end.
//!
//! Owns the way from the configuration to a store, and the check that it fits this node. Must not know what a record means.
//! Start at [`open_disk`] and [`Keeping::read`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hub::Topology;
use store::WallClock;
use store::disk::{Caretaker, Disk, DiskOptions, Faults, Fsync};

use super::server::StartError;
use crate::config::{FsyncPolicy, Store};
use crate::journal::{self, Found, JournalInlet, JournalOutlet, Kept, Wall, Writer, Writing};
use crate::shard::Sender;

/// Bytes of a record beside the packet or value that it holds: names, labels, what it is about.
const RECORD_OVERHEAD_BYTES: usize = 256 << 10;

/// How often a long start says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// A store that was read and is not written to yet.
pub(super) struct Keeping {
    disk: Arc<Disk>,
    wall: Wall,
    found: Found,
    inlet: JournalInlet,
    outlet: JournalOutlet,
}

/// A store that is written to.
pub(super) struct Keeper {
    writing: Writing,
    disk: Arc<Disk>,
}

/// Opens the store in a directory, without reading it; with faults where its file would have them, if there are to be any.
pub(super) fn open_disk(
    directory: &Path,
    config: &Store,
    packet_bytes_max: usize,
    faults: Option<Arc<dyn Faults>>,
) -> Result<Disk, StartError> {
    let fsync = match config.fsync {
        FsyncPolicy::Always => Fsync::Always,
        FsyncPolicy::Interval => Fsync::Interval(Duration::from_millis(config.fsync_interval_ms)),
        FsyncPolicy::Never => Fsync::Never,
    };
    let defaults = DiskOptions::default();
    let options = DiskOptions {
        fsync,
        record_bytes_max: defaults.record_bytes_max.max(packet_bytes_max) + RECORD_OVERHEAD_BYTES,
        database_bytes_max: (config.bytes_max > 0).then_some(config.bytes_max),
        cache_bytes: usize::try_from(config.cache_bytes).unwrap_or(usize::MAX),
        ..defaults
    };
    let clock = Arc::new(WallClock);
    let opened = match faults {
        None => Disk::open(directory, options, clock),
        Some(faults) => Disk::open_with(directory, options, clock, faults),
    };
    opened.map_err(|error| fails(directory, &error))
}

fn fails(directory: &Path, error: &dyn std::error::Error) -> StartError {
    StartError::Store { path: directory.to_owned(), error: error.to_string() }
}

impl Keeping {
    /// Reads what was kept. Takes as long as that takes.
    pub(super) fn read(disk: Disk, topology: Topology, zero: Instant) -> Result<Self, StartError> {
        let disk = Arc::new(disk);
        let directory = disk.directory();
        let (wall, began) = (Wall::of(zero), Instant::now());
        let mut said = began;
        let found = journal::read(&*disk, topology, wall, |records| {
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::info!(records, path = %directory.display(), "reading the store");
            }
        });
        let found = found.map_err(|error| fails(directory, &error))?;
        let records: usize = found.shards.iter().map(|kept| kept.records.len()).sum();
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(records, took_ms, path = %directory.display(), "the store is open");
        let (inlet, outlet) = journal::inlet();
        Ok(Self { disk, wall, found, inlet, outlet })
    }

    /// Where shards put their changes.
    pub(super) fn inlet(&self) -> JournalInlet {
        self.inlet.clone()
    }

    /// What was kept, by shard; once.
    pub(super) fn take(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.found.shards)
    }

    /// Begins to write.
    pub(super) fn start(self, shards: Vec<Sender>) -> std::io::Result<Keeper> {
        let Self { disk, wall, found, inlet: _, outlet } = self;
        let writing = Writer::new(disk.clone(), wall, outlet, &found).start(shards)?;
        Ok(Keeper { writing, disk })
    }
}

impl Keeper {
    /// For the back office.
    pub(super) fn caretaker(&self) -> Caretaker {
        self.disk.caretaker()
    }

    /// Comes when the store takes no changes any more; once.
    pub(super) fn failure(&mut self) -> &mut tokio::sync::oneshot::Receiver<journal::Failure> {
        &mut self.writing.failure
    }

    /// Once the shards have ended: writes what is left and closes the store.
    pub(super) fn close(self) {
        self.writing.finish();
        drop(self.disk);
    }
}
