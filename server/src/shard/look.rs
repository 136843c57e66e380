//! Looking at connections from outside: which there are, and what the shard itself knows of one.
//!
//! Owns no state: nothing is kept for this. Must not know what a connection's owner is. Start at [`Io::connections_after`].

use super::connection::{Connection, Flags, NONE, Partial, Phase, Unsent};
use super::handler::{Closed, Owner};
use super::io::{ConnKey, Io};
use super::wheel::KEY_BYTES;
use bytes::Bytes;
use std::net::SocketAddr;

/// What a shard knows of a connection.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whose it is, if anybody's.
    pub owner: Option<Owner>,
    /// `request` (one is awaited or coming), `held` (one waits for its answer), `answer` (an answer goes on), `websocket`,
    /// `stream`, or `closing`.
    pub state: &'static str,
    /// Its bytes are in WebSocket frames.
    pub is_framed: bool,
    /// TLS on this connection.
    pub secure: bool,
    /// The peer, or the client that a proxy named.
    pub remote: Option<SocketAddr>,
    /// Bytes that the socket has not taken.
    pub unsent_bytes: usize,
    /// Bytes that came and cannot be used yet.
    pub unused_bytes: usize,
}

/// Both ends of a connection as the kernel has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Ours.
    pub local: SocketAddr,
    /// The peer's, which may be a proxy.
    pub remote: SocketAddr,
}

impl ConnKey {
    /// As others keep it.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// What it was made from.
    #[must_use]
    pub fn of_number(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

impl Io {
    /// Connections in an order that stays, behind this one, and whether there are more.
    #[must_use]
    pub fn connections_after(&self, after: Option<ConnKey>, limit: usize) -> hub::Page<ConnKey> {
        let start = after.map_or(0, |after| after.index as usize + 1);
        let mut keys = self.connections.keys_from(start);
        let items = keys.by_ref().take(limit).collect();
        hub::Page { items, more: keys.next().is_some() }
    }

    /// What is known of one.
    #[must_use]
    pub fn facts(&self, conn: ConnKey) -> Option<Facts> {
        let connection = self.connections.get(conn)?;
        let state = match connection.phase {
            Phase::Head | Phase::Body | Phase::Asked | Phase::Moving => "request",
            Phase::Held => "held",
            Phase::Answer => "answer",
            Phase::WebSocket => "websocket",
            Phase::Stream => "stream",
            Phase::Closing => "closing",
        };
        let unused = connection.partial.as_ref().map_or(0, |partial| {
            let body = partial.body.as_ref().map_or(0, |body| body.head.len() + body.content.len());
            partial.bytes.len() + partial.inner.len() + body
        });
        Some(Facts {
            owner: self.owner_of(conn),
            state,
            is_framed: connection.is_framed(),
            secure: connection.tls.is_some(),
            remote: self.peer_addr(conn).filter(|_| !connection.flags.has(Flags::OWN)),
            unsent_bytes: connection.unsent.as_ref().map_or(0, |unsent| unsent.bytes),
            unused_bytes: unused,
        })
    }

    /// Bytes that one holds in this process: its slot, its timers, and what was read or not written yet. The state of TLS without what
    /// the library has behind it.
    #[must_use]
    pub fn bytes_of(&self, conn: ConnKey) -> usize {
        let Some(connection) = self.connections.get(conn) else { return 0 };
        let partial = connection.partial.as_ref().map_or(0, |partial| {
            let body = partial.body.as_ref().map_or(0, |body| body.head.capacity() + body.content.capacity());
            size_of::<Partial>() + partial.bytes.capacity() + partial.inner.capacity() + body
        });
        let unsent = connection.unsent.as_ref().map_or(0, |unsent| {
            size_of::<Unsent>() + unsent.pieces.capacity() * size_of::<Bytes>() + unsent.bytes
        });
        let tls = connection.tls.as_ref().map_or(0, |_| size_of::<rustls::ServerConnection>());
        let decoder = connection.decoder.as_ref().map_or(0, |decoder| decoder.held_bytes());
        let timers = usize::from(connection.timer != NONE) + usize::from(connection.owner != NONE);
        let client = if self.clients.contains_key(&conn) { size_of::<(ConnKey, SocketAddr)>() } else { 0 };
        size_of::<Connection>() + partial + unsent + tls + decoder + timers * KEY_BYTES + client
    }

    /// Whose one is, if anybody's.
    #[must_use]
    pub fn owner_of(&self, conn: ConnKey) -> Option<Owner> {
        self.connections.get(conn)?.owner().filter(|owner| *owner != Owner::NOBODY)
    }

    /// Both ends of one, whatever a proxy says. Two system calls.
    #[must_use]
    pub fn ends(&self, conn: ConnKey) -> Option<Ends> {
        let stream = &self.connections.get(conn)?.stream;
        Some(Ends { local: stream.local_addr().ok()?, remote: stream.peer_addr().ok()? })
    }

    /// Ends a connection as if the network had.
    pub fn cut(&mut self, conn: ConnKey) {
        self.fail(conn, Closed::Error);
    }
}
