//! A back end for webhooks that does as little as one can: it shows what a server does, not what a back end costs.
//!
//! Owns one event loop for all its connections. A client's event is answered with its own arguments, everything else with a
//! plain yes; signatures are not looked at. Must not know how many ask, or why. Start at [`BackEnd::bind`].

use std::convert::Infallible;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use serde_json::value::RawValue;
use slab::Slab;
use wire::http::{BodyDecoder, HeadLimits, Reply, parse_head};

use crate::error::Error;

/// The listener; connections have the numbers of their places.
const LISTENER: Token = Token(usize::MAX);

/// Largest event taken.
const EVENT_BYTES_MAX: u64 = 16 << 20;

/// How long those wait for whom there was no file, unless one is closed before.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// One port on which webhooks are answered.
#[derive(Debug)]
pub struct BackEnd {
    poll: Poll,
    listener: TcpListener,
    address: SocketAddr,
    connections: Slab<Connection>,
    space: Vec<u8>,
    /// Connections wait that could not be accepted.
    is_behind: bool,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    /// Read and not answered: a request that is incomplete.
    held: Vec<u8>,
    /// Answers that the kernel has not taken.
    out: Vec<u8>,
}

/// What an answer depends on.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default, rename = "ackrequested")]
    is_awaited: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl BackEnd {
    /// Listens; requests are answered by [`BackEnd::run`].
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(listen: SocketAddr) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io(format!("listening on {listen}"), &error);
        let poll = Poll::new().map_err(failed)?;
        let mut listener = TcpListener::bind(listen).map_err(failed)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (connections, space) = (Slab::new(), vec![0; READ_BYTES]);
        Ok(Self { poll, listener, address, connections, space, is_behind: false })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// The system no longer says what happens on sockets.
    pub fn run(mut self) -> Result<Infallible, Error> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, self.is_behind.then_some(ACCEPT_AGAIN)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    return Err(Error::io("waiting for requests", &error));
                }
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(),
                    Token(place) => self.serve(place),
                }
            }
            if self.is_behind {
                self.accept();
            }
        }
    }

    /// All that wait. The system tells once that some do, so what could not be taken for now is remembered.
    fn accept(&mut self) {
        self.is_behind = false;
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.take(stream),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // There is no place for another file.
                Err(_) => {
                    self.is_behind = true;
                    return;
                }
            }
        }
    }

    fn take(&mut self, mut stream: TcpStream) {
        let entry = self.connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let is_watched = self.poll.registry().register(&mut stream, Token(entry.key()), interest).is_ok();
        if is_watched && stream.set_nodelay(true).is_ok() {
            entry.insert(Connection { stream, held: Vec::new(), out: Vec::new() });
        }
    }

    fn serve(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place) else { return };
        if !connection.serve(&mut self.space) {
            drop(self.connections.remove(place));
        }
    }
}

impl Connection {
    /// Reads, answers and writes as far as it goes; `false` once the connection is over.
    fn serve(&mut self, space: &mut [u8]) -> bool {
        loop {
            match self.stream.read(space) {
                Ok(0) => return false,
                Ok(read) => {
                    self.held.extend_from_slice(space.get(..read).unwrap_or_default());
                    if answer(&mut self.held, &mut self.out).is_err() {
                        return false;
                    }
                    if read < space.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        while !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// Answers the complete requests at the start of `held` and removes them.
fn answer(held: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), String> {
    let mut start = 0;
    loop {
        let rest = held.get(start..).unwrap_or_default();
        let head = parse_head(rest, &HeadLimits::default()).map_err(|error| error.text().to_owned())?;
        let Some(head) = head else { break };
        let mut body = Vec::new();
        let decoder = BodyDecoder::new(head.body, EVENT_BYTES_MAX);
        let mut decoder = decoder.map_err(|error| error.text().to_owned())?;
        let content = rest.get(head.len..).unwrap_or_default();
        let progress = decoder.decode(content, &mut body).map_err(|error| error.text().to_owned())?;
        if !progress.done {
            break;
        }
        say(&body, Reply::to(&head), out);
        start += head.len + progress.consumed;
    }
    held.drain(..start);
    Ok(())
}

fn say(body: &[u8], reply: Reply, out: &mut Vec<u8>) {
    let event = serde_json::from_slice(body);
    match event {
        Ok(Event { is_awaited: true, data: Some(data) }) => {
            let result = format!("{{\"result\":{data}}}");
            reply.start(out, 200).header("content-type", "application/json").body(result.as_bytes());
        }
        Ok(_) => reply.start(out, 204).empty(),
        Err(_) => reply.start(out, 400).empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_answered_with_its_arguments_and_everything_else_with_yes() {
        let request = |body: &str| {
            format!("POST /hook HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let mut held = request(r#"{"type":"trunkline.session.event","ackrequested":true,"data":[ "a" ]}"#);
        held += &request(r#"{"type":"trunkline.session.connected","data":{}}"#);
        held += &request("nonsense");
        let whole = held.clone().into_bytes();
        let (mut said, mut out) = (Vec::new(), Vec::new());
        // Byte by byte and at once are the same.
        for byte in &whole {
            said.push(*byte);
            answer(&mut said, &mut out).unwrap();
        }
        assert!(said.is_empty());
        let text = String::from_utf8(out.clone()).unwrap();
        let statuses: Vec<_> =
            text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "204", "400"]);
        assert!(text.contains(r#"{"result":[ "a" ]}"#), "{text}");
        let (mut held, mut at_once) = (whole, Vec::new());
        answer(&mut held, &mut at_once).unwrap();
        assert_eq!(at_once, out);
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        assert!(answer(&mut b"nonsense\r\n\r\n".to_vec(), &mut Vec::new()).is_err());
    }
}
