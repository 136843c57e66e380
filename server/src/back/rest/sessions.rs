//! Sessions: list, look at, end; and their subscriptions. `GET`, `DELETE /v1/sessions`, `PUT`, `DELETE /v1/subscriptions`.

use super::document::{Change, Listing, One};
use super::extract::{Body, Path, Query};
use super::messages::session_id;
use super::problem::{MALFORMED, Problem};
use super::{Cursor, Desk, Page, Taken, limit_of};
use crate::mail::{Inspection, Mail, WORDS_BYTES_MAX};
use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use hub::{Command, Members, Reason, Refusal, Report, SessionId, SessionView, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use wire::cloudevent::timestamp;

/// Which sessions. At most one of `user`, `client_id` and `channel`; with `namespace`, `protocol` or `connected` pages may have
/// fewer items than they could.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// Only those of this user.
    user: Option<String>,
    /// Only the one of this MQTT client.
    client_id: Option<String>,
    /// Only those subscribed to this channel by name.
    channel: Option<String>,
    /// Only those in this Socket.IO namespace.
    namespace: Option<String>,
    /// Only those of this protocol, with its revision or without: `mqtt`, `socketio/5`.
    protocol: Option<String>,
    /// `true`: only those with a connection; `false`: only those without.
    connected: Option<bool>,
    /// Only those on this node.
    node: Option<u16>,
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionItem {
    /// Public id; Socket.IO's `socket.id`.
    #[schema(pattern = "^[A-Za-z0-9_-]{20}$")]
    id: String,
    /// Whether a connection is attached now.
    connected: bool,
    /// The client's own name; MQTT only.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Given at admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    info: Option<Value>,
    /// Protocol and revision: `socketio/4`, `socketio/5`, `mqtt/3.1`, `mqtt/3.1.1`, `mqtt/5`; absent while an MQTT client is
    /// not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// `polling`, `websocket` or `tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    /// The peer's address; absent between polls.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// When its connection is closed, with its token or as the back end said; absent if that is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
    /// Seconds since it was opened.
    age_seconds: u64,
    /// While it is not connected: seconds until it ends; absent if that is never.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_seconds: Option<u64>,
    /// Channels and filters, shared ones as `$share/<group>/<filter>`.
    subscriptions: Vec<String>,
    /// For how long the oldest message has been published that waits for it or, of QoS 1 and 2, that it has not acknowledged; at
    /// most since the start of the server. Milliseconds; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    behind_ms: Option<u64>,
    /// Messages waiting for it.
    queued: u32,
    /// Messages of QoS 1 and 2 that it has not acknowledged.
    in_flight: u32,
}

impl SessionItem {
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(super) fn age_seconds(&self) -> u64 {
        self.age_seconds
    }

    /// As it was, now that it has ended.
    pub(super) fn ended(self) -> Self {
        Self { connected: false, ..self }
    }
}

/// List sessions
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", operation_id = "listSessions",
    security(("key" = ["read"])), params(SessionsQuery),
    responses(
        (status = 200, description = "A page.", body = Page<SessionItem>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<SessionsQuery>,
) -> Result<Json<Page<SessionItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let of = members(&desk, (query.user, query.client_id, query.channel))?;
    let filter = Filter { namespace: query.namespace, protocol: query.protocol, connected: query.connected };
    let mut cursor = Cursor::parse(query.cursor.as_deref())?;
    let mut items = Vec::new();
    if desk.is_elsewhere(query.node) {
        return Ok(Json(Page::new(items, None)));
    }
    for shard in desk.office.shards().skip(usize::from(cursor.shard)) {
        let room = limit - u32::try_from(items.len()).unwrap_or(limit);
        let ask = hub::Query::Sessions { of: of.clone(), after: cursor.after.take(), limit: room };
        let report = desk.office.ask(shard, |token| Command::Query { token, query: ask }).await?;
        let Report::Sessions(page) = report else { break };
        let last = page.items.last().map(|view| view.id);
        let known = desk.describe(shard, page.items).await;
        items.extend(known.into_iter().filter(|item| filter.takes(item)));
        let taken = Taken { last, more: page.more, full: items.len() >= limit as usize };
        if let Some(next) = Cursor::behind(&desk, shard, &taken) {
            return Ok(Json(Page::new(items, Some(next.to_string()))));
        }
    }
    Ok(Json(Page::new(items, None)))
}

/// Look at one session
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "getSession",
    security(("key" = ["read"])),
    params(("id" = String, Path, description = "Session id.", pattern = "^[A-Za-z0-9_-]{20}$")),
    responses(
        (status = 200, description = "The session.", body = SessionItem),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<Json<SessionItem>, Problem> {
    let item = desk.session(in_path(&id)?).await?;
    item.map(Json).ok_or_else(|| Refusal::NotFound.into())
}

/// How many.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SlowestQuery {
    /// At most so many, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `true`: only those with a connection. What waits for a client that is away says nothing of how fast it is.
    #[serde(default)]
    connected: bool,
}

/// List the slowest sessions
///
/// Those with the largest `behind_ms` first; those without one are left out. Looks at every session of the node, so it is for a
/// person who asks, not for a program that polls.
#[utoipa::path(
    get, path = "/v1/slow-sessions", tag = "sessions", operation_id = "listSlowSessions",
    security(("key" = ["read"])), params(SlowestQuery),
    responses(
        (status = 200, description = "One page, there are no others.", body = Page<SessionItem>),
        Listing,
    )
)]
pub(super) async fn slowest(
    State(desk): State<Desk>,
    Query(query): Query<SlowestQuery>,
) -> Result<Json<Page<SessionItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let mut items = Vec::new();
    for shard in desk.office.shards() {
        let ask = hub::Query::Slowest { connected: query.connected, limit };
        let report = desk.office.ask(shard, |token| Command::Query { token, query: ask }).await?;
        if let Report::Sessions(page) = report {
            items.extend(desk.describe(shard, page.items).await);
        }
    }
    items.sort_by_key(|item| std::cmp::Reverse((item.behind_ms, item.queued)));
    items.truncate(limit as usize);
    Ok(Json(Page::new(items, None)))
}

