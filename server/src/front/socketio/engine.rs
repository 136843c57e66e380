//! One Engine.IO session: what it remembers between two events, and its deadlines.
//!
//! Owns the layout, since it decides the memory of an idle connection, and the small state machines of heartbeat and
//! upgrade. Must not know HTTP, Socket.IO packets or the hub. Start at [`Engine`].
//!
//! ```text
//!                handshake by GET                        handshake by WebSocket
//!                       |                                          |
//!                       v       2probe          5                  v
//!   GET, POST ----> Polling --> Polling, probed --> WebSocket <----+
//!                       ^            |
//!                       +------------+  upgradeTimeout, wrong packet, probe closed
//!   any state: Moved when its first namespace belongs to another shard; gone when closed or silent, but Over first
//!   when that happens between `3probe` and `5`
//! ```

use std::sync::Arc;

use hub::{Millis, ShardId};
use smallvec::SmallVec;
use wire::engineio::{BinaryAs, PayloadWriter, Version};
use wire::socketio::{Decoder, Encoded, Revision, Role};

use super::sid::Secret;
use crate::front::rate::Rate;
use crate::mail::Handshake;
use crate::shard::ConnKey;

/// No socket: the end of a list.
pub(super) const NONE: u32 = u32::MAX;

/// A ping that the timer sends late by no more than this still counts from when it was due, as clients do.
const LATE_MS_MAX: u64 = 5;

/// One engine session. At most 144 bytes, and nothing boxed on an idle WebSocket without application headers.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) secret: Secret,
    pub(super) carrier: Carrier,
    /// Of Socket.IO packets; 16 bytes while no attachments are missing.
    pub(super) decoder: Decoder,
    /// Only with a limit of events or bytes per second.
    pub(super) rate: Option<Box<Rate>>,
    /// Sockets whose events the back end is behind with; while there are any, nothing is read from the client.
    pub(super) holds: u16,
    /// Application parameters and headers of the first request, where there are any.
    pub(super) handshake: Option<Arc<Handshake>>,
    pub(super) beat: Beat,
    /// When the session ends unless a namespace has been joined by then.
    pub(super) join_by: Option<Millis>,
    /// Head of the list of its sockets, linked by `Socket::next`.
    pub(super) first_socket: u32,
    pub(super) socket_count: u16,
    pub(super) version: Version,
    pub(super) consumer: Consumer,
    /// A namespace was joined once: the connection may stay without any.
    pub(super) joined: bool,
    /// Where it was made, if not here: the shard in its sid and the slot there.
    pub(super) origin: Option<(ShardId, u32)>,
}

/// What brings packets to the client and back.
#[derive(Debug)]
pub(super) enum Carrier {
    /// The connection that is the session's transport.
    WebSocket(ConnKey),
    /// Requests.
    Polling(Box<Polling>),
    /// The session lives on that shard; this slot only forwards, until it ends there.
    Moved(ShardId),
    /// The session ended in the middle of an upgrade: this WebSocket stays open until the client has switched to it.
    /// socket.io-client would not notice a close before that, as it polls no more by then, and wait for a ping.
    Over(ConnKey),
}

/// Who gets the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumer {
    /// Socket.IO packets.
    SocketIo,
    /// Nobody: they are sent back (for the conformance suites of Engine.IO).
    Echo,
}

/// The sending side of a polling session.
#[derive(Debug)]
pub(super) struct Polling {
    /// The GET that waits.
    pub(super) get: Option<Get>,
    /// What the front itself sends while no GET waits, in order. Messages wait in the hub instead.
    pub(super) queue: SmallVec<[Queued; 2]>,
    pub(super) probe: Option<Probe>,
    /// The connection of the POST whose content is coming.
    pub(super) reading: Option<ConnKey>,
    /// The POST whose answer waits because the client sent too much.
    pub(super) post: Option<Post>,
    pub(super) binary: BinaryAs,
}

/// A POST that was carried out and not yet answered.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) conn: ConnKey,
    /// Its Origin, for the CORS fields of the answer.
    pub(super) origin: Option<Box<str>>,
}

/// A request that waits for packets.
#[derive(Debug)]
pub(super) struct Get {
    pub(super) conn: ConnKey,
    /// What the answer's body will be.
    pub(super) payload: PayloadWriter,
    /// How many packets are in it.
    pub(super) packets: usize,
    /// Its Origin, for the CORS fields of the answer.
    pub(super) origin: Option<Box<str>>,
    /// It is in the list of those that are answered at the end of the turn.
    pub(super) listed: bool,
}

/// A packet of the front's own.
#[derive(Clone, Debug)]
pub(super) enum Queued {
    /// A heartbeat.
    Ping,
    /// The answer to a client's heartbeat (Engine.IO 3).
    Pong,
    /// A Socket.IO packet: CONNECT_ERROR, DISCONNECT, or what a namespace said behind the hub's back.
    Message(Encoded),
}

