//! The directory of a store: whose it is, and that nobody else reads it. Knows nothing of what is in the files.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::OpenError;

/// Name of the database; the engine puts `-wal` and `-shm` beside it.
const DATABASE: &str = "trunkline.db";
const LOCK: &str = "lock";

/// A directory that is this process's own until this is dropped.
pub(super) struct Home {
    directory: PathBuf,
    /// Held; the kernel gives it back at the end of the process, however that ends.
    _lock: File,
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
        let home = Self { directory: directory.to_owned(), _lock: lock(directory)? };
        // The engine gives the files beside it the same permissions.
        own_options().append(true).open(home.database())?;
        sync_folder(directory)?;
        Ok(home)
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
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::Locked { directory: directory.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
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
