//! Accepting: from a listener to a registered connection, within the limits of the node, the shard and the process.
//!
//! Must not know what connections are for. Start at [`Shard::accept`].

use super::Shard;
use super::connection::{Connection, Flags};
use super::handler::Handler;
use super::io::{ConnKey, Io};
use super::setup::{Listener, Takes};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, TcpStream};

/// Connections taken in one turn before those that are here have theirs.
const ACCEPTS_PER_TURN: usize = 128;

/// Time for the first request of a connection while the shard drains: so much may the silent ones hold up its end.
pub(super) const DRAINING_HEAD_MS: u64 = 1_000;

/// What a client hears that comes when all seats are taken. Not under TLS: it would have to be let in for that. Nor where
/// no HTTP is spoken.
const NO_SEAT: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A descriptor to give up when the process has none left, so that a waiting connection can be taken and closed instead
/// of keeping the listener ready for ever.
#[derive(Debug)]
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

impl<H: Handler> Shard<H> {
    /// Takes waiting connections; whether there may be more.
    pub(super) fn accept(&mut self) -> bool {
        let mut more = false;
        let listeners = std::mem::take(&mut self.listeners);
        for listener in &listeners {
            more |= (0..ACCEPTS_PER_TURN).all(|_| self.accept_one(listener));
        }
        self.listeners = listeners;
        more
    }

    /// Takes one connection; `false` when there is none.
    fn accept_one(&mut self, listener: &Listener) -> bool {
        match listener.socket.accept() {
            Ok((stream, peer)) => {
                self.admit(stream, peer.ip(), listener.takes);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) if is_out_of_files(&error) => self.refuse_one(listener),
            // A connection that was reset while it waited, or a fault of the network (accept(2)): the next may be well.
            Err(error) => matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted),
        }
    }

    /// Closes one waiting connection with the help of the spare descriptor; `false` when there was none: without a free
    /// descriptor accept(2) fails before it looks.
    fn refuse_one(&mut self, listener: &Listener) -> bool {
        self.spare.0 = None;
        let refused = listener.socket.accept().is_ok();
        self.spare = Spare::new();
        if refused {
            self.io.stats.refused_files += 1;
            // Said at every doubling: under an attack the log would be one more thing to run out.
            if self.io.stats.refused_files.is_power_of_two() {
                tracing::warn!(
                    refused = self.io.stats.refused_files,
                    "connections closed: no free file descriptor"
                );
            }
        }
        refused
    }

    fn admit(&mut self, stream: TcpStream, peer: IpAddr, takes: Takes) {
        if !self.io.seats.try_take() {
            self.io.stats.refused_connections_max += 1;
            if takes == Takes::Anything && self.tls.is_none() && stream.set_nonblocking(true).is_ok() {
                let _ = (&stream).write(NO_SEAT);
            }
            return;
        }
        let from_proxy =
            self.io.config.server.proxy_protocol_from.iter().any(|network| network.contains(peer));
        let start = if from_proxy { Flags::AWAITS_PROXY } else { Flags::default() };
        if self.take_in(stream, start, takes).is_none() {
            self.io.seats.leave();
        }
    }

    /// A stream whose other end is in this process. It takes a seat like any other; if there is none it is closed.
    pub(super) fn take_own(&mut self, stream: TcpStream) {
        if !self.io.seats.try_take() {
            self.io.stats.refused_connections_max += 1;
        } else if self.seat(stream, Flags::OWN, Takes::Streams).is_none() {
            self.io.seats.leave();
        }
    }

    fn take_in(&mut self, stream: TcpStream, start: Flags, takes: Takes) -> Option<ConnKey> {
        // Frames are written whole, so there is nothing to wait for (RFC 896).
        stream.set_nodelay(true).ok()?;
        self.seat(stream, start, takes)
    }

    /// Begins to read from a stream, whatever kind of socket it is.
    pub(super) fn seat(&mut self, stream: TcpStream, start: Flags, takes: Takes) -> Option<ConnKey> {
        stream.set_nonblocking(true).ok()?;
        let mut connection = Connection::new(stream);
        connection.flags = start;
        let tls = match takes {
            Takes::Anything => self.tls.as_ref().map(|tls| &tls.public),
            Takes::Streams => None,
            Takes::StreamsOverTls => Some(&self.tls.as_ref()?.streams),
        };
        if let Some(config) = tls {
            connection.tls = Some(Box::new(rustls::ServerConnection::new(config.clone()).ok()?));
        }
        if takes != Takes::Anything {
            connection.flags.set(Flags::STREAM_ONLY);
        }
        let conn = self.io.register(connection)?;
        self.io.stats.accepted += 1;
        self.io.half_open(conn);
        Some(conn)
    }
}

impl Io {
    /// The connection has to say who it is within the time of a head, or sooner when the shard drains, and is the newest of which that is not known.
    pub(super) fn half_open(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.flags.set(Flags::HALF_OPEN);
        self.stats.half_open += 1;
        self.half_opens.push(conn);
        let head_timeout_ms = self.config.limits.head_timeout_ms;
        let in_ms = if self.draining { head_timeout_ms.min(DRAINING_HEAD_MS) } else { head_timeout_ms };
        self.set_deadline(conn, in_ms);
        self.bound_half_open();
    }

    /// Keeps `limits.half_open_max`: the oldest goes.
    fn bound_half_open(&mut self) {
        let connections = &self.connections;
        let still =
            |conn| connections.get(conn).is_some_and(|connection| connection.flags.has(Flags::HALF_OPEN));
        let half_open = self.stats.half_open as usize;
        if half_open > self.config.limits.half_open_max {
            if let Some(oldest) = self.half_opens.pop_oldest(still) {
                self.stats.closed_half_open += 1;
                self.discard(oldest);
            }
        } else {
            self.half_opens.tidy(half_open, still);
        }
    }
}

/// EMFILE (24) and ENFILE (23), the same numbers on Linux and the BSDs. `ErrorKind` has no stable name for them.
fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(23 | 24))
}
