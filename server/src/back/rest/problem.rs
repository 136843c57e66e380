//! Every error of the private port: RFC 9457 problem documents from one table.
//!
//! A new error is a row in [`KINDS`]; the served pages and the status codes come from there.

use super::document::ProblemDocument;
use crate::back::values::ValuesError;
use crate::back::{Invalid, OfficeError};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hub::Refusal;

/// A row of the table: name, status, what it means.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Last part of the problem's `type`, and its `code`.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// One sentence for people.
    pub title: &'static str,
}

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $constant:ident = $name:literal, $status:literal, $title:literal;)+) => {
        $($(#[doc = $doc])+ pub(super) const $constant: Kind = Kind { name: $name, status: $status, title: $title };)+
        /// All rows, in order of status.
        pub(super) const KINDS: &[&Kind] = &[$(&$constant),+];
    };
}

kinds! {
    /// The body or a parameter cannot be read.
    MALFORMED = "malformed", 400, "The request could not be read.";
    /// A member or parameter that does not exist.
    UNKNOWN_FIELD = "unknown-field", 400, "The request has a field that does not exist here.";
    /// No key, or a wrong one.
    UNAUTHENTICATED = "unauthenticated", 401, "A valid key is needed: Authorization: Bearer KEY.";
    /// Not for this caller.
    FORBIDDEN = "forbidden", 403, "This is not allowed.";
    /// `$` names.
    RESERVED_CHANNEL = "reserved-channel", 403, "Names that begin with $ are managed by the server.";
    /// No such thing.
    NOT_FOUND = "not-found", 404, "There is no such resource.";
    /// Not this verb.
    METHOD = "method-not-allowed", 405, "This resource does not know that method.";
    /// The body did not come.
    TIMEOUT = "timeout", 408, "The body of the request did not come in time.";
    /// Something of that name is there.
    EXISTS = "exists", 409, "There is one of that name already.";
    /// Not as things are.
    CONFLICT = "conflict", 409, "That cannot be done as things are now.";
    /// The first request of that key is under way.
    IN_PROGRESS = "idempotency-in-progress", 409, "The first request with that Idempotency-Key is not answered yet.";
    /// History was trimmed or lost.
    POSITION_LOST = "position-lost", 410, "The history no longer reaches back to that position.";
    /// Older than what is there.
    PRECONDITION = "precondition", 412, "What the request asks for to be so is not so.";
    /// Body over the limit.
    TOO_LARGE = "too-large", 413, "The request is larger than the limit.";
    /// Not what is wanted.
    MEDIA_TYPE = "media-type", 415, "The body has another media type than is wanted.";
    /// Bad channel name.
    INVALID_CHANNEL = "invalid-channel", 422, "That is not a valid channel name.";
    /// Bad filter.
    INVALID_FILTER = "invalid-filter", 422, "That is not a valid filter.";
    /// Bad or reserved event name.
    INVALID_EVENT = "invalid-event", 422, "That is not a valid name of an event, or clients keep it for themselves.";
    /// The key was another request's.
    MISMATCH = "idempotency-mismatch", 422, "Another request had that Idempotency-Key.";
    /// A limit of the server.
    OVER_LIMIT = "over-limit", 422, "A limit of the server was reached.";
    /// Our fault.
    INTERNAL = "internal", 500, "The server failed to answer; its log says why.";
    /// The disk, or what is on it.
    STORE_FAILED = "store-failed", 500, "The store could not do it.";
    /// Mailboxes are full.
    BUSY = "busy", 503, "The server is overloaded; try again.";
    /// Drained, or shutting down.
    DRAINING = "draining", 503, "The server takes no clients: it is drained, or ends.";
    /// Nobody replied.
    REPLY_TIMEOUT = "reply-timeout", 504, "No session replied in time.";
}

/// One error answer.
#[derive(Debug)]
pub(super) struct Problem {
    kind: &'static Kind,
    detail: String,
}

impl Problem {
    /// With what happened in this case.
    pub(super) fn new(kind: &'static Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// What happened, for those who are not told by HTTP.
    pub(super) fn into_detail(self) -> String {
        if self.detail.is_empty() { self.kind.title.to_owned() } else { self.detail }
    }

    /// As it is told.
    pub(super) fn document(self) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("/v1/problems/{}", self.kind.name),
            title: self.kind.title,
            status: self.kind.status,
            detail: self.detail,
            code: self.kind.name,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let body = serde_json::to_string(&self.document()).unwrap_or_default();
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if kind.status == 503 {
            response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        if kind.status == 401 {
            let bearer = axum::http::HeaderValue::from_static("Bearer realm=\"trunkline\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

impl From<OfficeError> for Problem {
    fn from(error: OfficeError) -> Self {
        let kind = match &error {
            OfficeError::Refused(refusal) => return (*refusal).into(),
            OfficeError::Invalid(invalid) => return (*invalid).into(),
            OfficeError::Busy | OfficeError::Uncertain => &BUSY,
            OfficeError::Stopped => &DRAINING,
            OfficeError::Unanswered => &INTERNAL,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (kind, detail) = match refusal {
            Refusal::NotFound => (&NOT_FOUND, "no such session"),
            Refusal::InvalidChannel => (
                &INVALID_CHANNEL,
                "a channel name is 1 to 2,048 bytes (by default) of UTF-8 without `+`, `#`, NUL or control characters",
            ),
            Refusal::InvalidFilter => (&INVALID_FILTER, "`+` stands for a whole level, `#` only at the end"),
            Refusal::ReservedChannel => {
                (&RESERVED_CHANNEL, "this cannot be done with a channel of the server's own")
            }
            Refusal::OverLimit => (&OVER_LIMIT, "too many channels, subscriptions or open asks"),
            Refusal::Outdated => {
                (&PRECONDITION, "a version that is not older was published on this channel, about this key")
            }
            Refusal::Busy => (&CONFLICT, "the session is being let in, or changed: ask again"),
            Refusal::PositionLost => (&POSITION_LOST, "read from the start, or from the newest position"),
        };
        Self::new(kind, detail)
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let kind = match invalid {
            Invalid::Event => &INVALID_EVENT,
            Invalid::Bytes => &TOO_LARGE,
            Invalid::Attachments | Invalid::Names | Invalid::User | Invalid::Info => &OVER_LIMIT,
            Invalid::Depth => &MALFORMED,
            Invalid::Target(refusal) => return refusal.into(),
        };
        Self::new(kind, invalid.to_string())
    }
}

impl From<ValuesError> for Problem {
    fn from(error: ValuesError) -> Self {
        Self::new(&MALFORMED, error.to_string())
    }
}

/// The page of one problem, for people who follow its `type`.
pub(super) fn page(name: &str) -> Option<String> {
    let kind = KINDS.iter().find(|kind| kind.name == name)?;
    Some(format!("{}\n\nHTTP status {}\n{}\n", kind.name, kind.status, kind.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let mut names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| (400..600).contains(&kind.status)));
    }
}
