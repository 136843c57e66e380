//! Engine.IO over real shards, byte for byte: requests, polling, heartbeat, upgrade, errors, CORS, revision 3.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::time::{Duration, Instant};

use support::Node;
use support::client::{Http, Said, WebSocket, field, get, post};
use trunkline::config::{Config, HttpPath};

const POLL: &str = "/engine.io/?EIO=4&transport=polling";
const SOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

fn config() -> Config {
    let mut config = Config::loopback();
    config.engine_echo_path = Some(HttpPath::parse("/engine.io/").unwrap());
    config.socketio.max_payload_bytes = 10_000;
    config
}

fn echo() -> Node {
    Node::start(config(), |_, _| {})
}

fn echo_with(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = config();
    change(&mut config);
    Node::start(config, |_, _| {})
}

fn open(node: &Node) -> String {
    let answer = get(node.address, POLL);
    assert_eq!(answer.status, 200);
    format!("{POLL}&sid={}", field(answer.text(), "sid").unwrap())
}

const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const BAD_VERSION: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

#[test]
fn the_handshake_has_exactly_five_keys() {
    let node = echo();
    let answer = get(node.address, POLL);
    let sid = field(answer.text(), "sid").unwrap();
    let expected = format!(
        r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":10000}}"#
    );
    assert_eq!(answer.text(), expected);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    let mut socket = WebSocket::connect(node.address, SOCKET);
    assert!(socket.next_text().contains(r#""upgrades":[]"#));
    node.stop();
}

#[test]
fn the_path_is_served_with_and_without_its_last_slash() {
    let node = echo();
    assert_eq!(get(node.address, "/engine.io?EIO=4&transport=polling").status, 200);
    assert_eq!(get(node.address, "/engine.io/extra?EIO=4&transport=polling").status, 404);
    assert_eq!(get(node.address, "/other/?EIO=4&transport=polling").status, 404);
    node.stop();
}

#[test]
fn refusals_before_a_session() {
    let node = echo();
    let cases = [
        ("GET", "/engine.io/?EIO=4", UNKNOWN_TRANSPORT),
        ("GET", "/engine.io/?EIO=4&transport=abc", UNKNOWN_TRANSPORT),
        ("GET", "/engine.io/?EIO=4&transport=polling&sid=abc", UNKNOWN_SID),
        ("POST", POLL, BAD_METHOD),
        ("PUT", POLL, BAD_METHOD),
        ("GET", SOCKET, BAD_REQUEST),
        ("GET", "/engine.io/?transport=polling", BAD_VERSION),
        ("GET", "/engine.io/?EIO=abc&transport=polling", BAD_VERSION),
        ("GET", "/engine.io/?EIO=3&transport=polling", BAD_VERSION),
    ];
    for (method, target, body) in cases {
        let mut http = Http::connect(node.address);
        http.send(method, target, &[], if method == "GET" { None } else { Some(b"") });
        let answer = http.answer();
        assert_eq!((answer.status, answer.text()), (400, body), "{method} {target}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    node.stop();
}

#[test]
fn websockets_are_refused_before_the_101() {
    let node = echo();
    let cases = [
        ("/engine.io/?EIO=4", UNKNOWN_TRANSPORT),
        ("/engine.io/?EIO=4&transport=websocket&sid=abc", UNKNOWN_SID),
        ("/engine.io/?transport=websocket", BAD_VERSION),
        (POLL, BAD_REQUEST),
    ];
    for (target, body) in cases {
        let answer = WebSocket::try_connect(node.address, target, &[]).err().unwrap();
        assert_eq!((answer.status, answer.text()), (400, body), "{target}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    node.stop();
}

#[test]
fn a_sid_of_another_secret_is_unknown() {
    let node = echo();
    let target = open(&node);
    let (rest, last) = target.split_at(target.len() - 3);
    let forged = format!("{rest}{}", if last == "AAA" { "BBB" } else { "AAA" });
    assert_eq!(get(node.address, &forged).text(), UNKNOWN_SID);
    node.stop();
}

#[test]
fn a_poll_waits_and_packets_are_joined() {
    let node = echo();
    let target = open(&node);
    assert_eq!(post(node.address, &target, "4one\u{1e}4two\u{1e}bAQIDBA==").text(), "ok");
    assert_eq!(get(node.address, &target).text(), "4one\u{1e}4two\u{1e}bAQIDBA==");
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[], None);
    let answer = post(node.address, &target, "4three");
    assert_eq!((answer.status, answer.text(), answer.header("content-type")), (200, "ok", Some("text/html")));
    assert_eq!(waiting.answer().text(), "4three");
    node.stop();
}

#[test]
fn a_second_get_ends_the_session() {
    let node = echo();
    let target = open(&node);
    let mut first = Http::connect(node.address);
    first.send("GET", &target, &[], None);
    // The echo proves that the first GET is there: it is answered, and asked again on the same connection.
    post(node.address, &target, "4a");
    assert_eq!(first.answer().text(), "4a");
    first.send("GET", &target, &[], None);
    let second = wait_for(|| Some(ask_once(&node, &target)).filter(|answer| answer.0 == 400));
    assert_eq!(second, (400, BAD_REQUEST.to_owned()));
    assert_eq!(first.answer().text(), "1");
    assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
    node.stop();
}

fn ask_once(node: &Node, target: &str) -> (u16, String) {
    let answer = get(node.address, target);
    (answer.status, answer.text().to_owned())
}

fn wait_for<T>(mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "it did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn an_aborted_get_ends_the_session() {
    let node = echo();
    let target = open(&node);
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[], None);
    post(node.address, &target, "4a");
    assert_eq!(waiting.answer().text(), "4a");
    waiting.send("GET", &target, &[], None);
    drop(waiting);
    assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
    node.stop();
}

#[test]
fn a_close_packet_ends_the_session_with_a_noop() {
    let node = echo();
    let target = open(&node);
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[], None);
    assert_eq!(post(node.address, &target, "1").text(), "ok");
    assert!(matches!(waiting.answer(), answer if answer.text() == "6" || answer.text() == UNKNOWN_SID));
    assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
    node.stop();
}

#[test]
fn bad_packets_end_the_session() {
    for body in ["abc", "", "b*"] {
        let node = echo();
        let target = open(&node);
        post(node.address, &target, "4a");
        let mut poll = Http::connect(node.address);
        assert_eq!(poll.get(&target).text(), "4a");
        let answer = post(node.address, &target, body);
        assert_eq!((answer.status, answer.text()), (400, BAD_REQUEST), "{body:?}");
        assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
        node.stop();
    }
}

#[test]
fn raw_bytes_in_revision_4_end_the_session() {
    let node = echo();
    let target = open(&node);
    let mut http = Http::connect(node.address);
    http.send("POST", &target, &[("content-type", "application/octet-stream")], Some(b"4a"));
    assert_eq!(http.answer().status, 400);
    assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
    node.stop();
}

#[test]
fn a_body_over_the_limit_is_413_and_put_is_400() {
    let node = echo();
    let target = open(&node);
    let mut http = Http::connect(node.address);
    http.send("POST", &target, &[("content-length", "10001")], None);
    assert_eq!(http.answer().status, 413);
    let mut http = Http::connect(node.address);
    http.send("PUT", &target, &[], Some(b"4a"));
    assert_eq!((http.answer().status), 400);
    assert_eq!(post(node.address, &target, "4a").text(), "ok", "the session goes on");
    node.stop();
}

#[test]
fn one_connection_carries_several_sessions() {
    let node = echo();
    let (one, two) = (open(&node), open(&node));
    let mut http = Http::connect(node.address);
    assert_eq!(http.post(&one, "4a").text(), "ok");
    assert_eq!(http.post(&two, "4b").text(), "ok");
    assert_eq!(http.get(&two).text(), "4b");
    assert_eq!(http.get(&one).text(), "4a");
    node.stop();
}

#[test]
fn websocket_packets() {
    let node = echo();
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    socket.texts(&["6", "0", "5", "4hello"]);
    assert_eq!(socket.next_text(), "4hello", "noop, open and upgrade are ignored");
    socket.binary(&[1, 2, 3]);
    assert_eq!(socket.next(), Said::Binary(vec![1, 2, 3]));
    socket.text("1");
    assert_eq!(socket.until_closed(), None);
    for bad in ["2", "2probe", "abc", ""] {
        let mut socket = WebSocket::connect(node.address, SOCKET);
        socket.next_text();
        socket.text(bad);
        assert_eq!(socket.until_closed(), None, "{bad:?}");
    }
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    socket.text(&"4".repeat(10_001));
    assert_eq!(socket.until_closed(), Some(1009));
    node.stop();
}

fn fast(config: &mut Config) {
    config.socketio.ping_interval_ms = 300;
    config.socketio.ping_timeout_ms = 500;
}

#[test]
fn the_server_pings_and_each_pong_restarts_the_interval() {
    let node = echo_with(fast);
    let start = Instant::now();
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    for round in 1..=2 {
        assert_eq!(socket.next_text(), "2");
        assert!(start.elapsed() >= Duration::from_millis(295 * round));
        socket.text("3");
    }
    assert_eq!(socket.next_text(), "2");
    assert_eq!(socket.until_closed(), None);
    let last = Duration::from_millis(3 * 300 + 500 - 10);
    assert!(start.elapsed() >= last, "three intervals and the time-out: {:?}", start.elapsed());
    node.stop();
}

#[test]
fn a_polling_session_whose_time_is_over_is_unknown() {
    let node = echo_with(fast);
    let target = open(&node);
    let mut poll = Http::connect(node.address);
    assert_eq!(poll.get(&target).text(), "2");
    assert_eq!(post(node.address, &target, "3").text(), "ok");
    assert_eq!(poll.get(&target).text(), "2");
    poll.send("GET", &target, &[], None);
    assert_eq!(poll.answer().text(), UNKNOWN_SID, "no pong in time");
    assert_eq!(get(node.address, &target).text(), UNKNOWN_SID);
    node.stop();
}

fn probe_of(target: &str) -> String {
    target.replace("polling", "websocket")
}

#[test]
fn an_upgrade_moves_the_session() {
    let node = echo();
    let target = open(&node);
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[], None);
    let mut socket = WebSocket::connect(node.address, &probe_of(&target));
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    assert_eq!(waiting.answer().text(), "6");
    assert_eq!(get(node.address, &target).text(), "6", "polling gets only noops now");
    assert_eq!(post(node.address, &target, "4queued").text(), "ok", "POSTs are valid until the upgrade");
    assert_eq!(get(node.address, &target).text(), "6");
    socket.text("5");
    assert_eq!(socket.next_text(), "4queued");
    for answer in [get(node.address, &target), post(node.address, &target, "4x")] {
        assert_eq!((answer.status, answer.text()), (400, BAD_REQUEST));
    }
    let mut second = WebSocket::connect(node.address, &probe_of(&target));
    assert_eq!(second.until_closed(), None);
    socket.text("4still here");
    assert_eq!(socket.next_text(), "4still here");
    node.stop();
}

#[test]
fn a_failed_probe_leaves_polling_alone() {
    let node = echo_with(|config| config.socketio.upgrade_timeout_ms = 100);
    let target = open(&node);
    for first in [Some("5"), Some("4message"), Some("2"), None] {
        let mut socket = WebSocket::connect(node.address, &probe_of(&target));
        if let Some(first) = first {
            socket.text(first);
        }
        assert_eq!(socket.until_closed(), None, "{first:?}");
    }
    let mut socket = WebSocket::connect(node.address, &probe_of(&target));
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    assert_eq!(socket.until_closed(), None, "no upgrade in time");
    let mut socket = WebSocket::connect(node.address, &probe_of(&target));
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    drop(socket);
    post(node.address, &target, "4after");
    assert_eq!(wait_for(|| Some(ask_once(&node, &target).1).filter(|body| body != "6")), "4after");
    node.stop();
}

#[test]
fn without_websocket_there_is_no_upgrade() {
    use trunkline::config::{Argument, Machine, Sources};
    let argument =
        |key: &str, value: &str| Argument { shown: key.into(), key: key.into(), value: value.into() };
    let sources = Sources {
        arguments: vec![argument("auth.mode", "anonymous"), argument("socketio.transports", "polling")],
        ..Sources::default()
    };
    let loaded = Config::load(&sources, Machine { cores: 1, open_files_max: 10_000 }).unwrap();
    let node = echo_with(|config| config.socketio.transports = loaded.config.socketio.transports);
    assert!(get(node.address, POLL).text().contains(r#""upgrades":[]"#));
    let answer = WebSocket::try_connect(node.address, SOCKET, &[]).err().unwrap();
    assert_eq!(answer.text(), UNKNOWN_TRANSPORT);
    node.stop();
}

#[test]
fn cors_on_answers_errors_and_preflight() {
    use trunkline::config::{Origin, Origins};
    let node = echo_with(|config| {
        let origin = Origin::parse("https://app.example.com").unwrap();
        config.socketio.cors_origins = Origins::Listed(vec![origin]);
        config.socketio.cors_credentials = true;
    });
    let ask = |method: &str, target: &str, origin: &str| {
        let mut http = Http::connect(node.address);
        http.send(method, target, &[("origin", origin)], None);
        http.answer()
    };
    for target in [POLL, "/engine.io/?EIO=4"] {
        let answer = ask("GET", target, "https://app.example.com");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("vary"), Some("Origin"));
        assert_eq!(ask("GET", target, "https://evil.example").header("access-control-allow-origin"), None);
    }
    let preflight = ask("OPTIONS", POLL, "https://app.example.com");
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    let refused = WebSocket::try_connect(node.address, SOCKET, &[("origin", "https://evil.example")]);
    assert_eq!(refused.err().unwrap().text(), BAD_REQUEST);
    assert!(WebSocket::try_connect(node.address, SOCKET, &[("origin", "https://app.example.com")]).is_ok());
    node.stop();
}

#[test]
fn the_held_answer_has_the_cors_fields_of_its_request() {
    let node = echo_with(|config| config.socketio.cors_origins = trunkline::config::Origins::Any);
    let target = open(&node);
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[("origin", "https://a.example")], None);
    post(node.address, &target, "4a");
    assert_eq!(waiting.answer().header("access-control-allow-origin"), Some("*"));
    node.stop();
}

#[test]
fn the_cookie_is_set_on_the_polling_handshake_only() {
    let node = echo_with(|config| config.socketio.cookie = trunkline::config::CookieName::parse("io").ok());
    let answer = get(node.address, POLL);
    let sid = field(answer.text(), "sid").unwrap();
    let cookie = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.header("set-cookie"), Some(&*cookie));
    let target = format!("{POLL}&sid={sid}");
    post(node.address, &target, "4a");
    assert_eq!(get(node.address, &target).header("set-cookie"), None);
    node.stop();
}

#[test]
fn revision_3_payloads_and_heartbeat() {
    let node = echo_with(|config| {
        config.socketio.eio3 = true;
        fast(config);
    });
    let answer = get(node.address, "/engine.io/?EIO=3&transport=polling&b64=1");
    let (length, packet) = answer.text().split_once(':').unwrap();
    assert_eq!(length.parse(), Ok(packet.len()));
    let target = format!("/engine.io/?EIO=3&transport=polling&b64=1&sid={}", field(packet, "sid").unwrap());
    assert_eq!(post(node.address, &target, "2:4€10:b4AQIDBA==1:2").text(), "ok");
    assert_eq!(get(node.address, &target).text(), "2:4€10:b4AQIDBA==1:3");
    let answer = get(node.address, "/engine.io/?EIO=3&transport=polling");
    let raw = format!("/engine.io/?EIO=3&transport=polling&sid={}", field(answer.text(), "sid").unwrap());
    post(node.address, &raw, "6:4hello10:b4AQIDBA==");
    let answer = get(node.address, &raw);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.body, b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04");
    let mut socket = WebSocket::connect(node.address, "/engine.io/?EIO=3&transport=websocket");
    socket.next_text();
    socket.binary(&[9, 9]);
    socket.binary(&[4, 1, 2]);
    assert_eq!(socket.next(), Said::Binary(vec![4, 1, 2]), "a frame without a type is dropped");
    let heard = Instant::now();
    socket.text("2");
    assert_eq!(socket.next_text(), "3");
    assert_eq!(socket.until_closed(), None);
    assert!(heard.elapsed() >= Duration::from_millis(790), "interval and timeout: {:?}", heard.elapsed());
    let mut socket = WebSocket::connect(node.address, "/engine.io/?EIO=3&transport=websocket");
    socket.next_text();
    socket.text("3");
    assert_eq!(socket.until_closed(), None, "a client pong is an error");
    node.stop();
}

#[test]
fn sessions_are_found_from_any_shard() {
    let node = echo_with(|config| config.server.shards = 3);
    for round in 0..30 {
        let target = open(&node);
        let mut waiting = Http::connect(node.address);
        waiting.send("GET", &target, &[], None);
        let body = format!("4{round}");
        assert_eq!(post(node.address, &target, &body).text(), "ok");
        assert_eq!(waiting.answer().text(), body);
        drop(waiting);
    }
    node.stop();
}

#[test]
fn messages_per_second_are_slowed_not_lost() {
    let node = echo_with(|config| config.limits.events_per_second = 5);
    let start = Instant::now();
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    socket.texts(&["41", "42", "43", "44", "45", "46", "47", "48"]);
    for expected in ["41", "42", "43", "44", "45", "46", "47", "48"] {
        assert_eq!(socket.next_text(), expected);
    }
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
    let target = open(&node);
    let start = Instant::now();
    let body = ["4x"; 8].join("\u{1e}");
    assert_eq!(post(node.address, &target, &body).text(), "ok");
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());
    node.stop();
}

#[test]
fn draining_refuses_handshakes_and_closes_sessions() {
    let node = echo();
    let target = open(&node);
    let mut waiting = Http::connect(node.address);
    waiting.send("GET", &target, &[], None);
    let mut socket = WebSocket::connect(node.address, SOCKET);
    socket.next_text();
    let mut idle = Http::connect(node.address);
    assert_eq!(idle.post(&target, "4a").text(), "ok");
    assert_eq!(waiting.answer().text(), "4a");
    waiting.send("GET", &target, &[], None);
    node.stop();
    assert_eq!(waiting.answer().text(), UNKNOWN_SID);
    assert_eq!(socket.until_closed(), None);
}
