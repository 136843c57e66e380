//! The rules of [`Log`](crate::Log). Each function is one rule and panics when it is broken.

use bytes::Bytes;
use hub::Partition;
use std::time::Duration;

use super::rig::{Outcomes, Rig, append, start_write, written};
use crate::{Append, Entity, Log as _, Max, Page, Position, Record, RecordId, Snapshot, StoreError};

pub(super) const P: Partition = Partition(3);
pub(super) const Q: Partition = Partition(7);
pub(super) const ALL: Max = Max { records: 10_000, bytes: usize::MAX };

pub(super) fn entity(partition: Partition, name: &str) -> Entity {
    Entity { partition, name: Bytes::copy_from_slice(name.as_bytes()) }
}

pub(super) fn record(partition: Partition, name: &str, body: &str) -> Append {
    let id = RecordId(body.bytes().fold(u128::from(partition.0), |id, byte| id * 257 + u128::from(byte)));
    let body = Bytes::copy_from_slice(body.as_bytes());
    Append { entity: entity(partition, name), id, expect: None, ttl: None, body }
}

/// Appends one record and gives its position.
pub(super) fn stored(rig: &impl Rig, append_one: Append) -> Position {
    let results = append(rig, vec![append_one]);
    let [Ok(position)] = results.as_slice() else { unreachable!("{results:?}") };
    *position
}

pub(super) fn bodies(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.body).expect("tests write text")).collect()
}

pub(super) fn replay(rig: &impl Rig, after: Option<Position>) -> Page {
    rig.store().replay(P, after, ALL).expect("nothing is wrong with the position")
}

pub(super) fn read(rig: &impl Rig, name: &str, after: Option<Position>) -> Result<Page, StoreError> {
    rig.store().read(&entity(P, name), after, ALL)
}

pub(super) fn is_ok<T>(results: &Outcomes<T>) -> Vec<bool> {
    results.iter().map(Result::is_ok).collect()
}

/// Nothing is there, and the end is the place before the first record.
pub fn a_fresh_log_is_empty(rig: &impl Rig) {
    let page = replay(rig, None);
    assert_eq!((page.records.len(), page.next, page.snapshot, page.end.offset), (0, None, None, 0));
    assert_eq!(rig.store().last(&[entity(P, "a")]), [Ok(None)]);
    assert_eq!(read(rig, "a", None).map(|page| page.records.len()), Ok(0));
}

/// In the order given, with growing positions of one epoch, and with what was given.
pub fn appended_records_are_replayed_in_order(rig: &impl Rig) {
    let batch: Vec<Append> =
        (0..100).map(|n| record(P, if n % 2 == 0 { "a" } else { "b" }, &n.to_string())).collect();
    let positions: Vec<Position> =
        append(rig, batch.clone()).into_iter().map(|result| result.expect("nothing is wrong")).collect();
    assert!(positions.is_sorted_by(|a, b| a.epoch == b.epoch && a.offset < b.offset), "{positions:?}");
    let page = replay(rig, None);
    assert_eq!(page.records.len(), 100);
    for ((given, position), kept) in batch.iter().zip(&positions).zip(&page.records) {
        assert_eq!((&given.entity.name, given.id, &given.body), (&kept.entity, kept.id, &kept.body));
        assert_eq!(*position, kept.position);
    }
    assert_eq!(Some(&page.end), positions.last());
}

/// Empty, every byte, and the largest.
pub fn bodies_are_kept_byte_by_byte(rig: &impl Rig) {
    let largest = rig.store().caps().record_bytes_max.min(64 << 10);
    let given = [Bytes::new(), (0..=255).collect(), vec![0; largest].into()];
    for body in &given {
        stored(rig, Append { body: body.clone(), ..record(P, "a", "") });
    }
    let kept: Vec<Bytes> = replay(rig, None).records.into_iter().map(|record| record.body).collect();
    assert_eq!(kept, given);
}

/// With no results.
pub fn an_empty_batch_completes(rig: &impl Rig) {
    assert_eq!(append(rig, Vec::new()), []);
}

/// Calls that do not wait for each other keep their order.
pub fn batches_in_flight_keep_their_order(rig: &impl Rig) {
    let names: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let batches = names.chunks(7).map(|chunk| chunk.iter().map(|name| record(P, "a", name).into()).collect());
    let pending: Vec<_> = batches.map(|batch| start_write(rig.store(), batch)).collect();
    rig.settle();
    for one in pending {
        assert!(written(one).iter().all(Result::is_ok));
    }
    assert_eq!(bodies(&replay(rig, None).records), names);
}

