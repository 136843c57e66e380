//! What a handler can do to connections, timers and mailboxes.
//!
//! A stale [`ConnKey`] is harmless: the call does nothing. What follows from a call for the handler itself (a
//! connection found broken, a full socket) is told after the present callback has returned, in the same turn.
//! Must not know any protocol above WebSocket framing. Start at [`Io`]; the calls about requests are in `exchange.rs`,
//! those that write in `transmit.rs`, those that move a connection in `handover.rs`, those about streams in `stream.rs`.

use super::addresses::Handshakes;
use super::admission::{HalfOpen, Seats};
use super::connection::{Connection, Connections, Flags, NONE, Phase};
use super::entropy::Entropy;
use super::handler::{Closed, Door, Owner};
use super::handover::Leaving;
use super::outbox::Outbox;
use super::staging::Staging;
use super::stats::Stats;
use super::timers::{Clock, Deadlines, OwnerTimers};
use crate::config::Config;
use crate::mail::{PeerMail, Upcall};
use hub::queue::MoveId;
use hub::{Entry, Millis, Place, Report, ShardId, Sighting, Token};
use mio::unix::SourceFd;
use mio::{Interest, Token as PollToken};
use rustls::pki_types::CertificateDer;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use wire::http::HeadLimits;

// A connection's index and generation have to fit into what the poll gives back.
const _: () = assert!(usize::BITS >= 64);

/// Names one connection of one shard. The generation makes a stale key miss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct ConnKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnKey {
    /// What the poll gives back with an event. Indexes stay below [`NONE`], so no token of the shard's own is hit.
    pub(super) fn poll_token(self) -> PollToken {
        PollToken((u64::from(self.generation) << 32 | u64::from(self.index)) as usize)
    }

    pub(super) fn of(token: PollToken) -> Self {
        let bits = token.0 as u64;
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Least time between two words about copies that are missing. Milliseconds.
const COMPLAIN_EVERY_MS: u64 = 1000;

/// Something a handler is to be told once the present callback has returned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Notice {
    Closed(ConnKey, Owner, Closed),
    Blocked(ConnKey, Owner),
    Writable(ConnKey, Owner),
}

/// Connections, timers and mailboxes of one shard.
#[derive(Debug)]
pub struct Io {
    pub(super) shard: ShardId,
    pub(super) config: Arc<Config>,
    pub(super) head_limits: HeadLimits,
    pub(super) clock: Clock,
    pub(super) registry: mio::Registry,
    pub(super) connections: Connections,
    pub(super) seats: Arc<Seats>,
    pub(super) half_opens: HalfOpen,
    pub(super) staging: Staging,
    pub(super) deadlines: Deadlines,
    pub(super) owners: OwnerTimers,
    pub(super) outbox: Outbox,
    /// The most bytes of a stream that may wait to be used by the handler.
    pub(super) stream_bytes_max: usize,
    /// To be read although no event will say so.
    pub(super) ready: Vec<ConnKey>,
    pub(super) notices: VecDeque<Notice>,
    /// The connection whose bytes are being sorted.
    pub(super) feeding: Option<ConnKey>,
    pub(super) leaving: Option<Leaving>,
    pub(super) draining: bool,
    pub(super) handshakes: Handshakes,
    /// The same of messages by request.
    pub(super) publishes: Handshakes,
    /// The clients behind proxies, where they are known.
    pub(super) clients: HashMap<ConnKey, SocketAddr>,
    pub(super) entropy: Entropy,
    pub(super) stats: Stats,
    /// When it was last told of a copy that is missing.
    pub(super) complained: Option<Millis>,
}

impl Io {
    /// The server's.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A message is in a queue.
    pub fn count_copy(&mut self) {
        self.stats.queue_copies += 1;
    }

    /// A message is not in the queue that it is for. Whether that is to be told: once in a second.
    pub fn count_failed_copy(&mut self) -> bool {
        self.stats.queue_copies_failed += 1;
        let now = self.now();
        let is_due = self.complained.is_none_or(|at| now.0 >= at.0 + COMPLAIN_EVERY_MS);
        if is_due {
            self.complained = Some(now);
        }
        is_due
    }

