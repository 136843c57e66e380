//! Messages from clients: acknowledgements and their order, ids, windows, aliases, and what travels with a message.

use super::rig::{Opening, Post, Site};
use wire::mqtt::{Property, Value, Version};

#[test]
fn an_acknowledged_id_is_free_for_another_message_dup_or_not() {
    let site = Site::new(1);
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("a", 2)]);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "1").q1(7));
    client.publish(&Post::new("a", "2").q1(7));
    client.publish(&Post::new("a", "3").q1(7).dup());
    client.expect(&["PUBACK #7 00", "PUBACK #7 00", "PUBACK #7 00"]);
    let expected = ["PUBLISH a \"1\" q1 #1", "PUBLISH a \"2\" q1 #2", "PUBLISH a \"3\" q1 #3"];
    reader.expect(&expected);
}

#[test]
fn until_pubrel_an_id_is_one_message() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut reader = site.v5("reader");
        reader.subscribe(1, &[("a", 0)]);
        let mut client = site.v5("s");
        client.publish(&Post::new("a", "1").q2(7));
        client.publish(&Post::new("a", "1").q2(7).dup());
        client.publish(&Post::new("a", "other").q2(7));
        client.expect(&["PUBREC #7 00"; 3]);
        reader.expect(&["PUBLISH a \"1\""]);
        client.pubrel(7);
        client.pubrel(7);
        client.expect(&["PUBCOMP #7 00"; 2]);
        client.publish(&Post::new("a", "2").q2(7));
        client.expect(&["PUBREC #7 00"]);
        reader.expect(&["PUBLISH a \"2\""]);
    }
}

#[test]
fn the_same_id_twice_before_the_answer_is_one_message() {
    let site = Site::new(3);
    let id = site.client_at(0, "s");
    let topic = site.topic_at(2, "t");
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 0)]);
    let mut client = site.v5(&id);
    let post = Post::new(&topic, "x").q2(3);
    let twice = [post.bytes(Version::V5), post.clone().dup().bytes(Version::V5)].concat();
    client.send(&twice);
    client.expect(&["PUBREC #3 00"; 2]);
    reader.expect(&[&format!("PUBLISH {topic} \"x\"")]);
}

#[test]
fn pubrel_for_an_unknown_id_is_answered() {
    let site = Site::new(1);
    let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
    v5.pubrel(9);
    v3.pubrel(9);
    assert_eq!(
        (v5.next_bytes().unwrap(), v3.next_bytes().unwrap()),
        (vec![0x70, 2, 0, 9], vec![0x70, 2, 0, 9])
    );
}