/// How sessions end.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndQuery {
    /// `false` (default): end the session; Socket.IO clients do not come back by themselves, MQTT clients may and find a new
    /// session. `true`: close the connection under it, clients reconnect.
    #[serde(default)]
    reconnect: bool,
    /// For the client: the reason string of MQTT 5, the reason of the close frame of `/ws` and, with `reconnect`, of Socket.IO, the
    /// detail of a 403 that a poll gets. Other clients are not told. At most 123 bytes, without control characters.
    #[param(max_length = 123)]
    reason: Option<String>,
}

/// How sessions end, and what their clients are told of it.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    reason: Reason,
    words: Option<Arc<str>>,
}

impl Ending {
    /// With words as a caller gives them.
    pub(super) fn checked(reason: Reason, words: Option<String>) -> Result<Self, Problem> {
        let is_good = |words: &String| words.len() <= WORDS_BYTES_MAX && !words.contains(char::is_control);
        if !words.as_ref().is_none_or(is_good) {
            return Err(Problem::new(&MALFORMED, "reason has at most 123 bytes, without control characters"));
        }
        Ok(Self { reason, words: words.filter(|words| !words.is_empty()).map(Arc::from) })
    }
}

impl From<Reason> for Ending {
    fn from(reason: Reason) -> Self {
        Self { reason, words: None }
    }
}

/// End one session
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", operation_id = "endSession",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "Session id.", pattern = "^[A-Za-z0-9_-]{20}$"), EndQuery),
    responses(
        (status = 200, description = "How many ended: 1.", body = Count),
        One,
    )
)]
pub(super) async fn end(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(query): Query<EndQuery>,
) -> Result<Json<Count>, Problem> {
    let reason = if query.reconnect { Reason::Disconnected } else { Reason::Kicked };
    let ending = Ending::checked(reason, query.reason)?;
    let count = desk.end(Members::Session(in_path(&id)?), ending).await?;
    if count == 0 {
        return Err(Refusal::NotFound.into());
    }
    Ok(Json(Count { count }))
}

