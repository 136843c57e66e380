//! Wills: when a message is left behind, when it is not, and that it comes once.

use super::rig::{Client, Opening, Post, Site};

fn watcher(site: &Site) -> Client {
    let mut watcher = site.v5("watcher");
    watcher.subscribe(1, &[("will/#", 2)]);
    watcher
}

fn will<'a>() -> Post<'a> {
    Post::new("will/s", "w")
}

const SEEN: &str = "PUBLISH will/s \"w\"";

#[test]
fn it_is_published_at_every_end_but_a_goodbye() {
    type End = fn(&mut Client);
    let cases: [(&str, End, bool); 8] = [
        ("goodbye", |client| client.disconnect(0, None), false),
        ("goodbye with will", |client| client.disconnect(4, None), true),
        ("goodbye with another code", |client| client.disconnect(0x80, None), true),
        ("cut", Client::cut, true),
        ("malformed", |client| client.send(&[0x30, 0]), true),
        ("protocol error", |client| client.send(&Opening::v5("s").bytes()), true),
        ("too large", |client| client.send(&[0x30, 0xff, 0xff, 0xff, 0x7f]), true),
        ("take-over", |client| drop(client.site.v5("s")), true),
    ];
    for shards in [1, 3] {
        let site = Site::new(shards);
        let mut watcher = watcher(&site);
        for (name, end, is_seen) in cases {
            for delay in [0, 5] {
                let mut client = site.open(0);
                client.connect(&Opening::v5("s").will(will().delay(delay)));
                end(&mut client);
                watcher.expect(if is_seen { &[SEEN] } else { &[] });
                site.pass(10_000);
                watcher.expect(&[]);
                assert_eq!(site.sessions(), 1, "{name}");
            }
        }
    }
}

#[test]
fn a_session_that_stays_publishes_it_after_its_delay_or_at_its_end() {
    let site = Site::new(2);
    let mut watcher = watcher(&site);
    for (delay, expiry, due_ms) in
        [(0, 10, 0), (3, 10, 3_000), (10, 3, 3_000), (5, 5, 5_000), (0, u32::MAX, 0), (7, u32::MAX, 7_000)]
    {
        let mut client = site.open(0);
        client.connect(&Opening::v5("s").lasting(expiry).will(will().delay(delay)));
        client.cut();
        if due_ms > 0 {
            site.pass(due_ms - 1);
            watcher.expect(&[]);
            site.pass(1);
        }
        watcher.expect(&[SEEN]);
        site.pass(20_000);
        watcher.expect(&[]);
        site.v5("s").disconnect(0, None);
    }
    // For ever means: not before the session ends.
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(u32::MAX).will(will().delay(u32::MAX)));
    client.cut();
    site.pass(86_400_000);
    watcher.expect(&[]);
    site.v5("s");
    watcher.expect(&[SEEN]);
}

#[test]
fn a_client_that_comes_back_in_time_cancels_it() {
    let site = Site::new(2);
    let mut watcher = watcher(&site);
    let opening = || Opening::v5("s").lasting(100).will(will().delay(5));
    let mut client = site.open(0);
    client.connect(&opening());
    for _ in 0..3 {
        client.cut();
        site.pass(4_999);
        client = site.open(0);
        assert_eq!(client.connect(&opening()), "CONNACK present 00");
        site.pass(20_000);
        watcher.expect(&[]);
    }
    client.cut();
    site.pass(5_000);
    watcher.expect(&[SEEN]);
    // Without a will of its own the next connection leaves none.
    client = site.open(0);
    client.connect(&opening());
    client.cut();
    client = site.lasting("s");
    client.cut();
    site.pass(10_000);
    watcher.expect(&[]);
    // A clean start ends the old session, and with it the delay.
    client = site.open(0);
    client.connect(&opening());
    client.cut();
    let mut fresh = site.v5("s");
    watcher.expect(&[SEEN]);
    assert!(fresh.is_alive());
}

#[test]
fn a_take_over_publishes_it_unless_the_session_goes_on_and_it_may_wait() {
    let site = Site::new(3);
    let mut watcher = watcher(&site);
    for (delay, expiry, clean, is_seen) in [
        (0, 0, true, true),
        (0, 0, false, true),
        (5, 0, false, true),
        (0, 100, false, true),
        (5, 100, false, false),
        (5, 100, true, true),
        (0, 100, true, true),
    ] {
        let mut old = site.open(0);
        old.connect(&Opening { clean: true, ..Opening::v5("s").lasting(expiry).will(will().delay(delay)) });
        let mut new = site.open(0);
        new.connect(&Opening { clean, ..Opening::v5("s").lasting(100) });
        let why = format!("delay {delay}, expiry {expiry}, clean {clean}");
        assert_eq!(watcher.all(), if is_seen { vec![SEEN] } else { vec![] }, "{why}");
        site.pass(200_000);
        watcher.expect(&[]);
        new.disconnect(0, Some(0));
        watcher.expect(&[]);
    }
}

