//! What becomes of each thing that a client does: who is told or asked, and what the answer means to the client.
//!
//! Owns the order within a session, by waiting for each answer, and the meaning of answers. Must not know HTTP. Start at
//! [`Teller::handle`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::{Body, Command, Members, Reason, SessionId};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use wire::values::Values;

use super::actions::Actions;
use super::deliver::Deliverer;
use super::endpoint::{Endpoint, Urgency};
use super::failure::Failure;
use super::lives::{Life, Lives};
use super::reply::{self, DisconnectReply, ErrorReply, Reply, StateChange, Verdict};
use super::rows::{Link, Rows};
use super::telling::{
    Coming, Telling, Told, Why, cause, connect_data, connected_data, disconnected_data, ended_data,
    event_parts, new_id,
};
use crate::back::checked::check_body;
use crate::back::office::OfficeError;
use crate::back::rest::Desk;
use crate::back::values::body_of;
use crate::config::{AuthMode, ConnectWithoutAnswer, EventErrors, EventWithoutAnswer, WebhookType};
use crate::mail::{Handshake, Mail, Upcall};

/// What a client without a reason is told.
const REFUSED: &str = "Forbidden";

/// Bytes of a user's id.
const USER_BYTES_MAX: usize = 1024;

/// Handles what clients do.
pub(super) struct Teller {
    pub(super) desk: Desk,
    /// In the order in which they are asked. Each is told, too.
    pub(super) webhooks: Vec<Arc<Deliverer>>,
    pub(super) lives: Lives,
    pub(super) rows: Rows,
}

/// What a session did, for those who are told.
pub(super) struct News<'a> {
    pub(super) kind: WebhookType,
    /// The name of the event that a client sent.
    pub(super) event: Option<&'a str>,
    /// JSON.
    pub(super) data: &'a str,
    /// Its id and time, where they are not new.
    pub(super) id: Option<(String, u64)>,
}

impl<'a> News<'a> {
    pub(super) fn new(kind: WebhookType, data: &'a str) -> Self {
        Self { kind, event: None, data, id: None }
    }
}

/// A client that asks to connect.
struct Connecting {
    session: SessionId,
    namespace: Arc<str>,
    auth: Option<Bytes>,
    handshake: Arc<Handshake>,
}

/// What a session that is let in begins with.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Welcome {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    info: Option<serde_json::Value>,
    #[serde(default)]
    subscriptions: Vec<String>,
}

/// An answer of which everything was checked.
struct Checked {
    verdict: Verdict,
    actions: Actions,
    state: StateChange,
}

impl Teller {
    /// Does what follows from one thing that a client did; the next one of its session is handled after that.
    pub(super) async fn handle(self: Arc<Self>, upcall: Upcall) {
        match upcall {
            Upcall::Connect { session, namespace, auth, handshake } => {
                self.connect(Connecting { session, namespace, auth, handshake }).await;
            }
            Upcall::Event { session, namespace, values, request: Some(request) } => {
                self.asked((session, namespace), &values, request).await;
            }
            Upcall::Event { session, values, request: None, .. } => self.told(session, &values).await,
            Upcall::Recovered { session, namespace } => self.recovered(session, namespace).await,
            Upcall::Disconnected { session, reason, text, resumable, .. } => {
                let why = Why { reason: text, cause: cause(reason) };
                self.disconnected(session, &why, resumable).await;
            }
            Upcall::Expired { session, .. } => {
                let why = Why { reason: "recovery expired", cause: "expired" };
                self.ended(session, &why).await;
            }
        }
    }

    /// A client sent an event and waits for nothing.
    async fn told(&self, session: SessionId, values: &Values) {
        let Some((name, args)) = event_parts(values) else { return };
        let news = News { event: Some(&name), ..News::new(WebhookType::SessionEvent, &args) };
        self.hand_in(session, &news).await;
    }

