//! Bounds: time, connections, mailboxes.

use super::rig::{PATIENCE, Plan, Rig, Seen, masked};
use crate::mail::{Hello, Upcall};
use crate::shard::{Closed, Owner};
use hub::Millis;

fn quick() -> Plan {
    let mut plan = Plan::default();
    plan.config.limits.head_timeout_ms = 60;
    plan.config.limits.body_timeout_ms = 60;
    plan.config.limits.keep_alive_seconds = 1;
    plan
}

#[test]
fn a_head_that_does_not_end_in_time_is_answered_408() {
    let rig = Rig::start(quick());
    let mut client = rig.client();
    client.send("GET /a HTTP/1.1\r\nho");
    assert_eq!(client.answer().status, 408);
    assert!(client.is_ended());
    assert_eq!(rig.stats(0).closed_timeout, 1);
}

#[test]
fn whoever_says_nothing_is_closed_without_a_word() {
    let rig = Rig::start(quick());
    assert!(rig.client().is_ended());
    let stats = rig.stats(0);
    assert_eq!((stats.connections, stats.half_open, stats.closed_timeout), (0, 0, 1));
}

#[test]
fn the_time_for_a_later_head_begins_with_its_first_byte() {
    let rig = Rig::start(quick());
    let mut client = rig.client();
    client.get("/a");
    assert_eq!(client.answer().status, 200);
    client.send("GET");
    assert_eq!(client.answer().status, 408);
    assert!(client.is_ended());
}

#[test]
fn a_body_that_does_not_end_in_time_is_answered_408() {
    let rig = Rig::start(quick());
    let mut client = rig.client();
    client.send("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf");
    assert_eq!(client.answer().status, 408);
    assert!(client.is_ended());
}

#[test]
fn an_idle_connection_is_closed_after_its_keep_alive_time_and_a_held_or_upgraded_one_is_not() {
    let rig = Rig::start(quick());
    let (mut held, mut upgraded, mut idle) = (rig.client(), rig.client(), rig.client());
    held.get("/hold");
    upgraded.upgrade("/ws");
    idle.get("/a");
    idle.answer();
    assert!(idle.is_ended());
    drop(idle);
    let stats = rig.stats_when(0, |stats| stats.connections == 2);
    assert_eq!((stats.held, stats.websockets, stats.closed_timeout), (1, 1, 1));
}

#[test]
fn timers_fire_at_their_time() {
    let rig = Rig::one();
    rig.order(0, |double, cx| {
        for (owner, ahead) in [(0, 30), (1, 10), (2, 20), (3, 15)] {
            let at = Millis(cx.io.now().0 + ahead);
            cx.io.arm(Owner(owner), at);
            double.armed.insert(Owner(owner), at);
        }
        cx.io.disarm(Owner(3));
    });
    let mut order = Vec::new();
    for _ in 0..3 {
        let Seen::Timer(owner, due, now) = rig.next() else { panic!("only timers here") };
        assert!(now >= due, "{now} is before {due}");
        order.push(owner.0);
    }
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn beyond_the_seats_of_the_node_connections_are_refused() {
    let mut plan = Plan::default();
    plan.config.limits.connections_max = 2;
    let rig = Rig::start(plan);
    let (mut a, mut b) = (rig.client(), rig.client());
    a.get("/a");
    b.get("/b");
    assert_eq!((a.answer().status, b.answer().status), (200, 200));
    let mut c = rig.client();
    assert!(c.head().starts_with("HTTP/1.1 503 "));
    drop(a);
    rig.stats_when(0, |stats| stats.connections == 1);
    let mut d = rig.client();
    d.get("/d");
    assert_eq!(d.answer().status, 200);
    assert_eq!(rig.stats(0).refused_connections_max, 1);
}

#[test]
fn the_oldest_half_open_connection_makes_room() {
    let mut plan = Plan::default();
    plan.config.limits.half_open_max = 2;
    let rig = Rig::start(plan);
    let mut done = rig.client();
    done.get("/a");
    done.answer();
    let mut oldest = rig.client();
    rig.stats_when(0, |stats| stats.half_open == 1);
    let (_second, mut third) = (rig.client(), rig.client());
    assert!(oldest.is_ended());
    third.get("/b");
    assert_eq!(third.answer().status, 200);
    done.get("/c");
    assert_eq!(done.answer().status, 200);
    let stats = rig.stats(0);
    assert_eq!((stats.closed_half_open, stats.half_open), (1, 1));
}

#[test]
fn while_the_back_office_is_behind_clients_are_not_read_and_nothing_is_lost() {
    let mut rig = Rig::start(Plan { uplink_batches: 1, ..Plan::default() });
    rig.order(0, |double, _| double.upcalls = true);
    let mut client = rig.client();
    client.upgrade("/ws");
    let mut writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        for n in 0..60_000_u32 {
            std::io::Write::write_all(&mut writer, &masked(0x81, format!("{n:0100}").as_bytes())).unwrap();
        }
    });
    let stats = rig.stats_when(0, |stats| stats.turns_stalled > 3 && stats.stalled_ms > 0);
    assert!(stats.upcalls < 60_000 && stats.upcalls_waiting > 0, "{stats:?}");
    assert_eq!(rig.stats(0).upcalls, stats.upcalls, "a stalled shard does not read");
    let mut next = 0;
    while next < 60_000 {
        for event in rig.uplink.blocking_recv().unwrap() {
            let Upcall::Connect { hello: Hello::SocketIo { namespace, .. }, .. } = event else {
                panic!("only these were sent")
            };
            assert_eq!(namespace.parse(), Ok(next));
            next += 1;
        }
    }
    sending.join().unwrap();
    let stats = rig.stats_when(0, |stats| stats.upcalls_waiting == 0);
    assert_eq!((stats.upcalls, stats.stalled_ms), (60_000, 0));
}

