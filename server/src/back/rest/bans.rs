//! Clients that are refused for a while, of MQTT by their names and addresses, of every protocol by their users: `GET`, `PUT`, `DELETE /v1/bans`.
//!
//! Every shard knows the bans of users and addresses; that of a client id only the home of its session.

use super::document::{Listing, Remove, Replace};
use super::extract::{Body, Query};
use super::problem::{MALFORMED, NOT_FOUND, OVER_LIMIT, Problem};
use super::{Desk, Page, limit_of};
use crate::front::{Ban, Banned};
use crate::mail::Mail;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hub::{Millis, ShardId, claim_home};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// A ban. Exactly one of `client_id`, `user` and `address`.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BanItem {
    /// The client of this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// Every client of this user; one that has no user is not meant, whatever user name it gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Every client that connects from this IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    address: Option<IpAddr>,
    /// Seconds until it is over, at least 1; absent if it stays until it is lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// For people. A ban that the server made itself says `flapping`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 1024;

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BansQuery {
    /// From the page before.
    cursor: Option<String>,
    /// Items of a page, 100 when it is left out; above `limits.rest_page_items_max` it is that many.
    #[param(minimum = 1)]
    limit: Option<u32>,
}

/// List bans
#[utoipa::path(
    get, path = "/v1/bans", tag = "sessions", operation_id = "listBans",
    security(("key" = ["read"])), params(BansQuery),
    responses(
        (status = 200, description = "A page.", body = Page<BanItem>),
        Listing,
    )
)]
pub(super) async fn list(
    State(desk): State<Desk>,
    Query(query): Query<BansQuery>,
) -> Result<Json<Page<BanItem>>, Problem> {
    let limit = limit_of(&desk, query.limit)? as usize;
    let (first, mut after) = match query.cursor.as_deref().map(parse_cursor).transpose()? {
        Some((shard, after)) => (shard, after),
        None => (0, None),
    };
    let mut items = Vec::new();
    for shard in desk.office.shards().skip(usize::from(first)) {
        loop {
            let room = limit - items.len();
            if room == 0 {
                return Ok(Json(Page::new(items, Some(cursor(shard, after.as_ref())))));
            }
            let page = desk.bans_of(shard, after.take(), room).await?;
            after = page.items.last().map(|ban| ban.of.clone());
            let own = |ban: &Ban| shard.0 == 0 || matches!(ban.of, Banned::Client(_));
            let now_ms = desk.now_ms();
            items.extend(page.items.into_iter().filter(own).map(|ban| item_of(ban, now_ms)));
            if !page.more {
                break;
            }
        }
        after = None;
    }
    Ok(Json(Page::new(items, None)))
}

/// Ban
///
/// Refuses MQTT clients from now on, with 0x8A or, in version 3, 5; a user is let in by no protocol (`/v1/blocks`). Those that are connected stay until
/// `DELETE /v1/sessions` ends them. With `server.state_file` bans outlive a server that ends in order; a crash loses them.
#[utoipa::path(
    put, path = "/v1/bans", tag = "sessions", operation_id = "putBan",
    security(("key" = ["admin"])), request_body = BanItem,
    responses(
        (status = 204, description = "It holds."),
        Replace,
    )
)]
pub(super) async fn put(State(desk): State<Desk>, Body(item): Body<BanItem>) -> Result<StatusCode, Problem> {
    let of = banned(item.client_id, item.user, item.address)?;
    desk.ban(of, item.seconds, item.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose ban. Exactly one.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BanQuery {
    /// That of this client id.
    client_id: Option<String>,
    /// That of this user.
    user: Option<String>,
    /// That of this address.
    #[param(value_type = Option<String>)]
    address: Option<IpAddr>,
}

/// Lift a ban
#[utoipa::path(
    delete, path = "/v1/bans", tag = "sessions", operation_id = "deleteBan",
    security(("key" = ["admin"])), params(BanQuery),
    responses(
        (status = 204, description = "It is lifted."),
        Remove,
    )
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Query(query): Query<BanQuery>,
) -> Result<StatusCode, Problem> {
    let of = banned(query.client_id, query.user, query.address)?;
    if desk.lift(&of).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::new(&NOT_FOUND, "there is no such ban"))
    }
}

fn banned(
    client_id: Option<String>,
    user: Option<String>,
    address: Option<IpAddr>,
) -> Result<Banned, Problem> {
    match (client_id, user, address) {
        (Some(name), None, None) => Ok(Banned::Client(name.into())),
        (None, Some(user), None) => Ok(Banned::User(user.into())),
        (None, None, Some(address)) => Ok(Banned::Address(address.to_canonical())),
        _ => Err(Problem::new(&MALFORMED, "give exactly one of client_id, user and address")),
    }
}

