//! The form of the database: its tables, its version, and what must hold before anybody uses it.
//!
//! Tables, for whoever opens the file with other tools (integers are signed, sums are CRC-32C):
//! - `facts`: numbers by name: the epoch, the newest revision of a row, how many partitions and rows there are.
//! - `partitions`: per partition the newest offset that was given, and the newest one that was dropped from an entity which
//!   has no records left.
//! - `records`: by partition * 2^48 + offset.
//! - `blocks`: by partition * 2^36 + offset / 2^12: count and mark of the live records of 4,096 offsets.
//! - `gaps`: the newest offset dropped from an entity that has records left.
//! - `snapshots`: the state of a partition up to an offset. `cells`: rows of tables.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use hub::Partition;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, params};

use super::error::Trouble;
use super::record::{Key, OFFSET_MAX};
use super::{DiskOptions, Fsync, OpenError};
use crate::Timestamp;

/// Says in the file's head whose it is: `TRKL`.
const APPLICATION: i32 = 0x5452_4b4c;
/// The newest format. A change of the tables is a new one, with a step that brings the one before it up in one transaction.
const VERSION: i32 = 1;
/// What a page of the file takes. Small records of one group share few, and file systems write no less.
pub(super) const PAGE_BYTES: u64 = 4096;
/// Another program may hold the file for a moment.
const LOCK_WAIT: Duration = Duration::from_secs(2);
/// All statements of a connection stay prepared.
const STATEMENTS: usize = 64;

/// Name and text of everything in the database, as it is made and as it must be found.
const SCHEMA: [(&str, &str); 10] = [
    (
        "facts",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        "partitions",
        "CREATE TABLE partitions (partition INTEGER PRIMARY KEY, newest INTEGER NOT NULL, dropped INTEGER NOT NULL, sum INTEGER NOT NULL)",
    ),
    (
        "records",
        "CREATE TABLE records (key INTEGER PRIMARY KEY, id BLOB NOT NULL, entity BLOB, expires INTEGER, sum INTEGER NOT NULL, body BLOB NOT NULL)",
    ),
    ("records_entity", "CREATE INDEX records_entity ON records (entity) WHERE entity IS NOT NULL"),
    ("records_expires", "CREATE INDEX records_expires ON records (expires) WHERE expires IS NOT NULL"),
    (
        "blocks",
        "CREATE TABLE blocks (block INTEGER PRIMARY KEY, live INTEGER NOT NULL, mark INTEGER NOT NULL)",
    ),
    (
        "gaps",
        "CREATE TABLE gaps (partition INTEGER NOT NULL, entity BLOB NOT NULL, upto INTEGER NOT NULL, PRIMARY KEY (partition, entity)) WITHOUT ROWID",
    ),
    (
        "snapshots",
        "CREATE TABLE snapshots (partition INTEGER PRIMARY KEY, upto INTEGER NOT NULL, sum INTEGER NOT NULL, state BLOB NOT NULL)",
    ),
    (
        "cells",
        "CREATE TABLE cells (tab INTEGER NOT NULL, key BLOB NOT NULL, revision INTEGER NOT NULL, expires INTEGER, sum INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (tab, key)) WITHOUT ROWID",
    ),
    ("cells_expires", "CREATE INDEX cells_expires ON cells (expires) WHERE expires IS NOT NULL"),
];

/// A number of the whole store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Of all positions.
    Epoch,
    /// Newest of any row.
    Revision,
    /// How many rows `partitions` has.
    Partitions,
    /// How many rows `cells` has.
    Cells,
    /// The exclusive or of their marks.
    CellsMark,
}

impl Fact {
    fn name(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Revision => "revision",
            Self::Partitions => "partitions",
            Self::Cells => "cells",
            Self::CellsMark => "cells_mark",
        }
    }

    pub(super) fn read(self, connection: &Connection) -> Result<u64, OpenError> {
        let sql = "SELECT value, sum FROM facts WHERE name = ?1";
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (value, sum): (i64, i64) = connection.query_row(sql, [self.name()], columns)?;
        if sum != i64::from(self.sum(value)) {
            return Err(damaged(&format!("the number `{}`: its sum does not match", self.name())));
        }
        Ok(value.cast_unsigned())
    }

    pub(super) fn write(self, connection: &Connection, value: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO facts (name, value, sum) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET value = ?2, sum = ?3";
        let value = value.cast_signed();
        connection.prepare_cached(sql)?.execute(params![self.name(), value, self.sum(value)]).map(drop)
    }

    fn sum(self, value: i64) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(self.name().as_bytes()), &value.to_le_bytes())
    }
}

/// What a partition's row says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Newest offset that was given; 0 before the first.
    pub(super) newest: u64,
    /// Newest offset dropped from an entity that has no records left.
    pub(super) dropped: u64,
}

