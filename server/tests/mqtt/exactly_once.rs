//! QoS 2 both ways with a new connection between any two steps, and the same for QoS 1.

use super::rig::{Client, Post, Site};

/// Where the connection is lost, or not.
const CUTS: [bool; 2] = [false, true];

fn again(client: &mut Client, id: &str, is_cut: bool) -> Client {
    let site = client.site.clone();
    if is_cut {
        client.cut();
    }
    // Without a cut the session is taken over.
    site.lasting(id)
}

#[test]
fn a_clients_message_is_published_once_whatever_is_lost_between_the_steps() {
    for shards in [1, 2, 3] {
        let site = Site::new(shards);
        for is_cut in CUTS {
            let mut reader = site.v5("reader");
            reader.subscribe(1, &[("#", 0)]);
            for home in 0..shards {
                let topic = site.topic_at(home, "t");
                let post = Post::new(&topic, "x").q2(7);
                let mut client = site.lasting("s");
                // PUBREC is lost, twice.
                client.publish(&post);
                let mut client = again(&mut client, "s", is_cut);
                client.publish(&post.clone().dup());
                let mut client = again(&mut client, "s", is_cut);
                client.publish(&post.clone().dup());
                client.expect(&["PUBREC #7 00"]);
                // PUBREL is lost before it is sent, then PUBCOMP, twice.
                let mut client = again(&mut client, "s", is_cut);
                client.pubrel(7);
                let mut client = again(&mut client, "s", is_cut);
                client.pubrel(7);
                client.expect(&["PUBCOMP #7 00"]);
                let mut client = again(&mut client, "s", is_cut);
                client.pubrel(7);
                client.expect(&["PUBCOMP #7 00"]);
                reader.expect(&[&format!("PUBLISH {topic} \"x\"")]);
                // The id is free at once.
                client.publish(&Post::new(&topic, "y").q2(7));
                client.expect(&["PUBREC #7 00"]);
                reader.expect(&[&format!("PUBLISH {topic} \"y\"")]);
                client.pubrel(7);
            }
        }
    }
}

#[test]
fn a_message_that_is_on_its_way_to_its_home_when_the_connection_goes_is_still_one() {
    let site = Site::new(2);
    let id = site.client_at(0, "s");
    let topic = site.topic_at(1, "t");
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 0)]);
    for turns in 0..8 {
        let mut client = site.lasting(&id);
        client.write(&Post::new(&topic, "x").q2(1).bytes(client.version));
        (0..turns).for_each(|_| site.turn());
        // The next connection is there before the answer of the home.
        let mut next = site.open(0);
        next.write(&super::rig::Opening::v5(&id).lasting(3600).bytes());
        next.write(&Post::new(&topic, "x").q2(1).dup().bytes(next.version));
        site.run();
        next.expect(&["CONNACK present 00", "PUBREC #1 00"]);
        reader.expect(&[&format!("PUBLISH {topic} \"x\"")]);
        next.pubrel(1);
        next.expect(&["PUBCOMP #1 00"]);
    }
}

#[test]
fn a_message_to_a_client_is_taken_once_whatever_is_lost_between_the_steps() {
    for shards in [1, 2, 3] {
        let site = Site::new(shards);
        for is_cut in CUTS {
            let mut client = site.lasting("s");
            client.send_subscribe(1, &[("#", 2)], None);
            client.all();
            let mut other = site.v3("other");
            other.publish(&Post::new("t", "x").q2(1));
            other.pubrel(1);
            let id = client.next().rsplit('#').next().unwrap().to_owned();
            let number: u16 = id.parse().unwrap();
            let resent = format!("PUBLISH t \"x\" q2 #{id} dup");
            let released = format!("PUBREL #{id} 00");
            // PUBLISH is lost, or PUBREC, twice.
            let mut client = again(&mut client, "s", is_cut);
            client.expect(&[&resent]);
            let mut client = again(&mut client, "s", is_cut);
            client.expect(&[&resent]);
            client.pubrec(number);
            client.expect(&[&released]);
            // PUBREL is lost, or PUBCOMP, twice; PUBREC may come again.
            let mut client = again(&mut client, "s", is_cut);
            client.expect(&[&released]);
            client.pubrec(number);
            client.expect(&[&released]);
            let mut client = again(&mut client, "s", is_cut);
            client.expect(&[&released]);
            client.pubcomp(number);
            client.pubcomp(number);
            client.expect(&[]);
            let mut client = again(&mut client, "s", is_cut);
            client.expect(&[]);
            // What is over is answered all the same.
            client.pubrec(number);
            client.expect(&[&released]);
            client.disconnect(0, Some(0));
        }
    }
}

