//! Writing: what is staged in a turn leaves in one system call per connection; what the socket does not take waits in
//! a bounded buffer.
//!
//! Owns the flush, the write buffer and the end of a connection. Must not know what is written. Start at [`Io::stage`]
//! and [`Io::flush_all`].

use super::connection::{Connection, Flags, NONE, Phase, Unsent};
use super::handler::Closed;
use super::io::{ConnKey, Io, Notice};
use super::staging::{Slices, Staging, slices};
use super::stats::Stats;
use super::tls;
use bytes::{Buf, Bytes};
use mio::Interest;
use mio::unix::SourceFd;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;

/// A connection with more than this staged is flushed at once, so that a slow one is known as such.
const STAGED_BYTES_MAX: usize = 64 << 10;
/// With more than this staged in a turn everybody is flushed at once, since pieces are held until all of them are.
const HELD_BYTES_MAX: usize = 8 << 20;
/// What a piece in a write buffer costs besides its bytes; counted, so that many small frames are bounded too.
const UNSENT_PIECE_BYTES: usize = size_of::<Bytes>();
/// How long a closing connection may take to be given what is left and to end its side.
pub(super) const LINGER_MS: u64 = 5_000;
/// An answer of which nothing moves for this long is given up.
const WRITE_STALL_MS: u64 = 30_000;
/// How long a stream may go on sending once it was told that it ends: what is unread when a socket is closed makes the
/// kernel reset the connection, and the client would lose the reason.
const STREAM_LINGER_MS: u64 = 1_000;

/// A queue of pieces to write from.
trait Source {
    /// What is left, for one system call; empty when nothing is.
    fn slices(&mut self) -> Slices<'_>;
    fn advance(&mut self, bytes: usize);
}

/// The batch of one connection.
struct Staged<'a> {
    staging: &'a mut Staging,
    batch: u32,
}

impl Source for Staged<'_> {
    fn slices(&mut self) -> Slices<'_> {
        self.staging.slices(self.batch)
    }

    fn advance(&mut self, bytes: usize) {
        self.staging.advance(self.batch, bytes);
    }
}

impl Source for Unsent {
    fn slices(&mut self) -> Slices<'_> {
        slices(self.pieces.iter())
    }

    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > bytes {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.bytes -= UNSENT_PIECE_BYTES;
            self.pieces.pop_front();
        }
    }
}

impl Unsent {
    fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() + UNSENT_PIECE_BYTES;
        self.pieces.push_back(piece);
    }
}

/// What became of an attempt to write everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    All,
    Blocked,
}

impl Io {
    /// Queues a complete frame of a WebSocket, bytes of a bare stream, or of an answer that goes on, for this turn's flush. The
    /// bytes are kept by reference.
    pub fn stage(&mut self, conn: ConnKey, bytes: &Bytes) {
        self.write_if(conn, bytes, |phase| {
            matches!(phase, Phase::WebSocket | Phase::Stream | Phase::Answer | Phase::Moving)
        });
    }

    /// Whether nothing waits in the write buffer.
    pub fn is_writable(&self, conn: ConnKey) -> bool {
        self.connections.get(conn).is_some_and(|connection| connection.unsent.is_none())
    }

    /// Queues bytes in any phase.
    pub(super) fn write(&mut self, conn: ConnKey, bytes: &Bytes) {
        self.write_if(conn, bytes, |_| true);
    }

