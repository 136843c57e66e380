//! What is done for the files while the store is used: backup, compaction, checks, figures, time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, their helpers included"
)]

mod support;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use support::{Folder, open, record, remove, replayed, write};
use trunkline_store::contract::Sink;
use trunkline_store::disk::{Disk, DiskOptions, Progress};
use trunkline_store::{
    Append, Change, Completion, Done, Entity, Expect, Log as _, ManualClock, Partition, RecordId, RowChange,
    RowOp, StoreError, Tab, Table as _, Token, Write,
};

fn fill(store: &Disk, records: u128, bytes: usize) {
    let all: Vec<Write> = (1..=records).map(|id| record(1, id, vec![b'x'; bytes])).collect();
    for batch in all.chunks(100) {
        assert!(write(store, batch.to_vec()).iter().all(Result::is_ok));
    }
}

#[test]
fn a_backup_made_while_it_is_written_holds_a_moment_of_it() {
    let folder = Folder::new();
    let target = Folder::new();
    let store = open(&folder);
    fill(&store, 2_000, 3_000);
    support::put(&store, "a", "row");
    let file = target.path().join("trunkline.db");
    let is_over = AtomicBool::new(false);
    let mut steps: Vec<Progress> = Vec::new();
    let acknowledged = std::thread::scope(|threads| {
        let writing = threads.spawn(|| {
            let mut id = 2_000;
            while !is_over.load(Ordering::Relaxed) {
                id += 1;
                // Each record is replaced by the next one: a moment has exactly one of them.
                let batch =
                    vec![record(2, id, vec![b'y'; 500]), remove(2, u64::try_from(id - 2_001).unwrap())];
                assert!(write(&store, batch).iter().all(Result::is_ok));
            }
            id
        });
        store.backup(&file, &mut |step| steps.push(step)).unwrap();
        is_over.store(true, Ordering::Relaxed);
        writing.join().unwrap()
    });
    assert!(steps.len() > 5, "{steps:?}");
    let last = steps.last().unwrap();
    assert_eq!(last.done, last.total);
    assert!(acknowledged > 2_001, "nothing was written meanwhile");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = store.backup(&file, &mut |_| {}).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "nothing else is left beside it");
    let epoch = |store: &Disk| store.replay(Partition(1), None, support::ALL).unwrap().end.epoch;
    let original = epoch(&store);
    drop(store);
    let copy = open(&target);
    assert_eq!(replayed(&copy, 1).unwrap().len(), 2_000);
    assert_eq!(replayed(&copy, 2).unwrap().len(), 1);
    assert_eq!(copy.scan(Tab::Queues, b"", None, 10).unwrap().len(), 1);
    assert_ne!(epoch(&copy), original, "both will give the next position");
    assert_eq!(copy.check(&mut |_| {}).unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_backup_that_cannot_be_written_harms_nobody() {
    let folder = Folder::new();
    let store = open(&folder);
    fill(&store, 10, 100);
    let missing = folder.path().join("there/is/no/such/folder");
    assert!(store.backup(&missing, &mut |_| {}).is_err());
    assert_eq!(
        write(&store, vec![record(1, 11, "goes on")]).iter().filter(|result| result.is_ok()).count(),
        1
    );
}

#[test]
fn compaction_gives_back_what_is_free_and_goes_on_between_writes() {
    let folder = Folder::new();
    let store = open(&folder);
    fill(&store, 5_000, 2_000);
    let full = store.stats().unwrap();
    assert!(full.database_bytes > 9 << 20, "{full:?}");
    let removed: Vec<Write> = (1..=4_990).map(|offset| remove(1, offset)).collect();
    assert!(write(&store, removed).iter().all(Result::is_ok));
    assert!(store.stats().unwrap().free_bytes > 9 << 20);
    let mut steps = Vec::new();
    store.compact(&mut |step| steps.push(step)).unwrap();
    assert!(steps.len() > 3 && steps.is_sorted_by_key(|step| step.done), "{steps:?}");
    let stats = store.stats().unwrap();
    assert_eq!(stats.free_bytes, 0);
    assert!(fs::metadata(folder.database()).unwrap().len() < 200_000);
    assert_eq!(fs::metadata(folder.wal()).unwrap().len(), 0);
    assert_eq!(replayed(&store, 1).unwrap().len(), 10);
}

#[test]
fn figures_follow_what_is_done() {
    let folder = Folder::new();
    let store = open(&folder);
    fill(&store, 300, 10);
    write(&store, vec![remove(1, 1), remove(1, 2), remove(1, 999)]);
    support::put(&store, "a", "row");
    support::put(&store, "a", "again");
    let stats = store.stats().unwrap();
    assert_eq!((stats.records, stats.rows, stats.appended, stats.removed), (298, 1, 300, 2));
    assert_eq!((stats.commits, stats.commit_buckets.iter().sum::<u64>()), (6, 6));
    assert_eq!((stats.waiting_entries, stats.waiting_bytes, stats.is_failed), (0, 0, false));
    assert!(stats.commit_time > Duration::ZERO);
    drop(store);
    let stats = open(&folder).stats().unwrap();
    assert_eq!((stats.records, stats.rows, stats.appended, stats.wal_bytes), (298, 1, 0, 0));
    assert!(stats.database_bytes > 0);
}

#[test]
fn a_store_in_use_is_checked() {
    let folder = Folder::new();
    let store = open(&folder);
    fill(&store, 10_000, 10);
    write(&store, (1..5_000).map(|offset| remove(1, offset)).collect());
    let report = store.check(&mut |_| {}).unwrap();
    assert_eq!((report.records, report.problems), (5_001, Vec::<String>::new()));
}

/// Whatever the log grew to, it is copied when it passes its bound, once no reader is in the way.
#[test]
fn a_reader_that_takes_long_lets_the_log_grow_and_no_write_wait() {
    let folder = Folder::new();
    let options = DiskOptions { wal_bytes_max: 1 << 20, ..DiskOptions::default() };
    let store = Disk::open(folder.path(), options, Arc::new(ManualClock::default())).unwrap();
    fill(&store, 10, 10);
    let reader = Connection::open(folder.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    fill(&store, 2_000, 2_000);
    assert!(store.stats().unwrap().wal_bytes > 3 << 20, "{:?}", store.stats());
    reader.execute_batch("COMMIT").unwrap();
    fill(&store, 1_000, 2_000);
    assert!(store.stats().unwrap().wal_bytes < 2 << 20, "{:?}", store.stats());
    assert_eq!(replayed(&store, 1).unwrap().len(), 3_010);
}

fn short(partition: u16, id: u128, entity: &'static str) -> Write {
    let entity = Entity { partition: Partition(partition), name: Bytes::from_static(entity.as_bytes()) };
    let ttl = Some(Duration::from_secs(10));
    Append { entity, id: RecordId(id), expect: None, ttl, body: Bytes::new() }.into()
}

#[test]
fn what_has_expired_goes_without_being_missed_and_its_watchers_learn_of_it() {
    let folder = Folder::new();
    let clock = Arc::new(ManualClock::default());
    let store = Disk::open(folder.path(), DiskOptions::default(), clock.clone()).unwrap();
    let entities = ["", "a", "b"];
    let batch = (0..3_000).map(|n| short(1, n, entities[usize::try_from(n % 3).unwrap()]));
    assert!(write(&store, batch.collect()).iter().all(Result::is_ok));
    write(&store, vec![record(1, 9_999, "stays")]);
    let seen = Sink::<Vec<RowChange>>::new();
    store.watch(Tab::Leases, seen.clone());
    let sink = Sink::<HashMap<Token, Completion>>::new();
    let change = Change::Put { body: Bytes::new(), ttl: Some(Duration::from_secs(10)) };
    let row = |key: &'static str| RowOp {
        tab: Tab::Leases,
        key: Bytes::from_static(key.as_bytes()),
        expect: Expect::Any,
        change: change.clone(),
    };
    store.change(vec![row("x"), row("y")], Done::new(sink.clone(), Token(1)));
    sink.wait("a completion", |results| results.remove(&Token(1)));
    clock.advance(Duration::from_secs(11));
    store.expire();
    let stats = store.stats().unwrap();
    assert_eq!((stats.records, stats.removed, stats.rows), (1, 3_000, 0));
    let told = seen.wait("the last change", |changes| {
        (changes.len() == 4).then(|| changes.iter().map(|change| change.row.is_some()).collect::<Vec<_>>())
    });
    assert_eq!(told, [true, true, false, false]);
    drop(store);
    let store = open(&folder);
    assert_eq!(replayed(&store, 1), Ok(vec![(3_001, 9_999)]));
    let entity = Entity { partition: Partition(1), name: Bytes::from_static(b"b") };
    let end = store.replay(Partition(1), None, support::ALL).unwrap().end;
    let before = trunkline_store::Position { offset: 2_000, ..end };
    assert!(matches!(store.read(&entity, Some(before), support::ALL), Err(StoreError::Trimmed { .. })));
    assert_eq!(store.check(&mut |_| {}).unwrap().problems, Vec::<String>::new());
}

#[test]
fn trimming_very_many_records_is_done_in_steps() {
    let folder = Folder::new();
    let store = open(&folder);
    let entity = Entity { partition: Partition(1), name: Bytes::from_static(b"history") };
    let append =
        |id| Append { entity: entity.clone(), id: RecordId(id), expect: None, ttl: None, body: Bytes::new() };
    let batch: Vec<Write> = (0..3_000).map(|id| append(id).into()).collect();
    let positions = write(&store, batch);
    let last = positions.last().unwrap().clone().unwrap();
    let commits = store.stats().unwrap().commits;
    store.trim(&entity, last).unwrap();
    assert_eq!(replayed(&store, 1), Ok(vec![(3_000, 2_999)]));
    assert!(store.stats().unwrap().commits > commits + 1, "one commit would stand in the way of all others");
}

/// Messages are private: nobody but the owner reads the files.
#[test]
fn the_files_are_their_owners_only() {
    let parent = Folder::new();
    let directory = parent.path().join("data/store");
    let store = Disk::open(&directory, DiskOptions::default(), Arc::new(ManualClock::default())).unwrap();
    write(&store, vec![record(1, 1, "private")]);
    assert_eq!(store.directory(), directory);
    let mut files = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let facts = entry.unwrap().metadata().unwrap();
        assert_eq!(facts.permissions().mode() & 0o077, 0);
        files += 1;
    }
    assert_eq!(files, 4, "database, its log, the index of that, the lock");
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
}