/// A WebSocket that wants to become the transport.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) conn: ConnKey,
    pub(super) state: ProbeState,
    /// When it is given up.
    pub(super) by: Millis,
}

/// How far an upgrade has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProbeState {
    /// `2probe` has not come.
    Silent,
    /// `3probe` was sent: messages stay queued until `5`.
    Answered,
}

/// The heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beat {
    /// Engine.IO 4: the next ping is due then.
    PingAt(Millis),
    /// Engine.IO 4: a ping is out; the pong has to come before then.
    PongBy(Millis),
    /// Engine.IO 3: the client's next ping has to come before then.
    ClientBy(Millis),
}

/// What has become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    Dead,
}

impl Beat {
    /// The beat of a new session: the first ping comes one interval after the handshake, never with it.
    pub(super) fn start(version: Version, now: Millis, times: &Times) -> Self {
        match version {
            Version::V3 => Self::ClientBy(Millis(now.0 + times.interval_ms + times.timeout_ms)),
            Version::V4 => Self::PingAt(Millis(now.0 + times.interval_ms)),
        }
    }

    /// A heartbeat of the client came.
    pub(super) fn heard(&mut self, now: Millis, times: &Times) {
        *self = match self {
            Self::PingAt(_) | Self::PongBy(_) => Self::PingAt(Millis(now.0 + times.interval_ms)),
            Self::ClientBy(_) => Self::ClientBy(Millis(now.0 + times.interval_ms + times.timeout_ms)),
        };
    }

    /// What is due, and the state after it. A request for a session asks this too, so that a session whose time is
    /// over is refused even if the timer has not fired.
    pub(super) fn check(&mut self, now: Millis, times: &Times) -> Due {
        match *self {
            Self::PingAt(at) if now < at => Due::Nothing,
            Self::PingAt(at) => {
                let sent = if now.0 - at.0 <= LATE_MS_MAX { at } else { now };
                *self = Self::PongBy(Millis(sent.0 + times.timeout_ms));
                Due::Ping
            }
            Self::PongBy(by) | Self::ClientBy(by) if now < by => Due::Nothing,
            Self::PongBy(_) | Self::ClientBy(_) => Due::Dead,
        }
    }

    /// When something is due next.
    pub(super) fn at(&self) -> Millis {
        match *self {
            Self::PingAt(at) | Self::PongBy(at) | Self::ClientBy(at) => at,
        }
    }

    /// Moves a deadline that must not be enforced before then: what the client owes may be behind what we did not read.
    pub(super) fn excuse(&mut self, until: Millis) {
        match self {
            Self::PongBy(by) | Self::ClientBy(by) => *by = until.max(*by),
            Self::PingAt(_) => {}
        }
    }
}

/// The times of the heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) interval_ms: u64,
    pub(super) timeout_ms: u64,
}

impl Polling {
    pub(super) fn new(binary: BinaryAs) -> Self {
        Self { get: None, queue: SmallVec::new(), probe: None, reading: None, post: None, binary }
    }

    /// Whether a POST other than that of this connection is under way. A client sends one at a time.
    pub(super) fn has_other_post(&self, conn: ConnKey) -> bool {
        self.post.is_some() || self.reading.is_some_and(|reading| reading != conn)
    }

    /// Messages stay queued: an upgrade is between `3probe` and `5`.
    pub(super) fn is_upgrading(&self) -> bool {
        self.probe.is_some_and(|probe| probe.state == ProbeState::Answered)
    }
}

impl Engine {
    /// What it holds, with what is behind it.
    pub(super) fn memory_bytes(&self) -> usize {
        let carrier = match &self.carrier {
            Carrier::Polling(polling) => {
                size_of::<Polling>() + polling.get.as_ref().map_or(0, |get| get.payload.len())
            }
            Carrier::WebSocket(_) | Carrier::Moved(_) | Carrier::Over(_) => 0,
        };
        let rate = self.rate.as_ref().map_or(0, |_| size_of::<Rate>());
        let handshake = self.handshake.as_ref().map_or(0, |handshake| handshake.memory_bytes());
        size_of::<Self>() + carrier + rate + handshake
    }

    pub(super) fn new(secret: Secret, carrier: Carrier, version: Version, beat: Beat) -> Self {
        Self {
            secret,
            carrier,
            decoder: Decoder::new(Role::Server, Revision::from(version)),
            rate: None,
            holds: 0,
            handshake: None,
            beat,
            join_by: None,
            first_socket: NONE,
            socket_count: 0,
            version,
            consumer: Consumer::SocketIo,
            joined: false,
            origin: None,
        }
    }

