//! A full disk, a file that cannot be written or synced, a mailbox that is full: the promised answer, and no other harm.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, their helpers included"
)]

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use support::{Folder, open, record, remove, replayed, write};
use trunkline_store::contract::Sink;
use trunkline_store::disk::{Disk, DiskOptions, Fault, Faults, Fsync};
use trunkline_store::{
    Completion, Done, Log as _, ManualClock, Partition, Position, Snapshot, StoreError, Tab, Table as _,
    Token, Write,
};

/// Faults of the commits to come, the first one first; `None` for one that passes.
#[derive(Default)]
struct Script(Mutex<Vec<Option<Fault>>>);

impl Script {
    fn expect(&self, faults: &[Option<Fault>]) {
        let mut script = self.0.lock().unwrap();
        script.extend(faults);
        script.reverse();
    }
}

impl Faults for Script {
    fn next_commit(&self) -> Option<Fault> {
        self.0.lock().unwrap().pop().flatten()
    }
}

fn scripted(folder: &Folder) -> (Disk, Arc<Script>) {
    let script = Arc::new(Script::default());
    let clock = Arc::new(ManualClock::default());
    let store = Disk::open_with(folder.path(), DiskOptions::default(), clock, script.clone()).unwrap();
    (store, script)
}

fn is_ok(results: &[Result<Position, StoreError>]) -> Vec<bool> {
    results.iter().map(Result::is_ok).collect()
}

#[test]
fn after_an_error_of_writing_or_syncing_nothing_is_acknowledged_any_more() {
    for fault in [Fault::Write, Fault::Sync] {
        let folder = Folder::new();
        let (store, script) = scripted(&folder);
        assert_eq!(is_ok(&write(&store, vec![record(1, 1, "acknowledged")])), [true]);
        script.expect(&[Some(fault)]);
        assert_eq!(
            write(&store, vec![record(1, 2, "fails"), remove(1, 1)]),
            [Err(StoreError::Failed), Err(StoreError::Failed)]
        );
        for _ in 0..3 {
            assert_eq!(write(&store, vec![record(1, 3, "after")]), [Err(StoreError::Failed)], "{fault:?}");
        }
        let end = store.replay(Partition(1), None, support::ALL).unwrap().end;
        assert_eq!(
            store.snapshot(Partition(1), Snapshot { upto: end, state: Bytes::new() }),
            Err(StoreError::Failed)
        );
        assert!(store.stats().unwrap().is_failed);
        assert!(matches!(store.fetch(&[(Partition(1), 1)]).as_slice(), [Ok(_)]), "reads go on");
        drop(store);
        let store = open(&folder);
        let records = replayed(&store, 1).unwrap();
        // What failed may be there after a restart, whole; what was acknowledged is there unless that removed it.
        match fault {
            Fault::Sync => assert_eq!(records, [(2, 2)]),
            _ => assert_eq!(records, [(1, 1)]),
        }
        assert_eq!(is_ok(&write(&store, vec![record(1, 4, "again")])), [true]);
    }
}

#[test]
fn a_full_disk_refuses_what_is_added_until_there_is_room() {
    let folder = Folder::new();
    let (store, script) = scripted(&folder);
    assert_eq!(is_ok(&write(&store, vec![record(1, 1, "a"), record(1, 2, "b")])), [true, true]);
    // The group, and then what takes away.
    script.expect(&[Some(Fault::Full), None]);
    let results = write(&store, vec![remove(1, 1), record(1, 3, "c"), remove(1, 2), record(2, 1, "d")]);
    assert_eq!(results[1..], [Err(StoreError::Full), Err(StoreError::Full), Err(StoreError::Full)]);
    assert_eq!(results[0].as_ref().map(|position| position.offset), Ok(1));
    assert_eq!(replayed(&store, 1), Ok(vec![(2, 2)]));
    script.expect(&[Some(Fault::Full), Some(Fault::Full)]);
    assert_eq!(write(&store, vec![remove(1, 2)]), [Err(StoreError::Full)]);
    assert_eq!(replayed(&store, 1), Ok(vec![(2, 2)]));
    assert_eq!(is_ok(&write(&store, vec![record(1, 3, "c"), remove(1, 2)])), [true, true]);
    assert_eq!(replayed(&store, 1), Ok(vec![(3, 3)]), "no offset was lost by what was refused");
}

