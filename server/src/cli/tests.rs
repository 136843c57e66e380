//! Tests of the command line inside the process.

use std::cell::RefCell;
use std::net::SocketAddr;

use clap::{CommandFactory, Parser};
use serde_json::json;
use trunkline::config::Config;

use super::run::{Addresses, Signal, Signals, supervise, write_ready_file};
use super::service::Service;
use super::*;

#[test]
fn the_definition_of_the_arguments_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_shows_examples_of_itself() {
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let help = command.render_long_help().to_string();
        let (_, examples) =
            help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{}", command.get_name()));
        let name = command.get_name();
        assert!(examples.lines().all(|line| line.contains(&format!("trunkline {name}"))), "{examples}");
    }
}

/// Lines that are broken by hand and are too long were broken twice: a word alone stood on the next.
#[test]
fn what_a_help_says_is_no_wider_than_a_terminal() {
    fn check(command: &mut clap::Command) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let text = help.split("Examples:\n").next().unwrap();
        let broken = text.split("\n\n").filter(|paragraph| paragraph.trim().contains('\n'));
        for line in broken.flat_map(str::lines) {
            assert!(line.chars().count() <= 100, "{}: {line}", command.get_name());
        }
        command.get_subcommands_mut().for_each(check);
    }
    check(&mut Cli::command());
}

#[test]
fn every_example_of_a_help_is_accepted() {
    let mut cli = Cli::command();
    cli.build();
    let mut count = 0;
    for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let help = command.render_long_help().to_string();
        let examples = help.split_once("\nExamples:\n").map(|(_, examples)| examples.to_owned()).unwrap();
        for line in examples.lines() {
            let (_, typed) = line.split_once("trunkline ").unwrap();
            let typed = typed.split(" | ").next().unwrap().split(" > ").next().unwrap();
            let typed = typed.split("   ").next().unwrap();
            let words = typed.split_whitespace().map(|word| word.trim_matches('\''));
            let parsed = Cli::try_parse_from(std::iter::once("trunkline").chain(words));
            assert!(parsed.is_ok(), "{line}\n{}", parsed.unwrap_err());
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} examples were found");
}

#[test]
fn the_committed_page_is_up_to_date() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == reference::cli_reference(), "run `cargo run -- reference cli > docs/cli.md`");
}

fn publish_of(arguments: &[&str]) -> publish::Publish {
    let words = ["trunkline", "pub"].iter().chain(arguments);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Pub(publish) => publish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn data_is_json_or_text_and_several_are_arguments() {
    for (arguments, body) in [
        (&["main", "hello"][..], json!({"channel": "main", "data": "hello"})),
        (&["main", "{\"a\":1}", "--event", "e"], json!({"channel": "main", "data": {"a": 1}, "event": "e"})),
        (&["main", "3", "x y"], json!({"channel": "main", "args": [3, "x y"]})),
        (&["main"], json!({"channel": "main", "args": []})),
        (&["main", "--wait-replies", "50"], json!({"channel": "main", "args": [], "reply": {"wait_ms": 50}})),
    ] {
        assert_eq!(publish_of(arguments).body(), body);
    }
}

#[test]
fn the_report_of_a_publish_has_counts_replies_and_gaps() {
    let answer = json!({
        "id": "01J",
        "results": [{"channel": "main", "delivered": 120, "queued": 3, "dropped": 1}],
        "replies": [{"session": "s1", "args": ["ok", 2]}],
        "missing": ["s7"],
    });
    let expected = "main: delivered 120, queued 3, dropped 1\ns1 replied [\"ok\",2]\ns7 did not reply\n";
    assert_eq!(publish::report(&answer), expected);
}

#[test]
fn messages_are_printed_for_people() {
    for (message, line) in [
        (
            json!({"channel": "chat/r1", "event": "say", "args": ["hi", {"n": 1}]}),
            "chat/r1 say \"hi\" {\"n\":1}\n",
        ),
        (json!({"channel": "c", "data": 5}), "c message 5\n"),
        (
            json!({"channel": "c", "event": "e\u{1b}[2J", "args": ["\u{9b}2J\n"]}),
            "c e\\u{1b}[2J \"\\u{9b}2J\\n\"\n",
        ),
        (json!({"channel": "c", "event": "e", "data_base64": "AQI="}), "c e base64:AQI=\n"),
        (json!({"dropped": 4}), "{\"dropped\":4}\n"),
    ] {
        assert_eq!(subscribe::for_people(&message, &message.to_string()), line);
    }
}

#[test]
fn the_status_is_a_table_of_paths() {
    let answer = json!({"version": "1", "connections": {"socketio": 12}, "shards": [{"n": 1}, {"n": 2}], "none": null});
    let mut lines: Vec<String> = status::table(&answer).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "connections.socketio  12",
            "none                  null",
            "shards.0.n            1",
            "shards.1.n            2",
            "version               1",
        ]
    );
}

fn addresses(private_port: u16) -> Addresses {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Addresses {
        public: address(8000),
        private: address(private_port),
        mqtt: Some(address(1883)),
        mqtt_tls: None,
        sqs: None,
    }
}

