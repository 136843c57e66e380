//! WebSocket frames: the same events at any split, limits held, events survive a round trip through the encoder; and the
//! same bytes where messages do not matter.

use wire::websocket::{
    CONTROL_PAYLOAD_BYTES_MAX, CloseCode, Decoded, Decoder, Event, Opcode, Role, close_frame, frame,
    masked_close_frame, masked_frame,
};

use crate::Split;

/// Bytes a caller may have to keep: a client's longest control frame but its last byte.
const PENDING_BYTES_MAX: usize = 130;

/// An event that outlives its buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<CloseCode>, String),
    Violation(CloseCode),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.to_owned()),
        }
    }
}

/// The target. One byte chooses role and limit, two the split, the rest is what the peer sends.
pub fn websocket(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let Some((input, split)) = Split::new(rest) else { return };
    let role = if choice.is_multiple_of(2) { Role::Server } else { Role::Client };
    let message_bytes_max = u32::from(choice) * 8;
    let whole = run(role, message_bytes_max, [input].into_iter());
    let cut: Vec<&[u8]> = split.collect();
    assert_eq!(run(role, message_bytes_max, cut.iter().copied()), whole);
    assert_eq!(run_pieces(role, cut.into_iter()), run_pieces(role, [input].into_iter()));
    check(&whole, message_bytes_max as usize);
    round_trip(&whole, message_bytes_max);
}

fn run<'d>(role: Role, message_bytes_max: u32, pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Seen> {
    feed(Decoder::new(role, message_bytes_max), message_bytes_max, pieces)
}

/// Pieces that come one after the other are put together.
fn run_pieces<'d>(role: Role, pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Seen> {
    let mut whole: Vec<Seen> = Vec::new();
    for seen in feed(Decoder::of_pieces(role), 0, pieces) {
        match (whole.last_mut(), seen) {
            (Some(Seen::Binary(bytes)), Seen::Binary(more)) => bytes.extend(more),
            (_, seen) => whole.push(seen),
        }
    }
    whole
}

/// Nothing that is held is larger than a message or than twice what has come of it.
fn feed<'d>(
    mut decoder: Decoder,
    message_bytes_max: u32,
    pieces: impl Iterator<Item = &'d [u8]>,
) -> Vec<Seen> {
    let (mut pending, mut seen, mut arrived) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        arrived += piece.len();
        pending.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut pending) {
                Ok(Decoded::Event { event, consumed }) => {
                    seen.push(event.into());
                    pending.drain(..consumed);
                }
                Ok(Decoded::NeedMore { consumed, at_least }) => {
                    assert!(at_least > 0);
                    pending.drain(..consumed);
                    break;
                }
                Err(violation) => {
                    seen.push(Seen::Violation(violation.code));
                    assert_eq!(decoder.held_bytes(), 0);
                    return seen;
                }
            }
        }
        assert!(pending.len() <= PENDING_BYTES_MAX, "{} bytes kept", pending.len());
        let bound = 2 * arrived.min(message_bytes_max as usize) + 128;
        assert!(decoder.held_bytes() <= bound, "{} bytes held", decoder.held_bytes());
    }
    seen
}

fn check(events: &[Seen], message_bytes_max: usize) {
    for (at, event) in events.iter().enumerate() {
        let last = at + 1 == events.len();
        match event {
            Seen::Text(text) => assert!(text.len() <= message_bytes_max),
            Seen::Binary(bytes) => assert!(bytes.len() <= message_bytes_max),
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= CONTROL_PAYLOAD_BYTES_MAX),
            Seen::Close(code, reason) => {
                assert!(last && reason.len() <= CONTROL_PAYLOAD_BYTES_MAX - 2);
                assert!(code.is_some_and(CloseCode::may_be_sent) || (code.is_none() && reason.is_empty()));
            }
            Seen::Violation(_) => assert!(last),
        }
    }
}

/// Encodes what was seen for either role and decodes it again.
fn round_trip(events: &[Seen], message_bytes_max: u32) {
    let events: Vec<Seen> =
        events.iter().filter(|event| !matches!(event, Seen::Violation(_))).cloned().collect();
    let (mut to_client, mut to_server) = (Vec::new(), Vec::new());
    for event in &events {
        let mask = [1, 0x80, 0xff, 0];
        let (opcode, payload) = match event {
            Seen::Text(text) => (Opcode::Text, text.as_bytes()),
            Seen::Binary(bytes) => (Opcode::Binary, &bytes[..]),
            Seen::Ping(payload) => (Opcode::Ping, &payload[..]),
            Seen::Pong(payload) => (Opcode::Pong, &payload[..]),
            Seen::Close(Some(code), reason) => {
                close_frame(*code, reason, &mut to_client);
                masked_close_frame(*code, reason, mask, &mut to_server);
                continue;
            }
            Seen::Close(None, _) | Seen::Violation(_) => (Opcode::Close, &[][..]),
        };
        frame(opcode, payload, &mut to_client);
        masked_frame(opcode, payload, mask, &mut to_server);
    }
    assert_eq!(run(Role::Client, message_bytes_max, [&to_client[..]].into_iter()), events);
    assert_eq!(run(Role::Server, message_bytes_max, [&to_server[..]].into_iter()), events);
}
