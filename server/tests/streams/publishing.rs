//! Messages by POST, and by whom they are heard.

use serde_json::{Value, json};

use super::support::client::{Http, WebSocket};
use super::support::stream::Stream;
use super::{back_end, publish, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_reaches_every_protocol_with_its_event() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=main", &[]);
    let mut socket = WebSocket::connect(address, "/socket.io/?EIO=4&transport=websocket");
    socket.next_text();
    socket.text("40");
    assert!(socket.next_text().starts_with("40"));
    let mut http = Http::connect(address);
    let answer = http.post("/publish?channel=main&event=say", "{\"t\":\"hi\"}");
    assert_eq!(answer.status, 200);
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["position"], Value::Null, "nothing is kept there");
    let heard = stream.message();
    assert_eq!((heard.name.as_str(), heard.data.as_str()), ("say", "{\"t\":\"hi\"}"));
    assert_eq!(socket.next_text(), "42[\"say\",{\"t\":\"hi\"}]");
    server.drain().await;
}

/// By the first of all, it had reached them by a channel that they had not asked for.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_several_channels_comes_by_the_first_that_a_stream_has() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let targets = ["channel=a", "channel=b", "channel=c&channel=b", "channel=%2B", "channel=c"];
    let mut streams = targets.map(|target| Stream::get(address, &format!("/ndjson?{target}"), &[]));
    let body = json!({"channels": ["a", "b", "c"], "data": "hi"});
    let (status, told) = back_end(&server, "POST", "/v1/messages", Some(&body));
    assert_eq!((status, &told["results"][0]["delivered"]), (200, &json!(5)));
    // A stream of several channels says first where it stands.
    let channel_of = |stream: &mut Stream| {
        std::iter::from_fn(|| stream.line()).find_map(|line| line.get("channel").cloned())
    };
    let channels = streams.each_mut().map(channel_of);
    assert_eq!(channels, ["a", "b", "b", "a", "c"].map(|name| Some(json!(name))));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_published_is_refused_with_its_reason() {
    let server = start(&[("limits.message_bytes_max", "2000"), ("socketio.max_payload_bytes", "1000")]).await;
    let mut http = Http::connect(server.public_addr());
    for (target, status, code) in [
        ("/publish", 400, "malformed"),
        ("/publish?channel=a&channel=b", 400, "malformed"),
        ("/publish?channel=a&event=", 400, "malformed"),
        ("/publish?channel=a&event=x%0Adata:%20y", 400, "malformed"),
        ("/publish?channel=a%2B", 422, "invalid-channel"),
        ("/publish?channel=$user/7", 403, "reserved-channel"),
        ("/publish?channel=$SYS/x", 403, "reserved-channel"),
    ] {
        let answer = http.post(target, "x");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{target}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
    let mut other = Http::connect(server.public_addr());
    assert_eq!(other.post("/publish?channel=a", &"x".repeat(2001)).status, 413);
    assert_eq!(http.post("/publish?channel=a", &"x".repeat(2000)).status, 200, "the connection stays");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_publish_only_where_they_are_listed() {
    let server = start(&[("streams.cors_origins", "https://a.example")]).await;
    let address = server.public_addr();
    let say = |origin: &str, site: &str| {
        let mut http = Http::connect(address);
        let headers = [("origin", origin), ("sec-fetch-site", site), ("content-type", "text/plain")];
        http.send("POST", "/publish?channel=c", &headers, Some(b"x"));
        http.answer()
    };
    assert_eq!(say("https://b.example", "cross-site").status, 403);
    assert_eq!(say("https://own.example", "same-origin").status, 200);
    // Without TLS browsers do not say from where, but of which origin.
    let by_origin = |origin: &str| {
        let mut http = Http::connect(address);
        http.send(
            "POST",
            "/publish?channel=c",
            &[("origin", origin), ("content-type", "text/plain")],
            Some(b"x"),
        );
        http.answer().status
    };
    let origins = ["http://b.example", "null", "http://localhost", "https://a.example"];
    assert_eq!(origins.map(by_origin), [403, 403, 200, 200]);
    let answer = say("https://a.example", "cross-site");
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("https://a.example"))
    );
    let mut http = Http::connect(address);
    let asked = [("origin", "https://a.example"), ("access-control-request-headers", "last-event-id")];
    http.send("OPTIONS", "/sse?channel=c", &asked, None);
    let preflight = http.answer();
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-headers")),
        (204, Some("last-event-id"))
    );
    let mut stream = Stream::get(address, "/sse?channel=c", &[("origin", "https://a.example")]);
    assert!(stream.head.contains("access-control-allow-origin: https://a.example\r\n"), "{}", stream.head);
    publish(address, "c", "1");
    assert_eq!(stream.message().data, "1");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_end_sees_a_stream_as_a_session_and_reaches_it() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/ndjson?channel=log/a&channel=b", &[]);
    assert!(stream.line().unwrap()["position"].is_string());
    let (_, sessions) = back_end(&server, "GET", "/v1/sessions", None);
    let session = &sessions["items"][0];
    assert_eq!(
        (&session["protocol"], &session["transport"]),
        (&json!("ndjson"), &json!("http")),
        "{session}"
    );
    let id = session["id"].as_str().unwrap();
    let own = json!({"channel": format!("$client/{id}"), "event": "hint", "data": 7});
    let (status, told) = back_end(&server, "POST", "/v1/messages", Some(&own));
    assert_eq!((status, &told["results"][0]["delivered"]), (200, &json!(1)), "{told}");
    let heard = stream.line().unwrap();
    assert_eq!((&heard["event"], &heard["data"]), (&json!("hint"), &json!(7)));
    let (status, _) = back_end(&server, "DELETE", &format!("/v1/sessions/{id}"), None);
    assert_eq!(status, 200);
    assert_eq!(stream.line(), None, "the answer ends as it should");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_publishes_too_much_is_put_off_and_others_are_not() {
    let settings = [("limits.publishes_per_address_per_second", "5"), ("server.shards", "1")];
    let server = start(&settings).await;
    let mut http = Http::connect(server.public_addr());
    let answers: Vec<_> = (0..8).map(|_| http.post("/publish?channel=a", "x")).collect();
    assert!(answers[..5].iter().all(|answer| answer.status == 200));
    let last = answers.last().unwrap();
    assert_eq!((last.status, last.header("retry-after")), (429, Some("1")));
    assert_eq!(http.get("/poll?channel=a&wait=0").status, 200);
    server.drain().await;
}