#[test]
fn a_changed_expiry_moves_the_end_and_the_will_with_it() {
    let site = Site::new(1);
    let mut watcher = watcher(&site);
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(100).will(will().delay(50)));
    client.disconnect(4, Some(2));
    site.pass(1_999);
    watcher.expect(&[]);
    site.pass(1);
    watcher.expect(&[SEEN]);
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(100).will(will().delay(50)));
    client.disconnect(4, Some(0));
    watcher.expect(&[SEEN]);
}

#[test]
fn it_travels_with_its_properties_and_ages_from_its_publication() {
    use wire::mqtt::{Property, Value};
    let site = Site::new(2);
    let mut watcher = watcher(&site);
    let will = Post { qos: 2, ..will() }
        .delay(10)
        .expiry(20)
        .retain()
        .with(Property::ContentType, Value::Text("t"))
        .with(Property::UserProperty, Value::Pair("k", "v"));
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(100).will(will));
    site.pass(50_000);
    client.cut();
    site.pass(10_000);
    watcher.expect(&["PUBLISH will/s \"w\" q2 #1 expiry=20 type=t user:k=v"]);
    site.pass(15_000);
    let mut late = site.v5("late");
    late.subscribe(1, &[("will/s", 1)]);
    late.expect(&["PUBLISH will/s \"w\" q1 #1 retain expiry=5 type=t user:k=v"]);
    site.pass(5_000);
    late.unsubscribe(2, &["will/s"]);
    late.subscribe(3, &[("will/s", 1)]);
    late.expect(&[]);
}

#[test]
fn a_client_does_not_get_its_own_unless_its_session_stays() {
    let site = Site::new(1);
    let mut watcher = watcher(&site);
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(100).will(Post { qos: 1, ..will() }));
    // No Local: its own will is its own message.
    client.subscribe(1, &[("will/s", 1), ("other", 1)]);
    client.cut();
    let mut client = site.lasting("s");
    client.expect(&["PUBLISH will/s \"w\" q1 #1"]);
    client.subscribe(2, &[("will/s", 4 | 1)]);
    client.cut();
    let mut client = site.open(0);
    client.connect(&Opening::v5("s").lasting(100).will(Post { qos: 1, ..will() }));
    client.puback(1);
    client.all();
    client.cut();
    let mut client = site.lasting("s");
    client.expect(&[]);
    assert_eq!(watcher.all().len(), 2);
}

#[test]
fn keep_alive_and_drain_leave_it_too() {
    let site = Site::new(3);
    let mut watcher = site.open(0);
    watcher.connect(&Opening::v5("watcher").lasting(1000));
    watcher.subscribe(1, &[("will/#", 1)]);
    let mut clients: Vec<_> = (0..12)
        .map(|n| {
            let mut client = site.open(n % 3);
            let (id, topic) = (format!("c{n}"), format!("will/{n}"));
            let will = Post { qos: 1, ..Post::new(&topic, "w") };
            client.connect(&Opening::v5(&id).keep_alive(u16::from(n < 6) * 2).will(will));
            client
        })
        .collect();
    site.pass(3_010);
    assert_eq!(watcher.all().len(), 6);
    site.drain(1_000);
    site.pass(1_010);
    for client in &mut clients[6..] {
        client.expect(&["DISCONNECT 8B", "END"]);
    }
    // The watcher went among them, at some time; its session has the rest, which the test of restarts looks at.
    let seen = watcher.all();
    assert_eq!(seen.last().unwrap(), "END");
}

#[test]
fn it_needs_the_right_to_publish_there() {
    let site = Site::new(1);
    for topic in ["$user/x", "$SYS/x", "$share/g/x"] {
        let mut client = site.open(0);
        client.send(&Opening::v5("s").will(Post::new(topic, "w")).bytes());
        client.expect(&["CONNACK new 87", "END"]);
        let mut client = site.open(0);
        client.version = wire::mqtt::Version::V3;
        client.send(&Opening::v3("s").will(Post::new(topic, "w")).bytes());
        client.expect(&["CONNACK new 87", "END"]);
    }
    let longer = "x".repeat(2049);
    let mut client = site.open(0);
    client.send(&Opening::v5("s").will(Post::new(&longer, "w")).bytes());
    client.expect(&["CONNACK new 90", "END"]);
    assert_eq!(site.sessions(), 0);
}

#[test]
fn of_a_client_of_version_3_it_is_left_as_well() {
    let site = Site::new(2);
    let mut watcher = watcher(&site);
    for clean in [true, false] {
        let mut client = site.open(0);
        client.connect(&Opening { clean, ..Opening::v3("s").will(Post { qos: 1, ..will() }.retain()) });
        client.cut();
        watcher.expect(&[if clean { "PUBLISH will/s \"w\" q1 #1" } else { "PUBLISH will/s \"w\" q1 #2" }]);
        let mut client = site.open(0);
        client.connect(&Opening { clean, ..Opening::v3("s").will(will()) });
        client.send(&[0xe0, 0]);
        client.expect(&["END"]);
        watcher.expect(&[]);
    }
}
