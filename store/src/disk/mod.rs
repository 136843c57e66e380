//! The store that survives its process: SQLite in one directory, written by one thread in groups.
//!
//! Owns the directory: `trunkline.db` with its `-wal` and `-shm`, and `lock`, which keeps a second process out. Writes go
//! to a bounded mailbox; one thread commits everything that waits as one transaction and then completes who waited.
//! Reads use a few connections of their own and see whole commits. The engine is never asked what comes next.
//!
//! What is proven: each record carries a sum over all of it and its place, each block of 4,096 offsets the count and the
//! combined mark of its live records, and each partition the newest offset it ever gave. So a record that is changed, lost
//! or in the wrong place is found when it is replayed, and the answer names the place.
//!
//! After a full disk writes are tried again, one by one; after an error of writing or syncing none is, until the process
//! is started again. Reads go on in both cases.
//!
//! Start at [`Disk`], then `writer` for the life of a write, `group` for one transaction, `read` for reading.

mod backup;
mod caretaker;
mod cells;
mod check;
mod error;
mod faults;
mod format;
mod group;
mod home;
mod loss;
mod mailbox;
mod read;
mod record;
mod stats;
mod tally;
mod upkeep;
mod wal;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use hub::Partition;

use crate::{
    Caps, Clock, Done, Durability, Entity, Log, Max, Page, Position, Record, Row, RowOp, Snapshot,
    StoreError, Tab, Table, Watcher, Write,
};

pub use caretaker::Caretaker;
pub use check::{CheckReport, check};
pub use error::OpenError;
pub use faults::{Fault, Faults};
pub use home::is_there;
pub use stats::{COMMIT_BUCKETS, Stats, commit_bounds};
pub use upkeep::Progress;

use home::{Doubt, Home};
use loss::Left;
use mailbox::{Job, Mailbox, Reply};
use read::Readers;
use stats::Counters;
use writer::Writer;

/// Largest record or row there is. The engine takes no value above a gigabyte.
pub const RECORD_BYTES_MAX: usize = 512 << 20;

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is acknowledged. What was acknowledged survives the process, and a loss of power as far as the disk
    /// keeps its promise.
    Always,
    /// This often. What was acknowledged survives the process; a crash of the machine loses what came since, and the
    /// partitions' positions start a new epoch.
    Interval(Duration),
    /// When the operating system likes. A crash of the machine may leave the store damaged.
    Never,
}

/// What a [`Disk`] may hold and use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskOptions {
    /// When what was written is on the disk.
    pub fsync: Fsync,
    /// Largest body of a record or row, at most 512 MiB. A larger one is refused as `TooLarge`.
    pub record_bytes_max: usize,
    /// Bytes of the database file, without its log. Writes that do not fit are refused as `Full`; removing makes room.
    /// `None`: as many as the disk has.
    pub database_bytes_max: Option<u64>,
    /// Entries of writes that may wait for the writer. More are refused as `Unavailable`; one write alone may have more.
    pub waiting_entries_max: usize,
    /// Bytes of bodies that may wait for the writer. More are refused as `Unavailable`; one write alone may be larger.
    pub waiting_bytes_max: usize,
    /// Bytes of the write-ahead log at which commits wait until it is copied into the database. A reader that takes long
    /// makes it grow beyond.
    pub wal_bytes_max: u64,
    /// Memory for pages of the writer. Each reader has an eighth of it.
    pub cache_bytes: usize,
    /// Reads at the same time. More wait for each other.
    pub readers: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            fsync: Fsync::Always,
            record_bytes_max: 2 << 20,
            database_bytes_max: None,
            waiting_entries_max: 65_536,
            waiting_bytes_max: 64 << 20,
            wal_bytes_max: 64 << 20,
            cache_bytes: 16 << 20,
            readers: 4,
        }
    }
}

/// Logs and tables in a directory. Dropping it ends it in order: what waits is written, the log is copied into the
/// database, the directory is free for the next one.
pub struct Disk {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// The last to go: the directory is another's from then on.
    home: Home,
}

/// What the writer's thread and its callers both see.
struct Shared {
    path: PathBuf,
    epoch: u64,
    options: DiskOptions,
    clock: Arc<dyn Clock>,
    faults: Arc<dyn Faults>,
    mailbox: Mailbox,
    readers: Readers,
    counters: Counters,
    watchers: Mutex<HashMap<Tab, Vec<Arc<dyn Watcher>>>>,
}

/// Whether a store lies in a directory. [`Disk::open`] would begin one where none does.
#[must_use]
pub fn exists(directory: &Path) -> bool {
    Home::is_in(directory)
}

impl Disk {
    /// Opens what is in the directory, or begins there. Nothing is replayed yet.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing that was stored is changed then.
    pub fn open(directory: &Path, options: DiskOptions, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_with(directory, options, clock, Arc::new(faults::None))
    }

