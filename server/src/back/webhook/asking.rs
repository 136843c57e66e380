//! What clients want to do with channels of which the back end says whether they may.
//!
//! Owns the events `channel.subscribe` and `channel.publish`, and what an answer to them says. Must not know what it means to a
//! protocol. Start at [`Teller::ask_about`].

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::{Body, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::Instant;
use wire::mqtt::{Forwarded, Qos};
use wire::socketio::is_reserved_event;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::lives::Life;
use super::reply::{self, ErrorReply, Verdict};
use super::teller::{Checked, REFUSED, Teller, arguments, note, takes};
use super::telling::{Telling, new_id, shown};
use crate::auth::covers;
use crate::back::checked::{check_body, is_event_name};
use crate::back::values::{body_of, text_of};
use crate::config::{ChannelWithoutAnswer, WebhookType};
use crate::mail::{Deed, Denial, Draft, Handshake, Mail, Question, Ruling, Terms, Wanted};
use crate::objects::{self, present};

/// Before an answer that is none is asked for again, if there is time.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(250)];

/// Bytes of an event's name.
const EVENT_BYTES_MAX: usize = 256;

/// The data of `channel.subscribe`.
#[derive(Serialize)]
struct Subscribing<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    history: u32,
}

/// The data of `channel.publish`. Of the content one of three is there.
#[derive(Serialize)]
struct Publishing<'a> {
    channel: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<u8>,
    retain: bool,
    will: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_topic: Option<&'a str>,
    user_properties: Vec<(&'a str, &'a str)>,
    #[serde(flatten)]
    request: Option<Requesting>,
}

/// Of a client without a session, which shows who it is with each message.
#[derive(Serialize)]
struct Requesting {
    query: Map<String, Value>,
    headers: Map<String, Value>,
    remote: Option<String>,
    secure: bool,
}

/// What the result of `channel.subscribe` may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Subscribed {
    qos: Option<u8>,
    recover: Option<bool>,
}

/// What the result of `channel.publish` may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Published {
    #[serde(deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    data_base64: Option<String>,
    event: Option<Box<str>>,
    drop: bool,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Deed {
    fn kind(&self) -> WebhookType {
        match self {
            Self::Subscribe { .. } => WebhookType::ChannelSubscribe,
            Self::Publish(_) => WebhookType::ChannelPublish,
        }
    }
}

impl Teller {
    /// Asks the back end whether a client may do something with a channel. The answer goes to the client's home first, then
    /// what else it says is done.
    pub(super) async fn ask_about(&self, session: SessionId, number: u64, question: &Question) {
        let rule = |ruling| Mail::Answer { session, number, ruling: Box::new(ruling) };
        let Some(endpoint) = self.asked_of(question) else {
            // Nobody says who may do that there.
            return self.tell(session, rule(Ruling::no(Denial::Forbidden, REFUSED))).await;
        };
        let (checked, terms) = match self.insist(endpoint, session, question).await {
            Ok(answer) => answer,
            Err(failure) => {
                note(endpoint, question.deed.kind(), &failure);
                let ruling = match endpoint.config.channel_without_answer {
                    ChannelWithoutAnswer::Retry => Ruling::Unknown,
                    ChannelWithoutAnswer::Allow => Ruling::Yes(Terms::default()),
                };
                return self.tell(session, rule(ruling)).await;
            }
        };
        let Checked { verdict, actions, state, .. } = checked;
        self.put_state(session, state);
        let (ruling, disconnect) = match verdict {
            Verdict::Result(_) => (terms, None),
            Verdict::Error(error) => (of_error(&error), None),
            Verdict::Disconnect(disconnect) => {
                (Ruling::no(Denial::Forbidden, &disconnect.reason), Some(disconnect))
            }
        };
        self.tell(session, rule(ruling)).await;
        actions.run(&self.desk).await;
        if let Some(disconnect) = disconnect {
            self.disconnect(session, &disconnect).await;
        }
    }

    /// The first that takes such a question about all of the channel or filter.
    fn asked_of(&self, question: &Question) -> Option<&Arc<Endpoint>> {
        let mut endpoints = self.webhooks.iter().map(|webhook| &webhook.endpoint);
        endpoints.find(|endpoint| {
            let config = &endpoint.config;
            let mut filters = config.filters.iter();
            let is_about = config.filters.is_empty()
                || filters
                    .any(|filter| covers(filter.as_str(), &question.channel, |level, other| level == other));
            is_about && takes(config, question.deed.kind(), &question.speaks)
        })
    }