/// Each has its own offsets and its own records, even for entities of the same name.
pub fn partitions_are_independent(rig: &impl Rig) {
    let results = append(rig, vec![record(P, "a", "1"), record(Q, "a", "2"), record(P, "a", "3")]);
    assert_eq!(is_ok(&results), [true; 3]);
    assert_eq!(bodies(&replay(rig, None).records), ["1", "3"]);
    let other = rig.store().replay(Q, None, ALL).expect("nothing is wrong");
    assert_eq!(bodies(&other.records), ["2"]);
    assert_eq!(rig.store().last(&[entity(Q, "a")]).len(), 1);
}

/// By records and by bytes; `next` reads on without loss or repetition.
pub fn a_page_is_bounded_and_says_where_it_goes_on(rig: &impl Rig) {
    append(rig, (0..10).map(|n| record(P, "a", &format!("body {n}"))).collect());
    for max in [Max { records: 3, bytes: usize::MAX }, Max { records: 100, bytes: 20 }] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = rig.store().replay(P, after, max).expect("nothing is wrong");
            assert!(page.records.len() <= 3, "{max:?} was passed");
            seen.extend(page.records.into_iter().map(|record| record.body));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (0..10).map(|n| Bytes::from(format!("body {n}"))).collect::<Vec<_>>());
    }
}

/// A page is never empty while there is something behind the position.
pub fn one_record_larger_than_the_page_is_given(rig: &impl Rig) {
    append(rig, vec![record(P, "a", "large"), record(P, "a", "next")]);
    let page =
        rig.store().read(&entity(P, "a"), None, Max { records: 10, bytes: 1 }).expect("nothing is wrong");
    assert_eq!(bodies(&page.records), ["large"]);
    assert!(page.next.is_some());
}

/// The position itself is not repeated; the end gives an empty page.
pub fn replay_goes_on_behind_a_position(rig: &impl Rig) {
    let first = stored(rig, record(P, "a", "1"));
    let second = stored(rig, record(P, "b", "2"));
    assert_eq!(bodies(&replay(rig, Some(first)).records), ["2"]);
    let page = replay(rig, Some(second));
    assert_eq!((page.records.len(), page.next, page.end), (0, None, second));
}

/// Names that begin alike are different entities.
pub fn read_gives_one_entity_only(rig: &impl Rig) {
    append(
        rig,
        ["a", "a/b", "a", "A"].iter().enumerate().map(|(n, name)| record(P, name, &n.to_string())).collect(),
    );
    assert_eq!(read(rig, "a", None).map(|page| bodies(&page.records).join(" ")), Ok("0 2".to_owned()));
    assert_eq!(read(rig, "a/b", None).map(|page| bodies(&page.records).join(" ")), Ok("1".to_owned()));
}

/// A log that cannot prove that it continues another one says so.
pub fn a_position_of_another_epoch_is_a_gap(rig: &impl Rig) {
    let position = stored(rig, record(P, "a", "1"));
    let other = Some(Position { epoch: position.epoch.wrapping_add(1), ..position });
    let gap = Err(StoreError::Trimmed { upto: Position { offset: 0, ..position } });
    assert_eq!(read(rig, "a", other), gap);
    assert_eq!(rig.store().replay(P, other, ALL), gap);
}

/// So a log that was cut back never passes for a complete one.
pub fn a_position_ahead_of_the_log_is_a_gap(rig: &impl Rig) {
    let end = stored(rig, record(P, "a", "1"));
    let ahead = Some(Position { offset: end.offset + 1, ..end });
    assert!(matches!(read(rig, "a", ahead), Err(StoreError::Trimmed { .. })));
    assert!(matches!(rig.store().replay(P, ahead, ALL), Err(StoreError::Trimmed { .. })));
}

/// Reading on where the error says works; from the start it always does.
pub fn reading_behind_trimmed_records_is_a_gap(rig: &impl Rig) {
    let positions: Vec<Position> = (0..4).map(|n| stored(rig, record(P, "a", &n.to_string()))).collect();
    let [first, second, third, _] = positions.as_slice() else { unreachable!("four were stored") };
    rig.store().trim(&entity(P, "a"), *third).expect("nothing is wrong");
    let gap = read(rig, "a", Some(*first));
    assert_eq!(gap, Err(StoreError::Trimmed { upto: *second }));
    for after in [None, Some(*second)] {
        assert_eq!(read(rig, "a", after).map(|page| bodies(&page.records).join(" ")), Ok("2 3".to_owned()));
    }
    let end = Position { offset: replay(rig, None).end.offset + 1, ..*third };
    rig.store().trim(&entity(P, "a"), end).expect("nothing is wrong");
    assert!(
        matches!(read(rig, "a", Some(*second)), Err(StoreError::Trimmed { .. })),
        "all gone is a gap too"
    );
    assert_eq!(rig.store().last(&[entity(P, "a")]), [Ok(None)]);
}

