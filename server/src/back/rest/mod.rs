//! The private port: REST under `/v1`, health, metrics, the OpenAPI document and a live page.
//!
//! One file per resource, each handler with its OpenAPI annotation beside it; the document is made from them. Must not
//! know shards: everything goes through [`Office`].

mod bans;
mod batch;
mod bindings;
mod bridges;
mod channels;
mod connections;
mod document;
mod events;
mod extract;
mod guard;
mod history;
mod idempotency;
mod imports;
mod memory;
mod messages;
mod nodes;
mod problem;
mod queues;
mod retained;
mod revocations;
mod server;
mod session_patch;
mod sessions;
mod store;
mod tail;
mod tokens;
mod users;
mod webhooks;
mod wording;

use crate::auth::unix_now;
use crate::back::bindings::Bindings;
use crate::back::bridge::Bridges;
use crate::back::office::ANSWER_WAIT;
use crate::back::revocations::Revocations;
use crate::back::sqs::{self, Door};
use crate::back::webhook::Webhooks;
use crate::back::{Office, OfficeError, Storage};
use crate::config::Config;
use crate::mail::Mail;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use document::Keys;
use guard::Needs;
use hub::{SessionId, ShardId};
use idempotency::Book;
use imports::Imports;
use problem::{MALFORMED, Problem, TIMEOUT};
use serde::Serialize;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Semaphore, oneshot};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wire::cloudevent::timestamp;

pub(in crate::back) use messages::PublishRequest;
pub(in crate::back) use sessions::SubscriptionRequest;

pub(crate) use guard::{bears_admin_key, check_without_keys};
pub use tail::TailSink;

/// What every handler works with; clones share everything. A request takes several, so a clone is one count.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Things>);

/// What is on a [`Desk`].
#[derive(Clone)]
pub(crate) struct Things {
    office: Office,
    config: Arc<Config>,
    /// Which key may do what.
    needs: Arc<Needs>,
    storage: Option<Storage>,
    /// To queues, if there are any.
    door: Option<Door>,
    bridges: Option<Bridges>,
    /// Answers to requests that may come once more.
    book: Book,
    webhooks: Option<Webhooks>,
    bindings: Option<Bindings>,
    revocations: Option<Revocations>,
    imports: Imports,
    /// The zero of the shards' clock.
    zero: Instant,
    started: Instant,
    /// One permit per stream of `GET /v1/tail`.
    tails: Arc<Semaphore>,
}

impl Deref for Desk {
    type Target = Things;

    fn deref(&self) -> &Things {
        &self.0
    }
}

impl Desk {
    /// A desk before the office; `zero` is the zero of the shards' clock.
    #[must_use]
    pub(crate) fn new(office: Office, config: Arc<Config>, zero: Instant, storage: Option<Storage>) -> Self {
        let tails = Arc::new(Semaphore::new(config.limits.tails_max));
        let book = Book::new(config.limits.idempotency_keys_max, config.limits.idempotency_bytes_max);
        let needs = Arc::new(Needs::of(&described().into_openapi()));
        let started = Instant::now();
        let imports = Imports::default();
        Self(Arc::new(Things {
            office,
            config,
            needs,
            storage,
            door: None,
            bridges: None,
            webhooks: None,
            bindings: None,
            revocations: None,
            book,
            imports,
            zero,
            started,
            tails,
        }))
    }

    /// With bridges to look at, and tokens that may be revoked.
    #[must_use]
    pub(crate) fn with(self, (bridges, revocations): (Bridges, Revocations)) -> Self {
        self.changed(|things| (things.bridges, things.revocations) = (Some(bridges), Some(revocations)))
    }

    /// With webhooks to look at, if there are any.
    #[must_use]
    pub(crate) fn with_webhooks(self, webhooks: Option<Webhooks>) -> Self {
        self.changed(|things| things.webhooks = webhooks)
    }

