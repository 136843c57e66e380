//! Records that go without having been removed, by trimming or because their time is over, and the gaps they leave for who
//! reads their entity.
//!
//! While an entity has records, `gaps` says how far it was trimmed. When its last record goes that row goes, too, and the
//! partition remembers the newest of all such offsets, so that entities which come and go cost nothing.

use std::collections::BTreeMap;

use hub::Partition;
use rusqlite::params;

use super::format::Tail;
use super::group::Group;
use super::record::{Key, OFFSET_MAX, expiry};
use crate::{Entity, Position};

/// Records that go in one transaction for such reasons; others wait for the next. No `LIMIT` of a query: the engine plans a query
/// anew whenever that is bound.
const LOSSES_MAX: usize = 1_024;

/// Whether all of it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Left {
    #[default]
    Nothing,
    More,
}

impl Left {
    /// After that many of at most that many.
    pub(super) fn after(count: usize, max: usize) -> Self {
        if count < max { Self::Nothing } else { Self::More }
    }
}

impl Group<'_> {
    /// Drops the oldest records of an entity before a position, some at a time.
    pub(super) fn trim(&mut self, entity: &Entity, before: Position) -> rusqlite::Result<Left> {
        if before.epoch != self.known.epoch || entity.name.is_empty() {
            return Ok(Left::Nothing);
        }
        let sql = "SELECT key FROM records INDEXED BY records_entity WHERE entity = ?1 AND key >= ?2 AND key < ?3 ORDER BY key";
        let range = params![
            entity.name.as_ref(),
            Key::at(entity.partition, 0).0,
            Key::at(entity.partition, before.offset).0
        ];
        let keys: Vec<i64> = {
            let mut statement = self.connection.prepare_cached(sql)?;
            statement.query_map(range, |row| row.get(0))?.take(LOSSES_MAX).collect::<rusqlite::Result<_>>()?
        };
        for key in &keys {
            self.remove(Key(*key))?;
        }
        if let Some(newest) = keys.last() {
            self.note_gap(entity.partition, &entity.name, Key(*newest).offset())?;
        }
        Ok(Left::after(keys.len(), LOSSES_MAX))
    }

    /// Drops records whose time is over, some at a time.
    pub(super) fn expire_records(&mut self) -> rusqlite::Result<Left> {
        let sql =
            "SELECT key, entity FROM records INDEXED BY records_expires WHERE expires <= ?1 ORDER BY expires";
        let due: Vec<(i64, Option<Vec<u8>>)> = {
            let mut statement = self.connection.prepare_cached(sql)?;
            let now = [expiry(self.circumstances.now)];
            let rows = statement.query_map(now, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.take(LOSSES_MAX).collect::<rusqlite::Result<_>>()?
        };
        let count = due.len();
        let mut newest: BTreeMap<(Partition, Vec<u8>), u64> = BTreeMap::new();
        for (key, entity) in due {
            let key = Key(key);
            self.remove(key)?;
            if let Some(entity) = entity {
                let of = newest.entry((key.partition(), entity)).or_default();
                *of = key.offset().max(*of);
            }
        }
        for ((partition, entity), upto) in newest {
            self.note_gap(partition, &entity, upto)?;
        }
        Ok(Left::after(count, LOSSES_MAX))
    }

    /// Remembers that records of an entity up to an offset are gone.
    fn note_gap(&mut self, partition: Partition, entity: &[u8], upto: u64) -> rusqlite::Result<()> {
        let connection = self.connection;
        let sql = "SELECT EXISTS (SELECT 1 FROM records INDEXED BY records_entity WHERE entity = ?1 AND key BETWEEN ?2 AND ?3)";
        let range = params![entity, Key::at(partition, 0).0, Key::at(partition, OFFSET_MAX).0];
        let has_records: bool = connection.prepare_cached(sql)?.query_row(range, |row| row.get(0))?;
        if has_records {
            let sql = "INSERT INTO gaps (partition, entity, upto) VALUES (?1, ?2, ?3) ON CONFLICT (partition, entity) \
                       DO UPDATE SET upto = max(upto, ?3)";
            connection.prepare_cached(sql)?.execute(params![partition.0, entity, upto.cast_signed()])?;
            return Ok(());
        }
        let sql = "DELETE FROM gaps WHERE partition = ?1 AND entity = ?2 RETURNING upto";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![partition.0, entity])?;
        let earlier: i64 = rows.next()?.map_or(Ok(0), |row| row.get(0))?;
        // To its end: only then is the statement done.
        while rows.next()?.is_some() {}
        let tail = self.tail(partition);
        let dropped = tail.dropped.max(upto).max(earlier.cast_unsigned());
        self.staged.tails.insert(partition, Tail { dropped, ..tail });
        Ok(())
    }
}
