//! Clients that want to connect: the back end is asked who they are, and its answer lets them in, or not.
//!
//! Owns what a yes says of a session. Must not know how a protocol tells its clients. Start at [`Teller::connect`].
//!
//! A session of MQTT is there only once its client is let in. So what the back end said with its yes travels with it, and comes
//! back with the session ([`Teller::claimed`]); nothing is kept of clients that never come so far.

use std::sync::Arc;

use bytes::Bytes;
use hub::{Command, Members, SessionId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::actions::{Actions, first_level};
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::lives::Life;
use super::reply::{self, DisconnectReply, StateChange, Verdict};
use super::rows::Link;
use super::teller::{Checked, News, REFUSED, Teller, note};
use super::telling::{Coming, connect_data, connected_data};
use crate::auth::{Grant, PermissionEntry, Permissions};
use crate::back::checked::check_identity;
use crate::back::moment::Moment;
use crate::config::{AuthMode, ConnectWithoutAnswer, WebhookType};
use crate::mail::{Admission, Denial, Handshake, Hello, Known, Luggage, Mail, Speaks, Wanted};
use crate::objects;

/// Bytes of a user's id.
const USER_BYTES_MAX: usize = 1024;

/// User properties of MQTT, and bytes of all of them.
const USER_PROPERTIES_MAX: usize = 64;
const USER_PROPERTIES_BYTES_MAX: usize = 16_384;

/// A client that asks to connect.
pub(super) struct Connecting {
    pub(super) session: SessionId,
    pub(super) hello: Hello,
    pub(super) known: Known,
    pub(super) handshake: Arc<Handshake>,
}

/// A client under a name of its own that has a session.
pub(super) struct Claimed {
    pub(super) session: SessionId,
    pub(super) number: u64,
    pub(super) client_id: Arc<str>,
    pub(super) resumed: bool,
    pub(super) known: Known,
    pub(super) luggage: Option<Box<Luggage>>,
    pub(super) remote: Option<std::net::SocketAddr>,
}

/// What a session that is let in begins with.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Welcome {
    user: Option<String>,
    info: Option<serde_json::Value>,
    subscriptions: Vec<String>,
    permissions: Option<Vec<PermissionEntry>>,
    expires_at: Option<Moment>,
    csr: Option<bool>,
    mqtt: Option<OfMqtt>,
}

/// What is for clients of MQTT alone.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OfMqtt {
    user_properties: Vec<(Box<str>, Box<str>)>,
}

/// A yes that can be done.
#[derive(Default)]
struct Yes {
    admission: Admission,
    actions: Actions,
    /// As they are written.
    written: Vec<Box<RawValue>>,
    state: Option<Option<Box<str>>>,
}

impl Connecting {
    fn speaks(&self) -> Speaks {
        match &self.hello {
            Hello::SocketIo { namespace, .. } => Speaks::SocketIo(Arc::clone(namespace)),
            Hello::Mqtt(hello) => Speaks::Mqtt(Arc::clone(&hello.client_id)),
            Hello::Stream(hello) => Speaks::Stream(hello.protocol),
        }
    }

    /// Whether its session is there already.
    fn has_session(&self) -> bool {
        match &self.hello {
            Hello::SocketIo { .. } | Hello::Stream(_) => true,
            Hello::Mqtt(_) => false,
        }
    }

    fn life(&self) -> Life {
        let Known { user, state } = self.known.clone();
        Life { user, state: state.map(Arc::from), ..Life::new(self.speaks()) }
    }
}

impl Teller {
    pub(super) async fn connect(&self, connecting: Connecting) {
        let session = connecting.session;
        let asks = self.desk.config().auth.mode == AuthMode::BackEnd;
        if connecting.has_session() {
            self.lives.begin(session, connecting.life());
        }
        if !asks {
            return self.let_in(&connecting, Yes::default()).await;
        }
        let Some(endpoint) = self.endpoint(WebhookType::SessionConnect, &connecting.speaks()) else {
            // Nobody says who may come in there.
            self.lives.end(session);
            return self.refuse(session, Denial::Forbidden, (REFUSED, None)).await;
        };
        let (checked, yes) = match self.verdict_on(endpoint, &connecting).await {
            Ok(verdict) => verdict,
            Err(failure) => {
                note(endpoint, WebhookType::SessionConnect, &failure);
                return match endpoint.config.connect_without_answer {
                    ConnectWithoutAnswer::Retry => {
                        self.lives.end(session);
                        self.close(session).await;
                    }
                    ConnectWithoutAnswer::Allow => self.let_in(&connecting, Yes::default()).await,
                };
            }
        };
        match checked {
            Verdict::Result(_) => self.let_in(&connecting, yes).await,
            Verdict::Error(error) => self.error(session, error).await,
            Verdict::Disconnect(disconnect) => self.turn_away(session, &disconnect).await,
        }
    }

