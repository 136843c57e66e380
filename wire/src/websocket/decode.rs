//! Decoding frames into messages, in place.
//!
//! Owns every check on incoming frames and the assembly of messages that do not lie in one piece in the read buffer.
//! Must not know what answers an event: the caller sends pongs and close frames. Start at [`Decoder::decode`].
//!
//! A message that lies complete in the buffer is unmasked there and borrowed. Any other one is moved, as far as it
//! has come, into a boxed assembly: fragments, and large frames cut by the end of the buffer. So a caller never keeps
//! more than an incomplete header or control frame (131 bytes), bad UTF-8 is seen in the first read that shows it,
//! and memory grows with what arrived, never with what a header declares.
//!
//! A protocol of bytes that does not care for messages takes the payload as it comes ([`Decoder::of_pieces`]).

use std::borrow::Cow;
use std::ops::Range;

use super::{CONTROL_PAYLOAD_BYTES_MAX, CloseCode, Opcode, apply_mask};

/// Which end of the connection decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Incoming frames must be masked.
    Server,
    /// Incoming frames must not be masked.
    Client,
}

/// What the peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A complete text message. Borrowed from the buffer unless it came in pieces.
    Text(Cow<'a, str>),
    /// A complete binary message, borrowed from the buffer unless it came in pieces; of [`Decoder::of_pieces`] any part of
    /// one, borrowed always.
    Binary(Cow<'a, [u8]>),
    /// Answer with a pong of the same payload (at most 125 bytes).
    Ping(&'a [u8]),
    /// An answer to a ping, or an unasked one.
    Pong(&'a [u8]),
    /// The peer sends nothing more; answer with a close frame unless one was sent. No event follows.
    Close {
        /// Code, if there is one; always one that may be sent.
        code: Option<CloseCode>,
        /// Reason for a human; may be empty.
        reason: &'a str,
    },
}

/// Result of one call of [`Decoder::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// An event.
    Event {
        /// The event, borrowed from the buffer.
        event: Event<'a>,
        /// Bytes of the buffer that are dealt with; call again with the rest.
        consumed: usize,
    },
    /// Nothing to yield yet.
    NeedMore {
        /// Bytes of the buffer that are dealt with; keep the rest (at most 130 bytes) for the next call.
        consumed: usize,
        /// Bytes that must come at least, after the rest, before the next event is possible; 1 or more. It may be as
        /// large as the message limit because a peer declared it so: a hint for waiting, never for allocating.
        at_least: usize,
    },
}

/// The peer broke the protocol: send a close frame with this code, then close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Code for the close frame.
    pub code: CloseCode,
    /// Reason for the close frame, for the author of the peer.
    pub text: &'static str,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text, self.code.0)
    }
}

impl std::error::Error for Violation {}

fn protocol_error(text: &'static str) -> Violation {
    Violation { code: CloseCode::PROTOCOL_ERROR, text }
}

fn invalid_text() -> Violation {
    Violation { code: CloseCode::INVALID_PAYLOAD, text: "text is not UTF-8" }
}

/// The receiving side of one connection: 16 bytes, and a box only while a message is incomplete.
///
/// ```
/// use trunkline_wire::websocket::{Decoded, Decoder, Event, Opcode, Role, frame, masked_frame};
///
/// let mut decoder = Decoder::new(Role::Server, 1 << 20);
/// let (mut read, mut write) = (Vec::new(), Vec::new());
/// masked_frame(Opcode::Ping, b"are you there", [1, 2, 3, 4], &mut read);
/// let mut start = 0;
/// loop {
///     match decoder.decode(&mut read[start..])? {
///         Decoded::Event { event, consumed } => {
///             start += consumed;
///             if let Event::Ping(payload) = event {
///                 frame(Opcode::Pong, payload, &mut write);
///             }
///         }
///         Decoded::NeedMore { consumed, .. } => {
///             // What is left is the beginning of a header or control frame: keep it for the next read.
///             read.drain(..start + consumed);
///             break;
///         }
///     }
/// }
/// assert!(read.is_empty());
/// assert_eq!(write, b"\x8a\x0dare you there");
/// # Ok::<(), trunkline_wire::websocket::Violation>(())
/// ```
///
/// ```text
/// Open ──close frame, violation──> Closed (everything further is discarded)
/// Open, no assembly ──first fragment, or part of a frame──> Open, assembly ──last byte of the message──> Open, no assembly
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Of a decoder of pieces only its frame is used, and it holds no bytes.
    assembly: Option<Box<Assembly>>,
    message_bytes_max: u32,
    role: Role,
    yields: Yields,
    closed: bool,
}

