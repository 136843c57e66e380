//! The rules of [`Log`](crate::Log) about live records: removing, fetching by place, offsets. Each function is one rule and
//! panics when it is broken.

use bytes::Bytes;
use hub::Partition;
use std::collections::BTreeMap;
use std::time::Duration;

use super::log::{ALL, P, Q, bodies, entity, is_ok, read, record, replay, stored};
use super::rig::{Rig, append, start_write, write, written};
use crate::{Append, Log, Position, Record, RecordId, StoreError, Write};

pub(super) fn remove(partition: Partition, offset: u64) -> Write {
    Write::Remove { partition, offset }
}

/// Of nobody, as the hub's live records are.
pub(super) fn nobody(partition: Partition, body: &str) -> Append {
    record(partition, "", body)
}

fn fetched(rig: &impl Rig, places: &[(Partition, u64)]) -> Vec<Option<Bytes>> {
    let answers = rig.store().fetch(places).into_iter();
    answers.map(|answer| answer.expect("nothing is wrong").map(|record| record.body)).collect()
}

/// They are in no replay and cannot be fetched; a reader behind them goes on as if they had never been.
pub fn removed_records_are_gone_and_leave_no_gap(rig: &impl Rig) {
    let positions: Vec<Position> = (0..5).map(|n| stored(rig, record(P, "a", &n.to_string()))).collect();
    let [before, first, _, last, _] = positions.as_slice() else { unreachable!("five were stored") };
    let results = write(rig, vec![remove(P, last.offset), remove(P, first.offset)]);
    assert_eq!(results, [Ok(*last), Ok(*first)]);
    assert_eq!(bodies(&replay(rig, None).records), ["0", "2", "4"]);
    for after in [before, first] {
        assert_eq!(bodies(&replay(rig, Some(*after)).records), ["2", "4"]);
        assert_eq!(
            read(rig, "a", Some(*after)).map(|page| bodies(&page.records).join(" ")),
            Ok("2 4".to_owned())
        );
    }
    assert_eq!(fetched(rig, &[(P, first.offset), (P, last.offset)]), [None, None]);
}

/// Not yet written, removed before, of a partition that is not there.
pub fn removing_what_is_not_there_succeeds(rig: &impl Rig) {
    let end = stored(rig, nobody(P, "1"));
    let ahead = Position { offset: end.offset + 1, ..end };
    let results = write(rig, vec![remove(P, ahead.offset), remove(P, end.offset), remove(P, end.offset)]);
    assert_eq!(results, [Ok(ahead), Ok(end), Ok(end)]);
    assert_eq!(is_ok(&write(rig, vec![remove(Q, 5)])), [true]);
    assert_eq!(stored(rig, nobody(P, "2")), ahead, "removing it before it was written did nothing");
    assert_eq!(bodies(&replay(rig, None).records), ["2"]);
}

/// Appends and removals as they come: a record can be removed in the batch that appends it.
pub fn a_batch_is_done_in_its_order(rig: &impl Rig) {
    let kept = stored(rig, nobody(P, "kept"));
    let next = |n| kept.offset + n;
    let batch = vec![
        nobody(P, "short").into(),
        remove(P, next(1)),
        remove(P, next(2)),
        nobody(P, "stays").into(),
        remove(Q, 1),
        nobody(Q, "other").into(),
        remove(P, kept.offset),
    ];
    let places: Vec<u64> =
        write(rig, batch).into_iter().map(|result| result.expect("nothing is wrong").offset).collect();
    assert_eq!(places, [next(1), next(1), next(2), next(2), 1, 1, kept.offset]);
    assert_eq!(bodies(&replay(rig, None).records), ["stays"]);
    assert_eq!(fetched(rig, &[(Q, 1)]), [Some("other".into())]);
}

/// In its partition and batch: a removal stands behind what was to be appended before it.
pub fn a_removal_behind_a_refused_record_is_refused(rig: &impl Rig) {
    let first = stored(rig, nobody(P, "1"));
    let other = stored(rig, nobody(Q, "2"));
    let late = Append { expect: Some(Position { offset: 77, ..first }), ..nobody(P, "late") };
    let batch = vec![late.into(), remove(P, first.offset), remove(Q, other.offset)];
    assert_eq!(write(rig, batch), [Err(StoreError::Fenced), Err(StoreError::Fenced), Ok(other)]);
    assert_eq!(bodies(&replay(rig, None).records), ["1"]);
    assert_eq!(fetched(rig, &[(Q, other.offset)]), [None]);
}

