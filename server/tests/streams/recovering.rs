//! Clients that come back: what they missed comes once and in order, or they are told that it is gone.

use serde_json::json;

use super::support::stream::Stream;
use super::{offset, publish, start};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_gets_what_was_missed_and_then_what_comes() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=log/a", &[]);
    let start = stream.notice().id.unwrap();
    publish(address, "log/a", "1");
    let last = stream.message().id.unwrap();
    drop(stream);
    for number in 2..=80 {
        publish(address, "log/a", &number.to_string());
    }
    let mut again = Stream::get(address, "/sse?channel=log/a", &[("last-event-id", &last)]);
    for number in 2..=80 {
        let heard = again.next().unwrap();
        assert_eq!((heard.data, offset(&heard.id.unwrap())), (number.to_string(), number));
    }
    let told = again.notice().json();
    assert_eq!((&told["recovered"], offset(told["position"].as_str().unwrap())), (&json!(true), 80));
    publish(address, "log/a", "81");
    assert_eq!(again.next().unwrap().data, "81");
    // From before the first message, too.
    let mut lines = Stream::get(address, &format!("/ndjson?channel=log/a&after={start}&limit=81"), &[]);
    for number in 1..=80 {
        assert_eq!(lines.line().unwrap()["data"], number);
    }
    assert_eq!(lines.line().unwrap()["data"], 81);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_messages_come_first_for_whoever_wants_them() {
    let server = start(&[]).await;
    let address = server.public_addr();
    (1..=5).for_each(|number| drop(publish(address, "log/a", &number.to_string())));
    let mut stream = Stream::get(address, "/sse?channel=log/a&history=2", &[]);
    assert_eq!([stream.next().unwrap().data, stream.next().unwrap().data], ["4", "5"]);
    let last = stream.notice().id.unwrap();
    publish(address, "log/a", "6");
    assert_eq!(stream.message().data, "6");
    // It asks by the same URL when it comes back.
    let headers = [("last-event-id", last.as_str())];
    let mut again = Stream::get(address, "/sse?channel=log/a&history=2", &headers);
    assert_eq!(again.next().unwrap().data, "6");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_said_and_the_stream_goes_on() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let first = publish(address, "few/a", "1").unwrap();
    (2..=5).for_each(|number| drop(publish(address, "few/a", &number.to_string())));
    let epoch = first.split('-').next().unwrap();
    let lost = [first.clone(), format!("{epoch}-9"), "1-1".into(), "garbage".into(), "~AQ".into()];
    for last in &lost {
        let headers = [("last-event-id", last.as_str())];
        let mut stream = Stream::get(address, "/sse?channel=few/a", &headers);
        let told = stream.notice();
        assert_eq!(told.json()["recovered"], false, "{last}");
        let here = stream.notice();
        assert_eq!((here.json().get("recovered"), offset(&here.id.unwrap())), (None, 5), "{last}");
    }
    let mut lines = Stream::get(address, &format!("/ndjson?channel=few/a&after={first}&history=1"), &[]);
    assert_eq!(lines.line().unwrap()["recovered"], false);
    assert_eq!(lines.line().unwrap()["data"], 5, "the last one was asked for");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_channels_go_on_each_where_it_was() {
    let server = start(&[("server.shards", "3")]).await;
    let address = server.public_addr();
    let target = "/ndjson?channel=log/a&channel=log/b&channel=plain";
    let mut stream = Stream::get(address, target, &[]);
    assert!(stream.line().unwrap()["position"].is_string());
    publish(address, "log/a", "1");
    assert_eq!(stream.line().unwrap()["data"], 1);
    publish(address, "log/b", "2");
    let heard = stream.line().unwrap();
    let token = heard["position"].as_str().unwrap().to_owned();
    assert_eq!((&heard["channel"], &heard["data"]), (&json!("log/b"), &json!(2)));
    drop(stream);
    publish(address, "log/a", "3");
    publish(address, "plain", "lost");
    publish(address, "log/b", "4");
    publish(address, "log/a", "5");
    let mut again = Stream::get(address, target, &[("last-event-id", &token)]);
    let data: Vec<_> = (0..3).map(|_| again.line().unwrap()["data"].clone()).collect();
    assert_eq!(data, [3, 5, 4], "channel by channel");
    let told = again.line().unwrap();
    assert_eq!(told["recovered"], true, "{told}");
    // And again from there, which is behind all of it.
    let token = told["position"].as_str().unwrap().to_owned();
    let mut again = Stream::get(address, target, &[("last-event-id", &token)]);
    assert_eq!(again.line().unwrap(), json!({"recovered": true, "position": token}));
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_to_a_filter_is_told_that_it_may_have_missed_something() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut stream = Stream::get(address, "/sse?channel=log/%23&envelope=1", &[]);
    let token = stream.notice().id.unwrap();
    publish(address, "log/a", "1");
    let heard = stream.message();
    assert_eq!((heard.id.as_deref(), &heard.json()["channel"]), (Some(token.as_str()), &json!("log/a")));
    let headers = [("last-event-id", token.as_str())];
    let mut again = Stream::get(address, "/sse?channel=log/%23&envelope=1", &headers);
    let told = again.notice().json();
    assert_eq!((&told["recovered"], &told["channel"]), (&json!(false), &json!("log/#")));
    server.drain().await;
}

/// A writer never pauses while readers come, go and come back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missing_between_what_is_kept_and_what_comes() {
    let server = start(&[("server.shards", "3")]).await;
    let address = server.public_addr();
    let writer = std::thread::spawn(move || {
        let mut http = super::Http::connect(address);
        for number in 1..=1500 {
            assert_eq!(http.post("/publish?channel=log/busy", &number.to_string()).status, 200);
        }
    });
    let reader = |pause: usize| {
        std::thread::spawn(move || {
            let (mut last, mut seen) = (None::<String>, 0);
            while seen < 1500 {
                let headers: Vec<_> = last.iter().map(|last| ("last-event-id", last.as_str())).collect();
                let mut stream = Stream::get(address, "/sse?channel=log/busy&history=100", &headers);
                let mut lost = false;
                for _ in 0..pause {
                    let heard = stream.next().unwrap();
                    last = heard.id.clone().or(last);
                    if heard.name == "trunkline" {
                        lost |= heard.json()["recovered"] == false;
                        continue;
                    }
                    let number = offset(&heard.id.unwrap());
                    assert_eq!(heard.data, number.to_string());
                    assert!(
                        number == seen + 1 || (number > seen && (lost || seen == 0)),
                        "{seen} then {number}"
                    );
                    (seen, lost) = (number, false);
                    if seen >= 1500 {
                        break;
                    }
                }
            }
        })
    };
    let readers = [reader(3), reader(17), reader(61), reader(100_000)];
    writer.join().unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    server.drain().await;
}
