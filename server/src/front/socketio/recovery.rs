//! Connection state recovery: who wants a session back, and what becomes of that.
//!
//! Owns the reading of a client's wish and the checks before the hub is asked, and what the front knows of sessions that
//! outlive a process. The hub decides whether anything is missing. Start at [`SocketIo::wish`].

use std::sync::Arc;

use hub::{Attach, Command, Offset, Reason, SessionId, SessionKey, ShardId, Tag};
use wire::socketio::{RecoveryRequest, Revision};
use wire::values::JsonText;

use super::SocketIo;
use super::ending::Told;
use super::engine::NONE;
use super::namespaces::NamespaceKey;
use crate::config::RecoveryMode;
use crate::shard::Cx;
use crate::state::ShardState;

/// What a CONNECT asks for besides its namespace.
#[derive(Debug)]
pub(super) enum Wish {
    /// A session that ends with its connection.
    None,
    /// A new session that may be resumed later.
    Recoverable,
    /// This session of ours, with what came after the offset.
    Here(SessionId, Option<Offset>),
    /// A session of that shard.
    Elsewhere(ShardId),
}

impl SocketIo {
    /// Reads a CONNECT's wish. A pid that is not genuine, or of a session of another namespace, asks for nothing.
    pub(super) fn wish(&self, slot: u32, namespace: NamespaceKey, auth: Option<&JsonText>) -> Wish {
        let Some(engine) = self.engine(slot) else { return Wish::None };
        let recoverable = match self.namespaces.known(namespace).recovery {
            _ if engine.decoder.codec().revision == Revision::V4 => false,
            RecoveryMode::Off => false,
            RecoveryMode::Always => true,
            RecoveryMode::OptIn => auth.is_some_and(opted_in) || self.opted_in_by_query(slot),
        };
        if !recoverable {
            return Wish::None;
        }
        let request = auth.and_then(RecoveryRequest::parse);
        let Some(request) = request else { return Wish::Recoverable };
        let Some(session) = self.key.verify(&request.pid) else { return Wish::Recoverable };
        let home = self.topology.owner(session.partition());
        if home != self.shard {
            return Wish::Elsewhere(home);
        }
        if self.namespace_of(session) != Some(namespace) {
            return Wish::Recoverable;
        }
        // Text that is no offset of ours may belong to an earlier server: replay from the session's start.
        let after = request.offset.and_then(|offset| offset.parse().ok());
        Wish::Here(session, after)
    }

    fn opted_in_by_query(&self, slot: u32) -> bool {
        let handshake = self.engine(slot).and_then(|engine| engine.handshake.as_ref());
        handshake.is_some_and(|handshake| {
            handshake.query.iter().any(|(key, value)| &**key == "csr" && &**value == "1")
        })
    }

    /// The namespace of a session that is connected or may come back.
    fn namespace_of(&self, session: SessionId) -> Option<NamespaceKey> {
        if let Some(socket) = self.tag_of(session).and_then(|tag| self.socket(tag)) {
            return Some(socket.variant.namespace);
        }
        let (id, namespace) = self.detached.get(&SessionKey(session.slot()))?;
        (*id == session).then_some(*namespace)
    }

    /// A session of an earlier process waits here; the hub knows it. In a namespace that there is no more nobody can ask for
    /// it: it ends with its window.
    pub(in crate::front) fn restore(&mut self, session: SessionId, namespace: &str) {
        if let Some(namespace) = self.namespaces.enter(namespace, &self.config) {
            self.detached.insert(SessionKey(session.slot()), (session, namespace));
        }
    }

    /// What the next process goes on with.
    pub(in crate::front) fn state(&self, cx: &Cx<'_>) -> ShardState {
        let mut snapshot = cx.hub.hub.snapshot(cx.io.now());
        let mut namespaces = Vec::with_capacity(snapshot.sessions.len());
        snapshot.sessions.retain(|session| {
            let namespace = self.namespace_of(session.id);
            namespaces.extend(namespace.map(|namespace| Arc::clone(&self.namespaces.known(namespace).name)));
            namespace.is_some()
        });
        ShardState { shard: self.shard, snapshot, namespaces }
    }

    /// Asks the hub for the session a client names.
    pub(super) fn attach(&mut self, cx: &mut Cx<'_>, tag: u32, session: SessionId, after: Option<Offset>) {
        if let Some(socket) = self.socket_mut(tag) {
            socket.id = session;
        }
        self.apply(cx, Command::Attach(Attach { session, tag: Tag(tag), after }));
    }

    /// The session goes on here. A connection that was not yet known to be dead is closed, without a word to the
    /// back end: for it nothing ended.
    pub(super) fn attached(
        &mut self,
        cx: &mut Cx<'_>,
        tag: u32,
        session: SessionKey,
        displaced: Option<Tag>,
    ) {
        if let Some((_, namespace)) = self.detached.remove(&session) {
            self.namespaces.leave(namespace);
        }
        if let Some(old) = displaced.and_then(|old| self.remove_socket(old.0)) {
            self.close_engine(cx, old.engine, Reason::TakenOver, Told::Close);
        }
        let Some(socket) = self.socket(tag) else { return };
        let (id, engine) = (socket.id, socket.engine);
        self.reattach(tag, session, id);
        if engine == NONE {
            return self.apply(cx, Command::Detach { session, reason: Reason::ConnectionFailed });
        }
        self.resume(cx, tag);
    }

    /// The session cannot go on: the client gets a new one.
    pub(super) fn attach_refused(&mut self, cx: &mut Cx<'_>, tag: u32) {
        match self.socket(tag).map(|socket| socket.engine) {
            Some(NONE) => drop(self.remove_socket(tag)),
            Some(_) => self.ask_hub(cx, tag),
            None => {}
        }
    }
}

/// Whether the credentials hold `csr` with a value that means yes.
fn opted_in(auth: &JsonText) -> bool {
    let value = serde_json::from_str::<serde_json::Value>(auth.as_str()).ok();
    match value.as_ref().and_then(|value| value.get("csr")) {
        Some(serde_json::Value::Bool(yes)) => *yes,
        Some(serde_json::Value::Number(number)) => number.as_u64() == Some(1),
        Some(serde_json::Value::String(text)) => matches!(text.as_str(), "1" | "true"),
        _ => false,
    }
}
