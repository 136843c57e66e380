//! Webhooks and what goes to them: `GET /v1/webhooks`, `PUT /v1/webhooks/{name}`, `POST /v1/webhooks/{name}/tests`,
//! `GET /v1/deliveries`, `POST /v1/deliveries/{id}/attempts`, `POST /v1/deliveries/attempts`.
//!
//! Must not know how events are sent. Start at [`list`].

use super::document::{Queues, Replaced};
use super::extract::{Body, Path, Query};
use super::problem::{INTERNAL, MALFORMED, NOT_FOUND, Problem};
use super::{Desk, Page, limit_of};
use crate::back::webhook::{Delivery, Flow, LookTrouble, View, Webhooks};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookList {
    /// In the order of the configuration.
    items: Vec<WebhookItem>,
}

/// A webhook. Its counts begin at 0 when the process starts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WebhookItem {
    name: String,
    /// Without its query.
    url: String,
    /// What it takes.
    types: Vec<&'static str>,
    /// `false`: what the back end is only told stays here, since it answered 410 or somebody said so.
    enabled: bool,
    /// Whether requests leave as they come; `false` after failures in a row.
    open: bool,
    /// Requests under way.
    busy: usize,
    /// Requests that wait for their turn.
    waiting: usize,
    /// Events that wait to be told; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u64>,
    /// Dead letters; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead: Option<u64>,
    /// Events that were told.
    delivered: u64,
    /// Attempts that were not the last one.
    retried: u64,
}

/// What of a webhook can be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookChange {
    /// Whether what the back end is only told leaves. A restart enables it again.
    enabled: bool,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveriesQuery {
    /// The webhook's name; may be left out where there is only one.
    webhook: Option<String>,
    /// `dead`: dead letters, oldest first. Left out: what was tried lately, newest first.
    status: Option<String>,
    /// From the page before, of dead letters.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; of dead letters at most 100.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// Whose dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RedeliverQuery {
    /// The webhook's name; may be left out where there is only one.
    webhook: Option<String>,
}

/// An event that the back end is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryItem {
    /// Of the event.
    id: String,
    webhook: String,
    r#type: String,
    /// Its session; of what is about a user or channel `user/` or `channel/` and the name.
    session: String,
    /// When it was tried, in milliseconds since 1970; absent of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_ms: Option<u64>,
    /// How often it was tried by then.
    attempts: u32,
    /// How long that took; absent of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// What was answered, or why there was no answer.
    said: String,
    /// `done`, `retry`, `dead` or `disabled`.
    outcome: &'static str,
    /// The event, of dead letters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    event: Option<Box<RawValue>>,
}

/// List webhooks
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "server", operation_id = "listWebhooks",
    security(("key" = ["read"])),
    responses((status = 200, description = "All of them.", body = WebhookList), Queues)
)]
pub(super) async fn list(State(desk): State<Desk>) -> Json<WebhookList> {
    let views = match &desk.webhooks {
        Some(webhooks) => webhooks.views().await,
        None => Vec::new(),
    };
    Json(WebhookList { items: views.iter().map(item).collect() })
}

/// Have events leave, or stay
#[utoipa::path(
    put, path = "/v1/webhooks/{name}", tag = "server", operation_id = "changeWebhook",
    security(("key" = ["admin"])), request_body = WebhookChange,
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The webhook now.", body = WebhookItem), Replaced)
)]
pub(super) async fn change(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Body(change): Body<WebhookChange>,
) -> Result<Json<WebhookItem>, Problem> {
    let webhooks = webhooks(&desk)?;
    let flow = if change.enabled { Flow::Leaves } else { Flow::Stays };
    webhooks.set(&name, flow)?;
    let views = webhooks.views().await;
    let view = views.iter().find(|view| view.config.name.as_str() == name);
    view.map(|view| Json(item(view))).ok_or_else(|| LookTrouble::NotFound.into())
}

