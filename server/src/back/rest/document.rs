//! What the OpenAPI document says beside the handlers: the key, and which problems an operation answers with.
//!
//! Must not know any handler. An operation names one of the [`refusals`] after its own responses.

use super::idempotency::IDEMPOTENCY_KEY_BYTES_MAX;
use super::problem::{
    BUSY, CONFLICT, DRAINING, EXISTS, FORBIDDEN, IN_PROGRESS, INTERNAL, INVALID_CHANNEL, INVALID_EVENT,
    INVALID_FILTER, Kind, MALFORMED, MEDIA_TYPE, MISMATCH, NOT_FOUND, OVER_LIMIT, POSITION_LOST,
    PRECONDITION, REPLY_TIMEOUT, RESERVED_CHANNEL, STORE_FAILED, TOO_LARGE, UNAUTHENTICATED, UNKNOWN_FIELD,
};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{IntoResponses, Modify, ToSchema};

/// An error (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProblemDocument {
    /// Where the page about this kind of problem is, relative to the private port.
    pub r#type: String,
    /// The kind of problem, for people.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What happened in this case, for people.
    pub detail: String,
    /// The kind of problem, for programs; the last part of `type`.
    pub code: &'static str,
}

/// Adds the scheme of `private.keys` and `[[private.key]]`.
pub(super) struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut OpenApi) {
        let about = "One of `private.keys`, which may do everything, or the key of a `[[private.key]]` with the scope that stands \
                     beside the operation. Without keys the port is on loopback and open to this machine.";
        let key = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about)).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(key));
    }
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident: $($kind:ident)+;)+) => {$(
        $(#[doc = $doc])+
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                documented(&[$(&$kind),+])
            }
        }
    )+};
}

refusals! {
    /// Open to everybody on this machine, or with keys to everybody.
    Probe: FORBIDDEN;
    /// As [`Probe`], and says no while the server shuts down.
    Ready: FORBIDDEN DRAINING;
    /// A page of a fixed set.
    Page: FORBIDDEN NOT_FOUND MALFORMED;
    /// The node itself: always there.
    Node: UNAUTHENTICATED FORBIDDEN;
    /// The same by parameters.
    NodeBy: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN;
    /// Something with a node, by a body.
    NodeWork: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND TOO_LARGE MEDIA_TYPE BUSY DRAINING;
    /// The store, if there is one.
    Store: UNAUTHENTICATED FORBIDDEN NOT_FOUND STORE_FAILED;
    /// Something long with the store.
    StoreWork: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND EXISTS TOO_LARGE MEDIA_TYPE STORE_FAILED BUSY;
    /// Many things, chosen by parameters.
    Listing: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN INVALID_CHANNEL INVALID_FILTER INTERNAL BUSY DRAINING;
    /// One thing by name.
    One: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND INVALID_CHANNEL INTERNAL BUSY DRAINING;
    /// Subscriptions, by a body.
    Change: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN RESERVED_CHANNEL NOT_FOUND TOO_LARGE MEDIA_TYPE
        INVALID_CHANNEL OVER_LIMIT INTERNAL BUSY DRAINING;
    /// A message, by a body.
    Publish: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN RESERVED_CHANNEL NOT_FOUND PRECONDITION TOO_LARGE MEDIA_TYPE
        INVALID_CHANNEL INVALID_EVENT OVER_LIMIT INTERNAL BUSY DRAINING REPLY_TIMEOUT;
    /// Many messages, by a body.
    Batch: MALFORMED UNAUTHENTICATED FORBIDDEN TOO_LARGE MEDIA_TYPE OVER_LIMIT INTERNAL BUSY DRAINING;
    /// Lines of a file.
    Import: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN MEDIA_TYPE INTERNAL BUSY DRAINING;
    /// A part of what is kept that goes.
    Forget: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN POSITION_LOST INVALID_CHANNEL INTERNAL BUSY DRAINING;
    /// What is copied into queues, by a body.
    Bindings: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND TOO_LARGE MEDIA_TYPE INVALID_FILTER OVER_LIMIT
        INTERNAL STORE_FAILED BUSY DRAINING;
    /// Queues, and what is stored in them.
    Queues: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND INTERNAL STORE_FAILED BUSY DRAINING;
    /// A thing by name that goes.
    Remove: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN RESERVED_CHANNEL NOT_FOUND INVALID_CHANNEL INTERNAL BUSY
        DRAINING;
    /// A thing by name, with a body.
    Replace: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN RESERVED_CHANNEL TOO_LARGE MEDIA_TYPE INVALID_CHANNEL
        INVALID_EVENT OVER_LIMIT INTERNAL BUSY DRAINING;
    /// A thing by name, with a body, that is kept.
    Keep: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN TOO_LARGE MEDIA_TYPE OVER_LIMIT INTERNAL STORE_FAILED BUSY DRAINING;
    /// A session that is there, with a body.
    Amend: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND CONFLICT TOO_LARGE MEDIA_TYPE INTERNAL BUSY DRAINING;
    /// A thing by name that is kept, and goes.
    Unkeep: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND INTERNAL STORE_FAILED BUSY DRAINING;
    /// A thing by name that is there, with a body.
    Replaced: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND TOO_LARGE MEDIA_TYPE INTERNAL;
    /// Messages of before.
    History: MALFORMED UNKNOWN_FIELD UNAUTHENTICATED FORBIDDEN NOT_FOUND POSITION_LOST INVALID_CHANNEL INTERNAL
        BUSY DRAINING;
}

/// What holds for every operation that may be repeated under a key, which is every POST.
pub(super) fn with_keys(document: &mut OpenApi) {
    let about = "A quoted string of the caller's own, such as `\"a3f1\"` (RFC 9651, string). A request that is sent once more under \
                 the same key, with the same body, is not carried out again within 24 hours: it gets the first one's answer. \
                 Answers of 500 and above are not kept. Keys live in memory: a restart forgets them.";
    for post in document.paths.paths.values_mut().filter_map(|path| path.post.as_mut()) {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r#"^"([ !#-\[\]-~]|\\["\\])+"$"#))
            .max_length(Some(IDEMPOTENCY_KEY_BYTES_MAX));
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(about))
            .schema(Some(schema));
        post.parameters.get_or_insert_default().push(RefOr::T(parameter.build()));
        for (status, response) in documented(&[&IN_PROGRESS, &MISMATCH, &MALFORMED, &TOO_LARGE, &BUSY]) {
            match (post.responses.responses.get_mut(&status), response) {
                (Some(RefOr::T(known)), RefOr::T(more)) if !known.description.contains(&more.description) => {
                    known.description = format!("{} {}", known.description, more.description);
                }
                (Some(_), _) => {}
                (None, response) => drop(post.responses.responses.insert(status, response)),
            }
        }
    }
}

/// A time, as a back end writes it.
pub(super) fn moment() -> Schema {
    let seconds =
        ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(253_402_300_800_u64));
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let text = ObjectBuilder::new().schema_type(Type::String).format(Some(format));
    Schema::OneOf(OneOfBuilder::new().item(seconds).item(text).build())
}

/// One response per status, which names all kinds of that status.
fn documented(kinds: &[&Kind]) -> BTreeMap<String, RefOr<Response>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for kind in kinds {
        texts.entry(kind.status.to_string()).or_default().push(format!("`{}`: {}", kind.name, kind.title));
    }
    let respond = |text: Vec<String>| {
        let schema = Ref::from_schema_name("ProblemDocument");
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new().description(text.join(" "));
        RefOr::T(response.content("application/problem+json", content).build())
    };
    texts.into_iter().map(|(status, text)| (status, respond(text))).collect()
}
