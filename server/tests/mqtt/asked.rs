//! Clients about whom the back end is asked, and what it is told of them.

use std::sync::Arc;

use hub::{Reason, SessionId};
use trunkline::auth::Grant;
use trunkline::mail::{Admission, Denial, Hello, Luggage, Mail, MqttHello, Speaks, Upcall};
use wire::mqtt::{Property, Value};

use crate::rig::{Client, Opening, Post, Site, config_of, subscribe};
use wire::mqtt::Version;

fn site(more: &str) -> Site {
    Site::start(config_of(1, &format!("[auth]\nmode = \"back_end\"\n{more}")))
}

/// With a webhook, which nobody serves here.
fn told_site() -> Site {
    site(
        "[[webhook]]\nname = \"a\"\nurl = \"http://127.0.0.1:9/\"\ntypes = [\"session.connect\"]\n\
         secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]",
    )
}

/// What clients ask.
fn asked(site: &Site) -> Vec<(SessionId, MqttHello)> {
    let questions = site.upcalls().into_iter().filter_map(|upcall| match upcall {
        Upcall::Connect { session, hello: Hello::Mqtt(hello), .. } => Some((session, *hello)),
        _ => None,
    });
    questions.collect()
}

fn question(site: &Site) -> SessionId {
    let asked = asked(site);
    assert_eq!(asked.len(), 1);
    asked[0].0
}

fn admit(site: &Site, session: SessionId, grant: Grant) {
    let admission = Box::new(Admission { grant, ..Admission::default() });
    site.mail(0, Mail::Admit { session, admission });
}

fn deny(site: &Site, session: SessionId, denial: Denial) {
    site.mail(0, Mail::Refuse { session, denial, message: "not you".into(), data: None });
}

fn grant(user: &str) -> Grant {
    Grant { user: Some(user.into()), ..Grant::default() }
}

/// Connects and is let in as nobody.
fn let_in(site: &Site, opening: &Opening<'_>) -> Client {
    let mut client = site.open(0);
    client.version = opening.level.version();
    client.send(&opening.bytes());
    admit(site, question(site), Grant::default());
    assert!(client.next().starts_with("CONNACK"));
    client
}

/// What the back end is told, in words.
fn told(site: &Site) -> Vec<String> {
    let word = |upcall| match upcall {
        Upcall::Claimed { client_id, resumed, .. } => format!("{client_id} claimed {resumed}"),
        Upcall::Disconnected { speaks: Speaks::Mqtt(name), text, resumable_ms, reason, .. } => {
            format!("{name} lost {reason:?} {text} {resumable_ms:?}")
        }
        Upcall::Expired { speaks: Speaks::Mqtt(name), reason, .. } => format!("{name} gone {reason:?}"),
        other => format!("{other:?}"),
    };
    site.upcalls().into_iter().map(word).collect()
}

#[test]
fn a_client_waits_for_the_answer_and_is_what_it_says() {
    let site = site("");
    let mut client = site.open(0);
    let opening = Opening {
        user: Some("eve"),
        password: Some(b"hush"),
        ..Opening::v5("c").with(Property::UserProperty, Value::Pair("a", "b"))
    };
    let mut bytes = opening.bytes();
    bytes.extend(subscribe(Version::V5, 7, &[("in/a", 0), ("out", 0)], None));
    client.send(&bytes);
    client.expect(&[]);
    assert_eq!(site.sessions(), 0, "it has no session yet");
    let (session, hello) = asked(&site).remove(0);
    assert_eq!((&*hello.client_id, hello.user_name.as_deref()), ("c", Some("eve")));
    assert_eq!(hello.password.as_ref().map(|password| &password.0[..]), Some(&b"hush"[..]));
    assert!(!format!("{hello:?}").contains("hush"));
    assert_eq!((hello.clean_start, hello.version), (true, "5"));
    assert_eq!(hello.user_properties, [("a".into(), "b".into())]);
    let luggage = Luggage { state: Some(Some("s".into())), ..Luggage::default() };
    let grant = Grant { subscriptions: vec!["news".into()], ..grant("ada") };
    let user_properties = vec![("k".into(), "v".into())];
    let luggage = Some(Box::new(luggage));
    let admission = Box::new(Admission { grant, user_properties, luggage, ..Admission::default() });
    site.mail(0, Mail::Admit { session, admission });
    assert_eq!(client.all(), ["CONNACK new 00", "SUBACK #7 [00 00]"], "what came behind it waited");
    let upcalls = site.upcalls();
    let [Upcall::Claimed { client_id, resumed: false, known, luggage, .. }] = upcalls.as_slice() else {
        panic!("{upcalls:?}")
    };
    assert_eq!((&**client_id, known.user.as_deref()), ("c", Some("ada")));
    assert_eq!(luggage.as_ref().unwrap().state, Some(Some("s".into())));
    let mut other = let_in(&site, &Opening::v3("d"));
    other.publish(&Post::new("news", "hello"));
    assert_eq!(client.next(), "PUBLISH news \"hello\"", "it is subscribed from the start");
    client.disconnect(0, None);
    other.disconnect(0, None);
    assert!(site.is_idle());
}

