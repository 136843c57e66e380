//! What clients and back ends publish, copied into queues: what a copy says, when its publisher hears of it, and what becomes of
//! one that cannot be.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

mod support;

use std::time::Duration;

use load::mqtt::{Connection, Login, Qos};
use serde_json::{Value, json};
use store::disk::Fault;
use support::client::{Http, WebSocket, field, get};
use support::recovering::SOCKET;
use support::whole::faults::Switch;
use support::whole::folder::Folder;
use support::whole::publisher::{self, message};
use support::whole::until::PATIENCE;
use trunkline::config::{Config, Machine, SourceFile, Sources};
use trunkline::{OfficeError, Queue, Refusal, Server};

/// A queue for what is published below `orders`, beside what else the file has.
const BOUND: &str = "[[binding]]\nfilter = \"orders/#\"\nqueue = \"orders\"\n[[queue]]\nname = \"orders\"\n";

fn config(text: &str) -> Config {
    let presets = vec![
        ("auth.mode", "anonymous".to_owned()),
        ("server.public_listen", "127.0.0.1:0".to_owned()),
        ("server.private_listen", "127.0.0.1:0".to_owned()),
        ("server.drain_window_ms", "0".to_owned()),
        ("server.shards", "2".to_owned()),
        ("mqtt.sys_interval_seconds", "0".to_owned()),
    ];
    let file = Some(SourceFile { name: "test".to_owned(), text: text.to_owned() });
    let machine = Machine { cores: 2, open_files_max: 10_000 };
    Config::load(&Sources { presets, file, ..Sources::default() }, machine).unwrap().config
}

async fn start(text: &str) -> (Server, Queue) {
    let server = Server::start(config(text)).await.unwrap();
    let queue = server.handle().queue("orders").unwrap();
    (server, queue)
}

/// The events in a queue, each of which is taken out; waits for the first.
async fn events(queue: &Queue) -> Vec<Value> {
    let got = queue.receive(100, Duration::from_secs(20)).await.unwrap();
    queue.delete_batch(got.iter().map(|message| message.receipt)).await.unwrap();
    got.iter().map(|message| serde_json::from_str(&message.body).unwrap()).collect()
}

fn client(server: &Server) -> Connection {
    publisher::client(server, "")
}

fn client_of(server: &Server, user: &str) -> Connection {
    let (user, password) = (Some(user.to_owned()), Some("pencil".to_owned()));
    publisher::connect(server, Login { user, password, ..publisher::login("") })
}

