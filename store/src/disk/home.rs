//! The directory of a store: whose it is, that nobody else reads it, and how its last life ended. Knows nothing of what is in
//! the database.
//!
//! The file `lock` is locked by the process that has the store open, and says which that is, when it syncs, and since which
//! start of the machine. An orderly end empties it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::{Fsync, OpenError};

/// Name of the database; the engine puts `-wal` and `-shm` beside it.
const DATABASE: &str = "trunkline.db";
const LOCK: &str = "lock";
/// How the lock says that each commit was synced.
const ALWAYS: &str = "always";
/// Times that a lock which nobody says is his is tried again, and how long apart: a process is another program soon.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Whether a store is in the directory. Changes nothing, and does not say whether it can be opened.
#[must_use]
pub fn is_there(directory: &Path) -> bool {
    directory.join(DATABASE).is_file()
}

/// A directory that is this process's own until this is dropped.
pub(super) struct Home {
    directory: PathBuf,
    /// Held; the kernel gives it back at the end of the process, however that ends.
    lock: File,
}

/// What the last life leaves to doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Nothing: each commit was synced before the next one, or the machine has not crashed since.
    Nothing,
    /// Some of the last commits may be gone, and not in order.
    Tail,
}

impl Home {
    /// Makes the directory where there is none, for its owner's eyes only, with an empty database.
    pub(super) fn claim(directory: &Path) -> Result<Self, OpenError> {
        if !directory.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        if let Some(kind) = network(directory)? {
            return Err(OpenError::NetworkFileSystem { directory: directory.to_owned(), kind });
        }
        let home = Self { directory: directory.to_owned(), lock: lock(directory)? };
        // The engine gives the files beside it the same permissions.
        own_options().append(true).open(home.database())?;
        sync_folder(directory)?;
        Ok(home)
    }

    /// Whether there is a database in a directory.
    pub(super) fn is_in(directory: &Path) -> bool {
        directory.join(DATABASE).is_file()
    }

    /// How the life before this one ended.
    pub(super) fn doubt(&mut self) -> io::Result<Doubt> {
        let mut text = String::new();
        self.lock.rewind()?;
        // What is no text was written by nobody here, and says nothing.
        let _ = self.lock.read_to_string(&mut text);
        let mut words = text.split_whitespace().skip(1);
        Ok(match (words.next(), words.next()) {
            (None, _) | (Some(ALWAYS), _) => Doubt::Nothing,
            (Some(_), Some(boot)) if boot == self::boot() => Doubt::Nothing,
            _ => Doubt::Tail,
        })
    }

    /// Says whose it is from now on.
    pub(super) fn begin(&mut self, fsync: Fsync) -> io::Result<()> {
        let fsync = match fsync {
            Fsync::Always => ALWAYS,
            Fsync::Interval(_) => "interval",
            Fsync::Never => "never",
        };
        self.lock.rewind()?;
        self.lock.set_len(0)?;
        writeln!(self.lock, "{} {fsync} {}", std::process::id(), boot())?;
        self.lock.sync_all()
    }

    /// Says that it ended in order, everything being on the disk.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.sync_all()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }
}

fn lock(directory: &Path) -> Result<File, OpenError> {
    let mut file = own_options().read(true).write(true).open(directory.join(LOCK))?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let pid = read.ok().and_then(|_| text.split_whitespace().next()?.parse().ok());
        // Nobody says that it is his: of a process that its last owner was just starting, which has all of its files until it
        // is another program.
        if pid.is_some() || tries == LOCK_TRIES {
            return Err(OpenError::Locked { directory: directory.to_owned(), pid });
        }
        tries += 1;
        std::thread::sleep(LOCK_WAIT);
    }
}

/// Which start of the machine this is.
fn boot() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    read.map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// Made when it is not there, never through a link, for its owner only.
fn own_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600).custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0));
    options
}

/// A new name is on the disk when its folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The name of the file system, when it is one of those that lie on another machine (`statfs(2)`).
fn network(directory: &Path) -> io::Result<Option<&'static str>> {
    let kind = rustix::fs::statfs(directory)?.f_type;
    Ok(match u32::try_from(kind).unwrap_or(0) {
        0x6969 => Some("nfs"),
        0x517b => Some("smb"),
        0xfe53_4d42 => Some("smb2"),
        0xff53_4d42 => Some("cifs"),
        0x0102_1997 => Some("9p"),
        0x00c3_6400 => Some("ceph"),
        0x5346_414f => Some("afs"),
        _ => None,
    })
}
