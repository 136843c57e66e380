//! Shared subscriptions: one member gets each message, and what becomes of it when that one goes.

use super::rig::{Client, Opening, Post, Site, ack_with};

fn member(site: &Site, id: &str, qos: u8) -> Client {
    let mut client = site.lasting(id);
    client.send_subscribe(1, &[("$share/g/t/+", qos)], None);
    assert!(client.all().iter().any(|one| one.starts_with("SUBACK")));
    client
}

fn payloads(client: &mut Client) -> Vec<String> {
    let all = client.all();
    all.iter().filter_map(|one| one.split('"').nth(1)).map(str::to_owned).collect()
}

#[test]
fn each_message_goes_to_one_member_and_all_get_their_share() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut members: Vec<_> = (0..3).map(|n| member(&site, &format!("m{n}"), 1)).collect();
        let mut plain = site.v5("plain");
        plain.subscribe(1, &[("t/#", 0)]);
        let mut others: Vec<_> = (0..10).map(|n| site.v5(&format!("p{n}"))).collect();
        for n in 0..60 {
            let client = &mut others[n % 10];
            client.publish(&Post::new(&format!("t/{n}"), &n.to_string()).q1(1));
            client.all();
            for member in &mut members {
                for got in member.all() {
                    member.puback(got.split('#').nth(1).unwrap().parse().unwrap());
                    member.noted.push(got);
                }
            }
        }
        assert_eq!(plain.all().len(), 60);
        let got: Vec<usize> = members.iter().map(|member| member.noted.len()).collect();
        assert_eq!(got.iter().sum::<usize>(), 60, "{shards}: {got:?}");
        assert!(got.iter().all(|count| *count >= 10), "{shards}: {got:?}");
    }
}

#[test]
fn groups_and_filters_are_told_apart() {
    let site = Site::new(3);
    let mut clients: Vec<_> = ["$share/g/t", "$share/h/t", "$share/g/+", "$share/g/#"]
        .iter()
        .enumerate()
        .map(|(n, filter)| {
            let mut client = site.v5(&format!("c{n}"));
            client.subscribe(1, &[(filter, 0)]);
            client
        })
        .collect();
    site.v5("other").publish(&Post::new("t", "x"));
    for client in &mut clients {
        client.expect(&["PUBLISH t \"x\""]);
    }
}

#[test]
fn a_member_gets_at_its_own_quality_and_no_retained_ones() {
    let site = Site::new(2);
    let mut other = site.v5("other");
    other.publish(&Post::new("t/a", "kept").q2(1).retain());
    let mut member = member(&site, "m", 1);
    member.expect(&[]);
    other.publish(&Post::new("t/a", "x").q2(2));
    other.publish(&Post::new("t/a", "y"));
    let mut all = member.all();
    all.sort();
    assert_eq!(all, ["PUBLISH t/a \"x\" q1 #1", "PUBLISH t/a \"y\""]);
}

#[test]
fn what_a_member_had_not_acknowledged_goes_to_another_when_its_session_ends() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let (mut one, mut two) = (member(&site, "m1", 2), member(&site, "m2", 2));
        // One publisher sticks to one member while it has messages there.
        let mut other = site.v3("other");
        for n in 1..=4 {
            other.publish(&Post::new("t/a", &format!("q1-{n}")).q1(n));
            other.publish(&Post::new("t/a", &format!("q2-{n}")).q2(100 + n));
        }
        other.all();
        let (first, second) = (payloads(&mut one), payloads(&mut two));
        assert!(first.is_empty() || second.is_empty(), "{first:?} {second:?}");
        let (busy, idle) = if first.is_empty() { (&mut two, &mut one) } else { (&mut one, &mut two) };
        // The connection alone does not end it.
        busy.cut();
        idle.expect(&[]);
        site.pass(3_600_010);
        let mut got = payloads(idle);
        got.sort_unstable();
        // QoS 2 that was begun is finished with that member or nobody.
        assert_eq!(got, ["q1-1", "q1-2", "q1-3", "q1-4"], "{shards}");
    }
}

#[test]
fn a_member_that_comes_back_finishes_what_it_began() {
    let site = Site::new(2);
    let mut one = member(&site, "m1", 2);
    let mut other = site.v3("other");
    other.publish(&Post::new("t/a", "1").q1(1));
    other.publish(&Post::new("t/a", "2").q2(2));
    one.expect(&["PUBLISH t/a \"1\" q1 #1", "PUBLISH t/a \"2\" q2 #2"]);
    one.cut();
    let mut two = member(&site, "m2", 2);
    two.expect(&[]);
    let mut one = site.lasting("m1");
    one.expect(&["PUBLISH t/a \"1\" q1 #1 dup", "PUBLISH t/a \"2\" q2 #2 dup"]);
    one.puback(1);
    one.pubrec(2);
    one.expect(&["PUBREL #2 00"]);
    one.pubcomp(2);
    // Now the publisher is free to go to either.
    for n in 1..=6 {
        other.publish(&Post::new("t/a", "x").q1(n));
        for client in [&mut one, &mut two] {
            for got in client.all() {
                client.puback(got.split('#').nth(1).unwrap().parse().unwrap());
                client.noted.push(got);
            }
        }
    }
    assert_eq!((one.noted.len(), two.noted.len()), (3, 3));
}

