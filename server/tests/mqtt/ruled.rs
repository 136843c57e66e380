//! Clients that wait for the back end's word on a channel.

use hub::SessionId;
use trunkline::mail::{Deed, Denial, Mail, Question, Ruling, Terms, Upcall, Wanted};

use crate::rig::{Client, Opening, Post, Site, config_of, subscribe};
use wire::mqtt::Version;

fn site(more: &str) -> Site {
    let rule = "[[channel]]\nfilter = \"ask/#\"\nsubscribe = \"webhook\"\npublish = \"webhook\"\n";
    Site::start(config_of(1, &format!("{rule}{more}")))
}

fn let_in(site: &Site, opening: &Opening<'_>) -> Client {
    let mut client = site.open(0);
    client.version = opening.level.version();
    client.send(&opening.bytes());
    assert!(client.next().starts_with("CONNACK"));
    client
}

/// The one question that is open.
fn asked(site: &Site) -> (SessionId, u64, Question) {
    let of = |upcall| match upcall {
        Upcall::Ask { session, number, question } => Some((session, number, *question)),
        _ => None,
    };
    let mut all: Vec<_> = site.upcalls().into_iter().filter_map(of).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn answer(site: &Site, ruling: Ruling) -> Question {
    let (session, number, question) = asked(site);
    site.mail(0, Mail::Answer { session, number, ruling: Box::new(ruling) });
    question
}

fn no() -> Ruling {
    Ruling::No { denial: Denial::Forbidden, message: "no".into() }
}

#[test]
fn nothing_is_read_behind_what_is_asked_about() {
    let site = site("");
    let mut client = let_in(&site, &Opening::v5("c"));
    let mut bytes = subscribe(Version::V5, 7, &[("free", 0), ("ask/a", 2), ("ask/b", 1)], None);
    bytes.extend(Post::new("ask/a", "x").q1(8).bytes(Version::V5));
    bytes.extend(Post::new("free", "y").bytes(Version::V5));
    client.send(&bytes);
    client.expect(&[]);
    let less = Terms { qos_max: Some(1), recovery: Wanted::Never, ..Terms::default() };
    let question = answer(&site, Ruling::Yes(less));
    assert!(matches!(question.deed, Deed::Subscribe { qos: Some(2), .. }) && &*question.channel == "ask/a");
    client.expect(&[]);
    assert_eq!(&*answer(&site, no()).channel, "ask/b");
    assert_eq!(client.all(), ["SUBACK #7 [00 01 87]"]);
    let question = answer(&site, Ruling::Yes(Terms::default()));
    assert!(matches!(question.deed, Deed::Publish(draft) if draft.qos == Some(1)));
    let all = client.all();
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all.contains(&"PUBACK #8 00".to_owned()) && all[2].starts_with("PUBLISH free"), "{all:?}");
    client.disconnect(0, None);
    assert!(site.is_idle());
}

#[test]
fn a_client_does_not_wait_for_ever_and_is_not_silent_meanwhile() {
    let site = site("[mqtt]\nconnect_timeout_ms = 5000");
    let mut client = let_in(&site, &Opening::v5("c").keep_alive(1));
    client.publish(&Post::new("ask/a", "x").q1(1));
    site.pass(4_998);
    client.expect(&[]);
    let (session, number, _) = asked(&site);
    site.pass(4);
    assert_eq!(client.all(), ["DISCONNECT 89", "END"]);
    site.mail(0, Mail::Answer { session, number, ruling: Box::new(no()) });
    // And one that is answered has all of its keep alive.
    let mut client = let_in(&site, &Opening::v5("c").keep_alive(1));
    client.publish(&Post::new("ask/a", "x").q1(1));
    site.pass(4_000);
    answer(&site, no());
    assert_eq!(client.all(), ["PUBACK #1 87"]);
    site.pass(1_000);
    assert!(client.is_alive());
    client.disconnect(0, None);
    assert!(site.is_idle());
}

