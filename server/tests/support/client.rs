//! A client that says exactly what a test tells it to: raw HTTP requests and WebSocket messages, blocking.
//!
//! Every read gives up after [`PATIENCE`], so that a test that waits for nothing fails instead of hanging.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use wire::http::{BodyLength, HeadLimits, Request, parse_response_head, write_request};
use wire::websocket::{
    Decoded, Decoder, Event, Opcode, Role, UpgradeRequest, check_response, client_key, masked_frame,
    write_upgrade_request,
};

/// How long a read may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One HTTP connection.
pub struct Http {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends a request and does not wait for the answer.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Option<&[u8]>) {
        let mut out = Vec::new();
        write_request(&mut out, &Request { method, target, host: "localhost", headers, body });
        self.stream.write_all(&out).unwrap();
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads one response.
    pub fn answer(&mut self) -> Answer {
        loop {
            let limits = HeadLimits::default();
            if let Some(head) = parse_response_head(&self.buffer, &limits).unwrap() {
                let bytes = match head.body {
                    BodyLength::None => 0,
                    BodyLength::Length(bytes) => usize::try_from(bytes).unwrap(),
                    other => panic!("unexpected body {other:?}"),
                };
                if self.buffer.len() >= head.len + bytes {
                    let headers = head.fields.iter().map(|field| {
                        (field.name.to_owned(), String::from_utf8_lossy(field.value).into_owned())
                    });
                    let (status, headers, start) = (head.status, headers.collect(), head.len);
                    let body = self.buffer[start..start + bytes].to_vec();
                    self.buffer.drain(..start + bytes);
                    return Answer { status, headers, body };
                }
            }
            let mut more = [0; 16 << 10];
            let read = self.stream.read(&mut more).expect("an answer in time");
            assert!(read > 0, "closed before the answer, after {:?}", String::from_utf8_lossy(&self.buffer));
            self.buffer.extend_from_slice(&more[..read]);
        }
    }

    /// Sends a request and gives the status of the answer; `None` when the server ended meanwhile.
    pub fn try_exchange(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<u16> {
        let mut out = Vec::new();
        let body = Some(body);
        write_request(&mut out, &Request { method, target, host: "localhost", headers, body });
        self.stream.write_all(&out).ok()?;
        let arrived = self.stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        arrived.then(|| self.answer().status)
    }

    /// The answer if its first bytes come within this time.
    pub fn answer_within(&mut self, time: Duration) -> Option<Answer> {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        peeked.is_ok().then(|| self.answer())
    }

    /// Ends the connection and waits until the server has seen it.
    pub fn give_up(mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
        self.stream.read_to_end(&mut self.buffer).expect("an end in time");
    }

    pub fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target, &[], None);
        self.answer()
    }

    pub fn post(&mut self, target: &str, body: &str) -> Answer {
        self.send("POST", target, &[("content-type", "text/plain;charset=UTF-8")], Some(body.as_bytes()));
        self.answer()
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Answer {
    Http::connect(address).get(target)
}

pub fn post(address: SocketAddr, target: &str, body: &str) -> Answer {
    Http::connect(address).post(target, body)
}

/// A message, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Text(String),
    Binary(Vec<u8>),
    /// A close frame with this code, or the end of the connection.
    Closed(Option<u16>),
}

