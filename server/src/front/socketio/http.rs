//! Answers to HTTP requests: bodies and cookie.
//!
//! Owns every field of every answer but those for web pages of other origins. Must not know sessions beyond a sid's text. Start at [`Site`].

use std::sync::Arc;

use bytes::Bytes;
use wire::engineio::{HandshakeError, Payload};
use wire::http::Head;

use crate::config::Config;
use crate::front::cors::Cors;
use crate::shard::Response;

/// What of the configuration shows in answers.
#[derive(Clone, Debug)]
pub(super) struct Site {
    config: Arc<Config>,
    cors: Cors,
}

impl Site {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { cors: Cors::of_socketio(&config.socketio), config }
    }

    /// Whether a WebSocket of this origin may be opened.
    pub(super) fn allows_origin(&self, origin: Option<&str>) -> bool {
        self.cors.allows(origin)
    }

    /// The answer to a preflight request; `None` if this is none or CORS is off.
    pub(super) fn preflight(&self, head: &Head<'_>) -> Option<Response> {
        self.cors.preflight(head)
    }

    /// A refusal: JSON with code and message.
    pub(super) fn error(&self, error: HandshakeError, origin: Option<&str>) -> Response {
        let response = Response::new(error.http_status()).header("content-type", "application/json");
        self.cors.open(response.body(error.json_body()), origin)
    }

    /// Handshakes are refused while the server stops or is full; the client tries again.
    pub(super) fn unavailable(&self, origin: Option<&str>) -> Response {
        let response = Response::new(503).header("content-type", "text/plain").header("retry-after", "1");
        self.cors.open(response.body(Bytes::from_static(b"unavailable")), origin)
    }

    /// The query of a handshake has more parameters than are kept.
    pub(super) fn query_too_long(&self, origin: Option<&str>) -> Response {
        let response = Response::new(414).header("content-type", "text/plain");
        self.cors.open(response.body(Bytes::from_static(b"query too long")), origin)
    }

    /// Too many handshakes of one address.
    pub(super) fn too_many(&self, origin: Option<&str>) -> Response {
        let response = Response::new(429).header("content-type", "text/plain").header("retry-after", "1");
        self.cors.open(response.body(Bytes::from_static(b"too many handshakes")), origin)
    }

    /// The answer to a GET: packets. With `sid` it is the handshake, which may set a cookie.
    pub(super) fn packets(&self, payload: Payload, origin: Option<&str>, sid: Option<&str>) -> Response {
        let mut response = Response::new(200)
            .header("content-type", payload.form.content_type())
            .header("cache-control", "no-store");
        if let (Some(cookie), Some(sid)) = (&self.config.socketio.cookie, sid) {
            response = response
                .header("set-cookie", format!("{}={sid}; Path=/; HttpOnly; SameSite=Lax", cookie.as_str()));
        }
        self.cors.open(response.body(payload.body), origin)
    }

    /// The answer to a POST.
    pub(super) fn ok(&self, origin: Option<&str>) -> Response {
        let response =
            Response::new(200).header("content-type", "text/html").header("cache-control", "no-store");
        self.cors.open(response.body(Bytes::from_static(b"ok")), origin)
    }
}
