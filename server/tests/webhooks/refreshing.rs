//! Clients whose time is nearly over: the back end is asked, and says how long they may stay.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::back_end::{Act, BackEnd, yes};
use super::mqtt::{Mqtt, OPENING, Opening, script};
use super::support::client::{Said, WebSocket};
use super::support::recovering::Recovering;
use super::support::stream::Stream;
use super::support::token::token;
use super::support::whole::rest::ask;
use super::{SOCKET, start, start_with_tokens, until};

const TYPES: &str = "types = [\"session.connect\", \"session.refresh\"]\n";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What its client may do for three seconds, and, as it says when it is asked about it, for an hour and only below `b`.
fn answer(kind: &str) -> Act {
    let may = |filters: &[&str]| json!([{ "filters": filters, "allow": ["subscribe", "publish"] }]);
    match kind {
        "session.connect" => yes(
            json!({ "result": { "user": "ada", "expires_at": now_s() + 3, "permissions": may(&["a/#", "b/#"]) } }),
        ),
        "session.refresh" => yes(json!({
            "result": { "expires_at": now_s() + 3600, "permissions": may(&["b/#"]) }, "state": "later",
        })),
        _ => Act::Answer(204, String::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_end_lets_clients_of_every_protocol_stay() {
    let back_end = BackEnd::start(|hook| answer(hook.kind())).await;
    let server = start(back_end.address, TYPES).await;
    let held = script(&server, |address| {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        assert!(socket.next_text().starts_with("40{"));
        let mut client = Mqtt::open(address, &OPENING);
        assert_eq!(client.next(), "CONNACK new 00");
        client.subscribe("a/x");
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let mut events = WebSocket::try_connect(address, "/ws?channel=a/x", &subprotocol).unwrap();
        events.next_text();
        let sse = Stream::get(address, "/sse?channel=a/x&channel=b/x", &[]);
        (socket, client, events, sse)
    })
    .await;
    until("all four may stay", || {
        let page = ask(&server, "GET", "/v1/sessions", None).1;
        let items = page["items"].as_array().unwrap();
        // The first end has a four-digit year and the hour of now; the second one is an hour away.
        let far = |item: &Value| item["expires_at"].as_str().is_some_and(|at| at > later().as_str());
        items.len() == 4 && items.iter().all(far)
    })
    .await;
    let page = ask(&server, "GET", "/v1/sessions", None).1;
    for item in page["items"].as_array().unwrap() {
        let lost = item["subscriptions"].as_array().unwrap().iter().any(|name| name == "a/x");
        assert!(!lost, "{item}");
    }
    let asked = back_end.of("session.refresh");
    assert_eq!(asked.len(), 4, "once each");
    for hook in &asked {
        assert!(hook.event["data"]["expires_at"].is_string() && hook.event["data"]["claims"].is_null());
        assert_eq!(hook.event["userid"], "ada");
    }
    drop(held);
    server.drain().await;
}

/// Half an hour from now, as the server writes times.
fn later() -> String {
    wire::cloudevent::timestamp((now_s() + 1800) * 1000)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_a_connection_ends_when_its_time_is_over() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.refresh" => Act::Answer(500, String::new()),
        kind => answer(kind),
    })
    .await;
    let server = start(back_end.address, TYPES).await;
    script(&server, |address| {
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let mut events = WebSocket::try_connect(address, "/ws?channel=a/x", &subprotocol).unwrap();
        events.next_text();
        assert_eq!(events.next(), Said::Closed(Some(4001)));
    })
    .await;
    assert_eq!(back_end.of("session.refresh").len(), 1);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_with_tokens_are_asked_about_by_their_ids_and_may_be_sent_away() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.refresh" => yes(json!({ "disconnect": { "code": 4500, "reason": "that is all" } })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start_with_tokens(back_end.address, "types = [\"session.refresh\"]\n").await;
    // Over for 26 s, of 30 that clocks may differ.
    let token = token(&json!({ "sub": "bob", "jti": "t1", "exp": now_s() - 26 }).to_string());
    let said = script(&server, move |address| {
        let opening = Opening { user: Some("any"), password: Some(token.as_bytes()), ..OPENING };
        let mut client = Mqtt::open(address, &opening);
        assert_eq!(client.next(), "CONNACK new 00");
        client.next()
    })
    .await;
    assert_eq!(said, "DISCONNECT 98");
    let asked = back_end.of("session.refresh").remove(0).event;
    assert_eq!((&asked["data"]["claims"], &asked["userid"]), (&json!({ "jti": "t1" }), &json!("bob")));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_may_be_recovered_is_asked_about_again_when_its_time_is_over() {
    let first = AtomicBool::new(true);
    let back_end = BackEnd::start(move |_| match first.swap(false, Ordering::Relaxed) {
        true => yes(json!({ "result": { "expires_at": now_s() + 2 } })),
        false => Act::Answer(204, String::new()),
    })
    .await;
    let namespace = "[[socketio.namespace]]\nname = \"/\"\nrecovery = \"always\"\n";
    let server = start(back_end.address, namespace).await;
    script(&server, |address| {
        let mut client = Recovering::new(address);
        client.socket.until_closed();
        assert!(!client.back(address).1, "another one, which the back end was asked about");
        client.socket.text("42[\"stay\"]");
    })
    .await;
    until("it stays", || back_end.of("session.event").len() == 1).await;
    assert_eq!(back_end.of("session.connect").len(), 2);
    server.drain().await;
}
