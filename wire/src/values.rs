//! The arguments of an event or an acknowledgement, in the one form every encoding starts from and ends in.
//!
//! Owns [`Values`]: JSON text of an array plus the binary values that JSON cannot hold, and [`JsonText`], a checked
//! JSON value. Both are checked once, when they are made, and never parsed into a tree. Must not know packets,
//! namespaces or who reads them. Start at [`Values`], then [`Bounds`].

mod scan;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use scan::Shape;

pub use scan::Elements;

/// How large and how deep values may be. All three protect whoever parses them later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the JSON text and all attachments together.
    pub bytes_max: usize,
    /// Binary values. Clients of the reference implementation end the connection at an eleventh.
    pub attachments_max: usize,
    /// Nested arrays and objects, at most 120 whatever is set: common parsers stop at 128, and envelopes nest too.
    pub depth_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes_max: 4_000_000, attachments_max: 10, depth_max: 100 }
    }
}

/// Why text is not usable as [`Values`] or [`JsonText`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesError {
    /// Not one JSON value, or not UTF-8.
    NotJson,
    /// JSON, but not the kind of value that belongs here.
    WrongKind,
    /// Nested deeper than [`Bounds::depth_max`].
    TooDeep,
    /// Larger than [`Bounds::bytes_max`].
    TooLarge,
    /// More binary values than [`Bounds::attachments_max`].
    TooManyAttachments,
    /// A placeholder whose number names no attachment.
    BadPlaceholder,
}

impl fmt::Display for ValuesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "invalid JSON",
            Self::WrongKind => "JSON of the wrong kind",
            Self::TooDeep => "JSON nested too deep",
            Self::TooLarge => "values too large",
            Self::TooManyAttachments => "too many binary attachments",
            Self::BadPlaceholder => "placeholder without attachment",
        })
    }
}

impl std::error::Error for ValuesError {}

/// JSON text of one value that every strict parser takes: no lone surrogates, no number beyond `f64`, bounded depth.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Bytes);

impl JsonText {
    /// Checks `text` and copies it once.
    ///
    /// # Errors
    /// [`ValuesError::NotJson`], [`ValuesError::TooDeep`], [`ValuesError::TooLarge`].
    pub fn parse(text: &str, bounds: &Bounds) -> Result<Self, ValuesError> {
        Self::parse_shape(text, bounds).map(|(json, _)| json)
    }

    /// An object, as CONNECT carries it.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`ValuesError::WrongKind`].
    pub fn parse_object(text: &str, bounds: &Bounds) -> Result<Self, ValuesError> {
        match Self::parse_shape(text, bounds)? {
            (json, Shape::Object) => Ok(json),
            _ => Err(ValuesError::WrongKind),
        }
    }

