//! Bulk imports of stored subscriptions: `POST /v1/imports`, `GET /v1/imports`, `GET /v1/imports/{id}`.
//!
//! Owns the jobs: each takes its lines while they come, so that nothing is kept of them but a window. Start at [`begin`].

use super::document::{Import, Listing, One};
use super::extract::{Path, Query};
use super::idempotency::{self, Digest};
use super::problem::{BUSY, IN_PROGRESS, MALFORMED, MEDIA_TYPE, MISMATCH, NOT_FOUND, Problem};
use super::{Desk, Page};
use crate::back::imports::{Figures, Form, Importer, Plan, Progress};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use hub::UserDeed;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use ulid::Ulid;
use utoipa::{IntoParams, ToSchema};

/// Imports at the same time. At the limit: 503.
const RUNNING_MAX: usize = 4;

/// Imports that are remembered; the oldest that is over goes.
const KNOWN_MAX: usize = 100;

/// All imports since the start; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Imports {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: VecDeque<Job>,
    number: u32,
}

#[derive(Clone, Debug)]
struct Job {
    id: String,
    mode: Mode,
    progress: Progress,
    began: Instant,
    /// `None` while it runs.
    over: Option<Over>,
    /// Under which it was sent, if under any.
    key: Option<Digest>,
}

#[derive(Clone, Debug)]
struct Over {
    seconds: f64,
    outcome: Result<(), String>,
    /// Of its bytes.
    digest: Option<Digest>,
}

/// What becomes of what was stored before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// It stays.
    #[default]
    Merge,
    /// Of the users who are named it goes, at their first line. Other users keep theirs.
    Replace,
}

/// How to import.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ImportQuery {
    /// What becomes of what was stored before; `merge` when it is left out.
    #[serde(default)]
    mode: Mode,
    /// `true`: every user who is named is subscribed to the channel of its own id, too, if that is a valid name.
    #[serde(default, rename = "self")]
    with_self: bool,
}

/// A line that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RejectionView {
    /// From 1.
    line: u64,
    detail: String,
}

/// An import.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ImportView {
    id: String,
    /// `running`, `done` or `failed`.
    state: &'static str,
    mode: Mode,
    /// Bytes taken.
    bytes: u64,
    /// Lines read.
    lines: u64,
    /// Pairs that are stored. With a store they are on disk.
    pairs: u64,
    /// Subscriptions that are new, different or gone by it.
    changed: u64,
    /// Lines that were not taken.
    rejected: u64,
    /// The first 100 of them.
    rejections: Vec<RejectionView>,
    /// Seconds it has taken.
    seconds: f64,
    /// Why it failed. What was stored before stays: it can be sent once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Import stored subscriptions
///
/// Lines of `{"user":"..","channel":".."}`, optionally with `"qos"` (`application/x-ndjson`), or of two columns (`text/csv`,
/// `text/tab-separated-values`, without quotes). They are stored while they come; the answer follows when all are, and
/// `GET /v1/imports` shows the progress meanwhile. A request that ends early fails, and what was stored stays.
#[utoipa::path(
    post, path = "/v1/imports", tag = "users", operation_id = "importSubscriptions", params(ImportQuery),
    security(("key" = ["admin"])),
    request_body(content((String = "application/x-ndjson"), (String = "text/csv"), (String = "text/tab-separated-values"))),
    responses(
        (status = 202, description = "It is over: look at `state` and `rejected`.", body = ImportView),
        Import,
    )
)]
pub(super) async fn begin(
    State(desk): State<Desk>,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let form = form_of(&parts.headers)?;
    let key = match parts.headers.contains_key(idempotency::NAME) {
        true => Some(idempotency::key_of(&parts.headers)?),
        false => None,
    };
    if let Some(job) = desk.imports.of_key(key)? {
        return desk.imports.answer_again(job, body).await;
    }
    let (turn, number) = desk.imports.open(query.mode, key)?;
    let deed = match query.mode {
        Mode::Merge => UserDeed::Add,
        Mode::Replace => UserDeed::Import(number),
    };
    let plan = Plan { form, deed, with_self: query.with_self, name_bytes_max: desk.channel_name_bytes_max() };
    let importer = Importer::new(desk.office.clone(), plan, turn.progress.clone());
    let outcome = run(importer, body, key.is_some()).await;
    let view = turn.end(outcome);
    Ok(accepted(view))
}

/// All lines; the digest of their bytes, if it is wanted.
async fn run(mut importer: Importer, body: Body, is_digested: bool) -> Result<Option<Digest>, String> {
    let mut digest = is_digested.then(|| Context::new(&SHA256));
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| "the request ended before its body did".to_owned())?;
        digest.iter_mut().for_each(|digest| digest.update(&piece));
        importer.take(&piece).await.map_err(|error| error.to_string())?;
    }
    importer.finish().await.map_err(|error| error.to_string())?;
    Ok(digest.map(idempotency::finished))
}

fn form_of(headers: &HeaderMap) -> Result<Form, Problem> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson" | "application/ndjson" => Ok(Form::Ndjson),
        "text/csv" => Ok(Form::Columns(',')),
        "text/tab-separated-values" => Ok(Form::Columns('\t')),
        _ => {
            Err(Problem::new(&MEDIA_TYPE, "send application/x-ndjson, text/csv or text/tab-separated-values"))
        }
    }
}