    pub(super) fn polling(&mut self) -> Option<&mut Polling> {
        match &mut self.carrier {
            Carrier::Polling(polling) => Some(polling),
            Carrier::WebSocket(_) | Carrier::Moved(_) | Carrier::Over(_) => None,
        }
    }

    /// Whether nothing more is to be read from the client now.
    pub(super) fn is_paused(&self) -> bool {
        self.holds > 0 || self.rate.as_ref().is_some_and(|rate| rate.paused_until().is_some())
    }

    /// What stays of a session that ends while the client switches to a WebSocket: that, until the probe's time is up.
    pub(super) fn remains(&self) -> Option<Self> {
        let Carrier::Polling(polling) = &self.carrier else { return None };
        let probe = polling.probe.filter(|probe| probe.state == ProbeState::Answered)?;
        let (carrier, beat) = (Carrier::Over(probe.conn), Beat::ClientBy(probe.by));
        Some(Self::new(self.secret, carrier, self.version, beat))
    }

    /// Whether it lives here and has joined no namespace yet: what `limits.unjoined_max` counts.
    pub(super) fn is_unjoined(&self) -> bool {
        self.is_here() && self.has_to_join()
    }

    /// Whether it has to join a namespace before more than a CONNECT is taken from it.
    pub(super) fn has_to_join(&self) -> bool {
        !self.joined && self.consumer == Consumer::SocketIo
    }

    /// Whether the session lives here.
    pub(super) fn is_here(&self) -> bool {
        match self.carrier {
            Carrier::WebSocket(_) | Carrier::Polling(_) => true,
            Carrier::Moved(_) | Carrier::Over(_) => false,
        }
    }

    /// The WebSocket that is the transport.
    pub(super) fn websocket(&self) -> Option<ConnKey> {
        match self.carrier {
            Carrier::WebSocket(conn) => Some(conn),
            Carrier::Polling(_) | Carrier::Moved(_) | Carrier::Over(_) => None,
        }
    }

    /// The earliest of its deadlines.
    pub(super) fn deadline(&self) -> Millis {
        let mut at = self.beat.at();
        if let Some(join_by) = self.join_by {
            at = at.min(join_by);
        }
        if let Carrier::Polling(polling) = &self.carrier
            && let Some(probe) = polling.probe
        {
            at = at.min(probe.by);
        }
        if let Some(until) = self.rate.as_ref().and_then(|rate| rate.paused_until()) {
            at = at.min(until);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: Times = Times { interval_ms: 300, timeout_ms: 200 };

    #[test]
    fn an_engine_stays_small() {
        assert!(size_of::<Engine>() <= 144, "{}", size_of::<Engine>());
    }

    #[test]
    fn the_first_ping_is_one_interval_after_the_handshake() {
        let mut beat = Beat::start(Version::V4, Millis(1000), &TIMES);
        assert_eq!(beat.check(Millis(1299), &TIMES), Due::Nothing);
        assert_eq!(beat.check(Millis(1300), &TIMES), Due::Ping);
        assert_eq!(beat.check(Millis(1301), &TIMES), Due::Nothing);
    }

    #[test]
    fn a_ping_sent_two_ms_late_does_not_lengthen_the_wait() {
        let mut beat = Beat::start(Version::V4, Millis(0), &TIMES);
        assert_eq!(beat.check(Millis(302), &TIMES), Due::Ping);
        assert_eq!(beat.check(Millis(499), &TIMES), Due::Nothing);
        assert_eq!(beat.check(Millis(500), &TIMES), Due::Dead);
    }

    #[test]
    fn a_ping_sent_much_too_late_leaves_the_client_its_time() {
        let mut beat = Beat::start(Version::V4, Millis(0), &TIMES);
        assert_eq!(beat.check(Millis(900), &TIMES), Due::Ping);
        assert_eq!(beat.check(Millis(1099), &TIMES), Due::Nothing);
        assert_eq!(beat.check(Millis(1100), &TIMES), Due::Dead);
    }

    #[test]
    fn a_pong_restarts_the_interval() {
        let mut beat = Beat::start(Version::V4, Millis(0), &TIMES);
        assert_eq!(beat.check(Millis(300), &TIMES), Due::Ping);
        beat.heard(Millis(450), &TIMES);
        assert_eq!(beat.at(), Millis(750));
    }

    #[test]
    fn revision_3_waits_for_interval_and_timeout() {
        let mut beat = Beat::start(Version::V3, Millis(0), &TIMES);
        assert_eq!(beat.check(Millis(499), &TIMES), Due::Nothing);
        beat.heard(Millis(499), &TIMES);
        assert_eq!(beat.check(Millis(998), &TIMES), Due::Nothing);
        assert_eq!(beat.check(Millis(999), &TIMES), Due::Dead);
    }
}
