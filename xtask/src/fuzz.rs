//! `cargo xtask fuzz`: the libFuzzer targets, for as long as one likes.
//!
//! Needs the nightly compiler and cargo-fuzz; the deterministic short runs of `cargo xtask test` need neither.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::{program, run, works};

/// Fuzzes one target or, one after another, all of them.
pub(crate) fn fuzz(root: &Path, target: Option<String>, seconds: u32) -> Result<()> {
    anyhow::ensure!(root.join("fuzz/Cargo.toml").is_file(), "no fuzz/Cargo.toml");
    anyhow::ensure!(
        works("cargo", &["+nightly", "--version"]),
        "the nightly compiler is missing: rustup toolchain install nightly --profile minimal"
    );
    anyhow::ensure!(works("cargo", &["+nightly", "fuzz", "--version"]), "missing: cargo install cargo-fuzz");
    let targets = match target {
        Some(target) => vec![target],
        None => targets(&std::fs::read_to_string(root.join("fuzz/Cargo.toml"))?)?,
    };
    let limit = format!("-max_total_time={seconds}");
    for target in targets {
        run(&mut program("cargo", &["+nightly", "fuzz", "run", &target, "--", &limit], root))?;
    }
    Ok(())
}

/// The names of the binaries of the manifest.
fn targets(manifest: &str) -> Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse().context("fuzz/Cargo.toml")?;
    let binaries =
        manifest.get("bin").and_then(toml::Value::as_array).context("fuzz/Cargo.toml has no [[bin]]")?;
    Ok(binaries.iter().filter_map(|binary| binary.get("name")?.as_str()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_binaries_of_the_manifest() {
        let manifest = "[[bin]]\nname = \"a\"\n[[bin]]\nname = \"b\"\n";
        assert_eq!(targets(manifest).unwrap(), ["a", "b"]);
        assert!(targets("[package]").is_err());
    }
}
