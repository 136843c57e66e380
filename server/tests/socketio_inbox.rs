//! `limits.inbox_events_max`: a burst of a client while the handler is busy is slowed, not lost, and the connection
//! lives on. The handler waits for permits, so it is as slow as a test wants it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::client::{Http, Said, WebSocket, field, get, post};
use support::whole::until::until_so;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use trunkline::config::{Config, RecoveryMode};
use trunkline::{ClientEvent, Server};

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const EVENTS: usize = 1000;
/// Longer than `ping_interval_ms` and `ping_timeout_ms` together.
const HELD: Duration = Duration::from_millis(1800);

struct Bench {
    runtime: Runtime,
    server: Server,
    permits: Arc<Semaphore>,
    /// First arguments of events, in the order of their handlers.
    handled: UnboundedReceiver<usize>,
}

impl Bench {
    fn start() -> Self {
        let mut config = Config::loopback();
        config.limits.inbox_events_max = 10;
        config.socketio.ping_interval_ms = 600;
        config.socketio.ping_timeout_ms = 1000;
        config.namespaces[0].recovery = RecoveryMode::OptIn;
        let runtime = Runtime::new().unwrap();
        let mut server = runtime.block_on(Server::start(config)).unwrap();
        let (tell, handled) = unbounded_channel();
        let permits = Arc::new(Semaphore::new(0));
        let ours = Arc::clone(&permits);
        let serving = server.events().unwrap().serve(move |event| {
            let (tell, permits) = (tell.clone(), Arc::clone(&ours));
            async move {
                match event {
                    ClientEvent::Connect(connect) => drop(connect.accept().await.unwrap()),
                    ClientEvent::Event(event) => {
                        permits.acquire().await.unwrap().forget();
                        tell.send(event.args.to_values()[0].as_u64().unwrap() as usize).unwrap();
                        if let Some(reply) = event.reply {
                            reply.send("ok").await.unwrap();
                        }
                    }
                    _ => {}
                }
            }
        });
        runtime.spawn(serving);
        Self { runtime, server, permits, handled }
    }

    fn address(&self) -> SocketAddr {
        self.server.public_addr()
    }

    /// A polling session in `/`: a connection for its POSTs, its target and the reply to its CONNECT.
    fn polling(&self, connect: &str) -> (Http, String, String) {
        let target = format!("{POLL}&sid={}", field(get(self.address(), POLL).text(), "sid").unwrap());
        let mut http = Http::connect(self.address());
        assert_eq!(http.post(&target, connect).text(), "ok");
        let reply = get(self.address(), &target).text().to_owned();
        assert!(reply.starts_with("40{"), "{reply}");
        (http, target, reply)
    }

    /// All events in order, and no other.
    fn assert_handled(&mut self) {
        for expected in 0..EVENTS {
            assert_eq!(self.handled.blocking_recv(), Some(expected));
        }
        assert!(self.handled.try_recv().is_err());
    }

    fn stop(self) {
        self.runtime.block_on(self.server.drain());
    }
}