#[test]
fn a_publisher_sees_its_own_message_before_puback_and_after_pubrec() {
    for shards in 1..4 {
        let site = Site::new(shards);
        for home in 0..shards {
            let topic = site.topic_at(home, "own");
            let id = site.client_at(0, "s");
            let mut client = site.v5(&id);
            client.subscribe(1, &[(&topic, 2)]);
            client.publish(&Post::new(&topic, "1").q1(1));
            client.publish(&Post::new(&topic, "2").q2(2));
            client.expect(&[
                &format!("PUBLISH {topic} \"1\" q1 #1"),
                "PUBACK #1 00",
                "PUBREC #2 00",
                &format!("PUBLISH {topic} \"2\" q2 #2"),
            ]);
            client.pubrel(2);
            client.expect(&["PUBCOMP #2 00"]);
        }
    }
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_packets_though_homes_differ() {
    let site = Site::new(4);
    let id = site.client_at(0, "s");
    let homes: Vec<String> = (0..4).map(|home| site.topic_at(home, "t")).collect();
    let mut client = site.v5(&id);
    let post = |n: usize, id: u16| {
        let post = Post::new(&homes[n], "x");
        let post = if id % 2 == 1 { post.q1(id) } else { post.q2(id) };
        post.bytes(Version::V5)
    };
    let order = [3, 0, 1, 0, 2, 2, 0, 0, 1, 3, 0, 1];
    let all: Vec<u8> = order.iter().zip(1..).flat_map(|(home, id)| post(*home, id)).collect();
    client.send(&all);
    let (acks, recs): (Vec<_>, Vec<_>) = client.all().into_iter().partition(|one| one.starts_with("PUBACK"));
    assert_eq!(acks, [1, 3, 5, 7, 9, 11].map(|id| format!("PUBACK #{id} 10")));
    assert_eq!(recs, [2, 4, 6, 8, 10, 12].map(|id| format!("PUBREC #{id} 00")));
}

#[test]
fn a_refusal_keeps_its_turn_among_acknowledgements() {
    let site = Site::new(2);
    let id = site.client_at(0, "s");
    let far = site.topic_at(1, "t");
    let mut client = site.v5(&id);
    let posts = [
        Post::new(&far, "x").q1(1),
        Post::new("$user/bob", "x").q1(2),
        Post::new(&far, "x").q2(3),
        Post::new("$user/bob", "x").q2(4),
    ];
    let all: Vec<u8> = posts.iter().flat_map(|post| post.bytes(Version::V5)).collect();
    client.send(&all);
    let (acks, recs): (Vec<_>, Vec<_>) = client.all().into_iter().partition(|one| one.starts_with("PUBACK"));
    assert_eq!(
        (acks, recs),
        (
            vec!["PUBACK #1 10".into(), "PUBACK #2 87".into()],
            vec!["PUBREC #3 00".into(), "PUBREC #4 87".to_string()],
        )
    );
    // The id of a refused one is free.
    client.publish(&Post::new(&far, "x").q2(4));
    client.expect(&["PUBREC #4 00"]);
}

#[test]
fn nobody_publishes_where_only_the_server_does() {
    let site = Site::new(1);
    let mut all = site.v5("all");
    all.subscribe(1, &[("#", 0), ("+/x", 0), ("$other/#", 0)]);
    let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
    for topic in ["$user/x", "$client/x", "$sys/x", "$SYS/x", "$share/x", "$share/g/x", "$user", "$SYS"] {
        v5.publish(&Post::new(topic, "x"));
        v5.publish(&Post::new(topic, "x").q1(1));
        v5.publish(&Post::new(topic, "x").q2(2));
        v5.expect(&["PUBACK #1 87", "PUBREC #2 87"]);
        v3.publish(&Post::new(topic, "x").q1(1));
        v3.publish(&Post::new(topic, "x").q2(2));
        v3.expect(&["PUBACK #1 00", "PUBREC #2 00"]);
        v3.pubrel(2);
        v3.expect(&["PUBCOMP #2 00"]);
    }
    for topic in ["$other/x", "$users/x", "$"] {
        v5.publish(&Post::new(topic, "seen").q1(1));
        assert!(v5.next().starts_with("PUBACK #1 "));
    }
    all.expect(&["PUBLISH $other/x \"seen\""]);
}

#[test]
fn a_publisher_learns_that_nobody_subscribed() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
        v5.publish(&Post::new("t", "x").q1(1));
        assert_eq!(v5.next_bytes().unwrap(), [0x40, 3, 0, 1, 0x10]);
        v3.publish(&Post::new("t", "x").q1(1));
        assert_eq!(v3.next_bytes().unwrap(), [0x40, 2, 0, 1]);
        v5.publish(&Post::new("t", "x").q2(2));
        assert_eq!(v5.next_bytes().unwrap(), [0x50, 2, 0, 2]);
        v3.subscribe(1, &[("+", 0)]);
        v5.publish(&Post::new("t", "x").q1(1));
        assert_eq!(v5.next_bytes().unwrap(), [0x40, 2, 0, 1]);
        v3.unsubscribe(1, &["+"]);
        v5.publish(&Post::new("t", "x").q1(1));
        assert_eq!(v5.all().last().unwrap(), "PUBACK #1 10");
    }
}

#[test]
fn an_alias_stands_for_the_last_topic_it_was_given() {
    let site = Site::new(2);
    let (mut new, mut old) = (site.v5("new"), site.v3("old"));
    new.subscribe(1, &[("#", 0)]);
    old.subscribe(1, &[("#", 0)]);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "1").alias(1));
    client.publish(&Post::new("", "2").alias(1));
    client.publish(&Post::new("b", "3").alias(10));
    client.publish(&Post::new("b", "4").alias(1));
    client.publish(&Post::new("", "5").alias(1));
    client.publish(&Post::new("a", "6"));
    let expected = ["a \"1\"", "a \"2\"", "b \"3\"", "b \"4\"", "b \"5\"", "a \"6\""];
    let expected: Vec<String> = expected.iter().map(|one| format!("PUBLISH {one}")).collect();
    assert_eq!((new.all(), old.all()), (expected.clone(), expected));
    client.publish(&Post::new("c", "7").alias(11));
    client.expect(&["DISCONNECT 94", "END"]);
    // It is gone with the connection, though the session stays.
    let mut client = site.lasting("t");
    client.publish(&Post::new("a", "1").alias(1));
    client.cut();
    let mut client = site.lasting("t");
    client.publish(&Post::new("", "2").alias(1));
    client.expect(&["DISCONNECT 82", "END"]);
    let site = Site::with(1, &["mqtt.topic_alias_maximum=0"]);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "1").alias(1));
    client.expect(&["DISCONNECT 94", "END"]);
}

