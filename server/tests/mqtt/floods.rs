//! Clients that send too much or read too little: what is kept for them is bounded, and what they are told arrives.

use super::rig::{Client, Opening, Post, Site, subscribe};
use wire::mqtt::Version;

const WRITE_BUFFER: u64 = 4_000_000;

fn site() -> Site {
    Site::with(2, &["limits.write_buffer_bytes_max=4000000", "limits.outbox_messages_max=100"])
}

/// Subscribed to everything, and never looked at by the caller.
fn subscribed(site: &Site, opening: &Opening<'_>, qos: u8) -> Client {
    let mut client = site.open(0);
    client.write(&opening.bytes());
    client.write(&subscribe(Version::V5, 1, &[("#", qos)], None));
    site.run();
    client
}

/// The numbers in the payloads of what has come.
fn numbers(client: &mut Client) -> Vec<u32> {
    let mut all = Vec::new();
    loop {
        let got = client.all();
        if got.is_empty() {
            return all;
        }
        all.extend(
            got.iter().filter_map(|one| one.split('"').nth(1)).map(|text| text[..6].parse::<u32>().unwrap()),
        );
    }
}

/// A payload of 90 bytes that begins with a number.
fn payload(n: u32) -> String {
    format!("{n:06}{}", "x".repeat(84))
}

#[test]
fn who_never_reads_costs_no_more_than_its_bounds_and_goes_on_when_it_reads() {
    let site = site();
    let mut slow = subscribed(&site, &Opening::v5("slow"), 0);
    let mut other = site.v5("other");
    for n in 0..40_000 {
        other.write(&Post::new("a", &payload(n)).bytes(Version::V5));
        if n % 100 == 0 {
            site.run();
            assert!(site.stats().write_buffer_bytes <= WRITE_BUFFER);
        }
    }
    site.run();
    assert_eq!(site.stats().blocked, 1);
    assert!(other.is_alive());
    let seen = numbers(&mut slow);
    assert!(seen.is_sorted() && seen.len() < 30_000, "{}", seen.len());
    // What waited last is what was first, then nothing is missing again.
    other.publish(&Post::new("a", &payload(50_000)));
    assert_eq!(numbers(&mut slow), [50_000]);
    assert_eq!((site.stats().blocked, site.stats().write_buffer_bytes), (0, 0));
}

#[test]
fn who_acknowledges_nothing_gets_its_window_and_no_more() {
    let site = site();
    let mut slow = subscribed(&site, &Opening::v5("slow").receive_maximum(7), 1);
    let mut other = site.v5("other");
    for n in 0..1_000 {
        other.publish(&Post::new("a", &payload(n)).q1(1));
    }
    assert_eq!(other.all().len(), 1_000);
    assert_eq!(numbers(&mut slow), (0..7).collect::<Vec<_>>());
    // Behind them wait as many as may; the others were dropped.
    let mut seen = Vec::new();
    for id in 1..=200 {
        slow.puback(id);
        seen.extend(numbers(&mut slow));
    }
    assert_eq!(seen, (7..107).collect::<Vec<_>>());
    assert!(slow.is_alive());
}

#[test]
fn who_asks_and_never_reads_the_answers_is_given_up() {
    for question in [
        vec![0xc0, 0],
        Post::new("a", "x").q1(1).bytes(Version::V5),
        subscribe(Version::V5, 1, &[("a", 0)], None),
    ] {
        let site = Site::with(1, &["limits.write_buffer_bytes_max=1600000"]);
        let mut client = site.v5("s");
        let many = question.repeat(1_000);
        for _ in 0..3_000 {
            client.write(&many);
            site.run();
            assert!(site.stats().write_buffer_bytes <= 2_100_000);
            if site.stats().connections == 0 {
                break;
            }
        }
        assert_eq!((site.stats().closed_too_long, site.sessions()), (1, 0));
    }
}

#[test]
fn a_flood_over_the_receive_maximum_leaves_the_reason_readable() {
    let site = Site::new(2);
    let id = site.client_at(0, "s");
    let topic = site.topic_at(1, "t");
    let mut client = site.v5(&id);
    // The home is another shard, so that none is acknowledged in time.
    let flood: Vec<u8> =
        (1..=5_000).flat_map(|id| Post::new(&topic, "x").q1(id).bytes(Version::V5)).collect();
    client.send(&flood);
    let all = client.all();
    assert_eq!(all[all.len() - 2..], ["DISCONNECT 93", "END"]);
    assert!(all.len() <= 22);
    let mut client = site.v5(&id);
    let near = site.topic_at(0, "t");
    let flood: Vec<u8> = (1..=5_000).flat_map(|id| Post::new(&near, "x").q2(id).bytes(Version::V5)).collect();
    client.send(&flood);
    let all = client.all();
    assert_eq!(all[all.len() - 2..], ["DISCONNECT 93", "END"]);
    assert_eq!(all.len(), 22);
}