/// One number of `/metrics`, added up over shards.
fn metric(server: &Server, name: &str) -> u64 {
    let answer = get(server.private_addr(), "/metrics");
    let lines = answer.text().lines().filter_map(|line| line.strip_prefix(&format!("{name}{{shard=")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_publishes_is_in_the_queue_when_it_is_told_so() {
    let (server, queue) = start(BOUND).await;
    for number in 0..20 {
        let channel = server.handle().channel(&format!("orders/{number}")).unwrap();
        channel.emit("placed", json!([{ "number": number }])).await.unwrap();
        let got = queue.receive(10, Duration::ZERO).await.unwrap();
        assert_eq!(got.len(), 1, "it is there already");
        let event: Value = serde_json::from_str(&got[0].body).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["type"], "trunkline.channel.message");
        assert_eq!(event["source"], "/channels");
        assert_eq!(event["subject"], format!("orders/{number}"));
        assert_eq!(event["event"], "placed");
        assert_eq!(event["data"], json!({ "number": number }));
        assert_eq!(event["sessionid"], Value::Null);
        queue.delete(got[0].receipt).await.unwrap();
    }
    server.handle().channel("other").unwrap().emit("placed", json!([1])).await.unwrap();
    assert!(queue.receive(10, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(metric(&server, "trunkline_queue_copies_total"), 20);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_mqtt_is_its_payload() {
    let (server, queue) = start(BOUND).await;
    let mut publisher = client(&server);
    for (payload, qos) in [
        (&b"{\"a\": 1}"[..], Qos::AtLeastOnce),
        (b"tea", Qos::ExactlyOnce),
        (&[255, 0], Qos::AtLeastOnce),
        (b"late", Qos::AtMostOnce),
    ] {
        publisher.publish(&message("orders/7", payload, qos)).unwrap();
        publisher.wait_published(0, PATIENCE).unwrap();
        let event = events(&queue).await.remove(0);
        assert_eq!(event["subject"], "orders/7");
        assert_eq!(event["sessionid"].as_str().map(str::len), Some(20), "{event}");
        assert_eq!(event["event"], Value::Null);
        match payload {
            b"tea" | b"late" => {
                assert_eq!(event["data"], String::from_utf8_lossy(payload).as_ref());
                assert_eq!(event["datacontenttype"], "text/plain; charset=utf-8");
            }
            [255, 0] => assert_eq!(event["data_base64"], "/wA="),
            _ => assert_eq!(event["data"], json!({ "a": 1 })),
        }
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_union_is_copied_once_and_only_events_that_are_asked_for() {
    let text = format!("{BOUND}[[binding]]\nfilter = \"#\"\nevents = [\"alarm\"]\nqueue = \"orders\"\n");
    let (server, queue) = start(&text).await;
    let emit = server.handle().of("/").to("orders/1").to("orders/2").to("x");
    emit.clone().emit("placed", json!([1])).await.unwrap();
    assert_eq!(events(&queue).await.len(), 1);
    emit.emit("alarm", json!([2])).await.unwrap();
    let got = events(&queue).await;
    assert_eq!(got.len(), 2, "one for each binding");
    assert!(got.iter().all(|event| event["subject"] == "orders/1"), "{got:?}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_clients_are_acknowledged_when_they_are_in_the_queue() {
    let text = "[[socketio.namespace]]\nname = \"/\"\nevents = \"queue\"\nqueue = \"orders.fifo\"\n\
                [[queue]]\nname = \"orders.fifo\"\nmessage_bytes_max = 1024\n";
    let server = Server::start(config(text)).await.unwrap();
    let queue = server.handle().queue("orders.fifo").unwrap();
    let address = server.public_addr();
    let talk = tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        let id = field(&socket.next_text(), "sid").unwrap();
        for number in 0..5 {
            socket.text(&format!("42{number}[\"order\",{{\"number\":{number}}},true]"));
        }
        let acks: Vec<String> = (0..5).map(|_| socket.next_text()).collect();
        // Too large: never acknowledged. And one that wants no answer.
        socket.text(&format!("429[\"order\",\"{}\"]", "x".repeat(1024)));
        socket.text("42[\"bye\"]");
        (id, acks, socket)
    });
    let (id, acks, socket) = talk.await.unwrap();
    assert_eq!(acks, ["430[]", "431[]", "432[]", "433[]", "434[]"]);
    let mut got = Vec::new();
    while got.len() < 6 {
        got.extend(events(&queue).await);
    }
    for (number, event) in got[..5].iter().enumerate() {
        assert_eq!(event["type"], "trunkline.session.event");
        assert_eq!((&event["event"], &event["protocol"]), (&json!("order"), &json!("socketio")));
        assert_eq!((&event["sessionid"], &event["namespace"]), (&json!(id), &json!("/")));
        assert_eq!(event["source"], format!("/sessions/{id}"));
        assert_eq!(event["data"], json!([{ "number": number }, true]));
    }
    assert_eq!(got[5]["event"], "bye");
    assert_eq!(metric(&server, "trunkline_queue_copies_failed_total"), 1);
    // What a worker does: it answers by the session that the event names.
    let answer = server.handle().channel(&format!("$client/{id}")).unwrap();
    answer.emit("accepted", json!([1])).await.unwrap();
    let heard = tokio::task::spawn_blocking(move || {
        let mut socket = socket;
        socket.next_text()
    });
    assert_eq!(heard.await.unwrap(), "42[\"accepted\",1]");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_event_is_in_the_queue_when_it_is_acknowledged() {
    let text = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\n\
                [[binding]]\nfilter = \"main\"\nqueue = \"orders\"\n[[queue]]\nname = \"orders\"\n";
    let (server, queue) = start(text).await;
    let address = server.public_addr();
    let talk = tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        socket.text("40");
        let id = field(&socket.next_text(), "sid").unwrap();
        socket.text("427[\"say\",\"hi\"]");
        (id, socket.next_text())
    });
    let (id, ack) = talk.await.unwrap();
    assert_eq!(ack, "437[]");
    let got = queue.receive(10, Duration::ZERO).await.unwrap();
    let event: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!((&event["event"], &event["data"]), (&json!("say"), &json!(["hi"])));
    assert_eq!((&event["subject"], &event["sessionid"]), (&json!("main"), &json!(id)));
    assert_eq!(event["protocol"], "socketio");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_channels_sessions_or_users() {
    let text = "[[binding]]\nfilter = \"orders/#\"\nqueue = \"by-channel.fifo\"\n\
                [[binding]]\nfilter = \"orders/#\"\nqueue = \"by-session.fifo\"\ngroup = \"session\"\n\
                [[binding]]\nfilter = \"orders/#\"\nqueue = \"by-user.fifo\"\ngroup = \"user\"\n\
                [[queue]]\nname = \"by-channel.fifo\"\n[[queue]]\nname = \"by-session.fifo\"\n\
                [[queue]]\nname = \"by-user.fifo\"\n[[mqtt.user]]\nname = \"ann\"\npassword = \"pencil\"\n";
    let server = Server::start(config(text)).await.unwrap();
    let mut publisher = client_of(&server, "ann");
    publisher.publish(&message("orders/7 a", b"1", Qos::AtLeastOnce)).unwrap();
    publisher.wait_published(0, PATIENCE).unwrap();
    for name in ["by-channel.fifo", "by-session.fifo", "by-user.fifo"] {
        let queue = server.handle().queue(name).unwrap();
        let got = queue.receive(10, Duration::from_secs(20)).await.unwrap().remove(0);
        let event: Value = serde_json::from_str(&got.body).unwrap();
        let group = got.group.unwrap();
        match name {
            "by-channel.fifo" => {
                assert_eq!((group.as_str(), &event["partitionkey"]), ("orders/7%20a", &json!("orders/7 a")));
            }
            "by-session.fifo" => assert_eq!(json!(group), event["sessionid"]),
            _ => assert_eq!((group.as_str(), &event["userid"]), ("ann", &json!("ann"))),
        }
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_copied_is_counted_and_a_full_server_refuses() {
    let text = "[[binding]]\nfilter = \"orders/#\"\nqueue = \"orders\"\n\
                [[queue]]\nname = \"orders\"\nmessage_bytes_max = 1024\n[sqs]\nmessages_max = 1\n";
    let (server, queue) = start(text).await;
    let emit = || server.handle().channel("orders/1").unwrap();
    emit().emit("placed", json!(["x".repeat(1024)])).await.unwrap();
    assert!(queue.receive(10, Duration::ZERO).await.unwrap().is_empty());
    assert_eq!(metric(&server, "trunkline_queue_copies_failed_total"), 1);
    emit().emit("placed", json!([1])).await.unwrap();
    let full = emit().emit("placed", json!([2])).await.unwrap_err();
    assert_eq!(full, OfficeError::Refused(Refusal::OverLimit));
    queue.delete_queue().await.unwrap();
    let gone = emit().emit("placed", json!([3])).await.unwrap_err();
    assert_eq!(gone, OfficeError::Refused(Refusal::OverLimit));
    assert_eq!(metric(&server, "trunkline_queue_copies_failed_total"), 3);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_its_copy_is_safe() {
    let folder = Folder::new("bound");
    let text = format!("{BOUND}[store]\ndir = {:?}\n", folder.store());
    let (switch, tries) = Switch::new();
    let server = Server::start_with_faults(config(&text), switch.clone()).await.unwrap();
    let mut publisher = client(&server);
    switch.set(Some(Fault::Full));
    publisher.publish(&message("orders/1", b"1", Qos::AtLeastOnce)).unwrap();
    publisher.publish(&message("orders/2", b"2", Qos::ExactlyOnce)).unwrap();
    let told = server.handle().channel("orders/3").unwrap().emit("placed", json!([3])).await;
    assert_eq!(told.unwrap_err(), OfficeError::Uncertain);
    // Tried, and tried again.
    (0..4).for_each(|_| tries.recv_timeout(PATIENCE).unwrap());
    publisher.settle(PATIENCE).unwrap();
    assert_eq!(publisher.on_their_way(), 2);
    switch.set(None);
    publisher.wait_published(0, PATIENCE).unwrap();
    server.drain().await;

    let (server, queue) = start(&text).await;
    let mut got = events(&queue).await;
    got.sort_by_key(|event| event["subject"].as_str().map(str::to_owned));
    let said: Vec<&Value> = got.iter().map(|event| &event["data"]).collect();
    assert_eq!(said, [&json!(1), &json!(2), &json!(3)]);
    server.drain().await;
}

/// Status and body of a request to the private port.
fn ask(server: &Server, method: &str, target: &str, body: &Value) -> (u16, Value) {
    let mut http = Http::connect(server.private_addr());
    let headers = [("content-type", "application/json")];
    http.send(method, target, &headers, Some(body.to_string().as_bytes()));
    let answer = http.answer();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_is_made_by_rest_copies_from_then_on() {
    let (server, queue) = start(BOUND).await;
    let publish = |channel: &str, event: &str| {
        let message = json!({ "channel": channel, "event": event, "data": channel });
        assert_eq!(ask(&server, "POST", "/v1/messages", &message).0, 200);
    };
    publish("tea/1", "placed");
    let tea = json!({ "filter": "tea/#", "queue": "orders", "events": ["placed"] });
    assert_eq!(ask(&server, "PUT", "/v1/bindings/tea", &tea).0, 204);
    publish("tea/2", "placed");
    publish("tea/3", "drunk");
    publish("orders/4", "placed");
    let mut found: Vec<Value> = Vec::new();
    while found.len() < 2 {
        found.extend(events(&queue).await.iter().map(|event| event["subject"].clone()));
    }
    found.sort_by_key(ToString::to_string);
    assert_eq!(found, ["orders/4", "tea/2"]);
    let (_, page) = ask(&server, "GET", "/v1/bindings", &json!(null));
    assert_eq!(page["items"][0]["name"], "file.0");
    let shown = json!({ "name": "tea", "origin": "rest", "filter": "tea/#", "queue": "orders", "events": ["placed"], "group": "channel" });
    assert_eq!(page["items"][1], shown);
    assert_eq!(ask(&server, "GET", "/v1/bindings/tea", &json!(null)), (200, shown));
    // A client is known by its user also where the configuration binds nothing that it publishes.
    let all = json!({ "filter": "tea/#", "queue": "orders", "group": "session" });
    assert_eq!(ask(&server, "PUT", "/v1/bindings/tea", &all).0, 204);
    let mut drinker = client(&server);
    drinker.publish(&message("tea/5", b"hot", Qos::AtLeastOnce)).unwrap();
    drinker.wait_published(0, PATIENCE).unwrap();
    let event = events(&queue).await.remove(0);
    assert_eq!((&event["subject"], event["sessionid"].is_string()), (&json!("tea/5"), true), "{event}");
    for (name, body, status) in [
        ("file.0", &tea, 403),
        ("a.b", &tea, 400),
        ("a", &json!({ "filter": "tea/#/x", "queue": "orders" }), 422),
        ("a", &json!({ "filter": "tea", "queue": "coffee" }), 404),
        ("a", &json!({ "filter": "tea" }), 400),
    ] {
        assert_eq!(ask(&server, "PUT", &format!("/v1/bindings/{name}"), body).0, status, "{name} {body}");
    }
    assert_eq!(ask(&server, "DELETE", "/v1/bindings/file.0", &json!(null)).0, 403);
    assert_eq!(ask(&server, "DELETE", "/v1/bindings/tea", &json!(null)).0, 204);
    assert_eq!(ask(&server, "DELETE", "/v1/bindings/tea", &json!(null)).0, 404);
    publish("tea/6", "placed");
    publish("orders/7", "placed");
    assert_eq!(events(&queue).await.remove(0)["subject"], "orders/7");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_was_made_by_rest_outlives_the_process_with_a_store() {
    let folder = Folder::new("bound-by-rest");
    let text = format!("[[queue]]\nname = \"orders\"\n[store]\ndir = {:?}\n", folder.store());
    let (server, _) = start(&text).await;
    let tea = json!({ "filter": "tea/#", "queue": "orders" });
    assert_eq!(ask(&server, "PUT", "/v1/bindings/tea", &tea).0, 204);
    assert_eq!(ask(&server, "PUT", "/v1/bindings/gone", &tea).0, 204);
    assert_eq!(ask(&server, "DELETE", "/v1/bindings/gone", &json!(null)).0, 204);
    server.drain().await;
    let (server, queue) = start(&text).await;
    let (_, page) = ask(&server, "GET", "/v1/bindings", &json!(null));
    assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    server.handle().channel("tea/1").unwrap().emit("placed", json!([1])).await.unwrap();
    assert_eq!(events(&queue).await.len(), 1, "once");
    server.drain().await;
}
