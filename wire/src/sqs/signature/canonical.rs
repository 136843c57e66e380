//! The canonical form of a request, over which signatures are made.
//!
//! Owns sorting, encoding and trimming. Must not know keys or times. Start at [`request`].

use std::borrow::Cow;

use ring::digest::{SHA256, digest};

use super::super::query::escaped;
use super::SignedRequest;

/// Where the signature stands, which is not part of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signing {
    Header,
    Query,
}

/// Bytes of the canonical request.
pub(super) fn request(request: &SignedRequest<'_>, signed_headers: &str, signing: Signing) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b'\n');
    push_path(request.path, &mut out);
    out.push(b'\n');
    push_query(request.query, signing, &mut out);
    out.push(b'\n');
    for name in signed_headers.split(';') {
        push_header(request, name, &mut out);
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(hex(digest(&SHA256, request.body).as_ref()).as_bytes());
    out
}

/// The path without empty and dot segments, encoded once more than it is.
fn push_path(path: &str, out: &mut Vec<u8>) {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    for segment in &segments {
        out.push(b'/');
        push_encoded(segment.bytes(), out);
    }
    if segments.is_empty() || path.ends_with('/') {
        out.push(b'/');
    }
}

/// The parameters, sorted by their encoded names and values.
fn push_query(query: &str, signing: Signing, out: &mut Vec<u8>) {
    let encoded = |text: &str| {
        let mut out = Vec::with_capacity(text.len());
        push_encoded(decoded(text.as_bytes()), &mut out);
        out
    };
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = parts(query)
        .map(|(name, value)| (encoded(name), encoded(value)))
        .filter(|(name, _)| signing == Signing::Header || name != b"X-Amz-Signature")
        .collect();
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

/// A header with all its values, blanks in them taken together. One that is not there has no value.
fn push_header(request: &SignedRequest<'_>, name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.push(b':');
    let values = request.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    for (at, (_, value)) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
    out.push(b'\n');
}

/// The decoded value of a parameter.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let (_, value) = parts(query).find(|(known, _)| *known == name)?;
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value));
    }
    String::from_utf8(decoded(value.as_bytes()).collect()).ok().map(Cow::Owned)
}

fn parts(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// Undoes percent-encoding; `+` is a space.
fn decoded(mut rest: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'+' => Some(b' '),
            b'%' => match escaped(after) {
                Some(byte) => {
                    rest = after.get(2..).unwrap_or_default();
                    Some(byte)
                }
                None => Some(b'%'),
            },
            byte => Some(byte),
        }
    })
}

/// Every byte but the unreserved ones as `%XX`.
fn push_encoded(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend([digit(byte >> 4), digit(byte & 0xf)].map(|digit| digit.to_ascii_uppercase()));
        }
    }
}

/// Lower-case hexadecimal digits.
pub(in crate::sqs) fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).map(char::from).collect()
}

const fn digit(nibble: u8) -> u8 {
    match nibble {
        0..10 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}
