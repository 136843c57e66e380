//! The WebSocket protocol (RFC 6455), both roles, without extensions.
//!
//! Owns: the opening handshake over [`crate::http`], decoding of frames in the caller's read buffer, encoding.
//! Must not know: what a message says (Engine.IO, MQTT), when to ping, sockets.
//! Where to start: [`accept`] for the handshake, then one [`Decoder`] per connection (16 bytes while idle).
//!
//! Offers of permessage-deflate are not taken: the response names no extension, so frames stay uncompressed.

mod decode;
mod encode;
mod handshake;

pub use decode::{Decoded, Decoder, Event, Role, Violation};
pub use encode::{
    FrameHeader, binary_frame, close_frame, frame, frame_header, masked_close_frame, masked_frame, text_frame,
};
pub use handshake::{
    Accept, HandshakeError, UpgradeRequest, accept, accept_key, check_response, choose_subprotocol,
    client_key, subprotocols, write_upgrade_request,
};

/// Bytes of payload a control frame may carry (RFC 6455 section 5.5).
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

/// The meaning of a frame (RFC 6455 section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of the message in progress.
    Continuation,
    /// A text message or its first fragment.
    Text,
    /// A binary message or its first fragment.
    Binary,
    /// The last frame of a direction.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// The opcode of these bits; `None` for a reserved one.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    /// Close, ping and pong: short, never fragmented, allowed between fragments.
    pub const fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// The code in a close frame (RFC 6455 section 7.4 and its registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: a server stops, a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of data this endpoint cannot take.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Data that does not fit its type: text that is no UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A policy is violated and no other code fits.
    pub const POLICY: Self = Self(1008);
    /// A message too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// The endpoint failed by no fault of its peer.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server restarts; reconnect.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server is overloaded; reconnect later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// Whether the code may stand in a close frame: the assigned ones that are not reserved for local use, those of
    /// libraries (3000 to 3999) and private ones (4000 to 4999).
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

/// XORs `payload` with `mask`, `offset` bytes into the payload of its frame (RFC 6455 section 5.3).
fn apply_mask(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    if mask == [0; 4] {
        return;
    }
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let [a, b, c, d] = turned;
    // Eight bytes at a time: the compiler makes vector instructions of this loop.
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d].into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
