//! Connections: list, look at, close. `GET`, `DELETE /v1/connections` and `/v1/connections/{id}`.
//!
//! Nothing is counted or kept for them, so that an idle one costs nothing more: of one that is asked for, the kernel tells bytes and rates.
//! Start at [`list`].

use super::document::{Listing, One};
use super::extract::{Path, Query};
use super::problem::{MALFORMED, NOT_FOUND, Problem};
use super::sessions::{Count, is_of_protocol, members};
use super::{Cursor, Desk, Page, Taken, limit_of};
use crate::back::sock_diag::{self, Traffic};
use crate::mail::{Line, Lines, Mail};
use crate::shard::{ConnKey, Ends};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hub::{Command, Members, Report, SessionId, ShardId};
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};
use utoipa::{IntoParams, ToSchema};

/// Times that rates may be measured over. Milliseconds.
const OVER_MS: RangeInclusive<u64> = 100..=10_000;

/// Which connections. At most one of `user`, `client_id` and `channel`; with any but `node` pages may have fewer items than they
/// could.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionsQuery {
    /// Only those of this user's sessions.
    user: Option<String>,
    /// Only the one of this MQTT client.
    client_id: Option<String>,
    /// Only those of sessions subscribed to this channel by name.
    channel: Option<String>,
    /// Only those with a session in this Socket.IO namespace.
    namespace: Option<String>,
    /// Only those of this protocol, with its revision or without: `mqtt`, `socketio/5`.
    protocol: Option<String>,
    /// Only those on this node.
    node: Option<u16>,
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionItem {
    /// Its name until it ends. It has another one once it has moved to the shard of its session, soon after it began.
    #[schema(pattern = "^[0-9a-f]{18}$")]
    id: String,
    node: u16,
    /// As of sessions; absent while there is none on it, such as between the requests of a client that polls.
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    /// `polling`, `websocket`, `tcp` or `http`.
    transport: &'static str,
    /// `request`: one is awaited or coming. `held`: one waits for its answer. `answer`: an answer goes on. `websocket`, `stream`, or
    /// `closing`.
    state: &'static str,
    /// The client's address, which a proxy may have named.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// TLS up to this server.
    secure: bool,
    /// Of Socket.IO one for each namespace, else at most one.
    sessions: Vec<SessionOn>,
    /// Bytes that its socket has not taken.
    unsent_bytes: usize,
    /// Bytes that came of something that is not whole yet.
    unused_bytes: usize,
    /// Only of a connection that is asked for by its id, and only where the kernel tells (see there).
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficItem>,
}

/// What the kernel counts of a connection since it began; with TLS the bytes of its records, not of what is in them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TrafficItem {
    /// Bytes that came.
    received_bytes: u64,
    /// Bytes that were sent and that the other end's system has acknowledged.
    sent_bytes: u64,
    /// How long an acknowledgement takes, smoothed, as TCP measures it. Milliseconds.
    round_trip_ms: f64,
    /// Segments of TCP that were sent again.
    retransmits: u32,
    /// How fast TCP delivered to the other end when it last could tell, which an idle connection keeps. Bytes per second.
    delivery_bytes_per_second: u64,
    /// With `over_ms`: bytes that came in that time, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    received_bytes_per_second: Option<f64>,
    /// With `over_ms`: bytes that were acknowledged in that time, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_bytes_per_second: Option<f64>,
}

/// Over which time rates are measured.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConnectionQuery {
    /// Rates are measured over so long, for which the answer waits. Milliseconds, 100 to 10,000.
    #[param(minimum = 100, maximum = 10_000)]
    over_ms: Option<u64>,
}

impl TrafficItem {
    fn new(traffic: Traffic) -> Self {
        Self {
            received_bytes: traffic.received_bytes,
            sent_bytes: traffic.sent_bytes,
            round_trip_ms: f64::from(traffic.round_trip_us) / 1000.0,
            retransmits: traffic.retransmits,
            delivery_bytes_per_second: traffic.delivery_bytes_per_second,
            received_bytes_per_second: None,
            sent_bytes_per_second: None,
        }
    }