/// Which sessions to end: those that all of it is true of. At most one of `user`, `client_id` and `channel`, and something has to
/// be said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EndManyQuery {
    /// All of this user.
    user: Option<String>,
    /// The one of this MQTT client.
    client_id: Option<String>,
    /// All subscribed to this channel by name.
    channel: Option<String>,
    /// Only those in this Socket.IO namespace.
    namespace: Option<String>,
    /// Only those of this protocol, with its revision or without: `mqtt`, `socketio/5`.
    protocol: Option<String>,
    /// `true`: only those with a connection; `false`: only those without.
    connected: Option<bool>,
    /// Only those on this node.
    node: Option<u16>,
    /// As for one session.
    #[serde(default)]
    reconnect: bool,
    /// As for one session.
    #[param(max_length = 123)]
    reason: Option<String>,
}

/// A number of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Count {
    /// How many.
    count: u64,
}

impl From<u64> for Count {
    fn from(count: u64) -> Self {
        Self { count }
    }
}

/// End many sessions
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "sessions", operation_id = "endSessions",
    security(("key" = ["admin"])), params(EndManyQuery),
    responses(
        (status = 200, description = "How many ended.", body = Count),
        Listing,
    )
)]
pub(super) async fn end_many(
    State(desk): State<Desk>,
    Query(query): Query<EndManyQuery>,
) -> Result<Json<Count>, Problem> {
    let of = members(&desk, (query.user, query.client_id, query.channel))?;
    let filter = Filter { namespace: query.namespace, protocol: query.protocol, connected: query.connected };
    let reason = if query.reconnect { Reason::Disconnected } else { Reason::Kicked };
    let ending = Ending::checked(reason, query.reason)?;
    let count = match of {
        Some(_) if desk.is_elsewhere(query.node) => 0,
        None if filter != Filter::default() && desk.is_elsewhere(query.node) => 0,
        Some(of) if filter == Filter::default() => desk.end(of, ending).await?,
        None if filter == Filter::default() => {
            let text = "user, client_id, channel, namespace, protocol or connected is missing";
            return Err(Problem::new(&MALFORMED, text));
        }
        of => desk.end_each(of, &filter, ending).await?,
    };
    Ok(Json(Count { count }))
}

/// Who joins or leaves what. Exactly one of `session`, `client_id`, `user` and `members_of`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::back) struct SubscriptionRequest {
    /// One session.
    #[schema(pattern = "^[A-Za-z0-9_-]{20}$")]
    session: Option<String>,
    /// The session of this MQTT client.
    client_id: Option<String>,
    /// Every session of this user.
    user: Option<String>,
    /// Every session subscribed to this channel.
    members_of: Option<String>,
    /// Channel to join or leave.
    #[schema(min_length = 1)]
    channel: String,
    /// When joining: everybody else who is subscribed to this channel by name leaves it.
    #[serde(default)]
    exclusive: bool,
}

/// Who has joined, and who had to leave for that.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Joined {
    /// Sessions that are subscribed by this.
    count: u64,
    /// Sessions that are not subscribed any more; present with `exclusive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<Vec<String>>,
}

/// Join
///
/// A publish sent after the answer reaches the sessions that joined.
#[utoipa::path(
    put, path = "/v1/subscriptions", tag = "subscriptions", operation_id = "join",
    security(("key" = ["admin"])), request_body = SubscriptionRequest,
    responses(
        (status = 200, description = "How many sessions are subscribed by this.", body = Joined),
        Change,
    )
)]
pub(super) async fn join(
    State(desk): State<Desk>,
    Body(request): Body<SubscriptionRequest>,
) -> Result<Json<Joined>, Problem> {
    let (of, filter) = request.checked(&desk)?;
    let channel = request.exclusive.then(|| desk.channel(&filter)).transpose()?;
    let count = desk.office.subscribe(of.clone(), filter).await?;
    let left = match channel {
        Some(channel) => Some(desk.office.vacate(channel, of).await?),
        None => None,
    };
    let left = left.map(|left| left.iter().map(ToString::to_string).collect());
    Ok(Json(Joined { count, left }))
}

