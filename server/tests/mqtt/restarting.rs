//! An orderly restart between any two steps: what was acknowledged is there, nothing comes twice, time goes on.

use super::rig::{Client, Opening, Post, Site, config, config_of};
use hub::Millis;
use trunkline::front::{Ban, Banned};
use trunkline::mail::Mail;

/// A site of so many shards, which can be started again.
struct Life {
    shards: u8,
    site: Site,
}

impl Life {
    fn new(shards: u8) -> Self {
        Self { shards, site: Site::new(shards) }
    }

    fn restart(self) -> Self {
        self.restart_after(0)
    }

    fn restart_after(self, away_ms: u64) -> Self {
        let site = self.site.restart(config(self.shards, &[]), away_ms);
        Self { site, ..self }
    }

    /// The session of before, on a new connection.
    fn back(&self, id: &str) -> Client {
        let mut client = self.site.open(0);
        assert_eq!(client.connect(&Opening::v5(id).lasting(3600)), "CONNACK present 00");
        client
    }
}

#[test]
fn what_a_client_publishes_in_two_steps_is_published_once() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        let topics: Vec<String> = (0..shards).map(|home| life.site.topic_at(home, "t")).collect();
        life.site.lasting("reader").subscribe(1, &[("#", 1)]);
        let mut client = life.site.lasting("s");
        let posts = || topics.iter().zip(1..).map(|(topic, id)| Post::new(topic, "x").q2(id));
        posts().for_each(|post| client.publish(&post));
        assert_eq!(client.all().len(), usize::from(shards));
        // Between PUBREC and PUBREL: PUBREC may have been lost.
        let life = life.restart();
        let mut client = life.back("s");
        posts().for_each(|post| client.publish(&post.dup()));
        let expected: Vec<String> = (1..=shards).map(|id| format!("PUBREC #{id} 00")).collect();
        assert_eq!(client.all(), expected);
        (1..=u16::from(shards)).for_each(|id| client.pubrel(id));
        // Between PUBREL and PUBCOMP.
        let life = life.restart();
        let mut client = life.back("s");
        (1..=u16::from(shards)).for_each(|id| client.pubrel(id));
        let expected: Vec<String> = (1..=shards).map(|id| format!("PUBCOMP #{id} 00")).collect();
        assert_eq!(client.all(), expected);
        // The ids are free.
        posts().for_each(|post| client.publish(&Post { payload: b"y", ..post }));
        let mut reader = life.back("reader");
        let mut seen = reader.all();
        seen.sort_by_key(|one| one.contains("\"y\""));
        let payloads: Vec<_> = seen.iter().map(|one| one.split('"').nth(1).unwrap()).collect();
        let count = usize::from(shards);
        assert_eq!(payloads, [vec!["x"; count], vec!["y"; count]].concat(), "{seen:?}");
    }
}

#[test]
fn what_a_client_gets_in_two_steps_it_gets_once() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        life.site.lasting("s").subscribe(1, &[("#", 2)]);
        let mut client = life.back("s");
        let mut other = life.site.v3("other");
        other.publish(&Post::new("a", "1").q2(1));
        other.publish(&Post::new("a", "2").q2(2));
        client.expect(&["PUBLISH a \"1\" q2 #1", "PUBLISH a \"2\" q2 #2"]);
        // Before PUBREC.
        let life = life.restart();
        let mut client = life.back("s");
        client.expect(&["PUBLISH a \"1\" q2 #1 dup", "PUBLISH a \"2\" q2 #2 dup"]);
        client.pubrec(2);
        client.expect(&["PUBREL #2 00"]);
        // Between PUBREC and PUBREL, or PUBREL and PUBCOMP.
        let life = life.restart();
        let mut client = life.back("s");
        client.expect(&["PUBLISH a \"1\" q2 #1 dup", "PUBREL #2 00"]);
        client.pubcomp(2);
        // No number in use is given to another message.
        let life = life.restart();
        let mut other = life.site.v3("other");
        other.publish(&Post::new("a", "3").q1(1));
        let mut client = life.back("s");
        client.expect(&["PUBLISH a \"1\" q2 #1 dup", "PUBLISH a \"3\" q1 #3"]);
        client.pubrec(1);
        client.pubcomp(1);
        client.puback(3);
        let life = life.restart();
        life.back("s").expect(&[]);
    }
}

