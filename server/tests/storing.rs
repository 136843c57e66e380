//! A server with a store: what it acknowledges and what it does not when the disk goes wrong, what is there after a restart
//! with other shards, and what the program says of a store that it cannot have.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests and their helpers")]

#[path = "support/whole/mod.rs"]
mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use load::mqtt::{Connection, Message, Qos, Retained};
use serde_json::{Value, json};
use store::WallClock;
use store::disk::{Disk, DiskOptions, Fault};
use trunkline::{Args, Config, Invalid, OfficeError, Server};
use whole::faults::Switch;
use whole::folder::Folder;
use whole::publisher::{self, client, message};
use whole::rest::{ask, ask_text};
use whole::until::PATIENCE;

fn config(folder: &Folder, shards: u8) -> Config {
    config_with(folder, shards, &[])
}

fn config_with(folder: &Folder, shards: u8, more: &[&str]) -> Config {
    let (shards, dir) =
        (format!("server.shards={shards}"), format!("store.dir={}", folder.store().display()));
    let settings =
        [&shards, &dir, "auth.mode=anonymous", "server.drain_window_ms=0", "mqtt.sys_interval_seconds=0"];
    Config::embedded_with(&[&settings, more].concat()).unwrap()
}

async fn start(folder: &Folder, shards: u8) -> Server {
    Server::start(config(folder, shards)).await.unwrap()
}

fn subscribe(client: &mut Connection, filter: &str, qos: Qos) {
    assert_eq!(client.subscribe(&[filter.to_owned()], (qos, Retained::Wanted), PATIENCE).unwrap(), [qos]);
}

/// The payload of the next message.
fn next(client: &mut Connection) -> String {
    publisher::text(publisher::next(client))
}

/// Messages up to the one with this payload.
fn up_to(client: &mut Connection, last: &str) -> Vec<String> {
    let mut all = vec![next(client)];
    while all.last().unwrap() != last {
        all.push(next(client));
    }
    all
}

