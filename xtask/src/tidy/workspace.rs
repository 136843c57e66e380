//! The manifests: which crate may depend on which, and that every dependency has its reason.
//!
//! A crate exists where the compiler should forbid an import; [`GRAPH`] says which ones. Reasons stand in `deny.toml`
//! as `# reason: crate - why`.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::layout::is_automatic_root;
use super::source::Role;

/// What of ours each folder may import: `load -> wire <- server -> hub <- store <- server`, and the server starts the
/// load generator for `trunkline bench`.
const GRAPH: [(&str, &[&str]); 7] = [
    ("wire", &[]),
    ("hub", &[]),
    ("store", &["hub"]),
    ("server", &["wire", "hub", "store", "load"]),
    ("load", &["wire"]),
    ("xtask", &[]),
    ("fuzz", &["wire", "hub", "store", "server"]),
];
/// Crates that do I/O, wait or read clocks: never below the server.
const IMPURE: [&str; 9] =
    ["tokio", "mio", "socket2", "hyper", "rustls", "reqwest", "rusqlite", "async-std", "chrono"];

/// One `Cargo.toml` of a package.
pub(crate) struct Package {
    /// Relative folder, `hub`.
    pub(crate) folder: String,
    manifest: toml::Table,
    text: String,
}

impl Package {
    /// Fails when the manifest is no TOML.
    pub(crate) fn parse(folder: &str, text: String) -> anyhow::Result<Self> {
        let manifest = text.parse().map_err(|error| anyhow::anyhow!("{folder}/Cargo.toml: {error}"))?;
        Ok(Self { folder: folder.to_owned(), manifest, text })
    }

    /// Names of all dependencies of any kind, as Cargo knows the packages.
    fn dependencies(&self) -> BTreeSet<String> {
        let mut tables: Vec<&toml::Table> = vec![&self.manifest];
        if let Some(targets) = self.manifest.get("target").and_then(toml::Value::as_table) {
            tables.extend(targets.values().filter_map(toml::Value::as_table));
        }
        let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
        let lists =
            tables.iter().flat_map(|table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()));
        lists.flatten().map(|(name, value)| renamed(name, value)).collect()
    }

    /// Files Cargo compiles as roots: the automatic ones out of `files` and those the manifest names.
    pub(crate) fn roots(&self, files: &[String]) -> Vec<(String, Role)> {
        let automatic =
            files.iter().filter_map(|path| Some((path.clone(), is_automatic_root(&self.folder, path)?)));
        let mut roots: Vec<(String, Role)> = automatic.collect();
        for (kind, role) in [
            ("lib", Role::Product),
            ("bin", Role::Product),
            ("example", Role::Product),
            ("test", Role::Test),
            ("bench", Role::Test),
        ] {
            let tables = match self.manifest.get(kind) {
                Some(toml::Value::Table(table)) => vec![table],
                Some(toml::Value::Array(list)) => list.iter().filter_map(toml::Value::as_table).collect(),
                _ => Vec::new(),
            };
            let paths = tables.iter().filter_map(|table| table.get("path")?.as_str());
            roots.extend(paths.map(|path| (format!("{}/{path}", self.folder), role)));
        }
        roots
    }

    fn found(&self, rule: &'static str, subject: &str, message: String) -> Finding {
        let at = self.text.lines().position(|line| line.starts_with(subject)).unwrap_or_default();
        Finding {
            path: format!("{}/Cargo.toml", self.folder),
            line: at + 1,
            rule,
            subject: subject.to_owned(),
            message,
        }
    }
}

/// A dependency under another name says so in `package`.
fn renamed(name: &str, value: &toml::Value) -> String {
    value.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
}

/// The folder of ours a dependency means: `wire` and `trunkline-wire` alike.
fn ours(name: &str) -> Option<&'static str> {
    let short = if name == "trunkline" { "server" } else { name.strip_prefix("trunkline-").unwrap_or(name) };
    GRAPH.iter().map(|(folder, _)| *folder).find(|folder| *folder == short)
}

