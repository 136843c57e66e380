//! Channels and who is in them: `GET /v1/channels`, `GET /v1/presence`.

use super::document::{Listing, One};
use super::extract::Query;
use super::problem::{NOT_FOUND, Problem};
use super::{Cursor, Desk, Page, Taken, limit_of};
use crate::back::OfficeError;
use axum::Json;
use axum::extract::State;
use hub::{ChannelName, ChannelView, Command, PresenceMember, Refusal, Report};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

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
    Ok(Json(Page { items, next }))
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
    /// Seconds since the session was opened.
    age_seconds: u64,
}

/// List a channel's members
#[utoipa::path(
    get, path = "/v1/presence", tag = "channels", operation_id = "listMembers",
    security(("key" = ["read"])), params(PresenceQuery),
    responses(
        (status = 200, description = "A page.", body = Page<MemberItem>),
        One,
    )
)]
pub(super) async fn presence(
    State(desk): State<Desk>,
    Query(query): Query<PresenceQuery>,
) -> Result<Json<Page<MemberItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)?;
    let channel = desk.channel(&query.channel)?;
    let mut cursor = Cursor::parse(query.cursor.as_deref())?;
    let now_ms = desk.now_ms();
    let mut items: Vec<MemberItem> = Vec::new();
    for shard in desk.office.shards().skip(usize::from(cursor.shard)) {
        let room = limit - u32::try_from(items.len()).unwrap_or(limit);
        let ask = hub::Query::Presence { channel: channel.clone(), after: cursor.after.take(), limit: room };
        let report = desk.office.ask(shard, |token| Command::Query { token, query: ask }).await;
        let Report::Presence(page) = report.map_err(presence_problem)? else { break };
        let last = page.items.last().map(|member| member.session);
        items.extend(page.items.into_iter().map(|member| member_of(member, now_ms)));
        let taken = Taken { last, more: page.more, full: items.len() >= limit as usize };
        if let Some(next) = Cursor::behind(&desk, shard, &taken) {
            return Ok(Json(Page { items, next: Some(next.to_string()) }));
        }
    }
    Ok(Json(Page { items, next: None }))
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
    MemberItem {
        session: member.session.to_string(),
        user: member.user.as_deref().map(str::to_owned),
        info: member.info.as_deref().and_then(|json| serde_json::from_slice(json).ok()),
        age_seconds: now_ms.saturating_sub(member.since.0) / 1000,
    }
}
