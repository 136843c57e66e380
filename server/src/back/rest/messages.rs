//! Publishing: `POST /v1/messages`, one at a time. Many at once are `batch`'s, what was published before is `history`'s.

use super::Desk;
use super::document::Publish;
use super::extract::Body;
use super::problem::{INVALID_EVENT, MALFORMED, Problem, REPLY_TIMEOUT};
use crate::back::batch::Want;
use crate::back::checked::is_event_name;
use crate::back::gather::{Delivery, Outline, target_of, usual_traits};
use crate::back::values;
use crate::front::attributes;
use crate::objects::present;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::{ChannelName, Except, Members, Message, Millis, Quality, Refusal, SessionId, Target, Traits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest wait for replies: 10 minutes.
const REPLY_WAIT_MS_MAX: u64 = 600_000;

/// Bytes of a key.
const KEY_BYTES_MAX: usize = 256;

/// A message to publish. Exactly one of `channel` and `channels`, at most one of `data`, `args` and `data_base64`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::back) struct PublishRequest {
    /// Where: a channel (`chat/r1`), a user (`$user/42`) or a session (`$client/<session id>`).
    #[schema(min_length = 1)]
    channel: Option<String>,
    /// Several channels, users or sessions at once; a session in more than one of them gets the message once.
    #[serde(default)]
    channels: Vec<String>,
    /// The event's name; `message` when it is left out.
    #[schema(min_length = 1, pattern = r"^[^\u0000\r\n]+$")]
    event: Option<String>,
    /// The only argument of the event: any JSON value. Binary inside as `{"$binary":"<base64>"}`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// Several arguments.
    #[schema(value_type = Option<Vec<Object>>)]
    args: Option<Box<RawValue>>,
    /// One binary argument, as standard base64.
    data_base64: Option<String>,
    /// Sessions that are left out.
    #[serde(default)]
    except: Vec<String>,
    /// Channels whose members are left out.
    #[serde(default)]
    except_channels: Vec<String>,
    /// Only for sessions that can take it at once; never kept in a history.
    #[serde(default)]
    volatile: bool,
    /// The most that MQTT subscribers get it with, each at most with the QoS of its subscription. 1 when it is left out, so
    /// that it waits for those that are away; 0 for what is volatile.
    #[schema(minimum = 0, maximum = 2)]
    qos: Option<u8>,
    /// The channel keeps it for whoever subscribes later, until another one takes its place (`/v1/retained`).
    #[serde(default)]
    retain: bool,
    /// What `data_base64` is, as a media type; told to clients of MQTT 5.
    content_type: Option<String>,
    /// Told to clients of MQTT 5, where the user property `event` is the event's name.
    #[serde(default)]
    user_properties: BTreeMap<String, String>,
    /// Milliseconds until it is too old to be delivered, where delivery has to wait; at least 1.
    #[schema(minimum = 1)]
    expires_in_ms: Option<u64>,
    /// What it is about, 1 to 256 bytes: where an older one of this channel about the same waits for a session, this one takes
    /// its place. With one channel only, and not with `reply`.
    #[schema(min_length = 1, max_length = 256)]
    key: Option<String>,
    /// Of the caller's own count: refused with 412 unless it is higher than that of the last message with one on this channel, or
    /// about this key. Remembered in memory for a day: a restart forgets it. With one channel only, and not with `wait: false`.
    version: Option<u64>,
    /// Wait for the acknowledgements of the sessions it reaches.
    reply: Option<ReplyRequest>,
    /// `false`: answer 202 at once, without counts.
    #[serde(default = "yes")]
    wait: bool,
}

/// Wait for replies.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplyRequest {
    /// Milliseconds, 1 to 600,000.
    #[schema(minimum = 1, maximum = 600_000)]
    wait_ms: u64,
}

