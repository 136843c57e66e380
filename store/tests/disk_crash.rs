//! What is left after a process was killed, and after the end of the write-ahead log was torn off.
//!
//! `cargo test --release -p trunkline-store --test disk_crash -- --ignored` runs the hundred rounds.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, their helpers included"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use support::{Folder, open, record, remove, replayed, write};
use trunkline_store::contract::Sink;
use trunkline_store::disk::{Disk, DiskOptions, OpenError};
use trunkline_store::{Completion, Done, Log as _, ManualClock, Partition, Token, Write};

/// Tells a test that it is a child, and where its store is.
const CHILD: &str = "TRUNKLINE_STORE_CHILD";

/// Runs a test of this file in a process of its own.
fn child(test: &str, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command.env(CHILD, folder).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command.spawn().unwrap()
}

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

const PARTITIONS: [u16; 5] = [0, 1, 2, 30_000, 65_535];

/// The body a record has at its place: any size, and no two alike.
fn body(partition: u16, offset: u64) -> Bytes {
    let mut random = Random(u64::from(partition) << 32 ^ offset);
    let length = match random.below(100) {
        0 => 300_000,
        1..10 => random.below(20_000),
        _ => random.below(300),
    };
    let word = random.below(u64::MAX).to_le_bytes();
    word.iter().copied().cycle().take(usize::try_from(length).unwrap()).collect()
}

fn id(partition: u16, offset: u64) -> u128 {
    u128::from(partition) << 64 | u128::from(offset)
}

/// Writes for ever and says on its output what it is about to remove, and what was acknowledged.
#[test]
#[ignore = "the child of the tests that kill it"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store =
        Disk::open(Path::new(&folder), DiskOptions::default(), Arc::new(ManualClock::default())).unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let mut ends: BTreeMap<u16, u64> = BTreeMap::new();
    let mut live: Vec<(u16, u64)> = Vec::new();
    for partition in PARTITIONS {
        let page = store.replay(Partition(partition), None, support::ALL).unwrap();
        ends.insert(partition, page.end.offset);
        live.extend(page.records.iter().map(|record| (partition, record.position.offset)));
    }
    let sink = Sink::<HashMap<Token, Completion>>::new();
    let mut waiting: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut out = std::io::stdout().lock();
    for number in 0.. {
        let mut told = Vec::new();
        let mut batch = Vec::new();
        for _ in 0..=random.below(40) {
            if random.below(100) < 52 || live.is_empty() {
                let partition = PARTITIONS[usize::try_from(random.below(5)).unwrap()];
                let offset = ends[&partition] + 1;
                ends.insert(partition, offset);
                batch.push(record(partition, id(partition, offset), body(partition, offset)));
                live.push((partition, offset));
                told.push(format!("appended {partition} {offset}"));
            } else {
                let at = usize::try_from(random.below(live.len() as u64)).unwrap();
                let (partition, offset) = live.swap_remove(at);
                writeln!(out, "removing {partition} {offset}").unwrap();
                batch.push(remove(partition, offset));
                told.push(format!("removed {partition} {offset}"));
            }
        }
        out.flush().unwrap();
        store.write(batch, Done::new(sink.clone(), Token(number)));
        waiting.insert(number, told);
        while waiting.len() > 12 {
            let (token, told) = waiting.pop_first().unwrap();
            let completion = sink.wait("a completion", |results| results.remove(&Token(token)));
            assert!(matches!(completion, Completion::Written(results) if results.iter().all(Result::is_ok)));
            for line in told {
                writeln!(out, "{line}").unwrap();
            }
            out.flush().unwrap();
        }
    }
}

/// What a child has said in its lives.
#[derive(Default)]
struct Said {
    appended: BTreeSet<(u16, u64)>,
    removing: BTreeSet<(u16, u64)>,
    removed: BTreeSet<(u16, u64)>,
}

