//! Scenarios in which clients lose their connection and come back. Start at the tests.

use std::process::{Command, Stdio};

use crate::rig::{Dev, report};
use crate::whole::until::until;
use crate::{children, wait_gone};

const RECOVERY: &str = "[[socketio.namespace]]\nname = \"/\"\nrecovery = \"opt_in\"\n";

#[test]
fn who_is_cut_and_recovered_receives_everything_once() {
    let server = Dev::configured("cuts", RECOVERY);
    for cut in ["mixed", "silent"] {
        let words = "cuts --connections 20 --messages 40 --interval 10ms --cut-first 50ms..200ms \
                     --cut-every 100ms..200ms --offline-min 20ms --patience 20s --room-event join --publish-url PRIVATE";
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let report = server.measure(&format!("{words} --cut {cut}"));
        let figures = &report["figures"];
        assert_eq!(figures["deliveries"], 800, "{report}");
        assert_eq!(figures["delivered_exactly_once_percent"], 100.0, "{report}");
        assert!(figures["cuts"].as_u64().unwrap() >= 20, "{report}");
        assert_eq!(figures["recovered"], figures["returned"], "{report}");
    }
}

#[test]
fn clients_in_two_processes_are_cut_and_judged_like_those_in_one() {
    let server = Dev::configured("cuts-processes", RECOVERY);
    let words = "cuts --processes 2 --connections 20 --messages 40 --interval 10ms --cut-first 50ms..200ms \
                 --cut-every 100ms..200ms --offline-min 20ms --patience 20s --publish-url PRIVATE";
    let report = server.measure(&words.split_whitespace().collect::<Vec<_>>().join(" "));
    let figures = &report["figures"];
    assert_eq!(figures["delivered_exactly_once_percent"], 100.0, "{report}");
    assert!(figures["cuts"].as_u64().unwrap() >= 20, "{report}");
}

#[test]
fn everybody_comes_back_to_a_server_that_was_restarted() {
    for (signal, expected) in [("term", "100"), ("kill", "0")] {
        let words = "avalanche --connections 20 --rate 50 --return-after 20ms..200ms --json --signal";
        let behind = [signal, "--expect-recovered", expected, "--", "--shards", "2"];
        let report = report(&words.split(' ').chain(behind).collect::<Vec<_>>());
        let figures = &report["figures"];
        assert_eq!(figures["disconnected"], 20, "{report}");
        assert_eq!(figures["never_back"], 0, "{report}");
        assert!(figures["back_100_percent_seconds"].as_f64().unwrap() > 0.0, "{report}");
        assert!(figures["published"].as_u64().unwrap() >= 4, "{report}");
        assert!(figures["server_down_seconds"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn no_server_of_an_avalanche_outlives_a_killed_bench() {
    let words = "bench avalanche --connections 5 --return-after 60s..60s --patience 5m";
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let command = command.args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bench = command.spawn().unwrap();
    // The server, and the guard that ends it.
    let pids = until("the server runs", || Some(children(bench.id())).filter(|pids| pids.len() == 2));
    bench.kill().unwrap();
    bench.wait().unwrap();
    pids.into_iter().for_each(wait_gone);
}