#[test]
fn all_is_sent_again_in_its_first_order_with_its_numbers() {
    let site = Site::new(2);
    let mut client = site.lasting("s");
    client.subscribe(1, &[("#", 2)]);
    let mut other = site.v3("other");
    for n in 1..=6 {
        let text = n.to_string();
        let post = Post::new("a", &text);
        other.publish(&if n % 2 == 0 { post.q2(n) } else { post.q1(n) });
    }
    assert_eq!(client.all().len(), 6);
    client.pubrec(4);
    client.pubrec(2);
    client.puback(3);
    client.expect(&["PUBREL #4 00", "PUBREL #2 00"]);
    client.cut();
    other.publish(&Post::new("a", "7").q1(7));
    let mut client = site.lasting("s");
    let expected = [
        "PUBLISH a \"1\" q1 #1 dup",
        "PUBREL #2 00",
        "PUBREL #4 00",
        "PUBLISH a \"5\" q1 #5 dup",
        "PUBLISH a \"6\" q2 #6 dup",
        "PUBLISH a \"7\" q1 #7",
    ];
    client.expect(&expected);
    client.pubcomp(4);
    client.pubcomp(2);
    client.puback(1);
    client.puback(5);
    client.cut();
    let mut client = site.lasting("s");
    client.expect(&["PUBLISH a \"6\" q2 #6 dup", "PUBLISH a \"7\" q1 #7 dup"]);
    // No number that is in use is given to another message.
    for n in 1..=3 {
        other.publish(&Post::new("a", "new").q1(n));
    }
    client.expect(&["PUBLISH a \"new\" q1 #8", "PUBLISH a \"new\" q1 #9", "PUBLISH a \"new\" q1 #10"]);
}

#[test]
fn a_number_may_be_used_again_right_after_its_exchange() {
    let site = Site::new(1);
    let mut client = site.open(0);
    client.connect(&super::rig::Opening::v5("s").receive_maximum(65_535));
    client.subscribe(1, &[("#", 2)]);
    let mut other = site.v3("other");
    // All numbers but one are in use.
    let mut count = 0;
    while count < 65_534 {
        let some = usize::min(500, 65_534 - count);
        other.send(&Post::new("a", "x").q1(1).bytes(other.version).repeat(some));
        other.all();
        count += client.all().len();
    }
    for _ in 0..3 {
        other.publish(&Post::new("a", "last").q2(2));
        other.pubrel(2);
        other.all();
        let got = client.all();
        let number: u16 = got.last().unwrap().rsplit('#').next().unwrap().parse().unwrap();
        assert_eq!((got.len(), number), (1, 65_535));
        client.pubrec(number);
        client.pubcomp(number);
        client.expect(&["PUBREL #65535 00"]);
    }
    client.puback(77);
    other.publish(&Post::new("a", "one").q1(1));
    other.publish(&Post::new("a", "two").q1(1));
    assert_eq!(client.all().len(), 2, "65535 and 77");
    other.publish(&Post::new("a", "three").q1(1));
    client.expect(&[]);
}

#[test]
fn a_step_that_does_not_fit_is_a_protocol_error() {
    type Step = fn(&mut Client);
    let cases: [(u8, Step); 4] = [
        (1, |client| client.pubrec(1)),
        (1, |client| client.pubcomp(1)),
        (2, |client| client.puback(1)),
        (2, |client| client.pubcomp(1)),
    ];
    let site = Site::new(1);
    let mut other = site.v3("other");
    for (qos, step) in cases {
        let mut client = site.v5("s");
        client.subscribe(1, &[("#", 2)]);
        other.publish(&Post { qos, id: 1, ..Post::new("a", "x") });
        other.pubrel(1);
        client.next();
        step(&mut client);
        client.expect(&["DISCONNECT 82", "END"]);
    }
    let mut client = site.v5("s");
    client.puback(9);
    client.pubcomp(9);
    client.expect(&[]);
    client.pubrec(9);
    client.expect(&["PUBREL #9 00"]);
}
