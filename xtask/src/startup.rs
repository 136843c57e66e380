//! `cargo xtask startup`: how long the release build takes to start over a directory that holds much, and with what memory.
//!
//! Must not know what is kept (`acceptance/py/startup.py`). Start at [`run`].

use std::path::Path;

use anyhow::Result;

use crate::crash::against_release;

/// Fill a server, kill it, and measure its next start.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Sessions of MQTT that are away.
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Messages that wait for each.
    #[arg(long, default_value_t = 100)]
    messages: u32,
    /// Retained values.
    #[arg(long, default_value_t = 100_000)]
    retained: u32,
}

/// Prints the figures.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let Options { sessions, messages, retained } = options;
    let words = [("--sessions", sessions), ("--messages", messages), ("--retained", retained)];
    let words: Vec<_> =
        words.iter().flat_map(|(name, value)| [(*name).to_owned(), value.to_string()]).collect();
    against_release(root, "py.startup", &words)
}
