//! The state of one connection, and the slab that holds them.
//!
//! Owns what a connection costs: [`Connection`] is all that an idle one keeps. Must not know what happens on it.
//! Start at [`Connection`].
//!
//! ```text
//! accept ─> Head ──request complete──> Asked ──respond──> Head (or Closing)
//!            │└─head without body─> Body ─┘ ├──hold──> Held ──respond──> Head (or Closing)
//!            │                              ├──upgrade──> WebSocket ──close frame, violation──> Closing
//!            │                              ├──upgrade to a stream──> Stream
//!            │                              └──begin answer (from Held, too)──> Answer
//!            └──first byte of a stream──> Stream ──own──> Stream with an owner
//! Head, before the request reaches a handler ──hand over──> another shard.   WebSocket ──migrate──> another shard.
//! Stream ──hand over──> Stream without an owner, on another shard.
//! Closing: what is staged is written, then FIN, then input is discarded until the peer's FIN or the linger time.
//! ```

use super::handler::Owner;
use super::io::ConnKey;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::TcpStream;
use wire::http::{BodyDecoder, Reply};
use wire::websocket::Decoder;

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for, or reads, a request head.
    Head,
    /// Reads the content of a request.
    Body,
    /// The handler has the request.
    Asked,
    /// The handler will answer later.
    Held,
    /// Frames, each message of which is the handler's.
    WebSocket,
    /// Bytes that the handler cuts by itself, bare or inside the frames of a WebSocket. Without an owner it counts as half
    /// open.
    Stream,
    /// An answer that goes on until one of both ends the connection; what the client sends is discarded.
    Answer,
    /// On its way to another shard as soon as the bytes at hand are sorted.
    Moving,
    /// Only written to.
    Closing,
}

/// Facts about a connection that are true or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u16);

impl Flags {
    /// The socket may have something to read.
    pub(super) const READABLE: Self = Self(1);
    /// It stands in the ready list.
    pub(super) const QUEUED: Self = Self(1 << 1);
    /// The kernel told of the peer's FIN; bytes before it may still wait.
    pub(super) const FIN_SEEN: Self = Self(1 << 2);
    /// Everything up to the peer's FIN was read.
    pub(super) const ENDED: Self = Self(1 << 3);
    /// Registered for writability.
    pub(super) const WATCHES_WRITE: Self = Self(1 << 4);
    /// The handler was told that it is blocked.
    pub(super) const BLOCKED_TOLD: Self = Self(1 << 5);
    /// No complete head has come yet.
    pub(super) const HALF_OPEN: Self = Self(1 << 6);
    /// Keep-alive: nothing of the next head has come.
    pub(super) const IDLE: Self = Self(1 << 7);
    /// Our FIN is sent.
    pub(super) const SHUT: Self = Self(1 << 8);
    /// The handler does not want to be given more messages.
    pub(super) const PAUSED: Self = Self(1 << 9);
    /// TLS: the handshake is done and counted.
    pub(super) const TLS_READY: Self = Self(1 << 10);
    /// It is, or was until it began to close, in [`Phase::Stream`].
    pub(super) const STREAM: Self = Self(1 << 11);
    /// A stream whose kept bytes were of no use to the handler: not without more of them.
    pub(super) const OFFERED: Self = Self(1 << 12);
    /// It came by a listener on which only streams are taken.
    pub(super) const STREAM_ONLY: Self = Self(1 << 13);
    /// It comes from a proxy that has to say first whom it speaks for.
    pub(super) const AWAITS_PROXY: Self = Self(1 << 14);
    /// Its other end is in this process.
    pub(super) const OWN: Self = Self(1 << 15);

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub(super) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    pub(super) fn unset(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// Unsets a flag and says whether it was set.
    pub(super) fn take(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.unset(flag);
        had
    }
}

/// One connection: at most 80 bytes (a test holds it), and the boxes only while there is something in them.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) generation: u32,
    pub(super) owner: u32,
    /// Its batch in the staging arena of this turn, or [`NONE`].
    pub(super) batch: u32,
    /// Its deadline, or [`NONE`].
    pub(super) timer: u32,
    pub(super) flags: Flags,
    pub(super) phase: Phase,
    /// How the request at hand is to be answered.
    pub(super) reply: Reply,
    pub(super) partial: Option<Box<Partial>>,
    pub(super) unsent: Option<Box<Unsent>>,
    pub(super) tls: Option<Box<rustls::ServerConnection>>,
    pub(super) decoder: Option<Decoder>,
}

/// What was read and cannot be used yet.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// The beginning of a head or frame, or requests behind the one at hand: at most a head's limit and a read buffer. Of
    /// a bare stream what the handler did not use.
    pub(super) bytes: Vec<u8>,
    /// Of a stream in a WebSocket: what came out of frames and was not used by the handler.
    pub(super) inner: Vec<u8>,
    pub(super) body: Option<Body>,
}

/// A request whose content is coming.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) head: Vec<u8>,
    pub(super) decoder: BodyDecoder,
    pub(super) content: Vec<u8>,
}