    fn write_if(&mut self, conn: ConnKey, bytes: &Bytes, takes: impl FnOnce(Phase) -> bool) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if bytes.is_empty() || !takes(connection.phase) {
            return;
        }
        if connection.batch == NONE {
            connection.batch = self.staging.open(conn);
        }
        let moving = connection.phase == Phase::Moving;
        self.stats.pieces_out += 1;
        let staged_bytes = self.staging.push(connection.batch, bytes);
        // What moves takes along what is staged for it.
        if moving {
            return;
        }
        if self.staging.held_bytes() > HELD_BYTES_MAX && self.leaving.is_none() {
            self.flush_all();
        } else if staged_bytes > STAGED_BYTES_MAX {
            self.flush(conn);
        }
    }

    /// Takes back what is staged.
    pub(super) fn unstage(&mut self, conn: ConnKey) -> Vec<Bytes> {
        let Some(connection) = self.connections.get(conn) else { return Vec::new() };
        self.staging.take(connection.batch)
    }

    /// Stages what came with a connection from another shard, and has its TLS session flushed.
    pub(super) fn restage(&mut self, conn: ConnKey, pieces: Vec<Bytes>) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.tls.as_ref().is_some_and(|tls| tls.wants_write()) {
            connection.batch = self.staging.open(conn);
        }
        for piece in &pieces {
            self.write(conn, piece);
        }
    }

    /// Writes everything that is staged.
    pub(super) fn flush_all(&mut self) {
        let mut batch = 0;
        while let Some(conn) = self.staging.conn(batch) {
            if self.connections.get(conn).is_some_and(|connection| connection.batch == batch) {
                self.flush(conn);
                if let Some(connection) = self.connections.get_mut(conn) {
                    connection.batch = NONE;
                }
            }
            batch += 1;
        }
        self.staging.clear();
    }

    /// Writes what is staged for one connection, behind what waits in its write buffer.
    pub(super) fn flush(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let mut staged = Staged { staging: &mut self.staging, batch: connection.batch };
        let sent = match connection.unsent {
            Some(_) => Ok(Sent::Blocked),
            None => write_all(connection, &mut staged, &mut self.stats),
        };
        match sent {
            Ok(Sent::All) if connection.phase == Phase::Closing => self.finish_closing(conn),
            Ok(Sent::All) => {}
            Ok(Sent::Blocked) => self.buffer(conn),
            Err(error) => self.fail_writing(conn, &error),
        }
    }

    /// Moves what the socket did not take from the arena to the write buffer.
    fn buffer(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let write_buffer_bytes_max = match connection.flags.has(Flags::STREAM) {
            // What a stream may send it may be sent: one packet, and what is staged beside it.
            true => self.config.limits.write_buffer_bytes_max.max(self.stream_bytes_max),
            false => self.config.limits.write_buffer_bytes_max,
        };
        let (fresh, lasting) = (connection.unsent.is_none(), connection.is_lasting());
        let unsent = connection.unsent.get_or_insert_default();
        let before = unsent.bytes;
        self.staging.take(connection.batch).into_iter().for_each(|piece| unsent.push(piece));
        self.stats.write_buffer_bytes += (unsent.bytes - before) as u64;
        self.stats.blocked += u64::from(fresh);
        // An answer to a request is bounded by itself: the next request waits until it is written.
        if lasting && unsent.bytes > write_buffer_bytes_max {
            return self.fail(conn, Closed::TooLong);
        }
        // Of a stream that nobody owns yet its owner is told when there is one.
        if let Some(owner) = connection.owner().filter(|_| lasting)
            && !connection.flags.has(Flags::BLOCKED_TOLD)
        {
            connection.flags.set(Flags::BLOCKED_TOLD);
            self.notices.push_back(Notice::Blocked(conn, owner));
        }
        if !connection.flags.has(Flags::WATCHES_WRITE) {
            self.watch(conn, Interest::READABLE | Interest::WRITABLE);
        }
        if fresh {
            self.expect_progress(conn);
        }
    }

    /// The socket takes bytes again.
    pub(super) fn on_writable(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(mut unsent) = connection.unsent.take() else { return };
        let before = unsent.bytes;
        let sent = write_all(connection, unsent.as_mut(), &mut self.stats);
        self.stats.write_buffer_bytes -= (before - unsent.bytes) as u64;
        let progress = unsent.bytes < before;
        match sent {
            Ok(Sent::All) => self.unblock(conn),
            Ok(Sent::Blocked) => {
                connection.unsent = Some(unsent);
                if progress {
                    self.expect_progress(conn);
                }
            }
            Err(error) => {
                connection.unsent = Some(unsent);
                self.fail_writing(conn, &error);
            }
        }
    }

    /// The write buffer is empty and gone.
    fn unblock(&mut self, conn: ConnKey) {
        self.stats.blocked -= 1;
        self.watch(conn, Interest::READABLE);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.flags.take(Flags::BLOCKED_TOLD) {
            self.notices.extend(connection.owner().map(|owner| Notice::Writable(conn, owner)));
        }
        match connection.phase {
            Phase::Closing => self.finish_closing(conn),
            Phase::Head | Phase::Body => {
                self.rest(conn);
                self.queue(conn);
            }
            Phase::Asked | Phase::Held => self.no_deadline(conn),
            Phase::WebSocket | Phase::Stream | Phase::Answer | Phase::Moving => {}
        }
    }

    /// Whoever does not take an answer is not waited for forever. A WebSocket or stream has its owner's heartbeat for that,
    /// or no owner and its deadline. A closing connection has its deadline, which no progress moves: a byte now and then would keep a full buffer alive.
    fn expect_progress(&mut self, conn: ConnKey) {
        match self.connections.get(conn).map(|connection| connection.phase) {
            None | Some(Phase::Moving | Phase::Closing) => {}
            Some(Phase::WebSocket | Phase::Stream | Phase::Answer) => {}
            Some(Phase::Head | Phase::Body | Phase::Asked | Phase::Held) => {
                self.set_deadline(conn, WRITE_STALL_MS);
            }
        }
    }

    fn watch(&mut self, conn: ConnKey, interest: Interest) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let descriptor = connection.stream.as_raw_fd();
        match self.registry.reregister(&mut SourceFd(&descriptor), conn.poll_token(), interest) {
            Ok(()) if interest.is_writable() => connection.flags.set(Flags::WATCHES_WRITE),
            Ok(()) => connection.flags.unset(Flags::WATCHES_WRITE),
            Err(error) => self.fail_writing(conn, &error),
        }
    }

    fn fail_writing(&mut self, conn: ConnKey, error: &io::Error) {
        tracing::debug!(%error, "a connection failed while it was written to");
        let gone = self.connections.get(conn).is_some_and(|connection| connection.flags.has(Flags::FIN_SEEN));
        self.fail(conn, if gone { Closed::Peer } else { Closed::Error });
    }

    /// Nothing more is to be said: what is staged is written, then the connection ends.
    pub(super) fn begin_closing(&mut self, conn: ConnKey) {
        self.no_longer_half_open(conn);
        self.enter(conn, Phase::Closing);
        let Some(connection) = self.connections.get_mut(conn) else { return };
        connection.owner = NONE;
        connection.decoder = None;
        connection.partial = None;
        connection.flags.unset(Flags::PAUSED);
        let silent = connection.batch == NONE && connection.unsent.is_none();
        self.set_deadline(conn, LINGER_MS);
        if silent {
            self.finish_closing(conn);
        }
    }

    /// All is written: our FIN, then the peer's is awaited. A socket that is closed while bytes wait in it resets the
    /// connection, and the peer might never see the last answer.
    pub(super) fn finish_closing(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.flags.has(Flags::ENDED) {
            self.discard(conn);
            return;
        }
        if !connection.flags.has(Flags::SHUT) {
            connection.flags.set(Flags::SHUT);
            tls::say_goodbye(connection);
            if connection.stream.shutdown(Shutdown::Write).is_err() {
                self.discard(conn);
                return;
            }
            if connection.flags.has(Flags::STREAM) {
                self.set_deadline(conn, STREAM_LINGER_MS);
            }
        }
        self.queue(conn);
    }
}

