//! One transaction: the jobs of a group, staged beside what is known of the partitions, so that a transaction that fails
//! leaves nothing behind. Must not know what follows from a failure. Start at [`Group`].

use std::collections::HashMap;

use hub::Partition;
use rusqlite::{CachedStatement, Connection, params};

use super::format::{CellCount, Fact, Opened, Tail};
use super::loss::Left;
use super::mailbox::Job;
use super::record::{Block, Key, expiry, sum};
use crate::{Append, Completion, Position, Rev, RowChange, Snapshot, StoreError, Tab, Timestamp, Write};

/// Largest state of a partition; the engine takes no value above a gigabyte. A larger one is refused as `TooLarge`.
const SNAPSHOT_BYTES_MAX: usize = 512 << 20;

/// What was decided about something that was asked for. The outer error is the engine's and ends the transaction.
pub(super) type Decided<T> = rusqlite::Result<Result<T, StoreError>>;

/// What is known between transactions.
pub(super) struct Known {
    pub(super) epoch: u64,
    pub(super) cells: CellCount,
    pub(super) tails: HashMap<Partition, Tail>,
}

impl From<Opened> for Known {
    fn from(opened: Opened) -> Self {
        Self { epoch: opened.epoch, cells: opened.cells, tails: opened.tails }
    }
}

impl Known {
    /// Takes over what was committed.
    pub(super) fn adopt(&mut self, staged: &Staged) {
        self.tails.extend(staged.tails.iter().map(|(partition, tail)| (*partition, *tail)));
        self.cells = staged.cells.unwrap_or(self.cells);
    }
}

/// What a group of jobs must know of the world.
#[derive(Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) now: Timestamp,
    pub(super) record_bytes_max: usize,
    pub(super) growth: Growth,
}

/// Whether anything may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    Allowed,
    /// There was no room: what is to be added is refused as full, what takes away is done.
    Refused,
}

/// What a transaction changes of what is known.
#[derive(Default)]
pub(super) struct Staged {
    pub(super) tails: HashMap<Partition, Tail>,
    pub(super) cells: Option<CellCount>,
    pub(super) appended: u64,
    pub(super) removed: u64,
    /// Rows that are not what they were.
    pub(super) news: Vec<(Tab, RowChange)>,
    pub(super) expired: Left,
}

/// The answer to a job.
pub(super) enum Outcome {
    Written(Vec<Result<Position, StoreError>>),
    Changed(Vec<Result<Rev, StoreError>>),
    Kept(Result<(), StoreError>),
    Dropped(Left),
}

/// A transaction in progress.
pub(super) struct Group<'a> {
    pub(super) connection: &'a Connection,
    pub(super) known: &'a Known,
    pub(super) circumstances: Circumstances,
    pub(super) staged: Staged,
    blocks: HashMap<Block, Difference>,
    insert: CachedStatement<'a>,
    delete: CachedStatement<'a>,
}

/// What changes in a block.
#[derive(Default)]
struct Difference {
    live: i64,
    mark: i64,
}

const INSERT: &str =
    "INSERT INTO records (key, id, entity, expires, sum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
const DELETE: &str = "DELETE FROM records WHERE key = ?1";
/// The engine has no exclusive or.
const COUNT: &str = "INSERT INTO blocks (block, live, mark) VALUES (?1, ?2, ?3) ON CONFLICT (block) DO UPDATE \
                     SET live = live + ?2, mark = (mark | ?3) & ~(mark & ?3)";
const FORGET: &str = "DELETE FROM blocks WHERE block = ?1 AND live = 0 AND mark = 0";

