//! Streams in WebSockets: one CloudEvent per text frame, both ways.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::support::client::{Answer, Http, Said, WebSocket};
use super::support::stream::Stream;
use super::support::token::{SECRET, now_s, token, token_for};
use super::{Server, back_end, publish, start};

const SUBPROTOCOL: (&str, &str) = ("sec-websocket-protocol", "cloudevents.json");

fn try_open(address: SocketAddr, target: &str, more: &[(&str, &str)]) -> Result<WebSocket, Box<Answer>> {
    let headers: Vec<(&str, &str)> = std::iter::once(SUBPROTOCOL).chain(more.iter().copied()).collect();
    WebSocket::try_connect(address, target, &headers)
}

/// A client that has been told that its stream has begun; what came before it, too.
fn open(address: SocketAddr, target: &str) -> (WebSocket, Vec<Value>) {
    let mut socket = try_open(address, target, &[]).unwrap_or_else(|answer| panic!("{answer:?}"));
    let mut before = Vec::new();
    loop {
        let event = hear(&mut socket);
        if event["type"] == "trunkline.stream.opened" {
            before.push(event);
            return (socket, before);
        }
        before.push(event);
    }
}

fn hear(socket: &mut WebSocket) -> Value {
    let event: Value = serde_json::from_str(&socket.next_text()).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert!(!event["id"].as_str().unwrap().is_empty() && event["source"].is_string());
    event
}

fn say(socket: &mut WebSocket, id: &str, kind: &str, subject: &str, more: &Value) {
    let mut event = json!({"specversion": "1.0", "id": id, "source": "/test", "subject": subject,
        "type": format!("trunkline.channel.{kind}")});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    socket.text(&event.to_string());
}

/// Says something and gives the answer, which is to come next.
fn ask(socket: &mut WebSocket, kind: &str, subject: &str, more: &Value) -> Value {
    say(socket, "q", kind, subject, more);
    let answer = hear(socket);
    assert_eq!(answer["answers"], "q", "{answer}");
    answer
}

