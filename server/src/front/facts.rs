//! What of a client's first request the application may see.
//!
//! Owns its bounds, and that a token is seen only as a header. Must not know sessions. Start at [`facts`].

use std::borrow::Cow;

use wire::http::{Head, pairs};

use crate::auth::{PARAMETER, token_in};
use crate::config;
use crate::mail::Handshake;

/// The header under which a token of the first request is kept.
pub(super) const TOKEN_HEADER: &str = "authorization";

/// Bytes of one header value that are kept.
const HEADER_BYTES_MAX: usize = 4096;

/// What a name and its value cost beside their bytes: two pointers with lengths, two allocations.
const PAIR_BYTES: usize = 64;

/// The parameters of a query but those of the protocol.
fn own_pairs<'a>(query: &'a str, protocol: &[&str]) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
    pairs(query).filter(|(key, _)| !protocol.contains(&&**key))
}

/// What the application's parameters cost to keep.
pub(super) fn kept_bytes(query: &str, protocol: &[&str]) -> usize {
    own_pairs(query, protocol).map(|(key, value)| PAIR_BYTES + key.len() + value.len()).sum()
}

/// What the application may see of a first request; address and TLS are filled in by the caller. The parameters are
/// all kept but those of the `protocol`: more than `limits.handshake_bytes_max` is for the caller to refuse ([`kept_bytes`]).
pub(super) fn facts(head: &Head<'_>, config: &config::Config, protocol: &[&str]) -> Handshake {
    let mut room = config.limits.handshake_bytes_max.saturating_sub(kept_bytes(head.query, protocol));
    // Where tokens are asked for, the one that came here is kept as if it had come in its header.
    let wants_tokens = config.auth.mode == config::AuthMode::Jwt;
    let token =
        || token_in(head.header(TOKEN_HEADER), pairs(head.query), head.header("cookie"), cookie(config));
    let token = if wants_tokens { token() } else { None };
    let token = token.and_then(|token| {
        room = room.checked_sub(PAIR_BYTES + TOKEN_HEADER.len() + "Bearer ".len() + token.len())?;
        Some((Box::from(TOKEN_HEADER), format!("Bearer {token}").into_boxed_str()))
    });
    let is_shown = |key: &str| !wants_tokens || key != PARAMETER;
    let shown = own_pairs(head.query, protocol).filter(|(key, _)| is_shown(key));
    let query = shown.map(|(key, value)| (Box::from(key), Box::from(value))).collect();
    let is_kept = token.is_some();
    let kept = |name: &config::HeaderName| {
        let value = head.header(name.as_str()).filter(|value| value.len() <= HEADER_BYTES_MAX)?;
        if is_kept && name.as_str() == TOKEN_HEADER {
            return None;
        }
        room = room.checked_sub(PAIR_BYTES + name.as_str().len() + value.len())?;
        Some((Box::from(name.as_str()), Box::from(value)))
    };
    let headers: Vec<_> = config.socketio.handshake_headers.iter().filter_map(kept).collect();
    let headers = token.into_iter().chain(headers).collect();
    Handshake { query, headers, remote: None, secure: false }
}

/// The name of the cookie that may hold a token.
fn cookie(config: &config::Config) -> Option<&str> {
    config.jwt.cookie.as_ref().map(config::CookieName::as_str)
}