    /// Asks, and again where the answer is none, as long as the client may wait.
    async fn insist(
        &self,
        endpoint: &Arc<Endpoint>,
        session: SessionId,
        question: &Question,
    ) -> Result<(Checked, Ruling), Failure> {
        let (life, place) = match self.lives.tell(session) {
            Some((life, place)) => (life, Some((session, place))),
            // Of a client without a session.
            None => (Life { user: question.user.clone(), ..Life::new(question.speaks.clone()) }, None),
        };
        let (data, (id, time_ms)) = (data_of(question), new_id());
        let (kind, channel) = (question.deed.kind(), Some(&*question.channel));
        let telling = Telling {
            id: &id,
            time_ms,
            kind,
            session: place,
            life: &life,
            event: None,
            channel,
            data: &data,
        };
        let until = Instant::now() + Duration::from_millis(endpoint.config.timeout_ms);
        let mut pauses = PAUSES.iter();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answered = self.checked_answer(endpoint, session, &telling, left).await;
            let failure = match answered.and_then(|checked| self.with_terms(checked, question)) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match pauses.next().filter(|pause| failure.may_pass() && Instant::now() + **pause < until) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(failure),
            }
        }
    }

    /// Whatever its result says is checked before anything of an answer is done.
    fn with_terms(&self, checked: Checked, question: &Question) -> Result<(Checked, Ruling), Failure> {
        let result = match &checked.verdict {
            Verdict::Result(result) => result.as_deref(),
            Verdict::Error(_) | Verdict::Disconnect(_) => None,
        };
        let written = result.filter(|result| result.get() != "null");
        let Some(written) = written else { return Ok((checked, Ruling::Yes(Terms::default()))) };
        if !reply::is_object(written.get().as_bytes()) {
            return Err(Failure::Garbage("result must be an object".to_owned()));
        }
        let ruling = match &question.deed {
            Deed::Subscribe { .. } => subscribed(written),
            Deed::Publish(draft) => self.published(written, draft),
        };
        ruling.map(|ruling| (checked, ruling)).map_err(|error| Failure::Garbage(format!("result: {error}")))
    }

    fn published(&self, written: &RawValue, draft: &Draft) -> Result<Ruling, String> {
        let written: Published =
            objects::from_slice(written.get().as_bytes()).map_err(|error| error.to_string())?;
        let Published { data, data_base64, event, drop } = written;
        let changes = data.is_some() || data_base64.is_some() || event.is_some();
        if drop {
            return if changes { Err("drop stands alone".to_owned()) } else { Ok(Ruling::Drop) };
        }
        let body = match (data, data_base64, &draft.body) {
            (None, None, _) => None,
            (Some(_), Some(_), _) => return Err("give data or data_base64".to_owned()),
            (Some(data), None, Body::Values { .. }) => {
                Some(body_of(&arguments(Some(&data))).map_err(|error| error.to_string())?)
            }
            (Some(data), None, Body::Raw(_)) => Some(Body::Raw(payload(&data))),
            (None, Some(text), Body::Raw(_)) => {
                let bytes = STANDARD.decode(text).map_err(|_| "data_base64 must be base64".to_owned())?;
                Some(Body::Raw(bytes.into()))
            }
            (None, Some(_), Body::Values { .. }) => {
                return Err("binary arguments are {\"$binary\": ..} in data".to_owned());
            }
        };
        if let Some(body) = &body {
            check_body(body, &self.desk.config().limits).map_err(|error| error.to_string())?;
        }
        let is_name =
            |event: &str| is_event_name(event) && event.len() <= EVENT_BYTES_MAX && !is_reserved_event(event);
        match event.as_deref().is_none_or(is_name) {
            true => Ok(Ruling::Yes(Terms { body, event, ..Terms::default() })),
            false => Err(format!(
                "event has 1 to {EVENT_BYTES_MAX} bytes without ends of lines, and is no name of Socket.IO's own"
            )),
        }
    }
}

