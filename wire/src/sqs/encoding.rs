//! Which of the two protocols a request speaks, and what of an HTTP request matters to both.
//!
//! Owns the choice. Must not know how either is read or written. Start at [`Encoding::of`].

use super::query;

/// What a server has to hand over of an HTTP request. Names of fields are compared by the server; their values, the
/// path and the query string come as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Path of the target, not decoded.
    pub path: &'a str,
    /// Query string of the target without the `?`, not decoded.
    pub query: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
    /// `X-Amz-Target`.
    pub target: Option<&'a str>,
    /// `x-amzn-query-mode`.
    pub query_mode: Option<&'a str>,
    /// `X-Amzn-Trace-Id`.
    pub trace_header: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// How a request is read and its answer written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// AWS JSON 1.0 from a client that knows the errors of the model by their status.
    Json,
    /// AWS JSON 1.0 from an older client, to which every fault of its own is a 400.
    JsonPlain,
    /// The Query protocol, answered by XML.
    Query,
    /// The Query protocol, answered by JSON because the client asked for it.
    QueryJson,
}

/// What a request is answered that is in no protocol: [`Unroutable::STATUS`] and [`Unroutable::BODY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unroutable;

impl Unroutable {
    /// The HTTP status.
    pub const STATUS: u16 = 404;

    /// The body.
    pub const BODY: &'static str = "<UnknownOperationException/>";
}

/// The media type of AWS JSON 1.0.
pub const CONTENT_TYPE_JSON: &str = "application/x-amz-json-1.0";

/// The media type of forms.
const CONTENT_TYPE_FORM: &str = "application/x-www-form-urlencoded";

impl Encoding {
    /// The protocol of a request.
    ///
    /// # Errors
    /// [`Unroutable`] if it is neither JSON nor has an `Action`.
    pub fn of(incoming: &Incoming<'_>) -> Result<Self, Unroutable> {
        if incoming.content_type.is_some_and(|found| is_media_type(found, CONTENT_TYPE_JSON)) {
            let knows_statuses = incoming.query_mode.is_some_and(|mode| mode.eq_ignore_ascii_case("true"));
            return Ok(if knows_statuses { Self::Json } else { Self::JsonPlain });
        }
        if query::lookup(incoming.parameters(), "Action").is_none() {
            return Err(Unroutable);
        }
        let wants_json = incoming.accept.is_some_and(|accept| {
            accept.split(',').next().is_some_and(|first| is_media_type(first, "application/json"))
        });
        Ok(if wants_json { Self::QueryJson } else { Self::Query })
    }

    /// The protocol to answer a request in whose body was not read, by its fields alone.
    pub fn of_head(incoming: &Incoming<'_>) -> Self {
        Self::of(incoming).unwrap_or(Self::Query)
    }

    /// Whether requests are JSON.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::JsonPlain)
    }
}

impl<'a> Incoming<'a> {
    /// Where parameters of the Query protocol are: the query string, and the body if that is a form or does not say
    /// what it is.
    pub(super) fn parameters(&self) -> [&'a [u8]; 2] {
        let is_form = self.content_type.is_none_or(|found| is_media_type(found, CONTENT_TYPE_FORM));
        [self.query.as_bytes(), if is_form { self.body } else { &[] }]
    }
}

/// Compares without parameters such as `charset`.
fn is_media_type(found: &str, wanted: &str) -> bool {
    found.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(wanted))
}
