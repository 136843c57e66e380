//! A pool against servers that do not do their part.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use wire::http::{HeadLimits, parse_head};
use wire::websocket::{Opcode, accept, frame};

use super::*;
use crate::comeback::{Comeback, Recovery, Span};
use crate::session::{Join, Protocol};

fn clients(listener: &TcpListener, connections: u32) -> Clients {
    let target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    Clients {
        targets: vec![target],
        sources: Vec::new(),
        connections,
        opening_max: 1,
        threads: 1,
        processes: 1,
        helper: None,
    }
}

/// The next connection, its client in the namespace.
fn shake_hands(listener: &TcpListener) -> TcpStream {
    let mut stream = listener.accept().unwrap().0;
    let (mut head, mut buf) = (Vec::new(), [0; 4096]);
    while parse_head(&head, &HeadLimits::default()).unwrap().is_none() {
        let read = stream.read(&mut buf).unwrap();
        head.extend_from_slice(&buf[..read]);
    }
    let mut out = Vec::new();
    let upgrade = parse_head(&head, &HeadLimits::default()).unwrap().unwrap();
    accept(&upgrade).unwrap().respond(None, &mut out);
    let open =
        "0{\"sid\":\"s\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":9}";
    [open, "40{\"sid\":\"x\"}"].iter().for_each(|text| frame(Opcode::Text, text.as_bytes(), &mut out));
    stream.write_all(&out).unwrap();
    stream
}

fn ping_until_closed(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let (mut ping, mut buf) = (Vec::new(), [0; 4096]);
    frame(Opcode::Text, b"2", &mut ping);
    while !matches!(stream.read(&mut buf), Ok(0)) && stream.write_all(&ping).is_ok() {}
}

#[test]
fn a_client_whose_join_is_never_acknowledged_is_given_up_and_makes_room() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let join = Some(Join { event: "join".into(), room: "r".into() });
    let script = Script { handshake_ms_max: 200, ..Script::new(Protocol::SocketIo, join) };
    let begun = Instant::now();
    let pool = Pool::start(&clients(&listener, 3), script).unwrap();
    // Pings show that the server is there, and acknowledge nothing.
    let serving =
        std::thread::spawn(move || (0..3).for_each(|_| ping_until_closed(&mut shake_hands(&listener))));
    let error = pool.wait_ready(Console::Silent).unwrap_err().to_string();
    assert!(error.starts_with("0 of 3 clients became ready, 3 failed: client 0: "), "{error}");
    assert!(error.ends_with("no answer to the event that joins within 0.2 s"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "one after the other");
    drop(pool);
    serving.join().unwrap();
}

#[test]
fn attempts_without_end_are_no_sign_that_a_goal_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let away = Span::new(Duration::from_millis(1), Duration::from_millis(2)).unwrap();
    let comeback = Some(Comeback { recovery: Recovery::Off, away, seed: 1 });
    let script = Script { comeback, ..Script::new(Protocol::SocketIo, None) };
    let pool = Pool::start(&clients(&listener, 1), script).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&over);
    let serving = std::thread::spawn(move || {
        // The first connection is cut when its client is ready, and every further one at once.
        drop(shake_hands(&listener));
        while !stop.load(Ordering::Relaxed) {
            drop(listener.accept().unwrap());
        }
    });
    pool.wait_ready(Console::Silent).unwrap();
    let bar = indicatif::ProgressBar::hidden();
    let before = pool.counts();
    assert!(!pool.wait(&bar, 1, Duration::from_millis(300), |counts| counts.returned));
    let attempts = pool.counts().refused - before.refused;
    assert!(attempts > 10, "{attempts} attempts, and it was waited no longer for that");
    drop(pool);
    over.store(true, Ordering::Relaxed);
    TcpStream::connect(address).unwrap();
    serving.join().unwrap();
}
