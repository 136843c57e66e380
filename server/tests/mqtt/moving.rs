//! Connections that go to the shard of their session, and sessions that go to another connection, with everything that
//! is on its way meanwhile.

use super::rig::{Opening, Post, Site, subscribe};
use wire::mqtt::Version;

/// CONNECT, SUBSCRIBE, PUBLISH and PINGREQ in one.
fn script(id: &str, topic: &str) -> Vec<u8> {
    let packets = [
        Opening::v5(id).bytes(),
        subscribe(Version::V5, 1, &[(topic, 1)], None),
        Post::new(topic, "x").q1(2).bytes(Version::V5),
        Post::new(topic, "y").q2(3).bytes(Version::V5),
        vec![0xc0, 0],
    ];
    packets.concat()
}

/// What it leads to. Answers of other shards may come behind the PINGRESP.
fn check(mut all: Vec<String>, topic: &str, why: &str) {
    assert_eq!(all[0], "CONNACK new 00", "{why}");
    let place = |all: &[String], start: &str| all.iter().position(|one| one.starts_with(start)).unwrap();
    assert!(place(&all, "PUBLISH") < place(&all, "PUBACK"), "{why}");
    all.sort();
    let expected = [
        "CONNACK new 00".to_owned(),
        "PINGRESP".into(),
        "PUBACK #2 00".into(),
        format!("PUBLISH {topic} \"x\" q1 #1"),
        format!("PUBLISH {topic} \"y\" q1 #2"),
        "PUBREC #3 00".into(),
        "SUBACK #1 [01]".into(),
    ];
    assert_eq!(all, expected, "{why}");
}

#[test]
fn packets_may_follow_connect_in_one_segment_and_be_cut_anywhere() {
    for shards in 1..4 {
        let site = Site::new(shards);
        for home in 0..shards {
            let (id, topic) = (site.client_at(home, "s"), site.topic_at(shards - 1, "t"));
            let bytes = script(&id, &topic);
            for accepted in 0..shards {
                for cut in 1..=bytes.len() {
                    let mut client = site.open(accepted);
                    client.write(&bytes[..cut]);
                    // With and without the first part having had its effect.
                    if cut % 2 == 0 {
                        site.run();
                    }
                    client.send(&bytes[cut..]);
                    check(client.all(), &topic, &format!("{home} of {shards} from {accepted}, cut at {cut}"));
                    client.cut();
                }
                let mut client = site.open(accepted);
                for byte in &bytes {
                    client.write(&[*byte]);
                    site.turn();
                }
                site.run();
                check(client.all(), &topic, "byte by byte");
                client.cut();
            }
        }
        assert_eq!(site.sessions(), 0);
    }
}

#[test]
fn what_comes_while_the_connection_moves_is_not_lost() {
    let site = Site::new(3);
    let id = site.client_at(2, "s");
    for turns in 0..8 {
        let mut client = site.open(0);
        client.write(&Opening::v5(&id).bytes());
        (0..turns).for_each(|_| site.turn());
        client.send(&[0xc0, 0, 0xc0, 0]);
        client.expect(&["CONNACK new 00", "PINGRESP", "PINGRESP"]);
    }
}

#[test]
fn a_client_that_goes_while_it_moves_leaves_nothing() {
    let site = Site::new(3);
    let id = site.client_at(2, "s");
    for turns in 0..8 {
        let mut client = site.open(0);
        client.write(&Opening::v5(&id).bytes());
        (0..turns).for_each(|_| site.turn());
        client.cut();
        site.run();
        assert!(site.is_idle(), "{turns}");
        assert_eq!((site.stats().connections, site.stats().half_open), (0, 0));
    }
}

#[test]
fn a_session_is_one_whichever_shard_accepts_its_clients() {
    let site = Site::new(4);
    let id = site.client_at(3, "s");
    let mut last = site.open(0);
    assert_eq!(last.connect(&Opening::v5(&id).lasting(10)), "CONNACK new 00");
    for accepted in [1, 2, 3, 0, 0] {
        let mut next = site.open(accepted);
        assert_eq!(next.connect(&Opening::v5(&id).lasting(10)), "CONNACK present 00");
        last.expect(&["DISCONNECT 8E", "END"]);
        last = next;
    }
    assert_eq!(site.sessions(), 1);
}