/// Consecutive, and the end stays where it is when the newest records are removed.
pub fn offsets_are_consecutive_and_never_used_again(rig: &impl Rig) {
    let first = stored(rig, nobody(P, "1"));
    let at = |n| Position { offset: first.offset + n, ..first };
    assert_eq!(append(rig, vec![nobody(P, "2"), nobody(P, "3")]), [Ok(at(1)), Ok(at(2))]);
    write(rig, vec![remove(P, at(2).offset), remove(P, at(1).offset), remove(P, first.offset)]);
    let page = replay(rig, None);
    assert_eq!((page.records.len(), page.end), (0, at(2)));
    assert_eq!(replay(rig, Some(at(2))).records, [], "its end is a position to go on from");
    let expected = Append { expect: Some(at(2)), ..nobody(P, "4") };
    assert_eq!(append(rig, vec![expected]), [Ok(at(3))]);
}

/// In the order asked, of any mix of partitions, as often as asked, with all that was given.
pub fn records_are_fetched_by_place(rig: &impl Rig) {
    let given = [record(P, "a", "1"), nobody(Q, "2"), nobody(P, "3")];
    let places: Vec<(Partition, u64)> =
        given.iter().map(|append| (append.entity.partition, stored(rig, append.clone()).offset)).collect();
    let [first, other, last] = places.as_slice() else { unreachable!("three were stored") };
    let asked = [*last, (P, last.1 + 1), *first, (Partition(60), 1), *other, *last];
    let bodies = fetched(rig, &asked);
    assert_eq!(bodies, [Some("3".into()), None, Some("1".into()), None, Some("2".into()), Some("3".into())]);
    let records = rig.store().fetch(&[*first]);
    let [Ok(Some(Record { position, entity, id, body }))] = records.as_slice() else {
        unreachable!("{records:?}")
    };
    let [append, ..] = &given;
    assert_eq!((position.offset, entity, id, body), (first.1, &append.entity.name, &append.id, &append.body));
    assert_eq!(rig.store().fetch(&[]), []);
}

/// They belong to no entity, not even to the one without a name.
pub fn a_record_of_nobody_is_replayed_and_fetched_only(rig: &impl Rig) {
    let position = stored(rig, nobody(P, "1"));
    assert_eq!(bodies(&replay(rig, None).records), ["1"]);
    assert_eq!(fetched(rig, &[(P, position.offset)]), [Some("1".into())]);
    assert_eq!(read(rig, "", None).map(|page| page.records.len()), Ok(0));
    assert_eq!(rig.store().last(&[entity(P, "")]), [Ok(None)]);
    let behind = Position { offset: position.offset + 1, ..position };
    rig.store().trim(&entity(P, ""), behind).expect("nothing is wrong");
    assert_eq!(bodies(&replay(rig, None).records), ["1"]);
}

/// The one before it is the newest then.
pub fn last_passes_over_removed_records(rig: &impl Rig) {
    let first = stored(rig, record(P, "a", "1"));
    let second = stored(rig, record(P, "a", "2"));
    write(rig, vec![remove(P, second.offset)]);
    let last = rig.store().last(&[entity(P, "a")]);
    assert!(matches!(last.as_slice(), [Ok(Some(record))] if record.position == first), "{last:?}");
    write(rig, vec![remove(P, first.offset)]);
    assert_eq!(rig.store().last(&[entity(P, "a")]), [Ok(None)]);
}

/// Removing one that has expired, or trimming around one that was removed, is no mistake.
pub fn removal_goes_with_expiry_and_trimming(rig: &impl Rig) {
    let short = stored(rig, Append { ttl: Some(Duration::from_secs(10)), ..record(P, "a", "short") });
    let removed = stored(rig, record(P, "a", "removed"));
    let trimmed = stored(rig, record(P, "a", "trimmed"));
    stored(rig, Append { ttl: Some(Duration::from_secs(30)), ..record(P, "a", "long") });
    write(rig, vec![remove(P, removed.offset)]);
    rig.advance(Duration::from_secs(11));
    assert_eq!(fetched(rig, &[(P, short.offset)]), [None]);
    assert_eq!(write(rig, vec![remove(P, short.offset)]), [Ok(short)]);
    let before = Position { offset: trimmed.offset + 1, ..trimmed };
    rig.store().trim(&entity(P, "a"), before).expect("nothing is wrong");
    assert_eq!(read(rig, "a", Some(removed)), Err(StoreError::Trimmed { upto: trimmed }));
    assert_eq!(bodies(&replay(rig, None).records), ["long"]);
    rig.advance(Duration::from_secs(20));
    assert_eq!(replay(rig, None).records, []);
}

