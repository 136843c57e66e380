//! The stored form of a message: everything a receiver may ask for that the queue itself need not know.
//!
//! Owns its bytes. Must not know where they are kept, nor what a queue keeps beside them (id, group, times). Start at
//! [`Content`].
//!
//! ```text
//! version (1) | MD5 of the body (16) | sender | trace header | count (1) | attributes | body to the end
//! sender, trace header: length (2), bytes           attribute: name, type as those, kind (1), length (4), value
//! ```

use std::borrow::Cow;

use super::message::{AttributeValue, Md5, MessageAttribute, MessageAttributes, NewMessage};

/// The form; a reader refuses others.
const VERSION: u8 = 1;

/// Kinds of values.
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// A message as it is stored; an empty one costs 22 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// The body.
    pub body: Cow<'a, str>,
    /// Its digest, so that it is computed once.
    pub body_md5: Md5,
    /// User attributes.
    pub attributes: MessageAttributes<'a>,
    /// Who sent it; may be empty.
    pub sender_id: Cow<'a, str>,
    /// Its trace header; may be empty.
    pub trace_header: Cow<'a, str>,
}

impl<'a> Content<'a> {
    /// What is to be stored of a new message.
    pub fn of(message: NewMessage<'a>, sender_id: &'a str) -> Self {
        Self {
            body_md5: message.body_md5(),
            body: message.body,
            attributes: message.attributes,
            sender_id: Cow::Borrowed(sender_id),
            trace_header: message.trace_header.unwrap_or_default(),
        }
    }

    /// Its bytes. Names, types, sender and trace header are cut at 65,535 bytes, which checked ones never reach.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.body.len() + self.attributes.bytes());
        out.push(VERSION);
        out.extend_from_slice(&self.body_md5.0);
        push_short(&self.sender_id, &mut out);
        push_short(&self.trace_header, &mut out);
        let count = u8::try_from(self.attributes.iter().len()).unwrap_or(u8::MAX);
        out.push(count);
        for attribute in self.attributes.iter().take(usize::from(count)) {
            push_short(&attribute.name, &mut out);
            push_short(&attribute.data_type, &mut out);
            let (kind, value) = match &attribute.value {
                AttributeValue::Text(text) => (TEXT, text.as_bytes()),
                AttributeValue::Binary(bytes) => (BINARY, bytes.as_ref()),
            };
            let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
            out.push(kind);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend(value.iter().take(len as usize));
        }
        out.extend_from_slice(self.body.as_bytes());
        out
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk::<1>()?;
        let (body_md5, mut rest) = rest.split_first_chunk::<16>()?;
        if version != VERSION {
            return None;
        }
        let sender_id = short(&mut rest)?;
        let trace_header = short(&mut rest)?;
        let count = *take(&mut rest, 1)?.first()?;
        let attributes = (0..count).map(|_| attribute(&mut rest)).collect::<Option<_>>()?;
        Some(Self {
            body: Cow::Borrowed(str::from_utf8(rest).ok()?),
            body_md5: Md5(*body_md5),
            attributes: MessageAttributes::new(attributes),
            sender_id: Cow::Borrowed(sender_id),
            trace_header: Cow::Borrowed(trace_header),
        })
    }
}

fn push_short(text: &str, out: &mut Vec<u8>) {
    let mut len = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.bytes().take(len));
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(len)?;
    *rest = behind;
    Some(taken)
}

fn short<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let len = u16::from_be_bytes(*take(rest, 2)?.first_chunk()?);
    str::from_utf8(take(rest, usize::from(len))?).ok()
}

fn attribute<'a>(rest: &mut &'a [u8]) -> Option<MessageAttribute<'a>> {
    let name = Cow::Borrowed(short(rest)?);
    let data_type = Cow::Borrowed(short(rest)?);
    let kind = *take(rest, 1)?.first()?;
    let len = u32::from_be_bytes(*take(rest, 4)?.first_chunk()?);
    let value = take(rest, usize::try_from(len).ok()?)?;
    let value = match kind {
        TEXT => AttributeValue::Text(Cow::Borrowed(str::from_utf8(value).ok()?)),
        BINARY => AttributeValue::Binary(Cow::Borrowed(value)),
        _ => return None,
    };
    Some(MessageAttribute { name, data_type, value })
}
