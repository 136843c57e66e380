//! Queues: `GET /v1/queues`, `GET /v1/queues/{name}`, `GET /v1/queues/{name}/peek`.
//!
//! They are made, filled and emptied through the API of SQS on the same port; here is what that has no words for.

use super::document::Queues;
use super::extract::{Path, Query};
use super::problem::{INTERNAL, MALFORMED, NOT_FOUND, Problem, STORE_FAILED};
use super::{Desk, Page, limit_of};
use crate::back::queues::{self, QueueTrouble};
use crate::back::sqs::{Door, Looked, QueueAttribute, QueueValue};
use crate::state::unix_ms;
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::queue::{Kind, QueueName, QueueRefusal, QueueView, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Messages of one look, where no limit is given.
const LOOK_DEFAULT: u32 = 10;

/// Which queues.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct QueuesQuery {
    /// Only names that begin so, in `account` and `region`, which are `sqs.account` and `sqs.region` when they are left out.
    /// Without any of the three all queues are meant.
    prefix: Option<String>,
    /// Only queues of this account.
    account: Option<String>,
    /// Only queues of this region.
    region: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max`, or 1,000, it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// Where a queue is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlaceQuery {
    /// Its account; `sqs.account` when it is left out.
    account: Option<String>,
    /// Its region; `sqs.region` when it is left out.
    region: Option<String>,
}

/// Which messages of which queue.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PeekQuery {
    /// Its account; `sqs.account` when it is left out.
    account: Option<String>,
    /// Its region; `sqs.region` when it is left out.
    region: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Messages of a page, 10 when it is left out; above 100 it is that many. A page ends earlier once its messages have
    /// 8 MiB.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A queue. Its counts are exact; `sent`, `received` and `deleted` begin at 0 when the process starts.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueItem {
    name: String,
    /// Absent of a queue that the API of SQS does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// `standard` or `fifo`.
    kind: &'static str,
    /// Messages that can be received, also those whose group is held up.
    visible: u64,
    /// Messages that were received and not deleted, or are on their way to another queue.
    in_flight: u64,
    /// Messages whose time has not come.
    delayed: u64,
    /// Messages taken, without duplicates.
    sent: u64,
    /// Messages given to receivers, each time that it happened.
    received: u64,
    /// Messages that their receivers deleted.
    deleted: u64,
    /// Since the oldest stored message was sent; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<u64>,
    /// Receives that wait for messages.
    waiting_receives: u32,
    /// Groups with stored messages.
    groups: u32,
    /// Where messages go that were received too often.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_queue: Option<String>,
    /// How often they may be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    receives_max: Option<u32>,
    /// Since it was created.
    age_seconds: u64,
}

/// A stored message, seen without receiving it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PeekedMessage {
    /// Its id.
    id: String,
    /// `visible`, `delayed` or `in-flight`.
    stage: &'static str,
    /// Since it was sent.
    age_seconds: u64,
    /// How often it was received in this queue.
    receives: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// Made of the body where none was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    deduplication_id: Option<String>,
    /// The queue whose dead letter it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_of: Option<String>,
    /// Who sent it: an access key's id or an account.
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    /// Absent if it was not sent through the API of SQS.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// User attributes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, PeekedAttribute>,
}

/// A user attribute. One of the values is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PeekedAttribute {
    /// `String`, `Number` or `Binary`, perhaps with a label behind a dot.
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

/// List queues
#[utoipa::path(
    get, path = "/v1/queues", tag = "queues", operation_id = "listQueues",
    security(("key" = ["read"])), params(QueuesQuery),
    responses((status = 200, description = "A page, in order of account, region and name.", body = Page<QueueItem>), Queues)
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<QueuesQuery>,
) -> Result<Json<Page<QueueItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let QueuesQuery { prefix, account, region, .. } = &query;
    let prefix = match (prefix, account, region) {
        (None, None, None) => String::new(),
        _ => {
            let (account, region) = (account.as_deref(), region.as_deref());
            let name = door(&desk)?.full_name(account, region, prefix.as_deref().unwrap_or_default());
            name.as_str().to_owned()
        }
    };
    let after = query.cursor.as_deref().map(QueueName::new);
    let page = queues::list(&desk.office, &prefix, after.as_ref(), limit).await?;
    let next = page.items.last().filter(|_| page.more).map(|last| last.name.as_str().to_owned());
    let now_ms = unix_ms();
    Ok(Json(Page::new(page.items.iter().map(|view| item_of(view, now_ms)).collect(), next)))
}

/// Look at one queue
#[utoipa::path(
    get, path = "/v1/queues/{name}", tag = "queues", operation_id = "getQueue",
    security(("key" = ["read"])),
    params(("name" = String, Path, description = "Its name."), PlaceQuery),
    responses((status = 200, description = "The queue now.", body = QueueItem), Queues)
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(place): Query<PlaceQuery>,
) -> Result<Json<QueueItem>, Problem> {
    let queue = door(&desk)?.full_name(place.account.as_deref(), place.region.as_deref(), &name);
    let view = queues::view(&desk.office, &queue).await?;
    Ok(Json(item_of(&view, unix_ms())))
}

/// Look at messages without receiving them
///
/// Oldest first, whether they can be received or not. Nothing changes: neither their visibility nor how often they were
/// received.
#[utoipa::path(
    get, path = "/v1/queues/{name}/peek", tag = "queues", operation_id = "peekQueue",
    security(("key" = ["read"])),
    params(("name" = String, Path, description = "Its name."), PeekQuery),
    responses((status = 200, description = "A page, oldest first.", body = Page<PeekedMessage>), Queues)
)]
pub(super) async fn peek(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Query(query): Query<PeekQuery>,
) -> Result<Json<Page<PeekedMessage>>, Problem> {
    let door = door(&desk)?;
    if query.limit == Some(0) {
        return Err(Problem::new(&MALFORMED, "limit must be at least 1"));
    }
    let after = query.cursor.as_deref().map_or(Ok(0), str::parse);
    let after = after.map_err(|_| Problem::new(&MALFORMED, "cursor is not one this server made"))?;
    let queue = door.full_name(query.account.as_deref(), query.region.as_deref(), &name);
    let look = door.look(&queue, after, query.limit.unwrap_or(LOOK_DEFAULT)).await?;
    let (next, now_ms) = (look.next.map(|next| next.to_string()), unix_ms());
    Ok(Json(Page::new(look.items.iter().map(|looked| message_of(looked, now_ms)).collect(), next)))
}

/// Queues have names of three parts only through their API.
fn door(desk: &Desk) -> Result<&Door, Problem> {
    desk.door.as_ref().ok_or_else(|| Problem::new(&NOT_FOUND, "there are no queues: sqs.enabled is off"))
}

impl From<QueueTrouble> for Problem {
    fn from(trouble: QueueTrouble) -> Self {
        match trouble {
            QueueTrouble::Refused(QueueRefusal::NotFound) => Self::new(&NOT_FOUND, "there is no such queue"),
            QueueTrouble::Refused(QueueRefusal::NoJournal) => {
                Self::new(&NOT_FOUND, "there are no queues: sqs.enabled is off")
            }
            QueueTrouble::Refused(refusal) => Self::new(&INTERNAL, format!("the queue refused: {refusal:?}")),
            QueueTrouble::Store => Self::new(&STORE_FAILED, "stored messages cannot be read"),
            QueueTrouble::Office(error) => error.into(),
        }
    }
}

fn item_of(view: &QueueView, now_ms: u64) -> QueueItem {
    let (account, region, name) = queues::parts(&view.name);
    let told = |part: &str| (!part.is_empty()).then(|| part.to_owned());
    let seconds = |since_ms: u64| now_ms.saturating_sub(since_ms) / 1000;
    let dead = view.settings.dead_letters.as_ref();
    QueueItem {
        name: name.to_owned(),
        account: told(account),
        region: told(region),
        kind: match view.settings.kind {
            Kind::Standard => "standard",
            Kind::Fifo => "fifo",
        },
        visible: view.counts.visible,
        in_flight: view.counts.in_flight,
        delayed: view.counts.delayed,
        sent: view.flow.sent,
        received: view.flow.received,
        deleted: view.flow.settled,
        oldest_seconds: view.oldest.map(|oldest| seconds(oldest.0)),
        waiting_receives: view.waiting,
        groups: view.groups,
        dead_letter_queue: dead.map(|dead| queues::parts(&dead.target).2.to_owned()),
        receives_max: dead.map(|dead| dead.receives_max),
        age_seconds: seconds(view.created.0),
    }
}

fn message_of(looked: &Looked, now_ms: u64) -> PeekedMessage {
    let content = looked.content();
    let (body, attributes, sender) = match content {
        Some(content) => (Some(content.body), content.attributes, content.sender),
        None => (None, Vec::new(), None),
    };
    let attribute = |QueueAttribute { name, data_type, value }| {
        let (value, value_base64) = match value {
            QueueValue::Text(text) => (Some(text), None),
            QueueValue::Binary(bytes) => (None, Some(STANDARD.encode(bytes))),
        };
        (name, PeekedAttribute { r#type: data_type, value, value_base64 })
    };
    PeekedMessage {
        id: looked.id(),
        stage: match looked.peeked.stage {
            Stage::Delayed => "delayed",
            Stage::Visible => "visible",
            Stage::InFlight => "in-flight",
        },
        age_seconds: now_ms.saturating_sub(looked.peeked.sent.0) / 1000,
        receives: looked.peeked.receives,
        group: looked.group(),
        deduplication_id: looked.deduplication(),
        dead_letter_of: looked.dead_letter_of().map(|source| queues::parts(source).2.to_owned()),
        sender,
        body,
        attributes: attributes.into_iter().map(attribute).collect(),
    }
}
