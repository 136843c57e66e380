//! What the hubs before this one had when they ended without a word. Owns which messages these are, and how long they are
//! remembered: what was on its way then is published once more, and is not to come twice. It must not know what is published,
//! nor by whom. Start at [`Had`].

use crate::ids::{Millis, SessionId};
use crate::message::{Message, MessageId, Quality};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Until then everything that was on its way has been published once more. Milliseconds from the start.
const REMEMBER_MS: u64 = 60_000;

/// Messages of quality above `AtMostOnce`, by who had them.
#[derive(Debug, Default)]
pub(crate) struct Had {
    until: Millis,
    /// Sessions, by subscriptions of their own.
    sessions: BTreeSet<(SessionId, MessageId)>,
    /// Share groups of which this hub is the home: a member has it.
    groups: BTreeSet<(Arc<str>, MessageId)>,
    /// The same: a member that is gone gives it back.
    returning: BTreeSet<(Arc<str>, MessageId)>,
    /// Channels, as the value that they retain, or did.
    values: BTreeSet<MessageId>,
    /// Those that were put off.
    later: BTreeSet<MessageId>,
}

impl Had {
    pub(crate) fn new(now: Millis) -> Self {
        Self { until: Millis(now.0.saturating_add(REMEMBER_MS)), ..Self::default() }
    }

    /// Nothing is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        let has_groups = !self.groups.is_empty() || !self.returning.is_empty();
        self.sessions.is_empty() && !has_groups && self.values.is_empty() && self.later.is_empty()
    }

    pub(crate) fn until(&self) -> Millis {
        self.until
    }

    pub(crate) fn note_session(&mut self, session: SessionId, message: MessageId) {
        self.sessions.insert((session, message));
    }

    /// A session has another name now.
    pub(crate) fn note_renamed(&mut self, from: SessionId, to: SessionId) {
        let all = (from, MessageId(0))..=(from, MessageId(u128::MAX));
        let messages: Vec<MessageId> = self.sessions.range(all).map(|(_, message)| *message).collect();
        self.sessions.extend(messages.into_iter().map(|message| (to, message)));
    }

    pub(crate) fn note_group(&mut self, group: Arc<str>, message: MessageId) {
        self.groups.insert((group, message));
    }

    pub(crate) fn note_returning(&mut self, group: Arc<str>, message: MessageId) {
        self.returning.insert((group, message));
    }

    pub(crate) fn note_value(&mut self, message: MessageId) {
        self.values.insert(message);
    }

    pub(crate) fn note_later(&mut self, message: MessageId) {
        self.later.insert(message);
    }

    pub(crate) fn has_session(&self, session: &SessionId, message: &Message) -> bool {
        counts(message) && self.sessions.contains(&(*session, message.id))
    }

    /// Whether a member of the group has it.
    pub(crate) fn has_member(&self, group: &Arc<str>, message: &Message) -> bool {
        counts(message) && self.groups.contains(&(Arc::clone(group), message.id))
    }

    /// Whether the group has it, or will have it without its being published.
    pub(crate) fn has_group(&self, group: &Arc<str>, message: &Message) -> bool {
        let is_returning = || self.returning.contains(&(Arc::clone(group), message.id));
        counts(message) && (self.has_member(group, message) || is_returning())
    }

    pub(crate) fn has_value(&self, message: &Message) -> bool {
        counts(message) && self.values.contains(&message.id)
    }

    pub(crate) fn has_later(&self, message: MessageId) -> bool {
        self.later.contains(&message)
    }
}

/// Others are not published once more.
fn counts(message: &Message) -> bool {
    message.traits.quality > Quality::AtMostOnce
}
