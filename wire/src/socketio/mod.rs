//! Socket.IO 5, and 4 for clients on Engine.IO 3: packets inside Engine.IO messages.
//!
//! Owns the packet model and both parsers, the default one (text plus attachments) and msgpack. Must not know which
//! namespaces exist, who is connected or what an event means; a packet that is well formed but out of place is the
//! server's business. Start at [`Decoder`] and [`Codec`]; [`Packet`] is the model between them.
//!
//! ```
//! use trunkline_wire::socketio::{Decoder, Kind, Limits, Revision, Role};
//!
//! let mut decoder = Decoder::new(Role::Server, Revision::V5);
//! let packet = decoder.text("2/chat,7[\"hello\",1]", &Limits::default())?.expect("no attachments follow");
//! let Kind::Event { id: Some(id), values } = packet.kind else { unreachable!() };
//! let event = values.as_event().expect("checked by the decoder");
//! assert_eq!((event.name.as_str(), event.args_json().as_str()), ("hello", "[1]"));
//!
//! let reply = decoder.codec().ack(packet.namespace.as_str(), id, &event.args());
//! assert_eq!(reply.text, "43/chat,7[1]");
//! # Ok::<(), trunkline_wire::socketio::Violation>(())
//! ```
//!
//! Sources: `docs/socket.io-protocol/v5-current.md` and `v4.md` and `packages/socket.io-parser` in the
//! socketio/socket.io repository; npm socket.io-msgpack-parser 3.0.2.

mod decode;
mod encode;
mod msgpack;
mod packet;

pub use decode::Decoder;
pub use encode::{Encoded, Frame, Refusal, Suffix};
pub use packet::{
    AckId, ConnectReply, Kind, Namespace, Packet, RecoveryRequest, Violation, is_reserved_event,
};

use crate::engineio::Version;
use crate::values::Bounds;

/// The Socket.IO revision, fixed by the Engine.IO version of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// On Engine.IO 3: credentials in the namespace's query, refusals as a string, CONNECT without payload.
    V4,
    /// On Engine.IO 4, the current one.
    V5,
}

impl From<Version> for Revision {
    fn from(version: Version) -> Self {
        match version {
            Version::V3 => Self::V4,
            Version::V4 => Self::V5,
        }
    }
}

/// How packets become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Parser {
    /// Text, binary values as separate messages after it.
    Default,
    /// One binary message per packet, binary values in place. A client picks it without telling; see [`Decoder`].
    MsgPack,
}

/// Which end of the connection decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Packets come from a client.
    Server,
    /// Packets come from a server.
    Client,
}

/// The variant a packet is encoded in. One encoding serves every session with an equal codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Codec {
    /// Which revision the receiver speaks.
    pub revision: Revision,
    /// Which parser it uses.
    pub parser: Parser,
}

/// What a decoder accepts; beyond it the packet is a [`Violation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size (header and attachments together), attachments and nesting.
    pub values: Bounds,
    /// Bytes of a namespace's name, in revision 4 without the query.
    pub namespace_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { values: Bounds::default(), namespace_bytes_max: 256 }
    }
}

#[cfg(test)]
mod tests;
