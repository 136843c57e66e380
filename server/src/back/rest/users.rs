//! Users: who is there, what they are subscribed to from the start of every session, and who is kept out.
//! `/v1/users`, `/v1/blocks`.
//!
//! A user is whom the back end named when it let a session in; here is only what sessions and stored subscriptions say of
//! it. Start at [`list`].

use super::document::{Change, Listing, One, Remove, Replace};
use super::extract::{Body, Path, Query};
use super::problem::{MALFORMED, NOT_FOUND, Problem};
use super::sessions::{Count, Ending, SessionItem, in_path};
use super::{Desk, Page, limit_of};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hub::{ChannelName, Command, Members, Quality, Reason, Report, UserChange, UserDeed};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Which users.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UsersQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A user with sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserItem {
    user: String,
    /// Connected ones and those that may come back.
    sessions: u64,
}

/// List users that have sessions
#[utoipa::path(
    get, path = "/v1/users", tag = "users", operation_id = "listUsers", params(UsersQuery),
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "A page, in order of the ids as channels have them.", body = Page<UserItem>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<UsersQuery>,
) -> Result<Json<Page<UserItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let after = match query.cursor {
        None => None,
        Some(cursor) if cursor.starts_with("$user/") => Some(desk.channel(&cursor)?),
        Some(_) => return Err(Problem::new(&MALFORMED, "cursor is not one this server made")),
    };
    let (mut channels, next) = desk.page_of_channels(Some("$user/#".to_owned()), after, limit).await?;
    let items = channels.drain(..).filter_map(|item| {
        let user = ChannelName::parse(&item.channel, u32::MAX).ok()?.user_id()?;
        Some(UserItem { user, sessions: item.sessions })
    });
    Ok(Json(Page::new(items.collect(), next)))
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserView {
    user: String,
    /// Whether a session has a connection now.
    online: bool,
    /// Seconds since the oldest of the sessions that have a connection was opened; absent if none has.
    #[serde(skip_serializing_if = "Option::is_none")]
    online_seconds: Option<u64>,
    /// At most `limits.rest_page_items_max`; `/v1/sessions` lists all.
    sessions: Vec<SessionItem>,
    /// What each session is subscribed to from its start.
    subscriptions: Vec<StoredItem>,
}

/// A stored subscription.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoredItem {
    /// A channel, or a filter.
    channel: String,
    /// The most that MQTT sessions get messages with.
    #[schema(minimum = 0, maximum = 2)]
    qos: u8,
}

/// Look at one user
#[utoipa::path(
    get, path = "/v1/users/{id}", tag = "users", operation_id = "getUser",
    security(("key" = ["read"])),
    params(("id" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 200, description = "The user.", body = UserView),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<Json<UserView>, Problem> {
    let user = desk.user(&id)?;
    let limit = u32::try_from(desk.config.limits.rest_page_items_max).unwrap_or(u32::MAX);
    let of = Some(Members::User(Arc::clone(&user)));
    let mut sessions = Vec::new();
    for shard in desk.office.shards() {
        let room = limit - u32::try_from(sessions.len()).unwrap_or(limit);
        let ask = hub::Query::Sessions { of: of.clone(), after: None, limit: room };
        let report = desk.office.ask(shard, |token| Command::Query { token, query: ask }).await?;
        if let Report::Sessions(page) = report {
            sessions.extend(desk.describe(shard, page.items).await);
        }
    }
    let subscriptions = desk.stored(&user).await?;
    if sessions.is_empty() && subscriptions.is_empty() {
        return Err(Problem::new(&NOT_FOUND, "the user has no session, and nothing is stored of it"));
    }
    let online = sessions.iter().filter(|session| session.is_connected());
    let online_seconds = online.map(SessionItem::age_seconds).max();
    Ok(Json(UserView { user: id, online: online_seconds.is_some(), online_seconds, sessions, subscriptions }))
}

/// How a user's sessions end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndUserQuery {
    /// As for one session.
    #[serde(default)]
    reconnect: bool,
    /// As for one session.
    #[param(max_length = 123)]
    reason: Option<String>,
    /// This session stays.
    #[param(pattern = "^[A-Za-z0-9_-]{20}$")]
    except: Option<String>,
}

/// End a user's sessions
#[utoipa::path(
    delete, path = "/v1/users/{id}/sessions", tag = "users", operation_id = "endUserSessions",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The user's id, percent-encoded.", min_length = 1), EndUserQuery),
    responses(
        (status = 200, description = "How many ended.", body = Count),
        Listing,
    )
)]
pub(super) async fn end_sessions(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(query): Query<EndUserQuery>,
) -> Result<Json<Count>, Problem> {
    let of = Members::User(desk.user(&id)?);
    let reason = if query.reconnect { Reason::Disconnected } else { Reason::Kicked };
    let ending = Ending::checked(reason, query.reason)?;
    let Some(except) = query.except else { return Ok(Json(desk.end(of, ending).await?.into())) };
    let except = in_path(&except).map_err(|_| Problem::new(&MALFORMED, "except is not a session id"))?;
    let mut count = 0;
    for shard in desk.office.shards() {
        let ask = hub::Query::Sessions { of: Some(of.clone()), after: None, limit: u32::MAX };
        let report = desk.office.ask(shard, |token| Command::Query { token, query: ask }).await?;
        let Report::Sessions(page) = report else { continue };
        for session in page.items.into_iter().map(|view| view.id).filter(|id| *id != except) {
            count += desk.end(Members::Session(session), ending.clone()).await?;
        }
    }
    Ok(Json(count.into()))
}

