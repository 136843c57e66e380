//! What the back office asks of the front.
//!
//! Owns the look-up of sessions by their public id. Start at [`SocketIo::mail`].

use hub::{Reason, SessionId};
use smallvec::SmallVec;
use std::sync::Arc;
use wire::engineio::Version;

use super::SocketIo;
use super::engine::{Carrier, Engine};
use super::socket::Socket;
use crate::mail::{Inspection, Mail};
use crate::shard::{ConnKey, Cx};

impl SocketIo {
    /// Carries out a message of the back office; one about a session that is gone is ignored.
    pub(in crate::front) fn mail(&mut self, cx: &mut Cx<'_>, mail: Mail) {
        match mail {
            Mail::Hub(command) => self.apply(cx, command),
            Mail::Commands(commands) => commands.into_iter().for_each(|command| self.apply(cx, command)),
            Mail::Admit { session, admission } => {
                if let Some(tag) = self.tag_of(session) {
                    self.admit(cx, tag, *admission);
                }
            }
            Mail::Refuse { session, message, data, .. } => {
                if let Some(tag) = self.tag_of(session) {
                    self.denied(cx, tag, &message, data.as_ref());
                }
            }
            Mail::Answer { session, number, ruling } => {
                if let Some(tag) = self.tag_of(session) {
                    self.ruled(cx, tag, (number, *ruling));
                }
            }
            Mail::Hold { session } => {
                if let Some(tag) = self.tag_of(session) {
                    self.hold(cx, tag);
                }
            }
            Mail::LetGo { session } => {
                if let Some(tag) = self.tag_of(session) {
                    self.let_go(cx, tag);
                }
            }
            Mail::Disconnect { session } => {
                if let Some(tag) = self.tag_of(session) {
                    self.close_under(cx, tag, Reason::Disconnected);
                }
            }
            Mail::Tail { filter, sink } => {
                let open = self.tails.open((filter, sink), cx.io.random());
                self.apply(cx, open);
            }
            Mail::TailClosed => {
                for end in self.tails.sweep() {
                    self.apply(cx, end);
                }
            }
            // For all protocols, or the shard's own.
            Mail::Saying(..)
            | Mail::Inspect { .. }
            | Mail::Figures { .. }
            | Mail::Ban { .. }
            | Mail::Unban { .. }
            | Mail::BanOf { .. }
            | Mail::Bans { .. }
            | Mail::Stats { .. }
            | Mail::Tls(_)
            | Mail::Own(_)
            | Mail::Drain { .. }
            | Mail::Bind { .. }
            | Mail::Lines { .. }
            | Mail::Weigh { .. }
            | Mail::EndLine { .. } => {}
            // Of MQTT clients.
            Mail::Greet { .. } | Mail::Change { .. } | Mail::Revoke { .. } => {}
        }
    }

    pub(in crate::front) fn inspect(&self, cx: &Cx<'_>, session: SessionId) -> Option<Inspection> {
        let socket = self.socket(self.tag_of(session)?)?;
        let engine = self.engine(socket.engine)?;
        let protocol = match engine.version {
            Version::V3 => "socketio/4",
            Version::V4 => "socketio/5",
        };
        Some(Inspection {
            protocol,
            namespace: Some(Arc::clone(&self.namespaces.known(socket.variant.namespace).name)),
            transport: transport(engine),
            remote: self.connection_of(socket.engine).and_then(|conn| cx.io.peer_addr(conn)),
            expires: self.expires(cx, session),
        })
    }

    /// The sessions of an engine session.
    pub(in crate::front) fn sessions_on(&self, slot: u32) -> SmallVec<[SessionId; 2]> {
        let tags = self.tags_of_engine(slot);
        tags.iter().filter_map(|tag| self.socket(*tag)).map(|socket| socket.id).collect()
    }

    /// Bytes of an engine session and its sockets, beside what the hub has.
    pub(in crate::front) fn bytes_of(&self, slot: u32) -> usize {
        let Some(engine) = self.engine(slot) else { return 0 };
        let tags = self.tags_of_engine(slot);
        let requests = |requests: &Vec<u64>| size_of_val(requests) + requests.capacity() * size_of::<u64>();
        let of = |socket: &Socket| size_of_val(socket) + socket.requests.as_deref().map_or(0, requests);
        let sockets = tags.iter().filter_map(|tag| self.socket(*tag)).map(of);
        // Each has its place in `tags`.
        let indexes = tags.len() * size_of::<u32>();
        engine.memory_bytes() + sockets.sum::<usize>() + indexes
    }

    /// The connection of a session, if one is open now.
    pub(in crate::front) fn connection_under(&self, session: SessionId) -> Option<ConnKey> {
        self.connection_of(self.socket(self.tag_of(session)?)?.engine)
    }

    /// The connection of an engine session, if one is open now.
    pub(super) fn connection_of(&self, slot: u32) -> Option<ConnKey> {
        match &self.engine(slot)?.carrier {
            Carrier::WebSocket(conn) => Some(*conn),
            Carrier::Polling(polling) => polling.get.as_ref().map(|get| get.conn),
            Carrier::Moved(_) | Carrier::Over(_) => None,
        }
    }
}

fn transport(engine: &Engine) -> &'static str {
    match engine.carrier {
        Carrier::WebSocket(_) => "websocket",
        Carrier::Polling(_) | Carrier::Moved(_) | Carrier::Over(_) => "polling",
    }
}
