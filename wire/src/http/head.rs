//! The head of a request: strict, bounded, borrowed from the caller's read buffer.
//!
//! Owns what is accepted as a request (RFC 9112 sections 2 to 6) and the status of each refusal.
//! Must not know routes or sockets. Start at [`parse_head`].
//!
//! `httparse` splits the text; it also accepts forms that other servers read differently (a bare LF as a line end),
//! so line ends are checked first and the fields that decide the length of the body afterwards.

use std::mem::MaybeUninit;

use super::fields::{Fields, trim};
use super::response::Reply;

/// The most fields a head may have, whatever the limits say: their slots are on the stack (32 bytes each).
const HEADERS_CAP: usize = 128;

/// Limits of one request head and of the body it declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of request line and fields together; beyond it 431, or 414 if the request line alone is longer.
    pub head_bytes_max: usize,
    /// Number of fields, at most 128; beyond it 431.
    pub headers_max: usize,
    /// Bytes of the query, without its `?`; beyond it 414.
    pub query_bytes_max: usize,
    /// Bytes of the declared body; beyond it 413. A chunked body is bounded by [`super::BodyDecoder`] instead.
    pub body_bytes_max: u64,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { head_bytes_max: 16 << 10, headers_max: 64, query_bytes_max: 8 << 10, body_bytes_max: 1 << 20 }
    }
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No body.
    None,
    /// This many bytes follow the head.
    Length(u64),
    /// Chunks follow the head.
    Chunked,
    /// Everything up to the end of the connection. Responses only; a request never has it.
    UntilClose,
}

/// One request head, borrowed from the read buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// Method as sent; methods are case-sensitive.
    pub method: &'a str,
    /// Request target as sent: printable ASCII.
    pub target: &'a str,
    /// Path of the target, still percent-encoded; begins with `/`, or is `*` for `OPTIONS *`.
    pub path: &'a str,
    /// Query of the target without `?`, still percent-encoded; empty if there is none.
    pub query: &'a str,
    /// Authority the client meant: of an absolute-form target, else of `Host`; empty only on HTTP/1.0 or `Host:`.
    pub host: &'a str,
    /// Minor version: 0 or 1 of HTTP/1.x.
    pub minor: u8,
    /// Bytes of the buffer this head took, its empty line included.
    pub len: usize,
    /// What follows the head.
    pub body: BodyLength,
    /// Whether the client keeps the connection after the response.
    pub keep_alive: bool,
    /// Whether the client asks for an upgrade to `websocket`; [`crate::websocket::accept`] checks the rest.
    pub websocket: bool,
    /// Whether the client waits for [`super::CONTINUE`] before it sends the body.
    pub expect_continue: bool,
    /// All header fields.
    pub fields: Fields<'a>,
}

impl<'a> Head<'a> {
    /// The first value of the header `name` as text; `None` also when it is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.fields.text(name)
    }
}

/// Why a request head is refused. After any of these the connection must be closed: where the next request would
/// begin is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A line ends in something else than CR LF, or a CR or NUL stands inside a line.
    LineEnd,
    /// The request line is not `method SP target SP version`.
    RequestLine,
    /// A field name or value is malformed, a line is folded, or white space precedes the colon.
    Field,
    /// The target is neither origin-form, absolute-form (http, https) nor `*` with OPTIONS.
    Target,
    /// `Host` is missing (HTTP/1.1), repeated or not an authority.
    Host,
    /// `Content-Length` is repeated, not a plain number, or together with `Transfer-Encoding`.
    ContentLength,
    /// `Transfer-Encoding` does not end in a single `chunked`, is repeated, or came with HTTP/1.0.
    TransferEncoding,
    /// A transfer coding besides `chunked`.
    CodingUnknown,
    /// CONNECT: this is not a proxy.
    Connect,
    /// Not HTTP/1.0 or HTTP/1.1.
    Version,
    /// The request line or the query is longer than the limit.
    TargetTooLong,
    /// The head is longer than the limit, or has too many fields.
    HeadTooLong,
    /// The declared body is longer than the limit.
    BodyTooLong,
}

impl HeadError {
    /// Status code of the refusal.
    pub fn status(self) -> u16 {
        match self {
            Self::LineEnd | Self::RequestLine | Self::Field | Self::Target | Self::Host => 400,
            Self::ContentLength | Self::TransferEncoding => 400,
            Self::BodyTooLong => 413,
            Self::TargetTooLong => 414,
            Self::HeadTooLong => 431,
            Self::CodingUnknown | Self::Connect => 501,
            Self::Version => 505,
        }
    }