    /// A session has a connection again. One of a state file may not be known here.
    async fn recovered(&self, session: SessionId, namespace: Arc<str>) {
        if self.lives.get(session).is_none() {
            self.lives.begin(session, Life { is_admitted: true, ..Life::new(namespace) });
        }
        self.lives.change(session, Life::resume);
        let data = connected_data(Coming::Recovered, None);
        self.keep(session, Link::Connected).await;
        self.put(session, &News::new(WebhookType::SessionConnected, &data)).await;
    }

    async fn disconnected(&self, session: SessionId, why: &Why, resumable: bool) {
        let Some(life) = self.lives.get(session) else { return };
        if !life.is_admitted {
            return self.lives.end(session);
        }
        let resumable_ms = resumable.then_some(self.desk.config().recovery.window_ms);
        let data = disconnected_data(why, resumable_ms, Some(life.since.elapsed()));
        let is_stored = self.put(session, &News::new(WebhookType::SessionDisconnected, &data)).await;
        if !resumable {
            return self.ended(session, why).await;
        }
        if is_stored {
            self.keep(session, Link::Lost).await;
        }
    }

    async fn ended(&self, session: SessionId, why: &Why) {
        if self.lives.get(session).is_none() {
            return;
        }
        let is_stored = self.put(session, &News::new(WebhookType::SessionEnded, &ended_data(why))).await;
        if is_stored {
            // What is not stored is told by the next process, which finds the row.
            self.rows.forget(session);
        }
        self.lives.end(session);
    }

    /// What outlives the process is safe when this is over, or the store is in trouble.
    async fn keep(&self, session: SessionId, link: Link) -> bool {
        match self.lives.get(session) {
            Some(life) => self.rows.put(session, &life, link).await,
            None => true,
        }
    }

    /// Tells all who want to know; `true` once it is stored for each.
    pub(super) async fn put(&self, session: SessionId, news: &News<'_>) -> bool {
        let mut is_stored = true;
        for (webhook, told) in self.tell_each(session, news) {
            is_stored &= webhook.outbox.put(session, &told).await;
        }
        is_stored
    }

    /// The same without waiting until it is stored.
    async fn hand_in(&self, session: SessionId, news: &News<'_>) {
        for (webhook, told) in self.tell_each(session, news) {
            webhook.outbox.hand_in(session, &told).await;
        }
    }

    /// The event as each who wants to know is told.
    fn tell_each(&self, session: SessionId, news: &News<'_>) -> Vec<(&Arc<Deliverer>, Told)> {
        let News { kind, event, data, id } = news;
        let Some(namespace) = self.lives.get(session).map(|life| life.namespace) else { return Vec::new() };
        let takes = |webhook: &&Arc<Deliverer>| {
            let config = &webhook.endpoint.config;
            config.takes(*kind, &namespace) && event.is_none_or(|name| config.takes_event(name))
        };
        if !self.webhooks.iter().any(|webhook| takes(&webhook)) {
            return Vec::new();
        }
        let Some((life, place)) = self.lives.tell(session) else { return Vec::new() };
        let (id, time_ms) = id.clone().unwrap_or_else(new_id);
        let event = event.map(|name| (name, false));
        let telling = Telling { id: &id, time_ms, kind: *kind, session, life: &life, place, event, data };
        let tell = |webhook: &Arc<Deliverer>| {
            telling.tell(self.desk.config(), webhook.endpoint.config.type_prefix.as_str())
        };
        self.webhooks.iter().filter(takes).map(|webhook| (webhook, tell(webhook))).collect()
    }

