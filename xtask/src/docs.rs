//! Generated references: which files they are, which command writes them, whether they are up to date.
//!
//! Configuration keys, limits, reasons and routes are declared once in the product; the binary prints them as pages.
//! A new page is a line in [`GENERATED`]. This module never knows what stands on a page.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::process::build;

/// One page and the arguments after `trunkline` that print it.
pub(crate) struct Generated {
    /// Relative to the repository.
    pub(crate) path: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

/// Every generated page.
pub(crate) const GENERATED: &[Generated] = &[
    Generated { path: "docs/cli.md", arguments: &["reference", "cli"] },
    Generated { path: "docs/config.md", arguments: &["reference", "config"] },
    Generated { path: "docs/limits.md", arguments: &["reference", "limits"] },
    Generated { path: "docs/metrics.md", arguments: &["reference", "metrics"] },
    Generated { path: "docs/openapi.json", arguments: &["reference", "openapi"] },
    Generated { path: "trunkline.toml", arguments: &["reference", "example"] },
];

/// What is to be done with a page that differs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write it.
    Write,
    /// Name it.
    Check,
}

/// Gives the pages that differed. Fails when the binary cannot be built or run.
pub(crate) fn run(root: &Path, mode: Mode) -> Result<Vec<String>> {
    let binary = build(root)?.join("trunkline");
    let mut stale = compare(root, GENERATED, mode, &|arguments| print(&binary, arguments))?;
    // What was measured on it stays; what people write beside that follows.
    let benchmarks = [Generated { path: crate::compare::PAGE, arguments: &[] }];
    stale.extend(compare(root, &benchmarks, mode, &|_| crate::compare::page_of_now(root))?);
    Ok(stale)
}

fn compare(
    root: &Path,
    pages: &[Generated],
    mode: Mode,
    print: &dyn Fn(&[&str]) -> Result<String>,
) -> Result<Vec<String>> {
    let mut stale = Vec::new();
    for page in pages {
        let path = root.join(page.path);
        let wanted = print(page.arguments)?;
        if std::fs::read_to_string(&path).is_ok_and(|now| now == wanted) {
            continue;
        }
        stale.push(page.path.to_owned());
        if mode == Mode::Write {
            let folder = path.parent().context("a page stands in a folder")?;
            std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
            std::fs::write(&path, wanted).with_context(|| format!("{}", path.display()))?;
        }
    }
    Ok(stale)
}

/// What the binary prints.
fn print(binary: &Path, arguments: &[&str]) -> Result<String> {
    let output = std::process::Command::new(binary).args(arguments).output()?;
    anyhow::ensure!(
        output.status.success(),
        "trunkline {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("a page that is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGES: &[Generated] = &[Generated { path: "reference/a.md", arguments: &["reference", "a"] }];

    #[test]
    fn a_stale_page_is_named_then_written_then_fresh() {
        let root = std::env::temp_dir().join(format!("xtask-docs-{}", std::process::id()));
        let print = |arguments: &[&str]| Ok(format!("# {}\n", arguments.join(" ")));
        let run = |mode| compare(&root, PAGES, mode, &print).unwrap();
        assert_eq!(run(Mode::Check), ["reference/a.md"]);
        assert!(!root.join("reference/a.md").exists(), "a check writes nothing");
        assert_eq!(run(Mode::Write), ["reference/a.md"]);
        assert_eq!(run(Mode::Check), [""; 0]);
        std::fs::write(root.join("reference/a.md"), "edited by hand\n").unwrap();
        assert_eq!(run(Mode::Check), ["reference/a.md"]);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn a_page_that_cannot_be_printed_is_an_error() {
        let broken = |_: &[&str]| anyhow::bail!("no such page");
        assert!(compare(Path::new("."), PAGES, Mode::Check, &broken).is_err());
    }
}