async fn with_tokens(settings: &[(&str, &str)]) -> Server {
    let mut all = vec![("auth.mode", "jwt"), ("auth.jwt.secret", SECRET), ("auth.jwt.cookie", "session")];
    all.extend(settings);
    start(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_comes_as_events_and_events_are_published() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let (mut socket, before) = open(address, "/ws");
    assert_eq!(before[0]["data"], json!({}));
    let subscribed = ask(&mut socket, "subscribe", "log/a", &json!({}));
    assert_eq!(subscribed["type"], "trunkline.channel.subscribed");
    assert!(subscribed["data"]["position"].as_str().unwrap().ends_with("-0"));
    let position = publish(address, "log/a", "{\"a\":1}").unwrap();
    let message = hear(&mut socket);
    let told = ["type", "subject", "source", "position", "sequence", "datacontenttype", "data"];
    let told = told.map(|name| message[name].clone());
    let sequence = "00000000000000000001";
    let wanted = ["trunkline.channel.message", "log/a", "/channels", &position, sequence, "application/json"];
    assert_eq!(told[..6], wanted);
    assert_eq!(told[6], json!({"a": 1}));
    // Its own way round: the answer may come before or after the message.
    let more = json!({"event": "say", "data": [2]});
    say(&mut socket, "p1", "publish", "log/a", &more);
    let mut events = [hear(&mut socket), hear(&mut socket)];
    events.sort_by_key(|event| event["type"].to_string());
    let [message, published] = events;
    assert_eq!(
        (&published["type"], &published["answers"]),
        (&json!("trunkline.channel.published"), &json!("p1"))
    );
    assert_eq!(published["data"], json!({"id": message["id"], "position": message["position"]}));
    assert_eq!((&message["event"], &message["data"]), (&json!("say"), &json!([2])));
    // An event of its own, text and bytes.
    for (more, data, base64) in [
        (json!({"datacontenttype": "text/csv", "data": "a;b"}), json!("a;b"), Value::Null),
        (json!({"datacontenttype": "image/png", "data_base64": "AP8="}), Value::Null, json!("AP8=")),
    ] {
        say(&mut socket, "p2", "publish", "log/a", &more);
        let mut events = [hear(&mut socket), hear(&mut socket)];
        events.sort_by_key(|event| event["type"].to_string());
        assert_eq!(events[0]["datacontenttype"], more["datacontenttype"]);
        assert_eq!((&events[0]["data"], &events[0]["data_base64"]), (&data, &base64));
    }
    let (_, sessions) = back_end(&server, "GET", "/v1/sessions", None);
    let session = &sessions["items"][0];
    assert_eq!((&session["protocol"], &session["transport"]), (&json!("websocket"), &json!("websocket")));
    let left = ask(&mut socket, "unsubscribe", "log/a", &json!({}));
    assert_eq!(left["type"], "trunkline.channel.unsubscribed");
    publish(address, "log/a", "3");
    assert_eq!(ask(&mut socket, "unsubscribe", "log/a", &json!({}))["data"]["code"], "not-found");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_goes_on_where_it_was_in_each_channel() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let places: Vec<String> = (1..=3).map(|n| publish(address, "log/a", &n.to_string()).unwrap()).collect();
    publish(address, "log/b", "4");
    let (mut socket, _) = open(address, "/ws");
    say(&mut socket, "s", "subscribe", "log/a", &json!({"after": places[0]}));
    // Heard when that is done.
    say(&mut socket, "t", "subscribe", "log/b", &json!({"history": 5}));
    let heard: Vec<Value> = (0..5).map(|_| hear(&mut socket)).collect();
    let data: Vec<&Value> = heard.iter().map(|event| &event["data"]).collect();
    assert_eq!((data[0], data[1], data[3]), (&json!(2), &json!(3), &json!(4)));
    assert_eq!(*data[2], json!({"recovered": true, "position": places[2]}));
    assert_eq!((&heard[2]["answers"], &heard[4]["answers"]), (&json!("s"), &json!("t")));
    publish(address, "log/a", "5");
    assert_eq!(hear(&mut socket)["data"], 5);
    // The same by the request: what is missed comes before the stream is told to have begun.
    let (_, before) = open(address, &format!("/ws?channel=log/a&after={}", places[1]));
    let data: Vec<&Value> = before.iter().map(|event| &event["data"]).collect();
    assert_eq!((data[0], data[1], &data[2]["recovered"]), (&json!(3), &json!(5), &json!(true)));
    // What is gone is said, and then the newest come.
    for n in 1..=5 {
        publish(address, "few/a", &n.to_string());
    }
    let first = format!("{}-1", publish(address, "few/a", "6").unwrap().split_once('-').unwrap().0);
    say(&mut socket, "u", "subscribe", "few/a", &json!({"after": first, "history": 1}));
    let (lost, newest, subscribed) = (hear(&mut socket), hear(&mut socket), hear(&mut socket));
    assert_eq!((&lost["type"], &lost["subject"]), (&json!("trunkline.channel.lost"), &json!("few/a")));
    assert_eq!((&lost["data"]["recovered"], &newest["data"]), (&json!(false), &json!(6)));
    assert_eq!((&subscribed["answers"], subscribed["data"].get("recovered")), (&json!("u"), None));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_retains_comes_first_for_whoever_wants_it() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let value = json!({"channel": "log/r", "data": "kept", "retain": true});
    assert_eq!(back_end(&server, "POST", "/v1/messages", Some(&value)).0, 200);
    publish(address, "log/r", "2");
    let (mut socket, _) = open(address, "/ws");
    say(&mut socket, "s", "subscribe", "log/r", &json!({"retained": true}));
    let (retained, subscribed) = (hear(&mut socket), hear(&mut socket));
    assert_eq!((&retained["data"], retained.get("position")), (&json!("kept"), None));
    assert!(subscribed["data"]["position"].as_str().unwrap().ends_with("-2"));
    say(&mut socket, "t", "subscribe", "log/#", &json!({"retained": true}));
    assert_eq!(hear(&mut socket)["data"]["code"], "invalid-channel");
    let mut stream = Stream::get(address, "/sse?channel=log/r&history=5&retained=1", &[]);
    let heard: Vec<String> = (0..3).map(|_| stream.message().data).collect();
    assert_eq!(heard, ["\"kept\"", "\"kept\"", "2"], "it is in the history, too");
    assert_eq!(Http::connect(address).get("/sse?channel=log/%23&retained=1").status, 422);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_between_what_is_kept_and_what_comes() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let writer = std::thread::spawn(move || {
        for n in 0..90 {
            publish(address, "log/race", &n.to_string());
        }
    });
    for _ in 0..10 {
        let (mut socket, _) = open(address, "/ws?channel=log/other");
        say(&mut socket, "s", "subscribe", "log/race", &json!({"history": 100}));
        let mut next = 0;
        let mut is_subscribed = false;
        while !is_subscribed || next == 0 {
            let event = hear(&mut socket);
            if event["type"] == "trunkline.channel.message" {
                assert_eq!(event["data"], next, "none is missing and none comes twice");
                next += 1;
            } else {
                is_subscribed = true;
            }
            if is_subscribed && next == 0 {
                break;
            }
        }
    }
    writer.join().unwrap();
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_told_and_the_connection_stays() {
    let settings = [
        ("limits.stream_channels_max", "2"),
        ("limits.message_bytes_max", "2000"),
        ("socketio.max_payload_bytes", "1000"),
    ];
    let server = start(&settings).await;
    let (mut socket, _) = open(server.public_addr(), "/ws?channel=a");
    for (kind, subject, more, code) in [
        ("subscribe", "a/#/b", json!({}), "invalid-filter"),
        ("subscribe", "$user/7", json!({}), "reserved-channel"),
        ("subscribe", "b", json!({"after": "soon"}), "malformed"),
        ("publish", "a/+", json!({"data": 1}), "invalid-channel"),
        ("publish", "$user/7", json!({"data": 1}), "reserved-channel"),
        ("publish", "a", json!({"event": "", "data": 1}), "malformed"),
        ("publish", "a", json!({"data": "x".repeat(2000)}), "too-large"),
        ("leave", "a", json!({}), "malformed"),
    ] {
        let answer = ask(&mut socket, kind, subject, &more);
        assert_eq!(
            (&answer["type"], &answer["data"]["code"]),
            (&json!("trunkline.refused"), &json!(code)),
            "{kind} {subject}"
        );
        assert!(answer["data"]["status"].as_u64().unwrap() >= 400);
    }
    assert_eq!(ask(&mut socket, "subscribe", "b", &json!({}))["type"], "trunkline.channel.subscribed");
    assert_eq!(
        ask(&mut socket, "subscribe", "b", &json!({}))["type"],
        "trunkline.channel.subscribed",
        "again"
    );
    assert_eq!(ask(&mut socket, "subscribe", "c", &json!({}))["data"]["code"], "over-limit");
    socket.text("hello");
    let answer = hear(&mut socket);
    assert_eq!((&answer["data"]["code"], answer.get("answers")), (&json!("malformed"), None));
    socket.binary(b"{}");
    assert_eq!(socket.next(), Said::Closed(Some(1003)));
    let (mut socket, _) = open(server.public_addr(), "/ws");
    socket.text(&"x".repeat(20_000));
    assert_eq!(socket.until_closed(), Some(1009));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_become_no_websocket_are_answered() {
    let server = start(&[("streams.cors_origins", "https://a.example")]).await;
    let address = server.public_addr();
    let status = |answer: Result<WebSocket, Box<Answer>>| answer.map_or_else(|answer| answer.status, |_| 101);
    assert_eq!(status(WebSocket::try_connect(address, "/ws", &[])), 400, "without the subprotocol");
    assert_eq!(status(try_open(address, "/ws?channel=$user/7", &[])), 403);
    assert_eq!(status(try_open(address, "/ws", &[("origin", "https://b.example")])), 403);
    assert_eq!(status(try_open(address, "/ws", &[("origin", "https://a.example")])), 101);
    assert_eq!(status(try_open(address, "/ws", &[("origin", "https://localhost")])), 101, "its own");
    assert_eq!(Http::connect(address).get("/ws").status, 426);
    server.drain().await;
    let server = start(&[]).await;
    let address = server.public_addr();
    assert_eq!(status(try_open(address, "/ws", &[("origin", "https://b.example")])), 403, "none is listed");
    assert_eq!(status(try_open(address, "/ws", &[("origin", "http://localhost")])), 101);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_say_what_a_client_may_do_and_end_it() {
    let server = with_tokens(&[("auth.jwt.leeway_seconds", "0")]).await;
    let address = server.public_addr();
    let refused = try_open(address, "/ws", &[]).err().unwrap();
    assert_eq!(refused.status, 401);
    let allowed = token_for("u1", r#""log/{user}/#""#, r#""subscribe","publish""#, "");
    let (mut socket, before) = open(address, &format!("/ws?access_token={allowed}"));
    assert_eq!(before[0]["data"], json!({}), "nothing is kept of it");
    back_end(&server, "POST", "/v1/messages", Some(&json!({"channel": "$user/u1", "data": 1})));
    assert_eq!(hear(&mut socket)["subject"], "$user/u1");
    for (kind, subject, more, kind_of_answer) in [
        ("subscribe", "log/u1/a", json!({}), "trunkline.channel.subscribed"),
        ("subscribe", "log/u1/a", json!({"history": 1}), "trunkline.refused"),
        ("subscribe", "log/u2/a", json!({}), "trunkline.refused"),
        ("publish", "log/u2/a", json!({"data": 1}), "trunkline.refused"),
        ("publish", "log/u1/b", json!({"data": 1}), "trunkline.channel.published"),
    ] {
        let answer = ask(&mut socket, kind, subject, &more);
        assert_eq!(answer["type"], kind_of_answer, "{kind} {subject} {answer}");
    }
    let ending = token(&format!("{{\"sub\":\"u1\",\"exp\":{}}}", now_s() + 2));
    let (mut ends, _) = open(address, &format!("/ws?access_token={ending}"));
    assert_eq!(ends.next(), Said::Closed(Some(4001)));
    assert_eq!(back_end(&server, "DELETE", "/v1/users/u1/sessions", None).0, 200);
    assert_eq!(socket.next(), Said::Closed(Some(4500)));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_are_under_way_at_once_and_all_are_answered() {
    let server = start(&[("server.shards", "2")]).await;
    let (mut socket, _) = open(server.public_addr(), "/ws");
    let event = |n: usize| {
        json!({"specversion": "1.0", "id": n.to_string(), "source": "/t", "subject": format!("log/{}", n % 7),
            "type": "trunkline.channel.publish", "data": n})
        .to_string()
    };
    let events: Vec<String> = (0..1000).map(event).collect();
    let texts: Vec<&str> = events.iter().map(String::as_str).collect();
    let mut writer = socket.writer();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.texts(&texts));
        let mut answered: Vec<usize> = (0..1000)
            .map(|_| {
                let answer = hear(&mut socket);
                assert_eq!(answer["type"], "trunkline.channel.published");
                answer["answers"].as_str().unwrap().parse().unwrap()
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, (0..1000).collect::<Vec<_>>());
    });
    server.drain().await;
    assert_eq!(socket.until_closed(), Some(4002), "it comes back");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sends_too_much_is_read_more_slowly_and_loses_nothing() {
    let server = start(&[("limits.events_per_second", "50")]).await;
    let (mut socket, _) = open(server.public_addr(), "/ws");
    let begun = std::time::Instant::now();
    for n in 0..75 {
        say(&mut socket, &n.to_string(), "publish", "log/a", &json!({"data": n}));
    }
    for n in 0..75 {
        assert_eq!(hear(&mut socket)["answers"], n.to_string());
    }
    assert!(begun.elapsed().as_millis() >= 450, "{:?}", begun.elapsed());
    server.drain().await;
}
