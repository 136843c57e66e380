//! What the back end is told of users and channels that come and go.

use serde_json::{Value, json};

use super::back_end::{BackEnd, Hook, yes};
use super::support::client::WebSocket;
use super::support::whole::folder::Folder;
use super::told::Program;
use super::{WAIT, client, join, start, until};

const TYPES: &str = "types = [\"session.connect\", \"user.online\", \"user.offline\", \"channel.occupied\", \
                     \"channel.vacated\"]\nfilters = [\"chat/+\"]\nretry_ms_min = 20\nretry_ms_max = 40\n";

/// Lets everybody in as the user that they say they are, into the channel that they name.
async fn back_end() -> BackEnd {
    BackEnd::start(|hook| match hook.kind() {
        "session.connect" => {
            let auth = &hook.event["data"]["auth"];
            yes(json!({ "result": { "user": auth["user"], "subscriptions": [auth["channel"]] } }))
        }
        _ => yes(json!({})),
    })
    .await
}

fn auth(user: &str, channel: &str) -> String {
    json!({ "user": user, "channel": channel, "csr": true }).to_string()
}

fn enter(socket: &mut WebSocket, user: &str, channel: &str) {
    assert!(join(socket, &auth(user, channel)).unwrap().starts_with("40"));
}

/// What was told of one user or channel, each event once.
fn heard(back_end: &BackEnd, subject: &str) -> Vec<Hook> {
    let is_told = |hook: &Hook| hook.event["subject"] == subject && hook.kind() != "session.connect";
    back_end.heard().into_iter().filter(is_told).collect()
}

fn kinds(back_end: &BackEnd, subject: &str) -> Vec<String> {
    heard(back_end, subject).iter().map(|hook| hook.kind().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_channels_are_told_to_come_and_to_go() {
    let back_end = back_end().await;
    let keys = format!("{TYPES}offline_after_ms = 20\nvacated_after_ms = 20\n");
    let server = start(back_end.address, &keys).await;
    let two = client(&server, |mut socket| {
        enter(&mut socket, "ada", "chat/1");
        socket
    });
    let two = two.await;
    client(&server, |mut socket| enter(&mut socket, "ada", "chat/1")).await;
    client(&server, |mut socket| enter(&mut socket, "bob", "other/1")).await;
    until("bob is told to be gone", || kinds(&back_end, "bob") == ["user.online", "user.offline"]).await;
    assert_eq!(kinds(&back_end, "ada"), ["user.online"], "one of two connections is left");
    drop(two);
    until("ada is told to be gone", || kinds(&back_end, "ada") == ["user.online", "user.offline"]).await;
    client(&server, |mut socket| enter(&mut socket, "ada", "chat/1")).await;
    until("ada is told to be back", || heard(&back_end, "ada").len() == 4).await;
    let gone = ["channel.occupied", "channel.vacated"];
    until("the channel is told to be empty", || {
        kinds(&back_end, "chat/1").ends_with(&gone.map(str::to_owned))
    })
    .await;
    assert!(heard(&back_end, "other/1").is_empty(), "nobody asked about it");
    for (subject, data) in [("ada", json!({ "user": "ada" })), ("chat/1", json!({ "channel": "chat/1" }))] {
        let hooks = heard(&back_end, subject);
        let places: Vec<&str> = hooks.iter().map(|hook| hook.event["sequence"].as_str().unwrap()).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
        assert!(hooks.iter().all(|hook| hook.event["partitionkey"] == subject && hook.event["data"] == data));
    }
    let first = &heard(&back_end, "ada")[0].event;
    assert_eq!((&first["source"], &first["userid"]), (&json!("/users"), &json!("ada")));
    assert_eq!(heard(&back_end, "chat/1")[0].event["source"], "/channels");
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_those_who_stay_away_are_told_to_be_gone_and_the_others_were_never_away() {
    let folder = Folder::new("coming");
    let back_end = back_end().await;
    let keys = format!("{TYPES}offline_after_ms = 3000\nvacated_after_ms = 3000\n");
    let path = folder.path().to_owned();
    let script = move |back_end: BackEnd| {
        let program = Program::start_with((&path, "127.0.0.1:0"), &back_end, &keys, "");
        let mut sockets = [program.connect(), program.connect()];
        enter(&mut sockets[0], "ada", "chat/1");
        enter(&mut sockets[1], "bob", "chat/2");
        let is_told =
            || [("ada"), ("bob"), ("chat/1"), ("chat/2")].iter().all(|who| !kinds(&back_end, who).is_empty());
        while !is_told() {
            std::thread::yield_now();
        }
        let program = program.kill(&back_end);
        let mut socket = program.connect();
        enter(&mut socket, "ada", "chat/1");
        (back_end, program, socket)
    };
    let scripted = tokio::task::spawn_blocking(move || script(back_end));
    let (back_end, program, socket) = tokio::time::timeout(WAIT, scripted).await.unwrap().unwrap();
    let gone = ["user.online", "user.offline"];
    until("bob is told to be gone", || kinds(&back_end, "bob") == gone).await;
    assert_eq!(kinds(&back_end, "ada"), ["user.online"], "she was never away for long");
    drop(socket);
    until("ada is told to be gone", || kinds(&back_end, "ada") == gone).await;
    let told: Vec<Value> =
        heard(&back_end, "bob").iter().map(|hook| hook.event["sequence"].clone()).collect();
    assert!(told[0].as_str() < told[1].as_str(), "{told:?}");
    drop(program);
}
