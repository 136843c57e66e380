//! Joining a namespace: CONNECT, the hub's session, the back end's yes or no.
//!
//! Owns the steps and their order. Must not know events. Start at [`SocketIo::connect`].
//!
//! ```text
//! CONNECT -> Open ---> Opened --> Upcall::Connect --> Mail::Admit --> Admit, Resume --> Admitted --> `40`
//!    |                   |                       \--> Mail::Refuse --> `44`, End
//!    |                   +-- auth.mode anonymous or jwt: Admit at once
//!    +---> Attach (a pid) --> Attached --> Resume --> recovered messages, Admitted --> `40`
//!                 \-> AttachRefused --> Open
//! ```

use std::sync::Arc;

use bytes::Bytes;
use hub::{Admit, Command, Millis, Open, Part, Reason, SessionId, SessionKey, Tag};
use wire::socketio::Refusal;
use wire::values::JsonText;

use super::SocketIo;
use super::ending::Told;
use super::engine::{NONE, Queued};
use super::held::{Looked, Shown, known};
use super::migrate::Ask;
use super::namespaces::NamespaceKey;
use super::recovery::Wish;
use super::sid::ShownPid;
use super::socket::{Offsets, Socket, Stage, Variant};
use crate::auth::Grant;
use crate::config::AuthMode;
use crate::mail::{Admission, Handshake, Hello, Upcall, Wanted};
use crate::shard::Cx;

/// A connection that waits for the back end is closed up to this part of `connect_timeout_ms` later than it says.
const JITTER_PART: u64 = 8;

impl SocketIo {
    /// A client asks for a namespace.
    pub(super) fn connect(&mut self, cx: &mut Cx<'_>, slot: u32, name: &str, auth: Option<JsonText>) {
        if self.socket_in(slot, name).is_some() {
            return self.close_engine(cx, slot, Reason::Misbehaved, Told::Close);
        }
        let Some(engine) = self.engine(slot) else { return };
        if usize::from(engine.socket_count) >= self.config.limits.namespaces_per_connection_max {
            let refusal = Refusal::Denied { message: "Too many namespaces", data: None };
            return self.refuse(cx, slot, name, &refusal);
        }
        let Some(namespace) = self.namespaces.enter(name, &self.config) else {
            return self.refuse(cx, slot, name, &Refusal::InvalidNamespace);
        };
        let Looked::On(grant) = self.look_at_token(cx, slot, (name, auth.as_ref())) else {
            return self.namespaces.leave(namespace);
        };
        let wish = self.wish(slot, namespace, auth.as_ref());
        let shown = Shown { auth, grant };
        match wish {
            Wish::Here(session, _) if !self.may_go_on(cx, &shown, session) => {
                let Some(tag) = self.add_socket(cx, slot, namespace, Offsets::Appended) else { return };
                self.connecting.insert(tag, shown);
                self.ask_hub(cx, tag);
            }
            Wish::Elsewhere(shard) if self.may_migrate(slot) => {
                self.namespaces.leave(namespace);
                self.migrate(cx, slot, shard, Ask { namespace: name.into(), auth: shown.auth });
            }
            Wish::Here(session, after) => {
                let Some(tag) = self.add_socket(cx, slot, namespace, Offsets::Appended) else { return };
                self.connecting.insert(tag, shown);
                self.attach(cx, tag, session, after);
            }
            Wish::Recoverable | Wish::Elsewhere(_) => {
                let Some(tag) = self.add_socket(cx, slot, namespace, Offsets::Appended) else { return };
                self.connecting.insert(tag, shown);
                self.ask_hub(cx, tag);
            }
            Wish::None => {
                let Some(tag) = self.add_socket(cx, slot, namespace, Offsets::Absent) else { return };
                self.connecting.insert(tag, shown);
                self.ask_hub(cx, tag);
            }
        }
    }

    /// Asks the hub for a session for a socket.
    pub(super) fn ask_hub(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.socket(tag) else { return };
        let recover = socket.variant.offsets == Offsets::Appended;
        let random = cx.io.random();
        self.apply(cx, Command::Open(Open { tag: Tag(tag), random, recover, part: Part::Client }));
    }

    /// Tells a client that it may not join.
    pub(super) fn refuse(&mut self, cx: &mut Cx<'_>, slot: u32, name: &str, refusal: &Refusal<'_>) {
        let Some(engine) = self.engine(slot) else { return };
        let packet = engine.decoder.codec().refused(name, refusal);
        self.send_own(cx, slot, Queued::Message(packet));
    }

