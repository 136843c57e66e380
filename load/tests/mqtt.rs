//! Scenarios of MQTT against a small server in the same process. Start at the tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their peer")]

extern crate trunkline_load as load;

mod peer;

use std::time::{Duration, Instant};

use load::mqtt::{Options, Qos, Version};
use load::{
    Answer, Avalanche, Broadcast, Churn, Clients, Comet, Confirm, Console, Cut, Cuts, Destination, Echo,
    EchoPlan, Error, Fanout, Idle, Join, Journal, JournalTo, Pairs, Pids, Protocol, PublishBody, Recovery,
    Report, Restart, Restarted, Span, Stream, Tempo, Traffic, Volley,
};
use peer::broker::{Broker, Running};

/// Where nothing is lost nobody waits for it, so that a busy machine may take its time.
const PATIENCE: Duration = Duration::from_secs(20);

const KINDS: [Options; 6] = [
    Options { version: Version::V311, qos: Qos::AtMostOnce },
    Options { version: Version::V311, qos: Qos::AtLeastOnce },
    Options { version: Version::V311, qos: Qos::ExactlyOnce },
    Options { version: Version::V5, qos: Qos::AtMostOnce },
    Options { version: Version::V5, qos: Qos::AtLeastOnce },
    Options { version: Version::V5, qos: Qos::ExactlyOnce },
];

fn kinds(qos: Qos) -> impl Iterator<Item = Options> {
    KINDS.into_iter().filter(move |options| options.qos == qos)
}

fn clients(broker: &Running, connections: u32) -> Clients {
    let targets = vec![format!("mqtt://{}", broker.address).parse().unwrap()];
    let (sources, opening_max, threads) = (Vec::new(), 16, 2);
    Clients { targets, sources, connections, opening_max, threads, processes: 1, helper: None }
}

fn destination(broker: &Running, options: Options, channel: &str) -> Destination {
    Destination {
        url: format!("mqtt://{}", broker.address).parse().unwrap(),
        channel: channel.into(),
        key: None,
        confirm: Confirm::No,
        body: PublishBody::Mqtt(options),
    }
}

fn idle(broker: &Running, options: Options) -> Idle {
    Idle {
        clients: clients(broker, 40),
        protocol: Protocol::Mqtt(options),
        join: Some(Join::to_filter("room-%{i%4}")),
        server: Pids::default(),
        hold: Duration::ZERO,
        warmup_connections: 8,
    }
}

#[test]
fn idle_clients_subscribe_and_leave_nothing() {
    for options in KINDS {
        let broker = Running::start(Broker::Good);
        let report = idle(&broker, options).run(Console::Silent).unwrap();
        assert_eq!(report.figure("sessions"), Some(40.0));
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn each_client_has_its_own_filter() {
    let broker = Running::start(Broker::Good);
    let mut scenario = Fanout { join: Some(Join::to_filter("room-%{i%4}")), ..fanout(&broker, KINDS[1]) };
    // Nobody is subscribed to the channel itself, so that it ends with the first batch.
    scenario.stream.patience = Duration::from_millis(300);
    let report = scenario.run(Console::Silent).unwrap();
    assert_eq!(report.figure("deliveries"), Some(0.0), "{report}");
    let scenario = Fanout {
        join: Some(Join::to_filter("main")),
        clients: clients(&broker, 4),
        ..fanout(&broker, KINDS[1])
    };
    assert!(scenario.run(Console::Silent).unwrap().passed());
}

#[test]
fn refusals_are_told_by_name() {
    let told = |manner, options| {
        let error = idle(&Running::start(manner), options).run(Console::Silent).unwrap_err().to_string();
        assert!(error.starts_with("0 of 8 clients became ready"), "{error}");
        error
    };
    let error = told(Broker::RefusesFilters, KINDS[4]);
    assert!(
        error.contains("subscription refused: 0x80 Unspecified error instead of 0x01 Granted QoS 1"),
        "{error}"
    );
    let error = told(Broker::GrantsLess, KINDS[2]);
    assert!(error.contains("0x00 Success instead of 0x02 Granted QoS 2"), "{error}");
    for options in kinds(Qos::AtLeastOnce).filter(|options| options.version == Version::V5) {
        let mut scenario = fanout(&Running::start(Broker::RefusesMessages), options);
        scenario.stream.patience = Duration::from_millis(300);
        let error = scenario.run(Console::Silent).unwrap_err().to_string();
        assert!(error.contains("a message was refused: 0x97 Quota exceeded"), "{error}");
    }
}

fn fanout(broker: &Running, options: Options) -> Fanout {
    Fanout {
        clients: clients(broker, 40),
        protocol: Protocol::Mqtt(options),
        join: Some(Join::to_filter("main")),
        destination: destination(broker, options, "main"),
        stream: Stream {
            messages: 20,
            batch: 2,
            in_flight: 1,
            rate: None,
            payload_bytes: 50,
            patience: PATIENCE,
        },
        server: Pids::default(),
        metrics_url: None,
        writes_metric: "none".into(),
        floor: None,
    }
}

#[test]
fn fanout_counts_exactly_at_every_qos() {
    for options in KINDS {
        let report = fanout(&Running::start(Broker::Good), options).run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("deliveries"), Some(800.0), "{report}");
        assert_eq!(report.json()["settings"]["qos"], options.qos.number());
    }
}

#[test]
fn broadcast_reaches_everybody() {
    for options in KINDS {
        let broker = Running::start(Broker::Good);
        let scenario = Broadcast {
            clients: clients(&broker, 40),
            protocol: Protocol::Mqtt(options),
            join: Some(Join::to_filter("main")),
            doors: vec![destination(&broker, options, "main")],
            volley: Volley { messages: 3, interval: None, payload_bytes: 50, patience: PATIENCE },
            server: Pids::default(),
            floor: None,
        };
        let report = scenario.run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("good"), Some(120.0), "{report}");
    }
}