/// Leave
#[utoipa::path(
    delete, path = "/v1/subscriptions", tag = "subscriptions", operation_id = "leave",
    security(("key" = ["admin"])), request_body = SubscriptionRequest,
    responses(
        (status = 200, description = "How many sessions left by this.", body = Count),
        Change,
    )
)]
pub(super) async fn leave(
    State(desk): State<Desk>,
    Body(request): Body<SubscriptionRequest>,
) -> Result<Json<Count>, Problem> {
    let (of, filter) = request.checked(&desk)?;
    if request.exclusive {
        return Err(Problem::new(&MALFORMED, "exclusive is for joining"));
    }
    Ok(Json(Count { count: desk.office.unsubscribe(of, filter).await? }))
}

/// Whose subscriptions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SubscriptionsQuery {
    /// A session.
    #[param(pattern = "^[A-Za-z0-9_-]{20}$")]
    session: String,
}

/// List a session's subscriptions
#[utoipa::path(
    get, path = "/v1/subscriptions", tag = "subscriptions", operation_id = "listSubscriptions",
    security(("key" = ["read"])), params(SubscriptionsQuery),
    responses(
        (status = 200, description = "All of them.", body = Page<String>),
        One,
    )
)]
pub(super) async fn subscriptions(
    State(desk): State<Desk>,
    Query(query): Query<SubscriptionsQuery>,
) -> Result<Json<Page<String>>, Problem> {
    let Json(item) = show(State(desk), Path(query.session)).await?;
    Ok(Json(Page::new(item.subscriptions, None)))
}

/// What is no session id names no resource.
pub(super) fn in_path(id: &str) -> Result<SessionId, Problem> {
    id.parse().map_err(|_| Refusal::NotFound.into())
}

impl SubscriptionRequest {
    /// Who and what, of a back end that means this session unless it says another.
    ///
    /// # Errors
    /// What is wrong, as REST would tell it.
    pub(in crate::back) fn of_session(
        mut self,
        own: SessionId,
        desk: &Desk,
    ) -> Result<(Members, String), String> {
        if self.client_id.is_none() && self.user.is_none() && self.members_of.is_none() {
            self.session.get_or_insert_with(|| own.to_string());
        }
        self.checked(desk).map_err(Problem::into_detail)
    }

    fn checked(&self, desk: &Desk) -> Result<(Members, String), Problem> {
        let channel = desk.channel(&self.channel)?;
        let of = match (&self.session, &self.client_id, &self.user, &self.members_of) {
            (Some(id), None, None, None) => Members::Session(session_id(id)?),
            (None, Some(name), None, None) => Members::Name(name.as_str().into()),
            (None, None, Some(user), None) => Members::User(user.as_str().into()),
            (None, None, None, Some(name)) => desk.members_of(name)?,
            _ => {
                let text = "give exactly one of session, client_id, user and members_of";
                return Err(Problem::new(&MALFORMED, text));
            }
        };
        Ok((of, channel.as_str().to_owned()))
    }
}

/// By user, client id or channel.
type Chosen = (Option<String>, Option<String>, Option<String>);

pub(super) fn members(desk: &Desk, chosen: Chosen) -> Result<Option<Members>, Problem> {
    match chosen {
        (None, None, None) => Ok(None),
        (Some(user), None, None) => Ok(Some(Members::User(user.into()))),
        (None, Some(name), None) => Ok(Some(Members::Name(name.into()))),
        (None, None, Some(channel)) => Ok(Some(desk.members_of(&channel)?)),
        _ => Err(Problem::new(&MALFORMED, "give only one of user, client_id and channel")),
    }
}

/// What of a session only its front knows.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    namespace: Option<String>,
    protocol: Option<String>,
    connected: Option<bool>,
}

impl Filter {
    fn takes(&self, item: &SessionItem) -> bool {
        self.namespace.as_ref().is_none_or(|name| item.namespace.as_ref() == Some(name))
            && self.protocol.as_ref().is_none_or(|wanted| is_of_protocol(item.protocol, wanted))
            && self.connected.is_none_or(|connected| item.connected == connected)
    }
}

