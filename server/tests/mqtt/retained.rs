//! Retained messages: set, replaced, removed, handed to who subscribes, and racing with that.

use super::rig::{Opening, Post, Site, subscribe};
use wire::mqtt::{Property, Value, Version};

#[test]
fn the_last_one_is_kept_with_its_properties_and_outlives_its_publisher() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut client = site.v5("s");
        client.publish(&Post::new("a", "1").retain());
        let kept = Post::new("a", "2").q1(1).retain().with(Property::UserProperty, Value::Pair("k", "v"));
        client.publish(&kept);
        client.publish(&Post::new("a", "not kept").q1(2));
        client.publish(&Post::new("b", "3").q2(3).retain());
        client.disconnect(0, None);
        let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
        v5.send_subscribe(1, &[("a", 2)], Some(5));
        v5.expect(&["SUBACK #1 [02]", "PUBLISH a \"2\" q1 #1 retain ids=[5] user:k=v"]);
        v3.send_subscribe(1, &[("+", 2)], None);
        let mut all = v3.all();
        all.sort();
        let (a, b) = (&all[0], &all[1]);
        assert!(a.starts_with("PUBLISH a \"2\" q1 #") && a.ends_with(" retain"), "{all:?}");
        assert!(b.starts_with("PUBLISH b \"3\" q2 #") && b.ends_with(" retain"), "{all:?}");
    }
}

#[test]
fn an_empty_payload_removes_it_and_is_delivered_live() {
    let site = Site::new(2);
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 2)]);
    let mut client = site.v5("s");
    for (qos, removed) in [(0, "PUBLISH a \"\""), (1, "PUBLISH a \"\" q1 #1"), (2, "PUBLISH a \"\" q2 #2")] {
        client.publish(&Post::new("a", "x").retain());
        client.publish(&Post { qos, id: u16::from(qos), ..Post::new("a", "").retain() });
        reader.expect(&["PUBLISH a \"x\"", removed]);
        let mut late = site.v5("late");
        late.send_subscribe(1, &[("a", 0), ("#", 0)], None);
        late.expect(&["SUBACK #1 [00 00]"]);
    }
}

#[test]
fn retain_handling_says_whether_they_come() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "x").retain());
    let kept = "PUBLISH a \"x\" retain";
    let mut reader = site.v5("reader");
    // 0 always, 16 only if new, 32 never.
    for (id, (options, comes)) in (1..).zip([(32, false), (16, false), (0, true), (0, true), (16, false)]) {
        reader.subscribe(id, &[("a", options)]);
        reader.expect(&[kept][usize::from(!comes)..]);
    }
    reader.unsubscribe(9, &["a"]);
    reader.subscribe(10, &[("a", 16)]);
    reader.expect(&[kept]);
    // Known from an earlier connection is not new.
    let mut lasting = site.lasting("lasting");
    lasting.subscribe(1, &[("a", 16)]);
    lasting.expect(&[kept]);
    lasting.cut();
    let mut lasting = site.lasting("lasting");
    lasting.subscribe(2, &[("a", 16)]);
    lasting.expect(&[]);
    // Version 3 always.
    let mut v3 = site.v3("v3");
    for id in 1..3 {
        v3.subscribe(id, &[("a", 0)]);
        v3.expect(&[kept]);
    }
    // A shared subscription never.
    let mut shared = site.v5("shared");
    shared.subscribe(1, &[("$share/g/a", 0)]);
    shared.expect(&[]);
}

#[test]
fn each_of_several_filters_brings_its_own() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "x").q2(1).retain());
    let mut reader = site.v5("reader");
    reader.send_subscribe(1, &[("a", 0), ("+", 1), ("b", 2)], Some(3));
    let mut all = reader.all();
    all.sort();
    let live =
        ["PUBLISH a \"x\" q1 #1 retain ids=[3]", "PUBLISH a \"x\" retain ids=[3]", "SUBACK #1 [00 01 02]"];
    assert_eq!(all, live);
}

#[test]
fn very_many_come_one_by_one_through_a_small_window_and_each_once() {
    let site = Site::new(3);
    let mut client = site.v3("s");
    for n in 0..2_000 {
        client.write(&Post::new(&format!("deep/{n}/x"), "x").q1(1).retain().bytes(Version::V3));
    }
    site.run();
    let mut reader = site.open(0);
    reader.send(&Opening::v5("reader").receive_maximum(2).bytes());
    reader.send(&subscribe(Version::V5, 1, &[("deep/+/x", 1)], None));
    let mut seen = Vec::new();
    loop {
        let got: Vec<_> = reader.all().into_iter().filter(|one| one.starts_with("PUBLISH")).collect();
        if got.is_empty() {
            break;
        }
        assert!(got.len() <= 2, "{got:?}");
        for one in got {
            assert!(one.ends_with(" retain"), "{one}");
            seen.push(one.split(' ').nth(1).unwrap().to_owned());
            reader.puback(one.split('#').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap());
        }
    }
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((count, seen.len()), (2_000, 2_000));
    assert!(reader.is_alive());
}