#[test]
fn an_echo_is_the_clients_own_message() {
    for options in KINDS {
        let broker = Running::start(Broker::Good);
        let scenario = Echo {
            clients: clients(&broker, 20),
            protocol: Protocol::Mqtt(options),
            join: None,
            event: "unused".into(),
            answer: Answer::Event,
            payload_bytes: 0,
            plan: EchoPlan::Talk(Tempo::Rate(500.0), Duration::from_millis(200)),
            patience: PATIENCE,
            server: Pids::default(),
        };
        let report = scenario.run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("echoes"), Some(100.0), "{report}");
    }
}

#[test]
fn pairs_talk_to_each_other_and_to_nobody_else() {
    for (options, tempo) in
        KINDS.into_iter().zip([Tempo::Rate(500.0), Tempo::Outstanding(2)].into_iter().cycle())
    {
        let broker = Running::start(Broker::Good);
        let scenario = Pairs {
            clients: clients(&broker, 20),
            protocol: Protocol::Mqtt(options),
            join_event: "unused".into(),
            say_event: "unused".into(),
            payload_bytes: 50,
            tempo,
            duration: Duration::from_millis(200),
            patience: PATIENCE,
            server: Pids::default(),
        };
        let report = scenario.run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("messages"), report.figure("messages_expected"), "{report}");
        assert!(report.figure("messages").unwrap() >= 60.0, "{report}");
    }
}

#[test]
fn comet_reaches_each_client_by_its_topic() {
    for options in KINDS {
        let broker = Running::start(Broker::Good);
        let (every, to) = (Duration::from_millis(50), JournalTo::StandardError);
        let scenario = Comet {
            clients: clients(&broker, 30),
            protocol: Protocol::Mqtt(options),
            join: Some(Join::to_filter("comet/%{i}")),
            user: None,
            destination: destination(&broker, options, "comet/%{i}"),
            traffic: Traffic {
                per_second: 500.0,
                duration: Duration::from_millis(200),
                producers: 3,
                payload_bytes: 50,
                seed: 1,
                patience: PATIENCE,
            },
            server: Pids::default(),
            journal: Journal { stats_every: every, line_every: every, warm_up_share: 0.0, to },
        };
        let report = scenario.run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("delivered"), Some(100.0));
    }
}

#[test]
fn churn_comes_hears_itself_and_leaves() {
    for options in KINDS {
        let broker = Running::start(Broker::Good);
        let scenario = Churn {
            clients: clients(&broker, 60),
            protocol: Protocol::Mqtt(options),
            join: None,
            echo_event: "unused".into(),
            payload_bytes: 50,
            per_second: 300.0,
            duration: Duration::from_millis(300),
            patience: PATIENCE,
            server: Pids::default(),
            metrics_url: None,
            sessions_metric: "none".into(),
        };
        let report = scenario.run(Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!((report.figure("visits"), report.figure("completed")), (Some(90.0), Some(90.0)));
    }
}

fn span(min_ms: u64, max_ms: u64) -> Span {
    Span::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms)).unwrap()
}

fn cuts(manner: Broker, options: Options, cut: Cut) -> Report {
    let broker = Running::start(manner);
    let loses = options.qos == Qos::AtMostOnce || matches!(manner, Broker::Forgets | Broker::LosesOne);
    let scenario = Cuts {
        clients: clients(&broker, 20),
        protocol: Protocol::Mqtt(options),
        join: Some(Join::to_filter("main")),
        destination: destination(&broker, options, "main"),
        messages: 60,
        interval: Duration::from_millis(5),
        payload_bytes: 50,
        recovery: Recovery::On,
        cut,
        first: span(20, 100),
        every: span(60, 120),
        away: span(10, 30),
        seed: 7,
        // Where nothing is lost nobody waits for it, so that a busy machine may take its time.
        patience: if loses { Duration::from_secs(2) } else { Duration::from_secs(20) },
        server: Pids::default(),
    };
    let report = scenario.run(Console::Silent).unwrap();
    assert!(broker.filters().len() <= 1, "{:?}", broker.filters());
    report
}

