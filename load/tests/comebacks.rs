//! Scenarios whose clients come back, against a small server with recovery in the same process. Start at the tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their peer")]

extern crate trunkline_load as load;

mod peer;

use std::time::{Duration, Instant};

use load::{
    Avalanche, Clients, Confirm, Console, Cut, Cuts, Destination, Error, Join, Pids, Protocol, PublishBody,
    Recovery, Report, Restart, Restarted, Span,
};
use peer::recovering::{Memory, Recovering};

const CLIENTS: u32 = 20;

fn span(min_ms: u64, max_ms: u64) -> Span {
    Span::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms)).unwrap()
}

fn clients(peer: &Recovering) -> Clients {
    let targets = vec![format!("http://{}", peer.public).parse().unwrap()];
    Clients {
        targets,
        sources: Vec::new(),
        connections: CLIENTS,
        opening_max: 16,
        threads: 2,
        processes: 0,
        helper: None,
    }
}

fn destination(peer: &Recovering) -> Destination {
    let url = format!("http://{}", peer.private).parse().unwrap();
    Destination { url, channel: "main".into(), key: None, confirm: Confirm::Yes, body: PublishBody::Json }
}

fn join() -> Option<Join> {
    Some(Join { event: "join".into(), room: "room".into() })
}

fn cuts(peer: &Recovering, cut: Cut, recovery: Recovery) -> Report {
    cuts_of(peer, cut, recovery).run(Console::Silent).unwrap()
}

fn cuts_of(peer: &Recovering, cut: Cut, recovery: Recovery) -> Cuts {
    Cuts {
        clients: clients(peer),
        protocol: Protocol::SocketIo,
        join: join(),
        destination: destination(peer),
        messages: 60,
        interval: Duration::from_millis(5),
        payload_bytes: 50,
        recovery,
        cut,
        first: span(20, 100),
        every: span(60, 120),
        away: span(10, 30),
        seed: 7,
        patience: Duration::from_millis(700),
        server: Pids::default(),
    }
}

#[test]
fn times_of_nothing_are_refused() {
    let peer = Recovering::start(Memory::Good);
    let cuts = Cuts { away: span(0, 0), ..cuts_of(&peer, Cut::Close, Recovery::On) };
    let error = cuts.run(Console::Silent).unwrap_err().to_string();
    assert_eq!(error, "the time between two cuts and the time offline must be more than 0 ms");
}

#[test]
fn every_message_reaches_clients_that_are_cut_and_recovered() {
    for cut in [Cut::Close, Cut::Reset, Cut::Mixed, Cut::Silent] {
        let peer = Recovering::start(Memory::Good);
        let report = cuts(&peer, cut, Recovery::On);
        assert!(report.failures().is_empty(), "{report}");
        assert_eq!(report.figure("deliveries"), Some(1200.0), "{report}");
        let cut = report.figure("cuts").unwrap();
        assert!(cut >= 20.0, "{report}");
        assert_eq!(report.figure("recovered"), Some(cut));
        assert_eq!(report.figure("dropped_by_the_server"), Some(0.0));
        assert_eq!(peer.joins(), CLIENTS, "who is recovered is in its room");
    }
}

#[test]
fn a_connection_that_ends_within_a_frame_costs_nothing() {
    let peer = Recovering::start(Memory::BreaksFrame);
    let report = cuts(&peer, Cut::Mixed, Recovery::On);
    assert!(report.failures().is_empty(), "{report}");
    assert_eq!(report.figure("deliveries"), Some(1200.0), "{report}");
    assert!(report.figure("dropped_by_the_server").unwrap() >= 1.0, "{report}");
}

#[test]
fn who_is_not_recovered_joins_again_and_the_loss_is_a_failure() {
    let peer = Recovering::start(Memory::Forgets);
    let report = cuts(&peer, Cut::Mixed, Recovery::On);
    let (returned, lost) = (report.figure("returned").unwrap(), report.figure("lost").unwrap());
    assert_eq!(report.figure("recovered"), Some(0.0));
    assert_eq!(f64::from(peer.joins()), f64::from(CLIENTS) + returned);
    assert!(returned > 0.0 && lost > 0.0, "{report}");
    assert_eq!(report.figure("deliveries"), Some(1200.0 - lost));
    assert!(report.failures()[0].starts_with(&format!("{lost} of 1200 deliveries are missing")), "{report}");
}

