//! A Socket.IO client that polls, and that has no connection between two polls.
//!
//! Owns the requests of the handshake, of a heartbeat and of leaving. Start at [`Polling::received`].
//!
//! Real clients poll all the time; here the interesting cost is that of a session nobody is connected to. So a client
//! rests after its handshake and comes back only to fetch the server's ping and answer it.

use wire::engineio::{Handshake, Packet, Packets, PayloadForm};
use wire::http::{Request, write_request};

use super::{Next, Script, Sink, Took};
use crate::http::answer;
use crate::message::Marker;
use crate::target::Target;

/// Most packets of one answer.
const PACKETS_MAX: usize = 100_000;

/// How long after the ping was due a client fetches it.
const AFTER_PING_MS: u64 = 1000;

/// One client.
///
/// ```text
/// Opening ──GET "0{..}"──> Namespace ──POST "40", GET "40{..}"──> (with a join: Room ──POST, GET "43..[..]"──>) Resting
/// Resting ──when due: GET "2", POST "3"──> Resting ──at the end: POST "1"──> gone
/// ```
#[derive(Debug)]
pub(crate) struct Polling {
    /// Path and host of the server, known with the first connection.
    target: Option<Box<Target>>,
    sid: Box<str>,
    ping_interval_ms: u32,
    index: u32,
    phase: Phase,
    asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Namespace,
    Room,
    Resting,
    Leaving,
}

/// The request whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Get,
    Post,
}

impl Polling {
    /// Client `index`.
    pub(crate) fn new(index: u32) -> Self {
        let (phase, asked) = (Phase::Opening, Asked::Get);
        Self { target: None, sid: "".into(), ping_interval_ms: 0, index, phase, asked }
    }

    /// See [`super::Session::connected`].
    pub(crate) fn connected(&mut self, target: &Target, out: &mut Vec<u8>) {
        if self.target.is_none() {
            self.target = Some(Box::new(target.clone()));
        }
        match self.phase {
            Phase::Leaving => self.ask(Some(b"1"), out),
            _ => self.ask(None, out),
        }
    }

