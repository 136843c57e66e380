//! Values as the back end writes them (JSON, binary as `{"$binary":"<base64>"}`) from and to message bodies.
//!
//! Owns that one notation; both REST and embedding use it, and webhooks will. Works on JSON text: names stay in their
//! order and numbers as they were written, whatever their size; only white space goes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::{Body, MessageId};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fmt;
use wire::values::{Bounds, JsonText};

/// Why values cannot become a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// `{"$binary": ..}` with something else than base64 text.
    #[error("\"$binary\" must hold standard base64 text")]
    Base64,
    /// An object with the reserved key of attachments.
    #[error("the key \"_placeholder\" is reserved")]
    Reserved,
    /// What strict parsers refuse, such as a number beyond 64-bit floating point, or nested far too deep.
    #[error("{0}")]
    Json(wire::values::ValuesError),
}

/// For the shape only: sizes and depth are limited where a message is published.
const BOUNDS: Bounds = Bounds { bytes_max: usize::MAX, attachments_max: usize::MAX, depth_max: 120 };

/// Builds a body from a list of values, moving binary ones out into attachments, numbered depth first.
///
/// # Errors
/// [`ValuesError`].
pub fn body_of(list: &str) -> Result<Body, ValuesError> {
    let list = JsonText::parse(list, &BOUNDS).map_err(ValuesError::Json)?;
    if is_plain(list.as_str()) {
        return Ok(Body::Values { json: Bytes::from(without_space(list.as_str())), attachments: Vec::new() });
    }
    let mut attachments = Vec::new();
    let mut json = String::with_capacity(list.as_str().len());
    rewrite(list.as_str(), &mut json, &mut |members| detach(members, &mut attachments))?;
    Ok(Body::Values { json: Bytes::from(json), attachments })
}

/// Whether there is nothing to rewrite but white space. Most messages are so, and each level of the others is read anew.
fn is_plain(list: &str) -> bool {
    !list.contains('\\') && !list.contains("$binary") && !list.contains("_placeholder")
}

