//! Tokens for clients, made here: `POST /v1/tokens`. What they say is the back end's business. Start at [`make`].

use super::Desk;
use super::document::Replaced;
use super::extract::Body;
use super::problem::{MALFORMED, NOT_FOUND, Problem};
use crate::auth::{MintError, mint, unix_now};
use crate::back::gather::message_id;
use crate::back::values::text_of_id;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wire::cloudevent::timestamp;

/// How long a token is good of which nothing else is said. Seconds.
const LIFETIME_SECONDS: u64 = 3600;

/// A year. Seconds.
const LIFETIME_SECONDS_MAX: u64 = 31_536_000;

/// What a token is to say, and for how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    /// `sub` is the user; `trunkline` is an object of `permissions`, `subscriptions`, `info`, `state`, `client_id` and
    /// `namespaces`. `iss`, `aud` and `jti` are filled in; `exp`, `nbf` and `iat` are the server's.
    #[schema(value_type = Object)]
    claims: Map<String, Value>,
    /// An hour when it is left out.
    #[schema(minimum = 1, maximum = 31_536_000)]
    lifetime_seconds: Option<u64>,
}

/// A token.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenView {
    /// To be shown by the client.
    token: String,
    /// When it is over.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Make a token
///
/// Signed by `auth.jwt.secret`; not there unless `auth.jwt.sign_tokens` is set.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "users", operation_id = "makeToken",
    security(("key" = ["admin"])), request_body = TokenRequest,
    responses(
        (status = 201, description = "A token, good from now on.", body = TokenView),
        Replaced,
    )
)]
pub(super) async fn make(
    State(desk): State<Desk>,
    Body(request): Body<TokenRequest>,
) -> Result<(StatusCode, Json<TokenView>), Problem> {
    let lifetime_seconds = request.lifetime_seconds.unwrap_or(LIFETIME_SECONDS);
    if !(1..=LIFETIME_SECONDS_MAX).contains(&lifetime_seconds) {
        return Err(Problem::new(&MALFORMED, "lifetime_seconds is 1 to 31536000"));
    }
    let (now, id) = (unix_now(), text_of_id(message_id()));
    let made = mint(&desk.config, request.claims, id, (now, lifetime_seconds));
    let token = made.map_err(|error| match error {
        MintError::Off => Problem::new(&NOT_FOUND, "auth.jwt.sign_tokens is off"),
        MintError::Claims(text) => Problem::new(&MALFORMED, text),
    })?;
    let expires_at = timestamp((now.0 / 1000 + lifetime_seconds) * 1000);
    Ok((StatusCode::CREATED, Json(TokenView { token, expires_at })))
}