#[test]
fn restored_sessions_get_what_is_published_before_they_are_back() {
    for shards in [1, 2, 4] {
        let life = Life::new(shards);
        let mut client = life.site.lasting("s");
        client.send_subscribe(1, &[("a/+", 1), ("b", 2)], Some(9));
        client.all();
        client.cut();
        let mut other = life.site.v5("other");
        other.publish(&Post::new("a/x", "before").q1(1));
        let life = life.restart();
        for home in 0..shards {
            let topic = life.site.topic_at(home, "a/");
            let mut other = life.site.v5("other");
            other.publish(&Post::new(&topic, &home.to_string()).q1(1));
            assert_eq!(other.next(), "PUBACK #1 00");
        }
        let mut client = life.back("s");
        let mut all = client.all();
        assert_eq!(all.remove(0), "PUBLISH a/x \"before\" q1 #2 ids=[9]");
        all.sort_by_key(|one| one.split('"').nth(1).unwrap().to_owned());
        for (home, got) in (0..shards).zip(&all) {
            assert!(got.contains(&format!("\"{home}\" q1 #")) && got.ends_with(" ids=[9]"), "{all:?}");
        }
        assert_eq!(all.len(), usize::from(shards));
    }
}

#[test]
fn retained_values_stay_and_go_on_ageing() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        let mut client = life.site.v5("s");
        client.publish(&Post::new("a", "for ever").q1(1).retain());
        client.publish(&Post::new("b", "for a while").retain().expiry(100));
        client.publish(&Post::new("c", "not so long").retain().expiry(40));
        client.publish(&Post::new("d", "gone").retain());
        client.publish(&Post::new("d", "").retain());
        client.cut();
        life.site.pass(10_000);
        let life = life.restart_after(30_000);
        let mut reader = life.site.v5("reader");
        reader.send_subscribe(1, &[("#", 1)], None);
        let mut all = reader.all();
        all.sort();
        let expected = [
            "PUBLISH a \"for ever\" q1 #1 retain",
            "PUBLISH b \"for a while\" retain expiry=60",
            "SUBACK #1 [01]",
        ];
        assert_eq!(all, expected);
        life.site.pass(60_000);
        let mut late = life.site.v5("late");
        late.send_subscribe(1, &[("#", 0)], None);
        assert_eq!(late.all().len(), 2);
    }
}

#[test]
fn deadlines_pass_while_the_server_is_down() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        life.site.lasting("watcher").subscribe(1, &[("will/#", 1)]);
        let leave = |id: &str, expiry: u32, delay: u32| {
            let topic = format!("will/{id}");
            let mut client = life.site.open(0);
            let will = Post { qos: 1, ..Post::new(&topic, "w") }.delay(delay);
            client.connect(&Opening::v5(id).lasting(expiry).will(will));
            client.send_subscribe(1, &[("m", 1)], None);
            client.cut();
        };
        leave("ends", 50, 500);
        leave("due", 500, 50);
        leave("later", 500, 300);
        let mut other = life.site.v5("other");
        other.publish(&Post::new("m", "short").q1(1).expiry(60));
        other.publish(&Post::new("m", "long").q1(1).expiry(200));
        other.cut();
        life.site.pass(20_000);
        let life = life.restart_after(100_000);
        life.site.pass(1);
        let mut watcher = life.back("watcher");
        let mut all = watcher.all();
        all.sort();
        let topics: Vec<_> = all.iter().map(|one| one.split(' ').nth(1).unwrap()).collect();
        assert_eq!(topics, ["will/due", "will/ends"]);
        assert_eq!(life.site.open(0).connect(&Opening::v5("ends").lasting(5)), "CONNACK new 00");
        let mut due = life.back("due");
        due.expect(&["PUBLISH m \"long\" q1 #4 expiry=80"]);
        life.site.pass(179_000);
        watcher.expect(&[]);
        life.site.pass(1_000);
        let got = watcher.all();
        assert!(got.len() == 1 && got[0].starts_with("PUBLISH will/later"), "{got:?}");
    }
}

#[test]
fn options_and_groups_are_what_they_were() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        let mut client = life.site.lasting("s");
        client.send_subscribe(1, &[("a", 4 | 1), ("b", 8 | 2), ("$share/g/c", 1)], Some(3));
        client.all();
        let mut member = life.site.lasting("member");
        member.subscribe(1, &[("$share/g/c", 1)]);
        client.cut();
        member.cut();
        let life = life.restart();
        let mut client = life.back("s");
        client.publish(&Post::new("a", "own").q1(1));
        client.expect(&["PUBACK #1 00"]);
        let mut other = life.site.v5("other");
        other.publish(&Post::new("a", "x").q1(1));
        client.expect(&["PUBLISH a \"x\" q1 #1 ids=[3]"]);
        other.publish(&Post::new("b", "x").q2(2).retain());
        client.expect(&["PUBLISH b \"x\" q2 #2 retain ids=[3]"]);
        let mut member = life.back("member");
        let mut others: Vec<_> = (0..6).map(|n| life.site.v5(&format!("p{n}"))).collect();
        others.iter_mut().for_each(|other| other.publish(&Post::new("c", "x").q1(1)));
        let (ours, theirs) = (client.all().len(), member.all().len());
        assert_eq!((ours + theirs, ours > 0, theirs > 0), (6, true, true), "{ours} {theirs}");
        assert_eq!(client.unsubscribe(2, &["a", "$share/g/c", "x"]), "UNSUBACK #2 [00 00 11]");
    }
}

