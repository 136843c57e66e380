//! What a node leaves to the process after it: sessions that may be resumed and what they missed, in one file.
//!
//! Owns the file: written whole or not at all, used once, and never a reason not to start. `format` owns its bytes, the hubs
//! what is in it. Must not know when a node ends, nor who takes the sessions in. Start at [`save`] and [`take`].

mod format;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hub::{SavedSession, ShardId, Snapshot, Topology};

use crate::front::PidKey;

/// What one shard leaves.
#[derive(Debug)]
pub struct ShardState {
    /// Which.
    pub shard: ShardId,
    /// What its hub leaves.
    pub snapshot: Snapshot,
    /// The Socket.IO namespace of each of the snapshot's sessions, in their order.
    pub namespaces: Vec<Arc<str>>,
}

/// What a node leaves.
#[derive(Debug)]
pub struct NodeState {
    /// When, as milliseconds of Unix time.
    pub saved_at_ms: u64,
    /// How its sessions were spread. They fit no other topology: a session's id names its place.
    pub topology: Topology,
    /// What the pids were made with that clients hold.
    pub key: PidKey,
    /// Of its shards, in any order; one that did not end in time is missing.
    pub shards: Vec<ShardState>,
}

/// Why a state file is of no use.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It does not begin as one.
    #[error("it is no state file of Trunkline")]
    Foreign,
    /// Written by another version.
    #[error("its format is {0}, this version reads format {known} only", known = format::VERSION)]
    Version(u32),
    /// Its length, checksum or content is not what was written.
    #[error("it is cut off or damaged")]
    Damaged,
    /// Written by a node of another size.
    #[error("it is of a node with {} shards and {} partitions, this one has {} and {}",
        .saved.shards, .saved.partitions, .own.shards, .own.partitions)]
    Topology {
        /// Of the file.
        saved: Topology,
        /// Of this node.
        own: Topology,
    },
}

impl NodeState {
    /// Sessions of all shards.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions().count()
    }

    /// How long ago it was saved; 0 when the clock was set back since. Milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        unix_ms().saturating_sub(self.saved_at_ms)
    }

    /// How long ago the oldest session was opened. Milliseconds.
    #[must_use]
    pub fn age_ms_max(&self) -> u64 {
        let age_ms = self.sessions().map(|session| session.age_ms).max().unwrap_or(0);
        age_ms.saturating_add(self.elapsed_ms())
    }

    fn sessions(&self) -> impl Iterator<Item = &SavedSession> {
        self.shards.iter().flat_map(|shard| &shard.snapshot.sessions)
    }

    fn fitting(self, own: Topology) -> Result<Self, Unusable> {
        if self.topology == own { Ok(self) } else { Err(Unusable::Topology { saved: self.topology, own }) }
    }
}

/// Milliseconds of Unix time, now.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Writes the file, for its owner's eyes only, and makes sure that it is on the disk. Who reads the path meanwhile, or after
/// a failure, finds what was there before.
///
/// # Errors
/// Those of the operating system.
pub fn save(path: &Path, state: &NodeState) -> io::Result<()> {
    let bytes = format::encode(state).map_err(io::Error::other)?;
    let part = beside(path, "part");
    let mut file = create(&part)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    sync_folder(path)
}

/// Reads the file and removes it, so that no later start finds what its clients have gone on from. Without a file that can
/// be used there is nothing, the log says why, and the file is kept beside its path as `<path>.bad`.
#[must_use]
pub fn take(path: &Path, own: Topology) -> Option<NodeState> {
    let read = match std::fs::read(path) {
        Ok(bytes) => format::decode(&bytes).and_then(|state| state.fitting(own)).map_err(|e| e.to_string()),
        // A folder is not ours to move; `try_out` tells of it.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => return None,
        Err(error) => Err(error.to_string()),
    };
    match read.map(|state| (state, std::fs::remove_file(path).and_then(|()| sync_folder(path)))) {
        Ok((state, Ok(()))) => Some(state),
        Ok((_, Err(error))) => {
            let path = path.display();
            tracing::error!(%path, %error, "the state file cannot be removed, so no session is restored from it");
            None
        }
        Err(reason) => {
            set_aside(path, &reason);
            None
        }
    }
}

/// Whether a file could be written there now, so that it is known long before it matters.
///
/// # Errors
/// Those of the operating system.
pub fn try_out(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let part = beside(path, "part");
    create(&part)?;
    std::fs::remove_file(part)
}

fn set_aside(path: &Path, reason: &str) {
    let aside = beside(path, "bad");
    let moved = std::fs::rename(path, &aside);
    let (path, aside) = (path.display(), aside.display());
    match moved {
        Ok(()) => {
            tracing::error!(%path, reason, kept_as = %aside, "no session is restored: the state file cannot be used");
        }
        Err(error) => {
            tracing::error!(%path, reason, %error, "no session is restored: the state file cannot be used, nor moved away");
        }
    }
}

/// Afresh, so that nobody else has it open or may read it.
fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A rename is on the disk when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// `<path>.<ending>`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests;
