//! What the client of a session may do with channels, and until when, whatever it speaks: as its token says, or the back end.
//!
//! Owns when it is over, and when the back end is asked ahead of that. Must not know what becomes of a client whose time is over, nor
//! what a change means to its subscriptions: its protocol does. Start at [`Rights::of`].

use std::sync::Arc;

use hub::{Millis, SessionId};

use crate::auth::{Grant, Permissions, UnixMs, unix_now};
use crate::config::{Config, WebhookType};
use crate::mail::Upcall;
use crate::shard::Cx;

/// Of one client that has shown a token, or of which the back end has said something.
#[derive(Debug, Default)]
pub(super) struct Rights {
    /// Beside what the configuration lets everybody do.
    pub(super) permissions: Option<Arc<Permissions>>,
    /// When its connection is closed, so that it comes back.
    until: Option<Millis>,
    /// When the back end is asked whether it may stay.
    ask_at: Option<Millis>,
    /// `jti` of its token.
    token_id: Option<Box<str>>,
}

impl Rights {
    /// What it is granted.
    pub(super) fn of(cx: &Cx<'_>, config: &Config, grant: &Grant) -> Self {
        let (permissions, token_id) = (grant.permissions.clone(), grant.token_id.clone());
        let mut rights = Self { permissions, token_id, ..Self::default() };
        rights.end_at(cx, config, grant.expires);
        rights
    }

    /// Whether nothing was said of it.
    pub(super) fn are_nothing(&self) -> bool {
        self.permissions.is_none() && self.until.is_none() && self.token_id.is_none()
    }

    /// Whether it is let in by that token.
    pub(super) fn are_by(&self, token_id: &str) -> bool {
        self.token_id.as_deref() == Some(token_id)
    }

    /// When its time is over, by the calendar.
    pub(super) fn expire(&self, now: Millis) -> Option<UnixMs> {
        let left_ms = self.until?.0.saturating_sub(now.0);
        Some(UnixMs(unix_now().0.saturating_add(left_ms)))
    }

    /// When something is to be done next: the back end asked, or the connection closed.
    pub(super) fn due_at(&self) -> Option<Millis> {
        self.ask_at.into_iter().chain(self.until).min()
    }

    /// Whether its time is over.
    pub(super) fn are_over(&self, now: Millis) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Asks the back end whether it may stay, if it is time for that; once.
    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, session: SessionId) {
        let now = cx.io.now();
        if self.are_over(now) || self.ask_at.take_if(|at| *at <= now).is_none() {
            return;
        }
        let Some(expires) = self.expire(now) else { return };
        cx.io.upcall(Upcall::Refresh { session, expires, token_id: self.token_id.clone() });
    }

    /// What does not last for so long that anybody would have to be asked.
    pub(super) fn without_asking(self) -> Self {
        Self { ask_at: None, ..self }
    }

    /// As the back end says from now on. Gives what it might do before, if that is something else now.
    pub(super) fn change(
        &mut self,
        cx: &Cx<'_>,
        config: &Config,
        change: SessionChange,
    ) -> Option<Option<Arc<Permissions>>> {
        let SessionChange { expires, permissions } = change;
        if let Rewrite::Put(expires) = expires {
            self.end_at(cx, config, expires);
        }
        match permissions {
            Rewrite::Keep => None,
            Rewrite::Put(permissions) => Some(std::mem::replace(&mut self.permissions, permissions)),
        }
    }

    /// The back end is asked ahead of the end, but never before half of the time is over: else it would be asked again and again
    /// about whoever it gives little.
    fn end_at(&mut self, cx: &Cx<'_>, config: &Config, expires: Option<UnixMs>) {
        let now = cx.io.now();
        self.until = expires.map(|at| Millis(now.0.saturating_add(at.0.saturating_sub(unix_now().0))));
        let asks = config.webhooks.iter().any(|webhook| webhook.types.contains(&WebhookType::SessionRefresh));
        let ahead_ms = u64::from(config.auth.refresh_ahead_seconds) * 1000;
        let ask_at = |until: Millis| Millis(until.0 - ahead_ms.min((until.0 - now.0) / 2));
        self.ask_at = self.until.filter(|_| asks).map(ask_at);
    }
}

/// What the back end changes of a session that is there.
#[derive(Clone, Debug, Default)]
pub struct SessionChange {
    /// When its connection is closed; `None` = never.
    pub expires: Rewrite<Option<UnixMs>>,
    /// What it may do, beside what the configuration lets everybody do.
    pub permissions: Rewrite<Option<Arc<Permissions>>>,
}

impl SessionChange {
    /// Whether all stays as it is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!((&self.expires, &self.permissions), (Rewrite::Keep, Rewrite::Keep))
    }

    /// The same with permissions that clients share which are granted the same.
    pub(super) fn shared(self, intern: impl FnOnce(Arc<Permissions>) -> Arc<Permissions>) -> Self {
        Self { permissions: self.permissions.map(|permissions| permissions.map(intern)), ..self }
    }
}

/// Whether something is to be another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rewrite<T> {
    /// It stays.
    #[default]
    Keep,
    /// It is this from now on.
    Put(T),
}

impl<T> Rewrite<T> {
    /// The same of something else.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Rewrite<U> {
        match self {
            Self::Keep => Rewrite::Keep,
            Self::Put(value) => Rewrite::Put(f(value)),
        }
    }
}
