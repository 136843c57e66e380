//! A Socket.IO server of the size of a test: thread per connection, one namespace, and a door to publish.
//!
//! It can be told to misbehave, so that the generator's own checks are tested.

#![allow(dead_code, reason = "each program of tests uses a part of it")]

pub(crate) mod recovering;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wire::engineio::Handshake;
use wire::http::{BodyDecoder, HeadLimits, lookup, parse_head};
use wire::websocket::{Decoded, Decoder, Event, Opcode, Role, accept, frame};

/// What the server does with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything right.
    Good,
    /// The third message reaches nobody; behind a warm-up of two it is the first that counts.
    Loses,
    /// Everything comes twice.
    Doubles,
    /// Nobody gets in.
    Refuses,
}

/// Both addresses of a running server.
pub(crate) struct Peer {
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    pub(crate) seen: Arc<Seen>,
}

/// What clients did.
#[derive(Default)]
pub(crate) struct Seen {
    clients: Mutex<Vec<TcpStream>>,
    /// Names of the rooms with the number of joins.
    pub(crate) rooms: Mutex<HashMap<String, u32>>,
    /// Polling sessions: what waits for each; gone when the client left.
    pub(crate) polled: Mutex<HashMap<String, Vec<String>>>,
    /// Polling sessions ever opened.
    pub(crate) opened: Mutex<u32>,
}

impl Peer {
    pub(crate) fn start(manner: Manner) -> Self {
        let (public, private) = (listen(), listen());
        let addresses = (public.local_addr().unwrap(), private.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        serve(public, &seen, move |stream, seen| client(stream, seen, manner));
        serve(private, &seen, move |stream, seen| door(stream, seen, manner));
        Self { public: addresses.0, private: addresses.1, seen }
    }
}

/// With a deep queue of connections: the generator comes fast.
fn listen() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(1024).unwrap();
    socket.into()
}

fn serve(
    listener: TcpListener,
    seen: &Arc<Seen>,
    body: impl Fn(TcpStream, &Seen) -> Option<()> + Send + Copy + 'static,
) {
    let seen = Arc::clone(seen);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            thread::spawn(move || body(stream, &seen));
        }
    });
}

/// One request with its body; `None` when the connection ends.
fn request(stream: &mut TcpStream, held: &mut Vec<u8>) -> Option<(String, String, String, Vec<u8>)> {
    let mut buf = [0; 4096];
    loop {
        if let Some(head) = parse_head(held, &HeadLimits::default()).unwrap() {
            let mut body = Vec::new();
            let mut decoder = BodyDecoder::new(head.body, 1 << 20).unwrap();
            let progress = decoder.decode(&held[head.len..], &mut body).unwrap();
            if progress.done {
                let parts = (head.method.to_owned(), head.query.to_owned());
                let upgrade = held[..head.len].to_vec();
                let end = head.len + progress.consumed;
                held.drain(..end);
                return Some((parts.0, parts.1, String::from_utf8(body).unwrap(), upgrade));
            }
        }
        match stream.read(&mut buf).ok()? {
            0 => return None,
            read => held.extend_from_slice(&buf[..read]),
        }
    }
}

fn respond(stream: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let bytes = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(bytes.as_bytes()).ok()
}

fn client(mut stream: TcpStream, seen: &Seen, manner: Manner) -> Option<()> {
    let mut held = Vec::new();
    loop {
        let (method, query, body, head) = request(&mut stream, &mut held)?;
        if manner == Manner::Refuses {
            respond(&mut stream, 503, "full")?;
        } else if lookup(&query, "transport").as_deref() == Some("websocket") {
            return websocket(stream, &head, seen);
        } else {
            let answer = poll(seen, &method, lookup(&query, "sid").as_deref(), &body);
            respond(&mut stream, 200, &answer)?;
        }
    }
}

