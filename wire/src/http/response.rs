//! Responses as bytes appended to the caller's buffer.
//!
//! Owns the status line, persistence and framing fields. Must not know what a response says, nor the time: a caller
//! that wants `date` adds it. Start at [`Reply::to`], then [`Reply::start`].

use super::fields::{is_field_value, is_token};
use super::head::Head;

/// The interim response a client with `expect: 100-continue` waits for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a response must know of its request: three facts, so that it outlives the borrowed [`Head`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    minor: u8,
    keep_alive: bool,
    head_only: bool,
}

impl Reply {
    /// The reply to `head`: its version, its wish to keep the connection, and no body for HEAD.
    pub fn to(head: &Head<'_>) -> Self {
        Self { minor: head.minor, keep_alive: head.keep_alive, head_only: head.method == "HEAD" }
    }

    /// A reply to something that could not be read; the connection ends after it.
    pub fn closing() -> Self {
        Self { minor: 1, keep_alive: false, head_only: false }
    }

    /// The same reply, but the connection ends after it.
    #[must_use]
    pub fn close(self) -> Self {
        Self { keep_alive: false, ..self }
    }

    /// Whether the connection stays open after this reply, unless it is [`ResponseWriter::until_close`].
    pub fn keeps_alive(self) -> bool {
        self.keep_alive
    }

    /// Appends the status line and the `connection` field. Finish with [`ResponseWriter::body`],
    /// [`ResponseWriter::empty`], [`ResponseWriter::chunked`] or [`ResponseWriter::until_close`].
    pub fn start(self, out: &mut Vec<u8>, status: u16) -> ResponseWriter<'_> {
        out.extend_from_slice(b"HTTP/1.1 ");
        push_number(out, u64::from(status));
        out.push(b' ');
        out.extend_from_slice(reason(status).as_bytes());
        out.extend_from_slice(b"\r\n");
        ResponseWriter { out, status, reply: self }
    }
}

/// A response whose fields are being written. Dropped without a finishing call it is an incomplete head.
#[must_use = "finish with body, empty, chunked or until_close"]
#[derive(Debug)]
pub struct ResponseWriter<'o> {
    out: &'o mut Vec<u8>,
    status: u16,
    reply: Reply,
}

impl ResponseWriter<'_> {
    /// Appends one field. A name that is no token or a value with a control character (CR, LF and NUL among them) is
    /// left out, so data of others can never split a response.
    pub fn header(self, name: &str, value: &str) -> Self {
        push_field(self.out, name, value);
        self
    }

    /// Ends the head with `content-length` and appends the body, which HEAD, 204 and 304 leave out.
    pub fn body(self, body: &[u8]) {
        let bodiless = self.bodiless();
        let head_only = self.reply.head_only;
        let out = self.end(if bodiless { Framing::None } else { Framing::Length(body.len()) });
        if !bodiless && !head_only {
            out.extend_from_slice(body);
        }
    }

    /// Ends a response without a body.
    pub fn empty(self) {
        self.body(&[]);
    }

    /// Ends the head of a response whose content follows in pieces by [`write_chunk`]. An HTTP/1.0 client gets the
    /// pieces raw up to the end of the connection: the result says which of the two it is.
    pub fn chunked(self) -> BodyForm {
        if self.reply.minor == 0 {
            self.until_close();
            return BodyForm::UntilClose;
        }
        self.end(Framing::Chunked);
        BodyForm::Chunked
    }

    /// Ends the head of a response whose content is everything up to the end of the connection.
    pub fn until_close(mut self) {
        self.reply.keep_alive = false;
        self.end(Framing::None);
    }

    /// 1xx, 204 and 304 have neither a body nor a length (RFC 9110 section 8.6).
    fn bodiless(&self) -> bool {
        self.status < 200 || matches!(self.status, 204 | 304)
    }
}

/// How the pieces of a streamed response are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// Each piece by [`write_chunk`], the end by [`write_last_chunk`].
    Chunked,
    /// Each piece as it is, the end by closing the connection.
    UntilClose,
}

enum Framing {
    None,
    Length(usize),
    Chunked,
}

impl<'o> ResponseWriter<'o> {
    fn end(self, framing: Framing) -> &'o mut Vec<u8> {
        let Self { out, reply, .. } = self;
        match (reply.minor, reply.keep_alive) {
            (_, false) => push_field(out, "connection", "close"),
            (0, true) => push_field(out, "connection", "keep-alive"),
            (_, true) => {}
        }
        match framing {
            Framing::None => {}
            Framing::Chunked => push_field(out, "transfer-encoding", "chunked"),
            Framing::Length(bytes) => {
                out.extend_from_slice(b"content-length: ");
                push_number(out, bytes as u64);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// Appends `content` as one chunk. An empty content is left out: as a chunk it would end the body.
pub fn write_chunk(out: &mut Vec<u8>, content: &[u8]) {
    use std::io::Write;
    if content.is_empty() {
        return;
    }
    write!(out, "{:x}\r\n", content.len()).expect("writing to a vector cannot fail");
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// Appends the chunk that ends a body.
pub fn write_last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

pub(crate) fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    if !is_token(name) || !is_field_value(value.as_bytes()) {
        return;
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_number(out: &mut Vec<u8>, number: u64) {
    use std::io::Write;
    write!(out, "{number}").expect("writing to a vector cannot fail");
}

/// The reason phrase of a status code (RFC 9110 section 15 and the registry); empty for an unknown one.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