#[test]
fn a_negative_acknowledgement_is_the_end_of_a_message() {
    let site = Site::new(2);
    let (mut one, mut two) = (member(&site, "m1", 2), member(&site, "m2", 2));
    let mut other = site.v5("other");
    other.publish(&Post::new("t/a", "1").q1(1));
    other.publish(&Post::new("t/a", "2").q2(2));
    let (first, second) = (one.all().len(), two.all().len());
    assert!((first, second) == (2, 0) || (first, second) == (0, 2));
    let (busy, idle) = if first == 2 { (&mut one, &mut two) } else { (&mut two, &mut one) };
    busy.send(&ack_with(0x40, 1, 0x83));
    busy.send(&ack_with(0x50, 2, 0x83));
    busy.expect(&[]);
    busy.disconnect(0, Some(0));
    idle.expect(&[]);
}

#[test]
fn members_that_are_away_get_nothing_while_one_is_there() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let (mut one, mut two) = (member(&site, "m1", 1), member(&site, "m2", 1));
        one.cut();
        let mut others: Vec<_> = (0..6).map(|n| site.v5(&format!("p{n}"))).collect();
        for other in &mut others {
            other.publish(&Post::new("t/a", "x").q1(1));
            other.publish(&Post::new("t/a", "0"));
        }
        assert_eq!(payloads(&mut two).len(), 12);
        // Without a connected one it waits for who is away.
        two.cut();
        for other in &mut others {
            other.publish(&Post::new("t/a", "y").q1(1));
            other.publish(&Post::new("t/a", "0"));
        }
        let mut one = site.lasting("m1");
        let mut two = site.lasting("m2");
        let later = |all: Vec<String>| all.iter().filter(|one| *one == "y").count();
        assert_eq!(later(payloads(&mut one)) + later(payloads(&mut two)), 6, "{shards}");
    }
}

#[test]
fn a_full_member_is_passed_over() {
    let site = Site::new(2);
    let mut slow = site.open(0);
    slow.connect(&Opening::v5("slow").receive_maximum(1));
    slow.subscribe(1, &[("$share/g/t/+", 1)]);
    let mut quick = member(&site, "quick", 1);
    let mut others: Vec<_> = (0..10).map(|n| site.v5(&format!("p{n}"))).collect();
    for other in &mut others {
        other.publish(&Post::new("t/a", "x").q1(1));
    }
    assert_eq!((payloads(&mut slow).len(), payloads(&mut quick).len()), (1, 9));
}

#[test]
fn order_of_one_publisher_holds_while_its_messages_are_on_their_way() {
    let site = Site::new(3);
    let mut members: Vec<_> = (0..3).map(|n| member(&site, &format!("m{n}"), 1)).collect();
    let mut other = site.v5("other");
    for n in 0..15 {
        other.publish(&Post::new("t/a", &n.to_string()).q1(1));
    }
    let mut got: Vec<Vec<String>> = members.iter_mut().map(payloads).filter(|got| !got.is_empty()).collect();
    assert_eq!(got.len(), 1, "all to one");
    assert_eq!(got.remove(0), (0..15).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn the_last_member_takes_the_group_with_it() {
    for shards in 1..4 {
        let site = Site::new(shards);
        let mut other = site.v5("other");
        let (mut one, mut two) = (member(&site, "m1", 1), member(&site, "m2", 1));
        assert_eq!(one.unsubscribe(2, &["$share/g/t/+"]), "UNSUBACK #2 [00]");
        two.disconnect(0, Some(0));
        other.publish(&Post::new("t/a", "x").q1(1));
        assert_eq!(other.next(), "PUBACK #1 10");
        one.expect(&[]);
        let mut three = member(&site, "m3", 1);
        three.expect(&[]);
        three.disconnect(0, Some(0));
        one.disconnect(0, Some(0));
        other.cut();
        assert!(site.is_idle());
    }
}

#[test]
fn no_local_cannot_be_shared_and_a_member_gets_what_it_publishes() {
    let site = Site::new(1);
    let mut client = site.v5("s");
    client.subscribe(1, &[("$share/g/t", 1)]);
    client.publish(&Post::new("t", "own").q1(1));
    client.expect(&["PUBLISH t \"own\" q1 #1", "PUBACK #1 00"]);
    client.send(&super::rig::subscribe(client.version, 2, &[("$share/g/t", 4)], None));
    client.expect(&["DISCONNECT 82", "END"]);
}