#[test]
fn the_guide_names_the_addresses_that_hold() {
    let text = dev::guide(&Config::loopback(), addresses(9000));
    assert!(text.contains("io(\"http://127.0.0.1:8000\");"), "{text}");
    assert!(text.contains("client.connect(\"http://127.0.0.1:8000\")\n"), "{text}");
    assert!(text.contains("live page http://127.0.0.1:9000/\n"), "{text}");
    assert!(!text.contains("--url") && !text.contains("TRUNKLINE_KEY"), "{text}");
    let other_port = dev::guide(&Config::loopback(), addresses(9555));
    assert!(other_port.contains("trunkline sub '#' --url http://127.0.0.1:9555\n"), "{other_port}");
}

fn dev_of(arguments: &[&str]) -> dev::Dev {
    let words = ["trunkline", "dev"].iter().chain(arguments);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Dev(dev) => dev,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dev_needs_no_configuration_and_takes_its_arguments() {
    let config = dev_of(&[]).load().unwrap();
    assert_eq!(config.server.public_listen, SocketAddr::from(([127, 0, 0, 1], 8000)));
    assert_eq!(config.server.private_listen, run::PRIVATE_DEFAULT);
    let typed =
        ["--public", "127.0.0.2:0", "--private", "[::1]:0", "--shards", "3", "--set", "socketio.eio3=true"];
    let config = dev_of(&typed).load().unwrap();
    assert_eq!(config.server.public_listen, "127.0.0.2:0".parse().unwrap());
    assert_eq!(config.server.private_listen, "[::1]:0".parse().unwrap());
    assert_eq!((config.server.shards, config.socketio.eio3), (3, true));
}

#[test]
fn dev_listens_on_loopback_only() {
    let Failure(text) = dev_of(&["--public", "0.0.0.0:8000"]).load().unwrap_err();
    assert_eq!(
        text,
        "`trunkline dev` lets every client in without asking, so it listens on loopback only: the public address \
         0.0.0.0:8000 can be reached from other machines.\n\
         Use --public 127.0.0.1:8000, or `trunkline serve` with a configuration that says who may connect."
    );
    let typed = ["--set", "server.private_listen=0.0.0.0:9000", "--set", "private.keys=0123456789abcdef"];
    let Failure(text) = dev_of(&typed).load().unwrap_err();
    assert!(text.contains("the private address 0.0.0.0:9000"), "{text}");
    let Failure(text) = dev_of(&["--set", "mqtt.listen=0.0.0.0:1883"]).load().unwrap_err();
    assert!(text.contains("Use --set mqtt.listen=127.0.0.1:1883, or"), "{text}");
}

#[test]
fn the_ready_file_is_complete_and_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = std::env::temp_dir().join(format!("trunkline-ready-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, part) = (folder.join("ready.json"), folder.join("ready.json.part"));
    // Somebody who wants to read it was there before.
    std::fs::write(&part, "").unwrap();
    std::fs::set_permissions(&part, std::fs::Permissions::from_mode(0o666)).unwrap();
    for (key, shown) in [(None, json!(null)), (Some("0123456789abcdef"), json!("0123456789abcdef"))] {
        write_ready_file(&path, addresses(9000), key).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let addresses = json!({
            "public": "127.0.0.1:8000",
            "private": "127.0.0.1:9000",
            "mqtt": "127.0.0.1:1883",
            "mqtt_tls": null,
            "sqs": null,
            "key": shown,
        });
        assert_eq!(read, addresses);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A server that notes what is asked of it; its drain ends by itself or never, and its store may have failed.
struct Noted<'a> {
    notes: &'a RefCell<Vec<&'static str>>,
    drain: Drain,
    has_failed: bool,
}

enum Drain {
    Ends,
    Hangs,
}

impl Service for Noted<'_> {
    async fn reload_tls(&self) -> Result<bool, String> {
        self.notes.borrow_mut().push("reload");
        Err("no such file".into())
    }

    async fn reload_keys(&self) -> Result<Option<usize>, String> {
        self.notes.borrow_mut().push("keys");
        Err("no such file".into())
    }

    async fn failed(&mut self) -> String {
        if self.has_failed { "no more space".into() } else { std::future::pending().await }
    }

    async fn drain(self) {
        self.notes.borrow_mut().push("drain");
        match self.drain {
            Drain::Ends => self.notes.borrow_mut().push("drained"),
            Drain::Hangs => std::future::pending().await,
        }
    }
}

/// Signals from a list; after its end none comes.
struct Listed(Vec<Signal>);

impl Signals for Listed {
    async fn next(&mut self) -> Signal {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        self.0.remove(0)
    }
}

fn supervised(signals: &[Signal], drain: Drain) -> Vec<&'static str> {
    let notes = RefCell::new(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let service = Noted { notes: &notes, drain, has_failed: false };
    runtime.block_on(supervise(service, &mut Listed(signals.to_vec()))).unwrap();
    notes.into_inner()
}

#[test]
fn a_server_that_cannot_go_on_ends_with_the_reason_and_without_a_drain() {
    let notes = RefCell::new(Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let service = Noted { notes: &notes, drain: Drain::Hangs, has_failed: true };
    let ended = runtime.block_on(supervise(service, &mut Listed(Vec::new())));
    assert_eq!(ended.unwrap_err().0, "no more space");
    assert!(notes.borrow().is_empty());
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once() {
    use Signal::{Reload, Stop};
    assert_eq!(supervised(&[Stop], Drain::Ends), ["drain", "drained"]);
    assert_eq!(
        supervised(&[Reload, Reload, Stop], Drain::Ends),
        ["reload", "keys", "reload", "keys", "drain", "drained"]
    );
    assert_eq!(supervised(&[Stop, Reload, Stop], Drain::Hangs), ["drain"]);
}
