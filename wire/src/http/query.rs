//! Query strings and percent-encoding.
//!
//! Owns `application/x-www-form-urlencoded` as the WHATWG URL standard parses it: nothing is refused, a malformed
//! escape stays as it is and bytes that are no UTF-8 become U+FFFD. Must not know which keys mean what.

use std::borrow::Cow;

/// The pairs of a query in order, decoded; `+` is a space. A part without `=` is a key with an empty value.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (form_decode(key), form_decode(value))
    })
}

/// The value of the first pair with this key.
pub fn lookup<'q>(query: &'q str, key: &str) -> Option<Cow<'q, str>> {
    pairs(query).find(|(found, _)| found == key).map(|(_, value)| value)
}

fn form_decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(percent_decode(&text.replace('+', " ")).into_owned())
    } else {
        percent_decode(text)
    }
}

/// Replaces `%XX` by its byte. Borrows when there is nothing to replace.
pub fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        String::from_utf8(bytes_of(text))
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Whether what is percent-encoded there is UTF-8: for those who refuse what [`percent_decode`] replaces.
pub fn is_utf_8(text: &str) -> bool {
    !text.contains('%') || String::from_utf8(bytes_of(text)).is_ok()
}

fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = if byte == b'%' { escaped_byte(after) } else { None };
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    bytes
}

/// The byte two hexadecimal digits at the start of `digits` stand for.
fn escaped_byte(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = *digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

/// Appends `text` with every byte but the unreserved ones (RFC 3986 section 2.3) as `%XX`.
pub fn percent_encode(text: &str, out: &mut String) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0');
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}
