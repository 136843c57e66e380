//! Rows of tables: how they are changed in a transaction, and how they are read. Knows nothing of logs.

use bytes::Bytes;
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{OptionalExtension as _, Row as Found, params};

use super::error::unread;
use super::format::CellCount;
use super::group::{Decided, Group};
use super::loss::Left;
use super::read::Reader;
use super::record::{Key, expiry, summed};
use crate::{Change, Expect, Rev, Row, RowChange, RowOp, StoreError, Tab};

/// Rows whose time is over that go in one transaction; others wait for the next.
const EXPIRED_MAX: usize = 1_024;

/// Columns of [`decode`].
const COLUMNS: &str = "key, revision, expires, sum, body";

/// Fixed for ever: they stand in files.
fn number(tab: Tab) -> i64 {
    match tab {
        Tab::Sessions => 1,
        Tab::Subscriptions => 2,
        Tab::Queues => 3,
        Tab::Leases => 4,
    }
}

fn tab(number: i64) -> Option<Tab> {
    [Tab::Sessions, Tab::Subscriptions, Tab::Queues, Tab::Leases]
        .into_iter()
        .find(|tab| self::number(*tab) == number)
}

/// A row as far as a change of it needs to know.
struct Standing {
    revision: i64,
    expires: Option<i64>,
}

impl Group<'_> {
    pub(super) fn change(&mut self, ops: &[RowOp]) -> rusqlite::Result<Vec<Result<Rev, StoreError>>> {
        ops.iter().map(|op| self.operation(op)).collect()
    }

    fn operation(&mut self, op: &RowOp) -> Decided<Rev> {
        let standing = self.standing(op)?;
        let now = expiry(self.circumstances.now);
        let live = standing.as_ref().filter(|row| row.expires.is_none_or(|expires| now < expires));
        let rev = live.map(|row| Rev(row.revision.cast_unsigned()));
        let holds = match op.expect {
            Expect::Any => true,
            Expect::Absent => rev.is_none(),
            Expect::Rev(expected) => rev == Some(expected),
        };
        if !holds {
            return Ok(Err(StoreError::Conflict(rev)));
        }
        match &op.change {
            Change::Put { body, .. } if body.len() > self.circumstances.record_bytes_max => {
                Ok(Err(StoreError::TooLarge { bytes_max: self.circumstances.record_bytes_max }))
            }
            Change::Put { .. } if !self.may_grow() => Ok(Err(StoreError::Full)),
            Change::Put { body, ttl } => {
                let expires = ttl.map(|ttl| expiry(self.circumstances.now.after(ttl)));
                self.put(op, body, expires, standing.as_ref()).map(Ok)
            }
            Change::Delete => {
                // Who watches has not been told of one that has expired and is still there.
                let is_news = standing.is_some();
                let rev = self.counted(op, standing.as_ref(), None);
                let sql = "DELETE FROM cells WHERE tab = ?1 AND key = ?2";
                let place = params![number(op.tab), op.key.as_ref()];
                self.connection.prepare_cached(sql)?.execute(place)?;
                if is_news {
                    self.staged.news.push((op.tab, RowChange { key: op.key.clone(), row: None }));
                }
                Ok(Ok(rev))
            }
        }
    }

    /// What is in the file, its time over or not.
    fn standing(&self, op: &RowOp) -> rusqlite::Result<Option<Standing>> {
        let sql = "SELECT revision, expires FROM cells WHERE tab = ?1 AND key = ?2";
        let asked = params![number(op.tab), op.key.as_ref()];
        let columns = |row: &Found<'_>| Ok(Standing { revision: row.get(0)?, expires: row.get(1)? });
        self.connection.prepare_cached(sql)?.query_row(asked, columns).optional()
    }

    fn put(
        &mut self,
        op: &RowOp,
        body: &Bytes,
        expires: Option<i64>,
        standing: Option<&Standing>,
    ) -> rusqlite::Result<Rev> {
        let rev = self.counted(op, standing, Some(()));
        let sql = "INSERT OR REPLACE INTO cells (tab, key, revision, expires, sum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let revision = rev.0.cast_signed();
        let sum = sum(op.tab, &op.key, revision, expires, body);
        let row = params![number(op.tab), op.key.as_ref(), revision, expires, sum, body.as_ref()];
        self.connection.prepare_cached(sql)?.execute(row)?;
        let row = Row { key: op.key.clone(), body: body.clone(), rev };
        self.staged.news.push((op.tab, RowChange { key: op.key.clone(), row: Some(row) }));
        Ok(rev)
    }

    /// Gives the next revision, to a row that comes in the place of one that goes.
    fn counted(&mut self, op: &RowOp, goes: Option<&Standing>, comes: Option<()>) -> Rev {
        let mut cells = self.staged.cells.unwrap_or(self.known.cells);
        cells.revision += 1;
        if let Some(standing) = goes {
            cells.rows = cells.rows.saturating_sub(1);
            cells.mark ^= mark(number(op.tab), &op.key, standing.revision);
        }
        if comes.is_some() {
            cells.rows += 1;
            cells.mark ^= mark(number(op.tab), &op.key, cells.revision.cast_signed());
        }
        self.staged.cells = Some(cells);
        Rev(cells.revision)
    }

    /// Deletes rows whose time is over, some at a time.
    pub(super) fn expire_cells(&mut self) -> rusqlite::Result<Left> {
        let sql = "SELECT tab, key, revision FROM cells WHERE expires <= ?1 ORDER BY expires, revision";
        let due: Vec<(i64, Vec<u8>, i64)> = {
            let mut statement = self.connection.prepare_cached(sql)?;
            let now = [expiry(self.circumstances.now)];
            let rows = statement.query_map(now, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.take(EXPIRED_MAX).collect::<rusqlite::Result<_>>()?
        };
        let left = Left::after(due.len(), EXPIRED_MAX);
        if due.is_empty() {
            return Ok(left);
        }
        let mut cells = self.staged.cells.unwrap_or(self.known.cells);
        let mut delete = self.connection.prepare_cached("DELETE FROM cells WHERE tab = ?1 AND key = ?2")?;
        for (of, key, revision) in due {
            delete.execute(params![of, key])?;
            cells.rows = cells.rows.saturating_sub(1);
            cells.mark ^= mark(of, &key, revision);
            if let Some(tab) = tab(of) {
                self.staged.news.push((tab, RowChange { key: key.into(), row: None }));
            }
        }
        self.staged.cells = Some(cells);
        Ok(left)
    }
}

