//! Bindings: what is published on channels that a filter matches is copied into a queue. Owns which copies a message needs, who
//! waits for them, and what follows when they are there, or cannot be. What a copy looks like and which queue it is for is
//! the caller's business.
//!
//! ```text
//!  home of the channel                 caller                  home of the queue
//!    Effect::Copy ---------------------> a message of it -------> taken in
//!    whoever waits hears of it <--------------------------------- Copied, when it is safe
//! ```
//!
//! Whoever is told that a message was taken is told when its copies are safe. Until then its publisher, or the record of
//! its publisher's offer, has it, so that a crash costs no copy, and may make one twice.

use crate::command::Receipt;
use crate::effect::{Effect, Effects};
use crate::filter::filter_matches;
use crate::hub::Hub;
use crate::ids::ChannelName;
use crate::message::{Body, Message};
use crate::queue::{Copied, QueueRefusal, Waiter};
use crate::session::Session;
use smallvec::SmallVec;
use std::sync::Arc;

/// What is published on a filter is copied into a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `+` one level, `#` the rest.
    pub filter: String,
    /// Only messages with an event of one of these names; without any, all messages.
    pub events: Vec<String>,
    /// Whose messages.
    pub publishers: Publishers,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Everybody, the back end included.
    All,
    /// Clients only.
    Clients,
}

/// Which bindings copy a message, by their places, and as a message of which channel. Nearly always none does.
pub(crate) type Copies = SmallVec<[(u32, ChannelName); 1]>;

impl Binding {
    fn concerns(&self, channel: &ChannelName, (event, by): (Option<&str>, Publishers)) -> bool {
        if self.publishers == Publishers::Clients && by == Publishers::All {
            return false;
        }
        let is_named = self.events.is_empty() || self.events.iter().any(|name| Some(name.as_str()) == event);
        is_named && filter_matches(&self.filter, channel.as_str())
    }
}

/// Who has published a message: the back end has neither a session nor a front that waits.
fn publishers(message: &Message, receipt: Option<&Receipt>) -> Publishers {
    let is_client = message.traits.origin.is_some() || matches!(receipt, Some(Receipt::Front { .. }));
    if is_client { Publishers::Clients } else { Publishers::All }
}

/// The user of who publishes, as a message takes it along: only copies say it.
pub(crate) fn publisher(bindings: &[Binding], session: &Session) -> Option<Arc<str>> {
    if bindings.is_empty() { None } else { session.user() }
}

impl Hub {
    /// Binds filters to queues, at first before anything else. A binding is known by its place in the list: between a command
    /// and its effects the list stays.
    pub fn bind(&mut self, bindings: Vec<Binding>) {
        self.bindings = bindings;
    }

    /// Of a message to one channel.
    pub(crate) fn copies_of(&self, message: &Message, receipt: Option<&Receipt>) -> Copies {
        let (channel, what) = (&message.channel, (message.event.as_deref(), publishers(message, receipt)));
        let all = (0..).zip(&self.bindings).filter(|(_, binding)| binding.concerns(channel, what));
        all.map(|(place, _)| (place, channel.clone())).collect()
    }

    /// Of a message to several: each binding copies it once, at the home of the first channel that it matches.
    pub(crate) fn copies_of_union(&self, channels: &[ChannelName], message: &Message) -> Copies {
        let what = (message.event.as_deref(), publishers(message, None));
        let first = |binding: &Binding| {
            let mut named = channels.iter().filter(|channel| channel.session().is_none());
            let first = named.find(|channel| binding.concerns(channel, what))?;
            (first.home(&self.config.topology) == self.config.shard).then(|| first.clone())
        };
        (0..).zip(&self.bindings).filter_map(|(place, binding)| Some((place, first(binding)?))).collect()
    }

    /// Has a message copied; what is watched for waits for all copies.
    pub(crate) fn copy(
        &mut self,
        copies: &Copies,
        message: &Arc<Message>,
        watch: Option<u64>,
        effects: &mut Effects,
    ) {
        let waiter = watch.map_or(Waiter::Nobody, Waiter::Watch);
        for (binding, channel) in copies {
            watch.into_iter().for_each(|watch| self.journal.watch_more(watch));
            let (binding, channel, message) = (*binding, channel.clone(), Arc::clone(message));
            effects.list.push(Effect::Copy { binding, channel, message, waiter });
        }
    }

    /// What became of a copy.
    pub(crate) fn copied(&mut self, copied: Box<Copied>, effects: &mut Effects) {
        match (copied.waiter, copied.result) {
            (Waiter::Watch(watch), result) => {
                // Another one may have a place, or a queue, later; what is too large never fits.
                if matches!(result, Err(QueueRefusal::OverLimit | QueueRefusal::NotFound)) {
                    self.journal.fail_watch(watch);
                }
                self.watched(watch, effects);
            }
            (Waiter::Request { session, request }, Ok(())) => {
                self.answer(&session, request, Body::nothing(), effects);
            }
            (Waiter::Request { .. }, Err(_)) | (Waiter::Nobody, _) => {}
        }
        effects.list.push(Effect::Copied(copied));
    }
}
