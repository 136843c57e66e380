//! Webhooks: what a back end is told and asked, and what its answers, and the lack of them, mean to clients of Socket.IO.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
mod support;

mod asked;
mod back_end;
mod channels;
mod coming;
mod mqtt;
mod published;
mod refreshing;
mod streams;
mod told;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use back_end::{Act, BackEnd, Hook, yes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use support::client::{Said, WebSocket, field};
use trunkline::config::{Machine, SourceFile, Sources};
use trunkline::{Config, Server, StartError};

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket&colour=blue";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Longer than anything here takes.
const WAIT: Duration = Duration::from_secs(20);

/// A server whose back end is there; `keys` are further ones of the webhook, or sections.
async fn start(back_end: SocketAddr, keys: &str) -> Server {
    start_with(back_end, "mode = \"back_end\"", keys).await
}

/// A server that lets in who has a token of [`support::token::token`].
async fn start_with_tokens(back_end: SocketAddr, keys: &str) -> Server {
    let auth = format!("mode = \"jwt\"\n[auth.jwt]\nsecret = \"{}\"", support::token::SECRET);
    start_with(back_end, &auth, keys).await
}

async fn start_with(back_end: SocketAddr, auth: &str, keys: &str) -> Server {
    let text = format!(
        "[auth]\n{auth}\n[server]\npublic_listen = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n\
         drain_window_ms = 0\n[[webhook]]\nname = \"app\"\nurl = \"http://{back_end}/hook?key=1\"\n\
         secrets = [\"{SECRET}\"]\n{}{keys}",
        if keys.starts_with("types = ") { "" } else { "types = [\"session.connect\", \"session.event\"]\n" }
    );
    let file = Some(SourceFile { name: "test.toml".into(), text });
    let machine = Machine { cores: 2, open_files_max: 100_000 };
    let loaded = Config::load(&Sources { file, ..Sources::default() }, machine);
    Server::start(loaded.unwrap_or_else(|problems| panic!("{problems}")).config).await.unwrap()
}

/// A client that says what a test wants, while the back end answers.
async fn client<T: Send + 'static>(
    server: &Server,
    script: impl FnOnce(WebSocket) -> T + Send + 'static,
) -> T {
    let address = server.public_addr();
    let script = tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        script(socket)
    });
    tokio::time::timeout(WAIT, script).await.unwrap().unwrap()
}

/// Joins `/` and gives the answer; `None` when the transport is closed.
fn join(socket: &mut WebSocket, auth: &str) -> Option<String> {
    socket.text(&format!("40{auth}"));
    socket.next_text_or_end()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(WAIT, waiting).await.unwrap_or_else(|_| panic!("in time: {what}"));
}

