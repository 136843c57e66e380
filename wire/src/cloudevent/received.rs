//! CloudEvents that others made: from JSON, or from the headers and body of an HTTP request.
//!
//! Owns what makes an event valid. Must not know what is done with it. Start at [`Received::from_json`].
//!
//! Sources: the CloudEvents specification 1.0.2, section 3; its JSON format, sections 2 and 3; its HTTP binding, section 3.1.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::calendar::parse_rfc3339;
use crate::http::percent_decode;

/// Most attributes of an event.
const ATTRIBUTES_MAX: usize = 64;

/// Longest name of an attribute; the specification asks for at most 20, which not everybody keeps to.
const NAME_BYTES_MAX: usize = 64;

/// An event that somebody made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Unique within the source.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// Its type.
    pub kind: String,
    /// What it is about, within the source.
    pub subject: Option<String>,
    /// What the data is.
    pub media: Option<String>,
    /// When it is of no use any more (extension `expirytime`). Milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// All other attributes, in their order, as text.
    pub others: Vec<(String, String)>,
    /// What it says.
    pub data: ReceivedData,
}

/// The content of such an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivedData {
    /// None.
    Nothing,
    /// JSON text.
    Json(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// Why something is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEvent(String);

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidEvent {}

fn invalid(text: impl Into<String>) -> InvalidEvent {
    InvalidEvent(text.into())
}

impl Received {
    /// Of one event in structured mode.
    ///
    /// # Errors
    /// [`InvalidEvent`], for people.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidEvent> {
        let members: Members<'_> =
            serde_json::from_slice(json).map_err(|error| invalid(format!("not a JSON object: {error}")))?;
        let mut event = Attributes::default();
        let (mut data, mut base64) = (None, None);
        for (name, value) in members.0 {
            match name.as_ref() {
                "data" => put(&mut data, value.get(), "data")?,
                "data_base64" => put(&mut base64, value.get(), "data_base64")?,
                // An attribute that is null counts as absent (JSON format, 2.2).
                _ if value.get() == "null" => {}
                name => event.put(name, attribute(name, value.get())?)?,
            }
        }
        let data = match (data, base64) {
            (Some(_), Some(_)) => return Err(invalid("give data or data_base64, not both")),
            (Some(json), None) => ReceivedData::Json(json.to_owned()),
            (None, Some(text)) => ReceivedData::Binary(from_base64(text)?),
            (None, None) => ReceivedData::Nothing,
        };
        event.with(data)
    }

    /// Of one event in binary mode: the request's headers that begin with `ce-`, their names in lower case and without that,
    /// its media type and its body.
    ///
    /// # Errors
    /// [`InvalidEvent`], for people.
    pub fn from_http<'a>(
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        media: Option<&str>,
        body: &[u8],
    ) -> Result<Self, InvalidEvent> {
        let mut event = Attributes::default();
        for (name, value) in headers {
            if name == "datacontenttype" {
                return Err(invalid("Content-Type says what the data is, not ce-datacontenttype"));
            }
            event.put(name, percent_decode(value).into_owned())?;
        }
        if let Some(media) = media {
            event.put("datacontenttype", media.to_owned())?;
        }
        let data = match (body, str::from_utf8(body)) {
            ([], _) => ReceivedData::Nothing,
            (_, Ok(text)) if media.is_none_or(is_json_media) => {
                let parsed: Result<&RawValue, _> = serde_json::from_str(text);
                let error = |error| invalid(format!("the data is not JSON: {error}"));
                ReceivedData::Json(parsed.map_err(error)?.get().to_owned())
            }
            (_, Ok(text)) if media.is_some_and(is_text_media) => {
                ReceivedData::Json(crate::values::JsonText::string(text).as_str().to_owned())
            }
            (bytes, _) => ReceivedData::Binary(bytes.to_vec()),
        };
        event.with(data)
    }

    /// Another attribute by its name.
    pub fn other(&self, name: &str) -> Option<&str> {
        self.others.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Attributes as they come.
#[derive(Default)]
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn put(&mut self, name: &str, value: String) -> Result<(), InvalidEvent> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            return Err(invalid(format!(
                "an attribute's name has 1 to {NAME_BYTES_MAX} of a-z and 0-9: {name:?}"
            )));
        }
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(invalid(format!("{name} is there twice")));
        }
        if self.0.len() >= ATTRIBUTES_MAX {
            return Err(invalid(format!("more than {ATTRIBUTES_MAX} attributes")));
        }
        self.0.push((name.to_owned(), value));
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    fn required(&mut self, name: &str) -> Result<String, InvalidEvent> {
        let value = self.take(name).ok_or_else(|| invalid(format!("{name} is missing")))?;
        if value.is_empty() { Err(invalid(format!("{name} is empty"))) } else { Ok(value) }
    }

    fn with(mut self, data: ReceivedData) -> Result<Received, InvalidEvent> {
        let version = self.required("specversion")?;
        if version != "1.0" {
            return Err(invalid(format!("specversion must be 1.0: {version:?}")));
        }
        let is_time = |time: &(String, String)| time.0 != "time" || parse_rfc3339(&time.1).is_some();
        if !self.0.iter().all(is_time) {
            return Err(invalid("time is not RFC 3339, of 1970 or later"));
        }
        let expires = self.take("expirytime").map(|text| {
            parse_rfc3339(&text).ok_or_else(|| invalid("expirytime is not RFC 3339, of 1970 or later"))
        });
        Ok(Received {
            id: self.required("id")?,
            source: self.required("source")?,
            kind: self.required("type")?,
            subject: self.take("subject"),
            media: self.take("datacontenttype"),
            expires_ms: expires.transpose()?,
            others: self.0,
            data,
        })
    }
}

