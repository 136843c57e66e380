//! Contents of any protocol as bytes, for those that have nothing else: one column of the table in docs/channels.md.
//!
//! Must not know who gets them. Start at [`payload`].

use bytes::Bytes;
use hub::Body;
use wire::values::Values;

use crate::back::values::text_of;

/// The bytes of a message: a single argument as JSON text, or raw when it is binary; several as a JSON array, binary ones
/// in the back end's notation.
pub(super) fn payload(body: &Body) -> Bytes {
    let (json, attachments) = match body {
        Body::Raw(bytes) => return bytes.clone(),
        Body::Values { json, attachments } => (json, attachments),
    };
    let values = Values::from_parts(json.clone(), attachments.clone());
    let mut elements = values.elements();
    let only = elements.next().filter(|_| elements.next().is_none());
    if let Some(bytes) = only.and_then(|only| values.attachment(only)) {
        return bytes.clone();
    }
    let text = text_of(body);
    let inner = text.get().strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match (only, inner) {
        (Some(_), Some(inner)) => Bytes::copy_from_slice(inner.as_bytes()),
        _ => Bytes::copy_from_slice(text.get().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &'static str, attachments: &[&'static [u8]]) -> Body {
        let attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        Body::Values { json: Bytes::from_static(json.as_bytes()), attachments }
    }

    #[test]
    fn one_argument_travels_alone_and_several_as_a_list() {
        let cases = [
            (values(r#"[{"a":1}]"#, &[]), r#"{"a":1}"#.as_bytes()),
            (values(r#"["text"]"#, &[]), br#""text""#),
            (values("[7]", &[]), b"7"),
            (values("[1,[2,3]]", &[]), b"[1,[2,3]]"),
            (values("[]", &[]), b"[]"),
            (values(r#"[{"_placeholder":true,"num":0}]"#, &[&[0, 255]]), &[0, 255]),
            (values(r#"[1,{"_placeholder":true,"num":0}]"#, &[&[1, 2]]), br#"[1,{"$binary":"AQI="}]"#),
            (Body::Raw(Bytes::from_static(&[9])), &[9]),
        ];
        for (body, expected) in cases {
            assert_eq!(payload(&body), expected, "{body:?}");
        }
    }
}
