//! Changing a session that is there: `PATCH /v1/sessions/{id}`.
//!
//! Owns what may be changed and the order: all of it is checked before anything is done. Must not know how a protocol's clients
//! notice. Start at [`patch`].

use super::Desk;
use super::document::{Amend, moment};
use super::extract::{Body, Path};
use super::problem::{CONFLICT, MALFORMED, Problem};
use super::sessions::{SessionItem, in_path};
use crate::auth::{PermissionEntry, Permissions};
use crate::back::OfficeError;
use crate::back::moment::Moment;
use crate::back::webhook::{STATE_BYTES_MAX, check_user};
use crate::mail::{Mail, Rewrite, SessionChange};
use crate::objects::present;
use axum::Json;
use axum::extract::State;
use hub::{Command, Refusal, SessionId};
use serde::Deserialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is to be another; a member that is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionPatch {
    /// Text of at most 4 KiB that is sent with each of its events from now on; `null` removes it. Where there is no `[[webhook]]`
    /// nobody is sent it: 409.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, max_length = 4096)]
    state: Option<Option<Box<str>>>,
    /// Whose it is from now on, of at most 1024 bytes; `null`: nobody's. What is stored of the former user ends, unless its client
    /// asked for it itself, and what is stored of the new one is there; what its client asked for and this user may not, as
    /// `own` rules and `{user}` in permissions say, ends, too. If the user has as many sessions as it may, the oldest ends, or
    /// it is 409 (`users.when_full`); and so it is if the user is blocked, or the session is being let in.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    user: Option<Option<Box<str>>>,
    /// Its connection is closed then, and its client comes back; `null`: never. Seconds since 1970, or a time of RFC 3339.
    #[serde(default, deserialize_with = "present")]
    #[schema(schema_with = moment)]
    expires_at: Option<Option<Moment>>,
    /// As in tokens: what it may do with channels beside what `[[channel]]` rules let anyone; `null`: nothing more. Subscriptions
    /// that were allowed before and are not any more end.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<Object>>)]
    permissions: Option<Option<Vec<PermissionEntry>>>,
}

/// Change a session
///
/// What is said of permissions and of the end holds for as long as the client is connected: when it comes back it is looked at
/// again, and its token, or the answer to `session.connect`, counts. A client of Socket.IO that comes back to its session without
/// being asked about keeps them. A session is its user's also while it has no connection; a client that comes back as somebody
/// else gets a new one. A session of Socket.IO that was given another user does not outlive the process.
#[utoipa::path(
    patch, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "patchSession",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Session id.", pattern = "^[A-Za-z0-9_-]{20}$")),
    request_body = SessionPatch,
    responses(
        (status = 200, description = "The session as it is now; one that the change ended as it was, and not connected.",
         body = SessionItem),
        Amend,
    )
)]
pub(super) async fn patch(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Body(request): Body<SessionPatch>,
) -> Result<Json<SessionItem>, Problem> {
    let session = in_path(&id)?;
    let malformed = |text: String| Problem::new(&MALFORMED, text);
    let SessionPatch { state, user, expires_at, permissions } = request;
    if let Some(user) = user.as_ref().and_then(Option::as_deref) {
        check_user(user).map_err(|text| malformed(format!("user {text}")))?;
    }
    if state.as_ref().and_then(Option::as_ref).is_some_and(|state| state.len() > STATE_BYTES_MAX) {
        return Err(malformed(format!("state has more than {STATE_BYTES_MAX} bytes")));
    }
    let at = |at: Option<Moment>| at.map(|at| at.checked("expires_at")).transpose();
    let may = |entries: Option<Vec<PermissionEntry>>| entries.map(Permissions::of_entries).transpose();
    let expires = expires_at.map(at).transpose().map_err(malformed)?;
    let permissions = permissions.map(may).transpose();
    let permissions = permissions.map_err(|text| malformed(format!("permissions: {text}")))?;
    let as_it_was = desk.session(session).await?.ok_or(Refusal::NotFound)?;
    let told = desk.webhooks.as_ref().filter(|webhooks| webhooks.are_told_of(session));
    if state.is_some() && told.is_none() {
        return Err(Problem::new(&CONFLICT, "there is no [[webhook]] that is told of this session"));
    }
    let is_of_client = expires.is_some() || permissions.is_some();
    if user.is_some() && is_of_client && !as_it_was.is_connected() {
        return Err(no_connection());
    }
    if let Some(user) = user {
        desk.reassign(session, user.map(Arc::from)).await?;
    }
    if let Some((webhooks, state)) = told.zip(state) {
        webhooks.put_state(session, state);
    }
    if !is_of_client {
        return Ok(Json(desk.after(session, as_it_was).await?));
    }
    let permissions =
        permissions.map_or(Rewrite::Keep, |permissions| Rewrite::Put(permissions.map(Arc::new)));
    let change =
        Box::new(SessionChange { expires: expires.map_or(Rewrite::Keep, Rewrite::Put), permissions });
    let home = desk.office.home_of(session);
    if !desk.settle(home, |reply| Mail::Change { session, change, reply }).await? {
        return Err(no_connection());
    }
    Ok(Json(desk.after(session, as_it_was).await?))
}

fn no_connection() -> Problem {
    let text = "the session has no connection; what its client may do is said when it comes back";
    Problem::new(&CONFLICT, text)
}

impl Desk {
    /// The session as it is; what was changed may have ended it.
    async fn after(&self, session: SessionId, as_it_was: SessionItem) -> Result<SessionItem, Problem> {
        Ok(self.session(session).await?.unwrap_or_else(|| as_it_was.ended()))
    }

    async fn reassign(&self, session: SessionId, user: Option<Arc<str>>) -> Result<(), Problem> {
        if let Some(user) = &user
            && self.block_of(user).await?.is_some()
        {
            return Err(Problem::new(&CONFLICT, "the user is blocked"));
        }
        let home = self.office.home_of(session);
        match self.office.ask(home, |token| Command::Reassign { session, user, token }).await {
            Err(OfficeError::Refused(Refusal::OverLimit)) => {
                Err(Problem::new(&CONFLICT, "the user has as many sessions as it may"))
            }
            answer => answer.map(drop).map_err(Problem::from),
        }
    }
}
