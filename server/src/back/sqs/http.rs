//! One HTTP request and its answer: reads the body, finds the encoding, writes heads.
//!
//! Must not know queues. Start at [`Door::serve`]; on the private port at [`serve_or_pass`].

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use wire::sqs::{
    CONTENT_TYPE_JSON, Encoding, Error, Head, Incoming, Origin, QUERY_ERROR_FIELD, REQUEST_ID_FIELD,
    Unroutable, Uuid, decode, encode_error, encode_response,
};

use super::Door;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Where nothing else is served.
    Own,
    /// Where `private.keys` rule.
    Private,
}

/// The private port: what is meant for this API is answered by it, the rest goes on.
pub(crate) async fn serve_or_pass(State(door): State<Door>, request: Request, next: Next) -> Response {
    if is_meant(&request) { door.serve(request, Port::Private).await } else { next.run(request).await }
}

/// REST takes no forms, and says so below `/v1/`, and knows neither the field nor the media type nor the parameter.
fn is_meant(request: &Request) -> bool {
    let fields = request.headers();
    let media = text(fields, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let is_form = media.starts_with("application/x-www-form-urlencoded")
        && request.method() == Method::POST
        && !request.uri().path().starts_with("/v1/");
    let has_action = |query: &str| query.split('&').any(|pair| pair.starts_with("Action="));
    fields.contains_key("x-amz-target")
        || media.starts_with(CONTENT_TYPE_JSON)
        || is_form
        || request.uri().query().is_some_and(has_action)
}

impl Door {
    /// Answers a request, whatever it is.
    pub(super) async fn serve(&self, request: Request, port: Port) -> Response {
        let (parts, body) = request.into_parts();
        let request_id = Uuid(crate::back::gather::message_id().0).to_string();
        let bytes_max = self.config.sqs.request_bytes_max;
        let Ok(body) = to_bytes(body, bytes_max).await else {
            let reply = Replier { encoding: Encoding::of_head(&incoming(&parts, &[])), request_id };
            // The rest of the body is not read.
            let mut refused = reply.error(&Error::request_too_large(bytes_max));
            refused.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return refused;
        };
        let incoming = incoming(&parts, &body);
        match Encoding::of(&incoming) {
            Ok(encoding) => {
                let reply = Replier { encoding, request_id };
                let answered = self.serve_as(&reply, (&parts, &incoming), port).await;
                answered.unwrap_or_else(|error| reply.error(&error))
            }
            Err(Unroutable) => {
                let status = StatusCode::from_u16(Unroutable::STATUS).unwrap_or(StatusCode::NOT_FOUND);
                (status, Unroutable::BODY).into_response()
            }
        }
    }

    async fn serve_as(
        &self,
        reply: &Replier,
        (parts, incoming): (&Parts, &Incoming<'_>),
        port: Port,
    ) -> Result<Response, Error> {
        let caller = self.caller(parts, incoming.body, port)?;
        let request = decode(incoming, reply.encoding)?;
        caller.may(&request)?;
        if let wire::sqs::Request::ReceiveMessage(request) = request {
            return self.receive(&caller, reply, request).await;
        }
        let origin = Origin { scheme: scheme(&parts.headers), host: incoming.host };
        let response = self.answer(&caller, origin, request).await?;
        Ok(reply.response(&response))
    }
}

/// Writes answers to one request.
pub(super) struct Replier {
    encoding: Encoding,
    request_id: String,
}

impl Replier {
    /// Success.
    pub(super) fn response(&self, response: &wire::sqs::Response<'_>) -> Response {
        let mut body = Vec::new();
        let head = encode_response(self.encoding, response, &self.request_id, &mut body);
        self.finish(head, body)
    }

    fn error(&self, error: &Error) -> Response {
        let mut body = Vec::new();
        let head = encode_error(self.encoding, error, &self.request_id, &mut body);
        self.finish(head, body)
    }

    fn finish(&self, head: Head, body: Vec<u8>) -> Response {
        let mut response = Response::new(Body::from(Bytes::from(body)));
        *response.status_mut() =
            StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(head.content_type));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            fields.insert(REQUEST_ID_FIELD, id);
        }
        if let Some(code) = head.query_error {
            fields.insert(QUERY_ERROR_FIELD, HeaderValue::from_static(code));
        }
        response
    }
}

fn incoming<'a>(parts: &'a Parts, body: &'a [u8]) -> Incoming<'a> {
    let field = |name| text(&parts.headers, name);
    Incoming {
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        host: field("host").unwrap_or_default(),
        content_type: field("content-type"),
        accept: field("accept"),
        target: field("x-amz-target"),
        query_mode: field("x-amzn-query-mode"),
        trace_header: field("x-amzn-trace-id"),
        body,
    }
}

/// Without TLS of our own, a proxy says whether it adds it.
fn scheme(fields: &HeaderMap) -> &'static str {
    match text(fields, "x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    }
}

fn text<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(|value| value.to_str().ok())
}
