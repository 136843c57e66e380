//! Bindings: what is published on a filter is copied into a queue. `GET /v1/bindings`, `GET`, `PUT`, `DELETE /v1/bindings/{name}`.
//!
//! Those of the configuration are shown beside the others, and changed there. Start at [`put`].

use super::document::{Bindings as BindingWork, Node, One};
use super::extract::{Body, Path};
use super::problem::{BUSY, FORBIDDEN, MALFORMED, NOT_FOUND, OVER_LIMIT, Problem, STORE_FAILED};
use super::{Desk, Page};
use crate::back::bindings::{BindingTrouble, Bindings};
use crate::back::queues;
use crate::config::{Binding, BindingGroup, ChannelFilter};
use crate::mail::Bound;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names of those of the configuration begin so, and no others can.
const DECLARED: &str = "file.";

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 80;

/// Names of events of one binding.
const EVENTS_MAX: usize = 100;

/// Whose messages stay in order in a FIFO queue.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Group {
    /// The channel's.
    #[default]
    Channel,
    /// Those of the session that published them; for the back end the channel's.
    Session,
    /// Those of the user who published them; without one as `session`.
    User,
}

/// A binding.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BindingView {
    /// `file.` and a number if it is one of the configuration.
    name: String,
    /// `configuration` or `rest`.
    origin: &'static str,
    filter: String,
    queue: String,
    /// Only messages whose event has one of these names; empty: all.
    events: Vec<String>,
    group: Group,
}

/// What is copied where.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BindingRequest {
    /// Which channels: `+` is one level, a last `#` is all levels below.
    #[schema(min_length = 1)]
    filter: String,
    /// The queue, which has to be there; in `sqs.account` and `sqs.region`.
    #[schema(min_length = 1)]
    queue: String,
    /// Only messages whose event has one of these names, at most 100; empty: all.
    #[serde(default)]
    #[schema(max_items = 100)]
    events: Vec<String>,
    /// In a FIFO queue: whose messages stay in order.
    #[serde(default)]
    group: Group,
}

/// List bindings
#[utoipa::path(
    get, path = "/v1/bindings", tag = "queues", operation_id = "listBindings",
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "Those of the configuration, then the others by name. One page, there are at most 1,000.",
         body = Page<BindingView>),
        Node,
    )
)]
pub(super) async fn list(State(desk): State<Desk>) -> Json<Page<BindingView>> {
    let made = match &desk.bindings {
        Some(bindings) => bindings.list().await,
        None => Default::default(),
    };
    let declared = (0..).zip(&desk.config.bindings).map(|(index, binding)| declared(index, binding));
    Json(Page::new(declared.chain(made.iter().map(view)).collect(), None))
}

/// Look at one binding
#[utoipa::path(
    get, path = "/v1/bindings/{name}", tag = "queues", operation_id = "getBinding",
    security(("key" = ["read"])),
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 200, description = "The binding.", body = BindingView),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Json<BindingView>, Problem> {
    let Json(Page { items, .. }) = list(State(desk)).await;
    items.into_iter().find(|item| item.name == name).map(Json).ok_or_else(gone)
}

/// Bind a filter to a queue
///
/// What is published on channels that match after the answer is copied, as with `[[binding]]` of the configuration. With
/// `store.dir` it outlives the process, else it ends with it.
#[utoipa::path(
    put, path = "/v1/bindings/{name}", tag = "queues", operation_id = "putBinding",
    security(("key" = ["admin"])), request_body = BindingRequest,
    params(("name" = String, Path, description = "1 to 80 letters, digits, `-` and `_`.", pattern = "^[A-Za-z0-9_-]{1,80}$")),
    responses(
        (status = 204, description = "It is bound, in the place of what had that name."),
        BindingWork,
    )
)]
pub(super) async fn put(
    State(desk): State<Desk>,
    Path(name): Path<String>,
    Body(request): Body<BindingRequest>,
) -> Result<StatusCode, Problem> {
    not_declared(&name)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(Problem::new(&MALFORMED, "a name is 1 to 80 letters, digits, `-` and `_`"));
    }
    if request.events.len() > EVENTS_MAX {
        return Err(Problem::new(&OVER_LIMIT, "a binding has at most 100 events"));
    }
    let filter = ChannelFilter::parse(&request.filter);
    filter.map_err(|text| Problem::new(&super::problem::INVALID_FILTER, format!("`filter` {text}")))?;
    let (bindings, door) = (desk.bindings()?, desk.door.as_ref().ok_or_else(no_queues)?);
    queues::view(&desk.office, &door.full_name(None, None, &request.queue)).await.map_err(Problem::from)?;
    let BindingRequest { filter, queue, events, group } = request;
    let group = match group {
        Group::Channel => BindingGroup::Channel,
        Group::Session => BindingGroup::Session,
        Group::User => BindingGroup::User,
    };
    bindings.put(Bound { name, filter, queue, events, group }, desk.config.bindings.len()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// End a binding
///
/// What was copied stays in the queue.
#[utoipa::path(
    delete, path = "/v1/bindings/{name}", tag = "queues", operation_id = "deleteBinding",
    security(("key" = ["admin"])),
    params(("name" = String, Path, description = "Its name.")),
    responses(
        (status = 204, description = "It is gone."),
        BindingWork,
    )
)]
pub(super) async fn delete(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    not_declared(&name)?;
    if desk.bindings()?.remove(&name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(gone()) }
}

fn not_declared(name: &str) -> Result<(), Problem> {
    if name.starts_with(DECLARED) {
        return Err(Problem::new(&FORBIDDEN, "those of the configuration are changed there"));
    }
    Ok(())
}

fn gone() -> Problem {
    Problem::new(&NOT_FOUND, "no binding of that name")
}

fn no_queues() -> Problem {
    Problem::new(&NOT_FOUND, "there are no queues: sqs.enabled is false")
}

fn declared(index: usize, binding: &Binding) -> BindingView {
    BindingView {
        name: format!("{DECLARED}{index}"),
        origin: "configuration",
        filter: binding.filter.as_str().to_owned(),
        queue: binding.queue.as_str().to_owned(),
        events: binding.events.iter().map(|event| event.as_str().to_owned()).collect(),
        group: Group::of(binding.group),
    }
}

fn view(bound: &Bound) -> BindingView {
    let Bound { name, filter, queue, events, group } = bound.clone();
    BindingView { name, origin: "rest", filter, queue, events, group: Group::of(group) }
}

impl Group {
    fn of(group: BindingGroup) -> Self {
        match group {
            BindingGroup::Channel => Self::Channel,
            BindingGroup::Session => Self::Session,
            BindingGroup::User => Self::User,
        }
    }
}

impl From<BindingTrouble> for Problem {
    fn from(trouble: BindingTrouble) -> Self {
        let kind = match &trouble {
            BindingTrouble::Full => &OVER_LIMIT,
            BindingTrouble::Store => &STORE_FAILED,
            BindingTrouble::Office(crate::back::OfficeError::Unanswered) => &BUSY,
            BindingTrouble::Office(error) => return error.clone().into(),
        };
        Self::new(kind, trouble.to_string())
    }
}

impl Desk {
    fn bindings(&self) -> Result<&Bindings, Problem> {
        self.bindings.as_ref().ok_or_else(no_queues)
    }
}
