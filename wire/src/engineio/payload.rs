//! Poll bodies: several packets in one HTTP request or answer.
//!
//! Owns the three ways packets are joined. Must not know HTTP beyond the name of the content type. Start at
//! [`Packets`] for reading and [`PayloadWriter`] for writing.
//!
//! | form | layout |
//! |---|---|
//! | `V4` | packets joined by `1e`, binary as `b<base64>` |
//! | `V3Text` | `<length>:<packet>` repeated, length in UTF-16 code units, binary as `b4<base64>` |
//! | `V3Binary` | `00` text or `01` binary, the length in bytes as digit bytes 0-9, `ff`, the packet |

use std::fmt;

use super::packet::{MESSAGE_BYTE, base64_len, write_base64};
use super::{Packet, PacketError, Version};

const SEPARATOR: char = '\u{1e}';
/// Ends the length in `V3Binary`.
const LENGTH_END: u8 = 0xff;
/// Ten digits hold every length a body can have; more are only work for the reader.
const LENGTH_DIGITS_MAX: usize = 10;

/// How the packets of one body are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadForm {
    /// Revision 4, always text.
    V4,
    /// Revision 3 without raw binary.
    V3Text,
    /// Revision 3 with raw binary, `application/octet-stream`.
    V3Binary,
}

impl PayloadForm {
    /// The value of `Content-Type` for a body of this form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V4 | Self::V3Text => "text/plain; charset=UTF-8",
            Self::V3Binary => "application/octet-stream",
        }
    }

    const fn version(self) -> Version {
        match self {
            Self::V4 => Version::V4,
            Self::V3Text | Self::V3Binary => Version::V3,
        }
    }
}

/// Why a body is no payload. Packets before the fault have been handed out; the session ends either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// A body without a byte.
    Empty,
    /// A text form, or a text packet in `V3Binary`, that is not UTF-8.
    NotUtf8,
    /// Revision 3: the length is missing, no number, too long, or ends inside a character.
    BadLength,
    /// Revision 3: the body ends before the length says.
    Truncated,
    /// More packets than the limit.
    TooManyPackets,
    /// A packet in the body is broken.
    Packet(PacketError),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("empty payload"),
            Self::NotUtf8 => f.write_str("payload is not UTF-8"),
            Self::BadLength => f.write_str("invalid packet length"),
            Self::Truncated => f.write_str("payload ends inside a packet"),
            Self::TooManyPackets => f.write_str("too many packets in one payload"),
            Self::Packet(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PayloadError {}

impl From<PacketError> for PayloadError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

/// The packets of a body in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    rest: Rest<'a>,
    version: Version,
    packets_left: usize,
}

