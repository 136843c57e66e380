//! The store as the back office sees it: figures, copies, compaction, on threads that may wait for a disk.
//!
//! Keeps nothing open: once the node has closed its store all of this fails. Must not know what is in it. Start at [`Storage`].

use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::StoreError;
use store::disk::{Caretaker, Stats};
use tokio::sync::Semaphore;

/// Longest name of a copy, in bytes.
pub const BACKUP_NAME_BYTES_MAX: usize = 128;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A copy or compaction is at work; there is one at a time.
    #[error("the store is being copied or compacted, try again when that is over")]
    Busy,
    /// Not a name for a copy.
    #[error(
        "a copy has a name of 1 to {BACKUP_NAME_BYTES_MAX} letters, digits, `.`, `_` and `-`, that begins with a letter or \
         digit and does not end in `.part`"
    )]
    Name,
    /// Nothing is overwritten.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The store's reason, or the operating system's.
    #[error("{0}")]
    Failed(String),
}

/// A store and where its copies go; clones share everything.
#[derive(Clone, Debug)]
pub struct Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    caretaker: Caretaker,
    directory: PathBuf,
    backups: PathBuf,
    /// One permit: the writer does one long work after the other, and whoever waits for its turn would time out.
    works: Semaphore,
}

impl Storage {
    /// Of a store in `directory`; without `backups` its copies go into a folder there.
    #[must_use]
    pub fn new(caretaker: Caretaker, directory: &Path, backups: Option<&Path>) -> Self {
        let backups = backups.map_or_else(|| directory.join("backups"), Path::to_owned);
        let directory = directory.to_owned();
        Self { inner: Arc::new(Inner { caretaker, directory, backups, works: Semaphore::new(1) }) }
    }

    /// Where it lives.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.inner.directory
    }

    /// Figures since the start.
    ///
    /// # Errors
    /// [`StorageError::Failed`].
    pub async fn stats(&self) -> Result<Stats, StorageError> {
        let caretaker = self.inner.caretaker.clone();
        on_a_thread(move || caretaker.stats()).await
    }

    /// Copies it into a new file of this name, which is opened by putting it as `trunkline.db` into a directory of its own.
    /// Gives where the copy is, and its bytes. Goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn backup(&self, name: &str) -> Result<(PathBuf, u64), StorageError> {
        if !is_backup_name(name) {
            return Err(StorageError::Name);
        }
        let (inner, to) = (Arc::clone(&self.inner), self.inner.backups.join(name));
        on_a_thread(move || {
            let _turn = inner.works.try_acquire().map_err(|_| StorageError::Busy)?;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&inner.backups)?;
            let copied = inner.caretaker.backup(&to, &mut |_| {});
            match copied.and_then(|()| std::fs::metadata(&to)) {
                Ok(data) => Ok((to, data.len())),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(StorageError::Exists(to)),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Gives free space back to the file system, between writes. Goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// [`StorageError`].
    pub async fn compact(&self) -> Result<(), StorageError> {
        let inner = Arc::clone(&self.inner);
        on_a_thread(move || {
            let _turn = inner.works.try_acquire().map_err(|_| StorageError::Busy)?;
            Ok::<_, StorageError>(inner.caretaker.compact(&mut |_| {})?)
        })
        .await
    }
}

/// No path, no hidden file, not what a copy is called before it is complete.
fn is_backup_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_begun_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_begun_well
        && name.len() <= BACKUP_NAME_BYTES_MAX
        && name.bytes().all(is_allowed)
        && !name.ends_with(".part")
}

async fn on_a_thread<T: Send + 'static, E: Into<StorageError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, StorageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(error) => Err(StorageError::Failed(error.to_string())),
    }
}

impl From<StoreError> for StorageError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for good in ["a", "2026-11-27.db", "A_b-c.1", &"x".repeat(BACKUP_NAME_BYTES_MAX)] {
            assert!(is_backup_name(good), "{good}");
        }
        let long = "x".repeat(BACKUP_NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", ".hidden", "-r", "a/b", "/a", "a\\b", "a\0", "a b", "ä", "a.part", &long]
        {
            assert!(!is_backup_name(bad), "{bad}");
        }
    }
}
