//! JSON text and attachments to msgpack.
//!
//! Reads the JSON as a stream: lengths of arrays and maps, which msgpack wants first, are filled in behind.

use std::fmt;

use bytes::Bytes;
use rmp::encode as mp;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::super::encode::Fields;
const INFALLIBLE: &str = "a Vec takes every write";

/// Encodes a packet.
pub(in super::super) fn encode(fields: &Fields<'_>) -> Bytes {
    let mut out = Vec::with_capacity(fields.payload.map_or(0, str::len) + fields.namespace.len() + 32);
    let entries = 2 + u32::from(fields.payload.is_some()) + u32::from(fields.id.is_some());
    mp::write_map_len(&mut out, entries).expect(INFALLIBLE);
    write_text("type", &mut out);
    mp::write_uint(&mut out, (fields.digit - b'0').into()).expect(INFALLIBLE);
    if let Some(json) = fields.payload {
        write_text("data", &mut out);
        write_json(json, fields.attachments, &mut out);
    }
    write_text("nsp", &mut out);
    write_text(fields.namespace, &mut out);
    if let Some(id) = fields.id {
        write_text("id", &mut out);
        mp::write_uint(&mut out, id.0).expect(INFALLIBLE);
    }
    Bytes::from(out)
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    mp::write_str(out, text).expect(INFALLIBLE);
}

fn write_json(json: &str, attachments: &[Bytes], out: &mut Vec<u8>) {
    let mut source = serde_json::Deserializer::from_str(json);
    let written = Json(&mut Target { out, attachments }).deserialize(&mut source);
    written.expect("JsonText and Values hold JSON that was checked by the same parser");
}

/// Where values go, and the attachments whose placeholders are still to come.
struct Target<'o> {
    out: &'o mut Vec<u8>,
    attachments: &'o [Bytes],
}

/// Writes one JSON value.
struct Json<'t, 'o>(&'t mut Target<'o>);

impl<'de> DeserializeSeed<'de> for Json<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        mp::write_nil(self.0.out).expect(INFALLIBLE);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        mp::write_bool(self.0.out, value).expect(INFALLIBLE);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        mp::write_uint(self.0.out, value).expect(INFALLIBLE);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        mp::write_sint(self.0.out, value).expect(INFALLIBLE);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        mp::write_f64(self.0.out, value).expect(INFALLIBLE);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_text(value, self.0.out);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let start = self.0.out.len();
        self.0.out.push(0);
        let mut count = 0u32;
        while items.next_element_seed(Json(self.0))?.is_some() {
            count += 1;
        }
        write_head(self.0.out, start, count, &ARRAY);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let start = self.0.out.len();
        self.0.out.push(0);
        let mut count = 0u32;
        while entries.next_key_seed(Json(self.0))?.is_some() {
            entries.next_value_seed(Json(self.0))?;
            count += 1;
        }
        write_head(self.0.out, start, count, &MAP);
        self.0.replace_placeholder(start);
        Ok(())
    }
}

impl Target<'_> {
    /// Puts the next attachment in place of the map written at `start`, if that is its placeholder. Their order is an
    /// invariant of `Values`, so only the first of the rest can be meant.
    fn replace_placeholder(&mut self, start: usize) {
        const FLAG: &[u8] = b"\x82\xac_placeholder\xc3\xa3num";
        let is_placeholder = self.out.get(start..).is_some_and(|map| map.starts_with(FLAG));
        if let Some((data, rest)) = self.attachments.split_first().filter(|_| is_placeholder) {
            self.out.truncate(start);
            mp::write_bin(self.out, data).expect(INFALLIBLE);
            self.attachments = rest;
        }
    }
}

/// First bytes of a container by its length: up to 15, 16 bits, 32 bits.
struct Heads {
    short: u8,
    medium: u8,
    long: u8,
}

const ARRAY: Heads = Heads { short: 0x90, medium: 0xdc, long: 0xdd };
const MAP: Heads = Heads { short: 0x80, medium: 0xde, long: 0xdf };

/// Writes the head of a container into the byte kept free for it at `start`. Short containers, nearly all, fit; for
/// longer ones the content moves by two or four bytes.
fn write_head(out: &mut Vec<u8>, start: usize, count: u32, heads: &Heads) {
    let (head, length) = match (u8::try_from(count), u16::try_from(count)) {
        (Ok(count @ ..16), _) => ([heads.short | count, 0, 0, 0, 0], 1),
        (_, Ok(count)) => {
            let [a, b] = count.to_be_bytes();
            ([heads.medium, a, b, 0, 0], 3)
        }
        _ => {
            let [a, b, c, d] = count.to_be_bytes();
            ([heads.long, a, b, c, d], 5)
        }
    };
    out.splice(start..=start, head.into_iter().take(length));
}