    async fn connect(&self, connecting: Connecting) {
        let Connecting { session, namespace, .. } = &connecting;
        let asked = (self.desk.config().auth.mode == AuthMode::BackEnd)
            .then(|| self.endpoint(WebhookType::SessionConnect, namespace))
            .flatten();
        self.lives.begin(*session, Life::new(Arc::clone(namespace)));
        let Some(endpoint) = asked else {
            if self.desk.config().auth.mode == AuthMode::BackEnd {
                // Nobody says who may come in there.
                self.lives.end(*session);
                return self.refuse(*session, REFUSED, None).await;
            }
            return self.admit(&connecting, Welcome::default(), Actions::default()).await;
        };
        match self.verdict_on(endpoint, &connecting).await {
            Ok((Checked { verdict: Verdict::Result(_), actions, state }, welcome)) => {
                self.put_state(*session, state);
                self.admit(&connecting, welcome, actions).await;
            }
            Ok((Checked { verdict: Verdict::Error(error), .. }, _)) => self.error(*session, error).await,
            Ok((Checked { verdict: Verdict::Disconnect(disconnect), .. }, _)) => {
                self.lives.end(*session);
                if disconnect.comes_back() {
                    self.close(*session).await;
                } else {
                    let reason = if disconnect.reason.is_empty() { REFUSED } else { &disconnect.reason };
                    self.refuse(*session, reason, None).await;
                }
            }
            Err(failure) => {
                note(endpoint, WebhookType::SessionConnect, &failure);
                match endpoint.config.connect_without_answer {
                    ConnectWithoutAnswer::Retry => {
                        self.lives.end(*session);
                        self.close(*session).await;
                    }
                    ConnectWithoutAnswer::Allow => {
                        self.admit(&connecting, Welcome::default(), Actions::default()).await;
                    }
                }
            }
        }
    }

    async fn verdict_on(
        &self,
        endpoint: &Arc<Endpoint>,
        connecting: &Connecting,
    ) -> Result<(Checked, Welcome), Failure> {
        let Connecting { session, namespace, auth, handshake } = connecting;
        let data = connect_data(namespace, auth.as_ref(), handshake);
        let checked = self.ask(endpoint, *session, (WebhookType::SessionConnect, None, &data)).await?;
        let welcome = match &checked.verdict {
            Verdict::Result(Some(result)) => self.welcome(result).map_err(Failure::Garbage)?,
            _ => Welcome::default(),
        };
        Ok((checked, welcome))
    }

    /// What the result of a connect says; `null` says nothing.
    fn welcome(&self, result: &RawValue) -> Result<Welcome, String> {
        if !reply::is_object(result.get().as_bytes()) && result.get() != "null" {
            return Err("result must be an object".to_owned());
        }
        let written: Option<Welcome> =
            serde_json::from_str(result.get()).map_err(|error| format!("result: {error}"))?;
        let mut welcome = written.unwrap_or_default();
        if welcome.user.as_ref().is_some_and(|user| user.is_empty() || user.len() > USER_BYTES_MAX) {
            return Err(format!("result.user must have 1 to {USER_BYTES_MAX} bytes"));
        }
        for name in &mut welcome.subscriptions {
            let checked = match name.starts_with('$') {
                // To those of its own it listens anyway.
                true => Err(format!("{name} is reserved")),
                false => self.desk.checked_channel(name),
            };
            *name = checked.map_err(|error| format!("result.subscriptions: {error}"))?;
        }
        Ok(welcome)
    }

    /// Lets a session in, once it is safe that the back end will hear of it. What is to be done comes behind the answer to its
    /// client.
    async fn admit(&self, connecting: &Connecting, welcome: Welcome, actions: Actions) {
        let (session, Welcome { user, info, subscriptions }) = (connecting.session, welcome);
        let user: Option<Arc<str>> = user.map(Arc::from);
        self.lives.change(session, |life| {
            life.user.clone_from(&user);
            life.is_admitted = true;
        });
        let data = connected_data(Coming::First, connecting.handshake.remote);
        let news = News::new(WebhookType::SessionConnected, &data);
        let (is_kept, is_stored) =
            tokio::join!(self.keep(session, Link::Connected), self.put(session, &news));
        if !is_kept || !is_stored {
            // Nobody can be let in whom the back end might never hear of.
            return self.close(session).await;
        }
        let info = info.filter(|info| !info.is_null()).map(|info| Bytes::from(info.to_string()));
        self.tell(session, Mail::Admit { session, user, info, subscriptions }).await;
        if !actions.is_empty() {
            // Its home has let it in when this is answered.
            let query = hub::Query::Sessions { of: Some(Members::Session(session)), after: None, limit: 1 };
            let home = self.desk.office().home_of(session);
            if let Err(error) = self.desk.office().ask(home, |token| Command::Query { token, query }).await {
                tracing::debug!(%error, "a session that was let in is not there");
            }
            actions.run(&self.desk).await;
        }
    }

