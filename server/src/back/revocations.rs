//! Tokens that are revoked: the list that doors look at, and its rows in the store, so that a restart forgets none.
//!
//! Owns the order: the list first, so that nobody comes in any more, then the row. Must not know sessions. Start at
//! [`Revocations::revoke`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{Change, Row, StoreError};

use super::rows::Rows;
use crate::auth::{Revocation, Shared, UnixMs, unix_now};

/// What keys of rows begin with.
const PREFIX: &[u8] = b"revoked/";

/// The revocations of a node; clones share them.
#[derive(Clone)]
pub(crate) struct Revocations {
    gate: Arc<Shared>,
    rows: Rows,
}

/// Why a token is not revoked, or not for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There are as many as there may be.
    Full,
    /// It is, but the store did not take it: the next process does not know.
    NotKept,
}

impl Revocations {
    /// With those of the process before. Reads files.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn open(gate: &Arc<Shared>, rows: Rows) -> Result<Self, StoreError> {
        let now = unix_now();
        for revocation in rows.scan(PREFIX, read)? {
            gate.revoked().add(now, revocation, usize::MAX);
        }
        Ok(Self { gate: Arc::clone(gate), rows })
    }

    /// No token of this id lets anybody in from now on.
    pub(super) async fn revoke(&self, revocation: Revocation, most: usize) -> Result<(), Trouble> {
        let now = unix_now();
        let Revocation { id, until } = revocation.clone();
        if !self.gate.revoked().add(now, revocation, most) {
            return Err(Trouble::Full);
        }
        // One that is over for a millisecond more or less lets nobody in: its token is over, too.
        let ttl = until.map(|until| Duration::from_millis(until.0.saturating_sub(now.0).max(1)));
        let body = until.map_or_else(Bytes::new, |until| Bytes::copy_from_slice(&until.0.to_be_bytes()));
        self.keep(&id, Change::Put { body, ttl }).await
    }

    /// It does again; `false`: it did.
    pub(super) async fn lift(&self, id: &str) -> Result<bool, Trouble> {
        let was_there = self.gate.revoked().lift(unix_now(), id);
        if was_there {
            self.keep(id, Change::Delete).await?;
        }
        Ok(was_there)
    }

    /// One that holds.
    pub(super) fn find(&self, id: &str) -> Option<Revocation> {
        self.gate.revoked().find(unix_now(), id)
    }

    /// Those behind this one, at most so many, and whether there are more.
    pub(super) fn page(&self, after: Option<&str>, limit: usize) -> (Vec<Revocation>, bool) {
        self.gate.revoked().page(unix_now(), after, limit)
    }

    async fn keep(&self, id: &str, change: Change) -> Result<(), Trouble> {
        let begun = self.rows.change_at(Bytes::from([PREFIX, id.as_bytes()].concat()), change);
        self.rows.is_safe(begun).await.then_some(()).ok_or(Trouble::NotKept)
    }
}

fn read(row: &Row) -> Option<Revocation> {
    let id = std::str::from_utf8(row.key.strip_prefix(PREFIX)?).ok()?;
    let until = match row.body.is_empty() {
        true => None,
        false => Some(UnixMs(u64::from_be_bytes(row.body.as_ref().try_into().ok()?))),
    };
    Some(Revocation { id: Arc::from(id), until })
}
