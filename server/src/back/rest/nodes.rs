//! Nodes, of which there is one: `GET /v1/nodes`, `PUT`, `DELETE /v1/nodes/{id}/drain`.
//!
//! A node that is drained goes on with everything but clients: whoever wants it to end says so to the process. Start at [`list`].

use super::document::{Node, NodeWork, One};
use super::extract::{Body, Path};
use super::memory::ProtocolMemory;
use super::problem::{DRAINING, MALFORMED, NOT_FOUND, Problem};
use super::{Desk, Page};
use crate::back::metrics;
use crate::mail::Mail;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Longest window: a day.
const SECONDS_MAX: u32 = 86_400;

/// A node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeItem {
    /// `server.node_id`.
    id: u16,
    version: &'static str,
    uptime_seconds: u64,
    shards: u8,
    /// It sends its clients away and takes no new ones.
    draining: bool,
    /// Open connections on the public port.
    connections: u64,
    /// Sessions, attached or waiting to be resumed.
    sessions: u64,
    /// Sessions waiting to be resumed.
    detached: u64,
    subscriptions: u64,
    /// Messages waiting in outboxes.
    queued: u64,
    /// Resident memory of the process in bytes; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    resident_bytes: Option<u64>,
    /// What connections hold in memory, measured for this answer: each is looked at, half a millisecond at a time. Not in it: what
    /// the allocator adds, tables that have room for more, the library's part of TLS, sockets in the kernel, and what is of no
    /// connection. Absent when a shard gave no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<Vec<ProtocolMemory>>,
}

/// How a node is drained.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainRequest {
    /// Connections are closed at random times within so many, 0 to 86,400; `server.drain_window_ms` when it is left out.
    #[schema(minimum = 0, maximum = 86_400)]
    seconds: Option<u32>,
}

/// List nodes
#[utoipa::path(
    get, path = "/v1/nodes", tag = "server", operation_id = "listNodes",
    security(("key" = ["read"])),
    responses((status = 200, description = "This one; there are no others yet.", body = Page<NodeItem>), Node)
)]
pub(super) async fn list(State(desk): State<Desk>) -> Json<Page<NodeItem>> {
    let snapshot = metrics::gather(&desk.office).await;
    let item = NodeItem {
        id: desk.config.server.node_id,
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: desk.started.elapsed().as_secs(),
        shards: desk.office.topology().shards,
        draining: desk.office.sends_away(),
        connections: snapshot.connections(),
        sessions: snapshot.totals.sessions,
        detached: snapshot.totals.detached,
        subscriptions: snapshot.totals.subscriptions,
        queued: snapshot.totals.queued,
        resident_bytes: metrics::resident_bytes(),
        memory: desk.memory().await,
    };
    Json(Page::new(vec![item], None))
}

/// Drain a node
///
/// As an orderly stop does: no new clients (503, `/health/ready` says no), and connections are closed at random times within the
/// window, so that their clients come back elsewhere. Sessions that may be resumed stay. The process goes on, and so do REST, queues
/// and webhooks, until it is ended or `DELETE` lets clients in again.
#[utoipa::path(
    put, path = "/v1/nodes/{id}/drain", tag = "server", operation_id = "drainNode",
    security(("key" = ["admin"])), request_body = DrainRequest,
    params(("id" = String, Path, description = "From the list.", pattern = "^[0-9]{1,5}$")),
    responses(
        (status = 202, description = "It begins: `/v1/nodes` shows how many connections are left."),
        NodeWork,
    )
)]
pub(super) async fn drain(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Body(request): Body<DrainRequest>,
) -> Result<StatusCode, Problem> {
    desk.check_node(&id)?;
    if request.seconds.is_some_and(|seconds| seconds > SECONDS_MAX) {
        return Err(Problem::new(&MALFORMED, "`seconds` must be between 0 and 86400"));
    }
    let window_ms = request.seconds.map_or(desk.config.server.drain_window_ms, |s| u64::from(s) * 1000);
    desk.send_away(Some(window_ms)).await?;
    Ok(StatusCode::ACCEPTED)
}

/// End the draining of a node
///
/// Who is there still stays, and clients are let in again.
#[utoipa::path(
    delete, path = "/v1/nodes/{id}/drain", tag = "server", operation_id = "undrainNode",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "From the list.", pattern = "^[0-9]{1,5}$")),
    responses(
        (status = 204, description = "Clients are welcome."),
        One,
    )
)]
pub(super) async fn undrain(State(desk): State<Desk>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    desk.check_node(&id)?;
    desk.send_away(None).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Desk {
    fn check_node(&self, id: &str) -> Result<(), Problem> {
        if id.parse::<u16>() != Ok(self.config.server.node_id) {
            return Err(Problem::new(&NOT_FOUND, "no such node"));
        }
        if self.office.is_draining() {
            return Err(Problem::new(&DRAINING, "the process is ending"));
        }
        Ok(())
    }

    async fn send_away(&self, window_ms: Option<u64>) -> Result<(), Problem> {
        match window_ms {
            Some(_) => self.office.start_leaving(),
            None => self.office.stop_leaving(),
        }
        for shard in self.office.shards() {
            self.office.tell(shard, Mail::Drain { window_ms }).await?;
        }
        Ok(())
    }
}
