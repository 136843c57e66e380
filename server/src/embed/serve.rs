//! Handlers side by side for different sessions, one after the other within a session: what most back ends want.
//!
//! Must not know how they take turns, which is [`Turns`]'s. Start at [`Events::serve`].

use super::events::{ClientEvent, Events};
use super::handle::Session;
use crate::back::turns::{Doing, Turns};
use hub::SessionId;
use std::future::Future;

impl Events {
    /// Runs `handler` for every event until the server stops. Events of one session are handled in their order, each
    /// after the one before is done; different sessions do not wait for each other's answers. Handlers run one after the
    /// other up to their first wait as long as they compute little, in tasks beside each other where they do not; one that
    /// computes for long should spawn that part (`tokio::task::spawn_blocking`).
    ///
    /// While `limits.inbox_events_max` events of a session wait for its handler, its connection is not read from: the
    /// client feels it as a slow network, and other clients do not feel it. A handler that panics ends its own event
    /// only.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(ClientEvent) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Turns::new(self.office().clone(), self.inbox_events_max(), handler).run(self).await;
    }
}

impl Doing for ClientEvent {
    fn session(&self) -> SessionId {
        Self::session(self).id()
    }

    fn is_return(&self) -> bool {
        matches!(self, Self::Recovered(_) | Self::Connected(_))
    }
}

impl ClientEvent {
    /// Whose it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        match self {
            Self::Connect(connect) => &connect.session,
            Self::Event(event) => &event.session,
            Self::Ask(ask) => &ask.session,
            Self::Disconnect(gone) => &gone.session,
            Self::Connected(connected) => &connected.session,
            Self::Recovered(session) | Self::Expired(session) => session,
        }
    }
}
