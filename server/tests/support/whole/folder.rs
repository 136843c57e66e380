//! A directory of a test's own, which goes with everything in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Distinguishes those of one process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// The directory; it is empty at first.
pub struct Folder(PathBuf);

impl Folder {
    /// `name` is for whoever finds it after a test that was killed.
    pub fn new(name: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("trunkline-{}-{number}-{name}", std::process::id()));
        // Of a process with the same number that was killed.
        let _not_there = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Where a store may be.
    pub fn store(&self) -> PathBuf {
        self.join("store")
    }

    /// Where a file of states may be.
    pub fn state(&self) -> PathBuf {
        self.join("state")
    }

    /// Writes a file and gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}
