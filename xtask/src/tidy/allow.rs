//! `xtask/tidy-allow.txt`: exceptions, one line each with its reason.
//!
//! A line is `rule path subject: reason`; the subject is what the finding names (a function, a word, `file`), so a
//! line survives edits around it. A line that excuses nothing is a finding.

use super::Finding;

/// Where the list stands.
pub(crate) const PATH: &str = "xtask/tidy-allow.txt";

struct Exception<'a> {
    line: usize,
    rule: &'a str,
    path: &'a str,
    subject: &'a str,
    used: bool,
}

/// Drops what `list` excuses; adds findings for lines that are wrong or unused.
pub(crate) fn apply(list: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept = Vec::new();
    let mut exceptions = Vec::new();
    for (index, line) in list.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(index + 1, line) {
            Some(exception) => exceptions.push(exception),
            None => kept.push(found(index + 1, line, "not `rule path subject: reason`")),
        }
    }
    for finding in findings {
        let excuse = exceptions.iter_mut().find(|exception| {
            exception.rule == finding.rule
                && exception.path == finding.path
                && exception.subject == finding.subject
        });
        match excuse {
            Some(exception) => exception.used = true,
            None => kept.push(finding),
        }
    }
    let unused = exceptions.iter().filter(|exception| !exception.used);
    kept.extend(unused.map(|exception| {
        let line = format!("{} {} {}", exception.rule, exception.path, exception.subject);
        found(exception.line, &line, "excuses nothing any more")
    }));
    kept
}

fn parse(line: usize, text: &str) -> Option<Exception<'_>> {
    let (key, reason) = text.split_once(": ")?;
    let mut words = key.split_whitespace();
    let (rule, path, subject) = (words.next()?, words.next()?, words.next()?);
    let complete = words.next().is_none() && !reason.trim().is_empty();
    complete.then_some(Exception { line, rule, path, subject, used: false })
}

fn found(line: usize, text: &str, message: &str) -> Finding {
    Finding {
        path: PATH.to_owned(),
        line,
        rule: "allow-list",
        subject: "line".to_owned(),
        message: format!("`{text}`: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        Finding {
            path: "hub/src/a.rs".to_owned(),
            line: 7,
            rule: "arguments",
            subject: "apply".to_owned(),
            message: "apply: 6 arguments".to_owned(),
        }
    }

    fn rules(list: &str) -> Vec<String> {
        let kept = apply(list, vec![finding()]);
        kept.iter().map(|finding| format!("{}:{} {}", finding.path, finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_line_excuses_its_finding_only() {
        assert_eq!(rules("arguments hub/src/a.rs apply: the trait of a library"), [""; 0]);
        assert_eq!(rules(""), ["hub/src/a.rs:7 arguments"]);
    }

    #[test]
    fn unused_and_unreasoned_lines_are_findings() {
        let list = "# comment\n\narguments hub/src/a.rs apply: why\narguments hub/src/a.rs other: why";
        assert_eq!(rules(list), ["xtask/tidy-allow.txt:4 allow-list"]);
        assert_eq!(
            rules("arguments hub/src/a.rs apply: "),
            ["xtask/tidy-allow.txt:1 allow-list", "hub/src/a.rs:7 arguments"]
        );
    }
}
