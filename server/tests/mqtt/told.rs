//! Why something is refused: reason strings of PUBACK, PUBREC, SUBACK, and of CONNACK for a will.

use trunkline::mail::{Denial, Mail, Ruling, Upcall};
use wire::mqtt::{Property, Value};

use super::rig::{Client, Opening, Post, Site, config_of};

/// The answer to the question that is open.
fn answer(site: &Site, message: &str) {
    let of = |upcall| match upcall {
        Upcall::Ask { session, number, .. } => Some((session, number)),
        _ => None,
    };
    let (session, number) = site.upcalls().into_iter().find_map(of).expect("a question");
    let ruling = Box::new(Ruling::No { denial: Denial::Forbidden, message: message.into() });
    site.mail(0, Mail::Answer { session, number, ruling });
}

fn connected(site: &Site, opening: &Opening<'_>) -> Client {
    let mut client = site.open(0);
    assert_eq!(client.connect(opening), "CONNACK new 00");
    client.version = opening.level.version();
    client
}

const WHY: &str = "only in opening hours";

#[test]
fn the_back_ends_words_are_told() {
    let rule = "[[channel]]\nfilter = \"ask/#\"\nsubscribe = \"webhook\"\npublish = \"webhook\"\n";
    let site = Site::start(config_of(1, rule));
    let mut client = connected(&site, &Opening::v5("c"));
    for (post, told) in
        [(Post::new("ask/a", "x").q1(1), "PUBACK #1 87"), (Post::new("ask/a", "x").q2(2), "PUBREC #2 87")]
    {
        client.publish(&post);
        answer(&site, WHY);
        assert_eq!(client.next_told(), (told.into(), Some(WHY.into())));
    }
    client.send_subscribe(3, &[("ask/a", 0)], None);
    answer(&site, WHY);
    assert_eq!(client.next_told(), ("SUBACK #3 [87]".into(), Some(WHY.into())));
    client.send_subscribe(4, &[("ask/a", 0), ("free", 1), ("$user/x", 0), ("ask/b", 0)], None);
    answer(&site, "closed");
    answer(&site, "busy");
    let why = "filter 1: closed; filter 3: nobody subscribes there: whoever is meant gets it anyway; filter 4: busy";
    assert_eq!(client.next_told(), ("SUBACK #4 [87 01 87 87]".into(), Some(why.into())));
    client.send_subscribe(5, &[("ask/a", 0)], None);
    answer(&site, "");
    assert_eq!(client.next_told(), ("SUBACK #5 [87]".into(), None));
    // A will.
    let mut willing = site.open(0);
    willing.send(&Opening::v5("w").will(Post::new("ask/a", "x")).bytes());
    answer(&site, WHY);
    assert_eq!(willing.next_told(), ("CONNACK new 87".into(), Some(WHY.into())));
    // Version 3 has no place for words.
    let mut old = connected(&site, &Opening::v3("old"));
    old.publish(&Post::new("ask/a", "x").q1(1));
    answer(&site, WHY);
    assert_eq!(old.next_bytes().unwrap(), [0x40, 2, 0, 1]);
    old.send_subscribe(2, &[("ask/a", 0)], None);
    answer(&site, WHY);
    assert_eq!(old.next_bytes().unwrap(), [0x90, 3, 0, 2, 0x80]);
}

#[test]
fn the_servers_own_words_say_which_rule_or_limit() {
    let rules = "[limits]\nretained_max = 0\nchannels_per_session_max = 1\nchannel_name_bytes_max = 64\n\
                 [[mqtt.acl]]\nfilter = \"shut/#\"\ndeny = [\"publish\", \"subscribe\"]\ncode = 0x80\n\
                 [[channel]]\nfilter = \"mine/{user}\"\nsubscribe = \"own\"\npublish = \"own\"\npayload_format_check = true\n";
    let site = Site::start(config_of(1, rules));
    let mut client = connected(&site, &Opening::v5("c"));
    let long = "x".repeat(65);
    for (topic, code, why) in [
        ("$user/x", "87", "only the server publishes there"),
        ("shut/a", "80", "a rule for clients of MQTT forbids it"),
        ("mine/other", "87", "the channel's rule does not allow it"),
        (&long, "90", "the topic is longer than the server takes"),
    ] {
        client.publish(&Post::new(topic, "x").q1(1));
        assert_eq!(client.next_told(), (format!("PUBACK #1 {code}"), Some(why.into())));
        client.publish(&Post::new(topic, "x").q2(2));
        assert_eq!(client.next_told(), (format!("PUBREC #2 {code}"), Some(why.into())));
    }
    client.publish(&Post { retain: true, ..Post::new("a", "x").q1(1) });
    let (told, why) = client.next_told();
    assert_eq!(told, "PUBACK #1 97");
    assert!(why.unwrap().starts_with("a limit of the server: of values that are retained"));
    let filters = [("a", 0), ("b", 0), (long.as_str(), 0), ("shut/#", 0), ("reply/+", 0)];
    client.send_subscribe(3, &filters, None);
    let limit =
        "a limit of the server: of subscriptions of one client, of members of a group, or of channels";
    let why = format!(
        "filter 2: {limit}; filter 3: the filter is longer than the server takes; \
         filter 4: a rule for clients of MQTT forbids it; filter 5: {limit}"
    );
    assert_eq!(client.next_told(), ("SUBACK #3 [00 97 8F 80 97]".into(), Some(why)));
}

#[test]
fn what_a_token_does_not_grant_is_told_as_that() {
    let token = super::token::token_for("u1", "\"a/#\"", "\"publish\", \"subscribe\"", "");
    let site = super::tokens::site("");
    let mut client = connected(&site, &super::tokens::opening("c", &token));
    client.publish(&Post::new("b", "x").q1(1));
    let why = || Some("it is not among what this client is granted".into());
    assert_eq!(client.next_told(), ("PUBACK #1 87".into(), why()));
    client.send_subscribe(2, &[("#", 0)], None);
    assert_eq!(client.next_told(), ("SUBACK #2 [87]".into(), why()));
}

#[test]
fn words_that_do_not_fit_are_left_out() {
    let site = Site::new(1);
    let words = "only the server publishes there".len() as u32;
    // Two bytes of header, the packet id, the code, the length of the properties, a property and its length.
    let exactly = 2 + 2 + 1 + 1 + 3 + words;
    for (bytes_max, is_told) in [(exactly, true), (exactly - 1, false)] {
        let opening = Opening::v5("c").with(Property::MaximumPacketSize, Value::U32(bytes_max));
        let mut client = connected(&site, &opening);
        client.publish(&Post::new("$user/x", "x").q1(1));
        let (told, why) = client.next_told();
        assert_eq!((told.as_str(), why.is_some()), ("PUBACK #1 87", is_told), "{bytes_max}");
        client.send_subscribe(2, &[("$user/x", 0)], None);
        assert_eq!(client.next_told(), ("SUBACK #2 [87]".into(), None));
        assert!(client.is_alive());
    }
}
