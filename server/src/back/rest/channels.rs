//! Channels and who is in them: `GET /v1/channels`, `GET /v1/presence`.

use super::document::{Listing, One};
use super::extract::Query;
use super::problem::{NOT_FOUND, Problem};
use super::{Cursor, Desk, Page, Taken, limit_of};
use crate::auth::unix_now;
use crate::back::OfficeError;
use axum::Json;
use axum::extract::State;
use hub::{ChannelName, ChannelView, Command, PresenceMember, Refusal, Report, SessionId, ShardId, Span};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use wire::cloudevent::timestamp;

/// Which channels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChannelsQuery {
    /// Only names that match (`+` one level, `#` the rest).
    filter: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// A channel with subscribers or history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChannelItem {
    pub(super) channel: String,
    /// Sessions subscribed by name.
    pub(super) sessions: u64,
    /// Newest position, when it keeps history.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// List channels
#[utoipa::path(
    get, path = "/v1/channels", tag = "channels", operation_id = "listChannels",
    security(("key" = ["read"])), params(ChannelsQuery),
    responses(
        (status = 200, description = "A page, in order of name.", body = Page<ChannelItem>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<ChannelsQuery>,
) -> Result<Json<Page<ChannelItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    if let Some(filter) = &query.filter {
        hub::check_filter(filter, desk.channel_name_bytes_max())?;
    }
    let after = query.cursor.map(|name| desk.channel(&name)).transpose()?;
    let (items, next) = desk.page_of_channels(query.filter, after, limit).await?;
    Ok(Json(Page::new(items, next)))
}

impl Desk {
    /// A page in order of names, and where the next one begins.
    pub(super) async fn page_of_channels(
        &self,
        filter: Option<String>,
        after: Option<ChannelName>,
        limit: u32,
    ) -> Result<(Vec<ChannelItem>, Option<String>), Problem> {
        let (merged, more) = self.merged_channels(filter, after, limit).await?;
        let mut items: Vec<ChannelItem> = merged.into_values().collect();
        let cut = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more || cut).map(|last| last.channel.clone());
        Ok((items, next))
    }

    /// One page of every shard, added up by name. Names beyond the shortest full page may be incomplete and are cut.
    async fn merged_channels(
        &self,
        filter: Option<String>,
        after: Option<ChannelName>,
        limit: u32,
    ) -> Result<(BTreeMap<String, ChannelItem>, bool), Problem> {
        let mut merged = BTreeMap::new();
        let mut complete_up_to: Option<String> = None;
        for shard in self.office.shards() {
            let query = hub::Query::Channels { filter: filter.clone(), after: after.clone(), limit };
            let report = self.office.ask(shard, |token| Command::Query { token, query }).await?;
            let Report::Channels(page) = report else { continue };
            if let Some(last) = page.items.last().filter(|_| page.more) {
                let last = last.channel.as_str().to_owned();
                complete_up_to = Some(complete_up_to.map_or(last.clone(), |least| least.min(last)));
            }
            page.items.into_iter().for_each(|view| add(&mut merged, view));
        }
        if let Some(least) = &complete_up_to {
            merged.retain(|name, _| name <= least);
        }
        Ok((merged, complete_up_to.is_some()))
    }
}

fn add(merged: &mut BTreeMap<String, ChannelItem>, view: ChannelView) {
    let name = view.channel.as_str().to_owned();
    let empty = ChannelItem { channel: name.clone(), sessions: 0, position: None };
    let item = merged.entry(name).or_insert(empty);
    item.sessions += u64::from(view.sessions);
    if let Some(position) = view.position {
        item.position = Some(position.to_string());
    }
}

/// Whose members.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PresenceQuery {
    /// The channel; a channel rule must switch presence on for it.
    #[param(min_length = 1)]
    channel: String,
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
    /// `true`: no list, only how many there are.
    #[serde(default)]
    count_only: bool,
}

/// Who is in a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Members {
    /// Empty where there are more than `limits.presence_members_max`.
    items: Vec<MemberItem>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// All of them; on the first page only.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    /// Where to go on from, on the first page of a channel that keeps history: messages of event `presence` behind this
    /// position tell all that has changed since (`after` of a stream or of `GET /v1/messages`). What one of them says may be in
    /// the list already.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