/// And the replay of the partition.
pub fn trimming_one_entity_leaves_the_others(rig: &impl Rig) {
    let results = append(rig, vec![record(P, "a", "1"), record(P, "b", "2"), record(P, "a", "3")]);
    let end = results.last().cloned().expect("three results").expect("nothing is wrong");
    rig.store().trim(&entity(P, "a"), end).expect("nothing is wrong");
    assert_eq!(bodies(&replay(rig, None).records), ["2", "3"]);
    assert_eq!(replay(rig, None).end, end);
}

/// An owner with an old position does no harm.
pub fn a_trim_of_another_epoch_drops_nothing(rig: &impl Rig) {
    let position = stored(rig, record(P, "a", "1"));
    let other = Position { epoch: position.epoch.wrapping_add(1), offset: position.offset + 1 };
    assert_eq!(rig.store().trim(&entity(P, "a"), other), Ok(()));
    assert_eq!(bodies(&replay(rig, None).records), ["1"]);
}

/// In the order asked, `None` for who has nothing.
pub fn last_is_the_newest_of_each_entity(rig: &impl Rig) {
    append(rig, vec![record(P, "a", "1"), record(P, "b", "2"), record(P, "a", "3"), record(Q, "a", "4")]);
    let asked = [entity(Q, "a"), entity(P, "none"), entity(P, "a"), entity(P, "b")];
    let found: Vec<Option<Bytes>> = rig
        .store()
        .last(&asked)
        .into_iter()
        .map(|one| one.expect("nothing is wrong").map(|last| last.body))
        .collect();
    assert_eq!(found, [Some("4".into()), None, Some("3".into()), Some("2".into())]);
}

/// A replay from the start is the snapshot and what came behind it; a position before it is a gap.
pub fn a_snapshot_starts_the_replay(rig: &impl Rig) {
    let first = stored(rig, record(P, "a", "1"));
    let second = stored(rig, record(P, "a", "2"));
    stored(rig, record(P, "a", "3"));
    let snapshot = Snapshot { upto: second, state: "state".into() };
    rig.store().snapshot(P, snapshot.clone()).expect("nothing is wrong");
    let page = replay(rig, None);
    assert_eq!((bodies(&page.records), page.snapshot), (vec!["3"], Some(snapshot)));
    assert_eq!(replay(rig, Some(second)).snapshot, None);
    assert_eq!(rig.store().replay(P, Some(first), ALL), Err(StoreError::Trimmed { upto: second }));
    assert_eq!(
        read(rig, "a", None).map(|page| page.records.len()),
        Ok(3),
        "records stay until they are trimmed"
    );
}

/// Two owners for a moment do not turn time back.
pub fn an_older_snapshot_is_ignored(rig: &impl Rig) {
    let first = stored(rig, record(P, "a", "1"));
    let newer = Snapshot { upto: stored(rig, record(P, "a", "2")), state: "newer".into() };
    rig.store().snapshot(P, newer.clone()).expect("nothing is wrong");
    assert_eq!(rig.store().snapshot(P, Snapshot { upto: first, state: "older".into() }), Ok(()));
    assert_eq!(replay(rig, None).snapshot, Some(newer));
}

/// Whoever writes it holds another log.
pub fn a_snapshot_of_what_was_never_written_is_fenced(rig: &impl Rig) {
    let end = stored(rig, record(P, "a", "1"));
    for upto in
        [Position { offset: end.offset + 1, ..end }, Position { epoch: end.epoch.wrapping_add(1), ..end }]
    {
        assert_eq!(rig.store().snapshot(P, Snapshot { upto, state: Bytes::new() }), Err(StoreError::Fenced));
    }
    assert_eq!(replay(rig, None).snapshot, None);
}

/// From the first record on.
pub fn the_owner_that_knows_the_end_appends(rig: &impl Rig) {
    let mut end = replay(rig, None).end;
    for body in ["1", "2", "3"] {
        end = stored(rig, Append { expect: Some(end), ..record(P, "a", body) });
    }
    assert_eq!(bodies(&replay(rig, None).records), ["1", "2", "3"]);
}