impl Tail {
    pub(super) fn write(self, connection: &Connection, partition: Partition) -> rusqlite::Result<()> {
        let sql = "INSERT INTO partitions (partition, newest, dropped, sum) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT (partition) DO UPDATE SET newest = ?2, dropped = ?3, sum = ?4";
        let row =
            params![partition.0, self.newest.cast_signed(), self.dropped.cast_signed(), self.sum(partition)];
        connection.prepare_cached(sql)?.execute(row).map(drop)
    }

    /// `None` for a partition that nothing was ever written to.
    pub(super) fn read(connection: &Connection, partition: Partition) -> Result<Option<Self>, OpenError> {
        let sql = "SELECT partition, newest, dropped, sum FROM partitions WHERE partition = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([partition.0])?;
        rows.next()?.map(|row| Self::decode(row).map(|(_, tail)| tail)).transpose()
    }

    pub(super) fn decode(row: &rusqlite::Row<'_>) -> Result<(Partition, Self), OpenError> {
        let (partition, newest, dropped, sum): (i64, i64, i64, i64) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let tail = Self { newest: newest.cast_unsigned(), dropped: dropped.cast_unsigned() };
        match u16::try_from(partition).map(Partition) {
            Ok(partition) if sum == i64::from(tail.sum(partition)) && tail.newest <= OFFSET_MAX => {
                Ok((partition, tail))
            }
            _ => Err(damaged(&format!("the ends of partition {partition}: their sum does not match"))),
        }
    }

    fn sum(self, partition: Partition) -> u32 {
        let numbers = [u64::from(partition.0), self.newest, self.dropped];
        numbers.into_iter().fold(0, |sum, number| crc32c::crc32c_append(sum, &number.to_le_bytes()))
    }
}

/// What is known of all rows of tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CellCount {
    /// Newest revision that was given.
    pub(super) revision: u64,
    pub(super) rows: u64,
    /// Exclusive or of their marks.
    pub(super) mark: u64,
}

impl CellCount {
    pub(super) fn read(connection: &Connection) -> Result<Self, OpenError> {
        Ok(Self {
            revision: Fact::Revision.read(connection)?,
            rows: Fact::Cells.read(connection)?,
            mark: Fact::CellsMark.read(connection)?,
        })
    }

    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        Fact::Revision.write(connection, self.revision)?;
        Fact::Cells.write(connection, self.rows)?;
        Fact::CellsMark.write(connection, self.mark)
    }
}

/// What a writer has to know before it begins.
pub(super) struct Opened {
    pub(super) epoch: u64,
    pub(super) cells: CellCount,
    pub(super) tails: HashMap<Partition, Tail>,
    /// Live ones of all partitions.
    pub(super) records: u64,
}

/// Opens the database for the writer, or begins it.
pub(super) fn open(
    path: &Path,
    options: &DiskOptions,
    now: Timestamp,
) -> Result<(Connection, Opened), OpenError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let is_new = is_new(&connection, path)?;
    if is_new {
        // Both are fixed once the first table is there.
        connection.pragma_update(None, "page_size", PAGE_BYTES.cast_signed())?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(OpenError::Io(std::io::Error::other("the file system does not allow a write-ahead log")));
    }
    settings(&connection, options)?;
    if is_new {
        create(&connection, now)?;
    }
    let opened = check(&connection)?;
    empty_log(&connection)?;
    Ok((connection, opened))
}

