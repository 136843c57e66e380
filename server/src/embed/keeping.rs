//! The store of a node: opened and read at the start, written to by the journal, closed at the end. Without a directory it is
//! one in memory, for queues alone, which are nowhere else.
//!
//! Owns the way from the configuration to a store, and the check that it fits this node. Must not know what a record means.
//! Start at [`open_disk`] and [`Keeping::read`].

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hub::Topology;
use store::disk::{Caretaker, Disk, DiskOptions, Faults, Fsync, RECORD_BYTES_MAX};
use store::memory::{Memory, MemoryLimits};
use store::{Clock, Log, Table, WallClock};

use super::secret;
use super::server::StartError;
use crate::back::bindings;
use crate::back::sqs::Shelf;
use crate::config::{Config, FsyncPolicy, Store};
use crate::journal::{self, Found, JournalInlet, JournalOutlet, Kept, Wall, Writer, Writing};
use crate::mail::Bound;
use crate::shard::Sender;

/// How often a long start says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// A store that was read and is not written to yet.
pub(super) struct Keeping {
    log: Arc<dyn Log>,
    /// Of a store on the disk.
    table: Option<Arc<dyn Table>>,
    /// Likewise.
    caretaker: Option<Caretaker>,
    is_memory: bool,
    /// Bindings that were made while an earlier process ran.
    bound: Arc<[Bound]>,
    /// Of the handles of receives.
    secret: [u8; 32],
    wall: Wall,
    found: Found,
    inlet: JournalInlet,
    outlet: JournalOutlet,
}

/// A store that is written to.
pub(super) struct Keeper {
    writing: Writing,
    log: Arc<dyn Log>,
    caretaker: Option<Caretaker>,
}

/// Opens the store in a directory, without reading it; with faults where its file would have them, if there are to be any.
pub(super) fn open_disk(
    directory: &Path,
    config: &Store,
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
        record_bytes_max: RECORD_BYTES_MAX,
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
        let secret = secret::kept(&*disk).map_err(|error| fails(directory, &error))?;
        let (caretaker, table) = (Some(disk.caretaker()), Arc::clone(&disk) as Arc<dyn Table>);
        let bound = bindings::kept(Arc::downgrade(&table)).map_err(|error| fails(directory, &error))?;
        Ok(Self {
            table: Some(table),
            caretaker,
            is_memory: false,
            bound,
            ..Self::of(disk, secret, (wall, found))
        })
    }

    /// Nothing that outlives the process: for queues alone.
    pub(super) fn in_memory(bytes_max: usize, topology: Topology, zero: Instant) -> Result<Self, StartError> {
        let limits = MemoryLimits {
            record_bytes_max: RECORD_BYTES_MAX,
            log_bytes_max: bytes_max,
            ..MemoryLimits::default()
        };
        let memory = Memory::new(WallClock.now().0, limits, Arc::new(WallClock));
        let wall = Wall::of(zero);
        let fails = |error: String| StartError::Shard(std::io::Error::other(error));
        let found =
            journal::read(&memory, topology, wall, |_| {}).map_err(|error| fails(error.to_string()))?;
        let secret = secret::kept(&memory).map_err(|error| fails(error.to_string()))?;
        Ok(Self::of(Arc::new(memory), secret, (wall, found)))
    }

    fn of(log: Arc<dyn Log>, secret: [u8; 32], (wall, found): (Wall, Found)) -> Self {
        let (inlet, outlet) = journal::inlet();
        let (table, caretaker, bound) = (None, None, Arc::default());
        Self { log, table, caretaker, is_memory: true, bound, secret, wall, found, inlet, outlet }
    }

    /// Unix time of the hub's zero, in milliseconds.
    pub(super) fn zero_ms(&self) -> u64 {
        self.wall.zero_ms()
    }

    /// Where the messages of queues are read.
    pub(super) fn shelf(&self) -> Shelf {
        let log = Arc::downgrade(&self.log);
        if self.is_memory { Shelf::in_memory(log, &self.secret) } else { Shelf::on_disk(log, &self.secret) }
    }

    /// Where small things are kept that are no state of hubs, on the disk alone. Does not keep the store open.
    pub(super) fn table(&self) -> Option<Weak<dyn Table>> {
        self.table.as_ref().map(Arc::downgrade)
    }

    /// Bindings of before; none where there are no queues.
    pub(super) fn bound(&self, config: &Config) -> Arc<[Bound]> {
        if config.sqs.enabled { Arc::clone(&self.bound) } else { Arc::default() }
    }

    /// Where shards put their changes.
    pub(super) fn inlet(&self) -> JournalInlet {
        self.inlet.clone()
    }

    /// What was kept, by shard; once. `None` when only queues are kept, and that in memory.
    pub(super) fn take(&mut self) -> Option<Vec<Kept>> {
        (!self.is_memory).then(|| std::mem::take(&mut self.found.shards))
    }

    /// Begins to write.
    pub(super) fn start(self, shards: Vec<Sender>) -> std::io::Result<Keeper> {
        let Self { log, caretaker, wall, found, outlet, .. } = self;
        let writing = Writer::new(Arc::clone(&log), wall, outlet, &found).start(shards)?;
        Ok(Keeper { writing, log, caretaker })
    }
}

impl Keeper {
    /// For the back office, of a store on the disk.
    pub(super) fn caretaker(&self) -> Option<Caretaker> {
        self.caretaker.clone()
    }

    /// Comes when the store takes no changes any more; once.
    pub(super) fn failure(&mut self) -> &mut tokio::sync::oneshot::Receiver<journal::Failure> {
        &mut self.writing.failure
    }

    /// Once the shards have ended: writes what is left and closes the store.
    pub(super) fn close(self) {
        self.writing.finish();
        drop(self.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::back::checked::{NAMES_BYTES_MAX, USER_BYTES_MAX};

    /// A record above the limit ends the journal. Each has a message, or what a session was agreed on with; labels, names and
    /// times stand beside it.
    #[test]
    fn the_largest_thing_that_is_let_in_fits_into_a_record() {
        let others = [
            "limits.rest_body_bytes_max=1073741824",
            "limits.outbox_bytes_max=1073741824",
            "limits.write_buffer_bytes_max=1073741824",
        ];
        let labels = 5 * 1_000_000;
        let beside = NAMES_BYTES_MAX + labels + 3 * USER_BYTES_MAX + 1024;
        for (key, largest) in
            [("limits.message_bytes_max", 268_435_456), ("mqtt.packet_bytes_max", 268_435_455)]
        {
            let set = |bytes: usize| {
                let own = format!("{key}={bytes}");
                Config::embedded_with(&[&others[..], &[&own]].concat())
            };
            assert!(set(largest).is_ok() && set(largest + 1).is_err(), "{key}");
            assert!(largest + beside <= RECORD_BYTES_MAX, "{key}");
        }
        let labelled = |channels: usize| {
            Config::embedded_with(&[&format!("limits.channels_per_session_max={channels}")])
        };
        assert!(labelled(labels / 5).is_ok() && labelled(labels / 5 + 1).is_err());
    }
}
