//! msgpack to JSON text and attachments.
//!
//! | msgpack | JSON |
//! |---|---|
//! | `bin`, and extension 0 of variable length (an ArrayBuffer) | placeholder and attachment |
//! | extension 0 of 1 byte (`undefined`) | `null` in an array, left out of a map |
//! | extension 0 of 8 bytes (a Date), extension -1 (a timestamp) | string in ISO 8601 form |
//! | other extensions | `[type, placeholder]`, as the reference reads them |
//! | NaN and infinite numbers | `null` |

use std::fmt::Write as _;

use bytes::Bytes;
use rmp::Marker;

use super::super::decode::Type;
use super::super::{AckId, Limits, Violation};
use crate::values::{push_placeholder, quote};

/// The fields of a packet, not yet checked against each other.
#[derive(Debug)]
pub(in super::super) struct Message {
    pub(in super::super) kind: Type,
    pub(in super::super) namespace: String,
    pub(in super::super) id: Option<AckId>,
    /// JSON text of `data`.
    pub(in super::super) json: Option<String>,
    pub(in super::super) attachments: Vec<Bytes>,
}

/// Reads one packet.
pub(in super::super) fn decode(data: &[u8], limits: &Limits) -> Result<Message, Violation> {
    let mut bytes = Reader { rest: data };
    let entries = match bytes.marker()? {
        Marker::FixMap(entries) => entries,
        _ => return Err(Violation::BadMsgPack),
    };
    let (mut kind, mut namespace, mut id, mut json) = (None, None, None, None);
    let mut out = Translator::new(limits);
    for _ in 0..entries {
        let key = bytes.key()?;
        match key.as_str() {
            "type" => kind = Some(packet_type(&mut bytes)?),
            "nsp" => namespace = Some(bytes.text()?.ok_or(Violation::BadNamespace)?),
            "id" => id = ack_id(&mut bytes)?,
            "data" if json.is_none() => json = Some(out.take(&mut bytes)?),
            "data" => return Err(Violation::BadMsgPack),
            _ => Translator::new(limits).take(&mut bytes).map(drop)?,
        }
    }
    if !bytes.rest.is_empty() {
        return Err(Violation::BadMsgPack);
    }
    if out.has_lookalike && !out.attachments.is_empty() {
        return Err(Violation::BadPlaceholder);
    }
    Ok(Message {
        kind: kind.ok_or(Violation::UnknownType)?,
        namespace: namespace.ok_or(Violation::BadNamespace)?,
        id,
        json: json.flatten(),
        attachments: out.attachments,
    })
}

fn packet_type(bytes: &mut Reader<'_>) -> Result<Type, Violation> {
    let marker = bytes.marker()?;
    match bytes.integer(marker)? {
        Some(0) => Ok(Type::Connect),
        Some(1) => Ok(Type::Disconnect),
        Some(2) => Ok(Type::Event),
        Some(3) => Ok(Type::Ack),
        Some(4) => Ok(Type::ConnectError),
        _ => Err(Violation::UnknownType),
    }
}

/// A whole number; `undefined` counts as absent, since JavaScript writes it for a key without value.
fn ack_id(bytes: &mut Reader<'_>) -> Result<Option<AckId>, Violation> {
    let marker = bytes.marker()?;
    if marker == Marker::FixExt1 && bytes.array::<2>()? == [0, 0] {
        return Ok(None);
    }
    let id = bytes.integer(marker)?.and_then(|id| u64::try_from(id).ok());
    Ok(Some(AckId(id.ok_or(Violation::BadAckId)?)))
}

