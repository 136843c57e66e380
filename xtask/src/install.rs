//! What chores need from package managers: Debian's packages, packages of Node.js and of Python.
//!
//! Installs Debian packages only as root and only when their program is missing; everything else stays in the folder
//! it is for. Must not know who needs it. Start at [`debian`] and [`node_modules`].

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::{self, program, works};

/// A program: how to see that it works, and Debian's package.
pub(crate) type Program = (&'static str, &'static [&'static str], &'static str);

/// Installs what is missing, or says what to install.
pub(crate) fn debian(programs: &[Program]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(name, arguments, _)| !works(name, arguments)).map(|row| row.2).collect();
    debian_packages(&missing)
}

/// Installs these, or says that they are to be installed.
pub(crate) fn debian_packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    anyhow::ensure!(
        works("apt-get", &["--version"]) && works("sh", &["-c", "test \"$(id -u)\" = 0"]),
        "missing: {list}; install them (as root on Debian: apt-get install {list})"
    );
    apt(&["update", "-q"])?;
    let install = [&["install", "-q", "-y", "--no-install-recommends"], missing].concat();
    apt(&install)
}

fn apt(arguments: &[&str]) -> Result<()> {
    process::run(program("apt-get", arguments, Path::new("/")).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// `npm ci`, unless the folder is younger than the lock file.
pub(crate) fn node_modules(folder: &Path) -> Result<()> {
    if is_newer(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
        return Ok(());
    }
    process::run(&mut program("npm", &["ci", "--no-audit", "--no-fund"], folder))
}

/// Packages of Python in a virtual environment, unless that is younger than their list.
pub(crate) fn python_packages(list: &Path, environment: &Path) -> Result<()> {
    let stamp = environment.join("installed");
    if is_newer(&stamp, list) {
        return Ok(());
    }
    let here = Path::new(".");
    process::run(program("python3", &["-m", "venv"], here).arg(environment))?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    process::run(program(environment.join("bin/python3"), &install, here).arg(list))?;
    std::fs::write(&stamp, "").with_context(|| format!("{}", stamp.display()))
}

/// What the Python clients of `acceptance/` need, beside them.
pub(crate) fn python_clients(folder: &Path) -> Result<()> {
    python_packages(&folder.join("requirements.txt"), &folder.join(".venv"))
}

/// The AWS CLI, which wants versions of its own of what the others need, too.
pub(crate) fn aws_cli(folder: &Path) -> Result<()> {
    python_packages(&folder.join("requirements-awscli.txt"), &folder.join(".venv-awscli"))
}

/// Whether `made` exists and is not older than what it was made from.
pub(crate) fn is_newer(made: &Path, from: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    time(made) >= time(from) && time(made).is_some()
}
