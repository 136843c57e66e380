//! Both connections of a bridge while they last: bytes to and fro, signs of life, and the end.
//!
//! Owns time and sockets. Must not know what packets mean, which is [`Relay`]'s. Start at [`Link::run`].
//!
//! It reads from one side only while there is room on the way to the other, so what is too much for the broker waits in
//! the session here, and what is too much for this server waits there.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;
use wire::mqtt::ReasonCode;

use super::facing::TOLD_EVERY;
use super::failure::Failure;
use super::handshake::Stream;
use super::node::Node;
use super::relay::{Relay, code_of};
use super::topics::Side;

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Longest time between two looks at the clock.
const TICK_MAX: Duration = Duration::from_secs(1);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// One connection.
struct End {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    chunk: Vec<u8>,
    /// Something was written that may not have left.
    is_unflushed: bool,
}

impl End {
    fn new(stream: Box<dyn Stream>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self { reader, writer, chunk: vec![0; READ_BYTES], is_unflushed: false }
    }
}

/// Both connections.
pub(super) struct Link {
    relay: Relay,
    local: End,
    remote: End,
    keep_alive: Duration,
    heard: Instant,
    sent: Instant,
    asked: Instant,
    /// When the other server was told last what it is sent.
    told: Option<Instant>,
}

/// What happened.
enum Event {
    Read(Side, io::Result<usize>),
    Wrote(Side, io::Result<usize>),
    Tick,
    Stop,
}

impl Link {
    pub(super) fn new(
        relay: Relay,
        (local, remote): (Box<dyn Stream>, Box<dyn Stream>),
        keep_alive: Duration,
    ) -> Self {
        let now = Instant::now();
        let (local, remote) = (End::new(local), End::new(remote));
        Self { relay, local, remote, keep_alive, heard: now, sent: now, asked: now, told: None }
    }

    /// Until one of the connections ends, or all is to.
    ///
    /// # Errors
    /// Why one has ended.
    pub(super) async fn run(
        mut self,
        node: &Node,
        bridge: &str,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval((self.keep_alive / 8).min(TICK_MAX));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What came behind the answers to CONNECT.
        let mut last = self.take(Side::Local).and_then(|()| self.take(Side::Remote));
        while last.is_ok() {
            last = match self.next(&mut ticks, stop).await {
                Event::Stop => break,
                Event::Tick => self.tick(node, bridge).await,
                Event::Read(side, read) => self.read(side, read),
                Event::Wrote(side, wrote) => self.wrote(side, wrote),
            };
        }
        self.part(&last).await;
        last
    }

    async fn next(&mut self, ticks: &mut tokio::time::Interval, stop: &mut watch::Receiver<bool>) -> Event {
        let Self { relay, local, remote, .. } = self;
        let (from_local, from_remote) = (relay.has_room(Side::Local), relay.has_room(Side::Remote));
        let to_local = local.is_unflushed || !relay.local.outbox.is_empty();
        let to_remote = remote.is_unflushed || !relay.remote.outbox.is_empty();
        tokio::select! {
            // An error is that nobody can say stop any more.
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            _ = ticks.tick() => Event::Tick,
            read = local.reader.read(&mut local.chunk), if from_local => Event::Read(Side::Local, read),
            read = remote.reader.read(&mut remote.chunk), if from_remote => Event::Read(Side::Remote, read),
            wrote = push(&mut local.writer, &relay.local.outbox), if to_local => Event::Wrote(Side::Local, wrote),
            wrote = push(&mut remote.writer, &relay.remote.outbox), if to_remote => Event::Wrote(Side::Remote, wrote),
        }
    }

    fn end(&mut self, side: Side) -> &mut End {
        match side {
            Side::Local => &mut self.local,
            Side::Remote => &mut self.remote,
        }
    }

    fn read(&mut self, side: Side, read: io::Result<usize>) -> Result<(), Failure> {
        let count = read.map_err(|error| Failure::Socket(side, error))?;
        if count == 0 {
            return Err(Failure::Closed(side));
        }
        let (relay, end) = match side {
            Side::Local => (&mut self.relay, &self.local),
            Side::Remote => (&mut self.relay, &self.remote),
        };
        relay.half_mut(side).inbox.extend_from_slice(end.chunk.get(..count).unwrap_or_default());
        if side == Side::Remote {
            self.heard = Instant::now();
        }
        self.take(side)
    }

    fn take(&mut self, side: Side) -> Result<(), Failure> {
        self.relay.take(side, Instant::now())
    }

    fn wrote(&mut self, side: Side, wrote: io::Result<usize>) -> Result<(), Failure> {
        let count = wrote.map_err(|error| Failure::Socket(side, error))?;
        let outbox = &mut self.relay.half_mut(side).outbox;
        if count == 0 && !outbox.is_empty() {
            return Err(Failure::Closed(side));
        }
        outbox.drain(..count);
        if outbox.is_empty() {
            outbox.shrink_to(READ_BYTES);
        }
        if side == Side::Remote && count > 0 {
            self.sent = Instant::now();
        }
        // Nothing written was a flush.
        self.end(side).is_unflushed = count > 0;
        Ok(())
    }

    async fn tick(&mut self, node: &Node, bridge: &str) -> Result<(), Failure> {
        let now = Instant::now();
        let silent = now.saturating_duration_since(self.heard);
        if silent >= self.keep_alive + self.keep_alive / 2 {
            return Err(Failure::Late(Side::Remote));
        }
        let is_due = now.saturating_duration_since(self.heard.min(self.sent)) >= self.keep_alive;
        if is_due && now.saturating_duration_since(self.asked) >= self.keep_alive / 2 {
            self.asked = now;
            self.relay.ping();
        }
        self.relay.adjust(now)?;
        let is_told = self.told.is_some_and(|told| now.saturating_duration_since(told) < TOLD_EVERY);
        let sends = self.relay.sends();
        if let Some(other) = self.relay.facing.other().filter(|_| !is_told && !sends.is_empty()) {
            self.told = Some(now);
            node.tell_what_it_sends((other, bridge), &sends).await;
        }
        Ok(())
    }

    /// The last words, as far as anybody hears them: this server first, so that nothing is sent any more.
    async fn part(mut self, last: &Result<(), Failure>) {
        match last {
            Ok(()) => {
                self.relay.leave(Side::Local, ReasonCode::Success);
                self.relay.leave(Side::Remote, ReasonCode::Success);
            }
            Err(failure @ (Failure::Fault(side, _) | Failure::Misplaced(side, _))) => {
                self.relay.leave(*side, code_of(failure));
            }
            Err(_) => return,
        }
        let Self { relay, local, remote, .. } = &mut self;
        let parting = async {
            for (end, half) in [(local, &relay.local), (remote, &relay.remote)] {
                // Who does not hear it sees the end.
                let _ = end.writer.write_all(&half.outbox).await;
                let _ = end.writer.shutdown().await;
            }
        };
        let _ = tokio::time::timeout(GOODBYE, parting).await;
    }
}

/// Writes some of it; or, when there is nothing, sees to it that what was written leaves.
async fn push(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    writer.write(bytes).await
}
