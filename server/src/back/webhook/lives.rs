//! What the back end is told of a session with each of its events: who it is, which of its connections this is, and the state
//! that the back end itself gave it.
//!
//! Must not know events. Start at [`Lives`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hub::SessionId;

use crate::mail::Speaks;

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) speaks: Speaks,
    /// Named by the back end, or by the client's token.
    pub(super) user: Option<Arc<str>>,
    /// Of the back end, or of that token; opaque here.
    pub(super) state: Option<Arc<str>>,
    /// Its connections so far, this one included.
    pub(super) generation: u32,
    /// Whether its client was let in.
    pub(super) is_admitted: bool,
    /// Since when it has its connection.
    pub(super) since: Instant,
    /// Events that were told on this connection.
    pub(super) told: u32,
}

impl Life {
    /// Of a session that connects first.
    pub(super) fn new(speaks: Speaks) -> Self {
        Self {
            speaks,
            user: None,
            state: None,
            generation: 1,
            is_admitted: false,
            since: Instant::now(),
            told: 0,
        }
    }

    /// It has another connection.
    pub(super) fn resume(&mut self) {
        self.generation = self.generation.saturating_add(1);
        (self.told, self.since) = (0, Instant::now());
    }

    /// It lost its connection with the process before: what is told of that comes behind all that was told then.
    pub(super) fn close(&mut self) {
        self.told = u32::MAX - 4;
    }

    /// It had lost it before that process ended, which may have told of its loss and its end behind a [`Life::close`].
    pub(super) fn close_again(&mut self) {
        self.told = u32::MAX - 2;
    }

    /// The place of its next event: rises over all its connections.
    fn next(&mut self) -> u64 {
        self.told = self.told.saturating_add(1);
        u64::from(self.generation) << 32 | u64::from(self.told)
    }
}

/// All sessions. Nothing here waits for anything, so the lock is held for moments.
#[derive(Debug, Default)]
pub(super) struct Lives(Mutex<HashMap<SessionId, Life>>);

impl Lives {
    /// A session begins.
    pub(super) fn begin(&self, session: SessionId, life: Life) {
        self.all().insert(session, life);
    }

    /// What is told with an event of a session, and the event's place; `None` for one that is not known.
    pub(super) fn tell(&self, session: SessionId) -> Option<(Life, u64)> {
        let mut all = self.all();
        let life = all.get_mut(&session)?;
        let place = life.next();
        Some((life.clone(), place))
    }

    /// What is known of a session.
    pub(super) fn get(&self, session: SessionId) -> Option<Life> {
        self.all().get(&session).cloned()
    }

    /// Changes what is known of a session, if it is there.
    pub(super) fn change(&self, session: SessionId, change: impl FnOnce(&mut Life)) {
        if let Some(life) = self.all().get_mut(&session) {
            change(life);
        }
    }

    /// A session is gone.
    pub(super) fn end(&self, session: SessionId) {
        self.all().remove(&session);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<SessionId, Life>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_rise_over_all_connections_of_a_session() {
        let (lives, session) = (Lives::default(), SessionId([7; 15]));
        lives.begin(session, Life::new(Speaks::SocketIo("/".into())));
        let place = |lives: &Lives| lives.tell(session).unwrap().1;
        let (first, second) = (place(&lives), place(&lives));
        lives.change(session, Life::resume);
        let third = place(&lives);
        lives.change(session, Life::close);
        let (lost, ended) = (place(&lives), place(&lives));
        assert!(first < second && second < third && third < lost && lost < ended);
        lives.change(session, Life::close_again);
        assert!(ended < place(&lives), "by the process after the next");
        lives.end(session);
        assert!(lives.tell(session).is_none());
    }
}
