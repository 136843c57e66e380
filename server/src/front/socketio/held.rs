//! What the tokens of sockets say, or the back end said of them, while they are connected.
//!
//! Owns where a token of this protocol is: `auth.token` of CONNECT, else what came with the connection's first request. Must
//! not know how a token is read ([`crate::auth`]). Start at [`SocketIo::look_at_token`].

use std::sync::Arc;

use hub::{Command, Millis, Reason, SessionId, SessionKey};
use wire::socketio::Refusal;
use wire::values::JsonText;

use super::SocketIo;
use super::ending::Told;
use crate::auth::{Action, Asker, Grant, May, UnixMs, Verdict, unix_now};
use crate::config::AuthMode;
use crate::front::facts::TOKEN_HEADER;
use crate::front::rights::Rights;
use crate::mail::{Known, SessionChange};
use crate::shard::Cx;

/// What a client has shown that wants to join a namespace.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// For the back end.
    pub(super) auth: Option<JsonText>,
    pub(super) grant: Option<Box<Grant>>,
}

impl Shown {
    /// Whether it may be this user's; without tokens nobody says whose it is.
    pub(super) fn is_of(&self, user: Option<&str>) -> bool {
        self.grant.as_ref().is_none_or(|grant| grant.user.as_deref() == user)
    }
}

/// Of one socket whose client has shown a token, or of which the back end has said what it may.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// When they are over its transport is closed.
    rights: Rights,
    /// Until it is admitted.
    grant: Option<Box<Grant>>,
}

/// What became of a token.
pub(super) enum Looked {
    /// The client may go on; with what the token says, if tokens are asked for.
    On(Option<Box<Grant>>),
    /// It was told no, or its connection is closed.
    Over,
}