    /// With bindings to change, if there are queues.
    #[must_use]
    pub(crate) fn with_bindings(self, bindings: Option<Bindings>) -> Self {
        self.changed(|things| things.bindings = bindings)
    }

    /// Another desk, with what it has from this one.
    fn changed(mut self, change: impl FnOnce(&mut Things)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The office behind it.
    pub(in crate::back) fn office(&self) -> &Office {
        &self.office
    }

    /// The configuration.
    pub(in crate::back) fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// A channel's name, checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::back) fn checked_channel(&self, name: &str) -> Result<String, String> {
        self.channel(name).map(|channel| channel.as_str().to_owned()).map_err(Problem::into_detail)
    }

    fn channel_name_bytes_max(&self) -> u32 {
        self.config.limits.channel_name_bytes_max
    }

    /// Sends a mail and waits for what a shard says to it.
    async fn settle<T>(
        &self,
        shard: ShardId,
        mail: impl FnOnce(oneshot::Sender<T>) -> Mail,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.office.tell(shard, mail(reply)).await?;
        let answered = tokio::time::timeout(ANSWER_WAIT, answer).await;
        answered.ok().and_then(Result::ok).ok_or_else(|| OfficeError::Unanswered.into())
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    items: Vec<T>,
    /// Pass it as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// When this was so.
    #[schema(value_type = String, format = DateTime)]
    as_of: String,
    /// Nodes that did not say what they have. A node that is alone is never missing.
    missing: Vec<u16>,
}

impl<T> Page<T> {
    /// As of now.
    fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next, as_of: timestamp(unix_now().0), missing: Vec::new() }
    }
}

/// Where a list that goes from shard to shard continues. Opaque to callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    shard: u8,
    after: Option<SessionId>,
}

impl Cursor {
    fn at(shard: ShardId, after: Option<SessionId>) -> Self {
        Self { shard: shard.0, after }
    }

    /// Where the next answer begins once this shard's page has filled the present one: behind its last item if the
    /// shard has more, else with the next shard. `None`: the present answer goes on, or was the last.
    fn behind(desk: &Desk, shard: ShardId, page: &Taken) -> Option<Self> {
        match page {
            Taken { more: true, last, .. } => Some(Self::at(shard, *last)),
            Taken { full: true, .. } if shard.0 + 1 < desk.office.topology().shards => {
                Some(Self::at(ShardId(shard.0 + 1), None))
            }
            Taken { .. } => None,
        }
    }

    fn parse(text: Option<&str>) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Self::default()) };
        let parsed = text.split_once('-').and_then(|(shard, after)| {
            let after = if after.is_empty() { None } else { Some(after.parse().ok()?) };
            Some(Self { shard: shard.parse().ok()?, after })
        });
        parsed.ok_or_else(|| Problem::new(&MALFORMED, "cursor is not one this server made"))
    }
}

/// What one shard gave to a list that goes from shard to shard.
struct Taken {
    last: Option<SessionId>,
    /// The shard has more.
    more: bool,
    /// The answer has as many items as were asked for.
    full: bool,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.shard)?;
        self.after.map_or(Ok(()), |after| write!(f, "{after}"))
    }
}

/// The `limit` parameter: 100 when absent, lowered to the configured maximum.
fn limit_of(desk: &Desk, limit: Option<u32>) -> Result<u32, Problem> {
    let limit_max = u32::try_from(desk.config.limits.rest_page_items_max).unwrap_or(u32::MAX);
    match limit {
        Some(0) => Err(Problem::new(&MALFORMED, "limit must be at least 1")),
        limit => Ok(limit.unwrap_or(100).min(limit_max)),
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Trunkline back-end API",
        description = "Publish to clients, ask them, and see who is there. Private port; keys as bearer tokens, and beside \
                       each operation the scope that its key needs: `read`, `publish`, or `admin`, which includes both. \
                       Errors are RFC 9457 problem documents, also for paths (404) and methods (405) that are not here.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    components(schemas(document::ProblemDocument)),
    modifiers(&Keys),
    security(("key" = [])),
    tags(
        (name = "messages", description = "Publish, ask, history"),
        (name = "sessions", description = "Connected clients and those that may come back"),
        (name = "users", description = "Whom the back end knows, and what they are subscribed to from the start"),
        (name = "subscriptions", description = "Who is in which channel"),
        (name = "channels", description = "Channels and their members"),
        (name = "queues", description = "What is in queues; they are used through the API of SQS on the same port"),
        (name = "server", description = "The node itself")
    )
)]
struct ApiDoc;

