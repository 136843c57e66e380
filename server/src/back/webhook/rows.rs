//! What of each session outlives the process, in the store: so the next one knows whom it has to tell of, and whose state is what.
//!
//! Owns the form of a row. Must not know what is told. Start at [`Rows::put`].

use std::sync::Arc;

use bytes::Bytes;
use hub::SessionId;
use serde::{Deserialize, Serialize};
use store::{Change, StoreError};
use tokio::sync::oneshot;

use super::lives::Life;
use crate::back::rows::Rows;
use crate::config::WebhookProtocol;
use crate::mail::Speaks;

/// Keys begin so: others may keep things of sessions, too.
const PREFIX: &[u8] = b"told/";

/// Whether a session has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Link {
    /// It has.
    Connected,
    /// It may come back.
    Lost,
}

/// A session of an earlier process.
#[derive(Debug)]
pub(super) struct Former {
    pub(super) session: SessionId,
    pub(super) life: Life,
    pub(super) link: Link,
}

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    speaks: KeptSpeaks<'a>,
    user: Option<&'a str>,
    state: Option<&'a str>,
    generation: u32,
    link: Link,
}

#[derive(Serialize, Deserialize)]
enum KeptSpeaks<'a> {
    SocketIo { namespace: &'a str },
    Mqtt { client_id: &'a str },
    Stream { protocol: &'a str },
}

impl Rows {
    /// Keeps what is known of a session; `false` if it is not safe. Without a store there is nothing to keep.
    pub(super) async fn put(&self, session: SessionId, life: &Life, link: Link) -> bool {
        self.is_safe(self.begin_put(session, life, link)).await
    }

    /// The same without waiting until it is safe.
    pub(super) fn put_quietly(&self, session: SessionId, life: &Life, link: Link) {
        drop(self.begin_put(session, life, link));
    }

    /// A session is gone.
    pub(super) fn forget(&self, session: SessionId) {
        drop(self.change(session, Change::Delete));
    }

    /// Every session that the process before knew, or as many as can be read. Reads files.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn former(&self) -> Result<Vec<Former>, StoreError> {
        self.scan(PREFIX, |row| former(&row.key, &row.body))
    }

    fn begin_put(&self, session: SessionId, life: &Life, link: Link) -> Option<oneshot::Receiver<bool>> {
        let kept = Kept {
            speaks: match &life.speaks {
                Speaks::SocketIo(namespace) => KeptSpeaks::SocketIo { namespace },
                Speaks::Mqtt(client_id) => KeptSpeaks::Mqtt { client_id },
                Speaks::Stream(protocol) => KeptSpeaks::Stream { protocol },
            },
            user: life.user.as_deref(),
            state: life.state.as_deref(),
            generation: life.generation,
            link,
        };
        let body = postcard::to_allocvec(&kept).ok()?;
        self.change(session, Change::Put { body: body.into(), ttl: None })
    }

    fn change(&self, session: SessionId, change: Change) -> Option<oneshot::Receiver<bool>> {
        self.change_at(Bytes::from([PREFIX, &session.0].concat()), change)
    }
}

fn former(key: &[u8], body: &[u8]) -> Option<Former> {
    let session = SessionId(key.strip_prefix(PREFIX)?.try_into().ok()?);
    let Kept { speaks, user, state, generation, link } = postcard::from_bytes(body).ok()?;
    let speaks = match speaks {
        KeptSpeaks::SocketIo { namespace } => Speaks::SocketIo(namespace.into()),
        KeptSpeaks::Mqtt { client_id } => Speaks::Mqtt(client_id.into()),
        KeptSpeaks::Stream { protocol } => Speaks::Stream(WebhookProtocol::of_stream(protocol)?.as_str()),
    };
    let (user, state) = (user.map(Arc::from), state.map(Arc::from));
    let life = Life { user, state, generation, is_admitted: true, ..Life::new(speaks) };
    Some(Former { session, life, link })
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::memory::{Memory, MemoryLimits};
    use store::{Tab, Table};

    #[tokio::test]
    async fn the_next_process_knows_the_sessions_that_were_not_forgotten() {
        let table: Arc<dyn Table> =
            Arc::new(Memory::new(1, MemoryLimits::default(), Arc::new(store::WallClock)));
        let rows = Rows::new(Tab::Sessions, Some(Arc::downgrade(&table)));
        let (one, two) = (SessionId([1; 15]), SessionId([2; 15]));
        let life = Life {
            user: Some("ada".into()),
            state: Some("s".into()),
            ..Life::new(Speaks::SocketIo("/chat".into()))
        };
        assert!(rows.put(one, &life, Link::Connected).await);
        assert!(rows.put(two, &life, Link::Connected).await);
        assert!(rows.put(two, &life, Link::Lost).await);
        let found = rows.former().unwrap();
        let links: Vec<_> = found.iter().map(|former| (former.session, former.link)).collect();
        assert_eq!(links, [(one, Link::Connected), (two, Link::Lost)]);
        assert_eq!((found[0].life.user.as_deref(), found[0].life.state.as_deref()), (Some("ada"), Some("s")));
        rows.forget(one);
        rows.forget(two);
        assert!(rows.put(one, &life, Link::Lost).await, "changes are done in their order");
        assert_eq!(rows.former().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn without_a_store_there_is_nothing_to_keep() {
        let rows = Rows::new(Tab::Sessions, None);
        assert!(
            rows.put(SessionId([1; 15]), &Life::new(Speaks::SocketIo("/".into())), Link::Connected).await
        );
        assert!(rows.former().unwrap().is_empty());
    }
}
