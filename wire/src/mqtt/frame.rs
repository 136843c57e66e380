//! Where one packet ends and the next begins: the fixed header (MQTT 5.0, 2.1).
//!
//! Owns the remaining length and the limit on a packet's size. Must not know what is inside a packet. Start at
//! [`frame`].

use super::error::fault;
use super::{Error, ReasonCode};

/// The largest remaining length, and the largest variable byte integer anywhere (MQTT 5.0, 1.5.5).
pub const VARINT_MAX: u32 = 268_435_455;

/// One packet as it lies in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Packet type in the upper four bits, flags in the lower.
    pub first: u8,
    /// Everything behind the fixed header.
    pub body: &'a [u8],
    /// Bytes of the whole packet, the fixed header included: what the caller takes off its buffer.
    pub packet_bytes: usize,
}

/// Finds the packet at the beginning of `bytes`; `None`: it is not complete.
///
/// ```
/// use trunkline_wire::mqtt::frame;
///
/// let bytes = [0xc0, 0x00, 0x40, 0x02];
/// let ping = frame(&bytes, 100)?.expect("two bytes are a packet");
/// assert_eq!((ping.first, ping.body, ping.packet_bytes), (0xc0, &[][..], 2));
/// assert_eq!(frame(&bytes[2..], 100)?, None);
/// # Ok::<(), trunkline_wire::mqtt::Error>(())
/// ```
///
/// # Errors
/// As soon as the fixed header shows it: a packet of more than `packet_bytes_max` (0x95), a remaining length that is
/// not in its shortest form (0x81) or longer than four bytes (silence).
pub fn frame(bytes: &[u8], packet_bytes_max: u32) -> Result<Option<Frame<'_>>, Error> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let (remaining, length_bytes) = match varint(rest) {
        Varint::Whole(value, length_bytes) => (value, length_bytes),
        Varint::Cut => return Ok(None),
        Varint::TooLong => return Err(fault!(silent("remaining length is over four bytes")).into()),
        Varint::NotMinimal => {
            return Err(fault!(malformed("remaining length is not in its shortest form")).into());
        }
    };
    let packet_bytes = 1 + length_bytes as u64 + u64::from(remaining);
    if packet_bytes > u64::from(packet_bytes_max) {
        return Err(fault!(with(ReasonCode::PacketTooLarge, "packet is larger than the maximum")).into());
    }
    let end = length_bytes + remaining as usize;
    let Some(body) = rest.get(length_bytes..end) else { return Ok(None) };
    Ok(Some(Frame { first, body, packet_bytes: end + 1 }))
}

impl Frame<'_> {
    /// The same packet with the flags MQTT 3.1.1 wants. MQTT 3.1 let clients set DUP in PUBREL, SUBSCRIBE and
    /// UNSUBSCRIBE and left other flags unchecked; so every packet after a CONNECT of [`super::Level::V31`] passes
    /// through here.
    pub const fn with_flags_of_v311(self) -> Self {
        let flags = match self.first >> 4 {
            // DUP says nothing at QoS 0.
            3 if self.first & 6 == 0 => self.first & 1,
            3 => self.first & 0x0f,
            6 | 8 | 10 => 2,
            _ => 0,
        };
        Self { first: self.first & 0xf0 | flags, ..self }
    }
}

/// What stands at the place of a variable byte integer.
pub(super) enum Varint {
    /// Its value and how many bytes it takes.
    Whole(u32, usize),
    Cut,
    TooLong,
    NotMinimal,
}

pub(super) const fn varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    let mut taken = 0;
    let mut rest = bytes;
    while taken < 4 {
        let [byte, others @ ..] = rest else { return Varint::Cut };
        value |= ((*byte & 0x7f) as u32) << (7 * taken);
        taken += 1;
        if *byte & 0x80 == 0 {
            let padded = *byte == 0 && taken > 1;
            return if padded { Varint::NotMinimal } else { Varint::Whole(value, taken) };
        }
        rest = others;
    }
    Varint::TooLong
}

/// Bytes a variable byte integer of this value takes; values over [`VARINT_MAX`] have no form.
pub(super) const fn varint_bytes(value: usize) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}
