//! Messages to clients: packet ids, windows, sizes, aliases, and what waits while a client is away.

use super::rig::{Client, Opening, Post, Site, ack_with};
use wire::mqtt::{Property, Value};

fn reader(site: &Site, opening: &Opening<'_>, qos: u8) -> Client {
    let mut client = site.open(0);
    assert!(client.connect(opening).ends_with(" 00"));
    client.send_subscribe(1, &[("#", qos)], None);
    assert!(client.all().iter().any(|one| one.starts_with("SUBACK")));
    client
}

#[test]
fn numbers_start_at_one_count_up_and_skip_those_in_use() {
    let site = Site::new(1);
    let mut client = reader(&site, &Opening::v5("s"), 2);
    let mut other = site.v3("other");
    for id in 1..=3 {
        other.publish(&Post::new("a", "x").q2(id));
    }
    client.expect(&["PUBLISH a \"x\" q2 #1", "PUBLISH a \"x\" q2 #2", "PUBLISH a \"x\" q2 #3"]);
    // 2 stays in use for more than all the others together.
    for id in [1, 3] {
        client.pubrec(id);
        client.pubcomp(id);
    }
    client.all();
    let mut last = 3_u16;
    let batch = |post: &Post<'_>, other: &Client| post.bytes(other.version).repeat(400);
    for _ in 0..170 {
        other.send(&batch(&Post::new("a", "x").q1(1), &other));
        other.all();
        let mut acks = Vec::new();
        for got in client.all() {
            let id: u16 = got.rsplit('#').next().unwrap().parse().unwrap();
            last = last.checked_add(1).unwrap_or(1);
            last += u16::from(last == 2);
            assert_eq!(id, last);
            acks.extend([0x40, 2, (id >> 8) as u8, id as u8]);
        }
        assert_eq!(acks.len(), 1600);
        client.send(&acks);
    }
    client.pubrec(2);
    client.expect(&["PUBREL #2 00"]);
    client.pubcomp(2);
    client.expect(&[]);
}

#[test]
fn a_window_of_one_holds_back_messages_and_nothing_else() {
    let site = Site::new(2);
    let mut client = reader(&site, &Opening::v5("s").receive_maximum(1), 2);
    let mut other = site.v5("other");
    other.publish(&Post::new("a", "1").q1(1));
    other.publish(&Post::new("a", "2").q2(2));
    other.publish(&Post::new("a", "3").q2(3));
    other.publish(&Post::new("a", "0"));
    client.expect(&["PUBLISH a \"1\" q1 #1", "PUBLISH a \"0\""]);
    assert!(client.is_alive());
    assert_eq!(client.subscribe(2, &[("b", 0)]), "SUBACK #2 [00]");
    client.puback(1);
    client.expect(&["PUBLISH a \"2\" q2 #2"]);
    client.pubrec(2);
    client.expect(&["PUBREL #2 00"]);
    client.pubcomp(2);
    client.expect(&["PUBLISH a \"3\" q2 #3"]);
    // A refusal makes room as well.
    other.publish(&Post::new("a", "4").q2(4));
    client.send(&ack_with(0x50, 3, 0x80));
    client.expect(&["PUBLISH a \"4\" q2 #4"]);
    client.send(&ack_with(0x50, 4, 0x97));
    client.send(&ack_with(0x50, 4, 0x97));
    client.expect(&[]);
    other.publish(&Post::new("a", "5").q2(5));
    client.expect(&["PUBLISH a \"5\" q2 #5"]);
}

#[test]
fn each_connection_has_a_window_of_its_own() {
    let site = Site::new(1);
    let mut client = reader(&site, &Opening::v5("s").lasting(100), 1);
    let mut other = site.v5("other");
    for n in 1..=5 {
        other.publish(&Post::new("a", &n.to_string()).q1(n));
    }
    assert_eq!(client.all().len(), 5);
    client.cut();
    let mut client = site.open(0);
    client.send(&Opening::v5("s").lasting(100).receive_maximum(2).bytes());
    client.expect(&["CONNACK present 00", "PUBLISH a \"1\" q1 #1 dup", "PUBLISH a \"2\" q1 #2 dup"]);
    client.puback(2);
    client.expect(&["PUBLISH a \"3\" q1 #3 dup"]);
    client.puback(1);
    client.puback(3);
    client.expect(&["PUBLISH a \"4\" q1 #4 dup", "PUBLISH a \"5\" q1 #5 dup"]);
    other.publish(&Post::new("a", "6").q1(1));
    client.expect(&[]);
    // Acknowledged before it was sent again: that is still an acknowledgement.
    client.cut();
    let mut client = site.open(0);
    client.send(&Opening::v5("s").lasting(100).receive_maximum(1).bytes());
    client.expect(&["CONNACK present 00", "PUBLISH a \"4\" q1 #4 dup"]);
    client.puback(5);
    client.expect(&[]);
    client.puback(4);
    client.expect(&["PUBLISH a \"6\" q1 #6"]);
}

