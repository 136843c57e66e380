//! JSON bodies as trees of members.
//!
//! Owns the bound on what is kept of a body. Must not know which members mean what. Start at [`parse`].

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::input::Node;
use super::limits::MEMBERS_MAX;
use super::{Error, ErrorKind};

/// Reads a body; an empty one is an object without members.
pub(super) fn parse(body: &[u8]) -> Result<Node<'_>, Error> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Node::Map(Vec::new()));
    }
    let left = Cell::new(MEMBERS_MAX);
    let mut source = serde_json::Deserializer::from_slice(body);
    let node = Seed(&left).deserialize(&mut source).and_then(|node| source.end().map(|()| node));
    node.map_err(|error| {
        if left.get() == 0 {
            return Error::too_many_members();
        }
        // Only the place: the text of the parser may repeat any part of the body.
        let (line, column) = (error.line(), error.column());
        Error::new(
            ErrorKind::SerializationException,
            format!("The body is not valid JSON at line {line}, column {column}."),
        )
    })
}

/// Reads one value and counts it.
#[derive(Clone, Copy)]
struct Seed<'c>(&'c Cell<usize>);

impl Seed<'_> {
    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let left = self.0.get().saturating_sub(1);
        self.0.set(left);
        if left == 0 { Err(E::custom("too many members")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Node<'de>, D::Error> {
        self.count()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node<'de>, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node<'de>, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node<'de>, E> {
        Ok(Node::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
        // No range reaches so far; the largest number is out of each of them.
        Ok(Node::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node<'de>, E> {
        Ok(Node::Decimal(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E>(self, text: String) -> Result<Node<'de>, E> {
        Ok(Node::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Node<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = source.next_element_seed(self)? {
            list.push(node);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Node<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = source.next_key_seed(self)? {
            let Node::Text(key) = key else { return Err(A::Error::custom("a key is no text")) };
            map.push((key, source.next_value_seed(self)?));
        }
        Ok(Node::Map(map))
    }
}