    fn parse_shape(text: &str, bounds: &Bounds) -> Result<(Self, Shape), ValuesError> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        if text.len() > bounds.bytes_max {
            return Err(ValuesError::TooLarge);
        }
        let text = scan::repair_surrogates(text);
        let shape = scan::check(&text, bounds.depth_max)?;
        Ok((Self::from_cow(text), shape))
    }

    fn from_cow(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self(Bytes::copy_from_slice(text.as_bytes())),
            Cow::Owned(text) => Self(Bytes::from(text)),
        }
    }

    /// A JSON string with this value.
    pub fn string(value: &str) -> Self {
        Self(Bytes::from(quote(value)))
    }

    /// An object of strings, keys as given. Of equal keys the last stays.
    pub fn string_object<'a>(entries: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> Self {
        let mut map = serde_json::Map::new();
        for (key, value) in entries {
            map.insert(key.into_owned(), serde_json::Value::String(value.into_owned()));
        }
        Self(Bytes::from(serde_json::Value::Object(map).to_string()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        as_text(&self.0)
    }

    /// The text as shared bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether the value is a JSON string.
    pub fn is_string(&self) -> bool {
        self.as_str().starts_with('"')
    }

    /// Whether the value is a number that begins with a digit: behind a packet's header it would be read as an
    /// acknowledgement id.
    pub(crate) fn is_like_ack_id(&self) -> bool {
        self.as_str().starts_with(|c: char| c.is_ascii_digit())
    }

    /// Whether the value is an object.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A list of values: JSON text of an array, and the binary values its placeholders stand for.
///
/// Invariants, kept by every constructor: the text is strict JSON of an array within [`Bounds`], without white space
/// around it. With attachments, the n-th `{"_placeholder":true,"num":n}` in order of appearance names the n-th of
/// them, and there are no others. *Without* attachments nothing is a placeholder, such an object is plain data.
///
/// An event is the same list with its name in front, as it goes over the wire: see [`Values::event`]. Cloning copies
/// no JSON and no attachment.
#[derive(Clone, PartialEq, Eq)]
pub struct Values {
    json: Bytes,
    attachments: Vec<Bytes>,
}

impl Values {
    /// No values at all: `[]`.
    pub const fn empty() -> Self {
        Self { json: Bytes::from_static(b"[]"), attachments: Vec::new() }
    }

    /// Checks the JSON text of an array and puts its placeholders in order: renumbered in order of appearance,
    /// attachments moved (or, named twice, repeated) to match, those that no placeholder names dropped.
    ///
    /// # Errors
    /// Every [`ValuesError`].
    pub fn parse(json: &str, attachments: Vec<Bytes>, bounds: &Bounds) -> Result<Self, ValuesError> {
        Self::parse_header(json, bounds)?.attach(attachments, bounds)
    }

    /// The array of a packet whose attachments are still to come; [`Self::attach`] completes it.
    pub(crate) fn parse_header(json: &str, bounds: &Bounds) -> Result<Self, ValuesError> {
        match JsonText::parse_shape(json, bounds)? {
            (json, Shape::Array) => Ok(Self { json: json.0, attachments: Vec::new() }),
            _ => Err(ValuesError::WrongKind),
        }
    }

    /// Adds the attachments and checks the placeholders against them.
    pub(crate) fn attach(mut self, attachments: Vec<Bytes>, bounds: &Bounds) -> Result<Self, ValuesError> {
        if attachments.is_empty() {
            return Ok(self);
        }
        let found = scan::placeholders(self.json());
        if found.len() > bounds.attachments_max {
            return Err(ValuesError::TooManyAttachments);
        }
        if is_canonical(self.json(), &found, attachments.len()) {
            self.attachments = attachments;
        } else {
            self = renumber(self.json(), &found, &attachments)?;
        }
        if self.len_bytes() > bounds.bytes_max {
            return Err(ValuesError::TooLarge);
        }
        Ok(self)
    }

    /// Starts a list of single values.
    pub fn builder() -> ValuesBuilder {
        ValuesBuilder { json: String::from("["), attachments: Vec::new() }
    }

    /// An event: `name` in front of `args`.
    pub fn event(name: &str, args: &Self) -> Self {
        let rest = Elements::new(args.json()).rest();
        // Exact for a name without escapes: text that fills its memory is shared without another allocation.
        let comma = if rest.is_empty() { "" } else { "," };
        let mut json = String::with_capacity(name.len() + rest.len() + comma.len() + 4);
        json.push('[');
        push_quoted(name, &mut json);
        [comma, rest, "]"].into_iter().for_each(|part| json.push_str(part));
        Self { json: Bytes::from(json), attachments: args.attachments.clone() }
    }

    /// Reads the list as an event. `None` if it is empty or the first value is neither a string nor a number.
    pub fn as_event(&self) -> Option<Event<'_>> {
        let mut elements = Elements::new(self.json());
        let first = elements.next()?;
        let name = match first.as_bytes().first()? {
            b'"' => EventName::Text(scan::unquote(first)?),
            b'-' | b'0'..=b'9' => EventName::Number(first),
            _ => return None,
        };
        Some(Event { name, rest: elements.rest(), attachments: &self.attachments })
    }

    /// The array as JSON text.
    pub fn json(&self) -> &str {
        as_text(&self.json)
    }

    /// The array as shared bytes of JSON text.
    pub const fn json_bytes(&self) -> &Bytes {
        &self.json
    }

    /// The binary values in order of their placeholders.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The values one by one, as JSON text.
    pub fn elements(&self) -> Elements<'_> {
        Elements::new(self.json())
    }

    /// The attachment that `element`, one of [`Self::elements`], stands for; `None` if it is plain JSON.
    pub fn attachment(&self, element: &str) -> Option<&Bytes> {
        attachment(&self.attachments, element)
    }

    /// Bytes of text and attachments, for limits and accounting.
    pub fn len_bytes(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Puts together again what [`Self::into_parts`] took apart. Nothing is checked: the parts come from values.
    pub const fn from_parts(json: Bytes, attachments: Vec<Bytes>) -> Self {
        Self { json, attachments }
    }

    /// The text and the attachments, for storage.
    pub fn into_parts(self) -> (Bytes, Vec<Bytes>) {
        (self.json, self.attachments)
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<usize> = self.attachments.iter().map(Bytes::len).collect();
        write!(f, "Values({} + {lengths:?} bytes)", self.json())
    }
}

/// The first value of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventName<'a> {
    /// A string, escapes resolved.
    Text(Cow<'a, str>),
    /// A number, as it was written.
    Number(&'a str),
}

impl<'a> EventName<'a> {
    /// The name as text; a number as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(name) => name,
            Self::Number(name) => name,
        }
    }
}

/// A list of values read as an event, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The name.
    pub name: EventName<'a>,
    /// The arguments without brackets, e.g. `1,{"a":2}`.
    rest: &'a str,
    attachments: &'a [Bytes],
}

impl<'a> Event<'a> {
    /// The arguments as JSON text of an array.
    pub fn args_json(&self) -> String {
        format!("[{}]", self.rest)
    }

