//! The writer: the one thread that changes the database. It commits everything that waits as one transaction and answers
//! afterwards; what takes long is done in steps between the groups.
//!
//! ```text
//!            +-- full, several jobs --> each alone --+-- full --> what takes away alone, the rest is refused
//!  group ----+-- somebody else's lock --> refused, try again later
//!            +-- any other error --> failed: refused for ever
//! ```
//! Start at [`Writer::run`].

use std::ops::ControlFlow;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::Trouble;
use super::faults::Fault;
use super::format::Opened;
use super::group::{Circumstances, Group, Growth, Known, Outcome, Staged};
use super::loss::Left;
use super::mailbox::{Job, Mailbox, Taken, Task};
use super::upkeep::Upkeep;
use super::{Shared, backup, upkeep};
use crate::RowChange;

/// The connection, and everything else. Apart, because a backup holds on to the connection over several groups.
pub(super) struct Writer {
    connection: Connection,
    state: State,
}

pub(super) struct State {
    pub(super) shared: Arc<Shared>,
    pub(super) upkeep: Upkeep,
    known: Known,
    /// Whether more has expired than went with the last group.
    expired: Left,
}

/// Answers those who would wait for ever when the writer's thread ends in any way.
struct LastWord<'a>(&'a Mailbox);

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        self.0.fail();
    }
}