impl Ruling {
    fn no(denial: Denial, message: &str) -> Self {
        let message = if message.is_empty() { REFUSED } else { message };
        Self::No { denial, message: message.into() }
    }
}

fn of_error(error: &ErrorReply) -> Ruling {
    match error.temporary {
        true => Ruling::Unknown,
        false => Ruling::no(error.denial, &error.message),
    }
}

fn subscribed(written: &RawValue) -> Result<Ruling, String> {
    let Subscribed { qos, recover } =
        objects::from_slice(written.get().as_bytes()).map_err(|error| error.to_string())?;
    if qos.is_some_and(|qos| Qos::from_bits(qos).is_none()) {
        return Err("qos must be 0, 1 or 2".to_owned());
    }
    let recovery = if recover == Some(false) { Wanted::Never } else { Wanted::AsAsked };
    Ok(Ruling::Yes(Terms { qos_max: qos, recovery, ..Terms::default() }))
}

/// A value as a payload: text is itself, everything else its JSON.
fn payload(data: &RawValue) -> Bytes {
    let text = serde_json::from_str::<String>(data.get());
    text.map_or_else(|_| Bytes::copy_from_slice(data.get().as_bytes()), Bytes::from)
}

fn data_of(question: &Question) -> String {
    let channel = &*question.channel;
    let text = match &question.deed {
        Deed::Subscribe { qos, group, history } => {
            let (qos, group, history) = (*qos, group.as_deref(), *history);
            serde_json::to_string(&Subscribing { channel, qos, group, history })
        }
        Deed::Publish(draft) => {
            let forwarded = Forwarded::from_bytes(draft.attributes.clone()).unwrap_or(Forwarded::NONE);
            let properties = forwarded.properties();
            let (args, payload, payload_base64) = content(&draft.body);
            serde_json::to_string(&Publishing {
                channel,
                event: draft.event.as_deref(),
                args,
                payload,
                payload_base64,
                qos: draft.qos,
                retain: draft.retain,
                will: draft.is_will,
                content_type: properties.content_type(),
                response_topic: properties.response_topic(),
                user_properties: properties.user_properties().collect(),
                request: draft.request.as_deref().map(requesting),
            })
        }
    };
    text.unwrap_or_default()
}

fn requesting(request: &Handshake) -> Requesting {
    let (query, headers) = shown(request);
    let remote = request.remote.map(|remote| remote.to_string());
    Requesting { query, headers, remote, secure: request.secure }
}

/// Arguments; or a payload that is JSON or text; or one that is neither, as base64.
fn content(body: &Body) -> (Option<Box<RawValue>>, Option<Box<RawValue>>, Option<String>) {
    let Body::Raw(bytes) = body else { return (Some(text_of(body)), None, None) };
    let Ok(text) = std::str::from_utf8(bytes) else { return (None, None, Some(STANDARD.encode(bytes))) };
    let json = serde_json::from_str::<Box<RawValue>>(text);
    let json = json.or_else(|_| RawValue::from_string(Value::from(text).to_string()));
    (None, json.ok(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_payload_is_told_as_what_it_is() {
        let of = |bytes: &'static [u8]| {
            let (_, payload, base64) = content(&Body::Raw(Bytes::from_static(bytes)));
            (payload.map(|payload| payload.get().to_owned()), base64)
        };
        assert_eq!(of(b"{\"a\": 1}"), (Some("{\"a\": 1}".to_owned()), None));
        assert_eq!(of(b"tea"), (Some("\"tea\"".to_owned()), None));
        assert_eq!(of(&[255, 0]), (None, Some("/wA=".to_owned())));
    }

    #[test]
    fn text_replaces_as_it_is_and_other_values_as_json() {
        assert_eq!(payload(&raw("\"tea\\n\"")), "tea\n");
        assert_eq!(payload(&raw("{\"a\": 1}")), "{\"a\": 1}");
    }

    #[test]
    fn a_subscription_has_known_terms() {
        let of = |text: &str| subscribed(&raw(text));
        let Ok(Ruling::Yes(terms)) = of(r#"{"qos":1,"recover":false}"#) else { panic!("a yes") };
        assert_eq!((terms.qos_max, terms.recovery), (Some(1), Wanted::Never));
        for bad in [r#"{"qos":3}"#, r#"{"recover":1}"#, r#"{"more":1}"#] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
