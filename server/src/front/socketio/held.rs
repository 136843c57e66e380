//! What the tokens of sockets say, or the back end said of them, while they are connected.
//!
//! Owns where a token of this protocol is: `auth.token` of CONNECT, else what came with the connection's first request. Must
//! not know how a token is read ([`crate::auth`]). Start at [`SocketIo::look_at_token`].

use std::sync::Arc;

use hub::{Millis, Reason, SessionId, SessionKey};
use wire::socketio::Refusal;
use wire::values::JsonText;

use super::SocketIo;
use super::ending::Told;
use crate::auth::{Action, Asker, Grant, May, Permissions, Verdict, unix_now};
use crate::config::AuthMode;
use crate::front::ends_at;
use crate::front::facts::TOKEN_HEADER;
use crate::mail::Known;
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
#[derive(Debug)]
pub(super) struct Held {
    permissions: Option<Arc<Permissions>>,
    /// When its transport is closed, so that the client comes back with another token.
    until: Option<Millis>,
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
        let (until, permissions) = (ends_at(cx, &grant), grant.permissions.clone());
        self.keep_held(cx, tag, Held { permissions, until, grant: Some(grant) });
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
        let until = self.bound.get(&SessionKey(session.slot())).and_then(|held| held.until);
        let is_over = until.is_some_and(|until| until <= now);
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

    /// When the first of the tokens of an engine session is over.
    pub(super) fn tokens_end(&self, slot: u32) -> Option<Millis> {
        if self.held.is_empty() {
            return None;
        }
        let held = |tag: u32| self.held.get(&tag).and_then(|held| held.until);
        self.tags_of_engine(slot).into_iter().filter_map(held).min()
    }

    /// Whether a socket may publish to the channel of its namespace.
    pub(super) fn may_publish(&self, cx: &Cx<'_>, tag: u32, channel: &str) -> May {
        if self.gate.is_open() && !self.held.contains_key(&tag) {
            return May::Yes;
        }
        let Some(socket) = self.socket(tag) else { return May::No };
        let user = cx.hub.hub.user_of(&socket.id);
        let permissions = self.held.get(&tag).and_then(|held| held.permissions.as_deref());
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