#[test]
fn version_3_has_the_window_of_the_configuration() {
    let site = Site::with(1, &["mqtt.v3_receive_maximum=3"]);
    let mut client = reader(&site, &Opening::v3("s"), 1);
    let mut other = site.v5("other");
    for n in 1..=5 {
        other.publish(&Post::new("a", "x").q1(n));
    }
    assert_eq!(client.all().len(), 3);
    client.puback(1);
    assert_eq!(client.all(), ["PUBLISH a \"x\" q1 #4"]);
}

#[test]
fn nothing_is_sent_again_on_the_same_connection() {
    let site = Site::new(1);
    let mut client = reader(&site, &Opening::v5("s").lasting(100), 2);
    let mut other = site.v5("other");
    other.publish(&Post::new("a", "x").q2(1));
    assert_eq!(client.all().len(), 1);
    site.pass(3_600_000);
    client.expect(&[]);
    client.pubrec(1);
    client.expect(&["PUBREL #1 00"]);
    site.pass(3_600_000);
    client.expect(&[]);
}

#[test]
fn a_session_that_is_away_misses_only_what_may_be_missed() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut client = reader(&site, &Opening::v5("s").lasting(100), 2);
        client.cut();
        let mut other = site.v5("other");
        other.publish(&Post::new("a", "0"));
        other.publish(&Post::new("a", "1").q1(1));
        other.publish(&Post::new("b", "2").q2(2));
        other.publish(&Post::new("a", "3").q1(3));
        other.expect(&["PUBACK #1 00", "PUBREC #2 00", "PUBACK #3 00"]);
        let mut client = site.open(0);
        client.send(&Opening::v5("s").lasting(100).bytes());
        client.expect(&[
            "CONNACK present 00",
            "PUBLISH a \"1\" q1 #1",
            "PUBLISH b \"2\" q2 #2",
            "PUBLISH a \"3\" q1 #3",
        ]);
    }
}

#[test]
fn too_much_for_a_session_that_is_away_is_dropped_and_the_rest_kept_in_order() {
    let site = Site::with(1, &["limits.outbox_messages_max=10"]);
    let mut client = reader(&site, &Opening::v5("s").lasting(100), 1);
    client.cut();
    let mut other = site.v5("other");
    for n in 1..=20 {
        other.publish(&Post::new("a", &n.to_string()).q1(n));
    }
    assert_eq!(other.all().len(), 20);
    let mut client = site.open(0);
    client.send(&Opening::v5("s").lasting(100).bytes());
    let all = client.all();
    let expected: Vec<String> = (1..=10).map(|n| format!("PUBLISH a \"{n}\" q1 #{n}")).collect();
    assert_eq!((&*all[0], &all[1..]), ("CONNACK present 00", &expected[..]));
    other.publish(&Post::new("a", "later").q1(1));
    client.expect(&["PUBLISH a \"later\" q1 #11"]);
}