/// The signature as the standard has it.
fn signature(hook: &Hook) -> String {
    let secret = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret);
    let content =
        format!("{}.{}.{}", hook.headers["webhook-id"], hook.headers["webhook-timestamp"], hook.text);
    format!("v1,{}", STANDARD.encode(ring::hmac::sign(&key, content.as_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_lets_in_answers_acts_and_keeps_its_state_with_the_session() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({
            "result": { "user": "ada", "info": { "a": 1 }, "subscriptions": ["tea"] },
            "state": "{\"cart\":0}",
            "actions": [
                { "send": { "event": "hello", "data": "you" } },
                { "publish": { "channel": "tea", "event": "news", "args": [1, 2] } },
                { "subscribe": { "channel": "coffee" } },
                { "publish": { "channel": "coffee", "event": "news", "data": 3 } },
            ],
        })),
        _ if hook.event["event"] == "add" => {
            let numbers: Vec<i64> = serde_json::from_value(hook.event["data"].clone()).unwrap();
            yes(json!({ "result": [numbers.iter().sum::<i64>(), "sum"], "state": "{\"cart\":7}" }))
        }
        _ if hook.event["event"] == "forget" => yes(json!({ "result": { "b": 1 }, "state": null })),
        _ => Act::Answer(204, String::new()),
    })
    .await;
    let server = start(back_end.address, "bearer = \"hush hush\"").await;
    let sid = client(&server, |mut socket| {
        let sid = field(&join(&mut socket, r#"{"token":"t"}"#).unwrap(), "sid").unwrap();
        for expected in [r#"42["hello","you"]"#, r#"42["news",1,2]"#, r#"42["news",3]"#] {
            assert_eq!(socket.next_text(), expected, "in the order of the actions, behind the answer");
        }
        socket.text(r#"421["add",3,4]"#);
        assert_eq!(socket.next_text(), r#"431[7,"sum"]"#);
        socket.text(r#"422["forget"]"#);
        assert_eq!(socket.next_text(), r#"432[{"b":1}]"#);
        socket.text(r#"423["last","x"]"#);
        assert_eq!(socket.next_text(), "433[]");
        sid
    })
    .await;
    let hooks = back_end.hooks();
    let kinds: Vec<&str> = hooks.iter().map(Hook::kind).collect();
    assert_eq!(kinds, ["session.connect", "session.event", "session.event", "session.event"]);
    for hook in &hooks {
        assert_eq!(hook.target, "/hook?key=1");
        assert_eq!(hook.headers["content-type"], "application/cloudevents+json; charset=utf-8");
        assert_eq!(hook.headers["accept-encoding"], "identity", "an answer is read as it is");
        assert_eq!(hook.headers["authorization"], "Bearer hush hush");
        assert_eq!(hook.headers["webhook-id"], hook.event["id"].as_str().unwrap());
        assert_eq!(hook.headers["webhook-signature"], signature(hook));
        assert_eq!((&hook.event["sessionid"], &hook.event["generation"]), (&json!(sid), &json!(1)));
    }
    let connect = &hooks[0].event;
    assert_eq!(connect["data"]["auth"], json!({ "token": "t" }));
    assert_eq!(connect["data"]["query"], json!({ "colour": ["blue"] }));
    assert!(connect.get("userid").is_none() && connect.get("state").is_none());
    let states: Vec<Option<&str>> = hooks.iter().skip(1).map(|hook| hook.event["state"].as_str()).collect();
    assert_eq!(states, [Some("{\"cart\":0}"), Some("{\"cart\":7}"), None]);
    assert!(
        hooks.iter().skip(1).all(|hook| hook.event["userid"] == "ada" && hook.event["ackrequested"] == true)
    );
    let places: Vec<&str> = hooks.iter().map(|hook| hook.event["sequence"].as_str().unwrap()).collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(back_end.connections(), 1, "it stays open");
    server.drain().await;
}

/// What a client hears whose connect is answered so: its refusal, or `None` when the transport is closed.
async fn connect_answered(act: Act) -> Option<String> {
    let back_end = BackEnd::start(move |_| act.clone()).await;
    let keys = "timeout_ms = 300\n[limits]\nmessage_bytes_max = 65536\n";
    let server = start(back_end.address, keys).await;
    let heard = client(&server, |mut socket| join(&mut socket, "")).await;
    server.drain().await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_no_is_a_refusal_and_only_a_yes_lets_in() {
    let refused = |message: &str| Some(format!(r#"44{{"message":"{message}"}}"#));
    let unauthorized = r#"44{"message":"Unauthorized","data":{"code":"unauthorized"}}"#.to_owned();
    let forbidden = Some(r#"44{"message":"Forbidden","data":{"code":"forbidden"}}"#.to_owned());
    let members = r#"44{"message":"members only","data":{"code":7,"data":[1]}}"#.to_owned();
    for (act, expected) in [
        (Act::Answer(401, String::new()), Some(unauthorized)),
        (Act::Answer(403, r#"{"error":{"message":"not you"}}"#.into()), refused("not you")),
        (yes(json!({ "error": { "code": 7, "message": "members only", "data": [1] } })), Some(members)),
        (yes(json!({ "disconnect": { "code": 4500, "reason": "banned" } })), refused("banned")),
        // All that follow mean that the client comes back.
        (yes(json!({ "disconnect": { "code": 4000 } })), None),
        (yes(json!({ "error": { "message": "later", "temporary": true } })), None),
        (Act::Answer(500, String::new()), None),
        (Act::Answer(503, "{}".into()), None),
        (Act::Answer(404, String::new()), None),
        (Act::Answer(429, String::new()), None),
        (Act::Answer(200, String::new()), None),
        (Act::Answer(200, "<html>welcome</html>".into()), None),
        (yes(json!({ "result": { "usr": "ada" } })), None),
        (yes(json!({ "result": [] })), None),
        (yes(json!([])), None),
        (yes(json!({ "result": {}, "error": {} })), None),
        (yes(json!({ "actions": [{ "publish": { "channel": "a" } }, { "fly": {} }] })), None),
        (yes(json!({ "result": { "subscriptions": ["$sys/x"] } })), None),
        (yes(json!({ "result": { "info": "x".repeat(70_000) } })), None),
        (Act::Raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"), None),
        (Act::Raw("hello\r\n\r\n"), None),
        // What a proxy says on the way, spaces behind a value, and an answer in pieces are HTTP.
        (
            Act::Raw(
                "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 403 X\r\ncontent-length: 2  \r\n\r\n{}",
            ),
            forbidden.clone(),
        ),
        (
            Act::Raw("HTTP/1.1 403 X\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            forbidden,
        ),
        (Act::Endless(403, "{}"), None),
        (Act::Answer(403, format!("{{}}{}", " ".repeat(1 << 20))), None),
        (Act::Raw(""), None),
        (Act::Late(Duration::from_secs(2), 200, "{}".into()), None),
        (Act::Silence, None),
    ] {
        let said = format!("{act:?}");
        assert_eq!(connect_answered(act).await, expected, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let other = BackEnd::start(|_| yes(json!({}))).await;
    let location: &'static str = Box::leak(format!("location: http://{}/", other.address).into_boxed_str());
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(
            connect_answered(Act::AnswerWith(status, location, String::new())).await,
            None,
            "{status}"
        );
    }
    assert_eq!(other.hooks().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_actions_that_is_wrong_anywhere_is_not_begun() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({})),
        _ if hook.event["event"] == "wrong" => yes(json!({
            "result": "never",
            "state": "never",
            "actions": [{ "send": { "event": "never" } }, { "publish": { "channel": "" } }],
        })),
        _ => yes(json!({ "result": "right" })),
    })
    .await;
    let server = start(back_end.address, "").await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["wrong"]"#);
        socket.text(r#"422["right"]"#);
        assert_eq!(socket.next_text(), r#"432["right"]"#, "neither answer nor actions of the first");
    })
    .await;
    assert_eq!(back_end.hooks().last().unwrap().event.get("state"), None);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_subscribes_to_a_reserved_channel_is_refused() {
    let back_end = BackEnd::start(|hook| match hook.kind() {
        "session.connect" => yes(json!({})),
        _ if hook.event["event"] == "wrong" => yes(json!({
            "result": "never",
            "actions": [{ "subscribe": { "channel": "$user/42" } }],
        })),
        _ => yes(json!({ "result": "right" })),
    })
    .await;
    let server = start(back_end.address, "").await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["wrong"]"#);
        socket.text(r#"422["right"]"#);
        assert_eq!(socket.next_text(), r#"432["right"]"#, "the first answer is none");
    })
    .await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_fails_the_event_and_never_the_connection() {
    for (errors, expected) in
        [("none", None), ("ack", Some(r#"431[{"error":{"code":"no","data":{"a":1},"message":"m"}}]"#))]
    {
        let back_end = BackEnd::start(|hook| match (hook.kind(), hook.event["event"].as_str()) {
            ("session.event", Some("bad")) => {
                yes(json!({ "error": { "code": "no", "message": "m", "data": { "a": 1 } } }))
            }
            ("session.event", Some("broken")) => Act::Answer(500, String::new()),
            ("session.event", Some("gone")) => {
                yes(json!({ "disconnect": { "code": 4501, "reason": "bye" } }))
            }
            ("session.event", Some("back")) => yes(json!({ "disconnect": { "code": 4001 } })),
            _ => yes(json!({})),
        })
        .await;
        let server = start(back_end.address, &format!("event_errors = \"{errors}\"")).await;
        client(&server, move |mut socket| {
            join(&mut socket, "").unwrap();
            socket.text(r#"421["bad"]"#);
            socket.text(r#"422["broken"]"#);
            socket.text(r#"423["good"]"#);
            if let Some(expected) = expected {
                assert_eq!(socket.next_text(), expected);
            }
            assert_eq!(socket.next_text(), "433[]");
            socket.text(r#"424["gone"]"#);
            assert_eq!(socket.next_text(), "41", "a client stays away from that");
        })
        .await;
        client(&server, |mut socket| {
            join(&mut socket, "").unwrap();
            socket.text(r#"421["back"]"#);
            assert!(matches!(socket.next(), Said::Closed(_)), "a client comes back from that");
        })
        .await;
        server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_the_configuration_says_what_happens() {
    let back_end = BackEnd::start(|_| Act::Answer(500, String::new())).await;
    let keys = "connect_without_answer = \"allow\"\nevent_without_answer = \"allow\"";
    let server = start(back_end.address, keys).await;
    client(&server, |mut socket| {
        assert!(join(&mut socket, "").unwrap().starts_with("40"));
        socket.text(r#"421["x"]"#);
        assert_eq!(socket.next_text(), "431[]");
    })
    .await;
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_one_call_under_way_and_does_not_hold_up_others() {
    let slow = Arc::new(AtomicUsize::new(0));
    let under_way = Arc::clone(&slow);
    let back_end = BackEnd::start(move |hook| match hook.event["data"][0].as_u64() {
        _ if hook.kind() == "session.connect" => yes(json!({})),
        Some(number) => {
            under_way.fetch_add(1, Ordering::Relaxed);
            Act::Late(Duration::from_millis(20), 200, json!({ "result": number }).to_string())
        }
        None => yes(json!({ "result": "quick" })),
    })
    .await;
    let server = start(back_end.address, "").await;
    let slow = client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        for number in 0..20 {
            socket.text(&format!(r#"42{number}["slow",{number}]"#));
        }
        (0..20).map(|_| socket.next_text()).collect::<Vec<_>>()
    });
    let quick = client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["quick"]"#);
        socket.next_text()
    });
    let (slow, quick) = tokio::join!(slow, quick);
    let expected: Vec<String> = (0..20).map(|number| format!("43{number}[{number}]")).collect();
    assert_eq!((slow, quick.as_str()), (expected, r#"431["quick"]"#));
    assert!(back_end.busy_max() <= 2, "{}", back_end.busy_max());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_concurrency_waits_and_none_fails() {
    let back_end = BackEnd::start(|_| Act::Late(Duration::from_millis(10), 200, "{}".into())).await;
    let server = start(back_end.address, "concurrency = 3\ntimeout_ms = 20000").await;
    let address = server.public_addr();
    let clients: Vec<_> = (0..40)
        .map(|_| {
            tokio::task::spawn_blocking(move || {
                let mut socket = WebSocket::connect(address, SOCKET);
                socket.next_text();
                join(&mut socket, "").is_some_and(|answer| answer.starts_with("40"))
            })
        })
        .collect();
    for client in clients {
        assert!(tokio::time::timeout(WAIT, client).await.unwrap().unwrap());
    }
    assert_eq!((back_end.busy_max(), back_end.hooks().len()), (3, 40));
    assert!(back_end.connections() <= 3, "{}", back_end.connections());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_was_killed_is_found_again_and_nobody_was_refused_meanwhile() {
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let address = back_end.address;
    let keys = "breaker_failures = 2\nbreaker_pause_ms = 50\ntimeout_ms = 2000";
    let server = start(address, keys).await;
    assert!(client(&server, |mut socket| join(&mut socket, "")).await.is_some());
    drop(back_end);
    for _ in 0..3 {
        assert_eq!(client(&server, |mut socket| join(&mut socket, "")).await, None);
    }
    // Who asks now waits, and is let in by the one that tries.
    let waiting = client(&server, |mut socket| join(&mut socket, ""));
    let again = async {
        let listening = BackEnd::start_at(address, |_| yes(json!({}))).await;
        until("a request", || !listening.hooks().is_empty()).await;
        listening
    };
    let (heard, _listening) = tokio::join!(waiting, again);
    assert!(heard.unwrap().starts_with("40"));
    for _ in 0..3 {
        assert!(client(&server, |mut socket| join(&mut socket, "")).await.unwrap().starts_with("40"));
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_back_end_closes_between_requests_is_no_failure() {
    let back_end = BackEnd::start(|_| Act::AnswerWith(200, "x: y", "{}".into())).await;
    let server = start(back_end.address, "breaker_failures = 1\nbreaker_pause_ms = 600000").await;
    for _ in 0..5 {
        assert!(client(&server, |mut socket| join(&mut socket, "")).await.unwrap().starts_with("40"));
    }
    assert_eq!((back_end.hooks().len(), back_end.connections()), (5, 5));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_is_tried_twice_more_under_the_same_id() {
    let tries = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&tries);
    let back_end = BackEnd::start(move |_| {
        let mut tries = seen.lock().unwrap();
        *tries += 1;
        if *tries < 3 { Act::Raw("") } else { yes(json!({})) }
    })
    .await;
    let server = start(back_end.address, "").await;
    assert!(client(&server, |mut socket| join(&mut socket, "")).await.unwrap().starts_with("40"));
    let ids: Vec<Value> = back_end.hooks().iter().map(|hook| hook.event["id"].clone()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_asked_to_be_left_alone_for_long_is_asked_once_it_is_enabled() {
    let back_end = BackEnd::start(|hook| match hook.event["data"]["auth"]["first"].as_bool() {
        Some(true) => Act::AnswerWith(503, "retry-after: 31536000", String::new()),
        _ => yes(json!({})),
    })
    .await;
    let server = start(back_end.address, "timeout_ms = 300\n").await;
    assert_eq!(client(&server, |mut socket| join(&mut socket, r#"{"first":true}"#)).await, None);
    assert_eq!(client(&server, |mut socket| join(&mut socket, "")).await, None, "it is left alone");
    assert_eq!(back_end.hooks().len(), 1);
    let private = server.private_addr();
    let enable = move || {
        let mut http = support::client::Http::connect(private);
        let json = [("content-type", "application/json")];
        http.send("PUT", "/v1/webhooks/app", &json, Some(br#"{"enabled":true}"#));
        http.answer().status
    };
    assert_eq!(tokio::task::spawn_blocking(enable).await.unwrap(), 200);
    assert!(client(&server, |mut socket| join(&mut socket, "")).await.unwrap().starts_with("40"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_take_their_namespaces_and_events_and_the_first_that_matches_is_asked() {
    let first =
        BackEnd::start(|hook| yes(json!({ "result": (hook.kind() == "session.event").then_some("first") })))
            .await;
    let second = BackEnd::start(|_| yes(json!({ "result": "second" }))).await;
    let keys = format!(
        "namespaces = [\"/\"]\nevents = [\"one\"]\n[[webhook]]\nname = \"other\"\nurl = \"http://{}/\"\n\
         secrets = [\"{SECRET}\"]\ntypes = [\"session.event\"]\ntype_prefix = \"com.example\"\n\
         [[socketio.namespace]]\nname = \"/\"\n[[socketio.namespace]]\nname = \"/chat\"",
        second.address
    );
    let server = start(first.address, &keys).await;
    client(&server, |mut socket| {
        join(&mut socket, "").unwrap();
        socket.text(r#"421["one"]"#);
        assert_eq!(socket.next_text(), r#"431["first"]"#);
        socket.text(r#"422["two"]"#);
        assert_eq!(socket.next_text(), r#"432["second"]"#);
        socket.text("40/chat,");
        assert_eq!(socket.next_text(), r#"44/chat,{"message":"Forbidden"}"#, "nobody says who may come in");
    })
    .await;
    assert_eq!(second.hooks()[0].event["type"], "com.example.session.event");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_grants_holds_also_after_a_recovery() {
    let back_end = BackEnd::start(|hook| match hook.event["data"]["auth"]["csr"].as_i64() {
        Some(2) => yes(json!({ "result": { "csr": false } })),
        _ => yes(json!({ "result": { "permissions": [{ "filters": ["other"], "allow": ["publish"] }] } })),
    })
    .await;
    let keys = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n";
    let server = start(back_end.address, keys).await;
    let mut listener = client(&server, |mut socket| {
        assert!(field(&join(&mut socket, r#"{"csr":2}"#).unwrap(), "pid").is_none(), "it may not come back");
        socket
    })
    .await;
    let address = server.public_addr();
    let pid = client(&server, |mut socket| {
        let pid = field(&join(&mut socket, "").unwrap(), "pid").unwrap();
        socket.text(r#"42["forbidden"]"#);
        pid
    })
    .await;
    let told = tokio::task::spawn_blocking(move || {
        let mut socket = WebSocket::connect(address, SOCKET);
        socket.next_text();
        let back = join(&mut socket, &format!(r#"{{"pid":"{pid}","offset":""}}"#)).unwrap();
        assert_eq!(field(&back, "pid"), Some(pid), "it is the same session");
        socket.text(r#"42["forbidden"]"#);
        let mut free = WebSocket::connect(address, SOCKET);
        free.next_text();
        join(&mut free, r#"{"csr":2}"#).unwrap();
        free.text(r#"42["free"]"#);
        listener.next_text()
    });
    let told = tokio::time::timeout(WAIT, told).await.unwrap().unwrap();
    assert!(told.starts_with(r#"42["free""#), "{told}");
    server.drain().await;
}

/// A client that comes back to its session is not asked about, so what was said of it must not outlive its end that way.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_back_end_grants_ends_also_after_a_recovery() {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 3;
    let back_end = BackEnd::start(move |hook| match hook.event["data"]["auth"]["again"].as_bool() {
        Some(true) => yes(json!({})),
        _ => yes(json!({ "result": { "expires_at": seconds } })),
    })
    .await;
    let keys = "[[socketio.namespace]]\nname = \"/\"\nrecovery = \"always\"\n";
    let server = start(back_end.address, keys).await;
    let connects = || back_end.of("session.connect").len();
    let pid = client(&server, |mut socket| field(&join(&mut socket, "").unwrap(), "pid").unwrap()).await;
    let back = format!(r#"{{"pid":"{pid}","again":true}}"#);
    let again = back.clone();
    let recovered = client(&server, move |mut socket| {
        let reply = join(&mut socket, &again).unwrap();
        assert_eq!(socket.next_text_or_end(), None, "it is closed then, before anything else is said to it");
        field(&reply, "pid")
    })
    .await;
    assert_eq!((recovered, connects()), (Some(pid.clone()), 1));
    let anew = client(&server, move |mut socket| field(&join(&mut socket, &back).unwrap(), "pid")).await;
    assert_eq!(connects(), 2);
    assert!(anew.is_some_and(|anew| anew != pid), "and asked about");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_do_goes_to_webhooks_and_to_nobody_else() {
    let back_end = BackEnd::start(|_| yes(json!({}))).await;
    let mut server = start(back_end.address, "").await;
    assert!(matches!(server.events(), Err(StartError::EventsTaken)));
    assert!(client(&server, |mut socket| join(&mut socket, "")).await.is_some());
    assert_eq!(back_end.busy(), 0);
    server.drain().await;
}