/// A string, Boolean or integer as text (JSON format, 2.2).
fn attribute(name: &str, json: &str) -> Result<String, InvalidEvent> {
    if json.starts_with('"') {
        return serde_json::from_str(json).map_err(|_| invalid(format!("{name} is not a string")));
    }
    let is_integer = json.parse::<i32>().is_ok();
    if is_integer || json == "true" || json == "false" {
        return Ok(json.to_owned());
    }
    Err(invalid(format!("{name} must be a string, a Boolean or an integer of 32 bits")))
}

fn from_base64(json: &str) -> Result<Vec<u8>, InvalidEvent> {
    let text: Option<Cow<'_, str>> = serde_json::from_str(json).ok();
    let bytes = text.and_then(|text| STANDARD.decode(text.as_bytes()).ok());
    bytes.ok_or_else(|| invalid("data_base64 is not a string of standard base64"))
}

fn put<'a>(place: &mut Option<&'a str>, value: &'a str, name: &str) -> Result<(), InvalidEvent> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(invalid(format!("{name} is there twice"))),
    }
}

/// Of which the data is JSON (JSON format, 3.1).
fn is_json_media(media: &str) -> bool {
    let essence = essence(media);
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn is_text_media(media: &str) -> bool {
    essence(media).starts_with("text/")
}

fn essence(media: &str) -> String {
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An object's members as they stand in its text.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

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
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((Cow::Owned(name), value));
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudevent::{Attribute, CloudEvent, Data};

    const HEAD: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"t""#;

    fn read(rest: &str) -> Result<Received, String> {
        Received::from_json(format!("{{{HEAD}{rest}}}").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_we_make_is_read() {
        let event = CloudEvent {
            id: "7",
            source: "/channels",
            kind: "k",
            subject: "tea/\"1\"",
            time_ms: 1_795_320_000_000,
            extensions: &[("event", Attribute::Text("say"))],
            data: Data::Json("[1,{\"a\":null}]"),
        };
        let read = Received::from_json(event.to_json().as_bytes()).unwrap();
        assert_eq!((read.id.as_str(), read.source.as_str(), read.kind.as_str()), ("7", "/channels", "k"));
        assert_eq!((read.subject.as_deref(), read.other("event")), (Some("tea/\"1\""), Some("say")));
        assert_eq!(read.data, ReceivedData::Json("[1,{\"a\":null}]".to_owned()));
        let bytes = CloudEvent { data: Data::Binary { media: "image/png", bytes: &[0, 255] }, ..event };
        let read = Received::from_json(bytes.to_json().as_bytes()).unwrap();
        assert_eq!(
            (read.media.as_deref(), read.data),
            (Some("image/png"), ReceivedData::Binary(vec![0, 255]))
        );
    }

    #[test]
    fn attributes_are_scalars_and_null_is_absence() {
        let event = read(r#","a":true,"b":-7,"c":"x","d":null,"subject":null,"data":null"#).unwrap();
        let others: Vec<_> =
            event.others.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(others, [("a", "true"), ("b", "-7"), ("c", "x")]);
        assert_eq!((event.subject, event.data), (None, ReceivedData::Json("null".to_owned())));
        assert_eq!(read("").unwrap().data, ReceivedData::Nothing);
        let expires = read(r#","expirytime":"2026-11-22T04:00:00Z""#).unwrap().expires_ms;
        assert_eq!(expires, Some(1_795_320_000_000));
    }

    #[test]
    fn what_is_no_event_is_told_why() {
        let cases = [
            (r#","a":{}"#, "a must be"),
            (r#","a":1.5"#, "a must be"),
            (r#","a":2147483648"#, "a must be"),
            (r#","id":"2""#, "id is there twice"),
            (r#","A":"x""#, "an attribute's name"),
            (r#","data":1,"data_base64":"AA==""#, "not both"),
            (r#","data_base64":"%""#, "data_base64"),
            (r#","data_base64":7"#, "data_base64"),
            (r#","time":"yesterday""#, "time is not"),
            (r#","expirytime":"soon""#, "expirytime is not"),
        ];
        for (rest, why) in cases {
            let error = read(rest).unwrap_err();
            assert!(error.contains(why), "{rest}: {error}");
        }
        for bad in ["", "[]", "{", "{}", r#"{"specversion":"0.3","id":"1","source":"s","type":"t"}"#] {
            assert!(Received::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
        let many: String = (0..64).map(|n| format!(",\"x{n}\":1")).collect();
        assert!(read(&many).unwrap_err().contains("more than 64"));
        assert!(read(r#","id":"#).is_err() && Received::from_json(&[0xff]).is_err());
    }

    #[test]
    fn headers_and_body_are_an_event() {
        let headers = [
            ("specversion", "1.0"),
            ("id", "1"),
            ("source", "/s"),
            ("type", "t"),
            ("subject", "caf%C3%A9%20x"),
        ];
        let read = |media, body| Received::from_http(headers.into_iter(), media, body);
        let event = read(Some("application/json; charset=utf-8"), b"{\"a\": 1}").unwrap();
        assert_eq!(event.subject.as_deref(), Some("café x"));
        assert_eq!(event.data, ReceivedData::Json("{\"a\": 1}".to_owned()));
        let text = read(Some("text/plain"), "né".as_bytes()).unwrap();
        assert_eq!(text.data, ReceivedData::Json("\"né\"".to_owned()));
        assert_eq!(read(Some("image/png"), &[0, 255]).unwrap().data, ReceivedData::Binary(vec![0, 255]));
        assert_eq!(read(Some("image/png"), b"plain").unwrap().data, ReceivedData::Binary(b"plain".to_vec()));
        assert_eq!(read(None, b"").unwrap().data, ReceivedData::Nothing);
        assert!(read(Some("application/problem+json"), b"{").is_err());
        let bad = [("specversion", "1.0"), ("datacontenttype", "text/plain")];
        assert!(Received::from_http(bad.into_iter(), None, b"").is_err());
    }
}
