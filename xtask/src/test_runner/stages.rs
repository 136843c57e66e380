//! The stages that need nothing but Cargo.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Outcome, Suite};
use crate::process::{cargo, program, run};
use crate::{docs, tidy};

/// The rules of `tidy`, counted as one check.
pub(super) fn tidy(suite: &Suite<'_>) -> Result<Outcome> {
    let findings = tidy::run(suite.root)?;
    for finding in &findings {
        println!("{finding}");
    }
    let clean =
        if findings.is_empty() { Ok(()) } else { Err(anyhow::anyhow!("{} findings", findings.len())) };
    suite.check(clean).map(|()| Outcome::Passed)
}

/// Format and lints, two checks.
pub(super) fn lint(suite: &Suite<'_>) -> Result<Outcome> {
    components(suite.root)?;
    suite.check(run(&mut cargo(suite.root, &["fmt", "--all", "--check"])))?;
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    suite.check(run(&mut cargo(suite.root, &clippy)))?;
    Ok(Outcome::Passed)
}

/// A minimal toolchain comes without formatter and linter.
fn components(root: &Path) -> Result<()> {
    let missing =
        |tool: &str| !cargo(root, &[tool, "--version"]).output().is_ok_and(|output| output.status.success());
    let tools: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .iter()
        .filter(|(tool, _)| missing(tool))
        .map(|tool| tool.1)
        .collect();
    if tools.is_empty() {
        return Ok(());
    }
    let add = [&["component", "add"], tools.as_slice()].concat();
    run(&mut program("rustup", &add, root)).with_context(|| format!("missing: {}", tools.join(", ")))
}

/// Tests, examples in documentation, and with them every binary and example. All of them run, so that one report has all failures.
pub(super) fn unit(suite: &Suite<'_>) -> Result<Outcome> {
    suite.tests(&mut cargo(suite.root, &["test", "--quiet", "--workspace", "--no-fail-fast"]))?;
    Ok(Outcome::Passed)
}

/// Generated pages, counted as one check.
pub(super) fn docs(suite: &Suite<'_>) -> Result<Outcome> {
    let stale = docs::run(suite.root, docs::Mode::Check)?;
    let fresh = if stale.is_empty() {
        Ok(())
    } else {
        Err(anyhow::anyhow!("stale: {}; run `cargo xtask docs`", stale.join(", ")))
    };
    suite.check(fresh).map(|()| Outcome::Passed)
}

/// The targets as plain functions on fixed seeds, with the stable compiler.
pub(super) fn fuzz(suite: &Suite<'_>) -> Result<Outcome> {
    if !suite.root.join("fuzz/Cargo.toml").is_file() {
        return Ok(Outcome::Skipped("no fuzz/Cargo.toml"));
    }
    let mut command: Command =
        cargo(suite.root, &["test", "--quiet", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    suite.tests(command.env("CARGO_TARGET_DIR", suite.root.join("target/fuzz")))?;
    Ok(Outcome::Passed)
}
