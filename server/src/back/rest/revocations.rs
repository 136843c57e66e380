//! Tokens that let nobody in any more, by their `jti`: `/v1/revocations`.
//!
//! Must not know how a token is looked at. Start at [`put`].

use super::document::{Keep, Listing, One, Unkeep, moment};
use super::extract::{Body, Path, Query};
use super::problem::{MALFORMED, NOT_FOUND, OVER_LIMIT, Problem, STORE_FAILED};
use super::{Desk, Page, limit_of};
use crate::auth::{Revocation, UnixMs, unix_now};
use crate::back::moment::Moment;
use crate::back::revocations::{Revocations, Trouble};
use crate::mail::Mail;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use wire::cloudevent::timestamp;

/// Longest `jti`. Bytes.
const ID_BYTES_MAX: usize = 1024;

/// Until when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RevocationRequest {
    /// Seconds since 1970, or a time of RFC 3339: the token's `exp` and `auth.jwt.leeway_seconds`, from when it lets nobody in
    /// anyway. When it is left out the revocation stays until it is lifted.
    #[schema(schema_with = moment)]
    until: Option<Moment>,
}

/// A revoked token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationView {
    /// Its id.
    jti: String,
    /// When it is forgotten; absent if it stays until it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    until: Option<String>,
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RevocationsQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// List revoked tokens
#[utoipa::path(
    get, path = "/v1/revocations", tag = "users", operation_id = "listRevocations",
    security(("key" = ["read"])), params(RevocationsQuery),
    responses(
        (status = 200, description = "A page, in no order in particular.", body = Page<RevocationView>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<RevocationsQuery>,
) -> Result<Json<Page<RevocationView>>, Problem> {
    let limit = limit_of(&desk, query.limit)? as usize;
    let (items, more) = desk.revocations()?.page(query.cursor.as_deref(), limit);
    let next = items.last().filter(|_| more).map(|last| last.id.to_string());
    Ok(Json(Page::new(items.into_iter().map(view).collect(), next)))
}

/// Revoke a token
///
/// No client is let in with it, by whatever protocol, nor does a session go on with it, and the sessions with a connection that it
/// let in end. It needs no token of that id to be known. With `store.dir` it outlives a restart.
#[utoipa::path(
    put, path = "/v1/revocations/{jti}", tag = "users", operation_id = "putRevocation",
    security(("key" = ["admin"])),
    params(("jti" = String, Path, description = "The token's id, percent-encoded.", min_length = 1, max_length = 1024)),
    request_body = RevocationRequest,
    responses(
        (status = 204, description = "It holds, and no session is left."),
        Keep,
    )
)]
pub(super) async fn put(
    State(desk): State<Desk>,
    Path(jti): Path<String>,
    Body(request): Body<RevocationRequest>,
) -> Result<StatusCode, Problem> {
    if jti.is_empty() || jti.len() > ID_BYTES_MAX {
        return Err(Problem::new(&MALFORMED, "the id of a token has 1 to 1024 bytes"));
    }
    let until = request.until.map(|until| until.checked("until")).transpose();
    let until: Option<UnixMs> = until.map_err(|text| Problem::new(&MALFORMED, text))?;
    if until.is_some_and(|until| until <= unix_now()) {
        return Err(Problem::new(&MALFORMED, "until is over"));
    }
    let id: Arc<str> = Arc::from(jti);
    let most = desk.config.limits.revocations_max;
    let revoked = desk.revocations()?.revoke(Revocation { id: Arc::clone(&id), until }, most).await;
    if revoked == Err(Trouble::Full) {
        return Err(trouble(Trouble::Full));
    }
    // What the store says of it is no reason to leave anybody connected.
    for shard in desk.office.shards() {
        let token_id = Arc::clone(&id);
        desk.settle(shard, |reply| Mail::Revoke { token_id, reply }).await?;
    }
    revoked.map(|()| StatusCode::NO_CONTENT).map_err(trouble)
}

/// Whether a token is revoked
#[utoipa::path(
    get, path = "/v1/revocations/{jti}", tag = "users", operation_id = "getRevocation",
    security(("key" = ["read"])),
    params(("jti" = String, Path, description = "The token's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 200, description = "It is.", body = RevocationView),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(jti): Path<String>,
) -> Result<Json<RevocationView>, Problem> {
    desk.revocations()?.find(&jti).map(|found| Json(view(found))).ok_or_else(not_revoked)
}

/// Let a token be good again
#[utoipa::path(
    delete, path = "/v1/revocations/{jti}", tag = "users", operation_id = "deleteRevocation",
    security(("key" = ["admin"])),
    params(("jti" = String, Path, description = "The token's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 204, description = "It is lifted."),
        Unkeep,
    )
)]
pub(super) async fn delete(State(desk): State<Desk>, Path(jti): Path<String>) -> Result<StatusCode, Problem> {
    match desk.revocations()?.lift(&jti).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(not_revoked()),
        Err(why) => Err(trouble(why)),
    }
}

fn view(revocation: Revocation) -> RevocationView {
    RevocationView { jti: revocation.id.to_string(), until: revocation.until.map(|until| timestamp(until.0)) }
}

fn not_revoked() -> Problem {
    Problem::new(&NOT_FOUND, "the token is not revoked")
}

fn trouble(trouble: Trouble) -> Problem {
    match trouble {
        Trouble::Full => Problem::new(&OVER_LIMIT, "there are limits.revocations_max revocations"),
        Trouble::NotKept => {
            Problem::new(&STORE_FAILED, "it is so now, but the store did not take it: a restart forgets it")
        }
    }
}

impl Desk {
    fn revocations(&self) -> Result<&Revocations, Problem> {
        self.revocations.as_ref().ok_or_else(|| Problem::new(&NOT_FOUND, "there are no tokens here"))
    }
}