    /// A client sent an event and waits for the answer.
    async fn asked(&self, (session, namespace): (SessionId, Arc<str>), values: &Values, request: u64) {
        let Some((name, args)) = event_parts(values) else { return };
        let takes = |webhook: &&Arc<Deliverer>| {
            let config = &webhook.endpoint.config;
            config.takes(WebhookType::SessionEvent, &namespace) && config.takes_event(&name)
        };
        let Some(webhook) = self.webhooks.iter().find(takes) else { return };
        let endpoint = &webhook.endpoint;
        let event = (WebhookType::SessionEvent, Some((&*name, true)), &*args);
        let checked = match self.ask(endpoint, session, event).await {
            Ok(checked) => checked,
            Err(failure) => {
                note(endpoint, WebhookType::SessionEvent, &failure);
                return self.unanswered(webhook, session, (&*name, &*args, request)).await;
            }
        };
        let Checked { verdict, actions, state } = checked;
        self.put_state(session, state);
        match verdict {
            Verdict::Result(result) => self.answer(session, request, &arguments(result.as_deref())).await,
            Verdict::Error(error) if endpoint.config.event_errors == EventErrors::Ack => {
                let ErrorReply { code, message, data, .. } = error;
                let value = json!([{ "error": { "code": code, "message": message, "data": data } }]);
                self.answer(session, request, &value.to_string()).await;
            }
            Verdict::Error(_) => {}
            Verdict::Disconnect(disconnect) => {
                actions.run(&self.desk).await;
                return self.disconnect(session, &disconnect).await;
            }
        }
        actions.run(&self.desk).await;
    }

    /// An event with acknowledgement that the back end did not answer.
    async fn unanswered(
        &self,
        webhook: &Arc<Deliverer>,
        session: SessionId,
        (name, args, request): (&str, &str, u64),
    ) {
        let is_acknowledged = match webhook.endpoint.config.event_without_answer {
            EventWithoutAnswer::Retry => false,
            EventWithoutAnswer::Allow => true,
            EventWithoutAnswer::Queue => {
                let news = News { event: Some(name), ..News::new(WebhookType::SessionEvent, args) };
                self.put(session, &news).await
            }
        };
        if is_acknowledged {
            self.answer(session, request, "[]").await;
        }
    }

    /// Asks the back end, and checks all of its answer.
    async fn ask(
        &self,
        endpoint: &Arc<Endpoint>,
        session: SessionId,
        (kind, event, data): (WebhookType, Option<(&str, bool)>, &str),
    ) -> Result<Checked, Failure> {
        let (life, place) = self.lives.tell(session).ok_or(Failure::Stopped)?;
        let (id, time_ms) = new_id();
        let telling = Telling { id: &id, time_ms, kind, session, life: &life, place, event, data };
        let told = telling.tell(self.desk.config(), endpoint.config.type_prefix.as_str());
        let wait = Duration::from_millis(endpoint.config.timeout_ms);
        let answer = endpoint.call((&told.id, told.body), wait, Urgency::Blocking).await?;
        let Reply { verdict, actions, state } = reply::read(&answer)?;
        let mut actions = Actions::check(&actions, session, &self.desk).map_err(Failure::Garbage)?;
        if kind == WebhookType::SessionEvent
            && let Verdict::Result(Some(result)) = &verdict
        {
            let body =
                body_of(&arguments(Some(result))).map_err(|error| Failure::Garbage(error.to_string()))?;
            check_body(&body, &self.desk.config().limits)
                .map_err(|error| Failure::Garbage(error.to_string()))?;
        }
        // An action comes behind the answer, and so does what it says of the state.
        let state = actions.state.take().unwrap_or(state);
        Ok(Checked { verdict, actions, state })
    }