/// A member of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MemberItem {
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Given at admission.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    info: Option<Value>,
    /// When the session was opened.
    #[schema(format = DateTime)]
    since: String,
    /// Seconds since then.
    age_seconds: u64,
}

/// List a channel's members
///
/// With `presence_events` in the channel's rule and a history, list and stream have no gap between them: read the list, then the
/// channel from `position` on.
#[utoipa::path(
    get, path = "/v1/presence", tag = "channels", operation_id = "listMembers",
    security(("key" = ["read"])), params(PresenceQuery),
    responses(
        (status = 200, description = "A page.", body = Members),
        One,
    )
)]
pub(super) async fn presence(
    State(desk): State<Desk>,
    Query(query): Query<PresenceQuery>,
) -> Result<Json<Members>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let channel = desk.channel(&query.channel)?;
    let mut cursor = Cursor::parse(query.cursor.as_deref())?;
    let (mut count, mut position) = (None, None);
    if query.cursor.is_none() {
        // Before the list: what comes and goes meanwhile is behind it.
        position = desk.newest_position(&channel).await?;
        count = Some(desk.count_members(&channel).await?);
    }
    let members_max = u64::from(desk.config.limits.presence_members_max);
    if query.count_only || count.is_some_and(|count| count > members_max) {
        return Ok(Json(Members { items: Vec::new(), next: None, count, position }));
    }
    let now_ms = desk.now_ms();
    let mut items: Vec<MemberItem> = Vec::new();
    for shard in desk.office.shards().skip(usize::from(cursor.shard)) {
        let room = limit - u32::try_from(items.len()).unwrap_or(limit);
        let (page, _) = desk.members_at(shard, (&channel, cursor.after.take()), room).await?;
        let last = page.items.last().map(|member| member.session);
        items.extend(page.items.into_iter().map(|member| member_of(member, now_ms)));
        let taken = Taken { last, more: page.more, full: items.len() >= limit as usize };
        if let Some(next) = Cursor::behind(&desk, shard, &taken) {
            return Ok(Json(Members { items, next: Some(next.to_string()), count, position }));
        }
    }
    Ok(Json(Members { items, next: None, count, position }))
}

impl Desk {
    /// Of the history that the channel keeps, if it does.
    async fn newest_position(&self, channel: &ChannelName) -> Result<Option<String>, Problem> {
        let home = self.office.home_of_channel(channel);
        let query = hub::Query::History { channel: channel.clone(), span: Span::after(None, 0) };
        match self.office.ask(home, |token| Command::Query { token, query }).await? {
            Report::History(_, newest) => Ok(newest.map(|position| position.to_string())),
            _ => Ok(None),
        }
    }

    async fn count_members(&self, channel: &ChannelName) -> Result<u64, Problem> {
        let mut count = 0;
        for shard in self.office.shards() {
            count += u64::from(self.members_at(shard, (channel, None), 0).await?.1);
        }
        Ok(count)
    }

    /// A page of the members on a shard, and how many are there.
    async fn members_at(
        &self,
        shard: ShardId,
        (channel, after): (&ChannelName, Option<SessionId>),
        limit: u32,
    ) -> Result<(hub::Page<PresenceMember>, u32), Problem> {
        let query = hub::Query::Presence { channel: channel.clone(), after, limit };
        let report = self.office.ask(shard, |token| Command::Query { token, query }).await;
        match report.map_err(presence_problem)? {
            Report::Presence(page, count) => Ok((page, count)),
            _ => Err(Refusal::NotFound.into()),
        }
    }
}

/// Of a channel without presence the hub says that it is not found.
fn presence_problem(error: OfficeError) -> Problem {
    match error {
        OfficeError::Refused(Refusal::NotFound) => Problem::new(
            &NOT_FOUND,
            "presence is off for this channel: a channel rule with presence = true is needed",
        ),
        error => error.into(),
    }
}

fn member_of(member: PresenceMember, now_ms: u64) -> MemberItem {
    let age_ms = now_ms.saturating_sub(member.since.0);
    MemberItem {
        session: member.session.to_string(),
        user: member.user.as_deref().map(str::to_owned),
        info: member.info.as_deref().and_then(|json| serde_json::from_slice(json).ok()),
        since: timestamp(unix_now().0.saturating_sub(age_ms)),
        age_seconds: age_ms / 1000,
    }
}
