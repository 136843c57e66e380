//! Scenarios in which clients hear or say something. Start at the tests.

use crate::pem::pem;
use crate::rig::Dev;

#[test]
fn a_broadcast_is_compared_with_the_floor() {
    let server = Dev::start("broadcast");
    let words = "broadcast --connections 100 --repeat 3 --with-floor --floor-writers 2 --publish-url PRIVATE";
    let report = server.measure(words);
    let figures = &report["figures"];
    assert_eq!((&figures["good"], &figures["bad"]), (&900.into(), &0.into()), "{report}");
    let number = |name: &str| figures[name].as_f64().unwrap();
    let ratio = number("last_delivery_ms") / number("floor_last_delivery_ms");
    assert!((number("ratio_last_delivery") / ratio - 1.0).abs() < 0.05, "{report}");
}

#[test]
fn the_back_end_of_dev_echoes_and_passes_on_what_clients_say() {
    let server = Dev::start("talks");
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
}

#[test]
fn clients_speak_through_tls_where_the_target_says_so() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("trunkline-bench-{}-certificate", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, pem("CERTIFICATE", made.cert.der())).unwrap();
    std::fs::write(&key, pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
    let mut server = Dev::configured("tls", &format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}"));
    let address = server.public.trim_start_matches("http://").to_owned();
    for (scheme, scenario, figure) in [
        ("https", "echo --connections 20 --outstanding 8 --duration 300ms", "echoes"),
        ("https", "idle --connections 101 --hold 100ms --protocol socketio-poll", "sessions"),
        ("mqtts", "pairs --pairs 20 --outstanding 2 --duration 300ms --protocol mqtt --qos 1", "messages"),
    ] {
        server.public = format!("{scheme}://{address}");
        let report = server.measure(scenario);
        assert!(report["figures"][figure].as_u64().unwrap() > 100, "{scenario}: {report}");
    }
    // More than the kernel takes at once, both ways.
    server.public = format!("https://{address}");
    let words =
        "fanout --connections 20 --messages 64 --batch 32 --payload-bytes 60000 --publish-url PRIVATE";
    let report = server.measure(words);
    assert_eq!(report["figures"]["deliveries"], 64 * 20, "{report}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn users_are_reached_and_visitors_leave_nothing_behind() {
    let server = Dev::start("visits");
    let words = "comet --connections 50 --rate 500 --duration 500ms --publish-url PRIVATE";
    let report = server.measure(words);
    assert_eq!(report["figures"]["delivered"], 250, "{report}");
    let report = server.measure(&format!("{words} --room-event join --room r%{{i}} --channel r%{{i}}"));
    assert_eq!(report["figures"]["delivered"], 250, "{report}");
    for protocol in ["sse", "ndjson", "cloudevents"] {
        let report = server.measure(&format!("{words} --protocol {protocol}"));
        assert_eq!(report["figures"]["delivered"], 250, "{protocol}: {report}");
    }
    let report = server.measure("churn --rate 200 --duration 500ms --metrics-url PRIVATE");
    let figures = &report["figures"];
    assert_eq!((&figures["completed"], &figures["sessions_left"]), (&100.into(), &0.into()), "{report}");
}
