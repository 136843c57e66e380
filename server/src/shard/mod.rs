//! One thread per core with an event loop: connections, timers, mailboxes.
//!
//! Owns sockets, TLS, HTTP and WebSocket framing, time, and the order of things within a turn. Must not know what any
//! protocol above framing means: that is the [`Handler`]'s. Start at [`Handler`] (what a shard tells), [`Io`] (what can
//! be done), then at the turn of [`Shard`].
//!
//! A turn: poll; connections that ended while they waited for an answer; sockets that take bytes again; WebSockets and
//! streams; requests; mail that lay there before the poll; new connections; timers; mail to others; one write per connection;
//! what that left to tell others.
//! That order keeps what clients did in one order from being seen in another: a poll that was given up is known before
//! the request that replaces it, also when that comes by another connection or another shard.
//!
//! Invariant: no lock, no await, no allocation per connection that is idle.

mod accept;
mod addresses;
mod admission;
mod by_hand;
mod connection;
mod ending;
mod entropy;
mod exchange;
mod handler;
mod handover;
mod io;
mod look;
mod mailbox;
mod outbox;
mod proxy;
mod read;
mod response;
mod setup;
mod staging;
mod stats;
mod stream;
mod timers;
mod tls;
mod transmit;
mod wheel;

#[cfg(test)]
mod tests;

pub use admission::Seats;
pub use handler::{Closed, Cx, Deferred, Door, Handler, HubPort, Owner, Request};
pub use handover::Handover;
pub use io::{ConnKey, Io};
pub use look::{Ends, Facts};
pub use mailbox::{Sender, Unsent};
pub use response::Response;
pub use setup::{Inlet, Listener, ShardHandle, ShardSetup, Takes, inlet, listeners};
pub use stats::{STATS, Stat, StatKind, Stats};
pub use timers::Time;

use crate::mail::{Mail, PeerMail};
use crate::state::End;
use crate::tls::TlsConfigs;
use connection::{Connection, Flags, Phase};
use ending::Ending;
use handover::Unpacked;
use hub::{Millis, ShardId};
use io::Notice;
use mailbox::{Inbox, Letter};
use mio::event::Event;
use std::ops::ControlFlow;
use std::time::Duration;

/// The read buffer of a shard: one maximal TCP receive window's worth per system call.
const READ_BUFFER_BYTES: usize = 64 << 10;
/// What all connections together may give in a turn before mail and timers have their turn.
const READ_BYTES_PER_TURN: u64 = 8 << 20;
/// How soon to try again to hand something to a receiver that was full. Receivers do not tell when they have room, as
/// that would cost them a wake-up per batch.
const RETRY: Duration = Duration::from_millis(1);
/// How often a shard that is to end looks whether the others have connections left.
const END_CHECK: Duration = Duration::from_millis(10);
/// Rounds of flushing in a turn; what callbacks about full sockets stage after that waits for the next turn.
const FLUSHES_PER_TURN: usize = 8;
/// Tokens of the poll that are no connections: their lower half is above any index.
const WAKE_TOKEN: mio::Token = mio::Token(u32::MAX as usize);

/// Listeners count down from the mailbox.
fn listener_token(index: usize) -> mio::Token {
    mio::Token(u32::MAX as usize - 1 - index)
}

/// An event loop and everything that belongs to it.
#[derive(Debug)]
pub struct Shard<H> {
    io: Io,
    handler: H,
    hub: HubPort,
    poll: mio::Poll,
    events: mio::Events,
    inbox: Inbox,
    listeners: Vec<Listener>,
    /// A listener has, or may have, connections waiting.
    accepting: bool,
    buffer: Box<[u8]>,
    arrivals: Arrivals,
    tls: Option<TlsConfigs>,
    spare: accept::Spare,
    ending: Ending,
}

/// The connections of this turn's events, by when they are dealt with.
#[derive(Debug, Default)]
struct Arrivals {
    writable: Vec<ConnKey>,
    lasting: Vec<ConnKey>,
    requests: Vec<ConnKey>,
}

impl Arrivals {
    fn push(&mut self, conn: ConnKey, phase: Phase) {
        match phase {
            Phase::WebSocket | Phase::Stream | Phase::Answer => self.lasting.push(conn),
            _ => self.requests.push(conn),
        }
    }
}