impl Said {
    /// `true` for an acknowledgement.
    fn take(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let word = words.next().unwrap();
        let place = words.next().zip(words.next());
        let place = place.and_then(|(p, o)| Some((p.parse().ok()?, o.parse().ok()?)));
        match (word, place) {
            ("appended", Some(place)) => self.appended.insert(place),
            ("removed", Some(place)) => self.removed.insert(place),
            ("removing", Some(place)) => {
                self.removing.insert(place);
                false
            }
            _ => false,
        }
    }

    /// Everything acknowledged is there, or gone, and nothing else was lost or made up.
    fn check(&self, folder: &Folder) {
        let store = open(folder);
        for partition in PARTITIONS {
            let page = store.replay(Partition(partition), None, support::ALL).unwrap();
            let mut found = BTreeSet::new();
            for record in &page.records {
                let offset = record.position.offset;
                assert!(record.id.0 == id(partition, offset) && record.body == body(partition, offset));
                assert!(!self.removed.contains(&(partition, offset)), "{partition} {offset} came back");
                found.insert(offset);
            }
            let newest = self.appended.range((partition, 0)..=(partition, u64::MAX)).next_back();
            assert!(newest.is_none_or(|(_, offset)| *offset <= page.end.offset), "the newest is lost");
            for offset in (1..=page.end.offset).filter(|offset| !found.contains(offset)) {
                assert!(self.removing.contains(&(partition, offset)), "{partition} {offset} is lost");
            }
        }
        let stats = store.stats().unwrap();
        assert!(stats.wal_bytes <= 96 << 20, "{} bytes of log to recover", stats.wal_bytes);
    }
}

