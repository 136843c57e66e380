//! Where a reader stands: a place in the history of one channel, or in those of several, as a token that clients give back.
//!
//! Owns the text forms. Must not know what is kept. Start at [`Token`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Most channels whose positions one token has: at 22 bytes each it stays below 4 KiB, which any request head holds.
pub const POSITIONS_MAX: usize = 128;

/// What a token of several begins with; no epoch does.
const SEVERAL: char = '~';

/// Of the bytes behind it.
const VERSION: u8 = 1;

/// Place of a message in its channel: as text `<epoch>-<offset>`, the epoch in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Names one life of the history.
    pub epoch: u64,
    /// From 1, without holes; 0 is before the first.
    pub offset: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.offset)
    }
}

impl Position {
    /// Only the form that `Display` writes.
    fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('-')?;
        let position = Self { epoch: u64::from_str_radix(epoch, 16).ok()?, offset: offset.parse().ok()? };
        (position.to_string() == text).then_some(position)
    }
}

/// Names a channel within a token: a hash, as the request names the channels in full. Should two channels of a request have the
/// same, a position is looked for in the wrong history, whose epoch is another: it is lost, and the client is told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u32);

impl Mark {
    /// FNV-1a with 32 bits.
    pub fn of(channel: &str) -> Self {
        let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        Self(channel.bytes().fold(0x811c_9dc5, step))
    }
}

/// Where a reader of several channels stands in each of them that keeps a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(Vec<(Mark, Position)>);

impl Positions {
    /// The position in a channel, if it is known.
    pub fn find(&self, mark: Mark) -> Option<Position> {
        self.0.iter().find(|(known, _)| *known == mark).map(|(_, position)| *position)
    }

    /// Sets it. Beyond [`POSITIONS_MAX`] channels it is not taken.
    pub fn set(&mut self, mark: Mark, position: Position) {
        let has_room = self.0.len() < POSITIONS_MAX;
        match self.0.iter_mut().find(|(known, _)| *known == mark) {
            Some((_, known)) => *known = position,
            None if has_room => self.0.push((mark, position)),
            None => {}
        }
    }

    /// Bytes in memory.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.0.capacity() * size_of::<(Mark, Position)>()
    }

    /// Whether no position is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is no place for another channel.
    pub fn is_full(&self) -> bool {
        self.0.len() >= POSITIONS_MAX
    }

    /// Forgets it.
    pub fn clear(&mut self, mark: Mark) {
        self.0.retain(|(known, _)| *known != mark);
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (VERSION, mut rest) = bytes.split_first().map(|(first, rest)| (*first, rest))? else {
            return None;
        };
        let mut positions = Self::default();
        while !rest.is_empty() {
            let (mark, after) = rest.split_first_chunk::<4>()?;
            let (epoch, after) = after.split_first_chunk::<8>()?;
            let (offset, after) = read_number(after)?;
            let mark = Mark(u32::from_be_bytes(*mark));
            if positions.find(mark).is_some() || positions.0.len() >= POSITIONS_MAX {
                return None;
            }
            positions.0.push((mark, Position { epoch: u64::from_be_bytes(*epoch), offset }));
            rest = after;
        }
        Some(positions)
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = Vec::with_capacity(1 + self.0.len() * 16);
        bytes.push(VERSION);
        for (mark, position) in &self.0 {
            bytes.extend_from_slice(&mark.0.to_be_bytes());
            bytes.extend_from_slice(&position.epoch.to_be_bytes());
            push_number(position.offset, &mut bytes);
        }
        write!(f, "{SEVERAL}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// What a client gives back to go on where it stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// Of one channel.
    One(Position),
    /// Of several channels, or of a filter.
    Several(Positions),
}

impl Token {
    /// `None` for everything but what was written here.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(SEVERAL) {
            Some(rest) => Positions::parse(rest).map(Self::Several),
            None => Position::parse(text).map(Self::One),
        }
    }
}

/// Seven bits per byte, the lowest first; the highest bit says that more follow.
fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// The number and what is behind it; only the shortest form, so that a token has one text.
fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * u32::try_from(place).ok()?;
        if bits.leading_zeros() < shift {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            let is_shortest = *byte != 0 || place == 0;
            return is_shortest.then(|| (number, bytes.get(place + 1..).unwrap_or_default()));
        }
    }
    None
}
