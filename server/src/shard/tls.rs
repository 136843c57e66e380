//! TLS on a connection: bytes of the socket to bytes of the protocol and back.
//!
//! Must not know what the bytes mean. Start at [`receive`] and [`push`]. The session is a box of the connection, so it
//! moves with it to another shard.

use super::connection::{Connection, Flags};
use super::stats::Stats;
use rustls::ServerConnection;
use std::io::{self, ErrorKind, Read};

/// What reading gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// So many bytes, and perhaps more to come.
    Bytes(usize),
    /// So many bytes, at least one, and the socket is empty now.
    Last(usize),
    /// Nothing for now.
    Empty,
    /// The peer sends nothing more.
    End,
    /// The connection is broken.
    Failed,
}

/// Reads from the socket, through TLS if the connection has it.
pub(super) fn receive(connection: &mut Connection, buffer: &mut [u8], stats: &mut Stats) -> Received {
    let received = match connection.tls.take() {
        None => receive_plain(connection, buffer, stats),
        Some(mut tls) => {
            let received = receive_tls(connection, &mut tls, buffer, stats);
            connection.tls = Some(tls);
            received
        }
    };
    if let Received::Bytes(bytes) | Received::Last(bytes) = received {
        stats.bytes_in += bytes as u64;
    }
    received
}

fn receive_plain(connection: &Connection, buffer: &mut [u8], stats: &mut Stats) -> Received {
    loop {
        stats.reads += 1;
        match (&connection.stream).read(buffer) {
            Ok(0) => return Received::End,
            // Less than asked for: the socket is empty (epoll(7)), which saves the call that would say so. A FIN that
            // is already here would not be told again, so it is read.
            Ok(bytes) if bytes < buffer.len() && !connection.flags.has(Flags::FIN_SEEN) => {
                return Received::Last(bytes);
            }
            Ok(bytes) => return Received::Bytes(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Empty,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Received::Failed,
        }
    }
}

fn receive_tls(
    connection: &mut Connection,
    tls: &mut ServerConnection,
    buffer: &mut [u8],
    stats: &mut Stats,
) -> Received {
    loop {
        match tls.reader().read(buffer) {
            // A clean end (close_notify) or a bare FIN: HTTP and WebSocket know their own ends, so neither can be
            // used to cut a message short unnoticed.
            Ok(0) => return Received::End,
            Ok(bytes) => return Received::Bytes(bytes),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Received::End,
            Err(_) => {}
        }
        stats.reads += 1;
        match tls.read_tls(&mut &connection.stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Received::Empty,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return Received::Failed,
        }
        if let Err(error) = tls.process_new_packets() {
            tracing::debug!(%error, "TLS failed");
            stats.tls_failures += 1;
            // The alert tells the peer why; if it cannot be written now, it is not.
            let _ = tls.write_tls(&mut &connection.stream);
            return Received::Failed;
        }
        if !tls.is_handshaking() && !connection.flags.has(Flags::TLS_READY) {
            connection.flags.set(Flags::TLS_READY);
            stats.tls_handshakes += 1;
        }
    }
}

/// Writes what TLS has to say (records, the handshake); whether all of it left.
///
/// # Errors
/// Those of the socket, but never that it would block.
pub(super) fn push(connection: &mut Connection, stats: &mut Stats) -> io::Result<bool> {
    let Connection { tls: Some(tls), stream, .. } = connection else { return Ok(true) };
    while tls.wants_write() {
        stats.writes += 1;
        match tls.write_tls(&mut &*stream) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// The close_notify of TLS, if the socket takes it.
pub(super) fn say_goodbye(connection: &mut Connection) {
    if let Connection { tls: Some(tls), stream, .. } = connection {
        tls.send_close_notify();
        let _ = tls.write_tls(&mut &*stream);
    }
}