    /// One line that tells the client's author what is wrong.
    pub fn text(self) -> &'static str {
        match self {
            Self::LineEnd => "a line does not end in CR LF",
            Self::RequestLine => "malformed request line",
            Self::Field => "malformed header field",
            Self::Target => "malformed request target",
            Self::Host => "exactly one valid Host is required",
            Self::ContentLength => "malformed or ambiguous Content-Length",
            Self::TransferEncoding => "malformed or ambiguous Transfer-Encoding",
            Self::CodingUnknown => "unknown transfer coding",
            Self::Connect => "CONNECT is not supported",
            Self::Version => "only HTTP/1.0 and HTTP/1.1 are supported",
            Self::TargetTooLong => "request target too long",
            Self::HeadTooLong => "request head too large",
            Self::BodyTooLong => "request body too large",
        }
    }

    /// Appends the complete response: status, text as body, `connection: close`.
    pub fn respond(self, out: &mut Vec<u8>) {
        Reply::closing()
            .start(out, self.status())
            .header("content-type", "text/plain")
            .body(self.text().as_bytes());
    }
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for HeadError {}

/// Parses the request head at the start of `buf`. `Ok(None)`: it is incomplete so far and not yet wrong; call again
/// with the same bytes and more. One empty line before the request line is skipped (RFC 9112 section 2.2).
///
/// ```
/// use trunkline_wire::http::{HeadLimits, Reply, parse_head};
///
/// let read = b"GET /health?full=1 HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// let mut write = Vec::new();
/// match parse_head(read, &HeadLimits::default()) {
///     Ok(Some(head)) => Reply::to(&head).start(&mut write, 200).body(head.path.as_bytes()),
///     Ok(None) => {} // Wait for more.
///     Err(error) => error.respond(&mut write),
/// }
/// assert_eq!(write, b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n/health");
/// ```
///
/// # Errors
/// [`HeadError`], as early as the bytes show it; answer with [`HeadError::respond`] and close.
pub fn parse_head<'a>(buf: &'a [u8], limits: &HeadLimits) -> Result<Option<Head<'a>>, HeadError> {
    let len = head_len(buf, limits.head_bytes_max)?;
    let text = len.and_then(|len| buf.get(..len)).unwrap_or(buf);
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAP];
    let slots = slots.get_mut(..limits.headers_max.min(HEADERS_CAP)).unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(text, slots).map_err(from_httparse)?;
    match (len, status, request.method, request.path, request.version) {
        (None, ..) => Ok(None),
        (Some(len), httparse::Status::Complete(_), Some(method), Some(target), Some(minor)) => {
            let fields = Fields::from_httparse(request.headers);
            check_head(Start { method, target, minor, len }, fields, limits).map(Some)
        }
        // The head is complete by its line ends: whatever httparse still waits for cannot come.
        _ => Err(HeadError::RequestLine),
    }
}

/// The request line and the length of its head.
struct Start<'a> {
    method: &'a str,
    target: &'a str,
    minor: u8,
    len: usize,
}

fn check_head<'a>(start: Start<'a>, fields: Fields<'a>, limits: &HeadLimits) -> Result<Head<'a>, HeadError> {
    let Start { method, target, minor, len } = start;
    let Target { path, query, authority } = split_target(method, target)?;
    if query.len() > limits.query_bytes_max {
        return Err(HeadError::TargetTooLong);
    }
    let host = check_host(&fields, minor)?;
    let body = body_length(&fields, minor)?.unwrap_or(BodyLength::None);
    if matches!(body, BodyLength::Length(bytes) if bytes > limits.body_bytes_max) {
        return Err(HeadError::BodyTooLong);
    }
    Ok(Head {
        method,
        target,
        path,
        query,
        host: authority.unwrap_or(host),
        minor,
        len,
        body,
        keep_alive: keep_alive(&fields, minor),
        websocket: fields.list_has("upgrade", "websocket") && fields.list_has("connection", "upgrade"),
        expect_continue: minor >= 1 && fields.list_has("expect", "100-continue"),
        fields,
    })
}

/// Bytes up to and with the empty line, `None` while it has not come. Every line must end in CR LF: a bare LF or CR
/// is where proxies disagree about the start of the next field.
pub(super) fn head_len(buf: &[u8], head_bytes_max: usize) -> Result<Option<usize>, HeadError> {
    let mut line_start = 0;
    loop {
        let rest = buf.get(line_start..).unwrap_or_default();
        let Some(lf) = rest.iter().position(|&byte| byte == b'\n') else {
            check_partial_line(rest)?;
            return if buf.len() < head_bytes_max { Ok(None) } else { Err(too_long(buf, head_bytes_max)) };
        };
        let line = rest.get(..lf).and_then(|line| line.strip_suffix(b"\r")).ok_or(HeadError::LineEnd)?;
        if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(HeadError::LineEnd);
        }
        let leading = line_start == 0;
        line_start += lf + 1;
        if line_start > head_bytes_max {
            return Err(too_long(buf, head_bytes_max));
        }
        if line.is_empty() && !leading {
            return Ok(Some(line_start));
        }
    }
}

