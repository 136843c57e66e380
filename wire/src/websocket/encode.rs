//! Encoding frames.
//!
//! Owns the layout of outgoing frames. Must not know who gets them: a shared frame is encoded once and cloned by
//! reference count. Everything is sent as one unfragmented frame. Start at [`text_frame`] and [`frame`].

use bytes::{BufMut, Bytes, BytesMut};

use super::{CONTROL_PAYLOAD_BYTES_MAX, CloseCode, Opcode, apply_mask};

/// The header of an unmasked frame: 2, 4 or 10 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; 10],
    len: u8,
}

impl AsRef<[u8]> for FrameHeader {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The header of an unmasked frame with FIN set, for a payload of `payload_bytes`. The length of a control frame
/// must be at most [`CONTROL_PAYLOAD_BYTES_MAX`]; it is capped there.
pub fn frame_header(opcode: Opcode, payload_bytes: usize) -> FrameHeader {
    let first = 0x80 | opcode.bits();
    match cap(opcode, payload_bytes) {
        short @ 0..=125 => FrameHeader { bytes: [first, short as u8, 0, 0, 0, 0, 0, 0, 0, 0], len: 2 },
        medium @ 126..=0xffff => {
            let [a, b] = (medium as u16).to_be_bytes();
            FrameHeader { bytes: [first, 126, a, b, 0, 0, 0, 0, 0, 0], len: 4 }
        }
        long => {
            let [a, b, c, d, e, f, g, h] = (long as u64).to_be_bytes();
            FrameHeader { bytes: [first, 127, a, b, c, d, e, f, g, h], len: 10 }
        }
    }
}

fn cap(opcode: Opcode, payload_bytes: usize) -> usize {
    if opcode.is_control() { payload_bytes.min(CONTROL_PAYLOAD_BYTES_MAX) } else { payload_bytes }
}

/// Appends a frame as a server sends it. The payload of a control frame is cut at [`CONTROL_PAYLOAD_BYTES_MAX`].
pub fn frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(frame_header(opcode, payload.len()).as_ref());
    out.extend_from_slice(payload.get(..cap(opcode, payload.len())).unwrap_or(payload));
}

/// Appends a frame as a client sends it, masked with `mask`. The caller draws a fresh mask from a random source for
/// every frame (RFC 6455 section 10.3).
pub fn masked_frame(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let mut header = frame_header(opcode, payload.len());
    if let Some(length) = header.bytes.get_mut(1) {
        *length |= 0x80;
    }
    out.extend_from_slice(header.as_ref());
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload.get(..cap(opcode, payload.len())).unwrap_or(payload));
    apply_mask(out.get_mut(start..).unwrap_or_default(), mask, 0);
}

/// A text frame of the joined parts, to be shared by many connections. The parts together must be UTF-8: the caller
/// vouches for it.
pub fn text_frame(parts: &[&[u8]]) -> Bytes {
    shared_frame(Opcode::Text, parts)
}

/// A binary frame of the joined parts, to be shared by many connections.
pub fn binary_frame(parts: &[&[u8]]) -> Bytes {
    shared_frame(Opcode::Binary, parts)
}

fn shared_frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let payload_bytes = parts.iter().map(|part| part.len()).sum();
    let header = frame_header(opcode, payload_bytes);
    let mut out = BytesMut::with_capacity(header.as_ref().len() + payload_bytes);
    out.put_slice(header.as_ref());
    for part in parts {
        out.put_slice(part);
    }
    out.freeze()
}

/// Appends a close frame as a server sends it. The reason is cut, between characters, at 123 bytes.
pub fn close_frame(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    frame(Opcode::Close, &close_payload(code, reason), out);
}

/// Appends a close frame as a client sends it.
pub fn masked_close_frame(code: CloseCode, reason: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    masked_frame(Opcode::Close, &close_payload(code, reason), mask, out);
}

fn close_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let fits = reason.len().min(CONTROL_PAYLOAD_BYTES_MAX - 2);
    let reason = (0..=fits).rev().find_map(|end| reason.get(..end)).unwrap_or_default();
    [&code.0.to_be_bytes(), reason.as_bytes()].concat()
}
