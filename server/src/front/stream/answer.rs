//! Answers to requests: heads of streams, and how each form of stream says no.
//!
//! Owns every field of every answer. What an answer means to a client decides its form: an `EventSource` stops for good on every
//! status but 200, and comes back from a 200 that ends. Must not know sessions. Start at [`Site`].

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use wire::http::Head;
use wire::stream::{ParamError, retry};

use super::caller::Kind;
use crate::config::Config;
use crate::front::cors::Cors;
use crate::shard::Response;

/// What of the configuration shows in answers.
#[derive(Clone, Debug)]
pub(super) struct Site {
    cors: Cors,
    retry_ms: u64,
}

/// A request that is not served, and should not be repeated: a problem document (RFC 9457), as on the private port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    code: &'static str,
    detail: Cow<'static, str>,
    /// Behind which position everything is still there.
    earliest: Option<String>,
    /// What a 401 says of how to say who one is.
    challenge: &'static str,
}

/// Why somebody is to come back a little later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// No more sessions or channels fit in.
    Full,
    /// Too many handshakes, or messages, of one address.
    Often,
    /// Who it is cannot be said now, or not any more.
    Unknown,
    /// The server stops.
    Draining,
}

/// The body of a refusal.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    earliest: Option<&'a str>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let challenge = "Bearer realm=\"trunkline\"";
        Self { status, code, detail: detail.into(), earliest: None, challenge }
    }

    /// The position that a poll names is not there any more.
    pub(super) fn lost(earliest: Option<String>) -> Self {
        let detail = "read from `earliest`, which gets all that is there, or without `after`";
        Self { earliest, ..Self::new(410, "position-lost", detail) }
    }

    /// It does not say who it is.
    pub(super) fn nobody(detail: &'static str) -> Self {
        Self::new(401, "unauthenticated", detail)
    }

    /// It says so by a token that is no good (RFC 6750 section 3.1).
    pub(super) fn bad_token(detail: &'static str) -> Self {
        Self { challenge: "Bearer realm=\"trunkline\", error=\"invalid_token\"", ..Self::nobody(detail) }
    }

    /// What a filter matches is at many homes, and without an order.
    pub(super) fn retained_of(filter: &str) -> Self {
        let detail = format!("`retained` needs names of channels: \"{}\" is a filter", filter.escape_debug());
        Self::new(422, "invalid-channel", detail)
    }

    /// It names no channel, and has none of its own.
    pub(super) fn no_channel() -> Self {
        let detail = "`channel` is missing: name one, or several; only a stream of a user does without";
        Self::new(400, "malformed", detail)
    }

    /// What it asks for is not for it.
    pub(super) fn forbidden(detail: &str) -> Self {
        Self::new(403, "forbidden", detail.to_owned())
    }

    /// This is not what is done here.
    pub(super) fn method(detail: &'static str) -> Self {
        Self::new(405, "method-not-allowed", detail)
    }

    /// Of the hub's.
    pub(super) fn of(refusal: hub::Refusal, name: &str) -> Self {
        let detail = |text: &str| format!("\"{}\": {text}", name.escape_debug());
        match refusal {
            hub::Refusal::InvalidChannel => Self::new(
                422,
                "invalid-channel",
                detail("a channel name is 1 to 2,048 bytes (by default) of UTF-8 without `+`, `#` and NUL"),
            ),
            hub::Refusal::InvalidFilter => Self::new(
                422,
                "invalid-filter",
                detail("`+` stands for a whole level, `#` for all that follow"),
            ),
            hub::Refusal::ReservedChannel => {
                Self::new(403, "reserved-channel", detail("names that begin with `$` are not for clients"))
            }
            hub::Refusal::OverLimit => {
                Self::new(422, "over-limit", detail("a limit of the server was reached"))
            }
            hub::Refusal::PositionLost => Self::lost(None),
            hub::Refusal::Outdated => Self::new(412, "precondition", detail("a newer version was published")),
            hub::Refusal::Busy => Self::new(409, "conflict", detail("it is being changed")),
            hub::Refusal::NotFound => Self::new(404, "not-found", detail("there is no such thing")),
        }
    }

    /// As JSON.
    pub(super) fn problem(&self) -> String {
        let problem = Problem {
            r#type: format!("/v1/problems/{}", self.code),
            title: self.title(),
            status: self.status,
            detail: &self.detail,
            code: self.code,
            earliest: self.earliest.as_deref(),
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }

    /// For people, by the code.
    fn title(&self) -> &'static str {
        match self.code {
            "malformed" => "The request could not be read.",
            "unauthenticated" => "The client has to say who it is.",
            "forbidden" => "This is not allowed.",
            "reserved-channel" => "Names that begin with $ are managed by the server.",
            "method-not-allowed" => "This resource does not know that method.",
            "not-found" => "There is no such resource.",
            "position-lost" => "The history no longer reaches back to that position.",
            "too-large" => "The request is larger than the limit.",
            "invalid-channel" => "That is not a valid channel name.",
            "invalid-filter" => "That is not a valid filter.",
            "over-limit" => "A limit of the server was reached.",
            _ => "The request is not served.",
        }
    }
}