/// What becomes of binary frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Yields {
    Messages,
    Pieces,
}

/// A message of which a part has come.
#[derive(Clone, Debug)]
struct Assembly {
    text: bool,
    message: Vec<u8>,
    /// Bytes of `message` known to be UTF-8; the rest is the beginning of one character.
    valid_bytes: usize,
    /// The data frame in the middle of which the last read ended.
    frame: Option<Partial>,
    /// The last byte of the message has been yielded as a piece.
    is_over: bool,
}

/// What is left of a data frame.
#[derive(Clone, Copy, Debug)]
struct Partial {
    remaining: usize,
    mask: [u8; 4],
    /// Bytes of the payload that have come.
    offset: usize,
    last: bool,
}

impl Partial {
    /// Unmasks and counts what has come of the frame.
    fn take<'b>(&mut self, rest: &'b mut [u8]) -> &'b [u8] {
        let take = self.remaining.min(rest.len());
        let part = rest.get_mut(..take).unwrap_or_default();
        apply_mask(part, self.mask, self.offset);
        self.remaining -= take;
        self.offset += take;
        part
    }
}

/// A frame header, checked as far as it does not concern other frames.
struct Header {
    opcode: Opcode,
    last: bool,
    mask: [u8; 4],
    /// Bytes of the header itself.
    bytes: usize,
    payload_bytes: usize,
}

/// Where in the buffer the decoder stands, and what it found there.
enum Step {
    /// A whole message or control frame at this place.
    Whole(Header),
    /// The assembled message is complete.
    Assembled,
    /// A part of a message at this place, unmasked.
    Piece(Range<usize>),
    /// Nothing to yield, go on.
    Absorbed,
    /// This many bytes are missing.
    Wait(usize),
}

impl Decoder {
    /// A decoder for a fresh connection. A message of more than `message_bytes_max` bytes, all its fragments
    /// together, is refused with 1009 when its length is declared. While such a message is incomplete the decoder
    /// holds at most twice its bytes (a vector grows by doubling).
    pub fn new(role: Role, message_bytes_max: u32) -> Self {
        Self { assembly: None, message_bytes_max, role, yields: Yields::Messages, closed: false }
    }

    /// A decoder that yields the payload of binary frames as it comes: [`Event::Binary`] is then a part of a frame, never
    /// empty, and says nothing about where messages end. It holds no payload, so frames and messages may have any length
    /// (a frame up to 4 GiB). A text message is refused with 1003.
    pub fn of_pieces(role: Role) -> Self {
        Self { yields: Yields::Pieces, ..Self::new(role, u32::MAX) }
    }

    /// Changes the limit for the frames that come from now on.
    pub fn limit(&mut self, message_bytes_max: u32) {
        self.message_bytes_max = message_bytes_max;
    }