/// What became of a publish.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PublishResponse {
    /// The message's id (26 characters, sorts by time).
    id: String,
    /// One entry per publish that was counted.
    results: Vec<PublishResult>,
    /// Acknowledgements in order of arrival; present when replies were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    replies: Option<Vec<ReplyView>>,
    /// Sessions that were asked and did not acknowledge in time; present when replies were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Vec<String>>,
    /// Shards that did not report their counts in time, so that `results` may be too low; absent when all did.
    #[serde(skip_serializing_if = "is_zero")]
    missing_shards: usize,
}

/// A message on its way.
#[derive(Debug, Serialize, ToSchema)]
// So that in the document it is not also what a publish is told, which has more.
#[serde(deny_unknown_fields)]
pub(super) struct Accepted {
    /// The message's id.
    id: String,
}

impl Accepted {
    pub(super) fn of(id: hub::MessageId) -> Self {
        Self { id: values::text_of_id(id) }
    }
}

/// Counts of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PublishResult {
    /// The channel, or the first of several.
    channel: String,
    /// Its place in the channel's history, when one is kept: pass it as `after` to read on.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Handed to a connection that could take it.
    delivered: u32,
    /// Waiting for a connection that is busy, or for a client that may come back.
    queued: u32,
    /// Volatile and not deliverable at once, or over a limit.
    dropped: u32,
}

/// One session's acknowledgement.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplyView {
    /// Who.
    session: String,
    /// The acknowledgement's arguments.
    #[schema(value_type = Vec<Object>)]
    args: Box<RawValue>,
}

/// Publish a message
///
/// The answer counts sessions, not programs: it says what the server did, replies say what the clients did.
#[utoipa::path(
    post, path = "/v1/messages", tag = "messages", operation_id = "publish",
    security(("key" = ["publish"])), request_body = PublishRequest,
    responses(
        (status = 200, description = "Published; counts, and replies when asked for.", body = PublishResponse),
        (status = 202, description = "Accepted, with `wait: false`.", body = Accepted),
        Publish,
    )
)]
pub(super) async fn publish(
    State(desk): State<Desk>,
    Body(request): Body<PublishRequest>,
) -> Result<Response, Problem> {
    let (wait, outline) = (request.wait, request.outline(&desk)?);
    let told = Told::of(&outline);
    if !wait {
        let id = desk.office.publish_only(outline).await?;
        return Ok((StatusCode::ACCEPTED, Json(Accepted::of(id))).into_response());
    }
    let delivery = desk.office.publish(outline).await?;
    Ok(Json(told.response(delivery)?).into_response())
}

/// What a publish is told under.
pub(super) struct Told {
    channel: String,
    asks: bool,
}

impl Told {
    pub(super) fn of(outline: &Outline) -> Self {
        Self { channel: name_of(&outline.target), asks: outline.reply_within.is_some() }
    }

    /// The answer; an error when replies were asked for and nobody replied.
    pub(super) fn response(self, delivery: Delivery) -> Result<PublishResponse, Problem> {
        if self.asks && delivery.replies.is_empty() && !delivery.missing.is_empty() {
            let text = format!("{} sessions did not reply", delivery.missing.len());
            return Err(Problem::new(&REPLY_TIMEOUT, text));
        }
        Ok(PublishResponse::new(self.channel, delivery, self.asks))
    }
}

impl PublishRequest {
    /// What is wanted of its answer.
    pub(super) fn want(&self) -> Want {
        if self.wait { Want::Delivery } else { Want::Id }
    }

    /// What is published by a back end that is told of nothing that comes of it.
    ///
    /// # Errors
    /// What is wrong, as REST would tell it.
    pub(in crate::back) fn unanswered(self, desk: &Desk) -> Result<Outline, String> {
        if self.reply.is_some() {
            return Err("reply is not for actions".to_owned());
        }
        self.outline(desk).map_err(Problem::into_detail)
    }