#[test]
fn a_refusal_has_the_code_of_its_version() {
    let site = site("");
    for (opening, denial, code) in [
        (Opening::v5("c"), Denial::Unknown, "CONNACK new 86"),
        (Opening::v5("c"), Denial::Forbidden, "CONNACK new 87"),
        (Opening::v3("c"), Denial::Unknown, "CONNACK new 86"),
        (Opening::v3("c"), Denial::Forbidden, "CONNACK new 87"),
    ] {
        let mut client = site.open(0);
        client.version = opening.level.version();
        client.send(&opening.bytes());
        deny(&site, question(&site), denial);
        assert_eq!(client.all(), [code, "END"]);
    }
    assert!(site.is_idle());
}

#[test]
fn without_an_answer_a_client_is_closed_without_a_word() {
    let site = site("[mqtt]\nconnect_timeout_ms = 5000");
    let (mut one, mut two) = (site.open(0), site.open(0));
    one.send(&Opening::v5("c").bytes());
    let session = question(&site);
    site.mail(0, Mail::Disconnect { session });
    assert_eq!(one.all(), ["END"]);
    two.send(&Opening::v5("c").bytes());
    let session = question(&site);
    site.pass(4_999);
    assert!(!two.has_ended());
    site.pass(2);
    assert_eq!(two.all(), ["END"]);
    admit(&site, session, Grant::default());
    deny(&site, session, Denial::Forbidden);
    assert_eq!((site.sessions(), site.is_idle()), (0, true), "late answers are for nobody");
}

#[test]
fn the_answer_to_a_client_that_has_gone_displaces_nobody() {
    let site = site("");
    let mut gone = site.open(0);
    gone.send(&Opening::v5("c").bytes());
    let first = question(&site);
    gone.cut();
    site.run();
    let mut back = let_in(&site, &Opening::v5("c"));
    admit(&site, first, Grant::default());
    assert!(back.is_alive());
    assert_eq!(site.sessions(), 1);
}

#[test]
fn who_asked_before_under_the_same_name_is_closed_once_another_is_let_in() {
    let site = site("");
    let (mut one, mut two) = (site.open(0), site.open(0));
    one.send(&Opening::v5("c").bytes());
    let first = question(&site);
    two.send(&Opening::v5("c").bytes());
    let second = question(&site);
    admit(&site, second, Grant::default());
    assert_eq!(one.all(), ["END"]);
    assert_eq!(two.all(), ["CONNACK new 00"]);
    admit(&site, first, Grant::default());
    assert!(two.is_alive());
    // The other way round the later one takes the session over.
    let mut three = site.open(0);
    three.send(&Opening::v5("c").bytes());
    admit(&site, question(&site), Grant::default());
    assert_eq!(three.all(), ["CONNACK new 00"]);
    assert_eq!(two.all(), ["DISCONNECT 8E", "END"]);
}

#[test]
fn a_session_goes_on_undisturbed_until_the_other_client_is_let_in() {
    let site = site("");
    let mut client = let_in(&site, &Opening::v5("c").lasting(100));
    site.upcalls();
    let mut stranger = site.open(0);
    stranger.send(&Opening::v5("c").lasting(100).bytes());
    let session = question(&site);
    assert!(client.is_alive());
    deny(&site, session, Denial::Forbidden);
    assert!(client.is_alive());
    assert_eq!(told(&site), [""; 0]);
    let mut again = let_in(&site, &Opening::v5("c").lasting(100));
    assert_eq!(client.all(), ["DISCONNECT 8E", "END"]);
    assert_eq!(
        told(&site),
        ["c lost TakenOver Session taken over Some(18446744073709551615)", "c claimed true"]
    );
    assert!(again.is_alive());
}

