//! What each form looks like to a client.

use serde_json::json;

use super::support::stream::Stream;
use super::{back_end, publish, start};

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_gets_what_is_published() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=log/a", &[]);
    assert_eq!(stream.status, 200);
    for field in [
        "content-type: text/event-stream\r\n",
        "cache-control: no-store\r\n",
        "x-accel-buffering: no\r\n",
        "transfer-encoding: chunked\r\n",
    ] {
        assert!(stream.head.contains(field), "{}", stream.head);
    }
    assert_eq!(stream.block().unwrap(), "retry: 2000\n\n");
    let here = stream.notice();
    assert_eq!(here.json()["position"].as_str(), here.id.as_deref());
    let position = publish(address, "log/a", "one\ntwo").unwrap();
    let heard = stream.message();
    assert_eq!((heard.id, heard.data.as_str()), (Some(position), "one\ntwo"));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_keeps_nothing_has_no_ids_and_begins_at_once() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=chat", &[]);
    assert_eq!(publish(address, "chat", "hi"), None);
    assert_eq!(stream.block().unwrap(), "retry: 2000\n\n");
    assert_eq!(stream.block().unwrap(), "data: hi\n\n");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_back_end_names_events_and_sends_values() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut plain = Stream::get(address, "/sse?channel=chat", &[]);
    let mut whole = Stream::get(address, "/sse?channel=chat&envelope=1", &[]);
    let mut lines = Stream::get(address, "/ndjson?channel=chat", &[]);
    assert!(lines.head.contains("content-type: application/x-ndjson\r\n"));
    let say = |body| assert_eq!(back_end(&server, "POST", "/v1/messages", Some(&body)).0, 200);
    say(json!({"channel": "chat", "event": "say", "data": {"t": "hi"}}));
    let (first, object) = (plain.message(), json!({"channel": "chat", "event": "say", "data": {"t": "hi"}}));
    assert_eq!((first.name.as_str(), first.data.as_str()), ("say", r#"{"t":"hi"}"#));
    assert_eq!(whole.message().json(), object);
    assert_eq!(lines.line().unwrap(), object);
    say(json!({"channel": "chat", "args": [1, {"$binary": "AQI="}]}));
    assert_eq!(plain.message().data, r#"[1,{"$binary":"AQI="}]"#);
    say(json!({"channel": "chat", "data_base64": "AP8="}));
    assert_eq!(whole.message().json()["data"], json!([1, {"$binary": "AQI="}]));
    assert_eq!(plain.message().data, "AP8=");
    assert_eq!(lines.line().unwrap()["data"][0], 1);
    assert_eq!(lines.line().unwrap()["data_base64"], "AP8=");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_it_without_chunks() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::ask(address, "GET /ndjson?channel=log/a&limit=2 HTTP/1.0\r\n\r\n");
    assert!(!stream.head.contains("transfer-encoding"), "{}", stream.head);
    assert!(stream.line().unwrap()["position"].is_string());
    publish(address, "log/a", "1");
    publish(address, "log/a", "{");
    assert_eq!(stream.line().unwrap()["data"], 1);
    assert_eq!(stream.line().unwrap()["data"], "{");
    assert_eq!(stream.line(), None, "it asked for two");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_nothing_to_hear_hears_signs_of_life() {
    let server = start(&[("streams.heartbeat_ms", "100")]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=chat", &[]);
    assert_eq!(stream.block().unwrap(), "retry: 2000\n\n");
    assert_eq!(stream.block().unwrap(), ":\n\n");
    assert_eq!(stream.block().unwrap(), ":\n\n");
    let lines = Stream::ask(address, "GET /ndjson?channel=chat HTTP/1.0\r\n\r\n");
    let mut five = [0; 3];
    std::io::Read::read_exact(&mut lines.socket(), &mut five).unwrap();
    assert_eq!(&five, b"{}\n");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_answered_misses_nothing_from_then_on() {
    let server = start(&[("server.shards", "4")]).await;
    let address = server.public_addr();
    for number in 0..200 {
        let channel = format!("chat-{}", number % 7);
        let mut stream = Stream::get(address, &format!("/sse?channel={channel}"), &[]);
        publish(address, &channel, &number.to_string());
        assert_eq!(stream.message().data, number.to_string());
    }
    server.drain().await;
}
