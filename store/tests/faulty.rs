//! The contract through the faulty wrapper without faults and with delay, and what holds with every fault.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use trunkline_store::contract::{Heard, Rig, Sink};
use trunkline_store::memory::{Exchange, Memory, MemoryLimits};
use trunkline_store::{
    Append, Bus as _, Completion, Done, Entity, Faulty, Frame, Interest, Log as _, ManualClock, Max, Member,
    NodeId, Odds, Partition, Position, RecordId, StoreError, Token, Write,
};

struct Wrapped {
    store: Faulty<Memory>,
    clock: Arc<ManualClock>,
}

fn rig(odds: Odds, seed: u64) -> Wrapped {
    let clock = Arc::new(ManualClock::default());
    let limits = MemoryLimits { record_bytes_max: 1 << 20, log_bytes_max: 4 << 20, table_bytes_max: 4 << 20 };
    Wrapped { store: Faulty::new(Memory::new(11, limits, clock.clone()), odds, seed), clock }
}

impl Rig for Wrapped {
    type Store = Faulty<Memory>;

    fn store(&self) -> &Faulty<Memory> {
        &self.store
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.store.inner().expire();
    }

    fn settle(&self) {
        self.store.release();
    }
}

mod quiet {
    use trunkline_store::Odds;
    trunkline_store::log_contract!(super::rig(Odds::default(), 1));
    mod table {
        use trunkline_store::Odds;
        trunkline_store::table_contract!(super::super::rig(Odds::default(), 1));
    }
}

mod delayed {
    use trunkline_store::Odds;
    const DELAY: Odds = Odds {
        delay: 700,
        unavailable: 0,
        unknown_lost: 0,
        unknown_written: 0,
        fenced: 0,
        full: 0,
        failed: 0,
        frame_lost: 0,
        frame_doubled: 0,
    };
    trunkline_store::log_contract!(super::rig(DELAY, 2));
    mod table {
        trunkline_store::table_contract!(super::super::rig(super::DELAY, 2));
    }
}

const PARTITION: Partition = Partition(0);

fn record(id: u128) -> Append {
    let entity = Entity { partition: PARTITION, name: Bytes::from_static(b"a") };
    Append { entity, id: RecordId(id), expect: None, ttl: None, body: id.to_string().into() }
}

fn write(rig: &Wrapped, batch: Vec<Write>) -> Vec<Result<Position, StoreError>> {
    let sink = Sink::<HashMap<Token, Completion>>::new();
    rig.store.write(batch, Done::new(sink.clone(), Token(1)));
    rig.settle();
    match sink.wait("a completion", |results| results.remove(&Token(1))) {
        Completion::Written(results) => results,
        other => unreachable!("{other:?}"),
    }
}

fn append(rig: &Wrapped, batch: Vec<Append>) -> Vec<Result<Position, StoreError>> {
    write(rig, batch.into_iter().map(Write::from).collect())
}

/// Ids in the log without faults of reading, repeats left out.
fn applied(rig: &Wrapped) -> Vec<u128> {
    rig.store.set_odds(Odds::default());
    let page = rig
        .store
        .replay(PARTITION, None, Max { records: 10_000, bytes: usize::MAX })
        .expect("it reads without faults");
    let mut ids: Vec<u128> = Vec::new();
    for record in page.records {
        if !ids.contains(&record.id.0) {
            ids.push(record.id.0);
        }
    }
    ids
}

const ALL_BUT_FAILURE: Odds = Odds {
    delay: 200,
    unavailable: 200,
    unknown_lost: 150,
    unknown_written: 150,
    fenced: 100,
    full: 100,
    failed: 0,
    frame_lost: 0,
    frame_doubled: 0,
};

#[test]
fn who_repeats_until_acknowledged_loses_nothing_and_keeps_order() {
    for seed in 0..100 {
        let rig = rig(ALL_BUT_FAILURE, seed);
        for id in 1..=30 {
            // A fenced owner would take over again; here it is the only one and goes on.
            while append(&rig, vec![record(id)]).iter().any(Result::is_err) {}
        }
        assert_eq!(applied(&rig), (1..=30).collect::<Vec<u128>>(), "seed {seed}");
    }
}

#[test]
fn what_was_acknowledged_is_there_and_what_was_refused_is_not() {
    for seed in 0..100 {
        let rig = rig(ALL_BUT_FAILURE, seed);
        let (mut there, mut absent) = (Vec::new(), Vec::new());
        for first in (1..=60).step_by(3) {
            let ids = first..first + 3;
            let results = append(&rig, ids.clone().map(record).collect());
            assert_eq!(results.len(), 3);
            for (id, result) in ids.zip(results) {
                match result {
                    Ok(_) => there.push(id),
                    Err(StoreError::Unknown) => {}
                    Err(_) => absent.push(id),
                }
            }
        }
        let applied = applied(&rig);
        assert!(there.iter().all(|id| applied.contains(id)), "seed {seed}");
        assert!(absent.iter().all(|id| !applied.contains(id)), "seed {seed}");
        assert!(applied.is_sorted(), "seed {seed}");
    }
}

#[test]
fn every_fault_is_seen_and_the_same_seed_gives_the_same_faults() {
    let run = |seed| {
        let rig = rig(ALL_BUT_FAILURE, seed);
        let results = (0..50).flat_map(|n| append(&rig, vec![record(2 * n), record(2 * n + 1)]));
        results.collect::<Vec<_>>()
    };
    let results = run(7);
    assert_eq!(results, run(7));
    assert_ne!(results, run(8));
    for error in [StoreError::Unknown, StoreError::Fenced, StoreError::Full] {
        assert!(results.contains(&Err(error)));
    }
    assert!(results.iter().any(|result| matches!(result, Err(StoreError::Unavailable { .. }))));
}

