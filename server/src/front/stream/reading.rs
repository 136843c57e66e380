//! What channels keep, one after the other and page by page, before what comes. Meanwhile the session waits in the hub, and a
//! connection that is full is waited for.
//!
//! Owns what has been read. Must not know how a session began. Start at [`Streams::read_on`].

use std::sync::Arc;

use hub::{ChannelName, Command, HistoryPage, Message, Read, ReadFrom};
use wire::stream::Notice;

use super::Streams;
use super::caller::{Kind, Stage, to_wire};
use super::deliver::Encodings;
use crate::shard::Cx;

/// Messages of one page.
const PAGE: u32 = 64;

/// A reader's way through the histories of its channels.
#[derive(Debug)]
pub(super) struct Reading {
    /// To be read, with where to go on.
    pub(super) channels: Vec<(ChannelName, ReadFrom)>,
    /// Which of them.
    at: usize,
    /// The last so many are wanted of a channel that is lost.
    history: u32,
    found: Found,
    /// A page is on its way.
    is_asked: bool,
}

/// Whether a client that comes back gets all it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is new.
    Nothing,
    /// All, so far.
    Everything,
    /// Something is gone.
    Lost,
}

impl Reading {
    pub(super) fn new(history: u32, found: Found) -> Self {
        Self { channels: Vec::new(), at: 0, history, found, is_asked: false }
    }

    pub(super) fn found(&mut self, found: Found) {
        self.found = found;
    }

    /// The page of the channel at hand is read: it goes on behind it, or with the next channel.
    fn turn(&mut self, page: &HistoryPage) {
        let last = page.messages.last().and_then(|message| message.position).filter(|_| page.more);
        match (last, self.channels.get_mut(self.at)) {
            (Some(last), Some((_, from))) => *from = ReadFrom::After(last),
            _ => self.at += 1,
        }
    }

    /// The channel at hand is read from where it is: its last messages, if they are wanted.
    fn begin_anew(&mut self) {
        if let Some((_, from)) = self.channels.get_mut(self.at) {
            *from = ReadFrom::Last(self.history);
        }
    }
}

impl Streams {
    /// Asks for the next page, unless one is on its way or the connection is full.
    pub(super) fn read_on(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        let (conn, session, kind) = (reader.conn, reader.session, reader.kind);
        let room = reader.poll().map_or(PAGE, |poll| poll.room().min(PAGE));
        let Some(reading) = reader.reading().filter(|reading| !reading.is_asked) else { return };
        if kind != Kind::Poll && !cx.io.is_writable(conn) {
            return;
        }
        let next = reading.channels.get(reading.at).filter(|_| room > 0).cloned();
        let Some((channel, from)) = next else { return self.has_read(cx, index) };
        reading.is_asked = true;
        // Of a fresh reader without `history` only the position is wanted.
        let limit = if from == ReadFrom::Last(0) { 0 } else { room };
        let read = Read { session, channel, from, limit, request: 0 };
        self.apply(cx, Command::Read(Box::new(read)));
    }

    /// A page has come.
    pub(super) fn page(&mut self, cx: &mut Cx<'_>, index: u32, page: &HistoryPage) {
        let Some(reader) = self.reader_mut(index) else { return };
        let is_poll = reader.kind == Kind::Poll;
        let Some(reading) = reader.reading() else { return };
        reading.is_asked = false;
        let Some((channel, from)) = reading.channels.get(reading.at).cloned() else { return };
        if from == ReadFrom::Retained {
            reading.at += 1;
            for message in &page.messages {
                // It says nothing of where the reader stands.
                let value = Arc::new(Message { position: None, ..Message::clone(message) });
                self.hand(cx, &mut Encodings::new(&value), index);
            }
            return self.read_on(cx, index);
        }
        let is_gone = page.newest.is_none() && matches!(from, ReadFrom::After(_));
        if page.is_lost || is_gone {
            if is_poll {
                return self.position_lost(cx, index, channel.as_str(), page.earliest);
            }
            reading.found(Found::Lost);
            reading.begin_anew();
            reader.set(channel.as_str(), page.newest);
            self.say_lost(cx, index, channel.as_str());
            return self.read_on(cx, index);
        }
        reading.turn(page);
        if page.messages.is_empty() {
            reader.set(channel.as_str(), page.newest);
        } else if let (ReadFrom::Last(_), Some(first)) =
            (from, page.messages.first().and_then(|m| m.position))
        {
            // What is before them is not asked for.
            reader.set(channel.as_str(), Some(hub::Position { offset: first.offset - 1, ..first }));
        }
        for message in &page.messages {
            self.hand(cx, &mut Encodings::new(message), index);
        }
        self.read_on(cx, index);
    }

    /// Everything is read that channels keep.
    fn has_read(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(reader) = self.reader_mut(index) else { return };
        let Some(reading) = reader.rare.as_mut().and_then(|rare| rare.reading.take()) else { return };
        if let Some(poll) = reader.poll() {
            let waits = poll.messages.is_empty() && poll.until > cx.io.now();
            return if waits { self.go_live(cx, index) } else { self.answer_poll(cx, index) };
        }
        let recovered = match reading.found {
            Found::Everything => Some(true),
            Found::Nothing | Found::Lost => None,
        };
        if reader.kind == Kind::WebSocket {
            self.tell_begun(cx, index, recovered);
            return self.go_live(cx, index);
        }
        let (form, token) = (reader.kind.form(), reader.token());
        if token.is_some() || recovered.is_some() {
            let mut text = Vec::new();
            form.notice(&Notice { recovered, channel: None, position: token.as_deref() }, &mut text);
            self.say(cx, index, &text);
        }
        self.go_live(cx, index);
    }

    /// A poll names a position that is not there any more.
    pub(super) fn position_lost(
        &mut self,
        cx: &mut Cx<'_>,
        index: u32,
        channel: &str,
        earliest: Option<hub::Position>,
    ) {
        self.figures.gaps += 1;
        let Some(reader) = self.reader_mut(index) else { return };
        reader.set(channel, earliest);
        let earliest = earliest.and_then(|_| reader.token());
        self.refuse_poll(cx, index, earliest);
    }

    /// Whether the messages of its session are to be handed to it.
    pub(super) fn is_live(&self, index: u32) -> bool {
        self.reader(index).is_some_and(|reader| reader.stage == Stage::Live)
    }
}

/// A position as clients see it.
pub(super) fn text_of(position: hub::Position) -> String {
    to_wire(position).to_string()
}
