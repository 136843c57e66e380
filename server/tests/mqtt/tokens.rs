//! Tokens, as clients of MQTT and of Socket.IO show them: who is let in, what they may do, and what happens at the end.

use super::rig::{Client, Opening, Post, Site, config_of, properties};
use super::token::{SECRET, now_s, token, token_for};
use wire::mqtt::{Auth, ClientPacket, Property, ReasonCode, Value};

const RELAYED: &str = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n\
                       [[socketio.namespace]]\nname = \"/chat\"\n";

fn site_with(shards: u16, jwt: &str, more: &str) -> Site {
    Site::start(config_of(shards, &format!("auth.mode = \"jwt\"\n{more}\n[auth.jwt]\n{jwt}")))
}

pub(super) fn site(more: &str) -> Site {
    site_with(2, &format!("secret = \"{SECRET}\"\ncookie = \"session\""), more)
}

pub(super) fn opening<'a>(id: &'a str, token: &'a str) -> Opening<'a> {
    Opening { user: Some("any"), password: Some(token.as_bytes()), ..Opening::v5(id) }
}

fn connected(site: &Site, id: &str, token: &str) -> Client {
    let mut client = site.open(0);
    assert_eq!(client.connect(&opening(id, token)), "CONNACK new 00");
    client
}

/// What came of a CONNECT to a namespace over a WebSocket.
pub(super) fn joined(site: &Site, target: &str, headers: &[(&str, &str)], connect: &str) -> (Client, String) {
    let target = format!("/socket.io/?EIO=4&transport=websocket{target}");
    let (mut client, status, _) = site.upgrade(0, &target, headers);
    assert_eq!(status, 101);
    client.text(connect);
    let said = client.texts().pop().unwrap();
    (client, said)
}

pub(super) fn auth(token: &str) -> String {
    format!("40{{\"token\":\"{token}\"}}")
}

