//! Rules about files: length, module header, orphans.
//!
//! [`Tree`] follows `mod` declarations from Cargo's targets, which also tells product files from test files.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::source::{Role, Source, attributes, is_cfg_test};

/// Tests not counted.
const FILE_LINES_MAX: usize = 600;
/// Shorter headers say nothing.
const HEADER_BYTES_MIN: usize = 16;

/// File length and module header.
pub(crate) fn check(source: &Source, out: &mut Vec<Finding>) {
    let found = |line, rule: &'static str, message| Finding {
        path: source.path.clone(),
        line,
        rule,
        subject: "file".to_owned(),
        message,
    };
    let tests: BTreeSet<usize> = source.test_lines.iter().cloned().flatten().collect();
    let lines = source.text.lines().count() - tests.len();
    if source.role == Role::Product && lines > FILE_LINES_MAX {
        let message = format!("{lines} lines without tests, at most {FILE_LINES_MAX}");
        out.push(found(1, "file-length", message));
    }
    let header = source.text.lines().next().and_then(|line| line.strip_prefix("//!")).unwrap_or_default();
    if header.trim().len() < HEADER_BYTES_MIN {
        let message = "starts with no `//!` header: what it owns, what it must not know, where to start";
        out.push(found(1, "module-header", message.to_owned()));
    }
}

/// A `mod name;` or `include!` of a file, and whether only tests see it.
pub(crate) struct Child {
    /// Every place the compiler would look.
    candidates: Vec<String>,
    role: Role,
}

/// The files a file declares. `path` decides where they may be.
pub(crate) fn children(path: &str, ast: &syn::File, role: Role) -> Vec<Child> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let own = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        // The root of a target in tests/ or src/bin/ looks beside itself, a module looks in its folder; both are tried.
        _ => format!("{folder}/{}", name.trim_end_matches(".rs")),
    };
    let mut found = Vec::new();
    let place = Place { folders: vec![own, folder.to_owned()], file_folder: folder.to_owned(), role };
    declared(&ast.items, &place, &mut found);
    found
}

struct Place {
    folders: Vec<String>,
    file_folder: String,
    role: Role,
}

fn declared(items: &[syn::Item], place: &Place, out: &mut Vec<Child>) {
    for item in items {
        let role = if attributes(item).iter().any(is_cfg_test) { Role::Test } else { place.role };
        match item {
            syn::Item::Mod(module) => declared_module(module, role, place, out),
            syn::Item::Macro(call) if call.mac.path.is_ident("include") => {
                if let Ok(name) = call.mac.parse_body::<syn::LitStr>() {
                    let path = normal(&format!("{}/{}", place.file_folder, name.value()));
                    out.push(Child { candidates: vec![path], role });
                }
            }
            _ => {}
        }
    }
}

