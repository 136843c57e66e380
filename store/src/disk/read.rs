//! Reading, beside the writer: a few connections that see whole commits, each read in one short transaction, so that the
//! write-ahead log can be emptied. Everything that is given is proven first.

use std::path::Path;
use std::sync::{Condvar, Mutex};

use hub::Partition;
use rusqlite::{Connection, OptionalExtension as _, Statement, ToSql, params};

use super::error::unread;
use super::format::{self, Tail};
use super::group::snapshot_sum;
use super::record::{self, Block, COLUMNS, Kept, Key, OFFSET_MAX, expiry};
use super::tally::Tally;
use super::{DiskOptions, OpenError, Shared};
use crate::{Entity, Max, Page, Position, Record, Snapshot, StoreError};

/// Connections for reading, used by one read at a time each.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    back: Condvar,
}

/// A connection that goes back by itself.
struct Lease<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Readers {
    pub(super) fn open(path: &Path, options: &DiskOptions) -> Result<Self, OpenError> {
        let cache_bytes = options.cache_bytes / 8;
        let open = |_| format::open_to_read(path, cache_bytes);
        let idle: Vec<Connection> = (0..options.readers.max(1)).map(open).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(idle), back: Condvar::new() })
    }

    fn lease(&self) -> Lease<'_> {
        let idle = self.idle.lock().expect("no holder of this lock panics");
        let waited = self.back.wait_while(idle, |idle| idle.is_empty());
        let connection = waited.expect("no holder of this lock panics").pop();
        Lease { readers: self, connection }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.readers.idle.lock().expect("no holder of this lock panics").extend(self.connection.take());
        self.readers.back.notify_one();
    }
}

/// What one read sees: the store as it was when it began.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) epoch: u64,
    pub(super) now: i64,
}

impl Shared {
    /// Reads in one transaction.
    pub(super) fn reading<T>(
        &self,
        read: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let lease = self.readers.lease();
        let connection = lease.connection.as_ref().expect("it goes back when the lease ends");
        let begun = connection.unchecked_transaction();
        let transaction = begun.map_err(|error| unread(&error, "the beginning of a read"))?;
        let now = expiry(self.clock.now());
        read(&Reader { connection: &transaction, epoch: self.epoch, now })
    }

    /// Reads several things in one transaction, each with an answer of its own.
    pub(super) fn reading_each<A, T>(
        &self,
        asked: &[A],
        read: impl Fn(&Reader<'_>, &A) -> Result<T, StoreError>,
    ) -> Vec<Result<T, StoreError>> {
        let answers = self.reading(|reader| Ok(asked.iter().map(|one| read(reader, one)).collect()));
        answers.unwrap_or_else(|error| asked.iter().map(|_| Err(error.clone())).collect())
    }
}

/// The records of a page as it grows.
struct Growing {
    page: Page,
    max: Max,
    bytes: usize,
}

impl Growing {
    /// `false` when the record is left for the next page.
    fn takes(&mut self, record: Record) -> bool {
        self.bytes += record.body.len();
        let is_full = self.page.records.len() >= self.max.records || self.bytes > self.max.bytes;
        if is_full && let Some(last) = self.page.records.last() {
            self.page.next = Some(last.position);
            return false;
        }
        self.page.records.push(record);
        true
    }
}

impl Reader<'_> {
    pub(super) fn replay(
        &self,
        partition: Partition,
        after: Option<Position>,
        max: Max,
    ) -> Result<Page, StoreError> {
        let tail = self.tail(partition)?;
        let included = self.snapshot_end(partition)?;
        let start = self.start(after, included, tail.newest)?.max(included);
        let entered = Key::at(partition, start + 1).block();
        let first = match after {
            Some(after) if after.offset > 0 => Key::at(partition, start).block().next(),
            // Nobody has seen an earlier page.
            _ => entered,
        };
        let snapshot = if after.is_none() { self.snapshot(partition)? } else { None };
        let page = self.walk(partition, start, first, max)?;
        Ok(Page { snapshot, ..page })
    }