fn open(sid: &str) -> String {
    let upgrades = wire::engineio::Upgrades::None;
    let handshake = Handshake {
        sid: sid.into(),
        upgrades,
        ping_interval_ms: 25_000,
        ping_timeout_ms: 20_000,
        max_payload_bytes: Some(1_000_000),
    };
    let mut text = "0".to_owned();
    handshake.write_json(&mut text);
    text
}

/// What the server says to a packet.
fn reply(seen: &Seen, packet: &str) -> Option<String> {
    match packet {
        "40" => Some("40{\"sid\":\"x\"}".into()),
        _ => {
            let (id, args) = packet.strip_prefix("42")?.split_once('[')?;
            let room = args.split('"').nth(3)?;
            *seen.rooms.lock().unwrap().entry(room.to_owned()).or_default() += 1;
            Some(format!("43{id}[]"))
        }
    }
}

fn poll(seen: &Seen, method: &str, sid: Option<&str>, body: &str) -> String {
    let mut polled = seen.polled.lock().unwrap();
    match (method, sid) {
        (_, None) => {
            let mut opened = seen.opened.lock().unwrap();
            *opened += 1;
            let sid = opened.to_string();
            polled.insert(sid.clone(), Vec::new());
            open(&sid)
        }
        ("GET", Some(sid)) => polled.get_mut(sid).unwrap().drain(..).collect::<Vec<_>>().join("\u{1e}"),
        (_, Some(sid)) if body == "1" => {
            polled.remove(sid).unwrap();
            "ok".into()
        }
        (_, Some(sid)) => {
            let replies = body.split('\u{1e}').filter_map(|packet| reply(seen, packet));
            polled.get_mut(sid).unwrap().extend(replies);
            "ok".into()
        }
    }
}

fn websocket(mut stream: TcpStream, head: &[u8], seen: &Seen) -> Option<()> {
    let mut out = Vec::new();
    let head = parse_head(head, &HeadLimits::default()).unwrap().unwrap();
    accept(&head).unwrap().respond(None, &mut out);
    frame(Opcode::Text, open("s").as_bytes(), &mut out);
    stream.write_all(&out).ok()?;
    let mut decoder = Decoder::new(Role::Server, 1 << 20);
    let (mut held, mut buf) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buf).ok().filter(|read| *read > 0)?;
        held.extend_from_slice(&buf[..read]);
        let mut start = 0;
        loop {
            match decoder.decode(&mut held[start..]) {
                Err(violation) => {
                    out.clear();
                    wire::websocket::close_frame(violation.code, violation.text, &mut out);
                    return stream.write_all(&out).ok();
                }
                Ok(Decoded::NeedMore { consumed, .. }) => {
                    held.drain(..start + consumed);
                    break;
                }
                Ok(Decoded::Event { event, consumed }) => {
                    start += consumed;
                    out.clear();
                    match event {
                        Event::Text(text) => {
                            if let Some(reply) = reply(seen, &text) {
                                frame(Opcode::Text, reply.as_bytes(), &mut out);
                            }
                            if text == "40" {
                                seen.clients.lock().unwrap().push(stream.try_clone().unwrap());
                            }
                        }
                        Event::Ping(payload) => frame(Opcode::Pong, payload, &mut out),
                        _ => {}
                    }
                    stream.write_all(&out).ok()?;
                }
            }
        }
    }
}

/// `POST /v1/messages`.
fn door(mut stream: TcpStream, seen: &Seen, manner: Manner) -> Option<()> {
    let mut held = Vec::new();
    for published in 0.. {
        let (_, _, body, _) = request(&mut stream, &mut held)?;
        let message: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(message["event"], "message");
        let text = format!("42[\"message\",{}]", message["data"]);
        let mut bytes = Vec::new();
        frame(Opcode::Text, text.as_bytes(), &mut bytes);
        if manner == Manner::Doubles {
            bytes = bytes.repeat(2);
        }
        if manner != Manner::Loses || published != 2 {
            for client in seen.clients.lock().unwrap().iter_mut() {
                // Some have left.
                let _ = client.write_all(&bytes);
            }
        }
        respond(&mut stream, 202, "{}")?;
    }
    None
}
