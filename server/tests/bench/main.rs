//! `trunkline bench` as a program: the floor with its second process, a server measured by another one, and clients in
//! several processes; and `trunkline queue`, which shares a client with it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, its helpers included")]

mod back_end;
mod comebacks;
mod mqtt;
#[path = "../support/pem.rs"]
mod pem;
mod queue;
mod rig;
mod talk;
#[path = "../support/whole/mod.rs"]
mod whole;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rig::{Dev, report, trunkline};
use serde_json::Value;
use whole::until::until;

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
fn the_floor_is_written_by_several_processes_to_several() {
    let arguments = "floor --connections 101 --messages 64 --frames-per-write 32 --processes 2 --client-processes 3 --json";
    let report = report(&arguments.split(' ').collect::<Vec<_>>());
    let figures = &report["figures"];
    assert_eq!((&report["settings"]["writer_processes"], &figures["deliveries"]), (&2.into(), &6464.into()));
    assert!(figures["cpu_us_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
    assert!(figures["latency_min_ms"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn a_server_is_measured_from_its_first_client_to_its_fan_out() {
    let server = Dev::start("measured");
    let pid = server.pid();
    let clients = ["--target", &server.public, "--room-event", "join", "--server-pid", &pid, "--json"];

    for protocol in ["socketio", "socketio-poll"] {
        let idle = ["idle", "--connections", "100", "--hold", "100ms", "--protocol", protocol];
        let report = report(&[&idle[..], &clients[..]].concat());
        assert_eq!(report["figures"]["sessions"], 100, "{report}");
        assert!(report["figures"]["rss_held_bytes"].as_u64().unwrap() > 1 << 20, "{report}");
    }

    let words = "fanout --connections 100 --messages 64 --batch 32 --with-floor --publish-url";
    let fanout: Vec<&str> = words.split(' ').chain([server.private.as_str()]).collect();
    let ours = server.folder.join("ours");
    let files = ["--report", ours.to_str().unwrap(), "--key", "not-to-be-saved"];
    let report = report(&[&fanout[..], &clients[..], &files[..]].concat());
    let figures = &report["figures"];
    assert_eq!(figures["deliveries"], 6400, "{report}");
    assert!(figures["ratio_to_floor"].as_f64().unwrap() > 0.0, "{report}");
    assert!(figures["writes_per_delivery"].as_f64().unwrap() > 0.0, "{report}");
    saved(&ours, &report);
    compared(&ours, &server.folder);
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
fn clients_in_several_processes_count_as_those_in_one() {
    let server = Dev::start("processes");
    let pid = server.pid();
    let clients = ["--target", &server.public, "--room-event", "join", "--server-pid", &pid, "--json"];
    let measured = |words: &str, more: &[&str]| {
        let words: Vec<&str> = words.split(' ').collect();
        report(&[&words[..], more, &clients[..]].concat())
    };
    for protocol in ["socketio", "socketio-poll"] {
        let counts = ["1", "2"].map(|processes| {
            let words = "idle --connections 200 --warmup-connections 3 --hold 100ms --processes";
            let report = measured(words, &[processes, "--protocol", protocol]);
            assert_eq!(report["settings"]["client_processes"].to_string(), processes);
            let figures = &report["figures"];
            (figures["sessions"].clone(), figures["connections_accepted"].as_u64().unwrap())
        });
        assert_eq!((&counts[0].0, &counts[1].0), (&200.into(), &200.into()));
        assert!(counts[1].1 >= 200, "{counts:?}");
    }
    let counts = ["1", "2"].map(|processes| {
        let words = "fanout --connections 200 --messages 40 --rate 400 --publish-url";
        let report = measured(words, &[server.private.as_str(), "--processes", processes]);
        assert_eq!(report["void"].to_string(), "[]", "{report}");
        let figures = &report["figures"];
        assert!(figures["latency_min_ms"].as_f64().unwrap() > 0.0, "{report}");
        assert!(figures["latency_max_ms"].as_f64().unwrap() < 30_000.0, "{report}");
        (figures["subscribers"].clone(), figures["deliveries"].clone())
    });
    assert_eq!(counts[0], (200.into(), 8000.into()));
    assert_eq!(counts[1], counts[0]);
}

#[test]
fn idle_adds_up_the_processes_of_a_server() {
    let servers = [Dev::start("first"), Dev::start("second")];
    let targets = format!("{},{}", servers[0].public, servers[1].public);
    let pids = format!("{},{}", servers[0].pid(), servers[1].pid());
    let words = "idle --connections 100 --hold 100ms --json --target";
    let words: Vec<&str> = words.split(' ').chain([&*targets, "--server-pid", &pids]).collect();
    let report = report(&words);
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap();
    let sum = |name: &str| {
        servers.iter().enumerate().map(|(row, _)| number(&report["table"][row][name])).sum::<f64>()
    };
    assert_eq!(report["table"][1]["server_pid"].as_str(), Some(servers[1].pid().as_str()));
    let figures = &report["figures"];
    // Read one after the other, so a page may have come in between.
    assert!((number(&figures["rss_held_bytes"]) - sum("rss_held_bytes")).abs() < 1e6, "{report}");
    let growth = number(&figures["rss_held_bytes"]) - number(&figures["rss_warm_bytes"]);
    assert!((number(&figures["rss_per_session_bytes"]) * 100.0 - growth).abs() < 1.0, "{report}");
}

/// `bench idle` with clients in two processes, long enough to be disturbed, and the numbers of both.
fn disturbed(server: &Dev) -> (Child, Vec<u32>) {
    let words = "idle --connections 200 --hold 10m --processes 2 --warmup-connections 0 --json --target";
    let words = words.split(' ').chain([server.public.as_str()]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let command = command.arg("bench").args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    let bench = command.spawn().unwrap();
    let pids = until("two processes hold the clients", || {
        let pids = children(bench.id());
        (pids.len() == 2).then_some(pids)
    });
    (bench, pids)
}

/// Fields of `/proc/<pid>/stat` behind the name: state, parent. None if the process is gone.
fn stat(proc: &Path) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(proc.join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let of_parent = entries.filter(|path| stat(path).is_some_and(|(_, ppid)| ppid == parent));
    of_parent.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

fn wait_gone(pid: u32) {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    // Whoever adopted it may not have asked yet how it ended.
    until("the process ends", || stat(&proc).is_none_or(|(state, _)| state == 'Z').then_some(()));
}

fn kill(pid: u32) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -9 {pid}")).status().unwrap();
    assert!(status.success());
}

#[test]
fn a_killed_process_of_clients_is_reported() {
    let server = Dev::start("killed");
    let (bench, pids) = disturbed(&server);
    kill(pids[1]);
    let output = bench.wait_with_output().unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    let expected = format!("(pid {}, clients ", pids[1]);
    assert!(told.contains(&expected) && told.contains("ended with signal: 9 (SIGKILL)"), "{told}");
    wait_gone(pids[0]);
}

#[test]
fn no_process_of_clients_outlives_a_killed_parent() {
    let server = Dev::start("orphans");
    let (mut bench, pids) = disturbed(&server);
    bench.kill().unwrap();
    bench.wait().unwrap();
    pids.into_iter().for_each(wait_gone);
}

#[test]
fn wrong_arguments_are_told() {
    let refused = |arguments: &str| {
        let output = trunkline(&arguments.split(' ').collect::<Vec<_>>());
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused("idle --protocol smtp").contains("known are socketio, socketio-poll"));
    assert!(refused("hostile --kind sloth").contains("never-reads, byte-per-second"));
    assert!(refused("idle --hold soon").contains("is no time such as 5s"));
    assert!(refused("idle --server-pid 4294967295").contains("is --server-pid right"));
    assert!(refused("cuts --cut axe").contains("close, reset, mixed and silent"));
    assert!(refused("cuts --cut-every 9s..5s").contains("the second time is before the first"));
    assert!(refused("avalanche --rate 0").contains("the rate must be above 0"));
    assert!(refused("avalanche -- --set no.such=1").contains("no.such"));
    assert!(refused("fanout --messages 0").contains("must be at least 1"));
    assert!(refused("echo --protocol socketio-poll --rate 1").contains("this scenario is for socketio"));
    assert!(refused("churn --rate 0").contains("at least one message"));
    assert!(refused("broadcast --series 2 --repeat 2").contains("cannot be used with"));
    assert!(refused("back-end --record /proc/version/heard").contains("writing /proc/version/heard: "));
    assert!(refused("idle --report /proc/version/report").contains("/proc/version is no folder"));
}