/// One number of `/metrics`.
fn metric(server: &Server, name: &str) -> f64 {
    let (_, _, text) = ask_text(server, "GET", "/metrics", None);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{name}\n{text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_fails_acknowledges_nothing_and_messages_without_promise_go_on() {
    for fault in [Fault::Write, Fault::Sync] {
        let folder = Folder::new(&format!("fails-{fault:?}"));
        let (switch, _tries) = Switch::new();
        let mut server = Server::start_with_faults(config(&folder, 2), switch.clone()).await.unwrap();
        subscribe(&mut client(&server, "away"), "t/#", Qos::AtLeastOnce);
        let mut live = client(&server, "");
        subscribe(&mut live, "t/#", Qos::AtMostOnce);
        let mut publisher = client(&server, "");
        publisher.publish(&message("t/1", "kept", Qos::AtLeastOnce)).unwrap();
        publisher.wait_published(0, PATIENCE).unwrap();

        switch.set(Some(fault));
        publisher.publish(&message("t/2", "doubtful", Qos::AtLeastOnce)).unwrap();
        let told = tokio::time::timeout(PATIENCE, server.store_failed()).await.unwrap();
        assert!(told.starts_with("the store takes no more changes: "), "{told}");
        // It does not come back by itself, whatever the disk does.
        switch.set(None);
        publisher.publish(&message("t/3", "late", Qos::ExactlyOnce)).unwrap();
        publisher.publish(&message("t/4", "live", Qos::AtMostOnce)).unwrap();
        publisher.settle(PATIENCE).unwrap();
        assert!(up_to(&mut live, "live").contains(&"kept".to_owned()));
        publisher.settle(PATIENCE).unwrap();
        assert_eq!(publisher.on_their_way(), 2);
        assert_eq!(ask(&server, "GET", "/v1/store", None).1["failed"], true);
        assert_eq!(metric(&server, "trunkline_store_failed"), 1.0);
        server.drain().await;

        let server = start(&folder, 2).await;
        let mut away = client(&server, "away");
        assert!(away.start().is_resumed);
        publisher = client(&server, "");
        publisher.publish(&message("t/5", "end", Qos::AtLeastOnce)).unwrap();
        let mut all = up_to(&mut away, "end");
        // Only what was written and not synced may be there.
        all.retain(|payload| payload != "doubtful" || fault == Fault::Write);
        assert_eq!(all, ["kept", "end"]);
        server.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_acknowledges_when_there_is_room_again() {
    let folder = Folder::new("full");
    let (switch, tries) = Switch::new();
    let server = Server::start_with_faults(config(&folder, 2), switch.clone()).await.unwrap();
    subscribe(&mut client(&server, "away"), "t/#", Qos::AtLeastOnce);
    let mut live = client(&server, "");
    subscribe(&mut live, "t/#", Qos::AtMostOnce);
    let mut publisher = client(&server, "");

    switch.set(Some(Fault::Full));
    publisher.publish(&message("t/1", "first", Qos::AtLeastOnce)).unwrap();
    publisher.publish(&message("t/2", "second", Qos::ExactlyOnce)).unwrap();
    // Tried, and tried again.
    (0..4).for_each(|_| tries.recv_timeout(PATIENCE).unwrap());
    publisher.publish(&message("t/3", "live", Qos::AtMostOnce)).unwrap();
    up_to(&mut live, "live");
    publisher.settle(PATIENCE).unwrap();
    assert_eq!(publisher.on_their_way(), 2);
    assert_eq!(ask(&server, "GET", "/v1/store", None).1["failed"], false);

    switch.set(None);
    publisher.wait_published(0, PATIENCE).unwrap();
    server.drain().await;
    let server = start(&folder, 2).await;
    let mut away = client(&server, "away");
    assert_eq!([next(&mut away), next(&mut away)].map(|one| one.len()), [5, 6]);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_shards_keeps_every_session_and_message() {
    const SESSIONS: usize = 12;
    let folder = Folder::new("shards");
    let mut expected: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let (rounds, last) = ([1, 3, 2, 4], 1);
    for (round, shards) in rounds.into_iter().enumerate() {
        let server = start(&folder, shards).await;
        // Who came back would take what waits for it.
        for at in (0..SESSIONS).filter(|_| round == 0) {
            let mut session = client(&server, &format!("s{at}"));
            subscribe(&mut session, &format!("a/{at}/#"), Qos::ExactlyOnce);
            subscribe(&mut session, "all", Qos::AtLeastOnce);
        }
        assert_eq!(metric(&server, "trunkline_sessions_named"), SESSIONS as f64, "with {shards} shards");
        let mut publisher = client(&server, "");
        for at in 0..SESSIONS {
            for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let payload = format!("{round} {at} {}", qos.number());
                publisher.publish(&message(&format!("a/{at}/x"), &payload, qos)).unwrap();
                expected.entry(at).or_default().push(payload);
            }
            let value = message(&format!("r/{at}"), round.to_string(), Qos::AtLeastOnce);
            publisher.publish(&Message { retain: true, ..value }).unwrap();
        }
        publisher.publish(&message("all", format!("{round} all"), Qos::AtLeastOnce)).unwrap();
        expected.values_mut().for_each(|messages| messages.push(format!("{round} all")));
        publisher.wait_published(0, PATIENCE).unwrap();
        server.drain().await;
    }
    let server = start(&folder, last).await;
    for (at, mut messages) in expected {
        let mut session = client(&server, &format!("s{at}"));
        assert!(session.start().is_resumed);
        let mut all: Vec<String> = messages.iter().map(|_| next(&mut session)).collect();
        // Those of one channel are in order; between channels there is none.
        let of = |all: &[String], is_common: bool| -> Vec<String> {
            all.iter().filter(|one| one.ends_with("all") == is_common).cloned().collect()
        };
        assert_eq!((of(&all, false), of(&all, true)), (of(&messages, false), of(&messages, true)));
        all.sort();
        messages.sort();
        assert_eq!(all, messages);
    }
    let mut reader = client(&server, "");
    subscribe(&mut reader, "r/#", Qos::AtLeastOnce);
    assert!((0..SESSIONS).all(|_| next(&mut reader) == "3"));
    server.drain().await;
}

/// It went into a record that the store refused for its size, and nothing was acknowledged after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_publish_what_is_too_large_for_a_message() {
    let folder = Folder::new("large");
    let server = start(&folder, 2).await;
    let bytes_max = config(&folder, 2).limits.message_bytes_max;
    // For whom it is kept.
    subscribe(&mut client(&server, "away"), "room", Qos::AtLeastOnce);
    let handle = server.handle();
    let publish = |len: usize| handle.of("/").to("room").emit("e", Args::binary(vec![0; len]));
    let refused = publish(8 << 20).await;
    assert!(matches!(refused, Err(OfficeError::Invalid(Invalid::Bytes))), "{refused:?}");
    let text = refused.unwrap_err().to_string();
    assert_eq!(text, "the message is over limits.message_bytes_max");
    let counts = publish(bytes_max - 100).await.unwrap().counts;
    assert_eq!(counts.delivered + counts.queued, 1, "{counts:?}");
    assert_eq!(metric(&server, "trunkline_store_failed"), 0.0);
    server.drain().await;
}

/// A record that is written anew, since the number of shards is another, is as large as it was.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_under_larger_limits_goes_on_under_smaller_ones() {
    let folder = Folder::new("smaller");
    let larger = config_with(&folder, 1, &["mqtt.packet_bytes_max=16000000"]);
    let server = Server::start(larger).await.unwrap();
    for at in 0..8 {
        subscribe(&mut client(&server, &format!("s{at}")), "t", Qos::AtLeastOnce);
    }
    let mut publisher = client(&server, "");
    let payload = "m".repeat(8 << 20);
    publisher.publish(&message("t", &payload, Qos::AtLeastOnce)).unwrap();
    publisher.wait_published(0, PATIENCE).unwrap();
    server.drain().await;

    let server = start(&folder, 3).await;
    let mut publisher = client(&server, "");
    publisher.publish(&message("t", "end", Qos::AtLeastOnce)).unwrap();
    publisher.wait_published(0, PATIENCE).unwrap();
    assert_eq!(metric(&server, "trunkline_store_failed"), 0.0);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_store_tells_its_figures_and_is_copied_and_compacted() {
    let folder = Folder::new("running");
    let server = start(&folder, 2).await;
    let mut publisher = client(&server, "");
    for at in 0..20 {
        let value = message(&format!("r/{at}"), at.to_string(), Qos::AtLeastOnce);
        publisher.publish(&Message { retain: true, ..value }).unwrap();
    }
    publisher.wait_published(0, PATIENCE).unwrap();
    let (status, told) = ask(&server, "GET", "/v1/store", None);
    assert_eq!((status, &told["records"], &told["fsync"]), (200, &json!(20), &json!("always")), "{told}");
    assert_eq!(told["directory"], folder.store().display().to_string());
    assert_eq!(ask(&server, "GET", "/v1/server", None).1["store"]["records"], 20);
    assert_eq!(metric(&server, "trunkline_store_records"), 20.0);
    assert_eq!(metric(&server, "trunkline_store_appended_total"), 20.0);
    let commits = metric(&server, "trunkline_store_commit_seconds_count");
    assert!((1.0..=20.0).contains(&commits), "{commits}");
    assert_eq!(metric(&server, "trunkline_store_commit_seconds_bucket{le=\"+Inf\"}"), commits);

    let copy = |name: &str| ask(&server, "POST", "/v1/store/backup", Some(json!({ "name": name })));
    let (status, told) = copy("one.db");
    let path = folder.store().join("backups/one.db");
    assert_eq!((status, &told["path"]), (201, &json!(path.display().to_string())), "{told}");
    assert_eq!(told["bytes"], std::fs::metadata(&path).unwrap().len());
    for (name, status, code) in
        [("one.db", 409, "exists"), ("../two.db", 400, "malformed"), ("", 400, "malformed")]
    {
        let (found, told) = copy(name);
        assert_eq!((found, &told["code"]), (status, &json!(code)), "{name}");
    }
    let (status, told) = ask(&server, "POST", "/v1/store/compact", Some(json!({})));
    assert_eq!((status, &told["free_bytes"]), (200, &json!(0)), "{told}");
    server.drain().await;

    // The copy is a store.
    let other = Folder::new("copy");
    std::fs::create_dir(other.store()).unwrap();
    std::fs::rename(&path, other.store().join("trunkline.db")).unwrap();
    let server = start(&other, 3).await;
    let mut reader = client(&server, "");
    subscribe(&mut reader, "r/#", Qos::AtLeastOnce);
    let mut values: Vec<u32> = (0..20).map(|_| next(&mut reader).parse().unwrap()).collect();
    values.sort_unstable();
    assert_eq!(values, (0..20).collect::<Vec<_>>());
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_store_there_is_none() {
    let server = Server::start(Config::loopback()).await.unwrap();
    for (method, target) in
        [("GET", "/v1/store"), ("POST", "/v1/store/backup"), ("POST", "/v1/store/compact")]
    {
        let body = if target.ends_with("backup") { json!({ "name": "a" }) } else { json!({}) };
        let (status, told) = ask(&server, method, target, Some(body));
        assert_eq!((status, &told["code"]), (404, &json!("not-found")), "{target}");
    }
    assert!(ask(&server, "GET", "/v1/server", None).1.get("store").is_none());
    server.drain().await;
}

/// Runs the program with nothing of this environment: exit status, standard output, standard error.
fn trunkline(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let output = command.env_clear().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn open(directory: &Path) -> Disk {
    Disk::open(directory, DiskOptions::default(), Arc::new(WallClock)).unwrap()
}

/// Where the engine's file format has the number that we use as that of ours.
const FORMAT_AT: usize = 60;
/// Where it says whose file it is.
const PROGRAM_AT: usize = 68;

fn change(path: &Path, at: usize, bytes: &[u8]) {
    let mut all = std::fs::read(path).unwrap();
    all[at..at + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, all).unwrap();
}

#[test]
fn a_store_that_cannot_be_had_is_a_precise_error_of_every_command() {
    let folder = Folder::new("refused");
    let store = folder.store();
    let config = folder.join("trunkline.toml");
    let text = format!(
        "[auth]\nmode = \"anonymous\"\n[server]\npublic_listen = \"127.0.0.1:0\"\nprivate_listen = \"127.0.0.1:0\"\n\
         [store]\ndir = \"{}\"\n[log]\nfilter = \"error\"\n",
        store.display()
    );
    std::fs::write(&config, text).unwrap();
    let (config, shown) = (config.to_str().unwrap(), store.display().to_string());
    let refused = |expected: &str, hint: &str| {
        let (status, _, err) = trunkline(&["serve", "--config", config]);
        assert_eq!((status, err), (1, format!("store.dir {shown}: {expected}\n")));
        for command in [&["check", &shown][..], &["stats", &shown], &["compact", &shown]] {
            let (status, out, err) = trunkline(&[&["store"], command].concat());
            assert_eq!((status, out, err), (1, String::new(), format!("{expected}\n{hint}")), "{command:?}");
        }
    };
    let disk = open(&store);
    let expected = format!("{shown} is used by another process ({})", std::process::id());
    refused(&expected, "Ask the server that uses it, without DIR, or stop it.\n");
    drop(disk);
    let file = store.join("trunkline.db");
    change(&file, FORMAT_AT, &99_u32.to_be_bytes());
    let (_, _, err) = trunkline(&["serve", "--config", config]);
    let known = err.trim().rsplit(' ').next().unwrap().to_owned();
    assert!(known.parse::<u32>().unwrap() < 99, "{err}");
    let shown_file = file.display();
    refused(
        &format!("{shown_file} has format 99, and this version of Trunkline knows formats up to {known}"),
        "",
    );
    change(&file, PROGRAM_AT, b"othr");
    refused(&format!("{shown_file} is no store of Trunkline"), "");
}

#[test]
fn a_store_that_nobody_uses_is_looked_after_by_the_program() {
    let folder = Folder::new("offline");
    let (store, copy) = (folder.store(), folder.join("copy.db"));
    let (shown, to) = (store.to_str().unwrap(), copy.to_str().unwrap());
    let nothing = (1, String::new(), format!("{shown}: there is no store\n"));
    for command in ["check", "stats", "compact"] {
        assert_eq!(trunkline(&["store", command, shown]), nothing);
    }
    assert!(!store.exists(), "looking makes nothing");
    drop(open(&store));
    let (status, out, err) = trunkline(&["store", "stats", shown, "--json"]);
    assert_eq!((status, err), (0, String::new()));
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["records"], &told["directory"]), (&json!(0), &json!(shown)));
    let ok = format!("{shown}: OK, 0 records and 0 rows are as they were written\n");
    assert_eq!(trunkline(&["store", "check", shown]), (0, ok, String::new()));
    let (status, out, _) = trunkline(&["store", "compact", shown]);
    assert!(status == 0 && out.contains("free_bytes      0\n"), "{out}");
    let (status, out, _) = trunkline(&["store", "backup", shown, "--to", to]);
    assert_eq!((status, out), (0, format!("{to}: {} bytes\n", std::fs::metadata(&copy).unwrap().len())));
    let (status, _, err) = trunkline(&["store", "backup", shown, "--to", to]);
    assert!(status == 1 && err.starts_with(&format!("{to}: ")), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_looks_after_the_store_of_a_running_server() {
    let folder = Folder::new("asked");
    let server = start(&folder, 1).await;
    let url = format!("http://{}", server.private_addr());
    let (status, out, _) = trunkline(&["store", "stats", "--url", &url]);
    assert!(status == 0 && out.contains("fsync               always\n"), "{out}");
    let path = folder.store().join("backups/monday.db");
    let (status, out, err) = trunkline(&["store", "backup", "--to", "monday.db", "--url", &url]);
    let bytes = std::fs::metadata(&path).map_or(0, |data| data.len());
    assert_eq!((status, out), (0, format!("{}: {bytes} bytes\n", path.display())), "{err}");
    let (status, _, err) = trunkline(&["store", "backup", "--to", "monday.db", "--url", &url]);
    assert_eq!((status, err), (1, format!("the server refused: 409 exists: {} exists\n", path.display())));
    assert_eq!(trunkline(&["store", "compact", "--url", &url]).0, 0);
    server.drain().await;
}
