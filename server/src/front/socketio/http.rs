//! Answers to HTTP requests: bodies, CORS and cookie.
//!
//! Owns every field of every answer. Must not know sessions beyond a sid's text. Start at [`Site`].

use std::sync::Arc;

use bytes::Bytes;
use wire::engineio::{HandshakeError, Payload};
use wire::http::Head;

use crate::config::{Config, Origins};
use crate::shard::Response;

/// What of the configuration shows in answers.
#[derive(Clone, Debug)]
pub(super) struct Site {
    config: Arc<Config>,
}

impl Site {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    /// Whether a WebSocket of this origin may be opened. Browsers do not apply CORS to WebSockets, so the list is
    /// applied here; a client without an origin is no browser.
    pub(super) fn allows_origin(&self, origin: Option<&str>) -> bool {
        origin.is_none_or(|origin| self.config.socketio.cors_origins.allow(origin))
    }

    /// The answer to a preflight request (Fetch standard, CORS-preflight); `None` if this is none or CORS is off.
    pub(super) fn preflight(&self, head: &Head<'_>) -> Option<Response> {
        if head.method != "OPTIONS" || self.config.socketio.cors_origins == Origins::Unlisted {
            return None;
        }
        let mut response = Response::new(204).header("access-control-allow-methods", "GET, POST");
        if let Some(headers) = head.header("access-control-request-headers") {
            response = response.header("access-control-allow-headers", headers.to_owned());
        }
        Some(self.cors(response.header("access-control-max-age", "600"), head.header("origin")))
    }

    /// A refusal: JSON with code and message.
    pub(super) fn error(&self, error: HandshakeError, origin: Option<&str>) -> Response {
        let response = Response::new(error.http_status()).header("content-type", "application/json");
        self.cors(response.body(error.json_body()), origin)
    }

    /// Handshakes are refused while the server stops or is full; the client tries again.
    pub(super) fn unavailable(&self, origin: Option<&str>) -> Response {
        let response = Response::new(503).header("content-type", "text/plain").header("retry-after", "1");
        self.cors(response.body(Bytes::from_static(b"unavailable")), origin)
    }

    /// The query of a handshake has more parameters than are kept.
    pub(super) fn query_too_long(&self, origin: Option<&str>) -> Response {
        let response = Response::new(414).header("content-type", "text/plain");
        self.cors(response.body(Bytes::from_static(b"query too long")), origin)
    }

    /// Too many handshakes of one address.
    pub(super) fn too_many(&self, origin: Option<&str>) -> Response {
        let response = Response::new(429).header("content-type", "text/plain").header("retry-after", "1");
        self.cors(response.body(Bytes::from_static(b"too many handshakes")), origin)
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
        self.cors(response.body(payload.body), origin)
    }

    /// The answer to a POST.
    pub(super) fn ok(&self, origin: Option<&str>) -> Response {
        let response =
            Response::new(200).header("content-type", "text/html").header("cache-control", "no-store");
        self.cors(response.body(Bytes::from_static(b"ok")), origin)
    }

    /// Adds the CORS fields; on errors too, or the page's script could not read them.
    fn cors(&self, response: Response, origin: Option<&str>) -> Response {
        let response = match &self.config.socketio.cors_origins {
            Origins::Unlisted => return response,
            Origins::Any => return response.header("access-control-allow-origin", "*"),
            Origins::Listed(_) => response.header("vary", "Origin"),
        };
        let Some(origin) = origin.filter(|origin| self.allows_origin(Some(origin))) else { return response };
        let response = response.header("access-control-allow-origin", origin.to_owned());
        if self.config.socketio.cors_credentials {
            response.header("access-control-allow-credentials", "true")
        } else {
            response
        }
    }
}
