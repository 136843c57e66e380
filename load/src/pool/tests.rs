//! A pool against servers that do not do their part.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use wire::http::{HeadLimits, parse_head};
use wire::websocket::{Opcode, accept, frame};

use super::*;
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

/// Serves `connections` in turn: all of the handshake but the acknowledgement of a join, and pings all the time.
fn never_acknowledge(listener: &TcpListener, connections: u32) {
    for _ in 0..connections {
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
        ping_until_closed(&mut stream);
    }
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
    let serving = std::thread::spawn(move || never_acknowledge(&listener, 3));
    let error = pool.wait_ready(Console::Silent).unwrap_err().to_string();
    assert!(error.starts_with("0 of 3 clients became ready, 3 failed: client 0: "), "{error}");
    assert!(error.ends_with("no answer to the event that joins within 0.2 s"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "one after the other");
    drop(pool);
    serving.join().unwrap();
}

#[test]
fn what_goes_on_for_ever_is_no_sign_that_a_goal_is_reached() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pool = Pool::start(&clients(&listener, 1), Script::new(Protocol::SocketIo, None)).unwrap();
    let ticks = std::cell::Cell::new(0);
    // As a test of nothing but the rule: the measure stands still, whatever the clients do.
    let measure = |_: &Counts| {
        ticks.set(ticks.get() + 1);
        0
    };
    let serving = std::thread::spawn(move || never_acknowledge(&listener, 1));
    let bar = indicatif::ProgressBar::hidden();
    assert!(!pool.wait(&bar, 1, Duration::from_millis(300), measure));
    assert!(ticks.get() > 2, "it was looked at all the time");
    drop(pool);
    serving.join().unwrap();
}
