//! A line to a back end: makes one call after the other, over a connection that it keeps open in between.
//!
//! Owns connecting, and the two quick tries after a connection that failed. Must not know which call comes next, which is
//! [`Endpoint`]'s. Start at [`run`].

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http_body_util::Full;
use hyper::Request;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use rustls::ClientConfig;
use tokio::time::Instant;

use super::connection::{Answer, Connection, Trouble};
use super::consent::REQUEST_ORIGIN;
use super::endpoint::{Call, Endpoint, Next};
use super::failure::Failure;
use crate::back::dial::{self, Stream};
use crate::config::{WebhookUrl, is_near};

/// How long a line without a call keeps its connection.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// How long connecting may take, TLS included.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(150)];

/// Makes this call and those that follow, until none has come for a while.
pub(super) async fn run(endpoint: Arc<Endpoint>, first: Call) {
    let mut connection = None;
    let mut next = Some(first);
    while let Some(call) = next {
        let Call { kind, id, body, mut reply } = call;
        if reply.is_closed() {
            next = follow(&endpoint, &mut connection, endpoint.finished(None)).await;
            continue;
        }
        let begun = Instant::now();
        let (waits, result) = tokio::select! {
            biased;
            result = answered(&endpoint, &mut connection, (&id, &body)) => (true, result),
            () = reply.closed() => (false, Err(Failure::Late)),
        };
        if result.is_err() {
            // Whatever comes on it yet is no answer to another call.
            connection = None;
        }
        endpoint.count(kind, &result, begun.elapsed());
        let follows = endpoint.finished(Some(&result));
        if waits {
            // Whoever waited may have gone in this moment.
            let _ = reply.send(result);
        }
        next = follow(&endpoint, &mut connection, follows).await;
    }
}

/// The call that follows, waited for if need be.
async fn follow(endpoint: &Endpoint, connection: &mut Option<Connection>, follows: Next) -> Option<Call> {
    match follows {
        Next::Call(call) => Some(call),
        Next::Idle(name, mut calls) => tokio::select! {
            biased;
            call = &mut calls => call.ok(),
            () = idle(connection) => {
                // A call that is on its way is made.
                if endpoint.retire(name) { None } else { calls.await.ok() }
            }
        },
    }
}

/// Until the line has been idle for long. A connection that ends meanwhile is let go.
async fn idle(connection: &mut Option<Connection>) {
    let over = tokio::time::sleep(IDLE_MAX);
    let closed = async {
        match connection {
            Some(open) => open.closed().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = over => {}
        () = closed => *connection = None,
    }
}

/// The answer, after at most two more tries where the connection failed.
async fn answered(
    endpoint: &Endpoint,
    connection: &mut Option<Connection>,
    (id, body): (&str, &bytes::Bytes),
) -> Result<Answer, Failure> {
    let mut pauses = PAUSES.iter();
    loop {
        let failure = match attempt(endpoint, connection, (id, body)).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        *connection = None;
        match pauses.next().filter(|_| failure.is_of_connection()) {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(failure),
        }
    }
}

async fn attempt(
    endpoint: &Endpoint,
    connection: &mut Option<Connection>,
    (id, body): (&str, &bytes::Bytes),
) -> Result<Answer, Failure> {
    let mut request = request(endpoint, id, body)?;
    let bytes_max = endpoint.config.answer_bytes_max;
    if let Some(open) = connection.as_mut().filter(|open| open.is_open()) {
        match open.ask(request, bytes_max).await {
            Ok(answer) => return Ok(answer),
            Err(Trouble::Failed(failure)) => return Err(failure),
            // It had been closed: that is no failure yet.
            Err(Trouble::Stale(unsent)) => request = *unsent,
        }
    }
    let open = tokio::time::timeout(CONNECT_MAX, connect(endpoint)).await.map_err(|_| Failure::Late)??;
    match connection.insert(open).ask(request, bytes_max).await {
        Ok(answer) => Ok(answer),
        Err(Trouble::Failed(failure)) => Err(failure),
        Err(Trouble::Stale(_)) => Err(Failure::Cut("it was closed at once".to_owned())),
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Connection, Failure> {
    let stream = reach(&endpoint.config.url, endpoint.tls.as_ref(), CONNECT_MAX).await?;
    endpoint.count_connection();
    Connection::new(stream).await
}

/// The way to a back end: without TLS to loopback and private addresses only, whatever the name of its host resolves to.
pub(super) async fn reach(
    url: &WebhookUrl,
    tls: Option<&Arc<ClientConfig>>,
    wait: Duration,
) -> Result<Box<dyn Stream>, Failure> {
    let is_usable = |address| url.is_secure || is_near(address);
    let socket = dial::connect((url.host.as_str(), url.port), wait, is_usable).await?;
    Ok(match tls {
        Some(tls) => Box::new(dial::secure(Arc::clone(tls), &url.host, socket).await?),
        None => Box::new(socket),
    })
}

/// The request, signed as of now.
fn request(
    endpoint: &Endpoint,
    id: &str,
    body: &bytes::Bytes,
) -> Result<Request<Full<bytes::Bytes>>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let timestamp = now.as_secs().to_string();
    let url = &endpoint.config.url;
    let mut builder = Request::post(url.target.as_str())
        .header(HOST, url.authority.as_str())
        .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
        // Without it a back end may compress its answer (RFC 9110 section 12.5.3), which nobody here would understand.
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("trunkline/", env!("CARGO_PKG_VERSION")))
        .header(REQUEST_ORIGIN, endpoint.config.origin.as_str())
        .header("webhook-id", id)
        .header("webhook-signature", endpoint.signer.header(id, &timestamp, body))
        .header("webhook-timestamp", timestamp);
    if let Some(bearer) = &endpoint.config.bearer {
        builder = builder.header(AUTHORIZATION, format!("Bearer {}", bearer.expose()));
    }
    builder.body(Full::new(body.clone())).map_err(|error| Failure::Cut(error.to_string()))
}
