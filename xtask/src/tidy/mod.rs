//! `cargo xtask tidy`: the measurable rules of the style, as a program.
//!
//! Owns the list of rules and the run over the repository; each rule lives in the module of its kind and knows
//! nothing about files on disk. Start at [`run`]; a new rule is a line in [`RULES`], a function and two tests.

mod allow;
mod comments;
mod documents;
mod functions;
mod imports;
mod layout;
mod source;
mod words;
mod workspace;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};

use layout::Tree;
use source::{Role, Source};
use workspace::Package;

/// Every rule with what it asks for.
pub(crate) const RULES: [(&str, &str); 21] = [
    ("allow-list", "a line of xtask/tidy-allow.txt has a reason and excuses something"),
    ("arguments", "at most five arguments, receiver included"),
    ("bool-argument", "no bool arguments in functions others call"),
    ("cfg-feature", "no cargo features"),
    ("commented-code", "no code in comments"),
    ("crate-graph", "crates import what the design allows"),
    ("dependency-reason", "every dependency has its reason in deny.toml"),
    ("file-length", "at most 600 lines without tests"),
    ("function-length", "at most 70 lines"),
    ("get-prefix", "no name begins with get_"),
    ("hub-no-io", "no clock, network, file, lock or async in hub"),
    ("hub-words", "no protocol words in hub"),
    ("invariant-check", "every invariant of ARCHITECTURE.md names a check"),
    ("machine-path", "no paths of one machine"),
    ("module-header", "every file begins with a //! header"),
    ("orphan", "every Rust file is compiled by some target"),
    ("registry-host", "no host names of package registries"),
    (
        "server-rooms",
        "of the server only front/, back/, embed/, shard/, state/, journal/ and mail.rs see wire and hub",
    ),
    ("unfinished", "no marks for unfinished work"),
    ("unsafe", "no unsafe code"),
    ("wire-no-io", "no clock, network, file, lock or async in wire"),
];

/// One breach of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the repository.
    path: String,
    /// From 1.
    line: usize,
    rule: &'static str,
    /// What the allow-list may name: one word without spaces.
    subject: String,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {} ({})", self.path, self.line, self.rule, self.message, self.subject)
    }
}

/// Checks the repository at `root` and gives what breaks a rule, sorted. Fails when a file cannot be read or parsed.
pub(crate) fn run(root: &Path) -> Result<Vec<Finding>> {
    let files = committed(root)?;
    let mut findings = Vec::new();
    let texts = read(root, &files);
    let mut packages = packages_in(&texts, "")?;
    workspace::check_graph(&packages, &mut findings);
    workspace::check_reasons(&packages, texts.get("deny.toml").map_or("", String::as_str), &mut findings);
    architecture(&texts, &mut findings);
    for (path, text) in &texts {
        words::check_text(path, text, &mut findings);
    }
    // Servers to compare with and foreign clients are built by themselves: their sources are ours, their dependencies are not.
    packages.extend(packages_in(&texts, "xtask/peers/")?);
    packages.extend(packages_in(&texts, "acceptance/")?);
    rust(&files, &packages, texts, &mut findings)?;
    findings.sort();
    findings.dedup();
    let list = std::fs::read_to_string(root.join(allow::PATH)).unwrap_or_default();
    Ok(allow::apply(&list, findings))
}

/// What is or would be committed: the index and new files, without ignored and deleted ones.
fn committed(root: &Path) -> Result<Vec<String>> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git ls-files")?;
    anyhow::ensure!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).context("a file name that is not UTF-8")?;
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Text files only; what is no UTF-8 is data.
fn read(root: &Path, files: &[String]) -> BTreeMap<String, String> {
    let texts =
        files.iter().filter_map(|path| Some((path.clone(), std::fs::read_to_string(root.join(path)).ok()?)));
    texts.collect()
}

/// The packages in the folders directly below `parent`, which is empty or ends with a slash.
fn packages_in(texts: &BTreeMap<String, String>, parent: &str) -> Result<Vec<Package>> {
    let manifests = texts.iter().filter_map(|(path, text)| {
        let folder = path.strip_suffix("/Cargo.toml")?;
        let is_below = folder.strip_prefix(parent).is_some_and(|name| !name.contains('/'));
        is_below.then(|| Package::parse(folder, text.clone()))
    });
    manifests.collect()
}

fn architecture(texts: &BTreeMap<String, String>, out: &mut Vec<Finding>) {
    let path = "ARCHITECTURE.md";
    let known = documents::Known {
        rules: RULES.iter().map(|rule| rule.0).collect(),
        manifest: texts.get("Cargo.toml").map_or("", String::as_str),
        file: &|path| texts.get(path).cloned(),
    };
    documents::check(path, texts.get(path).map_or("", String::as_str), &known, out);
}

/// Parses every Rust file once; what no target reaches is an orphan.
fn rust(
    files: &[String],
    packages: &[Package],
    texts: BTreeMap<String, String>,
    out: &mut Vec<Finding>,
) -> Result<()> {
    let mut sources = BTreeMap::new();
    for (path, text) in texts.into_iter().filter(|(path, _)| path.ends_with(".rs")) {
        let source = Source::parse(&path, text, Role::Product)?;
        sources.insert(path, source);
    }
    let declared = |path: &str, role| {
        sources.get(path).map(|source| layout::children(path, &source.ast, role)).unwrap_or_default()
    };
    let roots = packages.iter().flat_map(|package| package.roots(files)).collect();
    let tree = Tree::follow(roots, &declared);
    for (path, mut source) in sources {
        match tree.role(&path) {
            Some(role) => source.role = role,
            None => out.push(layout::orphan(&path)),
        }
        for check in [layout::check, functions::check, comments::check, imports::check, words::check] {
            check(&source, out);
        }
    }
    Ok(())
}

#[cfg(test)]
mod testing {
    //! How the tests of the rules look at a sample.

    use super::{Finding, Role, Source};

    /// Runs one check on a sample and gives `line rule` of each finding.
    pub(super) fn findings(check: fn(&Source, &mut Vec<Finding>), path: &str, text: &str) -> Vec<String> {
        let source = Source::parse(path, text.to_owned(), Role::Product).unwrap();
        let mut out = Vec::new();
        check(&source, &mut out);
        out.iter().map(|finding| format!("{} {}", finding.line, finding.rule)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_and_named_once() {
        assert!(RULES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn a_finding_prints_place_rule_and_message() {
        let finding = Finding {
            path: "hub/src/a.rs".to_owned(),
            line: 3,
            rule: "orphan",
            subject: "file".to_owned(),
            message: "nobody reaches it".to_owned(),
        };
        assert_eq!(finding.to_string(), "hub/src/a.rs:3: orphan: nobody reaches it (file)");
    }
}