/// What of a body is still unread.
#[derive(Clone, Copy, Debug)]
enum Rest<'a> {
    V4(&'a str),
    V3Text(&'a str),
    V3Binary(&'a [u8]),
    Done,
}

/// One packet before its type is looked at.
#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Packets<'a> {
    /// Reads `body` in the given form and hands out at most `packets_max` packets; one more is an error, because a
    /// small body may hold a packet for every two bytes.
    ///
    /// # Errors
    /// [`PayloadError::Empty`] and [`PayloadError::NotUtf8`] before the first packet.
    pub fn new(form: PayloadForm, body: &'a [u8], packets_max: usize) -> Result<Self, PayloadError> {
        if body.is_empty() {
            return Err(PayloadError::Empty);
        }
        let text = || std::str::from_utf8(body).map_err(|_| PayloadError::NotUtf8);
        let rest = match form {
            PayloadForm::V4 => Rest::V4(text()?),
            PayloadForm::V3Text => Rest::V3Text(text()?),
            PayloadForm::V3Binary => Rest::V3Binary(body),
        };
        Ok(Self { rest, version: form.version(), packets_left: packets_max })
    }

    fn next_piece(&mut self) -> Result<Option<Piece<'a>>, PayloadError> {
        match self.rest {
            Rest::V4(text) => {
                let (packet, rest) = match text.split_once(SEPARATOR) {
                    Some((packet, rest)) => (packet, Rest::V4(rest)),
                    None => (text, Rest::Done),
                };
                self.rest = rest;
                Ok(Some(Piece::Text(packet)))
            }
            Rest::V3Text("") | Rest::V3Binary([]) | Rest::Done => Ok(None),
            Rest::V3Text(text) => {
                let (length, text) = text.split_once(':').ok_or(PayloadError::BadLength)?;
                let (packet, rest) =
                    split_utf16(text, decimal(length.bytes().map(|b| b.wrapping_sub(b'0')))?)?;
                self.rest = Rest::V3Text(rest);
                Ok(Some(Piece::Text(packet)))
            }
            Rest::V3Binary(bytes) => {
                let (piece, rest) = split_binary(bytes)?;
                self.rest = Rest::V3Binary(rest);
                Ok(Some(piece))
            }
        }
    }

    fn next_packet(&mut self) -> Result<Option<Packet<'a>>, PayloadError> {
        while let Some(piece) = self.next_piece()? {
            if self.packets_left == 0 {
                return Err(PayloadError::TooManyPackets);
            }
            self.packets_left -= 1;
            let packet = match (piece, self.version) {
                // `0:` is how revision 3 writes a payload without packets.
                (Piece::Text(""), Version::V3) => None,
                (Piece::Text(text), version) => Some(Packet::from_text(version, text)?),
                (Piece::Binary(data), version) => Packet::from_binary_frame(version, data),
            };
            if packet.is_some() {
                return Ok(packet);
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PayloadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.next_packet().transpose();
        if !matches!(item, Some(Ok(_))) {
            self.rest = Rest::Done;
        }
        item
    }
}

/// A length from its digits, each 0 to 9.
fn decimal(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, PayloadError> {
    if digits.len() == 0 || digits.len() > LENGTH_DIGITS_MAX {
        return Err(PayloadError::BadLength);
    }
    let mut length = 0usize;
    for digit in digits {
        if digit > 9 {
            return Err(PayloadError::BadLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|n| n.checked_add(usize::from(digit)))
            .ok_or(PayloadError::BadLength)?;
    }
    Ok(length)
}

/// Splits after `units` UTF-16 code units.
fn split_utf16(text: &str, units: usize) -> Result<(&str, &str), PayloadError> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return text.split_at_checked(at).ok_or(PayloadError::BadLength);
        }
        // A client cannot count half a character: the length is wrong.
        left = left.checked_sub(character.len_utf16()).ok_or(PayloadError::BadLength)?;
    }
    if left == 0 { Ok((text, "")) } else { Err(PayloadError::Truncated) }
}

/// Takes the first packet of a `V3Binary` body.
fn split_binary(bytes: &[u8]) -> Result<(Piece<'_>, &[u8]), PayloadError> {
    let (&kind, bytes) = bytes.split_first().ok_or(PayloadError::Truncated)?;
    let digits = bytes.iter().take(LENGTH_DIGITS_MAX + 1).take_while(|&&b| b != LENGTH_END).count();
    let (digits, bytes) = bytes.split_at_checked(digits).ok_or(PayloadError::Truncated)?;
    let length = decimal(digits.iter().copied())?;
    let (_, bytes) = bytes.split_first().ok_or(PayloadError::Truncated)?;
    let (packet, rest) = bytes.split_at_checked(length).ok_or(PayloadError::Truncated)?;
    match kind {
        0 => Ok((Piece::Text(std::str::from_utf8(packet).map_err(|_| PayloadError::NotUtf8)?), rest)),
        1 => Ok((Piece::Binary(packet), rest)),
        _ => Err(PayloadError::BadLength),
    }
}

/// What the reader of a body can take for binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryAs {
    /// Base64 in text: always in revision 4, in revision 3 with `b64=1`.
    Base64,
    /// Raw bytes in revision 3; revision 4 has no such form and writes base64.
    Raw,
}

/// A finished body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The bytes of the body.
    pub body: Vec<u8>,
    /// Their form, which names the content type.
    pub form: PayloadForm,
}

/// Joins packets into one body.
///
/// Revision 3 with [`BinaryAs::Raw`] begins as text and turns into the binary form at the first binary message; the
/// packets so far are then copied once, so text batches, nearly all of them, pay nothing.
#[derive(Clone, Debug)]
pub struct PayloadWriter {
    body: Vec<u8>,
    form: PayloadForm,
    binary: BinaryAs,
}

impl PayloadWriter {
    /// An empty body.
    pub const fn new(version: Version, binary: BinaryAs) -> Self {
        let form = match version {
            Version::V3 => PayloadForm::V3Text,
            Version::V4 => PayloadForm::V4,
        };
        Self { body: Vec::new(), form, binary }
    }

