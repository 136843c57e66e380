//! What is damaged is refused with its place, what is somebody else's is left alone, and nothing is ever given that was not
//! written.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests, their helpers included"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::Connection;
use support::{Folder, open, record, remove, replayed, write};
use trunkline_store::disk::{Disk, DiskOptions, OpenError, check, exists};
use trunkline_store::{
    Append, Entity, Log as _, ManualClock, Max, Partition, Record, RecordId, Row, Snapshot, StoreError, Tab,
    Table as _, Write,
};

const PARTITIONS: [u16; 3] = [0, 7, 40_000];

/// Some of everything, ended in order: all of it is in the database.
fn filled() -> Folder {
    let folder = Folder::new();
    let store = open(&folder);
    for n in 0..60_u128 {
        let batch =
            PARTITIONS.map(|partition| record(partition, n, format!("BODY {partition} {n} ").repeat(20)));
        assert!(write(&store, batch.to_vec()).iter().all(Result::is_ok));
    }
    let entity = Entity { partition: Partition(7), name: Bytes::from_static(b"ENTITY") };
    let of_entity =
        Append { entity, id: RecordId(99), expect: None, ttl: None, body: Bytes::from(vec![b'z'; 20_000]) };
    write(&store, vec![of_entity.into()]);
    let removed = (1..=60)
        .filter(|offset| offset % 3 == 0)
        .flat_map(|offset| PARTITIONS.map(|partition| remove(partition, offset)));
    assert!(write(&store, removed.collect()).iter().all(Result::is_ok));
    let end = store.replay(Partition(0), None, support::ALL).unwrap().end;
    let upto = trunkline_store::Position { offset: 5, ..end };
    store.snapshot(Partition(0), Snapshot { upto, state: Bytes::from_static(b"SNAPSHOT") }).unwrap();
    support::put(&store, "ROW 1", "ROWBODY");
    support::put(&store, "ROW 2", "ROWBODY");
    drop(store);
    folder
}

/// All that can be read of a store.
#[derive(Debug, PartialEq)]
struct Content {
    snapshots: Vec<Option<Snapshot>>,
    replayed: Vec<Vec<Record>>,
    fetched: Vec<Option<Record>>,
    rows: Vec<Row>,
}

fn content(folder: &Path) -> Result<Content, OpenError> {
    let store = Disk::open(folder, DiskOptions::default(), Arc::new(ManualClock::default()))?;
    let mut content =
        Content { snapshots: Vec::new(), replayed: Vec::new(), fetched: Vec::new(), rows: Vec::new() };
    for partition in PARTITIONS.map(Partition) {
        let page = store.replay(partition, None, support::ALL)?;
        content.snapshots.push(page.snapshot);
        content.replayed.push(page.records);
        let places: Vec<_> = (0..70).map(|offset| (partition, offset)).collect();
        content.fetched.extend(store.fetch(&places).into_iter().collect::<Result<Vec<_>, StoreError>>()?);
    }
    content.rows = store.scan(Tab::Queues, b"", None, 100)?;
    Ok(content)
}