    /// A socket at the head of its engine's list. The namespace was entered for it.
    fn add_socket(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        namespace: NamespaceKey,
        offsets: Offsets,
    ) -> Option<u32> {
        let timeout_ms = self.config.socketio.connect_timeout_ms;
        let by = Millis(cx.io.now().0 + timeout_ms);
        let engine = self.engines.get_mut(slot as usize)?;
        let jitter_ms = engine.secret.spread() % (timeout_ms / JITTER_PART).max(1);
        let socket = Socket {
            conn: engine.websocket(),
            variant: Variant { namespace, codec: engine.decoder.codec(), offsets },
            engine: slot,
            next: engine.first_socket,
            session: SessionKey(NONE),
            id: SessionId([0; 15]),
            stage: Stage::Opening,
            held: false,
            requests: None,
        };
        let tag = u32::try_from(self.sockets.insert(socket)).expect("fewer sockets than 32 bits count");
        engine.first_socket = tag;
        engine.socket_count += 1;
        if !engine.joined && engine.socket_count == 1 {
            // The back end is being asked: clients that wait for the same slow back end are not closed at once.
            engine.join_by = engine.join_by.map(|by| Millis(by.0 + jitter_ms));
        }
        engine.join_by = engine.join_by.or(Some(by));
        self.arm(cx, slot);
        Some(tag)
    }

    /// The hub made a session: the back end is asked, unless everybody may come in.
    pub(super) fn opened(&mut self, cx: &mut Cx<'_>, tag: u32, session: SessionKey, id: SessionId) {
        let Shown { auth, grant } = self.connecting.remove(&tag).unwrap_or_default();
        let Some(socket) = self.socket_mut(tag) else { return };
        socket.session = session;
        socket.id = id;
        socket.stage = Stage::Asking;
        let (slot, namespace) = (socket.engine, socket.variant.namespace);
        self.remember_tag(id, tag);
        if slot == NONE {
            // The connection went away before the hub answered.
            return self.apply(cx, Command::End { session, reason: Reason::NeverAdmitted });
        }
        let known = known(grant.as_deref());
        self.hold_grant(cx, tag, grant);
        if self.config.auth.mode != AuthMode::BackEnd && !self.config.ask_always {
            return self.admit(cx, tag, Admission::default());
        }
        let namespace = Arc::clone(&self.namespaces.known(namespace).name);
        let (handshake, auth) = (self.handshake_of(cx, slot), auth.map(|auth| self.credentials(&auth)));
        let hello = Hello::SocketIo { namespace, auth };
        cx.io.upcall(Upcall::Connect { session: id, hello, known, handshake });
    }

    /// The hub is full: the transport closes, so that the client comes back later.
    pub(super) fn open_refused(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.remove_socket(tag) else { return };
        self.close_engine(cx, socket.engine, Reason::OverLimit, Told::Close);
    }

    /// The back end (or the configuration) says yes.
    pub(super) fn admit(&mut self, cx: &mut Cx<'_>, tag: u32, admission: Admission) {
        let is_asking = |socket: &&Socket| socket.stage == Stage::Asking;
        if self.socket(tag).filter(is_asking).is_none() {
            return;
        }
        self.hold_said(cx, tag, &admission.grant);
        if admission.recovery == Wanted::Never {
            self.forgo_recovery(cx, tag);
        }
        let Some(socket) = self.socket(tag) else { return };
        let session = socket.session;
        let keepsake = if self.is_bound(tag) { Bytes::new() } else { self.keepsake(socket) };
        let channel = self.namespaces.known(socket.variant.namespace).channel.as_str().to_owned();
        let Grant { user, info, mut subscriptions, .. } = self.with_grant(tag, admission.grant);
        if !subscriptions.contains(&channel) {
            subscriptions.push(channel);
        }
        self.apply(cx, Command::Admit(Admit { session, user, info, subscriptions, keepsake }));
        self.resume(cx, tag);
    }

    /// The client asked for a session that it may come back to, and gets one that it may not.
    fn forgo_recovery(&mut self, cx: &mut Cx<'_>, tag: u32) {
        let Some(socket) = self.socket_mut(tag) else { return };
        socket.variant.offsets = Offsets::Absent;
        let session = socket.session;
        self.apply(cx, Command::Forgo(session));
    }

