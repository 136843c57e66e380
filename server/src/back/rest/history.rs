//! What a channel keeps for those who come later: `GET` and `DELETE /v1/messages`.

use super::document::{Forget, History};
use super::extract::Query;
use super::messages::{MessageView, view_of};
use super::problem::{MALFORMED, Problem};
use super::{Desk, limit_of};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hub::{Command, Order, Position, Refusal, Report, Span};
use serde::{Deserialize, Serialize};
use std::str::FromStr as _;
use utoipa::{IntoParams, ToSchema};

/// Which part of a channel's history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// The channel.
    #[param(min_length = 1)]
    channel: String,
    /// Only what is newer than this position; from the oldest kept when it is left out.
    after: Option<String>,
    /// Only what is older than this position; up to the newest when it is left out.
    before: Option<String>,
    /// `true`: newest first.
    #[serde(default)]
    reverse: bool,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A page of history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryPage {
    items: Vec<MessageView>,
    /// Position to pass as `after`, with `reverse` as `before`, for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// The newest position of the channel; absent when nothing was ever kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// Read a channel's history
#[utoipa::path(
    get, path = "/v1/messages", tag = "messages", operation_id = "readHistory",
    security(("key" = ["read"])), params(HistoryQuery),
    responses(
        (status = 200, description = "A page, oldest first unless `reverse` is set.", body = HistoryPage),
        History,
    )
)]
pub(super) async fn read(
    State(desk): State<Desk>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<HistoryPage>, Problem> {
    let channel = desk.channel(&query.channel)?;
    let span = Span {
        after: query.after.as_deref().map(|text| position(text, "after")).transpose()?,
        before: query.before.as_deref().map(|text| position(text, "before")).transpose()?,
        order: if query.reverse { Order::NewestFirst } else { Order::OldestFirst },
        limit: limit_of(&desk, query.limit)?,
    };
    let home = desk.office.home_of_channel(&channel);
    let query = hub::Query::History { channel, span };
    let report = desk.office.ask(home, |token| Command::Query { token, query }).await?;
    let Report::History(page, newest) = report else { return Err(Problem::from(Refusal::NotFound)) };
    let next = page.items.last().filter(|_| page.more).and_then(|last| last.position);
    Ok(Json(HistoryPage {
        items: page.items.iter().map(|message| view_of(message)).collect(),
        next: next.map(|position| position.to_string()),
        position: newest.map(|position| position.to_string()),
    }))
}

/// Which part of which channel's history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ForgetQuery {
    /// The channel.
    #[param(min_length = 1)]
    channel: String,
    /// Only what is older than this position; everything when it is left out, and positions begin a new epoch.
    before: Option<String>,
}

/// Delete a channel's history
///
/// Who reads from a position that is gone by this is told so. What the channel retains stays (`/v1/retained`).
#[utoipa::path(
    delete, path = "/v1/messages", tag = "messages", operation_id = "deleteHistory",
    security(("key" = ["admin"])), params(ForgetQuery),
    responses(
        (status = 204, description = "It is gone, or there was nothing."),
        Forget,
    )
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Query(query): Query<ForgetQuery>,
) -> Result<StatusCode, Problem> {
    let channel = desk.channel(&query.channel)?;
    let before = query.before.as_deref().map(|text| position(text, "before")).transpose()?;
    let home = desk.office.home_of_channel(&channel);
    desk.office.ask(home, |token| Command::DropHistory { channel, before, token }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn position(text: &str, name: &str) -> Result<Position, Problem> {
    Position::from_str(text).map_err(|_| Problem::new(&MALFORMED, format!("{name} is not a position")))
}