impl SocketIo {
    /// Looks at the token of a client that wants to join a namespace, and tells it what is wrong with it.
    pub(super) fn look_at_token(
        &mut self,
        cx: &mut Cx<'_>,
        slot: u32,
        (name, auth): (&str, Option<&JsonText>),
    ) -> Looked {
        if !self.gate.wants_tokens() {
            return Looked::On(None);
        }
        let own = auth.and_then(token_of);
        let kept = self.engine(slot).and_then(|engine| engine.handshake.clone());
        let kept = kept.as_ref().and_then(|kept| {
            let (_, value) = kept.headers.iter().find(|(header, _)| &**header == TOKEN_HEADER)?;
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        match self.gate.admit(own.as_deref().or(kept), unix_now()) {
            Verdict::Granted(grant) if cx.hub.bans.bar_user(cx.io.now(), grant.user.as_ref()) => {
                self.turn_down(cx, slot, name, ("blocked", 403));
                Looked::Over
            }
            Verdict::Granted(grant) if grant.has_namespace(name) => Looked::On(Some(grant)),
            Verdict::Granted(_) => {
                self.turn_down(cx, slot, name, ("the token is not for this namespace", 403));
                Looked::Over
            }
            Verdict::Refused(refusal) => {
                self.turn_down(cx, slot, name, (refusal.text(), 401));
                Looked::Over
            }
            // A refusal would be for good, and this is not.
            Verdict::Later(_) => {
                self.close_engine(cx, slot, Reason::NeverAdmitted, Told::Close);
                Looked::Over
            }
            // Of other modes.
            Verdict::Ask => Looked::On(None),
        }
    }

    fn turn_down(&mut self, cx: &mut Cx<'_>, slot: u32, name: &str, (message, status): (&str, u16)) {
        let data = JsonText::parse(&format!("{{\"status\":{status}}}"), &self.limits.values).ok();
        self.refuse(cx, slot, name, &Refusal::Denied { message, data: data.as_ref() });
    }

    /// Keeps what a socket's token says, from when it has a session.
    pub(super) fn hold_grant(&mut self, cx: &mut Cx<'_>, tag: u32, grant: Option<Box<Grant>>) {
        let Some(grant) = grant else { return };
        let rights = Rights::of(cx, &self.config, &grant);
        self.keep_held(cx, tag, Held { rights, grant: Some(grant) });
    }

    /// Keeps what the back end says that a socket may do, and until when.
    pub(super) fn hold_said(&mut self, cx: &mut Cx<'_>, tag: u32, said: &Grant) {
        if said.permissions.is_none() && said.expires.is_none() {
            return;
        }
        let permissions = said.permissions.clone().map(|permissions| self.gate.intern(permissions));
        let grant = Grant { permissions, expires: said.expires, ..Grant::default() };
        self.hold_grant(cx, tag, Some(Box::new(grant)));
    }

    /// What holds for a session while it has no connection: it comes back without being asked about.
    pub(super) fn bind_detached(&mut self, tag: u32, session: SessionKey) {
        if self.config.auth.mode == AuthMode::BackEnd
            && let Some(held) = self.held.remove(&tag)
        {
            self.bound.insert(session, held);
        }
    }

    /// The same once it has a connection again, whether or not it was known to have lost the one before.
    pub(super) fn bind_attached(
        &mut self,
        cx: &mut Cx<'_>,
        tag: u32,
        (session, displaced): (SessionKey, Option<u32>),
    ) {
        let displaced = displaced.filter(|_| self.config.auth.mode == AuthMode::BackEnd);
        let held = displaced.and_then(|old| self.held.remove(&old));
        if let Some(held) = self.bound.remove(&session).or(held) {
            self.keep_held(cx, tag, held);
        }
    }

    /// From now on a socket is closed when it is over.
    fn keep_held(&mut self, cx: &mut Cx<'_>, tag: u32, held: Held) {
        self.held.insert(tag, held);
        if let Some(slot) = self.socket(tag).map(|socket| socket.engine) {
            self.arm(cx, slot);
        }
    }

    /// Whether a client may come back to a session: it goes on for the user that it is of, unless that is kept out by now, and no
    /// longer than the back end has said. Whoever may not gets a new session, and is asked about.
    pub(super) fn may_go_on(&self, cx: &mut Cx<'_>, shown: &Shown, session: SessionId) -> bool {
        let (user, now) = (cx.hub.hub.user_of(&session), cx.io.now());
        let bound = self.bound.get(&SessionKey(session.slot()));
        let is_over = bound.is_some_and(|held| held.rights.are_over(now));
        !is_over && shown.is_of(user.as_deref()) && !cx.hub.bans.bar_user(now, user.as_ref())
    }

    /// Whether the back end has said of a session what it may do. Nobody else keeps that, so it does not outlive the process.
    pub(super) fn is_bound(&self, tag: u32) -> bool {
        self.config.auth.mode == AuthMode::BackEnd && self.held.contains_key(&tag)
    }

    /// What a token adds to what the back end says of a session, which comes first.
    pub(super) fn with_grant(&mut self, tag: u32, said: Grant) -> Grant {
        let grant = self.held.get_mut(&tag).and_then(|held| held.grant.take());
        let Some(grant) = grant else { return said };
        let Grant { user, info, mut subscriptions, .. } = said;
        subscriptions.extend(grant.subscriptions);
        Grant { user: user.or(grant.user), info: info.or(grant.info), subscriptions, ..Grant::default() }
    }

    /// When something is due for the rights of one of the sockets of an engine session.
    pub(super) fn rights_due(&self, slot: u32) -> Option<Millis> {
        if self.held.is_empty() {
            return None;
        }
        let held = |tag: u32| self.held.get(&tag).and_then(|held| held.rights.due_at());
        self.tags_of_engine(slot).into_iter().filter_map(held).min()
    }

    /// Whether the time of one of them is over.
    pub(super) fn rights_are_over(&self, slot: u32, now: Millis) -> bool {
        let is_over = |tag: &u32| self.held.get(tag).is_some_and(|held| held.rights.are_over(now));
        !self.held.is_empty() && self.tags_of_engine(slot).iter().any(is_over)
    }

    /// Asks the back end about the sockets of an engine session whose time is nearly over.
    pub(super) fn ask_ahead(&mut self, cx: &mut Cx<'_>, slot: u32) {
        if self.held.is_empty() {
            return;
        }
        for tag in self.tags_of_engine(slot) {
            let session = self.socket(tag).map(|socket| socket.id);
            if let Some((session, held)) = session.zip(self.held.get_mut(&tag)) {
                held.rights.ask(cx, session);
            }
        }
    }

    /// When a session's connection is closed.
    pub(super) fn expires(&self, cx: &Cx<'_>, session: SessionId) -> Option<UnixMs> {
        self.held.get(&self.tag_of(session)?)?.rights.expire(cx.io.now())
    }

    /// Changes what a socket may do, and until when; what is known of one that may come back without being asked about, too. Rooms are
    /// the back end's to give: it ends what it has given. `false`: it has no connection.
    pub(in crate::front) fn change(
        &mut self,
        cx: &mut Cx<'_>,
        session: SessionId,
        change: SessionChange,
    ) -> bool {
        let change = change.shared(|permissions| self.gate.intern(permissions));
        let config = Arc::clone(&self.config);
        let key = SessionKey(session.slot());
        if let Some(tag) = self.tag_of(session) {
            self.held.entry(tag).or_default().rights.change(cx, &config, change);
            if let Some(slot) = self.socket(tag).map(|socket| socket.engine) {
                self.arm(cx, slot);
            }
        } else if self.config.auth.mode == AuthMode::BackEnd
            && self.detached.get(&key).is_some_and(|(id, _)| *id == session)
        {
            self.bound.entry(key).or_default().rights.change(cx, &config, change);
        } else {
            return false;
        }
        if self.config.auth.mode == AuthMode::BackEnd {
            // A process that does not know what was said must not let it go on.
            self.apply(cx, Command::Forgo(key));
        }
        true
    }

    /// Ends the sessions that a token let in; how many.
    pub(in crate::front) fn revoke(&mut self, cx: &mut Cx<'_>, token_id: &str) -> u64 {
        let is_by_it = |(_, held): &(&u32, &Held)| held.rights.are_by(token_id);
        let tags: Vec<u32> = self.held.iter().filter(is_by_it).map(|(tag, _)| *tag).collect();
        for tag in &tags {
            self.end_session(cx, *tag, Reason::Revoked);
        }
        tags.len() as u64
    }

    /// Whether a socket may publish to the channel of its namespace.
    pub(super) fn may_publish(&self, cx: &Cx<'_>, tag: u32, channel: &str) -> May {
        if self.gate.is_open() && !self.held.contains_key(&tag) {
            return May::Yes;
        }
        let Some(socket) = self.socket(tag) else { return May::No };
        let user = cx.hub.hub.user_of(&socket.id);
        let permissions = self.held.get(&tag).and_then(|held| held.rights.permissions.as_deref());
        let asker = Asker { user: user.as_deref(), client: None, permissions };
        self.gate.weigh(asker, Action::Publish, channel)
    }
}

/// What a token says of its client to the back end.
pub(super) fn known(grant: Option<&Grant>) -> Known {
    grant.map(|grant| Known { user: grant.user.clone(), state: grant.state.clone() }).unwrap_or_default()
}

/// The member `token` of a CONNECT's credentials.
fn token_of(auth: &JsonText) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Auth {
        token: Option<String>,
    }
    serde_json::from_str::<Auth>(auth.as_str()).ok()?.token
}