#[test]
fn more_than_the_receive_maximum_is_cut_off_and_what_is_done_does_not_count() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    for id in 1..=100 {
        client.publish(&Post::new("a", "x").q1(id));
    }
    assert_eq!(client.all().len(), 100);
    for id in 1..=20 {
        client.publish(&Post::new("a", "x").q2(id));
        assert_eq!(client.next(), format!("PUBREC #{id} 00"));
        // The same once more counts once.
        if id < 20 {
            client.publish(&Post::new("a", "x").q2(id).dup());
            assert_eq!(client.next(), format!("PUBREC #{id} 00"));
        }
    }
    client.pubrel(3);
    client.publish(&Post::new("a", "x").q2(21));
    client.publish(&Post::new("$user/x", "x").q2(30));
    client.expect(&["PUBCOMP #3 00", "PUBREC #21 00", "DISCONNECT 93", "END"]);
}

#[test]
fn a_client_of_version_3_has_no_receive_maximum() {
    let site = Site::new(1);
    let mut client = site.v3("s");
    for id in 1..=300 {
        client.publish(&Post::new("a", "x").q2(id));
    }
    assert_eq!(client.all().len(), 300);
    assert!(client.is_alive());
}

#[test]
fn a_release_of_nothing_makes_no_room_in_the_window() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    for id in 1..=20 {
        client.publish(&Post::new("a", "x").q2(id));
        client.pubrel(1000 + id);
    }
    client.all();
    client.publish(&Post::new("a", "x").q2(21));
    client.expect(&["DISCONNECT 93", "END"]);
}

#[test]
fn what_a_publisher_says_besides_the_payload_reaches_every_subscriber_as_it_is() {
    let site = Site::new(2);
    let (mut new, mut old) = (site.v5("new"), site.v3("old"));
    new.subscribe(1, &[("#", 1)]);
    old.subscribe(1, &[("#", 1)]);
    let mut client = site.v5("s");
    let post = Post::new("a", "x")
        .q1(1)
        .alias(1)
        .expiry(60)
        .with(Property::UserProperty, Value::Pair("b", "1"))
        .with(Property::ContentType, Value::Text(""))
        .with(Property::UserProperty, Value::Pair("a", "2"))
        .with(Property::ResponseTopic, Value::Text("r/t"))
        .with(Property::UserProperty, Value::Pair("b", ""))
        .with(Property::CorrelationData, Value::Binary(&[0, 255]))
        .with(Property::PayloadFormatIndicator, Value::Byte(1));
    client.publish(&post);
    new.expect(&["PUBLISH a \"x\" q1 #1 expiry=60 text=true type= response=r/t correlation=\\x00\\xff \
                  user:b=1 user:a=2 user:b="]);
    old.expect(&["PUBLISH a \"x\" q1 #1"]);
}

#[test]
fn a_message_gets_older_while_it_waits_and_expires() {
    let site = Site::new(2);
    let mut reader = site.lasting("reader");
    reader.subscribe(1, &[("#", 1)]);
    reader.cut();
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "kept").q1(1).expiry(10).retain());
    client.publish(&Post::new("a", "short").q1(2).expiry(3));
    client.publish(&Post::new("a", "void").q1(3).expiry(0));
    client.publish(&Post::new("a", "ever").q1(4));
    site.pass(3_000);
    let mut reader = site.lasting("reader");
    reader.expect(&["PUBLISH a \"kept\" q1 #1 expiry=7", "PUBLISH a \"ever\" q1 #4"]);
    let mut late = site.v5("late");
    late.subscribe(1, &[("a", 0)]);
    late.expect(&["PUBLISH a \"kept\" retain expiry=7"]);
    // Begun exchanges go on although the message is too old by now.
    reader.cut();
    site.pass(7_000);
    let mut reader = site.lasting("reader");
    reader.expect(&["PUBLISH a \"kept\" q1 #1 dup expiry=0", "PUBLISH a \"ever\" q1 #4 dup"]);
    late.unsubscribe(2, &["a"]);
    late.subscribe(3, &[("a", 0)]);
    late.expect(&[]);
}

#[test]
fn expiry_zero_is_legal_and_delivered_at_once() {
    let site = Site::new(1);
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 2)]);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", "now").expiry(0));
    client.publish(&Post::new("a", "now").q1(1).expiry(0).retain());
    reader.expect(&["PUBLISH a \"now\" expiry=0", "PUBLISH a \"now\" q1 #1 expiry=0"]);
    let mut late = site.v5("late");
    late.subscribe(1, &[("#", 2)]);
    late.expect(&[]);
}

