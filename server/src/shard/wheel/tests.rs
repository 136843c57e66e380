//! Virtual time against a sorted map.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// No key.
const NOTHING: [u32; 0] = [];

fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
    let mut keys: Vec<u32> = std::iter::from_fn(|| wheel.expire(now)).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn fires_at_its_millisecond_and_not_before() {
    let mut wheel = Wheel::new(1000);
    wheel.arm(3, 1300);
    assert_eq!(fired(&mut wheel, 1299), NOTHING);
    assert_eq!(fired(&mut wheel, 1300), [3]);
    assert_eq!(fired(&mut wheel, 9999), NOTHING);
}

#[test]
fn a_later_deadline_replaces_an_earlier_one_and_the_other_way_round() {
    let mut wheel = Wheel::new(0);
    wheel.arm(0, 100);
    wheel.arm(0, 25_000);
    assert_eq!(fired(&mut wheel, 24_999), NOTHING);
    wheel.arm(0, 25_010);
    wheel.arm(0, 25_001);
    assert_eq!(fired(&mut wheel, 25_001), [0]);
    assert_eq!(wheel.next(), None);
}

#[test]
fn a_deadline_in_the_past_fires_at_the_next_millisecond() {
    let mut wheel = Wheel::new(50);
    wheel.arm(1, 10);
    assert_eq!(fired(&mut wheel, 50), NOTHING);
    assert_eq!(fired(&mut wheel, 51), [1]);
}

#[test]
fn a_key_that_is_due_can_still_be_disarmed_or_postponed() {
    let mut wheel = Wheel::new(0);
    for key in 0..3 {
        wheel.arm(key, 5);
    }
    let first = wheel.expire(5).unwrap();
    let [a, b] = [0, 1, 2].into_iter().filter(|key| *key != first).collect::<Vec<_>>().try_into().unwrap();
    wheel.disarm(a);
    wheel.arm(b, 9);
    assert_eq!(fired(&mut wheel, 8), NOTHING);
    assert_eq!(fired(&mut wheel, 9), [b]);
}

#[test]
fn very_far_deadlines_wait() {
    let mut wheel = Wheel::new(0);
    let far = AHEAD_MS_MAX * 3 + 17;
    wheel.arm(0, far);
    assert_eq!(fired(&mut wheel, far - 1), NOTHING);
    assert_eq!(fired(&mut wheel, far), [0]);
}

#[test]
fn memory_goes_when_nothing_is_armed() {
    let mut wheel = Wheel::new(0);
    (0..5000).for_each(|key| wheel.arm(key, 10));
    assert_eq!(fired(&mut wheel, 10).len(), 5000);
    assert_eq!(wheel.nodes.capacity(), 0);
    assert_eq!(size_of::<Node>(), 16);
}

#[derive(Clone, Debug)]
enum Op {
    Arm(u32, u64),
    Disarm(u32),
    Advance(u64),
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..3, 0_u64..200, 0_u64..10_000, 0_u64..1 << 20, 0_u64..1 << 38]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0_u32..24, span()).prop_map(|(key, span)| Op::Arm(key, span)),
        1 => (0_u32..24).prop_map(Op::Disarm),
        3 => span().prop_map(Op::Advance),
    ];
    proptest::collection::vec(op, 1..200)
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_map(start in span(), ops in ops()) {
        let mut now = start;
        let mut wheel = Wheel::new(now);
        let mut model = BTreeMap::new();
        for op in ops {
            match op {
                Op::Arm(key, ahead) => {
                    wheel.arm(key, now + ahead);
                    model.insert(key, (now + ahead).max(now + 1));
                }
                Op::Disarm(key) => {
                    wheel.disarm(key);
                    model.remove(&key);
                }
                Op::Advance(by) => {
                    now += by;
                    let expected: Vec<u32> =
                        model.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                    model.retain(|_, at| *at > now);
                    prop_assert_eq!(fired(&mut wheel, now), expected);
                }
            }
            let earliest = model.values().min().copied();
            prop_assert_eq!(wheel.next().is_some(), earliest.is_some());
            if let (Some(next), Some(earliest)) = (wheel.next(), earliest) {
                prop_assert!(next <= earliest && next >= now.min(next));
            }
        }
    }
}