    /// The back end says no, for good.
    pub(super) fn denied(&mut self, cx: &mut Cx<'_>, tag: u32, message: &str, data: Option<&Bytes>) {
        let Some(socket) = self.socket(tag).filter(|socket| socket.stage == Stage::Asking) else { return };
        let (slot, name) = (socket.engine, Arc::clone(&self.namespaces.known(socket.variant.namespace).name));
        let data = data.and_then(|data| {
            let text = std::str::from_utf8(data).ok()?;
            JsonText::parse(text, &self.limits.values).ok()
        });
        self.refuse(cx, slot, &name, &Refusal::Denied { message, data: data.as_ref() });
        self.end_session(cx, tag, Reason::Refused);
    }

    /// The session's turn has come: `40`, and from here its messages.
    pub(super) fn admitted(&mut self, cx: &mut Cx<'_>, tag: u32, entry: Entry) {
        let Some(socket) = self.socket_mut(tag) else { return };
        socket.stage = Stage::Joined;
        let (slot, id, variant) = (socket.engine, socket.id, socket.variant);
        let name = Arc::clone(&self.namespaces.known(variant.namespace).name);
        let pid = (variant.offsets == Offsets::Appended).then(|| self.pid(id));
        let packet = variant.codec.connected(&name, &id.to_string(), pid.as_deref());
        self.send_own(cx, slot, Queued::Message(packet));
        self.joined_once(cx, slot);
        self.joining_over(slot);
        if entry == Entry::Recovered {
            let user = cx.hub.hub.user_of(&id);
            cx.io.upcall(Upcall::Recovered { session: id, namespace: name, user });
        }
    }

    /// From the first namespace on, what a client sends may be as large as it was told.
    fn joined_once(&mut self, cx: &mut Cx<'_>, slot: u32) {
        let Some(engine) = self.engines.get_mut(slot as usize).filter(|engine| !engine.joined) else {
            return;
        };
        self.unjoined -= usize::from(engine.is_unjoined());
        engine.joined = true;
        if let Some(conn) = engine.websocket() {
            cx.io.limit_messages(conn, self.message_bytes_max(slot));
        }
    }

    /// Unsets the engine's joining deadline when a namespace was joined and no other is being asked for.
    pub(super) fn joining_over(&mut self, slot: u32) {
        let joined = |&tag: &u32| self.socket(tag).is_none_or(|socket| socket.stage == Stage::Joined);
        let all_joined = self.tags_of_engine(slot).iter().all(joined);
        if let Some(engine) = self.engine_mut(slot)
            && all_joined
            && engine.joined
        {
            engine.join_by = None;
        }
    }

    /// Facts of the first request; made anew where nothing but the address was worth keeping.
    fn handshake_of(&self, cx: &Cx<'_>, slot: u32) -> Arc<Handshake> {
        let Some(engine) = self.engine(slot) else { return Arc::default() };
        if let Some(handshake) = &engine.handshake {
            return Arc::clone(handshake);
        }
        let Some(conn) = self.connection_of(slot) else { return Arc::default() };
        let (remote, secure) = (cx.io.peer_addr(conn), cx.io.is_secure(conn));
        Arc::new(Handshake { remote, secure, ..Handshake::default() })
    }

    fn remember_tag(&mut self, id: SessionId, tag: u32) {
        let slot = id.slot() as usize;
        if slot >= self.tags.len() {
            self.tags.resize(slot + 1, NONE);
        }
        if let Some(entry) = self.tags.get_mut(slot) {
            *entry = tag;
        }
    }

    /// As [`Self::remember_tag`], for a session that came back.
    pub(super) fn reattach(&mut self, cx: &mut Cx<'_>, tag: u32, session: SessionKey, id: SessionId) {
        let shown = self.connecting.remove(&tag).unwrap_or_default();
        self.hold_grant(cx, tag, shown.grant);
        if let Some(socket) = self.socket_mut(tag) {
            socket.session = session;
            socket.id = id;
            socket.stage = Stage::Asking;
        }
        self.remember_tag(id, tag);
    }
}

/// How a session comes to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is new.
    New,
    /// It goes on with nothing missing.
    Recovered,
}

impl SocketIo {
    /// The credentials without what recovery put among them: the pid is a secret between the client and us.
    fn credentials(&self, auth: &JsonText) -> Bytes {
        if !auth.as_str().contains("\"pid\"") {
            return auth.bytes().clone();
        }
        let is_ours = |pid: &str| ShownPid::parse(pid).is_some_and(|shown| self.is_genuine(&shown));
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(auth.as_str()) {
            Ok(mut object) if object.get("pid").and_then(serde_json::Value::as_str).is_some_and(is_ours) => {
                object.remove("pid");
                object.remove("offset");
                Bytes::from(serde_json::Value::Object(object).to_string())
            }
            _ => auth.bytes().clone(),
        }
    }
}
