//! Streams and their back end: who comes in, and what is told of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::back_end::{Act, BackEnd, yes};
use super::mqtt::script;
use super::support::client::{Answer, Http, Said, WebSocket};
use super::support::stream::Stream;
use super::support::token::token;
use super::told::{ALL, kinds};
use super::{start, start_with_tokens, until};

fn get(address: std::net::SocketAddr, target: &str) -> Answer {
    Http::connect(address).get(target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_what_the_back_end_says_it_is() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({
            "result": {
                "user": "ada", "subscriptions": ["own"],
                "permissions": [{ "filters": ["tea/#"], "allow": ["subscribe"] }],
            },
            "state": "s1",
            "actions": [{ "send": { "data": "hello" } }],
        })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, ALL).await;
    script(&server, |address| {
        let headers = [("authorization", "Bearer x"), ("x-other", "y")];
        let mut stream = Stream::get(address, "/sse?channel=tea/a&colour=blue", &headers);
        assert_eq!((stream.status, stream.message().data.as_str()), (200, "\"hello\""));
        let refused = get(address, "/ndjson?channel=coffee");
        assert_eq!(refused.status, 403, "it is not granted");
        let long = get(address, &format!("/poll?channel=tea/a{}", "&x=1".repeat(150)));
        assert_eq!(long.status, 413, "more than is kept while the back end is asked");
        let mut own = Stream::get(address, "/ndjson", &[]);
        assert!(own.status == 200 && own.line().unwrap()["position"].is_string(), "where it stands");
        assert_eq!(own.line().unwrap()["data"], "hello");
        assert_eq!(Http::connect(address).post("/publish?channel=tea/a", "x").status, 401);
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let mut socket = WebSocket::try_connect(address, "/ws?channel=tea/b", &subprotocol).unwrap();
        assert!(socket.next_text().contains("trunkline.stream.opened"));
    })
    .await;
    until("all have left", || back_end.of("session.ended").len() == 4).await;
    let connect = back_end.of("session.connect").remove(0).event;
    assert_eq!((&connect["protocol"], &connect["data"]["channels"]), (&json!("sse"), &json!(["tea/a"])));
    assert_eq!(connect["data"]["query"], json!({"colour": ["blue"]}));
    assert_eq!(connect["data"]["headers"], json!({"authorization": "Bearer x"}));
    let session = connect["sessionid"].as_str().unwrap();
    let told: Vec<_> =
        back_end.hooks().into_iter().filter(|hook| hook.event["sessionid"] == session).collect();
    let wanted = ["session.connect", "session.connected", "session.disconnected", "session.ended"];
    assert_eq!(kinds(&told), wanted);
    assert!(told[1..].iter().all(|hook| hook.event["userid"] == "ada" && hook.event["state"] == "s1"));
    assert_eq!(told[2].event["data"]["cause"], "client");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tokens_let_clients_in_the_back_end_is_told_of_them() {
    let back_end = BackEnd::start(|_| Act::Answer(204, String::new())).await;
    let types = "types = [\"session.connected\", \"session.disconnected\", \"session.ended\"]\n";
    let server = start_with_tokens(back_end.address, types).await;
    script(&server, |address| {
        let claims = json!({"sub": "bob", "trunkline": {
            "state": "s2", "permissions": [{ "filters": ["tea"], "allow": ["subscribe"] }] }});
        let token = token(&claims.to_string());
        let refused = get(address, &format!("/sse?channel=coffee&access_token={token}"));
        assert_eq!(refused.status, 403);
        // What it says besides is not kept for a back end that is not asked.
        let besides = "&x=1".repeat(150);
        let target = format!("/ndjson?channel=tea&access_token={token}{besides}");
        let mut stream = Stream::get(address, &target, &[]);
        assert_eq!(stream.status, 200);
        let message = Http::connect(address).post(&format!("/publish?channel=tea&access_token={token}"), "x");
        assert_eq!(message.status, 403, "it may read");
        stream.socket().shutdown(std::net::Shutdown::Both).unwrap();
        assert!(stream.line().is_none());
    })
    .await;
    until("it has left", || back_end.of("session.ended").len() == 1).await;
    let hooks = back_end.hooks();
    assert_eq!(kinds(&hooks), ["session.connected", "session.disconnected", "session.ended"]);
    assert!(hooks.iter().all(|hook| hook.event["userid"] == "bob" && hook.event["state"] == "s2"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_are_asked_about_and_not_told_of_unless_somebody_wants_that() {
    for (keys, told) in [(ALL.to_owned(), 0), (format!("{ALL}protocols = [\"poll\"]\n"), 3)] {
        let back_end = BackEnd::start(|_| yes(json!({}))).await;
        let server = start(back_end.address, &keys).await;
        let status = script(&server, |address| get(address, "/poll?channel=a&wait=0").status).await;
        assert_eq!(status, 200);
        until("it is told", || back_end.hooks().len() > told).await;
        server.drain().await;
        assert_eq!(back_end.hooks().len(), 1 + told, "{keys}");
    }
}

/// What an `EventSource`, a poll and a WebSocket hear whose connect is answered so.
async fn connect_answered(act: Act) -> ((u16, String), u16, u16) {
    let back_end = BackEnd::start(move |_| act.clone()).await;
    let server = start(back_end.address, "timeout_ms = 300\n").await;
    let heard = script(&server, |address| {
        let mut sse = Stream::get(address, "/sse?channel=a", &[]);
        let first = if sse.status == 200 { sse.rest() } else { String::new() };
        let poll = get(address, "/poll?channel=a&wait=0").status;
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let socket = WebSocket::try_connect(address, "/ws?channel=a", &subprotocol);
        ((sse.status, first), poll, socket.map_or_else(|answer| answer.status, |_| 101))
    })
    .await;
    let (_, sessions) = {
        let mut http = Http::connect(server.private_addr());
        http.send("GET", "/v1/sessions", &[], None);
        let answer = http.answer();
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap())
    };
    assert_eq!(sessions["items"], json!([]), "nothing is left of them");
    server.drain().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_no_is_a_refusal_that_streams_stay_away_after() {
    let back = ((200, "retry: 2000\n\n".to_owned()), 503, 503);
    let no = |status: u16| ((status, String::new()), status, status);
    for (act, expected) in [
        (Act::Answer(401, String::new()), no(401)),
        (Act::Answer(403, r#"{"error":{"message":"not you"}}"#.into()), no(403)),
        (yes(json!({ "error": { "code": 7, "message": "members only" } })), no(403)),
        (yes(json!({ "disconnect": { "code": 4500, "reason": "banned" } })), no(403)),
        (yes(json!({ "disconnect": { "code": 4000 } })), back.clone()),
        (yes(json!({ "error": { "temporary": true } })), back.clone()),
        (Act::Answer(500, String::new()), back.clone()),
        (Act::Answer(429, String::new()), back.clone()),
        (Act::Answer(200, "<html>welcome</html>".into()), back.clone()),
        (Act::Late(Duration::from_secs(2), 200, "{}".into()), back.clone()),
        (Act::Silence, back),
    ] {
        let said = format!("{act:?}");
        assert_eq!(connect_answered(act).await, expected, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_back_end_is_bounded_and_goes_with_its_client() {
    let back_end = BackEnd::start(|_| Act::Silence).await;
    let keys = "timeout_ms = 15000\n[limits]\nunjoined_max = 2\n[streams]\nconnect_timeout_ms = 200\n";
    let server = start(back_end.address, keys).await;
    let statuses = script(&server, |address| {
        // Two shards, two each.
        let mut waiting: Vec<Http> = (0..12)
            .map(|_| {
                let mut http = Http::connect(address);
                http.send("GET", "/poll?channel=a", &[], None);
                http
            })
            .collect();
        drop(waiting.pop());
        waiting.into_iter().map(|mut http| http.answer().status).collect::<Vec<_>>()
    })
    .await;
    assert!(statuses.iter().all(|status| *status == 503), "{statuses:?}");
    assert!(back_end.hooks().len() <= 5, "{}", back_end.hooks().len());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_back_end_is_answered_when_the_server_stops() {
    let back_end = BackEnd::start(|_| Act::Silence).await;
    let server = start(back_end.address, "timeout_ms = 15000\n").await;
    let mut http = Http::connect(server.public_addr());
    http.send("GET", "/poll?channel=a", &[], None);
    until("it is asked about", || back_end.hooks().len() == 1).await;
    let answer = tokio::task::spawn_blocking(move || http.answer());
    server.drain().await;
    let answer = answer.await.unwrap();
    assert_eq!((answer.status, answer.text()), (503, "the server stops"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_grants_has_an_end() {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 2;
    let back_end = BackEnd::start(move |_| yes(json!({ "result": { "expires_at": seconds } }))).await;
    let server = start(back_end.address, "").await;
    script(&server, |address| {
        let subprotocol = [("sec-websocket-protocol", "cloudevents.json")];
        let mut socket = WebSocket::try_connect(address, "/ws?channel=a", &subprotocol).unwrap();
        assert!(socket.next_text().contains("trunkline.stream.opened"));
        assert_eq!(socket.next(), Said::Closed(Some(4001)));
    })
    .await;
    server.drain().await;
}
