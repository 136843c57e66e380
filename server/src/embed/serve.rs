//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Owns the queues between the stream and the handlers. Start at [`Events::serve`].

use super::events::{ClientEvent, Events};
use super::handle::Session;
use hub::SessionId;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};

impl Events {
    /// Runs `handler` for every event until the server stops. Events of one session are handled in their order, each
    /// after the one before is done; different sessions do not wait for each other. A handler that waits long should
    /// spawn that part.
    ///
    /// While `limits.inbox_events_max` events of a session wait for its handler, its connection is not read from: the
    /// client feels it as a slow network, and other clients do not feel it.
    pub async fn serve<H, F>(mut self, handler: H)
    where
        H: Fn(ClientEvent) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let waiting_max = self.inbox_events_max();
        let mut queues: HashMap<SessionId, Queue> = HashMap::new();
        while let Some(event) = self.next().await {
            let (id, ends) = (event.session().id(), event.ends_session());
            let queue = queues.entry(id).or_insert_with(|| Queue::start(&handler, waiting_max, event.session()));
            queue.push(event);
            if ends {
                queues.remove(&id);
            }
        }
    }
}

/// The sending side of one session's events. Its task ends when this is dropped and everything is handled.
struct Queue {
    events: mpsc::UnboundedSender<ClientEvent>,
    pressure: Arc<Pressure>,
}

/// How much waits. The queue itself has no bound: what was read before the connection was held has to go somewhere, and
/// that is bounded by what the shards may hand over.
struct Pressure {
    waiting: AtomicUsize,
    waiting_max: usize,
    reached: Notify,
}

impl Queue {
    fn start<H, F>(handler: &Arc<H>, waiting_max: usize, session: &Session) -> Self
    where
        H: Fn(ClientEvent) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (events, received) = mpsc::unbounded_channel();
        let pressure = Arc::new(Pressure { waiting: AtomicUsize::new(0), waiting_max, reached: Notify::new() });
        let worker = Worker { session: session.clone(), pressure: Arc::clone(&pressure), holds: false };
        tokio::spawn(worker.run(Arc::clone(handler), received));
        Self { events, pressure }
    }

    fn push(&self, event: ClientEvent) {
        let before = self.pressure.waiting.fetch_add(1, Ordering::SeqCst);
        if before + 1 == self.pressure.waiting_max {
            self.pressure.reached.notify_one();
        }
        // The task ends only after this sender, so somebody receives it.
        let _ = self.events.send(event);
    }
}

/// The task of one session. It alone says when the connection is held, so that the two messages never overtake each
/// other.
struct Worker {
    session: Session,
    pressure: Arc<Pressure>,
    holds: bool,
}

impl Worker {
    async fn run<H, F>(mut self, handler: Arc<H>, mut events: mpsc::UnboundedReceiver<ClientEvent>)
    where
        H: Fn(ClientEvent) -> F,
        F: Future<Output = ()>,
    {
        while let Some(event) = events.recv().await {
            let handling = handler(event);
            tokio::pin!(handling);
            loop {
                tokio::select! {
                    biased;
                    () = &mut handling => break,
                    () = self.pressure.reached.notified() => {}
                }
                self.adjust().await;
            }
            self.pressure.waiting.fetch_sub(1, Ordering::SeqCst);
            if self.holds {
                self.adjust().await;
            }
        }
    }

    /// Holds the connection at the limit, lets it go at half of it.
    async fn adjust(&mut self) {
        let (waiting, waiting_max) = (self.pressure.waiting.load(Ordering::SeqCst), self.pressure.waiting_max);
        let holds = if self.holds { waiting > waiting_max / 2 } else { waiting >= waiting_max };
        if holds == self.holds {
            return;
        }
        match self.session.hold(holds).await {
            Ok(()) => self.holds = holds,
            Err(error) => tracing::warn!(%error, "a connection could not be held or let go"),
        }
    }
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