#[test]
fn a_message_as_large_as_may_be_reaches_a_reader() {
    for shards in [1, 2] {
        let site = Site::new(shards);
        let mut reader = site.v5("reader");
        reader.subscribe(1, &[("a", 1)]);
        let mut other = site.v5("other");
        let large = "x".repeat(1_990_000);
        for id in 1..=3 {
            other.publish(&Post::new("a", &large).q1(id));
            assert_eq!(other.next(), format!("PUBACK #{id} 00"));
            assert_eq!(reader.next(), format!("PUBLISH a 1990000 bytes q1 #{id}"));
            reader.puback(id);
        }
    }
}

#[test]
fn filters_and_topics_of_very_many_levels_do_no_harm() {
    let site = Site::with(2, &["limits.channel_name_bytes_max=65535"]);
    let mut client = site.v5("s");
    let filters =
        ["+/".repeat(32_000) + "#", "a/".repeat(32_000) + "#", "+/".repeat(32_000) + "b", "/".repeat(65_000)];
    for (id, filter) in (1..).zip(&filters) {
        assert_eq!(client.subscribe(id, &[(filter, 1)]), format!("SUBACK #{id} [01]"));
    }
    let mut other = site.v5("other");
    let deep = "a/".repeat(32_000) + "b";
    other.publish(&Post::new(&deep, "x").q1(1).retain());
    assert_eq!(other.next(), "PUBACK #1 00");
    assert_eq!(client.all().len(), 1);
    let mut late = site.v5("late");
    late.send_subscribe(1, &[(&filters[0], 1), (&filters[2], 1)], None);
    assert_eq!(late.all().len(), 3);
    client.disconnect(0, None);
    late.disconnect(0, None);
    other.publish(&Post::new(&deep, "").retain());
    other.cut();
    assert!(site.is_idle());
}

#[test]
fn a_read_full_of_aliases_closes_no_reader() {
    for qos in 0..2 {
        let site = Site::new(1);
        let mut client = site.v5("s");
        let topic = "t".repeat(2_000);
        client.publish(&Post::new(&topic, "000000").alias(1));
        let mut readers: Vec<_> = (0..3)
            .map(|n| {
                let mut reader = site.v5(&format!("r{n}"));
                reader.subscribe(1, &[("#", qos)]);
                reader
            })
            .collect();
        // Each of these few bytes makes two thousand for every reader.
        let flood: Vec<u8> =
            (1..=3_000).flat_map(|n| Post::new("", &payload(n)[..6]).alias(1).bytes(Version::V5)).collect();
        client.send(&flood);
        for reader in &mut readers {
            let seen = numbers(reader);
            assert!(seen.len() > 100 && seen.is_sorted(), "{}", seen.len());
            assert!(reader.is_alive());
        }
        assert_eq!(site.stats().closed_too_long, 0);
    }
}

#[test]
fn many_large_messages_that_waited_come_bit_by_bit() {
    let site = Site::with(1, &["limits.outbox_bytes_max=16000000"]);
    let mut reader = site.lasting("reader");
    reader.subscribe(1, &[("#", 1)]);
    reader.cut();
    let mut other = site.v5("other");
    let large = "x".repeat(900_000);
    for id in 1..=15 {
        other.publish(&Post::new("a", &large).q1(id));
        other.next();
    }
    for _ in 0..2 {
        let mut reader = site.lasting("reader");
        site.run();
        assert!(site.stats().write_buffer_bytes <= 2_100_000, "{}", site.stats().write_buffer_bytes);
        for id in 1..=15 {
            let got = reader.next();
            assert!(got.starts_with(&format!("PUBLISH a 900000 bytes q1 #{id}")), "{got}");
        }
        assert!(reader.is_alive());
        reader.cut();
    }
    assert_eq!(site.stats().closed_too_long, 0);
}

#[test]
fn who_reads_and_never_acknowledges_holds_a_bounded_number_of_bytes() {
    let site = Site::new(1);
    let mut reader = site.v5("reader");
    reader.subscribe(1, &[("#", 1)]);
    let mut other = site.v5("other");
    let large = "x".repeat(500_000);
    let mut count = 0;
    for n in 1..=40_u16 {
        other.publish(&Post::new("a", &large).q1(n));
        other.next();
        count += reader.all().len();
    }
    // 2 MiB with the client and 2 MiB behind them, each with one that goes beyond it.
    assert_eq!(count, 5);
    let mut acknowledged = 0;
    while acknowledged < count {
        acknowledged += 1;
        reader.puback(acknowledged as u16);
        count += reader.all().len();
    }
    assert_eq!(count, 9);
    assert!(reader.is_alive());
    other.publish(&Post::new("a", "small").q1(1));
    assert_eq!(reader.next(), "PUBLISH a \"small\" q1 #10");
}
