//! A Socket.IO server of the size of a test: thread per connection, one namespace, and a door to publish.
//!
//! It can be told to misbehave, so that the generator's own checks are tested.

#![allow(dead_code, reason = "each program of tests uses a part of it")]

pub(crate) mod broker;
pub(crate) mod recovering;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use wire::engineio::Handshake;
use wire::http::{BodyDecoder, HeadLimits, lookup, parse_head};
use wire::websocket::{CloseCode, Decoded, Decoder, Event, Opcode, Role, accept, frame};

/// What the server does with messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Everything right.
    Good,
    /// The third published message reaches nobody; behind a warm-up of two it is the first that counts. Nor does a message
    /// said by a client with the number 50.
    Loses,
    /// Everything comes twice.
    Doubles,
    /// Nobody gets in.
    Refuses,
    /// Sessions stay when their clients have gone.
    Keeps,
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
    members: Mutex<Vec<Member>>,
    published: Mutex<u32>,
    /// Names of the rooms with the number of joins.
    pub(crate) rooms: Mutex<HashMap<String, u32>>,
    /// Polling sessions: what waits for each; gone when the client left.
    pub(crate) polled: Mutex<HashMap<String, Vec<String>>>,
    /// Polling sessions ever opened.
    pub(crate) opened: Mutex<u32>,
}

/// A client in the namespace.
struct Member {
    id: SocketAddr,
    stream: TcpStream,
    user: Option<String>,
    rooms: Vec<String>,
}

impl Seen {
    fn enter(&self, stream: &TcpStream, auth: &str) {
        let auth: serde_json::Value = serde_json::from_str(auth).unwrap_or_default();
        let (id, user) = (stream.peer_addr().unwrap(), auth["user"].as_str().map(str::to_owned));
        let member = Member { id, stream: stream.try_clone().unwrap(), user, rooms: Vec::new() };
        self.members.lock().unwrap().push(member);
    }

    fn join(&self, id: Option<SocketAddr>, room: &str) {
        *self.rooms.lock().unwrap().entry(room.to_owned()).or_default() += 1;
        let mut members = self.members.lock().unwrap();
        let own = members.iter_mut().find(|member| Some(member.id) == id);
        own.into_iter().for_each(|member| member.rooms.push(room.to_owned()));
    }

    fn leave(&self, id: SocketAddr, manner: Manner) {
        if manner != Manner::Keeps {
            self.members.lock().unwrap().retain(|member| member.id != id);
        }
    }

    /// An event of one argument for everybody who is meant.
    fn emit(&self, (event, data): (&str, &serde_json::Value), manner: Manner, to: impl Fn(&Member) -> bool) {
        let mut bytes = Vec::new();
        frame(Opcode::Text, format!("42[\"{event}\",{data}]").as_bytes(), &mut bytes);
        if manner == Manner::Doubles {
            bytes = bytes.repeat(2);
        }
        for member in self.members.lock().unwrap().iter_mut().filter(|member| to(member)) {
            // Some have left.
            let _ = member.stream.write_all(&bytes);
        }
    }

    /// What a client said; the answer if one is wanted. Every event but two is a join.
    fn event(&self, id: Option<SocketAddr>, packet: &str, manner: Manner) -> Option<String> {
        let (ack, _) = packet.strip_prefix("42")?.split_once('[')?;
        let args: serde_json::Value = serde_json::from_str(&packet[2 + ack.len()..]).unwrap();
        let data = args.as_array().unwrap().last().unwrap();
        let is_lost =
            manner == Manner::Loses && data.as_str().is_some_and(|data| data.starts_with("#00000050"));
        match args[0].as_str().unwrap() {
            "echo" if !is_lost => self.emit(("echo", data), manner, |member| Some(member.id) == id),
            "say" if !is_lost => self.emit(("message", data), manner, |member| {
                Some(member.id) != id && member.rooms.iter().any(|room| args[1] == room.as_str())
            }),
            "echo" | "say" => {}
            _ => self.join(id, data.as_str().unwrap()),
        }
        (!ack.is_empty()).then(|| format!("43{ack}[]"))
    }
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
            let id = stream.peer_addr().unwrap();
            let ended = websocket(stream, &head, seen, manner);
            seen.leave(id, manner);
            return ended;
        } else {
            let answer = poll(seen, manner, (&method, lookup(&query, "sid").as_deref()), &body);
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
fn reply(seen: &Seen, id: Option<SocketAddr>, packet: &str, manner: Manner) -> Option<String> {
    match packet.starts_with("40") {
        true => Some("40{\"sid\":\"x\"}".into()),
        false => seen.event(id, packet, manner),
    }
}

fn poll(seen: &Seen, manner: Manner, asked: (&str, Option<&str>), body: &str) -> String {
    let mut polled = seen.polled.lock().unwrap();
    match asked {
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
            let replies = body.split('\u{1e}').filter_map(|packet| reply(seen, None, packet, manner));
            polled.get_mut(sid).unwrap().extend(replies);
            "ok".into()
        }
    }
}

fn websocket(mut stream: TcpStream, head: &[u8], seen: &Seen, manner: Manner) -> Option<()> {
    let id = stream.peer_addr().unwrap();
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
                            if let Some(auth) = text.strip_prefix("40") {
                                seen.enter(&stream, auth);
                            }
                            if let Some(reply) = reply(seen, Some(id), &text, manner) {
                                frame(Opcode::Text, reply.as_bytes(), &mut out);
                            }
                        }
                        Event::Ping(payload) => frame(Opcode::Pong, payload, &mut out),
                        Event::Close { .. } => {
                            wire::websocket::close_frame(CloseCode::NORMAL, "", &mut out);
                            return stream.write_all(&out).ok();
                        }
                        _ => {}
                    }
                    stream.write_all(&out).ok()?;
                }
            }
        }
    }
}

/// `POST /v1/messages` and `GET /metrics`.
fn door(mut stream: TcpStream, seen: &Seen, manner: Manner) -> Option<()> {
    let mut held = Vec::new();
    loop {
        let (method, _, body, _) = request(&mut stream, &mut held)?;
        if method == "GET" {
            let sessions = seen.members.lock().unwrap().len();
            respond(&mut stream, 200, &format!("trunkline_sessions {sessions}\n"))?;
            continue;
        }
        let message: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(message["event"], "message");
        let mut published = seen.published.lock().unwrap();
        *published += 1;
        let is_lost = manner == Manner::Loses && *published == 3;
        drop(published);
        let channel = message["channel"].as_str().unwrap();
        if !is_lost {
            seen.emit(("message", &message["data"]), manner, |member| match channel.strip_prefix("$user/") {
                Some(user) => member.user.as_deref() == Some(user),
                None => channel == "main" || member.rooms.iter().any(|room| room == channel),
            });
        }
        respond(&mut stream, 202, "{}")?;
    }
}
