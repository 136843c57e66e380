//! SUBSCRIBE and UNSUBSCRIBE: what is granted, what matches, and what overlapping subscriptions bring.

use super::rig::{Post, Site, subscribe};
use wire::mqtt::Version;

#[test]
fn each_filter_has_its_code_in_the_order_of_the_packet() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let long = "x/".repeat(1025);
        let filters =
            [("a", 0), ("a/+", 1), ("$user/x", 1), ("#", 2), (long.as_str(), 0), ("$client/+", 0), ("b", 2)];
        let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
        assert_eq!(v5.subscribe(5, &filters), "SUBACK #5 [00 01 87 02 8F 87 02]");
        assert_eq!(v3.subscribe(5, &filters), "SUBACK #5 [00 01 80 02 80 80 02]");
        let left = ["b", "c", "$user/x", "a/+"];
        assert_eq!(v5.unsubscribe(6, &left), "UNSUBACK #6 [00 11 11 00]");
        assert_eq!(v3.unsubscribe(6, &left), "UNSUBACK #6 []");
    }
}

#[test]
fn the_same_filter_again_replaces_its_options_and_loses_nothing() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut client = site.v5("s");
        let mut other = site.v5("other");
        client.send_subscribe(1, &[("a/+", 2)], Some(1));
        other.publish(&Post::new("a/b", "1").q2(1));
        client.send_subscribe(2, &[("a/+", 0)], Some(2));
        other.publish(&Post::new("a/b", "2").q2(2));
        client.send_subscribe(3, &[("a/+", 1)], None);
        other.publish(&Post::new("a/b", "3").q2(3));
        client.expect(&[
            "SUBACK #1 [02]",
            "PUBLISH a/b \"1\" q2 #1 ids=[1]",
            "SUBACK #2 [00]",
            "PUBLISH a/b \"2\" ids=[2]",
            "SUBACK #3 [01]",
            "PUBLISH a/b \"3\" q1 #2",
        ]);
        assert_eq!(client.unsubscribe(4, &["a/+"]), "UNSUBACK #4 [00]");
        assert_eq!(client.unsubscribe(5, &["a/+"]), "UNSUBACK #5 [11]");
    }
}

#[test]
fn one_copy_at_the_best_of_all_that_match_with_all_their_ids() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    let labels =
        [("a/b", 0, Some(1)), ("a/+", 2, Some(2)), ("a/#", 1, None), ("#", 1, Some(2)), ("x", 2, Some(9))];
    for (id, (filter, options, label)) in (1..).zip(labels) {
        client.send_subscribe(id, &[(filter, options)], label);
        client.next();
    }
    let mut other = site.v5("other");
    other.publish(&Post::new("a/b", "2").q2(1));
    other.publish(&Post::new("a/b", "1").q1(2));
    other.publish(&Post::new("a/b", "0"));
    client.expect(&[
        "PUBLISH a/b \"2\" q2 #1 ids=[1, 2, 2]",
        "PUBLISH a/b \"1\" q1 #2 ids=[1, 2, 2]",
        "PUBLISH a/b \"0\" ids=[1, 2, 2]",
    ]);
    client.unsubscribe(9, &["a/+"]);
    other.publish(&Post::new("a/b", "2").q2(3));
    client.expect(&["PUBLISH a/b \"2\" q1 #3 ids=[1, 2]"]);
}

#[test]
fn retain_is_kept_if_any_that_matches_keeps_it_and_no_local_drops_only_its_own() {
    let site = Site::new(1);
    let (mut client, mut other) = (site.v5("s"), site.v5("other"));
    // No Local is 4, Retain As Published 8, Retain Handling 2 is 32.
    client.subscribe(1, &[("a", 32 | 4 | 2), ("+", 32 | 8), ("b", 32 | 4 | 8)]);
    client.publish(&Post::new("a", "own").q2(1).retain());
    client.expect(&["PUBREC #1 00", "PUBLISH a \"own\" retain"]);
    other.publish(&Post::new("a", "other").q2(1).retain());
    client.expect(&["PUBLISH a \"other\" q2 #1 retain"]);
    client.unsubscribe(2, &["+"]);
    client.publish(&Post::new("b", "own").retain());
    client.expect(&[]);
    other.publish(&Post::new("a", "other").retain());
    other.publish(&Post::new("b", "other").retain());
    other.publish(&Post::new("b", "other"));
    client.expect(&["PUBLISH a \"other\"", "PUBLISH b \"other\" retain", "PUBLISH b \"other\""]);
}

#[test]
fn the_lower_of_both_qualities_is_delivered() {
    let site = Site::new(1);
    let mut other = site.v5("other");
    let mut readers: Vec<_> = (0..3_u8)
        .map(|qos| {
            let mut reader = site.v5(&format!("r{qos}"));
            reader.subscribe(1, &[("a", qos)]);
            reader
        })
        .collect();
    for (qos, expected) in (0..3).zip([["", "", ""], ["", " q1 #1", " q1 #1"], ["", " q1 #2", " q2 #2"]]) {
        other.publish(&Post { qos, id: u16::from(qos), ..Post::new("a", "x") });
        for (reader, expected) in readers.iter_mut().zip(expected) {
            reader.expect(&[&format!("PUBLISH a \"x\"{expected}")]);
        }
    }
}

