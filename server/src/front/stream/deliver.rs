//! From messages to pieces of answers: a message is written once per form and framing, and what is a reader's own goes before it.
//!
//! Owns the only loop whose length is the number of recipients. Must not know who is subscribed. Start at [`Streams::deliver`].

use std::sync::Arc;

use bytes::Bytes;
use hub::{Message, Recipient};
use smallvec::SmallVec;
use wire::cloudevent::sequence;
use wire::http::write_chunk;
use wire::mqtt::Forwarded;
use wire::stream::{Entry, Form, MessageEvent};
use wire::websocket::text_frame;

use super::Streams;
use super::caller::{Framing, Kind, OwnToken, Reader, to_wire};
use super::publish::time_and_text;
use super::reading::text_of;
use crate::front::apply::stream_index;
use crate::front::content::payload;
use crate::shard::Cx;

/// What makes two readers get the very same bytes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Variant {
    kind: Kind,
    framing: Framing,
    part: Part,
}

/// How much of a message is the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// All of it: readers of this channel stand behind it now.
    Whole,
    /// What follows where the reader stands, which it is told by a token of its own.
    Tail,
}

/// A message as the readers of one shard get it; each variant is written at its first use.
pub(super) struct Encodings<'a> {
    message: &'a Message,
    payload: Option<Bytes>,
    /// A handful at most, so a list is searched.
    known: SmallVec<[(Variant, Bytes); 2]>,
}

impl<'a> Encodings<'a> {
    pub(super) fn new(message: &'a Arc<Message>) -> Self {
        Self { message, payload: None, known: SmallVec::new() }
    }

    fn entry(&mut self) -> Entry<'_> {
        let payload = self.payload.get_or_insert_with(|| payload(&self.message.body));
        Entry { channel: self.message.channel.as_str(), event: self.message.event.as_deref(), payload }
    }

    fn piece(&mut self, variant: Variant) -> Bytes {
        if let Some((_, bytes)) = self.known.iter().find(|(known, _)| *known == variant) {
            return bytes.clone();
        }
        if variant.kind == Kind::WebSocket {
            let bytes = text_frame(&[self.event().as_bytes()]);
            self.known.push((variant, bytes.clone()));
            return bytes;
        }
        let (form, place) = (variant.kind.form(), self.message.position.map(to_wire));
        let mut text = Vec::new();
        match variant.part {
            Part::Whole => form.message(&self.entry(), place, &mut text),
            Part::Tail => form.tail(&self.entry(), &mut text),
        }
        let bytes = framed(variant.framing, text);
        self.known.push((variant, bytes.clone()));
        bytes
    }

    /// The message as an event.
    fn event(&mut self) -> String {
        let message = self.message;
        let forwarded = Forwarded::from_bytes(message.traits.attributes.clone()).unwrap_or(Forwarded::NONE);
        let (time_ms, id) = time_and_text(message.id);
        let place = message.position.map(|place| (sequence(place.offset), text_of(place)));
        let Entry { channel, event, payload } = self.entry();
        MessageEvent {
            id: &id,
            time_ms,
            channel,
            event,
            media: forwarded.properties().content_type(),
            payload,
            place: place.as_ref().map(|(sequence, position)| (sequence.as_str(), position.as_str())),
        }
        .to_json()
    }

    /// What goes before the tail for one reader.
    fn head(&mut self, form: Form, framing: Framing, token: Option<&str>) -> Bytes {
        let mut text = Vec::new();
        form.head(&self.entry(), token, &mut text);
        framed(framing, text)
    }
}

/// A piece as it is written.
pub(super) fn framed(framing: Framing, text: Vec<u8>) -> Bytes {
    match framing {
        Framing::Plain => Bytes::from(text),
        Framing::Frame => text_frame(&[&text]),
        Framing::Chunked => {
            let mut chunk = Vec::with_capacity(text.len() + 12);
            write_chunk(&mut chunk, &text);
            Bytes::from(chunk)
        }
    }
}

impl Streams {
    /// Stages a message for every recipient.
    pub(super) fn deliver(&mut self, cx: &mut Cx<'_>, message: &Arc<Message>, to: &[Recipient]) {
        let mut encodings = Encodings::new(message);
        for recipient in to {
            self.hand(cx, &mut encodings, stream_index(recipient.tag));
        }
    }

    /// Stages a message for one reader, unless it has had it.
    pub(super) fn hand(&mut self, cx: &mut Cx<'_>, encodings: &mut Encodings<'_>, index: u32) {
        let (message, figures) = (encodings.message, &mut self.figures);
        let Some(reader) = self.callers.get_mut(index as usize).and_then(|caller| caller.reader()) else {
            return;
        };
        let channel = message.channel.as_str();
        if message.position.is_some_and(|place| reader.has_had(channel, place)) {
            return;
        }
        if reader.poll().is_some_and(|poll| poll.room() == 0) {
            // It comes with the next one.
            return;
        }
        if let Some(place) = message.position {
            reader.note(channel, place);
        }
        figures.delivered(reader.kind);
        if reader.kind == Kind::Poll {
            let variant = Variant { kind: Kind::Poll, framing: Framing::Plain, part: Part::Whole };
            let object = encodings.piece(variant);
            return self.gather(index, object);
        }
        stage(cx, encodings, reader);
        let is_over = reader.rare.as_mut().and_then(|rare| rare.left.as_mut()).is_some_and(|left| {
            *left = left.saturating_sub(1);
            *left == 0
        });
        if is_over {
            self.finish(cx, index, hub::Reason::ClientLeft);
        }
    }

    /// Stages something for one reader alone.
    pub(super) fn say(&mut self, cx: &mut Cx<'_>, index: u32, text: &[u8]) {
        let Some(reader) = self.reader(index).filter(|_| !text.is_empty()) else { return };
        cx.io.stage(reader.conn, &framed(reader.framing, text.to_vec()));
    }
}

fn stage(cx: &mut Cx<'_>, encodings: &mut Encodings<'_>, reader: &Reader) {
    let Reader { conn, kind, framing, .. } = *reader;
    let part = match reader.own_token(encodings.message.channel.as_str()) {
        OwnToken::Same => Part::Whole,
        OwnToken::Other(token) => {
            let head = encodings.head(kind.form(), framing, token.as_deref());
            if !head.is_empty() {
                cx.io.stage(conn, &head);
            }
            Part::Tail
        }
    };
    cx.io.stage(conn, &encodings.piece(Variant { kind, framing, part }));
}
