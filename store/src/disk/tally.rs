//! The proof that no record is missing and none is there that should not be: what is found in each block against what its
//! row says. Knows nothing of what is in the records.

use rusqlite::params;

use super::error::unread;
use super::read::Reader;
use super::record::{Block, Key};
use crate::StoreError;

/// Count and mark of the records of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Count {
    block: Block,
    live: i64,
    mark: i64,
}

/// What was found, block by block. Records before the first block are not counted.
pub(super) struct Tally {
    first: Block,
    found: Vec<Count>,
}

impl Tally {
    /// Begins with a block.
    pub(super) fn from(first: Block) -> Self {
        Self { first, found: Vec::new() }
    }

    /// Counts a record, in the order of keys.
    pub(super) fn add(&mut self, key: Key) {
        let block = key.block();
        match self.found.last_mut() {
            _ if block < self.first => {}
            Some(last) if last.block == block => {
                last.live += 1;
                last.mark ^= key.mark();
            }
            _ => self.found.push(Count { block, live: 1, mark: key.mark() }),
        }
    }

    /// Counts the records of the first block that stand before a key.
    pub(super) fn add_before(&mut self, reader: &Reader<'_>, key: Key) -> Result<(), StoreError> {
        let first = self.first.first();
        if first >= key {
            return Ok(());
        }
        let place = self.first.place();
        let lost = |error: rusqlite::Error| unread(&error, &place);
        let mut statement =
            reader.prepare("SELECT key FROM records WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
        let mut rows = statement.query(params![first.0, key.0]).map_err(lost)?;
        while let Some(row) = rows.next().map_err(lost)? {
            self.add(super::record::key(row)?);
        }
        Ok(())
    }

    /// Whether a record belongs to the block of the one before it.
    pub(super) fn is_in_its_last_block(&self, key: Key) -> bool {
        self.found.last().is_some_and(|last| last.block == key.block())
    }

    /// Last key of the last block; before the first one when nothing was counted.
    pub(super) fn end(&self) -> Key {
        self.found.last().map_or(Key(self.first.first().0 - 1), |last| last.block.last())
    }

    /// Compares the blocks up to that of `end` with their rows.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first block that differs.
    pub(super) fn prove(self, reader: &Reader<'_>, end: Key) -> Result<(), StoreError> {
        let lost = |error: rusqlite::Error| unread(&error, "the counts of records");
        let sql = "SELECT block, live, mark FROM blocks WHERE block BETWEEN ?1 AND ?2 AND (live <> 0 OR mark <> 0) ORDER BY block";
        let mut statement = reader.prepare(sql)?;
        let mut rows = statement.query(params![self.first.0, end.block().0]).map_err(lost)?;
        let mut found = self.found.into_iter();
        loop {
            let expected = match rows.next().map_err(lost)? {
                Some(row) => Some(count(row).map_err(lost)?),
                None => None,
            };
            match (found.next(), expected) {
                (None, None) => return Ok(()),
                (Some(found), Some(expected)) if found == expected => {}
                (found, expected) => return Err(differs(found, expected)),
            }
        }
    }
}

fn count(row: &rusqlite::Row<'_>) -> rusqlite::Result<Count> {
    Ok(Count { block: Block(row.get(0)?), live: row.get(1)?, mark: row.get(2)? })
}

/// Names the first of the two blocks.
fn differs(found: Option<Count>, expected: Option<Count>) -> StoreError {
    let blocks = [found, expected].into_iter().flatten().map(|count| count.block);
    let block = blocks.min().unwrap_or(Block(0));
    let of = |count: Option<Count>| count.filter(|count| count.block == block).map_or(0, |count| count.live);
    let (found, expected) = (of(found), of(expected));
    let text = match found == expected {
        true => format!("{}: {found} records as there should be, but not the ones", block.place()),
        false => format!("{}: {found} records where {expected} should be", block.place()),
    };
    StoreError::Damaged(text.into())
}
