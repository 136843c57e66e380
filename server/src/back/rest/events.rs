//! CloudEvents that are published: `POST /v1/events`. The subject is the channel, and the answer that of a publish.
//!
//! Owns what becomes of an event's parts; what an event is, `wire` knows. Start at [`publish`].

use super::Desk;
use super::batch::{BatchItem, Read};
use super::document::Publish;
use super::extract::{Query, unreadable};
use super::messages::{Accepted, PublishResponse, Told, checked_event};
use super::problem::{INVALID_CHANNEL, MALFORMED, MEDIA_TYPE, Problem, TOO_LARGE};
use crate::back::batch::Want;
use crate::back::gather::{Outline, target_of};
use crate::back::values;
use crate::front::attributes;
use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hub::{Millis, Traits};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::{IntoParams, ToSchema};
use wire::cloudevent::{CHANNEL_MESSAGE, Received, ReceivedData};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// How to answer.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// `false`: answer 202 at once, without counts.
    #[serde(default = "yes")]
    wait: bool,
}

fn yes() -> bool {
    true
}

/// A CloudEvent 1.0. It may have more attributes; MQTT 5 subscribers get them as user properties.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document; events are read by the codec")]
pub(super) struct CloudEventDocument {
    #[schema(pattern = "^1\\.0$")]
    specversion: String,
    /// Unique within the source. The server does not remember it: repeat a request under an `Idempotency-Key`.
    #[schema(min_length = 1)]
    id: String,
    #[schema(min_length = 1)]
    source: String,
    /// The event's name for Socket.IO clients, unless the attribute `event` gives another one; that of
    /// `trunkline.channel.message` is `message` without it.
    #[schema(min_length = 1)]
    r#type: String,
    /// The channel, user (`$user/42`) or session (`$client/<session id>`).
    #[schema(min_length = 1)]
    subject: String,
    #[schema(format = DateTime)]
    time: Option<String>,
    datacontenttype: Option<String>,
    /// Not delivered from then on.
    #[schema(format = DateTime)]
    expirytime: Option<String>,
    /// The event's name for Socket.IO clients.
    event: Option<String>,
    /// Any JSON.
    #[schema(value_type = Option<Object>)]
    data: Option<String>,
    /// Bytes, as standard base64, in the place of `data`.
    data_base64: Option<String>,
}

/// Publish CloudEvents
///
/// In structured mode (`application/cloudevents+json`), as a batch (`application/cloudevents-batch+json`, at most 1,000, answered
/// as `POST /v1/messages/batch`), or in binary mode: `ce-` headers, and the data as the body in any media type.
#[utoipa::path(
    post, path = "/v1/events", tag = "messages", operation_id = "publishEvents",
    security(("key" = ["publish"])), params(EventsQuery),
    request_body(content(
        (CloudEventDocument = "application/cloudevents+json"),
        (Vec<CloudEventDocument> = "application/cloudevents-batch+json"),
    )),
    responses(
        (status = 200, description = "Published: as a publish, or for a batch a result or problem for each.", body = EventsResponse),
        (status = 202, description = "Accepted, with `wait=false`.", body = Accepted),
        Publish,
    )
)]
pub(super) async fn publish(
    State(desk): State<Desk>,
    Query(query): Query<EventsQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let mode = Mode::of(&headers)?;
    let body = Bytes::from_request(request, &()).await.map_err(|rejection| unreadable(&rejection))?;
    let want = if query.wait { Want::Delivery } else { Want::Id };
    let event = match mode {
        Mode::Batch => return desk.publish_batch(&body, want).await,
        Mode::Structured => Received::from_json(&body),
        Mode::Binary { media } => {
            Received::from_http(attributes_in(&headers)?.into_iter(), media.as_deref(), &body)
        }
    };
    let event = event.map_err(|error| Problem::new(&MALFORMED, error.to_string()))?;
    let outline = desk.outline_of(event)?;
    if want == Want::Id {
        let id = desk.office.publish_only(outline).await?;
        return Ok((StatusCode::ACCEPTED, Json(Accepted::of(id))).into_response());
    }
    let told = Told::of(&outline);
    Ok(Json(told.response(desk.office.publish(outline).await?)?).into_response())
}

