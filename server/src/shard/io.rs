//! What a handler can do to connections, timers and mailboxes.
//!
//! A stale [`ConnKey`] is harmless: the call does nothing. Must not know any protocol above WebSocket framing.
//! Start at [`Io`].

use super::handler::Owner;
use super::handover::Handover;
use super::response::Response;
use crate::config::Config;
use crate::front::Migration;
use crate::mail::{PeerMail, Upcall};
use bytes::Bytes;
use hub::{Millis, Report, ShardId, Token};
use std::net::SocketAddr;

/// Names one connection of one shard; never reused in practice (32 bits of generation per slot).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConnKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// Connections, timers and mailboxes of one shard.
#[derive(Debug)]
pub struct Io {}

impl Io {
    /// Milliseconds since a zero shared by all shards of the process; read once per turn and before timers.
    pub fn now(&self) -> Millis {
        unimplemented!()
    }
    /// This shard.
    pub fn shard(&self) -> ShardId {
        unimplemented!()
    }
    /// The checked configuration.
    pub fn config(&self) -> &Config {
        unimplemented!()
    }
    /// Bytes from the operating system's generator, fetched in larger portions.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        unimplemented!()
    }

    /// Answers the request a connection waits with (fresh or held).
    pub fn respond(&mut self, _conn: ConnKey, _response: Response) {
        unimplemented!()
    }
    /// The answer comes later, by [`Io::respond`]. Until then only the peer's close is noticed.
    pub fn hold(&mut self, _conn: ConnKey, _owner: Owner) {
        unimplemented!()
    }
    /// Answers with 101 and turns the connection into a WebSocket. `answer` is the complete head, from
    /// [`wire::websocket::Accept::respond`].
    pub fn upgrade_websocket(
        &mut self,
        _conn: ConnKey,
        _owner: Owner,
        _answer: Vec<u8>,
        _message_bytes_max: u32,
    ) {
        unimplemented!()
    }

    /// Queues a complete frame for this turn's flush.
    pub fn stage(&mut self, _conn: ConnKey, _bytes: Bytes) {
        unimplemented!()
    }
    /// Closes at once; nothing more is written.
    pub fn close(&mut self, _conn: ConnKey) {
        unimplemented!()
    }
    /// Writes what is staged, within a linger time, then closes.
    pub fn close_after_flush(&mut self, _conn: ConnKey) {
        unimplemented!()
    }
    /// Whether nothing waits in the write buffer.
    pub fn is_writable(&self, _conn: ConnKey) -> bool {
        unimplemented!()
    }
    /// Whether what this peer sends is read as it comes; false while back pressure stops the shard from reading.
    /// A heartbeat must not expire then.
    pub fn is_reading(&self, _conn: ConnKey) -> bool {
        unimplemented!()
    }
    /// The other end; a system call.
    pub fn peer_addr(&self, _conn: ConnKey) -> Option<SocketAddr> {
        unimplemented!()
    }
    /// Whether the connection is under TLS.
    pub fn is_secure(&self, _conn: ConnKey) -> bool {
        unimplemented!()
    }

    /// Sets the owner's only timer; a later call replaces it.
    pub fn arm(&mut self, _owner: Owner, _at: Millis) {
        unimplemented!()
    }
    /// Unsets it.
    pub fn disarm(&mut self, _owner: Owner) {
        unimplemented!()
    }

    /// For the back office; leaves at the end of the turn.
    pub fn upcall(&mut self, _event: Upcall) {
        unimplemented!()
    }
    /// For the back office; leaves at the end of the turn.
    pub fn report(&mut self, _token: Token, _report: Report) {
        unimplemented!()
    }
    /// For another shard; leaves at the end of the turn, in order.
    pub fn post(&mut self, _to: ShardId, _mail: PeerMail) {
        unimplemented!()
    }

    /// Sends an engine session to another shard together with its WebSocket, with all that is read or waits to be
    /// written; `conn` is void afterwards. Keeps its place among what is posted to that shard.
    pub fn migrate(&mut self, _conn: ConnKey, _to: ShardId, _migration: Box<Migration>) {
        unimplemented!()
    }
    /// Takes a connection that came with a [`PeerMail::Engine`]; `None` when it died on the way.
    pub fn adopt(&mut self, _handover: Handover, _owner: Owner) -> Option<ConnKey> {
        unimplemented!()
    }
}
