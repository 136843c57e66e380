//! MQTT against our own server: scenarios of `bench`, and `pub` and `sub`. Start at the tests.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::rig::{Dev, report};

const ANONYMOUS: &str = "[auth]\nmode = \"anonymous\"\n";

fn url(server: &Dev, scheme: &str) -> String {
    let path = if scheme == "ws" { "/mqtt" } else { "" };
    server.public.replacen("http", scheme, 1) + path
}

fn measure(words: &str, target: &str) -> Value {
    let words = format!("{words} --protocol mqtt --json --target {target}");
    report(&words.split_whitespace().collect::<Vec<_>>())
}

#[test]
fn clients_of_mqtt_are_measured_as_others_are() {
    let server = Dev::configured("mqtt", ANONYMOUS);
    for (version, scheme) in [("3.1.1", "mqtt"), ("5", "ws")] {
        let target = url(&server, scheme);
        let of = |words: &str| measure(&format!("{words} --mqtt-version {version}"), &target);
        let idle = of("idle --connections 50 --hold 100ms --qos 1");
        assert_eq!(idle["figures"]["sessions"], 50, "{idle}");
        for qos in [0, 1, 2] {
            let fanout = of(&format!("fanout --connections 20 --messages 64 --batch 32 --qos {qos}"));
            assert_eq!(fanout["figures"]["deliveries"], 1280, "{fanout}");
        }
        let pairs = of("pairs --pairs 10 --outstanding 1 --duration 200ms --qos 1");
        assert_eq!(pairs["figures"]["lost"], 0, "{pairs}");
        let churn = of(&format!("churn --rate 100 --duration 300ms --metrics-url {}", server.private));
        assert_eq!(churn["figures"]["sessions_left"], 0, "{churn}");
    }
}

#[test]
fn a_back_end_reaches_clients_of_mqtt() {
    let server = Dev::configured("mqtt-door", ANONYMOUS);
    let words = format!("fanout --connections 20 --messages 64 --batch 32 --publish-url {}", server.private);
    let fanout = measure(&words, &url(&server, "mqtt"));
    assert_eq!(fanout["figures"]["deliveries"], 1280, "{fanout}");
    assert!(fanout["figures"]["writes_per_delivery"].as_f64().unwrap() > 0.0, "{fanout}");
}

#[test]
fn nothing_is_lost_where_connections_of_mqtt_are_cut() {
    let server = Dev::configured("mqtt-cuts", ANONYMOUS);
    for (version, qos) in [("3.1.1", 1), ("3.1.1", 2), ("5", 1), ("5", 2)] {
        let words = format!(
            "cuts --mqtt-version {version} --qos {qos} --connections 20 --messages 60 --interval 10ms --patience 20s \
             --cut-first 50ms..200ms --cut-every 100ms..200ms --offline-min 20ms"
        );
        let report = measure(&words, &url(&server, "mqtt"));
        let figures = &report["figures"];
        assert_eq!((&figures["deliveries"], &figures["lost"]), (&1200.into(), &0.into()), "{report}");
        assert!(figures["cuts"].as_u64().unwrap() >= 20, "{report}");
        assert!(figures["publisher_cuts"].as_u64().unwrap() >= 1, "{report}");
        if qos == 2 {
            assert_eq!(figures["twice"], 0, "{report}");
        }
    }
}

#[test]
fn sessions_of_mqtt_outlive_a_restart_in_order() {
    for (version, qos) in [("3.1.1", "1"), ("5", "2")] {
        let words = format!(
            "avalanche --protocol mqtt --mqtt-version {version} --qos {qos} --connections 20 --rate 50 --return-after \
             20ms..200ms --json --signal term --expect-recovered 100 -- --shards 2"
        );
        let report = report(&words.split(' ').collect::<Vec<_>>());
        let figures = &report["figures"];
        assert_eq!((&figures["disconnected"], &figures["never_back"]), (&20.into(), &0.into()), "{report}");
        assert_eq!((&figures["recovered_percent"], &figures["lost"]), (&100.0.into(), &0.into()), "{report}");
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.env_clear().args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// `sub` with a retained message on its filter, so that it is known when it listens.
fn listening(url: &str, more: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let here = command(&["pub", "--url", url, "--topic", "t/here", "--message", "here", "--retain"])
        .output()
        .unwrap();
    assert!(here.status.success(), "{here:?}");
    let words = ["sub", "--url", url, "--topic", "t/#", "--qos", "2", "--timeout", "60s"];
    let mut child = command(&[&words[..], more].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("here"), "{first}");
    (child, lines)
}

#[test]
fn what_pub_says_sub_prints() {
    let server = Dev::configured("mqtt-commands", ANONYMOUS);
    let (plain, web) = (url(&server, "mqtt"), url(&server, "ws"));
    let (mut child, mut lines) = listening(&plain, &["--count", "2", "--format", "json"]);
    let words =
        ["pub", "--url", &web, "--topic", "t/a", "--message", "21.5", "--qos", "1", "--user-property", "u=C"];
    let said = command(&words).output().unwrap();
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "t/a: published 1\n");
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let message: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&message["topic"], &message["payload"], &message["qos"]),
        (&"t/a".into(), &"21.5".into(), &1.into())
    );
    assert_eq!(message["properties"]["user"], serde_json::json!([["u", "C"]]));
    assert!(child.wait().unwrap().success(), "it ends after --count messages");

    let told = |words: &[&str]| {
        let output = command(words).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let error = told(&["sub", "--url", &plain, "--topic", "nothing", "--count", "1", "--timeout", "100ms"]);
    assert_eq!(error, "the time is over: 0 of 1 messages came\n");
    let error = told(&["pub", "--url", &plain, "--topic", "$sys/a", "--message", "x", "--qos", "1"]);
    assert!(error.contains("the message was refused: 0x87 Not authorized"), "{error}");
    let error = told(&["pub", "--url", &plain, "--topic", "a/#", "--message", "x"]);
    assert!(error.contains("disconnected by the server: 0x81 Malformed Packet"), "{error}");
    let error = told(&["pub", "--url", &server.private, "--topic", "a", "--message", "x"]);
    assert!(error.contains("--topic is for MQTT"), "{error}");
}
