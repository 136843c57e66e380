//! The node itself: information, health, metrics, problem pages, the OpenAPI document, the live page.

use super::Desk;
use super::document::{Node, NodeBy, Page, Probe, Ready};
use super::extract::{Path, Query};
use super::memory::ProtocolMemory;
use super::problem::{self, BUSY, DRAINING, METHOD, NOT_FOUND, Problem};
use super::store::{self, StoreInfo};
use crate::back::metrics;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// A shard that is stalled for longer is not ready: a program that is merely slow takes events more often.
const STALLED_MS_MAX: u64 = 5_000;

/// The node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerInfo {
    name: &'static str,
    version: &'static str,
    node: u16,
    uptime_seconds: u64,
    shards: u8,
    draining: bool,
    /// Open connections on the public port.
    connections: u64,
    /// Sessions, attached or waiting to be resumed.
    sessions: u64,
    /// Sessions waiting to be resumed.
    detached: u64,
    /// Channels per shard added up; one with subscribers on two shards counts twice.
    channels: u64,
    subscriptions: u64,
    /// Messages waiting in outboxes.
    queued: u64,
    /// Resident memory of the process in bytes; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// With `memory=true`: as of `GET /v1/nodes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Vec<ProtocolMemory>>,
    /// Absent without `store.dir`.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreInfo>,
}

/// What of the node.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ServerQuery {
    /// What connections hold in memory, too, for which each is looked at.
    #[serde(default)]
    memory: bool,
}

/// Look at the node
#[utoipa::path(
    get, path = "/v1/server", tag = "server", operation_id = "getServer",
    security(("key" = ["read"])), params(ServerQuery),
    responses((status = 200, description = "The node now.", body = ServerInfo), NodeBy)
)]
pub(super) async fn info(
    State(desk): State<Desk>,
    Query(query): Query<ServerQuery>,
) -> Result<Json<ServerInfo>, Problem> {
    let snapshot = metrics::gather(&desk.office).await;
    let memory = if query.memory { desk.memory().await } else { None };
    Ok(Json(ServerInfo {
        name: "trunkline",
        version: env!("CARGO_PKG_VERSION"),
        node: desk.config.server.node_id,
        uptime_seconds: desk.started.elapsed().as_secs(),
        shards: desk.office.topology().shards,
        draining: desk.office.sends_away(),
        connections: snapshot.connections(),
        sessions: snapshot.totals.sessions,
        detached: snapshot.totals.detached,
        channels: snapshot.totals.channels,
        subscriptions: snapshot.totals.subscriptions,
        queued: snapshot.totals.queued,
        resident_bytes: metrics::resident_bytes(),
        memory,
        store: store::info_if_any(&desk).await,
    }))
}

/// The process runs
#[utoipa::path(
    get, path = "/health/live", tag = "server", operation_id = "isLive", security(()),
    responses((status = 200, description = "`ok`"), Probe)
)]
pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// New clients are welcome
#[utoipa::path(
    get, path = "/health/ready", tag = "server", operation_id = "isReady", security(()),
    responses((status = 200, description = "`ok`"), Ready)
)]
pub(super) async fn ready(State(desk): State<Desk>) -> Result<&'static str, Problem> {
    if desk.office.sends_away() {
        return Err(Problem::new(&DRAINING, "the server is closing its connections"));
    }
    for shard in desk.office.shards() {
        let stalled_ms = metrics::stats_of(&desk.office, shard).await.map_or(0, |stats| stats.stalled_ms);
        if stalled_ms > STALLED_MS_MAX {
            let text = format!("shard {} has read nothing from its clients for {stalled_ms} ms", shard.0);
            return Err(Problem::new(&BUSY, text));
        }
    }
    Ok("ok\n")
}

/// Metrics in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "server", operation_id = "getMetrics",
    security(("key" = ["read"])),
    responses((status = 200, description = "Prometheus text format 0.0.4.", content_type = "text/plain"), Node)
)]
pub(super) async fn metrics(State(desk): State<Desk>) -> impl IntoResponse {
    let stored = match &desk.storage {
        Some(storage) => storage.stats().await.ok(),
        None => None,
    };
    let (queues_max, now_ms) = (desk.config.sqs.metrics_queues_max, crate::state::unix_ms());
    let queues_max = if desk.door.is_some() { queues_max } else { 0 };
    let queues = metrics::gather_queues(&desk.office, queues_max, now_ms);
    let (shards, queues) = tokio::join!(metrics::gather(&desk.office), queues);
    let mut text = metrics::render(&shards, &queues, stored.as_ref());
    if let Some(bridges) = &desk.bridges {
        text.push_str(&metrics::render_bridges(&bridges.views().await));
    }
    if let Some(webhooks) = &desk.webhooks {
        text.push_str(&metrics::render_webhooks(&webhooks.views().await));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

pub(super) async fn openapi(document: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, JSON)], document)
}

/// Pages for people, outside the API document.
pub(super) fn plain() -> Router<Desk> {
    Router::new().route("/", get(|| async { Html(include_str!("live.html")) }))
}

/// What a problem means
#[utoipa::path(
    get, path = "/v1/problems/{name}", tag = "server", operation_id = "getProblemPage", security(()),
    params(("name" = String, Path, description = "The `code` of a problem document.")),
    responses((status = 200, description = "A page for people.", content_type = "text/plain"), Page)
)]
pub(super) async fn problem_page(Path(name): Path<String>) -> Result<impl IntoResponse, Problem> {
    let page = problem::page(&name).ok_or_else(|| Problem::new(&NOT_FOUND, "no problem of that name"))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, TEXT)], page))
}

pub(super) async fn not_found() -> Problem {
    Problem::new(&NOT_FOUND, "see /v1/openapi.json for what there is")
}

pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(&METHOD, "see /v1/openapi.json for what there is")
}
