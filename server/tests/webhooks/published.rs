//! What clients publish on channels that the back end takes, whatever they speak.

use load::mqtt::Qos;
use serde_json::{Value, json};
use trunkline::Server;

use super::back_end::{Act, BackEnd, yes};
use super::support::client::{Http, WebSocket, field};
use super::support::whole::publisher::{self, message};
use super::support::whole::until::PATIENCE;
use super::{client, join, start_with, until};

async fn start(back_end: &BackEnd, keys: &str) -> Server {
    let keys = format!(
        "types = [\"session.event\"]\nfilters = [\"in/+\", \"in/#\"]\nretry_ms_min = 20\nretry_ms_max = 40\n{keys}\
         [mqtt]\nsys_interval_seconds = 0\n"
    );
    start_with(back_end.address, "mode = \"anonymous\"", &keys).await
}

/// What was heard, each event once.
fn heard(back_end: &BackEnd) -> Vec<Value> {
    back_end.heard().into_iter().map(|hook| hook.event).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_of_mqtt_publishes_is_told_once_and_in_order() {
    let tries = std::sync::atomic::AtomicU32::new(0);
    let back_end =
        BackEnd::start(move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 {
            0 => Act::Answer(500, String::new()),
            _ => yes(json!({})),
        })
        .await;
    let server = start(&back_end, "breaker_failures = 1000\n").await;
    let mut client = publisher::client(&server, "");
    let payloads: [&[u8]; 4] = [b"{\"a\": 1}", b"tea", &[255, 0], b"3"];
    for (payload, qos) in
        payloads.iter().zip([Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::AtLeastOnce, Qos::AtLeastOnce])
    {
        client.publish(&message("in/1", payload, qos)).unwrap();
        client.wait_published(0, PATIENCE).unwrap();
    }
    client.publish(&message("out/1", "x", Qos::AtLeastOnce)).unwrap();
    client.wait_published(0, PATIENCE).unwrap();
    until("all is told", || heard(&back_end).len() == 4).await;
    let events = heard(&back_end);
    for event in &events {
        assert_eq!((&event["type"], &event["subject"]), (&json!("trunkline.session.event"), &json!("in/1")));
        let session = event["sessionid"].as_str().unwrap();
        assert_eq!(event["source"], format!("/sessions/{session}"));
        assert_eq!((&event["partitionkey"], &event["protocol"]), (&json!(session), &json!("mqtt")));
    }
    let data: Vec<&Value> = events.iter().map(|event| &event["data"]).collect();
    assert_eq!(data, [&json!({ "a": 1 }), &json!("tea"), &Value::Null, &json!(3)]);
    assert_eq!(events[2]["data_base64"], "/wA=");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_told_and_what_the_back_end_publishes_is_not() {
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let server = start(&back_end, "events = [\"say\"]\n").await;
    let (public, private) = (server.public_addr(), server.private_addr());
    tokio::task::spawn_blocking(move || {
        let mut http = Http::connect(private);
        let json = [("content-type", "application/json")];
        http.send("POST", "/v1/messages", &json, Some(br#"{"channel":"in/1","event":"say","data":0}"#));
        assert_eq!(http.answer().status, 200);
        let mut http = Http::connect(public);
        assert_eq!(http.post("/publish?channel=in/1&event=whisper", "1").status, 200);
        assert_eq!(http.post("/publish?channel=in/1&event=say", "2").status, 200);
    })
    .await
    .unwrap();
    until("it is told", || !heard(&back_end).is_empty()).await;
    let events = heard(&back_end);
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!((&event["data"], &event["event"]), (&json!(2), &json!("say")));
    assert_eq!((&event["source"], &event["partitionkey"]), (&json!("/publish"), &json!("in/1")));
    assert_eq!(event["protocol"], "publish");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_called_as_a_session_is_none() {
    let back_end = BackEnd::start(|_| {
        yes(json!({ "actions": [{ "send": { "data": "not for you" } }, { "disconnect": {} }] }))
    })
    .await;
    let keys = "types = [\"session.event\"]\nfilters = [\"+\"]\n";
    let server = start_with(back_end.address, "mode = \"anonymous\"", keys).await;
    let (mut socket, session) = client(&server, |mut socket| {
        let session = field(&join(&mut socket, "").unwrap(), "sid").unwrap();
        (socket, session)
    })
    .await;
    let (public, path) = (server.public_addr(), format!("/publish?channel={session}"));
    tokio::task::spawn_blocking(move || {
        let mut http = Http::connect(public);
        assert_eq!((http.post(&path, "1").status, http.post(&path, "2").status), (200, 200));
    })
    .await
    .unwrap();
    until("both are told", || heard(&back_end).len() == 2).await;
    // What the answer to the first wants is done before the second leaves.
    let owner = server.handle().session(session.parse().unwrap(), "/");
    owner.emit("yours", json!([3])).await.unwrap();
    let first = tokio::task::spawn_blocking(move || socket.next_text());
    assert_eq!(first.await.unwrap(), r#"42["yours",3]"#);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_in_a_websocket_is_told_of_its_session_with_its_state() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({ "result": { "user": "ada" }, "state": "s1" })),
        _ => yes(json!({})),
    })
    .await;
    let keys =
        "types = [\"session.connect\", \"session.connected\", \"session.event\"]\nfilters = [\"in/#\"]\n";
    let server = start_with(back_end.address, "mode = \"back_end\"", keys).await;
    let public = server.public_addr();
    let mut socket = tokio::task::spawn_blocking(move || {
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let mut socket = WebSocket::try_connect(public, "/ws?channel=in/1", &subprotocol).unwrap();
        socket
            .text(r#"{"specversion":"1.0","id":"1","source":"/x","type":"say","subject":"in/1","data":[1]}"#);
        socket
    })
    .await
    .unwrap();
    until("it is told", || back_end.of("session.event").len() == 1).await;
    let (connected, told) =
        (&back_end.of("session.connected")[0].event, &back_end.of("session.event")[0].event);
    for name in ["source", "sessionid", "userid", "partitionkey", "state", "generation", "protocol"] {
        assert_eq!(told[name], connected[name], "{name}");
    }
    assert_eq!((&told["state"], &told["data"], &told["event"]), (&json!("s1"), &json!([1]), &json!("say")));
    let private = server.private_addr();
    let figures = tokio::task::spawn_blocking(move || {
        assert!(socket.next_text().contains("trunkline.stream.opened"));
        Http::connect(private).get("/metrics").text().to_owned()
    })
    .await
    .unwrap();
    for (labels, count) in [
        (r#"webhook="app",type="session.event",outcome="success""#, 1),
        (r#"webhook="app",type="session.event",outcome="failed""#, 0),
        (r#"webhook="app",type="session.connect",outcome="success""#, 1),
        (r#"webhook="app",type="session.connected",outcome="success""#, 1),
    ] {
        let line = format!("\ntrunkline_webhook_requests_total{{{labels}}} {count}\n");
        assert!(figures.contains(&line), "{line}{figures}");
    }
    assert!(
        figures
            .contains(r#"trunkline_webhook_request_seconds_total{webhook="app",type="session.connect"} 0."#)
    );
    assert!(!figures.contains(r#"type="session.ended""#), "there was none");
    server.drain().await;
}
