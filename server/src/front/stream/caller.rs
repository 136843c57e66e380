//! What is kept of a client while its request is answered.
//!
//! Owns the layout, since it decides the memory per stream. Must not know what happens to it. Start at [`Reader`].

use bytes::Bytes;
use hub::{Millis, Position, SessionId, SessionKey};
use wire::stream::{Form, Mark, Positions};

use super::open::Asked;
use super::reading::Reading;
use super::ruling::{Held, Post};
use super::socket::Doing;
use crate::config::WebhookProtocol;
use crate::front::rate::Rate;
use crate::shard::ConnKey;

/// Whose connection it is.
#[derive(Debug)]
pub(super) enum Caller {
    /// It reads channels.
    Reader(Reader),
    /// It waits to hear what became of its message. Boxed: readers are many, and would be as large.
    Publisher(Box<Publisher>),
}

/// A connection with a session: 72 bytes, and the boxes only while there is something in them.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) conn: ConnKey,
    pub(super) session: SessionKey,
    /// Void until the hub has answered.
    pub(super) id: SessionId,
    pub(super) kind: Kind,
    pub(super) framing: Framing,
    pub(super) stage: Stage,
    pub(super) scope: Scope,
    /// The back end has heard of it, and hears of its end.
    pub(super) is_told: bool,
    /// Of one channel: behind which message it stands, if that has positions.
    pub(super) place: Option<Position>,
    /// The same of several channels, or of a filter.
    pub(super) places: Option<Box<Positions>>,
    pub(super) rare: Option<Box<Rare>>,
}

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Sse,
    SseEnvelope,
    Ndjson,
    Poll,
    WebSocket,
}

/// How pieces of an answer are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Framing {
    /// Each is a chunk.
    Chunked,
    /// They are not: HTTP/1.0, up to the end of the connection; or there is only one.
    Plain,
    /// Each is a text frame.
    Frame,
}

/// Which channels a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// One, by its name.
    One,
    /// Those that it has named, some of them by filters.
    Several,
    /// It has named none: those of its user.
    Own,
}

/// Where a reader stands behind a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OwnToken {
    /// At its place, as all readers of its channel.
    Same,
    /// Here, if it has places at all.
    Other(Option<String>),
}

/// Where a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not every home knows of it.
    Opening,
    /// It gets what its channels keep; what comes waits in the hub.
    Reading,
    /// It gets what comes.
    Live,
}

/// What few readers have at any time.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// The page that asks, for as long as headers may be needed.
    pub(super) origin: Option<Box<str>>,
    /// Until it is admitted.
    pub(super) asked: Option<Box<Asked>>,
    pub(super) reading: Option<Box<Reading>>,
    /// The stream ends after so many messages.
    pub(super) left: Option<u32>,
    pub(super) poll: Option<Poll>,
    /// The answer to a request for a WebSocket, until it is given.
    pub(super) upgrade: Option<Box<[u8]>>,
    /// What a client in a WebSocket has asked for.
    pub(super) doing: Option<Box<Doing>>,
    /// Its messages that are on their way.
    pub(super) under_way: u16,
    /// How much it may send, while it does.
    pub(super) rate: Option<Box<Rate>>,
    /// What it wants to do with a channel, and the back end is asked about.
    pub(super) held: Option<Box<Held>>,
}

/// An answer that is gathered.
#[derive(Debug)]
pub(super) struct Poll {
    /// When it is given, whatever is in it.
    pub(super) until: Millis,
    pub(super) messages: Vec<Bytes>,
    /// At most.
    pub(super) limit: u32,
    /// It is given at the end of the turn.
    pub(super) is_due: bool,
}

/// A client whose message is on its way.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) conn: ConnKey,
    pub(super) number: u32,
    pub(super) message: Box<str>,
    pub(super) asks: Asks,
    /// The back end is asked about the message.
    pub(super) held: Option<Box<Post>>,
}

/// Where the answer goes.
#[derive(Debug)]
pub(super) enum Asks {
    /// To a request, of this page.
    Request(Option<Box<str>>),
    /// Into a WebSocket.
    Frame {
        /// Its reader.
        reader: u32,
        /// The client's name of the event.
        id: Box<str>,
        channel: Box<str>,
    },
}

impl Caller {
    pub(super) fn reader(&mut self) -> Option<&mut Reader> {
        match self {
            Self::Reader(reader) => Some(reader),
            Self::Publisher(_) => None,
        }
    }
}

impl Kind {
    pub(super) fn form(self) -> Form {
        match self {
            Self::Sse => Form::Sse,
            Self::SseEnvelope => Form::SseEnvelope,
            Self::Ndjson => Form::Ndjson,
            Self::Poll | Self::WebSocket => Form::Object,
        }
    }

