//! The rules of [`Table`](crate::Table). Each function is one rule and panics when it is broken.

use bytes::Bytes;
use std::time::Duration;

use super::rig::{Rig, Sink, change};
use crate::{Change, Expect, Log as _, Rev, Row, RowChange, RowOp, StoreError, Tab, Table as _};

fn put(key: &str, body: &str, expect: Expect) -> RowOp {
    let body = Bytes::copy_from_slice(body.as_bytes());
    RowOp { tab: Tab::Leases, key: bytes(key), expect, change: Change::Put { body, ttl: None } }
}

fn put_for(key: &str, body: &str, seconds: u64) -> RowOp {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let change = Change::Put { body, ttl: Some(Duration::from_secs(seconds)) };
    RowOp { tab: Tab::Leases, key: bytes(key), expect: Expect::Any, change }
}

fn delete(key: &str, expect: Expect) -> RowOp {
    RowOp { tab: Tab::Leases, key: bytes(key), expect, change: Change::Delete }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Does one operation that succeeds.
fn done(rig: &impl Rig, op: RowOp) -> Rev {
    let results = change(rig, vec![op]);
    let [Ok(rev)] = results.as_slice() else { unreachable!("{results:?}") };
    *rev
}

fn row(rig: &impl Rig, key: &str) -> Option<Row> {
    let mut rows = rig.store().rows(Tab::Leases, &[bytes(key)]);
    rows.remove(0).expect("nothing is wrong")
}

fn body(rig: &impl Rig, key: &str) -> Option<String> {
    row(rig, key).map(|row| String::from_utf8(row.body.to_vec()).expect("tests write text"))
}

/// In a read, in a scan.
pub fn a_row_never_written_is_absent(rig: &impl Rig) {
    assert_eq!(row(rig, "a"), None);
    assert_eq!(rig.store().scan(Tab::Leases, b"", None, 10), Ok(Vec::new()));
}

/// In the order asked, with the revision the write gave.
pub fn rows_are_read_as_written(rig: &impl Rig) {
    let a = done(rig, put("a", "1", Expect::Any));
    let b = done(rig, put("b", "", Expect::Any));
    let rows = rig.store().rows(Tab::Leases, &[bytes("b"), bytes("none"), bytes("a")]);
    let expected = [
        Ok(Some(Row { key: bytes("b"), body: Bytes::new(), rev: b })),
        Ok(None),
        Ok(Some(Row { key: bytes("a"), body: bytes("1"), rev: a })),
    ];
    assert_eq!(rows, expected);
}

/// The same key in two of them is two rows.
pub fn tables_are_rooms_of_their_own(rig: &impl Rig) {
    done(rig, put("a", "lease", Expect::Any));
    done(rig, RowOp { tab: Tab::Queues, ..put("a", "queue", Expect::Absent) });
    assert_eq!(body(rig, "a").as_deref(), Some("lease"));
    let queues = rig.store().scan(Tab::Queues, b"", None, 10).expect("nothing is wrong");
    assert_eq!(queues.len(), 1);
    assert_eq!(rig.store().scan(Tab::Sessions, b"", None, 10), Ok(Vec::new()));
}

/// The second one is told what stands there.
pub fn an_absent_row_is_created_once(rig: &impl Rig) {
    let rev = done(rig, put("a", "first", Expect::Absent));
    let second = change(rig, vec![put("a", "second", Expect::Absent)]);
    assert_eq!(second, [Err(StoreError::Conflict(Some(rev)))]);
    assert_eq!(body(rig, "a").as_deref(), Some("first"));
}

/// Of two writers with the same revision one wins.
pub fn a_revision_wins_once(rig: &impl Rig) {
    let read = done(rig, put("a", "0", Expect::Any));
    let results = change(rig, vec![put("a", "1", Expect::Rev(read)), put("a", "2", Expect::Rev(read))]);
    let [Ok(won), lost] = results.as_slice() else { unreachable!("{results:?}") };
    assert_eq!(*lost, Err(StoreError::Conflict(Some(*won))));
    assert_eq!(body(rig, "a").as_deref(), Some("1"));
}

/// Not after the same body was written, not after the row was deleted and came back.
pub fn a_revision_never_returns(rig: &impl Rig) {
    let first = done(rig, put("a", "same", Expect::Any));
    done(rig, put("a", "same", Expect::Any));
    assert!(matches!(
        change(rig, vec![delete("a", Expect::Rev(first))]).as_slice(),
        [Err(StoreError::Conflict(_))]
    ));
    done(rig, delete("a", Expect::Any));
    assert_eq!(change(rig, vec![put("a", "late", Expect::Rev(first))]), [Err(StoreError::Conflict(None))]);
    done(rig, put("a", "same", Expect::Absent));
    assert!(matches!(
        change(rig, vec![delete("a", Expect::Rev(first))]).as_slice(),
        [Err(StoreError::Conflict(_))]
    ));
    assert_eq!(body(rig, "a").as_deref(), Some("same"));
}

/// What was wanted holds already.
pub fn deleting_what_is_not_there_succeeds(rig: &impl Rig) {
    done(rig, delete("a", Expect::Any));
    done(rig, put("a", "1", Expect::Absent));
    done(rig, delete("a", Expect::Any));
    assert_eq!(row(rig, "a"), None);
}

/// Operations are done in their order, each on its own.
pub fn a_conflict_stops_no_other_operation(rig: &impl Rig) {
    let ops = vec![
        put("a", "1", Expect::Absent),
        put("a", "2", Expect::Absent),
        put("b", "3", Expect::Absent),
        put("a", "4", Expect::Any),
    ];
    let results: Vec<bool> = change(rig, ops).iter().map(Result::is_ok).collect();
    assert_eq!(results, [true, false, true, true]);
    assert_eq!((body(rig, "a"), body(rig, "b")), (Some("4".to_owned()), Some("3".to_owned())));
}

/// By key as bytes; `after` is not repeated and may be a key that is gone.
pub fn a_scan_is_sorted_bounded_and_goes_on(rig: &impl Rig) {
    let keys = ["n/b", "n/a", "n", "o", "n/c", "m", "n/\u{e9}"];
    change(rig, keys.iter().map(|key| put(key, key, Expect::Any)).collect());
    let scan = |after: Option<&[u8]>, max| -> Vec<String> {
        let rows = rig.store().scan(Tab::Leases, b"n/", after, max).expect("nothing is wrong");
        rows.into_iter().map(|row| String::from_utf8(row.key.to_vec()).expect("tests write text")).collect()
    };
    assert_eq!(scan(None, 100), ["n/a", "n/b", "n/c", "n/\u{e9}"]);
    assert_eq!(scan(None, 2), ["n/a", "n/b"]);
    assert_eq!(scan(Some(b"n/b"), 2), ["n/c", "n/\u{e9}"]);
    assert_eq!(scan(Some(b"n/aa"), 1), ["n/b"]);
    assert_eq!(scan(Some(b"n/\xff"), 9), [""; 0]);
}

/// It is absent in every way, and its revision does not count.
pub fn a_row_expires(rig: &impl Rig) {
    let rev = done(rig, put_for("a", "1", 10));
    rig.advance(Duration::from_secs(9));
    assert_eq!(body(rig, "a").as_deref(), Some("1"));
    rig.advance(Duration::from_secs(2));
    assert_eq!(row(rig, "a"), None);
    assert_eq!(rig.store().scan(Tab::Leases, b"", None, 9), Ok(Vec::new()));
    assert_eq!(change(rig, vec![delete("a", Expect::Rev(rev))]), [Err(StoreError::Conflict(None))]);
    done(rig, put("a", "2", Expect::Absent));
}

/// This is how a lease is kept.
pub fn writing_again_renews_the_time_of_a_row(rig: &impl Rig) {
    done(rig, put_for("a", "1", 10));
    done(rig, put_for("b", "1", 10));
    rig.advance(Duration::from_secs(6));
    done(rig, put_for("a", "2", 10));
    done(rig, put("b", "2", Expect::Any));
    rig.advance(Duration::from_secs(6));
    assert_eq!((body(rig, "a"), body(rig, "b")), (Some("2".to_owned()), Some("2".to_owned())));
    rig.advance(Duration::from_secs(6));
    assert_eq!((body(rig, "a"), body(rig, "b")), (None, Some("2".to_owned())), "without a time it stays");
}

/// Puts, deletes and expiries of its table, and of no other.
pub fn a_watcher_sees_every_change_in_order(rig: &impl Rig) {
    done(rig, put("a", "before", Expect::Any));
    let seen = Sink::<Vec<RowChange>>::new();
    rig.store().watch(Tab::Leases, seen.clone());
    done(rig, put("a", "1", Expect::Any));
    done(rig, RowOp { tab: Tab::Queues, ..put("a", "other", Expect::Any) });
    done(rig, delete("a", Expect::Any));
    done(rig, put_for("b", "2", 10));
    rig.advance(Duration::from_secs(11));
    assert_eq!(row(rig, "b"), None);
    done(rig, put("c", "end", Expect::Any));
    let changes = seen.wait("the last change", |changes| {
        let complete = changes.last().is_some_and(|change| change.key == "c");
        complete.then(|| std::mem::take(changes))
    });
    let told: Vec<(Bytes, Option<Bytes>)> =
        changes.into_iter().map(|change| (change.key, change.row.map(|row| row.body))).collect();
    let expected = [("a", Some("1")), ("a", None), ("b", Some("2")), ("b", None), ("c", Some("end"))];
    assert_eq!(told, expected.map(|(key, body)| (bytes(key), body.map(bytes))));
}

/// And what stood there stays.
pub fn a_row_that_is_too_large_is_refused(rig: &impl Rig) {
    done(rig, put("a", "1", Expect::Any));
    let bytes_max = rig.store().caps().record_bytes_max;
    let large = "x".repeat(bytes_max + 1);
    assert_eq!(change(rig, vec![put("a", &large, Expect::Any)]), [Err(StoreError::TooLarge { bytes_max })]);
    assert_eq!(body(rig, "a").as_deref(), Some("1"));
}