/// The whole private port; `door` is asked first.
pub(crate) fn router(desk: Desk, door: Option<Door>) -> Router {
    let desk = desk.changed(|things| things.door.clone_from(&door));
    let (router, mut document) = described().split_for_parts();
    document::with_keys(&mut document);
    let document = document.to_pretty_json().unwrap_or_default();
    let router = router
        .route("/v1/openapi.json", axum::routing::get(move || server::openapi(document.clone())))
        .merge(server::plain())
        .fallback(server::not_found)
        .method_not_allowed_fallback(server::method_not_allowed)
        .layer(DefaultBodyLimit::max(desk.config.limits.rest_body_bytes_max))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), idempotency::once))
        .layer(axum::middleware::from_fn_with_state(desk.clone(), guard::check))
        .with_state(desk);
    match door {
        Some(door) => router.layer(axum::middleware::from_fn_with_state(door, sqs::serve_or_pass)),
        None => router,
    }
}

/// What a request is told whose body did not come in time. The rest of it is not read.
pub(crate) fn late_body() -> Response {
    let mut response = Problem::new(&TIMEOUT, "limits.body_timeout_ms is over").into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The OpenAPI document as it is served.
#[must_use]
pub fn openapi_json() -> String {
    let mut document = described().into_openapi();
    document::with_keys(&mut document);
    document.to_pretty_json().unwrap_or_default()
}

fn described() -> OpenApiRouter<Desk> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(messages::publish, history::read, history::delete))
        .routes(routes!(batch::publish))
        .routes(routes!(events::publish))
        .routes(routes!(sessions::list, sessions::end_many))
        .routes(routes!(sessions::show, session_patch::patch, sessions::end))
        .routes(routes!(sessions::slowest))
        .routes(routes!(connections::list, connections::close_many))
        .routes(routes!(connections::show, connections::close))
        .routes(routes!(tokens::make))
        .routes(routes!(users::list))
        .routes(routes!(users::show))
        .routes(routes!(users::end_sessions))
        .routes(routes!(users::stored, users::put, users::delete))
        .routes(routes!(users::blocked, users::block, users::unblock))
        .routes(routes!(revocations::list))
        .routes(routes!(revocations::show, revocations::put, revocations::delete))
        .routes(routes!(imports::list, imports::begin))
        .routes(routes!(imports::show))
        .routes(routes!(bans::list, bans::put, bans::delete))
        .routes(routes!(sessions::join, sessions::leave, sessions::subscriptions))
        .routes(routes!(channels::list))
        .routes(routes!(channels::presence))
        .routes(routes!(retained::show, retained::put, retained::delete))
        .routes(routes!(queues::list))
        .routes(routes!(queues::show))
        .routes(routes!(queues::peek))
        .routes(routes!(bindings::list))
        .routes(routes!(bindings::show, bindings::put, bindings::delete))
        .routes(routes!(tail::tail))
        .routes(routes!(server::info))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::drain, nodes::undrain))
        .routes(routes!(server::live))
        .routes(routes!(server::ready))
        .routes(routes!(server::metrics))
        .routes(routes!(bridges::list))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::change))
        .routes(routes!(webhooks::test))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::redeliver))
        .routes(routes!(webhooks::redeliver_all))
        .routes(routes!(store::show))
        .routes(routes!(store::backup))
        .routes(routes!(store::compact))
        .routes(routes!(server::problem_page))
}