#[test]
fn two_connections_of_one_client_at_once_leave_one() {
    let site = Site::new(3);
    let id = site.client_at(2, "s");
    for turns in 0..8 {
        let (mut first, mut second) = (site.open(0), site.open(1));
        first.write(&Opening::v5(&id).lasting(10).bytes());
        (0..turns).for_each(|_| site.turn());
        second.write(&Opening::v5(&id).lasting(10).bytes());
        site.run();
        let (first, second) = (first.all(), second.all());
        let (left, kicked) = if first.len() == 1 { (first, second) } else { (second, first) };
        assert_eq!(left.len(), 1, "{left:?} {kicked:?}");
        assert_eq!(kicked[1..], ["DISCONNECT 8E", "END"]);
        assert_eq!(site.sessions(), 1);
    }
}

#[test]
fn a_take_over_loses_nothing_that_is_in_flight_either_way() {
    for shards in [1, 2, 4] {
        let site = Site::new(shards);
        let id = site.client_at(shards - 1, "s");
        let topics: Vec<String> = (0..shards).map(|home| site.topic_at(home, "t")).collect();
        for turns in 0..10 {
            let mut reader = site.v3("reader");
            reader.send_subscribe(1, &[("out/#", 1)], None);
            let mut other = site.v3("other");
            let mut old = site.open(0);
            old.send(&Opening::v5(&id).lasting(100).bytes());
            old.send_subscribe(1, &[("+", 2)], None);
            old.all();
            reader.all();
            // Both ways at once: eight to it, and eight from it of which all are sent and none is acknowledged yet.
            for n in 0..8_u16 {
                let topic = &topics[usize::from(n) % topics.len()];
                other.write(&Post::new(topic, &n.to_string()).q2(n + 1).bytes(Version::V3));
                let out = format!("out/{}", n % 3);
                old.write(&Post::new(&out, &n.to_string()).q2(n + 1).bytes(Version::V5));
            }
            (0..turns).for_each(|_| site.turn());
            let mut new = site.open(0);
            new.write(&Opening::v5(&id).lasting(100).bytes());
            for n in 0..8_u16 {
                let out = format!("out/{}", n % 3);
                new.write(&Post::new(&out, &n.to_string()).q2(n + 1).dup().bytes(Version::V5));
            }
            site.run();
            let all = new.all();
            assert_eq!(all[0], "CONNACK present 00");
            let mut got: Vec<_> = all
                .iter()
                .filter(|one| one.starts_with("PUBLISH"))
                .map(|one| one.split('"').nth(1).unwrap())
                .collect();
            got.sort_unstable();
            assert_eq!(got, ["0", "1", "2", "3", "4", "5", "6", "7"], "{shards} {turns}");
            let recs = all.iter().filter(|one| one.starts_with("PUBREC")).count();
            assert_eq!(recs, 8, "{all:?}");
            let mut seen: Vec<_> =
                reader.all().iter().map(|one| one.split('"').nth(1).unwrap().to_owned()).collect();
            seen.sort_unstable();
            assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6", "7"], "{shards} {turns}");
            new.disconnect(0, Some(0));
            other.cut();
            reader.cut();
        }
    }
}

#[test]
fn what_the_old_connection_asked_for_is_not_answered_on_the_new_one() {
    let site = Site::new(3);
    let (id, far) = (site.client_at(0, "s"), site.topic_at(2, "t"));
    for turns in 0..5 {
        let mut old = site.open(0);
        old.send(&Opening::v5(&id).lasting(100).bytes());
        old.all();
        old.write(&subscribe(Version::V5, 1, &[(&far, 1), ("+/a", 0)], None));
        old.write(&Post::new(&far, "x").q1(2).bytes(Version::V5));
        (0..turns).for_each(|_| site.turn());
        let mut new = site.open(0);
        new.write(&Opening::v5(&id).lasting(100).bytes());
        site.run();
        let all = new.all();
        assert_eq!(all[0], "CONNACK present 00");
        assert!(all.iter().all(|one| !one.starts_with("SUBACK") && !one.starts_with("PUBACK")), "{all:?}");
        // And yet both are done, once the bytes had come.
        if turns > 1 {
            let mut other = site.v5("other");
            other.publish(&Post::new(&far, "y"));
            assert_eq!(new.all().last().unwrap(), &format!("PUBLISH {far} \"y\""));
        }
        new.disconnect(0, Some(0));
    }
}
