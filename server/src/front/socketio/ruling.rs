//! Events for the other clients of a namespace that wait until the back end has said whether they may be published.
//!
//! Owns what waits behind such an event: what came in the same POST; of anything else the client says nothing more is read. Must
//! not know who answers. Start at [`SocketIo::ask_about_event`].
//!
//! ```text
//! EVENT ──> Upcall::Ask; nothing more is read, as while the back end is behind
//!    ├──Mail::Answer, yes──> published, as the answer says; then what waits behind it
//!    └──no, unknown, `socketio.connect_timeout_ms`──> nobody gets it, and there is no acknowledgement
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use hub::{Body, Command, Millis, Publish, Receipt};
use wire::values::Values;

use super::SocketIo;
use crate::front::questions::{Open, change, publish_deed};
use crate::mail::{Question, Ruling, Speaks};
use crate::shard::Cx;

/// An event that waits, and those behind it.
#[derive(Debug)]
pub(super) struct Asked {
    open: Open,
    message: Box<Publish>,
    behind: VecDeque<(Values, Option<u64>)>,
}

impl SocketIo {
    /// Asks about an event.
    pub(super) fn ask_about_event(&mut self, cx: &mut Cx<'_>, tag: u32, message: Box<Publish>) {
        let Some(socket) = self.socket(tag) else { return };
        let (session, slot) = (socket.id, socket.engine);
        let namespace = Arc::clone(&self.namespaces.known(socket.variant.namespace).name);
        let Some((channel, deed)) = publish_deed(&message, None, None) else { return };
        let (speaks, user) = (Speaks::SocketIo(namespace), cx.hub.hub.user_of(&session));
        let question = Question { speaks, user, channel, deed };
        let open = Open::ask(cx, session, question, self.config.socketio.connect_timeout_ms);
        self.asked.insert(tag, Asked { open, message, behind: VecDeque::new() });
        let Some(engine) = self.engine_mut(slot) else { return };
        engine.holds += 1;
        if let Some(conn) = engine.websocket() {
            cx.io.pause_reading(conn);
        }
        self.arm(cx, slot);
    }

    pub(super) fn is_asked(&self, tag: u32) -> bool {
        !self.asked.is_empty() && self.asked.contains_key(&tag)
    }

    /// Another event of the same POST.
    pub(super) fn wait_behind(&mut self, tag: u32, values: Values, request: Option<u64>) {
        if let Some(asked) = self.asked.get_mut(&tag) {
            asked.behind.push_back((values, request));
        }
    }

    /// When the first of the questions of an engine session is given up.
    pub(super) fn asked_until(&self, slot: u32) -> Option<Millis> {
        if self.asked.is_empty() {
            return None;
        }
        let until = |tag: u32| self.asked.get(&tag).map(|asked| asked.open.until);
        self.tags_of_engine(slot).into_iter().filter_map(until).min()
    }

    pub(super) fn expire_questions(&mut self, cx: &mut Cx<'_>, slot: u32, now: Millis) {
        if self.asked_until(slot).is_none_or(|until| until > now) {
            return;
        }
        for tag in self.tags_of_engine(slot) {
            if self.asked.get(&tag).is_some_and(|asked| asked.open.until <= now) {
                self.rule(cx, tag, Ruling::Unknown);
            }
        }
    }

    /// The back end has answered.
    pub(super) fn ruled(&mut self, cx: &mut Cx<'_>, tag: u32, (number, ruling): (u64, Ruling)) {
        if self.asked.get(&tag).is_some_and(|asked| asked.open.is(number)) {
            self.rule(cx, tag, ruling);
        }
    }

    fn rule(&mut self, cx: &mut Cx<'_>, tag: u32, ruling: Ruling) {
        let Some(Asked { mut message, mut behind, .. }) = self.release(tag) else { return };
        match (ruling, &message.receipt) {
            (Ruling::Yes(terms), _) => {
                change(&mut message, terms);
                self.send_off(cx, message);
            }
            (Ruling::Drop, Some(Receipt::Request { session, request, .. })) => {
                let body = Body::Values { json: Bytes::from_static(b"[]"), attachments: Vec::new() };
                let (session, request) = (*session, *request);
                self.apply(cx, Command::Answer { session, request, body });
            }
            (Ruling::Drop, _) => {}
            (Ruling::No { .. } | Ruling::Unknown, receipt) => {
                let request = match receipt {
                    Some(Receipt::Request { request, .. }) => Some(*request),
                    _ => None,
                };
                self.drop_event(tag, request);
            }
        }
        while let Some((values, request)) = behind.pop_front() {
            self.relay(cx, tag, &values, request);
            if let Some(asked) = self.asked.get_mut(&tag) {
                asked.behind = behind;
                break;
            }
        }
        self.read_after(cx, tag);
    }

    /// The socket is gone: what waits goes with it.
    pub(super) fn forget_asked(&mut self, cx: &mut Cx<'_>, tag: u32) {
        if self.is_asked(tag) {
            self.release(tag);
            self.read_after(cx, tag);
        }
    }

    fn release(&mut self, tag: u32) -> Option<Asked> {
        let asked = self.asked.remove(&tag)?;
        let slot = self.socket(tag).map(|socket| socket.engine);
        if let Some(engine) = slot.and_then(|slot| self.engine_mut(slot)) {
            engine.holds = engine.holds.saturating_sub(1);
        }
        Some(asked)
    }

    fn read_after(&mut self, cx: &mut Cx<'_>, tag: u32) {
        if let Some(slot) = self.socket(tag).map(|socket| socket.engine) {
            self.read_again(cx, slot);
            self.arm(cx, slot);
        }
    }
}
