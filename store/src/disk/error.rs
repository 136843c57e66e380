//! What the engine and the operating system answer, sorted by what has to be done about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMSIZE};

use crate::StoreError;

/// Why a directory was not opened. Nothing that is stored in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open. It ends when that process does, however that ends.
    #[error("{} is used by another process{}", directory.display(), pid.map_or(String::new(), |pid| format!(" ({pid})")))]
    Locked {
        /// The directory.
        directory: PathBuf,
        /// The other process, when it said so.
        pid: Option<u32>,
    },
    /// Locks and syncs of such file systems cannot be relied on.
    #[error("{} lies on a network file system ({kind}), which cannot be relied on", directory.display())]
    NetworkFileSystem {
        /// The directory.
        directory: PathBuf,
        /// Its name.
        kind: &'static str,
    },
    /// A database of another program.
    #[error("{} is no store of Trunkline", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a newer version of Trunkline. It can be opened by that one only.
    #[error("{} has format {found}, and this version of Trunkline knows formats up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i32,
        /// The newest format known here.
        known: i32,
    },
    /// What is stored is not what was written.
    #[error("the store is damaged: {0}")]
    Damaged(
        /// The place.
        Box<str>,
    ),
    /// The operating system's, or the engine's word for it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<StoreError> for OpenError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(place) => Self::Damaged(place),
            StoreError::Unavailable { .. } => Self::Io(io::Error::new(io::ErrorKind::ResourceBusy, error)),
            other => Self::Io(io::Error::other(other)),
        }
    }
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Damaged(place) => Self::Damaged(place),
            OpenError::Io(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                Self::Unavailable { retry_after: RETRY_AFTER }
            }
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Self::Io(io::Error::new(io::ErrorKind::ResourceBusy, error))
            }
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::OutOfMemory,
            ) => Self::Io(io::Error::other(error)),
            _ => Self::Damaged(error.to_string().into()),
        }
    }
}

/// What a write ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing was written, there is no room.
    Full,
    /// Nothing was written, somebody else has the file for the moment.
    Away,
    /// Nobody knows what was written. Never repeated.
    Failed,
}

/// A good time to wait for somebody else's lock, or for the writer to catch up.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Trouble {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Away,
            // The index of the write-ahead log could not grow. It is no part of what is stored.
            Some(ErrorCode::SystemIoFailure)
                if matches!(
                    error.sqlite_extended_error_code(),
                    Some(SQLITE_IOERR_SHMSIZE | SQLITE_IOERR_SHMMAP)
                ) =>
            {
                Self::Full
            }
            _ => Self::Failed,
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full => Self::Full,
            Trouble::Away => Self::Unavailable { retry_after: RETRY_AFTER },
            Trouble::Failed => Self::Failed,
        }
    }
}

/// What a reader is answered. `place` says what it was about to read.
pub(super) fn unread(error: &rusqlite::Error, place: &str) -> StoreError {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => StoreError::Unavailable { retry_after: RETRY_AFTER },
        _ => StoreError::Damaged(format!("{place}: {error}").into()),
    }
}
