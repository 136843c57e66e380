//! What is wrong with a configuration, and where: problems, warnings and their one-line form.
//!
//! Must not know how values are read. Start at [`Problem`].

use std::fmt;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A position in a file; lines and columns (in characters) count from 1.
    File {
        /// The name of the file as it was given.
        name: String,
        /// Line of the value, or of the key if the key is wrong.
        line: usize,
        /// Column of the same.
        column: usize,
    },
    /// The file as a whole, for a key that it lacks.
    WholeFile(String),
    /// An environment variable, by name.
    Environment(String),
    /// A command-line argument without its value.
    Argument(String),
    /// What a command or an embedding program sets before anything else.
    Preset,
    /// Nowhere: the default of the key.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line, column } => write!(out, "{name}:{line}:{column}"),
            Self::WholeFile(name) => out.write_str(name),
            Self::Environment(name) => write!(out, "environment {name}"),
            Self::Argument(argument) => out.write_str(argument),
            Self::Preset => out.write_str("preset"),
            Self::Default => out.write_str("configuration"),
        }
    }
}

/// One thing that is wrong or doubtful. Its display is one line: `place: key: text`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Which key; empty when the text could not be read at all.
    pub key: String,
    /// What, as a predicate of the key: `must be ..`.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            write!(out, "{}: {}", self.place, self.text)
        } else {
            write!(out, "{}: {}: {}", self.place, self.key, self.text)
        }
    }
}

/// Everything that is wrong, in the order of the text. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
