//! The stage with clients we did not write: builds the product, fetches the clients, runs them.
//!
//! Everything it installs stays in `acceptance/`, but for Debian packages, which it installs only as root and only
//! when their program is missing.

use anyhow::Result;

use super::{Outcome, Suite};
use crate::install;
use crate::process::{build, cargo, program};

/// What the clients need.
const PROGRAMS: [install::Program; 8] = [
    ("curl", &["--version"], "curl"),
    // A browser without a window, for its EventSource.
    ("chromium-headless-shell", &["--version"], "chromium-headless-shell"),
    ("node", &["--version"], "nodejs"),
    ("npm", &["--version"], "npm"),
    ("python3", &["--version"], "python3"),
    ("python3", &["-m", "ensurepip", "--version"], "python3-venv"),
    // Its programs say what they are and fail.
    ("sh", &["-c", "command -v mosquitto_pub && command -v mosquitto_sub"], "mosquitto-clients"),
    // A broker on the other side of a bridge; Debian has it where only root looks.
    ("sh", &["-c", "PATH=$PATH:/usr/sbin command -v mosquitto"], "mosquitto"),
];

/// The whole stage.
pub(super) fn run(suite: &Suite<'_>) -> Result<Outcome> {
    let folder = suite.root.join("acceptance");
    if !folder.join("package.json").is_file() {
        return Ok(Outcome::Skipped("no acceptance/package.json"));
    }
    install::debian(&PROGRAMS)?;
    let binaries = build(suite.root)?;
    install::node_modules(&folder)?;
    install::python_clients(&folder)?;
    install::aws_cli(&folder)?;
    suite.tests(program("node", &["run.mjs"], &folder).env("TRUNKLINE_BIN_DIR", &binaries))?;
    // Clients in Rust are a workspace of their own; what they need is built beside what we need.
    let clients = ["test", "--quiet", "--locked", "--manifest-path", "acceptance/rust/Cargo.toml"];
    let mut clients = cargo(suite.root, &clients);
    clients.env("CARGO_TARGET_DIR", suite.root.join("target/acceptance"));
    suite.tests(clients.env("TRUNKLINE_BIN_DIR", &binaries))?;
    Ok(Outcome::Passed)
}
