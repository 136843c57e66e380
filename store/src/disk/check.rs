//! Reading everything to see whether it is what was written.

use std::path::Path;

use rusqlite::Connection;

use super::format::{self, Opened};
use super::home::{Doubt, Home};
use super::read::Reader;
use super::record::Key;
use super::{OpenError, Progress, cells, wal};
use crate::{Max, StoreError};

/// Problems of the engine's own check that are told.
const PROBLEMS_MAX: u32 = 100;
/// Records and bytes of bodies that are looked at in one transaction.
const PAGE: Max = Max { records: 4_096, bytes: 16 << 20 };
/// Memory for pages.
const CACHE_BYTES: usize = 16 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Records that are as they were written.
    pub records: u64,
    /// Rows of tables that are.
    pub rows: u64,
    /// What is wrong, with its place; in a partition and in the tables the first of it.
    pub problems: Vec<String>,
}

/// Checks a store that nobody has open.
///
/// # Errors
/// See [`OpenError`], `NotFound` where none is; what is damaged stands in the report as far as it can be looked at.
pub fn check(directory: &Path, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, OpenError> {
    if !Home::is_in(directory) {
        return Err(OpenError::Io(std::io::ErrorKind::NotFound.into()));
    }
    let mut home = Home::claim(directory)?;
    let path = home.database();
    let log = if home.doubt()? == Doubt::Nothing { wal::prove(&path) } else { Ok(()) };
    let mut report = run(&path, progress)?;
    match log {
        Err(OpenError::Damaged(place)) => report.problems.insert(0, place.into()),
        other => other?,
    }
    Ok(report)
}

pub(super) fn run(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<CheckReport, OpenError> {
    let connection = format::open_to_read(path, CACHE_BYTES)?;
    if format::is_new(&connection, path)? {
        return Ok(CheckReport::default());
    }
    let mut report = CheckReport::default();
    if let Err(error) = integrity(&connection, &mut report.problems) {
        report.problems.push(error.to_string());
    }
    match format::check(&connection) {
        Ok(opened) => contents(&connection, &opened, &mut report, progress)?,
        Err(OpenError::Damaged(place)) => report.problems.push(place.into()),
        Err(other) => return Err(other),
    }
    Ok(report)
}

/// The engine's view of its file.
fn integrity(connection: &Connection, problems: &mut Vec<String>) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({PROBLEMS_MAX})"))?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        problems.extend(Some(line?).filter(|line| line != "ok"));
    }
    Ok(())
}

fn contents(
    connection: &Connection,
    opened: &Opened,
    report: &mut CheckReport,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    let total = opened.records + opened.cells.rows;
    // Nothing has expired at the beginning of time: every record is looked at.
    let reader = Reader { connection, epoch: opened.epoch, now: -1 };
    let mut partitions: Vec<_> = opened.tails.keys().copied().collect();
    partitions.sort_unstable();
    for partition in partitions {
        // Also what stands before a snapshot.
        let (mut start, mut first) = (0, Key::at(partition, 1).block());
        loop {
            let page = transaction(connection, || reader.walk(partition, start, first, PAGE));
            let Some(page) = found(page, report)? else { break };
            report.records += u64::try_from(page.records.len()).unwrap_or(0);
            progress(Progress { done: report.records, total: total.max(report.records) });
            let Some(next) = page.next else { break };
            (start, first) = (next.offset, Key::at(partition, next.offset).block().next());
        }
        found(transaction(connection, || reader.snapshot(partition)), report)?;
    }
    let done = report.records;
    let told = &mut |rows: u64| {
        if rows.is_multiple_of(4_096) {
            progress(Progress { done: done + rows, total: total.max(done + rows) });
        }
    };
    let rows = transaction(connection, || cells::prove(&reader, told));
    report.rows = found(rows, report)?.unwrap_or(0);
    progress(Progress { done: done + report.rows, total: done + report.rows });
    Ok(())
}

/// What was read, or nothing: it is damaged, which is noted.
fn found<T>(read: Result<T, StoreError>, report: &mut CheckReport) -> Result<Option<T>, StoreError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Damaged(place)) => {
            report.problems.push(place.into());
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

fn transaction<T>(
    connection: &Connection,
    read: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let begun = connection.unchecked_transaction();
    let _transaction = begun.map_err(|error| super::error::unread(&error, "the beginning of a read"))?;
    read()
}
