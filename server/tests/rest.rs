//! The private port over HTTP, where a mistake would be answered by something else than this server's own words.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use load::mqtt::{Qos, Retained};
use serde_json::{Value, json};
use support::client::{WebSocket, field, get};
use support::stream::Stream;
use support::whole::publisher;
use support::whole::until::{PATIENCE, until, until_so};
use trunkline::config::{Argument, Machine, SourceFile, Sources};
use trunkline::{Config, OfficeError, Refusal, Server};

const NOBODY: &str = "AAAAAAAAAAAAAAAAAAAA";

/// Status, head and JSON body of one request. It blocks; the server has threads of its own.
fn ask(server: &Server, method: &str, target: &str, body: Option<Value>) -> (u16, String, Value) {
    ask_at(server.private_addr(), method, target, body)
}

fn ask_at(address: SocketAddr, method: &str, target: &str, body: Option<Value>) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default())
}

async fn start() -> Server {
    Server::start(Config::loopback()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_utf_8_gets_a_problem_document() {
    let server = start().await;
    let (status, head, body) = ask(&server, "GET", "/v1/sessions/%ff", None);
    assert_eq!((status, &body["code"]), (400, &json!("malformed")));
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_that_is_off_says_so() {
    let server = start().await;
    let (status, _, body) = ask(&server, "GET", "/v1/presence?channel=tea", None);
    assert_eq!(status, 404);
    assert!(body["detail"].as_str().unwrap().contains("presence = true"), "{body}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_subscribe_a_session_that_is_not_there_fails() {
    let server = start().await;
    let request = json!({ "session": NOBODY, "channel": "tea" });
    let (status, _, body) = ask(&server, "PUT", "/v1/subscriptions", Some(request));
    assert_eq!((status, &body["code"]), (404, &json!("not-found")));
    let joined = server.handle().session(NOBODY.parse().unwrap(), "/").join("tea").await;
    assert_eq!(joined, Err(OfficeError::Refused(Refusal::NotFound)));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_there_is_nothing_to_reload() {
    let server = start().await;
    assert!(!server.reload_tls().await.unwrap());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_have_names_of_their_own_and_say_whether_they_need_a_key() {
    let server = start().await;
    let (_, _, document) = ask(&server, "GET", "/v1/openapi.json", None);
    let mut ids = Vec::new();
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let ways = operation["security"].as_array().unwrap_or_else(|| panic!("no security: {operation}"));
            let open = !ways.iter().any(|way| way["key"].is_array());
            assert_eq!(operation["responses"].get("401").is_some(), !open, "{operation}");
            let described = |response: &Value| response["description"].is_string();
            assert!(operation["responses"].as_object().unwrap().values().all(described), "{operation}");
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{ids:?}");
    assert_eq!(document["components"]["securitySchemes"]["key"]["scheme"], "bearer");
    server.drain().await;
}

/// The same with a key, and what it leaves of it.
fn ask_under(server: &Server, key: &str, body: &Value) -> (u16, String) {
    let mut stream = TcpStream::connect(server.private_addr()).unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// One shard, and these settings.
fn with(settings: &[&str]) -> Config {
    let usual =
        ["server.public_listen=127.0.0.1:0", "server.private_listen=127.0.0.1:0", "auth.mode=anonymous"];
    let argument = |setting: &&str| {
        let (key, value) = setting.split_once('=').unwrap();
        Argument { shown: key.to_owned(), key: key.to_owned(), value: value.to_owned() }
    };
    let arguments = usual.iter().chain(settings).map(argument).collect();
    let sources = Sources { arguments, ..Sources::default() };
    Config::load(&sources, Machine { cores: 1, open_files_max: 10_000 }).unwrap().config
}

/// Two shards, and channels below `kept/` keep what is published.
fn keeping() -> Config {
    let text = "[[channel]]\nfilter = \"kept/#\"\nhistory_messages_max = 1000\n";
    let settings = [
        "server.public_listen=127.0.0.1:0",
        "server.private_listen=127.0.0.1:0",
        "server.shards=2",
        "auth.mode=anonymous",
    ];
    let argument = |setting: &&str| {
        let (key, value) = setting.split_once('=').unwrap();
        Argument { shown: key.to_owned(), key: key.to_owned(), value: value.to_owned() }
    };
    let sources = Sources {
        file: Some(SourceFile { name: "test".to_owned(), text: text.to_owned() }),
        arguments: settings.iter().map(argument).collect(),
        ..Sources::default()
    };
    Config::load(&sources, Machine { cores: 2, open_files_max: 10_000 }).unwrap().config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_repeated_under_its_key_is_carried_out_once() {
    let server = Server::start(keeping()).await.unwrap();
    let body = json!({ "channel": "kept/a", "data": 1 });
    let first = ask_under(&server, "\"k1\"", &body);
    assert_eq!(first.0, 200, "{}", first.1);
    assert_eq!(ask_under(&server, "\"k1\"", &body), first);
    assert_eq!(ask_under(&server, "\"k1\"", &json!({ "channel": "kept/a", "data": 2 })).0, 422);
    assert_eq!(ask_under(&server, "k1", &body).0, 400);
    let other = ask_under(&server, "\"k2\"", &body);
    assert!(other.0 == 200 && other.1 != first.1);
    let (_, _, page) = ask(&server, "GET", "/v1/messages?channel=kept/a", None);
    assert_eq!(page["items"].as_array().unwrap().len(), 2, "{page}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_has_its_own_answer_in_its_place() {
    let server = Server::start(keeping()).await.unwrap();
    let mut batch: Vec<Value> =
        (0..996).map(|n| json!({ "channel": format!("kept/{}", n % 7), "data": n })).collect();
    batch.push(json!({ "channel": "a+", "data": 1 }));
    batch.push(json!({ "channel": "kept/0", "colour": "red" }));
    batch.push(json!({ "channels": ["kept/0", "kept/1"], "data": "both" }));
    batch.push(json!({ "channel": "kept/2", "data": "later", "wait": false }));
    let (status, _, answer) = ask(&server, "POST", "/v1/messages/batch", Some(Value::from(batch.clone())));
    assert_eq!(status, 200, "{answer}");
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 1000);
    for (n, item) in items[..996].iter().enumerate() {
        assert_eq!(item["results"][0]["channel"], json!(format!("kept/{}", n % 7)));
        let position = item["results"][0]["position"].as_str().unwrap();
        assert!(position.ends_with(&format!("-{}", n / 7 + 1)), "message {n} is at {position}");
    }
    assert_eq!((&items[996]["code"], &items[996]["status"]), (&json!("invalid-channel"), &json!(422)));
    assert_eq!(items[997]["code"], json!("unknown-field"));
    assert_eq!(items[998]["results"][0]["channel"], json!("kept/0"));
    assert!(items[999]["id"].is_string() && items[999].get("results").is_none(), "{}", items[999]);
    let too_many = Value::from(vec![json!({ "channel": "kept/0" }); 1001]);
    assert_eq!(ask(&server, "POST", "/v1/messages/batch", Some(too_many)).2["code"], json!("over-limit"));
    assert_eq!(ask(&server, "POST", "/v1/messages/batch", Some(json!({}))).0, 400);
    assert_eq!(ask(&server, "POST", "/v1/messages/batch", Some(json!([]))).2, json!({ "items": [] }));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_when_it_was_so_and_who_is_missing() {
    let server = Server::start(keeping()).await.unwrap();
    let before = std::time::SystemTime::now();
    for list in ["sessions", "connections", "channels", "users", "nodes", "bans", "revocations", "imports"] {
        let (_, _, page) = ask(&server, "GET", &format!("/v1/{list}"), None);
        let as_of = page["as_of"].as_str().unwrap_or_else(|| panic!("{list}: {page}"));
        let since_ms = wire::cloudevent::parse_timestamp(as_of).unwrap();
        let since = std::time::UNIX_EPOCH + std::time::Duration::from_millis(since_ms + 1);
        assert!(since >= before && since <= std::time::SystemTime::now() + std::time::Duration::from_secs(1));
        assert_eq!(page["missing"], json!([]), "{list}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_read_backwards_and_deleted() {
    let server = Server::start(keeping()).await.unwrap();
    for n in 0..5 {
        ask(&server, "POST", "/v1/messages", Some(json!({ "channel": "kept/h", "data": n })));
    }
    let get = |query: &str| ask(&server, "GET", &format!("/v1/messages?channel=kept/h{query}"), None);
    let data = |page: &Value| -> Vec<Value> {
        page["items"].as_array().unwrap().iter().map(|item| item["args"][0].clone()).collect()
    };
    let (_, _, page) = get("&reverse=true&limit=2");
    assert_eq!(data(&page), [json!(4), json!(3)]);
    let next = page["next"].as_str().unwrap().to_owned();
    assert_eq!(data(&get(&format!("&reverse=true&before={next}")).2), [json!(2), json!(1), json!(0)]);
    let delete = |query: &str| ask(&server, "DELETE", &format!("/v1/messages?channel=kept/h{query}"), None);
    assert_eq!(delete(&format!("&before={next}")).0, 204);
    assert_eq!(data(&get("").2), [json!(3), json!(4)]);
    assert_eq!(delete("").0, 204);
    assert_eq!(data(&get("").2), Vec::<Value>::new());
    assert_eq!(get(&format!("&after={next}")).0, 410);
    assert_eq!(delete(&format!("&before={next}")).0, 410);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_newer_than_the_last_version_is_refused() {
    let server = Server::start(keeping()).await.unwrap();
    let post = |body: Value| ask(&server, "POST", "/v1/messages", Some(body));
    let of = |version: u64| json!({ "channel": "kept/v", "data": version, "version": version });
    assert_eq!(post(of(3)).0, 200);
    let (status, _, problem) = post(of(2));
    assert_eq!((status, &problem["code"]), (412, &json!("precondition")), "{problem}");
    let batch = json!([of(3), of(4), { "channel": "kept/v", "version": 1, "key": "k" }]);
    let (_, _, answer) = ask(&server, "POST", "/v1/messages/batch", Some(batch));
    let codes: Vec<_> =
        answer["items"].as_array().unwrap().iter().map(|item| item["code"].as_str()).collect();
    assert_eq!(codes, [Some("precondition"), None, None], "{answer}");
    for wrong in [
        json!({ "channel": "a", "version": 1, "wait": false }),
        json!({ "channels": ["a", "b"], "version": 1 }),
        json!({ "channel": "a", "key": "" }),
        json!({ "channels": ["a", "b"], "key": "k" }),
        json!({ "channel": "a", "key": "k", "reply": { "wait_ms": 1 } }),
    ] {
        assert_eq!(post(wrong.clone()).0, 400, "{wrong}");
    }
    server.drain().await;
}

/// A POST with any headers.
fn post(server: &Server, target: &str, headers: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(server.private_addr()).unwrap();
    let length = body.len();
    let head = format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn cloudevents_are_published_in_each_of_their_modes() {
    let server = Server::start(keeping()).await.unwrap();
    let event = |rest: &str| {
        format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"made","subject":"kept/e"{rest}}}"#)
    };
    let structured = "content-type: application/cloudevents+json; charset=utf-8\r\n";
    let (status, answer) = post(&server, "/v1/events", structured, &event(r#","data":{"n":1}"#));
    assert_eq!((status, &answer["results"][0]["channel"]), (200, &json!("kept/e")), "{answer}");
    let binary = "content-type: text/plain\r\nce-specversion: 1.0\r\nce-id: 2\r\nce-source: /s\r\nce-type: made\r\n\
                  ce-subject: kept/e\r\nce-event: said\r\n";
    assert_eq!(post(&server, "/v1/events?wait=false", binary, "hi").0, 202);
    let batch =
        format!("[{},{},7]", event(r#","data_base64":"AQI=","event":"b""#), event(r#","subject":"x""#));
    let (status, answer) =
        post(&server, "/v1/events", "content-type: application/cloudevents-batch+json\r\n", &batch);
    assert_eq!(status, 200, "{answer}");
    assert!(answer["items"][0]["results"][0]["position"].is_string(), "{answer}");
    assert_eq!([&answer["items"][1]["code"], &answer["items"][2]["code"]], [&json!("malformed"); 2]);
    let (_, _, page) = ask(&server, "GET", "/v1/messages?channel=kept/e", None);
    let kept: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| (&item["event"], &item["args"])).collect();
    let wanted = [json!([{ "n": 1 }]), json!(["hi"]), json!([{ "$binary": "AQI=" }])];
    assert_eq!(kept, [(&json!("made"), &wanted[0]), (&json!("said"), &wanted[1]), (&json!("b"), &wanted[2])]);
    assert_eq!(post(&server, "/v1/events", "content-type: application/json\r\n", &event("")).0, 415);
    let without = r#"{"specversion":"1.0","id":"1","source":"/s","type":"made"}"#;
    assert_eq!(post(&server, "/v1/events", structured, without).1["code"], json!("invalid-channel"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_is_not_part_of_the_first_user_of_an_import() {
    let server = start().await;
    for (media, lines) in [
        ("text/csv", "\u{feff}ada,tea\r\nbob,tea\r\n"),
        ("application/x-ndjson", "\u{feff}{\"user\":\"ada\",\"channel\":\"tea\"}\n"),
    ] {
        let (status, view) = post(&server, "/v1/imports", &format!("content-type: {media}\r\n"), lines);
        assert_eq!((status, &view["state"], &view["rejected"]), (202, &json!("done"), &json!(0)), "{view}");
        let (status, _, stored) = ask(&server, "GET", "/v1/users/ada/subscriptions", None);
        assert_eq!((status, &stored["items"][0]["channel"]), (200, &json!("tea")), "{stored}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_name_that_clients_cannot_be_told_is_refused() {
    let server = start().await;
    for name in ["", "a\0b", "a\nb", "a\r"] {
        let message = json!({ "channel": "tea", "event": name });
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "t", "subject": "tea", "event": name });
        let media = "content-type: application/cloudevents+json\r\n";
        let (status, answer) = post(&server, "/v1/events", media, &event.to_string());
        // An attribute of an event is never empty nor has control characters: the codec says so before.
        assert!(matches!(status, 400 | 422), "{name:?}: {answer}");
        let retained = ask(&server, "PUT", "/v1/retained?channel=tea", Some(json!({ "event": name })));
        for (status, _, answer) in [ask(&server, "POST", "/v1/messages", Some(message)), retained] {
            assert_eq!((status, &answer["code"]), (422, &json!("invalid-event")), "{name:?}: {answer}");
        }
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_not_utf_8_gets_a_problem_document() {
    let server = start().await;
    for target in ["/v1/sessions?user=%ff", "/v1/channels?filter=%c3", "/v1/messages?channel=a&cursor=%80"] {
        let (status, _, body) = ask(&server, "GET", target, None);
        assert_eq!((status, &body["code"]), (400, &json!("malformed")), "{target}: {body}");
    }
    assert_eq!(ask(&server, "GET", "/v1/sessions?user=%c3%a9", None).0, 200);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_say_which_field_and_what_is_wanted_of_it() {
    let server = start().await;
    let detail = |(_, _, body): (u16, String, Value)| body["detail"].as_str().unwrap().to_owned();
    let post = |body: Value| detail(ask(&server, "POST", "/v1/messages", Some(body)));
    assert_eq!(post(json!({ "channel": 7 })), "`channel` must be a string, not integer `7`");
    assert_eq!(post(json!({ "channel": "a", "reply": {} })), "`reply.wait_ms` is missing");
    let unknown = post(json!({ "channel": "a", "colour": 1 }));
    assert!(unknown.starts_with("there is no `colour`; there is `channel`, "), "{unknown}");
    let get = |target: &str| detail(ask(&server, "GET", target, None));
    assert_eq!(get("/v1/sessions?limit=many"), "`limit` must be a whole number that is not negative");
    assert_eq!(get("/v1/presence"), "`channel` is missing");
    server.drain().await;
}

/// What comes until the server closes the connection.
fn until_closed(server: &Server, said: &str) -> String {
    let mut stream = TcpStream::connect(server.private_addr()).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_send_a_request_to_its_end_does_not_keep_a_connection() {
    let times = ["limits.head_timeout_ms=100", "limits.body_timeout_ms=150", "limits.keep_alive_seconds=1"];
    let server = Server::start(with(&times)).await.unwrap();
    assert_eq!(until_closed(&server, ""), "");
    assert_eq!(until_closed(&server, "GET /v1/server HTTP/1.1\r\nhost: localhost\r\nx-a: "), "");
    // There is more time for the next request, and that ends, too.
    let alive = until_closed(&server, "GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET /v1");
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("ok\n"), "{alive}");
    let head = |target: &str, media: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: 99\r\n\r\n{{"
        )
    };
    for said in [
        head("/v1/messages", "application/json"),
        head("/v1/messages", "application/json")
            .replace("content-type", "idempotency-key: \"a\"\r\ncontent-type"),
        head("/v1/imports", "text/csv"),
        head("/", "application/x-www-form-urlencoded"),
    ] {
        let answer = until_closed(&server, &said);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"code\":\"timeout\""), "{answer}");
    }
    server.drain().await;
}

/// A connection to the private port of which little fits into buffers, and on which a value of so many bytes is asked for.
fn asking_for(server: &Server, bytes: usize) -> TcpStream {
    let put = ask(server, "PUT", "/v1/retained?channel=large", Some(json!({ "data": "x".repeat(bytes) })));
    assert!(matches!(put.0, 200 | 204), "{put:?}");
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(16_384).unwrap();
    socket.connect(&server.private_addr().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"GET /v1/retained?channel=large HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    stream
}

const LARGE: [&str; 4] = [
    "limits.message_bytes_max=33554432",
    "limits.rest_body_bytes_max=67108864",
    "limits.outbox_bytes_max=134217728",
    "limits.write_buffer_bytes_max=134217728",
];

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_an_answer_does_not_keep_it() {
    let server = Server::start(with(&[&LARGE[..], &["limits.write_timeout_ms=200"]].concat())).await.unwrap();
    let mut stream = asking_for(&server, 16 << 20);
    // Nothing is read until the server has given up.
    until_so("it is given up", || stream.take_error().unwrap().is_some());
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_err() || answer.len() < 16 << 20, "{} bytes", answer.len());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_an_answer_slowly_gets_all_of_it() {
    const TIME: Duration = Duration::from_millis(1000);
    let server =
        Server::start(with(&[&LARGE[..], &["limits.write_timeout_ms=1000"]].concat())).await.unwrap();
    let mut stream = asking_for(&server, 16 << 20);
    let (begun, mut got, mut piece) = (Instant::now(), 0, vec![0; 4096]);
    while begun.elapsed() < 3 * TIME {
        got += stream.read(&mut piece).unwrap();
        // Then it does something else.
        let read_at = Instant::now();
        while read_at.elapsed() < Duration::from_millis(20) {
            assert_eq!(ask(&server, "GET", "/v1/server", None).0, 200);
        }
    }
    assert!(got < 8 << 20, "it is not so fast that all of it is in buffers: {got}");
    piece.resize(1 << 20, 0);
    while got <= 16 << 20 {
        let more = stream.read(&mut piece).unwrap();
        assert!(more > 0, "all of it: {got}");
        got += more;
    }
    server.drain().await;
}

const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A client of Socket.IO that is connected, and the id of its session.
fn socket(server: &Server) -> (WebSocket, String) {
    let mut socket = WebSocket::connect(server.public_addr(), SOCKET);
    socket.next_text();
    socket.text("40");
    let sid = field(&socket.next_text(), "sid").unwrap();
    (socket, sid)
}

/// The connections that a query is answered with, once there are so many.
fn connections(server: &Server, query: &str, count: usize) -> Vec<Value> {
    until(query, || {
        let (status, _, page) = ask(server, "GET", &format!("/v1/connections{query}"), None);
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap();
        (items.len() == count).then(|| items.clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_listed_with_what_is_on_them() {
    let server = Server::start(with(&["server.shards=2"])).await.unwrap();
    let (_socket, sid) = socket(&server);
    let mut device = publisher::client(&server, "device");
    device.subscribe(&["tea".to_owned()], (Qos::AtMostOnce, Retained::Unwanted), PATIENCE).unwrap();
    let _stream = Stream::get(server.public_addr(), "/sse?channel=coffee", &[]);
    let _silent = TcpStream::connect(server.public_addr()).unwrap();
    let all = connections(&server, "", 4);
    let of = |protocol: &str| all.iter().find(|one| one["protocol"] == *protocol).unwrap_or(&Value::Null);
    let (one, other) = (of("socketio/5"), of("mqtt/5"));
    assert_eq!((&one["transport"], &one["state"]), (&json!("websocket"), &json!("websocket")), "{one}");
    assert_eq!(one["sessions"], json!([{ "id": sid, "namespace": "/" }]));
    assert_eq!((&other["transport"], &other["state"]), (&json!("tcp"), &json!("stream")), "{other}");
    assert_eq!((&of("sse")["transport"], &of("sse")["state"]), (&json!("http"), &json!("answer")));
    let silent = all.iter().find(|one| one.get("protocol").is_none()).unwrap();
    assert_eq!((&silent["state"], &silent["sessions"]), (&json!("request"), &json!([])));
    assert!(all.iter().all(|one| one["remote"].as_str().unwrap().starts_with("127.0.0.1:")));
    assert!(all.iter().all(|one| one["node"] == 0 && one["secure"] == false && one["unsent_bytes"] == 0));
    for (query, found) in [
        ("?protocol=mqtt", vec![other]),
        ("?client_id=device", vec![other]),
        ("?channel=tea", vec![other]),
        ("?namespace=/", vec![one]),
        ("?node=0&protocol=sse", vec![of("sse")]),
        ("?node=7", vec![]),
        ("?user=nobody", vec![]),
    ] {
        assert_eq!(connections(&server, query, found.len()).iter().collect::<Vec<_>>(), found, "{query}");
    }
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, _, page) = ask(&server, "GET", &format!("/v1/connections?limit=1{cursor}"), None);
        pages.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, all);
    let id = one["id"].as_str().unwrap();
    let mut looked = ask(&server, "GET", &format!("/v1/connections/{id}"), None).2;
    assert!(looked.as_object_mut().unwrap().remove("traffic").is_some(), "{looked}");
    assert_eq!(looked, *one);
    for id in ["000000000100000099", "ff0000000000000000", "x"] {
        assert_eq!(ask(&server, "GET", &format!("/v1/connections/{id}"), None).0, 404, "{id}");
    }
    assert_eq!(ask(&server, "GET", "/v1/connections?cursor=x", None).0, 400);
    assert_eq!(ask(&server, "GET", "/v1/sessions?node=7", None).2["items"], json!([]));
    server.drain().await;
}

/// What connections hold, by protocol.
fn memory(answer: &Value, protocol: Option<&str>) -> (u64, u64) {
    let all = answer["memory"].as_array().unwrap();
    let found = all.iter().find(|one| one.get("protocol").and_then(Value::as_str) == protocol);
    let number = |name: &str| found.map_or(0, |one| one[name].as_u64().unwrap());
    assert_eq!(number("bytes_each"), number("bytes") / number("connections").max(1));
    (number("connections"), number("bytes_each"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connections_hold_in_memory_is_measured_by_protocol() {
    const MANY: usize = 1500;
    let server = Server::start(with(&[])).await.unwrap();
    let nodes = || ask(&server, "GET", "/v1/nodes", None).2["items"][0].clone();
    assert_eq!(nodes()["memory"], json!([]));
    let _sockets: Vec<_> = (0..3).map(|_| socket(&server)).collect();
    let mut device = publisher::client(&server, "device");
    device.subscribe(&["tea".to_owned()], (Qos::AtMostOnce, Retained::Unwanted), PATIENCE).unwrap();
    // More than are looked at in one go.
    let get = |_| Stream::get(server.public_addr(), "/sse?channel=coffee", &[]);
    let streams: Vec<Stream> = (0..MANY).map(get).collect();
    let mut silent = TcpStream::connect(server.public_addr()).unwrap();
    let counts =
        |node: &Value| [Some("socketio"), Some("mqtt"), Some("sse"), None].map(|name| memory(node, name).0);
    let node = until("all are there", || Some(nodes()).filter(|node| counts(node) == [3, 1, MANY as u64, 1]));
    for name in ["socketio", "mqtt", "sse"] {
        // What the tests of the parts allow, and a little for names.
        let (_, bytes_each) = memory(&node, Some(name));
        assert!((250..800).contains(&bytes_each), "{name}: {node}");
    }
    assert!(memory(&node, None).1 < 150, "{node}");
    let (_, _, info) = ask(&server, "GET", "/v1/server?memory=true", None);
    assert_eq!(counts(&info), counts(&node));
    assert!(ask(&server, "GET", "/v1/server", None).2.get("memory").is_none());
    let head = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(8000));
    silent.write_all(head.as_bytes()).unwrap();
    until_so("what it has sent is held", || memory(&nodes(), None).1 > 8000);
    drop(streams);
    until_so("nobody holds anything", || memory(&nodes(), Some("sse")) == (0, 0));
    server.drain().await;
}

/// What the kernel tells of the only connection, once it is so.
fn traffic(server: &Server, query: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let id = connections(server, "", 1)[0]["id"].as_str().unwrap().to_owned();
    until("its traffic", || {
        let (_, _, one) = ask(server, "GET", &format!("/v1/connections/{id}{query}"), None);
        is_so(&one["traffic"]).then(|| one["traffic"].clone())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_rates_of_one_connection_are_those_that_the_kernel_counts() {
    let server = Server::start(with(&["server.shards=2"])).await.unwrap();
    let mut stream = Stream::get(server.public_addr(), "/ndjson?channel=tea", &[]);
    let before = traffic(&server, "", |traffic| traffic["sent_bytes"].as_u64() > Some(0));
    assert!(
        before["received_bytes"].as_u64().unwrap() < 1000 && before["sent_bytes"].as_u64().unwrap() < 1000
    );
    let body = json!({ "channel": "tea", "data": "x".repeat(100_000) });
    let (address, is_measured) = (server.private_addr(), AtomicBool::new(false));
    let (rates, messages) = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let is_over =
                |messages| messages == 20_000 || (messages > 2 && is_measured.load(Ordering::Relaxed));
            let publish = |_: &u64| {
                assert_eq!(ask_at(address, "POST", "/v1/messages", Some(body.clone())).0, 200);
                assert_eq!(stream.line().unwrap()["channel"], json!("tea"));
            };
            (0..).take_while(|messages| !is_over(*messages)).inspect(publish).count() as u64
        });
        let is_fast = |traffic: &Value| traffic["sent_bytes_per_second"].as_f64() > Some(0.0);
        let rates = traffic(&server, "?over_ms=500", is_fast);
        is_measured.store(true, Ordering::Relaxed);
        (rates, publishing.join().unwrap())
    });
    let sent = messages * 100_000;
    let after = traffic(&server, "", |traffic| traffic["sent_bytes"].as_u64() >= Some(sent));
    assert!(after["sent_bytes"].as_u64().unwrap() < sent + 300 * messages + 1000, "{after}");
    assert_eq!(after["received_bytes"], before["received_bytes"]);
    assert!(after["round_trip_ms"].as_f64().unwrap() > 0.0 && after["retransmits"].is_u64(), "{after}");
    assert!(rates["sent_bytes_per_second"].as_f64().unwrap() < 2.5 * sent as f64, "{rates}");
    assert_eq!(rates["received_bytes_per_second"], json!(0.0));
    assert!(connections(&server, "", 1)[0].get("traffic").is_none(), "not for each of a list");
    let id = connections(&server, "", 1)[0]["id"].as_str().unwrap().to_owned();
    for query in ["over_ms=99", "over_ms=10001", "over_ms=x", "other=1"] {
        assert_eq!(ask(&server, "GET", &format!("/v1/connections/{id}?{query}"), None).0, 400, "{query}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_is_one_whose_client_comes_back() {
    let server = Server::start(with(&[])).await.unwrap();
    let _device = publisher::client(&server, "device");
    let (mut socket, _) = socket(&server);
    let id = connections(&server, "?protocol=mqtt", 1)[0]["id"].as_str().unwrap().to_owned();
    let target = format!("/v1/connections/{id}");
    assert_eq!(ask(&server, "DELETE", &target, None).0, 204);
    until_so("it is gone", || ask(&server, "DELETE", &target, None).0 == 404);
    let (_, _, page) = ask(&server, "GET", "/v1/sessions?client_id=device", None);
    assert_eq!(page["items"][0]["connected"], json!(false), "its session is still there: {page}");
    assert_eq!(ask(&server, "DELETE", "/v1/connections?node=0", None).0, 400);
    assert_eq!(
        ask(&server, "DELETE", "/v1/connections?protocol=socketio&node=7", None).2,
        json!({ "count": 0 })
    );
    assert_eq!(ask(&server, "DELETE", "/v1/connections?protocol=socketio", None).2, json!({ "count": 1 }));
    socket.until_closed();
    connections(&server, "", 0);
    let mut silent = TcpStream::connect(server.public_addr()).unwrap();
    let id = connections(&server, "", 1)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(&server, "DELETE", &format!("/v1/connections/{id}"), None).0, 204);
    assert_eq!(silent.read(&mut [0]).unwrap_or(0), 0, "nobody speaks to it any more");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_sends_its_clients_away_until_it_is_not() {
    let server = Server::start(with(&["server.shards=2"])).await.unwrap();
    let (mut there, _) = socket(&server);
    let mut device = publisher::client(&server, "device");
    let drain = |node: &str, body: Value| ask(&server, "PUT", &format!("/v1/nodes/{node}/drain"), Some(body));
    assert_eq!(drain("7", json!({})).0, 404);
    assert_eq!(drain("0", json!({ "seconds": 86_401 })).0, 400);
    assert_eq!(drain("0", json!({ "seconds": 0 })).0, 202);
    there.until_closed();
    assert!(device.receive(Some(Instant::now() + PATIENCE)).is_err(), "it has no connection");
    assert_eq!(get(server.public_addr(), "/socket.io/?EIO=4&transport=polling").status, 503);
    assert_eq!(ask(&server, "GET", "/health/ready", None).0, 503);
    let node = until("all have left", || {
        let (_, _, page) = ask(&server, "GET", "/v1/nodes", None);
        (page["items"][0]["connections"] == 0).then(|| page["items"][0].clone())
    });
    assert_eq!((&node["id"], &node["draining"]), (&json!(0), &json!(true)), "{node}");
    assert_eq!(ask(&server, "GET", "/v1/server", None).2["draining"], json!(true));
    assert_eq!(
        ask(&server, "POST", "/v1/messages", Some(json!({ "channel": "tea" }))).0,
        200,
        "the back end goes on"
    );
    assert_eq!(ask(&server, "DELETE", "/v1/nodes/0/drain", None).0, 204);
    assert_eq!(ask(&server, "GET", "/health/ready", None).0, 200);
    let (mut back, _) = socket(&server);
    back.text("3");
    assert_eq!(connections(&server, "", 1)[0]["protocol"], json!("socketio/5"));
    server.drain().await;
}

/// Regression: a list was read as the members of an object in their order, as a body and inside one.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_not_read_as_an_object() {
    let server = start().await;
    let told = |detail: &str| (400, json!("malformed"), json!(detail));
    for (method, target, body, detail) in [
        ("PUT", "/v1/blocks/ann", json!([60, "why"]), "the body must be an object, not a list"),
        ("PUT", "/v1/users/ann/subscriptions", json!(["tea", 1]), "the body must be an object, not a list"),
        (
            "POST",
            "/v1/messages",
            json!({"channel": "tea", "data": 1, "reply": [100]}),
            "`reply` must be an object, not a list",
        ),
    ] {
        let (status, _, answer) = ask(&server, method, target, Some(body));
        assert_eq!((status, answer["code"].clone(), answer["detail"].clone()), told(detail), "{target}");
    }
    assert_eq!(ask(&server, "GET", "/v1/blocks/ann", None).0, 404);
    server.drain().await;
}
