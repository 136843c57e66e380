//! Long polls: each answers with what there is, and none loses what comes between two of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::client::{Answer, Http};
use super::{offset, publish, start};

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_waits_for_the_first_message_and_goes_on_behind_it() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut http = Http::connect(address);
    let empty = read(&http.get("/poll?channel=log/a&wait=0"));
    assert_eq!(empty["messages"], json!([]));
    let at = empty["position"].as_str().unwrap().to_owned();
    http.send("GET", &format!("/poll?channel=log/a&after={at}"), &[], None);
    assert!(http.answer_within(Duration::from_millis(50)).is_none());
    let first = publish(address, "log/a", "{\"n\":1}").unwrap();
    let told = read(&http.answer());
    let message = json!({"position": first, "channel": "log/a", "data": {"n": 1}});
    assert_eq!(told, json!({"messages": [message], "position": first}));
    publish(address, "log/a", "2");
    publish(address, "log/a", "3");
    let told = read(&http.get(&format!("/poll?channel=log/a&after={first}&limit=1")));
    assert_eq!((told["messages"].as_array().unwrap().len(), &told["messages"][0]["data"]), (1, &json!(2)));
    let at = told["position"].as_str().unwrap().to_owned();
    assert_eq!(read(&http.get(&format!("/poll?channel=log/a&after={at}")))["messages"][0]["data"], 3);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_whose_position_is_gone_is_told_where_to_go_on() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let first = publish(address, "few/a", "1").unwrap();
    (2..=5).for_each(|number| drop(publish(address, "few/a", &number.to_string())));
    let mut http = Http::connect(address);
    for lost in [format!("after={first}"), "last_event_id=garbage".into()] {
        let answer = http.get(&format!("/poll?channel=few/a&{lost}"));
        assert_eq!(answer.status, 410, "{lost}");
        let problem: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&json!("position-lost"), &json!(410)));
        let earliest = problem["earliest"].as_str().unwrap();
        assert_eq!(offset(earliest), 2);
        let told = read(&http.get(&format!("/poll?channel=few/a&after={earliest}")));
        assert_eq!(told["messages"].as_array().unwrap().len(), 3);
    }
    let answer = http.get("/poll?channel=plain&after=1-1");
    assert_eq!(answer.status, 410, "a channel that keeps nothing has no positions");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_of_several_channels_lose_nothing_between_them() {
    let server = start(&[("server.shards", "2")]).await;
    let address = server.public_addr();
    let mut http = Http::connect(address);
    let target = "/poll?channel=log/a&channel=log/b&limit=3";
    let mut at = read(&http.get(&format!("{target}&wait=0")))["position"].as_str().unwrap().to_owned();
    for number in 0..20 {
        publish(address, if number % 2 == 0 { "log/a" } else { "log/b" }, &number.to_string());
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let told = read(&http.get(&format!("{target}&after={at}")));
        let messages = told["messages"].as_array().unwrap();
        assert!((1..=3).contains(&messages.len()));
        seen.extend(messages.iter().map(|message| message["data"].as_u64().unwrap()));
        at = told["position"].as_str().unwrap().to_owned();
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..20), "{seen:?}");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_is_given_up_leaves_nothing() {
    let server = start(&[]).await;
    let address = server.public_addr();
    let mut http = Http::connect(address);
    http.send("GET", "/poll?channel=log/a", &[], None);
    assert!(http.answer_within(Duration::from_millis(20)).is_none());
    http.give_up();
    let (_, sessions) = super::back_end(&server, "GET", "/v1/sessions", None);
    assert_eq!(sessions["items"], json!([]));
    server.drain().await;
}