impl<'a> Group<'a> {
    /// In a transaction that has begun.
    pub(super) fn new(
        connection: &'a Connection,
        known: &'a Known,
        circumstances: Circumstances,
    ) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            known,
            circumstances,
            staged: Staged::default(),
            blocks: HashMap::new(),
            insert: connection.prepare_cached(INSERT)?,
            delete: connection.prepare_cached(DELETE)?,
        })
    }

    pub(super) fn perform(&mut self, job: &Job) -> rusqlite::Result<Outcome> {
        Ok(match job {
            Job::Write { batch, .. } => Outcome::Written(self.write(batch)?),
            Job::Change { ops, .. } => Outcome::Changed(self.change(ops)?),
            Job::Snapshot { partition, snapshot, .. } => Outcome::Kept(self.snapshot(*partition, snapshot)?),
            Job::Trim { entity, before, .. } => Outcome::Dropped(self.trim(entity, *before)?),
            // What has expired has gone before the first job.
            Job::Expire(_) => Outcome::Dropped(self.staged.expired),
            // It is no job of a group.
            Job::Task(_) => Outcome::Kept(Ok(())),
        })
    }

    /// Drops what has expired, some of it.
    pub(super) fn expire(&mut self) -> rusqlite::Result<()> {
        let left = [self.expire_records()?, self.expire_cells()?];
        self.staged.expired = if left.contains(&Left::More) { Left::More } else { Left::Nothing };
        Ok(())
    }

    /// Writes what belongs to the changes and gives what is to be known once they are committed.
    pub(super) fn finish(self) -> rusqlite::Result<Staged> {
        let connection = self.connection;
        let mut count = connection.prepare_cached(COUNT)?;
        let mut forget = connection.prepare_cached(FORGET)?;
        for (block, Difference { live, mark }) in self.blocks {
            count.execute(params![block.0, live, mark])?;
            if live <= 0 {
                forget.execute([block.0])?;
            }
        }
        let mut partitions = self.known.tails.len();
        for (partition, tail) in &self.staged.tails {
            tail.write(connection, *partition)?;
            partitions += usize::from(!self.known.tails.contains_key(partition));
        }
        if partitions > self.known.tails.len() {
            Fact::Partitions.write(connection, u64::try_from(partitions).unwrap_or(u64::MAX))?;
        }
        if let Some(cells) = self.staged.cells {
            cells.write(connection)?;
        }
        Ok(self.staged)
    }

    fn write(&mut self, batch: &[Write]) -> rusqlite::Result<Vec<Result<Position, StoreError>>> {
        let mut refused: Vec<(Partition, StoreError)> = Vec::new();
        let mut results = Vec::with_capacity(batch.len());
        for entry in batch {
            let partition = entry.partition();
            let refusal = refused.iter().find(|(of, _)| *of == partition);
            let result = match refusal {
                Some((_, error)) => Err(error.clone()),
                None => self.entry(entry)?,
            };
            if let (None, Err(error)) = (refusal, &result) {
                refused.push((partition, error.clone()));
            }
            results.push(result);
        }
        Ok(results)
    }

    fn entry(&mut self, entry: &Write) -> Decided<Position> {
        match entry {
            Write::Append(append) => self.append(append),
            Write::Remove { partition, offset } => {
                if let Some(key) = Key::new(*partition, *offset) {
                    self.remove(key)?;
                }
                Ok(Ok(self.position(*offset)))
            }
        }
    }

    fn append(&mut self, append: &Append) -> Decided<Position> {
        let partition = append.entity.partition;
        let tail = self.tail(partition);
        let offset = tail.newest + 1;
        if append.expect.is_some_and(|expect| expect != self.position(tail.newest)) {
            return Ok(Err(StoreError::Fenced));
        }
        if append.body.len() > self.circumstances.record_bytes_max {
            return Ok(Err(StoreError::TooLarge { bytes_max: self.circumstances.record_bytes_max }));
        }
        let Some(key) = Key::new(partition, offset).filter(|_| self.may_grow()) else {
            return Ok(Err(StoreError::Full));
        };
        let expires = append.ttl.map(|ttl| expiry(self.circumstances.now.after(ttl)));
        let entity = Some(append.entity.name.as_ref()).filter(|name| !name.is_empty());
        let sum = sum(key, append, expires);
        let id = append.id.0.to_be_bytes();
        self.insert.execute(params![key.0, id, entity, expires, sum, append.body.as_ref()])?;
        self.staged.tails.insert(partition, Tail { newest: offset, ..tail });
        self.staged.appended += 1;
        self.count(key, 1);
        Ok(Ok(self.position(offset)))
    }

    /// Whether there was a record.
    pub(super) fn remove(&mut self, key: Key) -> rusqlite::Result<bool> {
        let is_gone = self.delete.execute([key.0])? > 0;
        if is_gone {
            self.staged.removed += 1;
            self.count(key, -1);
        }
        Ok(is_gone)
    }

    fn count(&mut self, key: Key, live: i64) {
        let block = self.blocks.entry(key.block()).or_default();
        block.live += live;
        block.mark ^= key.mark();
    }

    fn snapshot(&mut self, partition: Partition, snapshot: &Snapshot) -> Decided<()> {
        let upto = snapshot.upto;
        if upto.epoch != self.known.epoch || upto.offset > self.tail(partition).newest {
            return Ok(Err(StoreError::Fenced));
        }
        if snapshot.state.len() > SNAPSHOT_BYTES_MAX {
            return Ok(Err(StoreError::TooLarge { bytes_max: SNAPSHOT_BYTES_MAX }));
        }
        if !self.may_grow() {
            return Ok(Err(StoreError::Full));
        }
        let sql = "INSERT INTO snapshots (partition, upto, sum, state) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (partition) \
                   DO UPDATE SET upto = ?2, sum = ?3, state = ?4 WHERE upto <= ?2";
        let sum = snapshot_sum(partition, upto.offset, &snapshot.state);
        let row = params![partition.0, upto.offset.cast_signed(), sum, snapshot.state.as_ref()];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(Ok(()))
    }

    pub(super) fn may_grow(&self) -> bool {
        self.circumstances.growth == Growth::Allowed
    }

    pub(super) fn position(&self, offset: u64) -> Position {
        Position { epoch: self.known.epoch, offset }
    }

    /// As it is in this transaction.
    pub(super) fn tail(&self, partition: Partition) -> Tail {
        let staged = self.staged.tails.get(&partition);
        staged.or_else(|| self.known.tails.get(&partition)).copied().unwrap_or_default()
    }
}

/// CRC-32C of a snapshot.
pub(super) fn snapshot_sum(partition: Partition, upto: u64, state: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&partition.0.to_le_bytes()), &upto.to_le_bytes());
    crc32c::crc32c_append(sum, state)
}

impl Job {
    /// Answers what came of it.
    pub(super) fn complete(self, outcome: Outcome) {
        match (self, outcome) {
            (Self::Write { done, .. }, Outcome::Written(results)) => {
                done.complete(Completion::Written(results))
            }
            (Self::Change { done, .. }, Outcome::Changed(results)) => {
                done.complete(Completion::Changed(results))
            }
            // Who does not wait any more needs no answer.
            (Self::Snapshot { reply, .. }, Outcome::Kept(result)) => drop(reply.send(result)),
            (Self::Trim { reply, .. } | Self::Expire(reply), Outcome::Dropped(left)) => {
                drop(reply.send(Ok(left)));
            }
            (job, _) => job.refuse(StoreError::Failed),
        }
    }
}
