//! A server with a store is killed and started again: clients of Socket.IO with recovery go on as after a lost connection,
//! histories are there, and what was acknowledged is not lost. And what is not written is not acknowledged.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use store::disk::Fault;
use support::client::{Http, PATIENCE, get};
use support::recovering::Recovering;
use support::whole::faults::Switch;
use support::whole::folder::Folder;
use support::whole::program::{Program, command};
use support::whole::until::until_so;
use trunkline::config::{EventRoute, RecoveryMode};
use trunkline::{Config, Server};

/// The program with a store, to be killed.
struct Site(Program);

impl Site {
    fn start(folder: &Folder, public: SocketAddr, shards: u8) -> Self {
        let config = "[[socketio.namespace]]\nname = \"/\"\nevents = \"relay\"\nrecovery = \"always\"\n\
                      [[channel]]\nfilter = \"kept/#\"\nhistory_messages_max = 3\n\
                      [[channel]]\nfilter = \"forgotten\"\nhistory_messages_max = 3\nhistory_durable = false\n";
        let settings = [
            &*format!("server.public_listen={public}"),
            "server.private_listen=127.0.0.1:0",
            &format!("server.shards={shards}"),
            "auth.mode=anonymous",
            &format!("store.dir={}", folder.store().display()),
        ];
        let ready = folder.join("ready");
        Self(Program::start(command(folder, ("serve", config), &ready, &settings), &ready))
    }

    fn first(folder: &Folder) -> Self {
        Self::start(folder, ([127, 0, 0, 1], 0).into(), 2)
    }

    /// SIGKILL, and the next one on the same port.
    fn kill(self, folder: &Folder, shards: u8) -> Self {
        let public = self.0.public;
        self.0.kill();
        Self::start(folder, public, shards)
    }

    fn client(&self) -> Recovering {
        Recovering::new(self.0.public)
    }

    fn back(&self, client: &mut Recovering) -> (Vec<Value>, bool) {
        client.back(self.0.public)
    }