    /// Appends one packet.
    pub fn push(&mut self, packet: &Packet<'_>) {
        if let Packet::Binary(data) = packet {
            return self.push_binary(data);
        }
        let mut text = Vec::new();
        packet.write_text(self.form.version(), &mut text);
        self.push_text(&text);
    }

    /// Appends a packet that is already in its text form, type digit included: the same bytes a WebSocket text
    /// frame carries, so a shared frame is copied and not encoded again. Must be UTF-8 and, in revision 4, free of
    /// the byte `1e`; JSON always is.
    pub fn push_text(&mut self, text: &[u8]) {
        match self.form {
            PayloadForm::V4 => self.separate(),
            PayloadForm::V3Text => {
                self.body.extend_from_slice(utf16_len(text).to_string().as_bytes());
                self.body.push(b':');
            }
            PayloadForm::V3Binary => write_binary_head(0, text.len(), &mut self.body),
        }
        self.body.extend_from_slice(text);
    }

    /// Appends a binary message.
    pub fn push_binary(&mut self, data: &[u8]) {
        if self.form == PayloadForm::V3Text && self.binary == BinaryAs::Raw {
            self.turn_binary();
        }
        match self.form {
            PayloadForm::V4 => {
                self.separate();
                write_base64(Version::V4, data, &mut self.body);
            }
            PayloadForm::V3Text => {
                let length = base64_len(Version::V3, data.len());
                self.body.extend_from_slice(length.to_string().as_bytes());
                self.body.push(b':');
                write_base64(Version::V3, data, &mut self.body);
            }
            PayloadForm::V3Binary => {
                write_binary_head(1, data.len() + 1, &mut self.body);
                self.body.push(MESSAGE_BYTE);
                self.body.extend_from_slice(data);
            }
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether no packet was appended yet.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Bytes the body has after [`Self::push_text`] of `text`. A client keeps this within `maxPayload`.
    pub fn len_with_text(&self, text: &[u8]) -> usize {
        let head = match self.form {
            PayloadForm::V4 => usize::from(!self.body.is_empty()),
            PayloadForm::V3Text => digits(utf16_len(text)) + 1,
            PayloadForm::V3Binary => digits(text.len()) + 2,
        };
        self.body.len() + head + text.len()
    }

    /// Bytes the body has after [`Self::push_binary`] of `len` bytes. In revision 3 raw the first binary message
    /// also rewrites what is there, which changes the length by at most three bytes for each packet so far; those
    /// are not counted.
    pub fn len_with_binary(&self, len: usize) -> usize {
        let added = match (self.form, self.binary) {
            (PayloadForm::V4, _) => usize::from(!self.body.is_empty()) + base64_len(Version::V4, len),
            (PayloadForm::V3Text, BinaryAs::Base64) => {
                let encoded = base64_len(Version::V3, len);
                digits(encoded) + 1 + encoded
            }
            (PayloadForm::V3Text | PayloadForm::V3Binary, _) => digits(len + 1) + 3 + len,
        };
        self.body.len() + added
    }

    /// The body. Without packets it is what each form writes for none: `0:` in revision 3, empty in revision 4.
    pub fn finish(mut self) -> Payload {
        if self.body.is_empty() && self.form == PayloadForm::V3Text {
            self.body.extend_from_slice(b"0:");
        }
        Payload { body: self.body, form: self.form }
    }

    fn separate(&mut self) {
        if !self.body.is_empty() {
            self.body.push(SEPARATOR as u8);
        }
    }

    /// Rewrites the text packets so far in the binary form.
    fn turn_binary(&mut self) {
        self.form = PayloadForm::V3Binary;
        let text = std::mem::take(&mut self.body);
        let Ok(mut packets) = Packets::new(PayloadForm::V3Text, &text, usize::MAX) else { return };
        while let Ok(Some(Piece::Text(packet))) = packets.next_piece() {
            self.push_text(packet.as_bytes());
        }
    }
}

fn write_binary_head(kind: u8, length: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(length.to_string().bytes().map(|digit| digit - b'0'));
    out.push(LENGTH_END);
}

/// UTF-16 code units of UTF-8 text: one for each character, two for those of four bytes.
fn utf16_len(text: &[u8]) -> usize {
    let units = |&byte: &u8| match byte {
        0x80..=0xbf => 0,
        0xf0..=0xff => 2,
        _ => 1,
    };
    text.iter().map(units).sum()
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}
