//! A Socket.IO server with connection state recovery, of the size of a test. It can be told to get it wrong.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::Value;
use wire::http::{HeadLimits, parse_head};
use wire::websocket::{Decoded, Decoder, Event, Opcode, Role, accept, frame};

use super::{listen, open, request, respond};

/// What the server does with clients that come back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Everything right.
    Good,
    /// Everybody gets a new session.
    Forgets,
    /// The first message of a replay is left out.
    LosesOne,
    /// A replay begins with the message the client had already.
    RepeatsOne,
    /// A replay comes backwards.
    Reverses,
    /// Right; but in the middle of the fifth message all connections end.
    BreaksFrame,
    /// Nobody is let in again.
    Refuses,
}

/// A running server.
pub(crate) struct Recovering {
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    office: Arc<Office>,
}

struct Office {
    memory: Memory,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    /// Frames' texts in the order of publishing; the index is the offset.
    messages: Vec<String>,
    /// Of each session its first message and its connection.
    sessions: HashMap<usize, (usize, TcpStream)>,
    /// Joins of rooms.
    joins: u32,
}

impl Recovering {
    pub(crate) fn start(memory: Memory) -> Self {
        let (public, private) = (listen(), listen());
        let (public_addr, private_addr) = (public.local_addr().unwrap(), private.local_addr().unwrap());
        let office = Arc::new(Office { memory, log: Mutex::default() });
        for (listener, serve) in [(public, Office::client as fn(&_, _) -> _), (private, Office::door)] {
            let office = Arc::clone(&office);
            thread::spawn(move || {
                for stream in listener.incoming() {
                    let office = Arc::clone(&office);
                    thread::spawn(move || serve(&office, stream.unwrap()));
                }
            });
        }
        Self { public: public_addr, private: private_addr, office }
    }

    /// Ends every connection of a client, as a restart does.
    pub(crate) fn drop_all(&self) {
        for (_, stream) in self.office.log().sessions.values() {
            // Some are gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn joins(&self) -> u32 {
        self.office.log().joins
    }
}

impl Office {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap()
    }

    fn client(&self, mut stream: TcpStream) -> Option<()> {
        let (mut held, mut out) = (Vec::new(), Vec::new());
        let (_, _, _, head) = request(&mut stream, &mut held)?;
        if self.memory == Memory::Refuses && !self.log().messages.is_empty() {
            return respond(&mut stream, 503, "closed");
        }
        let head = parse_head(&head, &HeadLimits::default()).unwrap().unwrap();
        accept(&head).unwrap().respond(None, &mut out);
        frame(Opcode::Text, open("s").as_bytes(), &mut out);
        stream.write_all(&out).ok()?;
        let mut decoder = Decoder::new(Role::Server, 1 << 20);
        let mut buf = [0; 4096];
        loop {
            let read = stream.read(&mut buf).ok().filter(|read| *read > 0)?;
            held.extend_from_slice(&buf[..read]);
            let mut start = 0;
            while let Decoded::Event { event, consumed } = decoder.decode(&mut held[start..]).unwrap() {
                if let Event::Text(text) = event {
                    self.said(&text, &mut stream)?;
                }
                start += consumed;
            }
            // Clients of this test send whole frames.
            held.drain(..start);
        }
    }

    fn said(&self, text: &str, stream: &mut TcpStream) -> Option<()> {
        let mut log = self.log();
        let mut out = Vec::new();
        if let Some(auth) = text.strip_prefix("40") {
            let auth: Value = serde_json::from_str(auth).unwrap();
            assert_eq!(auth["csr"], 1);
            let (session, replay) = log.session(self.memory, &auth, stream);
            replay.iter().for_each(|text| frame(Opcode::Text, text.as_bytes(), &mut out));
            let reply = format!("40{{\"sid\":\"s{session}\",\"pid\":\"{session}\"}}");
            frame(Opcode::Text, reply.as_bytes(), &mut out);
        } else if text.starts_with("420") {
            log.joins += 1;
            frame(Opcode::Text, b"430[]", &mut out);
        }
        stream.write_all(&out).ok()
    }

    /// `POST /v1/messages`.
    fn door(&self, mut stream: TcpStream) -> Option<()> {
        let mut held = Vec::new();
        loop {
            let (_, _, body, _) = request(&mut stream, &mut held)?;
            let message: Value = serde_json::from_str(&body).unwrap();
            let mut log = self.log();
            let offset = log.messages.len();
            log.messages.push(format!("42[\"message\",{},\"{offset}\"]", message["data"]));
            let mut bytes = Vec::new();
            frame(Opcode::Text, log.messages[offset].as_bytes(), &mut bytes);
            let breaks = self.memory == Memory::BreaksFrame && offset == 4;
            let sent = if breaks { bytes.len() / 2 } else { bytes.len() };
            for (_, client) in log.sessions.values_mut() {
                // Some are away.
                let _ = client.write_all(&bytes[..sent]);
                if breaks {
                    let _ = client.shutdown(Shutdown::Both);
                }
            }
            drop(log);
            respond(&mut stream, 202, "{}")?;
        }
    }
}

impl Log {
    /// The session of a client and what it missed.
    fn session(&mut self, memory: Memory, auth: &Value, stream: &TcpStream) -> (usize, Vec<String>) {
        let stream = stream.try_clone().unwrap();
        let pid = auth["pid"].as_str().map(|pid| pid.parse::<usize>().unwrap());
        let Some(pid) = pid.filter(|_| memory != Memory::Forgets) else {
            let (session, first) = (self.sessions.len(), self.messages.len());
            self.sessions.insert(session, (first, stream));
            return (session, Vec::new());
        };
        let session = self.sessions.get_mut(&pid).unwrap();
        session.1 = stream;
        let offset = auth["offset"].as_str().map(|offset| offset.parse::<usize>().unwrap());
        let from = match (memory, offset) {
            (Memory::RepeatsOne, Some(offset)) => offset,
            (_, offset) => offset.map_or(session.0, |offset| offset + 1),
        };
        let from = if memory == Memory::LosesOne { from + 1 } else { from };
        let mut replay = self.messages.get(from..).unwrap_or_default().to_vec();
        if memory == Memory::Reverses {
            replay.reverse();
        }
        (pid, replay)
    }
}