/// List a user's stored subscriptions
#[utoipa::path(
    get, path = "/v1/users/{id}/subscriptions", tag = "users", operation_id = "listStored",
    security(("key" = ["read"])),
    params(("id" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 200, description = "All of them, in the order in which they were stored.", body = Page<StoredItem>),
        One,
    )
)]
pub(super) async fn stored(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<Json<Page<StoredItem>>, Problem> {
    let user = desk.user(&id)?;
    Ok(Json(Page::new(desk.stored(&user).await?, None)))
}

/// A subscription to be stored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredRequest {
    /// A channel, or a filter with `+` and `#`.
    #[schema(min_length = 1)]
    channel: String,
    /// The most that MQTT sessions get messages with; 1 when it is left out.
    #[schema(minimum = 0, maximum = 2)]
    qos: Option<u8>,
}

/// Store a subscription
///
/// Every session of the user has it from its start, whatever its protocol, and those that are there have it when this is
/// answered. A session that has a higher QoS already keeps it. With a store it is on disk before the answer.
#[utoipa::path(
    put, path = "/v1/users/{id}/subscriptions", tag = "users", operation_id = "putStored",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    request_body = StoredRequest,
    responses(
        (status = 204, description = "It is stored."),
        Change,
    )
)]
pub(super) async fn put(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Body(request): Body<StoredRequest>,
) -> Result<StatusCode, Problem> {
    let quality = desk.traits(request.qos, None)?.quality;
    hub::check_filter(&request.channel, desk.channel_name_bytes_max())?;
    let subscriptions = vec![(request.channel.into_boxed_str(), quality)];
    let change = UserChange { user: desk.user(&id)?, deed: UserDeed::Add, subscriptions };
    desk.office.change_user(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which stored subscription.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StoredQuery {
    /// As it was stored; all of them when it is left out.
    #[param(min_length = 1)]
    channel: Option<String>,
}

/// Delete stored subscriptions
///
/// The user's sessions are unsubscribed at once, also those that subscribed themselves.
#[utoipa::path(
    delete, path = "/v1/users/{id}/subscriptions", tag = "users", operation_id = "deleteStored",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "The user's id, percent-encoded.", min_length = 1), StoredQuery),
    responses(
        (status = 204, description = "It is not stored any more."),
        Remove,
    )
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(query): Query<StoredQuery>,
) -> Result<StatusCode, Problem> {
    let (deed, subscriptions) = match query.channel {
        Some(channel) => (UserDeed::Remove, vec![(channel.into_boxed_str(), Quality::AtMostOnce)]),
        None => (UserDeed::Replace, Vec::new()),
    };
    let change = UserChange { user: desk.user(&id)?, deed, subscriptions };
    match desk.office.change_user(change).await? {
        0 => Err(Problem::new(&NOT_FOUND, "nothing like that is stored")),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Why and how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockRequest {
    /// Seconds until it is over, at least 1; it stays until it is lifted when it is left out.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// For people.
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

/// Block a user
///
/// No session of the user is let in from now on, in whatever protocol, and those that are there end. As with bans: with
/// `server.state_file` it outlives a server that ends in order; a crash loses it.
#[utoipa::path(
    put, path = "/v1/blocks/{user}", tag = "users", operation_id = "putBlock",
    security(("key" = ["admin"])),
    params(("user" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    request_body = BlockRequest,
    responses(
        (status = 204, description = "It holds, and no session is left."),
        Replace,
    )
)]
pub(super) async fn block(
    State(desk): State<Desk>,
    Path(user): Path<String>,
    Body(request): Body<BlockRequest>,
) -> Result<StatusCode, Problem> {
    let user = desk.user(&user)?;
    desk.block(&user, request.seconds, request.reason).await?;
    desk.end(Members::User(user), Reason::Kicked.into()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A blocked user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BlockView {
    user: String,
    /// Seconds until it is over; absent if it stays until it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Whether a user is blocked
#[utoipa::path(
    get, path = "/v1/blocks/{user}", tag = "users", operation_id = "getBlock",
    security(("key" = ["read"])),
    params(("user" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 200, description = "It is.", body = BlockView),
        One,
    )
)]
pub(super) async fn blocked(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<Json<BlockView>, Problem> {
    let user = desk.user(&id)?;
    let (seconds, reason) = desk.block_of(&user).await?.ok_or_else(not_blocked)?;
    Ok(Json(BlockView { user: id, seconds, reason }))
}

/// Let a user in again
#[utoipa::path(
    delete, path = "/v1/blocks/{user}", tag = "users", operation_id = "deleteBlock",
    security(("key" = ["admin"])),
    params(("user" = String, Path, description = "The user's id, percent-encoded.", min_length = 1)),
    responses(
        (status = 204, description = "It is lifted."),
        Remove,
    )
)]
pub(super) async fn unblock(
    State(desk): State<Desk>,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    let user = desk.user(&user)?;
    if desk.unblock(&user).await? { Ok(StatusCode::NO_CONTENT) } else { Err(not_blocked()) }
}

fn not_blocked() -> Problem {
    Problem::new(&NOT_FOUND, "the user is not blocked")
}

impl Desk {
    /// A user's id, which has to fit into the name of a channel.
    pub(super) fn user(&self, id: &str) -> Result<Arc<str>, Problem> {
        let name_bytes = ChannelName::user(id).as_str().len();
        if id.is_empty() || name_bytes > self.channel_name_bytes_max() as usize {
            let text =
                "a user's id has at least one character, and is shorter than limits.channel_name_bytes_max";
            return Err(Problem::new(&MALFORMED, text));
        }
        Ok(Arc::from(id))
    }

    async fn stored(&self, user: &str) -> Result<Vec<StoredItem>, Problem> {
        let list = self.office.stored_of(user).await?;
        let item =
            |(name, quality): (&str, Quality)| StoredItem { channel: name.to_owned(), qos: quality as u8 };
        Ok(list.iter().map(item).collect())
    }
}