    fn publish(&self, channel: &str, number: u32) {
        let body = json!({ "channel": channel, "event": "news", "data": number }).to_string();
        let mut http = Http::connect(self.0.private);
        let json = [("content-type", "application/json")];
        http.send("POST", "/v1/messages", &json, Some(body.as_bytes()));
        let answer = http.answer();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// What a channel has kept, and its newest position.
    fn history(&self, channel: &str, query: &str) -> (u16, Value) {
        let answer = get(self.0.private, &format!("/v1/messages?channel={channel}{query}"));
        (answer.status, serde_json::from_str(answer.text()).unwrap())
    }
}

/// The first argument of the next event.
fn next(client: &mut Recovering) -> Value {
    client.next().remove(0)
}

/// Leaves without a word, and waits until the server knows.
fn leave(client: &Recovering, site: &Site, detached: u32) {
    client.socket.cut();
    let known = format!("\"detached\":{detached}");
    let is_known = || get(site.0.private, "/v1/server").text().contains(&known);
    until_so("the server knows that the client is gone", is_known);
}

#[test]
fn clients_recover_from_kills_and_get_what_they_missed_once() {
    let folder = Folder::new("kills");
    let first = Site::first(&folder);
    let (mut away, mut there) = (first.client(), first.client());
    first.publish("main", 1);
    assert_eq!((next(&mut away), next(&mut there)), (json!(1), json!(1)));
    leave(&away, &first, 1);
    // Acknowledged by the home, so it is written.
    there.socket.text(r#"427["say",2]"#);
    assert_eq!(there.socket.next_text(), "437[]");
    first.publish("main", 3);
    assert_eq!(next(&mut there), json!(3));

    let second = first.kill(&folder, 2);
    second.publish("main", 4);
    // What it said itself is not for it.
    assert_eq!(second.back(&mut there), (vec![json!(4)], true));
    second.publish("main", 5);
    assert_eq!(next(&mut there), json!(5));
    let third = second.kill(&folder, 2);
    assert_eq!(third.back(&mut away), (vec![json!(2), json!(3), json!(4), json!(5)], true));
    third.publish("main", 6);
    assert_eq!(next(&mut away), json!(6));
    let fourth = third.kill(&folder, 2);
    assert_eq!(fourth.back(&mut away), (vec![], true));
    assert_eq!(fourth.back(&mut there), (vec![json!(6)], true));
}

#[test]
fn with_another_number_of_shards_clients_are_told_that_they_begin_anew() {
    let folder = Folder::new("shards");
    let first = Site::first(&folder);
    let mut client = first.client();
    first.publish("main", 1);
    assert_eq!(next(&mut client), json!(1));
    let second = first.kill(&folder, 3);
    assert_eq!(second.back(&mut client), (vec![], false));
}

#[test]
fn histories_go_on_under_their_positions_and_only_those_that_are_to() {
    let folder = Folder::new("histories");
    let first = Site::first(&folder);
    for number in 1..=5 {
        first.publish("kept/a", number);
        first.publish("forgotten", number);
    }
    let before = first.history("kept/a", "");
    let data = |told: &Value| -> Vec<i64> {
        told["items"].as_array().unwrap().iter().map(|item| item["args"][0].as_i64().unwrap()).collect()
    };
    assert_eq!((before.0, data(&before.1)), (200, vec![3, 4, 5]));
    let second = first.kill(&folder, 2);
    let after = second.history("kept/a", "");
    assert_eq!((after.0, &after.1["items"]), (200, &before.1["items"]));
    // What comes is of an epoch of its own, as the crash may have taken some that were seen; its numbers go on.
    let number = |told: &Value| told["position"].as_str().unwrap().split_once('-').unwrap().1.to_owned();
    assert_eq!(number(&after.1), number(&before.1));
    assert_eq!(data(&second.history("forgotten", "").1), [0; 0]);
    second.publish("kept/a", 6);
    let position = before.1["position"].as_str().unwrap();
    let (status, after) = second.history("kept/a", &format!("&after={position}"));
    assert_eq!((status, data(&after)), (200, vec![6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relayed_event_is_acknowledged_when_it_is_written_and_reaches_who_is_there_before() {
    let folder = Folder::new("relay");
    let settings = [
        "server.shards=2".to_owned(),
        format!("store.dir={}", folder.store().display()),
        "auth.mode=anonymous".to_owned(),
        "server.drain_window_ms=0".to_owned(),
        "mqtt.sys_interval_seconds=0".to_owned(),
    ];
    let mut config = Config::embedded_with(&settings.each_ref().map(String::as_str)).unwrap();
    config.namespaces[0].recovery = RecoveryMode::Always;
    config.namespaces[0].events = EventRoute::Relay;
    let (switch, tries) = Switch::new();
    let server = Server::start_with_faults(config, switch.clone()).await.unwrap();
    let (mut speaker, mut listener) =
        (Recovering::new(server.public_addr()), Recovering::new(server.public_addr()));
    switch.set(Some(Fault::Full));
    speaker.socket.text(r#"427["say",1]"#);
    // It is delivered at once, and written when there is room again.
    assert_eq!(next(&mut listener), json!(1));
    (0..2).for_each(|_| tries.recv_timeout(PATIENCE).unwrap());
    assert!(speaker.socket.is_silent(), "nothing was written");
    // What wants no answer waits for nothing.
    speaker.socket.text(r#"42["say",2]"#);
    assert_eq!(next(&mut listener), json!(2));
    switch.set(None);
    assert_eq!(speaker.socket.next_text(), "437[]");
    server.drain().await;
}

impl Site {
    fn ask(&self, method: &str, target: &str, media: &str, body: &str) -> (u16, String) {
        let mut http = Http::connect(self.0.private);
        http.send(method, target, &[("content-type", media)], Some(body.as_bytes()));
        let answer = http.answer();
        (answer.status, answer.text().to_owned())
    }

    fn stored(&self, user: &str) -> Value {
        let answer = get(self.0.private, &format!("/v1/users/{user}/subscriptions"));
        serde_json::from_str::<Value>(answer.text()).unwrap()["items"].take()
    }
}

#[test]
fn stored_subscriptions_survive_a_kill_and_another_number_of_shards() {
    let folder = Folder::new("stored");
    let program = Site::first(&folder);
    let json = "application/json";
    for channel in ["a", "b/+", "c"] {
        let body = format!(r#"{{"channel":"{channel}","qos":2}}"#);
        assert_eq!(program.ask("PUT", "/v1/users/ann%2F1/subscriptions", json, &body).0, 204);
    }
    assert_eq!(program.ask("DELETE", "/v1/users/ann%2F1/subscriptions?channel=a", json, "").0, 204);
    let lines: String = (0..500)
        .flat_map(|user| {
            (0..3).map(move |n| format!("{{\"user\":\"u{user}\",\"channel\":\"c/{n}/{user}\"}}\n"))
        })
        .collect();
    let (status, answer) = program.ask("POST", "/v1/imports", "application/x-ndjson", &lines);
    assert_eq!(status, 202, "{answer}");
    let told: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        (&told["state"], &told["pairs"], &told["rejected"]),
        (&json!("done"), &json!(1500), &json!(0))
    );
    let program = program.kill(&folder, 3);
    let ann = json!([{ "channel": "b/+", "qos": 2 }, { "channel": "c", "qos": 2 }]);
    assert_eq!(program.stored("ann%2F1"), ann);
    for user in [0, 250, 499] {
        let wanted: Vec<Value> =
            (0..3).map(|n| json!({ "channel": format!("c/{n}/{user}"), "qos": 1 })).collect();
        assert_eq!(program.stored(&format!("u{user}")), Value::from(wanted));
    }
    let replace = "{\"user\":\"u0\",\"channel\":\"x\"}\n\n{\"user\":\"\"}\nno\n{\"user\":\"u0\",\"channel\":\"y\",\"qos\":0}";
    let (_, answer) =
        program.ask("POST", "/v1/imports?mode=replace&self=true", "application/x-ndjson", replace);
    let told: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&told["lines"], &told["rejected"]), (&json!(5), &json!(2)), "{told}");
    assert_eq!([&told["rejections"][0]["line"], &told["rejections"][1]["line"]], [&json!(3), &json!(4)]);
    let program = program.kill(&folder, 1);
    let wanted =
        json!([{ "channel": "x", "qos": 1 }, { "channel": "y", "qos": 0 }, { "channel": "u0", "qos": 1 }]);
    assert_eq!(program.stored("u0"), wanted);
    assert_eq!(program.ask("DELETE", "/v1/users/u0/subscriptions", json, "").0, 204);
    assert_eq!(program.ask("DELETE", "/v1/users/u0/subscriptions", json, "").0, 404);
    assert_eq!(program.stored("u1"), program.stored("u1"));
}
