//! One Engine.IO packet, in a WebSocket frame or as the text form used in poll payloads.
//!
//! Owns the type digits and base64. Must not know payloads (see `payload`) or what a message means.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Version;

/// Type byte of a message in the binary forms of revision 3.
pub(super) const MESSAGE_BYTE: u8 = 4;

/// Clients pad, the reference decodes without padding too; so both are read and padding is always written.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A packet of either revision, borrowed from the bytes it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the handshake, JSON text. Sent by the server only.
    Open(&'a str),
    /// `1`: the session ends.
    Close,
    /// `2`: with the data `probe` during an upgrade, otherwise empty.
    Ping(&'a str),
    /// `3`: echoes the data of the ping.
    Pong(&'a str),
    /// `4`: a message as text, without the type digit.
    Text(&'a str),
    /// A message as raw bytes; owned where it came as base64.
    Binary(Cow<'a, [u8]>),
    /// `5`: the client moves to the new transport.
    Upgrade,
    /// `6`: ends a waiting poll.
    Noop,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// No byte at all, so no type.
    Empty,
    /// The first character is no type digit and not the `b` of base64.
    UnknownType,
    /// A base64 message that does not decode.
    BadBase64,
}

/// Which WebSocket opcode a packet needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Opcode 1.
    Text,
    /// Opcode 2.
    Binary,
}

impl<'a> Packet<'a> {
    /// Reads the text form: a WebSocket text frame, or one packet of a poll payload.
    ///
    /// Data after `1`, `5` and `6` is ignored, as in the reference. Base64 is `b<data>` in revision 4 and
    /// `b4<data>` in revision 3.
    ///
    /// # Errors
    /// Each [`PacketError`] ends the session with the reason "parse error".
    pub fn from_text(version: Version, text: &'a str) -> Result<Self, PacketError> {
        let kind = *text.as_bytes().first().ok_or(PacketError::Empty)?;
        let (_, data) = text.split_at_checked(1).ok_or(PacketError::UnknownType)?;
        match kind {
            b'0' => Ok(Self::Open(data)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping(data)),
            b'3' => Ok(Self::Pong(data)),
            b'4' => Ok(Self::Text(data)),
            b'5' => Ok(Self::Upgrade),
            b'6' => Ok(Self::Noop),
            b'b' => Self::from_base64(version, data),
            _ => Err(PacketError::UnknownType),
        }
    }

    /// Reads a WebSocket binary frame: always a message in revision 4.
    ///
    /// In revision 3 the first byte is the type. `None` = the frame is dropped without a word, as the reference does
    /// with an invalid type; types other than 4 are dropped too, because no client sends them in binary.
    pub fn from_binary_frame(version: Version, data: &'a [u8]) -> Option<Self> {
        match version {
            Version::V4 => Some(Self::Binary(Cow::Borrowed(data))),
            Version::V3 => match data.split_first() {
                Some((&MESSAGE_BYTE, data)) => Some(Self::Binary(Cow::Borrowed(data))),
                _ => None,
            },
        }
    }

    fn from_base64(version: Version, data: &str) -> Result<Self, PacketError> {
        let data = match version {
            Version::V4 => data,
            Version::V3 => data.strip_prefix('4').ok_or(PacketError::UnknownType)?,
        };
        let bytes = BASE64.decode(data).map_err(|_| PacketError::BadBase64)?;
        Ok(Self::Binary(Cow::Owned(bytes)))
    }

    /// Appends the text form, a binary message as base64.
    pub fn write_text(&self, version: Version, out: &mut Vec<u8>) {
        match self {
            Self::Binary(data) => write_base64(version, data, out),
            other => {
                let (digit, data) = other.text_parts();
                out.push(digit);
                out.extend_from_slice(data.as_bytes());
            }
        }
    }

    /// Appends the body of the WebSocket frame and says which opcode it needs.
    pub fn write_frame(&self, version: Version, out: &mut Vec<u8>) -> FrameKind {
        match self {
            Self::Binary(data) => {
                out.extend_from_slice(version.websocket_binary_prefix());
                out.extend_from_slice(data);
                FrameKind::Binary
            }
            text => {
                text.write_text(version, out);
                FrameKind::Text
            }
        }
    }

    /// Type digit and text data; a binary message has none of its own and counts as an empty message.
    fn text_parts(&self) -> (u8, &str) {
        match self {
            Self::Open(data) => (b'0', data),
            Self::Close => (b'1', ""),
            Self::Ping(data) => (b'2', data),
            Self::Pong(data) => (b'3', data),
            Self::Text(data) => (b'4', data),
            Self::Binary(_) => (b'4', ""),
            Self::Upgrade => (b'5', ""),
            Self::Noop => (b'6', ""),
        }
    }
}

/// Appends a binary message in the base64 form of the revision.
pub(super) fn write_base64(version: Version, data: &[u8], out: &mut Vec<u8>) {
    out.push(b'b');
    if version == Version::V3 {
        out.push(b'4');
    }
    out.extend_from_slice(BASE64.encode(data).as_bytes());
}

/// Bytes that [`write_base64`] appends for `len` bytes of data.
pub(super) const fn base64_len(version: Version, len: usize) -> usize {
    let prefix = match version {
        Version::V3 => 2,
        Version::V4 => 1,
    };
    prefix + len.div_ceil(3) * 4
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "empty packet",
            Self::UnknownType => "unknown packet type",
            Self::BadBase64 => "invalid base64",
        })
    }
}

impl std::error::Error for PacketError {}
