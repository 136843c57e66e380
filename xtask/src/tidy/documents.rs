//! `ARCHITECTURE.md`: every `Invariant:` names a check that exists.
//!
//! A check is written `[tidy: rule]`, `[lint: name]` (denied or forbidden in the workspace's lints) or
//! `[test: path::name]` (a test in a file; with `!` a macro that makes tests).

use super::Finding;

/// The page may grow to this many lines.
const LINES_MAX: usize = 300;

/// What the page may refer to.
pub(crate) struct Known<'a> {
    /// Names of tidy's rules.
    pub(crate) rules: Vec<&'a str>,
    /// Text of the workspace's manifest.
    pub(crate) manifest: &'a str,
    /// The text of a file of the repository.
    pub(crate) file: &'a dyn Fn(&str) -> Option<String>,
}

/// Checks one page, `path` for the findings.
pub(crate) fn check(path: &str, text: &str, known: &Known<'_>, out: &mut Vec<Finding>) {
    let mut found = |line: usize, message: String| {
        let subject = format!("line-{line}");
        out.push(Finding { path: path.to_owned(), line, rule: "invariant-check", subject, message });
    };
    let count = text.lines().count();
    if count > LINES_MAX {
        found(count, format!("{count} lines, at most {LINES_MAX}"));
    }
    let mut invariants = 0_usize;
    for (line, invariant) in invariants_of(text) {
        invariants += 1;
        let checks: Vec<&str> = references(&invariant).collect();
        if checks.is_empty() {
            found(line, "an invariant without `[tidy: ..]`, `[lint: ..]` or `[test: ..]`".to_owned());
        }
        for check in checks.into_iter().filter(|check| !exists(check, known)) {
            found(line, format!("`[{check}]` does not exist"));
        }
    }
    if invariants == 0 {
        found(1, "no line starts with `Invariant:`".to_owned());
    }
}

/// Paragraphs (or list items) that begin with `Invariant:`, joined, with their first line.
fn invariants_of(text: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let plain = line.trim_start_matches(['-', '*', ' ']);
        if plain.starts_with("Invariant:") {
            all.push((index + 1, plain.to_owned()));
            inside = true;
        } else if line.trim().is_empty() || line.starts_with(['#', '-', '*']) {
            inside = false;
        } else if let (true, Some((_, last))) = (inside, all.last_mut()) {
            last.push(' ');
            last.push_str(line.trim());
        }
    }
    all
}

/// What stands in brackets as `kind: name`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split('[')
        .skip(1)
        .filter_map(|rest| rest.split_once(']'))
        .map(|(inside, _)| inside)
        .filter(|inside| ["tidy:", "test:", "lint:"].iter().any(|kind| inside.starts_with(kind)))
}

fn exists(check: &str, known: &Known<'_>) -> bool {
    match check.split_once(':').map(|(kind, name)| (kind, name.trim())) {
        Some(("tidy", rule)) => known.rules.contains(&rule),
        Some(("lint", lint)) => known.manifest.lines().any(|line| {
            line.strip_prefix(lint)
                .is_some_and(|rest| rest.contains("\"forbid\"") || rest.contains("\"deny\""))
        }),
        Some(("test", place)) => place.rsplit_once("::").is_some_and(|(path, name)| {
            let text = (known.file)(path).unwrap_or_default();
            match path.ends_with(".rs") {
                // A macro that makes tests.
                true if name.ends_with('!') => text.contains(&format!("{name}(")),
                true => text.contains(&format!("fn {name}(")),
                false => text.contains(name),
            }
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<String> {
        let file = |path: &str| match path {
            "hub/src/a.rs" => Some("fn order_is_kept() {}\nlog_contract!(rig());".to_owned()),
            "acceptance/a.test.mjs" => Some("test('order is kept', () => {})".to_owned()),
            _ => None,
        };
        let known = Known {
            rules: vec!["wire-no-io"],
            manifest: "unsafe_code = \"forbid\"\nmissing_docs = \"warn\"",
            file: &file,
        };
        let mut out = Vec::new();
        check("ARCHITECTURE.md", text, &known, &mut out);
        out.iter().map(|finding| format!("{} {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn an_invariant_names_a_check_that_exists() {
        for check in [
            "[tidy: wire-no-io]",
            "[lint: unsafe_code]",
            "[test: hub/src/a.rs::order_is_kept]",
            "[test: hub/src/a.rs::log_contract!]",
            "[test: acceptance/a.test.mjs::order is kept]",
        ] {
            assert_eq!(findings(&format!("# A\n\nInvariant: order\nis kept {check}.\n")), [""; 0], "{check}");
        }
    }

    #[test]
    fn an_invariant_without_a_check_or_with_an_unknown_one_is_found() {
        assert_eq!(findings("Invariant: a [link](b).").len(), 1);
        for check in [
            "[tidy: other]",
            "[lint: missing_docs]",
            "[test: hub/src/a.rs::order]",
            "[test: hub/src/b.rs::order]",
        ] {
            assert_eq!(
                findings(&format!("\n- Invariant: a {check}")),
                [format!("2 `{check}` does not exist")]
            );
        }
    }

    #[test]
    fn a_page_without_invariants_or_too_long_is_found() {
        assert_eq!(findings("# A"), ["1 no line starts with `Invariant:`"]);
        let long = format!("Invariant: a [tidy: wire-no-io]\n{}", "a\n".repeat(300));
        assert_eq!(findings(&long), ["301 301 lines, at most 300"]);
    }
}