#[test]
fn who_subscribes_while_a_value_changes_sees_the_last_one_last_and_none_twice() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let topic = site.topic_at(shards - 1, "t");
        let (id, other_id) = (site.client_at(0, "reader"), site.client_at(shards / 2, "other"));
        for filter in [topic.as_str(), "#"] {
            for turns in 0..12 {
                let mut other = site.v5(&other_id);
                let mut reader = site.v5(&id);
                other.publish(&Post::new(&topic, "old").q1(1).retain());
                other.all();
                reader.write(&subscribe(Version::V5, 1, &[(filter, 1)], None));
                (0..turns).for_each(|_| site.turn());
                other.write(&Post::new(&topic, "new").q1(2).retain().bytes(Version::V5));
                site.run();
                let seen: Vec<_> =
                    reader.all().into_iter().filter(|one| one.starts_with("PUBLISH")).collect();
                let news = seen.iter().filter(|one| one.contains("\"new\"")).count();
                let why = format!("{filter} of {shards} after {turns}: {seen:?}");
                assert_eq!(news, 1, "{why}");
                assert!(seen.last().unwrap().contains("\"new\""), "{why}");
                assert!(seen.len() <= 2, "{why}");
            }
        }
    }
}

#[test]
fn a_value_that_is_removed_while_somebody_subscribes_does_not_come_afterwards() {
    let site = Site::new(2);
    let topic = site.topic_at(1, "t");
    for turns in 0..10 {
        let (mut other, mut reader) = (site.v5("other"), site.v5("reader"));
        other.publish(&Post::new(&topic, "old").retain());
        reader.write(&subscribe(Version::V5, 1, &[("#", 1)], None));
        (0..turns).for_each(|_| site.turn());
        other.write(&Post::new(&topic, "").q1(2).retain().bytes(Version::V5));
        site.run();
        let seen: Vec<_> = reader.all().into_iter().filter(|one| one.starts_with("PUBLISH")).collect();
        let empty = seen.iter().position(|one| one.contains("\"\""));
        let old = seen.iter().position(|one| one.contains("\"old\""));
        assert!(old.is_none() || old < empty, "{turns}: {seen:?}");
    }
}

#[test]
fn what_came_by_a_walk_that_was_cut_comes_on_the_next_connection() {
    let site = Site::new(2);
    let mut client = site.v3("s");
    for n in 0..100 {
        client.publish(&Post::new(&format!("k/{n}"), "x").q1(1).retain());
    }
    client.all();
    let mut reader = site.open(0);
    reader.send(&Opening::v5("reader").lasting(100).receive_maximum(5).bytes());
    reader.send(&subscribe(Version::V5, 1, &[("k/#", 1)], None));
    assert_eq!(reader.all().len(), 2 + 5);
    reader.cut();
    let mut reader = site.open(0);
    reader.send(&Opening::v5("reader").lasting(100).bytes());
    let mut topics: Vec<_> =
        reader.all()[1..].iter().map(|one| one.split(' ').nth(1).unwrap().to_owned()).collect();
    loop {
        let before = topics.len();
        for id in 1..=200 {
            reader.puback(id);
        }
        topics.extend(reader.all().iter().map(|one| one.split(' ').nth(1).unwrap().to_owned()));
        if topics.len() == before {
            break;
        }
    }
    topics.sort_unstable();
    topics.dedup();
    assert_eq!(topics.len(), 100);
}

#[test]
fn names_with_a_dollar_are_not_among_those_of_a_wildcard() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    client.publish(&Post::new("$mine/a", "x").retain());
    client.publish(&Post::new("a", "y").retain());
    let mut reader = site.v5("reader");
    reader.send_subscribe(1, &[("#", 0), ("+/a", 0)], None);
    reader.expect(&["SUBACK #1 [00 00]", "PUBLISH a \"y\" retain"]);
    reader.subscribe(2, &[("$mine/#", 0)]);
    reader.expect(&["PUBLISH $mine/a \"x\" retain"]);
}

#[test]
fn removed_and_expired_ones_leave_nothing() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    for n in 0..50 {
        client.publish(&Post::new(&format!("a/{n}"), "x").retain().expiry(n + 1));
        client.publish(&Post::new(&format!("b/{n}"), "x").retain());
        client.publish(&Post::new(&format!("b/{n}"), "").retain());
    }
    client.cut();
    assert!(!site.is_idle());
    site.pass(50_010);
    assert!(site.is_idle());
}