/// The unread bytes of a message.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Violation::BadMsgPack)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Violation> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Violation::BadMsgPack)?;
        self.rest = rest;
        Ok(head)
    }

    fn marker(&mut self) -> Result<Marker, Violation> {
        let [byte] = self.array()?;
        Ok(Marker::from_u8(byte))
    }

    fn len8(&mut self) -> Result<usize, Violation> {
        self.array().map(|bytes| usize::from(u8::from_be_bytes(bytes)))
    }

    fn len16(&mut self) -> Result<usize, Violation> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn len32(&mut self) -> Result<usize, Violation> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    /// The number behind an integer's marker; `None` for every other marker.
    fn integer(&mut self, marker: Marker) -> Result<Option<i128>, Violation> {
        Ok(Some(match marker {
            Marker::FixPos(number) => number.into(),
            Marker::FixNeg(number) => number.into(),
            Marker::U8 => u8::from_be_bytes(self.array()?).into(),
            Marker::U16 => u16::from_be_bytes(self.array()?).into(),
            Marker::U32 => u32::from_be_bytes(self.array()?).into(),
            Marker::U64 => u64::from_be_bytes(self.array()?).into(),
            Marker::I8 => i8::from_be_bytes(self.array()?).into(),
            Marker::I16 => i16::from_be_bytes(self.array()?).into(),
            Marker::I32 => i32::from_be_bytes(self.array()?).into(),
            Marker::I64 => i64::from_be_bytes(self.array()?).into(),
            _ => return Ok(None),
        }))
    }

    /// The text behind a string's marker; `None` for every other marker. Broken UTF-8, which JavaScript writes for a
    /// string cut inside a character, is mended as the reference does.
    fn string(&mut self, marker: Marker) -> Result<Option<String>, Violation> {
        let length = match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.len8()?,
            Marker::Str16 => self.len16()?,
            Marker::Str32 => self.len32()?,
            _ => return Ok(None),
        };
        Ok(Some(String::from_utf8_lossy(self.take(length)?).into_owned()))
    }

    /// The data behind the marker of a `bin`.
    fn bin(&mut self, marker: Marker) -> Result<Option<&'a [u8]>, Violation> {
        let length = match marker {
            Marker::Bin8 => self.len8()?,
            Marker::Bin16 => self.len16()?,
            Marker::Bin32 => self.len32()?,
            _ => return Ok(None),
        };
        self.take(length).map(Some)
    }

    fn text(&mut self) -> Result<Option<String>, Violation> {
        let marker = self.marker()?;
        self.string(marker)
    }

    /// A map's key; JavaScript turns numbers into strings here.
    fn key(&mut self) -> Result<String, Violation> {
        let marker = self.marker()?;
        if let Some(number) = self.integer(marker)? {
            return Ok(number.to_string());
        }
        self.string(marker)?.ok_or(Violation::BadMsgPack)
    }
}

/// Whether a value left text behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Value,
    Undefined,
}

/// The JSON written so far.
struct Translator<'l> {
    json: String,
    attachments: Vec<Bytes>,
    limits: &'l Limits,
    /// A map in the data looks like a placeholder: beside true ones nobody could tell it from them.
    has_lookalike: bool,
}

impl<'l> Translator<'l> {
    const fn new(limits: &'l Limits) -> Self {
        Self { json: String::new(), attachments: Vec::new(), limits, has_lookalike: false }
    }

    /// Translates one value; `None` = undefined.
    fn take(&mut self, bytes: &mut Reader<'_>) -> Result<Option<String>, Violation> {
        let written = self.value(bytes, self.limits.values.depth_max)?;
        let json = std::mem::take(&mut self.json);
        Ok((written == Written::Value).then_some(json))
    }

    fn value(&mut self, bytes: &mut Reader<'_>, depth_left: usize) -> Result<Written, Violation> {
        if self.json.len() > self.limits.values.bytes_max {
            return Err(Violation::TooLarge);
        }
        let marker = bytes.marker()?;
        if let Some(number) = bytes.integer(marker)? {
            return Ok(self.push(number));
        }
        if let Some(text) = bytes.string(marker)? {
            return Ok(self.push(quote(&text)));
        }
        if let Some(data) = bytes.bin(marker)? {
            return self.attach(data);
        }
        match marker {
            Marker::Null => Ok(self.push("null")),
            Marker::True => Ok(self.push("true")),
            Marker::False => Ok(self.push("false")),
            Marker::F32 => Ok(self.push(float(f32::from_be_bytes(bytes.array()?).into()))),
            Marker::F64 => Ok(self.push(float(f64::from_be_bytes(bytes.array()?)))),
            Marker::FixArray(length) => self.array(bytes, length.into(), depth_left),
            Marker::Array16 => {
                let length = bytes.len16()?;
                self.array(bytes, length, depth_left)
            }
            Marker::Array32 => {
                let length = bytes.len32()?;
                self.array(bytes, length, depth_left)
            }
            Marker::FixMap(length) => self.map(bytes, length.into(), depth_left),
            Marker::Map16 => {
                let length = bytes.len16()?;
                self.map(bytes, length, depth_left)
            }
            Marker::Map32 => {
                let length = bytes.len32()?;
                self.map(bytes, length, depth_left)
            }
            extension => self.extension(bytes, extension),
        }
    }

    fn array(
        &mut self,
        bytes: &mut Reader<'_>,
        length: usize,
        depth_left: usize,
    ) -> Result<Written, Violation> {
        let depth_left = depth_left.checked_sub(1).ok_or(Violation::TooDeep)?;
        self.json.push('[');
        for at in 0..length {
            if at > 0 {
                self.json.push(',');
            }
            if self.value(bytes, depth_left)? == Written::Undefined {
                self.json.push_str("null");
            }
        }
        Ok(self.push("]"))
    }