#[test]
fn only_the_answer_to_its_question_is_one() {
    let site = site("");
    let mut client = let_in(&site, &Opening::v5("c"));
    client.publish(&Post::new("ask/a", "1").q1(1));
    let (session, first, _) = asked(&site);
    let say = |number, ruling| site.mail(0, Mail::Answer { session, number, ruling: Box::new(ruling) });
    say(first ^ 1, no());
    client.expect(&[]);
    say(first, no());
    assert_eq!(client.all(), ["PUBACK #1 87"]);
    client.publish(&Post::new("ask/a", "2").q1(2));
    say(first, Ruling::Yes(Terms::default()));
    client.expect(&[]);
    client.cut();
    site.run();
    let (_, second, _) = asked(&site);
    say(second, Ruling::Yes(Terms::default()));
    assert!(site.is_idle());
}

#[test]
fn what_nobody_gets_leaves_the_window() {
    let site = site("[mqtt]\nreceive_maximum = 2");
    let mut client = let_in(&site, &Opening::v5("c"));
    for id in 1..7 {
        client.publish(&Post::new("ask/a", "x").q2(id));
        answer(&site, if id % 2 == 0 { Ruling::Drop } else { no() });
        let code = if id % 2 == 0 { "00" } else { "87" };
        assert_eq!(client.all(), [format!("PUBREC #{id} {code}")]);
        if id % 2 == 0 {
            client.pubrel(id);
            assert_eq!(client.all().len(), 1);
        }
    }
    client.publish(&Post::new("ask/a", "x").q2(7));
    answer(&site, Ruling::Yes(Terms::default()));
    assert_eq!(client.all(), ["PUBREC #7 00"]);
    // It has come, so it is not asked about again.
    client.publish(&Post { dup: true, ..Post::new("ask/a", "x").q2(7) });
    assert_eq!(client.all(), ["PUBREC #7 00"]);
    assert!(site.upcalls().iter().all(|upcall| !matches!(upcall, Upcall::Ask { .. })));
    client.pubrel(7);
    assert_eq!(client.all().len(), 1);
    client.disconnect(0, None);
    assert!(site.is_idle());
}

#[test]
fn a_client_waits_with_its_will_before_it_has_a_session() {
    let site = site("[mqtt]\nconnect_timeout_ms = 5000");
    let opening = || Opening::v5("c").will(Post::new("ask/a", "gone"));
    let open = || {
        let mut client = site.open(0);
        client.send(&opening().bytes());
        client
    };
    let mut client = open();
    assert_eq!(site.sessions(), 0, "it has none yet");
    let question = answer(&site, no());
    assert!(matches!(question.deed, Deed::Publish(draft) if draft.is_will));
    assert_eq!(client.all(), ["CONNACK new 87", "END"]);
    let mut client = open();
    answer(&site, Ruling::Unknown);
    assert_eq!(client.all(), ["END"]);
    let mut client = open();
    asked(&site);
    site.pass(5_001);
    assert_eq!(client.all(), ["END"]);
    // Who comes later displaces who waits.
    let mut early = open();
    let (session, number, _) = asked(&site);
    let mut late = let_in(&site, &Opening::v5("c"));
    assert_eq!(early.all(), ["END"]);
    site.mail(0, Mail::Answer { session, number, ruling: Box::new(Ruling::Yes(Terms::default())) });
    assert!(late.is_alive());
    late.disconnect(0, None);
    let mut client = open();
    answer(&site, Ruling::Yes(Terms::default()));
    assert_eq!(client.all(), ["CONNACK new 00"]);
    let mut reader = let_in(&site, &Opening::v5("reader"));
    reader.send_subscribe(1, &[("ask/#", 0)], None);
    answer(&site, Ruling::Yes(Terms::default()));
    assert_eq!(reader.all(), ["SUBACK #1 [00]"]);
    client.cut();
    site.run();
    assert_eq!(reader.next(), "PUBLISH ask/a \"gone\"");
    reader.disconnect(0, None);
    assert!(site.is_idle());
}