/// A WebSocket.
pub struct WebSocket {
    stream: TcpStream,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl WebSocket {
    /// Opens one, or gives the refusal.
    pub fn try_connect(
        address: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Box<Answer>> {
        let mut http = Http::connect(address);
        let key = client_key([7; 16]);
        let mut out = Vec::new();
        write_upgrade_request(&mut out, &UpgradeRequest { target, host: "localhost", key: &key, headers });
        http.stream.write_all(&out).unwrap();
        loop {
            if let Some(head) = parse_response_head(&http.buffer, &HeadLimits::default()).unwrap() {
                if head.status != 101 {
                    return Err(Box::new(http.answer()));
                }
                check_response(&head, &key).unwrap();
                let buffer = http.buffer[head.len..].to_vec();
                return Ok(Self {
                    stream: http.stream,
                    decoder: Decoder::new(Role::Client, 64 << 20),
                    buffer,
                });
            }
            let mut more = [0; 4096];
            let read = http.stream.read(&mut more).expect("an answer in time");
            assert!(read > 0, "closed before the answer");
            http.buffer.extend_from_slice(&more[..read]);
        }
    }

    pub fn connect(address: SocketAddr, target: &str) -> Self {
        Self::try_connect(address, target, &[]).unwrap_or_else(|answer| panic!("refused: {answer:?}"))
    }

    pub fn text(&mut self, text: &str) {
        self.frame(Opcode::Text, text.as_bytes());
    }

    pub fn binary(&mut self, data: &[u8]) {
        self.frame(Opcode::Binary, data);
    }

    /// The same WebSocket once more, to write from another thread. Must not be read.
    pub fn writer(&self) -> Self {
        let decoder = Decoder::new(Role::Client, 0);
        Self { stream: self.stream.try_clone().unwrap(), decoder, buffer: Vec::new() }
    }

    /// Several text messages in one write.
    pub fn texts(&mut self, texts: &[&str]) {
        let mut out = Vec::new();
        texts.iter().for_each(|text| masked_frame(Opcode::Text, text.as_bytes(), [1, 2, 3, 4], &mut out));
        self.stream.write_all(&out).unwrap();
    }

    fn frame(&mut self, opcode: Opcode, data: &[u8]) {
        let mut out = Vec::new();
        masked_frame(opcode, data, [1, 2, 3, 4], &mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// What the server says next.
    pub fn next(&mut self) -> Said {
        loop {
            let mut answer = None;
            let consumed = match self.decoder.decode(&mut self.buffer).unwrap() {
                Decoded::NeedMore { consumed, .. } => consumed,
                Decoded::Event { event, consumed } => {
                    answer = match event {
                        Event::Text(text) => Some(Said::Text(text.into_owned())),
                        Event::Binary(data) => Some(Said::Binary(data.into_owned())),
                        Event::Close { code, .. } => Some(Said::Closed(code.map(|code| code.0))),
                        Event::Ping(_) | Event::Pong(_) => None,
                    };
                    consumed
                }
            };
            self.buffer.drain(..consumed);
            if let Some(said) = answer {
                return said;
            }
            if consumed > 0 {
                continue;
            }
            let mut more = [0; 64 << 10];
            match self.stream.read(&mut more) {
                Ok(0) => return Said::Closed(None),
                Ok(read) => self.buffer.extend_from_slice(&more[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Said::Closed(None),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// Whether nothing of the server's waits to be read, not even the end.
    pub fn is_silent(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        self.buffer.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// The next message, which is a text; `None` at the end of the connection.
    pub fn next_text_or_end(&mut self) -> Option<String> {
        match self.next() {
            Said::Text(text) => Some(text),
            Said::Closed(_) => None,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Ends the connection as a network that fails.
    pub fn cut(&self) {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// The next message, which is a text.
    pub fn next_text(&mut self) -> String {
        match self.next() {
            Said::Text(text) => text,
            other => panic!("expected a text, got {other:?}"),
        }
    }

    /// Reads to the end, which has to come; what came before it is passed over.
    pub fn until_closed(&mut self) -> Option<u16> {
        loop {
            if let Said::Closed(code) = self.next() {
                return code;
            }
        }
    }
}

/// The value of a key of a flat JSON object in a packet.
pub fn field(packet: &str, key: &str) -> Option<String> {
    let json = &packet[packet.find('{')?..];
    let value: serde_json::Value = serde_json::from_str(json).ok()?;
    Some(value.get(key)?.as_str()?.to_owned())
}