    /// See [`super::Session::phase`].
    pub(crate) fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Opening => "the first poll",
            Phase::Namespace => "the packet that enters the namespace",
            Phase::Room => "the event that joins",
            Phase::Resting => "a poll for the ping",
            Phase::Leaving => "the goodbye",
        }
    }

    /// See [`super::Session::begin_leaving`].
    pub(crate) fn begin_leaving(&mut self) -> bool {
        let resting = self.phase == Phase::Resting;
        if resting {
            self.phase = Phase::Leaving;
        }
        resting
    }

    /// See [`super::Session::rest_ms`].
    pub(crate) fn rest_ms(&self) -> Option<u64> {
        (self.phase == Phase::Resting).then_some(u64::from(self.ping_interval_ms) + AFTER_PING_MS)
    }

    /// See [`super::Session::received`].
    pub(crate) fn received(
        &mut self,
        script: &Script,
        buf: &[u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Took, String> {
        let Some((consumed, status, body)) = answer(buf)? else {
            return Ok(Took { consumed: 0, next: Next::Continue });
        };
        if status != 200 {
            let body = String::from_utf8_lossy(&body);
            return Err(format!("{:?} in {:?} answered with {status}: {body:.200}", self.asked, self.phase));
        }
        let next = match (self.asked, self.phase) {
            (Asked::Post, Phase::Leaving) => Next::Finish,
            (Asked::Post, Phase::Resting) => Next::Rest,
            (Asked::Post, _) => {
                self.ask(None, out);
                Next::Continue
            }
            (Asked::Get, _) => self.polled(script, &body, out, sink)?,
        };
        Ok(Took { consumed, next })
    }

    /// Deals with the packets of a poll and decides on the next request.
    fn polled(
        &mut self,
        script: &Script,
        body: &[u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Next, String> {
        let mut reply = Vec::new();
        let packets = Packets::new(PayloadForm::V4, body, PACKETS_MAX).map_err(|error| error.to_string())?;
        for packet in packets {
            match packet.map_err(|error| error.to_string())? {
                Packet::Open(json) => {
                    let open = Handshake::parse(json).map_err(|error| error.to_string())?;
                    self.sid = open.sid.into();
                    self.ping_interval_ms = u32::try_from(open.ping_interval_ms).unwrap_or(u32::MAX);
                    self.phase = Phase::Namespace;
                    push(&mut reply, &script.connect_packet(self.index, None));
                }
                Packet::Ping(_) => push(&mut reply, b"3"),
                Packet::Text(message) => self.message(script, message, &mut reply, sink)?,
                Packet::Noop => {}
                other => return Err(format!("unexpected packet {other:?} in {:?}", self.phase)),
            }
        }
        if !reply.is_empty() {
            self.ask(Some(&reply), out);
            return Ok(Next::Continue);
        }
        if self.phase == Phase::Resting {
            return Ok(Next::Rest);
        }
        self.ask(None, out);
        Ok(Next::Continue)
    }

    fn message(
        &mut self,
        script: &Script,
        message: &str,
        reply: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<(), String> {
        match (self.phase, message.as_bytes().first()) {
            (Phase::Namespace, Some(b'0')) => match script.join_packet(self.index) {
                Some(join) => {
                    self.phase = Phase::Room;
                    push(reply, &join);
                }
                None => self.ready(sink),
            },
            (Phase::Room, Some(b'3')) => self.ready(sink),
            (_, Some(b'2')) => sink.message(Marker::find(message.as_bytes())),
            _ => return Err(format!("not let in: 4{message:.200}")),
        }
        Ok(())
    }

    fn ready(&mut self, sink: &mut impl Sink) {
        self.phase = Phase::Resting;
        sink.ready();
    }

    fn ask(&mut self, body: Option<&[u8]>, out: &mut Vec<u8>) {
        let Some(target) = &self.target else { return };
        let path = if target.path.is_empty() { "/socket.io/" } else { &target.path };
        let mut at = format!("{path}?EIO=4&transport=polling");
        if !self.sid.is_empty() {
            at.push_str("&sid=");
            at.push_str(&self.sid);
        }
        self.asked = if body.is_some() { Asked::Post } else { Asked::Get };
        let (method, headers): (_, &[_]) = match self.asked {
            Asked::Get => ("GET", &[]),
            Asked::Post => ("POST", &[("content-type", "text/plain;charset=UTF-8")]),
        };
        write_request(out, &Request { method, target: &at, host: &target.host, headers, body });
    }
}

/// Joins packets of one body.
fn push(body: &mut Vec<u8>, packet: &[u8]) {
    if !body.is_empty() {
        body.push(0x1e);
    }
    body.extend_from_slice(packet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Join, Protocol};
    use wire::http::{Head, HeadLimits, parse_head};

    #[derive(Default)]
    struct Seen {
        ready: u32,
        messages: u32,
    }

    impl Sink for Seen {
        fn ready(&mut self) {
            self.ready += 1;
        }
        fn message(&mut self, _marker: Option<Marker>) {
            self.messages += 1;
        }
        fn ack(&mut self) {}
    }

    fn http(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    /// The request a client wrote: method, query, body.
    fn asked(out: &mut Vec<u8>) -> (String, String, String) {
        let bytes = std::mem::take(out);
        let head: Head<'_> = parse_head(&bytes, &HeadLimits::default()).unwrap().unwrap();
        let body = String::from_utf8(bytes[head.len..].to_vec()).unwrap();
        (head.method.to_owned(), head.query.to_owned(), body)
    }

    #[test]
    fn a_client_joins_rests_beats_and_leaves() {
        let join = Some(Join { event: "join".into(), room: "r".into() });
        let script = Script::new(Protocol::SocketIoPoll, join);
        let target: Target = "http://127.0.0.1:9".parse().unwrap();
        let (mut client, mut out, mut seen) = (Polling::new(0), Vec::new(), Seen::default());
        let mut step = |client: &mut Polling, out: &mut Vec<u8>, body: &str| {
            let answer = http(body);
            let part = client.received(&script, &answer[..answer.len() - 1], out, &mut seen).unwrap();
            assert_eq!(part.consumed, 0, "an incomplete answer is left alone");
            let took = client.received(&script, &answer, out, &mut seen).unwrap();
            assert_eq!(took.consumed, answer.len());
            took.next
        };
        client.connected(&target, &mut out);
        assert_eq!(asked(&mut out), ("GET".into(), "EIO=4&transport=polling".into(), "".into()));
        let open = r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
        step(&mut client, &mut out, open);
        let with_sid = "EIO=4&transport=polling&sid=abc";
        assert_eq!(asked(&mut out), ("POST".into(), with_sid.into(), "40".into()));
        step(&mut client, &mut out, "ok");
        assert_eq!(asked(&mut out), ("GET".into(), with_sid.into(), "".into()));
        step(&mut client, &mut out, "40{\"sid\":\"x\"}");
        assert_eq!(asked(&mut out).2, "420[\"join\",\"r\"]");
        step(&mut client, &mut out, "ok");
        asked(&mut out);
        assert_eq!(step(&mut client, &mut out, "42[\"welcome\"]\u{1e}430[]"), Next::Rest);
        assert!(out.is_empty());
        assert_eq!(client.rest_ms(), Some(26_000));

        client.connected(&target, &mut out);
        assert_eq!(asked(&mut out).0, "GET");
        step(&mut client, &mut out, "2");
        assert_eq!(asked(&mut out), ("POST".into(), with_sid.into(), "3".into()));
        assert_eq!(step(&mut client, &mut out, "ok"), Next::Rest);

        assert!(client.begin_leaving());
        client.connected(&target, &mut out);
        assert_eq!(asked(&mut out), ("POST".into(), with_sid.into(), "1".into()));
        assert_eq!(step(&mut client, &mut out, "ok"), Next::Finish);
        assert_eq!((seen.ready, seen.messages), (1, 1));
    }

    #[test]
    fn refusals_are_told() {
        let script = Script::new(Protocol::SocketIoPoll, None);
        let refused = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}";
        let mut client = Polling::new(0);
        let error = client.received(&script, refused, &mut Vec::new(), &mut Seen::default()).unwrap_err();
        assert_eq!(error, "Get in Opening answered with 400: {}");
    }
}