/// The write buffer: what the socket did not take. The pieces are shared with other connections.
#[derive(Debug, Default)]
pub(super) struct Unsent {
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) bytes: usize,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            generation: 0,
            owner: NONE,
            batch: NONE,
            timer: NONE,
            flags: Flags::default(),
            phase: Phase::Head,
            reply: Reply::closing(),
            partial: None,
            unsent: None,
            tls: None,
            decoder: None,
        }
    }

    pub(super) fn owner(&self) -> Option<Owner> {
        (self.owner != NONE).then_some(Owner(self.owner))
    }

    /// Whether bytes would be of use now. HTTP: the answers before this request must be on their way, so a client
    /// that does not read what it asked for cannot make the server keep more.
    pub(super) fn wants_bytes(&self) -> bool {
        match self.phase {
            Phase::Head | Phase::Body => self.unsent.is_none(),
            Phase::WebSocket | Phase::Stream => !self.flags.has(Flags::PAUSED),
            Phase::Answer | Phase::Closing => true,
            Phase::Asked | Phase::Held | Phase::Moving => false,
        }
    }

    /// Whether it stays as it is until one of both ends it, and its owner hears of its end and of back pressure.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self.phase, Phase::WebSocket | Phase::Stream | Phase::Answer)
    }

    /// Whether what it receives are frames.
    pub(super) fn is_framed(&self) -> bool {
        self.is_lasting() && self.decoder.is_some()
    }

    /// Puts away what cannot be used yet; an empty rest costs nothing.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        match &mut self.partial {
            Some(partial) => partial.bytes.extend_from_slice(rest),
            None if rest.is_empty() => {}
            None => self.partial = Some(Box::new(Partial { bytes: rest.to_vec(), ..Partial::default() })),
        }
    }

    /// As [`Connection::keep`] for bytes behind which the next read goes on: while a packet grows it is not copied again
    /// and again.
    pub(super) fn keep_growing(&mut self, bytes: Vec<u8>, used: usize) {
        if let Some(rest) = rest_of(bytes, used) {
            self.partial.get_or_insert_default().bytes = rest;
        }
    }

    /// Frees the box of an empty partial read.
    pub(super) fn tidy(&mut self) {
        let is_empty = |partial: &Partial| {
            partial.bytes.is_empty() && partial.inner.is_empty() && partial.body.is_none()
        };
        if self.partial.as_deref().is_some_and(is_empty) {
            self.partial = None;
        }
    }
}

/// What is left of bytes of which so many were used, in an allocation that fits; `None` when nothing is.
pub(super) fn rest_of(mut bytes: Vec<u8>, used: usize) -> Option<Vec<u8>> {
    let left = bytes.len().saturating_sub(used);
    if left == 0 {
        return None;
    }
    if left < bytes.capacity() / 4 {
        return bytes.get(used..).map(<[u8]>::to_vec);
    }
    bytes.drain(..used);
    Some(bytes)
}

/// All connections of a shard.
#[derive(Debug)]
pub(super) struct Connections {
    slots: Vec<Slot>,
    free: u32,
    len: usize,
    /// For the next one. Counted over all slots, so that a slot's history need not be kept.
    generation: u32,
}

#[derive(Debug)]
enum Slot {
    Vacant { next: u32 },
    Taken(Connection),
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, len: 0, generation: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: ConnKey) -> Option<&Connection> {
        match self.slots.get(key.index as usize) {
            Some(Slot::Taken(connection)) if connection.generation == key.generation => Some(connection),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Connection> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot::Taken(connection)) if connection.generation == key.generation => Some(connection),
            _ => None,
        }
    }

    pub(super) fn insert(&mut self, mut connection: Connection) -> ConnKey {
        let generation = self.generation;
        self.generation = generation.wrapping_add(1);
        self.len += 1;
        connection.generation = generation;
        let slot = Slot::Taken(connection);
        let index = self.free;
        match self.slots.get_mut(index as usize) {
            Some(place) => {
                if let Slot::Vacant { next } = std::mem::replace(place, slot) {
                    self.free = next;
                }
                ConnKey { index, generation }
            }
            None => {
                self.slots.push(slot);
                ConnKey { index: self.slots.len() as u32 - 1, generation }
            }
        }
    }

    /// Takes a connection out. The last one takes all memory with it.
    pub(super) fn remove(&mut self, key: ConnKey) -> Option<Connection> {
        self.get(key)?;
        let place = self.slots.get_mut(key.index as usize)?;
        let Slot::Taken(connection) = std::mem::replace(place, Slot::Vacant { next: self.free }) else {
            return None;
        };
        self.free = key.index;
        self.len -= 1;
        if self.len == 0 {
            self.slots = Vec::new();
            self.free = NONE;
        }
        Some(connection)
    }

    /// The keys of all connections.
    pub(super) fn keys(&self) -> Vec<ConnKey> {
        self.keys_from(0).collect()
    }

    /// Those from this index on.
    pub(super) fn keys_from(&self, start: usize) -> impl Iterator<Item = ConnKey> {
        let key = |(index, slot): (usize, &Slot)| match slot {
            Slot::Taken(connection) => {
                Some(ConnKey { index: index as u32, generation: connection.generation })
            }
            Slot::Vacant { .. } => None,
        };
        self.slots.iter().enumerate().skip(start).filter_map(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> TcpStream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect(listener.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn a_connection_costs_no_more_than_promised() {
        assert!(size_of::<Slot>() <= 80, "{}", size_of::<Slot>());
        assert_eq!(size_of::<Slot>(), size_of::<Connection>());
    }

    #[test]
    fn a_stale_key_finds_nothing_and_the_last_one_frees_all() {
        let mut connections = Connections::new();
        let a = connections.insert(Connection::new(stream()));
        let b = connections.insert(Connection::new(stream()));
        assert!(connections.remove(a).is_some());
        assert!(connections.remove(a).is_none());
        let c = connections.insert(Connection::new(stream()));
        assert_eq!(c.index, a.index);
        assert!(connections.get(a).is_none() && connections.get(c).is_some());
        assert_eq!(connections.keys().len(), 2);
        assert!(connections.remove(b).is_some() && connections.remove(c).is_some());
        assert_eq!((connections.len(), connections.slots.capacity()), (0, 0));
        let d = connections.insert(Connection::new(stream()));
        assert!(connections.get(b).is_none() && connections.get(d).is_some());
    }
}
