//! Both connections of a bridge while they last: bytes to and fro, signs of life, and the end.
//!
//! Owns sockets, and what is done from time to time. Must not know what packets mean, which is [`Relay`]'s. Start at [`Link::run`].
//!
//! It reads only while there is room on the way to both sides, so what is too much for the broker waits in the session here,
//! and what is too much for this server waits there.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::watch;
use wire::mqtt::ReasonCode;

use super::facing::{Sent, TOLD_EVERY};
use super::failure::Failure;
use super::local::session;
use super::node::Node;
use super::pulse::{Beat, Look, Pulse};
use super::relay::{Relay, code_of};
use super::topics::Side;
use crate::back::dial::Stream;

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
pub(super) struct Link<'a> {
    relay: Relay<'a>,
    local: End,
    remote: End,
    pulse: Pulse,
    about: About,
    /// When the other server was told last what it is sent.
    told: Option<Instant>,
    /// When the server was asked last to keep what the bridge has to know.
    kept: Option<Instant>,
}

/// What a link says of itself.
pub(super) struct About {
    /// The name of its bridge.
    pub(super) bridge: String,
    /// The name of the session here.
    pub(super) session: String,
    /// What the broker gets.
    pub(super) sends: Vec<Sent>,
    pub(super) keep_alive: Duration,
}

/// What happened.
enum Event {
    Read(Side, io::Result<usize>),
    Wrote(Side, io::Result<usize>),
    Tick,
    Stop,
}

impl<'a> Link<'a> {
    pub(super) fn new(
        relay: Relay<'a>,
        (local, remote): (Box<dyn Stream>, Box<dyn Stream>),
        about: About,
    ) -> Self {
        let (local, remote) = (End::new(local), End::new(remote));
        let pulse = Pulse::new(about.keep_alive, Instant::now());
        Self { relay, local, remote, pulse, about, told: None, kept: None }
    }

    /// Until one of the connections ends, or all is to.
    ///
    /// # Errors
    /// Why one has ended.
    pub(super) async fn run(mut self, node: &Node, stop: &mut watch::Receiver<bool>) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval((self.about.keep_alive / 8).min(TICK_MAX));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // What came behind the answers to CONNECT.
        let mut last = self.take(Side::Local).and_then(|()| self.take(Side::Remote));
        while last.is_ok() {
            last = match self.next(&mut ticks, stop).await {
                Event::Stop => break,
                Event::Tick => self.tick(node).await,
                Event::Read(side, read) => self.read(side, read),
                Event::Wrote(side, wrote) => self.wrote(side, wrote),
            };
        }
        self.part(&last).await;
        last
    }

    async fn next(&mut self, ticks: &mut tokio::time::Interval, stop: &mut watch::Receiver<bool>) -> Event {
        let Self { relay, local, remote, .. } = self;
        let has_room = relay.has_room();
        let to_local = local.is_unflushed || !relay.local.outbox.is_empty();
        let to_remote = remote.is_unflushed || !relay.remote.outbox.is_empty();
        tokio::select! {
            // An error is that nobody can say stop any more.
            _ = stop.wait_for(|stop| *stop) => Event::Stop,
            _ = ticks.tick() => Event::Tick,
            read = local.reader.read(&mut local.chunk), if has_room => Event::Read(Side::Local, read),
            read = remote.reader.read(&mut remote.chunk), if has_room => Event::Read(Side::Remote, read),
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
            self.pulse.heard(Instant::now());
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
        if count > 0 {
            self.pulse.took(side, Instant::now());
        }
        // Nothing written was a flush.
        self.end(side).is_unflushed = count > 0;
        Ok(())
    }

    async fn tick(&mut self, node: &Node) -> Result<(), Failure> {
        let now = Instant::now();
        let waits = [Side::Local, Side::Remote].map(|side| !self.relay.half(side).outbox.is_empty());
        match self.pulse.look(Look { is_listening: self.relay.has_room(), waits }, now) {
            Beat::Late(side) => return Err(Failure::Late(side)),
            Beat::Ask => drop(self.relay.ping(Side::Remote)),
            Beat::Nothing => {}
        }
        self.relay.adjust(now)?;
        self.look_for_values(node).await;
        self.keep(node, now).await;
        let is_told = is_recent(self.told, now);
        let About { bridge, sends, .. } = &self.about;
        let facing = &self.relay.memory.facing;
        if let Some(other) = facing.other().filter(|_| !is_told && !sends.is_empty()) {
            self.told = Some(now);
            node.tell_what_it_sends((other, bridge), sends).await;
        }
        Ok(())
    }

    /// Which side has sent all values that it owed.
    async fn look_for_values(&mut self, node: &Node) {
        if self.relay.is_quiet(Side::Remote) {
            self.relay.has_said_all(Side::Remote);
        }
        if self.relay.is_coming(Side::Local) {
            // An error is that it is not known yet.
            let session = session(&node.office, &self.about.session).await;
            if session.is_ok_and(|session| session.is_some_and(|session| !session.catches_up)) {
                self.relay.has_said_all(Side::Local);
            }
        }
    }

    /// Has the server keep what has changed of what the bridge has to know; until it does, it is told again.
    async fn keep(&mut self, node: &Node, now: Instant) {
        let memory = &mut *self.relay.memory;
        if memory.pairing == memory.kept || is_recent(self.kept, now) {
            return;
        }
        match node.keep_pairing(&self.about.bridge, &memory.pairing).await {
            Ok(()) => memory.kept = memory.pairing.clone(),
            Err(error) => {
                self.kept = Some(now);
                tracing::warn!(bridge = self.about.bridge, %error, "it will be asked again");
            }
        }
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

/// Whether it is not to be done again yet.
fn is_recent(done: Option<Instant>, now: Instant) -> bool {
    done.is_some_and(|done| now.saturating_duration_since(done) < TOLD_EVERY)
}

/// Writes some of it; or, when there is nothing, sees to it that what was written leaves.
async fn push(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    writer.write(bytes).await
}