    /// The arguments as values of their own; copies the text, not the attachments.
    pub fn args(&self) -> Values {
        Values { json: Bytes::from(self.args_json()), attachments: self.attachments.to_vec() }
    }

    /// Binary values among the arguments, in order of their placeholders.
    pub const fn attachments(&self) -> &'a [Bytes] {
        self.attachments
    }

    /// The only argument, as JSON text or raw bytes; `None` if there is none or more than one.
    pub fn single(&self) -> Option<Single<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        // Nothing follows the last element but the bracket that `rest` lacks, so one is lent to the scanner.
        let list = self.args_json();
        let mut elements = Elements::new(&list);
        let only = elements.next().is_some() && elements.next().is_none();
        only.then(|| match attachment(self.attachments, self.rest) {
            Some(bytes) => Single::Binary(bytes),
            None => Single::Json(self.rest),
        })
    }
}

/// The only argument of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Single<'a> {
    /// A JSON value.
    Json(&'a str),
    /// A binary value.
    Binary(&'a Bytes),
}

/// Collects values one by one. Not checked against [`Bounds`] but for the depth of JSON; what it is fed has its own
/// limits.
#[derive(Clone, Debug)]
pub struct ValuesBuilder {
    json: String,
    attachments: Vec<Bytes>,
}

impl ValuesBuilder {
    /// Appends a string.
    #[must_use]
    pub fn string(mut self, value: &str) -> Self {
        self.separate();
        push_quoted(value, &mut self.json);
        self
    }

    /// Appends a JSON value. It must not hold an object that looks like a placeholder if binary values are appended
    /// too; [`Self::build`] refuses that.
    #[must_use]
    pub fn json(mut self, value: &JsonText) -> Self {
        self.separate();
        self.json.push_str(value.as_str());
        self
    }

    /// Appends a binary value.
    #[must_use]
    pub fn binary(mut self, value: Bytes) -> Self {
        self.separate();
        push_placeholder(self.attachments.len(), &mut self.json);
        self.attachments.push(value);
        self
    }

    /// The list.
    ///
    /// # Errors
    /// [`ValuesError::BadPlaceholder`] if JSON and attachments do not match.
    pub fn build(mut self) -> Result<Values, ValuesError> {
        self.json.push(']');
        if !self.attachments.is_empty() {
            let found = scan::placeholders(&self.json);
            if !is_canonical(&self.json, &found, self.attachments.len()) {
                return Err(ValuesError::BadPlaceholder);
            }
        }
        Ok(Values { json: Bytes::from(self.json), attachments: self.attachments })
    }

    fn separate(&mut self) {
        if self.json.len() > 1 {
            self.json.push(',');
        }
    }
}

/// A JSON string literal.
pub(crate) fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    push_quoted(value, &mut out);
    out
}

/// Appends a JSON string; nearly every name and text has nothing to escape.
pub(crate) fn push_quoted(value: &str, out: &mut String) {
    if value.bytes().any(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        return out.push_str(&serde_json::Value::from(value).to_string());
    }
    out.push('"');
    out.push_str(value);
    out.push('"');
}

/// Appends the object that stands for attachment `num`.
pub(crate) fn push_placeholder(num: usize, out: &mut String) {
    out.push_str(&format!("{{\"_placeholder\":true,\"num\":{num}}}"));
}

fn as_text(json: &Bytes) -> &str {
    // Without `unsafe` the check of UTF-8 is repeated here; ASCII passes it at the speed of memory.
    std::str::from_utf8(json).expect("JSON text is made from str")
}

fn attachment<'a>(attachments: &'a [Bytes], element: &str) -> Option<&'a Bytes> {
    let num = element.strip_prefix("{\"_placeholder\":true,\"num\":")?.strip_suffix('}')?;
    attachments.get(num.parse::<usize>().ok()?)
}

/// Whether the placeholders are the canonical ones, 0 to `count` - 1 in order.
fn is_canonical(json: &str, found: &[scan::Placeholder], count: usize) -> bool {
    let mut expected = String::new();
    found.len() == count
        && found.iter().enumerate().all(|(num, placeholder)| {
            expected.clear();
            push_placeholder(num, &mut expected);
            json.get(placeholder.range.clone()) == Some(&expected)
        })
}

/// Writes the placeholders anew in order of appearance.
fn renumber(json: &str, found: &[scan::Placeholder], attachments: &[Bytes]) -> Result<Values, ValuesError> {
    let mut out = String::with_capacity(json.len());
    let mut ordered = Vec::with_capacity(found.len());
    let mut copied = 0;
    for placeholder in found {
        let named =
            placeholder.num.and_then(|num| attachments.get(num)).ok_or(ValuesError::BadPlaceholder)?;
        out.push_str(json.get(copied..placeholder.range.start).unwrap_or_default());
        push_placeholder(ordered.len(), &mut out);
        ordered.push(named.clone());
        copied = placeholder.range.end;
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Ok(Values { json: Bytes::from(out), attachments: ordered })
}

#[cfg(test)]
pub(crate) mod tests;