    fn endpoint(&self, kind: WebhookType, namespace: &str) -> Option<&Arc<Endpoint>> {
        let mut endpoints = self.webhooks.iter().map(|webhook| &webhook.endpoint);
        endpoints.find(|endpoint| endpoint.config.takes(kind, namespace))
    }

    fn put_state(&self, session: SessionId, state: StateChange) {
        if let StateChange::Put(state) = state {
            self.lives.change(session, |life| life.state = state.map(Arc::from));
            if let Some(life) = self.lives.get(session).filter(|life| life.is_admitted) {
                self.rows.put_quietly(session, &life, Link::Connected);
            }
        }
    }

    /// A connect that was answered with an error.
    async fn error(&self, session: SessionId, error: ErrorReply) {
        self.lives.end(session);
        if error.temporary {
            return self.close(session).await;
        }
        let ErrorReply { code, message, data, .. } = error;
        let message = if message.is_empty() { REFUSED } else { &message };
        let told = (code.is_some() || data.is_some()).then(|| {
            let mut told = serde_json::Map::new();
            told.extend(code.map(|code| ("code".to_owned(), code)));
            told.extend(data.map(|data| ("data".to_owned(), data)));
            Bytes::from(serde_json::Value::Object(told).to_string())
        });
        self.refuse(session, message, told).await;
    }

    async fn refuse(&self, session: SessionId, message: &str, data: Option<Bytes>) {
        self.tell(session, Mail::Refuse { session, message: message.into(), data }).await;
    }

    /// The transport is closed: its client comes back by itself.
    async fn close(&self, session: SessionId) {
        self.tell(session, Mail::Disconnect { session }).await;
    }

    async fn disconnect(&self, session: SessionId, disconnect: &DisconnectReply) {
        if disconnect.comes_back() {
            return self.close(session).await;
        }
        match self.desk.office().end_members(Members::Session(session), Reason::Kicked).await {
            Ok(_) | Err(OfficeError::Refused(_)) => {}
            Err(error) => tracing::warn!(%error, "a session that the back end ends goes on"),
        }
    }

    /// Acknowledges an event with these arguments, which were checked.
    async fn answer(&self, session: SessionId, request: u64, args: &str) {
        let Ok(body) = body_of(args) else { return };
        let body: Body = body;
        self.tell(session, Mail::Hub(Command::Answer { session, request, body })).await;
    }

    async fn tell(&self, session: SessionId, mail: Mail) {
        if let Err(error) = self.desk.office().tell_home(session, mail).await {
            tracing::warn!(%error, "a client does not get what the back end answered");
        }
    }
}

/// The arguments of an acknowledgement: a list, or its only value.
fn arguments(result: Option<&RawValue>) -> String {
    match result.map(RawValue::get) {
        None => "[]".to_owned(),
        Some(list) if list.starts_with('[') => list.to_owned(),
        Some(value) => format!("[{value}]"),
    }
}

/// Somebody has to know when there is no answer; each time would be too often.
fn note(endpoint: &Endpoint, kind: WebhookType, failure: &Failure) {
    let (webhook, kind) = (endpoint.config.name.as_str(), kind.as_str());
    tracing::debug!(webhook, kind, %failure, "the back end gave no answer");
    endpoint.failing(failure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_the_arguments_and_any_other_value_the_only_one() {
        let of = |text: &str| arguments(Some(&RawValue::from_string(text.to_owned()).unwrap()));
        assert_eq!(arguments(None), "[]");
        assert_eq!(of("[1,2]"), "[1,2]");
        assert_eq!(of("{\"a\":[1]}"), "[{\"a\":[1]}]");
        assert_eq!(of("null"), "[null]");
    }
}