/// Splitmix64.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Opens a copy whose database was changed. What is given is what was written, or it is refused with a place.
fn refused(folder: &Folder, expected: &Content, change: impl FnOnce(&mut Vec<u8>)) -> Option<String> {
    let copy = folder.copy();
    let mut bytes = fs::read(copy.database()).unwrap();
    change(&mut bytes);
    fs::write(copy.database(), bytes).unwrap();
    match content(copy.path()) {
        Ok(content) => {
            assert!(&content == expected, "something else is given than was written");
            None
        }
        Err(OpenError::Damaged(place)) => {
            assert!(place.len() > 10, "no place: {place}");
            Some(place.into())
        }
        Err(OpenError::Foreign { path } | OpenError::Newer { path, .. }) => Some(path.display().to_string()),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_flipped_bit_is_refused_or_changes_nothing() {
    let folder = filled();
    let expected = content(folder.path()).unwrap();
    let length = fs::metadata(folder.database()).unwrap().len();
    let mut seed = 1;
    let mut refusals = 0;
    for _ in 0..250 {
        let (at, bit) = (random(&mut seed) % length, random(&mut seed) % 8);
        let flip = |bytes: &mut Vec<u8>| bytes[usize::try_from(at).unwrap()] ^= 1 << bit;
        refusals += usize::from(refused(&folder, &expected, flip).is_some());
    }
    assert!(refusals > 60, "{refusals} of 250: most of the file is in use");
}

#[test]
fn a_flipped_bit_in_a_body_names_its_record() {
    let folder = filled();
    let expected = content(folder.path()).unwrap();
    let bytes = fs::read(folder.database()).unwrap();
    let needle = b"BODY 40000 7 BODY";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    let place = refused(&folder, &expected, |bytes| bytes[at + 3] ^= 4).unwrap();
    assert_eq!(place, "partition 40000, offset 8: its sum does not match");
}

#[test]
fn a_page_of_zeros_is_refused_or_changes_nothing() {
    let folder = filled();
    let expected = content(folder.path()).unwrap();
    let pages = usize::try_from(fs::metadata(folder.database()).unwrap().len()).unwrap() / 4096;
    let refusals = (0..pages).filter(|page| {
        let zero = |bytes: &mut Vec<u8>| bytes[page * 4096..(page + 1) * 4096].fill(0);
        refused(&folder, &expected, zero).is_some()
    });
    assert!(refusals.count() > pages / 2);
}

/// Changes a store behind its back, as a damaged page would: its bookkeeping knows nothing of it.
fn tampered(sql: &str) -> Folder {
    let folder = filled();
    let connection = Connection::open(folder.database()).unwrap();
    let changed = connection.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql} did nothing");
    drop(connection);
    folder
}

fn damage_of(folder: &Folder) -> String {
    match content(folder.path()) {
        Err(OpenError::Damaged(place)) => place.into(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("nobody noticed"),
    }
}

#[test]
fn a_record_that_is_missing_is_found_though_others_were_removed() {
    for key in [1_i64, 40, 59] {
        let folder = tampered(&format!("DELETE FROM records WHERE key = {}", (7_i64 << 48) + key));
        assert_eq!(damage_of(&folder), "partition 7, offsets 0 to 4095: 40 records where 41 should be");
    }
}

#[test]
fn all_records_of_a_partition_that_are_missing_are_found() {
    let folder = tampered(&format!("DELETE FROM records WHERE key >> 48 = 7 AND key < {}", 8_i64 << 48));
    assert_eq!(damage_of(&folder), "partition 7, offsets 0 to 4095: 0 records where 41 should be");
}

#[test]
fn a_record_in_another_place_is_found() {
    let to = (7_i64 << 48) + 3;
    let folder = tampered(&format!("UPDATE records SET key = {to} WHERE key = {}", to + 1));
    assert_eq!(damage_of(&folder), "partition 7, offset 3: its sum does not match");
}

#[test]
fn a_record_that_came_back_is_found() {
    let folder = filled();
    let copy = folder.copy();
    let store = open(&folder);
    write(&store, vec![remove(0, 1)]);
    drop(store);
    let connection = Connection::open(folder.database()).unwrap();
    connection.execute("ATTACH ? AS other", [copy.database().to_str()]).unwrap();
    connection.execute("INSERT INTO records SELECT * FROM other.records WHERE key = 1", []).unwrap();
    drop(connection);
    assert_eq!(damage_of(&folder), "partition 0, offsets 0 to 4095: 40 records where 39 should be");
}

#[test]
fn a_partition_that_forgot_its_end_is_refused() {
    for (sql, place) in [
        ("DELETE FROM partitions WHERE partition = 7", "2 partitions where 3 should be"),
        (
            "UPDATE partitions SET newest = 3 WHERE partition = 7",
            "the ends of partition 7: their sum does not match",
        ),
        ("UPDATE facts SET value = 9 WHERE name = 'epoch'", "the number `epoch`: its sum does not match"),
    ] {
        assert_eq!(damage_of(&tampered(sql)), place);
    }
}

#[test]
fn a_snapshot_and_a_row_are_proven_too() {
    let place = damage_of(&tampered("UPDATE snapshots SET state = x'00'"));
    assert_eq!(place, "the snapshot of partition 0: its sum does not match");
    let place = damage_of(&tampered("UPDATE cells SET body = x'00' WHERE key = CAST('ROW 2' AS BLOB)"));
    assert_eq!(place, "table 3, row \"ROW 2\": its sum does not match");
}

#[test]
fn a_check_names_what_is_wrong_and_counts_what_is_right() {
    let folder = filled();
    let mut last = None;
    let report = check(folder.path(), &mut |progress| last = Some(progress)).unwrap();
    assert_eq!((report.records, report.rows, report.problems), (121, 2, Vec::<String>::new()));
    assert_eq!(last.map(|progress| (progress.done, progress.total)), Some((123, 123)));
    let folder = tampered("DELETE FROM cells WHERE key = CAST('ROW 2' AS BLOB)");
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems, ["the tables: 1 rows where 2 should be, or not the same ones"]);
    let folder = tampered("DELETE FROM records WHERE key = 2");
    let connection = Connection::open(folder.database()).unwrap();
    connection
        .execute("UPDATE records SET body = x'00' WHERE key >> 48 = 7 AND key & 65535 = 2", [])
        .unwrap();
    drop(connection);
    let report = check(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    assert!(report.problems[0].starts_with("partition 0, offsets 0 to 4095"), "{:?}", report.problems);
    assert!(report.problems[1].starts_with("partition 7, offset 2"), "{:?}", report.problems);
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let folder = filled();
    Connection::open(folder.database()).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let before = fs::read(folder.database()).unwrap();
    let error = content(folder.path()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("has format 2, and this version of Trunkline knows formats up to 1"));
    assert!(check(folder.path(), &mut |_| {}).is_err());
    assert_eq!(fs::read(folder.database()).unwrap(), before);
}

#[test]
fn what_is_no_store_is_left_alone() {
    let folder = Folder::new();
    let other = Connection::open(folder.database()).unwrap();
    other.execute("CREATE TABLE theirs (a)", []).unwrap();
    drop(other);
    let before = fs::read(folder.database()).unwrap();
    assert!(matches!(content(folder.path()), Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(folder.database()).unwrap(), before);
    fs::write(folder.database(), "no database at all".repeat(1000)).unwrap();
    assert!(matches!(content(folder.path()), Err(OpenError::Damaged(_))));
    assert_eq!(fs::read(folder.database()).unwrap(), "no database at all".repeat(1000).as_bytes());
}

#[test]
fn a_check_begins_no_store() {
    let folder = Folder::new();
    let missing = folder.path().join("mistyped");
    let error = check(&missing, &mut |_| {}).unwrap_err();
    assert!(
        matches!(&error, OpenError::Io(error) if error.kind() == std::io::ErrorKind::NotFound),
        "{error:?}"
    );
    assert!(!missing.exists() && !exists(&missing));
    drop(open(&folder));
    assert!(exists(folder.path()));
}

#[test]
fn a_process_that_ended_in_the_middle_of_the_beginning_began_nothing() {
    let folder = Folder::new();
    fs::write(folder.database(), "").unwrap();
    assert_eq!(replayed(&open(&folder), 0), Ok(Vec::new()));
}

/// A page proves the blocks it enters, whatever its size: what is missing is found before the replay is over.
#[test]
fn a_replay_in_pages_finds_what_is_missing_in_any_block() {
    let folder = Folder::new();
    let store = open(&folder);
    let all: Vec<Write> = (1..=12_300).map(|id| record(3, id, "x")).collect();
    assert!(all.chunks(1_000).all(|batch| write(&store, batch.to_vec()).iter().all(Result::is_ok)));
    write(&store, (1..100).map(|offset| remove(3, offset * 100)).collect());
    drop(store);
    let pages_of = |folder: &Folder, records: usize| {
        let store = open(folder);
        let (mut after, mut seen) = (None, 0);
        loop {
            let page = store.replay(Partition(3), after, Max { records, bytes: usize::MAX })?;
            seen += page.records.len();
            after = page.next;
            if after.is_none() {
                return Ok::<_, StoreError>(seen);
            }
        }
    };
    for records in [700, 4_096, 5_000, 100_000] {
        assert_eq!(pages_of(&folder, records), Ok(12_201), "pages of {records}");
    }
    for (lost, block) in [
        ("key = 3 << 48 | 1", "offsets 0 to 4095: 4054 records where 4055"),
        ("key = 3 << 48 | 5000 + 1", "offsets 4096 to 8191: 4054 records where 4055"),
        ("key BETWEEN 3 << 48 | 4096 AND 3 << 48 | 8191", "offsets 4096 to 8191: 0 records where 4055"),
        ("key = 3 << 48 | 12300", "offsets 12288 to 16383: 12 records where 13"),
        ("key BETWEEN 3 << 48 | 8192 AND 3 << 48 | 20000", "offsets 8192 to 12287: 0 records where 4078"),
    ] {
        let copy = folder.copy();
        let connection = Connection::open(copy.database()).unwrap();
        let lost = lost.replace("3 << 48 | ", &format!("{} + ", 3_i64 << 48));
        assert!(connection.execute(&format!("DELETE FROM records WHERE {lost}"), []).unwrap() > 0);
        drop(connection);
        for records in [700, 4_096, 100_000] {
            let Err(StoreError::Damaged(place)) = pages_of(&copy, records) else {
                panic!("{lost} was not noticed")
            };
            assert_eq!(place, format!("partition 3, {block} should be").into(), "{lost}, pages of {records}");
        }
    }
}