impl<H: Handler> Shard<H> {
    fn run(mut self) {
        self.call(|handler, cx| handler.started(cx));
        let end = loop {
            if let ControlFlow::Break(end) = self.turn() {
                break end;
            }
        };
        self.finish(end);
    }

    fn finish(&mut self, end: End) {
        self.warn_of_rest();
        self.discard_all();
        self.call(|handler, cx| handler.ended(cx, end));
    }

    fn turn(&mut self) -> ControlFlow<End> {
        let waiting = self.inbox.look();
        let sleep = self.sleep(waiting);
        self.turn_after(waiting, sleep)
    }

    /// A turn that takes so many letters, after a sleep of at most so long.
    fn turn_after(&mut self, waiting: usize, sleep: Option<Duration>) -> ControlFlow<End> {
        self.poll_events(sleep);
        self.io.clock.read();
        self.io.stats.turns += 1;
        self.sort_events();
        self.resume_writing();
        self.read_all();
        (0..waiting).for_each(|_| self.take_letter());
        self.hear_of_journal();
        self.hear_of_end();
        self.accepting = self.accepting && !self.ending.is_closed() && self.accept();
        self.io.clock.read();
        self.fire_timers();
        // Others can begin with their part of a delivery while this one writes.
        self.io.outbox.push_all(&mut self.io.stats);
        self.flush();
        self.io.outbox.push_all(&mut self.io.stats);
        self.check_end()
    }

    /// How long the poll may sleep.
    fn sleep(&mut self, waiting: usize) -> Option<Duration> {
        let stalled = self.io.outbox.is_stalled();
        let told = waiting > 0 || self.inbox.has_news();
        let at_once = told || self.accepting || !self.io.staging.is_empty();
        if at_once || (!stalled && !self.io.ready.is_empty()) {
            return Some(Duration::ZERO);
        }
        let hub = self.handler.hub_deadline(&Cx { io: &mut self.io, hub: &mut self.hub });
        let owners = self.io.owners.next();
        let deadlines = [hub, owners, self.io.deadlines.next()];
        let deadline = deadlines.into_iter().flatten().min().map(|at| self.io.clock.until(at));
        let retry = self.io.outbox.is_waiting().then_some(RETRY);
        let ending = self.ending.is_begun().then_some(END_CHECK);
        [deadline, retry, ending].into_iter().flatten().min()
    }

    fn poll_events(&mut self, sleep: Option<Duration>) {
        if let Err(error) = self.poll.poll(&mut self.events, sleep) {
            self.events.clear();
            if error.kind() != std::io::ErrorKind::Interrupted {
                tracing::error!(%error, "the poll failed");
            }
        }
    }

    /// Notes what the kernel said; connections that ended while they waited for an answer end here.
    fn sort_events(&mut self) {
        self.recall();
        let events = std::mem::replace(&mut self.events, mio::Events::with_capacity(0));
        for event in &events {
            let token = event.token();
            if token == WAKE_TOKEN {
                continue;
            }
            if (0..self.listeners.len()).any(|index| token == listener_token(index)) {
                self.accepting = true;
                continue;
            }
            self.note(ConnKey::of(token), event);
        }
        self.events = events;
    }

    /// What earlier turns left comes first, each kind among its own. A stalled shard leaves it where it is.
    fn recall(&mut self) {
        if self.io.outbox.is_stalled() {
            return;
        }
        for conn in std::mem::take(&mut self.io.ready) {
            let Some(connection) = self.io.connections.get_mut(conn) else { continue };
            connection.flags.unset(Flags::QUEUED);
            self.arrivals.push(conn, connection.phase);
        }
    }

    fn note(&mut self, conn: ConnKey, event: &Event) {
        let Some(connection) = self.io.connections.get_mut(conn) else { return };
        let broken = event.is_error();
        if event.is_read_closed() {
            connection.flags.set(Flags::FIN_SEEN);
        }
        let gone = broken || event.is_read_closed();
        let paused = connection.is_lasting() && connection.flags.has(Flags::PAUSED);
        if (gone && connection.phase == Phase::Held) || (broken && paused) {
            self.io.fail(conn, if broken { Closed::Error } else { Closed::Peer });
            return self.tell();
        }
        if event.is_writable() && connection.flags.has(Flags::WATCHES_WRITE) {
            self.arrivals.writable.push(conn);
        }
        if event.is_readable() || gone {
            connection.flags.set(Flags::READABLE);
            self.arrivals.push(conn, connection.phase);
        }
    }

