//! What the writer does for the files: copies the write-ahead log into the database, gives free pages back. Nothing here
//! changes what is stored.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::Trouble;
use super::format::{self, Checkpoint, PAGE_BYTES};
use super::mailbox::{Job, Task, Told};
use super::writer::State;
use super::{DiskOptions, Fsync, Shared, wal};
use crate::StoreError;

/// Bytes of the write-ahead log from which it is copied as soon as nobody waits.
const WAL_BYTES_IDLE: u64 = 8 << 20;
/// How often the writer looks what has expired, and what there is to tidy up, when nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Pages given back at once, so that no commit waits for more.
const VACUUM_PAGES: u64 = 256;
/// Free pages are left for what will be stored, until there are this many and more than are used.
const FREE_PAGES_IDLE: u64 = (64 << 20) / PAGE_BYTES;

/// How far something is that takes long. Both grow when there is more to do than was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Pages or records that are done.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// When what is due.
pub(super) struct Upkeep {
    wal_bytes_max: u64,
    /// A reader kept the log from being emptied: not tried again before it is this long, or a while has passed.
    wal_bytes_next: u64,
    interval: Option<Duration>,
    synced: Instant,
}

impl Upkeep {
    pub(super) fn new(options: &DiskOptions) -> Self {
        let interval = match options.fsync {
            Fsync::Interval(interval) => Some(interval),
            Fsync::Always | Fsync::Never => None,
        };
        Self { wal_bytes_max: options.wal_bytes_max, wal_bytes_next: 0, interval, synced: Instant::now() }
    }

    fn is_long(&self, wal_bytes: u64, is_idle: bool) -> bool {
        let is_long = wal_bytes >= self.wal_bytes_max || is_idle && wal_bytes >= WAL_BYTES_IDLE;
        is_long && wal_bytes >= self.wal_bytes_next
    }

    fn is_time(&self) -> bool {
        self.interval.is_some_and(|interval| self.synced.elapsed() >= interval)
    }
}

impl State {
    /// After each group.
    pub(super) fn tidy(&mut self, connection: &Connection) {
        let wal_bytes = self.shared.counters.wal_bytes();
        let is_time = wal_bytes > 0 && self.upkeep.is_time();
        if is_time || self.upkeep.is_long(wal_bytes, self.shared.mailbox.is_empty()) {
            self.checkpoint(connection, Checkpoint::Passive);
        }
        // A reader is in the way of copying, not of syncing.
        if is_time && self.shared.counters.wal_bytes() > 0 && wal::sync(&self.shared.path).is_err() {
            self.fail();
        }
    }

    /// When nothing has come for a while.
    pub(super) fn tidy_idle(&mut self, connection: &Connection) {
        if self.shared.counters.wal_bytes() > 0 {
            self.checkpoint(connection, Checkpoint::Passive);
        }
        let (free, pages) = (pages(connection, "freelist_count"), pages(connection, "page_count"));
        if free > FREE_PAGES_IDLE && free > pages / 2 {
            self.vacuum(connection);
        }
    }

    /// In order: nothing is left for the next start to recover.
    pub(super) fn end(&mut self, connection: &Connection) {
        if !self.has_failed() {
            self.checkpoint(connection, Checkpoint::Emptying);
        }
    }

    fn checkpoint(&mut self, connection: &Connection, how: Checkpoint) {
        if self.has_failed() {
            return;
        }
        let begun = Instant::now();
        let copied = format::checkpoint(connection, how).map_err(|error| Trouble::of(&error));
        match copied {
            Ok(true) => {
                self.shared.counters.frames.store(0, Ordering::Relaxed);
                self.upkeep.wal_bytes_next = 0;
            }
            // The log keeps what a reader still needs, or what there is no room for, and grows until then.
            Ok(false) | Err(Trouble::Full | Trouble::Away) => {
                let wal_bytes = self.shared.counters.wal_bytes();
                self.upkeep.wal_bytes_next = wal_bytes + self.upkeep.wal_bytes_max / 4;
            }
            Err(Trouble::Failed) => self.fail(),
        }
        self.upkeep.synced = begun;
        self.shared.counters.checkpointed(begun.elapsed());
    }

    /// Gives some free pages back to the file system, once the log is copied; how many.
    fn vacuum(&mut self, connection: &Connection) -> u64 {
        let before = pages(connection, "freelist_count");
        // A pragma does its work step by step, as a query gives rows.
        let sql = format!("PRAGMA incremental_vacuum({VACUUM_PAGES})");
        let work = || {
            let mut pragma = connection.prepare_cached(&sql)?;
            let mut rows = pragma.query([])?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        if let Err(error) = work()
            && Trouble::of(&error) == Trouble::Failed
        {
            self.fail();
        }
        before.saturating_sub(pages(connection, "freelist_count"))
    }

    /// How long the writer may wait for something to do.
    pub(super) fn patience(&self) -> Duration {
        self.upkeep.interval.map_or(TICK, |interval| interval.min(TICK))
    }
}

/// Has the writer give back all that is free.
pub(super) fn compact(shared: &Shared, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
    let (told, news) = channel();
    shared.mailbox.push(Job::Task(Task::Compact { told }));
    for one in news {
        match one {
            Told::Progress(done) => progress(done),
            Told::Over(result) => return result,
            Told::Broken(_) => break,
        }
    }
    Err(StoreError::Failed)
}

/// The writer's side of it.
pub(super) fn perform_compact(connection: &Connection, state: &mut State, told: &Sender<Told>) {
    // What gets free meanwhile will be used again: only what is free now is given back.
    let total = pages(connection, "freelist_count");
    let mut done = 0;
    let result = loop {
        // Nobody may be listening any more; the work is useful all the same.
        let _ = told.send(Told::Progress(Progress { done, total }));
        let given = if done < total { state.vacuum(connection) } else { 0 };
        done += given;
        if given == 0 {
            state.checkpoint(connection, Checkpoint::Emptying);
            break if state.has_failed() { Err(StoreError::Failed) } else { Ok(()) };
        }
        if state.go_on(connection) == ControlFlow::Break(()) {
            break Err(StoreError::Failed);
        }
    };
    let _ = told.send(Told::Over(result));
}

fn pages(connection: &Connection, name: &str) -> u64 {
    let pages = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    pages.ok().and_then(|pages| u64::try_from(pages).ok()).unwrap_or(0)
}