#[test]
fn only_so_many_clients_wait() {
    let site = site("[limits]\nunjoined_max = 2");
    let mut clients: Vec<Client> = (0..3).map(|_| site.open(0)).collect();
    for client in &mut clients {
        client.send(&Opening::v5("").bytes());
    }
    assert_eq!(asked(&site).len(), 2);
    let ended: Vec<bool> = clients.iter_mut().map(Client::has_ended).collect();
    assert_eq!(ended, [false, false, true]);
    drop(clients);
}

#[test]
fn the_back_end_hears_of_sessions_from_their_beginning_to_their_end() {
    let site = site("");
    let mut client = let_in(&site, &Opening::v5("c").lasting(60));
    assert_eq!(told(&site), ["c claimed false"]);
    client.cut();
    site.run();
    assert_eq!(told(&site), ["c lost ConnectionClosed connection closed Some(60000)"]);
    let mut client = let_in(&site, &Opening::v5("c").lasting(60));
    assert_eq!(told(&site), ["c claimed true"]);
    client.disconnect(0, None);
    assert_eq!(told(&site), ["c lost ClientLeft disconnect Some(60000)"]);
    site.pass(60_001);
    assert_eq!(told(&site), ["c gone Expired"]);
    // With a clean start the earlier session is gone, and so is one that ends with its connection.
    let mut old = let_in(&site, &Opening::v5("c").lasting(60));
    old.cut();
    site.run();
    site.upcalls();
    let mut client = let_in(&site, &Opening::v5("c"));
    assert_eq!(told(&site), ["c gone TakenOver", "c claimed false"]);
    client.disconnect(0, None);
    assert_eq!(told(&site), ["c lost ClientLeft disconnect None"]);
    assert!(site.is_idle());
}

#[test]
fn what_the_back_end_is_told_is_safe_before_the_client_hears_of_its_session() {
    let site = told_site();
    let mut one = site.open(0);
    one.send(&Opening::v5("c").lasting(60).bytes());
    admit(&site, question(&site), Grant::default());
    let claimed = |site: &Site| {
        let upcalls = site.upcalls();
        let number = upcalls.iter().find_map(|upcall| match upcall {
            Upcall::Claimed { session, number, .. } => Some((*session, *number)),
            _ => None,
        });
        number.unwrap_or_else(|| panic!("{upcalls:?}"))
    };
    let (session, first) = claimed(&site);
    one.expect(&[]);
    let mut two = site.open(0);
    two.send(&Opening::v5("c").lasting(60).bytes());
    admit(&site, question(&site), Grant::default());
    let (again, second) = claimed(&site);
    assert_eq!((again, one.all()), (session, vec!["END".to_owned()]));
    site.mail(0, Mail::Greet { session, number: first, until_told: tokio::sync::oneshot::channel().0 });
    two.expect(&[]);
    site.mail(0, Mail::Greet { session, number: second, until_told: tokio::sync::oneshot::channel().0 });
    assert_eq!(two.all(), ["CONNACK present 00"]);
    assert!(two.is_alive());
}

#[test]
fn configured_users_are_nobody_elses_business() {
    let site = site("[[mqtt.user]]\nname = \"ada\"\npassword = \"good\"\n");
    for (password, expected) in [(&b"good"[..], "CONNACK new 00"), (b"bad", "CONNACK new 86")] {
        let mut client = site.open(0);
        let opening = Opening { user: Some("ada"), password: Some(password), ..Opening::v5("c") };
        client.send(&opening.bytes());
        assert_eq!(client.next(), expected);
    }
    assert!(asked(&site).is_empty());
}

#[test]
fn an_end_that_the_back_end_names_closes_the_connection() {
    let site = site("");
    let mut client = site.open(0);
    client.send(&Opening::v5("c").lasting(60).bytes());
    let expires = Some(trunkline::auth::UnixMs(trunkline::auth::unix_now().0 + 60_000));
    admit(&site, question(&site), Grant { expires, user: Some(Arc::from("ada")), ..Grant::default() });
    assert_eq!(client.all(), ["CONNACK new 00"]);
    site.upcalls();
    site.pass(61_000);
    assert_eq!(client.all(), ["DISCONNECT 87", "END"]);
    let told = told(&site);
    assert_eq!(told, [format!("c lost {:?} credentials expired Some(60000)", Reason::CredentialsExpired)]);
}