    fn resume_writing(&mut self) {
        let mut writable = std::mem::take(&mut self.arrivals.writable);
        for conn in writable.drain(..) {
            self.io.on_writable(conn);
            self.tell();
        }
        self.arrivals.writable = writable;
    }

    /// Reads WebSockets and streams, then requests. What comes after the turn's share, or while a receiver is behind, waits.
    fn read_all(&mut self) {
        let mut lasting = std::mem::take(&mut self.arrivals.lasting);
        let mut requests = std::mem::take(&mut self.arrivals.requests);
        self.io.stats.turns_stalled += u64::from(self.io.outbox.is_stalled());
        let enough = self.io.stats.bytes_in + READ_BYTES_PER_TURN;
        for conn in lasting.iter().chain(&requests) {
            if self.io.stats.bytes_in >= enough || self.io.outbox.is_stalled() {
                self.io.queue(*conn);
            } else {
                self.read(*conn);
            }
        }
        lasting.clear();
        requests.clear();
        (self.arrivals.lasting, self.arrivals.requests) = (lasting, requests);
    }

    fn hear_of_journal(&mut self) {
        let safe = self.inbox.safe();
        if self.io.outbox.kept(safe) {
            self.call(|handler, cx| handler.kept(cx, safe));
        }
    }

    fn take_letter(&mut self) {
        match self.inbox.take() {
            None => {}
            Some(Letter::Mail(mail)) => {
                self.io.stats.mail_in += 1;
                self.take_mail(mail);
            }
            Some(Letter::Peers(from, batch)) => {
                self.io.stats.posts_in += batch.len() as u64;
                for mail in batch {
                    self.take_post(from, mail);
                }
            }
        }
    }

    fn take_mail(&mut self, mail: Mail) {
        match mail {
            // The asker may have given up.
            Mail::Stats { reply } => drop(reply.send(self.io.snapshot())),
            Mail::Tls(config) => self.tls = Some(config),
            Mail::Own(stream) => self.take_own(stream),
            // The end of the node is no other's to take back.
            Mail::Drain { .. } if self.ending.is_begun() => {}
            Mail::Drain { window_ms: Some(window_ms) } => self.send_away(window_ms),
            Mail::Drain { window_ms: None } => {
                self.io.draining = false;
                self.call(|handler, cx| handler.stay(cx));
            }
            mail => self.call(|handler, cx| handler.mail(cx, mail)),
        }
    }

    fn take_post(&mut self, from: ShardId, mail: PeerMail) {
        match mail {
            PeerMail::Quiet => self.ending.heard(from),
            PeerMail::Connection(_) | PeerMail::Engine { .. } if self.ending.is_closed() => {}
            PeerMail::Connection(handover) => {
                if let Some(unpacked) = self.io.unpack(handover) {
                    self.take_over(unpacked);
                }
            }
            mail => self.call(|handler, cx| handler.peer(cx, from, mail)),
        }
    }

    /// A request or stream goes on here.
    fn take_over(&mut self, unpacked: Unpacked) {
        let Unpacked { conn, mut bytes, pieces } = unpacked;
        if self.io.connections.get(conn).is_some_and(|connection| connection.flags.has(Flags::STREAM)) {
            self.io.become_stream(conn);
            self.io.restage(conn, pieces);
            return self.go_on_with_stream(conn, bytes);
        }
        self.io.restage(conn, pieces);
        self.io.set_deadline(conn, self.io.config.limits.head_timeout_ms);
        self.feed_bytes(conn, &mut bytes);
    }

    fn fire_timers(&mut self) {
        let now = self.io.clock.now();
        while let Some(owner) = self.io.owners.expire(now) {
            self.io.stats.timers += 1;
            self.call(|handler, cx| handler.timer(cx, owner));
        }
        while let Some(conn) = self.io.deadlines.expire(now) {
            self.io.stats.timers += 1;
            self.on_deadline(conn);
        }
        let deadline = self.handler.hub_deadline(&Cx { io: &mut self.io, hub: &mut self.hub });
        if deadline.is_some_and(|at| at <= now) {
            self.call(|handler, cx| handler.tick_hub(cx));
        }
    }

