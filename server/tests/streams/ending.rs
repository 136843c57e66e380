//! How streams end.

use std::io::Write as _;

use serde_json::json;

use super::support::client::Http;
use super::support::stream::Stream;
use super::{back_end, publish, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_streams_so_that_clients_come_back() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=log/a", &[]);
    let mut lines = Stream::get(address, "/ndjson?channel=log/a", &[]);
    let mut poll = Http::connect(address);
    poll.send("GET", "/poll?channel=log/a", &[], None);
    let token = stream.notice().id.unwrap();
    assert!(poll.answer_within(std::time::Duration::from_millis(100)).is_none());
    server.drain().await;
    assert!(stream.is_ended());
    assert!(lines.line().is_some() && lines.line().is_none());
    let told = poll.answer();
    assert_eq!(told.status, 200);
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&told.body).unwrap(),
        json!({"messages": [], "position": token})
    );
}

/// The window is for many.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_stream_does_not_hold_up_the_end_of_the_server() {
    let server = start(&[("server.drain_window_ms", "60000")]).await;
    let mut stream = Stream::get(server.public_addr(), "/sse?channel=a", &[]);
    let begun = std::time::Instant::now();
    server.drain().await;
    assert!(stream.is_ended() && begun.elapsed().as_secs() < 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_while_it_is_answered_is_not_heard() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=a", &[]);
    stream.socket().write_all(b"GET /sse?channel=b HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    publish(address, "b", "no");
    publish(address, "a", "yes");
    assert_eq!(stream.message().data, "yes");
    stream.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(stream.is_ended());
    let (_, sessions) = back_end(&server, "GET", "/v1/sessions", None);
    assert_eq!(sessions["items"], json!([]));
    server.drain().await;
}

/// It does not read while more is published than waits for anybody; what it then gets, and what it gets when it comes back, is all.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_cut_off_and_gets_the_rest_when_it_comes_back() {
    let settings = [
        ("limits.outbox_messages_max", "20"),
        ("limits.write_buffer_bytes_max", "1048576"),
        ("limits.message_bytes_max", "300000"),
        ("socketio.max_payload_bytes", "100000"),
    ];
    let server = start(&settings).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=log/a", &[]);
    let mut last = stream.notice().id;
    let body = "x".repeat(250_000);
    for number in 1..=90 {
        publish(address, "log/a", &format!("{number} {body}"));
    }
    let number = |data: &str| data.split(' ').next().unwrap().parse::<u64>().unwrap();
    let mut seen = 0;
    let mut comebacks = 0;
    while seen < 90 {
        let Some(heard) = stream.next() else {
            comebacks += 1;
            assert!(comebacks < 50, "it makes progress");
            let headers = [("last-event-id", last.as_deref().unwrap())];
            stream = Stream::get(address, "/sse?channel=log/a", &headers);
            continue;
        };
        last = heard.id.clone().or(last);
        if heard.name == "trunkline" {
            assert_ne!(heard.json()["recovered"], false);
            continue;
        }
        assert_eq!(number(&heard.data), seen + 1);
        seen += 1;
    }
    assert!(comebacks > 0, "it was cut off");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_clients_that_went() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let streams: Vec<Stream> = (0..40)
        .map(|number| Stream::get(address, &format!("/sse?channel=chat/{number}&channel=all"), &[]))
        .collect();
    let gauge = |server: &trunkline::Server| {
        let text = Http::connect(server.private_addr()).get("/metrics").text().to_owned();
        let lines = text.lines().filter(|line| line.starts_with("trunkline_streams_readers{"));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!(gauge(&server), 40);
    drop(streams);
    let begun = std::time::Instant::now();
    while gauge(&server) > 0 {
        assert!(begun.elapsed() < super::support::client::PATIENCE);
        std::thread::yield_now();
    }
    let (_, channels) = back_end(&server, "GET", "/v1/channels", None);
    assert_eq!(channels["items"], json!([]));
    server.drain().await;
}