#[test]
fn what_is_larger_than_a_client_takes_counts_as_sent() {
    let site = Site::new(1);
    let opening =
        |most| Opening::v5("s").with(Property::MaximumPacketSize, Value::U32(most)).receive_maximum(1);
    let mut other = site.v5("other");
    // PUBLISH to `a` of version 5 has 6 bytes before the payload at QoS 0, 8 at QoS 1 and 2.
    for (bytes, comes) in [(32, true), (33, false)] {
        for qos in 0..3_u8 {
            let mut client = reader(&site, &opening(40), qos);
            let payload = "x".repeat(bytes + if qos == 0 { 2 } else { 0 });
            for id in 1..=3 {
                other.publish(&Post { qos, id: id * u16::from(qos.min(1)), ..Post::new("a", &payload) });
            }
            other.publish(&Post { qos, id: 9 * u16::from(qos.min(1)), ..Post::new("a", "small") });
            other.send(&[[0x62, 2, 0, 1], [0x62, 2, 0, 2], [0x62, 2, 0, 3], [0x62, 2, 0, 9]].concat());
            // With a window of one, nothing comes behind the first that is not acknowledged.
            let all = client.all();
            let expected = match (comes, qos) {
                (true, 0) => 4,
                (true, _) | (false, _) => 1,
            };
            assert_eq!(all.len(), expected, "{all:?}");
            assert_eq!(all[0].contains("small"), !comes, "{all:?}");
            client.cut();
        }
    }
    // A lasting session does not keep what its client does not take either.
    let mut client = reader(&site, &Opening::v5("s").lasting(100), 2);
    other.publish(&Post::new("a", &"x".repeat(50)).q2(1));
    client.cut();
    other.publish(&Post::new("a", &"y".repeat(50)).q1(2));
    let mut client = site.open(0);
    client.send(&opening(40).lasting(100).bytes());
    client.expect(&["CONNACK present 00"]);
    client.cut();
    let mut client = site.open(0);
    client.send(&Opening::v5("s").lasting(100).bytes());
    client.expect(&["CONNACK present 00"]);
}

#[test]
fn an_alias_is_left_out_where_it_would_make_the_packet_too_large() {
    let site = Site::new(1);
    let opening = |most| {
        Opening::v5("s")
            .with(Property::TopicAliasMaximum, Value::U16(5))
            .with(Property::MaximumPacketSize, Value::U32(most))
    };
    let mut other = site.v5("other");
    let payload = "x".repeat(32);
    // Forty bytes, and three more for an alias.
    for (most, expected) in [(43, Some(" alias=1")), (42, Some("")), (40, Some("")), (39, None)] {
        let mut client = reader(&site, &opening(most), 1);
        other.publish(&Post::new("a", &payload).q1(1));
        let expected = expected.map(|alias| format!("PUBLISH a \"{payload}\" q1 #1{alias}"));
        assert_eq!(client.try_next(), expected, "{most}");
    }
}

#[test]
fn topics_are_aliased_first_come_first_served_and_never_moved() {
    let site = Site::new(1);
    let mut other = site.v5("other");
    let aliases = |most| Opening::v5("s").with(Property::TopicAliasMaximum, Value::U16(most));
    let mut client = reader(&site, &aliases(2), 1);
    for (topic, expected) in [("a", "a"), ("a", ""), ("b", "b"), ("c", "c"), ("b", ""), ("c", "c"), ("a", "")]
    {
        other.publish(&Post::new(topic, "x"));
        let alias = match topic {
            "a" => " alias=1",
            "b" => " alias=2",
            _ => "",
        };
        client.expect(&[&format!("PUBLISH {expected} \"x\"{alias}")]);
    }
    let mut client = reader(&site, &aliases(100), 1);
    for n in 0..12 {
        let topic = format!("t{n}");
        other.publish(&Post::new(&topic, "x"));
        other.publish(&Post::new(&topic, "x"));
        let (first, second) = (client.next(), client.next());
        if n < 10 {
            assert_eq!(
                (first, second),
                (format!("PUBLISH {topic} \"x\" alias={}", n + 1), format!("PUBLISH  \"x\" alias={}", n + 1))
            );
        } else {
            assert_eq!((&first, &second), (&format!("PUBLISH {topic} \"x\""), &first));
        }
    }
    // What was not sent does not count as told.
    let opening = aliases(5).with(Property::MaximumPacketSize, Value::U32(30));
    let mut client = reader(&site, &opening, 1);
    other.publish(&Post::new("long/topic/and/more/of/it/than/fits", "x"));
    other.publish(&Post::new("a", "x"));
    client.expect(&["PUBLISH a \"x\" alias=1"]);
}