    fn map(
        &mut self,
        bytes: &mut Reader<'_>,
        length: usize,
        depth_left: usize,
    ) -> Result<Written, Violation> {
        let depth_left = depth_left.checked_sub(1).ok_or(Violation::TooDeep)?;
        self.json.push('{');
        let first = self.json.len();
        let mut is_lookalike = false;
        for _ in 0..length {
            let before = self.json.len();
            if before > first {
                self.json.push(',');
            }
            let key = bytes.key()?;
            self.push(quote(&key));
            self.json.push(':');
            let value = self.json.len();
            if self.value(bytes, depth_left)? == Written::Undefined {
                self.json.truncate(before);
            } else if key == "_placeholder" {
                // Of equal keys the last counts.
                is_lookalike = self.json.get(value..) == Some("true");
            }
        }
        self.has_lookalike |= is_lookalike;
        Ok(self.push("}"))
    }

    fn extension(&mut self, bytes: &mut Reader<'_>, marker: Marker) -> Result<Written, Violation> {
        let (length, fixed) = match marker {
            Marker::FixExt1 => (1, true),
            Marker::FixExt2 => (2, true),
            Marker::FixExt4 => (4, true),
            Marker::FixExt8 => (8, true),
            Marker::FixExt16 => (16, true),
            Marker::Ext8 => (bytes.len8()?, false),
            Marker::Ext16 => (bytes.len16()?, false),
            Marker::Ext32 => (bytes.len32()?, false),
            _ => return Err(Violation::BadMsgPack),
        };
        let kind = i8::from_be_bytes(bytes.array()?);
        let data = bytes.take(length)?;
        match (kind, data) {
            (0, data) if !fixed => self.attach(data),
            (0, [_]) => Ok(Written::Undefined),
            (0, &[a, b, c, d, e, f, g, h]) => Ok(self.date(i64::from_be_bytes([a, b, c, d, e, f, g, h]))),
            (-1, data) if timestamp_ms(data).is_some() => {
                Ok(self.date(timestamp_ms(data).unwrap_or_default()))
            }
            (kind, data) => {
                self.push(format_args!("[{kind},"));
                self.attach(data)?;
                Ok(self.push("]"))
            }
        }
    }

    fn date(&mut self, time_ms: i64) -> Written {
        match iso8601(time_ms) {
            Some(text) => self.push(quote(&text)),
            None => self.push("null"),
        }
    }

    fn attach(&mut self, data: &[u8]) -> Result<Written, Violation> {
        if self.attachments.len() == self.limits.values.attachments_max {
            return Err(Violation::TooManyAttachments);
        }
        push_placeholder(self.attachments.len(), &mut self.json);
        self.attachments.push(Bytes::copy_from_slice(data));
        Ok(Written::Value)
    }

    fn push(&mut self, text: impl std::fmt::Display) -> Written {
        write!(self.json, "{text}").expect("a String takes every write");
        Written::Value
    }
}

/// A JSON number, `null` where JSON has none.
fn float(number: f64) -> serde_json::Value {
    serde_json::Value::from(number)
}

/// Milliseconds since 1970 of a timestamp extension: 32 bits of seconds; 30 of nanoseconds and 34 of seconds; or 32 of
/// nanoseconds and 64 of seconds. `None` for any other length or a time that does not fit.
fn timestamp_ms(data: &[u8]) -> Option<i64> {
    let (seconds, nanos) = match *data {
        [a, b, c, d] => (u32::from_be_bytes([a, b, c, d]).into(), 0),
        [a, b, c, d, e, f, g, h] => {
            let packed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            (i64::try_from(packed & 0x3_ffff_ffff).ok()?, i64::try_from(packed >> 34).ok()?)
        }
        [n1, n2, n3, n4, a, b, c, d, e, f, g, h] => {
            (i64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([n1, n2, n3, n4]).into())
        }
        _ => return None,
    };
    seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)
}

/// As JavaScript's `Date.prototype.toJSON`: UTC with milliseconds, six digits and a sign for years beyond 0 to 9999.
/// `None` beyond the range of a Date.
fn iso8601(time_ms: i64) -> Option<String> {
    const RANGE_MS: i64 = 8_640_000_000_000_000;
    const DAY_MS: i64 = 86_400_000;
    if !(-RANGE_MS..=RANGE_MS).contains(&time_ms) {
        return None;
    }
    let (year, month, day) = civil(time_ms.div_euclid(DAY_MS));
    let ms = time_ms.rem_euclid(DAY_MS);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000))
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are taken to begin
/// in March, so that the leap day is the last of its year.
const fn civil(day: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    let from_march_0 = day + 719_468;
    let era = from_march_0.div_euclid(ERA_DAYS);
    let day_of_era = from_march_0.rem_euclid(ERA_DAYS);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}
