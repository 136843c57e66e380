//! The store: `GET /v1/store`, and what is done to it: `POST /v1/store/backup`, `POST /v1/store/compact`.

use super::Desk;
use super::document::{Store, StoreWork};
use super::extract::Body;
use super::problem::{BUSY, EXISTS, MALFORMED, NOT_FOUND, Problem, STORE_FAILED};
use crate::back::Storage;
use crate::back::storage::StorageError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use store::disk::Stats;
use utoipa::ToSchema;

/// The store. Counts begin at the start of the process, what it holds does not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StoreInfo {
    /// `store.dir`.
    directory: String,
    /// `store.fsync`.
    fsync: &'static str,
    /// Pieces of state that are kept: sessions, messages that wait, values.
    records: u64,
    /// Rows of tables.
    rows: u64,
    /// Bytes of the database, without its write-ahead log.
    database_bytes: u64,
    /// Those of them that nothing uses; compaction gives them back.
    free_bytes: u64,
    /// Bytes of the write-ahead log that are not in the database yet.
    wal_bytes: u64,
    /// Records that were written.
    appended: u64,
    /// Records that went.
    removed: u64,
    /// Groups of changes that were written and, with `fsync = "always"`, synced.
    commits: u64,
    /// Seconds spent in that.
    commit_seconds: f64,
    /// Times that the log was copied into the database.
    checkpoints: u64,
    /// Seconds spent in that.
    checkpoint_seconds: f64,
    /// Changes that wait to be written.
    waiting_entries: usize,
    /// Their bytes.
    waiting_bytes: usize,
    /// Writing or syncing failed: nothing that rests on a change is acknowledged until the process is started again.
    failed: bool,
}

/// A copy to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BackupRequest {
    /// Name of the file in `store.backup_dir`: letters, digits, `.`, `_` and `-`. It must not exist.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
}

/// A copy that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupView {
    /// Where it is, on the server's machine.
    path: String,
    /// Its size.
    bytes: u64,
}

/// Nothing is to be said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompactRequest {}

/// Look at the store
#[utoipa::path(
    get, path = "/v1/store", tag = "server", operation_id = "getStore",
    security(("key" = ["read"])),
    responses((status = 200, description = "The store now.", body = StoreInfo), Store)
)]
pub(super) async fn show(State(desk): State<Desk>) -> Result<Json<StoreInfo>, Problem> {
    Ok(Json(info(&desk, storage(&desk)?).await?))
}

/// Copy the store while it is used
///
/// Answers when the copy is complete and synced. A server goes on from it that finds it as `trunkline.db` in its `store.dir`.
#[utoipa::path(
    post, path = "/v1/store/backup", tag = "server", operation_id = "backUpStore",
    security(("key" = ["admin"])), request_body = BackupRequest,
    responses((status = 201, description = "It is there.", body = BackupView), StoreWork)
)]
pub(super) async fn backup(
    State(desk): State<Desk>,
    Body(request): Body<BackupRequest>,
) -> Result<(StatusCode, Json<BackupView>), Problem> {
    let (path, bytes) = storage(&desk)?.backup(&request.name).await?;
    let path = path.display().to_string();
    tracing::info!(path, bytes, "the store was copied");
    Ok((StatusCode::CREATED, Json(BackupView { path, bytes })))
}

/// Give free space of the store back to the file system
///
/// Answers when that is done; the store is used meanwhile.
#[utoipa::path(
    post, path = "/v1/store/compact", tag = "server", operation_id = "compactStore",
    security(("key" = ["admin"])), request_body = CompactRequest,
    responses((status = 200, description = "The store afterwards.", body = StoreInfo), StoreWork)
)]
pub(super) async fn compact(
    State(desk): State<Desk>,
    Body(CompactRequest {}): Body<CompactRequest>,
) -> Result<Json<StoreInfo>, Problem> {
    let storage = storage(&desk)?;
    storage.compact().await?;
    Ok(Json(info(&desk, storage).await?))
}

fn storage(desk: &Desk) -> Result<&Storage, Problem> {
    desk.storage.as_ref().ok_or_else(|| {
        Problem::new(&NOT_FOUND, "there is no store: without store.dir nothing outlives the process")
    })
}

/// What stands in `GET /v1/server`, where there is a store that answers.
pub(super) async fn info_if_any(desk: &Desk) -> Option<StoreInfo> {
    info(desk, desk.storage.as_ref()?).await.ok()
}

async fn info(desk: &Desk, storage: &Storage) -> Result<StoreInfo, StorageError> {
    let Stats {
        records,
        rows,
        appended,
        removed,
        database_bytes,
        free_bytes,
        wal_bytes,
        commits,
        commit_time,
        commit_buckets: _,
        checkpoints,
        checkpoint_time,
        waiting_entries,
        waiting_bytes,
        is_failed,
    } = storage.stats().await?;
    Ok(StoreInfo {
        directory: storage.directory().display().to_string(),
        fsync: desk.config.store.fsync.as_str(),
        records,
        rows,
        database_bytes,
        free_bytes,
        wal_bytes,
        appended,
        removed,
        commits,
        commit_seconds: commit_time.as_secs_f64(),
        checkpoints,
        checkpoint_seconds: checkpoint_time.as_secs_f64(),
        waiting_entries,
        waiting_bytes,
        failed: is_failed,
    })
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::Busy => &BUSY,
            StorageError::Name => &MALFORMED,
            StorageError::Exists(_) => &EXISTS,
            StorageError::Failed(_) => &STORE_FAILED,
        };
        Self::new(kind, error.to_string())
    }
}