/// With its revision or without.
pub(super) fn is_of_protocol(known: Option<&str>, wanted: &str) -> bool {
    let known = known.unwrap_or_default();
    known == wanted || known.split('/').next() == Some(wanted)
}

impl Desk {
    /// Looks at all of them, and ends those that the filter takes.
    async fn end_each(&self, of: Option<Members>, filter: &Filter, ending: Ending) -> Result<u64, Problem> {
        let mut count = 0;
        for shard in self.office.shards() {
            let (mut after, mut more) = (None, true);
            while more {
                let query = hub::Query::Sessions { of: of.clone(), after, limit: 1000 };
                let report = self.office.ask(shard, |token| Command::Query { token, query }).await?;
                let Report::Sessions(page) = report else { break };
                more = page.more;
                after = page.items.last().map(|view| view.id);
                let ids: Vec<SessionId> = page.items.iter().map(|view| view.id).collect();
                let known = ids.into_iter().zip(self.describe(shard, page.items).await);
                let chosen = known.filter(|(_, item)| filter.takes(item));
                // Beside each other: a shard ends many in one turn.
                let ends = chosen.map(|(session, _)| self.end(Members::Session(session), ending.clone()));
                for ended in join_all(ends).await {
                    count += ended?;
                }
            }
        }
        Ok(count)
    }

    pub(super) async fn end(&self, of: Members, ending: Ending) -> Result<u64, Problem> {
        let Ending { reason, words } = ending;
        Ok(self.office.end_members_saying(of, (reason, words)).await?)
    }

    /// `None`: there is no such session.
    pub(super) async fn session(&self, id: SessionId) -> Result<Option<SessionItem>, Problem> {
        let home = self.office.home_of(id);
        let query = hub::Query::Sessions { of: Some(Members::Session(id)), after: None, limit: 1 };
        let report = self.office.ask(home, |token| Command::Query { token, query }).await?;
        let Report::Sessions(page) = report else { return Ok(None) };
        Ok(self.describe(home, page.items).await.into_iter().next())
    }

    /// Adds what the front knows to what the hub knows; a shard that does not answer leaves it out.
    pub(super) async fn describe(&self, shard: ShardId, views: Vec<SessionView>) -> Vec<SessionItem> {
        let ids: Vec<SessionId> = views.iter().map(|view| view.id).collect();
        let (reply, inspections) = tokio::sync::oneshot::channel();
        let mut known = Vec::new();
        if self.office.tell(shard, Mail::Inspect { sessions: ids, reply }).await.is_ok() {
            let wait = Duration::from_millis(500);
            known =
                tokio::time::timeout(wait, inspections).await.ok().and_then(Result::ok).unwrap_or_default();
        }
        known.resize(views.len(), None);
        let now_ms = self.now_ms();
        views.into_iter().zip(known).map(|(view, known)| item_of(view, known, now_ms)).collect()
    }
}

fn item_of(view: SessionView, known: Option<Inspection>, now_ms: u64) -> SessionItem {
    let info = view.info.as_deref().and_then(|json| serde_json::from_slice(json).ok());
    let shares = view.shares.iter().map(|share| format!("$share/{share}"));
    SessionItem {
        id: view.id.to_string(),
        connected: view.tag.is_some(),
        client_id: view.name.as_deref().map(str::to_owned),
        user: view.user.as_deref().map(str::to_owned),
        info,
        protocol: known.as_ref().map(|known| known.protocol),
        namespace: known.as_ref().and_then(|known| known.namespace.as_deref()).map(str::to_owned),
        transport: known.as_ref().map(|known| known.transport),
        expires_at: known.as_ref().and_then(|known| known.expires).map(|expires| timestamp(expires.0)),
        remote: known.and_then(|known| known.remote).map(|remote| remote.to_string()),
        age_seconds: now_ms.saturating_sub(view.since.0) / 1000,
        expires_in_seconds: view.until.map(|until| until.0.saturating_sub(now_ms).div_ceil(1000)),
        subscriptions: view.subscriptions.into_iter().chain(shares).collect(),
        behind_ms: view.oldest.map(|oldest| now_ms.saturating_sub(oldest.0)),
        queued: view.queued,
        in_flight: view.in_flight,
    }
}
