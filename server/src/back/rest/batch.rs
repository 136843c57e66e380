//! Many messages in one request: `POST /v1/messages/batch`.
//!
//! What is wrong with one of them is said in its place and stops no other; only what is no list at all is refused as a whole.

use super::Desk;
use super::document::{Batch, ProblemDocument};
use super::extract::{JsonBytes, from_json};
use super::messages::{Accepted, PublishRequest, PublishResponse, Told};
use super::problem::{MALFORMED, OVER_LIMIT, Problem};
use crate::back::batch::{BATCH_MESSAGES_MAX, Published, Want};
use crate::back::gather::Outline;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchResponse {
    /// One for each message, in their order.
    pub(super) items: Vec<BatchItem>,
}

/// What became of a message of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum BatchItem {
    /// As `POST /v1/messages` answers with 200.
    Published(PublishResponse),
    /// With `wait: false`.
    Accepted(Accepted),
    /// As `POST /v1/messages` would have answered.
    Problem(ProblemDocument),
}

/// Publish many messages
///
/// A list of at most 1,000. Messages to one channel keep their order. Each is published or refused by itself: look at every item
/// of the answer.
#[utoipa::path(
    post, path = "/v1/messages/batch", tag = "messages", operation_id = "publishBatch",
    security(("key" = ["publish"])),
    request_body = Vec<PublishRequest>,
    responses(
        (status = 200, description = "A result or problem for each.", body = BatchResponse),
        Batch,
    )
)]
pub(super) async fn publish(
    State(desk): State<Desk>,
    JsonBytes(body): JsonBytes,
) -> Result<Json<BatchResponse>, Problem> {
    let requests: Vec<&RawValue> = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(&MALFORMED, format!("not a list of messages: {error}")))?;
    let read = requests.into_iter().map(|request| desk.read(request));
    let read = read.collect();
    Ok(Json(BatchResponse { items: desk.publish_each(read).await? }))
}

/// A message that can be published, or what is wrong with it.
pub(super) type Read = Result<(Outline, Want), Problem>;

impl Desk {
    fn read(&self, request: &RawValue) -> Read {
        let request: PublishRequest = from_json(request.get().as_bytes())?;
        let want = request.want();
        Ok((request.outline(self)?, want))
    }

    /// What becomes of each, in the order given.
    pub(super) async fn publish_each(&self, read: Vec<Read>) -> Result<Vec<BatchItem>, Problem> {
        if read.len() > BATCH_MESSAGES_MAX {
            return Err(Problem::new(&OVER_LIMIT, "a batch has at most 1000 messages"));
        }
        let mut told = Vec::with_capacity(read.len());
        let mut outlines = Vec::with_capacity(read.len());
        for one in read {
            told.push(one.map(|(outline, want)| {
                let told = Told::of(&outline);
                outlines.push((outline, want));
                told
            }));
        }
        let mut published = self.office.publish_many(outlines).await.into_iter();
        let item = |told: Result<Told, Problem>| -> Result<BatchItem, Problem> {
            let told = told?;
            match published.next() {
                Some(Ok(Published::Delivered(delivery))) => told.response(delivery).map(BatchItem::Published),
                Some(Ok(Published::Sent(id))) => Ok(BatchItem::Accepted(Accepted::of(id))),
                Some(Err(error)) => Err(error.into()),
                None => Err(Problem::from(crate::back::OfficeError::Uncertain)),
            }
        };
        let items = told.into_iter().map(item);
        Ok(items.map(|item| item.unwrap_or_else(|problem| BatchItem::Problem(problem.document()))).collect())
    }
}