fn killed_rounds(rounds: u64) {
    let folder = Folder::new();
    let mut said = Said::default();
    let mut random = Random(rounds);
    for _ in 0..rounds {
        let mut child = child("writes_until_it_is_killed", folder.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = 1 + random.below(4_000);
        let mut acknowledged = 0;
        while acknowledged < enough {
            let line = lines.next().expect("the child goes on until it is killed").unwrap();
            acknowledged += u64::from(said.take(&line));
        }
        child.kill().unwrap();
        // Whole lines were acknowledged before the end, half a one was not.
        for line in lines.map_while(Result::ok) {
            said.take(&line);
        }
        child.wait().unwrap();
        said.check(&folder);
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_it_is_killed() {
    killed_rounds(5);
}

#[test]
#[ignore = "a hundred rounds take minutes"]
fn nothing_acknowledged_is_lost_in_a_hundred_kills() {
    killed_rounds(100);
}

/// Opens the store of a folder and says so, until its input ends.
#[test]
#[ignore = "the child of the test of two processes"]
fn holds_its_store() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let _store =
        Disk::open(Path::new(&folder), DiskOptions::default(), Arc::new(ManualClock::default())).unwrap();
    println!("\nopened");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_second_process_is_kept_out_until_the_first_is_gone() {
    let folder = Folder::new();
    let mut first = child("holds_its_store", folder.path());
    let lines = BufReader::new(first.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "opened"));
    let second = Disk::open(folder.path(), DiskOptions::default(), Arc::new(ManualClock::default()));
    let error = second.err().expect("the first has it");
    assert!(matches!(&error, OpenError::Locked { pid, .. } if *pid == Some(first.id())), "{error:?}");
    assert!(error.to_string().contains(&format!("is used by another process ({})", first.id())));
    first.kill().unwrap();
    first.wait().unwrap();
    let store = open(&folder);
    assert!(Disk::open(folder.path(), DiskOptions::default(), Arc::new(ManualClock::default())).is_err());
    drop(store);
    drop(open(&folder));
}

/// Commits of some records each, and the length of the write-ahead log after each of them.
struct Logged {
    folder: Folder,
    store: Disk,
    /// Reads what was there at the beginning, so that nothing behind it is copied into the database meanwhile.
    _reader: Connection,
    lengths: Vec<u64>,
}

fn logged(commits: u64, bytes: usize) -> Logged {
    let folder = Folder::new();
    let store = open(&folder);
    assert!(write(&store, vec![record(0, 0, "the first")]).iter().all(Result::is_ok));
    let reader = Connection::open(folder.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let mut lengths = Vec::new();
    for commit in 0..commits {
        let of = |n: u64| record(1, u128::from(commit), vec![u8::try_from(n).unwrap(); bytes]);
        let batch: Vec<Write> = (0..3).map(of).collect();
        assert!(write(&store, batch).iter().all(Result::is_ok));
        lengths.push(fs::metadata(folder.wal()).unwrap().len());
    }
    Logged { folder, store, _reader: reader, lengths }
}

/// Commits that are in a folder; each is there with all of its records, and none without those before it.
fn commits(folder: &Folder) -> Result<u64, OpenError> {
    let store = Disk::open(folder.path(), DiskOptions::default(), Arc::new(ManualClock::default()))?;
    let records = replayed(&store, 1)?;
    let expected: Vec<(u64, u128)> = (0..records.len() as u64).map(|n| (n + 1, u128::from(n / 3))).collect();
    assert_eq!(records, expected);
    assert_eq!(records.len() % 3, 0, "half a commit");
    Ok(records.len() as u64 / 3)
}

impl Logged {
    /// A copy of it as a kill would leave it, with another log.
    fn with(&self, log: &[u8]) -> Folder {
        let copy = self.folder.copy();
        fs::write(copy.wal(), log).unwrap();
        copy
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.folder.wal()).unwrap()
    }
}

#[test]
fn a_torn_end_costs_the_commits_that_are_torn_and_no_other() {
    for (bytes, step, near_frames) in [(100, 499, 15), (1 << 20, 900_007, 3)] {
        let logged = logged(4, bytes);
        let log = logged.log();
        let from = usize::try_from(logged.lengths[1]).unwrap();
        let frames = (from..=log.len()).step_by(4096 + 24).flat_map(|end| [end - 1, end, end + 1]);
        let mut cuts: Vec<usize> = (from..=log.len()).step_by(step).collect();
        cuts.extend(frames.take(near_frames).filter(|cut| *cut <= log.len()));
        for cut in cuts {
            let whole = logged.lengths.iter().filter(|length| **length <= cut as u64).count() as u64;
            assert_eq!(commits(&logged.with(&log[..cut])).unwrap(), whole, "cut at {cut}");
            // As a file system does that had made the file longer before it wrote.
            let mut zeros = log[..cut].to_vec();
            zeros.resize(log.len(), 0);
            assert_eq!(commits(&logged.with(&zeros)).unwrap(), whole, "zeros from {cut}");
        }
        drop(logged.store);
    }
}

#[test]
fn a_hole_in_the_last_commit_costs_that_one() {
    for bytes in [100, 1 << 20] {
        let logged = logged(4, bytes);
        let log = logged.log();
        let from = usize::try_from(logged.lengths[2]).unwrap();
        let count = (log.len() - from) / 7;
        for at in (from..log.len() - 1).step_by(count.max(1)) {
            let mut log = log.clone();
            let end = (at + 4096).min(log.len());
            log[at..end].fill(0);
            assert_eq!(commits(&logged.with(&log)).unwrap(), 3, "a hole at {at}");
        }
        drop(logged.store);
    }
}

/// The engine would take what stands before the damage, and leave out in silence what was acknowledged behind it.
#[test]
fn damage_of_the_log_before_its_last_commits_is_refused() {
    let logged = logged(8, 3_000);
    let log = logged.log();
    let until = usize::try_from(logged.lengths[5]).unwrap();
    let mut random = Random(1);
    for round in 0..60 {
        let mut log = log.clone();
        let at = if round == 0 { 0 } else { usize::try_from(random.below(until as u64)).unwrap() };
        if round % 2 == 0 {
            log[at..(at + 4096).min(until)].fill(0);
        } else {
            log[at] ^= 1 << random.below(8);
        }
        match commits(&logged.with(&log)) {
            Err(OpenError::Damaged(place)) => assert!(place.starts_with("the write-ahead log, "), "{place}"),
            // What the engine does not read: the number of checkpoints, for one.
            Ok(commits) => assert_eq!(commits, 8, "damage at {at}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    drop(logged.store);
}