#[test]
fn who_shares_a_group_with_one_that_does_not_fit_is_not_refused_with_it() {
    let folder = Folder::new();
    let options = DiskOptions { database_bytes_max: Some(1 << 20), ..DiskOptions::default() };
    let store = Disk::open(folder.path(), options, Arc::new(ManualClock::default())).unwrap();
    let sink = Sink::<HashMap<Token, Completion>>::new();
    // While the first is being committed, the others gather behind it.
    for round in 0..20 {
        for (n, bytes) in [10, 1_500_000, 10].into_iter().enumerate() {
            let batch = vec![record(1, 0, vec![b'x'; bytes])];
            store.write(batch, Done::new(sink.clone(), Token(round * 3 + n as u64)));
        }
    }
    for token in 0..60 {
        let completion = sink.wait("a completion", |results| results.remove(&Token(token)));
        let Completion::Written(results) = completion else { panic!("{completion:?}") };
        let expected = if token % 3 == 1 { Err(StoreError::Full) } else { Ok(()) };
        assert_eq!(results.into_iter().map(|result| result.map(|_| ())).collect::<Vec<_>>(), [expected]);
    }
    assert_eq!(replayed(&store, 1).unwrap().len(), 40);
}

#[test]
fn what_does_not_fit_into_the_mailbox_is_told_to_come_again() {
    let folder = Folder::new();
    let options = DiskOptions { waiting_entries_max: 3, ..DiskOptions::default() };
    let store = Disk::open(folder.path(), options, Arc::new(ManualClock::default())).unwrap();
    let sink = Sink::<HashMap<Token, Completion>>::new();
    for token in 0..200 {
        let batch = vec![record(1, u128::from(token), "a"), record(1, u128::from(token), "b")];
        store.write(batch, Done::new(sink.clone(), Token(token)));
    }
    let mut written = Vec::new();
    for token in 0..200 {
        let completion = sink.wait("a completion", |results| results.remove(&Token(token)));
        let Completion::Written(results) = completion else { panic!("{completion:?}") };
        match results.as_slice() {
            [Ok(_), Ok(_)] => written.extend([u128::from(token); 2]),
            [Err(StoreError::Unavailable { retry_after }), Err(_)] => assert!(*retry_after > Duration::ZERO),
            other => panic!("{other:?}"),
        }
    }
    assert!(written.len() < 400, "nobody was refused");
    let kept: Vec<u128> = replayed(&store, 1).unwrap().into_iter().map(|(_, id)| id).collect();
    assert_eq!(kept, written);
}

/// Where a child has its store.
const CHILD: &str = "TRUNKLINE_STORE_CHILD";

/// Runs a test of this file in a shell, so that the shell can limit it; whether it passed.
fn limited(shell: &str, test: &str, folder: &Path) {
    let mut command = Command::new("sh");
    let program = std::env::current_exe().unwrap();
    command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(program);
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(CHILD, folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn child_store() -> Option<Disk> {
    let folder = std::env::var_os(CHILD)?;
    Some(Disk::open(Path::new(&folder), DiskOptions::default(), Arc::new(ManualClock::default())).unwrap())
}

#[test]
#[ignore = "the child of the test of a file that cannot grow"]
fn writes_until_its_file_cannot_grow() {
    let Some(store) = child_store() else { return };
    let mut acknowledged = Vec::new();
    let error = loop {
        let id = acknowledged.len() as u128;
        match write(&store, vec![record(1, id, vec![b'x'; 10_000])]).remove(0) {
            Ok(position) => acknowledged.push((position.offset, id)),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1_000, "there is no limit");
    };
    assert_eq!(error, StoreError::Failed);
    assert_eq!(write(&store, vec![remove(1, 1)]), [Err(StoreError::Failed)]);
    assert_eq!(replayed(&store, 1), Ok(acknowledged));
}

/// The kernel's own error of a write: the file may not grow beyond what the process is allowed.
#[test]
fn an_error_of_the_kernel_is_the_end_of_writing_and_not_of_reading() {
    let folder = Folder::new();
    limited("trap '' XFSZ; ulimit -f 2048", "writes_until_its_file_cannot_grow", folder.path());
    let store = open(&folder);
    let records = replayed(&store, 1).unwrap();
    assert!(records.len() > 20, "{} records", records.len());
    assert_eq!(is_ok(&write(&store, vec![record(1, 0, "goes on")])), [true]);
}

/// A small file system, gone with it.
struct Small(Folder);

impl Small {
    /// `None` when this process may not mount.
    fn mounted(bytes: u64) -> Option<Self> {
        let folder = Folder::new();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).output();
    }
}

/// On a file system that is really full, where this process may mount one.
#[test]
fn a_file_system_without_room_refuses_what_is_added_until_there_is_room() {
    let Some(small) = Small::mounted(3 << 20) else { return };
    let ballast = small.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; 1 << 20]).unwrap();
    let store = open(&small.0);
    let mut acknowledged = Vec::new();
    let mut id = 0;
    let mut refused = 0;
    while refused < 20 {
        id += 1;
        match write(&store, vec![record(1, id, vec![b'x'; 5_000])]).remove(0) {
            Ok(position) => acknowledged.push((position.offset, id)),
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                refused += 1;
            }
        }
        assert!(acknowledged.len() < 2_000, "it is never full");
    }
    assert!(acknowledged.len() > 50, "{} records", acknowledged.len());
    assert_eq!(replayed(&store, 1).as_ref(), Ok(&acknowledged));
    std::fs::remove_file(ballast).unwrap();
    let position = write(&store, vec![record(1, 9_999, "room again")]).remove(0).unwrap();
    acknowledged.push((position.offset, 9_999));
    let newest = acknowledged.len() as u64;
    assert_eq!(position.offset, newest, "what was refused took no offset");
    drop(store);
    let store = open(&small.0);
    assert_eq!(replayed(&store, 1), Ok(acknowledged));
}

