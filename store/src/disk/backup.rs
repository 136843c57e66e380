//! A copy of the store while it is used. The writer copies some pages between two groups; what it changes meanwhile it
//! changes in the copy, too, so the copying never begins anew and no reader holds the write-ahead log.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::format::renew_epoch;
use super::home::sync_folder;
use super::mailbox::{Job, Task, Told};
use super::writer::State;
use super::{Progress, Shared};
use crate::{StoreError, Timestamp};

/// Pages copied at once: what a commit may have to wait for.
const STEP_PAGES: i32 = 128;

/// Has the writer make a copy, and makes a store of its own of it.
pub(super) fn run(shared: &Shared, to: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<()> {
    if to.try_exists()? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let part = part_of(to);
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    let made = copy(shared, &part, progress).and_then(|()| renew(&part, shared.epoch, shared.clock.now()));
    let made = made.and_then(|()| std::fs::rename(&part, to));
    if let Err(error) = made {
        // What is left of it is of no use, and where it cannot be removed it does no harm.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    sync_folder(to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn part_of(to: &Path) -> PathBuf {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

fn copy(shared: &Shared, part: &Path, progress: &mut dyn FnMut(Progress)) -> io::Result<()> {
    let (told, news) = channel();
    shared.mailbox.push(Job::Task(Task::Backup { to: part.to_owned(), told }));
    for one in news {
        match one {
            Told::Progress(done) => progress(done),
            Told::Over(result) => return result.map_err(io::Error::other),
            Told::Broken(error) => return Err(io::Error::other(error)),
        }
    }
    Err(io::Error::other(StoreError::Failed))
}

/// Nobody may go on from the positions of the other store here: both will give the next ones.
fn renew(part: &Path, epoch: u64, now: Timestamp) -> io::Result<()> {
    let work = || {
        let copy = Connection::open(part)?;
        // Without a write-ahead log beside it the copy is one file.
        copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        renew_epoch(&copy, epoch, now)?;
        copy.close().map_err(|(_, error)| error)
    };
    work().map_err(|error: rusqlite::Error| io::Error::other(error))?;
    File::open(part)?.sync_all()
}

/// The writer's side of it.
pub(super) fn perform(connection: &Connection, state: &mut State, to: &Path, told: &Sender<Told>) {
    let word = match steps(connection, state, to, told) {
        Ok(ControlFlow::Continue(())) => Told::Over(Ok(())),
        Ok(ControlFlow::Break(())) => Told::Over(Err(StoreError::Failed)),
        Err(error) => Told::Broken(error.to_string()),
    };
    // Nobody may be listening any more.
    let _ = told.send(word);
}

fn steps(
    connection: &Connection,
    state: &mut State,
    to: &Path,
    told: &Sender<Told>,
) -> rusqlite::Result<ControlFlow<()>> {
    let mut copy = Connection::open(to)?;
    // The copy counts when it is complete and synced, by whoever asked for it.
    copy.pragma_update(None, "synchronous", "OFF")?;
    copy.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
    let backup = Backup::new(connection, &mut copy)?;
    loop {
        let step = backup.step(STEP_PAGES)?;
        let pages = backup.progress();
        let (total, left) = (pages.pagecount.unsigned_abs(), pages.remaining.unsigned_abs());
        let is_heard = told.send(Told::Progress(Progress {
            done: u64::from(total.saturating_sub(left)),
            total: u64::from(total),
        }));
        if step == StepResult::Done {
            return Ok(ControlFlow::Continue(()));
        }
        if is_heard.is_err() || state.go_on(connection) == ControlFlow::Break(()) {
            return Ok(ControlFlow::Break(()));
        }
    }
}