#[test]
fn names_are_taken_as_they_are() {
    let site = Site::with(3, &["limits.channel_name_bytes_max=65535"]);
    let longest = "l".repeat(65_535);
    let deep = "/".repeat(60_000);
    let names = [
        "a.b",
        "a*",
        ">",
        "50%",
        "a b",
        "a//b",
        "/a",
        "a/",
        "/",
        "//",
        "ä/\u{1f600}",
        "\u{feff}x",
        "$x/y",
        &longest,
        &deep,
    ];
    for name in names {
        let mut reader = site.v5("reader");
        reader.subscribe(1, &[(name, 1)]);
        let mut client = site.v5("s");
        client.publish(&Post::new(name, "x").q1(1));
        assert_eq!(client.next(), "PUBACK #1 00", "{}", &name[..name.len().min(50)]);
        let all = reader.all();
        assert_eq!(all, [format!("PUBLISH {name} \"x\" q1 #1")], "{} {}", name.len(), all.len());
    }
}

#[test]
fn a_topic_over_the_limit_is_refused_and_the_connection_stays() {
    let site = Site::new(1);
    let (mut v5, mut v3) = (site.v5("a"), site.v3("b"));
    let (longest, longer) = ("x".repeat(2048), "x".repeat(2049));
    for (topic, code) in [(&longest, "10"), (&longer, "90")] {
        v5.publish(&Post::new(topic, "x").q1(1));
        v5.publish(&Post::new(topic, "x"));
        v5.expect(&[&format!("PUBACK #1 {code}")]);
    }
    v5.publish(&Post::new(&longer, "x").q2(1));
    v5.expect(&["PUBREC #1 90"]);
    v3.publish(&Post::new(&longer, "x").q1(1));
    v3.expect(&["PUBACK #1 00"]);
    assert!(v5.is_alive() && v3.is_alive());
}

#[test]
fn a_packet_over_the_limit_is_cut_off_before_its_body_comes() {
    let site = Site::with(1, &["mqtt.packet_bytes_max=1024"]);
    let mut client = site.v5("s");
    let fits = "x".repeat(1024 - 3 - 3 - 1);
    client.publish(&Post::new("a", &fits));
    assert!(client.is_alive());
    // 1025 bytes with the header, of which only the header comes.
    client.send(&[0x30, 0xfe, 0x07]);
    client.expect(&["DISCONNECT 95", "END"]);
    let mut client = site.v3("t");
    client.send(&[0x30, 0xfe, 0x07]);
    client.expect(&["END"]);
}

#[test]
fn packets_as_large_as_configured_are_taken() {
    let site = Site::with(
        2,
        &[
            "mqtt.packet_bytes_max=5000000",
            "limits.outbox_bytes_max=8000000",
            "limits.write_buffer_bytes_max=8000000",
        ],
    );
    let large = "x".repeat(4_000_000);
    let mut reader = site.v5(&site.client_at(1, "r"));
    reader.subscribe(1, &[("a", 1)]);
    let mut client = site.v5("s");
    client.publish(&Post::new("a", &large).q1(1));
    assert_eq!(client.next(), "PUBACK #1 00");
    reader.expect(&["PUBLISH a 4000000 bytes q1 #1"]);
}

#[test]
fn what_cannot_be_retained_any_more_is_refused_and_its_id_free() {
    let site = Site::with(2, &["limits.retained_max=1"]);
    let id = site.client_at(0, "s");
    let topics: Vec<String> = (0..2).map(|home| site.topic_at(home, "t")).collect();
    let others: Vec<String> = (0..2).map(|home| site.topic_at(home, "other")).collect();
    let mut client = site.v5(&id);
    for home in 0..2 {
        client.publish(&Post::new(&topics[home], "x").q1(1).retain());
        client.publish(&Post::new(&others[home], "x").q1(2).retain());
        client.publish(&Post::new(&others[home], "x").q2(3).retain());
        client.publish(&Post::new(&others[home], "x").q2(3));
        client.publish(&Post::new(&topics[home], "y").q1(4).retain());
        let all = client.all();
        assert_eq!(all, ["PUBACK #1 10", "PUBACK #2 97", "PUBREC #3 97", "PUBREC #3 00", "PUBACK #4 10"]);
        client.pubrel(3);
        client.next();
    }
}

#[test]
fn twenty_refused_publishes_leave_the_window_open() {
    let site = Site::new(2);
    let mut client = site.v5("s");
    for id in 1..=50 {
        client.publish(&Post::new("$user/x", "x").q2(id));
        client.publish(&Post::new("$user/x", "x").q1(id + 100));
    }
    assert_eq!(client.all().len(), 100);
    assert!(client.is_alive());
    // The same after a take-over of the id by another connection.
    let mut again = site.open(0);
    again.connect(&Opening::v5("s"));
    assert!(again.is_alive());
}
