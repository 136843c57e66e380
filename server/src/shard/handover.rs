//! A connection between two shards: the descriptor and everything that was read or is to be written.
//!
//! Owns the move itself; must not know why a connection moves. Start at [`Handover`].

use super::admission::Seat;
use super::connection::{Connection, Flags, NONE, Phase};
use super::handler::Owner;
use super::io::{ConnKey, Io};
use crate::front::Migration;
use crate::mail::PeerMail;
use bytes::Bytes;
use hub::ShardId;
use mio::unix::SourceFd;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// A connection on its way to another shard. Dropping it closes the connection.
#[derive(Debug)]
pub struct Handover {
    connection: Box<Connection>,
    /// Read and not used.
    bytes: Vec<u8>,
    /// To be written.
    pieces: Vec<Bytes>,
    /// Behind a proxy.
    client: Option<Box<SocketAddr>>,
    seat: Seat,
}

/// An engine session or stream that leaves while the bytes behind its current frame are not sorted yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    pub(super) conn: ConnKey,
    pub(super) to: ShardId,
    /// Of its message among the posts; `None` for a stream, whose message is only the connection.
    pub(super) place: Option<usize>,
}

impl Io {
    /// Sends an engine session to another shard together with its WebSocket, with all that is read or waits to be
    /// written; `conn` is void afterwards. It keeps its place among what is posted to that shard. When the connection
    /// is gone already, or is no WebSocket, the session goes alone.
    pub fn migrate(&mut self, conn: ConnKey, to: ShardId, migration: Box<Migration>) {
        let place = self.post_at(to, PeerMail::Engine { migration, connection: None });
        let Some(connection) = self.connections.get_mut(conn).filter(|c| c.phase == Phase::WebSocket) else {
            return;
        };
        let rest = connection.partial.take().map(|partial| partial.bytes).unwrap_or_default();
        self.enter(conn, Phase::Moving);
        let leaving = Leaving { conn, to, place: Some(place) };
        if self.feeding == Some(conn) {
            self.leaving = Some(leaving);
        } else {
            self.leave(leaving, rest);
        }
    }

    /// Completes a migration; `rest` is what was read and not used.
    pub(super) fn leave(&mut self, leaving: Leaving, rest: Vec<u8>) {
        let Leaving { conn, to, place } = leaving;
        let Some(handover) = self.pack(conn, rest) else { return };
        self.stats.handovers_out += 1;
        let Some(place) = place else { return self.post(to, PeerMail::Connection(handover)) };
        if let Some(PeerMail::Engine { connection, .. }) = self.outbox.posted_mut(to, place) {
            *connection = Some(handover);
        }
    }

    /// Gives a connection, whose next request is at the start of `rest`, to another shard.
    ///
    /// # Errors
    /// Earlier answers are not written yet: try again when they are.
    pub(super) fn hand_over(&mut self, conn: ConnKey, to: ShardId, rest: &[u8]) -> Result<(), Blocked> {
        self.flush(conn);
        if self.connections.get(conn).is_some_and(|connection| connection.unsent.is_some()) {
            return Err(Blocked);
        }
        if let Some(handover) = self.pack(conn, rest.to_vec()) {
            self.stats.handovers_out += 1;
            self.post_at(to, PeerMail::Connection(handover));
        }
        Ok(())
    }

    fn pack(&mut self, conn: ConnKey, bytes: Vec<u8>) -> Option<Handover> {
        let staged = self.unstage(conn);
        let client = self.clients.get(&conn).copied().map(Box::new);
        let mut connection = self.detach(conn)?;
        let _ = self.registry.deregister(&mut SourceFd(&connection.stream.as_raw_fd()));
        let unsent = connection.unsent.take().map(|unsent| unsent.pieces).unwrap_or_default();
        // What a stream has taken out of frames stays with it.
        if let Some(partial) = &mut connection.partial {
            (partial.bytes, partial.body) = (Vec::new(), None);
        }
        connection.tidy();
        let pieces = unsent.into_iter().chain(staged).collect();
        Some(Handover {
            connection: Box::new(connection),
            bytes,
            pieces,
            client,
            seat: Seat::of(&self.seats),
        })
    }

    /// Takes a connection that came with a [`PeerMail::Engine`]; `None` when it died on the way, and then
    /// [`super::Handler::closed`] is not called.
    pub fn adopt(&mut self, handover: Handover, owner: Owner) -> Option<ConnKey> {
        let Unpacked { conn, bytes, pieces } = self.unpack(handover)?;
        self.enter(conn, Phase::WebSocket);
        self.connections.get_mut(conn)?.owner = owner.0;
        // Only now, as what the socket does not take is the business of its owner.
        self.restage(conn, pieces);
        let connection = self.connections.get_mut(conn)?;
        if !bytes.is_empty() {
            connection.keep(&bytes);
            self.queue(conn);
        }
        Some(conn)
    }

    /// Registers a connection that came from another shard.
    pub(super) fn unpack(&mut self, handover: Handover) -> Option<Unpacked> {
        let Handover { connection, bytes, pieces, client, seat } = handover;
        let mut connection = *connection;
        let kept = [Flags::TLS_READY, Flags::ENDED, Flags::STREAM];
        let mut flags = Flags::default();
        kept.into_iter().filter(|flag| connection.flags.has(*flag)).for_each(|flag| flags.set(flag));
        connection.flags = flags;
        (connection.phase, connection.owner) = (Phase::Head, NONE);
        let conn = self.register(connection)?;
        seat.keep();
        if let Some(client) = client {
            self.clients.insert(conn, *client);
        }
        self.stats.handovers_in += 1;
        Some(Unpacked { conn, bytes, pieces })
    }
}

/// A connection that came from another shard.
pub(super) struct Unpacked {
    pub(super) conn: ConnKey,
    /// What is to be read from it first.
    pub(super) bytes: Vec<u8>,
    /// What is to be written to it first.
    pub(super) pieces: Vec<Bytes>,
}

/// A connection cannot move yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocked;
