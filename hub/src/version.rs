//! Versions that the back end gives to what it publishes: what is not newer than the last of its channel, and of its key if it has
//! one, is refused. Owns the last versions, at the homes of channels. Must not know what is published. Start at
//! [`Hub::publish_newer`].
//!
//! They are in memory alone: a back end that publishes out of order does so within moments, and not across restarts.

use crate::command::{Publish, Target};
use crate::effect::{Effects, Refusal};
use crate::hub::Hub;
use crate::ids::{ChannelName, Millis};
use crate::limits::{VERSION_MS_KEPT, VERSIONS_MAX};
use std::collections::HashMap;
use std::sync::Arc;

/// A channel, or one key of it.
type About = (ChannelName, Option<Arc<str>>);

/// The last version of each.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    last: HashMap<About, Version>,
    /// When old ones were looked for.
    swept: Millis,
}

#[derive(Debug)]
struct Version {
    number: u64,
    at: Millis,
}

impl Versions {
    /// Whether this one is newer; a place for it, if it is the first.
    fn check(&mut self, about: &About, number: u64, now: Millis) -> Result<(), Refusal> {
        let is_known = |version: &&Version| version.at.0.saturating_add(VERSION_MS_KEPT) > now.0;
        match self.last.get(about).filter(is_known) {
            Some(last) if number <= last.number => return Err(Refusal::Outdated),
            Some(_) => return Ok(()),
            None => {}
        }
        // Not more often than once a minute: it looks at all of them.
        if self.last.len() >= VERSIONS_MAX && self.swept.0.saturating_add(60_000) <= now.0 {
            self.swept = now;
            self.last.retain(|_, version| is_known(&&*version));
        }
        if self.last.len() >= VERSIONS_MAX { Err(Refusal::OverLimit) } else { Ok(()) }
    }
}

impl Hub {
    /// Publishes to a channel whose home this is, unless a version that is not older was published.
    pub(crate) fn publish_newer(&mut self, number: u64, mut publish: Publish, effects: &mut Effects) {
        let target = std::mem::replace(&mut publish.target, Target::Union(Vec::new()));
        let Target::Channel(channel) = target else {
            publish.target = target;
            return self.publish(publish, effects);
        };
        let about = (channel.clone(), publish.traits.key.clone());
        if let Err(refusal) = self.versions.check(&about, number, self.now) {
            if let Some(token) = publish.token {
                effects.refuse(token, refusal);
            }
            return;
        }
        // What is refused may be tried again.
        if self.publish_to_channel(channel, publish, effects) {
            self.versions.last.insert(about, Version { number, at: self.now });
        }
    }
}