/// A line without its LF yet: the only CR may be its last byte.
fn check_partial_line(line: &[u8]) -> Result<(), HeadError> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.iter().any(|byte| matches!(byte, b'\r' | 0)) { Err(HeadError::LineEnd) } else { Ok(()) }
}

fn too_long(buf: &[u8], head_bytes_max: usize) -> HeadError {
    let within = buf.get(..head_bytes_max).unwrap_or(buf);
    if within.contains(&b'\n') { HeadError::HeadTooLong } else { HeadError::TargetTooLong }
}

pub(super) fn from_httparse(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName | httparse::Error::HeaderValue => HeadError::Field,
        httparse::Error::TooManyHeaders => HeadError::HeadTooLong,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::Token | httparse::Error::Status => HeadError::RequestLine,
    }
}

struct Target<'a> {
    path: &'a str,
    query: &'a str,
    authority: Option<&'a str>,
}

/// Splits a target (RFC 9112 section 3.2). A fragment never belongs in a request, raw non-ASCII bytes neither.
fn split_target<'a>(method: &str, target: &'a str) -> Result<Target<'a>, HeadError> {
    if method == "CONNECT" {
        return Err(HeadError::Connect);
    }
    if !target.is_ascii() || target.contains('#') {
        return Err(HeadError::Target);
    }
    if target == "*" && method == "OPTIONS" {
        return Ok(Target { path: target, query: "", authority: None });
    }
    if target.starts_with('/') {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        return Ok(Target { path, query, authority: None });
    }
    split_absolute(target).ok_or(HeadError::Target)
}

fn split_absolute(target: &str) -> Option<Target<'_>> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let (authority, after) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = after.split_once('?').unwrap_or((after, ""));
    let path = if path.is_empty() { "/" } else { path };
    (!authority.is_empty() && is_authority(authority.as_bytes())).then_some(Target {
        path,
        query,
        authority: Some(authority),
    })
}

/// `Host`: exactly one on HTTP/1.1, at most one on HTTP/1.0 (RFC 9112 section 3.2).
fn check_host<'a>(fields: &Fields<'a>, minor: u8) -> Result<&'a str, HeadError> {
    let mut hosts = fields.values("host");
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) if minor == 0 => b"",
        _ => return Err(HeadError::Host),
    };
    if !is_authority(host) {
        return Err(HeadError::Host);
    }
    str::from_utf8(host).map_err(|_| HeadError::Host)
}

/// Characters of `uri-host [":" port]` (RFC 3986 section 3.2.2); user information is never allowed.
fn is_authority(host: &[u8]) -> bool {
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(byte))
}

fn keep_alive(fields: &Fields<'_>, minor: u8) -> bool {
    let close = fields.list_has("connection", "close");
    !close && (minor >= 1 || fields.list_has("connection", "keep-alive"))
}

/// The length the fields declare, `None` if they say nothing. Both fields at once, a repeated field and a list are
/// refused even where RFC 9112 section 6.3 lets a server choose: the choice is what smuggling lives on.
pub(super) fn body_length(fields: &Fields<'_>, minor: u8) -> Result<Option<BodyLength>, HeadError> {
    let mut codings = fields.values("transfer-encoding");
    let mut lengths = fields.values("content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(HeadError::ContentLength),
        (Some(_), None) if minor == 0 || codings.next().is_some() => Err(HeadError::TransferEncoding),
        (Some(coding), None) => check_coding(coding).map(|()| Some(BodyLength::Chunked)),
        (None, Some(_)) if lengths.next().is_some() => Err(HeadError::ContentLength),
        (None, Some(length)) => parse_length(length).map(|bytes| Some(BodyLength::Length(bytes))),
    }
}

/// Accepts `chunked` alone. Another coding before it is a well-formed wish that is not supported (501).
fn check_coding(value: &[u8]) -> Result<(), HeadError> {
    let is_chunked = |coding: &[u8]| trim(coding).eq_ignore_ascii_case(b"chunked");
    let mut codings = value.rsplit(|&byte| byte == b',');
    if !codings.next().is_some_and(is_chunked) {
        return Err(HeadError::TransferEncoding);
    }
    match codings.next() {
        None => Ok(()),
        Some(coding) if is_chunked(coding) || trim(coding).is_empty() => Err(HeadError::TransferEncoding),
        Some(_) => Err(HeadError::CodingUnknown),
    }
}

/// `1*DIGIT`; a number beyond 64 bits is beyond every limit too.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadError::ContentLength);
    }
    value
        .iter()
        .try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(HeadError::BodyTooLong)
}
