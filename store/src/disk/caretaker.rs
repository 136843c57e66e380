//! What may be done to a store by who neither reads nor writes it. Does not keep it open: who has the [`super::Disk`] ends it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use super::{Disk, Progress, Shared, Stats, backup, upkeep};
use crate::StoreError;

/// Figures and upkeep of a [`Disk`], for any thread. Once that is closed everything is answered as `Failed`.
#[derive(Clone)]
pub struct Caretaker(Weak<Shared>);

impl Caretaker {
    /// See [`Disk::stats`].
    ///
    /// # Errors
    /// As there.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let shared = self.shared()?;
        shared.counters.stats(&shared)
    }

    /// See [`Disk::backup`].
    ///
    /// # Errors
    /// As there.
    pub fn backup(&self, to: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<()> {
        let shared = self.shared().map_err(io::Error::other)?;
        backup::run(&shared, to, progress)
    }

    /// See [`Disk::compact`].
    ///
    /// # Errors
    /// As there.
    pub fn compact(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        upkeep::compact(&*self.shared()?, progress)
    }

    fn shared(&self) -> Result<Arc<Shared>, StoreError> {
        self.0.upgrade().ok_or(StoreError::Failed)
    }
}

impl std::fmt::Debug for Caretaker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Caretaker")
    }
}

impl Disk {
    /// For who looks after it.
    #[must_use]
    pub fn caretaker(&self) -> Caretaker {
        Caretaker(Arc::downgrade(&self.shared))
    }
}