/// JSON text without escapes, so that a quote always begins or ends a string.
fn without_space(text: &str) -> String {
    let mut is_in_string = false;
    let is_kept = |c: &char| {
        is_in_string ^= *c == '"';
        is_in_string || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    text.chars().filter(is_kept).collect()
}

/// The name of a message: a ULID, 26 characters.
#[must_use]
pub fn text_of_id(id: MessageId) -> String {
    ulid::Ulid(id.0).to_string()
}

/// The values of a body; raw bytes are one value: JSON if they parse, else a string if they are UTF-8, else binary.
#[must_use]
pub fn values_of(body: &Body) -> Vec<Value> {
    match body {
        Body::Raw(bytes) => vec![raw_value(bytes)],
        Body::Values { .. } => serde_json::from_str(text_of(body).get()).unwrap_or_default(),
    }
}

/// The same as text, an array on one line.
#[must_use]
pub fn text_of(body: &Body) -> Box<RawValue> {
    let text = match body {
        Body::Raw(bytes) => Value::Array(vec![raw_value(bytes)]).to_string(),
        Body::Values { json, attachments } => {
            let mut text = String::with_capacity(json.len());
            let list = std::str::from_utf8(json).unwrap_or_default();
            match rewrite(list, &mut text, &mut |members| Ok(attach(members, attachments))) {
                Ok(()) => text,
                Err(_) => String::from("[]"),
            }
        }
    };
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// A binary value in the notation of the back end.
#[must_use]
pub fn binary(bytes: &[u8]) -> Value {
    json!({ "$binary": STANDARD.encode(bytes) })
}

fn raw_value(bytes: &Bytes) -> Value {
    match (serde_json::from_slice(bytes), std::str::from_utf8(bytes)) {
        (Ok(value), _) => value,
        (Err(_), Ok(text)) => Value::from(text),
        (Err(_), Err(_)) => binary(bytes),
    }
}

/// Copies JSON text of bounded depth without its white space, objects replaced where `replace` says by what.
fn rewrite(
    text: &str,
    out: &mut String,
    replace: &mut impl FnMut(&Members<'_>) -> Result<Option<String>, ValuesError>,
) -> Result<(), ValuesError> {
    if text.starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
        out.push('[');
        for (place, item) in items.into_iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            rewrite(item.get(), out, replace)?;
        }
        out.push(']');
    } else if text.starts_with('{') {
        let members: Members<'_> = serde_json::from_str(text).map_err(not_json)?;
        if let Some(other) = replace(&members)? {
            out.push_str(&other);
            return Ok(());
        }
        out.push('{');
        for (place, (key, value)) in members.0.into_iter().enumerate() {
            out.push_str(if place > 0 { "," } else { "" });
            out.push_str(JsonText::string(&key).as_str());
            out.push(':');
            rewrite(value.get(), out, replace)?;
        }
        out.push('}');
    } else {
        out.push_str(text);
    }
    Ok(())
}

fn not_json(_: serde_json::Error) -> ValuesError {
    ValuesError::Json(wire::values::ValuesError::NotJson)
}

/// An object's members as they stand in its text.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.get())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

fn detach(members: &Members<'_>, attachments: &mut Vec<Bytes>) -> Result<Option<String>, ValuesError> {
    if members.get("_placeholder").is_some() {
        return Err(ValuesError::Reserved);
    }
    let Some(text) = members.get("$binary").filter(|_| members.0.len() == 1) else { return Ok(None) };
    let text: String = serde_json::from_str(text).map_err(|_| ValuesError::Base64)?;
    let bytes = STANDARD.decode(text).map_err(|_| ValuesError::Base64)?;
    attachments.push(Bytes::from(bytes));
    Ok(Some(format!("{{\"_placeholder\":true,\"num\":{}}}", attachments.len() - 1)))
}

fn attach(members: &Members<'_>, attachments: &[Bytes]) -> Option<String> {
    members.get("_placeholder").filter(|flag| *flag == "true")?;
    let bytes = attachments.get(members.get("num")?.parse::<usize>().ok()?)?;
    Some(binary(bytes).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_become_attachments_and_come_back() {
        let values = vec![json!({"a": [{"$binary": "AQI="}, 1]}), json!({"$binary": ""})];
        let body = body_of(&Value::Array(values.clone()).to_string()).unwrap();
        let Body::Values { json, attachments } = &body else { panic!("values expected") };
        assert_eq!(json, &br#"[{"a":[{"_placeholder":true,"num":0},1]},{"_placeholder":true,"num":1}]"#[..]);
        assert_eq!(attachments, &[Bytes::from_static(&[1, 2]), Bytes::new()]);
        assert_eq!(values_of(&body), values);
    }

    #[test]
    fn reserved_and_broken_values_are_refused() {
        assert_eq!(body_of(r#"[{"_placeholder": true, "num": 0}]"#), Err(ValuesError::Reserved));
        assert_eq!(body_of(r#"[[{"$binary": "%"}]]"#), Err(ValuesError::Base64));
        assert_eq!(body_of(r#"[[{"$binary": 7}]]"#), Err(ValuesError::Base64));
        assert!(matches!(body_of("[1e999]"), Err(ValuesError::Json(_))));
        assert!(matches!(body_of(&"[".repeat(100_000)), Err(ValuesError::Json(_))));
    }

    #[test]
    fn order_of_names_and_large_numbers_stay_as_they_were_written() {
        let text = r#"[{"z":123456789012345678901234567890,"a":[1.10,-0],"\u00e9":{"$binary":"AQI="}}]"#;
        let body = body_of(&text.replace(',', " ,\n ")).unwrap();
        assert_eq!(text_of(&body).get(), text.replace("\\u00e9", "é"));
    }

    #[test]
    fn white_space_goes_outside_of_strings_only() {
        let body = body_of("[ {\"a b\" :\t[1 , \"c  d\",\n{}] } ]").unwrap();
        assert_eq!(text_of(&body).get(), r#"[{"a b":[1,"c  d",{}]}]"#);
    }

    #[test]
    fn raw_bytes_are_json_text_or_binary() {
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(b"{\"a\":1}"))), [json!({"a": 1})]);
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(b"hi there"))), [json!("hi there")]);
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(&[0xff]))), [binary(&[0xff])]);
    }
}