#[test]
fn unknown_is_written_or_lost_and_nobody_can_tell() {
    for (odds, expected) in [
        (Odds { unknown_written: 1000, ..Odds::default() }, vec![1_u128]),
        (Odds { unknown_lost: 1000, ..Odds::default() }, vec![]),
    ] {
        let rig = rig(odds, 1);
        assert_eq!(append(&rig, vec![record(1)]), [Err(StoreError::Unknown)]);
        assert_eq!(applied(&rig), expected);
    }
}

#[test]
fn a_fenced_batch_is_written_up_to_its_first_refused_record() {
    let mut lengths = Vec::new();
    for seed in 0..50 {
        let rig = rig(Odds { fenced: 1000, ..Odds::default() }, seed);
        let results = append(&rig, (0..4).map(record).collect());
        let written = results.iter().take_while(|result| result.is_ok()).count();
        assert!(results.iter().skip(written).all(|result| *result == Err(StoreError::Fenced)));
        assert_eq!(applied(&rig), (0..written as u128).collect::<Vec<u128>>());
        lengths.push(written);
    }
    lengths.sort_unstable();
    lengths.dedup();
    assert_eq!(lengths, [0, 1, 2, 3], "any record may be the first one refused, and one always is");
}

/// A removal is repeated without an id: its place names what is over, whether the first attempt was written or not.
#[test]
fn who_repeats_removals_until_acknowledged_removes_exactly_those() {
    for seed in 0..100 {
        let rig = rig(Odds::default(), seed);
        let places: Vec<u64> = (0..30)
            .map(|id| append(&rig, vec![record(id)]).remove(0).expect("no faults yet").offset)
            .collect();
        rig.store.set_odds(ALL_BUT_FAILURE);
        for (_, offset) in places.into_iter().enumerate().filter(|(id, _)| id % 3 != 0) {
            let entry = Write::Remove { partition: PARTITION, offset };
            while write(&rig, vec![entry.clone()]).iter().any(Result::is_err) {}
        }
        assert_eq!(applied(&rig), (0..30).step_by(3).collect::<Vec<u128>>(), "seed {seed}");
    }
}

#[test]
fn a_fetch_fails_for_a_moment_and_gives_the_record_then() {
    let rig = rig(Odds::default(), 5);
    let place = append(&rig, vec![record(1)]).remove(0).expect("no faults yet");
    rig.store.set_odds(Odds { unavailable: 500, ..Odds::default() });
    let answers: Vec<_> = (0..50).flat_map(|_| rig.store.fetch(&[(PARTITION, place.offset)])).collect();
    assert!(answers.iter().any(|answer| matches!(answer, Err(StoreError::Unavailable { .. }))));
    assert!(answers.iter().flatten().all(|found| found.as_ref().is_some_and(|record| record.id.0 == 1)));
    assert!(answers.iter().any(Result::is_ok));
}

#[test]
fn a_failed_store_takes_no_write_ever_again() {
    let rig = rig(Odds { failed: 1000, ..Odds::default() }, 1);
    assert_eq!(append(&rig, vec![record(1)]), [Err(StoreError::Failed)]);
    rig.store.set_odds(Odds::default());
    assert_eq!(append(&rig, vec![record(2)]), [Err(StoreError::Failed)]);
    assert_eq!(applied(&rig), [0_u128; 0]);
}

#[test]
fn a_delayed_write_waits_for_its_release_and_the_next_ones_behind_it() {
    let rig = rig(Odds { delay: 1000, ..Odds::default() }, 1);
    let sink = Sink::<HashMap<Token, Completion>>::new();
    rig.store.write(vec![record(1).into()], Done::new(sink.clone(), Token(1)));
    assert_eq!(applied(&rig), [0_u128; 0]);
    rig.store.write(vec![record(2).into()], Done::new(sink.clone(), Token(2)));
    assert_eq!(applied(&rig), [0_u128; 0], "it would have passed the first one");
    rig.settle();
    assert_eq!(applied(&rig), [1, 2]);
    sink.wait("both completions", |results| (results.len() == 2).then_some(()));
}

#[test]
fn frames_are_lost_and_doubled_but_never_out_of_order() {
    let exchange = Exchange::new(Arc::new(ManualClock::default()));
    let member = |node| Member { node: NodeId(node), epoch: 1 };
    let odds = Odds { frame_lost: 300, frame_doubled: 300, ..Odds::default() };
    let sender = Faulty::new(exchange.join(member(1), Sink::<Heard>::new()), odds, 3);
    let heard = Sink::<Heard>::new();
    let receiver = exchange.join(member(2), heard.clone());
    trunkline_store::Bus::interest(&receiver, vec![Interest::Add("#".into())]);
    let frame = |id| Frame { channel: "x".into(), position: None, id, origin: NodeId(1), body: Bytes::new() };
    for id in 0..200 {
        sender.publish(vec![frame(id)]);
    }
    let ids =
        heard.wait("frames", |heard| Some(heard.frames.iter().map(|frame| frame.id).collect::<Vec<_>>()));
    assert!(ids.is_sorted());
    let mut once = ids.clone();
    once.dedup();
    assert!(once.len() < 200, "some are lost");
    assert!(once.len() < ids.len(), "some came twice");
}
