//! Request and response heads: what is accepted is unambiguous, within the limits, and independent of the split.

use wire::http::{BodyLength, Head, HeadLimits, parse_head, parse_response_head};

use crate::Split;

const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 512, headers_max: 8, query_bytes_max: 64, body_bytes_max: 1000 };

/// The target. Two bytes choose the split, the rest is what a client sends.
pub fn http_head(data: &[u8]) {
    let Some((input, split)) = Split::new(data) else { return };
    let whole = parse_head(input, &LIMITS);
    let mut end = 0;
    let first = split
        .map(|piece| {
            end += piece.len();
            parse_head(&input[..end], &LIMITS)
        })
        .find(|head| *head != Ok(None));
    match (&whole, first) {
        (Ok(None), first) => assert_eq!(first, None),
        (Ok(Some(head)), first) => {
            assert_eq!(first, Some(Ok(Some(head.clone()))));
            check(head, input);
        }
        (Err(_), first) => assert!(matches!(first, Some(Err(_))), "{first:?}"),
    }
    if let Ok(Some(head)) = parse_response_head(input, &LIMITS) {
        assert!(head.len <= LIMITS.head_bytes_max && head.fields.iter().count() <= LIMITS.headers_max);
    }
}

fn check(head: &Head<'_>, input: &[u8]) {
    assert!(head.len <= LIMITS.head_bytes_max && head.fields.iter().count() <= LIMITS.headers_max);
    assert!(head.query.len() <= LIMITS.query_bytes_max);
    assert!(head.path.starts_with('/') || head.path == "*", "{}", head.path);
    assert!(head.target.bytes().all(|byte| byte.is_ascii_graphic()));
    let text = &input[..head.len];
    assert!(text.ends_with(b"\r\n\r\n"));
    assert_eq!(parse_head(&text[..head.len - 1], &LIMITS), Ok(None), "the last byte completes the head");
    for (at, byte) in text.iter().enumerate() {
        assert_eq!(*byte == b'\r', text.get(at + 1) == Some(&b'\n'), "CR and LF only in pairs");
    }
    let count = |name: &str| head.fields.values(name).count();
    let lengths = (count("content-length"), count("transfer-encoding"));
    match head.body {
        BodyLength::None => assert_eq!(lengths, (0, 0)),
        BodyLength::Length(bytes) => assert!(lengths == (1, 0) && bytes <= LIMITS.body_bytes_max),
        BodyLength::Chunked => assert!(lengths == (0, 1) && head.minor == 1),
        BodyLength::UntilClose => panic!("never in a request"),
    }
    assert!(count("host") == 1 || (head.minor == 0 && count("host") == 0));
    reparse(head);
}

/// What another server would be sent for this head means the same.
fn reparse(head: &Head<'_>) {
    let mut text = format!("{} {} HTTP/1.{}\r\n", head.method, head.target, head.minor).into_bytes();
    for field in head.fields.iter() {
        assert!(field.value.iter().all(|&byte| byte == b'\t' || byte >= b' '));
        text.extend_from_slice(&[field.name.as_bytes(), b":", field.value, b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    let again = parse_head(&text, &LIMITS).expect("valid").expect("complete");
    assert_eq!(Head { len: head.len, ..again }, *head);
}