#[test]
fn a_password_may_be_a_token_that_says_what_its_client_may_do() {
    let site = site("");
    let token = token_for("u1", r#""a/#","in/{user}/+","c/{client}""#, r#""subscribe","publish""#, "");
    let mut client = connected(&site, "c1", &token);
    let filters = ["a/b", "a/#", "#", "b", "in/u1/x", "in/u2/x", "in/+/x", "c/c1", "c/c2", "$user/u1"];
    let filters: Vec<(&str, u8)> = filters.iter().map(|filter| (*filter, 0)).collect();
    assert_eq!(client.subscribe(1, &filters), "SUBACK #1 [00 00 87 87 00 87 87 00 87 87]");
    client.publish(&Post::new("b", "x").q1(2));
    client.expect(&["PUBACK #2 87"]);
    client.publish(&Post::new("in/u1/x", "x").q1(3));
    assert_eq!(client.all(), ["PUBLISH in/u1/x \"x\"", "PUBACK #3 00"]);
    // The same in version 3, which is told nothing of it.
    let mut old = site.open(0);
    assert_eq!(
        old.connect(&Opening { password: Some(token.as_bytes()), user: Some(""), ..Opening::v3("c3") }),
        "CONNACK new 00"
    );
    assert_eq!(old.subscribe(1, &[("b", 0), ("a/b", 0)]), "SUBACK #1 [80 00]");
    old.publish(&Post::new("b", "x").q1(2));
    old.expect(&["PUBACK #2 00"]);
}

#[test]
fn a_token_that_is_no_good_is_refused_as_a_password_is() {
    let site = site("");
    let good = token("{\"sub\":\"u1\"}");
    let cases = [
        String::new(),
        "secret".to_owned(),
        good.replace('.', ".."),
        format!("{}A", &good[..good.len() - 1]),
        token(&format!("{{\"exp\":{}}}", now_s() - 31)),
        token(&format!("{{\"nbf\":{}}}", now_s() + 60)),
        token("{\"sub\":\"\"}"),
    ];
    for case in &cases {
        let mut client = site.open(0);
        assert_eq!(client.connect(&opening("c", case)), "CONNACK new 86", "{case}");
        let mut old = site.open(0);
        let opening = Opening { user: Some("u"), password: Some(case.as_bytes()), ..Opening::v3("c") };
        // 4, bad user name or password, in the words of version 5.
        assert_eq!(old.connect(&opening), "CONNACK new 86", "{case}");
        old.expect(&["END"]);
    }
    let mut client = site.open(0);
    assert_eq!(client.connect(&Opening::v5("c")), "CONNACK new 86", "without any password");
    assert!(site.is_idle());
}

#[test]
fn a_client_whose_key_is_not_known_is_closed_so_that_it_comes_back() {
    let jwt = "jwks_url = \"https://id.example.com/keys\"\naudience = [\"a\"]";
    let site = site_with(1, jwt, RELAYED);
    let token = token(r#"{"aud":"a"}"#);
    let mut client = site.open(0);
    client.send(&opening("c", &token).bytes());
    client.expect(&["END"]);
    let (mut socket, status, _) = site.upgrade(0, "/socket.io/?EIO=4&transport=websocket", &[]);
    assert_eq!(status, 101);
    socket.text(&auth(&token));
    assert!(socket.has_ended() && !socket.texts().iter().any(|text| text.starts_with("44")));
    assert!(site.is_idle());
}

#[test]
fn a_connection_ends_with_its_token_and_the_leeway() {
    let site = site(RELAYED);
    let ending = token(&format!("{{\"exp\":{}}}", now_s() + 5));
    let mut client = connected(&site, "c1", &ending);
    let mut old = site.open(0);
    old.connect(&Opening { user: Some("u"), password: Some(ending.as_bytes()), ..Opening::v3("c3") });
    let mut lasting = connected(&site, "c2", &token("{}"));
    let (mut socket, said) = joined(&site, "", &[], &auth(&ending));
    assert!(said.starts_with("40{"), "{said}");
    site.pass(33_000);
    client.expect(&[]);
    assert!(!socket.has_ended());
    site.pass(3000);
    client.expect(&["DISCONNECT 87", "END"]);
    old.expect(&["END"]);
    assert!(socket.has_ended() && !socket.texts().iter().any(|text| text.starts_with("41")));
    lasting.expect(&[]);
}

fn by_method(site: &Site, id: &str, token: &str) -> Client {
    let mut client = site.open(0);
    let opening = Opening::v5(id)
        .with(Property::AuthenticationMethod, Value::Text("JWT"))
        .with(Property::AuthenticationData, Value::Binary(token.as_bytes()));
    assert_eq!(client.connect(&opening), "CONNACK new 00");
    client
}

fn renew(client: &mut Client, token: &str) {
    let properties = properties(&[
        (Property::AuthenticationMethod, Value::Text("JWT")),
        (Property::AuthenticationData, Value::Binary(token.as_bytes())),
    ]);
    let auth = Auth { reason: ReasonCode::Reauthenticate, properties: properties.as_properties() };
    client.say(&ClientPacket::Auth(auth));
}

#[test]
fn another_token_prolongs_a_session_and_takes_what_it_does_not_grant() {
    let site = site("");
    let short = |filters: &str, seconds: u64| {
        let grant = format!(r#"{{"filters":[{filters}],"allow":["subscribe"]}}"#);
        let exp = now_s() + seconds;
        token(&format!(
            r#"{{"sub":"u1","exp":{exp},"trunkline":{{"permissions":[{grant}],"subscriptions":["t/{seconds}"]}}}}"#
        ))
    };
    let mut client = by_method(&site, "c1", &short(r#""a","b""#, 5));
    assert_eq!(client.subscribe(1, &[("a", 0), ("b", 0)]), "SUBACK #1 [00 00]");
    renew(&mut client, &short(r#""b""#, 600));
    client.expect(&["AUTH 00"]);
    site.pass(60_000);
    let mut other = connected(&site, "p", &token_for("p", "\"#\"", "\"publish\"", ""));
    for topic in ["a", "b", "t/5", "t/600"] {
        other.publish(&Post::new(topic, "x"));
    }
    client.expect(&["PUBLISH b \"x\"", "PUBLISH t/600 \"x\""]);
    // A session is of one user.
    renew(&mut client, &token(&format!("{{\"sub\":\"u2\",\"exp\":{}}}", now_s() + 600)));
    client.expect(&["DISCONNECT 87", "END"]);
    let mut client = by_method(&site, "c1", &short(r#""b""#, 600));
    renew(&mut client, "no token");
    client.expect(&["DISCONNECT 87", "END"]);
    // Who has shown it as password has no method to go on with [MQTT-4.12.0-7].
    let mut client = connected(&site, "c1", &short(r#""b""#, 600));
    renew(&mut client, &short(r#""b""#, 600));
    client.expect(&["DISCONNECT 82", "END"]);
}

#[test]
fn a_session_that_goes_on_keeps_what_the_token_of_its_client_grants() {
    let site = site("[[mqtt.auto_subscribe]]\nfilter = \"auto/%c\"\n");
    let wide = token_for("u1", r#""a","b","g/#""#, r#""subscribe""#, "");
    let mut client = site.open(0);
    client.connect(&opening("c1", &wide).lasting(600));
    assert_eq!(client.subscribe(1, &[("a", 1), ("b", 1), ("$share/s/g/x", 1)]), "SUBACK #1 [01 01 01]");
    client.cut();
    let mut publisher = connected(&site, "p", &token_for("p", "\"#\"", "\"publish\"", ""));
    let mut client = site.open(0);
    let narrow = token_for("u1", "\"b\"", r#""subscribe""#, "");
    assert_eq!(client.connect(&opening("c1", &narrow).lasting(600)), "CONNACK present 00");
    for topic in ["a", "b", "g/x", "auto/c1"] {
        publisher.publish(&Post::new(topic, "x"));
    }
    assert_eq!(client.all(), ["PUBLISH b \"x\"", "PUBLISH auto/c1 \"x\""]);
}

#[test]
fn a_token_may_name_its_client_and_its_will_has_to_be_granted() {
    let site = site("");
    let named = token(r#"{"sub":"u1","trunkline":{"client_id":"c1"}}"#);
    let mut other = site.open(0);
    assert_eq!(other.connect(&opening("c2", &named)), "CONNACK new 85");
    let mut client = site.open(0);
    assert_eq!(client.connect(&opening("c1", &named).will(Post::new("w", "x"))), "CONNACK new 87");
    connected(&site, "c1", &named);
}

#[test]
fn users_of_the_configuration_are_who_they_were_and_rules_may_let_them() {
    let site = site(
        "[[mqtt.user]]\nname = \"ann\"\npassword = \"secret\"\n\
         [[mqtt.acl]]\nfilter = \"dev/%u\"\nallow = [\"publish\"]\n\
         [[channel]]\nfilter = \"news/#\"\nsubscribe = \"anyone\"\npublish = \"nobody\"\n",
    );
    let mut ann = site.open(0);
    let opening = Opening { user: Some("ann"), password: Some(b"secret"), ..Opening::v5("c") };
    assert_eq!(ann.connect(&opening), "CONNACK new 00");
    assert_eq!(ann.subscribe(1, &[("news/+", 0), ("x", 0)]), "SUBACK #1 [00 87]");
    for (id, topic, code) in [(2, "dev/ann", "10"), (3, "dev/bob", "87"), (4, "news/a", "87")] {
        ann.publish(&Post::new(topic, "x").q1(id));
        ann.expect(&[&format!("PUBACK #{id} {code}")]);
    }
    let mut wrong = site.open(0);
    let opening = Opening { password: Some(b"other"), ..opening };
    assert_eq!(wrong.connect(&opening), "CONNACK new 86");
}

/// What is behind the target, the headers of the first request, and the CONNECT.
type Way<'a> = (&'a str, Vec<(&'a str, &'a str)>, String);

#[test]
fn a_socket_shows_its_token_at_connect_or_with_the_first_request() {
    let site = site(RELAYED);
    let good = token("{\"sub\":\"u1\"}");
    let bearer = format!("Bearer {good}");
    let cookie = format!("a=b; session={good}");
    let query = format!("&access_token={good}");
    let cases: [Way<'_>; 5] = [
        ("", vec![], auth(&good)),
        ("", vec![("authorization", &bearer)], "40".into()),
        ("", vec![("cookie", &cookie)], "40".into()),
        (&query, vec![], "40".into()),
        ("&access_token=bad", vec![("authorization", "Bearer bad"), ("cookie", "session=bad")], auth(&good)),
    ];
    for (target, headers, connect) in &cases {
        let (_, said) = joined(&site, target, headers, connect);
        assert!(said.starts_with("40{\"sid\""), "{said}");
    }
    let (mut client, said) = joined(&site, "", &[], "40");
    assert_eq!(said, r#"44{"message":"a token is needed","data":{"status":401}}"#);
    // It may try once more, on the same connection.
    client.text(&auth(&good));
    assert!(client.texts().pop().unwrap().starts_with("40{"));
    let over = token(&format!("{{\"exp\":{}}}", now_s() - 60));
    let (_, said) = joined(&site, "", &[], &auth(&over));
    assert_eq!(said, r#"44{"message":"the token has expired","data":{"status":401}}"#);
    let one = token(r#"{"trunkline":{"namespaces":["/chat"]}}"#);
    let (mut client, said) = joined(&site, "", &[], &auth(&one));
    assert_eq!(said, r#"44{"message":"the token is not for this namespace","data":{"status":403}}"#);
    client.text(&format!("40/chat,{{\"token\":\"{one}\"}}"));
    assert!(client.texts().pop().unwrap().starts_with("40/chat,{"));
}

#[test]
fn an_event_that_is_relayed_is_a_publish_and_needs_a_grant() {
    let site = site(RELAYED);
    let mut reader = connected(&site, "r", &token_for("r", "\"#\"", "\"subscribe\"", ""));
    reader.subscribe(1, &[("#", 0)]);
    let (mut silent, said) = joined(&site, "", &[], &auth(&token("{\"sub\":\"u1\"}")));
    assert!(said.starts_with("40{"), "{said}");
    silent.text(r#"421["say","x"]"#);
    reader.expect(&[]);
    assert!(silent.texts().is_empty() && !silent.has_ended(), "no acknowledgement, and the connection stays");
    let grant = token_for("u2", "\"main\"", "\"publish\"", "");
    let (mut speaker, said) = joined(&site, "", &[], &auth(&grant));
    assert!(said.starts_with("40{"), "{said}");
    speaker.text(r#"421["say","x"]"#);
    reader.expect(&["PUBLISH main \"\\\"x\\\"\" user:event=say"]);
    assert!(silent.texts().iter().any(|text| text.starts_with("42[\"say\",\"x\"")));
}

#[test]
fn a_session_is_recovered_by_its_user_alone() {
    let site = site_with(1, &format!("secret = \"{SECRET}\""), RELAYED);
    let (mine, other) = (token("{\"sub\":\"u1\"}"), token("{\"sub\":\"u2\"}"));
    let part = |said: &str, name: &str| {
        let value = said.split(&format!("\"{name}\":\"")).nth(1).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    let (mut first, said) = joined(&site, "", &[], &auth(&mine));
    let (sid, pid) = (part(&said, "sid"), part(&said, "pid"));
    first.cut();
    let again = |token: &str| format!("40{{\"token\":\"{token}\",\"pid\":\"{pid}\"}}");
    let (_thief, said) = joined(&site, "", &[], &again(&other));
    assert_ne!(part(&said, "sid"), sid);
    let (mut refused, said) = joined(&site, "", &[], &format!("40{{\"pid\":\"{pid}\"}}"));
    assert!(said.starts_with("44"), "{said}");
    refused.cut();
    let (_own, said) = joined(&site, "", &[], &again(&mine));
    assert_eq!(part(&said, "sid"), sid);
}

#[test]
fn a_token_joins_the_channels_that_it_names() {
    let site = site(RELAYED);
    let named = token(r#"{"sub":"u1","trunkline":{"subscriptions":["room/1","r/#"]}}"#);
    let mut client = connected(&site, "c1", &named);
    let (mut socket, said) = joined(&site, "", &[], &auth(&named));
    assert!(said.starts_with("40{"), "{said}");
    let mut publisher = connected(&site, "p", &token_for("p", "\"#\"", "\"publish\"", ""));
    publisher.publish(&Post::new("room/1", "1").q1(1));
    publisher.publish(&Post::new("r/2", "2").q1(2));
    client.expect(&["PUBLISH room/1 \"1\" q1 #1", "PUBLISH r/2 \"2\" q1 #2"]);
    let texts = socket.texts();
    assert!(texts.iter().any(|text| text.starts_with("42[\"message\",1")), "{texts:?}");
}
