//! Scenarios against a small server in the same process. Start at the tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their peer")]

extern crate trunkline_load as load;

mod peer;

use std::time::Duration;

use load::{
    Attack, Bounds, Clients, Confirm, Console, Destination, Fanout, Hostile, Idle, Join, Pids, Protocol,
    PublishBody, Report, Stream,
};
use peer::{Manner, Peer};

fn clients(peer: &Peer, connections: u32) -> Clients {
    let targets = vec![format!("http://{}", peer.public).parse().unwrap()];
    let (sources, opening_max, threads) = (Vec::new(), 16, 2);
    Clients { targets, sources, connections, opening_max, threads, processes: 1, helper: None }
}

fn join() -> Option<Join> {
    Some(Join { event: "join".into(), room: "room-%{i%4}".into() })
}

fn idle(peer: &Peer, protocol: Protocol) -> Idle {
    Idle {
        clients: clients(peer, 100),
        protocol,
        join: join(),
        server: Pids::default(),
        hold: Duration::ZERO,
        warmup_connections: 20,
    }
}

fn rooms(peer: &Peer) -> Vec<(String, u32)> {
    let mut rooms: Vec<_> = peer.seen.rooms.lock().unwrap().clone().into_iter().collect();
    rooms.sort();
    rooms
}

#[test]
fn idle_puts_every_websocket_client_into_its_room() {
    let peer = Peer::start(Manner::Good);
    let report = idle(&peer, Protocol::SocketIo).run(Console::Silent).unwrap();
    assert_eq!(report.figure("sessions"), Some(100.0));
    assert_eq!(report.figure("connections_accepted"), Some(100.0));
    assert!(report.passed(), "{report}");
    let each = |n: u32| (format!("room-{n}"), 30);
    assert_eq!(rooms(&peer), [each(0), each(1), each(2), each(3)], "a warm-up of 20, then 100");
}

#[test]
fn idle_pollers_are_sessions_without_a_connection_and_say_goodbye() {
    let peer = Peer::start(Manner::Good);
    let report = idle(&peer, Protocol::SocketIoPoll).run(Console::Silent).unwrap();
    assert_eq!(report.figure("sessions"), Some(100.0));
    assert!(report.passed(), "{report}");
    assert_eq!(*peer.seen.opened.lock().unwrap(), 120);
    assert_eq!(peer.seen.polled.lock().unwrap().len(), 0, "every session was closed by its client");
    assert_eq!(rooms(&peer).iter().map(|(_, joins)| joins).sum::<u32>(), 120);
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let peer = Peer::start(Manner::Refuses);
    let error = idle(&peer, Protocol::SocketIo).run(Console::Silent).unwrap_err().to_string();
    assert!(error.contains("0 of 20") && error.contains("upgrade refused with 503"), "{error}");
    let error = idle(&peer, Protocol::SocketIoPoll).run(Console::Silent).unwrap_err().to_string();
    assert!(error.contains("answered with 503: full"), "{error}");
}

fn fanout(manner: Manner, rate: Option<f64>) -> Report {
    let peer = Peer::start(manner);
    let url = format!("http://{}", peer.private).parse().unwrap();
    let scenario = Fanout {
        clients: clients(&peer, 100),
        protocol: Protocol::SocketIo,
        join: None,
        destination: Destination {
            url,
            channel: "main".into(),
            key: None,
            confirm: Confirm::No,
            body: PublishBody::Json,
        },
        stream: Stream {
            messages: 20,
            batch: 2,
            in_flight: 1,
            rate,
            payload_bytes: 50,
            patience: Duration::from_millis(700),
        },
        server: Pids(vec![std::process::id()]),
        writes_metric: "none".into(),
        floor: None,
    };
    scenario.run(Console::Silent).unwrap()
}

#[test]
fn fanout_counts_exactly() {
    let report = fanout(Manner::Good, None);
    assert!(report.passed(), "{report}");
    assert_eq!(report.figure("deliveries_expected"), Some(2000.0));
    assert_eq!(report.figure("deliveries"), Some(2000.0));
    assert!(report.figure("cpu_us_per_delivery").unwrap() > 0.0);
    assert!(report.figure("latency_p50_ms").unwrap() > 0.0);
}

#[test]
fn a_paced_fanout_takes_the_time_it_was_given() {
    let report = fanout(Manner::Good, Some(200.0));
    assert!(report.passed(), "{report}");
    // Ten batches of two, the last one is due after 90 ms.
    assert!(report.figure("elapsed_seconds").unwrap() >= 0.09, "{report}");
    assert_eq!(report.figure("deliveries"), Some(2000.0));
}

#[test]
fn lost_messages_fail_the_run() {
    let report = fanout(Manner::Loses, Some(200.0));
    assert_eq!(report.figure("deliveries"), Some(1900.0));
    assert_eq!(report.failures(), ["100 of 2000 deliveries are missing"]);
}

#[test]
fn a_loss_ends_a_run_without_a_rate() {
    let report = fanout(Manner::Loses, None);
    assert_eq!(report.failures(), ["1900 of 2000 deliveries are missing"]);
}

#[test]
fn messages_that_come_twice_void_the_run() {
    let report = fanout(Manner::Doubles, None);
    let reasons = report.void_reasons().join("\n");
    assert!(
        reasons.contains("more received than expected") && reasons.contains("2000 of 2000, "),
        "{report}"
    );
}

#[test]
fn a_server_that_keeps_its_bounds_passes_the_huge_frame() {
    let peer = Peer::start(Manner::Good);
    let scenario = Hostile {
        clients: clients(&peer, 5),
        attacks: vec![Attack::HugeFrame, Attack::HalfOpen],
        join: join(),
        canary_event: Some("echo".into()),
        destination: None,
        server: Pids::default(),
        duration: Duration::from_millis(300),
        bounds: Bounds { growth_bytes_max: 0, canary_ms_max: 4000 },
    };
    let report = scenario.run(Console::Silent).unwrap();
    assert!(report.passed(), "{report}");
    let json = report.json();
    assert_eq!(json["table"][0]["ended_by_server"], "5", "{json}");
    assert_eq!(json["table"][1]["connected"], "5", "{json}");
}

#[test]
fn an_attack_that_fills_memory_fails_the_run() {
    let peer = Peer::start(Manner::Good);
    let scenario = Hostile {
        clients: clients(&peer, 1),
        attacks: vec![Attack::ManyRooms],
        join: join(),
        canary_event: None,
        destination: None,
        server: Pids(vec![std::process::id()]),
        duration: Duration::from_millis(500),
        bounds: Bounds { growth_bytes_max: 1000, canary_ms_max: 4000 },
    };
    let report = scenario.run(Console::Silent).unwrap();
    assert!(report.failures().iter().any(|text| text.starts_with("many-rooms: memory grew by")), "{report}");
}
