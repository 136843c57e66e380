//! Requests that are not served, and limits.

use serde_json::{Value, json};

use super::support::client::Http;
use super::{Server, config, start};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused_with_its_reason() {
    let server = start(&[("limits.stream_channels_max", "2")]).await;
    let mut http = Http::connect(server.public_addr());
    for (target, status, code) in [
        ("/sse", 400, "malformed"),
        ("/ndjson?channel=a&history=many", 400, "malformed"),
        ("/poll?channel=a&after=7", 400, "malformed"),
        ("/sse?channel=", 422, "invalid-channel"),
        ("/sse?channel=a%23", 422, "invalid-filter"),
        ("/poll?channel=a/%23", 422, "invalid-channel"),
        ("/sse?channel=$user/7", 403, "reserved-channel"),
        ("/sse?channel=a&channel=b&channel=c", 422, "over-limit"),
    ] {
        let answer = http.get(target);
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["code"]), (status, &json!(code)), "{target}");
        assert_eq!(problem["type"], format!("/v1/problems/{code}"));
    }
    assert_eq!(http.post("/sse?channel=a", "").status, 405);
    assert_eq!(http.get("/publish?channel=a").status, 405);
    assert_eq!(http.get("/ssee").status, 404);
    server.drain().await;
}

/// Regression: 426 came without the fields that say what is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_no_websocket_or_another_version_is_told_which() {
    let server = start(&[]).await;
    let other = [
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "8"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for path in ["/ws", "/mqtt"] {
        for (headers, version) in [(&[][..], None), (&other[..], Some("13"))] {
            let mut http = Http::connect(server.public_addr());
            http.send("GET", path, headers, None);
            let answer = http.answer();
            assert_eq!((answer.status, answer.header("upgrade")), (426, Some("websocket")), "{path}");
            assert_eq!(answer.header("sec-websocket-version"), version, "{path}");
        }
    }
    server.drain().await;
}

/// Regression: it was answered 413, the body being more than nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_with_a_body_is_told_which_one_is_right() {
    let server = start(&[]).await;
    for (method, target, detail) in [
        ("POST", "/sse?channel=a", "streams are asked for by GET"),
        ("PUT", "/publish?channel=a", "messages come by POST"),
    ] {
        let mut http = Http::connect(server.public_addr());
        http.send(method, target, &[], Some(b"x"));
        let answer = http.answer();
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, &problem["detail"]), (405, &json!(detail)), "{method} {target}");
    }
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_others_have_rules_nobody_reads() {
    for (settings, status) in [(("mqtt.acl_default", "deny"), 403), (("streams.enabled", "false"), 404)] {
        let server = Server::start(config(&[settings])).await.unwrap();
        let address = server.public_addr();
        assert_eq!(Http::connect(address).get("/sse?channel=a").status, status, "{settings:?}");
        assert_eq!(Http::connect(address).post("/publish?channel=a", "").status, status, "{settings:?}");
        server.drain().await;
    }
}

/// Without an answer of the back end, and with nobody whom it could be asked about.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_the_back_end_in_vain_comes_back() {
    let settings = [("auth.mode", "back_end"), ("streams.connect_timeout_ms", "100")];
    let server = Server::start(config(&settings)).await.unwrap();
    let address = server.public_addr();
    let mut stream = super::support::stream::Stream::get(address, "/sse?channel=a", &[]);
    assert_eq!((stream.status, stream.rest().as_str()), (200, "retry: 2000\n\n"));
    assert_eq!(Http::connect(address).get("/poll?channel=a").status, 503);
    assert_eq!(Http::connect(address).post("/publish?channel=a", "").status, 401);
    server.drain().await;
}

/// An `EventSource` stops for good on every status but 200.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_puts_clients_off_in_a_form_from_which_they_come_back() {
    let server = start(&[("limits.sessions_max", "1")]).await;
    let address = server.public_addr();
    let mut first = super::support::stream::Stream::get(address, "/sse?channel=a", &[]);
    let mut second = super::support::stream::Stream::get(address, "/sse?channel=a", &[]);
    assert_eq!((second.status, second.rest().as_str()), (200, "retry: 2000\n\n"));
    let answer = Http::connect(address).get("/ndjson?channel=a");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(Http::connect(address).get("/poll?channel=a").status, 503);
    super::publish(address, "a", "still there");
    assert_eq!(first.message().data, "still there");
    server.drain().await;
}
