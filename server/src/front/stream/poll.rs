//! Long polls: messages are gathered and given as one answer at the end of the turn in which the first has come, or without any when
//! the time is over.
//!
//! Owns what is gathered. Must not know where messages come from. Start at [`Streams::gather`].

use bytes::Bytes;
use hub::Reason;
use wire::stream::poll_answer;

use super::Streams;
use super::answer::Refusal;
use super::caller::{Caller, Poll, Reader};
use crate::shard::{Cx, Response};

impl Poll {
    /// How many messages more it takes.
    pub(super) fn room(&self) -> u32 {
        self.limit.saturating_sub(u32::try_from(self.messages.len()).unwrap_or(u32::MAX))
    }
}

impl Streams {
    /// One more message for a poll.
    pub(super) fn gather(&mut self, index: u32, object: Bytes) {
        let is_live = self.is_live(index);
        let Some(poll) = self.reader_mut(index).and_then(|reader| reader.poll()) else { return };
        poll.messages.push(object);
        if is_live && !std::mem::replace(&mut poll.is_due, true) {
            self.due.push(index);
        }
    }

    /// The turn ends: polls with messages are answered.
    pub(in crate::front) fn answer_polls(&mut self, cx: &mut Cx<'_>) {
        for index in std::mem::take(&mut self.due) {
            let is_due =
                self.reader_mut(index).and_then(|reader| reader.poll()).is_some_and(|poll| poll.is_due);
            if is_due {
                self.answer_poll(cx, index);
            }
        }
    }

    /// Gives what is there, and where the client stands then.
    pub(super) fn answer_poll(&mut self, cx: &mut Cx<'_>, index: u32) {
        let Some(mut reader) = self.take_reader(cx, index) else { return };
        let messages = reader.poll().map(|poll| std::mem::take(&mut poll.messages)).unwrap_or_default();
        let mut body = Vec::new();
        poll_answer(messages.iter().map(|object| &object[..]), reader.token().as_deref(), &mut body);
        let response = self.site.json(body, reader.origin());
        self.respond(cx, &reader, response);
    }

    /// Says that the position is lost.
    pub(super) fn refuse_poll(&mut self, cx: &mut Cx<'_>, index: u32, earliest: Option<String>) {
        let Some(reader) = self.take_reader(cx, index) else { return };
        let response = self.site.refuse(&Refusal::lost(earliest), reader.origin());
        self.respond(cx, &reader, response);
    }

    pub(super) fn take_reader(&mut self, cx: &mut Cx<'_>, index: u32) -> Option<Reader> {
        self.reader(index)?;
        match self.remove(cx, index)? {
            Caller::Reader(reader) => Some(reader),
            Caller::Publisher(_) => None,
        }
    }

    /// Answers the request of a reader that is taken away, and ends its session.
    pub(super) fn respond(&mut self, cx: &mut Cx<'_>, reader: &Reader, response: Response) {
        cx.io.respond(reader.conn, response);
        self.end_session(cx, reader, Reason::ClientLeft);
    }
}
