//! What the writer does for the files: copies the write-ahead log into the database, gives free pages back. Nothing here
//! changes what is stored.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::Trouble;
use super::format::PAGE_BYTES;
use super::mailbox::{Job, Task, Told};
use super::writer::State;
use super::{DiskOptions, Fsync, Shared};
use crate::StoreError;

/// Bytes of the write-ahead log from which it is copied as soon as nobody waits.
const WAL_BYTES_IDLE: u64 = 4 << 20;
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

    fn is_due(&self, wal_bytes: u64, is_idle: bool) -> bool {
        let is_long = wal_bytes >= self.wal_bytes_max || is_idle && wal_bytes >= WAL_BYTES_IDLE;
        let is_time = self.interval.is_some_and(|interval| self.synced.elapsed() >= interval);
        is_long && wal_bytes >= self.wal_bytes_next || is_time && wal_bytes > 0
    }
}

impl State {
    /// After each group.
    pub(super) fn tidy(&mut self, connection: &Connection) {
        let wal_bytes = self.shared.counters.wal_bytes();
        if self.upkeep.is_due(wal_bytes, self.shared.mailbox.is_empty()) {
            self.checkpoint(connection, "PASSIVE");
        }
    }

    /// When nothing has come for a while.
    pub(super) fn tidy_idle(&mut self, connection: &Connection) {
        if self.shared.counters.wal_bytes() > 0 {
            self.checkpoint(connection, "PASSIVE");
        }
        let (free, pages) = (pages(connection, "freelist_count"), pages(connection, "page_count"));
        if free > FREE_PAGES_IDLE && free > pages / 2 {
            self.vacuum(connection);
        }
    }

    /// In order: nothing is left for the next start to recover.
    pub(super) fn end(&mut self, connection: &Connection) {
        if !self.has_failed() {
            self.checkpoint(connection, "TRUNCATE");
        }
    }

    fn checkpoint(&mut self, connection: &Connection, mode: &str) {
        if self.has_failed() {
            return;
        }
        let begun = Instant::now();
        let numbers = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let sql = format!("PRAGMA wal_checkpoint({mode})");
        let copied = connection.prepare_cached(&sql).and_then(|mut pragma| pragma.query_row([], numbers));
        self.upkeep.synced = Instant::now();
        let wal_bytes = self.shared.counters.wal_bytes();
        match copied {
            Ok((frames, copied)) if frames == copied => {
                self.shared.counters.frames.store(0, Ordering::Relaxed);
                self.upkeep.wal_bytes_next = 0;
            }
            Ok(_) => self.upkeep.wal_bytes_next = wal_bytes + self.upkeep.wal_bytes_max / 4,
            Err(error) => match Trouble::of(&error) {
                // The log keeps what cannot be copied, and grows until there is room.
                Trouble::Full | Trouble::Away => {
                    self.upkeep.wal_bytes_next = wal_bytes + self.upkeep.wal_bytes_max / 4;
                }
                Trouble::Failed => self.fail(),
            },
        }
        self.shared.counters.checkpointed(begun.elapsed());
    }

    /// Gives some free pages back to the file system, once the log is copied.
    fn vacuum(&mut self, connection: &Connection) {
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
    let mut done = 0;
    let result = loop {
        let free = pages(connection, "freelist_count");
        // Nobody may be listening any more; the work is useful all the same.
        let _ = told.send(Told::Progress(Progress { done, total: done + free }));
        if free == 0 {
            state.checkpoint(connection, "TRUNCATE");
            break Ok(());
        }
        state.vacuum(connection);
        done += free.saturating_sub(pages(connection, "freelist_count"));
        if state.go_on(connection) == ControlFlow::Break(()) {
            break Err(StoreError::Failed);
        }
    };
    let result = if state.has_failed() { Err(StoreError::Failed) } else { result };
    let _ = told.send(Told::Over(result));
}

fn pages(connection: &Connection, name: &str) -> u64 {
    let pages = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    pages.ok().and_then(|pages| u64::try_from(pages).ok()).unwrap_or(0)
}
