//! Values as the back end writes them (JSON, binary as `{"$binary":"<base64>"}`) from and to message bodies.
//!
//! Owns that one notation; both REST and embedding use it, and webhooks will.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::Body;
use serde_json::{Map, Value, json};

/// Why values cannot become a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// `{"$binary": ..}` with something else than base64 text.
    #[error("\"$binary\" must hold standard base64 text")]
    Base64,
    /// An object with the reserved key of attachments.
    #[error("the key \"_placeholder\" is reserved")]
    Reserved,
}

/// Builds a body from a list of values, moving binary ones out into attachments, numbered depth first.
///
/// # Errors
/// [`ValuesError`].
pub fn body_of(mut values: Vec<Value>) -> Result<Body, ValuesError> {
    let mut attachments = Vec::new();
    for value in &mut values {
        detach(value, &mut attachments)?;
    }
    Ok(Body::Values { json: Bytes::from(Value::Array(values).to_string()), attachments })
}

/// The values of a body; raw bytes are one value: JSON if they parse, else a string if they are UTF-8, else binary.
#[must_use]
pub fn values_of(body: &Body) -> Vec<Value> {
    match body {
        Body::Raw(bytes) => vec![raw_value(bytes)],
        Body::Values { json, attachments } => {
            let Ok(Value::Array(mut values)) = serde_json::from_slice(json) else { return Vec::new() };
            for value in &mut values {
                attach(value, attachments);
            }
            values
        }
    }
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

fn detach(value: &mut Value, attachments: &mut Vec<Bytes>) -> Result<(), ValuesError> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| detach(item, attachments)),
        Value::Object(members) if members.contains_key("_placeholder") => Err(ValuesError::Reserved),
        Value::Object(members) => match binary_text(members) {
            None => members.values_mut().try_for_each(|member| detach(member, attachments)),
            Some(text) => {
                let bytes = STANDARD.decode(text.as_str().unwrap_or("?")).map_err(|_| ValuesError::Base64)?;
                *value = json!({ "_placeholder": true, "num": attachments.len() });
                attachments.push(Bytes::from(bytes));
                Ok(())
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn binary_text(members: &Map<String, Value>) -> Option<&Value> {
    members.get("$binary").filter(|_| members.len() == 1)
}

fn attach(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| attach(item, attachments)),
        Value::Object(members) => match placeholder(members) {
            None => members.values_mut().for_each(|member| attach(member, attachments)),
            Some(index) => {
                if let Some(bytes) = attachments.get(index) {
                    *value = binary(bytes);
                }
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn placeholder(members: &Map<String, Value>) -> Option<usize> {
    members.get("_placeholder").filter(|flag| flag.as_bool() == Some(true))?;
    usize::try_from(members.get("num")?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_become_attachments_and_come_back() {
        let values = vec![json!({"a": [{"$binary": "AQI="}, 1]}), json!({"$binary": ""})];
        let body = body_of(values.clone()).unwrap();
        let Body::Values { json, attachments } = &body else { panic!("values expected") };
        assert_eq!(json, &br#"[{"a":[{"_placeholder":true,"num":0},1]},{"_placeholder":true,"num":1}]"#[..]);
        assert_eq!(attachments, &[Bytes::from_static(&[1, 2]), Bytes::new()]);
        assert_eq!(values_of(&body), values);
    }

    #[test]
    fn reserved_and_broken_values_are_refused() {
        assert_eq!(body_of(vec![json!({"_placeholder": true, "num": 0})]), Err(ValuesError::Reserved));
        assert_eq!(body_of(vec![json!([{"$binary": "%"}])]), Err(ValuesError::Base64));
        assert_eq!(body_of(vec![json!([{"$binary": 7}])]), Err(ValuesError::Base64));
    }

    #[test]
    fn raw_bytes_are_json_text_or_binary() {
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(b"{\"a\":1}"))), [json!({"a": 1})]);
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(b"hi there"))), [json!("hi there")]);
        assert_eq!(values_of(&Body::Raw(Bytes::from_static(&[0xff]))), [binary(&[0xff])]);
    }
}
