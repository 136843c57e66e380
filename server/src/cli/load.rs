//! From arguments, file and environment to a checked configuration, for every command that needs one.
//!
//! Must not know keys other than those that have an argument of their own. Start at [`Overrides`].

use std::path::Path;

use trunkline::config::{Argument, Config, Loaded, Machine, SourceFile, Sources};

use super::Failure;

/// Arguments that set keys.
#[derive(Debug, clap::Args)]
pub(super) struct Overrides {
    /// Set one key over file and environment; repeatable. Lists are written a,b
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = parse_set)]
    set: Vec<Argument>,
}

impl Overrides {
    /// The keys that were set, for [`Sources::arguments`].
    pub(super) fn arguments(&self) -> Vec<Argument> {
        self.set.clone()
    }
}

/// Splits `section.key=value`; whether the key exists is told with all other problems.
fn parse_set(text: &str) -> Result<Argument, String> {
    let (key, value) = text.split_once('=').ok_or("must be SECTION.KEY=VALUE")?;
    let key = key.trim();
    Ok(Argument { shown: format!("--set {key}"), key: key.into(), value: value.trim().into() })
}

/// An argument of its own that sets a key: `--public`.
pub(super) fn argument(flag: &str, key: &str, value: impl ToString) -> Argument {
    Argument { shown: flag.into(), key: key.into(), value: value.to_string() }
}

/// Reads a file as a source.
pub(super) fn read_file(path: &Path) -> Result<SourceFile, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure(format!("{}: cannot be read: {error}", path.display())))?;
    Ok(SourceFile { name: path.display().to_string(), text })
}

/// The environment, without variables that are not text: none of those is a key.
pub(super) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Checks the sources on this machine.
pub(super) fn check(sources: &Sources) -> Result<Loaded, Failure> {
    Ok(Config::load(sources, Machine::detect())?)
}