#[test]
fn nothing_is_lost_and_at_qos_2_nothing_comes_twice_whoever_is_cut() {
    for options in KINDS.into_iter().filter(|options| options.qos > Qos::AtMostOnce) {
        for cut in [Cut::Close, Cut::Reset, Cut::Mixed, Cut::Silent] {
            let report = cuts(Broker::Good, options, cut);
            assert!(report.failures().is_empty(), "{report}");
            assert_eq!(report.figure("deliveries"), Some(1200.0), "{report}");
            let cut = report.figure("cuts").unwrap();
            assert!(cut >= 20.0 && report.figure("publisher_cuts").unwrap() >= 1.0, "{report}");
            assert_eq!(report.figure("recovered"), Some(cut));
            if options.qos == Qos::ExactlyOnce {
                assert_eq!(report.figure("twice"), Some(0.0), "{report}");
            }
        }
    }
}

#[test]
fn at_qos_0_a_loss_is_no_failure() {
    for options in kinds(Qos::AtMostOnce) {
        let report = cuts(Broker::Good, options, Cut::Mixed);
        assert!(report.figure("lost").unwrap() > 0.0 && report.failures().is_empty(), "{report}");
        assert_eq!(
            report.figure("publisher_cuts"),
            None,
            "what it said while it is away would not be published"
        );
        assert!(report.to_string().contains("at most once"), "{report}");
    }
}

#[test]
fn a_session_that_is_gone_is_a_failure() {
    for options in KINDS.into_iter().filter(|options| options.qos > Qos::AtMostOnce) {
        let report = cuts(Broker::Forgets, options, Cut::Close);
        let failures = report.failures().join("; ");
        assert!(
            failures.contains("deliveries are missing") && failures.contains("nobody was given"),
            "{report}"
        );
        assert_eq!(report.figure("recovered"), Some(0.0));
    }
}

#[test]
fn a_message_that_is_not_sent_again_is_a_failure() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for options in kinds(qos) {
            let report = cuts(Broker::LosesOne, options, Cut::Close);
            assert!(report.figure("lost").unwrap() > 0.0, "{report}");
            assert!(report.failures()[0].contains("deliveries are missing"), "{report}");
        }
    }
}

#[test]
fn a_message_that_comes_twice_is_a_failure_at_qos_2_alone() {
    for options in kinds(Qos::ExactlyOnce) {
        let report = cuts(Broker::RepeatsOne, options, Cut::Close);
        let twice = report.figure("twice").unwrap();
        assert!(twice > 0.0, "{report}");
        assert_eq!(report.failures(), [format!("{twice} messages were delivered twice")]);
    }
    for options in kinds(Qos::AtLeastOnce) {
        let report = cuts(Broker::RepeatsOne, options, Cut::Close);
        assert!(report.figure("twice").unwrap() > 0.0 && report.failures().is_empty(), "{report}");
        assert!(report.to_string().contains("at least once"), "{report}");
    }
}

#[test]
fn a_replay_in_the_wrong_order_is_a_failure() {
    let report = cuts(Broker::Reverses, KINDS[4], Cut::Close);
    assert!(report.failures().iter().any(|text| text.ends_with("messages were out of order")), "{report}");
}

/// A restart as clients see it.
struct Dropped<'a>(&'a Running);

impl Restart for Dropped<'_> {
    fn restart(&mut self) -> Result<Restarted, Error> {
        let started = Instant::now();
        self.0.drop_all();
        let (pid, stop, start) = (Some(std::process::id()), None, None);
        Ok(Restarted { down: started.elapsed(), stop, start, pid, started })
    }
}

#[test]
fn everybody_comes_back_after_a_restart_and_misses_nothing() {
    for options in [KINDS[1], KINDS[5]] {
        let broker = Running::start(Broker::Good);
        let scenario = Avalanche {
            clients: clients(&broker, 20),
            protocol: Protocol::Mqtt(options),
            join: Some(Join::to_filter("main")),
            destination: destination(&broker, options, "main"),
            interval: Duration::from_millis(10),
            payload_bytes: 50,
            recovery: Recovery::On,
            away: span(50, 200),
            seed: 7,
            // So long nothing comes at the end, as a number that the publisher was cut with is nobody's.
            patience: Duration::from_secs(4),
            expect_recovered: Some(100.0),
        };
        let report = scenario.run(&mut Dropped(&broker), Console::Silent).unwrap();
        assert!(report.passed(), "{report}");
        assert_eq!(report.figure("recovered_percent"), Some(100.0), "{report}");
        assert_eq!(report.figure("lost"), Some(0.0), "{report}");
    }
}

#[test]
fn targets_and_protocols_must_agree() {
    let broker = Running::start(Broker::Good);
    let scenario = Idle { protocol: Protocol::SocketIo, ..idle(&broker, KINDS[0]) };
    let error = scenario.run(Console::Silent).unwrap_err().to_string();
    assert_eq!(error, "a target mqtt:// is for clients of mqtt, not of socketio");
}
