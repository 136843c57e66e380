//! Where messages are read, and the secret of the handles by which they are settled.
//!
//! Must not know what a message says. Start at [`Shelf::fetch`].

use std::sync::{Arc, Weak};

use hub::Partition;
use hub::queue::{Receipt, Sent};
use store::Log;
use wire::sqs::{Error, ReceiptKey};

/// Handle to the store of messages; clones share it. It does not keep the store open.
#[derive(Clone)]
pub(crate) struct Shelf {
    log: Weak<dyn Log>,
    /// Reading does not block.
    is_memory: bool,
    key: Arc<ReceiptKey>,
}

impl Shelf {
    /// Of this log; `secret` is the same after a restart if the messages are.
    pub(crate) fn on_disk(log: Weak<dyn Log>, secret: &[u8; 32]) -> Self {
        Self { log, is_memory: false, key: Arc::new(ReceiptKey::new(secret)) }
    }

    /// The same for a log whose reads do not block.
    pub(crate) fn in_memory(log: Weak<dyn Log>, secret: &[u8; 32]) -> Self {
        Self { is_memory: true, ..Self::on_disk(log, secret) }
    }

    /// The messages at these places, in the order asked; `None` for one that has ended.
    ///
    /// # Errors
    /// `ServiceUnavailable` when the store cannot be read.
    pub(super) async fn fetch(&self, places: Vec<(Partition, u64)>) -> Result<Vec<Option<Sent>>, Error> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let log = self.log.upgrade().ok_or_else(Error::unavailable)?;
        let read = move || {
            let records = log.fetch(&places).into_iter();
            records.map(|found| Ok(found?.and_then(|record| crate::journal::message(&record.body)))).collect()
        };
        let read: Result<Vec<Option<Sent>>, store::StoreError> = if self.is_memory {
            read()
        } else {
            tokio::task::spawn_blocking(read).await.map_err(|_| Error::unavailable())?
        };
        read.map_err(|error| {
            tracing::error!(%error, "messages that are to be delivered cannot be read");
            Error::unavailable()
        })
    }

    /// The handle that a receiver is given.
    pub(super) fn seal(&self, receipt: &Receipt) -> String {
        let Receipt { partition, incarnation, offset, number } = *receipt;
        self.key.seal(&wire::sqs::Receipt { partition: partition.0, incarnation, offset, receive: number })
    }

    /// What a handle stands for.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` or `InvalidIdFormat`.
    pub(super) fn open(&self, handle: &str) -> Result<Receipt, Error> {
        let wire::sqs::Receipt { partition, incarnation, offset, receive } = self.key.open(handle)?;
        Ok(Receipt { partition: Partition(partition), incarnation, offset, number: receive })
    }
}