/// A row's share of the mark of all rows.
fn mark(tab: i64, key: &[u8], revision: i64) -> u64 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&tab.to_le_bytes()), key);
    Key((i64::from(sum) << 32) ^ revision).mark().cast_unsigned()
}

impl Reader<'_> {
    pub(super) fn row(&self, tab: Tab, key: &Bytes) -> Result<Option<Row>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM cells WHERE tab = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)"
        );
        let asked = params![number(tab), key.as_ref(), self.now];
        let mut rows = self.rows(&sql, asked, tab, |_, _| true)?;
        Ok(rows.pop())
    }

    pub(super) fn scan(
        &self,
        tab: Tab,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM cells WHERE tab = ?1 AND key >= ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key"
        );
        let start = match after {
            // The next key there can be.
            Some(after) if after >= prefix => [after, &[0]].concat(),
            _ => prefix.to_vec(),
        };
        self.rows(&sql, params![number(tab), start, self.now], tab, |rows, key| {
            rows.len() < max && key.starts_with(prefix)
        })
    }

    /// Rows as long as they are wanted.
    fn rows(
        &self,
        sql: &str,
        asked: &[&dyn rusqlite::ToSql],
        tab: Tab,
        is_wanted: impl Fn(&[Row], &[u8]) -> bool,
    ) -> Result<Vec<Row>, StoreError> {
        let lost = |error: rusqlite::Error| unread(&error, &format!("table {}", number(tab)));
        let mut statement = self.prepare(sql)?;
        let mut found = statement.query(asked).map_err(lost)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(lost)? {
            let row = decode(tab, row)?;
            if !is_wanted(&rows, &row.key) {
                break;
            }
            rows.push(row);
        }
        Ok(rows)
    }
}

/// That every row is there and as it was written: how many there are, or the first that is not.
pub(super) fn prove(reader: &Reader<'_>, told: &mut dyn FnMut(u64)) -> Result<u64, StoreError> {
    let lost = |error: rusqlite::Error| unread(&error, "the tables");
    let expected = CellCount::read(reader.connection)?;
    let sql = format!("SELECT {COLUMNS}, tab FROM cells");
    let mut statement = reader.prepare(&sql)?;
    let mut found = statement.query([]).map_err(lost)?;
    let (mut rows, mut marks) = (0, 0);
    while let Some(row) = found.next().map_err(lost)? {
        let of = row.get(5).map_err(lost)?;
        let tab = tab(of).ok_or_else(|| StoreError::Damaged(format!("a row of no table ({of})").into()))?;
        let row = decode(tab, row)?;
        rows += 1;
        marks ^= mark(of, &row.key, row.rev.0.cast_signed());
        told(rows);
    }
    if (rows, marks) != (expected.rows, expected.mark) {
        let text = format!("the tables: {rows} rows where {} should be, or not the same ones", expected.rows);
        return Err(StoreError::Damaged(text.into()));
    }
    Ok(rows)
}

/// Reads a row of [`COLUMNS`].
fn decode(tab: Tab, row: &Found<'_>) -> Result<Row, StoreError> {
    let damaged = |what: &str| {
        let key = row.get_ref(0).ok().and_then(|key| key.as_blob().ok()).unwrap_or_default();
        let key = key.escape_ascii();
        StoreError::Damaged(format!("table {}, row \"{key}\": {what}", number(tab)).into())
    };
    let found = fields(tab, row).map_err(|error| damaged(&error.to_string()))?;
    found.ok_or_else(|| damaged("its sum does not match"))
}

/// `None` when the sum is another.
fn fields(tab: Tab, row: &Found<'_>) -> Result<Option<Row>, FromSqlError> {
    let column = |index| row.get_ref(index).unwrap_or(ValueRef::Null);
    let (key, revision) = (column(0).as_blob()?, column(1).as_i64()?);
    let (expires, body) = (column(2).as_i64_or_null()?, column(4).as_blob()?);
    let is_right = i64::from(sum(tab, key, revision, expires, body)) == column(3).as_i64()?;
    Ok(is_right.then(|| Row {
        key: Bytes::copy_from_slice(key),
        body: Bytes::copy_from_slice(body),
        rev: Rev(revision.cast_unsigned()),
    }))
}

/// CRC-32C of a row.
fn sum(tab: Tab, key: &[u8], revision: i64, expires: Option<i64>, body: &[u8]) -> u32 {
    summed(number(tab), u128::from(revision.cast_unsigned()), expires, [key, body])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_found_by_its_number() {
        for one in [Tab::Sessions, Tab::Subscriptions, Tab::Queues, Tab::Leases] {
            assert_eq!(tab(number(one)), Some(one));
        }
    }
}
