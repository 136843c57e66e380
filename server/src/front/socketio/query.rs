//! The parameters of an Engine.IO request and the checks that need nothing but them.
//!
//! Owns the reading of `EIO`, `transport`, `sid` and `b64`, and what of a first request the application may see.
//! Must not know sessions. Start at [`Query::read`].

use std::borrow::Cow;

use wire::engineio::{BinaryAs, HandshakeError, Transport, Version};
use wire::http::{Head, pairs};

use super::held::TOKEN_HEADER;
use super::sid::Sid;
use crate::auth::{PARAMETER, token_in};
use crate::config;
use crate::mail::Handshake;

/// Parameters of the engine; everything else belongs to the application.
const ENGINE_PARAMETERS: [&str; 6] = ["EIO", "transport", "sid", "t", "b64", "j"];

/// Bytes of one header value that are kept.
const HEADER_BYTES_MAX: usize = 4096;

/// What a name and its value cost beside their bytes: two pointers with lengths, two allocations.
const PAIR_BYTES: usize = 64;

/// The engine's parameters of one request.
#[derive(Debug)]
pub(super) struct Query<'a> {
    eio: Option<Cow<'a, str>>,
    transport: Option<Transport>,
    sid: Option<Cow<'a, str>>,
    b64: bool,
}

impl<'a> Query<'a> {
    /// Reads a query. Of a repeated parameter the first counts.
    pub(super) fn read(query: &'a str) -> Self {
        let mut read = Self { eio: None, transport: None, sid: None, b64: false };
        let mut transport = None;
        for (key, value) in pairs(query) {
            match &*key {
                "EIO" if read.eio.is_none() => read.eio = Some(value),
                "transport" if transport.is_none() => transport = Some(value),
                "sid" if read.sid.is_none() => read.sid = Some(value),
                "b64" => read.b64 = matches!(&*value, "1" | "true"),
                _ => {}
            }
        }
        read.transport = transport.as_deref().and_then(Transport::parse);
        read
    }

    pub(super) fn transport(&self) -> Result<Transport, HandshakeError> {
        self.transport.ok_or(HandshakeError::UnknownTransport)
    }

    /// The session named: `Ok(None)` without `sid`, an error for text that no session can have.
    pub(super) fn sid(&self) -> Result<Option<Sid>, HandshakeError> {
        match &self.sid {
            None => Ok(None),
            Some(text) => Sid::parse(text).map(Some).ok_or(HandshakeError::UnknownSid),
        }
    }

    /// The revision asked for, if this listener serves it.
    pub(super) fn version(&self, config: &config::SocketIo) -> Result<Version, HandshakeError> {
        match self.eio.as_deref().and_then(Version::parse) {
            Some(Version::V4) => Ok(Version::V4),
            Some(Version::V3) if config.eio3 => Ok(Version::V3),
            _ => Err(HandshakeError::UnsupportedVersion),
        }
    }

    /// How polls carry binary messages: revision 3 without `b64=1` takes raw bytes.
    pub(super) fn binary_as(&self, version: Version) -> BinaryAs {
        match version {
            Version::V3 if !self.b64 => BinaryAs::Raw,
            Version::V3 | Version::V4 => BinaryAs::Base64,
        }
    }
}

/// The parameters of a query that belong to the application.
fn own_pairs<'a>(query: &'a str) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
    pairs(query).filter(|(key, _)| !ENGINE_PARAMETERS.contains(&&**key))
}

/// What the application's parameters cost to keep.
pub(super) fn kept_bytes(query: &str) -> usize {
    own_pairs(query).map(|(key, value)| PAIR_BYTES + key.len() + value.len()).sum()
}

/// What the application may see of a first request; address and TLS are filled in by the caller. The parameters are
/// all kept: more than `limits.handshake_bytes_max` is for the caller to refuse ([`kept_bytes`]).
pub(super) fn facts(head: &Head<'_>, config: &config::Config) -> Handshake {
    let mut room = config.limits.handshake_bytes_max.saturating_sub(kept_bytes(head.query));
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
    let shown = own_pairs(head.query).filter(|(key, _)| is_shown(key));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revision_is_read_strictly() {
        let mut config = config::Config::loopback().socketio;
        let off = config.clone();
        config.eio3 = true;
        let version = |query, config| Query::read(query).version(config);
        assert_eq!(version("EIO=4", &off), Ok(Version::V4));
        assert_eq!(version("EIO=3", &config), Ok(Version::V3));
        assert_eq!(version("EIO=3", &off), Err(HandshakeError::UnsupportedVersion));
        for query in ["", "EIO=abc", "EIO=2", "EIO=04", "EIO=", "eio=4"] {
            assert_eq!(version(query, &config), Err(HandshakeError::UnsupportedVersion), "{query}");
        }
    }

    #[test]
    fn the_transport_must_be_one_of_two() {
        let transport = |query| Query::read(query).transport();
        assert_eq!(transport("transport=polling"), Ok(Transport::Polling));
        assert_eq!(transport("transport=websocket"), Ok(Transport::WebSocket));
        for query in ["", "transport=abc", "transport=webtransport", "transport="] {
            assert_eq!(transport(query), Err(HandshakeError::UnknownTransport), "{query}");
        }
    }

    #[test]
    fn a_sid_that_cannot_exist_is_unknown() {
        assert!(matches!(Query::read("EIO=4").sid(), Ok(None)));
        assert!(matches!(Query::read("sid=abc").sid(), Err(HandshakeError::UnknownSid)));
        assert!(matches!(Query::read("sid=").sid(), Err(HandshakeError::UnknownSid)));
    }

    #[test]
    fn raw_binary_is_for_revision_3_only() {
        assert_eq!(Query::read("").binary_as(Version::V3), BinaryAs::Raw);
        assert_eq!(Query::read("b64=1").binary_as(Version::V3), BinaryAs::Base64);
        assert_eq!(Query::read("").binary_as(Version::V4), BinaryAs::Base64);
    }
}