    /// Bytes held on the heap for a message in progress; 0 for an idle connection.
    pub fn held_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, |assembly| size_of::<Assembly>() + assembly.message.capacity())
    }

    /// Decodes up to the next event. `buf` holds the bytes the last call did not consume, as they were, and what
    /// came since; payloads are unmasked in it.
    ///
    /// # Errors
    /// [`Violation`]; later calls consume everything and yield nothing.
    pub fn decode<'b>(&mut self, buf: &'b mut [u8]) -> Result<Decoded<'b>, Violation> {
        let mut consumed = 0;
        loop {
            if self.closed {
                return Ok(Decoded::NeedMore { consumed: buf.len(), at_least: 1 });
            }
            match self.step(buf, &mut consumed).inspect_err(|_| self.close())? {
                Step::Absorbed => {}
                Step::Wait(at_least) => return Ok(Decoded::NeedMore { consumed, at_least }),
                Step::Assembled => {
                    let event = self.take_assembled().inspect_err(|_| self.close())?;
                    return Ok(Decoded::Event { event, consumed });
                }
                Step::Piece(place) => {
                    let event = Event::Binary(Cow::Borrowed(buf.get(place).unwrap_or_default()));
                    return Ok(Decoded::Event { event, consumed });
                }
                Step::Whole(header) => {
                    let start = consumed + header.bytes;
                    consumed = start + header.payload_bytes;
                    let payload = buf.get_mut(start..consumed).unwrap_or_default();
                    let event = whole_event(&header, payload).inspect_err(|_| self.close())?;
                    if matches!(event, Event::Close { .. }) {
                        self.close();
                    }
                    return Ok(Decoded::Event { event, consumed });
                }
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.assembly = None;
    }

    /// Deals with the bytes from `consumed` on, up to the end of one frame at most.
    fn step(&mut self, buf: &mut [u8], consumed: &mut usize) -> Result<Step, Violation> {
        let rest = buf.get_mut(*consumed..).unwrap_or_default();
        if let Some(assembly) = self.assembly.as_mut().filter(|assembly| assembly.frame.is_some()) {
            if self.yields == Yields::Messages {
                return assembly.absorb(rest, consumed);
            }
            let step = assembly.piece(rest, consumed);
            self.assembly.take_if(|assembly| assembly.is_over);
            return Ok(step);
        }
        let header = match parse_header(rest, self.role)? {
            Ok(header) => header,
            Err(missing) => return Ok(Step::Wait(missing)),
        };
        self.check_sequence(&header)?;
        let missing = (header.bytes + header.payload_bytes).saturating_sub(rest.len());
        if header.opcode.is_control() {
            return Ok(if missing > 0 { Step::Wait(missing) } else { Step::Whole(header) });
        }
        let is_alone = self.assembly.is_none() && header.last;
        if is_alone && missing == 0 && (header.payload_bytes > 0 || self.yields == Yields::Messages) {
            return Ok(Step::Whole(header));
        }
        *consumed += header.bytes;
        let assembly = self.assembly.get_or_insert_with(|| Box::new(Assembly::new(header.opcode)));
        assembly.begin(&header);
        Ok(Step::Absorbed)
    }

    /// Checks a frame against the message in progress and the limit.
    fn check_sequence(&self, header: &Header) -> Result<(), Violation> {
        if header.opcode.is_control() {
            return Ok(());
        }
        match (&self.assembly, header.opcode) {
            (None, Opcode::Continuation) => return Err(protocol_error("continuation without a message")),
            (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(protocol_error("new message inside a fragmented one"));
            }
            _ => {}
        }
        if self.yields == Yields::Pieces && header.opcode == Opcode::Text {
            return Err(Violation { code: CloseCode::UNSUPPORTED, text: "only binary frames are taken" });
        }
        let held = self.assembly.as_ref().map_or(0, |assembly| assembly.message.len());
        if held.saturating_add(header.payload_bytes) > self.message_bytes_max as usize {
            return Err(Violation { code: CloseCode::TOO_BIG, text: "message too big" });
        }
        Ok(())
    }

    /// Hands the assembled message out, so that an idle connection does not hold it.
    fn take_assembled<'b>(&mut self) -> Result<Event<'b>, Violation> {
        let assembly = self.assembly.take().expect("a step found the assembly complete");
        if !assembly.text {
            return Ok(Event::Binary(Cow::Owned(assembly.message)));
        }
        // Fails only if the message ends inside a character. It reads the text a second time, the price of not using
        // `unsafe`.
        let text = String::from_utf8(assembly.message).map_err(|_| invalid_text())?;
        Ok(Event::Text(Cow::Owned(text)))
    }
}

impl Assembly {
    fn new(opcode: Opcode) -> Self {
        Self {
            text: opcode == Opcode::Text,
            message: Vec::new(),
            valid_bytes: 0,
            frame: None,
            is_over: false,
        }
    }

    fn begin(&mut self, header: &Header) {
        let &Header { mask, payload_bytes, last, .. } = header;
        self.frame = Some(Partial { remaining: payload_bytes, mask, offset: 0, last });
    }

    /// Moves what has come of the frame in progress into the message.
    fn absorb(&mut self, rest: &mut [u8], consumed: &mut usize) -> Result<Step, Violation> {
        let Some(frame) = self.frame.as_mut() else { return Ok(Step::Absorbed) };
        let part = frame.take(rest);
        self.message.extend_from_slice(part);
        *consumed += part.len();
        let Partial { remaining, last, .. } = *frame;
        if remaining == 0 {
            self.frame = None;
        }
        self.check_text()?;
        match (remaining, last) {
            (0, true) => Ok(Step::Assembled),
            (0, false) => Ok(Step::Absorbed),
            (missing, _) => Ok(Step::Wait(missing)),
        }
    }

