//! Queues: `bench queue` against a server, and `trunkline queue` on one.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::rig::{Dev, report, trunkline};
use crate::whole::until::until;

fn bench(server: &Dev, words: &str) -> Value {
    let pid = server.pid();
    let words = format!("queue --endpoint {} --server-pid {pid} --json {words}", server.private);
    report(&words.split(' ').collect::<Vec<_>>())
}

#[test]
fn every_stage_of_a_queue_is_measured_and_nothing_is_left_or_lost() {
    let server = Dev::start("queue");
    for (kind, groups) in [("standard", 0), ("fifo", 8)] {
        let words = "--connections 4 --messages 200 --backlog 55 --wakeups 5 --groups";
        let report = bench(&server, &format!("{words} {groups}"));
        let figures = &report["figures"];
        for stage in ["fill", "send", "send_batch", "cycle", "cycle_batch"] {
            let rate = figures[format!("{stage}_messages_per_second")].as_f64().unwrap();
            assert!(rate > 0.0, "{kind} {stage}: {report}");
        }
        // A single request each; a batch has ten, and each connection has its share.
        let counted = |name: &str| {
            let histograms = report["histograms"].as_array().unwrap();
            histograms.iter().find(|one| one["name"] == name).unwrap()["count"].as_u64().unwrap()
        };
        assert_eq!((counted("send_request"), counted("send_batch_request")), (200, 20), "{kind}");
        assert_eq!(
            (counted("cycle_receive"), counted("cycle_delete"), counted("wakeup")),
            (200, 200, 5),
            "{kind}"
        );
        assert_eq!((&figures["left_messages"], &figures["repeated"]), (&55.into(), &0.into()), "{kind}");
    }
    let left = queue(&server, &["list", "--json"], "");
    assert_eq!(left, (true, "[]\n".to_owned(), String::new()), "the queues of a run are deleted");
}

#[test]
fn a_run_that_cannot_be_says_why() {
    let server = Dev::start("queue-refused");
    let words = ["queue", "--endpoint", &server.private, "--stages", "cycle"];
    let output = trunkline(&words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("more messages than are sent before it"), "{said}");
    let words = ["queue", "--endpoint", &server.public, "--messages", "10"];
    let output = trunkline(&words);
    assert!(!output.status.success(), "the public port has no queues");
}

/// Whether it succeeded, and what it printed.
fn queue(server: &Dev, arguments: &[&str], input: &str) -> (bool, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.arg("queue").args(arguments).args(["--url", &server.private]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// What a command prints that succeeds.
fn said(server: &Dev, arguments: &[&str], input: &str) -> String {
    let (succeeded, out, err) = queue(server, arguments, input);
    assert!(succeeded && err.is_empty(), "{arguments:?}: {out}{err}");
    out
}

#[test]
fn a_queue_is_used_from_the_command_line() {
    let server = Dev::start("queue-used");
    let made = said(&server, &["create", "orders", "--attribute", "VisibilityTimeout=60"], "");
    assert!(made.trim().ends_with("/000000000000/orders"), "{made}");
    let id = said(&server, &["send", "orders", "first", "--attribute", "kind=order"], "");
    assert_eq!(id.trim().len(), 36, "{id}");
    let lines: String = (0..25).map(|n| format!("line {n}\n")).collect();
    assert_eq!(said(&server, &["send", "orders", "--lines"], &lines), "25 messages sent to orders\n");
    assert_eq!(
        said(&server, &["send", "orders", "later", "--delay", "900", "--count", "3"], ""),
        "3 messages sent to orders\n"
    );

    assert_eq!(said(&server, &["receive", "orders"], ""), "first\n");
    let peeked = said(&server, &["peek", "orders", "--max", "1000", "--json"], "");
    let peeked: Vec<Value> = peeked.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stages: Vec<_> = peeked.iter().map(|message| message["stage"].as_str().unwrap()).collect();
    assert_eq!((stages[0], stages[1], stages[26], stages.len()), ("in-flight", "visible", "delayed", 29));
    assert_eq!((&peeked[0]["id"], &peeked[0]["receives"]), (&Value::from(id.trim()), &1.into()));
    assert_eq!(peeked[0]["attributes"]["kind"]["value"], "order");
    let looked = said(&server, &["peek", "orders", "--max", "2"], "");
    assert!(looked.ends_with(" s, received 0 times: line 0\n"), "to look is not to receive: {looked}");

    let got = said(&server, &["receive", "orders", "--max", "100", "--delete"], "");
    assert_eq!(got, lines);
    let stats: Value = serde_json::from_str(&said(&server, &["stats", "orders", "--json"], "")).unwrap();
    let counted = ["visible", "in_flight", "delayed", "sent", "received", "deleted"];
    let counted = counted.map(|name| stats[name].as_u64().unwrap());
    assert_eq!(counted, [0, 1, 3, 29, 26, 25], "{stats}");
    let (succeeded, _, err) = queue(&server, &["receive", "orders"], "");
    assert_eq!((succeeded, err.as_str()), (false, "orders has no message now\n"));
    assert_eq!(said(&server, &["purge", "orders"], ""), "orders had 4 messages and is empty now\n");
    said(&server, &["delete", "orders"], "");
    let (succeeded, _, err) = queue(&server, &["send", "orders", "x"], "");
    assert!(!succeeded && err.starts_with("QueueDoesNotExist: "), "{err}");
    let (succeeded, _, err) = queue(&server, &["stats", "orders"], "");
    assert!(!succeeded && err.contains("404 not-found: there is no such queue"), "{err}");
}

#[test]
fn dead_letters_are_moved_back_and_keys_are_asked_for() {
    let server = Dev::configured("queue-keys", "[private]\nkeys = [\"0123456789abcdef\"]\n");
    let key = ["--key", "0123456789abcdef"];
    let with_key = |arguments: &[&str]| said(&server, &[arguments, &key].concat(), "");
    with_key(&["create", "dead.fifo"]);
    with_key(&["create", "q.fifo", "--dead-letter-queue", "dead.fifo", "--receives-max", "1"]);
    let sent = with_key(&["send", "q.fifo", "one", "--group", "g", "--deduplication-id", "1"]);
    assert_eq!(sent.split_whitespace().map(str::len).collect::<Vec<_>>(), [36, 20], "id and number: {sent}");
    assert_eq!(with_key(&["receive", "q.fifo", "--visibility", "0s"]), "one\n");
    let (succeeded, ..) = queue(&server, &[&["receive", "q.fifo"], &key[..]].concat(), "");
    assert!(!succeeded, "it was received as often as it may be");
    // It is on its way from one queue's home to the other's.
    until("it is a dead letter", || {
        let stats = with_key(&["stats", "dead.fifo", "--json"]);
        let stats: Value = serde_json::from_str(&stats).unwrap();
        (stats["visible"] == 1).then_some(())
    });
    assert_eq!(with_key(&["redrive", "dead.fifo"]), "1 messages moved out of dead.fifo\n");
    assert_eq!(with_key(&["receive", "q.fifo", "--wait", "20s"]), "one\n");
    let list = with_key(&["list"]);
    let rows: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((rows[1][0], rows[2][..3].to_vec()), ("dead.fifo", vec!["q.fifo", "0", "1"]), "{list}");
    let (succeeded, _, err) = queue(&server, &["send", "q.fifo", "x"], "");
    assert!(!succeeded && err.contains("TRUNKLINE_KEY"), "{err}");
}