    /// The same with the rates since an earlier look.
    fn since(traffic: Traffic, earlier: Traffic, passed: Duration) -> Self {
        let rate = |now: u64, then: u64| Some(now.saturating_sub(then) as f64 / passed.as_secs_f64());
        Self {
            received_bytes_per_second: rate(traffic.received_bytes, earlier.received_bytes),
            sent_bytes_per_second: rate(traffic.sent_bytes, earlier.sent_bytes),
            ..Self::new(traffic)
        }
    }
}

/// A session on a connection.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionOn {
    #[schema(pattern = "^[A-Za-z0-9_-]{20}$")]
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// List connections
///
/// Those of the public port, whatever they do. What went over one of them is told where it is asked for by its id; `/metrics` has the
/// bytes of all.
#[utoipa::path(
    get, path = "/v1/connections", tag = "sessions", operation_id = "listConnections",
    security(("key" = ["read"])), params(ConnectionsQuery),
    responses(
        (status = 200, description = "A page.", body = Page<ConnectionItem>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<ConnectionsQuery>,
) -> Result<Json<Page<ConnectionItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let of = members(&desk, (query.user, query.client_id, query.channel))?;
    let filter = Filter { namespace: query.namespace, protocol: query.protocol };
    let cursor = query.cursor.as_deref();
    let page = match of {
        Some(of) => desk.connections_of(&of, (Cursor::parse(cursor)?, limit)).await?,
        None => desk.connections(Spot::parse(cursor)?, limit).await?,
    };
    if desk.is_elsewhere(query.node) {
        return Ok(Json(Page::new(Vec::new(), None)));
    }
    let items = page.items.into_iter().filter(|(_, line)| filter.takes(line));
    Ok(Json(Page::new(items.map(|found| desk.connection_item(found)).collect(), page.next)))
}

/// Look at one connection
///
/// With its `traffic`. The server counts no bytes of single connections: the kernel does, and is asked for this one by its addresses
/// (`sock_diag`). Where it does not answer, `traffic` is absent: without the module `inet_diag`, in some sandboxes of containers, or
/// for a socket that another network namespace handed over. Nobody keeps when a connection began, so there is no average since then:
/// with `over_ms` the kernel is asked twice, and the rates are those between.
#[utoipa::path(
    get, path = "/v1/connections/{id}", tag = "sessions", operation_id = "getConnection",
    security(("key" = ["read"])),
    params(
        ("id" = String, Path, description = "From the list.", pattern = "^[0-9a-f]{18}$"),
        ConnectionQuery
    ),
    responses(
        (status = 200, description = "The connection.", body = ConnectionItem),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    Query(query): Query<ConnectionQuery>,
) -> Result<Json<ConnectionItem>, Problem> {
    let over = query.over_ms.map(checked_span).transpose()?;
    let (shard, conn) = desk.connection_in_path(&id)?;
    let line = desk.lines(shard, Lines::One(conn)).await?.items.pop().ok_or_else(gone)?;
    let traffic = match line.ends {
        Some(ends) => traffic_over(ends, over).await,
        None => None,
    };
    Ok(Json(ConnectionItem { traffic, ..desk.connection_item((shard, line)) }))
}

fn checked_span(ms: u64) -> Result<Duration, Problem> {
    if !OVER_MS.contains(&ms) {
        return Err(Problem::new(&MALFORMED, "`over_ms` must be between 100 and 10000"));
    }
    Ok(Duration::from_millis(ms))
}

/// What the kernel tells; without rates where the connection ended meanwhile.
async fn traffic_over(ends: Ends, over: Option<Duration>) -> Option<TrafficItem> {
    let first = sock_diag::traffic(ends).await?;
    let Some(over) = over else { return Some(TrafficItem::new(first)) };
    let began = Instant::now();
    tokio::time::sleep(over).await;
    let second = sock_diag::traffic(ends).await;
    Some(match second {
        Some(second) => TrafficItem::since(second, first, began.elapsed()),
        None => TrafficItem::new(first),
    })
}

