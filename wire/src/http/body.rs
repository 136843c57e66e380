//! Bodies as they arrive: any split of the input, allocation only for bytes that came.
//!
//! Owns chunked coding (RFC 9112 section 7.1) and the limits of a body. Must not know what the bytes mean.
//! Start at [`BodyDecoder::decode`].

use super::head::BodyLength;

/// Bytes of extensions over all chunks of one body. They are ignored, so nobody needs more; without a bound a
/// client could make the server read for ever without a byte of body.
const EXTENSION_BYTES_MAX: u16 = 4 << 10;

/// Bytes of the trailer section. Trailers are ignored.
const TRAILER_BYTES_MAX: u16 = 4 << 10;

/// Digits of a chunk size; more can only be leading zeros or an overflow.
const SIZE_DIGITS_MAX: u8 = 16;

/// What one call of [`BodyDecoder::decode`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to this body and are dealt with.
    pub consumed: usize,
    /// Whether the body is complete. What follows `consumed` is the next message.
    pub done: bool,
}

/// Why a body is refused. The connection must be closed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// More bytes than the limit; known as soon as a length or a chunk size declares them.
    TooLarge,
    /// Chunk extensions or trailers beyond their limits.
    OverheadTooLarge,
    /// The chunked coding is malformed.
    Malformed,
}

impl BodyError {
    /// Status code of the refusal.
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge => 413,
            Self::OverheadTooLarge | Self::Malformed => 400,
        }
    }

    /// One line for the client's author.
    pub fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "request body too large",
            Self::OverheadTooLarge => "chunk extensions or trailers too large",
            Self::Malformed => "malformed chunked body",
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for BodyError {}

/// Decodes one body (32 bytes of state; a connection holds it only while a body is incomplete).
///
/// ```text
/// Length ──all bytes──> Done          UntilClose: never done
/// Size ──';'──> Extension ──CR──> SizeLf ──n > 0──> Data ──all──> DataCr ──> DataLf ──> Size
///   └─────────────CR────────────────┘  └──n = 0──> TrailerStart ──CR──> EndLf ──> Done
///                                                    └─other─> TrailerLine ──CR──> TrailerLf ──> TrailerStart
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyDecoder {
    state: State,
    digits: u8,
    extension_bytes: u16,
    trailer_bytes: u16,
    /// Bytes of the body or chunk still to come.
    remaining: u64,
    /// Bytes the body may still grow by, those of the current chunk already taken off.
    allowance: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length,
    UntilClose,
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerLine,
    TrailerLf,
    EndLf,
    Done,
}

impl BodyDecoder {
    /// A decoder for a body of the declared kind, of at most `body_bytes_max` bytes after decoding.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] if the declared length is over the limit.
    pub fn new(length: BodyLength, body_bytes_max: u64) -> Result<Self, BodyError> {
        let (state, remaining) = match length {
            BodyLength::None | BodyLength::Length(0) => (State::Done, 0),
            BodyLength::Length(bytes) => (State::Length, bytes),
            BodyLength::Chunked => (State::Size, 0),
            BodyLength::UntilClose => (State::UntilClose, 0),
        };
        let allowance = body_bytes_max.checked_sub(remaining).ok_or(BodyError::TooLarge)?;
        Ok(Self { state, digits: 0, extension_bytes: 0, trailer_bytes: 0, remaining, allowance })
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes what it can of `input` and appends the content to `out`. Call it with the unconsumed rest and more
    /// bytes until `done`. Every byte is consumed until then.
    ///
    /// # Errors
    /// [`BodyError`]; `out` then holds what came before and the decoder must not be used again.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, BodyError> {
        let mut rest = input;
        while self.state != State::Done {
            rest = match self.state {
                State::Length | State::Data => self.take_content(rest, out),
                State::UntilClose => self.take_until_close(rest, out)?,
                _ => match rest.split_first() {
                    Some((&byte, after)) => {
                        self.state = self.step(byte)?;
                        after
                    }
                    None => break,
                },
            };
            if rest.is_empty() {
                break;
            }
        }
        Ok(Progress { consumed: input.len() - rest.len(), done: self.is_done() })
    }

    fn take_content<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> &'i [u8] {
        let take =
            usize::try_from(self.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        let (content, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
        out.extend_from_slice(content);
        self.remaining -= content.len() as u64;
        if self.remaining == 0 {
            self.state = if self.state == State::Length { State::Done } else { State::DataCr };
        }
        rest
    }

    fn take_until_close<'i>(&mut self, input: &'i [u8], out: &mut Vec<u8>) -> Result<&'i [u8], BodyError> {
        let fits =
            usize::try_from(self.allowance).map_or(input.len(), |allowance| allowance.min(input.len()));
        out.extend_from_slice(input.get(..fits).unwrap_or(input));
        self.allowance -= fits as u64;
        if fits < input.len() { Err(BodyError::TooLarge) } else { Ok(&[]) }
    }

    /// One byte of the framing between contents.
    fn step(&mut self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size, b';') if self.digits > 0 => Ok(State::Extension),
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeLf),
            (State::Size, _) => self.size_digit(byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) => {
                overhead(&mut self.extension_bytes, EXTENSION_BYTES_MAX, byte).map(|()| State::Extension)
            }
            (State::SizeLf, b'\n') => self.size_done(),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerLine, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::TrailerLine, _) => {
                overhead(&mut self.trailer_bytes, TRAILER_BYTES_MAX, byte).map(|()| State::TrailerLine)
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(BodyError::Malformed),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<State, BodyError> {
        let digit = char::from(byte).to_digit(16).ok_or(BodyError::Malformed)?;
        if self.digits == SIZE_DIGITS_MAX {
            return Err(BodyError::Malformed);
        }
        self.digits += 1;
        // Sixteen hexadecimal digits fill 64 bits exactly, so the shift loses nothing.
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn size_done(&mut self) -> Result<State, BodyError> {
        self.digits = 0;
        self.allowance = self.allowance.checked_sub(self.remaining).ok_or(BodyError::TooLarge)?;
        Ok(if self.remaining == 0 { State::TrailerStart } else { State::Data })
    }
}

/// Counts one ignored byte. Control characters are refused: a bare LF in here is read as a line end elsewhere.
fn overhead(count: &mut u16, max: u16, byte: u8) -> Result<(), BodyError> {
    if byte != b'\t' && (byte < b' ' || byte == 0x7f) {
        return Err(BodyError::Malformed);
    }
    if *count == max {
        return Err(BodyError::OverheadTooLarge);
    }
    *count += 1;
    Ok(())
}