#[test]
fn a_resent_message_names_its_topic_on_the_new_connection() {
    let site = Site::new(1);
    let opening = || Opening::v5("s").lasting(100).with(Property::TopicAliasMaximum, Value::U16(5));
    let mut client = reader(&site, &opening(), 1);
    let mut other = site.v5("other");
    other.publish(&Post::new("a", "1").q1(1));
    other.publish(&Post::new("a", "2").q1(2));
    client.expect(&["PUBLISH a \"1\" q1 #1 alias=1", "PUBLISH  \"2\" q1 #2 alias=1"]);
    client.cut();
    let mut client = site.open(0);
    client.send(&opening().bytes());
    let resent =
        ["CONNACK present 00", "PUBLISH a \"1\" q1 #1 dup alias=1", "PUBLISH  \"2\" q1 #2 dup alias=1"];
    client.expect(&resent);
}

#[test]
fn a_client_that_takes_almost_nothing_still_gets_what_fits() {
    let site = Site::new(1);
    let opening = |most| Opening::v5("s").with(Property::MaximumPacketSize, Value::U32(most));
    // CONNACK of this server takes 3 + 5 + 3 bytes of properties behind five others.
    let mut client = site.open(0);
    client.send(&opening(15).bytes());
    client.expect(&["END"]);
    let mut client = site.open(0);
    client.send(&opening(16).bytes());
    client.expect(&["CONNACK new 00"]);
    // SUBACK of six filters does not fit any more, and the connection stays.
    client.send_subscribe(1, &[("a", 0); 20], None);
    client.expect(&[]);
    assert!(client.is_alive());
    // A reason string is left out, the code is not.
    client.send(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
    client.expect(&["DISCONNECT 95", "END"]);
    // A refusal that does not fit is a close.
    let longer = "x".repeat(1025);
    for (most, told) in [(4, &["END"][..]), (5, &["CONNACK new 85", "END"])] {
        let mut client = site.open(0);
        let refused = Opening { id: &longer, ..opening(most) };
        client.send(&refused.bytes());
        client.expect(told);
    }
}

#[test]
fn reason_strings_are_sent_only_where_they_were_asked_for() {
    let site = Site::new(1);
    for asked in [0, 1] {
        let mut client = site.open(0);
        client.connect(&Opening::v5("s").with(Property::RequestProblemInformation, Value::Byte(asked)));
        client.publish(&Post::new("$user/x", "x").q1(1));
        client.send_subscribe(2, &[("$user/x", 0)], None);
        match asked {
            0 => {
                assert_eq!(client.next_bytes().unwrap(), [0x40, 3, 0, 1, 0x87]);
                assert_eq!(client.next_bytes().unwrap(), [0x90, 4, 0, 2, 0, 0x87]);
            }
            _ => assert!(client.next_told().1.is_some() && client.next_told().1.is_some()),
        }
        // In DISCONNECT it may stand anyway.
        client.send(&[0x60, 2, 0, 1]);
        assert!(client.next_bytes().unwrap().starts_with(&[0xe0]));
    }
}

#[test]
fn order_is_kept_per_topic_and_quality_through_windows_and_returns() {
    let site = Site::new(3);
    let mut client = reader(&site, &Opening::v5("s").lasting(1000).receive_maximum(3), 1);
    let mut other = site.v5("other");
    let mut seen = Vec::new();
    let mut n = 0;
    for round in 0..40_u32 {
        for _ in 0..round % 5 {
            n += 1;
            other.publish(&Post::new("a", &n.to_string()).q1(1));
        }
        for got in client.all() {
            let payload = got.split('"').nth(1).map(|text| text.parse::<u32>().unwrap());
            let Some(number) = payload else { continue };
            let id: u16 = got.split('#').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            if round % 3 != 2 {
                client.puback(id);
                seen.push(number);
            }
        }
        if round % 3 == 2 {
            client.cut();
            client = site.open(0);
            client.send(&Opening::v5("s").lasting(1000).receive_maximum(3).bytes());
        }
    }
    loop {
        let got: Vec<_> = client.all().into_iter().filter(|one| one.starts_with("PUBLISH")).collect();
        if got.is_empty() {
            break;
        }
        for got in got {
            seen.push(got.split('"').nth(1).unwrap().parse().unwrap());
            client.puback(got.split('#').nth(1).unwrap().split(' ').next().unwrap().parse().unwrap());
        }
    }
    assert_eq!(seen, (1..=n).collect::<Vec<_>>());
}
