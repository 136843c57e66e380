//! Scenarios against a small server in the same process. Start at the tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their peer")]

extern crate trunkline_load as load;

mod peer;

use std::time::Duration;

use load::{
    Answer, Attack, Bounds, Broadcast, Churn, Clients, Comet, Confirm, Console, Destination, Echo, EchoPlan,
    Fanout, Hostile, Idle, Join, Journal, JournalTo, Pairs, Pids, Protocol, PublishBody, Report, Rounds,
    Stream, Sustained, Tempo, Traffic, Volley,
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
    fanout_of(&Peer::start(manner), Protocol::SocketIo, rate).run(Console::Silent).unwrap()
}

fn fanout_of(peer: &Peer, protocol: Protocol, rate: Option<f64>) -> Fanout {
    let url = format!("http://{}", peer.private).parse().unwrap();
    Fanout {
        clients: clients(peer, 100),
        protocol,
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
        metrics_url: Some(format!("http://{}", peer.private).parse().unwrap()),
        writes_metric: "none".into(),
        floor: None,
    }
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
    // Sent within 90 ms; the 700 ms for which the lost message was waited for belong to no rate.
    assert!(report.figure("elapsed_seconds").unwrap() < 0.6, "{report}");
}

#[test]
fn a_loss_ends_a_run_without_a_rate() {
    let report = fanout(Manner::Loses, None);
    assert_eq!(report.figure("messages_sent"), Some(2.0), "a batch of which one message is lost");
    assert_eq!(
        report.failures(),
        ["100 of 200 deliveries are missing", "ended after 2 of 20 messages: what was sent did not arrive"]
    );
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

const SHORT: Duration = Duration::from_millis(700);

fn destination(peer: &Peer, channel: &str) -> Destination {
    let url = format!("http://{}", peer.private).parse().unwrap();
    Destination { url, channel: channel.into(), key: None, confirm: Confirm::No, body: PublishBody::Json }
}

fn broadcast(peers: &[Peer], messages: u32, interval: Option<Duration>) -> Report {
    let targets = peers.iter().map(|peer| format!("http://{}", peer.public).parse().unwrap());
    let scenario = Broadcast {
        clients: Clients { targets: targets.collect(), ..clients(&peers[0], 100) },
        protocol: Protocol::SocketIo,
        join: None,
        doors: peers.iter().map(|peer| destination(peer, "main")).collect(),
        volley: Volley { messages, interval, payload_bytes: 50, patience: SHORT },
        server: Pids::default(),
        floor: None,
    };
    scenario.run(Console::Silent).unwrap()
}

#[test]
fn broadcast_reaches_the_clients_of_each_server_through_its_own_door() {
    let report = broadcast(&[Peer::start(Manner::Good), Peer::start(Manner::Good)], 3, None);
    assert!(report.passed(), "{report}");
    assert_eq!((report.figure("good"), report.figure("bad")), (Some(300.0), Some(0.0)));
    let figure = |name: &str| report.figure(name).unwrap();
    assert!(figure("last_delivery_ms") >= figure("spread_ms") && figure("spread_ms") > 0.0, "{report}");
    let json = report.json();
    assert!(json["texts"][0]["text"].as_str().unwrap().contains("300"), "{json}");
    let line = json["notes"][0].as_str().unwrap();
    assert!(line.starts_with("setup: ") && line.contains(" ms, good: 300, bad: 0, run: "), "{line}");
}

#[test]
fn a_series_of_broadcasts_keeps_its_times() {
    let report = broadcast(&[Peer::start(Manner::Good)], 5, Some(Duration::from_millis(20)));
    assert!(report.passed(), "{report}");
    assert_eq!(report.figure("good"), Some(500.0));
    assert!(report.figure("run_ms").unwrap() - report.figure("setup_ms").unwrap() >= 80.0, "{report}");
}

#[test]
fn a_message_that_is_lost_in_a_series_is_missing_from_its_own_shot_alone() {
    let report = broadcast(&[Peer::start(Manner::Loses)], 4, Some(Duration::from_millis(20)));
    assert_eq!((report.figure("good"), report.figure("bad")), (Some(300.0), Some(100.0)), "{report}");
    let json = report.json();
    let notes: Vec<_> = json["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect();
    let last = notes.iter().find_map(|note| note.strip_prefix("last_delivery_ms of each message: ")).unwrap();
    let times: Vec<f64> = last.split(", ").map(|ms| ms.parse().unwrap()).collect();
    assert_eq!(times.iter().map(|ms| *ms > 0.0).collect::<Vec<_>>(), [true, true, false, true], "{last}");
}

#[test]
fn a_broadcast_that_reaches_nobody_is_bad_and_one_that_comes_twice_is_void() {
    let report = broadcast(&[Peer::start(Manner::Loses)], 4, None);
    assert_eq!((report.figure("good"), report.figure("bad")), (Some(300.0), Some(100.0)), "{report}");
    assert_eq!(report.failures(), ["100 of 400 deliveries are missing"]);
    let report = broadcast(&[Peer::start(Manner::Doubles)], 1, None);
    assert!(report.void_reasons().join("\n").contains("more received than expected"), "{report}");
}

fn echo(manner: Manner, plan: EchoPlan) -> Report {
    let peer = Peer::start(manner);
    let scenario = Echo {
        clients: clients(&peer, 20),
        protocol: Protocol::SocketIo,
        join: join(),
        event: "echo".into(),
        answer: Answer::Event,
        payload_bytes: 0,
        plan,
        patience: SHORT,
        server: Pids::default(),
    };
    scenario.run(Console::Silent).unwrap()
}

fn rounds(limit: Duration) -> Rounds {
    Rounds { first: 100, step: 50, last: 200, pause: Duration::ZERO, limit }
}

#[test]
fn echo_bursts_have_their_lines_and_the_held_rate_is_found() {
    let held = Sustained {
        first_per_second: 100.0,
        last_per_second: Some(200.0),
        hold: Duration::from_millis(200),
        p99_ms_max: 5000.0,
    };
    let plan = EchoPlan::Ladder(Some(rounds(Duration::from_secs(10))), Some(held));
    let report = echo(Manner::Good, plan);
    assert!(report.passed(), "{report}");
    let json = report.json();
    let sizes: Vec<_> =
        json["table"].as_array().unwrap().iter().map(|row| row["num"].as_str().unwrap()).collect();
    assert_eq!(sizes, ["100", "150", "200"]);
    let cell = |name: &str| json["table"][2][name].as_str().unwrap().parse::<f64>().unwrap();
    assert!(cell("min") <= cell("50%") && cell("50%") <= cell("99%") && cell("100%") > 0.0, "{json}");
    let rate = 200.0 / (cell("mean") / 1000.0);
    assert!((cell("rate") / rate - 1.0).abs() < 0.2, "num / mean, up to what was rounded: {json}");
    assert_eq!(report.figure("burst_messages"), Some(200.0));
    assert_eq!(report.figure("sustained_rate"), Some(200.0));
    assert_eq!((report.figure("echoes"), report.figure("lost")), (Some(40.0), Some(0.0)), "{report}");
}

#[test]
fn an_echo_that_is_lost_ends_the_bursts_and_fails_the_run() {
    let report = echo(Manner::Loses, EchoPlan::Ladder(Some(rounds(SHORT)), None));
    // A warm-up of 20 has the numbers below 20, so number 50 is in the first burst.
    assert_eq!(
        report.failures(),
        ["not even the first burst was back in time", "1 of 120 deliveries are missing"]
    );
    assert!(report.to_string().contains("Expected: 100, got: 99"), "{report}");
}

#[test]
fn echoes_at_a_rate_count_from_their_planned_times() {
    let tempo = EchoPlan::Talk(Tempo::Rate(500.0), Duration::from_millis(200));
    let report = echo(Manner::Good, tempo.clone());
    assert!(report.passed(), "{report}");
    assert_eq!(report.figure("echoes"), Some(100.0));
    assert!(report.figure("elapsed_seconds").unwrap() >= 0.19, "{report}");
    assert!(report.figure("latency_p99_ms").unwrap() > 0.0, "{report}");
    let report = echo(Manner::Loses, tempo.clone());
    assert_eq!(
        (report.figure("lost"), report.failures()),
        (Some(1.0), &["1 of 100 deliveries are missing".into()][..])
    );
    let report = echo(Manner::Doubles, tempo);
    assert!(report.void_reasons().join("\n").contains("more received than expected"), "{report}");
}

#[test]
fn a_rate_that_loses_messages_is_not_held() {
    let held = Sustained {
        first_per_second: 400.0,
        last_per_second: None,
        hold: Duration::from_millis(200),
        p99_ms_max: 5000.0,
    };
    let report = echo(Manner::Loses, EchoPlan::Ladder(None, Some(held)));
    assert_eq!(report.failures(), ["not even 400 messages/s came back in time"]);
    assert_eq!(report.figure("sustained_rate"), None);
}

#[test]
fn a_disorder_in_a_trial_is_not_held_and_voids_nothing() {
    let held = Sustained {
        first_per_second: 400.0,
        last_per_second: None,
        hold: Duration::from_millis(100),
        p99_ms_max: 5000.0,
    };
    let report = echo(Manner::Doubles, EchoPlan::Ladder(None, Some(held)));
    assert_eq!(report.void_reasons(), [""; 0], "{report}");
    assert_eq!(report.failures(), ["not even 400 messages/s came back in time"]);
}

#[test]
fn outstanding_echoes_follow_each_other() {
    let report = echo(Manner::Good, EchoPlan::Talk(Tempo::Outstanding(3), Duration::from_millis(200)));
    assert!(report.passed(), "{report}");
    assert_eq!(report.figure("echoes"), report.figure("echoes_expected"));
    assert!(report.figure("echoes").unwrap() > 60.0, "each one was answered by the next: {report}");
    assert!(report.figure("echoes_per_second").unwrap() > 0.0, "{report}");
}

fn pairs(manner: Manner, tempo: Tempo) -> Report {
    let peer = Peer::start(manner);
    let scenario = Pairs {
        clients: clients(&peer, 20),
        protocol: Protocol::SocketIo,
        join_event: "join".into(),
        say_event: "say".into(),
        payload_bytes: 50,
        tempo,
        duration: Duration::from_millis(200),
        patience: SHORT,
        server: Pids::default(),
    };
    let report = scenario.run(Console::Silent).unwrap();
    let joined = rooms(&peer);
    assert_eq!(joined.len(), 10);
    assert!(joined.iter().all(|(room, joins)| room.starts_with("pair-") && *joins == 2), "{joined:?}");
    report
}

#[test]
fn pairs_talk_to_each_other_and_to_nobody_else() {
    let report = pairs(Manner::Good, Tempo::Rate(500.0));
    assert!(report.passed(), "{report}");
    assert_eq!((report.figure("messages"), report.figure("messages_expected")), (Some(100.0), Some(100.0)));
    let report = pairs(Manner::Good, Tempo::Outstanding(1));
    assert!(report.passed() && report.figure("messages").unwrap() > 20.0, "{report}");
}

#[test]
fn pairs_miss_what_is_lost_and_see_what_comes_twice() {
    let report = pairs(Manner::Loses, Tempo::Rate(500.0));
    assert_eq!((report.figure("lost"), report.failures().len()), (Some(1.0), 1), "{report}");
    let report = pairs(Manner::Doubles, Tempo::Rate(500.0));
    assert_eq!(report.figure("twice_or_out_of_order"), Some(100.0), "{report}");
    assert!(!report.void_reasons().is_empty(), "{report}");
}

fn comet(manner: Manner, room: Option<&str>) -> Report {
    let peer = Peer::start(manner);
    let every = Duration::from_millis(50);
    let scenario = Comet {
        clients: clients(&peer, 50),
        protocol: Protocol::SocketIo,
        join: room.map(|room| Join { event: "join".into(), room: room.into() }),
        user: room.is_none().then(|| "u%{i}".into()),
        destination: destination(&peer, room.unwrap_or("$user/u%{i}")),
        traffic: Traffic {
            per_second: 1000.0,
            duration: Duration::from_millis(200),
            producers: 3,
            payload_bytes: 50,
            seed: 1,
            patience: SHORT,
        },
        server: Pids(vec![std::process::id()]),
        journal: Journal {
            stats_every: every,
            line_every: every,
            warm_up_share: 0.0,
            to: JournalTo::StandardError,
        },
    };
    scenario.run(Console::Silent).unwrap()
}

#[test]
fn comet_reaches_each_client_by_its_user_or_its_room() {
    for room in [None, Some("room-%{i}")] {
        let report = comet(Manner::Good, room);
        // This process is generator and server at once: whether its memory is flat says nothing.
        assert_eq!(report.void_reasons(), [""; 0], "{report}");
        assert_eq!((report.figure("published"), report.figure("delivered")), (Some(200.0), Some(200.0)));
        assert!(report.figure("memory_samples").unwrap() >= 1.0, "{report}");
        assert!(report.figure("rss_max_bytes").unwrap() > 1e6, "{report}");
    }
}

#[test]
fn comet_misses_what_is_lost_and_sees_what_comes_twice() {
    let report = comet(Manner::Loses, None);
    assert!(report.failures().contains(&"1 of 200 deliveries are missing".into()), "{report}");
    let report = comet(Manner::Doubles, None);
    assert!(report.void_reasons().join("\n").contains("more received than expected"), "{report}");
}

fn churn(manner: Manner, slots: u32) -> Report {
    let peer = Peer::start(manner);
    let scenario = Churn {
        clients: clients(&peer, slots),
        protocol: Protocol::SocketIo,
        join: join(),
        echo_event: "echo".into(),
        payload_bytes: 50,
        per_second: 300.0,
        duration: Duration::from_millis(300),
        patience: SHORT,
        server: Pids(vec![std::process::id()]),
        metrics_url: Some(format!("http://{}", peer.private).parse().unwrap()),
        sessions_metric: "trunkline_sessions".into(),
    };
    scenario.run(Console::Silent).unwrap()
}

#[test]
fn churn_comes_hears_and_leaves_and_a_client_comes_again() {
    let report = churn(Manner::Good, 60);
    assert!(report.passed(), "{report}");
    assert_eq!((report.figure("visits"), report.figure("completed")), (Some(90.0), Some(90.0)));
    assert_eq!(report.figure("sessions_left"), Some(0.0));
    let figure = |name: &str| report.figure(name).unwrap();
    assert!(figure("cycle_p50_ms") >= figure("message_p50_ms"), "{report}");
    assert!(figure("message_p50_ms") >= figure("connect_p50_ms"), "{report}");
}

#[test]
fn churn_sees_lost_messages_sessions_that_stay_and_too_few_slots() {
    let report = churn(Manner::Loses, 100);
    assert_eq!((report.figure("stuck"), report.figure("completed")), (Some(1.0), Some(89.0)), "{report}");
    assert!(report.failures().contains(&"1 of 90 deliveries are missing".into()), "{report}");
    let report = churn(Manner::Keeps, 100);
    assert_eq!(report.failures(), ["90 sessions were left on the server"]);
    // The one slot whose echo is lost never becomes free, which is the generator's shortage and not the server's.
    let report = churn(Manner::Loses, 30);
    assert!(report.figure("no_client_free").unwrap() >= 1.0, "{report}");
    assert!(report.void_reasons().iter().any(|text| text.starts_with("no client is free for ")), "{report}");
    let report = churn(Manner::Doubles, 100);
    assert!(!report.void_reasons().is_empty(), "{report}");
    let report = churn(Manner::Refuses, 100);
    assert_eq!(report.figure("refused_or_lost"), Some(90.0), "{report}");
}

#[test]
fn clients_that_are_away_between_pings_are_refused_where_they_hear_nothing() {
    let peer = Peer::start(Manner::Good);
    let scenario = Echo {
        clients: clients(&peer, 20),
        protocol: Protocol::SocketIoPoll,
        join: None,
        event: "echo".into(),
        answer: Answer::Event,
        payload_bytes: 0,
        plan: EchoPlan::Talk(Tempo::Rate(1.0), SHORT),
        patience: SHORT,
        server: Pids::default(),
    };
    let error = scenario.run(Console::Silent).unwrap_err().to_string();
    assert!(error.contains("this scenario is for socketio"), "{error}");
    let scenario = fanout_of(&peer, Protocol::SocketIoPoll, None);
    assert_eq!(scenario.run(Console::Silent).unwrap_err().to_string(), error);
}
