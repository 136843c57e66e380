//! Connection state recovery: who wants a session back, and what becomes of that.
//!
//! Owns the reading of a client's wish and the checks before the hub is asked, and what the front knows of sessions that
//! outlive a process. The hub decides whether anything is missing. Start at [`SocketIo::wish`].

use std::sync::Arc;

use bytes::Bytes;
use hub::{Attach, Command, Offset, Reason, SessionId, SessionKey, ShardId, Tag};
use wire::socketio::{RecoveryRequest, Revision};
use wire::values::JsonText;

use super::SocketIo;
use super::ending::Told;
use super::engine::NONE;
use super::namespaces::NamespaceKey;
use super::reasons;
use super::sid::{OldPid, ShownPid};
use super::socket::{Offsets, Socket};
use crate::config::RecoveryMode;
use crate::mail::{Speaks, Upcall};
use crate::shard::Cx;
use crate::state::{SavedClient, ShardState};

/// A session of an earlier process.
#[derive(Debug)]
pub struct Returning {
    /// Which.
    pub session: SessionId,
    /// What the protocol knew of it.
    pub client: SavedClient,
    /// What the hub said.
    pub fit: Fit,
}

/// Whether the hub has a session of an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It waits there to be resumed.
    Taken,
    /// There was no place for it.
    Refused,
}

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
    pub(super) fn wish(&mut self, slot: u32, namespace: NamespaceKey, auth: Option<&JsonText>) -> Wish {
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
        let Some(shown) = ShownPid::parse(&request.pid) else { return Wish::Recoverable };
        // Whether it is genuine is looked at there: only the home knows the pids of an earlier process.
        let home = self.topology.owner(shown.session.partition());
        if home != self.shard {
            return Wish::Elsewhere(home);
        }
        let session = shown.session;
        if !self.is_genuine(&shown) || self.namespace_of(session) != Some(namespace) {
            return Wish::Recoverable;
        }
        if let Some(old) = self.old_pids.get_mut(&SessionKey(session.slot())) {
            old.learn(&shown);
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

    fn old_pid(&self, session: SessionId) -> Option<&OldPid> {
        self.old_pids.get(&SessionKey(session.slot())).filter(|old| old.is_of(session))
    }

    /// Whether a pid was given out, by this process or for a session of an earlier one that lives here.
    pub(super) fn is_genuine(&self, shown: &ShownPid) -> bool {
        match self.old_pid(shown.session) {
            Some(old) => old.matches(shown),
            None => self.key.is_genuine(shown),
        }
    }

    /// The pid that the session's client has, or is to have.
    pub(super) fn pid(&self, session: SessionId) -> String {
        self.old_pid(session).and_then(OldPid::text).unwrap_or_else(|| self.key.pid(session))
    }

    /// A session of an earlier process comes back. In a namespace that there is no more, or that has another channel now,
    /// nobody can ask for it, and it ends as one that nobody came back for.
    pub(in crate::front) fn restore(&mut self, cx: &mut Cx<'_>, returning: Returning) {
        let Returning { session, client, fit } = returning;
        let SavedClient { namespace: name, channel, proof } = client;
        let key = SessionKey(session.slot());
        if fit == Fit::Taken
            && let Some(namespace) = self.namespaces.enter(&name, &self.config)
        {
            if self.namespaces.known(namespace).channel.as_str() == &*channel {
                self.detached.insert(key, (session, namespace));
                self.old_pids.insert(key, OldPid::new(session, proof));
                return;
            }
            self.namespaces.leave(namespace);
        }
        let (speaks, reason) = (Speaks::SocketIo(name), Reason::Expired);
        cx.io.upcall(Upcall::Expired { session, speaks, reason, text: reasons::text(reason) });
        if fit == Fit::Taken {
            self.apply(cx, Command::End { session: key, reason: Reason::Expired });
        }
    }

    /// What the next process goes on with.
    pub(in crate::front) fn state(&self, cx: &Cx<'_>) -> ShardState {
        let mut snapshot = cx.hub.hub.snapshot(cx.io.now());
        let mut clients = Vec::with_capacity(snapshot.sessions.len());
        snapshot.sessions.retain(|session| {
            let is_bound = self.bound.contains_key(&SessionKey(session.id.slot()));
            let namespace = self.namespace_of(session.id).filter(|_| !is_bound);
            let proof = || self.old_pid(session.id).map_or_else(|| self.key.proof(session.id), OldPid::proof);
            clients.extend(namespace.map(|namespace| {
                let namespace = self.namespaces.known(namespace);
                let channel = Arc::from(namespace.channel.as_str());
                SavedClient { namespace: Arc::clone(&namespace.name), channel, proof: proof() }
            }));
            namespace.is_some()
        });
        ShardState { shard: self.shard, snapshot, clients, bans: Vec::new() }
    }

    /// What is kept of a session that may be recovered, where there is a store.
    pub(super) fn keepsake(&self, socket: &Socket) -> Bytes {
        if socket.variant.offsets == Offsets::Absent || self.config.store.dir.is_none() {
            return Bytes::new();
        }
        let namespace = self.namespaces.known(socket.variant.namespace);
        let channel = Arc::from(namespace.channel.as_str());
        let proof = self.key.proof(socket.id);
        SavedClient { namespace: Arc::clone(&namespace.name), channel, proof }.keepsake()
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
        self.bind_attached(cx, tag, (session, displaced.map(|old| old.0)));
        if let Some(old) = displaced.and_then(|old| self.remove_socket(old.0)) {
            self.close_engine(cx, old.engine, Reason::TakenOver, Told::Close);
        }
        let Some(socket) = self.socket(tag) else { return };
        let (id, engine) = (socket.id, socket.engine);
        self.reattach(cx, tag, session, id);
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
