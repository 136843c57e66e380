//! Codecs and per-connection protocol state: bytes in, bytes out. No I/O, no clock, no async, no lock.

pub mod engineio;
pub mod socketio;
pub mod values;