#[test]
fn wills_of_a_drain_are_there_for_those_that_come_back() {
    for shards in [1, 3] {
        let life = Life::new(shards);
        life.site.lasting("watcher").subscribe(1, &[("will/#", 1)]);
        let watcher = life.back("watcher");
        let clients: Vec<Client> = (0..8)
            .map(|n| {
                let mut client = life.site.open(n % shards);
                let (id, topic) = (format!("c{n}"), format!("will/{n}"));
                client.connect(&Opening::v5(&id).will(Post { qos: 1, ..Post::new(&topic, "w") }.retain()));
                client
            })
            .collect();
        // All at once, the watcher among them.
        let life = life.restart();
        for mut client in clients {
            client.expect(&["DISCONNECT 8B", "END"]);
        }
        drop(watcher);
        let mut watcher = life.back("watcher");
        let mut topics: Vec<_> =
            watcher.all().iter().map(|one| one.split(' ').nth(1).unwrap().to_owned()).collect();
        topics.sort_unstable();
        topics.dedup();
        assert_eq!(topics.len(), 8, "{topics:?}");
    }
}

#[test]
fn a_restart_of_nothing_leaves_nothing() {
    let life = Life::new(2);
    life.site.v5("s").subscribe(1, &[("#", 1)]);
    let life = life.restart();
    assert!(life.site.is_idle());
    assert_eq!(life.site.open(0).connect(&Opening::v5("s").lasting(5)), "CONNACK new 00");
}

#[test]
fn what_goes_first_at_a_full_outbox_is_as_the_rules_are_now() {
    let rules = |first: &str| {
        config_of(
            2,
            &format!(
                "[limits]\noutbox_messages_max = 3\n[[channel]]\nfilter = \"{first}/#\"\nwhen_full = \"oldest\"\n"
            ),
        )
    };
    let site = Site::start(rules("last"));
    site.lasting("s").subscribe(1, &[("#", 1)]);
    let mut other = site.v3("other");
    let say = |other: &mut Client, topic: &str, text: &str| other.publish(&Post::new(topic, text).q1(1));
    for (topic, text) in [("last/a", "1"), ("next/a", "2"), ("last/b", "3"), ("last/b", "4"), ("next/a", "5")]
    {
        say(&mut other, topic, text);
    }
    // 1 went for 4, and 5 had no place.
    let site = site.restart(rules("next"), 0);
    let mut other = site.v3("other");
    for (topic, text) in [("next/b", "6"), ("last/b", "7")] {
        say(&mut other, topic, text);
    }
    // 2 went for 6, and 7 had no place.
    let mut client = site.open(0);
    assert_eq!(client.connect(&Opening::v5("s").lasting(3600)), "CONNACK present 00");
    let expected = ["PUBLISH last/b \"3\" q1 #6", "PUBLISH last/b \"4\" q1 #7", "PUBLISH next/b \"6\" q1 #8"];
    client.expect(&expected);
}

#[test]
fn who_was_banned_stays_banned_for_what_is_left_of_it() {
    let ban = |site: &Site, shard, of: Banned, until: Option<u64>| {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let until = until.map(|until| Millis(site.now() + until));
        site.mail(shard, Mail::Ban { ban: Ban { of, until, reason: None }, reply });
        assert_eq!(answer.try_recv(), Ok(true));
    };
    let connects = |site: &Site, id: &str| site.open(0).connect(&Opening::v5(id));
    let site = Site::new(2);
    let [short, long, ever] = ["short", "long", "ever"].map(|begin| site.client_at(1, begin));
    ban(&site, 1, Banned::Client(short.as_str().into()), Some(2_000));
    ban(&site, 1, Banned::Client(long.as_str().into()), Some(600_000));
    ban(&site, 1, Banned::Client(ever.as_str().into()), None);
    for id in [&short, &long, &ever] {
        assert_eq!(connects(&site, id), "CONNACK new 8A");
    }
    let site = site.restart(config(2, &["limits.bans_max=0"]), 60_000);
    assert_eq!(connects(&site, &short), "CONNACK new 00");
    for id in [&long, &ever] {
        assert_eq!(connects(&site, id), "CONNACK new 8A");
    }
    site.pass(600_000);
    assert_eq!(connects(&site, &long), "CONNACK new 00");
    assert_eq!(connects(&site, &ever), "CONNACK new 8A");
}
