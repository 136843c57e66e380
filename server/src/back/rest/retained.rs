//! The value that a channel retains for whoever subscribes later: `GET`, `PUT`, `DELETE /v1/retained`.

use super::Desk;
use super::document::{One, Remove, Replace};
use super::extract::{Body, Query};
use super::messages::checked_event;
use super::problem::{NOT_FOUND, Problem};
use crate::back::gather::{Outline, target_of};
use crate::back::values;
use crate::objects::present;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hub::{Command, Refusal, Report, Traits};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// Of which channel.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetainedQuery {
    /// The channel.
    #[param(min_length = 1)]
    channel: String,
}

/// The value that a channel retains.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RetainedView {
    /// The message's id.
    id: String,
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    /// Its content as arguments.
    #[schema(value_type = Vec<Object>)]
    args: Box<RawValue>,
    /// The most that MQTT subscribers get it with.
    qos: u8,
    /// Milliseconds until it goes; absent if it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

/// A message that a channel is to retain. At most one of `data`, `args` and `data_base64`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RetainedRequest {
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
    /// The most that MQTT subscribers get it with; 1 when it is left out.
    #[schema(minimum = 0, maximum = 2)]
    qos: Option<u8>,
    /// Milliseconds until it goes; at least 1.
    #[schema(minimum = 1)]
    expires_in_ms: Option<u64>,
}

/// Look at the value that a channel retains
#[utoipa::path(
    get, path = "/v1/retained", tag = "channels", operation_id = "getRetained",
    security(("key" = ["read"])), params(RetainedQuery),
    responses(
        (status = 200, description = "The value.", body = RetainedView),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Query(query): Query<RetainedQuery>,
) -> Result<Json<RetainedView>, Problem> {
    let channel = desk.channel(&query.channel)?;
    let home = desk.office.home_of_channel(&channel);
    let query = hub::Query::Retained { channel };
    let report = desk.office.ask(home, |token| Command::Query { token, query }).await?;
    let Report::Retained(Some(message)) = report else { return Err(nothing()) };
    let now_ms = desk.now_ms();
    Ok(Json(RetainedView {
        id: values::text_of_id(message.id),
        channel: message.channel.as_str().to_owned(),
        event: message.event.as_deref().map(str::to_owned),
        args: values::text_of(&message.body),
        qos: message.traits.quality as u8,
        expires_in_ms: message.traits.expires.map(|at| at.0.saturating_sub(now_ms)),
    }))
}

/// Publish a message that the channel retains
///
/// As `POST /v1/messages` with `retain`: who is subscribed gets it now, who subscribes later then.
#[utoipa::path(
    put, path = "/v1/retained", tag = "channels", operation_id = "putRetained",
    security(("key" = ["publish"])), params(RetainedQuery),
    request_body = RetainedRequest,
    responses(
        (status = 204, description = "Published and kept."),
        Replace,
    )
)]
pub(super) async fn put(
    State(desk): State<Desk>,
    Query(query): Query<RetainedQuery>,
    Body(request): Body<RetainedRequest>,
) -> Result<StatusCode, Problem> {
    let (data, args) = (request.data.as_deref(), request.args.as_deref());
    let body = desk.content(data, args, request.data_base64.as_deref())?;
    let traits = Traits { retain: true, ..desk.traits(request.qos, request.expires_in_ms)? };
    let outline = Outline {
        version: None,
        target: target_of(desk.channel(&query.channel)?),
        event: Some(checked_event(request.event)?),
        body,
        volatile: false,
        except: None,
        reply_within: None,
        traits,
    };
    desk.office.publish(outline.checked(&desk.config.limits)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take the value away
///
/// Nobody is told; an MQTT client that publishes an empty retained message takes it away and tells the subscribers.
#[utoipa::path(
    delete, path = "/v1/retained", tag = "channels", operation_id = "deleteRetained",
    security(("key" = ["publish"])), params(RetainedQuery),
    responses(
        (status = 204, description = "It is gone."),
        Remove,
    )
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Query(query): Query<RetainedQuery>,
) -> Result<StatusCode, Problem> {
    let channel = desk.channel(&query.channel)?;
    if channel.is_reserved() {
        return Err(Refusal::ReservedChannel.into());
    }
    let home = desk.office.home_of_channel(&channel);
    let report = desk.office.ask(home, |token| Command::DropRetained { channel, token }).await?;
    match report {
        Report::Count(1) => Ok(StatusCode::NO_CONTENT),
        _ => Err(nothing()),
    }
}

fn nothing() -> Problem {
    Problem::new(&NOT_FOUND, "the channel retains nothing")
}
