//! `PATCH /v1/sessions/{id}`: a session becomes another user's, whatever its client speaks.

use load::mqtt::{Connection, Qos, Retained};
use serde_json::{Value, json};
use trunkline::Server;

use super::support::client::{WebSocket, field};
use super::support::stream::Stream;
use super::support::token::token_for;
use super::support::whole::publisher::{next, text};
use super::support::whole::rest::ask;
use super::support::whole::until::{PATIENCE, until};
use super::{goodbye, mqtt, socket, stream_socket, with_tokens};

fn token_of(user: &str) -> String {
    token_for(user, r#""a/#","tips","in/{user}""#, r#""subscribe","publish""#, "")
}

fn item(server: &Server, id: &str) -> Value {
    ask(server, "GET", &format!("/v1/sessions/{id}"), None).1
}

/// What it is subscribed to, in order.
fn subscriptions(item: &Value) -> Vec<String> {
    let names = item["subscriptions"].as_array().unwrap_or_else(|| panic!("{item}"));
    let mut names: Vec<String> = names.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    names
}

/// The session of the only client that speaks so.
fn session(server: &Server, protocol: &str) -> String {
    let target = format!("/v1/sessions?protocol={protocol}");
    until("the session", || {
        let page = ask(server, "GET", &target, None).1;
        page["items"][0]["id"].as_str().map(str::to_owned)
    })
}

fn give(server: &Server, id: &str, user: impl Into<Value>) -> (u16, Value) {
    ask(server, "PATCH", &format!("/v1/sessions/{id}"), Some(json!({ "user": user.into() })))
}

fn code(answer: (u16, Value)) -> (u16, String) {
    (answer.0, answer.1["code"].as_str().unwrap_or_default().to_owned())
}

fn publish(server: &Server, channel: &str) {
    let body = json!({ "channel": channel, "data": channel });
    assert_eq!(ask(server, "POST", "/v1/messages", Some(body)).0, 200);
}

/// `both` is stored of both, and `tips` of Bob, whose clients ask for it themselves, too.
async fn with_stored(settings: &[(&str, &str)]) -> Server {
    let server = with_tokens(settings).await;
    for (user, channel) in
        [("bob", "news"), ("bob", "both"), ("bob", "tips"), ("ann", "both"), ("ann", "tea")]
    {
        let target = format!("/v1/users/{user}/subscriptions");
        assert_eq!(ask(&server, "PUT", &target, Some(json!({ "channel": channel }))).0, 204);
    }
    server
}

fn subscribe(client: &mut Connection, filters: &[&str]) {
    let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
    client.subscribe(&filters, (Qos::AtLeastOnce, Retained::Unwanted), PATIENCE).unwrap();
}

fn wish(socket: &mut WebSocket, channel: &str) {
    let event = json!({"specversion": "1.0", "id": "q", "source": "/test", "subject": channel,
        "type": "trunkline.channel.subscribe"});
    socket.text(&event.to_string());
    assert_eq!(hear(socket)["type"], "trunkline.channel.subscribed");
}

fn hear(socket: &mut WebSocket) -> Value {
    serde_json::from_str(&socket.next_text()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_mqtt_has_what_its_new_user_has_and_what_it_asked_for_and_may() {
    let server = with_stored(&[]).await;
    let mut client = mqtt(&server, "c1", &token_of("bob"));
    subscribe(&mut client, &["a/1", "in/bob", "tips"]);
    let id = session(&server, "mqtt");
    let before = ["$user/bob", "a/1", "both", "in/bob", "news", "tips"];
    assert_eq!(subscriptions(&item(&server, &id)), before);
    let (status, changed) = give(&server, &id, "ann");
    assert_eq!((status, &changed["user"]), (200, &json!("ann")));
    let after = ["$user/ann", "a/1", "both", "tea", "tips"];
    until("what it may not is gone", || (subscriptions(&item(&server, &id)) == after).then_some(()));
    for channel in ["$user/bob", "news", "in/bob", "$user/ann", "tea", "a/1"] {
        publish(&server, channel);
    }
    for channel in ["$user/ann", "tea", "a/1"] {
        assert_eq!(text(next(&mut client)), format!("\"{channel}\""));
    }
    // What it may is what Ann may.
    let refused = client.subscribe(&["in/bob".to_owned()], (Qos::AtLeastOnce, Retained::Unwanted), PATIENCE);
    assert!(refused.is_err());
    let mut client = mqtt(&server, "c1", &token_of("ann"));
    subscribe(&mut client, &["in/ann"]);
    assert_eq!(session(&server, "mqtt"), id, "it is Ann's when it comes back");
    let of = |user: &str| ask(&server, "GET", &format!("/v1/sessions?user={user}"), None).1["items"].clone();
    assert_eq!((of("bob"), &of("ann")[0]["id"]), (json!([]), &json!(id)));
    assert_eq!(give(&server, &id, Value::Null).0, 200);
    let nobodys = item(&server, &id);
    assert!(nobodys.get("user").is_none_or(Value::is_null), "{nobodys}");
    until("only wishes are left", || (subscriptions(&item(&server, &id)) == ["a/1", "tips"]).then_some(()));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_without_a_connection_is_another_users_when_its_client_comes_back() {
    let server = with_stored(&[]).await;
    let mut client = mqtt(&server, "c1", &token_of("bob"));
    subscribe(&mut client, &["a/1"]);
    let id = session(&server, "mqtt");
    drop(client);
    until("it is gone", || (item(&server, &id)["connected"] == json!(false)).then_some(()));
    let target = format!("/v1/sessions/{id}");
    for body in [json!({ "user": "ann", "permissions": null }), json!({ "user": "ann", "state": "x" })] {
        assert_eq!(code(ask(&server, "PATCH", &target, Some(body))), (409, "conflict".into()));
        assert_eq!(item(&server, &id)["user"], "bob", "nothing of it was done");
    }
    let (status, changed) = give(&server, &id, "ann");
    assert_eq!((status, &changed["user"], &changed["connected"]), (200, &json!("ann"), &json!(false)));
    assert_eq!(subscriptions(&changed), ["$user/ann", "a/1", "both", "tea"]);
    publish(&server, "tea");
    let mut client = mqtt(&server, "c1", &token_of("ann"));
    assert_eq!(text(next(&mut client)), "\"tea\"", "it waited");
    assert_eq!(session(&server, "mqtt"), id);
    drop(client);
    // Somebody else under that name gets a session of its own.
    let _client = mqtt(&server, "c1", &token_of("bob"));
    let other = session(&server, "mqtt");
    assert!(other != id && subscriptions(&item(&server, &other)) == ["$user/bob", "both", "news", "tips"]);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_streams_have_what_their_new_user_has_or_what_they_named() {
    let server = with_stored(&[]).await;
    let address = server.public_addr();
    let mut events = stream_socket(address, &token_of("bob"));
    for channel in ["a/1", "in/bob", "tips"] {
        wish(&mut events, channel);
    }
    let id = session(&server, "websocket");
    let (status, changed) = give(&server, &id, "ann");
    assert_eq!((status, &changed["user"]), (200, &json!("ann")));
    let told = hear(&mut events);
    assert_eq!(
        (&told["type"], &told["subject"]),
        (&json!("trunkline.channel.unsubscribed"), &json!("in/bob"))
    );
    until("what it may not is gone", || {
        (subscriptions(&item(&server, &id)) == ["$user/ann", "a/1", "both", "tea", "tips"]).then_some(())
    });
    for channel in ["news", "$user/bob", "tea", "$user/ann"] {
        publish(&server, channel);
    }
    assert_eq!(hear(&mut events)["subject"], "tea");
    assert_eq!(hear(&mut events)["subject"], "$user/ann");

    let bearer = format!("Bearer {}", token_of("bob"));
    let target = "/sse?channel=a/1&channel=in/bob&envelope=1";
    let mut sse = Stream::get(address, target, &[("authorization", &bearer)]);
    let id = session(&server, "sse");
    assert_eq!(give(&server, &id, "ann").0, 200);
    until("it has what it named and may", || {
        (subscriptions(&item(&server, &id)) == ["$user/ann", "a/1"]).then_some(())
    });
    publish(&server, "in/bob");
    publish(&server, "a/1");
    assert_eq!(sse.message().json()["channel"], "a/1");
    let mut own = Stream::get(address, "/ndjson", &[("authorization", &bearer)]);
    let id = session(&server, "ndjson");
    assert_eq!(subscriptions(&item(&server, &id)), ["$user/bob", "both", "news", "tips"]);
    assert_eq!(subscriptions(&give(&server, &id, "ann").1), ["$user/ann", "both", "tea"]);
    publish(&server, "news");
    publish(&server, "tea");
    let tea = until("a message", || own.line().filter(|line| line.get("channel").is_some()));
    assert_eq!(tea["channel"], "tea");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_socketio_hears_what_its_new_user_hears() {
    let server = with_stored(&[]).await;
    let (mut socketio, said) = socket(server.public_addr(), &token_of("bob"));
    let id = field(&said, "sid").unwrap();
    let room = json!({ "session": id, "channel": "room" });
    assert_eq!(ask(&server, "PUT", "/v1/subscriptions", Some(room)).0, 200);
    let changed = give(&server, &id, "ann").1;
    let has = subscriptions(&changed);
    assert_eq!(has, ["$user/ann", "both", "main", "room", "tea"]);
    for channel in ["news", "$user/bob", "tea", "$user/ann", "room"] {
        publish(&server, channel);
    }
    for channel in ["tea", "$user/ann", "room"] {
        assert!(socketio.next_text().contains(channel), "{channel}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_have_a_session_does_not_get_one() {
    let server = with_tokens(&[("users.max_sessions", "1"), ("users.when_full", "refuse")]).await;
    let client = mqtt(&server, "c1", &token_of("bob"));
    let id = session(&server, "mqtt");
    for user in [json!(""), json!("x".repeat(1025)), json!(5)] {
        assert_eq!(give(&server, &id, user).0, 400);
    }
    assert_eq!(code(give(&server, "AAAAAAAAAAAAAAAAAAAA", "ann")), (404, "not-found".into()));
    let other = mqtt(&server, "c2", &token_of("ann"));
    assert_eq!(code(give(&server, &id, "ann")), (409, "conflict".into()));
    assert_eq!(item(&server, &id)["user"], "bob");
    drop(other);
    // One without a connection makes way.
    until("it goes", || (give(&server, &id, "ann").0 == 200).then_some(()));
    assert_eq!(ask(&server, "GET", "/v1/sessions?client_id=c2", None).1["items"], json!([]));
    assert_eq!(ask(&server, "PUT", "/v1/blocks/eve", Some(json!({}))).0, 204);
    assert_eq!(code(give(&server, &id, "eve")), (409, "conflict".into()));
    assert_eq!(item(&server, &id)["user"], "ann");
    drop(client);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_session_of_the_new_user_ends_where_that_is_the_rule() {
    let server = with_tokens(&[("users.max_sessions", "1"), ("users.when_full", "end_oldest")]).await;
    let oldest = mqtt(&server, "c1", &token_of("ann"));
    let _client = mqtt(&server, "c2", &token_of("bob"));
    let target = "/v1/sessions?client_id=c2";
    let id = ask(&server, "GET", target, None).1["items"][0]["id"].as_str().unwrap().to_owned();
    let (status, changed) = give(&server, &id, "ann");
    assert_eq!((status, &changed["user"]), (200, &json!("ann")));
    let told = goodbye(oldest);
    assert_eq!(told, "disconnected by the server: 0x98 Administrative action, the user has a newer session");
    let sessions = ask(&server, "GET", "/v1/users/ann", None).1["sessions"].clone();
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["id"]), (1, &json!(id)));
    server.drain().await;
}
