//! Bridges to other MQTT brokers: `GET /v1/bridges`.

use super::Desk;
use super::document::Node;
use crate::back::bridge::{Loss, View};
use crate::config::BridgeRule;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// All bridges.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BridgeList {
    /// In the order of the configuration.
    items: Vec<BridgeItem>,
}

/// A bridge.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BridgeItem {
    name: String,
    url: String,
    /// `connecting`, `connected`, `waiting` (it will try again) or `stopped`.
    state: &'static str,
    /// Seconds since it is so.
    state_seconds: u64,
    /// Why the last connection ended, or there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// Connections so far. This and the counters below begin at 0 when the process starts.
    connects: u64,
    /// Messages sent to the broker, those that were sent again too.
    messages_out: u64,
    /// Messages taken in from the broker, likewise.
    messages_in: u64,
    /// Messages that wait here for the broker; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    queued: Option<u32>,
    /// Messages of QoS 1 and 2 that the broker has not acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<u32>,
    dropped: Dropped,
    rules: Vec<RuleItem>,
    /// Filters that this server or the broker did not grant.
    refused_filters: Vec<String>,
    /// Filters at the broker that are not subscribed to, since it sends such messages by a bridge of its own.
    resting_filters: Vec<String>,
}

/// Messages that did not pass.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Dropped {
    /// They have been there.
    r#loop: u64,
    /// No rule is about them.
    unmatched: u64,
    /// The other side does not take packets of their size.
    too_large: u64,
    /// The other side refused them.
    refused: u64,
    /// They are for the broker, and too much waited for it (`queue_messages_max`, `queue_bytes_max`); absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    overflow: Option<u64>,
}

/// A rule of a bridge.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleItem {
    /// `in`, `out` or `both`.
    direction: &'static str,
    /// Topics here.
    local_filter: String,
    /// Topics at the broker.
    remote_filter: String,
    /// Highest QoS.
    qos: u8,
}

/// List bridges to other MQTT brokers
#[utoipa::path(
    get, path = "/v1/bridges", tag = "server", operation_id = "listBridges",
    security(("key" = ["read"])),
    responses((status = 200, description = "All of them.", body = BridgeList), Node)
)]
pub(super) async fn list(State(desk): State<Desk>) -> Json<BridgeList> {
    let views = match &desk.bridges {
        Some(bridges) => bridges.views().await,
        None => Vec::new(),
    };
    Json(BridgeList { items: views.into_iter().map(item).collect() })
}

fn item(view: View<'_>) -> BridgeItem {
    let View { config, story, counts, queued, in_flight, overflow } = view;
    let mut dropped = Dropped { overflow, ..Dropped::default() };
    for ((loss, _), count) in Loss::ALL.iter().zip(counts.lost) {
        match loss {
            Loss::Loop => dropped.r#loop = count,
            Loss::Unmatched => dropped.unmatched = count,
            Loss::TooLarge => dropped.too_large = count,
            Loss::Refused => dropped.refused = count,
        }
    }
    BridgeItem {
        name: config.name.as_str().to_owned(),
        url: config.url.to_string(),
        state: story.standing.name(),
        state_seconds: story.since.elapsed().as_secs(),
        last_error: story.error,
        connects: counts.connects,
        messages_out: counts.messages_out,
        messages_in: counts.messages_in,
        queued,
        in_flight,
        dropped,
        rules: config.rules.iter().map(rule).collect(),
        refused_filters: story.refused,
        resting_filters: story.resting,
    }
}

fn rule(rule: &BridgeRule) -> RuleItem {
    RuleItem {
        direction: rule.direction.as_str(),
        local_filter: rule.local.to_string(),
        remote_filter: rule.remote.to_string(),
        qos: rule.qos,
    }
}