impl Writer {
    pub(super) fn new(
        mut connection: Connection,
        opened: Opened,
        shared: Arc<Shared>,
    ) -> rusqlite::Result<Self> {
        let watched = shared.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames| {
            watched.counters.frames.store(u64::try_from(frames).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        let upkeep = Upkeep::new(&shared.options);
        let state = State { shared, upkeep, known: opened.into(), expired: Left::Nothing };
        Ok(Self { connection, state })
    }

    pub(super) fn run(self) {
        let Self { connection, mut state } = self;
        let shared = state.shared.clone();
        let _last_word = LastWord(&shared.mailbox);
        while !state.has_failed() {
            let wait = if state.expired == Left::More { Duration::ZERO } else { state.patience() };
            match shared.mailbox.take(wait) {
                Taken::Group(jobs) => state.commit(&connection, jobs),
                Taken::Task(Task::Backup { to, told }) => {
                    backup::perform(&connection, &mut state, &to, &told)
                }
                Taken::Task(Task::Compact { told }) => {
                    upkeep::perform_compact(&connection, &mut state, &told)
                }
                Taken::Nothing => {
                    state.commit(&connection, Vec::new());
                    state.tidy_idle(&connection);
                }
                Taken::Closed => break,
            }
            state.tidy(&connection);
        }
        state.end(&connection);
    }
}

impl State {
    pub(super) fn has_failed(&self) -> bool {
        self.shared.counters.has_failed()
    }

    /// No write will be acknowledged any more.
    pub(super) fn fail(&mut self) {
        self.shared.counters.is_failed.store(true, Ordering::Relaxed);
        self.shared.mailbox.fail();
    }

    /// Commits what waits, between two steps of something that takes long. Breaks when that should end.
    pub(super) fn go_on(&mut self, connection: &Connection) -> ControlFlow<()> {
        match self.shared.mailbox.take_group() {
            Taken::Group(jobs) => self.commit(connection, jobs),
            Taken::Closed => return ControlFlow::Break(()),
            Taken::Task(_) | Taken::Nothing => {}
        }
        self.tidy(connection);
        if self.has_failed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Commits a group and answers everybody in it.
    fn commit(&mut self, connection: &Connection, jobs: Vec<Job>) {
        match self.attempt(connection, &jobs, Growth::Allowed) {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    job.complete(outcome);
                }
            }
            Err(Trouble::Full) => {
                let is_alone = jobs.len() == 1;
                for job in jobs {
                    self.commit_when_full(connection, job, is_alone);
                }
            }
            Err(trouble) => refuse(jobs, trouble),
        }
    }

    /// A job after its group did not fit. One that did not fit alone is not tried again as it is.
    fn commit_when_full(&mut self, connection: &Connection, job: Job, was_alone: bool) {
        let one = slice::from_ref(&job);
        let mut outcome = match was_alone {
            true => Err(Trouble::Full),
            false => self.attempt(connection, one, Growth::Allowed),
        };
        if matches!(outcome, Err(Trouble::Full)) {
            outcome = self.attempt(connection, one, Growth::Refused);
        }
        match outcome.map(|mut outcomes| outcomes.pop()) {
            Ok(Some(outcome)) => job.complete(outcome),
            Ok(None) => job.refuse(Trouble::Failed.into()),
            Err(trouble) => job.refuse(trouble.into()),
        }
    }

    /// Does jobs in one transaction, after what has expired. Nothing of it is done when this is an error.
    fn attempt(
        &mut self,
        connection: &Connection,
        jobs: &[Job],
        growth: Growth,
    ) -> Result<Vec<Outcome>, Trouble> {
        if self.has_failed() {
            return Err(Trouble::Failed);
        }
        let done = self.transaction(connection, jobs, growth);
        if let Err(trouble) = done {
            let is_open = !connection.is_autocommit();
            let is_rolled_back = !is_open || connection.execute_batch("ROLLBACK").is_ok();
            if trouble == Trouble::Failed || !is_rolled_back {
                self.fail();
                return Err(Trouble::Failed);
            }
            return Err(trouble);
        }
        done.map(|(outcomes, staged)| {
            self.adopt(staged);
            outcomes
        })
    }

    fn transaction(
        &self,
        connection: &Connection,
        jobs: &[Job],
        growth: Growth,
    ) -> Result<(Vec<Outcome>, Staged), Trouble> {
        let circumstances = Circumstances {
            now: self.shared.clock.now(),
            record_bytes_max: self.shared.options.record_bytes_max,
            growth,
        };
        let work = || {
            connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            let mut group = Group::new(connection, &self.known, circumstances)?;
            group.expire()?;
            let outcomes = jobs.iter().map(|job| group.perform(job)).collect::<rusqlite::Result<_>>()?;
            Ok((outcomes, group.finish()?))
        };
        let before = connection.total_changes();
        let done: (Vec<Outcome>, Staged) = work().map_err(|error| Trouble::of(&error))?;
        self.close(connection, connection.total_changes() > before)?;
        Ok(done)
    }

    fn close(&self, connection: &Connection, is_change: bool) -> Result<(), Trouble> {
        let fault = if is_change { self.shared.faults.next_commit() } else { None };
        match fault {
            Some(Fault::Full) => return Err(Trouble::Full),
            Some(Fault::Write) => return Err(Trouble::Failed),
            Some(Fault::Sync) | None => {}
        }
        let begun = Instant::now();
        let committed = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        committed.map_err(|error| Trouble::of(&error))?;
        if is_change {
            self.shared.counters.committed(begun.elapsed());
        }
        if fault == Some(Fault::Sync) { Err(Trouble::Failed) } else { Ok(()) }
    }

    /// What was committed is what is known, and those who watch are told.
    fn adopt(&mut self, staged: Staged) {
        self.known.adopt(&staged);
        self.expired = staged.expired;
        let counters = &self.shared.counters;
        counters.appended.fetch_add(staged.appended, Ordering::Relaxed);
        counters.removed.fetch_add(staged.removed, Ordering::Relaxed);
        counters.records.fetch_add(staged.appended.wrapping_sub(staged.removed), Ordering::Relaxed);
        counters.rows.store(self.known.cells.rows, Ordering::Relaxed);
        if staged.news.is_empty() {
            return;
        }
        let watchers = self.shared.watchers.lock().expect("no holder of this lock panics");
        for (tab, change) in staged.news {
            for watcher in watchers.get(&tab).into_iter().flatten() {
                watcher.changed(RowChange::clone(&change));
            }
        }
    }
}

fn refuse(jobs: Vec<Job>, trouble: Trouble) {
    for job in jobs {
        job.refuse(trouble.into());
    }
}
