//! Debian packages that stages need: installed as root when their program is missing, otherwise named.
//!
//! Must not know what for. Start at [`install`].

use std::path::Path;

use anyhow::Result;

use crate::process::{self, program, works};

/// A program of a package.
pub(super) struct Needed {
    pub(super) name: &'static str,
    /// Arguments with which it ends well when it is there.
    pub(super) trial: &'static [&'static str],
    pub(super) package: &'static str,
}

/// Installs what is missing, or says what to install.
pub(super) fn install(programs: &[Needed]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|one| !works(one.name, one.trial)).map(|one| one.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    anyhow::ensure!(
        works("apt-get", &["--version"]) && works("sh", &["-c", "test \"$(id -u)\" = 0"]),
        "missing: {list}; install them (as root on Debian: apt-get install {list})"
    );
    apt(&["update", "-q"])?;
    let install = [&["install", "-q", "-y", "--no-install-recommends"], missing.as_slice()].concat();
    apt(&install)
}

fn apt(arguments: &[&str]) -> Result<()> {
    process::run(program("apt-get", arguments, Path::new("/")).env("DEBIAN_FRONTEND", "noninteractive"))
}
