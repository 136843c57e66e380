//! The namespaces that clients are in: those of the configuration, and those that its patterns made.
//!
//! Owns their channels and counts. Must not know clients. Start at [`Namespaces::enter`].

use std::collections::HashMap;
use std::sync::Arc;

use hub::ChannelName;
use slab::Slab;

use super::rooms;
use crate::config::{Config, EventRoute, RecoveryMode};

/// Index of a namespace on this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NamespaceKey(u32);

/// A namespace somebody is in, or asks to be in.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: Arc<str>,
    /// Where a broadcast to the whole namespace is published.
    pub(super) channel: ChannelName,
    pub(super) events: EventRoute,
    /// Where events go that are routed into one.
    pub(super) queue: Option<Arc<str>>,
    pub(super) recovery: RecoveryMode,
    /// Sockets, and sessions that wait to be resumed.
    users: u32,
}

/// All of them. One without users is forgotten, whether a name or a pattern made it: it costs one look-up of the
/// configuration to come again.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    all: Slab<Namespace>,
    by_name: HashMap<Arc<str>, NamespaceKey>,
}

impl Namespaces {
    /// Adds a user to a namespace. `None`: the configuration has no such namespace, or its name cannot be a channel.
    /// Every key that is handed out is given back by [`Self::leave`].
    pub(super) fn enter(&mut self, name: &str, config: &Config) -> Option<NamespaceKey> {
        if let Some(&key) = self.by_name.get(name) {
            self.entry(key).users += 1;
            return Some(key);
        }
        let rule = config.namespace(name)?;
        let channel = rooms::namespace_channel(name, config.socketio.root_channel.as_str())?;
        let channel = ChannelName::parse(&channel, config.limits.channel_name_bytes_max).ok()?;
        let name: Arc<str> = Arc::from(name);
        let namespace = Namespace {
            name: Arc::clone(&name),
            channel,
            events: rule.events,
            queue: rule.queue.as_ref().map(|queue| Arc::from(queue.as_str())),
            recovery: rule.recovery,
            users: 1,
        };
        let key =
            NamespaceKey(u32::try_from(self.all.insert(namespace)).expect("fewer namespaces than sockets"));
        self.by_name.insert(name, key);
        Some(key)
    }

    /// A user left.
    pub(super) fn leave(&mut self, key: NamespaceKey) {
        let namespace = self.entry(key);
        namespace.users -= 1;
        if namespace.users == 0 {
            let namespace = self.all.remove(key.0 as usize);
            self.by_name.remove(&namespace.name);
        }
    }

    /// A namespace with users.
    pub(super) fn known(&self, key: NamespaceKey) -> &Namespace {
        self.all.get(key.0 as usize).expect("a namespace lives as long as it has users")
    }

    fn entry(&mut self, key: NamespaceKey) -> &mut Namespace {
        self.all.get_mut(key.0 as usize).expect("a namespace lives as long as it has users")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_lives_as_long_as_its_users() {
        let config = Config::loopback();
        let mut namespaces = Namespaces::default();
        let key = namespaces.enter("/", &config).unwrap();
        assert_eq!(namespaces.enter("/", &config), Some(key));
        assert_eq!(namespaces.known(key).channel.as_str(), "main");
        assert_eq!(namespaces.enter("/random", &config), None);
        namespaces.leave(key);
        namespaces.leave(key);
        assert!(namespaces.all.is_empty() && namespaces.by_name.is_empty());
    }
}