    pub(super) fn outline(self, desk: &Desk) -> Result<Outline, Problem> {
        let (data, args) = (self.data.as_deref(), self.args.as_deref());
        let body = desk.content(data, args, self.data_base64.as_deref())?;
        let target = self.target(desk)?;
        let except = Except {
            sessions: self.except.iter().map(|id| session_id(id)).collect::<Result<_, _>>()?,
            channels: self.except_channels.iter().map(|name| desk.channel(name)).collect::<Result<_, _>>()?,
        };
        let reply_within = match &self.reply {
            Some(reply) if !(1..=REPLY_WAIT_MS_MAX).contains(&reply.wait_ms) => {
                return Err(Problem::new(&MALFORMED, "reply.wait_ms must be between 1 and 600000"));
            }
            reply => reply.as_ref().map(|reply| Duration::from_millis(reply.wait_ms)),
        };
        if reply_within.is_some() && (self.volatile || !self.wait) {
            return Err(Problem::new(&MALFORMED, "reply goes neither with volatile nor with wait: false"));
        }
        if self.retain && self.volatile {
            return Err(Problem::new(&MALFORMED, "retain does not go with volatile"));
        }
        let (attributes, key) = (self.attributes()?, self.key()?);
        let traits =
            Traits { retain: self.retain, attributes, key, ..desk.traits(self.qos, self.expires_in_ms)? };
        let version = self.version(&target)?;
        let outline = Outline {
            version,
            target,
            event: Some(checked_event(self.event)?),
            body,
            volatile: self.volatile,
            except: (except != Except::default()).then(|| Box::new(except)),
            reply_within,
            traits,
        };
        Ok(outline.checked(&desk.config.limits)?)
    }

    /// Of MQTT 5. Nothing, and then without the event too, unless it is asked for: the front knows the event by itself.
    fn attributes(&self) -> Result<Bytes, Problem> {
        if self.content_type.is_none() && self.user_properties.is_empty() {
            return Ok(Bytes::new());
        }
        let event = self.event.as_deref().map(|event| ("event", event));
        let others = self.user_properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let made = attributes(self.content_type.as_deref(), event.into_iter().chain(others));
        made.map_err(|name| Problem::new(&MALFORMED, format!("{name} cannot be told to MQTT clients")))
    }

    fn version(&self, target: &Target) -> Result<Option<u64>, Problem> {
        if self.version.is_some() && (!self.wait || !matches!(target, Target::Channel(_))) {
            let text =
                "version goes with one channel, and not with wait: false, where nobody would hear of it";
            return Err(Problem::new(&MALFORMED, text));
        }
        Ok(self.version)
    }

    fn key(&self) -> Result<Option<Arc<str>>, Problem> {
        let Some(key) = self.key.as_deref() else { return Ok(None) };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(Problem::new(&MALFORMED, "key must have 1 to 256 bytes"));
        }
        if self.reply.is_some() || self.channels.len() > 1 {
            return Err(Problem::new(&MALFORMED, "key goes with one channel, and not with reply"));
        }
        Ok(Some(Arc::from(key)))
    }

    fn target(&self, desk: &Desk) -> Result<Target, Problem> {
        match (&self.channel, self.channels.as_slice()) {
            (Some(channel), []) => desk.channel(channel).map(target_of),
            (None, [only]) => desk.channel(only).map(target_of),
            (None, [_, _, ..]) => {
                let names = self.channels.iter().map(|name| desk.channel(name));
                names.collect::<Result<_, _>>().map(Target::Union)
            }
            (None, []) => Err(Problem::new(&MALFORMED, "channel (or channels) is missing")),
            (Some(_), _) => Err(Problem::new(&MALFORMED, "give channel or channels, not both")),
        }
    }
}

impl PublishResponse {
    fn new(channel: String, delivery: Delivery, asks: bool) -> Self {
        let Delivery { id, position, counts, replies, missing, missing_shards } = delivery;
        let reply_views = replies.into_iter().map(|reply| ReplyView {
            session: reply.session.to_string(),
            args: values::text_of(&reply.body),
        });
        Self {
            id: values::text_of_id(id),
            results: vec![PublishResult {
                channel,
                position: position.map(|position| position.to_string()),
                delivered: counts.delivered,
                queued: counts.queued,
                dropped: counts.dropped,
            }],
            replies: asks.then(|| reply_views.collect()),
            missing: asks.then(|| missing.iter().map(ToString::to_string).collect()),
            missing_shards: missing_shards.len(),
        }
    }
}

