//! The store of a node: opened and read at the start, written to by the journal, closed at the end.
//!
//! Owns the way from the configuration to a store, and the check that it fits this node. Must not know what a record means.
//! Start at [`Keeping::open`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hub::Topology;
use store::disk::{Disk, DiskOptions, Fsync};
use store::{Clock, Timestamp};

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

struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Keeping {
    /// Opens the store in a directory and reads what was kept. Takes as long as that takes.
    pub(super) fn open(
        directory: &Path,
        config: &Store,
        topology: Topology,
        (zero, packet_bytes_max): (Instant, usize),
    ) -> Result<Self, StartError> {
        let fails = |error: String| StartError::Store { path: directory.to_owned(), error };
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
        let disk = Disk::open(directory, options, Arc::new(WallClock));
        let disk = Arc::new(disk.map_err(|error| fails(error.to_string()))?);
        let (wall, began) = (Wall::of(zero), Instant::now());
        let mut said = began;
        let found = journal::read(&*disk, topology, wall, |records| {
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                tracing::info!(records, path = %directory.display(), "reading the store");
            }
        });
        let found = found.map_err(|error| fails(error.to_string()))?;
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