    async fn turn_away(&self, session: SessionId, disconnect: &DisconnectReply) {
        self.lives.end(session);
        if disconnect.comes_back() {
            return self.close(session).await;
        }
        let reason = if disconnect.reason.is_empty() { REFUSED } else { &disconnect.reason };
        self.refuse(session, Denial::Forbidden, (reason, None)).await;
    }

    async fn verdict_on(
        &self,
        endpoint: &Arc<Endpoint>,
        connecting: &Connecting,
    ) -> Result<(Verdict, Yes), Failure> {
        let session = connecting.session;
        let data = connect_data(&connecting.hello, &connecting.handshake, endpoint.config.send_passwords);
        let event = (WebhookType::SessionConnect, None, &*data);
        let checked = match connecting.has_session() {
            true => self.ask(endpoint, session, event).await?,
            false => self.ask_of_nobody(endpoint, (session, &connecting.life()), event).await?,
        };
        let Checked { verdict, actions, written, state } = checked;
        let admission = match &verdict {
            Verdict::Result(Some(result)) => self.admission(result).map_err(Failure::Garbage)?,
            _ => Admission::default(),
        };
        let state = match state {
            StateChange::Keep => None,
            StateChange::Put(state) => Some(state),
        };
        Ok((verdict, Yes { admission, actions, written, state }))
    }

    /// What the result of a connect says; `null` says nothing.
    fn admission(&self, result: &RawValue) -> Result<Admission, String> {
        if !reply::is_object(result.get().as_bytes()) && result.get() != "null" {
            return Err("result must be an object".to_owned());
        }
        let written: Option<Welcome> =
            objects::from_slice(result.get().as_bytes()).map_err(|error| format!("result: {error}"))?;
        let Welcome { user, info, mut subscriptions, permissions, expires_at, csr, mqtt } =
            written.unwrap_or_default();
        if let Some(user) = &user {
            check_user(user).map_err(|text| format!("result.user {text}"))?;
        }
        for name in &mut subscriptions {
            let checked = match name.starts_with('$') {
                // To those of its own it listens anyway.
                true => Err(format!("channels of {} are reserved", first_level(name))),
                false => self.desk.checked_channel(name),
            };
            *name = checked.map_err(|error| format!("result.subscriptions: {error}"))?;
        }
        let permissions = permissions.map(Permissions::of_entries).transpose();
        let permissions = permissions.map_err(|error| format!("result.permissions: {error}"))?;
        let info: Option<Bytes> = info.filter(|info| !info.is_null()).map(|info| info.to_string().into());
        check_identity(user.as_deref(), info.as_deref(), &self.desk.config().limits)
            .map_err(|error| format!("result: {error}"))?;
        let grant = Grant {
            user: user.map(Arc::from),
            info,
            subscriptions,
            permissions: permissions.map(Arc::new),
            expires: expires_at.map(|at| at.checked("result.expires_at")).transpose()?,
            ..Grant::default()
        };
        let recovery = if csr == Some(false) { Wanted::Never } else { Wanted::AsAsked };
        let user_properties = mqtt.unwrap_or_default().user_properties;
        check_user_properties(&user_properties)?;
        Ok(Admission { grant, recovery, user_properties, luggage: None })
    }

    /// Lets a client in. What is to be done comes behind the answer to it.
    async fn let_in(&self, connecting: &Connecting, yes: Yes) {
        let (session, Yes { mut admission, actions, written, state }) = (connecting.session, yes);
        if !connecting.has_session() {
            admission.luggage = Some(Box::new(Luggage { state, actions: written }));
            return self.tell(session, Mail::Admit { session, admission: Box::new(admission) }).await;
        }
        self.lives.change(session, |life| {
            if let Some(state) = state {
                life.state = state.map(Arc::from);
            }
            if admission.grant.user.is_some() {
                life.user.clone_from(&admission.grant.user);
            }
            life.is_admitted = true;
        });
        if !self.connected(session, Coming::First, connecting.handshake.remote).await {
            // Nobody can be let in whom the back end might never hear of.
            return self.close(session).await;
        }
        self.tell(session, Mail::Admit { session, admission: Box::new(admission) }).await;
        self.run_behind(session, actions).await;
    }

