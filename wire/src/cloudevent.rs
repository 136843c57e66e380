//! CloudEvents 1.0 in their structured JSON form: what a back end is told of clients, through whatever door.
//!
//! Owns names and form; events that others made are read by `received`. Must not know what happened, nor where it is told.
//! Start at [`CloudEvent`].
//!
//! Sources: the CloudEvents specification 1.0.2, its JSON format, section 3.1 on data, and its extension `sequence`.

mod received;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub use received::{InvalidEvent, Received, ReceivedData};

use crate::calendar::{parse_rfc3339, print_rfc3339};
use crate::values::JsonText;

/// The type of a message that was published on a channel, which is the subject.
pub const CHANNEL_MESSAGE: &str = "trunkline.channel.message";

/// The type of an event that a client sent to the back end.
pub const SESSION_EVENT: &str = "trunkline.session.event";

/// One event. `source` and `id` together name it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloudEvent<'a> {
    /// Unique within the source.
    pub id: &'a str,
    /// Where it comes from, a URI reference.
    pub source: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// What it is about, within the source; empty: nothing in particular.
    pub subject: &'a str,
    /// When it happened. Milliseconds since 1970.
    pub time_ms: u64,
    /// Further attributes: 1 to 20 of `a-z0-9` each, and a value.
    pub extensions: &'a [(&'a str, Attribute<'a>)],
    /// What it says.
    pub data: Data<'a>,
}

/// The value of an attribute; there are no lists and no objects (specification, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute<'a> {
    /// Text.
    Text(&'a str),
    /// A number, which has 32 bits there.
    Integer(i32),
    /// Yes or no.
    Boolean(bool),
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// The content of an event.
#[derive(Clone, Debug, Copy, PartialEq, Eq)]
pub enum Data<'a> {
    /// JSON text.
    Json(&'a str),
    /// Text of a media type, which is not JSON.
    Text {
        /// `text/plain` and the like.
        media: &'a str,
        /// It.
        text: &'a str,
    },
    /// Bytes of a media type.
    Binary {
        /// `application/octet-stream` and the like.
        media: &'a str,
        /// Them.
        bytes: &'a [u8],
    },
}

impl<'a> Data<'a> {
    /// A payload that says of itself at most its media type: JSON if it parses, whatever that is, else text if it is UTF-8,
    /// else binary.
    pub fn of_payload(payload: &'a [u8], media: Option<&'a str>) -> Self {
        let Ok(text) = str::from_utf8(payload) else {
            return Self::Binary { media: media.unwrap_or("application/octet-stream"), bytes: payload };
        };
        if is_json(text) {
            return Self::Json(text);
        }
        // A media type of JSON would have the text read as such.
        let media = media.filter(|media| !media.contains("json"));
        Self::Text { media: media.unwrap_or("text/plain; charset=utf-8"), text }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

impl CloudEvent<'_> {
    /// Its JSON text, on one line but for white space in data that is JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(256 + self.data.len_about());
        out.push_str(r#"{"specversion":"1.0""#);
        let time = print_rfc3339(self.time_ms);
        let own = [
            ("id", self.id),
            ("source", self.source),
            ("type", self.kind),
            ("subject", self.subject),
            ("time", time.as_str()),
        ];
        for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            member(&mut out, name, JsonText::string(value).as_str());
        }
        for (name, value) in self.extensions {
            match value {
                Attribute::Text(text) => member(&mut out, name, JsonText::string(text).as_str()),
                Attribute::Integer(number) => member(&mut out, name, &number.to_string()),
                Attribute::Boolean(truth) => member(&mut out, name, if *truth { "true" } else { "false" }),
            }
        }
        let media = match self.data {
            Data::Json(_) => "application/json",
            Data::Text { media, .. } | Data::Binary { media, .. } => media,
        };
        member(&mut out, "datacontenttype", JsonText::string(media).as_str());
        match self.data {
            Data::Json(json) => member(&mut out, "data", json),
            Data::Text { text, .. } => member(&mut out, "data", JsonText::string(text).as_str()),
            Data::Binary { bytes, .. } => {
                let text = STANDARD.encode(bytes);
                member(&mut out, "data_base64", &format!("\"{text}\""));
            }
        }
        out.push('}');
        out
    }
}

impl Data<'_> {
    fn len_about(&self) -> usize {
        match self {
            Self::Json(text) | Self::Text { text, .. } => text.len(),
            Self::Binary { bytes, .. } => bytes.len().div_ceil(3) * 4,
        }
    }
}

fn member(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

/// A time as events tell it. Milliseconds since 1970.
pub fn timestamp(time_ms: u64) -> String {
    print_rfc3339(time_ms)
}

/// A time as others tell it, in the form of RFC 3339; `None` if it is none. Milliseconds since 1970.
pub fn parse_timestamp(text: &str) -> Option<u64> {
    parse_rfc3339(text)
}

/// A place in a sequence as text, so that the order of texts is that of numbers (extension `sequence`).
pub fn sequence(number: u64) -> String {
    format!("{number:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: Data<'_>) -> CloudEvent<'_> {
        CloudEvent {
            id: "01KAP1",
            source: "/channels",
            kind: CHANNEL_MESSAGE,
            subject: "tea/\"1\"",
            time_ms: 1_795_320_000_000,
            extensions: &[
                ("sessionid", Attribute::Text("s9")),
                ("generation", Attribute::Integer(-7)),
                ("ackrequested", Attribute::Boolean(true)),
            ],
            data,
        }
    }

    #[test]
    fn it_has_the_form_of_the_specification() {
        let head = r#"{"specversion":"1.0","id":"01KAP1","source":"/channels","type":"trunkline.channel.message","subject":"tea/\"1\"","time":"2026-11-22T04:00:00.000Z","sessionid":"s9","generation":-7,"ackrequested":true,"#;
        for (data, rest) in [
            (Data::Json("[\"hi\",7]"), r#""datacontenttype":"application/json","data":["hi",7]}"#),
            (
                Data::Text { media: "text/plain", text: "a\n\"b\"" },
                r#""datacontenttype":"text/plain","data":"a\n\"b\""}"#,
            ),
            (
                Data::Binary { media: "image/png", bytes: &[0, 255] },
                r#""datacontenttype":"image/png","data_base64":"AP8="}"#,
            ),
        ] {
            let text = event(data).to_json();
            assert_eq!(text, format!("{head}{rest}"));
            assert!(is_json(&text));
        }
    }

    #[test]
    fn a_payload_is_what_it_can_be() {
        assert_eq!(Data::of_payload(b"{\"a\": 1}", Some("text/plain")), Data::Json("{\"a\": 1}"));
        assert_eq!(Data::of_payload(b"17", None), Data::Json("17"));
        let text = Data::Text { media: "text/plain; charset=utf-8", text: "{a}" };
        assert_eq!(Data::of_payload(b"{a}", None), text);
        assert_eq!(Data::of_payload(b"{a}", Some("application/json")), text, "it is none");
        let csv = Data::Text { media: "text/csv", text: "a;b" };
        assert_eq!(Data::of_payload(b"a;b", Some("text/csv")), csv);
        let binary = Data::Binary { media: "application/octet-stream", bytes: &[255] };
        assert_eq!(Data::of_payload(&[255], None), binary);
        assert_eq!(Data::of_payload(b"", None), Data::Text { media: "text/plain; charset=utf-8", text: "" });
        assert_eq!(sequence(42), "00000000000000000042");
    }
}
