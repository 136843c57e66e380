//! MQTT 3.1, 3.1.1 and 5.0, both roles.
//!
//! Owns the bytes of packets: framing, every check of a single packet with the code that answers it, encoding. Must
//! not know sessions, subscriptions, timers, sockets, or which packet may follow which. Start at [`frame`], then
//! [`decode_client`]; what goes out is written by an [`Encoder`] or, for many receivers at once, from
//! [`PublishParts`].
//!
//! There is one packet model. The version is an argument; a connection keeps an [`Encoder`] (8 bytes) and, once it uses
//! topic aliases, [`AliasesIn`] and [`AliasesOut`]. Decoding borrows from the caller's buffer without allocating.
//!
//! Sources: MQTT Version 5.0 and MQTT Version 3.1.1, OASIS Standards. `[MQTT-x.y.z-n]` is a numbered statement of 5.0.

mod alias;
mod client;
mod common;
mod encode;
mod error;
mod forwarded;
mod frame;
mod list;
mod packet;
mod property;
mod publish;
mod reader;
mod reason;
mod server;
mod topic;

pub use alias::{AliasesIn, AliasesOut};
pub use client::{decode_client, oversized_connect};
pub use encode::{ConnAckProperties, Encoder, ProblemInformation, Unsent};
pub use error::{Answer, Error};
pub use forwarded::Forwarded;
pub use frame::{Frame, VARINT_MAX, frame};
pub use list::{Filters, ReasonCodes, RetainHandling, SubscribeOptions, Subscriptions};
pub use packet::{
    Ack, Auth, ClientPacket, ConnAck, Connect, Disconnect, Level, PacketId, Publish, Qos, ServerPacket,
    SubAck, Subscribe, Unsubscribe, Will,
};
pub use property::{Properties, Property, PropertyBuf, Value};
pub use publish::{Delivery, Outgoing, PublishHead, PublishParts, TopicForm};
pub use reason::ReasonCode;
pub use server::decode_server;
pub use topic::parse_share;

/// The encoding of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// MQTT 3.1.1 and 3.1, which differ only in CONNECT (see [`Level`]).
    V3,
    /// MQTT 5.0.
    V5,
}

#[cfg(test)]
mod tests;
