//! A client of streams that says exactly what a test tells it to, and reads answers that go on piece by piece.
//!
//! Every read gives up after [`PATIENCE`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;
use wire::http::{BodyDecoder, BodyLength, HeadLimits, parse_response_head};

use super::client::PATIENCE;

/// A server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub id: Option<String>,
    pub name: String,
    pub data: String,
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

/// One answer that goes on.
pub struct Stream {
    socket: TcpStream,
    raw: Vec<u8>,
    body: Option<BodyDecoder>,
    text: Vec<u8>,
    pub status: u16,
    pub head: String,
}

impl Stream {
    /// Asks by GET and reads the head of the answer.
    pub fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::ask(address, &format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{fields}\r\n"))
    }

    /// Sends a request as it is and reads the head of the answer.
    pub fn ask(address: SocketAddr, request: &str) -> Self {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream =
            Self { socket, raw: Vec::new(), body: None, text: Vec::new(), status: 0, head: String::new() };
        while stream.status == 0 {
            assert!(stream.fill() > 0, "closed before the head");
            stream.take_head();
        }
        stream
    }

    fn take_head(&mut self) {
        let Some(head) = parse_response_head(&self.raw, &HeadLimits::default()).unwrap() else { return };
        self.body = match head.body {
            BodyLength::UntilClose => None,
            framed => Some(BodyDecoder::new(framed, 1 << 30).unwrap()),
        };
        let (status, length) = (head.status, head.len);
        self.head = String::from_utf8_lossy(&self.raw[..length]).to_ascii_lowercase();
        self.raw.drain(..length);
        self.status = status;
        self.decode();
    }

    fn fill(&mut self) -> usize {
        let mut more = [0; 64 << 10];
        let read = self.socket.read(&mut more).expect("something in time");
        self.raw.extend_from_slice(&more[..read]);
        read
    }

    fn decode(&mut self) {
        match &mut self.body {
            None => self.text.append(&mut self.raw),
            Some(body) => {
                let progress = body.decode(&self.raw, &mut self.text).unwrap();
                self.raw.drain(..progress.consumed);
            }
        }
    }

    /// Text up to and with `end`; `None` when the answer ends before.
    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let at = self.text.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = at {
                let rest = self.text.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.text, rest)).ok();
            }
            if self.fill() == 0 {
                return None;
            }
            self.decode();
        }
    }

    /// Everything up to the end.
    pub fn rest(&mut self) -> String {
        while self.fill() > 0 {
            self.decode();
        }
        self.decode();
        String::from_utf8(std::mem::take(&mut self.text)).unwrap()
    }

    /// The next event, or notice of the server, as it was written; comments and `retry` are passed over.
    pub fn next(&mut self) -> Option<Heard> {
        loop {
            let block = self.until("\n\n")?;
            let mut heard = Heard { name: "message".into(), ..Heard::default() };
            let mut lines = Vec::new();
            for line in block.lines() {
                let (field, value) = line.split_once(": ").unwrap_or((line, ""));
                match field {
                    "id" => heard.id = Some(value.to_owned()),
                    "event" => heard.name = value.to_owned(),
                    "data" => lines.push(value),
                    _ => {}
                }
            }
            if !lines.is_empty() {
                heard.data = lines.join("\n");
                return Some(heard);
            }
        }
    }

    /// The next message; what the server says of the stream is passed over.
    pub fn message(&mut self) -> Heard {
        loop {
            let heard = self.next().expect("a message before the end");
            if heard.name != "trunkline" {
                return heard;
            }
        }
    }

    /// What the server says of the stream, which is to come next.
    pub fn notice(&mut self) -> Heard {
        let heard = self.next().expect("a notice before the end");
        assert_eq!(heard.name, "trunkline", "{heard:?}");
        heard
    }

    /// The next block as it is, comments among them.
    pub fn block(&mut self) -> Option<String> {
        self.until("\n\n")
    }

    /// The next line, as JSON; heartbeats are passed over.
    pub fn line(&mut self) -> Option<Value> {
        loop {
            let line = self.until("\n")?;
            if line != "{}\n" {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    pub fn is_ended(&mut self) -> bool {
        self.next().is_none()
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}