    /// Milliseconds since a zero shared by all shards of the process; read once per turn and before timers.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Bytes from the operating system's generator.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        self.entropy.take()
    }

    /// The client: the other end, or who a listed proxy says is behind it (`server.proxy_protocol_from`). A system call.
    pub fn peer_addr(&self, conn: ConnKey) -> Option<SocketAddr> {
        if let Some(client) = self.clients.get(&conn) {
            return Some(*client);
        }
        self.connections.get(conn).and_then(|connection| connection.stream.peer_addr().ok())
    }

    /// Whether the other end of the connection is the server's own ([`crate::mail::Mail::Own`]).
    pub fn is_own(&self, conn: ConnKey) -> bool {
        self.connections.get(conn).is_some_and(|connection| connection.flags.has(Flags::OWN))
    }

    /// Whether the connection is under TLS.
    pub fn is_secure(&self, conn: ConnKey) -> bool {
        self.connections.get(conn).is_some_and(|connection| connection.tls.is_some())
    }

    /// The certificate by which the client has proved who it is, if it was asked for one and has it.
    pub fn client_certificate(&self, conn: ConnKey) -> Option<&CertificateDer<'static>> {
        self.connections.get(conn)?.tls.as_ref()?.peer_certificates()?.first()
    }

    /// Counts a handshake (a new session) of the peer's address. `false`: refuse it with 429 and `Retry-After: 1`
    /// (`limits.handshakes_per_address_per_second`).
    pub fn allow_handshake(&mut self, conn: ConnKey) -> bool {
        let Some(address) = self.peer_addr(conn) else { return true };
        let allowed = self.handshakes.allow(address.ip(), self.clock.now());
        self.stats.refused_handshakes += u64::from(!allowed);
        allowed
    }

    /// Counts a message that comes by a request of its own. `false`: refuse it with 429 and `Retry-After: 1`
    /// (`limits.publishes_per_address_per_second`).
    pub fn allow_publish(&mut self, conn: ConnKey) -> bool {
        let Some(address) = self.peer_addr(conn) else { return true };
        let allowed = self.publishes.allow(address.ip(), self.clock.now());
        self.stats.refused_publishes += u64::from(!allowed);
        allowed
    }

    /// Sets the owner's only timer; a later call replaces it. It fires at most 2 ms late and never early, and to move
    /// it to a later time costs a store.
    pub fn arm(&mut self, owner: Owner, at: Millis) {
        self.owners.arm(owner, at);
    }

    /// Unsets it.
    pub fn disarm(&mut self, owner: Owner) {
        self.owners.disarm(owner);
    }

    /// For the back office; leaves in this turn.
    pub fn upcall(&mut self, event: Upcall) {
        self.stats.upcalls += 1;
        self.outbox.upcall(event);
    }

    /// For the back office; leaves in this turn.
    pub fn sighting(&mut self, sighting: Sighting) {
        self.stats.upcalls += 1;
        self.outbox.sighting(sighting);
    }

    /// For the back office; leaves in this turn.
    pub fn report(&mut self, token: Token, report: Report) {
        self.outbox.report(token, report);
    }

    /// Changes for the journal; leave in this turn, in order.
    pub fn keep(&mut self, entries: &mut Vec<Entry>) {
        if !entries.is_empty() {
            self.outbox.keep(entries);
        }
    }

    /// A message of a queue that the hub wants back; leaves at once, since it stands where it is safe.
    pub fn load(&self, id: MoveId, place: Place) {
        self.outbox.load(id, place);
    }

    /// For another shard; leaves in this turn, in order.
    pub fn post(&mut self, to: ShardId, mail: PeerMail) {
        self.post_at(to, mail);
    }

    pub(super) fn post_at(&mut self, to: ShardId, mail: PeerMail) -> usize {
        self.outbox.post(to, mail)
    }

    /// Whether what this peer sends is read as it comes; false while back pressure, or [`Io::pause_reading`], stops
    /// the shard from reading. A heartbeat must not expire then: the answer may wait in the socket.
    pub fn is_reading(&self, conn: ConnKey) -> bool {
        let unread = |c: &Connection| c.flags.has(Flags::QUEUED) || c.flags.has(Flags::PAUSED);
        !self.outbox.is_stalled() && self.connections.get(conn).is_some_and(|connection| !unread(connection))
    }

    /// Whether the peer is known to send nothing more, of a connection that is not read from.
    pub fn has_left(&self, conn: ConnKey) -> bool {
        self.connections.get(conn).is_none_or(|connection| connection.flags.has(Flags::FIN_SEEN))
    }

    /// Whether nothing is read from any client at present, as the back office or another shard is behind. What clients
    /// owe must not be held against them then, connected or between two polls.
    pub fn is_stalled(&self) -> bool {
        self.outbox.is_stalled()
    }

    /// Gives no more messages of a WebSocket, or bytes of a stream, to the handler until [`Io::resume_reading`]; what the
    /// client sends waits in the socket, and soon the client waits too.
    pub fn pause_reading(&mut self, conn: ConnKey) {
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.flags.set(Flags::PAUSED);
        }
    }

    /// Reads again.
    pub fn resume_reading(&mut self, conn: ConnKey) {
        let paused = |connection: &mut Connection| connection.flags.take(Flags::PAUSED);
        if self.connections.get_mut(conn).is_some_and(paused) {
            self.stream_may_go_on(conn);
            self.queue(conn);
        }
    }

    /// An owner of this door whose socket is full by what this callback has staged so far, for callbacks in which very much
    /// may be staged: [`super::Handler::blocked`] would come when it is over, and is not called for this one again.
    pub fn next_blocked(&mut self, door: Door) -> Option<Owner> {
        let is_one = |notice: &Notice| matches!(notice, Notice::Blocked(_, owner) if owner.door() == door);
        let at = self.notices.iter().position(is_one)?;
        match self.notices.remove(at)? {
            Notice::Blocked(_, owner) => Some(owner),
            Notice::Closed(..) | Notice::Writable(..) => None,
        }
    }

    /// Closes at once; nothing more is written.
    pub fn close(&mut self, conn: ConnKey) {
        if self.discard(conn) {
            self.stats.closed_handler += 1;
        }
    }

    /// Writes what is staged, within a linger time, then closes.
    pub fn close_after_flush(&mut self, conn: ConnKey) {
        if self.connections.get(conn).is_some_and(|connection| connection.phase != Phase::Closing) {
            self.stats.closed_handler += 1;
            self.begin_closing(conn);
        }
    }

    /// Takes a new connection in and registers it; `None` when the kernel refuses.
    pub(super) fn register(&mut self, connection: Connection) -> Option<ConnKey> {
        let descriptor = connection.stream.as_raw_fd();
        let conn = self.connections.insert(connection);
        let registered =
            self.registry.register(&mut SourceFd(&descriptor), conn.poll_token(), Interest::READABLE);
        if let Err(error) = registered {
            tracing::warn!(%error, "a connection could not be registered with the poll");
            self.connections.remove(conn);
            return None;
        }
        Some(conn)
    }

    /// Changes the phase and what is counted by phase. Who waits for a request's content hears here that it will not
    /// come, as this has many reasons.
    pub(super) fn enter(&mut self, conn: ConnKey, phase: Phase) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let before = std::mem::replace(&mut connection.phase, phase);
        if before == Phase::Body && phase == Phase::Closing {
            let owner = connection.owner();
            self.notices.extend(owner.map(|owner| Notice::Closed(conn, owner, Closed::Peer)));
        }
        if let Some(gauge) = gauge(&mut self.stats, before) {
            *gauge -= 1;
        }
        if let Some(gauge) = gauge(&mut self.stats, phase) {
            *gauge += 1;
        }
    }

    /// Marks a connection to be read without an event.
    pub(super) fn queue(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if !connection.flags.has(Flags::QUEUED) {
            connection.flags.set(Flags::QUEUED);
            self.ready.push(conn);
        }
    }

    /// Ends a connection that broke, and has its owner told.
    pub(super) fn fail(&mut self, conn: ConnKey, why: Closed) {
        let Some(connection) = self.connections.get(conn) else { return };
        let owned = connection.is_lasting() || matches!(connection.phase, Phase::Held | Phase::Moving);
        let owner = connection.owner().filter(|_| owned);
        // The end of a closing connection was counted when it began.
        if connection.phase != Phase::Closing {
            self.count_closed(why);
        }
        self.discard(conn);
        if let Some(owner) = owner {
            self.notices.push_back(Notice::Closed(conn, owner, why));
        }
    }

    pub(super) fn count_closed(&mut self, why: Closed) {
        let counter = match why {
            Closed::Peer => &mut self.stats.closed_peer,
            Closed::Error => &mut self.stats.closed_error,
            Closed::Violation(_) => &mut self.stats.closed_violation,
            Closed::TooLong => &mut self.stats.closed_too_long,
            Closed::Idle => &mut self.stats.closed_timeout,
        };
        *counter += 1;
    }

    /// Drops a connection and frees its seat; whether there was one.
    pub(super) fn discard(&mut self, conn: ConnKey) -> bool {
        if let Some(connection) = self.connections.get(conn) {
            self.staging.forget(connection.batch);
        }
        let found = self.detach(conn).is_some();
        if found {
            self.seats.leave();
        }
        found
    }

    /// Takes a connection out of everything but the poll.
    pub(super) fn detach(&mut self, conn: ConnKey) -> Option<Connection> {
        self.no_longer_half_open(conn);
        self.enter(conn, Phase::Closing);
        let mut connection = self.connections.remove(conn)?;
        if !self.clients.is_empty() {
            self.clients.remove(&conn);
        }
        self.deadlines.release(std::mem::replace(&mut connection.timer, NONE));
        connection.batch = NONE;
        if let Some(unsent) = &connection.unsent {
            self.stats.blocked -= 1;
            self.stats.write_buffer_bytes -= unsent.bytes as u64;
        }
        Some(connection)
    }

    pub(super) fn no_longer_half_open(&mut self, conn: ConnKey) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        if connection.flags.take(Flags::HALF_OPEN) {
            self.stats.half_open -= 1;
        }
    }

    /// Sets the connection's own deadline; what it means follows from the phase.
    pub(super) fn set_deadline(&mut self, conn: ConnKey, in_ms: u64) {
        let at = Millis(self.clock.now().0 + in_ms);
        if let Some(connection) = self.connections.get_mut(conn) {
            connection.timer = self.deadlines.arm(conn, connection.timer, at);
        }
    }

    pub(super) fn no_deadline(&mut self, conn: ConnKey) {
        if let Some(connection) = self.connections.get_mut(conn) {
            self.deadlines.release(std::mem::replace(&mut connection.timer, NONE));
        }
    }

    /// The figures with those that are only known by looking.
    pub(super) fn snapshot(&self) -> Stats {
        Stats {
            connections: self.connections.len() as u64,
            upcalls_waiting: self.outbox.upcalls_waiting() as u64,
            posts_waiting: self.outbox.posts_waiting() as u64,
            stalled_ms: self.outbox.stalled_ms(),
            ..self.stats.clone()
        }
    }
}

/// The gauge that counts connections in a phase.
fn gauge(stats: &mut Stats, phase: Phase) -> Option<&mut u64> {
    match phase {
        Phase::WebSocket => Some(&mut stats.websockets),
        Phase::Stream => Some(&mut stats.streams),
        Phase::Answer => Some(&mut stats.answers),
        Phase::Held => Some(&mut stats.held),
        Phase::Head | Phase::Body | Phase::Asked | Phase::Moving | Phase::Closing => None,
    }
}
