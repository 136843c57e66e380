//! A secret that is made once and kept in the store, so that what was sealed with it before a restart is known afterwards.

use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel as channel;
use store::{Change, Completion, Completions, Done, Expect, RowOp, StoreError, Tab, Table, Token};

/// The row that has it.
const KEY: &[u8] = b"receipts";

/// The secret of handles of receives, made if there is none.
///
/// # Errors
/// When the store cannot be read or written; [`StoreError::Damaged`] when the row is not a secret.
pub(super) fn kept(table: &dyn Table) -> Result<[u8; 32], StoreError> {
    if let Some(found) = found(table)? {
        return Ok(found);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| StoreError::Damaged(error.to_string().into()))?;
    let change = Change::Put { body: Bytes::copy_from_slice(&secret), ttl: None };
    let op = RowOp { tab: Tab::Queues, key: Bytes::from_static(KEY), expect: Expect::Absent, change };
    let (sender, answers) = channel::bounded(1);
    table.change(vec![op], Done::new(Arc::new(Answer(sender)), Token(0)));
    match answers.recv() {
        Ok(Completion::Changed(results)) => {
            results.into_iter().try_for_each(|result| result.map(|_| ()))?;
            Ok(secret)
        }
        Ok(_) | Err(channel::RecvError) => Err(StoreError::Failed),
    }
}

fn found(table: &dyn Table) -> Result<Option<[u8; 32]>, StoreError> {
    let mut rows = table.rows(Tab::Queues, &[Bytes::from_static(KEY)]);
    let Some(row) = rows.pop().transpose()?.flatten() else { return Ok(None) };
    let secret = row.body.as_ref().try_into();
    secret.map(Some).map_err(|_| StoreError::Damaged("the secret of receipts".into()))
}

struct Answer(channel::Sender<Completion>);

impl Completions for Answer {
    fn complete(&self, _: Token, completion: Completion) {
        // There is a place for the one answer that is waited for.
        let _ = self.0.try_send(completion);
    }
}
