//! Folders and short ways for the tests of stores on the disk.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use trunkline_store::contract::Sink;
use trunkline_store::disk::{Disk, DiskOptions};
use trunkline_store::{
    Append, Change, Completion, Done, Entity, Expect, Log as _, ManualClock, Max, Partition, Position,
    RecordId, RowOp, StoreError, Tab, Table as _, Token, Write,
};

/// Everything in one page.
pub(crate) const ALL: Max = Max { records: usize::MAX, bytes: usize::MAX };

/// A folder of one test, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// With nothing in it.
    pub(crate) fn new() -> Self {
        static NEWEST: AtomicU64 = AtomicU64::new(0);
        let number = NEWEST.fetch_add(1, Ordering::Relaxed);
        let name = format!("trunkline-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a folder can be made");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where its database is.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.join("trunkline.db")
    }

    /// Where its write-ahead log is.
    pub(crate) fn wal(&self) -> PathBuf {
        self.0.join("trunkline.db-wal")
    }

    /// Its database and write-ahead log as they are now, as a process that is killed leaves them.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::new();
        for (from, to) in [(self.database(), copy.database()), (self.wal(), copy.wal())] {
            if from.exists() {
                std::fs::copy(from, to).expect("a file can be copied");
            }
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Opens the store of a folder.
pub(crate) fn open(folder: &Folder) -> Disk {
    Disk::open(folder.path(), DiskOptions::default(), Arc::new(ManualClock::default()))
        .expect("nothing is wrong with it")
}

/// Writes and waits.
pub(crate) fn write(store: &Disk, batch: Vec<Write>) -> Vec<Result<Position, StoreError>> {
    let sink = Sink::<HashMap<Token, Completion>>::new();
    store.write(batch, Done::new(sink.clone(), Token(1)));
    match sink.wait("a completion", |results| results.remove(&Token(1))) {
        Completion::Written(results) => results,
        other => unreachable!("{other:?}"),
    }
}

/// A record of nobody.
pub(crate) fn record(partition: u16, id: u128, body: impl Into<Bytes>) -> Write {
    let entity = Entity { partition: Partition(partition), name: Bytes::new() };
    Append { entity, id: RecordId(id), expect: None, ttl: None, body: body.into() }.into()
}

/// Its removal.
pub(crate) fn remove(partition: u16, offset: u64) -> Write {
    Write::Remove { partition: Partition(partition), offset }
}

/// Offsets and ids of a partition's records.
pub(crate) fn replayed(store: &Disk, partition: u16) -> Result<Vec<(u64, u128)>, StoreError> {
    let page = store.replay(Partition(partition), None, ALL)?;
    Ok(page.records.iter().map(|record| (record.position.offset, record.id.0)).collect())
}

/// Writes a row of a table and waits.
pub(crate) fn put(store: &Disk, key: &'static str, body: &'static str) {
    let sink = Sink::<HashMap<Token, Completion>>::new();
    let change = Change::Put { body: Bytes::from_static(body.as_bytes()), ttl: None };
    let key = Bytes::from_static(key.as_bytes());
    let op = RowOp { tab: Tab::Queues, key, expect: Expect::Any, change };
    store.change(vec![op], Done::new(sink.clone(), Token(1)));
    let changed = sink.wait("a completion", |results| results.remove(&Token(1)));
    assert!(matches!(changed, Completion::Changed(results) if results.iter().all(Result::is_ok)));
}