/// Calls that do not wait for each other keep their order, removals too.
pub fn removals_in_flight_keep_their_order(rig: &impl Rig) {
    let first = replay(rig, None).end.offset + 1;
    let mut pending = Vec::new();
    for n in 0..100 {
        pending.push(start_write(rig.store(), vec![nobody(P, &n.to_string()).into()]));
        if n % 10 != 9 {
            pending.push(start_write(rig.store(), vec![remove(P, first + n)]));
        }
    }
    rig.settle();
    for one in pending {
        assert_eq!(is_ok(&written(one)), [true]);
    }
    let kept: Vec<String> = (9..100).step_by(10).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&replay(rig, None).records), kept);
}

/// Removing makes room, as trimming does.
pub fn a_full_log_takes_more_once_records_are_removed(rig: &impl Rig) {
    let Some(bytes_max) = rig.log_bytes_max() else { return };
    let body = Bytes::from(vec![b'x'; 1000]);
    let mut kept = Vec::new();
    loop {
        match append(rig, vec![Append { body: body.clone(), ..nobody(P, "") }]).as_slice() {
            [Ok(position)] => kept.push(position.offset),
            refused => break assert_eq!(refused, [Err(StoreError::Full)]),
        }
        assert!(kept.len() * 1000 <= bytes_max, "the bound was passed");
    }
    assert_eq!(fetched(rig, &[(P, 1)]), [Some(body.clone())], "reads go on");
    let results = write(rig, kept.iter().map(|offset| remove(P, *offset)).collect());
    assert!(results.iter().all(Result::is_ok), "nothing stands in the way of a removal");
    stored(rig, Append { body, ..nobody(P, "") });
}

/// What a partition holds, as anybody would write it down.
#[derive(Default)]
pub(super) struct Model {
    pub(super) ends: BTreeMap<Partition, u64>,
    pub(super) live: BTreeMap<(Partition, u64), RecordId>,
    random: u64,
}

impl Model {
    /// Splitmix64.
    fn pick(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Some appends and removals in some partitions, as if they were done.
    pub(super) fn batch(&mut self) -> Vec<Write> {
        let entries = 1 + self.pick(40);
        (0..entries).map(|_| if self.pick(5) < 3 { self.append() } else { self.removal() }).collect()
    }

    fn append(&mut self) -> Write {
        let partition = Partition(u16::try_from(self.pick(5)).expect("it is small") * 16_000);
        let end = self.ends.entry(partition).or_default();
        *end += 1;
        let id = RecordId(u128::from(partition.0) << 64 | u128::from(*end));
        self.live.insert((partition, *end), id);
        let body = Bytes::from(id.0.to_string());
        Append { id, body, ..nobody(partition, "") }.into()
    }

    fn removal(&mut self) -> Write {
        let at = self.pick(1 + u64::try_from(self.live.len()).expect("it is small"));
        let nth = usize::try_from(at).expect("it is small");
        let place = self.live.keys().nth(nth).copied().unwrap_or((P, 1_000_000));
        self.live.remove(&place);
        remove(place.0, place.1)
    }

    /// That a store holds exactly this.
    pub(super) fn check(&self, store: &impl Log) {
        for (partition, end) in &self.ends {
            let page = store.replay(*partition, None, ALL).expect("nothing is wrong");
            let held: Vec<((Partition, u64), RecordId)> =
                page.records.iter().map(|record| ((*partition, record.position.offset), record.id)).collect();
            let expected: Vec<((Partition, u64), RecordId)> = self
                .live
                .range((*partition, 0)..=(*partition, *end))
                .map(|(place, id)| (*place, *id))
                .collect();
            assert_eq!((held, page.end.offset), (expected, *end));
        }
    }
}

/// Any mix of appends and removals over some partitions does what anybody would write down.
pub fn partitions_do_not_mix_whatever_is_written(rig: &impl Rig) {
    let mut model = Model::default();
    for _ in 0..60 {
        assert!(write(rig, model.batch()).iter().all(Result::is_ok));
    }
    model.check(rig.store());
}
