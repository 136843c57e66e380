//! The file of what a back end has heard, for those who check it: one line of JSON for each event.
//!
//! Must not know what events are. Start at [`Record::add`].

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Error;

/// Held before it is written: a write for hundreds of events costs nothing beside what came over the network.
const HELD_BYTES: usize = 256 << 10;

/// When nothing comes for so long, what is held is written, for those who read meanwhile.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Record {
    pub(super) fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path);
        let file = file.map_err(|error| Error::io(format!("writing {}", path.display()), &error))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::with_capacity(HELD_BYTES, file) })
    }

    /// `event` is valid JSON.
    pub(super) fn add(&mut self, event: &str) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        // Between the tokens of JSON a line break is a space, and within them there is none.
        let one_line = event.replace(['\r', '\n'], " ");
        let written = writeln!(self.file, "{{\"heard_ms\":{now},\"event\":{one_line}}}");
        written.map_err(|error| self.failed(&error))
    }

    /// How long nothing may come until [`Record::flush`]; `None` if nothing is held.
    pub(super) fn flush_after(&self) -> Option<Duration> {
        (!self.file.buffer().is_empty()).then_some(FLUSH_AFTER)
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.file.flush().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::io(format!("writing {}", self.path.display()), error)
    }
}
