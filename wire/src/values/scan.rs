//! Reading JSON text without building a tree: a strict check, a tokenizer, the elements of an array, placeholders.
//!
//! [`check`] is the only function that takes unknown text; all others rely on its verdict. Private to `values`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::ValuesError;

/// `serde_json` refuses deeper text by itself; staying below keeps the two causes apart, and leaves room for the
/// objects that later wrap the text.
const DEPTH_LIMIT: usize = 120;

/// The kind of a whole JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Array,
    Object,
    String,
    Other,
}

/// Checks that `text` is one JSON value which every strict parser takes: no lone surrogates, numbers within `f64`, and
/// at most `depth_max` nested arrays and objects.
pub(super) fn check(text: &str, depth_max: usize) -> Result<Shape, ValuesError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let check = Check { depth_left: depth_max.min(DEPTH_LIMIT) };
    let shape = check.deserialize(&mut json).and_then(|shape| json.end().map(|()| shape));
    shape.map_err(|error| match error.classify() {
        Category::Data => ValuesError::TooDeep,
        _ => ValuesError::NotJson,
    })
}

#[derive(Clone, Copy)]
struct Check {
    depth_left: usize,
}

impl Check {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Shape, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::String)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(Shape::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let inner = self.deeper()?;
        while entries.next_entry_seed(inner, inner)?.is_some() {}
        Ok(Shape::Object)
    }
}

/// Replaces each `\uD800`..`\uDFFF` escape without its other half by `\ufffd`, which has the same length. JavaScript
/// writes them for strings cut inside a character, and reads them; other languages' parsers refuse the whole text.
/// Text without such escapes is returned as it is.
pub(super) fn repair_surrogates(text: &str) -> Cow<'_, str> {
    let mut repaired = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some((escape, end)) = next_escape(text, at) {
        at = match surrogate(text, escape) {
            Some(0xd800..0xdc00) if matches!(surrogate(text, end), Some(0xdc00..0xe000)) => end + 6,
            Some(_) => {
                repaired.push_str(text.get(copied..escape).unwrap_or_default());
                repaired.push_str("\\ufffd");
                copied = end;
                end
            }
            None => end,
        };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    repaired.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(repaired)
}

/// Range of the next escape at or after `from`: six bytes for a surrogate, else the backslash and the byte after it.
fn next_escape(text: &str, from: usize) -> Option<(usize, usize)> {
    let start = from + text.get(from..)?.find('\\')?;
    let length = if surrogate(text, start).is_some() { 6 } else { 2 };
    Some((start, start + length))
}

/// The code unit of the escape at `at`, if it is half of a surrogate pair.
fn surrogate(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..0xe000).contains(&unit).then_some(unit)
}

/// The value of a JSON string literal, quotes included.
pub(super) fn unquote(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(literal).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// `{` or `[`; whether keys follow.
    Open(Container),
    Close,
    Comma,
    Colon,
    Text,
    /// A number, `true`, `false` or `null`.
    Literal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Array,
    Object,
}

/// The tokens of checked JSON text with their byte ranges.
#[derive(Clone, Debug)]
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Tokens<'_> {
    fn end_of_text(&self, start: usize) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        loop {
            match bytes.get(at) {
                Some(b'"') => return at + 1,
                Some(b'\\') => at += 2,
                Some(_) => at += 1,
                None => return bytes.len(),
            }
        }
    }

    fn end_of_literal(&self, start: usize) -> usize {
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        start
            + rest
                .iter()
                .take_while(|b| !matches!(b, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t'))
                .count()
    }
}

impl Iterator for Tokens<'_> {
    type Item = (Token, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let start = self.at + rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let (token, end) = match *self.text.as_bytes().get(start)? {
            b'{' => (Token::Open(Container::Object), start + 1),
            b'[' => (Token::Open(Container::Array), start + 1),
            b'}' | b']' => (Token::Close, start + 1),
            b',' => (Token::Comma, start + 1),
            b':' => (Token::Colon, start + 1),
            b'"' => (Token::Text, self.end_of_text(start)),
            _ => (Token::Literal, self.end_of_literal(start)),
        };
        self.at = end;
        Some((token, start..end))
    }
}

/// The elements of an array as JSON text, in order.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    tokens: Tokens<'a>,
}

impl<'a> Elements<'a> {
    /// Over checked text of an array.
    pub(super) fn new(array: &'a str) -> Self {
        let mut tokens = Tokens { text: array, at: 0 };
        tokens.next();
        Self { tokens }
    }

    /// What has not been handed out, without the closing bracket.
    pub(super) fn rest(&self) -> &'a str {
        let end = self.tokens.text.len().saturating_sub(1);
        self.tokens.text.get(self.tokens.at..end).unwrap_or_default().trim()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let mut depth = 0usize;
        let mut range: Option<Range<usize>> = None;
        for (token, at) in self.tokens.by_ref() {
            match token {
                Token::Comma | Token::Close if depth == 0 => break,
                Token::Open(_) => depth += 1,
                Token::Close => depth -= 1,
                _ => {}
            }
            range = Some(range.map_or(at.start, |range| range.start)..at.end);
        }
        self.tokens.text.get(range?)
    }
}

/// An object that stands for an attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Where the object stands in the text.
    pub range: Range<usize>,
    /// Its `num`; `None` where that is missing or no small whole number.
    pub num: Option<usize>,
}

/// An object or array that is still open.
struct Frame {
    start: usize,
    container: Container,
    key: Key,
    flag: bool,
    num: Option<usize>,
}

/// The key whose value comes next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Expected,
    Flag,
    Num,
    Other,
}

/// The placeholders of checked text in order of appearance. As in JavaScript the last of several equal keys counts,
/// keys may be written with escapes, and other keys of the object do not matter: a reader there replaces the object
/// as soon as `_placeholder` is `true`, so nothing that looks so to it may pass unseen.
pub(super) fn placeholders(text: &str) -> Vec<Placeholder> {
    let mut found: Vec<Placeholder> = Vec::new();
    let mut open: Vec<Frame> = Vec::new();
    for (token, at) in (Tokens { text, at: 0 }) {
        match token {
            Token::Open(container) => {
                value(open.last_mut(), "");
                open.push(Frame { start: at.start, container, key: Key::Expected, flag: false, num: None });
            }
            Token::Close => {
                if let Some(Frame { start, flag: true, num, .. }) = open.pop() {
                    // Inner ones vanish with the object that holds them.
                    while found.pop_if(|inner| inner.range.start > start).is_some() {}
                    found.push(Placeholder { range: start..at.end, num });
                }
            }
            Token::Comma => {
                if let Some(frame) = open.last_mut() {
                    frame.key = Key::Expected;
                }
            }
            Token::Colon => {}
            Token::Text | Token::Literal => value(open.last_mut(), text.get(at).unwrap_or_default()),
        }
    }
    found
}

/// Notes a key or a value of the innermost object.
fn value(frame: Option<&mut Frame>, text: &str) {
    let Some(frame) = frame.filter(|frame| frame.container == Container::Object) else { return };
    match frame.key {
        Key::Expected => {
            frame.key = match unquote(text).as_deref() {
                Some("_placeholder") => Key::Flag,
                Some("num") => Key::Num,
                _ => Key::Other,
            }
        }
        Key::Flag => frame.flag = text == "true",
        Key::Num => frame.num = text.parse().ok(),
        Key::Other => {}
    }
}