impl From<ParamError> for Refusal {
    fn from(error: ParamError) -> Self {
        Self::new(400, "malformed", error.to_string())
    }
}

impl Site {
    pub(super) fn new(config: &Config) -> Self {
        Self { cors: Cors::of_streams(&config.streams), retry_ms: config.streams.retry_ms }
    }

    /// The answer to a preflight request, if this is one.
    pub(super) fn preflight(&self, head: &Head<'_>) -> Option<Response> {
        self.cors.preflight(head)
    }

    /// Whether a page of another site sends it that may not.
    pub(super) fn is_foreign(&self, head: &Head<'_>) -> bool {
        if head.websocket { !self.cors.allows_socket(head) } else { self.cors.is_foreign(head) }
    }

    /// The head of a stream.
    pub(super) fn stream(&self, kind: Kind, origin: Option<&str>) -> Response {
        self.fresh(200, kind.form().content_type(), origin)
    }

    /// What a stream of server-sent events begins with.
    pub(super) fn opening(&self, kind: Kind, out: &mut Vec<u8>) {
        match kind {
            Kind::Sse | Kind::SseEnvelope => retry(self.retry_ms, out),
            Kind::Ndjson | Kind::Poll | Kind::WebSocket => {}
        }
    }

    /// A complete answer in JSON.
    pub(super) fn json(&self, body: impl Into<Bytes>, origin: Option<&str>) -> Response {
        self.fresh(200, "application/json", origin).body(body)
    }

    /// A client that should not try again.
    pub(super) fn refuse(&self, refusal: &Refusal, origin: Option<&str>) -> Response {
        let body = refusal.problem();
        let response = self.fresh(refusal.status, "application/problem+json", origin).body(body);
        match refusal.status {
            401 => response.header("www-authenticate", refusal.challenge),
            405 => response.header("allow", "GET, POST, OPTIONS"),
            _ => response,
        }
    }

    /// A client that should. `kind` is what it asked for; nothing for a publisher.
    pub(super) fn put_off(&self, later: Later, kind: Option<Kind>, origin: Option<&str>) -> Response {
        if let Some(kind @ (Kind::Sse | Kind::SseEnvelope)) = kind {
            let mut body = Vec::new();
            self.opening(kind, &mut body);
            return self.stream(kind, origin).body(body).closing();
        }
        let (status, text) = match later {
            Later::Full => (503, "the server is full"),
            Later::Often => (429, "too many requests"),
            Later::Unknown => (503, "whether this is allowed cannot be said now"),
            Later::Draining => (503, "the server stops"),
        };
        self.fresh(status, "text/plain", origin).header("retry-after", "1").body(text)
    }

    /// No cache keeps it, and no proxy gathers it.
    fn fresh(&self, status: u16, content_type: &'static str, origin: Option<&str>) -> Response {
        let response = Response::new(status)
            .header("content-type", content_type)
            .header("cache-control", "no-store")
            .header("x-accel-buffering", "no");
        self.cors.open(response, origin)
    }
}