/// Writes until nothing is left or the socket is full.
fn write_all(connection: &mut Connection, source: &mut impl Source, stats: &mut Stats) -> io::Result<Sent> {
    loop {
        let slices = source.slices();
        if slices.is_empty() {
            return tls::push(connection, stats).map(|all| if all { Sent::All } else { Sent::Blocked });
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let sent = write_some(connection, &slices, stats);
        drop(slices);
        match sent {
            Ok(bytes) => {
                stats.bytes_out += bytes as u64;
                source.advance(bytes);
                // A socket that took less is full. TLS takes no more than its own buffer holds, and that may have left.
                if bytes < offered && connection.tls.is_none() {
                    return Ok(Sent::Blocked);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Sent::Blocked),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_some(connection: &mut Connection, slices: &[IoSlice<'_>], stats: &mut Stats) -> io::Result<usize> {
    if connection.tls.is_none() {
        stats.writes += 1;
        // The usual case; the kernel takes one piece with less ado than a list of one.
        if let [only] = slices {
            return (&connection.stream).write(only);
        }
        return (&connection.stream).write_vectored(slices);
    }
    // What TLS holds goes first: as long as it does not leave, the socket is full and will say when it is not.
    if !tls::push(connection, stats)? {
        return Err(ErrorKind::WouldBlock.into());
    }
    let Some(tls) = &mut connection.tls else { return Ok(0) };
    let taken = tls.writer().write_vectored(slices)?;
    tls::push(connection, stats)?;
    Ok(taken)
}