/// Nothing of its batch is written, and the new owner notices nothing.
pub fn an_owner_that_does_not_know_the_end_is_fenced(rig: &impl Rig) {
    let old = replay(rig, None).end;
    let taken = stored(rig, Append { expect: Some(old), ..record(P, "a", "taken over") });
    let late = vec![Append { expect: Some(old), ..record(P, "a", "late") }, record(P, "a", "later")];
    assert_eq!(append(rig, late), [Err(StoreError::Fenced), Err(StoreError::Fenced)]);
    stored(rig, Append { expect: Some(taken), ..record(P, "a", "goes on") });
    assert_eq!(bodies(&replay(rig, None).records), ["taken over", "goes on"]);
}

/// In its partition; the others of the batch go on.
pub fn nothing_stands_behind_a_refused_record(rig: &impl Rig) {
    let never = Position { epoch: replay(rig, None).end.epoch, offset: 77 };
    let wrong = Append { expect: Some(never), ..record(P, "a", "wrong") };
    let batch =
        vec![record(P, "a", "1"), record(Q, "a", "2"), wrong, record(Q, "a", "3"), record(P, "b", "4")];
    assert_eq!(is_ok(&append(rig, batch)), [true, true, false, true, false]);
    assert_eq!(bodies(&replay(rig, None).records), ["1"]);
    let other = rig.store().replay(Q, None, ALL).expect("nothing is wrong");
    assert_eq!(bodies(&other.records), ["2", "3"]);
}

/// And says what would have fitted; the log goes on.
pub fn what_is_too_large_is_refused_whole(rig: &impl Rig) {
    let bytes_max = rig.store().caps().record_bytes_max;
    let body = Bytes::from(vec![0; bytes_max + 1]);
    let results = append(rig, vec![Append { body, ..record(P, "a", "") }]);
    assert_eq!(results, [Err(StoreError::TooLarge { bytes_max })]);
    stored(rig, record(P, "a", "fits"));
    assert_eq!(bodies(&replay(rig, None).records), ["fits"]);
}

/// They are neither read nor last, and a reader behind them learns of it.
pub fn expired_records_are_a_gap(rig: &impl Rig) {
    let before = replay(rig, None).end;
    stored(rig, Append { ttl: Some(Duration::from_secs(10)), ..record(P, "a", "short") });
    let long = stored(rig, record(P, "a", "long"));
    stored(rig, Append { ttl: Some(Duration::from_secs(10)), ..record(P, "b", "short") });
    rig.advance(Duration::from_secs(9));
    assert_eq!(read(rig, "a", None).map(|page| page.records.len()), Ok(2), "its time is not over");
    rig.advance(Duration::from_secs(2));
    assert!(matches!(read(rig, "a", Some(before)), Err(StoreError::Trimmed { .. })));
    assert_eq!(read(rig, "a", None).map(|page| bodies(&page.records).join(" ")), Ok("long".to_owned()));
    assert_eq!(bodies(&replay(rig, None).records), ["long"]);
    let last = rig.store().last(&[entity(P, "a"), entity(P, "b")]);
    let last: Vec<_> =
        last.into_iter().map(|one| one.map(|last| last.map(|record| record.position))).collect();
    assert_eq!(last, [Ok(Some(long)), Ok(None)]);
}

/// A store may keep one copy or both, but both carry the id, and the first keeps its place.
pub fn a_repeated_id_can_be_recognised(rig: &impl Rig) {
    let repeated = record(P, "a", "once");
    stored(rig, repeated.clone());
    stored(rig, record(P, "a", "between"));
    stored(rig, repeated.clone());
    let mut applied = Vec::new();
    for record in replay(rig, None).records {
        if !applied.iter().any(|(id, _)| *id == record.id) {
            applied.push((record.id, record.body));
        }
    }
    let bodies: Vec<Bytes> = applied.into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["once", "between"]);
}

/// Nothing of what was stored is lost when there is no room for more.
pub fn a_full_log_reads_on_and_takes_more_once_trimmed(rig: &impl Rig) {
    let Some(bytes_max) = rig.log_bytes_max() else { return };
    let body = Bytes::from(vec![b'x'; 1000]);
    let mut kept = 0;
    let refused = loop {
        let results = append(rig, vec![Append { body: body.clone(), ..record(P, "a", "") }]);
        match results.as_slice() {
            [Ok(_)] => kept += 1,
            _ => break results,
        }
        assert!(kept * 1000 <= bytes_max, "the bound was passed");
    };
    assert_eq!(refused, [Err(StoreError::Full)]);
    let page = replay(rig, None);
    assert_eq!(page.records.len(), kept);
    rig.store().trim(&entity(P, "a"), page.end).expect("nothing is wrong");
    stored(rig, Append { body, ..record(P, "a", "") });
}
