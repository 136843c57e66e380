//! Codecs and per-connection protocol state: bytes in, bytes out.
//!
//! Owns how each protocol looks on the wire and the few bytes a connection must remember between two reads.
//! Must not know: sockets, clocks, threads, locks, async, the hub, or any other crate of this workspace. The caller
//! owns every buffer; a codec reports how much it consumed and what it found, or why the peer is wrong.
//!
//! Where to start: every TCP connection begins in [`http::parse_head`] or, if its first byte is 0x10, in [`mqtt::frame`];
//! a WebSocket continues in [`websocket::accept`] and [`websocket::Decoder`]; what HTTP and WebSocket carry is
//! [`engineio`], and inside it [`socketio`], or [`mqtt`] in binary frames; answers that go on are [`stream`]. Requests to queues
//! are [`sqs`], whoever reads their HTTP; what back ends are told of clients is [`cloudevent`].

mod calendar;
pub mod cloudevent;
pub mod engineio;
pub mod http;
pub mod mqtt;
pub mod socketio;
pub mod sqs;
pub mod stream;
pub mod values;
pub mod websocket;
