//! Where a file can go wrong, for tests: a seam in front of each commit. What happens then is the writer's business, and
//! the same as when the file does it.

/// What becomes of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no room for it.
    Full,
    /// Writing it fails.
    Write,
    /// It is written and syncing it fails, so that it may be there after a restart.
    Sync,
}

/// Decides about faults. Called on the writer's thread.
pub trait Faults: Send + Sync {
    /// What becomes of the next commit; `None` when nothing is wrong.
    fn next_commit(&self) -> Option<Fault>;
}

/// Never any.
pub(super) struct None;

impl Faults for None {
    fn next_commit(&self) -> Option<Fault> {
        Option::None
    }
}
