//! `PATCH /v1/sessions/{id}`: what a client may do and until when, while it is connected.

use load::mqtt::{Qos, Retained};
use serde_json::{Value, json};
use trunkline::Server;

use super::support::client::{Said, WebSocket};
use super::support::stream::Stream;
use super::support::token::{now_s, token, token_for};
use super::support::whole::publisher::{next, text};
use super::support::whole::rest::ask;
use super::support::whole::until::{PATIENCE, until};
use super::{goodbye, mqtt, socket, stream_socket, with_tokens};

fn may_all() -> String {
    token_for("u1", r##""#""##, r#""subscribe","publish""#, "")
}

/// The session of the only client that speaks so.
fn session(server: &Server, protocol: &str) -> String {
    let target = format!("/v1/sessions?protocol={protocol}");
    until("the session", || {
        let page = ask(server, "GET", &target, None).1;
        page["items"][0]["id"].as_str().map(str::to_owned)
    })
}

fn patch(server: &Server, id: &str, body: Value) -> (u16, Value) {
    ask(server, "PATCH", &format!("/v1/sessions/{id}"), Some(body))
}

fn only(filter: &str) -> Value {
    json!({ "permissions": [{ "filters": [filter], "allow": ["subscribe", "publish"] }] })
}

fn publish(server: &Server, channel: &str) {
    let body = json!({ "channel": channel, "data": channel });
    assert_eq!(ask(server, "POST", "/v1/messages", Some(body)).0, 200);
}

/// Says something in `/ws` and gives what comes next.
fn say(socket: &mut WebSocket, kind: &str, channel: &str) -> Value {
    let event = json!({"specversion": "1.0", "id": "q", "source": "/test", "subject": channel,
        "type": format!("trunkline.channel.{kind}"), "data": "x"});
    socket.text(&event.to_string());
    hear(socket)
}

fn hear(socket: &mut WebSocket) -> Value {
    serde_json::from_str(&socket.next_text()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_a_permission_ends_the_subscriptions_that_it_granted() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let bearer = format!("Bearer {}", may_all());

    let mut client = mqtt(&server, "c1", &may_all());
    client
        .subscribe(&["a/x".to_owned(), "b/x".to_owned()], (Qos::AtLeastOnce, Retained::Unwanted), PATIENCE)
        .unwrap();
    let mqtt_id = session(&server, "mqtt");
    let (status, changed) = patch(&server, &mqtt_id, only("b/#"));
    assert_eq!((status, &changed["subscriptions"]), (200, &json!(["$user/u1", "b/x"])));

    let mut events = stream_socket(address, &may_all());
    for channel in ["a/x", "b/x"] {
        assert_eq!(say(&mut events, "subscribe", channel)["type"], "trunkline.channel.subscribed");
    }
    let (status, changed) = patch(&server, &session(&server, "websocket"), only("b/#"));
    assert_eq!((status, &changed["subscriptions"]), (200, &json!(["$user/u1", "b/x"])));
    let told = hear(&mut events);
    assert_eq!((&told["type"], &told["subject"]), (&json!("trunkline.channel.unsubscribed"), &json!("a/x")));
    assert_eq!(say(&mut events, "publish", "a/y")["data"]["code"], "forbidden");

    let mut sse =
        Stream::get(address, "/sse?channel=a/x&channel=b/x&envelope=1", &[("authorization", &bearer)]);
    let (status, changed) = patch(&server, &session(&server, "sse"), only("b/#"));
    assert_eq!((status, &changed["subscriptions"]), (200, &json!(["$user/u1", "b/x"])));

    publish(&server, "a/x");
    publish(&server, "b/x");
    assert_eq!(text(next(&mut client)), "\"b/x\"");
    assert_eq!(hear(&mut events)["subject"], "b/x");
    assert_eq!(sse.message().json()["channel"], "b/x");
    // What it may do again it has to ask for again.
    assert_eq!(patch(&server, &mqtt_id, json!({ "permissions": null })).0, 200);
    assert_eq!(
        ask(&server, "GET", &format!("/v1/sessions/{mqtt_id}"), None).1["subscriptions"],
        json!(["$user/u1"])
    );
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_socketio_publishes_what_it_may_now() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let (mut one, said) = socket(address, &may_all());
    let id = super::support::client::field(&said, "sid").unwrap();
    let (mut other, _) = socket(address, &may_all());
    one.text("42[\"say\",1]");
    assert_eq!(other.next_text(), "42[\"say\",1]");
    assert_eq!(patch(&server, &id, only("nothing")).0, 200);
    one.text("42[\"say\",2]");
    assert_eq!(patch(&server, &id, only("main")).0, 200);
    one.text("42[\"say\",3]");
    let heard = other.next_text();
    assert!(heard == "42[\"say\",3]", "{heard}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_put_forward_closes_the_connection_as_a_token_does() {
    let server = with_tokens(&[]).await;
    let address = server.public_addr();
    let bearer = format!("Bearer {}", may_all());
    let over = |protocol: &str| {
        let (status, _) = patch(&server, &session(&server, protocol), json!({ "expires_at": 1 }));
        assert_eq!(status, 200, "{protocol}");
    };
    let later = "2999-01-01T00:00:00Z";
    let (mut socketio, said) = socket(address, &may_all());
    let id = super::support::client::field(&said, "sid").unwrap();
    let (_, changed) = patch(&server, &id, json!({ "expires_at": later }));
    assert!(
        changed["expires_at"].as_str().unwrap().starts_with("2998-12-31T23:59:5")
            || changed["expires_at"].as_str().unwrap().starts_with("2999-01-01T00:00:0"),
        "{changed}"
    );
    let (_, changed) = patch(&server, &id, json!({ "expires_at": null }));
    assert!(changed.get("expires_at").is_none(), "{changed}");
    over("socketio");
    assert_eq!(socketio.next_text_or_end(), None);
    let client = mqtt(&server, "c1", &may_all());
    over("mqtt");
    assert_eq!(goodbye(client), "disconnected by the server: 0x87 Not authorized");
    // Its session ends with it, and sometimes is gone before anybody can look at it once more.
    for _ in 0..20 {
        let mut events = stream_socket(address, &may_all());
        over("websocket");
        assert_eq!(events.next(), Said::Closed(Some(4001)));
    }
    let mut sse = Stream::get(address, "/sse?channel=a", &[("authorization", &bearer)]);
    over("sse");
    sse.rest();
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_gave_a_client_of_mqtt_stays_whatever_its_token_says() {
    let server = with_tokens(&[]).await;
    let may = |filters: &str| token_for("bob", filters, r#""subscribe","publish""#, "");
    let stored = ask(&server, "PUT", "/v1/users/bob/subscriptions", Some(json!({ "channel": "news" })));
    assert_eq!(stored.0, 204);
    let subscriptions = |id: &str| {
        let target = format!("/v1/sessions/{id}");
        ask(&server, "GET", &target, None).1["subscriptions"].clone()
    };
    let mut client = mqtt(&server, "c1", &may(r##""own/#""##));
    let id = session(&server, "mqtt");
    assert_eq!(subscriptions(&id), json!(["$user/bob", "news"]));
    let filters = ["own/1".to_owned(), "own/2".to_owned()];
    client.subscribe(&filters, (Qos::AtLeastOnce, Retained::Unwanted), PATIENCE).unwrap();
    for channel in ["given", "own/2"] {
        let body = json!({ "session": id, "channel": channel });
        assert_eq!(ask(&server, "PUT", "/v1/subscriptions", Some(body)).0, 200);
    }
    // It comes back with a token that allows nothing of all that.
    drop(client);
    let client = mqtt(&server, "c1", &may(r#""other""#));
    let left = json!(["$user/bob", "given", "news", "own/2"]);
    until("its own wish is gone", || (subscriptions(&id) == left).then_some(()));
    drop(client);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_is_said() {
    let server = with_tokens(&[]).await;
    let lasting = format!("{{\"sub\":\"u1\",\"exp\":{}}}", now_s() + 600);
    let client = mqtt(&server, "c1", &token(&lasting));
    let id = session(&server, "mqtt");
    for body in [
        json!({ "expires_at": "soon" }),
        json!({ "expires_at": -1 }),
        json!({ "permissions": [{ "filters": ["a/#/b"], "allow": ["subscribe"] }] }),
        json!({ "permissions": [{ "filters": ["a"], "allow": ["everything"] }] }),
        json!({ "state": "x".repeat(4097) }),
        json!({ "users": "u2" }),
    ] {
        assert_eq!(patch(&server, &id, body.clone()).0, 400, "{body}");
    }
    let none = patch(&server, "AAAAAAAAAAAAAAAAAAAA", json!({ "expires_at": 1 }));
    assert_eq!((none.0, &none.1["code"]), (404, &json!("not-found")));
    let stateless = patch(&server, &id, json!({ "state": "x" }));
    assert_eq!((stateless.0, &stateless.1["code"]), (409, &json!("conflict")));
    assert_eq!(patch(&server, &id, json!({})).0, 200, "nothing is to be changed");
    drop(client);
    let target = format!("/v1/sessions/{id}");
    until("it is gone", || (ask(&server, "GET", &target, None).1["connected"] == json!(false)).then_some(()));
    let away = patch(&server, &id, json!({ "expires_at": 1 }));
    assert_eq!((away.0, &away.1["code"]), (409, &json!("conflict")));
    server.drain().await;
}
