//! A client whose request is answered on and on: server-sent events, or lines of JSON.
//!
//! Owns what is a message in either. It is ready with the head of the answer. Start at [`Streaming::received`].

use wire::http::{BodyDecoder, BodyLength, HeadLimits, Request, parse_response_head, write_request};

use super::{Next, Script, Sink, Took};
use crate::message::Marker;
use crate::target::Target;

/// All that one answer may have.
const BODY_BYTES_MAX: u64 = u64::MAX;

/// How messages are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// An empty line is behind each; those with data count.
    Events,
    /// A line is one; those that name a channel count, or all if none does.
    Objects,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Streaming {
    index: u32,
    lines: Lines,
    /// Of the answer, once its head has come.
    body: Option<BodyDecoder>,
    /// The beginning of a message.
    rest: Vec<u8>,
}

impl Streaming {
    /// Client `index`.
    pub(crate) fn new(index: u32, lines: Lines) -> Self {
        Self { index, lines, body: None, rest: Vec::new() }
    }

    /// See [`super::Session::phase`].
    pub(crate) fn phase(&self) -> &'static str {
        "the request"
    }

    /// See [`super::Session::connected`].
    pub(crate) fn connected(&mut self, script: &Script, target: &Target, out: &mut Vec<u8>) {
        (self.body, self.rest) = (None, Vec::new());
        let (path, accept) = match self.lines {
            Lines::Events => ("/sse", "text/event-stream"),
            Lines::Objects => ("/ndjson", "application/x-ndjson"),
        };
        let at = script.stream_path(target, (path, self.index));
        let headers = &[("accept", accept)];
        write_request(out, &Request { method: "GET", target: &at, host: &target.host, headers, body: None });
    }

    /// See [`super::Session::received`].
    pub(crate) fn received(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<Took, String> {
        let mut consumed = 0;
        if self.body.is_none() {
            let head = parse_response_head(buf, &HeadLimits::default()).map_err(|error| error.to_string())?;
            let Some(head) = head else { return Ok(Took { consumed: 0, next: Next::Continue }) };
            if head.status != 200 {
                return Err(format!("the request was answered with {}", head.status));
            }
            let framed = match head.body {
                BodyLength::UntilClose | BodyLength::Chunked => head.body,
                BodyLength::None | BodyLength::Length(_) => return Err("the answer does not go on".into()),
            };
            self.body = Some(BodyDecoder::new(framed, BODY_BYTES_MAX).map_err(|error| error.to_string())?);
            consumed = head.len;
            sink.ready();
        }
        let Some(body) = &mut self.body else { return Ok(Took { consumed, next: Next::Continue }) };
        let fresh = buf.get(consumed..).unwrap_or_default();
        let progress = body.decode(fresh, &mut self.rest).map_err(|error| error.to_string())?;
        self.tell(sink);
        if progress.done {
            return Err("the answer has ended".into());
        }
        Ok(Took { consumed: consumed + progress.consumed, next: Next::Continue })
    }

    /// Tells of every whole message.
    fn tell(&mut self, sink: &mut impl Sink) {
        let end: &[u8] = match self.lines {
            Lines::Events => b"\n\n",
            Lines::Objects => b"\n",
        };
        let mut used = 0;
        while let Some(rest) = self.rest.get(used..)
            && let Some(length) = rest.windows(end.len()).position(|window| window == end)
        {
            let message = rest.get(..length).unwrap_or_default();
            if self.lines.is_message(message) {
                sink.message(Marker::find(message));
            }
            used += length + end.len();
        }
        self.rest.drain(..used);
        if self.rest.is_empty() {
            self.rest = Vec::new();
        }
    }
}

impl Lines {
    fn is_message(self, text: &[u8]) -> bool {
        let mut lines = text.split(|byte| *byte == b'\n');
        match self {
            Self::Events => {
                let is_notice = text.starts_with(b"event: trunkline\n")
                    || text.windows(18).any(|window| window == b"\nevent: trunkline\n");
                !is_notice && lines.any(|line| line.starts_with(b"data:"))
            }
            // A sign of life, or what the server says of the stream.
            Self::Objects => !text.is_empty() && text.windows(10).any(|window| window == b"\"channel\":"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Join, Protocol};

    #[derive(Default)]
    struct Seen {
        ready: u32,
        numbers: Vec<Option<u32>>,
    }

    impl Sink for Seen {
        fn ready(&mut self) {
            self.ready += 1;
        }
        fn message(&mut self, marker: Option<Marker>) {
            self.numbers.push(marker.map(|marker| marker.number));
        }
        fn ack(&mut self) {}
    }

    fn chunk(text: &str) -> String {
        format!("{:x}\r\n{text}\r\n", text.len())
    }

    #[test]
    fn messages_are_told_whatever_pieces_they_come_in() {
        let data = Marker { number: 7, due_ns: 0 }.data(30);
        let notice = "event: trunkline\ndata: {\"position\":\"1-1\"}\n\n";
        let events = [
            chunk("retry: 2000\n\n"),
            chunk(&format!("id: 1-1\n{notice}")),
            chunk(&format!("id: 1-2\nevent: say\ndata: {data}\n\n:\n")),
            chunk("\n"),
            chunk(&format!("data: {data}\n\ndata: x\n\n")),
        ];
        let objects = [
            chunk("{\"position\":\"1-1\"}\n{}\n"),
            chunk(&format!("{{\"position\":\"1-2\",\"channel\":\"c\",\"data\":\"{data}\"}}\n{{\"channel\":")),
            chunk(&format!("\"c\",\"data\":\"{data}\"}}\n{{\"channel\":\"c\",\"data\":\"x\"}}\n")),
        ];
        for (lines, chunks) in [(Lines::Events, events.concat()), (Lines::Objects, objects.concat())] {
            let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
            for size in [1, 3, 7, 1000] {
                let (mut client, mut seen, mut buf) = (Streaming::new(0, lines), Seen::default(), Vec::new());
                for piece in answer.as_bytes().chunks(size) {
                    buf.extend_from_slice(piece);
                    let took = client.received(&buf, &mut seen).unwrap();
                    buf.drain(..took.consumed);
                }
                assert_eq!((seen.ready, seen.numbers), (1, vec![Some(7), Some(7), None]), "{lines:?} {size}");
                assert_eq!(client.rest.capacity(), 0, "an idle client holds nothing");
            }
        }
    }

    #[test]
    fn a_client_asks_for_its_channel() {
        let script = Script::new(Protocol::Sse, Some(Join::to_filter("comet/%{i}")));
        let (mut client, mut out) = (Streaming::new(7, Lines::Events), Vec::new());
        client.connected(&script, &"http://127.0.0.1:9".parse().unwrap(), &mut out);
        assert!(out.starts_with(b"GET /sse?channel=comet%2F7 HTTP/1.1\r\n"));
        out.clear();
        client.connected(&script, &"http://127.0.0.1:9/sub/%{i}".parse().unwrap(), &mut out);
        assert!(out.starts_with(b"GET /sub/7 HTTP/1.1\r\n"));
        let refused = client.received(b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n", &mut Seen::default());
        assert_eq!(refused.unwrap_err(), "the request was answered with 503");
    }
}
