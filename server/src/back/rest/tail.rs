//! A live view of messages for people and tools: `GET /v1/tail`, one JSON object per line.
//!
//! A tail is a subscription like a client's, without a client; a reader that is too slow loses lines and is told how many.

use super::Desk;
use super::document::Listing;
use super::extract::Query;
use super::messages::view_of;
use super::problem::{BUSY, Problem};
use crate::mail::Mail;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hub::Message;
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use utoipa::IntoParams;

/// Silence after which an empty object keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What to show.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TailQuery {
    /// Channels: `+` is one level, a last `#` the rest. All without `$` when it is left out.
    #[serde(default = "everything")]
    filter: String,
}

fn everything() -> String {
    "#".to_owned()
}

/// Where a shard puts what a tail is to show.
#[derive(Debug, Clone)]
pub struct TailSink {
    lines: mpsc::Sender<Arc<Message>>,
    lost: Arc<AtomicU64>,
}

impl TailSink {
    /// Hands over a message, or counts it as lost. `false` = nobody reads any more.
    #[must_use]
    pub fn offer(&self, message: &Arc<Message>) -> bool {
        match self.lines.try_send(Arc::clone(message)) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.lines.is_closed()
    }
}

struct Tail {
    desk: Desk,
    lines: mpsc::Receiver<Arc<Message>>,
    lost: Arc<AtomicU64>,
    _permit: OwnedSemaphorePermit,
}

/// Follow messages as they are published
#[utoipa::path(
    get, path = "/v1/tail", tag = "messages", operation_id = "tail",
    security(("key" = ["read"])), params(TailQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson",
         description = "Endless; a message per line, `{}` every 15 s, `{\"lost\":n}` when the reader was too slow."),
        Listing,
    )
)]
pub(super) async fn tail(
    State(desk): State<Desk>,
    Query(query): Query<TailQuery>,
) -> Result<Response, Problem> {
    hub::check_filter(&query.filter, desk.channel_name_bytes_max())?;
    let permit = Arc::clone(&desk.tails).try_acquire_owned();
    let permit = permit.map_err(|_| Problem::new(&BUSY, "limits.tails_max streams are open"))?;
    let (sender, lines) = mpsc::channel(desk.config.limits.tail_messages_max);
    let lost = Arc::new(AtomicU64::new(0));
    let sink = TailSink { lines: sender, lost: Arc::clone(&lost) };
    // Made before the shard is told, so that it is told of the end too when this request is given up meanwhile.
    let tail = Tail { desk: desk.clone(), lines, lost, _permit: permit };
    if let Some(first) = desk.office.shards().next() {
        desk.office.tell(first, Mail::Tail { filter: query.filter, sink }).await?;
    }
    let body = Body::from_stream(stream::unfold(tail, |mut tail| async move {
        let chunk = tail.next_lines().await?;
        Some((Ok::<_, Infallible>(chunk), tail))
    }));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response())
}

impl Drop for Tail {
    /// The shard ends what nobody reads. When its mailbox is full now, a later end or message makes it do so.
    fn drop(&mut self) {
        self.lines.close();
        let office = self.desk.office.clone();
        if let (Some(first), Ok(runtime)) = (office.shards().next(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { office.tell(first, Mail::TailClosed).await });
        }
    }
}

impl Tail {
    async fn next_lines(&mut self) -> Option<String> {
        let first = match tokio::time::timeout(HEARTBEAT, self.lines.recv()).await {
            Err(_) => return Some("{}\n".to_owned()),
            Ok(message) => message?,
        };
        let mut text = line_of(&first);
        while let Ok(more) = self.lines.try_recv() {
            text.push_str(&line_of(&more));
            if text.len() > 64 * 1024 {
                break;
            }
        }
        match self.lost.swap(0, Ordering::Relaxed) {
            0 => {}
            lost => text.push_str(&format!("{{\"lost\":{lost}}}\n")),
        }
        Some(text)
    }
}

fn line_of(message: &Message) -> String {
    let mut line = serde_json::to_string(&view_of(message)).unwrap_or_default();
    line.push('\n');
    line
}