    /// Unmasks what has come of the frame in progress where it lies.
    fn piece(&mut self, rest: &mut [u8], consumed: &mut usize) -> Step {
        let Some(frame) = self.frame.as_mut() else { return Step::Absorbed };
        let start = *consumed;
        *consumed += frame.take(rest).len();
        let Partial { remaining, last, .. } = *frame;
        if remaining == 0 {
            (self.frame, self.is_over) = (None, last);
        }
        match (*consumed > start, remaining) {
            (true, _) => Step::Piece(start..*consumed),
            (false, 0) => Step::Absorbed,
            (false, missing) => Step::Wait(missing),
        }
    }

    /// Checks the text that came since the last check; a character may still be incomplete at its end.
    fn check_text(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match str::from_utf8(self.message.get(self.valid_bytes..).unwrap_or_default()) {
            Ok(_) => self.valid_bytes = self.message.len(),
            Err(error) if error.error_len().is_none() => self.valid_bytes += error.valid_up_to(),
            Err(_) => return Err(invalid_text()),
        }
        Ok(())
    }
}

/// Unmasks a frame that is a whole message or a control frame, and reads it.
fn whole_event<'b>(header: &Header, payload: &'b mut [u8]) -> Result<Event<'b>, Violation> {
    apply_mask(payload, header.mask, 0);
    match header.opcode {
        Opcode::Text => {
            str::from_utf8(payload).map(|text| Event::Text(Cow::Borrowed(text))).map_err(|_| invalid_text())
        }
        Opcode::Binary | Opcode::Continuation => Ok(Event::Binary(Cow::Borrowed(payload))),
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        Opcode::Close => close_event(payload),
    }
}

fn close_event(payload: &[u8]) -> Result<Event<'_>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Event::Close { code: None, reason: "" }),
            _ => Err(protocol_error("close payload of one byte")),
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_sent() {
        return Err(protocol_error("invalid close code"));
    }
    let reason = str::from_utf8(reason).map_err(|_| invalid_text())?;
    Ok(Event::Close { code: Some(code), reason })
}

/// Reads a frame header; the inner error is the number of bytes still missing for it and for the payload it declares
/// so far. Each check is made as soon as its byte is there.
fn parse_header(buf: &[u8], role: Role) -> Result<Result<Header, usize>, Violation> {
    let Some((&[first, second], rest)) = buf.split_first_chunk::<2>() else {
        return Ok(Err(2 - buf.len()));
    };
    if first & 0x70 != 0 {
        return Err(protocol_error("reserved bit set"));
    }
    let opcode = Opcode::from_bits(first & 0x0f).ok_or(protocol_error("unknown opcode"))?;
    let last = first & 0x80 != 0;
    let masked = second & 0x80 != 0;
    match (role, masked) {
        (Role::Server, false) => return Err(protocol_error("frame from a client without a mask")),
        (Role::Client, true) => return Err(protocol_error("masked frame from a server")),
        _ => {}
    }
    let short = usize::from(second & 0x7f);
    if opcode.is_control() && !last {
        return Err(protocol_error("fragmented control frame"));
    }
    if opcode.is_control() && short > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(protocol_error("control frame too long"));
    }
    let Some((payload_bytes, length_bytes)) = parse_length(short, rest)? else {
        let length_bytes = if short == 126 { 2 } else { 8 };
        return Ok(Err(length_bytes + mask_bytes(masked) - rest.len()));
    };
    let rest = rest.get(length_bytes..).unwrap_or_default();
    let mask = match rest.first_chunk::<4>() {
        _ if !masked => [0; 4],
        Some(mask) => *mask,
        None => return Ok(Err((4 - rest.len()).saturating_add(payload_bytes))),
    };
    Ok(Ok(Header { opcode, last, mask, bytes: 2 + length_bytes + mask_bytes(masked), payload_bytes }))
}

fn mask_bytes(masked: bool) -> usize {
    if masked { 4 } else { 0 }
}

/// Length of the payload and bytes of the extended length; `None` while those have not come.
fn parse_length(short: usize, rest: &[u8]) -> Result<Option<(usize, usize)>, Violation> {
    let (length, length_bytes, least) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 8, 1 << 16),
            None => return Ok(None),
        },
        _ => return Ok(Some((short, 0))),
    };
    if length < least {
        return Err(protocol_error("length not in its shortest form"));
    }
    if length >> 63 != 0 {
        return Err(protocol_error("length over 63 bits"));
    }
    // On a 32-bit machine a longer length is over every limit too.
    Ok(Some((usize::try_from(length).unwrap_or(usize::MAX), length_bytes)))
}
