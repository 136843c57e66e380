//! `trunkline bench` as a program: the floor with its second process, and a server measured by another one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, its helpers included")]

use std::path::Path;
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
    let outcome = std::panic::catch_unwind(|| measure(&folder, &server.id().to_string()));
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

fn measure(folder: &Path, pid: &str) {
    let ready = folder.join("ready.json");
    let addresses: Value = loop {
        match std::fs::read_to_string(&ready).ok().and_then(|text| serde_json::from_str(&text).ok()) {
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
    let ours = folder.join("ours");
    let files = ["--report", ours.to_str().unwrap(), "--key", "not-to-be-saved"];
    let report = report(&[&fanout[..], &clients[..], &files[..]].concat());
    let figures = &report["figures"];
    assert_eq!(figures["deliveries"], 6400, "{report}");
    assert!(figures["ratio_to_floor"].as_f64().unwrap() > 0.0, "{report}");
    assert!(figures["writes_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
    saved(&ours, &report);
    compared(&ours, folder);
}

/// The folder says what standard output said.
fn saved(ours: &Path, printed: &Value) {
    let read = |name: &str| std::fs::read_to_string(ours.join(name)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&read("report.json")).unwrap(), *printed);
    let histogram = &printed["histograms"][0];
    let counts = histogram["buckets"].as_array().unwrap().iter().map(|bucket| bucket[1].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 3 * 6400, "of three rounds");
    assert_eq!(printed["bars"][0]["bars"][1][0], "floor");
    let page = read("index.html");
    assert!(
        page.contains("<div class=\"verdict passed\">") && page.contains("bench fanout --connections 100")
    );
    assert!(!page.contains("not-to-be-saved") && !printed.to_string().contains("not-to-be-saved"));
    for name in ["latency-by-percentile.svg", "latency-histogram.svg", "cpu-per-delivery.svg"] {
        assert!(read(name).starts_with("<svg ") && read(name).ends_with("</svg>"), "{name}");
    }
}

/// Two saved reports on one page, and what is refused.
fn compared(ours: &Path, folder: &Path) {
    let (saved, theirs) = (ours.join("report.json"), folder.join("theirs.json"));
    let slower =
        std::fs::read_to_string(&saved).unwrap().replace("\"ratio_to_floor\":", "\"ratio_to_floor\":9");
    std::fs::write(&theirs, slower).unwrap();
    let (saved, theirs, both) = (saved.to_str().unwrap(), theirs.to_str().unwrap(), folder.join("both"));
    let report = |arguments: &[&str]| {
        let output = trunkline(&[&["report", "--report", both.to_str().unwrap()], arguments].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    };
    let (done, text) = report(&[saved, theirs]);
    assert!(done && text.contains("figure") && text.contains("ours") && text.contains("theirs"), "{text}");
    let page = std::fs::read_to_string(both.join("index.html")).unwrap();
    assert!(page.contains("<h3>theirs</h3>") && both.join("ratio-to-floor.svg").exists(), "{page}");

    let refused = |arguments: &[&str], reason: &str| {
        let (done, text) = report(arguments);
        assert!(!done && text.contains(reason), "{text}");
    };
    refused(&[saved, saved], "two reports are called \"ours\"");
    refused(&[saved, theirs, "--name", "a"], "2 files but 1 of --name");
    refused(&["none.json"], "none.json: No such file");
    let page = both.join("index.html");
    refused(
        &[page.to_str().unwrap()],
        "index.html: no report of trunkline bench: expected value at line 1 column 1",
    );
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
    assert!(refused("idle --report /proc/version/report").contains("/proc/version is no folder"));
}