    /// A client under a name of its own was let in. It is told so once it is safe that the back end will hear of it.
    pub(super) async fn claimed(&self, claimed: Claimed) {
        let Claimed { session, number, client_id, resumed, known, luggage, remote } = claimed;
        if self.lives.get(session).is_none() {
            self.lives.begin(session, Life::new(Speaks::Mqtt(client_id)));
        } else {
            self.lives.change(session, Life::resume);
        }
        let Luggage { state, actions } = luggage.map(|luggage| *luggage).unwrap_or_default();
        let state = state.or_else(|| known.state.map(Some));
        self.lives.change(session, |life| {
            life.is_admitted = true;
            life.user = known.user;
            if let Some(state) = state {
                life.state = state.map(Arc::from);
            }
        });
        let coming = if resumed { Coming::Resumed } else { Coming::First };
        if !self.connected(session, coming, remote).await {
            return self.close(session).await;
        }
        let (until_told, told) = oneshot::channel();
        self.tell(session, Mail::Greet { session, number, until_told }).await;
        // They were good before, and only the session that they are of is another.
        match Actions::check(&actions, session, &self.desk) {
            Ok(actions) if actions.is_empty() => {}
            Ok(actions) => {
                // Its session may have to be stored first. Nothing is sent: the other end goes.
                let _ = told.await;
                self.run_behind(session, actions).await;
            }
            Err(error) => tracing::warn!(%error, "what the back end wants done is not done"),
        }
    }

    /// Keeps and tells that a session has a connection; `true` once both are safe.
    pub(super) async fn connected(
        &self,
        session: SessionId,
        coming: Coming,
        remote: Option<std::net::SocketAddr>,
    ) -> bool {
        let data = connected_data(coming, remote);
        let news = News::new(WebhookType::SessionConnected, &data);
        let (is_kept, is_stored) =
            tokio::join!(self.keep(session, Link::Connected), self.put(session, &news));
        is_kept && is_stored
    }

    /// Does what is to be done behind the answer that is on its way to a session's home.
    async fn run_behind(&self, session: SessionId, actions: Actions) {
        if actions.is_empty() {
            return;
        }
        // Its home has let it in when this is answered.
        let query = hub::Query::Sessions { of: Some(Members::Session(session)), after: None, limit: 1 };
        let home = self.desk.office().home_of(session);
        if let Err(error) = self.desk.office().ask(home, |token| Command::Query { token, query }).await {
            tracing::debug!(%error, "a session that was let in is not there");
        }
        actions.run(&self.desk).await;
    }
}

/// Pairs as MQTT has them: text without U+0000, of at most 65,535 bytes each.
/// Checks the id of a user that a back end names.
///
/// # Errors
/// What it should be, as a predicate.
pub(crate) fn check_user(user: &str) -> Result<(), String> {
    match user.len() {
        1..=USER_BYTES_MAX => Ok(()),
        _ => Err(format!("must have 1 to {USER_BYTES_MAX} bytes")),
    }
}

fn check_user_properties(pairs: &[(Box<str>, Box<str>)]) -> Result<(), String> {
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if pairs.len() > USER_PROPERTIES_MAX || bytes > USER_PROPERTIES_BYTES_MAX {
        return Err(format!(
            "result.mqtt.user_properties must be at most {USER_PROPERTIES_MAX}, of {USER_PROPERTIES_BYTES_MAX} bytes"
        ));
    }
    let mut probe = wire::mqtt::PropertyBuf::new();
    let wrong = pairs.iter().find(|(name, value)| probe.push_user_property(name, value).is_err());
    match wrong {
        Some((name, _)) => {
            Err(format!("result.mqtt.user_properties: \"{}\" is no text of MQTT", name.escape_debug()))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_are_few_and_have_a_form() {
        let pair = |name: &str, value: &str| (Box::from(name), Box::from(value));
        assert!(check_user_properties(&[pair("a", "1"), pair("a", "")]).is_ok());
        assert!(check_user_properties(&[pair("a\0", "1")]).is_err());
        assert!(check_user_properties(&vec![pair("a", "1"); USER_PROPERTIES_MAX + 1]).is_err());
        assert!(check_user_properties(&[pair("a", &"x".repeat(USER_PROPERTIES_BYTES_MAX))]).is_err());
    }
}
