//! What becomes of each thing that a client does: who is told or asked, and what the answer means to the client.
//!
//! Owns the order within a session, by waiting for each answer, and the meaning of answers. Must not know HTTP. Start at
//! [`Teller::handle`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::{Body, Command, Members, Reason, SessionId};
use serde_json::json;
use serde_json::value::RawValue;
use wire::values::Values;

use super::actions::Actions;
use super::connecting::{Claimed, Connecting};
use super::deliver::Deliverer;
use super::endpoint::{Endpoint, Event, Urgency};
use super::failure::Failure;
use super::lives::{Life, Lives};
use super::reply::{self, DisconnectReply, ErrorReply, Reply, StateChange, Verdict};
use super::rows::Link;
use super::telling::{Coming, Telling, Told, Why, cause, disconnected_data, ended_data, event_parts, new_id};
use crate::back::checked::check_body;
use crate::back::office::OfficeError;
use crate::back::rest::Desk;
use crate::back::rows::Rows;
use crate::back::values::body_of;
use crate::config::{EventErrors, EventWithoutAnswer, Webhook, WebhookProtocol, WebhookType};
use crate::mail::{Denial, Mail, Speaks, Upcall};

/// What a client without a reason is told.
pub(super) const REFUSED: &str = "Forbidden";

/// Handles what clients do.
pub(super) struct Teller {
    pub(super) desk: Desk,
    /// In the order in which they are asked. Each is told, too.
    pub(super) webhooks: Vec<Arc<Deliverer>>,
    pub(super) lives: Arc<Lives>,
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

/// An answer of which everything was checked.
pub(super) struct Checked {
    pub(super) verdict: Verdict,
    pub(super) actions: Actions,
    /// The same as they are written.
    pub(super) written: Vec<Box<RawValue>>,
    pub(super) state: StateChange,
}

impl Teller {
    /// Does what follows from one thing that a client did; the next one of its session is handled after that.
    pub(super) async fn handle(self: Arc<Self>, upcall: Upcall) {
        match upcall {
            Upcall::Connect { session, hello, known, handshake } => {
                self.connect(Connecting { session, hello, known, handshake }).await;
            }
            Upcall::Claimed { session, number, client_id, resumed, known, luggage, remote } => {
                let claimed = Claimed { session, number, client_id, resumed, known, luggage, remote };
                self.claimed(claimed).await;
            }
            Upcall::Ask { session, number, question } => {
                self.ask_about(session, number, &question).await;
            }
            Upcall::Event { session, values, request: Some(request), .. } => {
                self.asked(session, &values, request).await;
            }
            Upcall::Event { session, values, request: None, .. } => self.told(session, &values).await,
            Upcall::Recovered { session, namespace, user } => {
                self.recovered(session, namespace, user).await;
            }
            Upcall::Reassigned { session, user, is_connected } => {
                let link = if is_connected { Link::Connected } else { Link::Lost };
                self.put_user(session, user, link);
            }
            Upcall::Refresh { session, expires, token_id } => {
                self.refresh(session, (expires, token_id.as_deref())).await;
            }
            Upcall::Disconnected { session, reason, text, resumable_ms, .. } => {
                let why = Why { reason: text, cause: cause(reason) };
                self.disconnected(session, &why, resumable_ms).await;
            }
            Upcall::Expired { session, reason, text, .. } => {
                self.ended(session, &Why { reason: text, cause: cause(reason) }).await;
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
    async fn recovered(&self, session: SessionId, namespace: Arc<str>, user: Option<Arc<str>>) {
        if self.lives.get(session).is_none() {
            let life = Life { is_admitted: true, user, ..Life::new(Speaks::SocketIo(namespace)) };
            self.lives.begin(session, life);
        }
        self.lives.change(session, Life::resume);
        // Its client has its answer already, so there is nobody to send away.
        self.connected(session, Coming::Recovered, None).await;
    }

    async fn disconnected(&self, session: SessionId, why: &Why, resumable_ms: Option<u64>) {
        let Some(life) = self.lives.get(session) else { return };
        if !life.is_admitted {
            return self.lives.end(session);
        }
        let data = disconnected_data(why, resumable_ms, Some(life.since.elapsed()));
        let is_stored = self.put(session, &News::new(WebhookType::SessionDisconnected, &data)).await;
        if resumable_ms.is_none() {
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
    pub(super) async fn keep(&self, session: SessionId, link: Link) -> bool {
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

    /// Tells one of them alone.
    async fn put_to(&self, webhook: &Arc<Deliverer>, session: SessionId, news: &News<'_>) -> bool {
        let mut told = self.tell_each(session, news).into_iter();
        match told.find(|(one, _)| Arc::ptr_eq(one, webhook)) {
            Some((_, told)) => webhook.outbox.put(session, &told).await,
            None => false,
        }
    }

    /// Tells all who want to know, without waiting until it is stored.
    async fn hand_in(&self, session: SessionId, news: &News<'_>) {
        for (webhook, told) in self.tell_each(session, news) {
            webhook.outbox.hand_in(session, &told).await;
        }
    }

    /// The event as each who wants to know is told.
    fn tell_each(&self, session: SessionId, news: &News<'_>) -> Vec<(&Arc<Deliverer>, Told)> {
        let News { kind, event, data, id } = news;
        let Some(speaks) = self.lives.get(session).map(|life| life.speaks) else { return Vec::new() };
        let takes = |webhook: &&Arc<Deliverer>| {
            let config = &webhook.endpoint.config;
            takes(config, *kind, &speaks) && event.is_none_or(|name| config.takes_event(name))
        };
        if !self.webhooks.iter().any(|webhook| takes(&webhook)) {
            return Vec::new();
        }
        let Some((life, place)) = self.lives.tell(session) else { return Vec::new() };
        let (id, time_ms) = id.clone().unwrap_or_else(new_id);
        let event = event.map(|name| (name, false));
        let telling = Telling {
            id: &id,
            time_ms,
            kind: *kind,
            session: Some((session, place)),
            life: &life,
            event,
            channel: None,
            data,
        };
        let tell = |webhook: &Arc<Deliverer>| {
            telling.tell(self.desk.config(), webhook.endpoint.config.type_prefix.as_str())
        };
        self.webhooks.iter().filter(takes).map(|webhook| (webhook, tell(webhook))).collect()
    }

    /// A client sent an event and waits for the answer.
    async fn asked(&self, session: SessionId, values: &Values, request: u64) {
        let Some((name, args)) = event_parts(values) else { return };
        let Some(speaks) = self.lives.get(session).map(|life| life.speaks) else { return };
        let takes = |webhook: &&Arc<Deliverer>| {
            let config = &webhook.endpoint.config;
            takes(config, WebhookType::SessionEvent, &speaks) && config.takes_event(&name)
        };
        let Some(webhook) = self.webhooks.iter().find(takes) else { return };
        let endpoint = &webhook.endpoint;
        let (id, event) = (new_id(), (WebhookType::SessionEvent, Some((&*name, true)), &*args));
        let checked = match self.ask_as(endpoint, session, event, &id).await {
            Ok(checked) => checked,
            Err(failure) => {
                note(endpoint, WebhookType::SessionEvent, &failure);
                // The same event as before: it may have been heard.
                let news =
                    News { event: Some(&name), id: Some(id), ..News::new(WebhookType::SessionEvent, &args) };
                return self.unanswered(webhook, session, &news, request).await;
            }
        };
        let Checked { verdict, actions, state, .. } = checked;
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
    async fn unanswered(&self, webhook: &Arc<Deliverer>, session: SessionId, news: &News<'_>, request: u64) {
        let is_acknowledged = match webhook.endpoint.config.event_without_answer {
            EventWithoutAnswer::Retry => false,
            EventWithoutAnswer::Allow => true,
            EventWithoutAnswer::Queue => self.put_to(webhook, session, news).await,
        };
        if is_acknowledged {
            self.answer(session, request, "[]").await;
        }
    }

    /// Asks the back end, and checks all of its answer.
    pub(super) async fn ask(
        &self,
        endpoint: &Arc<Endpoint>,
        session: SessionId,
        event: (WebhookType, Option<(&str, bool)>, &str),
    ) -> Result<Checked, Failure> {
        self.ask_as(endpoint, session, event, &new_id()).await
    }

    /// The same under this id, of that time.
    async fn ask_as(
        &self,
        endpoint: &Arc<Endpoint>,
        session: SessionId,
        (kind, event, data): (WebhookType, Option<(&str, bool)>, &str),
        (id, time_ms): &(String, u64),
    ) -> Result<Checked, Failure> {
        let (life, place) = self.lives.tell(session).ok_or(Failure::Stopped)?;
        let (time_ms, session_place, channel) = (*time_ms, Some((session, place)), None);
        let telling =
            Telling { id, time_ms, kind, session: session_place, life: &life, event, channel, data };
        let wait = Duration::from_millis(endpoint.config.timeout_ms);
        self.checked_answer(endpoint, session, &telling, wait).await
    }

    /// The same about a client that has no session yet; `own` stands for it in actions.
    pub(super) async fn ask_of_nobody(
        &self,
        endpoint: &Arc<Endpoint>,
        (own, life): (SessionId, &Life),
        (kind, event, data): (WebhookType, Option<(&str, bool)>, &str),
    ) -> Result<Checked, Failure> {
        let (id, time_ms) = new_id();
        let telling = Telling { id: &id, time_ms, kind, session: None, life, event, channel: None, data };
        let wait = Duration::from_millis(endpoint.config.timeout_ms);
        self.checked_answer(endpoint, own, &telling, wait).await
    }

    pub(super) async fn checked_answer(
        &self,
        endpoint: &Arc<Endpoint>,
        session: SessionId,
        telling: &Telling<'_>,
        wait: Duration,
    ) -> Result<Checked, Failure> {
        let told = telling.tell(self.desk.config(), endpoint.config.type_prefix.as_str());
        let event = Event { kind: Some(telling.kind), id: &told.id, body: told.body };
        let answer = endpoint.call(event, wait, Urgency::Blocking).await?;
        let Reply { verdict, actions: written, state } = reply::read(&answer)?;
        let mut actions = Actions::check(&written, session, &self.desk).map_err(Failure::Garbage)?;
        if telling.kind == WebhookType::SessionEvent
            && let Verdict::Result(Some(result)) = &verdict
        {
            let body =
                body_of(&arguments(Some(result))).map_err(|error| Failure::Garbage(error.to_string()))?;
            check_body(&body, &self.desk.config().limits)
                .map_err(|error| Failure::Garbage(error.to_string()))?;
        }
        // An action comes behind the answer, and so does what it says of the state.
        let state = actions.state.take().unwrap_or(state);
        Ok(Checked { verdict, actions, written, state })
    }

    pub(super) fn endpoint(&self, kind: WebhookType, speaks: &Speaks) -> Option<&Arc<Endpoint>> {
        let mut endpoints = self.webhooks.iter().map(|webhook| &webhook.endpoint);
        endpoints.find(|endpoint| takes(&endpoint.config, kind, speaks))
    }

    pub(super) fn is_told_of(&self, session: SessionId) -> bool {
        self.lives.get(session).is_some()
    }

    pub(super) fn put_state(&self, session: SessionId, state: StateChange) {
        if let StateChange::Put(state) = state {
            self.lives.change(session, |life| life.state = state.map(Arc::from));
            if let Some(life) = self.lives.get(session).filter(|life| life.is_admitted) {
                self.rows.put_quietly(session, &life, Link::Connected);
            }
        }
    }

    /// It is told with later events whose the session is.
    fn put_user(&self, session: SessionId, user: Option<Arc<str>>, link: Link) {
        self.lives.change(session, |life| life.user = user);
        if let Some(life) = self.lives.get(session).filter(|life| life.is_admitted) {
            self.rows.put_quietly(session, &life, link);
        }
    }

    /// A connect that was answered with an error.
    pub(super) async fn error(&self, session: SessionId, error: ErrorReply) {
        self.lives.end(session);
        if error.temporary {
            return self.close(session).await;
        }
        let ErrorReply { code, message, data, denial, .. } = error;
        let message = if message.is_empty() { REFUSED } else { &message };
        let told = (code.is_some() || data.is_some()).then(|| {
            let mut told = serde_json::Map::new();
            told.extend(code.map(|code| ("code".to_owned(), code)));
            told.extend(data.map(|data| ("data".to_owned(), data)));
            Bytes::from(serde_json::Value::Object(told).to_string())
        });
        self.refuse(session, denial, (message, told)).await;
    }

    pub(super) async fn refuse(
        &self,
        session: SessionId,
        denial: Denial,
        (message, data): (&str, Option<Bytes>),
    ) {
        self.tell(session, Mail::Refuse { session, denial, message: message.into(), data }).await;
    }

    /// The transport is closed: its client comes back by itself.
    pub(super) async fn close(&self, session: SessionId) {
        self.tell(session, Mail::Disconnect { session }).await;
    }

    pub(super) async fn disconnect(&self, session: SessionId, disconnect: &DisconnectReply) {
        let words = Some(&*disconnect.reason).filter(|reason| !reason.is_empty()).map(Arc::from);
        let reason = match disconnect.comes_back() {
            true if words.is_none() => return self.close(session).await,
            true => Reason::Disconnected,
            false => Reason::Kicked,
        };
        let of = Members::Session(session);
        match self.desk.office().end_members_saying(of, (reason, words)).await {
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

    pub(super) async fn tell(&self, session: SessionId, mail: Mail) {
        if let Err(error) = self.desk.office().tell_home(session, mail).await {
            tracing::warn!(%error, "a client does not get what the back end answered");
        }
    }
}

/// The arguments of an acknowledgement: a list, or its only value.
pub(super) fn arguments(result: Option<&RawValue>) -> String {
    match result.map(RawValue::get) {
        None => "[]".to_owned(),
        Some(list) if list.starts_with('[') => list.to_owned(),
        Some(value) => format!("[{value}]"),
    }
}

/// Whether a webhook takes such an event of a client that speaks so.
pub(super) fn takes(config: &Webhook, kind: WebhookType, speaks: &Speaks) -> bool {
    match speaks {
        Speaks::SocketIo(namespace) => config.takes(kind, WebhookProtocol::SocketIo, Some(namespace)),
        Speaks::Mqtt(_) => config.takes(kind, WebhookProtocol::Mqtt, None),
        Speaks::Stream(name) => {
            WebhookProtocol::of_stream(name).is_some_and(|protocol| config.takes(kind, protocol, None))
        }
    }
}

/// Somebody has to know when there is no answer; each time would be too often.
pub(super) fn note(endpoint: &Endpoint, kind: WebhookType, failure: &Failure) {
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