    /// The records behind an offset. A block is proven as a whole by the page that enters it, from the first one on that
    /// is to be proven.
    pub(super) fn walk(
        &self,
        partition: Partition,
        start: u64,
        first: Block,
        max: Max,
    ) -> Result<Page, StoreError> {
        let tail = self.tail(partition)?;
        let mut growing = self.page(tail, max);
        let mut tally = Tally::from(first);
        tally.add_before(self, Key::at(partition, start + 1))?;
        let range = params![Key::at(partition, start + 1).0, Key::at(partition, OFFSET_MAX).0];
        let place = format!("partition {}, behind offset {start}", partition.0);
        let lost = |error: rusqlite::Error| unread(&error, &place);
        let sql = format!("SELECT {COLUMNS} FROM records WHERE key BETWEEN ?1 AND ?2 ORDER BY key");
        let mut statement = self.prepare(&sql)?;
        let mut rows = statement.query(range).map_err(lost)?;
        let mut is_full = false;
        while let Some(row) = rows.next().map_err(lost)? {
            let key = record::key(row)?;
            if is_full && !tally.is_in_its_last_block(key) {
                break;
            }
            tally.add(key);
            if !is_full {
                let kept = record::decode(row)?;
                is_full = kept.is_live(self.now) && !growing.takes(kept.record(self.epoch));
            }
        }
        let end = if is_full { tally.end() } else { Key::at(partition, tail.newest) };
        tally.prove(self, end)?;
        Ok(growing.page)
    }

    pub(super) fn fetch(&self, partition: Partition, offset: u64) -> Result<Option<Record>, StoreError> {
        let Some(key) = Key::new(partition, offset) else { return Ok(None) };
        let sql = "SELECT key, id, entity, expires, sum, body FROM records WHERE key = ?1";
        let kept = self.one(sql, params![key.0], || key.place())?;
        Ok(kept.filter(|kept| kept.is_live(self.now)).map(|kept| kept.record(self.epoch)))
    }

    pub(super) fn read(
        &self,
        entity: &Entity,
        after: Option<Position>,
        max: Max,
    ) -> Result<Page, StoreError> {
        let partition = entity.partition;
        let tail = self.tail(partition)?;
        let start = self.start(after, self.gone(entity, tail)?, tail.newest)?;
        let mut growing = self.page(tail, max);
        let sql =
            format!("SELECT {COLUMNS} FROM records WHERE entity = ?1 AND key BETWEEN ?2 AND ?3 ORDER BY key");
        let range = [Key::at(partition, start + 1).0, Key::at(partition, OFFSET_MAX).0];
        let place = format!("partition {}, an entity behind offset {start}", partition.0);
        let lost = |error: rusqlite::Error| unread(&error, &place);
        let mut statement = self.prepare(&sql)?;
        let mut rows = statement.query(params![name(entity), range[0], range[1]]).map_err(lost)?;
        while let Some(row) = rows.next().map_err(lost)? {
            let kept = record::decode(row)?;
            if kept.is_live(self.now) && !growing.takes(kept.record(self.epoch)) {
                break;
            }
        }
        Ok(growing.page)
    }

    pub(super) fn last(&self, entity: &Entity) -> Result<Option<Record>, StoreError> {
        let sql = "SELECT key, id, entity, expires, sum, body FROM records INDEXED BY records_entity WHERE entity = ?1 AND key BETWEEN ?2 AND ?3 \
                   AND (expires IS NULL OR expires > ?4) ORDER BY key DESC LIMIT 1";
        let [first, last] = keys(entity.partition);
        let place = || format!("partition {}, the newest of an entity", entity.partition.0);
        let kept = self.one(sql, params![name(entity), first, last, self.now], place)?;
        Ok(kept.map(|kept| kept.record(self.epoch)))
    }

