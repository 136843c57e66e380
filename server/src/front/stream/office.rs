//! What the back office asks about streams: how clients are connected, and what was counted.
//!
//! Owns the declaration of each figure with its documentation. Start at [`Streams::inspect`] and [`Figures`].

use bytes::Bytes;
use hub::SessionId;

use super::Streams;
use super::caller::{Caller, Kind, Rare};
use crate::mail::Inspection;
use crate::shard::{ConnKey, Cx, Stat, StatKind};

/// Names of protocols, in the order of figures by protocol.
const PROTOCOLS: [&str; 4] = ["sse", "ndjson", "poll", "websocket"];

/// A snapshot of what was counted since the shard started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Readers now, by protocol.
    pub readers: [u64; 4],
    /// Messages to readers, by protocol.
    pub messages_out: [u64; 4],
    /// Messages by `POST /publish`, or in WebSockets, that are where they are needed.
    pub published: u64,
    /// Times that a client was told that something it missed is gone.
    pub gaps: u64,
    /// Requests that should not be repeated.
    pub refused: u64,
}

/// A figure, or several that differ in a label.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name, kind and documentation.
    pub stat: Stat,
    /// The label's name, and what it says; `None` for a single figure.
    pub label: Option<(&'static str, &'static str)>,
    /// Value of the label and figure.
    pub values: fn(&Figures) -> Vec<(&'static str, u64)>,
}

const BY_PROTOCOL: Option<(&str, &str)> = Some(("protocol", "`sse`, `ndjson`, `poll` or `websocket`"));

/// All families, in the order in which they are shown.
pub const FAMILIES: &[Family] = &[
    Family {
        stat: stat(
            StatKind::Gauge,
            "streams_readers",
            "Clients of `/sse`, `/ndjson`, `/poll` and `/ws` that are connected.",
        ),
        label: BY_PROTOCOL,
        values: |figures| by_protocol(&figures.readers),
    },
    Family {
        stat: stat(StatKind::Counter, "streams_messages_out", "Messages to those clients."),
        label: BY_PROTOCOL,
        values: |figures| by_protocol(&figures.messages_out),
    },
    Family {
        stat: stat(
            StatKind::Counter,
            "streams_published",
            "Messages by `POST /publish` and in WebSockets of `/ws`.",
        ),
        label: None,
        values: |figures| vec![("", figures.published)],
    },
    Family {
        stat: stat(
            StatKind::Counter,
            "streams_gaps",
            "Times that a client was told that something it missed is gone from the history.",
        ),
        label: None,
        values: |figures| vec![("", figures.gaps)],
    },
    Family {
        stat: stat(
            StatKind::Counter,
            "streams_refused",
            "Requests for streams, or to publish, that were refused for good.",
        ),
        label: None,
        values: |figures| vec![("", figures.refused)],
    },
];

const fn stat(kind: StatKind, name: &'static str, doc: &'static str) -> Stat {
    Stat { name, kind, doc }
}

fn by_protocol(figures: &[u64; 4]) -> Vec<(&'static str, u64)> {
    PROTOCOLS.iter().copied().zip(figures.iter().copied()).collect()
}

impl Figures {
    /// Adds another shard's figures to these.
    pub fn add(&mut self, other: &Self) {
        for (sum, figure) in self.readers.iter_mut().zip(other.readers) {
            *sum += figure;
        }
        for (sum, figure) in self.messages_out.iter_mut().zip(other.messages_out) {
            *sum += figure;
        }
        self.published += other.published;
        self.gaps += other.gaps;
        self.refused += other.refused;
    }

    pub(super) fn came(&mut self, caller: &Caller) {
        if let Caller::Reader(reader) = caller {
            *at(&mut self.readers, reader.kind) += 1;
        }
    }

    pub(super) fn left(&mut self, caller: &Caller) {
        if let Caller::Reader(reader) = caller {
            *at(&mut self.readers, reader.kind) -= 1;
        }
    }

    pub(super) fn delivered(&mut self, kind: Kind) {
        *at(&mut self.messages_out, kind) += 1;
    }
}

/// The figure of a protocol.
fn at([sse, ndjson, poll, websocket]: &mut [u64; 4], kind: Kind) -> &mut u64 {
    match kind {
        Kind::Sse | Kind::SseEnvelope => sse,
        Kind::Ndjson => ndjson,
        Kind::Poll => poll,
        Kind::WebSocket => websocket,
    }
}

impl Streams {
    /// What was counted since the shard started.
    pub(in crate::front) fn figures(&self) -> Figures {
        self.figures.clone()
    }

    /// The session of a reader.
    pub(in crate::front) fn session_on(&self, index: u32) -> Option<SessionId> {
        self.reader(index).map(|reader| reader.id)
    }

    /// The protocol of a reader, and its bytes beside what the hub has. Of what few readers have only the parts that can be large.
    pub(in crate::front) fn bytes_of(&self, index: u32) -> Option<(&'static str, usize)> {
        let reader = self.reader(index)?;
        let rare = reader.rare.as_ref().map_or(0, |rare| {
            let poll = rare.poll.as_ref().map_or(0, |poll| {
                poll.messages.capacity() * size_of::<Bytes>()
                    + poll.messages.iter().map(Bytes::len).sum::<usize>()
            });
            size_of::<Rare>() + poll
        });
        let places = reader.places.as_ref().map_or(0, |places| places.memory_bytes());
        Some((reader.kind.protocol(), size_of::<Caller>() + rare + places + size_of::<u32>()))
    }

    /// The connection of a session.
    pub(in crate::front) fn connection_under(&self, session: SessionId) -> Option<ConnKey> {
        Some(self.reader(self.index_of(session)?)?.conn)
    }

    /// How the client of a session is connected.
    pub(in crate::front) fn inspect(&self, cx: &Cx<'_>, session: SessionId) -> Option<Inspection> {
        let reader = self.reader(self.index_of(session)?)?;
        Some(Inspection {
            protocol: reader.kind.protocol(),
            namespace: None,
            transport: if reader.kind == Kind::WebSocket { "websocket" } else { "http" },
            remote: cx.io.peer_addr(reader.conn),
            expires: self.rights(self.index_of(session)?).and_then(|rights| rights.expire(cx.io.now())),
        })
    }
}
