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

/// Runs `measure` against `trunkline dev`.
fn with_server(name: &str, measure: fn(&Server)) {
    let folder = std::env::temp_dir().join(format!("trunkline-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ready = folder.join("ready.json");
    let dev = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.args(dev).arg(&ready).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut server = command.spawn().unwrap();
    let pid = server.id().to_string();
    let outcome = std::panic::catch_unwind(|| measure(&Server::started(&ready, pid)));
    server.kill().unwrap();
    server.wait().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    outcome.unwrap();
}

struct Server {
    public: String,
    private: String,
    pid: String,
}

impl Server {
    /// Waits for its addresses.
    fn started(ready: &std::path::Path, pid: String) -> Self {
        let addresses: Value = loop {
            match std::fs::read_to_string(ready).ok().and_then(|text| serde_json::from_str(&text).ok()) {
                Some(addresses) => break addresses,
                None => std::thread::yield_now(),
            }
        };
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        Self { public: url("public"), private: url("private"), pid }
    }

    /// The report of a scenario that passes; `words` hold PUBLIC and PRIVATE where the addresses belong.
    fn measure(&self, words: &str) -> Value {
        let words = format!("{words} --target PUBLIC --server-pid {} --json", self.pid);
        let words = words.replace("PUBLIC", &self.public).replace("PRIVATE", &self.private);
        report(&words.split(' ').collect::<Vec<_>>())
    }
}

#[test]
fn a_server_is_measured_from_its_first_client_to_its_fan_out() {
    with_server("fanout", |server| {
        for protocol in ["socketio", "socketio-poll"] {
            let words =
                format!("idle --connections 100 --hold 100ms --protocol {protocol} --room-event join");
            let report = server.measure(&words);
            assert_eq!(report["figures"]["sessions"], 100, "{report}");
            assert!(report["figures"]["rss_held_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
        }
        let words = "fanout --connections 100 --messages 64 --batch 32 --with-floor --publish-url PRIVATE";
        let report = server.measure(&format!("{words} --room-event join"));
        let figures = &report["figures"];
        assert_eq!(figures["deliveries"], 6400, "{report}");
        assert!(figures["ratio_to_floor"].as_f64().unwrap() > 0.0, "{report}");
        assert!(figures["writes_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
    });
}

#[test]
fn a_broadcast_is_compared_with_the_floor() {
    with_server("broadcast", |server| {
        let words =
            "broadcast --connections 100 --repeat 3 --with-floor --floor-writers 2 --publish-url PRIVATE";
        let report = server.measure(words);
        let figures = &report["figures"];
        assert_eq!((&figures["good"], &figures["bad"]), (&900.into(), &0.into()), "{report}");
        let number = |name: &str| figures[name].as_f64().unwrap();
        let ratio = number("last_delivery_ms") / number("floor_last_delivery_ms");
        assert!((number("ratio_last_delivery") / ratio - 1.0).abs() < 0.05, "{report}");
    });
}

#[test]
fn the_back_end_of_dev_echoes_and_passes_on_what_clients_say() {
    with_server("talks", |server| {
        let report = server.measure("echo --connections 50 --rate 500 --duration 500ms");
        assert_eq!(report["figures"]["echoes"], 250, "{report}");
        let report = server.measure("echo --connections 50 --outstanding 2 --duration 300ms");
        assert!(report["figures"]["echoes"].as_u64().unwrap() > 100, "{report}");
        let words = "echo --connections 50 --first 200 --step 100 --last 300 --pause 0ms --limit 10s";
        let words = format!("{words} --hold 300ms --hold-from 200 --hold-to 400 --hold-p99-ms 9000");
        let report = server.measure(&words);
        assert_eq!(report["table"].as_array().unwrap().len(), 2, "{report}");
        assert_eq!(report["figures"]["sustained_rate"], 400.0, "{report}");
        let report = server.measure("pairs --pairs 25 --rate 500 --duration 500ms");
        assert_eq!(report["figures"]["messages"], 250, "{report}");
        let report = server.measure("pairs --pairs 25 --outstanding 1 --duration 300ms");
        assert!(report["figures"]["messages"].as_u64().unwrap() > 25, "{report}");
    });
}

#[test]
fn users_are_reached_and_visitors_leave_nothing_behind() {
    with_server("visits", |server| {
        let words = "comet --connections 50 --rate 500 --duration 500ms --publish-url PRIVATE";
        let report = server.measure(words);
        assert_eq!(report["figures"]["delivered"], 250, "{report}");
        let report = server.measure(&format!("{words} --room-event join --room r%{{i}} --channel r%{{i}}"));
        assert_eq!(report["figures"]["delivered"], 250, "{report}");
        let report = server.measure("churn --rate 200 --duration 500ms --metrics-url PRIVATE");
        let figures = &report["figures"];
        assert_eq!((&figures["completed"], &figures["sessions_left"]), (&100.into(), &0.into()), "{report}");
    });
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
    assert!(refused("echo --protocol socketio-poll --rate 1").contains("this scenario is for socketio"));
    assert!(refused("churn --rate 0").contains("at least one message"));
    assert!(refused("broadcast --series 2 --repeat 2").contains("cannot be used with"));
}
