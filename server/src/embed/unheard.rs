//! Client events before a program takes the stream of them, if it ever does.
//!
//! Owns the receiving end until then, so that a program which only publishes does not stop its shards: they read from no
//! client while too many events wait. Must not know what events mean. Start at [`Unheard::start`].

use super::handle::Handle;
use crate::mail::{Mail, Upcall, Upcalls};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// How long events wait for the program to take the stream. Then they are dropped.
const PATIENCE: Duration = Duration::from_secs(1);

/// The receiving end; `None` once it was handed over.
type Slot = Arc<Mutex<Option<mpsc::Receiver<Upcalls>>>>;

/// Events that nobody listens to.
pub(super) struct Unheard {
    upcalls: Slot,
    dropping: AbortHandle,
}

impl Unheard {
    /// Must be called on a tokio runtime.
    pub(super) fn start(upcalls: mpsc::Receiver<Upcalls>, handle: Handle) -> Self {
        let upcalls: Slot = Arc::new(Mutex::new(Some(upcalls)));
        let dropping = tokio::spawn(drop_all(Arc::clone(&upcalls), handle)).abort_handle();
        Self { upcalls, dropping }
    }

    /// From here on somebody listens; `None` the second time.
    pub(super) fn hand_over(&mut self) -> Option<mpsc::Receiver<Upcalls>> {
        let upcalls = self.upcalls.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.dropping.abort();
        upcalls
    }
}

/// Ends when the stream is taken or the shards have ended.
async fn drop_all(upcalls: Slot, handle: Handle) {
    tokio::time::sleep(PATIENCE).await;
    let mut warned = false;
    while let Some(batch) = next(&upcalls).await {
        if !std::mem::replace(&mut warned, true) {
            tracing::warn!(
                "nobody takes the events of clients: they are dropped, and who asks for something is closed"
            );
        }
        for upcall in batch {
            // No verdict can be given now: the client comes back.
            if let Upcall::Connect { session, .. } | Upcall::Ask { session, .. } = upcall
                && let Err(error) = handle.office().tell_home(session, Mail::Disconnect { session }).await
            {
                tracing::debug!(%error, "a client that nobody hears was not closed");
            }
        }
    }
}

async fn next(upcalls: &Slot) -> Option<Upcalls> {
    std::future::poll_fn(|cx| match &mut *upcalls.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(receiver) => receiver.poll_recv(cx),
        None => Poll::Ready(None),
    })
    .await
}