#[test]
fn matching_goes_level_by_level() {
    let site = Site::new(2);
    let cases = [
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("+", "a", true),
        ("+", "", false),
        ("+", "/a", false),
        ("/+", "/a", true),
        ("/a", "a", false),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("+/+", "/", true),
        ("#", "/", true),
        ("A", "a", false),
        ("a ", "a", false),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("+/b/#", "a/b", true),
        ("#", "$x", false),
        ("+/x", "$x/x", false),
        ("$x/#", "$x/x", true),
        ("$x/+", "$x/x", true),
        ("a/$x", "a/$x", true),
        ("+/$x", "a/$x", true),
    ];
    for (filter, topic, matches) in cases {
        if topic.is_empty() {
            continue;
        }
        let (mut reader, mut other) = (site.v5("reader"), site.v5("other"));
        assert_eq!(reader.subscribe(1, &[(filter, 0)]), "SUBACK #1 [00]", "{filter}");
        other.publish(&Post::new(topic, "x").q1(1));
        assert_eq!(other.next(), if matches { "PUBACK #1 00" } else { "PUBACK #1 10" }, "{filter} {topic}");
        assert_eq!(reader.all().len(), usize::from(matches), "{filter} {topic}");
    }
}

#[test]
fn filters_are_compared_byte_by_byte() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    client.subscribe(1, &[("test", 1), ("$share/g/test", 1), ("Test", 0), ("test/", 0)]);
    let mut other = site.v5("other");
    other.publish(&Post::new("test", "both").q1(1));
    client.expect(&["PUBLISH test \"both\" q1 #1", "PUBLISH test \"both\" q1 #2"]);
    client.puback(1);
    client.puback(2);
    assert_eq!(client.unsubscribe(2, &["test"]), "UNSUBACK #2 [00]");
    other.publish(&Post::new("test", "shared").q1(1));
    client.expect(&["PUBLISH test \"shared\" q1 #3"]);
    assert_eq!(
        client.unsubscribe(3, &["$share/g/tes", "$share/h/test", "$share/g/test"]),
        "UNSUBACK #3 [11 11 00]"
    );
    other.publish(&Post::new("test", "nobody").q1(1));
    client.expect(&[]);
    assert_eq!(other.all().last().unwrap(), "PUBACK #1 10");
}

#[test]
fn what_is_in_flight_is_completed_after_unsubscribing() {
    let site = Site::new(1);
    let mut client = site.lasting("s");
    client.subscribe(1, &[("a", 2)]);
    let mut other = site.v5("other");
    other.publish(&Post::new("a", "x").q2(1));
    assert_eq!(client.next(), "PUBLISH a \"x\" q2 #1");
    assert_eq!(client.unsubscribe(2, &["a"]), "UNSUBACK #2 [00]");
    client.cut();
    let mut client = site.lasting("s");
    assert_eq!(client.next(), "PUBLISH a \"x\" q2 #1 dup");
    client.pubrec(1);
    assert_eq!(client.next(), "PUBREL #1 00");
    client.pubcomp(1);
    client.expect(&[]);
}

#[test]
fn a_subscription_is_in_force_for_what_comes_behind_its_suback() {
    let site = Site::new(4);
    let id = site.client_at(0, "s");
    let other_id = site.client_at(3, "other");
    for home in 0..4 {
        let topic = site.topic_at(home, "t");
        for filter in [topic.as_str(), "+", "#"] {
            let (mut client, mut other) = (site.v5(&id), site.v5(&other_id));
            // Turn by turn, so that the publish comes as soon as SUBACK has been written.
            client.write(&subscribe(Version::V5, 1, &[(filter, 1)], None));
            while client.all_now().is_empty() {
                site.turn();
            }
            other.publish(&Post::new(&topic, "x").q1(1));
            assert_eq!(client.next(), format!("PUBLISH {topic} \"x\" q1 #1"), "{filter}");
        }
    }
}

#[test]
fn subscriptions_over_the_limit_are_refused_and_known_ones_may_change() {
    let site = Site::with(1, &["limits.channels_per_session_max=2"]);
    let mut client = site.v5("s");
    let filters = [("a", 0), ("$share/g/a", 0), ("b", 0), ("$share/g/b", 0), ("a", 1), ("$share/g/a", 2)];
    assert_eq!(client.subscribe(1, &filters), "SUBACK #1 [00 00 97 97 01 02]");
    client.unsubscribe(2, &["a"]);
    assert_eq!(client.subscribe(3, &[("b", 0)]), "SUBACK #3 [00]");
}

#[test]
fn one_packet_may_name_the_same_filter_several_times() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    assert_eq!(client.subscribe(1, &[("a/+", 0), ("a/+", 2), ("a/+", 1)]), "SUBACK #1 [00 02 01]");
    let mut other = site.v5("other");
    other.publish(&Post::new("a/b", "x").q2(1));
    client.expect(&["PUBLISH a/b \"x\" q1 #1"]);
    assert_eq!(client.unsubscribe(1, &["a/+", "a/+"]), "UNSUBACK #1 [00 11]");
}
