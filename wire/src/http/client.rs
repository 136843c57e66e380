//! The client's side: writing a request, reading the head of a response.
//!
//! For the load generator, the command line and tests; the server never imports it. The rules for line ends and for
//! the fields that frame a body are those of [`super::head`].

use std::mem::MaybeUninit;

use super::fields::Fields;
use super::head::{BodyLength, HeadError, HeadLimits, body_length, from_httparse, head_len};
use super::response::{push_field, push_number};

/// The most fields of a response.
const HEADERS_CAP: usize = 128;

/// One response head, borrowed from the read buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase; may be empty.
    pub reason: &'a str,
    /// Minor version: 0 or 1 of HTTP/1.x.
    pub minor: u8,
    /// Bytes of the buffer this head took.
    pub len: usize,
    /// What follows. A response to HEAD has no body whatever this says.
    pub body: BodyLength,
    /// Whether the server keeps the connection.
    pub keep_alive: bool,
    /// All header fields.
    pub fields: Fields<'a>,
}

/// Parses the response head at the start of `buf`; `Ok(None)` while it is incomplete.
///
/// # Errors
/// [`HeadError`]; only its text means something on this side.
pub fn parse_response_head<'a>(
    buf: &'a [u8],
    limits: &HeadLimits,
) -> Result<Option<ResponseHead<'a>>, HeadError> {
    let Some(len) = head_len(buf, limits.head_bytes_max)? else { return Ok(None) };
    let text = buf.get(..len).unwrap_or(buf);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAP];
    let slots = slots.get_mut(..limits.headers_max.min(HEADERS_CAP)).unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, text, slots)
        .map_err(from_httparse)?;
    let (Some(status), Some(minor)) = (response.code, response.version) else {
        return Err(HeadError::RequestLine);
    };
    let fields = Fields::from_httparse(response.headers);
    let body = match (status, body_length(&fields, minor)?) {
        (100..200 | 204 | 304, _) => BodyLength::None,
        (_, declared) => declared.unwrap_or(BodyLength::UntilClose),
    };
    let close = fields.list_has("connection", "close") || body == BodyLength::UntilClose;
    let keep_alive = !close && (minor >= 1 || fields.list_has("connection", "keep-alive"));
    Ok(Some(ResponseHead {
        status,
        reason: response.reason.unwrap_or(""),
        minor,
        len,
        body,
        keep_alive,
        fields,
    }))
}

/// A request to write.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, for example `GET`.
    pub method: &'a str,
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Value of `host`.
    pub host: &'a str,
    /// Further fields; those that are no valid fields are left out.
    pub headers: &'a [(&'a str, &'a str)],
    /// Body; `None` writes no `content-length`.
    pub body: Option<&'a [u8]>,
}

/// Appends an HTTP/1.1 request. The caller vouches for method and target: they are written as they are.
pub fn write_request(out: &mut Vec<u8>, request: &Request<'_>) {
    for part in [request.method, " ", request.target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    push_field(out, "host", request.host);
    for (name, value) in request.headers {
        push_field(out, name, value);
    }
    if let Some(body) = request.body {
        out.extend_from_slice(b"content-length: ");
        push_number(out, body.len() as u64);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(request.body.unwrap_or_default());
}