/// Close one connection
///
/// Its client is told as its protocol has it and comes back; its sessions live on as after any lost connection.
#[utoipa::path(
    delete, path = "/v1/connections/{id}", tag = "sessions", operation_id = "closeConnection",
    security(("key" = ["admin"])),
    params(("id" = String, Path, description = "From the list.", pattern = "^[0-9a-f]{18}$")),
    responses(
        (status = 204, description = "It is closed."),
        One,
    )
)]
pub(super) async fn close(State(desk): State<Desk>, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let (shard, conn) = desk.connection_in_path(&id)?;
    if desk.end_line(shard, conn).await? { Ok(StatusCode::NO_CONTENT) } else { Err(gone()) }
}

/// Which connections to close: those that all of it is true of. At most one of `user`, `client_id` and `channel`, and something
/// beside `node` has to be said.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CloseManyQuery {
    /// All of this user's sessions.
    user: Option<String>,
    /// The one of this MQTT client.
    client_id: Option<String>,
    /// All of sessions subscribed to this channel by name.
    channel: Option<String>,
    /// Only those with a session in this Socket.IO namespace.
    namespace: Option<String>,
    /// Only those of this protocol, with its revision or without: `mqtt`, `socketio/5`.
    protocol: Option<String>,
    /// Only those on this node.
    node: Option<u16>,
}

/// Close many connections
#[utoipa::path(
    delete, path = "/v1/connections", tag = "sessions", operation_id = "closeConnections",
    security(("key" = ["admin"])), params(CloseManyQuery),
    responses(
        (status = 200, description = "How many were closed.", body = Count),
        Listing,
    )
)]
pub(super) async fn close_many(
    State(desk): State<Desk>,
    Query(query): Query<CloseManyQuery>,
) -> Result<Json<Count>, Problem> {
    let of = members(&desk, (query.user, query.client_id, query.channel))?;
    let filter = Filter { namespace: query.namespace, protocol: query.protocol };
    if of.is_none() && filter == Filter::default() {
        return Err(Problem::new(&MALFORMED, "user, client_id, channel, namespace or protocol is missing"));
    }
    if desk.is_elsewhere(query.node) {
        return Ok(Json(Count::from(0)));
    }
    let mut count = 0;
    let mut cursor = None;
    loop {
        let page = match &of {
            Some(of) => desk.connections_of(of, (Cursor::parse(cursor.as_deref())?, 1000)).await?,
            None => desk.connections(Spot::parse(cursor.as_deref())?, 1000).await?,
        };
        for (shard, line) in page.items.iter().filter(|(_, line)| filter.takes(line)) {
            count += u64::from(desk.end_line(*shard, line.conn).await?);
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(Json(Count::from(count))),
        }
    }
}

fn gone() -> Problem {
    Problem::new(&NOT_FOUND, "no such connection")
}

/// What all of is true of those that are meant.
#[derive(Debug, Default, PartialEq, Eq)]
struct Filter {
    namespace: Option<String>,
    protocol: Option<String>,
}

impl Filter {
    fn takes(&self, line: &Line) -> bool {
        let is_in = |name: &String| {
            line.sessions.iter().any(|session| session.namespace.as_deref() == Some(name.as_str()))
        };
        self.namespace.as_ref().is_none_or(is_in)
            && self.protocol.as_ref().is_none_or(|wanted| is_of_protocol(line.protocol, wanted))
    }
}

/// Where a list of all connections goes on.
#[derive(Clone, Copy, Debug, Default)]
struct Spot {
    shard: u8,
    after: Option<ConnKey>,
}

impl Spot {
    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self::default()) };
        let parsed = text.split_once('-').and_then(|(shard, after)| {
            let after = match after {
                "" => None,
                after => Some(ConnKey::of_number(u64::from_str_radix(after, 16).ok()?)),
            };
            Some(Self { shard: shard.parse().ok()?, after })
        });
        parsed.ok_or_else(|| Problem::new(&MALFORMED, "cursor is not one this server made"))
    }

    fn text(self) -> String {
        let after = self.after.map(|conn| format!("{:x}", conn.number())).unwrap_or_default();
        format!("{}-{after}", self.shard)
    }
}

type Found = Page<(ShardId, Line)>;