/// A weaker promise is kept as long as the machine lives: what was acknowledged outlives the process.
#[test]
fn a_store_that_syncs_now_and_then_keeps_everything_over_an_orderly_end() {
    for fsync in [Fsync::Interval(Duration::from_millis(1)), Fsync::Never] {
        let folder = Folder::new();
        let options = DiskOptions { fsync, ..DiskOptions::default() };
        let store = Disk::open(folder.path(), options, Arc::new(ManualClock::default())).unwrap();
        for id in 0..50 {
            assert_eq!(is_ok(&write(&store, vec![record(1, id, vec![b'x'; 1_000])])), [true]);
        }
        let epoch = store.replay(Partition(1), None, support::ALL).unwrap().end.epoch;
        drop(store);
        let store = open(&folder);
        assert_eq!(replayed(&store, 1).unwrap().len(), 50);
        assert_eq!(store.replay(Partition(1), None, support::ALL).unwrap().end.epoch, epoch);
    }
}

/// After a crash of the machine nobody can prove that such a log goes on.
#[test]
fn a_store_that_synced_now_and_then_begins_a_new_epoch_after_a_crash_of_the_machine() {
    let folder = Folder::new();
    let options = DiskOptions { fsync: Fsync::Interval(Duration::from_secs(3600)), ..DiskOptions::default() };
    let store = Disk::open(folder.path(), options, Arc::new(ManualClock::default())).unwrap();
    write(&store, vec![record(1, 1, "a")]);
    let epoch_of = |store: &Disk| store.replay(Partition(1), None, support::ALL).unwrap().end.epoch;
    let epoch = epoch_of(&store);
    let lock = std::fs::read_to_string(folder.path().join("lock")).unwrap();
    for (boot, is_same) in [(None, true), (Some("another-start-of-the-machine"), false)] {
        let copy = folder.copy();
        let lock = match boot {
            None => lock.clone(),
            Some(boot) => lock.split(' ').take(2).chain([boot]).collect::<Vec<_>>().join(" "),
        };
        std::fs::write(copy.path().join("lock"), lock).unwrap();
        let life = open(&copy);
        assert_eq!(epoch_of(&life) == epoch, is_same);
        drop(life);
        let next = open(&copy);
        assert_eq!(epoch_of(&next) == epoch, is_same, "the one after an orderly end goes on");
    }
}

#[test]
fn tables_keep_what_was_acknowledged_before_a_failure() {
    let folder = Folder::new();
    let (store, script) = scripted(&folder);
    support::put(&store, "a", "acknowledged");
    script.expect(&[Some(Fault::Write)]);
    let _ = write(&store, vec![Write::Remove { partition: Partition(0), offset: 1 }, record(0, 1, "fails")]);
    drop(store);
    let store = open(&folder);
    assert_eq!(store.scan(Tab::Queues, b"", None, 10).unwrap().len(), 1);
}