/// A kept message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageView {
    id: String,
    channel: String,
    position: Option<String>,
    event: Option<String>,
    #[schema(value_type = Vec<Object>)]
    args: Box<RawValue>,
}

pub(super) fn view_of(message: &Message) -> MessageView {
    MessageView {
        id: values::text_of_id(message.id),
        channel: message.channel.as_str().to_owned(),
        position: message.position.map(|position| position.to_string()),
        event: message.event.as_deref().map(str::to_owned),
        args: values::text_of(&message.body),
    }
}

impl Desk {
    /// The content of a message, given in one of three ways.
    pub(super) fn content(
        &self,
        data: Option<&RawValue>,
        args: Option<&RawValue>,
        data_base64: Option<&str>,
    ) -> Result<hub::Body, Problem> {
        let text = match (data, args, data_base64) {
            (None, None, None) => "[]".to_owned(),
            (Some(data), None, None) => format!("[{data}]"),
            (None, Some(args), None) if args.get().starts_with('[') => args.get().to_owned(),
            (None, Some(_), None) => return Err(Problem::new(&MALFORMED, "args must be a list")),
            (None, None, Some(base64)) => match STANDARD.decode(base64) {
                Ok(bytes) => format!("[{}]", values::binary(&bytes)),
                Err(_) => return Err(Problem::new(&MALFORMED, "data_base64 is not standard base64")),
            },
            _ => return Err(Problem::new(&MALFORMED, "give only one of data, args and data_base64")),
        };
        Ok(values::body_of(&text)?)
    }

    /// What is wanted of a message.
    pub(super) fn traits(&self, qos: Option<u8>, expires_in_ms: Option<u64>) -> Result<Traits, Problem> {
        let usual = usual_traits();
        let quality = match qos {
            None => usual.quality,
            Some(0) => Quality::AtMostOnce,
            Some(1) => Quality::AtLeastOnce,
            Some(2) => Quality::ExactlyOnce,
            Some(_) => return Err(Problem::new(&MALFORMED, "qos must be 0, 1 or 2")),
        };
        if expires_in_ms == Some(0) {
            return Err(Problem::new(&MALFORMED, "expires_in_ms must be at least 1"));
        }
        let expires = expires_in_ms.map(|ms| Millis(self.now_ms().saturating_add(ms)));
        Ok(Traits { quality, expires, ..usual })
    }

    /// A channel name, checked.
    pub(super) fn channel(&self, name: &str) -> Result<ChannelName, Problem> {
        ChannelName::parse(name, self.channel_name_bytes_max()).map_err(Problem::from)
    }

    /// The members of a channel, or the session that a `$client/` name is.
    pub(super) fn members_of(&self, name: &str) -> Result<Members, Problem> {
        Ok(match self.channel(name)? {
            channel if channel.as_str().starts_with("$client/") => {
                Members::Session(channel.session().ok_or(Refusal::NotFound)?)
            }
            channel => Members::Channel(channel),
        })
    }
}

/// An event's name, `message` if there is none.
pub(super) fn checked_event(event: Option<String>) -> Result<Box<str>, Problem> {
    let event = event.unwrap_or_else(|| "message".to_owned());
    if !is_event_name(&event) {
        return Err(Problem::new(
            &INVALID_EVENT,
            "event must not be empty, nor have NUL or an end of line in it",
        ));
    }
    Ok(event.into())
}

pub(super) fn session_id(text: &str) -> Result<SessionId, Problem> {
    text.parse().map_err(|_| Problem::new(&MALFORMED, "a session id is 20 characters of base64url"))
}

fn name_of(target: &Target) -> String {
    match target {
        Target::Channel(channel) => channel.as_str().to_owned(),
        Target::Union(channels) => {
            channels.first().map_or_else(String::new, |first| first.as_str().to_owned())
        }
        Target::Session(session) => format!("$client/{session}"),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

fn yes() -> bool {
    true
}
