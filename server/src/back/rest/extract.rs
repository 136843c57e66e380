//! Reading requests: JSON bodies and query strings, every failure as a [`Problem`] that names what is wrong.

use super::problem::{MALFORMED, MEDIA_TYPE, Problem, TOO_LARGE};
use super::wording;
use crate::objects;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{StatusCode, header, request::Parts};
use serde::de::DeserializeOwned;

/// A JSON body.
pub(super) struct Body<T>(pub T);

/// The bytes of a body that says that it is JSON.
pub(super) struct JsonBytes(pub Bytes);

/// Query parameters.
pub(super) struct Query<T>(pub T);

/// Parts of the path.
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|rejection| Problem::new(&MALFORMED, rejection.body_text()))
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        // Also what keeps web pages from using a browser on this machine: only simple media types go without preflight.
        if !media.is_some_and(is_json) {
            return Err(Problem::new(&MEDIA_TYPE, "send Content-Type: application/json"));
        }
        Ok(Self(Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let JsonBytes(bytes) = JsonBytes::from_request(request, state).await?;
        from_json(&bytes).map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !wire::http::is_utf_8(parts.uri.query().unwrap_or_default()) {
            return Err(Problem::new(&MALFORMED, "the query is not UTF-8"));
        }
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| wording::of_query(&error.body_text()))
    }
}

fn is_json(media: &str) -> bool {
    let essence = media.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

pub(super) fn unreadable(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return Problem::new(&TOO_LARGE, "the body is over limits.rest_body_bytes_max");
    }
    Problem::new(&MALFORMED, rejection.body_text())
}

/// What JSON says.
pub(super) fn from_json<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    objects::from_slice(json).map_err(|error| wording::of_json::<T>(json, &error))
}