fn declared_module(module: &syn::ItemMod, role: Role, place: &Place, out: &mut Vec<Child>) {
    let name = module.ident.to_string();
    let name = name.trim_start_matches("r#");
    if let Some((_, items)) = &module.content {
        let folders = place.folders.iter().map(|folder| format!("{folder}/{name}")).collect();
        let inner = Place { folders, file_folder: place.file_folder.clone(), role };
        declared(items, &inner, out);
        return;
    }
    let mut candidates = Vec::new();
    if let Some(path) = path_attribute(&module.attrs) {
        candidates.push(normal(&format!("{}/{path}", place.file_folder)));
    } else {
        for folder in &place.folders {
            candidates.push(normal(&format!("{folder}/{name}.rs")));
            candidates.push(normal(&format!("{folder}/{name}/mod.rs")));
        }
    }
    out.push(Child { candidates, role });
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Which files Cargo reaches, and as what.
#[derive(Default)]
pub(crate) struct Tree {
    reached: BTreeMap<String, Role>,
}

impl Tree {
    /// Follows `roots` through `declared`, the children of every file.
    pub(crate) fn follow(roots: Vec<(String, Role)>, declared: &dyn Fn(&str, Role) -> Vec<Child>) -> Self {
        let mut tree = Self::default();
        let mut open = roots;
        while let Some((path, role)) = open.pop() {
            let known = tree.reached.get(&path).copied();
            // What a product file and a test both declare is product.
            if known == Some(Role::Product) || known == Some(role) {
                continue;
            }
            tree.reached.insert(path.clone(), role);
            for child in declared(&path, role) {
                open.extend(child.candidates.into_iter().map(|candidate| (candidate, child.role)));
            }
        }
        tree
    }

    /// What the file is, when anything reaches it.
    pub(crate) fn role(&self, path: &str) -> Option<Role> {
        self.reached.get(path).copied()
    }
}

/// The files Cargo takes as roots of a package in `folder` without being told, out of `files`.
pub(crate) fn is_automatic_root(folder: &str, path: &str) -> Option<Role> {
    let inside = path.strip_prefix(folder)?.strip_prefix('/')?;
    let parts: Vec<&str> = inside.split('/').collect();
    match parts.as_slice() {
        ["src", "lib.rs" | "main.rs"] | ["build.rs"] | ["src", "bin", _] | ["src", "bin", _, "main.rs"] => {
            Some(Role::Product)
        }
        ["examples", _] | ["examples", _, "main.rs"] => Some(Role::Product),
        ["tests" | "benches", _] | ["tests" | "benches", _, "main.rs"] => Some(Role::Test),
        _ => None,
    }
}

/// The finding for a file nothing reaches.
pub(crate) fn orphan(path: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        line: 1,
        rule: "orphan",
        subject: "file".to_owned(),
        message: "no `mod` declaration and no Cargo target reaches this file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::findings;

    #[test]
    fn a_file_of_601_lines_is_too_long_but_tests_are_not_counted() {
        let long = format!("//! Header of a sample.\n{}", "struct S;\n".repeat(600));
        assert_eq!(findings(check, "wire/src/a.rs", &long), ["1 file-length"]);
        let tests = format!("{}\n}}\n", "    struct S;\n".repeat(300));
        let fits = format!(
            "//! Header of a sample.\n{}#[cfg(test)]\nmod tests {{\n{tests}",
            "struct S;\n".repeat(400)
        );
        assert_eq!(findings(check, "wire/src/a.rs", &fits), [""; 0]);
    }

    #[test]
    fn every_file_says_what_it_owns() {
        assert_eq!(findings(check, "wire/src/a.rs", "struct S;"), ["1 module-header"]);
        assert_eq!(findings(check, "wire/src/a.rs", "//! (skeleton)\nstruct S;"), ["1 module-header"]);
        assert_eq!(findings(check, "wire/src/a.rs", "//! Frames, and nothing else.\nstruct S;"), [""; 0]);
    }

    fn reached(files: &[(&str, &str)]) -> Vec<String> {
        let declared = |path: &str, role| {
            let text = files.iter().find(|file| file.0 == path).map(|file| file.1);
            text.and_then(|text| syn::parse_file(text).ok())
                .map(|ast| children(path, &ast, role))
                .unwrap_or_default()
        };
        let roots = files
            .iter()
            .filter_map(|file| Some((file.0.to_owned(), is_automatic_root("a", file.0)?)))
            .collect();
        let tree = Tree::follow(roots, &declared);
        let all = files.iter().filter_map(|file| Some(format!("{} {:?}", file.0, tree.role(file.0)?)));
        all.collect()
    }

    #[test]
    fn modules_are_followed_from_cargo_targets() {
        let files = [
            (
                "a/src/lib.rs",
                "mod b; #[cfg(test)] mod t; mod inline { mod deep; } #[path = \"other.rs\"] mod o;",
            ),
            ("a/src/b/mod.rs", "mod c;"),
            ("a/src/b/c.rs", ""),
            ("a/src/t.rs", ""),
            ("a/src/inline/deep.rs", ""),
            ("a/src/other.rs", "include!(\"../data/table.rs\");"),
            ("a/data/table.rs", ""),
            ("a/src/forgotten.rs", ""),
            ("a/tests/it.rs", "mod common;"),
            ("a/tests/common/mod.rs", ""),
        ];
        let expected = [
            "a/src/lib.rs Product",
            "a/src/b/mod.rs Product",
            "a/src/b/c.rs Product",
            "a/src/t.rs Test",
            "a/src/inline/deep.rs Product",
            "a/src/other.rs Product",
            "a/data/table.rs Product",
            "a/tests/it.rs Test",
            "a/tests/common/mod.rs Test",
        ];
        assert_eq!(reached(&files), expected);
    }
}
