//! `trunkline bench` as a program: the floor with its second process, and a server measured by another one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, its helpers included")]

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

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
    with_server("", measure);
}

#[test]
fn who_is_cut_and_recovered_receives_everything_once() {
    with_server("[[socketio.namespace]]\nname = \"/\"\nrecovery = \"opt_in\"\n", |public, private, _| {
        let words = "cuts --connections 20 --messages 40 --interval 10ms --cut-first 50ms..200ms \
                     --cut-every 100ms..200ms --offline-min 20ms --patience 20s --json --room-event join";
        for cut in ["mixed", "silent"] {
            let places = ["--cut", cut, "--target", public, "--publish-url", private];
            let report = report(&words.split_whitespace().chain(places).collect::<Vec<_>>());
            let figures = &report["figures"];
            assert_eq!(figures["deliveries"], 800, "{report}");
            assert_eq!(figures["delivered_exactly_once_percent"], 100.0, "{report}");
            assert!(figures["cuts"].as_u64().unwrap() >= 20, "{report}");
            assert_eq!(figures["recovered"], figures["returned"], "{report}");
        }
    });
}

#[test]
fn everybody_comes_back_to_a_server_that_was_restarted() {
    for signal in ["term", "kill"] {
        let words = "avalanche --connections 20 --rate 50 --return-after 20ms..200ms --json --signal";
        let behind = [signal, "--", "--shards", "2"];
        let report = report(&words.split(' ').chain(behind).collect::<Vec<_>>());
        let figures = &report["figures"];
        assert_eq!(figures["disconnected"], 20, "{report}");
        assert_eq!(figures["never_back"], 0, "{report}");
        assert!(figures["back_100_percent_seconds"].as_f64().unwrap() > 0.0, "{report}");
        assert!(figures["published"].as_u64().unwrap() >= 4, "{report}");
        assert!(figures["server_down_seconds"].as_f64().unwrap() > 0.0, "{report}");
    }
}

/// Runs `body` with the public and the private URL and the process of a server with this configuration.
fn with_server(config: &str, body: impl Fn(&str, &str, &str) + std::panic::RefUnwindSafe) {
    static SERVERS: AtomicU32 = AtomicU32::new(0);
    let name = format!("trunkline-bench-{}-{}", std::process::id(), SERVERS.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let (ready, file) = (folder.join("ready.json"), folder.join("trunkline.toml"));
    std::fs::write(&file, config).unwrap();
    let dev = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(dev).arg(&ready).arg("--config").arg(&file);
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut server = command.spawn().unwrap();
    let outcome = std::panic::catch_unwind(|| {
        let addresses = addresses(&ready);
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        body(&url("public"), &url("private"), &server.id().to_string());
    });
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

fn addresses(ready: &std::path::Path) -> Value {
    loop {
        match std::fs::read_to_string(ready).ok().and_then(|text| serde_json::from_str(&text).ok()) {
            Some(addresses) => return addresses,
            None => std::thread::yield_now(),
        }
    }
}

fn measure(public: &str, private: &str, pid: &str) {
    let clients = ["--target", public, "--room-event", "join", "--server-pid", pid, "--json"];

    for protocol in ["socketio", "socketio-poll"] {
        let idle = ["idle", "--connections", "100", "--hold", "100ms", "--protocol", protocol];
        let report = report(&[&idle[..], &clients[..]].concat());
        assert_eq!(report["figures"]["sessions"], 100, "{report}");
        assert!(report["figures"]["rss_held_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
    }

    let words = "fanout --connections 100 --messages 64 --batch 32 --with-floor --publish-url";
    let fanout: Vec<&str> = words.split(' ').chain([private]).collect();
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
    assert!(refused("cuts --cut axe").contains("close, reset, mixed and silent"));
    assert!(refused("cuts --cut-every 9s..5s").contains("the second time is before the first"));
    assert!(refused("avalanche --rate 0").contains("the rate must be above 0"));
    assert!(refused("avalanche -- --set no.such=1").contains("no.such"));
    assert!(refused("fanout --messages 0").contains("must be at least 1"));
}
