//! Building properties that are to be sent.
//!
//! Owns their encoding. Must not know packets: whether a property may stand in one is the caller's to know. Start at
//! [`PropertyBuf`].

use bytes::BufMut;

use super::{Kind, Properties, Property, Value};
use crate::mqtt::Error;
use crate::mqtt::encode::put_varint;
use crate::mqtt::error::fault;
use crate::mqtt::frame::VARINT_MAX;
use crate::mqtt::reader::check_characters;

/// Properties in the making; allocates at the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyBuf {
    raw: Vec<u8>,
}

impl PropertyBuf {
    /// No properties yet.
    pub const fn new() -> Self {
        Self { raw: Vec::new() }
    }

    /// Only a reason string; none if it has over 65,535 bytes or control characters.
    pub fn with_reason_string(text: &str) -> Self {
        let mut properties = Self::new();
        properties.push_if_it_fits(Property::ReasonString, Value::Text(text));
        properties
    }

    /// Appends a property.
    ///
    /// # Errors
    /// The value is of another type than the property's, breaks its rule, is longer than the wire can say, or has
    /// characters that are refused from clients, too.
    pub fn push(&mut self, property: Property, value: Value<'_>) -> Result<(), Error> {
        if kind(value) != property.kind() || !has_form(value) {
            return Err(fault!(malformed("value has no form for this property")).into());
        }
        match value {
            Value::Byte(value) => property.check_number(u32::from(value))?,
            Value::U16(value) => property.check_number(u32::from(value))?,
            Value::U32(value) | Value::Varint(value) => property.check_number(value)?,
            Value::Text(text) => {
                check_characters(text)?;
                property.check_text(text)?;
            }
            Value::Binary(_) => {}
            Value::Pair(name, value) => {
                check_characters(name)?;
                check_characters(value)?;
            }
        }
        self.raw.put_u8(property as u8);
        match value {
            Value::Byte(value) => self.raw.put_u8(value),
            Value::U16(value) => self.raw.put_u16(value),
            Value::U32(value) => self.raw.put_u32(value),
            Value::Varint(value) => put_varint(value as usize, &mut self.raw),
            Value::Text(text) => self.put_field(text.as_bytes()),
            Value::Binary(bytes) => self.put_field(bytes),
            Value::Pair(name, value) => {
                self.put_field(name.as_bytes());
                self.put_field(value.as_bytes());
            }
        }
        Ok(())
    }

    /// Appends a user property.
    ///
    /// # Errors
    /// Name or value has over 65,535 bytes or a character that is refused.
    pub fn push_user_property(&mut self, name: &str, value: &str) -> Result<(), Error> {
        self.push(Property::UserProperty, Value::Pair(name, value))
    }

    /// Appends an entry of validated properties.
    pub(in crate::mqtt) fn push_entry(&mut self, entry: &[u8]) {
        self.raw.extend_from_slice(entry);
    }

    /// Appends a property unless it has no form.
    pub(in crate::mqtt) fn push_if_it_fits(&mut self, property: Property, value: Value<'_>) {
        // What is left out is too long or has refused characters; the callers say so.
        let _left_out = self.push(property, value);
    }

    /// What has been built, to put it into a packet.
    pub fn as_properties(&self) -> Properties<'_> {
        Properties::from_checked(&self.raw)
    }

    /// Its bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.raw
    }

    fn put_field(&mut self, bytes: &[u8]) {
        self.raw.put_u16(bytes.len() as u16);
        self.raw.put_slice(bytes);
    }
}

const fn kind(value: Value<'_>) -> Kind {
    match value {
        Value::Byte(_) => Kind::Byte,
        Value::U16(_) => Kind::U16,
        Value::U32(_) => Kind::U32,
        Value::Varint(_) => Kind::Varint,
        Value::Text(_) => Kind::Text,
        Value::Binary(_) => Kind::Binary,
        Value::Pair(..) => Kind::Pair,
    }
}

const fn has_form(value: Value<'_>) -> bool {
    const FIELD_BYTES_MAX: usize = u16::MAX as usize;
    match value {
        Value::Byte(_) | Value::U16(_) | Value::U32(_) => true,
        Value::Varint(value) => value <= VARINT_MAX,
        Value::Text(text) => text.len() <= FIELD_BYTES_MAX,
        Value::Binary(bytes) => bytes.len() <= FIELD_BYTES_MAX,
        Value::Pair(name, value) => name.len() <= FIELD_BYTES_MAX && value.len() <= FIELD_BYTES_MAX,
    }
}
