//! The state file on the disk: written whole or not at all, used once, and never a reason not to start.
//!
//! Owns the path and the files beside it: `<path>.lock` says whose it is, `<path>.part` is being written, `<path>.taken` is
//! being used, `<path>.bad` cannot be. Touches nothing that did not come from a server of the same user. Must not know what
//! is in the file. Start at [`Place::open`].

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hub::Topology;
use rustix::fs::{FlockOperation, OFlags, flock};

use super::{NodeState, format};

/// Longest state file that is written or read: 16 GiB. A longer one is not written, and the log says so.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// A path that is this process's own until this is dropped.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Held; the kernel gives it back at the end of the process, however that ends.
    _lock: File,
}

/// What lay there, moved away so that no other start finds it. Dropped without [`Taken::used`] the file goes back.
#[derive(Debug)]
pub struct Taken {
    path: PathBuf,
    is_used: bool,
}

/// Why what lies there is of no use.
enum Refused {
    /// Not written by a server of this user: not ours to move.
    Foreign(String),
    /// Ours, but good for nothing.
    Bad(String),
}

impl Place {
    /// Takes the path for this process, and what lies there. `None`: it cannot be used, nothing is restored from it and
    /// nothing will be saved there; the log says why.
    #[must_use]
    pub fn open(path: &Path, own: Topology) -> Option<(Self, Option<(NodeState, Taken)>)> {
        let shown = path.display();
        if let Err(reason) = begin(path) {
            return left_alone(path, &reason);
        }
        let place = match Self::claim(path).and_then(|place| place.try_out().map(|()| place)) {
            Ok(place) => place,
            Err(error) => {
                tracing::error!(path = %shown, %error, "the state file cannot be used: no session is restored or will be saved");
                return None;
            }
        };
        place.clear_remains();
        let read = read_own(path).and_then(|bytes| match bytes {
            None => Ok(None),
            Some(bytes) => {
                let state = format::decode(&bytes).and_then(|state| state.fitting(own));
                state.map(Some).map_err(|error| Refused::Bad(error.to_string()))
            }
        });
        match read {
            Ok(None) => Some((place, None)),
            Ok(Some(state)) => match Taken::take(path) {
                Ok(taken) => Some((place, Some((state, taken)))),
                Err(error) => {
                    tracing::error!(path = %shown, %error, "the state file cannot be moved: no session is restored or will be saved");
                    None
                }
            },
            Err(Refused::Bad(reason)) => set_aside(path, &reason).then_some((place, None)),
            Err(Refused::Foreign(reason)) => left_alone(path, &reason),
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn claim(path: &Path) -> io::Result<Self> {
        let mut options = own_options();
        let lock = options.read(true).write(true).create(true).mode(0o600).open(beside(path, "lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(io::Error::other("another server has it")),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file could be written there now, so that it is known long before it matters.
    fn try_out(&self) -> io::Result<()> {
        let part = beside(&self.path, "part");
        create(&part)?;
        std::fs::remove_file(part)
    }

    /// A process that ended in the middle of its start has given its clients numbers from this.
    fn clear_remains(&self) {
        let taken = beside(&self.path, "taken");
        if matches!(begin(&taken), Ok(Some(_))) && std::fs::remove_file(taken).is_ok() {
            let path = self.path.display();
            tracing::warn!(%path, "the last start did not come to its end: the sessions it had taken in are lost");
        }
    }

    /// Writes the file, for its owner's eyes only, and makes sure that it is on the disk. Who reads the path meanwhile, or
    /// after a failure, finds what was there before.
    ///
    /// # Errors
    /// Those of the operating system; a state longer than 16 GiB; something else than a state file of this user at the path.
    pub fn save(&self, state: &NodeState) -> io::Result<()> {
        begin(&self.path).map_err(io::Error::other)?;
        let bytes = format::encode(state).map_err(io::Error::other)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let part = beside(&self.path, "part");
        let mut file = create(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, &self.path)?;
        sync_folder(&self.path)
    }
}

impl Taken {
    fn take(path: &Path) -> io::Result<Self> {
        std::fs::rename(path, beside(path, "taken"))?;
        note_unsynced(path);
        Ok(Self { path: path.to_owned(), is_used: false })
    }

    /// The sessions in it live on here: it is removed.
    pub fn used(mut self) {
        self.is_used = true;
        match std::fs::remove_file(beside(&self.path, "taken")) {
            Ok(()) => note_unsynced(&self.path),
            // The next start finds it under this name and knows that it has been used.
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "the used state file beside this path cannot be removed");
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        if let Err(error) = std::fs::rename(beside(&self.path, "taken"), &self.path) {
            let path = self.path.display();
            tracing::error!(%path, %error, "the state file cannot be put back: its sessions are lost");
        }
    }
}

/// All of it, if it is a state file of this user. `None`: there is no file.
fn read_own(path: &Path) -> Result<Option<Vec<u8>>, Refused> {
    let Some((file, length)) = begin(path).map_err(Refused::Foreign)? else { return Ok(None) };
    let bad = |reason: String| Refused::Bad(reason);
    if length > FILE_BYTES_MAX {
        return Err(bad(format!("it has {length} bytes, which is more than {FILE_BYTES_MAX}")));
    }
    let mut bytes = format::MAGIC.to_vec();
    bytes.reserve_exact(usize::try_from(length).unwrap_or(0));
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| bad(error.to_string()))?;
    Ok(Some(bytes))
}

/// Opens it behind its first bytes, which are those of a state file; and its length in bytes. Waits for nothing, follows no
/// link: the path may name anything. Others must not be able to write it, or they could make sessions up, nor to read it.
///
/// # Errors
/// Why it is not ours.
fn begin(path: &Path) -> Result<Option<(File, u64)>, String> {
    let foreign = |reason: &str| Err(reason.to_owned());
    let mut file = match own_options().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return foreign(&error.to_string()),
    };
    let facts = file.metadata().map_err(|error| error.to_string())?;
    if !facts.is_file() {
        return foreign("it is no regular file");
    }
    if facts.uid() != rustix::process::geteuid().as_raw() {
        return foreign("it belongs to another user");
    }
    let mut first = [0; format::MAGIC.len()];
    if file.read_exact(&mut first).is_err() || first != format::MAGIC {
        return foreign("it does not begin like a state file");
    }
    if facts.mode() & 0o077 != 0 {
        return foreign("others than its owner may read or write it");
    }
    Ok(Some((file, facts.len())))
}

fn left_alone<T>(path: &Path, reason: &str) -> Option<T> {
    let path = path.display();
    tracing::error!(%path, reason, "this is no state file of ours and left alone: no session is restored or will be saved");
    None
}

/// Moves it away; `false` when that fails.
fn set_aside(path: &Path, reason: &str) -> bool {
    let aside = beside(path, "bad");
    let moved = std::fs::rename(path, &aside);
    let (path, aside) = (path.display(), aside.display());
    match &moved {
        Ok(()) => {
            tracing::error!(%path, reason, kept_as = %aside, "no session is restored: the state file cannot be used");
        }
        Err(error) => {
            tracing::error!(%path, reason, %error, "the state file cannot be used, nor moved away: no session is restored or will be saved");
        }
    }
    moved.is_ok()
}

/// Afresh, so that nobody else has it open or may read it.
fn create(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Neither waits for the other end of a pipe nor follows a link.
fn own_options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
    options
}

/// A rename is on the disk when its folder is. One that is not has been made all the same: only a crash of the machine
/// could undo it.
fn note_unsynced(path: &Path) {
    if let Err(error) = sync_folder(path) {
        tracing::warn!(path = %path.display(), %error, "the folder of the state file cannot be synced");
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// `<path>.<ending>`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