/// Begins with an empty write-ahead log: what a crash left behind its end would be in the way of proving the next one.
fn empty_log(connection: &Connection) -> Result<(), OpenError> {
    match checkpoint(connection, Checkpoint::Emptying) {
        // It is emptied later, when there is room and no other program reads it.
        Ok(_) => Ok(()),
        Err(error) if Trouble::of(&error) != Trouble::Failed => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// How the write-ahead log is copied into the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// What no reader needs, without waiting for anybody.
    Passive,
    /// All of it, once its readers are done, and the file becomes empty.
    Emptying,
}

/// Whether all of the log is in the database now.
pub(super) fn checkpoint(connection: &Connection, how: Checkpoint) -> rusqlite::Result<bool> {
    let sql = match how {
        Checkpoint::Passive => "PRAGMA wal_checkpoint(PASSIVE)",
        Checkpoint::Emptying => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let (busy, pages, copied): (i64, i64, i64) = connection.prepare_cached(sql)?.query_row([], columns)?;
    Ok(busy == 0 && pages == copied)
}

/// Positions of a log that cannot be proven to go on are of a new epoch.
pub(super) fn renew_epoch(connection: &Connection, epoch: u64, now: Timestamp) -> rusqlite::Result<u64> {
    let epoch = now.0.max(epoch + 1);
    Fact::Epoch.write(connection, epoch)?;
    Ok(epoch)
}

/// Opens a database that is there, for reading.
pub(super) fn open_to_read(path: &Path, cache_bytes: usize) -> Result<Connection, OpenError> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    cache(&connection, cache_bytes)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, OpenError> {
    // One thread at a time uses a connection, so it needs no lock of its own.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // Finds pages that cannot be right when they are read, not when their records are missed.
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(connection)
}

/// Whether nothing was ever written to it.
///
/// # Errors
/// It is somebody else's, or a newer version's.
pub(super) fn is_new(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let application = number("application_id")?;
    let version = number("user_version")?;
    let entries: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version) {
        (0, 0) if entries == 0 => Ok(true),
        (APPLICATION, VERSION) => Ok(false),
        (APPLICATION, found) if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        (APPLICATION, found) => Err(damaged(&format!("there is no format {found}"))),
        _ => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

fn settings(connection: &Connection, options: &DiskOptions) -> rusqlite::Result<()> {
    let synchronous = match options.fsync {
        Fsync::Always => "FULL",
        Fsync::Interval(_) => "NORMAL",
        Fsync::Never => "OFF",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Checkpoints are the writer's: no commit pays for one.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if let Some(bytes) = options.database_bytes_max {
        connection.pragma_update(None, "max_page_count", (bytes / PAGE_BYTES).max(1).cast_signed())?;
    }
    cache(connection, options.cache_bytes)
}

fn cache(connection: &Connection, bytes: usize) -> rusqlite::Result<()> {
    // Negative: in KiB instead of pages.
    let kib = i64::try_from(bytes / 1024).unwrap_or(i64::MAX);
    connection.pragma_update(None, "cache_size", -kib)
}

fn create(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for (_, text) in SCHEMA {
        connection.execute_batch(text)?;
    }
    Fact::Epoch.write(connection, now.0)?;
    for fact in [Fact::Revision, Fact::Partitions, Fact::Cells, Fact::CellsMark] {
        fact.write(connection, 0)?;
    }
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

/// Reads what everything else relies on.
pub(super) fn check(connection: &Connection) -> Result<Opened, OpenError> {
    check_schema(connection)?;
    let tails = tails(connection)?;
    for (partition, tail) in &tails {
        check_end(connection, *partition, *tail)?;
    }
    check_owners(connection, &tails)?;
    let sql = "SELECT coalesce(sum(live), 0) FROM blocks";
    let records: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(Opened {
        epoch: Fact::Epoch.read(connection)?,
        cells: CellCount::read(connection)?,
        tails,
        records: u64::try_from(records).unwrap_or(0),
    })
}

fn check_schema(connection: &Connection) -> Result<(), OpenError> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Vec<(String, String)> = statement.query_map([], columns)?.collect::<rusqlite::Result<_>>()?;
    let is_there = |(name, text): &(&str, &str)| found.iter().any(|one| one.0 == *name && one.1 == *text);
    if found.len() != SCHEMA.len() || !SCHEMA.iter().all(is_there) {
        return Err(damaged("its tables are not those of its format"));
    }
    Ok(())
}

fn tails(connection: &Connection) -> Result<HashMap<Partition, Tail>, OpenError> {
    let mut statement = connection.prepare("SELECT partition, newest, dropped, sum FROM partitions")?;
    let mut rows = statement.query([])?;
    let mut tails = HashMap::new();
    while let Some(row) = rows.next()? {
        let (partition, tail) = Tail::decode(row)?;
        tails.insert(partition, tail);
    }
    let expected = Fact::Partitions.read(connection)?;
    if u64::try_from(tails.len()).unwrap_or(u64::MAX) != expected {
        return Err(damaged(&format!("{} partitions where {expected} should be", tails.len())));
    }
    Ok(tails)
}

/// That no record stands behind the newest offset that was given.
fn check_end(connection: &Connection, partition: Partition, tail: Tail) -> Result<(), OpenError> {
    let sql = "SELECT max(key) FROM records WHERE key BETWEEN ?1 AND ?2";
    let range = [Key::at(partition, 0).0, Key::at(partition, OFFSET_MAX).0];
    let newest: Option<i64> = connection.prepare_cached(sql)?.query_row(range, |row| row.get(0))?;
    match newest.map(Key) {
        Some(key) if key.offset() > tail.newest => {
            Err(damaged(&format!("{}: it stands behind the end of its partition", key.place())))
        }
        _ => Ok(()),
    }
}

/// That every record belongs to a partition that is known. Jumps from one partition to the next.
fn check_owners(connection: &Connection, tails: &HashMap<Partition, Tail>) -> Result<(), OpenError> {
    let mut statement = connection.prepare("SELECT min(key) FROM records WHERE key > ?1")?;
    let mut behind = i64::MIN;
    loop {
        let next: Option<i64> = statement.query_row([behind], |row| row.get(0))?;
        let Some(key) = next.map(Key) else { return Ok(()) };
        if !tails.contains_key(&key.partition()) {
            return Err(damaged(&format!("{}: nobody knows its partition", key.place())));
        }
        behind = Key::at(key.partition(), OFFSET_MAX).0;
    }
}

fn damaged(place: &str) -> OpenError {
    OpenError::Damaged(place.into())
}