/// Of one event, or of a batch.
#[derive(ToSchema)]
#[schema(title = "EventsResponse")]
#[expect(dead_code, reason = "for the document")]
#[serde(untagged)]
pub(super) enum EventsResponse {
    One(PublishResponse),
    Many(super::batch::BatchResponse),
}

/// How the events stand in the request.
enum Mode {
    Structured,
    Batch,
    Binary { media: Option<String> },
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let media = headers.get(header::CONTENT_TYPE).map(|value| value.to_str());
        let media = media.transpose().map_err(|_| Problem::new(&MEDIA_TYPE, "Content-Type is not ASCII"))?;
        let essence = media.and_then(|media| media.split(';').next()).unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case(STRUCTURED) {
            return Ok(Self::Structured);
        }
        if essence.eq_ignore_ascii_case(BATCH) {
            return Ok(Self::Batch);
        }
        // Web pages cannot send these headers without asking first.
        if headers.contains_key("ce-specversion") {
            return Ok(Self::Binary { media: media.map(str::to_owned) });
        }
        let text = format!("send {STRUCTURED}, {BATCH}, or an event in ce- headers");
        Err(Problem::new(&MEDIA_TYPE, text))
    }
}

fn attributes_in(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, Problem> {
    let mut found = Vec::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else { continue };
        let value =
            value.to_str().map_err(|_| Problem::new(&MALFORMED, format!("ce-{name} is not ASCII")))?;
        found.push((name, value));
    }
    Ok(found)
}

impl Desk {
    async fn publish_batch(&self, body: &[u8], want: Want) -> Result<Response, Problem> {
        let events: Vec<&RawValue> = serde_json::from_slice(body)
            .map_err(|error| Problem::new(&MALFORMED, format!("not a list of events: {error}")))?;
        let read = |event: &RawValue| -> Read {
            let event = Received::from_json(event.get().as_bytes());
            let event = event.map_err(|error| Problem::new(&MALFORMED, error.to_string()))?;
            Ok((self.outline_of(event)?, want))
        };
        let items: Vec<BatchItem> = self.publish_each(events.into_iter().map(read).collect()).await?;
        Ok(Json(super::batch::BatchResponse { items }).into_response())
    }

    fn outline_of(&self, event: Received) -> Result<Outline, Problem> {
        let subject = event.subject.as_deref();
        let subject =
            subject.ok_or_else(|| Problem::new(&INVALID_CHANNEL, "subject, the channel, is missing"))?;
        let target = target_of(self.channel(subject)?);
        let body = match &event.data {
            ReceivedData::Nothing => values::body_of("[]")?,
            ReceivedData::Json(json) => values::body_of(&format!("[{json}]"))?,
            ReceivedData::Binary(bytes) => values::body_of(&format!("[{}]", values::binary(bytes)))?,
        };
        if body.len_bytes() > self.config.limits.message_bytes_max {
            return Err(Problem::new(&TOO_LARGE, "the message is over limits.message_bytes_max"));
        }
        let name = event.other("event").or(Some(event.kind.as_str()).filter(|kind| *kind != CHANNEL_MESSAGE));
        let traits = Traits {
            attributes: mqtt_attributes(&event)?,
            expires: event.expires_ms.map(|at_ms| self.on_our_clock(at_ms)),
            ..self.traits(None, None)?
        };
        let outline = Outline {
            version: None,
            target,
            event: Some(checked_event(name.map(str::to_owned))?),
            body,
            volatile: false,
            except: None,
            reply_within: None,
            traits,
        };
        Ok(outline.checked(&self.config.limits)?)
    }

    /// A time of the calendar. What is over is over.
    fn on_our_clock(&self, at_ms: u64) -> Millis {
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(calendar.as_millis()).unwrap_or(u64::MAX);
        Millis(self.now_ms().saturating_add(at_ms.saturating_sub(now_ms)))
    }
}

/// What clients of MQTT 5 get: the event in the binary mode of the MQTT binding.
fn mqtt_attributes(event: &Received) -> Result<Bytes, Problem> {
    let own = [("specversion", "1.0"), ("id", &event.id), ("source", &event.source), ("type", &event.kind)];
    let others = event.others.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let made = attributes(event.media.as_deref(), own.into_iter().chain(others));
    made.map_err(|name| Problem::new(&MALFORMED, format!("{name} cannot be told to MQTT clients")))
}
