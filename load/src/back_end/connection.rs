//! One connection of a back end: requests in, answers out when they may leave.
//!
//! Must not know time, nor other connections. Start at [`Connection::read`].

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;
use serde::Deserialize;
use serde_json::value::RawValue;
use wire::http::{BodyDecoder, HeadLimits, Reply, parse_head};

/// Largest event taken.
const EVENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) serial: u64,
    /// Read, and their answers may not leave yet.
    pub(super) requests: usize,
    stream: TcpStream,
    /// Read and not answered: a request that is incomplete.
    held: Vec<u8>,
    /// Answers that the kernel has not taken.
    out: Vec<u8>,
    /// Of these so many bytes may leave.
    released: usize,
}

/// When no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// When there was less than there is room for: what comes then is an event of its own.
    Little,
    /// When the end was seen, which has come.
    End,
}

/// What an answer depends on.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(default, rename = "ackrequested")]
    is_awaited: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, serial: u64) -> Self {
        Self { serial, requests: 0, stream, held: Vec::new(), out: Vec::new(), released: 0 }
    }

    /// Bytes of answers that are here.
    pub(super) fn said(&self) -> usize {
        self.out.len()
    }

    /// Reads what there is, and tells each event; `false` once the connection is over.
    pub(super) fn read(&mut self, until: Until, space: &mut [u8], hear: &mut impl FnMut(&str)) -> bool {
        loop {
            match self.stream.read(space) {
                Ok(0) => return false,
                Ok(read) => {
                    self.held.extend_from_slice(space.get(..read).unwrap_or_default());
                    match answer(&mut self.held, &mut self.out, hear) {
                        Ok(requests) => self.requests += requests,
                        Err(_) => return false,
                    }
                    if read < space.len() && until == Until::Little {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    /// Answers to so many requests, of so many bytes, may leave.
    pub(super) fn release(&mut self, requests: usize, bytes: usize) {
        self.requests -= requests;
        self.released += bytes;
    }

    /// Writes what may leave, as far as it goes; `false` once the connection is over.
    pub(super) fn write(&mut self) -> bool {
        while self.released > 0 {
            match self.stream.write(self.out.get(..self.released).unwrap_or_default()) {
                Ok(written) => {
                    drop(self.out.drain(..written));
                    self.released -= written;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

/// Answers the complete requests at the start of `held` and removes them; how many they were.
fn answer(held: &mut Vec<u8>, out: &mut Vec<u8>, hear: &mut impl FnMut(&str)) -> Result<usize, String> {
    let (mut start, mut requests) = (0, 0);
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
        say(&body, Reply::to(&head), out, hear);
        start += head.len + progress.consumed;
        requests += 1;
    }
    held.drain(..start);
    Ok(requests)
}

fn say(body: &[u8], reply: Reply, out: &mut Vec<u8>, hear: &mut impl FnMut(&str)) {
    let text = std::str::from_utf8(body).ok();
    let event = text.and_then(|text| Some((text, serde_json::from_str(text).ok()?)));
    let Some((text, event)) = event else { return reply.start(out, 400).empty() };
    hear(text);
    match event {
        Event { is_awaited: true, data: Some(data) } => {
            let result = format!("{{\"result\":{data}}}");
            reply.start(out, 200).header("content-type", "application/json").body(result.as_bytes());
        }
        _ => reply.start(out, 204).empty(),
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
        let events = [
            r#"{"type":"trunkline.session.event","ackrequested":true,"data":[ "a" ]}"#,
            r#"{"type":"trunkline.session.connected","data":{}}"#,
        ];
        let whole = [events[0], events[1], "nonsense"].map(request).concat().into_bytes();
        let (mut said, mut out, mut heard) = (Vec::new(), Vec::new(), Vec::new());
        // Byte by byte and at once are the same.
        let mut requests = 0;
        for byte in &whole {
            said.push(*byte);
            requests += answer(&mut said, &mut out, &mut |event| heard.push(event.to_owned())).unwrap();
        }
        assert!(said.is_empty());
        assert_eq!((requests, heard), (3, events.map(str::to_owned).to_vec()), "nonsense is no event");
        let text = String::from_utf8(out.clone()).unwrap();
        let statuses: Vec<_> =
            text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["200", "204", "400"]);
        assert!(text.contains(r#"{"result":[ "a" ]}"#), "{text}");
        let (mut held, mut at_once) = (whole, Vec::new());
        assert_eq!(answer(&mut held, &mut at_once, &mut |_| {}).unwrap(), 3);
        assert_eq!(at_once, out);
    }

    #[test]
    fn what_is_no_request_ends_the_connection() {
        assert!(answer(&mut b"nonsense\r\n\r\n".to_vec(), &mut Vec::new(), &mut |_| {}).is_err());
    }
}
