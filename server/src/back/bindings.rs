//! Bindings that were made while the server runs: where they are kept, and that every shard has the same.
//!
//! Owns the list. A change is kept first, then every shard is told, then whoever asked; so what is published after the answer is
//! copied. Must not know HTTP. Start at [`Bindings`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use store::{Change, Row, StoreError, Tab, Table};
use tokio::sync::{Mutex, MutexGuard, oneshot};

use super::office::{Office, OfficeError};
use super::rows::Rows;
use crate::config::BindingGroup;
use crate::mail::{Bound, Mail};

/// Bindings of a node, with those of its configuration.
pub(crate) const BINDINGS_MAX: usize = crate::config::BINDINGS_MAX;

/// Keys begin so; what else is kept of queues has other ones.
const PREFIX: &[u8] = b"binding/";

/// How long a shard may take to take a list.
const TOLD_WAIT: Duration = Duration::from_secs(10);

/// All of them; clones share them.
#[derive(Clone)]
pub(crate) struct Bindings(Arc<Inner>);

struct Inner {
    office: Office,
    /// By name.
    list: Mutex<Arc<[Bound]>>,
    rows: Rows,
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindingTrouble {
    /// There are as many as may be.
    #[error("there are as many bindings as may be")]
    Full,
    /// It is not safe.
    #[error("the store did not take it")]
    Store,
    /// A shard did not say that it has it; it may have.
    #[error("{0}")]
    Office(#[from] OfficeError),
}

#[derive(Serialize, Deserialize)]
struct Kept {
    filter: String,
    queue: String,
    events: Vec<String>,
    group: u8,
}

/// Those that were kept, sorted by name. Reads files.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn kept(table: Weak<dyn Table>) -> Result<Arc<[Bound]>, StoreError> {
    Rows::new(Tab::Queues, Some(table)).scan(PREFIX, bound).map(Arc::from)
}

fn bound(row: &Row) -> Option<Bound> {
    let name = str::from_utf8(row.key.strip_prefix(PREFIX)?).ok()?.to_owned();
    let Kept { filter, queue, events, group } = postcard::from_bytes(&row.body).ok()?;
    let group = match group {
        0 => BindingGroup::Channel,
        1 => BindingGroup::Session,
        _ => BindingGroup::User,
    };
    Some(Bound { name, filter, queue, events, group })
}

impl Bindings {
    /// Those that all shards have.
    pub(crate) fn new(office: Office, list: Arc<[Bound]>, table: Option<Weak<dyn Table>>) -> Self {
        let rows = Rows::new(Tab::Queues, table);
        Self(Arc::new(Inner { office, list: Mutex::new(list), rows }))
    }

    /// As they are.
    pub(crate) async fn list(&self) -> Arc<[Bound]> {
        Arc::clone(&*self.0.list.lock().await)
    }

    /// Makes one, in the place of that of its name; `declared` are those of the configuration. Safe, and everywhere, when it
    /// returns.
    ///
    /// # Errors
    /// [`BindingTrouble`].
    pub(crate) async fn put(&self, new: Bound, declared: usize) -> Result<(), BindingTrouble> {
        let mut list = self.0.list.lock().await;
        let others = list.iter().filter(|known| known.name != new.name);
        let mut changed: Vec<Bound> = others.cloned().collect();
        if changed.len() + declared >= BINDINGS_MAX {
            return Err(BindingTrouble::Full);
        }
        let kept = Kept {
            filter: new.filter.clone(),
            queue: new.queue.clone(),
            events: new.events.clone(),
            group: match new.group {
                BindingGroup::Channel => 0,
                BindingGroup::Session => 1,
                BindingGroup::User => 2,
            },
        };
        let body = postcard::to_allocvec(&kept).map_err(|_| BindingTrouble::Store)?;
        self.keep(&new.name, Change::Put { body: body.into(), ttl: None }).await?;
        changed.push(new);
        self.tell(&mut list, changed).await
    }

    /// Ends one; `false`: there is none of that name.
    ///
    /// # Errors
    /// [`BindingTrouble`].
    pub(crate) async fn remove(&self, name: &str) -> Result<bool, BindingTrouble> {
        let mut list = self.0.list.lock().await;
        if !list.iter().any(|known| known.name == name) {
            return Ok(false);
        }
        self.keep(name, Change::Delete).await?;
        let left = list.iter().filter(|known| known.name != name).cloned().collect();
        self.tell(&mut list, left).await?;
        Ok(true)
    }

    async fn keep(&self, name: &str, change: Change) -> Result<(), BindingTrouble> {
        let rows = &self.0.rows;
        let begun = rows.change_at(Bytes::from([PREFIX, name.as_bytes()].concat()), change);
        if rows.is_safe(begun).await { Ok(()) } else { Err(BindingTrouble::Store) }
    }

    /// What is kept is so, also where a shard has not heard of it yet: the next change tells it again.
    async fn tell(
        &self,
        list: &mut MutexGuard<'_, Arc<[Bound]>>,
        mut changed: Vec<Bound>,
    ) -> Result<(), BindingTrouble> {
        changed.sort_by(|one, other| one.name.cmp(&other.name));
        **list = changed.into();
        let mut waiting = Vec::new();
        for shard in self.0.office.shards() {
            let (reply, told) = oneshot::channel();
            self.0.office.tell(shard, Mail::Bind { bound: Arc::clone(&**list), reply }).await?;
            waiting.push(told);
        }
        for told in waiting {
            let told = tokio::time::timeout(TOLD_WAIT, told).await;
            told.ok().and_then(Result::ok).ok_or(OfficeError::Unanswered)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::back::OfficePorts;
    use store::memory::{Memory, MemoryLimits};

    fn named(name: &str, group: BindingGroup) -> Bound {
        let (filter, queue) = ("orders/#".to_owned(), "orders".to_owned());
        Bound { name: name.to_owned(), filter, queue, events: vec!["placed".to_owned()], group }
    }

    #[tokio::test]
    async fn the_next_process_has_the_bindings_that_were_not_removed() {
        let table: Arc<dyn Table> =
            Arc::new(Memory::new(1, MemoryLimits::default(), Arc::new(store::WallClock)));
        let topology = hub::Topology { shards: 1, partitions: 64 };
        let (_keep, reports) = tokio::sync::mpsc::unbounded_channel();
        // Without shards there is nobody to tell.
        let office = Office::start(OfficePorts { shards: Vec::new(), topology, reports });
        let bindings = Bindings::new(office, Arc::default(), Some(Arc::downgrade(&table)));
        for group in [BindingGroup::User, BindingGroup::Session] {
            assert!(matches!(bindings.put(named("b", group), 0).await, Err(BindingTrouble::Office(_))));
        }
        let _ = bindings.put(named("a", BindingGroup::Channel), 0).await;
        assert_eq!(bindings.list().await, kept(Arc::downgrade(&table)).unwrap());
        assert_eq!(kept(Arc::downgrade(&table)).unwrap()[1], named("b", BindingGroup::Session));
        let _ = bindings.remove("b").await;
        assert_eq!(kept(Arc::downgrade(&table)).unwrap().len(), 1);
        assert!(!bindings.remove("b").await.unwrap());
        let full = bindings.put(named("c", BindingGroup::Channel), BINDINGS_MAX - 1).await;
        assert!(matches!(full, Err(BindingTrouble::Full)));
    }
}
