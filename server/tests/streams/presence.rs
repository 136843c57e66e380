//! Who comes and goes, as messages: a list of members and the stream behind it have no gap.

use serde_json::Value;

use super::support::stream::Stream;
use super::{back_end, start};
use trunkline::Server;

fn members(server: &Server) -> Value {
    let (status, members) = back_end(server, "GET", "/v1/presence?channel=hall/1", None);
    assert_eq!(status, 200, "{members}");
    members
}

/// Asks until it is so; what a client does takes its way.
fn until(server: &Server, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..10_000 {
        let members = members(server);
        if is_so(&members) {
            return members;
        }
    }
    panic!("{}", members(server));
}

fn get(server: &Server, target: &str) -> Stream {
    Stream::get(server.public_addr(), target, &[])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_and_what_is_told_behind_it_have_no_gap() {
    for shards in ["1", "2"] {
        let server = start(&[("server.shards", shards)]).await;
        let first = get(&server, "/ndjson?channel=hall/1");
        let list = until(&server, |members| members["count"] == 1 && members["position"].is_string());
        let known = list["items"][0].clone();
        assert!(known["since"].as_str().unwrap().ends_with('Z'), "{list}");
        let second = get(&server, "/ndjson?channel=hall/1");
        let two = until(&server, |members| members["count"] == 2);
        let ids = two["items"].as_array().unwrap().iter().map(|item| item["session"].clone());
        let new: Vec<Value> = ids.filter(|id| *id != known["session"]).collect();
        drop(second);
        until(&server, |members| members["count"] == 1);
        drop(first);
        until(&server, |members| members["count"] == 0);
        let position = list["position"].as_str().unwrap();
        let mut later = get(&server, &format!("/ndjson?channel=hall/1&after={position}&limit=3"));
        let told: Vec<Value> =
            std::iter::from_fn(|| later.line()).filter(|line| line["event"] == "presence").collect();
        let told: Vec<_> =
            told.iter().map(|line| (&line["data"]["action"], &line["data"]["session"])).collect();
        let [join, leave] = ["join", "leave"].map(Value::from);
        assert_eq!(told, [(&join, &new[0]), (&leave, &new[0]), (&leave, &known["session"])]);
        server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn above_a_size_there_is_only_a_count() {
    let server = start(&[("limits.presence_members_max", "1")]).await;
    let _first = get(&server, "/ndjson?channel=hall/1");
    let list = until(&server, |members| members["count"] == 1 && members["position"].is_string());
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let _second = get(&server, "/ndjson?channel=hall/1");
    let list = until(&server, |members| members["count"] == 2);
    assert_eq!(list["items"], serde_json::json!([]));
    let position = list["position"].as_str().unwrap();
    let after =
        get(&server, &format!("/ndjson?channel=hall/1&after={position}&history=1&limit=1")).line().unwrap();
    assert_eq!((&after["event"], &after["data"]["action"]), (&"presence".into(), &"count".into()), "{after}");
    let (_, count) = back_end(&server, "GET", "/v1/presence?channel=hall/1&count_only=true", None);
    assert!(count["count"].as_u64() > Some(1) && count["items"] == serde_json::json!([]), "{count}");
    server.drain().await;
}
