//! The rules of a store that keeps what it holds when it is opened again. Each function is one rule and panics when it is
//! broken.

use bytes::Bytes;
use hub::Partition;

use super::live::{Model, nobody, remove};
use super::log::{ALL, P, bodies, entity, record};
use super::rig::{Home, Outcomes, Pending, changed, start_write, written};
use crate::{Append, Change, Expect, Log, Position, Rev, RowOp, Snapshot, StoreError, Tab, Table, Write};

fn write(store: &impl Log, batch: Vec<Write>) -> Outcomes<Position> {
    written(start_write(store, batch))
}

fn stored(store: &impl Log, append: Append) -> Position {
    let results = write(store, vec![append.into()]);
    let [Ok(position)] = results.as_slice() else { unreachable!("{results:?}") };
    *position
}

fn replayed(store: &impl Log) -> String {
    bodies(&store.replay(P, None, ALL).expect("nothing is wrong").records).join(" ")
}

fn change(store: &impl Table, ops: Vec<RowOp>) -> Outcomes<Rev> {
    let (pending, done) = Pending::new();
    store.change(ops, done);
    changed(pending)
}

fn put(key: &'static str, expect: Expect) -> RowOp {
    let change = Change::Put { body: Bytes::from_static(b"body"), ttl: None };
    RowOp { tab: Tab::Queues, key: Bytes::from_static(key.as_bytes()), expect, change }
}

/// Records at their places with all that was given, and removed ones gone.
pub fn what_was_written_is_there_when_it_is_opened_again(home: &impl Home) {
    let store = home.open();
    let given = [record(P, "a", "1"), nobody(P, "2"), nobody(P, "3")];
    let results = write(&store, given.iter().cloned().map(Write::from).collect());
    let [Ok(first), Ok(second), _] = results.as_slice() else { unreachable!("{results:?}") };
    write(&store, vec![remove(P, second.offset)]);
    let before = store.replay(P, None, ALL);
    drop(store);
    let store = home.open();
    assert_eq!(store.replay(P, None, ALL), before);
    assert_eq!(replayed(&store), "1 3");
    assert_eq!(store.replay(P, Some(*first), ALL).map(|page| page.records.len()), Ok(1), "the epoch goes on");
    assert_eq!(store.fetch(&[(P, second.offset)]), [Ok(None)]);
    let last = store.last(&[entity(P, "a")]);
    assert!(matches!(last.as_slice(), [Ok(Some(record))] if record.position == *first), "{last:?}");
}

/// Also when all of them, or the newest, were removed.
pub fn offsets_go_on_when_it_is_opened_again(home: &impl Home) {
    let mut next = 1;
    for round in 0..4 {
        let store = home.open();
        let end = store.replay(P, None, ALL).expect("nothing is wrong").end;
        assert_eq!(end.offset + 1, next);
        let expected = Append { expect: Some(end), ..nobody(P, "1") };
        assert_eq!(stored(&store, expected).offset, next);
        assert_eq!(stored(&store, nobody(P, "2")).offset, next + 1);
        next += 2;
        let newest = vec![remove(P, next - 1), remove(P, if round % 2 == 0 { next - 1 } else { next - 2 })];
        assert!(write(&store, newest).iter().all(Result::is_ok));
    }
}

/// Readers behind trimmed records, or behind a snapshot, learn of the gap in every life.
pub fn gaps_and_snapshots_are_there_when_it_is_opened_again(home: &impl Home) {
    let store = home.open();
    let positions: Vec<Position> = (0..4).map(|n| stored(&store, record(P, "a", &n.to_string()))).collect();
    let [first, second, third, _] = positions.as_slice() else { unreachable!("four were stored") };
    let gone = stored(&store, record(P, "b", "gone"));
    let end = Position { offset: gone.offset + 1, ..gone };
    store.trim(&entity(P, "a"), *third).expect("nothing is wrong");
    store.trim(&entity(P, "b"), end).expect("nothing is wrong");
    let snapshot = Snapshot { upto: *third, state: "state".into() };
    store.snapshot(P, snapshot.clone()).expect("nothing is wrong");
    drop(store);
    let store = home.open();
    let gap = store.read(&entity(P, "a"), Some(*first), ALL);
    assert_eq!(gap, Err(StoreError::Trimmed { upto: *second }));
    assert!(store.read(&entity(P, "a"), Some(*second), ALL).is_ok());
    assert!(matches!(store.read(&entity(P, "b"), Some(*third), ALL), Err(StoreError::Trimmed { .. })));
    let page = store.replay(P, None, ALL).expect("nothing is wrong");
    assert_eq!((bodies(&page.records).join(" "), page.snapshot), ("3".to_owned(), Some(snapshot)));
    assert_eq!(store.replay(P, Some(*first), ALL), Err(StoreError::Trimmed { upto: *third }));
}

/// With their revisions, and no revision comes twice, in no life.
pub fn rows_and_revisions_are_there_when_it_is_opened_again(home: &impl Home) {
    let store = home.open();
    let results = change(&store, vec![put("a", Expect::Absent), put("b", Expect::Absent)]);
    let [Ok(a), Ok(b)] = results.as_slice() else { unreachable!("{results:?}") };
    let delete = RowOp { change: Change::Delete, ..put("b", Expect::Rev(*b)) };
    assert!(matches!(change(&store, vec![delete]).as_slice(), [Ok(_)]));
    drop(store);
    let store = home.open();
    let rows = store.scan(Tab::Queues, b"", None, 10).expect("nothing is wrong");
    assert_eq!(rows.iter().map(|row| (row.key.as_ref(), row.rev)).collect::<Vec<_>>(), [(&b"a"[..], *a)]);
    let results =
        change(&store, vec![put("b", Expect::Rev(*b)), put("b", Expect::Absent), put("a", Expect::Rev(*a))]);
    let [Err(StoreError::Conflict(None)), Ok(again), Ok(_)] = results.as_slice() else {
        unreachable!("{results:?}")
    };
    assert_ne!(again, b);
}

/// Any mix of writes, opened again now and then, does what anybody would write down.
pub fn lives_do_not_mix_whatever_is_written(home: &impl Home) {
    let mut model = Model::default();
    for _ in 0..6 {
        let store = home.open();
        model.check(&store);
        let pending: Vec<Pending> = (0..15).map(|_| start_write(&store, model.batch())).collect();
        for one in pending {
            assert!(written(one).iter().all(Result::is_ok));
        }
        model.check(&store);
    }
    let store = home.open();
    model.check(&store);
    for partition in model.ends.keys().map(|partition| Partition(partition.0 + 1)) {
        assert_eq!(store.replay(partition, None, ALL).map(|page| page.end.offset), Ok(0));
    }
}