impl Desk {
    /// Those that are there, from shard to shard.
    async fn connections(&self, mut spot: Spot, limit: u32) -> Result<Found, Problem> {
        let limit = limit as usize;
        let mut items = Vec::new();
        for shard in self.office.shards().skip(usize::from(spot.shard)) {
            let page = self.lines(shard, Lines::After(spot.after.take(), limit - items.len())).await?;
            let last = page.items.last().map(|line| line.conn);
            items.extend(page.items.into_iter().map(|line| (shard, line)));
            let is_last = shard.0 + 1 >= self.office.topology().shards;
            let next = if page.more {
                Some(Spot { shard: shard.0, after: last })
            } else if items.len() >= limit && !is_last {
                Some(Spot { shard: shard.0 + 1, after: None })
            } else {
                None
            };
            if let Some(next) = next {
                return Ok(Page::new(items, Some(next.text())));
            }
        }
        Ok(Page::new(items, None))
    }

    /// Those of sessions, a page of which is looked at.
    async fn connections_of(
        &self,
        of: &Members,
        (mut cursor, limit): (Cursor, u32),
    ) -> Result<Found, Problem> {
        let mut items = Vec::new();
        let mut looked = 0;
        for shard in self.office.shards().skip(usize::from(cursor.shard)) {
            let (of, after) = (Some(of.clone()), cursor.after.take());
            let query = hub::Query::Sessions { of, after, limit: limit - looked };
            let report = self.office.ask(shard, |token| Command::Query { token, query }).await?;
            let Report::Sessions(page) = report else { break };
            let ids: Vec<SessionId> = page.items.iter().map(|view| view.id).collect();
            looked += u32::try_from(ids.len()).unwrap_or(limit);
            let taken = Taken { last: ids.last().copied(), more: page.more, full: looked >= limit };
            let lines = self.lines(shard, Lines::Under(ids)).await?;
            items.extend(lines.items.into_iter().map(|line| (shard, line)));
            if let Some(next) = Cursor::behind(self, shard, &taken) {
                return Ok(Page::new(items, Some(next.to_string())));
            }
        }
        Ok(Page::new(items, None))
    }

    async fn lines(&self, shard: ShardId, of: Lines) -> Result<hub::Page<Line>, Problem> {
        self.settle(shard, |reply| Mail::Lines { of, reply }).await
    }

    async fn end_line(&self, shard: ShardId, conn: ConnKey) -> Result<bool, Problem> {
        self.settle(shard, |reply| Mail::EndLine { conn, reply }).await
    }

    /// Whether that is another node than this one.
    pub(super) fn is_elsewhere(&self, node: Option<u16>) -> bool {
        node.is_some_and(|node| node != self.config.server.node_id)
    }

    fn connection_item(&self, (shard, line): (ShardId, Line)) -> ConnectionItem {
        let Line { conn, protocol, transport, facts, sessions, .. } = line;
        let session = |session: crate::mail::LineSession| SessionOn {
            id: session.id.to_string(),
            namespace: session.namespace.as_deref().map(str::to_owned),
            user: session.user.as_deref().map(str::to_owned),
        };
        ConnectionItem {
            id: format!("{:02x}{:016x}", shard.0, conn.number()),
            node: self.config.server.node_id,
            protocol,
            transport,
            state: facts.state,
            remote: facts.remote.map(|remote| remote.to_string()),
            secure: facts.secure,
            sessions: sessions.into_iter().map(session).collect(),
            unsent_bytes: facts.unsent_bytes,
            unused_bytes: facts.unused_bytes,
            traffic: None,
        }
    }

    /// What is no id names no connection.
    fn connection_in_path(&self, id: &str) -> Result<(ShardId, ConnKey), Problem> {
        let is_hex = id.len() == 18 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let (shard, number) = id.split_at_checked(2).filter(|_| is_hex).ok_or_else(gone)?;
        let shard = u8::from_str_radix(shard, 16).map_err(|_| gone())?;
        let number = u64::from_str_radix(number, 16).map_err(|_| gone())?;
        if shard >= self.office.topology().shards {
            return Err(gone());
        }
        Ok((ShardId(shard), ConnKey::of_number(number)))
    }
}