    /// A connection took too long for what it was doing.
    fn on_deadline(&mut self, conn: ConnKey) {
        let Some(connection) = self.io.connections.get(conn) else { return };
        let shaking = connection.tls.as_ref().is_some_and(|tls| tls.is_handshaking());
        let nothing_said = connection.partial.is_none() || shaking;
        let (phase, stuck) = (connection.phase, connection.unsent.is_some());
        let idle = connection.flags.has(Flags::IDLE);
        if phase != Phase::Closing {
            self.io.count_closed(Closed::Idle);
        }
        match phase {
            Phase::Closing => drop(self.io.discard(conn)),
            _ if stuck => drop(self.io.discard(conn)),
            Phase::Head if idle => self.io.begin_closing(conn),
            Phase::Head if nothing_said => drop(self.io.discard(conn)),
            Phase::Head | Phase::Body => {
                let answer = Response::refusal(408, "the request took too long");
                self.io.refuse(conn, answer.encode(wire::http::Reply::closing()));
            }
            Phase::Stream => drop(self.io.discard(conn)),
            // These have no deadline of their own.
            Phase::Asked | Phase::Held | Phase::WebSocket | Phase::Answer | Phase::Moving => {}
        }
    }

    /// Writes what the turn staged, and what callbacks about full and broken sockets stage then.
    fn flush(&mut self) {
        for _ in 0..FLUSHES_PER_TURN {
            self.call(|handler, cx| handler.flush(cx));
            self.io.flush_all();
            if self.io.notices.is_empty() {
                return;
            }
            self.tell();
        }
    }

    fn hear_of_end(&mut self) {
        if let Some(at) = self.inbox.ends_at().filter(|_| !self.ending.is_begun()) {
            self.drain(self.io.clock.at(at));
        }
    }

    fn drain(&mut self, at: Millis) {
        self.ending.begin(at);
        self.send_away(at.0.saturating_sub(self.io.clock.now().0));
    }

    /// Closes connections within the window, and lets nobody in.
    fn send_away(&mut self, window_ms: u64) {
        // Who comes now, or came just now, is let in to hear 503: a refused connection would look like a server that is not there.
        self.io.draining = true;
        self.call(|handler, cx| handler.drain(cx, window_ms));
        for conn in self.io.connections.keys() {
            let silent = |c: &&Connection| c.phase == Phase::Head && c.partial.is_none();
            match self.io.connections.get(conn).filter(silent) {
                None => {}
                // It has just come, and its first request is likely on its way.
                Some(connection) if connection.flags.has(Flags::HALF_OPEN) => {
                    self.io.set_deadline(conn, window_ms.min(accept::DRAINING_HEAD_MS));
                }
                Some(_) => self.io.begin_closing(conn),
            }
        }
    }

    /// Calls the handler, then tells it what came of it.
    fn call(&mut self, callback: impl FnOnce(&mut H, &mut Cx<'_>)) {
        callback(&mut self.handler, &mut Cx { io: &mut self.io, hub: &mut self.hub });
        self.tell();
    }

    /// Tells the handler what happened to connections meanwhile.
    fn tell(&mut self) {
        while let Some(notice) = self.io.notices.pop_front() {
            let (io, hub) = (&mut self.io, &mut self.hub);
            // The handler may have closed or sent away the connection since.
            let here = |conn| io.connections.get(conn).is_some_and(Connection::is_lasting);
            match notice {
                Notice::Blocked(conn, _) | Notice::Writable(conn, _) if !here(conn) => {}
                Notice::Closed(conn, owner, why) => {
                    self.handler.closed(&mut Cx { io, hub }, conn, owner, why)
                }
                Notice::Blocked(conn, owner) => self.handler.blocked(&mut Cx { io, hub }, conn, owner),
                Notice::Writable(conn, owner) => self.handler.writable(&mut Cx { io, hub }, conn, owner),
            }
        }
    }
}