    /// Newest offset of an entity that was trimmed or has expired.
    fn gone(&self, entity: &Entity, tail: Tail) -> Result<u64, StoreError> {
        let [first, last] = keys(entity.partition);
        let name = name(entity);
        let sql = "SELECT max(key) FROM records INDEXED BY records_expires \
                   WHERE entity = ?1 AND expires <= ?2 AND key BETWEEN ?3 AND ?4";
        let expired = self.number(sql, params![name, self.now, first, last])?;
        let expired = expired.map_or(0, |key| Key(key).offset());
        let sql = "SELECT upto FROM gaps WHERE partition = ?1 AND entity = ?2";
        let trimmed = self.number(sql, params![entity.partition.0, name])?.map(i64::cast_unsigned);
        let sql = "SELECT min(key) FROM records INDEXED BY records_entity WHERE entity = ?1 AND key BETWEEN ?2 AND ?3";
        let oldest = self.number(sql, params![name, first, last])?.map(|key| Key(key).offset());
        // What the partition remembers of entities that have gone is about this one only if it has nothing before.
        let dropped = oldest.map_or(tail.dropped, |oldest| tail.dropped.min(oldest - 1));
        Ok(trimmed.unwrap_or(dropped).max(expired))
    }

    /// Where reading starts: behind `after`, when nothing between it and `gone` can have been lost.
    fn start(&self, after: Option<Position>, gone: u64, newest: u64) -> Result<u64, StoreError> {
        match after {
            None => Ok(0),
            Some(after) if after.epoch == self.epoch && (gone..=newest).contains(&after.offset) => {
                Ok(after.offset)
            }
            Some(_) => Err(StoreError::Trimmed { upto: self.position(gone) }),
        }
    }

    fn page(&self, tail: Tail, max: Max) -> Growing {
        let page = Page { snapshot: None, records: Vec::new(), next: None, end: self.position(tail.newest) };
        Growing { page, max, bytes: 0 }
    }

    fn position(&self, offset: u64) -> Position {
        Position { epoch: self.epoch, offset }
    }

    fn tail(&self, partition: Partition) -> Result<Tail, StoreError> {
        Ok(Tail::read(self.connection, partition)?.unwrap_or_default())
    }

    /// The last offset a snapshot includes, without reading its state.
    fn snapshot_end(&self, partition: Partition) -> Result<u64, StoreError> {
        let upto = self.number("SELECT upto FROM snapshots WHERE partition = ?1", params![partition.0])?;
        Ok(upto.map_or(0, i64::cast_unsigned))
    }

    pub(super) fn snapshot(&self, partition: Partition) -> Result<Option<Snapshot>, StoreError> {
        let place = format!("the snapshot of partition {}", partition.0);
        let sql = "SELECT upto, sum, state FROM snapshots WHERE partition = ?1";
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let found = self.prepare(sql)?.query_row([partition.0], columns).optional();
        let found: Option<(i64, i64, Vec<u8>)> = found.map_err(|error| unread(&error, &place))?;
        let Some((upto, sum, state)) = found else { return Ok(None) };
        let upto = upto.cast_unsigned();
        if sum != i64::from(snapshot_sum(partition, upto, &state)) {
            return Err(StoreError::Damaged(format!("{place}: its sum does not match").into()));
        }
        Ok(Some(Snapshot { upto: self.position(upto), state: state.into() }))
    }

    pub(super) fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>, StoreError> {
        self.connection.prepare_cached(sql).map_err(|error| unread(&error, "the tables"))
    }

    fn one(
        &self,
        sql: &str,
        asked: &[&dyn ToSql],
        place: impl Fn() -> String,
    ) -> Result<Option<Kept>, StoreError> {
        let lost = |error: rusqlite::Error| unread(&error, &place());
        let mut statement = self.prepare(sql)?;
        let statement: &mut Statement<'_> = &mut statement;
        let mut rows = statement.query(asked).map_err(lost)?;
        rows.next().map_err(lost)?.map(record::decode).transpose()
    }

    fn number(&self, sql: &str, asked: &[&dyn ToSql]) -> Result<Option<i64>, StoreError> {
        let found = self.prepare(sql)?.query_row(asked, |row| row.get(0)).optional();
        found.map(Option::flatten).map_err(|error| unread(&error, "the bookkeeping of a partition"))
    }
}

/// An empty name belongs to nobody, and so finds nothing.
fn name(entity: &Entity) -> Option<&[u8]> {
    Some(entity.name.as_ref()).filter(|name| !name.is_empty())
}

fn keys(partition: Partition) -> [i64; 2] {
    [Key::at(partition, 0).0, Key::at(partition, OFFSET_MAX).0]
}
