//! Figures of a store in use, counted where they arise and read by anybody.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::Shared;
use super::error::unread;
use super::format::PAGE_BYTES;
use crate::StoreError;

/// Commits are counted by their duration: bucket `n` has those below 2^n * 16 microseconds, the last all others.
pub const COMMIT_BUCKETS: usize = 18;

/// The durations that divide the buckets, in order: the bucket before the `n`th is below it. The last bucket has no end.
pub fn commit_bounds() -> impl Iterator<Item = Duration> {
    (0..COMMIT_BUCKETS - 1).map(|n| Duration::from_micros(16 << n))
}

/// What a store does and holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live records of all partitions.
    pub records: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Records appended since it was opened.
    pub appended: u64,
    /// Records that went since it was opened, for any reason.
    pub removed: u64,
    /// Bytes of the database file, without its write-ahead log.
    pub database_bytes: u64,
    /// Those of them that nothing uses.
    pub free_bytes: u64,
    /// Bytes of the write-ahead log that are not in the database yet.
    pub wal_bytes: u64,
    /// Transactions that changed something.
    pub commits: u64,
    /// Time spent in their commits, which is writing and syncing.
    pub commit_time: Duration,
    /// Commits by duration, see [`COMMIT_BUCKETS`].
    pub commit_buckets: [u64; COMMIT_BUCKETS],
    /// Times the log was copied into the database, and the time spent.
    pub checkpoints: u64,
    /// Time spent copying.
    pub checkpoint_time: Duration,
    /// Entries that wait for the writer.
    pub waiting_entries: usize,
    /// Bytes that wait for the writer.
    pub waiting_bytes: usize,
    /// Writing or syncing failed: every write is answered so until the process is started again.
    pub is_failed: bool,
}

/// Counters behind [`Stats`].
#[derive(Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) removed: AtomicU64,
    commits: AtomicU64,
    commit_us: AtomicU64,
    buckets: [AtomicU64; COMMIT_BUCKETS],
    checkpoints: AtomicU64,
    checkpoint_us: AtomicU64,
    /// Pages of the write-ahead log since it was last begun anew.
    pub(super) frames: AtomicU64,
    pub(super) is_failed: AtomicBool,
}

impl Counters {
    pub(super) fn new(records: u64, rows: u64) -> Self {
        Self { records: records.into(), rows: rows.into(), ..Self::default() }
    }

    pub(super) fn committed(&self, took: Duration) {
        let us = micros(took);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_us.fetch_add(us, Ordering::Relaxed);
        let bucket = (us / 16).checked_ilog2().map_or(0, |log| log as usize + 1);
        if let Some(count) = self.buckets.get(bucket.min(COMMIT_BUCKETS - 1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn checkpointed(&self, took: Duration) {
        self.checkpoints.fetch_add(1, Ordering::Relaxed);
        self.checkpoint_us.fetch_add(micros(took), Ordering::Relaxed);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.is_failed.load(Ordering::Relaxed)
    }

    pub(super) fn wal_bytes(&self) -> u64 {
        self.frames.load(Ordering::Relaxed) * PAGE_BYTES
    }

    pub(super) fn stats(&self, shared: &Shared) -> Result<Stats, StoreError> {
        let pages = |name: &'static str| {
            shared.reading(|reader| {
                let pages = reader.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
                let pages = pages.map_err(|error| unread(&error, "the size of the database"))?;
                Ok(u64::try_from(pages).unwrap_or(0) * PAGE_BYTES)
            })
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut commit_buckets = [0; COMMIT_BUCKETS];
        for (bucket, counter) in commit_buckets.iter_mut().zip(&self.buckets) {
            *bucket = count(counter);
        }
        let (waiting_entries, waiting_bytes) = shared.mailbox.load();
        Ok(Stats {
            records: count(&self.records),
            rows: count(&self.rows),
            appended: count(&self.appended),
            removed: count(&self.removed),
            database_bytes: pages("page_count")?,
            free_bytes: pages("freelist_count")?,
            wal_bytes: self.wal_bytes(),
            commits: count(&self.commits),
            commit_time: Duration::from_micros(count(&self.commit_us)),
            commit_buckets,
            checkpoints: count(&self.checkpoints),
            checkpoint_time: Duration::from_micros(count(&self.checkpoint_us)),
            waiting_entries,
            waiting_bytes,
            is_failed: self.has_failed(),
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_counted_by_duration() {
        let counters = Counters::default();
        for us in [0, 15, 16, 31, 32, 1_000, u64::from(u32::MAX)] {
            counters.committed(Duration::from_micros(us));
        }
        let counts = counters.buckets.map(|count| count.into_inner());
        let bounds: Vec<_> = commit_bounds().map(|bound| bound.as_micros()).collect();
        assert_eq!((bounds[0], bounds[1], bounds.len()), (16, 32, COMMIT_BUCKETS - 1));
        assert_eq!(counts, [2, 2, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