#[test]
fn a_message_left_out_of_a_replay_is_a_failure() {
    let report = cuts(&Recovering::start(Memory::LosesOne), Cut::Close, Recovery::On);
    assert!(report.figure("lost").unwrap() > 0.0, "{report}");
    assert_eq!(report.figure("twice"), Some(0.0));
    assert_eq!(report.failures().len(), 1, "{report}");
    assert!(report.failures()[0].contains("deliveries are missing"), "{report}");
}

#[test]
fn a_message_that_comes_twice_is_a_failure() {
    let report = cuts(&Recovering::start(Memory::RepeatsOne), Cut::Close, Recovery::On);
    let twice = report.figure("twice").unwrap();
    assert!(twice > 0.0, "{report}");
    assert_eq!(report.figure("delivered_percent"), Some(100.0));
    assert!(report.figure("delivered_exactly_once_percent").unwrap() < 100.0, "{report}");
    assert_eq!(report.failures(), [format!("{twice} messages were delivered twice")]);
}

#[test]
fn a_replay_in_the_wrong_order_is_a_failure() {
    let report = cuts(&Recovering::start(Memory::Reverses), Cut::Close, Recovery::On);
    assert!(report.failures().iter().any(|text| text.ends_with("messages were out of order")), "{report}");
}

/// A restart as clients see it.
struct Dropped<'a>(&'a Recovering);

impl Restart for Dropped<'_> {
    fn restart(&mut self) -> Result<Restarted, Error> {
        let started = Instant::now();
        self.0.drop_all();
        let (pid, stop, start) = (Some(std::process::id()), None, None);
        Ok(Restarted { down: started.elapsed(), stop, start, pid, started })
    }
}

fn avalanche(memory: Memory, patience: Duration) -> Report {
    let peer = Recovering::start(memory);
    let scenario = Avalanche {
        clients: clients(&peer),
        protocol: Protocol::SocketIo,
        join: join(),
        destination: destination(&peer),
        interval: Duration::from_millis(10),
        payload_bytes: 50,
        recovery: Recovery::On,
        away: span(50, 200),
        seed: 7,
        patience,
        expect_recovered: Some(100.0),
    };
    scenario.run(&mut Dropped(&peer), Console::Silent).unwrap()
}

#[test]
fn everybody_comes_back_after_a_restart_and_misses_nothing() {
    let report = avalanche(Memory::Good, Duration::from_secs(30));
    assert!(report.passed(), "{report}");
    for (name, expected) in
        [("disconnected", 20.0), ("returned", 20.0), ("recovered_percent", 100.0), ("never_back", 0.0)]
    {
        assert_eq!(report.figure(name), Some(expected), "{name}: {report}");
    }
    let published = report.figure("published").unwrap();
    assert_eq!(report.figure("deliveries"), Some(published * 20.0));
    let back = |percent: u32| report.figure(&format!("back_{percent}_percent_seconds")).unwrap();
    assert!(back(50) <= back(95) && back(95) <= back(100) && back(50) >= 0.02, "{report}");
    assert!(report.figure("server_cpu_seconds_after_restart").unwrap() > 0.0);
}

#[test]
fn sessions_that_a_restart_lost_are_a_failure_where_they_are_expected() {
    let report = avalanche(Memory::Forgets, Duration::from_secs(30));
    assert_eq!(report.failures()[0], "0.000 % of the sessions were recovered, not 100 %");
    assert!(report.failures()[1].contains("deliveries are missing"), "{report}");
}

#[test]
fn clients_that_never_come_back_are_a_failure() {
    let report = avalanche(Memory::Refuses, Duration::from_millis(600));
    assert!(report.failures()[0].starts_with("20 clients never came back: "), "{report}");
    assert!(report.figure("handshakes_answered_with_503").unwrap() >= 20.0, "{report}");
}
