//! The parameters of an Engine.IO request and the checks that need nothing but them.
//!
//! Owns the reading of `EIO`, `transport`, `sid` and `b64`, and what of a first request the application may see.
//! Must not know sessions. Start at [`Query::read`].

use std::borrow::Cow;

use wire::engineio::{BinaryAs, HandshakeError, Transport, Version};
use wire::http::{Head, pairs};

use super::sid::Sid;
use crate::config;
use crate::front::facts;
use crate::mail::Handshake;

/// Parameters of the engine; everything else belongs to the application.
const ENGINE_PARAMETERS: [&str; 6] = ["EIO", "transport", "sid", "t", "b64", "j"];

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

/// What the application's parameters cost to keep.
pub(super) fn kept_bytes(query: &str) -> usize {
    facts::kept_bytes(query, &ENGINE_PARAMETERS)
}

/// What the application may see of a first request; address and TLS are filled in by the caller. The parameters are
/// all kept: more than `limits.handshake_bytes_max` is for the caller to refuse ([`kept_bytes`]).
pub(super) fn facts(head: &Head<'_>, config: &config::Config) -> Handshake {
    facts::facts(head, config, &ENGINE_PARAMETERS)
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
