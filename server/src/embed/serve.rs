//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Owns the queues between the stream and the handlers. Start at [`Events::serve`].

use super::events::{ClientEvent, Events};
use super::handle::Session;
use hub::SessionId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Queues of the sessions that have had an event and are not gone.
type Queues = HashMap<SessionId, mpsc::Sender<ClientEvent>>;

impl Events {
    /// Runs `handler` for every event until the server stops. Events of one session are handled in their order, each
    /// after the one before is done; different sessions do not wait for each other. A handler that waits long should
    /// spawn that part.
    ///
    /// A session with `limits.inbox_events_max` events waiting for its handler is too fast for it: its connection is
    /// closed.
    pub async fn serve<H, F>(mut self, handler: H)
    where
        H: Fn(ClientEvent) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let waiting_max = self.inbox_events_max();
        let mut queues = Queues::new();
        while let Some(event) = self.next().await {
            let (session, ends) = (event.session().clone(), event.ends_session());
            let queue = queues.entry(session.id()).or_insert_with(|| start_queue(&handler, waiting_max));
            let sent = queue.try_send(event);
            if ends {
                queues.remove(&session.id());
            } else if sent.is_err() {
                close(session);
            }
        }
    }
}

/// A task that handles what comes, in order, and ends when its queue is dropped.
fn start_queue<H, F>(handler: &Arc<H>, waiting_max: usize) -> mpsc::Sender<ClientEvent>
where
    H: Fn(ClientEvent) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut events) = mpsc::channel(waiting_max);
    let handler = Arc::clone(handler);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            handler(event).await;
        }
    });
    sender
}

fn close(session: Session) {
    tracing::debug!("a session sends events faster than they are handled; its connection is closed");
    tokio::spawn(async move {
        if let Err(error) = session.close_connection().await {
            tracing::warn!(%error, "a connection could not be closed");
        }
    });
}

impl ClientEvent {
    /// Whose it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        match self {
            Self::Connect(connect) => &connect.session,
            Self::Event(event) => &event.session,
            Self::Disconnect(gone) => &gone.session,
            Self::Recovered(session) | Self::Expired(session) => session,
        }
    }

    /// No other event of this session follows.
    fn ends_session(&self) -> bool {
        match self {
            Self::Disconnect(gone) => !gone.resumable,
            Self::Expired(_) => true,
            Self::Connect(_) | Self::Event(_) | Self::Recovered(_) => false,
        }
    }
}
