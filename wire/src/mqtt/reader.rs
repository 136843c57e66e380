//! Taking fields off the front of a packet (MQTT 5.0, 1.5).
//!
//! Owns the field types and which text is accepted. Must not know packets. Start at [`Reader`].

use super::error::{Fault, fault};
use super::frame::{Varint, varint};

/// What is left of a packet, or of a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

const CUT: &Fault = fault!(malformed("field is cut off"));

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that has not been taken.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, &'static Fault> {
        let (&byte, rest) = self.rest.split_first().ok_or(CUT)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Takes a 0 off if one is there.
    pub(super) fn skip_zero(&mut self) -> bool {
        match self.rest {
            [0, rest @ ..] => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static Fault> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, &'static Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, &'static Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn varint(&mut self) -> Result<u32, &'static Fault> {
        match varint(self.rest) {
            Varint::Whole(value, length_bytes) => {
                self.take(length_bytes)?;
                Ok(value)
            }
            Varint::Cut => Err(CUT),
            Varint::TooLong => Err(fault!(malformed("variable byte integer is over four bytes"))),
            Varint::NotMinimal => Err(fault!(malformed("variable byte integer is not in its shortest form"))),
        }
    }

    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], &'static Fault> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Binary data: two bytes of length, then the bytes.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], &'static Fault> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 string of code points we accept.
    pub(super) fn text(&mut self) -> Result<&'a str, &'static Fault> {
        text(self.binary()?)
    }

    /// A string that was checked before: an empty one where it was not.
    pub(super) fn checked_text(&mut self) -> Option<&'a str> {
        let bytes = self.binary().ok()?;
        std::str::from_utf8(bytes).ok()
    }

    /// Nothing may follow.
    pub(super) const fn end(&self) -> Result<(), &'static Fault> {
        if self.is_empty() { Ok(()) } else { Err(fault!(malformed("bytes behind the end of the packet"))) }
    }
}

/// Well-formed UTF-8 without U+0000 [MQTT-1.5.4-1, -2]. Control characters and non-characters may be refused
/// (MQTT 5.0, 5.4.9) and are: else one publisher makes strict subscribers disconnect. A byte order mark stays
/// [MQTT-1.5.4-3].
fn text(bytes: &[u8]) -> Result<&str, &'static Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| fault!(malformed("text is not UTF-8")))?;
    check_characters(text)?;
    Ok(text)
}

/// Only code points we accept.
pub(super) fn check_characters(text: &str) -> Result<(), &'static Fault> {
    // Nearly every text there is has only printable ASCII.
    if !any_word(text.as_bytes(), may_be_unprintable) || text.chars().all(is_accepted) {
        Ok(())
    } else {
        Err(fault!(malformed("text has a control character or a non-character")))
    }
}

const fn is_accepted(character: char) -> bool {
    let code = character as u32;
    let control = matches!(code, 0..=0x1f | 0x7f..=0x9f);
    let non_character = matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe;
    !control && !non_character
}

/// One byte in every place of a word.
pub(super) const fn repeated(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Whether any byte is below 0x20 or above 0x7e; a byte beside one of those may count, too.
const fn may_be_unprintable(word: u64) -> bool {
    let below = word.wrapping_sub(repeated(0x20)) & !word;
    let above = word | word.wrapping_add(repeated(1));
    (below | above) & repeated(0x80) != 0
}

/// Whether `found` holds for a word of eight bytes; the last word is filled up with spaces or overlaps the one before.
/// A branch per eight bytes instead of one per byte: every topic and filter passes here.
#[inline]
pub(super) fn any_word(bytes: &[u8], found: fn(u64) -> bool) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    if words.iter().any(|word| found(u64::from_ne_bytes(*word))) {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    let mut last = [b' '; 8];
    match bytes.last_chunk::<8>() {
        Some(overlapping) => last = *overlapping,
        None => last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
    }
    found(u64::from_ne_bytes(last))
}
