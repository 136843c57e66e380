//! Why a scenario could not be run, in words for the person at the terminal.
//!
//! A run that took place but proves nothing is no error: the report carries that as void.

use std::fmt;

/// What went wrong, and what to do about it where we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// From a sentence.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// From what was tried and how the system answered.
    pub(crate) fn io(tried: impl fmt::Display, error: &std::io::Error) -> Self {
        Self(format!("{tried}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
