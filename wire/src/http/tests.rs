//! Golden vectors, the table of refused requests, and properties.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

fn limits() -> HeadLimits {
    HeadLimits { head_bytes_max: 2048, headers_max: 8, query_bytes_max: 100, body_bytes_max: 1000 }
}

/// The head of a complete request.
fn head(request: &str) -> Result<Head<'_>, HeadError> {
    parse_head(request.as_bytes(), &limits()).map(|head| head.expect("complete"))
}

#[test]
fn a_plain_request() {
    let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a.example:8000\r\n\
        accept: */*\r\nX-Many: a\t, b,,\t\r\nx-many:  c \r\nEmpty:\r\n\r\nnext";
    let head = head(request).expect("valid");
    assert_eq!(
        (head.method, head.path, head.query, head.host),
        ("GET", "/socket.io/", "EIO=4&transport=polling", "a.example:8000")
    );
    assert_eq!(head.target, "/socket.io/?EIO=4&transport=polling");
    assert_eq!((head.minor, head.len, head.body), (1, request.len() - 4, BodyLength::None));
    assert!(head.keep_alive && !head.websocket && !head.expect_continue);
    assert_eq!(head.header("ACCEPT"), Some("*/*"));
    assert_eq!(head.header("empty"), Some(""));
    assert_eq!(head.header("none"), None);
    assert_eq!(head.fields.values("X-MANY").collect::<Vec<_>>(), [&b"a\t, b,,"[..], b"c"]);
    assert_eq!(head.fields.list("x-many").collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    assert_eq!(head.fields.iter().count(), 5);
}

#[test]
fn persistence_by_version_and_connection() {
    let cases = [
        ("1.1", "x: y", true),
        ("1.1", "connection: close", false),
        ("1.1", "Connection: Keep-Alive, CLOSE", false),
        ("1.1", "connection: x\r\nconnection: close", false),
        ("1.0", "x: y", false),
        ("1.0", "connection: keep-alive", true),
        ("1.0", "connection: keep-alive, close", false),
    ];
    for (version, field, keep_alive) in cases {
        let request = format!("GET / HTTP/{version}\r\nhost: a\r\n{field}\r\n\r\n");
        assert_eq!(head(&request).expect("valid").keep_alive, keep_alive, "{version} {field}");
    }
}

#[test]
fn forms_of_the_target() {
    let cases = [
        ("GET", "/", ("/", "", "h")),
        ("GET", "/a?b?c", ("/a", "b?c", "h")),
        ("GET", "/?", ("/", "", "h")),
        ("GET", "//a//b", ("//a//b", "", "h")),
        ("GET", "http://other:1/p?q", ("/p", "q", "other:1")),
        ("GET", "HTTPS://other", ("/", "", "other")),
        ("GET", "http://other?q", ("/", "q", "other")),
        ("GET", "http://[::1]:80/", ("/", "", "[::1]:80")),
        ("OPTIONS", "*", ("*", "", "h")),
    ];
    for (method, target, expected) in cases {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let head = head(&request).expect(target);
        assert_eq!((head.path, head.query, head.host), expected, "{target}");
    }
    let cases = [
        ("GET", "a", HeadError::Target),
        ("GET", "*", HeadError::Target),
        ("GET", "?a", HeadError::Target),
        ("GET", "/a#b", HeadError::Target),
        ("GET", "/\u{e9}", HeadError::Target),
        ("GET", "ftp://h/", HeadError::Target),
        ("GET", "http://", HeadError::Target),
        ("GET", "http:///p", HeadError::Target),
        ("GET", "http://user@h/", HeadError::Target),
        ("GET", "h:80", HeadError::Target),
        ("CONNECT", "h:80", HeadError::Connect),
        ("GET", "/a b", HeadError::Version),
        ("GET", "/a\u{7f}", HeadError::RequestLine),
    ];
    for (method, target, error) in cases {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(head(&request), Err(error), "{target}");
    }
}

#[test]
fn bodies_are_declared_in_one_way_only() {
    let cases = [
        ("content-length: 0", BodyLength::Length(0)),
        ("content-length: 0005", BodyLength::Length(5)),
        ("content-length:\t1000\t", BodyLength::Length(1000)),
        ("transfer-encoding: chunked", BodyLength::Chunked),
        ("Transfer-Encoding:  Chunked \t", BodyLength::Chunked),
    ];
    for (field, body) in cases {
        let request = format!("POST / HTTP/1.1\r\nhost: h\r\n{field}\r\n\r\n");
        assert_eq!(head(&request).expect(field).body, body, "{field}");
    }
}

/// Requests two servers could read differently, or that are simply wrong: the fields after `Host`, and the refusal.
const REFUSED_FIELDS: &[(&str, HeadError)] = &[
    ("content-length: 5\r\ntransfer-encoding: chunked", HeadError::ContentLength),
    ("transfer-encoding: chunked\r\ncontent-length: 0", HeadError::ContentLength),
    ("content-length: 5\r\ncontent-length: 6", HeadError::ContentLength),
    ("content-length: 5\r\nContent-Length: 5", HeadError::ContentLength),
    ("content-length: 5, 5", HeadError::ContentLength),
    ("content-length: 5, 6", HeadError::ContentLength),
    ("content-length: 5,", HeadError::ContentLength),
    ("content-length: +5", HeadError::ContentLength),
    ("content-length: -5", HeadError::ContentLength),
    ("content-length: 0x5", HeadError::ContentLength),
    ("content-length: 5 5", HeadError::ContentLength),
    ("content-length: 5_0", HeadError::ContentLength),
    ("content-length: 5.0", HeadError::ContentLength),
    ("content-length:", HeadError::ContentLength),
    ("content-length: \"5\"", HeadError::ContentLength),
    ("content-length: \u{665}", HeadError::ContentLength),
    ("content-length: 1001", HeadError::BodyTooLong),
    ("content-length: 18446744073709551616", HeadError::BodyTooLong),
    ("content-length: 99999999999999999999999999", HeadError::BodyTooLong),
    ("transfer-encoding: identity", HeadError::TransferEncoding),
    ("transfer-encoding: xchunked", HeadError::TransferEncoding),
    ("transfer-encoding: chunked, identity", HeadError::TransferEncoding),
    ("transfer-encoding: chunked, chunked", HeadError::TransferEncoding),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", HeadError::TransferEncoding),
    ("transfer-encoding: chunked\r\ntransfer-encoding: x", HeadError::TransferEncoding),
    ("transfer-encoding: chunked;q=1", HeadError::TransferEncoding),
    ("transfer-encoding: \"chunked\"", HeadError::TransferEncoding),
    ("transfer-encoding:", HeadError::TransferEncoding),
    ("transfer-encoding: ,chunked", HeadError::TransferEncoding),
    ("transfer-encoding: chunked,", HeadError::TransferEncoding),
    ("transfer-encoding: \u{b}chunked", HeadError::Field),
    ("transfer-encoding: gzip, chunked", HeadError::CodingUnknown),
    ("transfer-encoding : chunked", HeadError::Field),
    ("transfer-encoding\t: chunked", HeadError::Field),
    (" transfer-encoding: chunked", HeadError::Field),
    ("x: a\r\n folded", HeadError::Field),
    ("x: a\r\n\tfolded", HeadError::Field),
    ("x y: a", HeadError::Field),
    (": a", HeadError::Field),
    ("no colon", HeadError::Field),
    ("x\u{e9}: a", HeadError::Field),
    ("x: a\u{7f}", HeadError::Field),
    ("x: a\ny: b", HeadError::LineEnd),
    ("x: a\n\r\n", HeadError::LineEnd),
    ("x: a\ry: b", HeadError::LineEnd),
    ("x: a\r\r\n", HeadError::LineEnd),
    ("x: a\0b", HeadError::LineEnd),
    ("x\0: a", HeadError::LineEnd),
    ("host: h", HeadError::Host),
    ("Host: other", HeadError::Host),
];

#[test]
fn ambiguous_fields_are_refused() {
    for &(fields, error) in REFUSED_FIELDS {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
        assert_eq!(head(&request), Err(error), "{fields:?}");
    }
}

#[test]
fn request_lines_and_hosts_that_are_refused() {
    let cases: &[(&str, HeadError)] = &[
        ("GET / HTTP/1.1\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.1\r\nhost: a,b\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n", HeadError::Host),
        ("GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n", HeadError::TransferEncoding),
        ("GET / HTTP/1.1\nhost: a\r\n\r\n", HeadError::LineEnd),
        ("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", HeadError::LineEnd),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", HeadError::Version),
        ("PRI * HTTP/2.0\r\n\r\n", HeadError::Version),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", HeadError::Version),
        ("GET / http/1.1\r\nhost: a\r\n\r\n", HeadError::Version),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", HeadError::RequestLine),
        ("GET /\r\n\r\n", HeadError::RequestLine),
        (" GET / HTTP/1.1\r\nhost: a\r\n\r\n", HeadError::RequestLine),
        ("G(T / HTTP/1.1\r\nhost: a\r\n\r\n", HeadError::RequestLine),
        ("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", HeadError::RequestLine),
        ("\x16\x03\x01\x02", HeadError::RequestLine),
    ];
    for (request, error) in cases {
        assert_eq!(parse_head(request.as_bytes(), &limits()), Err(*error), "{request:?}");
    }
    assert!(
        head("\r\nGET / HTTP/1.0\r\n\r\n").is_ok(),
        "one empty line before a request, no Host on HTTP/1.0"
    );
    assert!(head("GET / HTTP/1.1\r\nhost:\r\n\r\n").is_ok(), "an empty Host is a Host");
}

#[test]
fn limits_of_a_head() {
    let fits = format!("GET / HTTP/1.1\r\nhost: h\r\nx: {}\r\n\r\n", "a".repeat(2048 - 32));
    assert_eq!(fits.len(), 2048);
    assert!(head(&fits).is_ok());
    let longer = fits.replace("x: ", "x: a");
    assert_eq!(head(&longer), Err(HeadError::HeadTooLong));
    assert_eq!(parse_head(&longer.as_bytes()[..2048], &limits()), Err(HeadError::HeadTooLong));
    assert_eq!(parse_head(&longer.as_bytes()[..2047], &limits()), Ok(None));
    let line = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(2048));
    assert_eq!(head(&line), Err(HeadError::TargetTooLong));
    assert_eq!(parse_head(&line.as_bytes()[..2048], &limits()), Err(HeadError::TargetTooLong));
    let query = |bytes: usize| format!("GET /?{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(bytes));
    assert!(head(&query(100)).is_ok());
    assert_eq!(head(&query(101)), Err(HeadError::TargetTooLong));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nhost: h\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    assert!(head(&fields(8)).is_ok());
    assert_eq!(head(&fields(9)), Err(HeadError::HeadTooLong));
    let wide = HeadLimits { headers_max: 1000, ..HeadLimits::default() };
    assert!(matches!(parse_head(fields(128).as_bytes(), &wide), Ok(Some(_))));
    assert_eq!(parse_head(fields(129).as_bytes(), &wide), Err(HeadError::HeadTooLong));
}

#[test]
fn upgrade_and_expect() {
    let request = |fields: &str| format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n\r\n");
    assert!(
        head(&request("upgrade: WebSocket\r\nconnection: keep-alive, Upgrade")).expect("valid").websocket
    );
    assert!(!head(&request("upgrade: websocket")).expect("valid").websocket);
    assert!(!head(&request("upgrade: websocket2\r\nconnection: upgrade")).expect("valid").websocket);
    assert!(head(&request("expect: 100-Continue")).expect("valid").expect_continue);
    assert!(!head("GET / HTTP/1.0\r\nexpect: 100-continue\r\n\r\n").expect("valid").expect_continue);
}

#[test]
fn each_refusal_has_a_status_and_a_response() {
    let cases = [
        (HeadError::Host, 400),
        (HeadError::BodyTooLong, 413),
        (HeadError::TargetTooLong, 414),
        (HeadError::HeadTooLong, 431),
        (HeadError::CodingUnknown, 501),
        (HeadError::Version, 505),
    ];
    for (error, status) in cases {
        let mut out = Vec::new();
        error.respond(&mut out);
        let response = parse_response_head(&out, &HeadLimits::default()).expect("valid").expect("complete");
        assert_eq!((response.status, response.reason), (status, reason(status)));
        assert_eq!(&out[response.len..], error.text().as_bytes());
        assert_eq!(response.body, BodyLength::Length(error.text().len() as u64));
        assert!(!response.keep_alive);
    }
}

/// Feeds the pieces one after the other; the content, what is left over, and how it ended.
fn decode(length: BodyLength, max: u64, pieces: &[&[u8]]) -> (Vec<u8>, Vec<u8>, Result<bool, BodyError>) {
    let mut decoder = match BodyDecoder::new(length, max) {
        Ok(decoder) => decoder,
        Err(error) => return (Vec::new(), Vec::new(), Err(error)),
    };
    let (mut out, mut rest) = (Vec::new(), Vec::new());
    for piece in pieces {
        match decoder.decode(piece, &mut out) {
            Ok(progress) => {
                assert_eq!(progress.done, decoder.is_done());
                assert!(
                    progress.done || progress.consumed == piece.len(),
                    "every byte is taken until the end"
                );
                rest.extend_from_slice(&piece[progress.consumed..]);
            }
            Err(error) => return (out, rest, Err(error)),
        }
    }
    (out, rest, Ok(decoder.is_done()))
}

fn chunked(bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Result<bool, BodyError>) {
    decode(BodyLength::Chunked, 1000, &[bytes])
}

#[test]
fn bodies_by_length() {
    let whole = (b"hello".to_vec(), b"GET".to_vec(), Ok(true));
    assert_eq!(decode(BodyLength::Length(5), 5, &[b"helloGET"]), whole);
    assert_eq!(decode(BodyLength::Length(5), 5, &[b"he", b"", b"llo", b"GET"]), whole);
    assert_eq!(decode(BodyLength::Length(5), 5, &[b"he"]).2, Ok(false));
    assert_eq!(decode(BodyLength::Length(6), 5, &[]).2, Err(BodyError::TooLarge));
    assert_eq!(decode(BodyLength::None, 0, &[b"GET"]), (vec![], b"GET".to_vec(), Ok(true)));
    assert_eq!(decode(BodyLength::UntilClose, 5, &[b"hel", b"lo"]), (b"hello".to_vec(), vec![], Ok(false)));
    assert_eq!(decode(BodyLength::UntilClose, 5, &[b"hel", b"lo!"]).2, Err(BodyError::TooLarge));
}

#[test]
fn chunked_bodies_of_rfc_9112() {
    let cases: &[(&[u8], &[u8])] = &[
        (b"0\r\n\r\n", b""),
        (b"4\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n", b"Wikipedia"),
        (b"4;name\r\nWiki\r\n5;name=value;other=\"a;b\"\r\npedia\r\n0;last\r\n\r\n", b"Wikipedia"),
        (b"A\r\n0123456789\r\n00a\r\n0123456789\r\n000\r\n\r\n", b"01234567890123456789"),
        (b"2\r\n\r\n\r\n0\r\nTrailer: x\r\nother: y\r\n\r\n", b"\r\n"),
    ];
    for (bytes, content) in cases {
        assert_eq!(chunked(bytes), (content.to_vec(), vec![], Ok(true)));
        let next = [*bytes, b"GET /"].concat();
        assert_eq!(chunked(&next), (content.to_vec(), b"GET /".to_vec(), Ok(true)));
        for end in 0..bytes.len() {
            assert_eq!(chunked(&bytes[..end]).2, Ok(false), "cut at {end}");
        }
    }
}

#[test]
fn malformed_chunks_are_refused() {
    let cases: &[&[u8]] = &[
        b"\r\n",
        b"x\r\n",
        b"+1\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 \r\n",
        b"1\n",
        b"1\rx",
        b"1;a\n",
        b"1;a\0\r\n",
        b"1;a\rb\r\n",
        b";a\r\n",
        b"1\r\nab",
        b"1\r\na\n",
        b"1\r\na\rb",
        b"0\r\na\n",
        b"0\r\n\rx",
        b"0\r\nx: y\rz",
        b"00000000000000001\r\n",
        b"\xef\xbc\x91\r\n",
    ];
    for bytes in cases {
        assert_eq!(chunked(bytes).2, Err(BodyError::Malformed), "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn chunked_bodies_are_bounded_in_every_part() {
    assert_eq!(chunked(b"3e8\r\n").2, Ok(false));
    assert_eq!(chunked(b"3e9\r\n"), (vec![], vec![], Err(BodyError::TooLarge)), "before a byte of it came");
    assert_eq!(chunked(b"ffffffffffffffff\r\n").2, Err(BodyError::TooLarge));
    assert_eq!(decode(BodyLength::Chunked, 3, &[b"2\r\nab\r\n2\r\n"]).2, Err(BodyError::TooLarge));
    let extension = |bytes: usize| [b"1;".to_vec(), vec![b'x'; bytes], b"\r\na\r\n".to_vec()].concat();
    assert_eq!(chunked(&extension(4096)).2, Ok(false));
    assert_eq!(chunked(&extension(4097)).2, Err(BodyError::OverheadTooLarge));
    assert_eq!(
        chunked(&extension(100).repeat(41)).2,
        Err(BodyError::OverheadTooLarge),
        "counted over all chunks"
    );
    let trailer = |bytes: usize| [b"0\r\n".to_vec(), vec![b'x'; bytes], b"\r\n\r\n".to_vec()].concat();
    assert_eq!(chunked(&trailer(4096)).2, Ok(true));
    assert_eq!(chunked(&trailer(4097)).2, Err(BodyError::OverheadTooLarge));
    let mut out = Vec::new();
    let mut decoder = BodyDecoder::new(BodyLength::Chunked, u64::MAX).expect("within the limit");
    decoder.decode(b"7fffffffffffffff\r\nabc", &mut out).expect("valid so far");
    assert!(out.capacity() < 100, "a declared size allocates nothing");
    assert!(size_of::<BodyDecoder>() <= 32, "{} bytes", size_of::<BodyDecoder>());
}

/// The response to a request, as text.
fn written(request: &str, write: impl FnOnce(Reply, &mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(Reply::to(&head(request).expect("valid")), &mut out);
    String::from_utf8(out).expect("text")
}

const GET_11: &str = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
const GET_10: &str = "GET / HTTP/1.0\r\n\r\n";
const GET_10_KEEP: &str = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
const HEAD_11: &str = "HEAD / HTTP/1.1\r\nhost: h\r\n\r\n";

#[test]
fn responses_by_version_and_method() {
    let ok = |reply: Reply, out: &mut Vec<u8>| reply.start(out, 200).header("x", "y").body(b"hi");
    assert_eq!(written(GET_11, ok), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nhi");
    assert_eq!(
        written(GET_10, ok),
        "HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi"
    );
    assert_eq!(
        written(GET_10_KEEP, ok),
        "HTTP/1.1 200 OK\r\nx: y\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi"
    );
    assert_eq!(written(HEAD_11, ok), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(
        written(GET_11, |reply, out| reply.close().start(out, 404).empty()),
        "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    for status in [204, 304] {
        let response = written(GET_11, |reply, out| reply.start(out, status).body(b"left out"));
        assert!(response.ends_with("\r\n\r\n") && !response.contains("content-length"), "{response}");
    }
}

#[test]
fn streamed_responses() {
    let stream = |reply: Reply, out: &mut Vec<u8>| {
        if reply.start(out, 200).chunked() == BodyForm::Chunked {
            write_chunk(out, b"0123456789abcdef");
            write_chunk(out, b"");
            write_last_chunk(out);
        } else {
            out.extend_from_slice(b"raw");
        }
    };
    assert_eq!(
        written(GET_11, stream),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
    );
    assert_eq!(written(GET_10_KEEP, stream), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nraw");
}

#[test]
fn a_response_cannot_be_split_by_a_value() {
    for (name, value) in
        [("x", "a\r\nset-cookie: b"), ("x", "a\nb"), ("x", "a\0"), ("x\r\ny", "a"), ("", "a"), ("x:", "a")]
    {
        let response = written(GET_11, |reply, out| reply.start(out, 200).header(name, value).empty());
        assert_eq!(response, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "{name:?} {value:?}");
    }
}

#[test]
fn the_client_reads_what_servers_write() {
    let parse = |text: &'static str| parse_response_head(text.as_bytes(), &limits());
    let response =
        parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").expect("valid").expect("complete");
    assert_eq!((response.status, response.reason, response.len), (200, "OK", 38));
    assert_eq!((response.body, response.keep_alive), (BodyLength::Length(3), true));
    assert_eq!(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"), Ok(None));
    let body = |text: &'static str| parse(text).expect("valid").map(|head| (head.body, head.keep_alive));
    assert_eq!(body("HTTP/1.1 200 OK\r\n\r\n"), Some((BodyLength::UntilClose, false)));
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), Some((BodyLength::None, true)));
    assert_eq!(body("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n"), Some((BodyLength::Chunked, true)));
    assert_eq!(body("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n"), Some((BodyLength::Length(0), false)));
    assert_eq!(body("HTTP/1.1 100 Continue\r\n\r\n"), Some((BodyLength::None, true)));
    assert_eq!(
        parse("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        Err(HeadError::ContentLength)
    );
    assert_eq!(parse("HTTP/1.1 200 OK\nx: y\r\n\r\n"), Err(HeadError::LineEnd));
    assert_eq!(parse("SSH-2.0-x\r\n\r\n"), Err(HeadError::Version));
}

#[test]
fn the_server_reads_what_the_client_writes() {
    let mut bytes = Vec::new();
    let headers = [("content-type", "text/plain"), ("bad", "a\r\nb: c")];
    let request =
        Request { method: "POST", target: "/a?b=c", host: "h", headers: &headers, body: Some(b"body") };
    write_request(&mut bytes, &request);
    let head = parse_head(&bytes, &limits()).expect("valid").expect("complete");
    assert_eq!((head.method, head.target, head.body), ("POST", "/a?b=c", BodyLength::Length(4)));
    assert_eq!((head.fields.iter().count(), &bytes[head.len..]), (3, &b"body"[..]));
}

#[test]
fn queries() {
    let all = |query: &'static str| {
        pairs(query).map(|(key, value)| (key.into_owned(), value.into_owned())).collect::<Vec<_>>()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(all(""), []);
    assert_eq!(all("a=1&b=2&a=3"), [pair("a", "1"), pair("b", "2"), pair("a", "3")]);
    assert_eq!(all("a&&=b&c=d=e"), [pair("a", ""), pair("", "b"), pair("c", "d=e")]);
    assert_eq!(all("a+b=%2B%20+"), [pair("a b", "+  ")]);
    assert_eq!(
        all("x=%&y=%4&z=%zz&w=%41%"),
        [pair("x", "%"), pair("y", "%4"), pair("z", "%zz"), pair("w", "A%")]
    );
    assert_eq!(all("x=%ff%c3%a9"), [pair("x", "\u{fffd}é")]);
    assert_eq!(all("x=%+1"), [pair("x", "% 1")]);
    assert!(matches!(lookup("EIO=4&sid=a", "sid"), Some(Cow::Borrowed("a"))));
    assert_eq!(lookup("a=1&a=2", "a"), Some(Cow::Borrowed("1")));
    assert_eq!(lookup("sid=a", "si"), None);
    assert_eq!(percent_decode("a+b%2Fc"), "a+b/c");
    assert!(is_utf_8("a%C3%A9&b=%zz%2") && !is_utf_8("a%C3&b=%A9") && !is_utf_8("%ff"));
    let mut encoded = String::new();
    percent_encode("a b/é~%", &mut encoded);
    assert_eq!(encoded, "a%20b%2F%C3%A9~%25");
}

/// Cuts `bytes` at the given places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Requests built of plausible and broken lines.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("GET / HTTP/1.1\r\n".to_owned()),
        Just("POST /a?b=c HTTP/1.0\r\n".to_owned()),
        Just("Host: h\r\n".to_owned()),
        Just("Content-Length: 7\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        "[a-zA-Z-]{1,8}: ?[ -~]{0,20}\r\n",
        "[ -~\r\n\t\\x00é]{0,6}",
    ];
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat().into_bytes())
}

/// Chunked bodies, mostly valid.
fn any_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        6 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(|content| {
            let mut out = Vec::new();
            write_chunk(&mut out, &content);
            out
        }),
        1 => Just(b"3;ext=\"1\"\r\nabc\r\n".to_vec()),
        2 => Just(b"0\r\n\r\n".to_vec()),
        1 => Just(b"0\r\nt: v\r\n\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_head_read_bit_by_bit_is_the_head_read_at_once(request in any_request()) {
        let whole = parse_head(&request, &limits());
        let first = (0..=request.len()).map(|end| parse_head(&request[..end], &limits())).find(|head| *head != Ok(None));
        match (whole, first) {
            (Ok(None), first) => prop_assert_eq!(first, None),
            (Ok(Some(head)), first) => prop_assert_eq!(first, Some(Ok(Some(head)))),
            (Err(_), first) => prop_assert!(matches!(first, Some(Err(_))), "{:?}", first),
        }
    }

    #[test]
    fn a_body_at_any_split_is_the_same_body(
        body in any_chunked(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        max in 0..100u64,
    ) {
        let whole = decode(BodyLength::Chunked, max, &[&body]);
        let split = decode(BodyLength::Chunked, max, &cut(&body, &places));
        prop_assert!(whole.0.len() as u64 <= max);
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn what_is_percent_encoded_is_decoded(text in "\\PC{0,40}") {
        let mut encoded = String::new();
        percent_encode(&text, &mut encoded);
        prop_assert_eq!(percent_decode(&encoded), text.as_str());
        let query = format!("a=1&{encoded}={encoded}");
        prop_assert_eq!(pairs(&query).last(), Some((text.as_str().into(), text.as_str().into())));
    }
}