    /// The same, with faults where the file would have them.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_with(
        directory: &Path,
        options: DiskOptions,
        clock: Arc<dyn Clock>,
        faults: Arc<dyn Faults>,
    ) -> Result<Self, OpenError> {
        let record_bytes_max = options.record_bytes_max.min(RECORD_BYTES_MAX);
        let options = DiskOptions { record_bytes_max, ..options };
        let mut home = Home::claim(directory)?;
        let path = home.database();
        let doubt = home.doubt()?;
        if doubt == Doubt::Nothing {
            wal::prove(&path)?;
        }
        let (connection, mut opened) = format::open(&path, &options, clock.now())?;
        if doubt == Doubt::Tail {
            opened.epoch = format::renew_epoch(&connection, opened.epoch, clock.now())?;
        }
        home.begin(options.fsync)?;
        let shared = Arc::new(Shared {
            readers: Readers::open(&path, &options)?,
            mailbox: Mailbox::new(options.waiting_entries_max, options.waiting_bytes_max),
            counters: Counters::new(opened.records, opened.cells.rows),
            watchers: Mutex::default(),
            epoch: opened.epoch,
            path,
            options,
            clock,
            faults,
        });
        let writer = Writer::new(connection, opened, shared.clone())?;
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Some(thread), home })
    }

    /// Where it lives.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Drops records and rows whose time is over and tells the watchers of the rows. The writer does so by itself, every
    /// second and before each write; this waits for it.
    pub fn expire(&self) {
        while self.asked(Job::Expire) == Ok(Left::More) {}
    }

    /// Figures since it was opened.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the sizes cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        self.shared.counters.stats(&self.shared)
    }

    /// Copies the store into a new file as it is at the end of the copying, while it is used, and syncs it. The copy is
    /// opened by putting it as `trunkline.db` into a directory of its own; its positions are of a new epoch.
    ///
    /// # Errors
    /// The operating system's, `AlreadyExists` among them; what a write would be answered, as text.
    pub fn backup(&self, to: &Path, progress: &mut dyn FnMut(Progress)) -> std::io::Result<()> {
        backup::run(&self.shared, to, progress)
    }

    /// Reads everything and compares it with its sums, and has the engine check its file. The store is used meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no reading it; what is wrong in it stands in the report.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, StoreError> {
        Ok(check::run(&self.shared.path, progress)?)
    }

    /// Gives space that records and rows left behind back to the file system, in steps between writes.
    ///
    /// # Errors
    /// What a write would be answered.
    pub fn compact(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        upkeep::compact(&self.shared, progress)
    }

    /// Has the writer do something and waits for its answer.
    fn asked<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        self.shared.asked(job)
    }
}

impl Shared {
    fn asked<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.mailbox.push(job(reply));
        answer.recv().unwrap_or(Err(StoreError::Failed))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.mailbox.close();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been told where it happened, and the directory is free all the same. What says
            // that this was no orderly end is then still there, and so it is when it cannot be removed.
            let counters = &self.shared.counters;
            if writer.join().is_ok() && !counters.has_failed() && counters.wal_bytes() == 0 {
                let _ = self.home.end();
            }
        }
    }
}

impl Log for Disk {
    fn caps(&self) -> Caps {
        Caps {
            durability: Durability::Disk,
            cluster: false,
            record_bytes_max: self.shared.options.record_bytes_max,
        }
    }

    fn write(&self, batch: Vec<Write>, done: Done) {
        self.shared.mailbox.push(Job::Write { batch, done });
    }

    fn replay(&self, partition: Partition, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        self.shared.reading(|reader| reader.replay(partition, after, max))
    }

    fn fetch(&self, places: &[(Partition, u64)]) -> Vec<Result<Option<Record>, StoreError>> {
        self.shared.reading_each(places, |reader, (partition, offset)| reader.fetch(*partition, *offset))
    }

    fn read(&self, entity: &Entity, after: Option<Position>, max: Max) -> Result<Page, StoreError> {
        self.shared.reading(|reader| reader.read(entity, after, max))
    }

    fn last(&self, entities: &[Entity]) -> Vec<Result<Option<Record>, StoreError>> {
        self.shared.reading_each(entities, |reader, entity| reader.last(entity))
    }

    fn snapshot(&self, partition: Partition, snapshot: Snapshot) -> Result<(), StoreError> {
        self.asked(|reply| Job::Snapshot { partition, snapshot, reply })
    }

    fn trim(&self, entity: &Entity, before: Position) -> Result<(), StoreError> {
        let step = || self.asked(|reply| Job::Trim { entity: entity.clone(), before, reply });
        while step()? == Left::More {}
        Ok(())
    }
}

impl Table for Disk {
    fn rows(&self, tab: Tab, keys: &[Bytes]) -> Vec<Result<Option<Row>, StoreError>> {
        self.shared.reading_each(keys, |reader, key| reader.row(tab, key))
    }

    fn change(&self, ops: Vec<RowOp>, done: Done) {
        self.shared.mailbox.push(Job::Change { ops, done });
    }

    fn scan(
        &self,
        tab: Tab,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.shared.reading(|reader| reader.scan(tab, prefix, after, max))
    }

    fn watch(&self, tab: Tab, watcher: Arc<dyn Watcher>) {
        let mut watchers = self.shared.watchers.lock().expect("no holder of this lock panics");
        watchers.entry(tab).or_default().push(watcher);
    }
}