/// Send an event that says nothing
///
/// Of type `test`, once, whatever `types` has. The answer says what the back end answered.
#[utoipa::path(
    post, path = "/v1/webhooks/{name}/tests", tag = "server", operation_id = "testWebhook",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "What was answered, or why there is no answer.", body = DeliveryItem), Queues)
)]
pub(super) async fn test(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<DeliveryItem>, Problem> {
    Ok(Json(delivery(webhooks(&desk)?.test(&name).await?)))
}

/// List events that the back end is told
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "server", operation_id = "listDeliveries",
    security(("key" = ["read"])), params(DeliveriesQuery),
    responses((status = 200, description = "A page.", body = Page<DeliveryItem>), Queues)
)]
pub(super) async fn deliveries(
    State(desk): State<Desk>,
    Query(query): Query<DeliveriesQuery>,
) -> Result<Json<Page<DeliveryItem>>, Problem> {
    let (limit, webhooks) = (limit_of(&desk, query.limit)?, webhooks(&desk)?);
    let name = name_of(&desk, query.webhook)?;
    let page = match query.status.as_deref() {
        None => {
            let attempts = webhooks.attempts(&name, limit as usize)?;
            Page::new(attempts.into_iter().map(delivery).collect(), None)
        }
        Some("dead") => {
            let after = query.cursor.as_deref().map_or(Ok(0), str::parse);
            let after = after.map_err(|_| Problem::new(&MALFORMED, "cursor is not one this server made"))?;
            let (letters, next) = webhooks.dead(&name, after, limit).await?;
            let next = next.map(|place| place.to_string());
            Page::new(letters.into_iter().map(delivery).collect(), next)
        }
        Some(_) => return Err(Problem::new(&MALFORMED, "status must be dead, or left out")),
    };
    Ok(Json(page))
}

/// Send a dead letter again
///
/// Behind what waits of its session.
#[utoipa::path(
    post, path = "/v1/deliveries/{id}/attempts", tag = "server", operation_id = "redeliver",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Of the event.")),
    responses((status = 202, description = "It waits to be sent."), Queues)
)]
pub(super) async fn redeliver(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    webhooks(&desk)?.redeliver(&id).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Send all dead letters of a webhook again
#[utoipa::path(
    post, path = "/v1/deliveries/attempts", tag = "server", operation_id = "redeliverAll",
    security(("key" = ["admin"])), params(RedeliverQuery),
    responses((status = 202, description = "How many wait to be sent: `count`."), Queues)
)]
pub(super) async fn redeliver_all(
    State(desk): State<Desk>,
    Query(query): Query<RedeliverQuery>,
) -> Result<Response, Problem> {
    let name = name_of(&desk, query.webhook)?;
    let count = webhooks(&desk)?.redeliver_all(&name).await?;
    Ok((StatusCode::ACCEPTED, Json(serde_json::json!({ "count": count }))).into_response())
}

fn webhooks(desk: &Desk) -> Result<&Webhooks, Problem> {
    desk.webhooks.as_ref().ok_or_else(|| Problem::new(&NOT_FOUND, "there is no [[webhook]]"))
}

/// The only one, if none is named.
fn name_of(desk: &Desk, named: Option<String>) -> Result<String, Problem> {
    match (named, desk.config.webhooks.as_slice()) {
        (Some(name), _) => Ok(name),
        (None, [only]) => Ok(only.name.as_str().to_owned()),
        (None, _) => Err(Problem::new(&MALFORMED, "webhook is missing")),
    }
}

fn item(view: &View) -> WebhookItem {
    let [delivered, retried, _] = view.told;
    WebhookItem {
        name: view.config.name.as_str().to_owned(),
        url: view.config.url.to_string(),
        types: view.config.types.iter().map(|kind| kind.as_str()).collect(),
        enabled: view.is_enabled,
        open: view.standing.is_closed,
        busy: view.standing.busy,
        waiting: view.standing.waiting,
        queued: view.queued,
        dead: view.dead,
        delivered,
        retried,
    }
}

fn delivery(delivery: Delivery) -> DeliveryItem {
    DeliveryItem {
        id: delivery.id,
        webhook: delivery.webhook,
        r#type: delivery.kind,
        session: delivery.session,
        at_ms: delivery.at_ms,
        attempts: delivery.attempts,
        took_ms: delivery.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        said: delivery.said,
        outcome: delivery.outcome,
        event: delivery.event,
    }
}

impl From<LookTrouble> for Problem {
    fn from(trouble: LookTrouble) -> Self {
        match trouble {
            LookTrouble::NotFound => Self::new(&NOT_FOUND, "there is no such webhook, or dead letter"),
            LookTrouble::Queue(trouble) => trouble.into(),
            LookTrouble::Sending(error) => Self::new(&INTERNAL, error.to_string()),
        }
    }
}
