//! Tables in memory: one sorted map per table, revisions from one counter.

use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, MutexGuard};

use super::{Memory, OVERHEAD_BYTES};
use crate::{
    Change, Completion, Done, Expect, Rev, Row, RowChange, RowOp, StoreError, Tab, Table, Timestamp, Watcher,
};

#[derive(Default)]
pub(super) struct Tables {
    bytes: usize,
    newest: u64,
    rows: BTreeMap<(Tab, Bytes), Kept>,
    /// What expires when, so that expiry touches nothing else.
    expiries: BTreeMap<(Timestamp, u64), (Tab, Bytes)>,
    watchers: HashMap<Tab, Vec<Arc<dyn Watcher>>>,
}

struct Kept {
    body: Bytes,
    rev: Rev,
    expires: Option<Timestamp>,
}

/// Changes to tell once the lock is released.
type News = Vec<(Arc<dyn Watcher>, RowChange)>;

fn cost(key: &Bytes, body: &Bytes) -> usize {
    key.len() + body.len() + OVERHEAD_BYTES
}

impl Tables {
    fn row(&self, tab: Tab, key: &Bytes) -> Option<Row> {
        let kept = self.rows.get(&(tab, key.clone()))?;
        Some(Row { key: key.clone(), body: kept.body.clone(), rev: kept.rev })
    }

    fn remove(&mut self, tab: Tab, key: &Bytes) {
        if let Some(kept) = self.rows.remove(&(tab, key.clone())) {
            self.bytes -= cost(key, &kept.body);
            if let Some(expires) = kept.expires {
                self.expiries.remove(&(expires, kept.rev.0));
            }
        }
    }

    fn expire(&mut self, now: Timestamp, news: &mut News) {
        while let Some(entry) = self.expiries.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (tab, key) = entry.remove();
            self.remove(tab, &key);
            self.tell(tab, &key, news);
        }
    }

    fn change(&mut self, op: RowOp, bounds: &Bounds, news: &mut News) -> Result<Rev, StoreError> {
        let stands = self.row(op.tab, &op.key);
        let rev = stands.as_ref().map(|row| row.rev);
        let holds = match op.expect {
            Expect::Any => true,
            Expect::Absent => rev.is_none(),
            Expect::Rev(expected) => rev == Some(expected),
        };
        if !holds {
            return Err(StoreError::Conflict(rev));
        }
        if let Change::Put { body, .. } = &op.change {
            self.fits(&op.key, body, stands.as_ref(), bounds)?;
        }
        self.newest += 1;
        let rev = Rev(self.newest);
        self.remove(op.tab, &op.key);
        match op.change {
            Change::Put { body, ttl } => {
                self.bytes += cost(&op.key, &body);
                let expires = ttl.map(|ttl| bounds.now.after(ttl));
                if let Some(expires) = expires {
                    self.expiries.insert((expires, rev.0), (op.tab, op.key.clone()));
                }
                self.rows.insert((op.tab, op.key.clone()), Kept { body, rev, expires });
                self.tell(op.tab, &op.key, news);
            }
            Change::Delete if stands.is_some() => self.tell(op.tab, &op.key, news),
            Change::Delete => {}
        }
        Ok(rev)
    }

    fn fits(
        &self,
        key: &Bytes,
        body: &Bytes,
        stands: Option<&Row>,
        bounds: &Bounds,
    ) -> Result<(), StoreError> {
        if body.len() > bounds.record_bytes_max {
            return Err(StoreError::TooLarge { bytes_max: bounds.record_bytes_max });
        }
        let freed = stands.map_or(0, |row| cost(key, &row.body));
        if self.bytes - freed + cost(key, body) > bounds.table_bytes_max {
            return Err(StoreError::Full);
        }
        Ok(())
    }

    fn tell(&self, tab: Tab, key: &Bytes, news: &mut News) {
        for watcher in self.watchers.get(&tab).into_iter().flatten() {
            news.push((watcher.clone(), RowChange { key: key.clone(), row: self.row(tab, key) }));
        }
    }
}

struct Bounds {
    now: Timestamp,
    record_bytes_max: usize,
    table_bytes_max: usize,
}

impl Memory {
    /// Drops records and rows whose time is over and tells the watchers of the rows. Reads and writes do the same first;
    /// the owner calls it when nothing else happens.
    pub fn expire(&self) {
        drop(self.logs());
        drop(self.tables());
    }

    /// Watchers are told under the lock: it is what keeps the changes of a row in order, and they must not block.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        let mut tables = self.tables.lock().expect("no holder of this lock panics");
        let mut news = News::new();
        tables.expire(self.clock.now(), &mut news);
        spread(news);
        tables
    }
}

fn spread(news: News) {
    for (watcher, change) in news {
        watcher.changed(change);
    }
}

impl Table for Memory {
    fn rows(&self, tab: Tab, keys: &[Bytes]) -> Vec<Result<Option<Row>, StoreError>> {
        let tables = self.tables();
        keys.iter().map(|key| Ok(tables.row(tab, key))).collect()
    }

    fn change(&self, ops: Vec<RowOp>, done: Done) {
        let bounds = Bounds {
            now: self.clock.now(),
            record_bytes_max: self.limits.record_bytes_max,
            table_bytes_max: self.limits.table_bytes_max,
        };
        let mut tables = self.tables();
        let mut news = News::new();
        let results = ops.into_iter().map(|op| tables.change(op, &bounds, &mut news)).collect();
        spread(news);
        drop(tables);
        done.complete(Completion::Changed(results));
    }

    fn scan(
        &self,
        tab: Tab,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let tables = self.tables();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded((tab, Bytes::copy_from_slice(after))),
            _ => Bound::Included((tab, Bytes::copy_from_slice(prefix))),
        };
        let rows = tables.rows.range((start, Bound::Unbounded));
        let inside = rows.take_while(|((of, key), _)| *of == tab && key.starts_with(prefix));
        let row = |((_, key), kept): (&(Tab, Bytes), &Kept)| Row {
            key: key.clone(),
            body: kept.body.clone(),
            rev: kept.rev,
        };
        Ok(inside.take(max).map(row).collect())
    }

    fn watch(&self, tab: Tab, watcher: Arc<dyn Watcher>) {
        self.tables().watchers.entry(tab).or_default().push(watcher);
    }
}