fn item_of(ban: Ban, now_ms: u64) -> BanItem {
    let (client_id, user, address) = match ban.of {
        Banned::Client(name) => (Some(name.to_string()), None, None),
        Banned::User(user) => (None, Some(user.to_string()), None),
        Banned::Address(address) => (None, None, Some(address)),
    };
    BanItem {
        client_id,
        user,
        address,
        seconds: ban.until.map(|until| until.0.saturating_sub(now_ms).div_ceil(1000)),
        reason: ban.reason.map(|reason| reason.to_string()),
    }
}

/// Where a list goes on: the shard, then the kind of the last item and the item. Opaque to callers.
fn cursor(shard: ShardId, after: Option<&Banned>) -> String {
    match after {
        None => format!("{}-", shard.0),
        Some(Banned::Client(name)) => format!("{}-c{name}", shard.0),
        Some(Banned::User(user)) => format!("{}-u{user}", shard.0),
        Some(Banned::Address(address)) => format!("{}-a{address}", shard.0),
    }
}

fn parse_cursor(text: &str) -> Result<(u8, Option<Banned>), Problem> {
    let parsed = text.split_once('-').and_then(|(shard, after)| {
        let after = match after.split_at_checked(1) {
            None => None,
            Some(("c", name)) => Some(Banned::Client(name.into())),
            Some(("u", user)) => Some(Banned::User(user.into())),
            Some(("a", address)) => Some(Banned::Address(address.parse().ok()?)),
            Some(_) => return None,
        };
        Some((shard.parse().ok()?, after))
    });
    parsed.ok_or_else(|| Problem::new(&MALFORMED, "cursor is not one this server made"))
}

impl Desk {
    /// Keeps a user out, whatever it speaks.
    pub(super) async fn block(
        &self,
        user: &Arc<str>,
        seconds: Option<u64>,
        reason: Option<String>,
    ) -> Result<(), Problem> {
        self.ban(Banned::User(Arc::clone(user)), seconds, reason).await
    }

    /// Lets it in again; `false`: it was not kept out.
    pub(super) async fn unblock(&self, user: &Arc<str>) -> Result<bool, Problem> {
        self.lift(&Banned::User(Arc::clone(user))).await
    }

    /// How many seconds it is kept out still, if not for ever, and why; `None` if it is not.
    pub(super) async fn block_of(
        &self,
        user: &Arc<str>,
    ) -> Result<Option<(Option<u64>, Option<String>)>, Problem> {
        let of = Banned::User(Arc::clone(user));
        let Some(shard) = self.office.shards().next() else { return Ok(None) };
        let found = self.settle(shard, |reply| Mail::BanOf { of, reply }).await?;
        let item = found.map(|ban| item_of(ban, self.now_ms()));
        Ok(item.map(|item| (item.seconds, item.reason)))
    }

    async fn ban(&self, of: Banned, seconds: Option<u64>, reason: Option<String>) -> Result<(), Problem> {
        if seconds == Some(0) {
            return Err(Problem::new(&MALFORMED, "seconds must be at least 1"));
        }
        if reason.as_ref().is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            return Err(Problem::new(&MALFORMED, "reason has more than 1024 bytes"));
        }
        let until_ms = |seconds: u64| self.now_ms().saturating_add(seconds.saturating_mul(1000));
        let until = seconds.map(|seconds| Millis(until_ms(seconds)));
        let ban = Ban { of, until, reason: reason.map(Arc::from) };
        for shard in self.shards_of(&ban.of) {
            let ban = ban.clone();
            if !self.settle(shard, |reply| Mail::Ban { ban, reply }).await? {
                return Err(Problem::new(&OVER_LIMIT, "there are limits.bans_max bans"));
            }
        }
        Ok(())
    }

    async fn lift(&self, of: &Banned) -> Result<bool, Problem> {
        let mut found = false;
        for shard in self.shards_of(of) {
            let of = of.clone();
            found |= self.settle(shard, |reply| Mail::Unban { of, reply }).await?;
        }
        Ok(found)
    }

    /// The shards that have to know.
    fn shards_of(&self, of: &Banned) -> Vec<ShardId> {
        match of {
            Banned::Client(name) => vec![claim_home(name, &self.office.topology())],
            Banned::User(_) | Banned::Address(_) => self.office.shards().collect(),
        }
    }

    async fn bans_of(
        &self,
        shard: ShardId,
        after: Option<Banned>,
        limit: usize,
    ) -> Result<hub::Page<Ban>, Problem> {
        self.settle(shard, |reply| Mail::Bans { after, limit, reply }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_they_were_written() {
        let cases = [
            None,
            Some(Banned::Client("a-b".into())),
            Some(Banned::User("".into())),
            Some(Banned::Address("::1".parse().unwrap())),
        ];
        for after in cases {
            let text = cursor(ShardId(3), after.as_ref());
            assert_eq!(parse_cursor(&text).unwrap(), (3, after), "{text}");
        }
        assert!(parse_cursor("x").is_err() && parse_cursor("1-x").is_err() && parse_cursor("1-ax").is_err());
    }
}
