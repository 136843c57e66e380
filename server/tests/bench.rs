//! `trunkline bench` as a program: the floor with its second process, and a server measured by another one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, its helpers included")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn trunkline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline")).arg("bench").args(arguments).output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let output = trunkline(arguments);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(err, "", "progress is for terminals only");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn the_floor_writes_every_frame_to_every_socket() {
    let arguments = "floor --connections 100 --messages 64 --frames-per-write 32 --writers 2 --json";
    let report = report(&arguments.split(' ').collect::<Vec<_>>());
    let figures = &report["figures"];
    assert_eq!(figures["deliveries"], 6400);
    assert_eq!(figures["deliveries_expected"], 6400);
    assert!(figures["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
    // Many frames arrive with one read, because they were sent by one write.
    assert!(figures["reads_per_delivery"].as_f64().unwrap() < 0.5, "{report}");
}

#[test]
fn a_server_is_measured_from_its_first_client_to_its_fan_out() {
    let folder = std::env::temp_dir().join(format!("trunkline-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ready = folder.join("ready.json");
    let dev = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(dev).arg(&ready).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut server = command.spawn().unwrap();
    let outcome = std::panic::catch_unwind(|| measure(&ready, &server.id().to_string()));
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

fn measure(ready: &std::path::Path, pid: &str) {
    let addresses: Value = loop {
        match std::fs::read_to_string(ready).ok().and_then(|text| serde_json::from_str(&text).ok()) {
            Some(addresses) => break addresses,
            None => std::thread::yield_now(),
        }
    };
    let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
    let (public, private) = (url("public"), url("private"));
    let clients = ["--target", &public, "--room-event", "join", "--server-pid", pid, "--json"];

    for protocol in ["socketio", "socketio-poll"] {
        let idle = ["idle", "--connections", "100", "--hold", "100ms", "--protocol", protocol];
        let report = report(&[&idle[..], &clients[..]].concat());
        assert_eq!(report["figures"]["sessions"], 100, "{report}");
        assert!(report["figures"]["rss_held_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
    }

    let words = "fanout --connections 100 --messages 64 --batch 32 --with-floor --publish-url";
    let fanout: Vec<&str> = words.split(' ').chain([private.as_str()]).collect();
    let report = report(&[&fanout[..], &clients[..]].concat());
    let figures = &report["figures"];
    assert_eq!(figures["deliveries"], 6400, "{report}");
    assert!(figures["ratio_to_floor"].as_f64().unwrap() > 0.0, "{report}");
    assert!(figures["writes_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn wrong_arguments_are_told() {
    let refused = |arguments: &str| {
        let output = trunkline(&arguments.split(' ').collect::<Vec<_>>());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("idle --protocol smtp").contains("known are socketio and socketio-poll"));
    assert!(refused("hostile --kind sloth").contains("never-reads, byte-per-second"));
    assert!(refused("idle --hold soon").contains("is no time such as 5s"));
    assert!(refused("idle --server-pid 4294967295").contains("is --server-pid right"));
    assert!(refused("fanout --messages 0").contains("must be at least 1"));
}