fn event(number: usize, filler: &str) -> String {
    format!(r#"42["ev",{number},"{filler}"]"#)
}

/// A body of events without more than a number.
fn burst(numbers: &[usize]) -> String {
    let packets: Vec<_> = numbers.iter().map(|&number| event(number, "")).collect();
    packets.join("\u{1e}")
}

/// Sends bursts until one is held; returns how many were sent.
fn post_until_held(http: &mut Http, target: &str, bursts: &[String]) -> usize {
    for (index, body) in bursts.iter().enumerate() {
        http.send("POST", target, &[("content-type", "text/plain")], Some(body.as_bytes()));
        match http.answer_within(HELD) {
            Some(answer) => assert_eq!(answer.text(), "ok"),
            None => return index + 1,
        }
    }
    panic!("no POST was held");
}

#[test]
fn a_burst_on_polling_is_slowed_not_lost() {
    let mut bench = Bench::start();
    let (mut http, target, _) = bench.polling("40");
    let numbers: Vec<_> = (0..EVENTS).collect();
    let bursts: Vec<_> = numbers.chunks(50).map(burst).collect();
    let sent = post_until_held(&mut http, &target, &bursts);
    assert!(sent < 10, "held only after {sent} POSTs");
    bench.permits.add_permits(EVENTS + 1);
    assert_eq!(http.answer().text(), "ok");
    for body in &bursts[sent..] {
        assert_eq!(http.post(&target, body).text(), "ok");
    }
    bench.assert_handled();
    assert_eq!(http.post(&target, "3\u{1e}421[\"ev\",7]").text(), "ok");
    until_so("the answer comes", || get(bench.address(), &target).text().contains(r#"431["ok"]"#));
    bench.stop();
}

/// The hold stays when the connection of the held POST goes: the next POST is not carried out, it ends the session.
#[test]
fn giving_up_a_held_post_does_not_make_room_for_another() {
    let mut bench = Bench::start();
    let (mut http, target, _) = bench.polling("40");
    let numbers: Vec<_> = (0..EVENTS).collect();
    let bursts: Vec<_> = numbers.chunks(50).map(burst).collect();
    let sent = post_until_held(&mut http, &target, &bursts);
    http.give_up();
    assert_eq!(post(bench.address(), &target, &bursts[sent]).status, 400);
    bench.permits.add_permits(EVENTS);
    for expected in 0..sent * 50 {
        assert_eq!(bench.handled.blocking_recv(), Some(expected));
    }
    let target = &target.replace("polling", "websocket");
    assert!(WebSocket::try_connect(bench.address(), target, &[]).is_err(), "the session is over");
    assert!(bench.handled.try_recv().is_err());
    bench.stop();
}

/// Writes all events with a kilobyte or more each from a thread, and shows that it cannot, then that it can.
fn burst_on_a_websocket(bench: &mut Bench, socket: &mut WebSocket) {
    let filler = "x".repeat(16 << 10);
    let (mut writer, done) = (socket.writer(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&done);
    let thread = std::thread::spawn(move || {
        (0..EVENTS).for_each(|number| writer.text(&event(number, &filler)));
        told.store(true, Ordering::SeqCst);
    });
    // The handler has not got on for longer than a client may be silent.
    std::thread::park_timeout(HELD);
    assert!(!done.load(Ordering::SeqCst), "everything was read");
    bench.permits.add_permits(EVENTS + 1);
    thread.join().unwrap();
    socket.text("3");
    bench.assert_handled();
    socket.text(r#"421["ev",7]"#);
    loop {
        match socket.next() {
            Said::Text(text) if text == r#"431["ok"]"# => return,
            Said::Text(text) if text == "2" => socket.text("3"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_burst_on_a_websocket_is_slowed_not_lost() {
    let mut bench = Bench::start();
    let mut socket = WebSocket::connect(bench.address(), SOCKET);
    socket.next_text();
    socket.text("40");
    assert!(socket.next_text().starts_with("40{"));
    burst_on_a_websocket(&mut bench, &mut socket);
    bench.stop();
}

/// A client that upgrades while its POST is held switches when that is answered, and its WebSocket is held then.
#[test]
fn a_client_is_held_across_an_upgrade() {
    let mut bench = Bench::start();
    let (mut http, target, _) = bench.polling("40");
    let numbers: Vec<_> = (0..EVENTS).collect();
    let bursts: Vec<_> = numbers.chunks(50).map(burst).collect();
    let sent = post_until_held(&mut http, &target, &bursts);
    let mut socket = WebSocket::connect(bench.address(), &target.replace("polling", "websocket"));
    socket.text("2probe");
    assert_eq!(socket.next_text(), "3probe");
    socket.text("5");
    assert_eq!(http.answer().text(), "ok");
    for &number in &numbers[sent * 50..] {
        socket.text(&event(number, ""));
    }
    bench.permits.add_permits(EVENTS);
    bench.assert_handled();
    bench.stop();
}

/// The new connection of a client that recovers its session is held like the old one was.
#[test]
fn a_client_that_comes_back_is_held_again() {
    let mut bench = Bench::start();
    let numbers: Vec<_> = (0..EVENTS).collect();
    let bursts: Vec<_> = numbers.chunks(50).map(burst).collect();
    let (mut http, target, reply) = bench.polling(r#"40{"csr":1}"#);
    let sent = post_until_held(&mut http, &target, &bursts);
    let pid = field(&reply, "pid").unwrap();
    let (mut http, target, reply) = bench.polling(&format!(r#"40{{"csr":1,"pid":"{pid}"}}"#));
    assert_eq!(field(&reply, "pid"), Some(pid));
    let more = post_until_held(&mut http, &target, &bursts[sent..]);
    assert!(more < 10, "held only after {more} POSTs");
    bench.permits.add_permits(EVENTS);
    assert_eq!(http.answer().text(), "ok");
    for body in &bursts[sent + more..] {
        assert_eq!(http.post(&target, body).text(), "ok");
    }
    bench.assert_handled();
    bench.stop();
}