fn accepted(view: ImportView) -> Response {
    let location = format!("/v1/imports/{}", view.id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(view)).into_response()
}

/// List imports
#[utoipa::path(
    get, path = "/v1/imports", tag = "users", operation_id = "listImports",
    security(("key" = ["read"])),
    responses(
        (status = 200, description = "Those since the start, newest first, at most 100.", body = Page<ImportView>),
        Listing,
    )
)]
pub(super) async fn list(State(desk): State<Desk>) -> Json<Page<ImportView>> {
    let items = desk.imports.known().jobs.iter().rev().map(Job::view).collect();
    Json(Page::new(items, None))
}

/// Look at one import
#[utoipa::path(
    get, path = "/v1/imports/{id}", tag = "users", operation_id = "getImport",
    security(("key" = ["read"])),
    params(("id" = String, Path, description = "From the answer or the list.")),
    responses(
        (status = 200, description = "How far it is.", body = ImportView),
        One,
    )
)]
pub(super) async fn show(
    State(desk): State<Desk>,
    Path(id): Path<String>,
) -> Result<Json<ImportView>, Problem> {
    let known = desk.imports.known();
    let job = known.jobs.iter().find(|job| job.id == id);
    job.map(|job| Json(job.view()))
        .ok_or_else(|| Problem::new(&NOT_FOUND, "no import of that id since the start"))
}

/// An import that runs. Dropped without an end, its client is gone, and it has failed.
struct Turn {
    imports: Imports,
    id: String,
    progress: Progress,
}

impl Imports {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that was sent under this key before, and has not failed.
    fn of_key(&self, key: Option<Digest>) -> Result<Option<Job>, Problem> {
        let Some(key) = key else { return Ok(None) };
        let known = self.known();
        let same = known.jobs.iter().rev().find(|job| job.key == Some(key));
        match same.map(|job| (job, &job.over)) {
            None | Some((_, Some(Over { outcome: Err(_), .. }))) => Ok(None),
            Some((_, None)) => Err(Problem::new(&IN_PROGRESS, "look at /v1/imports")),
            Some((job, Some(_))) => Ok(Some(job.clone())),
        }
    }

    /// The same answer for the same bytes.
    async fn answer_again(&self, job: Job, body: Body) -> Result<Response, Problem> {
        let mut digest = Context::new(&SHA256);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece =
                piece.map_err(|_| Problem::new(&MALFORMED, "the request ended before its body did"))?;
            digest.update(&piece);
        }
        let known = job.over.as_ref().and_then(|over| over.digest);
        if known != Some(idempotency::finished(digest)) {
            return Err(Problem::new(&MISMATCH, "its body was another one"));
        }
        Ok(accepted(job.view()))
    }

    fn open(&self, mode: Mode, key: Option<Digest>) -> Result<(Turn, u32), Problem> {
        let mut known = self.known();
        if known.jobs.iter().filter(|job| job.over.is_none()).count() >= RUNNING_MAX {
            return Err(Problem::new(&BUSY, "as many imports run as may"));
        }
        while known.jobs.len() >= KNOWN_MAX {
            let Some(at) = known.jobs.iter().position(|job| job.over.is_some()) else { break };
            known.jobs.remove(at);
        }
        // 0 is none.
        known.number = known.number.checked_add(1).unwrap_or(1);
        let (id, progress) = (Ulid::generate().to_string(), Progress::default());
        let job =
            Job { id: id.clone(), mode, progress: progress.clone(), began: Instant::now(), over: None, key };
        known.jobs.push_back(job);
        Ok((Turn { imports: self.clone(), id, progress }, known.number))
    }

    fn end(&self, id: &str, outcome: Result<Option<Digest>, String>) -> Option<ImportView> {
        let mut known = self.known();
        let job = known.jobs.iter_mut().find(|job| job.id == id && job.over.is_none())?;
        let digest = outcome.as_ref().ok().copied().flatten();
        let seconds = job.began.elapsed().as_secs_f64();
        job.over = Some(Over { seconds, outcome: outcome.map(|_| ()), digest });
        Some(job.view())
    }
}

impl Turn {
    fn end(self, outcome: Result<Option<Digest>, String>) -> ImportView {
        let view = self.imports.end(&self.id, outcome);
        view.expect("one that runs is not forgotten")
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.imports.end(&self.id, Err("the client went away".to_owned()));
    }
}

impl Job {
    fn view(&self) -> ImportView {
        let Figures { bytes, lines, pairs, changed, rejected, rejections } = self.progress.figures();
        let rejection = |(line, detail)| RejectionView { line, detail };
        let error = self.over.as_ref().and_then(|over| over.outcome.clone().err());
        ImportView {
            id: self.id.clone(),
            state: match &self.over {
                None => "running",
                Some(Over { outcome: Ok(()), .. }) => "done",
                Some(Over { outcome: Err(_), .. }) => "failed",
            },
            mode: self.mode,
            bytes,
            lines,
            pairs,
            changed,
            rejected,
            rejections: rejections.into_iter().map(rejection).collect(),
            seconds: self
                .over
                .as_ref()
                .map_or_else(|| self.began.elapsed().as_secs_f64(), |over| over.seconds),
            error,
        }
    }
}
