//! The stage with clients we did not write: builds the product, fetches the clients, runs them.
//!
//! Everything it installs stays in `acceptance/`, but for Debian packages, which it installs only as root and only
//! when their program is missing.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::packages::{self, Needed};
use super::{Outcome, Suite};
use crate::process::{self, build, program};

/// What the clients need.
const PROGRAMS: [Needed; 5] = [
    Needed { name: "curl", trial: &["--version"], package: "curl" },
    Needed { name: "node", trial: &["--version"], package: "nodejs" },
    Needed { name: "npm", trial: &["--version"], package: "npm" },
    Needed { name: "python3", trial: &["--version"], package: "python3" },
    Needed { name: "python3", trial: &["-m", "ensurepip", "--version"], package: "python3-venv" },
];

/// The whole stage.
pub(super) fn run(suite: &Suite<'_>) -> Result<Outcome> {
    let folder = suite.root.join("acceptance");
    if !folder.join("package.json").is_file() {
        return Ok(Outcome::Skipped("no acceptance/package.json"));
    }
    packages::install(&PROGRAMS)?;
    let binaries = build(suite.root)?;
    node_modules(&folder)?;
    python(&folder)?;
    suite.tests(program("node", &["run.mjs"], &folder).env("TRUNKLINE_BIN_DIR", binaries))?;
    Ok(Outcome::Passed)
}

/// `npm ci`, unless the folder is younger than the lock file.
fn node_modules(folder: &Path) -> Result<()> {
    if is_newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    process::run(&mut program("npm", &["ci", "--no-audit", "--no-fund"], folder))
}

/// A virtual environment, unless one is younger than the list of packages.
fn python(folder: &Path) -> Result<()> {
    let (list, stamp) = (folder.join("requirements.txt"), folder.join(".venv/installed"));
    if !list.is_file() || is_newer(&stamp, &list) {
        return Ok(());
    }
    process::run(&mut program("python3", &["-m", "venv", ".venv"], folder))?;
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
    process::run(&mut program(folder.join(".venv/bin/python3"), &install, folder))?;
    std::fs::write(&stamp, "").with_context(|| format!("{}", stamp.display()))
}

/// Whether `made` exists and is not older than what it was made from.
fn is_newer(made: &Path, from: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    time(made) >= time(from) && time(made).is_some()
}
