//! The content of a message as the value of a JSON member, on one line.
//!
//! Must not know what is around it. Start at [`member`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cloudevent::Data;
use crate::values::JsonText;

/// Appends `"data":` with JSON if the payload is some, else with a text; or `"data_base64":` if it is no UTF-8.
pub(super) fn member(payload: &[u8], out: &mut Vec<u8>) {
    match Data::of_payload(payload, None) {
        Data::Json(json) => {
            out.extend_from_slice(b"\"data\":");
            on_one_line(json, out);
        }
        Data::Text { text, .. } => {
            out.extend_from_slice(b"\"data\":");
            string(text, out);
        }
        Data::Binary { bytes, .. } => {
            out.extend_from_slice(b"\"data_base64\":\"");
            base64(bytes, out);
            out.push(b'"');
        }
    }
}

/// Appends a JSON string.
pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(JsonText::string(text).as_str().as_bytes());
}

/// Appends standard base64.
pub(super) fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}

/// Appends valid JSON text without the white space between its tokens, the only place where it may have a line end.
fn on_one_line(json: &str, out: &mut Vec<u8>) {
    if !json.bytes().any(|byte| byte.is_ascii_whitespace()) {
        return out.extend_from_slice(json.as_bytes());
    }
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if !in_string && byte.is_ascii_whitespace() {
            continue;
        }
        if byte == b'"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && byte == b'\\' && !escaped;
        out.push(byte);
    }
}