    pub(super) fn webhook_protocol(self) -> WebhookProtocol {
        match self {
            Self::Sse | Self::SseEnvelope => WebhookProtocol::Sse,
            Self::Ndjson => WebhookProtocol::Ndjson,
            Self::Poll => WebhookProtocol::Poll,
            Self::WebSocket => WebhookProtocol::WebSocket,
        }
    }

    /// As the back office knows it.
    pub(super) fn protocol(self) -> &'static str {
        self.webhook_protocol().as_str()
    }
}

impl Reader {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn reading(&mut self) -> Option<&mut Reading> {
        self.rare.as_mut()?.reading.as_deref_mut()
    }

    pub(super) fn asked(&mut self) -> Option<&mut Asked> {
        self.rare.as_mut()?.asked.as_deref_mut()
    }

    pub(super) fn poll(&mut self) -> Option<&mut Poll> {
        self.rare.as_mut()?.poll.as_mut()
    }

    pub(super) fn origin(&self) -> Option<&str> {
        self.rare.as_ref()?.origin.as_deref()
    }

    /// How long it waits for the back end, if it does.
    pub(super) fn waits_until(&self) -> Option<Millis> {
        self.rare.as_ref()?.asked.as_ref()?.until
    }

    /// How long it waits for the back end's word on a channel, if it does.
    pub(super) fn held_until(&self) -> Option<Millis> {
        self.rare.as_ref()?.held.as_ref().map(|held| held.open.until)
    }

    /// Frees what is empty.
    pub(super) fn tidy(&mut self) {
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
    }

    /// Whether it has got the message of this place of a channel.
    pub(super) fn has_had(&self, channel: &str, place: Position) -> bool {
        let known = match &self.places {
            None if is_of_user(channel) => None,
            None => self.place,
            Some(places) => places.find(Mark::of(channel)).map(to_hub),
        };
        known.is_some_and(|known| known.epoch == place.epoch && place.offset <= known.offset)
    }

    /// It has got the message of this place. Of channels that it has only by a filter nothing is noted, unless they are its
    /// user's: which those are may have changed since the stream began.
    pub(super) fn note(&mut self, channel: &str, place: Position) {
        match &mut self.places {
            None if is_of_user(channel) => {}
            None => self.place = Some(place),
            Some(places) => {
                let mark = Mark::of(channel);
                if self.scope == Scope::Own || places.find(mark).is_some() {
                    places.set(mark, to_wire(place));
                }
            }
        }
    }

    /// Where a reader that gets a message of this channel stands, if the message does not say it.
    pub(super) fn own_token(&self, channel: &str) -> OwnToken {
        match &self.places {
            // Who reads several channels there keeps the place in each.
            _ if self.kind == Kind::WebSocket => OwnToken::Same,
            None if !is_of_user(channel) => OwnToken::Same,
            _ => OwnToken::Other(self.token()),
        }
    }

    /// Where it stands in a channel that it asked for.
    pub(super) fn set(&mut self, channel: &str, place: Option<Position>) {
        match (&mut self.places, place) {
            (None, place) => self.place = place,
            (Some(places), Some(place)) => places.set(Mark::of(channel), to_wire(place)),
            (Some(places), None) => places.clear(Mark::of(channel)),
        }
    }

    /// Where it stands in one channel that it asked for.
    pub(super) fn place_in(&self, channel: &str) -> Option<String> {
        match &self.places {
            None => self.token(),
            Some(places) => places.find(Mark::of(channel)).map(|place| place.to_string()),
        }
    }

    /// By what it can come back.
    pub(super) fn token(&self) -> Option<String> {
        match &self.places {
            None => self.place.map(|place| place.to_string()),
            Some(places) => Some(places.to_string()),
        }
    }
}

/// Whether a channel is one on which a user is spoken to: it comes to all streams of the user, whatever they have named.
fn is_of_user(channel: &str) -> bool {
    channel.starts_with("$user/")
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.origin.is_none()
            && self.asked.is_none()
            && self.reading.is_none()
            && self.left.is_none()
            && self.poll.is_none()
            && self.upgrade.is_none()
            && self.doing.is_none()
            && self.under_way == 0
            && self.rate.is_none()
            && self.held.is_none()
    }
}

pub(super) fn to_wire(place: Position) -> wire::stream::Position {
    wire::stream::Position { epoch: place.epoch, offset: place.offset }
}

pub(super) fn to_hub(place: wire::stream::Position) -> Position {
    Position { epoch: place.epoch, offset: place.offset }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_stays_small() {
        assert!(size_of::<Caller>() <= 72, "{}", size_of::<Caller>());
    }
}
