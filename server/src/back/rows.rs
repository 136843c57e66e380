//! Small things that the back office keeps in the store, each under a key of its own, and each of its owners under a prefix.
//!
//! Must not know what they are. Start at [`Rows`].

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use store::{Change, Completion, Completions, Done, Expect, Row, RowOp, StoreError, Tab, Table, Token};
use tokio::sync::oneshot;

/// Rows that are read at a time.
const PAGE: usize = 1000;

/// The rows, where there is a store on the disk. They do not keep it open.
#[derive(Clone)]
pub(crate) struct Rows {
    tab: Tab,
    table: Option<Weak<dyn Table>>,
}

impl Rows {
    pub(crate) fn new(tab: Tab, table: Option<Weak<dyn Table>>) -> Self {
        Self { tab, table }
    }

    /// Reads every row whose key begins so. Reads files.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn scan<T>(
        &self,
        prefix: &[u8],
        read: impl Fn(&Row) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let Some(table) = self.table.as_ref().and_then(Weak::upgrade) else { return Ok(Vec::new()) };
        let (mut all, mut after) = (Vec::new(), None::<Bytes>);
        loop {
            let page = table.scan(self.tab, prefix, after.as_deref(), PAGE)?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.key.clone());
            all.extend(page.iter().filter_map(&read));
        }
    }

    /// Waits for a change that was begun; `false` if it is not safe. Without a store there is nothing to keep.
    pub(super) async fn is_safe(&self, begun: Option<oneshot::Receiver<bool>>) -> bool {
        match begun {
            Some(done) => done.await.unwrap_or(false),
            None => self.table.is_none(),
        }
    }

    /// Changes a row of anything; tells when it is safe. `None`: there is no store.
    pub(super) fn change_at(&self, key: Bytes, change: Change) -> Option<oneshot::Receiver<bool>> {
        let table = self.table.as_ref()?.upgrade()?;
        let (done, safe) = told_when_safe();
        table.change(vec![RowOp { tab: self.tab, key, expect: Expect::Any, change }], done);
        Some(safe)
    }
}

/// For a change of rows: whether all of it is safe.
pub(in crate::back) fn told_when_safe() -> (Done, oneshot::Receiver<bool>) {
    let (sender, safe) = oneshot::channel();
    (Done::new(Arc::new(Answer(Mutex::new(Some(sender)))), Token(0)), safe)
}

struct Answer(Mutex<Option<oneshot::Sender<bool>>>);

impl Completions for Answer {
    fn complete(&self, _: Token, completion: Completion) {
        let is_safe = match completion {
            Completion::Changed(results) => results.iter().all(Result::is_ok),
            Completion::Written(_) | Completion::Answered(_) => false,
        };
        if let Some(waiting) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Who does not wait has dropped it.
            let _ = waiting.send(is_safe);
        }
    }
}