/// The graph of crates.
pub(crate) fn check_graph(packages: &[Package], out: &mut Vec<Finding>) {
    for package in packages {
        let Some((_, allowed)) = GRAPH.iter().find(|(folder, _)| *folder == package.folder) else {
            let message = format!("`{}` has no line in the graph of crates", package.folder);
            out.push(package.found("crate-graph", "name", message));
            continue;
        };
        for name in package.dependencies() {
            let forbidden = ours(&name).is_some_and(|folder| !allowed.contains(&folder));
            let impure =
                ["wire", "hub"].contains(&package.folder.as_str()) && IMPURE.contains(&name.as_str());
            if forbidden || impure {
                let message = format!("`{}` must not depend on `{name}`", package.folder);
                out.push(package.found("crate-graph", &name, message));
            }
        }
    }
}

/// Every dependency has a reason, every reason a dependency.
pub(crate) fn check_reasons(packages: &[Package], deny: &str, out: &mut Vec<Finding>) {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, line) in deny.lines().enumerate() {
        let reason = line.trim().strip_prefix("# reason:").and_then(|reason| reason.split_once(" - "));
        if let Some((name, why)) = reason
            && !why.trim().is_empty()
        {
            reasons.insert(name.trim(), index + 1);
        }
    }
    let mut used = BTreeSet::new();
    for package in packages {
        for name in package.dependencies().into_iter().filter(|name| ours(name).is_none()) {
            if !reasons.contains_key(name.as_str()) {
                let message = format!("`{name}` has no `# reason: {name} - why` in deny.toml");
                out.push(package.found("dependency-reason", &name, message));
            }
            used.insert(name);
        }
    }
    for (name, line) in reasons.into_iter().filter(|(name, _)| !used.contains(*name)) {
        out.push(Finding {
            path: "deny.toml".to_owned(),
            line,
            rule: "dependency-reason",
            subject: name.to_owned(),
            message: format!("`{name}` is a reason for a dependency nobody has"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(folder: &str, text: &str) -> Package {
        Package::parse(folder, text.to_owned()).unwrap()
    }

    fn graph(folder: &str, text: &str) -> Vec<String> {
        let mut out = Vec::new();
        check_graph(&[package(folder, text)], &mut out);
        out.iter().map(|finding| format!("{} {}", finding.line, finding.rule)).collect()
    }

    #[test]
    fn the_arrows_of_the_design_hold() {
        assert_eq!(graph("wire", "[dependencies]\nhub.workspace = true"), ["2 crate-graph"]);
        assert_eq!(graph("hub", "[dev-dependencies]\nstore.workspace = true"), ["2 crate-graph"]);
        assert_eq!(graph("load", "[dependencies]\ntrunkline = { path = \"../server\" }"), ["2 crate-graph"]);
        assert_eq!(graph("hub", "[target.'cfg(unix)'.dependencies]\ntokio = \"1\""), ["2 crate-graph"]);
        assert_eq!(graph("new", "[package]\nname = \"new\""), ["2 crate-graph"]);
        assert_eq!(graph("store", "[dependencies]\nhub.workspace = true\nbytes = \"1\""), [""; 0]);
        assert_eq!(graph("server", "[dependencies]\nwire = { package = \"trunkline-wire\" }"), [""; 0]);
    }

    fn reasons(manifest: &str, deny: &str) -> Vec<String> {
        let mut out = Vec::new();
        check_reasons(&[package("hub", manifest)], deny, &mut out);
        out.iter().map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.subject)).collect()
    }

    #[test]
    fn a_dependency_has_a_reason_and_a_reason_a_dependency() {
        let manifest = "[dependencies]\nbytes = \"1\"\nstore = \"1\"";
        assert_eq!(reasons(manifest, ""), ["hub/Cargo.toml:2 bytes"]);
        assert_eq!(reasons(manifest, "# reason: bytes - "), ["hub/Cargo.toml:2 bytes"]);
        assert_eq!(reasons(manifest, "# reason: bytes - shared buffers"), [""; 0]);
        assert_eq!(reasons(manifest, "# reason: bytes - b\n# reason: serde - c"), ["deny.toml:2 serde"]);
    }

    #[test]
    fn targets_of_the_manifest_are_roots() {
        let fuzz = package("fuzz", "[[bin]]\nname = \"a\"\npath = \"targets/a.rs\"");
        let files = ["fuzz/src/lib.rs", "fuzz/src/other.rs"].map(str::to_owned);
        let roots: Vec<String> = fuzz.roots(&files).into_iter().map(|root| root.0).collect();
        assert_eq!(roots, ["fuzz/src/lib.rs", "fuzz/targets/a.rs"]);
    }
}