#[test]
fn drain_ends_the_thread_although_the_handler_keeps_its_connections() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.upgrade("/ws");
    let mut other = rig.client();
    other.get("/hold");
    rig.wait(|seen| matches!(seen, Seen::Held(..)).then_some(()));
    rig.sender(0).end_at(std::time::Instant::now());
    assert!(client.is_ended() && other.is_ended());
    let seats = rig.seats.clone();
    rig.end();
    assert_eq!(seats.taken(), 0);
}

#[test]
fn a_connection_that_was_just_accepted_when_the_shard_drains_is_still_answered() {
    let rig = Rig::one();
    let mut idle = rig.client();
    idle.get("/a");
    assert_eq!(idle.answer().status, 200);
    let (mut new, mut silent) = (rig.client(), rig.client());
    rig.stats_when(0, |stats| stats.half_open == 2);
    rig.sender(0).end_at(std::time::Instant::now() + PATIENCE);
    rig.wait(|seen| (seen == Seen::Draining(0)).then_some(()));
    assert!(idle.is_ended());
    new.get("/b");
    let answer = new.answer();
    assert!(answer.status == 200 && answer.head.contains("connection: close"), "{answer:?}");
    // Whoever says nothing does not hold up the end for longer than a second.
    let mut later = rig.client();
    assert!(silent.is_ended() && later.is_ended() && new.is_ended());
    rig.wait(|seen| matches!(seen, Seen::Ended(..)).then_some(()));
}

#[test]
fn a_reset_is_told_as_an_end() {
    let rig = Rig::one();
    let mut client = rig.client();
    client.get("/hold");
    rig.wait(|seen| matches!(seen, Seen::Held(..)).then_some(()));
    // Closing with a linger time of zero sends a reset.
    let socket = socket2::SockRef::from(&client.stream);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let why = rig.wait(|seen| if let Seen::Closed(_, why) = seen { Some(why) } else { None });
    assert!(matches!(why, Closed::Error | Closed::Peer));
}

/// Runs in a process of its own: the limit of open files is the process's.
#[test]
fn without_a_free_descriptor_connections_are_closed_and_the_listener_goes_on() {
    const CHILD: &str = "TRUNKLINE_TEST_WITHOUT_FILES";
    if std::env::var_os(CHILD).is_none() {
        let name =
            "shard::tests::limits::without_a_free_descriptor_connections_are_closed_and_the_listener_goes_on";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--test-threads", "1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let rig = Rig::one();
    let mut first = rig.client();
    first.get("/a");
    first.answer();
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    let lowest_free =
        std::fs::File::open("/dev/null").map(|file| std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
    // One descriptor is left, and the client takes it.
    rlimit::Resource::NOFILE.set(lowest_free as u64 + 1, hard).unwrap();
    for refused in 1..=3 {
        assert!(rig.client().is_ended());
        assert_eq!(rig.stats(0).refused_files, refused);
    }
    rlimit::Resource::NOFILE.set(soft, hard).unwrap();
    let mut next = rig.client();
    next.get("/b");
    assert_eq!(next.answer().status, 200);
    first.get("/c");
    assert_eq!(first.answer().status, 200);
}
