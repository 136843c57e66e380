//! Engine.IO revisions 3 and 4: packets, poll payloads and the handshake.
//!
//! Owns the bytes of one packet and of one poll body. One [`Packet`] model serves both revisions; the revision is
//! an argument, so nothing is kept per connection. Must not know sessions, timers or HTTP. Start at [`Packet`],
//! then [`PayloadWriter`] and [`Packets`].
//!
//! ```
//! use trunkline_wire::engineio::{BinaryAs, Packet, Packets, PayloadForm, PayloadWriter, Version};
//!
//! let mut writer = PayloadWriter::new(Version::V4, BinaryAs::Base64);
//! writer.push_text(b"42[\"hello\"]");
//! writer.push_binary(&[1, 2, 3, 4]);
//! let payload = writer.finish();
//! assert_eq!(payload.body, b"42[\"hello\"]\x1ebAQIDBA==");
//!
//! let mut packets = Packets::new(PayloadForm::V4, &payload.body, 100)?;
//! assert_eq!(packets.next(), Some(Ok(Packet::Text("2[\"hello\"]"))));
//! # Ok::<(), trunkline_wire::engineio::PayloadError>(())
//! ```
//!
//! Sources: `docs/engine.io-protocol/v4-current.md` and `v3.md` in the socketio/socket.io repository.

mod handshake;
mod packet;
mod payload;

pub use handshake::{Handshake, HandshakeError, Upgrades};
pub use packet::{FrameKind, Packet, PacketError};
pub use payload::{BinaryAs, Packets, Payload, PayloadError, PayloadForm, PayloadWriter};

/// The protocol revision a client asked for with `EIO=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `EIO=3`: Socket.IO clients 1.x and 2.x.
    V3,
    /// `EIO=4`: Socket.IO clients 3.x and later.
    V4,
}

impl Version {
    /// Reads the value of the `EIO` query parameter. Strict, unlike the reference server, which takes every value
    /// other than `4` for 3: a client of an unknown revision gets an error instead of a wrong framing.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "3" => Some(Self::V3),
            "4" => Some(Self::V4),
            _ => None,
        }
    }

    /// The number in the `EIO` query parameter.
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// What stands before the data of a binary message in a WebSocket frame: nothing in revision 4, the type byte
    /// `04` in revision 3. A shared attachment is written as frame header, this prefix, data.
    pub const fn websocket_binary_prefix(self) -> &'static [u8] {
        match self {
            Self::V3 => &[packet::MESSAGE_BYTE],
            Self::V4 => &[],
        }
    }
}

/// The carrier a request names in its `transport` query parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long polling: GET takes, POST gives.
    Polling,
    /// One WebSocket, one packet per frame.
    WebSocket,
}

impl Transport {
    /// Reads the value of the `transport` query parameter; anything else is [`HandshakeError::UnknownTransport`].
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }

    /// The name as it stands in the query.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

#[cfg(test)]
mod tests;
